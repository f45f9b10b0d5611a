// SPDX-License-Identifier: GPL-2.0-or-later
/* byway egress run. */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/notify.h"
#include "cli/cli.h"
#include "cli/detach.h"
#include "kernel/caps.h"
#include "ops/egress.h"

/* As sessions and tunnels need them, together. */
static const int caps_to_run[] = {CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_NET_RAW};

struct running {
	struct cli *c;
	struct detached detached;
};

static void on_begun(void *arg)
{
	struct running *x = arg;

	notify_manager("READY=1");
	cli_say(x->c, "egress %s is starting", x->c->args[0]);
	cli_detach_done(&x->detached, 0);
}

int cmd_egress_run(struct cli *c)
{
	_free_ char *self = realpath("/proc/self/exe", NULL);
	struct running x = {.c = c, .detached = IN_FOREGROUND};
	struct egress_run config = {.name = c->args[0],
				    .self = self,
				    .backend = c->backend,
				    .verbose = c->verbose,
				    .begun = on_begun,
				    .arg = &x};
	int r = c->dry_run ? err_set(&c->err, ERR_USAGE, -EINVAL,
				     "what runs cannot be tried out: --dry-run is for the others")
			   : caps_require(caps_to_run, ARRAY_SIZE(caps_to_run), &c->err);

	log_set_level(c->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN);
	if (!r && cli_opt(c, "detach"))
		r = cli_detach(c, &x.detached);
	return r ? r : ops_egress_run(&config, &c->err);
}
