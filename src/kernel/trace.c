// SPDX-License-Identifier: GPL-2.0-or-later
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/trace.h>
#include <linux/netfilter.h> /* and linux/in.h with it */
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/util.h"
#include "kernel/netns.h"
#include "kernel/nft.h"
#include "kernel/trace.h"

#define PRIORITY (-500) /* before everything, connection tracking included */

struct trace {
	struct mnl_socket *nl;
	char table[32];
};

/* ---- The table ---- */

static struct nftnl_expr *add_expr(struct nftnl_rule *r, const char *name)
{
	struct nftnl_expr *e = nftnl_expr_alloc(name);

	assert(e);
	nftnl_rule_add_expr(r, e);
	return e;
}

static void compare(struct nftnl_rule *r, const void *value, uint32_t len)
{
	struct nftnl_expr *e = add_expr(r, "cmp");

	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, NFT_CMP_EQ);
	nftnl_expr_set_data(e, NFTNL_EXPR_CMP_DATA, value, len);
}

static void match_proto(struct nftnl_rule *r, uint8_t proto)
{
	struct nftnl_expr *e = add_expr(r, "meta");

	nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, NFT_META_L4PROTO);
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, NFT_REG_1);
	compare(r, &proto, sizeof(proto));
}

/* The source port, or the identifier of an echo. */
static void match_id(struct nftnl_rule *r, uint8_t proto, uint16_t id)
{
	bool echo = proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
	struct nftnl_expr *e = add_expr(r, "payload");
	uint16_t wire = htobe16(id);

	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, echo ? 4 : 0);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, sizeof(wire));
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
	compare(r, &wire, sizeof(wire));
}

static void set_trace(struct nftnl_rule *r)
{
	static const uint8_t one = 1;
	struct nftnl_expr *e = add_expr(r, "immediate");

	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
	nftnl_expr_set_data(e, NFTNL_EXPR_IMM_DATA, &one, sizeof(one));
	e = add_expr(r, "meta");
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, NFT_META_NFTRACE);
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_SREG, NFT_REG_1);
}

/* Owned by the namespace's socket (Linux 5.12): the kernel takes it away when that is closed, and
 * the process may end as it likes. */
static void add_table(struct nft_batch *b, const char *table)
{
	struct nlmsghdr *nlh =
		nft_batch_add(b, NFT_MSG_NEWTABLE, NFPROTO_INET, NLM_F_CREATE | NLM_F_EXCL);

	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, table);
	mnl_attr_put_u32(nlh, NFTA_TABLE_FLAGS, htobe32(NFT_TABLE_F_OWNER));
	nft_batch_end(b, nlh);
}

static void add_chain(struct nft_batch *b, const char *table, const char *name, uint32_t hook)
{
	struct nlmsghdr *nlh = nft_batch_add(b, NFT_MSG_NEWCHAIN, NFPROTO_INET, NLM_F_CREATE);
	struct nftnl_chain *c = nftnl_chain_alloc();

	assert(c);
	nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, table);
	nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, name);
	nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, "filter");
	nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, hook);
	nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, PRIORITY);
	nftnl_chain_nlmsg_build_payload(nlh, c);
	nft_batch_end(b, nlh);
	nftnl_chain_free(c);
}

static void add_rule(struct nft_batch *b, const char *table, const char *chain, uint8_t proto,
		     uint16_t id)
{
	struct nlmsghdr *nlh =
		nft_batch_add(b, NFT_MSG_NEWRULE, NFPROTO_INET, NLM_F_CREATE | NLM_F_APPEND);
	struct nftnl_rule *r = nftnl_rule_alloc();

	assert(r);
	nftnl_rule_set_str(r, NFTNL_RULE_TABLE, table);
	nftnl_rule_set_str(r, NFTNL_RULE_CHAIN, chain);
	match_proto(r, proto);
	match_id(r, proto, id);
	set_trace(r);
	nftnl_rule_nlmsg_build_payload(nlh, r);
	nft_batch_end(b, nlh);
	nftnl_rule_free(r);
}

static int make_table(struct netns *ns, const char *table, uint8_t proto, uint16_t id,
		      struct err *err)
{
	_nft_batch_ struct nft_batch b;
	struct nft_failure f;
	int r;

