// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What ebtables cannot look at: the target of neighbour advertisements.
 *
 * Rules that match FW_ND_TARGET, with the jumps that lead to them and all sets of their table, go
 * to a table of nf_tables of the same name, wherever the kernel has nf_tables; it does when
 * ebtables is the nf_tables variant. They drop, so that having them beside the other rules, and
 * not between them, can only drop more.
 */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "firewall/backend.h"
#include "firewall/iptables.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"

static bool is_about_target(const struct fw_rule *r)
{
	for (size_t i = 0; i < r->n_matches && r->verdict == FW_DROP; i++)
		for (size_t j = 0; j < r->match[i].n_fields; j++)
			if (r->match[i].fields[j] == FW_ND_TARGET)
				return true;
	return false;
}

static bool leads_to_target(const struct fw_chain *c);

static bool is_kept(const struct fw_rule *r)
{
	return is_about_target(r) || (r->verdict == FW_JUMP && leads_to_target(r->target));
}

static bool leads_to_target(const struct fw_chain *c)
{
	for (const struct fw_rule *r = c->rules; r; r = r->next)
		if (is_kept(r))
			return true;
	return false;
}

static bool has_target(const struct fw_table *t)
{
	for (const struct fw_chain *c = t->chains; c; c = c->next)
		if (leads_to_target(c))
			return true;
	return false;
}

static struct fw_chain *find_chain(const struct fw_table *t, const char *name)
{
	struct fw_chain *c = t->chains;

	while (strcmp(c->name, name) != 0)
		c = c->next;
	return c;
}

static const struct fw_set *find_set(const struct fw_table *t, const char *name)
{
	const struct fw_set *s = t->sets;

	while (strcmp(s->name, name) != 0)
		s = s->next;
	return s;
}

static void copy_set(struct fw_table *to, const struct fw_set *s)
{
	struct fw_set *copy = s->interval ? fw_interval_set(to, s->name, s->n_fields, s->fields)
					  : fw_set(to, s->name, s->n_fields, s->fields);

	for (size_t i = 0; i < s->n_elems; i++)
		fw_set_add(copy, &s->elems[i]);
}

static void copy_chain(struct fw_table *to, const struct fw_chain *c)
{
	if (c->hook)
		fw_base_chain(to, c->name, c->type, c->hook, c->priority, FW_ACCEPT);
	else
		fw_chain(to, c->name);
}

static void copy_rule(struct fw_table *to, struct fw_chain *c, const struct fw_rule *r)
{
	struct fw_rule *copy = fw_rule(c, r->verdict);

	memcpy(copy->match, r->match, sizeof(copy->match));
	copy->n_matches = r->n_matches;
	for (size_t i = 0; i < copy->n_matches; i++)
		if (copy->match[i].set)
			copy->match[i].set = find_set(to, copy->match[i].set->name);
	if (r->target)
		copy->target = find_chain(to, r->target->name);
}

static void copy_table(struct ruleset *to, const struct fw_table *t)
{
	struct fw_table *copy = ruleset_table(to, t->family, t->name);

	for (const struct fw_set *s = t->sets; s; s = s->next)
		copy_set(copy, s);
	for (const struct fw_chain *c = t->chains; c; c = c->next)
		if (leads_to_target(c))
			copy_chain(copy, c);
	for (const struct fw_chain *c = t->chains; c; c = c->next)
		for (const struct fw_rule *r = c->rules; r; r = r->next)
			if (is_kept(r))
				copy_rule(copy, find_chain(copy, c->name), r);
}

/* The bridge tables of rs: those with such rules, reduced to them; or their names alone. */
static void take_bridge(const struct ruleset *rs, bool with_content, struct ruleset *ret)
{
	ruleset_init(ret);
	for (const struct fw_table *t = rs->tables; t; t = t->next) {
		if (t->family != FW_BRIDGE)
			continue;
		if (!with_content)
			ruleset_table(ret, t->family, t->name);
		else if (has_target(t))
			copy_table(ret, t);
	}
}

/* Whether nf_tables is here; a dry run shows what would be done if it were. */
static bool works(struct netns *ns)
{
	return oplog_dry(ns->log) || fw_native.probe(ns, NULL) == 0;
}

int ebtables_nd_apply(struct netns *ns, const struct ruleset *rs, struct err *err)
{
	_ruleset_ struct ruleset part;

	take_bridge(rs, true, &part);
	return part.tables && works(ns) ? fw_native.apply(ns, &part, err) : 0;
}

/* Sets, without chains: all that an update has. */
static void take_sets(const struct ruleset *rs, struct ruleset *ret)
{
	ruleset_init(ret);
	for (const struct fw_table *t = rs->tables; t; t = t->next) {
		struct fw_table *copy;

		if (t->family != FW_BRIDGE)
			continue;
		copy = ruleset_table(ret, t->family, t->name);
		for (const struct fw_set *s = t->sets; s; s = s->next)
			copy_set(copy, s);
	}
}

int ebtables_nd_update(struct netns *ns, const struct ruleset *add, const struct ruleset *del,
		       struct err *err)
{
	_ruleset_ struct ruleset some, others;
	struct err why = {0};
	int r;

	take_sets(add, &some);
	take_sets(del, &others);
	if (!works(ns))
		return 0;
	r = fw_native.update(ns, &some, &others, &why);
	if (r == -ENOENT) /* there were no such rules, so that there is no such table */
		return 0;
	if (r && err)
		*err = why;
	return r;
}

int ebtables_nd_remove(struct netns *ns, const struct ruleset *rs, struct err *err)
{
	_ruleset_ struct ruleset part;

	take_bridge(rs, false, &part);
	return part.tables && works(ns) ? fw_native.remove(ns, &part, err) : 0;
}

int ebtables_nd_verify(struct netns *ns, const struct ruleset *rs, struct err *err)
{
	_ruleset_ struct ruleset part;

	take_bridge(rs, true, &part);
	return part.tables && works(ns) ? fw_native.verify(ns, &part, err) : 0;
}
