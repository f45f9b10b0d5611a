/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One description of tables, chains, sets and rules, whoever carries it out.
 *
 * A ruleset is built by the functions below, handed to firewall_apply(), and freed. Everything in
 * it is owned by it; pointers to its tables, chains, sets and rules stay valid until then. The
 * words are nftables' (nft(8)): base chains hang on hooks, sets hold keys of up to three
 * concatenated fields, an interval set holds ranges in every field, a verdict map gives each key a
 * verdict, a map of destinations an address and a port.
 *
 * Building never fails: names are bounded by the callers, memory ends the program.
 */
#ifndef BYWAY_FIREWALL_RULESET_H
#define BYWAY_FIREWALL_RULESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

struct buf;
struct cgroup;

enum fw_family {
	FW_INET,   /* IPv4 and IPv6 */
	FW_BRIDGE, /* frames on bridge ports */
	FW_NUM_FAMILIES,
};

enum fw_hook {
	FW_HOOK_NONE, /* not a base chain: reached by jump */
	FW_HOOK_PREROUTING,
	FW_HOOK_INPUT,
	FW_HOOK_FORWARD,
	FW_HOOK_OUTPUT,
	FW_HOOK_POSTROUTING,
	FW_NUM_HOOKS,
};

enum fw_chain_type {
	FW_CHAIN_FILTER,
	FW_CHAIN_NAT,
	FW_CHAIN_ROUTE, /* at output: a packet whose mark it changes is routed anew */
	FW_NUM_CHAIN_TYPES,
};

/* What a rule can look at. Lengths, names and encodings stand in one table in ruleset.c. */
enum fw_field {
	FW_IIFNAME,   /* 16 bytes, NUL-padded */
	FW_OIFNAME,   /* 16 bytes, NUL-padded */
	FW_IIFGROUP,  /* uint32_t, host order: ip-link(8) group */
	FW_OIFGROUP,  /* uint32_t, host order */
	FW_NFPROTO,   /* uint8_t: NFPROTO_IPV4, NFPROTO_IPV6 */
	FW_L4PROTO,   /* uint8_t: IPPROTO_* */
	FW_IP4_SADDR, /* 4 bytes, network order; implies the family, as the others below do */
	FW_IP4_DADDR,
	FW_IP6_SADDR, /* 16 bytes */
	FW_IP6_DADDR,
	FW_SPORT, /* 2 bytes, network order; FW_L4PROTO must be matched or be in the key */
	FW_DPORT,
	FW_ICMP4_TYPE,      /* uint8_t; implies IPPROTO_ICMP */
	FW_ICMP6_TYPE,      /* uint8_t; implies IPPROTO_ICMPV6 */
	FW_CT_STATE,        /* uint32_t of FW_CT_*, matched with FW_OP_ANY_BIT */
	FW_CT_MARK,         /* uint32_t, host order */
	FW_CT_DIRECTION,    /* uint8_t: FW_CT_ORIGINAL, FW_CT_REPLY */
	FW_MARK,            /* uint32_t, host order: of the packet (SO_MARK, ip-rule(8)'s fwmark) */
	FW_SKUID,           /* uint32_t, host order: owner of the sending socket; local packets only */
	FW_CGROUP,          /* uint64_t, host order: version 2, of the sending socket, or above it; with
			     * fw_match_cgroup() at output */
	FW_DADDR_TYPE,      /* uint32_t, host order: RTN_* of the destination address */
	FW_ETHER_SADDR,     /* 6 bytes */
	FW_ETHER_TYPE,      /* 2 bytes, network order: ETH_P_* */
	FW_ARP_SADDR_IP,    /* 4 bytes: sender protocol address */
	FW_ARP_SADDR_ETHER, /* 6 bytes: sender hardware address */
	FW_ND_TARGET,       /* 16 bytes: target of a neighbour solicitation or advertisement */
	/* Last: what no frame has. */
	FW_SKGID,     /* as FW_SKUID, its group */
	FW_CT_STATUS, /* uint32_t: FW_CT_DNAT, matched with FW_OP_ANY_BIT */
	FW_TCP_FLAGS, /* uint8_t of TH_*, with FW_OP_NO_BIT; implies IPPROTO_TCP */
	FW_HOP_LIMIT, /* uint8_t: of IPv6; a router has lowered it before forward */
	FW_NUM_FIELDS,
};

#define FW_CT_INVALID 1u
#define FW_CT_ESTABLISHED 2u
#define FW_CT_RELATED 4u
#define FW_CT_NEW 8u

/* IPS_DST_NAT: of a connection that was sent on to another destination. */
#define FW_CT_DNAT 0x20u

