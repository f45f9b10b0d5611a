/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of this folder: lists of ways out in the kernel; see ways.c, and ops.h for
 * what all use. */
#ifndef BYWAY_OPS_WAYS_H
#define BYWAY_OPS_WAYS_H

#include <stdbool.h>

struct err;
struct ops;
struct ruleset;

/* The host's table for legs, from the state. *empty: there is none, it should not exist. */
int ops_legs_rules(struct ops *o, struct ruleset *ret, bool *empty, struct err *err);
/* Makes the kernel's what the state says. */
int ops_legs_sync(struct ops *o, struct err *err);
/* Removes it, whichever backend made it. */
int ops_legs_remove(struct ops *o, struct err *err);
/* That, and all rules of policy routing: for when the state does not know. */
int ops_ways_remove(struct ops *o, struct err *err);

#endif
