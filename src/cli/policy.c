// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "firewall/ruleset.h"
#include "vpc/policy.h"
#include "vpc/policy_groups.h"
#include "vpc/port.h"
#include "vpc/port_rules.h"

/* What a policy is put on: subnets, or one port. */
struct target {
	struct subnet *subnets;
	size_t n; /* 0: it is the port */
	struct port port;
	struct vpc vpc;
};

static void target_done(struct target *t)
{
	free(t->subnets);
}

#define _target_ _cleanup_(target_done)

static int find_subnet(struct cli *c, const char *name, struct target *t)
{
	int r;

	t->subnets = xcalloc(1, sizeof(*t->subnets));
	r = subnet_load(c->ops.st, t->vpc.name, name, t->subnets, &c->err);
	t->n = !r;
	return r;
}

/* A subnet of that name, or else a VM. What is neither is said to be what is more likely. */
static int find_one(struct cli *c, const char *name, struct target *t)
{
	struct err *err = t->vpc.flat ? &c->err : NULL;
	int r = t->vpc.flat ? -ENOENT : find_subnet(c, name, t);

	if (r != -ENOENT)
		return r;
	return port_load(c->ops.st, t->vpc.name, name, &t->port, err) ? -ENOENT : 0;
}

/* "VPC/SUBNET", "NETWORK/VM", or "VPC/" followed by an asterisk for every subnet of it. */
static int find(struct cli *c, const char *path, struct target *t)
{
	char vpc[NAME_MAX_LEN], name[NAME_MAX_LEN];
	int r = cli_split(c, path, vpc, name);

	if (!r)
		r = vpc_load(c->ops.st, vpc, &t->vpc, &c->err);
	if (!r && !strcmp(name, "*") && !t->vpc.flat)
		return subnet_list(c->ops.st, vpc, &t->subnets, &t->n, &c->err);
	return r ? r : find_one(c, name, t);
}

static struct policy_owner owner_of(const struct target *t)
{
	return t->n ? subnet_owner(t->subnets) : port_owner(&t->port);
}

/* {vpc, subnet} or {vpc, vm}, to which more can be added. */
static json_t *owner_json(const struct policy_owner *of)
{
	return json_pack("{s:s, s:s}", "vpc", of->vpc,
			 of->kind == POLICY_OF_SUBNET ? "subnet" : "vm", of->name);
}

static bool is_all_subnets(const char *path)
{
	size_t len = strlen(path);

	return len > 1 && !strcmp(path + len - 2, "/*");
}

int cmd_policy_apply(struct cli *c)
{
	_target_ struct target t = {0};
	json_t *subnets = json_array(), *vms = json_array();
	const char *file = c->args[1];
	int r = cli_open(c, STORE_WRITE);

	if (!r)
		r = find(c, c->args[0], &t);
	if (!r && (t.n || is_all_subnets(c->args[0])))
		r = ops_policy_apply(&c->ops, t.subnets, t.n, file, &c->err);
	else if (!r)
		r = ops_ports_policy_apply(&c->ops, &t.port, &file, 1, &c->err);
	for (size_t i = 0; !r && i < t.n; i++) {
		struct policy_owner of = subnet_owner(&t.subnets[i]);

		json_array_append_new(subnets, owner_json(&of));
	}
	if (!r && *t.port.name) {
		struct policy_owner of = port_owner(&t.port);

		json_array_append_new(vms, owner_json(&of));
	}
	if (r) {
		json_decref(subnets);
		json_decref(vms);
		return r;
	}
	cli_print_result(c, "byway.policy.applied/1",
			 json_pack("{s:o, s:o}", "subnets", subnets, "vms", vms),
			 t.n || *t.port.name ? "%s is in force in %s, and was read back"
					     : "%s is in force nowhere: there is no %s",
			 c->args[1], c->args[0]);
	return 0;
}

