// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>

#include "base/util.h"
#include "ops/ops.h"
#include "vpc/net.h"
#include "vpc/port.h"

/* The bridge that a port of the VPC is on: its first, or a further one. */
static const char *bridge_of(const struct vpc *v, const struct segment *s, size_t n,
			     unsigned int no)
{
	for (size_t i = 0; no && i < n; i++) {
		if (s[i].no == no)
			return s[i].bridge;
	}
	return v->bridge;
}

static int repair_port(struct ops *o, const struct port *p, const char *bridge, size_t *count,
		       struct err *err)
{
	struct bridge_port on = {.ifname = p->ifname, .bridge = bridge, .isolated = p->isolated};
	bool joined = false, limited = false;
	int r = bridge_port_repair(o->host, &on, &joined, err);

	if (!r)
		r = port_limits_repair(o->host, p, &limited, err);
	*count += joined || limited;
	return r;
}

static int repair_subnet(struct ops *o, const struct subnet *s, const char *bridge, size_t *count,
			 struct err *err)
{
	struct bridge_port on = {.ifname = s->veth_host, .bridge = bridge};
	bool changed = false;
	int r = bridge_port_repair(o->host, &on, &changed, err);

	*count += changed;
	return r;
}

static int repair_bridge(struct ops *o, const char *name, size_t *count, struct err *err)
{
	bool changed = false;
	int r = bridge_repair(o->host, name, &changed, err);

	*count += changed;
	return r;
}

/* What is there, but not as it was made. */
static int repair_vpc_links(struct ops *o, const struct vpc *v, size_t *count, struct err *err)
{
	_free_ struct segment *segments = NULL;
	_free_ struct subnet *subnets = NULL;
	_free_ struct port *ports = NULL;
	size_t n_segments = 0, n_subnets = 0, n_ports = 0;
	int r = segment_list(o->st, v->name, &segments, &n_segments, err);

	if (!r)
		r = subnet_list(o->st, v->name, &subnets, &n_subnets, err);
	if (!r)
		r = port_list(o->st, v->name, &ports, &n_ports, err);
	if (!r)
		r = repair_bridge(o, v->bridge, count, err);
	for (size_t i = 0; !r && i < n_segments; i++)
		r = repair_bridge(o, segments[i].bridge, count, err);
	for (size_t i = 0; !r && i < n_subnets; i++)
		r = repair_subnet(o, &subnets[i],
				  bridge_of(v, segments, n_segments, subnets[i].segment), count,
				  err);
	for (size_t i = 0; !r && i < n_ports; i++)
		r = repair_port(o, &ports[i], bridge_of(v, segments, n_segments, ports[i].segment),
				count, err);
	return r;
}

int ops_repair_links(struct ops *o, size_t *count, struct err *err)
{
	_free_ struct vpc *v = NULL;
	size_t n = 0;
	int r = vpc_list(o->st, &v, &n, err);

	for (size_t i = 0; !r && i < n; i++) {
		r = repair_vpc_links(o, &v[i], count, err);
		if (r == -ENODEV && o->log.dry_run) /* it would be gone now, with its row */
			r = 0;
	}
	return r;
}
