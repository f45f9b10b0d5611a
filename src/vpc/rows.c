// SPDX-License-Identifier: GPL-2.0-or-later
/* The tables vpc, segment, subnet, nat, peer and policy, as structs. */
#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"
#include "store/store.h"
#include "vpc/columns.h"
#include "vpc/policy.h"
#include "vpc/vpc.h"
#include "vpc/way.h"

void now_utc(char ret[TIME_STRLEN])
{
	time_format(time(NULL), ret);
}

struct ip vpc_gateway(const struct cidr *c)
{
	return cidr_first_host(c);
}

struct mac vpc_bridge_mac(const struct vpc *v)
{
	char seed[NAME_MAX_LEN + 16];

	snprintf(seed, sizeof(seed), "byway:vpc/%s", v->name);
	return mac_from_name(seed);
}

void policy_row_done(struct policy_row *p)
{
	free(p->file);
	free(p->text);
	*p = (struct policy_row){0};
}

#define VPC_COLUMNS "name, cidr, cidr6, bridge, mtu, flat, created, state, dns, dhcp"

static void read_vpc(sqlite3_stmt *q, void *row)
{
	struct vpc *v = row;

	COLUMN_STR(q, 0, v->name);
	column_cidr(q, 1, &v->cidr);
	column_cidr(q, 2, &v->cidr6);
	COLUMN_STR(q, 3, v->bridge);
	v->mtu_bytes = (uint32_t)sqlite3_column_int(q, 4);
	v->flat = sqlite3_column_int(q, 5);
	COLUMN_STR(q, 6, v->created);
	v->state = column_state(q, 7);
	v->dns = sqlite3_column_int(q, 8);
	v->dhcp = sqlite3_column_int(q, 9);
}

static const struct row_reader vpc_reader = {sizeof(struct vpc), read_vpc};

int vpc_load(struct store *st, const char *name, struct vpc *ret, struct err *err)
{
	int r = row_read(st, &vpc_reader, "SELECT " VPC_COLUMNS " FROM vpc WHERE name = ?1", name, NULL,
			 ret, err);

	return r == -ENOENT ? err_set(err, ERR_NOT_FOUND, r, "there is no VPC '%s'", name) : r;
}

int vpc_list(struct store *st, struct vpc **ret, size_t *n, struct err *err)
{
	return rows_read(st, &vpc_reader, "SELECT " VPC_COLUMNS " FROM vpc ORDER BY name", NULL, NULL,
			 ret, n, err);
}

int vpc_insert(struct store *st, const struct vpc *v, struct err *err)
{
	char cidr[CIDR_STRLEN], cidr6[CIDR_STRLEN];

	return store_exec(st, err,
			  "INSERT INTO vpc (" VPC_COLUMNS
			  ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
			  "ssssiissii", v->name, cidr_format(&v->cidr, cidr),
			  cidr_text(&v->cidr6, cidr6), v->bridge, (int64_t)v->mtu_bytes,
			  (int64_t)v->flat, v->created, row_state_name(v->state),
			  (int64_t)v->dns, (int64_t)v->dhcp);
}

int vpc_set_services(struct store *st, const struct vpc *v, struct err *err)
{
	return store_exec(st, err, "UPDATE vpc SET dns = ?2, dhcp = ?3 WHERE name = ?1", "sii",
			  v->name, (int64_t)v->dns, (int64_t)v->dhcp);
}

int vpc_set_state(struct store *st, const char *name, enum row_state state, struct err *err)
{
	static const char *const parts[] = {
		"UPDATE subnet SET state = ?2 WHERE vpc = ?1",
		"UPDATE port SET state = ?2 WHERE vpc = ?1",
		"UPDATE segment SET state = ?2 WHERE vpc = ?1",
		"UPDATE nat SET state = ?2 WHERE vpc = ?1",
		"UPDATE mapping SET state = ?2 WHERE vpc = ?1",
		"UPDATE peer SET state = ?2 WHERE a = ?1 OR b = ?1",
	};
	const char *s = row_state_name(state);
	int r = store_exec(st, err, "UPDATE vpc SET state = ?2 WHERE name = ?1", "ss", name, s);

	for (size_t i = 0; !r && state == ROW_DELETING && i < ARRAY_SIZE(parts); i++)
		r = store_exec(st, err, parts[i], "ss", name, s);
	return r;
}

