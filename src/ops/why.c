// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * The first packet of a connection is followed as the kernel would, by the same rows that the
 * kernel's rules are made of: the policy of who sends, the host (published ports, peerings,
 * isolation, ways out, NAT), the policy of who is asked. Each step says where it was decided and by
 * what; the first that stops ends the walk. What is behind an interface that leads out is not known
 * here. vpc/host_rules.c is what this has to agree with; tests/netns/why.sh holds both against what
 * the kernel does.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "kernel/netns.h"
#include "kernel/route.h"
#include "ops/block.h"
#include "ops/ops.h"
#include "ops/why_impl.h"
#include "vpc/mapping.h"
#include "vpc/policy.h"
#include "vpc/policy_groups.h"
#include "vpc/way.h"

#define DNS_PORT 53
#define DHCP_SERVER_PORT 67
#define BLOCKED "is blocked until there is a tunnel: `byway unblock` opens it"

struct walk {
	struct ops *o;
	struct why *w;
	struct err *err;
	struct ip seen; /* the source, as the target sees it */
	bool sent_on;   /* by a published port */
	int code;       /* of what went wrong while looking; err says what */
};

void why_done(struct why *w)
{
	for (size_t i = 0; i < w->n_steps; i++)
		free(w->steps[i].file);
	free(w->steps);
	*w = (struct why){0};
}

static bool has_workload(const struct why_end *e)
{
	return e->kind == WHY_SUBNET || e->kind == WHY_PORT;
}

/* ---- Steps ---- */

static const char *end_name(const struct why_end *e, char buf[2 * NAME_MAX_LEN])
{
	switch (e->kind) {
	case WHY_SUBNET:
		snprintf(buf, 2 * NAME_MAX_LEN, "%s/%s", e->vpc.name, e->subnet.name);
		break;
	case WHY_PORT:
		snprintf(buf, 2 * NAME_MAX_LEN, "%s/%s", e->vpc.name, e->port.name);
		break;
	case WHY_THIS_HOST:
		return WHY_HOST;
	case WHY_OUTSIDE:
		return "outside";
	}
	return buf;
}

static struct why_step *add_step(struct walk *k, const char *where, bool stops)
{
	struct why *w = k->w;
	struct why_step *s;

	w->steps = xrealloc(w->steps, w->n_steps + 1, sizeof(*w->steps));
	s = &w->steps[w->n_steps++];
	*s = (struct why_step){.stops = stops};
	str_copy(s->where, sizeof(s->where), where);
	w->reaches = !stops;
	return s;
}

_printf_(3, 4) static void passes(struct walk *k, const char *where, const char *fmt, ...)
{
	struct why_step *s = add_step(k, where, false);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->what, sizeof(s->what), fmt, ap);
	va_end(ap);
}

/* Returns false: the walk ends. */
_printf_(3, 4) static bool stops(struct walk *k, const char *where, const char *fmt, ...)
{
	struct why_step *s = add_step(k, where, true);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->what, sizeof(s->what), fmt, ap);
	va_end(ap);
	return false;
}

/* ---- Policies ---- */

static int load_policy(struct walk *k, const struct why_end *e, struct policy_row *row,
		       struct policy **ret)
{
	struct policy_owner owner =
		e->kind == WHY_PORT ? port_owner(&e->port) : subnet_owner(&e->subnet);
	int r = policy_load(k->o->st, &owner, row, NULL);

	if (!r)
		r = policy_parse(row->file, row->text, strlen(row->text), ret, k->err);
	return r ? r : policy_groups_resolve(k->o->st, e->vpc.name, *ret, k->err);
}

static void say_rule(struct walk *k, const struct why_end *e, const struct policy_row *row,
		     const struct policy_rule *rule, const char *direction, bool allowed)
{
	char name[2 * NAME_MAX_LEN];
	struct why_step *s = add_step(k, end_name(e, name), !allowed);

	if (rule)
		snprintf(s->what, sizeof(s->what), "its policy's %s rule %s%s%s%s", direction,
			 allowed ? "allows it" : "denies it", rule->description ? " (" : "",
			 rule->description ? rule->description : "", rule->description ? ")" : "");
	else
		snprintf(s->what, sizeof(s->what), "none of its policy's %s rules says so: %s",
			 direction, allowed ? "open" : "dropped");
	s->file = xstrdup(row->file);
	s->line = rule ? rule->line : 0;
}

