// SPDX-License-Identifier: GPL-2.0-or-later
/* From what there is and what is wanted to a list of changes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/doc.h"
#include "base/err.h"
#include "base/file.h"
#include "kernel/link.h"
#include "kernel/netns.h"
#include "ops/apply_impl.h"
#include "ops/dns.h"
#include "ops/egress.h"
#include "ops/ops.h"
#include "proc/pidlock.h"
#include "ops/session.h"
#include "vpc/names.h"

/* Everything that there is, in the order of names, and what this plan makes of it. */
struct planner {
	struct ops *o;
	const struct config *c;
	struct plan *plan;
	struct vpc *vpcs;
	struct subnet *subnets;
	struct port *ports;
	struct peer *peers;
	struct mapping *mappings;
	struct owned *owned;
	bool *vpc_goes, *subnet_goes, *port_goes, *wanted; /* for each of those, and of owned */
	size_t n_vpcs, n_subnets, n_ports, n_peers, n_mappings, n_owned;
	char (*links)[IFNAMSIZ]; /* ours, that the kernel has; sorted */
	size_t n_links;
};

static void planner_done(struct planner *p)
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
	free(p->links);
}

/* ---- what there is ---- */

static int note_link(const struct link *link, void *arg)
{
	struct planner *p = arg;

	if (!link_is_ours(link))
		return 0;
	if (!(p->n_links & (p->n_links - 1)))
		p->links = xrealloc(p->links, p->n_links ? 2 * p->n_links : 1, sizeof(*p->links));
	memcpy(p->links[p->n_links++], link->name, IFNAMSIZ);
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool has_link(const struct planner *p, const char *name)
{
	return p->n_links && bsearch(name, p->links, p->n_links, IFNAMSIZ, by_text);
}

static int load(struct planner *p, struct err *err)
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
		r = link_each(p->o->host, note_link, p, err);
	if (p->n_links)
		qsort(p->links, p->n_links, IFNAMSIZ, by_text);
	p->vpc_goes = xcalloc(p->n_vpcs + 1, sizeof(bool));
	p->subnet_goes = xcalloc(p->n_subnets + 1, sizeof(bool));
	p->port_goes = xcalloc(p->n_ports + 1, sizeof(bool));
	p->wanted = xcalloc(p->n_owned + 1, sizeof(bool));
	return r;
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

static struct vpc *find_vpc(const struct planner *p, const char *name)
{
	struct vpc key = {0};

	str_copy(key.name, sizeof(key.name), name);
	return FIND(p, vpcs, &key, vpc_order);
}

static struct subnet *find_subnet(const struct planner *p, const char *vpc, const char *name)
{
	struct subnet key = {0};

	str_copy(key.vpc, sizeof(key.vpc), vpc);
	str_copy(key.name, sizeof(key.name), name);
	return FIND(p, subnets, &key, subnet_order);
}

/* Not there as far as the rest is concerned: it was not, or goes first. */
static bool vpc_is_gone(const struct planner *p, const char *name)
{
	const struct vpc *v = find_vpc(p, name);

	return !v || p->vpc_goes[v - p->vpcs];
}

static bool subnet_is_gone(const struct planner *p, const char *vpc, const char *name)
{
	const struct subnet *s = find_subnet(p, vpc, name);

	return !s || p->subnet_goes[s - p->subnets] || vpc_is_gone(p, vpc);
}

static struct port *find_port(const struct planner *p, const char *vpc, const char *name)
{
	struct port key = {0};

	str_copy(key.vpc, sizeof(key.vpc), vpc);
	str_copy(key.name, sizeof(key.name), name);
	return FIND(p, ports, &key, port_order);
}

static bool port_is_gone(const struct planner *p, const struct port *q)
{
	return !q || p->port_goes[q - p->ports] || vpc_is_gone(p, q->vpc) ||
	       (*q->subnet && subnet_is_gone(p, q->vpc, q->subnet));
}

/* ---- the list ---- */

/* A thing that is wanted, and what there is of that name. */
struct subject {
	enum change_kind kind;
	char name[OBJECT_MAX];
	struct fy_node *at;
	const void *want;
	bool there;
	const char *broken; /* why what is there is as good as not; or NULL */
	enum diff diff;
	struct buf why, will; /* what differs; what it will be */
};

static void subject_done(struct subject *s)
{
	buf_done(&s->why);
	buf_done(&s->will);
}

#define _subject_ _cleanup_(subject_done)

static void name_of(char ret[OBJECT_MAX], const char *a, const char *b)
{
	snprintf(ret, OBJECT_MAX, "%s%s%s", a, b ? "/" : "", b ? b : "");
}

static struct change *add_change(struct planner *p, enum change_action action,
				 enum change_kind kind, const char *name, const char *detail)
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
	struct change *c = add_change(p, action, s->kind, s->name, detail);

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
	if (!mine) {
		add_wanted(p, CHANGE_ADOPT, s, "as it is");
	} else if (s->broken || s->diff == DIFF_ANEW) {
		why = xasprintf("to be made anew: %s", s->broken ? s->broken : s->why.data);
		add_change(p, CHANGE_REMOVE, s->kind, s->name, why);
		*ret_anew = true;
	} else if (s->diff == DIFF_IN_PLACE) {
		add_wanted(p, CHANGE_UPDATE, s, s->why.data);
	} else {
		p->plan->unchanged++;
	}
	return 0;
}

