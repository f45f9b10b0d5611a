// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * The native backend writes a ruleset as one nftables batch over our own netlink socket. Replacing
 * a table is: make sure that it exists, delete it, make it again with everything in it, all in the
 * same batch, so that packets meet either the old table or the new one.
 *
 * Deleting what may be gone is said in the same way: add it, then delete it. (NFT_MSG_DESTROY*
 * would say it in one message, but needs Linux 6.3.)
 *
 * Invariants:
 *  1. One call is one batch, thus one transaction.
 *  2. The messages of a ruleset come in the order of its lists; finding the rule or element behind
 *     a refused message, and verifying, count on that.
 *  3. A message carries every attribute that matters with its value, also where it is the
 *     default, since verifying asks the kernel for just these.
 *
 * Deliberately not done: changing a table in place. Rebuilding costs the same, and cannot drift.
 */
#include <assert.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "firewall/backend.h"
#include "firewall/native.h"
#include "firewall/text.h"
#include "kernel/netns.h"
#include "kernel/nft.h"
#include "kernel/oplog.h"

static const uint8_t families[] = {
	[FW_INET] = NFPROTO_INET,
	[FW_BRIDGE] = NFPROTO_BRIDGE,
};
static_assert(ARRAY_SIZE(families) == FW_NUM_FAMILIES, "one NFPROTO per enum fw_family");

/* enum nf_inet_hooks; enum nf_br_hooks has the same numbers */
static const uint8_t hooks[] = {
	[FW_HOOK_NONE] = 0,
	[FW_HOOK_PREROUTING] = NF_INET_PRE_ROUTING,
	[FW_HOOK_INPUT] = NF_INET_LOCAL_IN,
	[FW_HOOK_FORWARD] = NF_INET_FORWARD,
	[FW_HOOK_OUTPUT] = NF_INET_LOCAL_OUT,
	[FW_HOOK_POSTROUTING] = NF_INET_POST_ROUTING,
};
static_assert(ARRAY_SIZE(hooks) == FW_NUM_HOOKS, "one hook number per enum fw_hook");

uint8_t native_family(enum fw_family family)
{
	return families[family];
}

/* The bare table, which neither changes nor fails on one that is there. */
static void table_message(struct nft_batch *b, int type, const struct fw_table *t)
{
	struct nlmsghdr *nlh = nft_batch_add(b, type, families[t->family],
					     type == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0);

	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, t->name);
	nft_batch_end(b, nlh);
}

static int seen(const struct nlmsghdr *nlh, void *arg)
{
	(void)nlh;
	*(bool *)arg = true;
	return 0;
}

/* Only a table that is there: what a transaction deletes is freed after an RCU grace period, and
 * the kernel lets whoever closes the socket wait for that, some 10 ms. */
static int table_delete(struct nft_batch *b, const struct fw_table *t, struct err *err)
{
	char buf[NFT_GET_ROOM];
	struct nlmsghdr *nlh = nft_get_init(buf, NFT_MSG_GETTABLE, families[t->family], 0);
	bool there = false;
	int r;

	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, t->name);
	r = nft_get(b->ns, nlh, seen, &there);
	if (r && r != -ENOENT)
		return err_errno(err, r, "cannot look for table %s", t->name);
	if (!there)
		return 0;
	table_message(b, NFT_MSG_NEWTABLE, t); /* in case somebody deletes it meanwhile */
	table_message(b, NFT_MSG_DELTABLE, t);
	return 0;
}

static void table_add(struct nft_batch *b, const struct fw_table *t)
{
	static const char comment[] = {
		NFTNL_UDATA_TABLE_COMMENT, sizeof("byway"), 'b', 'y', 'w', 'a', 'y', '\0'};
	struct nlmsghdr *nlh =
		nft_batch_add(b, NFT_MSG_NEWTABLE, families[t->family], NLM_F_CREATE);
	struct nftnl_table *nlt = nftnl_table_alloc();

	assert(nlt);
	nftnl_table_set_str(nlt, NFTNL_TABLE_NAME, t->name);
	nftnl_table_set_u32(nlt, NFTNL_TABLE_FLAGS, 0);
	nftnl_table_set_data(nlt, NFTNL_TABLE_USERDATA, comment, sizeof(comment));
	nftnl_table_nlmsg_build_payload(nlh, nlt);
	nft_batch_end(b, nlh);
	nftnl_table_free(nlt);
}

static void chain_add(struct nft_batch *b, const struct fw_table *t, const struct fw_chain *c)
{
	struct nlmsghdr *nlh =
		nft_batch_add(b, NFT_MSG_NEWCHAIN, families[t->family], NLM_F_CREATE);
	struct nftnl_chain *nlc = nftnl_chain_alloc();

	assert(nlc);
	nftnl_chain_set_str(nlc, NFTNL_CHAIN_TABLE, t->name);
	nftnl_chain_set_str(nlc, NFTNL_CHAIN_NAME, c->name);
	if (c->hook) {
		nftnl_chain_set_str(nlc, NFTNL_CHAIN_TYPE, text_chain_type(c->type));
		nftnl_chain_set_u32(nlc, NFTNL_CHAIN_HOOKNUM, hooks[c->hook]);
		nftnl_chain_set_s32(nlc, NFTNL_CHAIN_PRIO, c->priority);
		nftnl_chain_set_u32(nlc, NFTNL_CHAIN_POLICY,
				    c->policy == FW_DROP ? NF_DROP : NF_ACCEPT);
	}
	nftnl_chain_nlmsg_build_payload(nlh, nlc);
	nft_batch_end(b, nlh);
	nftnl_chain_free(nlc);
}

