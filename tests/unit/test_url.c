// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "tunnel/url.h"

struct good {
	const char *text;
	struct proxy_url url;
};

static const struct good goods[] = {
	{"http://proxy.example.com:8080", {.host = "proxy.example.com", .port = 8080}},
	{"http://proxy", {.host = "proxy", .port = 3128}},
	{"https://proxy/", {.tls = true, .host = "proxy", .port = 443}},
	{"HTTPS://Proxy:1", {.tls = true, .host = "Proxy", .port = 1}},
	{"proxy:65535", {.host = "proxy", .port = 65535}},
	{"10.0.0.1", {.host = "10.0.0.1", .port = 3128}},
	{"http://[2001:db8::1]:80/", {.host = "2001:db8::1", .port = 80}},
	{"[::1]", {.host = "::1", .port = 3128}},
	{"http://bob:s3cret@proxy",
	 {.host = "proxy", .port = 3128, .username = "bob", .password = "s3cret", .has_password = true}},
	{"http://bob@proxy", {.host = "proxy", .port = 3128, .username = "bob"}},
	{"http://bob:@proxy", {.host = "proxy", .port = 3128, .username = "bob", .has_password = true}},
	{"http://b%6fb:a%3ab%2Fc%40%25@[::1]:9",
	 {.host = "::1", .port = 9, .username = "bob", .password = "a:b/c@%", .has_password = true}},
	{"http://bob:p@ss:w@proxy:9",
	 {.host = "proxy", .port = 9, .username = "bob", .password = "p@ss:w", .has_password = true}},
	{"bob:x://y@proxy", {0}}, /* a '/' that is not encoded */
	{"http://b%c3%b6b:x@proxy",
	 {.host = "proxy", .port = 3128, .username = "b\xc3\xb6" "b", .password = "x", .has_password = true}},
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(goods); i++) {
		const struct proxy_url *want = &goods[i].url;
		struct proxy_url got = {0};
		struct err err = {0};
		int r = proxy_url_parse(goods[i].text, &got, &err);

		if (!want->host[0]) {
			assert_int_equal(r, -EINVAL);
			continue;
		}
		if (r)
			fail_msg("%s: %s", goods[i].text, err.msg);
		assert_int_equal(got.tls, want->tls);
		assert_string_equal(got.host, want->host);
		assert_int_equal(got.port, want->port);
		assert_string_equal(got.username, want->username);
		assert_string_equal(got.password, want->password);
		assert_int_equal(got.has_password, want->has_password);
	}
}

struct wrong {
	const char *text, *says;
};

static const struct wrong wrongs[] = {
	{"", "no host"},
	{"http://", "no host"},
	{"http://:80", "no host"},
	{"http://bob:s3cret@", "no host"},
	{"socks5://bob:s3cret@proxy", "http:// or https://"},
	{"ftp://proxy", "http:// or https://"},
	{"http://proxy:0", "1 to 65535"},
	{"http://proxy:65536", "1 to 65535"},
	{"http://proxy:99999999999999999999", "1 to 65535"},
	{"http://proxy:", "1 to 65535"},
	{"http://proxy:s3cret", "must be a number"},
	{"http://bob:s3cret", "must be a number"},
	{"http://proxy:+80", "must be a number"},
	{"http://proxy/path", "nothing behind"},
	{"http://proxy?query", "nothing behind"},
	{"http://bob:s3cret/x@proxy:80", "%2F"},
	{"http://bob:s3cret#x@proxy", "%23"},
	{"http://bob:s3cret%@proxy", "%25"},
	{"http://bob:s3cret%4@proxy", "%25"},
	{"http://bob:s3cret%zz@proxy", "%25"},
	{"http://bob:s3cret%0a@proxy", "control"},
	{"http://bob\r\n:s3cret@proxy", "control"},
	{"http://b%00b:s3cret@proxy", "control"},
	{"http://b%3ab:s3cret@proxy", "colon"},
	{"http://:s3cret@proxy", "without a user"},
	{"http://2001:db8::1:80", "must be a number"},
	{"http://[2001:db8::1", "without a ']'"},
	{"http://[10.0.0.1]", "no IPv6"},
	{"http://[s3cret]", "no IPv6"},
	{"http://[fe80::1%25eth0]:80", "no IPv6"},
	{"http://[::1]s3cret", "only be a port"},
	{"http://s3cret proxy", "neither a name"},
	{"http://s3cret\r\nEvil: x", "neither a name"},
};

static void test_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrongs); i++) {
		struct proxy_url got = {.port = 7};
		struct err err = {0};

		if (proxy_url_parse(wrongs[i].text, &got, &err) != -EINVAL)
			fail_msg("%s was taken", wrongs[i].text);
		if (!strstr(err.msg, wrongs[i].says))
			fail_msg("%s: %s", wrongs[i].text, err.msg);
		assert_null(strstr(err.msg, "s3cret"));
		assert_int_equal(err.kind, ERR_USAGE);
		assert_int_equal(got.port, 7);
	}
}

static void test_too_long(void **state)
{
	struct proxy_url got;
	struct err err = {0};
	char text[1024];

	(void)state;
	snprintf(text, sizeof(text), "http://%0*d:x@proxy", 127, 1);
	assert_int_equal(proxy_url_parse(text, &got, &err), 0);
	snprintf(text, sizeof(text), "http://%0*d:x@proxy", 128, 1);
	assert_int_equal(proxy_url_parse(text, &got, &err), -EINVAL);
	snprintf(text, sizeof(text), "http://x:%0*d@proxy", 128, 1);
	assert_int_equal(proxy_url_parse(text, &got, &err), -EINVAL);
	snprintf(text, sizeof(text), "http://%0*d", 255, 1);
	assert_int_equal(proxy_url_parse(text, &got, &err), 0);
	snprintf(text, sizeof(text), "http://%0*d", 256, 1);
	assert_int_equal(proxy_url_parse(text, &got, &err), -EINVAL);
	snprintf(text, sizeof(text), "http://[%0*d]", 256, 1);
	assert_int_equal(proxy_url_parse(text, &got, &err), -EINVAL);
}

static void test_wiped(void **state)
{
	struct proxy_url got, zero;

	(void)state;
	assert_int_equal(proxy_url_parse("http://bob:s3cret@proxy", &got, NULL), 0);
	proxy_url_done(&got);
	memset(&zero, 0, sizeof(zero));
	assert_memory_equal(&got, &zero, sizeof(zero));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_wiped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
