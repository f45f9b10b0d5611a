/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What on this machine is in byway's way, or soon will be, and what helps.
 *
 * A check looks at one thing and reports findings; it changes nothing. A finding may know how to be
 * mended. What is mended can be undone: settings by the state, which has their old values; rules
 * by their comment, so that nothing but the kernel needs to be asked. What another program decides
 * (its networks, its routing rules) is never touched: there the command is for a person to judge.
 */
#ifndef BYWAY_OPS_DOCTOR_H
#define BYWAY_OPS_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

struct err;
struct ops;

enum severity {
	SEVERITY_NOTE,    /* of use to know */
	SEVERITY_WARNING, /* will be in the way when something else happens */
	SEVERITY_PROBLEM, /* is in the way now */
	SEVERITY_NUM,
};

const char *severity_name(enum severity s);

struct finding {
	const char *check; /* its name in the table of checks */
	enum severity severity;
	char what[320], why[320];
	char fix[576]; /* one command for a shell, or "" */
	/* Does the same, NULL where byway does not. target and value are its own. */
	int (*mend)(struct ops *o, const struct finding *f, struct err *err);
	char target[160], value[64];
};

struct findings {
	struct finding *v;
	size_t n;
	const char *check; /* that runs */
	bool in_use;       /* there are VPCs or sessions */
	bool tunnel;       /* there is a tunnel of the host's */
};

void findings_done(struct findings *f);
#define _findings_ _cleanup_(findings_done)

/* Every check, in the order of the table. A check that cannot be made is a finding itself. ret is
 * zeroed by the caller, and done by it whatever comes back. */
int ops_doctor(struct ops *o, struct findings *ret, struct err *err);
/* Mends what can be, in order; *ret_mended has room for f->n. Goes on after a failure, and returns
 * the first. Mending what is mended changes nothing. */
int ops_doctor_fix(struct ops *o, const struct findings *f, bool ret_mended[], struct err *err);
/* Puts back what ops_doctor_fix() changed. Without a state, which reset may have none of: the rules
 * alone. */
struct undone {
	size_t settings, rules;
};
int ops_doctor_undo(struct ops *o, struct undone *ret, struct err *err);

/* ---- Shared by the checks, doctor_*.c ---- */

/* A new finding of the check that runs; valid until the next one. */
struct finding *doctor_found(struct findings *f, enum severity s, const char *fmt, ...)
	_printf_(3, 4);
void doctor_why(struct finding *f, const char *fmt, ...) _printf_(2, 3);
void doctor_fix(struct finding *f, const char *fmt, ...) _printf_(2, 3);
/* The fix is a kernel setting (kernel/sysctl.h), which byway can change by itself. */
void doctor_fix_setting(struct finding *f, const char *key, const char *value);
/* Who made a link, by its name; NULL when it says nothing. */
const char *doctor_link_owner(const char *link);

/* What a program says, or nothing when it is not installed or fails. */
struct buf;
int doctor_output(struct ops *o, const char *const argv[], struct buf *out, struct err *err);

typedef int (*doctor_check)(struct ops *o, struct findings *f, struct err *err);
/* doctor_kernel.c */
int doctor_capabilities(struct ops *o, struct findings *f, struct err *err);
int doctor_kernel(struct ops *o, struct findings *f, struct err *err);
int doctor_programs(struct ops *o, struct findings *f, struct err *err);
int doctor_limits(struct ops *o, struct findings *f, struct err *err);
/* doctor_firewall.c */
int doctor_iptables(struct ops *o, struct findings *f, struct err *err);
int doctor_nftables(struct ops *o, struct findings *f, struct err *err);
int doctor_firewalld(struct ops *o, struct findings *f, struct err *err);
int doctor_bridge_netfilter(struct ops *o, struct findings *f, struct err *err);
int doctor_marks(struct ops *o, struct findings *f, struct err *err);
/* Takes away every rule that a mend has made, whoever's chain it is in. */
int doctor_rules_undo(struct ops *o, size_t *ret_n, struct err *err);
/* doctor_net.c */
int doctor_forwarding(struct ops *o, struct findings *f, struct err *err);
int doctor_rp_filter(struct ops *o, struct findings *f, struct err *err);
int doctor_overlaps(struct ops *o, struct findings *f, struct err *err);
int doctor_routing_rules(struct ops *o, struct findings *f, struct err *err);
int doctor_ways_out(struct ops *o, struct findings *f, struct err *err);
int doctor_resolvers(struct ops *o, struct findings *f, struct err *err);

#endif