int vpc_remove(struct store *st, const char *name, struct err *err)
{
	static const char *const sql[] = {
		"DELETE FROM policy WHERE vpc = ?1",  "DELETE FROM nat WHERE vpc = ?1",
		"DELETE FROM peer WHERE a = ?1",      "DELETE FROM peer WHERE b = ?1",
		"DELETE FROM subnet WHERE vpc = ?1",  "DELETE FROM port WHERE vpc = ?1",
		"DELETE FROM mapping WHERE vpc = ?1",
		"DELETE FROM segment WHERE vpc = ?1", "DELETE FROM vpc WHERE name = ?1",
		"DELETE FROM egress_use WHERE vpc = ?1",
	};

	for (size_t i = 0; i < ARRAY_SIZE(sql); i++) {
		int r = store_exec(st, err, sql[i], "s", name);

		if (r)
			return r;
	}
	return 0;
}

#define SUBNET_COLUMNS                                                                             \
	"vpc, name, cidr, cidr6, type, netns, veth_host, veth_ns, mac, addr, addr6, segment, "     \
	"created, state"

/* Of a row of the table subnet: whether it has a way out of its own. */
#define SUBNET_HAS_WAY                                                                             \
	"EXISTS (SELECT 1 FROM egress_use u WHERE u.vpc = subnet.vpc"                              \
	"  AND u.kind = 'subnet' AND u.name = subnet.name)"
#define SUBNET_SELECT "SELECT " SUBNET_COLUMNS ", " SUBNET_HAS_WAY " FROM subnet "

static void read_subnet(sqlite3_stmt *q, void *row)
{
	struct subnet *s = row;

	COLUMN_STR(q, 0, s->vpc);
	COLUMN_STR(q, 1, s->name);
	column_cidr(q, 2, &s->cidr);
	column_cidr(q, 3, &s->cidr6);
	s->is_public = !strcmp(column_text(q, 4), "public");
	COLUMN_STR(q, 5, s->netns);
	COLUMN_STR(q, 6, s->veth_host);
	COLUMN_STR(q, 7, s->veth_ns);
	column_mac(q, 8, &s->mac);
	column_ip(q, 9, &s->addr);
	column_ip(q, 10, &s->addr6);
	s->segment = (unsigned int)sqlite3_column_int(q, 11);
	COLUMN_STR(q, 12, s->created);
	s->state = column_state(q, 13);
	s->has_way = sqlite3_column_int(q, 14);
}

static const struct row_reader subnet_reader = {sizeof(struct subnet), read_subnet};

int subnet_load(struct store *st, const char *vpc, const char *name, struct subnet *ret,
		struct err *err)
{
	int r = row_read(st, &subnet_reader,
			 SUBNET_SELECT "WHERE vpc = ?1 AND name = ?2", vpc, name, ret, err);

	return r == -ENOENT
		       ? err_set(err, ERR_NOT_FOUND, r, "there is no subnet '%s' in VPC '%s'", name, vpc)
		       : r;
}

int subnet_list(struct store *st, const char *vpc, struct subnet **ret, size_t *n, struct err *err)
{
	if (vpc)
		return rows_read(st, &subnet_reader,
				 SUBNET_SELECT "WHERE vpc = ?1 ORDER BY name", vpc, NULL, ret, n,
				 err);
	return rows_read(st, &subnet_reader, SUBNET_SELECT "ORDER BY vpc, name", NULL, NULL,
			 ret, n, err);
}

int subnet_insert(struct store *st, const struct subnet *s, struct err *err)
{
	char cidr[CIDR_STRLEN], cidr6[CIDR_STRLEN], addr[IP_STRLEN], addr6[IP_STRLEN];
	char mac[MAC_STRLEN];

	return store_exec(st, err,
			  "INSERT INTO subnet (" SUBNET_COLUMNS ") VALUES "
			  "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
			  "sssssssssssiss", s->vpc, s->name, cidr_format(&s->cidr, cidr),
			  cidr_text(&s->cidr6, cidr6), s->is_public ? "public" : "private", s->netns,
			  s->veth_host, s->veth_ns, mac_format(&s->mac, mac), ip_format(&s->addr, addr),
			  ip_text(&s->addr6, addr6), (int64_t)s->segment, s->created,
			  row_state_name(s->state));
}

int subnet_set_state(struct store *st, const struct subnet *s, enum row_state state,
		     struct err *err)
{
	return store_exec(st, err, "UPDATE subnet SET state = ?3 WHERE vpc = ?1 AND name = ?2", "sss",
			  s->vpc, s->name, row_state_name(state));
}

