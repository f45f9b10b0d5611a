// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Ways out. A list of egresses has a mark (vpc/way.h), by which policy routing sends packets to the
 * first of them that is up. Who goes out by which list is in two sets of it: networks in one,
 * single ports in the other, which comes first. That is routing; what passes is in the sets `way`
 * and `port_way`, pairs of a source and the legs of its list. So a mark that somebody changes, a
 * rule or a route that is missing may block, and never let out elsewhere. Not marked is what a
 * VPC's bridge reaches by itself (reach), and what answers a connection that began elsewhere. Rules
 * grow with the number of different lists, not with those who use them.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "vpc/host_rules.h"
#include "vpc/host_rules_impl.h"
#include "vpc/names.h"
#include "vpc/port.h"
#include "vpc/vpc.h"
#include "vpc/way.h"

/* From linux/netfilter_ipv4.h, which clashes with netinet/in.h. */
#define NF_IP_PRI_MANGLE (-150)

/* Pairs of a source and an interface, in or out. */
static struct fw_set *pair_set(struct host_rules *h, const char *name, int family, bool in)
{
	static const enum fw_field *const of[][2] = {{reach4_fields, from4_fields},
						     {reach6_fields, from6_fields}};
	const enum fw_field *fields = of[family == AF_INET6][in];
	char full[FW_NAME_MAX];
	struct fw_set *s;

	snprintf(full, sizeof(full), "%s%c", name, family == AF_INET6 ? '6' : '4');
	s = host_find_set(h, full);
	return s ? s : fw_interval_set(h->inet, full, 2, fields);
}

struct fw_set *host_ways_set(struct host_rules *h, const struct way *w, int family, bool is_port)
{
	char name[FW_NAME_MAX - 1];

	snprintf(name, sizeof(name), "%s%u_", is_port ? "port_from" : "from", w->no);
	return pair_set(h, name, family, true);
}

static struct fw_set *way_set(struct host_rules *h, int family, bool is_port)
{
	return pair_set(h, is_port ? "port_way" : "way", family, false);
}

struct fw_set *host_ways_own(struct host_rules *h, int family)
{
	return pair_set(h, "port_own", family, true);
}

/* Who goes out by a list of egresses, and by nothing else. */
struct way_user {
	const char *bridge;              /* of its VPC */
	const struct cidr *cidr, *cidr6; /* a subnet's or a network's; of a port, its addresses */
	bool is_port;                    /* counts more than the network it is in */
	const struct way *way;           /* NULL: no way out at all */
	const char *const *legs;         /* the host's ends, of the list's egresses */
	size_t n_legs;
};

static void add_way(struct host_rules *h, const struct way_user *u, const struct cidr *c)
{
	int family = c->addr.family;

	if (!family)
		return;
	if (u->is_port)
		fw_set_add_cidr(host_ways_own(h, family), c, u->bridge);
	if (!u->way)
		return;
	fw_set_add_cidr(host_ways_set(h, u->way, family, u->is_port), c, u->bridge);
	for (size_t i = 0; i < u->n_legs; i++)
		fw_set_add_cidr(way_set(h, family, u->is_port), c, u->legs[i]);
}

/* A rule of both families about what comes from a VPC and is in a set of pairs. */
static void rules_pair(struct fw_chain *c, enum fw_verdict verdict, struct fw_set *set4,
		       struct fw_set *set6, const enum fw_field fields4[],
		       const enum fw_field fields6[])
{
	struct fw_rule *r = fw_rule(c, verdict);

	host_match_from(r);
	fw_match_set(r, FW_OP_IN, set4, 2, fields4);
	r = fw_rule(c, verdict);
	host_match_from(r);
	fw_match_set(r, FW_OP_IN, set6, 2, fields6);
}

/* The port's way out counts, or that it has none; then its network's. */
void host_ways_forward(struct host_rules *h, struct fw_chain *c)
{
	rules_pair(c, FW_ACCEPT, way_set(h, AF_INET, true), way_set(h, AF_INET6, true),
		   reach4_fields, reach6_fields);
	rules_pair(c, FW_DROP, host_ways_own(h, AF_INET), host_ways_own(h, AF_INET6), from4_fields,
		   from6_fields);
	rules_pair(c, FW_ACCEPT, way_set(h, AF_INET, false), way_set(h, AF_INET6, false),
		   reach4_fields, reach6_fields);
}

static void rule_mark(struct host_rules *h, struct fw_chain *c, const struct way *w, int family,
		      bool is_port)
{
	fw_match_set(fw_rule_set_bits(c, FW_SET_MARK, way_mark(w->no)), FW_OP_IN,
		     host_ways_set(h, w, family, is_port), 2,
		     family == AF_INET6 ? from6_fields : from4_fields);
}

static void rules_mark(struct host_rules *h, struct fw_chain *c, const struct way *ways, size_t n,
		       bool is_port)
{
	for (size_t i = 0; i < n; i++) {
		rule_mark(h, c, &ways[i], AF_INET, is_port);
		rule_mark(h, c, &ways[i], AF_INET6, is_port);
	}
}

