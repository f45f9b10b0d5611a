// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "vpc/mapping.h"

static struct mapping_range range(const char *text)
{
	struct mapping_range r;

	assert_int_equal(mapping_range_parse(text, &r, NULL), 0);
	return r;
}

static struct mapping mapping(const char *text)
{
	struct mapping_range r = range(text);

	return (struct mapping){.host_addr = r.host_addr,
				.protocol = r.protocol,
				.host_port = r.first,
				.port = r.to};
}

static void test_parse(void **state)
{
	struct mapping_range r = range("8080:80");

	(void)state;
	assert_int_equal(r.host_addr.family, 0);
	assert_int_equal(r.protocol, 0);
	assert_int_equal(r.first, 8080);
	assert_int_equal(r.last, 8080);
	assert_int_equal(r.to, 80);
	r = range("192.0.2.1:53:5353/udp");
	assert_int_equal(r.host_addr.family, AF_INET);
	assert_int_equal(r.protocol, IPPROTO_UDP);
	r = range("[2001:db8::1]:1-65535:1-65535/tcp");
	assert_int_equal(r.host_addr.family, AF_INET6);
	assert_int_equal(r.last, 65535);
	r = range("8080"); /* to take back */
	assert_int_equal(r.to, 0);
	assert_int_equal(range("127.0.0.1:8080").first, 8080);
}

static void test_parse_errors(void **state)
{
	static const char *const wrong[] = {
		"",          ":",        "80:",       ":80",     "80:80:80",       "0:80",
		"80:0",      "65536:80", "80:65536",  "80/",     "80:80/6",
		"-1:80",     " 80:80",   "80:80 ",    "+80:80",  "80-90:80-91",    "90-80:80-70",
		"80-:80-",   "80-90:80", "1.2.3:1:2", "[1:2",    "[::1]80:80",     "[]:80:80",
		"::1:80:80", "[::1]:",   "1.2.3.4:",  "0x50:80", "99999999999:80", "80:80/tcp/udp",
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct mapping_range r;

		if (mapping_range_parse(wrong[i], &r, &err) != -EINVAL)
			fail_msg("taken for a mapping: '%s'", wrong[i]);
		assert_int_equal(err.kind, ERR_USAGE);
	}
}

static void test_format(void **state)
{
	static const char *const texts[] = {"8080:80/tcp", "192.0.2.1:53:5353/udp",
					    "[2001:db8::1]:8080:80/tcp"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct mapping m = mapping(texts[i]);
		char text[MAPPING_STRLEN];

		assert_string_equal(mapping_format(&m, text), texts[i]);
	}
}

static void test_choose(void **state)
{
	struct mapping m = mapping("192.0.2.1:8085:85/tcp");
	static const char *const yes[] = {"8085", "8080-8090/tcp", "8080-8090:80-90",
					  "192.0.2.1:8085:85/tcp"};
	static const char *const no[] = {"8084", "8085/udp", "8085:80", "192.0.2.2:8085"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		struct mapping_range y = range(yes[i]), n = range(no[i]);

		assert_true(mapping_range_has(&y, &m));
		assert_false(mapping_range_has(&n, &m));
	}
}

static void test_overlap(void **state)
{
	static const struct {
		const char *a, *b;
		bool overlap;
	} cases[] = {
		{"80:1/tcp", "80:2/tcp", true},
		{"80:1/tcp", "80:1/udp", false},
		{"80:1/tcp", "81:1/tcp", false},
		{"80:1/tcp", "192.0.2.1:80:1/tcp", true},
		{"80:1/tcp", "[::1]:80:1/tcp", true},
		{"0.0.0.0:80:1/tcp", "192.0.2.1:80:1/tcp", true},
		{"0.0.0.0:80:1/tcp", "[::1]:80:1/tcp", false},
		{"[::]:80:1/tcp", "[::1]:80:1/tcp", true},
		{"192.0.2.1:80:1/tcp", "192.0.2.2:80:1/tcp", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct mapping a = mapping(cases[i].a), b = mapping(cases[i].b);

		assert_int_equal(mapping_overlaps(&a, &b), cases[i].overlap);
		assert_int_equal(mapping_overlaps(&b, &a), cases[i].overlap);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),   cmocka_unit_test(test_parse_errors),
		cmocka_unit_test(test_format),  cmocka_unit_test(test_choose),
		cmocka_unit_test(test_overlap),
	};

	return cmocka_run_group_tests_name("mapping", tests, NULL, NULL);
}
