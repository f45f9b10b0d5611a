// SPDX-License-Identifier: GPL-2.0-or-later
/* Egresses and who uses them: rows, and what follows from them on the host. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/etc.h"
#include "egress/leg.h"
#include "egress/spec.h"
#include "kernel/netns.h"
#include "ops/dns.h"
#include "ops/egress.h"
#include "ops/egress_impl.h"
#include "ops/ops.h"
#include "ops/session.h"
#include "ops/tunnel.h"
#include "ops/ways.h"
#include "proc/child.h"
#include "proc/pidlock.h"
#include "proc/run.h"
#include "vpc/host_rules.h"
#include "vpc/names.h"
#include "vpc/port.h"

#define STOP_MS 30000 /* for openconnect's goodbye, and taking everything away */

/* ---- Adding ---- */

static int check_name(const char *name, struct err *err)
{
	if (!strcmp(name, EGRESS_NAT) || !strcmp(name, EGRESS_NONE))
		return err_set(err, ERR_CONFLICT, -EEXIST,
			       "'%s' is a way out that is built in: give yours another name", name);
	if (!strcmp(name, USE_HOST_NAME))
		return err_set(err, ERR_CONFLICT, -EEXIST,
			       "'%s' is this machine: give the egress another name", name);
	if (strlen(name) > EGRESS_NAME_MAX)
		return err_set(err, ERR_USAGE, -EINVAL,
			       "the name of an egress has at most %d characters", EGRESS_NAME_MAX);
	return name_check("egress", name, err);
}

/* From what it goes out by to the end of the chain. */
static int check_via(struct ops *o, const char *name, const char *via, struct err *err)
{
	char next[NAME_MAX_LEN];

	str_copy(next, sizeof(next), via);
	for (size_t i = 0; *next && i <= EGRESS_MAX; i++) {
		struct egress e = {0};
		int r = !strcmp(next, name)
				? err_set(err, ERR_USAGE, -ELOOP,
					  "egress '%s' would go out by itself, via '%s'", name, via)
				: egress_load(o->st, next, &e, err);

		str_copy(next, sizeof(next), e.via);
		egress_done(&e);
		if (r)
			return r;
	}
	return 0;
}

static bool is_same(const struct egress *old, const struct egress_params *p)
{
	return old->state == ROW_ACTIVE && !strcmp(old->spec, p->spec->text) &&
	       !strcmp(old->path, p->path);
}

static int fill(struct ops *o, const struct egress_params *p, const struct egress *old,
		struct egress *e, struct err *err)
{
	int r = 0;

	str_copy(e->name, sizeof(e->name), p->name);
	str_copy(e->kind, sizeof(e->kind), egress_kind_name(p->spec->kind));
	str_copy(e->via, sizeof(e->via), p->spec->via);
	e->spec = xstrdup(p->spec->text);
	e->path = xstrdup(p->path);
	now_utc(e->created);
	e->state = ROW_ACTIVE;
	e->no = old->no;
	str_copy(e->leg, sizeof(e->leg), old->leg);
	if (!e->no)
		r = egress_free_no(o->st, &e->no, err);
	return r || *e->leg ? r : name_leg(o->st, o->host, e->name, e->leg, err);
}

static int write_row(struct ops *o, const struct egress_params *p, const struct egress *old,
		     struct err *err)
{
	struct egress e = {0};
	struct way way;
	int r = ops_begin(o, err);

	if (!r)
		r = fill(o, p, old, &e, err);
	if (!r)
		r = egress_insert(o->st, &e, err);
	if (!r && *e.via)
		r = way_take(o->st, e.via, &way, err);
	egress_done(&e);
	return ops_end(o, r, err);
}

static void undo_add(struct ops *o, const struct egress_params *p, const struct egress *old,
		     bool existed)
{
	int r = ops_begin(o, NULL);

	if (!r)
		r = existed ? egress_insert(o->st, old, NULL) : egress_remove(o->st, p->name, NULL);
	if (!ops_end(o, r, NULL))
		ops_ways_sync(o, true, NULL);
}

/* A list that only carriers go out by has its place in the VPCs' tables, too, where there are any.
 */
