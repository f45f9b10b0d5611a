// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * One SQLite file in WAL mode on a tmpfs. It has to survive the death of a process at any
 * instruction, not a loss of power: synchronous=OFF, and no call waits for a disk.
 *
 * Invariants
 *  1. Whoever writes holds the lock; who only reads neither takes it nor waits for it.
 *  2. Nothing in a file is changed before examine() has accepted it: a newer byway's database and a
 *     damaged one stay byte for byte what they were.
 *  3. A database of today's version has all tables of today: tables, version and application
 *     identifier are committed together.
 *  4. A transaction that lost one statement is lost: SQLite may have rolled it back on its own
 *     (full disk), so what follows in it is refused instead of being committed piecemeal.
 *
 * Conditions of the file, and what becomes of each
 *   absent, or empty     write: created                     read: an empty one in memory
 *   of an earlier boot   write: emptied, kept               read: an empty one in memory
 *   of an older version  write: migrated                    read: a migrated copy in memory
 *   current              used                               used
 *   newer, damaged, not ours: refused
 *
 * The -wal and -shm files are kept when the last user closes (SQLITE_FCNTL_PERSIST_WAL): opening
 * does not have to make them, and reading works on a full disk. What it deliberately does not do:
 * retry, repair, back up.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/util.h"
#include "store/lock.h"
#include "store/schema.h"
#include "store/store.h"

#define LOCK_TIMEOUT_MS 60000
#define RESETS_MAX 100
/* How long a reader waits for a writer in the moments in which WAL mode makes it wait: while the
 * file is created, checkpointed at close, or recovered after a crash. */
#define BUSY_TIMEOUT_MS 10000
/* The log is checkpointed at close; this bounds what a busy one leaves behind. */
#define PREPARE_PRAGMAS "PRAGMA synchronous=OFF; PRAGMA journal_size_limit=1048576"

#define BOOT_ID_LEN 36

struct store {
	char *dir, *path;
	int lock_fd;
	enum store_mode mode;
	sqlite3 *db;
	sqlite3_stmt **cache;
	size_t n_cache, cap_cache;
	bool in_transaction;
};

struct condition {
	bool fresh; /* no table yet */
	bool stale; /* of an earlier boot */
	int version;
};

static int code_of(sqlite3 *db, int rc)
{
	int sys = sqlite3_system_errno(db);

	switch (rc & 0xff) {
	case SQLITE_CONSTRAINT:
		return rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY ||
				       rc == SQLITE_CONSTRAINT_ROWID
			       ? -EEXIST
			       : -EINVAL;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		return sys > 0 ? -sys : -EIO;
	default:
		return -EIO;
	}
}

/* Turns the failure that db just had into err. */
static int fail(const struct store *st, struct err *err, int rc)
{
	int code = code_of(st->db, rc);

	switch (code) {
	case -EUCLEAN:
		return err_set(err, ERR_FAILED, code,
			       "%s is damaged (%s). It is left as it is; `byway reset` removes "
			       "everything byway made, by its marks, and starts anew",
			       st->path, sqlite3_errmsg(st->db));
	case -ENOSPC:
		return err_set(err, ERR_FAILED, code,
			       "no space left for %s, nothing was changed: make room in %s",
			       st->path, st->dir);
	case -EBUSY:
		return err_set(err, ERR_CONFLICT, code, "%s is kept busy by another process",
			       st->path);
	default:
		return err_set(err, ERR_NONE, code, "%s: %s", st->path, sqlite3_errmsg(st->db));
	}
}

static int check(const struct store *st, struct err *err, int rc)
{
	return rc == SQLITE_OK ? 0 : fail(st, err, rc);
}

static int read_boot_id(char buf[BOOT_ID_LEN + 1], struct err *err)
{
	static const char path[] = "/proc/sys/kernel/random/boot_id";
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, BOOT_ID_LEN);

	if (n < 0)
		return err_errno(err, -errno, "cannot read %s", path);
	buf[n] = '\0';
	return 0;
}

