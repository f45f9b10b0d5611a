// SPDX-License-Identifier: GPL-2.0-or-later
/* The tables egress, way and egress_use as structs. */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store/store.h"
#include "vpc/columns.h"
#include "vpc/way.h"

static_assert(WAY_MAX << WAY_MARK_SHIFT == WAY_MARK_MASK, "the mark holds every list's number");
static_assert(EGRESS_ROUTE_TABLE + EGRESS_MAX < WAY_BLOCKED_TABLE, "no table is two egresses'");
static_assert(WAY_RULE_PRIORITY + WAY_EGRESSES_MAX < WAY_BLOCKED_PRIORITY, "places have room");
static_assert(WAY_DNS_PRIORITY + WAY_EGRESSES_MAX <= WAY_DNS_BLOCKED_PRIORITY, "so do these");

/* Link-local (RFC 3927) and unique local (RFC 4193): nobody else routes them. */
static const unsigned char leg4[4] = {169, 254, 77};
static const unsigned char leg6[16] = {0xfd, 0x62, 0x79, 0x77, 0x61, 0x79, 0, 0x77};

/* Of a /31 and of a /127: the host's end is the even one. */
struct ip egress_leg_addr(unsigned int no, int family, bool inside)
{
	struct ip ip = {.family = family};
	size_t len = ip_len(family);

	memcpy(ip.bytes, family == AF_INET6 ? leg6 : leg4, len);
	ip.bytes[len - 1] = (unsigned char)(2 * no + inside);
	return ip;
}

#define GROUP_PREFIX "egress."

const char *egress_group(const char *name, char ret[NAME_MAX_LEN])
{
	snprintf(ret, NAME_MAX_LEN, GROUP_PREFIX "%.*s", EGRESS_NAME_MAX, name);
	return ret;
}

bool egress_is_group(const char *group)
{
	return !strncmp(group, GROUP_PREFIX, strlen(GROUP_PREFIX));
}

uint32_t way_mark(unsigned int no)
{
	return (uint32_t)no << WAY_MARK_SHIFT;
}

struct ip way_resolver(unsigned int no)
{
	return (struct ip){.family = AF_INET, .bytes = {169, 254, 79, (unsigned char)no}};
}

int way_each(const char *list, int (*fn)(const char *name, void *arg), void *arg)
{
	_free_ char *copy = xstrdup(list);
	char *rest = copy, *name;
	int r = 0;

	while (!r && *list && (name = strsep(&rest, ",")))
		r = fn(name, arg);
	return r;
}

static int is_other(const char *name, void *arg)
{
	return strcmp(name, arg) ? 0 : -EEXIST;
}

bool way_has(const char *list, const char *name)
{
	return way_each(list, is_other, (void *)(uintptr_t)name);
}

/* ---- Egresses ---- */

void egress_done(struct egress *e)
{
	free(e->spec);
	free(e->path);
	*e = (struct egress){0};
}

void egress_list_free(struct egress *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		egress_done(&list[i]);
	free(list);
}

#define EGRESS_COLUMNS "name, no, kind, via, spec, path, leg, created, state"

static void read_egress(sqlite3_stmt *q, void *row)
{
	struct egress *e = row;

	COLUMN_STR(q, 0, e->name);
	e->no = (unsigned int)sqlite3_column_int(q, 1);
	COLUMN_STR(q, 2, e->kind);
	COLUMN_STR(q, 3, e->via);
	e->spec = xstrdup(column_text(q, 4));
	e->path = xstrdup(column_text(q, 5));
	COLUMN_STR(q, 6, e->leg);
	COLUMN_STR(q, 7, e->created);
	e->state = column_state(q, 8);
}

static const struct row_reader egress_reader = {sizeof(struct egress), read_egress};

int egress_load(struct store *st, const char *name, struct egress *ret, struct err *err)
{
	int r = row_read(st, &egress_reader,
			 "SELECT " EGRESS_COLUMNS " FROM egress WHERE name = ?1", name, NULL, ret,
			 err);

	return r == -ENOENT ? err_set(err, ERR_NOT_FOUND, r, "there is no egress '%s'", name) : r;
}

int egress_list(struct store *st, struct egress **ret, size_t *n, struct err *err)
{
	return rows_read(st, &egress_reader, "SELECT " EGRESS_COLUMNS " FROM egress ORDER BY no",
			 NULL, NULL, ret, n, err);
}

