// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 *	prepared        full:   lo only, no route
 *	                split:  twins of what our file includes
 *	connected       full:   tun0, its address, a default route
 *	                split:  tun0, its address; route and twin of each network that is
 *	                        included; routes beside for what is not
 *	client gone     both:   the same; what is sent into tun0 is dropped
 *	disconnected    full:   lo only, no route
 *	                split:  twins, and the routes beside
 *
 * Invariants:
 *  1. Nothing that is to go through the TUN goes beside it. In full mode there is nothing beside it
 *     in the namespace. In split mode each route through the TUN has a twin, the same destination
 *     as `unreachable` with a worse metric, which is there first and does not depend on the device.
 *  2. Twins stay while there is no VPN. Those of our file are there from inner_prepare() on, those
 *     of the server from its first word on. They go when the next word of the server, or our file,
 *     does not include the network any more.
 *  3. A network that our file includes is not excluded by the server, nor is a part of it.
 *  4. The one exception to 1 is the VPN server's own address, without which there is no VPN.
 *  5. Where a session's namespace had the device, it has one at every moment: in full mode the new
 *     one gets its addresses, and the routes are replaced, before the old one goes. Up to Linux 6.1
 *     no link is renamed while it is up; there, routes are missing for a moment in between. The
 *     index changes: a socket bound to the device, not to its address, has to be opened anew.
 *
 * What a route is for is told by its metric, so that those that are not wanted any more are found
 * without a record of them. With equal destinations, the order of the metrics decides:
 *
 *	METRIC_SERVER   the VPN server, by the veth pair
 *	METRIC_THROUGH  what is included, by tun0
 *	METRIC_TWIN     the same, unreachable
 *	METRIC_BESIDE   what the server excludes, by the veth pair
 *
 * With unequal ones the longer prefix does. In split mode the default route is the veth pair's:
 * where all is included, routes and twins are for its two halves. A session whose file includes
 * nothing, with a server that names nothing, has all of it included: that is what such a server
 * means, and what is safe.
 *
 * Included are, too: the network that the address inside belongs to, and the server's resolvers if
 * they are used. An address itself is given to the device without its network, so that no route
 * comes to be that has no twin.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/util.h"
#include "kernel/addr.h"
#include "kernel/link.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/route.h"
#include "kernel/tun.h"
#include "session/inner.h"
#include "session/net.h"
#include "session/session.h"
#include "session/vpn.h"

#define METRIC_SERVER 10
#define METRIC_THROUGH 20
#define METRIC_TWIN 30
#define METRIC_BESIDE 40

/* Of a device that is coming and one that is going. */
#define TUN_NEW SESSION_TUN "-new"
#define TUN_OLD SESSION_TUN "-old"

#define MTU_UNSAID 1412 /* as vpnc-script has it where the server says nothing */
#define MTU_MIN6 1280   /* RFC 8200 5: with less, a device has no IPv6 at all */

static const struct cidr default4 = {.addr.family = AF_INET}, default6 = {.addr.family = AF_INET6};

/* ---- What goes where ---- */

struct routes {
	struct route *list;
	size_t n, cap;
};

static void routes_done(struct routes *r)
{
	free(r->list);
}
#define _routes_ _cleanup_(routes_done)

static void routes_add(struct routes *to, const struct route *r)
{
	if (to->n == to->cap) {
		to->cap = to->cap * 2 + 32;
		to->list = xrealloc(to->list, to->cap, sizeof(*to->list));
	}
	to->list[to->n++] = *r;
}

/* The same destination for the same purpose. */
static bool routes_have(const struct routes *in, const struct route *r)
{
	for (size_t i = 0; i < in->n; i++)
		if (in->list[i].metric == r->metric && cidr_equal(&in->list[i].dst, &r->dst))
			return true;
	return false;
}

/* What routes are made of; vpn NULL: before there is one. */
struct plan {
	const struct session_spec *spec;
	const struct vpn *vpn;
	int tun, veth; /* indices; 0: none */
	struct routes routes;
};

static void plan_done(struct plan *p)
{
	routes_done(&p->routes);
}
#define _plan_ _cleanup_(plan_done)

static bool has_family(const struct vpn *vpn, int family)
{
	return vpn && (vpn->addr4.addr.family == family || vpn->addr6.addr.family == family);
}

