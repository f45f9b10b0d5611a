// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/capability.h>

#include "cli/cli.h"
#include "kernel/caps.h"

int cmd_exec(struct cli *c)
{
	static const int caps[] = {CAP_SYS_ADMIN};
	struct subnet s;
	int r = caps_require(caps, ARRAY_SIZE(caps), &c->err);

	if (!r)
		r = cli_open(c, STORE_READ);
	if (!r)
		r = cli_subnet(c, c->args[0], &s);
	if (!r)
		r = ops_exec(&c->ops, &s, c->args + 1, &c->err);
	if (!r)
		cli_print_operations(c, &c->ops.log);
	return r;
}
