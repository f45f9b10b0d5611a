// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * byway's side of an agent. The TUN is a socket pair that keeps packet boundaries; the agent, and
 * the shell that it is brought by, are the other end of another, and the test. The clock is ours.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/binaries.h"
#include "base/clock.h"
#include "base/util.h"
#include "kernel/tun.h"
#include "open_fds.h"
#include "tunnel/deploy.h"
#include "tunnel/dns.h"
#include "tunnel/relay.h"

#define FLOWS 4

struct world {
	struct relay *relay;
	int tun[2]; /* ours, the guest's */
	int agent;
	uint64_t now_ms;
	uint8_t rx[4 * PROTO_FRAME_MAX]; /* what the agent has read */
	size_t rx_len;
	uint64_t received; /* HELLO not counted */
	int sndbuf;        /* of the next channel; 0: as usual */
};

static struct ip ip(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(text, &ip, NULL), 0);
	return ip;
}

static struct packet datagram(const char *src, uint16_t sport, const char *dst, uint16_t dport,
			      const char *text)
{
	return (struct packet){.ends = {ip(src), ip(dst), sport, dport},
			       .data = (const uint8_t *)text,
			       .len = strlen(text)};
}

/* ---- The agent ---- */

static void attach(struct world *w, uint16_t flows)
{
	struct proto_hello hello = {.version = PROTO_VERSION,
				    .flows = flows,
				    .n_resolvers = 2,
				    .resolvers = {{.family = 4, .bytes = {127, 0, 0, 53}},
						  {.family = 6, .bytes = {[15] = 1}}}};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	if (w->sndbuf)
		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &w->sndbuf, sizeof(w->sndbuf));
	close_p(&w->agent);
	w->agent = pair[1];
	w->rx_len = 0;
	w->received = 0;
	assert_int_equal(relay_attach(w->relay, pair[0], &hello, w->now_ms), 0);
}

static void answer(struct world *w, const struct frame *f)
{
	uint8_t buf[PROTO_HEAD_MAX];
	size_t head = frame_put_head(FROM_AGENT, f, buf);

	assert_int_equal(write(w->agent, buf, head), head);
	if (f->len)
		assert_int_equal(write(w->agent, f->data, f->len), f->len);
}

/* The next frame of byway's; type FRAME_NUM_TYPES when there is none. Bulk is acknowledged. */
static struct frame next_frame(struct world *w)
{
	static uint8_t copy[PROTO_FRAME_MAX];
	struct frame f = {.type = FRAME_NUM_TYPES}, ack = {.type = FRAME_ACK};
	size_t used = 0;
	ssize_t n;

	relay_step(w->relay, w->now_ms);
	n = read(w->agent, w->rx + w->rx_len, sizeof(w->rx) - w->rx_len);
	w->rx_len += (size_t)MAX(n, 0);
	if (frame_parse(FROM_BYWAY, w->rx, w->rx_len, &f, &used) != 1)
		return f;
	memcpy(copy, w->rx, used);
	assert_int_equal(frame_parse(FROM_BYWAY, copy, used, &f, &used), 1);
	w->rx_len -= used;
	memmove(w->rx, w->rx + used, w->rx_len);
	w->received += f.type == FRAME_HELLO ? 0 : used;
	ack.token = w->received;
	if (f.len > 512)
		answer(w, &ack);
	return f;
}

static struct frame next_of(struct world *w, enum frame_type type)
{
	struct frame f = next_frame(w);

	assert_int_equal(f.type, type);
	return f;
}

static void answer_text(struct world *w, uint32_t flow, const char *text)
{
	struct frame f = {.type = FRAME_DATAGRAM,
			  .flow = flow,
			  .data = (const uint8_t *)text,
			  .len = strlen(text)};

	answer(w, &f);
}

/* ---- The guest ---- */

/* What came out of the TUN's other end: parsed as if it came in. */
static enum packet_kind guest_read(struct world *w, uint8_t buf[2048], size_t *ret_len,
				   struct packet *ret)
{
	ssize_t n = read(w->tun[1], buf, 2048);

	*ret_len = (size_t)MAX(n, 0);
	return packet_parse(buf, *ret_len, ret);
}

static void guest_gets(struct world *w, const char *src, uint16_t sport, uint16_t dport,
		       const char *text)
{
	uint8_t buf[2048];
	struct packet p;
	struct ip from = ip(src);
	size_t len;

	assert_int_equal(relay_step(w->relay, w->now_ms), 0);
	assert_int_equal(guest_read(w, buf, &len, &p), PACKET_UDP);
	assert_true(ip_equal(&p.ends.src, &from));
	assert_int_equal(p.ends.sport, sport);
	assert_int_equal(p.ends.dport, dport);
	assert_int_equal(p.len, strlen(text));
	assert_memory_equal(p.data, text, p.len);
}

