// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "kernel/netns.h"
#include "kernel/route.h"
#include "ops/dns.h"
#include "ops/ops.h"
#include "vpc/host_rules.h"
#include "vpc/names.h"
#include "vpc/net.h"
#include "vpc/plan.h"

static int check_params(const struct vpc_params *p, struct vpc *v, struct err *err)
{
	int r = name_check_vpc(p->flat ? "network" : "VPC", p->name, err);

	if (!r)
		r = plan_vpc_cidr(p->cidr, AF_INET, &v->cidr, err);
	if (!r && p->cidr6)
		r = plan_vpc_cidr(p->cidr6, AF_INET6, &v->cidr6, err);
	if (r)
		return r;
	v->flat = p->flat;
	v->dns = p->dns;
	v->dhcp = p->dhcp;
	v->mtu_bytes = p->mtu_bytes ? p->mtu_bytes : VPC_MTU_DEFAULT;
	r = plan_mtu(v->mtu_bytes, p->cidr6 != NULL, err);
	return r ? r : str_copy(v->name, sizeof(v->name), p->name);
}

static int check_overlap(struct ops *o, const struct vpc *v, const struct cidr *c, struct err *err)
{
	_free_ struct vpc *vpcs = NULL;
	char mine[CIDR_STRLEN], theirs[CIDR_STRLEN];
	size_t n = 0;
	int r = c->addr.family ? vpc_list(o->st, &vpcs, &n, err) : 0;

	for (size_t i = 0; !r && i < n; i++) {
		const struct cidr *other = c->addr.family == AF_INET6 ? &vpcs[i].cidr6 : &vpcs[i].cidr;

		if (strcmp(vpcs[i].name, v->name) && other->addr.family && cidr_overlaps(c, other))
			r = err_set(err, ERR_CONFLICT, -EEXIST, "%s overlaps VPC '%s' (%s)",
				    cidr_format(c, mine), vpcs[i].name, cidr_format(other, theirs));
	}
	return r;
}

struct route_check {
	const struct cidr *cidr;
	struct err *err;
};

/* Addresses have routes of type local, and may be without another: those of loopback devices, and
 * of machines whose provider routes each address to them alone. */
static bool is_taken(const struct route *r)
{
	return r->type == RTN_LOCAL || (r->table != RT_TABLE_LOCAL && r->type != RTN_MULTICAST);
}

static int check_route(const struct route *r, void *arg)
{
	const struct route_check *check = arg;
	char mine[CIDR_STRLEN], theirs[CIDR_STRLEN];

	if (!r->dst.prefix || !is_taken(r) || !cidr_overlaps(&r->dst, check->cidr))
		return 0;
	if (r->type == RTN_LOCAL)
		return err_set(check->err, ERR_CONFLICT, -EEXIST,
			       "%s overlaps an address that this host has (%s; see `ip address`)",
			       cidr_format(check->cidr, mine), cidr_format(&r->dst, theirs));
	return err_set(check->err, ERR_CONFLICT, -EEXIST,
		       "%s overlaps a route that this host has already (%s; see `ip%s route`)",
		       cidr_format(check->cidr, mine), cidr_format(&r->dst, theirs),
		       r->dst.addr.family == AF_INET6 ? " -6" : "");
}

static int check_routes(struct ops *o, const struct cidr *c, struct err *err)
{
	struct route_check check = {.cidr = c, .err = err};

	return c->addr.family ? route_each(o->host, c->addr.family, check_route, &check, err) : 0;
}

/* A row of this name: active is a conflict, anything else is what a crash left and goes first. */
static int clear_name(struct ops *o, const char *name, struct err *err)
{
	struct vpc old;
	char cidr[CIDR_STRLEN];
	int r = vpc_load(o->st, name, &old, NULL);

	if (r)
		return r == -ENOENT ? 0 : r;
	if (old.state == ROW_ACTIVE)
		return err_set(err, ERR_CONFLICT, -EEXIST, "VPC '%s' exists already (%s)", name,
			       cidr_format(&old.cidr, cidr));
	return ops_teardown_vpcs(o, &old, 1, err);
}

int ops_vpc_active(struct ops *o, const char *name, struct vpc *ret, struct err *err)
{
	int r = vpc_load(o->st, name, ret, err);

	if (r || ret->state == ROW_ACTIVE)
		return r;
	return err_set(err, ERR_CONFLICT, -EBUSY,
		       "VPC '%s' was left half-made by a crash: `byway vpc delete %s`, then create "
		       "it again",
		       name, name);
}

