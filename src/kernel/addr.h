/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses on links (ip-address(8)). Builders add to a batch. */
#ifndef BYWAY_KERNEL_ADDR_H
#define BYWAY_KERNEL_ADDR_H

#include "base/ip.h"

struct err;
struct netns;
struct nlbatch;

struct addr {
	int ifindex;
	struct cidr addr; /* as addr_add() takes it */
};

/* A negative return of fn ends the walk with it. Both families. */
typedef int (*addr_fn)(const struct addr *addr, void *arg);
int addr_each(struct netns *ns, addr_fn fn, void *arg, struct err *err);

/* addr->addr is the host's address, addr->prefix the network's length. IPv6 addresses are usable at
 * once: whoever gives out addresses knows that they are not duplicates (RFC 4862 5.4 off). ifname
 * is for the words only. */
void addr_add(struct nlbatch *b, int ifindex, const char *ifname, const struct cidr *addr);
/* There already: done. */
void addr_replace(struct nlbatch *b, int ifindex, const char *ifname, const struct cidr *addr);
/* Absent: done. */
void addr_del(struct nlbatch *b, int ifindex, const char *ifname, const struct cidr *addr);

#endif
