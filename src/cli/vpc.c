// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"

static int describe(struct cli *c, const char *name, json_t **ret)
{
	return ops_describe(&c->ops, name, ret, &c->err);
}

static int describe_vpcs(struct cli *c, bool flat_only, json_t **ret)
{
	_free_ struct vpc *vpcs = NULL;
	json_t *list, *one;
	size_t n = 0;
	int r = cli_open(c, STORE_READ);

	if (!r)
		r = vpc_list(c->ops.st, &vpcs, &n, &c->err);
	if (r)
		return r;
	list = json_array();
	for (size_t i = 0; !r && i < n; i++) {
		if (flat_only && !vpcs[i].flat)
			continue;
		r = describe(c, vpcs[i].name, &one);
		if (!r)
			json_array_append_new(list, one);
	}
	if (r)
		json_decref(list);
	else
		*ret = list;
	return r;
}

int cmd_vpc_create(struct cli *c)
{
	struct vpc_params p = {.name = c->args[0], .cidr = c->args[1], .cidr6 = cli_opt(c, "cidr6"), .dns = cli_opt(c, "dns")};
	char cidr[CIDR_STRLEN], gateway[IP_STRLEN];
	struct ip gw;
	json_t *body;
	struct vpc v;
	int r = cli_number(c, "mtu", 1, 65535, 0, &p.mtu_bytes);

	if (!r)
		r = cli_open(c, STORE_WRITE);
	if (!r)
		r = ops_vpc_create(&c->ops, &p, &v, &c->err);
	if (!r)
		r = describe(c, v.name, &body);
	if (r)
		return r;
	gw = vpc_gateway(&v.cidr);
	cli_print_result(c, "byway.vpc/1", body, "VPC %s: %s, bridge %s, gateway %s", v.name,
			 cidr_format(&v.cidr, cidr), v.bridge, ip_format(&gw, gateway));
	return 0;
}

/* The interface of NAT is an object inside: a table shows one level. */
static void flatten(json_t *vpc)
{
	json_t *nat = json_object_get(vpc, "nat");

	json_object_set(vpc, "nat_interface",
			json_is_object(nat) ? json_object_get(nat, "interface") : json_null());
}

int cli_list_vpcs(struct cli *c, bool flat_only, const char *schema, const char *key,
		  const struct cli_column *columns, size_t n)
{
	json_t *rows, *one;
	size_t i;
	int r = describe_vpcs(c, flat_only, &rows);

	if (r)
		return r;
	json_array_foreach(rows, i, one) {
		if (!c->json)
			flatten(one);
	}
	cli_print_list(c, schema, key, rows, columns, n);
	return 0;
}

int cmd_vpc_list(struct cli *c)
{
	static const struct cli_column columns[] = {
		{"NAME", "name"},     {"CIDR", "cidr"},       {"IPV6", "cidr6"},
		{"BRIDGE", "bridge"}, {"GATEWAY", "gateway"}, {"SUBNETS", "subnets"},
		{"VMS", "vms"},       {"PEERS", "peers"},     {"NAT", "nat_interface"},
		{"STATE", "state"},
	};

	return cli_list_vpcs(c, false, "byway.vpc.list/1", "vpcs", columns, ARRAY_SIZE(columns));
}

static const struct cli_column subnet_columns[] = {
	{"SUBNET", "name"},	     {"CIDR", "cidr"},	  {"IPV6", "cidr6"},
	{"TYPE", "type"},	     {"ADDRESS", "address"}, {"NAMESPACE", "namespace"},
	{"VETH", "veth_host"},	     {"NAT", "nat_enabled"}, {"STATE", "state"},
};

static const struct cli_column vm_columns[] = {
	{"VM", "name"},       {"SUBNET", "subnet"},       {"ADDRESS", "address"},
	{"IPV6", "address6"}, {"INTERFACE", "interface"}, {"MAC", "mac"},
	{"STATE", "state"},
};

static const struct cli_column peer_columns[] = {
	{"VPC", "a"}, {"PEER", "b"}, {"ONLY", "allow"}, {"STATE", "state"},
};

static const struct cli_column published_columns[] = {
	{"PUBLISHED", "mapping"}, {"TARGET", "target"}, {"ADDRESS", "address"},
	{"IPV6", "address6"},     {"STATE", "state"},
};

/* A list inside, when there is anything in it. */
static void print_part(json_t *vpc, const char *key, const struct cli_column *columns, size_t n)
{
	json_t *rows = json_object_get(vpc, key);

	if (!json_array_size(rows))
		return;
	putchar('\n');
	cli_print_table(rows, columns, n);
}

static void print_vpc(json_t *vpc)
{
	static const struct cli_column fields[] = {
		{"VPC", "name"},        {"CIDR", "cidr"},
		{"IPv6", "cidr6"},      {"Bridge", "bridge"},
		{"Gateway", "gateway"}, {"", "gateway6"},
		{"Network", "network"}, {"Broadcast", "broadcast"},
		{"First", "first"},     {"Last", "last"},
		{"MTU", "mtu"},         {"NAT", "nat_interface"},
		{"DNS", "dns"},         {"DHCP", "dhcp"},
		{"State", "state"},     {"Created", "created"},
	};

	flatten(vpc);
	cli_print_fields(vpc, fields, ARRAY_SIZE(fields));
	print_part(vpc, "subnets", subnet_columns, ARRAY_SIZE(subnet_columns));
	print_part(vpc, "vms", vm_columns, ARRAY_SIZE(vm_columns));
	print_part(vpc, "peers", peer_columns, ARRAY_SIZE(peer_columns));
	print_part(vpc, "published", published_columns, ARRAY_SIZE(published_columns));
}

int cli_show_vpc(struct cli *c, const char *schema)
{
	json_t *vpc;
	int r = describe(c, c->args[0], &vpc);

	if (r)
		return r;
	if (c->json) {
		cli_print_json(schema, vpc);
		return 0;
	}
	print_vpc(vpc);
	json_decref(vpc);
	return 0;
}

int cmd_vpc_show(struct cli *c)
{
	int r = cli_open(c, STORE_READ);

	return r ? r : cli_show_vpc(c, "byway.vpc/1");
}

int cli_delete_each(struct cli *c, const char *what, const char *key, cli_delete_fn delete)
{
	_free_ bool *existed = xcalloc((size_t)c->n_args + 1, sizeof(*existed));
	json_t *deleted;
	int r = cli_open(c, STORE_WRITE);

	if (!r)
		r = delete (c, (const char *const *)c->args, (size_t)c->n_args, existed);
	if (r)
		return r;
	deleted = json_array();
	for (int i = 0; i < c->n_args; i++) {
		if (existed[i])
			json_array_append_new(deleted, json_string(c->args[i]));
		else
			cli_say(c, "there is no %s '%s': nothing to delete", what, c->args[i]);
	}
	cli_print_result(c, "byway.deleted/1", json_pack("{s:o}", key, deleted),
			 "deleted %zu of %d", json_array_size(deleted), c->n_args);
	return 0;
}

static int delete_vpcs(struct cli *c, const char *const names[], size_t n, bool ret_existed[])
{
	return ops_vpc_delete(&c->ops, names, n, ret_existed, &c->err);
}

int cmd_vpc_delete(struct cli *c)
{
	return cli_delete_each(c, "VPC", "vpcs", delete_vpcs);
}
