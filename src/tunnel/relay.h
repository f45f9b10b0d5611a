/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Datagrams and pings of a tunnel, by way of an agent on a server (docs/proto/agent.md): byway's
 * side of its channel. The channel comes and goes, the flows stay.
 *
 * One thread, the owner, makes it, attaches and detaches, and calls relay_step() and
 * relay_expire(); relay_input() and relay_get_stats() are for any thread. Nothing blocks, and
 * nothing is allocated after relay_new().
 */
#ifndef BYWAY_TUNNEL_RELAY_H
#define BYWAY_TUNNEL_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/proto.h"
#include "base/ip.h"
#include "tunnel/packet.h"

struct relay;

enum relay_dns {
	RELAY_DNS_OFF,    /* datagrams to port 53 go where they were sent to */
	RELAY_DNS_REMOTE, /* they go to the server's own resolver, the first one that takes them */
	RELAY_DNS_ADDR,   /* they go to one resolver */
};

struct relay_config {
	int tun;      /* borrowed: packets for the guest are written to it; non-blocking */
	size_t flows; /* at once, 1 to PROTO_FLOWS_MAX; 0: RELAY_FLOWS */
	enum relay_dns dns;
	struct ip resolver;  /* of RELAY_DNS_ADDR */
	uint32_t timeout_ms; /* an agent that is silent for so long is given up; 0: 15 seconds */
};

#define RELAY_FLOWS 4096

int relay_new(const struct relay_config *config, struct relay **ret);
void relay_free(struct relay *r);

/* Takes the channel of an agent whose HELLO has been read (deploy.h), non-blocking. What was sent
 * in the last seconds without an agent goes to it. 0, or -errno: then the channel is closed. */
int relay_attach(struct relay *r, int fd, const struct proto_hello *hello, uint64_t now_ms);
/* Closes the channel, which ends the agent; legal when there is none. */
void relay_detach(struct relay *r, uint64_t now_ms);

/* To wait for (EPOLLIN), and what to call then. 0; or -errno when the channel has just been lost,
 * and detached: -EPIPE when it ended, -EPROTO when what came is not the protocol, -ETIMEDOUT when
 * the agent was silent. */
int relay_fd(const struct relay *r);
int relay_step(struct relay *r, uint64_t now_ms);
/* What is due by time; as relay_step(). *ret_wait_ms: when to call it again, at the latest. */
int relay_expire(struct relay *r, uint64_t now_ms, int *ret_wait_ms);

/* kind: PACKET_UDP or PACKET_ECHO. It is queued, or dropped and counted. False: nobody carries such
 * packets, see relay_refuse(). */
bool relay_input(struct relay *r, enum packet_kind kind, const struct packet *p, uint64_t now_ms);
/* Of any thread: there is no agent, and there will be none; or there may be one again. */
void relay_refuse(struct relay *r, bool refuses);
/* Of any thread: the address, to port 53 of which somebody wants to send, becomes that of the
 * resolver that datagrams would go to; it stays without one. */
void relay_redirect(struct relay *r, struct ip *addr);

struct relay_stats {
	uint64_t out, out_bytes; /* datagrams and their payload, from the guest */
	uint64_t in, in_bytes;
	uint64_t out_dropped; /* no room in the queue, no agent, or an address without a way */
	uint64_t in_dropped;  /* the TUN device did not take it, or its flow was gone */
	uint64_t errors;      /* ICMP errors passed to the guest */
	uint64_t evicted;     /* flows that had to go for newer ones */
	uint32_t flows;
	bool attached;
	uint32_t rtt_us;          /* of the last ping through the channel; 0: none yet */
	struct agent_stats agent; /* of this agent, some seconds old */
};

void relay_get_stats(struct relay *r, struct relay_stats *ret);

#endif