int ops_egress_add(struct ops *o, const struct egress_params *p, bool *ret_changed, struct err *err)
{
	struct egress old = {0};
	bool existed, lists;
	int r = check_name(p->name, err);

	if (!r)
		r = check_via(o, p->name, p->spec->via, err);
	if (r)
		return r;
	r = egress_load(o->st, p->name, &old, NULL);
	existed = !r;
	*ret_changed = !existed || !is_same(&old, p);
	lists = strcmp(old.via, p->spec->via) != 0;
	r = r == -ENOENT ? 0 : r;
	if (!r && existed && *ret_changed && !p->replace)
		r = err_set(err, ERR_CONFLICT, -EEXIST, "egress '%s' is another already: %s",
			    p->name, old.spec);
	if (!r && *ret_changed)
		r = write_row(o, p, &old, err);
	if (!r && *ret_changed && lists) {
		r = ops_ways_sync(o, true, err);
		if (r)
			undo_add(o, p, &old, existed);
	}
	egress_done(&old);
	return r;
}

/* ---- Who uses it ---- */

static int check_unused(struct ops *o, const char *name, struct err *err)
{
	_free_ struct use *uses = NULL;
	struct egress *e = NULL;
	char user[USE_STRLEN];
	size_t n_uses = 0, n = 0;
	int r = use_list(o->st, &uses, &n_uses, err);

	for (size_t i = 0; !r && i < n_uses; i++)
		if (way_has(uses[i].list, name))
			r = err_set(err, ERR_CONFLICT, -EBUSY,
				    "%s goes out by egress '%s': give it another way first, "
				    "`byway egress use`",
				    use_format(&uses[i], user), name);
	if (!r)
		r = egress_list(o->st, &e, &n, err);
	for (size_t i = 0; !r && i < n; i++)
		if (!strcmp(e[i].via, name))
			r = err_set(err, ERR_CONFLICT, -EBUSY, "egress '%s' goes out by '%s'",
				    e[i].name, name);
	egress_list_free(e, n);
	return r;
}

/* ---- What a workload is ---- */

struct workload {
	char vpc[NAME_MAX_LEN], name[NAME_MAX_LEN]; /* name "": all of a network */
	enum use_kind kind;
	struct vpc v;
	struct subnet s; /* zeros where it is none */
};

static int split(const char *text, struct workload *w, struct err *err)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);

	if (len >= sizeof(w->vpc) || str_copy(w->name, sizeof(w->name), slash ? slash + 1 : "") ||
	    (slash && !slash[1]))
		return err_set(err, ERR_USAGE, -EINVAL,
			       "'%s' is not a workload: VPC/SUBNET, NETWORK or NETWORK/NAME", text);
	memcpy(w->vpc, text, len);
	return 0;
}

/* w->kind: USE_PORT for that alone. */
static int find_workload(struct ops *o, const char *text, struct workload *w, struct err *err)
{
	bool port_only = w->kind == USE_PORT;
	struct port p;
	int r = split(text, w, err);

	if (!r)
		r = ops_vpc_active(o, w->vpc, &w->v, err);
	if (r)
		return r;
	w->kind = USE_NETWORK;
	if (!*w->name)
		return w->v.flat ? 0
				 : err_set(err, ERR_USAGE, -EINVAL,
					   "VPC '%s' is not flat: its subnets have ways out, "
					   "'%s/SUBNET'",
					   w->vpc, w->vpc);
	w->kind = USE_SUBNET;
	if (!port_only && !subnet_load(o->st, w->vpc, w->name, &w->s, NULL))
		return 0;
	w->kind = USE_PORT;
	w->s = (struct subnet){0};
	return port_load(o->st, w->vpc, w->name, &p, NULL)
		       ? err_set(err, ERR_NOT_FOUND, -ENOENT,
				 "'%s' has no subnet, virtual machine or container '%s'", w->vpc,
				 w->name)
		       : 0;
}

/* ---- Lists ---- */

struct reading {
	struct ops *o;
	struct buf list;
	size_t n;
	struct err *err;
};

