/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making the machine what a file says (config/config.h): first a list of changes, then carrying
 * them out. `plan` prints what `apply` would do because it is the same list.
 *
 * A change concerns one object. What belongs to the file and is not in it any more goes; what
 * differs is changed where it stands when that is possible, else removed and made anew; what is
 * there, the same, and nobody's, is adopted. What somebody has changed behind byway's back is repaired. Of all else that has a name of the file's, the first
 * is told as a conflict.
 */
#ifndef BYWAY_OPS_APPLY_H
#define BYWAY_OPS_APPLY_H

#include <stdint.h>

#include "ops/owner.h"

struct config;
struct err;
struct ops;

enum change_action {
	CHANGE_REMOVE,
	CHANGE_REPAIR, /* what the kernel has is not what was made */
	CHANGE_UPDATE,
	CHANGE_ADOPT,
	CHANGE_ADD,
	CHANGE_NUM_ACTIONS
};

/* What is in something else stands behind it. */
enum change_kind {
	KIND_VPC,
	KIND_NAT,
	KIND_SUBNET,
	KIND_POLICY,
	KIND_PEERING,
	KIND_VM,
	KIND_VM_POLICY,
	KIND_PUBLISH,
	KIND_EGRESS,
	KIND_USE, /* of egresses, by a network, a subnet or the host */
	KIND_VM_USE,
	KIND_PROCESS, /* an egress's: nobody's object, but it has to run */
	KIND_RULES,   /* the host's, of all that there is: nobody's either */
	KIND_NUM_KINDS
};

enum change_state { CHANGE_PENDING, CHANGE_DONE, CHANGE_FAILED, CHANGE_NUM_STATES };

const char *change_action_name(enum change_action a);
const char *change_kind_name(enum change_kind k);
const char *change_state_name(enum change_state s);

struct change {
	enum change_action action;
	enum change_kind kind;
	char name[OBJECT_MAX];
	char *detail;      /* what it will be, or why it changes or goes; owned */
	unsigned int line; /* where the file has it; 0: it has not */
	const void *want;  /* the config's struct of that kind; NULL when it goes */
	enum change_state state;
	unsigned int order;
	size_t no; /* before they were put in order */
};

struct plan {
	char *file;                  /* absolute */
	const struct config *config; /* borrowed; NULL: nothing is wanted */
	struct change *changes;
	size_t n, unchanged;
};

/* c NULL: nothing is wanted of the file at path. c is borrowed as long as the plan. Nothing is
 * changed, and the state may be open for reading only. */
int ops_plan(struct ops *o, const struct config *c, const char *path, struct plan **ret,
	     struct err *err);
void plan_free(struct plan *p);
void plan_free_p(struct plan **p);
#define _plan_ _cleanup_(plan_free_p)


struct apply_params {
	const char *self; /* byway's own path, for the processes of egresses */
	/* Told before and after n changes from first that are made together. */
	void (*begin)(void *arg, const struct plan *p, size_t first, size_t n);
	void (*end)(void *arg, const struct plan *p, size_t first, size_t n);
	void *arg;
};
/* Stops at the first failure: the states of the changes say how far it got. Another plan goes on
 * from there. */
int ops_apply(struct ops *o, struct plan *p, const struct apply_params *w, struct err *err);

#endif
