// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/tunnel.h"
#include "ops/metrics.h"
#include "ops/session.h"

int cmd_metrics(struct cli *c)
{
	json_t *tunnels = json_array(), *sessions = NULL;
	_buf_ struct buf text = {0};
	int r = cli_tunnel_list(c, NULL, tunnels);

	if (!r)
		r = ops_session_status(NULL, &sessions, &c->err);
	if (!r && c->json) {
		cli_print_json("byway.metrics/1",
			       json_pack("{s:O, s:O}", "tunnels", tunnels, "sessions", sessions));
	} else if (!r) {
		metrics_format(tunnels, sessions, &text);
		fwrite(text.data, 1, text.len, stdout);
	}
	json_decref(tunnels);
	json_decref(sessions);
	return r;
}
