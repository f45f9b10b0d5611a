// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * Purpose. The peer is a TCP on the other side of a TUN device: the host's own, or that of a
 * container or VM that the host forwards for. We are the server of each of its connections and
 * relay the bytes to and from an upstream socket. It is a terminator, not a general stack: it never
 * opens a connection, asks for no option that the guest has not asked for, and buffers next to
 * nothing.
 *
 * Data towards the guest stays in the upstream socket's receive queue until the guest has
 * acknowledged it: it is peeked at (MSG_PEEK, with SO_PEEK_OFF as the place of snd_nxt), sent, and
 * consumed by the acknowledgement. To retransmit is to move the place back to snd_una. The socket's
 * own receive window is the back pressure on the upstream.
 *
 * Data from the guest goes into the upstream socket at once, and only what the socket took is
 * acknowledged. The window we advertise is what the socket has room for, plus half a chunk: when
 * the estimate was too high, the rest of a segment waits in a chunk from a small pool, and the
 * socket's failure to take it makes epoll tell us when there is room again. Segments behind a gap
 * wait in the same chunk, as far as it reaches.
 *
 * Invariants (RFC 9293 names):
 *  1. snd_una <= snd_nxt <= snd_max. The bytes in [snd_una, snd_max), without a FIN at the end, are
 *     the first of the upstream socket's receive queue.
 *  2. rcv_nxt counts only what the upstream socket, or the flow's chunk, has.
 *  3. rcv_edge, the right edge of the advertised window, never moves left.
 *  4. Nothing of a flow in FLOW_DIALING has been answered: the guest sees a connection exactly when
 *     there is one.
 *  5. A flow that is not FLOW_DIALING has a deadline: of what is unacknowledged, of the guest's
 *     closed window, of a keepalive, of FLOW_TIME_WAIT.
 *  6. A flow has a chunk exactly while something waits in it.
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
 *	          no ACK in RETRIES,
 *	          no keepalive answered    (gone)      the other side is reset
 *	TIME_WAIT time, RST, a newer SYN   (gone)
 *
 * Retransmission: RFC 6298 for the time, RFC 6675 (SACK) or 5681 for what is lost; congestion
 * control of RFC 5681. Timestamps (RFC 7323) are echoed and keep out what is old (PAWS); the round
 * trip is measured without them, more finely. RST and SYN inside an open connection are checked as
 * RFC 5961 demands. A guest that has been silent for long is asked whether it is still there; its
 * own keepalives are answered.
 *
 * Path MTU: a guest is behind links of its own, which may carry less than it announced. Whoever
 * cannot pass a segment on says so by ICMP (RFC 1191, RFC 8201); the flow's mss goes down, and what
 * is not acknowledged is sent again at once, since that was no congestion. It never goes up again:
 * most flows are short, and a path within one host rarely changes.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "tunnel/tcp_impl.h"

#define MSS_DEFAULT 536u /* RFC 9293 3.7.1 */
#define MSS6_DEFAULT 1220u
#define MSS_MIN 64u
#define MTU6_MIN 1280u /* RFC 8201 4: what says less is a lie */
#define RCV_SHIFT 8
#define INITIAL_SEGMENTS 10u /* RFC 6928 */

#define SYN_RETRIES 5
#define RETRIES 12
#define TIME_WAIT_MS 60000u
#define KEEPALIVE_MS 60000u /* between questions */
#define KEEPALIVES 5

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

/* ---- Ending ---- */

/* A process that another thread has just forked has a copy until its exec, and as long as there is
 * one, epoll would tell of this flow to whoever has its place. */
static void close_upstream(const struct tcp *t, struct flow *f, bool reset)
{
	struct linger now = {.l_onoff = 1};

	if (f->fd < 0)
		return;
	if (reset)
		setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	epoll_ctl(t->epoll, EPOLL_CTL_DEL, f->fd, NULL);
	close(TAKE_FD(f->fd));
}

static void drop(struct tcp *t, struct flow *f, bool reset_upstream)
{
	if (f->dial != FLOW_NONE)
		t->cancel(f, t->arg);
	up_free_chunk(t, f);
	close_upstream(t, f, reset_upstream);
	flow_del(t->flows, f);
}

void tcp_abort(struct tcp *t, struct flow *f)
{
	t->counters.resets++;
	if (f->state == FLOW_SYN_RCVD || f->state == FLOW_OPEN)
		segment_reset(t, f);
	drop(t, f, true);
}

