// SPDX-License-Identifier: GPL-2.0-or-later
/* Whether what policies name is there when the plan is carried out: it may come with it, and must
 * not go. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "ops/apply_plan.h"
#include "ops/ops.h"
#include "vpc/policy.h"

struct naming {
	const struct planner *p;
	const char *vpc, *file; /* whose policy, and where it is from */
	struct err *err;
};

static bool config_has_workload(const struct config *c, const char *vpc, const char *name)
{
	for (size_t i = 0; i < c->n_subnets; i++)
		if (!strcmp(c->subnets[i].s.name, name) && !strcmp(c->subnets[i].s.vpc, vpc))
			return true;
	for (size_t i = 0; i < c->n_vms; i++)
		if (!strcmp(c->vms[i].p.name, name) && !strcmp(c->vms[i].p.vpc, vpc))
			return true;
	return false;
}

/* As policy_groups_check() finds it, in the end. */
static bool will_be(const struct naming *n, const char *group)
{
	const struct planner *p = n->p;
	char vpc[NAME_MAX_LEN], name[NAME_MAX_LEN];

	split_workload(group, vpc, name);
	if (*name)
		return config_has_workload(p->c, vpc, name) ||
		       !planner_workload_is_gone(p, vpc, name);
	return config_has_workload(p->c, n->vpc, vpc) || config_find_vpc(p->c, vpc) ||
	       !planner_subnet_is_gone(p, n->vpc, vpc) || !planner_vpc_is_gone(p, vpc);
}

static char *nearest(const struct naming *n, const char *group)
{
	const struct config *c = n->p->c;
	size_t n_names = 0, room = c->n_vpcs + 2 * c->n_subnets + c->n_vms + 1;
	_free_ char **names = xcalloc(room, sizeof(*names));
	const char *near;
	char *ret;

	for (size_t i = 0; i < c->n_vpcs; i++)
		names[n_names++] = xstrdup(c->vpcs[i].v.name);
	for (size_t i = 0; i < c->n_subnets; i++) {
		const struct subnet *s = &c->subnets[i].s;

		names[n_names++] = xasprintf("%s/%s", s->vpc, s->name);
		if (!strcmp(s->vpc, n->vpc))
			names[n_names++] = xstrdup(s->name);
	}
	for (size_t i = 0; i < c->n_vms; i++)
		names[n_names++] = xasprintf("%s/%s", c->vms[i].p.vpc, c->vms[i].p.name);
	near = str_nearest(group, (const char *const *)names, n_names);
	ret = near ? xstrdup(near) : NULL;
	for (size_t i = 0; i < n_names; i++)
		free(names[i]);
	return ret;
}

static int check_name(const struct policy_rule *r, struct cidr ret[POLICY_GROUP_CIDRS], size_t *n,
		      void *arg)
{
	const struct naming *g = arg;
	_free_ char *near = NULL;

	(void)ret;
	*n = 0;
	if (will_be(g, r->group))
		return 0;
	near = nearest(g, r->group);
	return err_set(
		g->err, ERR_USAGE, -EINVAL,
		"%s:%u:%u: there will be no subnet, VM or VPC \"%s\", and it is no address%s%s%s",
		g->file, r->group_line, r->group_column, r->group, near ? ": did you mean \"" : "",
		near ? near : "", near ? "\"?" : "");
}

static int check_policy(const struct planner *p, const char *vpc, const char *file, struct err *err)
{
	struct naming g = {.p = p, .vpc = vpc, .file = file, .err = err};
	_policy_ struct policy *policy = NULL;
	_buf_ struct buf text = {0};
	int r = ops_policy_read(file, &text, &policy, err);

	return r ? r : policy_resolve(policy, check_name, &g);
}

int check_policy_names(const struct planner *p, struct err *err)
{
	const struct config *c = p->c;
	int r = 0;

	for (size_t i = 0; !r && i < c->n_subnets; i++)
		if (c->subnets[i].policy_names)
			r = check_policy(p, c->subnets[i].s.vpc, c->subnets[i].policy, err);
	for (size_t i = 0; !r && i < c->n_vms; i++)
		if (c->vms[i].policy_names)
			r = check_policy(p, c->vms[i].p.vpc, c->vms[i].policy, err);
	return r;
}
