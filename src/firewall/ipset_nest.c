// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Networks inside networks, in ipsets of networks and interfaces.
 *
 * Of the networks that an address is in, hash:net,iface asks the most specific one only, whatever
 * interface that one is there for (mtype_test_cidrs() of net/netfilter/ipset/ip_set_hash_gen.h):
 * 10.0.1.0/24,b hides 10.0.0.0/16,a for what is in both. An interval set asks each. So the ipset
 * holds 10.0.1.0/24,a as well: of every element its interface with every network inside its own.
 *
 * What was put in so is told from what was asked for by the wider network with the same interface:
 * an interval set has no elements that overlap, so nobody asked for both.
 *
 * For the moment between two elements of one network the second one is hidden.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ip.h"
#include "base/util.h"
#include "firewall/iptables.h"
#include "proc/run.h"

enum { NET, INTERFACE }; /* the fields of such a set */

/* Wider networks before those inside them. */
static int by_net(const struct fw_elem *a, const struct fw_elem *b)
{
	int order = memcmp(&a->lo[NET], &b->lo[NET], sizeof(a->lo[NET]));

	return order ? order : memcmp(&b->hi[NET], &a->hi[NET], sizeof(a->hi[NET]));
}

static int by_interface(const struct fw_elem *a, const struct fw_elem *b)
{
	return memcmp(&a->lo[INTERFACE], &b->lo[INTERFACE], sizeof(a->lo[INTERFACE]));
}

static int by_elem(const void *a, const void *b)
{
	int order = by_net(a, b);

	return order ? order : by_interface(a, b);
}

static void sort(struct fw_set *s)
{
	if (s->n_elems)
		qsort(s->elems, s->n_elems, sizeof(*s->elems), by_elem);
}

static bool has(const struct fw_set *sorted, const struct fw_elem *e)
{
	return sorted->n_elems && bsearch(e, sorted->elems, sorted->n_elems, sizeof(*e), by_elem);
}

static struct fw_set empty_like(const struct fw_set *s)
{
	struct fw_set empty = *s;

	empty.elems = NULL;
	empty.n_elems = empty.cap_elems = 0;
	return empty;
}

static struct fw_set sorted_copy(const struct fw_set *s)
{
	struct fw_set copy = empty_like(s);

	for (size_t i = 0; i < s->n_elems; i++)
		fw_set_add(&copy, &s->elems[i]);
	sort(&copy);
	return copy;
}

void ipset_elems_done(struct fw_set *s)
{
	free(s->elems);
}

/* On the way through a sorted set, to drop the elements that the present one is not inside of. */
static void leave(struct fw_set *around, const struct fw_elem *e)
{
	while (around->n_elems && memcmp(&around->elems[around->n_elems - 1].hi[NET], &e->lo[NET],
					 sizeof(e->lo[NET])) < 0)
		around->n_elems--;
}

static bool is_covered(const struct fw_set *around, const struct fw_elem *e)
{
	for (size_t i = 0; i < around->n_elems; i++)
		if (!by_interface(&around->elems[i], e))
			return true;
	return false;
}

/* What was asked for, sorted. */
static struct fw_set asked_for(const struct fw_set *s)
{
	_cleanup_(ipset_elems_done) struct fw_set all = sorted_copy(s), around = empty_like(s);
	struct fw_set ret = empty_like(s);

	for (size_t i = 0; i < all.n_elems; i++) {
		leave(&around, &all.elems[i]);
		if (is_covered(&around, &all.elems[i]))
			continue;
		fw_set_add(&around, &all.elems[i]);
		fw_set_add(&ret, &all.elems[i]);
	}
	return ret;
}

static void add_inside(struct fw_set *to, const struct fw_set *around, const struct fw_elem *e)
{
	for (size_t i = 0; i < around->n_elems; i++) {
		struct fw_elem inside = around->elems[i];

		inside.lo[NET] = e->lo[NET];
		inside.hi[NET] = e->hi[NET];
		fw_set_add(to, &inside);
	}
}

struct fw_set ipset_nested(const struct fw_set *s)
{
	_cleanup_(ipset_elems_done) struct fw_set own = asked_for(s), around = empty_like(s);
	struct fw_set ret = empty_like(s);

