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
#include <strings.h>

#include "base/err.h"
#include "kernel/addr.h"
#include "kernel/netns.h"
#include "kernel/route.h"
#include "ops/ops.h"
#include "ops/why.h"
#include "vpc/mapping.h"
#include "vpc/policy.h"
#include "vpc/policy_groups.h"
#include "vpc/way.h"

struct walk {
	struct ops *o;
	struct why *w;
	struct err *err;
	int code; /* of what went wrong while looking; err says what */
};

void why_done(struct why *w)
{
	for (size_t i = 0; i < w->n_steps; i++)
		free(w->steps[i].file);
	free(w->steps);
	*w = (struct why){0};
}

/* ---- Flows ---- */

static const struct {
	const char *name;
	uint8_t proto;
} protocols[] = {{"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"icmp", IPPROTO_ICMP}};

static bool read_proto(const char *text, uint8_t *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		if (!strcasecmp(text, protocols[i].name)) {
			*ret = protocols[i].proto;
			return true;
		}
	}
	return false;
}

static bool read_port(const char *text, uint16_t *ret)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	*ret = (uint16_t)n;
	return *text >= '0' && *text <= '9' && !*end && n >= 1 && n <= UINT16_MAX;
}

int why_flow_parse(const char *text, struct why_flow *ret, struct err *err)
{
	_free_ char *first = xstrdup(text);
	char *second = strchr(first, '/');

	if (second)
		*second++ = '\0';
	ret->port = 0;
	ret->proto = IPPROTO_TCP;
	if (!second && (read_port(first, &ret->port) ||
			(read_proto(first, &ret->proto) && ret->proto == IPPROTO_ICMP)))
		return 0;
	if (second &&
	    ((read_proto(first, &ret->proto) && read_port(second, &ret->port)) ||
	     (read_port(first, &ret->port) && read_proto(second, &ret->proto))) &&
	    ret->proto != IPPROTO_ICMP)
		return 0;
	return err_set(err, ERR_USAGE, -EINVAL,
		       "'%s' is not a port such as tcp/443 or udp/53, nor icmp", text);
}

/* ---- Ends ---- */

static bool has_workload(const struct why_end *e)
{
	return e->kind == WHY_SUBNET || e->kind == WHY_PORT;
}

static const struct ip *pick(const struct ip *a4, const struct ip *a6, int family)
{
	return family == AF_INET6 ? a6 : a4;
}

static int load_subnet(struct ops *o, const struct subnet *s, struct why_end *ret, int family,
		       struct err *err)
{
	ret->kind = WHY_SUBNET;
	ret->subnet = *s;
	ret->addr = *pick(&s->addr, &s->addr6, family);
	return vpc_load(o->st, s->vpc, &ret->vpc, err);
}

static int load_port(struct ops *o, const struct port *p, struct why_end *ret, int family,
		     struct err *err)
{
	int r = vpc_load(o->st, p->vpc, &ret->vpc, err);

	ret->kind = WHY_PORT;
	ret->port = *p;
	ret->addr = *pick(&p->addr, &p->addr6, family);
	if (!r && *p->subnet)
		r = subnet_load(o->st, p->vpc, p->subnet, &ret->subnet, err);
	return r;
}

static int end_by_name(struct ops *o, const char *text, int family, struct why_end *ret,
		       struct err *err)
{
	_free_ char *vpc = xstrdup(text);
	char *name = strchr(vpc, '/');
	struct subnet s;
	struct port p;
	int r;

	if (!name)
		return err_set(
			err, ERR_USAGE, -EINVAL,
			"'%s' is neither VPC/SUBNET, NETWORK/NAME, an address, nor \"" WHY_HOST
			"\"",
			text);
	*name++ = '\0';
	if (!subnet_load(o->st, vpc, name, &s, NULL))
		return load_subnet(o, &s, ret, family, err);
	if (!port_load(o->st, vpc, name, &p, NULL))
		return load_port(o, &p, ret, family, err);
	r = vpc_load(o->st, vpc, &ret->vpc, err);
	return r ? r
		 : err_set(err, ERR_NOT_FOUND, -ENOENT, "'%s' has no subnet, VM or container '%s'",
			   vpc, name);
}

/* Whoever has the address: 1 for a workload. */
static int end_by_row(struct ops *o, const struct ip *addr, struct why_end *ret, struct err *err)
{
	_free_ struct subnet *s = NULL;
	_free_ struct port *p = NULL;
	size_t n = 0;
	int r = subnet_list(o->st, NULL, &s, &n, err);

	for (size_t i = 0; !r && i < n; i++) {
		if (ip_equal(&s[i].addr, addr) || ip_equal(&s[i].addr6, addr))
			return (r = load_subnet(o, &s[i], ret, addr->family, err)) ? r : 1;
	}
	if (!r)
		r = port_list(o->st, NULL, &p, &n, err);
	for (size_t i = 0; !r && i < n; i++) {
		if (ip_equal(&p[i].addr, addr) || ip_equal(&p[i].addr6, addr))
			return (r = load_port(o, &p[i], ret, addr->family, err)) ? r : 1;
	}
	return r;
}

static int match_addr(const struct addr *a, void *arg)
{
	return ip_equal(&a->addr.addr, arg) ? -EEXIST : 0;
}

