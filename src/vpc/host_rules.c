// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * Routed traffic. Every VPC's bridge is in the link group GROUP_VPC; that is how a rule knows a VPC
 * without naming it. The sets reach4 and reach6 hold pairs (network, interface): "addresses of this
 * network may be at the other end of what crosses this interface". A packet from a VPC to a VPC
 * passes when both its ends are listed with the interface on the opposite side:
 *
 *	(source, outgoing interface) in reach  and  (destination, incoming interface) in reach
 *
 * A VPC puts in (own network, own bridge): its subnets reach each other through the gateway. A
 * peering of A and B puts in (A's network, B's bridge) and (B's network, A's bridge), or the
 * allowed parts of them. That is symmetric by construction and not transitive: with A-B and B-C,
 * nothing has A at the other end of C's bridge. Source addresses can be trusted because of the port
 * guard below.
 *
 * Invariants:
 *  1. What is routed from a VPC to a VPC without being in reach is dropped, replies included:
 *     removing a peering cuts at once what runs over it. What is routed from an isolated port to
 *another of its VPC is dropped, as the bridge drops what is not routed.
 *  2. What goes from a VPC to anywhere else passes only from a network in the NAT set of the
 *     interface it leaves by, so that a private subnet's packet is never forwarded outside, and
 *     disabling NAT cuts at once what runs over it.
 *  3. From outside into a VPC pass replies only, and what comes by a published port: it is for one
 *     of the host's addresses, goes where the mapping says and nowhere else. Its replies pass from
 *     a private subnet, too. Without the mapping it is dropped, established or not.
 *  4. To the host itself pass replies, ping to the VPC's own gateway, and neighbour discovery; where
 *     the gateway serves names or addresses, what asks it for them by its own bridge, and by no
 *     other interface.
 *  5. Nothing is routed, or taken in, that came by a port itself or by a further segment's bridge.
 *  6. What has a way out of its own is in no NAT set; a port that has one, in a network that has
 *     another, passes by its own alone.
 *
 * Ways out. A list of egresses has a mark (vpc/way.h), by which policy routing sends packets to the
 * first of them that is up. Who goes out by which list is in two sets of it: networks in one,
 * single ports in the other, which comes first. That is routing; what passes is in the sets `way`
 * and `port_way`, pairs of a source and the legs of its list. So a mark that somebody changes, a
 * rule or a route that is missing may block, and never let out elsewhere. Not marked is what a
 * VPC's bridge reaches by itself (reach), and what answers a connection that began elsewhere. Rules
 * grow with the number of different lists, not with those who use them.
 *
 * Port guard. A frame that enters a bridge from a port, of a subnet or of anybody else, must carry
 * the port's own MAC and addresses, in the Ethernet, ARP, IP and neighbour discovery headers; it
 *may ask for an address by DHCP, which is asked without one. DHCP servers, router advertisements,
 * redirects and any other protocol are dropped. A port is in the sets before it exists, so that it
 * is guarded from its first frame.
 *
 * Ports with a policy. The policy is enforced where packets are routed (port_rules.h), as only there
 * connections are known. So whatever comes from such a port, or is for its address, is taken off the
 * bridge, and routed. But for ARP and neighbour discovery, no frame goes directly between it and
 * another port: one that finds a way around being taken is dropped.
 */
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "vpc/host_rules.h"
#include "vpc/mapping.h"
#include "vpc/names.h"
#include "vpc/port.h"
#include "vpc/vpc.h"
#include "vpc/way.h"

/* From linux/icmp.h, linux/netfilter_ipv4.h and linux/netfilter_bridge.h, which clash with
 * netinet/in.h. */
#define ICMP_REDIRECT 5
#define ICMP_ECHO 8
#define NF_IP_PRI_MANGLE (-150)
#define NF_IP_PRI_NAT_DST (-100)
#define NF_IP_PRI_FILTER 0
#define NF_IP_PRI_NAT_SRC 100
#define NF_BR_PRI_NAT_DST_BRIDGED (-300)
#define NF_BR_PRI_FILTER_BRIDGED (-200)

#define DHCP_SERVER_PORT 67
#define DHCP_CLIENT_PORT 68
#define DHCP6_SERVER_PORT 547
#define DNS_PORT 53

static const enum fw_field reach4_fields[] = {FW_IP4_SADDR, FW_OIFNAME};
static const enum fw_field reach6_fields[] = {FW_IP6_SADDR, FW_OIFNAME};
static const enum fw_field back4_fields[] = {FW_IP4_DADDR, FW_IIFNAME};
static const enum fw_field back6_fields[] = {FW_IP6_DADDR, FW_IIFNAME};
static const enum fw_field from4_fields[] = {FW_IP4_SADDR, FW_IIFNAME};
static const enum fw_field from6_fields[] = {FW_IP6_SADDR, FW_IIFNAME};
static const enum fw_field service_fields[] = {FW_L4PROTO, FW_DPORT};
static const enum fw_field service4_fields[] = {FW_IP4_DADDR, FW_L4PROTO, FW_DPORT};
static const enum fw_field service6_fields[] = {FW_IP6_DADDR, FW_L4PROTO, FW_DPORT};
static const enum fw_field served4_fields[] = {FW_IP4_SADDR, FW_L4PROTO, FW_SPORT};
static const enum fw_field served6_fields[] = {FW_IP6_SADDR, FW_L4PROTO, FW_SPORT};
static const enum fw_field port_fields[] = {FW_IIFNAME};
static const enum fw_field to_port_fields[] = {FW_OIFNAME};
static const enum fw_field port_mac_fields[] = {FW_IIFNAME, FW_ETHER_SADDR};
static const enum fw_field port_ip4_fields[] = {FW_IIFNAME, FW_IP4_SADDR};
static const enum fw_field port_ip6_fields[] = {FW_IIFNAME, FW_IP6_SADDR};

