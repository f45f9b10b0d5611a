// SPDX-License-Identifier: GPL-2.0-or-later
/* Flat VPCs: a bridge that workloads are joined to, and the way out for all of them. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "kernel/link.h"
#include "ops/dns.h"
#include "ops/ops.h"
#include "vpc/names.h"
#include "vpc/plan.h"

static int check_flat(const struct vpc *v, struct err *err)
{
	if (v->flat)
		return 0;
	return err_set(err, ERR_CONFLICT, -EEXIST,
		       "'%s' is a VPC with subnets, not a flat network: see `byway vpc --help`",
		       v->name);
}

static int check_bridge(struct ops *o, const struct vpc *v, struct err *err)
{
	struct link link;

	if (!link_get(o->host, v->bridge, &link, NULL) && link_is_ours(&link))
		return 0;
	return err_set(err, ERR_CONFLICT, -ENODEV,
		       "network '%s' has lost its bridge %s: `byway gc` removes what is left of it",
		       v->name, v->bridge);
}

int ops_network_same(const struct vpc *v, const struct vpc_params *p, struct err *err)
{
	char text[CIDR_STRLEN];
	struct cidr cidr = v->cidr, cidr6 = v->cidr6;
	int r = check_flat(v, err);

	if (!r && p->cidr)
		r = plan_vpc_cidr(p->cidr, AF_INET, &cidr, err);
	if (!r && p->cidr6)
		r = plan_vpc_cidr(p->cidr6, AF_INET6, &cidr6, err);
	if (r)
		return r;
	if (!cidr_equal(&cidr, &v->cidr) || !cidr_equal(&cidr6, &v->cidr6))
		return err_set(err, ERR_CONFLICT, -EEXIST, "network '%s' exists already with %s%s",
			       v->name, cidr_format(&v->cidr, text),
			       v->cidr6.addr.family ? " and an IPv6 network" : "");
	if (p->mtu_bytes && p->mtu_bytes != v->mtu_bytes)
		return err_set(err, ERR_CONFLICT, -EEXIST,
			       "network '%s' exists already with MTU %u", v->name, v->mtu_bytes);
	return 0;
}

static int make(struct ops *o, const struct network_params *p, struct vpc *ret, struct err *err)
{
	struct vpc_params params = p->vpc;
	struct nat nat;
	int r = p->no_nat ? 0 : ops_nat_choose(o, params.name, p->interface, &nat, err);

	params.flat = true;
	params.nat = p->no_nat ? NULL : &nat;
	if (!params.cidr)
		params.cidr = OPS_NETWORK_CIDR;
	return r ? r : ops_vpc_create(o, &params, ret, err);
}

/* Asked for now, or before and served no more. */
static int complete_services(struct ops *o, const struct network_params *p, const struct vpc *v,
			     bool *ret_changed, struct err *err)
{
	bool changed = false;
	int r = p->vpc.dns || v->dns ? ops_dns_enable(o, v->name, p->vpc.dhcp, &changed, err) : 0;

	*ret_changed |= changed;
	return r;
}

/* One that is there may have lost its way out. */
static int complete_nat(struct ops *o, const struct network_params *p, const struct vpc *v,
		    bool *ret_changed, struct err *err)
{
	struct nat nat;
	bool has_row, has_nat, existed;

	has_row = !nat_load(o->st, v->name, &nat, NULL);
	has_nat = has_row && nat.state == ROW_ACTIVE;
	if (p->no_nat && has_nat)
		return err_set(err, ERR_CONFLICT, -EEXIST,
			       "network '%s' has NAT through %s: `byway nat disable %s` ends that",
			       v->name, nat.interface, v->name);
	*ret_changed = p->no_nat && has_row; /* what a crash left, of rules too */
	if (*ret_changed)
		return ops_nat_disable(o, v->name, &existed, err);
	if (p->no_nat || (has_nat && !p->interface))
		return 0;
	return ops_nat_enable(o, v->name, p->interface, &nat, ret_changed, err);
}

static int complete(struct ops *o, const struct network_params *p, struct vpc *v, bool *ret_changed,
		    struct err *err)
{
	int r = ops_network_same(v, &p->vpc, err);

	*ret_changed = false;
	if (!r)
		r = check_bridge(o, v, err);
	if (!r)
		r = complete_nat(o, p, v, ret_changed, err);
	if (!r)
		r = complete_services(o, p, v, ret_changed, err);
	return r ? r : vpc_load(o->st, v->name, v, err);
}

int ops_network_up(struct ops *o, const struct network_params *p, struct vpc *ret,
		   bool *ret_changed, struct err *err)
{
	struct vpc v;
	int r = vpc_load(o->st, p->vpc.name, &v, NULL);

	if (r && r != -ENOENT)
		return err_errno(err, r, "cannot look up network '%s'", p->vpc.name);
	*ret_changed = r || v.state != ROW_ACTIVE;
	r = *ret_changed ? make(o, p, &v, err) : complete(o, p, &v, ret_changed, err);
	if (!r)
		*ret = v;
	return r;
}

int ops_network_down(struct ops *o, const char *const names[], size_t n, bool ret_existed[],
		     struct err *err)
{
	struct vpc v;
	int r = 0;

	for (size_t i = 0; !r && i < n; i++)
		if (!vpc_load(o->st, names[i], &v, NULL))
			r = check_flat(&v, err);
	return r ? r : ops_vpc_delete(o, names, n, ret_existed, err);
}