static void guest_gets_nothing(struct world *w)
{
	uint8_t buf[2048];

	assert_int_equal(relay_step(w->relay, w->now_ms), 0);
	assert_true(read(w->tun[1], buf, sizeof(buf)) < 0);
}

static void send_packet(struct world *w, struct packet p)
{
	relay_input(w->relay, PACKET_UDP, &p, w->now_ms);
}

static struct relay_stats stats(struct world *w)
{
	struct relay_stats s;

	relay_get_stats(w->relay, &s);
	return s;
}

static int expire(struct world *w, uint64_t ms)
{
	int wait_ms;

	w->now_ms += ms;
	return relay_expire(w->relay, w->now_ms, &wait_ms);
}

static int set_up_with(void **state, enum relay_dns dns, bool attached)
{
	struct world *w = calloc(1, sizeof(*w));
	struct relay_config c = {.flows = FLOWS, .dns = dns, .resolver = ip("192.0.2.53")};

	assert_non_null(w);
	remember_fds(NULL);
	w->agent = -1;
	w->now_ms = clock_ms();
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, w->tun), 0);
	c.tun = w->tun[0];
	assert_int_equal(relay_new(&c, &w->relay), 0);
	if (attached) {
		attach(w, FLOWS);
		next_of(w, FRAME_HELLO);
	}
	*state = w;
	return 0;
}

static int set_up(void **state)
{
	return set_up_with(state, RELAY_DNS_OFF, true);
}

static int set_up_remote(void **state)
{
	return set_up_with(state, RELAY_DNS_REMOTE, true);
}

static int set_up_addr(void **state)
{
	return set_up_with(state, RELAY_DNS_ADDR, true);
}

static int set_up_alone(void **state)
{
	return set_up_with(state, RELAY_DNS_REMOTE, false);
}

static int tear_down(void **state)
{
	struct world *w = *state;

	relay_free(w->relay);
	close_p(&w->agent);
	close(w->tun[0]);
	close(w->tun[1]);
	free(w);
	return count_fds() != fds_before;
}

/* ---- Tests ---- */

static void datagrams_go_both_ways(void **state)
{
	struct world *w = *state;
	struct frame a, b;

	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 53, "question"));
	send_packet(w, datagram("fd00::2", 1000, "2001:db8::1", 4500, "six"));
	a = next_of(w, FRAME_DATAGRAM);
	assert_int_equal(a.addr.family, 4);
	assert_int_equal(a.port, 53);
	assert_memory_equal(a.data, "question", 8);
	b = next_of(w, FRAME_DATAGRAM);
	assert_int_equal(b.addr.family, 6);
	assert_int_not_equal(flow_slot(a.flow), flow_slot(b.flow));
	answer_text(w, b.flow, "six back");
	answer_text(w, a.flow, "answer");
	guest_gets(w, "2001:db8::1", 4500, 1000, "six back");
	guest_gets(w, "192.0.2.1", 53, 1000, "answer");
	assert_int_equal(stats(w).out, 2);
	assert_int_equal(stats(w).in, 2);
	assert_int_equal(stats(w).in_bytes, 14);
	assert_int_equal(stats(w).flows, 2);
}

static void a_flow_is_one_flow(void **state)
{
	struct world *w = *state;
	uint32_t first;

	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 53, "a"));
	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 53, "b"));
	send_packet(w, datagram("10.0.0.2", 1001, "192.0.2.1", 53, "c"));
	first = next_of(w, FRAME_DATAGRAM).flow;
	assert_int_equal(next_of(w, FRAME_DATAGRAM).flow, first);
	assert_int_not_equal(next_of(w, FRAME_DATAGRAM).flow, first);
}

/* What the kernel left uncut becomes datagrams again; an empty one stays one. */
static void segments_are_datagrams(void **state)
{
	struct world *w = *state;
	struct packet p = datagram("10.0.0.2", 1000, "192.0.2.1", 53, "aaabbbc");

	p.gso_size = 3;
	send_packet(w, p);
	assert_memory_equal(next_of(w, FRAME_DATAGRAM).data, "aaa", 3);
	assert_memory_equal(next_of(w, FRAME_DATAGRAM).data, "bbb", 3);
	assert_int_equal(next_of(w, FRAME_DATAGRAM).len, 1);
	next_of(w, FRAME_NUM_TYPES);
	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 53, ""));
	assert_int_equal(next_of(w, FRAME_DATAGRAM).len, 0);
}

