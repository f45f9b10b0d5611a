// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * A ruleset is a tree of singly linked lists, appended to at their tail and freed as a whole. What
 * is known of a field (its width, how nft(8) calls it, which protocol it belongs to) stands in one
 * table, from which every backend reads.
 *
 * Invariants:
 *  1. A value's bytes beyond its field's length are zero, so that values compare with memcmp().
 *  2. Fields of an interval set are stored most significant byte first, so that lo <= hi in
 *     memcmp() order means the same to the kernel.
 *  3. The rules, sets and chains that a rule points to belong to its own table.
 */
#include <assert.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "firewall/field.h"
#include "firewall/ruleset.h"
#include "kernel/cgroup.h"

#define P_IP4 ETH_P_IP
#define P_IP6 ETH_P_IPV6

/* clang-format off */
static const struct fw_field_info fields[] = {
	/*                   name              type           id  len  format
	 * implies */
	[FW_IIFNAME]      = {"iifname",        "ifname",       41, 16, FW_FORMAT_NAME,      0, 0},
	[FW_OIFNAME]      = {"oifname",        "ifname",       41, 16, FW_FORMAT_NAME,      0, 0},
	[FW_IIFGROUP]     = {"iifgroup",       "devgroup",     35, 4,  FW_FORMAT_U32,       0, 0},
	[FW_OIFGROUP]     = {"oifgroup",       "devgroup",     35, 4,  FW_FORMAT_U32,       0, 0},
	[FW_NFPROTO]      = {"meta nfproto",   "nf_proto",      2, 1,  FW_FORMAT_U8,        0, 0},
	[FW_L4PROTO]      = {"meta l4proto",   "inet_proto",   12, 1,  FW_FORMAT_U8,        0, 0},
	[FW_IP4_SADDR]    = {"ip saddr",       "ipv4_addr",     7, 4,  FW_FORMAT_IP4,       P_IP4, 0},
	[FW_IP4_DADDR]    = {"ip daddr",       "ipv4_addr",     7, 4,  FW_FORMAT_IP4,       P_IP4, 0},
	[FW_IP6_SADDR]    = {"ip6 saddr",      "ipv6_addr",     8, 16, FW_FORMAT_IP6,       P_IP6, 0},
	[FW_IP6_DADDR]    = {"ip6 daddr",      "ipv6_addr",     8, 16, FW_FORMAT_IP6,       P_IP6, 0},
	[FW_SPORT]        = {"th sport",       "inet_service", 13, 2,  FW_FORMAT_PORT,      0, 0},
	[FW_DPORT]        = {"th dport",       "inet_service", 13, 2,  FW_FORMAT_PORT,      0, 0},
	[FW_ICMP4_TYPE]   = {"icmp type",      "icmp_type",    14, 1,  FW_FORMAT_U8,        P_IP4, IPPROTO_ICMP},
	[FW_ICMP6_TYPE]   = {"icmpv6 type",    "icmpv6_type",  29, 1,  FW_FORMAT_U8,        P_IP6, IPPROTO_ICMPV6},
	[FW_CT_STATE]     = {"ct state",       "ct_state",     26, 4,  FW_FORMAT_CT_STATE,  0, 0},
	[FW_CT_MARK]      = {"ct mark",        "mark",         19, 4,  FW_FORMAT_MARK,      0, 0},
	[FW_CT_DIRECTION] = {"ct direction",   "ct_dir",       27, 1,  FW_FORMAT_U8,        0, 0},
	[FW_CT_STATUS]    = {"ct status",      "ct_status",    28, 4,  FW_FORMAT_CT_STATUS, 0, 0},
	[FW_MARK]         = {"meta mark",      "mark",         19, 4,  FW_FORMAT_MARK,      0, 0},
	[FW_SKUID]        = {"meta skuid",     "uid",          24, 4,  FW_FORMAT_U32,       0, 0},
	[FW_SKGID]        = {"meta skgid",     "gid",          25, 4,  FW_FORMAT_U32,       0, 0},
	[FW_CGROUP]       = {"socket cgroupv2", "cgroupsv2",   46, 8,  FW_FORMAT_CGROUP,    0, 0},
	[FW_DADDR_TYPE]   = {"fib daddr type", "fib_addrtype", 38, 4,  FW_FORMAT_U32,       0, 0},
	[FW_ETHER_SADDR]  = {"ether saddr",    "ether_addr",    9, 6,  FW_FORMAT_MAC,       0, 0},
	[FW_ETHER_TYPE]   = {"ether type",     "ether_type",   10, 2,  FW_FORMAT_ETHERTYPE, 0, 0},
	[FW_ARP_SADDR_IP] = {"arp saddr ip",   "ipv4_addr",     7, 4,  FW_FORMAT_IP4,       ETH_P_ARP, 0},
	[FW_ARP_SADDR_ETHER] = {"arp saddr ether", "ether_addr", 9, 6, FW_FORMAT_MAC,       ETH_P_ARP, 0},
	[FW_TCP_FLAGS]    = {"tcp flags",      "tcp_flag",     15, 1,  FW_FORMAT_U8,        0, IPPROTO_TCP},
	[FW_HOP_LIMIT]    = {"ip6 hoplimit",   "integer",       4, 1,  FW_FORMAT_U8,        P_IP6, 0},
	[FW_ND_TARGET]    = {"icmpv6 taddr",   "ipv6_addr",     8, 16, FW_FORMAT_IP6,       P_IP6, IPPROTO_ICMPV6},
};
/* clang-format on */
static_assert(ARRAY_SIZE(fields) == FW_NUM_FIELDS, "fields[] doesn't match enum fw_field");

