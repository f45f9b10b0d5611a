// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host as a workload: all that it sends goes out by a list of egresses, or is blocked.
 *
 * It is one row, a table of the firewall (tunnel/capture.c) and rules of policy routing (ways.c).
 * The table is replaced in one transaction and lets nothing out but into the legs of the list, so
 * that whatever else is missing blocks. A tunnel of the host's captures with the same mark: there
 * is one of the two. Each says that it is there, by its row or its lock, before it looks for the
 * other.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "firewall/firewall.h"
#include "kernel/addr.h"
#include "kernel/conntrack.h"
#include "kernel/netns.h"
#include "ops/dns.h"
#include "ops/egress.h"
#include "ops/egress_impl.h"
#include "ops/ops.h"
#include "ops/tunnel.h"
#include "ops/ways.h"
#include "tunnel/capture.h"

static_assert(CAPTURE_LEGS_MAX >= WAY_EGRESSES_MAX, "a list's legs have room");
static_assert(CAPTURE_LIST_MAX >= USE_EXCLUDES_MAX, "what is excluded has room");

/* ---- Its table ---- */

struct legs {
	struct ops *o;
	struct capture *c;
	struct err *err;
};

static int add_leg(const char *name, void *arg)
{
	_cleanup_(egress_done) struct egress e = {0};
	struct legs *l = arg;
	int r = egress_load(l->o->st, name, &e, l->err);

	if (!r)
		memcpy(l->c->legs[l->c->n_legs++], e.leg, sizeof(e.leg));
	return r;
}

static int make_rules(struct ops *o, const struct use *u, struct ruleset *ret, struct err *err)
{
	struct capture c = {
		.by_legs = true, .dns = CAPTURE_DNS_TUNNEL, .datagrams = true, .kill_switch = true};
	struct legs l = {.o = o, .c = &c, .err = err};
	gid_t gid;
	int r = way_each(u->list, add_leg, &l);

	if (!r && !dns_user(&c.asker_uid, &gid, NULL))
		r = cidr_parse(WAY_RESOLVERS, &c.asked_for_others, err);
	c.n_exclude = use_excluded(u, c.exclude);
	if (!r)
		capture_rules(&c, ret);
	return r;
}

int ops_host_way_rules(struct ops *o, struct ruleset *ret, bool *empty, struct err *err)
{
	struct use u;
	int r = use_load(o->st, USE_HOST, "", "", &u, NULL);

	*empty = r == -ENOENT;
	if (!r)
		return make_rules(o, &u, ret, err);
	if (!*empty)
		return err_errno(err, r, "cannot look up the host's way out");
	ruleset_table(ret, FW_INET, CAPTURE_HOST_TABLE);
	return 0;
}

int ops_host_way_remove(struct ops *o, struct err *err)
{
	_ruleset_ struct ruleset rs;

	ruleset_init(&rs);
	ruleset_table(&rs, FW_INET, CAPTURE_HOST_TABLE);
	return ops_rules_remove(o, &rs, err);
}

/* ---- One of the two ---- */

int ops_host_way_refuse(struct err *err)
{
	_store_ struct store *st = NULL;
	struct use u;
	int r = store_open(STORE_DIR, STORE_READ, &st, err);

	if (r)
		return r == -EACCES ? 0 : r;
	r = use_load(st, USE_HOST, "", "", &u, err);
	if (r)
		return r == -ENOENT ? 0 : r;
	return err_set(err, ERR_CONFLICT, -EBUSY,
		       "the host goes out by egresses (%s): `byway egress use host nat` first",
		       *u.list ? u.list : EGRESS_NONE);
}

static int check_tunnel(struct err *err)
{
	json_t *status;
	const char *state, *kind;
	int r = ops_tunnel_status(TUNNEL_DIR, NULL, &status, err);

	if (r)
		return r;
	state = json_string_value(json_object_get(status, "state"));
	kind = json_string_value(json_object_get(status, "kind"));
	if (!state || strcmp(state, tunnel_state_name(TUNNEL_DOWN)) != 0)
		r = err_set(err, ERR_CONFLICT, -EBUSY,
			    "the host has a tunnel, which all that it sends goes into: `byway %s "
			    "down` first",
			    kind ? kind : "ssh");
	json_decref(status);
	return r;
}

/* ---- Status ---- */

#define STATE_BLOCKED "blocked"

int ops_egress_host_status(struct ops *o, json_t *list, struct err *err)
{
	char by[NAME_MAX_LEN];
	bool up;
	struct cidr exclude[USE_EXCLUDES_MAX];
	json_t *excluded = json_array();
	char text[CIDR_STRLEN];
	struct use u;
	int r = use_load(o->st, USE_HOST, "", "", &u, NULL);
	size_t n = r ? 0 : use_excluded(&u, exclude);

	for (size_t i = 0; i < n; i++)
		json_array_append_new(excluded, json_string(cidr_format(&exclude[i], text)));
	up = !r && ops_ways_first(o, u.list, by);
	if (!r)
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:O, s:s, s:s?}", "name", USE_HOST_NAME, "egress",
				  *u.list ? u.list : EGRESS_NONE, "exclude", excluded, "state",
				  up ? tunnel_state_name(TUNNEL_UP) : STATE_BLOCKED, "by",
				  up ? by : NULL));
	json_decref(excluded);
	return !r || r == -ENOENT ? 0 : err_errno(err, r, "cannot look up the host's way out");
}

/* ---- Use ---- */

