// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A subnet's policy. The table in its namespace follows from the state: the row's text, or the
 * baseline without one. It is replaced in one transaction, so there is nothing to intend and nothing
 * half-done; when a crash leaves the two apart, ops_gc() makes the kernel agree with the state.
 */
#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/doc.h"
#include "base/err.h"
#include "base/file.h"
#include "kernel/conntrack.h"
#include "kernel/netns.h"
#include "ops/ops.h"
#include "vpc/policy.h"
#include "vpc/policy_groups.h"
#include "vpc/port.h"

int ops_policy_read(const char *file, struct buf *text, struct policy **ret, struct err *err)
{
	int r = file_read(file, DOC_SIZE_MAX, text, err);

	return r ? r : policy_parse(file, text->data, text->len, ret, err);
}

int ops_policy_names(struct ops *o, const char *vpc, const char *file, struct policy *p,
		     struct err *err)
{
	return o->names_may_come ? policy_groups_resolve(o->st, vpc, p, err)
				 : policy_groups_check(o->st, vpc, file, p, err);
}

char *ops_policy_path(const char *file)
{
	char *full = strcmp(file, "-") ? realpath(file, NULL) : xstrdup("standard input");

	return full ? full : xstrdup(file);
}

/* Does the file say that it is for another subnet? */
static int check_target(const char *file, const struct policy *p, const struct subnet *s,
			struct err *err)
{
	char theirs[CIDR_STRLEN], ours[CIDR_STRLEN];

	if (p->netns && strcmp(p->netns, s->netns))
		return err_set(err, ERR_USAGE, -EINVAL,
			       "%s:%u: this is for namespace '%s', but '%s/%s' is '%s': remove the key "
			       "\"namespace\" to use the file anywhere",
			       file, p->netns_line, p->netns, s->vpc, s->name, s->netns);
	if (p->has_subnet && !cidr_equal(&p->subnet, &s->cidr) && !cidr_equal(&p->subnet, &s->cidr6))
		return err_set(err, ERR_USAGE, -EINVAL,
			       "%s:%u: this is for subnet %s, but '%s/%s' is %s: remove the key \"subnet\" to "
			       "use the file anywhere",
			       file, p->subnet_line, cidr_format(&p->subnet, theirs), s->vpc, s->name,
			       cidr_format(&s->cidr, ours));
	return 0;
}

struct judge {
	const struct policy *p;
	const struct subnet *s;
};

/* A connection opened from inside is judged by egress, any other by ingress. */
static bool judge_flow(struct conntrack_flow *f, void *arg)
{
	const struct judge *j = arg;
	struct ip link_local = mac_link_local(&j->s->mac);
	bool from_here = ip_equal(&f->src, &j->s->addr) || ip_equal(&f->src, &j->s->addr6) ||
			 ip_equal(&f->src, &link_local);
	uint32_t before = f->mark & POLICY_CT_MARK_CUT;
	bool allowed = true;

	if (j->p && f->src.family)
		policy_eval(j->p, from_here ? POLICY_EGRESS : POLICY_INGRESS, &f->src, &f->dst, f->proto,
			    f->dport, &allowed);
	f->mark = allowed ? 0 : POLICY_CT_MARK_CUT;
	return f->mark != before;
}

/* A dry run may be about a subnet that would be made before. */
static int open_inside(struct ops *o, const struct subnet *s, struct netns **ret, struct err *err)
{
	if (!o->log.dry_run || netns_exists(s->netns))
		return netns_open(s->netns, &o->log, ret, err);
	*ret = netns_imagine(s->netns, &o->log);
	return 0;
}

/* In the kernel: the rules, then what was let through under earlier ones. */
static int enforce(struct ops *o, const struct subnet *s, const struct policy *p, struct err *err)
{
	_netns_ struct netns *ns = NULL;
	_ruleset_ struct ruleset rs;
	struct judge judge = {.p = p, .s = s};
	int r;

	ruleset_init(&rs);
	policy_ruleset(p, s->veth_ns, &rs);
	r = open_inside(o, s, &ns, err);
	if (!r)
		r = ops_firewall(o, err);
	if (!r)
		r = firewall_apply(o->fw, ns, &rs, err);
	if (!r && !o->log.dry_run)
		r = firewall_verify(o->fw, ns, &rs, err);
	if (!r)
		r = conntrack_mark_each(ns, POLICY_CT_MARK_CUT, judge_flow, &judge, err);
	ops_rest(o, TAKE_PTR(ns));
	return r;
}

