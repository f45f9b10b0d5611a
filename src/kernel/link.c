// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "kernel/link.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"

/* The kind stands before what is of it. */
static int parse_bridge(const struct nlattr *attr, void *arg)
{
	struct br_boolopt_multi options;
	struct link *l = arg;

	if (strcmp(l->kind, "bridge") != 0)
		return MNL_CB_OK;
	if (mnl_attr_get_type(attr) == IFLA_BR_MCAST_SNOOPING)
		l->snoops = mnl_attr_get_u8(attr);
	if (mnl_attr_get_type(attr) == IFLA_BR_MULTI_BOOLOPT &&
	    mnl_attr_get_payload_len(attr) >= sizeof(options)) {
		memcpy(&options, mnl_attr_get_payload(attr), sizeof(options));
		l->ll_learn = !(options.optval & 1U << BR_BOOLOPT_NO_LL_LEARN);
	}
	return MNL_CB_OK;
}

static int parse_port(const struct nlattr *attr, void *arg)
{
	struct link *l = arg;

	if (mnl_attr_get_type(attr) == IFLA_BRPORT_ISOLATED)
		l->isolated = mnl_attr_get_u8(attr);
	return MNL_CB_OK;
}

static int parse_info(const struct nlattr *attr, void *arg)
{
	struct link *l = arg;

	switch (mnl_attr_get_type(attr)) {
	case IFLA_INFO_KIND:
		snprintf(l->kind, sizeof(l->kind), "%s", mnl_attr_get_str(attr));
		break;
	case IFLA_INFO_DATA:
		mnl_attr_parse_nested(attr, parse_bridge, l);
		break;
	case IFLA_INFO_SLAVE_DATA:
		mnl_attr_parse_nested(attr, parse_port, l);
		break;
	}
	return MNL_CB_OK;
}

static int parse_attr(const struct nlattr *attr, void *arg)
{
	struct link *l = arg;

	switch (mnl_attr_get_type(attr)) {
	case IFLA_IFNAME:
		snprintf(l->name, sizeof(l->name), "%s", mnl_attr_get_str(attr));
		break;
	case IFLA_IFALIAS:
		snprintf(l->alias, sizeof(l->alias), "%s", mnl_attr_get_str(attr));
		break;
	case IFLA_ADDRESS:
		if (mnl_attr_get_payload_len(attr) == sizeof(l->mac.bytes))
			memcpy(l->mac.bytes, mnl_attr_get_payload(attr), sizeof(l->mac.bytes));
		break;
	case IFLA_MTU:
		l->mtu_bytes = mnl_attr_get_u32(attr);
		break;
	case IFLA_GROUP:
		l->group = mnl_attr_get_u32(attr);
		break;
	case IFLA_MASTER:
		l->master = (int)mnl_attr_get_u32(attr);
		break;
	case IFLA_CARRIER:
		l->carrier = mnl_attr_get_u8(attr);
		break;
	case IFLA_LINKINFO:
		mnl_attr_parse_nested(attr, parse_info, l);
		break;
	}
	return MNL_CB_OK;
}

static void parse_link(const struct nlmsghdr *nlh, struct link *ret)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);

	*ret = (struct link){.index = ifi->ifi_index, .up = ifi->ifi_flags & IFF_UP};
	mnl_attr_parse(nlh, sizeof(*ifi), parse_attr, ret);
}

static int got_link(const struct nlmsghdr *nlh, void *arg)
{
	parse_link(nlh, arg);
	return 0;
}

static int parse_counts(const struct nlattr *attr, void *arg)
{
	struct link_counts *ret = arg;
	struct rtnl_link_stats64 s;

	if (mnl_attr_get_type(attr) == IFLA_STATS64 &&
	    mnl_attr_get_payload_len(attr) >= offsetof(struct rtnl_link_stats64, multicast)) {
		memcpy(&s, mnl_attr_get_payload(attr), offsetof(struct rtnl_link_stats64, multicast));
		*ret = (struct link_counts){.rx_bytes = s.rx_bytes,
					    .tx_bytes = s.tx_bytes,
					    .rx_packets = s.rx_packets,
					    .tx_packets = s.tx_packets,
					    .rx_dropped = s.rx_dropped,
					    .tx_dropped = s.tx_dropped};
	}
	return MNL_CB_OK;
}

static int got_counts(const struct nlmsghdr *nlh, void *arg)
{
	mnl_attr_parse(nlh, sizeof(struct ifinfomsg), parse_counts, arg);
	return 0;
}

static struct nlmsghdr *get_request(char *buf, const char *name, uint32_t mask)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = RTM_GETLINK;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	if (name)
		mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	mnl_attr_put_u32(nlh, IFLA_EXT_MASK, mask);
	return nlh;
}

