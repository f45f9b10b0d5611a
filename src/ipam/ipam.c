// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * Three tables. ipam_pool: the range, and counters. ipam_lease: who has what. ipam_free: what
 * nobody has, as ranges, each with the pool's clock at the time it was freed; 0 means never used. A
 * range that was used is one address, and remembers its last owner.
 *
 * Addresses are BLOBs of 4 or 16 bytes in network order: SQLite's memcmp() order is theirs.
 *
 * Invariants
 *  1. Every address of a pool is in exactly one range of ipam_free or one row of ipam_lease.
 *  2. The clock grows with every release, so that (freed, last) orders the free ranges: the first
 *     is the one to give next.
 *  3. pool.leased counts the leases, pool.freed the free ranges that were used, at most
 *     IPAM_MEMORY.
 *
 * Ranges are keyed by their last address: taking from the front leaves key and indexes alone, and
 * the range that holds an address is the first whose last is not below it.
 *
 * When more than IPAM_MEMORY addresses were used and freed, the one freed longest ago becomes
 * part of the never-used ranges around it. Without that, a /8 with a steady coming and going of
 * short-lived owners would end with 16 million rows.
 */
#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "ipam/ipam.h"
#include "store/store.h"

struct pool {
	const char *name;
	int64_t id;
	struct ip first, last;
	int64_t leased, freed, clock;
};

struct range {
	struct ip first, last;
	int64_t freed;
};

static int ip_from_column(sqlite3_stmt *stmt, int column, struct ip *ret)
{
	size_t len = (size_t)sqlite3_column_bytes(stmt, column);
	struct ip ip = {.family = len == ip_len(AF_INET) ? AF_INET : AF_INET6};

	if (len != ip_len(ip.family))
		return -EUCLEAN;
	memcpy(ip.bytes, sqlite3_column_blob(stmt, column), len);
	*ret = ip;
	return 0;
}

static int bad_address(const char *pool, struct err *err)
{
	return err_set(err, ERR_FAILED, -EUCLEAN,
		       "pool %s holds something that is no address: `byway reset` starts anew",
		       pool);
}

/* 1: found, 0: not there. */
static int pool_find(struct store *st, const char *name, struct pool *ret, struct err *err)
{
	_stmt_ sqlite3_stmt *stmt = NULL;
	struct pool p = {.name = name};
	int r;

	r = store_query(
		st, &stmt, err,
		"SELECT id, first, last, leased, freed, clock FROM ipam_pool WHERE name = ?", "s",
		name);
	if (r == 0)
		r = store_step(st, stmt, err);
	if (r <= 0)
		return r;
	p.id = sqlite3_column_int64(stmt, 0);
	if (ip_from_column(stmt, 1, &p.first) || ip_from_column(stmt, 2, &p.last))
		return bad_address(name, err);
	p.leased = sqlite3_column_int64(stmt, 3);
	p.freed = sqlite3_column_int64(stmt, 4);
	p.clock = sqlite3_column_int64(stmt, 5);
	*ret = p;
	return 1;
}

static int pool_get(struct store *st, const char *name, struct pool *ret, struct err *err)
{
	int r = pool_find(st, name, ret, err);

	if (r < 0)
		return r;
	return r ? 0 : err_set(err, ERR_NOT_FOUND, -ENOENT, "there is no address pool %s", name);
}

static int pool_save(struct store *st, const struct pool *p, struct err *err)
{
	return store_exec(st, err,
			  "UPDATE ipam_pool SET leased = ?, freed = ?, clock = ? WHERE id = ?",
			  "iiii", p->leased, p->freed, p->clock, p->id);
}

static uint64_t pool_size(const struct pool *p)
{
	uint64_t size = 0;

	for (size_t i = 0; i < ip_len(p->first.family); i++) {
		/* The difference of the leading bytes so far: never negative. */
		if (size >> 56)
			return UINT64_MAX;
		size = size * 256 + p->last.bytes[i] - p->first.bytes[i];
	}
	return size == UINT64_MAX ? size : size + 1;
}

/* The first row of a query for (first, last, freed). 1: found, 0: no such range. */
static int range_read(struct store *st, sqlite3_stmt *stmt, const struct pool *p, struct range *ret,
		      struct err *err)
{
	struct range range;
	int r = store_step(st, stmt, err);

	if (r <= 0)
		return r;
	if (ip_from_column(stmt, 0, &range.first) || ip_from_column(stmt, 1, &range.last))
		return bad_address(p->name, err);
	range.freed = sqlite3_column_int64(stmt, 2);
	*ret = range;
	return 1;
}

