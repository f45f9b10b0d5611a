/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ways out, as the state database has them.
 *
 * egress  a named way out with a namespace of its own, to which the host has a leg
 * way     a list of egresses, of which the first that is up counts; known by a mark
 * use     which list a workload goes out by
 */
#ifndef BYWAY_VPC_WAY_H
#define BYWAY_VPC_WAY_H

#include "vpc/vpc.h"

/* Numbers of egresses, from 1: of addresses and routing tables. */
#define EGRESS_MAX 80u
/* Numbers of lists, from 1: what the mark holds. */
#define WAY_MAX 127u
#define WAY_EGRESSES_MAX 8u
#define WAY_LIST_LEN (WAY_EGRESSES_MAX * NAME_MAX_LEN)

/* The bits of a packet's mark that say by which list it leaves: no others are touched. */
#define WAY_MARK_MASK 0xfe000000u
#define WAY_MARK_SHIFT 25
/* Of byway's range (see tunnel/capture.h): routing tables of egresses, that of those who have none,
 * and rules, one priority for each place in a list. */
#define EGRESS_ROUTE_TABLE 9800u /* + its number */
#define WAY_BLOCKED_TABLE 9899u
#define WAY_RULE_PRIORITY 9810u /* + the place */
#define WAY_BLOCKED_PRIORITY 9819u
/* The same of what gateways ask for names on behalf of a list's workloads. */
#define WAY_DNS_PRIORITY 9801u
#define WAY_DNS_BLOCKED_PRIORITY 9809u
/* Where a gateway that serves names answers those who go out by a list, + its number; by NAT: 0. */
#define WAY_DNS_PORT 9800u

struct egress {
	char name[NAME_MAX_LEN];
	unsigned int no;
	char kind[16];
	char via[NAME_MAX_LEN]; /* "": the host's own way out */
	char *spec, *path;      /* owned: egress/spec.h */
	char leg[IFNAMSIZ];     /* the host's end */
	char created[TIME_STRLEN];
	enum row_state state;
};
void egress_done(struct egress *e);
void egress_list_free(struct egress *list, size_t n);

struct way {
	unsigned int no;
	char list[WAY_LIST_LEN]; /* names with commas between them */
};

enum use_kind {
	USE_NETWORK, /* all of a flat network: name "" */
	USE_SUBNET,
	USE_PORT,
	USE_HOST, /* the machine itself: vpc and name "" */
	USE_NUM_KINDS,
};
/* What a workload may be named by: this one is the host. */
#define USE_HOST_NAME "host"

#define USE_EXCLUDES_MAX 32u
#define USE_EXCLUDE_LEN (USE_EXCLUDES_MAX * CIDR_STRLEN)

/* Who goes out by a list. */
struct use {
	char vpc[NAME_MAX_LEN], name[NAME_MAX_LEN];
	enum use_kind kind;
	char list[WAY_LIST_LEN];       /* "": no way out */
	char exclude[USE_EXCLUDE_LEN]; /* of the host: networks that it reaches its usual way */
	enum row_state state;
};
/* "VPC/NAME", "NETWORK" or "host". */
#define USE_STRLEN (2 * NAME_MAX_LEN)
const char *use_format(const struct use *u, char ret[USE_STRLEN]);
/* The networks of `exclude`, or how many fit. */
size_t use_excluded(const struct use *u, struct cidr ret[USE_EXCLUDES_MAX]);
/* Whether what the host sends there goes its usual way; names are asked for by its list, whoever is
 * asked. port: 0 where there is none. Agrees with tunnel/capture.c. */
bool use_excludes(const struct use *u, const struct ip *to, uint16_t port);

/* The group of the session whose namespaces an egress lives in: its lock is the process's. */
#define EGRESS_NAME_MAX 56
const char *egress_group(const char *name, char ret[NAME_MAX_LEN]);
bool egress_is_group(const char *group);
/* What a leg has on the host and inside. */
struct ip egress_leg_addr(unsigned int no, int family, bool inside);
uint32_t way_mark(unsigned int no);
/* Whom that gateway asks: nobody's address, routed as the list is. Who is asked by it is the
 * egress's to decide, as with any other address. All are in WAY_RESOLVERS. */
#define WAY_RESOLVERS "169.254.79.0/24"
struct ip way_resolver(unsigned int no);
/* Calls fn with each name of a list. */
int way_each(const char *list, int (*fn)(const char *name, void *arg), void *arg);
bool way_has(const char *list, const char *name);

int egress_load(struct store *st, const char *name, struct egress *ret, struct err *err);
/* By number; freed by egress_list_free(). */
int egress_list(struct store *st, struct egress **ret, size_t *n, struct err *err);
/* Or replaces. */
int egress_insert(struct store *st, const struct egress *e, struct err *err);
/* Where the spec stands, from which its relative paths begin. */
int egress_set_path(struct store *st, const char *name, const char *path, struct err *err);
int egress_remove(struct store *st, const char *name, struct err *err);
/* The lowest number that no egress has. */
int egress_free_no(struct store *st, unsigned int *ret, struct err *err);

/* -ENOENT without words. */
int way_load(struct store *st, const char *list, struct way *ret, struct err *err);
/* Those that a workload or an egress goes out by. */
int way_list(struct store *st, struct way **ret, size_t *n, struct err *err);
/* The one that is there, or a new one with the lowest free number. */
int way_take(struct store *st, const char *list, struct way *ret, struct err *err);
/* Those that no workload and no egress goes out by any more: they stay until the kernel has
 * forgotten them. */
int way_count_unused(struct store *st, int64_t *ret, struct err *err);
int way_remove_unused(struct store *st, struct err *err);

/* -ENOENT without words. */
int use_load(struct store *st, enum use_kind kind, const char *vpc, const char *name,
	     struct use *ret, struct err *err);
/* Then NAT is not its. */
bool use_is_there(struct store *st, enum use_kind kind, const char *vpc, const char *name);
/* The one that decides by what a port ("": none) of a subnet, or of a flat network, goes out. */
bool use_find(struct store *st, const struct vpc *v, const char *subnet, const char *port,
	      struct use *ret);
/* Of workloads of VPCs: not the host's. */
int use_count(struct store *st, int64_t *ret, struct err *err);
int use_list(struct store *st, struct use **ret, size_t *n, struct err *err);
int use_save(struct store *st, const struct use *u, struct err *err); /* inserts or replaces */
int use_remove(struct store *st, enum use_kind kind, const char *vpc, const char *name,
	       struct err *err);

#endif
