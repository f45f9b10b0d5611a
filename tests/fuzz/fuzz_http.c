// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a proxy may answer. The parser is included, so that a fuzzer sees its branches. However the
 * bytes are cut, it comes to the same end.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#include "tunnel/http.c"

struct outcome {
	int result;
	size_t used;
	struct http_response r;
};

static void check_text(const char *s, size_t size)
{
	size_t len = strnlen(s, size);

	if (len == size)
		abort();
	for (size_t i = 0; i < len; i++)
		if (s[i] < ' ' || s[i] > '~')
			abort();
}

static void check(const struct http_response *r)
{
	check_text(r->phrase, sizeof(r->phrase));
	check_text(r->cause, sizeof(r->cause));
	check_text(r->scheme, sizeof(r->scheme));
	if (r->wants_digest &&
	    (strnlen(r->challenge.realm, sizeof(r->challenge.realm)) == sizeof(r->challenge.realm) ||
	     strnlen(r->challenge.nonce, sizeof(r->challenge.nonce)) == sizeof(r->challenge.nonce) ||
	     strnlen(r->challenge.opaque, sizeof(r->challenge.opaque)) == sizeof(r->challenge.opaque)))
		abort();
}

static void feed(struct outcome *o, const char *data, size_t size, size_t piece)
{
	http_response_init(&o->r);
	o->result = 0;
	o->used = 0;
	while (o->result == 0 && o->used < size) {
		size_t n = MIN(piece, size - o->used), used = 0;

		o->result = http_response_feed(&o->r, data + o->used, n, &used);
		if (used > n || (o->result == 0 && used != n))
			abort();
		o->used += used;
	}
	check(&o->r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct outcome whole, cut;
	size_t pieces[] = {1, 2, 7, size / 2 + 1};

	feed(&whole, (const char *)data, size, size);
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		feed(&cut, (const char *)data, size, pieces[i]);
		if (cut.result != whole.result || cut.r.status != whole.r.status ||
		    (whole.result == 1 && cut.used != whole.used) ||
		    cut.r.wants_digest != whole.r.wants_digest ||
		    strcmp(cut.r.cause, whole.r.cause) != 0)
			abort();
	}
	return 0;
}