static int range_next(struct store *st, const struct pool *p, struct range *ret, struct err *err)
{
	_stmt_ sqlite3_stmt *stmt = NULL;
	int r;

	r = store_query(st, &stmt, err,
			"SELECT first, last, freed FROM ipam_free WHERE pool = ?"
			" ORDER BY freed, last LIMIT 1",
			"i", p->id);
	return r ? r : range_read(st, stmt, p, ret, err);
}

static int range_of_owner(struct store *st, const struct pool *p, const char *owner,
			  struct range *ret, struct err *err)
{
	_stmt_ sqlite3_stmt *stmt = NULL;
	int r;

	r = store_query(st, &stmt, err,
			"SELECT first, last, freed FROM ipam_free WHERE pool = ? AND owner = ?"
			" ORDER BY freed DESC LIMIT 1",
			"is", p->id, owner);
	return r ? r : range_read(st, stmt, p, ret, err);
}

static int range_oldest_used(struct store *st, const struct pool *p, struct range *ret,
			     struct err *err)
{
	_stmt_ sqlite3_stmt *stmt = NULL;
	int r;

	r = store_query(st, &stmt, err,
			"SELECT first, last, freed FROM ipam_free WHERE pool = ? AND freed > 0"
			" ORDER BY freed LIMIT 1",
			"i", p->id);
	return r ? r : range_read(st, stmt, p, ret, err);
}

/* The range that ends at addr, or the next one after it. */
static int range_at_or_after(struct store *st, const struct pool *p, const struct ip *addr,
			     struct range *ret, struct err *err)
{
	_stmt_ sqlite3_stmt *stmt = NULL;
	int r;

	r = store_query(st, &stmt, err,
			"SELECT first, last, freed FROM ipam_free WHERE pool = ? AND last >= ?"
			" ORDER BY last LIMIT 1",
			"ib", p->id, addr->bytes, ip_len(addr->family));
	return r ? r : range_read(st, stmt, p, ret, err);
}

static int range_add(struct store *st, const struct pool *p, const struct range *range,
		     const char *owner, struct err *err)
{
	size_t len = ip_len(range->first.family);

	return store_exec(st, err,
			  "INSERT INTO ipam_free(pool, first, last, freed, owner)"
			  " VALUES(?, ?, ?, ?, ?)",
			  "ibbis", p->id, range->first.bytes, len, range->last.bytes, len,
			  range->freed, owner);
}

static int range_del(struct store *st, const struct pool *p, const struct range *range,
		     struct err *err)
{
	return store_exec(st, err, "DELETE FROM ipam_free WHERE pool = ? AND last = ?", "ib", p->id,
			  range->last.bytes, ip_len(range->last.family));
}

static int range_set_first(struct store *st, const struct pool *p, const struct range *range,
			   const struct ip *first, struct err *err)
{
	size_t len = ip_len(first->family);

	return store_exec(st, err, "UPDATE ipam_free SET first = ? WHERE pool = ? AND last = ?",
			  "bib", first->bytes, len, p->id, range->last.bytes, len);
}

/* Takes addr out of the range that holds it: what is left is nothing, one range, or two. */
static int range_cut(struct store *st, struct pool *p, const struct range *range,
		     const struct ip *addr, struct err *err)
{
	struct range before = {.first = range->first, .freed = range->freed};
	struct ip after;
	int r = 0;

	p->freed -= range->freed > 0;
	if (!ip_equal(addr, &range->first)) {
		before.last = ip_sub(*addr, 1);
		r = range_add(st, p, &before, NULL, err);
	}
	if (r < 0)
		return r;
	if (ip_equal(addr, &range->last))
		return range_del(st, p, range, err);
	after = ip_add(*addr, 1);
	return range_set_first(st, p, range, &after, err);
}

/* Makes the used range that was freed longest ago a part of the never-used ones (see above). */
static int forget_oldest(struct store *st, struct pool *p, struct err *err)
{
	struct range old, side;
	struct ip at;
	int r;

	r = range_oldest_used(st, p, &old, err);
	if (r == 1)
		r = range_del(st, p, &old, err);
	if (r < 0)
		return r;
	old.freed = 0;
	if (!ip_equal(&old.first, &p->first)) {
		at = ip_sub(old.first, 1);
		r = range_at_or_after(st, p, &at, &side, err);
		if (r == 1 && side.freed == 0 && ip_equal(&side.last, &at)) {
			old.first = side.first;
			r = range_del(st, p, &side, err);
		}
		if (r < 0)
			return r;
	}
	p->freed--;
	if (ip_equal(&old.last, &p->last))
		return range_add(st, p, &old, NULL, err);
	at = ip_add(old.last, 1);
	r = range_at_or_after(st, p, &at, &side, err);
	if (r < 0)
		return r;
	if (r == 1 && side.freed == 0 && ip_equal(&side.first, &at))
		return range_set_first(st, p, &side, &old.first, err);
	return range_add(st, p, &old, NULL, err);
}

