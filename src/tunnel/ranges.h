/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A few ranges of sequence numbers, as TCP's selective acknowledgements speak of them (RFC 2018):
 * sorted, apart from each other, all within half the space of numbers.
 */
#ifndef BYWAY_TUNNEL_RANGES_H
#define BYWAY_TUNNEL_RANGES_H

#include <stdbool.h>
#include <stdint.h>

#define RANGES_MAX 4

struct seq_range {
	uint32_t start, end; /* [start, end) */
};

struct ranges {
	unsigned int n;
	struct seq_range r[RANGES_MAX];
};

static inline bool before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

/* False, and nothing is changed, when there is no room for one more. */
bool ranges_add(struct ranges *rs, uint32_t start, uint32_t end);
/* Forgets what is before seq. */
void ranges_trim(struct ranges *rs, uint32_t seq);
/* How many numbers are in them. */
uint32_t ranges_total(const struct ranges *rs);
/* Where the range ends that seq is in, or seq when it is in none. */
uint32_t ranges_skip(const struct ranges *rs, uint32_t seq);
/* Where the first range behind seq starts, or limit when that comes first. */
uint32_t ranges_until(const struct ranges *rs, uint32_t seq, uint32_t limit);

#endif
