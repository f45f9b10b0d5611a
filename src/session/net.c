// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 *	NAME            NAME.out                         host
 *	lo, tun0        veth-NAME-ns 10.9.0.5/32 ─────── veth-NAME ── routing, masquerade ── eth0
 *	                  default via 169.254.1.1          10.9.0.5 dev veth-NAME
 *
 * In split mode the pair ends in NAME itself. The host's end has no address: the session's gateway
 * is one that nobody has (RFC 3927), and permanent neighbours on both sides make ARP needless.
 * Sessions share no network that way, however close their addresses are. Without masquerading, and
 * with an address of the interface's own network, the host answers ARP for it there.
 *
 * Rules, in a table of their own beside that of VPCs. Every pair's end on the host is in the link
 * group GROUP_SESSION; sessions are set elements:
 *
 *  1. What comes out of a pair carries the session's address, or is dropped: the set `source`.
 *  2. A session reaches what is behind its own interface, and neither another session, nor a VPC,
 *     nor another network of the host: the set `out`.
 *  3. From outside, and from the host's own addresses, a session gets replies; the host may begin.
 *  4. IPv6 does not go through: a session has no address of it outside of its tunnel.
 *
 * A VPC's rules let out and in as little, by themselves, so that between a session and a VPC both
 * would have to agree.
 *
 * Order: rules before pairs (ops/session.c); a pair carries its group from birth; namespaces their
 * mark before their name. Taken away is what is marked as this session's.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/etc.h"
#include "base/util.h"
#include "firewall/ruleset.h"
#include "kernel/addr.h"
#include "kernel/link.h"
#include "kernel/neigh.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"
#include "kernel/route.h"
#include "proc/reap.h"
#include "session/net.h"
#include "vpc/names.h"
#include "vpc/net.h"

#define LO_INDEX 1
#define MTU_DEFAULT 1500u
#define CARRIER_SUFFIX ".out"

/* From linux/netfilter_ipv4.h, which clashes with netinet/in.h. */
#define NF_IP_PRI_FILTER 0
#define NF_IP_PRI_NAT_SRC 100

const struct ip session_gateway = {.family = AF_INET, .bytes = {169, 254, 1, 1}};
static const struct cidr everywhere = {.addr.family = AF_INET};

/* ---- Names ---- */

static int claim_netns(struct store *st, const char *name, struct err *err)
{
	int taken = name_netns_taken(st, name, err);

	return taken > 0 ? err_set(err, ERR_CONFLICT, -EEXIST,
				   "a network namespace named %s exists already", name)
			 : taken;
}

int session_names(struct store *st, struct netns *host, struct session *s, struct err *err)
{
	char full[NAME_MAX_LEN + 16];
	int r;

	str_copy(s->netns, sizeof(s->netns), s->name);
	s->carrier[0] = '\0';
	if (s->mode == SESSION_FULL)
		snprintf(s->carrier, sizeof(s->carrier), "%s" CARRIER_SUFFIX, s->name);
	r = claim_netns(st, s->netns, err);
	if (!r && *s->carrier)
		r = claim_netns(st, s->carrier, err);
	snprintf(full, sizeof(full), "session/%s", s->name);
	return r ? r : name_veth(st, host, s->name, full, s->veth_host, s->veth_ns, err);
}

/* ---- Up ---- */

static struct cidr host_cidr(const struct session *s)
{
	return (struct cidr){.addr = s->addr, .prefix = ip_bits(s->addr.family)};
}

struct lookup {
	int index;
	const struct ip *addr;
	bool found;
};

static int match_network(const struct addr *a, void *arg)
{
	struct lookup *l = arg;

	l->found |= a->ifindex == l->index && cidr_has(&a->addr, l->addr);
	return 0;
}

/* Where the network of the session's interface would ask for its address. */
static int add_proxy(struct nlbatch *b, const struct session *s, const struct link *out,
		     struct err *err)
{
	struct lookup l = {.index = out->index, .addr = &s->addr};
	int r = s->nat ? 0 : addr_each(b->ns, match_network, &l, err);

	if (!r && l.found)
		neigh_add_proxy(b, out->index, s->interface, &s->addr);
	return r;
}

