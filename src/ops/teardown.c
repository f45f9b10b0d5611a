// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Taking things away: whole VPCs or some subnets, from any state that a crash can leave them in.
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
#include "ops/ops.h"
#include "proc/reap.h"
#include "vpc/host_rules.h"
#include "vpc/names.h"
#include "vpc/net.h"

static void stop_processes(struct ops *o, const struct subnet *s, size_t n, struct failures *f)
{
	_free_ const char **names = xcalloc(n + 1, sizeof(*names));

	for (size_t i = 0; i < n; i++)
		names[i] = s[i].netns;
	failures_add(f, reap_netns(names, n, REAP_GRACE_MS, &o->log, failures_err(f)));
}

static void delete_namespaces(struct ops *o, const struct subnet *s, size_t n, struct failures *f)
{
	for (size_t i = 0; i < n; i++) {

		failures_add(f, netns_delete(s[i].netns, &o->log, failures_err(f)));
	}
}

static void del_subnet_elems(struct host_rules *h, const struct subnet *s, size_t n,
			     const struct nat *nat)
{
	for (size_t i = 0; i < n; i++) {
		host_rules_port(h, &s[i]);
		if (nat && s[i].is_public)
			host_rules_nat(h, &s[i], nat->interface);
	}
}

static void pool_name(const struct subnet *s, const char *suffix, char *ret, size_t size)
{
	snprintf(ret, size, "%s/%s%s", s->vpc, s->name, suffix);
}

/* The pools stay with the VPC: a subnet that comes back gets its address back. */
static int release_leases(struct ops *o, const struct subnet *s, struct err *err)
{
	char pool[NAME_MAX_LEN * 2 + 8];
	int r;

	pool_name(s, "", pool, sizeof(pool));
	r = ipam_lease_release(o->st, pool, s->name, err);
	if (r || !s->addr6.family)
		return r;
	pool_name(s, "#6", pool, sizeof(pool));
	return ipam_lease_release(o->st, pool, s->name, err);
}

static int forget_subnets(struct ops *o, const struct subnet *s, size_t n, struct err *err)
{
	int r = ops_begin(o, err);

	for (size_t i = 0; !r && i < n; i++) {
		r = release_leases(o, &s[i], err);
		if (!r)
			r = subnet_remove(o->st, &s[i], err);
	}
	return ops_end(o, r, err);
}

static int mark_subnets(struct ops *o, const struct subnet *s, size_t n, struct err *err)
{
	int r = ops_begin(o, err);

	for (size_t i = 0; !r && i < n; i++)
		r = subnet_set_state(o->st, &s[i], ROW_DELETING, err);
	return ops_end(o, r, err);
}

static void subnets_kernel_down(struct ops *o, const struct subnet *s, size_t n,
				struct name_list *links, struct failures *f)
{

	stop_processes(o, s, n, f);
	for (size_t i = 0; i < n; i++)
		name_list_add(links, s[i].veth_host);
	failures_add(f, links_down(o->host, links, failures_err(f)));
	delete_namespaces(o, s, n, f);
}

int ops_teardown_subnets(struct ops *o, const struct vpc *v, const struct subnet *s, size_t n,
			 struct err *err)
{
	_host_rules_ struct host_rules del = {0};
	_name_list_ struct name_list links = {0};
	struct failures f = {.err = err};
	struct nat nat;
	int r = mark_subnets(o, s, n, err);

	if (r)
		return r;
	subnets_kernel_down(o, s, n, &links, &f);
	host_rules_init(&del);
	del_subnet_elems(&del, s, n, nat_load(o->st, v->name, &nat, NULL) ? NULL : &nat);
	failures_add(&f, ops_host_update(o, NULL, &del, failures_err(&f)));
	if (!f.code)
		failures_add(&f, forget_subnets(o, s, n, failures_err(&f)));
	if (!f.code)
		failures_add(&f, ops_publish(o, v->name, failures_err(&f)));
	return failures_tell(&f);
}

/* All that one VPC's teardown needs to know, read before anything goes. */
struct whole {
	const struct vpc *v;
	struct subnet *subnets;
	struct segment *segments;
	struct peer *peers;
	size_t n_subnets, n_segments, n_peers;
	struct nat nat;
	bool has_nat;
};

