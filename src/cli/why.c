// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "cli/cli.h"
#include "ops/why.h"

static json_t *view_step(const struct why_step *s)
{
	return json_pack("{s:s, s:s, s:b, s:s?, s:o}", "where", s->where, "what", s->what, "stops",
			 s->stops, "file", s->file, "line",
			 s->line ? json_integer(s->line) : json_null());
}

static json_t *view(const struct cli *c, const struct why *w)
{
	json_t *steps = json_array();

	for (size_t i = 0; i < w->n_steps; i++)
		json_array_append_new(steps, view_step(&w->steps[i]));
	return json_pack("{s:s, s:s, s:b, s:s?, s:o}", "from", c->args[0], "to", c->args[1],
			 "reaches", w->reaches, "leaves_by", *w->leaves_by ? w->leaves_by : NULL,
			 "steps", steps);
}

static json_t *view_live(const struct why_live *l)
{
	return json_pack("{s:b, s:b, s:s?, s:s?}", "answered", l->answered, "dropped", l->dropped,
			 "where", l->traced ? l->where : NULL, "rule", l->traced ? l->rule : NULL);
}

static void print_steps(const struct why *w)
{
	for (size_t i = 0; i < w->n_steps; i++) {
		const struct why_step *s = &w->steps[i];

		printf("%s %-20s %s", s->stops ? "x" : "-", s->where, s->what);
		if (s->file && s->line)
			printf(" [%s:%u]", s->file, s->line);
		else if (s->file)
			printf(" [%s]", s->file);
		putchar('\n');
	}
}

static void print_live(const struct why_live *l)
{
	if (l->traced)
		printf("probe: %s in %s, by %s\n", l->dropped ? "dropped" : "last let through",
		       l->where, l->rule);
	printf("probe: %s\n", l->answered ? "answered" : "no answer");
}

/* Behind what leads out, nobody here knows: no answer from there contradicts nothing. */
static bool agrees(const struct why *w, const struct why_live *l)
{
	if (l->answered)
		return w->reaches;
	if (l->dropped)
		return !w->reaches;
	return !w->reaches || w->to.kind == WHY_OUTSIDE || l->traced;
}

static int live(struct cli *c, const struct why *w, json_t *doc)
{
	struct why_live l;
	int r = ops_why_live(&c->ops, w, &l, &c->err);

	if (r)
		return r;
	json_object_set_new(doc, "live", view_live(&l));
	if (!c->json)
		print_live(&l);
	if (agrees(w, &l))
		return 0;
	return err_set(
		&c->err, ERR_FAILED, -EPROTO,
		"the kernel does otherwise than the state says: `byway gc` puts it right, and "
		"`byway doctor` finds what else has a say");
}

static int read_flow(struct cli *c, struct why *w)
{
	w->flow = (struct why_flow){.family = cli_opt(c, "ipv6") ? AF_INET6 : AF_INET,
				    .proto = IPPROTO_ICMP};
	return c->n_args > 2 ? why_flow_parse(c->args[2], &w->flow, &c->err) : 0;
}

int cmd_why(struct cli *c)
{
	_why_ struct why w = {0};
	json_t *doc;
	int r = read_flow(c, &w);

	if (!r)
		r = cli_open(c, STORE_READ);
	if (!r)
		r = ops_why(&c->ops, c->args[0], c->args[1], &w, &c->err);
	if (r)
		return r;
	doc = view(c, &w);
	if (!c->json)
		print_steps(&w);
	if (cli_opt(c, "live"))
		r = live(c, &w, doc);
	if (c->json)
		cli_print_json("byway.why/1", doc);
	else
		json_decref(doc);
	c->status = w.reaches ? 0 : ERR_BLOCKED;
	return r;
}
