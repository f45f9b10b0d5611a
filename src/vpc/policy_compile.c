// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * Rules become elements of verdict maps, so that a thousand rules that differ in port or address
 * cost one lookup. In each direction and family a rule is a box: a range of addresses, of protocols
 * and of ports. The elements of one map must not overlap (the kernel refuses them), and the maps
 * are read in order, so the boxes are dealt out to groups, one map each:
 *
 *  1. Of two overlapping boxes with different verdicts, the earlier is in a lower group: what is
 *     looked up first is what was written first.
 *  2. Boxes of one group do not overlap.
 *  3. A box goes to the lowest group that 1 and 2 leave.
 *  4. A box within an earlier one decides nothing, and is left out.
 *
 * Overlapping boxes of one verdict may be looked up in any order: 1 is enough for the first match's
 * verdict to be the one found. Ordinary policies need one group or two.
 *
 * A map costs more to make than a few rules, by its key: one with IPv6 addresses has tables of
 * 150 KiB in the kernel. So a short list that asks for no address becomes rules, in its order; it
 * is what most policies say of the family that they do not write of, or of both alike.
 *
 * Limits: each box is compared with the earlier ones, a few nanoseconds each; at POLICY_RULES_MAX
 * this is some tenths of a second. Packets too short for a port (fewer than 4 bytes behind the IP
 * header) match no map and no rule with a port: where there are rules, they are dropped.
 */
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h> /* wants netinet/in.h before it */
#include <stdlib.h>

#include "base/util.h"
#include "firewall/ruleset.h"
#include "vpc/policy.h"
#include "vpc/policy_rule.h"

#define FEW_BOXES 8 /* as many rules are made in the time of one map, and read in no time */

typedef unsigned __int128 addr_num;

struct box {
	addr_num lo, hi;
	uint16_t port_lo, port_hi;
	uint8_t proto_lo, proto_hi;
	bool allow;
	size_t group;
	struct cidr peer;
};

/* The boxes of one direction and family, redundant ones left out. */
struct boxes {
	struct box *box;
	size_t n, n_groups;
	/* The last box that group i could not take because one of its own overlaps it: n of that
	 * time, plus 1. */
	size_t *taken;
};

static void boxes_done(struct boxes *b)
{
	free(b->box);
	free(b->taken);
}

#define _boxes_ _cleanup_(boxes_done)

static addr_num num(const struct ip *ip)
{
	addr_num n = 0;

	for (size_t i = 0; i < ip_len(ip->family); i++)
		n = n << 8 | ip->bytes[i];
	return n;
}

static struct box box_of(const struct policy_rule *r, int family)
{
	static const struct cidr everywhere;
	struct box b = {.port_lo = r->port_lo, .port_hi = r->port_hi, .allow = r->allow};
	struct ip first, last;

	b.peer = r->any_peer ? everywhere : r->peer;
	b.peer.addr.family = family;
	first = cidr_first(&b.peer);
	last = cidr_last(&b.peer);
	b.lo = num(&first);
	b.hi = num(&last);
	policy_rule_protos(r, family, &b.proto_lo, &b.proto_hi);
	return b;
}

static bool overlap(const struct box *a, const struct box *b)
{
	return a->lo <= b->hi && b->lo <= a->hi && a->port_lo <= b->port_hi &&
	       b->port_lo <= a->port_hi && a->proto_lo <= b->proto_hi && b->proto_lo <= a->proto_hi;
}

static bool contains(const struct box *outer, const struct box *inner)
{
	return outer->lo <= inner->lo && inner->hi <= outer->hi &&
	       outer->port_lo <= inner->port_lo && inner->port_hi <= outer->port_hi &&
	       outer->proto_lo <= inner->proto_lo && inner->proto_hi <= outer->proto_hi;
}

/* Adds a box behind the others, in its group, unless it is redundant. */
static void add_box(struct boxes *b, struct box new)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct box *old = &b->box[i];

		if (!overlap(old, &new))
			continue;
		if (contains(old, &new))
			return;
		b->taken[old->group] = b->n + 1;
		if (old->allow != new.allow)
			new.group = MAX(new.group, old->group + 1);
	}
	while (b->taken[new.group] == b->n + 1)
		new.group++;
	b->box[b->n++] = new;
	b->n_groups = MAX(b->n_groups, new.group + 1);
}

