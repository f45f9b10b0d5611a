// SPDX-License-Identifier: GPL-2.0-or-later
/* Addresses of VPCs: a pool VPC/SUBNET for each subnet, with #6 behind it for IPv6. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "ipam/ipam.h"
#include "ops/ops.h"
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
const char *ops_port_owner(const struct port *p, char ret[NAME_MAX_LEN + 8])
{
	snprintf(ret, NAME_MAX_LEN + 8, "vm/%s", p->name);
	return ret;
}
