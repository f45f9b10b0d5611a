/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What standard output can show. */
#ifndef BYWAY_CLI_TERM_H
#define BYWAY_CLI_TERM_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct cli;

/* A terminal, and nobody has said NO_COLOR (https://no-color.org). */
bool term_has_colour(void);
/* By the locale. */
bool term_has_utf8(void);
/* Columns of the terminal; 0: it is none, lines may be as long as they are. */
size_t term_columns(void);

enum term_colour { TERM_PLAIN, TERM_DIM, TERM_BOLD, TERM_GOOD, TERM_BUSY, TERM_BAD };
/* The colour of a condition (ops/look.h), or a tunnel's or session's state. */
enum term_colour term_colour_of(const char *condition);

/* Columns that a text takes. */
size_t term_width(const char *text);
/* text in that colour, when there are colours, filled up with blanks to width columns; one that is
 * longer than max columns (0: any) is cut. Characters that terminals would obey are replaced. */
void term_put(struct buf *b, enum term_colour colour, const char *text, size_t width, size_t max);

/* "1.2 MB" */
#define TERM_BYTES_MAX 16
const char *term_bytes(long long n, char buf[TERM_BYTES_MAX]);

/* Prints what draw() prints again after each interval, or change of the terminal's size: on a
 * terminal in place, and what was on it comes back in the end; else one below the other, with a
 * blank line between. Until SIGINT or SIGTERM (0), an error of draw(), or nobody looks any more
 * (0). */
typedef int (*term_draw_fn)(struct cli *c, void *arg);
int term_watch(struct cli *c, unsigned int interval_s, term_draw_fn draw, void *arg);

#endif
