// SPDX-License-Identifier: GPL-2.0-or-later
/* Response headers in every piece they can come in, and Digest with the vectors of the RFC. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "tunnel/digest.h"
#include "tunnel/http.h"

/* Feeds text in pieces of this size; what was used of it, or the error. */
static int feed_pieces(struct http_response *r, const char *text, size_t len, size_t piece)
{
	size_t at = 0;

	http_response_init(r);
	while (at < len) {
		size_t n = MIN(piece, len - at), used = SIZE_MAX;
		int result = http_response_feed(r, text + at, n, &used);

		if (result < 0)
			return result;
		assert_true(used <= n);
		assert_true(result == 1 || used == n);
		at += used;
		if (result == 1)
			return (int)at;
	}
	return 0;
}

/* The same whatever the pieces are. */
static int feed(struct http_response *r, const char *text)
{
	size_t len = strlen(text);
	int first = feed_pieces(r, text, len, len);

	for (size_t piece = 1; piece < len; piece++)
		assert_int_equal(feed_pieces(r, text, len, piece), first);
	return first;
}

static void accepts(const char *header, unsigned int status, const char *phrase)
{
	static const char behind[] = "HTTP/1.1 stream\r\n\r\n";
	struct http_response r;
	char text[2048];

	snprintf(text, sizeof(text), "%s%s", header, behind);
	assert_int_equal(feed(&r, text), strlen(header));
	assert_int_equal(r.status, status);
	assert_string_equal(r.phrase, phrase);
}

static void test_status_line(void **state)
{
	(void)state;
	accepts("HTTP/1.1 200 Connection established\r\n\r\n", 200, "Connection established");
	accepts("HTTP/1.0 200 OK\r\nVia: x\r\n\r\n", 200, "OK");
	accepts("HTTP/1.1 200\r\n\r\n", 200, "");
	accepts("HTTP/1.1 200 \r\n\r\n", 200, "");
	accepts("HTTP/1.1 200 OK\n\n", 200, "OK");
	accepts("HTTP/1.1 200 OK\nA: b\r\n\n", 200, "OK");
	accepts("HTTP/1.1 403 caf\xc3\xa9\r\n\r\n", 403, "caf??");
}

static void rejects(const char *text)
{
	struct http_response r;

	assert_int_equal(feed(&r, text), -EBADMSG);
}

static void test_nonsense(void **state)
{
	static const char *const texts[] = {
		"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
		"\r\n",
		"\n",
		"\x15\x03\x01",
		"http/1.1 200 OK\r\n\r\n",
		"HTTP/2 200\r\n\r\n",
		"HTTP/1.1 2000 OK\r\n\r\n",
		"HTTP/1.1 20 OK\r\n\r\n",
		"HTTP/1.1 099 OK\r\n\r\n",
		"HTTP/1.1 600 OK\r\n\r\n",
		"HTTP/1.1 -20 OK\r\n\r\n",
		"HTTP/1.1  200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
		"HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
		"HTTP/1.1 200 OK\r\nName : x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: \x01\r\n\r\n",
		"HTTP/1.1 200 OK\r\n A: folded status\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\rX",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		rejects(texts[i]);
}

static void test_nul(void **state)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n";
	struct http_response r;

	(void)state;
	for (size_t piece = 1; piece < sizeof(text); piece++)
		assert_int_equal(feed_pieces(&r, text, sizeof(text) - 1, piece), -EBADMSG);
}

static void test_wants_more(void **state)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
	struct http_response r;

	(void)state;
	for (size_t len = 1; len < strlen(text); len++)
		assert_int_equal(feed_pieces(&r, text, len, 3), 0);
}

/* A proxy that never ends its header is told apart from one whose header is just that long. */
static void test_bounds(void **state)
{
	static char text[HTTP_HEADER_MAX + 8];
	struct http_response r;
	size_t len = (size_t)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n");

	(void)state;
	while (len < HTTP_HEADER_MAX - 4)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "A: %0*d\r\n",
					(int)MIN(1000, HTTP_HEADER_MAX - len - 7), 1);
	assert_int_equal(len, HTTP_HEADER_MAX - 2);
	memcpy(text + len, "\r\n", 2);
	assert_int_equal(feed_pieces(&r, text, len + 2, 1000), HTTP_HEADER_MAX);
	memcpy(text + len - 2, "x\r\n\r\n", 5); /* one byte more */
	assert_int_equal(feed_pieces(&r, text, len + 3, 1000), -EMSGSIZE);
	memset(text + 17, 'x', sizeof(text) - 17);
	assert_int_equal(feed_pieces(&r, text, sizeof(text), 1), -EMSGSIZE);
}

