// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Taking things away: whole VPCs, some subnets or some ports, from any state that a crash can leave
 * them in.
 *
 * Everything is found by the names in the state's rows and by our marks; what is not there is
 * skipped, what is not ours is left. An error does not stop the rest. The rows stay, marked as
 * being deleted, until all of it succeeded.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "ipam/ipam.h"
#include "kernel/netns.h"
#include "ops/dns.h"
#include "ops/ops.h"
#include "proc/reap.h"
#include "vpc/host_rules.h"
#include "vpc/mapping.h"
#include "vpc/names.h"
#include "vpc/net.h"
#include "vpc/port.h"
#include "vpc/way.h"

/* What is taken out of one VPC. Borrowed. */
struct parts {
	const struct vpc *v;
	const struct subnet *subnets;
	const struct port *ports;
	size_t n_subnets, n_ports;
};

static void list_namespaces(const struct parts *p, struct name_list *ret)
{
	for (size_t i = 0; i < p->n_subnets; i++)
		name_list_add(ret, p->subnets[i].netns);
	for (size_t i = 0; i < p->n_ports; i++) {
		if (*p->ports[i].clone.netns)
			name_list_add(ret, p->ports[i].clone.netns);
	}
}

static void parts_elems(struct host_rules *h, const struct parts *p, const struct nat *nat)
{
	for (size_t i = 0; i < p->n_subnets; i++) {
		const struct subnet *s = &p->subnets[i];

		host_rules_subnet(h, s);
		if (nat && s->is_public)
			host_rules_nat(h, &s->cidr, &s->cidr6, nat->interface);
	}
	for (size_t i = 0; i < p->n_ports; i++)
		host_rules_port(h, &p->ports[i], p->v);
}

/* What the state says of their ways out. */
static int way_elems(struct ops *o, struct host_rules *h, const struct parts *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->n_subnets; i++)
		r = host_rules_use(o->st, h, USE_SUBNET, p->v->name, p->subnets[i].name, err);
	for (size_t i = 0; !r && i < p->n_ports; i++)
		r = host_rules_use(o->st, h, USE_PORT, p->v->name, p->ports[i].name, err);
	return r;
}

/* The pools stay with the VPC: who comes back gets its address back. */
static int forget_subnet(struct ops *o, const struct subnet *s, struct err *err)
{
	int r = ops_lease_release(o, s->vpc, s->name, s->addr.family, s->name, err);

	if (!r)
		r = ops_lease_release(o, s->vpc, s->name, s->addr6.family, s->name, err);
	return r ? r : subnet_remove(o->st, s, err);
}

static int forget_port(struct ops *o, const struct port *p, struct err *err)
{
	const char *subnet = *p->subnet ? p->subnet : OPS_NO_SUBNET;
	char owner[OPS_OWNER_MAX];
	int r = ops_lease_release(o, p->vpc, subnet, p->addr.family, ops_port_owner(p->name, owner), err);

	if (!r)
		r = ops_lease_release(o, p->vpc, subnet, p->addr6.family, owner, err);
	return r ? r : port_remove(o->st, p, err);
}

static int forget_parts(struct ops *o, const struct parts *p, struct err *err)
{
	int r = ops_begin(o, err);

	for (size_t i = 0; !r && i < p->n_ports; i++)
		r = forget_port(o, &p->ports[i], err);
	for (size_t i = 0; !r && i < p->n_subnets; i++)
		r = forget_subnet(o, &p->subnets[i], err);
	return ops_end(o, r, err);
}

static int mark_parts(struct ops *o, const struct parts *p, struct err *err)
{
	int r = ops_begin(o, err);

	for (size_t i = 0; !r && i < p->n_subnets; i++)
		r = subnet_set_state(o->st, &p->subnets[i], ROW_DELETING, err);
	for (size_t i = 0; !r && i < p->n_ports; i++)
		r = port_set_state(o->st, &p->ports[i], ROW_DELETING, err);
	return ops_end(o, r, err);
}

static void names_down(struct ops *o, const struct parts *p, struct failures *f)
{
	for (size_t i = 0; i < p->n_subnets; i++)
		failures_add(f, ops_dns_forget_subnet(o, &p->subnets[i], failures_err(f)));
	for (size_t i = 0; p->v->dns && i < p->n_ports; i++)
		ops_dns_forget_port(o, p->v, &p->ports[i]);
	if (p->n_ports)
		ops_dns_reload(o, p->v);
}

