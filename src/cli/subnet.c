// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "vpc/net.h"
#include "vpc/subnet_file.h"
#include "vpc/view.h"

#define COUNT_MAX 65536

/* What is to be added, from the arguments, --count or --file; owns the names. */
struct request {
	struct subnet_params *p;
	char **names;
	struct subnet_entry *entries;
	size_t n;
};

static void request_done(struct request *q)
{
	for (size_t i = 0; q->names && i < q->n; i++)
		free(q->names[i]);
	free(q->names);
	free(q->p);
	free(q->entries);
}

static int parse_type(struct cli *c, bool *ret_public)
{
	const char *type = cli_opt(c, "type");

	*ret_public = type && !strcmp(type, "public");
	if (!type || *ret_public || !strcmp(type, "private"))
		return 0;
	return err_set(&c->err, ERR_USAGE, -EINVAL, "--type: '%s' is neither public nor private", type);
}

#define PREFIX_MIN 8
#define PREFIX_MAX 30
#define PREFIX_DEFAULT 24

static int from_args(struct cli *c, struct request *q)
{
	q->n = 1;
	q->p = xcalloc(1, sizeof(*q->p));
	q->p->name = c->args[1];
	q->p->cidr = c->n_args > 2 ? c->args[2] : NULL;
	q->p->cidr6 = cli_opt(c, "cidr6");
	if (cli_number(c, "prefix", PREFIX_MIN, PREFIX_MAX, PREFIX_DEFAULT, &q->p->prefix))
		return c->err.code;
	return parse_type(c, &q->p->is_public);
}

static int by_name(const void *name, const void *subnet)
{
	return strcmp(name, ((const struct subnet *)subnet)->name);
}

/* PREFIX-1, PREFIX-2, … without the ones that there are. */
static int free_names(struct cli *c, struct request *q, const char *prefix)
{
	_free_ struct subnet *taken = NULL;
	size_t n = 0, k = 0;
	int r = subnet_list(c->ops.st, c->args[0], &taken, &n, &c->err);

	for (unsigned int no = 1; !r && k < q->n; no++) {
		char *name = xasprintf("%s-%u", prefix, no);

		if (n && bsearch(name, taken, n, sizeof(*taken), by_name))
			free(name);
		else
			q->names[k++] = name;
	}
	return r;
}

static int from_count(struct cli *c, struct request *q)
{
	const char *prefix_name = cli_opt(c, "name") ? cli_opt(c, "name") : "subnet";
	unsigned int count, prefix;
	bool is_public;
	int r = cli_number(c, "count", 1, COUNT_MAX, 1, &count);

	if (!r)
		r = cli_number(c, "prefix", PREFIX_MIN, PREFIX_MAX, PREFIX_DEFAULT, &prefix);
	if (!r)
		r = parse_type(c, &is_public);
	if (r)
		return r;
	q->p = xcalloc(count, sizeof(*q->p));
	q->names = xcalloc(count, sizeof(*q->names));
	q->n = count;
	r = free_names(c, q, prefix_name);
	for (unsigned int i = 0; !r && i < count; i++) {
		q->p[i] = (struct subnet_params){
			.name = q->names[i], .prefix = prefix, .is_public = is_public};
	}
	return r;
}

static int from_file(struct cli *c, struct request *q)
{
	int r = subnet_file_read(cli_opt(c, "file"), &q->entries, &q->n, &c->err);

	if (r)
		return r;
	q->p = xcalloc(q->n + 1, sizeof(*q->p));
	for (size_t i = 0; i < q->n; i++) {
		const struct subnet_entry *e = &q->entries[i];

		q->p[i] = (struct subnet_params){.name = e->name,
						 .cidr = *e->cidr ? e->cidr : NULL,
						 .cidr6 = *e->cidr6 ? e->cidr6 : NULL,
						 .is_public = e->is_public};
	}
	return 0;
}

/* Each form has options of its own; one that would be ignored is a mistake. */
static int refuse(struct cli *c, bool where, const char *const options[], size_t n, const char *with)
{
	for (size_t i = 0; where && i < n; i++) {
		if (cli_opt(c, options[i]))
			return err_set(&c->err, ERR_USAGE, -EINVAL, "--%s does not go with %s", options[i], with);
	}
	return 0;
}

static int check_form(struct cli *c)
{
	static const char *const not_count[] = {"cidr6"}, *const not_one[] = {"name"};
	static const char *const not_file[] = {"cidr6", "name", "prefix", "type"};
	static const char *const not_cidr[] = {"prefix"};
	bool count = cli_opt(c, "count"), file = cli_opt(c, "file"), one = c->n_args > 1;
	int r = 0;

	if (count + file + one != 1)
		return err_set(&c->err, ERR_USAGE, -EINVAL,
			       "give either NAME [CIDR], or --count N, or --file FILE");
	r = refuse(c, count, not_count, ARRAY_SIZE(not_count), "--count");
	if (!r)
		r = refuse(c, file, not_file, ARRAY_SIZE(not_file), "--file");
	if (!r)
		r = refuse(c, one, not_one, ARRAY_SIZE(not_one), "a single NAME");
	return r ? r : refuse(c, c->n_args > 2, not_cidr, ARRAY_SIZE(not_cidr), "a CIDR");
}

static int read_request(struct cli *c, struct request *q)
{
	return cli_opt(c, "count") ? from_count(c, q)
	       : cli_opt(c, "file") ? from_file(c, q)
				    : from_args(c, q);
}

