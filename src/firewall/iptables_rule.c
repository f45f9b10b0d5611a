// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One rule as iptables-restore(8) lines.
 *
 * Accepting, in nftables, ends the table; other tables still have their say. ACCEPT in iptables
 * ends the built-in chain, with other people's rules in it. So we accept by returning to the
 * built-in chain: from a base chain with RETURN, and also from a chain that is only reached by the
 * last jump of a chain that accepts at its end, because such a jump can be a goto. Elsewhere ACCEPT
 * is the only way.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <linux/netfilter.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "firewall/field.h"
#include "firewall/iptables.h"
#include "firewall/text.h"
#include "kernel/cgroup.h"

/* A rule on its way into lines. */
struct line {
	const struct fw_table *t;
	const struct fw_chain *chain;
	const struct fw_rule *rule;
	enum ipt_family family;
	unsigned int generation;
	struct fw_protocols protocols;
	struct buf *b; /* matches */
};

static bool is_last_jump(const struct fw_table *t, const struct fw_chain *from,
			 const struct fw_rule *r);

/* Whether c is left for the built-in chain when it ends. */
static bool is_tail(const struct fw_table *t, const struct fw_chain *c)
{
	bool reached = false;

	if (c->hook)
		return false;
	for (const struct fw_chain *from = t->chains; from; from = from->next) {
		for (const struct fw_rule *r = from->rules; r; r = r->next) {
			if (r->verdict != FW_JUMP || r->target != c)
				continue;
			if (!is_last_jump(t, from, r))
				return false;
			reached = true;
		}
	}
	return reached;
}

static bool is_last_jump(const struct fw_table *t, const struct fw_chain *from,
			 const struct fw_rule *r)
{
	if (r->next)
		return false;
	return from->hook ? from->policy == FW_ACCEPT : is_tail(t, from);
}

static const char *accept_target(const struct line *l)
{
	return l->chain->hook || is_tail(l->t, l->chain) ? "RETURN" : "ACCEPT";
}

static const char *verdict_target(const struct line *l, enum fw_verdict v)
{
	switch (v) {
	case FW_ACCEPT:
		return accept_target(l);
	case FW_DROP:
		return "DROP";
	case FW_RETURN:
		return "RETURN";
	case FW_MASQUERADE:
		return "MASQUERADE";
	case FW_REJECT:
		return l->family == IPT_IP6 ? "REJECT --reject-with icmp6-adm-prohibited"
					    : "REJECT --reject-with icmp-admin-prohibited";
	case FW_CLAMP_MSS:
		return "TCPMSS --clamp-mss-to-pmtu";
	case FW_SET_CT_MARK:
	case FW_SET_MARK: /* their arguments are the rule's: see print_verdict() */
	case FW_DNAT:
	case FW_DNAT_MAP:
	case FW_JUMP:
	case FW_VMAP:
	case FW_TAKE: /* of frames */
	case FW_NUM_VERDICTS:
		break;
	}
	return NULL;
}

static uint32_t u32(const struct fw_value *v)
{
	uint32_t n;

	memcpy(&n, v->bytes, sizeof(n));
	return n;
}

static unsigned int be16(const struct fw_value *v)
{
	return (unsigned int)v->bytes[0] << 8 | v->bytes[1];
}

static int unsupported(const struct line *l, struct err *err)
{
	_buf_ struct buf text = {0};

	text_rule(l->rule, TEXT_PLAIN, &text);
	return err_set(err, ERR_UNSUPPORTED, -EOPNOTSUPP, "iptables cannot express \"%s\"",
		       text.data);
}

static void print_address(const char *option, enum fw_field f, const struct fw_value *lo,
			  const struct fw_value *hi, const char * not, struct buf *b)
{
	if (fw_prefix_len(lo, hi, fw_field_len(f)) == 0)
		return; /* every address of the family */
	buf_addf(b, "%s %s ", not, option);
	fw_value_print(f, lo, hi, b);
}

