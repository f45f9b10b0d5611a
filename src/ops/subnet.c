// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "kernel/netns.h"
#include "ops/dns.h"
#include "ops/egress.h"
#include "ops/ops.h"
#include "ops/segments.h"
#include "vpc/host_rules.h"
#include "vpc/names.h"
#include "vpc/net.h"
#include "vpc/plan.h"
#include "vpc/policy.h"
#include "vpc/way.h"

#define PREFIX4_DEFAULT 24
#define PREFIX6_DEFAULT 64

/* One command's subnets on their way up. */
struct job {
	struct ops *o;
	struct vpc vpc;
	struct subnet *subnets;
	const struct subnet_params *params; /* of each; borrowed */
	size_t n;
	struct subnet *existing; /* of the VPC, before */
	size_t n_existing;
	struct slicer slices, slices6;
	struct segments segments;
};

static void job_done(struct job *j)
{
	free(j->subnets);
	free(j->existing);
	segments_done(&j->segments);
	slicer_done(&j->slices);
	slicer_done(&j->slices6);
}

static int check_overlap(const struct subnet *s, const struct subnet *other, struct err *err)
{
	char mine[CIDR_STRLEN], theirs[CIDR_STRLEN];
	const struct cidr *a = &s->cidr, *b = &other->cidr;

	if (!cidr_overlaps(a, b)) {
		a = &s->cidr6;
		b = &other->cidr6;
		if (!a->addr.family || !b->addr.family || !cidr_overlaps(a, b))
			return 0;
	}
	return err_set(err, ERR_CONFLICT, -EEXIST, "%s overlaps subnet '%s/%s' (%s)",
		       cidr_format(a, mine), other->vpc, other->name, cidr_format(b, theirs));
}

static int check_against(const struct subnet *s, const struct subnet *others, size_t n,
			 struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		int r = 0;

		if (!strcmp(s->name, others[i].name))
			r = err_set(err, ERR_CONFLICT, -EEXIST, "subnet '%s/%s' exists already", s->vpc,
				    s->name);
		if (!r)
			r = check_overlap(s, &others[i], err);
		if (r)
			return r;
	}
	return 0;
}

static int plan_cidrs(struct job *j, const struct subnet_params *p, struct subnet *s,
		      struct err *err)
{
	bool v6 = j->vpc.cidr6.addr.family;
	int r = p->cidr ? plan_subnet_cidr(&j->vpc, p->cidr, AF_INET, &s->cidr, err)
			: slicer_next(&j->slices, &s->cidr, err);

	if (r)
		return r;
	if (p->cidr6)
		return plan_subnet_cidr(&j->vpc, p->cidr6, AF_INET6, &s->cidr6, err);
	return v6 ? slicer_next(&j->slices6, &s->cidr6, err) : 0;
}

static void make_mac(struct subnet *s)
{
	char seed[NAME_MAX_LEN * 2 + 16];

	snprintf(seed, sizeof(seed), "byway:subnet/%s/%s", s->vpc, s->name);
	s->mac = mac_from_name(seed);
}

static int plan_one(struct job *j, const struct subnet_params *p, struct subnet *s,
		    struct err *err)
{
	int r = name_check("subnet", p->name, err);

	if (r)
		return r;
	str_copy(s->vpc, sizeof(s->vpc), j->vpc.name);
	str_copy(s->name, sizeof(s->name), p->name);
	s->is_public = p->is_public;
	s->state = ROW_CREATING;
	now_utc(s->created);
	make_mac(s);
	r = plan_cidrs(j, p, s, err);
	/* Free slices overlap nothing; a thousand of them need not be compared with each other. */
	if (!r && (p->cidr || p->cidr6))
		r = check_against(s, j->subnets, (size_t)(s - j->subnets), err);
	if (!r)
		r = check_against(s, j->existing, j->n_existing, err);
	return r;
}

/* What a crash left of subnets goes first; then the networks that are taken are known. */
static int load_existing(struct job *j, struct err *err)
{
	size_t n = 0, kept = 0;
	int r = subnet_list(j->o->st, j->vpc.name, &j->existing, &n, err);

	_free_ struct subnet *left = xcalloc(n + 1, sizeof(*left));
	size_t n_left = 0;

	for (size_t i = 0; !r && i < n; i++) {
		if (j->existing[i].state == ROW_ACTIVE)
			j->existing[kept++] = j->existing[i];
		else
			left[n_left++] = j->existing[i];
	}
	j->n_existing = kept;
	return r || !n_left ? r : ops_teardown_subnets(j->o, &j->vpc, left, n_left, err);
}

