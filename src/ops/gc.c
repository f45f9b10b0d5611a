// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Putting things right after a crash, a lost database, or somebody's `ip netns del`.
 *
 * The state says what should be; names, groups and aliases say what is ours. gc removes rows that a
 * crash left half-way and rows whose namespace, bridge or port is gone, then what is ours and in no
 * row, then makes every ruleset, setting and view agree with the rows that are left. reset does the
 * same with no rows at all, and so needs no readable database.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/etc.h"
#include "base/log.h"
#include "firewall/firewall.h"
#include "kernel/link.h"
#include "kernel/neigh.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "ops/block.h"
#include "ops/dns.h"
#include "ops/doctor.h"
#include "ops/egress_impl.h"
#include "ops/ops.h"
#include "ops/repair.h"
#include "ops/session.h"
#include "ops/tunnel.h"
#include "ops/tunnel_files.h"
#include "ops/ways.h"
#include "proc/pidlock.h"
#include "proc/reap.h"
#include "session/net.h"
#include "vpc/host_rules.h"
#include "vpc/names.h"
#include "vpc/net.h"
#include "vpc/port.h"

#define GROUP_END_MS 10000 /* of a group's process: for its sessions' goodbyes */
#define TUNNEL_ALIAS ALIAS_PREFIX "tunnel/"

/* Names that rows claim, or that were found. Owns its strings. */
struct names {
	char **v;
	size_t n, cap;
};

static void names_add(struct names *l, const char *name)
{
	if (l->n == l->cap) {
		l->cap = l->cap * 2 + 32;
		l->v = xrealloc(l->v, l->cap, sizeof(*l->v));
	}
	l->v[l->n++] = xstrdup(name);
}

static void names_done(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_sort(struct names *l)
{
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), by_name);
}

static bool names_have(const struct names *l, const char *name)
{
	return l->n && bsearch(&name, l->v, l->n, sizeof(*l->v), by_name);
}

struct claims {
	struct names links, netns, proxied; /* proxied: addresses that are answered for */
	struct names etc;                   /* namespaces that have files of /etc */
};

static void claims_done(struct claims *c)
{
	names_done(&c->links);
	names_done(&c->netns);
	names_done(&c->proxied);
	names_done(&c->etc);
}

static void claim_session(struct claims *c, const struct session *s)
{
	char addr[IP_STRLEN];

	names_add(&c->links, s->veth_host);
	names_add(&c->netns, s->netns);
	names_add(&c->etc, s->netns);
	if (*s->carrier)
		names_add(&c->netns, s->carrier);
	if (!s->nat)
		names_add(&c->proxied, ip_format(&s->addr, addr));
}

static int claim_sessions(struct ops *o, struct claims *c, struct err *err)
{
	struct session *s = NULL;
	size_t n = 0;
	int r = session_list(o->st, NULL, &s, &n, err);

	for (size_t i = 0; i < n; i++)
		claim_session(c, &s[i]);
	session_list_free(s, n);
	return r;
}

static void claim_leg(void *arg, const char *leg)
{
	struct claims *c = arg;

	names_add(&c->links, leg);
}

static bool has_dns(const struct vpc *v, size_t n, const char *vpc)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(v[i].name, vpc))
			return v[i].dns;
	return false;
}

