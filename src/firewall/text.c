// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "firewall/field.h"
#include "firewall/text.h"
#include "kernel/cgroup.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"

#define RAW_ND_TARGET "@th,64,128" /* RFC 4861 4.3 and 4.4: 8 bytes into the ICMPv6 message */

static const char *const family_names[] = {
	[FW_INET] = "inet",
	[FW_BRIDGE] = "bridge",
};
static_assert(ARRAY_SIZE(family_names) == FW_NUM_FAMILIES, "one name per enum fw_family");

static const char *const hook_names[] = {
	[FW_HOOK_NONE] = "",         [FW_HOOK_PREROUTING] = "prerouting",
	[FW_HOOK_INPUT] = "input",   [FW_HOOK_FORWARD] = "forward",
	[FW_HOOK_OUTPUT] = "output", [FW_HOOK_POSTROUTING] = "postrouting",
};
static_assert(ARRAY_SIZE(hook_names) == FW_NUM_HOOKS, "one name per enum fw_hook");

static const char *const type_names[] = {
	[FW_CHAIN_FILTER] = "filter",
	[FW_CHAIN_NAT] = "nat",
	[FW_CHAIN_ROUTE] = "route",
};
static_assert(ARRAY_SIZE(type_names) == FW_NUM_CHAIN_TYPES, "one name per enum fw_chain_type");

static const char *const verdict_names[] = {
	[FW_ACCEPT] = "accept", [FW_DROP] = "drop", [FW_RETURN] = "return",
	[FW_JUMP] = "jump",     [FW_VMAP] = "vmap", [FW_MASQUERADE] = "masquerade",
	[FW_SET_MARK] = "meta mark set meta mark",
	[FW_SET_CT_MARK] = "ct mark set ct mark",
	[FW_REJECT] = "reject with icmpx admin-prohibited",
	[FW_CLAMP_MSS] = "tcp flags syn tcp option maxseg size set rt mtu",
	[FW_DNAT] = "dnat",
	[FW_DNAT_MAP] = "dnat",
	[FW_TAKE] = "meta pkttype set host ether daddr set",
};
static_assert(ARRAY_SIZE(verdict_names) == FW_NUM_VERDICTS, "one name per enum fw_verdict");

static const struct {
	uint32_t bit;
	const char *name;
} ct_states[] = {
	{FW_CT_INVALID, "invalid"},
	{FW_CT_ESTABLISHED, "established"},
	{FW_CT_RELATED, "related"},
	{FW_CT_NEW, "new"},
};

const char *text_family(enum fw_family family)
{
	return family_names[family];
}

const char *text_chain_type(enum fw_chain_type type)
{
	return type_names[type];
}

static uint32_t value_u32(const struct fw_value *v)
{
	uint32_t n;

	memcpy(&n, v->bytes, sizeof(n));
	return n;
}

static unsigned int value_be16(const struct fw_value *v)
{
	return (unsigned int)v->bytes[0] << 8 | v->bytes[1];
}

static void print_ct_state(uint32_t states, struct buf *b)
{
	const char *sep = "";

	for (size_t i = 0; i < ARRAY_SIZE(ct_states); i++) {
		if (!(states & ct_states[i].bit))
			continue;
		buf_addf(b, "%s%s", sep, ct_states[i].name);
		sep = ",";
	}
}

static void print_ip(int family, const struct fw_value *v, struct buf *b)
{
	char text[INET6_ADDRSTRLEN];

	buf_adds(b, inet_ntop(family, v->bytes, text, sizeof(text)));
}

static void print_mac(const struct fw_value *v, struct buf *b)
{
	struct mac mac;
	char text[MAC_STRLEN];

	memcpy(mac.bytes, v->bytes, sizeof(mac.bytes));
	buf_adds(b, mac_format(&mac, text));
}

static void print_one(enum fw_format format, const struct fw_value *v, struct buf *b)
{
	switch (format) {
	case FW_FORMAT_NAME:
		buf_addf(b, "\"%.16s\"", (const char *)v->bytes);
		return;
	case FW_FORMAT_U8:
		buf_addf(b, "%u", v->bytes[0]);
		return;
	case FW_FORMAT_U32:
		buf_addf(b, "%" PRIu32, value_u32(v));
		return;
	case FW_FORMAT_MARK:
		buf_addf(b, "0x%08" PRIx32, value_u32(v));
		return;
	case FW_FORMAT_CGROUP: /* see print_cgroup() */
		return;
	case FW_FORMAT_CT_STATE:
		print_ct_state(value_u32(v), b);
		return;
	case FW_FORMAT_CT_STATUS:
		buf_adds(b, "dnat");
		return;
	case FW_FORMAT_PORT:
		buf_addf(b, "%u", value_be16(v));
		return;
	case FW_FORMAT_ETHERTYPE:
		buf_addf(b, "0x%04x", value_be16(v));
		return;
	case FW_FORMAT_IP4:
		print_ip(AF_INET, v, b);
		return;
	case FW_FORMAT_IP6:
		print_ip(AF_INET6, v, b);
		return;
	case FW_FORMAT_MAC:
		print_mac(v, b);
		return;
	}
}