static void pings_go_both_ways(void **state)
{
	static const char *const dst[] = {"192.0.2.1", "2001:db8::1"};
	struct world *w = *state;

	for (int i = 0; i < 2; i++) {
		struct packet p = datagram(i ? "fd00::2" : "10.0.0.2", 77, dst[i], 0, "ping"), got;
		struct frame f;
		uint8_t buf[2048], *icmp;
		size_t len;

		p.seq = 5;
		relay_input(w->relay, PACKET_ECHO, &p, w->now_ms);
		f = next_of(w, FRAME_ECHO);
		assert_int_equal(f.seq, 5);
		answer(w, &f);
		assert_int_equal(relay_step(w->relay, w->now_ms), 0);
		/* Not a request: but its checksum has been looked at. */
		assert_int_equal(guest_read(w, buf, &len, &got), PACKET_ERROR);
		icmp = buf + TUN_HEADER + (i ? 40 : 20);
		assert_int_equal(icmp[0], i ? 129 : 0);
		assert_memory_equal(icmp + 4, "\0\115\0\5ping", 8);
		icmp[8]++;
		assert_int_equal(packet_parse(buf, len, &got), PACKET_BAD);
	}
}

static void echo_requests_are_parsed(void **state)
{
	static const uint8_t request[] = {
		[TUN_HEADER] = 0x45,
		0,
		0,
		32,
		0,
		0,
		0,
		0,
		64,
		1,
		0,
		0,
		10,
		0,
		0,
		2,
		192,
		0,
		2,
		1,
		8,
		0,
		0x0f,
		0x1e,
		0x12,
		0x34,
		0,
		7,
		0x70,
		0x69,
		0x6e,
		0x67,
	};
	uint8_t buf[sizeof(request)];
	struct packet p;

	(void)state;
	memcpy(buf, request, sizeof(buf));
	/* ~(0800 + 1234 + 0007 + 7069 + 6e67) */
	buf[TUN_HEADER + 22] = 0x06;
	buf[TUN_HEADER + 23] = 0xf4;
	assert_int_equal(packet_parse(buf, sizeof(buf), &p), PACKET_ECHO);
	assert_int_equal(p.ends.sport, 0x1234);
	assert_int_equal(p.ends.dport, 0);
	assert_int_equal(p.seq, 7);
	assert_int_equal(p.len, 4);
	buf[TUN_HEADER + 31]++;
	assert_int_equal(packet_parse(buf, sizeof(buf), &p), PACKET_BAD);
	assert_int_equal(packet_parse(buf, sizeof(buf) - 1, &p), PACKET_BAD);
}

static void errors_become_icmp(void **state)
{
	static const struct {
		enum flow_error error;
		uint32_t mtu;
		uint8_t type4, code4, type6, code6;
	} cases[] = {
		{FLOW_ERROR_NET, 0, 3, 0, 1, 0},        {FLOW_ERROR_HOST, 0, 3, 1, 1, 3},
		{FLOW_ERROR_PORT, 0, 3, 3, 1, 4},       {FLOW_ERROR_PROHIBITED, 0, 3, 13, 1, 1},
		{FLOW_ERROR_TOO_BIG, 1280, 3, 4, 2, 0},
	};
	struct world *w = *state;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		bool v6 = i & 1;
		struct frame f = {
			.type = FRAME_ERROR, .error = cases[i / 2].error, .mtu = cases[i / 2].mtu};
		uint8_t buf[2048], *icmp = buf + TUN_HEADER + (v6 ? 40 : 20);
		uint8_t *quoted = icmp + 8 + (v6 ? 40 : 20);
		struct packet p;
		size_t len;

		send_packet(w, datagram(v6 ? "fd00::2" : "10.0.0.2", 1000,
					v6 ? "2001:db8::1" : "192.0.2.1", 99, "x"));
		f.flow = next_of(w, FRAME_DATAGRAM).flow;
		answer(w, &f);
		assert_int_equal(relay_step(w->relay, w->now_ms), 0);
		assert_int_equal(guest_read(w, buf, &len, &p), PACKET_ERROR);
		assert_int_equal(icmp[0], v6 ? cases[i / 2].type6 : cases[i / 2].type4);
		assert_int_equal(icmp[1], v6 ? cases[i / 2].code6 : cases[i / 2].code4);
		assert_int_equal(icmp[6] << 8 | icmp[7], cases[i / 2].mtu);
		assert_int_equal(quoted[0] << 8 | quoted[1], 1000);
		assert_int_equal(quoted[2] << 8 | quoted[3], 99);
	}
	assert_int_equal(stats(w).errors, 2 * ARRAY_SIZE(cases));
}

