// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdbool.h>

#include "agent/resolv.h"

/* What is left of a text. */
struct text {
	const char *p, *end;
};

static bool at_end(const struct text *t)
{
	return t->p == t->end;
}

static bool skip_char(struct text *t, char c)
{
	if (at_end(t) || *t->p != c)
		return false;
	t->p++;
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* -1: no digit of this base. */
static int digit(char c, int base)
{
	int d = c >= '0' && c <= '9'   ? c - '0'
		: c >= 'a' && c <= 'f' ? c - 'a' + 10
		: c >= 'A' && c <= 'F' ? c - 'A' + 10
				       : -1;

	return d < base ? d : -1;
}

/* A number of 1 to max_digits digits; -1 when there is none, or a longer one. */
static int number(struct text *t, int base, int max_digits)
{
	int v = 0, n = 0;

	for (; !at_end(t) && digit(*t->p, base) >= 0; t->p++, n++) {
		if (n == max_digits)
			return -1;
		v = v * base + digit(*t->p, base);
	}
	return n ? v : -1;
}

static bool parse_ip4(struct text t, uint8_t bytes[4])
{
	for (int i = 0; i < 4; i++) {
		int v;

		if (i > 0 && !skip_char(&t, '.'))
			return false;
		v = number(&t, 10, 3);
		if (v < 0 || v > 255)
			return false;
		bytes[i] = (uint8_t)v;
	}
	return at_end(&t);
}

/* The groups from here on, to the end or to "::"; an IPv4 address counts as the last two. Returns
 * bytes written, -1 when it is no address. */
static int parse_groups(struct text *t, uint8_t bytes[16])
{
	int n = 0;

	while (n < 16) {
		struct text start = *t;
		int v = number(t, 16, 4);

		if (n <= 12 && !at_end(t) && *t->p == '.' && parse_ip4(start, bytes + n)) {
			t->p = t->end;
			return n + 4;
		}
		if (v < 0)
			return -1;
		bytes[n++] = (uint8_t)(v >> 8);
		bytes[n++] = (uint8_t)v;
		if (at_end(t) || t->end - t->p < 2 || t->p[1] == ':')
			return n;
		if (!skip_char(t, ':'))
			return -1;
	}
	return -1; /* more of it behind the last group */
}

static bool skip_gap(struct text *t)
{
	if (t->end - t->p < 2 || t->p[0] != ':' || t->p[1] != ':')
		return false;
	t->p += 2;
	return true;
}

static bool parse_ip6(struct text t, uint8_t bytes[16])
{
	uint8_t tail[16] = {0};
	int before = 0, after = 0;

	for (int i = 0; i < 16; i++)
		bytes[i] = 0;
	if (!skip_gap(&t)) {
		before = parse_groups(&t, bytes);
		if (before < 0)
			return false;
		if (before == 16)
			return at_end(&t);
		if (!skip_gap(&t))
			return false;
	}
	if (!at_end(&t))
		after = parse_groups(&t, tail);
	if (after < 0 || before + after > 14 || !at_end(&t))
		return false;
	for (int i = 0; i < after; i++)
		bytes[16 - after + i] = tail[i];
	return true;
}

static bool parse_addr(struct text t, struct proto_addr *ret)
{
	struct proto_addr a = {.family = 4};

	if (!parse_ip4(t, a.bytes)) {
		a.family = 6;
		if (!parse_ip6(t, a.bytes))
			return false;
	}
	*ret = a;
	return true;
}

static struct text next_word(struct text *line)
{
	struct text w;

	while (!at_end(line) && is_blank(*line->p))
		line->p++;
	w.p = line->p;
	while (!at_end(line) && !is_blank(*line->p))
		line->p++;
	w.end = line->p;
	return w;
}

static bool is_nameserver(struct text word)
{
	for (const char *w = "nameserver"; *w; w++)
		if (!skip_char(&word, *w))
			return false;
	return at_end(&word);
}

size_t resolv_parse(const char *text, size_t len, struct proto_addr ret[PROTO_RESOLVERS_MAX])
{
	struct text all = {text, text + len};
	size_t n = 0;

	while (!at_end(&all) && n < PROTO_RESOLVERS_MAX) {
		struct text line = {all.p, all.p};

		while (line.end != all.end && *line.end != '\n')
			line.end++;
		all.p = line.end;
		skip_char(&all, '\n');
		if (is_nameserver(next_word(&line)) && parse_addr(next_word(&line), &ret[n]))
			n++;
	}
	return n;
}
