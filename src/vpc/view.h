/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VPCs as JSON: the state file that other tools read, and the --json output.
 *
 * The state file is written anew with every change of a VPC, which may have thousands of subnets: it
 * goes from the rows into the text without structs and objects between.
 */
#ifndef BYWAY_VPC_VIEW_H
#define BYWAY_VPC_VIEW_H

#include <jansson.h>
#include <stddef.h>

struct buf;
struct err;
struct mapping;
struct nat;
struct peer;
struct port;
struct store;
struct subnet;
struct vpc;

/* What belongs to one VPC, gathered. Arrays are borrowed. */
struct vpc_parts {
	const struct vpc *vpc;
	const struct subnet *subnets;
	size_t n_subnets;
	const struct port *ports;
	size_t n_ports;
	const struct nat *nat; /* or NULL */
	const struct peer *peers;
	size_t n_peers;
	const struct mapping *mappings;
	size_t n_mappings;
};

/* /run/byway/vpc/NAME.json: exactly the keys of vpcctl's state file. */
int view_state_file(struct store *st, const char *vpc, struct buf *ret, struct err *err);

/* schemas byway.vpc/1, byway.subnet/1 and byway.vm/1. New references. */
json_t *view_vpc(const struct vpc_parts *p);
json_t *view_subnet(const struct vpc *v, const struct subnet *s, const struct nat *nat);
json_t *view_port(const struct vpc *v, const struct port *p);
json_t *view_peer(const struct peer *p);
json_t *view_mapping(const struct mapping *m);

#endif