static int plan(struct ops *o, const struct vpc_params *p, struct vpc *v, struct err *err)
{
	int r = check_params(p, v, err);

	if (!r && v->dns)
		r = ops_dns_check(v, err);
	if (!r)
		r = clear_name(o, v->name, err);
	if (!r)
		r = check_overlap(o, v, &v->cidr, err);
	if (!r)
		r = check_overlap(o, v, &v->cidr6, err);
	if (!r)
		r = check_routes(o, &v->cidr, err);
	if (!r)
		r = check_routes(o, &v->cidr6, err);
	if (!r)
		r = name_bridge(o->st, o->host, v, v->bridge, err);
	now_utc(v->created);
	v->state = ROW_CREATING;
	return r;
}

static int commit_state(struct ops *o, struct vpc *v, const struct nat *nat, enum row_state state,
			struct err *err)
{
	struct nat row = nat ? *nat : (struct nat){0};
	int r = ops_begin(o, err);

	if (!r)
		r = state == ROW_CREATING ? vpc_insert(o->st, v, err)
					  : vpc_set_state(o->st, v->name, state, err);
	if (!r && state == ROW_CREATING)
		r = ops_record_firewall(o, err);
	row.state = v->state = state;
	if (!r && nat)
		r = nat_save(o->st, &row, err);
	return ops_end(o, r, err);
}

/* With the first VPC, or a way out that nobody else has, rules come too, not only elements. */
static int firewall_up(struct ops *o, const struct vpc *v, const struct nat *nat, struct err *err)
{
	_host_rules_ struct host_rules add = {0};
	bool interface_used = true;
	int64_t vpcs = 0;
	int r = row_number(o->st, "SELECT COUNT(*) FROM vpc", NULL, &vpcs, err);

	if (!r && nat)
		r = ops_nat_interface_used(o, nat->interface, v->name, &interface_used, err);
	if (r)
		return r;
	if (vpcs == 1 || !interface_used)
		return ops_host_sync(o, err);
	host_rules_init(&add);
	host_rules_vpc(&add, v);
	if (nat && v->flat)
		host_rules_nat(&add, &v->cidr, &v->cidr6, nat->interface);
	return ops_host_update(o, &add, NULL, err);
}

/* The firewall first: the bridge meets it from its first packet. */
static int bring_up(struct ops *o, struct vpc *v, const struct nat *nat, struct err *err)
{
	int r = ops_policy_refresh(o, v->name, err);

	if (!r)
		r = firewall_up(o, v, nat, err);
	if (!r)
		r = vpc_up(o->host, v, err);
	if (!r)
		r = ops_forwarding_on(o, v->cidr6.addr.family, NULL, err);
	if (!r && v->dns)
		r = ops_dns_up(o, v, err);
	if (!r)
		r = commit_state(o, v, nat, ROW_ACTIVE, err);
	return r ? r : ops_publish(o, v->name, err);
}

int ops_vpc_create(struct ops *o, const struct vpc_params *p, struct vpc *ret, struct err *err)
{
	struct vpc v = {0};
	int r = plan(o, p, &v, err);

	if (!r)
		r = ops_firewall(o, err);
	if (!r)
		r = commit_state(o, &v, p->nat, ROW_CREATING, err);
	if (r)
		return r;
	r = bring_up(o, &v, p->nat, err);
	if (r) {
		ops_teardown_vpcs(o, &v, 1, NULL);
		return r;
	}
	*ret = v;
	return 0;
}

static bool is_among(const char *name, const struct vpc *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(name, v[i].name))
			return true;
	return false;
}

int ops_vpc_delete(struct ops *o, const char *const names[], size_t n, bool ret_existed[],
		   struct err *err)
{
	_free_ struct vpc *v = xcalloc(n + 1, sizeof(*v));
	size_t found = 0;

	memset(ret_existed, 0, n * sizeof(*ret_existed));
	for (size_t i = 0; i < n; i++) {
		int r = is_among(names[i], v, found) ? -ENOENT
						     : vpc_load(o->st, names[i], &v[found], NULL);

		if (r && r != -ENOENT)
			return err_errno(err, r, "cannot look up VPC '%s'", names[i]);
		ret_existed[i] = !r;
		found += !r;
	}
	return ops_teardown_vpcs(o, v, found, err);
}
