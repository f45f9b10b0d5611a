// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * A run for each workload: the observer opens a socket at every interface of the host that leads
 * out, sends its controls past all rules and waits until it has seen them. Then the probes are sent
 * from inside, each known by a token, a number and an address for documentation that is its alone.
 * For a while all that leaves is looked at; then come controls again, behind everything that was
 * sent before.
 *
 *  1. A probe seen at an interface that leads out is a leak, but for a workload that goes out by
 *     NAT: of its probes, one that leaves elsewhere, or with an address of its own.
 *  2. "No leak" is said only if each such interface has shown all controls, before and after, and
 *     has lost nothing, and each probe could be made.
 *  3. A tunnel's own packets are none of the probes: those are what has a probe's destination, or
 *     as its own the foreign source that a probe had (an answer), or the token anywhere but in TCP
 *     (where a proxy is told in clear what is asked of it).
 *  4. Nothing is changed but for a VM or container, whose guest does not send for us: beside it is
 *     made a port with the same way out, into a namespace without a name. It goes with it; what a
 *     crash leaves of its row is gc's.
 *
 * What this cannot know is in the evidence, in `not_proved`.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/rtnetlink.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "firewall/ruleset.h"
#include "kernel/caps.h"
#include "kernel/netns.h"
#include "kernel/route.h"
#include "ops/egress.h"
#include "ops/ops.h"
#include "ops/prove.h"
#include "ops/prove_impl.h"
#include "ops/session.h"
#include "ops/tunnel.h"
#include "ops/ways.h"
#include "session/session.h"
#include "vpc/port.h"
#include "vpc/way.h"

#define CONTROL_MS 5000u /* at most, on a busy machine */
#define WINDOW_MS 1500u  /* a SYN is sent again after a second */

#define LOWER_MAX 4 /* a VLAN of a bridge of a bond of a card */

/* What probes are sent from. */
struct workload {
	char name[2 * NAME_MAX_LEN];
	struct netns *ns; /* owned, but for the host's */
	bool by_nat;
	char interface[IFNAMSIZ]; /* of NAT */
	struct cidr net, net6;    /* addresses that nobody outside may see; of NAT */
	struct use use;           /* of egresses; zeros for none */
	enum prove_way way;       /* what states are walked through, if asked to */
	const char *list;         /* of those; NULL: it has one state */
};

/* In one state of its way out. */
struct run {
	const struct workload *w;
	const char *state, *lost, *by; /* see struct prove_states; state NULL: as it is */
};

struct proof {
	struct ops *o;
	const char *name, *kind;
	char state[32];       /* of a tunnel, session or egress; "" for none */
	bool states;          /* that are walked through */
	const char *in_state; /* of them, NULL: none */
	struct port stand_in;
	bool has_stand_in;
	json_t *workloads, *leaks, *obstacles;
	struct err *err;
};

static const char *const result_names[] = {
	[PROVE_NO_LEAK] = "no leak",
	[PROVE_LEAK] = "leak",
	[PROVE_NOT_PROVED] = "not proved",
};
_Static_assert(ARRAY_SIZE(result_names) == PROVE_NUM_RESULTS, "each result has a name");

static const char *result_name(enum prove_result r)
{
	return result_names[r];
}

_printf_(2, 3) static void obstacle(struct proof *p, const char *fmt, ...)
{
	_buf_ struct buf said = {0};
	char text[1536];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (p->in_state)
		buf_addf(&said, "%s: ", p->in_state);
	buf_adds(&said, text);
	json_array_append_new(p->obstacles, json_string(said.data));
}

/* ---- What was seen ---- */

static bool is_private(const struct workload *w, const struct ip *source)
{
	const struct cidr *net = source->family == AF_INET6 ? &w->net6 : &w->net;

	return net->addr.family && cidr_has(net, source);
}

static bool is_lower(const char *upper, const char *lower)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/class/net/%s/lower_%s", upper, lower);
	return !access(path, F_OK);
}

