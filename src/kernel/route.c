// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "kernel/link.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/route.h"

struct each {
	route_fn fn;
	void *arg;
};

static void parse_ip(const struct nlattr *attr, int family, struct ip *ret)
{
	if (mnl_attr_get_payload_len(attr) != ip_len(family))
		return;
	ret->family = family;
	memcpy(ret->bytes, mnl_attr_get_payload(attr), ip_len(family));
}

static int parse_attr(const struct nlattr *attr, void *arg)
{
	struct route *r = arg;

	switch (mnl_attr_get_type(attr)) {
	case RTA_DST:
		parse_ip(attr, r->dst.addr.family, &r->dst.addr);
		break;
	case RTA_GATEWAY:
		parse_ip(attr, r->dst.addr.family, &r->gateway);
		break;
	case RTA_OIF:
		r->ifindex = (int)mnl_attr_get_u32(attr);
		break;
	case RTA_PRIORITY:
		r->metric = mnl_attr_get_u32(attr);
		break;
	case RTA_TABLE:
		r->table = mnl_attr_get_u32(attr);
		break;
	}
	return MNL_CB_OK;
}

static int each_route(const struct nlmsghdr *nlh, void *arg)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct each *each = arg;
	struct route r = {
		.dst = {.addr.family = rtm->rtm_family, .prefix = rtm->rtm_dst_len},
		.table = rtm->rtm_table,
		.protocol = rtm->rtm_protocol,
		.type = rtm->rtm_type,
	};

	mnl_attr_parse(nlh, sizeof(*rtm), parse_attr, &r);
	return each->fn(&r, each->arg);
}

int route_each(struct netns *ns, int family, route_fn fn, void *arg, struct err *err)
{
	struct each each = {.fn = fn, .arg = arg};
	char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtmsg *rtm;

	nlh->nlmsg_type = RTM_GETROUTE;
	rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	rtm->rtm_family = (uint8_t)family;
	return nl_dump(ns, nlh, each_route, &each, err);
}

static void add_via(struct nlbatch *b, int ifindex, const char *ifname, const struct cidr *dst,
		    const struct ip *gateway, int tolerate)
{
	size_t len = ip_len(gateway->family);
	char to[CIDR_STRLEN], via[IP_STRLEN];
	void *extra;
	struct nlmsghdr *nlh =
		nlbatch_add(b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct rtmsg), &extra,
			    tolerate, "ip route add %s via %s dev %s onlink proto %d",
			    dst->prefix ? cidr_format(dst, to) : "default", ip_format(gateway, via),
			    ifname, ROUTE_PROTOCOL);
	struct rtmsg *rtm = extra;

	rtm->rtm_family = (uint8_t)gateway->family;
	rtm->rtm_dst_len = (uint8_t)dst->prefix;
	rtm->rtm_table = RT_TABLE_MAIN;
	rtm->rtm_protocol = ROUTE_PROTOCOL;
	rtm->rtm_scope = RT_SCOPE_UNIVERSE;
	rtm->rtm_type = RTN_UNICAST;
	rtm->rtm_flags = RTNH_F_ONLINK;
	if (dst->prefix)
		mnl_attr_put(nlh, RTA_DST, len, dst->addr.bytes);
	mnl_attr_put(nlh, RTA_GATEWAY, len, gateway->bytes);
	mnl_attr_put_u32(nlh, RTA_OIF, (uint32_t)ifindex);
}

void route_add_via(struct nlbatch *b, int ifindex, const char *ifname, const struct cidr *dst,
		   const struct ip *gateway)
{
	add_via(b, ifindex, ifname, dst, gateway, 0);
}

void route_offer_via(struct nlbatch *b, int ifindex, const char *ifname, const struct cidr *dst,
		     const struct ip *gateway)
{
	add_via(b, ifindex, ifname, dst, gateway, EEXIST);
}

