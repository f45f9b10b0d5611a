// SPDX-License-Identifier: GPL-2.0-or-later
#include <sqlite3.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/util.h"
#include "store/schema.h"

#define STATE "state TEXT NOT NULL CHECK(state IN ('creating','active','deleting'))"

static const char version_1[] =
	"CREATE TABLE meta("
	"  key TEXT PRIMARY KEY,"
	"  value TEXT NOT NULL) WITHOUT ROWID;"

	"CREATE TABLE vpc("
	"  name TEXT NOT NULL PRIMARY KEY,"
	"  cidr TEXT NOT NULL,"
	"  cidr6 TEXT,"
	"  bridge TEXT NOT NULL UNIQUE,"
	"  mtu INTEGER NOT NULL,"
	"  created TEXT NOT NULL,"
	"  " STATE ") WITHOUT ROWID;"

	/* Further bridges of a VPC beyond the first. */
	"CREATE TABLE segment("
	"  vpc TEXT NOT NULL,"
	"  no INTEGER NOT NULL,"
	"  bridge TEXT NOT NULL UNIQUE,"
	"  trunk_up TEXT,"
	"  trunk_down TEXT,"
	"  " STATE ","
	"  PRIMARY KEY(vpc, no)) WITHOUT ROWID;"

	"CREATE TABLE subnet("
	"  vpc TEXT NOT NULL,"
	"  name TEXT NOT NULL,"
	"  cidr TEXT NOT NULL,"
	"  cidr6 TEXT,"
	"  type TEXT NOT NULL CHECK(type IN ('public','private')),"
	"  netns TEXT NOT NULL UNIQUE,"
	"  veth_host TEXT NOT NULL UNIQUE,"
	"  veth_ns TEXT NOT NULL,"
	"  mac TEXT NOT NULL,"
	"  addr TEXT NOT NULL,"
	"  addr6 TEXT,"
	"  segment INTEGER NOT NULL,"
	"  created TEXT NOT NULL,"
	"  " STATE ","
	"  PRIMARY KEY(vpc, name)) WITHOUT ROWID;"

	"CREATE TABLE nat("
	"  vpc TEXT NOT NULL PRIMARY KEY,"
	"  interface TEXT NOT NULL,"
	"  " STATE ") WITHOUT ROWID;"

	/* allow: CIDRs with commas between them, or NULL for everything. */
	"CREATE TABLE peer("
	"  a TEXT NOT NULL,"
	"  b TEXT NOT NULL,"
	"  allow TEXT,"
	"  " STATE ","
	"  PRIMARY KEY(a, b),"
	"  CHECK(a < b)) WITHOUT ROWID;"
	"CREATE INDEX peer_b ON peer(b);"

	"CREATE TABLE policy("
	"  vpc TEXT NOT NULL,"
	"  subnet TEXT NOT NULL,"
	"  file TEXT,"
	"  text TEXT NOT NULL,"
	"  applied TEXT NOT NULL,"
	"  " STATE ","
	"  PRIMARY KEY(vpc, subnet));"

	/* Kernel settings as they were before we changed them. */
	"CREATE TABLE sysctl("
	"  key TEXT NOT NULL PRIMARY KEY,"
	"  old TEXT NOT NULL,"
	"  new TEXT NOT NULL) WITHOUT ROWID;"

	/* ipam/ipam.c explains these three. */
	"CREATE TABLE ipam_pool("
	"  id INTEGER PRIMARY KEY,"
	"  name TEXT NOT NULL UNIQUE,"
	"  first BLOB NOT NULL,"
	"  last BLOB NOT NULL,"
	"  leased INTEGER NOT NULL DEFAULT 0,"
	"  freed INTEGER NOT NULL DEFAULT 0,"
	"  clock INTEGER NOT NULL DEFAULT 0);"
	"CREATE TABLE ipam_lease("
	"  pool INTEGER NOT NULL,"
	"  owner TEXT NOT NULL,"
	"  addr BLOB NOT NULL,"
	"  PRIMARY KEY(pool, owner),"
	"  UNIQUE(pool, addr)) WITHOUT ROWID;"
	"CREATE TABLE ipam_free("
	"  pool INTEGER NOT NULL,"
	"  last BLOB NOT NULL,"
	"  first BLOB NOT NULL,"
	"  freed INTEGER NOT NULL,"
	"  owner TEXT,"
	"  PRIMARY KEY(pool, last)) WITHOUT ROWID;"
	"CREATE INDEX ipam_free_order ON ipam_free(pool, freed, last);"
	"CREATE INDEX ipam_free_owner ON ipam_free(pool, owner, freed) WHERE owner IS NOT NULL;";

