// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "proc/backoff.h"
#include "proc/child.h"
#include "proc/identity.h"
#include "proc/user.h"

#define LIMIT_MS 30000

static const char *const env[] = {"PATH=/usr/bin:/bin", "COLOUR=blue", NULL};

static struct child_spec shell(const char *const argv[])
{
	return (struct child_spec){
		.path = "/bin/sh", .argv = argv, .env = env, .in = -1, .out = -1, .err = -1};
}

#define SHELL(script) shell((const char *const[]){"sh", "-c", script, NULL})

static struct child started(const struct child_spec *spec)
{
	struct err err = {0};
	struct child c;

	if (child_start(spec, &c, &err))
		fail_msg("%s", err.msg);
	return c;
}

/* All that the script writes, until it ends. */
static int output_of(struct child_spec spec, char *text, size_t size)
{
	int fds[2];
	struct child c;
	ssize_t n, len = 0;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	spec.out = fds[1];
	c = started(&spec);
	close(fds[1]);
	while ((n = read(fds[0], text + len, size - (size_t)len - 1)) > 0)
		len += n;
	text[len] = '\0';
	close(fds[0]);
	return child_wait(&c);
}

static void test_output(void **state)
{
	struct child_spec spec = SHELL("echo $COLOUR; cat; for f in 3 4 5 6 7 8 9; do "
				       "[ -e /proc/$$/fd/$f ] && echo $f; done; exit 3");
	_close_ int other = open("/dev/null", O_RDONLY); /* not close-on-exec */
	char text[256];

	(void)state;
	assert_true(other > 2);
	assert_int_equal(output_of(spec, text, sizeof(text)), 3);
	assert_string_equal(text, "blue\n");
}

static void test_ended(void **state)
{
	struct child_spec spec = SHELL("kill -9 $$");
	struct child c = started(&spec);
	struct pollfd p = {.fd = c.fd, .events = POLLIN};
	int status = -1;

	(void)state;
	assert_int_equal(poll(&p, 1, LIMIT_MS), 1);
	assert_true(child_ended(&c, &status));
	assert_int_equal(status, 128 + 9);
	assert_int_equal(c.fd, -1);
	child_stop(&c, 0); /* of none */
}

static void test_stop(void **state)
{
	struct child_spec spec = SHELL("trap '' TERM; echo x; while :; do sleep 1; done");
	int fds[2], status = -1;
	struct child c;
	char byte;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	spec.out = fds[1];
	c = started(&spec);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	assert_false(child_ended(&c, &status));
	child_stop(&c, 50);
	assert_int_equal(c.pid, 0);
	close(fds[0]);
	close(fds[1]);
}

static void test_signals(void **state)
{
	struct child_spec spec = SHELL("kill -INT $$; kill -USR1 $$; echo not blocked");
	sigset_t set;
	char text[64];

	(void)state;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	spec.ignore_keys = true;
	assert_int_equal(output_of(spec, text, sizeof(text)), 128 + SIGUSR1);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	assert_string_equal(text, "");
}

static void test_session(void **state)
{
	struct child_spec spec = SHELL("cut -d' ' -f1,6 /proc/self/stat; echo $$");
	char text[64];
	int pid, session, shell_pid;

	(void)state;
	spec.own_session = true;
	assert_int_equal(output_of(spec, text, sizeof(text)), 0);
	assert_int_equal(sscanf(text, "%d %d %d", &pid, &session, &shell_pid), 3);
	assert_int_equal(session, shell_pid);
}

/* The pipe ends when the last of them has. */
static void test_signal_session(void **state)
{
	struct child_spec spec = SHELL("sleep 1000 & echo x; sleep 1000");
	struct pollfd p = {.events = POLLIN};
	int fds[2];
	struct child c;
	char byte;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	spec.out = fds[1];
	spec.own_session = true;
	c = started(&spec);
	close(fds[1]);
	p.fd = fds[0];
	assert_int_equal(read(fds[0], &byte, 1), 1);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	child_signal_session(&c, SIGTERM);
	assert_int_equal(poll(&p, 1, LIMIT_MS), 1);
	assert_int_equal(read(fds[0], &byte, 1), 0);
	assert_int_equal(child_wait(&c), 128 + SIGTERM);
	child_signal_session(&c, SIGTERM); /* of none */
	close(fds[0]);
}

static void test_user(void **state)
{
	static const gid_t groups[] = {60001, 60002};
	const struct child_user user = {
		.uid = 60000, .gid = 60003, .groups = groups, .n_groups = 2};
	struct child_spec spec = SHELL("id -u; id -g; id -G");
	char text[256];

	(void)state;
	if (getuid())
		skip();
	spec.user = &user;
	assert_int_equal(output_of(spec, text, sizeof(text)), 0);
	assert_string_equal(text, "60000\n60003\n60003 60001 60002\n");
}

