// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The TCP terminator against a guest that the test plays, segment by segment. The TUN is a socket
 * pair that keeps packet boundaries, the upstream another one, the clock is ours.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/util.h"
#include "kernel/tun.h"
#include "private_net.h"
#include "tunnel/packet.h"
#include "tunnel/tcp.h"

#define MTU 1500
#define ISS 1000u /* of the guest */

struct world {
	struct tcp tcp;
	struct endpoints ends; /* as the guest sends */
	struct flow *asked;    /* the flow that dial() was called for */
	unsigned int cancelled;
	int tun;      /* the guest's end */
	int upstream; /* the server's end */
	uint32_t seq, ack; /* the guest's next, and what it has */
	uint8_t wscale;
	bool sack_allowed, has_time;
	uint32_t time;      /* of the guest's clock */
	struct ranges sack; /* what it tells to have */
	bool more;          /* further packets have come with this one */
};

/* What the terminator sent last. */
struct reply {
	bool there;
	uint8_t flags;
	uint32_t seq, ack;
	uint32_t window;
	size_t len;
	uint8_t data[66000];
	uint8_t icmp_type, icmp_code;
	struct tcp_segment options;
	uint16_t gso_size;
};

static void on_dial(struct flow *f, void *arg)
{
	((struct world *)arg)->asked = f;
	f->dial = 7;
}

static void on_cancel(struct flow *f, void *arg)
{
	((struct world *)arg)->cancelled++;
	f->dial = FLOW_NONE;
}

static int set_up_family(void **state, const char *src, const char *dst)
{
	struct world *w = calloc(1, sizeof(*w));
	int pair[2];

	assert_non_null(w);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	w->tun = pair[1];
	w->upstream = -1;
	w->wscale = 7;
	w->tcp = (struct tcp){.flows = flows_new(64),
			      .tun = pair[0],
			      .mtu = MTU,
			      .now_us = 1000000,
			      .dial = on_dial,
			      .cancel = on_cancel,
			      .arg = w};
	tcp_init(&w->tcp, 4);
	assert_int_equal(ip_parse(src, &w->ends.src, NULL), 0);
	assert_int_equal(ip_parse(dst, &w->ends.dst, NULL), 0);
	w->ends.sport = 40000;
	w->ends.dport = 80;
	w->seq = ISS;
	*state = w;
	return 0;
}

static int set_up(void **state)
{
	return set_up_family(state, "10.0.0.2", "203.0.113.10");
}

static int set_up6(void **state)
{
	return set_up_family(state, "fd00::2", "2001:db8::10");
}

static void end_one(struct flow *f, void *arg)
{
	tcp_abort(arg, f);
}

static int tear_down(void **state)
{
	struct world *w = *state;

	flows_each(w->tcp.flows, end_one, &w->tcp);
	assert_int_equal(flows_used(w->tcp.flows), 0);
	assert_int_equal(w->tcp.n_free_chunks, 4); /* none is lost */
	flows_free(w->tcp.flows);
	close(w->tcp.tun);
	close(w->tun);
	if (w->upstream >= 0)
		close(w->upstream);
	tcp_done(&w->tcp);
	free(w);
	return 0;
}

/* ---- The guest ---- */

static void send_options(struct world *w, uint8_t flags, uint32_t seq, uint32_t ack, uint16_t window,
			 const void *data, size_t len)
{
	/* packet_put_tcp() builds what goes back; seen from the other end that is what the guest sends. */
	struct endpoints back = {.src = w->ends.dst,
				 .dst = w->ends.src,
				 .sport = w->ends.dport,
				 .dport = w->ends.sport};
	struct tcp_reply r = {.seq = seq,
			      .ack = ack,
			      .flags = flags,
			      .window = window,
			      .has_time = w->has_time,
			      .time = w->time,
			      .sack = &w->sack};
	uint8_t *buf = malloc(PACKET_HEADROOM + len + 1), *start;
	struct packet p;
	size_t total;

	assert_non_null(buf);
	if (flags & TCP_SYN) {
		r.mss = 1460;
		r.wscale = w->wscale;
		r.sack_allowed = w->sack_allowed;
	}
	if (len)
		memcpy(buf + PACKET_HEADROOM, data, len);
	start = packet_put_tcp(&back, &r, buf + PACKET_HEADROOM, len, &total);
	assert_int_equal(packet_parse(start, total, &p), PACKET_TCP);
	tcp_input(&w->tcp, &p);
	if (!w->more)
		tcp_flush(&w->tcp);
	free(buf);
}