static const char version_2[] =
	"CREATE TABLE session("
	"  name TEXT NOT NULL PRIMARY KEY,"
	"  session_group TEXT NOT NULL,"
	"  file TEXT NOT NULL,"
	"  mode TEXT NOT NULL CHECK(mode IN ('full','split')),"
	"  netns TEXT NOT NULL UNIQUE,"
	"  carrier TEXT UNIQUE,"
	"  veth_host TEXT NOT NULL UNIQUE,"
	"  veth_ns TEXT NOT NULL,"
	"  addr TEXT NOT NULL UNIQUE,"
	"  interface TEXT NOT NULL,"
	"  nat INTEGER NOT NULL,"
	"  created TEXT NOT NULL,"
	"  " STATE ") WITHOUT ROWID;";

/* flat: no subnets, ports are on the bridge itself. A uid or gid of -1 is none. */
static const char version_3[] = "ALTER TABLE vpc ADD COLUMN flat INTEGER NOT NULL DEFAULT 0;"
				"CREATE TABLE port("
				"  vpc TEXT NOT NULL,"
				"  subnet TEXT NOT NULL,"
				"  name TEXT NOT NULL,"
				"  kind TEXT NOT NULL,"
				"  ifname TEXT NOT NULL UNIQUE,"
				"  ifb TEXT NOT NULL,"
				"  mac TEXT NOT NULL,"
				"  addr TEXT NOT NULL,"
				"  addr6 TEXT,"
				"  owner_uid INTEGER NOT NULL,"
				"  owner_gid INTEGER NOT NULL,"
				"  queues INTEGER NOT NULL,"
				"  isolated INTEGER NOT NULL,"
				"  rate_rx INTEGER NOT NULL,"
				"  rate_tx INTEGER NOT NULL,"
				"  segment INTEGER NOT NULL,"
				"  container TEXT NOT NULL,"
				"  inside TEXT NOT NULL,"
				"  config TEXT NOT NULL,"
				"  created TEXT NOT NULL,"
				"  " STATE ","
				"  PRIMARY KEY(vpc, name),"
				"  UNIQUE(vpc, mac)) WITHOUT ROWID;"
				"CREATE UNIQUE INDEX port_attachment ON port(container, inside)"
				" WHERE container <> '';";

/* Which file an object belongs to (ops/owner.h). Whoever deletes the object ends that, too. */
#define OWNED(kind, table, name)                                                                   \
	"CREATE TRIGGER " table "_owned AFTER DELETE ON " table " BEGIN"                           \
	"  DELETE FROM owner WHERE kind = '" kind "' AND name = " name "; END;"

#define MAPPING_NAME(row)                                                                          \
	"CASE " row ".host_addr WHEN '' THEN '' ELSE " row ".host_addr || ':' END || " row         \
	".host_port || CASE " row ".protocol WHEN 6 THEN '/tcp' ELSE '/udp' END"