/* What leaves by a bridge, bond or VLAN passes what that is made of, too. */
static bool passes(const struct observer *o, const char *upper, const char *lower, int depth)
{
	if (!strcmp(upper, lower) || is_lower(upper, lower))
		return true;
	for (size_t i = 0; depth && i < o->n; i++)
		if (is_lower(upper, o->watchers[i].name) &&
		    passes(o, o->watchers[i].name, lower, depth - 1))
			return true;
	return false;
}

/* From its own address, or one that is nobody's, NAT has not replaced it. */
static bool is_leak(const struct workload *w, const struct observer *o, const struct probe *probe,
		    const struct sighting *s)
{
	const struct watcher *at = &o->watchers[s->watcher];
	struct ip foreign;

	if (!at->outside || use_excludes(&w->use, &probe->to, probe_port(probe)))
		return false;
	if (!w->by_nat || !passes(o, w->interface, at->name, LOWER_MAX))
		return true;
	if (s->asked_only)
		return false;
	foreign = prove_address(o->token, PROVE_NUMBERS + s->no, s->source.family);
	return is_private(w, &s->source) || ip_equal(&foreign, &s->source);
}

static json_t *view_ip(const struct ip *ip)
{
	char text[IP_STRLEN];

	return ip->family ? json_string(ip_format(ip, text)) : json_null();
}

static const char *family_name(int family)
{
	return family == AF_INET6 ? "ipv6" : "ipv4";
}

static json_t *view_sighting(const struct sighting *s, const struct watcher *at, bool leak)
{
	return json_pack("{s:s, s:o, s:i, s:b, s:b}", "interface", at->name, "source",
			 view_ip(&s->source), "packets", (int)s->packets, "address_asked_only",
			 s->asked_only, "leak", leak);
}

static void add_leak(struct proof *p, const struct run *run, const struct probe *probe,
		     const struct sighting *s, const struct watcher *at)
{
	json_array_append_new(
		p->leaks, json_pack("{s:s, s:s?, s:s, s:s, s:s, s:o, s:o}", "workload",
				    run->w->name, "state", run->state, "probe", probe_name(probe),
				    "family", family_name(probe->to.family), "interface", at->name,
				    "source", view_ip(&s->source), "to", view_ip(&probe->to)));
}

static const char *verdict(const struct probe *p, bool outside, bool leaked)
{
	if (leaked)
		return "leaked";
	if (outside)
		return "left";
	if (p->failed)
		return "not made";
	return p->sent ? "contained" : "blocked";
}

static json_t *view_probe(struct proof *p, const struct run *run, const struct observer *o,
			  const struct probe *probe)
{
	json_t *inside = json_array(), *seen = json_array();
	bool leaked = false;

	for (size_t i = 0; i < o->n_sightings; i++) {
		const struct sighting *s = &o->sightings[i];
		const struct watcher *at = &o->watchers[s->watcher];
		bool leak = is_leak(run->w, o, probe, s);

		if (s->no != probe->no)
			continue;
		if (at->outside)
			json_array_append_new(seen, view_sighting(s, at, leak));
		else
			json_array_append_new(inside, json_string(at->name));
		if (leak)
			add_leak(p, run, probe, s, at);
		leaked |= leak;
	}
	return json_pack(
		"{s:i, s:s, s:s, s:o, s:i, s:s?, s:b, s:s?, s:s, s:o, s:o}", "number",
		(int)probe->no, "probe", probe_name(probe), "family", family_name(probe->to.family),
		"to", view_ip(&probe->to), "port", (int)probe_port(probe), "device",
		*probe->device ? probe->device : NULL, "sent", probe->sent, "error",
		probe->error ? strerror(-probe->error) : NULL, "verdict",
		verdict(probe, json_array_size(seen), leaked), "inside", inside, "outside", seen);
}

static json_t *view_controls(const struct watcher *w)
{
	json_t *missing = json_array();

	for (unsigned int i = 0; i < PROVE_CONTROLS; i++) {
		char text[64];

		if (w->seen[PROVE_CONTROL_BEFORE + i] && w->seen[PROVE_CONTROL_AFTER + i])
			continue;
		snprintf(text, sizeof(text), "%s %s", control_name(i),
			 family_name(i % 2 ? AF_INET6 : AF_INET));
		json_array_append_new(missing, json_string(text));
	}
	return json_pack("{s:s, s:i, s:i, s:i, s:o, s:i}", "interface", w->name, "controls",
			 (int)PROVE_CONTROLS, "seen_before",
			 (int)observer_controls_seen(w, PROVE_CONTROL_BEFORE), "seen_after",
			 (int)observer_controls_seen(w, PROVE_CONTROL_AFTER), "missing", missing,
			 "lost", (int)w->lost);
}

