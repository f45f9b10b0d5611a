// SPDX-License-Identifier: GPL-2.0-or-later
#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "store/store.h"
#include "vpc/columns.h"
#include "vpc/port.h"
#include "vpc/way.h"

static const struct {
	const char *name, *what, *mark, *prefix;
} kinds[] = {
	[PORT_TAP] = {"tap", "VM", "vm", "tap-"},
	[PORT_VETH] = {"veth", "container", "container", "cni-"},
	[PORT_CLONE] = {"clone", "VM", "vm", "vm-"},
};
static_assert(ARRAY_SIZE(kinds) == PORT_NUM_KINDS, "kinds[] doesn't match port_kind");

const char *port_kind_name(enum port_kind k)
{
	return kinds[k].name;
}

const char *port_kind_what(enum port_kind k)
{
	return kinds[k].what;
}

const char *port_kind_mark(enum port_kind k)
{
	return kinds[k].mark;
}

const char *port_kind_prefix(enum port_kind k)
{
	return kinds[k].prefix;
}

static enum port_kind column_kind(sqlite3_stmt *q, int i)
{
	const char *s = column_text(q, i);

	for (size_t k = 0; s && k < PORT_NUM_KINDS; k++) {
		if (!strcmp(s, kinds[k].name))
			return (enum port_kind)k;
	}
	return PORT_TAP;
}

struct policy_owner port_owner(const struct port *p)
{
	return (struct policy_owner){POLICY_OF_PORT, p->vpc, p->name};
}

struct mac port_mac(const struct port *p)
{
	char seed[NAME_MAX_LEN + IP_STRLEN + 16], addr[IP_STRLEN];

	snprintf(seed, sizeof(seed), "byway:port/%s/%s", p->vpc, ip_format(&p->addr, addr));
	return mac_from_name(seed);
}

#define PORT_COLUMNS                                                                               \
	"vpc, name, subnet, kind, ifname, ifb, mac, addr, addr6, owner_uid, owner_gid, queues, "   \
	"isolated, rate_rx, rate_tx, segment, container, inside, config, life_pid, life_start, " \
	"clone_netns, clone_tap, clone_mac, clone_addr, created, state, aliases"

#define SELECT_PORT                                                                                \
	"SELECT " PORT_COLUMNS ", EXISTS (SELECT 1 FROM policy WHERE policy.vpc = port.vpc"        \
	" AND policy.kind = 'port' AND policy.name = port.name) FROM port "

static void read_port(sqlite3_stmt *q, void *row)
{
	struct port *p = row;

	COLUMN_STR(q, 0, p->vpc);
	COLUMN_STR(q, 1, p->name);
	COLUMN_STR(q, 2, p->subnet);
	p->kind = column_kind(q, 3);
	COLUMN_STR(q, 4, p->ifname);
	COLUMN_STR(q, 5, p->ifb);
	column_mac(q, 6, &p->mac);
	column_ip(q, 7, &p->addr);
	column_ip(q, 8, &p->addr6);
	p->owner_uid = (uid_t)sqlite3_column_int64(q, 9);
	p->owner_gid = (gid_t)sqlite3_column_int64(q, 10);
	p->queues = (unsigned int)sqlite3_column_int(q, 11);
	p->isolated = sqlite3_column_int(q, 12);
	p->rate_rx = (uint64_t)sqlite3_column_int64(q, 13);
	p->rate_tx = (uint64_t)sqlite3_column_int64(q, 14);
	p->segment = (unsigned int)sqlite3_column_int(q, 15);
	COLUMN_STR(q, 16, p->attachment.container);
	COLUMN_STR(q, 17, p->attachment.ifname);
	COLUMN_STR(q, 18, p->attachment.config);
	p->life.pid = (pid_t)sqlite3_column_int64(q, 19);
	p->life.start = (uint64_t)sqlite3_column_int64(q, 20);
	COLUMN_STR(q, 21, p->clone.netns);
	COLUMN_STR(q, 22, p->clone.tap);
	column_mac(q, 23, &p->clone.mac);
	column_ip(q, 24, &p->clone.addr);
	COLUMN_STR(q, 25, p->created);
	p->state = column_state(q, 26);
	COLUMN_STR(q, 27, p->attachment.aliases);
	p->has_policy = sqlite3_column_int(q, 28);
}

