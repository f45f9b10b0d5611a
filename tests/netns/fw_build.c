// SPDX-License-Identifier: GPL-2.0-or-later
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <linux/icmp.h>

#include "base/ip.h"

#include "fw_build.h"
#include "fw_frame.h"

static const enum fw_field from4[] = {FW_IP4_SADDR, FW_OIFNAME},
			   back4[] = {FW_IP4_DADDR, FW_IIFNAME};
static const enum fw_field from6[] = {FW_IP6_SADDR, FW_OIFNAME},
			   back6[] = {FW_IP6_DADDR, FW_IIFNAME};
static const enum fw_field saddr4[] = {FW_IP4_SADDR};
static const enum fw_field port_only[] = {FW_IIFNAME};
static const enum fw_field port_mac[] = {FW_IIFNAME, FW_ETHER_SADDR};
static const enum fw_field port_arp_mac[] = {FW_IIFNAME, FW_ARP_SADDR_ETHER};
static const enum fw_field port_ip4[] = {FW_IIFNAME, FW_IP4_SADDR};
static const enum fw_field port_arp_ip[] = {FW_IIFNAME, FW_ARP_SADDR_IP};
static const enum fw_field port_ip6[] = {FW_IIFNAME, FW_IP6_SADDR};
static const enum fw_field port_target[] = {FW_IIFNAME, FW_ND_TARGET};
static const enum fw_field in4[] = {FW_IP4_SADDR, FW_L4PROTO, FW_DPORT};
static const enum fw_field in6[] = {FW_IP6_SADDR, FW_L4PROTO, FW_DPORT};

static struct ip ip(const char *text)
{
	struct ip ip;

	if (ip_parse(text, &ip, NULL))
		abort();
	return ip;
}

static struct cidr cidr(const char *text)
{
	struct cidr c;

	if (cidr_parse(text, &c, NULL))
		abort();
	return c;
}

void add_net(struct fw_set *s, const char *net)
{
	struct fw_elem e = {0};
	struct cidr c = cidr(net);

	fw_elem_cidr(&e, 0, &c);
	fw_set_add(s, &e);
}

void add_reach(struct fw_set *s, const char *net, const char *dev)
{
	struct fw_elem e = {0};
	struct cidr c = cidr(net);

	fw_elem_cidr(&e, 0, &c);
	fw_elem_name(&e, 1, dev);
	fw_set_add(s, &e);
}

void add_port_ip(struct fw_set *s, const char *dev, const char *addr)
{
	struct fw_elem e = {0};
	struct ip i = ip(addr);

	fw_elem_name(&e, 0, dev);
	fw_elem_ip(&e, 1, &i);
	fw_set_add(s, &e);
}

void host_init(struct host *h)
{
	ruleset_init(&h->rs);
	h->t = ruleset_table(&h->rs, FW_INET, "byway");
	h->reach4 = fw_interval_set(h->t, "reach4", 2, from4);
	h->reach6 = fw_interval_set(h->t, "reach6", 2, from6);
	h->nat4 = fw_interval_set(h->t, "nat4_0", 1, saddr4);
}

void host_done(struct host *h)
{
	ruleset_done(&h->rs);
}

static struct fw_rule *between(struct fw_chain *c, enum fw_verdict verdict)
{
	struct fw_rule *r = fw_rule(c, verdict);

	fw_match_u32(r, FW_IIFGROUP, FW_OP_EQ, GROUP);
	fw_match_u32(r, FW_OIFGROUP, FW_OP_EQ, GROUP);
	return r;
}

static struct fw_rule *from_group(struct fw_chain *c, enum fw_verdict verdict)
{
	struct fw_rule *r = fw_rule(c, verdict);

	fw_match_u32(r, FW_IIFGROUP, FW_OP_EQ, GROUP);
	return r;
}

static struct fw_rule *to_group(struct fw_chain *c, enum fw_verdict verdict)
{
	struct fw_rule *r = fw_rule(c, verdict);

	fw_match_u32(r, FW_OIFGROUP, FW_OP_EQ, GROUP);
	return r;
}

static void host_forward(struct host *h)
{
	struct fw_chain *c =
		fw_base_chain(h->t, "forward", FW_CHAIN_FILTER, FW_HOOK_FORWARD, 0, FW_ACCEPT);
	struct fw_rule *r = between(c, FW_ACCEPT);

	fw_match_set(r, FW_OP_IN, h->reach4, 2, from4);
	fw_match_set(r, FW_OP_IN, h->reach4, 2, back4);
	r = between(c, FW_ACCEPT);
	fw_match_set(r, FW_OP_IN, h->reach6, 2, from6);
	fw_match_set(r, FW_OP_IN, h->reach6, 2, back6);
	between(c, FW_DROP);
	r = from_group(c, FW_ACCEPT);
	fw_match_name(r, FW_OIFNAME, FW_OP_EQ, "eth0");
	fw_match_set(r, FW_OP_IN, h->nat4, 1, saddr4);
	from_group(c, FW_DROP);
	r = to_group(c, FW_ACCEPT);
	fw_match_u32(r, FW_CT_STATE, FW_OP_ANY_BIT, FW_CT_ESTABLISHED | FW_CT_RELATED);
	to_group(c, FW_DROP);
}

