/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between egress.c and egress_run.c. */
#ifndef BYWAY_OPS_EGRESS_IMPL_H
#define BYWAY_OPS_EGRESS_IMPL_H

struct egress;
struct err;
struct ops;

/* Takes away what is left of a process that has ended. Absent: done. Goes on after errors; returns
 * the first. */
int egress_clean_up(struct ops *o, const struct egress *e, struct err *err);

#endif
