// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * A plan is made by comparing the file with the state, kind by kind, from what holds others to what
 * is held (apply_plan.c). Carrying it out calls the same use cases as the commands do: each is
 * whole or not there, so that after a failure or a crash another plan finds out what is left to be
 * done. Subnets of one VPC are made, and taken down, together; so are policies of one file.
 *
 * Invariants
 *  1. Planning changes nothing.
 *  2. Nothing is changed or removed that does not belong to the file (owner.h).
 *  3. What goes, goes before anything is made: its addresses and names may be wanted.
 *  4. An object without differences is not touched, whatever happens to its neighbours.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/doc.h"
#include "base/err.h"
#include "base/file.h"
#include "ops/apply_impl.h"
#include "ops/dns.h"
#include "ops/egress.h"
#include "ops/ops.h"
#include "ops/repair.h"

static const char *const action_names[] = {
	[CHANGE_REMOVE] = "remove",
	[CHANGE_REPAIR] = "repair",
	[CHANGE_UPDATE] = "change",
	[CHANGE_ADOPT] = "adopt",
	[CHANGE_ADD] = "add",
};
static_assert(ARRAY_SIZE(action_names) == CHANGE_NUM_ACTIONS, "action_names[] doesn't match");

static const char *const state_names[] = {
	[CHANGE_PENDING] = "pending",
	[CHANGE_DONE] = "done",
	[CHANGE_FAILED] = "failed",
};
static_assert(ARRAY_SIZE(state_names) == CHANGE_NUM_STATES, "state_names[] doesn't match");

const char *change_action_name(enum change_action a)
{
	return action_names[a];
}

const char *change_state_name(enum change_state s)
{
	return state_names[s];
}

/* The halves of an object's name. */
struct halves {
	char first[NAME_MAX_LEN], second[NAME_MAX_LEN];
};

static struct halves split(const char *name)
{
	size_t len = strcspn(name, "/");
	struct halves h = {0};

	memcpy(h.first, name, MIN(len, sizeof(h.first) - 1));
	if (name[len])
		str_copy(h.second, sizeof(h.second), name + len + 1);
	return h;
}

struct applying {
	struct ops *o;
	const char *self;
	const struct config *config;
};

/* What a workload goes out by. */
static const char *ways_of(const struct applying *a, size_t use)
{
	return use ? a->config->uses[use - 1].ways : NULL;
}

/* ---- VPCs and networks ---- */

static int add_vpc(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	const struct config_vpc *want = c->want;
	char cidr[CIDR_STRLEN], cidr6[CIDR_STRLEN];
	struct vpc_params p = {
		.name = want->v.name,
		.cidr = cidr_format(&want->v.cidr, cidr),
		.cidr6 = want->v.cidr6.addr.family ? cidr_format(&want->v.cidr6, cidr6) : NULL,
		.mtu_bytes = want->v.mtu_bytes,
		.flat = want->v.flat,
		.dns = want->v.dns,
		.dhcp = want->v.dhcp,
	};
	struct vpc made;

	(void)n;
	return ops_vpc_create(a->o, &p, &made, err);
}

/* What its gateway serves. */
static int update_vpc(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	const struct vpc *want = &((const struct config_vpc *)c->want)->v;
	struct vpc is;
	bool changed;
	int r = vpc_load(a->o->st, want->name, &is, err);

	(void)n;
	if (!r && is.dns && (!want->dns || is.dhcp != want->dhcp))
		r = ops_dns_disable(a->o, want->name, &changed, err);
	return r || !want->dns ? r : ops_dns_enable(a->o, want->name, want->dhcp, &changed, err);
}

static int repair_vpcs(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	_seen_ struct seen *seen = NULL;
	_buf_ struct buf why = {0};
	int r = seen_read(a->o->host, &seen, err);

	for (size_t i = 0; !r && i < n; i++) {
		struct vpc v;
		bool changed;

		r = vpc_load(a->o->st, c[i].name, &v, err);
		if (!r)
			r = ops_repair_vpc(a->o, seen, &v, REPAIR_DO, &why, err);
		if (!r && v.dns && !ops_dns_is_served(v.name))
			r = ops_dns_enable(a->o, v.name, v.dhcp, &changed, err);
	}
	return r;
}

static int remove_vpcs(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	_free_ const char **names = xcalloc(n, sizeof(*names));
	_free_ bool *existed = xcalloc(n, sizeof(*existed));

	for (size_t i = 0; i < n; i++)
		names[i] = c[i].name;
	return ops_vpc_delete(a->o, names, n, existed, err);
}

/* ---- NAT ---- */

