// SPDX-License-Identifier: GPL-2.0-or-later
/* validate, plan, apply, destroy: the machine as a file says. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/term.h"
#include "config/config.h"
#include "ops/apply.h"
#include "ops/block.h"

#define PLAN_CHANGES 10 /* exit status: there is something to do */
#define SHOWN_MAX 20    /* of what was not done */

/* The files of a command. */
struct files {
	struct config **configs; /* NULL: nothing is wanted any more */
	struct plan **plans;
	size_t n;
};

static void files_done(struct files *f)
{
	for (size_t i = 0; i < f->n; i++) {
		config_free(f->configs[i]);
		plan_free(f->plans[i]);
	}
	free(f->configs);
	free(f->plans);
}

#define _files_ _cleanup_(files_done)

static void files_init(struct files *f, struct cli *c)
{
	f->n = (size_t)c->n_args;
	f->configs = xcalloc(f->n, sizeof(struct config *));
	f->plans = xcalloc(f->n, sizeof(struct plan *));
}

static int read_all(struct cli *c, struct files *f)
{
	int r = 0;

	for (size_t i = 0; !r && i < f->n; i++)
		r = config_read(c->args[i], &f->configs[i], &c->err);
	return r;
}

static int refuse_standard_input(struct cli *c)
{
	for (int i = 0; i < c->n_args; i++)
		if (!strcmp(c->args[i], "-"))
			return err_set(
				&c->err, ERR_USAGE, -EINVAL,
				"standard input can be validated, but objects belong to a file");
	return 0;
}

/* ---- JSON ---- */

static json_t *change_json(const struct change *c)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s}", "action", change_action_name(c->action),
			 "kind", change_kind_name(c->kind), "name", c->name, "detail", c->detail,
			 "line", c->line ? json_integer(c->line) : json_null(), "state",
			 change_state_name(c->state));
}

static json_t *plan_json(const struct plan *p)
{
	json_t *changes = json_array();

	for (size_t i = 0; i < p->n; i++)
		json_array_append_new(changes, change_json(&p->changes[i]));
	return json_pack("{s:s, s:o, s:I}", "file", p->file, "changes", changes, "unchanged",
			 (json_int_t)p->unchanged);
}

static json_t *plans_json(const struct files *f)
{
	json_t *list = json_array();

	for (size_t i = 0; i < f->n; i++)
		if (f->plans[i])
			json_array_append_new(list, plan_json(f->plans[i]));
	return json_pack("{s:o}", "files", list);
}

/* ---- text ---- */

static const struct {
	const char *sign, *todo, *doing, *done;
	enum term_colour colour;
} actions[CHANGE_NUM_ACTIONS] = {
	[CHANGE_REMOVE] = {"-", "to remove", "removing", "removed", TERM_BAD},
	[CHANGE_REPAIR] = {"!", "to repair", "repairing", "repaired", TERM_BAD},
	[CHANGE_UPDATE] = {"~", "to change", "changing", "changed", TERM_BUSY},
	[CHANGE_ADOPT] = {"=", "to adopt", "adopting", "adopted", TERM_DIM},
	[CHANGE_ADD] = {"+", "to add", "adding", "added", TERM_GOOD},
};

static void tell_change(const struct change *c, struct buf *b)
{
	buf_addf(b, "%s %s %s%s%s", actions[c->action].sign, change_kind_name(c->kind), c->name,
		 *c->detail ? ": " : "", c->detail);
}

static void print_change(const struct change *c)
{
	_buf_ struct buf text = {0}, line = {0};

	tell_change(c, &text);
	term_put(&line, actions[c->action].colour, text.data, 0, 0);
	puts(line.data);
}

