/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One question through a tunnel: an echo request, a TCP connection, or a DNS query, from a
 * session's namespace. Never blocks.
 */
#ifndef BYWAY_SESSION_HEALTH_H
#define BYWAY_SESSION_HEALTH_H

#include "session/session.h"

struct health {
	enum session_probe probe;
	int fd;       /* -1: none under way */
	short events; /* poll(2)'s: when to call health_step() */
	uint16_t id;  /* of the echo request or the query */
	struct ip target;
};

/* dns: who is asked by PROBE_DNS; NULL when there is nobody (-ENOENT). */
int health_start(struct health *h, struct netns *ns, const struct session_health *what,
		 const struct ip *dns, struct err *err);
/* 1: it came through; 0: not yet; -errno with a sentence: it did not. The caller keeps the time
 * (timeout_ms). */
int health_step(struct health *h, struct err *err);
/* Legal when there is none. */
void health_stop(struct health *h);

#endif
