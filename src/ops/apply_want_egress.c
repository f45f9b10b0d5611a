// SPDX-License-Identifier: GPL-2.0-or-later
/* What the file wants of ways out: egresses, their processes, and who goes out by them. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "ops/apply_plan.h"
#include "ops/egress.h"
#include "ops/ops.h"
#include "ops/session.h"
#include "proc/pidlock.h"

static bool egress_runs(const char *name)
{
	char group[NAME_MAX_LEN], path[SESSION_PATH_MAX];

	return pidlock_holder(session_path(egress_group(name, group), ".lock", path)) != 0;
}

/* Its process, too, is to be as the file says. */
static void want_process(struct planner *p, const struct config_egress *want, bool changed)
{
	bool runs = egress_runs(want->name);
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

/* The workload's VPC, and its name there: "" of a network. */
static void split_workload(const char *workload, char vpc[NAME_MAX_LEN], char name[NAME_MAX_LEN])
{
	size_t len = strcspn(workload, "/");

	snprintf(vpc, NAME_MAX_LEN, "%.*s", (int)len, workload);
	snprintf(name, NAME_MAX_LEN, "%s", workload[len] ? workload + len + 1 : "");
}

static int want_use(struct planner *p, const struct config_use *want, struct err *err)
{
	_subject_ struct subject s = {KIND_USE, .at = want->at, .want = want};
	char vpc[NAME_MAX_LEN], name[NAME_MAX_LEN];
	struct use is;
	bool anew;

	split_workload(want->workload, vpc, name);
	object_name(s.name, want->workload, NULL);
	buf_adds(&s.will, want->ways);
	s.there = !planner_workload_is_gone(p, vpc, name) &&
		  !use_load(p->o->st, vpc, name, &is, NULL);
	if (s.there) {
		s.diff = diff_use(want, &is, &s.why);
		if (is.state != ROW_ACTIVE) {
			s.diff = DIFF_IN_PLACE;
			buf_adds(&s.why, half_made);
		}
	}
	return planner_decide(p, &s, &anew, err);
}

int want_uses(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_uses; i++)
		if (strcmp(p->c->uses[i].ways, EGRESS_NAT) != 0)
			r = want_use(p, &p->c->uses[i], err);
	return r;
}
