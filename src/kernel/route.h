/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Routes (ip-route(8)). */
#ifndef BYWAY_KERNEL_ROUTE_H
#define BYWAY_KERNEL_ROUTE_H

#include <net/if.h>
#include <stdint.h>

#include "base/ip.h"

struct err;
struct netns;
struct nlbatch;

#define ROUTE_PROTOCOL 98 /* rtm_protocol of every route byway adds; free in iproute2's rt_protos */

struct route {
	struct cidr dst;   /* prefix 0: the default route */
	struct ip gateway; /* family 0: none */
	int ifindex;
	uint32_t metric, table;
	uint8_t protocol, type; /* RTPROT_*, RTN_* */
};

/* A negative return of fn ends the walk with it. Every table, both families. */
typedef int (*route_fn)(const struct route *route, void *arg);
int route_each(struct netns *ns, int family, route_fn fn, void *arg, struct err *err);

/* Adds to a batch: dst by a gateway that need not be inside a connected network (onlink). */
void route_add_via(struct nlbatch *b, int ifindex, const char *ifname, const struct cidr *dst,
		   const struct ip *gateway);
/* The same; any route to dst there already: done. */
void route_offer_via(struct nlbatch *b, int ifindex, const char *ifname, const struct cidr *dst,
		     const struct ip *gateway);

/* Adds to a batch: dst is at the other end of the link itself. */
void route_add_link(struct nlbatch *b, int ifindex, const char *ifname, const struct cidr *dst);
/* Adds to a batch: r as it stands, but for its protocol, which is ours, in place of the route to
 * the same destination with the same table, metric and family if there is one. In place means at
 * once: no packet finds neither. With a gateway (onlink), with a device alone, or of a type that
 * needs none of them (RTN_UNREACHABLE). metric: not 0. ifname is for the words only. */
void route_replace(struct nlbatch *b, const struct route *r, const char *ifname);
/* Adds to a batch: deleting r, with its metric, by its device if it has one. Absent: done. */
void route_del(struct nlbatch *b, const struct route *r);

/* The default route of a table, by a link or into nothing (blackhole: silently dropped). The lower
 * metric is preferred; a route by a link goes when the link does. The same one there already:
 * done. */
void route_add_default(struct nlbatch *b, int family, uint32_t table, int ifindex,
		       const char *ifname, uint32_t metric);
void route_add_blackhole(struct nlbatch *b, int family, uint32_t table, uint32_t metric);
/* Adds to a batch: deleting every route of ours (ROUTE_PROTOCOL) in this table of b's namespace, as
 * it is now. One that is gone by then: done. */
int route_flush(struct nlbatch *b, int family, uint32_t table, struct err *err);

/* The link that the main table's default route with the lowest metric goes out of; -ENETUNREACH
 * when there is none. */
int route_default_link(struct netns *ns, char ret[IFNAMSIZ], struct err *err);

#endif
