// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/capability.h>

#include "base/notify.h"
#include "cli/cli.h"
#include "cli/detach.h"
#include "kernel/caps.h"
#include "ops/dns.h"
#include "vm/dnsmasq.h"

static json_t *describe(const char *vpc, bool dns, bool dhcp)
{
	return json_pack("{s:s, s:b, s:b}", "vpc", vpc, "dns", dns, "dhcp", dhcp);
}

int cmd_dns_enable(struct cli *c)
{
	char domain[DNSMASQ_DOMAIN_MAX];
	struct vpc v;
	bool changed;
	int r = cli_open(c, STORE_WRITE);

	if (!r)
		r = ops_dns_enable(&c->ops, c->args[0], false, &changed, &c->err);
	if (!r)
		r = vpc_load(c->ops.st, c->args[0], &v, &c->err);
	if (r)
		return r;
	cli_print_result(c, "byway.dns/1", describe(v.name, v.dns, v.dhcp),
			 "names in %s are served%s", dnsmasq_domain(&v, domain),
			 changed ? "" : " already");
	return 0;
}

int cmd_dns_disable(struct cli *c)
{
	bool existed;
	int r = cli_open(c, STORE_WRITE);

	if (!r)
		r = ops_dns_disable(&c->ops, c->args[0], &existed, &c->err);
	if (r)
		return r;
	cli_print_result(c, "byway.dns/1", describe(c->args[0], false, false),
			 existed ? "%s has neither DNS nor DHCP any more"
				 : "%s has no DNS: nothing to disable",
			 c->args[0]);
	return 0;
}

static void on_ready(void *arg)
{
	notify_manager("READY=1");
	cli_detach_done(arg, 0);
}

int cmd_dns_run(struct cli *c)
{
	static const int caps[] = {CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_NET_RAW, CAP_SETUID};
	struct detached detached = IN_FOREGROUND;
	struct dns_run run = {.name = c->args[0], .ready = on_ready, .arg = &detached};
	int r = caps_require(caps, ARRAY_SIZE(caps), &c->err);

	if (!r && c->dry_run) {
		struct oplog log = {.dry_run = true};
		char path[DNS_PATH_MAX];

		oplog_add(&log, NULL, "dnsmasq --conf-file=%s",
			  dns_path(run.name, DNS_CONFIG, path));
		cli_print_operations(c, &log);
		oplog_done(&log);
		return 0;
	}
	if (!r && cli_opt(c, "detach"))
		r = cli_detach(c, &detached);
	return r ? r : ops_dns_run(&run, &c->err);
}
