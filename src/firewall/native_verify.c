// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * Verifying writes the batch that would make the tables, without sending it, and asks the kernel
 * for what it holds. Both are the same kind of messages with the same attributes, so that they
 * are compared as bytes: each attribute that we would send must be in the answer with the same
 * value.
 *
 * Invariants:
 *  1. An attribute that only one side has must be zero, which is what its absence means; but at the
 *     top of its message the kernel may put more: counters, handles and the like.
 *  2. Rules are compared in order; chains and sets by name; elements as sorted arrays, since the
 *     kernel lists them in the order of its data structure.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "firewall/native.h"
#include "firewall/text.h"
#include "kernel/netns.h"
#include "kernel/nft.h"

#define NFGENMSG_LEN 4
#define RETRIES 8 /* of a dump that a change elsewhere interrupted */

/* Attributes, one after the other. */
struct span {
	const char *at, *end;
};

static struct span payload_of(const struct nlattr *attr)
{
	const char *at = mnl_attr_get_payload(attr);

	return (struct span){at, at + mnl_attr_get_payload_len(attr)};
}

static struct span attrs_of(const struct nlmsghdr *nlh)
{
	return (struct span){mnl_nlmsg_get_payload_offset(nlh, NFGENMSG_LEN),
			     mnl_nlmsg_get_payload_tail(nlh)};
}

/* Takes the first attribute off the span; NULL at its end. */
static const struct nlattr *next_attr(struct span *s)
{
	const struct nlattr *attr = (const void *)s->at;

	if (s->at >= s->end || !mnl_attr_ok(attr, (int)(s->end - s->at)))
		return NULL;
	s->at = (const char *)mnl_attr_next(attr);
	return attr;
}

static const struct nlattr *find_attr(struct span s, uint16_t type)
{
	const struct nlattr *attr;

	while ((attr = next_attr(&s)))
		if (mnl_attr_get_type(attr) == type)
			return attr;
	return NULL;
}

static const char *find_str(const struct nlmsghdr *nlh, uint16_t type)
{
	const struct nlattr *attr = find_attr(attrs_of(nlh), type);

	return attr && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0 ? mnl_attr_get_str(attr)
									 : "";
}

static bool is_zero(struct span s)
{
	for (; s.at < s.end; s.at++)
		if (*s.at)
			return false;
	return true;
}

static bool covers(struct span sent, struct span got);

static bool attr_equal(const struct nlattr *sent, const struct nlattr *got)
{
	if (sent->nla_type & NLA_F_NESTED)
		return covers(payload_of(sent), payload_of(got));
	return mnl_attr_get_payload_len(sent) == mnl_attr_get_payload_len(got) &&
	       !memcmp(mnl_attr_get_payload(sent), mnl_attr_get_payload(got),
		       mnl_attr_get_payload_len(sent));
}

/* Takes attributes off both spans as long as they are in the same order and equal: the whole of a
 * list of expressions, and most of everything else. */
static bool covers_list(struct span sent, struct span got)
{
	const struct nlattr *s, *g;

	for (;;) {
		s = next_attr(&sent);
		g = next_attr(&got);
		if (!s || !g)
			return s == g;
		if (mnl_attr_get_type(g) != NFTA_LIST_ELEM || !attr_equal(s, g))
			return false;
	}
}

/* Whether got says all that sent says, and beyond that only zeros. */
static bool covers(struct span sent, struct span got)
{
	struct span rest = sent;
	const struct nlattr *attr, *twin = next_attr(&rest);

	/* NFTA_LIST_ELEM is 1, as is the first attribute of many a nest: a list repeats it. */
	if (twin && mnl_attr_get_type(twin) == NFTA_LIST_ELEM && twin->nla_type & NLA_F_NESTED)
		return covers_list(sent, got);
	for (rest = sent; (attr = next_attr(&rest));) {
		twin = find_attr(got, mnl_attr_get_type(attr));
		if (twin ? !attr_equal(attr, twin) : !is_zero(payload_of(attr)))
			return false;
	}
	for (rest = got; (attr = next_attr(&rest));)
		if (!find_attr(sent, mnl_attr_get_type(attr)) && !is_zero(payload_of(attr)))
			return false;
	return true;
}

/* At the top of a message the kernel may say more. skip: what only requests have. */
static bool message_matches(const struct nlmsghdr *sent, const struct nlmsghdr *got, uint16_t skip)
{
	struct span rest = attrs_of(sent);
	const struct nlattr *attr, *twin;

	while ((attr = next_attr(&rest))) {
		if (mnl_attr_get_type(attr) == skip)
			continue;
		twin = find_attr(attrs_of(got), mnl_attr_get_type(attr));
		if (twin ? !attr_equal(attr, twin) : !is_zero(payload_of(attr)))
			return false;
	}
	return true;
}

