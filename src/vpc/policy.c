// SPDX-License-Identifier: GPL-2.0-or-later
#include <netinet/in.h>
#include <stdlib.h>

#include "base/util.h"
#include "vpc/policy.h"
#include "vpc/policy_rule.h"

void policy_free(struct policy *p)
{
	if (!p)
		return;
	for (int dir = 0; dir < POLICY_NUM_DIRS; dir++) {
		for (size_t i = 0; i < p->n_rules[dir]; i++)
			free(p->rules[dir][i].description);
		free(p->rules[dir]);
	}
	free(p->netns);
	free(p);
}

void policy_free_p(struct policy **p)
{
	policy_free(*p);
}

bool policy_rule_in_family(const struct policy_rule *r, int family)
{
	return r->any_peer || r->peer.addr.family == family;
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
	return (r->any_peer || cidr_has(&r->peer, peer)) && lo <= proto && proto <= hi &&
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
