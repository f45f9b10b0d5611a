/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DNS messages (RFC 1035 4.1, RFC 6891) as far as a forwarder and a server of made-up addresses
 * need them, and who asks whether a resolver is there: queries are read, small ones and replies are
 * built, large ones are cut. Nothing in a message is
 * trusted, nothing is allocated.
 */
#ifndef BYWAY_TUNNEL_DNSMSG_H
#define BYWAY_TUNNEL_DNSMSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

#define DNSMSG_HEADER 12
#define DNSMSG_NAME_MAX 255 /* bytes on the wire, with the root's (RFC 1035 2.3.4) */
#define DNSMSG_TEXT_MAX 256 /* a name with dots, and the NUL */
#define DNSMSG_UDP_MIN 512  /* what every client takes (RFC 1035 2.3.4) */
#define DNSMSG_QUERY_MAX (DNSMSG_HEADER + DNSMSG_NAME_MAX + 4)
#define DNSMSG_REPLY_MAX 1024 /* of one built here: a question, one record, OPT */

#define DNSMSG_CLASS_IN 1
enum { DNSMSG_A = 1, DNSMSG_PTR = 12, DNSMSG_AAAA = 28, DNSMSG_OPT = 41 };

enum dnsmsg_rcode {
	DNSMSG_NOERROR = 0,
	DNSMSG_FORMERR = 1,
	DNSMSG_SERVFAIL = 2,
	DNSMSG_NXDOMAIN = 3,
	DNSMSG_NOTIMP = 4,
	DNSMSG_REFUSED = 5,
	DNSMSG_BADVERS = 16, /* RFC 6891 9: needs an OPT record */
	DNSMSG_IGNORE = -1,  /* no query at all: not to be answered */
};

struct dnsmsg_query {
	uint16_t id, type, class;
	uint16_t name_len, end; /* the name lies at DNSMSG_HEADER; end is behind the question */
	uint16_t udp_bytes;     /* what the client takes */
	bool edns, wants_dnssec;
	uint8_t name[DNSMSG_NAME_MAX]; /* as on the wire, letters in lower case */
};

/* DNSMSG_NOERROR, or what a reply should say. ret->id is set unless DNSMSG_IGNORE, ret->end is 0 as
 * long as there is no question to repeat. */
enum dnsmsg_rcode dnsmsg_parse_query(const uint8_t *msg, size_t len, struct dnsmsg_query *ret);

/* The name with dots between the labels and none at the end. False, with ret untouched, for the
 * root and for a name that no host has: other characters than letters, digits, "-" and "_". */
bool dnsmsg_host(const struct dnsmsg_query *q, char ret[DNSMSG_TEXT_MAX]);
/* The address that a name below in-addr.arpa or ip6.arpa stands for. */
bool dnsmsg_reverse(const struct dnsmsg_query *q, struct ip *ret);

/* A query with RD and nothing else, for a name with dots between its labels; *ret is as
 * dnsmsg_parse_query() has it. Returns its length; 0: there cannot be such a name. */
size_t dnsmsg_put_query(uint16_t id, uint16_t type, const char *host, uint8_t buf[DNSMSG_QUERY_MAX],
			struct dnsmsg_query *ret);
/* A reply to msg, of which dnsmsg_parse_query() made q: header and question, without records.
 * Returns its length. buf holds DNSMSG_REPLY_MAX bytes, and may be msg. */
size_t dnsmsg_put_reply(const struct dnsmsg_query *q, const uint8_t *msg, enum dnsmsg_rcode rcode,
			uint8_t *buf);
/* Append one record to a reply of len bytes; return its new length. Answers come before OPT. */
size_t dnsmsg_put_address(uint8_t *buf, size_t len, const struct ip *ip, uint32_t ttl_s);
size_t dnsmsg_put_pointer(uint8_t *buf, size_t len, const char *host, uint32_t ttl_s);
/* Only where the query had one, as RFC 6891 7 wants it. */
size_t dnsmsg_put_opt(const struct dnsmsg_query *q, enum dnsmsg_rcode rcode, uint8_t *buf,
		      size_t len);

/* Is msg, of len bytes, an answer to the query: a response, to the same question? */
bool dnsmsg_answers(const struct dnsmsg_query *q, const uint8_t *msg, size_t len);
/* What went wrong, by a response of nothing but a header, as of servers that cannot read OPT
 * (RFC 6891 7); DNSMSG_NOERROR when it is another message. */
enum dnsmsg_rcode dnsmsg_bare_refusal(const uint8_t *msg, size_t len);
/* Cuts a response that dnsmsg_answers() to header, question and OPT, and says so (TC); to no more
 * than max bytes, at least DNSMSG_UDP_MIN. Returns the new length. */
size_t dnsmsg_truncate(const struct dnsmsg_query *q, uint8_t *msg, size_t len, size_t max);

#endif