static void list_links(const struct parts *p, struct name_list *ret)
{
	for (size_t i = 0; i < p->n_subnets; i++)
		name_list_add(ret, p->subnets[i].veth_host);
	for (size_t i = 0; i < p->n_ports; i++) {
		name_list_add(ret, p->ports[i].ifname);
		name_list_add(ret, p->ports[i].ifb);
	}
}

/* What runs in the namespaces, all links, then the namespaces. */
static void kernel_down(struct ops *o, const struct name_list *links,
			const struct name_list *namespaces, struct failures *f)
{
	failures_add(f, reap_netns(namespaces->names, namespaces->n, REAP_GRACE_MS, &o->log,
				   failures_err(f)));
	failures_add(f, links_down(o->host, links, failures_err(f)));
	for (size_t i = 0; i < namespaces->n; i++)
		failures_add(f, netns_delete(namespaces->names[i], &o->log, failures_err(f)));
}

static bool leads_to(const struct mapping *m, const struct parts *p)
{
	for (size_t i = 0; m->to_subnet && i < p->n_subnets; i++)
		if (!strcmp(m->target, p->subnets[i].name))
			return true;
	for (size_t i = 0; !m->to_subnet && i < p->n_ports; i++)
		if (!strcmp(m->target, p->ports[i].name))
			return true;
	return false;
}

/* While the rows are there that the rules would be made of. */
static int unpublish_ports(struct ops *o, const struct parts *p, struct err *err)
{
	_free_ struct mapping *m = NULL;
	size_t n = 0, found = 0;
	int r = mapping_list(o->st, p->v->name, &m, &n, err);

	for (size_t i = 0; !r && i < n; i++) {
		if (leads_to(&m[i], p))
			m[found++] = m[i];
	}
	return r ? r : ops_mappings_delete(o, m, found, err);
}

/* What is being deleted is nobody in the policies that name it, before anybody else has its addresses. */
static void forget_names(struct ops *o, const struct parts *p, struct failures *f)
{
	for (size_t i = 0; i < p->n_subnets; i++)
		failures_add(f, ops_policy_refresh(o, p->subnets[i].name, failures_err(f)));
	for (size_t i = 0; i < p->n_ports; i++)
		failures_add(f, ops_policy_refresh(o, p->ports[i].name, failures_err(f)));
}

/* Rows that are being deleted are left out of the table. */
static int policies_down(struct ops *o, const struct parts *p, struct err *err)
{
	bool any = false;

	for (size_t i = 0; i < p->n_ports; i++)
		any |= p->ports[i].has_policy;
	return any ? ops_port_rules_sync(o, NULL, err) : 0;
}

static int teardown_parts(struct ops *o, const struct parts *p, struct err *err)
{
	_host_rules_ struct host_rules del = {0};
	_name_list_ struct name_list links = {0}, namespaces = {0};
	struct failures f = {.err = err};
	struct nat nat;
	int r = mark_parts(o, p, err);

	if (r)
		return r;
	list_links(p, &links);
	list_namespaces(p, &namespaces);
	failures_add(&f, unpublish_ports(o, p, failures_err(&f)));
	kernel_down(o, &links, &namespaces, &f);
	names_down(o, p, &f);
	failures_add(&f, ports_forget(o->host, p->v, p->ports, p->n_ports, failures_err(&f)));
	host_rules_init(&del);
	parts_elems(&del, p, nat_load(o->st, p->v->name, &nat, NULL) ? NULL : &nat);
	failures_add(&f, way_elems(o, &del, p, failures_err(&f)));
	failures_add(&f, ops_host_update(o, NULL, &del, failures_err(&f)));
	failures_add(&f, policies_down(o, p, failures_err(&f)));
	forget_names(o, p, &f);
	if (!f.code)
		failures_add(&f, forget_parts(o, p, failures_err(&f)));
	if (!f.code)
		failures_add(&f, ops_ways_prune(o, failures_err(&f)));
	if (!f.code)
		failures_add(&f, ops_dns_settle(o, p->v, failures_err(&f)));
	if (!f.code && p->n_subnets) /* ports are not in the view */
		failures_add(&f, ops_publish(o, p->v->name, failures_err(&f)));
	return failures_tell(&f);
}

int ops_teardown_ports(struct ops *o, const struct vpc *v, const struct port *p, size_t n,
		       struct err *err)
{
	struct parts parts = {.v = v, .ports = p, .n_ports = n};

