// SPDX-License-Identifier: GPL-2.0-or-later
/* What the file wants of VMs: themselves, their policies, and published ports. */
#include "base/buf.h"
#include "base/doc.h"
#include "base/err.h"
#include "base/file.h"
#include "ops/apply_plan.h"
#include "ops/ops.h"
#include "ops/repair.h"

static int want_vm_policy(struct planner *p, const struct config_vm *want, struct err *err)
{
	_subject_ struct subject s = {KIND_VM_POLICY, .at = want->at, .want = want};
	_cleanup_(policy_row_done) struct policy_row is = {0};
	struct policy_owner owner = port_owner(&want->p);
	_buf_ struct buf text = {0};
	bool anew;
	int r = file_read(want->policy, DOC_SIZE_MAX, &text, err);

	if (r)
		return doc_error_at(p->c->doc, want->at, err);
	object_name(s.name, want->p.vpc, want->p.name);
	buf_adds(&s.will, want->policy);
	s.there = !planner_port_is_gone(p, planner_find_port(p, want->p.vpc, want->p.name)) &&
		  !policy_load(p->o->st, &owner, &is, NULL);
	if (s.there)
		s.diff = diff_policy(text.data, &is, &s.why);
	return planner_decide(p, &s, &anew, err);
}

int want_vm_policies(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_vms; i++)
		if (p->c->vms[i].policy)
			r = want_vm_policy(p, &p->c->vms[i], err);
	return r;
}

int want_vms(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_vms; i++) {
		const struct config_vm *want = &p->c->vms[i];
		const struct port *is = planner_find_port(p, want->p.vpc, want->p.name);
		_subject_ struct subject s = {KIND_VM, .at = want->at, .want = want};
		bool anew = false;

		object_name(s.name, want->p.vpc, want->p.name);
		tell_vm(want, &s.will);
		s.there = !planner_port_is_gone(p, is);
		if (s.there) {
			s.broken = is->state == ROW_ACTIVE ? ops_port_gone(p->o, p->seen, is)
							   : half_made;
			s.diff = diff_vm(want, is, &s.why);
			r = ops_repair_port(p->o, p->seen, planner_find_vpc(p, is->vpc), is,
					    REPAIR_TELL, &s.harm, err);
		}
		if (!r)
			r = planner_decide(p, &s, &anew, err);
		if (is && anew)
			p->port_goes[is - p->ports] = true;
	}
	return r;
}

int want_published(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_ports; i++) {
		const struct config_publish *want = &p->c->ports[i];
		_subject_ struct subject s = {KIND_PUBLISH, .at = want->at, .want = want};
		const struct mapping *is;
		bool anew;

		mapping_name(&want->m, s.name);
		is = planner_find_mapping(p, s.name);
		buf_addf(&s.will, "to %s/%s port %u", want->m.vpc, want->m.target, want->m.port);
		s.there = is && !planner_workload_is_gone(p, is->vpc, is->target);
		if (s.there) {
			s.broken = is->state == ROW_ACTIVE ? NULL : half_made;
			s.diff = diff_publish(want, is, &s.why);
		}
		r = planner_decide(p, &s, &anew, err);
	}
	return r;
}
