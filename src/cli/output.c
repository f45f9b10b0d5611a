// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/cli.h"

void cli_say(const struct cli *c, const char *fmt, ...)
{
	va_list ap;

	if (c->quiet)
		return;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void cli_print_json(const char *schema, json_t *body)
{
	json_t *doc = json_pack("{s:s}", "schema", schema);

	json_object_update(doc, body);
	json_dumpf(doc, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(doc);
	json_decref(body);
}

/* "agent.state" is the member of a member. */
static json_t *member(json_t *row, const char *key)
{
	const char *dot = strchr(key, '.');
	_free_ char *first = dot ? strndup(key, (size_t)(dot - key)) : NULL;

	return dot ? json_object_get(json_object_get(row, first), dot + 1)
		   : json_object_get(row, key);
}

/* A cell's text; text holds what is put together. Of a list of words the words, else their
 * number. */
static const char *cell(json_t *row, const char *key, struct buf *text)
{
	json_t *v = member(row, key), *one;
	size_t i;

	if (json_is_string(v))
		return *json_string_value(v) ? json_string_value(v) : "-";
	if (json_is_boolean(v))
		return json_is_true(v) ? "yes" : "no";
	buf_reset(text);
	if (json_is_integer(v))
		buf_addf(text, "%lld", (long long)json_integer_value(v));
	else if (json_is_string(json_array_get(v, 0)))
		json_array_foreach(v, i, one)
			buf_addf(text, "%s%s", i ? "," : "", json_string_value(one));
	else if (json_is_array(v))
		buf_addf(text, "%zu", json_array_size(v));
	else
		return "-";
	return text->data;
}

void cli_print_table(json_t *rows, const struct cli_column *columns, size_t n)
{
	_free_ int *width = xcalloc(n + 1, sizeof(*width));
	_buf_ struct buf text = {0};
	size_t i;
	json_t *row;

	for (size_t k = 0; k < n; k++) {
		width[k] = (int)strlen(columns[k].title);
		json_array_foreach(rows, i, row)
			width[k] = MAX(width[k], (int)strlen(cell(row, columns[k].key, &text)));
	}
	for (size_t k = 0; k < n; k++)
		printf(k + 1 < n ? "%-*s  " : "%.*s\n", k + 1 < n ? width[k] : 100, columns[k].title);
	json_array_foreach(rows, i, row) {
		for (size_t k = 0; k + 1 < n; k++)
			printf("%-*s  ", width[k], cell(row, columns[k].key, &text));
		puts(cell(row, columns[n - 1].key, &text));
	}
}

void cli_print_fields(json_t *object, const struct cli_column *fields, size_t n)
{
	_buf_ struct buf text = {0};

	for (size_t i = 0; i < n; i++) {
		json_t *v = json_object_get(object, fields[i].key);

		if (v && !json_is_null(v))
			printf("%-10s %s\n", fields[i].title, cell(object, fields[i].key, &text));
	}
}

void cli_print_list(const struct cli *c, const char *schema, const char *key, json_t *rows,
		    const struct cli_column *columns, size_t n)
{
	if (c->json) {
		cli_print_json(schema, json_pack("{s:o}", key, rows));
		return;
	}
	cli_print_table(rows, columns, n);
	json_decref(rows);
}

void cli_print_operations(const struct cli *c, const struct oplog *log)
{
	json_t *list = json_array();

	for (size_t i = 0; i < log->n_ops; i++) {
		if (!c->json)
			puts(log->ops[i]);
		json_array_append_new(list, json_string(log->ops[i]));
	}
	if (c->json)
		cli_print_json("byway.operations/1", json_pack("{s:o}", "operations", list));
	else
		json_decref(list);
}

void cli_print_result(const struct cli *c, const char *schema, json_t *body, const char *fmt, ...)
{
	va_list ap;

	if (c->dry_run) {
		json_decref(body);
		cli_print_operations(c, &c->ops.log);
	} else if (c->json) {
		cli_print_json(schema, body);
	} else {
		json_decref(body);
		if (c->quiet)
			return;
		va_start(ap, fmt);
		vprintf(fmt, ap);
		va_end(ap);
		putchar('\n');
	}
}