/* What makes elements the same, in a form that memcmp() can order. */
struct elem {
	uint8_t key[NATIVE_KEY_MAX], end[NATIVE_KEY_MAX];
	uint32_t flags, verdict;
	uint8_t target[NATIVE_TARGET_MAX];
};

struct elems {
	struct elem *v;
	size_t n, cap;
};

/* One table under verification. */
struct check {
	struct netns *ns;
	const struct fw_table *table;
	const struct nft_batch *want; /* messages that would make it */
	struct err *err;
	/* of the dump at hand */
	const struct nlmsghdr *next_rule;
	size_t n_seen;
	struct elems got;
};

static int stale(struct check *c, const char *what, const char *name, const char *how)
{
	return err_set(c->err, ERR_FAILED, -ESTALE, "%s %s %s%s%s %s", what,
		       text_family(c->table->family), c->table->name, *name ? " " : "", name, how);
}

static const struct nlmsghdr *next_of_type(const struct check *c, const struct nlmsghdr *m,
					   int type)
{
	while ((m = nft_batch_next(c->want, m)))
		if (nft_msg_type(m) == type)
			return m;
	return NULL;
}

static const struct nlmsghdr *find_named(const struct check *c, int type, uint16_t attr,
					 const char *name)
{
	const struct nlmsghdr *m = NULL;

	while ((m = next_of_type(c, m, type)))
		if (!strcmp(find_str(m, attr), name))
			return m;
	return NULL;
}

static int check_table(const struct nlmsghdr *got, void *arg)
{
	struct check *c = arg;
	const struct nlmsghdr *want = next_of_type(c, NULL, NFT_MSG_NEWTABLE);

	return message_matches(want, got, 0) ? 0 : stale(c, "table", "", "is dormant or not ours");
}

static int check_chain(const struct nlmsghdr *got, void *arg)
{
	struct check *c = arg;
	const char *name = find_str(got, NFTA_CHAIN_NAME);
	const struct nlmsghdr *want;

	if (strcmp(find_str(got, NFTA_CHAIN_TABLE), c->table->name))
		return 0; /* a dump of chains takes no filter */
	want = find_named(c, NFT_MSG_NEWCHAIN, NFTA_CHAIN_NAME, name);
	if (!want)
		return stale(c, "chain", name, "is not ours");
	if (!message_matches(want, got, 0))
		return stale(c, "chain", name, "has another hook, priority or policy");
	c->n_seen++;
	return 0;
}

static const struct fw_rule *nth_rule(const struct fw_table *t, size_t n,
				      const struct fw_chain **ret_chain)
{
	for (const struct fw_chain *c = t->chains; c; c = c->next) {
		for (const struct fw_rule *r = c->rules; r; r = r->next) {
			if (n-- == 0) {
				*ret_chain = c;
				return r;
			}
		}
	}
	return NULL;
}

static int stale_rule(struct check *c, size_t n)
{
	_buf_ struct buf text = {0};
	const struct fw_chain *chain = NULL;
	const struct fw_rule *r = nth_rule(c->table, n, &chain);

	text_rule(r, TEXT_PLAIN, &text);
	return err_set(c->err, ERR_FAILED, -ESTALE,
		       "chain %s %s %s: rule \"%s\" is missing, changed or not in its place",
		       text_family(c->table->family), c->table->name, chain->name, text.data);
}

static int check_rule(const struct nlmsghdr *got, void *arg)
{
	struct check *c = arg;

	if (!c->next_rule)
		return stale(c, "chain", find_str(got, NFTA_RULE_CHAIN),
			     "has a rule that is not ours");
	if (!message_matches(c->next_rule, got, 0))
		return stale_rule(c, c->n_seen);
	c->next_rule = next_of_type(c, c->next_rule, NFT_MSG_NEWRULE);
	c->n_seen++;
	return 0;
}

static int check_set(const struct nlmsghdr *got, void *arg)
{
	struct check *c = arg;
	const char *name = find_str(got, NFTA_SET_NAME);
	const struct nlmsghdr *want = find_named(c, NFT_MSG_NEWSET, NFTA_SET_NAME, name);

	if (!want)
		return stale(c, "set", name, "is not ours");
	if (!message_matches(want, got, NFTA_SET_ID))
		return stale(c, "set", name, "has another type");
	c->n_seen++;
	return 0;
}

