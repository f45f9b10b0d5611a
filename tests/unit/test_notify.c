// SPDX-License-Identifier: GPL-2.0-or-later
/* A service manager's end of sd_notify(3): a datagram socket, by a path or by an abstract name. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/notify.h"
#include "base/util.h"
#include "open_fds.h"

/* name: as $NOTIFY_SOCKET has it. */
static int manager(const char *name)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(str_copy(addr.sun_path, sizeof(addr.sun_path), name), 0);
	if (*name == '@')
		addr.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&addr,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
			 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void expect(int fd, const char *want)
{
	char got[256] = "";

	if (!want) {
		assert_int_equal(recv(fd, got, sizeof(got) - 1, 0), -1);
		assert_int_equal(errno, EAGAIN);
		return;
	}
	assert_int_equal(recv(fd, got, sizeof(got) - 1, 0), strlen(want));
	assert_string_equal(got, want);
}

static void test_path(void **state)
{
	char dir[] = "/tmp/byway-notify-XXXXXX";
	_free_ char *path = NULL;
	_close_ int fd = -1;

	(void)state;
	assert_non_null(mkdtemp(dir));
	path = xasprintf("%s/socket", dir);
	fd = manager(path);
	notify_manager("READY=1\nSTATUS=2 of 3 up");
	notify_manager("STOPPING=1");
	expect(fd, "READY=1\nSTATUS=2 of 3 up");
	expect(fd, "STOPPING=1");
	expect(fd, NULL);
	unlink(path);
	rmdir(dir);
}

static void test_abstract(void **state)
{
	_free_ char *name = xasprintf("@byway-notify-%d", (int)getpid());
	_close_ int fd = manager(name);

	(void)state;
	notify_manager("READY=1");
	expect(fd, "READY=1");
}

/* Without a socket, behind the name of one that is gone, or with a name too long for one. */
static void test_nobody(void **state)
{
	_free_ char *name = xasprintf("@byway-notify-%d", (int)getpid());
	_free_ char *too_long = xasprintf("/%0200d", 1);
	_close_ int fd = manager(name);

	(void)state;
	unsetenv("NOTIFY_SOCKET");
	notify_manager("READY=1");
	expect(fd, NULL);
	close(TAKE_FD(fd));
	setenv("NOTIFY_SOCKET", name, 1);
	notify_manager("READY=1");
	setenv("NOTIFY_SOCKET", too_long, 1);
	notify_manager("READY=1");
}

/* A manager that reads nothing, and whose queue is full. */
static void test_busy(void **state)
{
	_free_ char *name = xasprintf("@byway-notify-%d", (int)getpid());
	_close_ int fd = manager(name);
	_close_ int other = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr;
	socklen_t len = sizeof(addr);

	(void)state;
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	while (sendto(other, "x", 1, 0, (struct sockaddr *)&addr, len) == 1)
		;
	assert_int_equal(errno, EAGAIN);
	alarm(30);
	notify_manager("READY=1");
	alarm(0);
	expect(fd, "x");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, remember_fds, compare_fds)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_path),
		TEST(test_abstract),
		TEST(test_nobody),
		TEST(test_busy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