/* ret_anew: what is there goes, with all that is in it. */
static int decide(struct planner *p, const struct subject *s, bool *ret_anew, struct err *err)
{
	struct owned *o = owner_find(p->owned, p->n_owned, change_kind_name(s->kind), s->name);
	int r = 0;

	*ret_anew = false;
	if (o && strcmp(o->file, p->plan->file) != 0)
		return conflict(p, s, err, "belongs to ", o->file);
	if (o)
		p->wanted[o - p->owned] = true;
	if (s->there)
		r = decide_existing(p, s, o, ret_anew, err);
	if (!r && (!s->there || *ret_anew))
		add_wanted(p, CHANGE_ADD, s, s->will.data);
	return r;
}

static const char half_made[] = "a crash left it half-made";

/* ---- kind by kind ---- */

static const char *vpc_broken(const struct planner *p, const struct vpc *v)
{
	if (v->state != ROW_ACTIVE)
		return half_made;
	return has_link(p, v->bridge) ? NULL : "its bridge is gone";
}

static int want_vpcs(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_vpcs; i++) {
		const struct config_vpc *want = &p->c->vpcs[i];
		const struct vpc *is = find_vpc(p, want->v.name);
		_subject_ struct subject s = {KIND_VPC, .at = want->at, .want = want, .there = is};
		bool anew;

		name_of(s.name, want->v.name, NULL);
		tell_vpc(want, &s.will);
		if (is) {
			s.broken = vpc_broken(p, is);
			s.diff = diff_vpc(want, is, &s.why);
			if (s.diff == DIFF_NONE && is->dns && !ops_dns_is_served(is->name)) {
				s.diff = DIFF_IN_PLACE;
				buf_adds(&s.why, "nobody serves its names");
			}
		}
		r = decide(p, &s, &anew, err);
		if (is && anew)
			p->vpc_goes[is - p->vpcs] = true;
	}
	return r;
}

static int want_nat(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_vpcs; i++) {
		const struct config_vpc *want = &p->c->vpcs[i];
		_subject_ struct subject s = {KIND_NAT, .at = want->at, .want = want};
		struct nat is, way = {0};
		bool anew;

		if (!want->nat)
			continue;
		name_of(s.name, want->v.name, NULL);
		r = *want->interface ? ops_nat_choose(p->o, s.name, want->interface, &way, err)
				     : ops_nat_choose(p->o, s.name, NULL, &way, NULL);
		if (r && *want->interface)
			return doc_error_at(p->c->doc, want->at, err);
		buf_addf(&s.will, "through %s",
			 *way.interface ? way.interface : "the default route's interface");
		s.there = !vpc_is_gone(p, s.name) && !nat_load(p->o->st, s.name, &is, NULL);
		if (s.there) {
			s.diff = is.state == ROW_ACTIVE ? diff_nat(way.interface, &is, &s.why)
							: DIFF_IN_PLACE;
			if (is.state != ROW_ACTIVE)
				buf_adds(&s.why, half_made);
		}
		r = decide(p, &s, &anew, err);
	}
	return r;
}

static const char *subnet_broken(const struct planner *p, const struct subnet *s)
{
	if (s->state != ROW_ACTIVE)
		return half_made;
	if (!netns_exists(s->netns))
		return "its namespace is gone";
	return has_link(p, s->veth_host) ? NULL : "its link is gone";
}

