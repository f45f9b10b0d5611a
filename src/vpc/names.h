/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names of what byway makes, and the marks by which it is known as ours.
 *
 * Interface names hold 15 characters. A name that is longer, or taken, keeps its beginning and ends
 * in a hash of the full name: the same name gives the same hash everywhere.
 */
#ifndef BYWAY_VPC_NAMES_H
#define BYWAY_VPC_NAMES_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

struct err;
struct link;
struct netns;
struct port;
struct store;
struct subnet;
struct vpc;

/* ip-link(8) groups: the mark that a link has from birth, and what firewall rules match. */
/* All of ours: a group that is equal to GROUP_OURS under GROUP_MASK, so 25208 to 25215. */
#define GROUP_OURS 25208u
#define GROUP_MASK 0xfffffff8u
#define GROUP_VPC 25209u    /* a VPC's bridge: routed traffic of a VPC goes through one of these */
#define GROUP_PORT 25210u   /* bridge ports, trunks and further segments */
#define GROUP_SESSION 25212u /* the host's ends of the sessions' veth pairs */
#define GROUP_DOOMED 25211u /* about to be deleted, all at once */
#define GROUP_LEG 25213u    /* the host's ends of the pairs to egresses */

#define ALIAS_PREFIX "byway:"

/* A letter or digit, then letters, digits, '.', '_' and '-', at most 63. what: "VPC", "subnet". */
int name_check(const char *what, const char *name, struct err *err);

/* The same of a VPC, or a network, which is named where the host is, too. */
int name_check_vpc(const char *what, const char *name, struct err *err);

/* The full name's hash form: the `salt`th try, 0 for prefix and base as they are. */
int ifname_form(const char *prefix, const char *base, const char *full, unsigned int salt,
		char ret[IFNAMSIZ]);

/* Names that neither the state nor the kernel has yet. The bridge of a flat VPC has the VPC's name,
 * when that fits and is free. */
int name_bridge(struct store *st, struct netns *host, const struct vpc *v, char ret[IFNAMSIZ],
		struct err *err);
/* Further bridges of a VPC, and the two ends of the trunk to them. */
int name_segment(struct netns *host, const char *vpc, unsigned int no, const char *prefix,
		 char ret[IFNAMSIZ], struct err *err);
/* Both ends of the veth pair to a namespace, from base; full tells apart what has the same base. */
int name_veth(struct store *st, struct netns *host, const char *base, const char *full,
	      char ret_host[IFNAMSIZ], char ret_ns[IFNAMSIZ], struct err *err);
/* Fills ifname of p, and ifb if what it sends is limited. */
int name_port(struct store *st, struct netns *host, struct port *p, struct err *err);
/* The host's end of an egress's leg. */
int name_leg(struct store *st, struct netns *host, const char *egress, char ret[IFNAMSIZ],
	     struct err *err);
/* ifb alone. */
int name_port_ifb(struct store *st, struct netns *host, struct port *p, struct err *err);
/* Whether state or kernel has a namespace of that name: 0, 1 or -errno. */
int name_netns_taken(struct store *st, const char *name, struct err *err);
/* Fills netns, veth_host and veth_ns of s from its vpc and name. */
int name_subnet(struct store *st, struct netns *host, struct subnet *s, struct err *err);

/* "byway:KIND/NAME": the alias of a link, or of a namespace's loopback. */
void alias_vpc(const char *vpc, char *ret, size_t size);
void alias_segment(const char *vpc, unsigned int no, char *ret, size_t size);
void alias_subnet(const struct subnet *s, char *ret, size_t size);
void alias_port(const struct port *p, char *ret, size_t size);
void alias_session(const char *name, char *ret, size_t size);
void alias_egress(const char *name, char *ret, size_t size);
/* Marked from birth by its group, or by the alias that it gets next. */
bool link_is_ours(const struct link *l);

#endif