/* Locally administered; "bway". */
const struct mac fw_take_mac = {{0x02, 0x00, 'b', 'w', 'a', 'y'}};

const struct fw_field_info *fw_field_info(enum fw_field f)
{
	assert(f < FW_NUM_FIELDS);
	return &fields[f];
}

size_t fw_field_len(enum fw_field f)
{
	return fw_field_info(f)->len;
}

const char *fw_field_name(enum fw_field f)
{
	return fw_field_info(f)->name;
}

void ruleset_init(struct ruleset *rs)
{
	rs->tables = NULL;
	rs->last = &rs->tables;
}

static void chain_free(struct fw_chain *c)
{
	for (struct fw_rule *r = c->rules, *next; r; r = next) {
		next = r->next;
		free(r);
	}
	free(c);
}

static void table_free(struct fw_table *t)
{
	for (struct fw_set *s = t->sets, *next; s; s = next) {
		next = s->next;
		free(s->elems);
		free(s);
	}
	for (struct fw_chain *c = t->chains, *next; c; c = next) {
		next = c->next;
		chain_free(c);
	}
	free(t);
}

void ruleset_done(struct ruleset *rs)
{
	for (struct fw_table *t = rs->tables, *next; t; t = next) {
		next = t->next;
		table_free(t);
	}
	ruleset_init(rs);
}

static void name_set(char dst[FW_NAME_MAX], const char *src)
{
	int r = str_copy(dst, FW_NAME_MAX, src);

	assert(!r);
	(void)r;
}

struct fw_table *ruleset_table(struct ruleset *rs, enum fw_family family, const char *name)
{
	struct fw_table *t = xcalloc(1, sizeof(*t));

	t->family = family;
	name_set(t->name, name);
	t->last_set = &t->sets;
	t->last_chain = &t->chains;
	*rs->last = t;
	rs->last = &t->next;
	return t;
}

struct fw_chain *fw_chain(struct fw_table *t, const char *name)
{
	struct fw_chain *c = xcalloc(1, sizeof(*c));

	name_set(c->name, name);
	c->hook = FW_HOOK_NONE;
	c->last = &c->rules;
	*t->last_chain = c;
	t->last_chain = &c->next;
	return c;
}

struct fw_chain *fw_base_chain(struct fw_table *t, const char *name, enum fw_chain_type type,
			       enum fw_hook hook, int priority, enum fw_verdict policy)
{
	struct fw_chain *c = fw_chain(t, name);

	assert(policy == FW_ACCEPT || policy == FW_DROP);
	c->hook = hook;
	c->type = type;
	c->priority = priority;
	c->policy = policy;
	return c;
}

