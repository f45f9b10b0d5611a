// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * Purpose. The peer is a TCP on the other side of a TUN device: the host's own, or that of a
 * container or VM that the host forwards for. We are the server of each of its connections and relay
 * the bytes to and from an upstream socket. It is a terminator, not a general stack: it never opens
 * a connection, has no options of its own but MSS and window scale, and buffers next to nothing.
 *
 * Data towards the guest stays in the upstream socket's receive queue until the guest has
 * acknowledged it: it is peeked at (MSG_PEEK, with SO_PEEK_OFF as the place of snd_nxt), sent, and
 * consumed by the acknowledgement. To retransmit is to move the place back to snd_una. The socket's
 * own receive window is the back pressure on the upstream.
 *
 * Data from the guest goes into the upstream socket at once, and only what the socket took is
 * acknowledged. The window we advertise is what the socket has room for, plus one chunk: when the
 * estimate was too high, the rest of a segment waits in a chunk from a small pool, and the socket's
 * failure to take it makes epoll tell us when there is room again.
 *
 * Invariants (RFC 9293 names):
 *  1. snd_una <= snd_nxt <= snd_max. The bytes in [snd_una, snd_max), without a FIN at the end, are
 * the first of the upstream socket's receive queue.
 *  2. rcv_nxt counts only what the upstream socket, or the flow's chunk, has.
 *  3. rcv_edge, the right edge of the advertised window, never moves left.
 *  4. Nothing of a flow in FLOW_DIALING has been answered: the guest sees a connection exactly when
 * there is one.
 *  5. A flow has a deadline while anything is unacknowledged, while the guest's window is closed,
 * in FLOW_SYN_RCVD and in FLOW_TIME_WAIT.
 *
 * States: flow.h. Transitions:
 *
 *	(none)    SYN                      DIALING     an upstream stream is asked for
 *	DIALING   connected                SYN_RCVD    SYN and ACK sent
 *	DIALING   failed                   (gone)      RST, or an ICMP error, by the reason
 *	DIALING   RST                      (gone)      the dial is cancelled
 *	SYN_RCVD  ACK of our SYN           OPEN
 *	SYN_RCVD  no ACK in SYN_RETRIES    (gone)      the upstream is reset
 *	OPEN      FIN                      OPEN        upstream: end of what we write (guest_fin)
 *	OPEN      upstream's end           OPEN        FIN sent (fin_sent), acknowledged (fin_acked)
 *	OPEN      both, ours first         TIME_WAIT   upstream closed
 *	OPEN      both, the guest's first  (gone)      upstream closed
 *	OPEN      RST, upstream's reset,
 *	          no ACK in RETRIES        (gone)      the other side is reset
 *	TIME_WAIT time, RST, a newer SYN   (gone)
 *
 * Retransmission: RFC 6298, with one measurement at a time and Karn's rule; three duplicate
 * acknowledgements (RFC 5681); everything behind the loss is sent again (there is no SACK, and on a
 * path within one host little is ever lost). Congestion control: slow start and avoidance of RFC
 * 5681. Segments out of order are dropped and acknowledged, which makes the guest send again. RST
 * and SYN inside an open connection are checked as RFC 5961 demands.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <linux/sockios.h>
#include <unistd.h>

#include "base/util.h"
#include "tunnel/tcp.h"

#define MSS_DEFAULT 536u /* RFC 9293 3.7.1 */
#define MSS6_DEFAULT 1220u
#define MSS_MIN 64u
#define PAYLOAD_MAX 65000u /* with headers below 64 KiB */
#define RCV_SHIFT 8
#define DISCARD_SIZE 65536u
#define INITIAL_SEGMENTS 10u /* RFC 6928 */

#define RTO_INITIAL_MS 1000u
#define RTO_MIN_MS 200u
#define RTO_MAX_MS 60000u
#define SYN_RETRIES 5
#define RETRIES 12
#define TIME_WAIT_MS 60000u
#define RECHECK_MS 5u /* of a full socket, when every chunk is in use */

