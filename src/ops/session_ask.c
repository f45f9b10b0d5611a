// SPDX-License-Identifier: GPL-2.0-or-later
/* Sessions, from outside of the process that watches over them. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "kernel/link.h"
#include "kernel/netns.h"
#include "ops/ops.h"
#include "ops/session.h"
#include "proc/pidlock.h"
#include "session/control.h"
#include "session/life.h"
#include "vpc/way.h"

/* Of openconnect's script; with a verb and a name before it, it is still a request. */
#define ENVIRONMENT_MAX (CONTROL_MAX - 1024)
#define END_MS 30000 /* for a group's process to take everything away */

static bool is_alive(const char *group)
{
	char path[SESSION_PATH_MAX];

	session_path(group, ".lock", path);
	return pidlock_holder(path) != 0;
}

/* ---- Status ---- */

static void add_bytes(const char *netns, json_t *status)
{
	_netns_ struct netns *ns = NULL;
	struct link_counts counts = {0};

	if (!netns_open(netns, NULL, &ns, NULL))
		link_get_counts(ns, SESSION_TUN, &counts, NULL);
	json_object_set_new(status, "bytes_in", json_integer((json_int_t)counts.rx_bytes));
	json_object_set_new(status, "bytes_out", json_integer((json_int_t)counts.tx_bytes));
}

/* What the row knows, for a session that nobody has told of yet, or that nobody watches over. */
static json_t *describe_row(const struct session *s)
{
	char addr[IP_STRLEN];

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s?, s:s, s:[]}", "name", s->name,
			 "group", s->group, "file", s->file, "since", s->created, "mode",
			 session_mode_name(s->mode), "namespace", s->netns, "carrier",
			 *s->carrier ? s->carrier : NULL, "address", ip_format(&s->addr, addr),
			 "addresses");
}

static json_t *describe(const struct session *s)
{
	enum session_state fallback = SESSION_STARTING;
	char path[SESSION_PATH_MAX];
	json_t *json;

	session_path(s->name, ".json", path);
	json = json_load_file(path, 0, NULL);
	if (!json_is_object(json)) {
		json_decref(json);
		json = describe_row(s);
		json_object_set_new(json, "state", json_string(session_state_name(fallback)));
	}
	if (!is_alive(s->group))
		json_object_set_new(json, "state", json_string(session_state_name(SESSION_DOWN)));
	json_object_set_new(json, "interface", json_string(s->interface));
	add_bytes(s->netns, json);
	return json;
}

/* Egresses live in sessions' namespaces, and are looked after as what they are. */
static void leave_out_egresses(struct session *rows, size_t *n)
{
	size_t kept = 0;

	for (size_t i = 0; i < *n; i++) {
		if (egress_is_group(rows[i].group))
			session_done(&rows[i]);
		else
			rows[kept++] = rows[i];
	}
	*n = kept;
}

static int list_rows(const char *group, struct session **ret, size_t *n, struct err *err)
{
	_store_ struct store *st = NULL;
	int r = store_open(STORE_DIR, STORE_READ, &st, err);

	if (!r)
		r = session_list(st, group, ret, n, err);
	if (!r && !group)
		leave_out_egresses(*ret, n);
	return r;
}

static int load_row(const char *name, struct session *ret, struct err *err)
{
	_store_ struct store *st =
		NULL; /* closed at once: whoever is asked next may want to write */
	int r = store_open(STORE_DIR, STORE_READ, &st, err);

	return r ? r : session_load(st, name, ret, err);
}

/* The session of that name, else the group's. */
static int find_rows(const char *name, struct session **ret, size_t *n, struct err *err)
{
	struct session one = {0};

	if (!name || load_row(name, &one, err)) {
		int r = list_rows(name, ret, n, name ? NULL : err);

		return r || *n || !name ? r : -ENOENT; /* with the words about the session */
	}
	*ret = xcalloc(1, sizeof(one));
	**ret = one;
	*n = 1;
	return 0;
}

