/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tables look like, and how an older database becomes one of today. Internal to store/.
 */
#ifndef BYWAY_STORE_SCHEMA_H
#define BYWAY_STORE_SCHEMA_H

struct sqlite3;

/* "BYWY": file(1) and we tell a byway database by it. */
#define SCHEMA_APPLICATION_ID 0x42595759

/* steps[i] turns version i into version i + 1; version 0 is an empty file. */
extern const char *const schema_steps[];
extern const int schema_version;

/* One row, one column; reads the root of each table, so that a damaged one shows at once. */
extern const char schema_probe[];

/* Runs the steps from version from to version to, as part of the caller's transaction. Returns
 * SQLite's code. */
int schema_migrate(struct sqlite3 *db, const char *const *steps, int from, int to);
/* Deletes every row of every table; the same. */
int schema_clear(struct sqlite3 *db);

#endif