static bool before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static uint64_t now_ms(const struct tcp *t)
{
	return t->now_us / 1000;
}

static uint32_t in_flight(const struct flow *f)
{
	return f->snd_nxt - f->snd_una;
}

void tcp_init(struct tcp *t, size_t chunks)
{
	t->tx = xcalloc(1, PACKET_HEADROOM + PAYLOAD_MAX);
	t->discard = xcalloc(1, DISCARD_SIZE);
	t->chunks = xcalloc(chunks + 1, TCP_CHUNK_SIZE); /* untouched until used */
	t->free_chunks = xcalloc(chunks + 1, sizeof(*t->free_chunks));
	for (size_t i = 0; i < chunks; i++)
		t->free_chunks[i] = (uint32_t)i;
	t->n_free_chunks = chunks;
}

void tcp_done(struct tcp *t)
{
	free(t->tx);
	free(t->discard);
	free(t->chunks);
	free(t->free_chunks);
}

/* ---- Chunks ---- */

static uint8_t *chunk_of(const struct tcp *t, const struct flow *f)
{
	return t->chunks + (size_t)f->chunk * TCP_CHUNK_SIZE;
}

static void chunk_free(struct tcp *t, struct flow *f)
{
	if (f->chunk != FLOW_NONE)
		t->free_chunks[t->n_free_chunks++] = f->chunk;
	f->chunk = FLOW_NONE;
	f->chunk_at = f->chunk_len = 0;
}

/* Keeps what the socket did not take; returns how much of it. */
static size_t chunk_keep(struct tcp *t, struct flow *f, const uint8_t *data, size_t len)
{
	if (f->chunk == FLOW_NONE && t->n_free_chunks)
		f->chunk = t->free_chunks[--t->n_free_chunks];
	if (f->chunk == FLOW_NONE)
		return 0;
	len = MIN(len, TCP_CHUNK_SIZE - f->chunk_len);
	memcpy(chunk_of(t, f) + f->chunk_len, data, len);
	f->chunk_len += (uint32_t)len;
	return len;
}

/* ---- Sending ---- */

static void write_packet(struct tcp *t, const uint8_t *packet, size_t len)
{
	/* A full queue loses packets, as any network may: retransmission repairs it. */
	while (write(t->tun, packet, len) < 0 && errno == EINTR)
		;
}

static uint32_t socket_room(const struct flow *f)
{
	int size = 0, queued = 0;
	socklen_t len = sizeof(size);

	if (f->fd < 0 || getsockopt(f->fd, SOL_SOCKET, SO_SNDBUF, &size, &len) ||
	    ioctl(f->fd, SIOCOUTQ, &queued))
		return 0;
	size -= size / 4; /* the rest is the kernel's own: SO_SNDBUF counts memory, not bytes */
	return size > queued ? (uint32_t)(size - queued) : 0;
}

/* The window to advertise now; moves rcv_edge along. */
static uint16_t advertise(const struct tcp *t, struct flow *f)
{
	bool spare = f->chunk == FLOW_NONE && t->n_free_chunks;
	uint32_t room =
		f->chunk == FLOW_NONE ? socket_room(f) + (spare ? TCP_CHUNK_SIZE / 2 : 0) : 0;
	uint32_t max = 0xffffu << f->rcv_shift, kept = f->rcv_edge - f->rcv_nxt;

	room = MAX(MIN(room, max), kept);
	if (before(f->rcv_edge, f->rcv_nxt + (room >> f->rcv_shift << f->rcv_shift)))
		f->rcv_edge = f->rcv_nxt + (room >> f->rcv_shift << f->rcv_shift);
	return (uint16_t)(MIN(room, max) >> f->rcv_shift);
}

/* A segment with the len payload bytes that stand in t->tx. */
static void send_segment(struct tcp *t, struct flow *f, uint8_t flags, uint32_t seq, size_t len)
{
	struct tcp_reply r = {.seq = seq,
			      .ack = f->rcv_nxt,
			      .flags = flags | TCP_ACK,
			      .window = advertise(t, f),
			      .gso_size = f->mss};
	size_t total;
	uint8_t *packet = packet_put_tcp(&f->ends, &r, t->tx + PACKET_HEADROOM, len, &total);

	write_packet(t, packet, total);
	f->ack_due = false;
}

