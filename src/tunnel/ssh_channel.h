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
#include <sys/uio.h>

#include "base/buf.h"
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
	uint64_t adjusted_us;
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

/* ---- A control connection in proxy mode ---- */

struct ssh_slot {
	struct ssh_channel *channel;
	uint32_t next_free;
};

enum ssh_mux_phase { SSH_MUX_GREETING, SSH_MUX_ASKED, SSH_MUX_UP, SSH_MUX_REFUSED, SSH_MUX_BROKEN };

#define SSH_PIECES 16

struct ssh_mux {
	struct ssh_source source;
	struct ssh_loop *loop;
	int fd;
	enum ssh_mux_phase phase;
	char reason[128]; /* when refused or broken */
	struct buf out;   /* frames from out_at on are to be sent */
	size_t out_at;
	bool waits_for_room;
	unsigned char *in;
	size_t in_len;
	struct { /* data in the buffer, of one channel and not yet passed on */
		struct ssh_channel *channel;
		struct iovec pieces[SSH_PIECES];
		size_t n;
	} arrived;
	struct ssh_slot *slots;
	uint32_t n_slots, first_free;
	unsigned int n_channels;
	unsigned int n_failed;            /* opens; see ssh_master.c for why it matters */
	struct ssh_channels fresh, bulk;  /* ready to send: what had been idle, and the others */
	uint32_t window_max;              /* of one channel */
	uint64_t granted;                 /* windows of all channels */
	const struct ssh_channel *pinged; /* by whose answer the round trip is measured */
	uint64_t pinged_us, rtt_us;       /* when last; about the least */
	uint64_t up_bytes, down_bytes;
};

/* To a control socket; blocks for no longer than ssh takes to call listen(2). -errno. */
int ssh_connect(const char *path, int *ret_fd);
/* Connects to the control socket and asks for proxy mode. */
int ssh_mux_new(struct ssh_loop *l, const char *path, uint32_t window_max, struct ssh_mux **ret);
/* Resets its channels; those not yet open become SSH_CHANNEL_WAITING at the end of the list. */
void ssh_mux_free(struct ssh_mux *m, struct ssh_channels *waiting);
/* The channel, which waits, is from here on the mux's. */
void ssh_mux_open(struct ssh_mux *m, struct ssh_channel *c);
/* Sends what there is; to be called after a batch of events. */
void ssh_mux_flush(struct ssh_mux *m);
bool ssh_mux_is_over(const struct ssh_mux *m);

#endif
