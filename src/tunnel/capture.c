// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * Marking. What is to be captured gets CAPTURE_MARK_TUNNEL: what this host sends in a chain of type
 * route, which makes the kernel look for a route again; what it forwards at prerouting. The rule
 * CAPTURE_RULE_PRIORITY sends marked packets to the table CAPTURE_ROUTE_TABLE: there the TUN is the
 * default, and behind it, with a worse metric, a blackhole, so that a TUN that vanishes does not
 * make packets fall through to the main table.
 *
 * A local socket has chosen its source address by the main table before it is captured. The engine
 * answers to whatever source, and the answer comes in at the TUN for an address of another link:
 * that is why the TUN's reverse path filter is loose (2), which wins over a strict one for all
 * links. The marks of incoming packets play no part in it, so src_valid_mark may be what it is.
 *
 * Servers. A packet that answers what came from elsewhere (ct direction reply) is neither captured
 * nor blocked; what comes in for an address of this host and is forwarded, to a published port of a
 * container, is known by CAPTURE_MARK_INBOUND, set before DNAT hides it.
 *
 * Errors. What the engine sends to a guest may be too big for a link behind this host, or find the
 * guest gone; whoever notices answers by ICMP to the address that the engine spoke for. Such an
 * error belongs into the TUN, and quotes what must not be seen elsewhere. It is known by
 * CAPTURE_MARK_TUNNEL in the mark of the connection that it is about.
 *
 * Excluded users, and an excluded group. The owner is that of the socket, and one of TCP that is
 * closed while data is still to be sent has none: CAPTURE_MARK_BYPASS in the connection's mark
 * remembers.
 *
 * Cgroups. With a list of them everybody else goes the usual way, and so does what is forwarded. A
 * socket belongs to the cgroup that its process was in when it was made. Firewalls can ask for it
 * at output only, and not when the socket is closed, so that CAPTURE_MARK_MEMBER in the
 * connection's mark remembers. It says who is held, not who is let go: what is not tracked is
 * treated as the members' is.
 *
 * Legs. The host may go out by egresses instead of a TUN: then the same table, by another name,
 * lets into the legs of its list what is marked, and routes are the caller's (ops/ways.c). What
 * comes from a VPC, a session or a leg is marked CAPTURE_MARK_INBOUND and left to the tables of
 * these, as is what goes to a VPC or a session. What gateways ask for names on behalf of workloads
 * goes by their legs, as long as it does go by one.
 *
 * Blocking happens twice. At output and forward it is refused, so that the sender knows at once;
 * but at output the interface that a rule sees is that from before the rerouting. So the
 * last word is spoken at postrouting, where it is the true one: whatever the marks, the rule
 * and the routes say, nothing leaves by another interface than lo or the TUN unless it is allowed.
 *
 * Invariants:
 *  1. With a kill switch, what postrouting lets out of another interface is in the list at
 *     capture_block(). Of marks it trusts those that only our own rules give what an unprivileged
 *     process sends: CAPTURE_MARK_INBOUND of a packet, CAPTURE_MARK_BYPASS of a connection; and
 *     CAPTURE_MARK_BYPASS of a packet, which no unprivileged process can give, only for what it
 *     asks of a resolver on port 53.
 *  2. The table is replaced in one transaction, before anything else is done; it refers to the TUN
 *     by name only, and needs neither device nor process to exist.
 *  3. Whoever marks packets with other bits neither disturbs the rule nor is disturbed.
 *
 * What a tunnel does not carry is refused; one that carries datagrams has UDP and ping in the first
 * column.
 *
 *	                TCP to be captured    UDP, ping, others    allowed
 *	down            usual way             usual way            usual way
 *	blocked         dropped               rejected             usual way
 *	up              into the TUN          rejected             usual way
 *	TUN vanished    dropped               rejected             usual way
 *
 * Limits. Without any route to where the engine's answers come from, not even a default, the loose
 * filter drops them, too: what is lost then is sent again, but for a RST. A guest that sends with a
 * source of somebody else's is answered there, by the usual way, unless the host's reverse path
 * filter or the guest's port forbids it; of the host itself, that is dropped. A connection that was
 * there before anybody loaded conntrack has the direction of the first packet that was seen then.
 * What is not tracked (notrack) has none, so that a server's answers are captured. Who gets the
 * port of a connection that is still remembered, to the same server, is treated as that was: held
 * as a member, of UDP or without an answer; let go as an excluded user, of TCP without an answer.
 * Link-local destinations cannot be captured: a kill switch rejects them. What leaves by packet
 * sockets is beyond netfilter. A host without a route of a family in its main table gets no tunnel
 * for it either: connect(2) fails before any of this is asked.
 */
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/util.h"
#include "firewall/firewall.h"
#include "kernel/addr.h"
#include "kernel/link.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"
#include "kernel/route.h"
#include "kernel/rule.h"
#include "kernel/sysctl.h"
#include "tunnel/capture.h"
#include "vpc/names.h"

