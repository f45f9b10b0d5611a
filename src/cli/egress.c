// SPDX-License-Identifier: GPL-2.0-or-later
/* byway egress add|list|show|delete|use|stop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "egress/spec.h"
#include "ops/egress.h"

/* What messages name, and whose folder relative paths begin in. */
static int make_path(struct cli *c, char **ret)
{
	_free_ char *here = getcwd(NULL, 0);

	if (!here)
		return err_errno(&c->err, -errno, "cannot find the present folder");
	*ret = xasprintf("%s/egress", strcmp(here, "/") ? here : "");
	return 0;
}

int cmd_egress_add(struct cli *c)
{
	_egress_spec_ struct egress_spec spec = {0};
	struct egress_params p = {
		.name = c->args[0], .spec = &spec, .replace = cli_opt(c, "replace")};
	_free_ char *path = NULL;
	bool changed = false;
	int r = make_path(c, &path);

	if (!r)
		r = egress_spec_parse(path, p.name, c->args[1], &spec, &c->err);
	p.path = path;
	if (!r)
		r = cli_open(c, STORE_WRITE);
	if (!r)
		r = ops_egress_add(&c->ops, &p, &changed, &c->err);
	if (r)
		return r;
	cli_print_result(c, "byway.egress.add/1",
			 json_pack("{s:s, s:s, s:b}", "name", p.name, "kind",
				   egress_kind_name(spec.kind), "changed", changed),
			 changed ? "egress %s: `byway egress run %s` starts it"
				 : "egress %s is there already: `byway egress run %s` starts it",
			 p.name, p.name);
	return 0;
}

static int status(struct cli *c, const char *name, json_t **ret)
{
	int r = cli_open(c, STORE_READ);

	return r ? r : ops_egress_status(&c->ops, name, ret, &c->err);
}

int cmd_egress_list(struct cli *c)
{
	static const struct cli_column columns[] = {
		{"EGRESS", "name"}, {"KIND", "kind"},   {"STATE", "state"},
		{"VIA", "via"},     {"UP", "bytes_up"}, {"DOWN", "bytes_down"},
		{"USERS", "users"}, {"PID", "pid"},     {"LAST FAILURE", "last_failure"},
	};
	json_t *rows;
	int r = status(c, NULL, &rows);

	if (r)
		return r;
	cli_print_list(c, "byway.egresses/1", "egresses", rows, columns, ARRAY_SIZE(columns));
	return 0;
}

int cmd_egress_show(struct cli *c)
{
	static const struct cli_column fields[] = {
		{"egress", "name"},
		{"kind", "kind"},
		{"state", "state"},
		{"via", "via"},
		{"spec", "spec"},
		{"users", "users"},
		{"leg", "leg"},
		{"table", "table"},
		{"since", "since"},
		{"up", "bytes_up"},
		{"down", "bytes_down"},
		{"pid", "pid"},
		{"failure", "last_failure"},
	};
	json_t *rows, *one;
	int r = status(c, c->args[0], &rows);

	if (r)
		return r;
	one = json_incref(json_array_get(rows, 0));
	json_decref(rows);
	if (c->json) {
		cli_print_json("byway.egress/1", one);
		return 0;
	}
	cli_print_fields(one, fields, ARRAY_SIZE(fields));
	json_decref(one);
	return 0;
}

static int delete_egresses(struct cli *c, const char *const names[], size_t n, bool ret_existed[])
{
	int r = 0;

	for (size_t i = 0; !r && i < n; i++)
		r = ops_egress_delete(&c->ops, names[i], &ret_existed[i], &c->err);
	return r;
}

int cmd_egress_delete(struct cli *c)
{
	return cli_delete_each(c, "egress", "egress", delete_egresses);
}

static int use(struct cli *c, bool *ret_changed)
{
	const char *exclude = cli_opt(c, "exclude");
	bool is_host = !strcmp(c->args[0], USE_HOST_NAME);
	int r = 0;

	if (exclude && !is_host)
		r = err_set(&c->err, ERR_USAGE, -EINVAL, "--exclude is for the host alone");
	if (!r)
		r = cli_open(c, STORE_WRITE);
	if (r)
		return r;
	return is_host ? ops_egress_use_host(&c->ops, c->args[1], exclude, ret_changed, &c->err)
		       : ops_egress_use(&c->ops, c->args[0], c->args[1], ret_changed, &c->err);
}

int cmd_egress_use(struct cli *c)
{
	bool changed = false;
	int r = use(c, &changed);

	if (r)
		return r;
	cli_print_result(c, "byway.egress.use/1",
			 json_pack("{s:s, s:s, s:b}", "workload", c->args[0], "ways", c->args[1],
				   "changed", changed),
			 "%s goes out by %s%s", c->args[0], c->args[1], changed ? "" : " already");
	return 0;
}

int cmd_egress_stop(struct cli *c)
{
	bool existed = false;
	int r = cli_open(c, STORE_WRITE);

	if (!r)
		r = ops_egress_end(&c->ops, c->args[0], &existed, &c->err);
	if (r)
		return r;
	cli_print_result(c, "byway.egress.stop/1",
			 json_pack("{s:s, s:b}", "name", c->args[0], "existed", existed),
			 existed ? "egress %s is down: what goes out by it is blocked"
				 : "egress %s does not run: nothing to stop",
			 c->args[0]);
	return 0;
}
