/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frames between byway and its agent on a server: docs/proto/agent.md. One codec for both
 * sides, without a C library, since the agent has none.
 */
#ifndef BYWAY_AGENT_PROTO_H
#define BYWAY_AGENT_PROTO_H

#include <stddef.h>
#include <stdint.h>

#define PROTO_MAGIC 0x62797761u /* "bywa" */
#define PROTO_VERSION 1

#define PROTO_FLOWS_MAX 65535u   /* a flow number has 16 bits for the slot */
#define PROTO_DATAGRAM_MAX 65527 /* 65535 less the UDP header (RFC 768) */
#define PROTO_RESOLVERS_MAX 3    /* as many as resolv.conf(5) can name */
#define PROTO_HEAD_MAX 72        /* of a frame, payload not counted */
#define PROTO_FRAME_MAX (PROTO_HEAD_MAX + PROTO_DATAGRAM_MAX)

enum frame_type {
	FRAME_HELLO = 1,
	FRAME_DATAGRAM,
	FRAME_ECHO,
	FRAME_CLOSE,
	FRAME_ERROR,
	FRAME_PING,
	FRAME_PONG,
	FRAME_STATS,
	FRAME_SHUTDOWN,
	FRAME_ACK,
	FRAME_NUM_TYPES,
};

/* What an ICMP error, or a refusal of the server's kernel, means to the sender of a datagram. */
enum flow_error {
	FLOW_ERROR_NET,        /* network unreachable */
	FLOW_ERROR_HOST,       /* host unreachable */
	FLOW_ERROR_PORT,       /* port unreachable: nobody listens */
	FLOW_ERROR_PROHIBITED, /* administratively prohibited, or not permitted there */
	FLOW_ERROR_TOO_BIG,    /* frame.mtu is what would fit, or 0 */
	FLOW_ERROR_LIMIT,      /* the agent has no socket left for it */
	FLOW_NUM_ERRORS,
};

enum frame_sender { FROM_BYWAY, FROM_AGENT };

struct proto_addr {
	uint8_t family; /* 4, 6, or 0 for none */
	uint8_t bytes[16];
};

struct agent_stats {
	uint64_t out, in;             /* datagrams sent and received by the agent's sockets */
	uint64_t dropped, overflowed; /* by the agent; by the kernel in front of its sockets */
	uint32_t flows;
};

/* From the agent: what it is. From byway: what is asked of it. */
struct proto_hello {
	uint16_t version;
	uint16_t flows;  /* slots 0 to flows - 1 may be used; at least 1 */
	uint16_t idle_s; /* the agent closes a flow that is silent for so long; 0 from the agent */
	uint8_t n_resolvers; /* of the server, in the order of its resolv.conf; 0 from byway */
	struct proto_addr resolvers[PROTO_RESOLVERS_MAX];
};

/* Of a frame, what its type has; the rest is 0. */
struct frame {
	enum frame_type type;
	uint32_t flow;
	struct proto_addr addr; /* where to: of a DATAGRAM or ECHO from byway */
	uint16_t port;          /* of a DATAGRAM from byway; host order, not 0 */
	uint16_t seq;           /* of an ECHO, or of an ERROR about one */
	enum flow_error error;
	uint32_t mtu;
	uint64_t token; /* of a PING, and of its PONG; of an ACK the bytes */
	struct agent_stats stats;
	struct proto_hello hello;
	const uint8_t *data; /* payload of a DATAGRAM or ECHO */
	size_t len;
};

/* A flow number is a slot, and the slot's turn: how often it was given to another flow. */
static inline uint32_t flow_slot(uint32_t flow)
{
	return flow & 0xffff;
}

/* Takes the first frame out of buf. 1, with its length in *ret_used; 0 when it is not complete,
 * then *ret_used is its length as far as known, at most PROTO_FRAME_MAX; -1 when no such frame
 * exists: the stream cannot be read any further. ret->data points into buf. */
int frame_parse(enum frame_sender sender, const uint8_t *buf, size_t len, struct frame *ret,
		size_t *ret_used);
/* Writes what stands before the payload, whose length is f->len, and returns its length. The frame
 * must be one that frame_parse() would take. */
size_t frame_put_head(enum frame_sender sender, const struct frame *f,
		      uint8_t head[PROTO_HEAD_MAX]);

#endif