static int claim_rows(struct ops *o, struct claims *c, struct err *err)
{
	_free_ struct vpc *vpcs = NULL;
	_free_ struct subnet *subnets = NULL;
	_free_ struct port *ports = NULL;
	_free_ struct segment *segments = NULL;
	size_t n_vpcs = 0, n_subnets = 0, n_ports = 0, n_segments = 0;
	int r = vpc_list(o->st, &vpcs, &n_vpcs, err);

	if (!r)
		r = subnet_list(o->st, NULL, &subnets, &n_subnets, err);
	if (!r)
		r = port_list(o->st, NULL, &ports, &n_ports, err);
	if (!r)
		r = segment_list(o->st, NULL, &segments, &n_segments, err);
	if (!r)
		r = claim_sessions(o, c, err);
	if (!r)
		r = egress_each_leg(o, claim_leg, c, err);
	if (r)
		return r;
	for (size_t i = 0; i < n_vpcs; i++)
		names_add(&c->links, vpcs[i].bridge);
	for (size_t i = 0; i < n_subnets; i++) {
		names_add(&c->links, subnets[i].veth_host);
		names_add(&c->netns, subnets[i].netns);
		if (has_dns(vpcs, n_vpcs, subnets[i].vpc))
			names_add(&c->etc, subnets[i].netns);
	}
	for (size_t i = 0; i < n_ports; i++) {
		names_add(&c->links, ports[i].ifname);
		names_add(&c->links, ports[i].ifb);
		names_add(&c->netns, ports[i].clone.netns);
	}
	for (size_t i = 0; i < n_segments; i++) {
		names_add(&c->links, segments[i].bridge);
		names_add(&c->links, segments[i].trunk_up);
		names_add(&c->links, segments[i].trunk_down);
	}
	names_sort(&c->links);
	names_sort(&c->netns);
	names_sort(&c->proxied);
	names_sort(&c->etc);
	return 0;
}

struct orphans {
	const struct names *claimed;
	struct names found;
};

static int note_orphan(const struct link *link, void *arg)
{
	struct orphans *f = arg;

	/* A tunnel's device is its process's. */
	if (link_is_ours(link) && strncmp(link->alias, TUNNEL_ALIAS, strlen(TUNNEL_ALIAS)) &&
	    !names_have(f->claimed, link->name))
		names_add(&f->found, link->name);
	return 0;
}

static int remove_links(struct ops *o, const struct claims *c, size_t *count, struct err *err)
{
	struct orphans f = {.claimed = &c->links};
	_name_list_ struct name_list doomed = {0};
	int r = link_each(o->host, note_orphan, &f, err);

	for (size_t i = 0; !r && i < f.found.n; i++)
		name_list_add(&doomed, f.found.v[i]);
	if (!r)
		r = links_down(o->host, &doomed, err);
	if (!r)
		*count += f.found.n;
	names_done(&f.found);
	return r;
}

/* Ours: its loopback carries our alias. A name without a namespace behind it is the rest of a
 * crash while it was made, ours or ip(8)'s, and nothing that anybody could use. */
static bool netns_is_ours(struct ops *o, const char *name)
{
	_netns_ struct netns *ns = NULL;
	struct link lo;

	if (netns_open(name, &o->log, &ns, NULL))
		return false;
	return !link_get(ns, "lo", &lo, NULL) &&
	       !strncmp(lo.alias, ALIAS_PREFIX, strlen(ALIAS_PREFIX));
}

static int remove_namespaces(struct ops *o, const struct claims *c, size_t *count, struct err *err)
{
	struct names found = {0};
	struct dirent *e;
	DIR *d = opendir(NETNS_DIR);
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0 : err_errno(err, -errno, "cannot read " NETNS_DIR);
	while ((e = readdir(d))) {
		if (e->d_name[0] != '.' && !names_have(&c->netns, e->d_name) &&
		    netns_is_ours(o, e->d_name))
			names_add(&found, e->d_name);
	}
	closedir(d);
	if (found.n)
		r = reap_netns((const char *const *)found.v, found.n, REAP_GRACE_MS, &o->log, err);
	for (size_t i = 0; !r && i < found.n; i++)
		r = netns_delete(found.v[i], &o->log, err);
	if (!r)
		*count += found.n;
	names_done(&found);
	return r;
}

static int note_etc(const char *netns, void *arg)
{
	struct orphans *f = arg;

	if (!names_have(f->claimed, netns))
		names_add(&f->found, netns);
	return 0;
}

