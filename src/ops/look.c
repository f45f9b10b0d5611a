// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * A look is taken in one go: the rows in one snapshot of the state, one dump of the host's links,
 * and the files that tunnels and sessions write of themselves. It is made of what their own
 * commands show; what all kinds have in common is added afterwards, by a table of which link an
 * object has.
 *
 *  1. Looking changes nothing, not even a file's time: whoever waits for changes (watcher.h) is
 *     not woken by its own looking.
 *  2. Nothing is kept between looks, not even an open database: it may be another one by then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "ipam/ipam.h"
#include "kernel/link.h"
#include "ops/egress.h"
#include "ops/look.h"
#include "ops/ops.h"
#include "ops/session.h"
#include "ops/tunnel.h"
#include "vpc/mapping.h"
#include "vpc/way.h"

void look_done(struct look *l)
{
	json_decref(l->doc);
	*l = (struct look){0};
}

/* ---- The host's links ---- */

struct counted {
	char name[IFNAMSIZ];
	bool up, carrier;
	struct link_counts counts;
};

struct links {
	struct counted *v;
	size_t n, cap;
};

static int add_link(const struct link *link, const struct link_counts *counts, void *arg)
{
	struct links *l = arg;

	if (l->n == l->cap) {
		l->cap = l->cap * 2 + 64;
		l->v = xrealloc(l->v, l->cap, sizeof(*l->v));
	}
	l->v[l->n] = (struct counted){.up = link->up, .carrier = link->carrier, .counts = *counts};
	memcpy(l->v[l->n++].name, link->name, sizeof(link->name));
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct counted *)a)->name, ((const struct counted *)b)->name);
}

static int read_links(struct netns *host, struct links *ret, struct err *err)
{
	int r = link_each_counted(host, add_link, ret, err);

	if (ret->n)
		qsort(ret->v, ret->n, sizeof(*ret->v), by_name);
	return r;
}

static const struct counted *find_link(const struct links *l, const char *name)
{
	struct counted key = {0};

	if (str_copy(key.name, sizeof(key.name), name) || !l->n)
		return NULL;
	return bsearch(&key, l->v, l->n, sizeof(*l->v), by_name);
}

/* ---- What all kinds have in common ---- */

/* Where an object's link is. */
struct wire {
	const char *kind;
	const char *member;  /* that has its name */
	bool is_hosts_end;   /* what the link sends, the object receives */
	bool needs_carrier;  /* or it is down */
	const char *without; /* the condition then */
};

static const struct wire wires[] = {
	{"interface", "name", false, true, CONDITION_DOWN},
	{"vpc", "bridge", true, false, NULL}, /* a bridge without ports has none */
	{"subnet", "veth_host", true, true, CONDITION_DOWN},
	{"container", "interface", true, true, CONDITION_DOWN},
	{"vm", "interface", true, true, CONDITION_IDLE},
};

static const struct wire *wire_of(const char *kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(wires); i++)
		if (!strcmp(wires[i].kind, kind))
			return &wires[i];
	return NULL;
}

static void set_number(json_t *o, const char *key, uint64_t value)
{
	json_object_set_new(o, key, json_integer((json_int_t)value));
}

static void set_counts(json_t *o, const struct link_counts *c, bool is_hosts_end)
{
	set_number(o, "rx_bytes", is_hosts_end ? c->tx_bytes : c->rx_bytes);
	set_number(o, "tx_bytes", is_hosts_end ? c->rx_bytes : c->tx_bytes);
	set_number(o, "rx_packets", is_hosts_end ? c->tx_packets : c->rx_packets);
	set_number(o, "tx_packets", is_hosts_end ? c->rx_packets : c->tx_packets);
	set_number(o, "rx_dropped", is_hosts_end ? c->tx_dropped : c->rx_dropped);
	set_number(o, "tx_dropped", is_hosts_end ? c->rx_dropped : c->tx_dropped);
}

static void set_condition(json_t *o, const char *condition, json_t *error)
{
	json_object_set_new(o, "condition", json_string(condition));
	json_object_set_new(o, "error", error);
}

