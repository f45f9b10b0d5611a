// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * The bridge family with ebtables-restore --noflush (of the nf_tables variant; the legacy one
 * cannot leave other people's rules alone).
 *
 * ebtables has no sets. A match with a set becomes a chain with one rule for each element,
 *
 *   SET.Nop+fields   elements; "in": each jumps to the chain below; "not in": each returns, and the
 *                    end jumps there
 *   SET.Nop+fields!  what follows the match: the next set of the rule, or its verdict
 *
 * where N numbers the matches of the table, op is + for "in" and - for "not in", and each field is
 * a letter. So the name says all that adding an element later must know.
 *
 * Differences that remain: here a match with FW_ND_TARGET compares the IPv6 source address, which
 * a forger may choose freely; a table beside this one looks at the target where the kernel can
 * (ebtables_nd.c). And from a chain below the base chain accepting means ACCEPT, which also skips
 * other people's rules in the same built-in chain.
 */
#include <assert.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "firewall/compare.h"
#include "firewall/field.h"
#include "firewall/iptables.h"
#include "firewall/text.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"

#define SET_NAME_MAX 12 /* characters of a set's name in that of its chains */
#define SUFFIX_MAX 9    /* ".999+abc!" */
#define TARGET_MAX 40   /* a chain's name, or an extension with its option */

static const char *const restore_argv[] = {"ebtables-restore", "--noflush", NULL};

static const char *const tables[] = {"nat", "filter"};

/* Where a base chain hangs in ebtables(8). */
static const struct {
	const char *table, *chain;
} hooks[] = {
	[FW_HOOK_NONE] = {"", ""},
	[FW_HOOK_PREROUTING] = {"nat", "PREROUTING"},
	[FW_HOOK_INPUT] = {"filter", "INPUT"},
	[FW_HOOK_FORWARD] = {"filter", "FORWARD"},
	[FW_HOOK_OUTPUT] = {"filter", "OUTPUT"},
	[FW_HOOK_POSTROUTING] = {"nat", "POSTROUTING"},
};
static_assert(ARRAY_SIZE(hooks) == FW_NUM_HOOKS, "hooks[] doesn't match enum fw_hook");

/* The option for each field that ebtables can look at. */
static const char *const options[] = {
	[FW_IIFNAME] = "-i",
	[FW_OIFNAME] = "-o",
	[FW_IP4_SADDR] = "--ip-src",
	[FW_IP4_DADDR] = "--ip-dst",
	[FW_IP6_SADDR] = "--ip6-src",
	[FW_IP6_DADDR] = "--ip6-dst",
	[FW_ICMP4_TYPE] = "--ip-icmp-type",
	[FW_ICMP6_TYPE] = "--ip6-icmp-type",
	[FW_ETHER_SADDR] = "-s",
	[FW_ETHER_TYPE] = "-p",
	[FW_ARP_SADDR_IP] = "--arp-ip-src",
	[FW_ARP_SADDR_ETHER] = "--arp-mac-src",
	[FW_ND_TARGET] = "--ip6-src",
	[FW_NUM_FIELDS] = NULL,
};

/* One table of ours on its way into the text of one table of ebtables. */
struct writer {
	const struct fw_table *t;
	const char *table; /* of ebtables */
	unsigned int n_matches;
	struct buf declare, rules;
	struct lines wanted; /* names of the chains */
	struct err *err;
};

static void writer_done(struct writer *w)
{
	buf_done(&w->declare);
	buf_done(&w->rules);
	lines_done(&w->wanted);
}

static int unsupported(struct writer *w, const struct fw_rule *r)
{
	_buf_ struct buf text = {0};

	text_rule(r, TEXT_PLAIN, &text);
	return err_set(w->err, ERR_UNSUPPORTED, -EOPNOTSUPP, "ebtables cannot express \"%s\"",
		       text.data);
}

static void declare(struct writer *w, const char *chain, const char *policy)
{
	lines_add(&w->wanted, chain, strlen(chain));
	buf_addf(&w->declare, ":%s %s\n", chain, policy);
}