/* Files of /etc that are ours, of sessions that are not there and of VPCs without DNS. */
static int remove_etc(struct ops *o, const struct claims *c, size_t *count, struct err *err)
{
	struct orphans f = {.claimed = &c->etc};
	int r = etc_each(note_etc, &f, err);

	for (size_t i = 0; !r && i < f.found.n; i++) {
		oplog_add(&o->log, NULL, "rm -r /etc/netns/%s", f.found.v[i]);
		r = oplog_dry(&o->log) ? 0 : etc_remove(f.found.v[i], err);
		*count += !r;
	}
	names_done(&f.found);
	return r;
}

struct strays {
	struct nlbatch *batch;
	const struct names *claimed;
	size_t n;
};

static int del_stray_proxy(int ifindex, const struct ip *ip, void *arg)
{
	struct strays *s = arg;
	char addr[IP_STRLEN], ifname[IFNAMSIZ] = "";

	if (names_have(s->claimed, ip_format(ip, addr)))
		return 0;
	if_indextoname((unsigned int)ifindex, ifname);
	neigh_del_proxy(s->batch, ifindex, ifname, ip);
	s->n++;
	return 0;
}

static int remove_proxies(struct ops *o, const struct claims *c, size_t *count, struct err *err)
{
	_nlbatch_ struct nlbatch b;
	struct strays s = {.batch = &b, .claimed = &c->proxied};
	int r;

	nlbatch_init(&b, o->host);
	r = neigh_each_proxy(o->host, del_stray_proxy, &s, err);
	if (!r)
		r = nlbatch_commit(&b, err);
	*count += r ? 0 : s.n;
	return r;
}

static int sweep_vpcs(struct ops *o, const struct seen *seen, size_t *count, struct err *err)
{
	_free_ struct vpc *v = NULL;
	size_t n = 0, n_gone = 0;
	int r = vpc_list(o->st, &v, &n, err);

	for (size_t i = 0; !r && i < n; i++)
		if (v[i].state != ROW_ACTIVE || vpc_gone(seen, &v[i]))
			v[n_gone++] = v[i];
	*count += n_gone;
	return r ? r : ops_teardown_vpcs(o, v, n_gone, err);
}

/* Those of one VPC together, as they are listed. */
static int sweep_subnets(struct ops *o, const struct seen *seen, size_t *count, struct err *err)
{
	_free_ struct subnet *s = NULL;
	size_t n = 0, n_gone = 0;
	int r = subnet_list(o->st, NULL, &s, &n, err);

	for (size_t i = 0; !r && i < n; i++)
		if (s[i].state != ROW_ACTIVE || subnet_gone(seen, &s[i]))
			s[n_gone++] = s[i];
	*count += n_gone;
	for (size_t i = 0, end; !r && i < n_gone; i = end) {
		struct vpc v;

		for (end = i + 1; end < n_gone && !strcmp(s[end].vpc, s[i].vpc); end++)
			;
		r = vpc_load(o->st, s[i].vpc, &v, err);
		if (!r)
			r = ops_teardown_subnets(o, &v, &s[i], end - i, err);
	}
	return r;
}

static int sweep_ports(struct ops *o, const struct seen *seen, size_t *count, struct err *err)
{
	_free_ struct port *p = NULL;
	size_t n = 0, n_gone = 0;
	int r = port_list(o->st, NULL, &p, &n, err);

	for (size_t i = 0; !r && i < n; i++)
		if (p[i].state != ROW_ACTIVE || ops_port_gone(o, seen, &p[i]))
			p[n_gone++] = p[i];
	*count += n_gone;
	return r ? r : ops_ports_delete(o, p, n_gone, err);
}

/* Sessions are their process's as long as it lives, however they look. */
static int sweep_sessions(struct ops *o, size_t *count, struct err *err)
{
	_free_ struct session *dead = NULL;
	struct session *all = NULL;
	char path[SESSION_PATH_MAX];
	size_t n = 0, n_dead = 0;
	int r = session_list(o->st, NULL, &all, &n, err);

	dead = xcalloc(n + 1, sizeof(*dead));
	for (size_t i = 0; i < n; i++) {
		if (!pidlock_holder(session_path(all[i].group, ".lock", path)))
			dead[n_dead++] = all[i];
	}
	if (!r)
		r = ops_session_remove(o, dead, n_dead, err);
	*count += n_dead;
	session_list_free(all, n);
	return r;
}

