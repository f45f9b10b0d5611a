// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The store, from outside: what it promises while others work, after a kill, and on files it must
 * not touch. Runs as root: the full disk is a small tmpfs in a mount namespace of our own.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "store/lock.h"
#include "store/schema.h"
#include "store/store.h"

#define assert_ok(call) assert_ok_(call, &err, #call)
#define INSERT_SYSCTL "INSERT INTO sysctl(key, old, new) VALUES(?, ?, ?)"

struct place {
	char dir[64]; /* absent until a test makes it */
	char parent[32];
	char db[80];
};

static void assert_ok_(int r, const struct err *err, const char *call)
{
	if (r < 0)
		fail_msg("%s: %d: %s", call, r, err->msg);
}

static int setup(void **state)
{
	struct place *p = xcalloc(1, sizeof(*p));

	strcpy(p->parent, "/tmp/byway-store-XXXXXX");
	if (!mkdtemp(p->parent))
		return -1;
	snprintf(p->dir, sizeof(p->dir), "%s/run", p->parent);
	snprintf(p->db, sizeof(p->db), "%s/state.db", p->dir);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;
	struct err err;
	int r = store_destroy(p->dir, &err);

	if (r < 0)
		print_error("%s\n", err.msg);
	umount(p->parent);
	if (rmdir(p->parent) < 0)
		r = -1;
	free(p);
	return r;
}

