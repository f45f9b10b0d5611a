// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Policing (act_police) would need no device for what comes in, but it can only drop, which TCP
 * answers with half the rate or less; and of classifiers that match everything, u32 is the one that
 * every kernel with traffic control has.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "kernel/link.h"
#include "kernel/netlink.h"
#include "kernel/tc.h"

/* The bucket holds what passes in 10 ms: a timer that is late by less costs no throughput. It holds
 * a frame of any MTU that Ethernet has; the kernel splits the super-packets that it does not. */
#define BURST_MS 10
#define BURST_MIN_BYTES (16 * 1024)
/* The queue holds 50 ms, and one super-packet, however it is split. */
#define QUEUE_MS 50
#define QUEUE_MIN_BYTES (64 * 1024)

#define INGRESS_HANDLE TC_H_MAKE(TC_H_INGRESS, 0)

static uint32_t bytes_in(uint64_t bytes_per_s, unsigned int ms, uint64_t min_bytes)
{
	return (uint32_t)MIN(MAX(bytes_per_s / 1000 * ms, min_bytes), UINT32_MAX);
}

/* On the link itself, for what goes out by it. */
static void add_bucket(struct nlbatch *b, int ifindex, const char *ifname, uint64_t bits_per_s)
{
	uint64_t rate = MAX(bits_per_s / 8, 1U);
	uint32_t burst = bytes_in(rate, BURST_MS, BURST_MIN_BYTES);
	struct tc_tbf_qopt qopt = {.limit = burst + bytes_in(rate, QUEUE_MS, QUEUE_MIN_BYTES)};
	struct nlattr *options;
	void *extra;
	struct nlmsghdr *nlh = nlbatch_add(
		b, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, sizeof(struct tcmsg), &extra, 0,
		"tc qdisc replace dev %s root tbf rate %llubit burst %u limit %u", ifname,
		(unsigned long long)bits_per_s, burst, qopt.limit);
	struct tcmsg *tcm = extra;

	tcm->tcm_ifindex = ifindex;
	tcm->tcm_parent = TC_H_ROOT;
	/* Known to be Ethernet, so that the kernel asks for no table of rates. */
	qopt.rate.linklayer = TC_LINKLAYER_ETHERNET;
	qopt.rate.rate = (uint32_t)MIN(rate, UINT32_MAX);
	mnl_attr_put_strz(nlh, TCA_KIND, "tbf");
	options = mnl_attr_nest_start(nlh, TCA_OPTIONS);
	mnl_attr_put(nlh, TCA_TBF_PARMS, sizeof(qopt), &qopt);
	mnl_attr_put_u64(nlh, TCA_TBF_RATE64, rate);
	mnl_attr_put_u32(nlh, TCA_TBF_BURST, burst);
	mnl_attr_nest_end(nlh, options);
}

/* parent_words: "root" or "ingress". Absent: done. */
static void del_qdisc(struct nlbatch *b, int ifindex, const char *ifname, uint32_t parent,
		      const char *parent_words)
{
	void *extra;
	struct tcmsg *tcm;

	nlbatch_add(b, RTM_DELQDISC, 0, sizeof(*tcm), &extra, ENOENT, "tc qdisc del dev %s %s",
		    ifname, parent_words);
	tcm = extra;
	tcm->tcm_ifindex = ifindex;
	tcm->tcm_parent = parent;
}

static void add_ingress(struct nlbatch *b, int ifindex, const char *ifname)
{
	void *extra;
	struct nlmsghdr *nlh =
		nlbatch_add(b, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct tcmsg),
			    &extra, 0, "tc qdisc add dev %s ingress", ifname);
	struct tcmsg *tcm = extra;

	tcm->tcm_ifindex = ifindex;
	tcm->tcm_parent = TC_H_INGRESS;
	tcm->tcm_handle = INGRESS_HANDLE;
	mnl_attr_put_strz(nlh, TCA_KIND, "ingress");
}

static void put_redirect(struct nlmsghdr *nlh, int to)
{
	struct tc_mirred mirred = {
		.action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = (uint32_t)to};
	struct nlattr *actions = mnl_attr_nest_start(nlh, TCA_U32_ACT);
	struct nlattr *first = mnl_attr_nest_start(nlh, 1), *options;

	mnl_attr_put_strz(nlh, TCA_ACT_KIND, "mirred");
	options = mnl_attr_nest_start(nlh, TCA_ACT_OPTIONS);
	mnl_attr_put(nlh, TCA_MIRRED_PARMS, sizeof(mirred), &mirred);
	mnl_attr_nest_end(nlh, options);
	mnl_attr_nest_end(nlh, first);
	mnl_attr_nest_end(nlh, actions);
}

static void add_redirect(struct nlbatch *b, int ifindex, const char *ifname, int to,
			 const char *to_name)
{
	const struct tc_u32_sel all = {.flags = TC_U32_TERMINAL}; /* no key to differ from */
	struct nlattr *options;
	void *extra;
	struct nlmsghdr *nlh = nlbatch_add(
		b, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct tcmsg), &extra, 0,
		"tc filter add dev %s ingress protocol all prio 1 u32 match u32 0 0 "
		"action mirred egress redirect dev %s",
		ifname, to_name);
	struct tcmsg *tcm = extra;

	tcm->tcm_ifindex = ifindex;
	tcm->tcm_parent = INGRESS_HANDLE;
	tcm->tcm_info = TC_H_MAKE(1U << 16, htons(ETH_P_ALL));
	mnl_attr_put_strz(nlh, TCA_KIND, "u32");
	options = mnl_attr_nest_start(nlh, TCA_OPTIONS);
	mnl_attr_put(nlh, TCA_U32_SEL, sizeof(all), &all);
	put_redirect(nlh, to);
	mnl_attr_nest_end(nlh, options);
}

