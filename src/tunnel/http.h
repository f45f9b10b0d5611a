/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The header of an HTTP/1 response (RFC 9112), as far as a CONNECT client needs it: the status,
 * why, and how the proxy wants to be authenticated to. Fed in pieces of any size, bounded, no
 * allocation.
 */
#ifndef BYWAY_TUNNEL_HTTP_H
#define BYWAY_TUNNEL_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "tunnel/digest.h"

#define HTTP_HEADER_MAX 16384 /* bytes, interim responses included */
#define HTTP_LINE_MAX 640     /* what is looked at of a line */

struct http_response {
	unsigned int status; /* 0 until it is known */
	char phrase[48];     /* printable ASCII, maybe cut */
	char cause[64];      /* of X-Squid-Error, else of Proxy-Status (RFC 9209), as phrase */
	bool wants_basic;    /* Proxy-Authenticate has Basic */
	bool wants_digest;   /* a Digest that digest.h can do: the first is the challenge */
	bool stale;          /* the credentials were right and the nonce was old */
	char scheme[16];     /* the first scheme it names, for a message */
	struct digest_challenge challenge;
	/* The parser's own. */
	size_t total, len;
	unsigned int state;
	char line[HTTP_LINE_MAX];
};

void http_response_init(struct http_response *r);
/*
 * Takes n bytes. 1: the header is complete, and the first *ret_used bytes belonged to it; what
 * follows is the stream's. 0: all were taken, and more are needed. -EBADMSG: this is not HTTP/1.
 * -EMSGSIZE: the header does not end. Interim responses (1xx) are passed over.
 */
int http_response_feed(struct http_response *r, const char *data, size_t n, size_t *ret_used);

#endif