static int end_by_addr(struct ops *o, struct ip addr, struct why_end *ret, struct err *err)
{
	int r = end_by_row(o, &addr, ret, err);

	if (r)
		return r < 0 ? r : 0;
	r = addr_each(o->host, match_addr, &addr, err);
	if (r && r != -EEXIST)
		return r;
	ret->kind = r ? WHY_THIS_HOST : WHY_OUTSIDE;
	ret->addr = addr;
	return 0;
}

static int find_end(struct ops *o, const char *text, int family, struct why_end *ret,
		    struct err *err)
{
	struct ip addr;
	int r;

	*ret = (struct why_end){.kind = WHY_THIS_HOST};
	if (!strcmp(text, WHY_HOST))
		return 0;
	if (!ip_parse(text, &addr, NULL))
		return end_by_addr(o, addr, ret, err);
	r = end_by_name(o, text, family, ret, err);
	if (!r && !ret->addr.family)
		r = err_set(err, ERR_USAGE, -EAFNOSUPPORT, "'%s' has no %s address", text,
			    family == AF_INET6 ? "IPv6" : "IPv4");
	return r;
}

/* An address says which family; both have to say the same. */
static int find_family(const char *from, const char *to, struct why_flow *f, struct err *err)
{
	const char *const ends[] = {from, to};
	int said = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct ip addr;

		if (ip_parse(ends[i], &addr, NULL))
			continue;
		if (said && said != addr.family)
			return err_set(err, ERR_USAGE, -EINVAL,
				       "%s and %s are addresses of two families", from, to);
		said = addr.family;
	}
	if (said)
		f->family = said;
	return 0;
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

/* A published port's connection is for its target from here on. */
static bool find_mapping(struct walk *k, struct mapping *ret)
{
	_free_ struct mapping *m = NULL;
	const struct why_flow *f = &k->w->flow;
	const struct ip *to = &k->w->to.addr;
	size_t n = 0;

	if (k->w->to.kind != WHY_THIS_HOST || mapping_list(k->o->st, NULL, &m, &n, k->err))
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

static bool send_on(struct walk *k)
{
	char text[MAPPING_STRLEN], target[2 * NAME_MAX_LEN];
	struct mapping m;

	if (!find_mapping(k, &m))
		return true;
	snprintf(target, sizeof(target), "%.63s/%.63s", m.vpc, m.target);
	k->code = end_by_name(k->o, target, k->w->flow.family, &k->w->to, k->err);
	if (k->code)
		return false;
	k->w->flow.port = m.port;
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

/* The use that decides: a port's own, else its subnet's, else the network's. */
static bool find_use(struct walk *k, struct use *ret)
{
	const struct why_end *a = &k->w->from;
	const char *const names[] = {a->kind == WHY_PORT ? a->port.name : NULL,
				     a->vpc.flat ? "" : a->subnet.name};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (names[i] && !use_load(k->o->st, a->vpc.name, names[i], ret, NULL))
			return true;
	}
	return false;
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

static bool leave_by_nat(struct walk *k)
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
	if (!find_route(k, RT_TABLE_MAIN, &route))
		return stops(k, WHY_HOST, "the host has no route there");
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
	struct use u;

	return find_use(k, &u) ? leave_by_egress(k, &u) : leave_by_nat(k);
}

/* ---- From end to end ---- */

static bool to_host(struct walk *k)
{
	const struct why_end *a = &k->w->from;

	if (k->w->flow.proto != IPPROTO_ICMP)
		return stops(k, WHY_HOST, "takes nothing from a VPC but pings to its gateway");
	if (!is_gateway(&a->vpc, &k->w->to.addr))
		return stops(k, WHY_HOST, "answers pings of a VPC at its gateway's address only");
	passes(k, WHY_HOST, "answers pings to its VPC's gateway");
	return true;
}

static bool cross_host(struct walk *k)
{
	const struct why_end *a = &k->w->from, *b = &k->w->to;

	if (has_workload(a) && has_workload(b))
		return cross_vpc(k);
	if (has_workload(a))
		return b->kind == WHY_OUTSIDE ? leave(k) : to_host(k);
	if (!has_workload(b)) {
		passes(k, WHY_HOST, "no workload takes part: byway decides nothing here");
		return true;
	}
	if (a->kind == WHY_THIS_HOST || k->w->n_steps)
		return true;
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

	if (!ask_policy(k, &w->from, POLICY_EGRESS, &w->from.addr, &w->to.addr))
		return;
	if (!send_on(k) || !cross_host(k))
		return;
	if (ask_policy(k, &w->to, POLICY_INGRESS, &w->from.addr, &w->to.addr))
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

int ops_why(struct ops *o, const char *from, const char *to, struct why *ret, struct err *err)
{
	struct walk k = {.o = o, .w = ret, .err = err};
	int r = find_family(from, to, &ret->flow, err);

	if (!r)
		r = find_end(o, from, ret->flow.family, &ret->from, err);
	if (!r)
		r = find_end(o, to, ret->flow.family, &ret->to, err);
	if (r)
		return r;
	if (!ret->to.addr.family)
		ret->to.addr = host_addr(ret);
	ret->asked = ret->to.addr;
	ret->asked_port = ret->flow.port;
	follow(&k);
	return k.code;
}