static void whole_done(struct whole *w)
{
	free(w->subnets);
	free(w->segments);
	free(w->peers);
}

static int load_whole(struct ops *o, const struct vpc *v, struct whole *w, struct err *err)
{
	int r = subnet_list(o->st, v->name, &w->subnets, &w->n_subnets, err);

	w->v = v;
	if (!r)
		r = segment_list(o->st, v->name, &w->segments, &w->n_segments, err);
	if (!r)
		r = peer_list(o->st, v->name, &w->peers, &w->n_peers, err);
	if (!r)
		w->has_nat = !nat_load(o->st, v->name, &w->nat, NULL);
	return r;
}

static int mark_vpc(struct ops *o, const struct vpc *v, struct err *err)
{
	int r = ops_begin(o, err);

	if (!r)
		r = vpc_set_state(o->st, v->name, ROW_DELETING, err);
	return ops_end(o, r, err);
}

static void del_peer_elems(struct ops *o, struct host_rules *del, const struct whole *w)
{
	for (size_t i = 0; i < w->n_peers; i++) {
		const struct peer *p = &w->peers[i];
		struct vpc other;

		if (vpc_load(o->st, strcmp(p->a, w->v->name) ? p->a : p->b, &other, NULL))
			continue;
		if (strcmp(p->a, w->v->name))
			host_rules_peer(del, p, &other, w->v);
		else
			host_rules_peer(del, p, w->v, &other);
	}
}

/* With the last VPC, or the last on its outgoing interface, rules go; else only elements. */
static int firewall_down(struct ops *o, const struct whole *w, struct err *err)
{
	_host_rules_ struct host_rules del = {0};
	bool interface_used = true;
	int64_t live = 0;
	int r = row_number(o->st, "SELECT COUNT(*) FROM vpc WHERE state <> 'deleting'", NULL, &live,
			   err);

	if (!r && w->has_nat)
		r = ops_nat_interface_used(o, w->nat.interface, w->v->name, &interface_used, err);
	if (r)
		return r;
	if (!live || !interface_used)
		return ops_host_sync(o, err);
	host_rules_init(&del);
	host_rules_vpc(&del, w->v);
	del_subnet_elems(&del, w->subnets, w->n_subnets, w->has_nat ? &w->nat : NULL);
	del_peer_elems(o, &del, w);
	return ops_host_update(o, NULL, &del, err);
}

static int forget_vpc(struct ops *o, const struct vpc *v, struct err *err)
{
	int r = ops_begin(o, err);

	if (!r)
		r = ipam_pools_del(o->st, v->name, err);
	if (!r)
		r = vpc_remove(o->st, v->name, err);
	return ops_end(o, r, err);
}

static int republish_peers(struct ops *o, const struct whole *w, struct err *err)
{
	int r = ops_unpublish(o, w->v->name, err);

	for (size_t i = 0; !r && i < w->n_peers; i++) {
		const char *other =
			strcmp(w->peers[i].a, w->v->name) ? w->peers[i].a : w->peers[i].b;

		r = ops_publish(o, other, err);
		r = r == -ENOENT ? 0 : r; /* it goes, too */
	}
	return r;
}

int ops_teardown_vpc(struct ops *o, const struct vpc *v, struct err *err)
{
	_cleanup_(whole_done) struct whole w = {0};
	_name_list_ struct name_list links = {0};
	struct failures f = {.err = err};
	int r = load_whole(o, v, &w, err);

	if (!r)
		r = mark_vpc(o, v, err);
	if (r)
		return r;
	name_list_add(&links, v->bridge);
	for (size_t i = 0; i < w.n_segments; i++) {
		name_list_add(&links, w.segments[i].bridge);
		name_list_add(&links, w.segments[i].trunk_up);
		name_list_add(&links, w.segments[i].trunk_down);
	}
	subnets_kernel_down(o, w.subnets, w.n_subnets, &links, &f);
	failures_add(&f, firewall_down(o, &w, failures_err(&f)));
	if (!f.code)
		failures_add(&f, forget_vpc(o, v, failures_err(&f)));
	if (!f.code)
		failures_add(&f, republish_peers(o, &w, failures_err(&f)));
	if (!f.code)
		failures_add(&f, ops_forwarding_restore(o, NULL, failures_err(&f)));
	return failures_tell(&f);
}
