// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A rule as nftables expressions: load a field into a register, compare it, act.
 *
 * A key of several fields is loaded into consecutive registers of 4 bytes each. Register numbers
 * and optional attributes are spelled as the kernel spells them in a dump, because verifying
 * compares the two (native_verify.c).
 */
#include <assert.h>
#include <stdio.h> /* libnftnl/expr.h names FILE */
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

#include "base/util.h"
#include "firewall/field.h"
#include "firewall/native.h"
#include "kernel/cgroup.h"

#define TCP_FLAGS 13 /* offset of the flags, RFC 9293 3.1 */

enum source { META, CT, FIB, SOCKET, LINK, NETWORK, TRANSPORT };

/* clang-format off */
static const struct {
	enum source source;
	uint8_t key; /* NFT_META_*, NFT_CT_*, NFT_FIB_RESULT_*, or the offset in the header */
} loads[] = {
	[FW_IIFNAME]         = {META, NFT_META_IIFNAME},
	[FW_OIFNAME]         = {META, NFT_META_OIFNAME},
	[FW_IIFGROUP]        = {META, NFT_META_IIFGROUP},
	[FW_OIFGROUP]        = {META, NFT_META_OIFGROUP},
	[FW_NFPROTO]         = {META, NFT_META_NFPROTO},
	[FW_L4PROTO]         = {META, NFT_META_L4PROTO},
	[FW_IP4_SADDR]       = {NETWORK, 12}, /* RFC 791 3.1 */
	[FW_IP4_DADDR]       = {NETWORK, 16},
	[FW_IP6_SADDR]       = {NETWORK, 8},  /* RFC 8200 3 */
	[FW_IP6_DADDR]       = {NETWORK, 24},
	/* TCP, UDP, SCTP and DCCP agree on these; of other protocols they read what is there. */
	[FW_SPORT]           = {TRANSPORT, 0},
	[FW_DPORT]           = {TRANSPORT, 2},
	[FW_ICMP4_TYPE]      = {TRANSPORT, 0},
	[FW_ICMP6_TYPE]      = {TRANSPORT, 0},
	[FW_CT_STATE]        = {CT, NFT_CT_STATE},
	[FW_CT_MARK]         = {CT, NFT_CT_MARK},
	[FW_CT_DIRECTION]    = {CT, NFT_CT_DIRECTION},
	[FW_CT_STATUS]       = {CT, NFT_CT_STATUS},
	[FW_MARK]            = {META, NFT_META_MARK},
	[FW_SKUID]           = {META, NFT_META_SKUID},
	[FW_SKGID]           = {META, NFT_META_SKGID},
	[FW_CGROUP]          = {SOCKET, NFT_SOCKET_CGROUPV2},
	[FW_DADDR_TYPE]      = {FIB, NFT_FIB_RESULT_ADDRTYPE},
	[FW_ETHER_SADDR]     = {LINK, 6},
	[FW_ETHER_TYPE]      = {LINK, 12},
	[FW_ARP_SADDR_IP]    = {NETWORK, 14}, /* RFC 826, for Ethernet and IPv4 */
	[FW_ARP_SADDR_ETHER] = {NETWORK, 8},
	[FW_TCP_FLAGS]       = {TRANSPORT, 13}, /* RFC 9293 3.1 */
	[FW_HOP_LIMIT]       = {NETWORK, 7},    /* RFC 8200 3 */
	[FW_ND_TARGET]       = {TRANSPORT, 8}, /* RFC 4861 4.3 and 4.4 */
};
/* clang-format on */
static_assert(ARRAY_SIZE(loads) == FW_NUM_FIELDS, "loads[] doesn't match enum fw_field");

static_assert(FW_CT_INVALID == 1 && FW_CT_ESTABLISHED == 2 && FW_CT_RELATED == 4 && FW_CT_NEW == 8,
	      "FW_CT_* are the kernel's NF_CT_STATE_BIT()s");

/* One rule on its way into expressions. */
struct builder {
	struct nftnl_rule *rule;
	enum fw_family family;
	struct fw_protocols known; /* what the expressions so far leave only */
};

static struct nftnl_expr *add(struct builder *b, const char *name)
{
	struct nftnl_expr *e = nftnl_expr_alloc(name);

	assert(e);
	nftnl_rule_add_expr(b->rule, e);
	return e;
}

