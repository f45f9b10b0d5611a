/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Security groups: the JSON policy, and what it means.
 *
 * A policy lists ingress and egress rules, each of them allow or deny, read in order: the first
 * that matches decides. When there is any ingress rule, what none matches is dropped, and the
 * same for egress; a direction without rules is open. Replies to what was let through are let
 * through.
 */
#ifndef BYWAY_VPC_POLICY_H
#define BYWAY_VPC_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

struct err;
struct fw_chain;
struct fw_table;
struct ruleset;

enum policy_dir { POLICY_INGRESS, POLICY_EGRESS, POLICY_NUM_DIRS };

struct policy_rule {
	bool allow;
	bool any_peer;    /* no source (destination) given: both families, everywhere */
	struct cidr peer; /* the source of ingress, the destination of egress */
	char *group;      /* its name, when that is what the file has; owned */
	bool nobody;      /* the group is not resolved, or empty: matches nothing */
	unsigned int group_line, group_column; /* in the file */
	uint8_t proto_lo, proto_hi; /* IPPROTO_*, 0..255 for any; ICMP stands for ICMPv6 too */
	uint16_t port_lo, port_hi;  /* destination ports; 0..65535 for any */
	unsigned int line;          /* in the file, from 1 */
	char *description;          /* owned; NULL without one */
};

struct policy {
	char *netns;         /* "namespace" of the file, or NULL; owned */
	bool has_subnet;
	struct cidr subnet;  /* "subnet" of the file */
	unsigned int netns_line, subnet_line; /* where the file says so */
	struct policy_rule *rules[POLICY_NUM_DIRS];
	size_t n_rules[POLICY_NUM_DIRS];
	bool has_groups;
};

#define POLICY_RULES_MAX 20000 /* in each direction */

/* Errors read FILE:LINE:COLUMN: what is wrong, did you mean. name is the file's name in them. */
int policy_parse(const char *name, const char *text, size_t len, struct policy **ret,
		 struct err *err);
void policy_free(struct policy *p);

/* What a name stands for, at most POLICY_GROUP_CIDRS: n is 0 for nobody. A negative return ends the walk
 * with it. */
#define POLICY_GROUP_CIDRS 2
typedef int policy_group_fn(const struct policy_rule *r, struct cidr ret[POLICY_GROUP_CIDRS],
			    size_t *n, void *arg);
/* Gives each rule that names a group its networks: one rule for each. Once. */
int policy_resolve(struct policy *p, policy_group_fn *fn, void *arg);
void policy_free_p(struct policy **p);
#define _policy_ _cleanup_(policy_free_p)

/* The first rule that matches a flow opened from src to dst, or NULL. allowed is the verdict,
 * default included. dport is host order; for protocols without ports it is 0. */
const struct policy_rule *policy_eval(const struct policy *p, enum policy_dir dir,
				      const struct ip *src, const struct ip *dst, uint8_t proto,
				      uint16_t dport, bool *allowed);

/* Marks a connection that was allowed once and no longer is: set on the conntrack entry, dropped
 * in both directions. A bit of its own, so that other users of the mark keep theirs. */
#define POLICY_CT_MARK_CUT 0x00800000u

/* The table "byway" of a namespace whose interface to the VPC is ifname. With p NULL: connections
 * are tracked, so that a later policy knows which of them it forbids, and nothing is dropped. */
void policy_ruleset(const struct policy *p, const char *ifname, struct ruleset *rs);
/* One direction of a policy as a chain of a table of somebody's: it drops a packet, or returns. NULL
 * when the direction is open. The names of chain and maps begin with the prefix. */
struct fw_chain *policy_chain(const struct policy *p, enum policy_dir dir, struct fw_table *t,
			      const char *prefix);

#endif