/* Marks add up: what a port's rule has marked goes no further. */
void host_ways_mark(struct host_rules *h, const struct way *ways, size_t n)
{
	struct fw_chain *c = fw_base_chain(h->inet, "prerouting", FW_CHAIN_FILTER,
					   FW_HOOK_PREROUTING, NF_IP_PRI_MANGLE, FW_ACCEPT);

	fw_match_u32(fw_rule(c, FW_ACCEPT), FW_IIFGROUP, FW_OP_NE, GROUP_VPC);
	fw_match_u8(fw_rule(c, FW_ACCEPT), FW_CT_DIRECTION, FW_OP_EQ, FW_CT_REPLY);
	/* For the host, which may send it on to a workload: a published port. */
	fw_match_u32(fw_rule(c, FW_ACCEPT), FW_DADDR_TYPE, FW_OP_EQ, RTN_LOCAL);
	rules_pair(c, FW_ACCEPT, h->reach4, h->reach6, back4_fields, back6_fields);
	rules_mark(h, c, ways, n, true);
	rules_pair(c, FW_ACCEPT, host_ways_own(h, AF_INET), host_ways_own(h, AF_INET6),
		   from4_fields, from6_fields);
	rules_mark(h, c, ways, n, false);
}

void host_ways_done(struct host_ways *w)
{
	egress_list_free(w->egresses, w->n_egresses);
	free(w->ways);
	free(w->uses);
}

/* What the host itself sends is not judged here: tunnel/capture.c. */
static void leave_host(struct host_ways *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n_uses; i++) {
		if (w->uses[i].kind != USE_HOST)
			w->uses[n++] = w->uses[i];
	}
	w->n_uses = n;
}

int host_ways_load(struct store *st, struct host_ways *w, struct err *err)
{
	int r = egress_list(st, &w->egresses, &w->n_egresses, err);

	if (!r)
		r = way_list(st, &w->ways, &w->n_ways, err);
	if (!r)
		r = use_list(st, &w->uses, &w->n_uses, err);
	if (!r)
		leave_host(w);
	return r;
}

static const struct way *find_way(const struct host_ways *w, const char *list)
{
	for (size_t i = 0; i < w->n_ways; i++) {
		if (!strcmp(w->ways[i].list, list))
			return &w->ways[i];
	}
	return NULL;
}

struct legs {
	const struct host_ways *ways;
	const char *names[WAY_EGRESSES_MAX];
	size_t n;
};

static int add_leg(const char *egress, void *arg)
{
	struct legs *l = arg;

	for (size_t i = 0; i < l->ways->n_egresses && l->n < WAY_EGRESSES_MAX; i++) {
		if (!strcmp(l->ways->egresses[i].name, egress))
			l->names[l->n++] = l->ways->egresses[i].leg;
	}
	return 0;
}

bool host_ways_has(const struct host_ways *w, enum use_kind kind, const char *vpc, const char *name)
{
	for (size_t i = 0; i < w->n_uses; i++) {
		if (w->uses[i].kind == kind && !strcmp(w->uses[i].vpc, vpc) &&
		    !strcmp(w->uses[i].name, name))
			return w->uses[i].state != ROW_DELETING;
	}
	return false;
}

static struct cidr single(const struct ip *ip)
{
	return (struct cidr){.addr = *ip, .prefix = ip_bits(ip->family)};
}

static int add_use(struct store *st, struct host_rules *h, const struct host_ways *w,
		   const struct use *use, struct err *err)
{
	struct legs legs = {.ways = w};
	struct way_user u = {.way = find_way(w, use->list), .legs = legs.names};
	struct subnet s = {0};
	struct port p = {0};
	struct cidr addr, addr6;
	struct vpc v;
	int r = vpc_load(st, use->vpc, &v, err);

	if (r)
		return r == -ENOENT ? 0 : r;
	way_each(use->list, add_leg, &legs);
	u.n_legs = legs.n;
	u.bridge = v.bridge;
	u.cidr = &v.cidr;
	u.cidr6 = &v.cidr6;
	if (use->kind == USE_SUBNET) {
		r = subnet_load(st, use->vpc, use->name, &s, NULL);
		u.cidr = &s.cidr;
		u.cidr6 = &s.cidr6;
	} else if (use->kind == USE_PORT) {
		r = port_load(st, use->vpc, use->name, &p, NULL);
		addr = single(&p.addr);
		addr6 = single(&p.addr6);
		u.cidr = &addr;
		u.cidr6 = &addr6;
		u.is_port = true;
	}
	if (r)
		return r == -ENOENT ? 0 : err_errno(err, r, "cannot look up a workload");
	add_way(h, &u, u.cidr);
	add_way(h, &u, u.cidr6);
	return 0;
}

int host_rules_use(struct store *st, struct host_rules *h, enum use_kind kind, const char *vpc,
		   const char *name, struct err *err)
{
	_cleanup_(host_ways_done) struct host_ways w = {0};
	struct use use;
	int r = use_load(st, kind, vpc, name, &use, NULL);

	if (r)
		return r == -ENOENT ? 0 : err_errno(err, r, "cannot look up a way out");
	r = host_ways_load(st, &w, err);
	return r ? r : add_use(st, h, &w, &use, err);
}

int host_ways_add(struct store *st, struct host_rules *h, const struct host_ways *w,
		  struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < w->n_uses; i++) {
		if (w->uses[i].state != ROW_DELETING)
			r = add_use(st, h, w, &w->uses[i], err);
	}
	return r;
}
