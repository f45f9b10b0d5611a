// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * Entry i of the table has the address first + (i + shift) % max of either family. Names are found
 * by a keyed hash, addresses by subtraction; the entries in use form a list, the one used last at
 * its head.
 *
 * 1. A name keeps its address as long as it is in the table, and nobody else gets it before
 *    DNSPOOL_HOLD_MS without use have passed: a client that believes an old answer is not sent to
 *    another host, it is refused.
 * 2. shift is random, so that after a restart an address that a client still knows most
 *    likely stands for nothing.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/siphash.h"
#include "base/util.h"
#include "tunnel/dnspool.h"

#define NONE UINT32_MAX
#define NAME_SIZE 256

struct entry {
	uint32_t hash_next, newer, older;
	uint64_t used_ms;
	char name[NAME_SIZE];
};

struct dnspool {
	struct entry *entries;
	uint32_t *buckets;
	uint32_t max, used, n_buckets, shift;
	uint32_t newest, oldest;
	uint64_t key[2];
	struct cidr net4, net6, taken;
	struct ip first4, first6;
};

static struct cidr constant(const char *text)
{
	struct cidr c = {0};
	int r = cidr_parse_network(text, &c, NULL);

	assert(!r);
	(void)r;
	return c;
}

struct dnspool *dnspool_new(size_t max, const struct cidr *taken)
{
	struct dnspool *p = xcalloc(1, sizeof(*p));
	struct cidr half = constant("198.19.0.0/16");

	assert(max > 0 && max <= DNSPOOL_MAX);
	p->max = (uint32_t)max;
	p->entries = xcalloc(max, sizeof(*p->entries));
	for (p->n_buckets = 64; p->n_buckets < max; p->n_buckets *= 2)
		;
	p->buckets = xcalloc(p->n_buckets, sizeof(*p->buckets));
	memset(p->buckets, 0xff, p->n_buckets * sizeof(*p->buckets));
	p->newest = p->oldest = NONE;
	p->net4 = constant(DNSPOOL_NET4);
	p->net6 = constant(DNSPOOL_NET6);
	p->taken = *taken;
	if (taken->addr.family == AF_INET && cidr_overlaps(taken, &half))
		half = constant("198.18.0.0/16");
	p->first4 = ip_add(half.addr, 1);
	p->first6 = ip_add(p->net6.addr, 1);
	(void)!getrandom(p->key, sizeof(p->key),
			 0); /* so few bytes never fail once the system is up */
	(void)!getrandom(&p->shift, sizeof(p->shift), 0);
	p->shift %= p->max;
	return p;
}

void dnspool_free(struct dnspool *p)
{
	if (!p)
		return;
	free(p->entries);
	free(p->buckets);
	free(p);
}

/* ---- The list, and the hash ---- */

static void unlink_entry(struct dnspool *p, uint32_t i)
{
	const struct entry *e = &p->entries[i];

	*(e->newer == NONE ? &p->newest : &p->entries[e->newer].older) = e->older;
	*(e->older == NONE ? &p->oldest : &p->entries[e->older].newer) = e->newer;
}

static void link_newest(struct dnspool *p, uint32_t i, uint64_t now_ms)
{
	struct entry *e = &p->entries[i];

	e->newer = NONE;
	e->older = p->newest;
	e->used_ms = now_ms;
	*(p->newest == NONE ? &p->oldest : &p->entries[p->newest].newer) = i;
	p->newest = i;
}

static uint32_t *bucket_of(struct dnspool *p, const char *name)
{
	return &p->buckets[siphash(name, strlen(name), p->key) & (p->n_buckets - 1)];
}

static void unhash(struct dnspool *p, uint32_t i)
{
	uint32_t *at = bucket_of(p, p->entries[i].name);

	while (*at != i)
		at = &p->entries[*at].hash_next;
	*at = p->entries[i].hash_next;
}

static uint32_t find_name(struct dnspool *p, const char *name)
{
	uint32_t i = *bucket_of(p, name);

	while (i != NONE && strcmp(p->entries[i].name, name))
		i = p->entries[i].hash_next;
	return i;
}

/* An entry that is in neither, or NONE. */
static uint32_t make_room(struct dnspool *p, uint64_t now_ms)
{
	uint32_t i = p->oldest;

	if (p->used < p->max)
		return p->used++;
	if (now_ms - p->entries[i].used_ms < DNSPOOL_HOLD_MS)
		return NONE;
	unlink_entry(p, i);
	unhash(p, i);
	return i;
}

/* ---- Names and addresses ---- */

int dnspool_get(struct dnspool *p, const char *name, int family, uint64_t now_ms, struct ip *ret)
{
	uint32_t i = find_name(p, name), *bucket;
	int r;

	if (i != NONE) {
		unlink_entry(p, i);
	} else {
		i = make_room(p, now_ms);
		if (i == NONE)
			return -ENOSPC;
		r = str_copy(p->entries[i].name, NAME_SIZE, name);
		assert(!r);
		(void)r;
		bucket = bucket_of(p, name);
		p->entries[i].hash_next = *bucket;
		*bucket = i;
	}
	link_newest(p, i, now_ms);
	*ret = ip_add(family == AF_INET ? p->first4 : p->first6, (i + p->shift) % p->max);
	return 0;
}

bool dnspool_has(const struct dnspool *p, const struct ip *ip)
{
	if (ip->family == AF_INET6)
		return cidr_has(&p->net6, ip);
	return cidr_has(&p->net4, ip) &&
	       (p->taken.addr.family != AF_INET || !cidr_has(&p->taken, ip));
}

/* The last four bytes: no pool is larger. */
static uint32_t low32(const struct ip *ip)
{
	const uint8_t *b = ip->bytes + ip_len(ip->family) - 4;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

const char *dnspool_find(struct dnspool *p, const struct ip *ip, uint64_t now_ms)
{
	const struct ip *first = ip->family == AF_INET ? &p->first4 : &p->first6;
	struct ip again;
	uint32_t n, i;

	if (!dnspool_has(p, ip))
		return NULL;
	n = low32(ip) - low32(first);
	again = ip_add(*first, n);
	if (n >= p->max || !ip_equal(&again, ip))
		return NULL;
	i = (n + p->max - p->shift) % p->max;
	if (i >= p->used)
		return NULL;
	unlink_entry(p, i);
	link_newest(p, i, now_ms);
	return p->entries[i].name;
}
