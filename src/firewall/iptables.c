// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * The iptables backend says the same with iptables-restore, ip6tables-restore, ipset and, for the
 * bridge family, ebtables-restore (ebtables.c). Whether these are the legacy programs or their
 * nf_tables variants does not matter.
 *
 * A table becomes chains of ours in iptables' own tables, filter, nat, mangle or raw, as the hook,
 * type and priority of its base chains tell. Each base chain is reached by one jump at the top of
 * the built-in chain; nothing else outside our chains is touched. A set becomes an ipset, a map of
 * destinations a chain with a rule for each element.
 *
 * Applying: read what is there; fill ipsets under names of a new generation; replace all chains of
 * a family in one *-restore, which now look into the new ipsets; destroy the old ones.
 *
 * Invariants:
 *  1. An ipset in use is changed by firewall_update() only; a failure before the commit leaves the
 *     old rules on the old ipsets.
 *  2. Chains of a table that the ruleset no longer has are gone after the same commit.
 *
 * Limits: a commit is atomic for each family and each iptables table (filter, nat, ...), not for
 * all of them together. Verdict maps are replaced as a whole. The tables of one hook are asked
 * in the order of their jumps, not of their priorities.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"
#include "firewall/backend.h"
#include "firewall/compare.h"
#include "firewall/iptables.h"
#include "firewall/ruleset.h"
#include "firewall/text.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"
#include "proc/run.h"

#define RAW_PRIORITY (-200) /* NF_IP_PRI_CONNTRACK: raw stands before it */
#define DESTROY_TRIES 100
#define DESTROY_PAUSE_MS 10

static const struct {
	const char *save;
	const char *restore[6];
} programs[] = {
	[IPT_IP4] = {"iptables-save", {"iptables-restore", "-w", "5", "--noflush", NULL}},
	[IPT_IP6] = {"ip6tables-save", {"ip6tables-restore", "-w", "5", "--noflush", NULL}},
};
static_assert(ARRAY_SIZE(programs) == IPT_NUM_FAMILIES, "programs[] doesn't match enum ipt_family");

static const char *const restore_sets[] = {"ipset", "restore", NULL};
static const char *const update_sets[] = {"ipset", "restore", "-exist", NULL};

/* What is most likely to be refused is tried first, before anything has changed. */
static const char *const builtin_tables[] = {"filter", "nat", "mangle", "raw"};

static const char *const builtin_chains[] = {
	[FW_HOOK_NONE] = "",         [FW_HOOK_PREROUTING] = "PREROUTING",
	[FW_HOOK_INPUT] = "INPUT",   [FW_HOOK_FORWARD] = "FORWARD",
	[FW_HOOK_OUTPUT] = "OUTPUT", [FW_HOOK_POSTROUTING] = "POSTROUTING",
};
static_assert(ARRAY_SIZE(builtin_chains) == FW_NUM_HOOKS, "one chain per enum fw_hook");

/* What is in the kernel. */
struct state {
	struct buf rules[IPT_NUM_FAMILIES]; /* as *-save prints them */
	struct buf sets;                    /* names, one per line */
};

static void state_done(struct state *s)
{
	for (size_t i = 0; i < IPT_NUM_FAMILIES; i++)
		buf_done(&s->rules[i]);
	buf_done(&s->sets);
}

#define _state_ _cleanup_(state_done)

static int list_sets(const struct netns *ns, struct buf *ret, struct err *err)
{
	static const char *const argv[] = {"ipset", "list", "-n", NULL};
	int status;

	if (!run_has("ipset"))
		return 0; /* then there are none; whoever needs one will say so */
	return run(ns, argv, NULL, ret, NULL, &status, err);
}

