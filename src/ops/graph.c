// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "ops/egress.h"
#include "ops/graph.h"
#include "ops/look.h"
#include "proc/run.h"

#define INTERNET "internet"

/* ---- Texts ---- */

/* In a quoted string, a backslash begins an escape (\N, \G, \n ...) when it is a label's. */
static void put_text(struct buf *b, const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			buf_addf(b, "\\%c", *text);
		else
			buf_addf(b, "%c", (unsigned char)*text < ' ' ? ' ' : *text);
	}
}

/* A node's name: what no other has. */
static void put_node(struct buf *b, const char *kind, const char *id)
{
	buf_addf(b, "\"%s ", kind);
	put_text(b, id);
	buf_adds(b, "\"");
}

static void put_edge(struct buf *b, const char *from_kind, const char *from, const char *to_kind,
		     const char *to, const char *attributes)
{
	buf_adds(b, "\t");
	put_node(b, from_kind, from);
	buf_adds(b, " -> ");
	put_node(b, to_kind, to);
	buf_addf(b, " [%s]\n", attributes);
}

/* ---- Nodes ---- */

static const char *colour_of(const char *condition)
{
	static const char *const good[] = {CONDITION_UP, CONDITION_IDLE};
	static const char *const bad[] = {CONDITION_DOWN, CONDITION_MISSING, "error", "killed"};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!strcmp(condition, good[i]))
			return "#2e7d32";
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (!strcmp(condition, bad[i]))
			return "#c62828";
	return "#b26a00";
}

/* Name, then what else there is to say of it, and the condition unless that is as it should be. */
static void put_object(struct buf *b, const struct look_object *o, const char *const more[])
{
	const char *condition = look_text(o->json, "condition");

	buf_adds(b, "\t");
	put_node(b, o->kind, o->id);
	buf_adds(b, " [label=\"");
	put_text(b, look_text(o->json, "name"));
	for (; *more; more++) {
		if (!*look_text(o->json, *more))
			continue;
		buf_adds(b, "\\n");
		put_text(b, look_text(o->json, *more));
	}
	if (strcmp(condition, CONDITION_UP) != 0) {
		buf_adds(b, "\\n");
		put_text(b, condition);
	}
	buf_addf(b, "\" color=\"%s\"]\n", colour_of(condition));
}

static const char *const by_network[] = {"cidr", "cidr6", NULL};
static const char *const by_type[] = {"type", "cidr", "address", "address6", NULL};
static const char *const by_address[] = {"address", "address6", NULL};
static const char *const by_server[] = {"kind", "server", "proxy", NULL};
static const char *const by_nothing[] = {NULL};

/* ---- What belongs together ---- */

struct drawing {
	struct buf *b;
	const json_t *doc;
	bool in_vpc; /* a box around a VPC and what is in it is open */
};

static void open_vpc(struct drawing *d, const struct look_object *o)
{
	if (d->in_vpc)
		buf_adds(d->b, "\t}\n");
	buf_adds(d->b, "\tsubgraph \"cluster ");
	put_text(d->b, o->id);
	buf_adds(d->b, "\" {\n\tstyle=rounded\n");
	put_object(d->b, o, by_network);
	d->in_vpc = true;
}

static void close_vpc(struct drawing *d)
{
	if (d->in_vpc)
		buf_adds(d->b, "\t}\n");
	d->in_vpc = false;
}

static void draw_node(void *arg, const struct look_object *o)
{
	static const struct {
		const char *kind;
		const char *const *more;
	} inside[] = {{"subnet", by_type}, {"vm", by_address}, {"container", by_address}},
	  outside[] = {{"interface", by_nothing},
		       {"host", by_nothing},
		       {"egress", by_server},
		       {"tunnel", by_server},
		       {"session", by_server}};
	struct drawing *d = arg;

	if (!strcmp(o->kind, "vpc"))
		open_vpc(d, o);
	for (size_t i = 0; i < ARRAY_SIZE(inside); i++)
		if (!strcmp(o->kind, inside[i].kind))
			put_object(d->b, o, inside[i].more);
	for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
		if (!strcmp(o->kind, outside[i].kind)) {
			close_vpc(d);
			put_object(d->b, o, outside[i].more);
		}
	}
}

/* ---- What is joined to what ---- */

/* The subnet that a namespace is, or nothing. */
struct owner {
	const char *netns;
	char id[LOOK_ID_MAX];
};