static void boxes_init(struct boxes *b, const struct policy *p, enum policy_dir dir, int family)
{
	size_t n = p->n_rules[dir];

	*b = (struct boxes){
		.box = xcalloc(n + 1, sizeof(*b->box)),
		.taken = xcalloc(n + 1, sizeof(*b->taken)), /* a box has at most n groups below */
	};
	for (size_t i = 0; i < n; i++)
		if (policy_rule_in_family(&p->rules[dir][i], family))
			add_box(b, box_of(&p->rules[dir][i], family));
}

static const char *const dir_names[POLICY_NUM_DIRS] = {
	[POLICY_INGRESS] = "ingress",
	[POLICY_EGRESS] = "egress",
};

/* Where one direction of a policy goes. */
struct place {
	struct fw_table *table;
	struct fw_chain *chain;
	const char *prefix;     /* of its maps' names */
	enum fw_verdict accept; /* how a packet is let through */
};

static struct fw_set *add_map(const struct place *at, enum policy_dir dir, int family, size_t group)
{
	bool is_v6 = family == AF_INET6;
	enum fw_field saddr = is_v6 ? FW_IP6_SADDR : FW_IP4_SADDR;
	enum fw_field daddr = is_v6 ? FW_IP6_DADDR : FW_IP4_DADDR;
	const enum fw_field fields[] = {
		dir == POLICY_INGRESS ? saddr : daddr,
		FW_L4PROTO,
		FW_DPORT,
	};
	char name[FW_NAME_MAX];

	snprintf(name, sizeof(name), "%s%s_ip%c_%u", at->prefix, dir_names[dir], is_v6 ? '6' : '4',
		 (unsigned int)group);
	return fw_verdict_map(at->table, name, ARRAY_SIZE(fields), fields);
}

static void add_element(struct fw_set *map, const struct box *b, enum fw_verdict accept)
{
	struct fw_elem e = {.verdict = b->allow ? accept : FW_DROP};

	fw_elem_cidr(&e, 0, &b->peer);
	fw_elem_u8_range(&e, 1, b->proto_lo, b->proto_hi);
	fw_elem_u16_range(&e, 2, b->port_lo, b->port_hi);
	fw_set_add(map, &e);
}

static void add_maps(const struct place *at, const struct boxes *b, enum policy_dir dir, int family)
{
	_free_ struct fw_set **maps = xcalloc(b->n_groups + 1, sizeof(struct fw_set *));

	for (size_t i = 0; i < b->n_groups; i++) {
		maps[i] = add_map(at, dir, family, i);
		fw_rule_vmap(at->chain, maps[i]);
	}
	for (size_t i = 0; i < b->n; i++)
		add_element(maps[b->box[i].group], &b->box[i], at->accept);
}

static bool any_port(const struct box *b)
{
	return b->port_lo == 0 && b->port_hi == UINT16_MAX;
}

/* One protocol, its ports among them, or anything. */
static bool fits_rule(const struct box *b)
{
	bool any_proto = b->proto_lo == 0 && b->proto_hi == UINT8_MAX;

	return b->peer.prefix == 0 &&
	       (b->proto_lo == b->proto_hi || (any_proto && any_port(b)));
}

static bool are_few(const struct boxes *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (!fits_rule(&b->box[i]))
			return false;
	return b->n <= FEW_BOXES;
}

static struct fw_rule *add_rule(const struct place *at, const struct box *b)
{
	struct fw_rule *r = fw_rule(at->chain, b->allow ? at->accept : FW_DROP);

	if (b->proto_lo == b->proto_hi)
		fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, b->proto_lo);
	if (b->port_lo == b->port_hi)
		fw_match_u16(r, FW_DPORT, FW_OP_EQ, b->port_lo);
	else if (!any_port(b))
		fw_match_u16_range(r, FW_DPORT, b->port_lo, b->port_hi);
	return r;
}

static void add_family(const struct place *at, const struct boxes *b, enum policy_dir dir,
		       int family)
{
	uint8_t nfproto = family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4;

	if (!are_few(b)) {
		add_maps(at, b, dir, family);
		return;
	}
	for (size_t i = 0; i < b->n; i++)
		fw_match_u8(add_rule(at, &b->box[i]), FW_NFPROTO, FW_OP_EQ, nfproto);
}

