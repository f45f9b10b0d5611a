/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CLOCK_MONOTONIC (clock_gettime(2)), which every deadline is told by; and how people are told a
 * time. */
#ifndef BYWAY_BASE_CLOCK_H
#define BYWAY_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static inline uint64_t clock_ms(void)
{
	return clock_us() / 1000;
}

#define TIME_STRLEN 24 /* 2006-01-02T15:04:05Z */

static inline const char *time_format(time_t t, char buf[TIME_STRLEN])
{
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(buf, TIME_STRLEN, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return buf;
}

#endif
