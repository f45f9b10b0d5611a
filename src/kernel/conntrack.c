// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fault.h"
#include "kernel/conntrack.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"

static int parse_ips(const struct nlattr *attr, void *arg)
{
	struct conntrack_flow *flow = arg;
	uint16_t type = mnl_attr_get_type(attr);
	bool v6 = type == CTA_IP_V6_SRC || type == CTA_IP_V6_DST;
	struct ip *ip = type == CTA_IP_V4_SRC || type == CTA_IP_V6_SRC ? &flow->src : &flow->dst;

	if (type < CTA_IP_V4_SRC || type > CTA_IP_V6_DST ||
	    mnl_attr_get_payload_len(attr) != (v6 ? 16 : 4))
		return MNL_CB_OK;
	ip->family = v6 ? AF_INET6 : AF_INET;
	memcpy(ip->bytes, mnl_attr_get_payload(attr), ip_len(ip->family));
	return MNL_CB_OK;
}

static int parse_proto(const struct nlattr *attr, void *arg)
{
	struct conntrack_flow *flow = arg;

	switch (mnl_attr_get_type(attr)) {
	case CTA_PROTO_NUM:
		flow->proto = mnl_attr_get_u8(attr);
		break;
	case CTA_PROTO_SRC_PORT:
		flow->sport = ntohs(mnl_attr_get_u16(attr));
		break;
	case CTA_PROTO_DST_PORT:
		flow->dport = ntohs(mnl_attr_get_u16(attr));
		break;
	}
	return MNL_CB_OK;
}

static int parse_tuple(const struct nlattr *attr, void *arg)
{
	switch (mnl_attr_get_type(attr)) {
	case CTA_TUPLE_IP:
		return mnl_attr_parse_nested(attr, parse_ips, arg);
	case CTA_TUPLE_PROTO:
		return mnl_attr_parse_nested(attr, parse_proto, arg);
	}
	return MNL_CB_OK;
}

struct found {
	struct conntrack_flow flow;
	const struct nlattr *orig; /* copied as it is into the change: it names the connection */
	const struct nlattr *zone;
};

static int parse_flow(const struct nlattr *attr, void *arg)
{
	struct conntrack_flow reply = {0};
	struct found *f = arg;

	switch (mnl_attr_get_type(attr)) {
	case CTA_TUPLE_ORIG:
		f->orig = attr;
		return mnl_attr_parse_nested(attr, parse_tuple, &f->flow);
	case CTA_TUPLE_REPLY:
		mnl_attr_parse_nested(attr, parse_tuple, &reply);
		f->flow.from = reply.src;
		f->flow.from_port = reply.sport;
		break;
	case CTA_MARK:
		f->flow.mark = ntohl(mnl_attr_get_u32(attr));
		break;
	case CTA_ZONE:
		f->zone = attr;
		break;
	}
	return MNL_CB_OK;
}

struct walk {
	struct netns *ns;
	conntrack_fn fn;
	void *arg;
	uint32_t mask; /* 0: the connection ends */
	struct buf changes; /* messages to be sent once the dump is over */
};

static struct nlmsghdr *put_header(char *buf, uint16_t type, uint16_t flags, uint32_t seq,
				   uint8_t family)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg;

	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = seq;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	return nlh;
}

static void copy_attr(struct nlmsghdr *nlh, const struct nlattr *attr)
{
	if (attr)
		mnl_attr_put(nlh, attr->nla_type, mnl_attr_get_payload_len(attr),
			     mnl_attr_get_payload(attr));
}

static int each_flow(const struct nlmsghdr *in, void *arg)
{
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(in);
	struct walk *w = arg;
	struct found f = {0};
	struct nlmsghdr *nlh;

	mnl_attr_parse(in, sizeof(*nfg), parse_flow, &f);
	if (!f.orig || !w->fn(&f.flow, w->arg))
		return MNL_CB_OK;
	nlh = put_header(memset(buf_reserve(&w->changes, 1024), 0, 1024),
			 w->mask ? IPCTNL_MSG_CT_NEW : IPCTNL_MSG_CT_DELETE, NLM_F_ACK,
			 ++w->ns->seq, nfg->nfgen_family);
	copy_attr(nlh, f.orig);
	copy_attr(nlh, f.zone);
	if (w->mask) {
		mnl_attr_put_u32(nlh, CTA_MARK, htonl(f.flow.mark & w->mask));
		mnl_attr_put_u32(nlh, CTA_MARK_MASK, htonl(w->mask));
	}
	w->changes.len += nlh->nlmsg_len;
	return MNL_CB_OK;
}

