// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 *	forward, input:   (source, incoming interface) in ports   -> from: egress rules
 *	postrouting:      (destination, outgoing interface) in ports -> to: ingress rules
 *
 * What the host itself sends to a published port has its interface at postrouting only: at output
 * it is still on its way to the host. A packet between two ports passes both. Source addresses can
 * be trusted, because of the port guard (host_guard.c). What is about no such port pays these
 * lookups, and what belongs to a connection that was let through two rules more; only the first
 * packet of a connection meets the chains of policies.
 *
 * Ports with the same policy are a group, with one pair of chains and a set of its members'
 * addresses, so that the rules grow with the number of different policies.
 *
 * Invariants:
 *  1. What is let through returns, to the end of the table: the host's other rules, which say who
 *     may reach whom, still apply.
 *  2. A direction in which a policy has rules drops what none of them allows.
 *  3. A TCP connection begins with a SYN. As long as a port had no policy nobody knew the
 *     connections on its bridge; one in the middle of which the kernel would begin to track could
 *     be taken for one in the other direction, which may be allowed.
 *
 * Of DHCP only a port's own: it asks for its address, which is no matter of policy.
 */
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "firewall/ruleset.h"
#include "kernel/conntrack.h"
#include "store/store.h"
#include "vpc/columns.h"
#include "vpc/policy.h"
#include "vpc/policy_groups.h"
#include "vpc/port.h"
#include "vpc/port_rules.h"
#include "vpc/vpc.h"

#define NF_IP_PRI_FILTER 0 /* of linux/netfilter_ipv4.h, which clashes with netinet/in.h */
#define ND_HOP_LIMIT 255
#define DHCP_SERVER_PORT 67
#define DHCP_CLIENT_PORT 68

/* One port and its policy. */
struct member {
	struct port port;
	char bridge[IFNAMSIZ];
	char *text;            /* of the policy; owned */
	struct policy *policy; /* owned by the first member of a group */
	size_t group;
};

/* An address of a member. */
struct end {
	struct ip ip;
	const struct policy *policy;
};

struct port_rules {
	struct member *members; /* in the order of their groups */
	size_t n;
	struct end *ends; /* in the order of their addresses */
	size_t n_ends;
};

/* ---- From the state ---- */

void port_rules_free(struct port_rules *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++) {
		if (!i || p->members[i].group != p->members[i - 1].group)
			policy_free(p->members[i].policy);
		free(p->members[i].text);
	}
	free(p->members);
	free(p->ends);
	free(p);
}

void port_rules_free_p(struct port_rules **p)
{
	port_rules_free(*p);
}

bool port_rules_empty(const struct port_rules *p)
{
	return p->n == 0;
}

/* What port_list() does not say of those that have a policy, in the same order. */
static int query_policies(struct store *st, struct sqlite3_stmt **ret, struct err *err)
{
	return store_query(st, ret, err,
			   "SELECT port.vpc, port.name, text, bridge FROM port"
			   " JOIN policy ON policy.vpc = port.vpc AND policy.kind = 'port'"
			   " AND policy.name = port.name JOIN vpc ON vpc.name = port.vpc"
			   " ORDER BY port.vpc, port.name",
			   "");
}

static bool is_of(struct sqlite3_stmt *q, const struct port *port)
{
	return !strcmp(column_text(q, 0), port->vpc) && !strcmp(column_text(q, 1), port->name);
}

static void add_member(struct port_rules *p, const struct port *port, struct sqlite3_stmt *q)
{
	struct member *m = &p->members[p->n++];

	m->port = *port;
	m->text = xstrdup(column_text(q, 2));
	COLUMN_STR(q, 3, m->bridge);
}

/* ports: all of them. */
static int load_members(struct store *st, const struct port *ports, size_t n, struct port_rules *p,
			struct err *err)
{
	_stmt_ struct sqlite3_stmt *q = NULL;
	size_t i = 0;
	int r = query_policies(st, &q, err);

	p->members = xcalloc(n + 1, sizeof(*p->members));
	while (!r && (r = store_step(st, q, err)) == 1) {
		for (r = 0; i < n && !is_of(q, &ports[i]); i++)
			;
		if (i < n && ports[i].state != ROW_DELETING)
			add_member(p, &ports[i], q);
	}
	return r;
}

static int by_text(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	int order = strcmp(x->text, y->text);

	return order ? order : strcmp(x->port.vpc, y->port.vpc);
}

/* Names are read from where one is. */
static bool is_same(const struct member *a, const struct member *b)
{
	return !strcmp(a->text, b->text) &&
	       (!a->policy->has_groups || !strcmp(a->port.vpc, b->port.vpc));
}