/* Of a packet of any length: as much as there is room for, and within the smallest MTU (RFC 1812 4.3.2.3). */
static void errors_quote_what_fits(void **state)
{
	static const size_t lengths[] = {28, 503, 504, 505, 511, 512, 513, 1500, 65535};
	static uint8_t packet[65535];

	(void)state;
	for (size_t i = 0; i < sizeof(packet); i++)
		packet[i] = (uint8_t)(i % 251);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(lengths); i++) {
		bool v6 = i & 1;
		size_t header = TUN_HEADER + (v6 ? 40 : 20) + 8, len;
		struct endpoints ends = {.src = ip(v6 ? "fd00::2" : "10.0.0.2"),
					 .dst = ip(v6 ? "2001:db8::1" : "192.0.2.1")};
		uint8_t buf[PACKET_ERROR_MAX + 64], beyond[64];
		struct packet p;

		memset(buf, 0xee, sizeof(buf));
		memset(beyond, 0xee, sizeof(beyond));
		len = packet_put_error(PACKET_PROHIBITED, &ends, packet, lengths[i / 2], buf);
		assert_memory_equal(buf + PACKET_ERROR_MAX, beyond, sizeof(beyond));
		assert_int_equal(packet_parse(buf, len, &p), PACKET_ERROR);
		assert_in_range(len - header, MIN(lengths[i / 2], 500u), lengths[i / 2]);
		assert_in_range(len - TUN_HEADER, 0, 576);
		assert_memory_equal(buf + header, packet, len - header);
	}
}

/* How many flows there are so much later. The agent has not been silent. */
static uint32_t flows_after(struct world *w, uint64_t ms)
{
	struct frame pong = {.type = FRAME_PONG};

	w->now_ms += ms;
	answer(w, &pong);
	assert_int_equal(relay_step(w->relay, w->now_ms), 0);
	assert_int_equal(expire(w, 0), 0);
	return stats(w).flows;
}

/* A slot's former flow is not its present one. */
static void old_answers_are_dropped(void **state)
{
	struct world *w = *state;
	struct frame error = {.type = FRAME_ERROR, .error = FLOW_ERROR_PORT};
	uint32_t old, now;

	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 53, "a"));
	old = next_of(w, FRAME_DATAGRAM).flow;
	assert_int_equal(flows_after(w, 60000), 0);
	assert_int_equal(next_of(w, FRAME_CLOSE).flow, old);
	while (next_frame(w).type != FRAME_NUM_TYPES)
		;
	send_packet(w, datagram("10.0.0.2", 2000, "192.0.2.1", 53, "b"));
	now = next_of(w, FRAME_DATAGRAM).flow;
	assert_int_equal(flow_slot(now), flow_slot(old));
	answer_text(w, old, "late");
	error.flow = old;
	answer(w, &error);
	guest_gets_nothing(w);
	answer_text(w, now, "in time");
	guest_gets(w, "192.0.2.1", 53, 2000, "in time");
	answer_text(w, 0xffff, "a slot that there is not");
	guest_gets_nothing(w);
	assert_int_equal(stats(w).in_dropped, 2);
}

static void the_least_used_makes_room(void **state)
{
	struct world *w = *state;
	uint32_t flows[FLOWS];

	for (uint16_t i = 0; i < FLOWS; i++) {
		send_packet(w, datagram("10.0.0.2", (uint16_t)(1000 + i), "192.0.2.1", 53, "a"));
		flows[i] = next_of(w, FRAME_DATAGRAM).flow;
	}
	answer_text(w, flows[0], "used");
	guest_gets(w, "192.0.2.1", 53, 1000, "used");
	send_packet(w, datagram("10.0.0.2", 1001, "192.0.2.1", 53, "used, too"));
	assert_int_equal(next_of(w, FRAME_DATAGRAM).flow, flows[1]);
	send_packet(w, datagram("10.0.0.2", 2000, "192.0.2.1", 53, "new"));
	assert_int_equal(flow_slot(next_of(w, FRAME_DATAGRAM).flow), flow_slot(flows[2]));
	assert_int_equal(stats(w).evicted, 1);
	assert_int_equal(stats(w).flows, FLOWS);
}

