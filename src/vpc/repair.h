/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What there is of a VPC on the host, but not as it was made: a bridge that was set down, a port that was
 * taken off it, an address or a limit that was removed. It is found in one place for those who tell it
 * (plan) and those who put it right (gc, apply).
 */
#ifndef BYWAY_VPC_REPAIR_H
#define BYWAY_VPC_REPAIR_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct err;
struct netns;
struct port;
struct segment;
struct subnet;
struct vpc;

/* Links of ours, addresses and neighbours of the host, as they were when it was read. */
struct seen;
int seen_read(struct netns *host, struct seen **ret, struct err *err);
void seen_free(struct seen *s);
void seen_free_p(struct seen **s);
#define _seen_ _cleanup_(seen_free_p)

bool seen_has(const struct seen *s, const char *ifname);
/* Why it is as good as not there; NULL: it is there. */
const char *vpc_gone(const struct seen *s, const struct vpc *v);
const char *subnet_gone(const struct seen *s, const struct subnet *n);

/* With all that is on its bridges. Borrowed. */
struct repair_parts {
	const struct vpc *v;
	const struct segment *segments;
	const struct subnet *subnets;
	const struct port *ports;
	size_t n_segments, n_subnets, n_ports;
};

enum repair { REPAIR_TELL, REPAIR_DO };

/* What is found is appended to why. What is gone altogether is not found here; but further bridges are, and
 * made anew: what was on them comes back when it is repaired after that, with another seen_read(). */
int vpc_repair(struct netns *host, const struct seen *s, const struct repair_parts *p, enum repair how,
	       struct buf *why, struct err *err);
/* bridge: that it belongs on. */
int subnet_repair(struct netns *host, const struct seen *s, const struct vpc *v,
		  const struct subnet *n, const char *bridge, enum repair how, struct buf *why,
		  struct err *err);
int port_repair(struct netns *host, const struct seen *s, const struct vpc *v, const struct port *p,
		const char *bridge, enum repair how, struct buf *why, struct err *err);

#endif
