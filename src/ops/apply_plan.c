// SPDX-License-Identifier: GPL-2.0-or-later
/* From what there is and what is wanted to a list of changes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/file.h"
#include "ops/apply_plan.h"
#include "ops/egress.h"
#include "ops/ops.h"

/* ---- the list ---- */

const char half_made[] = "a crash left it half-made";

void subject_done(struct subject *s)
{
	buf_done(&s->why);
	buf_done(&s->will);
	buf_done(&s->harm);
}

void object_name(char ret[OBJECT_MAX], const char *a, const char *b)
{
	snprintf(ret, OBJECT_MAX, "%s%s%s", a, b ? "/" : "", b ? b : "");
}

struct change *planner_add(struct planner *p, enum change_action action, enum change_kind kind,
			   const char *name, const char *detail)
{
	struct plan *plan = p->plan;
	struct change *c;

	if (!(plan->n & (plan->n - 1)))
		plan->changes =
			xrealloc(plan->changes, plan->n ? 2 * plan->n : 1, sizeof(*plan->changes));
	c = &plan->changes[plan->n];
	*c = (struct change){.action = action, .kind = kind, .no = plan->n};
	str_copy(c->name, sizeof(c->name), name);
	c->detail = xstrdup(detail ? detail : "");
	plan->n++;
	return c;
}

static void add_wanted(struct planner *p, enum change_action action, const struct subject *s,
		       const char *detail)
{
	struct change *c = planner_add(p, action, s->kind, s->name, detail);

	c->want = s->want;
	c->line = config_line(p->c, s->at);
}

static int conflict(const struct planner *p, const struct subject *s, struct err *err,
		    const char *what, const char *which)
{
	doc_error(p->c->doc, s->at, err, "%s \"%s\" %s%s", change_kind_name(s->kind), s->name, what,
		  which);
	if (err) {
		err->kind = ERR_CONFLICT;
		err->code = -EEXIST;
	}
	return -EEXIST;
}

/* What is there of that name: of this file, of nobody, or in the way. */
static int decide_existing(struct planner *p, const struct subject *s, bool mine, bool *ret_anew,
			   struct err *err)
{
	_free_ char *why = NULL;

	if (s->broken && !mine)
		return conflict(p, s, err, "is there, and not this file's, but ", s->broken);
	if (!mine && s->diff != DIFF_NONE)
		return conflict(p, s, err,
				"is there, and not this file's, and differs: ", s->why.data);
	if (s->broken || s->diff == DIFF_ANEW) {
		why = xasprintf("to be made anew: %s", s->broken ? s->broken : s->why.data);
		planner_add(p, CHANGE_REMOVE, s->kind, s->name, why);
		*ret_anew = true;
		return 0;
	}
	if (!mine)
		add_wanted(p, CHANGE_ADOPT, s, "as it is");
	if (s->harm.len)
		add_wanted(p, CHANGE_REPAIR, s, s->harm.data);
	if (s->diff == DIFF_IN_PLACE)
		add_wanted(p, CHANGE_UPDATE, s, s->why.data);
	else if (mine && !s->harm.len)
		p->plan->unchanged++;
	return 0;
}

/* What belonged to a file that was moved, or deleted, is nobody's for a file that names it. */
static bool is_gone(const char *file)
{
	return access(file, F_OK) && (errno == ENOENT || errno == ENOTDIR);
}

int planner_decide(struct planner *p, const struct subject *s, bool *ret_anew, struct err *err)
{
	struct owned *o = owner_find(p->owned, p->n_owned, change_kind_name(s->kind), s->name);
	bool mine = o && !strcmp(o->file, p->plan->file);
	int r = 0;

	*ret_anew = false;
	if (o && !mine && !is_gone(o->file))
		return conflict(p, s, err, "belongs to ", o->file);
	if (mine)
		p->wanted[o - p->owned] = true;
	if (s->there)
		r = decide_existing(p, s, mine, ret_anew, err);
	if (!r && (!s->there || *ret_anew))
		add_wanted(p, CHANGE_ADD, s, s->will.data);
	return r;
}

void split_workload(const char *name, char vpc[NAME_MAX_LEN], char ret[NAME_MAX_LEN])
{
	size_t len = strcspn(name, "/");

	snprintf(vpc, NAME_MAX_LEN, "%.*s", (int)len, name);
	snprintf(ret, NAME_MAX_LEN, "%s", name[len] ? name + len + 1 : "");
}

/* ---- what goes ---- */

static bool mapping_goes(const struct planner *p, const char *name)
{
	const struct mapping *m = planner_find_mapping(p, name);

	return !m || planner_workload_is_gone(p, m->vpc, m->target);
}