/* The device is limited before anything is sent there. */
static int limit_in(struct nlbatch *b, const struct tc_limits *l, int ifindex, bool has_ifb,
		    struct err *err)
{
	struct link_change up = {
		.name = l->ifb, .alias = l->ifb_alias, .no_ipv6_autoconf = true, .up = true};
	int ifb = 0, r;

	if (!has_ifb)
		link_add_ifb(b, l->ifb, l->ifb_group);
	link_set(b, &up);
	r = nlbatch_commit(b, err);
	if (!r)
		r = link_index(b->ns, l->ifb, &ifb, err);
	if (r)
		return r;
	add_bucket(b, ifb, l->ifb, l->in_bits);
	del_qdisc(b, ifindex, l->ifname, TC_H_INGRESS, "ingress");
	add_ingress(b, ifindex, l->ifname);
	add_redirect(b, ifindex, l->ifname, ifb, l->ifb);
	return 0;
}

static void unlimit_in(struct nlbatch *b, const struct tc_limits *l, int ifindex, bool has_ifb)
{
	del_qdisc(b, ifindex, l->ifname, TC_H_INGRESS, "ingress");
	if (has_ifb)
		link_del(b, l->ifb);
}

static int find_ifb(struct netns *ns, const struct tc_limits *l, bool *ret, struct err *err)
{
	struct link link;
	int r = link_get(ns, l->ifb, &link, NULL);

	if (!r && link.group != l->ifb_group)
		return err_set(err, ERR_CONFLICT, -EEXIST, "interface %s exists already", l->ifb);
	*ret = !r;
	return 0;
}

int tc_limit(struct netns *ns, const struct tc_limits *l, struct err *err)
{
	_nlbatch_ struct nlbatch b;
	bool has_ifb = false;
	int ifindex = 0, r;

	nlbatch_init(&b, ns);
	r = link_index(ns, l->ifname, &ifindex, err);
	if (!r)
		r = find_ifb(ns, l, &has_ifb, err);
	if (!r && l->in_bits)
		r = limit_in(&b, l, ifindex, has_ifb, err);
	else if (!r)
		unlimit_in(&b, l, ifindex, has_ifb);
	if (r)
		return r;
	if (l->out_bits)
		add_bucket(&b, ifindex, l->ifname, l->out_bits);
	else
		del_qdisc(&b, ifindex, l->ifname, TC_H_ROOT, "root");
	return nlbatch_commit(&b, err);
}

/* ---- what there is ---- */

static int parse_bucket(const struct nlattr *attr, void *arg)
{
	struct tc_tbf_qopt qopt;
	struct tc_qdisc *q = arg;

	if (mnl_attr_get_type(attr) == TCA_TBF_PARMS && !q->bytes_per_s &&
	    mnl_attr_get_payload_len(attr) >= sizeof(qopt)) {
		memcpy(&qopt, mnl_attr_get_payload(attr), sizeof(qopt));
		q->bytes_per_s = qopt.rate.rate;
	}
	if (mnl_attr_get_type(attr) == TCA_TBF_RATE64) /* of one that the other does not hold */
		q->bytes_per_s = mnl_attr_get_u64(attr);
	return MNL_CB_OK;
}

/* The kind stands before what is of it. */
static int parse_qdisc(const struct nlattr *attr, void *arg)
{
	struct tc_qdisc *q = arg;

	if (mnl_attr_get_type(attr) == TCA_KIND)
		q->is_bucket = !strcmp(mnl_attr_get_str(attr), "tbf");
	if (mnl_attr_get_type(attr) == TCA_OPTIONS && q->is_bucket)
		mnl_attr_parse_nested(attr, parse_bucket, q);
	return MNL_CB_OK;
}

struct each {
	tc_fn fn;
	void *arg;
};

static int each_qdisc(const struct nlmsghdr *nlh, void *arg)
{
	const struct tcmsg *tcm = mnl_nlmsg_get_payload(nlh);
	struct tc_qdisc q = {.ifindex = tcm->tcm_ifindex,
			     .is_ingress = tcm->tcm_parent == TC_H_INGRESS};
	const struct each *each = arg;

	if (!q.is_ingress && tcm->tcm_parent != TC_H_ROOT)
		return 0;
	mnl_attr_parse(nlh, sizeof(*tcm), parse_qdisc, &q);
	return each->fn(&q, each->arg);
}

static struct nlmsghdr *dump_request(char *buf, uint16_t type, int ifindex, uint32_t parent)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct tcmsg *tcm = mnl_nlmsg_put_extra_header(nlh, sizeof(*tcm));

	nlh->nlmsg_type = type;
	tcm->tcm_ifindex = ifindex;
	tcm->tcm_parent = parent;
	return nlh;
}

int tc_each(struct netns *ns, tc_fn fn, void *arg, struct err *err)
{
	struct each each = {.fn = fn, .arg = arg};
	char buf[256];

	return nl_dump(ns, dump_request(buf, RTM_GETQDISC, 0, 0), each_qdisc, &each, err);
}

bool tc_is_bucket_of(const struct tc_qdisc *q, uint64_t bits_per_s)
{
	return q && q->is_bucket && q->bytes_per_s == MAX(bits_per_s / 8, 1U);
}

static int count_filter(const struct nlmsghdr *nlh, void *arg)
{
	(void)nlh;
	++*(size_t *)arg;
	return 0;
}

bool tc_has_filter(struct netns *ns, int ifindex)
{
	size_t n = 0;
	char buf[256];

	return !nl_dump_once(ns, dump_request(buf, RTM_GETTFILTER, ifindex, INGRESS_HANDLE),
			     count_filter, &n, NULL) &&
	       n;
}
