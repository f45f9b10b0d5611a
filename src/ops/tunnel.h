/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tunnels, whatever carries them: one process each, in the foreground. What kinds differ in is a
 * table of functions (proxy.h, ssh.h).
 *
 * A tunnel is known by the namespace that it is for, "host" for the host's: there is one for each
 * at most. Its process holds DIR/NAME.lock as long as it lives and writes DIR/NAME.json once a
 * second; the kill switch and the routes are the kernel's, and are taken away by ops_tunnel_down()
 * or a clean end only.
 */
#ifndef BYWAY_OPS_TUNNEL_H
#define BYWAY_OPS_TUNNEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "firewall/firewall.h"
#include "kernel/oplog.h"
#include "tunnel/capture.h"
#include "tunnel/dns.h"

struct dialer;
struct engine;
struct err;
struct relay;
struct worker_status;

#define TUNNEL_DIR "/run/byway/tunnel"
#define TUNNEL_HOST_NAME "host"

/* The folder of the tunnels' files: TUNNEL_DIR for root, else below $XDG_RUNTIME_DIR. */
const char *tunnel_default_dir(char buf[256]);

enum tunnel_state {
	TUNNEL_DOWN,       /* nothing is captured or blocked */
	TUNNEL_CONNECTING, /* blocked; there was no way out yet */
	TUNNEL_UP,
	TUNNEL_RECONNECTING, /* it was up; the other side cannot be reached; blocked */
	TUNNEL_ERROR,        /* the other side is there and refuses us; blocked */
	TUNNEL_KILLED,       /* the process is gone, what it made still blocks */
	TUNNEL_NUM_STATES,
};

const char *tunnel_state_name(enum tunnel_state s);

struct tunnel_config {
	const char *dir;   /* of the files */
	const char *netns; /* NULL: the host's */
	struct capture capture;
	enum dns_mode dns; /* capture.dns follows it */
	enum fw_backend_id backend;
	struct oplog log;
	/* Called once everything stands; for readiness and progress. */
	void (*ready)(void *arg);
	/* Or NULL: whether what is sent into it has a chance to get through; whenever that is
	 * judged anew. */
	void (*judged)(void *arg, bool carries);
	void *arg;
};

struct tunnel {
	struct tunnel_config *c;
	const struct tunnel_ops *ops;
	struct netns *ns; /* that the tunnel is for */
	struct firewall *fw;
	struct dialer *dialer;
	struct relay *relay; /* of datagrams; NULL when there is none */
	struct engine *engine;
	int lock;
	time_t since; /* when it stood; 0 before */
	enum tunnel_state state;
	bool carries; /* of judged() */
};

/* What a kind of tunnel does. Those that may fail return -errno, with a sentence in err. */
struct tunnel_ops {
	const char *kind; /* the command's noun */
	/* Capabilities that are needed after the set-up. */
	const int *caps;
	size_t n_caps;
	/* While the network is still free: addresses, checks. */
	int (*prepare)(struct tunnel *t, struct err *err);
	/* Behind the rules, and with a TUN device: makes t->dialer, and t->relay of the TUN, when
	 * it carries datagrams. */
	int (*connect)(struct tunnel *t, int tun, struct err *err);
	/* Once a second, and when wait() returned: t->state and t->carries, from what there is. */
	void (*update)(struct tunnel *t, const struct worker_status *s);
	/* Adds members to the status. */
	void (*describe)(const struct tunnel *t, json_t *status);
	/* Does what is to be done, until signal_fd is readable (true), there is something new to
	 * tell, or the time is over (false). */
	bool (*wait)(struct tunnel *t, int signal_fd, int timeout_ms);
	/* Undoes connect(), whether it was called, succeeded, or not; t->dialer and t->relay are
	 * freed by the caller, afterwards. */
	void (*disconnect)(struct tunnel *t);
};

/* Brings the tunnel up and runs it until SIGTERM or SIGINT, then takes it down. c and ops are set.
 */
int ops_tunnel_run(struct tunnel *t, struct err *err);
/* Ends the process, if there is one, and takes away everything in the kernel, readable state or
 * not. kind: of which it must be, when that is known; NULL for any. */
int ops_tunnel_down(const char *dir, const char *netns, const char *kind,
		    enum fw_backend_id backend, struct oplog *log, bool *ret_existed,
		    struct err *err);
/* A new reference; {"state": "down"} when there is no tunnel. */
int ops_tunnel_status(const char *dir, const char *netns, json_t **ret, struct err *err);
/* The names of the tunnels that there are, or were before a crash; freed by the caller, each and
 * all. */
int ops_tunnel_list(const char *dir, char ***ret, size_t *n, struct err *err);
/* All of them, as an array of their status; a new reference. */
int ops_tunnel_statuses(const char *dir, json_t **ret, struct err *err);
/* Opens one stream and closes it: ERR_AUTH, ERR_UNREACHABLE, ERR_BLOCKED. Waits. */
int ops_tunnel_dial(const struct dialer *d, const char *host, uint16_t port, struct err *err);

#endif
