// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 *	host                                          namespace NAME of the egress
 *	br-VPC ── mark, rule, table ── leg-NAME ═════ leg0 ── forward ── tun0
 *
 *	                                              namespace NAME.out
 *	eth0, or another's leg ── veth-NAME ═════════ the sockets of what carries tun0
 *
 * NAME and NAME.out are those of a session in mode full (session/net.c), whatever the kind: NAME
 * has no way out but the tunnel, and what carries the tunnel lives where no workload's packet
 * comes.
 *
 * A workload's packet is masqueraded on the host as it enters the leg. So the namespace needs no
 * routes back, and does not change with the workloads; it sees one address, in each family.
 * Permanent neighbours on both sides make ARP and neighbour discovery needless.
 *
 * Invariants, on the host:
 *  1. Into a leg goes what comes from a VPC, of which the VPCs' table says whether it may
 *     (vpc/host_rules.c), and from a carrier, of which the sessions' table says so; and while the
 *     host itself goes out by egresses, what is captured as its own (tunnel/capture.c), which says
 *     itself into which legs. Nothing else.
 *  2. Out of a leg comes what answers that, to be forwarded or for the host. Nothing else.
 * In the namespace:
 *  3. From the leg it is forwarded into tun0 and nowhere else; from tun0 to the leg come answers.
 *     These rules are there before the leg is.
 *
 * A process that is killed leaves leg and route: packets go into a namespace that blocks them.
 * One that knows that it is not up takes the route out; the next egress of a list counts then.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "egress/leg.h"
#include "firewall/ruleset.h"
#include "kernel/addr.h"
#include "kernel/link.h"
#include "kernel/neigh.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/route.h"
#include "kernel/sysctl.h"
#include "session/session.h"
#include "vpc/names.h"
#include "vpc/net.h"
#include "vpc/way.h"

/* From linux/netfilter_ipv4.h, which clashes with netinet/in.h. */
#define NF_IP_PRI_MANGLE (-150)
#define NF_IP_PRI_FILTER 0
#define NF_IP_PRI_NAT_DST (-100)
#define NF_IP_PRI_NAT_SRC 100
#define DNS_PORT 53

#define TABLE "byway_egress"
#define LEG_METRIC 100u

static const int families[] = {AF_INET, AF_INET6};

/* ---- The pair ---- */

static struct cidr leg_cidr(const struct egress *e, int family, bool inside)
{
	return (struct cidr){.addr = egress_leg_addr(e->no, family, inside),
			     .prefix = ip_bits(family) - 1};
}

static size_t n_families(struct netns *ns)
{
	return sysctl_has_ipv6(ns) ? ARRAY_SIZE(families) : 1;
}

static bool is_there(struct netns *host, const char *name)
{
	struct link link;

	return !link_get(host, name, &link, NULL);
}

static int make_pair(struct netns *host, struct netns *inside, const struct egress *e,
		     const char *alias, uint32_t mtu_bytes, struct err *err)
{
	const struct veth_spec pair = {.name = e->leg,
				       .mtu_bytes = mtu_bytes,
				       .group = GROUP_LEG,
				       .mac = mac_from_name(e->leg),
				       .peer_name = LEG_INSIDE,
				       .peer_netns_name = inside->name,
				       .peer_netns_fd = inside->fd,
				       .peer_mac = mac_from_name(alias)};
	_nlbatch_ struct nlbatch b;

	nlbatch_init(&b, host);
	link_add_veth(&b, &pair);
	return nlbatch_commit(&b, err);
}

/* One end: alias, addresses, and the other's as neighbours. */
static int end_up(struct netns *ns, const struct egress *e, const char *name, bool inside,
		  const char *alias, const struct mac *other, struct err *err)
{
	const struct link_change up = {
		.name = name, .alias = alias, .no_ipv6_autoconf = true, .up = true};
	_nlbatch_ struct nlbatch b;
	int index, r = link_index(ns, name, &index, err);

	nlbatch_init(&b, ns);
	if (!r)
		r = sysctl_enable_ipv6(ns, name, err);
	if (r)
		return r;
	link_set(&b, &up);
	for (size_t i = 0, n = n_families(ns); i < n; i++) {
		struct cidr addr = leg_cidr(e, families[i], inside);
		struct ip peer = egress_leg_addr(e->no, families[i], !inside);

		addr_replace(&b, index, name, &addr);
		neigh_add(&b, index, name, &peer, other);
	}
	return nlbatch_commit(&b, err);
}

/* Answers come from everywhere, and the main table may lead there by another link. */
static int loosen_rp_filter(struct netns *host, const struct egress *e, struct err *err)
{
	char key[64];

	snprintf(key, sizeof(key), "net/ipv4/conf/%s/rp_filter", e->leg);
	return sysctl_set(host, key, "2", err);
}

static int forward_inside(struct netns *inside, struct err *err)
{
	int r = sysctl_set(inside, "net/ipv4/ip_forward", "1", err);

	if (r || !sysctl_has_ipv6(inside))
		return r;
	return sysctl_set(inside, "net/ipv6/conf/all/forwarding", "1", err);
}