	return teardown_parts(o, &parts, err);
}

static bool is_among(const char *name, const struct subnet *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(name, s[i].name))
			return true;
	}
	return false;
}

int ops_teardown_subnets(struct ops *o, const struct vpc *v, const struct subnet *s, size_t n,
			 struct err *err)
{
	struct parts parts = {.v = v, .subnets = s, .n_subnets = n};
	_free_ struct port *ports = NULL;
	size_t n_ports = 0;
	int r = port_list(o->st, v->name, &ports, &n_ports, err);

	for (size_t i = 0; !r && i < n_ports; i++) {
		if (is_among(ports[i].subnet, s, n))
			ports[parts.n_ports++] = ports[i];
	}
	parts.ports = ports;
	return r ? r : teardown_parts(o, &parts, err);
}

/* All that one VPC's teardown needs to know, read before anything goes. */
struct whole {
	const struct vpc *v;
	struct subnet *subnets;
	struct port *ports;
	struct segment *segments;
	struct peer *peers;
	size_t n_segments, n_peers;
	struct parts parts; /* subnets and ports */
	struct nat nat;
	bool has_nat;
};

/* VPCs that go together. */
struct wholes {
	struct whole *w;
	size_t n;
};

static void wholes_done(struct wholes *all)
{
	for (size_t i = 0; i < all->n; i++) {
		free(all->w[i].subnets);
		free(all->w[i].ports);
		free(all->w[i].segments);
		free(all->w[i].peers);
	}
	free(all->w);
}

static int load_whole(struct ops *o, const struct vpc *v, struct whole *w, struct err *err)
{
	int r = subnet_list(o->st, v->name, &w->subnets, &w->parts.n_subnets, err);

	w->v = w->parts.v = v;
	if (!r)
		r = port_list(o->st, v->name, &w->ports, &w->parts.n_ports, err);
	if (!r)
		r = segment_list(o->st, v->name, &w->segments, &w->n_segments, err);
	if (!r)
		r = peer_list(o->st, v->name, &w->peers, &w->n_peers, err);
	if (!r)
		w->has_nat = !nat_load(o->st, v->name, &w->nat, NULL);
	w->parts.subnets = w->subnets;
	w->parts.ports = w->ports;
	return r;
}

static int load_wholes(struct ops *o, const struct vpc *v, size_t n, struct wholes *ret,
		       struct err *err)
{
	int r = 0;

	*ret = (struct wholes){.w = xcalloc(n + 1, sizeof(*ret->w)), .n = n};
	for (size_t i = 0; !r && i < n; i++)
		r = load_whole(o, &v[i], &ret->w[i], err);
	return r;
}

static int mark_vpcs(struct ops *o, const struct wholes *all, struct err *err)
{
	int r = ops_begin(o, err);

	for (size_t i = 0; !r && i < all->n; i++)
		r = vpc_set_state(o->st, all->w[i].v->name, ROW_DELETING, err);
	return ops_end(o, r, err);
}

static void list_whole_links(const struct whole *w, struct name_list *ret)
{
	name_list_add(ret, w->v->bridge);
	for (size_t i = 0; i < w->n_segments; i++) {
		name_list_add(ret, w->segments[i].bridge);
		name_list_add(ret, w->segments[i].trunk_up);
		name_list_add(ret, w->segments[i].trunk_down);
	}
	list_links(&w->parts, ret);
}

static bool goes_too(const struct wholes *all, const char *vpc)
{
	for (size_t i = 0; i < all->n; i++)
		if (!strcmp(all->w[i].v->name, vpc))
			return true;
	return false;
}

/* Of two that go, the first says it. */
static void del_peer_elems(struct ops *o, struct host_rules *del, const struct wholes *all,
			   const struct whole *w)
{
	for (size_t i = 0; i < w->n_peers; i++) {
		const struct peer *p = &w->peers[i];
		bool is_first = !strcmp(p->a, w->v->name);
		struct vpc other;

		if ((!is_first && goes_too(all, p->a)) ||
		    vpc_load(o->st, is_first ? p->b : p->a, &other, NULL))
			continue;
		host_rules_peer(del, p, is_first ? w->v : &other, is_first ? &other : w->v);
	}
}

