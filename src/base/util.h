/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ownership spelled out: cleanup attributes for locals, TAKE_ macros for handing over.
 */
#ifndef BYWAY_BASE_UTIL_H
#define BYWAY_BASE_UTIL_H

#include <stddef.h>
#include <stdio.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(fmt, first) __attribute__((format(printf, fmt, first)))
#define _unused_ __attribute__((unused))

#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		__typeof__(p) taken_ = (p);                                                        \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})

#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int taken_ = (fd);                                                                 \
		(fd) = -1;                                                                         \
		taken_;                                                                            \
	})

/* Cleanup handlers, each taking the address of the variable. Legal on NULL and on -1. */
void free_p(void *p);
void close_p(const int *fd);
void fclose_p(FILE **f);

#define _free_ _cleanup_(free_p)
#define _close_ _cleanup_(close_p)
#define _fclose_ _cleanup_(fclose_p)

/* Allocation of what is small and needed: a failure ends the program with a message. Sizes that
 * come from outside (a file, a peer) are bounded by the caller before they get here. */
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) _printf_(1, 2);

/* Copies at most size - 1 bytes and terminates; returns -ENAMETOOLONG, with dst untouched, when
 * src does not fit. */
int str_copy(char *dst, size_t size, const char *src);
/* What somebody else has said, for a message: what is not printable ASCII becomes a question mark,
 * too much is cut. */
void str_printable(char *dst, size_t size, const void *src, size_t len);
/* Two digits a byte, and the NUL. */
void hex_format(const void *bytes, size_t n, char *ret);
/* Length of the common edit path between two short words, for "did you mean". */
unsigned int str_distance(const char *a, const char *b);
/* The candidate nearest to word, or NULL when none is near enough to be a likely typing slip. */
const char *str_nearest(const char *word, const char *const *candidates, size_t n);

/* FNV-1a, 64 bit (http://www.isthe.com/chongo/tech/comp/fnv/): stable names, not security. */
unsigned long long hash_str(const char *s);

#endif