static void print_ports(const struct line *l, const char *option, const struct fw_value *lo,
			const struct fw_value *hi, const char * not )
{
	uint8_t proto = l->protocols.l4proto;

	/* multiport knows more protocols, tcp and udp spare it. */
	if (proto == IPPROTO_TCP || proto == IPPROTO_UDP)
		buf_addf(l->b, " -m %s%s --%s %u:%u", proto == IPPROTO_TCP ? "tcp" : "udp", not,
			 option, be16(lo), be16(hi));
	else
		buf_addf(l->b, " -m multiport%s --%ss %u:%u", not, option, be16(lo), be16(hi));
}

static void print_ct_state(uint32_t states, struct buf *b)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {{FW_CT_INVALID, "INVALID"},
		     {FW_CT_RELATED, "RELATED"},
		     {FW_CT_ESTABLISHED, "ESTABLISHED"},
		     {FW_CT_NEW, "NEW"}};
	const char *sep = "";

	buf_adds(b, " -m conntrack --ctstate ");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!(states & names[i].bit))
			continue;
		buf_addf(b, "%s%s", sep, names[i].name);
		sep = ",";
	}
}

/* match: mark or connmark */
static int match_mark(struct line *l, const char *match, const struct fw_match *m, const char * not,
		      struct err *err)
{
	uint32_t mark = u32(&m->lo);

	if (m->op == FW_OP_ANY_BIT || m->op == FW_OP_NO_BIT) /* mark & mask is not 0, or is */
		buf_addf(l->b, " -m %s%s --mark 0x0/0x%" PRIx32, match,
			 m->op == FW_OP_ANY_BIT ? " !" : "", mark);
	else if (m->op == FW_OP_EQ || m->op == FW_OP_NE)
		buf_addf(l->b, " -m %s%s --mark 0x%" PRIx32, match, not, mark);
	else
		return unsupported(l, err);
	return 0;
}