void host_rules_init(struct host_rules *h)
{
	*h = (struct host_rules){0};
	ruleset_init(&h->rs);
	h->inet = ruleset_table(&h->rs, FW_INET, "byway");
	h->reach4 = fw_interval_set(h->inet, "reach4", 2, reach4_fields);
	h->reach6 = fw_interval_set(h->inet, "reach6", 2, reach6_fields);
	h->isolated4 = fw_interval_set(h->inet, "isolated4", 2, reach4_fields);
	h->isolated6 = fw_interval_set(h->inet, "isolated6", 2, reach6_fields);
	h->bridged4 = fw_interval_set(h->inet, "bridged4", 1, &back4_fields[0]);
	h->bridged6 = fw_interval_set(h->inet, "bridged6", 1, &back6_fields[0]);
	h->link6 = fw_interval_set(h->inet, "link6", 1, &reach6_fields[0]);
	h->published4 = fw_dnat_map(h->inet, "published4", AF_INET, 2, service_fields);
	h->published6 = fw_dnat_map(h->inet, "published6", AF_INET6, 2, service_fields);
	h->published_at4 = fw_dnat_map(h->inet, "published_at4", AF_INET, 3, service4_fields);
	h->published_at6 = fw_dnat_map(h->inet, "published_at6", AF_INET6, 3, service6_fields);
	h->targets4 = fw_set(h->inet, "targets4", 3, service4_fields);
	h->targets6 = fw_set(h->inet, "targets6", 3, service6_fields);
	h->loopback4 = fw_interval_set(h->inet, "loopback4", 1, &reach4_fields[0]);
	h->names4 = fw_interval_set(h->inet, "names4", 2, back4_fields);
	h->names6 = fw_interval_set(h->inet, "names6", 2, back6_fields);
	h->names_at4 = fw_interval_set(h->inet, "names_at4", 1, back4_fields);
	h->names_at6 = fw_interval_set(h->inet, "names_at6", 1, back6_fields);
	h->dhcp4 = fw_interval_set(h->inet, "dhcp4", 2, back4_fields);
	h->dhcp6 = fw_interval_set(h->inet, "dhcp6", 2, back6_fields);
	h->bridge = ruleset_table(&h->rs, FW_BRIDGE, "byway");
	h->ports = fw_set(h->bridge, "ports", 1, port_fields);
	h->port_mac = fw_set(h->bridge, "port_mac", 2, port_mac_fields);
	h->port_ip4 = fw_set(h->bridge, "port_ip4", 2, port_ip4_fields);
	h->port_ip6 = fw_set(h->bridge, "port_ip6", 2, port_ip6_fields);
	h->policy_port = fw_set(h->bridge, "policy_port", 1, port_fields);
	h->policy_ip4 = fw_set(h->bridge, "policy_ip4", 1, &back4_fields[0]);
	h->policy_ip6 = fw_set(h->bridge, "policy_ip6", 1, &back6_fields[0]);
}

void host_rules_done(struct host_rules *h)
{
	ruleset_done(&h->rs);
}

static void add_reach(struct host_rules *h, const struct cidr *c, const char *interface)
{
	struct fw_elem e = {0};

	if (!c->addr.family)
		return;
	fw_elem_cidr(&e, 0, c);
	fw_elem_name(&e, 1, interface);
	fw_set_add(c->addr.family == AF_INET6 ? h->reach6 : h->reach4, &e);
}

/* One address, and the interface that packets to it come by. */
static void add_gate(struct fw_set *set, const struct ip *ip, const char *bridge)
{
	struct fw_elem e = {0};

	fw_elem_ip(&e, 0, ip);
	if (set->n_fields > 1)
		fw_elem_name(&e, 1, bridge);
	fw_set_add(set, &e);
}

static void add_gate_constant(struct fw_set *set, const char *text, const char *bridge)
{
	struct ip ip;

	if (!ip_parse(text, &ip, NULL))
		add_gate(set, &ip, bridge);
}

static void add_services4(struct host_rules *h, const struct vpc *v)
{
	struct ip gateway = vpc_gateway(&v->cidr);

	add_gate(h->names4, &gateway, v->bridge);
	add_gate(h->names_at4, &gateway, v->bridge);
	if (!v->dhcp)
		return;
	add_gate(h->dhcp4, &gateway, v->bridge);
	add_gate_constant(h->dhcp4, "255.255.255.255", v->bridge);
}

static void add_services6(struct host_rules *h, const struct vpc *v)
{
	struct ip gateway = vpc_gateway(&v->cidr6);

	add_gate(h->names6, &gateway, v->bridge);
	add_gate(h->names_at6, &gateway, v->bridge);
	if (!v->dhcp)
		return;
	add_gate_constant(h->dhcp6, "ff02::1:2", v->bridge); /* RFC 8415 7.1 */
	add_gate_constant(h->dhcp6, "ff02::2", v->bridge);   /* all routers, RFC 4861 */
}

void host_rules_services(struct host_rules *h, const struct vpc *v)
{
	if (!v->dns)
		return;
	add_services4(h, v);
	if (v->cidr6.addr.family)
		add_services6(h, v);
}

void host_rules_vpc(struct host_rules *h, const struct vpc *v)
{
	add_reach(h, &v->cidr, v->bridge);
	add_reach(h, &v->cidr6, v->bridge);
	host_rules_services(h, v);
}

/* What of VPC v may be at the other end of across's bridge. A family that the list does not
 * mention for either VPC stays closed; a VPC that it does not mention takes part whole. */
static void add_side(struct host_rules *h, const struct peer *p, const struct vpc *v,
		     const struct vpc *across, int family)
{
	const struct cidr *whole = family == AF_INET6 ? &v->cidr6 : &v->cidr;
	bool of_family = false, of_vpc = false;

	for (size_t i = 0; i < p->n_allow; i++) {
		if (p->allow[i].addr.family != family)
			continue;
		of_family = true;
		if (cidr_contains(whole, &p->allow[i])) {
			of_vpc = true;
			add_reach(h, &p->allow[i], across->bridge);
		}
	}
	if (!of_vpc && (of_family || !p->n_allow))
		add_reach(h, whole, across->bridge);
}

void host_rules_peer(struct host_rules *h, const struct peer *p, const struct vpc *a,
		     const struct vpc *b)
{
	static const int families[] = {AF_INET, AF_INET6};

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		if (families[i] == AF_INET6 && (!a->cidr6.addr.family || !b->cidr6.addr.family))
			continue;
		add_side(h, p, a, b, families[i]);
		add_side(h, p, b, a, families[i]);
	}
}

/* Who may be behind a port. */
struct guarded {
	const char *ifname;
	struct mac mac;
	struct ip addr, addr6;
};

static void add_guarded_ip(struct host_rules *h, const struct guarded *g, const struct ip *ip)
{
	struct fw_elem e = {0};

	if (!ip->family)
		return;
	fw_elem_name(&e, 0, g->ifname);
	fw_elem_ip(&e, 1, ip);
	fw_set_add(ip->family == AF_INET6 ? h->port_ip6 : h->port_ip4, &e);
}

static void add_guarded(struct host_rules *h, const struct guarded *g)
{
	struct ip link_local = mac_link_local(&g->mac);
	struct fw_elem port = {0}, mac = {0};

	fw_elem_name(&port, 0, g->ifname);
	fw_set_add(h->ports, &port);
	fw_elem_name(&mac, 0, g->ifname);
	fw_elem_mac(&mac, 1, &g->mac);
	fw_set_add(h->port_mac, &mac);
	add_guarded_ip(h, g, &g->addr);
	if (!g->addr6.family)
		return;
	add_guarded_ip(h, g, &g->addr6);
	add_guarded_ip(h, g, &link_local);
}

