/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VPCs and what they are made of, as the state database has them.
 *
 * vpc      a bridge br-<vpc> with the gateway address on it
 * segment  a further bridge behind the first, when a bridge's ports are used up
 * subnet   a namespace <vpc>-<subnet>, joined to the bridge by a veth pair
 * port     what joins a workload that is no subnet, such as a virtual machine (port.h)
 * nat      the way out of a VPC's public subnets, or of all of it when it is flat
 * peer     two VPCs that may reach each other
 *
 * Functions named _load return -ENOENT (ERR_NOT_FOUND) with a sentence for an unknown name.
 */
#ifndef BYWAY_VPC_VPC_H
#define BYWAY_VPC_VPC_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/ip.h"
#include "kernel/netns.h"

struct err;
struct policy;
struct store;

#define NAME_MAX_LEN 64 /* with the NUL */

enum row_state { ROW_CREATING, ROW_ACTIVE, ROW_DELETING, ROW_NUM_STATES };

const char *row_state_name(enum row_state s);

struct vpc {
	char name[NAME_MAX_LEN];
	struct cidr cidr, cidr6; /* cidr6.addr.family is 0 without IPv6 */
	char bridge[IFNAMSIZ];
	uint32_t mtu_bytes;
	bool flat; /* a network: no subnets, ports are on the bridge itself */
	bool dns, dhcp; /* what the gateway serves: names; addresses, which come with names */
	char created[TIME_STRLEN];
	enum row_state state;
};

struct segment {
	char vpc[NAME_MAX_LEN];
	unsigned int no; /* from 1: the first bridge is the VPC's own */
	char bridge[IFNAMSIZ];
	char trunk_up[IFNAMSIZ], trunk_down[IFNAMSIZ]; /* the ports on the first bridge and on this */
	enum row_state state;
};

struct subnet {
	char vpc[NAME_MAX_LEN], name[NAME_MAX_LEN];
	struct cidr cidr, cidr6;
	bool is_public;
	bool has_way; /* out, of its own: then NAT is not its; read only */
	char netns[NETNS_NAME_MAX];
	char veth_host[IFNAMSIZ], veth_ns[IFNAMSIZ];
	struct mac mac; /* of the end inside */
	struct ip addr, addr6;
	unsigned int segment; /* 0: the VPC's own bridge */
	char created[TIME_STRLEN];
	enum row_state state;
};

struct nat {
	char vpc[NAME_MAX_LEN];
	char interface[IFNAMSIZ];
	enum row_state state;
};

#define PEER_ALLOW_MAX 64

struct peer {
	char a[NAME_MAX_LEN], b[NAME_MAX_LEN]; /* a < b */
	struct cidr allow[PEER_ALLOW_MAX];
	size_t n_allow; /* 0: everything */
	enum row_state state;
};

/* Whose a policy is. Borrowed. */
enum policy_kind { POLICY_OF_SUBNET, POLICY_OF_PORT, POLICY_NUM_KINDS };
struct policy_owner {
	enum policy_kind kind;
	const char *vpc, *name;
};

struct policy_row {
	char *file, *text; /* owned */
	char applied[TIME_STRLEN];
};
void policy_row_done(struct policy_row *p);

/* What the VPC's network gives. */
struct ip vpc_gateway(const struct cidr *c);
struct mac vpc_bridge_mac(const struct vpc *v);

void now_utc(char ret[TIME_STRLEN]);

int vpc_load(struct store *st, const char *name, struct vpc *ret, struct err *err);
int vpc_insert(struct store *st, const struct vpc *v, struct err *err);
/* ROW_DELETING is also set on all that belongs to the VPC: subnets, ports, segments, NAT, peerings.
 */
int vpc_set_state(struct store *st, const char *name, enum row_state state, struct err *err);
int vpc_set_services(struct store *st, const struct vpc *v, struct err *err); /* dns and dhcp */
int vpc_remove(struct store *st, const char *name, struct err *err); /* with all that is in it */

int subnet_load(struct store *st, const char *vpc, const char *name, struct subnet *ret,
		struct err *err);
int subnet_insert(struct store *st, const struct subnet *s, struct err *err);
int subnet_set_state(struct store *st, const struct subnet *s, enum row_state state,
		     struct err *err);
int subnet_set_type(struct store *st, const struct subnet *s, struct err *err); /* is_public */
int subnet_remove(struct store *st, const struct subnet *s, struct err *err);

int segment_insert(struct store *st, const struct segment *s, struct err *err);
int segment_set_state(struct store *st, const struct segment *s, enum row_state state,
		      struct err *err);
int segment_remove(struct store *st, const struct segment *s, struct err *err);

int nat_load(struct store *st, const char *vpc, struct nat *ret, struct err *err);
int nat_save(struct store *st, const struct nat *n, struct err *err); /* inserts or replaces */
int nat_remove(struct store *st, const char *vpc, struct err *err);

/* Either order of the names. */
int peer_load(struct store *st, const char *a, const char *b, struct peer *ret, struct err *err);
int peer_save(struct store *st, const struct peer *p, struct err *err);
int peer_remove(struct store *st, const struct peer *p, struct err *err);

struct policy_owner subnet_owner(const struct subnet *s);
/* -ENOENT when there is no policy. */
int policy_load(struct store *st, const struct policy_owner *of, struct policy_row *ret,
		struct err *err);
/* p: what the text says. */
int policy_save(struct store *st, const struct policy_owner *of, const char *file,
		const char *text, const struct policy *p, struct err *err);
int policy_remove(struct store *st, const struct policy_owner *of, struct err *err);

/* Lists are arrays that the caller frees; n is 0 and the array may be NULL when there is nothing. vpc
 * NULL: of all VPCs. Ordered by name. */
int vpc_list(struct store *st, struct vpc **ret, size_t *n, struct err *err);
int subnet_list(struct store *st, const char *vpc, struct subnet **ret, size_t *n,
		struct err *err);
int segment_list(struct store *st, const char *vpc, struct segment **ret, size_t *n,
		 struct err *err);
int nat_list(struct store *st, struct nat **ret, size_t *n, struct err *err);
int peer_list(struct store *st, const char *vpc, struct peer **ret, size_t *n, struct err *err);

/* A single number from a query such as COUNT(*) or MAX(); one text parameter, or NULL. */
int row_number(struct store *st, const char *sql, const char *param, int64_t *ret,
	       struct err *err);

#endif