static void guest(struct world *w, uint8_t flags, const void *data, size_t len)
{
	send_options(w, flags, w->seq, w->ack, 512, data, len);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static struct reply next(struct world *w)
{
	static uint8_t buf[70000];
	static struct reply r;
	ssize_t n = recv(w->tun, buf, sizeof(buf), MSG_DONTWAIT);
	bool v6 = w->ends.src.family == AF_INET6;
	size_t ip = TUN_HEADER + (v6 ? 40u : 20u);
	const uint8_t *tcp = buf + ip;
	struct packet p;
	size_t header;

	memset(&r, 0, sizeof(r));
	if (n < 0) {
		assert_int_equal(errno, EAGAIN);
		return r;
	}
	r.there = true;
	if (buf[TUN_HEADER + (v6 ? 6 : 9)] != 6) {
		r.icmp_type = tcp[0];
		r.icmp_code = tcp[1];
		return r;
	}
	assert_int_equal(packet_parse(buf, (size_t)n, &p), PACKET_TCP);
	r.options = p.tcp;
	header = (size_t)(tcp[12] >> 4) * 4;
	r.seq = get32(tcp + 4);
	r.ack = get32(tcp + 8);
	r.flags = tcp[13];
	r.window = (uint32_t)(tcp[14] << 8 | tcp[15]);
	r.len = (size_t)n - ip - header;
	memcpy(&r.gso_size, buf + 4, sizeof(r.gso_size)); /* in our byte order */
	memcpy(r.data, tcp + header, r.len);
	return r;
}

static void nothing(struct world *w)
{
	assert_false(next(w).there);
}

/* The last of what was sent, and how many there were. */
static struct reply last(struct world *w, unsigned int *count)
{
	struct reply r = {0}, now;

	for (*count = 0; (now = next(w)).there; ++*count)
		r = now;
	return r;
}

static void expire(struct flow *f, void *arg)
{
	tcp_timer(arg, f);
}

static void later(struct world *w, uint64_t ms)
{
	for (uint64_t i = 0; i < ms; i += 4) {
		w->tcp.now_us += 4000;
		flows_expire(w->tcp.flows, w->tcp.now_us / 1000, 1000, expire, &w->tcp);
	}
}

static struct flow *flow_of(struct world *w)
{
	return flow_find(w->tcp.flows, &w->ends);
}

static void syn(struct world *w)
{
	guest(w, TCP_SYN, NULL, 0);
	w->seq++;
}

static void connect_upstream(struct world *w)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	w->upstream = pair[1];
	tcp_connected(&w->tcp, w->asked, pair[0]);
}

