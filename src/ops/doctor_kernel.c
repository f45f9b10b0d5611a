// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What byway needs of kernel and system. Features are tried out, in a namespace that nobody sees,
 * not looked up: a configuration file tells neither of modules that are missing nor of what a
 * container forbids.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/netfilter_ipv4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/err.h"
#include "firewall/firewall.h"
#include "kernel/caps.h"
#include "kernel/link.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/rule.h"
#include "kernel/sysctl.h"
#include "kernel/tun.h"
#include "ops/doctor.h"
#include "ops/ops.h"
#include "proc/run.h"
#include "vpc/names.h"

/* ---- Capabilities ---- */

int doctor_capabilities(struct ops *o, struct findings *f, struct err *err)
{
	static const struct {
		int cap;
		enum severity severity;
		const char *why;
	} wanted[] = {
		{CAP_NET_ADMIN, SEVERITY_PROBLEM, "links, routes and rules cannot be changed"},
		{CAP_SYS_ADMIN, SEVERITY_PROBLEM,
		 "network namespaces can be neither made nor entered"},
		{CAP_NET_RAW, SEVERITY_WARNING, "sessions cannot ask who has an address"},
		{CAP_SYS_PTRACE, SEVERITY_WARNING,
		 "a session's TUN device cannot outlive its openconnect"},
		{CAP_SETGID, SEVERITY_WARNING, "the ssh of a tunnel gets no group of its own"},
	};

	(void)o;
	(void)err;
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		struct finding *one;
		struct err why;

		if (!caps_require(&wanted[i].cap, 1, &why))
			continue;
		one = doctor_found(f, wanted[i].severity, "%s", why.msg);
		doctor_why(one, "%s", wanted[i].why);
		doctor_fix(one, "sudo byway doctor");
	}
	return 0;
}

/* ---- Features ---- */

#define PROBE "byway-probe"

typedef void (*add_fn)(struct nlbatch *b);

static int commit(struct netns *ns, add_fn add, struct err *err)
{
	_nlbatch_ struct nlbatch b;

	nlbatch_init(&b, ns);
	add(&b);
	return nlbatch_commit(&b, err);
}

static void add_bridge(struct nlbatch *b)
{
	link_add_bridge(b,
			&(struct bridge_spec){.name = PROBE, .mac.bytes = {2}, .mtu_bytes = 1500});
}

static void add_veth(struct nlbatch *b)
{
	link_add_veth(b, &(struct veth_spec){.name = PROBE "0",
					     .peer_name = PROBE "1",
					     .peer_netns_fd = -1,
					     .mtu_bytes = 1500});
}

static void add_ifb(struct nlbatch *b)
{
	link_add_ifb(b, PROBE "2", GROUP_PORT);
}

static void add_rules(struct nlbatch *b)
{
	struct rule_spec s = {AF_INET, 9899, 1, 1, 9899};

	rule_add(b, &s);
	s.family = AF_INET6;
	rule_add(b, &s);
}

static int probe_bridge(struct netns *ns, struct err *err)
{
	return commit(ns, add_bridge, err);
}

static int probe_veth(struct netns *ns, struct err *err)
{
	return commit(ns, add_veth, err);
}

static int probe_ifb(struct netns *ns, struct err *err)
{
	return commit(ns, add_ifb, err);
}

static int probe_rules(struct netns *ns, struct err *err)
{
	return commit(ns, add_rules, err);
}

static int probe_tun(struct netns *ns, struct err *err)
{
	_close_ int fd = -1;

	return tun_open(ns, PROBE "3", 1, &fd, err);
}

static int probe_ipv6(struct netns *ns, struct err *err)
{
	char value[SYSCTL_VALUE_MAX];

	return sysctl_get(ns, "net/ipv6/conf/all/forwarding", value, err);
}

/* One table with what is asked for in it, by whichever backend works. */
static int apply(struct netns *ns, enum fw_family family, void (*fill)(struct fw_table *),
		 struct err *err)
{
	_firewall_ struct firewall *fw = NULL;
	_ruleset_ struct ruleset rs;
	int r;

	ruleset_init(&rs);
	fill(ruleset_table(&rs, family, "byway_probe"));
	r = firewall_new(FW_AUTO, ns, &fw, err);
	return r ? r : firewall_apply(fw, ns, &rs, err);
}

static struct fw_chain *chain(struct fw_table *t, enum fw_chain_type type, enum fw_hook hook)
{
	return fw_base_chain(t, "probe", type, hook, NF_IP_PRI_FILTER, FW_ACCEPT);
}

