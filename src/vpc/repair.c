// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Each comparison appends what differs to a text, and what mends it to a batch: who tells keeps the first,
 * who mends commits the second.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/util.h"
#include "kernel/addr.h"
#include "kernel/link.h"
#include "kernel/neigh.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/tc.h"
#include "vpc/names.h"
#include "vpc/net.h"
#include "vpc/port.h"
#include "vpc/repair.h"
#include "vpc/vpc.h"

/* An address on a link, or a neighbour of one, with its MAC. */
struct known {
	int ifindex;
	struct cidr at;
	struct mac mac;
};

struct known_list {
	struct known *v;
	size_t n;
};

struct seen {
	struct link *links; /* sorted by name */
	size_t n_links;
	struct known_list addrs, neighbours; /* sorted */
	struct tc_qdisc *qdiscs;             /* sorted */
	size_t n_qdiscs;
};

/* ---- reading ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct link *)a)->name, ((const struct link *)b)->name);
}

static int by_place(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	if (x->ifindex != y->ifindex)
		return x->ifindex < y->ifindex ? -1 : 1;
	if (x->at.prefix != y->at.prefix)
		return x->at.prefix < y->at.prefix ? -1 : 1;
	return ip_cmp(&x->at.addr, &y->at.addr);
}

static int add_link(const struct link *link, void *arg)
{
	struct seen *s = arg;

	if (!link_is_ours(link))
		return 0;
	if (!(s->n_links & (s->n_links - 1)))
		s->links = xrealloc(s->links, s->n_links ? 2 * s->n_links : 1, sizeof(*s->links));
	s->links[s->n_links++] = *link;
	return 0;
}

static void add_known(struct known_list *l, const struct known *k)
{
	if (!(l->n & (l->n - 1)))
		l->v = xrealloc(l->v, l->n ? 2 * l->n : 1, sizeof(*l->v));
	l->v[l->n++] = *k;
}

static int add_addr(const struct addr *a, void *arg)
{
	struct known k = {.ifindex = a->ifindex, .at = a->addr};

	add_known(&((struct seen *)arg)->addrs, &k);
	return 0;
}

static int add_neighbour(int ifindex, const struct ip *ip, const struct mac *mac, void *arg)
{
	struct known k = {.ifindex = ifindex, .at = {.addr = *ip}, .mac = *mac};

	add_known(&((struct seen *)arg)->neighbours, &k);
	return 0;
}

static int add_qdisc(const struct tc_qdisc *q, void *arg)
{
	struct seen *s = arg;

	if (!(s->n_qdiscs & (s->n_qdiscs - 1)))
		s->qdiscs = xrealloc(s->qdiscs, s->n_qdiscs ? 2 * s->n_qdiscs : 1,
				     sizeof(*s->qdiscs));
	s->qdiscs[s->n_qdiscs++] = *q;
	return 0;
}

static int by_link(const void *a, const void *b)
{
	const struct tc_qdisc *x = a, *y = b;

	if (x->ifindex != y->ifindex)
		return x->ifindex < y->ifindex ? -1 : 1;
	return x->is_ingress - y->is_ingress;
}

static const struct tc_qdisc *find_qdisc(const struct seen *s, int ifindex, bool is_ingress)
{
	struct tc_qdisc key = {.ifindex = ifindex, .is_ingress = is_ingress};

	return s->n_qdiscs ? bsearch(&key, s->qdiscs, s->n_qdiscs, sizeof(key), by_link) : NULL;
}

static const struct known *find_known(const struct known_list *l, const struct known *k)
{
	return l->n ? bsearch(k, l->v, l->n, sizeof(*k), by_place) : NULL;
}

static void sort_known(struct known_list *l)
{
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), by_place);
}

int seen_read(struct netns *host, struct seen **ret, struct err *err)
{
	_seen_ struct seen *s = xcalloc(1, sizeof(*s));
	int r = link_each(host, add_link, s, err);

	if (!r)
		r = addr_each(host, add_addr, s, err);
	if (!r)
		r = neigh_each_permanent(host, add_neighbour, s, err);
	if (!r)
		r = tc_each(host, add_qdisc, s, err);
	if (r)
		return r;
	if (s->n_qdiscs)
		qsort(s->qdiscs, s->n_qdiscs, sizeof(*s->qdiscs), by_link);
	if (s->n_links)
		qsort(s->links, s->n_links, sizeof(*s->links), by_name);
	sort_known(&s->addrs);
	sort_known(&s->neighbours);
	*ret = TAKE_PTR(s);
	return 0;
}

void seen_free(struct seen *s)
{
	if (!s)
		return;
	free(s->links);
	free(s->addrs.v);
	free(s->neighbours.v);
	free(s->qdiscs);
	free(s);
}

void seen_free_p(struct seen **s)
{
	seen_free(*s);
}

static const struct link *find_link(const struct seen *s, const char *ifname)
{
	struct link key = {0};

	str_copy(key.name, sizeof(key.name), ifname);
	return s->n_links ? bsearch(&key, s->links, s->n_links, sizeof(key), by_name) : NULL;
}

bool seen_has(const struct seen *s, const char *ifname)
{
	return find_link(s, ifname);
}

const char *vpc_gone(const struct seen *s, const struct vpc *v)
{
	return seen_has(s, v->bridge) ? NULL : "its bridge is gone";
}

const char *subnet_gone(const struct seen *s, const struct subnet *n)
{
	if (!netns_exists(n->netns))
		return "its namespace is gone";
	return seen_has(s, n->veth_host) ? NULL : "its link is gone";
}

/* ---- comparing ---- */