int link_get(struct netns *ns, const char *name, struct link *ret, struct err *err)
{
	char buf[256];
	int r;

	if (strlen(name) >= IFNAMSIZ)
		return err_set(err, ERR_NOT_FOUND, -ENODEV, "no interface is named '%s'", name);
	r = nl_get(ns, get_request(buf, name, RTEXT_FILTER_SKIP_STATS), got_link, ret);
	if (r == -ENODEV)
		return err_set(err, ERR_NOT_FOUND, r, "no interface is named '%s'", name);
	return r ? err_errno(err, r, "cannot look up interface %s", name) : 0;
}

int link_get_counts(struct netns *ns, const char *name, struct link_counts *ret, struct err *err)
{
	struct link_counts counts = {0};
	char buf[256];
	int r = nl_get(ns, get_request(buf, name, 0), got_counts, &counts);

	if (r)
		return err_errno(err, r, "cannot look up interface %s", name);
	*ret = counts;
	return 0;
}

int link_index(struct netns *ns, const char *name, int *ret, struct err *err)
{
	struct link link = {0};
	int r = oplog_dry(ns->log) ? 0 : link_get(ns, name, &link, err);

	if (!r)
		*ret = link.index;
	return r;
}

struct each {
	link_fn fn;
	void *arg;
};

static int each_link(const struct nlmsghdr *nlh, void *arg)
{
	const struct each *each = arg;
	struct link link;

	parse_link(nlh, &link);
	return each->fn(&link, each->arg);
}

int link_each(struct netns *ns, link_fn fn, void *arg, struct err *err)
{
	struct each each = {.fn = fn, .arg = arg};
	char buf[256];

	return nl_dump(ns, get_request(buf, NULL, RTEXT_FILTER_SKIP_STATS), each_link, &each, err);
}

struct each_counted {
	link_counted_fn fn;
	void *arg;
};

static int each_counted(const struct nlmsghdr *nlh, void *arg)
{
	const struct each_counted *each = arg;
	struct link_counts counts = {0};
	struct link link;

	parse_link(nlh, &link);
	mnl_attr_parse(nlh, sizeof(struct ifinfomsg), parse_counts, &counts);
	return each->fn(&link, &counts, each->arg);
}

int link_each_counted(struct netns *ns, link_counted_fn fn, void *arg, struct err *err)
{
	struct each_counted each = {.fn = fn, .arg = arg};
	char buf[256];

	return nl_dump_once(ns, get_request(buf, NULL, 0), each_counted, &each, err);
}

static bool has_mac(const struct mac *m)
{
	static const struct mac none;

	return memcmp(m, &none, sizeof(none)) != 0;
}

static void put_mac(struct nlmsghdr *nlh, const struct mac *m)
{
	if (has_mac(m))
		mnl_attr_put(nlh, IFLA_ADDRESS, sizeof(m->bytes), m->bytes);
}

static void put_bridge_options(struct nlmsghdr *nlh)
{
	const struct br_boolopt_multi options = {.optval = 1U << BR_BOOLOPT_NO_LL_LEARN,
						 .optmask = 1U << BR_BOOLOPT_NO_LL_LEARN};

	mnl_attr_put(nlh, IFLA_BR_MULTI_BOOLOPT, sizeof(options), &options);
	mnl_attr_put_u8(nlh, IFLA_BR_MCAST_SNOOPING, 0);
}

void link_add_bridge(struct nlbatch *b, const struct bridge_spec *spec)
{
	char mac[MAC_STRLEN];
	void *extra;
	struct nlmsghdr *nlh = nlbatch_add(
		b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg), &extra, 0,
		"ip link add %s address %s mtu %u group %u type bridge stp_state 0 "
		"mcast_snooping 0 no_linklocal_learn 1", spec->name,
		mac_format(&spec->mac, mac), spec->mtu_bytes, spec->group);
	struct nlattr *info, *data;

	mnl_attr_put_strz(nlh, IFLA_IFNAME, spec->name);
	mnl_attr_put_u32(nlh, IFLA_MTU, spec->mtu_bytes);
	mnl_attr_put_u32(nlh, IFLA_GROUP, spec->group);
	put_mac(nlh, &spec->mac);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "bridge");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	mnl_attr_put_u32(nlh, IFLA_BR_STP_STATE, 0);
	put_bridge_options(nlh);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
}

void link_add_ifb(struct nlbatch *b, const char *name, uint32_t group)
{
	struct mac mac = mac_from_name(name);
	char address[MAC_STRLEN];
	void *extra;
	struct nlmsghdr *nlh =
		nlbatch_add(b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg),
			    &extra, 0, "ip link add %s address %s group %u type ifb", name,
			    mac_format(&mac, address), group);
	struct nlattr *info;

	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	mnl_attr_put_u32(nlh, IFLA_GROUP, group);
	put_mac(nlh, &mac);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "ifb");
	mnl_attr_nest_end(nlh, info);
}

