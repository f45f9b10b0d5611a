// SPDX-License-Identifier: GPL-2.0-or-later
/* What can be checked when all of a file has been read. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/file.h"
#include "config/impl.h"
#include "vpc/clone.h"
#include "vpc/plan.h"
#include "vpc/policy.h"

/* ---- networks ---- */

/* A network somewhere in the file. */
struct range {
	const struct cidr *net;
	const char *vpc; /* of a subnet; "" of a VPC */
	const char *name;
	struct fy_node *at;
};

static int by_address(const void *a, const void *b)
{
	const struct range *x = a, *y = b;
	int order = strcmp(x->vpc, y->vpc);

	if (!order)
		order = ip_cmp(&x->net->addr, &y->net->addr);
	return order ? order : (int)x->net->prefix - (int)y->net->prefix;
}

static int refuse_overlap(struct config *c, const struct range *a, const struct range *b,
			  struct err *err)
{
	const struct range *first = config_line(c, a->at) <= config_line(c, b->at) ? a : b;
	const struct range *later = first == a ? b : a;
	char one[CIDR_STRLEN], two[CIDR_STRLEN];

	return doc_error(c->doc, later->at, err, "%s of \"%s\" overlaps %s of \"%s\", line %u",
			 cidr_format(later->net, one), later->name, cidr_format(first->net, two),
			 first->name, config_line(c, first->at));
}

/* Of networks in the order of their addresses, any two that overlap have neighbours that do. */
static int check_ranges(struct config *c, struct range *ranges, size_t n, struct err *err)
{
	if (n)
		qsort(ranges, n, sizeof(*ranges), by_address);
	for (size_t i = 1; i < n; i++) {
		const struct range *a = &ranges[i - 1], *b = &ranges[i];

		if (!strcmp(a->vpc, b->vpc) && cidr_overlaps(a->net, b->net))
			return refuse_overlap(c, a, b, err);
	}
	return 0;
}

static int check_overlaps(struct config *c, bool v6, struct err *err)
{
	_free_ struct range *ranges = xcalloc(c->n_vpcs + c->n_subnets + 1, sizeof(*ranges));
	size_t n = 0;

	for (size_t i = 0; i < c->n_vpcs; i++) {
		struct config_vpc *v = &c->vpcs[i];
		const struct cidr *net = v6 ? &v->v.cidr6 : &v->v.cidr;

		if (net->addr.family)
			ranges[n++] = (struct range){net, "", v->v.name, v->at};
	}
	for (size_t i = 0; i < c->n_subnets; i++) {
		struct config_subnet *s = &c->subnets[i];
		const struct cidr *net = v6 ? &s->s.cidr6 : &s->s.cidr;

		if (net->addr.family)
			ranges[n++] = (struct range){net, s->s.vpc, s->s.name, s->at};
	}
	return check_ranges(c, ranges, n, err);
}

/* ---- names ---- */

struct config_vpc *config_find_vpc(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->n_vpcs; i++)
		if (!strcmp(c->vpcs[i].v.name, name))
			return &c->vpcs[i];
	return NULL;
}

/* VPCs and networks have one space of names. */
static int check_vpc_names(struct config *c, struct err *err)
{
	for (size_t i = 0; i < c->n_vpcs; i++) {
		struct config_vpc *v = &c->vpcs[i], *other = config_find_vpc(c, v->v.name);

		if (other != v)
			return doc_error(c->doc, v->at, err,
					 "\"%s\" is already the name of what stands in line %u",
					 v->v.name, config_line(c, other->at));
	}
	return 0;
}

static int unknown_vpc(struct config *c, struct fy_node *at, const char *name, const char *what,
		       struct err *err)
{
	_free_ const char **names = xcalloc(c->n_vpcs + 1, sizeof(*names));
	const char *near;
	size_t n = 0;

