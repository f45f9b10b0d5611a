// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "ops/look.h"
#include "ops/metrics.h"

int cmd_metrics(struct cli *c)
{
	_look_ struct look look = {0};
	_buf_ struct buf text = {0};
	int r = look_take(&look, &c->err);

	if (r)
		return r;
	if (c->json) {
		cli_print_json("byway.metrics/1", json_incref(look.doc));
		return 0;
	}
	metrics_format(look.doc, &text);
	fwrite(text.data, 1, text.len, stdout);
	return 0;
}
