// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Policies of ports. They are all in one table of the host, which follows from the state
 * (vpc/port_rules.h) and is replaced as a whole, in one transaction. When a port comes under its
 * first policy, the table is there before its frames are taken off the bridge: what it is to
 * be kept from passes as before until then, and not longer.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "kernel/conntrack.h"
#include "ops/ops.h"
#include "vpc/host_rules.h"
#include "vpc/net.h"
#include "vpc/policy.h"
#include "vpc/port.h"
#include "vpc/port_rules.h"

/* ---- The table ---- */

static int load(struct ops *o, struct port_rules **ret, struct ruleset *rs, struct err *err)
{
	int r = port_rules_load(o->st, ret, err);

	if (!r)
		r = ops_firewall(o, err);
	if (!r)
		port_rules_build(*ret, rs);
	return r;
}

struct judge {
	const struct port_rules *rules;
	const struct port *port; /* its own connections are judged, also without a policy */
};

static bool is_end_of(const struct conntrack_flow *f, const struct ip *ip)
{
	return ip->family && (ip_equal(&f->src, ip) || ip_equal(&f->from, ip));
}

/* The mark of others' connections is not ours to change. */
static bool judge_flow(struct conntrack_flow *f, void *arg)
{
	const struct judge *j = arg;
	uint32_t before = f->mark & POLICY_CT_MARK_CUT;
	bool allowed;

	if (!port_rules_judge(j->rules, f, &allowed) && !is_end_of(f, &j->port->addr) &&
	    !is_end_of(f, &j->port->addr6))
		return false;
	f->mark = allowed ? 0 : POLICY_CT_MARK_CUT;
	return f->mark != before;
}

static int cut(struct ops *o, const struct port_rules *rules, const struct port *p, struct err *err)
{
	struct judge judge = {.rules = rules, .port = p};

	return conntrack_mark_each(o->host, POLICY_CT_MARK_CUT, judge_flow, &judge, err);
}

int ops_port_rules_sync(struct ops *o, const struct port *changed, struct err *err)
{
	_port_rules_ struct port_rules *rules = NULL;
	_ruleset_ struct ruleset rs;
	int r;

	ruleset_init(&rs);
	r = load(o, &rules, &rs, err);
	if (r)
		return r;
	if (port_rules_empty(rules))
		r = firewall_remove(o->fw, o->host, &rs, err);
	else
		r = firewall_apply(o->fw, o->host, &rs, err);
	if (!r && !port_rules_empty(rules) && !o->log.dry_run)
		r = firewall_verify(o->fw, o->host, &rs, err);
	return r || !changed ? r : cut(o, rules, changed, err);
}

int ops_port_rules_repair(struct ops *o, size_t *count, struct err *err)
{
	_port_rules_ struct port_rules *rules = NULL;
	_ruleset_ struct ruleset rs;
	struct err why;
	int r;

	ruleset_init(&rs);
	r = load(o, &rules, &rs, err);
	if (r)
		return r;
	if (port_rules_empty(rules))
		return ops_rules_remove(o, &rs, err);
	r = firewall_verify(o->fw, o->host, &rs, &why);
	if (r != -ESTALE) {
		if (r && err)
			*err = why;
		return r;
	}
	(*count)++;
	log_info("the rules of ports' policies differ from the state (%s): replaced", why.msg);
	return firewall_apply(o->fw, o->host, &rs, err);
}

int ops_port_rules_remove(struct ops *o, struct err *err)
{
	_ruleset_ struct ruleset rs;

	ruleset_init(&rs);
	ruleset_table(&rs, FW_INET, PORT_RULES_TABLE);
	return ops_rules_remove(o, &rs, err);
}

/* ---- One port's way under a policy, and out of it ---- */

static int take(struct ops *o, const struct vpc *v, struct err *err)
{
	_free_ struct segment *segments = NULL;
	size_t n = 0;
	int r = segment_list(o->st, v->name, &segments, &n, err);

	return r ? r : vpc_take(o->host, v, segments, n, err);
}

int ops_port_take(struct ops *o, struct err *err)
{
	_free_ struct vpc *v = NULL;
	size_t n = 0;
	int r = vpc_list(o->st, &v, &n, err);

	for (size_t i = 0; !r && i < n; i++) {
		if (v[i].state == ROW_ACTIVE)
			r = take(o, &v[i], err);
	}
	return r;
}

int ops_ports_under(struct ops *o, const struct port *p, size_t n, struct err *err)
{
	int64_t all = 0;
	int r = ops_port_rules_sync(o, p, err);

	if (!r)
		r = row_number(o->st, "SELECT COUNT(*) FROM policy WHERE kind = 'port'", NULL, &all,
			       err);
	return r || all > (int64_t)n ? r : ops_port_take(o, err);
}

int ops_port_policy_check(const struct policy *p, const char *file, const struct port *port,
			  struct err *err)
{
	char theirs[CIDR_STRLEN];

