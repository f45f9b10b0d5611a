// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host as a router: switched on for the first VPC or session, put back as it was with the last.
 *
 * Each setting that is changed is recorded with its old value before. Putting back leaves a setting
 * alone that somebody else has changed since.
 */
#include <errno.h>
#include <jansson.h>
#include <linux/rtnetlink.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "kernel/link.h"
#include "kernel/netns.h"
#include "kernel/route.h"
#include "kernel/sysctl.h"
#include "ops/ops.h"

#define FORWARDING "forwarding"

#define FORWARD4 "net/ipv4/ip_forward"
#define REDIRECTS4 "net/ipv4/conf/all/accept_redirects"
#define FORWARD6 "net/ipv6/conf/all/forwarding"

#define VIEW_DIR "settings"
#define VIEW_FILE "sysctl.json"

struct saved {
	char key[96], old[SYSCTL_VALUE_MAX], set[SYSCTL_VALUE_MAX];
};

static void get_text(sqlite3_stmt *q, int i, char *dst, size_t size)
{
	snprintf(dst, size, "%s", (const char *)sqlite3_column_text(q, i));
}

/* In the order to put them back: the forwarding switches first, they reset what hangs on them. owner
 * NULL: everybody's. */
static int each_saved(struct ops *o, const char *owner,
		      int (*fn)(struct ops *, const struct saved *, void *), void *arg,
		      struct err *err)
{
	_stmt_ sqlite3_stmt *q = NULL;
	int r = store_query(o->st, &q, err,
			    "SELECT key, old, new FROM sysctl WHERE ?1 IS NULL OR owner = ?1"
			    " ORDER BY key LIKE '%accept%', key",
			    "s", owner);

	while (!r && (r = store_step(o->st, q, err)) == 1) {
		struct saved s;

		get_text(q, 0, s.key, sizeof(s.key));
		get_text(q, 1, s.old, sizeof(s.old));
		get_text(q, 2, s.set, sizeof(s.set));
		r = fn(o, &s, arg);
	}
	return r;
}

static int add_to_view(struct ops *o, const struct saved *s, void *list)
{
	(void)o;
	return json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "key", s->key, "old", s->old,
						     "set", s->set))
		       ? -ENOMEM
		       : 0;
}

/* What `byway reset` reads when the database is damaged. */
static int publish(struct ops *o, struct err *err)
{
	json_t *list = json_array();
	_free_ char *text = NULL;
	int r = each_saved(o, NULL, add_to_view, list, err);

	text = json_dumps(list, JSON_INDENT(2));
	if (!r && !o->log.dry_run)
		r = json_array_size(list)
			    ? store_publish(o->st, VIEW_DIR, VIEW_FILE, text, strlen(text), err)
			    : store_unpublish_all(o->st, VIEW_DIR, err);
	json_decref(list);
	return r;
}

static int record(struct ops *o, const char *owner, const char *key, const char *old,
		  const char *value, struct err *err)
{
	int r = ops_begin(o, err);

	if (!r)
		r = store_exec(o->st, err,
			       "INSERT OR IGNORE INTO sysctl (key, old, new, owner)"
			       " VALUES (?1, ?2, ?3, ?4)",
			       "ssss", key, old, value, owner);
	r = ops_end(o, r, err);
	return r ? r : publish(o, err);
}

int ops_setting_change(struct ops *o, const char *owner, const char *key, const char *value,
		       bool *ret_changed, struct err *err)
{
	char old[SYSCTL_VALUE_MAX];
	int r = sysctl_get(o->host, key, old, err);

	if (r || !strcmp(old, value))
		return r;
	if (ret_changed)
		*ret_changed = true;
	r = record(o, owner, key, old, value, err);
	return r ? r : sysctl_set(o->host, key, value, err);
}

static int change(struct ops *o, const char *key, const char *value, bool *ret_changed,
		  struct err *err)
{
	return ops_setting_change(o, FORWARDING, key, value, ret_changed, err);
}

/* Every switch of ip_forward sets this to the opposite (net/ipv4/devinet.c, inet_forward_change()):
 * a host that took no redirects before takes none after. */
static int keep_redirects(struct ops *o, struct err *err)
{
	char forward[SYSCTL_VALUE_MAX] = "", old[SYSCTL_VALUE_MAX] = "";
	int r = sysctl_get(o->host, FORWARD4, forward, err);

	if (!r)
		r = sysctl_get(o->host, REDIRECTS4, old, err);
	if (r || !strcmp(forward, "1") || strcmp(old, "0"))
		return r;
	return record(o, FORWARDING, REDIRECTS4, old, "1", err);
}

struct learners {
	struct ops *o;
	bool *learns; /* by interface index, below size */
	int size;
	struct err *err;
};

static int note_learner(const struct route *r, void *arg)
{
	struct learners *l = arg;

	if (r->protocol == RTPROT_RA && r->ifindex > 0 && r->ifindex < l->size)
		l->learns[r->ifindex] = true;
	return 0;
}

/* A router ignores advertisements unless accept_ra is 2: without it, a host that got its address and
 * default route from one would lose them. */