static int whole_elems(struct ops *o, struct host_rules *del, const struct wholes *all,
		       const struct whole *w, struct err *err)
{
	int r;

	host_rules_vpc(del, w->v);
	parts_elems(del, &w->parts, w->has_nat ? &w->nat : NULL);
	r = way_elems(o, del, &w->parts, err);
	if (!r)
		r = host_rules_use(o->st, del, USE_NETWORK, w->v->name, "", err);
	if (r)
		return r;
	if (w->has_nat && w->v->flat)
		host_rules_nat(del, &w->v->cidr, &w->v->cidr6, w->nat.interface);
	del_peer_elems(o, del, all, w);
	return 0;
}

/* With the last VPC, or the last on its outgoing interface, rules go; else only elements. */
static int firewall_down(struct ops *o, const struct wholes *all, struct err *err)
{
	_host_rules_ struct host_rules del = {0};
	bool interface_used = true;
	int64_t live = 0;
	int r = row_number(o->st, "SELECT COUNT(*) FROM vpc WHERE state <> 'deleting'", NULL, &live,
			   err);

	for (size_t i = 0; !r && interface_used && i < all->n; i++)
		if (all->w[i].has_nat)
			r = ops_nat_interface_used(o, all->w[i].nat.interface, all->w[i].v->name,
						   &interface_used, err);
	if (r)
		return r;
	if (!live || !interface_used)
		return ops_host_sync(o, err);
	host_rules_init(&del);
	for (size_t i = 0; !r && i < all->n; i++)
		r = whole_elems(o, &del, all, &all->w[i], err);
	return r ? r : ops_host_update(o, NULL, &del, err);
}

static int forget_vpcs(struct ops *o, const struct wholes *all, struct err *err)
{
	int r = ops_begin(o, err);

	for (size_t i = 0; !r && i < all->n; i++) {
		r = ipam_pools_del(o->st, all->w[i].v->name, err);
		if (!r)
			r = vpc_remove(o->st, all->w[i].v->name, err);
	}
	return ops_end(o, r, err);
}

static int republish_peers(struct ops *o, const struct wholes *all, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < all->n; i++)
		r = ops_unpublish(o, all->w[i].v->name, err);
	for (size_t i = 0; !r && i < all->n; i++) {
		const struct whole *w = &all->w[i];

		for (size_t k = 0; !r && k < w->n_peers; k++) {
			const struct peer *p = &w->peers[k];

			r = ops_publish(o, strcmp(p->a, w->v->name) ? p->a : p->b, err);
			r = r == -ENOENT ? 0 : r; /* it goes, too */
		}
	}
	return r;
}

/* Before the links go by which somebody is served, or reached. */
static void services_down(struct ops *o, const struct wholes *all, struct failures *f)
{
	for (size_t i = 0; i < all->n; i++) {
		failures_add(f, ops_dns_down(o, all->w[i].v->name, failures_err(f)));
		failures_add(f, unpublish_ports(o, &all->w[i].parts, failures_err(f)));
	}
}

static void rules_down(struct ops *o, const struct wholes *all, struct failures *f)
{
	failures_add(f, firewall_down(o, all, failures_err(f)));
	for (size_t i = 0; i < all->n; i++) {
		failures_add(f, policies_down(o, &all->w[i].parts, failures_err(f)));
		failures_add(f, ops_policy_refresh(o, all->w[i].v->name, failures_err(f)));
	}
}

int ops_teardown_vpcs(struct ops *o, const struct vpc *v, size_t n, struct err *err)
{
	_cleanup_(wholes_done) struct wholes all = {0};
	_name_list_ struct name_list links = {0}, namespaces = {0};
	struct failures f = {.err = err};
	int r = load_wholes(o, v, n, &all, err);

	if (!r)
		r = n ? mark_vpcs(o, &all, err) : 0;
	if (r || !n)
		return r;
	for (size_t i = 0; i < n; i++) {
		list_whole_links(&all.w[i], &links);
		list_namespaces(&all.w[i].parts, &namespaces);
	}
	services_down(o, &all, &f);
	kernel_down(o, &links, &namespaces, &f);
	for (size_t i = 0; i < n; i++)
		names_down(o, &all.w[i].parts, &f);
	rules_down(o, &all, &f);
	if (!f.code)
		failures_add(&f, forget_vpcs(o, &all, failures_err(&f)));
	if (!f.code)
		failures_add(&f, ops_ways_prune(o, failures_err(&f)));
	if (!f.code)
		failures_add(&f, republish_peers(o, &all, failures_err(&f)));
	if (!f.code)
		failures_add(&f, ops_forwarding_restore(o, NULL, failures_err(&f)));
	return failures_tell(&f);
}
