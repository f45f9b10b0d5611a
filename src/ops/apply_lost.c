// SPDX-License-Identifier: GPL-2.0-or-later
/* What others have said of an object that is made anew: it would not be so any more. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "ops/apply_plan.h"
#include "ops/ops.h"
#include "vpc/mapping.h"

static bool comes(const struct planner *p, enum change_kind kind, const char *name)
{
	for (size_t i = 0; i < p->plan->n; i++) {
		const struct change *c = &p->plan->changes[i];

		if (c->action == CHANGE_ADD && c->kind == kind && !strcmp(c->name, name))
			return true;
	}
	return false;
}

static bool workload_comes(const struct planner *p, const char *name)
{
	return comes(p, KIND_SUBNET, name) || comes(p, KIND_VM, name) || comes(p, KIND_VPC, name);
}

static bool target_comes(const struct planner *p, const char *name)
{
	const struct mapping *m = planner_find_mapping(p, name);
	char target[OBJECT_MAX];

	if (!m)
		return false;
	object_name(target, m->vpc, m->target);
	return workload_comes(p, target);
}

/* Of two that stay, one at least is made anew. */
static bool peer_comes(const struct planner *p, const char *name)
{
	char a[NAME_MAX_LEN], b[NAME_MAX_LEN];
	bool a_comes, b_comes;

	split_workload(name, a, b);
	a_comes = comes(p, KIND_VPC, a);
	b_comes = comes(p, KIND_VPC, b);
	return (a_comes || b_comes) && (a_comes || !planner_vpc_is_gone(p, a)) &&
	       (b_comes || !planner_vpc_is_gone(p, b));
}

static const struct {
	enum change_kind kind;
	bool (*comes)(const struct planner *p, const char *name); /* what it is said of */
} said[] = {
	{KIND_NAT, workload_comes}, {KIND_POLICY, workload_comes}, {KIND_VM_POLICY, workload_comes},
	{KIND_USE, workload_comes}, {KIND_VM_USE, workload_comes}, {KIND_PUBLISH, target_comes},
	{KIND_PEERING, peer_comes},
};

static bool is_lost(const struct planner *p, const struct owned *o)
{
	for (size_t i = 0; i < ARRAY_SIZE(said); i++)
		if (!strcmp(o->kind, change_kind_name(said[i].kind)))
			return goes_anyway(p, said[i].kind, o->name) && said[i].comes(p, o->name) &&
			       !comes(p, said[i].kind, o->name);
	return false;
}

int check_lost(const struct planner *p, struct err *err)
{
	struct owned *others = NULL;
	size_t n = 0;
	int r = owner_list_others(p->o->st, p->plan->file, &others, &n, err);

	for (size_t i = 0; !r && i < n; i++)
		if (is_lost(p, &others[i]))
			r = err_set(
				err, ERR_CONFLICT, -EBUSY,
				"%s \"%s\" is not this file's, but would be lost with what is to "
				"be made anew: write it here, or take it back first",
				others[i].kind, others[i].name);
	owner_list_free(others, n);
	return r;
}