/* A dry run knows nothing, and spawns nothing to learn it. */
static int state_read(const struct netns *ns, struct state *ret, struct err *err)
{
	int r = 0;

	if (oplog_dry(ns->log))
		return 0;
	for (size_t i = 0; i < IPT_NUM_FAMILIES && !r; i++)
		r = save_run(ns, programs[i].save, &ret->rules[i], err);
	return r ? r : list_sets(ns, &ret->sets, err);
}

/* Takes the next line off a listing; false at its end. */
static bool next_line(const char **at, const char **ret_line, size_t *ret_len)
{
	if (!*at || !**at)
		return false;
	*ret_line = *at;
	*ret_len = strcspn(*at, "\n");
	*at += *ret_len + ((*at)[*ret_len] == '\n');
	return true;
}

static bool is_inet(const struct fw_table *t)
{
	return t->family == FW_INET;
}

static bool any_table(const struct ruleset *rs, bool inet)
{
	for (const struct fw_table *t = rs->tables; t; t = t->next)
		if (is_inet(t) == inet)
			return true;
	return false;
}

static const struct fw_table *owner_of_set(const struct ruleset *rs, const char *name, size_t len,
					   unsigned int *ret_generation)
{
	for (const struct fw_table *t = rs->tables; t; t = t->next)
		if (is_inet(t) && ipset_name_of(t, name, len, ret_generation))
			return t;
	return NULL;
}

static const struct fw_table *owner_of_chain(const struct ruleset *rs, const char *name, size_t len)
{
	for (const struct fw_table *t = rs->tables; t; t = t->next)
		if (is_inet(t) && ipt_chain_of(t, name, len))
			return t;
	return NULL;
}

static unsigned int next_generation(const struct state *s, const struct ruleset *rs)
{
	const char *at = s->sets.data, *name;
	unsigned int generation, highest = 0;
	size_t len;

	while (next_line(&at, &name, &len))
		if (owner_of_set(rs, name, len, &generation))
			highest = MAX(highest, generation);
	return highest + 1;
}

/* ---- Which of iptables' tables a chain belongs to ---- */

static const char *base_table(const struct fw_chain *c)
{
	bool early = c->hook == FW_HOOK_PREROUTING || c->hook == FW_HOOK_OUTPUT;

	if (c->type == FW_CHAIN_NAT)
		return "nat";
	if (c->type == FW_CHAIN_ROUTE)
		return "mangle";
	if (early && c->priority < RAW_PRIORITY)
		return "raw";
	if (c->hook == FW_HOOK_PREROUTING || c->hook == FW_HOOK_POSTROUTING || c->priority < 0)
		return "mangle";
	return "filter";
}

/* Whether packets in this table of iptables can come to c. */
static bool is_in_table(const struct fw_table *t, const struct fw_chain *c, const char *table)
{
	if (c->hook)
		return !strcmp(base_table(c), table);
	for (const struct fw_chain *from = t->chains; from; from = from->next)
		for (const struct fw_rule *r = from->rules; r; r = r->next)
			if (r->verdict == FW_JUMP && r->target == c && is_in_table(t, from, table))
				return true;
	return false;
}

/* ---- The text of one table of one family ---- */

struct writer {
	const struct ruleset *rs;
	const struct state *state;
	enum ipt_family family;
	const char *table;
	unsigned int generation;
	struct lines wanted; /* chains of ours in this table */
	struct buf declare, rules, jumps, removal;
};

static void writer_done(struct writer *w)
{
	lines_done(&w->wanted);
	buf_done(&w->declare);
	buf_done(&w->rules);
	buf_done(&w->jumps);
	buf_done(&w->removal);
}

static int write_rules(struct writer *w, const struct fw_table *t, const struct fw_chain *c,
		       struct buf *to, struct err *err)
{
	int r = 0;

	for (const struct fw_rule *rule = c->rules; rule && !r; rule = rule->next)
		r = ipt_rule_text(t, c, rule, w->family, w->generation, to, err);
	return r;
}

