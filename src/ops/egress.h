/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any workload by any way out: the use cases of egresses (egress.c), and the process of one
 * (egress_run.c).
 *
 * An egress is a row: it is there whether its process runs or not. Who uses it is another; what has
 * a way out of its own leaves by nothing else, and nowhere when none of it is up.
 */
#ifndef BYWAY_OPS_EGRESS_H
#define BYWAY_OPS_EGRESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "firewall/firewall.h"
#include "vpc/way.h"

struct egress_spec;
struct err;
struct ops;

/* Ways out that are built in. */
#define EGRESS_NAT "nat"   /* what subnets and networks have without: see ops_nat_enable() */
#define EGRESS_NONE "none" /* nowhere */

struct egress_params {
	const char *name;
	const struct egress_spec *spec;
	const char *path; /* that the spec was read by: egress_spec_read() */
	bool replace; /* one of that name with another spec becomes this one, at its next start */
};
/* Writes the row; nothing runs yet. Its `via` has to be there, and no cycle may come of it:
 * ERR_USAGE. One of that name with the same spec: done, *ret_changed is false; with another spec,
 * unless it is to be replaced, and a name that is `nat` or `none`: ERR_CONFLICT. */
int ops_egress_add(struct ops *o, const struct egress_params *p, bool *ret_changed,
		   struct err *err);
/* Ends it and takes it away. One that workloads use, or another's `via`, stays: ERR_CONFLICT. The
 * state is given up and opened again meanwhile. */
int ops_egress_delete(struct ops *o, const char *name, bool *ret_existed, struct err *err);

/* From now on the workload goes out by ways and nothing else: "VPC/SUBNET", "NETWORK", or
 * "NETWORK/NAME" for a virtual machine or a container, of which a subnet's name comes first. ways:
 * names of egresses with commas between them, of which the first that is up counts; or EGRESS_NONE;
 * or EGRESS_NAT for what it would have without. Its addresses and connections to its VPC and peers
 * are not touched. Goes with the workload. ERR_NOT_FOUND names what is not there. */
int ops_egress_use(struct ops *o, const char *workload, const char *ways, bool *ret_changed,
		   struct err *err);

/* The same of a virtual machine or container, whatever else has that name. */
int ops_egress_use_port(struct ops *o, const char *workload, const char *ways, bool *ret_changed,
			struct err *err);
/* The same of the machine itself (host_way.c): all that it sends, and forwards for others than
 * byway's networks, goes out by ways or is blocked; EGRESS_NAT for the usual way. exclude:
 * networks, with commas between them, that it reaches as usual, or NULL. With a tunnel of the
 * host's: ERR_CONFLICT. */
int ops_egress_use_host(struct ops *o, const char *ways, const char *exclude, bool *ret_changed,
			struct err *err);

/* Starts its process in the background and returns when its namespaces stand and it has begun to
 * connect; done when it runs already. self: byway's own path. The state must not be open
 * (ops_suspend()): the process takes its lock. */
int ops_egress_start(const char *self, const char *name, enum fw_backend_id backend,
		     struct err *err);
/* Whether its process runs. */
bool ops_egress_runs(const char *name);
/* Ends its process and takes away what it made; the row stays, and who uses it is blocked. The same
 * about the state. */
int ops_egress_stop(const char *name, enum fw_backend_id backend, bool *ret_existed,
		    struct err *err);
/* The same with the state open, which is given up and opened again meanwhile. */
int ops_egress_end(struct ops *o, const char *name, bool *ret_existed, struct err *err);

/* An array of objects, byway.egress/1: of that name, NULL for all; a new reference. -ENOENT. */
int ops_egress_status(struct ops *o, const char *name, json_t **ret, struct err *err);

/* Appends to the array what the host is, when it goes out by egresses: an object with its egress,
 * a list; exclude; state, "up" or "blocked"; and by, which of them it goes out by now, or null. */
int ops_egress_host_status(struct ops *o, json_t *list, struct err *err);

/* ---- The process (egress_run.c) ---- */

struct egress_run {
	const char *name;
	const char *self; /* byway's own path */
	enum fw_backend_id backend;
	bool verbose;
	/* Everything that it needs is there, and it begins to connect. */
	void (*begun)(void *arg);
	void *arg;
};
/* Runs it until SIGTERM or SIGINT, then takes away what it made. -EBUSY (ERR_CONFLICT): it runs
 * already. */
int ops_egress_run(const struct egress_run *c, struct err *err);

#endif
