// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A session's files of /etc, in an /etc of this test's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/etc.h"
#include "base/file.h"
#include "session/etc.h"
#include "session/session.h"
#include "session/vpn.h"

#include "fw_probe.h"

#define MARK "# Made by byway; changes are lost.\n"

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void assert_file(const char *path, const char *want)
{
	_buf_ struct buf b = {0};

	assert_int_equal(file_read(path, 65536, &b, NULL), 0);
	assert_string_equal(b.data, want);
}

static bool is_there(const char *path)
{
	return access(path, F_OK) == 0;
}

static int setup(void **state)
{
	(void)state;
	if (mount("none", "/etc", "tmpfs", 0, NULL))
		return -1;
	put("/etc/resolv.conf", "nameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch host.test\n");
	put("/etc/nsswitch.conf", "passwd: files systemd\nhosts:\tfiles mdns4 resolve dns\n"
				  "# hosts: no\nservices: db files");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return umount2("/etc", MNT_DETACH);
}

static void write_files(const struct session_spec *spec, const struct vpn *vpn)
{
	struct err err = {0};

	if (etc_write("corp", spec, vpn, &err))
		fail_msg("%s", err.msg);
}

#define RESOLV "/etc/netns/corp/resolv.conf"
#define NSSWITCH "/etc/netns/corp/nsswitch.conf"

static const struct vpn pushed = {.dns = {{AF_INET, {10, 98, 0, 53}}, {AF_INET6, {0xfd, 0x98}}},
				  .n_dns = 2,
				  .domain = "corp.test",
				  .split_dns = {"corp.test", "lab.test"},
				  .n_split_dns = 2};

static void test_resolvers(void **state)
{
	struct session_spec full = {.mode = SESSION_FULL}, split = {.mode = SESSION_SPLIT};
	char search[] = "ours.test also.test";
	struct session_spec given = {.mode = SESSION_FULL,
				     .dns = {{AF_INET, {9, 9, 9, 9}}},
				     .n_dns = 1,
				     .search = search};

	(void)state;
	write_files(&full, NULL);
	assert_file(RESOLV, MARK "# No resolver is known.\n");
	write_files(&full, &pushed);
	assert_file(RESOLV, MARK "nameserver 10.98.0.53\nnameserver fd98::\n"
				 "search corp.test lab.test\n");
	write_files(&split, NULL);
	assert_file(RESOLV, MARK "nameserver 192.0.2.53\n");
	write_files(&split, &pushed);
	assert_file(RESOLV, MARK "nameserver 10.98.0.53\nnameserver fd98::\n"
				 "search corp.test lab.test\n");
	write_files(&given, NULL);
	assert_file(RESOLV, MARK "nameserver 9.9.9.9\nsearch ours.test also.test\n");
	write_files(&given, &pushed);
	assert_file(RESOLV, MARK "nameserver 9.9.9.9\nsearch ours.test also.test\n");
}

static void test_nsswitch(void **state)
{
	struct session_spec spec = {.mode = SESSION_FULL};

	(void)state;
	write_files(&spec, NULL);
	assert_file(NSSWITCH, MARK "passwd: files systemd\nhosts: files dns\n"
				   "# hosts: no\nservices: db files\n");
	put("/etc/nsswitch.conf", "passwd: files\n");
	write_files(&spec, NULL);
	assert_file(NSSWITCH, MARK "passwd: files\nhosts: files dns\n");
	unlink("/etc/nsswitch.conf");
	write_files(&spec, NULL);
	assert_file(NSSWITCH, MARK "hosts: files dns\n");
}

/* Who has it mounted sees what is written later, be it shorter. */
static void test_in_place(void **state)
{
	struct session_spec spec = {.mode = SESSION_FULL};
	struct stat before, after;

	(void)state;
	write_files(&spec, &pushed);
	assert_int_equal(stat(RESOLV, &before), 0);
	put("/etc/mounted", "");
	assert_int_equal(mount(RESOLV, "/etc/mounted", NULL, MS_BIND, NULL), 0);
	write_files(&spec, NULL);
	assert_file("/etc/mounted", MARK "# No resolver is known.\n");
	assert_int_equal(stat(RESOLV, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(after.st_mode & 07777, 0644);
	umount2("/etc/mounted", MNT_DETACH);
}

static void assert_mode(const char *path, mode_t want)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, want);
}

