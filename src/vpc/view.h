/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VPCs as JSON: the state file that other tools read, and the --json output. */
#ifndef BYWAY_VPC_VIEW_H
#define BYWAY_VPC_VIEW_H

#include <jansson.h>
#include <stddef.h>

struct nat;
struct peer;
struct subnet;
struct vpc;

/* What belongs to one VPC, gathered. Arrays are borrowed. */
struct vpc_parts {
	const struct vpc *vpc;
	const struct subnet *subnets;
	size_t n_subnets;
	const struct nat *nat; /* or NULL */
	const struct peer *peers;
	size_t n_peers;
	/* The networks of the other side of each peering, in the order of peers. */
	const struct vpc *const *others;
};

/* /run/byway/vpc/NAME.json: exactly the keys of vpcctl's state file. A new reference, as below. */
json_t *view_state_file(const struct vpc_parts *p);

/* schema byway.vpc/1 and byway.subnet/1. */
json_t *view_vpc(const struct vpc_parts *p);
json_t *view_subnet(const struct vpc *v, const struct subnet *s, const struct nat *nat);
json_t *view_peer(const struct peer *p);

#endif