/* From linux/icmp.h and linux/netfilter_ipv4.h, which clash with netinet/in.h. */
#define ICMP_DEST_UNREACH 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define NF_IP_PRI_MANGLE (-150)
#define NF_IP_PRI_FILTER 0

#define MLD2_REPORT 143 /* RFC 3810 5.2 */
#define DNS_PORT 53

#define TUN_METRIC 100u
#define BLACKHOLE_METRIC 4000000u
#define LAST_METRIC 4000000000u
/* Packets that wait for the engine. A thousand programs may begin or end at the same moment; with
 * the default of 500, SYNs and RSTs of some would be lost: a second's delay, or a flow that nobody
 * ends. */
#define TUN_QUEUE 10000u

enum { V4, V6, N_FAMILIES };
static const int families[N_FAMILIES] = {AF_INET, AF_INET6};
static const uint8_t nfprotos[N_FAMILIES] = {NFPROTO_IPV4, NFPROTO_IPV6};
static const enum fw_field daddr[N_FAMILIES] = {FW_IP4_DADDR, FW_IP6_DADDR};

/* A set of each family, NULL where it would be empty. */
struct sets {
	struct fw_set *of[N_FAMILIES];
};

struct builder {
	const struct capture *c;
	struct fw_table *t;
	struct sets link, upstreams, resolvers, exclude, include, others;
};

/* ---- Sets ---- */

static void add_cidr(struct builder *b, struct sets *s, const char *name, const struct cidr *c)
{
	size_t f = c->addr.family == AF_INET6 ? V6 : V4;
	struct fw_elem e = {0};
	char full[FW_NAME_MAX];

	if (!c->addr.family)
		return;
	if (!s->of[f]) {
		snprintf(full, sizeof(full), "%s%c", name, f == V6 ? '6' : '4');
		s->of[f] = fw_interval_set(b->t, full, 1, &daddr[f]);
	}
	fw_elem_cidr(&e, 0, c);
	fw_set_add(s->of[f], &e);
}

/* Networks either nest or are disjoint, and the elements of an interval set must not overlap. */
static bool is_covered(const struct cidr list[], size_t n, size_t i)
{
	for (size_t j = 0; j < n; j++)
		if (j != i && list[j].addr.family == list[i].addr.family &&
		    cidr_contains(&list[j], &list[i]) && (j < i || !cidr_equal(&list[j], &list[i])))
			return true;
	return false;
}

static void add_cidrs(struct builder *b, struct sets *s, const char *name, const struct cidr list[],
		      size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!is_covered(list, n, i))
			add_cidr(b, s, name, &list[i]);
}

static void add_ips(struct builder *b, struct sets *s, const char *name, const struct ip list[],
		    size_t n)
{
	struct cidr single[CAPTURE_UPSTREAMS_MAX];

	for (size_t i = 0; i < n; i++)
		single[i] = (struct cidr){.addr = list[i], .prefix = ip_bits(list[i].family)};
	add_cidrs(b, s, name, single, n);
}

/* Destinations that never leave their link: nobody forwards them, and no proxy reaches them. */
static void add_link_scope(struct builder *b)
{
	static const char *const networks[] = {"169.254.0.0/16",     "224.0.0.0/24",
					       "255.255.255.255/32", "fe80::/10",
					       "ff01::/16",          "ff02::/16"};
	struct cidr c;

	for (size_t i = 0; i < ARRAY_SIZE(networks); i++)
		if (!cidr_parse(networks[i], &c, NULL))
			add_cidr(b, &b->link, "link", &c);
}

static void add_sets(struct builder *b)
{
	const struct capture *c = b->c;

	add_link_scope(b);
	add_cidrs(b, &b->others, "others", &c->asked_for_others, 1);
	add_ips(b, &b->upstreams, "upstream", c->upstreams, c->n_upstreams);
	if (c->dns == CAPTURE_DNS_BYPASS || c->own_lookups)
		add_ips(b, &b->resolvers, "resolver", c->resolvers, c->n_resolvers);
	add_cidrs(b, &b->exclude, "exclude", c->exclude, c->n_exclude);
	add_cidrs(b, &b->include, "include", c->include, c->n_include);
}

/* ---- Rules ---- */

static void match_proto(struct fw_rule *r, uint8_t proto)
{
	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, proto);
}

