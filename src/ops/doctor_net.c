// SPDX-License-Identifier: GPL-2.0-or-later
/* Settings, routes, rules of routing and resolvers. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ip.h"
#include "base/resolvers.h"
#include "kernel/link.h"
#include "kernel/netns.h"
#include "kernel/route.h"
#include "kernel/rule.h"
#include "kernel/sysctl.h"
#include "ops/doctor.h"
#include "ops/ops.h"
#include "ops/tunnel.h"
#include "session/session.h"
#include "tunnel/capture.h"
#include "vpc/names.h"
#include "vpc/vpc.h"
#include "vpc/way.h"

static const int families[] = {AF_INET, AF_INET6};

/* ---- Forwarding ---- */

/* As gc does: what the switch was before the first VPC is known already. */
static int mend_forwarding(struct ops *o, const struct finding *f, struct err *err)
{
	return ops_forwarding_on(o, !strcmp(f->target, "6"), NULL, err);
}

static void check_switch(struct ops *o, const char *key, const char *family, struct findings *f)
{
	char value[SYSCTL_VALUE_MAX];
	struct finding *one;

	if (sysctl_get(o->host, key, value, NULL) || strcmp(value, "0"))
		return;
	one = doctor_found(f, SEVERITY_PROBLEM, "%s is 0: something switched it off", key);
	doctor_why(one, "the host routes for VPCs and sessions");
	doctor_fix(one, "sysctl -w %s=1", key);
	snprintf(one->target, sizeof(one->target), "%s", family);
	one->mend = mend_forwarding;
}

int doctor_forwarding(struct ops *o, struct findings *f, struct err *err)
{
	int64_t vpcs6 = 0;
	int r = row_number(o->st, "SELECT COUNT(*) FROM vpc WHERE cidr6 IS NOT NULL", NULL, &vpcs6,
			   err);

	if (r || !f->in_use)
		return r;
	check_switch(o, "net/ipv4/ip_forward", "4", f);
	if (vpcs6)
		check_switch(o, "net/ipv6/conf/all/forwarding", "6", f);
	return 0;
}

/* ---- Reverse path filter ---- */

#define KEY_MAX (64 + IFNAMSIZ)

static const char *key_of(const char *link, const char *name, char ret[KEY_MAX])
{
	snprintf(ret, KEY_MAX, "net/ipv4/conf/%s/%s", link, name);
	return ret;
}

static int setting_of(struct ops *o, const char *link, const char *name)
{
	char key[KEY_MAX], value[SYSCTL_VALUE_MAX];

	return sysctl_get(o->host, key_of(link, name, key), value, NULL) ? 0 : atoi(value);
}

/* The larger of the two counts (ip-sysctl.rst); 1 is strict. */
static bool is_strict(struct ops *o, const char *link)
{
	return MAX(setting_of(o, link, "rp_filter"), setting_of(o, "all", "rp_filter")) == 1;
}

static void check_way_out(struct ops *o, const char *link, const char *default_link,
			  struct findings *f)
{
	char key[KEY_MAX];
	struct finding *one;

	if (!strcmp(link, default_link) || !is_strict(o, link))
		return;
	one = doctor_found(
		f, SEVERITY_WARNING,
		"the reverse path filter of %s is strict, and the default route goes out of "
		"%s",
		link, *default_link ? default_link : "nothing");
	doctor_why(one,
		   "answers from addresses that the main table would send elsewhere are dropped "
		   "where they come in");
	doctor_fix_setting(one, key_of(link, "rp_filter", key), "2");
}

/* The way back is looked up with the mark that says by which egress a packet leaves, and found to
 * be that egress's leg. */
static void check_marked(struct ops *o, const char *link, struct findings *f)
{
	char key[KEY_MAX];
	struct finding *one;

	if (!is_strict(o, link) ||
	    !(setting_of(o, link, "src_valid_mark") || setting_of(o, "all", "src_valid_mark")))
		return;
	key_of(link, "rp_filter", key);
	for (size_t i = 0; i < f->n; i++)
		if (!strcmp(f->v[i].target, key))
			return;
	one = doctor_found(
		f, SEVERITY_PROBLEM,
		"the reverse path filter of %s is strict and looks at marks (src_valid_mark)",
		link);
	doctor_why(one, "what goes out by an egress is dropped where it comes in");
	doctor_fix_setting(one, key, "2");
}

