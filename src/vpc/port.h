/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports: what joins a workload that is no subnet to a VPC, with an address of its own. Of a flat
 * VPC they are all that there is; elsewhere a port belongs to a subnet and has one of its
 * addresses.
 *
 * The workload's prefix is the VPC's, so that the gateway is on its link.
 */
#ifndef BYWAY_VPC_PORT_H
#define BYWAY_VPC_PORT_H

#include <sys/types.h>

#include "proc/identity.h"
#include "vpc/vpc.h"

enum port_kind {
	PORT_TAP,  /* a TAP device, for a virtual machine monitor */
	PORT_VETH, /* a veth pair, whose other end is in a container's namespace */
	PORT_CLONE, /* a veth pair to a namespace with a TAP device in it: clone.h */
	PORT_NUM_KINDS,
};

const char *port_kind_name(enum port_kind k);
/* What such a port is for, in messages: "VM", "container". */
const char *port_kind_what(enum port_kind k);
/* How its alias says the same, and how its interface's name on the host begins. */
const char *port_kind_mark(enum port_kind k);
const char *port_kind_prefix(enum port_kind k);

#define PORT_NO_UID ((uid_t)-1)
#define PORT_NO_GID ((gid_t)-1)

#define PORT_QUEUES_MAX 256u             /* MAX_TAP_QUEUES of the kernel */
#define PORT_RATE_MAX 1000000000000000u /* bits a second: fits into any arithmetic on it */

#define CONTAINER_MAX_LEN 256 /* with the NUL */
#define ALIASES_MAX_LEN 256

/* What a container's interface is known by, as CNI has it. */
struct attachment {
	char container[CONTAINER_MAX_LEN]; /* "": the port is no container's */
	char ifname[IFNAMSIZ];             /* inside; a container has one of the name */
	char config[CONTAINER_MAX_LEN];    /* the network configuration that asked for it */
	char aliases[ALIASES_MAX_LEN];     /* its names in DNS beside the port's, blanks between */
};

/* A machine as it is inside: its namespace, TAP device there, MAC and address. */
struct clone {
	char netns[NETNS_NAME_MAX]; /* "": the port is no clone's */
	char tap[IFNAMSIZ];
	struct mac mac;
	struct ip addr;
};

struct port {
	char vpc[NAME_MAX_LEN], name[NAME_MAX_LEN]; /* the name is the VPC's only one */
	char subnet[NAME_MAX_LEN];                  /* "" in a flat VPC */
	enum port_kind kind;
	char ifname[IFNAMSIZ]; /* on the host */
	char ifb[IFNAMSIZ];    /* of what limits rate_tx, "" when nothing does: kernel/tc.h */
	struct mac mac;        /* of the workload; of a clone its namespace's, as the address */
	struct ip addr, addr6;
	uid_t owner_uid; /* who may open a TAP: PORT_NO_UID for nobody by this */
	gid_t owner_gid;
	unsigned int queues;
	bool isolated;             /* does not reach others that are */
	uint64_t rate_rx, rate_tx; /* bits a second to the workload and from it; 0: no limit */
	unsigned int segment;      /* 0: the VPC's own bridge */
	struct attachment attachment; /* of a PORT_VETH */
	struct clone clone;           /* of a PORT_CLONE */
	struct identity life;         /* the process that it lives as long as, if any */
	bool has_policy;              /* policy_load() says which; not written with the row */
	char created[TIME_STRLEN];
	enum row_state state;
};

struct policy_owner port_owner(const struct port *p);
/* The MAC that goes with the port's VPC and address. */
struct mac port_mac(const struct port *p);

int port_load(struct store *st, const char *vpc, const char *name, struct port *ret,
	      struct err *err);
/* -ENOENT, without words, when the container has no such interface. */
int port_load_attachment(struct store *st, const char *container, const char *ifname,
			 struct port *ret, struct err *err);
/* -EEXIST when name, interface, MAC or attachment is taken. */
int port_insert(struct store *st, const struct port *p, struct err *err);
int port_set_state(struct store *st, const struct port *p, enum row_state state, struct err *err);
/* ifb, rate_rx and rate_tx. */
int port_set_rates(struct store *st, const struct port *p, struct err *err);
int port_remove(struct store *st, const struct port *p, struct err *err);
/* As the lists of vpc.h. */
int port_list(struct store *st, const char *vpc, struct port **ret, size_t *n, struct err *err);

#endif
