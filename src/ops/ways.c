// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lists of ways out, in the kernel: the rules that look from a list's mark into the tables of its
 * egresses, one after the other, and at last into one where nothing leads on; and the host's table
 * for legs. What passes at all is vpc/host_rules.c's, and of the host's own tunnel/capture.c's.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "egress/leg.h"
#include "firewall/firewall.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/route.h"
#include "kernel/rule.h"
#include "kernel/sysctl.h"
#include "ops/egress.h"
#include "ops/ops.h"
#include "ops/ways.h"
#include "session/session.h"
#include "tunnel/capture.h"

#define BLOCKED_METRIC 4000000u

static const int families[] = {AF_INET, AF_INET6};

/* ---- Rules of policy routing ---- */

struct rules {
	struct rule_spec *v;
	size_t n;
};

static void rules_done(struct rules *l)
{
	free(l->v);
}

static void rules_add(struct rules *l, const struct rule_spec *spec)
{
	l->v = xrealloc(l->v, l->n + 1, sizeof(*l->v));
	l->v[l->n++] = *spec;
}

/* Of ours, those of lists; others are a tunnel's. */
static int note_rule(const struct rule *r, void *arg)
{
	const struct rule_spec spec = {.family = r->family,
				       .priority = r->priority,
				       .fwmark = r->fwmark,
				       .mask = r->mask,
				       .table = r->table,
				       .to = r->to};

	if (r->protocol == ROUTE_PROTOCOL && r->priority >= WAY_DNS_PRIORITY &&
	    r->priority <= WAY_BLOCKED_PRIORITY)
		rules_add(arg, &spec);
	return 0;
}

static bool is_same(const struct rule_spec *a, const struct rule_spec *b)
{
	return a->family == b->family && a->priority == b->priority && a->fwmark == b->fwmark &&
	       a->mask == b->mask && a->table == b->table && ip_equal(&a->to, &b->to);
}

static bool has(const struct rules *l, const struct rule_spec *spec)
{
	for (size_t i = 0; i < l->n; i++)
		if (is_same(&l->v[i], spec))
			return true;
	return false;
}

struct places {
	struct rules *wanted;
	const struct egress *egresses;
	size_t n;
	struct rule_spec spec; /* of the next place */
};

static int add_place(const char *name, void *arg)
{
	struct places *p = arg;

	for (size_t i = 0; i < p->n; i++) {
		if (strcmp(p->egresses[i].name, name))
			continue;
		p->spec.table = EGRESS_ROUTE_TABLE + p->egresses[i].no;
		rules_add(p->wanted, &p->spec);
	}
	p->spec.priority++;
	return 0;
}

static void add_places(struct places p, const char *list, uint32_t priority, uint32_t blocked)
{
	p.spec.priority = priority;
	way_each(list, add_place, &p);
	p.spec.priority = blocked;
	p.spec.table = WAY_BLOCKED_TABLE;
	rules_add(p.wanted, &p.spec);
}

/* mark: under mask, that of a list. */
static void add_list(struct rules *wanted, const char *list, uint32_t mark, uint32_t mask,
		     const struct egress *egresses, size_t n, int family)
{
	const struct places p = {.wanted = wanted,
				 .egresses = egresses,
				 .n = n,
				 .spec = {.family = family, .fwmark = mark, .mask = mask}};

	add_places(p, list, WAY_RULE_PRIORITY, WAY_BLOCKED_PRIORITY);
}

/* Gateways' questions on behalf of a list's workloads; before the host's own way out is looked at.
 */
static void add_resolver(struct rules *wanted, const struct way *w, const struct egress *egresses,
			 size_t n)
{
	const struct places p = {.wanted = wanted,
				 .egresses = egresses,
				 .n = n,
				 .spec = {.family = AF_INET, .to = way_resolver(w->no)}};

	add_places(p, w->list, WAY_DNS_PRIORITY, WAY_DNS_BLOCKED_PRIORITY);
}

/* By which the host goes out: also with none, so that who sends is told. */
static void add_host(struct ops *o, struct rules *wanted, const struct egress *egresses, size_t n,
		     size_t n_families)
{
	struct use host;

	if (use_load(o->st, USE_HOST, "", "", &host, NULL))
		return;
	for (size_t f = 0; f < n_families; f++)
		add_list(wanted, host.list, CAPTURE_MARK_TUNNEL, CAPTURE_MARK_TUNNEL, egresses, n,
			 families[f]);
}

