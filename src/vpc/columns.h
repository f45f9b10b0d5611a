/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Columns of the state database to fields of structs, and back. What is in the database was put
 * there by byway: text that does not parse or fit leaves a field zero.
 */
#ifndef BYWAY_VPC_COLUMNS_H
#define BYWAY_VPC_COLUMNS_H

#include <stddef.h>

#include "vpc/vpc.h"

struct err;
struct sqlite3_stmt;
struct store;

const char *column_text(struct sqlite3_stmt *q, int i); /* NULL for SQL NULL */
void column_str(struct sqlite3_stmt *q, int i, char *dst, size_t size);
#define COLUMN_STR(q, i, field) column_str(q, i, field, sizeof(field))
void column_cidr(struct sqlite3_stmt *q, int i, struct cidr *ret);
void column_ip(struct sqlite3_stmt *q, int i, struct ip *ret);
void column_mac(struct sqlite3_stmt *q, int i, struct mac *ret);
enum row_state column_state(struct sqlite3_stmt *q, int i);

/* NULL for what is not there. */
const char *cidr_text(const struct cidr *c, char buf[CIDR_STRLEN]);
const char *ip_text(const struct ip *ip, char buf[IP_STRLEN]);

/* How one row becomes a struct, which is zeroed before. */
struct row_reader {
	size_t size;
	void (*read)(struct sqlite3_stmt *q, void *row);
};

/* All rows of a query with none, one or two text parameters (NULL: not there) into an array that
 * the caller frees. ret: the address of a pointer to the struct. */
int rows_read(struct store *st, const struct row_reader *rd, const char *sql, const char *param1,
	      const char *param2, void *ret, size_t *n, struct err *err);
/* The first row into *ret, or -ENOENT without words. */
int row_read(struct store *st, const struct row_reader *rd, const char *sql, const char *param1,
	     const char *param2, void *ret, struct err *err);

#endif
