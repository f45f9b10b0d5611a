/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When to try again what fails: delays that double, each with a random part, so that many who lost
 * the same server do not come back in one moment. Reads no clock; the caller tells the time.
 */
#ifndef BYWAY_PROC_BACKOFF_H
#define BYWAY_PROC_BACKOFF_H

#include <stdint.h>

struct backoff {
	uint32_t min_ms, max_ms; /* the first delay at most, and the longest */
	unsigned int failures;   /* in a row */
	uint64_t up_since_ms;    /* 0 when it is not up */
};

/* It works now. */
void backoff_succeeded(struct backoff *b, uint64_t now_ms);
/* It failed, or ended: from half the delay up to the whole, by `random`. What worked for max_ms or
 * longer begins anew with the shortest. */
uint32_t backoff_failed(struct backoff *b, uint64_t now_ms, uint32_t random);
/* What to pass as random, from getrandom(2). Does not wait. */
uint32_t backoff_random(void);

#endif