static void accept_if(struct fw_chain *c, enum fw_field interface, const char *name)
{
	fw_match_name(fw_rule(c, FW_ACCEPT), interface, FW_OP_EQ, name);
}

static void match_group(struct fw_rule *r, enum fw_field interface, uint32_t group)
{
	fw_match_u32(r, interface, FW_OP_EQ, group);
}

/* What leads into the tunnel, and what is others' to judge. */
static void accept_inside(const struct builder *b, struct fw_chain *c)
{
	if (!b->c->by_legs) {
		accept_if(c, FW_OIFNAME, b->c->tun);
		return;
	}
	for (size_t i = 0; i < b->c->n_legs; i++)
		accept_if(c, FW_OIFNAME, b->c->legs[i]);
	match_group(fw_rule(c, FW_ACCEPT), FW_OIFGROUP, GROUP_VPC);
	match_group(fw_rule(c, FW_ACCEPT), FW_OIFGROUP, GROUP_SESSION);
}

/* Of legs, CAPTURE_MARK_INBOUND says it. */
static void accept_from_inside(const struct builder *b, struct fw_chain *c)
{
	if (!b->c->by_legs)
		accept_if(c, FW_IIFNAME, b->c->tun);
}

/* What other tables of ours judge: known by the mark where iptables knows no groups any more. */
static void leave_to_others(struct fw_chain *c)
{
	static const uint32_t groups[] = {GROUP_VPC, GROUP_SESSION, GROUP_LEG};

	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		match_group(fw_rule_set_bits(c, FW_SET_MARK, CAPTURE_MARK_INBOUND), FW_IIFGROUP,
			    groups[i]);
		match_group(fw_rule(c, FW_ACCEPT), FW_IIFGROUP, groups[i]);
	}
}

static struct fw_rule *rule_marked(struct fw_chain *c, enum fw_verdict verdict, uint32_t mark)
{
	struct fw_rule *r = fw_rule(c, verdict);

	fw_match_u32(r, FW_MARK, FW_OP_ANY_BIT, mark);
	return r;
}

static void accept_replies(struct fw_chain *c)
{
	fw_match_u8(fw_rule(c, FW_ACCEPT), FW_CT_DIRECTION, FW_OP_EQ, FW_CT_REPLY);
}

/* mark, proto and port: 0 for any. */
static void accept_marked_to(struct fw_chain *c, uint32_t mark, const struct sets *s, uint8_t proto,
			     uint16_t port)
{
	for (size_t f = 0; f < N_FAMILIES; f++) {
		struct fw_rule *r;

		if (!s->of[f])
			continue;
		r = fw_rule(c, FW_ACCEPT);
		if (mark)
			fw_match_u32(r, FW_MARK, FW_OP_ANY_BIT, mark);
		if (proto)
			match_proto(r, proto);
		if (port)
			fw_match_u16(r, FW_DPORT, FW_OP_EQ, port);
		fw_match_set(r, FW_OP_IN, s->of[f], 1, &daddr[f]);
	}
}

static void accept_to(struct fw_chain *c, const struct sets *s, uint8_t proto, uint16_t port)
{
	accept_marked_to(c, 0, s, proto, port);
}

/* With a list of the included: what is in none of it. */
static void accept_others(const struct builder *b, struct fw_chain *c)
{
	for (size_t f = 0; f < N_FAMILIES && b->c->n_include; f++) {
		struct fw_rule *r = fw_rule(c, FW_ACCEPT);

		if (b->include.of[f])
			fw_match_set(r, FW_OP_NOT_IN, b->include.of[f], 1, &daddr[f]);
		else
			fw_match_u8(r, FW_NFPROTO, FW_OP_EQ, nfprotos[f]);
	}
}

/* Of TCP, which alone goes on when its socket is closed: what is remembered of datagrams would let
 * go whoever gets the port next. */
static void remember_owner(struct fw_chain *c, enum fw_field field, uint32_t id)
{
	struct fw_rule *r = fw_rule_set_bits(c, FW_SET_CT_MARK, CAPTURE_MARK_BYPASS);

	match_proto(r, IPPROTO_TCP);
	fw_match_u32(r, field, FW_OP_EQ, id);
}

static void remember_owners(const struct builder *b, struct fw_chain *c)
{
	for (size_t i = 0; i < b->c->n_exclude_uids; i++)
		remember_owner(c, FW_SKUID, b->c->exclude_uids[i]);
	if (b->c->exclude_gid)
		remember_owner(c, FW_SKGID, b->c->exclude_gid);
}

static void accept_owner(struct fw_chain *c, enum fw_field field, uint32_t id)
{
	fw_match_u32(fw_rule(c, FW_ACCEPT), field, FW_OP_EQ, id);
}

