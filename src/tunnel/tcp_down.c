// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From the upstream to the guest: peeking, sending, and what acknowledgements say.
 *
 * A loss is noticed by three duplicate acknowledgements or by as much selectively acknowledged
 * behind it; then the gaps between what the guest has are sent again, each once, and new data goes
 * on (RFC 6675). A guest without SACK gets everything from the loss on again. When nothing comes
 * back for the retransmission time, what was selectively acknowledged is forgotten (RFC 2018 8),
 * and all is sent again, slowly at first.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/util.h"
#include "tunnel/tcp_impl.h"

#define RTO_MIN_MS 200u
#define DUP_ACKS 3u

void down_arm(struct tcp *t, struct flow *f)
{
	f->idle = false;
	flow_set_timer(t->flows, f, now_ms(t) + f->rto_ms);
}

void down_rest(struct tcp *t, struct flow *f)
{
	f->idle = true;
	flow_set_timer(t->flows, f, now_ms(t) + KEEPALIVE_IDLE_MS);
}

/* ---- Sending ---- */

#define SKIP_IOVS 32

/* The bytes from seq on, which is in [snd_una, snd_nxt]. Without SO_PEEK_OFF (TCP has it since
 * Linux 6.9) those before it are peeked at, too, into memory that nobody reads. */
static ssize_t peek(const struct tcp *t, struct flow *f, uint32_t seq, size_t len)
{
	struct iovec iov[SKIP_IOVS + 1];
	struct msghdr msg = {.msg_iov = iov};
	int place = (int)(seq - f->snd_una);
	size_t skip = f->peek_offset ? 0 : (size_t)place, skipped = skip;
	ssize_t n;

	if (f->peek_offset && f->peek_seq != seq &&
	    setsockopt(f->fd, SOL_SOCKET, SO_PEEK_OFF, &place, sizeof(place)))
		return -errno;
	f->peek_seq = seq; /* whether or not there is anything */
	for (; skip && msg.msg_iovlen < SKIP_IOVS; msg.msg_iovlen++) {
		iov[msg.msg_iovlen] = (struct iovec){t->discard, MIN(skip, DISCARD_SIZE)};
		skip -= iov[msg.msg_iovlen].iov_len;
	}
	if (skip) /* more in flight than can be skipped: wait for acknowledgements */
		return -EAGAIN;
	iov[msg.msg_iovlen++] = (struct iovec){t->tx + PACKET_HEADROOM, len};
	do
		n = recvmsg(f->fd, &msg, MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	f->peek_seq += (uint32_t)n;
	if (n == 0 || (size_t)n > skipped)
		return n - (n ? (ssize_t)skipped : 0);
	/* Only what is in flight already: is there an end behind it? */
	return f->upstream_eof ? 0 : -EAGAIN;
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
	if (is_resting(f))
		down_arm(t, f);
}

static void send_fin(struct tcp *t, struct flow *f)
{
	if (!f->fin_sent)
		f->active_close = !f->guest_fin;
	f->fin_sent = true;
	segment_send(t, f, TCP_FIN, f->snd_nxt, 0);
	note_sent(t, f, 1);
}

/* How much may be sent now: nothing below a full segment while there is an ACK to wait for. */
static uint32_t send_room(const struct flow *f)
{
	uint32_t flying = in_flight(f), pipe = flying - MIN(flying, ranges_total(&f->sacked));
	uint32_t path = f->cwnd > pipe ? f->cwnd - pipe : 0;
	uint32_t guest = f->snd_wnd > flying ? f->snd_wnd - flying : 0;
	uint32_t room = MIN(path, guest);

	return room < f->mss && flying ? 0 : MIN(room, PAYLOAD_MAX);
}

int down_push(struct tcp *t, struct flow *f)
{
	uint32_t room;

	if (f->state != FLOW_OPEN || f->fd < 0 || (f->fin_sent && f->snd_nxt == f->snd_max))
		return 0;
	while ((room = send_room(f)) > 0) {
		ssize_t n = peek(t, f, f->snd_nxt, room);

		if (n == -EAGAIN)
			break;
		if (n < 0)
			return (int)n;
		if (n == 0) {
			f->upstream_eof = true;
			send_fin(t, f);
			break;
		}
		segment_send(t, f, TCP_PSH, f->snd_nxt, (size_t)n);
		note_sent(t, f, (uint32_t)n);
		if ((size_t)n < room && !f->upstream_eof)
			break; /* drained: epoll tells of more, or of the end */
	}
	/* A closed window is asked about, lest its opening was lost. */
	if (!f->snd_wnd && is_resting(f))
		down_arm(t, f);
	return 0;
}

/* ---- Loss ---- */

/* RFC 5681 3.1: half of what was on its way. */
static void slow_down(struct flow *f, uint32_t cwnd)
{
	f->ssthresh = MAX(in_flight(f) / 2, 2u * f->mss);
	f->cwnd = cwnd ? cwnd : f->ssthresh;
	f->recover = f->snd_max;
	f->timing = false; /* Karn: what is measured might be sent again */
}

/* One gap below what the guest has, [f->resend, end), or the part that one segment holds. */
static int resend(struct tcp *t, struct flow *f, uint32_t end)
{
	ssize_t n = peek(t, f, f->resend, MIN(end - f->resend, PAYLOAD_MAX));

	if (n <= 0) /* these bytes are in the socket, or it is broken */
		return n == -EAGAIN || n == 0 ? -EPROTO : (int)n;
	segment_send(t, f, TCP_PSH, f->resend, (size_t)n);
	f->resend += (uint32_t)n;
	t->counters.retransmits++;
	return 0;
}

/* At most a window's worth at a time; each byte once in a recovery. */
static int resend_gaps(struct tcp *t, struct flow *f)
{
	uint32_t sent = 0;

	if (before(f->resend, f->snd_una))
		f->resend = f->snd_una;
	while (sent < f->cwnd) {
		uint32_t from = f->resend = ranges_skip(&f->sacked, f->resend);
		uint32_t end = ranges_until(&f->sacked, from, f->snd_max);
		int r;

		if (end == f->snd_max) /* the guest has nothing behind it */
			return 0;
		r = resend(t, f, end);
		if (r)
			return r;
		sent += f->resend - from;
	}
	return 0;
}

/* Takes note of what the guest has, and notices what it has not. */
static bool note_sack(struct flow *f, const struct tcp_segment *s)
{
	uint32_t total = ranges_total(&f->sacked);

	for (unsigned int i = 0; i < s->n_sack; i++) {
		const struct seq_range *r = &s->sack[i];

		/* RFC 2883: a block below the ACK tells of a duplicate. */
		if (before(f->snd_una, r->start) && before(r->start, r->end) &&
		    !before(f->snd_max, r->end))
			ranges_add(&f->sacked, r->start, r->end);
	}
	return ranges_total(&f->sacked) != total;
}

/* While everything is being sent again, nothing more is to be noticed. */
static bool is_loss(const struct flow *f)
{
	return f->sacked.n && f->snd_nxt == f->snd_max && !before(f->snd_una, f->recover) &&
	       (f->dup_acks == DUP_ACKS || ranges_total(&f->sacked) >= DUP_ACKS * f->mss);
}

static int recover(struct tcp *t, struct flow *f)
{
	if (f->recovering && !before(f->snd_una, f->recover))
		f->recovering = false;
	if (!f->recovering && is_loss(f)) {
		slow_down(f, 0);
		f->recovering = true;
		f->resend = f->snd_una;
	}
	return f->recovering ? resend_gaps(t, f) : 0;
}

/* ---- Acknowledgements ---- */

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

/* RFC 6298. */
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
	if (f->recovering)
		return;
	if (f->cwnd < f->ssthresh)
		f->cwnd += acked;
	else
		f->cwnd += MAX((uint32_t)((uint64_t)f->mss * acked / f->cwnd), 1u);
	f->cwnd = MIN(f->cwnd, 1u << 30);
}