void host_rules_subnet(struct host_rules *h, const struct subnet *s)
{
	struct guarded g = {
		.ifname = s->veth_host, .mac = s->mac, .addr = s->addr, .addr6 = s->addr6};

	add_guarded(h, &g);
}

static void add_isolated(struct fw_set *set, const struct ip *ip, const char *bridge)
{
	struct fw_elem e = {0};

	if (!ip->family)
		return;
	fw_elem_ip(&e, 0, ip);
	fw_elem_name(&e, 1, bridge);
	fw_set_add(set, &e);
}

static void add_address(struct fw_set *set, const struct ip *ip)
{
	struct fw_elem e = {0};

	if (!ip->family)
		return;
	fw_elem_ip(&e, 0, ip);
	fw_set_add(set, &e);
}

void host_rules_policy(struct host_rules *h, const struct port *p)
{
	struct fw_elem port = {0};

	fw_elem_name(&port, 0, p->ifname);
	fw_set_add(h->policy_port, &port);
	add_address(h->policy_ip4, &p->addr);
	add_address(h->policy_ip6, &p->addr6);
}

void host_rules_port(struct host_rules *h, const struct port *p, const struct vpc *v)
{
	struct guarded g = {.ifname = p->ifname, .mac = p->mac, .addr = p->addr, .addr6 = p->addr6};

	add_guarded(h, &g);
	if (p->has_policy)
		host_rules_policy(h, p);
	if (!p->isolated)
		return;
	add_isolated(h->isolated4, &p->addr, v->bridge);
	add_isolated(h->isolated6, &p->addr6, v->bridge);
}

static struct fw_set *find_set(struct host_rules *h, const char *name)
{
	for (struct fw_set *s = h->inet->sets; s; s = s->next) {
		if (!strcmp(s->name, name))
			return s;
	}
	return NULL;
}

static void add_service(struct fw_set *set, const struct ip *at, uint8_t protocol, uint16_t port,
			const struct fw_target *to)
{
	struct fw_elem e = {0};
	size_t i = 0;

	if (at)
		fw_elem_ip(&e, i++, at);
	fw_elem_u8_range(&e, i, protocol, protocol);
	fw_elem_u16_range(&e, i + 1, port, port);
	if (to)
		e.to = *to;
	fw_set_add(set, &e);
}

static void add_mapping(struct host_rules *h, const struct mapping *m, int family, bool with_target)
{
	bool v6 = family == AF_INET6, any = mapping_is_any(m);
	struct fw_set *at = v6 ? h->published_at6 : h->published_at4;
	struct fw_target to = {.addr = v6 ? m->addr6 : m->addr, .port = m->port};

	if (!mapping_has_family(m, family))
		return;
	if (any)
		add_service(v6 ? h->published6 : h->published4, NULL, m->protocol, m->host_port, &to);
	else
		add_service(at, &m->host_addr, m->protocol, m->host_port, &to);
	if (with_target)
		add_service(v6 ? h->targets6 : h->targets4, &to.addr, m->protocol, m->port, NULL);
}

void host_rules_mapping(struct host_rules *h, const struct mapping *m, bool with_target)
{
	add_mapping(h, m, AF_INET, with_target);
	add_mapping(h, m, AF_INET6, with_target);
}

/* One set for each outgoing interface and family. */
static struct fw_set *nat_set(struct host_rules *h, const char *interface, int family)
{
	enum fw_field field = family == AF_INET6 ? FW_IP6_SADDR : FW_IP4_SADDR;
	char name[FW_NAME_MAX];
	struct fw_set *s;

	snprintf(name, sizeof(name), "nat%c_%08llx", family == AF_INET6 ? '6' : '4',
		 hash_str(interface) & 0xffffffff);
	s = find_set(h, name);
	return s ? s : fw_interval_set(h->inet, name, 1, &field);
}

static void add_nat(struct host_rules *h, const struct cidr *c, const char *interface)
{
	struct fw_elem e = {0};

	if (!c->addr.family)
		return;
	fw_elem_cidr(&e, 0, c);
	fw_set_add(nat_set(h, interface, c->addr.family), &e);
}

void host_rules_nat(struct host_rules *h, const struct cidr *cidr, const struct cidr *cidr6,
		    const char *interface)
{
	add_nat(h, cidr, interface);
	add_nat(h, cidr6, interface);
}

/* Ways out. */

/* Pairs of a source and an interface, in or out. */
static struct fw_set *pair_set(struct host_rules *h, const char *name, int family, bool in)
{
	static const enum fw_field *const of[][2] = {{reach4_fields, from4_fields},
						     {reach6_fields, from6_fields}};
	const enum fw_field *fields = of[family == AF_INET6][in];
	char full[FW_NAME_MAX];
	struct fw_set *s;

	snprintf(full, sizeof(full), "%s%c", name, family == AF_INET6 ? '6' : '4');
	s = find_set(h, full);
	return s ? s : fw_interval_set(h->inet, full, 2, fields);
}

static struct fw_set *mark_set(struct host_rules *h, const struct way *w, int family, bool is_port)
{
	char name[FW_NAME_MAX - 1];

	snprintf(name, sizeof(name), "%s%u_", is_port ? "port_from" : "from", w->no);
	return pair_set(h, name, family, true);
}

static struct fw_set *way_set(struct host_rules *h, int family, bool is_port)
{
	return pair_set(h, is_port ? "port_way" : "way", family, false);
}

static struct fw_set *own_set(struct host_rules *h, int family)
{
	return pair_set(h, "port_own", family, true);
}

static void add_pair(struct fw_set *set, const struct cidr *c, const char *interface)
{
	struct fw_elem e = {0};

	fw_elem_cidr(&e, 0, c);
	fw_elem_name(&e, 1, interface);
	fw_set_add(set, &e);
}

static void add_way(struct host_rules *h, const struct way_user *u, const struct cidr *c)
{
	int family = c->addr.family;

	if (!family)
		return;
	if (u->is_port)
		add_pair(own_set(h, family), c, u->bridge);
	if (!u->way)
		return;
	add_pair(mark_set(h, u->way, family, u->is_port), c, u->bridge);
	for (size_t i = 0; i < u->n_legs; i++)
		add_pair(way_set(h, family, u->is_port), c, u->legs[i]);
}

void host_rules_way(struct host_rules *h, const struct way_user *u)
{
	add_way(h, u, u->cidr);
	add_way(h, u, u->cidr6);
}

/* Rules. */

static void match_from(struct fw_rule *r)
{
	fw_match_u32(r, FW_IIFGROUP, FW_OP_EQ, GROUP_VPC);
}

