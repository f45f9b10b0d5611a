// SPDX-License-Identifier: GPL-2.0-or-later
/* byway status: a table of all that there is, what belongs to a VPC below it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/term.h"
#include "ops/look.h"

#define CELL_MAX 192

enum column { COLUMN_NAME, COLUMN_KIND, COLUMN_STATE, COLUMN_WHERE, COLUMN_RX, COLUMN_TX, COLUMNS };

struct line {
	char cells[COLUMNS][CELL_MAX];
	const char *error; /* borrowed; NULL: none */
	bool begins_part;  /* a blank line before */
};

struct table {
	struct line *v;
	size_t n;
	const char *rx, *tx; /* members that have the numbers */
};

/* ---- Lines ---- */

static struct line *add_line(struct table *t, const char *name, const char *kind, const char *state)
{
	struct line *l;

	t->v = xrealloc(t->v, t->n + 1, sizeof(*t->v));
	l = &t->v[t->n++];
	*l = (struct line){0};
	snprintf(l->cells[COLUMN_NAME], CELL_MAX, "%s", name);
	snprintf(l->cells[COLUMN_KIND], CELL_MAX, "%s", kind);
	snprintf(l->cells[COLUMN_STATE], CELL_MAX, "%s", state);
	return l;
}

static void set_bytes(char cell[CELL_MAX], const json_t *o, const char *key)
{
	char text[TERM_BYTES_MAX];

	if (json_is_integer(json_object_get(o, key)))
		snprintf(cell, CELL_MAX, "%s", term_bytes(look_number(o, key), text));
}

/* The first of these members that says anything, and what it goes out by. */
static void set_where(char cell[CELL_MAX], const json_t *o, const char *const where[])
{
	const char *egress = look_text(o, "egress");

	for (; *where && !*cell; where++)
		snprintf(cell, CELL_MAX, "%s%s%s", look_text(o, *where),
			 *egress && strcmp(*where, "egress") != 0 ? " > " : "",
			 strcmp(*where, "egress") != 0 ? egress : "");
}

/* What all kinds have in common. where: the first of these members that says anything. */
static struct line *add_object(struct table *t, const json_t *o, const char *prefix,
			       const char *kind, const char *const where[])
{
	_free_ char *name = xasprintf("%s%s", prefix, look_text(o, "name"));
	struct line *l = add_line(t, name, kind, look_text(o, "condition"));

	set_where(l->cells[COLUMN_WHERE], o, where);
	set_bytes(l->cells[COLUMN_RX], o, t->rx);
	set_bytes(l->cells[COLUMN_TX], o, t->tx);
	l->error = json_string_value(json_object_get(o, "error"));
	return l;
}

static const char *const by_address[] = {"address", "address6", NULL};
static const char *const by_network[] = {"cidr", "cidr6", NULL};
static const char *const by_way[] = {"egress", NULL};
static const char *const by_server[] = {"server", "proxy", "via", NULL};

/* The peer of a VPC, and what they may reach of each other. */
static void add_peer(struct table *t, const json_t *vpc, const json_t *peer, const char *prefix)
{
	bool is_a = !strcmp(look_text(peer, "a"), look_text(vpc, "name"));
	_free_ char *name = xasprintf("%s%s", prefix, look_text(peer, is_a ? "b" : "a"));
	struct line *l = add_line(t, name, "peer", look_text(peer, "condition"));
	size_t n = json_array_size(json_object_get(peer, "allow"));

	if (n)
		snprintf(l->cells[COLUMN_WHERE], CELL_MAX, "%zu network%s only", n,
			 n == 1 ? "" : "s");
}

static void add_nat(struct table *t, const json_t *nat, const char *prefix)
{
	_free_ char *name = xasprintf("%sway out", prefix);
	struct line *l = add_line(t, name, "nat", look_text(nat, "condition"));

	snprintf(l->cells[COLUMN_WHERE], CELL_MAX, "%s", look_text(nat, "interface"));
}

/* Its last line has another sign before it. */
struct branch {
	size_t left;
	bool utf8;
};

static const char *next_prefix(struct branch *b)
{
	bool last = !--b->left;

	if (b->utf8)
		return last ? "└─ " : "├─ ";
	return last ? "`- " : "|- ";
}

static void add_vpc(struct table *t, const json_t *vpc)
{
	bool flat = json_is_true(json_object_get(vpc, "flat"));
	json_t *nat = json_object_get(vpc, "nat"), *subnets = json_object_get(vpc, "subnets");
	json_t *vms = json_object_get(vpc, "vms"), *peers = json_object_get(vpc, "peers"), *o;
	struct branch b = {.left = json_is_object(nat) + json_array_size(subnets) +
				   json_array_size(vms) + json_array_size(peers),
			   .utf8 = term_has_utf8()};
	size_t i;

	add_object(t, vpc, "", flat ? "network" : "vpc", by_network);
	if (json_is_object(nat))
		add_nat(t, nat, next_prefix(&b));
	json_array_foreach(subnets, i, o)
		add_object(t, o, next_prefix(&b), look_text(o, "type"), by_address);
	json_array_foreach(vms, i, o)
	{
		bool is_vm = strcmp(look_text(o, "kind"), "veth") != 0;

		add_object(t, o, next_prefix(&b), is_vm ? "vm" : "container", by_address);
	}
	json_array_foreach(peers, i, o) add_peer(t, vpc, o, next_prefix(&b));
}

/* A part of the table stands apart from the one before. */
static void add_part(struct table *t, const json_t *objects, const char *kind,
		     const char *const where[])
{
	size_t i, first = t->n;
	json_t *o;

	json_array_foreach(objects, i, o)
		add_object(t, o, "", kind ? kind : look_text(o, "kind"), where);
	if (first > 1 && first < t->n) /* the first line is the titles */
		t->v[first].begins_part = true;
}

