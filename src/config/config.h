/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file that says what the machine's networks should be: byway-config(5).
 *
 * Of each kind of object there is one list, in the order of the file. What the file says nothing of
 * has its default, or, where that depends on the machine, no family, no name or NULL.
 */
#ifndef BYWAY_CONFIG_CONFIG_H
#define BYWAY_CONFIG_CONFIG_H

#include "base/buf.h"
#include "egress/spec.h"
#include "vpc/mapping.h"
#include "vpc/port.h"
#include "vpc/vpc.h"
#include "vpc/way.h"

struct doc;
struct err;
struct fy_node;

#define CONFIG_VPCS_MAX 4096
#define CONFIG_SUBNETS_MAX 65536 /* of a VPC */
#define CONFIG_VMS_MAX 65536
#define CONFIG_PORTS_MAX 4096 /* published, of a file */

/* "VPC/SUBNET", "NETWORK" or "NETWORK/NAME", with its NUL. */
#define CONFIG_WORKLOAD_MAX (2 * NAME_MAX_LEN)

/* A VPC, or a flat network. */
struct config_vpc {
	struct fy_node *at; /* its name in the file, for messages */
	struct vpc v;       /* name, cidr, cidr6, mtu_bytes, flat, dns, dhcp */
	bool nat;
	char interface[IFNAMSIZ]; /* of NAT; "": the one with the default route */
};

struct config_subnet {
	struct fy_node *at;
	struct subnet s; /* vpc, name, cidr, cidr6, is_public */
	struct fy_node *policy_at;
	char *policy;    /* a file's absolute path, or NULL; owned */
	bool policy_names; /* it names workloads, which may be others of the file */
	size_t use;      /* its place among the uses, from 1; 0: as without */
};

struct config_peer {
	struct fy_node *at;
	struct peer p; /* a, b, allow */
};

struct config_vm {
	struct fy_node *at;
	struct port p; /* as ops_port_add() wants it */
	struct fy_node *policy_at;
	char *policy;  /* a file's absolute path, or NULL; owned */
	bool policy_names;
	size_t use;    /* its place among the uses, from 1; 0: as without */
};

/* Until when nothing leaves the host: `byway block`. */
enum config_block { CONFIG_BLOCK_NEVER, CONFIG_BLOCK_UNTIL_APPLIED, CONFIG_BLOCK_UNTIL_TUNNEL };

struct config_egress {
	struct fy_node *at;
	char name[NAME_MAX_LEN];
	struct egress_spec spec;
	const char *path; /* of the file */
};

/* A workload, or the host, that goes out by egresses, or not at all. */
struct config_use {
	struct fy_node *at; /* the list */
	enum use_kind kind;
	char workload[CONFIG_WORKLOAD_MAX];
	char ways[WAY_LIST_LEN]; /* as ops_egress_use() wants it */
	char *exclude;           /* as ops_egress_use_host() wants it, or NULL; owned */
};

/* A published port. */
struct config_publish {
	struct fy_node *at;
	struct mapping m; /* vpc, target, protocol, host_addr, host_port, port */
};

struct config {
	char *path; /* absolute */
	enum config_block block;
	struct config_vpc *vpcs;
	struct config_subnet *subnets; /* those of a VPC stand together */
	struct config_peer *peers;
	struct config_vm *vms;
	struct config_egress *egress; /* each behind the one that it goes out by */
	struct config_use *uses;
	struct config_publish *ports;
	size_t n_vpcs, n_subnets, n_peers, n_vms, n_egress, n_uses, n_ports;
	struct doc *doc;
	struct buf text; /* the document's */
};

/* Reads and checks all of it, and the policies that it names: no privileges, and nothing is
 * touched. path "-" is standard input. Errors are ERR_USAGE and say FILE:LINE:COLUMN. */
int config_read(const char *path, struct config **ret, struct err *err);
/* The same from memory. name is the file's in messages; other files are looked for in its folder.
 */
int config_parse(const char *name, const char *text, size_t len, struct config **ret,
		 struct err *err);
/* The value of `block`, for who reads nothing else of a file. */
int config_block(struct doc *d, struct fy_node *node, enum config_block *ret, struct err *err);
void config_free(struct config *c);
void config_free_p(struct config **c);
#define _config_ _cleanup_(config_free_p)

/* A VPC or network of the file; NULL when there is none of that name. */
struct config_vpc *config_find_vpc(const struct config *c, const char *name);

/* The line that an object stands in, from 1. */
unsigned int config_line(const struct config *c, struct fy_node *at);

#endif
