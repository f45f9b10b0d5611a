/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between the parts of a plan: what there is (apply_there.c), what the file wants, kind by kind
 * (apply_want_*.c), and the list of changes with its order (apply_plan.c).
 */
#ifndef BYWAY_OPS_APPLY_PLAN_H
#define BYWAY_OPS_APPLY_PLAN_H

#include "base/buf.h"
#include "ops/apply_impl.h"
#include "ops/owner.h"

struct err;
struct fy_node;
struct ops;

/* Everything that there is, in the order of names, and what this plan makes of it. */
struct planner {
	struct ops *o;
	const struct config *c;
	struct plan *plan;
	struct vpc *vpcs;
	struct subnet *subnets;
	struct port *ports;
	struct peer *peers;
	struct mapping *mappings;
	struct owned *owned;
	bool *vpc_goes, *subnet_goes, *port_goes, *wanted; /* for each of those, and of owned */
	size_t n_vpcs, n_subnets, n_ports, n_peers, n_mappings, n_owned;
	struct seen *seen; /* what the kernel has */
};

/* ---- apply_there.c ---- */

int planner_load(struct planner *p, struct err *err);
void planner_done(struct planner *p);

struct vpc *planner_find_vpc(const struct planner *p, const char *name);
struct subnet *planner_find_subnet(const struct planner *p, const char *vpc, const char *name);
struct port *planner_find_port(const struct planner *p, const char *vpc, const char *name);
/* key: with the names of both. */
const struct peer *planner_find_peer(const struct planner *p, const struct peer *key);
const struct mapping *planner_find_mapping(const struct planner *p, const char *name);

/* Not there as far as the rest is concerned: it was not, or goes first. */
bool planner_vpc_is_gone(const struct planner *p, const char *name);
bool planner_subnet_is_gone(const struct planner *p, const char *vpc, const char *name);
bool planner_port_is_gone(const struct planner *p, const struct port *q);
/* A network, with the name "", a subnet or a VM. */
bool planner_workload_is_gone(const struct planner *p, const char *vpc, const char *name);

/* ---- apply_plan.c ---- */

/* A thing that is wanted, and what there is of that name. */
struct subject {
	enum change_kind kind;
	char name[OBJECT_MAX];
	struct fy_node *at;
	const void *want;
	bool there;
	const char *broken; /* why what is there is as good as not; or NULL */
	enum diff diff;
	struct buf why, will; /* what differs; what it will be */
	struct buf harm;      /* what of it is not as it was made */
};

void subject_done(struct subject *s);
#define _subject_ _cleanup_(subject_done)

extern const char half_made[]; /* why something is broken */

/* "a/b", or "a" when b is NULL. */
void object_name(char ret[OBJECT_MAX], const char *a, const char *b);
/* And back, also of a workload that is a network: the second is "" then. */
void split_workload(const char *name, char vpc[NAME_MAX_LEN], char ret[NAME_MAX_LEN]);
/* The plan's, until the next is added. detail: NULL for none. */
struct change *planner_add(struct planner *p, enum change_action action, enum change_kind kind,
			   const char *name, const char *detail);
/* Adds what is to be done about it. ret_anew: what is there goes, with all that is in it. */
int planner_decide(struct planner *p, const struct subject *s, bool *ret_anew, struct err *err);

/* Whether it goes with something that it is in. */
bool goes_anyway(const struct planner *p, enum change_kind kind, const char *name);

/* ---- apply_lost.c ---- */

/* When the list of changes is whole. */
int check_lost(const struct planner *p, struct err *err);

/* ---- apply_names.c ---- */

/* When it is known what goes. Errors are ERR_USAGE and say FILE:LINE:COLUMN of a policy. */
int check_policy_names(const struct planner *p, struct err *err);

/* ---- apply_want_vpc.c ---- */

int want_vpcs(struct planner *p, struct err *err);
int want_nat(struct planner *p, struct err *err);
int want_subnets(struct planner *p, struct err *err);
int want_policies(struct planner *p, struct err *err);
int want_peers(struct planner *p, struct err *err);

/* ---- apply_want_vm.c ---- */

int want_vms(struct planner *p, struct err *err);
int want_vm_policies(struct planner *p, struct err *err);
int want_published(struct planner *p, struct err *err);

/* ---- apply_want_egress.c ---- */

int want_egress(struct planner *p, struct err *err);
int want_uses(struct planner *p, struct err *err);
int want_vm_uses(struct planner *p, struct err *err);

#endif