static void send_ack(struct tcp *t, struct flow *f)
{
	send_segment(t, f, 0, f->snd_nxt, 0);
}

static void send_syn_ack(struct tcp *t, struct flow *f)
{
	bool v6 = f->ends.src.family == AF_INET6;
	struct tcp_reply r = {.seq = f->iss,
			      .ack = f->rcv_nxt,
			      .flags = TCP_SYN | TCP_ACK,
			      .mss = (uint16_t)(t->mtu - (v6 ? 60 : 40)),
			      .wscale = f->rcv_shift ? f->rcv_shift : TCP_NO_WSCALE};
	uint32_t room =
		MIN(socket_room(f) + TCP_CHUNK_SIZE / 2, 0xffffu); /* never scaled in a SYN */
	size_t total;
	uint8_t *packet;

	r.window = (uint16_t)room;
	f->rcv_edge = f->rcv_nxt + room;
	packet = packet_put_tcp(&f->ends, &r, t->tx + PACKET_HEADROOM, 0, &total);
	write_packet(t, packet, total);
}

/* Of a connection that we know nothing of: RFC 9293 3.10.7.1. */
static void send_reset_to(struct tcp *t, const struct endpoints *ends, const struct tcp_segment *s)
{
	uint32_t len = (uint32_t)s->len + !!(s->flags & TCP_SYN) + !!(s->flags & TCP_FIN);
	struct tcp_reply r = {.flags = TCP_RST};
	size_t total;
	uint8_t *packet;

	if (s->flags & TCP_ACK) {
		r.seq = s->ack;
	} else {
		r.ack = s->seq + len;
		r.flags |= TCP_ACK;
	}
	packet = packet_put_tcp(ends, &r, t->tx + PACKET_HEADROOM, 0, &total);
	write_packet(t, packet, total);
}

static void send_reset(struct tcp *t, struct flow *f)
{
	struct tcp_reply r = {.seq = f->snd_nxt, .ack = f->rcv_nxt, .flags = TCP_RST | TCP_ACK};
	size_t total;
	uint8_t *packet = packet_put_tcp(&f->ends, &r, t->tx + PACKET_HEADROOM, 0, &total);

	write_packet(t, packet, total);
}

/* ---- Ending ---- */

static void close_upstream(struct flow *f, bool reset)
{
	struct linger now = {.l_onoff = 1};

	if (f->fd < 0)
		return;
	if (reset)
		setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(TAKE_FD(f->fd));
}

static void drop(struct tcp *t, struct flow *f, bool reset_upstream)
{
	if (f->dial != FLOW_NONE)
		t->cancel(f, t->arg);
	chunk_free(t, f);
	close_upstream(f, reset_upstream);
	flow_del(t->flows, f);
}

void tcp_abort(struct tcp *t, struct flow *f)
{
	t->counters.resets++;
	if (f->state == FLOW_SYN_RCVD || f->state == FLOW_OPEN)
		send_reset(t, f);
	drop(t, f, true);
}

/* Both ends have closed, and both know. True when f is gone. */
static bool finish(struct tcp *t, struct flow *f)
{
	if (!f->guest_fin || !f->fin_acked || f->chunk != FLOW_NONE)
		return false;
	close_upstream(f, false);
	if (!f->active_close) {
		flow_del(t->flows, f);
		return true;
	}
	flow_set_time_wait(t->flows, f);
	flow_set_timer(t->flows, f, now_ms(t) + TIME_WAIT_MS);
	return true;
}

/* ---- From the upstream to the guest ---- */

static void arm_retransmit(struct tcp *t, struct flow *f)
{
	flow_set_timer(t->flows, f, now_ms(t) + f->rto_ms);
}

