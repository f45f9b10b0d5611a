/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One thread's share of a tunnel: a queue of the TUN device, its flows, their upstream streams, and
 * an event loop over them. Workers share nothing but the dialer.
 */
#ifndef BYWAY_TUNNEL_WORKER_H
#define BYWAY_TUNNEL_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/dns.h"
#include "tunnel/tcp.h"

struct err;
struct worker;

struct worker_config {
	const struct dialer *dialer;
	int tun; /* taken; non-blocking, whole packets, TUN_HEADER in front */
	uint16_t mtu;
	size_t max_flows;
	size_t max_dials;    /* streams being opened at once */
	size_t chunks;       /* see tcp_init() */
	struct dns *dns;     /* borrowed; NULL with DNS_BYPASS */
	struct relay *relay; /* borrowed; NULL: datagrams are refused */
	bool steps_dns;      /* this worker is the one that does */
};

struct worker_status {
	struct tcp_counters tcp;
	uint64_t flows, dials;
	uint64_t packets, ignored;     /* from the TUN; not TCP, or malformed */
	enum dial_status last_failure; /* DIAL_PENDING: none yet */
	char last_reason[160];
	uint64_t failed_ms; /* when that was (clock_ms()) */
	/* Why the latest stream failed, if because of the proxy and not of its target; and whom it
	 * was for. */
	enum dial_status proxy_failure; /* DIAL_PENDING: it did not */
	struct dial_target failed_target;
	uint64_t judged_ms; /* when that became known; 0: never */
};

int worker_new(const struct worker_config *config, struct worker **ret, struct err *err);
void worker_free(struct worker *w);

/* Leaves the calling thread, which is going to be worker_run()'s, no other system calls than that
 * needs. */
int worker_confine(struct err *err);
/* Who may have the flow that an ICMP error is about, when w has not: those come by any queue.
 * peers: the n workers of the tunnel, w among them; borrowed. Before any of them runs. */
void worker_set_peers(struct worker *w, struct worker *const *peers, size_t n);
/* Runs until worker_stop(), which any thread and a signal handler may call. 0, or -errno when the
 * TUN device is gone. */
int worker_run(struct worker *w);
void worker_stop(struct worker *w);

/* Notes that a stream could not be opened; any thread. */
void worker_note_failure(struct worker *w, enum dial_status why, const char *reason);
/* A copy that is at most a second old, or knows the latest change of proxy_failure; any thread. */
void worker_get_status(struct worker *w, struct worker_status *ret);

#endif
