/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Streams over an OpenSSH master, for the thread of ssh.c alone. A channel has a caller, who holds
 * the other end of a socket pair and is told there how the opening ended: one byte, an enum
 * dial_status, and after any but DIAL_CONNECTED a sentence and the end.
 */
#ifndef BYWAY_TUNNEL_SSH_CHANNEL_H
#define BYWAY_TUNNEL_SSH_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/util.h"
#include "tunnel/dialer.h"

struct chunk;
struct ssh_mux;
struct ssh_passenger;

/* ---- The event loop: what epoll is given ---- */

/* The first member of what it belongs to. */
struct ssh_source {
	void (*event)(struct ssh_source *s, uint32_t events); /* NULL: dead, events are stale */
	struct ssh_source *dead;
};

TAILQ_HEAD(ssh_channels, ssh_channel);

struct ssh_loop {
	int epoll;
	struct ssh_channels draining;
	struct ssh_source *dead; /* freed after the events at hand */
	struct chunk *chunks;    /* of backlogs, for the next ones */
	unsigned int n_chunks;
};

void ssh_loop_init(struct ssh_loop *l, int epoll);
int ssh_loop_add(const struct ssh_loop *l, int fd, uint32_t events, struct ssh_source *s);
void ssh_loop_set(const struct ssh_loop *l, int fd, uint32_t events, struct ssh_source *s);
/* Of whatever epoll knows; legal on -1. */
void ssh_loop_close(const struct ssh_loop *l, int fd);
/* Frees, with free(3), when no event can speak of it any more. */
void ssh_loop_bury(struct ssh_loop *l, struct ssh_source *s);
void ssh_loop_reap(struct ssh_loop *l);
/* Resets what was draining. The epoll descriptor is the caller's. */
void ssh_loop_done(struct ssh_loop *l);

/* ---- Channels ---- */

enum ssh_channel_state {
	SSH_CHANNEL_WAITING,  /* for a master */
	SSH_CHANNEL_OPENING,  /* for the server's answer */
	SSH_CHANNEL_STREAM,   /* open */
	SSH_CHANNEL_DRAINING, /* closed, but for what the caller has not taken yet */
};

/* What is needed until it is open. */
struct ssh_opening {
	struct dial_target target;
	uint64_t wait_until_ms; /* for a master */
};

struct ssh_channel {
	struct ssh_source source;
	struct ssh_loop *loop;
	struct ssh_mux *mux;             /* while it has a number there */
	struct ssh_passenger *passenger; /* or this, where ssh does it */
	struct ssh_opening *opening;
	TAILQ_ENTRY(ssh_channel)
	entry;  /* of those waiting or draining, or of those ready to send */
	int fd; /* ours of the pair; -1 when the caller is gone */
	enum ssh_channel_state state;
	uint32_t id, peer;                /* our number and the server's */
	uint32_t send_window, max_packet; /* what the server takes */
	uint32_t window, window_max;      /* what we take: now, and when nothing is under way */
	uint32_t backlogged;
	uint64_t measured_us, measured; /* since when, and how much the caller has taken */
	struct chunk *backlog, *backlog_last;
	struct ssh_channels *ready_in; /* its mux's list, or NULL */
	bool readable, ended, gone;    /* the caller: wrote; will write no more; nor read */
	bool eof_sent, eof_received, close_sent;
	bool waits_for_room; /* epoll tells when the caller has taken something */
};

/* Opens the pair; *ret_fd is the caller's end. From here on events come, the first when the thread
 * has called ssh_channel_attach(). -errno. */
int ssh_channel_new(const struct dial_target *t, struct ssh_channel **ret, int *ret_fd);
int ssh_channel_attach(struct ssh_channel *c, struct ssh_loop *l);
/* Tells the caller why there will be no stream, and frees the channel, which must be in no list and
 * no mux. status: an enum dial_status, with SSH_CHANNEL_ANSWERED where it is the server's word. */
#define SSH_CHANNEL_ANSWERED 0x80
void ssh_channel_fail(struct ssh_channel *c, unsigned int status, const char *fmt, ...)
	_printf_(3, 4);
/* Breaks the caller's stream off (ECONNRESET), and frees as above. */
void ssh_channel_reset(struct ssh_channel *c);
/* Ends the caller's stream in good order, once it has taken what is left, and frees. */
void ssh_channel_finish(struct ssh_channel *c);
/* The text of the target, an address or a name. */
const char *ssh_channel_host(const struct ssh_channel *c, char buffer[DIAL_HOST_MAX]);

/* ---- For ssh_mux.c and ssh_passenger.c ---- */

/* What epoll says of the caller's end. */
void ssh_channel_note(struct ssh_channel *c, uint32_t events);
/* Bytes that the caller took; negative when it takes none any more. */
ssize_t ssh_channel_give(const struct ssh_channel *c, const void *data, size_t len);
/* What the caller has not taken; with ssh_channel_wait_for_room() epoll tells when it might. */
void ssh_channel_keep(struct ssh_channel *c, const unsigned char *data, size_t len);
void ssh_channel_wait_for_room(struct ssh_channel *c, bool wait);
/* False when the caller takes no more for good. */
bool ssh_channel_give_kept(struct ssh_channel *c);
void ssh_channel_drop_kept(struct ssh_channel *c);
/* Breaks the caller's stream off; the channel stays. */
void ssh_channel_drop_caller(struct ssh_channel *c);

#endif