static void match_to(struct fw_rule *r)
{
	fw_match_u32(r, FW_OIFGROUP, FW_OP_EQ, GROUP_VPC);
}

/* What comes in by a port itself or by a further segment's bridge, none of which has an address:
 * frames to 01-80-C2-00-00-0X, which a bridge hands to the port's own interface without a look at
 * the guard, and frames to the segment's own MAC. */
static void match_from_port(struct fw_rule *r)
{
	fw_match_u32(r, FW_IIFGROUP, FW_OP_EQ, GROUP_PORT);
}

/* From a VPC to a VPC, with both ends in the set. */
static void rule_between(struct fw_chain *c, enum fw_verdict verdict, struct fw_set *set)
{
	bool v6 = set->fields[0] == FW_IP6_SADDR;
	struct fw_rule *r = fw_rule(c, verdict);

	match_from(r);
	match_to(r);
	fw_match_set(r, FW_OP_IN, set, 2, v6 ? reach6_fields : reach4_fields);
	fw_match_set(r, FW_OP_IN, set, 2, v6 ? back6_fields : back4_fields);
}

static void rule_out(struct fw_chain *c, enum fw_verdict verdict, struct fw_set *set,
		     const char *interface, bool from_vpc)
{
	struct fw_rule *r = fw_rule(c, verdict);

	if (from_vpc)
		match_from(r);
	fw_match_name(r, FW_OIFNAME, FW_OP_EQ, interface);
	fw_match_set(r, FW_OP_IN, set, 1, set->fields);
}

static void rule_bridged(struct fw_chain *c, struct fw_set *set)
{
	struct fw_rule *r = fw_rule(c, FW_ACCEPT);

	match_from(r);
	match_to(r);
	fw_match_set(r, FW_OP_IN, set, 1, set->fields);
}

static void add_constant(struct fw_set *set, const char *cidr)
{
	struct fw_elem e = {0};
	struct cidr c;

	if (cidr_parse(cidr, &c, NULL))
		return;
	fw_elem_cidr(&e, 0, &c);
	fw_set_add(set, &e);
}

/* With br_netfilter (net.bridge.bridge-nf-call-iptables, which Docker switches on) frames that stay
 * on one bridge come by here, too. Multicast, broadcast and link-local packets are never routed by
 * a host that is no multicast router: here, they are such frames. */
static void rules_bridged(struct host_rules *h, struct fw_chain *c)
{
	add_constant(h->bridged4, "224.0.0.0/4");
	add_constant(h->bridged4, "255.255.255.255/32");
	add_constant(h->bridged6, "ff00::/8");
	add_constant(h->link6, "fe80::/10");
	add_constant(h->loopback4, "127.0.0.0/8");
	rule_bridged(c, h->bridged4);
	rule_bridged(c, h->bridged6);
	rule_bridged(c, h->link6);
}

/* A rule of both families about what comes from a VPC and is in a set of pairs. */
static void rules_pair(struct fw_chain *c, enum fw_verdict verdict, struct fw_set *set4,
		       struct fw_set *set6, const enum fw_field fields4[],
		       const enum fw_field fields6[])
{
	struct fw_rule *r = fw_rule(c, verdict);

	match_from(r);
	fw_match_set(r, FW_OP_IN, set4, 2, fields4);
	r = fw_rule(c, verdict);
	match_from(r);
	fw_match_set(r, FW_OP_IN, set6, 2, fields6);
}

/* The port's way out counts, or that it has none; then its network's. */
static void rules_ways(struct host_rules *h, struct fw_chain *c)
{
	rules_pair(c, FW_ACCEPT, way_set(h, AF_INET, true), way_set(h, AF_INET6, true),
		   reach4_fields, reach6_fields);
	rules_pair(c, FW_DROP, own_set(h, AF_INET), own_set(h, AF_INET6), from4_fields,
		   from6_fields);
	rules_pair(c, FW_ACCEPT, way_set(h, AF_INET, false), way_set(h, AF_INET6, false),
		   reach4_fields, reach6_fields);
}

