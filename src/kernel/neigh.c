// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "kernel/neigh.h"
#include "kernel/netlink.h"
#include "kernel/route.h"

void neigh_add(struct nlbatch *b, int ifindex, const char *ifname, const struct ip *ip,
	       const struct mac *mac)
{
	char to[IP_STRLEN], lladdr[MAC_STRLEN];
	void *extra;
	struct nlmsghdr *nlh =
		nlbatch_add(b, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sizeof(struct ndmsg),
			    &extra, 0, "ip neigh replace %s lladdr %s dev %s nud permanent",
			    ip_format(ip, to), mac_format(mac, lladdr), ifname);
	struct ndmsg *ndm = extra;

	ndm->ndm_family = (uint8_t)ip->family;
	ndm->ndm_ifindex = ifindex;
	ndm->ndm_state = NUD_PERMANENT;
	mnl_attr_put(nlh, NDA_DST, ip_len(ip->family), ip->bytes);
	mnl_attr_put(nlh, NDA_LLADDR, sizeof(mac->bytes), mac->bytes);
}

void neigh_del(struct nlbatch *b, int ifindex, const char *ifname, const struct ip *ip)
{
	char to[IP_STRLEN];
	void *extra;
	struct nlmsghdr *nlh = nlbatch_add(b, RTM_DELNEIGH, 0, sizeof(struct ndmsg), &extra, ENOENT,
					   "ip neigh del %s dev %s", ip_format(ip, to), ifname);
	struct ndmsg *ndm = extra;

	ndm->ndm_family = (uint8_t)ip->family;
	ndm->ndm_ifindex = ifindex;
	mnl_attr_put(nlh, NDA_DST, ip_len(ip->family), ip->bytes);
}

static void put_proxy(struct nlmsghdr *nlh, struct ndmsg *ndm, int ifindex, const struct ip *ip)
{
	ndm->ndm_family = (uint8_t)ip->family;
	ndm->ndm_ifindex = ifindex;
	ndm->ndm_flags = NTF_PROXY;
	mnl_attr_put(nlh, NDA_DST, ip_len(ip->family), ip->bytes);
	mnl_attr_put_u8(nlh, NDA_PROTOCOL, ROUTE_PROTOCOL);
}

void neigh_add_proxy(struct nlbatch *b, int ifindex, const char *ifname, const struct ip *ip)
{
	char to[IP_STRLEN];
	void *extra;
	struct nlmsghdr *nlh =
		nlbatch_add(b, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sizeof(struct ndmsg),
			    &extra, 0, "ip neigh replace proxy %s dev %s protocol %d",
			    ip_format(ip, to), ifname, ROUTE_PROTOCOL);

	put_proxy(nlh, extra, ifindex, ip);
}

void neigh_del_proxy(struct nlbatch *b, int ifindex, const char *ifname, const struct ip *ip)
{
	char to[IP_STRLEN];
	void *extra;
	struct nlmsghdr *nlh =
		nlbatch_add(b, RTM_DELNEIGH, 0, sizeof(struct ndmsg), &extra, ENOENT,
			    "ip neigh del proxy %s dev %s", ip_format(ip, to), ifname);

	put_proxy(nlh, extra, ifindex, ip);
}

struct each {
	neigh_fn proxy;
	neigh_permanent_fn permanent;
	void *arg;
};

struct entry {
	struct ip ip;
	struct mac mac;
	uint8_t protocol;
};

static int parse_attr(const struct nlattr *attr, void *arg)
{
	size_t len = mnl_attr_get_payload_len(attr);
	struct entry *e = arg;

	switch (mnl_attr_get_type(attr)) {
	case NDA_DST:
		if (len != ip_len(AF_INET) && len != ip_len(AF_INET6))
			break;
		e->ip.family = len == ip_len(AF_INET) ? AF_INET : AF_INET6;
		memcpy(e->ip.bytes, mnl_attr_get_payload(attr), len);
		break;
	case NDA_LLADDR:
		if (len == sizeof(e->mac.bytes))
			memcpy(e->mac.bytes, mnl_attr_get_payload(attr), len);
		break;
	case NDA_PROTOCOL:
		e->protocol = mnl_attr_get_u8(attr);
		break;
	}
	return MNL_CB_OK;
}

static int each_proxy(const struct nlmsghdr *nlh, void *arg)
{
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(nlh);
	const struct each *each = arg;
	struct entry e = {0};

	if (!(ndm->ndm_flags & NTF_PROXY))
		return 0;
	mnl_attr_parse(nlh, sizeof(*ndm), parse_attr, &e);
	return e.protocol == ROUTE_PROTOCOL && e.ip.family
		       ? each->proxy(ndm->ndm_ifindex, &e.ip, each->arg)
		       : 0;
}

static int dump(struct netns *ns, uint8_t family, uint8_t flags, nl_dump_fn fn, struct each *each,
		struct err *err)
{
	char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ndmsg *ndm;

	nlh->nlmsg_type = RTM_GETNEIGH;
	ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));
	ndm->ndm_family = family;
	ndm->ndm_flags = flags;
	return nl_dump(ns, nlh, fn, each, err);
}

int neigh_each_proxy(struct netns *ns, neigh_fn fn, void *arg, struct err *err)
{
	struct each each = {.proxy = fn, .arg = arg};

	return dump(ns, AF_INET, NTF_PROXY, each_proxy, &each, err);
}

static int each_permanent(const struct nlmsghdr *nlh, void *arg)
{
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(nlh);
	const struct each *each = arg;
	struct entry e = {0};

	if (!(ndm->ndm_state & NUD_PERMANENT))
		return 0;
	mnl_attr_parse(nlh, sizeof(*ndm), parse_attr, &e);
	return e.ip.family ? each->permanent(ndm->ndm_ifindex, &e.ip, &e.mac, each->arg) : 0;
}

int neigh_each_permanent(struct netns *ns, neigh_permanent_fn fn, void *arg, struct err *err)
{
	struct each each = {.permanent = fn, .arg = arg};

	return dump(ns, AF_UNSPEC, 0, each_permanent, &each, err);
}

static void add_fdb(struct nlbatch *b, const struct ndmsg *ndm, const struct mac *mac,
		    const char *ifname, const char *how)
{
	char lladdr[MAC_STRLEN];
	void *extra;
	struct nlmsghdr *nlh = nlbatch_add(b, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE,
					   sizeof(*ndm), &extra, 0, "bridge fdb replace %s dev %s %s",
					   mac_format(mac, lladdr), ifname, how);

	memcpy(extra, ndm, sizeof(*ndm));
	mnl_attr_put(nlh, NDA_LLADDR, sizeof(mac->bytes), mac->bytes);
}

void fdb_add_local(struct nlbatch *b, int bridge_index, const char *bridge, const struct mac *mac)
{
	struct ndmsg ndm = {.ndm_family = AF_BRIDGE,
			    .ndm_ifindex = bridge_index,
			    .ndm_flags = NTF_SELF,
			    .ndm_state = NUD_PERMANENT};

	add_fdb(b, &ndm, mac, bridge, "self permanent");
}

void fdb_add_port(struct nlbatch *b, int port_index, const char *port, const struct mac *mac)
{
	struct ndmsg ndm = {.ndm_family = AF_BRIDGE,
			    .ndm_ifindex = port_index,
			    .ndm_flags = NTF_MASTER,
			    .ndm_state = NUD_NOARP};

	add_fdb(b, &ndm, mac, port, "master static");
}