	for (size_t i = 0; i < own.n_elems; i++) {
		const struct fw_elem *e = &own.elems[i];

		leave(&around, e);
		if (!i || by_net(e - 1, e))
			add_inside(&ret, &around, e);
		fw_set_add(&ret, e);
		fw_set_add(&around, e);
	}
	return ret;
}

/* ---- One element more, or less ---- */

/* "add NAME NET,INTERFACE" */
static void read_line(const char *line, struct fw_set *to)
{
	struct fw_elem e = {0};
	char net[CIDR_STRLEN], interface[sizeof(e.lo[INTERFACE].bytes)];
	struct cidr c;

	static_assert(CIDR_STRLEN > 49 && sizeof(interface) == 16, "the widths below");
	if (sscanf(line, "add %*s %49[^,],%15s", net, interface) != 2 || cidr_parse(net, &c, NULL))
		return;
	fw_elem_cidr(&e, NET, &c);
	fw_elem_name(&e, INTERFACE, interface);
	fw_set_add(to, &e);
}

/* ret_there: whether there is such an ipset. */
static int read_elems(const struct netns *ns, const char *name, struct fw_set *to, bool *ret_there,
		      struct err *err)
{
	const char *argv[] = {"ipset", "save", name, NULL};
	_buf_ struct buf text = {0};
	int status, r = run(ns, argv, NULL, &text, NULL, &status, err);

	if (r)
		return r;
	*ret_there = !status;
	for (const char *line = text.data; line && *line; line += *line == '\n') {
		read_line(line, to);
		line += strcspn(line, "\n");
	}
	return 0;
}

/* The elements of s with those of change, or without them. */
static struct fw_set changed(const struct fw_set *s, const struct fw_set *change, bool add)
{
	_cleanup_(ipset_elems_done) struct fw_set sorted = sorted_copy(change);
	struct fw_set ret = empty_like(s);

	for (size_t i = 0; i < s->n_elems; i++)
		if (!has(&sorted, &s->elems[i]))
			fw_set_add(&ret, &s->elems[i]);
	for (size_t i = 0; i < sorted.n_elems && add; i++)
		fw_set_add(&ret, &sorted.elems[i]);
	return ret;
}

/* Those of s that are not in `but`: of these, only such that are or are not in `among`. */
static struct fw_set pick(const struct fw_set *s, const struct fw_set *but,
			  const struct fw_set *among, bool in)
{
	struct fw_set ret = empty_like(s);

	for (size_t i = 0; i < s->n_elems; i++)
		if (!has(but, &s->elems[i]) && has(among, &s->elems[i]) == in)
			fw_set_add(&ret, &s->elems[i]);
	return ret;
}

/* Nothing is hidden that need not be: what covers goes before what is covered for its sake, and
 * comes after it. */
static int write_change(const struct fw_table *t, const struct fw_set *is, const struct fw_set *to,
			unsigned int generation, struct buf *b, struct err *err)
{
	_cleanup_(ipset_elems_done) struct fw_set own = asked_for(is), will = asked_for(to);
	const struct {
		const char *verb;
		const struct fw_set *of, *but, *among;
		bool in;
	} steps[] = {
		{"del", is, to, &own, true},
		{"del", is, to, &own, false},
		{"add", to, is, &will, false},
		{"add", to, is, &will, true},
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(steps) && !r; i++) {
		_cleanup_(ipset_elems_done) struct fw_set some =
			pick(steps[i].of, steps[i].but, steps[i].among, steps[i].in);

		r = ipset_elems_text(t, &some, generation, steps[i].verb, b, err);
	}
	return r;
}

int ipset_nested_text(const struct netns *ns, const struct fw_table *t, const struct fw_set *s,
		      unsigned int generation, bool add, struct buf *b, struct err *err)
{
	_cleanup_(ipset_elems_done) struct fw_set is = empty_like(s), own = empty_like(s),
						  want = empty_like(s), to = empty_like(s);
	char name[IPSET_NAME_MAX];
	bool there = false;
	int r;

	ipset_name(t, s->name, generation, name);
	r = read_elems(ns, name, &is, &there, err);
	if (r)
		return r;
	if (!there) /* which ipset(8) will say */
		return ipset_elems_text(t, s, generation, add ? "add" : "del", b, err);
	sort(&is);
	own = asked_for(&is);
	want = changed(&own, s, add);
	to = ipset_nested(&want);
	sort(&to);
	return write_change(t, &is, &to, generation, b, err);
}