static int parse_row(struct ops *o, const struct subnet *s, const struct policy_row *row,
		     struct policy **ret, struct err *err)
{
	int r = policy_parse(row->file, row->text, strlen(row->text), ret, err);

	return r ? r : policy_groups_resolve(o->st, s->vpc, *ret, err);
}

/* The policy of the row, or NULL. */
static int load_policy(struct ops *o, const struct subnet *s, struct policy **ret, struct err *err)
{
	_cleanup_(policy_row_done) struct policy_row row = {0};
	struct policy_owner owner = subnet_owner(s);
	int r = policy_load(o->st, &owner, &row, NULL);

	*ret = NULL;
	if (r == -ENOENT)
		return 0;
	return r ? err_errno(err, r, "cannot read the policy of '%s/%s'", s->vpc, s->name)
		 : parse_row(o, s, &row, ret, err);
}

/* Back to what the state says, after a failure half-way. */
static void back(struct ops *o, const struct subnet *s)
{
	_policy_ struct policy *old = NULL;

	if (!load_policy(o, s, &old, NULL))
		enforce(o, s, old, NULL);
}

static int apply_one(struct ops *o, const struct subnet *s, const struct policy *p,
		     const char *file, const char *text, struct err *err)
{
	struct policy_owner owner = subnet_owner(s);
	int r = enforce(o, s, p, err);

	if (!r)
		r = policy_save(o->st, &owner, file, text, p, err);
	if (r)
		err_context(err, "subnet '%s/%s'", s->vpc, s->name);
	return r;
}

/* Names are read from where the subnet is: one that has none can be everybody's. *ret: NULL then. */
static int resolve_for(struct ops *o, const struct subnet *s, const struct policy *p,
		       const char *file, const char *text, struct policy **ret, struct err *err)
{
	int r = p->has_groups ? policy_parse(file, text, strlen(text), ret, err) : 0;

	return r || !p->has_groups ? r : ops_policy_names(o, s->vpc, file, *ret, err);
}

/* How many of them, from the first, until one fails. Those are in force, whatever becomes of the rest. */
static int apply_each(struct ops *o, const struct subnet *s, size_t n, const struct policy *p,
		      const char *file, const char *text, size_t *ret_done, struct err *err)
{
	_free_ char *full = ops_policy_path(file);
	int r = ops_begin(o, err);

	for (*ret_done = 0; !r && *ret_done < n; ++*ret_done) {
		_policy_ struct policy *own = NULL;

		r = resolve_for(o, &s[*ret_done], p, file, text, &own, err);
		if (!r)
			r = apply_one(o, &s[*ret_done], own ? own : p, full, text, err);
		if (r)
			break;
	}
	return r;
}

int ops_policy_apply(struct ops *o, const struct subnet *s, size_t n, const char *file,
		     struct err *err)
{
	_policy_ struct policy *p = NULL;
	_buf_ struct buf text = {0};
	size_t done = 0;
	int end, r = ops_policy_read(file, &text, &p, err);

	for (size_t i = 0; !r && i < n; i++) {
		_policy_ struct policy *own = NULL;

		r = check_target(file, p, &s[i], err);
		if (!r)
			r = resolve_for(o, &s[i], p, file, text.data, &own, err);
	}
	if (r)
		return r;
	r = apply_each(o, s, n, p, file, text.data, &done, err);
	end = ops_end(o, 0, r ? NULL : err);
	if (!r && !end)
		return 0;
	/* The one that failed goes back; all of them, when nothing could be kept. */
	for (size_t i = end ? 0 : done; i < MIN(done + 1, n); i++)
		back(o, &s[i]);
	return r ? r : end;
}

int ops_policy_remove(struct ops *o, const struct subnet *s, bool *ret_existed, struct err *err)
{
	_cleanup_(policy_row_done) struct policy_row row = {0};
	struct policy_owner owner = subnet_owner(s);
	int r = policy_load(o->st, &owner, &row, NULL);

	*ret_existed = !r;
	if (r == -ENOENT)
		return 0;
	if (!r)
		r = enforce(o, s, NULL, err);
	if (!r)
		r = ops_begin(o, err);
	if (r)
		return r;
	return ops_end(o, policy_remove(o->st, &owner, err), err);
}