/* enum ip_conntrack_dir: of the packet, seen from the first one of its connection. */
#define FW_CT_ORIGINAL 0u
#define FW_CT_REPLY 1u

enum fw_verdict {
	FW_ACCEPT,
	FW_DROP,
	FW_RETURN,
	FW_JUMP,       /* to rule->target */
	FW_VMAP,       /* the verdict that rule->map holds for the key; no element: next rule */
	FW_MASQUERADE, /* in a FW_CHAIN_NAT chain at postrouting */
	FW_SET_MARK,   /* sets the bits rule->mark_bits of FW_MARK, then the next rule; with iptables
			* in a chain of its table mangle only: FW_CHAIN_ROUTE, or at prerouting */
	FW_SET_CT_MARK, /* the same of FW_CT_MARK, with iptables in any table */
	FW_REJECT,     /* with ICMP administratively prohibited; in a filter chain at input, forward
			* or output */
	FW_CLAMP_MSS,  /* lowers the maximum segment size that a TCP SYN asks for to what the path
			* takes, then the next rule; in a filter chain at forward or postrouting */
	FW_DNAT,       /* to rule->to; in a FW_CHAIN_NAT chain at prerouting or output */
	FW_DNAT_MAP,   /* to what rule->map holds for the key; no element: next rule */
	FW_TAKE,   /* at prerouting of FW_BRIDGE: the frame goes to the bridge itself, whose host
		    * will route it, instead of to another port; then the next rule. Its bridges
		    * have fw_take_mac as an address of their own */
	FW_NUM_VERDICTS,
};

enum fw_op {
	FW_OP_EQ,
	FW_OP_NE,
	FW_OP_RANGE,   /* lo <= field <= hi */
	FW_OP_ANY_BIT, /* (field & lo) != 0 */
	FW_OP_NO_BIT,  /* (field & lo) == 0; of FW_MARK, FW_CT_MARK and FW_TCP_FLAGS */
	FW_OP_IN,      /* the key made of fields[] is in set */
	FW_OP_NOT_IN,
};

/* Where packets are sent on to. */
struct fw_target {
	struct ip addr;
	uint16_t port; /* host order; 0: as it is */
};

extern const struct mac fw_take_mac;

#define FW_KEY_FIELDS 3
#define FW_NAME_MAX 32

struct fw_value {
	uint8_t bytes[16];
};

/* An element: in a plain set hi equals lo in every field; in an interval set it may be larger. */
struct fw_elem {
	struct fw_value lo[FW_KEY_FIELDS], hi[FW_KEY_FIELDS];
	enum fw_verdict verdict; /* of a verdict map: FW_ACCEPT, FW_DROP or FW_RETURN */
	struct fw_target to;     /* of a map of destinations, with a port */
};

struct fw_set {
	char name[FW_NAME_MAX];
	enum fw_field fields[FW_KEY_FIELDS];
	size_t n_fields;
	bool interval, is_vmap;
	int dnat_family; /* AF_INET or AF_INET6: a map of destinations */
	struct fw_elem *elems;
	size_t n_elems, cap_elems;
	struct fw_set *next;
};

struct fw_match {
	enum fw_op op;
	enum fw_field fields[FW_KEY_FIELDS];
	size_t n_fields; /* 1 but for FW_OP_IN and FW_OP_NOT_IN */
	struct fw_value lo, hi;
	const struct fw_set *set;
	const struct cgroup *cgroup; /* of FW_CGROUP; borrowed */
};

#define FW_RULE_MATCHES 6

struct fw_rule {
	struct fw_match match[FW_RULE_MATCHES];
	size_t n_matches;
	enum fw_verdict verdict;
	const struct fw_chain *target; /* FW_JUMP */
	const struct fw_set *map;      /* FW_VMAP, FW_DNAT_MAP; the key's fields are the set's */
	uint32_t mark_bits;            /* FW_SET_MARK, FW_SET_CT_MARK */
	struct fw_target to;           /* FW_DNAT */
	struct fw_rule *next;
};

struct fw_chain {
	char name[FW_NAME_MAX];
	enum fw_hook hook;
	enum fw_chain_type type;
	int priority;           /* NF_IP_PRI_*, NF_BR_PRI_* */
	enum fw_verdict policy; /* FW_ACCEPT or FW_DROP, of a base chain */
	struct fw_rule *rules, **last;
	struct fw_chain *next;
};

struct fw_table {
	enum fw_family family;
	char name[FW_NAME_MAX];
	struct fw_set *sets, **last_set;
	struct fw_chain *chains, **last_chain;
	struct fw_table *next;
};