struct fw_set *fw_set(struct fw_table *t, const char *name, size_t n_fields,
		      const enum fw_field of[])
{
	struct fw_set *s = xcalloc(1, sizeof(*s));

	assert(n_fields >= 1 && n_fields <= FW_KEY_FIELDS);
	name_set(s->name, name);
	for (size_t i = 0; i < n_fields; i++)
		s->fields[i] = of[i];
	s->n_fields = n_fields;
	*t->last_set = s;
	t->last_set = &s->next;
	return s;
}

static bool is_host_order(enum fw_field f)
{
	enum fw_format format = fw_field_info(f)->format;

	return format == FW_FORMAT_U32 || format == FW_FORMAT_MARK || format == FW_FORMAT_CT_STATE;
}

struct fw_set *fw_interval_set(struct fw_table *t, const char *name, size_t n_fields,
			       const enum fw_field of[])
{
	struct fw_set *s = fw_set(t, name, n_fields, of);

	for (size_t i = 0; i < n_fields; i++)
		assert(!is_host_order(of[i]));
	s->interval = true;
	return s;
}

struct fw_set *fw_verdict_map(struct fw_table *t, const char *name, size_t n_fields,
			      const enum fw_field of[])
{
	struct fw_set *s = fw_interval_set(t, name, n_fields, of);

	s->is_vmap = true;
	return s;
}

struct fw_set *fw_dnat_map(struct fw_table *t, const char *name, int family, size_t n_fields,
			   const enum fw_field of[])
{
	struct fw_set *s = fw_set(t, name, n_fields, of);
	bool has_protocol = false;

	for (size_t i = 0; i < n_fields; i++)
		has_protocol |= of[i] == FW_L4PROTO;
	assert(has_protocol && (family == AF_INET || family == AF_INET6));
	(void)has_protocol;
	s->dnat_family = family;
	return s;
}

void fw_set_add(struct fw_set *set, const struct fw_elem *elem)
{
	assert(!set->is_vmap || elem->verdict == FW_ACCEPT || elem->verdict == FW_DROP ||
	       elem->verdict == FW_RETURN);
	assert(!set->dnat_family || (elem->to.addr.family == set->dnat_family && elem->to.port));
	if (set->n_elems == set->cap_elems) {
		set->cap_elems = MAX(8, set->cap_elems * 2);
		set->elems = xrealloc(set->elems, set->cap_elems, sizeof(*set->elems));
	}
	set->elems[set->n_elems++] = *elem;
}

struct fw_rule *fw_rule(struct fw_chain *c, enum fw_verdict verdict)
{
	struct fw_rule *r = xcalloc(1, sizeof(*r));

	r->verdict = verdict;
	*c->last = r;
	c->last = &r->next;
	return r;
}

struct fw_rule *fw_rule_jump(struct fw_chain *c, const struct fw_chain *target)
{
	struct fw_rule *r = fw_rule(c, FW_JUMP);

	r->target = target;
	return r;
}

struct fw_rule *fw_rule_vmap(struct fw_chain *c, const struct fw_set *vmap)
{
	struct fw_rule *r = fw_rule(c, FW_VMAP);

	assert(vmap->is_vmap);
	r->map = vmap;
	return r;
}

struct fw_rule *fw_rule_dnat(struct fw_chain *c, const struct fw_target *to)
{
	struct fw_rule *r = fw_rule(c, FW_DNAT);

	r->to = *to;
	return r;
}

struct fw_rule *fw_rule_dnat_map(struct fw_chain *c, const struct fw_set *map)
{
	struct fw_rule *r = fw_rule(c, FW_DNAT_MAP);

	assert(map->dnat_family);
	r->map = map;
	return r;
}

struct fw_rule *fw_rule_set_bits(struct fw_chain *c, enum fw_verdict verdict, uint32_t bits)
{
	struct fw_rule *r = fw_rule(c, verdict);

	assert(verdict == FW_SET_MARK || verdict == FW_SET_CT_MARK);
	r->mark_bits = bits;
	return r;
}

static struct fw_match *match_new(struct fw_rule *r, enum fw_op op)
{
	struct fw_match *m = &r->match[r->n_matches];

