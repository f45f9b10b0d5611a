/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a tunnel does when the network around it changes, or its proxy goes elsewhere.
 */
#ifndef BYWAY_OPS_ROAM_H
#define BYWAY_OPS_ROAM_H

#include <stdbool.h>
#include <stdint.h>

#include "tunnel/dialer.h"

struct err;
struct firewall;
struct netns;
struct proxy_config;
struct roam;

/* Fills in addrs of the upstreams, and with these the capture's upstreams when the capture is of
 * our own namespace. Waits for the resolvers. */
int roam_resolve(struct proxy_config *c, struct err *err);

/* All are borrowed. From now on c->addrs and c->capture are roam's to change. */
int roam_new(struct proxy_config *c, struct netns *ns, struct firewall *fw, struct dialer *dialer,
	     struct roam **ret, struct err *err);
void roam_free(struct roam *r);
/* Does what is to be done, until signal_fd is readable (true), the proxy was found to be there or
 * not to be (false), or the time is over (false). */
bool roam_wait(struct roam *r, int signal_fd, int timeout_ms);
/* Streams fail, or do not fail any more, because the proxy cannot be reached. */
void roam_set_away(struct roam *r, bool away);
/* Streams take long to open: is it there? */
void roam_doubt(struct roam *r);
/* Whether the proxy could be reached by TCP when this was last tried; *ret_ms is when that was
 * (CLOCK_MONOTONIC), or 0. */
bool roam_reached(const struct roam *r, uint64_t *ret_ms);
/* Streams are refused, DIAL_AUTH or DIAL_BROKEN, the latest one for target: it is asked now and then
 * whether that is over. DIAL_PENDING: they are not. */
void roam_set_refused(struct roam *r, enum dial_status why, const struct dial_target *target);
/* What it said to that, DIAL_PENDING for that it does its work, and when: CLOCK_MONOTONIC, or 0. */
enum dial_status roam_answer(const struct roam *r, uint64_t *ret_ms);

#endif
