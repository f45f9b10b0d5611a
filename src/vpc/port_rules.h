/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Policies of ports, enforced by the host: table inet byway_port. What passes a port with a policy
 * is routed, always (host_rules.c); here it is judged by the port's address. Nothing inside the
 * workload takes part.
 */
#ifndef BYWAY_VPC_PORT_RULES_H
#define BYWAY_VPC_PORT_RULES_H

#include <stdbool.h>

#include "base/ip.h"

struct conntrack_flow;
struct err;
struct port;
struct ruleset;
struct store;

#define PORT_RULES_TABLE "byway_port"

struct port_rules; /* the ports that have policies, and these */

/* From the state; ports that are being deleted are left out. */
int port_rules_load(struct store *st, struct port_rules **ret, struct err *err);
void port_rules_free(struct port_rules *p);
void port_rules_free_p(struct port_rules **p);
#define _port_rules_ _cleanup_(port_rules_free_p)

/* No port has one: the table should not exist. */
bool port_rules_empty(const struct port_rules *p);
void port_rules_build(const struct port_rules *p, struct ruleset *rs);

/* Whether the flow has a port with a policy at one of its ends; *ret_allowed: both ends' policies
 * let it be. */
bool port_rules_judge(const struct port_rules *p, const struct conntrack_flow *f,
		      bool *ret_allowed);

#endif