/* "2 added, 1 removed, ", of those that are in that state. */
static void count_changes(const struct plan *p, enum change_state state, char *buf, size_t size)
{
	size_t n[CHANGE_NUM_ACTIONS] = {0}, len = 0;

	for (size_t i = 0; i < p->n; i++)
		n[p->changes[i].action] += p->changes[i].state == state;
	*buf = '\0';
	for (int a = CHANGE_NUM_ACTIONS - 1; a >= 0; a--)
		if (n[a] && len < size)
			len += (size_t)snprintf(buf + len, size - len, "%zu %s, ", n[a],
						state == CHANGE_DONE ? actions[a].done
								     : actions[a].todo);
}

static void print_counts(const struct plan *p, enum change_state state)
{
	char counts[128];

	count_changes(p, state, counts, sizeof(counts));
	if (p->config || p->n)
		printf("%s: %s%zu unchanged\n", p->file, counts, p->unchanged);
	else
		printf("%s: nothing belongs to it\n", p->file);
}

static void print_plan(const struct plan *p)
{
	for (size_t i = 0; i < p->n; i++)
		print_change(&p->changes[i]);
	print_counts(p, CHANGE_PENDING);
}

/* ---- progress ---- */

struct progress {
	struct cli *c;
	bool terminal;
	uint64_t began_ms;
};

static void say_step(const struct plan *p, size_t first, size_t n)
{
	const struct change *c = &p->changes[first];

	fprintf(stderr, "[%zu/%zu] %s %s %s", first + n, p->n, actions[c->action].doing,
		change_kind_name(c->kind), c->name);
	if (n > 1)
		fprintf(stderr, " and %zu more", n - 1);
}

static void step_begins(void *arg, const struct plan *p, size_t first, size_t n)
{
	struct progress *pr = arg;

	pr->began_ms = clock_ms();
	if (pr->c->quiet || pr->c->dry_run || !pr->terminal)
		return;
	say_step(p, first, n);
	fputs(" ...", stderr);
	fflush(stderr);
}

static void step_ends(void *arg, const struct plan *p, size_t first, size_t n)
{
	struct progress *pr = arg;
	bool failed = p->changes[first].state == CHANGE_FAILED;

	if (pr->c->quiet || pr->c->dry_run)
		return;
	if (!pr->terminal)
		say_step(p, first, n);
	fprintf(stderr, "%s %.1f s%s\n", pr->terminal ? "" : ":",
		(double)(clock_ms() - pr->began_ms) / 1000, failed ? ", failed" : "");
}

/* ---- commands ---- */

int cmd_validate(struct cli *c)
{
	_files_ struct files f = {0};
	json_t *list;
	int r;

	files_init(&f, c);
	r = read_all(c, &f);
	if (r)
		return r;
	list = json_array();
	for (size_t i = 0; i < f.n; i++) {
		const struct config *g = f.configs[i];

		json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I, s:I}", "file", g->path,
						      "vpcs", (json_int_t)g->n_vpcs, "subnets",
						      (json_int_t)g->n_subnets, "peerings",
						      (json_int_t)g->n_peers, "vms",
						      (json_int_t)g->n_vms));
		if (!c->json && !c->quiet)
			printf("%s: %zu VPCs and networks, %zu subnets, %zu peerings, %zu VMs\n",
			       c->args[i], g->n_vpcs, g->n_subnets, g->n_peers, g->n_vms);
	}
	if (c->json)
		cli_print_json("byway.valid/1", json_pack("{s:O}", "files", list));
	json_decref(list);
	return 0;
}

static int make_plan(struct cli *c, struct files *f, size_t i)
{
	return ops_plan(&c->ops, f->configs[i], c->args[i], &f->plans[i], &c->err);
}

int cmd_plan(struct cli *c)
{
	_files_ struct files f = {0};
	size_t changes = 0;
	int r = refuse_standard_input(c);

	files_init(&f, c);
	if (!r)
		r = read_all(c, &f);
	if (!r)
		r = cli_open(c, STORE_READ);
	for (size_t i = 0; !r && i < f.n; i++) {
		r = make_plan(c, &f, i);
		if (!r && !c->json)
			print_plan(f.plans[i]);
		changes += r ? 0 : f.plans[i]->n;
	}
	if (r)
		return r;
	if (c->json)
		cli_print_json("byway.plan/1", plans_json(&f));
	c->status = changes ? PLAN_CHANGES : 0;
	return 0;
}

