// SPDX-License-Identifier: GPL-2.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/ip.h"

static struct cidr cidr(const char *text)
{
	struct cidr c;
	struct err err;

	if (cidr_parse_network(text, &c, &err))
		fail_msg("%s", err.msg);
	return c;
}

static void assert_ip(struct ip ip, const char *want)
{
	char buf[IP_STRLEN];

	assert_string_equal(ip_format(&ip, buf), want);
}

static void refuses(const char *text, const char *because)
{
	struct cidr c = {.prefix = 99};
	struct err err = {0};

	assert_int_not_equal(cidr_parse_network(text, &c, &err), 0);
	assert_int_equal(err.kind, ERR_USAGE);
	if (!strstr(err.msg, because))
		fail_msg("'%s' does not say '%s'", err.msg, because);
	assert_int_equal(c.prefix, 99); /* outputs stay untouched */
}

static void networks_are_parsed(void **state)
{
	char buf[CIDR_STRLEN];
	struct cidr c = cidr("10.20.0.0/16");

	(void)state;
	assert_string_equal(cidr_format(&c, buf), "10.20.0.0/16");
	c = cidr("fd00:1::/48");
	assert_string_equal(cidr_format(&c, buf), "fd00:1::/48");
	c = cidr("0.0.0.0/0");
	assert_int_equal(c.prefix, 0);
}

static void bad_networks_are_refused(void **state)
{
	(void)state;
	refuses("10.0.0.1/16", "10.0.0.0/16");
	refuses("fd00::1/64", "fd00::/64");
	refuses("10.0.0.0", "no prefix length");
	refuses("10.0.0.0/33", "0 to 32");
	refuses("10.0.0.0/", "prefix length");
	refuses("10.0.0.0/+8", "prefix length");
	refuses("10.0.0.0/8x", "prefix length");
	refuses("10.0.0/8", "not a CIDR");
	refuses("banana", "not a CIDR");
	refuses("", "not a CIDR");
	refuses("1111:2222:3333:4444:5555:6666:7777:8888:9999:0000:1111:2222/64", "not a CIDR");
}

static void hosts_of_a_network(void **state)
{
	struct cidr v4 = cidr("10.0.0.0/16"), p2p = cidr("10.0.0.0/31"), v6 = cidr("fd00:1::/64");

	(void)state;
	assert_ip(cidr_first(&v4), "10.0.0.0");
	assert_ip(cidr_last(&v4), "10.0.255.255");
	assert_ip(cidr_first_host(&v4), "10.0.0.1");
	assert_ip(cidr_last_host(&v4), "10.0.255.254");
	assert_ip(cidr_first_host(&p2p), "10.0.0.0");
	assert_ip(cidr_last_host(&p2p), "10.0.0.1");
	assert_ip(cidr_first_host(&v6), "fd00:1::1");
	assert_ip(cidr_last_host(&v6), "fd00:1::ffff:ffff:ffff:ffff");
}

static void arithmetic_carries_and_borrows(void **state)
{
	struct ip ip;

	(void)state;
	assert_int_equal(ip_parse("10.0.255.255", &ip, NULL), 0);
	assert_ip(ip_add(ip, 1), "10.1.0.0");
	assert_ip(ip_sub(ip_add(ip, 1), 1), "10.0.255.255");
	assert_ip(ip_add(ip, 65536), "10.1.255.255");
	assert_int_equal(ip_parse("fd00::ffff:ffff:ffff:ffff", &ip, NULL), 0);
	assert_ip(ip_add(ip, 1), "fd00:0:0:1::");
	assert_ip(ip_sub(ip_add(ip, 1), 1), "fd00::ffff:ffff:ffff:ffff");
	assert_ip(ip_sub(ip, UINT64_MAX), "fd00::");
}

static void overlap_and_containment(void **state)
{
	struct cidr vpc = cidr("10.0.0.0/16"), in = cidr("10.0.3.0/24"), next = cidr("10.1.0.0/16");
	struct cidr all = cidr("0.0.0.0/0"), v6 = cidr("::/0");

	(void)state;
	assert_true(cidr_contains(&vpc, &in));
	assert_false(cidr_contains(&in, &vpc));
	assert_true(cidr_overlaps(&in, &vpc));
	assert_true(cidr_overlaps(&vpc, &in));
	assert_false(cidr_overlaps(&vpc, &next));
	assert_true(cidr_contains(&all, &next));
	assert_false(cidr_overlaps(&all, &v6));
}

static void reserved_networks_are_named(void **state)
{
	struct cidr c = cidr("224.1.0.0/16");

	(void)state;
	assert_non_null(strstr(cidr_reserved(&c), "multicast"));
	c = cidr("127.0.0.0/16");
	assert_non_null(strstr(cidr_reserved(&c), "loopback"));
	c = cidr("fe80::/64");
	assert_non_null(strstr(cidr_reserved(&c), "link-local"));
	c = cidr("10.0.0.0/8");
	assert_null(cidr_reserved(&c));
	c = cidr("fd12::/48");
	assert_null(cidr_reserved(&c));
}

static void macs(void **state)
{
	struct mac a = mac_from_name("byway:subnet/a/b"), b = mac_from_name("byway:subnet/a/c"), m;
	char buf[MAC_STRLEN];

	(void)state;
	assert_int_equal(a.bytes[0] & 3, 2); /* locally administered, unicast */
	assert_memory_not_equal(a.bytes, b.bytes, 6);
	assert_int_equal(mac_parse(mac_format(&a, buf), &m, NULL), 0);
	assert_memory_equal(a.bytes, m.bytes, 6);
	assert_int_not_equal(mac_parse("00:11:22:33:44", &m, NULL), 0);
	assert_int_not_equal(mac_parse("00:11:22:33:44:55:66", &m, NULL), 0);
	assert_int_equal(mac_parse("02:11:22:33:44:55", &m, NULL), 0);
	assert_ip(mac_link_local(&m), "fe80::11:22ff:fe33:4455");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks_are_parsed),
		cmocka_unit_test(bad_networks_are_refused),
		cmocka_unit_test(hosts_of_a_network),
		cmocka_unit_test(arithmetic_carries_and_borrows),
		cmocka_unit_test(overlap_and_containment),
		cmocka_unit_test(reserved_networks_are_named),
		cmocka_unit_test(macs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