/* A match of one field with a value. */
static int match_field(struct line *l, const struct fw_match *m, struct err *err)
{
	const char *not = m->op == FW_OP_NE ? " !" : "";
	enum fw_field f = m->fields[0];
	struct buf *b = l->b;

	if (m->op == FW_OP_ANY_BIT && f != FW_CT_STATE && f != FW_CT_STATUS && f != FW_CT_MARK &&
	    f != FW_MARK)
		return unsupported(l, err);
	if (m->op == FW_OP_NO_BIT && f != FW_CT_MARK && f != FW_MARK && f != FW_TCP_FLAGS)
		return unsupported(l, err);
	if (m->op == FW_OP_RANGE && f != FW_SPORT && f != FW_DPORT)
		return unsupported(l, err);
	switch (f) {
	case FW_IIFNAME:
		buf_addf(b, "%s -i %.16s", not, (const char *)m->lo.bytes);
		return 0;
	case FW_OIFNAME:
		buf_addf(b, "%s -o %.16s", not, (const char *)m->lo.bytes);
		return 0;
	case FW_IIFGROUP:
		buf_addf(b, " -m devgroup%s --src-group %" PRIu32, not, u32(&m->lo));
		return 0;
	case FW_OIFGROUP:
		buf_addf(b, " -m devgroup%s --dst-group %" PRIu32, not, u32(&m->lo));
		return 0;
	case FW_NFPROTO: /* see is_about() */
		return m->op == FW_OP_EQ ? 0 : unsupported(l, err);
	case FW_L4PROTO: /* an equal one is printed by print_matches() */
		if (m->op == FW_OP_NE)
			buf_addf(b, " ! -p %u", m->lo.bytes[0]);
		return 0;
	case FW_IP4_SADDR:
	case FW_IP6_SADDR:
		print_address("-s", f, &m->lo, &m->hi, not, b);
		return 0;
	case FW_IP4_DADDR:
	case FW_IP6_DADDR:
		print_address("-d", f, &m->lo, &m->hi, not, b);
		return 0;
	case FW_SPORT:
		print_ports(l, "sport", &m->lo, &m->hi, not );
		return 0;
	case FW_DPORT:
		print_ports(l, "dport", &m->lo, &m->hi, not );
		return 0;
	case FW_ICMP4_TYPE:
		buf_addf(b, " -m icmp%s --icmp-type %u", not, m->lo.bytes[0]);
		return 0;
	case FW_ICMP6_TYPE:
		buf_addf(b, " -m icmp6%s --icmpv6-type %u", not, m->lo.bytes[0]);
		return 0;
	case FW_CT_STATE:
		print_ct_state(u32(&m->lo), b);
		return m->op == FW_OP_ANY_BIT ? 0 : unsupported(l, err);
	case FW_CT_MARK:
		return match_mark(l, "connmark", m, not, err);
	case FW_CT_DIRECTION:
		/* which takes no "!" */
		buf_addf(b, " -m conntrack --ctdir %s",
			 (m->lo.bytes[0] == FW_CT_REPLY) == (m->op == FW_OP_EQ) ? "REPLY" : "ORIGINAL");
		return 0;
	case FW_CT_STATUS: /* FW_CT_DNAT: there is no other */
		buf_adds(b, " -m conntrack --ctstate DNAT");
		return m->op == FW_OP_ANY_BIT ? 0 : unsupported(l, err);
	case FW_MARK:
		return match_mark(l, "mark", m, not, err);
	case FW_SKUID:
		buf_addf(b, " -m owner%s --uid-owner %" PRIu32, not, u32(&m->lo));
		return 0;
	case FW_SKGID:
		buf_addf(b, " -m owner%s --gid-owner %" PRIu32, not, u32(&m->lo));
		return 0;
	case FW_CGROUP:
		buf_addf(b, " -m cgroup --path %s", m->cgroup->path);
		return 0;
	case FW_DADDR_TYPE:
		if (u32(&m->lo) != RTN_LOCAL)
			return unsupported(l, err);
		buf_addf(b, " -m addrtype%s --dst-type LOCAL", not);
		return 0;
	case FW_ETHER_SADDR:
		buf_addf(b, " -m mac%s --mac-source ", not );
		fw_value_print(f, &m->lo, &m->lo, b);
		return 0;
	case FW_TCP_FLAGS:
		if (m->op != FW_OP_NO_BIT || m->lo.bytes[0] != TH_SYN)
			return unsupported(l, err);
		buf_adds(b, " -m tcp --tcp-flags SYN NONE");
		return 0;
	case FW_HOP_LIMIT:
		buf_addf(b, " -m hl%s --hl-eq %u", not, m->lo.bytes[0]);
		return 0;
	case FW_ETHER_TYPE:
	case FW_ARP_SADDR_IP:
	case FW_ARP_SADDR_ETHER:
	case FW_ND_TARGET:
	case FW_NUM_FIELDS:
		break;
	}
	return unsupported(l, err);
}

static void print_match_set(const struct line *l, const struct ipset_part *p, const char * not,
			    const char *directions)
{
	char name[IPSET_NAME_MAX];

	ipset_name(l->t, p->name, l->generation, name);
	buf_addf(l->b, " -m set%s --match-set %s %s", not, name, directions);
}

static int match_set(struct line *l, const struct fw_match *m, struct err *err)
{
	struct ipset_part parts[IPSET_PARTS];
	size_t n;
	int r = ipset_parts(m->set, parts, &n, err);

	for (size_t i = 0; !r && i < n; i++)
		if (parts[i].family == l->family)
			print_match_set(l, &parts[i], m->op == FW_OP_NOT_IN ? " !" : "",
					ipset_directions(m->set, m->fields));
	return r;
}

static int print_matches(struct line *l, struct err *err)
{
	int r = 0;

	if (l->protocols.l4proto)
		buf_addf(l->b, " -p %u", l->protocols.l4proto);
	for (size_t i = 0; i < l->rule->n_matches && !r; i++) {
		const struct fw_match *m = &l->rule->match[i];

		r = m->set ? match_set(l, m, err) : match_field(l, m, err);
	}
	return r;
}

static void print_rule(const struct line *l, const char *matches, const char *how,
		       const char *target, struct buf *b)
{
	char name[IPT_NAME_MAX];

	ipt_chain_name(l->t, l->chain->name, name);
	buf_addf(b, "-A %s%s%s %s %s\n", name, l->b->len ? l->b->data : "", matches, how, target);
}

/* Protocols whose header starts with the two ports: to nftables a port is a port. */
static const uint8_t port_protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_DCCP};

