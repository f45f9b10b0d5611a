// SPDX-License-Identifier: GPL-2.0-or-later
/* What the file wants of ways out: egresses, their processes, and who goes out by them. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "ops/apply_plan.h"
#include "ops/egress.h"
#include "ops/ops.h"

/* Its process, too, is to be as the file says. */
static void want_process(struct planner *p, const struct config_egress *want, bool changed)
{
	bool runs = ops_egress_runs(want->name);
	struct change *c;

	if (runs && !changed)
		return;
	c = planner_add(p, CHANGE_UPDATE, KIND_PROCESS, want->name,
			runs ? "to be started anew" : "to be started");
	c->want = want;
	c->line = config_line(p->c, want->at);
}

int want_egress(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_egress; i++) {
		const struct config_egress *want = &p->c->egress[i];
		_subject_ struct subject s = {KIND_EGRESS, .at = want->at, .want = want};
		struct egress is = {0};
		bool anew;

		object_name(s.name, want->name, NULL);
		buf_adds(&s.will, want->spec.text);
		s.there = !egress_load(p->o->st, want->name, &is, NULL);
		if (s.there)
			s.diff = diff_egress(want, &is, &s.why);
		r = planner_decide(p, &s, &anew, err);
		if (!r)
			want_process(p, want, s.diff != DIFF_NONE);
		egress_done(&is);
	}
	return r;
}

static bool is_gone(const struct planner *p, enum use_kind kind, const char *vpc, const char *name)
{
	switch (kind) {
	case USE_NETWORK:
		return planner_vpc_is_gone(p, vpc);
	case USE_SUBNET:
		return planner_subnet_is_gone(p, vpc, name);
	case USE_PORT:
		return planner_port_is_gone(p, planner_find_port(p, vpc, name));
	case USE_HOST:
	case USE_NUM_KINDS:
		break;
	}
	return false;
}

static int want_use(struct planner *p, enum change_kind kind, const struct config_use *want,
		    struct err *err)
{
	_subject_ struct subject s = {kind, .at = want->at, .want = want};
	char vpc[NAME_MAX_LEN] = "", name[NAME_MAX_LEN] = "";
	struct use is;
	bool anew;

	if (want->kind != USE_HOST)
		split_workload(want->workload, vpc, name);
	object_name(s.name, want->workload, NULL);
	buf_addf(&s.will, "%s%s%s", want->ways, want->exclude ? ", but for " : "",
		 want->exclude ? want->exclude : "");
	s.there = !is_gone(p, want->kind, vpc, name) &&
		  !use_load(p->o->st, want->kind, vpc, name, &is, NULL);
	if (s.there) {
		s.diff = diff_use(want, &is, &s.why);
		if (is.state != ROW_ACTIVE) {
			s.diff = DIFF_IN_PLACE;
			buf_adds(&s.why, half_made);
		}
	}
	return planner_decide(p, &s, &anew, err);
}

static int want_each(struct planner *p, enum change_kind kind, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_uses; i++) {
		const struct config_use *want = &p->c->uses[i];

		if ((kind == KIND_VM_USE) == (want->kind == USE_PORT) &&
		    strcmp(want->ways, EGRESS_NAT) != 0)
			r = want_use(p, kind, want, err);
	}
	return r;
}

int want_uses(struct planner *p, struct err *err)
{
	return want_each(p, KIND_USE, err);
}

int want_vm_uses(struct planner *p, struct err *err)
{
	return want_each(p, KIND_VM_USE, err);
}