void fw_value_print(enum fw_field f, const struct fw_value *lo, const struct fw_value *hi,
		    struct buf *b)
{
	const struct fw_field_info *info = fw_field_info(f);
	bool is_address = info->format == FW_FORMAT_IP4 || info->format == FW_FORMAT_IP6;
	int prefix;

	print_one(info->format, lo, b);
	if (!memcmp(lo, hi, sizeof(*lo)))
		return;
	prefix = is_address ? fw_prefix_len(lo, hi, info->len) : -1;
	if (prefix >= 0) {
		buf_addf(b, "/%d", prefix);
		return;
	}
	buf_adds(b, "-");
	print_one(info->format, hi, b);
}

/* See TEXT_NFT. */
static bool is_ip6(enum fw_field f)
{
	return fw_field_info(f)->format == FW_FORMAT_IP6;
}

static bool has_twin(const struct fw_table *t, const struct fw_set *s, enum text_dialect dialect)
{
	if (dialect != TEXT_NFT || t->family != FW_BRIDGE || s->interval)
		return false;
	for (size_t i = 0; i < s->n_fields; i++)
		if (is_ip6(s->fields[i]))
			return true;
	return false;
}

static bool looks_at_target(const struct fw_match *m)
{
	for (size_t i = 0; i < m->n_fields; i++)
		if (m->fields[i] == FW_ND_TARGET)
			return true;
	return false;
}

static void print_raw(const struct fw_value *v, struct buf *b)
{
	buf_adds(b, "0x");
	for (size_t i = 0; i < sizeof(v->bytes); i++)
		buf_addf(b, "%02x", v->bytes[i]);
}

static void print_target(const char *before, const struct fw_target *to, const char *between,
			 struct buf *b)
{
	char text[IP_STRLEN];
	bool bracketed = *between == ':' && to->addr.family == AF_INET6;

	buf_addf(b, bracketed ? "%s[%s]" : "%s%s", before, ip_format(&to->addr, text));
	if (to->port)
		buf_addf(b, "%s%u", between, to->port);
}

static void print_elem(const struct fw_set *set, const struct fw_elem *e, bool twin, struct buf *b)
{
	for (size_t i = 0; i < set->n_fields; i++) {
		if (i)
			buf_adds(b, " . ");
		if (twin && is_ip6(set->fields[i]))
			print_raw(&e->lo[i], b);
		else
			fw_value_print(set->fields[i], &e->lo[i], &e->hi[i], b);
	}
	if (set->is_vmap)
		buf_addf(b, " : %s", verdict_names[e->verdict]);
	if (set->dnat_family)
		print_target(" : ", &e->to, " . ", b);
}

void text_elem(const struct fw_set *set, const struct fw_elem *e, struct buf *b)
{
	print_elem(set, e, false, b);
}

static void print_key(const enum fw_field fields[], size_t n, enum text_dialect dialect,
		      struct buf *b)
{
	for (size_t i = 0; i < n; i++) {
		bool raw = dialect == TEXT_NFT && fields[i] == FW_ND_TARGET;

		buf_addf(b, "%s%s", i ? " . " : "", raw ? RAW_ND_TARGET : fw_field_name(fields[i]));
	}
}

static void print_cgroup(const struct cgroup *c, enum text_dialect dialect, struct buf *b)
{
	buf_addf(b, "%s level %u \"%s\"", fw_field_name(FW_CGROUP), c->level,
		 dialect == TEXT_NFT ? c->nft_path : c->path);
}

static void print_match(const struct fw_match *m, enum text_dialect dialect, struct buf *b)
{
	enum fw_field f = m->fields[0];
	bool twin = dialect == TEXT_NFT && looks_at_target(m);

	if (m->cgroup) {
		print_cgroup(m->cgroup, dialect, b);
		return;
	}
	print_key(m->fields, m->n_fields, dialect, b);
	switch (m->op) {
	case FW_OP_NE:
		buf_adds(b, " != ");
		break;
	case FW_OP_IN:
	case FW_OP_NOT_IN:
		buf_addf(b, " %s@%s%s", m->op == FW_OP_IN ? "" : "!= ", m->set->name,
			 twin ? "_raw" : "");
		return;
	case FW_OP_ANY_BIT:
		if (f == FW_CT_STATE || f == FW_CT_STATUS)
			break;
		/* fall through */
	case FW_OP_NO_BIT:
		buf_adds(b, " & ");
		fw_value_print(f, &m->lo, &m->lo, b);
		buf_adds(b, m->op == FW_OP_NO_BIT ? " == 0" : " != 0");
		return;
	case FW_OP_EQ:
	case FW_OP_RANGE:
		break;
	}
	if (m->op != FW_OP_NE)
		buf_adds(b, " ");
	if (twin)
		print_raw(&m->lo, b);
	else
		fw_value_print(f, &m->lo, &m->hi, b);
}