static int write_chain(struct writer *w, const struct fw_table *t, const struct fw_chain *c,
		       struct err *err)
{
	_buf_ struct buf rules = {0};
	char name[IPT_NAME_MAX];
	int r = write_rules(w, t, c, &rules, err);

	if (r)
		return r;
	ipt_chain_name(t, c->name, name);
	if (c->hook && c->policy == FW_DROP)
		buf_addf(&rules, "-A %s -j DROP\n", name);
	if (c->hook && !rules.len)
		return 0; /* nothing about this family: spare it the table and its hooks */
	lines_add(&w->wanted, name, strlen(name));
	buf_addf(&w->declare, ":%s - [0:0]\n", name);
	if (rules.len)
		buf_adds(&w->rules, rules.data);
	if (c->hook && !save_has_jump(w->state->rules[w->family].data, w->table,
				      builtin_chains[c->hook], name))
		buf_addf(&w->jumps, "-I %s 1 -j %s\n", builtin_chains[c->hook], name);
	return 0;
}

static bool is_wanted(const struct writer *w, const char *name, size_t len)
{
	for (size_t i = 0; i < w->wanted.n; i++)
		if (strlen(w->wanted.v[i]) == len && !memcmp(w->wanted.v[i], name, len))
			return true;
	return false;
}

static bool is_stale(const struct writer *w, const char *name, size_t len)
{
	return owner_of_chain(w->rs, name, len) && !is_wanted(w, name, len);
}

/* A map of destinations is a chain with a rule for each element. */
static int write_map(struct writer *w, const struct fw_table *t, const struct fw_set *s,
		     struct err *err)
{
	char name[IPT_NAME_MAX];
	int r = 0;

	ipt_map_name(t, s, name);
	lines_add(&w->wanted, name, strlen(name));
	buf_addf(&w->declare, ":%s - [0:0]\n", name);
	for (size_t i = 0; i < s->n_elems && !r; i++)
		r = ipt_target_text(t, s, &s->elems[i], &w->rules, err);
	return r;
}

/* Spares a host that publishes nothing the table and its hooks. */
static bool is_used(const struct fw_table *t, const struct fw_set *map)
{
	for (const struct fw_chain *c = t->chains; c; c = c->next)
		for (const struct fw_rule *r = c->rules; r; r = r->next)
			if (r->verdict == FW_DNAT_MAP && r->map == map)
				return true;
	return false;
}

static int write_maps(struct writer *w, const struct fw_table *t, struct err *err)
{
	int r = 0;

	if (strcmp(w->table, "nat") != 0)
		return 0;
	for (const struct fw_set *s = t->sets; s && !r; s = s->next)
		if (s->dnat_family && ipt_target_family(s) == w->family && is_used(t, s))
			r = write_map(w, t, s, err);
	return r;
}

/* Chains of ours that are there and should not be, and the jumps to them. */
static void write_removal(struct writer *w)
{
	struct save_line l = {.next = w->state->rules[w->family].data};

	while (save_next(&l)) {
		size_t len = 0;
		const char *target = save_target(&l, &len);

		if (strcmp(l.table, w->table) != 0)
			continue;
		if (*l.text == ':' && is_stale(w, l.chain, l.chain_len)) {
			/* Declaring a chain that is there empties it. */
			buf_addf(&w->declare, ":%.*s - [0:0]\n", (int)l.chain_len, l.chain);
			buf_addf(&w->removal, "-X %.*s\n", (int)l.chain_len, l.chain);
		} else if (target && is_stale(w, target, len) &&
			   !owner_of_chain(w->rs, l.chain, l.chain_len)) {
			buf_addf(&w->jumps, "-D%.*s\n", (int)(l.len - 2), l.text + 2);
		}
	}
}

static void append(struct buf *to, const struct buf *from)
{
	if (from->len)
		buf_add(to, from->data, from->len);
}

