// SPDX-License-Identifier: GPL-2.0-or-later
/* What is asked about, as people write it: a flow, and its two ends. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "kernel/addr.h"
#include "ops/ops.h"
#include "ops/why_impl.h"

/* ---- Flows ---- */

static const struct {
	const char *name;
	uint8_t proto;
} protocols[] = {{"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"icmp", IPPROTO_ICMP}};

static bool read_proto(const char *text, uint8_t *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		if (!strcasecmp(text, protocols[i].name)) {
			*ret = protocols[i].proto;
			return true;
		}
	}
	return false;
}

static bool read_port(const char *text, uint16_t *ret)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	*ret = (uint16_t)n;
	return *text >= '0' && *text <= '9' && !*end && n >= 1 && n <= UINT16_MAX;
}

int why_flow_parse(const char *text, struct why_flow *ret, struct err *err)
{
	_free_ char *first = xstrdup(text);
	char *second = strchr(first, '/');

	if (second)
		*second++ = '\0';
	ret->port = 0;
	ret->proto = IPPROTO_TCP;
	if (!second && (read_port(first, &ret->port) ||
			(read_proto(first, &ret->proto) && ret->proto == IPPROTO_ICMP)))
		return 0;
	if (second &&
	    ((read_proto(first, &ret->proto) && read_port(second, &ret->port)) ||
	     (read_port(first, &ret->port) && read_proto(second, &ret->proto))) &&
	    ret->proto != IPPROTO_ICMP)
		return 0;
	return err_set(err, ERR_USAGE, -EINVAL,
		       "'%s' is not a port such as tcp/443 or udp/53, nor icmp", text);
}

/* ---- Ends ---- */

static const struct ip *pick(const struct ip *a4, const struct ip *a6, int family)
{
	return family == AF_INET6 ? a6 : a4;
}

static int load_subnet(struct ops *o, const struct subnet *s, struct why_end *ret, int family,
		       struct err *err)
{
	ret->kind = WHY_SUBNET;
	ret->subnet = *s;
	ret->addr = *pick(&s->addr, &s->addr6, family);
	return vpc_load(o->st, s->vpc, &ret->vpc, err);
}

static int load_port(struct ops *o, const struct port *p, struct why_end *ret, int family,
		     struct err *err)
{
	int r = vpc_load(o->st, p->vpc, &ret->vpc, err);

	ret->kind = WHY_PORT;
	ret->port = *p;
	ret->addr = *pick(&p->addr, &p->addr6, family);
	if (!r && *p->subnet)
		r = subnet_load(o->st, p->vpc, p->subnet, &ret->subnet, err);
	return r;
}

int why_end_by_name(struct ops *o, const char *text, int family, struct why_end *ret,
		    struct err *err)
{
	_free_ char *vpc = xstrdup(text);
	char *name = strchr(vpc, '/');
	struct subnet s;
	struct port p;
	int r;

	if (!name)
		return err_set(
			err, ERR_USAGE, -EINVAL,
			"'%s' is neither VPC/SUBNET, NETWORK/NAME, an address, nor \"" WHY_HOST
			"\"",
			text);
	*name++ = '\0';
	if (!subnet_load(o->st, vpc, name, &s, NULL))
		return load_subnet(o, &s, ret, family, err);
	if (!port_load(o->st, vpc, name, &p, NULL))
		return load_port(o, &p, ret, family, err);
	r = vpc_load(o->st, vpc, &ret->vpc, err);
	return r ? r
		 : err_set(err, ERR_NOT_FOUND, -ENOENT, "'%s' has no subnet, VM or container '%s'",
			   vpc, name);
}

/* Whoever has the address: 1 for a workload. */
static int end_by_row(struct ops *o, const struct ip *addr, struct why_end *ret, struct err *err)
{
	_free_ struct subnet *s = NULL;
	_free_ struct port *p = NULL;
	size_t n = 0;
	int r = subnet_list(o->st, NULL, &s, &n, err);

	for (size_t i = 0; !r && i < n; i++) {
		if (ip_equal(&s[i].addr, addr) || ip_equal(&s[i].addr6, addr))
			return (r = load_subnet(o, &s[i], ret, addr->family, err)) ? r : 1;
	}
	if (!r)
		r = port_list(o->st, NULL, &p, &n, err);
	for (size_t i = 0; !r && i < n; i++) {
		if (ip_equal(&p[i].addr, addr) || ip_equal(&p[i].addr6, addr))
			return (r = load_port(o, &p[i], ret, addr->family, err)) ? r : 1;
	}
	return r;
}

static int match_addr(const struct addr *a, void *arg)
{
	return ip_equal(&a->addr.addr, arg) ? -EEXIST : 0;
}

static int end_by_addr(struct ops *o, struct ip addr, struct why_end *ret, struct err *err)
{
	int r = end_by_row(o, &addr, ret, err);

	if (r)
		return r < 0 ? r : 0;
	r = addr_each(o->host, match_addr, &addr, err);
	if (r && r != -EEXIST)
		return r;
	ret->kind = r ? WHY_THIS_HOST : WHY_OUTSIDE;
	ret->addr = addr;
	return 0;
}

int why_end_find(struct ops *o, const char *text, int family, struct why_end *ret, struct err *err)
{
	struct ip addr;
	int r;

	*ret = (struct why_end){.kind = WHY_THIS_HOST};
	if (!strcmp(text, WHY_HOST))
		return 0;
	if (!ip_parse(text, &addr, NULL))
		return end_by_addr(o, addr, ret, err);
	r = why_end_by_name(o, text, family, ret, err);
	if (!r && !ret->addr.family)
		r = err_set(err, ERR_USAGE, -EAFNOSUPPORT, "'%s' has no %s address", text,
			    family == AF_INET6 ? "IPv6" : "IPv4");
	return r;
}

int why_find_family(const char *from, const char *to, struct why_flow *f, struct err *err)
{
	const char *const ends[] = {from, to};
	int said = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct ip addr;

		if (ip_parse(ends[i], &addr, NULL))
			continue;
		if (said && said != addr.family)
			return err_set(err, ERR_USAGE, -EINVAL,
				       "%s and %s are addresses of two families", from, to);
		said = addr.family;
	}
	if (said)
		f->family = said;
	return 0;
}