static void rule_add(struct nft_batch *b, const struct fw_table *t, const struct fw_chain *c,
		     const struct fw_rule *r)
{
	struct nlmsghdr *nlh =
		nft_batch_add(b, NFT_MSG_NEWRULE, families[t->family], NLM_F_CREATE | NLM_F_APPEND);
	struct nftnl_rule *nlr = nftnl_rule_alloc();

	assert(nlr);
	nftnl_rule_set_str(nlr, NFTNL_RULE_TABLE, t->name);
	nftnl_rule_set_str(nlr, NFTNL_RULE_CHAIN, c->name);
	native_rule_exprs(nlr, t->family, r);
	nftnl_rule_nlmsg_build_payload(nlh, nlr);
	nft_batch_end(b, nlh);
	nftnl_rule_free(nlr);
}

void native_table_content(struct nft_batch *b, const struct fw_table *t)
{
	uint32_t id = 0;

	table_add(b, t);
	for (const struct fw_set *s = t->sets; s; s = s->next) {
		native_set_add(b, t, s, ++id);
		native_elems(b, NFT_MSG_NEWSETELEM, t, s);
	}
	for (const struct fw_chain *c = t->chains; c; c = c->next)
		chain_add(b, t, c);
	for (const struct fw_chain *c = t->chains; c; c = c->next)
		for (const struct fw_rule *r = c->rules; r; r = r->next)
			rule_add(b, t, c, r);
}

static int commit(struct nft_batch *b, const struct ruleset *rs, struct err *err)
{
	struct nft_failure failure;
	int r = nft_batch_commit(b, &failure);

	return r ? native_error(rs, b, &failure, err) : 0;
}

static int probe_answer(const struct nlmsghdr *nlh, void *arg)
{
	(void)nlh, (void)arg;
	return 0;
}

static int native_probe(struct netns *ns, struct err *err)
{
	char buf[NFT_GET_ROOM];
	int r = nft_get(ns, nft_get_init(buf, NFT_MSG_GETGEN, AF_UNSPEC, 0), probe_answer, NULL);

	if (r == -EPERM && oplog_dry(ns->log))
		return 0; /* showing what would be done is nobody's privilege */
	if (r == -EPERM)
		return err_errno(err, r, "nftables (CAP_NET_ADMIN)");
	if (r)
		return err_set(err, ERR_UNSUPPORTED, r,
			       "the kernel has no nftables (CONFIG_NF_TABLES)");
	return 0;
}

static int native_apply(struct netns *ns, const struct ruleset *rs, struct err *err)
{
	_nft_batch_ struct nft_batch b = {0};

	if (oplog_wants(ns->log)) {
		_buf_ struct buf text = {0};

		text_replace(rs, TEXT_PLAIN, &text);
		text_log(ns, "nft ", &text);
	}
	if (oplog_dry(ns->log))
		return 0;
	nft_batch_init(&b, ns);
	for (const struct fw_table *t = rs->tables; t; t = t->next) {
		int r = table_delete(&b, t, err);

		if (r)
			return r;
		native_table_content(&b, t);
	}
	return commit(&b, rs, err);
}

static void update_elems(struct nft_batch *b, int type, const struct ruleset *rs)
{
	for (const struct fw_table *t = rs->tables; t; t = t->next)
		for (const struct fw_set *s = t->sets; s; s = s->next)
			native_elems(b, type, t, s);
}

static void log_update(struct netns *ns, const struct ruleset *add, const struct ruleset *del)
{
	_buf_ struct buf text = {0};

	if (!oplog_wants(ns->log))
		return;
	text_elements(del, "delete", TEXT_PLAIN, &text);
	text_elements(add, "add", TEXT_PLAIN, &text);
	text_log(ns, "nft ", &text);
}

static int native_update(struct netns *ns, const struct ruleset *add, const struct ruleset *del,
			 struct err *err)
{
	_nft_batch_ struct nft_batch b = {0};

	log_update(ns, add, del);
	if (oplog_dry(ns->log))
		return 0;
	nft_batch_init(&b, ns);
	update_elems(&b, NFT_MSG_NEWSETELEM, del);
	update_elems(&b, NFT_MSG_DELSETELEM, del);
	update_elems(&b, NFT_MSG_NEWSETELEM, add);
	return commit(&b, add, err);
}

static int native_remove(struct netns *ns, const struct ruleset *rs, struct err *err)
{
	_nft_batch_ struct nft_batch b = {0};

	for (const struct fw_table *t = rs->tables; t; t = t->next)
		oplog_add(ns->log, ns->name, "nft delete table %s %s", text_family(t->family),
			  t->name);
	if (oplog_dry(ns->log))
		return 0;
	nft_batch_init(&b, ns);
	for (const struct fw_table *t = rs->tables; t; t = t->next) {
		int r = table_delete(&b, t, err);

		if (r)
			return r;
	}
	return commit(&b, rs, err);
}

const struct fw_backend fw_native = {
	.name = "native",
	.probe = native_probe,
	.apply = native_apply,
	.update = native_update,
	.remove = native_remove,
	.verify = native_verify,
};