/* Both ends have closed, and both know. True when f is gone. */
static bool finish(struct tcp *t, struct flow *f)
{
	if (!f->guest_fin || !f->fin_acked || up_waits(f))
		return false;
	close_upstream(t, f, false);
	if (!f->active_close) {
		flow_del(t->flows, f);
		return true;
	}
	flow_set_time_wait(t->flows, f);
	flow_set_timer(t->flows, f, now_ms(t) + TIME_WAIT_MS);
	return true;
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
	f->timestamps = s->has_time;
	f->time_recent = s->time;
	if (f->timestamps)
		f->mss = (uint16_t)(f->mss - TCP_TIME_BYTES);
	f->sack = s->sack_allowed;
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
		segment_reset_to(t, &p->ends, &p->tcp);
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
		segment_reset_to(t, &p->ends, &p->tcp);
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
		segment_ack(t, f);
	}
}

static void challenge(struct tcp *t, struct flow *f)
{
	t->counters.challenges++;
	segment_ack(t, f);
}

/* RST and SYN inside a connection (RFC 5961 3.2, 4.2). True when the segment is dealt with. */
static bool input_control(struct tcp *t, struct flow *f, const struct tcp_segment *s)
{
	if (s->flags & TCP_RST) {
		if (s->seq == f->rcv_nxt)
			drop(t, f, true);
		else if (!before(s->seq, f->rcv_nxt) && !before(f->rcv_edge, s->seq))
			challenge(t, f); /* the edge: of who has filled the window */
		return true;
	}
	if (!(s->flags & TCP_SYN))
		return !(s->flags & TCP_ACK);
	if (f->state == FLOW_SYN_RCVD && s->seq + 1 == f->rcv_nxt)
		segment_syn_ack(t, f);
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

/* RFC 7323 5.3 (PAWS): a segment from before the sequence numbers came round. */
static bool is_old(const struct flow *f, const struct tcp_segment *s)
{
	return f->timestamps && s->has_time && !(s->flags & TCP_RST) &&
	       before(s->time, f->time_recent);
}

/* RFC 7323 4.3: what is echoed belongs to the segment that is acknowledged next. */
static void note_time(struct flow *f, const struct tcp_segment *s)
{
	if (f->timestamps && s->has_time && !before(f->acked_to, s->seq))
		f->time_recent = s->time;
}

/* RFC 5961 5.2: of what was sent, and not of long ago. */
static bool is_ack_sane(const struct flow *f, uint32_t ack)
{
	return !before(f->snd_max, ack) && !before(ack, f->snd_una - (0xffffu << f->snd_shift));
}

static bool input_syn_rcvd(struct tcp *t, struct flow *f, const struct packet *p)
{
	const struct tcp_segment *s = &p->tcp;

	if (s->ack != f->iss + 1) {
		segment_reset_to(t, &p->ends, s);
		return true;
	}
	f->state = FLOW_OPEN;
	f->snd_una = f->snd_nxt = f->snd_max = f->recover = s->ack;
	f->snd_wl1 = s->seq;
	f->snd_wl2 = s->ack;
	f->snd_wnd = (uint32_t)s->window << f->snd_shift;
	f->retries = 0;
	f->rto_ms = RTO_INITIAL_MS;
	down_rest(t, f);
	return false;
}

/* True when the segment's ACK makes no sense, or f is gone. */
static bool input_ack(struct tcp *t, struct flow *f, const struct packet *p)
{
	if (f->state == FLOW_SYN_RCVD)
		return input_syn_rcvd(t, f, p);
	if (!is_ack_sane(f, p->tcp.ack)) {
		challenge(t, f);
		return true;
	}
	if (down_ack(t, f, &p->tcp)) {
		tcp_abort(t, f);
		return true;
	}
	if (!before(p->tcp.ack, f->snd_una))
		update_window(f, &p->tcp);
	return false;
}

/* Of a flow that is no more nothing is owed: its place in the pool says so. */
void tcp_flush(struct tcp *t)
{
	struct flow *f = TAKE_PTR(t->owes_ack);

	if (f && f->state == FLOW_OPEN && f->ack_due)
		segment_ack(t, f);
}

/* A guest that may have lost something, or closes, wants to know at once (RFC 5681 4.2). */
static void answer(struct tcp *t, struct flow *f, bool took_data)
{
	if (!took_data || f->ahead.n || f->guest_fin) {
		segment_ack(t, f);
		return;
	}
	if (t->owes_ack != f)
		tcp_flush(t);
	t->owes_ack = f;
}

static void input_open(struct tcp *t, struct flow *f, const struct packet *p)
{
	const struct tcp_segment *s = &p->tcp;
	uint32_t before_data = f->rcv_nxt;

	if (is_old(f, s)) {
		segment_ack(t, f);
		return;
	}
	if (input_control(t, f, s) || input_ack(t, f, p))
		return;
	f->heard_ms = now_ms(t);
	note_time(f, s);
	if (finish(t, f)) /* LAST-ACK: what else the segment holds is of no interest */
		return;
	if (up_take(t, f, s) || down_push(t, f)) {
		tcp_abort(t, f);
		return;
	}
	if (f->ack_due)
		answer(t, f, f->rcv_nxt != before_data);
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

/* ---- Path MTU ---- */

/* RFC 5927 4.1 and 7: whoever makes it up would have to guess what is in flight. */
static bool is_in_flight(const struct flow *f, uint32_t seq)
{
	return f->state == FLOW_OPEN && !before(seq, f->snd_una) && before(seq, f->snd_max);
}

bool tcp_too_big(struct tcp *t, const struct packet *p)
{
	struct flow *f = flow_find(t->flows, &p->ends);
	bool v6 = p->ends.src.family == AF_INET6;
	uint32_t headers = v6 ? 60 : 40, mtu = MAX(p->mtu, v6 ? MTU6_MIN : MSS_MIN + headers);
	uint32_t mss = mtu - headers;

	if (!f || !is_in_flight(f, p->tcp.seq))
		return f;
	if (f->timestamps)
		mss -= TCP_TIME_BYTES;
	if (mss >= f->mss)
		return true;
	f->mss = (uint16_t)mss;
	if (down_resend(t, f))
		tcp_abort(t, f);
	return true;
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
	/* Else the kernel leaves an urgent byte out, and places behind it are wrong by one. */
	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one));
	f->state = FLOW_SYN_RCVD;
	t->counters.accepted++;
	segment_syn_ack(t, f);
	f->snd_nxt = f->snd_max = f->peek_seq = f->iss + 1;
	down_arm(t, f);
}

