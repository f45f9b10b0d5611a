// SPDX-License-Identifier: GPL-2.0-or-later
/* gc, reset and doctor. */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "kernel/caps.h"
#include "ops/doctor.h"

static void print_report(struct cli *c, const char *schema, const struct gc_report *g)
{
	size_t sum = g->rows + g->links + g->namespaces + g->rulesets + g->ports + g->sysctls +
		     g->services;

	cli_print_result(c, schema,
			 json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "objects", (json_int_t)g->rows, "links",
				   (json_int_t)g->links, "namespaces", (json_int_t)g->namespaces, "rulesets",
				   (json_int_t)g->rulesets, "ports", (json_int_t)g->ports, "sysctls", (json_int_t)g->sysctls,
				   "services", (json_int_t)g->services),
			 sum ? "removed: objects %zu, stray links %zu, stray namespaces %zu; put right: "
			       "rulesets %zu, ports %zu, settings %zu, services %zu"
			     : "nothing to do",
			 g->rows, g->links, g->namespaces, g->rulesets, g->ports, g->sysctls, g->services);
}

int cmd_gc(struct cli *c)
{
	struct gc_report g;
	int r = cli_open(c, STORE_WRITE);

	if (!r)
		r = ops_gc(&c->ops, &g, &c->err);
	if (!r)
		print_report(c, "byway.gc/1", &g);
	return r;
}

int cmd_reset(struct cli *c)
{
	static const int caps[] = {CAP_NET_ADMIN, CAP_SYS_ADMIN};
	struct gc_report g;
	int r = caps_require(caps, ARRAY_SIZE(caps), &c->err);

	cli_prepare(c);
	if (!r)
		r = ops_reset(&c->ops, &g, &c->err);
	if (!r)
		print_report(c, "byway.reset/1", &g);
	return r;
}

static void print_finding(const struct finding *f)
{
	printf("%s: %s\n", severity_name(f->severity), f->what);
	if (*f->why)
		printf("    why: %s\n", f->why);
	if (*f->fix)
		printf("    fix: %s\n", f->fix);
}

static json_t *finding_json(const struct finding *f)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "check", f->check, "severity",
			 severity_name(f->severity), "problem", f->what, "why", f->why, "fix", f->fix,
			 "fixable", f->mend != NULL);
}

/* A cell of the JSON document is a finding that is left, or one that was mended. */
static json_t *findings_json(const struct findings *f, const bool *only)
{
	json_t *list = json_array();

	for (size_t i = 0; i < f->n; i++)
		if (!only || only[i])
			json_array_append_new(list, finding_json(&f->v[i]));
	return list;
}

/* What is in the way now, is the exit status. */
static int tell_findings(struct cli *c, const struct findings *f, json_t *fixed)
{
	size_t problems = 0;

	for (size_t i = 0; i < f->n; i++) {
		problems += f->v[i].severity == SEVERITY_PROBLEM;
		if (!c->json)
			print_finding(&f->v[i]);
	}
	if (c->json)
		cli_print_json("byway.doctor/1", json_pack("{s:o, s:o}", "findings",
							   findings_json(f, NULL), "fixed", fixed));
	else
		json_decref(fixed);
	if (!c->json && !f->n)
		puts("nothing is in the way");
	return problems ? err_set(&c->err, ERR_BLOCKED, -1, "%zu problem%s found", problems,
				  problems > 1 ? "s" : "")
			: 0;
}

/* Mends, and looks again at what is left. */
static int fix_findings(struct cli *c)
{
	_findings_ struct findings before = {0}, after = {0};
	_free_ bool *mended = NULL;
	int r = ops_doctor(&c->ops, &before, &c->err);

	if (r)
		return r;
	mended = xcalloc(before.n + 1, sizeof(*mended));
	r = ops_doctor_fix(&c->ops, &before, mended, &c->err);
	if (c->dry_run && !r) {
		cli_print_operations(c, &c->ops.log);
		return 0;
	}
	for (size_t i = 0; i < before.n; i++)
		if (mended[i])
			cli_say(c, "fixed: %s", before.v[i].what);
	if (!r)
		r = ops_doctor(&c->ops, &after, &c->err);
	return r ? r : tell_findings(c, &after, findings_json(&before, mended));
}

static int undo_fixes(struct cli *c)
{
	struct undone u = {0};
	int r = ops_doctor_undo(&c->ops, &u, &c->err);

	if (!r)
		cli_print_result(c, "byway.doctor.undo/1",
				 json_pack("{s:I, s:I}", "settings", (json_int_t)u.settings, "rules",
					   (json_int_t)u.rules),
				 u.settings + u.rules ? "put back: settings %zu, rules %zu"
						      : "nothing to put back",
				 u.settings, u.rules);
	return r;
}

int cmd_doctor(struct cli *c)
{
	_findings_ struct findings f = {0};
	bool fix = cli_opt(c, "fix"), undo = cli_opt(c, "undo");
	int r;

	if (fix && undo)
		return err_set(&c->err, ERR_USAGE, -EINVAL, "--fix and --undo exclude each other");
	r = cli_open(c, fix || undo ? STORE_WRITE : STORE_READ);
	if (r)
		return r;
	if (fix || undo)
		return fix ? fix_findings(c) : undo_fixes(c);
	r = ops_doctor(&c->ops, &f, &c->err);
	return r ? r : tell_findings(c, &f, json_array());
}