static const char *condition_of(const struct wire *w, const struct counted *link)
{
	if (!link)
		return CONDITION_MISSING;
	if (!link->up)
		return CONDITION_DOWN;
	return w->needs_carrier && !link->carrier ? w->without : CONDITION_UP;
}

/* A row that is not active is being worked on, or what a crash left; nobody can tell from outside.
 */
static bool is_active(const json_t *o)
{
	const char *state = look_text(o, "state");

	return !*state || !strcmp(state, row_state_name(ROW_ACTIVE));
}

/* A way out is not byway's to put right. */
static json_t *why_missing(const struct wire *w, const char *name)
{
	return json_sprintf("interface %s is gone: %s", name,
			    w->is_hosts_end ? "`byway gc` puts right what can be"
					    : "nothing leaves by it before one of that name is back");
}

static void set_link(const struct links *links, const struct wire *w, json_t *o)
{
	const char *name = look_text(o, w->member);
	const struct counted *link = find_link(links, name);
	bool active = is_active(o);

	set_condition(o, active ? condition_of(w, link) : look_text(o, "state"),
		      active && !link ? why_missing(w, name) : json_null());
	if (link)
		set_counts(o, &link->counts, w->is_hosts_end);
}

/* NAT and peerings are elements of the firewall's sets: they are there as soon as their row is
 * active. */
static void set_state(json_t *o)
{
	set_condition(o, is_active(o) ? CONDITION_UP : look_text(o, "state"), json_null());
}

static json_t *error_of(const json_t *o, const char *key)
{
	const char *text = look_text(o, key);

	return *text ? json_string(text) : json_null();
}

static void copy_member_of(const json_t *o, const char *from, json_t *other, const char *to)
{
	json_t *v = json_object_get(o, from);

	if (v)
		json_object_set(other, to, v);
}

static void copy_member(json_t *o, const char *from, const char *to)
{
	copy_member_of(o, from, o, to);
}

static void set_tunnel(json_t *o)
{
	set_condition(o, look_text(o, "state"), error_of(o, "last_reason"));
	copy_member(o, "bytes_down", "rx_bytes");
	copy_member(o, "bytes_up", "tx_bytes");
}

static void set_egress(json_t *o)
{
	set_condition(o, look_text(o, "state"), error_of(o, "last_failure"));
	copy_member(o, "bytes_down", "rx_bytes");
	copy_member(o, "bytes_up", "tx_bytes");
}

static void set_session(json_t *o)
{
	set_condition(o, look_text(o, "state"),
		      error_of(json_object_get(o, "last_error"), "reason"));
	copy_member(o, "bytes_in", "rx_bytes");
	copy_member(o, "bytes_out", "tx_bytes");
}

/* Of a peering both VPCs have an object. */
static void set_peers(const json_t *vpc)
{
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(vpc, "peers"), i, one) set_state(one);
}

static void complete(void *arg, const struct look_object *o)
{
	const struct wire *w = wire_of(o->kind);

	if (!strcmp(o->kind, "vpc"))
		set_peers(o->json);
	if (w)
		set_link(arg, w, o->json);
	else if (!strcmp(o->kind, "egress"))
		set_egress(o->json);
	else if (!strcmp(o->kind, "host"))
		set_condition(o->json, look_text(o->json, "state"), json_null());
	else if (!strcmp(o->kind, "tunnel"))
		set_tunnel(o->json);
	else if (!strcmp(o->kind, "session"))
		set_session(o->json);
	else
		set_state(o->json);
}

/* ---- What there is ---- */

static void set_usage(struct ops *o, json_t *object, const char *vpc, const char *subnet)
{
	struct ipam_usage usage;

	if (ops_lease_usage(o, vpc, subnet, AF_INET, &usage, NULL))
		return; /* nobody has leased from it yet */
	set_number(object, "addresses_leased", usage.leased);
	set_number(object, "addresses_free", usage.size - usage.leased);
}

static void set_usages(struct ops *o, json_t *vpc)
{
	const char *name = look_text(vpc, "name");
	json_t *one;
	size_t i;

	if (json_is_true(json_object_get(vpc, "flat")))
		set_usage(o, vpc, name, OPS_NO_SUBNET);
	json_array_foreach(json_object_get(vpc, "subnets"), i, one)
		set_usage(o, one, name, look_text(one, "name"));
}