/* The number of the register that starts 4 * n bytes into the first one. */
static uint32_t reg(size_t n)
{
	return (uint32_t)(n % 4 ? NFT_REG32_00 + n : NFT_REG_1 + n / 4);
}

static void load_header(struct builder *b, uint32_t base, uint32_t offset, uint32_t len, size_t to)
{
	struct nftnl_expr *e = add(b, "payload");

	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, reg(to));
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, len);
}

static void load_field(struct builder *b, enum fw_field f, size_t to)
{
	uint32_t len = (uint32_t)fw_field_len(f);
	struct nftnl_expr *e;

	switch (loads[f].source) {
	case META:
		e = add(b, "meta");
		nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, reg(to));
		nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, loads[f].key);
		return;
	case CT:
		e = add(b, "ct");
		nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, reg(to));
		nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, loads[f].key);
		return;
	case FIB:
		e = add(b, "fib");
		nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_DREG, reg(to));
		nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_RESULT, loads[f].key);
		nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_DADDR);
		return;
	case SOCKET: /* see load_cgroup() */
		return;
	case LINK:
		load_header(b, NFT_PAYLOAD_LL_HEADER, loads[f].key, len, to);
		return;
	case NETWORK:
		load_header(b, NFT_PAYLOAD_NETWORK_HEADER, loads[f].key, len, to);
		return;
	case TRANSPORT:
		load_header(b, NFT_PAYLOAD_TRANSPORT_HEADER, loads[f].key, len, to);
		return;
	}
}

/* The socket's cgroup, or its ancestor at that level. */
static void load_cgroup(struct builder *b, const struct cgroup *c)
{
	struct nftnl_expr *e = add(b, "socket");

	nftnl_expr_set_u32(e, NFTNL_EXPR_SOCKET_DREG, reg(0));
	nftnl_expr_set_u32(e, NFTNL_EXPR_SOCKET_KEY, loads[FW_CGROUP].key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_SOCKET_LEVEL, c->level);
}

static void compare(struct builder *b, uint32_t op, const void *value, size_t len)
{
	struct nftnl_expr *e = add(b, "cmp");

	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, reg(0));
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, op);
	nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, value, (uint32_t)len);
}

static void demand_ethertype(struct builder *b, uint16_t ethertype)
{
	uint8_t nfproto = ethertype == ETH_P_IPV6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
	uint16_t be = htons(ethertype);

	if (!ethertype || b->known.ethertype == ethertype)
		return;
	b->known.ethertype = ethertype;
	if (b->family == FW_BRIDGE) {
		load_field(b, FW_ETHER_TYPE, 0);
		compare(b, NFT_CMP_EQ, &be, sizeof(be));
	} else {
		assert(ethertype != ETH_P_ARP);
		load_field(b, FW_NFPROTO, 0);
		compare(b, NFT_CMP_EQ, &nfproto, sizeof(nfproto));
	}
}

static void demand_l4proto(struct builder *b, uint8_t l4proto)
{
	if (!l4proto || b->known.l4proto == l4proto)
		return;
	b->known.l4proto = l4proto;
	load_field(b, FW_L4PROTO, 0);
	compare(b, NFT_CMP_EQ, &l4proto, sizeof(l4proto));
}

static void load_key(struct builder *b, const enum fw_field fields[], size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		demand_ethertype(b, fw_field_info(fields[i])->ethertype);
		demand_l4proto(b, fw_field_info(fields[i])->l4proto);
	}
	for (size_t i = 0; i < n; i++) {
		load_field(b, fields[i], at);
		at += (fw_field_len(fields[i]) + 3) / 4;
	}
}

static void lookup(struct builder *b, const struct fw_set *set, uint32_t flags)
{
	struct nftnl_expr *e = add(b, "lookup");

	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, reg(0));
	nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, set->name);
	if (set->is_vmap || set->dnat_family)
		nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_DREG,
				   set->is_vmap ? NFT_REG_VERDICT : reg(0));
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, flags);
}

/* register = (register & mask) ^ xor */
static void bitwise(struct builder *b, const void *mask, const void *xor, uint32_t len)
{
	struct nftnl_expr *e = add(b, "bitwise");

	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, reg(0));
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, reg(0));
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, len);
	nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, mask, len);
	nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, xor, len);
}

