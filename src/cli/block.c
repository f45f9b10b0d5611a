// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/capability.h>

#include "cli/cli.h"
#include "kernel/caps.h"
#include "kernel/netns.h"
#include "ops/block.h"

/* Early in the boot there may be no folder for a state yet, and none is needed. */
static int open_host(struct cli *c)
{
	static const int caps[] = {CAP_NET_ADMIN};
	int r = caps_require(caps, ARRAY_SIZE(caps), &c->err);

	cli_prepare(c);
	return r ? r : netns_open(NULL, &c->ops.log, &c->ops.host, &c->err);
}

int cmd_block(struct cli *c)
{
	bool blocked = false;
	int r = open_host(c);

	if (!r)
		r = ops_block(&c->ops, c->args, (size_t)c->n_args, &blocked, &c->err);
	if (r) {
		if (blocked)
			err_append(&c->err, "; the host is blocked");
		return r;
	}
	cli_print_result(c, "byway.block/1", json_pack("{s:b}", "blocked", blocked),
			 blocked ? "blocked: nothing leaves this host or is forwarded"
				 : "no file asks for a block");
	return 0;
}

int cmd_unblock(struct cli *c)
{
	int r = open_host(c);

	if (!r)
		r = ops_unblock(&c->ops, &c->err);
	if (!r)
		cli_print_result(c, "byway.block/1", json_pack("{s:b}", "blocked", 0),
				 "the block is lifted");
	return r;
}
