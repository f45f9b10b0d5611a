/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What goes into a tunnel, what goes its usual way, and what is blocked: policy routing and the
 * kill switch, in one network namespace.
 *
 * A route chain marks what is to be captured; one rule (ip-rule(8)) sends the mark to a table whose
 * default is the TUN device. Blocking rules come first, in one transaction, before the TUN exists,
 * and stay when we die; capture_down() takes everything away, and needs nothing but the names.
 *
 * Captured is TCP by its destination alone, wherever the main table would send it: networks that
 * live on this machine or beside it (of VPCs, of containers, the LAN) belong into `exclude`.
 */
#ifndef BYWAY_TUNNEL_CAPTURE_H
#define BYWAY_TUNNEL_CAPTURE_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "kernel/cgroup.h"

struct err;
struct firewall;
struct netns;
struct ruleset;

#define CAPTURE_LIST_MAX 64
#define CAPTURE_UPSTREAMS_MAX 128
#define CAPTURE_CGROUPS_MAX 16

/* Marks are bits of their own, matched and set with a mask, so that other users keep theirs. */
#define CAPTURE_MARK_TUNNEL 0x00100000u /* into the TUN. Of a connection: captured */
#define CAPTURE_MARK_BYPASS                                                                        \
	0x00200000u /* SO_MARK of our own sockets: not captured. Of a connection                   \
		     * (ct mark): of an excluded user */
#define CAPTURE_MARK_INBOUND                                                                       \
	0x00400000u /* came for an address of ours: may be forwarded (DNAT)                        \
		     */

#define CAPTURE_MARK_MEMBER                                                                        \
	0x01000000u /* of a connection: begun by a process in `cgroups`; without such a list, by   \
		     * one of this host's */

/* With legs: rules alone, so that both can be told apart, and nobody takes the other's away. */
#define CAPTURE_HOST_TABLE "byway_host"
#define CAPTURE_LEGS_MAX 8

/* Names by which capture_down() finds everything. Priority and table: byway's range is 9800 to
 * 9899. */
#define CAPTURE_FIREWALL_TABLE "byway_tunnel"
#define CAPTURE_BLOCK_TABLE "byway_block"
#define CAPTURE_ROUTE_TABLE 9800u
#define CAPTURE_RULE_PRIORITY 9800u

enum capture_dns {
	CAPTURE_DNS_BYPASS, /* UDP and TCP port 53 to the resolvers go their usual way */
	CAPTURE_DNS_TUNNEL, /* port 53 goes into the TUN, whoever it is for */
};

struct capture {
	char tun[IFNAMSIZ];
	/* Instead of a TUN: the host's ends of the legs of egresses (egress/leg.h), none or more,
	 * into which somebody else's routes lead what carries CAPTURE_MARK_TUNNEL. */
	bool by_legs;
	char legs[CAPTURE_LEGS_MAX][IFNAMSIZ];
	size_t n_legs;
	/* With legs: where those who serve names at gateways, processes of this user, ask on behalf
	 * of workloads, by the legs of these; family 0: nowhere. */
	struct cidr asked_for_others;
	uint32_t asker_uid;
	struct cidr tun_addr4, tun_addr6; /* of the device; family 0: none */
	uint32_t mtu_bytes;
	/* Addresses of the proxy: TCP to them is never captured, always allowed. */
	struct ip upstreams[CAPTURE_UPSTREAMS_MAX];
	size_t n_upstreams;
	struct ip resolvers[CAPTURE_LIST_MAX];
	size_t n_resolvers;
	enum capture_dns dns;
	/* Our own sockets, which carry CAPTURE_MARK_BYPASS, may ask the resolvers even when dns is
	 * TUNNEL: for the proxies' names, which the tunnel itself depends on. */
	bool own_lookups;
	struct cidr include[CAPTURE_LIST_MAX],
		exclude[CAPTURE_LIST_MAX]; /* include: none means all */
	size_t n_include, n_exclude;
	/* All that these users send from this host goes its usual way, and all of the sockets of
	 * this group; 0: none. */
	uint32_t exclude_uids[CAPTURE_LIST_MAX];
	size_t n_exclude_uids;
	uint32_t exclude_gid;
	/* The tunnel carries UDP and echo requests as well as TCP. */
	bool datagrams;
	/* When there are any: nobody's but what processes in these, or below them, send from this
	 * host. */
	struct cgroup cgroups[CAPTURE_CGROUPS_MAX];
	size_t n_cgroups;
	/* A namespace may have no default route, and without one the kernel refuses to send before
	 * there is a packet to be marked: one into the TUN, behind all others. Not where what
	 * carries the tunnel lives: it would go by it when its own way is gone. */
	bool default_route;
	bool kill_switch;
};

/* Makes the firewall table, in one transaction with the native and nft backends; then, with a kill
 * switch, the rule, and a route that swallows what is marked as long as there is no TUN.
 *
 * With a kill switch leave only: what goes over lo or the TUN; answers to connections that came
 * from elsewhere; TCP to the upstreams; port 53 to the resolvers when dns is BYPASS; the excluded,
 * and what is not included; ICMP errors, neighbour discovery, multicast reports, DHCP. TCP that
 * would be captured is dropped until capture_up(), so that it only waits; anything else is rejected
 * with ICMP administratively prohibited. CAPTURE_MARK_BYPASS does not let through what goes
 * elsewhere than to an upstream or, with own_lookups, to port 53 of a resolver. Forwarded traffic,
 * too. Without a kill switch there is only the
 * marking, without effect until capture_up().
 *
 * May be called again in any state, with other addresses: the table is replaced. */
int capture_block(const struct capture *c, struct netns *ns, struct firewall *fw, struct err *err);
/* The same rules as a ruleset, with legs. What VPCs, sessions and legs send and get is left to
 * their own tables: workloads keep their ways out, and carriers get out. */
void capture_rules(const struct capture *c, struct ruleset *rs);
/* Alias, addresses, MTU, reverse path filter, routes and rules for a TUN device that is new, both
 * families; needs capture_block() first. IPv6 is left out where the device has none. On failure
 * what it made goes with the device and with capture_down(). */
int capture_up(const struct capture *c, struct netns *ns, struct err *err);
/* Takes away what either made; by names, priorities and table numbers alone, the firewall last.
 * Absent: done. Goes on after errors; err is the first one, and says how many more there were. */
int capture_down(struct netns *ns, struct firewall *fw, struct err *err);

/* Blocks the host while there is no tunnel yet, in a table of its own: nothing is forwarded, and
 * nothing leaves but what goes over lo; answers to connections that came from elsewhere; ICMP
 * errors, neighbour discovery, multicast reports, DHCP; and what a tunnel of ours is made with:
 * sockets with CAPTURE_MARK_BYPASS, which no unprivileged process can set, and those of the group
 * gid. There already: replaced. */
int capture_block_all(uint32_t gid, struct netns *ns, struct firewall *fw, struct err *err);
/* Whether that is there, as this gid makes it. */
bool capture_blocks_all(uint32_t gid, struct netns *ns, struct firewall *fw);
/* Absent: done. */
int capture_unblock_all(struct netns *ns, struct firewall *fw, struct err *err);
/* Whether this tunnel's own kill switch takes the place of that: nobody and nothing goes another
 * way. */
bool capture_covers_all(const struct capture *c);

#endif
