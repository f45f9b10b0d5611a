/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the host_*.c files; see host_rules.c. */
#ifndef BYWAY_VPC_HOST_RULES_IMPL_H
#define BYWAY_VPC_HOST_RULES_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firewall/ruleset.h"
#include "vpc/way.h"

struct err;
struct host_rules;
struct nat;
struct store;
struct vpc;

static const enum fw_field reach4_fields[] = {FW_IP4_SADDR, FW_OIFNAME};
static const enum fw_field reach6_fields[] = {FW_IP6_SADDR, FW_OIFNAME};
static const enum fw_field back4_fields[] = {FW_IP4_DADDR, FW_IIFNAME};
static const enum fw_field back6_fields[] = {FW_IP6_DADDR, FW_IIFNAME};
static const enum fw_field from4_fields[] = {FW_IP4_SADDR, FW_IIFNAME};
static const enum fw_field from6_fields[] = {FW_IP6_SADDR, FW_IIFNAME};
static const enum fw_field service_fields[] = {FW_L4PROTO, FW_DPORT};
static const enum fw_field service4_fields[] = {FW_IP4_DADDR, FW_L4PROTO, FW_DPORT};
static const enum fw_field service6_fields[] = {FW_IP6_DADDR, FW_L4PROTO, FW_DPORT};
static const enum fw_field served4_fields[] = {FW_IP4_SADDR, FW_L4PROTO, FW_SPORT};
static const enum fw_field served6_fields[] = {FW_IP6_SADDR, FW_L4PROTO, FW_SPORT};
static const enum fw_field port_fields[] = {FW_IIFNAME};
static const enum fw_field to_port_fields[] = {FW_OIFNAME};
static const enum fw_field port_mac_fields[] = {FW_IIFNAME, FW_ETHER_SADDR};
static const enum fw_field port_ip4_fields[] = {FW_IIFNAME, FW_IP4_SADDR};
static const enum fw_field port_ip6_fields[] = {FW_IIFNAME, FW_IP6_SADDR};

/* From any VPC's bridge, to any. */
void host_match_from(struct fw_rule *r);
void host_match_to(struct fw_rule *r);
/* A set of table inet by its name, or NULL. */
struct fw_set *host_find_set(struct host_rules *h, const char *name);
/* Who goes out by NAT through an interface. */
struct fw_set *host_nat_set(struct host_rules *h, const char *interface, int family);

/* ---- Ports (host_guard.c) ---- */

void host_guard_chains(struct host_rules *h);
void host_apart_chains(struct host_rules *h);

/* ---- Ways out (host_ways.c) ---- */

/* What the state says of ways out. */
struct host_ways {
	struct egress *egresses;
	struct way *ways;
	struct use *uses;
	size_t n_egresses, n_ways, n_uses;
};
int host_ways_load(struct store *st, struct host_ways *w, struct err *err);
void host_ways_done(struct host_ways *w);
bool host_ways_has(const struct host_ways *w, enum use_kind kind, const char *vpc,
		   const char *name);
int host_ways_add(struct store *st, struct host_rules *h, const struct host_ways *w,
		  struct err *err);
void host_ways_mark(struct host_rules *h, const struct way *ways, size_t n);
void host_ways_forward(struct host_rules *h, struct fw_chain *c);
/* Who goes out by a list, single ports or networks; and which ports have a way of their own. */
struct fw_set *host_ways_set(struct host_rules *h, const struct way *w, int family, bool is_port);
struct fw_set *host_ways_own(struct host_rules *h, int family);

/* ---- Names for those (host_names.c) ---- */

void host_names_add(struct host_rules *h, const struct vpc *v, const struct host_ways *w);
void host_names_chain(struct host_rules *h, const struct host_ways *w, const struct nat *nats,
		      size_t n);
void host_names_input(struct host_rules *h, struct fw_chain *c);

/* ---- Published ports (host_publish.c) ---- */

int host_publish_add(struct store *st, struct host_rules *h, bool *ret_any, struct err *err);
void host_publish_chain(struct host_rules *h);
void host_publish_out_chain(struct host_rules *h);
void host_publish_hairpin(struct host_rules *h, struct fw_chain *c);
void host_published_forward(struct host_rules *h, struct fw_chain *c);
void host_unpublished_forward(struct fw_chain *c);

#endif