static void open_connection(struct world *w)
{
	struct reply r;

	syn(w);
	nothing(w);
	connect_upstream(w);
	r = next(w);
	assert_int_equal(r.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(r.ack, w->seq);
	w->ack = r.seq + 1;
	guest(w, TCP_ACK, NULL, 0);
	nothing(w);
	assert_int_equal(flow_of(w)->state, FLOW_OPEN);
	assert_int_equal(flows_live(w->tcp.flows), 1);
}

static void upstream_says(struct world *w, const void *data, size_t len)
{
	assert_int_equal(write(w->upstream, data, len), (ssize_t)len);
	tcp_readable(&w->tcp, flow_of(w));
}

static void upstream_heard(struct world *w, const char *text)
{
	char buf[256] = "";
	ssize_t n = read(w->upstream, buf, sizeof(buf) - 1);

	assert_int_equal(n, strlen(text));
	assert_string_equal(buf, text);
}

/* ---- Opening ---- */

static void a_syn_is_answered_when_the_upstream_stands(void **state)
{
	struct world *w = *state;

	open_connection(w);
	assert_int_equal(w->tcp.counters.accepted, 1);
}

static void syn_retransmits_are_ignored_while_dialing(void **state)
{
	struct world *w = *state;

	syn(w);
	for (int i = 0; i < 3; i++)
		send_options(w, TCP_SYN, ISS, 0, 512, NULL, 0);
	nothing(w);
	assert_int_equal(flows_used(w->tcp.flows), 1);
	assert_int_equal(w->cancelled, 0);
}

static void another_syn_from_the_port_starts_anew(void **state)
{
	struct world *w = *state;
	struct reply r;

	syn(w);
	w->seq = 5000;
	syn(w);
	assert_int_equal(w->cancelled, 1);
	connect_upstream(w);
	r = next(w);
	assert_int_equal(r.ack, 5001);
}

static void a_refusal_is_a_reset(void **state)
{
	struct world *w = *state;
	struct reply r;

	syn(w);
	tcp_failed(&w->tcp, w->asked, DIAL_REFUSED);
	r = next(w);
	assert_int_equal(r.flags, TCP_RST | TCP_ACK);
	assert_int_equal(r.ack, ISS + 1);
	assert_null(flow_of(w));
}

static void the_unreachable_is_an_icmp_error(void **state)
{
	struct world *w = *state;
	bool v6 = w->ends.src.family == AF_INET6;
	struct reply r;

	syn(w);
	tcp_failed(&w->tcp, w->asked, DIAL_UNREACHABLE);
	r = next(w);
	assert_int_equal(r.icmp_type, v6 ? 1 : 3);
	assert_int_equal(r.icmp_code, v6 ? 3 : 1);
	w->seq = ISS;
	syn(w);
	tcp_failed(&w->tcp, w->asked, DIAL_DENIED);
	r = next(w);
	assert_int_equal(r.icmp_code, v6 ? 1 : 13);
	assert_null(flow_of(w));
}

static void a_guest_that_gives_up_cancels_the_dial(void **state)
{
	struct world *w = *state;

	syn(w);
	guest(w, TCP_RST, NULL, 0);
	assert_int_equal(w->cancelled, 1);
	assert_null(flow_of(w));
}

static void our_syn_is_sent_again(void **state)
{
	struct world *w = *state;
	struct reply first, again;

	syn(w);
	connect_upstream(w);
	first = next(w);
	later(w, 1100);
	again = next(w);
	assert_int_equal(again.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(again.seq, first.seq);
	later(w, 200000);
	assert_null(flow_of(w)); /* nobody answers: given up */
}

static void a_wrong_ack_of_our_syn_is_reset(void **state)
{
	struct world *w = *state;
	struct reply r;

	syn(w);
	connect_upstream(w);
	next(w);
	send_options(w, TCP_ACK, w->seq, 4711, 512, NULL, 0);
	r = next(w);
	assert_int_equal(r.flags, TCP_RST);
	assert_int_equal(r.seq, 4711);
	assert_int_equal(flow_of(w)->state, FLOW_SYN_RCVD);
}

static void strangers_are_reset(void **state)
{
	struct world *w = *state;
	struct reply r;

	w->ack = 99;
	guest(w, TCP_ACK, "x", 1);
	r = next(w);
	assert_int_equal(r.flags, TCP_RST);
	assert_int_equal(r.seq, 99);
	guest(w, TCP_RST, NULL, 0);
	nothing(w); /* a reset is never answered */
}

/* ---- Data from the guest ---- */

static void data_goes_up_and_is_acknowledged(void **state)
{
	struct world *w = *state;
	struct reply r;

	open_connection(w);
	guest(w, TCP_ACK | TCP_PSH, "hello", 5);
	upstream_heard(w, "hello");
	r = next(w);
	assert_int_equal(r.flags, TCP_ACK);
	assert_int_equal(r.ack, w->seq + 5);
	assert_true(r.window > 0);
}

static void what_comes_together_is_acknowledged_once(void **state)
{
	struct world *w = *state;
	struct reply r;
	unsigned int n;

	open_connection(w);
	w->more = true;
	for (int i = 0; i < 3; i++) {
		guest(w, TCP_ACK, "hello", 5);
		w->seq += 5;
	}
	nothing(w);
	tcp_flush(&w->tcp);
	r = last(w, &n);
	assert_int_equal(n, 1);
	assert_int_equal(r.ack, w->seq);
	guest(w, TCP_ACK | TCP_FIN, "bye", 3);
	w->seq += 4;
	assert_int_equal(next(w).ack, w->seq); /* at once */
}

static void what_overlaps_is_taken_once(void **state)
{
	struct world *w = *state;
	struct reply r;

	open_connection(w);
	guest(w, TCP_ACK, "abcd", 4);
	upstream_heard(w, "abcd");
	guest(w, TCP_ACK, "abcd", 4); /* again, whole */
	send_options(w, TCP_ACK, w->seq + 2, w->ack, 512, "cdef", 4);
	upstream_heard(w, "ef");
	send_options(w, TCP_ACK, w->seq + 7, w->ack, 512, "hi", 2); /* a gap */
	assert_int_equal(read(w->upstream, &r, sizeof(r)), -1);
	assert_int_equal(w->tcp.counters.out_of_order, 1);
	send_options(w, TCP_ACK, w->seq + 6, w->ack, 512, "ghi", 3);
	upstream_heard(w, "ghi");
	for (int i = 0; i < 5; i++) {
		static const uint32_t acked[] = {4, 4, 6, 6, 9};

		r = next(w);
		assert_int_equal(r.ack, w->seq + acked[i]);
	}
	nothing(w);
}

static void a_full_upstream_closes_the_window(void **state)
{
	static char block[32768];
	struct world *w = *state;
	struct reply r = {0};
	uint32_t sent = 0;
	size_t got = 0;

	open_connection(w);
	for (int i = 0; i < 64; i++) {
		uint32_t room = flow_of(w)->rcv_edge - flow_of(w)->rcv_nxt;
		size_t len = room < sizeof(block) ? room : sizeof(block);

		if (!len)
			break;
		send_options(w, TCP_ACK, w->seq + sent, w->ack, 512, block, len);
		r = next(w);
		assert_true(r.ack - w->seq >= sent); /* never takes an acknowledgement back */
		sent = r.ack - w->seq;
	}
	assert_int_equal(r.window, 0);
	assert_true(sent > 100000);
	send_options(w, TCP_ACK, w->seq + sent, w->ack, 512, "x", 1); /* a probe: not taken */
	r = next(w);
	assert_int_equal(r.ack - w->seq, sent);
	while (got < sent) {
		ssize_t n = read(w->upstream, block, sizeof(block));

		assert_true(n > 0);
		got += (size_t)n;
		tcp_writable(&w->tcp, flow_of(w));
	}
	assert_int_equal(got, sent); /* every acknowledged byte arrives */
	r = last(w, &(unsigned int){0});
	assert_true(r.window > 0); /* and the guest is told that there is room again */
}

static void a_keepalive_is_answered(void **state)
{
	struct world *w = *state;
	struct reply r;

	open_connection(w);
	send_options(w, TCP_ACK, w->seq - 1, w->ack, 512, NULL, 0);
	r = next(w);
	assert_int_equal(r.flags, TCP_ACK);
	assert_int_equal(r.ack, w->seq);
}

static void what_comes_too_early_waits(void **state)
{
	struct world *w = *state;
	struct reply r;

	w->sack_allowed = true;
	open_connection(w);
	send_options(w, TCP_ACK, w->seq + 2, w->ack, 512, "cd", 2);
	r = next(w);
	assert_int_equal(r.ack, w->seq);
	assert_int_equal(r.options.n_sack, 1);
	assert_int_equal(r.options.sack[0].start, w->seq + 2);
	assert_int_equal(r.options.sack[0].end, w->seq + 4);
	send_options(w, TCP_ACK, w->seq + 6, w->ack, 512, "gh", 2);
	r = next(w);
	assert_int_equal(r.options.n_sack, 2);
	assert_int_equal(r.options.sack[0].start, w->seq + 6); /* the latest first */
	assert_int_equal(r.options.sack[1].start, w->seq + 2);
	guest(w, TCP_ACK, "abc", 3); /* overlaps */
	r = next(w);
	assert_int_equal(r.ack, w->seq + 4);
	assert_int_equal(r.options.n_sack, 1);
	upstream_heard(w, "abcd");
	send_options(w, TCP_ACK, w->seq + 4, w->ack, 512, "ef", 2);
	r = next(w);
	assert_int_equal(r.ack, w->seq + 8);
	assert_int_equal(r.options.n_sack, 0);
	upstream_heard(w, "efgh");
	assert_int_equal(w->tcp.n_free_chunks, 4);
}

/* In any order, each piece several times, with other pieces that overlap. */
static void any_order_is_put_right(void **state)
{
	static uint8_t sent[20000], got[20000];
	struct world *w = *state;
	uint32_t seed = 1;

	w->sack_allowed = true;
	open_connection(w);
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 31 + i / 256);
	while (flow_of(w)->rcv_nxt != w->seq + sizeof(sent)) {
		uint32_t at = (seed = seed * 1103515245 + 12345) / 65536 % (sizeof(sent) / 100) * 100;
		size_t len = 100 + (seed / 7 % 13) * 100;

		len = at + len > sizeof(sent) ? sizeof(sent) - at : len;
		send_options(w, TCP_ACK, w->seq + at, w->ack, 512, sent + at, len);
		next(w);
	}
	assert_int_equal(read(w->upstream, got, sizeof(got)), sizeof(got));
	assert_memory_equal(got, sent, sizeof(sent));
	assert_int_equal(w->tcp.n_free_chunks, 4);
	assert_true(w->tcp.counters.out_of_order > 10);
}

static void no_chunk_no_waiting(void **state)
{
	struct world *w = *state;

	w->sack_allowed = true;
	open_connection(w);
	w->tcp.n_free_chunks = 0;
	send_options(w, TCP_ACK, w->seq + 2, w->ack, 512, "cd", 2);
	assert_int_equal(next(w).options.n_sack, 0);
	guest(w, TCP_ACK, "ab", 2);
	assert_int_equal(next(w).ack, w->seq + 2);
	w->tcp.n_free_chunks = 4;
}

static void the_old_is_kept_out(void **state)
{
	struct world *w = *state;
	struct reply r;

	w->has_time = true;
	w->time = 0xfffffff0;
	syn(w);
	connect_upstream(w);
	r = next(w);
	assert_true(r.options.has_time);
	assert_int_equal(r.options.time_echo, 0xfffffff0);
	w->ack = r.seq + 1;
	w->time = 5; /* has come round */
	guest(w, TCP_ACK, NULL, 0);
	guest(w, TCP_ACK, "new", 3);
	upstream_heard(w, "new");
	r = next(w);
	assert_int_equal(r.options.time_echo, 5);
	assert_int_equal(flow_of(w)->mss, (w->ends.src.family == AF_INET6 ? 1440 : 1460) - 12);
	w->seq += 3;
	w->time = 0xfffffff8;
	guest(w, TCP_ACK, "old", 3);
	r = next(w);
	assert_int_equal(r.ack, w->seq); /* answered, not taken */
	assert_int_equal(read(w->upstream, &r, 1), -1);
	assert_int_equal(r.options.time_echo, 5);
}

static void an_ack_of_long_ago_is_challenged(void **state)
{
	struct world *w = *state;

	open_connection(w);
	send_options(w, TCP_ACK, w->seq, w->ack - (0xffffu << 7) - 2, 512, "x", 1);
	assert_int_equal(next(w).ack, w->seq);
	assert_int_equal(w->tcp.counters.challenges, 1);
}

/* ---- Data to the guest ---- */

static void data_comes_down_and_leaves_with_its_ack(void **state)
{
	struct world *w = *state;
	struct reply r;
	char left[8];

	open_connection(w);
	upstream_says(w, "welcome", 7);
	r = next(w);
	assert_int_equal(r.seq, w->ack);
	assert_int_equal(r.len, 7);
	assert_memory_equal(r.data, "welcome", 7);
	assert_int_equal(recv(flow_of(w)->fd, left, 7, MSG_PEEK | MSG_DONTWAIT), -1); /* behind the place */
	w->ack += 3;
	guest(w, TCP_ACK, NULL, 0);
	nothing(w);
	w->ack += 4;
	guest(w, TCP_ACK, NULL, 0);
	assert_int_equal(w->tcp.counters.bytes_down, 7);
	assert_true(flow_of(w)->idle);
	upstream_says(w, "more", 4);
	r = next(w);
	assert_int_equal(r.seq, w->ack);
	assert_memory_equal(r.data, "more", 4);
}

static void what_is_lost_is_sent_again(void **state)
{
	struct world *w = *state;
	struct reply r;

	open_connection(w);
	upstream_says(w, "first", 5);
	next(w);
	upstream_says(w, "second", 6);
	next(w);
	later(w, 1100);
	r = next(w);
	assert_int_equal(r.seq, w->ack);
	assert_memory_equal(r.data, "firstsecond", 11);
	later(w, 1000); /* twice as long, the second time */
	nothing(w);
	w->ack += 5;
	guest(w, TCP_ACK, NULL, 0);
	later(w, 4500);
	r = last(w, &(unsigned int){0});
	assert_int_equal(r.seq, w->ack);
	assert_memory_equal(r.data, "second", 6);
	w->ack += 6;
	guest(w, TCP_ACK, NULL, 0);
	assert_int_equal(w->tcp.counters.bytes_down, 11);
}

static void three_duplicates_are_a_loss(void **state)
{
	static char block[4000];
	struct world *w = *state;
	struct reply r;

	open_connection(w);
	memset(block, 'x', sizeof(block));
	upstream_says(w, block, sizeof(block));
	last(w, &(unsigned int){0});
	for (int i = 0; i < 2; i++)
		guest(w, TCP_ACK, NULL, 0);
	nothing(w);
	guest(w, TCP_ACK, NULL, 0);
	r = next(w);
	assert_int_equal(r.seq, w->ack);
	assert_true(r.len > 0);
	assert_true(w->tcp.counters.retransmits > 0);
}

/* Ten segments in flight; returns the first one's sequence number. */
static uint32_t ten_segments(struct world *w)
{
	static uint8_t block[14600];
	struct reply r;

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)(i / 1000);
	upstream_says(w, block, sizeof(block));
	r = next(w);
	assert_true(r.len > 13000);
	last(w, &(unsigned int){0});
	return r.seq;
}

