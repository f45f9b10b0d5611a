// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/util.h"

/* What the tables below read. */
struct thing {
	char *name;
	int64_t count;
	bool on;
	size_t colour;
	int64_t numbers[4];
	size_t n_numbers;
	unsigned int line;
};

static const char *const colours[] = {"red", "green", "blue"};

static int read_name(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct thing *t = into;

	t->line = doc_line(d, node);
	return doc_read_string(d, node, "a name", 8, &t->name, err);
}

static int read_count(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return doc_read_int(d, node, "a count", -5, 100, &((struct thing *)into)->count, err);
}

static int read_on(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return doc_read_bool(d, node, "\"on\"", &((struct thing *)into)->on, err);
}

static int read_colour(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return doc_read_word(d, node, "a colour", colours, ARRAY_SIZE(colours),
			     &((struct thing *)into)->colour, err);
}

static int read_number(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct thing *t = into;

	return doc_read_int(d, node, "a number", 0, 9, &t->numbers[t->n_numbers++], err);
}

static int read_numbers(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return doc_read_list(d, node, "numbers", 4, read_number, into, err);
}

static const struct doc_key keys[] = {
	{"name", read_name, DOC_REQUIRED},
	{"count", read_count},
	{"on", read_on},
	{"colour", read_colour},
	{"numbers", read_numbers},
	{"color", .refusal = "we write \"colour\""},
};

static int parse(enum doc_format format, const char *text, size_t len, struct thing *ret,
		 struct err *err)
{
	_doc_ struct doc *d = NULL;
	int r = doc_parse("f", text, len, format, &d, err);

	return r ? r : doc_read_map(d, doc_root(d), "a thing", keys, ARRAY_SIZE(keys), ret, err);
}

static void assert_good(enum doc_format format, const char *text, struct thing *ret)
{
	struct err err = {0};

	if (parse(format, text, strlen(text), ret, &err) < 0)
		fail_msg("%s", err.msg);
}

static void assert_bad_bytes(enum doc_format format, const char *text, size_t len,
			     const char *message)
{
	struct thing t = {0};
	struct err err = {0};

	assert_int_equal(parse(format, text, len, &t, &err), -EINVAL);
	assert_int_equal(err.kind, ERR_USAGE);
	assert_string_equal(err.msg, message);
	/* NULL instead of an error object is legal everywhere. */
	free(TAKE_PTR(t.name));
	t = (struct thing){0};
	assert_int_equal(parse(format, text, len, &t, NULL), -EINVAL);
	free(t.name);
}

static void assert_bad(enum doc_format format, const char *text, const char *message)
{
	assert_bad_bytes(format, text, strlen(text), message);
}

static void test_json(void **state)
{
	struct thing t = {0};

	(void)state;
	assert_good(DOC_JSON,
		    "{\n\t\"count\": -5, \"on\": true,\n\t\"name\": \"a\\u00e9\",\n"
		    "\"colour\": \"blue\", \"numbers\": [1, 2,\n3] }\n",
		    &t);
	assert_int_equal(t.count, -5);
	assert_true(t.on);
	assert_string_equal(t.name, "a\xc3\xa9");
	assert_int_equal(t.line, 3);
	assert_int_equal(t.colour, 2);
	assert_int_equal(t.n_numbers, 3);
	assert_int_equal(t.numbers[2], 3);
	free(t.name);
}

static void test_yaml(void **state)
{
	struct thing t = {0};

	(void)state;
	assert_good(DOC_YAML,
		    "# a thing\nname: plain\ncount: 7\non: false\ncolour: 'green'\n"
		    "numbers:\n  - 4\n  - 5\n",
		    &t);
	assert_string_equal(t.name, "plain");
	assert_int_equal(t.count, 7);
	assert_int_equal(t.colour, 1);
	assert_int_equal(t.n_numbers, 2);
	free(t.name);
}

