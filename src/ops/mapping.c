// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Publishing ports of workloads under the host's addresses.
 *
 * The rows are the intent; the kernel has elements of the host's maps (vpc/host_rules.h), and for
 * IPv4 a bridge that lets packets of 127.0.0.1 through. Connections outlive rules that were asked
 * for their first packet only: what is taken back ends the connections that came by it.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/util.h"
#include "kernel/addr.h"
#include "kernel/conntrack.h"
#include "kernel/sysctl.h"
#include "ops/ops.h"
#include "ops/repair.h"
#include "vpc/host_rules.h"
#include "vpc/mapping.h"
#include "vpc/port.h"

/* ---- The target ---- */

static int find_port(struct ops *o, struct mapping *m, struct err *err)
{
	struct port p;
	int r = port_load(o->st, m->vpc, m->target, &p, err);

	if (!r && p.state != ROW_ACTIVE)
		r = err_set(err, ERR_NOT_FOUND, -ENOENT, "'%s/%s' was left half-made by a crash",
			    m->vpc, m->target);
	if (r)
		return r;
	m->addr = p.addr;
	m->addr6 = p.addr6;
	return 0;
}

static int find_subnet(struct ops *o, struct mapping *m, struct err *err)
{
	struct subnet s;
	int r = subnet_load(o->st, m->vpc, m->target, &s, NULL);

	if (r == -ENOENT)
		return r;
	if (r || s.state != ROW_ACTIVE)
		return err_set(err, ERR_NOT_FOUND, -ENOENT, "'%s/%s' was left half-made by a crash",
			       m->vpc, m->target);
	m->to_subnet = true;
	m->addr = s.addr;
	m->addr6 = s.addr6;
	return 0;
}

/* A subnet of that name, else a port. */
static int find_target(struct ops *o, struct mapping *m, struct err *err)
{
	struct vpc v;
	int r = ops_vpc_active(o, m->vpc, &v, err);

	if (!r)
		r = find_subnet(o, m, err);
	return r == -ENOENT && !m->to_subnet ? find_port(o, m, err) : r;
}

static int check_family(const struct mapping *m, struct err *err)
{
	if (m->host_addr.family != AF_INET6 || m->addr6.family)
		return 0;
	return err_set(err, ERR_USAGE, -EINVAL, "'%s/%s' has no IPv6 address", m->vpc, m->target);
}

int ops_mappings_lead_to(struct mapping *m, size_t n, const struct port *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < n; i++) {
		m[i].addr = p->addr;
		m[i].addr6 = p->addr6;
		r = check_family(&m[i], err);
	}
	return r;
}

/* ---- Is the host's port free? ---- */

/* Is m there already? Anybody else's on the same port is a conflict. */
static int check_others(const struct mapping *m, const struct mapping *others, size_t n,
			bool *ret_there, struct err *err)
{
	char text[MAPPING_STRLEN];

	*ret_there = false;
	for (size_t i = 0; i < n; i++) {
		if (others[i].state != ROW_ACTIVE || !mapping_overlaps(m, &others[i]))
			continue;
		if (!mapping_equal(m, &others[i]))
			return err_set(err, ERR_CONFLICT, -EEXIST,
				       "port %u/%s of the host leads to '%s/%s' already (%s)",
				       m->host_port, mapping_protocol_name(m->protocol),
				       others[i].vpc, others[i].target,
				       mapping_format(&others[i], text));
		*ret_there = true;
	}
	return 0;
}