static int compare(struct ops *o, const struct subnet *s, const struct policy *p, struct err *err)
{
	_netns_ struct netns *ns = NULL;
	_ruleset_ struct ruleset rs;
	int r;

	ruleset_init(&rs);
	policy_ruleset(p, s->veth_ns, &rs);
	r = netns_open(s->netns, &o->log, &ns, err);
	if (!r)
		r = ops_firewall(o, err);
	return r ? r : firewall_verify(o->fw, ns, &rs, err);
}

int ops_policy_verify(struct ops *o, const struct subnet *s, struct err *err)
{
	_policy_ struct policy *p = NULL;
	int r = load_policy(o, s, &p, err);

	if (!r && !p)
		r = err_set(err, ERR_NOT_FOUND, -ENOENT, "subnet '%s/%s' has no policy", s->vpc, s->name);
	if (!r)
		r = compare(o, s, p, err);
	if (r == -ESTALE)
		err_append(err, ": `byway policy apply` again, or `byway gc`");
	return r;
}

int ops_subnet_rules_verify(struct ops *o, const struct subnet *s, struct err *err)
{
	_policy_ struct policy *p = NULL;
	int r = load_policy(o, s, &p, err);

	return r ? r : compare(o, s, p, err);
}

int ops_policy_repair(struct ops *o, const struct subnet *s, bool *ret_changed, struct err *err)
{
	_policy_ struct policy *p = NULL;
	int r = load_policy(o, s, &p, err);

	*ret_changed = false;
	if (!r)
		r = compare(o, s, p, err);
	if (r != -ESTALE)
		return r;
	*ret_changed = true;
	return enforce(o, s, p, err);
}

int ops_policy_target(struct ops *o, const char *file, struct subnet *ret, struct err *err)
{
	_policy_ struct policy *p = NULL;
	_free_ struct subnet *all = NULL;
	_buf_ struct buf text = {0};
	size_t n = 0;
	int r = ops_policy_read(file, &text, &p, err);

	if (!r)
		r = subnet_list(o->st, NULL, &all, &n, err);
	for (size_t i = 0; !r && i < n; i++) {
		bool named = p->netns ? !strcmp(p->netns, all[i].netns)
				      : p->has_subnet && cidr_equal(&p->subnet, &all[i].cidr);

		if (!named)
			continue;
		*ret = all[i];
		return 0;
	}
	return r ? r
		 : err_set(err, ERR_NOT_FOUND, -ENOENT,
			   "%s names no existing subnet: its \"namespace\" or \"subnet\" says which", file);
}

/* ---- Names in policies ---- */

/* Whose policy may have the name in it. One that is written with escapes may have any. */
static int query_named(struct ops *o, const char *name, struct sqlite3_stmt **ret, struct err *err)
{
	return store_query(o->st, ret, err,
			   "SELECT kind, vpc, name FROM policy WHERE has_groups"
			   " AND (instr(text, ?1) > 0 OR instr(text, '\\') > 0)",
			   "s", name);
}

static int refresh_subnet(struct ops *o, const char *vpc, const char *name, struct err *err)
{
	bool changed;
	struct subnet s;
	int r = subnet_load(o->st, vpc, name, &s, NULL);

	if (r || s.state != ROW_ACTIVE)
		return r == -ENOENT ? 0 : r;
	r = ops_policy_repair(o, &s, &changed, err);
	return r ? err_context(err, "the policy of '%s/%s'", vpc, name) : 0;
}

int ops_policy_refresh(struct ops *o, const char *name, struct err *err)
{
	static const struct port nobody;
	_stmt_ struct sqlite3_stmt *q = NULL;
	bool has_ports = false;
	int r = query_named(o, name, &q, err);

	while (!r && (r = store_step(o->st, q, err)) == 1) {
		if (!strcmp((const char *)sqlite3_column_text(q, 0), "port")) {
			has_ports = true;
			r = 0;
			continue;
		}
		r = refresh_subnet(o, (const char *)sqlite3_column_text(q, 1),
				   (const char *)sqlite3_column_text(q, 2), err);
	}
	return r || !has_ports ? r : ops_port_rules_sync(o, &nobody, err);
}
