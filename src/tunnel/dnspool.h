/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses that stand for names: a bounded table, the name that was not used for longest makes
 * room. Each name has one address of either family, from DNSPOOL_NET4 and DNSPOOL_NET6. Nothing is
 * allocated after dnspool_new(), nothing is searched.
 */
#ifndef BYWAY_TUNNEL_DNSPOOL_H
#define BYWAY_TUNNEL_DNSPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

#define DNSPOOL_NET4 "198.18.0.0/15"         /* for tests between networks (RFC 2544) */
#define DNSPOOL_NET6 "fd62:7977:6179:1::/64" /* unique local (RFC 4193) */
#define DNSPOOL_MAX 60000
/* An address goes to another name only when its own was not used for so long. Far more than the TTL
 * of an answer: some clients keep what they know longer. */
#define DNSPOOL_HOLD_MS 300000

struct dnspool;

/* taken: the TUN's own network, not given out where it lies within DNSPOOL_NET4; at most a /16. */
struct dnspool *dnspool_new(size_t max, const struct cidr *taken);
void dnspool_free(struct dnspool *p);

/* The address of a name, in lower case, of fewer than 256 bytes. -ENOSPC when every address is
 * held. */
int dnspool_get(struct dnspool *p, const char *name, int family, uint64_t now_ms, struct ip *ret);
/* Is the address one that only the pool gives out, whether or not a name has it? */
bool dnspool_has(const struct dnspool *p, const struct ip *ip);
/* The name of an address, which counts as use; NULL when no name has it. Valid until the next
 * dnspool_get(). */
const char *dnspool_find(struct dnspool *p, const struct ip *ip, uint64_t now_ms);

#endif