	assert(r->n_matches < FW_RULE_MATCHES);
	r->n_matches++;
	m->op = op;
	return m;
}

static void match_value(struct fw_rule *r, enum fw_field f, enum fw_op op, const void *v,
			size_t len)
{
	struct fw_match *m = match_new(r, op);

	assert(len <= fw_field_len(f));
	assert(op == FW_OP_EQ || op == FW_OP_NE || op == FW_OP_ANY_BIT || op == FW_OP_NO_BIT);
	m->fields[0] = f;
	m->n_fields = 1;
	memcpy(m->lo.bytes, v, len);
	m->hi = m->lo;
}

void fw_match_u8(struct fw_rule *r, enum fw_field f, enum fw_op op, uint8_t v)
{
	match_value(r, f, op, &v, sizeof(v));
}

void fw_match_u16(struct fw_rule *r, enum fw_field f, enum fw_op op, uint16_t v)
{
	uint16_t be = htons(v);

	match_value(r, f, op, &be, sizeof(be));
}

void fw_match_u16_range(struct fw_rule *r, enum fw_field f, uint16_t lo, uint16_t hi)
{
	struct fw_match *m = match_new(r, FW_OP_RANGE);
	uint16_t be_lo = htons(lo), be_hi = htons(hi);

	m->fields[0] = f;
	m->n_fields = 1;
	memcpy(m->lo.bytes, &be_lo, sizeof(be_lo));
	memcpy(m->hi.bytes, &be_hi, sizeof(be_hi));
}

void fw_match_u32(struct fw_rule *r, enum fw_field f, enum fw_op op, uint32_t v)
{
	match_value(r, f, op, &v, sizeof(v));
}

void fw_match_replies(struct fw_rule *r)
{
	fw_match_u32(r, FW_CT_STATE, FW_OP_ANY_BIT, FW_CT_ESTABLISHED | FW_CT_RELATED);
}

void fw_match_cgroup(struct fw_rule *r, const struct cgroup *cgroup)
{
	match_value(r, FW_CGROUP, FW_OP_EQ, &cgroup->id, sizeof(cgroup->id));
	r->match[r->n_matches - 1].cgroup = cgroup;
}

void fw_match_name(struct fw_rule *r, enum fw_field f, enum fw_op op, const char *name)
{
	match_value(r, f, op, name, strlen(name));
}

void fw_match_ip(struct fw_rule *r, enum fw_field f, enum fw_op op, const struct ip *ip)
{
	assert(ip_len(ip->family) == fw_field_len(f));
	match_value(r, f, op, ip->bytes, ip_len(ip->family));
}

void fw_match_set(struct fw_rule *r, enum fw_op op, const struct fw_set *set, size_t n_fields,
		  const enum fw_field of[])
{
	struct fw_match *m = match_new(r, op);

	assert(op == FW_OP_IN || op == FW_OP_NOT_IN);
	assert(n_fields == set->n_fields && !set->is_vmap && !set->dnat_family);
	m->n_fields = n_fields;
	m->set = set;
	for (size_t i = 0; i < n_fields; i++) {
		assert(fw_field_len(of[i]) == fw_field_len(set->fields[i]));
		m->fields[i] = of[i];
	}
}

static void elem_set(struct fw_elem *e, size_t i, const void *lo, const void *hi, size_t len)
{
	assert(i < FW_KEY_FIELDS && len <= sizeof(e->lo[i].bytes));
	e->lo[i] = e->hi[i] = (struct fw_value){0};
	memcpy(e->lo[i].bytes, lo, len);
	memcpy(e->hi[i].bytes, hi, len);
}

void fw_elem_name(struct fw_elem *e, size_t i, const char *name)
{
	elem_set(e, i, name, name, strlen(name));
}

void fw_elem_mac(struct fw_elem *e, size_t i, const struct mac *mac)
{
	elem_set(e, i, mac->bytes, mac->bytes, sizeof(mac->bytes));
}

void fw_elem_ip(struct fw_elem *e, size_t i, const struct ip *ip)
{
	elem_set(e, i, ip->bytes, ip->bytes, ip_len(ip->family));
}