static int parse_member(struct store *st, struct member *m, struct err *err)
{
	int r = policy_parse(m->port.name, m->text, strlen(m->text), &m->policy, err);

	return r ? r : policy_groups_resolve(st, m->port.vpc, m->policy, err);
}

/* Members of one text share its policy. */
static int parse_groups(struct store *st, struct port_rules *p, struct err *err)
{
	int r = 0;

	if (p->n)
		qsort(p->members, p->n, sizeof(*p->members), by_text);
	for (size_t i = 0; !r && i < p->n; i++) {
		struct member *m = &p->members[i], *before = i ? m - 1 : NULL;

		m->group = i;
		if (before && is_same(before, m)) {
			m->group = before->group;
			m->policy = before->policy;
			continue;
		}
		r = parse_member(st, m, err);
	}
	return r;
}

static void add_end(struct port_rules *p, const struct ip *ip, const struct policy *policy)
{
	if (ip->family)
		p->ends[p->n_ends++] = (struct end){.ip = *ip, .policy = policy};
}

static int by_ip(const void *a, const void *b)
{
	const struct ip *x = a, *y = b; /* the first of struct end */

	return x->family != y->family ? (x->family < y->family ? -1 : 1)
				      : memcmp(x->bytes, y->bytes, ip_len(x->family));
}

static void list_ends(struct port_rules *p)
{
	p->ends = xcalloc(2 * p->n + 1, sizeof(*p->ends));
	for (size_t i = 0; i < p->n; i++) {
		add_end(p, &p->members[i].port.addr, p->members[i].policy);
		add_end(p, &p->members[i].port.addr6, p->members[i].policy);
	}
	if (p->n_ends)
		qsort(p->ends, p->n_ends, sizeof(*p->ends), by_ip);
}

int port_rules_load(struct store *st, struct port_rules **ret, struct err *err)
{
	_port_rules_ struct port_rules *p = xcalloc(1, sizeof(*p));
	_free_ struct port *ports = NULL;
	size_t n = 0;
	int r = port_list(st, NULL, &ports, &n, err);

	if (!r)
		r = load_members(st, ports, n, p, err);
	if (!r)
		r = parse_groups(st, p, err);
	if (r)
		return r;
	list_ends(p);
	*ret = TAKE_PTR(p);
	return 0;
}

/* ---- As rules ---- */

enum { V4, V6, N_FAMILIES };

/* What a packet from a port is known by, and one to it. */
static const enum fw_field from_fields[N_FAMILIES][2] = {
	{FW_IP4_SADDR, FW_IIFNAME},
	{FW_IP6_SADDR, FW_IIFNAME},
};
static const enum fw_field to_fields[N_FAMILIES][2] = {
	{FW_IP4_DADDR, FW_OIFNAME},
	{FW_IP6_DADDR, FW_OIFNAME},
};

/* Addresses with the bridge that they are on. */
struct addresses {
	struct fw_set *sets[N_FAMILIES];
};

static struct addresses add_sets(struct fw_table *t, const char *prefix)
{
	struct addresses a;
	char name[FW_NAME_MAX];

	for (int f = 0; f < N_FAMILIES; f++) {
		snprintf(name, sizeof(name), "%.20s%c", prefix, f == V6 ? '6' : '4');
		a.sets[f] = fw_set(t, name, 2, from_fields[f]);
	}
	return a;
}

static void add_addresses(const struct addresses *a, const struct member *m)
{
	struct ip link_local = mac_link_local(&m->port.mac);

	fw_set_add_ip(a->sets[V4], &m->port.addr, m->bridge);
	if (!m->port.addr6.family)
		return;
	fw_set_add_ip(a->sets[V6], &m->port.addr6, m->bridge);
	fw_set_add_ip(a->sets[V6], &link_local, m->bridge);
}

static void jump_from(struct fw_chain *c, const struct addresses *a, const struct fw_chain *to)
{
	for (int f = 0; f < N_FAMILIES && to; f++)
		fw_match_set(fw_rule_jump(c, to), FW_OP_IN, a->sets[f], 2, from_fields[f]);
}

static void jump_to(struct fw_chain *c, const struct addresses *a, const struct fw_chain *to)
{
	for (int f = 0; f < N_FAMILIES && to; f++)
		fw_match_set(fw_rule_jump(c, to), FW_OP_IN, a->sets[f], 2, to_fields[f]);
}