static int want_subnets(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_subnets; i++) {
		const struct config_subnet *want = &p->c->subnets[i];
		const struct subnet *is = find_subnet(p, want->s.vpc, want->s.name);
		_subject_ struct subject s = {KIND_SUBNET, .at = want->at, .want = want};
		bool anew;

		name_of(s.name, want->s.vpc, want->s.name);
		tell_subnet(want, &s.will);
		s.there = is && !vpc_is_gone(p, want->s.vpc);
		if (s.there) {
			s.broken = subnet_broken(p, is);
			s.diff = diff_subnet(want, is, &s.why);
		}
		r = decide(p, &s, &anew, err);
		if (is && anew)
			p->subnet_goes[is - p->subnets] = true;
	}
	return r;
}

static int want_policy(struct planner *p, const struct config_subnet *want, struct err *err)
{
	_subject_ struct subject s = {KIND_POLICY, .at = want->at, .want = want};
	_cleanup_(policy_row_done) struct policy_row is = {0};
	const struct subnet *subnet = find_subnet(p, want->s.vpc, want->s.name);
	_buf_ struct buf text = {0};
	struct policy_owner owner = {0};
	bool anew;
	int r = file_read(want->policy, DOC_SIZE_MAX, &text, err);

	if (r)
		return doc_error_at(p->c->doc, want->at, err);
	name_of(s.name, want->s.vpc, want->s.name);
	buf_adds(&s.will, want->policy);
	if (subnet)
		owner = subnet_owner(subnet);
	s.there = !subnet_is_gone(p, want->s.vpc, want->s.name) &&
		  !policy_load(p->o->st, &owner, &is, NULL);
	if (s.there)
		s.diff = diff_policy(text.data, &is, &s.why);
	return decide(p, &s, &anew, err);
}

static int want_policies(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_subnets; i++)
		if (p->c->subnets[i].policy)
			r = want_policy(p, &p->c->subnets[i], err);
	return r;
}

static int want_peers(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_peers; i++) {
		const struct config_peer *want = &p->c->peers[i];
		const struct peer *is = FIND(p, peers, &want->p, peer_order);
		_subject_ struct subject s = {KIND_PEERING, .at = want->at, .want = want};
		bool anew;

		name_of(s.name, want->p.a, want->p.b);
		tell_peer(want, &s.will);
		s.there = is && !vpc_is_gone(p, want->p.a) && !vpc_is_gone(p, want->p.b);
		if (s.there) {
			s.diff = diff_peer(want, is, &s.why);
			if (is->state != ROW_ACTIVE) {
				s.diff = DIFF_IN_PLACE;
				buf_adds(&s.why, half_made);
			}
		}
		r = decide(p, &s, &anew, err);
	}
	return r;
}

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
	name_of(s.name, want->p.vpc, want->p.name);
	buf_adds(&s.will, want->policy);
	s.there = !port_is_gone(p, find_port(p, want->p.vpc, want->p.name)) &&
		  !policy_load(p->o->st, &owner, &is, NULL);
	if (s.there)
		s.diff = diff_policy(text.data, &is, &s.why);
	return decide(p, &s, &anew, err);
}

static int want_vm_policies(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_vms; i++)
		if (p->c->vms[i].policy)
			r = want_vm_policy(p, &p->c->vms[i], err);
	return r;
}

static int want_vms(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_vms; i++) {
		const struct config_vm *want = &p->c->vms[i];
		const struct port *is = find_port(p, want->p.vpc, want->p.name);
		_subject_ struct subject s = {KIND_VM, .at = want->at, .want = want};
		bool anew;

		name_of(s.name, want->p.vpc, want->p.name);
		tell_vm(want, &s.will);
		s.there = !port_is_gone(p, is);
		if (s.there) {
			s.broken = is->state != ROW_ACTIVE   ? half_made
				   : has_link(p, is->ifname) ? NULL
							     : "its TAP device is gone";
			s.diff = is->kind == PORT_TAP ? diff_vm(want, is, &s.why) : DIFF_ANEW;
			if (is->kind != PORT_TAP)
				buf_addf(&s.why, "it is a %s",
					 is->kind == PORT_CLONE ? "clone" : "container");
		}
		r = decide(p, &s, &anew, err);
		if (is && anew)
			p->port_goes[is - p->ports] = true;
	}
	return r;
}

/* ---- egresses ---- */

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
	c = add_change(p, CHANGE_UPDATE, KIND_PROCESS, want->name,
		       runs ? "to be started anew" : "to be started");
	c->want = want;
	c->line = config_line(p->c, want->at);
}