static int connect_db(struct store *st, const char *path, int flags, struct err *err)
{
	int keep = 1;
	int rc;

	rc = sqlite3_open_v2(path, &st->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
			     NULL);
	if (!st->db)
		return err_set(err, ERR_FAILED, -ENOMEM, "out of memory");
	if (rc != SQLITE_OK)
		return fail(st, err, rc);
	sqlite3_busy_timeout(st->db, BUSY_TIMEOUT_MS);
	sqlite3_file_control(st->db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
	/* Invariant 2: nor does closing move the log into a file that was not accepted. */
	sqlite3_db_config(st->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	return check(st, err, sqlite3_exec(st->db, PREPARE_PRAGMAS, NULL, NULL, NULL));
}

static void disconnect_db(struct store *st)
{
	for (size_t i = 0; i < st->n_cache; i++)
		sqlite3_finalize(st->cache[i]);
	st->n_cache = 0;
	sqlite3_close(st->db);
	st->db = NULL;
}

static int read_int(struct store *st, const char *sql, int *ret, struct err *err)
{
	_stmt_ sqlite3_stmt *stmt = NULL;
	int r;

	r = store_query(st, &stmt, err, sql, "");
	if (r == 0)
		r = store_step(st, stmt, err);
	if (r < 0)
		return r;
	*ret = sqlite3_column_int(stmt, 0);
	return 0;
}

static int refuse_foreign(const struct store *st, struct err *err)
{
	return err_set(err, ERR_FAILED, -EUCLEAN,
		       "%s is not a database that byway made. It is left as it is; `byway reset` "
		       "removes it",
		       st->path);
}

/* Compares the boot the rows were written in with this one. sql gives it in its first column. */
static int is_stale(struct store *st, const char *sql, bool *ret, struct err *err)
{
	_stmt_ sqlite3_stmt *stmt = NULL;
	char boot[BOOT_ID_LEN + 1];
	int r;

	r = read_boot_id(boot, err);
	if (r == 0)
		r = store_query(st, &stmt, err, sql, "");
	if (r == 0)
		r = store_step(st, stmt, err);
	if (r < 0)
		return r;
	if (r == 0)
		return refuse_foreign(st, err);
	*ret = strcmp(boot, (const char *)sqlite3_column_text(stmt, 0)) != 0;
	return 0;
}

static int examine(struct store *st, struct condition *ret, struct err *err)
{
	struct condition c = {0};
	int application, tables, r;

	r = read_int(st, "PRAGMA application_id", &application, err);
	if (r == 0)
		r = read_int(st, "PRAGMA user_version", &c.version, err);
	if (r == 0 && application != SCHEMA_APPLICATION_ID) {
		r = read_int(st, "SELECT count(*) FROM sqlite_schema", &tables, err);
		c.fresh = r == 0 && application == 0 && tables == 0;
		if (r == 0 && !c.fresh)
			return refuse_foreign(st, err);
	}
	if (r < 0)
		return r;
	if (c.version > schema_version)
		return err_set(err, ERR_CONFLICT, -EPROTO,
			       "%s was made by a newer byway (schema %d, this one knows %d): use "
			       "that version, or `byway reset` removes everything byway made",
			       st->path, c.version, schema_version);
	if (!c.fresh)
		r = is_stale(st,
			     c.version == schema_version
				     ? schema_probe
				     : "SELECT value FROM meta WHERE key = 'boot'",
			     &c.stale, err);
	if (r == 0)
		*ret = c;
	return r;
}

static int set_boot(struct store *st, struct err *err)
{
	char boot[BOOT_ID_LEN + 1];
	int r = read_boot_id(boot, err);

	return r ? r
		 : store_exec(st, err, "INSERT OR REPLACE INTO meta(key, value) VALUES('boot', ?)",
			      "s", boot);
}

/* Makes the tables of today, empty where they cannot be of use. */
static int bring_up_to_date(struct store *st, const struct condition *c, struct err *err)
{
	int r;

	if (!c->fresh && !c->stale && c->version == schema_version)
		return 0;
	r = c->fresh && st->mode == STORE_WRITE
		    ? check(st, err,
			    sqlite3_exec(st->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL))
		    : 0;
	if (r == 0)
		r = store_begin(st, err);
	if (r == 0 && c->stale)
		r = check(st, err, schema_clear(st->db));
	if (r == 0)
		r = check(st, err,
			  schema_migrate(st->db, schema_steps, c->version, schema_version));
	if (r == 0 && (c->fresh || c->stale))
		r = set_boot(st, err);
	if (r == 0)
		return store_commit(st, err);
	store_rollback(st);
	return r;
}

static int open_memory(struct store *st, struct err *err)
{
	static const struct condition fresh = {.fresh = true};
	int r;

	r = connect_db(st, ":memory:", SQLITE_OPEN_READWRITE, err);
	return r ? r : bring_up_to_date(st, &fresh, err);
}

/* Reading an older database changes a copy of it. */
static int open_migrated_copy(struct store *st, const struct condition *c, struct err *err)
{
	sqlite3 *file = TAKE_PTR(st->db);
	sqlite3_backup *backup;
	int r;

	r = connect_db(st, ":memory:", SQLITE_OPEN_READWRITE, err);
	if (r == 0) {
		backup = sqlite3_backup_init(st->db, "main", file, "main");
		if (backup)
			sqlite3_backup_step(backup, -1);
		r = check(st, err, backup ? sqlite3_backup_finish(backup) : SQLITE_NOMEM);
	}
	sqlite3_close(file);
	return r ? r : bring_up_to_date(st, c, err);
}

static int open_for_reading(struct store *st, struct err *err)
{
	struct condition c;
	int r;

	if (access(st->path, R_OK | W_OK) < 0) {
		if (errno == ENOENT)
			return open_memory(st, err);
		r = err_errno(err, -errno, "cannot read %s", st->path);
		if (r == -EACCES)
			err_append(err, ": run it as root (sudo)");
		return r;
	}
	/* Not SQLITE_OPEN_READONLY: what a kill has left half done in the file has to be undone,
	 * and SQLite does that when the next one opens it, whoever it is. */
	r = connect_db(st, st->path, SQLITE_OPEN_READWRITE, err);
	if (r == 0)
		r = examine(st, &c, err);
	if (r < 0)
		return r;
	if (c.version == schema_version && !c.stale)
		return 0;
	for (size_t i = 0; i < st->n_cache; i++)
		sqlite3_finalize(st->cache[i]);
	st->n_cache = 0;
	if (!c.fresh && !c.stale)
		return open_migrated_copy(st, &c, err);
	disconnect_db(st);
	return open_memory(st, err);
}

/* SQLite would create it readable by all; its -wal and -shm get the mode of this one. */
static int create_file(const struct store *st, struct err *err)
{
	_close_ int fd = -1;
	int r;

	if (access(st->path, F_OK) == 0)
		return 0;
	r = fault_point("create database");
	if (r == 0) {
		fd = open(st->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		r = fd < 0 && errno != EEXIST ? -errno : 0;
	}
	return r ? err_errno(err, r, "cannot create %s", st->path) : 0;
}

static int create_dir(const char *dir, struct err *err)
{
	int r;

	if (access(dir, F_OK) == 0)
		return 0;
	r = fault_point("create directory");
	if (r == 0 && mkdir(dir, 0700) < 0 && errno != EEXIST)
		r = -errno;
	return r ? err_errno(err, r, "cannot create %s", dir) : 0;
}

/* `reset` may remove the directory while we wait for the lock in it: then we begin again. */
static int lock_dir(struct store *st, struct err *err)
{
	int r = 0;

	for (int i = 0; i < RESETS_MAX; i++) {
		r = create_dir(st->dir, err);
		if (r < 0)
			return r;
		r = lock_take(st->dir, LOCK_TIMEOUT_MS, &st->lock_fd, err);
		if (r != -ENOENT)
			return r;
	}
	return r;
}

static int open_for_writing(struct store *st, struct err *err)
{
	struct condition c;
	int r;

	r = lock_dir(st, err);
	if (r == 0)
		r = create_file(st, err);
	if (r == 0)
		r = connect_db(st, st->path, SQLITE_OPEN_READWRITE, err);
	if (r == 0)
		r = examine(st, &c, err);
	if (r == 0)
		r = bring_up_to_date(st, &c, err);
	if (r == 0)
		sqlite3_db_config(st->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	return r;
}

int store_open(const char *dir, enum store_mode mode, struct store **ret, struct err *err)
{
	_store_ struct store *st = xcalloc(1, sizeof(*st));
	int r;

	st->dir = xstrdup(dir);
	st->path = xasprintf("%s/state.db", dir);
	st->lock_fd = -1;
	st->mode = mode;
	r = mode == STORE_WRITE ? open_for_writing(st, err) : open_for_reading(st, err);
	if (r == 0 && mode == STORE_READ)
		r = check(st, err, sqlite3_exec(st->db, "PRAGMA query_only=1", NULL, NULL, NULL));
	if (r < 0)
		return r;
	*ret = TAKE_PTR(st);
	return 0;
}

void store_free(struct store *st)
{
	if (!st)
		return;
	disconnect_db(st);
	free(st->cache);
	if (st->lock_fd >= 0)
		close(st->lock_fd);
	free(st->path);
	free(st->dir);
	free(st);
}

void store_free_p(struct store **st)
{
	store_free(*st);
}

const char *store_dir(const struct store *st)
{
	return st->dir;
}

int store_begin(struct store *st, struct err *err)
{
	int rc;

	assert(!st->in_transaction);
	rc = sqlite3_exec(st->db, st->mode == STORE_WRITE ? "BEGIN IMMEDIATE" : "BEGIN", NULL, NULL,
			  NULL);
	st->in_transaction = rc == SQLITE_OK;
	return check(st, err, rc);
}

/* Invariant 4. */
static int refuse_if_lost(const struct store *st, struct err *err)
{
	if (st->in_transaction && sqlite3_get_autocommit(st->db))
		return err_set(err, ERR_FAILED, -ECANCELED,
			       "%s: the transaction was undone by an earlier failure", st->path);
	return 0;
}

int store_commit(struct store *st, struct err *err)
{
	int r;

	assert(st->in_transaction);
	r = refuse_if_lost(st, err);
	if (r == 0) {
		r = fault_point("db commit");
		if (r < 0)
			err_errno(err, r, "cannot commit to %s", st->path);
	}
	if (r == 0)
		r = check(st, err, sqlite3_exec(st->db, "COMMIT", NULL, NULL, NULL));
	if (r < 0)
		store_rollback(st);
	st->in_transaction = false;
	return r;
}

void store_rollback(struct store *st)
{
	if (st->db && !sqlite3_get_autocommit(st->db))
		sqlite3_exec(st->db, "ROLLBACK", NULL, NULL, NULL);
	st->in_transaction = false;
}

bool store_in_transaction(const struct store *st)
{
	return st->in_transaction;
}

static void remember(struct store *st, sqlite3_stmt *stmt)
{
	if (st->n_cache == st->cap_cache) {
		st->cap_cache = st->cap_cache * 2 + 16;
		st->cache = xrealloc(st->cache, st->cap_cache, sizeof(*st->cache));
	}
	st->cache[st->n_cache++] = stmt;
}

static int prepare(struct store *st, const char *sql, sqlite3_stmt **ret, struct err *err)
{
	sqlite3_stmt *stmt;
	int rc;

	for (size_t i = 0; i < st->n_cache; i++) {
		if (!strcmp(sqlite3_sql(st->cache[i]), sql)) {
			assert(!sqlite3_stmt_busy(st->cache[i]));
			*ret = st->cache[i];
			return 0;
		}
	}
	rc = sqlite3_prepare_v3(st->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
	if (rc != SQLITE_OK)
		return fail(st, err, rc);
	remember(st, stmt);
	*ret = stmt;
	return 0;
}

static int bind_one(sqlite3_stmt *stmt, int i, char type, va_list *ap)
{
	const void *blob;
	const char *text;

	switch (type) {
	case 's':
		text = va_arg(*ap, const char *);
		return sqlite3_bind_text(stmt, i, text, -1, SQLITE_TRANSIENT);
	case 'i':
		return sqlite3_bind_int64(stmt, i, va_arg(*ap, int64_t));
	case 'b':
		blob = va_arg(*ap, const void *);
		return sqlite3_bind_blob64(stmt, i, blob, va_arg(*ap, size_t), SQLITE_TRANSIENT);
	}
	return SQLITE_MISUSE;
}

static int prepare_bound(struct store *st, const char *sql, const char *types, va_list *ap,
			 sqlite3_stmt **ret, struct err *err)
{
	_stmt_ sqlite3_stmt *stmt = NULL;
	int rc = SQLITE_OK, r;

	r = refuse_if_lost(st, err);
	if (r == 0)
		r = prepare(st, sql, &stmt, err);
	if (r < 0)
		return r;
	assert((int)strlen(types) == sqlite3_bind_parameter_count(stmt));
	for (int i = 0; types[i] && rc == SQLITE_OK; i++)
		rc = bind_one(stmt, i + 1, types[i], ap);
	if (rc != SQLITE_OK)
		return fail(st, err, rc);
	*ret = TAKE_PTR(stmt);
	return 0;
}

static int run(struct store *st, sqlite3_stmt *stmt, struct err *err)
{
	int r = sqlite3_stmt_readonly(stmt) ? 0 : fault_point("db exec");

	if (r < 0)
		return err_errno(err, r, "cannot write %s", st->path);
	do {
		r = store_step(st, stmt, err);
	} while (r > 0);
	return r;
}

int store_exec(struct store *st, struct err *err, const char *sql, const char *types, ...)
{
	_stmt_ sqlite3_stmt *stmt = NULL;
	va_list ap;
	int r;

	va_start(ap, types);
	r = prepare_bound(st, sql, types, &ap, &stmt, err);
	va_end(ap);
	return r ? r : run(st, stmt, err);
}

int store_changes(const struct store *st)
{
	return sqlite3_changes(st->db);
}

int store_query(struct store *st, sqlite3_stmt **ret, struct err *err, const char *sql,
		const char *types, ...)
{
	va_list ap;
	int r;

	va_start(ap, types);
	r = prepare_bound(st, sql, types, &ap, ret, err);
	va_end(ap);
	return r;
}

int store_step(struct store *st, sqlite3_stmt *stmt, struct err *err)
{
	int rc = sqlite3_step(stmt);

	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : fail(st, err, rc);
}

void store_end(sqlite3_stmt **stmt)
{
	if (!*stmt)
		return;
	sqlite3_reset(*stmt);
	sqlite3_clear_bindings(*stmt);
	*stmt = NULL;
}