static void print_added(struct cli *c, const struct vpc *v, const struct subnet *s, size_t n)
{
	char cidr[CIDR_STRLEN], addr[IP_STRLEN];
	json_t *rows = json_array();
	struct nat nat;
	bool has_nat = !nat_load(c->ops.st, v->name, &nat, NULL);

	for (size_t i = 0; c->json && i < n; i++)
		json_array_append_new(rows, view_subnet(v, &s[i], has_nat ? &nat : NULL));
	if (n == 1)
		cli_print_result(c, "byway.subnet.list/1", json_pack("{s:o}", "subnets", rows),
				 "subnet %s/%s: %s, %s, address %s, namespace %s, port %s", v->name, s->name,
				 cidr_format(&s->cidr, cidr), s->is_public ? "public" : "private",
				 ip_format(&s->addr, addr), s->netns, s->veth_host);
	else
		cli_print_result(c, "byway.subnet.list/1", json_pack("{s:o}", "subnets", rows),
				 "%zu subnets added to %s", n, v->name);
}

static void say_further_bridge(const struct cli *c, const struct vpc *v, const struct subnet *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!s[i].segment)
			continue;
		cli_say(c, "bridge %s is full with %u ports: what comes now is on a further one, joined to it",
			v->bridge, SEGMENT_PORTS);
		return;
	}
}

int cmd_subnet_add(struct cli *c)
{
	_cleanup_(request_done) struct request q = {0};
	_free_ struct subnet *added = NULL;
	struct vpc v;
	int r = check_form(c);

	if (!r)
		r = cli_open(c, STORE_WRITE);
	if (!r)
		r = read_request(c, &q);
	if (r)
		return r;
	added = xcalloc(q.n + 1, sizeof(*added));
	r = ops_subnet_add(&c->ops, c->args[0], q.p, q.n, added, &c->err);
	if (!r)
		r = vpc_load(c->ops.st, c->args[0], &v, &c->err);
	if (r)
		return r;
	print_added(c, &v, added, q.n);
	say_further_bridge(c, &v, added, q.n);
	return 0;
}

int cmd_subnet_list(struct cli *c)
{
	static const struct cli_column columns[] = {
		{"VPC", "vpc"},		    {"SUBNET", "name"},	    {"CIDR", "cidr"},
		{"IPV6", "cidr6"},	    {"TYPE", "type"},	    {"ADDRESS", "address"},
		{"NAMESPACE", "namespace"}, {"VETH", "veth_host"},  {"NAT", "nat_enabled"},
		{"STATE", "state"},
	};
	const char *only = c->n_args ? c->args[0] : NULL;
	_free_ struct subnet *s = NULL;
	json_t *rows = json_array();
	struct vpc v = {0};
	struct nat nat;
	bool has_nat = false;
	size_t n = 0;
	int r = cli_open(c, STORE_READ);

	if (!r && only)
		r = vpc_load(c->ops.st, only, &v, &c->err);
	if (!r)
		r = subnet_list(c->ops.st, only, &s, &n, &c->err);
	for (size_t i = 0; !r && i < n; i++) {
		if (!i || strcmp(s[i - 1].vpc, s[i].vpc)) {
			r = vpc_load(c->ops.st, s[i].vpc, &v, &c->err);
			has_nat = !nat_load(c->ops.st, s[i].vpc, &nat, NULL);
		}
		if (!r)
			json_array_append_new(rows, view_subnet(&v, &s[i], has_nat ? &nat : NULL));
	}
	if (r) {
		json_decref(rows);
		return r;
	}
	cli_print_list(c, "byway.subnet.list/1", "subnets", rows, columns, ARRAY_SIZE(columns));
	return 0;
}

/* From argument `first` on, those of the same VPC in one go; *ret_next is the first of another. */
static int delete_of_vpc(struct cli *c, int first, json_t *deleted, int *ret_next)
{
	_free_ const char **names = xcalloc((size_t)c->n_args + 1, sizeof(*names));
	_free_ bool *existed = xcalloc((size_t)c->n_args + 1, sizeof(*existed));
	char vpc[NAME_MAX_LEN] = "", other[NAME_MAX_LEN], name[NAME_MAX_LEN];
	int r = 0, i = first, n = 0;

	for (; !r && i < c->n_args; i++) {
		r = cli_split(c, c->args[i], other, name);
		if (!r && i == first)
			memcpy(vpc, other, sizeof(vpc));
		else if (!r && strcmp(vpc, other))
			break;
		if (!r)
			names[n++] = strchr(c->args[i], '/') + 1;
	}
	*ret_next = i;
	if (!r)
		r = ops_subnet_delete(&c->ops, vpc, names, (size_t)n, existed, &c->err);
	for (i = 0; !r && i < n; i++) {
		if (existed[i])
			json_array_append_new(deleted, json_string(c->args[first + i]));
		else
			cli_say(c, "there is no subnet '%s': nothing to delete", c->args[first + i]);
	}
	return r;
}

int cmd_subnet_delete(struct cli *c)
{
	json_t *deleted = json_array();
	int r = cli_open(c, STORE_WRITE);

	for (int i = 0; !r && i < c->n_args;)
		r = delete_of_vpc(c, i, deleted, &i);
	if (r) {
		json_decref(deleted);
		return r;
	}
	cli_print_result(c, "byway.deleted/1", json_pack("{s:o}", "subnets", deleted),
			 "deleted %zu of %d", json_array_size(deleted), c->n_args);
	return 0;
}