static void add_through(struct plan *p, const struct cidr *net)
{
	struct route twin = {.dst = *net,
			     .table = RT_TABLE_MAIN,
			     .type = RTN_UNREACHABLE,
			     .metric = METRIC_TWIN};
	struct route through = {.dst = *net,
				.table = RT_TABLE_MAIN,
				.type = RTN_UNICAST,
				.metric = METRIC_THROUGH,
				.ifindex = p->tun};

	if (p->spec->mode == SESSION_SPLIT && !routes_have(&p->routes, &twin))
		routes_add(&p->routes, &twin);
	if (has_family(p->vpn, net->addr.family) && !routes_have(&p->routes, &through))
		routes_add(&p->routes, &through);
}

static void include(struct plan *p, const struct cidr *net)
{
	struct cidr low = {.addr = cidr_first(net), .prefix = net->prefix}, high;

	if (net->prefix || p->spec->mode == SESSION_FULL) {
		add_through(p, &low);
		return;
	}
	low.prefix = 1;
	high = low;
	high.addr.bytes[0] = 0x80;
	add_through(p, &low);
	add_through(p, &high);
}

static void include_all(struct plan *p)
{
	include(p, &default4);
	include(p, &default6);
}

static void include_host(struct plan *p, const struct ip *ip)
{
	struct cidr host = {.addr = *ip, .prefix = ip_bits(ip->family)};

	include(p, &host);
}

/* What the server includes, by its lists or by what else it says. */
static void include_server(struct plan *p)
{
	const struct vpn *v = p->vpn;

	for (size_t i = 0; i < v->n_include; i++)
		include(p, &v->include[i]);
	if (v->addr4.addr.family)
		include(p, &v->addr4);
	if (v->addr6.addr.family)
		include(p, &v->addr6);
	for (size_t i = 0; i < v->n_dns && !p->spec->n_dns; i++)
		include_host(p, &v->dns[i]);
	if (!v->n_include && !p->spec->n_include)
		include_all(p);
}

static void add_beside(struct plan *p, const struct cidr *net, uint32_t metric)
{
	struct route r = {.dst = *net,
			  .gateway = session_gateway,
			  .ifindex = p->veth,
			  .table = RT_TABLE_MAIN,
			  .type = RTN_UNICAST,
			  .metric = metric};

	/* The veth pair has no IPv6; and what is beside by default needs no route for that. */
	if (net->addr.family == AF_INET && net->prefix)
		routes_add(&p->routes, &r);
}

static bool is_ours(const struct session_spec *spec, const struct cidr *net)
{
	for (size_t i = 0; i < spec->n_include; i++)
		if (cidr_contains(&spec->include[i], net))
			return true;
	return false;
}

static void add_server(struct plan *p, const struct ip *server)
{
	struct cidr host = {.addr = *server, .prefix = ip_bits(server->family)};

	add_beside(p, &host, METRIC_SERVER);
}

static void exclude(struct plan *p)
{
	const struct vpn *v = p->vpn;

	add_server(p, &v->gateway);
	for (size_t i = 0; i < v->n_exclude; i++)
		if (!is_ours(p->spec, &v->exclude[i]))
			add_beside(p, &v->exclude[i], METRIC_BESIDE);
}

/* Fills in p->routes. */
static void plan_routes(struct plan *p)
{
	if (p->spec->mode == SESSION_FULL) {
		include_all(p);
		return;
	}
	for (size_t i = 0; i < p->spec->n_include; i++)
		include(p, &p->spec->include[i]);
	if (!p->vpn)
		return;
	include_server(p);
	exclude(p);
}

/* ---- Carrying it out ---- */

static bool is_beside(const struct route *r)
{
	return r->metric == METRIC_SERVER || r->metric == METRIC_BESIDE;
}

static bool is_twin(const struct route *r)
{
	return r->metric == METRIC_TWIN;
}

static bool is_through(const struct route *r)
{
	return r->metric == METRIC_THROUGH;
}

static int collect_ours(const struct route *r, void *arg)
{
	if (r->table == RT_TABLE_MAIN && r->protocol == ROUTE_PROTOCOL &&
	    (is_beside(r) || is_twin(r) || is_through(r)))
		routes_add(arg, r);
	return 0;
}

typedef bool (*route_is)(const struct route *r);

static void replace_routes(struct nlbatch *b, const struct routes *want, route_is is,
			   const char *ifname)
{
	for (size_t i = 0; i < want->n; i++)
		if (is(&want->list[i]))
			route_replace(b, &want->list[i], ifname);
}