/* A port's is in a table with others': its own two chains are shown. */
static void print_rules(const struct policy *p, const struct target *t)
{
	_ruleset_ struct ruleset rs;
	_buf_ struct buf text = {0};

	ruleset_init(&rs);
	if (t->n) {
		policy_ruleset(p, t->subnets->veth_ns, &rs);
	} else {
		struct fw_table *table = ruleset_table(&rs, FW_INET, PORT_RULES_TABLE);

		for (enum policy_dir d = 0; d < POLICY_NUM_DIRS; d++)
			policy_chain(p, d, table, "");
	}
	ruleset_print(&rs, &text);
	printf("\n# in nftables' words\n%s", text.data ? text.data : "");
}

static int show(struct cli *c, const struct target *t, const struct policy_owner *of,
		const struct policy_row *row)
{
	_policy_ struct policy *p = NULL;
	json_t *json;
	int r = policy_parse(row->file, row->text, strlen(row->text), &p, &c->err);

	if (!r)
		r = policy_groups_resolve(c->ops.st, of->vpc, p, &c->err);
	if (r)
		return r;
	if (!c->json) {
		printf("# %s/%s: %s, applied %s\n%s", of->vpc, of->name, row->file, row->applied,
		       row->text);
		print_rules(p, t);
		return 0;
	}
	json = owner_json(of);
	json_object_update_new(json, json_pack("{s:s, s:s, s:o}", "file", row->file, "applied",
					       row->applied, "policy",
					       json_loads(row->text, 0, NULL)));
	cli_print_json("byway.policy/1", json);
	return 0;
}

int cmd_policy_show(struct cli *c)
{
	_cleanup_(policy_row_done) struct policy_row row = {0};
	_target_ struct target t = {0};
	struct policy_owner of;
	int r = cli_open(c, STORE_READ);

	if (!r)
		r = find(c, c->args[0], &t);
	of = owner_of(&t);
	if (!r)
		r = policy_load(c->ops.st, &of, &row, &c->err);
	return r ? r : show(c, &t, &of, &row);
}

int cmd_policy_verify(struct cli *c)
{
	_target_ struct target t = {0};
	struct policy_owner of;
	json_t *json;
	int r = cli_open(c, STORE_WRITE);

	if (!r)
		r = find(c, c->args[0], &t);
	if (!r)
		r = t.n ? ops_policy_verify(&c->ops, t.subnets, &c->err)
			: ops_port_policy_verify(&c->ops, &t.port, &c->err);
	if (r)
		return r;
	of = owner_of(&t);
	json = owner_json(&of);
	json_object_set_new(json, "verified", json_true());
	cli_print_result(c, "byway.policy.verified/1", json,
			 "the kernel's rules in %s are the policy's", c->args[0]);
	return 0;
}

/* Of what is not there, there is nothing to remove. */
static int remove_policy(struct cli *c, const struct target *t, bool *ret_existed)
{
	if (t->n)
		return ops_policy_remove(&c->ops, t->subnets, ret_existed, &c->err);
	return *t->port.name
		       ? ops_port_policy_remove(&c->ops, &t->port, ret_existed, &c->err)
		       : 0;
}

int cmd_policy_remove(struct cli *c)
{
	char vpc[NAME_MAX_LEN], name[NAME_MAX_LEN];
	_target_ struct target t = {0};
	bool existed = false;
	struct policy_owner of;
	json_t *json;
	int r = cli_split(c, c->args[0], vpc, name);

	if (!r)
		r = cli_open(c, STORE_WRITE);
	if (!r && strcmp(name, "*")) {
		r = find(c, c->args[0], &t);
		r = r == -ENOENT ? 0 : r;
	}
	if (!r)
		r = remove_policy(c, &t, &existed);
	if (r)
		return r;
	of = (struct policy_owner){*t.port.name ? POLICY_OF_PORT : POLICY_OF_SUBNET, vpc, name};
	json = owner_json(&of);
	json_object_set_new(json, "existed", json_boolean(existed));
	cli_print_result(c, "byway.policy.removed/1", json,
			 existed ? "%s is open again" : "%s has no policy: nothing to remove",
			 c->args[0]);
	return 0;
}