static void tell(struct world *w, uint32_t start, uint32_t end)
{
	w->sack = (struct ranges){0};
	if (end)
		assert_true(ranges_add(&w->sack, start, end));
	guest(w, TCP_ACK, NULL, 0);
}

/* What the guest has, and only its ACKs were lost, must not make it ignore ours, or a reset. */
static void what_is_sent_again_does_not_take_acks_back(void **state)
{
	struct world *w = *state;
	struct reply r;
	uint32_t end;

	open_connection(w);
	ten_segments(w);
	end = flow_of(w)->snd_max;
	later(w, 1100);
	r = next(w);
	assert_int_equal(r.seq, w->ack);
	assert_true(r.seq + r.len < end);
	guest(w, TCP_ACK, "up", 2);
	r = next(w);
	assert_int_equal(r.ack, w->seq + 2);
	assert_int_equal(r.len, 0);
	assert_int_equal(r.seq, end);
	tcp_abort(&w->tcp, flow_of(w));
	r = next(w);
	assert_true(r.flags & TCP_RST);
	assert_int_equal(r.seq, end);
}

static void only_gaps_are_sent_again(void **state)
{
	struct world *w = *state;
	struct reply r;
	uint32_t seq;

	w->sack_allowed = true;
	open_connection(w);
	seq = ten_segments(w);
	tell(w, seq + 1000, seq + 2000);
	nothing(w); /* may be out of order */
	tell(w, seq + 1000, seq + 6000);
	r = next(w);
	assert_int_equal(r.seq, seq);
	assert_int_equal(r.len, 1000);
	nothing(w);
	tell(w, seq + 7000, seq + 8000); /* another gap */
	r = next(w);
	assert_int_equal(r.seq, seq + 6000);
	assert_int_equal(r.len, 1000);
	assert_int_equal(r.data[0], 6);
	tell(w, seq + 7000, seq + 8000);
	nothing(w); /* each once */
	w->ack = seq + 8000;
	tell(w, 0, 0);
	assert_int_equal(flow_of(w)->sacked.n, 0);
	assert_int_equal(w->tcp.counters.retransmits, 2);
	for (int i = 0; i < 2; i++) { /* what the window held back comes, too */
		w->ack = flow_of(w)->snd_max;
		tell(w, 0, 0);
	}
	assert_false(flow_of(w)->recovering);
	assert_true(flow_of(w)->idle);
}

