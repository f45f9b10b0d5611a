// SPDX-License-Identifier: GPL-2.0-or-later
/* byway graph: the topology, drawn on the terminal as a tree, or for other programs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/term.h"
#include "ops/graph.h"
#include "ops/look.h"

/* ---- The tree: objects with a text, a condition (or none) and children ---- */

static json_t *branch(json_t *text, const char *condition)
{
	return json_pack("{s:o, s:s, s:[]}", "text", text, "condition", condition, "children");
}

static void grow(json_t *parent, json_t *child)
{
	json_array_append_new(json_object_get(parent, "children"), child);
}

static const char *first_of(const json_t *o, const char *one, const char *other)
{
	return *look_text(o, one) ? look_text(o, one) : look_text(o, other);
}

/* Something, and the way out that it has of its own. */
static json_t *object_branch(const json_t *o, const char *kind, const char *where)
{
	const char *egress = look_text(o, "egress");

	return branch(json_sprintf("%s  %s%s%s%s%s", look_text(o, "name"), kind, *where ? " " : "",
				   where, *egress ? " > " : "", egress),
		      look_text(o, "condition"));
}

static json_t *vpc_branch(const json_t *vpc)
{
	bool flat = json_is_true(json_object_get(vpc, "flat"));
	json_t *b = object_branch(vpc, flat ? "network" : "vpc", first_of(vpc, "cidr", "cidr6")),
	       *o;
	size_t i;

	json_array_foreach(json_object_get(vpc, "subnets"), i, o)
		grow(b, object_branch(o, look_text(o, "type"), first_of(o, "cidr", "cidr6")));
	json_array_foreach(json_object_get(vpc, "vms"), i, o)
	{
		bool is_vm = strcmp(look_text(o, "kind"), "veth") != 0;

		grow(b, object_branch(o, is_vm ? "vm" : "container",
				      first_of(o, "address", "address6")));
	}
	json_array_foreach(json_object_get(vpc, "peers"), i, o)
	{
		bool is_a = !strcmp(look_text(o, "a"), look_text(vpc, "name"));

		grow(b, branch(json_sprintf("peers with %s", look_text(o, is_a ? "b" : "a")),
			       look_text(o, "condition")));
	}
	return b;
}

/* What goes out by an interface; "" stands for those that do not go out at all. */
static void grow_users(json_t *parent, const json_t *doc, const char *interface)
{
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(doc, "vpcs"), i,
			   o) if (!strcmp(look_text(json_object_get(o, "nat"), "interface"),
					  interface)) grow(parent, vpc_branch(o));
	json_array_foreach(json_object_get(doc, "sessions"), i,
			   o) if (!strcmp(look_text(o, "interface"), interface))
		grow(parent, object_branch(o, "session", look_text(o, "server")));
}

static json_t *egress_branch(const json_t *doc, const json_t *egress)
{
	const char *name = look_text(egress, "name");
	json_t *b = object_branch(egress, look_text(egress, "kind"), look_text(egress, "server")),
	       *o;
	size_t i;

	json_array_foreach(json_object_get(doc, "egresses"), i,
			   o) if (!strcmp(look_text(o, "via"), name))
		grow(b, egress_branch(doc, o));
	return b;
}

/* Those that go out by no other: by that interface, or, with "", by none that is known. */
static void grow_egresses(json_t *parent, const json_t *doc, const char *interface)
{
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(doc, "egresses"), i,
			   o) if (!*look_text(o, "via") &&
				  !strcmp(look_text(o, "interface"), interface))
		grow(parent, egress_branch(doc, o));
}

static json_t *way_branch(const json_t *doc, const json_t *interface)
{
	json_t *b = object_branch(interface, "interface", "");

	grow_users(b, doc, look_text(interface, "name"));
	grow_egresses(b, doc, look_text(interface, "name"));
	return b;
}

static json_t *draw_internet(const json_t *doc)
{
	json_t *b = branch(json_string("internet"), ""), *o;
	size_t i;

	json_array_foreach(json_object_get(doc, "interfaces"), i, o) grow(b, way_branch(doc, o));
	grow_egresses(b, doc, "");
	json_array_foreach(json_object_get(doc, "hosts"), i, o)
		grow(b, object_branch(o, "this machine", ""));
	json_array_foreach(json_object_get(doc, "tunnels"), i, o)
		grow(b, object_branch(o, look_text(o, "kind"), first_of(o, "server", "proxy")));
	return b;
}

/* ---- On paper ---- */

struct signs {
	const char *middle, *last, *through, *past;
};

static void put_branch(struct buf *b, const json_t *branch)
{
	const char *condition = look_text(branch, "condition");

	term_put(b, TERM_PLAIN, look_text(branch, "text"), 0, 0);
	if (*condition && strcmp(condition, CONDITION_UP) != 0) {
		buf_adds(b, "  ");
		term_put(b, term_colour_of(condition), condition, 0, 0);
	}
	buf_adds(b, "\n");
}

static void put_children(struct buf *b, const struct signs *s, const json_t *parent,
			 const char *before)
{
	const json_t *children = json_object_get(parent, "children"), *one;
	size_t n = json_array_size(children), i;

	json_array_foreach(children, i, one)
	{
		bool last = i + 1 == n;
		_free_ char *below = xasprintf("%s%s", before, last ? s->past : s->through);

		buf_addf(b, "%s%s", before, last ? s->last : s->middle);
		put_branch(b, one);
		put_children(b, s, one, below);
	}
}

static void put_tree(struct buf *b, bool has_lines, json_t *tree)
{
	static const struct signs utf8 = {"├── ", "└── ", "│   ", "    "},
				  ascii = {"|-- ", "`-- ", "|   ", "    "};

	put_branch(b, tree);
	put_children(b, has_lines ? &utf8 : &ascii, tree, "");
	json_decref(tree);
}

static void draw_tree(const json_t *doc, bool has_lines, struct buf *ret)
{
	json_t *inside = branch(json_string("without NAT"), "");

	put_tree(ret, has_lines, draw_internet(doc));
	grow_users(inside, doc, "");
	if (json_array_size(json_object_get(inside, "children")))
		put_tree(ret, has_lines, inside);
	else
		json_decref(inside);
}

/* ---- The command ---- */

int cmd_graph(struct cli *c)
{
	bool dot = cli_opt(c, "dot"), svg = cli_opt(c, "svg");
	_look_ struct look look = {0};
	_buf_ struct buf text = {0};
	int r;

	if (dot && svg)
		return err_set(&c->err, ERR_USAGE, -EINVAL, "--dot or --svg, not both");
	r = look_take(&look, &c->err);
	if (!r && svg)
		r = graph_svg(look.doc, &text, &c->err);
	else if (!r && (dot || c->json))
		graph_dot(look.doc, &text);
	else if (!r)
		draw_tree(look.doc, !cli_opt(c, "ascii") && term_has_utf8(), &text);
	if (r)
		return r;
	if (c->json)
		cli_print_json("byway.graph/1", json_pack("{s:s}", svg ? "svg" : "dot", text.data));
	else
		fwrite(text.data, 1, text.len, stdout);
	return 0;
}