static void rule_mark(struct host_rules *h, struct fw_chain *c, const struct way *w, int family,
		      bool is_port)
{
	fw_match_set(fw_rule_set_bits(c, FW_SET_MARK, way_mark(w->no)), FW_OP_IN,
		     mark_set(h, w, family, is_port), 2,
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
static void mark_chain(struct host_rules *h, const struct way *ways, size_t n)
{
	struct fw_chain *c = fw_base_chain(h->inet, "prerouting", FW_CHAIN_FILTER,
					   FW_HOOK_PREROUTING, NF_IP_PRI_MANGLE, FW_ACCEPT);

	fw_match_u32(fw_rule(c, FW_ACCEPT), FW_IIFGROUP, FW_OP_NE, GROUP_VPC);
	fw_match_u8(fw_rule(c, FW_ACCEPT), FW_CT_DIRECTION, FW_OP_EQ, FW_CT_REPLY);
	/* For the host, which may send it on to a workload: a published port. */
	fw_match_u32(fw_rule(c, FW_ACCEPT), FW_DADDR_TYPE, FW_OP_EQ, RTN_LOCAL);
	rules_pair(c, FW_ACCEPT, h->reach4, h->reach6, back4_fields, back6_fields);
	rules_mark(h, c, ways, n, true);
	rules_pair(c, FW_ACCEPT, own_set(h, AF_INET), own_set(h, AF_INET6), from4_fields,
		   from6_fields);
	rules_mark(h, c, ways, n, false);
}

/* ---- Published ports ---- */

static void match_published(struct fw_rule *r, uint8_t direction, struct fw_set *targets,
			    const enum fw_field fields[])
{
	fw_match_u8(r, FW_CT_DIRECTION, FW_OP_EQ, direction);
	fw_match_u32(r, FW_CT_STATUS, FW_OP_ANY_BIT, FW_CT_DNAT);
	fw_match_set(r, FW_OP_IN, targets, 3, fields);
}

static void rule_published(struct fw_chain *c, struct fw_set *targets, const enum fw_field to[],
			   const enum fw_field back[])
{
	struct fw_rule *r = fw_rule(c, FW_ACCEPT);

	match_to(r);
	match_published(r, FW_CT_ORIGINAL, targets, to);
	r = fw_rule(c, FW_ACCEPT);
	match_from(r);
	match_published(r, FW_CT_REPLY, targets, back);
}

/* From outside, and back; behind what decides between VPCs. */
static void rules_published(struct host_rules *h, struct fw_chain *c)
{
	rule_published(c, h->targets4, service4_fields, served4_fields);
	rule_published(c, h->targets6, service6_fields, served6_fields);
}

/* What is established from outside came by a published port: by one that is no more. Always there, so
 * that it holds for the last one, too. */
static void rule_unpublished(struct fw_chain *c)
{
	struct fw_rule *r = fw_rule(c, FW_DROP);

	match_to(r);
	fw_match_u8(r, FW_CT_DIRECTION, FW_OP_EQ, FW_CT_ORIGINAL);
	fw_match_u32(r, FW_CT_STATE, FW_OP_ANY_BIT, FW_CT_ESTABLISHED);
}

/* What workloads send to 127.0.0.0/8 is not sent on: it is dropped as input. */
static void publish_chain(struct host_rules *h)
{
	struct fw_chain *c = fw_base_chain(h->inet, "publish", FW_CHAIN_NAT, FW_HOOK_PREROUTING,
					   NF_IP_PRI_NAT_DST, FW_ACCEPT);

	fw_match_set(fw_rule(c, FW_ACCEPT), FW_OP_IN, h->loopback4, 1, &back4_fields[0]);
	fw_rule_dnat_map(c, h->published_at4);
	fw_rule_dnat_map(c, h->published_at6);
	fw_match_u32(fw_rule_dnat_map(c, h->published4), FW_DADDR_TYPE, FW_OP_EQ, RTN_LOCAL);
	fw_match_u32(fw_rule_dnat_map(c, h->published6), FW_DADDR_TYPE, FW_OP_EQ, RTN_LOCAL);
}

/* By the host itself. The kernel sends nothing of ::1 out, so that is left to who listens there. */
static void publish_out_chain(struct host_rules *h)
{
	static const struct ip loopback6 = {.family = AF_INET6, .bytes[15] = 1};
	struct fw_chain *c = fw_base_chain(h->inet, "publish_out", FW_CHAIN_NAT, FW_HOOK_OUTPUT,
					   NF_IP_PRI_NAT_DST, FW_ACCEPT);

	fw_match_ip(fw_rule(c, FW_ACCEPT), FW_IP6_DADDR, FW_OP_EQ, &loopback6);
	fw_rule_dnat_map(c, h->published_at4);
	fw_rule_dnat_map(c, h->published_at6);
	fw_match_u32(fw_rule_dnat_map(c, h->published4), FW_DADDR_TYPE, FW_OP_EQ, RTN_LOCAL);
	fw_match_u32(fw_rule_dnat_map(c, h->published6), FW_DADDR_TYPE, FW_OP_EQ, RTN_LOCAL);
}

/* Who has the target on its own link would get the answer from there, not from the address that it
 * asked; and nobody can answer 127.0.0.1. */
static void rules_hairpin(struct host_rules *h, struct fw_chain *c)
{
	struct fw_rule *r = fw_rule(c, FW_MASQUERADE);

	match_to(r);
	fw_match_u32(r, FW_CT_STATUS, FW_OP_ANY_BIT, FW_CT_DNAT);
	fw_match_set(r, FW_OP_IN, h->reach4, 2, reach4_fields);
	r = fw_rule(c, FW_MASQUERADE);
	match_to(r);
	fw_match_u32(r, FW_CT_STATUS, FW_OP_ANY_BIT, FW_CT_DNAT);
	fw_match_set(r, FW_OP_IN, h->reach6, 2, reach6_fields);
	r = fw_rule(c, FW_MASQUERADE);
	match_to(r);
	fw_match_set(r, FW_OP_IN, h->loopback4, 1, &reach4_fields[0]);
}

static void forward_chain(struct host_rules *h, const struct nat *nats, size_t n, bool has_ways)
{
	struct fw_chain *c = fw_base_chain(h->inet, "forward", FW_CHAIN_FILTER, FW_HOOK_FORWARD,
					   NF_IP_PRI_FILTER, FW_ACCEPT);
	struct fw_rule *r = fw_rule(c, FW_DROP);

	match_from_port(r); /* but for what br_netfilter shows of frames inside a segment */
	fw_match_u32(r, FW_OIFGROUP, FW_OP_NE, GROUP_PORT);
	rule_between(c, FW_DROP, h->isolated4);
	rule_between(c, FW_DROP, h->isolated6);
	rule_between(c, FW_ACCEPT, h->reach4);
	rule_between(c, FW_ACCEPT, h->reach6);
	rules_bridged(h, c);
	r = fw_rule(c, FW_DROP);
	match_from(r);
	match_to(r);
	rules_published(h, c);
	rule_unpublished(c);
	if (has_ways)
		rules_ways(h, c);
	for (size_t i = 0; i < n; i++) {
		rule_out(c, FW_ACCEPT, nat_set(h, nats[i].interface, AF_INET), nats[i].interface,
			 true);
		rule_out(c, FW_ACCEPT, nat_set(h, nats[i].interface, AF_INET6), nats[i].interface,
			 true);
	}
	match_from(fw_rule(c, FW_DROP));
	r = fw_rule(c, FW_ACCEPT);
	match_to(r);
	fw_match_replies(r);
	match_to(fw_rule(c, FW_DROP));
}

static void masquerade_chain(struct host_rules *h, const struct nat *nats, size_t n, bool published)
{
	struct fw_chain *c = fw_base_chain(h->inet, "postrouting", FW_CHAIN_NAT,
					   FW_HOOK_POSTROUTING, NF_IP_PRI_NAT_SRC, FW_ACCEPT);

	for (size_t i = 0; i < n; i++) {
		rule_out(c, FW_MASQUERADE, nat_set(h, nats[i].interface, AF_INET),
			 nats[i].interface, false);
		rule_out(c, FW_MASQUERADE, nat_set(h, nats[i].interface, AF_INET6),
			 nats[i].interface, false);
	}
	if (published)
		rules_hairpin(h, c);
}

static void rule_input_icmp(struct fw_chain *c, enum fw_field type, uint8_t v, struct fw_set *reach,
			    const enum fw_field *fields)
{
	struct fw_rule *r = fw_rule(c, FW_ACCEPT);

	match_from(r);
	fw_match_u8(r, type, FW_OP_EQ, v);
	if (reach)
		fw_match_set(r, FW_OP_IN, reach, 2, fields);
}

/* From a VPC, to what its gateway serves. */
static void rule_service(struct fw_chain *c, const struct fw_set *set, uint8_t protocol,
			 uint16_t port)
{
	struct fw_rule *r = fw_rule(c, FW_ACCEPT);

	match_from(r);
	fw_match_set(r, FW_OP_IN, set, 2, set->fields);
	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, protocol);
	fw_match_u16(r, FW_DPORT, FW_OP_EQ, port);
}

/* Nobody else is answered, wherever a packet to the gateway comes from, but for the host itself. */
static void rule_no_service(struct fw_chain *c, const struct fw_set *set, uint8_t protocol)
{
	struct fw_rule *r = fw_rule(c, FW_DROP);

	fw_match_name(r, FW_IIFNAME, FW_OP_NE, "lo");
	fw_match_set(r, FW_OP_IN, set, 1, set->fields);
	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, protocol);
	fw_match_u16(r, FW_DPORT, FW_OP_EQ, DNS_PORT);
}

