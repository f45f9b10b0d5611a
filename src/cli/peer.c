// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>

#include "cli/cli.h"
#include "vpc/view.h"

int cmd_peer_add(struct cli *c)
{
	struct peer p;
	int r = cli_open(c, STORE_WRITE);

	if (!r)
		r = ops_peer_add(&c->ops, c->args[0], c->args[1], cli_opt(c, "allow"), &p, &c->err);
	if (r)
		return r;
	cli_print_result(c, "byway.peer/1", view_peer(&p), "%s and %s reach each other%s", p.a, p.b,
			 p.n_allow ? " where allowed" : "");
	return 0;
}

int cmd_peer_list(struct cli *c)
{
	static const struct cli_column columns[] = {
		{"VPC", "a"}, {"PEER", "b"}, {"ONLY", "allow"}, {"STATE", "state"},
	};
	_free_ struct peer *p = NULL;
	json_t *rows;
	size_t n = 0;
	int r = cli_open(c, STORE_READ);

	if (!r)
		r = peer_list(c->ops.st, NULL, &p, &n, &c->err);
	if (r)
		return r;
	rows = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(rows, view_peer(&p[i]));
	cli_print_list(c, "byway.peer.list/1", "peers", rows, columns, ARRAY_SIZE(columns));
	return 0;
}

int cmd_peer_delete(struct cli *c)
{
	bool existed;
	int r = cli_open(c, STORE_WRITE);

	if (!r)
		r = ops_peer_delete(&c->ops, c->args[0], c->args[1], &existed, &c->err);
	if (r)
		return r;
	cli_print_result(c, "byway.peer/1",
			 json_pack("{s:s, s:s, s:s}", "a", c->args[0], "b", c->args[1], "state", "deleted"),
			 existed ? "%s and %s are parted" : "%s and %s were not peered", c->args[0],
			 c->args[1]);
	return 0;
}