static void add_pair(struct nlbatch *b, const struct session *s, const struct netns *outer,
		     uint32_t mtu_bytes, const char *alias)
{
	struct veth_spec pair = {.name = s->veth_host,
				 .mtu_bytes = mtu_bytes,
				 .group = GROUP_SESSION,
				 .mac = mac_from_name(s->veth_host),
				 .peer_name = s->veth_ns,
				 .peer_netns_name = outer->name,
				 .peer_netns_fd = outer->fd,
				 .peer_mac = mac_from_name(alias)};
	struct link_change up = {
		.name = s->veth_host, .alias = alias, .no_ipv6_autoconf = true, .up = true};

	link_add_veth(b, &pair);
	link_set(b, &up);
}

static int host_up(struct netns *host, const struct session *s, const struct netns *outer,
		   const char *alias, struct err *err)
{
	struct cidr to = host_cidr(s);
	struct mac mac = mac_from_name(alias);
	_nlbatch_ struct nlbatch b;
	struct link out;
	int index, r = link_get(host, s->interface, &out, err);

	nlbatch_init(&b, host);
	if (r)
		return r;
	add_pair(&b, s, outer, out.mtu_bytes ? out.mtu_bytes : MTU_DEFAULT, alias);
	r = nlbatch_commit(&b, err);
	if (!r)
		r = link_index(host, s->veth_host, &index, err);
	if (!r)
		r = add_proxy(&b, s, &out, err);
	if (r)
		return r;
	neigh_add(&b, index, s->veth_host, &s->addr, &mac);
	route_add_link(&b, index, s->veth_host, &to);
	return nlbatch_commit(&b, err);
}

static void add_lo(struct nlbatch *b)
{
	struct link_change lo = {.name = "lo", .index = LO_INDEX, .up = true};

	link_set(b, &lo);
}

static int outer_up(struct netns *outer, const struct session *s, const char *alias,
		    struct err *err)
{
	struct link_change veth = {
		.name = s->veth_ns, .alias = alias, .no_ipv6_autoconf = true, .up = true};
	struct mac mac = mac_from_name(s->veth_host);
	struct cidr addr = host_cidr(s);
	_nlbatch_ struct nlbatch b;
	int index, r = link_index(outer, s->veth_ns, &index, err);

	nlbatch_init(&b, outer);
	if (r)
		return r;
	add_lo(&b);
	link_set(&b, &veth);
	addr_add(&b, index, s->veth_ns, &addr);
	neigh_add(&b, index, s->veth_ns, &session_gateway, &mac);
	route_add_via(&b, index, s->veth_ns, &everywhere, &session_gateway);
	return nlbatch_commit(&b, err);
}

/* Of full mode: nothing but a loopback device, until there is a tunnel. */
static int inner_up(struct netns *host, const struct session *s, const char *alias,
		    struct netns **ret, struct err *err)
{
	_netns_ struct netns *inner = NULL;
	_nlbatch_ struct nlbatch b;
	int r = netns_create(s->netns, alias, host->log, &inner, err);

	nlbatch_init(&b, inner);
	if (r)
		return r;
	add_lo(&b);
	r = nlbatch_commit(&b, err);
	if (!r)
		*ret = TAKE_PTR(inner);
	return r;
}

int session_net_up(struct netns *host, const struct session *s, struct netns **ret_outer,
		   struct netns **ret_inner, struct err *err)
{
	_netns_ struct netns *outer = NULL, *inner = NULL;
	char alias[LINK_ALIAS_MAX];
	int r;

	alias_session(s->name, alias, sizeof(alias));
	r = netns_create(session_outer(s), alias, host->log, &outer, err);
	if (!r && *s->carrier)
		r = inner_up(host, s, alias, &inner, err);
	if (!r)
		r = host_up(host, s, outer, alias, err);
	if (!r)
		r = outer_up(outer, s, alias, err);
	if (r)
		return r;
	*ret_inner = inner ? TAKE_PTR(inner) : outer;
	*ret_outer = TAKE_PTR(outer);
	return 0;
}

/* ---- Is it there, and is it this session's ---- */

/* -ENOENT: there is no namespace of that name, or nothing behind it. */
static int owner_of(const char *netns, struct oplog *log, char alias[LINK_ALIAS_MAX])
{
	_netns_ struct netns *ns = NULL;
	struct link lo;
	int r = netns_open(netns, log, &ns, NULL);

	if (!r)
		r = link_get(ns, "lo", &lo, NULL);
	if (!r)
		memcpy(alias, lo.alias, LINK_ALIAS_MAX);
	return r;
}

