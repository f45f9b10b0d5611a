// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>

#include "cli/cli.h"

#define DEFAULT_NAME "micropod0"

int cmd_network_up(struct cli *c)
{
	struct network_params p = {
		.vpc = {.name = c->n_args > 0 ? c->args[0] : DEFAULT_NAME,
			.cidr = c->n_args > 1 ? c->args[1] : NULL,
			.cidr6 = cli_opt(c, "cidr6"),
			.dns = cli_opt(c, "dns") || cli_opt(c, "dhcp"),
			.dhcp = cli_opt(c, "dhcp")},
		.interface = cli_opt(c, "interface"),
		.no_nat = cli_opt(c, "no-nat"),
	};
	char cidr[CIDR_STRLEN], gateway[IP_STRLEN];
	bool changed;
	json_t *body;
	struct ip gw;
	struct vpc v;
	int r = cli_number(c, "mtu", 1, 65535, 0, &p.vpc.mtu_bytes);

	if (!r && p.no_nat && p.interface)
		r = err_set(&c->err, ERR_USAGE, -EINVAL, "--interface does not go with --no-nat");
	if (!r)
		r = cli_open(c, STORE_WRITE);
	if (!r)
		r = ops_network_up(&c->ops, &p, &v, &changed, &c->err);
	if (!r)
		r = ops_describe(&c->ops, v.name, &body, &c->err);
	if (r)
		return r;
	gw = vpc_gateway(&v.cidr);
	cli_print_result(c, "byway.network/1", body, "network %s: %s, bridge %s, gateway %s%s",
			 v.name, cidr_format(&v.cidr, cidr), v.bridge, ip_format(&gw, gateway),
			 changed ? "" : ", as before");
	return 0;
}

int cmd_network_list(struct cli *c)
{
	static const struct cli_column columns[] = {
		{"NAME", "name"},         {"CIDR", "cidr"},       {"IPV6", "cidr6"},
		{"BRIDGE", "bridge"},     {"GATEWAY", "gateway"}, {"VMS", "vms"},
		{"NAT", "nat_interface"}, {"DNS", "dns"},         {"DHCP", "dhcp"},
		{"STATE", "state"},
	};

	return cli_list_vpcs(c, true, "byway.network.list/1", "networks", columns,
			     ARRAY_SIZE(columns));
}

int cmd_network_show(struct cli *c)
{
	struct vpc v;
	int r = cli_open(c, STORE_READ);

	if (!r)
		r = vpc_load(c->ops.st, c->args[0], &v, NULL);
	if (r == -ENOENT || (!r && !v.flat))
		return err_set(&c->err, ERR_NOT_FOUND, -ENOENT, "there is no network '%s'%s",
			       c->args[0], r ? "" : ": that is a VPC with subnets");
	return r ? r : cli_show_vpc(c, "byway.network/1");
}

static int delete_networks(struct cli *c, const char *const names[], size_t n, bool ret_existed[])
{
	return ops_network_down(&c->ops, names, n, ret_existed, &c->err);
}

int cmd_network_down(struct cli *c)
{
	return cli_delete_each(c, "network", "networks", delete_networks);
}
