// SPDX-License-Identifier: GPL-2.0-or-later
/* Is an attachment still what it was made as, and can another one be made? */
#include <errno.h>
#include <string.h>

#include "cni/cni.h"
#include "cni/result.h"
#include "ipam/ipam.h"
#include "kernel/addr.h"
#include "kernel/link.h"
#include "kernel/netns.h"
#include "kernel/route.h"
#include "vpc/host_rules.h"
#include "vpc/mapping.h"
#include "vpc/port.h"

struct check {
	struct cni_job *j;
	struct netns *inside;
	struct vpc vpc;
	struct port port;
	struct link host, inner;
};

static void check_done(struct check *c)
{
	netns_free(c->inside);
}

static int wrong(struct check *c, const char *what, const char *name)
{
	return cni_fail(&c->j->error, CNI_CHECK, "%s%s", what, name);
}

static int load(struct check *c)
{
	struct cni_job *j = c->j;
	int r = ops_open(&j->ops, STORE_READ, &j->error.err);

	if (!r)
		r = cni_find(j, &c->port);
	if (r == -ENOENT || (!r && c->port.state != ROW_ACTIVE))
		return cni_fail(&j->error, CNI_NO_CONTAINER, "container %s has no %s in '%s'",
				j->args.container, j->args.ifname, j->config.name);
	if (!r)
		r = vpc_load(j->ops.st, c->port.vpc, &c->vpc, &j->error.err);
	if (!r)
		r = netns_open_path(j->args.netns, &j->ops.log, &c->inside, &j->error.err);
	if (r == -ENOENT)
		j->error.code = CNI_NO_CONTAINER;
	return r;
}

/* The port of the bridge, or of a further segment's. */
static int check_host(struct check *c)
{
	const char *name = c->port.ifname;

	if (link_get(c->j->ops.host, name, &c->host, NULL) || !ops_port_there(&c->j->ops, &c->port))
		return wrong(c, "the host has no interface ", name);
	if (!c->host.up)
		return wrong(c, "down on the host: ", name);
	return c->host.master ? 0 : wrong(c, "on no bridge: ", name);
}

static int check_inside(struct check *c)
{
	const char *name = c->port.attachment.ifname;

	if (link_get(c->inside, name, &c->inner, NULL))
		return wrong(c, "the container has no interface ", name);
	if (!c->inner.up)
		return wrong(c, "down in the container: ", name);
	if (memcmp(&c->inner.mac, &c->port.mac, sizeof(c->port.mac)) != 0)
		return wrong(c, "with another MAC address: ", name);
	return 0;
}

struct seek {
	const struct check *c;
	const struct ip *ip; /* an address, or a gateway */
	bool found;
};

static int seek_addr(const struct addr *a, void *arg)
{
	struct seek *s = arg;

	s->found |= a->ifindex == s->c->inner.index && ip_equal(&a->addr.addr, s->ip);
	return 0;
}

/* Another plugin may have changed where it leads to, but not that there is one. */
static int seek_default(const struct route *r, void *arg)
{
	struct seek *s = arg;

	s->found |= !r->dst.prefix && r->dst.addr.family == s->ip->family;
	return 0;
}

static int check_family(struct check *c, const struct ip *ip)
{
	struct seek addr = {.c = c, .ip = ip}, route = addr;
	struct err *err = &c->j->error.err;
	char text[IP_STRLEN];
	int r = ip->family ? addr_each(c->inside, seek_addr, &addr, err) : 0;

	if (r || !ip->family)
		return r;
	if (!addr.found)
		return wrong(c, "the container does not have its address ", ip_format(ip, text));
	r = route_each(c->inside, ip->family, seek_default, &route, err);
	if (r || route.found)
		return r;
	return wrong(c, "the container has no default route beside ", ip_format(ip, text));
}

static bool is_among(const struct mapping *m, const struct mapping *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i].state == ROW_ACTIVE && mapping_equal(m, &list[i]))
			return true;
	}
	return false;
}

/* That the kernel has what is published is the firewall's to say. */
static int check_mappings(struct check *c)
{
	const struct cni_config *config = &c->j->config;
	_free_ struct mapping *list = NULL;
	char text[MAPPING_STRLEN];
	size_t n = 0;
	int r = mapping_list(c->j->ops.st, c->port.vpc, &list, &n, &c->j->error.err);

	cni_mappings_to(c->j, &c->port);
	for (size_t i = 0; !r && i < config->n_mappings; i++) {
		if (!is_among(&config->mappings[i], list, n))
			r = wrong(c, "not published: ", mapping_format(&config->mappings[i], text));
	}
	return r;
}

static int check_firewall(struct check *c)
{
	_host_rules_ struct host_rules h = {0};
	struct ops *o = &c->j->ops;
	struct err *err = &c->j->error.err;
	bool empty;
	int r = ops_firewall(o, err);

	if (!r)
		r = host_rules_build(o->st, &h, &empty, err);
	if (!r)
		r = firewall_verify(o->fw, o->host, &h.rs, err);
	if (r == -ESTALE)
		c->j->error.code = CNI_CHECK;
	return r;
}

int cni_check(struct cni_job *j)
{
	_cleanup_(check_done) struct check c = {.j = j};
	int r = load(&c);

	if (!r)
		r = cni_result_check(&j->config, &c.vpc, &c.port, &j->error);
	if (!r)
		r = check_host(&c);
	if (!r)
		r = check_inside(&c);
	if (!r)
		r = check_family(&c, &c.port.addr);
	if (!r)
		r = check_family(&c, &c.port.addr6);
	if (!r)
		r = check_mappings(&c);
	if (!r)
		r = check_firewall(&c);
	return r ? r : cni_ask_ipam(j, "CHECK", NULL);
}

/* ---- STATUS ---- */

static int check_room(struct cni_job *j, const struct vpc *v)
{
	struct ipam_usage usage;
	const char *subnet = *j->config.subnet ? j->config.subnet : OPS_NO_SUBNET;
	int r = ops_lease_usage(&j->ops, v->name, subnet, AF_INET, &usage, &j->error.err);

	if (r == -ENOENT) /* nobody has asked for one yet */
		return 0;
	if (!r && usage.leased >= usage.size)
		r = cni_fail(&j->error, CNI_UNAVAILABLE, "network '%s' has no address left",
			     v->name);
	return r;
}

static int check_network(struct cni_job *j)
{
	const struct cni_config *c = &j->config;
	struct vpc v;
	int r = vpc_load(j->ops.st, c->network, &v, NULL);

	if (!r && v.state == ROW_ACTIVE)
		return check_room(j, &v);
	if (r && r != -ENOENT)
		return err_errno(&j->error.err, r, "cannot look up network '%s'", c->network);
	if (*c->subnet || (!c->cidr && !c->ipam))
		return cni_fail(
			&j->error, CNI_UNAVAILABLE,
			"there is no network '%s', and the configuration has no \"cidr\" to "
			"make it with",
			c->network);
	return 0;
}

/* Whatever is in the way of an ADD makes the plugin unavailable. */
int cni_status(struct cni_job *j)
{
	int r = ops_open(&j->ops, STORE_WRITE, &j->error.err);

	if (!r)
		r = ops_firewall(&j->ops, &j->error.err);
	if (!r)
		r = check_network(j);
	if (r)
		j->error.code = CNI_UNAVAILABLE;
	return r ? r : cni_ask_ipam(j, "STATUS", NULL);
}
