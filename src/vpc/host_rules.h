/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's firewall for all VPCs: tables inet byway (who may be forwarded where) and bridge byway
 * (which addresses may come out of a port). The rules are the same for one VPC and for a thousand;
 * VPCs, subnets, ports and peerings are set elements. Only a further outgoing interface brings
 * rules of its own.
 */
#ifndef BYWAY_VPC_HOST_RULES_H
#define BYWAY_VPC_HOST_RULES_H

#include <net/if.h>
#include <stdbool.h>

#include "firewall/ruleset.h"
#include "vpc/way.h"

struct err;
struct mapping;
struct nat;
struct peer;
struct port;
struct store;
struct subnet;
struct vpc;

struct host_rules {
	struct ruleset rs;
	struct fw_table *inet, *bridge;
	struct fw_set *reach4, *reach6;       /* address . interface across */
	struct fw_set *isolated4, *isolated6; /* the same, of isolated ports */
	struct fw_set *bridged4, *bridged6;   /* destinations that are never routed */
	struct fw_set *link6;                 /* sources that are never routed */
	/* Published ports: protocol . port of any of the host's addresses, and of a certain one. */
	struct fw_set *published4, *published6, *published_at4, *published_at6;
	struct fw_set *targets4, *targets6; /* address . protocol . port that they lead to */
	struct fw_set *loopback4;           /* 127.0.0.0/8 */
	struct fw_set *names4, *names6, *dhcp4, *dhcp6; /* what is served: address . bridge */
	struct fw_set *names_at4, *names_at6;           /* the addresses alone */
	struct fw_set *ports, *port_mac, *port_ip4, *port_ip6; /* of bridge ports */
	struct fw_set *policy_port, *policy_ip4, *policy_ip6;  /* those under a policy */
};

/* The tables with their sets, empty and without rules: to be filled with the elements of single
 * objects for firewall_update(). */
void host_rules_init(struct host_rules *h);
void host_rules_done(struct host_rules *h);
#define _host_rules_ _cleanup_(host_rules_done)

void host_rules_vpc(struct host_rules *h, const struct vpc *v);
/* What its gateway serves; host_rules_vpc() has it, too. */
void host_rules_services(struct host_rules *h, const struct vpc *v);
void host_rules_peer(struct host_rules *h, const struct peer *p, const struct vpc *a,
		     const struct vpc *b);
/* What joins a subnet to its bridge, and any other port of a VPC. */
void host_rules_subnet(struct host_rules *h, const struct subnet *s);
void host_rules_port(struct host_rules *h, const struct port *p, const struct vpc *v);
/* The part of that which is there for a port with a policy. */
void host_rules_policy(struct host_rules *h, const struct port *p);
/* A way out through an interface: for public subnets of a VPC with NAT, or all of a flat one. */
void host_rules_nat(struct host_rules *h, const struct cidr *cidr, const struct cidr *cidr6,
		    const char *interface);

/* Who goes out by a list of egresses, and by nothing else: what the state says of a workload of a
 * VPC; nothing when it has no way out of its own. */
int host_rules_use(struct store *st, struct host_rules *h, enum use_kind kind, const char *vpc,
		   const char *name, struct err *err);
/* A published port. with_target: its target's port is in no other one's. */
void host_rules_mapping(struct host_rules *h, const struct mapping *m, bool with_target);

/* Everything, from the state: tables, chains, rules and all elements. ret is initialised here, and
 * done by the caller whatever comes back. Rows that are being deleted are left out. *empty: there is no VPC, the tables should not exist. */
int host_rules_build(struct store *st, struct host_rules *ret, bool *empty, struct err *err);

#endif
