/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One question through a tunnel: an echo request, a TCP connection, or a DNS query, from a
 * session's namespace. Never blocks.
 */
#ifndef BYWAY_SESSION_HEALTH_H
#define BYWAY_SESSION_HEALTH_H

#include "session/session.h"
#include "tunnel/dnsmsg.h"

struct health {
	enum session_probe probe;
	int fd;       /* -1: none under way */
	short events; /* poll(2)'s: when to call health_step() */
	struct ip target;
	uint16_t port;
	uint16_t id, seq;          /* of the echo request */
	struct dnsmsg_query query; /* of PROBE_DNS */
};

/* device: nothing leaves but by it, whatever the routes say; NULL: as they say. dns: who is asked
 * by PROBE_DNS; NULL when there is nobody (-ENOENT). On failure there is none under way. */
int health_start(struct health *h, struct netns *ns, const char *device,
		 const struct session_health *what, const struct ip *dns, struct err *err);
/* 1: it came through; 0: not yet; -errno with a sentence: it did not. The caller keeps the time
 * (timeout_ms), and calls health_stop() whatever came of it. */
int health_step(struct health *h, struct err *err);
/* Legal when there is none. */
void health_stop(struct health *h);

#endif
