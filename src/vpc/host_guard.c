// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Port guard. A frame that enters a bridge from a port, of a subnet or of anybody else, must carry
 * the port's own MAC and addresses, in the Ethernet, ARP, IP and neighbour discovery headers; it
 * may ask for an address by DHCP, which is asked without one. DHCP servers, router advertisements,
 * redirects and any other protocol are dropped. A port is in the sets before it exists, so that it
 * is guarded from its first frame.
 *
 * Ports with a policy. The policy is enforced where packets are routed (port_rules.h), as only there
 * connections are known. So whatever comes from such a port, or is for its address, is taken off the
 * bridge, and routed. But for ARP and neighbour discovery, no frame goes directly between it and
 * another port: one that finds a way around being taken is dropped.
 */
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "vpc/host_rules.h"
#include "vpc/host_rules_impl.h"
#include "vpc/port.h"
#include "vpc/vpc.h"

/* From linux/netfilter_bridge.h, which clashes with netinet/in.h. */
#define NF_BR_PRI_NAT_DST_BRIDGED (-300)
#define NF_BR_PRI_FILTER_BRIDGED (-200)

#define DHCP_SERVER_PORT 67
#define DHCP_CLIENT_PORT 68
#define DHCP6_SERVER_PORT 547

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

void host_rules_policy(struct host_rules *h, const struct port *p)
{
	struct fw_elem port = {0};

	fw_elem_name(&port, 0, p->ifname);
	fw_set_add(h->policy_port, &port);
	fw_set_add_ip(h->policy_ip4, &p->addr, NULL);
	fw_set_add_ip(h->policy_ip6, &p->addr6, NULL);
}

void host_rules_port(struct host_rules *h, const struct port *p, const struct vpc *v)
{
	struct guarded g = {.ifname = p->ifname, .mac = p->mac, .addr = p->addr, .addr6 = p->addr6};

	add_guarded(h, &g);
	if (p->has_policy)
		host_rules_policy(h, p);
	if (!p->isolated)
		return;
	fw_set_add_ip(h->isolated4, &p->addr, v->bridge);
	fw_set_add_ip(h->isolated6, &p->addr6, v->bridge);
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
	/* What cannot be told, because the headers before it are in another fragment, matches none of
	 * the above: it is no protocol, not even another one than the reserved (RFC 7113 2). */
	r = fw_rule(guard, FW_ACCEPT);
	fw_match_u16(r, FW_ETHER_TYPE, FW_OP_EQ, ETHERTYPE_IPV6);
	fw_match_set(r, FW_OP_IN, h->port_ip6, 2, port_ip6_fields);
	fw_match_u8(r, FW_L4PROTO, FW_OP_NE, IPPROTO_RAW);
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
void host_apart_chains(struct host_rules *h)
{
	struct fw_chain *apart = fw_chain(h->bridge, "apart");
	struct fw_chain *base = fw_base_chain(h->bridge, "forward", FW_CHAIN_FILTER,
					      FW_HOOK_FORWARD, NF_BR_PRI_FILTER_BRIDGED, FW_ACCEPT);

	fw_match_set(fw_rule_jump(base, apart), FW_OP_IN, h->policy_port, 1, port_fields);
	fw_match_set(fw_rule_jump(base, apart), FW_OP_IN, h->policy_port, 1, to_port_fields);
	spare_resolution(apart);
	fw_rule(apart, FW_DROP);
}

void host_guard_chains(struct host_rules *h)
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
