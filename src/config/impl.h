/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the parts of the reader. */
#ifndef BYWAY_CONFIG_IMPL_H
#define BYWAY_CONFIG_IMPL_H

#include "base/doc.h"
#include "config/config.h"

/* The values that several kinds of objects have (values.c). */
int value_name(struct doc *d, struct fy_node *key, const char *what, const char *name,
	       char ret[NAME_MAX_LEN], struct err *err);
int value_vpc_name(struct doc *d, struct fy_node *key, const char *what, const char *name,
		   char ret[NAME_MAX_LEN], struct err *err);
int value_network(struct doc *d, struct fy_node *node, const char *what, int family,
		  struct cidr *ret, struct err *err);
/* Relative to the file's folder; allocated. */
int value_path(const struct config *c, struct fy_node *node, const char *what, char **ret,
	       struct err *err);

/* The key `egress` of a workload: an egress's name or a list of them, nat or none. */
int value_ways(struct config *c, struct fy_node *node, enum use_kind kind, const char *first,
	       const char *second, struct err *err);

/* The key `publish` of a workload: a list of ports. */
int value_ports(struct config *c, struct fy_node *node, const char *vpc, const char *target,
		struct err *err);

/* `vpcs`, `networks` (vpcs.c), `vms` (vms.c), `egress` and `host` (ways.c). */
doc_read_fn config_read_vpcs, config_read_networks, config_read_vms, config_read_egress;
doc_read_fn config_read_host;

/* Whether the egresses that are named are there, and go out at last; puts them in order. */
int config_check_ways(struct config *c, struct err *err);
/* Whether any port is published twice. */
int config_check_ports(struct config *c, struct err *err);

/* What concerns several objects: names that have to be there, networks that must not overlap, the
 * policies (check.c). */
int config_check(struct config *c, struct err *err);

/* Room for one more of what grows by doubling: n is a power of two, or 0, when it is full. */
#define GROW(array, n)                                                                             \
	do {                                                                                       \
		if (!((n) & ((n)-1)))                                                              \
			(array) = xrealloc((array), (n) ? 2 * (n) : 1, sizeof(*(array)));          \
	} while (0)

#endif
