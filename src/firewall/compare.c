// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "firewall/compare.h"

#define BLANKS " \t\n"

void lines_done(struct lines *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	*l = (struct lines){0};
}

void lines_add(struct lines *l, const char *text, size_t len)
{
	char *line;

	while (len && strchr(BLANKS, *text)) {
		text++;
		len--;
	}
	while (len && strchr(BLANKS, text[len - 1]))
		len--;
	if (!len)
		return;
	line = xcalloc(len + 1, 1);
	memcpy(line, text, len);
	l->v = xrealloc(l->v, l->n + 1, sizeof(*l->v));
	l->v[l->n++] = line;
}

static int line_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void lines_sort(struct lines *l, size_t from)
{
	if (l->n > from + 1)
		qsort(l->v + from, l->n - from, sizeof(*l->v), line_cmp);
}

/* The heading above line i, without its brace. */
static const char *heading(const struct lines *l, size_t i, int *ret_len)
{
	while (i-- > 0) {
		size_t len = strlen(l->v[i]);

		if (l->v[i][len - 1] != '{')
			continue;
		*ret_len = (int)strcspn(l->v[i], "{") - 1;
		return l->v[i];
	}
	*ret_len = 0;
	return "";
}

static const char *line_at(const struct lines *l, size_t i)
{
	return i < l->n && strcmp(l->v[i], "}") ? l->v[i] : "nothing";
}

int lines_compare(const char *name, const struct lines *want, const struct lines *got,
		  struct err *err)
{
	size_t i = 0;
	const char *under;
	int len;

	while (i < want->n && i < got->n && !strcmp(want->v[i], got->v[i]))
		i++;
	if (i == want->n && i == got->n)
		return 0;
	under = heading(want, i, &len);
	return err_set(err, ERR_FAILED, -ESTALE, "%s%s%.*s: expected \"%s\", found \"%s\"", name,
		       len ? ", " : "", len, under, line_at(want, i), line_at(got, i));
}

/* The elements of a set, from behind the opening brace; returns where they end. */
static const char *add_elements(struct lines *to, const char *at)
{
	size_t first = to->n;

	for (;;) {
		size_t len = strcspn(at, ",}");

		lines_add(to, at, len);
		at += len;
		if (*at != ',')
			break;
		at++;
	}
	lines_sort(to, first);
	return *at ? at + 1 : at;
}

static void split(const struct buf *text, struct lines *to)
{
	static const char opening[] = "elements = {";
	const char *at = text->data;

	while (at && *at) {
		size_t len = strcspn(at, "\n");
		const char *set = memmem(at, len, opening, sizeof(opening) - 1);

		if (set) {
			at = add_elements(to, set + sizeof(opening) - 1);
			continue;
		}
		lines_add(to, at, len);
		at += len + (at[len] == '\n');
	}
}

int compare_listing(const char *name, const struct buf *want, const struct buf *got,
		    struct err *err)
{
	_lines_ struct lines a = {0}, b = {0};

	split(want, &a);
	split(got, &b);
	return lines_compare(name, &a, &b, err);
}