static int keep_learning(const struct link *link, void *arg)
{
	struct learners *l = arg;
	char key[64 + IFNAMSIZ];

	if (link->index >= l->size || !l->learns[link->index])
		return 0;
	snprintf(key, sizeof(key), "net/ipv6/conf/%s/accept_ra", link->name);
	return change(l->o, key, "2", NULL, l->err);
}

#define INDEX_MAX 65536

int ops_forwarding_on(struct ops *o, bool v6, bool *ret_changed, struct err *err)
{
	_free_ bool *learns = NULL;
	struct learners l = {.o = o, .size = INDEX_MAX, .err = err};
	int r = keep_redirects(o, err);

	if (!r)
		r = change(o, FORWARD4, "1", ret_changed, err);
	if (r || !v6)
		return r;
	learns = l.learns = xcalloc(INDEX_MAX, sizeof(*learns));
	r = route_each(o->host, AF_INET6, note_learner, &l, err);
	if (!r)
		r = link_each(o->host, keep_learning, &l, err);
	return r ? r : change(o, FORWARD6, "1", ret_changed, err);
}

static int count_v6(struct ops *o, int64_t *ret, struct err *err)
{
	return row_number(o->st, "SELECT COUNT(*) FROM vpc WHERE cidr6 IS NOT NULL", NULL, ret, err);
}

int ops_forwarding_keep(struct ops *o, bool *ret_changed, struct err *err)
{
	int64_t users = 0, v6 = 0;
	int r = ops_forwarding_users(o, &users, err);

	if (!r)
		r = count_v6(o, &v6, err);
	return r || !users ? r : ops_forwarding_on(o, v6 > 0, ret_changed, err);
}

static int verify(struct ops *o, const char *key, struct err *err)
{
	char now[SYSCTL_VALUE_MAX];
	int r = sysctl_get(o->host, key, now, err);

	return r || !strcmp(now, "1") ? r : err_set(err, ERR_FAILED, -ESTALE, "%s is %s", key, now);
}

int ops_forwarding_verify(struct ops *o, struct err *err)
{
	int64_t users = 0, v6 = 0;
	int r = ops_forwarding_users(o, &users, err);

	if (!r)
		r = count_v6(o, &v6, err);
	if (!r && users)
		r = verify(o, FORWARD4, err);
	return r || !v6 ? r : verify(o, FORWARD6, err);
}

static int put_back(struct ops *o, const struct saved *s, struct err *err)
{
	char now[SYSCTL_VALUE_MAX];
	int r = sysctl_get(o->host, s->key, now, NULL);

	if (r == -ENOENT) /* an interface that is gone has no setting any more */
		return 0;
	return r || strcmp(now, s->set) ? r : sysctl_set(o->host, s->key, s->old, err);
}

struct restoring {
	size_t n;
	struct err *err;
};

static int put_back_one(struct ops *o, const struct saved *s, void *arg)
{
	struct restoring *restoring = arg;

	restoring->n++;
	return put_back(o, s, restoring->err);
}

int ops_forwarding_users(struct ops *o, int64_t *ret, struct err *err)
{
	return row_number(o->st,
			  "SELECT (SELECT COUNT(*) FROM vpc) + (SELECT COUNT(*) FROM session)",
			  NULL, ret, err);
}

/* The records go when all is put back, and after the file: doing it twice changes nothing. */
int ops_setting_restore(struct ops *o, const char *owner, size_t *ret_changed, struct err *err)
{
	struct restoring restoring = {.err = err};
	int r = each_saved(o, owner, put_back_one, &restoring, err);

	if (r || !restoring.n)
		return r;
	if (ret_changed)
		*ret_changed += restoring.n;
	r = ops_begin(o, err);
	if (!r)
		r = store_exec(o->st, err, "DELETE FROM sysctl WHERE owner = ?1", "s", owner);
	if (!r)
		r = publish(o, err);
	return ops_end(o, r, err);
}

int ops_forwarding_restore(struct ops *o, size_t *ret_changed, struct err *err)
{
	int64_t users = 0;
	int r = ops_forwarding_users(o, &users, err);

	return r || users ? r : ops_setting_restore(o, FORWARDING, ret_changed, err);
}

/* Is it the state that knows what becomes of this? */
static bool is_recorded(struct ops *o, const char *key)
{
	int64_t n = 0;

	return o->st &&
	       !row_number(o->st, "SELECT COUNT(*) FROM sysctl WHERE key = ?1", key, &n, NULL) && n;
}

int ops_forwarding_rescue(struct ops *o, size_t *ret_changed, struct err *err)
{
	json_t *list = json_load_file(STORE_DIR "/" VIEW_DIR "/" VIEW_FILE, 0, NULL), *one;
	int r = 0;
	size_t i;

	if (!list)
		return 0;
	json_array_foreach(list, i, one) {
		const char *key, *old, *set;
		struct saved s;

		if (json_unpack(one, "{s:s, s:s, s:s}", "key", &key, "old", &old, "set", &set) ||
		    is_recorded(o, key) || str_copy(s.key, sizeof(s.key), key) || str_copy(s.old, sizeof(s.old), old) ||
		    str_copy(s.set, sizeof(s.set), set))
			continue;
		r = put_back(o, &s, err);
		if (r)
			break;
		++*ret_changed;
	}
	json_decref(list);
	return r || !o->st ? r : publish(o, err);
}
