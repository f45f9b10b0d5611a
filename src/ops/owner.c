// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Owners come and go with the rows, by triggers: those for deleted rows are part of the schema,
 * those for inserted ones are temporary, this connection's alone. So no moment is left in which a
 * killed process has made something that its file does not know.
 */
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "ops/owner.h"
#include "store/store.h"
#include "vpc/columns.h"

/* As in the schema's triggers. */
#define USE_KIND(row) "CASE " row ".kind WHEN 'port' THEN 'vm-use' ELSE 'use' END"
#define USE_NAME(row)                                                                              \
	"CASE " row ".kind WHEN 'host' THEN 'host'"                                                \
	" ELSE rtrim(" row ".vpc || '/' || " row ".name, '/') END"
#define MAPPING_NAME(row)                                                                          \
	"CASE " row ".host_addr WHEN '' THEN '' ELSE " row ".host_addr || ':' END || " row         \
	".host_port || CASE " row ".protocol WHEN 6 THEN '/tcp' ELSE '/udp' END"

static void read_owned(sqlite3_stmt *q, void *row)
{
	struct owned *o = row;

	COLUMN_STR(q, 0, o->kind);
	COLUMN_STR(q, 1, o->name);
	o->file = xstrdup(column_text(q, 2));
}

static const struct row_reader reader = {sizeof(struct owned), read_owned};

int owner_list(struct store *st, struct owned **ret, size_t *n, struct err *err)
{
	return rows_read(st, &reader, "SELECT kind, name, file FROM owner ORDER BY kind, name",
			 NULL, NULL, ret, n, err);
}

int owner_list_others(struct store *st, const char *file, struct owned **ret, size_t *n,
		      struct err *err)
{
	static const char sql[] =
		"SELECT kind, name, '' FROM ("
		"  SELECT 'nat' AS kind, vpc AS name FROM nat WHERE state = 'active'"
		"  UNION ALL SELECT CASE kind WHEN 'subnet' THEN 'policy' ELSE 'vm-policy' END,"
		"    vpc || '/' || name FROM policy"
		"  UNION ALL SELECT 'peering', a || '/' || b FROM peer WHERE state = 'active'"
		"  UNION ALL SELECT " USE_KIND("egress_use") ", " USE_NAME("egress_use")
		"    FROM egress_use"
		"    WHERE state = 'active'"
		"  UNION ALL SELECT 'publish', " MAPPING_NAME("mapping") " FROM mapping"
		"    WHERE state = 'active') AS said"
		" WHERE NOT EXISTS (SELECT 1 FROM owner WHERE owner.kind = said.kind"
		"   AND owner.name = said.name AND owner.file = ?1)";

	return rows_read(st, &reader, sql, file, NULL, ret, n, err);
}

void owner_list_free(struct owned *o, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(o[i].file);
	free(o);
}

static int by_object(const void *a, const void *b)
{
	const struct owned *x = a, *y = b;
	int order = strcmp(x->kind, y->kind);

	return order ? order : strcmp(x->name, y->name);
}

struct owned *owner_find(struct owned *list, size_t n, const char *kind, const char *name)
{
	struct owned key = {0};

	str_copy(key.kind, sizeof(key.kind), kind);
	str_copy(key.name, sizeof(key.name), name);
	return n ? bsearch(&key, list, n, sizeof(key), by_object) : NULL;
}

#define OWN(kind, table, name)                                                                     \
	"CREATE TEMP TRIGGER IF NOT EXISTS own_" table " AFTER INSERT ON main." table " BEGIN"     \
	"  INSERT OR IGNORE INTO owner SELECT '" kind "', " name ", file FROM applying; END"

int owner_begin(struct store *st, const char *file, struct err *err)
{
	static const char *const sql[] = {
		"CREATE TEMP TABLE IF NOT EXISTS applying(file TEXT NOT NULL)",
		"DELETE FROM temp.applying",
		OWN("vpc", "vpc", "new.name"),
		OWN("nat", "nat", "new.vpc"),
		OWN("subnet", "subnet", "new.vpc || '/' || new.name"),
		"CREATE TEMP TRIGGER IF NOT EXISTS own_policy AFTER INSERT ON main.policy BEGIN"
		"  INSERT OR IGNORE INTO owner"
		"    SELECT CASE new.kind WHEN 'subnet' THEN 'policy' ELSE 'vm-policy' END,"
		"      new.vpc || '/' || new.name, file FROM applying; END",
		OWN("peering", "peer", "new.a || '/' || new.b"),
		OWN("vm", "port", "new.vpc || '/' || new.name"),
		OWN("egress", "egress", "new.name"),
		OWN("publish", "mapping", MAPPING_NAME("new")),
		"CREATE TEMP TRIGGER IF NOT EXISTS own_use AFTER INSERT ON main.egress_use BEGIN"
		"  INSERT OR IGNORE INTO owner"
		"    SELECT " USE_KIND("new") ", " USE_NAME("new") ", file FROM applying; END",
	};
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(sql); i++)
		r = store_exec(st, err, sql[i], "");
	return r ? r : store_exec(st, err, "INSERT INTO temp.applying VALUES (?1)", "s", file);
}

int owner_adopt(struct store *st, const char *kind, const char *name, const char *file,
		struct err *err)
{
	return store_exec(st, err, "INSERT OR REPLACE INTO owner (kind, name, file) VALUES (?1, ?2, ?3)",
			  "sss", kind, name, file);
}
