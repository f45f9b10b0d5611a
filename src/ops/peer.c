// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "ops/ops.h"
#include "vpc/host_rules.h"

static int check_allowed(const struct cidr *c, const struct vpc *a, const struct vpc *b,
			 struct err *err)
{
	bool v6 = c->addr.family == AF_INET6;
	const struct cidr *in_a = v6 ? &a->cidr6 : &a->cidr, *in_b = v6 ? &b->cidr6 : &b->cidr;
	char text[CIDR_STRLEN];

	if ((in_a->addr.family && cidr_contains(in_a, c)) ||
	    (in_b->addr.family && cidr_contains(in_b, c)))
		return 0;
	return err_set(err, ERR_USAGE, -EINVAL, "--allow %s: it is inside neither '%s' nor '%s'",
		       cidr_format(c, text), a->name, b->name);
}

/* Overlapping entries would overlap in the kernel's set. */
static int check_distinct(const struct peer *p, const struct cidr *c, struct err *err)
{
	char one[CIDR_STRLEN], two[CIDR_STRLEN];

	for (size_t i = 0; i < p->n_allow; i++) {
		if (cidr_overlaps(&p->allow[i], c))
			return err_set(err, ERR_USAGE, -EINVAL, "--allow: %s and %s overlap",
				       cidr_format(&p->allow[i], one), cidr_format(c, two));
	}
	return 0;
}

static int parse_allow(const char *list, struct peer *p, const struct vpc *a, const struct vpc *b,
		       struct err *err)
{
	_free_ char *copy = xstrdup(list ? list : "");
	char *rest = NULL;

	for (char *t = strtok_r(copy, ", ", &rest); t; t = strtok_r(NULL, ", ", &rest)) {
		struct cidr c;
		int r = cidr_parse_network(t, &c, err);

		if (!r && p->n_allow == PEER_ALLOW_MAX)
			r = err_set(err, ERR_USAGE, -E2BIG, "--allow: at most %d networks", PEER_ALLOW_MAX);
		if (!r)
			r = check_allowed(&c, a, b, err);
		if (!r)
			r = check_distinct(p, &c, err);
		if (r)
			return r;
		p->allow[p->n_allow++] = c;
	}
	if (list && !p->n_allow)
		return err_set(err, ERR_USAGE, -EINVAL, "--allow: the list is empty");
	return 0;
}

static int save(struct ops *o, struct peer *p, enum row_state state, struct err *err)
{
	int r = ops_begin(o, err);

	p->state = state;
	if (!r)
		r = peer_save(o->st, p, err);
	return ops_end(o, r, err);
}

static int forget(struct ops *o, const struct peer *p, struct err *err)
{
	int r = ops_begin(o, err);

	if (!r)
		r = peer_remove(o->st, p, err);
	return ops_end(o, r, err);
}

/* In one transaction: del goes, add comes; either may be NULL. */
static int change_elements(struct ops *o, const struct peer *add, const struct peer *del,
			   const struct vpc *a, const struct vpc *b, struct err *err)
{
	_host_rules_ struct host_rules coming = {0}, going = {0};

	host_rules_init(&coming);
	host_rules_init(&going);
	if (add)
		host_rules_peer(&coming, add, a, b);
	if (del)
		host_rules_peer(&going, del, a, b);
	return ops_host_update(o, &coming, &going, err);
}

static int publish_both(struct ops *o, const struct peer *p, struct err *err)
{
	int r = ops_publish(o, p->a, err);

	return r ? r : ops_publish(o, p->b, err);
}

static int load_pair(struct ops *o, const char *one, const char *two, struct vpc *a, struct vpc *b,
		     struct err *err)
{
	bool ordered = strcmp(one, two) < 0;
	int r;

	if (!strcmp(one, two))
		return err_set(err, ERR_USAGE, -EINVAL, "a VPC cannot be peered with itself ('%s')", one);
	r = vpc_load(o->st, ordered ? one : two, a, err);
	return r ? r : vpc_load(o->st, ordered ? two : one, b, err);
}

static bool same_allow(const struct peer *p, const struct peer *q)
{
	bool same = p->n_allow == q->n_allow;

	for (size_t i = 0; same && i < p->n_allow; i++)
		same = cidr_equal(&p->allow[i], &q->allow[i]);
	return same;
}

/* The former row comes back: it was there, and its elements are. */
static int undo(struct ops *o, const struct peer *p, const struct peer *old, const struct vpc *a,
		const struct vpc *b)
{
	struct peer before = *old;
	int r;

	if (!*old->a) {
		r = change_elements(o, NULL, p, a, b, NULL);
		return r ? r : forget(o, p, NULL);
	}
	r = change_elements(o, old, p, a, b, NULL);
	return r ? r : save(o, &before, old->state, NULL);
}

int ops_peer_add(struct ops *o, const char *one, const char *two, const char *allow,
		 struct peer *ret, struct err *err)
{
	struct peer p = {.state = ROW_ACTIVE}, old = {0};
	struct vpc a, b;
	int r = load_pair(o, one, two, &a, &b, err);

	if (!r)
		r = parse_allow(allow, &p, &a, &b, err);
	if (r)
		return r;
	str_copy(p.a, sizeof(p.a), a.name);
	str_copy(p.b, sizeof(p.b), b.name);
	*ret = p;
	r = peer_load(o->st, a.name, b.name, &old, NULL);
	if (!r && old.state == ROW_ACTIVE && same_allow(&p, &old))
		return 0;
	if (!r || r == -ENOENT)
		r = save(o, &p, ROW_CREATING, err);
	if (r)
		return r;
	r = change_elements(o, &p, *old.a ? &old : NULL, &a, &b, err);
	if (!r)
		r = save(o, &p, ROW_ACTIVE, err);
	if (!r)
		return publish_both(o, &p, err);
	undo(o, &p, &old, &a, &b);
	return r;
}

int ops_peer_delete(struct ops *o, const char *one, const char *two, bool *ret_existed,
		    struct err *err)
{
	struct vpc a, b;
	struct peer p;
	int r = peer_load(o->st, one, two, &p, NULL);

	*ret_existed = !r;
	if (r == -ENOENT)
		return 0;
	if (!r)
		r = load_pair(o, one, two, &a, &b, err);
	if (!r)
		r = save(o, &p, ROW_DELETING, err);
	if (!r)
		r = change_elements(o, NULL, &p, &a, &b, err);
	if (!r)
		r = forget(o, &p, err);
	return r ? r : publish_both(o, &p, err);
}
