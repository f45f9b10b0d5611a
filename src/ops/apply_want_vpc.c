// SPDX-License-Identifier: GPL-2.0-or-later
/* What the file wants of VPCs and networks: their subnets, with policies, peerings and NAT. */
#include <string.h>

#include "base/buf.h"
#include "base/doc.h"
#include "base/err.h"
#include "base/file.h"
#include "kernel/netns.h"
#include "ops/apply_plan.h"
#include "ops/dns.h"
#include "ops/ops.h"

static const char *vpc_broken(const struct planner *p, const struct vpc *v)
{
	if (v->state != ROW_ACTIVE)
		return half_made;
	return planner_has_link(p, v->bridge) ? NULL : "its bridge is gone";
}

int want_vpcs(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_vpcs; i++) {
		const struct config_vpc *want = &p->c->vpcs[i];
		const struct vpc *is = planner_find_vpc(p, want->v.name);
		_subject_ struct subject s = {KIND_VPC, .at = want->at, .want = want, .there = is};
		bool anew;

		object_name(s.name, want->v.name, NULL);
		tell_vpc(want, &s.will);
		if (is) {
			s.broken = vpc_broken(p, is);
			s.diff = diff_vpc(want, is, &s.why);
			if (s.diff == DIFF_NONE && is->dns && !ops_dns_is_served(is->name)) {
				s.diff = DIFF_IN_PLACE;
				buf_adds(&s.why, "nobody serves its names");
			}
		}
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

static const char *subnet_broken(const struct planner *p, const struct subnet *s)
{
	if (s->state != ROW_ACTIVE)
		return half_made;
	if (!netns_exists(s->netns))
		return "its namespace is gone";
	return planner_has_link(p, s->veth_host) ? NULL : "its link is gone";
}

int want_subnets(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_subnets; i++) {
		const struct config_subnet *want = &p->c->subnets[i];
		const struct subnet *is = planner_find_subnet(p, want->s.vpc, want->s.name);
		_subject_ struct subject s = {KIND_SUBNET, .at = want->at, .want = want};
		bool anew;

		object_name(s.name, want->s.vpc, want->s.name);
		tell_subnet(want, &s.will);
		s.there = is && !planner_vpc_is_gone(p, want->s.vpc);
		if (s.there) {
			s.broken = subnet_broken(p, is);
			s.diff = diff_subnet(want, is, &s.why);
		}
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
