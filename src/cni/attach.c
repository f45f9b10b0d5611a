// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cni/cni.h"
#include "cni/delegate.h"
#include "cni/result.h"
#include "kernel/link.h"
#include "kernel/netns.h"
#include "vpc/mapping.h"
#include "vpc/port.h"

int cni_find(struct cni_job *j, struct port *ret)
{
	int r = port_load_attachment(j->ops.st, j->args.container, j->args.ifname, ret,
				     &j->error.err);

	return !r && strcmp(ret->attachment.config, j->config.name) != 0 ? -ENOENT : r;
}

int cni_ask_ipam(struct cni_job *j, const char *command, json_t **ret)
{
	if (!j->config.ipam)
		return 0;
	return cni_delegate(j->config.ipam, j->args.path, command, &j->text, ret, &j->error);
}

/* ---- ADD ---- */

struct add {
	struct cni_job *j;
	struct netns *inside;
	struct vpc vpc;
	struct port port;
	json_t *ipam; /* its result */
	struct cni_given given;
};

static void add_done(struct add *a)
{
	netns_free(a->inside);
	json_decref(a->ipam);
}

static int open_inside(struct add *a)
{
	struct cni_error *e = &a->j->error;
	const char *path = a->j->args.netns;
	struct stat theirs, ours;
	int r = netns_open_path(path, &a->j->ops.log, &a->inside, &e->err);

	if (r == -ENOENT)
		e->code = CNI_NO_CONTAINER;
	if (r)
		return r;
	if (!fstat(a->inside->fd, &theirs) && !stat("/proc/self/ns/net", &ours) &&
	    theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev)
		return cni_fail(e, CNI_ENVIRONMENT, "CNI_NETNS: %s is the host's own", path);
	return 0;
}

static int check_free(struct add *a)
{
	const char *name = a->j->args.ifname;
	struct link link;
	int r = link_get(a->inside, name, &link, &a->j->error.err);

	if (r == -ENODEV)
		return 0;
	return r ? r
		 : cni_fail(&a->j->error, CNI_CONFLICT, "the container has an interface %s already",
			    name);
}

/* A container that came back after a crash has none of its former interfaces. */
static int clear_former(struct add *a)
{
	struct cni_job *j = a->j;
	struct port former;
	int r = port_load_attachment(j->ops.st, j->args.container, j->args.ifname, &former,
				     &j->error.err);

	if (r)
		return r == -ENOENT ? 0 : r;
	if (former.state == ROW_ACTIVE && ops_port_there(&j->ops, &former))
		return cni_fail(&j->error, CNI_CONFLICT,
				"container %s has %s already, in network '%s'", j->args.container,
				j->args.ifname, former.vpc);
	return ops_ports_delete(&j->ops, &former, 1, &j->error.err);
}

/* The network is asked for in the configuration, or is what the IPAM plugin gives addresses of. */
static void network_of(const struct add *a, struct network_params *p, char given[2][CIDR_STRLEN])
{
	const struct cni_config *c = &a->j->config;

	*p = (struct network_params){.vpc = {.name = c->network,
					     .cidr = c->cidr,
					     .cidr6 = c->cidr6,
					     .mtu_bytes = c->mtu_bytes},
				     .no_nat = c->no_nat};
	for (size_t i = 0; i < a->given.n; i++) {
		struct cidr net = {cidr_first(&a->given.addrs[i]), a->given.addrs[i].prefix};

		cidr_format(&net, given[i]);
		if (net.addr.family == AF_INET && !p->vpc.cidr)
			p->vpc.cidr = given[i];
		if (net.addr.family == AF_INET6 && !p->vpc.cidr6)
			p->vpc.cidr6 = given[i];
	}
}