/* Puts the place of the next peek to snd_una + offset. */
static void set_peek_place(struct flow *f, uint32_t offset)
{
	int place = (int)offset;

	if (f->peek_offset)
		setsockopt(f->fd, SOL_SOCKET, SO_PEEK_OFF, &place, sizeof(place));
}

#define SKIP_IOVS 32

/* What comes behind the bytes in flight. Without SO_PEEK_OFF (TCP has it since Linux 6.9) those are
 * peeked at, too, into memory that nobody reads. */
static ssize_t peek(const struct tcp *t, const struct flow *f, size_t len)
{
	struct iovec iov[SKIP_IOVS + 1];
	struct msghdr msg = {.msg_iov = iov};
	size_t skip = f->peek_offset ? 0 : in_flight(f), skipped = skip;
	ssize_t n;

	for (; skip && msg.msg_iovlen < SKIP_IOVS; msg.msg_iovlen++) {
		iov[msg.msg_iovlen] = (struct iovec){t->discard, MIN(skip, DISCARD_SIZE)};
		skip -= iov[msg.msg_iovlen].iov_len;
	}
	if (skip) /* more in flight than can be skipped: wait for acknowledgements */
		return errno = EAGAIN, -1;
	iov[msg.msg_iovlen++] = (struct iovec){t->tx + PACKET_HEADROOM, len};
	do
		n = recvmsg(f->fd, &msg, MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n <= 0 || !skipped)
		return n;
	if ((size_t)n > skipped)
		return n - (ssize_t)skipped;
	/* Only what is in flight already: is there an end behind it? */
	return f->upstream_eof ? 0 : (errno = EAGAIN, -1);
}

static void note_sent(struct tcp *t, struct flow *f, uint32_t len)
{
	bool again = before(f->snd_nxt, f->snd_max);

	f->snd_nxt += len;
	if (before(f->snd_max, f->snd_nxt))
		f->snd_max = f->snd_nxt;
	if (again)
		t->counters.retransmits++;
	if (!again && !f->timing) {
		f->timing = true;
		f->rtt_seq = f->snd_nxt;
		f->rtt_start_us = t->now_us;
	}
	if (!f->deadline_ms)
		arm_retransmit(t, f);
}

static void send_fin(struct tcp *t, struct flow *f)
{
	if (!f->fin_sent)
		f->active_close = !f->guest_fin;
	f->fin_sent = true;
	send_segment(t, f, TCP_FIN, f->snd_nxt, 0);
	note_sent(t, f, 1);
}

/* How much may be sent now: nothing below a full segment while there is an ACK to wait for. */
static uint32_t send_room(const struct flow *f)
{
	uint32_t window = MIN(f->snd_wnd, f->cwnd), flying = in_flight(f);
	uint32_t room = window > flying ? window - flying : 0;

	return room < f->mss && flying ? 0 : MIN(room, PAYLOAD_MAX);
}

/* Sends what can be sent. True when f is gone. */
static bool push(struct tcp *t, struct flow *f)
{
	uint32_t room;

	if (f->state != FLOW_OPEN || f->fd < 0 || (f->fin_sent && f->snd_nxt == f->snd_max))
		return false;
	while ((room = send_room(f)) > 0) {
		ssize_t n = peek(t, f, room);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			tcp_abort(t, f);
			return true;
		}
		if (n == 0) {
			f->upstream_eof = true;
			send_fin(t, f);
			break;
		}
		send_segment(t, f, TCP_PSH, f->snd_nxt, (size_t)n);
		note_sent(t, f, (uint32_t)n);
		if ((size_t)n < room && !f->upstream_eof)
			break; /* drained: epoll tells of more, or of the end */
	}
	/* A closed window is asked about, lest its opening was lost. */
	if (!f->snd_wnd && !f->deadline_ms)
		arm_retransmit(t, f);
	return false;
}

