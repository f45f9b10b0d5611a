// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "firewall/ruleset.h"
#include "kernel/link.h"
#include "kernel/neigh.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/route.h"
#include "kernel/sysctl.h"
#include "kernel/tun.h"
#include "vpc/clone.h"
#include "vpc/names.h"

/* From linux/netfilter_ipv4.h, which clashes with netinet/in.h. */
#define NF_IP_PRI_NAT_DST (-100)
#define NF_IP_PRI_FILTER 0
#define NF_IP_PRI_NAT_SRC 100

void clone_make(struct port *p)
{
	p->kind = PORT_CLONE;
	p->clone.addr = p->addr;
	p->clone.mac = p->mac;
	p->addr = (struct ip){0};
	p->mac = (struct mac){0};
}

static int check_tap(struct clone *c, struct err *err)
{
	if (!*c->tap)
		str_copy(c->tap, sizeof(c->tap), CLONE_TAP);
	if (!strcmp(c->tap, CLONE_OUTSIDE) || !strcmp(c->tap, "lo"))
		return err_set(err, ERR_USAGE, -EINVAL,
			       "a clone's TAP device cannot be %s: its namespace has that already",
			       c->tap);
	return name_check("TAP device", c->tap, err);
}

int clone_check(const struct vpc *v, struct port *p, struct err *err)
{
	static const struct mac none;
	struct clone *c = &p->clone;
	struct ip gateway = vpc_gateway(&v->cidr);
	struct port same = *p;
	int r = name_check("namespace", c->netns, err);

	if (!r)
		r = check_tap(c, err);
	if (!r && ip_equal(&c->addr, &gateway))
		r = err_set(err, ERR_USAGE, -EINVAL, "a machine cannot have its gateway's address");
	if (!r && c->mac.bytes[0] & 1)
		r = err_set(err, ERR_USAGE, -EINVAL,
			    "a machine's MAC cannot be a multicast address");
	if (r)
		return r;
	same.addr = c->addr;
	if (!memcmp(&c->mac, &none, sizeof(none)))
		c->mac = port_mac(&same); /* as whoever has the address outside */
	return 0;
}

static void to_inside(struct fw_table *t, const struct port *p)
{
	const struct fw_target to = {.addr = p->clone.addr};
	struct fw_chain *c = fw_base_chain(t, "prerouting", FW_CHAIN_NAT, FW_HOOK_PREROUTING,
					   NF_IP_PRI_NAT_DST, FW_ACCEPT);
	struct fw_rule *r = fw_rule_dnat(c, &to);

	fw_match_name(r, FW_IIFNAME, FW_OP_EQ, CLONE_OUTSIDE);
	fw_match_ip(r, FW_IP4_DADDR, FW_OP_EQ, &p->addr);
}

/* The interface has no other address than the one outside. */
static void to_outside(struct fw_table *t, const struct port *p)
{
	struct fw_chain *c = fw_base_chain(t, "postrouting", FW_CHAIN_NAT, FW_HOOK_POSTROUTING,
					   NF_IP_PRI_NAT_SRC, FW_ACCEPT);
	struct fw_rule *r = fw_rule(c, FW_MASQUERADE);

	fw_match_name(r, FW_OIFNAME, FW_OP_EQ, CLONE_OUTSIDE);
	fw_match_ip(r, FW_IP4_SADDR, FW_OP_EQ, &p->clone.addr);
}

/* The machine speaks for itself only, and to nobody in the namespace. */
static void guard(struct fw_table *t, const struct port *p)
{
	struct fw_chain *forward = fw_base_chain(t, "forward", FW_CHAIN_FILTER, FW_HOOK_FORWARD,
						 NF_IP_PRI_FILTER, FW_ACCEPT);
	struct fw_chain *input = fw_base_chain(t, "input", FW_CHAIN_FILTER, FW_HOOK_INPUT,
					       NF_IP_PRI_FILTER, FW_ACCEPT);
	struct fw_rule *r = fw_rule(forward, FW_ACCEPT);

	fw_match_name(r, FW_IIFNAME, FW_OP_EQ, p->clone.tap);
	fw_match_ip(r, FW_IP4_SADDR, FW_OP_EQ, &p->clone.addr);
	r = fw_rule(forward, FW_DROP);
	fw_match_name(r, FW_IIFNAME, FW_OP_EQ, p->clone.tap);
	r = fw_rule(input, FW_DROP);
	fw_match_name(r, FW_IIFNAME, FW_OP_EQ, p->clone.tap);
}

void clone_rules(const struct port *p, struct ruleset *rs)
{
	struct fw_table *t = ruleset_table(rs, FW_INET, "byway");

	to_inside(t, p);
	to_outside(t, p);
	guard(t, p);
}

/* Asked for its gateway, a neighbour or anybody else, the namespace says itself, at once: by
 * default it waits for most of a second, to let somebody better answer. */
static int forward(struct netns *ns, const char *tap, struct err *err)
{
	static const char *const settings[][2] = {{"net/ipv4/conf/%s/proxy_arp", "1"},
						  {"net/ipv4/neigh/%s/proxy_delay", "0"},
						  {"net/ipv4/ip_forward", "1"}};
	char key[64];
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(settings); i++) {
		snprintf(key, sizeof(key), settings[i][0], tap);
		r = sysctl_set(ns, key, settings[i][1], err);
	}
	return r;
}

static int configure(struct netns *ns, const struct vpc *v, const struct port *p, struct err *err)
{
	struct cidr machine = {.addr = p->clone.addr, .prefix = ip_bits(AF_INET)};
	struct link_change tap = {.name = p->clone.tap,
				  .mac = vpc_bridge_mac(v),
				  .mtu_bytes = v->mtu_bytes,
				  .no_ipv6_autoconf = true,
				  .up = true};
	_nlbatch_ struct nlbatch b;
	int index, r = link_index(ns, p->clone.tap, &index, err);

	nlbatch_init(&b, ns);
	if (r)
		return r;
	link_set(&b, &tap);
	route_add_link(&b, index, p->clone.tap, &machine);
	neigh_add(&b, index, p->clone.tap, &p->clone.addr, &p->clone.mac);
	r = nlbatch_commit(&b, err);
	return r ? r : forward(ns, p->clone.tap, err);
}

int clone_up(struct netns *ns, const struct vpc *v, const struct port *p, struct err *err)
{
	struct tap_spec tap = {.name = p->clone.tap,
			       .uid = p->owner_uid,
			       .gid = p->owner_gid,
			       .multi_queue = p->queues > 1};
	_close_ int fd = -1;
	int r = tap_open(ns, &tap, &fd, err);

	if (!r)
		r = configure(ns, v, p, err);
	return r ? r : tap_persist(ns, p->clone.tap, fd, err);
}