static int read_name(const char *name, void *arg)
{
	struct reading *rd = arg;
	struct egress e = {0};
	int r = 0;

	if (!strcmp(name, EGRESS_NAT) || !strcmp(name, EGRESS_NONE))
		r = err_set(rd->err, ERR_USAGE, -EINVAL, "'%s' stands alone, in no list%s", name,
			    strcmp(name, EGRESS_NAT) ? "" : " (byway-egress(8) says why)");
	else if (rd->list.len && way_has(rd->list.data, name))
		r = err_set(rd->err, ERR_USAGE, -EINVAL, "egress '%s' is in the list twice", name);
	else if (rd->n++ == WAY_EGRESSES_MAX)
		r = err_set(rd->err, ERR_USAGE, -E2BIG, "at most %u egresses in a list",
			    WAY_EGRESSES_MAX);
	else
		r = egress_load(rd->o->st, name, &e, rd->err);
	egress_done(&e);
	if (!r)
		buf_addf(&rd->list, "%s%s", rd->list.len ? "," : "", name);
	return r;
}

int egress_read_list(struct ops *o, const char *ways, char ret[WAY_LIST_LEN], struct err *err)
{
	struct reading rd = {.o = o, .err = err};
	int r = 0;

	if (!*ways)
		return err_set(err, ERR_USAGE, -EINVAL, "which way out?");
	if (strcmp(ways, EGRESS_NAT) && strcmp(ways, EGRESS_NONE))
		r = way_each(ways, read_name, &rd);
	if (!r && rd.list.len)
		str_copy(ret, WAY_LIST_LEN, rd.list.data);
	buf_done(&rd.list);
	return r;
}

/* ---- Use ---- */

/* One change of what a workload goes out by. */
struct change {
	struct ops *o;
	struct workload w;
	struct use old, new; /* vpc "": by NAT, or not at all, as without */
	bool whole;          /* rules change, not elements alone */
};

static void add_nat(struct change *c, struct host_rules *h)
{
	struct nat nat;

	if (nat_load(c->o->st, c->w.vpc, &nat, NULL) || nat.state == ROW_DELETING)
		return;
	if (*c->w.s.name && c->w.s.is_public)
		host_rules_nat(h, &c->w.s.cidr, &c->w.s.cidr6, nat.interface);
	else if (!*c->w.name)
		host_rules_nat(h, &c->w.v.cidr, &c->w.v.cidr6, nat.interface);
}

/* What the state says now, as elements. */
static int elements(struct change *c, struct host_rules *h, struct err *err)
{
	host_rules_init(h);
	if (!use_is_there(c->o->st, c->w.kind, c->w.vpc, c->w.name))
		add_nat(c, h);
	return host_rules_use(c->o->st, h, c->w.kind, c->w.vpc, c->w.name, err);
}

static int write_use(struct change *c, const struct use *u, struct err *err)
{
	int64_t before = 0, after = 0;
	struct way way;
	int r = ops_begin(c->o, err);

	if (!r)
		r = use_count(c->o->st, &before, err);
	if (!r && *u->list) {
		c->whole |= way_load(c->o->st, u->list, &way, NULL) == -ENOENT;
		r = way_take(c->o->st, u->list, &way, err);
	}
	if (!r)
		r = *u->vpc ? use_save(c->o->st, u, err)
			    : use_remove(c->o->st, c->w.kind, c->w.vpc, c->w.name, err);
	if (!r)
		r = use_count(c->o->st, &after, err);
	/* Which ports its gateway answers at is in no elements of this workload. */
	c->whole |= !before || !after || c->w.v.dns;
	if (!r)
		r = ops_record_firewall(c->o, err);
	return ops_end(c->o, r, err);
}

/* The row, then rules and routes. */
static int turn(struct change *c, const struct use *u, struct err *err)
{
	_host_rules_ struct host_rules before = {0}, after = {0};
	int r = elements(c, &before, err);

	if (!r)
		r = write_use(c, u, err);
	if (!r)
		r = ops_dns_refresh(c->o, c->w.vpc, err);
	if (!r)
		r = elements(c, &after, err);
	else
		host_rules_init(&after);
	if (!r && !c->whole)
		r = ops_host_update(c->o, &after, &before, err);
	return r ? r : ops_ways_sync(c->o, c->whole, err);
}