/* The guest has these bytes: they leave the socket's queue. */
static void consume(struct tcp *t, struct flow *f, uint32_t len)
{
	t->counters.bytes_down += len;
	while (len > 0 && f->fd >= 0) {
		ssize_t n = f->is_tcp
				    ? recv(f->fd, NULL, len, MSG_TRUNC | MSG_DONTWAIT)
				    : recv(f->fd, t->discard, MIN(len, DISCARD_SIZE), MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EINTR))
			return;
		len -= n > 0 ? (uint32_t)n : 0;
	}
}

static void measure(struct tcp *t, struct flow *f, uint32_t ack)
{
	uint32_t rtt, delta;

	if (!f->timing || before(ack, f->rtt_seq))
		return;
	f->timing = false;
	rtt = (uint32_t)MIN(t->now_us - f->rtt_start_us, UINT32_MAX / 8);
	delta = f->srtt_us > rtt ? f->srtt_us - rtt : rtt - f->srtt_us;
	if (!f->srtt_us) {
		f->srtt_us = MAX(rtt, 1u);
		f->rttvar_us = rtt / 2;
	} else {
		f->rttvar_us += delta / 4 - f->rttvar_us / 4;
		f->srtt_us += rtt / 8 - f->srtt_us / 8;
	}
	f->rto_ms = MIN(MAX((f->srtt_us + 4 * f->rttvar_us) / 1000, RTO_MIN_MS), RTO_MAX_MS);
}

static void grow_cwnd(struct flow *f, uint32_t acked)
{
	if (f->cwnd < f->ssthresh)
		f->cwnd += acked;
	else
		f->cwnd += MAX((uint32_t)((uint64_t)f->mss * acked / f->cwnd), 1u);
	f->cwnd = MIN(f->cwnd, 1u << 30);
}

static void go_back(struct tcp *t, struct flow *f)
{
	f->snd_nxt = f->snd_una;
	f->timing = false;
	f->recover = f->snd_max;
	set_peek_place(f, 0);
	(void)t;
}

static void accept_ack(struct tcp *t, struct flow *f, uint32_t ack)
{
	uint32_t acked = ack - f->snd_una;
	bool fin = f->fin_sent && ack == f->snd_max;

	consume(t, f, acked - fin);
	f->snd_una = ack;
	if (before(f->snd_nxt, ack)) { /* of what was sent before we went back */
		f->snd_nxt = ack;
		set_peek_place(f, 0);
	}
	f->fin_acked = fin;
	f->dup_acks = f->retries = 0;
	measure(t, f, ack);
	grow_cwnd(f, acked);
	if (f->snd_una == f->snd_max)
		flow_set_timer(t->flows, f, 0);
	else
		arm_retransmit(t, f);
}

static void duplicate_ack(struct tcp *t, struct flow *f)
{
	if (++f->dup_acks != 3 || before(f->snd_una, f->recover))
		return;
	f->ssthresh = MAX(in_flight(f) / 2, 2u * f->mss);
	f->cwnd = f->ssthresh;
	go_back(t, f);
}

/* ---- From the guest to the upstream ---- */

