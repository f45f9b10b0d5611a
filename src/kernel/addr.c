// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "kernel/addr.h"
#include "kernel/netlink.h"

struct each {
	addr_fn fn;
	void *arg;
};

struct parse {
	struct ip local, address;
};

/* IFA_ADDRESS is the peer's where there is IFA_LOCAL (linux/if_addr.h). */
static int parse_attr(const struct nlattr *attr, void *arg)
{
	struct parse *p = arg;
	int type = mnl_attr_get_type(attr);
	struct ip *to = type == IFA_LOCAL ? &p->local : type == IFA_ADDRESS ? &p->address : NULL;
	size_t len = mnl_attr_get_payload_len(attr);

	if (!to || (len != 4 && len != 16))
		return MNL_CB_OK;
	to->family = len == 4 ? AF_INET : AF_INET6;
	memcpy(to->bytes, mnl_attr_get_payload(attr), len);
	return MNL_CB_OK;
}

static int each_addr(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct each *each = arg;
	struct parse p = {0};
	struct addr a = {.ifindex = (int)ifa->ifa_index};

	mnl_attr_parse(nlh, sizeof(*ifa), parse_attr, &p);
	a.addr.addr = p.local.family ? p.local : p.address;
	a.addr.prefix = ifa->ifa_prefixlen;
	return each->fn(&a, each->arg);
}

int addr_each(struct netns *ns, addr_fn fn, void *arg, struct err *err)
{
	struct each each = {.fn = fn, .arg = arg};
	char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = RTM_GETADDR;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifaddrmsg));
	return nl_dump(ns, nlh, each_addr, &each, err);
}

static void add(struct nlbatch *b, uint16_t flags, const char *verb, int ifindex,
		const char *ifname, const struct cidr *addr)
{
	size_t len = ip_len(addr->addr.family);
	bool v4 = addr->addr.family == AF_INET;
	char text[CIDR_STRLEN];
	void *extra;
	struct nlmsghdr *nlh =
		nlbatch_add(b, RTM_NEWADDR, NLM_F_CREATE | flags, sizeof(struct ifaddrmsg), &extra,
			    0, "ip addr %s %s dev %s%s", verb, cidr_format(addr, text), ifname,
			    !v4 ? " nodad" : addr->prefix < 31 ? " brd +" : "");
	struct ifaddrmsg *ifa = extra;

	ifa->ifa_family = (uint8_t)addr->addr.family;
	ifa->ifa_prefixlen = (uint8_t)addr->prefix;
	ifa->ifa_index = (uint32_t)ifindex;
	ifa->ifa_flags = v4 ? 0 : IFA_F_NODAD;
	if (!v4 && addr->addr.bytes[0] == 0xfe)
		ifa->ifa_scope = RT_SCOPE_LINK;
	mnl_attr_put(nlh, IFA_LOCAL, len, addr->addr.bytes);
	mnl_attr_put(nlh, IFA_ADDRESS, len, addr->addr.bytes);
	if (v4 && addr->prefix < 31) {
		struct ip broadcast = cidr_last(addr);

		mnl_attr_put(nlh, IFA_BROADCAST, len, broadcast.bytes);
	}
}

void addr_add(struct nlbatch *b, int ifindex, const char *ifname, const struct cidr *addr)
{
	add(b, NLM_F_EXCL, "add", ifindex, ifname, addr);
}

void addr_replace(struct nlbatch *b, int ifindex, const char *ifname, const struct cidr *addr)
{
	add(b, NLM_F_REPLACE, "replace", ifindex, ifname, addr);
}

void addr_del(struct nlbatch *b, int ifindex, const char *ifname, const struct cidr *addr)
{
	char text[CIDR_STRLEN];
	void *extra;
	struct nlmsghdr *nlh =
		nlbatch_add(b, RTM_DELADDR, 0, sizeof(struct ifaddrmsg), &extra, EADDRNOTAVAIL,
			    "ip addr del %s dev %s", cidr_format(addr, text), ifname);
	struct ifaddrmsg *ifa = extra;

	ifa->ifa_family = (uint8_t)addr->addr.family;
	ifa->ifa_prefixlen = (uint8_t)addr->prefix;
	ifa->ifa_index = (uint32_t)ifindex;
	mnl_attr_put(nlh, IFA_LOCAL, ip_len(addr->addr.family), addr->addr.bytes);
}