static void test_json_syntax(void **state)
{
	(void)state;
	assert_bad(DOC_JSON, "", "f:1:1: JSON does not allow empty root content");
	assert_bad(DOC_JSON, "{\"name\": \"x\",}",
		   "f:1:13: JSON disallows trailing comma before closing brace");
	assert_bad(DOC_JSON, "{\n  \"name\": x\n}", "f:2:11: Invalid JSON plain scalar");
	assert_bad(DOC_JSON, "{\"name\": \"x\"} {}",
		   "f:1:15: there is more after the end of the document");
	assert_bad(DOC_JSON, "{\"name\": \"x\"}}",
		   "f:1:14: flow mapping with invalid extra closing brace");
	assert_bad(DOC_JSON, "{'name': 'x'}",
		   "f:1:2: single quoted scalars not supported in JSON mode");
	assert_bad_bytes(DOC_JSON, "{\"name\": \"\xff\"}", 13, "f:1:11: the text is not UTF-8");
}

static void test_yaml_syntax(void **state)
{
	(void)state;
	assert_bad(DOC_YAML, "", "f:1:1: a thing is a mapping of keys to values");
	assert_bad(DOC_YAML, "name: x\n---\nname: y\n",
		   "f:3:1: there is more after the end of the document");
	assert_bad(DOC_YAML, "name: x\n...\nname: y\n",
		   "f:3:1: there is more after the end of the document");
}

static void test_complex_keys(void **state)
{
	struct thing t = {0};

	(void)state;
	assert_bad(DOC_YAML, "name: x\n - ?\t\"v\":\t- ",
		   "f:2:1: \"?\" begins a key that is no plain text");
	assert_bad(DOC_YAML, "?", "f:1:1: \"?\" begins a key that is no plain text");
	assert_good(DOC_YAML, "name:\n ?x ?\n", &t);
	assert_string_equal(t.name, "?x ?");
	free(t.name);
}

static void test_utf8(void **state)
{
	static const char *const bad[] = {
		"\x80",
		"\xc1\xbf",
		"\xc3",
		"\xc3x",
		"\xe0\x9f\xbf",
		"\xed\xa0\x80",
		"\xe2\x82",
		"\xe2\x82x",
		"\xf0\x8f\xbf\xbf",
		"\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80",
		"\xff",
	};
	static const char good[] = "name: \"\xc3\xa9\xed\x9f\xbf\"\n"
				   "# \xc2\x80 \xe0\xa0\x80 \xef\xbf\xbd \xf0\x90\x80\x80 "
				   "\xf4\x8f\xbf\xbd\n";
	struct thing t = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_free_ char *text = xasprintf("name: x\n%%\xc3\xa9%s\n", bad[i]);

		assert_bad(DOC_YAML, text, "f:2:3: the text is not UTF-8");
	}
	assert_bad_bytes(DOC_YAML, "name: \0", 7, "f:1:7: there is a NUL character");
	assert_good(DOC_YAML, good, &t);
	assert_string_equal(t.name, "\xc3\xa9\xed\x9f\xbf");
	free(t.name);
}

static void test_keys(void **state)
{
	(void)state;
	assert_bad(DOC_JSON, "[]", "f:1:1: a thing is a mapping of keys to values");
	assert_bad(DOC_JSON, "{}", "f:1:1: a thing needs the key \"name\"");
	assert_bad(DOC_JSON, "{\"name\": \"x\",\n \"cuont\": 1}",
		   "f:2:2: a thing has no key \"cuont\": did you mean \"count\"?");
	assert_bad(DOC_JSON, "{\"zzzzz\": 1}",
		   "f:1:2: a thing has no key \"zzzzz\": its keys are name, count, on, colour, "
		   "numbers");
	assert_bad(DOC_JSON, "{\"name\": \"x\",\n\"count\": 1, \"name\": \"y\"}",
		   "f:2:13: \"name\" is given twice");
	assert_bad(DOC_JSON, "{\"color\": \"red\"}", "f:1:2: we write \"colour\"");
	assert_bad(DOC_JSON, "{\"\\u001b[31m\": 1}",
		   "f:1:2: a thing has no key \"?[31m\": its keys are name, count, on, colour, "
		   "numbers");
	assert_bad(DOC_YAML, "? [a, b]\n: 1\n", "f:1:1: \"?\" begins a key that is no plain text");
}