/* Bytes that the socket, or the chunk, has now; negative when the upstream is broken. */
static ssize_t pass_up(struct tcp *t, struct flow *f, const uint8_t *data, size_t len)
{
	ssize_t n = 0;

	if (f->chunk == FLOW_NONE) {
		do
			n = send(f->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		while (n < 0 && errno == EINTR);
		if (n < 0 && errno != EAGAIN)
			return -1;
		n = MAX(n, 0);
	}
	if ((size_t)n < len)
		n += (ssize_t)chunk_keep(t, f, data + n, len - (size_t)n);
	if ((size_t)n < len) {
		t->counters.no_room++;
		if (!f->deadline_ms)
			flow_set_timer(t->flows, f, now_ms(t) + RECHECK_MS);
	}
	t->counters.bytes_up += (uint64_t)n;
	return n;
}

static void end_upstream(struct flow *f)
{
	f->guest_fin = true;
	f->fin_waits = f->chunk != FLOW_NONE;
	if (!f->fin_waits)
		shutdown(f->fd, SHUT_WR);
}

/* The part of a segment that is new and inside the window. True when f is gone. */
static bool take_data(struct tcp *t, struct flow *f, const struct tcp_segment *s)
{
	uint32_t skip = f->rcv_nxt - s->seq, room = f->rcv_edge - f->rcv_nxt;
	bool fin = s->flags & TCP_FIN;
	const uint8_t *data = s->data;
	size_t len = s->len;
	ssize_t n = 0;

	if (!len && !fin) {
		f->ack_due =
			f->ack_due || s->seq != f->rcv_nxt; /* a keepalive, or a window probe */
		return false;
	}
	f->ack_due = true;
	if (before(f->rcv_nxt, s->seq) || f->guest_fin) {
		t->counters.out_of_order++;
		return false;
	}
	if (skip > len || (skip == len && !fin))
		return false; /* nothing new */
	data += skip;
	len -= skip;
	if (len > room) {
		len = room;
		fin = false;
	}
	if (len) {
		n = pass_up(t, f, data, len);
		if (n < 0) {
			tcp_abort(t, f);
			return true;
		}
	}
	f->rcv_nxt += (uint32_t)n;
	if (fin && (size_t)n == len) {
		f->rcv_nxt++;
		end_upstream(f);
	}
	return false;
}

/* The chunk first, then what the guest is told. */
void tcp_writable(struct tcp *t, struct flow *f)
{
	uint32_t before_edge = f->rcv_edge - f->rcv_nxt;

	if (f->state != FLOW_OPEN)
		return;
	while (f->chunk != FLOW_NONE) {
		ssize_t n = send(f->fd, chunk_of(t, f) + f->chunk_at, f->chunk_len - f->chunk_at,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			tcp_abort(t, f);
			return;
		}
		f->chunk_at += (uint32_t)n;
		if (f->chunk_at == f->chunk_len)
			chunk_free(t, f);
	}
	if (f->fin_waits) {
		f->fin_waits = false;
		shutdown(f->fd, SHUT_WR);
	}
	if (!f->guest_fin && before_edge < TCP_CHUNK_SIZE / 2)
		send_ack(t, f);
	finish(t, f);
}

/* ---- Segments ---- */

static void start(struct tcp *t, struct flow *f, const struct tcp_segment *s)
{
	bool v6 = f->ends.src.family == AF_INET6;
	uint16_t most = (uint16_t)(t->mtu - (v6 ? 60 : 40));
	uint16_t mss = s->mss ? s->mss : v6 ? MSS6_DEFAULT : MSS_DEFAULT;

	f->rcv_nxt = s->seq + 1;
	f->rcv_edge = f->rcv_nxt;
	f->mss = MIN(MAX(mss, MSS_MIN), most);
	f->snd_shift = s->wscale == TCP_NO_WSCALE ? 0 : s->wscale;
	f->rcv_shift = s->wscale == TCP_NO_WSCALE ? 0 : RCV_SHIFT;
	f->snd_wnd = s->window;
	f->iss = flow_iss(t->flows, &f->ends, t->now_us);
	f->snd_una = f->snd_nxt = f->snd_max = f->recover = f->iss;
	f->rto_ms = RTO_INITIAL_MS;
	f->cwnd = INITIAL_SEGMENTS * f->mss;
	f->ssthresh = UINT32_MAX;
	t->dial(f, t->arg);
}

static void new_connection(struct tcp *t, const struct packet *p)
{
	struct flow *f = flow_add(t->flows, &p->ends);

	if (!f) {
		t->counters.refused++;
		send_reset_to(t, &p->ends, &p->tcp);
		return;
	}
	start(t, f, &p->tcp);
}

static void unknown(struct tcp *t, const struct packet *p)
{
	if (p->tcp.flags & TCP_RST)
		return;
	if ((p->tcp.flags & (TCP_SYN | TCP_ACK | TCP_FIN)) == TCP_SYN)
		new_connection(t, p);
	else
		send_reset_to(t, &p->ends, &p->tcp);
}

static void input_dialing(struct tcp *t, struct flow *f, const struct packet *p)
{
	const struct tcp_segment *s = &p->tcp;

	if (s->flags & TCP_RST) {
		drop(t, f, true);
	} else if ((s->flags & TCP_SYN) && s->seq + 1 != f->rcv_nxt) {
		/* The guest has given up on the first try and uses the port for another. */
		drop(t, f, true);
		unknown(t, p);
	}
}

static void input_time_wait(struct tcp *t, struct flow *f, const struct packet *p)
{
	const struct tcp_segment *s = &p->tcp;

	if (s->flags & TCP_RST) {
		drop(t, f, false);
	} else if ((s->flags & TCP_SYN) && before(f->rcv_nxt, s->seq)) {
		drop(t, f, false); /* RFC 9293 3.6.1 */
		unknown(t, p);
	} else {
		send_ack(t, f);
	}
}

static void challenge(struct tcp *t, struct flow *f)
{
	t->counters.challenges++;
	send_ack(t, f);
}

/* RST and SYN inside a connection (RFC 5961 3.2, 4.2). True when the segment is dealt with. */
static bool input_control(struct tcp *t, struct flow *f, const struct tcp_segment *s)
{
	if (s->flags & TCP_RST) {
		if (s->seq == f->rcv_nxt)
			drop(t, f, true);
		else if (!before(s->seq, f->rcv_nxt) && before(s->seq, f->rcv_edge))
			challenge(t, f);
		return true;
	}
	if (!(s->flags & TCP_SYN))
		return !(s->flags & TCP_ACK);
	if (f->state == FLOW_SYN_RCVD && s->seq + 1 == f->rcv_nxt)
		send_syn_ack(t, f);
	else
		challenge(t, f);
	return true;
}

static void update_window(struct flow *f, const struct tcp_segment *s)
{
	if (!before(f->snd_wl1, s->seq) && (f->snd_wl1 != s->seq || before(s->ack, f->snd_wl2)))
		return; /* older than what we know */
	f->snd_wnd = (uint32_t)s->window << f->snd_shift;
	f->snd_wl1 = s->seq;
	f->snd_wl2 = s->ack;
}

/* True when the segment's ACK makes no sense, and the segment is dealt with. */
static bool input_ack(struct tcp *t, struct flow *f, const struct tcp_segment *s)
{
	uint32_t window = (uint32_t)s->window << f->snd_shift;
	bool bare = !s->len && !(s->flags & TCP_FIN);

	if (before(f->snd_max, s->ack)) {
		challenge(t, f);
		return true;
	}
	if (before(f->snd_una, s->ack))
		accept_ack(t, f, s->ack);
	else if (s->ack == f->snd_una && bare && window == f->snd_wnd && f->snd_una != f->snd_max)
		duplicate_ack(t, f);
	if (!before(s->ack, f->snd_una))
		update_window(f, s);
	return false;
}

static bool input_syn_rcvd(struct tcp *t, struct flow *f, const struct packet *p)
{
	const struct tcp_segment *s = &p->tcp;

	if (s->ack != f->iss + 1) {
		send_reset_to(t, &p->ends, s);
		return true;
	}
	f->state = FLOW_OPEN;
	f->snd_una = f->snd_nxt = f->snd_max = f->recover = s->ack;
	f->snd_wl1 = s->seq;
	f->snd_wl2 = s->ack;
	f->snd_wnd = (uint32_t)s->window << f->snd_shift;
	f->retries = 0;
	f->rto_ms = RTO_INITIAL_MS;
	flow_set_timer(t->flows, f, 0);
	return false;
}

static void input_open(struct tcp *t, struct flow *f, const struct packet *p)
{
	if (input_control(t, f, &p->tcp))
		return;
	if (f->state == FLOW_SYN_RCVD ? input_syn_rcvd(t, f, p) : input_ack(t, f, &p->tcp))
		return;
	if (finish(t, f)) /* LAST-ACK: what else the segment holds is of no interest */
		return;
	if (take_data(t, f, &p->tcp) || push(t, f))
		return;
	if (f->ack_due)
		send_ack(t, f);
	finish(t, f);
}

void tcp_input(struct tcp *t, const struct packet *p)
{
	struct flow *f = flow_find(t->flows, &p->ends);

	if (!f) {
		unknown(t, p);
		return;
	}
	switch (f->state) {
	case FLOW_DIALING:
		input_dialing(t, f, p);
		break;
	case FLOW_SYN_RCVD:
	case FLOW_OPEN:
		input_open(t, f, p);
		break;
	case FLOW_TIME_WAIT:
		input_time_wait(t, f, p);
		break;
	case FLOW_FREE:
	case FLOW_NUM_STATES:
		break;
	}
}

/* ---- The upstream's events ---- */

void tcp_connected(struct tcp *t, struct flow *f, int fd)
{
	int place = 0, one = 1, protocol = 0;
	socklen_t len = sizeof(protocol);

	f->fd = fd;
	f->dial = FLOW_NONE;
	f->is_tcp = !getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) &&
		    protocol == IPPROTO_TCP;
	f->peek_offset = !setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &place, sizeof(place));
	if (f->is_tcp)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	f->state = FLOW_SYN_RCVD;
	t->counters.accepted++;
	send_syn_ack(t, f);
	f->snd_nxt = f->snd_max = f->iss + 1;
	arm_retransmit(t, f);
}

