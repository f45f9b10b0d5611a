// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From the guest to the upstream. Bytes in order go into the socket at once. A chunk is a window
 * over the bytes from chunk_seq on, and holds what cannot go there:
 *
 *	chunk_seq        chunk_at                chunk_len = rcv_nxt
 *	|  in the socket  |  waits for the socket  |  gap  | ahead |  gap  | ahead |
 *
 * Without waiting bytes chunk_at is chunk_len, and what comes in order passes the chunk by.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/util.h"
#include "tunnel/tcp_impl.h"

#define RECHECK_MS 5u /* of a full socket, when every chunk is in use */

/* ---- Chunks ---- */

static uint8_t *chunk_of(const struct tcp *t, const struct flow *f)
{
	return t->chunks + (size_t)f->chunk * TCP_CHUNK_SIZE;
}

void up_free_chunk(struct tcp *t, struct flow *f)
{
	if (f->chunk != FLOW_NONE)
		t->free_chunks[t->n_free_chunks++] = f->chunk;
	f->chunk = FLOW_NONE;
	f->chunk_at = f->chunk_len = 0;
	f->ahead.n = 0;
}

/* How much of len bytes at seq, which is not before rcv_nxt, the flow's chunk has room for. */
static size_t chunk_room(struct tcp *t, struct flow *f, uint32_t seq, size_t len)
{
	uint32_t at = seq - (f->chunk == FLOW_NONE ? f->rcv_nxt : f->chunk_seq);

	if (at >= TCP_CHUNK_SIZE || (f->chunk == FLOW_NONE && !t->n_free_chunks))
		return 0;
	if (f->chunk == FLOW_NONE) {
		f->chunk = t->free_chunks[--t->n_free_chunks];
		f->chunk_seq = f->rcv_nxt;
		f->chunk_at = f->chunk_len = 0;
	}
	return MIN(len, TCP_CHUNK_SIZE - at);
}

/* Keeps what comes next, at rcv_nxt, and was not taken by the socket; returns how much of it. */
static size_t keep(struct tcp *t, struct flow *f, uint32_t seq, const uint8_t *data, size_t len)
{
	len = chunk_room(t, f, seq, len);
	if (!len)
		return 0;
	if (!up_waits(f))
		f->chunk_at = f->chunk_len = seq - f->chunk_seq;
	memcpy(chunk_of(t, f) + f->chunk_len, data, len);
	f->chunk_len += (uint32_t)len;
	return len;
}

/* A segment behind a gap: kept if there is room, and the guest is told what is missing. */
static void keep_ahead(struct tcp *t, struct flow *f, const struct tcp_segment *s)
{
	uint32_t room = f->rcv_edge - s->seq;
	size_t len;

	t->counters.out_of_order++;
	if (!s->len || !before(s->seq, f->rcv_edge))
		return;
	len = chunk_room(t, f, s->seq, MIN(s->len, room));
	if (!len || !ranges_add(&f->ahead, s->seq, s->seq + (uint32_t)len))
		return;
	memcpy(chunk_of(t, f) + (s->seq - f->chunk_seq), s->data, len);
	f->ahead_last = s->seq;
}

/* What was behind a gap, and is not any more, comes next. */
static void join_ahead(struct tcp *t, struct flow *f)
{
	uint32_t next = f->rcv_nxt;

	if (!f->ahead.n)
		return;
	while (f->ahead.n && !before(next, f->ahead.r[0].start)) {
		if (before(next, f->ahead.r[0].end))
			next = f->ahead.r[0].end;
		ranges_trim(&f->ahead, next);
	}
	if (next == f->rcv_nxt)
		return;
	if (!up_waits(f))
		f->chunk_at = f->rcv_nxt - f->chunk_seq;
	f->chunk_len = next - f->chunk_seq;
	t->counters.bytes_up += next - f->rcv_nxt;
	f->rcv_nxt = next;
}

/* ---- The window ---- */

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