/* False: it is not let through, or something went wrong. */
static bool ask_policy(struct walk *k, const struct why_end *e, enum policy_dir dir,
		       const struct ip *src, const struct ip *dst)
{
	_cleanup_(policy_row_done) struct policy_row row = {0};
	_policy_ struct policy *p = NULL;
	const struct policy_rule *rule;
	uint8_t proto = k->w->flow.proto;
	bool allowed;
	int r;

	if (!has_workload(e))
		return true;
	r = load_policy(k, e, &row, &p);
	if (r && r != -ENOENT)
		k->code = r;
	if (r)
		return !k->code;
	if (proto == IPPROTO_ICMP && k->w->flow.family == AF_INET6)
		proto = IPPROTO_ICMPV6;
	rule = policy_eval(p, dir, src, dst, proto, k->w->flow.port, &allowed);
	if (p->n_rules[dir])
		say_rule(k, e, &row, rule, dir == POLICY_INGRESS ? "ingress" : "egress", allowed);
	return allowed;
}

/* ---- The host ---- */

static struct ip gateway_of(const struct vpc *v, int family)
{
	return vpc_gateway(family == AF_INET6 ? &v->cidr6 : &v->cidr);
}

static bool is_gateway(const struct vpc *v, const struct ip *addr)
{
	struct ip gateway = gateway_of(v, addr->family);

	return ip_equal(&gateway, addr);
}

static bool is_loopback(const struct ip *ip)
{
	static const struct ip loopback6 = {.family = AF_INET6, .bytes[15] = 1};

	return ip->family == AF_INET6 ? ip_equal(ip, &loopback6) : ip->bytes[0] == 127;
}

/* A published port's connection is for its target from here on. The kernel sends nothing of ::1
 * out, so that is left to who listens there. */
static bool find_mapping(struct walk *k, struct mapping *ret)
{
	_free_ struct mapping *m = NULL;
	const struct why_flow *f = &k->w->flow;
	const struct ip *to = &k->w->to.addr;
	size_t n = 0;

	if (k->w->to.kind != WHY_THIS_HOST || (to->family == AF_INET6 && is_loopback(to)) ||
	    mapping_list(k->o->st, NULL, &m, &n, k->err))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (m[i].protocol == f->proto && m[i].host_port == f->port &&
		    m[i].state != ROW_DELETING && mapping_has_family(&m[i], f->family) &&
		    (mapping_is_any(&m[i]) || ip_equal(&m[i].host_addr, to))) {
			*ret = m[i];
			return true;
		}
	}
	return false;
}

/* Who has the target on its own link, and 127.0.0.1, ask it in the gateway's name. That is so
 * behind the policies of ports, and before that of a subnet. */
static void see_gateway(struct walk *k)
{
	const struct why *w = k->w;

	if (w->to.kind == WHY_SUBNET && (has_workload(&w->from) || is_loopback(&k->seen)))
		k->seen = gateway_of(&w->to.vpc, w->flow.family);
}

static bool send_on(struct walk *k)
{
	char text[MAPPING_STRLEN], target[2 * NAME_MAX_LEN];
	struct mapping m;

	if (!find_mapping(k, &m))
		return true;
	snprintf(target, sizeof(target), "%.63s/%.63s", m.vpc, m.target);
	k->code = why_end_by_name(k->o, target, k->w->flow.family, &k->w->to, k->err);
	if (k->code)
		return false;
	k->w->flow.port = m.port;
	k->sent_on = true;
	see_gateway(k);
	passes(k, WHY_HOST, "published as %s: sent on to %s", mapping_format(&m, text), target);
	return true;
}

/* Which part of a VPC takes part in a peering; see add_side() in vpc/host_rules.c. */
static bool peer_has(const struct peer *p, const struct vpc *v, const struct ip *addr)
{
	const struct cidr *whole = addr->family == AF_INET6 ? &v->cidr6 : &v->cidr;
	bool of_family = false, of_vpc = false;

	for (size_t i = 0; i < p->n_allow; i++) {
		if (p->allow[i].addr.family != addr->family)
			continue;
		of_family = true;
		if (!cidr_contains(whole, &p->allow[i]))
			continue;
		of_vpc = true;
		if (cidr_has(&p->allow[i], addr))
			return true;
	}
	return !of_vpc && (of_family || !p->n_allow);
}