static int finish(struct change *c, struct err *err)
{
	int r = ops_begin(c->o, err);

	c->new.state = ROW_ACTIVE;
	if (!r && *c->new.vpc)
		r = use_save(c->o->st, &c->new, err);
	r = ops_end(c->o, r, err);
	/* Of a public subnet: whether NAT is its. */
	return r || !c->w.s.is_public ? r : ops_publish(c->o, c->w.vpc, err);
}

static int load_change(struct change *c, const char *workload, const char *ways, struct err *err)
{
	int r = find_workload(c->o, workload, &c->w, err);

	if (!r)
		r = egress_read_list(c->o, ways, c->new.list, err);
	if (r)
		return r;
	use_load(c->o->st, c->w.kind, c->w.vpc, c->w.name, &c->old, NULL);
	if (!strcmp(ways, EGRESS_NAT))
		return 0;
	str_copy(c->new.vpc, sizeof(c->new.vpc), c->w.vpc);
	str_copy(c->new.name, sizeof(c->new.name), c->w.name);
	c->new.kind = c->w.kind;
	return 0;
}

static bool is_change(const struct change *c)
{
	return strcmp(c->old.vpc, c->new.vpc) != 0 || strcmp(c->old.list, c->new.list) != 0 ||
	       (*c->old.vpc && c->old.state != ROW_ACTIVE);
}

static int use(struct ops *o, enum use_kind kind, const char *workload, const char *ways,
	       bool *ret_changed, struct err *err)
{
	struct change c = {.o = o, .w.kind = kind};
	int r = load_change(&c, workload, ways, err);

	if (!r)
		r = ops_firewall(o, err);
	if (r)
		return r;
	*ret_changed = is_change(&c);
	if (!*ret_changed)
		return 0;
	/* What a crash left may be in the kernel as it was before, or not. */
	c.whole = *c.old.vpc && c.old.state != ROW_ACTIVE;
	c.new.state = ROW_CREATING;
	r = turn(&c, &c.new, err);
	if (!r)
		return finish(&c, err);
	c.whole = true;
	turn(&c, &c.old, NULL);
	return r;
}

int ops_egress_use(struct ops *o, const char *workload, const char *ways, bool *ret_changed,
		   struct err *err)
{
	return use(o, USE_NETWORK, workload, ways, ret_changed, err);
}

int ops_egress_use_port(struct ops *o, const char *workload, const char *ways, bool *ret_changed,
			struct err *err)
{
	return use(o, USE_PORT, workload, ways, ret_changed, err);
}

/* ---- Ending it ---- */

static const char *lock_path(const char *name, char path[SESSION_PATH_MAX])
{
	char group[NAME_MAX_LEN];

	return session_path(egress_group(name, group), ".lock", path);
}

bool ops_egress_runs(const char *name)
{
	char path[SESSION_PATH_MAX];

	return pidlock_holder(lock_path(name, path)) != 0;
}

static int load_session(struct ops *o, const char *name, struct session **ret, size_t *n,
			struct err *err)
{
	char group[NAME_MAX_LEN];

	return session_list(o->st, egress_group(name, group), ret, n, err);
}

/* What its process has left, or was killed in the middle of. */
int egress_clean_up(struct ops *o, const struct egress *e, struct err *err)
{
	struct failures f = {.err = err};
	struct session *s = NULL;
	char carrier[NETNS_NAME_MAX];
	bool existed;
	size_t n = 0;

	snprintf(carrier, sizeof(carrier), "%s.out", e->name);
	failures_add(&f, leg_route(o->host, e, false, failures_err(&f)));
	failures_add(&f, leg_down(o->host, e, failures_err(&f)));
	failures_add(&f, load_session(o, e->name, &s, &n, failures_err(&f)));
	if (n) {
		failures_add(&f, ops_tunnel_down(TUNNEL_DIR, e->name, NULL, o->backend, &o->log,
						 &existed, failures_err(&f)));
		failures_add(&f, ops_session_remove(o, s, n, failures_err(&f)));
		if (!oplog_dry(&o->log))
			failures_add(&f, etc_remove(carrier, failures_err(&f)));
	}
	session_list_free(s, n);
	failures_add(&f, ops_table_sync(o, ops_legs_rules, failures_err(&f)));
	return failures_tell(&f);
}