int leg_up(struct netns *host, struct netns *inside, const struct egress *e, uint32_t mtu_bytes,
	   struct err *err)
{
	char alias[LINK_ALIAS_MAX];
	struct mac outer = mac_from_name(e->leg), inner;
	int r = 0;

	alias_egress(e->name, alias, sizeof(alias));
	inner = mac_from_name(alias);
	if (is_there(host, e->leg) && !is_there(inside, LEG_INSIDE))
		r = leg_down(host, e, err);
	if (!r)
		r = forward_inside(inside, err);
	if (!r && !is_there(host, e->leg))
		r = make_pair(host, inside, e, alias, mtu_bytes, err);
	if (!r)
		r = loosen_rp_filter(host, e, err);
	if (!r)
		r = end_up(inside, e, LEG_INSIDE, true, alias, &outer, err);
	return r ? r : end_up(host, e, e->leg, false, alias, &inner, err);
}

static int set_mtu(struct netns *ns, const char *name, uint32_t mtu_bytes, struct err *err)
{
	const struct link_change change = {.name = name, .mtu_bytes = mtu_bytes};
	_nlbatch_ struct nlbatch b;

	nlbatch_init(&b, ns);
	link_set(&b, &change);
	return nlbatch_commit(&b, err);
}

int leg_set_mtu(struct netns *host, struct netns *inside, const struct egress *e,
		uint32_t mtu_bytes, struct err *err)
{
	int r = set_mtu(inside, LEG_INSIDE, mtu_bytes, err);

	return r ? r : set_mtu(host, e->leg, mtu_bytes, err);
}

int leg_down(struct netns *host, const struct egress *e, struct err *err)
{
	_name_list_ struct name_list links = {0};

	name_list_add(&links, e->leg);
	return links_down(host, &links, err);
}

/* ---- What is routed into it ---- */

static struct route leg_default(const struct egress *e, int family, int ifindex)
{
	return (struct route){.dst.addr.family = family,
			      .gateway = egress_leg_addr(e->no, family, true),
			      .ifindex = ifindex,
			      .metric = LEG_METRIC,
			      .table = EGRESS_ROUTE_TABLE + e->no,
			      .type = RTN_UNICAST};
}

int leg_route(struct netns *host, const struct egress *e, bool into, struct err *err)
{
	_nlbatch_ struct nlbatch b;
	struct link leg;
	int r = link_get(host, e->leg, &leg, NULL);

	nlbatch_init(&b, host);
	if (r)
		return r == -ENODEV && !into ? 0
					     : err_errno(err, r, "cannot route into %s", e->leg);
	for (size_t i = 0, n = n_families(host); i < n; i++) {
		struct route to = leg_default(e, families[i], leg.index);

		if (into)
			route_replace(&b, &to, e->leg);
		else
			route_del(&b, &to);
	}
	return nlbatch_commit(&b, err);
}

/* ---- Rules in the namespace ---- */

static struct fw_rule *rule_between(struct fw_chain *c, enum fw_verdict verdict, const char *from,
				    const char *to)
{
	struct fw_rule *r = fw_rule(c, verdict);

	fw_match_name(r, FW_IIFNAME, FW_OP_EQ, from);
	fw_match_name(r, FW_OIFNAME, FW_OP_EQ, to);
	return r;
}

/* What comes in for the namespace itself: there is nobody, but for answers to what it asked. */
static void inside_input(struct fw_table *t)
{
	struct fw_chain *c = fw_base_chain(t, "input", FW_CHAIN_FILTER, FW_HOOK_INPUT,
					   NF_IP_PRI_FILTER, FW_ACCEPT);
	struct fw_rule *r = fw_rule(c, FW_ACCEPT);

	fw_match_name(r, FW_IIFNAME, FW_OP_EQ, LEG_INSIDE);
	fw_match_replies(r);
	fw_match_name(fw_rule(c, FW_DROP), FW_IIFNAME, FW_OP_EQ, LEG_INSIDE);
}

static void rule_dns(struct fw_chain *c, uint8_t proto, const struct ip *resolver)
{
	const struct fw_target to = {.addr = *resolver, .port = DNS_PORT};
	struct fw_rule *r;

	if (!resolver->family)
		return;
	r = fw_rule_dnat(c, &to);
	fw_match_name(r, FW_IIFNAME, FW_OP_EQ, LEG_INSIDE);
	fw_match_u8(r, FW_NFPROTO, FW_OP_EQ,
		    resolver->family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, proto);
	fw_match_u16(r, FW_DPORT, FW_OP_EQ, DNS_PORT);
}