/* In between, new data was looked for in vain. */
static void a_gap_has_its_own_bytes(void **state)
{
	struct world *w = *state;
	struct reply r;
	uint32_t seq;

	w->sack_allowed = true;
	open_connection(w);
	seq = ten_segments(w);
	for (int i = 0; i < 2; i++) { /* all of it is on its way */
		w->ack = seq + 2000;
		tell(w, 0, 0);
	}
	last(w, &(unsigned int){0});
	tell(w, seq + 3000, seq + 13000);
	r = next(w);
	assert_int_equal(r.seq, seq + 2000);
	assert_int_equal(r.data[0], 2);
	w->ack = seq + 13000;
	tell(w, seq + 13500, seq + 14500);
	r = next(w);
	assert_int_equal(r.seq, seq + 13000);
	assert_int_equal(r.len, 500);
	assert_int_equal(r.data[0], 13);
}

static void a_guest_may_take_its_word_back(void **state)
{
	struct world *w = *state;
	struct reply r;
	uint32_t seq;

	w->sack_allowed = true;
	open_connection(w);
	seq = ten_segments(w);
	tell(w, seq + 1000, seq + 6000);
	last(w, &(unsigned int){0});
	later(w, 2200);
	r = next(w);
	assert_int_equal(r.seq, seq);
	w->ack = seq + (uint32_t)r.len;
	tell(w, 0, 0);
	r = next(w);
	assert_int_equal(r.seq, w->ack); /* everything again, as if nothing had been said */
	assert_memory_equal(r.data, "\1", 1);
}

static void nonsense_is_no_sack(void **state)
{
	struct world *w = *state;
	uint32_t seq;

	w->sack_allowed = true;
	open_connection(w);
	seq = ten_segments(w);
	tell(w, seq + 20000, seq + 50000); /* never sent */
	tell(w, seq - 5000, seq - 1000);   /* of long ago: a duplicate (RFC 2883) */
	tell(w, seq - 5000, seq - 1000);
	tell(w, seq - 5000, seq - 1000);
	nothing(w);
	assert_int_equal(flow_of(w)->sacked.n, 0);
}

