/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clones: machines that are the same inside, because they wake up from one snapshot. Each has its
 * TAP device, of whatever name the snapshot has, in a namespace of its own, which the network knows
 * by an address of its own.
 *
 *	machine 10.10.0.2 ── tap0 ─(namespace)─ eth0 10.10.0.7 ──── vm-c1 ── micropod0
 *	                           10.10.0.2 ⇄ 10.10.0.7
 *
 * IPv4 only. The namespace answers ARP for all that the machine asks for and has its gateway's MAC,
 * so that what the snapshot remembers of neighbours stays true. What the machine cannot reach is who
 * has the address outside that it has inside.
 */
#ifndef BYWAY_VPC_CLONE_H
#define BYWAY_VPC_CLONE_H

#include "vpc/port.h"

struct netns;
struct ruleset;

/* The namespace's interface towards the network. */
#define CLONE_OUTSIDE "eth0"
/* The machine's, when nobody says another. */
#define CLONE_TAP "tap0"

/* Makes one of a port with a namespace: what was said of the machine's address and MAC is what it has
 * inside. */
void clone_make(struct port *p);
/* Checks what was asked for, and fills in what was not: addr has a family, tap may be "" and mac
 * zero. */
int clone_check(const struct vpc *v, struct port *p, struct err *err);
/* What translates, before there is anything to translate; p->addr is the address outside. */
void clone_rules(const struct port *p, struct ruleset *rs);
/* In the namespace, which has its interface to the network already. */
int clone_up(struct netns *ns, const struct vpc *v, const struct port *p, struct err *err);

#endif