static int wanted_rules(struct ops *o, size_t n_families, struct rules *ret, struct err *err)
{
	struct egress *egresses = NULL;
	_free_ struct way *ways = NULL;
	size_t n_egresses = 0, n_ways = 0;
	int r = egress_list(o->st, &egresses, &n_egresses, err);

	if (!r)
		r = way_list(o->st, &ways, &n_ways, err);
	for (size_t i = 0; !r && i < n_ways; i++) {
		for (size_t f = 0; f < n_families && *ways[i].list; f++)
			add_list(ret, ways[i].list, way_mark(ways[i].no), WAY_MARK_MASK, egresses,
				 n_egresses, families[f]);
		if (*ways[i].list)
			add_resolver(ret, &ways[i], egresses, n_egresses);
	}
	if (!r)
		add_host(o, ret, egresses, n_egresses, n_families);
	egress_list_free(egresses, n_egresses);
	return r;
}

/* Nothing leads on: a route, for without one the rules behind would be looked at. */
static void block(struct nlbatch *b, int family, bool wanted)
{
	const struct route blocked = {.dst.addr.family = family,
				      .metric = BLOCKED_METRIC,
				      .table = WAY_BLOCKED_TABLE,
				      .type = RTN_UNREACHABLE};

	if (wanted)
		route_replace(b, &blocked, NULL);
	else
		route_del(b, &blocked);
}

static int change_rules(struct ops *o, const struct rules *wanted, const struct rules *there,
			size_t n_families, struct err *err)
{
	_nlbatch_ struct nlbatch b;

	nlbatch_init(&b, o->host);
	for (size_t f = 0; f < n_families && wanted->n; f++)
		block(&b, families[f], true);
	for (size_t i = 0; i < wanted->n; i++)
		if (!has(there, &wanted->v[i]))
			rule_add(&b, &wanted->v[i]);
	for (size_t i = 0; i < there->n; i++)
		if (!has(wanted, &there->v[i]))
			rule_del_same(&b, &there->v[i]);
	for (size_t f = 0; f < n_families && !wanted->n; f++)
		block(&b, families[f], false);
	return nlbatch_commit(&b, err);
}

static int sync_rules(struct ops *o, bool none, struct err *err)
{
	_cleanup_(rules_done) struct rules wanted = {0}, there = {0};
	size_t n = sysctl_has_ipv6(o->host) ? ARRAY_SIZE(families) : 1;
	int r = none ? 0 : wanted_rules(o, n, &wanted, err);

	for (size_t f = 0; !r && f < n; f++)
		r = rule_each(o->host, families[f], note_rule, &there, err);
	return r ? r : change_rules(o, &wanted, &there, n, err);
}

int ops_ways_verify(struct ops *o, struct err *err)
{
	_cleanup_(rules_done) struct rules wanted = {0}, there = {0};
	size_t n = sysctl_has_ipv6(o->host) ? ARRAY_SIZE(families) : 1;
	int r = wanted_rules(o, n, &wanted, err);

	for (size_t f = 0; !r && wanted.n && f < n; f++)
		r = rule_each(o->host, families[f], note_rule, &there, err);
	for (size_t i = 0; !r && i < wanted.n; i++)
		if (!has(&there, &wanted.v[i]))
			r = err_set(err, ERR_FAILED, -ESTALE, "a rule of policy routing is missing");
	return r;
}

/* ---- Who carries now ---- */

struct search {
	struct ops *o;
	unsigned int table;
	bool found;
	char name[NAME_MAX_LEN];
};

static int match_default(const struct route *r, void *arg)
{
	struct search *s = arg;

	s->found |= !r->dst.prefix && r->table == s->table && r->type == RTN_UNICAST;
	return 0;
}

