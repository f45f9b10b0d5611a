// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <unistd.h>

#include "tunnel/tcp_impl.h"

void segment_write(struct tcp *t, const uint8_t *packet, size_t len)
{
	while (write(t->tun, packet, len) < 0 && errno == EINTR)
		;
}

/* Milliseconds, from a beginning of the connection's own (RFC 7323 5.4). */
static uint32_t time_value(const struct tcp *t, const struct flow *f)
{
	return (uint32_t)now_ms(t) + f->iss;
}

static void put_time(const struct tcp *t, const struct flow *f, struct tcp_reply *r)
{
	r->has_time = f->timestamps;
	r->time = time_value(t, f);
	r->time_echo = f->time_recent;
}

/* RFC 2018 4: the range that grew last comes first. */
static void order_ahead(const struct flow *f, struct ranges *ret)
{
	unsigned int i = 0;

	*ret = f->ahead;
	while (i < ret->n &&
	       (before(f->ahead_last, ret->r[i].start) || !before(f->ahead_last, ret->r[i].end)))
		i++;
	if (i < ret->n) {
		ret->r[0] = f->ahead.r[i];
		ret->r[i] = f->ahead.r[0];
	}
}

/* Writes the headers in front of len bytes of payload, and sends all. */
static void put(struct tcp *t, const struct endpoints *ends, const struct tcp_reply *r, size_t len)
{
	size_t total;
	uint8_t *packet = packet_put_tcp(ends, r, t->tx + PACKET_HEADROOM, len, &total);

	segment_write(t, packet, total);
}

void segment_send(struct tcp *t, struct flow *f, uint8_t flags, uint32_t seq, size_t len)
{
	struct tcp_reply r = {.seq = seq,
			      .ack = f->rcv_nxt,
			      .flags = flags | TCP_ACK,
			      .window = (uint16_t)(up_window(t, f) >> f->rcv_shift),
			      .gso_size = f->mss};
	struct ranges ahead;

	put_time(t, f, &r);
	if (f->sack && f->ahead.n && !len) { /* with data there may be no room for it */
		order_ahead(f, &ahead);
		r.sack = &ahead;
	}
	put(t, &f->ends, &r, len);
	f->acked_to = f->rcv_nxt;
	f->ack_due = f->ack_due && f->ahead.n && len;
}

/* Behind all that was ever sent, even while it is sent again: what is before the place that the
 * guest has come to, it does not take (RFC 9293 3.10.7.4). */
void segment_ack(struct tcp *t, struct flow *f)
{
	segment_send(t, f, 0, f->snd_max, 0);
}

void segment_syn_ack(struct tcp *t, struct flow *f)
{
	bool v6 = f->ends.src.family == AF_INET6;
	struct tcp_reply r = {.seq = f->iss,
			      .ack = f->rcv_nxt,
			      .flags = TCP_SYN | TCP_ACK,
			      .window = (uint16_t)up_first_window(f),
			      .mss = (uint16_t)(t->mtu - (v6 ? 60 : 40)),
			      .wscale = f->rcv_shift ? f->rcv_shift : TCP_NO_WSCALE,
			      .sack_allowed = f->sack};

	put_time(t, f, &r);
	put(t, &f->ends, &r, 0);
	f->acked_to = f->rcv_nxt;
}

void segment_reset(struct tcp *t, struct flow *f)
{
	struct tcp_reply r = {.seq = f->snd_max, .ack = f->rcv_nxt, .flags = TCP_RST | TCP_ACK};

	put(t, &f->ends, &r, 0);
}

void segment_reset_to(struct tcp *t, const struct endpoints *ends, const struct tcp_segment *s)
{
	uint32_t len = (uint32_t)s->len + !!(s->flags & TCP_SYN) + !!(s->flags & TCP_FIN);
	struct tcp_reply r = {.flags = TCP_RST};

	if (s->flags & TCP_ACK) {
		r.seq = s->ack;
	} else {
		r.ack = s->seq + len;
		r.flags |= TCP_ACK;
	}
	put(t, ends, &r, 0);
}