static void flows_end(void **state)
{
	struct world *w = *state;
	uint32_t answered;

	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 99, "a"));
	send_packet(w, datagram("10.0.0.2", 1001, "192.0.2.1", 99, "b"));
	answered = next_of(w, FRAME_DATAGRAM).flow;
	next_of(w, FRAME_DATAGRAM);
	answer_text(w, answered, "yes");
	guest_gets(w, "192.0.2.1", 99, 1000, "yes");
	assert_int_equal(flows_after(w, 59000), 2);
	assert_int_equal(flows_after(w, 1000), 1);
	assert_int_equal(flows_after(w, 239000), 1);
	assert_int_equal(flows_after(w, 1000), 0);
}

static void queries_end_sooner(void **state)
{
	struct world *w = *state;
	uint32_t flow;

	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 53, "who?"));
	flow = next_of(w, FRAME_DATAGRAM).flow;
	answer_text(w, flow, "me");
	assert_int_equal(flows_after(w, 9000), 1); /* the answer came then */
	assert_int_equal(flows_after(w, 9000), 1);
	assert_int_equal(flows_after(w, 1000), 0);
}

static void the_agent_may_close(void **state)
{
	struct world *w = *state;
	struct frame f = {.type = FRAME_CLOSE};

	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 99, "a"));
	f.flow = next_of(w, FRAME_DATAGRAM).flow;
	answer(w, &f);
	answer(w, &f);
	assert_int_equal(relay_step(w->relay, w->now_ms), 0);
	assert_int_equal(stats(w).flows, 0);
	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 99, "a"));
	assert_int_not_equal(next_of(w, FRAME_DATAGRAM).flow, f.flow);
}

static void queries_go_to_the_servers_resolver(void **state)
{
	struct world *w = *state;
	struct frame f, error = {.type = FRAME_ERROR, .error = FLOW_ERROR_PORT};
	uint8_t buf[2048];
	struct packet p;
	size_t len;

	send_packet(w, datagram("10.0.0.2", 1000, "198.51.100.9", 53, "who?"));
	f = next_of(w, FRAME_DATAGRAM);
	assert_memory_equal(f.addr.bytes, "\177\0\0\65", 4);
	assert_int_equal(f.port, 53);
	answer_text(w, f.flow, "me");
	guest_gets(w, "198.51.100.9", 53, 1000, "me");
	/* When it refuses, the next one is asked, and this once. */
	error.flow = f.flow;
	answer(w, &error);
	answer(w, &error);
	assert_int_equal(relay_step(w->relay, w->now_ms), 0);
	assert_int_equal(guest_read(w, buf, &len, &p), PACKET_ERROR);
	send_packet(w, datagram("10.0.0.2", 1000, "198.51.100.9", 53, "who?"));
	f = next_of(w, FRAME_DATAGRAM);
	assert_int_equal(f.flow, error.flow);
	assert_int_equal(f.addr.family, 6);
}

static void queries_go_to_one_resolver(void **state)
{
	struct world *w = *state;
	struct packet tcp_port = datagram("10.0.0.2", 53, "198.51.100.9", 5353, "not for 53");
	struct frame f;

	send_packet(w, datagram("fd00::2", 1000, "2001:db8::9", 53, "who?"));
	f = next_of(w, FRAME_DATAGRAM);
	assert_memory_equal(f.addr.bytes, "\300\0\2\65", 4);
	answer_text(w, f.flow, "me");
	guest_gets(w, "2001:db8::9", 53, 1000, "me");
	send_packet(w, tcp_port);
	assert_memory_equal(next_of(w, FRAME_DATAGRAM).addr.bytes, "\306\63\144\11", 4);
	/* Even a query to nowhere is one. */
	send_packet(w, datagram("10.0.0.2", 1000, "127.0.0.53", 53, "who?"));
	next_of(w, FRAME_DATAGRAM);
}

static void what_is_local_stays(void **state)
{
	static const char *const dst[] = {"224.0.0.251", "255.255.255.255", "127.0.0.1",
					  "0.0.0.0",     "ff02::fb",        "fe80::1"};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(dst); i++)
		send_packet(w, datagram(i < 4 ? "10.0.0.2" : "fd00::2", 1000, dst[i], 5353, "x"));
	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 0, "x"));
	next_of(w, FRAME_NUM_TYPES);
	assert_int_equal(stats(w).out_dropped, ARRAY_SIZE(dst) + 1);
	assert_int_equal(stats(w).flows, 0);
}