static void rules_services(struct host_rules *h, struct fw_chain *c)
{
	static const uint8_t protocols[] = {IPPROTO_UDP, IPPROTO_TCP};

	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		rule_service(c, h->names4, protocols[i], DNS_PORT);
		rule_service(c, h->names6, protocols[i], DNS_PORT);
		rule_no_service(c, h->names_at4, protocols[i]);
		rule_no_service(c, h->names_at6, protocols[i]);
	}
	rule_service(c, h->dhcp4, IPPROTO_UDP, DHCP_SERVER_PORT);
	rule_service(c, h->dhcp6, IPPROTO_UDP, DHCP6_SERVER_PORT);
	rule_input_icmp(c, FW_ICMP6_TYPE, ND_ROUTER_SOLICIT, h->dhcp6, back6_fields);
}

static void input_chain(struct host_rules *h)
{
	struct fw_chain *c = fw_base_chain(h->inet, "input", FW_CHAIN_FILTER, FW_HOOK_INPUT,
					   NF_IP_PRI_FILTER, FW_ACCEPT);
	struct fw_rule *r;

	match_from_port(fw_rule(c, FW_DROP));
	r = fw_rule(c, FW_ACCEPT);
	match_from(r);
	fw_match_replies(r);
	rule_input_icmp(c, FW_ICMP4_TYPE, ICMP_ECHO, h->reach4, back4_fields);
	rule_input_icmp(c, FW_ICMP6_TYPE, ICMP6_ECHO_REQUEST, h->reach6, back6_fields);
	rule_input_icmp(c, FW_ICMP6_TYPE, ND_NEIGHBOR_SOLICIT, NULL, NULL);
	rule_input_icmp(c, FW_ICMP6_TYPE, ND_NEIGHBOR_ADVERT, NULL, NULL);
	rules_services(h, c);
	match_from(fw_rule(c, FW_DROP));
}

/* Subnets reach each other through the gateway on purpose: nobody is told of a shorter way. */
static void output_chain(struct host_rules *h)
{
	struct fw_chain *c = fw_base_chain(h->inet, "output", FW_CHAIN_FILTER, FW_HOOK_OUTPUT,
					   NF_IP_PRI_FILTER, FW_ACCEPT);
	struct fw_rule *r = fw_rule(c, FW_DROP);

	match_to(r);
	fw_match_u8(r, FW_ICMP4_TYPE, FW_OP_EQ, ICMP_REDIRECT);
	r = fw_rule(c, FW_DROP);
	match_to(r);
	fw_match_u8(r, FW_ICMP6_TYPE, FW_OP_EQ, ND_REDIRECT);
}

static void guard_arp(struct host_rules *h, struct fw_chain *guard)
{
	static const enum fw_field mac[] = {FW_IIFNAME, FW_ARP_SADDR_ETHER};
	static const enum fw_field ip[] = {FW_IIFNAME, FW_ARP_SADDR_IP};
	struct fw_rule *r = fw_rule(guard, FW_DROP);

	fw_match_u16(r, FW_ETHER_TYPE, FW_OP_EQ, ETHERTYPE_ARP);
	fw_match_set(r, FW_OP_NOT_IN, h->port_mac, 2, mac);
	/* Nor a probe for a duplicate (RFC 5227), by which somebody could be made to give up an
	 * address: nobody has one that is not the port's own. */
	r = fw_rule(guard, FW_ACCEPT);
	fw_match_u16(r, FW_ETHER_TYPE, FW_OP_EQ, ETHERTYPE_ARP);
	fw_match_set(r, FW_OP_IN, h->port_ip4, 2, ip);
}

static void guard_ip4(struct host_rules *h, struct fw_chain *guard)
{
	static const struct ip nobody = {.family = AF_INET};
	static const struct ip all = {.family = AF_INET, .bytes = {255, 255, 255, 255}};
	struct fw_rule *r = fw_rule(guard, FW_DROP);

	fw_match_u16(r, FW_ETHER_TYPE, FW_OP_EQ, ETHERTYPE_IP);
	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, IPPROTO_UDP);
	fw_match_u16(r, FW_SPORT, FW_OP_EQ, DHCP_SERVER_PORT);
	r = fw_rule(guard, FW_ACCEPT); /* a client that has no address yet (RFC 2131 4.1) */
	fw_match_u16(r, FW_ETHER_TYPE, FW_OP_EQ, ETHERTYPE_IP);
	fw_match_ip(r, FW_IP4_SADDR, FW_OP_EQ, &nobody);
	fw_match_ip(r, FW_IP4_DADDR, FW_OP_EQ, &all);
	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, IPPROTO_UDP);
	fw_match_u16(r, FW_SPORT, FW_OP_EQ, DHCP_CLIENT_PORT);
	fw_match_u16(r, FW_DPORT, FW_OP_EQ, DHCP_SERVER_PORT);
	r = fw_rule(guard, FW_ACCEPT);
	fw_match_u16(r, FW_ETHER_TYPE, FW_OP_EQ, ETHERTYPE_IP);
	fw_match_set(r, FW_OP_IN, h->port_ip4, 2, port_ip4_fields);
}

static void drop_icmp6(struct fw_chain *guard, uint8_t type)
{
	struct fw_rule *r = fw_rule(guard, FW_DROP);

	fw_match_u16(r, FW_ETHER_TYPE, FW_OP_EQ, ETHERTYPE_IPV6);
	fw_match_u8(r, FW_ICMP6_TYPE, FW_OP_EQ, type);
}