static bool cross_peering(struct walk *k)
{
	const struct why_end *a = &k->w->from, *b = &k->w->to;
	const struct why_end *const ends[] = {a, b};
	char text[IP_STRLEN];
	struct peer p;

	if (peer_load(k->o->st, a->vpc.name, b->vpc.name, &p, NULL) || p.state == ROW_DELETING)
		return stops(k, WHY_HOST, "VPC '%s' and VPC '%s' are not peers", a->vpc.name,
			     b->vpc.name);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		if (!peer_has(&p, &ends[i]->vpc, &ends[i]->addr))
			return stops(k, WHY_HOST, "the peering of '%s' and '%s' does not allow %s",
				     a->vpc.name, b->vpc.name, ip_format(&ends[i]->addr, text));
	}
	passes(k, WHY_HOST, "VPC '%s' and VPC '%s' are peers", a->vpc.name, b->vpc.name);
	return true;
}

/* ---- What the host says of all that it sends and forwards ---- */

/* False: it goes no further. ret_tun: the tunnel that it goes into, or "". */
static bool ask_host(struct walk *k, char ret_tun[IFNAMSIZ])
{
	enum why_say says = why_host_says(k->o, &k->w->flow, &k->w->to.addr, ret_tun);

	switch (says) {
	case WHY_BLOCKED:
		return stops(k, WHY_HOST, BLOCKED);
	case WHY_REFUSED:
		return stops(k, WHY_HOST,
			     "the kill switch of its tunnel (%s) lets nothing beside it", ret_tun);
	case WHY_CAPTURED:
		passes(k, WHY_HOST, "its tunnel captures it, by %s", ret_tun);
		return true;
	case WHY_FREE:
		*ret_tun = '\0';
	}
	return true;
}

/* To a workload: what a tunnel captures does not arrive. */
static bool stays_here(struct walk *k)
{
	char tun[IFNAMSIZ], text[IP_STRLEN];

	if (!ask_host(k, tun))
		return false;
	return !*tun || stops(k, WHY_HOST, "%s is to be excluded: see byway-proxy(8), --exclude",
			      ip_format(&k->w->to.addr, text));
}

/* Or it stays on one bridge. */
static bool is_routed(const struct walk *k)
{
	const struct why_end *a = &k->w->from, *b = &k->w->to;

	return k->sent_on || strcmp(a->vpc.name, b->vpc.name) != 0 || a->kind != WHY_PORT ||
	       b->kind != WHY_PORT || a->port.has_policy || b->port.has_policy;
}

static bool cross_vpc(struct walk *k)
{
	const struct why_end *a = &k->w->from, *b = &k->w->to;

	if (strcmp(a->vpc.name, b->vpc.name) != 0)
		return cross_peering(k);
	if (a->kind == WHY_PORT && b->kind == WHY_PORT && a->port.isolated && b->port.isolated)
		return stops(k, WHY_HOST, "'%s' and '%s' are isolated from each other",
			     a->port.name, b->port.name);
	if (a->vpc.flat)
		passes(k, WHY_HOST, "both are on bridge %s", a->vpc.bridge);
	else
		passes(k, WHY_HOST, "both are in VPC '%s', whose gateway forwards it", a->vpc.name);
	return true;
}

/* ---- Ways out ---- */

struct lookup {
	const struct ip *to;
	uint32_t table;
	struct route best;
	bool found;
};

static int match_route(const struct route *r, void *arg)
{
	struct lookup *l = arg;

	if (r->table != l->table || !cidr_has(&r->dst, l->to) ||
	    (l->found && (r->dst.prefix < l->best.dst.prefix ||
			  (r->dst.prefix == l->best.dst.prefix && r->metric >= l->best.metric))))
		return 0;
	l->best = *r;
	l->found = true;
	return 0;
}

static bool find_route(struct walk *k, uint32_t table, struct route *ret)
{
	struct lookup l = {.to = &k->w->to.addr, .table = table};

	if (route_each(k->o->host, l.to->family, match_route, &l, k->err) || !l.found)
		return false;
	*ret = l.best;
	return l.best.type == RTN_UNICAST;
}

