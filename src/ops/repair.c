// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "ops/ops.h"
#include "ops/repair.h"
#include "vpc/port.h"

/* The bridge that a port of the VPC is on: its first, or a further one. */
static int find_bridge(struct ops *o, const struct vpc *v, unsigned int no, char ret[IFNAMSIZ],
		       struct err *err)
{
	_stmt_ sqlite3_stmt *q = NULL;
	int r;

	str_copy(ret, IFNAMSIZ, v->bridge);
	if (!no)
		return 0;
	r = store_query(o->st, &q, err, "SELECT bridge FROM segment WHERE vpc = ?1 AND no = ?2",
			"si", v->name, (int64_t)no);
	if (!r)
		r = store_step(o->st, q, err);
	if (r == 1)
		snprintf(ret, IFNAMSIZ, "%s", (const char *)sqlite3_column_text(q, 0));
	return r < 0 ? r : 0;
}

int ops_repair_vpc(struct ops *o, const struct seen *s, const struct vpc *v, enum repair how,
		   struct buf *why, struct err *err)
{
	_free_ struct segment *segments = NULL;
	_free_ struct subnet *subnets = NULL;
	_free_ struct port *ports = NULL;
	struct repair_parts parts = {.v = v};
	int r = segment_list(o->st, v->name, &segments, &parts.n_segments, err);

	if (!r)
		r = subnet_list(o->st, v->name, &subnets, &parts.n_subnets, err);
	if (!r)
		r = port_list(o->st, v->name, &ports, &parts.n_ports, err);
	if (r)
		return r;
	parts.segments = segments;
	parts.subnets = subnets;
	parts.ports = ports;
	r = vpc_repair(o->host, s, &parts, how, why, err);
	return r ? r : ops_loopback_repair(o, v, how, why, err);
}

int ops_repair_subnet(struct ops *o, const struct seen *s, const struct vpc *v,
		      const struct subnet *n, enum repair how, struct buf *why, struct err *err)
{
	char bridge[IFNAMSIZ];
	int r = find_bridge(o, v, n->segment, bridge, err);

	return r ? r : subnet_repair(o->host, s, v, n, bridge, how, why, err);
}

int ops_repair_port(struct ops *o, const struct seen *s, const struct vpc *v, const struct port *p,
		    enum repair how, struct buf *why, struct err *err)
{
	char bridge[IFNAMSIZ];
	int r = find_bridge(o, v, p->segment, bridge, err);

	return r ? r : port_repair(o->host, s, v, p, bridge, how, why, err);
}

/* ---- all ---- */

static void count_one(const char *what, const char *vpc, const char *name, struct buf *why,
		      size_t *count)
{
	if (!why->len)
		return;
	log_info("%s %s%s%s: %s: put right", what, vpc, *name ? "/" : "", name, why->data);
	buf_reset(why);
	(*count)++;
}

static int repair_ports(struct ops *o, const struct seen *s, const struct vpc *v, size_t *count,
			struct err *err)
{
	_free_ struct subnet *subnets = NULL;
	_free_ struct port *ports = NULL;
	size_t n_subnets = 0, n_ports = 0;
	_buf_ struct buf why = {0};
	int r = subnet_list(o->st, v->name, &subnets, &n_subnets, err);

	if (!r)
		r = port_list(o->st, v->name, &ports, &n_ports, err);
	for (size_t i = 0; !r && i < n_subnets; i++) {
		r = ops_repair_subnet(o, s, v, &subnets[i], REPAIR_DO, &why, err);
		count_one("subnet", v->name, subnets[i].name, &why, count);
	}
	for (size_t i = 0; !r && i < n_ports; i++) {
		r = ops_repair_port(o, s, v, &ports[i], REPAIR_DO, &why, err);
		count_one(port_kind_what(ports[i].kind), v->name, ports[i].name, &why, count);
	}
	return r;
}

/* Bridges first: a further one that is made anew is where ports belong. */
int ops_repair_all(struct ops *o, size_t *count, struct err *err)
{
	_seen_ struct seen *bridges = NULL, *ports = NULL;
	_free_ struct vpc *v = NULL;
	_buf_ struct buf why = {0};
	size_t n = 0;
	int r = vpc_list(o->st, &v, &n, err);

	if (!r)
		r = seen_read(o->host, &bridges, err);
	for (size_t i = 0; !r && i < n; i++) {
		r = ops_repair_vpc(o, bridges, &v[i], REPAIR_DO, &why, err);
		count_one(v[i].flat ? "network" : "VPC", v[i].name, "", &why, count);
	}
	if (!r)
		r = seen_read(o->host, &ports, err);
	for (size_t i = 0; !r && i < n; i++)
		r = repair_ports(o, ports, &v[i], count, err);
	return r;
}
