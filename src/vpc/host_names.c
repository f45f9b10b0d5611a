// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names, where not everybody in a VPC goes out by the same way. What answers at port 53 of its
 * gateway asks nobody there. Who goes out by a list of egresses, or by NAT, is sent on to another
 * port of the same address, WAY_DNS_PORT and the list's number, whose server asks by that way
 * (ops/dns.c). So somebody whose way is not known, or a rule that is missing, gets no answer, and
 * not one by another way. To these ports comes what was sent on, and nothing else: nobody chooses
 * another's.
 *
 * A server asks the list's own address (way_resolver()), which is routed as the list is, and leaves
 * the host by legs only.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "vpc/host_rules.h"
#include "vpc/host_rules_impl.h"
#include "vpc/names.h"
#include "vpc/vpc.h"

/* From linux/netfilter_ipv4.h, which clashes with netinet/in.h. */
#define NF_IP_PRI_NAT_DST (-100)
#define NF_IP_PRI_FILTER 0
#define DNS_PORT 53

static const int families[] = {AF_INET, AF_INET6};
static const uint8_t protocols[] = {IPPROTO_UDP, IPPROTO_TCP};

/* From gateways to their ports for a list; 0: for those who go out by NAT. */
static struct fw_set *port_map(struct host_rules *h, unsigned int way, int family)
{
	bool v6 = family == AF_INET6;
	char name[FW_NAME_MAX];
	struct fw_set *s;

	snprintf(name, sizeof(name), "names%u_%c", way, v6 ? '6' : '4');
	s = host_find_set(h, name);
	return s ? s
		 : fw_dnat_map(h->inet, name, family, 3, v6 ? service6_fields : service4_fields);
}

static void add_port(struct host_rules *h, unsigned int way, const struct cidr *network)
{
	int family = network->addr.family;
	struct ip gateway = family ? vpc_gateway(network) : network->addr;
	struct fw_elem e = {.to = {gateway, (uint16_t)(WAY_DNS_PORT + way)}};

	for (size_t i = 0; family && i < ARRAY_SIZE(protocols); i++) {
		fw_elem_ip(&e, 0, &gateway);
		fw_elem_u8_range(&e, 1, protocols[i], protocols[i]);
		fw_elem_u16_range(&e, 2, DNS_PORT, DNS_PORT);
		fw_set_add(port_map(h, way, family), &e);
	}
}

static bool has_user(const struct host_ways *w, const char *vpc, const char *list)
{
	for (size_t i = 0; i < w->n_uses; i++)
		if (!strcmp(w->uses[i].vpc, vpc) && (!list || !strcmp(w->uses[i].list, list)))
			return true;
	return false;
}

static void add_way(struct host_rules *h, const struct vpc *v, unsigned int way)
{
	add_port(h, way, &v->cidr);
	add_port(h, way, &v->cidr6);
}

void host_names_add(struct host_rules *h, const struct vpc *v, const struct host_ways *w)
{
	if (!v->dns || !has_user(w, v->name, NULL))
		return;
	add_way(h, v, 0);
	for (size_t i = 0; i < w->n_ways; i++)
		if (has_user(w, v->name, w->ways[i].list))
			add_way(h, v, w->ways[i].no);
}

static void rules_way(struct host_rules *h, struct fw_chain *c, const struct host_ways *w,
		      bool is_port)
{
	for (size_t i = 0; i < w->n_ways; i++)
		for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
			struct fw_set *from = host_ways_set(h, &w->ways[i], families[f], is_port);

			fw_match_set(fw_rule_dnat_map(c, port_map(h, w->ways[i].no, families[f])),
				     FW_OP_IN, from, 2, from->fields);
		}
}

static void rules_nat(struct host_rules *h, struct fw_chain *c, const char *interface)
{
	for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
		struct fw_set *from = host_nat_set(h, interface, families[f]);
		struct fw_rule *r = fw_rule_dnat_map(c, port_map(h, 0, families[f]));

		host_match_from(r);
		fw_match_set(r, FW_OP_IN, from, 1, from->fields);
	}
}

/* Where packets leave: a mark of the host's own way out may have routed them anew. */
static void guard_chain(struct host_rules *h)
{
	const enum fw_field field = FW_IP4_DADDR;
	struct fw_set *resolvers = fw_interval_set(h->inet, "resolvers4", 1, &field);
	struct fw_chain *c = fw_base_chain(h->inet, "names_out", FW_CHAIN_FILTER,
					   FW_HOOK_POSTROUTING, NF_IP_PRI_FILTER, FW_ACCEPT);
	struct fw_rule *r = fw_rule(c, FW_DROP);
	struct cidr all;

	if (!cidr_parse(WAY_RESOLVERS, &all, NULL))
		fw_set_add_cidr(resolvers, &all, NULL);
	fw_match_set(r, FW_OP_IN, resolvers, 1, &field);
	fw_match_u32(r, FW_OIFGROUP, FW_OP_NE, GROUP_LEG);
}

/* In the order of host_ways_mark(). */
void host_names_chain(struct host_rules *h, const struct host_ways *w, const struct nat *nats,
		      size_t n)
{
	struct fw_chain *c = fw_base_chain(h->inet, "names", FW_CHAIN_NAT, FW_HOOK_PREROUTING,
					   NF_IP_PRI_NAT_DST - 1, FW_ACCEPT);

	rules_way(h, c, w, true);
	for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
		struct fw_set *own = host_ways_own(h, families[f]);

		fw_match_set(fw_rule(c, FW_ACCEPT), FW_OP_IN, own, 2, own->fields);
	}
	rules_way(h, c, w, false);
	for (size_t i = 0; i < n; i++)
		rules_nat(h, c, nats[i].interface);
	guard_chain(h);
}

static struct fw_rule *rule_ports(struct fw_chain *c, enum fw_verdict verdict,
				  const struct fw_set *set, uint8_t protocol)
{
	struct fw_rule *r = fw_rule(c, verdict);

	fw_match_set(r, FW_OP_IN, set, set->n_fields, set->fields);
	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, protocol);
	fw_match_u16_range(r, FW_DPORT, WAY_DNS_PORT, WAY_DNS_PORT + WAY_MAX);
	return r;
}

void host_names_input(struct host_rules *h, struct fw_chain *c)
{
	const struct fw_set *of[] = {h->names4, h->names6}, *at[] = {h->names_at4, h->names_at6};

	for (size_t p = 0; p < ARRAY_SIZE(protocols); p++)
		for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
			struct fw_rule *r = rule_ports(c, FW_ACCEPT, of[f], protocols[p]);

			host_match_from(r);
			fw_match_u32(r, FW_CT_STATUS, FW_OP_ANY_BIT, FW_CT_DNAT);
			fw_match_name(rule_ports(c, FW_DROP, at[f], protocols[p]), FW_IIFNAME,
				      FW_OP_NE, "lo");
		}
}