/* On the link, where nobody has lowered the hop limit (RFC 4861 7.1). */
static void spare_resolution(struct fw_chain *c, uint8_t type)
{
	struct fw_rule *r = fw_rule(c, FW_RETURN);

	fw_match_u8(r, FW_ICMP6_TYPE, FW_OP_EQ, type);
	fw_match_u8(r, FW_HOP_LIMIT, FW_OP_EQ, ND_HOP_LIMIT);
}

/* What comes before any policy. */
static struct fw_chain *add_judge(struct fw_table *t, const char *name)
{
	struct fw_chain *c = fw_chain(t, name);

	fw_match_u32(fw_rule(c, FW_DROP), FW_CT_MARK, FW_OP_ANY_BIT, POLICY_CT_MARK_CUT);
	fw_match_replies(fw_rule(c, FW_RETURN));
	fw_match_u8(fw_rule(c, FW_DROP), FW_TCP_FLAGS, FW_OP_NO_BIT, TH_SYN);
	spare_resolution(c, ND_NEIGHBOR_SOLICIT);
	spare_resolution(c, ND_NEIGHBOR_ADVERT);
	return c;
}

static void accept_dhcp(struct fw_chain *c, uint16_t from, uint16_t to)
{
	struct fw_rule *r = fw_rule(c, FW_ACCEPT);

	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, IPPROTO_UDP);
	fw_match_u16(r, FW_SPORT, FW_OP_EQ, from);
	fw_match_u16(r, FW_DPORT, FW_OP_EQ, to);
}

static struct fw_chain *add_hook(struct fw_table *t, const char *name, enum fw_hook hook)
{
	return fw_base_chain(t, name, FW_CHAIN_FILTER, hook, NF_IP_PRI_FILTER, FW_ACCEPT);
}

static void add_hooks(struct fw_table *t, const struct addresses *ports,
		      const struct fw_chain *from, const struct fw_chain *to)
{
	struct fw_chain *forward = add_hook(t, "forward", FW_HOOK_FORWARD);
	struct fw_chain *input = add_hook(t, "input", FW_HOOK_INPUT);
	struct fw_chain *postrouting = add_hook(t, "postrouting", FW_HOOK_POSTROUTING);

	jump_from(forward, ports, from);
	accept_dhcp(input, DHCP_CLIENT_PORT, DHCP_SERVER_PORT);
	jump_from(input, ports, from);
	accept_dhcp(postrouting, DHCP_SERVER_PORT, DHCP_CLIENT_PORT);
	jump_to(postrouting, ports, to);
}

static void add_group(struct fw_table *t, const struct member *m, struct fw_chain *from,
		      struct fw_chain *to, struct addresses *ret)
{
	char prefix[FW_NAME_MAX];

	snprintf(prefix, sizeof(prefix), "g%zu_ip", m->group);
	*ret = add_sets(t, prefix);
	snprintf(prefix, sizeof(prefix), "g%zu_", m->group);
	jump_from(from, ret, policy_chain(m->policy, POLICY_EGRESS, t, prefix));
	jump_to(to, ret, policy_chain(m->policy, POLICY_INGRESS, t, prefix));
}

void port_rules_build(const struct port_rules *p, struct ruleset *rs)
{
	struct fw_table *t = ruleset_table(rs, FW_INET, PORT_RULES_TABLE);
	struct addresses ports = add_sets(t, "ports_ip"), group = {0};
	struct fw_chain *from = add_judge(t, "from"), *to = add_judge(t, "to");

	for (size_t i = 0; i < p->n; i++) {
		const struct member *m = &p->members[i];

		if (!i || m->group != m[-1].group)
			add_group(t, m, from, to, &group);
		add_addresses(&group, m);
		add_addresses(&ports, m);
	}
	add_hooks(t, &ports, from, to);
}

/* ---- Connections ---- */

static const struct policy *policy_at(const struct port_rules *p, const struct ip *ip)
{
	const struct end *e =
		p->n_ends ? bsearch(ip, p->ends, p->n_ends, sizeof(*p->ends), by_ip) : NULL;

	return e ? e->policy : NULL;
}

bool port_rules_judge(const struct port_rules *p, const struct conntrack_flow *f, bool *ret_allowed)
{
	const struct policy *from = policy_at(p, &f->src), *to = policy_at(p, &f->from);
	bool out = true, in = true;

	if (from)
		policy_eval(from, POLICY_EGRESS, &f->src, &f->from, f->proto, f->from_port, &out);
	if (to)
		policy_eval(to, POLICY_INGRESS, &f->src, &f->from, f->proto, f->from_port, &in);
	*ret_allowed = out && in;
	return from || to;
}
