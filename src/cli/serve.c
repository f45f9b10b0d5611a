// SPDX-License-Identifier: GPL-2.0-or-later
/* byway serve */
#include "base/notify.h"
#include "cli/cli.h"
#include "web/listen.h"
#include "web/serve.h"

static void on_ready(void *arg, const char *url)
{
	cli_say(arg, "serving %s", url);
	notify_manager("READY=1");
}

int cmd_serve(struct cli *c)
{
	const char *where = cli_opt(c, "listen");
	struct serve_config config = {
		.where = where ? where : LISTEN_DEFAULT, .ready = on_ready, .arg = c};

	return web_serve(&config, &c->err);
}
