/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of the iptables backend. Private to it.
 *
 * Names: a chain of ours is BYWAY-CHAIN for the table "byway", BYWAY-TABLE:CHAIN for another; CHAIN
 * of a map of destinations is to.MAP; an
 * ipset is byway-SET.GENERATION or byway-TABLE:SET.GENERATION. What does not fit is cut and told
 * apart by a hash.
 */
#ifndef BYWAY_FIREWALL_IPTABLES_H
#define BYWAY_FIREWALL_IPTABLES_H

#include <stdbool.h>
#include <stddef.h>

#include "firewall/ruleset.h"

struct buf;
struct err;
struct lines;
struct netns;

enum ipt_family { IPT_IP4, IPT_IP6, IPT_NUM_FAMILIES };

/* ---- iptables_name.c ---- */

#define IPT_NAME_MAX 29   /* XT_EXTENSION_MAXNAMELEN: 28 characters */
#define IPSET_NAME_MAX 32 /* IPSET_MAXNAMELEN */

/* src, or as much of it as leaves room for a hash; max: without the terminator. */
void ipt_fit(char *dst, size_t max, const char *src);
void ipt_chain_name(const struct fw_table *t, const char *chain, char name[IPT_NAME_MAX]);
/* Whether a chain of this name would be one of table t. len: its length. */
bool ipt_chain_of(const struct fw_table *t, const char *name, size_t len);
/* part: the set's name and which part of it, see struct ipset_part. */
void ipset_name(const struct fw_table *t, const char *part, unsigned int generation,
		char name[IPSET_NAME_MAX]);
/* That of a map of destinations: whose rules have no order. */
void ipt_map_name(const struct fw_table *t, const struct fw_set *map, char name[IPT_NAME_MAX]);
bool ipt_is_map(const char *chain, size_t len);
/* Whether an ipset of this name would belong to table t, and of which generation it is. */
bool ipset_name_of(const struct fw_table *t, const char *name, size_t len,
		   unsigned int *ret_generation);

/* ---- ipset.c ---- */

/* An ipset that carries out a set, or some of the elements of a verdict map. */
struct ipset_part {
	char name[FW_NAME_MAX + 8];
	const char *type; /* "hash:net,port" */
	enum ipt_family family;
	enum ipset_elems { IPSET_ALL, IPSET_NETS, IPSET_NET_PORTS } elems;
	enum fw_verdict verdict; /* of the elements of a map */
};

#define IPSET_PARTS 6

/* The ipsets of s: none for a verdict map too small for it. -EOPNOTSUPP when ipset(8) has no
 * type for such keys. */
int ipset_parts(const struct fw_set *s, struct ipset_part parts[IPSET_PARTS], size_t *ret_n,
		struct err *err);
bool ipset_part_has(const struct ipset_part *p, const struct fw_set *s, const struct fw_elem *e);
/* "src,dst": which end of the packet each dimension of the ipset is compared with, for a key
 * that is looked up by these fields. */
const char *ipset_directions(const struct fw_set *s, const enum fw_field fields[]);
/* Commands for `ipset restore`: create and fill; one verb for every element. */
int ipset_create_text(const struct fw_table *t, unsigned int generation, struct buf *b,
		      struct err *err);
int ipset_elems_text(const struct fw_table *t, const struct fw_set *s, unsigned int generation,
		     const char *verb, struct buf *b, struct err *err);

/* Whether its ipset must hold more than its elements, because networks may be inside others. */
bool ipset_nests(const struct fw_set *s);

/* ---- ipset_nest.c: sets of which ipset_nests() is true ---- */

/* What the ipset of such a set holds, in a set like it of the caller's. */
struct fw_set ipset_nested(const struct fw_set *s);
/* Frees the elements of such a copy. */
void ipset_elems_done(struct fw_set *s);
/* As ipset_elems_text(), for the ipset that is in ns: from what it holds to what it will. */
int ipset_nested_text(const struct netns *ns, const struct fw_table *t, const struct fw_set *s,
		      unsigned int generation, bool add, struct buf *b, struct err *err);

/* ---- iptables_rule.c ---- */

/* One rule as lines for iptables-restore; none where it is about the other family. */
int ipt_rule_text(const struct fw_table *t, const struct fw_chain *c, const struct fw_rule *r,
		  enum ipt_family family, unsigned int generation, struct buf *b, struct err *err);

/* An element of a map of destinations as a line for iptables-restore that appends it to the map's
 * chain. Its comment tells it from all others. */
int ipt_target_text(const struct fw_table *t, const struct fw_set *s, const struct fw_elem *e,
		    struct buf *b, struct err *err);
/* That comment, in quotes, as it is printed. */
void ipt_target_comment(const struct fw_set *s, const struct fw_elem *e, struct buf *b);
enum ipt_family ipt_target_family(const struct fw_set *s);

/* ---- iptables_save.c: reading what iptables-save, ip6tables-save and ebtables-save print ---- */

/* A line of such a listing: ":CHAIN POLICY" or "-A CHAIN RULE", and the table it stands in. */
struct save_line {
	char table[16];
	const char *text; /* not terminated */
	size_t len;
	const char *chain;
	size_t chain_len;
	const char *next; /* where the rest of the listing starts */
};

/* Steps to the next line about a chain; start with {.next = text}. */
bool save_next(struct save_line *l);
/* The chain that the line's rule jumps to, or NULL. */
const char *save_target(const struct save_line *l, size_t *ret_len);
bool save_has_jump(const char *listing, const char *table, const char *from, const char *to);
/* Runs PROGRAM-save and appends what it prints. */
int save_run(const struct netns *ns, const char *program, struct buf *ret, struct err *err);
/* Whether it works. What it says no to, whatever it says, is ERR_UNSUPPORTED or ERR_PERMISSION; that it cannot be
 * run is neither. */
int save_probe(const struct netns *ns, const char *program, struct err *err);
/* The lines about chains of t and the jumps to them, grouped by chain, in an order that does not
 * depend on the kernel's. sort_rules: chains whose rules have no order, or NULL. */
void save_lines_of(const struct fw_table *t, const char *listing,
		   bool (*sort_rules)(const char *chain, size_t len), struct lines *ret);

/* Runs a *-restore program on its text; the error names the program and its complaint. */
int restore_run(const struct netns *ns, const char *const argv[], const struct buf *text,
		struct err *err);

/* ---- ebtables.c: the tables of FW_BRIDGE in rs ---- */

int ebtables_apply(struct netns *ns, const struct ruleset *rs, struct err *err);
int ebtables_update(struct netns *ns, const struct ruleset *add, const struct ruleset *del,
		    struct err *err);
int ebtables_remove(struct netns *ns, const struct ruleset *rs, struct err *err);
int ebtables_verify(struct netns *ns, struct netns *scratch, const struct ruleset *rs,
		    struct err *err);

/* ---- ebtables_nd.c: the rules of these tables that match FW_ND_TARGET, for ebtables.c ---- */

int ebtables_nd_apply(struct netns *ns, const struct ruleset *rs, struct err *err);
int ebtables_nd_update(struct netns *ns, const struct ruleset *add, const struct ruleset *del,
		       struct err *err);
int ebtables_nd_remove(struct netns *ns, const struct ruleset *rs, struct err *err);
int ebtables_nd_verify(struct netns *ns, const struct ruleset *rs, struct err *err);

#endif