static bool netns_is_its(const struct session *s, const char *netns, struct oplog *log)
{
	char alias[LINK_ALIAS_MAX], want[LINK_ALIAS_MAX];

	alias_session(s->name, want, sizeof(want));
	return !owner_of(netns, log, alias) && !strcmp(alias, want);
}

static bool link_is_up(struct netns *ns, const char *name)
{
	struct link link;

	return !link_get(ns, name, &link, NULL) && link.up;
}

bool session_net_is_up(struct netns *host, const struct session *s)
{
	_netns_ struct netns *outer = NULL;

	return netns_is_its(s, s->netns, host->log) &&
	       netns_is_its(s, session_outer(s), host->log) && link_is_up(host, s->veth_host) &&
	       !netns_open(session_outer(s), host->log, &outer, NULL) &&
	       link_is_up(outer, s->veth_ns);
}

/* ---- Cut off, for a while ---- */

#define CUT_METRIC 1u

/* Both halves of what there is: before the default route, which stays as it is. */
static void cut(struct nlbatch *b, bool wanted)
{
	for (uint8_t half = 0; half < 2; half++) {
		const struct route nowhere = {
			.dst = {.addr = {.family = AF_INET, .bytes = {(uint8_t)(half << 7)}},
				.prefix = 1},
			.metric = CUT_METRIC,
			.table = RT_TABLE_MAIN,
			.type = RTN_UNREACHABLE};

		if (wanted)
			route_replace(b, &nowhere, NULL);
		else
			route_del(b, &nowhere);
	}
}

int session_net_cut(const struct session *s, struct oplog *log, struct err *err)
{
	_netns_ struct netns *outer = NULL;
	_nlbatch_ struct nlbatch b;
	int r = netns_open(session_outer(s), log, &outer, err);

	nlbatch_init(&b, outer);
	if (r)
		return r;
	cut(&b, true);
	return nlbatch_commit(&b, err);
}

static int match_cut(const struct route *r, void *arg)
{
	bool *found = arg;

	*found |= r->type == RTN_UNREACHABLE && r->protocol == ROUTE_PROTOCOL &&
		  r->dst.prefix == 1 && r->metric == CUT_METRIC;
	return 0;
}

int session_net_mend(const struct session *s, struct oplog *log, bool *ret_changed, struct err *err)
{
	_netns_ struct netns *outer = NULL;
	_nlbatch_ struct nlbatch b;
	bool found = false;
	int r = netns_open(session_outer(s), log, &outer, err);

	nlbatch_init(&b, outer);
	if (r)
		return r == -ENOENT ? 0 : r;
	r = route_each(outer, AF_INET, match_cut, &found, err);
	if (r || !found)
		return r;
	cut(&b, false);
	if (ret_changed)
		*ret_changed = true;
	return nlbatch_commit(&b, err);
}

/* ---- Down ---- */

/* A name that is somebody else's by now stays, with what runs there. */
static void doom_netns(struct name_list *l, const struct session *s, const char *netns,
		       struct oplog *log)
{
	char alias[LINK_ALIAS_MAX], want[LINK_ALIAS_MAX];

	if (!*netns || !netns_exists(netns))
		return;
	alias_session(s->name, want, sizeof(want));
	if (owner_of(netns, log, alias) || !strcmp(alias, want))
		name_list_add(l, netns);
}

static void namespaces_down(struct netns *host, const struct name_list *doomed, struct failures *f)
{
	for (size_t i = 0; i < doomed->n; i++)
		failures_add(f, netns_delete(doomed->names[i], host->log, failures_err(f)));
}

static int proxies_down(struct netns *host, const struct session *s, size_t n, struct err *err)
{
	_nlbatch_ struct nlbatch b;

	nlbatch_init(&b, host);
	for (size_t i = 0; i < n; i++) {
		struct link out;

		if (!s[i].nat && !link_get(host, s[i].interface, &out, NULL))
			neigh_del_proxy(&b, out.index, s[i].interface, &s[i].addr);
	}
	return nlbatch_commit(&b, err);
}