/* What was done, and what was not. */
static void report_failure(const struct cli *c, const struct plan *p)
{
	size_t done = 0, shown = 0;

	for (size_t i = 0; i < p->n; i++)
		done += p->changes[i].state == CHANGE_DONE;
	cli_say(c, "%s: %zu of %zu changes are done. Not done:", p->file, done, p->n);
	for (size_t i = 0; i < p->n; i++) {
		const struct change *ch = &p->changes[i];
		_buf_ struct buf text = {0};

		if (ch->state == CHANGE_DONE || shown++ >= SHOWN_MAX)
			continue;
		tell_change(ch, &text);
		cli_say(c, "%s%s", text.data, ch->state == CHANGE_FAILED ? " (failed)" : "");
	}
	if (shown > SHOWN_MAX)
		cli_say(c, "and %zu more", shown - SHOWN_MAX);
}

static int apply_one(struct cli *c, struct files *f, size_t i)
{
	struct progress pr = {.c = c, .terminal = isatty(STDERR_FILENO)};
	_free_ char *self = realpath("/proc/self/exe", NULL);
	const struct apply_params w = {self, step_begins, step_ends, &pr};
	int r = make_plan(c, f, i);

	if (!r && c->dry_run && !c->json)
		print_plan(f->plans[i]);
	if (r)
		return r;
	r = ops_apply(&c->ops, f->plans[i], &w, &c->err);
	if (r && !c->json)
		report_failure(c, f->plans[i]);
	if (!r && !c->json && !c->quiet && !c->dry_run)
		print_counts(f->plans[i], CHANGE_DONE);
	return r;
}

static json_t *operations(const struct oplog *log)
{
	json_t *list = json_array();

	for (size_t i = 0; i < log->n_ops; i++)
		json_array_append_new(list, json_string(log->ops[i]));
	return list;
}

/* After a failure, too: it says how far it got. */
static void print_result(struct cli *c, const struct files *f, int r)
{
	json_t *body;

	if (c->dry_run && !r && !c->json)
		cli_print_operations(c, &c->ops.log);
	if (!c->json)
		return;
	body = plans_json(f);
	if (c->dry_run)
		json_object_set_new(body, "operations", operations(&c->ops.log));
	json_object_set_new(body, "error", r ? json_string(c->err.msg) : json_null());
	cli_print_json("byway.apply/1", body);
}

/* What the files asked to be blocked until now; a tunnel that one of them waits for lifts it
 * itself. */
static int lift_block(struct cli *c, const struct files *f)
{
	bool wanted = false;

	for (size_t i = 0; i < f->n; i++) {
		if (f->configs[i] && f->configs[i]->block == CONFIG_BLOCK_UNTIL_TUNNEL)
			return 0;
		wanted |= f->configs[i] && f->configs[i]->block == CONFIG_BLOCK_UNTIL_APPLIED;
	}
	return wanted ? ops_unblock(&c->ops, &c->err) : 0;
}

static int apply_all(struct cli *c, struct files *f)
{
	int r = cli_open(c, STORE_WRITE);

	if (r)
		return r;
	for (size_t i = 0; !r && i < f->n; i++)
		r = apply_one(c, f, i);
	if (!r)
		r = lift_block(c, f);
	print_result(c, f, r);
	return r;
}

int cmd_apply(struct cli *c)
{
	_files_ struct files f = {0};
	int r = refuse_standard_input(c);

	files_init(&f, c);
	if (!r)
		r = read_all(c, &f);
	return r ? r : apply_all(c, &f);
}

int cmd_destroy(struct cli *c)
{
	_files_ struct files f = {0};
	int r = refuse_standard_input(c);

	files_init(&f, c);
	return r ? r : apply_all(c, &f);
}