static void a_silent_guest_is_asked(void **state)
{
	struct world *w = *state;
	struct reply r;
	unsigned int n;

	open_connection(w);
	later(w, 590000);
	nothing(w);
	later(w, 20000);
	r = next(w);
	assert_int_equal(r.seq, w->ack - 1);
	assert_int_equal(r.len, 0);
	guest(w, TCP_ACK, NULL, 0);
	later(w, 590000);
	nothing(w); /* it is there */
	later(w, 800000);
	last(w, &n);
	assert_int_equal(n, 6); /* five questions and a reset */
	assert_null(flow_of(w));
}

static void a_guest_that_never_answers_is_given_up(void **state)
{
	struct world *w = *state;

	open_connection(w);
	upstream_says(w, "x", 1);
	later(w, 1200000);
	assert_null(flow_of(w));
}

static void a_closed_window_is_probed(void **state)
{
	struct world *w = *state;
	struct reply r;
	unsigned int n;

	open_connection(w);
	send_options(w, TCP_ACK, w->seq, w->ack, 0, NULL, 0);
	upstream_says(w, "patience", 8);
	nothing(w);
	later(w, 1300);
	r = last(w, &n);
	assert_true(n >= 1);
	assert_int_equal(r.len, 0);
	assert_int_equal(r.seq, w->ack - 1);
	later(w, 300000); /* for as long as it takes */
	assert_non_null(flow_of(w));
	last(w, &n);
	guest(w, TCP_ACK, NULL, 0); /* the window opens */
	r = next(w);
	assert_memory_equal(r.data, "patience", 8);
}

static void a_guest_that_vanished_with_a_closed_window_is_given_up(void **state)
{
	struct world *w = *state;

	open_connection(w);
	upstream_says(w, "x", 1);
	w->ack++;
	send_options(w, TCP_ACK, w->seq, w->ack, 0, NULL, 0);
	upstream_says(w, "patience", 8);
	for (int i = 0; i < 30; i++) { /* for as long as it answers */
		later(w, 60000);
		send_options(w, TCP_ACK, w->seq, w->ack, 0, NULL, 0);
		assert_non_null(flow_of(w));
	}
	later(w, 600000 + 13 * 60000);
	assert_null(flow_of(w));
}

static void the_window_of_the_guest_is_kept(void **state)
{
	static char block[8000];
	struct world *w = *state;
	size_t got = 0;
	struct reply r;

	open_connection(w);
	send_options(w, TCP_ACK, w->seq, w->ack, 16, NULL, 0); /* 16 << 7 = 2048 bytes */
	upstream_says(w, block, sizeof(block));
	while ((r = next(w)).there)
		got += r.len;
	assert_int_equal(got, 2048);
}

/* An upstream that is a TCP connection; the server's end is in w->upstream. */
static int tcp_upstream(struct world *w)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&in, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&in, &len), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, len), 0);
	w->upstream = accept(listener, NULL, NULL);
	assert_true(w->upstream >= 0);
	close(listener);
	return fd;
}

static void urgent_bytes_are_bytes_like_others(void **state)
{
	struct world *w = *state;
	char got[32] = "";
	static const char *const pieces[] = {"abc", "!", "def", "ghi"};
	uint64_t end = clock_ms() + 10000;
	size_t n = 0, i = 0;

	if (!private_net())
		skip();
	syn(w);
	tcp_connected(&w->tcp, w->asked, tcp_upstream(w));
	w->ack = next(w).seq + 1;
	guest(w, TCP_ACK, NULL, 0);
	while (n < 10 && clock_ms() < end) { /* the guest acknowledges nothing yet */
		struct reply r;

		if (i < ARRAY_SIZE(pieces))
			send(w->upstream, pieces[i], strlen(pieces[i]), i == 1 ? MSG_OOB : 0);
		i++;
		tcp_readable(&w->tcp, flow_of(w));
		while ((r = next(w)).there && n + r.len < sizeof(got)) {
			memcpy(got + n, r.data, r.len);
			n += r.len;
		}
	}
	assert_string_equal(got, "abc!defghi");
}

/* ---- Closing ---- */

static void the_guest_closes_first(void **state)
{
	struct world *w = *state;
	char buf[8];
	struct reply r;

	open_connection(w);
	guest(w, TCP_ACK | TCP_FIN, "bye", 3);
	w->seq += 4;
	r = next(w);
	assert_int_equal(r.ack, w->seq);
	upstream_heard(w, "bye");
	assert_int_equal(read(w->upstream, buf, sizeof(buf)), 0); /* half-closed */
	upstream_says(w, "rest", 4);
	r = next(w);
	assert_memory_equal(r.data, "rest", 4);
	w->ack += 4;
	guest(w, TCP_ACK, NULL, 0);
	close(w->upstream);
	w->upstream = -1;
	tcp_readable(&w->tcp, flow_of(w));
	r = next(w);
	assert_true(r.flags & TCP_FIN);
	w->ack++;
	guest(w, TCP_ACK, NULL, 0);
	assert_null(flow_of(w));
}

