/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of this folder: lists of ways out in the kernel; see ways.c, and ops.h for
 * what all use. */
#ifndef BYWAY_OPS_WAYS_H
#define BYWAY_OPS_WAYS_H

#include "ops/ops.h"

/* The first of a list that is up, as the kernel has it. False: none. */
bool ops_ways_first(struct ops *o, const char *list, char ret[NAME_MAX_LEN]);
/* The host's table for legs. */
ops_table_fn ops_legs_rules;
/* -ESTALE: a rule of policy routing is missing. */
int ops_ways_verify(struct ops *o, struct err *err);
/* Removes it, whichever backend made it. */
int ops_legs_remove(struct ops *o, struct err *err);
/* That, all rules of policy routing, and the host's own: for when the state does not know. */
int ops_ways_remove(struct ops *o, struct err *err);

/* ---- The host's own (host_way.c) ---- */

/* The table by which the host goes out by its list. */
ops_table_fn ops_host_way_rules;
int ops_host_way_remove(struct ops *o, struct err *err);
/* For who brings up a tunnel of the host's, and has its lock: ERR_CONFLICT while there is such a
 * row. Who may not read the state is let through. */
int ops_host_way_refuse(struct err *err);

#endif