static void accept_owners(const struct builder *b, struct fw_chain *c)
{
	for (size_t i = 0; i < b->c->n_exclude_uids; i++)
		accept_owner(c, FW_SKUID, b->c->exclude_uids[i]);
	if (b->c->exclude_gid)
		accept_owner(c, FW_SKGID, b->c->exclude_gid);
	if (b->c->n_exclude_uids || b->c->exclude_gid)
		fw_match_u32(fw_rule(c, FW_ACCEPT), FW_CT_MARK, FW_OP_ANY_BIT, CAPTURE_MARK_BYPASS);
}

static void remember_members(const struct builder *b, struct fw_chain *c)
{
	for (size_t i = 0; i < b->c->n_cgroups; i++)
		fw_match_cgroup(fw_rule_set_bits(c, FW_SET_CT_MARK, CAPTURE_MARK_MEMBER),
				&b->c->cgroups[i]);
}

/* With a list of cgroups: what nobody in them has begun. */
static void accept_others_connections(const struct builder *b, struct fw_chain *c)
{
	if (b->c->n_cgroups)
		fw_match_u32(fw_rule(c, FW_ACCEPT), FW_CT_MARK, FW_OP_NO_BIT, CAPTURE_MARK_MEMBER);
}

/* A rule about port 53 of UDP, and one of TCP. */
static void rules_dns(struct fw_chain *c, enum fw_verdict verdict, uint32_t mark)
{
	static const uint8_t protos[] = {IPPROTO_UDP, IPPROTO_TCP};

	for (size_t i = 0; i < ARRAY_SIZE(protos); i++) {
		struct fw_rule *r = fw_rule(c, verdict);

		r->mark_bits = mark;
		match_proto(r, protos[i]);
		fw_match_u16(r, FW_DPORT, FW_OP_EQ, DNS_PORT);
	}
}

/* Which legs, routes say: they are those of the workloads' list, or none. */
static void accept_askers(const struct builder *b, struct fw_chain *c)
{
	static const uint8_t protos[] = {IPPROTO_UDP, IPPROTO_TCP};

	for (size_t i = 0; i < ARRAY_SIZE(protos) && b->others.of[V4]; i++) {
		struct fw_rule *r = fw_rule(c, FW_ACCEPT);

		match_group(r, FW_OIFGROUP, GROUP_LEG);
		fw_match_u32(r, FW_SKUID, FW_OP_EQ, b->c->asker_uid);
		match_proto(r, protos[i]);
		fw_match_u16(r, FW_DPORT, FW_OP_EQ, DNS_PORT);
		fw_match_set(r, FW_OP_IN, b->others.of[V4], 1, &daddr[V4]);
	}
}

/* ---- Marking ---- */

/* Client to server and back, of IPv4 (RFC 2131 4.1) and IPv6 (RFC 8415 7.2). Clients that renew
 * their lease use ordinary sockets. */
static void accept_dhcp(struct fw_chain *c)
{
	static const uint16_t ports[][2] = {{68, 67}, {67, 68}, {546, 547}, {547, 546}};

	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		struct fw_rule *r = fw_rule(c, FW_ACCEPT);

		fw_match_u8(r, FW_NFPROTO, FW_OP_EQ, nfprotos[i < 2 ? V4 : V6]);
		match_proto(r, IPPROTO_UDP);
		fw_match_u16(r, FW_SPORT, FW_OP_EQ, ports[i][0]);
		fw_match_u16(r, FW_DPORT, FW_OP_EQ, ports[i][1]);
	}
}

static void mark_errors(struct fw_chain *c, uint8_t proto)
{
	struct fw_rule *r = fw_rule_set_bits(c, FW_SET_MARK, CAPTURE_MARK_TUNNEL);

	match_proto(r, proto);
	fw_match_u32(r, FW_CT_STATE, FW_OP_ANY_BIT, FW_CT_RELATED);
	fw_match_u32(r, FW_CT_MARK, FW_OP_ANY_BIT, CAPTURE_MARK_TUNNEL);
}

/* What the tunnel carries. */
static void mark_carried(const struct builder *b, struct fw_chain *c, enum fw_verdict set)
{
	match_proto(fw_rule_set_bits(c, set, CAPTURE_MARK_TUNNEL), IPPROTO_TCP);
	if (!b->c->datagrams)
		return;
	match_proto(fw_rule_set_bits(c, set, CAPTURE_MARK_TUNNEL), IPPROTO_UDP);
	fw_match_u8(fw_rule_set_bits(c, set, CAPTURE_MARK_TUNNEL), FW_ICMP4_TYPE, FW_OP_EQ,
		    ICMP_ECHO);
	fw_match_u8(fw_rule_set_bits(c, set, CAPTURE_MARK_TUNNEL), FW_ICMP6_TYPE, FW_OP_EQ,
		    ICMP6_ECHO_REQUEST);
}

