// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The TCP terminator as a whole: what the bytes say is done to it, by a guest, an upstream and the
 * clock, and after each step its invariants must hold. An operation is one byte, what it needs follows.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "fuzz.h"
#include "kernel/tun.h"
#include "tunnel/tcp.h"

#define FLOWS 8
#define CHUNKS 2

struct world {
	struct tcp tcp;
	int tun;
	int upstream[FLOWS]; /* the server's end, by index of the flow */
	const uint8_t *data;
	size_t len;
};

static uint8_t take(struct world *w)
{
	if (!w->len)
		return 0;
	w->len--;
	return *w->data++;
}

static uint32_t take32(struct world *w)
{
	uint32_t v = take(w);

	v = v << 8 | take(w);
	v = v << 8 | take(w);
	return v << 8 | take(w);
}

static void on_dial(struct flow *f, void *arg)
{
	(void)arg;
	f->dial = 1;
}

static void on_cancel(struct flow *f, void *arg)
{
	(void)arg;
	f->dial = FLOW_NONE;
}

static bool at_most(uint32_t a, uint32_t b)
{
	return (int32_t)(b - a) >= 0;
}

/* tcp.c numbers them. */
static void check(struct flow *f, void *arg)
{
	struct world *w = arg;

	assert(at_most(f->snd_una, f->snd_nxt) && at_most(f->snd_nxt, f->snd_max));
	assert(at_most(f->rcv_nxt, f->rcv_edge) || f->guest_fin || f->state == FLOW_DIALING);
	assert((f->fd >= 0) == (f->state == FLOW_SYN_RCVD || f->state == FLOW_OPEN));
	assert(f->state == FLOW_DIALING || f->deadline_ms);
	assert((f->chunk != FLOW_NONE) == (f->chunk_at != f->chunk_len || f->ahead.n));
	if (f->chunk_at != f->chunk_len)
		assert(f->chunk_seq + f->chunk_len == f->rcv_nxt - (f->guest_fin ? 1 : 0));
	for (unsigned int i = 0; i < f->ahead.n; i++)
		assert(at_most(f->rcv_nxt + 1, f->ahead.r[i].start) &&
		       at_most(f->ahead.r[i].end, f->chunk_seq + TCP_CHUNK_SIZE));
	for (unsigned int i = 0; i < f->sacked.n; i++)
		assert(at_most(f->snd_una, f->sacked.r[i].start) &&
		       at_most(f->sacked.r[i].end, f->snd_max));
	assert(f->mss >= 64 - TCP_TIME_BYTES);
	assert(flow_find(w->tcp.flows, &f->ends) == f);
}

static struct flow *any_flow(struct world *w, enum flow_state state)
{
	struct flow *f = flow_at(w->tcp.flows, take(w) % FLOWS);

	return f->state == state ? f : NULL;
}

/* Any bytes at all, or a segment that nearly fits an existing connection. */
static void raw_packet(struct world *w)
{
	uint8_t buf[256];
	size_t len = take(w);
	struct packet p;

	for (size_t i = 0; i < len; i++)
		buf[i] = take(w);
	if (packet_parse(buf, len, &p) == PACKET_TCP)
		tcp_input(&w->tcp, &p);
}

static void too_big(struct world *w)
{
	struct packet p = {.ends = {.src = {.family = AF_INET, .bytes = {10, 0, 0, 2}},
				    .dst = {.family = AF_INET, .bytes = {10, 0, 0, 3}},
				    .sport = (uint16_t)(1000 + take(w) % (2 * FLOWS)),
				    .dport = 80}};
	struct flow *f = flow_find(w->tcp.flows, &p.ends);

	p.tcp.seq = (f ? f->snd_una : 7u) + (uint32_t)(int8_t)take(w);
	p.mtu = take32(w) >> take(w) % 32;
	tcp_too_big(&w->tcp, &p);
}

