// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "kernel/link.h"
#include "ops/dns.h"
#include "ops/egress.h"
#include "ops/ops.h"
#include "ops/repair.h"
#include "ops/segments.h"
#include "vpc/clone.h"
#include "vpc/host_rules.h"
#include "vpc/mapping.h"
#include "vpc/names.h"
#include "vpc/net.h"
#include "vpc/policy.h"
#include "vpc/port.h"

/* One port on its way up. */
struct job {
	struct ops *o;
	const struct vpc *vpc;
	struct segments *segments;
	struct subnet subnet; /* of a VPC that has any */
	struct port *port;
	struct netns *inside; /* borrowed; NULL for what is no container's */
	struct mapping *mappings; /* borrowed */
	size_t n_mappings;
	const char *file;     /* of its policy, or NULL */
	const char *ways;     /* what it goes out by, or NULL */
	struct policy *policy;
	struct buf text;
	struct netns *own;    /* a clone's, which is made here */
};

static void job_done(struct job *j)
{
	policy_free(j->policy);
	buf_done(&j->text);
	netns_free(j->own);
}

/* Ports of one VPC that are added together. */
struct batch {
	struct ops *o;
	struct vpc vpc;
	struct segments segments;
	struct job *jobs;
	size_t n, n_policies;
};

static void batch_done(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		job_done(&b->jobs[i]);
	free(b->jobs);
	segments_done(&b->segments);
}

static int load_subnet(struct job *j, struct err *err)
{
	const struct port *p = j->port;
	int r;

	if (j->vpc->flat != !*p->subnet)
		return err_set(
			err, ERR_USAGE, -EINVAL,
			j->vpc->flat ? "network '%s' is flat: it has no subnet '%s'"
				    : "VPC '%s' is not flat: name one of its subnets, '%s/SUBNET'",
			p->vpc, j->vpc->flat ? p->subnet : p->vpc);
	if (j->vpc->flat)
		return 0;
	r = subnet_load(j->o->st, p->vpc, p->subnet, &j->subnet, err);
	if (!r && j->subnet.state != ROW_ACTIVE)
		r = err_set(err, ERR_CONFLICT, -EBUSY,
			    "subnet '%s/%s' was left half-made by a crash: "
			    "`byway subnet delete %s/%s`, then add it again",
			    p->vpc, p->subnet, p->vpc, p->subnet);
	return r;
}

/* A row of this name: active is a conflict, anything else is what a crash left and goes first. */
static int clear_name(struct job *j, struct err *err)
{
	const struct port *p = j->port;
	struct port old;
	int r = port_load(j->o->st, p->vpc, p->name, &old, NULL);

	if (r)
		return r == -ENOENT ? 0
				    : err_errno(err, r, "cannot look up '%s/%s'", p->vpc, p->name);
	if (old.state == ROW_ACTIVE)
		return err_set(err, ERR_CONFLICT, -EEXIST, "%s '%s/%s' exists already",
			       port_kind_what(p->kind), p->vpc, p->name);
	return ops_teardown_ports(j->o, j->vpc, &old, 1, err);
}

static int read_policy(struct job *j, struct err *err)
{
	int r = ops_policy_read(j->file, &j->text, &j->policy, err);

	return r ? r : ops_policy_names(j->o, j->port->vpc, j->file, j->policy, err);
}

static int check_clone(struct job *j, struct err *err)
{
	const char *name = j->port->clone.netns;
	int r = clone_check(j->vpc, j->port, err);

	if (!r)
		r = name_netns_taken(j->o->st, name, err);
	return r <= 0 ? r
		      : err_set(err, ERR_CONFLICT, -EEXIST,
				"a network namespace named %s exists already", name);
}

static int load(struct job *j, struct err *err)
{
	int r = load_subnet(j, err);

	if (!r && j->file)
		r = read_policy(j, err);
	if (!r)
		r = clear_name(j, err);
	if (!r && j->n_mappings)
		r = ops_mappings_choose(j->o, j->mappings, j->n_mappings, &j->n_mappings, err);
	return r || j->port->kind != PORT_CLONE ? r : check_clone(j, err);
}

