// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * The pool is one array; everything links by index. Free flows are a stack through hash_next. A
 * bucket is a chain through hash_next; there are as many buckets as flows, so that a chain has one
 * link on average, and SipHash with a random key keeps anybody from making it longer.
 *
 * Timers are a wheel of SLOTS slots, TICK_MS each. A flow sits in the slot of its deadline, or,
 * when that is farther than the wheel is long, in the last slot; when its slot comes up, a flow
 * whose deadline has moved on is put where it belongs now. So the hot path, which only ever moves
 * deadlines later, writes one field.
 *
 * Invariants:
 *  1. A flow that is not free is in exactly one bucket; it is in a slot exactly when slot is not
 *     FLOW_NONE.
 *  2. A flow with a deadline is in a slot at or before it (within the length of the wheel).
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/util.h"
#include "tunnel/flow.h"

#define SLOTS 1024u
#define TICK_MS 8u

struct flows {
	struct flow *pool;
	uint32_t *buckets, *slots;
	uint32_t mask; /* of bucket numbers */
	uint32_t free, used, max;
	uint32_t waiting;        /* in FLOW_TIME_WAIT */
	uint32_t oldest, newest; /* in FLOW_TIME_WAIT, through list_next and list_prev */
	uint64_t tick;           /* the slot that comes up next is tick % SLOTS */
	uint64_t key[2];
};

static uint32_t *fill_none(size_t n)
{
	uint32_t *p = xcalloc(n, sizeof(*p));

	memset(p, 0xff, n * sizeof(*p));
	return p;
}

struct flows *flows_new(size_t max)
{
	struct flows *fs = xcalloc(1, sizeof(*fs));
	uint32_t buckets = 1;

	while (buckets < max)
		buckets *= 2;
	fs->max = (uint32_t)max;
	fs->pool = xcalloc(max, sizeof(*fs->pool));
	fs->buckets = fill_none(buckets);
	fs->slots = fill_none(SLOTS);
	fs->mask = buckets - 1;
	fs->oldest = fs->newest = FLOW_NONE;
	fs->free = FLOW_NONE;
	/* The array is not touched here: memory is used as flows are. */
	while (getrandom(fs->key, sizeof(fs->key), 0) != sizeof(fs->key))
		;
	return fs;
}

void flows_free(struct flows *fs)
{
	if (!fs)
		return;
	free(fs->pool);
	free(fs->buckets);
	free(fs->slots);
	free(fs);
}

struct flow *flow_at(struct flows *fs, uint32_t index)
{
	assert(index < fs->max);
	return &fs->pool[index];
}

uint32_t flow_index(const struct flows *fs, const struct flow *f)
{
	return (uint32_t)(f - fs->pool);
}

size_t flows_used(const struct flows *fs)
{
	return fs->used;
}

size_t flows_live(const struct flows *fs)
{
	return fs->used - fs->waiting;
}

static uint64_t hash(const struct flows *fs, const struct endpoints *ends)
{
	return endpoints_hash(ends, 0, fs->key);
}

struct flow *flow_find(struct flows *fs, const struct endpoints *ends)
{
	uint32_t i = fs->buckets[hash(fs, ends) & fs->mask];

	while (i != FLOW_NONE && !endpoints_equal(&fs->pool[i].ends, ends))
		i = fs->pool[i].hash_next;
	return i == FLOW_NONE ? NULL : &fs->pool[i];
}

/* From the stack of those that were used before, else the next one that never was. */
static uint32_t take_free(struct flows *fs)
{
	uint32_t i = fs->free;

	if (i != FLOW_NONE)
		fs->free = fs->pool[i].hash_next;
	else if (fs->used < fs->max)
		i = fs->used; /* with an empty stack, the first `used` ones are in use */
	return i;
}

struct flow *flow_add(struct flows *fs, const struct endpoints *ends)
{
	uint32_t *bucket = &fs->buckets[hash(fs, ends) & fs->mask];
	uint32_t i = take_free(fs);
	struct flow *f;

	if (i == FLOW_NONE && fs->oldest != FLOW_NONE) {
		flow_del(fs, &fs->pool[fs->oldest]);
		i = take_free(fs);
	}
	if (i == FLOW_NONE)
		return NULL;
	f = &fs->pool[i];
	*f = (struct flow){.ends = *ends,
			   .state = FLOW_DIALING,
			   .fd = -1,
			   .dial = FLOW_NONE,
			   .chunk = FLOW_NONE,
			   .hash_next = *bucket,
			   .timer_next = FLOW_NONE,
			   .timer_prev = FLOW_NONE,
			   .list_next = FLOW_NONE,
			   .list_prev = FLOW_NONE,
			   .slot = FLOW_NONE};
	*bucket = i;
	fs->used++;
	return f;
}

static void unlink_bucket(struct flows *fs, struct flow *f)
{
	uint32_t *link = &fs->buckets[hash(fs, &f->ends) & fs->mask], i = flow_index(fs, f);

	while (*link != i)
		link = &fs->pool[*link].hash_next;
	*link = f->hash_next;
}

