// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "kernel/link.h"
#include "kernel/netns.h"
#include "kernel/route.h"
#include "ops/dns.h"
#include "ops/ops.h"
#include "vpc/host_rules.h"
#include "vpc/names.h"
#include "vpc/way.h"

#define LOOPBACK_INDEX 1 /* in every namespace: LOOPBACK_IFINDEX of the kernel */

static int check_interface(struct ops *o, const char *interface, struct err *err)
{
	struct link link;
	int r = link_get(o->host, interface, &link, err);

	if (!r && (link_is_ours(&link) || link.index == LOOPBACK_INDEX))
		r = err_set(err, ERR_USAGE, -EINVAL, "%s %s: NAT needs an interface that leads out",
			    interface,
			    link.index == LOOPBACK_INDEX ? "is the host itself" : "belongs to a VPC");
	return r;
}

static int save(struct ops *o, struct nat *nat, enum row_state state, struct err *err)
{
	int r = ops_begin(o, err);

	nat->state = state;
	if (!r)
		r = state == ROW_DELETING ? nat_remove(o->st, nat->vpc, err) : nat_save(o->st, nat, err);
	return ops_end(o, r, err);
}

static int ways_out(struct ops *o, const struct nat *nat, struct host_rules *ret, struct err *err)
{
	_free_ struct subnet *s = NULL;
	size_t n = 0;
	struct vpc v;
	int r = vpc_load(o->st, nat->vpc, &v, err);

	if (!r && v.flat && !use_is_there(o->st, USE_NETWORK, nat->vpc, ""))
		host_rules_nat(ret, &v.cidr, &v.cidr6, nat->interface);
	if (!r)
		r = subnet_list(o->st, nat->vpc, &s, &n, err);
	for (size_t i = 0; !r && i < n; i++) {
		if (s[i].is_public && !use_is_there(o->st, USE_SUBNET, nat->vpc, s[i].name))
			host_rules_nat(ret, &s[i].cidr, &s[i].cidr6, nat->interface);
	}
	return r;
}

/* add: the row is there already. Not add: it is gone already. */
static int change_elements(struct ops *o, const struct nat *nat, bool add, struct err *err)
{
	_host_rules_ struct host_rules h = {0};
	bool used = false;
	int r = ops_nat_interface_used(o, nat->interface, nat->vpc, &used, err);

	if (r)
		return r;
	if (!used)
		return ops_host_sync(o, err);
	host_rules_init(&h);
	r = ways_out(o, nat, &h, err);
	return r ? r : ops_host_update(o, add ? &h : NULL, add ? NULL : &h, err);
}

int ops_nat_choose(struct ops *o, const char *vpc, const char *interface, struct nat *ret,
		   struct err *err)
{
	struct nat nat = {0};
	int r;

	if (interface)
		r = str_copy(nat.interface, sizeof(nat.interface), interface)
			    ? err_set(err, ERR_NOT_FOUND, -ENODEV, "no interface is named '%s'", interface)
			    : 0;
	else
		r = route_default_link(o->host, nat.interface, err);
	if (!r)
		r = check_interface(o, nat.interface, err);
	if (r)
		return r;
	str_copy(nat.vpc, sizeof(nat.vpc), vpc);
	*ret = nat;
	return 0;
}

int ops_nat_enable(struct ops *o, const char *vpc, const char *interface, struct nat *ret,
		   bool *ret_changed, struct err *err)
{
	struct nat nat = {0}, old = {0};
	struct vpc v;
	int r = vpc_load(o->st, vpc, &v, err);

	if (!r)
		r = ops_nat_choose(o, vpc, interface, &nat, err);
	if (r)
		return r;
	*ret_changed = nat_load(o->st, vpc, &old, NULL) || old.state != ROW_ACTIVE ||
		       strcmp(old.interface, nat.interface) != 0;
	*ret = nat;
	ret->state = ROW_ACTIVE;
	if (!*ret_changed)
		return 0;
	if (*old.vpc && old.state == ROW_ACTIVE)
		return err_set(err, ERR_CONFLICT, -EEXIST,
			       "VPC '%s' has NAT through %s already: `byway nat disable %s` first", vpc,
			       old.interface, vpc);
	r = save(o, &nat, ROW_CREATING, err);
	if (r)
		return r;
	r = change_elements(o, &nat, true, err);
	if (!r)
		r = save(o, &nat, ROW_ACTIVE, err);
	if (!r)
		r = ops_dns_refresh(o, vpc, err);
	if (!r)
		return ops_publish(o, vpc, err);
	if (!save(o, &nat, ROW_DELETING, NULL))
		change_elements(o, &nat, false, NULL);
	return r;
}

int ops_nat_disable(struct ops *o, const char *vpc, bool *ret_existed, struct err *err)
{
	struct nat nat;
	int r = nat_load(o->st, vpc, &nat, NULL);

	*ret_existed = !r;
	if (r == -ENOENT)
		return 0;
	if (!r)
		r = ops_begin(o, err);
	if (r)
		return r;
	/* The elements go first: a row without elements is harmless, the reverse leaks. */
	nat.state = ROW_DELETING;
	r = nat_save(o->st, &nat, err);
	r = ops_end(o, r, err);
	if (!r)
		r = change_elements(o, &nat, false, err);
	if (!r)
		r = save(o, &nat, ROW_DELETING, err);
	if (!r)
		r = ops_dns_refresh(o, vpc, err);
	return r ? r : ops_publish(o, vpc, err);
}