static void find_owner(void *arg, const struct look_object *o)
{
	struct owner *w = arg;

	if (!strcmp(o->kind, "subnet") && !strcmp(look_text(o->json, "namespace"), w->netns))
		memcpy(w->id, o->id, sizeof(w->id));
}

static void draw_tunnel(struct drawing *d, const struct look_object *o)
{
	struct owner owner = {.netns = o->id};

	look_walk(d->doc, find_owner, &owner);
	if (*owner.id)
		put_edge(d->b, "subnet", owner.id, o->kind, o->id, "style=bold");
	put_edge(d->b, o->kind, o->id, INTERNET, "", "style=bold");
}

static void draw_egress(struct drawing *d, const struct look_object *o)
{
	const char *via = look_text(o->json, "via"), *interface = look_text(o->json, "interface");

	if (*via)
		put_edge(d->b, o->kind, o->id, "egress", via, "style=bold");
	else if (*interface)
		put_edge(d->b, o->kind, o->id, "interface", interface, "style=bold");
}

/* Of a list of egresses the first that is up counts. */
static void draw_ways(struct drawing *d, const struct look_object *o)
{
	_free_ char *list = xstrdup(look_text(o->json, "egress"));
	const char *attributes = "style=bold";
	char *rest = NULL;

	for (char *w = strtok_r(list, ",", &rest); w; w = strtok_r(NULL, ",", &rest)) {
		if (strcmp(w, EGRESS_NONE) != 0)
			put_edge(d->b, o->kind, o->id, "egress", w, attributes);
		attributes = "style=dashed";
	}
}

/* A machine in a subnet is on the VPC's bridge as the subnet is. */
static void draw_edge(void *arg, const struct look_object *o)
{
	static const char *const plugged[] = {"subnet", "vm", "container"};
	struct drawing *d = arg;

	for (size_t i = 0; i < ARRAY_SIZE(plugged); i++)
		if (!strcmp(o->kind, plugged[i]))
			put_edge(d->b, o->kind, o->id, "vpc", look_text(o->vpc, "name"),
				 "dir=none");
	if (!strcmp(o->kind, "nat"))
		put_edge(d->b, "vpc", o->id, "interface", look_text(o->json, "interface"),
			 "label=\"NAT\"");
	if (!strcmp(o->kind, "peer"))
		put_edge(d->b, "vpc", look_text(o->json, "a"), "vpc", look_text(o->json, "b"),
			 "dir=both style=dashed label=\"peers\" constraint=false");
	if (!strcmp(o->kind, "interface"))
		put_edge(d->b, o->kind, o->id, INTERNET, "", "dir=none");
	if (!strcmp(o->kind, "session"))
		put_edge(d->b, o->kind, o->id, "interface", look_text(o->json, "interface"),
			 "style=bold");
	if (!strcmp(o->kind, "tunnel"))
		draw_tunnel(d, o);
	if (!strcmp(o->kind, "egress"))
		draw_egress(d, o);
	draw_ways(d, o);
}

void graph_dot(const json_t *doc, struct buf *ret)
{
	struct drawing d = {.b = ret, .doc = doc};

	buf_adds(ret, "digraph byway {\n\trankdir=LR\n"
		      "\tnode [shape=box style=rounded fontname=\"sans-serif\"]\n"
		      "\tedge [fontname=\"sans-serif\" color=\"#777777\"]\n\t");
	put_node(ret, INTERNET, "");
	buf_adds(ret, " [label=\"internet\" shape=ellipse]\n");
	look_walk(doc, draw_node, &d);
	close_vpc(&d);
	look_walk(doc, draw_edge, &d);
	buf_adds(ret, "}\n");
}

int graph_svg(const json_t *doc, struct buf *ret, struct err *err)
{
	static const char *const argv[] = {"dot", "-Tsvg", NULL};
	_buf_ struct buf dot = {0}, said = {0};
	int status, r;

	if (!run_has(argv[0]))
		return err_set(
			err, ERR_UNSUPPORTED, -ENOENT,
			"SVG is drawn by dot(1), which is not installed: `apt install graphviz`, "
			"or --dot for its input");
	graph_dot(doc, &dot);
	r = run(NULL, argv, &dot, ret, &said, &status, err);
	if (!r && status)
		r = err_set(err, ERR_FAILED, -EIO, "dot(1) failed: %.200s",
			    said.data ? said.data : "it did not say why");
	return r;
}