int session_net_down(struct netns *host, const struct session *s, size_t n, struct err *err)
{
	_name_list_ struct name_list netns = {0}, links = {0};
	struct failures f = {.err = err};

	for (size_t i = 0; i < n; i++) {
		doom_netns(&netns, &s[i], s[i].netns, host->log);
		doom_netns(&netns, &s[i], s[i].carrier, host->log);
		name_list_add(&links, s[i].veth_host);
	}
	failures_add(&f,
		     reap_netns(netns.names, netns.n, REAP_GRACE_MS, host->log, failures_err(&f)));
	failures_add(&f, proxies_down(host, s, n, failures_err(&f)));
	failures_add(&f, links_down(host, &links, failures_err(&f)));
	namespaces_down(host, &netns, &f);
	for (size_t i = 0; i < n && !oplog_dry(host->log); i++)
		failures_add(&f, etc_remove(s[i].netns, failures_err(&f)));
	return failures_tell(&f);
}

/* ---- Rules ---- */

static const enum fw_field source_fields[] = {FW_IIFNAME, FW_IP4_SADDR};
static const enum fw_field out_fields[] = {FW_IP4_SADDR, FW_OIFNAME};

static void match_from(struct fw_rule *r)
{
	fw_match_u32(r, FW_IIFGROUP, FW_OP_EQ, GROUP_SESSION);
}

static void match_to(struct fw_rule *r)
{
	fw_match_u32(r, FW_OIFGROUP, FW_OP_EQ, GROUP_SESSION);
}

static void add_elem(struct fw_set *set, const char *interface, size_t at, const struct ip *addr)
{
	struct fw_elem e = {0};

	fw_elem_name(&e, at, interface);
	fw_elem_ip(&e, 1 - at, addr);
	fw_set_add(set, &e);
}

static void forward_chain(struct fw_table *t, const struct fw_set *source, const struct fw_set *out)
{
	struct fw_chain *c = fw_base_chain(t, "forward", FW_CHAIN_FILTER, FW_HOOK_FORWARD,
					   NF_IP_PRI_FILTER, FW_ACCEPT);
	struct fw_rule *r = fw_rule(c, FW_ACCEPT);

	match_from(r);
	fw_match_set(r, FW_OP_IN, source, 2, source_fields);
	fw_match_set(r, FW_OP_IN, out, 2, out_fields);
	match_from(fw_rule(c, FW_DROP));
	r = fw_rule(c, FW_ACCEPT);
	match_to(r);
	fw_match_replies(r);
	match_to(fw_rule(c, FW_DROP));
}

static void input_chain(struct fw_table *t, const struct fw_set *source)
{
	struct fw_chain *c = fw_base_chain(t, "input", FW_CHAIN_FILTER, FW_HOOK_INPUT,
					   NF_IP_PRI_FILTER, FW_ACCEPT);
	struct fw_rule *r = fw_rule(c, FW_ACCEPT);

	match_from(r);
	fw_match_set(r, FW_OP_IN, source, 2, source_fields);
	fw_match_replies(r);
	match_from(fw_rule(c, FW_DROP));
}

static void masquerade_chain(struct fw_table *t, const struct fw_set *nat)
{
	struct fw_chain *c = fw_base_chain(t, "postrouting", FW_CHAIN_NAT, FW_HOOK_POSTROUTING,
					   NF_IP_PRI_NAT_SRC, FW_ACCEPT);

	fw_match_set(fw_rule(c, FW_MASQUERADE), FW_OP_IN, nat, 2, out_fields);
}

void session_rules(struct ruleset *rs, const struct session *s, size_t n)
{
	struct fw_table *t = ruleset_table(rs, FW_INET, "byway_session");
	struct fw_set *source = fw_set(t, "source", 2, source_fields);
	struct fw_set *out = fw_set(t, "out", 2, out_fields);
	struct fw_set *nat = fw_set(t, "nat", 2, out_fields);

	for (size_t i = 0; i < n; i++) {
		if (s[i].state == ROW_DELETING)
			continue;
		add_elem(source, s[i].veth_host, 0, &s[i].addr);
		add_elem(out, s[i].interface, 1, &s[i].addr);
		if (s[i].nat)
			add_elem(nat, s[i].interface, 1, &s[i].addr);
	}
	forward_chain(t, source, out);
	input_chain(t, source);
	masquerade_chain(t, nat);
}
