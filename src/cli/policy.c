// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "firewall/ruleset.h"
#include "vpc/policy.h"

/* "VPC/SUBNET", or "VPC/" followed by an asterisk for every subnet of it. */
static int targets(struct cli *c, const char *path, struct subnet **ret, size_t *n)
{
	char vpc[NAME_MAX_LEN], name[NAME_MAX_LEN];
	struct vpc v;
	int r = cli_split(c, path, vpc, name);

	if (!r)
		r = vpc_load(c->ops.st, vpc, &v, &c->err);
	if (!r && !strcmp(name, "*"))
		return subnet_list(c->ops.st, vpc, ret, n, &c->err);
	if (r)
		return r;
	*ret = xcalloc(1, sizeof(**ret));
	*n = 1;
	return subnet_load(c->ops.st, vpc, name, *ret, &c->err);
}

int cmd_policy_apply(struct cli *c)
{
	_free_ struct subnet *s = NULL;
	json_t *done = json_array();
	size_t n = 0;
	int r = cli_open(c, STORE_WRITE);

	if (!r)
		r = targets(c, c->args[0], &s, &n);
	if (!r)
		r = ops_policy_apply(&c->ops, s, n, c->args[1], &c->err);
	for (size_t i = 0; !r && i < n; i++)
		json_array_append_new(done,
				      json_pack("{s:s, s:s}", "vpc", s[i].vpc, "subnet", s[i].name));
	if (r) {
		json_decref(done);
		return r;
	}
	cli_print_result(c, "byway.policy.applied/1", json_pack("{s:o}", "subnets", done),
			 "%s is in force in %s, and was read back", c->args[1], c->args[0]);
	return 0;
}

static int show(struct cli *c, const struct subnet *s, const struct policy_row *row)
{
	_policy_ struct policy *p = NULL;
	_ruleset_ struct ruleset rs;
	_buf_ struct buf text = {0};
	int r = policy_parse(row->file, row->text, strlen(row->text), &p, &c->err);

	if (r)
		return r;
	if (c->json) {
		cli_print_json("byway.policy/1",
			       json_pack("{s:s, s:s, s:s, s:s, s:o}", "vpc", s->vpc, "subnet", s->name, "file",
					 row->file, "applied", row->applied, "policy",
					 json_loads(row->text, 0, NULL)));
		return 0;
	}
	ruleset_init(&rs);
	policy_ruleset(p, s->veth_ns, &rs);
	ruleset_print(&rs, &text);
	printf("# %s/%s: %s, applied %s\n%s", s->vpc, s->name, row->file, row->applied, row->text);
	printf("\n# in nftables' words\n%s", text.data ? text.data : "");
	return 0;
}

int cmd_policy_show(struct cli *c)
{
	_cleanup_(policy_row_done) struct policy_row row = {0};
	struct subnet s;
	int r = cli_open(c, STORE_READ);

	if (!r)
		r = cli_subnet(c, c->args[0], &s);
	if (!r)
		r = policy_load(c->ops.st, &s, &row, &c->err);
	return r ? r : show(c, &s, &row);
}

int cmd_policy_verify(struct cli *c)
{
	struct subnet s;
	int r = cli_open(c, STORE_WRITE);

	if (!r)
		r = cli_subnet(c, c->args[0], &s);
	if (!r)
		r = ops_policy_verify(&c->ops, &s, &c->err);
	if (r)
		return r;
	cli_print_result(c, "byway.policy.verified/1",
			 json_pack("{s:s, s:s, s:b}", "vpc", s.vpc, "subnet", s.name, "verified", 1),
			 "the kernel's rules in %s are the policy's", c->args[0]);
	return 0;
}

int cmd_policy_remove(struct cli *c)
{
	char vpc[NAME_MAX_LEN], name[NAME_MAX_LEN];
	bool existed = false;
	struct subnet s;
	int r = cli_split(c, c->args[0], vpc, name);

	if (!r)
		r = cli_open(c, STORE_WRITE);
	if (!r && !subnet_load(c->ops.st, vpc, name, &s, NULL))
		r = ops_policy_remove(&c->ops, &s, &existed, &c->err);
	if (r)
		return r;
	cli_print_result(c, "byway.policy.removed/1",
			 json_pack("{s:s, s:s, s:b}", "vpc", vpc, "subnet", name, "existed", existed),
			 existed ? "%s is open again" : "%s has no policy: nothing to remove", c->args[0]);
	return 0;
}