static int check_users(struct ops *o, struct findings *f, struct err *err)
{
	_free_ struct use *uses = NULL;
	struct vpc v;
	size_t n = 0;
	int r = use_list(o->st, &uses, &n, err);

	for (size_t i = 0; !r && i < n; i++)
		if (*uses[i].list && !vpc_load(o->st, uses[i].vpc, &v, NULL))
			check_marked(o, v.bridge, f);
	return r;
}

/* Those that go out by another egress. */
static int check_carriers(struct ops *o, struct findings *f, struct err *err)
{
	struct egress *e = NULL;
	struct session *s = NULL;
	size_t n = 0, n_sessions = 0;
	char group[NAME_MAX_LEN];
	int r = egress_list(o->st, &e, &n, err);

	if (!r)
		r = session_list(o->st, NULL, &s, &n_sessions, err);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; *e[i].via && k < n_sessions; k++)
			if (!strcmp(s[k].group, egress_group(e[i].name, group)))
				check_marked(o, s[k].veth_host, f);
	session_list_free(s, n_sessions);
	egress_list_free(e, n);
	return r;
}

static int check_nats(struct ops *o, struct findings *f, struct err *err)
{
	_free_ struct nat *nats = NULL;
	char default_link[IFNAMSIZ] = "";
	size_t n = 0;
	int r = nat_list(o->st, &nats, &n, err);

	route_default_link(o->host, default_link, NULL);
	for (size_t i = 0; !r && i < n; i++) {
		bool seen = false;

		for (size_t k = 0; k < i; k++)
			seen = seen || !strcmp(nats[k].interface, nats[i].interface);
		if (!seen)
			check_way_out(o, nats[i].interface, default_link, f);
	}
	return r;
}

int doctor_rp_filter(struct ops *o, struct findings *f, struct err *err)
{
	int r = check_nats(o, f, err);

	if (!r)
		r = check_users(o, f, err);
	return r ? r : check_carriers(o, f, err);
}

/* ---- Routes of others into networks of ours ---- */

struct link_name {
	char name[IFNAMSIZ];
	int index;
	bool ours;
};

struct routes {
	struct findings *f;
	struct link_name *links;
	size_t n_links;
	const struct vpc *vpcs;
	size_t n_vpcs;
};

static int note_link(const struct link *link, void *arg)
{
	struct routes *r = arg;
	struct link_name *one;

	r->links = xrealloc(r->links, r->n_links + 1, sizeof(*r->links));
	one = &r->links[r->n_links++];
	*one = (struct link_name){.index = link->index, .ours = link_is_ours(link)};
	memcpy(one->name, link->name, sizeof(one->name));
	return 0;
}

static void found_overlap(struct findings *f, const struct vpc *v, const struct cidr *net,
			  const struct route *route, const char *link)
{
	bool hides = route->dst.prefix >= net->prefix;
	const char *who = doctor_link_owner(link);
	char a[CIDR_STRLEN], b[CIDR_STRLEN];
	struct finding *one = doctor_found(
		f, hides ? SEVERITY_PROBLEM : SEVERITY_WARNING,
		"%s goes to %s%s%s, and VPC %s has %s", cidr_format(&route->dst, a), link,
		who ? ", a network of " : "", who ? who : "", v->name, cidr_format(net, b));

	doctor_why(one, hides ? "what is meant for the VPC goes there instead"
			      : "what is meant for that part of the other network goes to the VPC");
	doctor_fix(one, "ip route del %s dev %s table %u", a, link, route->table);
}