static void del_unwanted(struct nlbatch *b, const struct routes *have, const struct routes *want,
			 route_is is)
{
	for (size_t i = 0; i < have->n; i++)
		if (is(&have->list[i]) && !routes_have(want, &have->list[i]))
			route_del(b, &have->list[i]);
}

int inner_prepare(struct netns *ns, const struct session_spec *spec, struct err *err)
{
	_plan_ struct plan p = {.spec = spec};
	_nlbatch_ struct nlbatch b;

	plan_routes(&p);
	nlbatch_init(&b, ns);
	replace_routes(&b, &p.routes, is_twin, "");
	return nlbatch_commit(&b, err);
}

int inner_allow(struct netns *ns, const struct session *s, const struct ip *server, struct err *err)
{
	_plan_ struct plan p = {0};
	_nlbatch_ struct nlbatch b;
	int r;

	nlbatch_init(&b, ns);
	if (s->mode == SESSION_FULL)
		return 0;
	r = link_index(ns, s->veth_ns, &p.veth, err);
	if (r)
		return r;
	add_server(&p, server);
	replace_routes(&b, &p.routes, is_beside, s->veth_ns);
	return nlbatch_commit(&b, err);
}

/* Before anything goes beside, all that may not is closed. */
static int close_off(struct netns *ns, const struct plan *p, const struct routes *have,
		     struct err *err)
{
	_nlbatch_ struct nlbatch b;

	nlbatch_init(&b, ns);
	del_unwanted(&b, have, &p->routes, is_beside);
	replace_routes(&b, &p->routes, is_twin, "");
	return nlbatch_commit(&b, err);
}

static uint32_t mtu_of(const struct session_spec *spec, const struct vpn *vpn)
{
	uint32_t mtu = vpn->mtu_bytes ? vpn->mtu_bytes : MTU_UNSAID;

	if (spec->mtu_bytes)
		mtu = MIN(mtu, spec->mtu_bytes);
	return vpn->addr6.addr.family ? MAX(mtu, MTU_MIN6) : mtu;
}

static void set_mtu(struct nlbatch *b, const struct link *dev, uint32_t mtu)
{
	struct link_change c = {.name = dev->name, .mtu_bytes = mtu};

	link_set(b, &c);
}

/* Whether it has a part in IPv6 at all, and may be told about addresses. */
static bool has_ipv6(const struct link *dev)
{
	return dev->mtu_bytes >= MTU_MIN6;
}

static void set_up(struct nlbatch *b, const struct link *dev, uint32_t mtu)
{
	struct link_change quiet = {.name = dev->name, .no_ipv6_autoconf = true};
	struct link_change up = {.name = dev->name, .up = true};

	if (!has_ipv6(dev)) {
		/* A link that is up gives itself an address as soon as it may. */
		if (dev->up)
			link_down(b, dev->name);
		set_mtu(b, dev, mtu);
	}
	if (has_ipv6(dev) || mtu >= MTU_MIN6)
		link_set(b, &quiet);
	link_set(b, &up);
}

struct addresses {
	struct nlbatch *batch;
	const struct link *dev;
	struct cidr want[2];
};

static int del_unwanted_addr(const struct addr *a, void *arg)
{
	const struct addresses *as = arg;

	if (a->ifindex == as->dev->index && !cidr_equal(&a->addr, &as->want[0]) &&
	    !cidr_equal(&a->addr, &as->want[1]))
		addr_del(as->batch, as->dev->index, as->dev->name, &a->addr);
	return 0;
}

static struct cidr host_of(const struct cidr *c)
{
	return (struct cidr){.addr = c->addr, .prefix = ip_bits(c->addr.family)};
}

/* The device, its addresses, all routes; and away with what is not wanted any more, last. */
static int configure(struct netns *ns, const struct session *s, struct plan *p,
		     const struct link *dev, struct err *err)
{
	_routes_ struct routes have = {0};
	_nlbatch_ struct nlbatch b;
	struct addresses as = {.batch = &b,
			       .dev = dev,
			       .want = {host_of(&p->vpn->addr4), host_of(&p->vpn->addr6)}};
	uint32_t mtu = mtu_of(p->spec, p->vpn);
	int r = route_each(ns, AF_UNSPEC, collect_ours, &have, err);

	nlbatch_init(&b, ns);
	p->tun = dev->index;
	p->routes.n = 0;
	plan_routes(p);
	if (!r)
		r = close_off(ns, p, &have, err);
	if (r)
		return r;
	set_up(&b, dev, mtu);
	for (size_t i = 0; i < ARRAY_SIZE(as.want); i++)
		if (as.want[i].addr.family)
			addr_replace(&b, dev->index, dev->name, &as.want[i]);
	replace_routes(&b, &p->routes, is_through, dev->name);
	replace_routes(&b, &p->routes, is_beside, s->veth_ns);
	del_unwanted(&b, &have, &p->routes, is_through);
	del_unwanted(&b, &have, &p->routes, is_twin);
	r = addr_each(ns, del_unwanted_addr, &as, err);
	set_mtu(&b, dev, mtu); /* last: it may be the end of IPv6 there */
	return r ? r : nlbatch_commit(&b, err);
}