static int want_egress(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_egress; i++) {
		const struct config_egress *want = &p->c->egress[i];
		_subject_ struct subject s = {KIND_EGRESS, .at = want->at, .want = want};
		struct egress is = {0};
		bool anew;

		name_of(s.name, want->name, NULL);
		buf_adds(&s.will, want->spec.text);
		s.there = !egress_load(p->o->st, want->name, &is, NULL);
		if (s.there)
			s.diff = diff_egress(want, &is, &s.why);
		r = decide(p, &s, &anew, err);
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

static bool workload_is_gone(const struct planner *p, const char *vpc, const char *name)
{
	const struct port *q = find_port(p, vpc, name);

	if (!*name || vpc_is_gone(p, vpc))
		return vpc_is_gone(p, vpc);
	return q ? port_is_gone(p, q) : subnet_is_gone(p, vpc, name);
}

/* ---- published ports ---- */

static const struct mapping *find_mapping(const struct planner *p, const char *name)
{
	char one[OBJECT_MAX];

	for (size_t i = 0; i < p->n_mappings; i++) {
		mapping_name(&p->mappings[i], one);
		if (!strcmp(one, name))
			return &p->mappings[i];
	}
	return NULL;
}

static int want_ports(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_ports; i++) {
		const struct config_publish *want = &p->c->ports[i];
		_subject_ struct subject s = {KIND_PUBLISH, .at = want->at, .want = want};
		const struct mapping *is;
		bool anew;

		mapping_name(&want->m, s.name);
		is = find_mapping(p, s.name);
		buf_addf(&s.will, "to %s/%s port %u", want->m.vpc, want->m.target, want->m.port);
		s.there = is && !workload_is_gone(p, is->vpc, is->target);
		if (s.there) {
			s.broken = is->state == ROW_ACTIVE ? NULL : half_made;
			s.diff = diff_publish(want, is, &s.why);
		}
		r = decide(p, &s, &anew, err);
	}
	return r;
}

/* ---- who goes out by what ---- */

static int want_use(struct planner *p, const struct config_use *want, struct err *err)
{
	_subject_ struct subject s = {KIND_USE, .at = want->at, .want = want};
	char vpc[NAME_MAX_LEN], name[NAME_MAX_LEN];
	struct use is;
	bool anew;

	split_workload(want->workload, vpc, name);
	name_of(s.name, want->workload, NULL);
	buf_adds(&s.will, want->ways);
	s.there = !workload_is_gone(p, vpc, name) && !use_load(p->o->st, vpc, name, &is, NULL);
	if (s.there) {
		s.diff = diff_use(want, &is, &s.why);
		if (is.state != ROW_ACTIVE) {
			s.diff = DIFF_IN_PLACE;
			buf_adds(&s.why, half_made);
		}
	}
	return decide(p, &s, &anew, err);
}

static int want_uses(struct planner *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->c->n_uses; i++)
		if (strcmp(p->c->uses[i].ways, EGRESS_NAT) != 0)
			r = want_use(p, &p->c->uses[i], err);
	return r;
}

/* ---- what goes ---- */

static bool mapping_goes(const struct planner *p, const char *name)
{
	const struct mapping *m = find_mapping(p, name);

	return !m || workload_is_gone(p, m->vpc, m->target);
}

/* Whether it goes with something that it is in. */
static bool goes_anyway(const struct planner *p, enum change_kind kind, const char *name)
{
	char first[NAME_MAX_LEN], second[NAME_MAX_LEN] = "";
	const char *slash = strchr(name, '/');

	snprintf(first, sizeof(first), "%.*s", (int)strcspn(name, "/"), name);
	if (slash)
		str_copy(second, sizeof(second), slash + 1);
	switch (kind) {
	case KIND_VPC:
		return false;
	case KIND_NAT:
	case KIND_SUBNET:
		return vpc_is_gone(p, first);
	case KIND_POLICY:
		return subnet_is_gone(p, first, second);
	case KIND_PEERING:
		return vpc_is_gone(p, first) || vpc_is_gone(p, second);
	case KIND_VM:
	case KIND_VM_POLICY:
		return port_is_gone(p, find_port(p, first, second));
	case KIND_PUBLISH:
		return mapping_goes(p, name);
	case KIND_USE:
		return workload_is_gone(p, first, second);
	case KIND_EGRESS:
	case KIND_PROCESS:
	case KIND_NUM_KINDS:
		break;
	}
	return false;
}