static int add_nat(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	const struct config_vpc *want = c->want;
	struct nat nat;
	bool changed;

	(void)n;
	return ops_nat_enable(a->o, c->name, *want->interface ? want->interface : NULL, &nat,
			      &changed, err);
}

static int remove_nat(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	bool existed;

	(void)n;
	return ops_nat_disable(a->o, c->name, &existed, err);
}

static int update_nat(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	int r = remove_nat(a, c, n, err);

	return r ? r : add_nat(a, c, n, err);
}

/* ---- subnets ---- */

struct subnet_texts {
	char cidr[CIDR_STRLEN], cidr6[CIDR_STRLEN];
};

static int add_subnets(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	_free_ struct subnet_params *params = xcalloc(n, sizeof(*params));
	_free_ struct subnet_texts *texts = xcalloc(n, sizeof(*texts));

	for (size_t i = 0; i < n; i++) {
		const struct config_subnet *want = c[i].want;
		const struct subnet *s = &want->s;

		params[i] = (struct subnet_params){
			.name = s->name,
			.cidr = cidr_format(&s->cidr, texts[i].cidr),
			.cidr6 = s->cidr6.addr.family ? cidr_format(&s->cidr6, texts[i].cidr6)
						      : NULL,
			.is_public = s->is_public,
			.ways = ways_of(a, want->use),
		};
	}
	return ops_subnet_add(a->o, split(c->name).first, params, n, NULL, err);
}

static int update_subnet(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	const struct subnet *want = &((const struct config_subnet *)c->want)->s;
	struct subnet s;
	int r = subnet_load(a->o->st, want->vpc, want->name, &s, err);

	(void)n;
	s.is_public = want->is_public;
	return r ? r : ops_subnet_set_type(a->o, &s, err);
}

static int remove_subnets(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	_free_ const char **names = xcalloc(n, sizeof(*names));
	_free_ bool *existed = xcalloc(n, sizeof(*existed));

	for (size_t i = 0; i < n; i++)
		names[i] = strchr(c[i].name, '/') + 1;
	return ops_subnet_delete(a->o, split(c->name).first, names, n, existed, err);
}

static int repair_subnets(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	_seen_ struct seen *seen = NULL;
	_buf_ struct buf why = {0};
	int r = seen_read(a->o->host, &seen, err);

	for (size_t i = 0; !r && i < n; i++) {
		struct halves h = split(c[i].name);
		struct subnet s;
		struct vpc v;
		bool changed;

		r = vpc_load(a->o->st, h.first, &v, err);
		if (!r)
			r = subnet_load(a->o->st, h.first, h.second, &s, err);
		if (!r)
			r = ops_policy_repair(a->o, &s, &changed, err);
		if (!r)
			r = ops_repair_subnet(a->o, seen, &v, &s, REPAIR_DO, &why, err);
	}
	return r;
}

/* ---- policies ---- */

static int apply_policies(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	_free_ struct subnet *s = xcalloc(n, sizeof(*s));
	int r = 0;

	for (size_t i = 0; !r && i < n; i++) {
		const struct config_subnet *want = c[i].want;

		r = subnet_load(a->o->st, want->s.vpc, want->s.name, &s[i], err);
	}
	return r ? r
		 : ops_policy_apply(a->o, s, n, ((const struct config_subnet *)c->want)->policy,
				    err);
}

static int remove_policy(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	struct halves h = split(c->name);
	struct subnet s;
	bool existed;
	int r = subnet_load(a->o->st, h.first, h.second, &s, err);

	(void)n;
	return r ? r : ops_policy_remove(a->o, &s, &existed, err);
}

/* ---- peerings ---- */

static int add_peer(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	const struct config_peer *want = c->want;
	_buf_ struct buf allow = {0};
	struct peer made;

	(void)n;
	tell_allowed(&want->p, &allow);
	return ops_peer_add(a->o, want->p.a, want->p.b, want->p.n_allow ? allow.data : NULL, &made,
			    err);
}

static int remove_peer(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	struct halves h = split(c->name);
	bool existed;

	(void)n;
	return ops_peer_delete(a->o, h.first, h.second, &existed, err);
}

/* ---- virtual machines ---- */

static int add_vms(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	_free_ struct port_with *with = xcalloc(n, sizeof(*with));
	_free_ struct port *p = xcalloc(n, sizeof(*p));

	for (size_t i = 0; i < n; i++) {
		const struct config_vm *want = c[i].want;

		p[i] = want->p;
		with[i] = (struct port_with){.policy = want->policy, .ways = ways_of(a, want->use)};
	}
	return ops_ports_add(a->o, p, NULL, with, n, err);
}

