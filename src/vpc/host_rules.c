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
 * guard.
 *
 * Invariants:
 *  1. What is routed from a VPC to a VPC without being in reach is dropped, replies included:
 *     removing a peering cuts at once what runs over it. What is routed from an isolated port to
 *     another of its VPC is dropped, as the bridge drops what is not routed.
 *  2. What goes from a VPC to anywhere else passes only from a network in the NAT set of the
 *     interface it leaves by, so that a private subnet's packet is never forwarded outside, and
 *     disabling NAT cuts at once what runs over it.
 *  3. From outside into a VPC pass replies only, and what comes by a published port: it is for one
 *     of the host's addresses, goes where the mapping says and nowhere else. Its replies pass from
 *     a private subnet, too. Without the mapping it is dropped, established or not.
 *  4. To the host itself pass replies, ping to the VPC's own gateway, and neighbour discovery; where
 *     the gateway serves names or addresses, what asks it for them by its own bridge, and by no
 *     other interface; who goes out by an egress is answered by what asks by that egress.
 *  5. Nothing is routed, or taken in, that came by a port itself or by a further segment's bridge.
 *  6. What has a way out of its own is in no NAT set; a port that has one, in a network that has
 *     another, passes by its own alone.
 *
 * Files. What may come out of a port is in host_guard.c, who goes out by which egress in
 * host_ways.c and whom it asks for names in host_names.c, published ports in host_publish.c. The
 * order of rules in a chain is decided here.
 */
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "vpc/host_rules.h"
#include "vpc/host_rules_impl.h"
#include "vpc/mapping.h"
#include "vpc/names.h"
#include "vpc/port.h"
#include "vpc/vpc.h"
#include "vpc/way.h"

/* From linux/icmp.h and linux/netfilter_ipv4.h, which clash with
 * netinet/in.h. */
#define ICMP_REDIRECT 5
#define ICMP_ECHO 8
#define NF_IP_PRI_FILTER 0
#define NF_IP_PRI_NAT_SRC 100

#define DHCP_SERVER_PORT 67
#define DHCP6_SERVER_PORT 547
#define DNS_PORT 53

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

struct fw_set *host_find_set(struct host_rules *h, const char *name)
{
	for (struct fw_set *s = h->inet->sets; s; s = s->next) {
		if (!strcmp(s->name, name))
			return s;
	}
	return NULL;
}

static void add_reach(struct host_rules *h, const struct cidr *c, const char *interface)
{
	fw_set_add_cidr(c->addr.family == AF_INET6 ? h->reach6 : h->reach4, c, interface);
}

/* An address, and the interface that packets to it come by. */
static void add_gate_constant(struct fw_set *set, const char *text, const char *bridge)
{
	struct ip ip;

	if (!ip_parse(text, &ip, NULL))
		fw_set_add_ip(set, &ip, bridge);
}

static void add_services4(struct host_rules *h, const struct vpc *v)
{
	struct ip gateway = vpc_gateway(&v->cidr);

	fw_set_add_ip(h->names4, &gateway, v->bridge);
	fw_set_add_ip(h->names_at4, &gateway, NULL);
	if (!v->dhcp)
		return;
	fw_set_add_ip(h->dhcp4, &gateway, v->bridge);
	add_gate_constant(h->dhcp4, "255.255.255.255", v->bridge);
}