/* 1 for the first of a list that is up. */
static int try_egress(const char *name, void *arg)
{
	struct walk *k = arg;
	_cleanup_(egress_done) struct egress e = {0};
	struct route route;

	if (egress_load(k->o->st, name, &e, k->err))
		return -ENOENT;
	if (!find_route(k, EGRESS_ROUTE_TABLE + e.no, &route)) {
		passes(k, WHY_HOST, "egress '%s' is not up", name);
		return 0;
	}
	str_copy(k->w->leaves_by, sizeof(k->w->leaves_by), e.leg);
	passes(k, WHY_HOST, "leaves by egress '%s' (%s, by %s)%s%s", name, e.kind, e.leg,
	       *e.via ? ", which goes out by " : "", e.via);
	return 1;
}

static bool leave_by_egress(struct walk *k, const struct use *u)
{
	char name[2 * NAME_MAX_LEN];

	if (!*u->list)
		return stops(k, WHY_HOST, "%s has no way out: its egress is none",
			     end_name(&k->w->from, name));
	if (way_each(u->list, try_egress, k) > 0)
		return true;
	return stops(k, WHY_HOST, "none of its ways out (%s) is up: blocked until one is", u->list);
}

/* tun: what it was captured by, or "". */
static bool leave_by_nat(struct walk *k, const char *tun)
{
	const struct why_end *a = &k->w->from;
	char out[IFNAMSIZ] = "", name[2 * NAME_MAX_LEN];
	struct route route;
	struct nat nat;

	end_name(a, name);
	if (!a->vpc.flat && !a->subnet.is_public)
		return stops(k, WHY_HOST, "%s is private, and has no egress: it stays inside",
			     name);
	if (nat_load(k->o->st, a->vpc.name, &nat, NULL) || nat.state == ROW_DELETING)
		return stops(k, WHY_HOST, "'%s' has no NAT: `byway nat enable %s`", a->vpc.name,
			     a->vpc.name);
	if (!*tun && !find_route(k, RT_TABLE_MAIN, &route))
		return stops(k, WHY_HOST, "the host has no route there");
	if (*tun)
		str_copy(out, sizeof(out), tun);
	else
		if_indextoname((unsigned int)route.ifindex, out);
	if (strcmp(out, nat.interface) != 0)
		return stops(k, WHY_HOST, "the host's route is by %s, and '%s' goes out by %s only",
			     out, a->vpc.name, nat.interface);
	str_copy(k->w->leaves_by, sizeof(k->w->leaves_by), out);
	passes(k, WHY_HOST, "leaves by %s, from the host's address (NAT of '%s')", out,
	       a->vpc.name);
	return true;
}

static bool leave(struct walk *k)
{
	const struct why_end *a = &k->w->from;
	char tun[IFNAMSIZ];
	struct use u;

	if (!ask_host(k, tun))
		return false;
	if (!use_find(k->o->st, &a->vpc, a->subnet.name, a->kind == WHY_PORT ? a->port.name : "",
		      &u))
		return leave_by_nat(k, tun);
	if (*tun)
		return stops(k, WHY_HOST, "its ways out do not lead into %s", tun);
	return leave_by_egress(k, &u);
}

static bool leave_by_own_way(struct walk *k, const struct use *u)
{
	if (!use_excludes(u, &k->w->to.addr, k->w->flow.port))
		return leave_by_egress(k, u);
	passes(k, WHY_HOST, "excluded from what its egresses take: as usual");
	return true;
}

/* What the host itself sends. */
static bool leave_host(struct walk *k)
{
	bool leaves = k->w->from.kind == WHY_THIS_HOST && k->w->to.kind == WHY_OUTSIDE;
	struct use u;

	if (leaves && (!ask_host(k, k->w->leaves_by) || *k->w->leaves_by))
		return !k->w->steps[k->w->n_steps - 1].stops;
	if (leaves && !use_load(k->o->st, USE_HOST, "", "", &u, NULL))
		return leave_by_own_way(k, &u);
	passes(k, WHY_HOST, "no workload takes part: byway decides nothing here");
	return true;
}

/* ---- From end to end ---- */

/* Names and addresses, of its own VPC only. */
static bool is_served(const struct walk *k)
{
	const struct vpc *v = &k->w->from.vpc;
	const struct why_flow *f = &k->w->flow;

	return v->dns && is_gateway(v, &k->w->to.addr) &&
	       (f->port == DNS_PORT || (v->dhcp && f->family == AF_INET &&
					f->proto == IPPROTO_UDP && f->port == DHCP_SERVER_PORT));
}