/* An element of a verdict map, for one protocol or for any (0). */
static int elem_matches(const struct line *l, const struct fw_elem *e, uint8_t proto, struct buf *b,
			struct err *err)
{
	const struct fw_set *map = l->rule->map;
	struct line to = *l;

	to.b = b;
	to.protocols.l4proto = proto;
	if (proto)
		buf_addf(b, " -p %u", proto);
	for (size_t i = 0; i < map->n_fields; i++) {
		struct fw_match m = {.op = FW_OP_EQ, .lo = e->lo[i], .hi = e->hi[i]};
		bool is_port = map->fields[i] == FW_SPORT || map->fields[i] == FW_DPORT;
		int r;

		if (map->fields[i] == FW_L4PROTO)
			continue;
		if (is_port && be16(&m.lo) == 0 && be16(&m.hi) == 0xffff)
			continue;
		m.op = is_port ? FW_OP_RANGE : FW_OP_EQ;
		m.fields[0] = map->fields[i];
		r = match_field(&to, &m, err);
		if (r)
			return r;
	}
	return 0;
}

static int elem_rule(const struct line *l, const struct fw_elem *e, uint8_t proto, struct buf *b,
		     struct err *err)
{
	_buf_ struct buf matches = {0};
	int r = elem_matches(l, e, proto, &matches, err);

	if (!r)
		print_rule(l, matches.len ? matches.data : "", "-j", verdict_target(l, e->verdict),
			   b);
	return r;
}

/* Index of the field in the map's key, or -1. */
static int key_index(const struct fw_set *map, enum fw_field f)
{
	for (size_t i = 0; i < map->n_fields; i++)
		if (map->fields[i] == f)
			return (int)i;
	return -1;
}

static bool restricts_ports(const struct fw_set *map, const struct fw_elem *e)
{
	for (size_t i = 0; i < map->n_fields; i++)
		if ((map->fields[i] == FW_SPORT || map->fields[i] == FW_DPORT) &&
		    (be16(&e->lo[i]) != 0 || be16(&e->hi[i]) != 0xffff))
			return true;
	return false;
}

static int elem_rules(const struct line *l, const struct fw_elem *e, struct buf *b, struct err *err)
{
	const struct fw_set *map = l->rule->map;
	int proto = key_index(map, FW_L4PROTO), r = 0;
	uint8_t lo = proto < 0 ? 0 : e->lo[proto].bytes[0],
		hi = proto < 0 ? 255 : e->hi[proto].bytes[0];

	if (lo == hi)
		return elem_rule(l, e, lo, b, err);
	if (lo != 0 || hi != 255)
		return unsupported(l, err);
	if (!restricts_ports(map, e))
		return elem_rule(l, e, l->protocols.l4proto, b, err);
	for (size_t i = 0; i < ARRAY_SIZE(port_protocols) && !r; i++)
		r = elem_rule(l, e, port_protocols[i], b, err);
	return r;
}

static bool is_in_part(const struct ipset_part parts[], size_t n, const struct fw_set *map,
		       const struct fw_elem *e)
{
	for (size_t i = 0; i < n; i++)
		if (ipset_part_has(&parts[i], map, e))
			return true;
	return false;
}

static void part_rule(const struct line *l, const struct ipset_part *p, struct buf *b)
{
	_buf_ struct buf matches = {0};
	struct line to = *l;
	const char *directions = ipset_directions(l->rule->map, l->rule->map->fields);

	to.b = &matches;
	/* Of a set without ports only the first dimension counts. */
	if (p->elems == IPSET_NETS)
		directions = !strncmp(directions, "src", 3) ? "src" : "dst";
	print_match_set(&to, p, "", directions);
	print_rule(l, matches.data, "-j", verdict_target(l, p->verdict), b);
}

/* The elements of a map never overlap, so that their order is ours to choose. */
static int map_rules(const struct line *l, struct buf *b, struct err *err)
{
	const struct fw_set *map = l->rule->map;
	struct ipset_part parts[IPSET_PARTS];
	size_t n;
	int r = ipset_parts(map, parts, &n, err);

	if (r)
		return r;
	for (size_t i = 0; i < n; i++)
		part_rule(l, &parts[i], b);
	for (size_t i = 0; i < map->n_elems && !r; i++)
		if (!is_in_part(parts, n, map, &map->elems[i]))
			r = elem_rules(l, &map->elems[i], b, err);
	return r;
}