/* A value as ebtables reads it: names without quotes. */
static void print_value(enum fw_field f, const struct fw_value *v, struct buf *b)
{
	if (fw_field_info(f)->format == FW_FORMAT_NAME)
		buf_addf(b, "%.16s", (const char *)v->bytes);
	else
		fw_value_print(f, v, v, b);
}

static void print_ethertype(uint16_t ethertype, struct buf *b)
{
	if (ethertype)
		buf_addf(b, " -p 0x%04x", ethertype);
}

/* ---- Matches with one value ---- */

static int print_l4(const struct fw_match *m, uint16_t ethertype, struct buf *b)
{
	const char *ip = ethertype == ETH_P_IPV6 ? "ip6" : "ip",
		   *not = m->op == FW_OP_NE ? " !" : "";
	unsigned int lo = (unsigned int)m->lo.bytes[0] << 8 | m->lo.bytes[1];
	unsigned int hi = (unsigned int)m->hi.bytes[0] << 8 | m->hi.bytes[1];

	if (m->fields[0] == FW_L4PROTO)
		buf_addf(b, "%s --%s-proto %u", not, ip, m->lo.bytes[0]);
	else
		buf_addf(b, "%s --%s-%s %u:%u", not, ip,
			 m->fields[0] == FW_SPORT ? "sport" : "dport", lo, hi);
	return 0;
}

static int print_match(struct writer *w, const struct fw_rule *r, const struct fw_match *m,
		       uint16_t ethertype, struct buf *b)
{
	enum fw_field f = m->fields[0];

	if (f == FW_L4PROTO || f == FW_SPORT || f == FW_DPORT)
		return print_l4(m, ethertype, b);
	if (f == FW_ETHER_TYPE && m->op == FW_OP_EQ)
		return 0; /* printed already, with all that imply one */
	if (!options[f] || (m->op != FW_OP_EQ && m->op != FW_OP_NE))
		return unsupported(w, r);
	if (fw_field_info(f)->l4proto && f != FW_ND_TARGET)
		buf_addf(b, " --%s-proto %u", ethertype == ETH_P_IPV6 ? "ip6" : "ip",
			 fw_field_info(f)->l4proto);
	buf_addf(b, "%s %s ", m->op == FW_OP_NE ? " !" : "", options[f]);
	print_value(f, &m->lo, b);
	return 0;
}

/* ---- Sets ---- */

static bool is_set_op(enum fw_op op)
{
	return op == FW_OP_IN || op == FW_OP_NOT_IN;
}

/* "port_mac." */
static void set_prefix(const struct fw_table *t, const char *set, char prefix[IPT_NAME_MAX])
{
	char room[IPT_NAME_MAX], fitted[SET_NAME_MAX + 1];
	size_t max;

	/* What the name of a chain leaves after its prefix, which depends on the table. */
	ipt_chain_name(t, "", room);
	max = IPT_NAME_MAX - 1 - strlen(room) - SUFFIX_MAX;
	ipt_fit(fitted, MIN((size_t)SET_NAME_MAX, max), set);
	snprintf(prefix, IPT_NAME_MAX, "%s.", fitted);
}

static void set_chain_name(struct writer *w, const struct fw_match *m, char name[IPT_NAME_MAX])
{
	char prefix[IPT_NAME_MAX], inner[2 * IPT_NAME_MAX], letters[FW_KEY_FIELDS + 1] = "";

	set_prefix(w->t, m->set->name, prefix);
	for (size_t i = 0; i < m->n_fields; i++)
		letters[i] = (char)('a' + (int)m->fields[i]);
	static_assert('a' + FW_ND_TARGET <= 'z', "a letter for each field of a frame");
	snprintf(inner, sizeof(inner), "%s%u%c%s", prefix, ++w->n_matches,
		 m->op == FW_OP_IN ? '+' : '-', letters);
	ipt_chain_name(w->t, inner, name);
}

/* The rules of a set's chain: its elements, and how it ends. */
static void print_elem(const enum fw_field fields[], size_t n, const struct fw_elem *e,
		       struct buf *b)
{
	uint16_t ethertype = 0;

