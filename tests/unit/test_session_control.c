// SPDX-License-Identifier: GPL-2.0-or-later
/* How a group's process is asked, where names and passwords come from, and the loop that waits for
 * all that. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/ip.h"
#include "base/loop.h"
#include "session/control.h"
#include "session/secret.h"
#include "session/server.h"

static char dir[] = "/tmp/byway-test-XXXXXX";

static char *in_dir(const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

/* ---- Asking ---- */

struct asked {
	const char *path, *env;
	size_t env_len;
	enum control_verb verb;
	struct err err;
	int r;
};

static void *ask(void *arg)
{
	struct asked *a = arg;

	a->r = control_ask(a->path, a->verb, "corp-1", a->env, a->env_len, &a->err);
	return NULL;
}

/* Accepts one connection and reads its request. */
static int served(int listener, char *buf, struct control_request *q)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};
	int fd;

	assert_int_equal(poll(&p, 1, 10000), 1);
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	p.fd = fd;
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(control_read(fd, buf, q), 0);
	return fd;
}

static void test_ask(void **state)
{
	static const char env[] = "reason=connect\0TUNDEV=tun0";
	_free_ char *path = in_dir("sock"), *buf = xcalloc(1, CONTROL_MAX);
	struct asked a = {.path = path, .env = env, .env_len = sizeof(env), .verb = CONTROL_HOOK};
	struct control_request q;
	struct err result = {0};
	pthread_t thread;
	struct stat st;
	int fd, listener;

	(void)state;
	assert_int_equal(control_listen(path, &listener, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	pthread_create(&thread, NULL, ask, &a);
	fd = served(listener, buf, &q);
	assert_int_equal(q.verb, CONTROL_HOOK);
	assert_string_equal(q.name, "corp-1");
	assert_int_equal(q.env_len, sizeof(env));
	assert_memory_equal(q.env, env, sizeof(env));
	err_set(&result, ERR_CONFLICT, -ESTALE, "another one runs");
	control_answer(fd, &result);
	pthread_join(thread, NULL);
	assert_int_equal(a.r, -ESTALE);
	assert_int_equal(a.err.kind, ERR_CONFLICT);
	assert_string_equal(a.err.msg, "another one runs");
	close(fd);
	close(listener);
	unlink(path);
}

static void test_ask_well(void **state)
{
	_free_ char *path = in_dir("sock"), *buf = xcalloc(1, CONTROL_MAX);
	struct asked a = {.path = path, .verb = CONTROL_CHECK};
	const struct err none = {0};
	struct control_request q;
	pthread_t thread;
	int fd, listener;

	(void)state;
	assert_int_equal(control_listen(path, &listener, NULL), 0);
	pthread_create(&thread, NULL, ask, &a);
	fd = served(listener, buf, &q);
	assert_int_equal(q.verb, CONTROL_CHECK);
	assert_int_equal(q.env_len, 0);
	control_answer(fd, &none);
	pthread_join(thread, NULL);
	assert_int_equal(a.r, 0);
	close(fd);
	close(listener);
	unlink(path);
}

/* The process ends before it has answered. */
static void test_ask_the_dying(void **state)
{
	_free_ char *path = in_dir("sock"), *buf = xcalloc(1, CONTROL_MAX);
	struct asked a = {.path = path, .verb = CONTROL_RESTART};
	struct control_request q;
	pthread_t thread;
	int listener;

	(void)state;
	assert_int_equal(control_listen(path, &listener, NULL), 0);
	pthread_create(&thread, NULL, ask, &a);
	close(served(listener, buf, &q));
	pthread_join(thread, NULL);
	assert_int_equal(a.r, -ECONNRESET);
	assert_non_null(strstr(a.err.msg, path));
	close(listener);
	ask(&a);
	assert_int_equal(a.r, -ECONNREFUSED);
	unlink(path);
	ask(&a);
	assert_int_equal(a.r, -ENOENT);
}

static int read_request(const char *text, size_t len)
{
	_free_ char *buf = xcalloc(1, CONTROL_MAX);
	struct control_request q;
	int fds[2], r;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	assert_int_equal(control_read(fds[0], buf, &q), -EAGAIN);
	if (len)
		assert_int_equal(send(fds[1], text, len, 0), len);
	else
		shutdown(fds[1], SHUT_WR);
	r = control_read(fds[0], buf, &q);
	close(fds[0]);
	close(fds[1]);
	return r;
}

static void test_nonsense(void **state)
{
	char name[NAME_MAX_LEN + 16] = "down";

	(void)state;
	assert_int_equal(read_request("down\0corp-1", 12), 0);
	assert_int_equal(read_request("", 0), -EBADMSG);
	assert_int_equal(read_request("down", 4), -EBADMSG);
	assert_int_equal(read_request("down\0corp-1", 11), -EBADMSG);
	assert_int_equal(read_request("up\0corp-1", 10), -EBADMSG);
	memset(name + 5, 'x', NAME_MAX_LEN);
	assert_int_equal(read_request(name, sizeof(name)), -EBADMSG);
}

/* ---- Passwords ---- */

static int take(const char *text, size_t len, struct secret *s, struct err *err)
{
	return secret_take_line(s, text, len, err);
}

static void test_first_line(void **state)
{
	char longest[SECRET_MAX + 1];
	struct err err;
	struct secret s;

	(void)state;
	assert_int_equal(take("hunter2\nmore", 12, &s, NULL), 0);
	assert_string_equal(s.text, "hunter2");
	assert_int_equal(take(" sp ace \r\n", 10, &s, NULL), 0);
	assert_string_equal(s.text, " sp ace ");
	assert_int_equal(take("\n", 1, &s, &err), -EINVAL);
	assert_string_equal(err.msg, "the password is empty");
	assert_int_equal(take("a\0b", 3, &s, &err), -EINVAL);
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(take(longest, SECRET_MAX - 1, &s, NULL), 0);
	assert_int_equal(take(longest, SECRET_MAX, &s, &err), -EINVAL);
	assert_null(strstr(err.msg, "xxx"));
}

static void test_file_and_pipe(void **state)
{
	_free_ char *path = in_dir("password");
	struct session_secret from = {.kind = SECRET_FILE, .text = path};
	struct secret s = {0};
	char got[64] = "";
	struct err err;
	FILE *f;
	int fd;

	(void)state;
	assert_int_equal(secret_read(&from, &s, &err), -ENOENT);
	assert_non_null(strstr(err.msg, path));
	f = fopen(path, "we");
	assert_non_null(f);
	fputs("hunter2\n", f);
	fclose(f);
	assert_int_equal(secret_read(&from, &s, NULL), 0);
	assert_int_equal(secret_pipe(&s, &fd, NULL), 0);
	assert_int_equal(read(fd, got, sizeof(got)), 8);
	assert_string_equal(got, "hunter2\n");
	assert_int_equal(read(fd, got, sizeof(got)), 0);
	close(fd);
	unlink(path);
}

/* A supervisor does not wait for somebody to write. */
static void test_named_pipe(void **state)
{
	_free_ char *path = in_dir("pipe");
	const struct session_secret from = {.kind = SECRET_FILE, .text = path};
	struct secret s = {0};
	struct err err;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(secret_read(&from, &s, &err), -EINVAL);
	unlink(path);
}

static void test_no_password(void **state)
{
	const struct session_secret from = {.kind = SECRET_NONE};
	struct secret s = {.text = "old"};
	char byte;
	int fd;

	(void)state;
	assert_int_equal(secret_read(&from, &s, NULL), 0);
	assert_int_equal(secret_pipe(&s, &fd, NULL), 0);
	assert_int_equal(read(fd, &byte, 1), 0);
	close(fd);
}

/* ---- Names ---- */

/* Other answers may come in between. */
static int wait_for_name(struct servers *s, const char *name, struct ip *ip, struct err *err)
{
	struct pollfd p = {.fd = servers_fd(s), .events = POLLIN};
	int r;

	while ((r = servers_address(s, name, clock_ms(), ip, err)) == -EAGAIN) {
		assert_int_equal(poll(&p, 1, 30000), 1);
		servers_note(s);
	}
	return r;
}

#define TOO_LONG "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static void test_names(void **state)
{
	struct servers *s;
	char text[IP_STRLEN];
	struct err err;
	struct ip ip;

	(void)state;
	assert_int_equal(servers_new(&s, NULL), 0);
	assert_int_equal(wait_for_name(s, "localhost", &ip, NULL), 0);
	assert_string_equal(ip_format(&ip, text), "127.0.0.1");
	assert_int_equal(servers_address(s, "localhost", clock_ms() + 1000, &ip, NULL), 0);
	/* Later it is asked again. */
	assert_int_equal(servers_address(s, "localhost", clock_ms() + 60000, &ip, NULL), -EAGAIN);
	/* Its one label is too long for a DNS message (RFC 1035 2.3.4): no server is asked. */
	assert_int_equal(wait_for_name(s, TOO_LONG, &ip, &err), -EHOSTUNREACH);
	assert_non_null(strstr(err.msg, "cannot resolve " TOO_LONG ": "));
	assert_int_equal(servers_address(s, TOO_LONG, clock_ms(), &ip, &err), -EHOSTUNREACH);
	assert_int_equal(servers_address(s, TOO_LONG, clock_ms() + 1000, &ip, NULL), -EAGAIN);
	servers_free(s); /* while names are being asked for */
}

/* ---- The loop ---- */

struct two {
	struct loop *loop;
	struct source a, b;
	int calls;
};

/* Whoever is called first deletes both. */
static void delete_both(void *arg, uint32_t events)
{
	struct two *t = arg;

	assert_true(events & EPOLLIN);
	t->calls++;
	loop_del(t->loop, &t->a);
	loop_del(t->loop, &t->b);
}

static void test_loop(void **state)
{
	struct two t = {0};
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(loop_new(&t.loop), 0);
	loop_del(t.loop, &t.a); /* in no loop */
	assert_int_equal(loop_add(t.loop, &t.a, fds[0], EPOLLIN, delete_both, &t), 0);
	assert_int_equal(loop_add(t.loop, &t.b, dup(fds[0]), EPOLLIN, delete_both, &t), 0);
	assert_int_equal(loop_add(t.loop, &t.b, fds[0], EPOLLIN, delete_both, &t), -EEXIST);
	assert_int_equal(loop_wait(t.loop, 10000), 0);
	assert_int_equal(loop_wait(t.loop, 50), 0);
	assert_int_equal(t.calls, 1);
	loop_free(t.loop);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ask),           cmocka_unit_test(test_ask_well),
		cmocka_unit_test(test_ask_the_dying), cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_first_line),    cmocka_unit_test(test_file_and_pipe),
		cmocka_unit_test(test_no_password),   cmocka_unit_test(test_names),
		cmocka_unit_test(test_loop),          cmocka_unit_test(test_named_pipe),
	};

	return cmocka_run_group_tests_name("session_control", tests, make_dir, remove_dir);
}