static const char *dnat_words(int family)
{
	return family == AF_INET6 ? " ip6 to " : " ip to ";
}

/* What belongs to a verdict's word. */
static void print_argument(const struct fw_rule *r, enum text_dialect dialect, struct buf *b)
{
	char mac[MAC_STRLEN];

	switch (r->verdict) {
	case FW_TAKE:
		buf_addf(b, " %s", mac_format(&fw_take_mac, mac));
		return;
	case FW_JUMP:
		buf_addf(b, " %s", r->target->name);
		return;
	case FW_VMAP:
		print_key(r->map->fields, r->map->n_fields, dialect, b);
		buf_addf(b, " vmap @%s", r->map->name);
		return;
	case FW_SET_MARK:
	case FW_SET_CT_MARK:
		buf_addf(b, " | 0x%08" PRIx32, r->mark_bits);
		return;
	case FW_DNAT:
		print_target(dnat_words(r->to.addr.family), &r->to, ":", b);
		return;
	case FW_DNAT_MAP:
		buf_adds(b, dnat_words(r->map->dnat_family));
		print_key(r->map->fields, r->map->n_fields, dialect, b);
		buf_addf(b, " map @%s", r->map->name);
		return;
	case FW_ACCEPT:
	case FW_DROP:
	case FW_RETURN:
	case FW_MASQUERADE:
	case FW_REJECT:
	case FW_CLAMP_MSS:
	case FW_NUM_VERDICTS:
		return;
	}
}

void text_rule(const struct fw_rule *r, enum text_dialect dialect, struct buf *b)
{
	for (size_t i = 0; i < r->n_matches; i++) {
		print_match(&r->match[i], dialect, b);
		buf_adds(b, " ");
	}
	if (r->verdict != FW_VMAP)
		buf_adds(b, verdict_names[r->verdict]);
	print_argument(r, dialect, b);
}

static bool is_map(const struct fw_set *s)
{
	return s->is_vmap || s->dnat_family;
}

static const char *data_type(const struct fw_set *s)
{
	if (s->dnat_family)
		return s->dnat_family == AF_INET6 ? " : ipv6_addr . inet_service"
						  : " : ipv4_addr . inet_service";
	return s->is_vmap ? " : verdict" : "";
}

/* "type ipv4_addr . ifname;" of a set, ": verdict" included */
static void print_set_type(const struct fw_set *s, bool twin, struct buf *b)
{
	buf_adds(b, twin ? "typeof " : "type ");
	for (size_t i = 0; i < s->n_fields; i++) {
		const struct fw_field_info *info = fw_field_info(s->fields[i]);

		buf_adds(b, i ? " . " : "");
		if (twin)
			buf_adds(b, is_ip6(s->fields[i]) ? RAW_ND_TARGET : info->name);
		else
			buf_adds(b, info->type);
	}
	buf_addf(b, "%s;", data_type(s));
	if (s->interval)
		buf_adds(b, " flags interval;");
}

static void print_base_chain(const struct fw_chain *c, struct buf *b)
{
	buf_addf(b, "type %s hook %s priority %d; policy %s;",
		 type_names[c->type], hook_names[c->hook], c->priority, verdict_names[c->policy]);
}

static void set_block(const struct fw_set *s, bool twin, struct buf *b)
{
	buf_addf(b, "\t%s %s%s {\n\t\t", is_map(s) ? "map" : "set", s->name, twin ? "_raw" : "");
	print_set_type(s, twin, b);
	buf_adds(b, "\n");
	for (size_t i = 0; i < s->n_elems; i++) {
		buf_adds(b, i ? ",\n\t\t\t" : "\t\telements = {\n\t\t\t");
		print_elem(s, &s->elems[i], twin, b);
	}
	buf_adds(b, s->n_elems ? "\n\t\t}\n\t}\n" : "\t}\n");
}

static void chain_block(const struct fw_chain *c, enum text_dialect dialect, struct buf *b)
{
	buf_addf(b, "\tchain %s {\n", c->name);
	if (c->hook) {
		buf_adds(b, "\t\t");
		print_base_chain(c, b);
		buf_adds(b, "\n");
	}
	for (const struct fw_rule *r = c->rules; r; r = r->next) {
		buf_adds(b, "\t\t");
		text_rule(r, dialect, b);
		buf_adds(b, "\n");
	}
	buf_adds(b, "\t}\n");
}