/* ---- The device of a session in full mode ---- */

static bool has_link(struct netns *ns, const char *name)
{
	struct link link;

	return !link_get(ns, name, &link, NULL);
}

static int del_leftovers(struct netns *ns, struct err *err)
{
	_nlbatch_ struct nlbatch b;

	nlbatch_init(&b, ns);
	link_del(&b, TUN_NEW);
	link_del(&b, TUN_OLD);
	return nlbatch_commit(&b, err);
}

/* Moves the device from outer, if it is still there: not when openconnect has come back to its
 * server by itself. ret: the device in ns, under the name that was free there. */
static int fetch(struct netns *outer, struct netns *ns, struct link *ret, struct err *err)
{
	const char *name = SESSION_TUN;
	_nlbatch_ struct nlbatch b;
	struct link dev;
	int r;

	nlbatch_init(&b, outer);
	if (outer == ns || !has_link(outer, SESSION_TUN))
		return link_get(ns, name, ret, err);
	r = del_leftovers(ns, err);
	if (!r)
		r = link_get(outer, SESSION_TUN, &dev, err);
	if (r)
		return r;
	if (has_link(ns, SESSION_TUN))
		name = TUN_NEW;
	link_move(&b, dev.index, SESSION_TUN, ns->fd, ns->name, name);
	r = nlbatch_commit(&b, err);
	return r ? r : link_get(ns, name, ret, err);
}

/* The names change hands while both devices are up. */
static int swap_names(struct netns *ns, const struct link *dev, struct err *err)
{
	_nlbatch_ struct nlbatch b;
	int old, r = link_index(ns, SESSION_TUN, &old, err);

	nlbatch_init(&b, ns);
	if (r)
		return r;
	link_rename(&b, old, SESSION_TUN, TUN_OLD);
	link_rename(&b, dev->index, TUN_NEW, SESSION_TUN);
	return nlbatch_commit(&b, err);
}

/* Up to Linux 6.1. */
static int swap_names_down(struct netns *ns, const struct session *s, struct plan *p,
			   const struct link *dev, struct err *err)
{
	_nlbatch_ struct nlbatch b;
	struct link renamed;
	int r;

	nlbatch_init(&b, ns);
	link_del(&b, SESSION_TUN);
	link_down(&b, TUN_NEW);
	link_rename(&b, dev->index, TUN_NEW, SESSION_TUN);
	r = nlbatch_commit(&b, err);
	if (!r)
		r = link_get(ns, SESSION_TUN, &renamed, err);
	return r ? r : configure(ns, s, p, &renamed, err);
}

static int take_place(struct netns *ns, const struct session *s, struct plan *p,
		      const struct link *dev, struct err *err)
{
	int r = swap_names(ns, dev, err);

	if (r == -EBUSY)
		return swap_names_down(ns, s, p, dev, err);
	return r ? r : del_leftovers(ns, err);
}

int inner_connect(struct netns *outer, struct netns *ns, const struct session *s,
		  const struct session_spec *spec, const struct vpn *vpn, struct err *err)
{
	_plan_ struct plan p = {.spec = spec, .vpn = vpn};
	struct link dev;
	int r;

	if (strcmp(vpn->tun, SESSION_TUN) != 0)
		return err_set(err, ERR_FAILED, -EINVAL, "openconnect's device is %s, not %s",
			       vpn->tun, SESSION_TUN);
	r = tun_persist(outer, SESSION_TUN, vpn->client, err);
	if (!r && spec->mode == SESSION_SPLIT)
		r = link_index(ns, s->veth_ns, &p.veth, err);
	if (!r)
		r = fetch(outer, ns, &dev, err);
	if (!r)
		r = configure(ns, s, &p, &dev, err);
	if (!r && strcmp(dev.name, SESSION_TUN) != 0)
		r = take_place(ns, s, &p, &dev, err);
	return r;
}