uint32_t up_window(const struct tcp *t, struct flow *f)
{
	bool spare = f->chunk == FLOW_NONE && t->n_free_chunks;
	uint32_t room = up_waits(f) ? 0 : socket_room(f) + (spare ? TCP_CHUNK_SIZE / 2 : 0);
	uint32_t max = 0xffffu << f->rcv_shift, kept = f->rcv_edge - f->rcv_nxt;

	room = MIN(MAX(room, kept), max);
	if (before(f->rcv_edge, f->rcv_nxt + (room >> f->rcv_shift << f->rcv_shift)))
		f->rcv_edge = f->rcv_nxt + (room >> f->rcv_shift << f->rcv_shift);
	return room;
}

uint32_t up_first_window(struct flow *f)
{
	uint32_t room = MIN(socket_room(f) + TCP_CHUNK_SIZE / 2, 0xffffu);

	f->rcv_edge = f->rcv_nxt + room;
	return room;
}

/* ---- Passing on ---- */

/* Bytes that the socket, or the chunk, has now; -errno when the upstream is broken. */
static ssize_t pass(struct tcp *t, struct flow *f, const uint8_t *data, size_t len)
{
	ssize_t n = 0;

	if (!up_waits(f)) {
		do
			n = send(f->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		while (n < 0 && errno == EINTR);
		if (n < 0 && errno != EAGAIN)
			return -errno;
		n = MAX(n, 0);
	}
	if ((size_t)n < len)
		n += (ssize_t)keep(t, f, f->rcv_nxt + (uint32_t)n, data + n, len - (size_t)n);
	if ((size_t)n < len) {
		t->counters.no_room++;
		if (is_resting(f)) {
			f->idle = false;
			flow_set_timer(t->flows, f, now_ms(t) + RECHECK_MS);
		}
	}
	t->counters.bytes_up += (uint64_t)n;
	return n;
}

static void end_upstream(struct tcp *t, struct flow *f)
{
	f->guest_fin = true;
	f->fin_waits = up_waits(f);
	if (f->fin_waits)
		return;
	up_free_chunk(t, f);
	shutdown(f->fd, SHUT_WR);
}

int up_flush(struct tcp *t, struct flow *f)
{
	while (up_waits(f)) {
		ssize_t n = send(f->fd, chunk_of(t, f) + f->chunk_at, f->chunk_len - f->chunk_at,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		f->chunk_at += (uint32_t)n;
	}
	if (!f->ahead.n)
		up_free_chunk(t, f);
	if (f->fin_waits)
		end_upstream(t, f);
	return 1;
}

int up_take(struct tcp *t, struct flow *f, const struct tcp_segment *s)
{
	uint32_t skip = f->rcv_nxt - s->seq, room = f->rcv_edge - f->rcv_nxt;
	bool fin = s->flags & TCP_FIN;
	size_t len = s->len;
	ssize_t n = 0;
	int r;

	if (!len && !fin) { /* ahead or behind: a keepalive, or a window probe */
		f->ack_due = f->ack_due || s->seq != f->rcv_nxt;
		return 0;
	}
	f->ack_due = true;
	if (f->guest_fin)
		return 0;
	if (before(f->rcv_nxt, s->seq)) {
		keep_ahead(t, f, s);
		return 0;
	}
	if (skip > len || (skip == len && !fin))
		return 0; /* nothing new */
	len -= skip;
	if (len > room) {
		len = room;
		fin = false;
	}
	if (len)
		n = pass(t, f, s->data + skip, len);
	if (n < 0)
		return (int)n;
	f->rcv_nxt += (uint32_t)n;
	join_ahead(t, f);
	r = f->chunk == FLOW_NONE ? 0 : up_flush(t, f);
	if (r >= 0 && fin && f->rcv_nxt == s->seq + (uint32_t)s->len) {
		f->rcv_nxt++;
		end_upstream(t, f);
	}
	return MIN(r, 0);
}
