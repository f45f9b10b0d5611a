/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does anything of a workload leave the host otherwise than it should? Probes are sent from inside,
 * and the interfaces that lead out are watched: see prove.c.
 */
#ifndef BYWAY_OPS_PROVE_H
#define BYWAY_OPS_PROVE_H

#include <jansson.h>

struct err;
struct ops;

enum prove_result {
	PROVE_NO_LEAK,
	PROVE_LEAK,
	PROVE_NOT_PROVED, /* it might have leaked unseen */
	PROVE_NUM_RESULTS,
};

/* Of "host" (its tunnel), a tunnel's namespace, an egress, a session, VPC/SUBNET, NETWORK/VM, or
 * all subnets of a VPC; as it is now, or in each state of its way out: PROVE_STATES interrupts what
 * goes out by that. ret: byway.prove/1 without its "schema"; a new reference.
 * Needs CAP_NET_RAW. For a VM or container a port is made beside it for the time: the state is
 * given up and opened again meanwhile. Takes some seconds for each workload. */
enum prove_extent { PROVE_AS_IT_IS, PROVE_STATES };
int ops_prove(struct ops *o, const char *name, enum prove_extent extent, json_t **ret,
	      enum prove_result *ret_result, struct err *err);

#endif