static void host_local(struct host *h)
{
	struct fw_chain *in =
		fw_base_chain(h->t, "input", FW_CHAIN_FILTER, FW_HOOK_INPUT, 0, FW_ACCEPT);
	struct fw_chain *out =
		fw_base_chain(h->t, "output", FW_CHAIN_FILTER, FW_HOOK_OUTPUT, 0, FW_ACCEPT);
	struct fw_chain *post = fw_base_chain(h->t, "postrouting", FW_CHAIN_NAT,
					      FW_HOOK_POSTROUTING, 100, FW_ACCEPT);
	struct fw_rule *r = from_group(in, FW_ACCEPT);

	fw_match_u32(r, FW_CT_STATE, FW_OP_ANY_BIT, FW_CT_ESTABLISHED | FW_CT_RELATED);
	r = from_group(in, FW_ACCEPT);
	fw_match_u8(r, FW_ICMP4_TYPE, FW_OP_EQ, ICMP_ECHO);
	fw_match_set(r, FW_OP_IN, h->reach4, 2, back4);
	fw_match_u8(from_group(in, FW_ACCEPT), FW_ICMP6_TYPE, FW_OP_EQ, ND_NEIGHBOR_SOLICIT);
	fw_match_u8(from_group(in, FW_ACCEPT), FW_ICMP6_TYPE, FW_OP_EQ, ND_NEIGHBOR_ADVERT);
	from_group(in, FW_DROP);
	fw_match_u8(to_group(out, FW_DROP), FW_ICMP4_TYPE, FW_OP_EQ, ICMP_REDIRECT);
	fw_match_u8(to_group(out, FW_DROP), FW_ICMP6_TYPE, FW_OP_EQ, ND_REDIRECT);
	r = fw_rule(post, FW_MASQUERADE);
	fw_match_name(r, FW_OIFNAME, FW_OP_EQ, "eth0");
	fw_match_set(r, FW_OP_IN, h->nat4, 1, saddr4);
}

void host_build(struct host *h)
{
	host_init(h);
	add_reach(h->reach4, "10.1.0.0/24", "va");
	add_reach(h->reach4, "10.2.0.0/24", "vb");
	add_reach(h->reach6, "fd01::/64", "va");
	add_reach(h->reach6, "fd02::/64", "vb");
	add_net(h->nat4, "10.1.0.0/24");
	add_net(h->nat4, "240.0.0.0/4"); /* ends where addresses end */
	host_forward(h);
	host_local(h);
}

void allow(struct fw_set *map, enum fw_verdict verdict, const char *net, uint8_t proto, uint16_t lo,
	   uint16_t hi)
{
	struct fw_elem e = {.verdict = verdict};
	struct cidr c = cidr(net);

	fw_elem_cidr(&e, 0, &c);
	fw_elem_u8_range(&e, 1, proto, proto ? proto : 255);
	fw_elem_u16_range(&e, 2, lo, hi);
	fw_set_add(map, &e);
}

void policy_done(struct policy *p)
{
	ruleset_done(&p->rs);
}

void policy_build(struct policy *p)
{
	struct fw_chain *input, *forward;

	ruleset_init(&p->rs);
	p->t = ruleset_table(&p->rs, FW_INET, "byway");
	p->first4 = fw_verdict_map(p->t, "in4_0", 3, in4);
	p->second4 = fw_verdict_map(p->t, "in4_1", 3, in4);
	p->first6 = fw_verdict_map(p->t, "in6_0", 3, in6);
	input = fw_base_chain(p->t, "input", FW_CHAIN_FILTER, FW_HOOK_INPUT, 0, FW_ACCEPT);
	forward = fw_base_chain(p->t, "forward", FW_CHAIN_FILTER, FW_HOOK_FORWARD, 0, FW_ACCEPT);
	p->ingress = fw_chain(p->t, "ingress");
	fw_match_name(fw_rule(input, FW_ACCEPT), FW_IIFNAME, FW_OP_EQ, "lo");
	fw_rule_jump(input, p->ingress);
	fw_match_name(fw_rule_jump(forward, p->ingress), FW_IIFNAME, FW_OP_EQ, "eth0");
	fw_match_name(fw_rule(forward, FW_DROP), FW_OIFNAME, FW_OP_EQ, "nowhere");
	fw_match_u32(fw_rule(p->ingress, FW_DROP), FW_CT_MARK, FW_OP_ANY_BIT, CUT);
	fw_match_u32(fw_rule(p->ingress, FW_ACCEPT), FW_CT_STATE, FW_OP_ANY_BIT,
		     FW_CT_ESTABLISHED | FW_CT_RELATED);
	fw_match_u8(fw_rule(p->ingress, FW_ACCEPT), FW_ICMP6_TYPE, FW_OP_EQ, ND_NEIGHBOR_SOLICIT);
	fw_match_u8(fw_rule(p->ingress, FW_ACCEPT), FW_ICMP6_TYPE, FW_OP_EQ, ND_NEIGHBOR_ADVERT);
	fw_rule_vmap(p->ingress, p->first4);
	fw_rule_vmap(p->ingress, p->second4);
	fw_rule_vmap(p->ingress, p->first6);
	fw_rule(p->ingress, FW_DROP);
}