static json_t *view_watchers(struct proof *p, const struct workload *w, const struct observer *o)
{
	json_t *ret = json_array();

	for (size_t i = 0; i < o->n; i++) {
		const struct watcher *at = &o->watchers[i];

		if (!at->outside)
			continue;
		json_array_append_new(ret, view_controls(at));
		if (observer_controls_seen(at, PROVE_CONTROL_BEFORE) < PROVE_CONTROLS ||
		    observer_controls_seen(at, PROVE_CONTROL_AFTER) < PROVE_CONTROLS)
			obstacle(p, "not every control was seen at %s: a leak there would not be",
				 at->name);
		if (at->lost)
			obstacle(p, "%u packets passed %s too fast to be looked at", at->lost,
				 at->name);
	}
	if (!json_array_size(ret))
		obstacle(p, "no interface that leads out is up: %s could not leak by any", w->name);
	return ret;
}

static void note_failures(struct proof *p, const struct workload *w, const struct probes *probes)
{
	for (size_t i = 0; i < probes->n; i++)
		if (probes->list[i].failed)
			obstacle(p, "%s: the probe %s (%s) could not be made: %s", w->name,
				 probe_name(&probes->list[i]),
				 family_name(probes->list[i].to.family),
				 strerror(-probes->list[i].error));
	if (probes->left_out)
		obstacle(p, "%s has more interfaces than there are probes", w->name);
}

static const char *expected(const struct workload *w)
{
	if (w->by_nat)
		return "leaves by NAT only";
	return *w->use.exclude ? "nothing leaves, but to what is excluded" : "nothing leaves";
}

static int add_name(const char *name, void *arg)
{
	return json_array_append_new(arg, json_string(name));
}

static json_t *view_names(const char *names)
{
	json_t *ret = json_array();

	way_each(names, add_name, ret);
	return ret;
}

static void add_run(struct proof *p, const struct run *run, const struct observer *o,
		    const struct probes *probes)
{
	const struct workload *w = run->w;
	json_t *list = json_array();
	json_t *watched = view_watchers(p, w, o);

	note_failures(p, w, probes);
	for (size_t i = 0; i < probes->n; i++)
		json_array_append_new(list, view_probe(p, run, o, &probes->list[i]));
	json_array_append_new(p->workloads,
			      json_pack("{s:s, s:s?, s:o, s:s?, s:s, s:s?, s:s, s:o, s:o}", "name",
					w->name, "state", run->state, "lost", view_names(run->lost),
					"by", run->by, "expected", expected(w), "nat_interface",
					w->by_nat ? w->interface : NULL, "token", o->token->text,
					"watched", watched, "probes", list));
}

/* ---- A run ---- */

struct gateway {
	struct ip *ret;
};

static int note_gateway(const struct route *r, void *arg)
{
	struct gateway *g = arg;

	if (!r->dst.prefix && r->table == RT_TABLE_MAIN && r->gateway.family &&
	    !(r->gateway.family == AF_INET6 && r->gateway.bytes[0] == 0xfe))
		*g->ret = r->gateway;
	return 0;
}

/* The machine that is next on the host's own way out; one with a link-local address cannot be sent
 * to from elsewhere. */
static int find_gateways(struct ops *o, struct probes *p, struct err *err)
{
	struct gateway v4 = {&p->gateways[0]}, v6 = {&p->gateways[1]};
	int r = route_each(o->host, AF_INET, note_gateway, &v4, err);

	return r ? r : route_each(o->host, AF_INET6, note_gateway, &v6, err);
}

static void continue_probes(void *arg)
{
	probes_continue(arg);
}

static int observe(struct observer *o, const struct workload *w, struct probes *probes,
		   struct err *err)
{
	int r;