static void the_upstream_closes_first(void **state)
{
	struct world *w = *state;
	struct reply r;

	open_connection(w);
	assert_int_equal(write(w->upstream, "last", 4), 4);
	shutdown(w->upstream, SHUT_WR);
	tcp_readable(&w->tcp, flow_of(w));
	r = next(w);
	assert_memory_equal(r.data, "last", 4);
	if (!(r.flags & TCP_FIN)) {
		w->ack += 4;
		guest(w, TCP_ACK, NULL, 0);
		r = next(w);
		if (!r.there) {
			tcp_readable(&w->tcp, flow_of(w));
			r = next(w);
		}
	}
	assert_true(r.flags & TCP_FIN);
	w->ack = r.seq + (uint32_t)r.len + 1;
	guest(w, TCP_ACK, "still here", 10); /* half-open the other way */
	upstream_heard(w, "still here");
	w->seq += 10;
	next(w);
	guest(w, TCP_ACK | TCP_FIN, NULL, 0);
	r = next(w);
	assert_int_equal(r.ack, w->seq + 1);
	assert_int_equal(flow_of(w)->state, FLOW_TIME_WAIT);
	assert_int_equal(flows_live(w->tcp.flows), 0);
	guest(w, TCP_ACK | TCP_FIN, NULL, 0); /* our ACK was lost */
	r = next(w);
	assert_int_equal(r.ack, w->seq + 1);
	later(w, 61000);
	assert_null(flow_of(w));
}

static void a_lost_fin_is_sent_again(void **state)
{
	struct world *w = *state;
	struct reply r;

	open_connection(w);
	shutdown(w->upstream, SHUT_WR);
	tcp_readable(&w->tcp, flow_of(w));
	r = next(w);
	assert_true(r.flags & TCP_FIN);
	later(w, 1100);
	r = next(w);
	assert_true(r.flags & TCP_FIN);
	assert_int_equal(r.seq, w->ack);
}

/* ---- Resets ---- */

static void a_reset_must_be_exact(void **state)
{
	struct world *w = *state;
	struct reply r;

	open_connection(w);
	send_options(w, TCP_RST, w->seq + 10, 0, 0, NULL, 0); /* in the window: challenged (RFC 5961) */
	r = next(w);
	assert_int_equal(r.flags, TCP_ACK);
	assert_non_null(flow_of(w));
	/* After all that the window holds, of which the end was lost. */
	send_options(w, TCP_RST, flow_of(w)->rcv_edge, 0, 0, NULL, 0);
	r = next(w);
	assert_int_equal(r.flags, TCP_ACK);
	assert_int_equal(r.ack, w->seq);
	send_options(w, TCP_RST, flow_of(w)->rcv_edge + 1, 0, 0, NULL, 0); /* outside: ignored */
	nothing(w);
	send_options(w, TCP_RST, w->seq - 10, 0, 0, NULL, 0);
	nothing(w);
	assert_non_null(flow_of(w));
	send_options(w, TCP_RST, w->seq, 0, 0, NULL, 0);
	assert_null(flow_of(w));
	nothing(w);
}

static void a_syn_inside_is_challenged(void **state)
{
	struct world *w = *state;
	struct reply r;

	open_connection(w);
	send_options(w, TCP_SYN, w->seq + 100, 0, 512, NULL, 0);
	r = next(w);
	assert_int_equal(r.flags, TCP_ACK);
	assert_int_equal(flow_of(w)->state, FLOW_OPEN);
}

static void an_ack_of_the_future_is_challenged(void **state)
{
	struct world *w = *state;
	struct reply r;

	open_connection(w);
	send_options(w, TCP_ACK, w->seq, w->ack + 1000, 512, "x", 1);
	r = next(w);
	assert_int_equal(r.ack, w->seq); /* the segment is not taken */
}

static void a_broken_upstream_resets_the_guest(void **state)
{
	struct world *w = *state;
	struct reply r;

	open_connection(w);
	close(w->upstream);
	w->upstream = -1;
	guest(w, TCP_ACK, "x", 1);
	r = next(w);
	assert_true(r.flags & TCP_RST);
	assert_int_equal(r.seq, w->ack);
	assert_null(flow_of(w));
}

static void a_full_pool_refuses(void **state)
{
	struct world *w = *state;
	struct reply r = {0};

	for (uint16_t i = 0; i < 65; i++) {
		w->ends.sport = (uint16_t)(41000 + i);
		w->seq = ISS;
		syn(w);
	}
	r = next(w);
	assert_true(r.flags & TCP_RST);
	nothing(w);
	assert_int_equal(flows_used(w->tcp.flows), 64);
}

/* ---- Path MTU ---- */

static void put_word(uint8_t *icmp, size_t at, uint16_t word)
{
	uint32_t sum = (uint16_t)~(icmp[2] << 8 | icmp[3]); /* RFC 1624 3 */

	sum += (uint16_t)~(icmp[at] << 8 | icmp[at + 1]) + (uint32_t)word;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	icmp[at] = (uint8_t)(word >> 8);
	icmp[at + 1] = (uint8_t)word;
	icmp[2] = (uint8_t)(sum >> 8);
	icmp[3] = (uint8_t)sum;
}

/* From the guest's side: our segment with this sequence number is too big. */
static enum packet_kind too_big(struct world *w, uint32_t seq, uint16_t mtu, uint16_t spoil)
{
	struct endpoints back = {.src = w->ends.dst, .dst = w->ends.src};
	bool v6 = w->ends.src.family == AF_INET6;
	uint8_t segment[PACKET_HEADROOM], buf[PACKET_ERROR_MAX], *quote;
	uint8_t *icmp = buf + TUN_HEADER + (v6 ? 40 : 20);
	struct tcp_reply r = {.seq = seq, .flags = TCP_ACK};
	enum packet_kind kind;
	struct packet p;
	size_t len;