/* Of a process that is gone: by holding its lock we keep another from starting meanwhile. */
static int sweep_group(const char *group, struct err *err)
{
	char path[SESSION_PATH_MAX];
	_close_ int fd = -1;
	int r = pidlock_take(session_path(group, ".lock", path), &fd, err);

	if (r)
		return r == -EBUSY ? 0 : r;
	return session_remove_files(group, err);
}

static int sweep_groups(struct ops *o, struct err *err)
{
	char **groups = NULL;
	size_t n = 0;
	int r = o->log.dry_run ? 0 : ops_tunnel_list(SESSION_DIR, &groups, &n, err);

	for (size_t i = 0; i < n; i++) {
		if (!r)
			r = sweep_group(groups[i], err);
		free(groups[i]);
	}
	free(groups);
	return r;
}

/* What `prove --states` took, if it was killed with its guard. */
static int mend_sessions(struct ops *o, size_t *count, struct err *err)
{
	struct session *s = NULL;
	size_t n = 0;
	int r = session_list(o->st, NULL, &s, &n, err);

	for (size_t i = 0; !r && i < n; i++) {
		bool changed = false;

		r = session_net_mend(&s[i], &o->log, &changed, err);
		*count += changed;
	}
	session_list_free(s, n);
	return r;
}

static int continue_tunnels(struct ops *o, size_t *count, struct err *err)
{
	char **names = NULL, path[TUNNEL_PATH_LEN];
	size_t n = 0;
	int r = ops_tunnel_list(TUNNEL_DIR, &names, &n, err);

	for (size_t i = 0; i < n; i++) {
		bool stopped;

		tunnel_path(TUNNEL_DIR, names[i], ".lock", path);
		stopped = pidlock_is_stopped(path);
		if (stopped && !o->log.dry_run)
			pidlock_signal(path, SIGCONT);
		*count += stopped;
		free(names[i]);
	}
	free(names);
	return r;
}

/* NAT and peerings are rules only: the row goes, the rules follow. Segments, too, are found
 * by their marks once no row claims them. */
static int sweep_rows(struct ops *o, size_t *count, struct err *err)
{
	static const char *const sql[] = {
		"DELETE FROM nat WHERE state <> 'active'",
		"DELETE FROM peer WHERE state <> 'active'",
		"DELETE FROM segment WHERE state <> 'active'",
		"DELETE FROM mapping WHERE state <> 'active'",
	};
	int r = ops_begin(o, err);

	for (size_t i = 0; !r && i < ARRAY_SIZE(sql); i++) {
		r = store_exec(o->st, err, sql[i], "");
		if (!r)
			*count += (size_t)store_changes(o->st);
	}
	return ops_end(o, r, err);
}

static int repair_tables(struct ops *o, const struct ruleset *rs, size_t *count, struct err *err)
{
	struct err why;
	int r = firewall_verify(o->fw, o->host, rs, &why);

	if (r != -ESTALE) {
		if (r && err)
			*err = why;
		return r;
	}
	(*count)++;
	log_info("the host's rules differ from the state (%s): replaced", why.msg);
	return firewall_apply(o->fw, o->host, rs, err);
}

static int repair_host(struct ops *o, size_t *count, struct err *err)
{
	_host_rules_ struct host_rules h = {0};
	bool empty;
	int r = ops_firewall(o, err);

	if (!r)
		r = host_rules_build(o->st, &h, &empty, err);
	if (r)
		return r;
	return empty ? ops_host_remove(o, err) : repair_tables(o, &h.rs, count, err);
}

