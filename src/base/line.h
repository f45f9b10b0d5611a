/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lines of what a program says, as it comes. */
#ifndef BYWAY_BASE_LINE_H
#define BYWAY_BASE_LINE_H

#include <stdbool.h>
#include <stddef.h>

/* All zero to begin with. */
struct line {
	char text[512]; /* the beginning, printable ASCII, terminated */
	size_t len;
};

/* True when that was its end: then text is the line until the next character comes. */
bool line_add(struct line *l, char c);

#endif
