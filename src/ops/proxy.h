/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tunnel over an HTTP CONNECT proxy.
 */
#ifndef BYWAY_OPS_PROXY_H
#define BYWAY_OPS_PROXY_H

#include "ops/tunnel.h"
#include "tunnel/dialer.h"

struct proxy_config {
	struct tunnel_config tunnel;   /* capture.upstreams is filled in from connect */
	struct connect_config connect; /* host names not yet resolved: family 0 */
	struct connect_addrs addrs[CONNECT_UPSTREAMS_MAX]; /* of these: filled in, and kept */
};

/* See ops_tunnel_run(). The passwords in c are wiped as soon as the dialer has them. */
int ops_proxy_run(struct proxy_config *c, struct err *err);
/* Opens one stream through the proxy and closes it, with no tunnel: is it there, does it let us in,
 * does it reach the target? ERR_AUTH, ERR_UNREACHABLE, ERR_BLOCKED. */
int ops_proxy_check(struct proxy_config *c, const char *host, uint16_t port, struct err *err);

#endif