static int repair_table(struct ops *o, ops_table_fn *table,
			int (*remove)(struct ops *o, struct err *err), size_t *count,
			struct err *err)
{
	_ruleset_ struct ruleset rs;
	bool empty;
	int r;

	ruleset_init(&rs);
	r = table(o, &rs, &empty, err);
	if (r)
		return r;
	return empty ? remove(o, err) : repair_tables(o, &rs, count, err);
}

static int repair_ports(struct ops *o, size_t *count, struct err *err)
{
	int r = ops_port_rules_repair(o, count, err);

	return r ? r : ops_port_take(o, err);
}

static int repair_policies(struct ops *o, size_t *count, struct err *err)
{
	_free_ struct subnet *s = NULL;
	size_t n = 0;
	int r = subnet_list(o->st, NULL, &s, &n, err);

	for (size_t i = 0; !r && i < n; i++) {
		bool changed = false;

		r = ops_policy_repair(o, &s[i], &changed, err);
		*count += changed;
	}
	return r;
}

static int republish(struct ops *o, struct err *err)
{
	_free_ struct vpc *v = NULL;
	size_t n = 0;
	int r = ops_unpublish_all(o, err);

	if (!r)
		r = vpc_list(o->st, &v, &n, err);
	for (size_t i = 0; !r && i < n; i++)
		r = ops_publish(o, v[i].name, err);
	return r;
}

/* The host routes for VPCs and sessions: somebody may have switched that off. */
static int repair_forwarding(struct ops *o, size_t *count, struct err *err)
{
	int64_t users = 0;
	bool changed = false;
	int r = ops_forwarding_users(o, &users, err);

	if (!r && !users) {
		r = ops_forwarding_restore(o, count, err);
		return r ? r : ops_forwarding_rescue(o, count, err); /* what a lost database knew */
	}
	if (!r)
		r = ops_forwarding_keep(o, &changed, err);
	*count += changed;
	return r;
}

static int remove_orphans(struct ops *o, const struct claims *c, struct gc_report *ret,
			  struct err *err)
{
	int r = remove_namespaces(o, c, &ret->namespaces, err);

	if (!r)
		r = remove_links(o, c, &ret->links, err);
	if (!r)
		r = remove_proxies(o, c, &ret->links, err);
	return r ? r : remove_etc(o, c, &ret->namespaces, err);
}

int ops_gc(struct ops *o, struct gc_report *ret, struct err *err)
{
	_cleanup_(claims_done) struct claims c = {0};
	_seen_ struct seen *seen = NULL;
	int r = seen_read(o->host, &seen, err);

	*ret = (struct gc_report){0};
	if (!r)
		r = sweep_vpcs(o, seen, &ret->rows, err);
	if (!r)
		r = sweep_subnets(o, seen, &ret->rows, err);
	if (!r)
		r = sweep_ports(o, seen, &ret->rows, err);
	if (!r)
		r = sweep_rows(o, &ret->rows, err);
	if (!r)
		r = egress_sweep(o, &ret->rows, err);
	if (!r)
		r = sweep_sessions(o, &ret->rows, err);
	if (!r)
		r = sweep_groups(o, err);
	if (!r)
		r = mend_sessions(o, &ret->services, err);
	if (!r)
		r = continue_tunnels(o, &ret->services, err);
	if (!r)
		r = claim_rows(o, &c, err);
	if (!r)
		r = remove_orphans(o, &c, ret, err);
	if (!r)
		r = repair_host(o, &ret->rulesets, err);
	if (!r)
		r = ops_repair_all(o, &ret->ports, err);
	if (!r)
		r = repair_table(o, ops_session_rules, ops_session_rules_remove, &ret->rulesets,
				 err);
	if (!r)
		r = repair_table(o, ops_host_way_rules, ops_host_way_remove, &ret->rulesets, err);
	if (!r)
		r = repair_table(o, ops_legs_rules, ops_legs_remove, &ret->rulesets, err);
	if (!r)
		r = ops_ways_sync(o, false, err);
	if (!r)
		r = repair_policies(o, &ret->rulesets, err);
	if (!r)
		r = repair_ports(o, &ret->rulesets, err);
	if (!r)
		r = repair_forwarding(o, &ret->sysctls, err);
	if (!r)
		r = ops_dns_sweep(o, &ret->services, err);
	return r ? r : republish(o, err);
}