static int check_route(const struct route *route, void *arg)
{
	const struct routes *r = arg;
	const struct link_name *link = NULL;

	for (size_t i = 0; i < r->n_links; i++)
		if (r->links[i].index == route->ifindex)
			link = &r->links[i];
	if (!link || link->ours || route->type != RTN_UNICAST || !route->dst.prefix ||
	    route->protocol == ROUTE_PROTOCOL)
		return 0;
	for (size_t i = 0; i < r->n_vpcs; i++) {
		const struct vpc *v = &r->vpcs[i];
		const struct cidr *net = route->dst.addr.family == AF_INET6 ? &v->cidr6 : &v->cidr;

		if (net->addr.family && cidr_overlaps(net, &route->dst))
			found_overlap(r->f, v, net, route, link->name);
	}
	return 0;
}

int doctor_overlaps(struct ops *o, struct findings *f, struct err *err)
{
	_free_ struct vpc *vpcs = NULL;
	struct routes routes = {.f = f};
	int r = vpc_list(o->st, &vpcs, &routes.n_vpcs, err);

	routes.vpcs = vpcs;
	if (!r)
		r = link_each(o->host, note_link, &routes, err);
	for (size_t i = 0; !r && i < ARRAY_SIZE(families); i++)
		r = route_each(o->host, families[i], check_route, &routes, err);
	free(routes.links);
	return r;
}

/* ---- Rules of routing ---- */

#define OUR_PRIORITY_MIN 9800u
#define OUR_PRIORITY_MAX 9899u

static bool is_in_our_range(const struct rule *rule)
{
	return rule->priority >= OUR_PRIORITY_MIN && rule->priority <= OUR_PRIORITY_MAX;
}

struct has_default {
	uint32_t table;
	bool yes;
};

static int note_default(const struct route *route, void *arg)
{
	struct has_default *has = arg;

	if (route->table == has->table && !route->dst.prefix && route->type == RTN_UNICAST)
		has->yes = true;
	return 0;
}

struct rules {
	struct ops *o;
	struct findings *f;
	struct err *err;
};

static void found_rule(const struct rules *c, const struct rule *rule, const char *what,
		       const char *why)
{
	struct finding *one =
		doctor_found(c->f, c->f->tunnel ? SEVERITY_PROBLEM : SEVERITY_WARNING,
			     "the rule of routing with priority %u, of another program, %s",
			     rule->priority, what);

	doctor_why(one, "%s", why);
	doctor_fix(one, "ip %srule del priority %u", rule->family == AF_INET6 ? "-6 " : "",
		   rule->priority);
}

/* Before ours, for every packet, to a table that knows a way for all. */
static int check_before(const struct rules *c, const struct rule *rule)
{
	struct has_default has = {.table = rule->table};
	int r;

	if (!rule->priority || rule->priority >= OUR_PRIORITY_MIN || rule->selects ||
	    rule->specifics)
		return 0;
	r = route_each(c->o->host, rule->family, note_default, &has, c->err);
	if (!r && has.yes)
		found_rule(
			c, rule, "sends everything elsewhere before a tunnel's rule is asked",
			"what a tunnel captures goes there instead, and its kill switch drops it");
	return r;
}

static int check_rule(const struct rule *rule, void *arg)
{
	const struct rules *c = arg;

	if (rule->protocol == ROUTE_PROTOCOL)
		return 0;
	if (is_in_our_range(rule)) {
		found_rule(c, rule, "is in byway's range (9800 to 9899)",
			   "which of the two is asked first is a matter of chance");
		return 0;
	}
	return check_before(c, rule);
}

int doctor_routing_rules(struct ops *o, struct findings *f, struct err *err)
{
	struct rules c = {o, f, err};
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(families); i++)
		r = rule_each(o->host, families[i], check_rule, &c, err);
	return r;
}

/* ---- Ways out, beside a tunnel of the host's ---- */

/* One for everybody, and for all networks. */
static bool takes_all(const json_t *tunnel)
{
	const json_t *captures = json_object_get(tunnel, "captures");

	return captures && !json_array_size(json_object_get(captures, "include")) &&
	       !json_is_true(json_object_get(captures, "members_only"));
}