#define MAC_WORDS (MAC_STRLEN + 16)

static const char *mac_words(const struct mac *m, char ret[MAC_WORDS])
{
	char text[MAC_STRLEN];

	snprintf(ret, MAC_WORDS, "%s%s", has_mac(m) ? " address " : "",
		 has_mac(m) ? mac_format(m, text) : "");
	return ret;
}

static void put_peer(struct nlmsghdr *nlh, const struct veth_spec *spec)
{
	struct nlattr *peer = mnl_attr_nest_start(nlh, VETH_INFO_PEER);

	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, spec->peer_name);
	mnl_attr_put_u32(nlh, IFLA_MTU, spec->mtu_bytes);
	put_mac(nlh, &spec->peer_mac);
	if (spec->peer_netns_fd >= 0)
		mnl_attr_put_u32(nlh, IFLA_NET_NS_FD, (uint32_t)spec->peer_netns_fd);
	else
		mnl_attr_put_u32(nlh, IFLA_GROUP, spec->group);
	mnl_attr_nest_end(nlh, peer);
}

void link_add_veth(struct nlbatch *b, const struct veth_spec *spec)
{
	const char *in = spec->peer_netns_name;
	char mac[MAC_WORDS], peer_mac[MAC_WORDS], group[24];
	struct nlattr *info, *data;
	struct nlmsghdr *nlh;
	void *extra;

	snprintf(group, sizeof(group), " group %u", spec->group);
	nlh = nlbatch_add(
		b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg), &extra, 0,
		"ip link add %s%s mtu %u%s type veth peer name %s%s mtu %u%s%s", spec->name,
		mac_words(&spec->mac, mac), spec->mtu_bytes, group, spec->peer_name,
		mac_words(&spec->peer_mac, peer_mac), spec->mtu_bytes, in ? " netns " : group,
		in ? in : "");
	mnl_attr_put_strz(nlh, IFLA_IFNAME, spec->name);
	mnl_attr_put_u32(nlh, IFLA_MTU, spec->mtu_bytes);
	mnl_attr_put_u32(nlh, IFLA_GROUP, spec->group);
	put_mac(nlh, &spec->mac);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	put_peer(nlh, spec);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
}

static struct nlmsghdr *set_message(struct nlbatch *b, const struct link_change *c,
				    struct ifinfomsg **ifi, int tolerate, const char *words)
{
	void *extra;
	struct nlmsghdr *nlh = nlbatch_add(b, RTM_SETLINK, 0, sizeof(**ifi), &extra, tolerate,
					   "ip link set %s%s", c->name, words);

	*ifi = extra;
	(*ifi)->ifi_index = c->index;
	if (!c->index)
		mnl_attr_put_strz(nlh, IFLA_IFNAME, c->name);
	return nlh;
}

/* A link with an MTU below 1280 has no IPv6 to be configured, nor has any without IPv6 in the kernel. */
static void no_autoconf(struct nlbatch *b, const struct link_change *c)
{
	struct ifinfomsg *ifi;
	struct nlmsghdr *nlh = set_message(b, c, &ifi, EAFNOSUPPORT, " addrgenmode none");
	struct nlattr *spec = mnl_attr_nest_start(nlh, IFLA_AF_SPEC);
	struct nlattr *inet6 = mnl_attr_nest_start(nlh, AF_INET6);

	mnl_attr_put_u8(nlh, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(nlh, inet6);
	mnl_attr_nest_end(nlh, spec);
}

/* What a bridge keeps of a port is only set by RTM_NEWLINK. */
static void isolate(struct nlbatch *b, const struct link_change *c)
{
	void *extra;
	struct nlmsghdr *nlh = nlbatch_add(b, RTM_NEWLINK, 0, sizeof(struct ifinfomsg), &extra, 0,
					   "ip link set dev %s type bridge_slave isolated on", c->name);
	struct ifinfomsg *ifi = extra;
	struct nlattr *info, *data;

	ifi->ifi_index = c->index;
	if (!c->index)
		mnl_attr_put_strz(nlh, IFLA_IFNAME, c->name);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_SLAVE_KIND, "bridge");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_SLAVE_DATA);
	mnl_attr_put_u8(nlh, IFLA_BRPORT_ISOLATED, 1);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
}