static int write_table(struct writer *w, bool with_content, struct buf *out, struct err *err)
{
	int r = 0;

	for (const struct fw_table *t = w->rs->tables; t && with_content && !r; t = t->next) {
		for (const struct fw_chain *c = t->chains; c && is_inet(t) && !r; c = c->next)
			if (is_in_table(t, c, w->table))
				r = write_chain(w, t, c, err);
		if (is_inet(t) && !r)
			r = write_maps(w, t, err);
	}
	if (r)
		return r;
	write_removal(w);
	if (!w->declare.len)
		return 0;
	buf_addf(out, "*%s\n", w->table);
	append(out, &w->declare);
	append(out, &w->rules);
	append(out, &w->jumps);
	append(out, &w->removal);
	buf_adds(out, "COMMIT\n");
	return 0;
}

/* Input for the family's *-restore; empty when there is nothing to do. */
static int write_family(const struct ruleset *rs, const struct state *state, enum ipt_family family,
			unsigned int generation, bool with_content, struct buf *out,
			struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(builtin_tables) && !r; i++) {
		_cleanup_(writer_done) struct writer w = {.rs = rs,
							  .state = state,
							  .family = family,
							  .table = builtin_tables[i],
							  .generation = generation};

		r = write_table(&w, with_content, out, err);
	}
	return r;
}

/* ---- ipsets ---- */

static int write_sets(const struct ruleset *rs, unsigned int generation, struct buf *out,
		      struct err *err)
{
	int r = 0;

	for (const struct fw_table *t = rs->tables; t && !r; t = t->next)
		if (is_inet(t))
			r = ipset_create_text(t, generation, out, err);
	return r;
}

static int destroy_set(const struct netns *ns, const char *name, struct err *err)
{
	const char *argv[] = {"ipset", "destroy", name, NULL};
	const struct timespec pause = {.tv_nsec = DESTROY_PAUSE_MS * 1000000L};
	_buf_ struct buf errors = {0};
	int status = 0, r = 0;

	for (int i = 0; i < DESTROY_TRIES; i++) {
		buf_reset(&errors);
		r = run(ns, argv, NULL, NULL, &errors, &status, err);
		if (r || !status || strstr(errors.len ? errors.data : "", "does not exist"))
			return r;
		/* nf_tables frees the rules of a commit, and with them the ipset, a moment after
		 * it. */
		nanosleep(&pause, NULL);
	}
	return err_set(err, ERR_FAILED, -EBUSY, "cannot destroy ipset %s: %.*s", name,
		       (int)strcspn(errors.len ? errors.data : "", "\n"),
		       errors.len ? errors.data : "");
}

/* All ipsets of the tables of rs, but for those of the generation to keep (0: none). */
static int destroy_sets(const struct netns *ns, const struct ruleset *rs, const struct state *state,
			unsigned int keep, struct err *err)
{
	const char *at = state->sets.data, *line;
	unsigned int generation;
	size_t len;
	int first = 0;

	while (next_line(&at, &line, &len)) {
		char name[IPSET_NAME_MAX + 1] = "";
		int r;

		if (len >= sizeof(name) || !owner_of_set(rs, line, len, &generation) ||
		    generation == keep)
			continue;
		memcpy(name, line, len);
		r = destroy_set(ns, name, first ? NULL : err);
		first = first ? first : r;
	}
	return first;
}

/* After a failure before the commit: nobody uses the new ipsets. */
static void drop_new_sets(const struct netns *ns, const struct ruleset *rs, unsigned int generation)
{
	_state_ struct state now = {0};
	_state_ struct state fresh = {0};
	const char *at, *line;
	unsigned int g;
	size_t len;

	if (list_sets(ns, &now.sets, NULL))
		return;
	at = now.sets.data;
	while (next_line(&at, &line, &len))
		if (owner_of_set(rs, line, len, &g) && g == generation)
			buf_addf(&fresh.sets, "%.*s\n", (int)len, line);
	destroy_sets(ns, rs, &fresh, 0, NULL);
}

