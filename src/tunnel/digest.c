// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "base/util.h"
#include "tunnel/digest.h"

struct algorithm {
	const char *name;
	enum digest_hash hash;
	bool session;
};

/* RFC 7616, 6.1 */
static const struct algorithm algorithms[] = {
	{"MD5", DIGEST_MD5, false},
	{"MD5-sess", DIGEST_MD5, true},
	{"SHA-256", DIGEST_SHA256, false},
	{"SHA-256-sess", DIGEST_SHA256, true},
	{"SHA-512-256", DIGEST_SHA512_256, false},
	{"SHA-512-256-sess", DIGEST_SHA512_256, true},
};

int digest_algorithm_parse(const char *name, size_t len, struct digest_challenge *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
		const struct algorithm *a = &algorithms[i];

		if (strlen(a->name) == len && !strncasecmp(a->name, name, len)) {
			c->hash = a->hash;
			c->session = a->session;
			return 0;
		}
	}
	return -EINVAL;
}

const char *digest_algorithm_name(const struct digest_challenge *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++)
		if (algorithms[i].hash == c->hash && algorithms[i].session == c->session)
			return algorithms[i].name;
	return ""; /* of no algorithm that digest_algorithm_parse() gave */
}

static const EVP_MD *hash_function(enum digest_hash hash)
{
	switch (hash) {
	case DIGEST_MD5:
		return EVP_md5();
	case DIGEST_SHA256:
		return EVP_sha256();
	case DIGEST_SHA512_256:
		return EVP_sha512_256();
	case DIGEST_NUM_HASHES:
		break;
	}
	return NULL;
}

static void free_ctx(EVP_MD_CTX **ctx)
{
	EVP_MD_CTX_free(*ctx); /* wipes its state */
}

/* The hash of the parts joined by colons; the list ends with NULL. */
static int hash_parts(EVP_MD_CTX *ctx, enum digest_hash hash, const char *const parts[],
		      char ret[DIGEST_HEX_MAX + 1])
{
	unsigned char bytes[EVP_MAX_MD_SIZE];
	unsigned int n = 0;

	if (!EVP_DigestInit_ex(ctx, hash_function(hash), NULL))
		return -EOPNOTSUPP;
	for (size_t i = 0; parts[i]; i++)
		if ((i && !EVP_DigestUpdate(ctx, ":", 1)) ||
		    !EVP_DigestUpdate(ctx, parts[i], strlen(parts[i])))
			return -EOPNOTSUPP;
	if (!EVP_DigestFinal_ex(ctx, bytes, &n) || 2 * n > DIGEST_HEX_MAX)
		return -EOPNOTSUPP;
	hex_format(bytes, n, ret);
	explicit_bzero(bytes, sizeof(bytes));
	return 0;
}

/* H(A1), RFC 7616, 3.4.2: as good as the password for this realm. */
static int hash_user(EVP_MD_CTX *ctx, const struct digest_challenge *c,
		     const struct digest_request *r, char ret[DIGEST_HEX_MAX + 1])
{
	const char *const user[] = {r->username, c->realm, r->password, NULL};
	char hex[DIGEST_HEX_MAX + 1];
	const char *const session[] = {hex, c->nonce, r->cnonce, NULL};
	int err = hash_parts(ctx, c->hash, user, hex);

	if (!err && c->session)
		err = hash_parts(ctx, c->hash, session, ret);
	else if (!err)
		memcpy(ret, hex, sizeof(hex));
	explicit_bzero(hex, sizeof(hex));
	return err;
}

int digest_respond(const struct digest_challenge *c, const struct digest_request *r,
		   char ret[DIGEST_HEX_MAX + 1])
{
	_cleanup_(free_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	char user[DIGEST_HEX_MAX + 1], request[DIGEST_HEX_MAX + 1], count[9];
	const char *const what[] = {r->method, r->uri, NULL};
	const char *const with_qop[] = {user, c->nonce, count, r->cnonce, "auth", request, NULL};
	const char *const without[] = {user, c->nonce, request, NULL};
	int err;

	if (!ctx)
		return -ENOMEM;
	snprintf(count, sizeof(count), "%08x", r->count);
	err = hash_user(ctx, c, r, user);
	if (!err)
		err = hash_parts(ctx, c->hash, what, request);
	if (!err)
		err = hash_parts(ctx, c->hash, c->qop_auth ? with_qop : without, ret);
	explicit_bzero(user, sizeof(user));
	return err;
}