	observer_control(o, PROVE_CONTROL_BEFORE);
	observer_watch(o, PROVE_CONTROL_BEFORE, CONTROL_MS, NULL, NULL);
	r = probes_send(probes, w->ns, err);
	if (r)
		return r;
	observer_watch(o, 0, WINDOW_MS, continue_probes, probes);
	observer_control(o, PROVE_CONTROL_AFTER);
	observer_watch(o, PROVE_CONTROL_AFTER, CONTROL_MS, NULL, NULL);
	return 0;
}

static int run_once(struct proof *p, const struct run *run)
{
	const struct workload *w = run->w;
	struct prove_token token;
	struct probes *probes = xcalloc(1, sizeof(*probes));
	struct observer o = {0};
	int r = prove_token_make(&token, p->err);

	probes->token = &token;
	if (!r)
		r = find_gateways(p->o, probes, p->err);
	if (!r)
		r = observer_open(&o, &token, p->o->host, w->ns, p->err);
	if (!r)
		r = observe(&o, w, probes, p->err);
	if (!r)
		add_run(p, run, &o, probes);
	probes_close(probes);
	observer_done(&o);
	free(probes);
	return r;
}

struct walking {
	struct proof *p;
	const struct workload *w;
};

static int run_in_state(void *arg, const char *state, const char *lost, const char *by)
{
	const struct walking *k = arg;
	const struct run run = {.w = k->w, .state = state, .lost = lost, .by = by};
	int r;

	k->p->in_state = state;
	r = run_once(k->p, &run);
	k->p->in_state = NULL;
	return r;
}

static void note_obstacle(void *arg, const char *text)
{
	const struct walking *k = arg;

	obstacle(k->p, "%s", text);
}

static int run(struct proof *p, const struct workload *w)
{
	struct walking k = {.p = p, .w = w};
	const struct prove_states states = {.o = p->o,
					    .of = w->name,
					    .way = w->way,
					    .list = w->list,
					    .probe = run_in_state,
					    .obstacle = note_obstacle,
					    .arg = &k};

	return p->states && w->list ? prove_states_walk(&states, p->err)
				    : run_in_state(&k, p->states ? "the only one" : NULL, "", NULL);
}

static int run_in(struct proof *p, struct workload *w, const char *netns)
{
	int r = netns_open(netns, &p->o->log, &w->ns, p->err);

	if (!r)
		r = run(p, w);
	netns_free(TAKE_PTR(w->ns));
	return r;
}

/* ---- Subnets, VMs and networks ---- */

static void set_list(struct workload *w, enum prove_way way, const char *list)
{
	w->way = way;
	w->list = *list ? list : NULL;
}

/* NAT is not the way out of who has one of its own. */
static void expect(struct proof *p, struct workload *w, const struct vpc *v, const char *subnet,
		   const char *port, bool is_public)
{
	struct nat nat;

	w->net = v->cidr;
	w->net6 = v->cidr6;
	if (use_find(p->o->st, v, subnet, port, &w->use)) {
		set_list(w, PROVE_WAY_LIST, w->use.list);
		return;
	}
	if (!is_public || nat_load(p->o->st, v->name, &nat, NULL) || nat.state == ROW_DELETING)
		return;
	w->by_nat = true;
	str_copy(w->interface, sizeof(w->interface), nat.interface);
}

static int prove_subnet(struct proof *p, const struct vpc *v, const struct subnet *s)
{
	struct workload w = {0};

	snprintf(w.name, sizeof(w.name), "%s/%s", s->vpc, s->name);
	expect(p, &w, v, s->name, "", s->is_public);
	return run_in(p, &w, s->netns);
}

static int prove_vpc(struct proof *p, const struct vpc *v)
{
	_free_ struct subnet *s = NULL;
	size_t n = 0;
	int r = subnet_list(p->o->st, v->name, &s, &n, p->err);

	p->kind = "vpc";
	if (!r && !n)
		r = err_set(p->err, ERR_NOT_FOUND, -ENOENT, "VPC '%s' has no subnets", v->name);
	for (size_t i = 0; !r && i < n; i++)
		r = prove_subnet(p, v, &s[i]);
	return r;
}

