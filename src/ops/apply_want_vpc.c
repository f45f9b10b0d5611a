// SPDX-License-Identifier: GPL-2.0-or-later
/* What the file wants of VPCs and networks: their subnets, with policies, peerings and NAT. */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/doc.h"
#include "base/err.h"
#include "base/file.h"
#include "ops/apply_plan.h"
#include "ops/dns.h"
#include "ops/ops.h"
#include "ops/repair.h"

int want_vpcs(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_vpcs; i++) {
		const struct config_vpc *want = &p->c->vpcs[i];
		const struct vpc *is = planner_find_vpc(p, want->v.name);
		_subject_ struct subject s = {KIND_VPC, .at = want->at, .want = want, .there = is};
		bool anew = false;

		object_name(s.name, want->v.name, NULL);
		tell_vpc(want, &s.will);
		if (is) {
			s.broken = is->state == ROW_ACTIVE ? vpc_gone(p->seen, is) : half_made;
			s.diff = diff_vpc(want, is, &s.why);
			r = ops_repair_vpc(p->o, p->seen, is, REPAIR_TELL, &s.harm, err);
			if (!s.harm.len && s.diff == DIFF_NONE && is->dns &&
			    !ops_dns_is_served(is->name))
				buf_adds(&s.harm, "nobody serves its names");
		}
		if (!r)
			r = planner_decide(p, &s, &anew, err);
		if (is && anew)
			p->vpc_goes[is - p->vpcs] = true;
	}
	return r;
}

int want_nat(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_vpcs; i++) {
		const struct config_vpc *want = &p->c->vpcs[i];
		_subject_ struct subject s = {KIND_NAT, .at = want->at, .want = want};
		struct nat is, way = {0};
		bool anew;

		if (!want->nat)
			continue;
		object_name(s.name, want->v.name, NULL);
		r = *want->interface ? ops_nat_choose(p->o, s.name, want->interface, &way, err)
				     : ops_nat_choose(p->o, s.name, NULL, &way, NULL);
		if (r && *want->interface)
			return doc_error_at(p->c->doc, want->at, err);
		buf_addf(&s.will, "through %s",
			 *way.interface ? way.interface : "the default route's interface");
		s.there = !planner_vpc_is_gone(p, s.name) && !nat_load(p->o->st, s.name, &is, NULL);
		if (s.there) {
			s.diff = is.state == ROW_ACTIVE ? diff_nat(way.interface, &is, &s.why)
							: DIFF_IN_PLACE;
			if (is.state != ROW_ACTIVE)
				buf_adds(&s.why, half_made);
		}
		r = planner_decide(p, &s, &anew, err);
	}
	return r;
}

/* As it was made, or, without a policy of the file's, its rules are. */
static int find_harm(struct planner *p, const struct config_subnet *want, const struct subnet *is,
		     struct buf *harm, struct err *err)
{
	struct err why = {0};

	if (!want->policy && ops_subnet_rules_verify(p->o, is, &why) == -ESTALE)
		buf_adds(harm, "the kernel has other rules");
	return ops_repair_subnet(p->o, p->seen, planner_find_vpc(p, is->vpc), is, REPAIR_TELL, harm,
				 err);
}

int want_subnets(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_subnets; i++) {
		const struct config_subnet *want = &p->c->subnets[i];
		const struct subnet *is = planner_find_subnet(p, want->s.vpc, want->s.name);
		_subject_ struct subject s = {KIND_SUBNET, .at = want->at, .want = want};
		bool anew = false;

		object_name(s.name, want->s.vpc, want->s.name);
		tell_subnet(want, &s.will);
		s.there = is && !planner_vpc_is_gone(p, want->s.vpc);
		if (s.there) {
			s.broken = is->state == ROW_ACTIVE ? subnet_gone(p->seen, is) : half_made;
			s.diff = diff_subnet(want, is, &s.why);
			r = s.broken ? 0 : find_harm(p, want, is, &s.harm, err);
		}
		if (!r)
			r = planner_decide(p, &s, &anew, err);
		if (is && anew)
			p->subnet_goes[is - p->subnets] = true;
	}
	return r;
}

static int want_policy(struct planner *p, const struct config_subnet *want, struct err *err)
{
	_subject_ struct subject s = {KIND_POLICY, .at = want->at, .want = want};
	_cleanup_(policy_row_done) struct policy_row is = {0};
	const struct subnet *subnet = planner_find_subnet(p, want->s.vpc, want->s.name);
	_buf_ struct buf text = {0};
	struct policy_owner owner = {0};
	bool anew;
	int r = file_read(want->policy, DOC_SIZE_MAX, &text, err);

	if (r)
		return doc_error_at(p->c->doc, want->at, err);
	object_name(s.name, want->s.vpc, want->s.name);
	buf_adds(&s.will, want->policy);
	if (subnet)
		owner = subnet_owner(subnet);
	s.there = !planner_subnet_is_gone(p, want->s.vpc, want->s.name) &&
		  !policy_load(p->o->st, &owner, &is, NULL);
	if (s.there)
		s.diff = diff_policy(text.data, &is, &s.why);
	if (s.there && s.diff == DIFF_NONE && ops_policy_verify(p->o, subnet, NULL) == -ESTALE)
		buf_adds(&s.harm, "the kernel has other rules");
	return planner_decide(p, &s, &anew, err);
}

int want_policies(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_subnets; i++)
		if (p->c->subnets[i].policy)
			r = want_policy(p, &p->c->subnets[i], err);
	return r;
}

int want_peers(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_peers; i++) {
		const struct config_peer *want = &p->c->peers[i];
		const struct peer *is = planner_find_peer(p, &want->p);
		_subject_ struct subject s = {KIND_PEERING, .at = want->at, .want = want};
		bool anew;

		object_name(s.name, want->p.a, want->p.b);
		tell_peer(want, &s.will);
		s.there = is && !planner_vpc_is_gone(p, want->p.a) &&
			  !planner_vpc_is_gone(p, want->p.b);
		if (s.there) {
			s.diff = diff_peer(want, is, &s.why);
			if (is->state != ROW_ACTIVE) {
				s.diff = DIFF_IN_PLACE;
				buf_adds(&s.why, half_made);
			}
		}
		r = planner_decide(p, &s, &anew, err);
	}
	return r;
}