static void rules_mark(const struct builder *b, struct fw_chain *c)
{
	accept_replies(c);
	if (b->c->dns == CAPTURE_DNS_TUNNEL) { /* even of a resolver that is the proxy, too */
		rules_dns(c, FW_SET_MARK, CAPTURE_MARK_TUNNEL);
		rules_dns(c, FW_SET_CT_MARK, CAPTURE_MARK_TUNNEL);
		rules_dns(c, FW_ACCEPT, 0);
	}
	accept_to(c, &b->upstreams, IPPROTO_TCP, 0);
	if (b->c->dns == CAPTURE_DNS_BYPASS) {
		accept_to(c, &b->resolvers, IPPROTO_UDP, DNS_PORT);
		accept_to(c, &b->resolvers, IPPROTO_TCP, DNS_PORT);
	}
	accept_to(c, &b->link, 0, 0);
	accept_to(c, &b->exclude, 0, 0);
	accept_others(b, c);
	mark_errors(c, IPPROTO_ICMP);
	mark_errors(c, IPPROTO_ICMPV6);
	mark_carried(b, c, FW_SET_MARK);
	mark_carried(b, c, FW_SET_CT_MARK);
}

/* An error that the host sends about a guest's connection is in that, and RELATED. */
static void remember_own(struct fw_chain *c)
{
	accept_replies(c);
	fw_match_u32(fw_rule_set_bits(c, FW_SET_CT_MARK, CAPTURE_MARK_MEMBER), FW_CT_STATE,
		     FW_OP_ANY_BIT, FW_CT_NEW | FW_CT_ESTABLISHED);
}

static void chain_capture(const struct builder *b)
{
	struct fw_chain *c = fw_base_chain(b->t, "capture", FW_CHAIN_ROUTE, FW_HOOK_OUTPUT,
					   NF_IP_PRI_MANGLE, FW_ACCEPT);

	accept_if(c, FW_OIFNAME, "lo");
	if (!b->c->n_cgroups)
		remember_own(c);
	accept_inside(b, c);
	accept_askers(b, c);
	if (!b->c->by_legs)
		rule_marked(c, FW_ACCEPT, CAPTURE_MARK_BYPASS);
	if (b->c->n_cgroups)
		accept_replies(c); /* a member's servers are as free as others' */
	remember_members(b, c);
	accept_others_connections(b, c);
	remember_owners(b, c);
	accept_owners(b, c);
	if (b->c->datagrams)
		accept_dhcp(c);
	rules_mark(b, c);
}

static void chain_prerouting(const struct builder *b)
{
	struct fw_chain *c = fw_base_chain(b->t, "prerouting", FW_CHAIN_FILTER, FW_HOOK_PREROUTING,
					   NF_IP_PRI_MANGLE, FW_ACCEPT);

	accept_if(c, FW_IIFNAME, "lo");
	accept_from_inside(b, c);
	if (b->c->by_legs)
		leave_to_others(c);
	fw_match_u32(fw_rule_set_bits(c, FW_SET_MARK, CAPTURE_MARK_INBOUND), FW_DADDR_TYPE,
		     FW_OP_EQ, RTN_LOCAL);
	fw_match_u32(fw_rule(c, FW_ACCEPT), FW_DADDR_TYPE, FW_OP_EQ, RTN_LOCAL);
	rules_mark(b, c);
}

/* ---- The kill switch ---- */

static void accept_icmp_errors(struct fw_chain *c)
{
	static const uint8_t types4[] = {ICMP_DEST_UNREACH, ICMP_TIME_EXCEEDED, ICMP_PARAMETERPROB};
	static const uint8_t types6[] = {ICMP6_DST_UNREACH, ICMP6_PACKET_TOO_BIG,
					 ICMP6_TIME_EXCEEDED, ICMP6_PARAM_PROB};

	for (size_t i = 0; i < ARRAY_SIZE(types4); i++)
		fw_match_u8(fw_rule(c, FW_ACCEPT), FW_ICMP4_TYPE, FW_OP_EQ, types4[i]);
	for (size_t i = 0; i < ARRAY_SIZE(types6); i++)
		fw_match_u8(fw_rule(c, FW_ACCEPT), FW_ICMP6_TYPE, FW_OP_EQ, types6[i]);
}

