/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's side of a VPC: bridges, segments, namespaces, veth pairs and TAPs, from the rows
 * that describe them. Functions named _up fail where something of the name exists already.
 */
#ifndef BYWAY_VPC_NET_H
#define BYWAY_VPC_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

struct err;
struct netns;
struct port;
struct segment;
struct subnet;
struct vpc;

/* A bridge takes 1,024 ports (BR_MAX_PORTS), and number 0 is none. The first bridge keeps room for trunks to
 * further segments; with 900 ports each and 100 trunks a VPC has room for 90,000 subnets. */
#define SEGMENT_PORTS 900u

/* Those that the VPC's bridge has: gateways, and with IPv6 a link-local one. */
#define VPC_BRIDGE_ADDRS 3
size_t vpc_bridge_addrs(const struct vpc *v, struct cidr ret[VPC_BRIDGE_ADDRS]);

int vpc_up(struct netns *host, const struct vpc *v, struct err *err);
int segment_up(struct netns *host, const struct vpc *v, const struct segment *s, struct err *err);
/* Has frames that the firewall takes (FW_TAKE) reach the VPC's own bridge, from its further ones, too.
 * Bridges that were made above do; those of an older byway may not. */
int vpc_take(struct netns *host, const struct vpc *v, const struct segment *s, size_t n,
	     struct err *err);
/* bridge: the name of the bridge that the subnet's port goes to. *ret_ns: a handle on the new namespace. */
int subnet_up(struct netns *host, const struct vpc *v, const struct subnet *s, const char *bridge,
	      struct netns **ret_ns, struct err *err);
/* A port on that bridge, and its neighbours on the VPC's. inside: where the other end of a PORT_VETH
 * or PORT_CLONE goes to; NULL for others. */
int port_up(struct netns *host, const struct vpc *v, const struct port *p, const char *bridge,
	    struct netns *inside, struct err *err);
/* Makes rate_rx and rate_tx the limits of a port that is there. */
int port_limit(struct netns *host, const struct port *p, struct err *err);
/* The VPC's bridge forgets them; the link goes by links_down(). No such bridge: done. */
int ports_forget(struct netns *host, const struct vpc *v, const struct port *p, size_t n,
		 struct err *err);

/* Deletes every link of the host that is named here and is ours, all at once. Absent ones: done. */
struct name_list {
	const char **names;
	size_t n, cap;
};
void name_list_add(struct name_list *l, const char *name); /* borrows name */
void name_list_done(struct name_list *l);
#define _name_list_ _cleanup_(name_list_done)
int links_down(struct netns *host, const struct name_list *l, struct err *err);

#endif