/* What SQLite makes of the file without us. */
static void raw(const struct place *p, const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(p->db, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int64_t number(struct store *st, const char *sql)
{
	_stmt_ sqlite3_stmt *stmt = NULL;
	struct err err;

	assert_ok(store_query(st, &stmt, &err, sql, ""));
	assert_ok(store_step(st, stmt, &err));
	return sqlite3_column_int64(stmt, 0);
}

static void put(struct store *st, const char *key)
{
	struct err err;

	assert_ok(store_begin(st, &err));
	assert_ok(store_exec(st, &err, INSERT_SYSCTL, "sss", key, "0", "1"));
	assert_ok(store_commit(st, &err));
}

static char *slurp(const char *path, size_t *ret_len)
{
	_fclose_ FILE *f = fopen(path, "re");
	char *data = xcalloc(1, 1 << 20);

	assert_non_null(f);
	*ret_len = fread(data, 1, 1 << 20, f);
	return data;
}

static void assert_same_file(const char *path, const char *data, size_t len)
{
	size_t now_len;
	_free_ char *now = slurp(path, &now_len);

	assert_int_equal(now_len, len);
	assert_memory_equal(now, data, len);
}

/* Opening in either mode is refused with code and a sentence that has word in it, and leaves
 * state.db as it was. */
static void assert_refused(const struct place *p, int code, const char *word)
{
	size_t len;
	_free_ char *before = slurp(p->db, &len);

	for (int mode = STORE_READ; mode <= (int)STORE_WRITE; mode++) {
		struct store *st = NULL;
		struct err err = {0};

		assert_int_equal(store_open(p->dir, (enum store_mode)mode, &st, &err), code);
		assert_null(st);
		if (!strstr(err.msg, word) || !strstr(err.msg, "byway reset"))
			fail_msg("unhelpful: %s", err.msg);
		assert_same_file(p->db, before, len);
	}
}

static void test_read_without_database(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct err err;

	assert_ok(store_open(p->dir, STORE_READ, &st, &err));
	assert_int_equal(number(st, "SELECT count(*) FROM vpc"), 0);
	assert_int_equal(access(p->dir, F_OK), -1);
	assert_int_equal(store_exec(st, &err, INSERT_SYSCTL, "sss", "a", "b", "c"), -EROFS);
}

static void test_creates_private_files(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct stat s;
	struct err err;
	char wal[96];

	umask(0);
	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	umask(022);
	assert_int_equal(stat(p->dir, &s), 0);
	assert_int_equal(s.st_mode & 07777, 0700);
	assert_int_equal(stat(p->db, &s), 0);
	assert_int_equal(s.st_mode & 07777, 0600);
	snprintf(wal, sizeof(wal), "%s-wal", p->db);
	assert_int_equal(stat(wal, &s), 0);
	assert_int_equal(s.st_mode & 07777, 0600);
	assert_string_equal(store_dir(st), p->dir);
}

static void test_values_of_each_type(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	_stmt_ sqlite3_stmt *stmt = NULL;
	struct err err;

	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	assert_ok(store_exec(st, &err,
			     "INSERT INTO segment(vpc, no, bridge, trunk_up, state)"
			     " VALUES(?, ?, ?, ?, 'active')",
			     "sibs", "v", (int64_t)7, "br\0x", (size_t)4, NULL));
	assert_int_equal(store_changes(st), 1);
	assert_ok(store_query(st, &stmt, &err, "SELECT bridge, trunk_up FROM segment WHERE no = ?",
			      "i", (int64_t)7));
	assert_int_equal(store_step(st, stmt, &err), 1);
	assert_int_equal(sqlite3_column_bytes(stmt, 0), 4);
	assert_memory_equal(sqlite3_column_blob(stmt, 0), "br\0x", 4);
	assert_int_equal(sqlite3_column_type(stmt, 1), SQLITE_NULL);
	assert_int_equal(store_step(st, stmt, &err), 0);
}

static void test_constraints(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct err err;

	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	put(st, "a");
	assert_int_equal(store_exec(st, &err, INSERT_SYSCTL, "sss", "a", "b", "c"), -EEXIST);
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_int_equal(store_exec(st, &err, INSERT_SYSCTL, "sss", "n", NULL, "c"), -EINVAL);
	assert_int_equal(store_exec(st, &err, "INSERT INTO nat VALUES('v', 'eth0', 'odd')", ""),
			 -EINVAL);
}

static void test_rollback(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct err err;

	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	store_rollback(st);
	assert_ok(store_begin(st, &err));
	assert_true(store_in_transaction(st));
	assert_ok(store_exec(st, &err, INSERT_SYSCTL, "sss", "a", "b", "c"));
	store_rollback(st);
	assert_false(store_in_transaction(st));
	assert_int_equal(number(st, "SELECT count(*) FROM sysctl"), 0);
}

static void test_reader_beside_a_writer(void **state)
{
	const struct place *p = *state;
	_store_ struct store *writer = NULL;
	_store_ struct store *reader = NULL;
	struct err err;

	assert_ok(store_open(p->dir, STORE_WRITE, &writer, &err));
	put(writer, "a");
	assert_ok(store_begin(writer, &err));
	assert_ok(store_exec(writer, &err, INSERT_SYSCTL, "sss", "b", "0", "1"));
	assert_ok(store_open(p->dir, STORE_READ, &reader, &err));
	assert_ok(store_begin(reader, &err));
	assert_int_equal(number(reader, "SELECT count(*) FROM sysctl"), 1);
	assert_ok(store_commit(writer, &err));
	assert_int_equal(number(reader, "SELECT count(*) FROM sysctl"), 1);
	assert_ok(store_commit(reader, &err));
	assert_int_equal(number(reader, "SELECT count(*) FROM sysctl"), 2);
}

/* A child that holds the lock until the other end of *release closes. */
static pid_t hold_lock(const struct place *p, int *release)
{
	int ready[2], go[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(go), 0);
	pid = fork();
	if (pid == 0) {
		struct store *st;

		close(go[1]);
		if (store_open(p->dir, STORE_WRITE, &st, NULL) < 0 || write(ready[1], "", 1) != 1)
			_exit(1);
		(void)!read(go[0], &c, 1);
		_exit(0);
	}
	close(go[0]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	*release = go[1];
	return pid;
}

static void test_lock_names_its_holder(void **state)
{
	const struct place *p = *state;
	struct err err;
	char who[32];
	int release, fd;
	pid_t pid = hold_lock(p, &release);

	assert_int_equal(lock_take(p->dir, 20, &fd, &err), -EBUSY);
	assert_int_equal(err.kind, ERR_CONFLICT);
	snprintf(who, sizeof(who), "process %d ", pid);
	assert_non_null(strstr(err.msg, who));
	close(release);
	assert_ok(lock_take(p->dir, 10000, &fd, &err));
	close(fd);
	waitpid(pid, NULL, 0);
}

/* Who waits longer than a second says for whom; the holder ends when it has read that. */
static void test_lock_announces_the_wait(void **state)
{
	const struct place *p = *state;
	struct err err;
	int release, fd, says[2], saved = dup(STDERR_FILENO);
	pid_t holder = hold_lock(p, &release), listener;
	char line[256] = "", who[32];

	assert_int_equal(pipe(says), 0);
	listener = fork();
	if (listener == 0) {
		close(says[1]);
		(void)!read(says[0], line, sizeof(line) - 1);
		snprintf(who, sizeof(who), "process %d,", holder);
		kill(holder, SIGKILL);
		_exit(strstr(line, who) ? 0 : 1);
	}
	log_set_level(LOG_LEVEL_INFO);
	dup2(says[1], STDERR_FILENO);
	fd = -1;
	assert_ok(lock_take(p->dir, 30000, &fd, &err));
	dup2(saved, STDERR_FILENO);
	log_set_level(LOG_LEVEL_WARN);
	close(fd);
	close(saved);
	close(says[0]);
	close(says[1]);
	waitpid(listener, &fd, 0);
	assert_int_equal(fd, 0);
	close(release);
	waitpid(holder, NULL, 0);
}

/* Whether the process has path open by now. */
static bool has_open(pid_t pid, const char *path)
{
	char link[64], target[128];

	for (int fd = 0; fd < 64; fd++) {
		ssize_t n;

		snprintf(link, sizeof(link), "/proc/%d/fd/%d", pid, fd);
		n = readlink(link, target, sizeof(target) - 1);
		target[MAX(n, 0)] = '\0';
		if (!strcmp(target, path))
			return true;
	}
	return false;
}

/* `reset` takes the lock's file away under those who wait for it: they must not end up with a lock
 * that nobody else sees. */
static void test_lock_survives_reset(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct err err;
	char path[96], c = 0;
	int status, go[2];
	pid_t waiter;

	snprintf(path, sizeof(path), "%s/lock", p->dir);
	assert_int_equal(pipe(go), 0);
	waiter = fork();
	if (waiter == 0) {
		struct store *mine;

		if (read(go[0], &c, 1) != 1 || store_open(p->dir, STORE_WRITE, &mine, NULL) < 0)
			_exit(1);
		_exit(access(path, F_OK) == 0 && access(p->db, F_OK) == 0 ? 0 : 2);
	}
	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	assert_int_equal(write(go[1], &c, 1), 1);
	while (!has_open(waiter, path)) {
		assert_int_equal(waitpid(waiter, &status, WNOHANG), 0);
		sched_yield();
	}
	assert_ok(store_destroy(p->dir, &err));
	store_free(TAKE_PTR(st));
	waitpid(waiter, &status, 0);
	assert_int_equal(status, 0);
	close(go[0]);
	close(go[1]);
}

#define PROCESSES 200

static void increment(const struct place *p, int i)
{
	struct store *st;
	char key[16], sum[16];

	snprintf(key, sizeof(key), "k%d", i);
	if (store_open(p->dir, STORE_WRITE, &st, NULL) < 0 || store_begin(st, NULL) < 0)
		_exit(1);
	snprintf(sum, sizeof(sum), "%d",
		 (int)number(st, "SELECT coalesce(max(CAST(new AS INTEGER)), 0) FROM sysctl") + 1);
	if (store_exec(st, NULL, INSERT_SYSCTL, "sss", key, "0", sum) < 0 ||
	    store_commit(st, NULL) < 0)
		_exit(2);
	store_free(st);
	_exit(0);
}

static void test_many_writers(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct err err;
	int status;

	for (int i = 0; i < PROCESSES; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			increment(p, i);
	}
	for (int i = 0; i < PROCESSES; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_ok(store_open(p->dir, STORE_READ, &st, &err));
	assert_int_equal(number(st, "SELECT count(*) FROM sysctl"), PROCESSES);
	assert_int_equal(number(st, "SELECT max(CAST(new AS INTEGER)) FROM sysctl"), PROCESSES);
}

/* Commits pairs of rows for ever, and tells of each commit. */
static void write_pairs(const struct place *p, int acks)
{
	struct store *st;

	for (;;) {
		if (store_open(p->dir, STORE_WRITE, &st, NULL) < 0)
			_exit(1);
		for (int i = 0; i < 5; i++) {
			if (store_begin(st, NULL) < 0 ||
			    store_exec(st, NULL,
				       "INSERT INTO sysctl(key, old, new)"
				       " SELECT hex(randomblob(16)), '', ''",
				       "") < 0 ||
			    store_exec(st, NULL,
				       "INSERT INTO nat SELECT hex(randomblob(16)), '', 'active'",
				       "") < 0 ||
			    store_commit(st, NULL) < 0 || write(acks, "", 1) != 1)
				_exit(1);
		}
		store_free(st);
	}
}

static int64_t count_acks(int fd)
{
	char buf[512];
	int64_t n = 0;
	ssize_t r;

	while ((r = read(fd, buf, sizeof(buf))) > 0)
		n += r;
	close(fd);
	return n;
}

static void test_kill_9(void **state)
{
	const struct place *p = *state;
	struct err err;
	int64_t acked = 0;

	srandom(1);
	for (int round = 0; round < 60; round++) {
		_store_ struct store *st = NULL;
		_stmt_ sqlite3_stmt *check = NULL;
		int acks[2], status;
		char c[64];
		pid_t pid;

		assert_int_equal(pipe(acks), 0);
		pid = fork();
		if (pid == 0)
			write_pairs(p, acks[1]);
		close(acks[1]);
		for (long n = random() % 40; n >= 0; n--)
			acked += read(acks[0], c, 1);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status));
		acked += count_acks(acks[0]);

		assert_ok(store_open(p->dir, round % 2 ? STORE_READ : STORE_WRITE, &st, &err));
		assert_ok(store_query(st, &check, &err, "PRAGMA integrity_check", ""));
		assert_int_equal(store_step(st, check, &err), 1);
		assert_string_equal(sqlite3_column_text(check, 0), "ok");
		assert_int_equal(number(st, "SELECT count(*) FROM sysctl"),
				 number(st, "SELECT count(*) FROM nat"));
		assert_true(number(st, "SELECT count(*) FROM nat") >= acked);
		/* At most the commit it could not tell of any more. */
		assert_true(number(st, "SELECT count(*) FROM nat") <= acked + 1);
		acked = number(st, "SELECT count(*) FROM nat");
	}
}

/* The random pause is the point: it decides where in the making of the database the kill lands. */
static void test_kill_9_while_creating(void **state)
{
	const struct place *p = *state;
	struct err err;

	srandom(2);
	for (int round = 0; round < 60; round++) {
		_store_ struct store *st = NULL;
		struct timespec pause = {.tv_nsec = random() % 3000000};
		pid_t pid = fork();

		if (pid == 0) {
			(void)!store_open(p->dir, STORE_WRITE, &st, NULL);
			_exit(0);
		}
		nanosleep(&pause, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		assert_ok(store_open(p->dir, STORE_READ, &st, &err));
		assert_int_equal(number(st, "SELECT count(*) FROM vpc"), 0);
		store_free(TAKE_PTR(st));
		assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
		put(st, "a");
		store_free(TAKE_PTR(st));
		assert_ok(store_destroy(p->dir, &err));
	}
}

/* Killed in the middle of the first write: a rollback journal, and part of a file. */
static void test_half_made_database(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct err err;
	char journal[96];
	pid_t pid;

	snprintf(journal, sizeof(journal), "%s-journal", p->db);
	assert_int_equal(mkdir(p->dir, 0700), 0);
	pid = fork();
	if (pid == 0) {
		sqlite3 *db;

		if (sqlite3_open(p->db, &db) != SQLITE_OK)
			_exit(1);
		sqlite3_exec(db,
			     "PRAGMA cache_size = 1; BEGIN; CREATE TABLE half(a);"
			     "WITH RECURSIVE n(i) AS"
			     " (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 99)"
			     " INSERT INTO half SELECT randomblob(4000) FROM n",
			     NULL, NULL, NULL);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	assert_int_equal(access(journal, F_OK), 0);
	assert_ok(store_open(p->dir, STORE_READ, &st, &err));
	assert_int_equal(number(st, "SELECT count(*) FROM vpc"), 0);
	store_free(TAKE_PTR(st));
	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	put(st, "a");
}

static void fill_some(const struct place *p)
{
	_store_ struct store *st = NULL;
	struct err err;
	char key[32];

	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		put(st, key);
	}
}

static void overwrite(const struct place *p, off_t offset, size_t len)
{
	_close_ int fd = open(p->db, O_WRONLY | O_CLOEXEC);
	_free_ char *junk = xcalloc(len, 1);

	memset(junk, 0xa5, len);
	assert_int_equal(pwrite(fd, junk, len, offset), (ssize_t)len);
}

static void test_damaged_header(void **state)
{
	fill_some(*state);
	overwrite(*state, 0, 64);
	assert_refused(*state, -EUCLEAN, "damaged");
}

static size_t table_roots(const struct place *p, int roots[], size_t max)
{
	sqlite3_stmt *stmt;
	sqlite3 *db;
	size_t n = 0;

	assert_int_equal(sqlite3_open(p->db, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db,
					    "SELECT rootpage FROM sqlite_schema"
					    " WHERE type = 'table'",
					    -1, &stmt, NULL),
			 SQLITE_OK);
	while (n < max && sqlite3_step(stmt) == SQLITE_ROW)
		roots[n++] = sqlite3_column_int(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return n;
}

/* Whichever table it is, it shows at once and not in the middle of an operation. */
static void test_damaged_table(void **state)
{
	const struct place *p = *state;
	struct err err;
	int roots[64];
	size_t n;

	fill_some(p);
	n = table_roots(p, roots, ARRAY_SIZE(roots));
	assert_true(n >= 11 && n < ARRAY_SIZE(roots));
	for (size_t i = 0; i < n; i++) {
		overwrite(p, 4096 * (off_t)(roots[i] - 1), 4096);
		assert_refused(p, -EUCLEAN, "damaged");
		assert_ok(store_destroy(p->dir, &err));
		fill_some(p);
	}
}

static void test_truncated_file(void **state)
{
	const struct place *p = *state;

	fill_some(p);
	assert_int_equal(truncate(p->db, 4096 + 100), 0);
	assert_refused(p, -EUCLEAN, "damaged");
}

static void test_not_a_database(void **state)
{
	const struct place *p = *state;
	_fclose_ FILE *f = NULL;

	assert_int_equal(mkdir(p->dir, 0700), 0);
	f = fopen(p->db, "we");
	for (int i = 0; i < 1000; i++)
		fputs("this is no database\n", f);
	fflush(f);
	assert_refused(p, -EUCLEAN, "damaged");
}

static void test_foreign_database(void **state)
{
	const struct place *p = *state;

	assert_int_equal(mkdir(p->dir, 0700), 0);
	raw(p, "CREATE TABLE bookmarks(url)");
	assert_refused(p, -EUCLEAN, "not a database that byway made");
}

static void test_newer_version(void **state)
{
	const struct place *p = *state;

	fill_some(p);
	raw(p, "PRAGMA user_version = 99");
	assert_refused(p, -EPROTO, "newer byway");
}

/* The newer byway was killed: what it wrote last is in the log, and is not ours to move. */
static void test_newer_version_in_the_log(void **state)
{
	const struct place *p = *state;
	pid_t pid;

	fill_some(p);
	pid = fork();
	if (pid == 0) {
		sqlite3 *db;

		if (sqlite3_open(p->db, &db) != SQLITE_OK ||
		    sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL) != SQLITE_OK)
			_exit(1);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	assert_refused(p, -EPROTO, "newer byway");
}

static void test_earlier_boot(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct err err;

	fill_some(p);
	raw(p, "UPDATE meta SET value = '00000000-0000-0000-0000-000000000000' WHERE key = 'boot'");
	assert_ok(store_open(p->dir, STORE_READ, &st, &err));
	assert_int_equal(number(st, "SELECT count(*) FROM sysctl"), 0);
	store_free(TAKE_PTR(st));
	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	assert_int_equal(number(st, "SELECT count(*) FROM sysctl"), 0);
	put(st, "new");
	store_free(TAKE_PTR(st));
	assert_ok(store_open(p->dir, STORE_READ, &st, &err));
	assert_int_equal(number(st, "SELECT count(*) FROM sysctl"), 1);
}

static void test_migration(void **state)
{
	static const char *const steps[] = {"CREATE TABLE one(a)", "ALTER TABLE one ADD COLUMN b",
					    "CREATE TABLE"};
	sqlite3 *db;

	(void)state;
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	assert_int_equal(schema_migrate(db, steps, 0, 1), SQLITE_OK);
	assert_int_equal(schema_migrate(db, steps, 1, 2), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "INSERT INTO one(a, b) VALUES(1, 2)", NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(schema_migrate(db, steps, 2, 3), SQLITE_ERROR);
	assert_int_equal(schema_clear(db), SQLITE_OK);
	assert_int_equal(sqlite3_changes(db), 1);
	sqlite3_close(db);
}

/* What a byway without sessions left: its rows stay, and the new table is there to be used. */
/* A database as a byway of that version left it in this boot, with a row of sysctl. */
static void leave_version(const struct place *p, int version)
{
	_buf_ struct buf boot = {0};
	char sql[256];
	sqlite3 *db;
	struct err err;

	fill_some(p);
	assert_int_equal(unlink(p->db), 0);
	assert_ok(file_read("/proc/sys/kernel/random/boot_id", 64, &boot, &err));
	assert_int_equal(sqlite3_open(p->db, &db), SQLITE_OK);
	assert_int_equal(schema_migrate(db, schema_steps, 0, version), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	snprintf(sql, sizeof(sql),
		 "INSERT INTO meta VALUES('boot', '%.36s');"
		 "INSERT INTO sysctl(key, old, new) VALUES('k', '0', '1')",
		 boot.data);
	raw(p, sql);
}

static void test_version_without_sessions(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct err err;

	leave_version(p, 1);
	assert_ok(store_open(p->dir, STORE_READ, &st, &err));
	assert_int_equal(number(st, "SELECT count(*) FROM session"), 0);
	assert_int_not_equal(number(st, "SELECT count(*) FROM sysctl"), 0);
	store_free(TAKE_PTR(st));
	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	assert_ok(store_begin(st, &err));
	assert_ok(store_exec(st, &err,
			     "INSERT INTO session VALUES('a', 'g', '/f', 'split', 'a', NULL, 'v', "
			     "'w', '10.0.0.2', 'eth0', 1, '', 'active')",
			     ""));
	assert_ok(store_commit(st, &err));
	assert_int_not_equal(number(st, "SELECT count(*) FROM sysctl"), 0);
	assert_int_equal(number(st, "SELECT count(*) FROM session"), 1);
	assert_int_equal(number(st, "PRAGMA user_version"), schema_version);
}

/* What a byway without ports left: its VPCs are not flat. */
static void test_version_without_ports(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct err err;

	leave_version(p, 2);
	raw(p, "INSERT INTO vpc(name, cidr, bridge, mtu, created, state)"
	       " VALUES('old', '10.0.0.0/16', 'br-old', 1500, '', 'active')");
	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	assert_int_equal(number(st, "SELECT count(*) FROM vpc WHERE flat = 0"), 1);
	assert_int_equal(number(st, "SELECT count(*) FROM port"), 0);
	assert_int_equal(number(st, "PRAGMA user_version"), schema_version);
}

static void write_filler(const struct place *p)
{
	char path[96], block[4096] = "";
	_close_ int fd = -1;

	snprintf(path, sizeof(path), "%s/filler", p->parent);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	while (write(fd, block, sizeof(block)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
}

static void remove_filler(const struct place *p)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/filler", p->parent);
	assert_int_equal(unlink(path), 0);
}

/* Inserts rows of 1 KiB, twenty in a transaction, until one fails. */
static int fill_disk(struct store *st, int *committed, struct err *err)
{
	for (;;) {
		int r = store_begin(st, err);

		for (int i = 0; i < 20 && r == 0; i++)
			r = store_exec(st, err,
				       "INSERT INTO sysctl(key, old, new)"
				       " SELECT hex(randomblob(8)), hex(randomblob(512)), ''",
				       "");
		if (r == 0)
			r = store_commit(st, err);
		else
			store_rollback(st);
		if (r < 0)
			return r;
		*committed += 20;
	}
}

static void assert_rows(const struct place *p, int rows)
{
	_store_ struct store *st = NULL;
	struct err err;

	assert_ok(store_open(p->dir, STORE_READ, &st, &err));
	assert_int_equal(number(st, "SELECT count(*) FROM sysctl"), rows);
}

/* What a byway without policies of ports left: its policies are of subnets. */
static void test_version_without_port_policies(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct err err;

	leave_version(p, 3);
	raw(p, "INSERT INTO policy VALUES('v', 'a', 'f.json', '{}', '', 'active')");
	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	assert_int_equal(number(st, "SELECT count(*) FROM policy WHERE vpc = 'v' AND kind = 'subnet'"
				    " AND name = 'a' AND text = '{}'"),
			 1);
	assert_int_equal(number(st, "PRAGMA user_version"), schema_version);
}

/* What a byway left that let no host out by egresses: who used them is of a kind, by what there is.
 */
static void test_version_without_host(void **state)
{
	static const char *const left[] = {
		"INSERT INTO subnet VALUES('v', 'a', '10.0.1.0/24', NULL, 'public', 'v-a', 'x', "
		"'y', '',"
		" '10.0.1.2', NULL, 0, '', 'active')",
		"INSERT INTO egress_use VALUES('v', 'a', 'e', 'active')",
		"INSERT INTO egress_use VALUES('v', 'b', 'e,f', 'active')",
		"INSERT INTO egress_use VALUES('n', '', '', 'creating')",
		"INSERT INTO owner VALUES('use', 'v/a', '/f')",
		"INSERT INTO owner VALUES('use', 'v/b', '/f')",
	};
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct err err;

	leave_version(p, 4);
	for (size_t i = 0; i < ARRAY_SIZE(left); i++)
		raw(p, left[i]);
	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	assert_int_equal(number(st, "SELECT count(*) FROM egress_use WHERE exclude = '' AND"
				    " (kind = 'subnet' AND name = 'a' AND list = 'e' OR"
				    "  kind = 'port' AND name = 'b' AND list = 'e,f' OR"
				    "  kind = 'network' AND vpc = 'n' AND state = 'creating')"),
			 3);
	assert_int_equal(number(st, "SELECT count(*) FROM owner WHERE kind = 'use'"), 1);
	assert_int_equal(number(st, "SELECT count(*) FROM owner WHERE kind = 'vm-use'"), 1);
	assert_ok(store_begin(st, &err));
	assert_ok(store_exec(st, &err, "DELETE FROM egress_use WHERE name = 'b'", ""));
	assert_ok(store_commit(st, &err));
	assert_int_equal(number(st, "SELECT count(*) FROM owner WHERE name = 'v/a'"), 1);
	assert_int_equal(number(st, "SELECT count(*) FROM owner"), 1);
	assert_int_equal(number(st, "PRAGMA user_version"), schema_version);
}

static void test_disk_full(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct err err;
	char tmp[96];
	int rows = 0;

	assert_int_equal(mount("none", p->parent, "tmpfs", 0, "size=1280k"), 0);
	fill_some(p);
	write_filler(p);
	assert_rows(p, 100);
	rows = 100;
	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	assert_int_equal(fill_disk(st, &rows, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "no space left"));
	assert_int_equal(number(st, "SELECT count(*) FROM sysctl"), rows);
	assert_int_equal(store_publish(st, "vpc", "a.json", "x", 1, &err), -ENOSPC);
	snprintf(tmp, sizeof(tmp), "%s/vpc/.a.json.tmp", p->dir);
	assert_int_equal(access(tmp, F_OK), -1);
	store_free(TAKE_PTR(st));
	write_filler(p);
	assert_rows(p, rows);

	remove_filler(p);
	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	assert_int_equal(number(st, "SELECT count(*) FROM sysctl"), rows);
	assert_int_equal(fill_disk(st, &rows, &err), -ENOSPC);
	assert_true(rows > 120);
	assert_int_equal(number(st, "SELECT count(*) FROM sysctl"), rows);
	store_free(TAKE_PTR(st));
	assert_rows(p, rows);
}

/* No room to begin with. */
static void test_disk_full_at_creation(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct err err;

	assert_int_equal(mount("none", p->parent, "tmpfs", 0, "size=64k"), 0);
	write_filler(p);
	assert_int_equal(store_open(p->dir, STORE_WRITE, &st, &err), -ENOSPC);
	assert_ok(store_open(p->dir, STORE_READ, &st, &err));
	store_free(TAKE_PTR(st));
	remove_filler(p);
	assert_int_equal(umount(p->parent), 0);
	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
}

/* SQLite may undo a transaction whose statement failed: the rest of it must not be committed. */
static void test_lost_transaction(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct err err;

	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	assert_ok(store_begin(st, &err));
	assert_ok(store_exec(st, &err, "ROLLBACK", "")); /* as SQLite does on its own */
	assert_int_equal(store_exec(st, &err, INSERT_SYSCTL, "sss", "a", "b", "c"), -ECANCELED);
	assert_int_equal(store_commit(st, &err), -ECANCELED);
	assert_int_equal(number(st, "SELECT count(*) FROM sysctl"), 0);
	put(st, "a");
}

static void test_views(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct err err;
	struct stat s;
	char path[96], tmp[96];

	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	snprintf(path, sizeof(path), "%s/vpc/one.json", p->dir);
	snprintf(tmp, sizeof(tmp), "%s/vpc/.one.json.tmp", p->dir);
	assert_ok(store_publish(st, "vpc", "one.json", "{}\n", 3, &err));
	assert_same_file(path, "{}\n", 3);
	assert_ok(store_publish(st, "vpc", "one.json", "{\"a\":1}\n", 8, &err));
	assert_same_file(path, "{\"a\":1}\n", 8);
	assert_int_equal(stat(path, &s), 0);
	assert_int_equal(s.st_mode & 07777, 0600);
	assert_int_equal(access(tmp, F_OK), -1);
	assert_ok(store_unpublish(st, "vpc", "one.json", &err));
	assert_ok(store_unpublish(st, "vpc", "one.json", &err));
	assert_ok(store_unpublish(st, "other", "one.json", &err));
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(store_publish(st, "vpc", "../x", "", 0, &err), -EINVAL);
	assert_int_equal(store_publish(st, "..", "x", "", 0, &err), -EINVAL);
	assert_int_equal(store_unpublish(st, "vpc", "", &err), -EINVAL);
}

static void test_destroy(void **state)
{
	const struct place *p = *state;
	_store_ struct store *st = NULL;
	struct err err;
	char outside[64], link[96];

	assert_ok(store_destroy(p->dir, &err));
	assert_ok(store_open(p->dir, STORE_WRITE, &st, &err));
	assert_ok(store_publish(st, "vpc", "one.json", "{}\n", 3, &err));
	snprintf(outside, sizeof(outside), "%s/kept", p->parent);
	snprintf(link, sizeof(link), "%s/vpc/link", p->dir);
	assert_int_equal(mkdir(outside, 0700), 0);
	assert_int_equal(symlink(outside, link), 0);
	assert_ok(store_destroy(p->dir, &err));
	assert_int_equal(access(p->dir, F_OK), -1);
	assert_int_equal(rmdir(outside), 0);
}

static int own_mounts(void **state)
{
	(void)state;
	return unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_read_without_database),
		T(test_creates_private_files),
		T(test_values_of_each_type),
		T(test_constraints),
		T(test_rollback),
		T(test_reader_beside_a_writer),
		T(test_lock_names_its_holder),
		T(test_lock_announces_the_wait),
		T(test_lock_survives_reset),
		T(test_many_writers),
		T(test_kill_9),
		T(test_kill_9_while_creating),
		T(test_half_made_database),
		T(test_damaged_header),
		T(test_damaged_table),
		T(test_truncated_file),
		T(test_not_a_database),
		T(test_foreign_database),
		T(test_newer_version),
		T(test_newer_version_in_the_log),
		T(test_earlier_boot),
		T(test_migration),
		T(test_version_without_sessions),
		T(test_version_without_ports),
		T(test_version_without_port_policies),
		T(test_version_without_host),
		T(test_disk_full),
		T(test_disk_full_at_creation),
		T(test_lost_transaction),
		T(test_views),
		T(test_destroy),
	};

	return cmocka_run_group_tests_name("store", tests, own_mounts, NULL);
}