static void guard_ip6(struct host_rules *h, struct fw_chain *guard)
{
	static const enum fw_field target[] = {FW_IIFNAME, FW_ND_TARGET};
	static const struct ip unspecified = {.family = AF_INET6};
	struct fw_rule *r;

	drop_icmp6(guard, ND_ROUTER_ADVERT);
	drop_icmp6(guard, ND_REDIRECT);
	r = fw_rule(guard, FW_DROP);
	fw_match_u16(r, FW_ETHER_TYPE, FW_OP_EQ, ETHERTYPE_IPV6);
	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, IPPROTO_UDP);
	fw_match_u16(r, FW_SPORT, FW_OP_EQ, DHCP6_SERVER_PORT);
	r = fw_rule(guard, FW_DROP);
	fw_match_u16(r, FW_ETHER_TYPE, FW_OP_EQ, ETHERTYPE_IPV6);
	fw_match_u8(r, FW_ICMP6_TYPE, FW_OP_EQ, ND_NEIGHBOR_ADVERT);
	fw_match_set(r, FW_OP_NOT_IN, h->port_ip6, 2, target);
	/* Duplicate address detection: nobody can have another's address, but who hears such a
	 * question about the one it is about to take would go without (RFC 4862 5.4.3). */
	r = fw_rule(guard, FW_DROP);
	fw_match_u16(r, FW_ETHER_TYPE, FW_OP_EQ, ETHERTYPE_IPV6);
	fw_match_ip(r, FW_IP6_SADDR, FW_OP_EQ, &unspecified);
	fw_match_u8(r, FW_ICMP6_TYPE, FW_OP_EQ, ND_NEIGHBOR_SOLICIT);
	r = fw_rule(guard, FW_ACCEPT); /* multicast reports */
	fw_match_u16(r, FW_ETHER_TYPE, FW_OP_EQ, ETHERTYPE_IPV6);
	fw_match_ip(r, FW_IP6_SADDR, FW_OP_EQ, &unspecified);
	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, IPPROTO_ICMPV6);
	r = fw_rule(guard, FW_ACCEPT);
	fw_match_u16(r, FW_ETHER_TYPE, FW_OP_EQ, ETHERTYPE_IPV6);
	fw_match_set(r, FW_OP_IN, h->port_ip6, 2, port_ip6_fields);
}

/* What stays on the link, also around a port with a policy: who has which MAC. */
static void spare_resolution(struct fw_chain *c)
{
	fw_match_u16(fw_rule(c, FW_RETURN), FW_ETHER_TYPE, FW_OP_EQ, ETHERTYPE_ARP);
	fw_match_u8(fw_rule(c, FW_RETURN), FW_ICMP6_TYPE, FW_OP_EQ, ND_NEIGHBOR_SOLICIT);
	fw_match_u8(fw_rule(c, FW_RETURN), FW_ICMP6_TYPE, FW_OP_EQ, ND_NEIGHBOR_ADVERT);
}

/* From a port with a policy, and to it: to be routed. */
static void take_chain(struct host_rules *h, struct fw_chain *base)
{
	struct fw_chain *take = fw_chain(h->bridge, "take");

	fw_match_set(fw_rule_jump(base, take), FW_OP_IN, h->policy_port, 1, port_fields);
	fw_match_set(fw_rule_jump(base, take), FW_OP_IN, h->policy_ip4, 1, &back4_fields[0]);
	fw_match_set(fw_rule_jump(base, take), FW_OP_IN, h->policy_ip6, 1, &back6_fields[0]);
	spare_resolution(take);
	fw_rule(take, FW_TAKE);
}

/* Nothing else is bridged there. */
static void apart_chains(struct host_rules *h)
{
	struct fw_chain *apart = fw_chain(h->bridge, "apart");
	struct fw_chain *base =
		fw_base_chain(h->bridge, "forward", FW_CHAIN_FILTER, FW_HOOK_FORWARD,
			      NF_BR_PRI_FILTER_BRIDGED, FW_ACCEPT);

	fw_match_set(fw_rule_jump(base, apart), FW_OP_IN, h->policy_port, 1, port_fields);
	fw_match_set(fw_rule_jump(base, apart), FW_OP_IN, h->policy_port, 1, to_port_fields);
	spare_resolution(apart);
	fw_rule(apart, FW_DROP);
}

static void guard_chains(struct host_rules *h)
{
	struct fw_chain *guard = fw_chain(h->bridge, "guard");
	struct fw_chain *base =
		fw_base_chain(h->bridge, "prerouting", FW_CHAIN_FILTER, FW_HOOK_PREROUTING,
			      NF_BR_PRI_NAT_DST_BRIDGED, FW_ACCEPT);

	take_chain(h, base);
	fw_match_set(fw_rule_jump(base, guard), FW_OP_IN, h->ports, 1, port_fields);
	fw_match_set(fw_rule(guard, FW_DROP), FW_OP_NOT_IN, h->port_mac, 2, port_mac_fields);
	guard_ip4(h, guard);
	guard_arp(h, guard);
	guard_ip6(h, guard);
	fw_rule(guard, FW_DROP);
}

/* From the state. */

static const struct vpc *find_vpc(const struct vpc *vpcs, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(vpcs[i].name, name))
			return &vpcs[i];
	}
	return NULL;
}

static int by_interface(const void *a, const void *b)
{
	return strcmp(((const struct nat *)a)->interface, ((const struct nat *)b)->interface);
}

/* The rules need each interface once, in an order that does not depend on the VPCs' names. */
static size_t distinct_interfaces(struct nat *nats, size_t n)
{
	size_t kept = 0;

	if (n)
		qsort(nats, n, sizeof(*nats), by_interface);
	for (size_t i = 0; i < n; i++) {
		if (!kept || strcmp(nats[kept - 1].interface, nats[i].interface))
			nats[kept++] = nats[i];
	}
	return kept;
}

static const char *interface_of(const struct nat *nats, size_t n, const char *vpc)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(nats[i].vpc, vpc))
			return nats[i].interface;
	}
	return NULL;
}

/* What the state says of ways out. */
struct ways {
	struct egress *egresses;
	struct way *ways;
	struct use *uses;
	size_t n_egresses, n_ways, n_uses;
};

static void ways_done(struct ways *w)
{
	egress_list_free(w->egresses, w->n_egresses);
	free(w->ways);
	free(w->uses);
}

static int load_ways(struct store *st, struct ways *w, struct err *err)
{
	int r = egress_list(st, &w->egresses, &w->n_egresses, err);

	if (!r)
		r = way_list(st, &w->ways, &w->n_ways, err);
	return r ? r : use_list(st, &w->uses, &w->n_uses, err);
}

static const struct way *find_way(const struct ways *w, const char *list)
{
	for (size_t i = 0; i < w->n_ways; i++) {
		if (!strcmp(w->ways[i].list, list))
			return &w->ways[i];
	}
	return NULL;
}

