// SPDX-License-Identifier: GPL-2.0-or-later
/* A session's log in a directory of the test's own, and a journal that is a socket there. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <regex.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "open_fds.h"
#include "session/log.h"
#include "session/log_impl.h"

#define LARGE 1000000
#define STAMP_LEN 24 /* 2026-11-20T10:00:00.123Z */

/* ---- A place for each test ---- */

struct place {
	char dir[32];
	char *logs, *socket, *path;
};

static int make_place(void **state)
{
	struct place *p = xcalloc(1, sizeof(*p));

	remember_fds(state);
	snprintf(p->dir, sizeof(p->dir), "/tmp/byway-log-XXXXXX");
	if (!mkdtemp(p->dir))
		return -1;
	p->logs = xasprintf("%s/var/log", p->dir);
	p->path = xasprintf("%s/a.log", p->logs);
	p->socket = xasprintf("%s/journal", p->dir);
	*state = p;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int remove_place(void **state)
{
	struct place *p = *state;

	remove_tree(p->dir);
	free(p->logs);
	free(p->path);
	free(p->socket);
	free(p);
	return compare_fds(state);
}

static struct session_log *open_log(const struct place *p, uint64_t max_bytes, unsigned int keep)
{
	struct session_log *l = NULL;
	struct err err = {0};

	if (session_log_open(p->logs, "a", max_bytes, keep, &l, &err))
		fail_msg("%s", err.msg);
	session_log_set_journal(l, p->socket);
	assert_string_equal(session_log_path(l), p->path);
	return l;
}

static void say(struct session_log *l, const char *text)
{
	session_log_write(l, LOG_FROM_BYWAY, LOG_INFO, NULL, text);
}

static char *content(const char *path)
{
	struct buf b = {0};
	struct err err = {0};

	if (file_read(path, LARGE, &b, &err))
		fail_msg("%s", err.msg);
	buf_adds(&b, "");
	return b.data;
}

/* The lines of a file without their timestamps. */
static char *lines(const char *path)
{
	_free_ char *text = content(path);
	struct buf b = {0};
	char *rest = text;

	buf_adds(&b, "");
	for (char *line; (line = strsep(&rest, "\n")) && rest;) {
		assert_true(strlen(line) > STAMP_LEN);
		buf_addf(&b, "%s\n", line + STAMP_LEN + 1);
	}
	return b.data;
}

static void expect_lines(const char *path, const char *want)
{
	_free_ char *got = lines(path);

	assert_string_equal(got, want);
}

static void expect_text(struct session_log *l, const char *secret, const char *line,
			const char *want)
{
	_free_ char *expected = xasprintf("openconnect: %s\n", want);

	assert_int_equal(truncate(session_log_path(l), 0), 0);
	session_log_write(l, LOG_FROM_OPENCONNECT, LOG_INFO, secret, line);
	expect_lines(session_log_path(l), expected);
}

/* ---- What stands in the file ---- */

/* time(2) may be a tick behind the clock that the log reads. */
static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

static void test_line(void **state)
{
	const struct place *p = *state;
	struct session_log *l;
	char *text;
	regex_t re;
	struct stat st;
	struct tm tm = {0};
	time_t before = now(), at;

	umask(0);
	l = open_log(p, LARGE, 3);
	session_log_write(l, LOG_FROM_OPENCONNECT, LOG_INFO, NULL, "Connected as 10.99.0.7");
	session_log_write(l, LOG_FROM_BYWAY, LOG_INFO, NULL, "");
	text = content(p->path);
	assert_int_equal(
		regcomp(&re,
			"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "
			"openconnect: Connected as 10\\.99\\.0\\.7\n"
			"[0-9T:.-]{23}Z byway: \n$",
			REG_EXTENDED),
		0);
	assert_int_equal(regexec(&re, text, 0, NULL, 0), 0);
	assert_non_null(strptime(text, "%Y-%m-%dT%H:%M:%S", &tm));
	at = timegm(&tm);
	assert_in_range(at, before, now());
	regfree(&re);
	free(text);
	assert_int_equal(stat(p->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(stat(p->logs, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	session_log_free(l);
	session_log_free(NULL);
}

static void test_secret(void **state)
{
	struct session_log *l = open_log(*state, LARGE, 3);

	expect_text(l, NULL, "hunter2", "hunter2");
	expect_text(l, "", "hunter2", "hunter2");
	expect_text(l, "hunter2", "hunter2", "********");
	expect_text(l, "hunter2", "hunter", "hunter");
	expect_text(l, "hunter2", "a hunter2, hunter2hunter2 and hunhunter2",
		    "a ********, "
		    "**************** and "
		    "hun********");
	expect_text(l, "p&s s<\"w'%", "<password>p&amp;s s&lt;\"w'%</password>",
		    "<password>********</password>");
	expect_text(l, "p&s s<\"w'%", "<p>p&amp;s s&lt;&quot;w&apos;%</p>", "<p>********</p>");
	expect_text(l, "p&s s<\"w'%", "u=a&p=p%26s%20s%3c%22w%27%25&x=1", "u=a&p=********&x=1");
	expect_text(l, "p&s s<\"w'%", "p=p%26s%20s%3C%22w%27%25", "p=********");
	expect_text(l, "100%25", "it is 100%25!", "it is ********!");
	expect_text(l, "tab\there", "a tab\there", "a ********");
	expect_text(l, "\xc3\xa4", "%C3%A4 \xc3\xa4", "******** ********");
	session_log_free(l);
}

static void test_controls(void **state)
{
	struct session_log *l = open_log(*state, LARGE, 3);

	expect_text(l, NULL, "\x1b[31mred\x1b[0m\ttab\rback\nline\x7f",
		    "?[31mred?[0m?tab?back?line?");
	expect_text(l, NULL, "caf\xc3\xa9 \xe2\x82\xac \xc2\xa0",
		    "caf\xc3\xa9 \xe2\x82\xac \xc2\xa0");
	expect_text(l, NULL,
		    "\xc2\x9b"
		    "31m",
		    "??31m");
	expect_text(l, NULL, "end \xc2", "end \xc2");
	session_log_free(l);
}

/* What is cut off ends neither in half a character nor in half a secret. */
static void test_long_lines(void **state)
{
	const struct place *p = *state;
	struct session_log *l = open_log(p, LARGE, 3);
	char line[8192];

	for (size_t before = 2000; before < 2060; before++) {
		_free_ char *got = NULL;
		size_t len;

		memset(line, 'x', before);
		strcpy(line + before, "hunter2");
		for (size_t i = before + 7; i < 6000; i += 3)
			memcpy(line + i, "\xe2\x82\xac", 4);
		assert_int_equal(truncate(p->path, 0), 0);
		session_log_write(l, LOG_FROM_BYWAY, LOG_INFO, "hunter2", line);
		got = lines(p->path);
		len = strlen(got);
		assert_in_range(len, 2040, 2060);
		assert_string_equal(got + len - 4, "...\n");
		assert_null(strstr(got, "hunt"));
		assert_int_not_equal((unsigned char)got[len - 5], 0xe2);
		if ((unsigned char)got[len - 5] >= 0x80)
			assert_memory_equal(got + len - 7, "\xe2\x82\xac", 3);
	}
	session_log_free(l);
}

/* ---- Rotation ---- */

static char *numbered(const struct place *p, unsigned int i)
{
	return i ? xasprintf("%s.%u", p->path, i) : xstrdup(p->path);
}

static void expect_absent(const struct place *p, unsigned int i)
{
	_free_ char *path = numbered(p, i);

	assert_int_equal(access(path, F_OK), -1);
}

/* A line is STAMP_LEN + " byway: NN\n", 35 bytes: three go into 110, and a fourth does not. */
static void test_rotation(void **state)
{
	const struct place *p = *state;
	struct session_log *l = open_log(p, 110, 2);

	for (int i = 10; i < 21; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%d", i);
		say(l, text);
		if (i == 12)
			expect_absent(p, 1);
		if (i == 15) { /* the file is where the process before has left it */
			session_log_free(l);
			l = open_log(p, 110, 2);
		}
	}
	for (unsigned int i = 0; i < 3; i++) {
		static const char *const want[] = {"byway: 19\nbyway: 20\n",
						   "byway: 16\nbyway: 17\nbyway: 18\n",
						   "byway: 13\nbyway: 14\nbyway: 15\n"};
		_free_ char *path = numbered(p, i);

		expect_lines(path, want[i]);
	}
	expect_absent(p, 3);
	session_log_free(l);
}

static void test_keep_none(void **state)
{
	const struct place *p = *state;
	struct session_log *l = open_log(p, 80, 0);

	say(l, "10");
	say(l, "11");
	say(l, "12");
	expect_lines(p->path, "byway: 12\n");
	expect_absent(p, 1);
	session_log_free(l);
}

/* A line that is longer than the file may be stands there alone. */
static void test_rotation_of_one(void **state)
{
	const struct place *p = *state;
	struct session_log *l = open_log(p, 10, 1);
	_free_ char *old = numbered(p, 1);

	say(l, "10");
	expect_absent(p, 1);
	say(l, "11");
	expect_lines(p->path, "byway: 11\n");
	expect_lines(old, "byway: 10\n");
	session_log_free(l);
}

/* ---- What others do to the file ---- */

static void test_moved(void **state)
{
	const struct place *p = *state;
	struct session_log *l = open_log(p, LARGE, 3);
	_free_ char *old = numbered(p, 1);

	say(l, "one");
	assert_int_equal(rename(p->path, old), 0);
	say(l, "two");
	assert_int_equal(unlink(p->path), 0);
	say(l, "three");
	assert_int_equal(truncate(p->path, 0), 0);
	say(l, "four");
	expect_lines(old, "byway: one\n");
	expect_lines(p->path, "byway: four\n");
	remove_tree(p->logs);
	say(l, "five");
	expect_lines(p->path, "byway: five\n");
	session_log_free(l);
}

/* What fn(arg) writes to stderr. */
static char *stderr_of(void (*fn)(void *), void *arg)
{
	_close_ int saved = dup(STDERR_FILENO);
	_close_ int file = memfd_create("stderr", MFD_CLOEXEC);
	char text[4096] = "";
	ssize_t n;

	fflush(stderr);
	dup2(file, STDERR_FILENO);
	fn(arg);
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	n = pread(file, text, sizeof(text) - 1, 0);
	assert_true(n >= 0);
	return xstrdup(text);
}

static void say_thrice(void *l)
{
	for (int i = 0; i < 3; i++)
		say(l, "lost");
}

static void test_no_place(void **state)
{
	const struct place *p = *state;
	struct session_log *l = open_log(p, LARGE, 3);
	_free_ char *want =
		xasprintf("byway: warning: cannot write %s: Not a directory\n", p->path);
	_free_ char *told = NULL, *again = NULL;

	remove_tree(p->logs);
	close(creat(p->logs, 0600));
	told = stderr_of(say_thrice, l);
	assert_string_equal(told, want);
	assert_int_equal(unlink(p->logs), 0);
	say(l, "back");
	expect_lines(p->path, "byway: back\n");
	remove_tree(p->logs);
	close(creat(p->logs, 0600));
	again = stderr_of(say_thrice, l);
	assert_string_equal(again, "");
	session_log_free(l);
}

static bool mount_tiny(const char *dir)
{
	if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return false;
	return !mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("tmpfs", dir, "tmpfs", 0, "size=8k,mode=700");
}

static void say_much(void *l)
{
	for (int i = 0; i < 400; i++)
		say(l, "what does not fit any more is not there in part either");
}

static void test_full_disk(void **state)
{
	const struct place *p = *state;
	struct session_log *l;
	_free_ char *told = NULL, *got = NULL;
	_free_ char *want =
		xasprintf("byway: warning: cannot write %s: No space left on device\n", p->path);
	_free_ char *filler = xasprintf("%s/filler", p->dir);

	if (!mount_tiny(p->dir))
		skip();
	_close_ int fd = creat(filler, 0600);
	assert_int_equal(write(fd, "x", 1), 1); /* a page; one is left */
	l = open_log(p, LARGE, 3);
	told = stderr_of(say_much, l);
	assert_string_equal(told, want);
	got = content(p->path);
	assert_in_range(strlen(got), 3900, 4096);
	assert_int_equal(got[strlen(got) - 1], '\n');
	assert_int_equal(unlink(filler), 0);
	close(TAKE_FD(fd));
	say(l, "room again");
	free(got);
	got = content(p->path);
	assert_non_null(strstr(got, "byway: room again\n"));
	session_log_free(l);
	umount(p->dir);
}

static void test_open_errors(void **state)
{
	const struct place *p = *state;
	_free_ char *want = xasprintf("cannot open the log %s/a.log: Not a directory", p->socket);
	struct session_log *l = NULL;
	struct err err = {0};

	close(creat(p->socket, 0600));
	assert_int_equal(session_log_open(p->socket, "a", LARGE, 1, &l, &err), -ENOTDIR);
	assert_string_equal(err.msg, want);
	assert_int_equal(session_log_open("", "a", LARGE, 1, &l, &err), -ENOENT);
	l = open_log(p, LARGE, 1);
	session_log_free(TAKE_PTR(l));
	unlink(p->path);
	assert_int_equal(symlink("/dev/null", p->path), 0);
	assert_int_equal(session_log_open(p->logs, "a", LARGE, 1, &l, &err), -ELOOP);
	unlink(p->path);
	assert_int_equal(mkfifo(p->path, 0600), 0);
	assert_int_equal(session_log_open(p->logs, "a", LARGE, 1, &l, &err), -ENXIO);
	assert_null(l);
}

/* ---- The journal ---- */

static int journal(const struct place *p)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(str_copy(addr.sun_path, sizeof(addr.sun_path), p->socket), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void expect_entry(int fd, const char *want)
{
	char got[8192];
	ssize_t n = recv(fd, got, sizeof(got) - 1, 0);

	assert_true(n > 0);
	got[n] = '\0';
	assert_string_equal(got, want);
}

static void test_journal(void **state)
{
	const struct place *p = *state;
	struct session_log *l = open_log(p, LARGE, 3);
	_close_ int fd = -1;

	say(l, "nobody listens yet");
	fd = journal(p);
	session_log_write(l, LOG_FROM_OPENCONNECT, LOG_ERR, "hunter2",
			  "PRIORITY=0\nhunter2 refused");
	expect_entry(fd,
		     "MESSAGE=PRIORITY=0?******** refused\nPRIORITY=3\nSYSLOG_IDENTIFIER=byway\n"
		     "BYWAY_SESSION=a\nBYWAY_SOURCE=openconnect\n");
	close(TAKE_FD(fd));
	say(l, "nobody listens any more");
	assert_int_equal(unlink(p->socket), 0);
	fd = journal(p);
	say(l, "up");
	expect_entry(fd, "MESSAGE=up\nPRIORITY=6\nSYSLOG_IDENTIFIER=byway\nBYWAY_SESSION=a\n"
			 "BYWAY_SOURCE=byway\n");
	expect_lines(p->path, "byway: nobody listens yet\n"
			      "openconnect: PRIORITY=0?******** refused\n"
			      "byway: nobody listens any more\n"
			      "byway: up\n");
	session_log_free(l);
}

/* A journal that does not read is not waited for. */
static void test_busy_journal(void **state)
{
	struct session_log *l = open_log(*state, LARGE, 3);
	_close_ _unused_ int fd = journal(*state);

	alarm(30);
	for (int i = 0; i < 2000; i++)
		say(l, "again");
	alarm(0);
	session_log_free(l);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, make_place, remove_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_line),
		TEST(test_secret),
		TEST(test_controls),
		TEST(test_long_lines),
		TEST(test_rotation),
		TEST(test_keep_none),
		TEST(test_rotation_of_one),
		TEST(test_moved),
		TEST(test_no_place),
		TEST(test_full_disk),
		TEST(test_open_errors),
		TEST(test_journal),
		TEST(test_busy_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