void route_add_link(struct nlbatch *b, int ifindex, const char *ifname, const struct cidr *dst)
{
	int family = dst->addr.family;
	char to[CIDR_STRLEN];
	void *extra;
	struct nlmsghdr *nlh =
		nlbatch_add(b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct rtmsg),
			    &extra, 0, "ip route add %s dev %s proto %d", cidr_format(dst, to),
			    ifname, ROUTE_PROTOCOL);
	struct rtmsg *rtm = extra;

	rtm->rtm_family = (uint8_t)family;
	rtm->rtm_dst_len = (uint8_t)dst->prefix;
	rtm->rtm_table = RT_TABLE_MAIN;
	rtm->rtm_protocol = ROUTE_PROTOCOL;
	rtm->rtm_scope = family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	rtm->rtm_type = RTN_UNICAST;
	mnl_attr_put(nlh, RTA_DST, ip_len(family), dst->addr.bytes);
	mnl_attr_put_u32(nlh, RTA_OIF, (uint32_t)ifindex);
}

static const char *family_option(int family)
{
	return family == AF_INET6 ? "-6 " : "";
}

static const char *type_option(uint8_t type)
{
	return type == RTN_UNREACHABLE ? "unreachable " : type == RTN_BLACKHOLE ? "blackhole " : "";
}

static struct nlmsghdr *table_message(struct nlmsghdr *nlh, struct rtmsg *rtm, int family,
				      uint32_t table, uint32_t metric)
{
	rtm->rtm_family = (uint8_t)family;
	rtm->rtm_table = RT_TABLE_UNSPEC;
	rtm->rtm_protocol = ROUTE_PROTOCOL;
	mnl_attr_put_u32(nlh, RTA_TABLE, table);
	if (metric)
		mnl_attr_put_u32(nlh, RTA_PRIORITY, metric);
	return nlh;
}

void route_add_default(struct nlbatch *b, int family, uint32_t table, int ifindex,
		       const char *ifname, uint32_t metric)
{
	void *extra;
	struct nlmsghdr *nlh = nlbatch_add(
		b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct rtmsg), &extra, EEXIST,
		"ip %sroute add default dev %s table %u metric %u proto %d", family_option(family),
		ifname, table, metric, ROUTE_PROTOCOL);
	struct rtmsg *rtm = extra;

	table_message(nlh, rtm, family, table, metric);
	rtm->rtm_scope = family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	rtm->rtm_type = RTN_UNICAST;
	mnl_attr_put_u32(nlh, RTA_OIF, (uint32_t)ifindex);
}

void route_add_blackhole(struct nlbatch *b, int family, uint32_t table, uint32_t metric)
{
	void *extra;
	struct nlmsghdr *nlh = nlbatch_add(
		b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct rtmsg), &extra, EEXIST,
		"ip %sroute add blackhole default table %u metric %u proto %d",
		family_option(family), table, metric, ROUTE_PROTOCOL);
	struct rtmsg *rtm = extra;

	table_message(nlh, rtm, family, table, metric);
	rtm->rtm_scope = RT_SCOPE_UNIVERSE;
	rtm->rtm_type = RTN_BLACKHOLE;
}

static void replace_words(const struct route *r, const char *ifname, char *buf, size_t size)
{
	char via[IP_STRLEN];

	if (r->gateway.family)
		snprintf(buf, size, " via %s dev %s onlink", ip_format(&r->gateway, via), ifname);
	else
		snprintf(buf, size, " dev %s", ifname);
}

