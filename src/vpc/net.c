// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 *	namespace                      host
 *	veth-web-ns 10.0.1.1/24 ────── veth-web ── br-prod 10.0.0.1/16 ── routing, NAT ── eth0
 *	  default, 10.0.0.0/16                       │ trunk, when 900 ports are used
 *	  via 10.0.0.1 onlink                      br-prod.1 ── further subnets
 *
 * The bridge's MAC is fixed and the subnets' are derived from their names, so both ends know each
 * other from the start: permanent neighbours on both sides, no ARP and no neighbour discovery on
 * the way to the first packet. IPv6 addresses are all given by hand, autoconfiguration is off before
 * a link comes up and duplicate address detection is skipped, so that nothing is ever waited for.
 *
 * A port is on the same bridge: a TAP, which somebody else will open, or a veth pair whose other end
 * is born inside a container's namespace and is like a subnet's.
 *
 * What the order must keep: a link carries its group from birth; the marking alias comes in the
 * same send. A TAP cannot be born with a group: it is ours alone, and goes with us, until it is
 * marked. The port's place in the firewall sets was made before (host_rules.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "firewall/ruleset.h"
#include "kernel/addr.h"
#include "kernel/link.h"
#include "kernel/neigh.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/route.h"
#include "kernel/sysctl.h"
#include "kernel/tc.h"
#include "kernel/tun.h"
#include "vpc/clone.h"
#include "vpc/names.h"
#include "vpc/net.h"
#include "vpc/port.h"
#include "vpc/vpc.h"

#define LO_INDEX 1

static const struct cidr default4 = {.addr.family = AF_INET}, default6 = {.addr.family = AF_INET6};

static void add_bridge(struct nlbatch *b, const char *name, const char *alias, struct mac mac,
		       uint32_t mtu_bytes, uint32_t group)
{
	struct bridge_spec spec = {.name = name, .mac = mac, .mtu_bytes = mtu_bytes, .group = group};
	struct link_change change = {.name = name, .alias = alias, .no_ipv6_autoconf = true, .up = true};

	link_add_bridge(b, &spec);
	link_set(b, &change);
}

static struct cidr link_local(struct mac mac)
{
	return (struct cidr){.addr = mac_link_local(&mac), .prefix = 64};
}

size_t vpc_bridge_addrs(const struct vpc *v, struct cidr ret[VPC_BRIDGE_ADDRS])
{
	size_t n = 0;

	ret[n++] = (struct cidr){.addr = vpc_gateway(&v->cidr), .prefix = v->cidr.prefix};
	if (!v->cidr6.addr.family)
		return n;
	ret[n++] = (struct cidr){.addr = vpc_gateway(&v->cidr6), .prefix = v->cidr6.prefix};
	ret[n++] = link_local(vpc_bridge_mac(v));
	return n;
}

int vpc_up(struct netns *host, const struct vpc *v, struct err *err)
{
	_nlbatch_ struct nlbatch b;
	struct cidr addrs[VPC_BRIDGE_ADDRS];
	char alias[LINK_ALIAS_MAX];
	size_t n = vpc_bridge_addrs(v, addrs);
	int index, r;

	nlbatch_init(&b, host);
	alias_vpc(v->name, alias, sizeof(alias));
	add_bridge(&b, v->bridge, alias, vpc_bridge_mac(v), v->mtu_bytes, GROUP_VPC);
	r = nlbatch_commit(&b, err);
	if (!r)
		r = link_index(host, v->bridge, &index, err);
	if (!r && v->cidr6.addr.family)
		r = sysctl_enable_ipv6(host, v->bridge, err);
	if (r)
		return r;
	for (size_t i = 0; i < n; i++)
		addr_add(&b, index, v->bridge, &addrs[i]);
	fdb_add_local(&b, index, v->bridge, &fw_take_mac);
	return nlbatch_commit(&b, err);
}

int vpc_take(struct netns *host, const struct vpc *v, const struct segment *s, size_t n,
	     struct err *err)
{
	_nlbatch_ struct nlbatch b;
	int index, r = link_index(host, v->bridge, &index, err);