/* Half-made rows are what a crash left only if nobody is at work. */
static int look_rows(struct ops *o, size_t *count, struct err *err)
{
	static const char *const sql[] = {
		"SELECT COUNT(*) FROM vpc WHERE state <> 'active'",
		"SELECT COUNT(*) FROM subnet WHERE state <> 'active'",
		"SELECT COUNT(*) FROM port WHERE state <> 'active'",
		"SELECT COUNT(*) FROM nat WHERE state <> 'active'",
		"SELECT COUNT(*) FROM peer WHERE state <> 'active'",
		"SELECT COUNT(*) FROM segment WHERE state <> 'active'",
	};
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(sql); i++) {
		int64_t n = 0;

		r = row_number(o->st, sql[i], NULL, &n, err);
		*count += (size_t)n;
	}
	return r;
}

/* Rows whose bridge, namespace or port is gone. */
static int look_gone(struct ops *o, size_t *count, struct err *err)
{
	_free_ struct vpc *v = NULL;
	_free_ struct subnet *s = NULL;
	_free_ struct port *p = NULL;
	_seen_ struct seen *seen = NULL;
	size_t n_vpcs = 0, n_subnets = 0, n_ports = 0;
	int r = seen_read(o->host, &seen, err);

	if (!r)
		r = vpc_list(o->st, &v, &n_vpcs, err);
	for (size_t i = 0; !r && i < n_vpcs; i++)
		*count += v[i].state == ROW_ACTIVE && vpc_gone(seen, &v[i]);
	if (!r)
		r = subnet_list(o->st, NULL, &s, &n_subnets, err);
	for (size_t i = 0; !r && i < n_subnets; i++)
		*count += s[i].state == ROW_ACTIVE && subnet_gone(seen, &s[i]);
	if (!r)
		r = port_list(o->st, NULL, &p, &n_ports, err);
	for (size_t i = 0; !r && i < n_ports; i++)
		*count += p[i].state == ROW_ACTIVE && ops_port_gone(o, seen, &p[i]);
	return r;
}

int ops_gc_look(struct ops *o, size_t *ret, struct err *err)
{
	_cleanup_(claims_done) struct claims c = {0};
	struct orphans f = {.claimed = &c.links};
	size_t n = 0;
	int r;

	if (pidlock_holder(STORE_DIR "/lock"))
		return 0;
	r = look_rows(o, &n, err);
	if (!r)
		r = look_gone(o, &n, err);
	if (!r)
		r = claim_rows(o, &c, err);
	if (!r)
		r = link_each(o->host, note_orphan, &f, err);
	*ret = n + f.found.n;
	names_done(&f.found);
	return r;
}

static void count_known(struct ops *o, struct gc_report *ret)
{
	int64_t objects = 0, settings = 0;

	row_number(o->st,
		   "SELECT (SELECT COUNT(*) FROM vpc) + (SELECT COUNT(*) FROM subnet)"
		   " + (SELECT COUNT(*) FROM port)"
		   " + (SELECT COUNT(*) FROM session)",
		   NULL, &objects, NULL);
	row_number(o->st, "SELECT COUNT(*) FROM sysctl", NULL, &settings, NULL);
	ret->rows = (size_t)objects;
	ret->sysctls = (size_t)settings;
}

static int reset_vpcs(struct ops *o, struct err *err)
{
	_free_ struct vpc *v = NULL;
	size_t n = 0;
	int r = vpc_list(o->st, &v, &n, err);

	if (!r && ops_teardown_vpcs(o, v, n, err))
		log_warn("%s", err->msg);
	return r;
}