/* A clone has IPv4 only. */
static int lease(struct job *j, struct err *err)
{
	const struct subnet *s = j->vpc->flat ? NULL : &j->subnet;
	char owner[OPS_OWNER_MAX];
	struct port *p = j->port;

	if (p->kind != PORT_CLONE)
		return ops_lease_port(j->o, j->vpc, s, p->name, &p->addr, &p->addr6, err);
	return ops_lease(j->o, j->vpc, s ? s->name : OPS_NO_SUBNET, s ? &s->cidr : &j->vpc->cidr,
			 ops_port_owner(p->name, owner), &p->addr, err);
}

/* 1: a workload of the VPC has it. */
static int mac_taken(struct job *j, const char *mac, struct err *err)
{
	_stmt_ struct sqlite3_stmt *q = NULL;
	int r = store_query(j->o->st, &q, err,
			    "SELECT 1 FROM port WHERE vpc = ?1 AND mac = ?2"
			    " UNION SELECT 1 FROM subnet WHERE vpc = ?1 AND mac = ?2",
			    "ss", j->vpc->name, mac);

	return r ? r : store_step(j->o->st, q, err);
}

/* 1: a bridge, a trunk or the host's end of a port has it. */
static int compare_mac(const struct link *link, void *arg)
{
	return link_is_ours(link) && !memcmp(&link->mac, arg, sizeof(link->mac)) ? -EEXIST : 0;
}

static int mac_on_links(struct job *j, struct err *err)
{
	int r = link_each(j->o->host, compare_mac, &j->port->mac, err);

	return r == -EEXIST ? 1 : r;
}

static int choose_mac(struct job *j, struct err *err)
{
	static const struct mac none;
	struct port *p = j->port;
	bool given = memcmp(&p->mac, &none, sizeof(none)) != 0;
	char mac[MAC_STRLEN];
	int r;

	if (!given)
		p->mac = port_mac(p);
	mac_format(&p->mac, mac);
	if (p->mac.bytes[0] & 1)
		return err_set(err, ERR_USAGE, -EINVAL, "%s is a multicast address", mac);
	r = mac_taken(j, mac, err);
	if (!r && given) /* derived ones are hashes of different things */
		r = mac_on_links(j, err);
	if (r <= 0)
		return r;
	return err_set(err, ERR_CONFLICT, -EEXIST, "somebody else in '%s' has the MAC address %s",
		       j->vpc->name, mac);
}

static int insert(struct job *j, struct err *err)
{
	struct port *p = j->port;
	struct policy_owner owner = port_owner(p);
	_free_ char *path = NULL;
	int r = port_insert(j->o->st, p, err);

	p->has_policy = j->policy;
	if (!r && j->policy)
		r = ops_port_policy_check(j->policy, j->file, p, err);
	if (r || !j->policy)
		return r;
	path = ops_policy_path(j->file);
	return policy_save(j->o->st, &owner, path, j->text.data, j->policy, err);
}

/* Which bridge, names, addresses and the rows: the intent. */
static int intend(struct job *j, struct err *err)
{
	struct port *p = j->port;
	int r = p->isolated || j->policy ? segments_place_first(j->segments, err)
					 : segments_place(j->segments, &p->segment, err);

	if (!r)
		r = name_port(j->o->st, j->o->host, p, err);
	if (!r)
		r = lease(j, err);
	if (!r)
		r = choose_mac(j, err);
	now_utc(p->created);
	p->state = ROW_CREATING;
	if (!r)
		r = insert(j, err);
	if (!r)
		r = ops_mappings_lead_to(j->mappings, j->n_mappings, p, err);
	return r ? r : ops_mappings_save(j->o, j->mappings, j->n_mappings, ROW_CREATING, err);
}

static int finish(struct job *j, struct err *err)
{
	int r = port_set_state(j->o->st, j->port, ROW_ACTIVE, err);

	if (!r)
		r = ops_mappings_save(j->o, j->mappings, j->n_mappings, ROW_ACTIVE, err);
	j->port->state = ROW_ACTIVE;
	return r;
}

static int make_namespace(struct job *j, struct err *err)
{
	_ruleset_ struct ruleset rs;
	char alias[LINK_ALIAS_MAX];
	int r;

	ruleset_init(&rs);
	alias_port(j->port, alias, sizeof(alias));
	clone_rules(j->port, &rs);
	r = netns_create(j->port->clone.netns, alias, &j->o->log, &j->own, err);
	j->inside = j->own;
	return r ? r : firewall_apply(j->o->fw, j->own, &rs, err);
}