static void read_value(struct span elem, uint16_t type, uint8_t *ret, uint16_t max)
{
	const struct nlattr *attr = find_attr(elem, type);
	const struct nlattr *value = attr ? find_attr(payload_of(attr), NFTA_DATA_VALUE) : NULL;

	if (value)
		memcpy(ret, mnl_attr_get_payload(value), MIN(mnl_attr_get_payload_len(value), max));
}

static uint32_t read_u32(struct span s, uint16_t type)
{
	const struct nlattr *attr = find_attr(s, type);

	return attr && mnl_attr_get_payload_len(attr) == 4 ? ntohl(mnl_attr_get_u32(attr)) : 0;
}

static uint32_t read_verdict(struct span elem)
{
	const struct nlattr *data = find_attr(elem, NFTA_SET_ELEM_DATA);
	const struct nlattr *verdict = data ? find_attr(payload_of(data), NFTA_DATA_VERDICT) : NULL;

	return verdict ? read_u32(payload_of(verdict), NFTA_VERDICT_CODE) : 0;
}

static void read_elem(struct span attrs, struct elems *to)
{
	struct elem *e;

	if (to->n == to->cap) {
		to->cap = MAX((size_t)32, to->cap * 2);
		to->v = xrealloc(to->v, to->cap, sizeof(*to->v));
	}
	e = &to->v[to->n++];
	*e = (struct elem){.flags = read_u32(attrs, NFTA_SET_ELEM_FLAGS),
			   .verdict = read_verdict(attrs)};
	read_value(attrs, NFTA_SET_ELEM_KEY, e->key, NATIVE_KEY_MAX);
	read_value(attrs, NFTA_SET_ELEM_KEY_END, e->end, NATIVE_KEY_MAX);
	read_value(attrs, NFTA_SET_ELEM_DATA, e->target, NATIVE_TARGET_MAX);
}

static void read_elems(const struct nlmsghdr *nlh, struct elems *to)
{
	const struct nlattr *list = find_attr(attrs_of(nlh), NFTA_SET_ELEM_LIST_ELEMENTS), *attr;
	struct span rest;

	if (!list)
		return;
	for (rest = payload_of(list); (attr = next_attr(&rest));)
		read_elem(payload_of(attr), to);
}

static int check_elems(const struct nlmsghdr *got, void *arg)
{
	struct check *c = arg;

	read_elems(got, &c->got);
	return 0;
}

static int elem_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct elem));
}

static void key_values(const struct fw_set *s, const uint8_t *key, struct fw_value values[])
{
	for (size_t i = 0; i < s->n_fields; i++) {
		size_t len = fw_field_len(s->fields[i]);

		memcpy(values[i].bytes, key, len);
		key += (len + 3) & ~(size_t)3;
	}
}

static struct fw_target target_of(const struct fw_set *s, const struct elem *e)
{
	struct fw_target to = {.addr.family = s->dnat_family};
	size_t len = s->dnat_family ? ip_len(s->dnat_family) : 0;

	memcpy(to.addr.bytes, e->target, len);
	to.port = (uint16_t)(e->target[len] << 8 | e->target[len + 1]);
	return to;
}

static int stale_elem(struct check *c, const struct fw_set *s, const struct elem *e,
		      const char *how)
{
	_buf_ struct buf text = {0};
	struct fw_elem shown = {.verdict = e->verdict == NF_ACCEPT ? FW_ACCEPT
					   : e->verdict == NF_DROP ? FW_DROP
								   : FW_RETURN,
				.to = target_of(s, e)};

	key_values(s, e->key, shown.lo);
	key_values(s, s->interval && s->n_fields > 1 ? e->end : e->key, shown.hi);
	text_elem(s, &shown, &text);
	return err_set(c->err, ERR_FAILED, -ESTALE, "set %s %s %s: %s %s %s",
		       text_family(c->table->family), c->table->name, s->name,
		       e->flags & NFT_SET_ELEM_INTERVAL_END ? "the end of a range at" : "element",
		       text.data, how);
}

/* Both sorted: the first that only one of them has. */
static int compare_elems(struct check *c, const struct fw_set *s, const struct elems *want,
			 const struct elems *got)
{
	for (size_t i = 0; i < want->n || i < got->n; i++) {
		int order;

		if (i == want->n)
			return stale_elem(c, s, &got->v[i], "is not ours");
		if (i == got->n)
			return stale_elem(c, s, &want->v[i], "is missing");
		order = elem_cmp(&want->v[i], &got->v[i]);
		if (order < 0)
			return stale_elem(c, s, &want->v[i], "is missing");
		if (order > 0)
			return stale_elem(c, s, &got->v[i], "is not ours");
	}
	return 0;
}

