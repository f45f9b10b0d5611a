/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Why does A reach B, or why not: what decides about a connection's first packet on its way,
 * namespace by namespace, from the state (why.c); and a probe that the kernel traces (why_live.c).
 */
#ifndef BYWAY_OPS_WHY_H
#define BYWAY_OPS_WHY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "vpc/port.h"

struct err;
struct ops;

#define WHY_HOST "host" /* the name of that end */

struct why_flow {
	int family;    /* AF_INET or AF_INET6 */
	uint8_t proto; /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP (of IPv6, too) */
	uint16_t port; /* 0 without one */
};
/* "tcp/443", "443/tcp", "udp/53", "icmp"; "443" is TCP. Leaves the family alone. */
int why_flow_parse(const char *text, struct why_flow *ret, struct err *err);

enum why_kind { WHY_SUBNET, WHY_PORT, WHY_THIS_HOST, WHY_OUTSIDE };

struct why_end {
	enum why_kind kind;
	struct vpc vpc;       /* of a subnet or port */
	struct subnet subnet; /* of a subnet; of a port in one, that */
	struct port port;
	struct ip addr;
};

struct why_step {
	char where[2 * NAME_MAX_LEN];
	char what[384];
	bool stops;
	char *file; /* that the rule came from, owned; NULL: no file */
	unsigned int line;
};

struct why {
	struct why_flow flow;
	struct why_end from, to; /* to, and flow: after what was sent on by a published port */
	struct ip asked;         /* and before */
	uint16_t asked_port;
	struct why_step *steps;
	size_t n_steps;
	bool reaches;
	/* Where it leaves the host: an interface, or ""; what is behind it nobody here decides. */
	char leaves_by[IFNAMSIZ];
};
void why_done(struct why *w);
#define _why_ _cleanup_(why_done)

/* Ends are "VPC/SUBNET", "NETWORK/NAME", WHY_HOST (as a target, the gateway's address of who asks)
 * or an address, whoever has it. ret->flow is set. */
int ops_why(struct ops *o, const char *from, const char *to, struct why *ret, struct err *err);

/* What the kernel did with a probe. */
struct why_live {
	bool answered; /* by the target: a connection, a refusal, an echo */
	bool traced;   /* the last rule that the kernel told of is known: */
	bool dropped;
	char where[2 * NAME_MAX_LEN], rule[256]; /* namespace; "inet byway forward, rule 12" */
};
/* Sends one from w->from, a subnet or the host, and follows it. -EOPNOTSUPP (ERR_UNSUPPORTED) for
 * who cannot send from here. */
int ops_why_live(struct ops *o, const struct why *w, struct why_live *ret, struct err *err);

#endif