static void match_bits(struct builder *b, const struct fw_match *m, uint32_t op)
{
	uint32_t len = (uint32_t)fw_field_len(m->fields[0]);
	const struct fw_value zero = {0};

	bitwise(b, m->lo.bytes, zero.bytes, len);
	compare(b, op, zero.bytes, len);
}

/* What a packet that passed m must be, so that it is not asked twice. */
static void remember(struct builder *b, const struct fw_match *m)
{
	if (m->op != FW_OP_EQ)
		return;
	if (m->fields[0] == FW_L4PROTO)
		b->known.l4proto = m->lo.bytes[0];
	else if (m->fields[0] == FW_NFPROTO && b->family == FW_INET)
		b->known.ethertype = m->lo.bytes[0] == NFPROTO_IPV6 ? ETH_P_IPV6 : ETH_P_IP;
	else if (m->fields[0] == FW_ETHER_TYPE && b->family == FW_BRIDGE)
		b->known.ethertype = (uint16_t)(m->lo.bytes[0] << 8 | m->lo.bytes[1]);
}

static void add_match(struct builder *b, const struct fw_match *m)
{
	size_t len = fw_field_len(m->fields[0]);

	if (m->cgroup)
		load_cgroup(b, m->cgroup);
	else
		load_key(b, m->fields, m->n_fields);
	switch (m->op) {
	case FW_OP_EQ:
		compare(b, NFT_CMP_EQ, m->lo.bytes, len);
		break;
	case FW_OP_NE:
		compare(b, NFT_CMP_NEQ, m->lo.bytes, len);
		break;
	case FW_OP_RANGE:
		compare(b, NFT_CMP_GTE, m->lo.bytes, len);
		compare(b, NFT_CMP_LTE, m->hi.bytes, len);
		break;
	case FW_OP_ANY_BIT:
		match_bits(b, m, NFT_CMP_NEQ);
		break;
	case FW_OP_NO_BIT:
		match_bits(b, m, NFT_CMP_EQ);
		break;
	case FW_OP_IN:
		lookup(b, m->set, 0);
		break;
	case FW_OP_NOT_IN:
		lookup(b, m->set, NFT_LOOKUP_F_INV);
		break;
	}
	remember(b, m);
}

static void immediate(struct builder *b, int verdict, const char *chain)
{
	struct nftnl_expr *e = add(b, "immediate");

	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
	if (chain)
		nftnl_expr_set_str(e, NFTNL_EXPR_IMM_CHAIN, chain);
}

static void load_value(struct builder *b, const void *value, size_t len)
{
	struct nftnl_expr *e = add(b, "immediate");

	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, reg(0));
	nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, value, (uint32_t)len);
}

static void set_bits(struct builder *b, enum fw_field f, uint32_t bits)
{
	uint32_t others = ~bits;
	struct nftnl_expr *e;

	load_field(b, f, 0);
	bitwise(b, &others, &bits, sizeof(bits));
	if (f == FW_CT_MARK) {
		e = add(b, "ct");
		nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, NFT_CT_MARK);
		nftnl_expr_set_u32(e, NFTNL_EXPR_CT_SREG, reg(0));
		return;
	}
	e = add(b, "meta");
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, NFT_META_MARK);
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_SREG, reg(0));
}

static void take(struct builder *b)
{
	static const uint8_t host = PACKET_HOST;
	struct nftnl_expr *e;

	load_value(b, fw_take_mac.bytes, sizeof(fw_take_mac.bytes));
	e = add(b, "payload");
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_SREG, reg(0));
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, NFT_PAYLOAD_LL_HEADER);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, 0);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, sizeof(fw_take_mac.bytes));
	load_value(b, &host, sizeof(host));
	e = add(b, "meta");
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, NFT_META_PKTTYPE);
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_SREG, reg(0));
}