/* 1: its process keeps a route into its leg, so that the kernel goes no further in the list. */
static int try_egress(const char *name, void *arg)
{
	_cleanup_(egress_done) struct egress e = {0};
	struct search *s = arg;

	if (egress_load(s->o->st, name, &e, NULL))
		return 0;
	s->table = EGRESS_ROUTE_TABLE + e.no;
	str_copy(s->name, sizeof(s->name), name);
	route_each(s->o->host, AF_INET, match_default, s, NULL);
	return s->found;
}

bool ops_ways_first(struct ops *o, const char *list, char ret[NAME_MAX_LEN])
{
	struct search s = {.o = o};

	way_each(list, try_egress, &s);
	str_copy(ret, NAME_MAX_LEN, s.name);
	return s.found;
}

/* ---- The table for legs ---- */

/* Egresses whose namespaces are there, and of them the carriers that go out through another. */
static int find_carriers(struct ops *o, const struct egress *e, struct session *sessions,
			 size_t n_sessions, struct leg_carrier *ret, size_t *n, bool *any,
			 struct err *err)
{
	char group[NAME_MAX_LEN];

	egress_group(e->name, group);
	for (size_t i = 0; i < n_sessions; i++) {
		struct way w;
		int r;

		if (strcmp(sessions[i].group, group) || sessions[i].state == ROW_DELETING)
			continue;
		*any = true;
		if (!*e->via)
			return 0;
		r = way_load(o->st, e->via, &w, err);
		if (r)
			return r == -ENOENT ? 0 : r;
		ret[(*n)++] = (struct leg_carrier){.session = &sessions[i], .way = w.no};
		return 0;
	}
	return 0;
}

static int build_legs(struct ops *o, struct ruleset *rs, const struct egress *e, size_t n_egresses,
		      bool *empty, struct err *err)
{
	_free_ struct leg_carrier *carriers = xcalloc(n_egresses + 1, sizeof(*carriers));
	struct session *sessions = NULL;
	size_t n_sessions = 0, n = 0;
	bool any = false;
	int r = session_list(o->st, NULL, &sessions, &n_sessions, err);

	for (size_t i = 0; !r && i < n_egresses; i++)
		r = find_carriers(o, &e[i], sessions, n_sessions, carriers, &n, &any, err);
	leg_rules_host(rs, carriers, n,
		       use_is_there(o->st, USE_HOST, "", "") ? CAPTURE_MARK_TUNNEL : 0);
	session_list_free(sessions, n_sessions);
	*empty = !any;
	return r;
}

int ops_legs_rules(struct ops *o, struct ruleset *ret, bool *empty, struct err *err)
{
	struct egress *e = NULL;
	size_t n = 0;
	int r = egress_list(o->st, &e, &n, err);

	if (!r)
		r = build_legs(o, ret, e, n, empty, err);
	egress_list_free(e, n);
	return r;
}

int ops_legs_remove(struct ops *o, struct err *err)
{
	_ruleset_ struct ruleset rs;

	ruleset_init(&rs);
	leg_rules_host(&rs, NULL, 0, 0);
	return ops_rules_remove(o, &rs, err);
}

/* ---- All of it ---- */

static int forget_unused(struct ops *o, struct err *err)
{
	int r = ops_begin(o, err);

	if (!r)
		r = way_remove_unused(o->st, err);
	return ops_end(o, r, err);
}

/* The rows last: by them it is known that there is something to be done again. */
static int sync_all(struct ops *o, bool tables, struct err *err)
{
	int r = tables ? ops_host_sync(o, err) : 0;

	if (!r)
		r = ops_table_sync(o, ops_legs_rules, err);
	if (!r)
		r = sync_rules(o, false, err);
	return r ? r : forget_unused(o, err);
}

int ops_ways_sync(struct ops *o, bool tables_too, struct err *err)
{
	int64_t unused = 0;
	int r = way_count_unused(o->st, &unused, err);

	return r ? r : sync_all(o, tables_too || unused, err);
}

int ops_ways_prune(struct ops *o, struct err *err)
{
	int64_t unused = 0;
	int r = way_count_unused(o->st, &unused, err);

	return r || !unused ? r : sync_all(o, true, err);
}

int ops_ways_remove(struct ops *o, struct err *err)
{
	int r = ops_legs_remove(o, err);

	if (!r)
		r = sync_rules(o, true, err);
	return r ? r : ops_host_way_remove(o, err);
}
