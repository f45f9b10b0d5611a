// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <netinet/in.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store/store.h"
#include "vpc/columns.h"
#include "vpc/mapping.h"

static const struct {
	const char *name;
	uint8_t number;
} protocols[] = {{"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}};

const char *mapping_protocol_name(uint8_t protocol)
{
	return protocols[protocol == IPPROTO_UDP].name;
}

/* ---- As people write them ---- */

bool mapping_protocol_parse(const char *text, uint8_t *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		if (!strcasecmp(text, protocols[i].name)) {
			*ret = protocols[i].number;
			return true;
		}
	}
	return false;
}

/* Returns what follows, or NULL. */
static const char *parse_port(const char *text, uint16_t *ret)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	*ret = (uint16_t)n;
	return *text >= '0' && *text <= '9' && n >= 1 && n <= UINT16_MAX ? end : NULL;
}

static bool parse_ports(const char *text, uint16_t *ret_first, uint16_t *ret_last)
{
	const char *rest = parse_port(text, ret_first);

	*ret_last = *ret_first;
	if (rest && *rest == '-')
		rest = parse_port(rest + 1, ret_last);
	return rest && !*rest && *ret_first <= *ret_last;
}

/* Takes "ADDR:" or "[ADDR]:" off the front, if there is one; returns what follows, or NULL. */
static char *parse_host_addr(char *text, struct ip *ret, struct err *err)
{
	char *end = *text == '[' ? strchr(text, ']') : strchr(text, ':');
	char *rest = end && *text == '[' ? end + 1 : end;

	if (*text != '[' && (!end || !memchr(text, '.', (size_t)(end - text))))
		return text;
	if (!rest || *rest != ':')
		return NULL;
	*end = '\0';
	return ip_parse(text + (*text == '['), ret, err) ? NULL : rest + 1;
}

static bool parse_range(char *text, struct mapping_range *ret)
{
	char *slash = strchr(text, '/'), *colon;
	uint16_t to_last = 0;

	if (slash)
		*slash++ = '\0';
	if (slash && !mapping_protocol_parse(slash, &ret->protocol))
		return false;
	text = parse_host_addr(text, &ret->host_addr, NULL);
	if (!text)
		return false;
	colon = strchr(text, ':');
	if (colon)
		*colon++ = '\0';
	return parse_ports(text, &ret->first, &ret->last) &&
	       (!colon || (parse_ports(colon, &ret->to, &to_last) &&
			   to_last - ret->to == ret->last - ret->first));
}

int mapping_range_parse(const char *text, struct mapping_range *ret, struct err *err)
{
	_free_ char *copy = xstrdup(text);

	*ret = (struct mapping_range){0};
	if (parse_range(copy, ret))
		return 0;
	return err_set(err, ERR_USAGE, -EINVAL,
		       "'%s' is not [ADDRESS:]HOSTPORT:PORT[/tcp|udp], such as 8080:80/tcp; of "
		       "two ranges both are as long",
		       text);
}

bool mapping_range_has(const struct mapping_range *r, const struct mapping *m)
{
	return (!r->protocol || r->protocol == m->protocol) && m->host_port >= r->first &&
	       m->host_port <= r->last &&
	       (!r->to || m->port - r->to == m->host_port - r->first) &&
	       (!r->host_addr.family || ip_equal(&r->host_addr, &m->host_addr));
}

const char *mapping_format(const struct mapping *m, char ret[MAPPING_STRLEN])
{
	char addr[IP_STRLEN] = "";
	int family = m->host_addr.family;

	if (family)
		ip_format(&m->host_addr, addr);
	snprintf(ret, MAPPING_STRLEN, "%s%s%s%u:%u/%s", family == AF_INET6 ? "[" : "", addr,
		 family == AF_INET6 ? "]:" : family ? ":" : "", m->host_port, m->port,
		 mapping_protocol_name(m->protocol));
	return ret;
}

/* ---- What they mean ---- */

bool mapping_is_any(const struct mapping *m)
{
	static const struct ip any4 = {.family = AF_INET}, any6 = {.family = AF_INET6};

	return !m->host_addr.family || ip_equal(&m->host_addr, &any4) ||
	       ip_equal(&m->host_addr, &any6);
}

bool mapping_has_family(const struct mapping *m, int family)
{
	const struct ip *to = family == AF_INET6 ? &m->addr6 : &m->addr;

	return to->family && (!m->host_addr.family || m->host_addr.family == family);
}