static void add_all(struct table *t, const json_t *doc)
{
	static const char *const nowhere[] = {NULL};
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(doc, "vpcs"), i, o) add_vpc(t, o);
	add_part(t, json_object_get(doc, "hosts"), "host", by_way);
	add_part(t, json_object_get(doc, "tunnels"), NULL, by_server);
	add_part(t, json_object_get(doc, "sessions"), "session", by_server);
	add_part(t, json_object_get(doc, "egresses"), NULL, by_server);
	add_part(t, json_object_get(doc, "interfaces"), "interface", nowhere);
}

/* ---- On paper ---- */

#define BETWEEN 2 /* blanks */
#define NAME_MIN 16
#define WHERE_MIN 12

static void measure(const struct table *t, size_t widths[COLUMNS])
{
	for (size_t i = 0; i < t->n; i++)
		for (size_t k = 0; k < COLUMNS; k++)
			widths[k] = MAX(widths[k], term_width(t->v[i].cells[k]));
}

/* What does not fit on the terminal is taken from what may be long. */
static void fit(size_t widths[COLUMNS], size_t columns)
{
	static const struct {
		enum column column;
		size_t min;
	} flexible[] = {{COLUMN_WHERE, WHERE_MIN}, {COLUMN_NAME, NAME_MIN}};
	size_t sum = BETWEEN * (COLUMNS - 1);

	for (size_t k = 0; k < COLUMNS; k++)
		sum += widths[k];
	for (size_t i = 0; i < ARRAY_SIZE(flexible) && columns && sum > columns; i++) {
		size_t *w = &widths[flexible[i].column];
		size_t less = *w > flexible[i].min ? MIN(sum - columns, *w - flexible[i].min) : 0;

		*w -= less;
		sum -= less;
	}
}

static void put_cell(struct buf *b, enum term_colour colour, const char *text, size_t k,
		     const size_t widths[COLUMNS])
{
	bool to_the_right = k == COLUMN_RX || k == COLUMN_TX;
	size_t len = term_width(text),
	       blanks = to_the_right && len < widths[k] ? widths[k] - len : 0;

	if (k)
		buf_addf(b, "%*s", BETWEEN, "");
	buf_addf(b, "%*s", (int)blanks, "");
	term_put(b, colour, text, k + 1 < COLUMNS ? widths[k] - blanks : 0, widths[k]);
}

static void put_line(struct buf *b, const struct line *l, const size_t widths[COLUMNS],
		     size_t columns)
{
	enum term_colour state = term_colour_of(l->cells[COLUMN_STATE]);

	if (l->begins_part)
		buf_adds(b, "\n");
	for (size_t k = 0; k < COLUMNS; k++)
		put_cell(b, k == COLUMN_STATE ? state : TERM_PLAIN, l->cells[k], k, widths);
	while (b->data[b->len - 1] == ' ')
		b->len--;
	buf_adds(b, "\n");
	if (!l->error)
		return;
	buf_adds(b, "   ! ");
	term_put(b, state == TERM_GOOD ? TERM_DIM : TERM_BAD, l->error, 0,
		 columns > 8 ? columns - 5 : 0);
	buf_adds(b, "\n");
}

static void print_table(const struct table *t)
{
	size_t widths[COLUMNS] = {0}, columns = term_columns();
	_buf_ struct buf b = {0};

	measure(t, widths);
	fit(widths, columns);
	for (size_t i = 0; i < t->n; i++)
		put_line(&b, &t->v[i], widths, columns);
	fwrite(b.data, 1, b.len, stdout);
}

static void print_look(const json_t *doc, bool has_rates)
{
	static const char *const titles[][COLUMNS] = {
		{"NAME", "KIND", "STATE", "WHERE", "RX", "TX"},
		{"NAME", "KIND", "STATE", "WHERE", "RX/s", "TX/s"},
	};
	struct table t = {.rx = has_rates ? "rx_rate" : "rx_bytes",
			  .tx = has_rates ? "tx_rate" : "tx_bytes"};
	struct line *title = add_line(&t, "", "", "");

	for (size_t k = 0; k < COLUMNS; k++)
		snprintf(title->cells[k], CELL_MAX, "%s", titles[has_rates][k]);
	add_all(&t, doc);
	if (t.n > 1)
		print_table(&t);
	else
		puts("nothing is set up: no VPCs, tunnels or sessions");
	free(t.v);
}

/* ---- The command ---- */

struct looking {
	struct look now, before;
	bool again; /* --watch */
};

static int draw(struct cli *c, void *arg)
{
	struct looking *l = arg;
	int r;

	look_done(&l->before);
	l->before = l->now;
	l->now = (struct look){0};
	r = look_take(&l->now, &c->err);
	if (r)
		return r;
	if (l->before.doc)
		look_rates(&l->now, &l->before);
	if (!c->json) {
		print_look(l->now.doc, l->before.doc);
	} else if (l->again) { /* a line each */
		json_object_set_new(l->now.doc, "schema", json_string("byway.status/1"));
		json_dumpf(l->now.doc, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		cli_print_json("byway.status/1", json_incref(l->now.doc));
	}
	return 0;
}

int cmd_status(struct cli *c)
{
	struct looking l = {.again = cli_opt(c, "watch")};
	unsigned int interval_s;
	int r = cli_number(c, "interval", 1, 86400, 1, &interval_s);

	if (!r)
		r = l.again ? term_watch(c, interval_s, draw, &l) : draw(c, &l);
	look_done(&l.before);
	look_done(&l.now);
	return r;
}