	nlbatch_init(&b, host);
	if (!r)
		fdb_add_local(&b, index, v->bridge, &fw_take_mac);
	for (size_t i = 0; !r && i < n; i++) {
		r = link_index(host, s[i].trunk_down, &index, err);
		if (!r)
			fdb_add_port(&b, index, s[i].trunk_down, &fw_take_mac);
	}
	return r ? r : nlbatch_commit(&b, err);
}

int segment_up(struct netns *host, const struct vpc *v, const struct segment *s, struct err *err)
{
	struct veth_spec trunk = {.name = s->trunk_up,
				  .peer_name = s->trunk_down,
				  .mtu_bytes = v->mtu_bytes,
				  .group = GROUP_PORT,
				  .mac = mac_from_name(s->trunk_up),
				  .peer_mac = mac_from_name(s->trunk_down),
				  .peer_netns_fd = -1};
	struct link_change up = {.name = s->trunk_up, .no_ipv6_autoconf = true, .up = true};
	struct link_change down = {.name = s->trunk_down, .no_ipv6_autoconf = true, .up = true};
	_nlbatch_ struct nlbatch b;
	char alias[LINK_ALIAS_MAX];
	int r;

	nlbatch_init(&b, host);
	alias_segment(v->name, s->no, alias, sizeof(alias));
	add_bridge(&b, s->bridge, alias, mac_from_name(alias), v->mtu_bytes, GROUP_PORT);
	link_add_veth(&b, &trunk);
	r = nlbatch_commit(&b, err);
	if (!r)
		r = link_index(host, v->bridge, &up.master, err);
	if (!r)
		r = link_index(host, s->bridge, &down.master, err);
	if (r)
		return r;
	up.alias = down.alias = alias;
	up.master_name = v->bridge;
	down.master_name = s->bridge;
	link_set(&b, &up);
	link_set(&b, &down);
	r = nlbatch_commit(&b, err);
	return r ? r : vpc_take(host, v, s, 1, err);
}

static void add_port(struct nlbatch *b, const struct vpc *v, const struct subnet *s,
		     const struct netns *ns, const char *bridge, int bridge_index, const char *alias)
{
	struct veth_spec pair = {.name = s->veth_host,
				 .mtu_bytes = v->mtu_bytes,
				 .group = GROUP_PORT,
				 .mac = mac_from_name(s->veth_host),
				 .peer_name = s->veth_ns,
				 .peer_netns_name = s->netns,
				 .peer_netns_fd = ns->fd,
				 .peer_mac = s->mac};
	struct link_change port = {.name = s->veth_host,
				   .alias = alias,
				   .master = bridge_index,
				   .master_name = bridge,
				   .no_ipv6_autoconf = true,
				   .up = true};

	link_add_veth(b, &pair);
	link_set(b, &port);
}

/* The end of a veth pair that a workload has. */
struct inside {
	const char *ifname, *alias; /* alias NULL: none */
	struct mac mac;
	struct cidr addr, addr6;
};

/* One family of what is inside: the address, and the two routes by the gateway. */
static void add_inner(struct nlbatch *b, int index, const struct vpc *v, const struct inside *in,
		      int family)
{
	bool v6 = family == AF_INET6;
	const struct cidr *vpc_net = v6 ? &v->cidr6 : &v->cidr;
	const struct cidr *addr = v6 ? &in->addr6 : &in->addr;
	struct ip gateway = vpc_gateway(vpc_net);
	struct mac gateway_mac = vpc_bridge_mac(v);

	addr_add(b, index, in->ifname, addr);
	neigh_add(b, index, in->ifname, &gateway, &gateway_mac);
	if (addr->prefix != vpc_net->prefix) /* else it is the connected route */
		route_add_via(b, index, in->ifname, vpc_net, &gateway);
	/* A container on several networks goes out by the first. */
	route_offer_via(b, index, in->ifname, v6 ? &default6 : &default4, &gateway);
}

static int inner_up(struct netns *ns, const struct vpc *v, const struct inside *in,
		    struct err *err)
{
	struct link_change lo = {.name = "lo", .index = LO_INDEX, .up = true};
	struct link_change veth = {
		.name = in->ifname, .alias = in->alias, .no_ipv6_autoconf = true, .up = true};
	struct cidr local = link_local(in->mac);
	_nlbatch_ struct nlbatch b;
	int index, r = link_index(ns, in->ifname, &index, err);