	for (size_t i = 0; i < n; i++)
		if (fw_field_info(fields[i])->ethertype)
			ethertype = fw_field_info(fields[i])->ethertype;
	print_ethertype(ethertype, b);
	for (size_t i = 0; i < n; i++) {
		buf_addf(b, " %s ", options[fields[i]]);
		print_value(fields[i], &e->lo[i], b);
	}
}

static void print_set_chain(const char *name, enum fw_op op, const enum fw_field fields[], size_t n,
			    const struct fw_elem *elems, size_t n_elems, struct buf *b)
{
	for (size_t i = 0; i < n_elems; i++) {
		buf_addf(b, "-A %s", name);
		print_elem(fields, n, &elems[i], b);
		if (op == FW_OP_IN)
			buf_addf(b, " -j %s!\n", name);
		else
			buf_adds(b, " -j RETURN\n");
	}
	if (op == FW_OP_NOT_IN)
		buf_addf(b, "-A %s -j %s!\n", name, name);
}

static bool is_expressible(const struct fw_match *m)
{
	for (size_t i = 0; i < m->n_fields; i++)
		if (!options[m->fields[i]])
			return false;
	return !m->set->interval;
}

/* Chains for one match with a set, after which a packet comes to target; *ret_name: their entry. */
static int write_set(struct writer *w, const struct fw_rule *r, const struct fw_match *m,
		     const char *target, char ret_name[IPT_NAME_MAX])
{
	char then[IPT_NAME_MAX + 1];
	bool is_verdict = !strcmp(target, "ACCEPT") || !strcmp(target, "DROP");

	if (!is_expressible(m))
		return unsupported(w, r);
	set_chain_name(w, m, ret_name);
	snprintf(then, sizeof(then), "%s!", ret_name);
	declare(w, ret_name, "RETURN");
	declare(w, then, is_verdict ? target : "RETURN");
	print_set_chain(ret_name, m->op, m->fields, m->n_fields, m->set->elems, m->set->n_elems,
			&w->rules);
	if (!is_verdict)
		buf_addf(&w->rules, "-A %s -j %s\n", then, target);
	return 0;
}

/* ---- Rules and chains ---- */

static const char *verdict_target(const struct fw_chain *c, const struct fw_rule *r, bool nested)
{
	switch (r->verdict) {
	case FW_ACCEPT:
		return c->hook && !nested ? "RETURN" : "ACCEPT";
	case FW_DROP:
		return "DROP";
	case FW_RETURN:
		return nested ? NULL : "RETURN";
	case FW_TAKE:
		return nested ? NULL : "redirect --redirect-target CONTINUE";
	case FW_JUMP:
	case FW_VMAP:
	case FW_MASQUERADE:
	case FW_SET_MARK:
	case FW_SET_CT_MARK:
	case FW_REJECT:
	case FW_CLAMP_MSS:
	case FW_DNAT:
	case FW_DNAT_MAP:
	case FW_NUM_VERDICTS:
		break;
	}
	return NULL;
}

static size_t count_sets(const struct fw_rule *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_matches; i++)
		n += is_set_op(r->match[i].op);
	return n;
}

static int rule_target(struct writer *w, const struct fw_chain *c, const struct fw_rule *r,
		       char target[TARGET_MAX])
{
	const char *verdict = verdict_target(c, r, count_sets(r) > 0);
	int result = 0;

	if (r->verdict == FW_JUMP)
		ipt_chain_name(w->t, r->target->name, target);
	else if (verdict)
		snprintf(target, TARGET_MAX, "%s", verdict);
	else
		return unsupported(w, r);
	/* From the last set to the first, each leads to what was built before. */
	for (size_t i = r->n_matches; i-- > 0 && !result;) {
		char entry[IPT_NAME_MAX];

		if (!is_set_op(r->match[i].op))
			continue;
		result = write_set(w, r, &r->match[i], target, entry);
		if (!result)
			memcpy(target, entry, sizeof(entry));
	}
	return result;
}