	quote = packet_put_tcp(&w->ends, &r, segment + sizeof(segment), 0, &len);
	len = packet_put_error(PACKET_UNREACHABLE, &back, quote + TUN_HEADER, len - TUN_HEADER, buf);
	put_word(icmp, 0, v6 ? 0x0200 : 0x0304);
	put_word(icmp, 6, mtu);
	icmp[4] ^= (uint8_t)spoil;
	kind = packet_parse(buf, len, &p);
	if (kind == PACKET_TOO_BIG)
		tcp_too_big(&w->tcp, &p);
	return kind;
}

static void what_is_too_big_is_sent_again_in_smaller_segments(void **state)
{
	struct world *w = *state;
	uint16_t headers = w->ends.src.family == AF_INET6 ? 60 : 40;
	static const uint8_t data[5000];
	struct reply r;

	open_connection(w);
	upstream_says(w, data, sizeof(data));
	r = next(w);
	assert_int_equal(r.len, sizeof(data));
	assert_int_equal(too_big(w, r.seq, 1280, 0), PACKET_TOO_BIG);
	assert_int_equal(flow_of(w)->mss, 1280 - headers);
	r = next(w);
	assert_int_equal(r.seq, w->ack);
	assert_int_equal(r.len, sizeof(data));
	assert_int_equal(r.gso_size, 1280 - headers);
	too_big(w, r.seq, 1280, 0); /* about another of the same size */
	too_big(w, r.seq, 1400, 0);
	nothing(w);
	assert_int_equal(flow_of(w)->mss, 1280 - headers);
}

static void who_does_not_know_what_is_in_flight_is_not_believed(void **state)
{
	struct world *w = *state;
	uint16_t mss;
	struct reply r;

	open_connection(w);
	mss = flow_of(w)->mss;
	too_big(w, w->ack, 1280, 0); /* nothing is in flight */
	upstream_says(w, "some", 4);
	r = next(w);
	too_big(w, r.seq - 1, 1280, 0);
	too_big(w, r.seq + 4, 1280, 0);
	assert_int_equal(too_big(w, r.seq, 1280, 1), PACKET_BAD); /* its checksum is wrong */
	nothing(w);
	assert_int_equal(flow_of(w)->mss, mss);
	w->ends.sport++;
	too_big(w, r.seq, 1280, 0); /* of no flow */
	w->ends.sport--;
	nothing(w);
}

static void no_mtu_is_too_small_to_work_with(void **state)
{
	struct world *w = *state;
	bool v6 = w->ends.src.family == AF_INET6;
	struct reply r;

	open_connection(w);
	upstream_says(w, "some", 4);
	r = next(w);
	too_big(w, r.seq, 0, 0); /* IPv4: from a router that does not tell */
	assert_int_equal(flow_of(w)->mss, v6 ? 1220 : 536);
	too_big(w, r.seq, 1, 0);
	assert_int_equal(flow_of(w)->mss, v6 ? 1220 : 64);
}

#define BOTH(test)                                                                                 \
	cmocka_unit_test_setup_teardown(test, set_up, tear_down),                                  \
		cmocka_unit_test_setup_teardown(test, set_up6, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(a_syn_is_answered_when_the_upstream_stands),
		BOTH(syn_retransmits_are_ignored_while_dialing),
		BOTH(another_syn_from_the_port_starts_anew),
		BOTH(a_refusal_is_a_reset),
		BOTH(the_unreachable_is_an_icmp_error),
		BOTH(a_guest_that_gives_up_cancels_the_dial),
		BOTH(our_syn_is_sent_again),
		BOTH(a_wrong_ack_of_our_syn_is_reset),
		BOTH(strangers_are_reset),
		BOTH(data_goes_up_and_is_acknowledged),
		BOTH(what_comes_together_is_acknowledged_once),
		BOTH(what_overlaps_is_taken_once),
		BOTH(a_full_upstream_closes_the_window),
		BOTH(a_keepalive_is_answered),
		BOTH(what_comes_too_early_waits),
		BOTH(any_order_is_put_right),
		BOTH(no_chunk_no_waiting),
		BOTH(the_old_is_kept_out),
		BOTH(an_ack_of_long_ago_is_challenged),
		BOTH(what_is_sent_again_does_not_take_acks_back),
		BOTH(only_gaps_are_sent_again),
		BOTH(a_gap_has_its_own_bytes),
		BOTH(a_guest_may_take_its_word_back),
		BOTH(nonsense_is_no_sack),
		BOTH(a_silent_guest_is_asked),
		BOTH(data_comes_down_and_leaves_with_its_ack),
		BOTH(what_is_lost_is_sent_again),
		BOTH(three_duplicates_are_a_loss),
		BOTH(a_guest_that_never_answers_is_given_up),
		BOTH(a_closed_window_is_probed),
		BOTH(a_guest_that_vanished_with_a_closed_window_is_given_up),
		BOTH(the_window_of_the_guest_is_kept),
		BOTH(urgent_bytes_are_bytes_like_others),
		BOTH(the_guest_closes_first),
		BOTH(the_upstream_closes_first),
		BOTH(a_lost_fin_is_sent_again),
		BOTH(a_reset_must_be_exact),
		BOTH(a_syn_inside_is_challenged),
		BOTH(an_ack_of_the_future_is_challenged),
		BOTH(a_broken_upstream_resets_the_guest),
		BOTH(a_full_pool_refuses),
		BOTH(what_is_too_big_is_sent_again_in_smaller_segments),
		BOTH(who_does_not_know_what_is_in_flight_is_not_believed),
		BOTH(no_mtu_is_too_small_to_work_with),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