static void reject(struct builder *b)
{
	struct nftnl_expr *e = add(b, "reject");

	assert(b->family == FW_INET);
	nftnl_expr_set_u32(e, NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH);
	nftnl_expr_set_u8(e, NFTNL_EXPR_REJECT_CODE, NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
}

/* Lowers the option of a SYN; one without the option stays as it is. */
static void clamp_mss(struct builder *b)
{
	static const struct fw_match syn = {
		.op = FW_OP_ANY_BIT, .lo.bytes = {TH_SYN}, .fields = {FW_L4PROTO}, .n_fields = 1};
	struct nftnl_expr *e;

	demand_l4proto(b, IPPROTO_TCP);
	load_header(b, NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS, 1, 0);
	match_bits(b, &syn, NFT_CMP_NEQ);
	e = add(b, "rt");
	nftnl_expr_set_u32(e, NFTNL_EXPR_RT_DREG, reg(0));
	nftnl_expr_set_u32(e, NFTNL_EXPR_RT_KEY, NFT_RT_TCPMSS);
	e = add(b, "byteorder");
	nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_SREG, reg(0));
	nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_DREG, reg(0));
	nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_OP, NFT_BYTEORDER_HTON);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_LEN, 2);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_SIZE, 2);
	e = add(b, "exthdr");
	nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_SREG, reg(0));
	nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_OP, NFT_EXTHDR_OP_TCPOPT);
	nftnl_expr_set_u8(e, NFTNL_EXPR_EXTHDR_TYPE, TCPOPT_MAXSEG);
	nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_OFFSET, 2); /* behind kind and length */
	nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_LEN, 2);
}

/* To the address in the first registers, and the port in the one numbered `port`, if any. */
static void nat(struct builder *b, int family, size_t port)
{
	struct nftnl_expr *e = add(b, "nat");
	uint32_t flags = NF_NAT_RANGE_MAP_IPS | (port ? NF_NAT_RANGE_PROTO_SPECIFIED : 0u);

	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FAMILY,
			   family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN, reg(0));
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MAX, reg(0));
	if (port) {
		nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_PROTO_MIN, reg(port));
		nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_PROTO_MAX, reg(port));
	}
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FLAGS, flags);
}

static void constant(struct builder *b, const void *value, size_t len, size_t to)
{
	struct nftnl_expr *e = add(b, "immediate");

	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, reg(to));
	nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, value, (uint32_t)len);
}

static void dnat(struct builder *b, const struct fw_target *to)
{
	size_t len = ip_len(to->addr.family);
	uint16_t be = htons(to->port);

	demand_ethertype(b, to->addr.family == AF_INET6 ? ETH_P_IPV6 : ETH_P_IP);
	constant(b, to->addr.bytes, len, 0);
	if (to->port)
		constant(b, &be, sizeof(be), len / 4);
	nat(b, to->addr.family, to->port ? len / 4 : 0);
}

static void dnat_map(struct builder *b, const struct fw_set *map)
{
	demand_ethertype(b, map->dnat_family == AF_INET6 ? ETH_P_IPV6 : ETH_P_IP);
	load_key(b, map->fields, map->n_fields);
	lookup(b, map, 0);
	nat(b, map->dnat_family, ip_len(map->dnat_family) / 4);
}

static void add_verdict(struct builder *b, const struct fw_rule *r)
{
	switch (r->verdict) {
	case FW_ACCEPT:
		immediate(b, NF_ACCEPT, NULL);
		return;
	case FW_DROP:
		immediate(b, NF_DROP, NULL);
		return;
	case FW_RETURN:
		immediate(b, NFT_RETURN, NULL);
		return;
	case FW_JUMP:
		immediate(b, NFT_JUMP, r->target->name);
		return;
	case FW_VMAP:
		load_key(b, r->map->fields, r->map->n_fields);
		lookup(b, r->map, 0);
		return;
	case FW_MASQUERADE:
		add(b, "masq");
		return;
	case FW_SET_MARK:
		set_bits(b, FW_MARK, r->mark_bits);
		return;
	case FW_SET_CT_MARK:
		set_bits(b, FW_CT_MARK, r->mark_bits);
		return;
	case FW_REJECT:
		reject(b);
		return;
	case FW_CLAMP_MSS:
		clamp_mss(b);
		return;
	case FW_DNAT:
		dnat(b, &r->to);
		return;
	case FW_DNAT_MAP:
		dnat_map(b, r->map);
		return;
	case FW_TAKE:
		take(b);
		return;
	case FW_NUM_VERDICTS:
		break;
	}
	assert(r->verdict < FW_NUM_VERDICTS);
}

void native_rule_exprs(struct nftnl_rule *nlr, enum fw_family family, const struct fw_rule *r)
{
	struct builder b = {.rule = nlr, .family = family};

	for (size_t i = 0; i < r->n_matches; i++)
		add_match(&b, &r->match[i]);
	add_verdict(&b, r);
}