static void note_going(struct planner *p, enum change_kind kind, const char *name)
{
	const char *slash = strchr(name, '/');
	_free_ char *first = strndup(name, strcspn(name, "/"));
	const struct vpc *v = kind == KIND_VPC ? find_vpc(p, name) : NULL;
	const struct subnet *s =
		kind == KIND_SUBNET && slash ? find_subnet(p, first, slash + 1) : NULL;

	const struct port *q = kind == KIND_VM && slash ? find_port(p, first, slash + 1) : NULL;

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
		add_change(p, CHANGE_REMOVE, kind, o->name, why);
		note_going(p, kind, o->name);
	}
}

static bool is_mine(const struct planner *p, enum change_kind kind, const char *a, const char *b)
{
	char name[OBJECT_MAX];
	const struct owned *o;

	name_of(name, a, b);
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

		name_of(name, s->vpc, s->name);
		if (s->state == ROW_ACTIVE && vpc_is_gone(p, s->vpc) &&
		    !is_mine(p, KIND_SUBNET, s->vpc, s->name))
			return refuse_to_take("subnet", name, s->vpc, err);
	}
	for (size_t i = 0; i < p->n_ports; i++) {
		const struct port *q = &p->ports[i];

		name_of(name, q->vpc, q->name);
		if (q->state != ROW_ACTIVE || is_mine(p, KIND_VM, q->vpc, q->name))
			continue;
		if (vpc_is_gone(p, q->vpc) || (*q->subnet && subnet_is_gone(p, q->vpc, q->subnet)))
			return refuse_to_take(port_kind_what(q->kind), name,
					      *q->subnet ? q->subnet : q->vpc, err);
	}
	return 0;
}

/* The order in which they come; they go in the reverse. The ways out of networks and subnets are
 * there before NAT, so that nothing goes out by that in the meantime. */
static const unsigned int orders[] = {
	[KIND_VPC] = 0,       [KIND_SUBNET] = 1,  [KIND_POLICY] = 2,   [KIND_PEERING] = 3,
	[KIND_EGRESS] = 4,    [KIND_USE] = 5,     [KIND_NAT] = 6,      [KIND_VM] = 7,
	[KIND_VM_POLICY] = 8, [KIND_PUBLISH] = 9, [KIND_PROCESS] = 10,
};
#define ORDER_USE_OF_VM 8
#define ORDER_LAST 11

static unsigned int order_of(const struct change *c)
{
	const struct config_use *use = c->kind == KIND_USE ? c->want : NULL;

	if (c->action != CHANGE_REMOVE)
		return 2 * ORDER_LAST + (use && use->of_vm ? ORDER_USE_OF_VM : orders[c->kind]);
	/* Until then, others may have gone out by it. */
	return c->kind == KIND_EGRESS ? 4 * ORDER_LAST : ORDER_LAST - orders[c->kind];
}

static int by_order(const void *a, const void *b)
{
	const struct change *x = a, *y = b;

	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	if (x->action != y->action)
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

		c->order = order_of(c);
		if (c->kind == KIND_EGRESS && c->action == CHANGE_REMOVE)
			c->no = EGRESS_MAX - egress_depth(p, c->name);
	}
	if (plan->n)
		qsort(plan->changes, plan->n, sizeof(*plan->changes), by_order);
}

/* An object is decided upon when what it is in is known to go or to stay. */
static int make_plan(struct planner *p, struct err *err)
{
	static int (*const want[])(struct planner * p, struct err * err) = {
		[KIND_VPC] = want_vpcs,       [KIND_NAT] = want_nat,
		[KIND_SUBNET] = want_subnets, [KIND_POLICY] = want_policies,
		[KIND_PEERING] = want_peers,  [KIND_VM] = want_vms,
		[KIND_EGRESS] = want_egress,  [KIND_USE] = want_uses,
		[KIND_PUBLISH] = want_ports,  [KIND_VM_POLICY] = want_vm_policies,
		[KIND_PROCESS] = NULL, /* the egresses' */
	};
	int r = load(p, err);

	for (int kind = 0; !r && kind < KIND_NUM_KINDS; kind++) {
		if (p->c && want[kind])
			r = want[kind](p, err);
		if (!r)
			unwanted(p, (enum change_kind)kind);
	}
	if (!r)
		r = check_going(p, err);
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
