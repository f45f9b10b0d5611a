// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What sessions need on the host: made for a whole file at once, and taken away for any number.
 *
 * An address that is given out is nobody's: not the host's, not another group's, and nobody answers
 * for it on the network of the interface. Those that are somebody's are leased to blockers as long
 * as the others are looked for, within one transaction.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "ipam/ipam.h"
#include "kernel/addr.h"
#include "kernel/arp.h"
#include "kernel/link.h"
#include "kernel/netns.h"
#include "kernel/route.h"
#include "ops/ops.h"
#include "ops/session.h"
#include "session/etc.h"
#include "session/inner.h"
#include "session/net.h"
#include "vpc/names.h"

#define PROBE_MS 100       /* neighbours answer within a few */
#define BLOCKER "in use: " /* no session has such a name */
#define POOL "@session/"   /* nor a VPC, whose pools are VPC/SUBNET */
#define POOL_LEN (NAME_MAX_LEN + sizeof(POOL))

/* One file's sessions on their way up. */
struct job {
	struct ops *o;
	const struct session_file *f;
	char interface[IFNAMSIZ];
	char pool[POOL_LEN];
	struct session *rows; /* one for each of f->sessions */
	bool *made;           /* that one was there before */
	session_made_fn on_made;
	void *arg;
	size_t n;
	struct ip *blocked;
	size_t n_blocked;
};

static void job_done(struct job *j)
{
	if (j->rows)
		session_list_free(j->rows, j->n);
	free(j->made);
	free(j->blocked);
}

static void pool_of(const char *group, char ret[POOL_LEN])
{
	snprintf(ret, POOL_LEN, POOL "%s", group);
}

/* ---- What is asked for ---- */

static int find_interface(struct job *j, struct err *err)
{
	struct link link;
	int r = *j->f->interface ? str_copy(j->interface, sizeof(j->interface), j->f->interface)
				 : route_default_link(j->o->host, j->interface, err);

	if (!r)
		r = link_get(j->o->host, j->interface, &link, err);
	if (!r && link_is_ours(&link) && link.group != GROUP_LEG)
		r = err_set(err, ERR_USAGE, -EINVAL,
			    "%s is byway's own: name an interface that leads out", link.name);
	return r;
}

static int check_vpcs(struct job *j, struct err *err)
{
	_free_ struct vpc *vpcs = NULL;
	char mine[CIDR_STRLEN], theirs[CIDR_STRLEN];
	size_t n = 0;
	int r = vpc_list(j->o->st, &vpcs, &n, err);

	for (size_t i = 0; !r && i < n; i++) {
		if (cidr_overlaps(&j->f->subnet, &vpcs[i].cidr))
			r = err_set(err, ERR_CONFLICT, -EEXIST, "subnet %s overlaps VPC '%s' (%s)",
				    cidr_format(&j->f->subnet, mine), vpcs[i].name,
				    cidr_format(&vpcs[i].cidr, theirs));
	}
	return r;
}

static int check_owners(struct job *j, struct err *err)
{
	for (size_t i = 0; i < j->n; i++) {
		struct session other = {0};
		int r = session_load(j->o->st, j->f->sessions[i].name, &other, NULL);

		if (!r && strcmp(other.group, j->f->group))
			r = err_set(err, ERR_CONFLICT, -EEXIST, "session '%s' is one of %s (%s)",
				    other.name, other.group, other.file);
		session_done(&other);
		if (r && r != -ENOENT)
			return r;
	}
	return 0;
}

static int check(struct job *j, struct err *err)
{
	int r = name_check("group of sessions", j->f->group, err);

	for (size_t i = 0; !r && i < j->n; i++)
		r = name_check("session", j->f->sessions[i].name, err);
	if (!r)
		r = find_interface(j, err);
	if (!r)
		r = check_vpcs(j, err);
	return r ? r : check_owners(j, err);
}

/* ---- What is there already ---- */

static bool is_as_asked(const struct job *j, const struct session *s,
			const struct session_spec *spec)
{
	return s->state == ROW_ACTIVE && s->mode == spec->mode && s->nat == j->f->nat &&
	       !strcmp(s->interface, j->interface) && cidr_has(&j->f->subnet, &s->addr) &&
	       session_net_is_up(j->o->host, s);
}

/* Takes the row over, or leaves it. */
static bool adopt(struct job *j, struct session *s)
{
	for (size_t i = 0; i < j->n; i++) {
		if (strcmp(j->f->sessions[i].name, s->name))
			continue;
		if (!is_as_asked(j, s, &j->f->sessions[i]))
			return false;
		j->rows[i] = *s;
		j->made[i] = true;
		*s = (struct session){0};
		return true;
	}
	return false;
}

