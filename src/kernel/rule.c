// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <sys/socket.h>

#include "kernel/netlink.h"
#include "kernel/route.h"
#include "kernel/rule.h"

static const char *family_option(int family)
{
	return family == AF_INET6 ? "-6 " : "";
}

void rule_add(struct nlbatch *b, const struct rule_spec *s)
{
	void *extra;
	struct nlmsghdr *nlh =
		nlbatch_add(b, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct fib_rule_hdr),
			    &extra, EEXIST, "ip %srule add fwmark %#x/%#x table %u priority %u protocol %d",
			    family_option(s->family), s->fwmark, s->mask, s->table, s->priority,
			    ROUTE_PROTOCOL);
	struct fib_rule_hdr *frh = extra;

	frh->family = (uint8_t)s->family;
	frh->action = FR_ACT_TO_TBL;
	mnl_attr_put_u32(nlh, FRA_PRIORITY, s->priority);
	mnl_attr_put_u32(nlh, FRA_FWMARK, s->fwmark);
	mnl_attr_put_u32(nlh, FRA_FWMASK, s->mask);
	mnl_attr_put_u32(nlh, FRA_TABLE, s->table);
	mnl_attr_put_u8(nlh, FRA_PROTOCOL, ROUTE_PROTOCOL);
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
