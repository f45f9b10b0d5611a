/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What vpc/repair.h finds and mends, of rows: for plans, gc and apply. */
#ifndef BYWAY_OPS_REPAIR_H
#define BYWAY_OPS_REPAIR_H

#include "vpc/repair.h"

struct ops;

/* What differs is appended to why. After the rules: the guard is there before what it guards. */
int ops_repair_vpc(struct ops *o, const struct seen *s, const struct vpc *v, enum repair how,
		   struct buf *why, struct err *err);
int ops_repair_subnet(struct ops *o, const struct seen *s, const struct vpc *v,
		      const struct subnet *n, enum repair how, struct buf *why, struct err *err);
int ops_repair_port(struct ops *o, const struct seen *s, const struct vpc *v, const struct port *p,
		    enum repair how, struct buf *why, struct err *err);
/* All that there are; *count: how many were put right. */
int ops_repair_all(struct ops *o, size_t *count, struct err *err);

/* Why a port is as good as not there; NULL: it is there. */
const char *ops_port_gone(struct ops *o, const struct seen *s, const struct port *p);
/* What a VPC's bridge must let through for published ports, or must not any more. */
int ops_loopback_repair(struct ops *o, const struct vpc *v, enum repair how, struct buf *why,
			struct err *err);

#endif