int ipam_pool_add(struct store *st, const char *pool, const struct ip *first, const struct ip *last,
		  struct err *err)
{
	struct range all = {.first = *first, .last = *last};
	size_t len = ip_len(first->family);
	struct pool p;
	int r;

	assert(store_in_transaction(st));
	assert(first->family == last->family && ip_cmp(first, last) <= 0);
	r = pool_find(st, pool, &p, err);
	if (r < 0)
		return r;
	if (r == 1 && ip_equal(&p.first, first) && ip_equal(&p.last, last))
		return 0;
	if (r == 1 && p.leased > 0)
		return err_set(
			err, ERR_CONFLICT, -EEXIST,
			"address pool %s has another range, and %lld addresses of it are leased",
			pool, (long long)p.leased);
	r = ipam_pool_del(st, pool, err);
	if (r == 0)
		r = store_exec(st, err, "INSERT INTO ipam_pool(name, first, last) VALUES(?, ?, ?)",
			       "sbb", pool, first->bytes, len, last->bytes, len);
	if (r == 0)
		r = pool_get(st, pool, &p, err);
	return r ? r : range_add(st, &p, &all, NULL, err);
}

int ipam_pool_del(struct store *st, const char *pool, struct err *err)
{
	struct pool p;
	int r;

	assert(store_in_transaction(st));
	r = pool_find(st, pool, &p, err);
	if (r <= 0)
		return r;
	r = store_exec(st, err, "DELETE FROM ipam_lease WHERE pool = ?", "i", p.id);
	if (r == 0)
		r = store_exec(st, err, "DELETE FROM ipam_free WHERE pool = ?", "i", p.id);
	if (r == 0)
		r = store_exec(st, err, "DELETE FROM ipam_pool WHERE id = ?", "i", p.id);
	return r;
}

int ipam_pools_del(struct store *st, const char *group, struct err *err)
{
	/* '0' is '/' + 1: all names that begin with "GROUP/". */
#define OF_GROUP "name >= ?1 || '/' AND name < ?1 || '0'"
	static const char *const sql[] = {
		("DELETE FROM ipam_lease WHERE pool IN (SELECT id FROM ipam_pool WHERE " OF_GROUP ")"),
		("DELETE FROM ipam_free WHERE pool IN (SELECT id FROM ipam_pool WHERE " OF_GROUP ")"),
		"DELETE FROM ipam_pool WHERE " OF_GROUP,
	};

	assert(store_in_transaction(st));
	for (size_t i = 0; i < ARRAY_SIZE(sql); i++) {
		int r = store_exec(st, err, sql[i], "s", group);

		if (r)
			return r;
	}
	return 0;
}

/* 1: the owner has *ret. */
static int lease_find(struct store *st, const struct pool *p, const char *owner, struct ip *ret,
		      struct err *err)
{
	_stmt_ sqlite3_stmt *stmt = NULL;
	int r;

	r = store_query(st, &stmt, err, "SELECT addr FROM ipam_lease WHERE pool = ? AND owner = ?",
			"is", p->id, owner);
	if (r == 0)
		r = store_step(st, stmt, err);
	if (r == 1 && ip_from_column(stmt, 0, ret))
		return bad_address(p->name, err);
	return r;
}

static int lease_add(struct store *st, struct pool *p, const char *owner, const struct range *range,
		     const struct ip *addr, struct err *err)
{
	int r;

	r = range_cut(st, p, range, addr, err);
	if (r == 0)
		r = store_exec(st, err, "INSERT INTO ipam_lease(pool, owner, addr) VALUES(?, ?, ?)",
			       "isb", p->id, owner, addr->bytes, ip_len(addr->family));
	p->leased++;
	return r ? r : pool_save(st, p, err);
}

static int used_up(const struct pool *p, struct err *err)
{
	char first[IP_STRLEN], last[IP_STRLEN];

	return err_set(err, ERR_CONFLICT, -ENOSPC,
		       "address pool %s is used up: all %llu addresses of %s-%s are leased",
		       p->name, (unsigned long long)p->leased, ip_format(&p->first, first),
		       ip_format(&p->last, last));
}

