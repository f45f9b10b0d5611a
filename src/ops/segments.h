/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which of a VPC's bridges has room for a port, and further bridges when none has. For what adds
 * ports: ops/subnet.c and ops/port.c.
 */
#ifndef BYWAY_OPS_SEGMENTS_H
#define BYWAY_OPS_SEGMENTS_H

#include "vpc/vpc.h"

struct err;
struct ops;

struct segments {
	struct ops *o;
	const struct vpc *vpc;
	struct segment *list;
	size_t n;
	unsigned int *used; /* ports of bridge 0 to n */
};

/* vpc is borrowed. The segments' and the ports' rows are read here. */
int segments_init(struct segments *s, struct ops *o, const struct vpc *v, struct err *err);
void segments_done(struct segments *s);

/* Inside a transaction: the first bridge with room, which is taken; a further one's row, as
 * creating, when there is none. */
int segments_place(struct segments *s, unsigned int *ret_no, struct err *err);
/* The same of the VPC's own bridge only. */
int segments_place_first(struct segments *s, struct err *err);
const char *segments_bridge(const struct segments *s, unsigned int no);

/* The bridges that are new. */
int segments_up(struct segments *s, struct err *err);
/* Inside a transaction: their rows become active. */
int segments_finish(struct segments *s, struct err *err);
/* They have no other users: they go with what was added. */
void segments_undo(struct segments *s);

#endif