static int end_process(const char *name, struct err *err)
{
	char path[SESSION_PATH_MAX];

	return pidlock_end(lock_path(name, path), STOP_MS, err);
}

static int is_running(struct ops *o, const char *name, bool *ret, struct err *err)
{
	struct session *s = NULL;
	size_t n = 0;
	int r = load_session(o, name, &s, &n, err);

	session_list_free(s, n);
	*ret = n || ops_egress_runs(name);
	return r;
}

static int sweep_one(struct ops *o, const struct egress *e, size_t *count, struct err *err)
{
	bool there = false;
	int r = is_running(o, e->name, &there, err);

	if (r || !there || ops_egress_runs(e->name))
		return r;
	(*count)++;
	return egress_clean_up(o, e, err);
}

static int finish_uses(struct ops *o, size_t *count, struct err *err)
{
	int r = ops_begin(o, err);

	if (!r)
		r = store_exec(o->st, err,
			       "UPDATE egress_use SET state = 'active' WHERE state <> 'active'",
			       "");
	if (!r)
		*count += (size_t)store_changes(o->st);
	return ops_end(o, r, err);
}

int egress_sweep(struct ops *o, size_t *count, struct err *err)
{
	struct egress *e = NULL;
	size_t n = 0;
	int r = egress_list(o->st, &e, &n, err);

	for (size_t i = 0; !r && i < n; i++)
		r = sweep_one(o, &e[i], count, err);
	egress_list_free(e, n);
	return r ? r : finish_uses(o, count, err);
}

int egress_each_leg(struct ops *o, void (*fn)(void *arg, const char *leg), void *arg,
		    struct err *err)
{
	struct egress *e = NULL;
	size_t n = 0;
	int r = egress_list(o->st, &e, &n, err);

	for (size_t i = 0; !r && i < n; i++) {
		bool there = false;

		r = is_running(o, e[i].name, &there, err);
		if (there)
			fn(arg, e[i].leg);
	}
	egress_list_free(e, n);
	return r;
}

/* ---- Its process ---- */

int ops_egress_start(const char *self, const char *name, enum fw_backend_id backend,
		     struct err *err)
{
	const char *argv[] = {self,
			      "egress",
			      "run",
			      "--detach",
			      "-q",
			      "--firewall",
			      firewall_backend_name(backend),
			      name,
			      NULL};
	/* A key that ends us ends us alone: it would be on its way out when the next one looks. */
	struct child_spec spec = {.path = self,
				  .argv = argv,
				  .env = (const char *const *)environ,
				  .own_session = true};
	_buf_ struct buf said = {0};
	int status = 0, r;

	if (ops_egress_runs(name))
		return 0;
	r = fault_point("start byway egress run");
	if (r)
		return err_errno(err, r, "cannot start byway egress run");
	r = run_spec(&spec, NULL, NULL, &said, &status, err);
	if (r || !status || (status == ERR_CONFLICT && ops_egress_runs(name)))
		return r; /* another may have been faster */
	if (said.len)
		said.data[strcspn(said.data, "\n")] = '\0';
	return err_set(err, (enum err_kind)status, -ECHILD, "egress '%s' does not start: %s", name,
		       said.len ? said.data : "it says nothing");
}

int ops_egress_end(struct ops *o, const char *name, bool *ret_existed, struct err *err)
{
	struct egress e = {0};
	char group[NAME_MAX_LEN];
	int r = egress_load(o->st, name, &e, err);

	if (!r)
		r = is_running(o, name, ret_existed, err);
	if (!r && !o->log.dry_run) {
		ops_suspend(o); /* its process takes the state's lock to end */
		r = end_process(name, err);
		if (!r)
			r = ops_open(o, STORE_WRITE, err);
	}
	if (!r && *ret_existed)
		r = egress_clean_up(o, &e, err);
	if (!r && !o->log.dry_run)
		r = session_remove_files(egress_group(name, group), err);
	egress_done(&e);
	return r;
}

int ops_egress_stop(const char *name, enum fw_backend_id backend, bool *ret_existed,
		    struct err *err)
{
	_ops_ struct ops o = {.backend = backend};
	int r = ops_open(&o, STORE_WRITE, err);

