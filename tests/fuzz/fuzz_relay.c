// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The relay between a guest and an agent that both say anything. An operation is one byte, what it
 * needs follows. What comes out, on either side, is always well formed.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "fuzz.h"
#include "kernel/tun.h"
#include "tunnel/packet.h"
#include "tunnel/relay.h"

#define FLOWS 4

struct world {
	struct relay *relay;
	int tun[2], agent;
	uint64_t now_ms;
	uint32_t flow; /* the last one that was seen */
	const uint8_t *data;
	size_t len;
	uint8_t rx[1u << 20];
	size_t rx_len;
	uint64_t received;
};

static uint8_t take(struct world *w)
{
	if (!w->len)
		return 0;
	w->len--;
	return *w->data++;
}

static size_t take_bytes(struct world *w, uint8_t *to, size_t max)
{
	size_t n = take(w);

	n = MIN(n, MIN(w->len, max));
	memcpy(to, w->data, n);
	w->data += n;
	w->len -= n;
	return n;
}

static void attach(struct world *w)
{
	struct proto_hello hello = {.version = PROTO_VERSION,
				    .flows = (uint16_t)(take(w) % 8 + 1),
				    .n_resolvers = take(w) % 3};
	int pair[2];

	for (size_t i = 0; i < hello.n_resolvers; i++)
		hello.resolvers[i] = (struct proto_addr){.family = i ? 6 : 4, .bytes = {1, 2}};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair))
		abort();
	close_p(&w->agent);
	w->agent = pair[1];
	w->rx_len = 0;
	w->received = 0;
	assert(!relay_attach(w->relay, pair[0], &hello, w->now_ms));
}

/* The guest: any bytes, or a datagram that is one. */
static void guest(struct world *w)
{
	uint8_t buf[256 + TUN_HEADER];
	size_t n = take_bytes(w, buf, sizeof(buf));
	struct packet p;
	enum packet_kind kind = packet_parse(buf, n, &p);

	if (kind == PACKET_UDP || kind == PACKET_ECHO)
		relay_input(w->relay, kind, &p, w->now_ms);
}

static void datagram(struct world *w)
{
	static const uint8_t payload[3000];
	struct packet p = {.ends = {.src = {.family = AF_INET, .bytes = {10, 0, 0, 2}},
				    .dst = {.family = AF_INET, .bytes = {192, 0, 2, take(w)}},
				    .sport = take(w) % 16,
				    .dport = take(w)},
			   .data = payload,
			   .len = take(w) * 10u,
			   .gso_size = take(w)};

	relay_input(w->relay, take(w) & 1 ? PACKET_UDP : PACKET_ECHO, &p, w->now_ms);
}

/* The agent: any bytes, or a frame that is one. */
static void say(struct world *w)
{
	uint8_t buf[256];
	size_t n = take_bytes(w, buf, sizeof(buf));

	if (w->agent >= 0 && n)
		(void)!send(w->agent, buf, n, MSG_NOSIGNAL);
}

static void say_frame(struct world *w)
{
	static const enum frame_type types[] = {FRAME_DATAGRAM, FRAME_ECHO, FRAME_CLOSE,
						FRAME_ERROR,    FRAME_PONG, FRAME_STATS,
						FRAME_ACK};
	struct frame f = {.type = types[take(w) % ARRAY_SIZE(types)],
			  .flow = w->flow ^ (take(w) == 1),
			  .error = (enum flow_error)(take(w) % FLOW_NUM_ERRORS),
			  .seq = take(w)};
	uint8_t buf[PROTO_HEAD_MAX + 256], payload[256];

	f.token = w->received;
	f.mtu = f.error == FLOW_ERROR_TOO_BIG ? take(w) : 0;
	f.data = payload;
	if (f.type == FRAME_DATAGRAM || f.type == FRAME_ECHO)
		f.len = take_bytes(w, payload, sizeof(payload));
	size_t head = frame_put_head(FROM_AGENT, &f, buf);
	memcpy(buf + head, payload, f.len);
	if (w->agent >= 0)
		(void)!send(w->agent, buf, head + f.len, MSG_NOSIGNAL);
}

static void check_agent_side(struct world *w)
{
	struct frame f;
	size_t used, at = 0;
	ssize_t n;
	int r;

	if (w->agent < 0)
		return;
	n = recv(w->agent, w->rx + w->rx_len, sizeof(w->rx) - w->rx_len, 0);
	w->rx_len += (size_t)MAX(n, 0);
	while ((r = frame_parse(FROM_BYWAY, w->rx + at, w->rx_len - at, &f, &used)) == 1) {
		if (f.type == FRAME_DATAGRAM || f.type == FRAME_ECHO)
			w->flow = f.flow;
		w->received += f.type == FRAME_HELLO ? 0 : used;
		at += used;
	}
	assert(r == 0);
	w->rx_len -= at;
	memmove(w->rx, w->rx + at, w->rx_len);
}

static void check_guest_side(struct world *w)
{
	static uint8_t buf[TUN_HEADER + 65536 + 64];
	struct packet p;
	ssize_t n;

	while ((n = recv(w->tun[1], buf, sizeof(buf), 0)) >= 0)
		assert(packet_parse(buf, (size_t)n, &p) != PACKET_BAD);
}

static void step(struct world *w)
{
	int r = relay_step(w->relay, w->now_ms), wait_ms;

	assert(r == 0 || r == -EPIPE || r == -EPROTO);
	r = relay_expire(w->relay, w->now_ms, &wait_ms);
	assert(r == 0 || r == -EPIPE || r == -ETIMEDOUT);
	assert(wait_ms >= 0 && wait_ms <= 1000);
	check_agent_side(w);
	check_guest_side(w);
}

static void hang_up(struct world *w)
{
	close_p(&w->agent);
	w->agent = -1;
}

static void pass_time(struct world *w)
{
	w->now_ms += take(w) * 100u;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const ops[])(struct world *) = {guest, datagram, say,       say_frame,
						      step,  hang_up,  pass_time, attach};
	static struct world w;
	struct relay_config c = {.flows = FLOWS, .dns = RELAY_DNS_REMOTE};
	struct relay_stats s;

	w = (struct world){.agent = -1, .data = data, .len = size, .now_ms = clock_ms()};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, w.tun))
		abort();
	c.tun = w.tun[0];
	assert(!relay_new(&c, &w.relay));
	attach(&w);
	while (w.len) {
		ops[take(&w) % ARRAY_SIZE(ops)](&w);
		step(&w);
		relay_get_stats(w.relay, &s);
		assert(s.flows <= FLOWS);
	}
	relay_free(w.relay);
	close_p(&w.agent);
	close(w.tun[0]);
	close(w.tun[1]);
	return 0;
}