int subnet_set_type(struct store *st, const struct subnet *s, struct err *err)
{
	return store_exec(st, err, "UPDATE subnet SET type = ?3 WHERE vpc = ?1 AND name = ?2", "sss",
			  s->vpc, s->name, s->is_public ? "public" : "private");
}

int subnet_remove(struct store *st, const struct subnet *s, struct err *err)
{
	struct policy_owner owner = subnet_owner(s);
	int r = policy_remove(st, &owner, err);

	if (!r)
		r = use_remove(st, USE_SUBNET, s->vpc, s->name, err);
	return r ? r
		 : store_exec(st, err, "DELETE FROM subnet WHERE vpc = ?1 AND name = ?2", "ss", s->vpc,
			      s->name);
}

#define SEGMENT_COLUMNS "vpc, no, bridge, trunk_up, trunk_down, state"

static void read_segment(sqlite3_stmt *q, void *row)
{
	struct segment *s = row;

	COLUMN_STR(q, 0, s->vpc);
	s->no = (unsigned int)sqlite3_column_int(q, 1);
	COLUMN_STR(q, 2, s->bridge);
	COLUMN_STR(q, 3, s->trunk_up);
	COLUMN_STR(q, 4, s->trunk_down);
	s->state = column_state(q, 5);
}

static const struct row_reader segment_reader = {sizeof(struct segment), read_segment};

int segment_list(struct store *st, const char *vpc, struct segment **ret, size_t *n,
		 struct err *err)
{
	if (vpc)
		return rows_read(st, &segment_reader,
				 "SELECT " SEGMENT_COLUMNS " FROM segment WHERE vpc = ?1 ORDER BY no", vpc,
				 NULL, ret, n, err);
	return rows_read(st, &segment_reader, "SELECT " SEGMENT_COLUMNS " FROM segment ORDER BY vpc, no",
			 NULL, NULL, ret, n, err);
}

int segment_insert(struct store *st, const struct segment *s, struct err *err)
{
	return store_exec(st, err,
			  "INSERT INTO segment (" SEGMENT_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
			  "sissss", s->vpc, (int64_t)s->no, s->bridge, s->trunk_up, s->trunk_down,
			  row_state_name(s->state));
}

int segment_set_state(struct store *st, const struct segment *s, enum row_state state,
		      struct err *err)
{
	return store_exec(st, err, "UPDATE segment SET state = ?3 WHERE vpc = ?1 AND no = ?2", "sis",
			  s->vpc, (int64_t)s->no, row_state_name(state));
}

int segment_remove(struct store *st, const struct segment *s, struct err *err)
{
	return store_exec(st, err, "DELETE FROM segment WHERE vpc = ?1 AND no = ?2", "si", s->vpc,
			  (int64_t)s->no);
}

static void read_nat(sqlite3_stmt *q, void *row)
{
	struct nat *n = row;

	COLUMN_STR(q, 0, n->vpc);
	COLUMN_STR(q, 1, n->interface);
	n->state = column_state(q, 2);
}

static const struct row_reader nat_reader = {sizeof(struct nat), read_nat};

int nat_load(struct store *st, const char *vpc, struct nat *ret, struct err *err)
{
	int r = row_read(st, &nat_reader, "SELECT vpc, interface, state FROM nat WHERE vpc = ?1", vpc,
			 NULL, ret, err);

	return r == -ENOENT ? err_set(err, ERR_NOT_FOUND, r, "VPC '%s' has no NAT", vpc) : r;
}

int nat_list(struct store *st, struct nat **ret, size_t *n, struct err *err)
{
	return rows_read(st, &nat_reader, "SELECT vpc, interface, state FROM nat ORDER BY vpc", NULL,
			 NULL, ret, n, err);
}

int nat_save(struct store *st, const struct nat *n, struct err *err)
{
	return store_exec(st, err,
			  "INSERT OR REPLACE INTO nat (vpc, interface, state) VALUES (?1, ?2, ?3)", "sss",
			  n->vpc, n->interface, row_state_name(n->state));
}

int nat_remove(struct store *st, const char *vpc, struct err *err)
{
	return store_exec(st, err, "DELETE FROM nat WHERE vpc = ?1", "s", vpc);
}

static void read_peer(sqlite3_stmt *q, void *row)
{
	struct peer *p = row;
	_free_ char *list = NULL;
	char *rest = NULL;

	COLUMN_STR(q, 0, p->a);
	COLUMN_STR(q, 1, p->b);
	list = xstrdup(column_text(q, 2) ? column_text(q, 2) : "");
	for (char *c = strtok_r(list, ",", &rest); c && p->n_allow < PEER_ALLOW_MAX;
	     c = strtok_r(NULL, ",", &rest)) {
		if (!cidr_parse(c, &p->allow[p->n_allow], NULL))
			p->n_allow++;
	}
	p->state = column_state(q, 3);
}