static int write_line(struct writer *w, const struct fw_chain *c, const struct fw_rule *r,
		      uint16_t ethertype, const char *target)
{
	_buf_ struct buf line = {0};
	char name[IPT_NAME_MAX];
	int result = 0;

	print_ethertype(ethertype, &line);
	for (size_t i = 0; i < r->n_matches && !result; i++)
		if (!is_set_op(r->match[i].op))
			result = print_match(w, r, &r->match[i], ethertype, &line);
	if (result)
		return result;
	ipt_chain_name(w->t, c->name, name);
	buf_addf(&w->rules, "-A %s%s -j %s\n", name, line.len ? line.data : "", target);
	return 0;
}

static int write_rule(struct writer *w, const struct fw_chain *c, const struct fw_rule *r)
{
	struct fw_protocols p = fw_rule_protocols(r);
	char target[TARGET_MAX];
	int result = rule_target(w, c, r, target);

	if (result)
		return result;
	if (p.ethertype || !p.l4proto)
		return write_line(w, c, r, p.ethertype, target);
	/* ebtables asks for the protocol of either IP. */
	result = write_line(w, c, r, ETH_P_IP, target);
	return result ? result : write_line(w, c, r, ETH_P_IPV6, target);
}

static bool is_in_table(const struct fw_table *t, const struct fw_chain *c, const char *table)
{
	if (c->hook)
		return !strcmp(hooks[c->hook].table, table);
	for (const struct fw_chain *from = t->chains; from; from = from->next)
		for (const struct fw_rule *r = from->rules; r; r = r->next)
			if (r->verdict == FW_JUMP && r->target == c && is_in_table(t, from, table))
				return true;
	return false;
}

static int write_chain(struct writer *w, const struct fw_chain *c)
{
	char name[IPT_NAME_MAX];
	int r = 0;

	ipt_chain_name(w->t, c->name, name);
	declare(w, name, c->hook && c->policy == FW_DROP ? "DROP" : "RETURN");
	for (const struct fw_rule *rule = c->rules; rule && !r; rule = rule->next)
		r = write_rule(w, c, rule);
	return r;
}

static bool is_wanted(const struct writer *w, const char *name, size_t len)
{
	for (size_t i = 0; i < w->wanted.n; i++)
		if (strlen(w->wanted.v[i]) == len && !memcmp(w->wanted.v[i], name, len))
			return true;
	return false;
}

static void write_jumps(const struct writer *w, const char *listing, struct buf *out)
{
	char name[IPT_NAME_MAX];

	for (const struct fw_chain *c = w->t->chains; c; c = c->next) {
		if (!c->hook || strcmp(hooks[c->hook].table, w->table) != 0 || !w->wanted.n)
			continue;
		ipt_chain_name(w->t, c->name, name);
		if (!save_has_jump(listing, w->table, hooks[c->hook].chain, name))
			buf_addf(out, "-I %s 1 -j %s\n", hooks[c->hook].chain, name);
	}
}

/* Chains of ours that are there and should not be: emptied, unhooked, deleted. */
static void write_removal(const struct writer *w, const char *listing, struct buf *out)
{
	_buf_ struct buf unhook = {0}, delete = {0};
	struct save_line l = {.next = listing};

	while (save_next(&l)) {
		size_t len = 0;
		const char *target = save_target(&l, &len);

		if (strcmp(l.table, w->table) != 0)
			continue;
		if (*l.text == ':' && ipt_chain_of(w->t, l.chain, l.chain_len) &&
		    !is_wanted(w, l.chain, l.chain_len)) {
			buf_addf(out, ":%.*s RETURN\n", (int)l.chain_len, l.chain);
			buf_addf(&delete, "-X %.*s\n", (int)l.chain_len, l.chain);
		} else if (target && ipt_chain_of(w->t, target, len) &&
			   !is_wanted(w, target, len) &&
			   !ipt_chain_of(w->t, l.chain, l.chain_len)) {
			buf_addf(&unhook, "-D%.*s\n", (int)(l.len - 2), l.text + 2);
		}
	}
	if (unhook.len)
		buf_adds(out, unhook.data);
	if (delete.len)
		buf_adds(out, delete.data);
}

