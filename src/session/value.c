// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/doc.h"
#include "base/err.h"
#include "base/utf8.h"
#include "session/spec.h"
#include "session/value.h"

#define VARIABLE_MAX 255

/* Text that is wiped when it goes out of scope. Room for all of it is there from the beginning, so
 * that no copy stays where it grew. */
static void text_init(struct buf *b)
{
	*b = (struct buf){0};
	buf_reserve(b, VALUE_MAX);
}

static void text_done(struct buf *b)
{
	explicit_bzero(b->data, b->cap);
	buf_done(b);
}

#define _text_ _cleanup_(text_done)

static int add(struct doc *d, struct fy_node *node, const char *what, struct buf *b,
	       const char *text, size_t len, struct err *err)
{
	if (len > VALUE_MAX - b->len)
		return doc_error(d, node, err, "%s is longer than %d bytes", what, VALUE_MAX);
	buf_add(b, text, len);
	return 0;
}

/* at: behind "${". *ret_end: behind the '}'. */
static int add_variable(struct doc *d, struct fy_node *node, const char *what, const char *at,
			const char **ret_end, struct buf *b, struct buf *variables, struct err *err)
{
	size_t len = strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
	char name[VARIABLE_MAX + 1] = "";
	const char *value;

	if (!len || len > VARIABLE_MAX || at[len] != '}' || isdigit((unsigned char)*at))
		return doc_error(d, node, err,
				 "%s has a \"${\" that is not the beginning of a variable, "
				 "\"${NAME}\": write \"$$\" for a \"$\"",
				 what);
	memcpy(name, at, len);
	value = getenv(name);
	if (!value)
		return doc_error(d, node, err, "the environment has no variable %s", name);
	if (variables)
		buf_add(variables, name, len + 1);
	*ret_end = at + len + 1;
	return add(d, node, what, b, value, strlen(value), err);
}

/* A '$' in front of anything but '{' and '$' stands for itself: "$5", "$(date)". */
static int expand(struct doc *d, struct fy_node *node, const char *what, const char *raw,
		  struct buf *b, struct buf *variables, struct err *err)
{
	int r = 0;

	while (!r && *raw) {
		size_t len = strcspn(raw, "$");

		if (len) {
			r = add(d, node, what, b, raw, len, err);
			raw += len;
		} else if (raw[1] == '{') {
			r = add_variable(d, node, what, raw + 2, &raw, b, variables, err);
		} else {
			r = add(d, node, what, b, "$", 1, err);
			raw += raw[1] == '$' ? 2 : 1;
		}
	}
	return r;
}

static int read_value(struct doc *d, struct fy_node *node, const char *what, struct buf *b,
		      struct buf *variables, struct err *err)
{
	char raw[VALUE_MAX + 1] = "";
	int r = doc_read_text(d, node, what, raw, sizeof(raw), err);

	if (!r)
		r = expand(d, node, what, raw, b, variables, err);
	if (!r && !b->len)
		r = doc_error(d, node, err, "%s is empty", what);
	explicit_bzero(raw, strlen(raw));
	return r;
}

static int read_line(struct doc *d, struct fy_node *node, const char *what, struct buf *b,
		     struct err *err)
{
	int r = read_value(d, node, what, b, NULL, err);

	for (size_t i = 0; !r && i < b->len; i++)
		if (iscntrl((unsigned char)b->data[i]))
			return doc_error(d, node, err, "%s has a control character", what);
	if (!r && !utf8_is_valid(b->data))
		r = doc_error(d, node, err, "%s is not UTF-8", what);
	return r;
}

int value_text(struct doc *d, struct fy_node *node, const char *what, char *buf, size_t size,
	       struct err *err)
{
	_text_ struct buf b;
	int r;

	text_init(&b);
	r = read_line(d, node, what, &b, err);
	if (!r && str_copy(buf, size, b.data))
		r = doc_error(d, node, err, "%s is longer than %zu bytes", what, size - 1);
	return r;
}

static void replace(char **at, const char *text)
{
	spec_wipe(*at);
	*at = xstrdup(text);
}

int value_string(struct doc *d, struct fy_node *node, const char *what, char **ret, struct err *err)
{
	_text_ struct buf b;
	int r;

	text_init(&b);
	r = read_line(d, node, what, &b, err);
	if (!r)
		replace(ret, b.data);
	return r;
}

