// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "kernel/netlink.h"
#include "kernel/route.h"
#include "kernel/rule.h"

#define TO_MAX (IP_STRLEN + 8)

static const char *family_option(int family)
{
	return family == AF_INET6 ? "-6 " : "";
}

static void describe(struct nlmsghdr *nlh, struct fib_rule_hdr *frh, const struct rule_spec *s)
{
	frh->family = (uint8_t)s->family;
	frh->action = FR_ACT_TO_TBL;
	mnl_attr_put_u32(nlh, FRA_PRIORITY, s->priority);
	mnl_attr_put_u32(nlh, FRA_FWMARK, s->fwmark);
	mnl_attr_put_u32(nlh, FRA_FWMASK, s->mask);
	mnl_attr_put_u32(nlh, FRA_TABLE, s->table);
	mnl_attr_put_u8(nlh, FRA_PROTOCOL, ROUTE_PROTOCOL);
	if (!s->to.family)
		return;
	frh->dst_len = (uint8_t)ip_bits(s->to.family);
	mnl_attr_put(nlh, FRA_DST, ip_len(s->to.family), s->to.bytes);
}

/* " to ADDRESS", or nothing. */
static const char *destination(const struct rule_spec *s, char ret[TO_MAX])
{
	char text[IP_STRLEN];

	*ret = '\0';
	if (s->to.family)
		snprintf(ret, TO_MAX, " to %s", ip_format(&s->to, text));
	return ret;
}

#define SPEC_WORDS "fwmark %#x/%#x table %u priority %u protocol %d%s"

void rule_add(struct nlbatch *b, const struct rule_spec *s)
{
	void *extra;
	char to[TO_MAX];
	struct nlmsghdr *nlh = nlbatch_add(
		b, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct fib_rule_hdr), &extra,
		EEXIST, "ip %srule add " SPEC_WORDS, family_option(s->family), s->fwmark, s->mask,
		s->table, s->priority, ROUTE_PROTOCOL, destination(s, to));

	describe(nlh, extra, s);
}

void rule_del_same(struct nlbatch *b, const struct rule_spec *s)
{
	void *extra;
	char to[TO_MAX];
	struct nlmsghdr *nlh =
		nlbatch_add(b, RTM_DELRULE, 0, sizeof(struct fib_rule_hdr), &extra, ENOENT,
			    "ip %srule del " SPEC_WORDS, family_option(s->family), s->fwmark,
			    s->mask, s->table, s->priority, ROUTE_PROTOCOL, destination(s, to));

	describe(nlh, extra, s);
}

void rule_del(struct nlbatch *b, int family, uint32_t priority)
{
	void *extra;
	struct nlmsghdr *nlh =
		nlbatch_add(b, RTM_DELRULE, 0, sizeof(struct fib_rule_hdr), &extra, ENOENT,
			    "ip %srule del priority %u protocol %d", family_option(family), priority,
			    ROUTE_PROTOCOL);

	((struct fib_rule_hdr *)extra)->family = (uint8_t)family;
	mnl_attr_put_u32(nlh, FRA_PRIORITY, priority);
	mnl_attr_put_u8(nlh, FRA_PROTOCOL, ROUTE_PROTOCOL);
}

struct each {
	rule_fn fn;
	void *arg;
};

static int parse_attr(const struct nlattr *attr, void *arg)
{
	struct rule *r = arg;

	switch (mnl_attr_get_type(attr)) {
	case FRA_PRIORITY:
		r->priority = mnl_attr_get_u32(attr);
		break;
	case FRA_FWMARK:
		r->fwmark = mnl_attr_get_u32(attr);
		break;
	case FRA_FWMASK:
		r->mask = mnl_attr_get_u32(attr);
		break;
	case FRA_TABLE:
		r->table = mnl_attr_get_u32(attr);
		break;
	case FRA_PROTOCOL:
		r->protocol = mnl_attr_get_u8(attr);
		break;
	case FRA_SUPPRESS_PREFIXLEN:
		r->specifics = mnl_attr_get_u32(attr) != UINT32_MAX;
		break;
	case FRA_DST:
		memcpy(r->to.bytes, mnl_attr_get_payload(attr),
		       MIN(mnl_attr_get_payload_len(attr), sizeof(r->to.bytes)));
		r->selects = true;
		break;
	case FRA_SRC:
	case FRA_IIFNAME:
	case FRA_OIFNAME:
	case FRA_UID_RANGE:
	case FRA_IP_PROTO:
	case FRA_SPORT_RANGE:
	case FRA_DPORT_RANGE:
		r->selects = true;
		break;
	}
	return MNL_CB_OK;
}

static int each_rule(const struct nlmsghdr *nlh, void *arg)
{
	const struct fib_rule_hdr *frh = mnl_nlmsg_get_payload(nlh);
	const struct each *each = arg;
	struct rule r = {.family = frh->family, .table = frh->table};

	if (nlh->nlmsg_type != RTM_NEWRULE)
		return 0;
	mnl_attr_parse(nlh, sizeof(*frh), parse_attr, &r);
	r.to.family = frh->dst_len && frh->dst_len == ip_bits(frh->family) ? frh->family : 0;
	r.selects = r.selects || r.mask || (frh->flags & FIB_RULE_INVERT);
	return each->fn(&r, each->arg);
}

int rule_each(struct netns *ns, int family, rule_fn fn, void *arg, struct err *err)
{
	struct each each = {.fn = fn, .arg = arg};
	char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct fib_rule_hdr *frh;

	nlh->nlmsg_type = RTM_GETRULE;
	frh = mnl_nlmsg_put_extra_header(nlh, sizeof(*frh));
	frh->family = (uint8_t)family;
	return nl_dump(ns, nlh, each_rule, &each, err);
}