static void test_values(void **state)
{
	(void)state;
	assert_bad(DOC_JSON, "{\"name\": 5}", "f:1:10: a name is a string");
	assert_bad(DOC_JSON, "{\"name\": null}", "f:1:10: a name is a string");
	assert_bad(DOC_JSON, "{\"name\": {}}", "f:1:10: a name is a string");
	assert_bad(DOC_JSON, "{\"name\": \"123456789\"}", "f:1:10: a name is longer than 8 bytes");
	assert_bad(DOC_JSON, "{\"name\": \"a\\u0000b\"}",
		   "f:1:10: a name contains a NUL character");
	assert_bad(DOC_JSON, "{\"count\": 101}",
		   "f:1:11: a count is a number from -5 to 100, not 101");
	assert_bad(DOC_JSON, "{\"count\": 1e1}",
		   "f:1:11: a count is a number from -5 to 100, not 1e1");
	assert_bad(DOC_JSON, "{\"count\": 99999999999999999999}",
		   "f:1:11: a count is a number from -5 to 100, not 99999999999999999999");
	assert_bad(DOC_JSON, "{\"count\": \"5\"}", "f:1:11: a count is a number from -5 to 100");
	assert_bad(DOC_JSON, "{\"on\": 1}", "f:1:8: \"on\" is true or false");
	assert_bad(DOC_JSON, "{\"on\": True}", "f:1:8: Invalid JSON plain scalar");
	assert_bad(DOC_YAML, "on: yes\n", "f:1:5: \"on\" is true or false");
	assert_bad(DOC_YAML, "name: Null\n", "f:1:7: a name is a string");
	assert_bad(DOC_YAML, "name: TRUE\n", "f:1:7: a name is a string");
	assert_bad(DOC_JSON, "{\"on\": \"true\"}", "f:1:8: \"on\" is true or false");
	assert_bad(DOC_JSON, "{\"colour\": \"pink\"}",
		   "f:1:12: a colour is red, green or blue, not \"pink\"");
	assert_bad(DOC_JSON, "{\"numbers\": 1}", "f:1:13: numbers is a list");
	assert_bad(DOC_JSON, "{\"numbers\": [1,\n2,3,4,5]}",
		   "f:2:7: numbers has more than 4 entries");
	assert_bad(DOC_JSON, "{\"numbers\": [1,\n 10]}",
		   "f:2:2: a number is a number from 0 to 9, not 10");
}

static void test_yaml_values(void **state)
{
	(void)state;
	assert_bad(DOC_YAML, "count: 1\nname:\n", "f:2:1: a name is a string");
	assert_bad(DOC_YAML, "name: ~\n", "f:1:7: a name is a string");
	assert_bad(DOC_YAML, "name: 12\n", "f:1:7: a name is a string");
	assert_bad(DOC_YAML, "name: *x\n", "f:1:7: a name is a string, and YAML's aliases are not followed");
	assert_bad(DOC_YAML, "numbers:\n  - 1\n  -\n", "f:2:5: a number is a number from 0 to 9");
}

static void test_limits(void **state)
{
	_free_ char *text = xcalloc(DOC_SIZE_MAX + 1, 1);
	struct err err;
	struct doc *d;

	(void)state;
	memset(text, '[', DOC_SIZE_MAX + 1);
	assert_int_equal(doc_parse("f", text, DOC_SIZE_MAX + 1, DOC_JSON, &d, &err), -EINVAL);
	assert_string_equal(err.msg, "f: larger than 4 MiB");
	assert_int_equal(doc_parse("f", text, 1000, DOC_JSON, &d, &err), -EINVAL);
	assert_string_equal(err.msg, "f:1:64: Max depth (64) exceeded");
	assert_int_equal(doc_parse("f", text, 1000, DOC_YAML, &d, &err), -EINVAL);
	doc_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json),        cmocka_unit_test(test_yaml),
		cmocka_unit_test(test_json_syntax), cmocka_unit_test(test_yaml_syntax),
		cmocka_unit_test(test_utf8),        cmocka_unit_test(test_complex_keys),
		cmocka_unit_test(test_keys),        cmocka_unit_test(test_values),
		cmocka_unit_test(test_yaml_values), cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests_name("doc", tests, NULL, NULL);
}
