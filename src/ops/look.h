/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole machine at one moment, as JSON: what `byway status`, events, graph, metrics and the web
 * page all show.
 *
 * The document has lists: interfaces (the ways out of the host), vpcs with what is in them,
 * egresses, tunnels and sessions, but for those that an egress is made of, and hosts: this one, when
 * it goes out by egresses. Each object is as its
 * own command shows it; a workload with a way out of its own has egress, one that ports of the host
 * lead to has published. Besides, all have, in words and numbers that mean the same for each:
 *
 *	condition           one word: CONDITION_ below, or what a tunnel or a session is
 *	error               why it is not as it should be, or what went wrong last; null
 *	rx_bytes, tx_bytes  what came to it and what it sent, as it sees that; also packets, dropped
 *	rx_rate, tx_rate    the same in bytes a second, when there was a look before
 */
#ifndef BYWAY_OPS_LOOK_H
#define BYWAY_OPS_LOOK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define CONDITION_UP "up"
#define CONDITION_IDLE "idle"       /* nobody has opened the TAP device */
#define CONDITION_DOWN "down"       /* its link is */
#define CONDITION_MISSING "missing" /* its link is gone */

struct look {
	json_t *doc;    /* byway.status/1, without the schema; owned */
	uint64_t at_ms; /* CLOCK_MONOTONIC */
};

void look_done(struct look *l);
#define _look_ _cleanup_(look_done)

/* Reads the state, without the lock, the status files and the kernel's counters. Writes nothing.
 * What of it needs a privilege that is missing, such as the bytes of a session, is 0. */
int look_take(struct look *ret, struct err *err);
/* Adds the rates to what there was in both. */
void look_rates(const struct look *now, const struct look *before);

/* ---- Going through one (look_walk.c) ---- */

#define LOOK_ID_MAX 160

struct look_object {
	const char *kind;     /* "vpc", "subnet", "vm", "container", "nat", "peer", "interface",
			       * "egress", "tunnel", "session" or "host" */
	char id[LOOK_ID_MAX]; /* of which there is one of a kind: "shop/web", "a/b", "eth0" */
	json_t *json, *vpc;   /* vpc: the one it is in, or NULL */
};

typedef void (*look_fn)(void *arg, const struct look_object *o);
/* Every object once; what is in a VPC after the VPC. */
void look_walk(const json_t *doc, look_fn fn, void *arg);

/* "KIND ID" */
#define LOOK_KEY_MAX (LOOK_ID_MAX + 16)
const char *look_key(const struct look_object *o, char ret[LOOK_KEY_MAX]);
/* The objects by that; a new reference to an object that has them. */
json_t *look_index(const json_t *doc);

/* A member that is text; "" when there is none. */
const char *look_text(const json_t *o, const char *key);
/* A member that is a number; 0 when there is none. */
json_int_t look_number(const json_t *o, const char *key);

#endif
