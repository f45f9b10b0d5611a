/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Verifying for the backends that run programs: what is wanted is loaded into a network namespace
 * that nobody else sees, and what the program lists there compared with what it lists where it
 * counts.
 */
#ifndef BYWAY_FIREWALL_COMPARE_H
#define BYWAY_FIREWALL_COMPARE_H

#include <stddef.h>

#include "base/util.h"

struct buf;
struct err;

/* The lines of a listing, owned. */
struct lines {
	char **v;
	size_t n;
};

void lines_done(struct lines *l);
#define _lines_ _cleanup_(lines_done)
/* Copies len bytes of text, without the blanks at both ends; nothing when that leaves none. */
void lines_add(struct lines *l, const char *text, size_t len);
/* Sorts those from the nth on. */
void lines_sort(struct lines *l, size_t from);
/* -ESTALE with the first difference, behind name. A line that ends with "{" is a heading. */
int lines_compare(const char *name, const struct lines *want, const struct lines *got,
		  struct err *err);

/* Compares listings of nft(8), in which braces enclose the elements of sets, in any order, and
 * everything else comes in order. -ESTALE with the first difference, behind name. */
int compare_listing(const char *name, const struct buf *want, const struct buf *got,
		    struct err *err);

#endif