/* In braces, as `nft list table` shows it. */
static void table_block(const struct fw_table *t, enum text_dialect dialect, struct buf *b)
{
	buf_addf(b, "table %s %s {\n\tcomment \"byway\"\n", family_names[t->family], t->name);
	for (const struct fw_set *s = t->sets; s; s = s->next) {
		set_block(s, false, b);
		if (has_twin(t, s, dialect))
			set_block(s, true, b);
	}
	for (const struct fw_chain *c = t->chains; c; c = c->next)
		chain_block(c, dialect, b);
	buf_adds(b, "}\n");
}

void ruleset_print(const struct ruleset *rs, struct buf *b)
{
	for (const struct fw_table *t = rs->tables; t; t = t->next)
		table_block(t, TEXT_PLAIN, b);
}

void text_remove(const struct ruleset *rs, struct buf *b)
{
	/* Adding first makes deleting idempotent without `destroy`, which needs nft 1.0.8. */
	for (const struct fw_table *t = rs->tables; t; t = t->next) {
		buf_addf(b, "add table %s %s\n", family_names[t->family], t->name);
		buf_addf(b, "delete table %s %s\n", family_names[t->family], t->name);
	}
}

void text_script(const struct ruleset *rs, struct buf *b)
{
	text_remove(rs, b);
	for (const struct fw_table *t = rs->tables; t; t = t->next)
		table_block(t, TEXT_NFT, b);
}

static void elem_commands(const struct fw_table *t, const struct fw_set *s, const char *verb,
			  bool twin, struct buf *b)
{
	for (size_t i = 0; i < s->n_elems; i++) {
		buf_addf(b, "%s element %s %s %s%s { ", verb, family_names[t->family], t->name,
			 s->name, twin ? "_raw" : "");
		print_elem(s, &s->elems[i], twin, b);
		buf_adds(b, " }\n");
	}
}

void text_elements(const struct ruleset *rs, const char *verb, enum text_dialect dialect,
		   struct buf *b)
{
	for (const struct fw_table *t = rs->tables; t; t = t->next) {
		for (const struct fw_set *s = t->sets; s; s = s->next) {
			elem_commands(t, s, verb, false, b);
			if (has_twin(t, s, dialect))
				elem_commands(t, s, verb, true, b);
		}
	}
}

static void set_commands(const struct fw_table *t, const struct fw_set *s, bool twin, struct buf *b)
{
	buf_addf(b, "add %s %s %s %s%s { ", is_map(s) ? "map" : "set", family_names[t->family],
		 t->name, s->name, twin ? "_raw" : "");
	print_set_type(s, twin, b);
	buf_adds(b, " }\n");
	elem_commands(t, s, "add", twin, b);
}

static void chain_command(const struct fw_table *t, const struct fw_chain *c, struct buf *b)
{
	buf_addf(b, "add chain %s %s %s", family_names[t->family], t->name, c->name);
	if (c->hook) {
		buf_adds(b, " { ");
		print_base_chain(c, b);
		buf_adds(b, " }");
	}
	buf_adds(b, "\n");
}

static void table_commands(const struct fw_table *t, enum text_dialect dialect, struct buf *b)
{
	buf_addf(b, "add table %s %s { comment \"byway\"; }\n", family_names[t->family], t->name);
	for (const struct fw_set *s = t->sets; s; s = s->next) {
		set_commands(t, s, false, b);
		if (has_twin(t, s, dialect))
			set_commands(t, s, true, b);
	}
	/* All chains before the first rule, which may jump to any of them. */
	for (const struct fw_chain *c = t->chains; c; c = c->next)
		chain_command(t, c, b);
	for (const struct fw_chain *c = t->chains; c; c = c->next) {
		for (const struct fw_rule *r = c->rules; r; r = r->next) {
			buf_addf(b, "add rule %s %s %s ", family_names[t->family], t->name,
				 c->name);
			text_rule(r, dialect, b);
			buf_adds(b, "\n");
		}
	}
}

void text_replace(const struct ruleset *rs, enum text_dialect dialect, struct buf *b)
{
	text_remove(rs, b);
	for (const struct fw_table *t = rs->tables; t; t = t->next)
		table_commands(t, dialect, b);
}

void text_log(struct netns *ns, const char *prefix, const struct buf *text)
{
	const char *line = text->data, *end;

	for (; line && *line; line = end + 1) {
		end = strchr(line, '\n');
		if (!end)
			return;
		oplog_add(ns->log, ns->name, "%s%.*s", prefix, (int)(end - line), line);
	}
}