int egress_insert(struct store *st, const struct egress *e, struct err *err)
{
	return store_exec(st, err,
			  "INSERT OR REPLACE INTO egress (" EGRESS_COLUMNS ") VALUES "
			  "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
			  "sisssssss", e->name, (int64_t)e->no, e->kind, e->via, e->spec, e->path,
			  e->leg, e->created, row_state_name(e->state));
}

int egress_set_path(struct store *st, const char *name, const char *path, struct err *err)
{
	return store_exec(st, err, "UPDATE egress SET path = ?2 WHERE name = ?1", "ss", name, path);
}

int egress_remove(struct store *st, const char *name, struct err *err)
{
	return store_exec(st, err, "DELETE FROM egress WHERE name = ?1", "s", name);
}

int egress_free_no(struct store *st, unsigned int *ret, struct err *err)
{
	int64_t no = 0;
	int r = row_number(st,
			   "SELECT MIN(no) FROM (SELECT 1 AS no UNION SELECT no + 1 FROM egress)"
			   " WHERE no NOT IN (SELECT no FROM egress)",
			   NULL, &no, err);

	if (!r && no > EGRESS_MAX)
		r = err_set(err, ERR_CONFLICT, -ENOSPC, "there are %u egresses already",
			    EGRESS_MAX);
	*ret = (unsigned int)no;
	return r;
}

/* ---- Lists ---- */

static void read_way(sqlite3_stmt *q, void *row)
{
	struct way *w = row;

	w->no = (unsigned int)sqlite3_column_int(q, 0);
	COLUMN_STR(q, 1, w->list);
}

static const struct row_reader way_reader = {sizeof(struct way), read_way};

int way_load(struct store *st, const char *list, struct way *ret, struct err *err)
{
	return row_read(st, &way_reader, "SELECT no, list FROM way WHERE list = ?1", list, NULL,
			ret, err);
}

/* The host's list has no mark of its own: ops/ways.c. */
#define IS_USED                                                                                    \
	"(list IN (SELECT list FROM egress_use WHERE kind <> 'host')"                              \
	" OR list IN (SELECT via FROM egress))"

int way_list(struct store *st, struct way **ret, size_t *n, struct err *err)
{
	return rows_read(st, &way_reader, "SELECT no, list FROM way WHERE " IS_USED " ORDER BY no",
			 NULL, NULL, ret, n, err);
}

int way_count_unused(struct store *st, int64_t *ret, struct err *err)
{
	return row_number(st, "SELECT COUNT(*) FROM way WHERE NOT " IS_USED, NULL, ret, err);
}

int way_take(struct store *st, const char *list, struct way *ret, struct err *err)
{
	int64_t no = 0;
	int r = way_load(st, list, ret, err);

	if (r != -ENOENT)
		return r;
	r = row_number(st,
		       "SELECT MIN(no) FROM (SELECT 1 AS no UNION SELECT no + 1 FROM way)"
		       " WHERE no NOT IN (SELECT no FROM way)",
		       NULL, &no, err);
	if (!r && no > WAY_MAX)
		r = err_set(err, ERR_CONFLICT, -ENOSPC,
			    "there are %u different lists of ways out already", WAY_MAX);
	if (r)
		return r;
	ret->no = (unsigned int)no;
	str_copy(ret->list, sizeof(ret->list), list);
	return store_exec(st, err, "INSERT INTO way (no, list) VALUES (?1, ?2)", "is", no, list);
}

int way_remove_unused(struct store *st, struct err *err)
{
	return store_exec(st, err, "DELETE FROM way WHERE NOT " IS_USED, "");
}

/* ---- Who uses them ---- */

static const char *const use_kinds[] = {
	[USE_NETWORK] = "network",
	[USE_SUBNET] = "subnet",
	[USE_PORT] = "port",
	[USE_HOST] = "host",
};
static_assert(ARRAY_SIZE(use_kinds) == USE_NUM_KINDS, "use_kinds[] doesn't match use_kind");

const char *use_format(const struct use *u, char ret[USE_STRLEN])
{
	if (u->kind == USE_HOST)
		str_copy(ret, USE_STRLEN, USE_HOST_NAME);
	else
		snprintf(ret, USE_STRLEN, "%s%s%s", u->vpc, *u->name ? "/" : "", u->name);
	return ret;
}