void fw_elem_cidr(struct fw_elem *e, size_t i, const struct cidr *c)
{
	struct ip first = cidr_first(c), last = cidr_last(c);

	elem_set(e, i, first.bytes, last.bytes, ip_len(c->addr.family));
}

void fw_set_add_ip(struct fw_set *set, const struct ip *ip, const char *interface)
{
	struct cidr c = {.addr = *ip, .prefix = ip_bits(ip->family)};

	fw_set_add_cidr(set, &c, interface);
}

void fw_set_add_cidr(struct fw_set *set, const struct cidr *c, const char *interface)
{
	struct fw_elem e = {0};

	if (!c->addr.family)
		return;
	fw_elem_cidr(&e, 0, c);
	if (interface)
		fw_elem_name(&e, 1, interface);
	fw_set_add(set, &e);
}

void fw_elem_u8_range(struct fw_elem *e, size_t i, uint8_t lo, uint8_t hi)
{
	elem_set(e, i, &lo, &hi, sizeof(lo));
}

void fw_elem_u16_range(struct fw_elem *e, size_t i, uint16_t lo, uint16_t hi)
{
	uint16_t be_lo = htons(lo), be_hi = htons(hi);

	elem_set(e, i, &be_lo, &be_hi, sizeof(be_lo));
}

static void protocols_add_field(struct fw_protocols *p, enum fw_field f)
{
	const struct fw_field_info *info = fw_field_info(f);

	if (info->ethertype)
		p->ethertype = info->ethertype;
	if (info->l4proto)
		p->l4proto = info->l4proto;
}

static void protocols_add_value(struct fw_protocols *p, enum fw_field f, const struct fw_value *v)
{
	if (f == FW_L4PROTO)
		p->l4proto = v->bytes[0];
	else if (f == FW_NFPROTO)
		p->ethertype = v->bytes[0] == NFPROTO_IPV6 ? P_IP6 : P_IP4;
	else if (f == FW_ETHER_TYPE)
		p->ethertype = (uint16_t)(v->bytes[0] << 8 | v->bytes[1]);
}

static struct fw_protocols set_protocols(const struct fw_set *set)
{
	struct fw_protocols p = {0};

	for (size_t i = 0; i < set->n_fields; i++)
		protocols_add_field(&p, set->fields[i]);
	return p;
}

static uint16_t ethertype_of(int family)
{
	return family == AF_INET6 ? P_IP6 : P_IP4;
}

/* What its verdict asks of a packet. */
static struct fw_protocols verdict_protocols(const struct fw_rule *r)
{
	struct fw_protocols p = {0};

	if (r->verdict == FW_VMAP)
		p = set_protocols(r->map);
	else if (r->verdict == FW_DNAT)
		p.ethertype = ethertype_of(r->to.addr.family);
	else if (r->verdict == FW_DNAT_MAP)
		p.ethertype = ethertype_of(r->map->dnat_family);
	else if (r->verdict == FW_CLAMP_MSS)
		p.l4proto = IPPROTO_TCP;
	return p;
}

struct fw_protocols fw_rule_protocols(const struct fw_rule *r)
{
	struct fw_protocols p = verdict_protocols(r);

	for (size_t i = 0; i < r->n_matches; i++) {
		const struct fw_match *m = &r->match[i];

		for (size_t j = 0; j < m->n_fields; j++)
			protocols_add_field(&p, m->fields[j]);
		if (m->op == FW_OP_EQ)
			protocols_add_value(&p, m->fields[0], &m->lo);
	}
	return p;
}

int fw_prefix_len(const struct fw_value *lo, const struct fw_value *hi, size_t len)
{
	int prefix = 0, bits = (int)len * 8;

	while (prefix < bits &&
	       !((lo->bytes[prefix / 8] ^ hi->bytes[prefix / 8]) & (0x80 >> prefix % 8)))
		prefix++;
	for (int i = prefix; i < bits; i++) {
		uint8_t bit = (uint8_t)(0x80 >> i % 8);

		if ((lo->bytes[i / 8] & bit) || !(hi->bytes[i / 8] & bit))
			return -1;
	}
	return prefix;
}