void route_replace(struct nlbatch *b, const struct route *r, const char *ifname)
{
	int family = r->dst.addr.family;
	char to[CIDR_STRLEN], by[IP_STRLEN + IFNAMSIZ + 24] = "";
	struct nlmsghdr *nlh;
	struct rtmsg *rtm;
	void *extra;

	if (r->type == RTN_UNICAST)
		replace_words(r, ifname, by, sizeof(by));
	nlh = nlbatch_add(b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof(struct rtmsg),
			  &extra, 0, "ip %sroute replace %s%s%s table %u metric %u proto %d",
			  family_option(family), type_option(r->type),
			  r->dst.prefix ? cidr_format(&r->dst, to) : "default", by, r->table,
			  r->metric, ROUTE_PROTOCOL);
	rtm = extra;
	table_message(nlh, rtm, family, r->table, r->metric);
	rtm->rtm_type = r->type;
	rtm->rtm_dst_len = (uint8_t)r->dst.prefix;
	rtm->rtm_scope = family == AF_INET && r->type == RTN_UNICAST && !r->gateway.family
				 ? RT_SCOPE_LINK
				 : RT_SCOPE_UNIVERSE;
	if (r->dst.prefix)
		mnl_attr_put(nlh, RTA_DST, ip_len(family), r->dst.addr.bytes);
	if (r->gateway.family) {
		rtm->rtm_flags = RTNH_F_ONLINK;
		mnl_attr_put(nlh, RTA_GATEWAY, ip_len(family), r->gateway.bytes);
	}
	if (r->ifindex)
		mnl_attr_put_u32(nlh, RTA_OIF, (uint32_t)r->ifindex);
}

void route_del(struct nlbatch *b, const struct route *r)
{
	int family = r->dst.addr.family;
	char to[CIDR_STRLEN];
	void *extra;
	struct nlmsghdr *nlh = nlbatch_add(
		b, RTM_DELROUTE, 0, sizeof(struct rtmsg), &extra, ESRCH,
		"ip %sroute del %s%s table %u metric %u proto %d", family_option(family),
		type_option(r->type), r->dst.prefix ? cidr_format(&r->dst, to) : "default",
		r->table, r->metric, ROUTE_PROTOCOL);
	struct rtmsg *rtm = extra;

	table_message(nlh, rtm, family, r->table, r->metric);
	rtm->rtm_scope = RT_SCOPE_NOWHERE; /* any */
	rtm->rtm_type = r->type;
	rtm->rtm_dst_len = (uint8_t)r->dst.prefix;
	if (r->dst.prefix)
		mnl_attr_put(nlh, RTA_DST, ip_len(family), r->dst.addr.bytes);
	if (r->ifindex)
		mnl_attr_put_u32(nlh, RTA_OIF, (uint32_t)r->ifindex);
}

struct flush {
	struct nlbatch *batch;
	uint32_t table;
};

static int flush_one(const struct route *r, void *arg)
{
	const struct flush *f = arg;

	if (r->table == f->table && r->protocol == ROUTE_PROTOCOL)
		route_del(f->batch, r);
	return 0;
}

int route_flush(struct nlbatch *b, int family, uint32_t table, struct err *err)
{
	struct flush f = {.batch = b, .table = table};

	return route_each(b->ns, family, flush_one, &f, err);
}

static int pick_default(const struct route *r, void *arg)
{
	struct route *best = arg;

	if (r->table == RT_TABLE_MAIN && r->type == RTN_UNICAST && !r->dst.prefix && r->ifindex &&
	    (!best->ifindex || r->metric < best->metric))
		*best = *r;
	return 0;
}

struct name_of {
	int index;
	char *name;
};

static int match_index(const struct link *link, void *arg)
{
	struct name_of *want = arg;

	if (link->index == want->index)
		memcpy(want->name, link->name, IFNAMSIZ);
	return 0;
}

int route_default_link(struct netns *ns, char ret[IFNAMSIZ], struct err *err)
{
	struct route best = {0};
	struct name_of want = {.name = ret};
	int r = route_each(ns, AF_INET, pick_default, &best, err);

	if (!r && !best.ifindex)
		r = route_each(ns, AF_INET6, pick_default, &best, err);
	if (r)
		return r;
	if (!best.ifindex)
		return err_set(err, ERR_FAILED, -ENETUNREACH,
			       "this machine has no default route: name the interface that leads out");
	want.index = best.ifindex;
	return link_each(ns, match_index, &want, err);
}
