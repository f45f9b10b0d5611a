// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "vpc/policy.h"
#include "vpc/policy_groups.h"
#include "vpc/port.h"
#include "vpc/vpc.h"

struct lookup {
	struct store *st;
	const char *vpc;
	const char *file; /* NULL: what does not exist is nobody */
	struct err *err;
};

struct found {
	struct cidr *cidrs;
	size_t n;
};

static void add_cidr(struct found *f, const struct cidr *c)
{
	if (c->addr.family)
		f->cidrs[f->n++] = *c;
}

static void add_ip(struct found *f, const struct ip *ip)
{
	struct cidr c = {.addr = *ip, .prefix = (unsigned int)ip_len(ip->family) * 8};

	add_cidr(f, &c);
}

static int find_subnet(const struct lookup *l, const char *vpc, const char *name, struct found *f)
{
	struct subnet s;
	int r = subnet_load(l->st, vpc, name, &s, NULL);

	if (r || s.state == ROW_DELETING)
		return r ? r : -ENOENT;
	add_cidr(f, &s.cidr);
	add_cidr(f, &s.cidr6);
	return 0;
}

static int find_port(const struct lookup *l, const char *vpc, const char *name, struct found *f)
{
	struct port p;
	int r = port_load(l->st, vpc, name, &p, NULL);

	if (r || p.state == ROW_DELETING)
		return r ? r : -ENOENT;
	add_ip(f, &p.addr);
	add_ip(f, &p.addr6);
	return 0;
}

static int find_vpc(const struct lookup *l, const char *name, struct found *f)
{
	struct vpc v;
	int r = vpc_load(l->st, name, &v, NULL);

	if (r || v.state == ROW_DELETING)
		return r ? r : -ENOENT;
	add_cidr(f, &v.cidr);
	add_cidr(f, &v.cidr6);
	return 0;
}

static int find(const struct lookup *l, const char *name, struct found *f)
{
	_free_ char *vpc = xstrdup(name);
	char *slash = strchr(vpc, '/');
	int r;

	if (slash)
		*slash++ = '\0';
	r = find_subnet(l, slash ? vpc : l->vpc, slash ? slash : name, f);
	if (r != -ENOENT)
		return r;
	return slash ? find_port(l, vpc, slash, f) : find_vpc(l, name, f);
}

/* ---- What was probably meant ---- */

struct guess {
	const char *wanted;
	char best[NAME_MAX_LEN * 2];
	unsigned int distance;
};

static void guess_add(struct guess *g, const char *vpc, const char *name)
{
	char text[NAME_MAX_LEN * 2];
	unsigned int d;

	snprintf(text, sizeof(text), "%s%s%s", vpc, *vpc ? "/" : "", name);
	d = str_distance(g->wanted, text);
	if (d >= g->distance)
		return;
	g->distance = d;
	memcpy(g->best, text, sizeof(text));
}

static void guess_all(const struct lookup *l, struct guess *g)
{
	_free_ struct subnet *s = NULL;
	_free_ struct port *p = NULL;
	_free_ struct vpc *v = NULL;
	size_t n_subnets = 0, n_ports = 0, n_vpcs = 0;

	if (subnet_list(l->st, NULL, &s, &n_subnets, NULL) ||
	    port_list(l->st, NULL, &p, &n_ports, NULL) || vpc_list(l->st, &v, &n_vpcs, NULL))
		return;
	for (size_t i = 0; i < n_subnets; i++) {
		guess_add(g, s[i].vpc, s[i].name);
		if (!strcmp(s[i].vpc, l->vpc))
			guess_add(g, "", s[i].name);
	}
	for (size_t i = 0; i < n_ports; i++)
		guess_add(g, p[i].vpc, p[i].name);
	for (size_t i = 0; i < n_vpcs; i++)
		guess_add(g, "", v[i].name);
}

static int unknown(const struct lookup *l, const struct policy_rule *r)
{
	struct guess g = {.wanted = r->group, .distance = (unsigned int)strlen(r->group) / 2 + 1};

	err_set(l->err, ERR_USAGE, -EINVAL,
		"%s:%u:%u: there is no subnet, VM or VPC \"%s\", and it is no address", l->file,
		r->group_line, r->group_column, r->group);
	guess_all(l, &g);
	if (*g.best)
		err_append(l->err, ": did you mean \"%s\"?", g.best);
	return -EINVAL;
}

static int resolve_group(const struct policy_rule *r, struct cidr ret[POLICY_GROUP_CIDRS],
			 size_t *n, void *arg)
{
	const struct lookup *l = arg;
	struct found f = {.cidrs = ret};
	int e = find(l, r->group, &f);

	*n = f.n;
	if (e == -ENOENT)
		return l->file ? unknown(l, r) : 0;
	return e ? err_errno(l->err, e, "cannot look up '%s'", r->group) : 0;
}

int policy_groups_resolve(struct store *st, const char *vpc, struct policy *p, struct err *err)
{
	struct lookup l = {.st = st, .vpc = vpc, .err = err};

	return policy_resolve(p, resolve_group, &l);
}

int policy_groups_check(struct store *st, const char *vpc, const char *file, struct policy *p,
			struct err *err)
{
	struct lookup l = {.st = st, .vpc = vpc, .file = file, .err = err};

	return policy_resolve(p, resolve_group, &l);
}
