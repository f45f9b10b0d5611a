/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A dialer over SSH: every stream is a direct-tcpip channel (RFC 4254 7.2) of a connection that the
 * user's own OpenSSH client holds, with the user's own configuration, keys, agent and jump hosts.
 *
 * dialer_ssh() starts one thread, in the caller's namespaces and with all signals blocked; it
 * starts ssh, supervises it and moves the bytes. Dials of any thread go to it. The thread must be
 * able to start ssh again at any time, so it keeps the capabilities that the caller has at that
 * moment: with a user other than its own it needs CAP_SETUID, CAP_SETGID, CAP_CHOWN, and CAP_KILL,
 * without which the kernel does not end ssh when the thread is killed.
 *
 * For the firewall: with `gid`, every socket of ssh and of what it starts (ProxyCommand, ProxyJump)
 * has `meta skgid` gid and no SO_MARK.
 */
#ifndef BYWAY_TUNNEL_SSH_H
#define BYWAY_TUNNEL_SSH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tunnel/ssh_error.h"

struct dialer;
struct err;
struct ssh_where;
struct user;

#define SSH_CONNECTIONS_MAX 16

/* Who moves the bytes. */
enum ssh_mode {
	SSH_MODE_AUTO,      /* as proxy; as passenger when ssh refuses that or dies of it */
	SSH_MODE_PROXY,     /* byway speaks the connection protocol itself */
	SSH_MODE_PASSENGER, /* ssh does, with a pair of pipes for each channel */
};

struct ssh_config {
	const char *destination; /* [USER@]HOST or an alias from the user's configuration */
	const char *const
		*options; /* words for ssh's command line (-F, -o, -i, -p, -J ...), or NULL */
	unsigned int connections; /* 1 to SSH_CONNECTIONS_MAX; 0: 1 */
	const char *run_dir;     /* where control sockets are, for a moment; others may search it */
	const struct user *user; /* who ssh runs as; NULL: as we do */
	gid_t gid;     /* ssh's primary group, its user's own become supplementary; 0: none */
	bool terminal; /* ssh may ask for passwords and keys on ours */
	enum ssh_mode mode;
	const struct ssh_where *where; /* the server, for when names cannot be resolved; or NULL */
	/* 0 for the default of each. */
	uint32_t wait_ms;          /* how long a dial waits for a connection; 15 s */
	uint32_t timeout_ms;       /* for the whole of a dial; 45 s */
	uint32_t window_bytes;     /* of a channel, at most; 16 MiB */
	uint32_t alive_interval_s; /* between keepalives; 3 */
	uint32_t alive_count;      /* how many may be unanswered; 3 */
};

enum ssh_state {
	SSH_STATE_CONNECTING,
	SSH_STATE_UP,
	SSH_STATE_WAITING, /* to connect again */
	SSH_STATE_STOPPED, /* would not help: see error. ssh_kick() tries it all the same */
	SSH_NUM_STATES,
};

const char *ssh_state_name(enum ssh_state s);

struct ssh_connection_status {
	enum ssh_state state;
	pid_t pid; /* 0 while there is no process */
	bool passenger;
	enum ssh_error error;            /* why it is not up */
	char text[256];                  /* in ssh's words */
	uint64_t changed_ms;             /* CLOCK_MONOTONIC */
	uint64_t retry_ms;               /* SSH_STATE_WAITING: when */
	unsigned int channels, connects; /* connects: how often it came up */
	uint64_t up_bytes, down_bytes;   /* in proxy mode */
};

struct ssh_status {
	unsigned int n;
	struct ssh_connection_status connections[SSH_CONNECTIONS_MAX];
	unsigned int waiting; /* dials for a connection */
};

/* Everything that config points to is copied. Returns before there is a connection: dials wait. */
int dialer_ssh(const struct ssh_config *config, struct dialer **ret, struct err *err);

/* These are for dialers of dialer_ssh() only, and for any thread. */

/* The network has changed: what waits or has stopped connects now. */
void ssh_kick(struct dialer *d);
void ssh_get_status(struct dialer *d, struct ssh_status *ret);
/* An eventfd, the dialer's: readable after a connection changed its state. */
int ssh_event_fd(struct dialer *d);

#endif