static void inside_nat(struct fw_table *t, const struct leg_rules *k)
{
	struct fw_chain *c = fw_base_chain(t, "prerouting", FW_CHAIN_NAT, FW_HOOK_PREROUTING,
					   NF_IP_PRI_NAT_DST, FW_ACCEPT);

	rule_dns(c, IPPROTO_UDP, &k->dns4);
	rule_dns(c, IPPROTO_TCP, &k->dns4);
	rule_dns(c, IPPROTO_UDP, &k->dns6);
	rule_dns(c, IPPROTO_TCP, &k->dns6);
	c = fw_base_chain(t, "postrouting", FW_CHAIN_NAT, FW_HOOK_POSTROUTING, NF_IP_PRI_NAT_SRC,
			  FW_ACCEPT);
	fw_match_name(fw_rule(c, FW_MASQUERADE), FW_OIFNAME, FW_OP_EQ, SESSION_TUN);
}

void leg_rules_inside(struct ruleset *rs, const struct leg_rules *k)
{
	struct fw_table *t = ruleset_table(rs, FW_INET, TABLE);
	struct fw_chain *c = fw_base_chain(t, "forward", FW_CHAIN_FILTER, FW_HOOK_FORWARD,
					   NF_IP_PRI_FILTER, FW_DROP);

	fw_rule(c, FW_CLAMP_MSS);
	rule_between(c, FW_ACCEPT, LEG_INSIDE, SESSION_TUN);
	fw_match_replies(rule_between(c, FW_ACCEPT, SESSION_TUN, LEG_INSIDE));
	inside_input(t);
	if (k->masquerade)
		inside_nat(t, k);
}

/* ---- Rules on the host ---- */

static const enum fw_field carrier_fields[] = {FW_IIFNAME, FW_IP4_SADDR};

static void match_leg(struct fw_rule *r, enum fw_field interface)
{
	fw_match_u32(r, interface, FW_OP_EQ, GROUP_LEG);
}

static void from_group_to_leg(struct fw_chain *c, uint32_t group)
{
	struct fw_rule *r = fw_rule(c, FW_ACCEPT);

	fw_match_u32(r, FW_IIFGROUP, FW_OP_EQ, group);
	match_leg(r, FW_OIFGROUP);
}

static void accept_replies_from_leg(struct fw_chain *c)
{
	struct fw_rule *r = fw_rule(c, FW_ACCEPT);

	match_leg(r, FW_IIFGROUP);
	fw_match_replies(r);
	match_leg(fw_rule(c, FW_DROP), FW_IIFGROUP);
}

static void captured_to_leg(struct fw_chain *c, uint32_t captured)
{
	struct fw_rule *r = fw_rule(c, FW_ACCEPT);

	fw_match_u32(r, FW_MARK, FW_OP_ANY_BIT, captured);
	match_leg(r, FW_OIFGROUP);
}

static void host_forward(struct fw_table *t, uint32_t captured)
{
	struct fw_chain *c = fw_base_chain(t, "forward", FW_CHAIN_FILTER, FW_HOOK_FORWARD,
					   NF_IP_PRI_FILTER, FW_ACCEPT);

	accept_replies_from_leg(c);
	from_group_to_leg(c, GROUP_VPC);
	from_group_to_leg(c, GROUP_SESSION);
	if (captured)
		captured_to_leg(c, captured);
	match_leg(fw_rule(c, FW_DROP), FW_OIFGROUP);
}

static void add_carrier(struct fw_table *t, struct fw_chain *c, const struct leg_carrier *k)
{
	char name[FW_NAME_MAX];
	struct fw_elem e = {0};
	struct fw_set *set = NULL;

	snprintf(name, sizeof(name), "from%u", k->way);
	for (struct fw_set *s = t->sets; s && !set; s = s->next)
		set = strcmp(s->name, name) ? NULL : s;
	if (!set) {
		set = fw_set(t, name, 2, carrier_fields);
		fw_match_set(fw_rule_set_bits(c, FW_SET_MARK, way_mark(k->way)), FW_OP_IN, set, 2,
			     carrier_fields);
	}
	fw_elem_name(&e, 0, k->session->veth_host);
	fw_elem_ip(&e, 1, &k->session->addr);
	fw_set_add(set, &e);
}

void leg_rules_host(struct ruleset *rs, const struct leg_carrier *k, size_t n, uint32_t captured)
{
	struct fw_table *t = ruleset_table(rs, FW_INET, TABLE);
	struct fw_chain *c = fw_base_chain(t, "prerouting", FW_CHAIN_FILTER, FW_HOOK_PREROUTING,
					   NF_IP_PRI_MANGLE, FW_ACCEPT);

	fw_match_u8(fw_rule(c, FW_ACCEPT), FW_CT_DIRECTION, FW_OP_EQ, FW_CT_REPLY);
	for (size_t i = 0; i < n; i++)
		add_carrier(t, c, &k[i]);
	host_forward(t, captured);
	c = fw_base_chain(t, "input", FW_CHAIN_FILTER, FW_HOOK_INPUT, NF_IP_PRI_FILTER, FW_ACCEPT);
	accept_replies_from_leg(c);
	c = fw_base_chain(t, "postrouting", FW_CHAIN_NAT, FW_HOOK_POSTROUTING, NF_IP_PRI_NAT_SRC,
			  FW_ACCEPT);
	match_leg(fw_rule(c, FW_MASQUERADE), FW_OIFGROUP);
}
