/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The values of byway.yaml(5): those of base/doc.h after ${NAME} was replaced by the environment's
 * NAME and $$ by $, and durations and sizes. No control characters but in secrets.
 */
#ifndef BYWAY_SESSION_VALUE_H
#define BYWAY_SESSION_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct doc;
struct err;
struct fy_node;

#define VALUE_MAX 4096 /* bytes of any value, after the replacement */

/* Not empty, and shorter than size. */
int value_text(struct doc *d, struct fy_node *node, const char *what, char *buf, size_t size,
	       struct err *err);
/* The same, allocated; what *ret was is wiped and freed. */
int value_string(struct doc *d, struct fy_node *node, const char *what, char **ret,
		 struct err *err);
/* The same, wiped from the document. The names of its variables, each with its NUL, are appended to
 * variables. */
int value_secret(struct doc *d, struct fy_node *node, const char *what, char **ret,
		 struct buf *variables, struct err *err);
int value_number(struct doc *d, struct fy_node *node, const char *what, unsigned int min,
		 unsigned int max, unsigned int *ret, struct err *err);
int value_bool(struct doc *d, struct fy_node *node, const char *what, bool *ret, struct err *err);
int value_word(struct doc *d, struct fy_node *node, const char *what, const char *const words[],
	       size_t n_words, size_t *ret, struct err *err);
/* "500ms", "30s", "2m", "1h", or a number of seconds. */
int value_duration(struct doc *d, struct fy_node *node, const char *what, uint32_t min_ms,
		   uint32_t max_ms, uint32_t *ret, struct err *err);
/* Bytes, or "64K", "10M", "1G" (powers of 1024). */
int value_size(struct doc *d, struct fy_node *node, const char *what, uint64_t min, uint64_t max,
	       uint64_t *ret, struct err *err);

/* Overwrites what the environment has under these names (value_secret()'s), and the names go. */
void value_forget(const struct buf *variables);

#endif