	*ret_existed = false;
	return r ? r : ops_egress_end(&o, name, ret_existed, err);
}

int ops_egress_delete(struct ops *o, const char *name, bool *ret_existed, struct err *err)
{
	struct egress e = {0};
	bool ran;
	int r = egress_load(o->st, name, &e, NULL);

	egress_done(&e);
	*ret_existed = !r;
	if (r == -ENOENT) /* what a deletion that failed has left */
		return ops_ways_prune(o, err);
	r = check_unused(o, name, err);
	if (!r)
		r = ops_egress_end(o, name, &ran, err);
	if (!r)
		r = ops_begin(o, err);
	if (r)
		return r;
	r = egress_remove(o->st, name, err);
	r = ops_end(o, r, err);
	return r ? r : ops_ways_prune(o, err);
}

/* ---- Status ---- */

static json_t *users_of(const struct use *uses, size_t n, const char *name)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		char user[USE_STRLEN];

		if (way_has(uses[i].list, name))
			json_array_append_new(list, json_string(use_format(&uses[i], user)));
	}
	return list;
}

/* What its process says of itself: that of a session, or of a tunnel. NULL: there is none. */
static json_t *process_status(const struct egress *e)
{
	json_t *status = NULL, *first;
	char group[NAME_MAX_LEN];
	struct err err;

	if (strcmp(e->kind, egress_kind_name(EGRESS_OPENCONNECT)))
		return ops_tunnel_status(TUNNEL_DIR, e->name, &status, &err) ? NULL : status;
	if (ops_session_status(egress_group(e->name, group), &status, &err))
		return NULL;
	first = json_incref(json_array_get(status, 0));
	json_decref(status);
	return first;
}

/* From either, the first that is there. */
static const char *const copied[][3] = {
	{"state", "state", "state"},
	{"since", "since", "since"},
	{"last_failure", "last_reason", "last_error"},
	{"bytes_up", "bytes_up", "bytes_out"},
	{"bytes_down", "bytes_down", "bytes_in"},
};

static void copy(json_t *to, const char *key, json_t *value)
{
	if (json_is_object(value))
		value = json_object_get(value, "reason");
	if (value && !json_is_null(value))
		json_object_set(to, key, value);
}

static json_t *describe(const struct egress *e, const struct use *uses, size_t n_uses)
{
	bool is_session = !strcmp(e->kind, egress_kind_name(EGRESS_OPENCONNECT));
	char path[SESSION_PATH_MAX];
	pid_t pid = pidlock_holder(lock_path(e->name, path));
	json_t *process = process_status(e);
	json_t *json =
		json_pack("{s:s, s:s, s:s?, s:s, s:s, s:i, s:s, s:s, s:o}", "name", e->name, "kind",
			  e->kind, "via", *e->via ? e->via : NULL, "state", "down", "leg", e->leg,
			  "table", (int)(EGRESS_ROUTE_TABLE + e->no), "spec", e->spec, "created",
			  e->created, "users", users_of(uses, n_uses, e->name));

	for (size_t i = 0; process && i < ARRAY_SIZE(copied); i++)
		copy(json, copied[i][0], json_object_get(process, copied[i][1 + is_session]));
	if (pid)
		json_object_set_new(json, "pid", json_integer(pid));
	else if (is_session && process)
		json_object_set_new(json, "state", json_string(tunnel_state_name(TUNNEL_KILLED)));
	json_decref(process);
	return json;
}

int ops_egress_status(struct ops *o, const char *name, json_t **ret, struct err *err)
{
	_free_ struct use *uses = NULL;
	struct egress *e = NULL;
	size_t n = 0, n_uses = 0;
	json_t *list = json_array();
	int r = egress_list(o->st, &e, &n, err);

	if (!r)
		r = use_list(o->st, &uses, &n_uses, err);
	for (size_t i = 0; !r && i < n; i++)
		if (!name || !strcmp(e[i].name, name))
			json_array_append_new(list, describe(&e[i], uses, n_uses));
	egress_list_free(e, n);
	if (!r && name && !json_array_size(list))
		r = err_set(err, ERR_NOT_FOUND, -ENOENT, "there is no egress '%s'", name);
	if (r)
		json_decref(list);
	else
		*ret = list;
	return r;
}