static int init_slices(struct job *j, const struct subnet_params *p, size_t n)
{
	_free_ struct cidr *taken = xcalloc(j->n_existing + n + 1, sizeof(*taken));
	_free_ struct cidr *taken6 = xcalloc(j->n_existing + n + 1, sizeof(*taken6));
	unsigned int prefix = n && p[0].prefix ? p[0].prefix : PREFIX4_DEFAULT;
	size_t k = 0, k6 = 0;

	for (size_t i = 0; i < j->n_existing; i++) {
		taken[k++] = j->existing[i].cidr;
		if (j->existing[i].cidr6.addr.family)
			taken6[k6++] = j->existing[i].cidr6;
	}
	for (size_t i = 0; i < n; i++) { /* what this command names itself */
		if (p[i].cidr && !cidr_parse(p[i].cidr, &taken[k], NULL))
			k++;
		if (p[i].cidr6 && !cidr_parse(p[i].cidr6, &taken6[k6], NULL))
			k6++;
	}
	slicer_init(&j->slices, &j->vpc.cidr, prefix, taken, k);
	if (j->vpc.cidr6.addr.family)
		slicer_init(&j->slices6, &j->vpc.cidr6, MAX(PREFIX6_DEFAULT, j->vpc.cidr6.prefix), taken6,
			    k6);
	return 0;
}

static int load(struct job *j, const char *vpc, const struct subnet_params *p, size_t n,
		struct err *err)
{
	int r = ops_vpc_active(j->o, vpc, &j->vpc, err);

	if (!r && j->vpc.flat)
		r = err_set(
			err, ERR_CONFLICT, -EBUSY,
			"'%s' is a flat network, which has no subnets: see `byway vm add --help`",
			vpc);
	if (!r)
		r = load_existing(j, err);
	if (!r)
		r = segments_init(&j->segments, j->o, &j->vpc, err);
	return r ? r : init_slices(j, p, n);
}

static int plan(struct job *j, const struct subnet_params *p, size_t n, struct err *err)
{
	j->subnets = xcalloc(n + 1, sizeof(*j->subnets));
	j->params = p;
	j->n = n;
	for (size_t i = 0; i < n; i++) {
		int r = plan_one(j, &p[i], &j->subnets[i], err);

		if (r)
			return r;
	}
	return 0;
}

/* Somebody may have given a port the MAC that this one will have. */
static int check_mac(struct job *j, const struct subnet *s, struct err *err)
{
	_stmt_ struct sqlite3_stmt *q = NULL;
	char mac[MAC_STRLEN];
	int r = store_query(j->o->st, &q, err, "SELECT 1 FROM port WHERE vpc = ?1 AND mac = ?2", "ss",
			    s->vpc, mac_format(&s->mac, mac));

	if (!r)
		r = store_step(j->o->st, q, err);
	return r <= 0 ? r
		      : err_set(err, ERR_CONFLICT, -EEXIST,
				"a VM or container in '%s' has the MAC address %s, which would be "
				"subnet '%s''s", s->vpc, mac, s->name);
}

/* Names, addresses and the row: the intent. */
static int insert(struct job *j, struct subnet *s, struct err *err)
{
	int r = check_mac(j, s, err);

	if (!r)
		r = name_subnet(j->o->st, j->o->host, s, err);

	if (!r)
		r = ops_lease(j->o, &j->vpc, s->name, &s->cidr, s->name, &s->addr, err);
	if (!r && s->cidr6.addr.family)
		r = ops_lease(j->o, &j->vpc, s->name, &s->cidr6, s->name, &s->addr6, err);
	return r ? r : subnet_insert(j->o->st, s, err);
}

static int intend(struct job *j, struct err *err)
{
	int r = ops_begin(j->o, err);

	for (size_t i = 0; !r && i < j->n; i++) {
		r = segments_place(&j->segments, &j->subnets[i].segment, err);
		if (!r)
			r = insert(j, &j->subnets[i], err);
	}
	return ops_end(j->o, r, err);
}

static int firewall_up(struct job *j, struct err *err)
{
	_host_rules_ struct host_rules add = {0};
	struct nat nat;
	bool has_nat = !nat_load(j->o->st, j->vpc.name, &nat, NULL) && nat.state == ROW_ACTIVE;

	host_rules_init(&add);
	for (size_t i = 0; i < j->n; i++) {
		const struct subnet *s = &j->subnets[i];

		host_rules_subnet(&add, s);
		if (has_nat && s->is_public && !use_is_there(j->o->st, USE_SUBNET, s->vpc, s->name))
			host_rules_nat(&add, &s->cidr, &s->cidr6, nat.interface);
	}
	return ops_host_update(j->o, &add, NULL, err);
}

