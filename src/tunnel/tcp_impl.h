/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Of the terminator's own files: segment.c (what is sent to the guest), tcp_up.c (bytes from the
 * guest), tcp_down.c (bytes to the guest). tcp.c has the theory of operation.
 */
#ifndef BYWAY_TUNNEL_TCP_IMPL_H
#define BYWAY_TUNNEL_TCP_IMPL_H

#include "tunnel/tcp.h"

#define PAYLOAD_MAX 65000u /* with headers below 64 KiB */
#define DISCARD_SIZE 65536u
#define RTO_INITIAL_MS 1000u
#define RTO_MAX_MS 60000u
#define KEEPALIVE_IDLE_MS 600000u

static inline uint64_t now_ms(const struct tcp *t)
{
	return t->now_us / 1000;
}

static inline uint32_t in_flight(const struct flow *f)
{
	return f->snd_nxt - f->snd_una;
}

/* ---- segment.c ---- */

/* A full queue of the device loses packets, as any network may: retransmission repairs it. */
void segment_write(struct tcp *t, const uint8_t *packet, size_t len);
/* With the len payload bytes that stand in t->tx behind PACKET_HEADROOM. */
void segment_send(struct tcp *t, struct flow *f, uint8_t flags, uint32_t seq, size_t len);
void segment_ack(struct tcp *t, struct flow *f);
void segment_syn_ack(struct tcp *t, struct flow *f);
void segment_reset(struct tcp *t, struct flow *f);
/* Of a connection that we know nothing of: RFC 9293 3.10.7.1. */
void segment_reset_to(struct tcp *t, const struct endpoints *ends, const struct tcp_segment *s);

/* ---- tcp_up.c ---- */

/* Bytes that the guest may send now; moves rcv_edge along. */
uint32_t up_window(const struct tcp *t, struct flow *f);
/* The window of a SYN, which is never scaled. */
uint32_t up_first_window(struct flow *f);
/* The data and FIN of a segment. -errno when the upstream is broken. */
int up_take(struct tcp *t, struct flow *f, const struct tcp_segment *s);
/* What the chunk has, and the FIN behind it, to the socket. 1: nothing is left; 0: the socket is
 * full; -errno when the upstream is broken. */
int up_flush(struct tcp *t, struct flow *f);
void up_free_chunk(struct tcp *t, struct flow *f);
/* Whether the chunk has bytes that are acknowledged and not in the socket yet. */
static inline bool up_waits(const struct flow *f)
{
	return f->chunk_at != f->chunk_len;
}

/* ---- tcp_down.c ---- */

/* Sends what can be sent. -errno when the upstream is broken. */
int down_push(struct tcp *t, struct flow *f);
/* A segment's ACK and SACK, which are known to be of what was sent. -errno as above. */
int down_ack(struct tcp *t, struct flow *f, const struct tcp_segment *s);
/* Nothing was acknowledged for too long: everything is sent again. */
int down_timeout(struct tcp *t, struct flow *f);
/* Sends everything again, for another reason than that it was lost. */
int down_resend(struct tcp *t, struct flow *f);
void down_arm(struct tcp *t, struct flow *f);
/* There is nothing to wait for but the guest's next word. */
void down_rest(struct tcp *t, struct flow *f);
static inline bool is_resting(const struct flow *f)
{
	return f->idle || !f->deadline_ms;
}

#endif
