/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VPN over an HTTP CONNECT proxy: one process a tunnel, in the foreground.
 *
 * A tunnel is known by the namespace that it is for, "host" for the host's. Its process holds
 * DIR/NAME.lock as long as it lives and writes DIR/NAME.json once a second (schema
 * byway.proxy.status/1); the kill switch and the routes are the kernel's, and are taken away by
 * ops_proxy_down() or a clean end only.
 */
#ifndef BYWAY_OPS_PROXY_H
#define BYWAY_OPS_PROXY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "firewall/firewall.h"
#include "kernel/oplog.h"
#include "tunnel/capture.h"
#include "tunnel/dialer.h"
#include "tunnel/dns.h"

struct err;

#define PROXY_DIR "/run/byway/proxy"
#define PROXY_HOST_NAME "host"

/* The folder of the tunnels' files: PROXY_DIR for root, else below $XDG_RUNTIME_DIR. */
const char *proxy_default_dir(char buf[256]);

enum proxy_state {
	PROXY_DOWN,       /* nothing is captured or blocked */
	PROXY_CONNECTING, /* blocked; no stream has been opened yet */
	PROXY_UP,
	PROXY_RECONNECTING, /* it was up; the proxy cannot be reached; blocked */
	PROXY_ERROR,        /* the proxy does not let streams through; blocked */
	PROXY_KILLED,       /* the process is gone, what it made still blocks */
	PROXY_NUM_STATES,
};

const char *proxy_state_name(enum proxy_state s);

struct proxy_config {
	const char *dir;               /* of the files */
	const char *netns;             /* NULL: the host's */
	struct capture capture;        /* upstreams is filled in from connect */
	enum dns_mode dns;             /* capture.dns follows it */
	struct connect_config connect; /* host names not yet resolved: family 0 */
	struct connect_addrs addrs[CONNECT_UPSTREAMS_MAX]; /* of these: filled in, and kept */
	enum fw_backend_id backend;
	struct oplog log;
	/* Called once everything stands, and when the state changes; for readiness and progress. */
	void (*ready)(void *arg);
	void *arg;
};

/* Brings the tunnel up and runs it until SIGTERM or SIGINT, then takes it down. The passwords in c
 * are wiped as soon as the dialer has them. */
int ops_proxy_run(struct proxy_config *c, struct err *err);
/* Opens one stream through the proxy and closes it, with no tunnel: is it there, does it let us in,
 * does it reach the target? ERR_AUTH, ERR_UNREACHABLE, ERR_BLOCKED. */
int ops_proxy_check(struct proxy_config *c, const char *host, uint16_t port, struct err *err);
/* Ends the process, if there is one, and takes away everything in the kernel, readable state or
 * not. */
int ops_proxy_down(const char *dir, const char *netns, enum fw_backend_id backend,
		   struct oplog *log, bool *ret_existed, struct err *err);
/* A new reference; {"state": "down"} when there is no tunnel. */
int ops_proxy_status(const char *dir, const char *netns, json_t **ret, struct err *err);
/* The names of the tunnels that there are, or were before a crash; freed by the caller, each and
 * all. */
int ops_proxy_list(const char *dir, char ***ret, size_t *n, struct err *err);

#endif