/* With the machine, for one. */
static bool is_in_force(struct applying *a, const struct port *p, const char *file)
{
	_cleanup_(policy_row_done) struct policy_row row = {0};
	struct policy_owner owner = port_owner(p);
	_buf_ struct buf text = {0}, why = {0};

	return !policy_load(a->o->st, &owner, &row, NULL) &&
	       !file_read(file, DOC_SIZE_MAX, &text, NULL) && !diff_policy(text.data, &row, &why);
}

static int apply_vm_policies(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	_free_ const char **files = xcalloc(n, sizeof(*files));
	_free_ struct port *p = xcalloc(n, sizeof(*p));
	size_t todo = 0;
	int r = 0;

	for (size_t i = 0; !r && i < n; i++) {
		const struct config_vm *want = c[i].want;

		r = port_load(a->o->st, want->p.vpc, want->p.name, &p[todo], err);
		files[todo] = want->policy;
		if (r || c[i].action != CHANGE_ADD || !is_in_force(a, &p[todo], want->policy))
			todo++;
	}
	return r || !todo ? r : ops_ports_policy_apply(a->o, p, files, todo, err);
}

static int remove_vm_policy(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	struct halves h = split(c->name);
	struct port p;
	bool existed;
	int r = port_load(a->o->st, h.first, h.second, &p, err);

	(void)n;
	return r ? r : ops_port_policy_remove(a->o, &p, &existed, err);
}

static int update_vm(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	(void)n;
	return ops_port_set_rates(a->o, &((const struct config_vm *)c->want)->p, err);
}

static int remove_vms(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	_free_ struct port *p = xcalloc(n, sizeof(*p));
	int r = 0;

	for (size_t i = 0; !r && i < n; i++) {
		struct halves h = split(c[i].name);

		r = port_load(a->o->st, h.first, h.second, &p[i], err);
	}
	return r ? r : ops_ports_delete(a->o, p, n, err);
}

static int repair_vms(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	_seen_ struct seen *seen = NULL;
	_buf_ struct buf why = {0};
	int r = seen_read(a->o->host, &seen, err);

	for (size_t i = 0; !r && i < n; i++) {
		struct halves h = split(c[i].name);
		struct port p;
		struct vpc v;

		r = vpc_load(a->o->st, h.first, &v, err);
		if (!r)
			r = port_load(a->o->st, h.first, h.second, &p, err);
		if (!r)
			r = ops_repair_port(a->o, seen, &v, &p, REPAIR_DO, &why, err);
	}
	return r;
}

/* ---- published ports ---- */

static int add_ports(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	_free_ struct mapping *m = xcalloc(n, sizeof(*m));
	size_t n_new;

	for (size_t i = 0; i < n; i++)
		m[i] = ((const struct config_publish *)c[i].want)->m;
	return ops_mappings_add(a->o, m, n, &n_new, err);
}

