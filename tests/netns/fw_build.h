/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rulesets like those that byway makes of VPCs, ports and policies.
 */
#ifndef BYWAY_TESTS_FW_BUILD_H
#define BYWAY_TESTS_FW_BUILD_H

#include "base/util.h"
#include "firewall/ruleset.h"

#define GROUP 77
#define CUT 0x00800000u

void add_net(struct fw_set *s, const char *net);
void add_reach(struct fw_set *s, const char *net, const char *dev);
void add_port_ip(struct fw_set *s, const char *dev, const char *addr);

/* Routed traffic between the networks 10.1.0.0/24 and fd01::/64 behind va, 10.2.0.0/24 and
 * fd02::/64 behind vb, and what is behind eth0. */
struct host {
	struct ruleset rs;
	struct fw_table *t;
	struct fw_set *reach4, *reach6, *nat4;
};

/* The sets, empty. */
void host_init(struct host *h);
/* With the rules; in reach each network at its own device; NAT for the first. */
void host_build(struct host *h);
void host_done(struct host *h);
#define _host_ _cleanup_(host_done)

/* What may come in at eth0: verdict maps, to be filled before or after. */
struct policy {
	struct ruleset rs;
	struct fw_table *t;
	struct fw_set *first4, *second4, *first6;
	struct fw_chain *ingress;
};

void policy_build(struct policy *p);
void policy_done(struct policy *p);
#define _policy_ _cleanup_(policy_done)
/* One element: from a network, a protocol or any (0), ports. */
void allow(struct fw_set *map, enum fw_verdict verdict, const char *net, uint8_t proto, uint16_t lo,
	   uint16_t hi);

/* What may come in at the port of a bridge. */
struct guard {
	struct ruleset rs;
	struct fw_set *ports, *mac, *ip4, *ip6;
};

/* The sets, empty. */
struct fw_table *guard_sets(struct guard *g);
/* With the rules, for port pa (good_mac, 10.9.0.10, fd09::10) and another one. */
void guard_build(struct guard *g);
void guard_fill(struct guard *g, const char *dev, const uint8_t *mac, const char *addr4,
		const char *addr6);
void guard_done(struct guard *g);
#define _guard_ _cleanup_(guard_done)

#endif