int value_secret(struct doc *d, struct fy_node *node, const char *what, char **ret,
		 struct buf *variables, struct err *err)
{
	_text_ struct buf b;
	int r;

	text_init(&b);
	r = read_value(d, node, what, &b, variables, err);
	if (r)
		return r;
	doc_wipe(d, node);
	replace(ret, b.data);
	return 0;
}

int value_number(struct doc *d, struct fy_node *node, const char *what, unsigned int min,
		 unsigned int max, unsigned int *ret, struct err *err)
{
	char text[32] = "";
	int64_t n = 0;
	int r = value_text(d, node, what, text, sizeof(text), err);

	if (!r)
		r = doc_parse_int(d, node, what, text, min, max, &n, err);
	if (!r)
		*ret = (unsigned int)n;
	return r;
}

int value_word(struct doc *d, struct fy_node *node, const char *what, const char *const words[],
	       size_t n_words, size_t *ret, struct err *err)
{
	char text[65] = "";
	int r = value_text(d, node, what, text, sizeof(text), err);

	return r ? r : doc_parse_word(d, node, what, text, words, n_words, ret, err);
}

int value_bool(struct doc *d, struct fy_node *node, const char *what, bool *ret, struct err *err)
{
	static const char *const words[] = {"false", "true"};
	size_t i = 0;
	int r;

	if (!doc_is_string(d, node)) /* true and false without quotes are none */
		return doc_read_bool(d, node, what, ret, err);
	r = value_word(d, node, what, words, ARRAY_SIZE(words), &i, err);
	if (!r)
		*ret = i;
	return r;
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* From the largest to the smallest; the last one is what a bare number means. */
static const struct unit durations[] = {
	{"h", 60 * 60 * 1000}, {"m", 60 * 1000}, {"s", 1000}, {"ms", 1}, {"", 1000},
};
static const struct unit sizes[] = {{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"", 1}};

/* A whole number and one of the units. */
static int parse_amount(const char *text, const struct unit units[], size_t n_units, uint64_t *ret)
{
	unsigned long long n;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || n > UINT32_MAX)
		return -ERANGE;
	for (size_t i = 0; i < n_units; i++) {
		if (!strcmp(end, units[i].name)) {
			*ret = n * units[i].factor;
			return 0;
		}
	}
	return -EINVAL;
}

/* In the largest unit that leaves a whole number. */
static const char *format_amount(uint64_t n, const struct unit *unit, char buf[32])
{
	while (n % unit->factor)
		unit++;
	snprintf(buf, 32, "%llu%s", (unsigned long long)(n / unit->factor), unit->name);
	return buf;
}

static int read_amount(struct doc *d, struct fy_node *node, const char *what,
		       const struct unit units[], size_t n_units, uint64_t min, uint64_t max,
		       uint64_t *ret, struct err *err)
{
	char text[32] = "", lo[32], hi[32];
	uint64_t n = 0;
	int r = value_text(d, node, what, text, sizeof(text), err);

	if (r)
		return r;
	if (parse_amount(text, units, n_units, &n) || n < min || n > max)
		return doc_error(d, node, err, "%s is from %s to %s, not \"%s\"", what,
				 format_amount(min, units, lo), format_amount(max, units, hi),
				 text);
	*ret = n;
	return 0;
}

int value_duration(struct doc *d, struct fy_node *node, const char *what, uint32_t min_ms,
		   uint32_t max_ms, uint32_t *ret, struct err *err)
{
	uint64_t ms = 0;
	int r = read_amount(d, node, what, durations, ARRAY_SIZE(durations), min_ms, max_ms, &ms,
			    err);

	if (!r)
		*ret = (uint32_t)ms;
	return r;
}

int value_size(struct doc *d, struct fy_node *node, const char *what, uint64_t min, uint64_t max,
	       uint64_t *ret, struct err *err)
{
	return read_amount(d, node, what, sizes, ARRAY_SIZE(sizes), min, max, ret, err);
}

void value_forget(const struct buf *variables)
{
	for (size_t at = 0; at < variables->len; at += strlen(variables->data + at) + 1) {
		char *value = getenv(variables->data + at);

		if (value)
			explicit_bzero(value, strlen(value));
		unsetenv(variables->data + at);
	}
}
