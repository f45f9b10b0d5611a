// SPDX-License-Identifier: GPL-2.0-or-later
#include <netinet/in.h>
#include <stdlib.h>

#include "base/util.h"
#include "vpc/policy.h"
#include "vpc/policy_rule.h"

static void rule_done(struct policy_rule *r)
{
	free(r->description);
	free(r->group);
}

void policy_free(struct policy *p)
{
	if (!p)
		return;
	for (int dir = 0; dir < POLICY_NUM_DIRS; dir++) {
		for (size_t i = 0; i < p->n_rules[dir]; i++)
			rule_done(&p->rules[dir][i]);
		free(p->rules[dir]);
	}
	free(p->netns);
	free(p);
}

void policy_free_p(struct policy **p)
{
	policy_free(*p);
}

static char *copy(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

/* The rule for each of the networks. It stays when there is none: a list that has rules is closed. */
static size_t spread(const struct policy_rule *r, const struct cidr *peers, size_t n,
		     struct policy_rule *to)
{
	size_t count = MAX(n, (size_t)1);

	for (size_t i = 0; i < count; i++) {
		to[i] = *r;
		to[i].description = copy(r->description);
		to[i].group = copy(r->group);
		to[i].nobody = n == 0;
		if (n)
			to[i].peer = peers[i];
	}
	return count;
}

static int resolve_rule(const struct policy_rule *r, policy_group_fn *fn, void *arg,
			struct policy_rule *to, size_t *ret_n)
{
	struct cidr peers[POLICY_GROUP_CIDRS];
	size_t n = 0;
	int e = r->group ? fn(r, peers, &n, arg) : 0;

	if (e)
		return e;
	*ret_n = r->group ? spread(r, peers, n, to) : 1;
	if (r->group)
		return 0;
	*to = *r;
	to->description = copy(r->description);
	return 0;
}

static int resolve_list(struct policy *p, enum policy_dir dir, policy_group_fn *fn, void *arg)
{
	struct policy_rule *old = p->rules[dir];
	size_t n_old = p->n_rules[dir], n = 0, more = 0;
	int r = 0;

	p->rules[dir] = xcalloc(n_old * POLICY_GROUP_CIDRS + 1, sizeof(*old));
	for (size_t i = 0; !r && i < n_old; i++) {
		r = resolve_rule(&old[i], fn, arg, p->rules[dir] + n, &more);
		n += r ? 0 : more;
	}
	p->n_rules[dir] = n;
	for (size_t i = 0; i < n_old; i++)
		rule_done(&old[i]);
	free(old);
	return r;
}

int policy_resolve(struct policy *p, policy_group_fn *fn, void *arg)
{
	int r = 0;

	for (enum policy_dir dir = 0; !r && p->has_groups && dir < POLICY_NUM_DIRS; dir++)
		r = resolve_list(p, dir, fn, arg);
	return r;
}

bool policy_rule_in_family(const struct policy_rule *r, int family)
{
	return !r->nobody && (r->any_peer || r->peer.addr.family == family);
}

void policy_rule_protos(const struct policy_rule *r, int family, uint8_t *ret_lo, uint8_t *ret_hi)
{
	bool is_icmp = r->proto_lo == IPPROTO_ICMP && r->proto_hi == IPPROTO_ICMP;

	*ret_lo = is_icmp && family == AF_INET6 ? IPPROTO_ICMPV6 : r->proto_lo;
	*ret_hi = is_icmp && family == AF_INET6 ? IPPROTO_ICMPV6 : r->proto_hi;
}

static bool matches(const struct policy_rule *r, const struct ip *peer, uint8_t proto,
		    uint16_t dport)
{
	uint8_t lo, hi;

	policy_rule_protos(r, peer->family, &lo, &hi);
	return !r->nobody && (r->any_peer || cidr_has(&r->peer, peer)) && lo <= proto && proto <= hi &&
	       r->port_lo <= dport && dport <= r->port_hi;
}

const struct policy_rule *policy_eval(const struct policy *p, enum policy_dir dir,
				      const struct ip *src, const struct ip *dst, uint8_t proto,
				      uint16_t dport, bool *allowed)
{
	const struct ip *peer = dir == POLICY_INGRESS ? src : dst;

	for (size_t i = 0; i < p->n_rules[dir]; i++) {
		const struct policy_rule *r = &p->rules[dir][i];

		if (matches(r, peer, proto, dport)) {
			*allowed = r->allow;
			return r;
		}
	}
	*allowed = p->n_rules[dir] == 0;
	return NULL;
}