bool goes_anyway(const struct planner *p, enum change_kind kind, const char *name)
{
	char first[NAME_MAX_LEN], second[NAME_MAX_LEN];

	split_workload(name, first, second);
	switch (kind) {
	case KIND_VPC:
		return false;
	case KIND_NAT:
	case KIND_SUBNET:
		return planner_vpc_is_gone(p, first);
	case KIND_POLICY:
		return planner_subnet_is_gone(p, first, second);
	case KIND_PEERING:
		return planner_vpc_is_gone(p, first) || planner_vpc_is_gone(p, second);
	case KIND_VM:
	case KIND_VM_POLICY:
	case KIND_VM_USE:
		return planner_port_is_gone(p, planner_find_port(p, first, second));
	case KIND_PUBLISH:
		return mapping_goes(p, name);
	case KIND_USE:
		return strcmp(name, USE_HOST_NAME) != 0 &&
		       (*second ? planner_subnet_is_gone(p, first, second)
				: planner_vpc_is_gone(p, first));
	case KIND_EGRESS:
	case KIND_PROCESS:
	case KIND_RULES:
	case KIND_NUM_KINDS:
		break;
	}
	return false;
}

static void note_going(struct planner *p, enum change_kind kind, const char *name)
{
	const char *slash = strchr(name, '/');
	_free_ char *first = strndup(name, strcspn(name, "/"));
	const struct vpc *v = kind == KIND_VPC ? planner_find_vpc(p, name) : NULL;
	const struct subnet *s =
		kind == KIND_SUBNET && slash ? planner_find_subnet(p, first, slash + 1) : NULL;

	const struct port *q =
		kind == KIND_VM && slash ? planner_find_port(p, first, slash + 1) : NULL;

	if (v)
		p->vpc_goes[v - p->vpcs] = true;
	if (q)
		p->port_goes[q - p->ports] = true;
	if (s)
		p->subnet_goes[s - p->subnets] = true;
}

static void unwanted(struct planner *p, enum change_kind kind)
{
	const char *why = p->c ? "not in the file any more" : "";

	for (size_t i = 0; i < p->n_owned; i++) {
		const struct owned *o = &p->owned[i];

		if (p->wanted[i] || strcmp(o->kind, change_kind_name(kind)) != 0 ||
		    strcmp(o->file, p->plan->file) != 0 || goes_anyway(p, kind, o->name))
			continue;
		planner_add(p, CHANGE_REMOVE, kind, o->name, why);
		note_going(p, kind, o->name);
	}
}

static bool is_mine(const struct planner *p, enum change_kind kind, const char *a, const char *b)
{
	char name[OBJECT_MAX];
	const struct owned *o;

	object_name(name, a, b);
	o = owner_find(p->owned, p->n_owned, change_kind_name(kind), name);
	return o && !strcmp(o->file, p->plan->file);
}

static int refuse_to_take(const char *what, const char *name, const char *with, struct err *err)
{
	return err_set(err, ERR_CONFLICT, -EBUSY,
		       "%s \"%s\" is not this file's, but would go with %s: delete it first", what,
		       name, with);
}

/* What is in something that goes, and is somebody else's, is not taken with it. */
static int check_going(struct planner *p, struct err *err)
{
	char name[OBJECT_MAX];

	for (size_t i = 0; i < p->n_subnets; i++) {
		const struct subnet *s = &p->subnets[i];

		object_name(name, s->vpc, s->name);
		if (s->state == ROW_ACTIVE && planner_vpc_is_gone(p, s->vpc) &&
		    !is_mine(p, KIND_SUBNET, s->vpc, s->name))
			return refuse_to_take("subnet", name, s->vpc, err);
	}
	for (size_t i = 0; i < p->n_ports; i++) {
		const struct port *q = &p->ports[i];

		object_name(name, q->vpc, q->name);
		if (q->state != ROW_ACTIVE || is_mine(p, KIND_VM, q->vpc, q->name))
			continue;
		if (planner_vpc_is_gone(p, q->vpc) ||
		    (*q->subnet && planner_subnet_is_gone(p, q->vpc, q->subnet)))
			return refuse_to_take(port_kind_what(q->kind), name,
					      *q->subnet ? q->subnet : q->vpc, err);
	}
	return 0;
}

/* The order in which they come; they go in the reverse. Subnets and VMs are made with their ways
 * out. Those of networks, and of what is there already, are there before NAT, so that nothing goes
 * out by that in the meantime. */
static const unsigned int orders[] = {
	[KIND_EGRESS] = 0,  [KIND_VPC] = 1,       [KIND_SUBNET] = 2,  [KIND_POLICY] = 3,
	[KIND_PEERING] = 4, [KIND_USE] = 5,       [KIND_VM_USE] = 5,  [KIND_NAT] = 6,
	[KIND_VM] = 7,      [KIND_VM_POLICY] = 8, [KIND_PUBLISH] = 9, [KIND_PROCESS] = 10,
};
#define ORDER_LAST 11