void tcp_failed(struct tcp *t, struct flow *f, enum dial_status why)
{
	uint8_t buf[PACKET_ERROR_MAX];
	struct tcp_segment syn = {.seq = f->rcv_nxt - 1, .flags = TCP_SYN};
	size_t len;

	f->dial = FLOW_NONE;
	if (why == DIAL_REFUSED || why == DIAL_BROKEN || why == DIAL_AUTH) {
		t->counters.refused++;
		send_reset_to(t, &f->ends, &syn);
	} else {
		t->counters.unreachable++;
		len = packet_put_syn_error(why == DIAL_DENIED ? PACKET_PROHIBITED
							      : PACKET_UNREACHABLE,
					   &f->ends, syn.seq, buf);
		write_packet(t, buf, len);
	}
	drop(t, f, true);
}

void tcp_readable(struct tcp *t, struct flow *f)
{
	if (!push(t, f))
		finish(t, f);
}

/* ---- Time ---- */

static void timer_syn_rcvd(struct tcp *t, struct flow *f)
{
	if (++f->retries > SYN_RETRIES) {
		tcp_abort(t, f);
		return;
	}
	send_syn_ack(t, f);
	f->rto_ms = MIN(f->rto_ms * 2, RTO_MAX_MS);
	arm_retransmit(t, f);
}