static int ways_up(struct job *j, struct err *err)
{
	char name[2 * NAME_MAX_LEN];
	bool changed;

	snprintf(name, sizeof(name), "%s/%s", j->port->vpc, j->port->name);
	return j->ways ? ops_egress_use_port(j->o, name, j->ways, &changed, err) : 0;
}

/* The firewall first: a port meets it from its first frame. */
static int rules_up(struct batch *b, struct err *err)
{
	_host_rules_ struct host_rules add = {0};
	int r = 0;

	host_rules_init(&add);
	for (size_t i = 0; !r && i < b->n; i++) {
		host_rules_port(&add, b->jobs[i].port, &b->vpc);
		r = ops_policy_refresh(b->o, b->jobs[i].port->name, err);
	}
	if (!r && b->n_policies)
		r = ops_ports_under(b->o, b->jobs[0].port, b->n_policies, err);
	return r ? r : ops_host_update(b->o, &add, NULL, err);
}

static int bring_up(struct job *j, struct err *err)
{
	struct port *p = j->port;
	int r = p->kind == PORT_CLONE ? make_namespace(j, err) : 0;

	if (!r)
		r = port_up(j->o->host, j->vpc, p, segments_bridge(j->segments, p->segment),
			    j->inside, err);
	if (!r && j->n_mappings)
		r = ops_mappings_up(j->o, j->mappings, j->n_mappings, err);
	return r ? r : ops_dns_add_port(j->o, j->vpc, p, err);
}

/* One after the other, until one fails: which is said where it is one of several. */
static int each(struct batch *b, int (*step)(struct job *j, struct err *err), struct err *err)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct port *p = b->jobs[i].port;
		int r = step(&b->jobs[i], err);

		if (r && b->n > 1)
			return err_context(err, "%s '%s/%s'", port_kind_what(p->kind), p->vpc,
					   p->name);
		if (r)
			return r;
	}
	return 0;
}

static int batch_load(struct batch *b, struct err *err)
{
	const struct port *first = b->jobs[0].port;
	int r = 0;

	for (size_t i = 0; !r && i < b->n; i++)
		r = name_check(port_kind_what(first->kind), b->jobs[i].port->name, err);
	if (!r)
		r = ops_vpc_active(b->o, first->vpc, &b->vpc, err);
	if (!r)
		r = each(b, load, err);
	for (size_t i = 0; i < b->n; i++)
		b->n_policies += b->jobs[i].policy != NULL;
	return r ? r : segments_init(&b->segments, b->o, &b->vpc, err);
}

static int batch_intend(struct batch *b, struct err *err)
{
	int r = ops_begin(b->o, err);

	return ops_end(b->o, r ? r : each(b, intend, err), err);
}

static int batch_up(struct batch *b, struct err *err)
{
	int r = rules_up(b, err);

	if (!r)
		r = each(b, ways_up, err);
	if (!r)
		r = segments_up(&b->segments, err);
	return r ? r : each(b, bring_up, err);
}

static int batch_finish(struct batch *b, struct err *err)
{
	int r = ops_begin(b->o, err);

	if (!r)
		r = segments_finish(&b->segments, err);
	return ops_end(b->o, r ? r : each(b, finish, err), err);
}

static void batch_undo(struct batch *b)
{
	_free_ struct port *ports = xcalloc(b->n, sizeof(*ports));

	for (size_t i = 0; i < b->n; i++)
		ports[i] = *b->jobs[i].port;
	ops_teardown_ports(b->o, &b->vpc, ports, b->n, NULL);
	segments_undo(&b->segments);
}

static int batch_add(struct batch *b, struct err *err)
{
	int r = batch_load(b, err);

	if (!r)
		r = ops_firewall(b->o, err);
	if (!r)
		r = batch_intend(b, err);
	if (r)
		return r;
	r = batch_up(b, err);
	if (!r)
		r = batch_finish(b, err);
	if (r)
		batch_undo(b);
	return r;
}