static void check_blocked(const struct use *uses, size_t n, const char *kind, struct findings *f)
{
	_buf_ struct buf names = {0};
	char user[USE_STRLEN];
	struct finding *one;

	for (size_t i = 0; i < n; i++)
		if (*uses[i].list)
			buf_addf(&names, "%s%s", names.len ? ", " : "", use_format(&uses[i], user));
	if (!names.len)
		return;
	one = doctor_found(
		f, SEVERITY_PROBLEM,
		"the host has a tunnel, beside which nobody goes out by egresses: %.200s",
		names.data);
	doctor_why(one,
		   "it captures what carries egresses, and blocks what is sent into them and "
		   "what gateways ask there for names; `byway egress use host` is a way out of "
		   "the host's that goes with them");
	doctor_fix(one, "byway %s down", kind);
}

int doctor_ways_out(struct ops *o, struct findings *f, struct err *err)
{
	_free_ struct use *uses = NULL;
	json_t *tunnel = NULL;
	const char *kind;
	size_t n = 0;
	int r = f->tunnel ? use_list(o->st, &uses, &n, err) : 0;

	if (!r && n)
		r = ops_tunnel_status(TUNNEL_DIR, NULL, &tunnel, err);
	kind = json_string_value(json_object_get(tunnel, "kind"));
	if (!r && n && takes_all(tunnel))
		check_blocked(uses, n, kind ? kind : "ssh", f);
	json_decref(tunnel);
	return r;
}

/* ---- Resolvers ---- */

#define RESOLVERS_MAX 8

/* Is there a route? Connecting a datagram socket asks for one and sends nothing. */
static bool has_route(const struct ip *ip)
{
	struct sockaddr_storage to;
	socklen_t len = ip_to_sockaddr(ip, 53, &to);
	_close_ int fd = socket(ip->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && !connect(fd, (struct sockaddr *)&to, len);
}

static void check_resolver(const struct ip *ip, struct findings *f)
{
	char text[IP_STRLEN];
	struct finding *one;

	if (has_route(ip))
		return;
	one = doctor_found(f, SEVERITY_WARNING, "there is no route to the resolver %s (%s)",
			   ip_format(ip, text), strerror(errno));
	doctor_why(one, "names are not resolved, those of proxies and servers among them");
}

/* A subnet has the host's /etc/resolv.conf, and nobody listens on its loopback. */
static int check_stub(struct ops *o, const struct ip *behind, struct findings *f, struct err *err)
{
	_free_ struct subnet *s = NULL;
	char path[192], addr[IP_STRLEN];
	struct finding *one;
	size_t n = 0;
	int r = subnet_list(o->st, NULL, &s, &n, err);

	for (size_t i = 0; !r && i < n; i++) {
		snprintf(path, sizeof(path), "/etc/netns/%s/resolv.conf", s[i].netns);
		if (!access(path, F_OK))
			continue;
		one = doctor_found(
			f, SEVERITY_NOTE,
			"programs in %s/%s ask a resolver on their own loopback, where there "
			"is none",
			s[i].vpc, s[i].name);
		doctor_why(one, "/etc/resolv.conf names a stub of this host");
		doctor_fix(one, "mkdir -p /etc/netns/%s && echo nameserver %s >%s", s[i].netns,
			   ip_format(behind, addr), path);
		break; /* the others are like it */
	}
	return r;
}

static bool is_stub(void)
{
	_fclose_ FILE *f = fopen("/etc/resolv.conf", "re");
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "nameserver 127.", 15) || !strncmp(line, "nameserver ::1", 14))
			return true;
	return false;
}

int doctor_resolvers(struct ops *o, struct findings *f, struct err *err)
{
	struct ip resolvers[RESOLVERS_MAX];
	size_t n = resolvers_read(resolvers, RESOLVERS_MAX);
	struct finding *one;

	if (!n) {
		one = doctor_found(f, SEVERITY_WARNING, "%s",
				   is_stub()
					   ? "/etc/resolv.conf names a stub on loopback only, and "
					     "whom that asks is not known"
					   : "/etc/resolv.conf names no resolver");
		doctor_why(one,
			   "a tunnel with --dns bypass lets nobody be asked, unless --allow-dns "
			   "names them");
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		check_resolver(&resolvers[i], f);
	return is_stub() ? check_stub(o, &resolvers[0], f, err) : 0;
}