	nft_batch_init(&b, ns);
	add_table(&b, table);
	add_chain(&b, table, "prerouting", NF_INET_PRE_ROUTING);
	add_chain(&b, table, "output", NF_INET_LOCAL_OUT);
	add_rule(&b, table, "prerouting", proto, id);
	add_rule(&b, table, "output", proto, id);
	r = nft_batch_commit(&b, &f);
	return r ? err_errno(err, r, "cannot make table %s", table) : 0;
}

/* ---- Events ---- */

static int open_socket(void *arg)
{
	struct trace *t = arg;
	int group = NFNLGRP_NFTRACE;

	t->nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!t->nl)
		return -errno;
	if (mnl_socket_bind(t->nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_setsockopt(t->nl, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return -errno;
	return 0;
}

int trace_new(struct netns *ns, uint8_t proto, uint16_t id, struct trace **ret, struct err *err)
{
	_trace_ struct trace *t = xcalloc(1, sizeof(*t));
	int r = netns_call(ns, open_socket, t);

	if (r)
		return err_errno(err, r, "cannot listen to nftables");
	snprintf(t->table, sizeof(t->table), "byway_trace_%u_%u", proto, id);
	r = make_table(ns, t->table, proto, id, err);
	if (!r)
		*ret = TAKE_PTR(t);
	return r;
}

void trace_free(struct trace *t)
{
	if (!t)
		return;
	if (t->nl)
		mnl_socket_close(t->nl);
	free(t);
}

void trace_free_p(struct trace **t)
{
	trace_free(*t);
}

static const char *family_name(uint32_t family)
{
	switch (family) {
	case NFPROTO_INET:
		return "inet";
	case NFPROTO_IPV4:
		return "ip";
	case NFPROTO_IPV6:
		return "ip6";
	case NFPROTO_BRIDGE:
		return "bridge";
	default:
		return "nftables";
	}
}

static void copy_name(char *to, size_t size, const struct nftnl_trace *n, uint16_t attr)
{
	if (nftnl_trace_is_set(n, attr))
		str_copy(to, size, nftnl_trace_get_str(n, attr));
}

static bool read_event(const struct trace *t, const struct nlmsghdr *nlh, struct trace_event *e)
{
	struct nftnl_trace *n = nftnl_trace_alloc();
	uint32_t verdict = NF_ACCEPT, type;
	bool ok = n && nftnl_trace_nlmsg_parse(nlh, n) >= 0 &&
		  nftnl_trace_is_set(n, NFTNL_TRACE_TYPE);

	*e = (struct trace_event){0};
	if (ok) {
		type = nftnl_trace_get_u32(n, NFTNL_TRACE_TYPE);
		copy_name(e->table, sizeof(e->table), n, NFTNL_TRACE_TABLE);
		copy_name(e->chain, sizeof(e->chain), n, NFTNL_TRACE_CHAIN);
		e->family = family_name(nftnl_trace_get_u32(n, NFTNL_TRACE_FAMILY));
		if (type == NFT_TRACETYPE_RULE)
			e->handle = nftnl_trace_get_u64(n, NFTNL_TRACE_RULE_HANDLE);
		if (nftnl_trace_is_set(n, NFTNL_TRACE_VERDICT))
			verdict = nftnl_trace_get_u32(n, NFTNL_TRACE_VERDICT);
		else if (nftnl_trace_is_set(n, NFTNL_TRACE_POLICY))
			verdict = nftnl_trace_get_u32(n, NFTNL_TRACE_POLICY);
		e->verdict = verdict == NF_ACCEPT || verdict == NF_DROP;
		e->dropped = verdict == NF_DROP;
		ok = strcmp(e->table, t->table) != 0;
	}
	nftnl_trace_free(n);
	return ok;
}

void trace_read(struct trace *t, void (*fn)(const struct trace_event *e, void *arg), void *arg)
{
	char buf[16384];
	ssize_t n;

	while ((n = mnl_socket_recvfrom(t->nl, buf, sizeof(buf))) > 0) {
		int left = (int)n;

		for (const struct nlmsghdr *h = (const void *)buf; mnl_nlmsg_ok(h, left);
		     h = mnl_nlmsg_next(h, &left)) {
			struct trace_event e;

			if ((h->nlmsg_type & 0xff) == NFT_MSG_TRACE && read_event(t, h, &e))
				fn(&e, arg);
		}
	}
}