/* ---- The backend's functions ---- */

static int carry_out(struct netns *ns, const char *const argv[], const char *prefix,
		     const struct buf *text, struct err *err)
{
	if (!text->len)
		return 0;
	text_log(ns, prefix, text);
	return oplog_dry(ns->log) ? 0 : restore_run(ns, argv, text, err);
}

static int commit_families(struct netns *ns, const struct buf text[IPT_NUM_FAMILIES],
			   struct err *err)
{
	int r = carry_out(ns, programs[IPT_IP4].restore, "iptables-restore: ", &text[IPT_IP4], err);

	if (!r)
		r = carry_out(ns, programs[IPT_IP6].restore, "ip6tables-restore: ", &text[IPT_IP6],
			      err);
	return r;
}

static int apply_inet(struct netns *ns, const struct ruleset *rs, struct err *err)
{
	_state_ struct state state = {0};
	_state_ struct state new = {0}; /* the same places, for what we write */
	unsigned int generation;
	int r = state_read(ns, &state, err);

	if (r)
		return r;
	generation = next_generation(&state, rs);
	r = write_sets(rs, generation, &new.sets, err);
	for (enum ipt_family f = IPT_IP4; f < IPT_NUM_FAMILIES && !r; f++)
		r = write_family(rs, &state, f, generation, true, &new.rules[f], err);
	if (!r)
		r = carry_out(ns, restore_sets, "ipset ", &new.sets, err);
	if (!r)
		r = commit_families(ns, new.rules, err);
	if (oplog_dry(ns->log))
		return r;
	if (r) {
		drop_new_sets(ns, rs, generation);
		return r;
	}
	/* One that resists is a leftover without effect, and goes with the next apply. */
	destroy_sets(ns, rs, &state, generation, NULL);
	return 0;
}

static int remove_inet(struct netns *ns, const struct ruleset *rs, struct err *err)
{
	_state_ struct state state = {0};
	_state_ struct state new = {0};
	int r = state_read(ns, &state, err);

	for (const struct fw_table *t = rs->tables; t; t = t->next)
		if (is_inet(t))
			oplog_add(ns->log, ns->name,
				  "iptables-restore, ip6tables-restore: remove the chains "
				  "of table %s",
				  t->name);
	for (enum ipt_family f = IPT_IP4; f < IPT_NUM_FAMILIES && !r; f++)
		r = write_family(rs, &state, f, 0, false, &new.rules[f], err);
	if (!r)
		r = commit_families(ns, new.rules, err);
	if (r || oplog_dry(ns->log))
		return r;
	return destroy_sets(ns, rs, &state, 0, err);
}

static int write_elems(const struct netns *ns, const struct fw_table *t, const struct fw_set *s,
		       unsigned int generation, bool add, struct buf *out, struct err *err)
{
	if (s->n_elems && ipset_nests(s) && !oplog_dry(ns->log))
		return ipset_nested_text(ns, t, s, generation, add, out, err);
	return ipset_elems_text(t, s, generation, add ? "add" : "del", out, err);
}

/* Elements in every generation there is: after a failure half-way, both are in use. */
static int write_update(const struct netns *ns, const struct ruleset *rs, const struct state *state,
			bool add, struct buf *out, struct err *err)
{
	const char *at = state->sets.data, *name;
	unsigned int generation, last = 0;
	size_t len;
	int r = 0;

	while (next_line(&at, &name, &len) && !r) {
		if (!owner_of_set(rs, name, len, &generation) || generation == last)
			continue;
		last = generation; /* one ipset of each generation stands for all */
		for (const struct fw_table *t = rs->tables; t && !r; t = t->next)
			for (const struct fw_set *s = t->sets; s && is_inet(t) && !r; s = s->next)
				r = write_elems(ns, t, s, generation, add, out, err);
	}
	return r;
}