static void accept_link_icmp(struct fw_chain *c)
{
	static const uint8_t types6[] = {
		ND_ROUTER_SOLICIT, ND_ROUTER_ADVERT,   ND_NEIGHBOR_SOLICIT, ND_NEIGHBOR_ADVERT,
		ND_REDIRECT,       MLD_LISTENER_QUERY, MLD_LISTENER_REPORT, MLD_LISTENER_REDUCTION,
		MLD2_REPORT};

	for (size_t i = 0; i < ARRAY_SIZE(types6); i++)
		fw_match_u8(fw_rule(c, FW_ACCEPT), FW_ICMP6_TYPE, FW_OP_EQ, types6[i]);
	match_proto(fw_rule(c, FW_ACCEPT), IPPROTO_IGMP);
}

/* Of what the host itself sends. With legs, of errors only those about connections (rules_allow()):
 * what is blocked has none, and its source may be anybody's. */
static void rules_local(const struct builder *b, struct fw_chain *c)
{
	if (!b->c->by_legs)
		accept_icmp_errors(c);
	accept_link_icmp(c);
	accept_dhcp(c);
	accept_owners(b, c);
	accept_askers(b, c);
	if (!b->c->own_lookups)
		return;
	accept_marked_to(c, CAPTURE_MARK_BYPASS, &b->resolvers, IPPROTO_UDP, DNS_PORT);
	accept_marked_to(c, CAPTURE_MARK_BYPASS, &b->resolvers, IPPROTO_TCP, DNS_PORT);
}

static void accept_related(struct fw_chain *c, uint8_t proto)
{
	struct fw_rule *r = fw_rule(c, FW_ACCEPT);

	match_proto(r, proto);
	fw_match_u32(r, FW_CT_STATE, FW_OP_ANY_BIT, FW_CT_RELATED);
}

static void rules_allow(const struct builder *b, struct fw_chain *c)
{
	accept_replies(c);
	accept_related(c, IPPROTO_ICMP);
	accept_related(c, IPPROTO_ICMPV6);
	accept_to(c, &b->upstreams, IPPROTO_TCP, 0);
	if (b->c->dns == CAPTURE_DNS_TUNNEL) { /* to the excluded, too: see rules_mark() */
		rules_dns(c, FW_DROP, 0);
	} else {
		accept_to(c, &b->resolvers, IPPROTO_UDP, DNS_PORT);
		accept_to(c, &b->resolvers, IPPROTO_TCP, DNS_PORT);
	}
	accept_to(c, &b->exclude, 0, 0);
	accept_others(b, c);
}

/* What answers the host's own connections is for the host: what would leave it answers a source
 * that was not its own. */
static void drop_foreign_replies(struct fw_chain *c)
{
	struct fw_rule *r = fw_rule(c, FW_DROP);

	fw_match_u32(r, FW_CT_MARK, FW_OP_ANY_BIT, CAPTURE_MARK_MEMBER);
	fw_match_u8(r, FW_CT_DIRECTION, FW_OP_EQ, FW_CT_REPLY);
}

/* The host tells who sent what is blocked, unless that may be a source of nobody's here: a guest is
 * known to be one by its network, which is excluded. */
static void drop_foreign_errors(const struct builder *b, struct fw_chain *c)
{
	struct fw_rule *r;

	accept_to(c, &b->exclude, IPPROTO_ICMP, 0);
	accept_to(c, &b->exclude, IPPROTO_ICMPV6, 0);
	r = fw_rule(c, FW_DROP);
	fw_match_u32(r, FW_CT_MARK, FW_OP_ANY_BIT, CAPTURE_MARK_TUNNEL);
	fw_match_u8(r, FW_CT_DIRECTION, FW_OP_EQ, FW_CT_REPLY);
}

static struct fw_chain *chain_filter(const struct builder *b, const char *name, enum fw_hook hook,
				     int priority)
{
	struct fw_chain *c = fw_base_chain(b->t, name, FW_CHAIN_FILTER, hook, priority, FW_ACCEPT);

	accept_if(c, FW_OIFNAME, "lo");
	accept_inside(b, c);
	drop_foreign_replies(c);
	accept_others_connections(b, c);
	return c;
}

static void chain_output(const struct builder *b)
{
	struct fw_chain *c = chain_filter(b, "output", FW_HOOK_OUTPUT, NF_IP_PRI_FILTER);

	rule_marked(c, FW_ACCEPT, CAPTURE_MARK_TUNNEL); /* where to is postrouting's to see */
	if (b->c->by_legs)
		drop_foreign_errors(b, c);
	rules_local(b, c);
	rules_allow(b, c);
	fw_rule(c, FW_REJECT);
}

