/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses from pools, given to owners.
 *
 * A pool is a range of addresses, from an IPv4 /30 to a /8 or an IPv6 prefix, under a name. Taking
 * and releasing cost O(log n): free addresses are kept as ranges in an ordered index. An address
 * never used comes before one that was, and of those the one freed longest ago comes first. An
 * owner that comes back gets its former address as long as nobody else needed it. Of the addresses
 * freed, the last IPAM_MEMORY of a pool are remembered; an older one counts as never used.
 *
 * Everything lives in the store. What changes something needs a transaction of the caller's, who
 * rolls it back when a call fails.
 */
#ifndef BYWAY_IPAM_IPAM_H
#define BYWAY_IPAM_IPAM_H

#include <stdint.h>

#include "base/ip.h"

struct err;
struct store;

#define IPAM_MEMORY 16384

/* first..last, inclusive, of one family. An existing pool with the same range is kept as it is,
 * with its memory of former owners; one with another range is -EEXIST while it has leases, and
 * replaced when it has none. */
int ipam_pool_add(struct store *st, const char *pool, const struct ip *first,
		  const struct ip *last, struct err *err);
/* With its leases and its memory. Absent: done. */
int ipam_pool_del(struct store *st, const char *pool, struct err *err);
/* Every pool whose name is "GROUP/…", with leases and memory. */
int ipam_pools_del(struct store *st, const char *group, struct err *err);

/* The owner's address: the one it holds, else the one it held, else the first free one.
 * -ENOSPC when the pool is used up (the sentence says of how many). For this and all below:
 * -ENOENT for a pool that is not there. */
int ipam_lease_take(struct store *st, const char *pool, const char *owner, struct ip *ret,
		    struct err *err);
/* Exactly this address. -EEXIST names who has it, or which other one the owner holds; -ERANGE
 * when it is not of the pool. */
int ipam_lease_take_addr(struct store *st, const char *pool, const char *owner,
			 const struct ip *addr, struct err *err);
/* Not leased: done. */
int ipam_lease_release(struct store *st, const char *pool, const char *owner, struct err *err);
/* -ENOENT when the owner has none. */
int ipam_lease_get(struct store *st, const char *pool, const char *owner, struct ip *ret,
		   struct err *err);

struct ipam_usage {
	uint64_t size; /* saturates at UINT64_MAX */
	uint64_t leased;
};
int ipam_pool_usage(struct store *st, const char *pool, struct ipam_usage *ret, struct err *err);

#endif