static void flows_survive_their_agent(void **state)
{
	struct world *w = *state;
	uint32_t flow;

	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 99, "a"));
	flow = next_of(w, FRAME_DATAGRAM).flow;
	close_p(&w->agent);
	w->agent = -1;
	assert_int_equal(relay_step(w->relay, w->now_ms), -EPIPE);
	assert_false(stats(w).attached);
	assert_int_equal(relay_step(w->relay, w->now_ms), 0);
	/* For a moment datagrams wait; then they are dropped. */
	w->now_ms += 2000;
	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 99, "b"));
	attach(w, FLOWS);
	next_of(w, FRAME_HELLO);
	assert_int_equal(next_of(w, FRAME_DATAGRAM).flow, flow);
	relay_detach(w->relay, w->now_ms);
	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 99, "stale"));
	w->now_ms += 3001;
	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 99, "too late"));
	assert_int_equal(stats(w).out_dropped, 1);
	attach(w, FLOWS);
	next_of(w, FRAME_HELLO);
	next_of(w, FRAME_NUM_TYPES);
	answer_text(w, flow, "still there");
	guest_gets(w, "192.0.2.1", 99, 1000, "still there");
}

/* What an agent has only got a part of is lost with it; the next one's stream begins with a frame.
 */
static void half_a_frame_is_no_frame(void **state)
{
	static const char text[20001] = {[0 ... 19999] = 'x'};
	struct world *w = *state;

	w->sndbuf = 5000;
	attach(w, FLOWS);
	next_of(w, FRAME_HELLO);
	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 99, text));
	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 99, "whole"));
	assert_int_equal(relay_step(w->relay, w->now_ms), 0);
	w->sndbuf = 0;
	attach(w, FLOWS);
	next_of(w, FRAME_HELLO);
	assert_memory_equal(next_of(w, FRAME_DATAGRAM).data, "whole", 5);
}

static void a_smaller_agent_has_fewer_flows(void **state)
{
	struct world *w = *state;

	for (uint16_t i = 0; i < FLOWS; i++) {
		send_packet(w, datagram("10.0.0.2", (uint16_t)(1000 + i), "192.0.2.1", 99, "a"));
		next_of(w, FRAME_DATAGRAM);
	}
	relay_detach(w->relay, w->now_ms); /* what is held is not for one that has no such slots */
	for (uint16_t i = 0; i < FLOWS; i++)
		send_packet(w, datagram("10.0.0.2", (uint16_t)(1000 + i), "192.0.2.1", 99, "b"));
	attach(w, 2);
	assert_int_equal(next_of(w, FRAME_HELLO).hello.flows, 2);
	assert_int_equal(stats(w).flows, 2);
	for (uint16_t i = 0; i < 2 * FLOWS; i++) {
		send_packet(w, datagram("10.0.0.2", (uint16_t)(2000 + i), "192.0.2.1", 99, "a"));
		assert_true(flow_slot(next_of(w, FRAME_DATAGRAM).flow) < 2);
	}
	attach(w, 60000);
	assert_int_equal(next_of(w, FRAME_HELLO).hello.flows, FLOWS);
	for (uint16_t i = 0; i < 2 * FLOWS; i++)
		send_packet(w, datagram("10.0.0.2", (uint16_t)(3000 + i), "192.0.2.1", 99, "a"));
	assert_int_equal(stats(w).flows, FLOWS);
}

static void without_an_agent_nothing_is_asked(void **state)
{
	struct world *w = *state;

	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 53, "a"));
	send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 99, "b"));
	assert_int_equal(stats(w).out_dropped, 1); /* no resolver is known */
	attach(w, FLOWS);
	next_of(w, FRAME_HELLO);
	assert_memory_equal(next_of(w, FRAME_DATAGRAM).data, "b", 1);
	next_of(w, FRAME_NUM_TYPES);
}

static void nonsense_ends_it(void **state)
{
	static const uint8_t nonsense[] = {0, 0, 0, 1, FRAME_SHUTDOWN};
	struct world *w = *state;
	struct frame hello = {.type = FRAME_HELLO, .hello = {.version = PROTO_VERSION, .flows = 1}};
	struct frame ack = {.type = FRAME_ACK, .token = 1};

	assert_int_equal(write(w->agent, nonsense, sizeof(nonsense)), sizeof(nonsense));
	assert_int_equal(relay_step(w->relay, w->now_ms), -EPROTO);
	assert_false(stats(w).attached);
	attach(w, FLOWS);
	answer(w, &hello); /* a second one */
	assert_int_equal(relay_step(w->relay, w->now_ms), -EPROTO);
	attach(w, FLOWS);
	answer(w, &ack); /* of what was never sent */
	assert_int_equal(relay_step(w->relay, w->now_ms), -EPROTO);
}

