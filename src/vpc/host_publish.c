// SPDX-License-Identifier: GPL-2.0-or-later
/* Published ports: what is for a port of the host, and goes on to a workload. */
#include <linux/rtnetlink.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"
#include "vpc/host_rules.h"
#include "vpc/host_rules_impl.h"
#include "vpc/mapping.h"

/* From linux/netfilter_ipv4.h, which clashes with netinet/in.h. */
#define NF_IP_PRI_NAT_DST (-100)

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
		add_service(v6 ? h->published6 : h->published4, NULL, m->protocol, m->host_port,
			    &to);
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

	host_match_to(r);
	match_published(r, FW_CT_ORIGINAL, targets, to);
	r = fw_rule(c, FW_ACCEPT);
	host_match_from(r);
	match_published(r, FW_CT_REPLY, targets, back);
}

/* From outside, and back; behind what decides between VPCs. */
void host_published_forward(struct host_rules *h, struct fw_chain *c)
{
	rule_published(c, h->targets4, service4_fields, served4_fields);
	rule_published(c, h->targets6, service6_fields, served6_fields);
}

/* What is established from outside came by a published port: by one that is no more. Always there,
 * so that it holds for the last one, too. */
void host_unpublished_forward(struct fw_chain *c)
{
	struct fw_rule *r = fw_rule(c, FW_DROP);

	host_match_to(r);
	fw_match_u8(r, FW_CT_DIRECTION, FW_OP_EQ, FW_CT_ORIGINAL);
	fw_match_u32(r, FW_CT_STATE, FW_OP_ANY_BIT, FW_CT_ESTABLISHED);
}

/* Only while the address is the host's: a mapping of somebody else's, which a container may have
 * asked for, would take what others send there. */
static void rules_publish(struct host_rules *h, struct fw_chain *c)
{
	struct fw_set *maps[] = {h->published_at4, h->published_at6, h->published4, h->published6};

	for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
		fw_match_u32(fw_rule_dnat_map(c, maps[i]), FW_DADDR_TYPE, FW_OP_EQ, RTN_LOCAL);
}

/* What workloads send to 127.0.0.0/8 is not sent on: it is dropped as input. */
void host_publish_chain(struct host_rules *h)
{
	struct fw_chain *c = fw_base_chain(h->inet, "publish", FW_CHAIN_NAT, FW_HOOK_PREROUTING,
					   NF_IP_PRI_NAT_DST, FW_ACCEPT);

	fw_match_set(fw_rule(c, FW_ACCEPT), FW_OP_IN, h->loopback4, 1, &back4_fields[0]);
	rules_publish(h, c);
}

/* By the host itself. The kernel sends nothing of ::1 out, so that is left to who listens there. */
void host_publish_out_chain(struct host_rules *h)
{
	static const struct ip loopback6 = {.family = AF_INET6, .bytes[15] = 1};
	struct fw_chain *c = fw_base_chain(h->inet, "publish_out", FW_CHAIN_NAT, FW_HOOK_OUTPUT,
					   NF_IP_PRI_NAT_DST, FW_ACCEPT);

	fw_match_ip(fw_rule(c, FW_ACCEPT), FW_IP6_DADDR, FW_OP_EQ, &loopback6);
	rules_publish(h, c);
}

/* Who has the target on its own link would get the answer from there, not from the address that it
 * asked; and nobody can answer 127.0.0.1. */
void host_publish_hairpin(struct host_rules *h, struct fw_chain *c)
{
	struct fw_rule *r = fw_rule(c, FW_MASQUERADE);

	host_match_to(r);
	fw_match_u32(r, FW_CT_STATUS, FW_OP_ANY_BIT, FW_CT_DNAT);
	fw_match_set(r, FW_OP_IN, h->reach4, 2, reach4_fields);
	r = fw_rule(c, FW_MASQUERADE);
	host_match_to(r);
	fw_match_u32(r, FW_CT_STATUS, FW_OP_ANY_BIT, FW_CT_DNAT);
	fw_match_set(r, FW_OP_IN, h->reach6, 2, reach6_fields);
	r = fw_rule(c, FW_MASQUERADE);
	host_match_to(r);
	fw_match_set(r, FW_OP_IN, h->loopback4, 1, &reach4_fields[0]);
}

int host_publish_add(struct store *st, struct host_rules *h, bool *ret_any, struct err *err)
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