static int find_network(struct add *a)
{
	const struct cni_config *c = &a->j->config;
	struct err *err = &a->j->error.err;
	struct ops *o = &a->j->ops;
	char given[CNI_ADDRS_MAX][CIDR_STRLEN];
	struct network_params p;
	bool changed;
	int r = vpc_load(o->st, c->network, &a->vpc, NULL);

	network_of(a, &p, given);
	if (!r && a->vpc.state == ROW_ACTIVE)
		return *c->subnet ? 0 : ops_network_same(&a->vpc, &p.vpc, err);
	if (r && r != -ENOENT)
		return err_errno(err, r, "cannot look up network '%s'", c->network);
	if (*c->subnet || !p.vpc.cidr)
		return cni_fail(
			&a->j->error, CNI_CONFIG,
			"there is no network '%s', and the configuration has no \"cidr\" to "
			"make it with",
			c->network);
	return ops_network_up(o, &p, &a->vpc, &changed, err);
}

/* The workload's gateway and prefix are the network's. */
static int take_given(struct add *a)
{
	struct cni_wishes *w = &a->j->config.wishes;

	for (size_t i = 0; i < a->given.n; i++) {
		const struct cidr *addr = &a->given.addrs[i];
		const struct cidr *net =
			addr->addr.family == AF_INET6 ? &a->vpc.cidr6 : &a->vpc.cidr;
		struct ip gateway = vpc_gateway(net);
		char text[CIDR_STRLEN];

		if (!net->addr.family || addr->prefix != net->prefix ||
		    (a->given.gateways[i].family && !ip_equal(&gateway, &a->given.gateways[i])))
			return cni_fail(&a->j->error, CNI_CONFIG,
					"%s of IPAM plugin '%s' does not go with network '%s': "
					"prefix and gateway have to be its own",
					cidr_format(addr, text), a->j->config.ipam, a->vpc.name);
		w->addrs[i] = addr->addr;
	}
	if (a->given.n)
		w->n_addrs = a->given.n;
	return 0;
}

static void append_aliases(struct cni_wishes *to, const char *aliases)
{
	_free_ char *copy = xstrdup(aliases);
	char *rest = NULL;

	for (char *a = strtok_r(copy, " ", &rest); a; a = strtok_r(NULL, " ", &rest))
		cni_wish_alias(to, a);
}

/* What is said in CNI_ARGS counts like what is said in the configuration. */
static int merge_wishes(struct cni_job *j)
{
	static const struct mac none;
	struct cni_wishes *to = &j->config.wishes;
	const struct cni_wishes *from = &j->args.wishes;
	char text[IP_STRLEN];
	int r = 0;

	for (size_t i = 0; !r && i < from->n_addrs; i++)
		r = cni_wish_addr(to, CNI_ENVIRONMENT, "CNI_ARGS: IP",
				  ip_format(&from->addrs[i], text), &j->error);
	if (memcmp(&from->mac, &none, sizeof(none)) != 0)
		to->mac = from->mac;
	append_aliases(to, from->aliases);
	return r;
}

/* Containers' names are longer than ports': their beginning, and what tells them apart. */
static void name_port_of(const struct cni_args *args, struct port *p)
{
	char full[CONTAINER_MAX_LEN + IFNAMSIZ + 2];

	snprintf(full, sizeof(full), "%s/%s", args->container, args->ifname);
	snprintf(p->name, sizeof(p->name), "%.16s-%016llx", args->container, hash_str(full));
}

static void describe(struct add *a)
{
	const struct cni_config *c = &a->j->config;
	const struct cni_args *args = &a->j->args;
	struct port *p = &a->port;

	*p = (struct port){.kind = PORT_VETH,
			   .owner_uid = PORT_NO_UID,
			   .owner_gid = PORT_NO_GID,
			   .queues = 1,
			   .isolated = c->isolated,
			   .rate_rx = c->rate_rx,
			   .rate_tx = c->rate_tx,
			   .mac = c->wishes.mac};
	memcpy(p->vpc, c->network, sizeof(p->vpc));
	memcpy(p->subnet, c->subnet, sizeof(p->subnet));
	memcpy(p->attachment.container, args->container, sizeof(p->attachment.container));
	memcpy(p->attachment.ifname, args->ifname, sizeof(p->attachment.ifname));
	str_copy(p->attachment.config, sizeof(p->attachment.config), c->name);
	str_copy(p->attachment.aliases, sizeof(p->attachment.aliases), c->wishes.aliases);
	for (size_t i = 0; i < c->wishes.n_addrs; i++)
		*(c->wishes.addrs[i].family == AF_INET ? &p->addr : &p->addr6) = c->wishes.addrs[i];
	name_port_of(args, p);
}

