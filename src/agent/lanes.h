/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames on their way into a channel that may be slower than they come: two bounded queues, of
 * which the one for small frames goes first. Memory is the caller's; nothing blocks; no C library.
 */
#ifndef BYWAY_AGENT_LANES_H
#define BYWAY_AGENT_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/proto.h"

enum lane { LANE_SMALL, LANE_BULK, NUM_LANES };

/* Powers of two. A bulk lane drains in 14 ms at 70 MB/s, which a busy scheduler may well let pass.
 */
#define LANE_SMALL_BYTES (256u << 10)
#define LANE_BULK_BYTES (1024u << 10)
/* A payload of at most so many bytes goes by the small lane: speech, games, acknowledgements, and
 * what fits into a DNS message without EDNS (RFC 1035 2.3.4). */
#define LANE_SMALL_PAYLOAD 512

struct lane_ring {
	uint8_t *data;
	size_t size;
	uint64_t head, tail; /* bytes ever put and ever written */
	uint64_t frame;      /* where the frame begins that tail is in, or at the end of */
};

struct lane_span {
	const uint8_t *data;
	size_t len;
};

struct lanes {
	struct lane_ring ring[NUM_LANES];
	enum lane current; /* whose turn it is */
	size_t left;       /* bytes of its turn; a turn ends where a frame does */
	size_t small_run;  /* bytes that the small lane has had while bulk was waiting */
	/* How far bulk may be ahead of what the other side has read. */
	uint64_t sent, acked;
	size_t window;
	bool limited;             /* it has kept bulk back since the last measurement */
	uint64_t probe, probe_us; /* the byte whose way is measured, and when it left; 0: none */
	uint32_t base_us, next_base_us;
	uint64_t base_until_us;
	/* The other direction: what was read, and what of it the other side knows. */
	uint64_t received, told;
	bool owes; /* it waits to be told */
};

void lanes_init(struct lanes *l, uint8_t *small, uint8_t *bulk);
/* Forgets what is queued; a frame that is half written with it. */
void lanes_clear(struct lanes *l);
/* The channel is another one: the rest of a frame that is half written does not go there. */
void lanes_cut(struct lanes *l);

/* Whether there is something to be written now: bulk may have to wait for an acknowledgement. */
bool lanes_ready(const struct lanes *l);
size_t lanes_room(const struct lanes *l, enum lane lane);

/* Which lane a payload takes. *order is the flow's, 0 at first: a flow that has frames in the bulk
 * lane does not overtake itself by the small one. urgent: small whatever its length. */
enum lane lanes_choose(const struct lanes *l, uint64_t order, size_t len, bool urgent);
/* Queues a frame, whole or not at all: false when there is no room. order may be NULL. */
bool lanes_put(struct lanes *l, enum lane lane, uint64_t *order, const struct lane_span parts[2]);

/* What is to be written next: up to two spans. Returns their number. */
size_t lanes_next(struct lanes *l, struct lane_span ret[2]);
/* So many bytes of it have been written. */
void lanes_written(struct lanes *l, size_t n, uint64_t now_us);
/* The other side has read so many bytes altogether. False: it cannot have. */
bool lanes_acked(struct lanes *l, uint64_t total, uint64_t now_us);

/* A frame of so many bytes has been read. */
void lanes_received(struct lanes *l, size_t n);
/* Queues the acknowledgement, if one is due. */
void lanes_tell(struct lanes *l, enum frame_sender self);

#endif