static void unlink_timer(struct flows *fs, struct flow *f)
{
	if (f->slot == FLOW_NONE)
		return;
	if (f->timer_prev == FLOW_NONE)
		fs->slots[f->slot] = f->timer_next;
	else
		fs->pool[f->timer_prev].timer_next = f->timer_next;
	if (f->timer_next != FLOW_NONE)
		fs->pool[f->timer_next].timer_prev = f->timer_prev;
	f->slot = FLOW_NONE;
}

static void unlink_time_wait(struct flows *fs, struct flow *f)
{
	if (f->state != FLOW_TIME_WAIT)
		return;
	fs->waiting--;
	if (f->list_prev == FLOW_NONE)
		fs->oldest = f->list_next;
	else
		fs->pool[f->list_prev].list_next = f->list_next;
	if (f->list_next == FLOW_NONE)
		fs->newest = f->list_prev;
	else
		fs->pool[f->list_next].list_prev = f->list_prev;
}

void flow_del(struct flows *fs, struct flow *f)
{
	assert(f->state != FLOW_FREE);
	unlink_bucket(fs, f);
	unlink_timer(fs, f);
	unlink_time_wait(fs, f);
	f->state = FLOW_FREE;
	f->hash_next = fs->free;
	fs->free = flow_index(fs, f);
	fs->used--;
}

void flow_set_time_wait(struct flows *fs, struct flow *f)
{
	uint32_t i = flow_index(fs, f);

	assert(f->state != FLOW_TIME_WAIT);
	f->state = FLOW_TIME_WAIT;
	fs->waiting++;
	f->list_prev = fs->newest;
	f->list_next = FLOW_NONE;
	if (fs->newest == FLOW_NONE)
		fs->oldest = i;
	else
		fs->pool[fs->newest].list_next = i;
	fs->newest = i;
}

uint32_t flow_iss(const struct flows *fs, const struct endpoints *ends, uint64_t now_us)
{
	return (uint32_t)(hash(fs, ends) >> 32) + (uint32_t)(now_us / 4);
}

static void link_timer(struct flows *fs, struct flow *f)
{
	uint64_t tick = f->deadline_ms / TICK_MS + 1, last = fs->tick + SLOTS - 1;
	uint32_t i = flow_index(fs, f);

	f->slot = (uint32_t)(MAX(fs->tick, MIN(tick, last)) % SLOTS);
	f->timer_prev = FLOW_NONE;
	f->timer_next = fs->slots[f->slot];
	if (f->timer_next != FLOW_NONE)
		fs->pool[f->timer_next].timer_prev = i;
	fs->slots[f->slot] = i;
}

void flow_set_timer(struct flows *fs, struct flow *f, uint64_t deadline_ms)
{
	bool later = f->slot != FLOW_NONE && deadline_ms >= f->deadline_ms && f->deadline_ms;

	f->deadline_ms = deadline_ms;
	if (later || (!deadline_ms && f->slot != FLOW_NONE))
		return; /* looked at again when its slot comes up */
	unlink_timer(fs, f);
	if (deadline_ms)
		link_timer(fs, f);
}

static void expire_slot(struct flows *fs, uint32_t slot, uint64_t now_ms, flow_timer_fn fn,
			void *arg)
{
	uint32_t i = fs->slots[slot];

	/* Detached first: whoever is put back, or set anew by fn, may come into this slot again. */
	fs->slots[slot] = FLOW_NONE;
	for (uint32_t k = i; k != FLOW_NONE; k = fs->pool[k].timer_next)
		fs->pool[k].slot = FLOW_NONE;
	while (i != FLOW_NONE) {
		struct flow *f = &fs->pool[i];

		i = f->timer_next;
		if (f->state == FLOW_FREE || !f->deadline_ms)
			continue;
		if (f->deadline_ms > now_ms) {
			link_timer(fs, f);
			continue;
		}
		f->deadline_ms = 0;
		fn(f, arg);
	}
}

int flows_expire(struct flows *fs, uint64_t now_ms, int limit_ms, flow_timer_fn fn, void *arg)
{
	uint64_t now_tick = now_ms / TICK_MS;

	if (!fs->tick || now_tick > fs->tick + SLOTS)
		fs->tick = fs->tick ? now_tick - SLOTS : now_tick;
	for (; fs->tick <= now_tick; fs->tick++)
		expire_slot(fs, (uint32_t)(fs->tick % SLOTS), now_ms, fn, arg);
	for (uint32_t k = 0; k < SLOTS && (int)(k * TICK_MS) < limit_ms; k++) {
		if (fs->slots[(fs->tick + k) % SLOTS] != FLOW_NONE)
			return (int)((k + 1) * TICK_MS);
	}
	return limit_ms;
}

void flows_each(struct flows *fs, flow_timer_fn fn, void *arg)
{
	for (uint32_t i = 0; i < fs->max && fs->used; i++) {
		if (fs->pool[i].state != FLOW_FREE)
			fn(&fs->pool[i], arg);
	}
}