static void timer_open(struct tcp *t, struct flow *f)
{
	bool outstanding = f->snd_una != f->snd_max;

	if (f->chunk == FLOW_NONE && f->rcv_edge == f->rcv_nxt && !f->guest_fin)
		send_ack(t, f); /* the socket was full, and no chunk free: is there room by now? */
	if (!outstanding && f->snd_wnd)
		return;
	if (++f->retries > RETRIES) {
		tcp_abort(t, f);
		return;
	}
	f->rto_ms = MIN(f->rto_ms * 2, RTO_MAX_MS);
	arm_retransmit(t, f);
	if (!f->snd_wnd) { /* RFC 9293 3.8.6.1, in the way of a keepalive: nothing new is risked */
		f->retries = 0;
		send_segment(t, f, 0, f->snd_una - 1, 0);
		return;
	}
	f->ssthresh = MAX(in_flight(f) / 2, 2u * f->mss);
	f->cwnd = f->mss;
	go_back(t, f);
	push(t, f);
}

void tcp_timer(struct tcp *t, struct flow *f)
{
	switch (f->state) {
	case FLOW_SYN_RCVD:
		timer_syn_rcvd(t, f);
		break;
	case FLOW_OPEN:
		timer_open(t, f);
		break;
	case FLOW_TIME_WAIT:
		drop(t, f, false);
		break;
	case FLOW_DIALING:
	case FLOW_FREE:
	case FLOW_NUM_STATES:
		break;
	}
}
