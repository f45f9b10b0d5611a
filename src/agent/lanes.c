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

void lanes_init(struct lanes *l, uint8_t *small, uint8_t *bulk)
{
	*l = (struct lanes){.ring = {[LANE_SMALL] = {.data = small, .size = LANE_SMALL_BYTES},
				     [LANE_BULK] = {.data = bulk, .size = LANE_BULK_BYTES}}};
}

static void end_turn(struct lanes *l)
{
	l->left = 0;
	l->small_run = 0;
}

void lanes_clear(struct lanes *l)
{
	for (size_t i = 0; i < NUM_LANES; i++)
		l->ring[i].tail = l->ring[i].frame = l->ring[i].head;
	end_turn(l);
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
	end_turn(l);
}

static size_t queued(const struct lane_ring *r)
{
	return (size_t)(r->head - r->tail);
}

bool lanes_empty(const struct lanes *l)
{
	return !queued(&l->ring[LANE_SMALL]) && !queued(&l->ring[LANE_BULK]);
}

size_t lanes_room(const struct lanes *l, enum lane lane)
{
	return l->ring[lane].size - queued(&l->ring[lane]);
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
	bool is_small = queued(small) && (!queued(bulk) || l->small_run < SMALL_RUN);
	size_t max = is_small ? SMALL_TURN : BULK_TURN;

	l->current = is_small ? LANE_SMALL : LANE_BULK;
	r = &l->ring[l->current];
	while (l->left < queued(r)) {
		size_t len = frame_length(r, r->tail + l->left);

		if (l->left && l->left + len > max)
			break;
		l->left += len;
	}
	l->small_run = is_small && queued(bulk) ? l->small_run + l->left : 0;
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

void lanes_written(struct lanes *l, size_t n)
{
	struct lane_ring *r = &l->ring[l->current];

	r->tail += n;
	l->left -= n;
	while (r->frame < r->tail) {
		uint64_t end = r->frame + frame_length(r, r->frame);

		if (end > r->tail)
			return;
		r->frame = end;
	}
}