struct ruleset {
	struct fw_table *tables, **last;
};

void ruleset_init(struct ruleset *rs);
void ruleset_done(struct ruleset *rs);
#define _ruleset_ _cleanup_(ruleset_done)

struct fw_table *ruleset_table(struct ruleset *rs, enum fw_family family, const char *name);
struct fw_chain *fw_base_chain(struct fw_table *t, const char *name, enum fw_chain_type type,
			       enum fw_hook hook, int priority, enum fw_verdict policy);
struct fw_chain *fw_chain(struct fw_table *t, const char *name);

/* A hash set, an interval set or (either kind) a verdict map. */
struct fw_set *fw_set(struct fw_table *t, const char *name, size_t n_fields,
		      const enum fw_field fields[]);
struct fw_set *fw_interval_set(struct fw_table *t, const char *name, size_t n_fields,
			       const enum fw_field fields[]);
struct fw_set *fw_verdict_map(struct fw_table *t, const char *name, size_t n_fields,
			      const enum fw_field fields[]); /* an interval set too */
/* A hash map of destinations of this family, AF_INET or AF_INET6. FW_L4PROTO is in its key. */
struct fw_set *fw_dnat_map(struct fw_table *t, const char *name, int family, size_t n_fields,
			   const enum fw_field fields[]);
void fw_set_add(struct fw_set *set, const struct fw_elem *elem);
/* An element of an address, or of a network, and the name of an interface behind it; NULL: the set
 * has no further field. Of no family: none. */
void fw_set_add_ip(struct fw_set *set, const struct ip *ip, const char *interface);
void fw_set_add_cidr(struct fw_set *set, const struct cidr *c, const char *interface);

/* Rules are read in the order they are added. Matches are added to the returned rule. */
struct fw_rule *fw_rule(struct fw_chain *c, enum fw_verdict verdict);
struct fw_rule *fw_rule_jump(struct fw_chain *c, const struct fw_chain *target);
struct fw_rule *fw_rule_vmap(struct fw_chain *c, const struct fw_set *vmap);
/* To a destination: with a port, the rule matches FW_L4PROTO. */
struct fw_rule *fw_rule_dnat(struct fw_chain *c, const struct fw_target *to);
struct fw_rule *fw_rule_dnat_map(struct fw_chain *c, const struct fw_set *map);
/* verdict: FW_SET_MARK or FW_SET_CT_MARK */
struct fw_rule *fw_rule_set_bits(struct fw_chain *c, enum fw_verdict verdict, uint32_t bits);
void fw_match_u8(struct fw_rule *r, enum fw_field f, enum fw_op op, uint8_t v);
void fw_match_u16(struct fw_rule *r, enum fw_field f, enum fw_op op, uint16_t v); /* host order */
void fw_match_u16_range(struct fw_rule *r, enum fw_field f, uint16_t lo, uint16_t hi); /* same */
void fw_match_u32(struct fw_rule *r, enum fw_field f, enum fw_op op, uint32_t v); /* host order */
void fw_match_name(struct fw_rule *r, enum fw_field f, enum fw_op op, const char *name);
/* Of a connection that was let through: established or related. */
void fw_match_replies(struct fw_rule *r);
/* The cgroup must outlive the ruleset. */
void fw_match_cgroup(struct fw_rule *r, const struct cgroup *cgroup);
void fw_match_ip(struct fw_rule *r, enum fw_field f, enum fw_op op, const struct ip *ip);
void fw_match_set(struct fw_rule *r, enum fw_op op, const struct fw_set *set, size_t n_fields,
		  const enum fw_field fields[]); /* fields may differ from the set's in direction */

/* Filling one field of an element; the _range forms are for interval sets. */
void fw_elem_name(struct fw_elem *e, size_t i, const char *name);
void fw_elem_mac(struct fw_elem *e, size_t i, const struct mac *mac);
void fw_elem_ip(struct fw_elem *e, size_t i, const struct ip *ip);
void fw_elem_cidr(struct fw_elem *e, size_t i, const struct cidr *c);
void fw_elem_u8_range(struct fw_elem *e, size_t i, uint8_t lo, uint8_t hi);
void fw_elem_u16_range(struct fw_elem *e, size_t i, uint16_t lo, uint16_t hi); /* host order */

/* Facts about fields, for the backends. */
size_t fw_field_len(enum fw_field f);
const char *fw_field_name(enum fw_field f); /* nft(8)'s expression, such as "ip saddr" */

/* Appends the ruleset as `nft list ruleset` would show it. */
void ruleset_print(const struct ruleset *rs, struct buf *b);

#endif
