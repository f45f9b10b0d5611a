// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/line.h"
#include "base/utf8.h"
#include "base/util.h"

static void an_error_gains_context(void **state)
{
	struct err err = {0};

	(void)state;
	assert_int_equal(err_errno(&err, -EPERM, "cannot open %s", "x"), -EPERM);
	assert_int_equal(err.kind, ERR_PERMISSION);
	assert_int_equal(err_context(&err, "VPC '%s'", "p"), -EPERM);
	err_append(&err, " (%d)", 7);
	assert_string_equal(err.msg, "VPC 'p': cannot open x: Operation not permitted (7)");
	assert_int_equal(err_set(NULL, ERR_FAILED, -EIO, "nobody reads this"), -EIO);
}

static void a_long_error_is_cut(void **state)
{
	struct err err = {0};

	(void)state;
	err_set(&err, ERR_FAILED, -EIO, "%2000s", "x");
	for (int i = 0; i < 4; i++)
		err_context(&err, "%300s", "y");
	err_append(&err, "%2000s", "z");
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
}

static void a_buffer_grows(void **state)
{
	_buf_ struct buf b = {0};

	(void)state;
	for (int i = 0; i < 5000; i++)
		buf_addf(&b, "%d,", i % 10);
	assert_int_equal(b.len, 10000);
	assert_int_equal(strlen(b.data), 10000);
	assert_memory_equal(b.data + 9990, "5,6,7,8,9,", 10);
	buf_reset(&b);
	assert_string_equal(b.data, "");
}

static void the_nearest_word(void **state)
{
	static const char *const words[] = {"create", "delete", "list"};

	(void)state;
	assert_string_equal(str_nearest("crate", words, 3), "create");
	assert_string_equal(str_nearest("lst", words, 3), "list");
	assert_null(str_nearest("xyzzy", words, 3));
	assert_int_equal(str_distance("kitten", "sitting"), 3);
}

static void copying_never_cuts(void **state)
{
	char small[4] = "old";

	(void)state;
	assert_int_equal(str_copy(small, sizeof(small), "1234"), -ENAMETOOLONG);
	assert_string_equal(small, "old");
	assert_int_equal(str_copy(small, sizeof(small), "123"), 0);
	assert_string_equal(small, "123");
}

/* Adds all of text, up to its one end of a line; the line. */
static const char *gathered(struct line *l, const char *text)
{
	for (const char *at = text; *at; at++)
		assert_int_equal(line_add(l, *at), *at == '\n');
	return l->text;
}

static void test_gathering(void **state)
{
	struct line l = {0};
	char text[2 * sizeof(l.text)];

	(void)state;
	assert_string_equal(gathered(&l, "not yet a line"), "not yet a line");
	assert_string_equal(gathered(&l, ", now\r\n"), "not yet a line, now");
	assert_string_equal(gathered(&l, "\n"), "");
	assert_string_equal(gathered(&l, "a\x1b[2J\tb\xc3\xa9~\x7f\n"), "a?[2J?b??~?");
	memset(text, 'x', sizeof(text));
	memcpy(text + sizeof(text) - 2, "\n", 2);
	assert_int_equal(strlen(gathered(&l, text)), sizeof(l.text) - 1);
	assert_string_equal(gathered(&l, "the next\n"), "the next");
}

static void mended(const char *text, const char *want)
{
	char copy[32];

	assert_int_equal(str_copy(copy, sizeof(copy), text), 0);
	utf8_mend(copy);
	assert_string_equal(copy, want);
	assert_int_equal(utf8_is_valid(text), !strcmp(text, want));
	assert_true(utf8_is_valid(copy));
}

static void what_is_no_utf8_is_mended(void **state)
{
	(void)state;
	mended("", "");
	mended("plain", "plain");
	mended("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
	mended("caf\xe9!", "caf?!");		       /* ISO 8859-1 */
	mended("cut \xe2\x82", "cut ??");
	mended("\xc0\xaf \xed\xa0\x80", "?? ???");     /* overlong, a surrogate */
	mended("\xf4\x90\x80\x80 \xff", "???? ?");     /* beyond Unicode */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gathering),
		cmocka_unit_test(an_error_gains_context), cmocka_unit_test(a_long_error_is_cut),
		cmocka_unit_test(a_buffer_grows),	  cmocka_unit_test(the_nearest_word),
		cmocka_unit_test(copying_never_cuts),	  cmocka_unit_test(what_is_no_utf8_is_mended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