static void chain_forward(const struct builder *b)
{
	struct fw_chain *c = chain_filter(b, "forward", FW_HOOK_FORWARD, NF_IP_PRI_FILTER);

	accept_from_inside(b, c);
	rule_marked(c, FW_DROP, CAPTURE_MARK_TUNNEL);
	rule_marked(c, FW_ACCEPT, CAPTURE_MARK_INBOUND);
	/* Never routed: with br_netfilter, frames that stay on a bridge come by here. */
	accept_to(c, &b->link, 0, 0);
	rules_allow(b, c);
	fw_rule(c, FW_REJECT);
}

static void chain_postrouting(const struct builder *b)
{
	struct fw_chain *c = chain_filter(b, "postrouting", FW_HOOK_POSTROUTING, NF_IP_PRI_MANGLE);

	accept_from_inside(b, c);
	rule_marked(c, FW_DROP, CAPTURE_MARK_TUNNEL);
	rule_marked(c, FW_ACCEPT, CAPTURE_MARK_INBOUND);
	accept_to(c, &b->link, 0, 0);
	rules_local(b, c);
	rules_allow(b, c);
	fw_rule(c, FW_DROP);
}

void capture_rules(const struct capture *c, struct ruleset *rs)
{
	struct builder b = {.c = c};

	b.t = ruleset_table(rs, FW_INET, c->by_legs ? CAPTURE_HOST_TABLE : CAPTURE_FIREWALL_TABLE);
	add_sets(&b);
	chain_capture(&b);
	if (!c->n_cgroups)
		chain_prerouting(&b);
	if (!c->kill_switch)
		return;
	chain_output(&b);
	if (!c->n_cgroups)
		chain_forward(&b);
	chain_postrouting(&b);
}

/* ---- Blocking before there is a tunnel ---- */

static void block_output(const struct builder *b)
{
	struct fw_chain *c = fw_base_chain(b->t, "output", FW_CHAIN_FILTER, FW_HOOK_OUTPUT,
					   NF_IP_PRI_FILTER, FW_ACCEPT);

	accept_if(c, FW_OIFNAME, "lo");
	accept_replies(c);
	rule_marked(c, FW_ACCEPT, CAPTURE_MARK_BYPASS);
	remember_owners(b, c);
	accept_owners(b, c);
	accept_icmp_errors(c);
	accept_link_icmp(c);
	accept_dhcp(c);
	fw_rule(c, FW_REJECT);
}

static void block_forward(const struct builder *b)
{
	struct fw_chain *c = fw_base_chain(b->t, "forward", FW_CHAIN_FILTER, FW_HOOK_FORWARD,
					   NF_IP_PRI_FILTER, FW_ACCEPT);

	accept_to(c, &b->link, 0, 0);
	fw_rule(c, FW_REJECT);
}

static void build_block(uint32_t gid, struct ruleset *rs)
{
	const struct capture c = {.exclude_gid = gid};
	struct builder b = {.c = &c};

	ruleset_init(rs);
	b.t = ruleset_table(rs, FW_INET, CAPTURE_BLOCK_TABLE);
	add_link_scope(&b);
	block_output(&b);
	block_forward(&b);
}

int capture_block_all(uint32_t gid, struct netns *ns, struct firewall *fw, struct err *err)
{
	_ruleset_ struct ruleset rs;

	build_block(gid, &rs);
	return firewall_apply(fw, ns, &rs, err);
}

bool capture_blocks_all(uint32_t gid, struct netns *ns, struct firewall *fw)
{
	_ruleset_ struct ruleset rs;

	build_block(gid, &rs);
	return !firewall_verify(fw, ns, &rs, NULL);
}

int capture_unblock_all(struct netns *ns, struct firewall *fw, struct err *err)
{
	_ruleset_ struct ruleset rs;

	ruleset_init(&rs);
	ruleset_table(&rs, FW_INET, CAPTURE_BLOCK_TABLE);
	return firewall_remove(fw, ns, &rs, err);
}

bool capture_covers_all(const struct capture *c)
{
	return c->kill_switch && !c->n_cgroups && !c->n_include;
}

/* ---- Routing ---- */

static size_t n_families(struct netns *ns)
{
	return sysctl_has_ipv6(ns) ? N_FAMILIES : 1;
}

static void add_rule(struct nlbatch *b, int family)
{
	const struct rule_spec rule = {
		.family = family,
		.priority = CAPTURE_RULE_PRIORITY,
		.fwmark = CAPTURE_MARK_TUNNEL,
		.mask = CAPTURE_MARK_TUNNEL,
		.table = CAPTURE_ROUTE_TABLE,
	};

	rule_add(b, &rule);
}