static void the_silent_are_left(void **state)
{
	struct world *w = *state;
	struct frame f, pong = {.type = FRAME_PONG},
			counts = {.type = FRAME_STATS, .stats = {.out = 7}};

	assert_int_equal(expire(w, 1), 0);
	f = next_of(w, FRAME_PING);
	next_of(w, FRAME_STATS);
	pong.token = f.token;
	answer(w, &pong);
	answer(w, &counts);
	assert_int_equal(relay_step(w->relay, w->now_ms), 0);
	assert_true(stats(w).rtt_us > 0);
	assert_int_equal(stats(w).agent.out, 7);
	assert_int_equal(expire(w, 15000), 0);
	assert_int_equal(expire(w, 1000), -ETIMEDOUT);
	assert_false(stats(w).attached);
}

/* A channel that takes nothing: datagrams are dropped, nobody waits, and all that was queued is
 * whole. */
static void a_full_channel_drops(void **state)
{
	static const char text[1401] = {[0 ... 1399] = 'x'};
	struct world *w = *state;
	struct relay_stats s;
	size_t n = 0;

	for (int i = 0; i < 5000; i++)
		send_packet(w, datagram("10.0.0.2", 1000, "192.0.2.1", 99, text));
	s = stats(w);
	assert_true(s.out_dropped > 4000);
	assert_int_equal(s.out + s.out_dropped, 5000);
	send_packet(w, datagram("10.0.0.2", 1001, "192.0.2.1", 99, "small"));
	assert_int_equal(next_frame(w).len, 5); /* before all of bulk */
	while (next_frame(w).type == FRAME_DATAGRAM)
		n++;
	assert_int_equal(n, s.out);
}

static void *worker(void *arg)
{
	struct world *w = arg;
	static _Atomic uint16_t port = 1;
	struct packet p = datagram("10.0.0.2", port++, "192.0.2.1", 99, "from a worker");

	for (int i = 0; i < 2000; i++)
		relay_input(w->relay, PACKET_UDP, &p, w->now_ms);
	return NULL;
}

static void workers_share_it(void **state)
{
	struct world *w = *state;
	struct epoll_event e;
	pthread_t threads[3];
	uint64_t got = 0;

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, worker, w), 0);
	/* The owner is woken for what they bring. */
	while (got + stats(w).out_dropped < ARRAY_SIZE(threads) * 2000) {
		assert_int_equal(epoll_wait(relay_fd(w->relay), &e, 1, 10000), 1);
		while (next_frame(w).type == FRAME_DATAGRAM)
			got++;
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(stats(w).flows, ARRAY_SIZE(threads));
	assert_int_equal(got, stats(w).out);
}

/* ---- Deployment ---- */

static const uint8_t program[] = "a program";
static const struct agent_binary binaries[] = {
	{"aarch64", program, program + 1, "wrong"},
	{"x86_64", program, program + 9, "0123"},
	{0},
};

/* The server says these things, one byte at a time; then it hangs up, if told to. */
static enum deploy_status converse(struct deploy *d, const char *says, size_t len, bool hangs_up,
				   char *heard, size_t size)
{
	enum deploy_status s;
	int pair[2];
	ssize_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	s = deploy_start(d, pair[0], binaries, 1000);
	for (size_t i = 0; i < len && s == DEPLOY_PENDING; i++) {
		assert_int_equal(write(pair[1], says + i, 1), 1);
		s = deploy_step(d, 1000);
	}
	n = read(pair[1], heard, size - 1);
	heard[MAX(n, 0)] = '\0';
	if (hangs_up)
		close(pair[1]);
	if (s == DEPLOY_PENDING)
		s = deploy_step(d, hangs_up ? 1000 : 1000 + DEPLOY_TIMEOUT_MS);
	if (!hangs_up)
		close(pair[1]);
	close(pair[0]);
	assert_true((s == DEPLOY_DONE) == !d->reason[0]);
	return s;
}

#define MACHINE "byway-agent: machine Linux x86_64\n"
#define DIRECTORY "byway-agent: directory /tmp/.byway-agent-0\n"

static void an_agent_is_deployed(void **state)
{
	static const char start[] = "Welcome!\n\n" MACHINE DIRECTORY "byway-agent: start\n";
	struct frame f = {.type = FRAME_HELLO, .hello = {.version = PROTO_VERSION, .flows = 9}};
	struct deploy d;
	char says[1024], heard[256];

	(void)state;
	memcpy(says, start, sizeof(start) - 1);
	assert_int_equal(converse(&d, says,
				  sizeof(start) - 1 +
					  frame_put_head(FROM_AGENT, &f,
							 (uint8_t *)says + sizeof(start) - 1),
				  false, heard, sizeof(heard)),
			 DEPLOY_DONE);
	assert_int_equal(strcspn(heard, "\n"), 16); /* the nonce */
	assert_string_equal(heard + 17, "9 0123\na program");
	assert_int_equal(d.hello.flows, 9);
	assert_string_equal(d.machine, "Linux x86_64");
	assert_string_equal(d.directory, "/tmp/.byway-agent-0");
}