	nlbatch_init(&b, ns);
	if (!r && in->addr6.addr.family)
		r = sysctl_enable_ipv6(ns, in->ifname, err);
	if (r)
		return r;
	link_set(&b, &lo);
	link_set(&b, &veth);
	add_inner(&b, index, v, in, AF_INET);
	if (in->addr6.addr.family) {
		addr_add(&b, index, in->ifname, &local);
		add_inner(&b, index, v, in, AF_INET6);
	}
	return nlbatch_commit(&b, err);
}

int subnet_up(struct netns *host, const struct vpc *v, const struct subnet *s, const char *bridge,
	      struct netns **ret_ns, struct err *err)
{
	char alias[LINK_ALIAS_MAX];
	struct inside in = {.ifname = s->veth_ns,
			    .alias = alias,
			    .mac = s->mac,
			    .addr = {s->addr, s->cidr.prefix},
			    .addr6 = {s->addr6, s->cidr6.prefix}};
	_netns_ struct netns *ns = NULL;
	_nlbatch_ struct nlbatch b;
	int gateway_index, port_index, r;

	nlbatch_init(&b, host);
	alias_subnet(s, alias, sizeof(alias));
	r = link_index(host, v->bridge, &gateway_index, err);
	if (!r)
		r = link_index(host, bridge, &port_index, err);
	if (!r)
		r = netns_create(s->netns, alias, host->log, &ns, err);
	if (r)
		return r;
	add_port(&b, v, s, ns, bridge, port_index, alias);
	neigh_add(&b, gateway_index, v->bridge, &s->addr, &s->mac);
	if (s->addr6.family)
		neigh_add(&b, gateway_index, v->bridge, &s->addr6, &s->mac);
	r = nlbatch_commit(&b, err);
	if (!r)
		r = inner_up(ns, v, &in, err);
	if (r)
		return r;
	*ret_ns = TAKE_PTR(ns);
	return 0;
}

static void add_neighbours(struct nlbatch *b, int index, const struct vpc *v, const struct port *p)
{
	neigh_add(b, index, v->bridge, &p->addr, &p->mac);
	if (p->addr6.family)
		neigh_add(b, index, v->bridge, &p->addr6, &p->mac);
}

/* What goes out to the workload, and comes in from it. */
int port_limit(struct netns *host, const struct port *p, struct err *err)
{
	char alias[LINK_ALIAS_MAX];
	struct tc_limits limits = {.ifname = p->ifname,
				   .out_bits = p->rate_rx,
				   .in_bits = p->rate_tx,
				   .ifb = p->ifb,
				   .ifb_alias = alias,
				   .ifb_group = GROUP_PORT};

	alias_port(p, alias, sizeof(alias));
	return tc_limit(host, &limits, err);
}

static int limit_new(struct netns *host, const struct port *p, struct err *err)
{
	return p->rate_rx || p->rate_tx ? port_limit(host, p, err) : 0;
}

static const char *inner_name(const struct port *p)
{
	return p->kind == PORT_CLONE ? CLONE_OUTSIDE : p->attachment.ifname;
}

static void add_pair(struct nlbatch *b, const struct vpc *v, const struct port *p,
		     const struct netns *inside)
{
	struct veth_spec pair = {.name = p->ifname,
				 .mtu_bytes = v->mtu_bytes,
				 .group = GROUP_PORT,
				 .mac = mac_from_name(p->ifname),
				 .peer_name = inner_name(p),
				 .peer_netns_name = inside->name,
				 .peer_netns_fd = inside->fd,
				 .peer_mac = p->mac};

	link_add_veth(b, &pair);
}

/* No mark inside: a container's namespace is its own, who may have a byway of its own. */
static int workload_up(struct netns *inside, const struct vpc *v, const struct port *p,
		       struct err *err)
{
	struct inside in = {.ifname = inner_name(p),
			    .mac = p->mac,
			    .addr = {p->addr, v->cidr.prefix},
			    .addr6 = {p->addr6, v->cidr6.prefix}};
	int r = inner_up(inside, v, &in, err);