void link_set(struct nlbatch *b, const struct link_change *c)
{
	char words[LINK_ALIAS_MAX + 128] = "", group[24] = "", mtu[24] = "", queue[32] = "";
	char address[MAC_STRLEN] = "";
	struct ifinfomsg *ifi;
	struct nlmsghdr *nlh;

	if (c->alias || has_mac(&c->mac) || c->master || c->group || c->mtu_bytes ||
	    c->queue_packets) {
		if (c->group)
			snprintf(group, sizeof(group), " group %u", c->group);
		if (c->mtu_bytes)
			snprintf(mtu, sizeof(mtu), " mtu %u", c->mtu_bytes);
		if (c->queue_packets)
			snprintf(queue, sizeof(queue), " txqueuelen %u", c->queue_packets);
		if (has_mac(&c->mac))
			mac_format(&c->mac, address);
		snprintf(words, sizeof(words), "%s%s%s%s%s%s%s%s%s", c->alias ? " alias " : "",
			 c->alias ? c->alias : "", *address ? " address " : "", address,
			 c->master ? " master " : "",
			 c->master && c->master_name ? c->master_name : "", group, mtu, queue);
		nlh = set_message(b, c, &ifi, 0, words);
		if (c->alias)
			mnl_attr_put_str(nlh, IFLA_IFALIAS, c->alias);
		put_mac(nlh, &c->mac);
		if (c->master)
			mnl_attr_put_u32(nlh, IFLA_MASTER, (uint32_t)c->master);
		if (c->group)
			mnl_attr_put_u32(nlh, IFLA_GROUP, c->group);
		if (c->mtu_bytes)
			mnl_attr_put_u32(nlh, IFLA_MTU, c->mtu_bytes);
		if (c->queue_packets)
			mnl_attr_put_u32(nlh, IFLA_TXQLEN, c->queue_packets);
	}
	if (c->no_ipv6_autoconf)
		no_autoconf(b, c);
	if (c->isolated)
		isolate(b, c);
	/* A message of its own: the kernel brings a link up before it reads IFLA_AF_SPEC. */
	if (c->up) {
		set_message(b, c, &ifi, 0, " up");
		ifi->ifi_flags = IFF_UP;
		ifi->ifi_change = IFF_UP;
	}
}

void link_set_bridge_options(struct nlbatch *b, int index, const char *name)
{
	void *extra;
	struct nlmsghdr *nlh =
		nlbatch_add(b, RTM_NEWLINK, 0, sizeof(struct ifinfomsg), &extra, 0,
			    "ip link set dev %s type bridge mcast_snooping 0 no_linklocal_learn 1", name);
	struct nlattr *info, *data;

	((struct ifinfomsg *)extra)->ifi_index = index;
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "bridge");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	put_bridge_options(nlh);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
}

static struct nlmsghdr *name_message(struct nlbatch *b, int index, const char *name,
				     const char *new_name, const char *words)
{
	struct link_change c = {.index = index, .name = name};
	struct ifinfomsg *ifi;
	struct nlmsghdr *nlh = set_message(b, &c, &ifi, 0, words);

	mnl_attr_put_strz(nlh, IFLA_IFNAME, new_name);
	return nlh;
}

void link_move(struct nlbatch *b, int index, const char *name, int to_fd, const char *to_name,
	       const char *new_name)
{
	char words[NETNS_NAME_MAX + 32];
	struct nlmsghdr *nlh;

	snprintf(words, sizeof(words), " netns %s name %s", to_name, new_name);
	nlh = name_message(b, index, name, new_name, words);
	mnl_attr_put_u32(nlh, IFLA_NET_NS_FD, (uint32_t)to_fd);
}

void link_rename(struct nlbatch *b, int index, const char *name, const char *new_name)
{
	char words[IFNAMSIZ + 8];

	snprintf(words, sizeof(words), " name %s", new_name);
	name_message(b, index, name, new_name, words);
}

void link_down(struct nlbatch *b, const char *name)
{
	struct link_change c = {.name = name};
	struct ifinfomsg *ifi;

	set_message(b, &c, &ifi, 0, " down");
	ifi->ifi_change = IFF_UP;
}

void link_del(struct nlbatch *b, const char *name)
{
	void *extra;
	struct nlmsghdr *nlh = nlbatch_add(b, RTM_DELLINK, 0, sizeof(struct ifinfomsg), &extra,
					   ENODEV, "ip link del %s", name);

	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
}

void link_doom(struct nlbatch *b, int index, const char *name, uint32_t group)
{
	const struct link_change c = {.name = name, .index = index};
	char words[24];
	struct ifinfomsg *ifi;
	struct nlmsghdr *nlh;

	snprintf(words, sizeof(words), " group %u", group);
	nlh = set_message(b, &c, &ifi, ENODEV, words);
	mnl_attr_put_u32(nlh, IFLA_GROUP, group);
}

void link_del_group(struct nlbatch *b, uint32_t group)
{
	void *extra;
	struct nlmsghdr *nlh = nlbatch_add(b, RTM_DELLINK, 0, sizeof(struct ifinfomsg), &extra,
					   ENODEV, "ip link del group %u", group);

	mnl_attr_put_u32(nlh, IFLA_GROUP, group);
}