int ops_session_status(const char *name, json_t **ret, struct err *err)
{
	struct session *rows = NULL;
	size_t n = 0;
	int r = find_rows(name, &rows, &n, err);

	if (r)
		return r;
	*ret = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(*ret, describe(&rows[i]));
	session_list_free(rows, n);
	return 0;
}

int ops_session_log_path(const char *name, char **ret, struct err *err)
{
	json_t *list, *path;
	int r = ops_session_status(name, &list, err);

	if (r)
		return r;
	path = json_object_get(json_array_get(list, 0), "log");
	if (json_is_string(path) && json_array_size(list) == 1)
		*ret = xstrdup(json_string_value(path));
	else
		r = err_set(err, ERR_NOT_FOUND, -ENOENT,
			    json_is_string(path) ? "'%s' is a group: name one of its sessions"
						 : "session %s has no log yet",
			    name);
	json_decref(list);
	return r;
}

/* ---- Asking the process ---- */

static int ask(const char *name, enum control_verb verb, struct err *err)
{
	struct session s = {0};
	char path[SESSION_PATH_MAX];
	int r = load_row(name, &s, err);

	if (r)
		return r;
	session_path(s.group, ".sock", path);
	if (is_alive(s.group))
		r = control_ask(path, verb, name, NULL, 0, err);
	else
		r = err_set(err, ERR_NOT_FOUND, -ESRCH,
			    "nobody watches over session %s: `byway session up %s`", name, s.file);
	session_done(&s);
	return r;
}

int ops_session_restart(const char *name, struct err *err)
{
	return ask(name, CONTROL_RESTART, err);
}

int ops_session_check(const char *name, struct err *err)
{
	return ask(name, CONTROL_CHECK, err);
}

int ops_session_hook(struct err *err)
{
	const char *name = getenv("BYWAY_SESSION"), *path = getenv("BYWAY_SESSION_SOCKET");
	_buf_ struct buf env = {0};

	if (!name || !path)
		return err_set(err, ERR_USAGE, -EINVAL,
			       "this is for openconnect to call, as its --script");
	for (char **e = environ; *e; e++)
		buf_add(&env, *e, strlen(*e) + 1);
	if (env.len > ENVIRONMENT_MAX)
		env.len = 0; /* which is refused, where without a word nobody would know why */
	return control_ask(path, CONTROL_HOOK, name, env.data, env.len, err);
}

/* ---- Taking away ---- */

struct groups {
	char (*names)[NAME_MAX_LEN];
	size_t n;
};

static bool groups_have(const struct groups *g, const char *name)
{
	for (size_t i = 0; i < g->n; i++)
		if (!strcmp(g->names[i], name))
			return true;
	return false;
}

static void groups_add(struct groups *g, const char *name)
{
	if (groups_have(g, name))
		return;
	g->names = xrealloc(g->names, g->n + 1, sizeof(*g->names));
	if (!str_copy(g->names[g->n], NAME_MAX_LEN, name))
		g->n++;
}

/* A process that has no sessions yet, or none any more, is known by its lock alone. */
static void add_locks(struct groups *g, const char *what, const struct groups *with_rows)
{
	DIR *d = opendir(SESSION_DIR);
	char group[NAME_MAX_LEN] = "";
	const struct dirent *e;

	if (what)
		session_group_of(what, group);
	while (d && (e = readdir(d))) {
		const char *dot = strrchr(e->d_name, '.');
		_free_ char *name = strndup(e->d_name, dot ? (size_t)(dot - e->d_name) : 0);

		if (dot && !strcmp(dot, ".lock") && !groups_have(with_rows, name) &&
		    (!what || !strcmp(name, what) || !strcmp(name, group)))
			groups_add(g, name);
	}
	if (d)
		closedir(d);
}

static void find_groups(const struct session *rows, size_t n, const char *what, struct groups *ret)
{
	struct groups with_rows = {0};
	_free_ char *path = file_absolute(what ? what : "");

	for (size_t i = 0; i < n; i++) {
		groups_add(&with_rows, rows[i].group);
		if (!what || !strcmp(rows[i].group, what) || !strcmp(rows[i].file, path))
			groups_add(ret, rows[i].group);
	}
	add_locks(ret, what, &with_rows);
	free(with_rows.names);
}