static void segment(struct world *w)
{
	static const uint8_t payload[70000];
	struct flow *f;
	struct packet p = {.ends = {.src = {.family = AF_INET, .bytes = {10, 0, 0, 2}},
				    .dst = {.family = AF_INET, .bytes = {10, 0, 0, 3}},
				    .sport = (uint16_t)(1000 + take(w) % (2 * FLOWS)),
				    .dport = 80}};
	int8_t seq = (int8_t)take(w), ack = (int8_t)take(w);

	f = flow_find(w->tcp.flows, &p.ends);
	p.tcp = (struct tcp_segment){.seq = (f ? f->rcv_nxt : 7u) + (uint32_t)seq,
				     .ack = (f ? f->snd_una : 7u) + (uint32_t)ack * (uint32_t)(1 + take(w)),
				     .flags = take(w) & 0x1f,
				     .window = (uint16_t)(take(w) << 3),
				     .wscale = take(w) % 16,
				     .mss = (uint16_t)take32(w),
				     .data = payload,
				     .len = take(w) * 256u};
	if (p.tcp.wscale == 15)
		p.tcp.wscale = TCP_NO_WSCALE;
	p.tcp.sack_allowed = p.tcp.wscale & 1;
	p.tcp.has_time = p.tcp.wscale & 2;
	p.tcp.time = p.tcp.mss;
	if (f && p.tcp.wscale & 4) {
		p.tcp.n_sack = 1;
		p.tcp.sack[0].start = f->snd_una + p.tcp.mss % 7000u;
		p.tcp.sack[0].end = p.tcp.sack[0].start + p.tcp.mss / 256u;
	}
	if (!(p.tcp.flags & TCP_SYN)) {
		p.tcp.mss = 0;
		p.tcp.wscale = TCP_NO_WSCALE;
	}
	if (f && take(w) & 1)
		p.tcp.ack = f->snd_max;
	tcp_input(&w->tcp, &p);
	if (p.ends.sport & 1)
		tcp_flush(&w->tcp);
}

static void dialled(struct world *w)
{
	static const enum dial_status failures[] = {DIAL_REFUSED, DIAL_UNREACHABLE, DIAL_DENIED,
						    DIAL_AUTH,	  DIAL_TIMEOUT,	    DIAL_BROKEN};
	struct flow *f = any_flow(w, FLOW_DIALING);
	uint8_t how = take(w);
	uint32_t index;
	int pair[2];

	if (!f)
		return;
	if (how & 1) {
		tcp_failed(&w->tcp, f, failures[how / 2 % ARRAY_SIZE(failures)]);
		return;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair))
		abort();
	index = flow_index(w->tcp.flows, f);
	if (w->upstream[index] >= 0)
		close(w->upstream[index]);
	w->upstream[index] = pair[1];
	tcp_connected(&w->tcp, f, pair[0]);
}

static void upstream(struct world *w)
{
	static char block[65536];
	uint32_t index = take(w) % FLOWS;
	struct flow *f = flow_at(w->tcp.flows, index);
	int *fd = &w->upstream[index];
	uint8_t what = take(w);

	if (*fd < 0)
		return;
	switch (what % 4) {
	case 0:
		send(*fd, block, take(w) * 200u, MSG_NOSIGNAL);
		break;
	case 1:
		(void)!read(*fd, block, sizeof(block));
		break;
	case 2:
		shutdown(*fd, SHUT_WR);
		break;
	default:
		close(*fd);
		*fd = -1;
	}
	if (f->state == FLOW_OPEN)
		tcp_writable(&w->tcp, f);
	if (f->state == FLOW_OPEN)
		tcp_readable(&w->tcp, f);
}

static void expire(struct flow *f, void *arg)
{
	tcp_timer(arg, f);
}

static void step(struct world *w)
{
	char packet[70000];

	switch (take(w) % 7) {
	case 0:
		raw_packet(w);
		break;
	case 1:
	case 2:
		segment(w);
		break;
	case 3:
		dialled(w);
		break;
	case 4:
		upstream(w);
		break;
	case 6:
		too_big(w);
		break;
	default:
		w->tcp.now_us += (uint64_t)take(w) * take(w) * 1000;
		flows_expire(w->tcp.flows, w->tcp.now_us / 1000, 1000, expire, &w->tcp);
	}
	flows_each(w->tcp.flows, check, w);
	while (recv(w->tun, packet, sizeof(packet), MSG_DONTWAIT) > 0)
		;
}

static void end_one(struct flow *f, void *arg)
{
	tcp_abort(arg, f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct world w = {.data = data, .len = len};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair))
		abort();
	w.tun = pair[1];
	memset(w.upstream, 0xff, sizeof(w.upstream));
	w.tcp = (struct tcp){.flows = flows_new(FLOWS),
			     .tun = pair[0],
			     .mtu = 1500,
			     .now_us = 1000000,
			     .dial = on_dial,
			     .cancel = on_cancel,
			     .arg = &w};
	tcp_init(&w.tcp, CHUNKS);
	while (w.len)
		step(&w);
	flows_each(w.tcp.flows, end_one, &w.tcp);
	assert(!flows_used(w.tcp.flows) && w.tcp.n_free_chunks == CHUNKS);
	for (size_t i = 0; i < FLOWS; i++) {
		if (w.upstream[i] >= 0)
			close(w.upstream[i]);
	}
	flows_free(w.tcp.flows);
	tcp_done(&w.tcp);
	close(pair[0]);
	close(pair[1]);
	return 0;
}