static int update_elems(struct netns *ns, const struct ruleset *rs, const struct state *state,
			bool add, struct err *err)
{
	_buf_ struct buf text = {0};
	int r = write_update(ns, rs, state, add, &text, err);

	return r ? r : carry_out(ns, update_sets, "ipset ", &text, err);
}

static bool has_elems(const struct ruleset *rs, const struct fw_table *t)
{
	for (const struct fw_table *o = rs->tables; o; o = o->next)
		for (const struct fw_set *s = o->sets; s && o == t; s = s->next)
			if (s->n_elems && !s->dnat_family)
				return true;
	return false;
}

/* Each table whose elements are to change must have ipsets. */
static int check_tables(const struct ruleset *rs, const struct state *state, struct err *err)
{
	for (const struct fw_table *t = rs->tables; t; t = t->next) {
		const char *at = state->sets.data, *name;
		unsigned int generation;
		bool found = !is_inet(t) || !has_elems(rs, t);
		size_t len;

		while (!found && next_line(&at, &name, &len))
			found = ipset_name_of(t, name, len, &generation);
		if (!found)
			return err_set(err, ERR_NOT_FOUND, -ENOENT, "table %s has no ipsets",
				       t->name);
	}
	return 0;
}

/* ---- Elements of maps of destinations ---- */

typedef int (*target_fn)(const struct fw_table *t, const struct fw_set *s, const struct fw_elem *e,
			 void *arg, struct err *err);

static int each_target(const struct ruleset *rs, enum ipt_family family, target_fn fn, void *arg,
		       struct err *err)
{
	int r = 0;

	for (const struct fw_table *t = rs->tables; t; t = t->next)
		for (const struct fw_set *s = t->sets; s && is_inet(t); s = s->next)
			for (size_t i = 0; i < s->n_elems && s->dnat_family && !r; i++)
				if (ipt_target_family(s) == family)
					r = fn(t, s, &s->elems[i], arg, err);
	return r;
}

static bool is_in_map(const struct save_line *l, const struct fw_table *t, const struct fw_set *s)
{
	char name[IPT_NAME_MAX];

	ipt_map_name(t, s, name);
	return strlen(name) == l->chain_len && !memcmp(name, l->chain, l->chain_len);
}

static int check_target(const struct fw_table *t, const struct fw_set *s, const struct fw_elem *e,
			void *listing, struct err *err)
{
	struct save_line l = {.next = listing};

	(void)e;
	while (save_next(&l))
		if (is_in_map(&l, t, s))
			return 0;
	return err_set(err, ERR_NOT_FOUND, -ENOENT, "table %s has no map %s", t->name, s->name);
}

/* -EEXIST when this line of the listing is the element's. */
static int is_target(const struct fw_table *t, const struct fw_set *s, const struct fw_elem *e,
		     void *line, struct err *err)
{
	const struct save_line *l = line;
	_buf_ struct buf comment = {0};

	(void)err;
	if (!is_in_map(l, t, s))
		return 0;
	ipt_target_comment(s, e, &comment);
	return memmem(l->text, l->len, comment.data, comment.len) ? -EEXIST : 0;
}

static int add_target(const struct fw_table *t, const struct fw_set *s, const struct fw_elem *e,
		      void *out, struct err *err)
{
	return ipt_target_text(t, s, e, out, err);
}

static int del_target(const struct fw_table *t, const struct fw_set *s, const struct fw_elem *e,
		      void *out, struct err *err)
{
	_buf_ struct buf text = {0};
	int r = ipt_target_text(t, s, e, &text, err);

	if (!r)
		buf_addf(out, "-D%s", text.data + 2);
	return r;
}

/* The rules that are there of elements to delete, and of those to add, which may be there already;
 * each in the listing's own words. */
static void delete_targets(const struct ruleset *add, const struct ruleset *del,
			   enum ipt_family family, const char *listing, struct buf *out)
{
	struct save_line l = {.next = listing};

