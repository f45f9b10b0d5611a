// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "tunnel/ranges.h"

bool ranges_add(struct ranges *rs, uint32_t start, uint32_t end)
{
	unsigned int first = 0, last;

	while (first < rs->n && before(rs->r[first].end, start))
		first++;
	last = first; /* [first, last) touch the new one and become part of it */
	while (last < rs->n && !before(end, rs->r[last].start))
		last++;
	if (first == last && rs->n == RANGES_MAX)
		return false;
	if (first < last) {
		if (before(rs->r[first].start, start))
			start = rs->r[first].start;
		if (before(end, rs->r[last - 1].end))
			end = rs->r[last - 1].end;
	}
	memmove(&rs->r[first + 1], &rs->r[last], (rs->n - last) * sizeof(rs->r[0]));
	rs->n = first + 1 + (rs->n - last);
	rs->r[first] = (struct seq_range){start, end};
	return true;
}

void ranges_trim(struct ranges *rs, uint32_t seq)
{
	unsigned int gone = 0;

	while (gone < rs->n && !before(seq, rs->r[gone].end))
		gone++;
	rs->n -= gone;
	memmove(&rs->r[0], &rs->r[gone], rs->n * sizeof(rs->r[0]));
	if (rs->n && before(rs->r[0].start, seq))
		rs->r[0].start = seq;
}

uint32_t ranges_total(const struct ranges *rs)
{
	uint32_t total = 0;

	for (unsigned int i = 0; i < rs->n; i++)
		total += rs->r[i].end - rs->r[i].start;
	return total;
}

uint32_t ranges_skip(const struct ranges *rs, uint32_t seq)
{
	for (unsigned int i = 0; i < rs->n; i++)
		if (!before(seq, rs->r[i].start) && before(seq, rs->r[i].end))
			return rs->r[i].end;
	return seq;
}

uint32_t ranges_until(const struct ranges *rs, uint32_t seq, uint32_t limit)
{
	for (unsigned int i = 0; i < rs->n; i++)
		if (before(seq, rs->r[i].start))
			return before(rs->r[i].start, limit) ? rs->r[i].start : limit;
	return limit;
}
