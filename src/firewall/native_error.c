// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Why the kernel refused a batch, in words: which object, the kernel's reason, and which kernel
 * option is missing when that is what it comes to.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "firewall/native.h"
#include "firewall/text.h"
#include "kernel/nft.h"

/* Where the name of the object's table, and of the object itself, stand in a message. */
static const struct {
	const char *noun;
	uint16_t table, name;
} messages[] = {
	[NFT_MSG_NEWTABLE] = {"table", NFTA_TABLE_NAME, 0},
	[NFT_MSG_DELTABLE] = {"table", NFTA_TABLE_NAME, 0},
	[NFT_MSG_NEWCHAIN] = {"chain", NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME},
	[NFT_MSG_NEWRULE] = {"chain", NFTA_RULE_TABLE, NFTA_RULE_CHAIN},
	[NFT_MSG_NEWSET] = {"set", NFTA_SET_TABLE, NFTA_SET_NAME},
	[NFT_MSG_NEWSETELEM] = {"set", NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET},
	[NFT_MSG_DELSETELEM] = {"set", NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET},
};

/* The option that brings each expression (net/netfilter/Kconfig). */
static const struct {
	const char *expr, *option;
} expr_options[] = {
	{"ct", "CONFIG_NFT_CT"},
	{"masq", "CONFIG_NFT_MASQ"},
	{"nat", "CONFIG_NFT_NAT"},
	{"reject", "CONFIG_NFT_REJECT_INET"},
	{"fib", "CONFIG_NFT_FIB_INET"},
	{"socket", "CONFIG_NFT_SOCKET or CONFIG_SOCK_CGROUP_DATA"},
};

static const char *attr_str(const struct nlmsghdr *nlh, uint16_t type)
{
	const struct nlattr *attr = mnl_nlmsg_get_payload_offset(nlh, 4 /* struct nfgenmsg */);
	const char *end = mnl_nlmsg_get_payload_tail(nlh);

	for (; (const char *)attr < end && mnl_attr_ok(attr, (int)(end - (const char *)attr));
	     attr = mnl_attr_next(attr))
		if (type && mnl_attr_get_type(attr) == type)
			return mnl_attr_get_str(attr);
	return "";
}

/* The rule behind a message: the batch holds them in the order of the ruleset. */
static const struct fw_rule *find_rule(const struct ruleset *rs, const struct nft_batch *b,
				       const struct nlmsghdr *msg)
{
	const struct nlmsghdr *m = NULL;
	size_t n = 0;

	while ((m = nft_batch_next(b, m)) && m != msg)
		n += nft_msg_type(m) == NFT_MSG_NEWRULE;
	for (const struct fw_table *t = rs->tables; t; t = t->next)
		for (const struct fw_chain *c = t->chains; c; c = c->next)
			for (const struct fw_rule *r = c->rules; r; r = r->next)
				if (n-- == 0)
					return r;
	return NULL;
}

static void describe(const struct ruleset *rs, const struct nft_batch *b,
		     const struct nlmsghdr *msg, struct buf *text)
{
	int type = nft_msg_type(msg);
	const char *family = nft_msg_family(msg) == NFPROTO_BRIDGE ? "bridge" : "inet";
	const struct fw_rule *rule = type == NFT_MSG_NEWRULE ? find_rule(rs, b, msg) : NULL;
	const char *name = attr_str(msg, messages[type].name);

	buf_addf(text, "%s %s %s%s%s", messages[type].noun, family,
		 attr_str(msg, messages[type].table), *name ? " " : "", name);
	if (!rule)
		return;
	buf_adds(text, ": rule \"");
	text_rule(rule, TEXT_PLAIN, text);
	buf_adds(text, "\"");
}

/* The kernel option whose absence makes a message fail in this way, or NULL. */
static const char *missing_option(const struct nft_failure *f)
{
	bool is_bridge;

	if (f->code != -ENOENT && f->code != -EOPNOTSUPP && f->code != -EAFNOSUPPORT &&
	    f->code != -EPROTONOSUPPORT)
		return NULL;
	if (!f->msg)
		return "CONFIG_NF_TABLES";
	is_bridge = nft_msg_family(f->msg) == NFPROTO_BRIDGE;
	switch (nft_msg_type(f->msg)) {
	case NFT_MSG_NEWTABLE:
		return is_bridge ? "CONFIG_NF_TABLES_BRIDGE" : "CONFIG_NF_TABLES_INET";
	case NFT_MSG_NEWCHAIN:
		return is_bridge ? "CONFIG_NF_TABLES_BRIDGE" : "CONFIG_NFT_NAT";
	case NFT_MSG_NEWSET:
		return "CONFIG_NF_TABLES of Linux 5.6 or later";
	case NFT_MSG_NEWRULE:
		for (size_t i = 0; f->expr && i < ARRAY_SIZE(expr_options); i++)
			if (!strcmp(f->expr, expr_options[i].expr))
				return expr_options[i].option;
		return f->expr && strcmp(f->expr, "lookup") ? "CONFIG_NF_TABLES" : NULL;
	default:
		return NULL; /* elements: their table or set is not there */
	}
}

int native_error(const struct ruleset *rs, const struct nft_batch *b, const struct nft_failure *f,
		 struct err *err)
{
	_buf_ struct buf what = {0};
	const char *option = missing_option(f);

	if (f->msg)
		describe(rs, b, f->msg, &what);
	else
		buf_adds(&what, "nftables");
	if (option)
		return err_set(err, ERR_UNSUPPORTED, f->code, "%s: the kernel lacks %s%s%s",
			       what.data, option, *f->text ? ": " : "", f->text);
	err_errno(err, f->code, "%s", what.data);
	if (*f->text)
		err_append(err, " (%s)", f->text);
	if (f->code == -EPERM)
		err_append(err, "; this needs CAP_NET_ADMIN");
	return f->code;
}