struct legs {
	const struct ways *ways;
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

static bool has_use(const struct ways *w, const char *vpc, const char *name)
{
	for (size_t i = 0; i < w->n_uses; i++) {
		if (!strcmp(w->uses[i].vpc, vpc) && !strcmp(w->uses[i].name, name))
			return w->uses[i].state != ROW_DELETING;
	}
	return false;
}

static struct cidr single(const struct ip *ip)
{
	return (struct cidr){.addr = *ip, .prefix = ip_bits(ip->family)};
}

/* A port's name is its VPC's only one; a subnet's may be the same, and counts then. */
static int add_use(struct store *st, struct host_rules *h, const struct ways *w,
		   const struct use *use, struct err *err)
{
	struct legs legs = {.ways = w};
	struct way_user u = {.way = find_way(w, use->list), .legs = legs.names};
	struct cidr addr, addr6;
	struct subnet s;
	struct port p;
	struct vpc v;
	int r = vpc_load(st, use->vpc, &v, err);

	if (r)
		return r == -ENOENT ? 0 : r;
	way_each(use->list, add_leg, &legs);
	u.n_legs = legs.n;
	u.bridge = v.bridge;
	u.cidr = &v.cidr;
	u.cidr6 = &v.cidr6;
	if (*use->name && !subnet_load(st, use->vpc, use->name, &s, NULL)) {
		u.cidr = &s.cidr;
		u.cidr6 = &s.cidr6;
	} else if (*use->name) {
		r = port_load(st, use->vpc, use->name, &p, NULL);
		if (r)
			return r == -ENOENT ? 0 : err_errno(err, r, "cannot look up a port");
		addr = single(&p.addr);
		addr6 = single(&p.addr6);
		u.cidr = &addr;
		u.cidr6 = &addr6;
		u.is_port = true;
	}
	host_rules_way(h, &u);
	return 0;
}

int host_rules_use(struct store *st, struct host_rules *h, const char *vpc, const char *name,
		   struct err *err)
{
	_cleanup_(ways_done) struct ways w = {0};
	struct use use;
	int r = use_load(st, vpc, name, &use, NULL);

	if (r)
		return r == -ENOENT ? 0 : err_errno(err, r, "cannot look up a way out");
	r = load_ways(st, &w, err);
	return r ? r : add_use(st, h, &w, &use, err);
}

static int add_uses(struct store *st, struct host_rules *h, const struct ways *w, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < w->n_uses; i++) {
		if (w->uses[i].state != ROW_DELETING)
			r = add_use(st, h, w, &w->uses[i], err);
	}
	return r;
}

static int add_subnets(struct store *st, struct host_rules *h, const struct nat *nats,
		       size_t n_nats, const struct ways *ways, struct err *err)
{
	_free_ struct subnet *subnets = NULL;
	size_t n = 0;
	int r = subnet_list(st, NULL, &subnets, &n, err);

	for (size_t i = 0; !r && i < n; i++) {
		const char *out = interface_of(nats, n_nats, subnets[i].vpc);

		if (subnets[i].state == ROW_DELETING)
			continue;
		host_rules_subnet(h, &subnets[i]);
		if (out && subnets[i].is_public &&
		    !has_use(ways, subnets[i].vpc, subnets[i].name))
			host_rules_nat(h, &subnets[i].cidr, &subnets[i].cidr6, out);
	}
	return r;
}

static int add_ports(struct store *st, struct host_rules *h, const struct vpc *vpcs, size_t n_vpcs,
		     struct err *err)
{
	_free_ struct port *ports = NULL;
	size_t n = 0;
	int r = port_list(st, NULL, &ports, &n, err);

	for (size_t i = 0; !r && i < n; i++) {
		const struct vpc *v = find_vpc(vpcs, n_vpcs, ports[i].vpc);

		if (v && ports[i].state != ROW_DELETING)
			host_rules_port(h, &ports[i], v);
	}
	return r;
}

static int add_peers(struct store *st, struct host_rules *h, const struct vpc *vpcs, size_t n_vpcs,
		     struct err *err)
{
	_free_ struct peer *peers = NULL;
	size_t n = 0;
	int r = peer_list(st, NULL, &peers, &n, err);

	for (size_t i = 0; !r && i < n; i++) {
		const struct vpc *a = find_vpc(vpcs, n_vpcs, peers[i].a);
		const struct vpc *b = find_vpc(vpcs, n_vpcs, peers[i].b);

		if (a && b && peers[i].state != ROW_DELETING)
			host_rules_peer(h, &peers[i], a, b);
	}
	return r;
}

static int add_mappings(struct store *st, struct host_rules *h, bool *ret_any, struct err *err)
{
	_free_ struct mapping *m = NULL;
	size_t n = 0;
	int r = mapping_list(st, NULL, &m, &n, err);

	*ret_any = false;
	for (size_t i = 0; !r && i < n; i++) {
		if (m[i].state == ROW_DELETING)
			continue;
		host_rules_mapping(h, &m[i], true);
		*ret_any = true;
	}
	return r;
}

static int live_nats(struct store *st, struct nat **ret, size_t *n, struct err *err)
{
	size_t all = 0;
	int r = nat_list(st, ret, &all, err);

	*n = 0;
	for (size_t i = 0; !r && i < all; i++) {
		if ((*ret)[i].state != ROW_DELETING)
			(*ret)[(*n)++] = (*ret)[i];
	}
	return r;
}

int host_rules_build(struct store *st, struct host_rules *ret, bool *empty, struct err *err)
{
	_free_ struct vpc *vpcs = NULL;
	_free_ struct nat *nats = NULL;
	_cleanup_(ways_done) struct ways ways = {0};
	size_t n_vpcs = 0, n_nats = 0, live = 0;
	bool published = false;
	int r;

	host_rules_init(ret);
	r = vpc_list(st, &vpcs, &n_vpcs, err);
	if (!r)
		r = live_nats(st, &nats, &n_nats, err);
	if (!r)
		r = load_ways(st, &ways, err);
	if (!r)
		r = add_subnets(st, ret, nats, n_nats, &ways, err);
	if (!r)
		r = add_ports(st, ret, vpcs, n_vpcs, err);
	if (!r)
		r = add_peers(st, ret, vpcs, n_vpcs, err);
	if (!r)
		r = add_uses(st, ret, &ways, err);
	if (!r)
		r = add_mappings(st, ret, &published, err);
	if (r)
		return r;
	for (size_t i = 0; i < n_vpcs; i++) {
		const char *out = interface_of(nats, n_nats, vpcs[i].name);

		if (vpcs[i].state == ROW_DELETING)
			continue;
		live++;
		host_rules_vpc(ret, &vpcs[i]);
		if (out && vpcs[i].flat && !has_use(&ways, vpcs[i].name, ""))
			host_rules_nat(ret, &vpcs[i].cidr, &vpcs[i].cidr6, out);
	}
	n_nats = distinct_interfaces(nats, n_nats);
	if (ways.n_uses)
		mark_chain(ret, ways.ways, ways.n_ways);
	forward_chain(ret, nats, n_nats, ways.n_uses);
	masquerade_chain(ret, nats, n_nats, published);
	if (published) {
		publish_chain(ret);
		publish_out_chain(ret);
	}
	input_chain(ret);
	output_chain(ret);
	guard_chains(ret);
	apart_chains(ret);
	*empty = live == 0;
	return 0;
}