static int load_existing(struct job *j, struct err *err)
{
	struct session *all = NULL;
	size_t n = 0, left = 0;
	int r = session_list(j->o->st, j->f->group, &all, &n, err);

	for (size_t i = 0; i < n; i++) {
		if (!adopt(j, &all[i]))
			all[left++] = all[i];
	}
	if (!r)
		r = ops_session_remove(j->o, all, left, err);
	session_list_free(all, left);
	return r;
}

static int add_pool(struct job *j, struct err *err)
{
	struct ip first = cidr_first_host(&j->f->subnet), last = cidr_last_host(&j->f->subnet);
	int r = ops_begin(j->o, err);

	if (!r)
		r = ipam_pool_add(j->o->st, j->pool, &first, &last, err);
	return ops_end(j->o, r, err);
}

/* Of a subnet that has changed, no address stays. */
static int make_pool(struct job *j, struct err *err)
{
	int r = add_pool(j, err);

	if (r != -EEXIST)
		return r;
	for (size_t i = 0; i < j->n; i++) {
		r = j->made[i] ? ops_session_remove(j->o, &j->rows[i], 1, err) : 0;
		if (r)
			return r;
		session_done(&j->rows[i]);
		j->made[i] = false;
	}
	return add_pool(j, err);
}

/* ---- Addresses ---- */

/* Somebody's of this group, or not of the pool: it needs no blocker. */
static int block(struct job *j, const struct ip *addr, struct err *err)
{
	char owner[sizeof(BLOCKER) + IP_STRLEN], text[IP_STRLEN];
	int r;

	snprintf(owner, sizeof(owner), BLOCKER "%s", ip_format(addr, text));
	r = ipam_lease_take_addr(j->o->st, j->pool, owner, addr, err);
	if (r == -EEXIST || r == -ERANGE)
		return 0;
	if (r)
		return r;
	j->blocked = xrealloc(j->blocked, j->n_blocked + 1, sizeof(*j->blocked));
	j->blocked[j->n_blocked++] = *addr;
	return 0;
}

static int unblock(struct job *j, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < j->n_blocked; i++) {
		char owner[sizeof(BLOCKER) + IP_STRLEN], text[IP_STRLEN];

		snprintf(owner, sizeof(owner), BLOCKER "%s", ip_format(&j->blocked[i], text));
		r = ipam_lease_release(j->o->st, j->pool, owner, err);
	}
	return r;
}

struct blocking {
	struct job *j;
	struct err *err;
};

static int block_own(const struct addr *a, void *arg)
{
	struct blocking *b = arg;

	return a->addr.addr.family == AF_INET ? block(b->j, &a->addr.addr, b->err) : 0;
}

/* What is known to be somebody's: the host's addresses, other groups'. */
static int block_known(struct job *j, struct err *err)
{
	struct blocking b = {.j = j, .err = err};
	struct session *all = NULL;
	size_t n = 0;
	int r = addr_each(j->o->host, block_own, &b, err);

	if (!r)
		r = session_list(j->o->st, NULL, &all, &n, err);
	for (size_t i = 0; !r && i < n; i++) {
		if (strcmp(all[i].group, j->f->group))
			r = block(j, &all[i].addr, err);
	}
	session_list_free(all, n);
	return r;
}

static int lease(struct job *j, size_t i, struct err *err)
{
	struct session *s = &j->rows[i];
	int r = ipam_lease_take(j->o->st, j->pool, s->name, &s->addr, err);

	if (r == -ENOSPC && j->n_blocked)
		err_append(err,
			   "; %zu of them are somebody else's, as far as %s or this host answers "
			   "for them",
			   j->n_blocked, j->interface);
	return r;
}

/* Another one instead of one that is used. */
static int lease_other(struct job *j, size_t i, struct err *err)
{
	struct session *s = &j->rows[i];
	int r = ipam_lease_release(j->o->st, j->pool, s->name, err);

	if (!r)
		r = block(j, &s->addr, err);
	return r ? r : lease(j, i, err);
}

/* Which of the rows that are listed in at[] have an address that somebody answers for: they get
 * another one, and are listed again. */