	while (save_next(&l))
		if (each_target(del, family, is_target, &l, NULL) ||
		    each_target(add, family, is_target, &l, NULL))
			buf_addf(out, "-D%.*s\n", (int)(l.len - 2), l.text + 2);
}

static int write_targets(const struct netns *ns, const struct ruleset *add,
			 const struct ruleset *del, enum ipt_family family, struct buf *out,
			 struct err *err)
{
	_buf_ struct buf listing = {0};
	int r;

	if (oplog_dry(ns->log)) {
		r = each_target(del, family, del_target, out, err);
	} else {
		r = save_run(ns, programs[family].save, &listing, err);
		if (!r)
			r = each_target(del, family, check_target, listing.data, err);
		if (!r)
			r = each_target(add, family, check_target, listing.data, err);
		if (!r)
			delete_targets(add, del, family, listing.data, out);
	}
	return r ? r : each_target(add, family, add_target, out, err);
}

static int has_target(const struct fw_table *t, const struct fw_set *s, const struct fw_elem *e,
		      void *arg, struct err *err)
{
	(void)t, (void)s, (void)e, (void)arg, (void)err;
	return -EEXIST;
}

static int update_targets(struct netns *ns, const struct ruleset *add, const struct ruleset *del,
			  enum ipt_family family, struct err *err)
{
	_buf_ struct buf rules = {0}, text = {0};
	int r;

	if (!each_target(add, family, has_target, NULL, NULL) &&
	    !each_target(del, family, has_target, NULL, NULL))
		return 0;
	r = write_targets(ns, add, del, family, &rules, err);
	if (r || !rules.len)
		return r;
	buf_addf(&text, "*nat\n%sCOMMIT\n", rules.data);
	return carry_out(ns, programs[family].restore,
			 family == IPT_IP6 ? "ip6tables-restore: " : "iptables-restore: ", &text,
			 err);
}

static int update_inet(struct netns *ns, const struct ruleset *add, const struct ruleset *del,
		       struct err *err)
{
	_state_ struct state state = {0};
	int r;

	if (oplog_dry(ns->log)) {
		buf_adds(&state.sets, "byway-.1\n"); /* so that there is a generation to name */
		r = 0;
	} else {
		r = list_sets(ns, &state.sets, err);
		if (!r)
			r = check_tables(del, &state, err);
		if (!r)
			r = check_tables(add, &state, err);
	}
	if (!r)
		r = update_elems(ns, del, &state, false, err);
	if (!r)
		r = update_elems(ns, add, &state, true, err);
	for (enum ipt_family f = IPT_IP4; f < IPT_NUM_FAMILIES && !r; f++)
		r = update_targets(ns, add, del, f, err);
	return r;
}

static int ipt_probe(struct netns *ns, struct err *err)
{
	for (size_t i = 0; i < IPT_NUM_FAMILIES; i++)
		if (!run_has(programs[i].restore[0]))
			return err_set(err, ERR_UNSUPPORTED, -ENOENT, "%s is not installed",
				       programs[i].restore[0]);
	return oplog_dry(ns->log) ? 0 : save_probe(ns, programs[IPT_IP4].save, err);
}

static int ipt_apply(struct netns *ns, const struct ruleset *rs, struct err *err)
{
	int r = any_table(rs, true) ? apply_inet(ns, rs, err) : 0;

	return r || !any_table(rs, false) ? r : ebtables_apply(ns, rs, err);
}

static int ipt_update(struct netns *ns, const struct ruleset *add, const struct ruleset *del,
		      struct err *err)
{
	int r = any_table(add, true) || any_table(del, true) ? update_inet(ns, add, del, err) : 0;

	if (r || (!any_table(add, false) && !any_table(del, false)))
		return r;
	return ebtables_update(ns, add, del, err);
}

