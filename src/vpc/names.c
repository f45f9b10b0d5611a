// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "kernel/link.h"
#include "kernel/netns.h"
#include "vpc/names.h"
#include "vpc/port.h"
#include "vpc/vpc.h"
#include "vpc/way.h"

#define HASH_DIGITS 5
#define SALT_MAX 64

int name_check(const char *what, const char *name, struct err *err)
{
	size_t len = strlen(name);
	size_t good = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	if (len && len < NAME_MAX_LEN && good == len && isalnum((unsigned char)name[0]))
		return 0;
	return err_set(err, ERR_USAGE, -EINVAL,
		       "'%s' is not a name for a %s: a letter or digit, then letters, digits, '.', '_' "
		       "or '-', at most %d characters",
		       name, what, NAME_MAX_LEN - 1);
}

int name_check_vpc(const char *what, const char *name, struct err *err)
{
	if (!strcmp(name, USE_HOST_NAME))
		return err_set(err, ERR_USAGE, -EINVAL,
			       "'%s' is this machine: give the %s another name", name, what);
	return name_check(what, name, err);
}

int ifname_form(const char *prefix, const char *base, const char *full, unsigned int salt,
		char ret[IFNAMSIZ])
{
	size_t room = IFNAMSIZ - 1 - strlen(prefix) - HASH_DIGITS - 1;
	char seed[NAME_MAX_LEN * 2 + 32];
	unsigned long long hash;

	if (!salt && strlen(prefix) + strlen(base) < IFNAMSIZ) {
		strcpy(stpcpy(ret, prefix), base);
		return 0;
	}
	if (salt > SALT_MAX)
		return -EEXIST;
	snprintf(seed, sizeof(seed), "%s%s#%u", prefix, full, salt);
	hash = hash_str(seed) ^ (hash_str(seed) >> 32);
	while (room && (room > strlen(base) || base[room - 1] == '-'))
		room--;
	snprintf(ret, IFNAMSIZ, "%s%.*s-%0*llx", prefix, (int)room, base, HASH_DIGITS,
		 hash & ((1u << (4 * HASH_DIGITS)) - 1));
	return 0;
}

/* Is the name in the state (sql counts it) or in the kernel? 0 no, 1 yes. */
static int is_taken(struct store *st, struct netns *host, const char *sql, const char *name,
		    struct err *err)
{
	struct link link;
	int64_t n = 0;
	int r = sql ? row_number(st, sql, name, &n, err) : 0;

	if (r || n)
		return r ? r : 1;
	r = link_get(host, name, &link, err);
	if (r == -ENODEV)
		return 0;
	return r ? r : 1;
}

static int pick(struct store *st, struct netns *host, const char *sql, const char *prefix,
		const char *base, const char *full, char ret[IFNAMSIZ], struct err *err)
{
	for (unsigned int salt = 0;; salt++) {
		char name[IFNAMSIZ];
		int taken;

		if (ifname_form(prefix, base, full, salt, name))
			return err_set(err, ERR_CONFLICT, -EEXIST,
				       "no free interface name for %s: %s%s and its variants exist", full,
				       prefix, base);
		taken = is_taken(st, host, sql, name, err);
		if (taken < 0)
			return taken;
		if (taken)
			continue;
		memcpy(ret, name, IFNAMSIZ);
		return 0;
	}
}

#define BRIDGE_SQL "SELECT COUNT(*) FROM vpc WHERE bridge = ?1"

/* The kernel has settings of these names for all interfaces, and lets none be named so. */
static bool is_ifname(const char *name)
{
	return strlen(name) < IFNAMSIZ && strcmp(name, "all") != 0 && strcmp(name, "default") != 0;
}

int name_bridge(struct store *st, struct netns *host, const struct vpc *v, char ret[IFNAMSIZ],
		struct err *err)
{
	int taken = 1;

	if (v->flat && is_ifname(v->name))
		taken = is_taken(st, host, BRIDGE_SQL, v->name, err);
	if (taken > 0)
		return pick(st, host, BRIDGE_SQL, "br-", v->name, v->name, ret, err);
	return taken ? taken : str_copy(ret, IFNAMSIZ, v->name);
}

int name_segment(struct netns *host, const char *vpc, unsigned int no, const char *prefix,
		 char ret[IFNAMSIZ], struct err *err)
{
	char base[NAME_MAX_LEN + 16];

	snprintf(base, sizeof(base), "%s.%u", vpc, no);
	return pick(NULL, host, NULL, prefix, base, base, ret, err);
}