/* Of lists in which no box asks for an address. */
static bool are_equal(const struct boxes *a, const struct boxes *b)
{
	for (size_t i = 0; i < a->n && i < b->n; i++) {
		const struct box *x = &a->box[i], *y = &b->box[i];

		if (x->proto_lo != y->proto_lo || x->proto_hi != y->proto_hi ||
		    x->port_lo != y->port_lo || x->port_hi != y->port_hi || x->allow != y->allow)
			return false;
	}
	return a->n == b->n;
}

static void add_rules(const struct place *at, const struct policy *p, enum policy_dir dir)
{
	_boxes_ struct boxes v4 = {0};
	_boxes_ struct boxes v6 = {0};

	boxes_init(&v4, p, dir, AF_INET);
	boxes_init(&v6, p, dir, AF_INET6);
	if (are_few(&v4) && are_few(&v6) && are_equal(&v4, &v6)) {
		for (size_t i = 0; i < v4.n; i++)
			add_rule(at, &v4.box[i]);
	} else {
		add_family(at, &v4, dir, AF_INET);
		add_family(at, &v6, dir, AF_INET6);
	}
	if (p->n_rules[dir] > 0)
		fw_rule(at->chain, FW_DROP);
}

static void accept_replies(struct fw_chain *c)
{
	fw_match_replies(fw_rule(c, FW_ACCEPT));
}

static struct fw_chain *add_direction(struct fw_table *t, const struct policy *p,
				      enum policy_dir dir)
{
	struct fw_chain *c = fw_chain(t, dir_names[dir]);
	struct place at = {.table = t, .chain = c, .prefix = "", .accept = FW_ACCEPT};

	fw_match_u32(fw_rule(c, FW_DROP), FW_CT_MARK, FW_OP_ANY_BIT, POLICY_CT_MARK_CUT);
	if (p->n_rules[dir] == 0)
		return c; /* open, but for what the other direction's rules cut */
	accept_replies(c);
	/* Without neighbour discovery there is no IPv6 on the link at all (RFC 4890, 4.4.1). */
	fw_match_u8(fw_rule(c, FW_ACCEPT), FW_ICMP6_TYPE, FW_OP_EQ, ND_NEIGHBOR_SOLICIT);
	fw_match_u8(fw_rule(c, FW_ACCEPT), FW_ICMP6_TYPE, FW_OP_EQ, ND_NEIGHBOR_ADVERT);
	add_rules(&at, p, dir);
	return c;
}

struct fw_chain *policy_chain(const struct policy *p, enum policy_dir dir, struct fw_table *t,
			      const char *prefix)
{
	struct place at = {.table = t, .prefix = prefix, .accept = FW_RETURN};
	char name[FW_NAME_MAX];

	if (p->n_rules[dir] == 0)
		return NULL;
	snprintf(name, sizeof(name), "%s%s", prefix, dir_names[dir]);
	at.chain = fw_chain(t, name);
	add_rules(&at, p, dir);
	return at.chain;
}

static struct fw_chain *add_hook(struct fw_table *t, const char *name, enum fw_hook hook)
{
	return fw_base_chain(t, name, FW_CHAIN_FILTER, hook, NF_IP_PRI_FILTER, FW_ACCEPT);
}

static void judge(struct fw_chain *hook, enum fw_field field, const char *ifname,
		  const struct fw_chain *by)
{
	fw_match_name(fw_rule_jump(hook, by), field, FW_OP_EQ, ifname);
}

void policy_ruleset(const struct policy *p, const char *ifname, struct ruleset *rs)
{
	struct fw_table *t = ruleset_table(rs, FW_INET, "byway");
	const struct fw_chain *ingress, *egress;
	struct fw_chain *input, *output, *forward;

	input = add_hook(t, "input", FW_HOOK_INPUT);
	if (!p) {
		/* The kernel tracks a namespace's connections once a rule asks for their state. */
		accept_replies(input);
		return;
	}
	output = add_hook(t, "output", FW_HOOK_OUTPUT);
	forward = add_hook(t, "forward", FW_HOOK_FORWARD);
	ingress = add_direction(t, p, POLICY_INGRESS);
	egress = add_direction(t, p, POLICY_EGRESS);
	judge(input, FW_IIFNAME, ifname, ingress);
	judge(output, FW_OIFNAME, ifname, egress);
	judge(forward, FW_IIFNAME, ifname, ingress);
	judge(forward, FW_OIFNAME, ifname, egress);
}