/* To which the next thing is appended. */
static struct buf *also(struct buf *why)
{
	if (why->len)
		buf_adds(why, ", ");
	return why;
}

static void tell(struct buf *why, const char *what, const char *is)
{
	buf_addf(also(why), "%s %s", what, is);
}

static void compare_bridge(const struct link *l, struct mac mac, struct nlbatch *fix,
			   struct buf *why)
{
	struct link_change change = {.name = l->name, .index = l->index};

	if (memcmp(&l->mac, &mac, sizeof(mac)) != 0) {
		tell(why, l->name, "has another MAC");
		change.mac = mac;
	}
	if (!l->up) {
		tell(why, l->name, "is down");
		change.up = true;
	}
	link_set(fix, &change);
	if (l->ll_learn || l->snoops) { /* one of an earlier byway does */
		tell(why, l->name, l->ll_learn ? "learns from link-local frames" : "snoops");
		link_set_bridge_options(fix, l->index, l->name);
	}
}

static void compare_addrs(const struct seen *s, const struct vpc *v, int index, struct nlbatch *fix,
			  struct buf *why)
{
	struct cidr addrs[VPC_BRIDGE_ADDRS];
	size_t n = vpc_bridge_addrs(v, addrs);
	char text[CIDR_STRLEN];

	for (size_t i = 0; i < n; i++) {
		struct known k = {.ifindex = index, .at = addrs[i]};

		if (find_known(&s->addrs, &k))
			continue;
		cidr_format(&addrs[i], text);
		buf_addf(also(why), "%s has no address %s", v->bridge, text);
		addr_replace(fix, index, v->bridge, &addrs[i]);
	}
}

static bool lacks_neighbour(const struct seen *s, const struct vpc *v, int index,
			    const struct ip *ip, const struct mac *mac, struct nlbatch *fix)
{
	struct known k = {.ifindex = index, .at.addr = *ip};
	const struct known *is = ip->family ? find_known(&s->neighbours, &k) : NULL;

	if (!ip->family || (is && !memcmp(&is->mac, mac, sizeof(*mac))))
		return false;
	neigh_add(fix, index, v->bridge, ip, mac);
	return true;
}

/* They go when the bridge is set down, and do not come back with it. */
static void compare_neighbours(const struct seen *s, const struct repair_parts *p, int index,
			       struct nlbatch *fix, struct buf *why)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_subnets; i++) {
		const struct subnet *x = &p->subnets[i];

		if (x->state != ROW_ACTIVE)
			continue;
		n += lacks_neighbour(s, p->v, index, &x->addr, &x->mac, fix);
		n += lacks_neighbour(s, p->v, index, &x->addr6, &x->mac, fix);
	}
	for (size_t i = 0; i < p->n_ports; i++) {
		const struct port *x = &p->ports[i];

		if (x->state != ROW_ACTIVE)
			continue;
		n += lacks_neighbour(s, p->v, index, &x->addr, &x->mac, fix);
		n += lacks_neighbour(s, p->v, index, &x->addr6, &x->mac, fix);
	}
	if (n)
		buf_addf(also(why), "%s does not know %zu of its neighbours", p->v->bridge, n);
}

/* What a port should be. */
struct port_spec {
	const char *ifname, *bridge;
	uint32_t mtu_bytes;
	bool isolated;
};

static void compare_port(const struct seen *s, const struct port_spec *p, struct nlbatch *fix,
			 struct buf *why)
{
	const struct link *link = find_link(s, p->ifname), *bridge = find_link(s, p->bridge);
	struct link_change change = {.name = p->ifname, .master_name = p->bridge};
	bool is_off;

