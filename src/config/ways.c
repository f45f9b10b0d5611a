// SPDX-License-Identifier: GPL-2.0-or-later
/* Egresses, and who goes out by which. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "config/impl.h"

#define WAY_NAT "nat"
#define WAY_NONE "none"

static bool is_built_in(const char *name)
{
	return !strcmp(name, WAY_NAT) || !strcmp(name, WAY_NONE);
}

static int read_one_egress(struct doc *d, const char *name, struct fy_node *key,
			   struct fy_node *value, void *into, struct err *err)
{
	struct config *c = into;
	struct config_egress *e;

	GROW(c->egress, c->n_egress);
	e = &c->egress[c->n_egress++];
	*e = (struct config_egress){.at = key, .path = c->path};
	if (value_name(d, key, "egress", name, e->name, err))
		return -EINVAL;
	if (is_built_in(name))
		return doc_error(d, key, err, "\"%s\" is built in: no egress can be named so",
				 name);
	if (strlen(name) > EGRESS_NAME_MAX)
		return doc_error(d, key, err, "an egress's name has at most %d characters",
				 EGRESS_NAME_MAX);
	return egress_spec_read(d, value, c->path, e->name, &e->spec, err);
}

int config_read_egress(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return doc_read_names(d, node, "\"egress\"", EGRESS_MAX, read_one_egress, into, err);
}

/* ---- who goes out by which ---- */

static int read_way(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct config_use *u = into;
	char name[NAME_MAX_LEN];
	size_t len = strlen(u->ways);
	int r = doc_read_text(d, node, "a way out", name, sizeof(name), err);

	if (r)
		return r;
	if (len && (is_built_in(name) || is_built_in(u->ways)))
		return doc_error(d, node, err, "\"nat\" and \"none\" stand alone, not in a list");
	if (!*name || strchr(name, ','))
		return doc_error(d, node, err, "\"%s\" is not an egress's name", name);
	if (way_has(u->ways, name))
		return doc_error(d, node, err, "egress \"%s\" is in the list twice", name);
	snprintf(u->ways + len, sizeof(u->ways) - len, "%s%s", len ? "," : "", name);
	return 0;
}

int value_ways(struct config *c, struct fy_node *node, enum use_kind kind, const char *first,
	       const char *second, struct err *err)
{
	struct config_use *u;
	int r;

	GROW(c->uses, c->n_uses);
	u = &c->uses[c->n_uses++];
	*u = (struct config_use){.at = node, .kind = kind};
	snprintf(u->workload, sizeof(u->workload), "%s%s%s", first, second ? "/" : "",
		 second ? second : "");
	if (!doc_is_list(c->doc, node))
		return read_way(c->doc, node, u, err);
	r = doc_read_list(c->doc, node, "\"egress\"", WAY_EGRESSES_MAX, read_way, u, err);
	if (!r && !*u->ways)
		r = doc_error(c->doc, node, err, "\"egress\" is empty: \"none\" is no way out");
	return r;
}

/* ---- the host ---- */

struct host_reading {
	struct config *c;
	struct fy_node *egress;
	struct buf exclude;
};

static int read_host_egress(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	(void)d;
	(void)err;
	((struct host_reading *)into)->egress = node;
	return 0;
}

static int read_excluded(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct host_reading *rd = into;
	char text[CIDR_STRLEN];
	struct cidr c;
	int r = doc_read_text(d, node, "a network", text, sizeof(text), err);

	if (!r && cidr_parse_network(text, &c, err))
		r = doc_error_at(d, node, err);
	if (!r)
		buf_addf(&rd->exclude, "%s%s", rd->exclude.len ? "," : "", cidr_format(&c, text));
	return r;
}

static int read_exclude(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return doc_is_list(d, node) ? doc_read_list(d, node, "\"exclude\"", USE_EXCLUDES_MAX,
						    read_excluded, into, err)
				    : read_excluded(d, node, into, err);
}

static const struct doc_key host_keys[] = {
	{"egress", read_host_egress, DOC_REQUIRED},
	{"exclude", read_exclude},
};

static int read_host(struct host_reading *rd, struct doc *d, struct fy_node *node, struct err *err)
{
	int r = doc_read_map(d, node, "the host", host_keys, ARRAY_SIZE(host_keys), rd, err);
	struct config_use *u;

	if (!r)
		r = value_ways(rd->c, rd->egress, USE_HOST, USE_HOST_NAME, NULL, err);
	if (r || !rd->exclude.len)
		return r;
	u = &rd->c->uses[rd->c->n_uses - 1];
	if (!strcmp(u->ways, WAY_NAT))
		return doc_error(d, node, err, "with \"nat\" there is nothing to exclude from");
	u->exclude = xstrdup(rd->exclude.data);
	return 0;
}

int config_read_host(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct host_reading rd = {.c = into};
	int r = read_host(&rd, d, node, err);

	buf_done(&rd.exclude);
	return r;
}

/* ---- what is named is there ---- */

static const struct config_egress *find(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->n_egress; i++)
		if (!strcmp(c->egress[i].name, name))
			return &c->egress[i];
	return NULL;
}

static int unknown(struct config *c, struct fy_node *at, const char *name, struct err *err)
{
	const char *names[EGRESS_MAX], *near;

	for (size_t i = 0; i < c->n_egress; i++)
		names[i] = c->egress[i].name;
	near = str_nearest(name, names, c->n_egress);
	return doc_error(c->doc, at, err, "there is no egress \"%s\" in this file%s%s%s", name,
			 near ? ": did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static int check_use(struct config *c, const struct config_use *u, struct err *err)
{
	_free_ char *list = xstrdup(u->ways);
	char *rest = NULL;

	for (char *name = strtok_r(list, ",", &rest); name; name = strtok_r(NULL, ",", &rest))
		if (!is_built_in(name) && !find(c, name))
			return unknown(c, u->at, name, err);
	return 0;
}

/* How many it goes out by, one behind the other; n_egress when that never ends. */
static size_t depth_of(const struct config *c, const struct config_egress *e)
{
	size_t depth = 0;

	while (e && *e->spec.via && depth < c->n_egress) {
		e = find(c, e->spec.via);
		depth++;
	}
	return depth;
}

static int check_chain(struct config *c, const struct config_egress *e, struct err *err)
{
	if (*e->spec.via && !find(c, e->spec.via))
		return unknown(c, e->at, e->spec.via, err);
	if (depth_of(c, e) == c->n_egress)
		return doc_error(c->doc, e->at, err,
				 "egress \"%s\" would go out by itself, via \"%s\"", e->name,
				 e->spec.via);
	return 0;
}

static void put_in_order(struct config *c)
{
	struct config_egress *sorted = xcalloc(c->n_egress + 1, sizeof(*sorted));
	size_t n = 0;

	for (size_t depth = 0; n < c->n_egress; depth++)
		for (size_t i = 0; i < c->n_egress; i++)
			if (depth_of(c, &c->egress[i]) == depth)
				sorted[n++] = c->egress[i];
	free(c->egress);
	c->egress = sorted;
}

int config_check_ways(struct config *c, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < c->n_egress; i++)
		r = check_chain(c, &c->egress[i], err);
	for (size_t i = 0; !r && i < c->n_uses; i++)
		r = check_use(c, &c->uses[i], err);
	if (!r)
		put_in_order(c);
	return r;
}