	for (size_t i = 0; i < c->n_vpcs; i++)
		names[n++] = c->vpcs[i].v.name;
	near = str_nearest(name, names, n);
	return doc_error(c->doc, at, err, "there is no %s \"%s\" in this file%s%s%s", what, name,
			 near ? ": did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static int unknown_subnet(struct config *c, const struct config_vm *vm, struct err *err)
{
	_free_ const char **names = xcalloc(c->n_subnets + 1, sizeof(*names));
	const char *near;
	size_t n = 0;

	for (size_t i = 0; i < c->n_subnets; i++)
		if (!strcmp(c->subnets[i].s.vpc, vm->p.vpc))
			names[n++] = c->subnets[i].s.name;
	near = str_nearest(vm->p.subnet, names, n);
	return doc_error(c->doc, vm->at, err, "VPC \"%s\" has no subnet \"%s\"%s%s%s", vm->p.vpc,
			 vm->p.subnet, near ? ": did you mean \"" : "", near ? near : "",
			 near ? "\"?" : "");
}

/* ---- peerings ---- */

static bool same_allow(const struct peer *a, const struct peer *b)
{
	bool same = a->n_allow == b->n_allow;

	for (size_t i = 0; same && i < a->n_allow; i++)
		same = cidr_equal(&a->allow[i], &b->allow[i]);
	return same;
}

static bool inside(const struct cidr *c, const struct vpc *v)
{
	const struct cidr *net = c->addr.family == AF_INET6 ? &v->cidr6 : &v->cidr;

	return net->addr.family && cidr_contains(net, c);
}

static int check_peer(struct config *c, const struct config_peer *p, struct err *err)
{
	const struct config_vpc *a = config_find_vpc(c, p->p.a), *b = config_find_vpc(c, p->p.b);
	char text[CIDR_STRLEN];

	if (!a || !b)
		return unknown_vpc(c, p->at, a ? p->p.b : p->p.a, "VPC", err);
	for (size_t i = 0; i < p->p.n_allow; i++)
		if (!inside(&p->p.allow[i], &a->v) && !inside(&p->p.allow[i], &b->v))
			return doc_error(c->doc, p->at, err,
					 "%s is inside neither \"%s\" nor \"%s\"",
					 cidr_format(&p->p.allow[i], text), a->v.name, b->v.name);
	return 0;
}

static int by_pair(const void *a, const void *b)
{
	const struct config_peer *x = a, *y = b;
	int order = strcmp(x->p.a, y->p.a);

	return order ? order : strcmp(x->p.b, y->p.b);
}

/* Both VPCs may say it, as long as they say the same. */
static int check_peers(struct config *c, struct err *err)
{
	size_t kept = 0;
	int r = 0;

	if (c->n_peers)
		qsort(c->peers, c->n_peers, sizeof(*c->peers), by_pair);
	for (size_t i = 0; !r && i < c->n_peers; i++) {
		const struct config_peer *p = &c->peers[i], *last = &c->peers[kept ? kept - 1 : 0];

		if (!kept || by_pair(p, last)) {
			r = check_peer(c, p, err);
			c->peers[kept++] = *p;
		} else if (!same_allow(&p->p, &last->p)) {
			r = doc_error(
				c->doc, p->at, err,
				"\"%s\" and \"%s\" are peered in line %u, too, but not with the "
				"same networks allowed",
				p->p.a, p->p.b, config_line(c, last->at));
		}
	}
	c->n_peers = kept;
	return r;
}

/* ---- virtual machines ---- */

static const struct subnet *find_subnet(const struct config *c, const struct port *p)
{
	for (size_t i = 0; i < c->n_subnets; i++) {
		const struct subnet *s = &c->subnets[i].s;

		if (!strcmp(s->name, p->subnet) && !strcmp(s->vpc, p->vpc))
			return s;
	}
	return NULL;
}

/* One that the network can give: not its own, not the gateway's. */
static int check_address(struct config *c, const struct config_vm *vm, const struct vpc *v,
			 const struct cidr *net, const struct ip *ip, struct err *err)
{
	char text[IP_STRLEN], cidr[CIDR_STRLEN];
	struct ip first, last;

	if (!ip->family)
		return 0;
	if (!net->addr.family)
		return doc_error(c->doc, vm->at, err, "VM \"%s\": %s, but its network has no IPv6",
				 vm->p.name, ip_format(ip, text));
	if (plan_pool(v, net, &first, &last, err))
		return doc_error_at(c->doc, vm->at, err);
	if (ip_cmp(ip, &first) >= 0 && ip_cmp(ip, &last) <= 0)
		return 0;
	return doc_error(c->doc, vm->at, err, "VM \"%s\": %s is no address that %s can give",
			 vm->p.name, ip_format(ip, text), cidr_format(net, cidr));
}

static int check_vm(struct config *c, const struct config_vm *vm, struct err *err)
{
	const struct config_vpc *v = config_find_vpc(c, vm->p.vpc);
	const struct subnet *s = NULL;
	struct port twin = vm->p, clone = vm->p;
	int r;

	memcpy(twin.subnet, vm->p.name, sizeof(twin.subnet));
	if (!v)
		return unknown_vpc(c, vm->at, vm->p.vpc, "network", err);
	if (v->v.flat != !*vm->p.subnet)
		return doc_error(c->doc, vm->at, err,
				 v->v.flat ? "network \"%s\" has no subnets"
					   : "\"%s\" is a VPC: name one of its subnets, VPC/SUBNET",
				 v->v.name);
	if (find_subnet(c, &twin))
		return doc_error(c->doc, vm->at, err,
				 "VM \"%s\" has the name of a subnet of \"%s\"", vm->p.name,
				 v->v.name);
	if (vm->p.kind == PORT_CLONE && clone_check(&v->v, &clone, err))
		return doc_error_at(c->doc, vm->at, err);
	s = v->v.flat ? NULL : find_subnet(c, &vm->p);
	if (!v->v.flat && !s)
		return unknown_subnet(c, vm, err);
	r = check_address(c, vm, &v->v, s ? &s->cidr : &v->v.cidr, &vm->p.addr, err);
	return r ? r : check_address(c, vm, &v->v, s ? &s->cidr6 : &v->v.cidr6, &vm->p.addr6, err);
}

/* What two machines, or two of a network, must not both have. */
static const char *shared(const struct port *a, const struct port *b)
{
	static const struct mac none;

	if (*a->clone.netns && !strcmp(a->clone.netns, b->clone.netns))
		return "namespace";
	if (strcmp(a->vpc, b->vpc) != 0)
		return NULL;
	if ((a->addr.family && ip_equal(&a->addr, &b->addr)) ||
	    (a->addr6.family && ip_equal(&a->addr6, &b->addr6)))
		return "address";
	return memcmp(&a->mac, &none, sizeof(none)) && !memcmp(&a->mac, &b->mac, sizeof(none))
		       ? "MAC address"
		       : NULL;
}

static int check_distinct(struct config *c, size_t i, struct err *err)
{
	for (size_t k = 0; k < i; k++) {
		const char *what = shared(&c->vms[i].p, &c->vms[k].p);

		if (what)
			return doc_error(c->doc, c->vms[i].at, err,
					 "VM \"%s\" has the %s of \"%s\", line %u",
					 c->vms[i].p.name, what, c->vms[k].p.name,
					 config_line(c, c->vms[k].at));
	}
	return 0;
}

static int check_vms(struct config *c, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < c->n_vms; i++) {
		r = check_vm(c, &c->vms[i], err);
		if (!r)
			r = check_distinct(c, i, err);
	}
	return r;
}

/* ---- policies ---- */

static int check_policy(struct config *c, struct fy_node *at, const char *file, bool *ret_names,
			struct err *err)
{
	_policy_ struct policy *p = NULL;
	_buf_ struct buf text = {0};
	int r = file_read(file, DOC_SIZE_MAX, &text, err);