int capture_block(const struct capture *c, struct netns *ns, struct firewall *fw, struct err *err)
{
	_ruleset_ struct ruleset rs;
	_nlbatch_ struct nlbatch b;
	int r;

	nlbatch_init(&b, ns);
	ruleset_init(&rs);
	capture_rules(c, &rs);
	r = firewall_apply(fw, ns, &rs, err);
	/* nft(8) has no better word for what the kernel lacks. */
	if (r == -ENOENT && c->n_cgroups)
		err_append(err, " (can this kernel match cgroups? CONFIG_NFT_SOCKET, "
				"CONFIG_SOCK_CGROUP_DATA)");
	if (r || !c->kill_switch)
		return r;
	for (size_t f = 0, n = n_families(ns); f < n; f++) {
		route_add_blackhole(&b, families[f], CAPTURE_ROUTE_TABLE, BLACKHOLE_METRIC);
		add_rule(&b, families[f]);
	}
	return nlbatch_commit(&b, err);
}

/* In a dry run the device is not there to be asked. */
static bool has_ipv6(const struct capture *c, struct netns *ns)
{
	char key[64], value[SYSCTL_VALUE_MAX];

	if (!c->tun_addr6.addr.family || oplog_dry(ns->log))
		return c->tun_addr6.addr.family;
	snprintf(key, sizeof(key), "net/ipv6/conf/%s/disable_ipv6", c->tun);
	return !sysctl_get(ns, key, value, NULL) && !strcmp(value, "0");
}

static int loosen_rp_filter(const struct capture *c, struct netns *ns, struct err *err)
{
	char key[64];

	snprintf(key, sizeof(key), "net/ipv4/conf/%s/rp_filter", c->tun);
	return sysctl_set(ns, key, "2", err);
}

static void configure(struct nlbatch *b, const struct capture *c, int ifindex, bool ipv6)
{
	char alias[LINK_ALIAS_MAX];
	struct link_change link = {.name = c->tun,
				   .index = ifindex,
				   .alias = alias,
				   .mtu_bytes = c->mtu_bytes,
				   .queue_packets = TUN_QUEUE,
				   .no_ipv6_autoconf = ipv6};
	const struct link_change up = {.name = c->tun, .index = ifindex, .up = true};

	snprintf(alias, sizeof(alias), "byway:tunnel/%s", c->tun);
	link_set(b, &link);
	if (c->tun_addr4.addr.family)
		addr_add(b, ifindex, c->tun, &c->tun_addr4);
	if (ipv6)
		addr_add(b, ifindex, c->tun, &c->tun_addr6);
	link_set(b, &up);
}

int capture_up(const struct capture *c, struct netns *ns, struct err *err)
{
	struct link link = {0};
	bool ipv6 = has_ipv6(c, ns);
	_nlbatch_ struct nlbatch b;
	int r = oplog_dry(ns->log) ? 0 : link_get(ns, c->tun, &link, err);

	nlbatch_init(&b, ns);
	if (!r)
		r = loosen_rp_filter(c, ns, err);
	if (r)
		return r;
	configure(&b, c, link.index, ipv6);
	r = nlbatch_commit(&b, err);
	for (size_t f = 0; f < N_FAMILIES && !r; f++) {
		if (f == V6 && !ipv6)
			continue;
		route_add_default(&b, families[f], CAPTURE_ROUTE_TABLE, link.index, c->tun,
				  TUN_METRIC);
		if (c->default_route)
			route_add_default(&b, families[f], RT_TABLE_MAIN, link.index, c->tun,
					  LAST_METRIC);
		add_rule(&b, families[f]);
	}
	return r ? r : nlbatch_commit(&b, err);
}

/* ---- Down ---- */

static void unroute(struct netns *ns, int family, struct failures *f)
{
	_nlbatch_ struct nlbatch b;

	nlbatch_init(&b, ns);
	rule_del(&b, family, CAPTURE_RULE_PRIORITY);
	failures_add(f, nlbatch_commit(&b, failures_err(f)));
	failures_add(f, route_flush(&b, family, CAPTURE_ROUTE_TABLE, failures_err(f)));
	failures_add(f, nlbatch_commit(&b, failures_err(f)));
}

int capture_down(struct netns *ns, struct firewall *fw, struct err *err)
{
	struct failures f = {.err = err};
	_ruleset_ struct ruleset rs;

	for (size_t i = 0, n = n_families(ns); i < n; i++)
		unroute(ns, families[i], &f);
	ruleset_init(&rs);
	ruleset_table(&rs, FW_INET, CAPTURE_FIREWALL_TABLE);
	failures_add(&f, firewall_remove(fw, ns, &rs, failures_err(&f)));
	return failures_tell(&f);
}