/* Of a sorted array; adding an element twice is no more than adding it. */
static void drop_duplicates(struct elems *e)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n; i++)
		if (!n || elem_cmp(&e->v[n - 1], &e->v[i]))
			e->v[n++] = e->v[i];
	e->n = n;
}

static void want_elems(const struct check *c, const struct fw_set *s, struct elems *to)
{
	const struct nlmsghdr *m = NULL;

	while ((m = next_of_type(c, m, NFT_MSG_NEWSETELEM)))
		if (!strcmp(find_str(m, NFTA_SET_ELEM_LIST_SET), s->name))
			read_elems(m, to);
}

static int verify_elems(struct check *c, const struct fw_set *s)
{
	char buf[NFT_GET_ROOM];
	struct nlmsghdr *req =
		nft_get_init(buf, NFT_MSG_GETSETELEM, native_family(c->table->family), NLM_F_DUMP);
	struct elems want = {0};
	int r;

	mnl_attr_put_strz(req, NFTA_SET_ELEM_LIST_TABLE, c->table->name);
	mnl_attr_put_strz(req, NFTA_SET_ELEM_LIST_SET, s->name);
	c->got.n = 0;
	r = nft_get(c->ns, req, check_elems, c);
	if (!r) {
		want_elems(c, s, &want);
		if (want.n)
			qsort(want.v, want.n, sizeof(*want.v), elem_cmp);
		drop_duplicates(&want);
		if (c->got.n)
			qsort(c->got.v, c->got.n, sizeof(*c->got.v), elem_cmp);
		r = compare_elems(c, s, &want, &c->got);
	}
	free(want.v);
	return r;
}

/* One kind of objects of the table: dumped, filtered by table where filter says how. */
static int dump(struct check *c, int type, uint16_t filter, uint16_t flags,
		int (*fn)(const struct nlmsghdr *, void *))
{
	char buf[NFT_GET_ROOM];
	struct nlmsghdr *req = nft_get_init(buf, type, native_family(c->table->family), flags);

	c->n_seen = 0;
	if (filter)
		mnl_attr_put_strz(req, filter, c->table->name);
	return nft_get(c->ns, req, fn, c);
}

static int verify_chains(struct check *c)
{
	int r = dump(c, NFT_MSG_GETCHAIN, 0, NLM_F_DUMP, check_chain);

	for (const struct fw_chain *chain = c->table->chains; chain; chain = chain->next)
		c->n_seen--;
	return r ? r : c->n_seen ? stale(c, "table", "", "lacks a chain") : 0;
}

static int verify_rules(struct check *c)
{
	int r;

	c->next_rule = next_of_type(c, NULL, NFT_MSG_NEWRULE);
	r = dump(c, NFT_MSG_GETRULE, NFTA_RULE_TABLE, NLM_F_DUMP, check_rule);
	return r || !c->next_rule ? r : stale_rule(c, c->n_seen);
}

static int verify_sets(struct check *c)
{
	int r = dump(c, NFT_MSG_GETSET, NFTA_SET_TABLE, NLM_F_DUMP, check_set);

	for (const struct fw_set *s = c->table->sets; s; s = s->next)
		c->n_seen--;
	if (!r && c->n_seen)
		r = stale(c, "table", "", "lacks a set");
	for (const struct fw_set *s = c->table->sets; s && !r; s = s->next)
		r = verify_elems(c, s);
	return r;
}

static int verify_parts(struct check *c)
{
	int r = dump(c, NFT_MSG_GETTABLE, NFTA_TABLE_NAME, 0, check_table);

	if (r == -ENOENT)
		return stale(c, "table", "", "is missing");
	if (!r)
		r = verify_chains(c);
	if (!r)
		r = verify_rules(c);
	return r ? r : verify_sets(c);
}

static int verify_table(struct netns *ns, const struct fw_table *t, struct err *err)
{
	_nft_batch_ struct nft_batch want = {0};
	struct check c = {.ns = ns, .table = t, .want = &want, .err = err};
	int r = -EINTR;

	nft_batch_init(&want, ns);
	native_table_content(&want, t);
	for (int i = 0; r == -EINTR && i < RETRIES; i++)
		r = verify_parts(&c);
	free(c.got.v);
	if (r && r != -ESTALE)
		return err_errno(err, r, "cannot read table %s %s", text_family(t->family),
				 t->name);
	return r;
}

int native_verify(struct netns *ns, const struct ruleset *rs, struct err *err)
{
	int r = 0;

	for (const struct fw_table *t = rs->tables; t && !r; t = t->next)
		r = verify_table(ns, t, err);
	return r;
}