static const struct row_reader port_reader = {sizeof(struct port), read_port};

int port_load(struct store *st, const char *vpc, const char *name, struct port *ret,
	      struct err *err)
{
	int r = row_read(st, &port_reader,
			 SELECT_PORT "WHERE vpc = ?1 AND name = ?2", vpc,
			 name, ret, err);

	return r == -ENOENT
		       ? err_set(err, ERR_NOT_FOUND, r, "there is no VM '%s' in '%s'", name, vpc)
		       : r;
}

int port_load_attachment(struct store *st, const char *container, const char *ifname,
			 struct port *ret, struct err *err)
{
	return row_read(st, &port_reader,
			SELECT_PORT "WHERE container = ?1 AND inside = ?2",
			container, ifname, ret, err);
}

int port_list(struct store *st, const char *vpc, struct port **ret, size_t *n, struct err *err)
{
	if (vpc)
		return rows_read(st, &port_reader,
				 SELECT_PORT "WHERE vpc = ?1 ORDER BY name",
				 vpc, NULL, ret, n, err);
	return rows_read(st, &port_reader, SELECT_PORT "ORDER BY vpc, name",
			 NULL, NULL, ret, n, err);
}

int port_insert(struct store *st, const struct port *p, struct err *err)
{
	char mac[MAC_STRLEN], addr[IP_STRLEN], addr6[IP_STRLEN];
	char clone_mac[MAC_STRLEN], clone_addr[IP_STRLEN];
	int64_t uid = p->owner_uid == PORT_NO_UID ? -1 : (int64_t)p->owner_uid;
	int64_t gid = p->owner_gid == PORT_NO_GID ? -1 : (int64_t)p->owner_gid;

	return store_exec(st, err,
			  "INSERT INTO port (" PORT_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, "
			  "?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, "
			  "?23, ?24, ?25, ?26, ?27, ?28)",
			  "sssssssssiiiiiiisssiisssssss", p->vpc, p->name, p->subnet, port_kind_name(p->kind),
			  p->ifname, p->ifb, mac_format(&p->mac, mac), ip_format(&p->addr, addr),
			  ip_text(&p->addr6, addr6), uid, gid, (int64_t)p->queues,
			  (int64_t)p->isolated, (int64_t)p->rate_rx, (int64_t)p->rate_tx,
			  (int64_t)p->segment, p->attachment.container, p->attachment.ifname,
			  p->attachment.config, (int64_t)p->life.pid, (int64_t)p->life.start,
			  p->clone.netns, p->clone.tap, mac_format(&p->clone.mac, clone_mac),
			  ip_text(&p->clone.addr, clone_addr), p->created, row_state_name(p->state),
			  p->attachment.aliases);
}

int port_set_state(struct store *st, const struct port *p, enum row_state state, struct err *err)
{
	return store_exec(st, err, "UPDATE port SET state = ?3 WHERE vpc = ?1 AND name = ?2", "sss",
			  p->vpc, p->name, row_state_name(state));
}

int port_set_rates(struct store *st, const struct port *p, struct err *err)
{
	return store_exec(st, err,
			  "UPDATE port SET ifb = ?3, rate_rx = ?4, rate_tx = ?5 WHERE vpc = ?1 AND name = ?2",
			  "sssii", p->vpc, p->name, p->ifb, (int64_t)p->rate_rx, (int64_t)p->rate_tx);
}

int port_remove(struct store *st, const struct port *p, struct err *err)
{
	struct policy_owner owner = port_owner(p);
	int r = use_remove(st, USE_PORT, p->vpc, p->name, err);

	if (!r)
		r = policy_remove(st, &owner, err);
	return r ? r
		 : store_exec(st, err, "DELETE FROM port WHERE vpc = ?1 AND name = ?2", "ss", p->vpc,
			      p->name);
}
