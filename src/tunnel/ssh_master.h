/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One supervised ssh process and the control connection to it, for the thread of ssh.c alone.
 */
#ifndef BYWAY_TUNNEL_SSH_MASTER_H
#define BYWAY_TUNNEL_SSH_MASTER_H

#include "base/line.h"
#include "proc/backoff.h"
#include "proc/child.h"
#include "tunnel/ssh_mux.h"
#include "tunnel/ssh_setup.h"

struct ssh_master {
	struct ssh_source pidfd, output, notify;
	TAILQ_ENTRY(ssh_master) entry; /* of those that are to end */
	struct ssh_loop *loop;
	struct ssh_setup *setup;
	struct ssh_mux *mux;                 /* in proxy mode */
	struct ssh_channels passengers;      /* else */
	unsigned int n_passengers, n_failed; /* failed opens in proxy mode: see ssh_master.c */
	struct child child;
	int output_fd, notify_fd;
	struct line line; /* of ssh's output */
	char dir[SSH_RUN_DIR_MAX + 16],
		path[SSH_RUN_DIR_MAX + 24]; /* "" without a control socket */
	struct backoff backoff;
	uint64_t deadline_ms;          /* of what is being waited for; UINT64_MAX for nothing */
	bool ending;                   /* the process has been told to */
	bool ended;                    /* it is to be reaped */
	bool last;                     /* no other is started after it */
	enum dial_status refusals[64]; /* told by ssh and not yet claimed by a passenger */
	unsigned int n_refusals;
	uint64_t up_bytes, down_bytes; /* of control connections that are no more */
	struct ssh_connection_status status;
	bool changed; /* the state; whoever looks takes it back */
};

TAILQ_HEAD(ssh_masters, ssh_master);

struct ssh_master *ssh_master_new(struct ssh_loop *l, struct ssh_setup *setup);
/* Does what is due. Channels that must wait for another connection go to the list. */
void ssh_master_run(struct ssh_master *m, uint64_t now_ms, struct ssh_channels *waiting);
/* Ends the process; another follows. */
void ssh_master_restart(struct ssh_master *m, uint64_t now_ms);
void ssh_master_kick(struct ssh_master *m, uint64_t now_ms);
bool ssh_master_is_up(const struct ssh_master *m);
unsigned int ssh_master_channels(const struct ssh_master *m);
/* When it is up: the channel is the master's from here on. */
void ssh_master_open(struct ssh_master *m, struct ssh_channel *c);
void ssh_master_get_status(const struct ssh_master *m, struct ssh_connection_status *ret);
/* Tells the process to end; ssh_master_run() must go on until ssh_master_is_gone(). */
void ssh_master_end(struct ssh_master *m, uint64_t now_ms);
bool ssh_master_is_gone(const struct ssh_master *m);
/* Ends the process, if there is one, and waits for it; frees. */
void ssh_master_free(struct ssh_master *m, struct ssh_channels *waiting);

/* ---- Channels that ssh serves itself: ssh_passenger.c ---- */

/* Asks ssh to serve the channel; it fails at once when ssh cannot be asked. */
void ssh_passenger_open(struct ssh_master *m, struct ssh_channel *c);
/* The master is gone; the channel goes to the list when it was not yet open, else is reset. */
void ssh_passenger_lose(struct ssh_channel *c, struct ssh_channels *waiting);
/* The oldest refusal that ssh has told of and nobody has claimed; false when there is none. */
bool ssh_master_claim_refusal(struct ssh_master *m, enum dial_status *ret);

#endif
