// SPDX-License-Identifier: GPL-2.0-or-later
/* What there is, for the plan, and what of it the plan leaves. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "ops/apply_plan.h"
#include "ops/ops.h"
#include "vpc/repair.h"

int planner_load(struct planner *p, struct err *err)
{
	struct store *st = p->o->st;
	int r = vpc_list(st, &p->vpcs, &p->n_vpcs, err);

	if (!r)
		r = subnet_list(st, NULL, &p->subnets, &p->n_subnets, err);
	if (!r)
		r = port_list(st, NULL, &p->ports, &p->n_ports, err);
	if (!r)
		r = peer_list(st, NULL, &p->peers, &p->n_peers, err);
	if (!r)
		r = mapping_list(st, NULL, &p->mappings, &p->n_mappings, err);
	if (!r)
		r = owner_list(st, &p->owned, &p->n_owned, err);
	if (!r)
		r = seen_read(p->o->host, &p->seen, err);
	p->vpc_goes = xcalloc(p->n_vpcs + 1, sizeof(bool));
	p->subnet_goes = xcalloc(p->n_subnets + 1, sizeof(bool));
	p->port_goes = xcalloc(p->n_ports + 1, sizeof(bool));
	p->wanted = xcalloc(p->n_owned + 1, sizeof(bool));
	return r;
}

void planner_done(struct planner *p)
{
	free(p->vpcs);
	free(p->subnets);
	free(p->ports);
	free(p->peers);
	free(p->mappings);
	owner_list_free(p->owned, p->n_owned);
	free(p->vpc_goes);
	free(p->subnet_goes);
	free(p->port_goes);
	free(p->wanted);
	seen_free(p->seen);
}

static int vpc_order(const void *a, const void *b)
{
	return strcmp(((const struct vpc *)a)->name, ((const struct vpc *)b)->name);
}

static int subnet_order(const void *a, const void *b)
{
	const struct subnet *x = a, *y = b;
	int order = strcmp(x->vpc, y->vpc);

	return order ? order : strcmp(x->name, y->name);
}

static int port_order(const void *a, const void *b)
{
	const struct port *x = a, *y = b;
	int order = strcmp(x->vpc, y->vpc);

	return order ? order : strcmp(x->name, y->name);
}

static int peer_order(const void *a, const void *b)
{
	const struct peer *x = a, *y = b;
	int order = strcmp(x->a, y->a);

	return order ? order : strcmp(x->b, y->b);
}

#define FIND(p, what, key, order)                                                                  \
	((p)->n_##what ? bsearch((key), (p)->what, (p)->n_##what, sizeof(*(p)->what), (order))     \
		       : NULL)

struct vpc *planner_find_vpc(const struct planner *p, const char *name)
{
	struct vpc key = {0};

	str_copy(key.name, sizeof(key.name), name);
	return FIND(p, vpcs, &key, vpc_order);
}

struct subnet *planner_find_subnet(const struct planner *p, const char *vpc, const char *name)
{
	struct subnet key = {0};

	str_copy(key.vpc, sizeof(key.vpc), vpc);
	str_copy(key.name, sizeof(key.name), name);
	return FIND(p, subnets, &key, subnet_order);
}

struct port *planner_find_port(const struct planner *p, const char *vpc, const char *name)
{
	struct port key = {0};

	str_copy(key.vpc, sizeof(key.vpc), vpc);
	str_copy(key.name, sizeof(key.name), name);
	return FIND(p, ports, &key, port_order);
}

const struct peer *planner_find_peer(const struct planner *p, const struct peer *key)
{
	return FIND(p, peers, key, peer_order);
}

const struct mapping *planner_find_mapping(const struct planner *p, const char *name)
{
	char one[OBJECT_MAX];

	for (size_t i = 0; i < p->n_mappings; i++) {
		mapping_name(&p->mappings[i], one);
		if (!strcmp(one, name))
			return &p->mappings[i];
	}
	return NULL;
}

bool planner_vpc_is_gone(const struct planner *p, const char *name)
{
	const struct vpc *v = planner_find_vpc(p, name);

	return !v || p->vpc_goes[v - p->vpcs];
}

bool planner_subnet_is_gone(const struct planner *p, const char *vpc, const char *name)
{
	const struct subnet *s = planner_find_subnet(p, vpc, name);

	return !s || p->subnet_goes[s - p->subnets] || planner_vpc_is_gone(p, vpc);
}

bool planner_port_is_gone(const struct planner *p, const struct port *q)
{
	return !q || p->port_goes[q - p->ports] || planner_vpc_is_gone(p, q->vpc) ||
	       (*q->subnet && planner_subnet_is_gone(p, q->vpc, q->subnet));
}

bool planner_workload_is_gone(const struct planner *p, const char *vpc, const char *name)
{
	const struct port *q = planner_find_port(p, vpc, name);

	if (!*name || planner_vpc_is_gone(p, vpc))
		return planner_vpc_is_gone(p, vpc);
	return q ? planner_port_is_gone(p, q) : planner_subnet_is_gone(p, vpc, name);
}
