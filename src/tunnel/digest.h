/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP Digest authentication (RFC 7616; without qop as in RFC 2069): what a challenge says, and
 * the answer.
 */
#ifndef BYWAY_TUNNEL_DIGEST_H
#define BYWAY_TUNNEL_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum digest_hash { DIGEST_MD5, DIGEST_SHA256, DIGEST_SHA512_256, DIGEST_NUM_HASHES };

#define DIGEST_HEX_MAX 64

struct digest_challenge {
	enum digest_hash hash;
	bool session;  /* the -sess variant */
	bool qop_auth; /* else none was offered */
	bool has_opaque;
	char realm[128], nonce[256], opaque[128]; /* without quotes and escapes */
};

struct digest_request {
	const char *username, *password;
	const char *method, *uri;
	const char *cnonce;
	uint32_t count; /* how often the nonce has been used, this time included */
};

/* Reads "MD5", "SHA-256-sess", ... into hash and session. -EINVAL. */
int digest_algorithm_parse(const char *name, size_t len, struct digest_challenge *c);
/* The spelling of the RFC. */
const char *digest_algorithm_name(const struct digest_challenge *c);
/* The "response" parameter in hexadecimal. -EOPNOTSUPP when OpenSSL does not give the hash. */
int digest_respond(const struct digest_challenge *c, const struct digest_request *r,
		   char ret[DIGEST_HEX_MAX + 1]);

#endif