size_t use_excluded(const struct use *u, struct cidr ret[USE_EXCLUDES_MAX])
{
	_free_ char *list = xstrdup(u->exclude);
	char *rest = NULL;
	size_t n = 0;

	for (char *c = strtok_r(list, ",", &rest); c && n < USE_EXCLUDES_MAX;
	     c = strtok_r(NULL, ",", &rest))
		n += !cidr_parse(c, &ret[n], NULL);
	return n;
}

#define DNS_PORT 53

bool use_excludes(const struct use *u, const struct ip *to, uint16_t port)
{
	struct cidr excluded[USE_EXCLUDES_MAX];
	size_t n = port == DNS_PORT ? 0 : use_excluded(u, excluded);

	for (size_t i = 0; i < n; i++)
		if (cidr_has(&excluded[i], to))
			return true;
	return false;
}

#define USE_COLUMNS "vpc, kind, name, list, exclude, state"

static enum use_kind column_use_kind(sqlite3_stmt *q, int i)
{
	enum use_kind kind = USE_NETWORK;

	while (kind < USE_HOST && strcmp(use_kinds[kind], column_text(q, i)) != 0)
		kind++;
	return kind;
}

static void read_use(sqlite3_stmt *q, void *row)
{
	struct use *u = row;

	COLUMN_STR(q, 0, u->vpc);
	u->kind = column_use_kind(q, 1);
	COLUMN_STR(q, 2, u->name);
	COLUMN_STR(q, 3, u->list);
	COLUMN_STR(q, 4, u->exclude);
	u->state = column_state(q, 5);
}

static const struct row_reader use_reader = {sizeof(struct use), read_use};

#define USE_LOAD(kind)                                                                             \
	"SELECT " USE_COLUMNS " FROM egress_use WHERE vpc = ?1 AND kind = '" kind "' AND name = "  \
										  "?2"

int use_load(struct store *st, enum use_kind kind, const char *vpc, const char *name,
	     struct use *ret, struct err *err)
{
	static const char *const sql[USE_NUM_KINDS] = {[USE_NETWORK] = USE_LOAD("network"),
						       [USE_SUBNET] = USE_LOAD("subnet"),
						       [USE_PORT] = USE_LOAD("port"),
						       [USE_HOST] = USE_LOAD("host")};

	return row_read(st, &use_reader, sql[kind], vpc, name, ret, err);
}

bool use_is_there(struct store *st, enum use_kind kind, const char *vpc, const char *name)
{
	struct use u;

	return !use_load(st, kind, vpc, name, &u, NULL);
}

bool use_find(struct store *st, const struct vpc *v, const char *subnet, const char *port,
	      struct use *ret)
{
	if (*port && !use_load(st, USE_PORT, v->name, port, ret, NULL))
		return true;
	return v->flat ? !use_load(st, USE_NETWORK, v->name, "", ret, NULL)
		       : !use_load(st, USE_SUBNET, v->name, subnet, ret, NULL);
}

int use_count(struct store *st, int64_t *ret, struct err *err)
{
	return row_number(st, "SELECT COUNT(*) FROM egress_use WHERE kind <> 'host'", NULL, ret,
			  err);
}

int use_list(struct store *st, struct use **ret, size_t *n, struct err *err)
{
	return rows_read(st, &use_reader,
			 "SELECT " USE_COLUMNS " FROM egress_use ORDER BY vpc, name, kind", NULL,
			 NULL, ret, n, err);
}

int use_save(struct store *st, const struct use *u, struct err *err)
{
	return store_exec(st, err,
			  "INSERT OR REPLACE INTO egress_use (" USE_COLUMNS ")"
			  " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
			  "ssssss", u->vpc, use_kinds[u->kind], u->name, u->list, u->exclude,
			  row_state_name(u->state));
}

int use_remove(struct store *st, enum use_kind kind, const char *vpc, const char *name,
	       struct err *err)
{
	return store_exec(st, err,
			  "DELETE FROM egress_use WHERE vpc = ?1 AND kind = ?2 AND name = ?3",
			  "sss", vpc, use_kinds[kind], name);
}
