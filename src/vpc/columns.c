// SPDX-License-Identifier: GPL-2.0-or-later
#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store/store.h"
#include "vpc/columns.h"

static const char *const state_names[] = {
	[ROW_CREATING] = "creating",
	[ROW_ACTIVE] = "active",
	[ROW_DELETING] = "deleting",
};
static_assert(ARRAY_SIZE(state_names) == ROW_NUM_STATES, "state_names[] doesn't match row_state");

const char *row_state_name(enum row_state s)
{
	return state_names[s];
}

const char *column_text(sqlite3_stmt *q, int i)
{
	return (const char *)sqlite3_column_text(q, i);
}

void column_str(sqlite3_stmt *q, int i, char *dst, size_t size)
{
	const char *s = column_text(q, i);

	str_copy(dst, size, s ? s : "");
}

void column_cidr(sqlite3_stmt *q, int i, struct cidr *ret)
{
	const char *s = column_text(q, i);

	*ret = (struct cidr){0};
	if (s)
		cidr_parse(s, ret, NULL);
}

void column_ip(sqlite3_stmt *q, int i, struct ip *ret)
{
	const char *s = column_text(q, i);

	*ret = (struct ip){0};
	if (s)
		ip_parse(s, ret, NULL);
}

void column_mac(sqlite3_stmt *q, int i, struct mac *ret)
{
	const char *s = column_text(q, i);

	*ret = (struct mac){0};
	if (s)
		mac_parse(s, ret, NULL);
}

enum row_state column_state(sqlite3_stmt *q, int i)
{
	const char *s = column_text(q, i);

	for (size_t k = 0; s && k < ROW_NUM_STATES; k++) {
		if (!strcmp(s, state_names[k]))
			return (enum row_state)k;
	}
	return ROW_DELETING;
}

const char *cidr_text(const struct cidr *c, char buf[CIDR_STRLEN])
{
	return c->addr.family ? cidr_format(c, buf) : NULL;
}

const char *ip_text(const struct ip *ip, char buf[IP_STRLEN])
{
	return ip->family ? ip_format(ip, buf) : NULL;
}

int rows_read(struct store *st, const struct row_reader *rd, const char *sql, const char *param1,
	      const char *param2, void *ret, size_t *n, struct err *err)
{
	_stmt_ sqlite3_stmt *q = NULL;
	_free_ char *rows = NULL;
	size_t count = 0, cap = 0;
	int r;

	r = store_query(st, &q, err, sql, param2 ? "ss" : param1 ? "s" : "", param1, param2);
	if (r)
		return r;
	while ((r = store_step(st, q, err)) == 1) {
		if (count == cap) {
			cap = cap * 2 + 8;
			rows = xrealloc(rows, cap, rd->size);
		}
		memset(rows + count * rd->size, 0, rd->size);
		rd->read(q, rows + count++ * rd->size);
	}
	if (r < 0)
		return r;
	*(void **)ret = TAKE_PTR(rows);
	*n = count;
	return 0;
}

int row_read(struct store *st, const struct row_reader *rd, const char *sql, const char *param1,
	     const char *param2, void *ret, struct err *err)
{
	_free_ void *rows = NULL;
	size_t n = 0;
	int r = rows_read(st, rd, sql, param1, param2, &rows, &n, err);

	if (r)
		return r;
	if (!n)
		return -ENOENT;
	memcpy(ret, rows, rd->size);
	return 0;
}

int row_number(struct store *st, const char *sql, const char *param, int64_t *ret, struct err *err)
{
	_stmt_ sqlite3_stmt *q = NULL;
	int r = store_query(st, &q, err, sql, param ? "s" : "", param);

	if (r)
		return r;
	r = store_step(st, q, err);
	if (r < 0)
		return r;
	*ret = r ? sqlite3_column_int64(q, 0) : 0;
	return 0;
}