static int reopen(struct proof *p, enum store_mode mode)
{
	ops_suspend(p->o);
	return ops_open(p->o, mode, p->err);
}

/* The same way out as the one that it stands for. */
static int take_way(struct proof *p, const struct port *of)
{
	char name[2 * NAME_MAX_LEN];
	struct use use;
	bool changed;

	if (use_load(p->o->st, USE_PORT, of->vpc, of->name, &use, NULL))
		return 0;
	snprintf(name, sizeof(name), "%s/%s", p->stand_in.vpc, p->stand_in.name);
	return ops_egress_use_port(p->o, name, *use.list ? use.list : EGRESS_NONE, &changed,
				   p->err);
}

static int make_stand_in(struct proof *p, const struct port *of, struct netns **ret)
{
	struct port *s = &p->stand_in;
	_close_ int fd = -1;
	int r = reopen(p, STORE_WRITE);

	if (!r)
		r = netns_create_private(&p->o->log, ret, p->err);
	if (r)
		return r;
	*s = (struct port){.kind = PORT_VETH,
			   .owner_uid = PORT_NO_UID,
			   .owner_gid = PORT_NO_GID,
			   .isolated = of->isolated};
	str_copy(s->vpc, sizeof(s->vpc), of->vpc);
	str_copy(s->subnet, sizeof(s->subnet), of->subnet);
	snprintf(s->name, sizeof(s->name), "prove-%d", (int)getpid());
	str_copy(s->attachment.container, sizeof(s->attachment.container), s->name);
	str_copy(s->attachment.ifname, sizeof(s->attachment.ifname), "eth0");
	/* The kernel takes its link away a while after us: gc need not wait for that. */
	r = identity_open(getpid(), &s->life, &fd, p->err);
	if (!r)
		r = ops_port_add(p->o, s, *ret, p->err);
	p->has_stand_in = !r;
	return r ? r : take_way(p, of);
}

static int remove_stand_in(struct proof *p, struct err *err)
{
	bool existed;
	int r;

	ops_suspend(p->o);
	r = ops_open(p->o, STORE_WRITE, err);
	return r ? r : ops_port_delete(p->o, p->stand_in.vpc, p->stand_in.name, &existed, err);
}

/* To make a port puts right what rules differ from the state: then something else would be proved
 * than what is there. */
static bool rules_differ(struct proof *p)
{
	struct err why;

	if (!ops_host_verify(p->o, &why) && !ops_table_verify(p->o, ops_legs_rules, &why))
		return false;
	obstacle(p,
		 "%s, and a port beside it could not be made without putting that right: "
		 "`byway gc`",
		 why.msg);
	return true;
}

static int expect_of_port(struct proof *p, struct workload *w, const struct vpc *v,
			  const struct port *port)
{
	struct subnet s = {0};
	int r = *port->subnet ? subnet_load(p->o->st, v->name, port->subnet, &s, p->err) : 0;

	snprintf(w->name, sizeof(w->name), "%s/%s", port->vpc, port->name);
	if (!r)
		expect(p, w, v, port->subnet, port->name, v->flat || s.is_public);
	return r;
}

/* Without the lock while the probes are under way. */
static int prove_port(struct proof *p, const struct vpc *v, const struct port *port)
{
	struct workload w = {0};
	int r, removed = 0;

	p->kind = port_kind_what(port->kind);
	if (rules_differ(p))
		return 0;
	r = make_stand_in(p, port, &w.ns);
	if (!r)
		r = expect_of_port(p, &w, v, port);
	if (!r)
		r = reopen(p, STORE_READ);
	if (!r)
		r = run(p, &w);
	if (p->has_stand_in)
		removed = remove_stand_in(p, r ? NULL : p->err);
	if (removed)
		err_append(p->err, "; what is left of the port beside it: `byway gc`");
	netns_free(w.ns);
	return r ? r : removed;
}

