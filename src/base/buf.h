/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A growing byte buffer that is also a string builder: data is always NUL-terminated once there is
 * room for anything, and NULL before.
 */
#ifndef BYWAY_BASE_BUF_H
#define BYWAY_BASE_BUF_H

#include <stddef.h>

#include "base/util.h"

struct buf {
	char *data;
	size_t len, cap;
};

void buf_done(struct buf *b);
#define _buf_ _cleanup_(buf_done)

void buf_reset(struct buf *b);
/* Room for n more bytes, which the caller fills and then counts with b->len += n. */
char *buf_reserve(struct buf *b, size_t n);
void buf_add(struct buf *b, const void *data, size_t n);
void buf_adds(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *fmt, ...) _printf_(2, 3);
/* The words of a command, to be read by a person; those with spaces of their own in quotes. */
void buf_add_words(struct buf *b, const char *const words[]);

#endif