	if (p->netns)
		return err_set(err, ERR_USAGE, -EINVAL,
			       "%s:%u: this is for namespace '%s', and '%s/%s' has none: remove the key "
			       "\"namespace\" to use the file anywhere",
			       file, p->netns_line, p->netns, port->vpc, port->name);
	if (p->has_subnet && !cidr_has(&p->subnet, &port->addr) &&
	    !cidr_has(&p->subnet, &port->addr6))
		return err_set(err, ERR_USAGE, -EINVAL,
			       "%s:%u: this is for subnet %s, in which '%s/%s' is not: remove the key "
			       "\"subnet\" to use the file anywhere",
			       file, p->subnet_line, cidr_format(&p->subnet, theirs), port->vpc,
			       port->name);
	return 0;
}

/* A further bridge is not where packets are routed. */
static int check_place(const struct port *p, struct err *err)
{
	if (!p->segment)
		return 0;
	return err_set(
		err, ERR_CONFLICT, -EXDEV,
		"'%s/%s' is on a further bridge of '%s': for a policy it has to be deleted, and "
		"added with one",
		p->vpc, p->name, p->vpc);
}

/* Into the bridge's sets, or out of them. */
static int update_sets(struct ops *o, const struct port *p, size_t n, bool in, struct err *err)
{
	_host_rules_ struct host_rules h = {0};

	host_rules_init(&h);
	for (size_t i = 0; i < n; i++)
		host_rules_policy(&h, &p[i]);
	return in ? ops_host_update(o, &h, NULL, err) : ops_host_update(o, NULL, &h, err);
}

static int save(struct ops *o, const struct port *p, const char *file, struct err *err)
{
	struct policy_owner owner = port_owner(p);
	_policy_ struct policy *policy = NULL;
	_free_ char *full = ops_policy_path(file);
	_buf_ struct buf text = {0};
	int r = ops_policy_read(file, &text, &policy, err);

	if (!r)
		r = ops_policy_names(o, p->vpc, file, policy, err);
	if (!r)
		r = ops_port_policy_check(policy, file, p, err);
	if (!r)
		r = check_place(p, err);
	return r ? r : policy_save(o->st, &owner, full, text.data, policy, err);
}

/* In the kernel; fresh are those of them that have had no policy. */
static int enforce(struct ops *o, const struct port *p, size_t n, const struct port *fresh,
		   size_t n_fresh, struct err *err)
{
	int r = ops_ports_under(o, p, n, err);

	if (!r && n_fresh)
		r = update_sets(o, fresh, n_fresh, true, err);
	return r ? err_context(err, "%s '%s/%s'", port_kind_what(p->kind), p->vpc, p->name) : 0;
}

/* The state is as before again: so shall the kernel be. */
static void back(struct ops *o, const struct port *p, const struct port *fresh, size_t n_fresh)
{
	if (n_fresh)
		update_sets(o, fresh, n_fresh, false, NULL);
	ops_port_rules_sync(o, p, NULL);
}

int ops_ports_policy_apply(struct ops *o, const struct port *p, const char *const files[], size_t n,
			   struct err *err)
{
	_free_ struct port *fresh = xcalloc(n, sizeof(*fresh));
	size_t n_fresh = 0;
	int r = ops_begin(o, err);

	if (r)
		return r;
	for (size_t i = 0; !r && i < n; i++) {
		r = save(o, &p[i], files[i], err);
		if (!p[i].has_policy)
			fresh[n_fresh++] = p[i];
	}
	if (r)
		return ops_end(o, r, err);
	r = enforce(o, p, n, fresh, n_fresh, err);
	r = ops_end(o, r, err);
	if (r)
		back(o, p, fresh, n_fresh);
	return r;
}

int ops_port_policy_remove(struct ops *o, const struct port *p, bool *ret_existed, struct err *err)
{
	struct policy_owner owner = port_owner(p);
	int r;

	*ret_existed = p->has_policy;
	if (!p->has_policy)
		return 0;
	r = ops_begin(o, err);
	if (r)
		return r;
	r = policy_remove(o->st, &owner, err);
	if (!r)
		r = update_sets(o, p, 1, false, err);
	if (!r)
		r = ops_port_rules_sync(o, p, err);
	r = ops_end(o, r, err);
	if (r && !update_sets(o, p, 1, true, NULL))
		ops_port_rules_sync(o, p, NULL);
	return r;
}

int ops_port_policy_verify(struct ops *o, const struct port *p, struct err *err)
{
	_port_rules_ struct port_rules *rules = NULL;
	_ruleset_ struct ruleset rs;
	int r = 0;

	ruleset_init(&rs);
	if (!p->has_policy)
		r = err_set(err, ERR_NOT_FOUND, -ENOENT, "%s '%s/%s' has no policy",
			    port_kind_what(p->kind), p->vpc, p->name);
	if (!r)
		r = load(o, &rules, &rs, err);
	if (!r)
		r = firewall_verify(o->fw, o->host, &rs, err);
	if (!r)
		r = ops_host_verify(o, err);
	if (r == -ESTALE)
		err_append(err, ": `byway gc`");
	return r;
}
