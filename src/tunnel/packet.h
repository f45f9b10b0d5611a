/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets as they come out of a TUN device and go into it: a virtio_net_hdr (virtio 1.2, 5.1.6), an
 * IPv4 or IPv6 header, TCP, UDP or an ICMP echo request. Up to 64 KiB each; segmentation and most
 * checksums are left to the kernel.
 */
#ifndef BYWAY_TUNNEL_PACKET_H
#define BYWAY_TUNNEL_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "tunnel/ranges.h"

/* The two ends, seen from the packet that came out of the TUN. */
struct endpoints {
	struct ip src, dst;
	uint16_t sport, dport; /* host order */
};

bool endpoints_equal(const struct endpoints *a, const struct endpoints *b);
/* For tables that nobody can crowd who does not know the key. kind: the same ends of another kind
 * are others. */
uint64_t endpoints_hash(const struct endpoints *ends, uint16_t kind, const uint64_t key[2]);

#define TCP_FIN 0x01u
#define TCP_SYN 0x02u
#define TCP_RST 0x04u
#define TCP_PSH 0x08u
#define TCP_ACK 0x10u

#define TCP_SACK_MAX 4 /* as many as options have room for */

struct tcp_segment {
	uint32_t seq, ack;
	uint16_t window; /* not scaled */
	uint8_t flags;
	uint16_t mss;      /* of a SYN; 0 without the option */
	uint8_t wscale;    /* of a SYN; TCP_NO_WSCALE without */
	bool sack_allowed; /* of a SYN (RFC 2018) */
	bool has_time;     /* timestamps (RFC 7323) */
	uint32_t time, time_echo;
	unsigned int n_sack;
	struct seq_range sack[TCP_SACK_MAX];
	const uint8_t *data;
	size_t len;
};

#define TCP_NO_WSCALE 255

enum packet_kind {
	PACKET_BAD, /* malformed, wrong checksum, a fragment: dropped */
	PACKET_TCP,
	PACKET_UDP,
	PACKET_ECHO,  /* an ICMP echo request; ends.sport is its identifier, ends.dport 0 */
	PACKET_OTHER, /* of a protocol that is not tunnelled: may be answered with an error */
	PACKET_TOO_BIG, /* an ICMP error about one of our segments: a link on the way carries less */
	PACKET_ERROR,   /* another ICMP error, or other ICMP than an echo request: never answered (RFC
			   1122 3.2.2) */
};

struct packet {
	struct endpoints ends;
	struct tcp_segment tcp; /* of PACKET_TCP; of PACKET_TOO_BIG, seq is that of the segment */
	uint32_t mtu;           /* of PACKET_TOO_BIG; ends are the flow's, as the guest sends */
	const uint8_t *data;    /* payload of PACKET_UDP and PACKET_ECHO */
	size_t len;
	uint16_t gso_size; /* of PACKET_UDP: data is several datagrams, each so long but for the last;
			      0: one */
	uint16_t seq;      /* of PACKET_ECHO */
	const uint8_t *ip; /* the IP header, for ICMP errors */
	size_t ip_len;
};

/* buf: what read() gave, virtio_net_hdr first. Nothing in it is trusted. */
enum packet_kind packet_parse(const uint8_t *buf, size_t len, struct packet *ret);

/* Room that packet_put_tcp() needs in front of the payload. */
#define PACKET_HEADROOM 128

struct tcp_reply {
	uint32_t seq, ack;
	uint16_t window;
	uint8_t flags;
	uint16_t mss;      /* put as an option when not 0 */
	uint8_t wscale;    /* put when mss is and this is not TCP_NO_WSCALE */
	bool sack_allowed; /* put when mss is */
	bool has_time;     /* put time and time_echo */
	uint32_t time, time_echo;
	const struct ranges *sack; /* put, as many as there is room for; or NULL */
	uint16_t gso_size;         /* segment size when the payload is larger */
};

/* Bytes that timestamps take in each segment. */
#define TCP_TIME_BYTES 12

/* Writes headers for a segment that goes back (from ends->dst to ends->src), right in front of
 * payload, which must have PACKET_HEADROOM bytes before it. Returns where the packet begins;
 * *ret_len is its length. The TCP checksum is the kernel's to finish. */
uint8_t *packet_put_tcp(const struct endpoints *ends, const struct tcp_reply *r, uint8_t *payload,
			size_t len, size_t *ret_len);
/* As above, for a UDP datagram that goes back. */
uint8_t *packet_put_udp(const struct endpoints *ends, uint8_t *payload, size_t len,
			size_t *ret_len);

/* An echo reply that goes back. */
uint8_t *packet_put_echo(const struct endpoints *ends, uint16_t seq, uint8_t *payload, size_t len,
			 size_t *ret_len);

enum packet_error {
	PACKET_UNREACHABLE,
	PACKET_PROHIBITED,
	PACKET_NET_UNREACHABLE,
	PACKET_PORT_UNREACHABLE,
	PACKET_MTU_EXCEEDED,
	PACKET_NUM_ERRORS,
};

/* An ICMP or ICMPv6 error about a packet of which we know ip, ip_len (its beginning is quoted).
 * Returns the length written into buf, which holds PACKET_ERROR_MAX bytes. */
#define PACKET_ERROR_MAX 640
size_t packet_put_error(enum packet_error error, const struct endpoints *ends, const uint8_t *ip,
			size_t ip_len, uint8_t *buf);
/* The same about a SYN that is no longer at hand. */
size_t packet_put_syn_error(enum packet_error error, const struct endpoints *ends, uint32_t seq,
			    uint8_t *buf);
/* And about a datagram, or an echo request, of which nothing else is known. mtu: of
 * PACKET_MTU_EXCEEDED, else 0. */
size_t packet_put_udp_error(enum packet_error error, uint32_t mtu, const struct endpoints *ends,
			    uint8_t *buf);
size_t packet_put_echo_error(enum packet_error error, uint32_t mtu, const struct endpoints *ends,
			     uint16_t seq, uint8_t *buf);

#endif