static int write_table(const struct fw_table *t, const char *table, const char *listing,
		       bool with_content, struct buf *out, struct err *err)
{
	_cleanup_(writer_done) struct writer w = {.t = t, .table = table, .err = err};
	_buf_ struct buf tail = {0};
	int r = 0;

	for (const struct fw_chain *c = t->chains; c && with_content && !r; c = c->next)
		if (is_in_table(t, c, table))
			r = write_chain(&w, c);
	if (r)
		return r;
	write_removal(&w, listing, &tail);
	if (!w.declare.len && !tail.len)
		return 0;
	buf_addf(out, "*%s\n", table);
	if (w.declare.len)
		buf_adds(out, w.declare.data);
	if (w.rules.len)
		buf_adds(out, w.rules.data);
	write_jumps(&w, listing, out);
	if (tail.len)
		buf_adds(out, tail.data);
	return 0;
}

static bool is_bridge(const struct fw_table *t)
{
	return t->family == FW_BRIDGE;
}

static int write_all(const struct ruleset *rs, const char *listing, bool with_content,
		     struct buf *out, struct err *err)
{
	int r = 0;

	for (const struct fw_table *t = rs->tables; t && !r; t = t->next)
		for (size_t i = 0; i < ARRAY_SIZE(tables) && is_bridge(t) && !r; i++)
			r = write_table(t, tables[i], listing, with_content, out, err);
	return r;
}

static int carry_out(struct netns *ns, const struct buf *text, struct err *err)
{
	if (!text->len)
		return 0;
	text_log(ns, "ebtables-restore: ", text);
	return oplog_dry(ns->log) ? 0 : restore_run(ns, restore_argv, text, err);
}

static int read_listing(struct netns *ns, struct buf *ret, struct err *err)
{
	return oplog_dry(ns->log) ? 0 : save_run(ns, "ebtables-save", ret, err);
}

static int replace(struct netns *ns, const struct ruleset *rs, bool with_content, struct err *err)
{
	_buf_ struct buf listing = {0}, text = {0};
	int r = read_listing(ns, &listing, err);

	if (!r)
		r = write_all(rs, listing.data, with_content, &text, err);
	return r ? r : carry_out(ns, &text, err);
}

int ebtables_apply(struct netns *ns, const struct ruleset *rs, struct err *err)
{
	int r = ebtables_nd_apply(ns, rs, err);

	return r ? r : replace(ns, rs, true, err);
}

int ebtables_remove(struct netns *ns, const struct ruleset *rs, struct err *err)
{
	int r;

	for (const struct fw_table *t = rs->tables; t; t = t->next)
		if (is_bridge(t))
			oplog_add(ns->log, ns->name,
				  "ebtables-restore: remove the chains of table %s", t->name);
	r = replace(ns, rs, false, err);
	return r ? r : ebtables_nd_remove(ns, rs, err);
}

/* ---- Changing elements: the chain is read back, changed and written anew ---- */

struct set_chain {
	char name[IPT_NAME_MAX];
	enum fw_op op;
	enum fw_field fields[FW_KEY_FIELDS];
	size_t n_fields;
	struct fw_elem *elems;
	size_t n;
};

/* Whether the chain is one of those of a set of this name, and its parts. */
static bool parse_chain(const struct fw_table *t, const struct fw_set *s, const char *name,
			size_t len, struct set_chain *ret)
{
	char prefix[IPT_NAME_MAX], full[IPT_NAME_MAX];
	size_t skip;

	set_prefix(t, s->name, prefix);
	ipt_chain_name(t, prefix, full);
	skip = strlen(full);
	if (len >= sizeof(ret->name) || len < skip || memcmp(name, full, skip) != 0)
		return false;
	skip += strspn(name + skip, "0123456789");
	if (len != skip + 1 + s->n_fields || (name[skip] != '+' && name[skip] != '-'))
		return false;
	*ret = (struct set_chain){.op = name[skip] == '+' ? FW_OP_IN : FW_OP_NOT_IN,
				  .n_fields = s->n_fields};
	memcpy(ret->name, name, len);
	for (size_t i = 0; i < s->n_fields; i++) {
		int f = name[skip + 1 + i] - 'a';

		if (f < 0 || f >= FW_NUM_FIELDS || !options[f])
			return false;
		ret->fields[i] = (enum fw_field)f;
	}
	return true;
}

