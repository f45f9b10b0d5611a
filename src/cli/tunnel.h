/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the commands of all kinds of tunnels have in common: where, what is captured, readiness.
 */
#ifndef BYWAY_CLI_TUNNEL_H
#define BYWAY_CLI_TUNNEL_H

#include "cli/cli.h"
#include "cli/detach.h"
#include "kernel/netns.h"
#include "ops/tunnel.h"
#include "tunnel/dialer.h"

#define TUN_NAME_DEFAULT "byway0"
#define TUN_CIDR_DEFAULT "198.18.0.1/30" /* of the range for tests between networks, RFC 2544 */

/* A command's while a tunnel runs. */
struct cli_tunnel {
	struct cli *c;
	const char *captured; /* what is said when it stands */
	struct detached detached;
	char netns[NETNS_NAME_MAX], dir[256];
};

/* Calls fn for each word of an option that may be given more than once. */
int cli_each_word(struct cli *c, const char *option, int (*fn)(struct cli *, const char *, void *),
		  void *arg);
/* From the options: the device, what is captured, the kill switch. */
int cli_tunnel_capture(struct cli *c, struct capture *k);
/* Resolvers for the capture: from --allow-dns if there is such an option and it was given, else
 * from resolv.conf. */
int cli_tunnel_resolvers(struct cli *c, struct capture *k);
/* Capabilities, the namespace, detaching; fills in the rest of config, which calls back into x.
 * Returns 0 in the process that is to run the tunnel. */
int cli_tunnel_begin(struct cli *c, struct cli_tunnel *x, const char *captured,
		     struct tunnel_config *config);
/* After the tunnel's end, with its result: what a dry run would have done. */
int cli_tunnel_end(struct cli *c, struct tunnel_config *config, int result);

int cli_tunnel_down(struct cli *c, const char *kind);
/* columns: of the table. */
int cli_tunnel_status(struct cli *c, const char *kind, const struct cli_column *columns, size_t n);
/* HOST:PORT */
int cli_target(struct cli *c, const char *text, char host[DIAL_HOST_MAX], uint16_t *ret_port);

#endif