static int replace_used(struct job *j, size_t at[], size_t *n, struct err *err)
{
	_free_ struct ip *addrs = xcalloc(*n, sizeof(*addrs));
	_free_ bool *used = xcalloc(*n, sizeof(*used));
	size_t left = 0;
	int r;

	for (size_t i = 0; i < *n; i++)
		addrs[i] = j->rows[at[i]].addr;
	r = arp_probe(j->o->host, j->interface, addrs, *n, PROBE_MS, used, err);
	for (size_t i = 0; !r && i < *n; i++) {
		if (!used[i])
			continue;
		at[left++] = at[i];
		r = lease_other(j, at[i], err);
	}
	*n = left;
	return r;
}

static int assign_addresses(struct job *j, struct err *err)
{
	_free_ size_t *at = xcalloc(j->n + 1, sizeof(*at));
	size_t n = 0;
	int r = block_known(j, err);

	for (size_t i = 0; !r && i < j->n; i++) {
		if (j->made[i])
			continue;
		at[n++] = i;
		r = lease(j, i, err);
	}
	while (!r && n && !j->o->log.dry_run)
		r = replace_used(j, at, &n, err);
	return r ? r : unblock(j, err);
}

/* ---- Rows ---- */

static void describe(struct job *j, size_t i)
{
	const struct session_spec *spec = &j->f->sessions[i];
	struct session *s = &j->rows[i];

	str_copy(s->name, sizeof(s->name), spec->name);
	str_copy(s->group, sizeof(s->group), j->f->group);
	str_copy(s->interface, sizeof(s->interface), j->interface);
	s->file = xstrdup(j->f->path);
	s->mode = spec->mode;
	s->nat = j->f->nat;
	s->state = ROW_CREATING;
	now_utc(s->created);
}

/* The file may have been moved since. */
static int update_row(struct job *j, struct session *s, struct err *err)
{
	int r;

	if (!strcmp(s->file, j->f->path))
		return 0;
	free(s->file);
	s->file = xstrdup(j->f->path);
	r = session_remove(j->o->st, s->name, err);
	return r ? r : session_insert(j->o->st, s, err);
}

static int insert_row(struct job *j, struct session *s, struct err *err)
{
	int r = session_names(j->o->st, j->o->host, s, err);

	if (r)
		return r == -EEXIST ? err_context(err, "session '%s'", s->name) : r;
	return session_insert(j->o->st, s, err);
}

static int intend(struct job *j, struct err *err)
{
	int r = ops_begin(j->o, err);

	for (size_t i = 0; i < j->n; i++) {
		if (!j->made[i])
			describe(j, i);
	}
	if (!r)
		r = assign_addresses(j, err);
	for (size_t i = 0; !r && i < j->n; i++)
		r = j->made[i] ? update_row(j, &j->rows[i], err) : insert_row(j, &j->rows[i], err);
	if (!r)
		r = ops_record_firewall(j->o, err);
	return ops_end(j->o, r, err);
}

/* ---- The kernel ---- */

static int one_up(struct job *j, size_t i, struct err *err)
{
	const struct session *s = &j->rows[i];
	struct netns *outer = NULL, *inner = NULL;
	int r = session_net_up(j->o->host, s, &outer, &inner, err);

	if (!r && !j->o->log.dry_run)
		r = etc_write(s->netns, &j->f->sessions[i], NULL, err);
	if (!r)
		r = inner_prepare(inner, &j->f->sessions[i], err);
	if (inner != outer)
		netns_free(inner);
	netns_free(outer);
	return r;
}

/* The file may include other networks by now; and prove may have been killed. */
static int one_again(struct job *j, size_t i, struct err *err)
{
	_netns_ struct netns *inner = NULL;
	int r = netns_open(j->rows[i].netns, j->o->host->log, &inner, err);

	if (!r)
		r = session_net_mend(&j->rows[i], j->o->host->log, NULL, err);
	return r ? r : inner_prepare(inner, &j->f->sessions[i], err);
}

static int finish(struct job *j, struct err *err)
{
	int r = ops_begin(j->o, err);

	for (size_t i = 0; !r && i < j->n; i++) {
		j->rows[i].state = ROW_ACTIVE;
		r = session_set_state(j->o->st, j->rows[i].name, ROW_ACTIVE, err);
	}
	return ops_end(j->o, r, err);
}

/* The rules first: a pair meets them from its first packet. */
static int bring_up(struct job *j, struct err *err)
{
	int r = ops_table_sync(j->o, ops_session_rules, err);

	if (!r)
		r = ops_forwarding_on(j->o, false, NULL, err);
	for (size_t i = 0; !r && i < j->n; i++) {
		r = j->made[i] ? one_again(j, i, err) : one_up(j, i, err);
		if (!r && j->on_made)
			r = j->on_made(j->arg, j->rows, i, err);
		if (r)
			err_context(err, "session '%s'", j->rows[i].name);
	}
	return r ? r : finish(j, err);
}