/* 0 when a socket of ours could have it; an address that the host does not have yet counts as free. */
static int try_bind(const struct mapping *m, const struct ip *addr)
{
	bool is_tcp = m->protocol == IPPROTO_TCP, v6 = addr->family == AF_INET6;
	struct sockaddr_in6 sa6 = {.sin6_family = AF_INET6, .sin6_port = htons(m->host_port)};
	struct sockaddr_in sa4 = {.sin_family = AF_INET, .sin_port = htons(m->host_port)};
	_close_ int fd = socket(addr->family, (is_tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
	const int on = 1;

	if (fd < 0)
		return 0; /* a host without IPv6 has no such port either */
	if (is_tcp) /* connections that are ending do not count, only who listens */
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (v6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_FREEBIND : IP_FREEBIND, &on,
		   sizeof(on));
	memcpy(v6 ? (void *)&sa6.sin6_addr : (void *)&sa4.sin_addr, addr->bytes,
	       ip_len(addr->family));
	if (!bind(fd, v6 ? (void *)&sa6 : (void *)&sa4, v6 ? sizeof(sa6) : sizeof(sa4)))
		return 0;
	return errno == EADDRINUSE ? -EADDRINUSE : 0;
}

static int check_host_port(const struct mapping *m, struct err *err)
{
	static const int families[] = {AF_INET, AF_INET6};

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct ip addr = m->host_addr;

		addr.family = families[i];
		if (mapping_has_family(m, families[i]) && try_bind(m, &addr))
			return err_set(err, ERR_CONFLICT, -EADDRINUSE,
				       "a process of the host uses port %u/%s", m->host_port,
				       mapping_protocol_name(m->protocol));
	}
	return 0;
}

/* ---- The kernel ---- */

struct ending {
	const struct mapping *m;
	size_t n;
	struct ip *local; /* the host's addresses; NULL: what went to the targets ends */
	size_t n_local;
};

static bool came_by(const struct mapping *m, const struct conntrack_flow *f)
{
	return f->from_port == m->port && !ip_equal(&f->from, &f->dst) &&
	       (ip_equal(&f->from, &m->addr) || ip_equal(&f->from, &m->addr6));
}

static bool is_local(const struct ending *e, const struct ip *ip)
{
	for (size_t i = 0; i < e->n_local; i++) {
		if (ip_equal(ip, &e->local[i]))
			return true;
	}
	return false;
}

static bool ends(struct conntrack_flow *f, void *arg)
{
	const struct ending *e = arg;

	for (size_t i = 0; i < e->n; i++) {
		const struct mapping *m = &e->m[i];

		if (f->proto != m->protocol || f->dport != m->host_port)
			continue;
		if (e->local ? ip_equal(&f->from, &f->dst) && is_local(e, &f->dst) : came_by(m, f))
			return true;
	}
	return false;
}

static int add_local(const struct addr *a, void *arg)
{
	struct ending *e = arg;

	e->local = xrealloc(e->local, e->n_local + 1, sizeof(*e->local));
	e->local[e->n_local++] = a->addr.addr;
	return 0;
}

static int end_connections(struct ops *o, const struct mapping *m, size_t n, struct err *err)
{
	struct ending e = {.m = m, .n = n};

	return conntrack_end_each(o->host, ends, &e, err);
}

/* Datagrams that came before are of a connection with the host itself, and would stay so. */
static int end_earlier(struct ops *o, const struct mapping *m, size_t n, struct err *err)
{
	struct ending e = {.m = m, .n = n};
	bool any = false;
	int r;

	for (size_t i = 0; i < n; i++)
		any |= m[i].protocol == IPPROTO_UDP;
	if (!any)
		return 0;
	r = addr_each(o->host, add_local, &e, err);
	if (!r && e.local)
		r = conntrack_end_each(o->host, ends, &e, err);
	free(e.local);
	return r;
}

/* What a process of the host sends to its 127.0.0.1 has that for its source when it is routed to the
 * bridge, which the kernel takes for a mistake unless told. The host's rules let nothing in that a
 * workload sends to 127.0.0.0/8 (vpc/host_rules.c). */
int ops_loopback_repair(struct ops *o, const struct vpc *v, enum repair how, struct buf *why,
			struct err *err)
{
	char key[64 + IFNAMSIZ], now[SYSCTL_VALUE_MAX];
	int64_t n = 0;
	int r = row_number(o->st,
			   "SELECT COUNT(*) FROM mapping WHERE vpc = ?1 AND state <> 'deleting'",
			   v->name, &n, err);

	snprintf(key, sizeof(key), "net/ipv4/conf/%s/route_localnet", v->bridge);
	if (r || sysctl_get(o->host, key, now, NULL)) /* the bridge is gone */
		return r;
	if ((now[0] == '1') == (n > 0))
		return 0;
	buf_addf(why, "%s%s is %s", why->len ? ", " : "", key, now);
	return how == REPAIR_DO ? sysctl_set(o->host, key, n ? "1" : "0", err) : 0;
}

static int allow_loopback(struct ops *o, const struct vpc *v, struct err *err)
{
	_buf_ struct buf why = {0};

	return ops_loopback_repair(o, v, REPAIR_DO, &why, err);
}

static int count_live(struct ops *o, int64_t *ret, struct err *err)
{
	return row_number(o->st, "SELECT COUNT(*) FROM mapping WHERE state <> 'deleting'", NULL, ret,
			  err);
}

/* Whether one before the nth leads to the same port, so that it is said once. */
static bool is_repeated(const struct mapping *m, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (m[i].protocol == m[n].protocol && m[i].port == m[n].port &&
		    m[i].to_subnet == m[n].to_subnet && !strcmp(m[i].target, m[n].target))
			return true;
	return false;
}

/* The first, and the last, bring or take rules; the others are elements. */
static int change_rules(struct ops *o, const struct mapping *m, size_t n, bool add,
			struct err *err)
{
	_host_rules_ struct host_rules h = {0};
	int64_t live = 0;
	int r = count_live(o, &live, err);

	if (r)
		return r;
	if (live == (add ? (int64_t)n : 0))
		return ops_host_sync(o, err);
	host_rules_init(&h);
	for (size_t i = 0; i < n; i++) {
		int shared = add ? 0 : mapping_shared(o->st, &m[i], err);

		if (shared < 0)
			return shared;
		host_rules_mapping(&h, &m[i], !shared && !is_repeated(m, i));
	}
	return ops_host_update(o, add ? &h : NULL, add ? NULL : &h, err);
}

int ops_mappings_save(struct ops *o, struct mapping *m, size_t n, enum row_state state,
		      struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < n; i++) {
		m[i].state = state;
		r = mapping_save(o->st, &m[i], err);
	}
	return r;
}

