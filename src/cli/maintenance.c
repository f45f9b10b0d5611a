// SPDX-License-Identifier: GPL-2.0-or-later
/* gc, reset and doctor. */
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "kernel/caps.h"

static void print_report(struct cli *c, const char *schema, const struct gc_report *g)
{
	size_t sum = g->rows + g->links + g->namespaces + g->rulesets + g->ports + g->sysctls;

	cli_print_result(c, schema,
			 json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "objects", (json_int_t)g->rows, "links",
				   (json_int_t)g->links, "namespaces", (json_int_t)g->namespaces, "rulesets",
				   (json_int_t)g->rulesets, "ports", (json_int_t)g->ports, "sysctls", (json_int_t)g->sysctls),
			 sum ? "removed: objects %zu, stray links %zu, stray namespaces %zu; put right: "
			       "rulesets %zu, ports %zu, settings %zu"
			     : "nothing to do",
			 g->rows, g->links, g->namespaces, g->rulesets, g->ports, g->sysctls);
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

	c->ops.backend = c->backend;
	c->ops.log.echo = c->verbose;
	c->ops.log.dry_run = c->dry_run;
	if (!r)
		r = ops_reset(&c->ops, &g, &c->err);
	if (!r)
		print_report(c, "byway.reset/1", &g);
	return r;
}

int cmd_doctor(struct cli *c)
{
	_free_ struct finding *f = NULL;
	json_t *list = json_array();
	size_t n = 0;
	int r = cli_open(c, STORE_READ);

	if (!r)
		r = ops_doctor(&c->ops, &f, &n, &c->err);
	for (size_t i = 0; !r && i < n; i++) {
		json_array_append_new(list, json_pack("{s:s, s:s}", "problem", f[i].what, "fix", f[i].fix));
		if (!c->json)
			printf("problem: %s\n    fix: %s\n", f[i].what, f[i].fix);
	}
	if (!r && c->json)
		cli_print_json("byway.doctor/1", json_pack("{s:O}", "findings", list));
	else if (!r && !n)
		puts("nothing is in the way");
	json_decref(list);
	if (!r && n)
		r = err_set(&c->err, ERR_BLOCKED, -1, "%zu problem%s found", n, n > 1 ? "s" : "");
	return r;
}