void guard_done(struct guard *g)
{
	ruleset_done(&g->rs);
}

struct fw_table *guard_sets(struct guard *g)
{
	struct fw_table *t;

	ruleset_init(&g->rs);
	t = ruleset_table(&g->rs, FW_BRIDGE, "byway");
	g->ports = fw_set(t, "ports", 1, port_only);
	g->mac = fw_set(t, "port_mac", 2, port_mac);
	g->ip4 = fw_set(t, "port_ip4", 2, port_ip4);
	g->ip6 = fw_set(t, "port_ip6", 2, port_ip6);
	return t;
}

static struct fw_rule *of_type(struct fw_chain *c, enum fw_verdict v, uint16_t type)
{
	struct fw_rule *r = fw_rule(c, v);

	fw_match_u16(r, FW_ETHER_TYPE, FW_OP_EQ, type);
	return r;
}

static void guard_rules(struct guard *g, struct fw_chain *c)
{
	struct ip none4 = ip("0.0.0.0"), none6 = ip("::");
	struct fw_rule *r;

	fw_match_set(fw_rule(c, FW_DROP), FW_OP_NOT_IN, g->mac, 2, port_mac);
	r = of_type(c, FW_DROP, ETHERTYPE_IP);
	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, IPPROTO_UDP);
	fw_match_u16(r, FW_SPORT, FW_OP_EQ, 67);
	fw_match_set(of_type(c, FW_ACCEPT, ETHERTYPE_IP), FW_OP_IN, g->ip4, 2, port_ip4);
	fw_match_set(of_type(c, FW_DROP, ETHERTYPE_ARP), FW_OP_NOT_IN, g->mac, 2, port_arp_mac);
	fw_match_ip(of_type(c, FW_ACCEPT, ETHERTYPE_ARP), FW_ARP_SADDR_IP, FW_OP_EQ, &none4);
	fw_match_set(of_type(c, FW_ACCEPT, ETHERTYPE_ARP), FW_OP_IN, g->ip4, 2, port_arp_ip);
	fw_match_u8(fw_rule(c, FW_DROP), FW_ICMP6_TYPE, FW_OP_EQ, ND_ROUTER_ADVERT);
	fw_match_u8(fw_rule(c, FW_DROP), FW_ICMP6_TYPE, FW_OP_EQ, ND_REDIRECT);
	r = fw_rule(c, FW_DROP);
	fw_match_u8(r, FW_ICMP6_TYPE, FW_OP_EQ, ND_NEIGHBOR_ADVERT);
	fw_match_set(r, FW_OP_NOT_IN, g->ip6, 2, port_target);
	r = of_type(c, FW_ACCEPT, ETHERTYPE_IPV6);
	fw_match_ip(r, FW_IP6_SADDR, FW_OP_EQ, &none6);
	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, IPPROTO_ICMPV6);
	fw_match_set(of_type(c, FW_ACCEPT, ETHERTYPE_IPV6), FW_OP_IN, g->ip6, 2, port_ip6);
	fw_rule(c, FW_DROP);
}

void guard_fill(struct guard *g, const char *dev, const uint8_t *mac, const char *addr4,
		const char *addr6)
{
	struct fw_elem e = {0};
	struct mac m;

	fw_elem_name(&e, 0, dev);
	fw_set_add(g->ports, &e);
	memcpy(m.bytes, mac, sizeof(m.bytes));
	fw_elem_mac(&e, 1, &m);
	fw_set_add(g->mac, &e);
	add_port_ip(g->ip4, dev, addr4);
	add_port_ip(g->ip6, dev, addr6);
}

void guard_build(struct guard *g)
{
	struct fw_table *t = guard_sets(g);
	struct fw_chain *pre = fw_base_chain(t, "prerouting", FW_CHAIN_FILTER, FW_HOOK_PREROUTING,
					     -300, FW_ACCEPT);
	struct fw_chain *c = fw_chain(t, "guard");

	fw_match_set(fw_rule_jump(pre, c), FW_OP_IN, g->ports, 1, port_only);
	guard_rules(g, c);
	guard_fill(g, "pa", good_mac, "10.9.0.10", "fd09::10");
	guard_fill(g, "pz", bad_mac, "10.9.0.11", "fd09::11"); /* not the port of these frames */
}