static void print_target(const struct fw_target *to, struct buf *b)
{
	char text[IP_STRLEN];

	buf_addf(b, to->addr.family == AF_INET6 ? "[%s]" : "%s", ip_format(&to->addr, text));
	if (to->port)
		buf_addf(b, ":%u", to->port);
}

static bool is_about(const struct fw_protocols *p, enum ipt_family family)
{
	return !p->ethertype || p->ethertype == (family == IPT_IP6 ? ETH_P_IPV6 : ETH_P_IP);
}

static void print_verdict(const struct line *l, struct buf *b)
{
	const struct fw_rule *r = l->rule;
	_buf_ struct buf to = {0};
	char target[IPT_NAME_MAX];

	switch (r->verdict) {
	case FW_JUMP:
		ipt_chain_name(l->t, r->target->name, target);
		print_rule(l, "", is_tail(l->t, r->target) ? "-g" : "-j", target, b);
		return;
	case FW_DNAT_MAP:
		ipt_map_name(l->t, r->map, target);
		print_rule(l, "", "-j", target, b);
		return;
	case FW_DNAT:
		print_target(&r->to, &to);
		print_rule(l, "", "-j DNAT --to-destination", to.data, b);
		return;
	case FW_SET_MARK:
	case FW_SET_CT_MARK:
		snprintf(target, sizeof(target), "0x%" PRIx32 "/0x%" PRIx32, r->mark_bits,
			 r->mark_bits);
		print_rule(l, "",
			   r->verdict == FW_SET_MARK ? "-j MARK --set-xmark" : "-j CONNMARK --set-xmark",
			   target, b);
		return;
	case FW_CLAMP_MSS:
		print_rule(l, " -m tcp --tcp-flags SYN,RST SYN", "-j",
			   verdict_target(l, r->verdict), b);
		return;
	default:
		print_rule(l, "", "-j", verdict_target(l, r->verdict), b);
		return;
	}
}

int ipt_rule_text(const struct fw_table *t, const struct fw_chain *c, const struct fw_rule *r,
		  enum ipt_family family, unsigned int generation, struct buf *b, struct err *err)
{
	_buf_ struct buf matches = {0};
	struct line l = {.t = t,
			 .chain = c,
			 .rule = r,
			 .family = family,
			 .generation = generation,
			 .protocols = fw_rule_protocols(r),
			 .b = &matches};
	int result;

	if (!is_about(&l.protocols, family))
		return 0;
	result = print_matches(&l, err);
	if (result)
		return result;
	if (r->verdict == FW_VMAP)
		return map_rules(&l, b, err);
	print_verdict(&l, b);
	return 0;
}

enum ipt_family ipt_target_family(const struct fw_set *s)
{
	return s->dnat_family == AF_INET6 ? IPT_IP6 : IPT_IP4;
}

void ipt_target_comment(const struct fw_set *s, const struct fw_elem *e, struct buf *b)
{
	buf_adds(b, "\"");
	text_elem(s, e, b);
	buf_adds(b, "\"");
}

int ipt_target_text(const struct fw_table *t, const struct fw_set *s, const struct fw_elem *e,
		    struct buf *b, struct err *err)
{
	_buf_ struct buf matches = {0}, to = {0};
	const struct fw_rule rule = {.verdict = FW_DNAT_MAP, .map = s};
	struct line l = {.t = t, .rule = &rule};
	char name[IPT_NAME_MAX];
	int r = elem_matches(&l, e, e->lo[key_index(s, FW_L4PROTO)].bytes[0], &matches, err);

	if (r)
		return r;
	ipt_map_name(t, s, name);
	buf_adds(&matches, " -m comment --comment ");
	ipt_target_comment(s, e, &matches);
	print_target(&e->to, &to);
	buf_addf(b, "-A %s%s -j DNAT --to-destination %s\n", name, matches.data, to.data);
	return 0;
}