void tcp_failed(struct tcp *t, struct flow *f, enum dial_status why)
{
	uint8_t buf[PACKET_ERROR_MAX];
	struct tcp_segment syn = {.seq = f->rcv_nxt - 1, .flags = TCP_SYN};
	size_t len;

	f->dial = FLOW_NONE;
	if (why == DIAL_REFUSED || why == DIAL_BROKEN || why == DIAL_AUTH) {
		t->counters.refused++;
		segment_reset_to(t, &f->ends, &syn);
	} else {
		t->counters.unreachable++;
		len = packet_put_syn_error(why == DIAL_DENIED ? PACKET_PROHIBITED
							      : PACKET_UNREACHABLE,
					   &f->ends, syn.seq, buf);
		segment_write(t, buf, len);
	}
	drop(t, f, true);
}

void tcp_readable(struct tcp *t, struct flow *f)
{
	if (down_push(t, f))
		tcp_abort(t, f);
	else
		finish(t, f);
}

/* What waits first, then what the guest is told. */
void tcp_writable(struct tcp *t, struct flow *f)
{
	uint32_t before_edge = f->rcv_edge - f->rcv_nxt;
	int r;

	if (f->state != FLOW_OPEN)
		return;
	r = up_flush(t, f);
	if (r < 0)
		tcp_abort(t, f);
	if (r <= 0)
		return;
	if (!f->guest_fin && before_edge < TCP_CHUNK_SIZE / 2)
		segment_ack(t, f);
	finish(t, f);
}

/* ---- Time ---- */

static void timer_syn_rcvd(struct tcp *t, struct flow *f)
{
	if (++f->retries > SYN_RETRIES) {
		tcp_abort(t, f);
		return;
	}
	segment_syn_ack(t, f);
	f->rto_ms = MIN(f->rto_ms * 2, RTO_MAX_MS);
	down_arm(t, f);
}

/* Nothing is unacknowledged: is the guest still there? */
static void keepalive(struct tcp *t, struct flow *f)
{
	if (now_ms(t) - f->heard_ms < KEEPALIVE_IDLE_MS) {
		f->retries = 0;
		down_rest(t, f);
		return;
	}
	if (++f->retries > KEEPALIVES) {
		tcp_abort(t, f);
		return;
	}
	segment_send(t, f, 0, f->snd_una - 1, 0);
	flow_set_timer(t->flows, f, now_ms(t) + KEEPALIVE_MS);
}

/* RFC 9293 3.8.6.1, in the way of a keepalive: nothing new is risked. A guest that answers may keep
 * its window closed as long as it likes. */
static void probe_window(struct tcp *t, struct flow *f)
{
	if (now_ms(t) - f->heard_ms < KEEPALIVE_IDLE_MS)
		f->retries = 0;
	segment_send(t, f, 0, f->snd_una - 1, 0);
}

static void timer_open(struct tcp *t, struct flow *f)
{
	bool outstanding = f->snd_una != f->snd_max;

	if (!up_waits(f) && f->rcv_edge == f->rcv_nxt && !f->guest_fin)
		segment_ack(t,
			    f); /* the socket was full, and no chunk free: is there room by now? */
	if (!outstanding && f->snd_wnd) {
		keepalive(t, f);
		return;
	}
	if (++f->retries > RETRIES) {
		tcp_abort(t, f);
		return;
	}
	f->rto_ms = MIN(f->rto_ms * 2, RTO_MAX_MS);
	down_arm(t, f);
	if (!f->snd_wnd)
		probe_window(t, f);
	else if (down_timeout(t, f))
		tcp_abort(t, f);
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