static int reset_sessions(struct ops *o, struct err *err)
{
	struct session *s = NULL;
	size_t n = 0;
	int r = session_list(o->st, NULL, &s, &n, err);

	if (!r && ops_session_remove(o, s, n, err))
		log_warn("%s", err->msg);
	session_list_free(s, n);
	return r;
}

/* What the state knows, the ordinary way, so that settings are put back, too. */
static void reset_known(struct ops *o, struct gc_report *ret, struct claims *known)
{
	struct err e = {0};
	int r = store_open(STORE_DIR, STORE_WRITE, &o->st, &e);

	if (!r)
		count_known(o, ret);
	if (!r && o->log.dry_run) /* they are still there when strays are looked for */
		r = claim_rows(o, known, &e);
	if (!r)
		r = reset_sessions(o, &e);
	if (!r)
		r = reset_vpcs(o, &e);
	if (r) {
		log_warn("%s: going by the marks on what byway made", e.msg);
		if (ops_forwarding_rescue(o, &ret->sysctls, &e))
			log_warn("%s", e.msg);
		return;
	}
	if (ops_forwarding_restore(o, &ret->sysctls, &e))
		log_warn("%s", e.msg);
	/* What a lost database knew. */
	if (!ret->sysctls && ops_forwarding_rescue(o, &ret->sysctls, &e))
		log_warn("%s", e.msg);
	ops_unpublish_all(o, NULL);
}

/* The processes of groups, which take their sessions away when they can. */
static void end_groups(void)
{
	char **groups = NULL, path[SESSION_PATH_MAX];
	size_t n = 0;
	struct err e;

	if (ops_tunnel_list(SESSION_DIR, &groups, &n, &e))
		log_warn("%s", e.msg);
	for (size_t i = 0; i < n; i++) {
		if (pidlock_end(session_path(groups[i], ".lock", path), GROUP_END_MS, &e))
			log_warn("%s", e.msg);
		free(groups[i]);
	}
	free(groups);
}

/* Those that run, those that a crash left, and whatever else blocks the host. */
static void reset_tunnels(struct ops *o)
{
	char **names = NULL;
	bool existed;
	size_t n = 0;
	struct err e;

	if (ops_tunnel_list(TUNNEL_DIR, &names, &n, &e))
		log_warn("%s", e.msg);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(names[i], TUNNEL_HOST_NAME) &&
		    ops_tunnel_down(TUNNEL_DIR, names[i], NULL, o->backend, &o->log, &existed, &e))
			log_warn("%s", e.msg);
		free(names[i]);
	}
	free(names);
	if (ops_tunnel_down(TUNNEL_DIR, NULL, NULL, o->backend, &o->log, &existed, &e))
		log_warn("%s", e.msg);
}

int ops_reset(struct ops *o, struct gc_report *ret, struct err *err)
{
	_cleanup_(claims_done) struct claims known = {0};
	struct undone undone = {0};
	int r = netns_open(NULL, &o->log, &o->host, err);

	*ret = (struct gc_report){0};
	if (r)
		return r;
	if (!o->log.dry_run) {
		end_groups();
		ops_dns_end_all();
		reset_tunnels(o);
	}
	reset_known(o, ret, &known);
	if (ops_doctor_undo(o, &undone, err))
		log_warn("%s", err->msg);
	if (ops_unblock(o, err))
		log_warn("%s", err->msg);
	r = remove_orphans(o, &known, ret, err);
	if (!r && !(o->log.dry_run && o->fw)) /* said already */
		r = ops_host_remove(o, err);
	if (!r && !(o->log.dry_run && o->fw))
		r = ops_port_rules_remove(o, err);
	if (!r && !(o->log.dry_run && o->fw))
		r = ops_session_rules_remove(o, err);
	if (!r && !(o->log.dry_run && o->fw))
		r = ops_ways_remove(o, err);
	if (r || o->log.dry_run)
		return r;
	store_free(TAKE_PTR(o->st));
	return store_destroy(STORE_DIR, err);
}