static int prove_in_vpc(struct proof *p, const char *vpc, const char *name)
{
	struct vpc v;
	struct subnet s;
	struct port port;
	int r = vpc_load(p->o->st, vpc, &v, p->err);

	if (r)
		return r;
	if (!subnet_load(p->o->st, vpc, name, &s, NULL)) {
		p->kind = "subnet";
		return prove_subnet(p, &v, &s);
	}
	if (!port_load(p->o->st, vpc, name, &port, NULL))
		return prove_port(p, &v, &port);
	return err_set(p->err, ERR_NOT_FOUND, -ENOENT, "'%s' has no subnet, VM or container '%s'",
		       vpc, name);
}

/* ---- Tunnels, sessions and egresses ---- */

static void take_state(struct proof *p, const json_t *object)
{
	const char *state = json_string_value(json_object_get(object, "state"));

	str_copy(p->state, sizeof(p->state), state ? state : "");
}

static int prove_session(struct proof *p, const struct session *s)
{
	bool is_egress = strcmp(p->kind, "session") != 0;
	struct workload w = {0};
	json_t *status = NULL;

	if (s->mode != SESSION_FULL && !is_egress)
		return err_set(p->err, ERR_UNSUPPORTED, -EOPNOTSUPP,
			       "session '%s' lets out beside its tunnel what is not included (mode "
			       "split): that nothing leaves cannot be proved",
			       s->name);
	if (!*p->state && !ops_session_status(s->name, &status, NULL))
		take_state(p, json_array_get(status, 0));
	json_decref(status);
	str_copy(w.name, sizeof(w.name), s->name);
	set_list(&w, is_egress ? PROVE_WAY_LIST : PROVE_WAY_SESSION, s->name);
	return run_in(p, &w, s->netns);
}

static int prove_egress(struct proof *p)
{
	struct session s = {0};
	json_t *status = NULL;
	int r = ops_egress_status(p->o, p->name, &status, p->err);

	p->kind = "egress";
	if (!r)
		take_state(p, json_array_get(status, 0));
	json_decref(status);
	if (!r && session_load(p->o->st, p->name, &s, NULL))
		r = err_set(p->err, ERR_NOT_FOUND, -ENOENT,
			    "egress '%s' does not run: prove a workload that goes out by it",
			    p->name);
	if (!r)
		r = prove_session(p, &s);
	session_done(&s);
	return r;
}

static int prove_host(struct proof *p, const struct use *u)
{
	struct workload w = {.ns = p->o->host};
	json_t *status = json_array();
	int r = ops_egress_host_status(p->o, status, p->err);

	p->kind = "host";
	take_state(p, json_array_get(status, 0));
	json_decref(status);
	str_copy(w.name, sizeof(w.name), p->name);
	w.use = *u;
	set_list(&w, PROVE_WAY_LIST, w.use.list);
	return r ? r : run(p, &w);
}

static int prove_tunnel(struct proof *p)
{
	bool host = !strcmp(p->name, TUNNEL_HOST_NAME);
	struct workload w = {.ns = p->o->host};
	json_t *status;
	char dir[256];
	int r = ops_tunnel_status(tunnel_default_dir(dir), host ? NULL : p->name, &status, p->err);

	if (r)
		return r;
	p->kind = "tunnel";
	take_state(p, status);
	json_decref(status);
	if (!strcmp(p->state, tunnel_state_name(TUNNEL_DOWN)))
		return err_set(p->err, ERR_NOT_FOUND, -ENOENT,
			       "'%s' is no egress, session, tunnel, VPC, VPC/SUBNET nor NETWORK/VM",
			       p->name);
	str_copy(w.name, sizeof(w.name), p->name);
	set_list(&w, PROVE_WAY_TUNNEL, p->name);
	return host ? run(p, &w) : run_in(p, &w, p->name);
}