/* One that is there, and stays. */
static bool is_of_vm_there(const struct planner *p, const struct change *c)
{
	char vpc[NAME_MAX_LEN], name[NAME_MAX_LEN];

	split_workload(c->name, vpc, name);
	return !planner_port_is_gone(p, planner_find_port(p, vpc, name));
}

/* A subnet becomes private before a way out of it goes, and public when one is there. */
static unsigned int order_of_type(const struct config_subnet *want)
{
	return want->s.is_public ? 2 * ORDER_LAST + orders[KIND_NAT] : 0;
}

static unsigned int order_of(const struct planner *p, const struct change *c)
{
	bool is_after_vm = c->kind == KIND_VM_USE && c->want && !is_of_vm_there(p, c);

	if (c->kind == KIND_RULES)
		return 0;
	if (c->kind == KIND_SUBNET && c->action == CHANGE_UPDATE)
		return order_of_type(c->want);
	if (c->action != CHANGE_REMOVE)
		return 2 * ORDER_LAST + orders[is_after_vm ? KIND_VM : c->kind];
	/* Until then, others may have gone out by it. */
	return c->kind == KIND_EGRESS ? 4 * ORDER_LAST : ORDER_LAST - orders[c->kind];
}

/* Egresses stand in the file's order already: one may be changed to go out by another that is new.
 */
static int by_order(const void *a, const void *b)
{
	const struct change *x = a, *y = b;

	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	if (x->action != y->action && x->kind != KIND_EGRESS)
		return (int)x->action - (int)y->action;
	return x->no < y->no ? -1 : 1;
}

/* How many it goes out by, one behind the other. */
static unsigned int egress_depth(const struct planner *p, const char *name)
{
	struct egress e = {0};
	unsigned int depth = 0;
	char via[NAME_MAX_LEN];

	str_copy(via, sizeof(via), name);
	while (*via && depth < EGRESS_MAX && !egress_load(p->o->st, via, &e, NULL)) {
		str_copy(via, sizeof(via), e.via);
		egress_done(&e);
		depth++;
	}
	return depth;
}

/* Of egresses that go, first those that go out by others. */
static void put_in_order(struct planner *p)
{
	struct plan *plan = p->plan;

	for (size_t i = 0; i < plan->n; i++) {
		struct change *c = &plan->changes[i];

		c->order = order_of(p, c);
		if (c->kind == KIND_EGRESS && c->action == CHANGE_REMOVE)
			c->no = EGRESS_MAX - egress_depth(p, c->name);
	}
	if (plan->n)
		qsort(plan->changes, plan->n, sizeof(*plan->changes), by_order);
}

/* Somebody may have flushed them, or a part. Whoever may not read them does not plan them. */
static int want_rules(struct planner *p, struct err *err)
{
	struct err why = {0};

	(void)err;
	if (ops_rules_verify(p->o, &why) == -ESTALE)
		planner_add(p, CHANGE_REPAIR, KIND_RULES, "host", why.msg);
	return 0;
}

/* An object is decided upon when what it is in is known to go or to stay. */
static int make_plan(struct planner *p, struct err *err)
{
	static int (*const want[])(struct planner * p, struct err * err) = {
		[KIND_VPC] = want_vpcs,          [KIND_NAT] = want_nat,
		[KIND_SUBNET] = want_subnets,    [KIND_POLICY] = want_policies,
		[KIND_PEERING] = want_peers,     [KIND_VM] = want_vms,
		[KIND_EGRESS] = want_egress,     [KIND_USE] = want_uses,
		[KIND_PUBLISH] = want_published, [KIND_VM_POLICY] = want_vm_policies,
		[KIND_VM_USE] = want_vm_uses,    [KIND_RULES] = want_rules,
		[KIND_PROCESS] = NULL, /* the egresses' */
	};
	int r = planner_load(p, err);

	for (int kind = 0; !r && kind < KIND_NUM_KINDS; kind++) {
		if (p->c && want[kind])
			r = want[kind](p, err);
		if (!r)
			unwanted(p, (enum change_kind)kind);
	}
	if (!r)
		r = check_going(p, err);
	if (!r && p->c)
		r = check_policy_names(p, err);
	if (!r && p->c)
		r = check_lost(p, err);
	put_in_order(p);
	return r;
}

int ops_plan(struct ops *o, const struct config *c, const char *path, struct plan **ret,
	     struct err *err)
{
	_plan_ struct plan *plan = xcalloc(1, sizeof(*plan));
	_cleanup_(planner_done) struct planner p = {.o = o, .c = c, .plan = plan};
	int r;

	plan->file = c ? xstrdup(c->path) : file_absolute(path);
	plan->config = c;
	r = make_plan(&p, err);
	if (!r)
		*ret = TAKE_PTR(plan);
	return r;
}

void plan_free(struct plan *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		free(p->changes[i].detail);
	free(p->changes);
	free(p->file);
	free(p);
}

void plan_free_p(struct plan **p)
{
	plan_free(*p);
}
