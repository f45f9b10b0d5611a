/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Policy routing: which packets look into which table (ip-rule(8)). Builders add to a batch. */
#ifndef BYWAY_KERNEL_RULE_H
#define BYWAY_KERNEL_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"

struct err;
struct netns;
struct nlbatch;

/* Packets of a family (AF_INET, AF_INET6) for which (mark & mask) == fwmark look into table. */
struct rule_spec {
	int family;
	uint32_t priority, fwmark, mask, table;
	struct ip to; /* and only those for this address; of no family: for any */
};

/* With our protocol number (ROUTE_PROTOCOL). The same one there already: done. */
void rule_add(struct nlbatch *b, const struct rule_spec *spec);
/* Our rule with this priority. Absent: done. */
void rule_del(struct nlbatch *b, int family, uint32_t priority);
/* The one rule of ours that is so in all of it. Absent: done. */
void rule_del_same(struct nlbatch *b, const struct rule_spec *spec);

/* A rule that is there, whoever made it. */
struct rule {
	int family;
	uint32_t priority, fwmark, mask, table;
	struct ip to; /* of a single address, as of rule_spec */
	uint8_t protocol;
	bool selects;   /* not every packet: by addresses, interfaces, marks, ... */
	bool specifics; /* finds no default route: suppress_prefixlength */
};

/* A negative return of fn ends the walk with it. */
typedef int (*rule_fn)(const struct rule *rule, void *arg);
int rule_each(struct netns *ns, int family, rule_fn fn, void *arg, struct err *err);

#endif
