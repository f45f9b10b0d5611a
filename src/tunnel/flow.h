/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The flows of one worker: a fixed pool, found by a keyed hash of their ends, and their timers.
 * Nothing is allocated after flows_new(), nothing is searched.
 */
#ifndef BYWAY_TUNNEL_FLOW_H
#define BYWAY_TUNNEL_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/packet.h"

#define FLOW_NONE UINT32_MAX

enum flow_state {
	FLOW_FREE,
	FLOW_DIALING,   /* a SYN came; the upstream stream is being opened; nothing is answered */
	FLOW_SYN_RCVD,  /* our SYN and ACK are out */
	FLOW_OPEN,      /* data both ways, or one, until both ends have closed */
	FLOW_TIME_WAIT, /* both have; the descriptor is gone, the last ACK may be asked for again */
	FLOW_NUM_STATES,
};

struct flow {
	struct endpoints ends;
	enum flow_state state;
	int fd;        /* the upstream stream, or -1 */
	uint32_t dial; /* index of the dial in progress, or FLOW_NONE */

	/* Sequence numbers as in RFC 9293 3.3.1; we are the server of the guest that sent the SYN.
	 */
	uint32_t iss, snd_una, snd_nxt, snd_max;
	uint32_t snd_wnd;          /* what the guest has room for, in bytes */
	uint32_t snd_wl1, snd_wl2; /* seq and ack of the segment that said so */
	uint32_t rcv_nxt;
	uint32_t rcv_edge; /* rcv_nxt + the window last advertised: never goes back */
	uint16_t mss;      /* of segments to the guest */
	uint8_t snd_shift, rcv_shift;

	uint32_t cwnd, ssthresh; /* bytes (RFC 5681) */
	uint32_t recover;        /* snd_max when a loss was noticed: no second cut before it is
				    acknowledged */
	uint32_t srtt_us, rttvar_us, rto_ms;
	uint32_t rtt_seq; /* an ACK beyond it ends the measurement that began at rtt_start_us */
	uint64_t rtt_start_us;
	uint8_t dup_acks, retries;
	uint64_t heard_ms; /* when the guest last sent anything */

	/* Selective acknowledgement, both ways (RFC 2018, 6675). */
	struct ranges sacked; /* what the guest has of [snd_una, snd_max) */
	uint32_t resend;      /* in recovery: what was lost before it has been sent again */
	struct ranges ahead;  /* what the chunk has behind a gap at rcv_nxt */
	uint32_t ahead_last;  /* start of the segment of these that came last */

	/* Timestamps (RFC 7323). */
	uint32_t time_recent; /* the guest's, to be echoed */
	uint32_t acked_to;    /* rcv_nxt when we last acknowledged */

	/* What the upstream socket did not take, and what came before its turn; chunk is FLOW_NONE
	 * without either. */
	uint32_t chunk;
	uint32_t chunk_seq;           /* of its first byte */
	uint32_t chunk_at, chunk_len; /* [chunk_at, chunk_len) is acknowledged, and the socket's */

	uint32_t peek_seq; /* what the socket's next peek gives (SO_PEEK_OFF) */

	bool timing : 1;       /* an RTT measurement is going on */
	bool guest_fin : 1;    /* its FIN was accepted: the upstream is shut down for writing */
	bool upstream_eof : 1; /* no more data will come from there */
	bool fin_sent : 1, fin_acked : 1;
	bool active_close : 1; /* our FIN was the first */
	bool ack_due : 1;      /* something must be acknowledged, data or not */
	bool fin_waits : 1;    /* the guest's FIN comes behind what is in the chunk */
	bool peek_offset : 1;  /* the socket has SO_PEEK_OFF */
	bool is_tcp : 1; /* the upstream is a TCP socket: acknowledged data can be dropped unread */
	bool sack : 1, timestamps : 1; /* both sides do */
	bool recovering : 1;           /* until recover is acknowledged */
	bool idle : 1;                 /* the deadline is for a keepalive */

	uint64_t deadline_ms; /* when tcp_timer() is wanted; 0 for never */

	/* Of the pool. */
	uint32_t hash_next, timer_next, timer_prev, list_next, list_prev;
	uint32_t slot; /* of the timer wheel, or FLOW_NONE */
};

struct flows;

struct flows *flows_new(size_t max);
void flows_free(struct flows *fs);

struct flow *flow_at(struct flows *fs, uint32_t index);
uint32_t flow_index(const struct flows *fs, const struct flow *f);
size_t flows_used(const struct flows *fs);
/* Without those in FLOW_TIME_WAIT. */
size_t flows_live(const struct flows *fs);

struct flow *flow_find(struct flows *fs, const struct endpoints *ends);
/* A flow in FLOW_DIALING with everything else zero; when the pool is used up, the oldest in
 * FLOW_TIME_WAIT makes room; NULL when there is none. */
struct flow *flow_add(struct flows *fs, const struct endpoints *ends);
/* The descriptor is the caller's to close before. */
void flow_del(struct flows *fs, struct flow *f);
/* Notes the order in which flows entered FLOW_TIME_WAIT. */
void flow_set_time_wait(struct flows *fs, struct flow *f);
/* Initial sequence number of a connection (RFC 6528). */
uint32_t flow_iss(const struct flows *fs, const struct endpoints *ends, uint64_t now_us);

/* Sets f->deadline_ms; 0 for none. Cheap when it only moves later. */
void flow_set_timer(struct flows *fs, struct flow *f, uint64_t deadline_ms);
/* Calls fn for each flow whose deadline has come. Returns milliseconds until it should be called
 * again, at most limit_ms. */
typedef void (*flow_timer_fn)(struct flow *f, void *arg);
int flows_expire(struct flows *fs, uint64_t now_ms, int limit_ms, flow_timer_fn fn, void *arg);
/* Every flow that is not free; fn may delete it. */
void flows_each(struct flows *fs, flow_timer_fn fn, void *arg);

#endif
