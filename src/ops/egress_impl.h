/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between egress.c, egress_run.c and gc.c. */
#ifndef BYWAY_OPS_EGRESS_IMPL_H
#define BYWAY_OPS_EGRESS_IMPL_H

#include <stddef.h>

#include "vpc/way.h"

struct err;
struct ops;

/* A list as rows have it, from what was asked for: names of egresses that are there, or none. */
int egress_read_list(struct ops *o, const char *ways, char ret[WAY_LIST_LEN], struct err *err);
/* Takes away what is left of a process that has ended. Absent: done. Goes on after errors; returns
 * the first. */
int egress_clean_up(struct ops *o, const struct egress *e, struct err *err);
/* What processes that are gone have left; and what a crash left between a workload's row and its
 * rules counts as done: who calls this makes the rules agree. Counts both. */
int egress_sweep(struct ops *o, size_t *count, struct err *err);
/* Calls fn with the legs that should be there. */
int egress_each_leg(struct ops *o, void (*fn)(void *arg, const char *leg), void *arg,
		    struct err *err);

#endif