static void expect_failure(const struct child_spec *spec, int code, const char *text)
{
	struct child c = {.pid = 42, .fd = 42};
	struct err err = {0};

	assert_int_equal(child_start(spec, &c, &err), code);
	assert_non_null(strstr(err.msg, text));
	assert_int_equal(c.pid, 42);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie */
}

static void test_not_started(void **state)
{
	static const struct child_user root = {.uid = 0, .gid = 0};
	struct child_spec spec = SHELL("true");

	(void)state;
	spec.path = "/etc";
	expect_failure(&spec, -EACCES, "cannot start sh: cannot execute it");
	spec.path = "/nonexistent";
	expect_failure(&spec, -ENOENT, "No such file");
	if (!getuid())
		return;
	spec.user = &root;
	expect_failure(&spec, -EPERM, "cannot become its user");
}

/* The child of a process that is killed: a pipe that it holds has no writer any more. */
static void test_parent_dies(void **state)
{
	static const struct child_user nobody = {.uid = 65534, .gid = 65534};
	struct child_spec spec = SHELL("echo x; while :; do sleep 1; done");
	struct pollfd p = {.events = POLLIN};
	int fds[2];
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	spec.out = fds[1];
	spec.death_signal = SIGKILL;
	spec.user = getuid() ? NULL : &nobody;
	pid = fork();
	if (!pid) {
		started(&spec);
		for (;;)
			pause();
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	p.fd = fds[0];
	while (poll(&p, 1, LIMIT_MS) == 1 && !(p.revents & POLLHUP))
		assert_int_equal(read(fds[0], &byte, 1), 1);
	assert_true(p.revents & POLLHUP);
	close(fds[0]);
}

static void test_invoking_user(void **state)
{
	_user_ struct user me = {0}, sudoer = {0};
	struct err err = {0};

	(void)state;
	unsetenv("SUDO_UID");
	assert_int_equal(user_invoking(&me, &err), 0);
	assert_int_equal(me.uid, getuid());
	assert_true(me.n_groups >= 1);
	if (getuid())
		return;
	setenv("SUDO_UID", "65534", 1);
	assert_int_equal(user_invoking(&sudoer, &err), 0);
	assert_string_equal(sudoer.name, "nobody");
	assert_int_equal(sudoer.groups[0], sudoer.gid);
	setenv("SUDO_UID", "root", 1);
	assert_int_equal(user_invoking(&sudoer, &err), -EINVAL);
	unsetenv("SUDO_UID");
}

static void test_backoff(void **state)
{
	struct backoff b = {.min_ms = 200, .max_ms = 30000};

	(void)state;
	assert_int_equal(backoff_failed(&b, 1000, 0), 100);
	assert_int_equal(backoff_failed(&b, 1000, 200), 400);
	assert_int_equal(backoff_failed(&b, 1000, 0), 400);
	for (uint32_t i = 0; i < 100; i++) {
		uint32_t delay = backoff_failed(&b, 1000, i * 7919);

		assert_in_range(delay, i > 4 ? 15000 : 0, 30000);
	}
	backoff_succeeded(&b, 50000); /* for a moment */
	assert_int_equal(backoff_failed(&b, 79999, 0), 15000);
	backoff_succeeded(&b, 100000); /* for long */
	assert_int_equal(backoff_failed(&b, 130000, 0), 100);
}

static void a_process_is_known_by_its_start(void **state)
{
	struct child_spec spec = SHELL("read line");
	struct identity id, later;
	struct err err = {0};
	_close_ int pidfd = -1;
	struct child c;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	spec.in = fds[0];
	c = started(&spec);
	assert_int_equal(identity_open(c.pid, &id, &pidfd, NULL), 0);
	assert_int_equal(id.pid, c.pid);
	assert_true(identity_alive(&id));
	later = id;
	later.start++;
	assert_false(identity_alive(&later));
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(poll(&(struct pollfd){.fd = pidfd, .events = POLLIN}, 1, LIMIT_MS), 1);
	assert_false(identity_alive(&id)); /* not reaped yet */
	child_wait(&c);
	assert_false(identity_alive(&id));
	assert_int_equal(identity_open(id.pid, &id, &pidfd, &err), -ESRCH);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_output),      cmocka_unit_test(test_ended),
		cmocka_unit_test(test_stop),        cmocka_unit_test(test_signals),
		cmocka_unit_test(test_session),     cmocka_unit_test(test_signal_session),
		cmocka_unit_test(test_user),        cmocka_unit_test(test_not_started),
		cmocka_unit_test(test_parent_dies), cmocka_unit_test(test_invoking_user),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(a_process_is_known_by_its_start),
	};

	return cmocka_run_group_tests_name("child", tests, NULL, NULL);
}