static const struct row_reader peer_reader = {sizeof(struct peer), read_peer};

int peer_load(struct store *st, const char *a, const char *b, struct peer *ret, struct err *err)
{
	bool ordered = strcmp(a, b) < 0;
	int r = row_read(st, &peer_reader,
			 "SELECT a, b, allow, state FROM peer WHERE a = ?1 AND b = ?2", ordered ? a : b,
			 ordered ? b : a, ret, err);

	return r == -ENOENT
		       ? err_set(err, ERR_NOT_FOUND, r, "VPCs '%s' and '%s' are not peered", a, b)
		       : r;
}

int peer_list(struct store *st, const char *vpc, struct peer **ret, size_t *n, struct err *err)
{
	if (vpc)
		return rows_read(st, &peer_reader,
				 "SELECT a, b, allow, state FROM peer WHERE a = ?1 OR b = ?1 "
				 "ORDER BY a, b",
				 vpc, NULL, ret, n, err);
	return rows_read(st, &peer_reader, "SELECT a, b, allow, state FROM peer ORDER BY a, b", NULL,
			 NULL, ret, n, err);
}

int peer_save(struct store *st, const struct peer *p, struct err *err)
{
	_buf_ struct buf list = {0};
	char text[CIDR_STRLEN];

	for (size_t i = 0; i < p->n_allow; i++)
		buf_addf(&list, "%s%s", i ? "," : "", cidr_format(&p->allow[i], text));
	return store_exec(st, err,
			  "INSERT OR REPLACE INTO peer (a, b, allow, state) VALUES (?1, ?2, ?3, ?4)",
			  "ssss", p->a, p->b, list.data, row_state_name(p->state));
}

int peer_remove(struct store *st, const struct peer *p, struct err *err)
{
	return store_exec(st, err, "DELETE FROM peer WHERE a = ?1 AND b = ?2", "ss", p->a, p->b);
}

static const struct {
	const char *row, *what;
} policy_kinds[] = {
	[POLICY_OF_SUBNET] = {"subnet", "subnet"},
	[POLICY_OF_PORT] = {"port", "VM"},
};
static_assert(ARRAY_SIZE(policy_kinds) == POLICY_NUM_KINDS, "policy_kinds[] lacks a kind");

struct policy_owner subnet_owner(const struct subnet *s)
{
	return (struct policy_owner){POLICY_OF_SUBNET, s->vpc, s->name};
}

static void read_policy(sqlite3_stmt *q, struct policy_row *p)
{
	p->file = xstrdup(column_text(q, 0) ? column_text(q, 0) : "");
	p->text = xstrdup(column_text(q, 1));
	COLUMN_STR(q, 2, p->applied);
}

int policy_load(struct store *st, const struct policy_owner *of, struct policy_row *ret,
		struct err *err)
{
	_stmt_ sqlite3_stmt *q = NULL;
	int r = store_query(st, &q, err,
			    "SELECT file, text, applied FROM policy"
			    " WHERE vpc = ?1 AND kind = ?2 AND name = ?3",
			    "sss", of->vpc, policy_kinds[of->kind].row, of->name);

	if (!r)
		r = store_step(st, q, err);
	if (r == 1)
		read_policy(q, ret);
	if (!r)
		return err_set(err, ERR_NOT_FOUND, -ENOENT, "%s '%s/%s' has no policy",
			       policy_kinds[of->kind].what, of->vpc, of->name);
	return r < 0 ? r : 0;
}

int policy_save(struct store *st, const struct policy_owner *of, const char *file,
		const char *text, const struct policy *p, struct err *err)
{
	char now[TIME_STRLEN];

	now_utc(now);
	return store_exec(st, err,
			  "INSERT OR REPLACE INTO policy"
			  " (vpc, kind, name, file, text, applied, has_groups)"
			  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
			  "ssssssi", of->vpc, policy_kinds[of->kind].row, of->name, file, text, now,
			  (int64_t)p->has_groups);
}

int policy_remove(struct store *st, const struct policy_owner *of, struct err *err)
{
	return store_exec(st, err, "DELETE FROM policy WHERE vpc = ?1 AND kind = ?2 AND name = ?3",
			  "sss", of->vpc, policy_kinds[of->kind].row, of->name);
}
