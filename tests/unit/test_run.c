// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "proc/run.h"

struct result {
	struct buf out, err;
	int status;
};

static void result_done(struct result *r)
{
	buf_done(&r->out);
	buf_done(&r->err);
}

#define _result_ _cleanup_(result_done)

static struct result run_it(const struct buf *input, const char *const argv[])
{
	struct result r = {.status = -1};
	struct err err = {0};

	if (run(NULL, argv, input, &r.out, &r.err, &r.status, &err))
		fail_msg("%s", err.msg);
	return r;
}

#define RUN(input, ...) run_it(input, (const char *const[]){__VA_ARGS__, NULL})

static void test_status(void **state)
{
	_result_ struct result three = RUN(NULL, "sh", "-c", "echo out; echo err >&2; exit 3");
	_result_ struct result killed = RUN(NULL, "sh", "-c", "kill -9 $$");

	(void)state;
	assert_int_equal(three.status, 3);
	assert_string_equal(three.out.data, "out\n");
	assert_string_equal(three.err.data, "err\n");
	assert_int_equal(killed.status, 128 + 9);
}

static void test_silent(void **state)
{
	_result_ struct result r = {.status = -1};
	char *before = malloc(4096);

	/* What was in the memory that the buffer gets must not become the answer. */
	assert_non_null(before);
	memset(before, 'x', 4095);
	free(before);
	r = RUN(NULL, "true");
	(void)state;
	assert_int_equal(r.status, 0);
	assert_int_equal(r.out.len, 0);
	assert_string_equal(r.out.data, "");
}

static void test_input(void **state)
{
	_buf_ struct buf input = {0};
	_result_ struct result r = {0}, ignored = {0};

	(void)state;
	for (int i = 0; i < 50000; i++)
		buf_addf(&input, "line %d\n", i);
	r = RUN(&input, "cat");
	assert_int_equal(r.out.len, input.len);
	assert_memory_equal(r.out.data, input.data, input.len);
	ignored = RUN(&input, "true"); /* one that does not read */
	assert_int_equal(ignored.status, 0);
}

static void test_environment(void **state)
{
	_result_ struct result r = {0};

	(void)state;
	setenv("SECRET", "of ours", 1);
	r = RUN(NULL, "env");
	assert_string_equal(r.out.data, "PATH=" RUN_PATH "\nLC_ALL=C\n");
}

static void test_descriptors(void **state)
{
	_close_ int fd = open("/dev/null", O_RDONLY); /* not close-on-exec */
	_result_ struct result r = RUN(NULL, "sh", "-c",
				       "for f in 3 4 5 6 7 8 9; do "
				       "[ -e /proc/$$/fd/$f ] && echo $f; done; true");

	(void)state;
	assert_true(fd > 2);
	assert_string_equal(r.out.data, "");
}

/* Who stays in the background keeps the streams open; nobody waits for that. */
static void test_left_behind(void **state)
{
	const char *const argv[] = {"sh", "-c", "sleep 60 & echo $!; echo said >&2", NULL};
	_buf_ struct buf out = {0}, said = {0};
	struct err err = {0};
	int status = -1;

	(void)state;
	assert_int_equal(run(NULL, argv, NULL, &out, &said, &status, &err), 0);
	assert_int_equal(status, 0);
	assert_string_equal(said.data, "said\n");
	assert_int_equal(kill((pid_t)atoi(out.data), SIGKILL), 0);
}

static void test_missing(void **state)
{
	const char *const argv[] = {"byway-no-such-program", NULL};
	struct err err = {0};
	int status = 42;

	(void)state;
	assert_int_equal(run(NULL, argv, NULL, NULL, NULL, &status, &err), -ENOENT);
	assert_int_equal(err.kind, ERR_UNSUPPORTED);
	assert_non_null(strstr(err.msg, "byway-no-such-program is not installed"));
	assert_int_equal(status, 42);
	assert_false(run_has("byway-no-such-program"));
	assert_true(run_has("sh"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),      cmocka_unit_test(test_silent),
		cmocka_unit_test(test_input),       cmocka_unit_test(test_environment),
		cmocka_unit_test(test_descriptors), cmocka_unit_test(test_left_behind),
		cmocka_unit_test(test_missing),
	};

	return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}