bool mapping_equal(const struct mapping *a, const struct mapping *b)
{
	return a->protocol == b->protocol && a->host_port == b->host_port && a->port == b->port &&
	       ip_equal(&a->host_addr, &b->host_addr) && !strcmp(a->vpc, b->vpc) &&
	       !strcmp(a->target, b->target) && a->to_subnet == b->to_subnet;
}

bool mapping_overlaps(const struct mapping *a, const struct mapping *b)
{
	if (a->protocol != b->protocol || a->host_port != b->host_port)
		return false;
	if (!a->host_addr.family || !b->host_addr.family)
		return true;
	if (a->host_addr.family != b->host_addr.family)
		return false;
	return mapping_is_any(a) || mapping_is_any(b) || ip_equal(&a->host_addr, &b->host_addr);
}

/* ---- Rows ---- */

#define MAPPING_COLUMNS "protocol, host_addr, host_port, vpc, target, is_subnet, port, state"
#define OF_TARGET(column)                                                                          \
	"CASE is_subnet WHEN 0 THEN"                                                               \
	" (SELECT " column " FROM port WHERE port.vpc = mapping.vpc AND port.name = target)"       \
	" ELSE (SELECT " column " FROM subnet WHERE subnet.vpc = mapping.vpc"                      \
	" AND subnet.name = target) END"
#define SELECT_MAPPINGS                                                                            \
	"SELECT " MAPPING_COLUMNS ", " OF_TARGET("addr") ", " OF_TARGET("addr6") " FROM mapping "
#define IN_ORDER " ORDER BY vpc, target, protocol, host_port, host_addr"

static void read_mapping(sqlite3_stmt *q, void *row)
{
	struct mapping *m = row;

	m->protocol = (uint8_t)sqlite3_column_int(q, 0);
	column_ip(q, 1, &m->host_addr);
	m->host_port = (uint16_t)sqlite3_column_int(q, 2);
	COLUMN_STR(q, 3, m->vpc);
	COLUMN_STR(q, 4, m->target);
	m->to_subnet = sqlite3_column_int(q, 5);
	m->port = (uint16_t)sqlite3_column_int(q, 6);
	m->state = column_state(q, 7);
	column_ip(q, 8, &m->addr);
	column_ip(q, 9, &m->addr6);
}

static const struct row_reader mapping_reader = {sizeof(struct mapping), read_mapping};

int mapping_list(struct store *st, const char *vpc, struct mapping **ret, size_t *n,
		 struct err *err)
{
	return rows_read(st, &mapping_reader,
			 vpc ? SELECT_MAPPINGS "WHERE vpc = ?1" IN_ORDER : SELECT_MAPPINGS IN_ORDER,
			 vpc, NULL, ret, n, err);
}

static const char *host_text(const struct mapping *m, char buf[IP_STRLEN])
{
	return m->host_addr.family ? ip_format(&m->host_addr, buf) : "";
}

int mapping_save(struct store *st, const struct mapping *m, struct err *err)
{
	char host[IP_STRLEN];

	return store_exec(st, err,
			  "INSERT OR REPLACE INTO mapping (" MAPPING_COLUMNS
			  ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
			  "isissiis", (int64_t)m->protocol, host_text(m, host),
			  (int64_t)m->host_port, m->vpc, m->target, (int64_t)m->to_subnet,
			  (int64_t)m->port, row_state_name(m->state));
}

int mapping_remove(struct store *st, const struct mapping *m, struct err *err)
{
	char host[IP_STRLEN];

	return store_exec(st, err,
			  "DELETE FROM mapping WHERE protocol = ?1 AND host_port = ?2"
			  " AND host_addr = ?3",
			  "iis", (int64_t)m->protocol, (int64_t)m->host_port, host_text(m, host));
}

int mapping_shared(struct store *st, const struct mapping *m, struct err *err)
{
	_stmt_ sqlite3_stmt *q = NULL;
	int r = store_query(st, &q, err,
			    "SELECT 1 FROM mapping WHERE vpc = ?1 AND target = ?2 AND protocol = ?3"
			    " AND port = ?4 AND is_subnet = ?5 AND state <> 'deleting'",
			    "ssiii", m->vpc, m->target, (int64_t)m->protocol, (int64_t)m->port,
			    (int64_t)m->to_subnet);

	return r ? r : store_step(st, q, err);
}
