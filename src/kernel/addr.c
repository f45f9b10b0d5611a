// SPDX-License-Identifier: GPL-2.0-or-later
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "kernel/addr.h"
#include "kernel/netlink.h"

void addr_add(struct nlbatch *b, int ifindex, const char *ifname, const struct cidr *addr)
{
	size_t len = ip_len(addr->addr.family);
	bool v4 = addr->addr.family == AF_INET;
	char text[CIDR_STRLEN];
	void *extra;
	struct nlmsghdr *nlh =
		nlbatch_add(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifaddrmsg), &extra,
			    0, "ip addr add %s dev %s%s", cidr_format(addr, text), ifname,
			    v4 ? "" : " nodad");
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