static int prove_named(struct proof *p)
{
	_cleanup_(egress_done) struct egress e = {0};
	_cleanup_(session_done) struct session s = {0};
	_free_ char *vpc = xstrdup(p->name);
	char *slash = strchr(vpc, '/');
	struct use u;
	struct vpc v;

	if (slash) {
		*slash = '\0';
		return prove_in_vpc(p, vpc, slash + 1);
	}
	if (!strcmp(p->name, USE_HOST_NAME) && !use_load(p->o->st, USE_HOST, "", "", &u, NULL))
		return prove_host(p, &u);
	if (!egress_load(p->o->st, p->name, &e, NULL))
		return prove_egress(p);
	if (!session_load(p->o->st, p->name, &s, NULL)) {
		p->kind = "session";
		return prove_session(p, &s);
	}
	if (!vpc_load(p->o->st, p->name, &v, NULL))
		return prove_vpc(p, &v);
	return prove_tunnel(p);
}

/* ---- The evidence ---- */

static const char one_state[] =
	"Only the state that it was in at that time is shown: not other states of its way out, nor "
	"what changes of state let through.";
static const char some_states[] =
	"Only the states that are listed are shown, each once it had come about: not what changes "
	"of state let through, nor states such as a refusal by the server, or that byway's own "
	"process is killed.";
static const char *const not_proved[] = {
	"Only what this host sends was seen: neither what becomes of packets behind the tunnel's "
	"far "
	"end nor what other machines send.",
	"Interfaces that came up later were not watched, nor what network cards send by themselves "
	"or by offloads that pass the kernel by.",
	"Probes were sent by byway, from the network namespace or, for a VM or container, from a "
	"port "
	"beside it, whose making puts routes of ways out right: a guest's own kernel, and a "
	"process "
	"that can leave its namespace, may send otherwise.",
	"A program of this host that is asked from inside and then sends something else in its own "
	"name is not recognised.",
	"What waits for a neighbour that does not answer is seen as a question for its address, if "
	"that is the probe's destination, and else not at all.",
	"How much can be told outside from the time and size of a tunnel's own packets is not "
	"asked.",
};

static json_t *view_not_proved(bool states)
{
	json_t *ret = json_array();

	json_array_append_new(ret, json_string(states ? some_states : one_state));
	for (size_t i = 0; i < ARRAY_SIZE(not_proved); i++)
		json_array_append_new(ret, json_string(not_proved[i]));
	return ret;
}

static json_t *view_proof(const struct proof *p, enum prove_result result, uint64_t since_ms)
{
	const struct passwd *who = getpwuid(getuid());
	const char *sudo = getenv("SUDO_USER");
	char began[TIME_STRLEN];
	struct utsname machine;
	time_t now = time(NULL);

	uname(&machine);
	return json_pack(
		"{s:s, s:s, s:s, s:s?, s:s, s:s, s:s, s:s, s:s?, s:s, s:f, s:b, s:O, s:O, s:O, "
		"s:o}",
		"result", result_name(result), "name", p->name, "kind", p->kind, "state",
		*p->state ? p->state : NULL, "machine", machine.nodename, "kernel", machine.release,
		"version", BYWAY_VERSION, "by", who ? who->pw_name : "", "sudo_by", sudo, "ended",
		time_format(now, began), "seconds", (double)(clock_ms() - since_ms) / 1000.0,
		"states", p->states, "workloads", p->workloads, "leaks", p->leaks, "obstacles",
		p->obstacles, "not_proved", view_not_proved(p->states));
}

int ops_prove(struct ops *o, const char *name, enum prove_extent extent, json_t **ret,
	      enum prove_result *ret_result, struct err *err)
{
	static const int caps[] = {CAP_NET_RAW, CAP_NET_ADMIN, CAP_SYS_ADMIN};
	struct proof p = {.o = o, .name = name, .states = extent == PROVE_STATES, .err = err};
	uint64_t since_ms = clock_ms();
	int r = caps_require(caps, ARRAY_SIZE(caps), err);

	if (r)
		return r;
	p.workloads = json_array();
	p.leaks = json_array();
	p.obstacles = json_array();
	r = prove_named(&p);
	if (!r) {
		*ret_result = json_array_size(p.leaks)       ? PROVE_LEAK
			      : json_array_size(p.obstacles) ? PROVE_NOT_PROVED
							     : PROVE_NO_LEAK;
		*ret = view_proof(&p, *ret_result, since_ms);
	}
	json_decref(p.workloads);
	json_decref(p.leaks);
	json_decref(p.obstacles);
	return r;
}