static int save(struct ops *o, struct mapping *m, size_t n, enum row_state state, struct err *err)
{
	int r = ops_begin(o, err);

	if (!r)
		r = ops_mappings_save(o, m, n, state, err);
	return ops_end(o, r, err);
}

static int forget(struct ops *o, const struct mapping *m, size_t n, struct err *err)
{
	int r = ops_begin(o, err);

	for (size_t i = 0; !r && i < n; i++)
		r = mapping_remove(o->st, &m[i], err);
	return ops_end(o, r, err);
}

/* ---- The operations ---- */

int ops_mappings_delete(struct ops *o, struct mapping *m, size_t n, struct err *err)
{
	struct vpc v;
	int r = n ? vpc_load(o->st, m->vpc, &v, err) : 0;

	if (r || !n)
		return r;
	r = save(o, m, n, ROW_DELETING, err);
	if (!r)
		r = change_rules(o, m, n, false, err);
	if (!r)
		r = end_connections(o, m, n, err);
	if (!r)
		r = allow_loopback(o, &v, err);
	return r ? r : forget(o, m, n, err);
}

int ops_mappings_up(struct ops *o, const struct mapping *m, size_t n, struct err *err)
{
	struct vpc v;
	int r = vpc_load(o->st, m->vpc, &v, err);

	if (!r)
		r = change_rules(o, m, n, true, err);
	if (!r)
		r = end_earlier(o, m, n, err);
	return r ? r : allow_loopback(o, &v, err);
}

int ops_mappings_choose(struct ops *o, struct mapping *m, size_t n, size_t *ret_new,
			struct err *err)
{
	_free_ struct mapping *others = NULL;
	size_t n_others = 0, left = 0;
	int r = mapping_list(o->st, NULL, &others, &n_others, err);

	*ret_new = 0;
	for (size_t i = 0; !r && i < n; i++) {
		bool there;

		r = check_others(&m[i], others, n_others, &there, err);
		if (!r && !there)
			r = check_others(&m[i], m, *ret_new, &there, err);
		if (r || there)
			continue;
		r = m[i].reserved ? 0 : check_host_port(&m[i], err);
		m[i].state = ROW_ACTIVE; /* so that the next one is compared with it */
		m[(*ret_new)++] = m[i];
	}
	for (size_t i = 0; i < n_others; i++) {
		if (others[i].state != ROW_ACTIVE)
			others[left++] = others[i];
	}
	for (size_t i = 0; !r && i < left; i++)
		r = ops_mappings_delete(o, &others[i], 1, err);
	return r;
}

int ops_mappings_add(struct ops *o, struct mapping *m, size_t n, size_t *ret_new, struct err *err)
{
	int r = ops_firewall(o, err);

	for (size_t i = 0; !r && i < n; i++) {
		r = find_target(o, &m[i], err);
		if (!r)
			r = check_family(&m[i], err);
	}
	if (!r)
		r = ops_mappings_choose(o, m, n, ret_new, err);
	if (r || !*ret_new)
		return r;
	r = save(o, m, *ret_new, ROW_CREATING, err);
	if (r)
		return r;
	r = ops_mappings_up(o, m, *ret_new, err);
	if (!r)
		r = save(o, m, *ret_new, ROW_ACTIVE, err);
	if (r)
		ops_mappings_delete(o, m, *ret_new, NULL);
	return r;
}
