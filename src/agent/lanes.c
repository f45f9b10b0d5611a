// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation: lanes
 *
 * Two rings of whole frames. They take turns in writing, and a turn ends where a frame ends:
 * as much as the small lane has, up to SMALL_TURN; of bulk no more than BULK_TURN, since that is
 * what a small frame waits for at most. Bulk has its turn, too, when small frames have had
 * SMALL_RUN bytes while it waited: a flood of small datagrams slows the others down and does not
 * stop them.
 *
 * Datagrams of one flow stay in order: one that would be small goes by the bulk lane as long as an
 * earlier one of its flow is still in there. QUIC takes three packets that came earlier than
 * they should for a loss (RFC 9002 6.1.1).
 *
 * The channel has buffers of its own, OpenSSH's alone some 2 MiB, and what is small would wait
 * behind the bulk in these. So bulk may be ahead of what the other side has acknowledged by a
 * window only, which follows the path: once in a round trip it grows when it was too small, and
 * shrinks when the round trip takes TARGET_US longer than the shortest one lately (the way of
 * LEDBAT, RFC 6817). What may be queued follows the window. Acknowledgements count frames as they
 * are read, HELLO left out.
 *
 * Invariants, for each ring:
 *  1. frame <= tail <= head, and head - tail <= size.
 *  2. Whole frames follow one another from frame to head; the first is longer than tail - frame, or
 *     frame is tail.
 *  3. Only the ring whose turn it is can have tail beyond frame.
 */
#include "agent/lanes.h"

#define SMALL_TURN (64u << 10)
#define BULK_TURN (16u << 10)
#define SMALL_RUN (64u << 10)
#define LENGTH_BYTES 4

#define WINDOW_START (128u << 10)
#define WINDOW_MIN (16u << 10)
#define WINDOW_MAX (4096u << 10)
#define BULK_MIN (192u << 10) /* may be queued, whatever the window */
#define TARGET_US 20000
#define BASE_US 10000000 /* how long a shortest round trip counts */
#define TELL_BYTES 4096  /* after so many, though there was no bulk among them */

static void new_channel(struct lanes *l)
{
	*l = (struct lanes){.ring = {l->ring[0], l->ring[1]},
			    .window = WINDOW_START,
			    .base_us = UINT32_MAX,
			    .next_base_us = UINT32_MAX};
}

void lanes_init(struct lanes *l, uint8_t *small, uint8_t *bulk)
{
	*l = (struct lanes){.ring = {[LANE_SMALL] = {.data = small, .size = LANE_SMALL_BYTES},
				     [LANE_BULK] = {.data = bulk, .size = LANE_BULK_BYTES}}};
	new_channel(l);
}

void lanes_clear(struct lanes *l)
{
	for (size_t i = 0; i < NUM_LANES; i++)
		l->ring[i].tail = l->ring[i].frame = l->ring[i].head;
	new_channel(l);
}

/* Of the frame at this place, the length field included. */
static size_t frame_length(const struct lane_ring *r, uint64_t at)
{
	size_t len = 0;

	for (size_t i = 0; i < LENGTH_BYTES; i++)
		len = len << 8 | r->data[(at + i) & (r->size - 1)];
	return len + LENGTH_BYTES;
}

void lanes_cut(struct lanes *l)
{
	for (size_t i = 0; i < NUM_LANES; i++) {
		struct lane_ring *r = &l->ring[i];

		if (r->frame != r->tail)
			r->tail = r->frame = r->frame + frame_length(r, r->frame);
	}
	new_channel(l);
}

static size_t queued(const struct lane_ring *r)
{
	return (size_t)(r->head - r->tail);
}

static bool is_open(const struct lanes *l)
{
	return l->sent - l->acked < l->window;
}

bool lanes_ready(const struct lanes *l)
{
	return l->left || queued(&l->ring[LANE_SMALL]) ||
	       (queued(&l->ring[LANE_BULK]) && is_open(l));
}

size_t lanes_room(const struct lanes *l, enum lane lane)
{
	const struct lane_ring *r = &l->ring[lane];
	size_t max = r->size;

	if (lane == LANE_BULK && 4 * l->window < max)
		max = 4 * l->window < BULK_MIN ? BULK_MIN : 4 * l->window;
	return max > queued(r) ? max - queued(r) : 0;
}

enum lane lanes_choose(const struct lanes *l, uint64_t order, size_t len, bool urgent)
{
	if (order > l->ring[LANE_BULK].tail)
		return LANE_BULK;
	return urgent || len <= LANE_SMALL_PAYLOAD ? LANE_SMALL : LANE_BULK;
}