int ipam_lease_take(struct store *st, const char *pool, const char *owner, struct ip *ret,
		    struct err *err)
{
	struct range range;
	struct pool p;
	int r;

	assert(store_in_transaction(st));
	r = pool_get(st, pool, &p, err);
	if (r < 0)
		return r;
	r = lease_find(st, &p, owner, ret, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = range_of_owner(st, &p, owner, &range, err);
	if (r == 0)
		r = range_next(st, &p, &range, err);
	if (r == 0)
		return used_up(&p, err);
	if (r == 1)
		r = lease_add(st, &p, owner, &range, &range.first, err);
	if (r == 0)
		*ret = range.first;
	return r;
}

/* -EEXIST, or why we cannot tell who has the address. */
static int name_holder(struct store *st, const struct pool *p, const struct ip *addr,
		       struct err *err)
{
	_stmt_ sqlite3_stmt *stmt = NULL;
	char text[IP_STRLEN];
	int r;

	r = store_query(st, &stmt, err, "SELECT owner FROM ipam_lease WHERE pool = ? AND addr = ?",
			"ib", p->id, addr->bytes, ip_len(addr->family));
	if (r == 0)
		r = store_step(st, stmt, err);
	if (r < 0)
		return r;
	return err_set(err, ERR_CONFLICT, -EEXIST, "%s is leased to %s", ip_format(addr, text),
		       r ? (const char *)sqlite3_column_text(stmt, 0) : "nobody we know");
}

static bool pool_has(const struct pool *p, const struct ip *addr)
{
	return addr->family == p->first.family && ip_cmp(&p->first, addr) <= 0 &&
	       ip_cmp(addr, &p->last) <= 0;
}

int ipam_lease_take_addr(struct store *st, const char *pool, const char *owner,
			 const struct ip *addr, struct err *err)
{
	char wanted[IP_STRLEN], a[IP_STRLEN], b[IP_STRLEN];
	struct range range;
	struct ip held;
	struct pool p;
	int r;

	assert(store_in_transaction(st));
	r = pool_get(st, pool, &p, err);
	if (r < 0)
		return r;
	if (!pool_has(&p, addr))
		return err_set(err, ERR_USAGE, -ERANGE, "%s is not in address pool %s, %s-%s",
			       ip_format(addr, wanted), pool, ip_format(&p.first, a),
			       ip_format(&p.last, b));
	r = lease_find(st, &p, owner, &held, err);
	if (r == 1 && ip_equal(&held, addr))
		return 0;
	if (r == 1)
		return err_set(err, ERR_CONFLICT, -EEXIST, "%s already has %s of address pool %s",
			       owner, ip_format(&held, a), pool);
	if (r == 0)
		r = range_at_or_after(st, &p, addr, &range, err);
	if (r < 0)
		return r;
	if (r == 0 || ip_cmp(&range.first, addr) > 0)
		return name_holder(st, &p, addr, err);
	return lease_add(st, &p, owner, &range, addr, err);
}

int ipam_lease_release(struct store *st, const char *pool, const char *owner, struct err *err)
{
	struct range range;
	struct pool p;
	int r;

	assert(store_in_transaction(st));
	r = pool_get(st, pool, &p, err);
	if (r == 0)
		r = lease_find(st, &p, owner, &range.first, err);
	if (r <= 0)
		return r;
	range.last = range.first;
	range.freed = ++p.clock;
	p.leased--;
	p.freed++;
	r = store_exec(st, err, "DELETE FROM ipam_lease WHERE pool = ? AND owner = ?", "is", p.id,
		       owner);
	if (r == 0)
		r = range_add(st, &p, &range, owner, err);
	if (r == 0 && p.freed > IPAM_MEMORY)
		r = forget_oldest(st, &p, err);
	return r ? r : pool_save(st, &p, err);
}

int ipam_lease_get(struct store *st, const char *pool, const char *owner, struct ip *ret,
		   struct err *err)
{
	struct pool p;
	int r;

	r = pool_get(st, pool, &p, err);
	if (r < 0)
		return r;
	r = lease_find(st, &p, owner, ret, err);
	if (r < 0)
		return r;
	return r ? 0
		 : err_set(err, ERR_NOT_FOUND, -ENOENT, "%s has no address of pool %s", owner,
			   pool);
}

int ipam_pool_usage(struct store *st, const char *pool, struct ipam_usage *ret, struct err *err)
{
	struct pool p;
	int r;

	r = pool_get(st, pool, &p, err);
	if (r < 0)
		return r;
	*ret = (struct ipam_usage){.size = pool_size(&p), .leased = (uint64_t)p.leased};
	return 0;
}