	if (!link || !bridge)
		return;
	change.index = link->index;
	is_off = link->master != bridge->index;
	if (is_off) {
		buf_addf(also(why), "%s is not on %s", p->ifname, p->bridge);
		change.master = bridge->index;
	}
	if (p->isolated && !link->isolated) { /* off its bridge, it cannot be */
		if (!is_off)
			tell(why, p->ifname, "is not isolated");
		change.isolated = true;
	}
	if (link->mtu_bytes != p->mtu_bytes) {
		buf_addf(also(why), "%s has MTU %u", p->ifname, link->mtu_bytes);
		change.mtu_bytes = p->mtu_bytes;
	}
	if (!link->up) {
		tell(why, p->ifname, "is down");
		change.up = true;
	}
	link_set(fix, &change);
}

/* Of what has no limit, others may have made what they like. */
static bool is_limited(struct netns *host, const struct seen *s, const struct port *p)
{
	const struct link *link = find_link(s, p->ifname), *ifb = find_link(s, p->ifb);

	if (p->rate_rx && !tc_is_bucket_of(find_qdisc(s, link->index, false), p->rate_rx))
		return false;
	if (!p->rate_tx)
		return true;
	return ifb && ifb->up && tc_is_bucket_of(find_qdisc(s, ifb->index, false), p->rate_tx) &&
	       find_qdisc(s, link->index, true) && tc_has_filter(host, link->index);
}

/* ---- what can be repaired ---- */

static int finish(struct nlbatch *fix, enum repair how, struct err *err)
{
	return how == REPAIR_DO ? nlbatch_commit(fix, err) : 0;
}

static int remake_segment(struct netns *host, const struct vpc *v, const struct segment *g,
			  struct err *err)
{
	_name_list_ struct name_list rest = {0};
	int r;

	name_list_add(&rest, g->bridge);
	name_list_add(&rest, g->trunk_up);
	name_list_add(&rest, g->trunk_down);
	r = links_down(host, &rest, err);
	return r ? r : segment_up(host, v, g, err);
}

static int repair_segment(struct netns *host, const struct seen *s, const struct vpc *v,
			  const struct segment *g, enum repair how, struct nlbatch *fix,
			  struct buf *why, struct err *err)
{
	const struct link *bridge = find_link(s, g->bridge);
	const struct port_spec up = {g->trunk_up, v->bridge, v->mtu_bytes, false};
	const struct port_spec down = {g->trunk_down, g->bridge, v->mtu_bytes, false};
	char alias[LINK_ALIAS_MAX];

	if (!bridge || !seen_has(s, g->trunk_up) || !seen_has(s, g->trunk_down)) {
		tell(why, bridge ? g->trunk_up : g->bridge, "is gone");
		return how == REPAIR_DO ? remake_segment(host, v, g, err) : 0;
	}
	alias_segment(v->name, g->no, alias, sizeof(alias));
	compare_bridge(bridge, mac_from_name(alias), fix, why);
	compare_port(s, &up, fix, why);
	compare_port(s, &down, fix, why);
	return 0;
}

int vpc_repair(struct netns *host, const struct seen *s, const struct repair_parts *p, enum repair how,
	       struct buf *why, struct err *err)
{
	const struct link *bridge = find_link(s, p->v->bridge);
	_nlbatch_ struct nlbatch fix;
	int r = 0;

	nlbatch_init(&fix, host);
	if (!bridge)
		return 0;
	compare_bridge(bridge, vpc_bridge_mac(p->v), &fix, why);
	compare_addrs(s, p->v, bridge->index, &fix, why);
	compare_neighbours(s, p, bridge->index, &fix, why);
	for (size_t i = 0; !r && i < p->n_segments; i++)
		if (p->segments[i].state == ROW_ACTIVE)
			r = repair_segment(host, s, p->v, &p->segments[i], how, &fix, why, err);
	return r ? r : finish(&fix, how, err);
}

int subnet_repair(struct netns *host, const struct seen *s, const struct vpc *v,
		  const struct subnet *n, const char *bridge, enum repair how, struct buf *why,
		  struct err *err)
{
	const struct port_spec port = {n->veth_host, bridge, v->mtu_bytes, false};
	_nlbatch_ struct nlbatch fix;

	nlbatch_init(&fix, host);
	compare_port(s, &port, &fix, why);
	return finish(&fix, how, err);
}

int port_repair(struct netns *host, const struct seen *s, const struct vpc *v, const struct port *p,
		const char *bridge, enum repair how, struct buf *why, struct err *err)
{
	const struct port_spec port = {p->ifname, bridge, v->mtu_bytes, p->isolated};
	_nlbatch_ struct nlbatch fix;
	int r;

	nlbatch_init(&fix, host);
	compare_port(s, &port, &fix, why);
	r = finish(&fix, how, err);
	if (r || !seen_has(s, p->ifname) || is_limited(host, s, p))
		return r;
	tell(why, p->ifname, "is not limited as it was");
	return how == REPAIR_DO ? port_limit(host, p, err) : 0;
}