#define ANSWER_MAX (32 * 1024) /* the kernel fills as much of it as is offered */

static int ask(struct netns *ns, uint16_t type, uint16_t flags, mnl_cb_t fn, void *arg)
{
	char buf[ANSWER_MAX] __attribute__((aligned(8)));
	struct nlmsghdr *nlh = put_header(buf, type, flags, ++ns->seq, AF_UNSPEC);
	uint32_t seq = nlh->nlmsg_seq;
	int r;

	if (mnl_socket_sendto(ns->nf, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t n = mnl_socket_recvfrom(ns->nf, buf, sizeof(buf));

		if (n < 0)
			return -errno;
		r = mnl_cb_run(buf, (size_t)n, seq, mnl_socket_get_portid(ns->nf), fn, arg);
	} while (r > 0);
	return r < 0 ? -errno : 0;
}

static int find_count(const struct nlattr *attr, void *arg)
{
	if (mnl_attr_get_type(attr) == CTA_STATS_GLOBAL_ENTRIES)
		*(uint32_t *)arg = ntohl(mnl_attr_get_u32(attr));
	return MNL_CB_OK;
}

static int read_count(const struct nlmsghdr *nlh, void *arg)
{
	return mnl_attr_parse(nlh, sizeof(struct nfgenmsg), find_count, arg);
}

/* One by one: connections are few, and each may have ended since (ENOENT). */
static int send_changes(struct walk *w)
{
	char answer[4096];
	size_t at = 0;

	while (at < w->changes.len) {
		struct nlmsghdr *nlh = (struct nlmsghdr *)(w->changes.data + at);
		ssize_t n;

		at += nlh->nlmsg_len;
		if (mnl_socket_sendto(w->ns->nf, nlh, nlh->nlmsg_len) < 0)
			return -errno;
		n = mnl_socket_recvfrom(w->ns->nf, answer, sizeof(answer));
		if (n < 0)
			return -errno;
		if (mnl_cb_run(answer, (size_t)n, nlh->nlmsg_seq,
			       mnl_socket_get_portid(w->ns->nf), NULL, NULL) < 0 &&
		    errno != ENOENT)
			return -errno;
	}
	return 0;
}

static int walk_flows(struct netns *ns, uint32_t mask, conntrack_fn fn, void *arg, const char *what,
		      struct err *err)
{
	struct walk w = {.ns = ns, .fn = fn, .arg = arg, .mask = mask};
	uint32_t count = 0;
	int r;

	if (oplog_dry(ns->log))
		return 0;
	/* A dump walks the table of the whole machine; the count is the namespace's own. */
	r = ask(ns, IPCTNL_MSG_CT_GET_STATS, NLM_F_ACK, read_count, &count);
	if (!r && !count)
		return 0;
	if (!r)
		r = fault_point("conntrack changes");
	if (!r)
		r = ask(ns, IPCTNL_MSG_CT_GET, NLM_F_DUMP, each_flow, &w);
	if (!r)
		r = send_changes(&w);
	buf_done(&w.changes);
	return r ? err_errno(err, r, "cannot %s the tracked connections of namespace %s", what,
			     ns->name)
		 : 0;
}

int conntrack_mark_each(struct netns *ns, uint32_t mask, conntrack_fn fn, void *arg,
			struct err *err)
{
	return walk_flows(ns, mask, fn, arg, "mark", err);
}

int conntrack_end_each(struct netns *ns, conntrack_fn fn, void *arg, struct err *err)
{
	return walk_flows(ns, 0, fn, arg, "end", err);
}
