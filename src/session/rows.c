// SPDX-License-Identifier: GPL-2.0-or-later
/* The table session as structs. */
#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "session/session.h"
#include "store/store.h"
#include "vpc/columns.h"

static const char *const mode_names[] = {
	[SESSION_FULL] = "full",
	[SESSION_SPLIT] = "split",
};
static_assert(ARRAY_SIZE(mode_names) == SESSION_NUM_MODES,
	      "mode_names[] doesn't match session_mode");

const char *session_mode_name(enum session_mode m)
{
	return mode_names[m];
}

void session_done(struct session *s)
{
	free(s->file);
	*s = (struct session){0};
}

void session_list_free(struct session *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		session_done(&list[i]);
	free(list);
}

#define COLUMNS                                                                                    \
	"name, session_group, file, mode, netns, carrier, veth_host, veth_ns, addr, interface, "   \
	"nat, created, state"

static void read_session(sqlite3_stmt *q, void *row)
{
	struct session *s = row;

	COLUMN_STR(q, 0, s->name);
	COLUMN_STR(q, 1, s->group);
	s->file = xstrdup(column_text(q, 2));
	s->mode =
		strcmp(column_text(q, 3), mode_names[SESSION_SPLIT]) ? SESSION_FULL : SESSION_SPLIT;
	COLUMN_STR(q, 4, s->netns);
	COLUMN_STR(q, 5, s->carrier);
	COLUMN_STR(q, 6, s->veth_host);
	COLUMN_STR(q, 7, s->veth_ns);
	column_ip(q, 8, &s->addr);
	COLUMN_STR(q, 9, s->interface);
	s->nat = sqlite3_column_int(q, 10);
	COLUMN_STR(q, 11, s->created);
	s->state = column_state(q, 12);
}

static const struct row_reader reader = {sizeof(struct session), read_session};

int session_load(struct store *st, const char *name, struct session *ret, struct err *err)
{
	int r = row_read(st, &reader, "SELECT " COLUMNS " FROM session WHERE name = ?1", name, NULL,
			 ret, err);

	return r == -ENOENT ? err_set(err, ERR_NOT_FOUND, r, "there is no session '%s'", name) : r;
}

int session_list(struct store *st, const char *group, struct session **ret, size_t *n,
		 struct err *err)
{
	if (group)
		return rows_read(st, &reader,
				 "SELECT " COLUMNS
				 " FROM session WHERE session_group = ?1 ORDER BY name",
				 group, NULL, ret, n, err);
	return rows_read(st, &reader, "SELECT " COLUMNS " FROM session ORDER BY name", NULL, NULL,
			 ret, n, err);
}

int session_insert(struct store *st, const struct session *s, struct err *err)
{
	char addr[IP_STRLEN];

	return store_exec(st, err,
			  "INSERT INTO session (" COLUMNS ") VALUES "
			  "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
			  "ssssssssssiss", s->name, s->group, s->file, mode_names[s->mode],
			  s->netns, *s->carrier ? s->carrier : NULL, s->veth_host, s->veth_ns,
			  ip_format(&s->addr, addr), s->interface, (int64_t)s->nat, s->created,
			  row_state_name(s->state));
}

int session_set_state(struct store *st, const char *name, enum row_state state, struct err *err)
{
	return store_exec(st, err, "UPDATE session SET state = ?2 WHERE name = ?1", "ss", name,
			  row_state_name(state));
}

int session_remove(struct store *st, const char *name, struct err *err)
{
	return store_exec(st, err, "DELETE FROM session WHERE name = ?1", "s", name);
}