int name_veth(struct store *st, struct netns *host, const char *base, const char *full,
	      char ret_host[IFNAMSIZ], char ret_ns[IFNAMSIZ], struct err *err)
{
	char inner[NAME_MAX_LEN + 8];
	int r = pick(st, host,
		     "SELECT (SELECT COUNT(*) FROM subnet WHERE veth_host = ?1)"
		     " + (SELECT COUNT(*) FROM session WHERE veth_host = ?1)",
		     "veth-", base, full, ret_host, err);

	if (r)
		return r;
	snprintf(inner, sizeof(inner), "%s-ns", base);
	return ifname_form("veth-", inner, full, 0, ret_ns);
}

int name_leg(struct store *st, struct netns *host, const char *egress, char ret[IFNAMSIZ],
	     struct err *err)
{
	return pick(st, host, "SELECT COUNT(*) FROM egress WHERE leg = ?1", "leg-", egress, egress,
		    ret, err);
}

int name_port_ifb(struct store *st, struct netns *host, struct port *p, struct err *err)
{
	char full[NAME_MAX_LEN * 2];

	snprintf(full, sizeof(full), "%s/%s", p->vpc, p->name);
	return pick(st, host, "SELECT COUNT(*) FROM port WHERE ifb = ?1", "ifb-", p->name, full,
		    p->ifb, err);
}

int name_port(struct store *st, struct netns *host, struct port *p, struct err *err)
{
	char full[NAME_MAX_LEN * 2];
	int r;

	snprintf(full, sizeof(full), "%s/%s", p->vpc, p->name);
	r = pick(st, host, "SELECT COUNT(*) FROM port WHERE ifname = ?1",
		 port_kind_prefix(p->kind), p->name, full, p->ifname, err);
	return r || !p->rate_tx ? r : name_port_ifb(st, host, p, err);
}

int name_netns_taken(struct store *st, const char *name, struct err *err)
{
	int64_t n = 0;
	int r = row_number(st,
			   "SELECT (SELECT COUNT(*) FROM subnet WHERE netns = ?1)"
			   " + (SELECT COUNT(*) FROM session WHERE netns = ?1 OR carrier = ?1)"
			   " + (SELECT COUNT(*) FROM port WHERE clone_netns = ?1)",
			   name, &n, err);

	return r ? r : n || netns_exists(name);
}

static int name_netns(struct store *st, struct subnet *s, const char *full, struct err *err)
{
	int taken;

	/* Subnet b-c of VPC a and subnet c of VPC a-b would share a name; others' may be in the way.
	 */
	snprintf(s->netns, sizeof(s->netns), "%s-%s", s->vpc, s->name);
	taken = name_netns_taken(st, s->netns, err);
	if (taken > 0) {
		size_t len = strlen(s->netns);

		snprintf(s->netns + len, sizeof(s->netns) - len, "-%05llx",
			 hash_str(full) & 0xfffff);
		taken = name_netns_taken(st, s->netns, err);
	}
	return taken > 0 ? err_set(err, ERR_CONFLICT, -EEXIST,
				   "a network namespace named %s exists already", s->netns)
			 : taken;
}

int name_subnet(struct store *st, struct netns *host, struct subnet *s, struct err *err)
{
	char full[NAME_MAX_LEN * 2];
	int r;

	snprintf(full, sizeof(full), "%s/%s", s->vpc, s->name);
	r = name_netns(st, s, full, err);
	return r ? r : name_veth(st, host, s->name, full, s->veth_host, s->veth_ns, err);
}

void alias_vpc(const char *vpc, char *ret, size_t size)
{
	snprintf(ret, size, ALIAS_PREFIX "vpc/%s", vpc);
}

void alias_segment(const char *vpc, unsigned int no, char *ret, size_t size)
{
	snprintf(ret, size, ALIAS_PREFIX "segment/%s/%u", vpc, no);
}

void alias_subnet(const struct subnet *s, char *ret, size_t size)
{
	snprintf(ret, size, ALIAS_PREFIX "subnet/%s/%s", s->vpc, s->name);
}

void alias_port(const struct port *p, char *ret, size_t size)
{
	snprintf(ret, size, ALIAS_PREFIX "%s/%s/%s", port_kind_mark(p->kind), p->vpc, p->name);
}

void alias_session(const char *name, char *ret, size_t size)
{
	snprintf(ret, size, ALIAS_PREFIX "session/%s", name);
}

void alias_egress(const char *name, char *ret, size_t size)
{
	snprintf(ret, size, ALIAS_PREFIX "egress/%s", name);
}

bool link_is_ours(const struct link *l)
{
	if (*l->alias)
		return !strncmp(l->alias, ALIAS_PREFIX, strlen(ALIAS_PREFIX));
	return l->group == GROUP_VPC || l->group == GROUP_PORT || l->group == GROUP_SESSION ||
	       l->group == GROUP_DOOMED || l->group == GROUP_LEG;
}
