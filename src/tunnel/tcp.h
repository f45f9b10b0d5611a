/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The TCP terminator: the guest's connections end here, and go on as upstream streams. tcp.c has
 * the theory of operation. Everything belongs to one worker and one thread.
 */
#ifndef BYWAY_TUNNEL_TCP_H
#define BYWAY_TUNNEL_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/dialer.h"
#include "tunnel/flow.h"

#define TCP_CHUNK_SIZE 65536u

struct tcp_counters {
	uint64_t accepted, refused, unreachable, resets;
	uint64_t bytes_up, bytes_down;
	uint64_t retransmits, out_of_order, challenges, no_room;
};

struct tcp {
	struct flows *flows;
	int tun;         /* packets out; whole ones, non-blocking */
	int epoll;       /* where the caller watches f->fd, which leaves it before it is closed */
	uint16_t mtu;    /* of the TUN device */
	uint64_t now_us; /* set by the worker before each call */
	/* A SYN came: open an upstream stream for f, then call tcp_connected() or tcp_failed(),
	 * which may be at once. */
	void (*dial)(struct flow *f, void *arg);
	void (*cancel)(struct flow *f, void *arg); /* f->dial is not wanted any more */
	void *arg;
	struct tcp_counters counters;
	struct flow *owes_ack; /* NULL, or the flow whose ACK waits for tcp_flush() */
	/* Made by tcp_init(). */
	uint8_t *tx;      /* PACKET_HEADROOM, then a payload */
	uint8_t *discard; /* where bytes are read to that nobody wants */
	uint8_t *chunks;
	uint32_t *free_chunks;
	size_t n_free_chunks;
};

/* The fields up to arg are the caller's and set before. chunks: how many flows may be stuck at
 * once. */
void tcp_init(struct tcp *t, size_t chunks);
void tcp_done(struct tcp *t);

/* A packet of kind PACKET_TCP from the TUN. Data in order may be acknowledged only by the next
 * tcp_flush(): one ACK for all that came together. */
void tcp_input(struct tcp *t, const struct packet *p);
void tcp_flush(struct tcp *t);
/* A packet of kind PACKET_TOO_BIG. False: it is about no flow of ours. */
bool tcp_too_big(struct tcp *t, const struct packet *p);
/* The upstream stream of a flow in FLOW_DIALING is there; takes fd. */
void tcp_connected(struct tcp *t, struct flow *f, int fd);
void tcp_failed(struct tcp *t, struct flow *f, enum dial_status why);
/* Edge-triggered events on f->fd. f may be gone afterwards. */
void tcp_readable(struct tcp *t, struct flow *f);
void tcp_writable(struct tcp *t, struct flow *f);
/* f->deadline_ms has come. */
void tcp_timer(struct tcp *t, struct flow *f);
/* Resets both sides. */
void tcp_abort(struct tcp *t, struct flow *f);

#endif