static json_t *find_named(const json_t *list, const char *name)
{
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		if (!strcmp(look_text(one, "name"), name))
			return one;
	}
	return NULL;
}

/* A subnet, or what is joined by a port; without a name the VPC. */
static json_t *find_workload(const json_t *vpcs, const char *vpc, const char *name)
{
	const json_t *in = find_named(vpcs, vpc);
	json_t *one = find_named(json_object_get(in, "subnets"), name);

	if (!*name)
		return find_named(vpcs, vpc);
	return one ? one : find_named(json_object_get(in, "vms"), name);
}

static json_t *find_user(const json_t *vpcs, const struct use *u)
{
	static const char *const lists[USE_NUM_KINDS] = {
		[USE_SUBNET] = "subnets", [USE_PORT] = "vms"};
	json_t *vpc = find_named(vpcs, u->vpc);

	return lists[u->kind] ? find_named(json_object_get(vpc, lists[u->kind]), u->name) : vpc;
}

/* Who goes out by which egresses. */
static int read_uses(struct ops *o, const json_t *vpcs, struct err *err)
{
	_free_ struct use *uses = NULL;
	size_t n = 0;
	int r = use_list(o->st, &uses, &n, err);

	for (size_t i = 0; i < n; i++)
		json_object_set_new(find_user(vpcs, &uses[i]), "egress",
				    json_string(*uses[i].list ? uses[i].list : EGRESS_NONE));
	return r;
}

static int read_published(struct ops *o, const json_t *vpcs, struct err *err)
{
	_free_ struct mapping *m = NULL;
	char text[MAPPING_STRLEN];
	size_t n = 0;
	int r = mapping_list(o->st, NULL, &m, &n, err);

	for (size_t i = 0; i < n; i++) {
		json_t *target = find_workload(vpcs, m[i].vpc, m[i].target);

		if (!json_object_get(target, "published"))
			json_object_set_new(target, "published", json_array());
		json_array_append_new(json_object_get(target, "published"),
				      json_string(mapping_format(&m[i], text)));
	}
	return r;
}

static int read_vpcs(struct ops *o, json_t *ret, struct err *err)
{
	_free_ struct vpc *vpcs = NULL;
	size_t n = 0;
	json_t *one;
	int r = vpc_list(o->st, &vpcs, &n, err);

	for (size_t i = 0; i < n && !r; i++) {
		r = ops_describe(o, vpcs[i].name, &one, err);
		if (r)
			break;
		set_usages(o, one);
		json_object_set_new(json_object_get(one, "nat"), "vpc", json_string(vpcs[i].name));
		json_array_append_new(ret, one);
	}
	return r;
}

/* All rows, as they were at one moment. */
static int read_rows(struct ops *o, json_t *ret_vpcs, json_t *ret_hosts, json_t **ret_egresses,
		     struct err *err)
{
	int r = store_begin(o->st, err);

	if (!r)
		r = read_vpcs(o, ret_vpcs, err);
	if (!r)
		r = read_uses(o, ret_vpcs, err);
	if (!r)
		r = read_published(o, ret_vpcs, err);
	if (!r)
		r = ops_egress_host_status(o, ret_hosts, err);
	if (!r)
		r = ops_egress_status(o, NULL, ret_egresses, err);
	store_rollback(o->st);
	return r;
}

static void remove_named(json_t *list, const char *name)
{
	const json_t *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		if (!strcmp(look_text(one, "name"), name)) {
			json_array_remove(list, i);
			return;
		}
	}
}

/* The session and the tunnel of its name are what it is made of; that session is in no list. Of one
 * that goes out by another, the interface is that one's leg. */
