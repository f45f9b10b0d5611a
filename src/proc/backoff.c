// SPDX-License-Identifier: GPL-2.0-or-later
#include <sys/random.h>

#include "proc/backoff.h"

#define DOUBLINGS_MAX 16

void backoff_succeeded(struct backoff *b, uint64_t now_ms)
{
	b->up_since_ms = now_ms;
}

uint32_t backoff_failed(struct backoff *b, uint64_t now_ms, uint32_t random)
{
	uint64_t delay;

	if (b->up_since_ms && now_ms - b->up_since_ms >= b->max_ms)
		b->failures = 0;
	b->up_since_ms = 0;
	delay = (uint64_t)b->min_ms << b->failures;
	if (b->failures < DOUBLINGS_MAX)
		b->failures++;
	if (delay > b->max_ms)
		delay = b->max_ms;
	return (uint32_t)(delay / 2 + random % (delay / 2 + 1));
}

uint32_t backoff_random(void)
{
	uint32_t n = 0;

	(void)!getrandom(&n, sizeof(n), GRND_NONBLOCK);
	return n;
}
