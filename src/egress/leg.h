/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The leg of an egress: the pair between the host and its namespace, by which workloads come in,
 * and the rules at both ends; see leg.c.
 */
#ifndef BYWAY_EGRESS_LEG_H
#define BYWAY_EGRESS_LEG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

struct egress;
struct err;
struct netns;
struct ruleset;
struct session;

#define LEG_INSIDE "leg0" /* the end in the namespace */

/* Makes the pair, or what is missing of it, with addresses, neighbours and the settings that it
 * needs; the namespace forwards from then on, so that its rules have to be there. Nothing is routed
 * into it yet. */
int leg_up(struct netns *host, struct netns *inside, const struct egress *e, uint32_t mtu_bytes,
	   struct err *err);
/* Of both ends. Smaller than IPv6 bears (RFC 8200 5): that family goes. */
int leg_set_mtu(struct netns *host, struct netns *inside, const struct egress *e,
		uint32_t mtu_bytes, struct err *err);
/* Its routing table leads into it, or nowhere. Done again: no change. A leg that is gone has no
 * route. */
int leg_route(struct netns *host, const struct egress *e, bool into, struct err *err);
/* Absent: done. */
int leg_down(struct netns *host, const struct egress *e, struct err *err);

/* What an egress's namespace forwards: from the leg into the tunnel, and what answers that. */
struct leg_rules {
	/* The tunnel's far side knows one address only: it is a VPN. */
	bool masquerade;
	/* Who is asked for names, whoever they were meant for, in each family; of none: that. */
	struct ip dns4, dns6;
};
void leg_rules_inside(struct ruleset *rs, const struct leg_rules *c);

/* An egress that goes out through another: its carrier's pair is a workload of a list. */
struct leg_carrier {
	const struct session *session;
	unsigned int way; /* its number */
};
/* The host's table for legs. captured: a bit of marks; what carries it may be forwarded into legs,
 * too, whoever it is of. 0: none. */
void leg_rules_host(struct ruleset *rs, const struct leg_carrier *c, size_t n, uint32_t captured);

#endif