static const char version_4[] =
	/* Who changed a kernel setting, and so puts it back: 'forwarding' or 'doctor'. */
	"ALTER TABLE sysctl ADD COLUMN owner TEXT NOT NULL DEFAULT 'forwarding';"
	/* via: "" for the host's own way out. vpc/way.h explains these three. */
	"CREATE TABLE egress("
	"  name TEXT NOT NULL PRIMARY KEY,"
	"  no INTEGER NOT NULL UNIQUE,"
	"  kind TEXT NOT NULL,"
	"  via TEXT NOT NULL,"
	"  spec TEXT NOT NULL,"
	"  path TEXT NOT NULL,"
	"  leg TEXT NOT NULL UNIQUE,"
	"  created TEXT NOT NULL,"
	"  " STATE ") WITHOUT ROWID;"
	"CREATE TABLE way("
	"  no INTEGER NOT NULL PRIMARY KEY,"
	"  list TEXT NOT NULL UNIQUE) WITHOUT ROWID;"
	"CREATE TABLE egress_use("
	"  vpc TEXT NOT NULL,"
	"  name TEXT NOT NULL,"
	"  list TEXT NOT NULL,"
	"  " STATE ","
	"  PRIMARY KEY(vpc, name)) WITHOUT ROWID;"
	/* target: a port's name, or a subnet's. host_addr: one of the host's, or '' for all. */
	"CREATE TABLE mapping("
	"  protocol INTEGER NOT NULL,"
	"  host_addr TEXT NOT NULL,"
	"  host_port INTEGER NOT NULL,"
	"  vpc TEXT NOT NULL,"
	"  target TEXT NOT NULL,"
	"  is_subnet INTEGER NOT NULL,"
	"  port INTEGER NOT NULL,"
	"  " STATE ","
	"  PRIMARY KEY(protocol, host_port, host_addr)) WITHOUT ROWID;"
	"CREATE INDEX mapping_target ON mapping(vpc, target);"
	/* The process that a port lives as long as; 0: none. */
	"ALTER TABLE port ADD COLUMN life_pid INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE port ADD COLUMN life_start INTEGER NOT NULL DEFAULT 0;"
	/* What is in a clone's namespace. */
	"ALTER TABLE port ADD COLUMN clone_netns TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE port ADD COLUMN clone_tap TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE port ADD COLUMN clone_mac TEXT;"
	"ALTER TABLE port ADD COLUMN clone_addr TEXT;"
	"CREATE TABLE owner("
	"  kind TEXT NOT NULL,"
	"  name TEXT NOT NULL,"
	"  file TEXT NOT NULL,"
	"  PRIMARY KEY(kind, name)) WITHOUT ROWID;"
	/* Policies of ports, too. */
	"CREATE TABLE policy_4("
	"  vpc TEXT NOT NULL,"
	"  kind TEXT NOT NULL CHECK(kind IN ('subnet','port')),"
	"  name TEXT NOT NULL,"
	"  file TEXT,"
	"  text TEXT NOT NULL,"
	"  applied TEXT NOT NULL,"
	"  has_groups INTEGER NOT NULL," /* names in it, instead of networks */
	"  PRIMARY KEY(vpc, kind, name));"
	"INSERT INTO policy_4 SELECT vpc, 'subnet', subnet, file, text, applied, 0 FROM policy;"
	"DROP TABLE policy;"
	"ALTER TABLE policy_4 RENAME TO policy;"
	/* What the gateway serves; aliases: further names of a container, with blanks between. */
	"ALTER TABLE vpc ADD COLUMN dns INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE vpc ADD COLUMN dhcp INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE port ADD COLUMN aliases TEXT NOT NULL DEFAULT '';"
	OWNED("vpc", "vpc", "old.name")
	OWNED("nat", "nat", "old.vpc")
	OWNED("subnet", "subnet", "old.vpc || '/' || old.name")
	OWNED("policy", "policy", "CASE old.kind WHEN 'subnet' THEN old.vpc || '/' || old.name END")
	"CREATE TRIGGER vm_policy_owned AFTER DELETE ON policy BEGIN"
	"  DELETE FROM owner WHERE old.kind = 'port' AND kind = 'vm-policy'"
	"    AND name = old.vpc || '/' || old.name; END;"
	OWNED("peering", "peer", "old.a || '/' || old.b")
	OWNED("vm", "port", "old.vpc || '/' || old.name")
	OWNED("egress", "egress", "old.name")
	OWNED("publish", "mapping", MAPPING_NAME("old"))
	OWNED("use", "egress_use", "rtrim(old.vpc || '/' || old.name, '/')");