static void fill_filter(struct fw_table *t)
{
	static const enum fw_field key[] = {FW_IP4_SADDR, FW_OIFNAME};
	struct fw_set *set = fw_interval_set(t, "reach", 2, key);
	struct fw_chain *c = chain(t, FW_CHAIN_FILTER, FW_HOOK_FORWARD);

	fw_match_set(fw_rule(c, FW_ACCEPT), FW_OP_IN, set, 2, key);
	fw_match_u32(fw_rule(c, FW_DROP), FW_IIFGROUP, FW_OP_EQ, GROUP_VPC);
}

static void fill_conntrack(struct fw_table *t)
{
	fw_match_replies(fw_rule(chain(t, FW_CHAIN_FILTER, FW_HOOK_FORWARD), FW_ACCEPT));
}

static void fill_nat(struct fw_table *t)
{
	fw_match_name(fw_rule(chain(t, FW_CHAIN_NAT, FW_HOOK_POSTROUTING), FW_MASQUERADE),
		      FW_OIFNAME, FW_OP_EQ, "eth0");
}

static void fill_reject(struct fw_table *t)
{
	fw_rule(chain(t, FW_CHAIN_FILTER, FW_HOOK_OUTPUT), FW_REJECT);
}

static void fill_route(struct fw_table *t)
{
	fw_rule_set_bits(chain(t, FW_CHAIN_ROUTE, FW_HOOK_OUTPUT), FW_SET_MARK, 1);
}

static void fill_local(struct fw_table *t)
{
	fw_match_u32(fw_rule(chain(t, FW_CHAIN_FILTER, FW_HOOK_PREROUTING), FW_ACCEPT),
		     FW_DADDR_TYPE, FW_OP_EQ, 2);
}

static void fill_bridge(struct fw_table *t)
{
	fw_match_name(fw_rule(chain(t, FW_CHAIN_FILTER, FW_HOOK_PREROUTING), FW_DROP), FW_IIFNAME,
		      FW_OP_EQ, "port");
}

static int probe_filter(struct netns *ns, struct err *err)
{
	return apply(ns, FW_INET, fill_filter, err);
}

static int probe_conntrack(struct netns *ns, struct err *err)
{
	return apply(ns, FW_INET, fill_conntrack, err);
}

static int probe_nat(struct netns *ns, struct err *err)
{
	return apply(ns, FW_INET, fill_nat, err);
}

static int probe_reject(struct netns *ns, struct err *err)
{
	return apply(ns, FW_INET, fill_reject, err);
}

static int probe_route(struct netns *ns, struct err *err)
{
	return apply(ns, FW_INET, fill_route, err);
}

static int probe_local(struct netns *ns, struct err *err)
{
	return apply(ns, FW_INET, fill_local, err);
}

static int probe_guard(struct netns *ns, struct err *err)
{
	return apply(ns, FW_BRIDGE, fill_bridge, err);
}

static const struct {
	const char *config, *needed_by;
	enum severity severity;
	int (*probe)(struct netns *ns, struct err *err);
} features[] = {
	{"CONFIG_BRIDGE", "each VPC and network is a bridge", SEVERITY_PROBLEM, probe_bridge},
	{"CONFIG_VETH", "subnets and sessions are joined by veth pairs", SEVERITY_PROBLEM,
	 probe_veth},
	{"CONFIG_TUN", "tunnels, sessions and virtual machines have TUN and TAP devices",
	 SEVERITY_PROBLEM, probe_tun},
	{"CONFIG_IFB", "the rates of virtual machines are limited by it", SEVERITY_NOTE, probe_ifb},
	{"CONFIG_IP_MULTIPLE_TABLES and CONFIG_IPV6_MULTIPLE_TABLES",
	 "tunnels take packets in by rules of routing", SEVERITY_PROBLEM, probe_rules},
	{"CONFIG_IPV6", "IPv6 cannot be carried", SEVERITY_NOTE, probe_ipv6},
	{"CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET",
	 "who reaches whom is decided by sets and rules of nftables", SEVERITY_PROBLEM,
	 probe_filter},
	{"CONFIG_NF_CONNTRACK and CONFIG_NFT_CT", "replies are let through", SEVERITY_PROBLEM,
	 probe_conntrack},
	{"CONFIG_NFT_NAT and CONFIG_NFT_MASQ", "VPCs and sessions go out by NAT", SEVERITY_PROBLEM,
	 probe_nat},
	{"CONFIG_NFT_REJECT", "a kill switch tells programs at once that they are blocked",
	 SEVERITY_PROBLEM, probe_reject},
	{"CONFIG_NF_TABLES", "tunnels mark what they capture, in a chain of type route",
	 SEVERITY_PROBLEM, probe_route},
	{"CONFIG_NFT_FIB_INET", "tunnels let in what is for this host", SEVERITY_PROBLEM,
	 probe_local},
	{"CONFIG_NF_TABLES_BRIDGE", "the guard of bridge ports keeps neighbours from forging",
	 SEVERITY_PROBLEM, probe_guard},
};