static void add_services6(struct host_rules *h, const struct vpc *v)
{
	struct ip gateway = vpc_gateway(&v->cidr6);

	fw_set_add_ip(h->names6, &gateway, v->bridge);
	fw_set_add_ip(h->names_at6, &gateway, NULL);
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

/* One set for each outgoing interface and family. */
struct fw_set *host_nat_set(struct host_rules *h, const char *interface, int family)
{
	enum fw_field field = family == AF_INET6 ? FW_IP6_SADDR : FW_IP4_SADDR;
	char name[FW_NAME_MAX];
	struct fw_set *s;

	snprintf(name, sizeof(name), "nat%c_%08llx", family == AF_INET6 ? '6' : '4',
		 hash_str(interface) & 0xffffffff);
	s = host_find_set(h, name);
	return s ? s : fw_interval_set(h->inet, name, 1, &field);
}

static void add_nat(struct host_rules *h, const struct cidr *c, const char *interface)
{
	if (c->addr.family)
		fw_set_add_cidr(host_nat_set(h, interface, c->addr.family), c, NULL);
}

void host_rules_nat(struct host_rules *h, const struct cidr *cidr, const struct cidr *cidr6,
		    const char *interface)
{
	add_nat(h, cidr, interface);
	add_nat(h, cidr6, interface);
}

void host_match_from(struct fw_rule *r)
{
	fw_match_u32(r, FW_IIFGROUP, FW_OP_EQ, GROUP_VPC);
}

void host_match_to(struct fw_rule *r)
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

	host_match_from(r);
	host_match_to(r);
	fw_match_set(r, FW_OP_IN, set, 2, v6 ? reach6_fields : reach4_fields);
	fw_match_set(r, FW_OP_IN, set, 2, v6 ? back6_fields : back4_fields);
}

static void rule_out(struct fw_chain *c, enum fw_verdict verdict, struct fw_set *set,
		     const char *interface, bool from_vpc)
{
	struct fw_rule *r = fw_rule(c, verdict);

	if (from_vpc)
		host_match_from(r);
	fw_match_name(r, FW_OIFNAME, FW_OP_EQ, interface);
	fw_match_set(r, FW_OP_IN, set, 1, set->fields);
}

static void rule_bridged(struct fw_chain *c, struct fw_set *set)
{
	struct fw_rule *r = fw_rule(c, FW_ACCEPT);

	host_match_from(r);
	host_match_to(r);
	fw_match_set(r, FW_OP_IN, set, 1, set->fields);
}

static void add_constant(struct fw_set *set, const char *cidr)
{
	struct cidr c;

	if (!cidr_parse(cidr, &c, NULL))
		fw_set_add_cidr(set, &c, NULL);
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
	host_match_from(r);
	host_match_to(r);
	host_published_forward(h, c);
	host_unpublished_forward(c);
	if (has_ways)
		host_ways_forward(h, c);
	for (size_t i = 0; i < n; i++) {
		rule_out(c, FW_ACCEPT, host_nat_set(h, nats[i].interface, AF_INET),
			 nats[i].interface, true);
		rule_out(c, FW_ACCEPT, host_nat_set(h, nats[i].interface, AF_INET6),
			 nats[i].interface, true);
	}
	host_match_from(fw_rule(c, FW_DROP));
	r = fw_rule(c, FW_ACCEPT);
	host_match_to(r);
	fw_match_replies(r);
	host_match_to(fw_rule(c, FW_DROP));
}

static void masquerade_chain(struct host_rules *h, const struct nat *nats, size_t n, bool published)
{
	struct fw_chain *c = fw_base_chain(h->inet, "postrouting", FW_CHAIN_NAT,
					   FW_HOOK_POSTROUTING, NF_IP_PRI_NAT_SRC, FW_ACCEPT);

	for (size_t i = 0; i < n; i++) {
		rule_out(c, FW_MASQUERADE, host_nat_set(h, nats[i].interface, AF_INET),
			 nats[i].interface, false);
		rule_out(c, FW_MASQUERADE, host_nat_set(h, nats[i].interface, AF_INET6),
			 nats[i].interface, false);
	}
	if (published)
		host_publish_hairpin(h, c);
}

static void rule_input_icmp(struct fw_chain *c, enum fw_field type, uint8_t v, struct fw_set *reach,
			    const enum fw_field *fields)
{
	struct fw_rule *r = fw_rule(c, FW_ACCEPT);

	host_match_from(r);
	fw_match_u8(r, type, FW_OP_EQ, v);
	if (reach)
		fw_match_set(r, FW_OP_IN, reach, 2, fields);
}