static int ipt_remove(struct netns *ns, const struct ruleset *rs, struct err *err)
{
	int r = any_table(rs, true) ? remove_inet(ns, rs, err) : 0;

	return r || !any_table(rs, false) ? r : ebtables_remove(ns, rs, err);
}

/* ---- Verifying: as the nft backend does, by comparing with a namespace of its own ---- */

static int compare_rules(const struct netns *ns, const struct netns *scratch,
			 const struct fw_table *t, enum ipt_family family, struct err *err)
{
	_buf_ struct buf want = {0}, got = {0};
	_lines_ struct lines a = {0}, b = {0};
	int r = save_run(scratch, programs[family].save, &want, err);

	if (!r)
		r = save_run(ns, programs[family].save, &got, err);
	if (r)
		return r;
	save_lines_of(t, want.data, ipt_is_map, &a);
	save_lines_of(t, got.data, ipt_is_map, &b);
	return lines_compare(family == IPT_IP6 ? "ip6tables" : "iptables", &a, &b, err);
}

/* "create NAME TYPE family F" and "add NAME ELEMENT", without the generation in NAME and without
 * sizes that the kernel chooses. */
static void add_set_line(const struct fw_table *t, const char *line, size_t len, struct lines *to)
{
	const char *name = memchr(line, ' ', len), *end, *dot;
	_buf_ struct buf text = {0};
	unsigned int generation;
	const char *sizes = memmem(line, len, " hashsize ", 10);

	if (!name)
		return;
	name++;
	end = name + strcspn(name, " \n");
	if (!ipset_name_of(t, name, (size_t)(end - name), &generation))
		return;
	dot = memrchr(name, '.', (size_t)(end - name));
	buf_add(&text, line, (size_t)(dot - line));
	buf_add(&text, end, (size_t)((sizes ? sizes : line + len) - end));
	lines_add(to, text.data, text.len);
}

static int save_sets(const struct netns *ns, const struct fw_table *t, struct lines *to,
		     struct err *err)
{
	static const char *const argv[] = {"ipset", "save", NULL};
	_buf_ struct buf text = {0};
	const char *at, *line;
	size_t len;
	int status;
	int r = run_has("ipset") ? run(ns, argv, NULL, &text, NULL, &status, err) : 0;

	at = text.data;
	while (!r && next_line(&at, &line, &len))
		add_set_line(t, line, len, to);
	lines_sort(to, 0);
	return r;
}

static int compare_sets(const struct netns *ns, const struct netns *scratch,
			const struct fw_table *t, struct err *err)
{
	_lines_ struct lines want = {0}, got = {0};
	int r = save_sets(scratch, t, &want, err);

	if (!r)
		r = save_sets(ns, t, &got, err);
	return r ? r : lines_compare("ipset", &want, &got, err);
}

static int verify_inet(struct netns *ns, struct netns *scratch, const struct ruleset *rs,
		       struct err *err)
{
	int r = apply_inet(scratch, rs, err);

	for (const struct fw_table *t = rs->tables; t && !r; t = t->next) {
		if (!is_inet(t))
			continue;
		r = compare_rules(ns, scratch, t, IPT_IP4, err);
		if (!r)
			r = compare_rules(ns, scratch, t, IPT_IP6, err);
		if (!r)
			r = compare_sets(ns, scratch, t, err);
	}
	return r;
}

static int ipt_verify(struct netns *ns, const struct ruleset *rs, struct err *err)
{
	_netns_ struct netns *scratch = NULL;
	int r = netns_create_private(NULL, &scratch, err);

	if (!r && any_table(rs, true))
		r = verify_inet(ns, scratch, rs, err);
	if (!r && any_table(rs, false))
		r = ebtables_verify(ns, scratch, rs, err);
	return r;
}

const struct fw_backend fw_iptables = {
	.name = "iptables",
	.probe = ipt_probe,
	.apply = ipt_apply,
	.update = ipt_update,
	.remove = ipt_remove,
	.verify = ipt_verify,
};
