// SPDX-License-Identifier: GPL-2.0-or-later
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "kernel/neigh.h"
#include "kernel/netlink.h"

void neigh_add(struct nlbatch *b, int ifindex, const char *ifname, const struct ip *ip,
	       const struct mac *mac)
{
	char to[IP_STRLEN], lladdr[MAC_STRLEN];
	void *extra;
	struct nlmsghdr *nlh =
		nlbatch_add(b, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sizeof(struct ndmsg), &extra,
			    0, "ip neigh replace %s lladdr %s dev %s nud permanent", ip_format(ip, to),
			    mac_format(mac, lladdr), ifname);
	struct ndmsg *ndm = extra;

	ndm->ndm_family = (uint8_t)ip->family;
	ndm->ndm_ifindex = ifindex;
	ndm->ndm_state = NUD_PERMANENT;
	mnl_attr_put(nlh, NDA_DST, ip_len(ip->family), ip->bytes);
	mnl_attr_put(nlh, NDA_LLADDR, sizeof(mac->bytes), mac->bytes);
}