/* The host is a workload, too; a subnet and a port of one name are two. vpc/way.h explains it. */
static const char version_5[] =
	"CREATE TABLE egress_use_5("
	"  vpc TEXT NOT NULL,"
	"  kind TEXT NOT NULL CHECK(kind IN ('network','subnet','port','host')),"
	"  name TEXT NOT NULL,"
	"  list TEXT NOT NULL,"
	"  exclude TEXT NOT NULL," /* CIDRs with commas between them */
	"  " STATE ","
	"  PRIMARY KEY(vpc, kind, name)) WITHOUT ROWID;"
	"INSERT INTO egress_use_5 SELECT vpc, CASE WHEN name = '' THEN 'network'"
	"    WHEN EXISTS (SELECT 1 FROM subnet s WHERE s.vpc = u.vpc AND s.name = u.name)"
	"    THEN 'subnet' ELSE 'port' END, name, list, '', state FROM egress_use u;"
	"UPDATE owner SET kind = 'vm-use' WHERE kind = 'use' AND EXISTS"
	"  (SELECT 1 FROM egress_use_5 u WHERE u.kind = 'port'"
	"    AND u.vpc || '/' || u.name = owner.name);"
	"DROP TABLE egress_use;"
	"ALTER TABLE egress_use_5 RENAME TO egress_use;"
	"CREATE TRIGGER egress_use_owned AFTER DELETE ON egress_use BEGIN"
	"  DELETE FROM owner WHERE kind = CASE old.kind WHEN 'port' THEN 'vm-use' ELSE 'use' END"
	"    AND name = CASE old.kind WHEN 'host' THEN 'host'"
	"      ELSE rtrim(old.vpc || '/' || old.name, '/') END; END;";

const char *const schema_steps[] = {version_1, version_2, version_3, version_4, version_5};
const int schema_version = ARRAY_SIZE(schema_steps);

/* A column that no index has, or an order that only the table has: the table has to be readable,
 * not an index that SQLite would take in its stead. */
#define PROBE(column, table) ", (SELECT " column " FROM " table " LIMIT 1)"

/* clang-format off */
const char schema_probe[] =
	"SELECT value"
	PROBE("state", "vpc")
	PROBE("state", "segment")
	PROBE("state", "subnet")
	PROBE("state", "nat")
	PROBE("state", "peer")
	PROBE("text", "policy")
	PROBE("owner", "sysctl")
	PROBE("first", "ipam_pool")
	PROBE("addr", "ipam_lease ORDER BY pool, owner")
	PROBE("first", "ipam_free")
	PROBE("state", "session")
	PROBE("state", "port")
	PROBE("state", "egress")
	PROBE("list", "way ORDER BY no")
	PROBE("state", "egress_use")
	PROBE("state", "mapping")
	PROBE("file", "owner")
	" FROM meta WHERE key = 'boot'";
/* clang-format on */

int schema_migrate(sqlite3 *db, const char *const *steps, int from, int to)
{
	char pragma[96];
	int rc = SQLITE_OK;

	for (int i = from; i < to && rc == SQLITE_OK; i++)
		rc = sqlite3_exec(db, steps[i], NULL, NULL, NULL);
	snprintf(pragma, sizeof(pragma), "PRAGMA user_version=%d; PRAGMA application_id=%d", to,
		 SCHEMA_APPLICATION_ID);
	return rc == SQLITE_OK ? sqlite3_exec(db, pragma, NULL, NULL, NULL) : rc;
}

int schema_clear(sqlite3 *db)
{
	_buf_ struct buf sql = {0};
	sqlite3_stmt *tables;
	int rc;

	rc = sqlite3_prepare_v2(db,
				"SELECT name FROM sqlite_schema WHERE type = 'table'"
				" AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
				-1, &tables, NULL);
	if (rc != SQLITE_OK)
		return rc;
	while ((rc = sqlite3_step(tables)) == SQLITE_ROW)
		buf_addf(&sql, "DELETE FROM %s;", (const char *)sqlite3_column_text(tables, 0));
	sqlite3_finalize(tables);
	return rc == SQLITE_DONE && sql.data ? sqlite3_exec(db, sql.data, NULL, NULL, NULL) : rc;
}
