// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "vpc/plan.h"
#include "vpc/vpc.h"

struct limits {
	const char *name;
	unsigned int shortest, longest;
};

static const struct limits *limits_of(int family)
{
	static const struct limits v4 = {"IPv4", 8, 30}, v6 = {"IPv6", 16, 126};

	return family == AF_INET6 ? &v6 : &v4;
}

static int check_prefix(const char *what, const struct cidr *c, struct err *err)
{
	const struct limits *l = limits_of(c->addr.family);
	char text[CIDR_STRLEN];

	if (c->prefix >= l->shortest && c->prefix <= l->longest)
		return 0;
	return err_set(err, ERR_USAGE, -EINVAL, "%s: the prefix length of %s must be from /%u to /%u",
		       cidr_format(c, text), what, l->shortest, l->longest);
}

static int parse(const char *text, int family, struct cidr *ret, struct err *err)
{
	int r = cidr_parse_network(text, ret, err);

	if (!r && ret->addr.family != family)
		r = err_set(err, ERR_USAGE, -EINVAL, "'%s' is not an %s network", text,
			    limits_of(family)->name);
	return r;
}

int plan_vpc_cidr(const char *text, int family, struct cidr *ret, struct err *err)
{
	const char *reserved;
	struct cidr c;
	int r = parse(text, family, &c, err);

	if (!r)
		r = check_prefix("a VPC", &c, err);
	if (r)
		return r;
	reserved = cidr_reserved(&c);
	if (reserved)
		return err_set(err, ERR_USAGE, -EINVAL,
			       "%s is %s: choose a private network such as 10.0.0.0/16 (RFC 1918) or "
			       "fd00:1::/48 (RFC 4193)",
			       text, reserved);
	*ret = c;
	return 0;
}

#define MTU_MIN 576u /* RFC 791 */
#define MTU6_MIN 1280u /* RFC 8200 */
#define MTU_MAX 65535u

int plan_mtu(unsigned int mtu_bytes, bool v6, struct err *err)
{
	unsigned int min = v6 ? MTU6_MIN : MTU_MIN;

	if (mtu_bytes >= min && mtu_bytes <= MTU_MAX)
		return 0;
	return err_set(err, ERR_USAGE, -EINVAL, "the MTU must be from %u to %u", min, MTU_MAX);
}

int plan_subnet_cidr(const struct vpc *v, const char *text, int family, struct cidr *ret,
		     struct err *err)
{
	const struct cidr *outer = family == AF_INET6 ? &v->cidr6 : &v->cidr;
	char vpc[CIDR_STRLEN];
	struct cidr c;
	int r = parse(text, family, &c, err);

	if (!r)
		r = check_prefix("a subnet", &c, err);
	if (r)
		return r;
	if (!outer->addr.family)
		return err_set(err, ERR_USAGE, -EINVAL,
			       "VPC '%s' has no IPv6 network: create it with --cidr6", v->name);
	if (!cidr_contains(outer, &c))
		return err_set(err, ERR_USAGE, -EINVAL, "%s is not inside VPC '%s' (%s)", text, v->name,
			       cidr_format(outer, vpc));
	*ret = c;
	return 0;
}

int plan_pool(const struct vpc *v, const struct cidr *subnet, struct ip *first, struct ip *last,
	      struct err *err)
{
	struct ip gateway = vpc_gateway(subnet->addr.family == AF_INET6 ? &v->cidr6 : &v->cidr);
	char text[CIDR_STRLEN];

	*first = cidr_first_host(subnet);
	*last = cidr_last_host(subnet);
	if (ip_cmp(first, &gateway) <= 0 && ip_cmp(&gateway, last) <= 0)
		*first = ip_add(gateway, 1);
	if (ip_cmp(first, last) <= 0)
		return 0;
	return err_set(err, ERR_USAGE, -EINVAL, "%s has no room for a host besides the gateway",
		       cidr_format(subnet, text));
}

static int by_address(const void *a, const void *b)
{
	const struct cidr *x = a, *y = b;
	int order = ip_cmp(&x->addr, &y->addr);

	return order ? order : (int)x->prefix - (int)y->prefix;
}

void slicer_init(struct slicer *s, const struct cidr *in, unsigned int prefix,
		 const struct cidr taken[], size_t n_taken)
{
	*s = (struct slicer){.in = *in, .prefix = prefix, .at = in->addr, .n_taken = n_taken};
	s->taken = xcalloc(n_taken + 1, sizeof(*taken));
	if (n_taken)
		memcpy(s->taken, taken, n_taken * sizeof(*taken));
	qsort(s->taken, n_taken, sizeof(*taken), by_address);
	s->done = prefix < in->prefix || prefix > ip_bits(in->addr.family);
}

void slicer_done(struct slicer *s)
{
	free(s->taken);
	s->taken = NULL;
}

/* The first address behind c; done is set when that is outside. */
static void skip(struct slicer *s, const struct cidr *c)
{
	struct ip last = cidr_last(c), end = cidr_last(&s->in);

	if (ip_cmp(&last, &end) >= 0)
		s->done = true;
	else
		s->at = ip_add(last, 1);
}

int slicer_next(struct slicer *s, struct cidr *ret, struct err *err)
{
	char text[CIDR_STRLEN];

	while (!s->done) {
		struct cidr here = {.addr = s->at, .prefix = s->prefix};
		struct ip first = cidr_first(&here);

		if (ip_cmp(&first, &s->at) < 0) { /* round up to a slice's start */
			skip(s, &here);
			continue;
		}
		while (s->pos < s->n_taken) {
			struct ip end = cidr_last(&s->taken[s->pos]);

			if (ip_cmp(&end, &s->at) >= 0)
				break;
			s->pos++;
		}
		if (s->pos < s->n_taken && cidr_overlaps(&here, &s->taken[s->pos])) {
			skip(s, s->taken[s->pos].prefix < s->prefix ? &s->taken[s->pos] : &here);
			continue;
		}
		*ret = here;
		skip(s, &here);
		return 0;
	}
	return err_set(err, ERR_CONFLICT, -ENOSPC, "no free /%u is left in %s%s", s->prefix,
		       cidr_format(&s->in, text),
		       s->in.addr.family == AF_INET6 ? ": give the subnet a --cidr6 of its own, or the VPC "
						       "a larger one, such as a /56"
						     : "");
}
