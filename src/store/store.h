/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state database: one SQLite file, DIR/state.db, that dies with the kernel objects it
 * describes.
 *
 * Rows are intents: an object's row is committed with state 'creating' before the kernel is
 * touched, becomes 'active' after, is 'deleting' before its kernel objects go, and is removed
 * after. A row that is not 'active' while nobody holds the lock is what a crash left behind.
 *
 * Commands that change anything hold DIR/lock for as long as they run.
 */
#ifndef BYWAY_STORE_STORE_H
#define BYWAY_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

struct err;
struct sqlite3_stmt;
struct store;

#define STORE_DIR "/run/byway"
/* Every commit is written to this file before anything else. */
#define STORE_LOG STORE_DIR "/state.db-wal"

enum store_mode {
	STORE_READ,  /* no lock; no database yet reads as an empty one */
	STORE_WRITE, /* waits for the lock; creates the directory (0700) and the database (0600) */
};

/* Opens, takes the lock, migrates an older schema, and refuses what it cannot trust: a database
 * from a newer byway (-EPROTO), or a damaged one (-EUCLEAN), is left as it is, and err says what to
 * do. A database from before the last boot describes kernel objects that are gone: it is emptied,
 * or, under STORE_READ, reads as empty. The lock is waited for at most a minute (-EBUSY). */
int store_open(const char *dir, enum store_mode mode, struct store **ret, struct err *err);
void store_free(struct store *st);
void store_free_p(struct store **st);
#define _store_ _cleanup_(store_free_p)
const char *store_dir(const struct store *st);

/* Under STORE_READ a transaction is a snapshot: its queries agree with each other. One at
 * a time. */
int store_begin(struct store *st, struct err *err);
/* On failure nothing of the transaction is left, and none is open. */
int store_commit(struct store *st, struct err *err);
/* Legal with no transaction open. */
void store_rollback(struct store *st);
bool store_in_transaction(const struct store *st);

/* Runs one statement. types has one letter for each parameter that follows: 's' const char *
 * (NULL is SQL NULL), 'i' int64_t (cast constants), 'b' const void * and size_t. -EEXIST for a
 * broken UNIQUE or primary key, -ENOSPC for a full disk. After a failure roll back: SQLite may
 * have done it, and the transaction's later statements are refused with -ECANCELED. */
int store_exec(struct store *st, struct err *err, const char *sql, const char *types, ...);
/* Rows that the last store_exec() changed. */
int store_changes(const struct store *st);
/* A prepared query with its parameters bound (copied), stepped by store_step() and ended by
 * store_end(). Prepared statements are cached by their text: one use at a time of each. */
int store_query(struct store *st, struct sqlite3_stmt **ret, struct err *err, const char *sql,
		const char *types, ...);
/* 1: a row is there; 0: no more rows; -errno. */
int store_step(struct store *st, struct sqlite3_stmt *stmt, struct err *err);
/* Before store_free(). */
void store_end(struct sqlite3_stmt **stmt);
#define _stmt_ _cleanup_(store_end)

/* Published views: DIR/SUBDIR/NAME, 0600, written by temporary file and rename. Names are file
 * names: -EINVAL for one with a slash or a leading dot. The caller holds the lock. */
int store_publish(const struct store *st, const char *subdir, const char *name, const char *text,
		  size_t len, struct err *err);
/* Absent: done. */
int store_unpublish(const struct store *st, const char *subdir, const char *name, struct err *err);
/* Every view in SUBDIR, and the folder. */
int store_unpublish_all(const struct store *st, const char *subdir, struct err *err);
/* Removes DIR with everything byway puts there, readable or not; goes on after a failure and
 * reports the first. The caller holds the lock or is `reset`. A mount point stays, emptied. */
int store_destroy(const char *dir, struct err *err);

#endif
