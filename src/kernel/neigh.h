/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Permanent neighbours (ip-neighbour(8)). */
#ifndef BYWAY_KERNEL_NEIGH_H
#define BYWAY_KERNEL_NEIGH_H

#include "base/ip.h"

struct nlbatch;

/* Whoever gives out addresses and MACs need not ask for them: no ARP or neighbour discovery before
 * the first packet, nothing to spoof, and no share of the kernel's neighbour table, whose limit
 * (net.ipv4.neigh.default.gc_thresh3, 1,024 in all namespaces together) counts learnt entries only. */
void neigh_add(struct nlbatch *b, int ifindex, const char *ifname, const struct ip *ip,
	       const struct mac *mac);

#endif