static int by_vpc(const void *a, const void *b)
{
	return strcmp(((const struct mapping *)a)->vpc, ((const struct mapping *)b)->vpc);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Of m those that are among the changes, to the front. */
static size_t find_ports(struct mapping *m, size_t n_mappings, const struct change *c, size_t n)
{
	_free_ const char **names = xcalloc(n, sizeof(*names));
	size_t found = 0;

	for (size_t i = 0; i < n; i++)
		names[i] = c[i].name;
	qsort(names, n, sizeof(*names), by_text);
	for (size_t i = 0; i < n_mappings; i++) {
		char text[OBJECT_MAX];
		const char *name = text;

		mapping_name(&m[i], text);
		if (bsearch(&name, names, n, sizeof(*names), by_text))
			m[found++] = m[i];
	}
	return found;
}

static int remove_ports(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	_free_ struct mapping *m = NULL;
	size_t found = 0;
	int r = mapping_list(a->o->st, NULL, &m, &found, err);

	if (!r)
		found = find_ports(m, found, c, n);
	if (!r && found)
		qsort(m, found, sizeof(*m), by_vpc);
	for (size_t i = 0, end; !r && i < found; i = end) {
		for (end = i + 1; end < found && !by_vpc(&m[i], &m[end]); end++)
			;
		r = ops_mappings_delete(a->o, &m[i], end - i, err);
	}
	return r;
}

/* ---- egresses ---- */

static int add_egress(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	const struct config_egress *want = c->want;
	struct egress_params p = {
		.name = want->name, .spec = &want->spec, .path = want->path, .replace = true};
	bool changed;

	(void)n;
	return ops_egress_add(a->o, &p, &changed, err);
}

static int remove_egress(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	bool existed;

	(void)n;
	return ops_egress_delete(a->o, c->name, &existed, err);
}

static int use(struct applying *a, const struct change *c, const char *ways, const char *exclude,
	       struct err *err)
{
	bool changed;

	if (c->kind == KIND_VM_USE)
		return ops_egress_use_port(a->o, c->name, ways, &changed, err);
	return strcmp(c->name, USE_HOST_NAME)
		       ? ops_egress_use(a->o, c->name, ways, &changed, err)
		       : ops_egress_use_host(a->o, ways, exclude, &changed, err);
}

static int add_use(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	const struct config_use *want = c->want;

	(void)n;
	return use(a, c, want->ways, want->exclude, err);
}

static int remove_use(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	(void)n;
	return use(a, c, EGRESS_NAT, NULL, err);
}

/* The process takes the lock that this one has. What comes after it makes no objects, so that
 * nobody has to be told again whose they are. */
static int start_process(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	enum fw_backend_id backend = a->o->backend;
	bool ran;
	int r;

	(void)n;
	oplog_add(&a->o->log, NULL, "byway egress run --detach %s", c->name);
	if (a->o->log.dry_run)
		return 0;
	ops_suspend(a->o);
	r = ops_egress_stop(c->name, backend, &ran, err);
	if (!r)
		r = ops_egress_start(a->self, c->name, backend, err);
	return ops_open(a->o, STORE_WRITE, r ? NULL : err) ? -EIO : r;
}

static int restore_rules(struct applying *a, const struct change *c, size_t n, struct err *err)
{
	(void)c;
	(void)n;
	return ops_rules_restore(a->o, err);
}

/* ---- all of them ---- */

/* Carries out n changes of the same kind and action. */
typedef int (*carry_fn)(struct applying *a, const struct change *c, size_t n, struct err *err);

enum together {
	ALONE,
	OF_A_VPC,  /* all at once of one VPC */
	OF_A_FILE, /* of one policy file */
	PORTS_OF_A_VPC,
	ALL,
};

static const struct {
	const char *name; /* as in the state: owner.h */
	carry_fn carry[CHANGE_NUM_ACTIONS];
	enum together together[CHANGE_NUM_ACTIONS];
} kinds[] = {
	[KIND_VPC] = {"vpc",
		      {[CHANGE_ADD] = add_vpc,
		       [CHANGE_UPDATE] = update_vpc,
		       [CHANGE_REPAIR] = repair_vpcs,
		       [CHANGE_REMOVE] = remove_vpcs},
		      {[CHANGE_REPAIR] = ALL, [CHANGE_REMOVE] = ALL}},
	[KIND_NAT] = {"nat",
		      {[CHANGE_ADD] = add_nat,
		       [CHANGE_UPDATE] = update_nat,
		       [CHANGE_REMOVE] = remove_nat}},
	[KIND_SUBNET] = {"subnet",
			 {[CHANGE_ADD] = add_subnets,
			  [CHANGE_UPDATE] = update_subnet,
			  [CHANGE_REPAIR] = repair_subnets,
			  [CHANGE_REMOVE] = remove_subnets},
			 {[CHANGE_ADD] = OF_A_VPC, [CHANGE_REPAIR] = ALL, [CHANGE_REMOVE] = OF_A_VPC}},
	[KIND_POLICY] = {"policy",
			 {[CHANGE_ADD] = apply_policies,
			  [CHANGE_UPDATE] = apply_policies,
			  [CHANGE_REPAIR] = apply_policies,
			  [CHANGE_REMOVE] = remove_policy},
			 {[CHANGE_ADD] = OF_A_FILE,
			  [CHANGE_UPDATE] = OF_A_FILE,
			  [CHANGE_REPAIR] = OF_A_FILE}},
	[KIND_PEERING] = {"peering",
			  {[CHANGE_ADD] = add_peer,
			   [CHANGE_UPDATE] = add_peer,
			   [CHANGE_REMOVE] = remove_peer}},
	[KIND_VM] = {"vm",
		     {[CHANGE_ADD] = add_vms,
		      [CHANGE_UPDATE] = update_vm,
		      [CHANGE_REPAIR] = repair_vms,
		      [CHANGE_REMOVE] = remove_vms},
		     {[CHANGE_ADD] = OF_A_VPC, [CHANGE_REPAIR] = ALL, [CHANGE_REMOVE] = OF_A_VPC}},
	[KIND_VM_POLICY] = {"vm-policy",
			    {[CHANGE_ADD] = apply_vm_policies,
			     [CHANGE_UPDATE] = apply_vm_policies,
			     [CHANGE_REMOVE] = remove_vm_policy},
			    {[CHANGE_ADD] = ALL, [CHANGE_UPDATE] = ALL}},
	[KIND_PUBLISH] = {"publish",
			  {[CHANGE_ADD] = add_ports, [CHANGE_REMOVE] = remove_ports},
			  {[CHANGE_ADD] = PORTS_OF_A_VPC, [CHANGE_REMOVE] = ALL}},
	[KIND_EGRESS] = {"egress",
			 {[CHANGE_ADD] = add_egress,
			  [CHANGE_UPDATE] = add_egress,
			  [CHANGE_REMOVE] = remove_egress}},
	[KIND_USE] =
		{"use",
		 {[CHANGE_ADD] = add_use, [CHANGE_UPDATE] = add_use, [CHANGE_REMOVE] = remove_use}},
	[KIND_VM_USE] =
		{"vm-use",
		 {[CHANGE_ADD] = add_use, [CHANGE_UPDATE] = add_use, [CHANGE_REMOVE] = remove_use}},
	[KIND_PROCESS] = {"process", {[CHANGE_UPDATE] = start_process}},
	[KIND_RULES] = {"rules", {[CHANGE_REPAIR] = restore_rules}},
};
static_assert(ARRAY_SIZE(kinds) == KIND_NUM_KINDS, "kinds[] doesn't match change_kind");

const char *change_kind_name(enum change_kind k)
{
	return kinds[k].name;
}

static bool go_together(const struct change *a, const struct change *b)
{
	size_t vpc = strcspn(a->name, "/") + 1;

	if (a->kind != b->kind || a->action != b->action)
		return false;
	switch (kinds[a->kind].together[a->action]) {
	case ALONE:
		return a->action == CHANGE_ADOPT;
	case OF_A_VPC:
		return !strncmp(a->name, b->name, vpc);
	case PORTS_OF_A_VPC:
		return !strcmp(((const struct config_publish *)a->want)->m.vpc,
			       ((const struct config_publish *)b->want)->m.vpc);
	case ALL:
		return true;
	case OF_A_FILE:
		return !strcmp(((const struct config_subnet *)a->want)->policy,
			       ((const struct config_subnet *)b->want)->policy);
	}
	return false;
}

/* How many of the changes from this one on are made together. */
static size_t made_together(const struct plan *p, size_t first)
{
	size_t n = 1;

	while (first + n < p->n && go_together(&p->changes[first], &p->changes[first + n]))
		n++;
	return n;
}

static int adopt_one(struct ops *o, const struct plan *p, const struct change *c, struct err *err)
{
	int r = owner_adopt(o->st, kinds[c->kind].name, c->name, p->file, err);

	return r || c->kind != KIND_EGRESS ? r : egress_set_path(o->st, c->name, p->file, err);
}

static int adopt(struct ops *o, const struct plan *p, const struct change *c, size_t n,
		 struct err *err)
{
	int r = ops_begin(o, err);

	for (size_t i = 0; !r && i < n; i++)
		r = adopt_one(o, p, &c[i], err);
	return ops_end(o, r, err);
}

static int carry_out(struct applying *a, struct plan *p, size_t first, size_t n, struct err *err)
{
	struct change *c = &p->changes[first];
	int r = c->action == CHANGE_ADOPT ? adopt(a->o, p, c, n, err)
					  : kinds[c->kind].carry[c->action](a, c, n, err);

	for (size_t i = 0; i < n; i++)
		c[i].state = r ? CHANGE_FAILED : CHANGE_DONE;
	return r;
}

/* Its own transaction: temporary tables and triggers, too, end with one that is rolled back. */
static int begin_owning(struct ops *o, const char *file, struct err *err)
{
	int r = ops_begin(o, err);

	if (!r)
		r = owner_begin(o->st, file, err);
	return ops_end(o, r, err);
}

/* What goes with the last VPC goes after its row: a crash between leaves what no row knows of. */
static int tidy(struct ops *o, struct err *err)
{
	int64_t users = 0;
	int r = ops_forwarding_users(o, &users, err);

	if (!r && !users)
		r = ops_unpublish_all(o, err);
	return r ? r : ops_forwarding_restore(o, NULL, err);
}

int ops_apply(struct ops *o, struct plan *p, const struct apply_params *w, struct err *err)
{
	struct applying a = {.o = o, .self = w->self, .config = p->config};
	int r = begin_owning(o, p->file, err);

	o->names_may_come = true; /* the plan has seen that they do */

	for (size_t i = 0, n; !r && i < p->n; i += n) {
		n = made_together(p, i);
		w->begin(w->arg, p, i, n);
		r = carry_out(&a, p, i, n, err);
		w->end(w->arg, p, i, n);
	}
	return r ? r : tidy(o, err);
}
