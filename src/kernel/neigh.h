/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Permanent and proxied neighbours (ip-neighbour(8)), and those that bridges know. */
#ifndef BYWAY_KERNEL_NEIGH_H
#define BYWAY_KERNEL_NEIGH_H

#include "base/ip.h"

struct err;
struct netns;
struct nlbatch;

/* Whoever gives out addresses and MACs need not ask for them: no ARP or neighbour discovery before
 * the first packet, nothing to spoof, and no share of the kernel's neighbour table, whose limit
 * (net.ipv4.neigh.default.gc_thresh3, 1,024 in all namespaces together) counts learnt entries
 * only. */
void neigh_add(struct nlbatch *b, int ifindex, const char *ifname, const struct ip *ip,
	       const struct mac *mac);

/* Absent: done. */
void neigh_del(struct nlbatch *b, int ifindex, const char *ifname, const struct ip *ip);

/* The host answers on this link when somebody asks for ip, which it forwards elsewhere. The entry
 * carries ROUTE_PROTOCOL. There already: done; gone already: done. */
void neigh_add_proxy(struct nlbatch *b, int ifindex, const char *ifname, const struct ip *ip);
void neigh_del_proxy(struct nlbatch *b, int ifindex, const char *ifname, const struct ip *ip);
/* Those with ROUTE_PROTOCOL, IPv4. A negative return of fn ends the walk with it. */
typedef int (*neigh_fn)(int ifindex, const struct ip *ip, void *arg);
int neigh_each_proxy(struct netns *ns, neigh_fn fn, void *arg, struct err *err);

/* Permanent ones, both families. A negative return of fn ends the walk with it. */
typedef int (*neigh_permanent_fn)(int ifindex, const struct ip *ip, const struct mac *mac, void *arg);
int neigh_each_permanent(struct netns *ns, neigh_permanent_fn fn, void *arg, struct err *err);

/* Where a bridge sends frames for mac (bridge-fdb(8)): to its own host, or out of a port. There
 * already: done. */
void fdb_add_local(struct nlbatch *b, int bridge_index, const char *bridge, const struct mac *mac);
void fdb_add_port(struct nlbatch *b, int port_index, const char *port, const struct mac *mac);

#endif