static void copy_in(struct lane_ring *r, const struct lane_span *s)
{
	size_t at = (size_t)(r->head & (r->size - 1));
	size_t first = s->len < r->size - at ? s->len : r->size - at;

	__builtin_memcpy(r->data + at, s->data, first);
	__builtin_memcpy(r->data, s->data + first, s->len - first);
	r->head += s->len;
}

bool lanes_put(struct lanes *l, enum lane lane, uint64_t *order, const struct lane_span parts[2])
{
	struct lane_ring *r = &l->ring[lane];

	if (parts[0].len + parts[1].len > lanes_room(l, lane))
		return false;
	copy_in(r, &parts[0]);
	if (parts[1].len)
		copy_in(r, &parts[1]);
	if (lane == LANE_BULK && order)
		*order = r->head;
	return true;
}

static void begin_turn(struct lanes *l)
{
	const struct lane_ring *small = &l->ring[LANE_SMALL], *bulk = &l->ring[LANE_BULK], *r;
	bool may = queued(bulk) && is_open(l);
	bool is_small = queued(small) && (!may || l->small_run < SMALL_RUN);
	size_t max = is_small ? SMALL_TURN : BULK_TURN;

	if (queued(bulk) && !may)
		l->limited = true;
	if (!is_small && !may)
		return;
	l->current = is_small ? LANE_SMALL : LANE_BULK;
	r = &l->ring[l->current];
	while (l->left < queued(r)) {
		size_t len = frame_length(r, r->tail + l->left);

		if (l->left && l->left + len > max)
			break;
		l->left += len;
	}
	l->small_run = is_small && may ? l->small_run + l->left : 0;
}

size_t lanes_next(struct lanes *l, struct lane_span ret[2])
{
	const struct lane_ring *r;
	size_t at, first;

	if (!l->left)
		begin_turn(l);
	if (!l->left)
		return 0;
	r = &l->ring[l->current];
	at = (size_t)(r->tail & (r->size - 1));
	first = l->left < r->size - at ? l->left : r->size - at;
	ret[0] = (struct lane_span){r->data + at, first};
	ret[1] = (struct lane_span){r->data, l->left - first};
	return ret[1].len ? 2 : 1;
}

void lanes_written(struct lanes *l, size_t n, uint64_t now_us)
{
	struct lane_ring *r = &l->ring[l->current];

	r->tail += n;
	l->left -= n;
	l->sent += n;
	if (n && l->current == LANE_BULK && !l->left && !l->probe) {
		l->probe = l->sent;
		l->probe_us = now_us;
	}
	while (r->frame < r->tail) {
		uint64_t end = r->frame + frame_length(r, r->frame);

		if (end > r->tail)
			return;
		r->frame = end;
	}
}

/* ---- The window ---- */

static uint32_t at_most(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* The shortest one of this period and of the one before. */
static void note_base(struct lanes *l, uint32_t took_us, uint64_t now_us)
{
	if (now_us >= l->base_until_us) {
		l->base_us = l->next_base_us;
		l->next_base_us = UINT32_MAX;
		l->base_until_us = now_us + BASE_US;
	}
	l->next_base_us = at_most(l->next_base_us, took_us);
	l->base_us = at_most(l->base_us, took_us);
}

static void measured(struct lanes *l, uint64_t took, uint64_t now_us)
{
	uint32_t took_us = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;

	note_base(l, took_us, now_us);
	if (took_us - l->base_us > TARGET_US)
		l->window -= l->window / 4;
	else if (l->limited)
		l->window += l->window >> (took_us - l->base_us > TARGET_US / 2 ? 4 : 1);
	l->window = l->window < WINDOW_MIN ? WINDOW_MIN : l->window;
	l->window = l->window > WINDOW_MAX ? WINDOW_MAX : l->window;
	l->limited = false;
}

bool lanes_acked(struct lanes *l, uint64_t total, uint64_t now_us)
{
	if (total < l->acked || total > l->sent)
		return false;
	l->acked = total;
	if (l->probe && total >= l->probe) {
		l->probe = 0;
		measured(l, now_us - l->probe_us, now_us);
	}
	return true;
}

void lanes_received(struct lanes *l, size_t n)
{
	l->received += n;
	if (n > LANE_SMALL_PAYLOAD + PROTO_HEAD_MAX || l->received - l->told >= TELL_BYTES)
		l->owes = true;
}

void lanes_tell(struct lanes *l, enum frame_sender self)
{
	struct frame f = {.type = FRAME_ACK, .token = l->received};
	uint8_t head[PROTO_HEAD_MAX];
	struct lane_span parts[2] = {{head, 0}, {0}};

	if (!l->owes)
		return;
	parts[0].len = frame_put_head(self, &f, head);
	if (!lanes_put(l, LANE_SMALL, NULL, parts))
		return;
	l->owes = false;
	l->told = l->received;
}
