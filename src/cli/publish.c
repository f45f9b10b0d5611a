// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "vpc/mapping.h"
#include "vpc/view.h"

/* One range's mappings behind those that are there. */
static void add_range(const struct mapping_range *range, const struct mapping *like,
		      struct mapping **m, size_t *n)
{
	size_t more = (size_t)(range->last - range->first) + 1;

	*m = xrealloc(*m, *n + more, sizeof(**m));
	for (size_t i = 0; i < more; i++) {
		struct mapping *one = &(*m)[(*n)++];

		*one = *like;
		one->host_addr = range->host_addr;
		one->protocol = range->protocol ? range->protocol : IPPROTO_TCP;
		one->host_port = (uint16_t)(range->first + i);
		one->port = (uint16_t)(range->to + i);
	}
}

static int parse_mappings(struct cli *c, struct mapping **m, size_t *n)
{
	struct mapping like = {0};
	int r = cli_split(c, c->args[0], like.vpc, like.target);

	for (int i = 1; !r && i < c->n_args; i++) {
		struct mapping_range range;

		r = mapping_range_parse(c->args[i], &range, &c->err);
		if (!r && !range.to)
			r = err_set(&c->err, ERR_USAGE, -EINVAL,
				    "'%s' does not say to which port: HOSTPORT:PORT", c->args[i]);
		if (!r)
			add_range(&range, &like, m, n);
	}
	return r;
}

static json_t *view_mappings(const struct mapping *m, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, view_mapping(&m[i]));
	return list;
}

int cmd_publish(struct cli *c)
{
	_free_ struct mapping *m = NULL;
	size_t n = 0, n_new = 0;
	int r = parse_mappings(c, &m, &n);

	if (!r)
		r = cli_open(c, STORE_WRITE);
	if (!r)
		r = ops_mappings_add(&c->ops, m, n, &n_new, &c->err);
	if (r)
		return r;
	cli_print_result(c, "byway.published/1",
			 json_pack("{s:o}", "published", view_mappings(m, n_new)),
			 "%s: published %zu of %zu%s", c->args[0], n_new, n,
			 n_new == n ? "" : ", the rest was so already");
	return 0;
}

int cmd_publish_list(struct cli *c)
{
	static const struct cli_column columns[] = {
		{"NETWORK", "network"}, {"TARGET", "target"}, {"PUBLISHED", "mapping"},
		{"ADDRESS", "address"}, {"IPV6", "address6"}, {"STATE", "state"},
	};
	const char *only = c->n_args ? c->args[0] : NULL;
	_free_ struct mapping *m = NULL;
	struct vpc v;
	size_t n = 0;
	int r = cli_open(c, STORE_READ);

	if (!r && only)
		r = vpc_load(c->ops.st, only, &v, &c->err);
	if (!r)
		r = mapping_list(c->ops.st, only, &m, &n, &c->err);
	if (r)
		return r;
	cli_print_list(c, "byway.publish.list/1", "published", view_mappings(m, n), columns,
		       ARRAY_SIZE(columns));
	return 0;
}

/* Whether one of the arguments behind the target names it, or there are none. */
static int is_chosen(struct cli *c, const struct mapping *m, bool *ret)
{
	*ret = c->n_args == 1;
	for (int i = 1; i < c->n_args; i++) {
		struct mapping_range range;
		int r = mapping_range_parse(c->args[i], &range, &c->err);

		if (r)
			return r;
		*ret |= mapping_range_has(&range, m);
	}
	return 0;
}

/* Those of one workload, to the front of the VPC's. */
static int list_of(struct cli *c, const char *vpc, const char *name, struct mapping **m, size_t *n)
{
	size_t all = 0;
	int r = mapping_list(c->ops.st, vpc, m, &all, &c->err);

	*n = 0;
	for (size_t i = 0; !r && i < all; i++) {
		if (!strcmp((*m)[i].target, name))
			(*m)[(*n)++] = (*m)[i];
	}
	return r;
}

int cmd_unpublish(struct cli *c)
{
	char vpc[NAME_MAX_LEN], name[NAME_MAX_LEN];
	_free_ struct mapping *m = NULL;
	size_t n = 0, chosen = 0;
	int r = cli_split(c, c->args[0], vpc, name);

	if (!r && c->n_args > 1) { /* they are wrong with nothing published, too */
		bool ignored;

		r = is_chosen(c, &(struct mapping){0}, &ignored);
	}
	if (!r)
		r = cli_open(c, STORE_WRITE);
	if (!r)
		r = list_of(c, vpc, name, &m, &n);
	for (size_t i = 0; !r && i < n; i++) {
		bool yes = false;

		r = is_chosen(c, &m[i], &yes);
		if (yes)
			m[chosen++] = m[i];
	}
	if (!r)
		r = ops_mappings_delete(&c->ops, m, chosen, &c->err);
	if (r)
		return r;
	if (!chosen)
		cli_say(c, "nothing of that is published of '%s'", c->args[0]);
	cli_print_result(c, "byway.unpublished/1",
			 json_pack("{s:o}", "unpublished", view_mappings(m, chosen)),
			 "%s: took back %zu", c->args[0], chosen);
	return 0;
}

int cli_add_published(struct cli *c, const char *vpc, const char *port, json_t *object)
{
	_free_ struct mapping *m = NULL;
	json_t *words = json_array();
	char text[MAPPING_STRLEN];
	size_t n = 0;
	int r = list_of(c, vpc, port, &m, &n);

	for (size_t i = 0; i < n; i++) {
		if (!m[i].to_subnet)
			json_array_append_new(words, json_string(mapping_format(&m[i], text)));
	}
	json_object_set_new(object, "published", words);
	return r;
}