/* Each in a namespace of its own. Without the rights nothing is known. */
static int try_feature(size_t i, struct findings *f, struct err *err)
{
	_netns_ struct netns *ns = NULL;
	struct finding *one;
	int r = netns_create_private(NULL, &ns, err);

	if (!r)
		r = features[i].probe(ns, err);
	if (!r || r == -EPERM)
		return r;
	one = doctor_found(f, features[i].severity, "the kernel lacks %s: %s", features[i].config,
			   err->msg);
	doctor_why(one, "%s", features[i].needed_by);
	return 0;
}

int doctor_kernel(struct ops *o, struct findings *f, struct err *err)
{
	int r = 0;

	(void)o;
	for (size_t i = 0; !r && i < ARRAY_SIZE(features); i++)
		r = try_feature(i, f, err);
	return r;
}

/* ---- Programs ---- */

int doctor_programs(struct ops *o, struct findings *f, struct err *err)
{
	static const struct {
		const char *name, *package, *why;
	} wanted[] = {
		{"ssh", "openssh-client", "tunnels over SSH are the user's own ssh"},
		{"openconnect", "openconnect", "sessions are openconnect's"},
		{"dnsmasq", "dnsmasq-base", "networks can have DHCP and names by it"},
	};

	(void)o;
	(void)err;
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		struct finding *one;

		if (run_has(wanted[i].name))
			continue;
		one = doctor_found(f, SEVERITY_NOTE, "there is no program %s", wanted[i].name);
		doctor_why(one, "%s", wanted[i].why);
		doctor_fix(one, "apt install %s", wanted[i].package);
	}
	return 0;
}

/* ---- Limits ---- */

#define THRESH "net/%s/neigh/default/gc_thresh3"

/* Learnt neighbours of all namespaces together. Ports are permanent ones, which do not count; but
 * each namespace learns some: multicast groups, routers, whom it speaks to. */
static int check_neighbours(struct ops *o, const char *family, int64_t namespaces,
			    struct findings *f)
{
	char key[64], value[SYSCTL_VALUE_MAX], enough[32];
	struct finding *one;

	snprintf(key, sizeof(key), THRESH, family);
	/* Of the first namespace only. */
	if (sysctl_get(o->host, key, value, NULL) || namespaces * 2 <= atoll(value))
		return 0;
	snprintf(enough, sizeof(enough), "%lld", (long long)namespaces * 8);
	one = doctor_found(f, SEVERITY_WARNING,
			   "the table of neighbours (%s) has room for %s entries of all namespaces "
			   "together, and there are %lld",
			   family, value, (long long)namespaces);
	doctor_why(one,
		   "when it is full, nobody finds a new neighbour (\"neighbour table overflow\")");
	doctor_fix_setting(one, key, enough);
	return 0;
}

static void check_inotify(struct findings *f)
{
	_close_ int fd = inotify_init1(IN_CLOEXEC);
	struct finding *one;

	if (fd >= 0 || errno != EMFILE)
		return;
	one = doctor_found(f, SEVERITY_WARNING, "this user has no inotify instance left");
	doctor_why(one, "a tunnel over SSH waits by it for ssh to be ready");
	doctor_fix(one, "sysctl -w fs.inotify.max_user_instances=1024");
}

int doctor_limits(struct ops *o, struct findings *f, struct err *err)
{
	int64_t subnets = 0, sessions = 0;
	int r = row_number(o->st, "SELECT COUNT(*) FROM subnet", NULL, &subnets, err);

	if (!r)
		r = row_number(o->st, "SELECT COUNT(*) FROM session", NULL, &sessions, err);
	if (r)
		return r;
	check_inotify(f);
	r = check_neighbours(o, "ipv4", subnets + sessions * 2, f);
	return r ? r : check_neighbours(o, "ipv6", subnets + sessions * 2, f);
}