static void accept_ack(struct tcp *t, struct flow *f, uint32_t ack)
{
	uint32_t acked = ack - f->snd_una;
	bool fin = f->fin_sent && ack == f->snd_max;

	consume(t, f, acked - fin);
	f->snd_una = ack;
	if (before(f->snd_nxt, ack)) /* of what was sent before a timeout */
		f->snd_nxt = ack;
	if (before(f->peek_seq, ack)) /* the kernel moves the place along */
		f->peek_seq = ack;
	ranges_trim(&f->sacked, ack);
	f->fin_acked = fin;
	f->dup_acks = f->retries = 0;
	measure(t, f, ack);
	grow_cwnd(f, acked);
	if (f->snd_una == f->snd_max)
		down_rest(t, f);
	else
		down_arm(t, f);
}

/* Sends everything behind snd_una again, as far as the window goes. */
static void go_back(struct flow *f)
{
	f->snd_nxt = f->snd_una;
	f->sacked.n = 0;
	f->recovering = false;
}

/* Of a guest without SACK. */
static void duplicate_ack(struct flow *f)
{
	if (f->dup_acks == DUP_ACKS || ++f->dup_acks < DUP_ACKS || before(f->snd_una, f->recover))
		return;
	slow_down(f, 0);
	go_back(f);
}

static bool is_duplicate(const struct flow *f, const struct tcp_segment *s)
{
	uint32_t window = (uint32_t)s->window << f->snd_shift;

	return s->ack == f->snd_una && !s->len && !(s->flags & TCP_FIN) && window == f->snd_wnd &&
	       f->snd_una != f->snd_max;
}

int down_ack(struct tcp *t, struct flow *f, const struct tcp_segment *s)
{
	if (before(f->snd_una, s->ack))
		accept_ack(t, f, s->ack);
	else if (!f->sack && is_duplicate(f, s))
		duplicate_ack(f);
	if (f->sack && note_sack(f, s) && f->dup_acks < DUP_ACKS)
		f->dup_acks++;
	return f->sacked.n || f->recovering ? recover(t, f) : 0;
}

int down_resend(struct tcp *t, struct flow *f)
{
	f->timing = false;
	go_back(f);
	return down_push(t, f);
}

int down_timeout(struct tcp *t, struct flow *f)
{
	slow_down(f, f->mss);
	return down_resend(t, f);
}
