// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host as a router: switched on for the first VPC, put back as it was with the last.
 *
 * Each setting that is changed is recorded with its old value before. Putting back leaves a setting
 * alone that somebody else has changed since.
 */
#include <errno.h>
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

#define FORWARD4 "net/ipv4/ip_forward"
#define REDIRECTS4 "net/ipv4/conf/all/accept_redirects"
#define FORWARD6 "net/ipv6/conf/all/forwarding"

static int record(struct ops *o, const char *key, const char *old, const char *value,
		  struct err *err)
{
	int r = ops_begin(o, err);

	if (!r)
		r = store_exec(o->st, err,
			       "INSERT OR IGNORE INTO sysctl (key, old, new) VALUES (?1, ?2, ?3)", "sss",
			       key, old, value);
	if (r) {
		ops_rollback(o);
		return r;
	}
	return ops_commit(o, err);
}

/* Records and sets. Done already, by us or by others: nothing. */
static int change(struct ops *o, const char *key, const char *value, struct err *err)
{
	char old[SYSCTL_VALUE_MAX];
	int r = sysctl_get(o->host, key, old, err);

	if (r || !strcmp(old, value))
		return r;
	r = record(o, key, old, value, err);
	return r ? r : sysctl_set(o->host, key, value, err);
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
	return record(o, REDIRECTS4, old, "1", err);
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
	return change(l->o, key, "2", l->err);
}

#define INDEX_MAX 65536

int ops_forwarding_on(struct ops *o, bool v6, struct err *err)
{
	_free_ bool *learns = NULL;
	struct learners l = {.o = o, .size = INDEX_MAX, .err = err};
	int r = keep_redirects(o, err);

	if (!r)
		r = change(o, FORWARD4, "1", err);
	if (r || !v6)
		return r;
	learns = l.learns = xcalloc(INDEX_MAX, sizeof(*learns));
	r = route_each(o->host, AF_INET6, note_learner, &l, err);
	if (!r)
		r = link_each(o->host, keep_learning, &l, err);
	return r ? r : change(o, FORWARD6, "1", err);
}

struct saved {
	char key[96], old[SYSCTL_VALUE_MAX], set[SYSCTL_VALUE_MAX];
};

static void get_text(sqlite3_stmt *q, int i, char *dst, size_t size)
{
	snprintf(dst, size, "%s", (const char *)sqlite3_column_text(q, i));
}

/* The forwarding switches first: they reset what hangs on them. */
static int first_saved(struct ops *o, struct saved *ret, struct err *err)
{
	_stmt_ sqlite3_stmt *q = NULL;
	int r = store_query(o->st, &q, err,
			    "SELECT key, old, new FROM sysctl "
			    "ORDER BY key LIKE '%accept%', key LIMIT 1",
			    "");

	if (!r)
		r = store_step(o->st, q, err);
	if (r == 1) {
		get_text(q, 0, ret->key, sizeof(ret->key));
		get_text(q, 1, ret->old, sizeof(ret->old));
		get_text(q, 2, ret->set, sizeof(ret->set));
	}
	return r;
}

static int restore(struct ops *o, const struct saved *s, struct err *err)
{
	char now[SYSCTL_VALUE_MAX];
	int r = sysctl_get(o->host, s->key, now, NULL);

	/* An interface that is gone has no setting any more. */
	if (!r && !strcmp(now, s->set))
		r = sysctl_set(o->host, s->key, s->old, err);
	if (r && r != -ENOENT)
		return r;
	r = ops_begin(o, err);
	if (!r)
		r = store_exec(o->st, err, "DELETE FROM sysctl WHERE key = ?1", "s", s->key);
	if (r) {
		ops_rollback(o);
		return r;
	}
	return ops_commit(o, err);
}

int ops_forwarding_restore(struct ops *o, size_t *ret_changed, struct err *err)
{
	int64_t vpcs = 0;
	int r = row_number(o->st, "SELECT COUNT(*) FROM vpc", NULL, &vpcs, err);

	if (r || vpcs)
		return r;
	for (;;) {
		struct saved s;

		r = first_saved(o, &s, err);
		if (r <= 0)
			return r;
		r = restore(o, &s, err);
		if (r)
			return r;
		if (ret_changed)
			(*ret_changed)++;
	}
}