	return !r && p->kind == PORT_CLONE ? clone_up(inside, v, p, err) : r;
}

int port_up(struct netns *host, const struct vpc *v, const struct port *p, const char *bridge,
	    struct netns *inside, struct err *err)
{
	struct tap_spec tap = {.name = p->ifname,
			       .uid = p->owner_uid,
			       .gid = p->owner_gid,
			       .multi_queue = p->queues > 1};
	struct link_change port = {.name = p->ifname,
				   .mac = mac_from_name(p->ifname),
				   .master_name = bridge,
				   .group = GROUP_PORT,
				   .mtu_bytes = v->mtu_bytes,
				   .isolated = p->isolated,
				   .no_ipv6_autoconf = true,
				   .up = true};
	_nlbatch_ struct nlbatch b;
	_close_ int fd = -1;
	char alias[LINK_ALIAS_MAX];
	int gateway_index, r;

	nlbatch_init(&b, host);
	alias_port(p, alias, sizeof(alias));
	port.alias = alias;
	r = link_index(host, v->bridge, &gateway_index, err);
	if (!r)
		r = link_index(host, bridge, &port.master, err);
	if (!r && p->kind == PORT_TAP)
		r = tap_open(host, &tap, &fd, err);
	if (r)
		return r;
	if (p->kind != PORT_TAP)
		add_pair(&b, v, p, inside);
	link_set(&b, &port);
	add_neighbours(&b, gateway_index, v, p);
	r = nlbatch_commit(&b, err);
	if (!r)
		r = limit_new(host, p, err);
	if (r)
		return r;
	return p->kind == PORT_TAP ? tap_persist(host, p->ifname, fd, err)
				   : workload_up(inside, v, p, err);
}

int ports_forget(struct netns *host, const struct vpc *v, const struct port *p, size_t n,
		 struct err *err)
{
	_nlbatch_ struct nlbatch b;
	int index, r;

	nlbatch_init(&b, host);
	r = n ? link_index(host, v->bridge, &index, err) : 0;
	if (r)
		return r == -ENODEV ? 0 : r;
	for (size_t i = 0; i < n; i++) {
		neigh_del(&b, index, v->bridge, &p[i].addr);
		if (p[i].addr6.family)
			neigh_del(&b, index, v->bridge, &p[i].addr6);
	}
	return nlbatch_commit(&b, err);
}

void name_list_add(struct name_list *l, const char *name)
{
	if (l->n == l->cap) {
		l->cap = l->cap * 2 + 16;
		l->names = xrealloc(l->names, l->cap, sizeof(*l->names));
	}
	l->names[l->n++] = name;
}

void name_list_done(struct name_list *l)
{
	free(l->names);
	*l = (struct name_list){0};
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct doom {
	struct nlbatch *b;
	const struct name_list *names; /* sorted */
	size_t n;
};

static int doom_link(const struct link *link, void *arg)
{
	const char *name = link->name;
	struct doom *d = arg;

	if (!bsearch(&name, d->names->names, d->names->n, sizeof(name), by_name) || !link_is_ours(link))
		return 0;
	link_doom(d->b, link->index, link->name, GROUP_DOOMED);
	d->n++;
	return 0;
}

/* More are found quicker among all links than one by one. */
#define DOOMED_FEW 16

static int doom_few(struct netns *host, struct doom *d, struct err *err)
{
	struct link link;
	int r = 0;

	for (size_t i = 0; !r && i < d->names->n; i++) {
		r = link_get(host, d->names->names[i], &link, err);
		if (r == -ENODEV)
			r = 0;
		else if (!r)
			r = doom_link(&link, d);
	}
	return r;
}

int links_down(struct netns *host, const struct name_list *l, struct err *err)
{
	_nlbatch_ struct nlbatch b;
	struct doom d = {.b = &b, .names = l};
	int r;

	nlbatch_init(&b, host);
	if (!l->n)
		return 0;
	qsort(l->names, l->n, sizeof(*l->names), by_name);
	r = l->n <= DOOMED_FEW ? doom_few(host, &d, err) : link_each(host, doom_link, &d, err);
	if (r || !d.n)
		return r;
	link_del_group(&b, GROUP_DOOMED);
	return nlbatch_commit(&b, err);
}