static void deployments_fail_for_reasons(void **state)
{
	static const struct {
		const char *says;
		bool hangs_up;
		enum deploy_status status;
		const char *reason;
	} cases[] = {
		{"", true, DEPLOY_NO_SHELL, "runs no shell"},
		{"This account is not available.\n", true, DEPLOY_NO_SHELL, "This account is not"},
		{"\33[2Jevil\n", true, DEPLOY_NO_SHELL, "?[2Jevil"},
		{"", false, DEPLOY_TIMEOUT, "no shell has answered"},
		{"menu\n1) foo\n", false, DEPLOY_NO_SHELL, "1) foo"},
		{"byway-agent: machine Linux mips\n", false, DEPLOY_NO_AGENT,
		 "no agent for Linux mips"},
		{"byway-agent: machine Darwin x86_64\n", false, DEPLOY_NO_AGENT, "Darwin x86_64"},
		{"byway-agent: machine Linux x86_64 \n", false, DEPLOY_NO_AGENT, "x86_64"},
		{MACHINE "byway-agent: noexec\n", true, DEPLOY_NO_DIRECTORY, "noexec"},
		{MACHINE "byway-agent: unwritable\n", true, DEPLOY_NO_DIRECTORY, "written to"},
		{MACHINE, true, DEPLOY_BROKEN, "ended too early"},
		{MACHINE, false, DEPLOY_TIMEOUT, "not up"},
		{MACHINE DIRECTORY, true, DEPLOY_BROKEN, "before the agent ran"},
		{MACHINE DIRECTORY "byway-agent: short\n", true, DEPLOY_NO_DIRECTORY, "no room"},
		{MACHINE DIRECTORY "byway-agent: corrupt\n", true, DEPLOY_BROKEN, "as it was sent"},
		{MACHINE DIRECTORY "byway-agent: refused\n", true, DEPLOY_REFUSED, "does not run"},
		{DIRECTORY, false, DEPLOY_BROKEN, "out of turn"},
		{MACHINE "byway-agent: start\n", false, DEPLOY_BROKEN, "out of turn"},
		{MACHINE DIRECTORY "byway-agent: start\nnonsense", false, DEPLOY_BROKEN,
		 "is no agent"},
	};
	struct deploy d;
	char heard[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum deploy_status s = converse(&d, cases[i].says, strlen(cases[i].says),
						cases[i].hangs_up, heard, sizeof(heard));

		if (s != cases[i].status || !strstr(d.reason, cases[i].reason))
			fail_msg("%zu: %s: %s", i, deploy_status_name(s), d.reason);
	}
}

/* csh and fish, too, see a word in single quotes. */
static void the_command_is_for_any_shell(void **state)
{
	const char *script = strchr(deploy_command, '\'') + 1;
	size_t len = strlen(script);

	(void)state;
	assert_int_equal(script[len - 1], '\'');
	assert_int_equal(strcspn(script, "'\\!\n"), len - 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(datagrams_go_both_ways),
		TEST(a_flow_is_one_flow),
		TEST(segments_are_datagrams),
		TEST(pings_go_both_ways),
		cmocka_unit_test(echo_requests_are_parsed),
		TEST(errors_become_icmp),
		cmocka_unit_test(errors_quote_what_fits),
		TEST(old_answers_are_dropped),
		TEST(the_least_used_makes_room),
		TEST(flows_end),
		cmocka_unit_test_setup_teardown(queries_end_sooner, set_up_remote, tear_down),
		TEST(the_agent_may_close),
		cmocka_unit_test_setup_teardown(queries_go_to_the_servers_resolver, set_up_remote,
						tear_down),
		cmocka_unit_test_setup_teardown(queries_go_to_one_resolver, set_up_addr, tear_down),
		TEST(what_is_local_stays),
		TEST(flows_survive_their_agent),
		TEST(half_a_frame_is_no_frame),
		TEST(a_smaller_agent_has_fewer_flows),
		cmocka_unit_test_setup_teardown(without_an_agent_nothing_is_asked, set_up_alone,
						tear_down),
		TEST(nonsense_ends_it),
		TEST(the_silent_are_left),
		TEST(a_full_channel_drops),
		TEST(workers_share_it),
		cmocka_unit_test(an_agent_is_deployed),
		cmocka_unit_test(deployments_fail_for_reasons),
		cmocka_unit_test(the_command_is_for_any_shell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