static bool parse_mac(const char *text, struct fw_value *ret)
{
	unsigned int b[6];

	/* Leading zeros may be missing. */
	if (sscanf(text, "%x:%x:%x:%x:%x:%x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
		return false;
	for (size_t i = 0; i < 6; i++)
		ret->bytes[i] = (uint8_t)b[i];
	return true;
}

static bool parse_value(enum fw_field f, const char *text, struct fw_value *ret)
{
	struct ip ip;

	*ret = (struct fw_value){0};
	switch (fw_field_info(f)->format) {
	case FW_FORMAT_NAME:
		return str_copy((char *)ret->bytes, sizeof(ret->bytes), text) == 0;
	case FW_FORMAT_MAC:
		return parse_mac(text, ret);
	case FW_FORMAT_IP4:
	case FW_FORMAT_IP6:
		if (ip_parse(text, &ip, NULL) || ip_len(ip.family) != fw_field_len(f))
			return false;
		memcpy(ret->bytes, ip.bytes, ip_len(ip.family));
		return true;
	case FW_FORMAT_U8:
	case FW_FORMAT_U32:
	case FW_FORMAT_CGROUP:
	case FW_FORMAT_MARK:
	case FW_FORMAT_CT_STATE:
	case FW_FORMAT_CT_STATUS:
	case FW_FORMAT_PORT:
	case FW_FORMAT_ETHERTYPE:
		break;
	}
	return false;
}

/* The argument of an option on the line, cut at a mask. */
static bool option_value(const struct save_line *l, const char *option, char *ret, size_t size)
{
	_free_ char *line = strndup(l->text, l->len);
	char *rest = line, *word;
	bool next = false;

	while (line && (word = strsep(&rest, " "))) {
		if (next) {
			word[strcspn(word, "/")] = '\0';
			return str_copy(ret, size, word) == 0;
		}
		next = !strcmp(word, option);
	}
	return false;
}

static bool parse_elem(const struct set_chain *c, const struct save_line *l, struct fw_elem *ret)
{
	char text[64];

	*ret = (struct fw_elem){0};
	for (size_t i = 0; i < c->n_fields; i++) {
		if (!option_value(l, options[c->fields[i]], text, sizeof(text)) ||
		    !parse_value(c->fields[i], text, &ret->lo[i]))
			return false;
		ret->hi[i] = ret->lo[i];
	}
	return true;
}

static size_t find_elem(const struct set_chain *c, const struct fw_elem *e)
{
	size_t i = 0;

	while (i < c->n && memcmp(c->elems[i].lo, e->lo, c->n_fields * sizeof(*e->lo)) != 0)
		i++;
	return i;
}

static void chain_add(struct set_chain *c, const struct fw_elem *e)
{
	if (find_elem(c, e) < c->n)
		return;
	c->elems = xrealloc(c->elems, c->n + 1, sizeof(*c->elems));
	c->elems[c->n++] = *e;
}

static void chain_del(struct set_chain *c, const struct fw_elem *e)
{
	size_t i = find_elem(c, e);

	if (i < c->n)
		c->elems[i] = c->elems[--c->n];
}

static void chain_read(struct set_chain *c, const char *table, const char *listing)
{
	struct save_line l = {.next = listing};
	struct fw_elem e;

	while (save_next(&l))
		if (*l.text == '-' && !strcmp(l.table, table) && strlen(c->name) == l.chain_len &&
		    !memcmp(l.chain, c->name, l.chain_len) && parse_elem(c, &l, &e))
			chain_add(c, &e);
}

/* The set of this name in the same table of rs, or NULL. */
static const struct fw_set *find_set(const struct ruleset *rs, const struct fw_table *t,
				     const char *name)
{
	for (const struct fw_table *o = rs->tables; o; o = o->next)
		for (const struct fw_set *s = o->sets;
		     s && is_bridge(o) && !strcmp(o->name, t->name); s = s->next)
			if (!strcmp(s->name, name))
				return s;
	return NULL;
}

static void update_chain(struct set_chain *c, const char *table, const char *listing,
			 const struct fw_set *add, const struct fw_set *del, struct buf *out)
{
	chain_read(c, table, listing);
	for (size_t i = 0; del && i < del->n_elems; i++)
		chain_del(c, &del->elems[i]);
	for (size_t i = 0; add && i < add->n_elems; i++)
		chain_add(c, &add->elems[i]);
	buf_addf(out, "*%s\n:%s RETURN\n", table, c->name);
	print_set_chain(c->name, c->op, c->fields, c->n_fields, c->elems, c->n, out);
	free(c->elems);
}

/* Every chain of the set, in whichever table it is. */
static void update_set(const struct fw_table *t, const struct fw_set *add, const struct fw_set *del,
		       const char *listing, struct buf *out)
{
	struct save_line l = {.next = listing};
	struct set_chain c;

	while (save_next(&l))
		if (*l.text == ':' && parse_chain(t, add ? add : del, l.chain, l.chain_len, &c))
			update_chain(&c, l.table, listing, add, del, out);
}

static void update_sets(const struct ruleset *rs, const struct ruleset *add,
			const struct ruleset *del, const char *listing, struct buf *out)
{
	for (const struct fw_table *t = rs->tables; t; t = t->next) {
		for (const struct fw_set *s = t->sets; s && is_bridge(t); s = s->next) {
			const struct fw_set *a = find_set(add, t, s->name),
					    *d = find_set(del, t, s->name);

			if (rs == add || !a) /* one that is in both is done with add */
				update_set(t, a, d, listing, out);
		}
	}
}

/* In a dry run there is no listing: the elements are shown alone. */
static void log_update(struct netns *ns, const struct ruleset *rs, const char *verb)
{
	for (const struct fw_table *t = rs->tables; t; t = t->next) {
		for (const struct fw_set *s = t->sets; s && is_bridge(t); s = s->next) {
			for (size_t i = 0; i < s->n_elems; i++) {
				_buf_ struct buf text = {0};

				text_elem(s, &s->elems[i], &text);
				oplog_add(ns->log, ns->name,
					  "ebtables-restore: %s %s in the chains of %s", verb,
					  text.data, s->name);
			}
		}
	}
}

int ebtables_update(struct netns *ns, const struct ruleset *add, const struct ruleset *del,
		    struct err *err)
{
	_buf_ struct buf listing = {0}, text = {0};
	int r;

	if (oplog_wants(ns->log)) {
		log_update(ns, del, "delete");
		log_update(ns, add, "add");
	}
	if (oplog_dry(ns->log))
		return 0;
	r = ebtables_nd_update(ns, add, del, err);
	if (!r)
		r = read_listing(ns, &listing, err);
	if (r)
		return r;
	update_sets(add, add, del, listing.data, &text);
	update_sets(del, add, del, listing.data, &text);
	return text.len ? restore_run(ns, restore_argv, &text, err) : 0;
}

/* ---- Verifying ---- */

/* The chains of sets, "NAME.N+letters", hold rules that have no order. */
static bool is_set_chain(const char *chain, size_t len)
{
	return memchr(chain, '.', len) && chain[len - 1] != '!';
}

int ebtables_verify(struct netns *ns, struct netns *scratch, const struct ruleset *rs,
		    struct err *err)
{
	_buf_ struct buf want = {0}, got = {0};
	int r = ebtables_nd_verify(ns, rs, err);

	if (!r)
		r = replace(scratch, rs, true, err);
	if (!r)
		r = save_run(scratch, "ebtables-save", &want, err);
	if (!r)
		r = save_run(ns, "ebtables-save", &got, err);
	for (const struct fw_table *t = rs->tables; t && !r; t = t->next) {
		_lines_ struct lines a = {0}, b = {0};

		if (!is_bridge(t))
			continue;
		save_lines_of(t, want.data, is_set_chain, &a);
		save_lines_of(t, got.data, is_set_chain, &b);
		r = lines_compare("ebtables", &a, &b, err);
	}
	return r;
}