static void test_interim(void **state)
{
	struct http_response r;

	(void)state;
	accepts("HTTP/1.1 100 Continue\r\nX-Squid-Error: A 1\r\n\r\n"
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 502 Bad Gateway\r\n\r\n", 502, "Bad Gateway");
	assert_true(feed(&r, "HTTP/1.1 100 Continue\r\nX-Squid-Error: A 1\r\n\r\n"
			     "HTTP/1.1 200 OK\r\n\r\n") > 0);
	assert_string_equal(r.cause, "");
	for (int i = 0; i < 2000; i++) /* without end, too */
		if (i == 0)
			http_response_init(&r);
		else if (http_response_feed(&r, "HTTP/1.1 100 C\r\n\r\n", 18, &(size_t){0}) < 0)
			return;
	fail();
}

static void cause_is(const char *header, const char *cause)
{
	struct http_response r;
	char text[1024];

	snprintf(text, sizeof(text), "HTTP/1.1 503 Service Unavailable\r\n%s\r\n\r\n", header);
	assert_true(feed(&r, text) > 0);
	assert_string_equal(r.cause, cause);
}

static void test_cause(void **state)
{
	(void)state;
	cause_is("X-Squid-Error: ERR_CONNECT_FAIL 111", "ERR_CONNECT_FAIL 111");
	cause_is("x-squid-error:ERR_DNS_FAIL 0  ", "ERR_DNS_FAIL 0");
	cause_is("Proxy-Status: far; error=dns_error, near; error=connection_refused; x=y",
		 "connection_refused");
	cause_is("Proxy-Status: near; received-status=200", "");
	cause_is("X-Squid-Error: A\x80\xff", "A??");
	cause_is("Unknown: ERR_CONNECT_FAIL 111", "");
	cause_is("X-Squid-Error:\r\n ERR_CONNECT_FAIL\r\n\t113", "ERR_CONNECT_FAIL 113");
}

static struct http_response challenged(const char *headers)
{
	struct http_response r;
	char text[2048];

	snprintf(text, sizeof(text), "HTTP/1.1 407 Authenticate\r\n%s\r\n\r\n", headers);
	assert_true(feed(&r, text) > 0);
	assert_int_equal(r.status, 407);
	return r;
}

static void test_basic_challenge(void **state)
{
	struct http_response r = challenged("Proxy-Authenticate: Basic realm=\"a, b\"");

	(void)state;
	assert_true(r.wants_basic);
	assert_false(r.wants_digest);
	assert_string_equal(r.scheme, "Basic");
	r = challenged("WWW-Authenticate: Basic realm=\"x\"");
	assert_false(r.wants_basic);
}

static void test_digest_challenge(void **state)
{
	struct http_response r = challenged(
		"Proxy-Authenticate: Digest realm=\"a \\\"b\\\\\", nonce=\"n/+=,\", qop=\"auth-int, auth\","
		" algorithm=SHA-256, opaque=\"\", stale=TRUE, charset=UTF-8");

	(void)state;
	assert_true(r.wants_digest);
	assert_true(r.stale);
	assert_string_equal(r.challenge.realm, "a \"b\\");
	assert_string_equal(r.challenge.nonce, "n/+=,");
	assert_true(r.challenge.has_opaque);
	assert_true(r.challenge.qop_auth);
	assert_int_equal(r.challenge.hash, DIGEST_SHA256);
	assert_false(r.challenge.session);
	r = challenged("Proxy-Authenticate: digest realm=r,nonce=n");
	assert_true(r.wants_digest);
	assert_false(r.challenge.qop_auth);
	assert_int_equal(r.challenge.hash, DIGEST_MD5);
	assert_string_equal(r.challenge.nonce, "n");
}

/* The first that can be met is taken (RFC 7616 3.7), wherever it stands. */
static void test_several_challenges(void **state)
{
	struct http_response r = challenged(
		"Proxy-Authenticate: Negotiate YII/+x==, NTLM , Digest realm=\"x\", nonce=\"1\", "
		"algorithm=SHA-1, Digest realm=\"x\", nonce=\"2\", algorithm=SHA-256-sess, qop=\"auth\"\r\n"
		"Proxy-Authenticate: Digest realm=\"x\", nonce=\"3\"\r\n"
		"Proxy-Authenticate: Basic realm=\"x\"");

	(void)state;
	assert_true(r.wants_basic);
	assert_true(r.wants_digest);
	assert_string_equal(r.challenge.nonce, "2");
	assert_true(r.challenge.session);
	assert_string_equal(r.scheme, "Negotiate");
}

static void test_impossible_challenges(void **state)
{
	static const char *const headers[] = {
		"Proxy-Authenticate: Digest realm=\"x\"",
		"Proxy-Authenticate: Digest nonce=\"x\"",
		"Proxy-Authenticate: Digest realm=\"x\", nonce=\"x\", qop=\"auth-int\"",
		"Proxy-Authenticate: Digest realm=\"x\", nonce=\"x\", algorithm=SHA-512",
		"Proxy-Authenticate: Digest realm=\"x\", nonce=\"x",
		"Proxy-Authenticate: Digest",
		"Proxy-Authenticate: ,,,=,\"",
		"Proxy-Authenticate: ",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		assert_false(challenged(headers[i]).wants_digest);
}

static void test_long_challenges(void **state)
{
	struct http_response r;
	char header[1200];

	(void)state;
	snprintf(header, sizeof(header), "Proxy-Authenticate: Digest realm=\"x\", nonce=\"%0*d\"", 255, 1);
	assert_true(challenged(header).wants_digest);
	snprintf(header, sizeof(header), "Proxy-Authenticate: Digest realm=\"x\", nonce=\"%0*d\"", 256, 1);
	assert_false(challenged(header).wants_digest);
	/* Longer than what is kept of a line: the first challenge is whole, the second is not. */
	snprintf(header, sizeof(header),
		 "Proxy-Authenticate: Basic realm=\"x\", Digest realm=\"x\", nonce=\"1\", x=\"%0*d\"", 900, 1);
	r = challenged(header);
	assert_true(r.wants_basic);
	assert_false(r.wants_digest);
	snprintf(header, sizeof(header), "X-Long: %0*d\r\nProxy-Authenticate: Basic realm=\"x\"", 900, 1);
	assert_true(challenged(header).wants_basic);
}

/* ---- Digest ---- */

static void responds(const char *algorithm, const char *want)
{
	struct digest_challenge c = {
		.qop_auth = true,
		.realm = "http-auth@example.org",
		.nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
	};
	struct digest_request r = {
		.username = "Mufasa",
		.password = "Circle of Life",
		.method = "GET",
		.uri = "/dir/index.html",
		.cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
		.count = 1,
	};
	char response[DIGEST_HEX_MAX + 1];

	assert_int_equal(digest_algorithm_parse(algorithm, strlen(algorithm), &c), 0);
	assert_string_equal(digest_algorithm_name(&c), algorithm);
	assert_int_equal(digest_respond(&c, &r, response), 0);
	assert_string_equal(response, want);
}

/* RFC 7616 3.9.1; the -sess values by hand with sha256sum(1) and md5sum(1). */
static void test_digest_vectors(void **state)
{
	(void)state;
	responds("MD5", "8ca523f5e9506fed4657c9700eebdbec");
	responds("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
	responds("MD5-sess", "e783283f46242139c486a698fec7211d");
	responds("SHA-256-sess", "2fd51b3a77ad75bad6afad6003e818d767133c46d9e2749e7f5232ae1ea3efd7");
}

/* RFC 2069 2.4 as corrected by its erratum 749. */
static void test_digest_without_qop(void **state)
{
	struct digest_challenge c = {
		.realm = "testrealm@host.com",
		.nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093",
	};
	struct digest_request r = {
		.username = "Mufasa",
		.password = "CircleOfLife",
		.method = "GET",
		.uri = "/dir/index.html",
		.cnonce = "unused",
	};
	char response[DIGEST_HEX_MAX + 1];

	(void)state;
	assert_int_equal(digest_respond(&c, &r, response), 0);
	assert_string_equal(response, "1949323746fe6a43ef61f9606e7febea");
}

static void test_digest_algorithms(void **state)
{
	struct digest_challenge c = {0};

	(void)state;
	assert_int_equal(digest_algorithm_parse("sha-512-256-SESS", 16, &c), 0);
	assert_int_equal(c.hash, DIGEST_SHA512_256);
	assert_true(c.session);
	assert_int_equal(digest_algorithm_parse("SHA-25", 6, &c), -EINVAL);
	assert_int_equal(digest_algorithm_parse("", 0, &c), -EINVAL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status_line),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_wants_more),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_interim),
		cmocka_unit_test(test_cause),
		cmocka_unit_test(test_basic_challenge),
		cmocka_unit_test(test_digest_challenge),
		cmocka_unit_test(test_several_challenges),
		cmocka_unit_test(test_impossible_challenges),
		cmocka_unit_test(test_long_challenges),
		cmocka_unit_test(test_digest_vectors),
		cmocka_unit_test(test_digest_without_qop),
		cmocka_unit_test(test_digest_algorithms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