/* From a VPC, to what its gateway serves. */
static void rule_service(struct fw_chain *c, const struct fw_set *set, uint8_t protocol,
			 uint16_t port)
{
	struct fw_rule *r = fw_rule(c, FW_ACCEPT);

	host_match_from(r);
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

static void input_chain(struct host_rules *h, bool has_ways)
{
	struct fw_chain *c = fw_base_chain(h->inet, "input", FW_CHAIN_FILTER, FW_HOOK_INPUT,
					   NF_IP_PRI_FILTER, FW_ACCEPT);
	struct fw_rule *r;

	match_from_port(fw_rule(c, FW_DROP));
	r = fw_rule(c, FW_ACCEPT);
	host_match_from(r);
	fw_match_replies(r);
	rule_input_icmp(c, FW_ICMP4_TYPE, ICMP_ECHO, h->reach4, back4_fields);
	rule_input_icmp(c, FW_ICMP6_TYPE, ICMP6_ECHO_REQUEST, h->reach6, back6_fields);
	rule_input_icmp(c, FW_ICMP6_TYPE, ND_NEIGHBOR_SOLICIT, NULL, NULL);
	rule_input_icmp(c, FW_ICMP6_TYPE, ND_NEIGHBOR_ADVERT, NULL, NULL);
	rules_services(h, c);
	if (has_ways)
		host_names_input(h, c);
	host_match_from(fw_rule(c, FW_DROP));
}

/* Subnets reach each other through the gateway on purpose: nobody is told of a shorter way. */
static void output_chain(struct host_rules *h)
{
	struct fw_chain *c = fw_base_chain(h->inet, "output", FW_CHAIN_FILTER, FW_HOOK_OUTPUT,
					   NF_IP_PRI_FILTER, FW_ACCEPT);
	struct fw_rule *r = fw_rule(c, FW_DROP);

	host_match_to(r);
	fw_match_u8(r, FW_ICMP4_TYPE, FW_OP_EQ, ICMP_REDIRECT);
	r = fw_rule(c, FW_DROP);
	host_match_to(r);
	fw_match_u8(r, FW_ICMP6_TYPE, FW_OP_EQ, ND_REDIRECT);
}

/* ---- From the state ---- */

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

static int add_subnets(struct store *st, struct host_rules *h, const struct nat *nats,
		       size_t n_nats, const struct host_ways *ways, struct err *err)
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
		    !host_ways_has(ways, USE_SUBNET, subnets[i].vpc, subnets[i].name))
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
	_cleanup_(host_ways_done) struct host_ways ways = {0};
	size_t n_vpcs = 0, n_nats = 0, live = 0;
	bool published = false;
	int r;

	host_rules_init(ret);
	r = vpc_list(st, &vpcs, &n_vpcs, err);
	if (!r)
		r = live_nats(st, &nats, &n_nats, err);
	if (!r)
		r = host_ways_load(st, &ways, err);
	if (!r)
		r = add_subnets(st, ret, nats, n_nats, &ways, err);
	if (!r)
		r = add_ports(st, ret, vpcs, n_vpcs, err);
	if (!r)
		r = add_peers(st, ret, vpcs, n_vpcs, err);
	if (!r)
		r = host_ways_add(st, ret, &ways, err);
	if (!r)
		r = host_publish_add(st, ret, &published, err);
	if (r)
		return r;
	for (size_t i = 0; i < n_vpcs; i++) {
		const char *out = interface_of(nats, n_nats, vpcs[i].name);

		if (vpcs[i].state == ROW_DELETING)
			continue;
		live++;
		host_rules_vpc(ret, &vpcs[i]);
		host_names_add(ret, &vpcs[i], &ways);
		if (out && vpcs[i].flat && !host_ways_has(&ways, USE_NETWORK, vpcs[i].name, ""))
			host_rules_nat(ret, &vpcs[i].cidr, &vpcs[i].cidr6, out);
	}
	n_nats = distinct_interfaces(nats, n_nats);
	if (ways.n_uses) {
		host_ways_mark(ret, ways.ways, ways.n_ways);
		host_names_chain(ret, &ways, nats, n_nats);
	}
	forward_chain(ret, nats, n_nats, ways.n_uses);
	masquerade_chain(ret, nats, n_nats, published);
	if (published) {
		host_publish_chain(ret);
		host_publish_out_chain(ret);
	}
	input_chain(ret, ways.n_uses);
	output_chain(ret);
	host_guard_chains(ret);
	host_apart_chains(ret);
	*empty = live == 0;
	return 0;
}
