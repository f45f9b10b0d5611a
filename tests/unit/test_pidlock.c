// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "proc/pidlock.h"

static char top[64], path[128];

static int make_top(void **state)
{
	(void)state;
	snprintf(top, sizeof(top), "/tmp/byway-pidlock-XXXXXX");
	if (!mkdtemp(top))
		return -1;
	snprintf(path, sizeof(path), "%s/a/b/x.lock", top);
	return 0;
}

static int remove_top(void **state)
{
	char dir[96];

	(void)state;
	unlink(path);
	snprintf(dir, sizeof(dir), "%s/a/b", top);
	rmdir(dir);
	snprintf(dir, sizeof(dir), "%s/a", top);
	rmdir(dir);
	return rmdir(top);
}

/* A process that has the lock when this returns, and waits for its end. */
static pid_t start_holder(void (*on_term)(int))
{
	int ready[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		int fd;

		signal(SIGTERM, on_term);
		if (pidlock_take(path, &fd, NULL) || write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return pid;
}

static int status_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	return WTERMSIG(status);
}

static void test_nobody(void **state)
{
	struct stat st;
	int fd = -1;

	(void)state;
	assert_int_equal(pidlock_holder(path), 0);
	assert_int_equal(pidlock_end(path, 1000, NULL), 0);
	assert_int_equal(pidlock_take(path, &fd, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	close(fd);
	assert_int_equal(pidlock_holder(path), 0);
}

static void test_holder(void **state)
{
	pid_t pid = start_holder(SIG_DFL);
	int fd = -1;

	(void)state;
	assert_int_equal(pidlock_holder(path), pid);
	assert_int_equal(pidlock_take(path, &fd, NULL), -EBUSY);
	assert_int_equal(fd, -1);
	assert_int_equal(pidlock_end(path, 5000, NULL), 0);
	assert_int_equal(status_of(pid), SIGTERM);
	assert_int_equal(pidlock_holder(path), 0);
	assert_int_equal(pidlock_take(path, &fd, NULL), 0);
	close(fd);
}

static void test_stubborn(void **state)
{
	pid_t pid = start_holder(SIG_IGN);

	(void)state;
	assert_int_equal(pidlock_end(path, 100, NULL), 0);
	assert_int_equal(status_of(pid), SIGKILL);
}

static void test_no_folder(void **state)
{
	struct err err = {0};
	int fd = -1;

	(void)state;
	assert_int_equal(pidlock_take("/proc/none/of/x.lock", &fd, &err), -ENOENT);
	assert_non_null(err.msg[0] ? err.msg : NULL);
	assert_int_equal(fd, -1);
}

#define T(test) cmocka_unit_test_setup_teardown(test, make_top, remove_top)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_nobody),
		T(test_holder),
		T(test_stubborn),
		T(test_no_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