/* u: NULL for the usual way. */
static int write_row(struct ops *o, const struct use *u, struct err *err)
{
	int r = ops_begin(o, err);

	if (!r)
		r = u ? use_save(o->st, u, err) : use_remove(o->st, USE_HOST, "", "", err);
	if (!r && u)
		r = ops_record_firewall(o, err);
	return ops_end(o, r, err);
}

/* What there was before. A connection of the host's that is tracked already would go into a leg as
 * it is, with a source that nobody there knows; what comes of it after its end is taken for a new
 * one. */
struct earlier {
	struct ip *local;
	size_t n_local;
	struct cidr *kept; /* networks that are not captured */
	size_t n_kept;
};

static void earlier_done(struct earlier *e)
{
	free(e->local);
	free(e->kept);
}

static int add_local(const struct addr *a, void *arg)
{
	struct earlier *e = arg;

	e->local = xrealloc(e->local, e->n_local + 1, sizeof(*e->local));
	e->local[e->n_local++] = a->addr.addr;
	return 0;
}

static bool is_local(const struct earlier *e, const struct ip *ip)
{
	for (size_t i = 0; i < e->n_local; i++)
		if (ip_equal(&e->local[i], ip))
			return true;
	return false;
}

static bool is_earlier(struct conntrack_flow *f, void *arg)
{
	const struct earlier *e = arg;

	for (size_t i = 0; i < e->n_kept; i++)
		if (cidr_has(&e->kept[i], &f->dst))
			return false;
	return is_local(e, &f->src) && !is_local(e, &f->dst);
}

static int find_kept(struct ops *o, const struct use *u, struct earlier *e, struct err *err)
{
	_free_ struct vpc *vpcs = NULL;
	size_t n = 0;
	int r = vpc_list(o->st, &vpcs, &n, err);

	e->kept = xcalloc(USE_EXCLUDES_MAX + 2 * n, sizeof(*e->kept));
	e->n_kept = use_excluded(u, e->kept);
	for (size_t i = 0; i < n; i++) {
		e->kept[e->n_kept++] = vpcs[i].cidr;
		e->kept[e->n_kept++] = vpcs[i].cidr6;
	}
	return r;
}

static int end_earlier(struct ops *o, const struct use *u, struct err *err)
{
	_cleanup_(earlier_done) struct earlier e = {0};
	int r = find_kept(o, u, &e, err);

	if (!r)
		r = addr_each(o->host, add_local, &e, err);
	return r ? r : conntrack_end_each(o->host, is_earlier, &e, err);
}

/* A block from early in the boot ends where these rules block as much, and let carriers out. */
static int turn(struct ops *o, const struct use *u, struct err *err)
{
	int r = write_row(o, u, err);

	if (!r && u)
		r = check_tunnel(err);
	if (!r)
		r = ops_table_sync(o, ops_host_way_rules, err);
	if (!r)
		r = ops_ways_sync(o, false, err);
	return r || !u ? r : capture_unblock_all(o->host, o->fw, err);
}

/* As rows have it. */
static int read_excluded(const char *list, char ret[USE_EXCLUDE_LEN], struct err *err)
{
	_free_ char *copy = xstrdup(list);
	_buf_ struct buf excluded = {0};
	char *rest = NULL, text[CIDR_STRLEN];
	struct cidr c;
	size_t n = 0;
	int r = 0;

	for (char *t = strtok_r(copy, ", ", &rest); t && !r; t = strtok_r(NULL, ", ", &rest)) {
		if (n++ == USE_EXCLUDES_MAX)
			return err_set(err, ERR_USAGE, -E2BIG,
				       "at most %u networks can be excluded", USE_EXCLUDES_MAX);
		r = cidr_parse_network(t, &c, err);
		if (!r)
			buf_addf(&excluded, "%s%s", excluded.len ? "," : "", cidr_format(&c, text));
	}
	if (!r && excluded.len)
		str_copy(ret, USE_EXCLUDE_LEN, excluded.data);
	return r;
}

static int read_use(struct ops *o, const char *ways, const char *exclude, struct use *ret,
		    struct err *err)
{
	int r;

	*ret = (struct use){.kind = USE_HOST, .state = ROW_CREATING};
	r = exclude ? read_excluded(exclude, ret->exclude, err) : 0;
	if (!r && exclude && !strcmp(ways, EGRESS_NAT))
		r = err_set(err, ERR_USAGE, -EINVAL, "with nat there is nothing to exclude from");
	return r ? r : egress_read_list(o, ways, ret->list, err);
}

static bool is_as_wanted(const struct use *is, const struct use *wanted)
{
	return is->state == ROW_ACTIVE && !strcmp(is->list, wanted->list) &&
	       !strcmp(is->exclude, wanted->exclude);
}

/* To the usual way also when it is that already: a crash may have left what no row knows of. */
int ops_egress_use_host(struct ops *o, const char *ways, const char *exclude, bool *ret_changed,
			struct err *err)
{
	bool usual = !strcmp(ways, EGRESS_NAT), was;
	struct use old, new;
	int r = read_use(o, ways, exclude, &new, err);

	if (!r)
		r = ops_firewall(o, err);
	if (r)
		return r;
	was = !use_load(o->st, USE_HOST, "", "", &old, NULL);
	*ret_changed = usual ? was
			     : !was || !is_as_wanted(&old, &new) ||
				       ops_table_verify(o, ops_host_way_rules, NULL);
	if (!*ret_changed && !usual)
		return 0;
	r = turn(o, usual ? NULL : &new, err);
	if (!r && !usual && !was)
		r = end_earlier(o, &new, err);
	new.state = ROW_ACTIVE;
	if (!r && !usual)
		r = write_row(o, &new, err);
	if (r)
		turn(o, was ? &old : NULL, NULL);
	return r;
}
