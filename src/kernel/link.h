/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Links: bridges, veth pairs, and what is changed of any (ip-link(8)).
 */
#ifndef BYWAY_KERNEL_LINK_H
#define BYWAY_KERNEL_LINK_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"

struct err;
struct netns;
struct nlbatch;

#define LINK_ALIAS_MAX 256 /* IFALIASZ */

struct link {
	int index, master;
	char name[IFNAMSIZ];
	char alias[LINK_ALIAS_MAX];
	char kind[16]; /* "bridge", "veth", … */
	struct mac mac;
	uint32_t mtu_bytes, group;
	bool up, carrier; /* carrier: there is somebody at the other end */
	bool ll_learn, snoops; /* of a bridge, see link_add_bridge() */
	bool isolated; /* of a bridge's port */
};

/* -ENODEV when there is none of that name. */
int link_get(struct netns *ns, const char *name, struct link *ret, struct err *err);
/* Its index; 0 in a dry run, where it may not exist yet. */
int link_index(struct netns *ns, const char *name, int *ret, struct err *err);
/* What came in and went out by a link. -ENODEV. */
struct link_counts {
	uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets, rx_dropped, tx_dropped;
};
int link_get_counts(struct netns *ns, const char *name, struct link_counts *ret, struct err *err);
/* A negative return of fn ends the walk with it. */
typedef int (*link_fn)(const struct link *link, void *arg);
int link_each(struct netns *ns, link_fn fn, void *arg, struct err *err);
/* The same with what passed. Is not repeated when links come and go meanwhile. */
typedef int (*link_counted_fn)(const struct link *link, const struct link_counts *counts,
			       void *arg);
int link_each_counted(struct netns *ns, link_counted_fn fn, void *arg, struct err *err);

/* The builders below add to a batch; nothing happens before nlbatch_commit(). */

/* Without STP, and nobody's MAC is learned from frames to 01-80-C2-00-00-0X: those pass no rule of
 * family bridge's prerouting, where ports are guarded. And without snooping of multicast: while
 * nobody asks who listens it limits nothing, but who comes to be a port has the kernel go through
 * all the others' timers, a quarter of what the 900th port costs (Linux 6.18,
 * br_port_state_selection()). */
struct bridge_spec {
	const char *name;
	struct mac mac; /* fixed: a bridge without one takes a port's and changes with its ports */
	uint32_t mtu_bytes, group;
};
void link_add_bridge(struct nlbatch *b, const struct bridge_spec *spec);

/* An intermediate functional block: what is sent to it comes back to the link it was taken from.
 * Its MAC, which nobody ever sees, comes from its name: the kernel's choice would be another each
 * time. */
void link_add_ifb(struct nlbatch *b, const char *name, uint32_t group);

struct veth_spec {
	const char *name;
	uint32_t mtu_bytes, group; /* the group is that of both ends that are born here */
	struct mac mac;        /* all zero: the kernel's choice */
	const char *peer_name;
	const char *peer_netns_name; /* for the words only */
	int peer_netns_fd;     /* the peer is born there; -1: here */
	struct mac peer_mac;
};
void link_add_veth(struct nlbatch *b, const struct veth_spec *spec);

/* An existing link. What is zero or NULL stays as it is. */
struct link_change {
	const char *name; /* found by name, or by index when that is not 0 */
	int index;
	const char *alias;
	struct mac mac;
	int master;              /* enslave to this index */
	const char *master_name; /* for the words only */
	uint32_t group, mtu_bytes;
	uint32_t queue_packets;  /* txqueuelen */
	bool isolated; /* as a bridge's port: passes nothing to others that are */
	bool no_ipv6_autoconf;   /* no link-local address by itself: effective before `up` */
	bool up;                 /* last */
};
void link_set(struct nlbatch *b, const struct link_change *c);
/* A bridge that was made otherwise, by its index: it neither learns from such frames nor snoops any
 * more. */
void link_set_bridge_options(struct nlbatch *b, int index, const char *name);

/* Found by index: the name in the message is the new one. name and to_name are for the words only.
 * A moved link arrives down, without addresses, and with the other namespace's IPv6 defaults; it
 * keeps its index unless that is taken there. */
void link_move(struct nlbatch *b, int index, const char *name, int to_fd, const char *to_name,
	       const char *new_name);
/* -EBUSY for a link that is up, before Linux 6.2. */
void link_rename(struct nlbatch *b, int index, const char *name, const char *new_name);
/* Its routes go, and its IPv6 addresses. */
void link_down(struct nlbatch *b, const char *name);

/* Absent: done. A veth takes its peer with it. */
void link_del(struct nlbatch *b, const char *name);
/* Into the group whose links are about to go. Gone already: done. */
void link_doom(struct nlbatch *b, int index, const char *name, uint32_t group);
/* All links of a group at once: one RCU grace period for all, where link_del() has one each. Make
 * sure that every link in it is yours. No such link: done. */
void link_del_group(struct nlbatch *b, uint32_t group);

#endif
