// SPDX-License-Identifier: GPL-2.0-or-later
/* Addresses of VPCs: a pool VPC/SUBNET for each subnet, with #6 behind it for IPv6. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "ipam/ipam.h"
#include "ops/ops.h"
#include "vpc/names.h"
#include "vpc/plan.h"
#include "vpc/port.h"

#define POOL_NAME_MAX (NAME_MAX_LEN * 2 + 8)

static void pool_name(const char *vpc, const char *subnet, int family, char ret[POOL_NAME_MAX])
{
	snprintf(ret, POOL_NAME_MAX, "%s/%s%s", vpc, subnet, family == AF_INET6 ? "#6" : "");
}

int ops_lease(struct ops *o, const struct vpc *v, const char *subnet, const struct cidr *net,
	      const char *owner, struct ip *ret, struct err *err)
{
	char pool[POOL_NAME_MAX];
	struct ip first, last;
	int r = plan_pool(v, net, &first, &last, err);

	pool_name(v->name, subnet, net->addr.family, pool);
	if (!r)
		r = ipam_pool_add(o->st, pool, &first, &last, err);
	if (r)
		return r;
	return ret->family ? ipam_lease_take_addr(o->st, pool, owner, ret, err)
			   : ipam_lease_take(o->st, pool, owner, ret, err);
}

int ops_lease_release(struct ops *o, const char *vpc, const char *subnet, int family,
		      const char *owner, struct err *err)
{
	char pool[POOL_NAME_MAX];

	pool_name(vpc, subnet, family, pool);
	return family ? ipam_lease_release(o->st, pool, owner, err) : 0;
}

int ops_lease_usage(struct ops *o, const char *vpc, const char *subnet, int family,
		    struct ipam_usage *ret, struct err *err)
{
	char pool[POOL_NAME_MAX];

	pool_name(vpc, subnet, family, pool);
	return ipam_pool_usage(o->st, pool, ret, err);
}

/* A subnet is the owner of its own name: no name has a slash. */
const char *ops_port_owner(const char *name, char ret[OPS_OWNER_MAX])
{
	snprintf(ret, OPS_OWNER_MAX, "vm/%s", name);
	return ret;
}

int ops_lease_port(struct ops *o, const struct vpc *v, const struct subnet *s, const char *name,
		   struct ip *addr, struct ip *addr6, struct err *err)
{
	const struct cidr *net6 = s ? &s->cidr6 : &v->cidr6;
	const char *subnet = s ? s->name : OPS_NO_SUBNET;
	char owner[OPS_OWNER_MAX];
	int r = ops_lease(o, v, subnet, s ? &s->cidr : &v->cidr, ops_port_owner(name, owner), addr,
			  err);

	if (r)
		return r;
	if (net6->addr.family)
		return ops_lease(o, v, subnet, net6, owner, addr6, err);
	return addr6->family
		       ? err_set(err, ERR_USAGE, -EINVAL, "'%s' has no IPv6 network", v->name)
		       : 0;
}

int ops_address_take(struct ops *o, const char *vpc, const char *name, struct ip *addr,
		     struct ip *addr6, struct err *err)
{
	struct vpc v;
	int r = name_check("VM", name, err);

	if (!r)
		r = ops_vpc_active(o, vpc, &v, err);
	if (!r && !v.flat)
		r = err_set(err, ERR_USAGE, -EINVAL, "VPC '%s' is not flat", vpc);
	if (!r)
		r = ops_begin(o, err);
	if (r)
		return r;
	return ops_end(o, ops_lease_port(o, &v, NULL, name, addr, addr6, err), err);
}

static int release_both(struct ops *o, const char *vpc, const char *name, struct err *err)
{
	static const int families[] = {AF_INET, AF_INET6};
	char owner[OPS_OWNER_MAX];
	int r = ops_begin(o, err);

	ops_port_owner(name, owner);
	for (size_t i = 0; !r && i < ARRAY_SIZE(families); i++) {
		r = ops_lease_release(o, vpc, OPS_NO_SUBNET, families[i], owner, err);
		r = r == -ENOENT ? 0 : r; /* nobody has leased there yet */
	}
	return ops_end(o, r, err);
}

int ops_address_release(struct ops *o, const char *vpc, const char *name, struct err *err)
{
	struct port p;
	int r = port_load(o->st, vpc, name, &p, NULL);

	if (!r)
		return err_set(err, ERR_CONFLICT, -EBUSY,
			       "the address of '%s/%s' is in use: it goes with the %s", vpc, name,
			       port_kind_what(p.kind));
	return r == -ENOENT ? release_both(o, vpc, name, err)
			    : err_errno(err, r, "cannot look up '%s/%s'", vpc, name);
}