	if (r)
		return doc_error_at(c->doc, at, err);
	r = policy_parse(file, text.data, text.len, &p, err);
	*ret_names = !r && p->has_groups;
	return r;
}

/* A file that many subnets share is read once. */
static int check_policies(struct config *c, struct err *err)
{
	const struct config_subnet *last = NULL;
	int r = 0;

	for (size_t i = 0; !r && i < c->n_subnets; i++) {
		struct config_subnet *s = &c->subnets[i];

		if (!s->policy)
			continue;
		if (last && !strcmp(s->policy, last->policy))
			s->policy_names = last->policy_names;
		else
			r = check_policy(c, s->policy_at, s->policy, &s->policy_names, err);
		last = s;
	}
	for (size_t i = 0; !r && i < c->n_vms; i++) {
		struct config_vm *vm = &c->vms[i];

		if (vm->policy)
			r = check_policy(c, vm->policy_at, vm->policy, &vm->policy_names, err);
	}
	return r;
}

int config_check(struct config *c, struct err *err)
{
	int r = check_vpc_names(c, err);

	if (!r)
		r = check_overlaps(c, false, err);
	if (!r)
		r = check_overlaps(c, true, err);
	if (!r)
		r = check_peers(c, err);
	if (!r)
		r = check_vms(c, err);
	if (!r)
		r = config_check_ways(c, err);
	if (!r)
		r = config_check_ports(c, err);
	return r ? r : check_policies(c, err);
}
