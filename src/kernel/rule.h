/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Policy routing: which packets look into which table (ip-rule(8)). Builders add to a batch. */
#ifndef BYWAY_KERNEL_RULE_H
#define BYWAY_KERNEL_RULE_H

#include <stdint.h>

struct nlbatch;

/* Packets of a family (AF_INET, AF_INET6) for which (mark & mask) == fwmark look into table. */
struct rule_spec {
	int family;
	uint32_t priority, fwmark, mask, table;
};

/* With our protocol number (ROUTE_PROTOCOL). The same one there already: done. */
void rule_add(struct nlbatch *b, const struct rule_spec *spec);
/* Our rule with this priority. Absent: done. */
void rule_del(struct nlbatch *b, int family, uint32_t priority);

#endif