/* What was there before stays. */
static void undo(struct job *j)
{
	_free_ struct session *new = xcalloc(j->n + 1, sizeof(*new));
	size_t n = 0;

	for (size_t i = 0; i < j->n; i++) {
		if (!j->made[i])
			new[n++] = j->rows[i];
	}
	ops_session_remove(j->o, new, n, NULL);
}

int ops_session_prepare(struct ops *o, const struct session_file *f, session_made_fn made,
			void *arg, struct session **ret, struct err *err)
{
	_cleanup_(job_done) struct job j = {
		.o = o, .f = f, .n = f->n_sessions, .on_made = made, .arg = arg};
	int r;

	pool_of(f->group, j.pool);
	j.rows = xcalloc(j.n + 1, sizeof(*j.rows));
	j.made = xcalloc(j.n + 1, sizeof(*j.made));
	r = check(&j, err);
	if (!r)
		r = ops_firewall(o, err);
	if (!r)
		r = load_existing(&j, err);
	if (!r)
		r = make_pool(&j, err);
	if (!r)
		r = intend(&j, err);
	if (r)
		return r;
	r = bring_up(&j, err);
	if (r) {
		undo(&j);
		return r;
	}
	*ret = TAKE_PTR(j.rows);
	return 0;
}

/* ---- Away ---- */

static int mark(struct ops *o, const struct session *s, size_t n, struct err *err)
{
	int r = ops_begin(o, err);

	for (size_t i = 0; !r && i < n; i++)
		r = session_set_state(o->st, s[i].name, ROW_DELETING, err);
	return ops_end(o, r, err);
}

static int forget(struct ops *o, const struct session *s, size_t n, struct err *err)
{
	int r = ops_begin(o, err);

	for (size_t i = 0; !r && i < n; i++) {
		char pool[POOL_LEN];

		pool_of(s[i].group, pool);
		r = ipam_lease_release(o->st, pool, s[i].name, err);
		if (!r || r == -ENOENT)
			r = session_remove(o->st, s[i].name, err);
	}
	return ops_end(o, r, err);
}

const char *session_path(const char *name, const char *suffix, char buf[SESSION_PATH_MAX])
{
	snprintf(buf, SESSION_PATH_MAX, SESSION_DIR "/%s%s", name, suffix);
	return buf;
}

int session_remove_files(const char *group, struct err *err)
{
	static const char *const suffixes[] = {".sock", ".lock"};
	char path[SESSION_PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++)
		if (unlink(session_path(group, suffixes[i], path)) && errno != ENOENT)
			return err_errno(err, -errno, "cannot remove %s", path);
	rmdir(SESSION_DIR);
	return 0;
}

static int remove_status(const struct session *s, struct err *err)
{
	char path[SESSION_PATH_MAX];

	session_path(s->name, ".json", path);
	return unlink(path) && errno != ENOENT ? err_errno(err, -errno, "cannot remove %s", path)
					       : 0;
}

int ops_session_remove(struct ops *o, const struct session *s, size_t n, struct err *err)
{
	struct failures f = {.err = err};
	int r;

	if (!n) /* a crash may have left the settings for last */
		return ops_forwarding_restore(o, NULL, err);
	r = mark(o, s, n, err);
	if (r)
		return r;
	failures_add(&f, session_net_down(o->host, s, n, failures_err(&f)));
	failures_add(&f, ops_table_sync(o, ops_session_rules, failures_err(&f)));
	for (size_t i = 0; i < n && !o->log.dry_run; i++)
		failures_add(&f, remove_status(&s[i], failures_err(&f)));
	if (!f.code)
		failures_add(&f, forget(o, s, n, failures_err(&f)));
	if (!f.code)
		failures_add(&f, ops_forwarding_restore(o, NULL, failures_err(&f)));
	return failures_tell(&f);
}

/* ---- Rules ---- */

int ops_session_rules(struct ops *o, struct ruleset *ret, bool *empty, struct err *err)
{
	struct session *all = NULL;
	size_t n = 0;
	int r = session_list(o->st, NULL, &all, &n, err);

	*empty = true;
	for (size_t i = 0; i < n; i++)
		*empty &= all[i].state == ROW_DELETING;
	session_rules(ret, all, n);
	session_list_free(all, n);
	return r;
}

int ops_session_rules_remove(struct ops *o, struct err *err)
{
	_ruleset_ struct ruleset rs;

	ruleset_init(&rs);
	session_rules(&rs, NULL, 0);
	return ops_rules_remove(o, &rs, err);
}