int ops_ports_add(struct ops *o, struct port *ret, struct netns *inside,
		  const struct port_with *with, size_t n, struct err *err)
{
	_cleanup_(batch_done) struct batch b = {
		.o = o, .jobs = xcalloc(n, sizeof(*b.jobs)), .n = n};

	for (size_t i = 0; i < n; i++)
		b.jobs[i] = (struct job){.o = o,
					 .vpc = &b.vpc,
					 .segments = &b.segments,
					 .port = &ret[i],
					 .inside = inside,
					 .file = with[i].policy,
					 .ways = with[i].ways,
					 .mappings = with[i].mappings,
					 .n_mappings = with[i].n_mappings};
	return batch_add(&b, err);
}

int ops_port_add_with(struct ops *o, struct port *ret, struct netns *inside,
		      const struct port_with *with, struct err *err)
{
	return ops_ports_add(o, ret, inside, with, 1, err);
}

int ops_port_add(struct ops *o, struct port *ret, struct netns *inside, struct err *err)
{
	static const struct port_with nothing;

	return ops_port_add_with(o, ret, inside, &nothing, err);
}

/* The device that limits what comes in is known before it is there, the limits after: whoever is
 * killed between leaves nothing that is not known. */
int ops_port_set_rates(struct ops *o, const struct port *wanted, struct err *err)
{
	struct port p, old;
	int r = port_load(o->st, wanted->vpc, wanted->name, &old, err);

	if (r)
		return r;
	r = ops_begin(o, err);
	if (!r && wanted->rate_tx && !*old.ifb)
		r = name_port_ifb(o->st, o->host, &old, err);
	if (!r)
		r = port_set_rates(o->st, &old, err);
	r = ops_end(o, r, err);
	p = old;
	p.rate_rx = wanted->rate_rx;
	p.rate_tx = wanted->rate_tx;
	if (r)
		return r;
	r = port_limit(o->host, &p, err);
	if (!p.rate_tx)
		*p.ifb = '\0';
	if (!r)
		r = ops_begin(o, err);
	if (!r)
		r = ops_end(o, port_set_rates(o->st, &p, err), err);
	if (r)
		port_limit(o->host, &old, NULL);
	return r;
}

int ops_port_delete(struct ops *o, const char *vpc, const char *name, bool *ret_existed,
		    struct err *err)
{
	struct vpc v;
	struct port p;
	int r = port_load(o->st, vpc, name, &p, NULL);

	*ret_existed = !r;
	if (r == -ENOENT)
		return 0;
	if (r)
		return err_errno(err, r, "cannot look up '%s/%s'", vpc, name);
	r = vpc_load(o->st, vpc, &v, err);
	return r ? r : ops_teardown_ports(o, &v, &p, 1, err);
}

static int delete_of_vpc(struct ops *o, const struct port *p, size_t n, struct err *err)
{
	struct vpc v;
	int r = vpc_load(o->st, p->vpc, &v, err);

	return r ? r : ops_teardown_ports(o, &v, p, n, err);
}

int ops_ports_delete(struct ops *o, const struct port *p, size_t n, struct err *err)
{
	struct failures f = {.err = err};
	size_t end;

	for (size_t i = 0; i < n; i = end) {
		for (end = i + 1; end < n && !strcmp(p[end].vpc, p[i].vpc); end++)
			;
		failures_add(&f, delete_of_vpc(o, &p[i], end - i, failures_err(&f)));
	}
	return failures_tell(&f);
}

static bool clone_there(struct ops *o, const struct port *p)
{
	_netns_ struct netns *ns = NULL;
	struct link tap;

	return !netns_open(p->clone.netns, &o->log, &ns, NULL) &&
	       !link_get(ns, p->clone.tap, &tap, NULL);
}

/* A virtual machine monitor that found no TAP of that name may have made one itself: not ours. */
bool ops_port_there(struct ops *o, const struct port *p)
{
	struct link link;

	if (link_get(o->host, p->ifname, &link, NULL) || !link_is_ours(&link))
		return false;
	return p->kind != PORT_CLONE || clone_there(o, p);
}

const char *ops_port_gone(struct ops *o, const struct seen *s, const struct port *p)
{
	if (p->life.pid && !identity_alive(&p->life))
		return "its process has ended";
	if (!seen_has(s, p->ifname))
		return p->kind == PORT_TAP ? "its TAP device is gone" : "its link is gone";
	return p->kind != PORT_CLONE || clone_there(o, p) ? NULL
							  : "its namespace or a device is gone";
}