/* The gateway of a peer, if the peering is about its address. */
static bool is_peers_gateway(const struct walk *k)
{
	const struct why_end *a = &k->w->from;
	_free_ struct peer *p = NULL;
	size_t n = 0;

	if (peer_list(k->o->st, a->vpc.name, &p, &n, k->err))
		return false;
	for (size_t i = 0; i < n; i++) {
		bool first = !strcmp(p[i].a, a->vpc.name);
		struct vpc other;

		if (p[i].state != ROW_DELETING && (first || !strcmp(p[i].b, a->vpc.name)) &&
		    !vpc_load(k->o->st, first ? p[i].b : p[i].a, &other, NULL) &&
		    is_gateway(&other, &k->w->to.addr))
			return peer_has(&p[i], &other, &k->w->to.addr);
	}
	return false;
}

static bool to_host(struct walk *k)
{
	if (k->w->flow.proto != IPPROTO_ICMP) {
		if (!is_served(k))
			return stops(k, WHY_HOST,
				     "takes nothing from a VPC but what its gateway serves");
		passes(k, WHY_HOST, "the gateway serves it");
		return true;
	}
	if (!is_gateway(&k->w->from.vpc, &k->w->to.addr) && !is_peers_gateway(k))
		return stops(k, WHY_HOST,
			     "answers pings of a VPC at its gateway's and its peers' only");
	passes(k, WHY_HOST, "answers pings to gateways");
	return true;
}

static bool cross_host(struct walk *k)
{
	const struct why_end *a = &k->w->from, *b = &k->w->to;

	if (has_workload(a) && has_workload(b))
		return cross_vpc(k) && (!is_routed(k) || stays_here(k));
	if (has_workload(a))
		return b->kind == WHY_OUTSIDE ? leave(k) : to_host(k);
	if (!has_workload(b))
		return leave_host(k);
	if (a->kind == WHY_THIS_HOST) /* a block takes what is for the host itself as staying here */
		return (k->sent_on && ops_is_blocked(k->o)) || stays_here(k);
	if (k->sent_on) /* a tunnel lets pass what was for the host */
		return !ops_is_blocked(k->o) || stops(k, WHY_HOST, BLOCKED);
	return stops(k, WHY_HOST, "from outside come answers and published ports only");
}

static void say_arrival(struct walk *k)
{
	char name[2 * NAME_MAX_LEN];

	if (has_workload(&k->w->to))
		passes(k, end_name(&k->w->to, name), "gets it");
}

static void follow(struct walk *k)
{
	struct why *w = k->w;

	/* A subnet asks before, and the host for its ports after what was sent on. */
	if (w->from.kind == WHY_SUBNET &&
	    !ask_policy(k, &w->from, POLICY_EGRESS, &w->from.addr, &w->to.addr))
		return;
	if (!send_on(k))
		return;
	if (w->from.kind == WHY_PORT &&
	    !ask_policy(k, &w->from, POLICY_EGRESS, &w->from.addr, &w->to.addr))
		return;
	if (!cross_host(k))
		return;
	if (ask_policy(k, &w->to, POLICY_INGRESS, &k->seen, &w->to.addr))
		say_arrival(k);
}

/* The address by which they mean the host. */
static struct ip host_addr(const struct why *w)
{
	struct ip loopback = {.family = AF_INET, .bytes = {127, 0, 0, 1}};
	struct ip loopback6 = {.family = AF_INET6, .bytes[15] = 1};

	if (has_workload(&w->from))
		return gateway_of(&w->from.vpc, w->flow.family);
	return w->flow.family == AF_INET6 ? loopback6 : loopback;
}

/* The kernel takes the address of where it sends it out, or the one that is asked. */
static struct ip source_of(const struct why *w)
{
	if (w->from.addr.family)
		return w->from.addr;
	return has_workload(&w->to) ? gateway_of(&w->to.vpc, w->flow.family) : w->to.addr;
}

int ops_why(struct ops *o, const char *from, const char *to, struct why *ret, struct err *err)
{
	struct walk k = {.o = o, .w = ret, .err = err};
	int r = why_find_family(from, to, &ret->flow, err);

	if (!r)
		r = why_end_find(o, from, ret->flow.family, &ret->from, err);
	if (!r)
		r = why_end_find(o, to, ret->flow.family, &ret->to, err);
	if (r)
		return r;
	if (!ret->to.addr.family)
		ret->to.addr = host_addr(ret);
	k.seen = source_of(ret);
	ret->asked = ret->to.addr;
	ret->asked_port = ret->flow.port;
	follow(&k);
	return k.code;
}
