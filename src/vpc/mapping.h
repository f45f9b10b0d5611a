/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Published ports: a port of the host's that leads to a port of a workload, which is a subnet or
 * what a port (port.h) joins to a VPC.
 */
#ifndef BYWAY_VPC_MAPPING_H
#define BYWAY_VPC_MAPPING_H

#include "vpc/vpc.h"

struct mapping {
	char vpc[NAME_MAX_LEN], target[NAME_MAX_LEN]; /* a port's name, or a subnet's */
	bool to_subnet;
	uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP */
	struct ip host_addr; /* of no family: all of the host's; 0.0.0.0, ::: all of the family */
	uint16_t host_port, port;
	struct ip addr, addr6; /* the target's; only read, none when it is gone */
	bool reserved; /* only asked: that no process has the host's port is the asker's to see to */
	enum row_state state;
};

/* What people write: [ADDR:]HOSTPORT[-LAST][:PORT[-LAST]][/tcp|udp]. */
struct mapping_range {
	struct ip host_addr;
	uint8_t protocol; /* 0: not said */
	uint16_t first, last;
	uint16_t to; /* where the first leads to; 0: not said */
};

/* -EINVAL (ERR_USAGE) with what is wrong. */
int mapping_range_parse(const char *text, struct mapping_range *ret, struct err *err);
bool mapping_range_has(const struct mapping_range *r, const struct mapping *m);

#define MAPPING_STRLEN (IP_STRLEN + 24)
/* "192.0.2.1:8080:80/tcp" */
const char *mapping_format(const struct mapping *m, char ret[MAPPING_STRLEN]);
const char *mapping_protocol_name(uint8_t protocol);
/* "tcp" or "udp", in any case. */
bool mapping_protocol_parse(const char *text, uint8_t *ret);

bool mapping_equal(const struct mapping *a, const struct mapping *b);
/* Whether both are asked of the same packets, or some of the same. */
bool mapping_overlaps(const struct mapping *a, const struct mapping *b);
/* Whether it is about packets of this family, and all of the host's addresses of it. */
bool mapping_has_family(const struct mapping *m, int family);
bool mapping_is_any(const struct mapping *m);

int mapping_save(struct store *st, const struct mapping *m, struct err *err); /* or replaces */
int mapping_remove(struct store *st, const struct mapping *m, struct err *err);
/* 1: another one that stays leads to the same port of the same workload. */
int mapping_shared(struct store *st, const struct mapping *m, struct err *err);
/* As the lists of vpc.h, in the order of targets. */
int mapping_list(struct store *st, const char *vpc, struct mapping **ret, size_t *n,
		 struct err *err);

#endif