static int remove_rows(struct ops *o, const struct session *rows, size_t n, struct err *err)
{
	int r = ops_open(o, STORE_WRITE, err);

	if (!r) /* also with none: the host's settings, which a crash may have left */
		r = ops_session_remove(o, rows, n, err);
	ops_suspend(o);
	return r;
}

/* As long as the lock is ours, no process brings up what we take away. */
static int hold(const char *group, int *ret_lock, struct err *err)
{
	char path[SESSION_PATH_MAX];
	int r;

	session_path(group, ".lock", path);
	r = pidlock_take(path, ret_lock, err);
	return r == -EBUSY ? err_set(err, ERR_CONFLICT, r,
				     "the sessions of group %s are being brought up again", group)
			   : r;
}

/* What is left without a process: one session of the group, or all. */
static int clear(struct ops *o, const char *group, const struct session *one, struct err *err)
{
	struct session *rows = NULL;
	_close_ int lock = -1;
	size_t n = 0;
	int r = o->log.dry_run ? 0 : hold(group, &lock, err);

	if (!r && !one)
		r = list_rows(group, &rows, &n, err);
	if (!r)
		r = remove_rows(o, one ? one : rows, one ? 1 : n, err);
	session_list_free(rows, n);
	if (!r && !o->log.dry_run)
		session_remove_files(group, NULL);
	return r;
}

static int down_group(struct ops *o, const char *group, struct err *err)
{
	char path[SESSION_PATH_MAX];
	int r;

	session_path(group, ".lock", path);
	r = o->log.dry_run ? 0 : pidlock_end(path, END_MS, err);
	return r ? r : clear(o, group, NULL, err);
}

static bool has_sessions(const char *group)
{
	struct session *rows = NULL;
	size_t n = 0;
	bool unknown = list_rows(group, &rows, &n, NULL) != 0;

	session_list_free(rows, n);
	return unknown || n;
}

/* With the last session the group goes: its process, which is about to end anyway, and its files.
 */
static int down_session(struct ops *o, const struct session *s, struct err *err)
{
	char path[SESSION_PATH_MAX];
	int r;

	session_path(s->group, ".sock", path);
	if (!o->log.dry_run && is_alive(s->group))
		r = control_ask(path, CONTROL_DOWN, s->name, NULL, 0, err);
	else
		r = clear(o, s->group, s, err);
	if (!r && !o->log.dry_run && !has_sessions(s->group))
		r = down_group(o, s->group, err);
	return r;
}

static int down_groups(struct ops *o, const struct session *rows, size_t n, const char *what,
		       size_t *ret_n, struct err *err)
{
	struct groups groups = {0};
	int r = 0;

	find_groups(rows, n, what, &groups);
	for (size_t i = 0; i < n; i++)
		*ret_n += groups_have(&groups, rows[i].group);
	for (size_t i = 0; i < groups.n; i++) {
		struct err later;
		int one = down_group(o, groups.names[i], r ? &later : err);

		r = r ? r : one;
	}
	free(groups.names);
	if (!o->log.dry_run)
		rmdir(SESSION_DIR); /* of a process that did not get as far as its lock */
	return r;
}

int ops_session_down(struct ops *o, const char *what, size_t *ret_n, struct err *err)
{
	struct session *rows = NULL;
	const struct session *one = NULL;
	size_t n = 0;
	int r = list_rows(NULL, &rows, &n, err);

	*ret_n = 0;
	for (size_t i = 0; i < n && what; i++)
		if (!strcmp(rows[i].name, what))
			one = &rows[i];
	if (one) {
		*ret_n = 1;
		r = down_session(o, one, err);
	} else if (!r) {
		r = down_groups(o, rows, n, what, ret_n, err);
	}
	session_list_free(rows, n);
	return r;
}