static void absorb(json_t *egress, json_t *tunnels)
{
	const char *name = look_text(egress, "name");
	const json_t *tunnel = find_named(tunnels, name), *session;
	json_t *sessions = NULL;

	ops_session_status(name, &sessions, NULL); /* none when it does not run */
	session = json_array_get(sessions, 0);
	if (!*look_text(egress, "via"))
		copy_member_of(session, "interface", egress, "interface");
	copy_member_of(session, "server", egress, "server");
	copy_member_of(tunnel, "proxy", egress, "server");
	copy_member_of(tunnel, "server", egress, "server");
	json_decref(sessions);
	remove_named(tunnels, name);
	json_object_del(egress, "spec"); /* how it is made is not for everybody who may look */
}

static void add_interface(json_t *list, const char *name)
{
	if (*name && !find_named(list, name))
		json_array_append_new(list, json_pack("{s:s}", "name", name));
}

/* By which something of ours goes out of the host. */
static json_t *find_interfaces(const json_t *vpcs, const json_t *sessions, const json_t *egresses)
{
	const json_t *const users[] = {sessions, egresses};
	json_t *list = json_array(), *one;
	size_t i;

	json_array_foreach(vpcs, i, one)
		add_interface(list, look_text(json_object_get(one, "nat"), "interface"));
	for (size_t k = 0; k < ARRAY_SIZE(users); k++)
		json_array_foreach(users[k], i, one)
			add_interface(list, look_text(one, "interface"));
	return list;
}

/* What there is is in the document, also when not all could be read. */
static int read_lists(struct ops *o, json_t *doc, struct err *err)
{
	json_t *vpcs = json_array(), *hosts = json_array(), *egresses = NULL;
	json_t *tunnels = NULL, *sessions = NULL, *one;
	char dir[256];
	size_t i;
	int r = read_rows(o, vpcs, hosts, &egresses, err);

	json_object_set_new(doc, "vpcs", vpcs);
	json_object_set_new(doc, "hosts", hosts);
	json_object_set_new(doc, "egresses", egresses);
	if (!r)
		r = ops_tunnel_statuses(tunnel_default_dir(dir), &tunnels, err);
	json_object_set_new(doc, "tunnels", tunnels);
	if (!r)
		r = ops_session_status(NULL, &sessions, err);
	json_object_set_new(doc, "sessions", sessions);
	json_array_foreach(egresses, i, one) absorb(one, tunnels);
	json_object_set_new(doc, "interfaces", find_interfaces(vpcs, sessions, egresses));
	return r;
}

static int read_all(struct ops *o, json_t *doc, struct err *err)
{
	_free_ struct counted *to_free = NULL;
	struct links links = {0};
	int r = read_lists(o, doc, err);

	if (!r)
		r = read_links(o->host, &links, err);
	to_free = links.v;
	if (!r)
		look_walk(doc, complete, &links);
	return r;
}

int look_take(struct look *ret, struct err *err)
{
	_ops_ struct ops o = {0};
	_look_ struct look l = {.doc = json_object(), .at_ms = clock_ms()};
	int r = ops_open(&o, STORE_READ, err);

	if (!r)
		r = read_all(&o, l.doc, err);
	if (r)
		return r;
	*ret = l;
	l.doc = NULL;
	return 0;
}

/* ---- Rates ---- */

struct rates {
	json_t *before; /* objects by kind and name */
	uint64_t ms;
};

static void set_rate(const struct rates *r, json_t *now, const json_t *before, const char *total,
		     const char *rate)
{
	json_int_t grown = look_number(now, total) - look_number(before, total);

	/* It is another one of the same name when it has less than it had. */
	if (json_is_integer(json_object_get(now, total)))
		set_number(now, rate, grown > 0 ? (uint64_t)grown * 1000 / r->ms : 0);
}

static void add_rates(void *arg, const struct look_object *o)
{
	const struct rates *r = arg;
	char key[LOOK_KEY_MAX];
	const json_t *before = json_object_get(r->before, look_key(o, key));

	if (!before)
		return;
	set_rate(r, o->json, before, "rx_bytes", "rx_rate");
	set_rate(r, o->json, before, "tx_bytes", "tx_rate");
}

void look_rates(const struct look *now, const struct look *before)
{
	struct rates r = {.before = look_index(before->doc), .ms = now->at_ms - before->at_ms};

	if (r.ms)
		look_walk(now->doc, add_rates, &r);
	json_decref(r.before);
}