void cni_mappings_to(struct cni_job *j, const struct port *p)
{
	for (size_t i = 0; i < j->config.n_mappings; i++) {
		struct mapping *m = &j->config.mappings[i];

		memcpy(m->vpc, p->vpc, sizeof(m->vpc));
		memcpy(m->target, p->name, sizeof(m->target));
	}
}

static int attach(struct add *a)
{
	struct cni_job *j = a->j;
	struct port_with with;
	int r = ops_open(&j->ops, STORE_WRITE, &j->error.err);

	if (!r)
		r = clear_former(a);
	if (!r)
		r = find_network(a);
	if (!r)
		r = take_given(a);
	if (r)
		return r;
	describe(a);
	cni_mappings_to(j, &a->port);
	with = (struct port_with){.mappings = j->config.mappings,
				  .n_mappings = j->config.n_mappings,
				  .policy = j->config.policy};
	return ops_port_add_with(&j->ops, &a->port, a->inside, &with, &j->error.err);
}

static int ask_addresses(struct add *a)
{
	int r = cni_ask_ipam(a->j, "ADD", &a->ipam);

	return r || !a->ipam ? r : cni_given_read(a->ipam, &a->given, &a->j->error);
}

int cni_add(struct cni_job *j)
{
	_cleanup_(add_done) struct add a = {.j = j};
	struct cni_error first;
	int r = merge_wishes(j);

	if (!r)
		r = open_inside(&a);
	if (!r)
		r = check_free(&a);
	if (r)
		return r;
	r = ask_addresses(&a);
	if (!r)
		r = attach(&a);
	if (!r) {
		j->result = cni_result(&j->config, &a.vpc, &a.port, j->args.netns,
				       j->config.dns ? j->config.dns : a.given.dns);
		return 0;
	}
	first = j->error;
	cni_ask_ipam(j, "DEL", NULL);
	j->error = first;
	return r;
}

/* ---- DEL and GC ---- */

static int detach(struct cni_job *j)
{
	struct port p;
	int r = ops_open(&j->ops, STORE_WRITE, &j->error.err);

	if (!r)
		r = cni_find(j, &p);
	if (r)
		return r == -ENOENT ? 0 : r;
	return ops_ports_delete(&j->ops, &p, 1, &j->error.err);
}

/* Both, whatever becomes of the one; the first error is told. */
static int with_ipam(struct cni_job *j, const char *command, int (*fn)(struct cni_job *j))
{
	int r = fn(j), ipam;
	struct cni_error first = j->error;

	ipam = cni_ask_ipam(j, command, NULL);
	if (r)
		j->error = first;
	return r ? r : ipam;
}

int cni_del(struct cni_job *j)
{
	return with_ipam(j, "DEL", detach);
}

static bool is_valid(const struct cni_job *j, const struct attachment *a)
{
	json_t *one;
	size_t i;

	json_array_foreach(j->config.valid_attachments, i, one)
	{
		if (!strcmp(json_string_value(json_object_get(one, "containerID")), a->container) &&
		    !strcmp(json_string_value(json_object_get(one, "ifname")), a->ifname))
			return true;
	}
	return false;
}

static int collect(struct cni_job *j)
{
	_free_ struct port *p = NULL;
	size_t n = 0, stale = 0;
	int r = ops_open(&j->ops, STORE_WRITE, &j->error.err);

	if (!r)
		r = port_list(j->ops.st, NULL, &p, &n, &j->error.err);
	for (size_t i = 0; !r && i < n; i++) {
		const struct attachment *a = &p[i].attachment;

		if (*a->container && !strcmp(a->config, j->config.name) &&
		    (p[i].state != ROW_ACTIVE || !is_valid(j, a)))
			p[stale++] = p[i];
	}
	return r ? r : ops_ports_delete(&j->ops, p, stale, &j->error.err);
}

int cni_gc(struct cni_job *j)
{
	return with_ipam(j, "GC", collect);
}