/* Before anything could leave by NAT. */
static int ways_up(struct job *j, struct err *err)
{
	char name[2 * NAME_MAX_LEN];
	bool changed;
	int r = 0;

	for (size_t i = 0; !r && i < j->n; i++) {
		snprintf(name, sizeof(name), "%s/%s", j->vpc.name, j->subnets[i].name);
		if (j->params[i].ways)
			r = ops_egress_use(j->o, name, j->params[i].ways, &changed, err);
	}
	return r;
}

static int one_up(struct job *j, const struct subnet *s, const struct ruleset *baseline,
		  struct err *err)
{
	_netns_ struct netns *ns = NULL;
	int r = subnet_up(j->o->host, &j->vpc, s, segments_bridge(&j->segments, s->segment), &ns,
			  err);

	if (!r)
		r = firewall_apply(j->o->fw, ns, baseline, err);
	return r ? r : ops_dns_add_subnet(j->o, &j->vpc, s, err);
}

static int finish(struct job *j, struct err *err)
{
	int r = ops_begin(j->o, err);

	if (!r)
		r = segments_finish(&j->segments, err);
	for (size_t i = 0; !r && i < j->n; i++) {
		j->subnets[i].state = ROW_ACTIVE;
		r = subnet_set_state(j->o->st, &j->subnets[i], ROW_ACTIVE, err);
	}
	r = ops_end(j->o, r, err);
	return r ? r : ops_publish(j->o, j->vpc.name, err);
}

static int refresh_policies(struct job *j, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < j->n; i++)
		r = ops_policy_refresh(j->o, j->subnets[i].name, err);
	return r;
}

static int bring_up(struct job *j, struct err *err)
{
	_ruleset_ struct ruleset baseline;
	int r;

	ruleset_init(&baseline);
	policy_ruleset(NULL, "", &baseline);
	r = refresh_policies(j, err);
	if (!r)
		r = ways_up(j, err);
	if (!r)
		r = firewall_up(j, err);
	if (!r)
		r = segments_up(&j->segments, err);
	for (size_t i = 0; !r && i < j->n; i++) {
		r = one_up(j, &j->subnets[i], &baseline, err);
		if (r)
			err_context(err, "subnet '%s/%s'", j->vpc.name, j->subnets[i].name);
	}
	return r ? r : finish(j, err);
}

int ops_subnet_add(struct ops *o, const char *vpc, const struct subnet_params *p, size_t n,
		   struct subnet *ret, struct err *err)
{
	_cleanup_(job_done) struct job j = {.o = o};
	int r = load(&j, vpc, p, n, err);

	if (!r)
		r = plan(&j, p, n, err);
	if (!r)
		r = ops_firewall(o, err);
	if (!r)
		r = intend(&j, err);
	if (r)
		return r;
	r = bring_up(&j, err);
	if (r) {
		ops_teardown_subnets(o, &j.vpc, j.subnets, n, NULL);
		segments_undo(&j.segments);
		return r;
	}
	if (ret)
		memcpy(ret, j.subnets, n * sizeof(*ret));
	return 0;
}

/* The row's change is not committed before the elements' is made: whoever is killed between leaves
 * what can be asked for again. */
int ops_subnet_set_type(struct ops *o, const struct subnet *s, struct err *err)
{
	_host_rules_ struct host_rules h = {0};
	struct nat nat;
	bool has_nat = !nat_load(o->st, s->vpc, &nat, NULL) && nat.state == ROW_ACTIVE &&
		       !use_is_there(o->st, USE_SUBNET, s->vpc, s->name);
	int r = ops_begin(o, err);

	if (!r)
		r = subnet_set_type(o->st, s, err);
	if (!r && has_nat) {
		host_rules_init(&h);
		host_rules_nat(&h, &s->cidr, &s->cidr6, nat.interface);
		r = ops_host_update(o, s->is_public ? &h : NULL, s->is_public ? NULL : &h, err);
	}
	r = ops_end(o, r, err);
	if (r && has_nat)
		ops_host_sync(o, NULL);
	return r ? r : ops_publish(o, s->vpc, err);
}

int ops_subnet_delete(struct ops *o, const char *vpc, const char *const names[], size_t n,
		      bool ret_existed[], struct err *err)
{
	_free_ struct subnet *s = xcalloc(n + 1, sizeof(*s));
	size_t found = 0;
	struct vpc v;
	int r = vpc_load(o->st, vpc, &v, NULL);

	memset(ret_existed, 0, n * sizeof(*ret_existed));
	for (size_t i = 0; !r && i < n; i++) {
		r = subnet_load(o->st, vpc, names[i], &s[found], NULL);
		ret_existed[i] = !r;
		found += !r;
		r = r == -ENOENT ? 0 : r;
	}
	if (r && r != -ENOENT)
		return err_errno(err, r, "cannot look up the subnets of '%s'", vpc);
	return found ? ops_teardown_subnets(o, &v, s, found, err) : 0;
}