/* What runs in the namespace without being root looks names up, too. */
static void test_umask(void **state)
{
	struct session_spec spec = {.mode = SESSION_FULL};
	mode_t before = umask(077);

	(void)state;
	write_files(&spec, NULL);
	umask(before);
	assert_mode("/etc/netns", 0755);
	assert_mode("/etc/netns/corp", 0755);
	assert_mode(RESOLV, 0644);
	assert_mode(NSSWITCH, 0644);
}

static void test_remove(void **state)
{
	struct session_spec spec = {.mode = SESSION_FULL};
	struct err err = {0};

	(void)state;
	assert_int_equal(etc_remove("corp", &err), 0);
	write_files(&spec, NULL);
	assert_int_equal(etc_remove("corp", &err), 0);
	assert_false(is_there("/etc/netns/corp"));
	assert_int_equal(etc_remove("corp", &err), 0);
	/* What somebody else put beside stays. */
	write_files(&spec, NULL);
	put("/etc/netns/corp/hosts", "10.0.0.1 there\n");
	assert_int_equal(etc_remove("corp", &err), 0);
	assert_false(is_there(RESOLV));
	assert_file("/etc/netns/corp/hosts", "10.0.0.1 there\n");
}

static void refused(const char *what)
{
	struct session_spec spec = {.mode = SESSION_FULL};
	struct err err = {0};

	assert_int_equal(etc_write("corp", &spec, NULL, &err), -EEXIST);
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_non_null(strstr(err.msg, "/etc/netns/corp has files that are not byway's"));
	assert_int_equal(etc_remove("corp", &err), 0);
	assert_true(is_there(what));
}

static void test_foreign(void **state)
{
	struct session_spec spec = {.mode = SESSION_FULL};

	(void)state;
	sh("mkdir -p /etc/netns/corp");
	put(RESOLV, "nameserver 192.0.2.1\n");
	refused(RESOLV);
	assert_file(RESOLV, "nameserver 192.0.2.1\n");
	put(RESOLV, "");
	refused(RESOLV);
	unlink(RESOLV);
	put("/etc/netns/corp/hosts", "");
	refused("/etc/netns/corp/hosts");
	assert_false(is_there(RESOLV));
	unlink("/etc/netns/corp/hosts");
	write_files(&spec, NULL); /* an empty folder is nobody's */
	put(NSSWITCH, "hosts: files\n");
	refused(NSSWITCH);
	/* A link to a file of ours is not one. */
	sh("mkdir /etc/netns/other && mv %s /etc/netns/other && rm %s &&"
	   "ln -s ../other/resolv.conf %s",
	   RESOLV, NSSWITCH, RESOLV);
	refused(RESOLV);
}

static int collect(const char *netns, void *arg)
{
	strcat(arg, netns);
	return strcmp(netns, "stop") ? 0 : -EINTR;
}

static void test_each(void **state)
{
	struct session_spec spec = {.mode = SESSION_FULL};
	struct err err = {0};
	char seen[64] = "";

	(void)state;
	assert_int_equal(etc_each(collect, seen, &err), 0);
	assert_string_equal(seen, "");
	write_files(&spec, NULL);
	sh("mkdir /etc/netns/foreign && echo nameserver 192.0.2.1 >/etc/netns/foreign/resolv.conf "
	   "&&"
	   "mkdir /etc/netns/none && touch /etc/netns/file");
	assert_int_equal(etc_each(collect, seen, &err), 0);
	assert_string_equal(seen, "corp");
	sh("mv /etc/netns/corp /etc/netns/stop");
	assert_int_equal(etc_each(collect, seen, &err), -EINTR);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_resolvers), TEST(test_nsswitch), TEST(test_in_place),
		TEST(test_umask),     TEST(test_remove),   TEST(test_foreign),
		TEST(test_each),
	};

	world_enter();
	return cmocka_run_group_tests_name("session_etc", tests, NULL, NULL);
}
