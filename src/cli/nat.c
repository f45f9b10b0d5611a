// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/cli.h"

int cmd_nat_enable(struct cli *c)
{
	struct nat nat;
	bool changed;
	int r = cli_open(c, STORE_WRITE);

	if (!r)
		r = ops_nat_enable(&c->ops, c->args[0], cli_opt(c, "interface"), &nat, &changed, &c->err);
	if (r)
		return r;
	cli_print_result(c, "byway.nat/1",
			 json_pack("{s:s, s:s, s:s}", "vpc", nat.vpc, "interface", nat.interface, "state",
				   row_state_name(nat.state)),
			 "public subnets of %s go out through %s%s", nat.vpc, nat.interface,
			 changed ? "" : " already");
	return 0;
}

int cmd_nat_disable(struct cli *c)
{
	bool existed;
	int r = cli_open(c, STORE_WRITE);

	if (!r)
		r = ops_nat_disable(&c->ops, c->args[0], &existed, &c->err);
	if (r)
		return r;
	cli_print_result(c, "byway.nat/1",
			 json_pack("{s:s, s:n, s:s}", "vpc", c->args[0], "interface", "state", "disabled"),
			 existed ? "%s has no NAT any more" : "%s has no NAT: nothing to disable",
			 c->args[0]);
	return 0;
}
