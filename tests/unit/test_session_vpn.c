// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The environment of a VPN client's script. `said` is what openconnect 9.01 gave to its own with
 * ocserv 1.1.6; each test changes some of it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "session/vpn.h"

static const char *const said[] = {
	"CISCO_IPV6_SPLIT_INC_0_MASKLEN=64",
	"CISCO_SPLIT_EXC_0_ADDR=172.30.9.0",
	"CISCO_SPLIT_INC_0_MASKLEN=16",
	"CISCO_SPLIT_INC_1_MASKLEN=24",
	("CISCO_CSTP_OPTIONS=X-CSTP-Version=1\nX-CSTP-Address=10.99.0.50\n"
	 "INTERNAL_IP4_ADDRESS=192.0.2.66\nreason=disconnect"),
	"VPNGATEWAY=10.231.0.1",
	"INTERNAL_IP4_NETMASK=255.255.255.0",
	"VPNPID=29477",
	"CISCO_SPLIT_EXC_0_MASKLEN=24",
	"INTERNAL_IP6_NETMASK=fd99::9a7c:c09f:b76e:58ef/128",
	"CISCO_SPLIT_INC_0_MASK=255.255.0.0",
	"CISCO_SPLIT_INC_1_MASK=255.255.255.0",
	"reason=connect",
	"CISCO_DEF_DOMAIN=corp.test",
	"INTERNAL_IP4_NBNS=10.98.0.60",
	"INTERNAL_IP4_DNS=10.98.0.53 10.98.0.54 fd98::53",
	"TUNDEV=tun0",
	"CISCO_SPLIT_EXC_0_MASK=255.255.255.0",
	"CISCO_IPV6_SPLIT_INC=1",
	"PATH=/usr/sbin:/usr/bin",
	"CISCO_SPLIT_INC=2",
	"CISCO_BANNER=hello from ocserv",
	"CISCO_SPLIT_EXC=1",
	"INTERNAL_IP4_NETADDR=10.99.0.0",
	"CISCO_SPLIT_DNS=corp.test",
	"CISCO_IPV6_SPLIT_INC_0_ADDR=fd98::",
	"INTERNAL_IP4_ADDRESS=10.99.0.50",
	"INTERNAL_IP4_MTU=1334",
	"CISCO_SPLIT_INC_0_ADDR=172.30.0.0",
	"INTERNAL_IP6_ADDRESS=fd99::9a7c:c09f:b76e:58ef",
	"INTERNAL_IP4_NETMASKLEN=24",
	"CISCO_SPLIT_INC_1_ADDR=10.98.0.0",
};

static bool same_name(const char *a, const char *b)
{
	size_t len = strcspn(b, "=");

	return !strncmp(a, b, len) && a[len] == '=';
}

/* With other values for the names in changes; without those that stand there with no value. */
static int parse(const char *const changes[], struct vpn *ret, struct err *err)
{
	_buf_ struct buf b = {0};

	for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
		bool changed = false;

		for (size_t k = 0; changes[k]; k++)
			changed |= same_name(said[i], changes[k]);
		if (!changed)
			buf_add(&b, said[i], strlen(said[i]) + 1);
	}
	for (size_t k = 0; changes[k]; k++)
		if (strchr(changes[k], '='))
			buf_add(&b, changes[k], strlen(changes[k]) + 1);
	return vpn_parse(b.data, b.len, ret, err);
}

#define GOOD(v, ...)                                                                               \
	do {                                                                                       \
		struct err err = {0};                                                              \
		if (parse((const char *const[]){__VA_ARGS__, NULL}, v, &err))                      \
			fail_msg("%s", err.msg);                                                   \
	} while (0)

#define BAD(code, words, ...)                                                                      \
	do {                                                                                       \
		struct err err_ = {0};                                                             \
		struct vpn v_ = {.mtu_bytes = 42};                                                 \
		assert_int_equal(parse((const char *const[]){__VA_ARGS__, NULL}, &v_, &err_),      \
				 code);                                                            \
		assert_int_equal(err_.kind, ERR_FAILED);                                           \
		assert_non_null(strstr(err_.msg, words));                                          \
		assert_int_equal(v_.mtu_bytes, 42); /* untouched */                                \
	} while (0)

static void assert_ip(const struct ip *ip, const char *want)
{
	char text[IP_STRLEN];

	assert_string_equal(ip_format(ip, text), want);
}

static void assert_net(const struct cidr *c, const char *want)
{
	char text[CIDR_STRLEN];

	assert_string_equal(cidr_format(c, text), want);
}

static void test_connect(void **state)
{
	_vpn_ struct vpn v = {0};

	(void)state;
	GOOD(&v, "IDLE_TIMEOUT=600");
	assert_int_equal(v.reason, VPN_CONNECT);
	assert_string_equal(v.tun, "tun0");
	assert_int_equal(v.client, 29477);
	assert_ip(&v.gateway, "10.231.0.1");
	assert_net(&v.addr4, "10.99.0.50/24");
	assert_net(&v.addr6, "fd99::9a7c:c09f:b76e:58ef/128");
	assert_int_equal(v.mtu_bytes, 1334);
	assert_int_equal(v.n_dns, 3);
	assert_ip(&v.dns[1], "10.98.0.54");
	assert_ip(&v.dns[2], "fd98::53");
	assert_string_equal(v.domain, "corp.test");
	assert_int_equal(v.n_split_dns, 1);
	assert_string_equal(v.split_dns[0], "corp.test");
	assert_int_equal(v.n_include, 3);
	assert_net(&v.include[0], "172.30.0.0/16");
	assert_net(&v.include[1], "10.98.0.0/24");
	assert_net(&v.include[2], "fd98::/64");
	assert_int_equal(v.n_exclude, 1);
	assert_net(&v.exclude[0], "172.30.9.0/24");
	assert_string_equal(v.banner, "hello from ocserv");
}

static void test_reasons(void **state)
{
	(void)state;
	for (enum vpn_reason i = 0; i < VPN_NUM_REASONS; i++) {
		_free_ char *line = xasprintf("reason=%s", vpn_reason_name(i));
		_vpn_ struct vpn v = {0};

		GOOD(&v, line);
		assert_int_equal(v.reason, i);
	}
	BAD(-EINVAL, "reason", "reason=connected");
	BAD(-EINVAL, "reason", "reason");
}

static void test_addresses(void **state)
{
	static const char *const senseless[] = {
		"INTERNAL_IP4_NETMASKLEN=33", "INTERNAL_IP4_NETMASKLEN=0",
		"INTERNAL_IP4_NETMASKLEN=x", "INTERNAL_IP4_NETMASKLEN="};
	_vpn_ struct vpn mask = {0}, host = {0}, holes = {0}, only6 = {0}, bare6 = {0}, early = {0};

	(void)state;
	GOOD(&mask, "INTERNAL_IP4_NETMASKLEN", "INTERNAL_IP4_NETMASK=255.255.240.0");
	assert_net(&mask.addr4, "10.99.0.50/20");
	GOOD(&host, "INTERNAL_IP4_NETMASKLEN", "INTERNAL_IP4_NETMASK");
	assert_net(&host.addr4, "10.99.0.50/32");
	GOOD(&holes, "INTERNAL_IP4_NETMASKLEN", "INTERNAL_IP4_NETMASK=255.0.255.0");
	assert_net(&holes.addr4, "10.99.0.50/32");
	for (size_t i = 0; i < ARRAY_SIZE(senseless); i++) {
		_vpn_ struct vpn v = {0};

		GOOD(&v, senseless[i]);
		assert_net(&v.addr4, "10.99.0.50/32");
	}
	GOOD(&only6, "INTERNAL_IP4_ADDRESS");
	assert_int_equal(only6.addr4.addr.family, 0);
	GOOD(&bare6, "INTERNAL_IP6_NETMASK");
	assert_net(&bare6.addr6, "fd99::9a7c:c09f:b76e:58ef/128");
	/* Before there is a device, there need be no address. */
	GOOD(&early, "reason=pre-init", "INTERNAL_IP4_ADDRESS", "INTERNAL_IP6_ADDRESS",
	     "INTERNAL_IP6_NETMASK");

	BAD(-EINVAL, "no INTERNAL_IP4_ADDRESS", "INTERNAL_IP4_ADDRESS", "INTERNAL_IP6_ADDRESS",
	    "INTERNAL_IP6_NETMASK");
	BAD(-EINVAL, "'127.0.0.1'", "INTERNAL_IP4_ADDRESS=127.0.0.1");
	BAD(-EINVAL, "'0.0.0.0'", "INTERNAL_IP4_ADDRESS=0.0.0.0");
	BAD(-EINVAL, "'224.0.0.1'", "INTERNAL_IP4_ADDRESS=224.0.0.1");
	BAD(-EINVAL, "'fd00::1'", "INTERNAL_IP4_ADDRESS=fd00::1");
	BAD(-EINVAL, "''", "INTERNAL_IP4_ADDRESS=");
	BAD(-EINVAL, "fe80::1/64", "INTERNAL_IP6_NETMASK=fe80::1/64");
	BAD(-EINVAL, "::1/128", "INTERNAL_IP6_NETMASK=::1/128");
	BAD(-EINVAL, "fd99::1/129", "INTERNAL_IP6_NETMASK=fd99::1/129");
}

static void test_client(void **state)
{
	static const char *const pids[] = {"VPNPID=0", "VPNPID=-1",         "VPNPID=12x",
					   "VPNPID=",  "VPNPID=4294967297", "VPNPID"};
	static const char *const devices[] = {"TUNDEV=../x", "TUNDEV=tun0 down",
					      "TUNDEV=",     "TUNDEV=abcdefghijklmnop",
					      "TUNDEV=.",    "TUNDEV"};
	static const char *const gateways[] = {"VPNGATEWAY=vpn.test", "VPNGATEWAY=", "VPNGATEWAY"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		BAD(-EINVAL, "VPNPID", pids[i]);
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
		BAD(-EINVAL, "TUNDEV", devices[i]);
	for (size_t i = 0; i < ARRAY_SIZE(gateways); i++)
		BAD(-EINVAL, "VPNGATEWAY", gateways[i]);
}

static void test_mtu(void **state)
{
	static const struct {
		const char *line;
		uint32_t want;
	} cases[] = {
		{"INTERNAL_IP4_MTU=1280", 1280}, {"INTERNAL_IP4_MTU=68", 68},
		{"INTERNAL_IP4_MTU=67", 0},      {"INTERNAL_IP4_MTU=65535", 65535},
		{"INTERNAL_IP4_MTU=65536", 0},   {"INTERNAL_IP4_MTU=-1", 0},
		{"INTERNAL_IP4_MTU=", 0},        {"INTERNAL_IP4_MTU", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_vpn_ struct vpn v = {0};

		GOOD(&v, cases[i].line);
		assert_int_equal(v.mtu_bytes, cases[i].want);
	}
}

/* What makes no sense is left out, and what does stays. */
static void test_networks(void **state)
{
	_vpn_ struct vpn v = {0}, mask = {0}, none = {0}, all = {0}, lan = {0};

	(void)state;
	GOOD(&v, "CISCO_SPLIT_INC=4", "CISCO_SPLIT_INC_0_MASKLEN=33",
	     "CISCO_SPLIT_INC_1_ADDR=10.98.7.7",
	     "CISCO_SPLIT_INC_2_ADDR=fd00::", "CISCO_SPLIT_INC_9_ADDR=10.1.0.0",
	     "CISCO_IPV6_SPLIT_INC_0_ADDR=10.0.0.0");
	assert_int_equal(v.n_include, 1);
	assert_net(&v.include[0], "10.98.7.0/24"); /* no host bits */
	GOOD(&mask, "CISCO_SPLIT_INC_0_MASKLEN", "CISCO_SPLIT_INC_1_MASKLEN",
	     "CISCO_SPLIT_INC_1_MASK=255.0.255.0");
	assert_int_equal(mask.n_include, 2);
	assert_net(&mask.include[0], "172.30.0.0/16");
	assert_net(&mask.include[1], "fd98::/64");
	GOOD(&none, "CISCO_SPLIT_INC", "CISCO_IPV6_SPLIT_INC=0", "CISCO_SPLIT_EXC");
	assert_int_equal(none.n_include, 0);
	assert_int_equal(none.n_exclude, 0);
	GOOD(&all, "CISCO_SPLIT_INC_0_ADDR=0.0.0.0", "CISCO_SPLIT_INC_0_MASKLEN=0");
	assert_net(&all.include[0], "0.0.0.0/0");
	GOOD(&lan, "CISCO_SPLIT_EXC_0_ADDR=0.0.0.0", "CISCO_SPLIT_EXC_0_MASKLEN=32");
	assert_int_equal(lan.n_exclude, 0);
}

static void test_too_many(void **state)
{
	_vpn_ struct vpn v = {0};

	(void)state;
	GOOD(&v, "CISCO_SPLIT_INC=256"); /* most of which are not there */
	assert_int_equal(v.n_include, 3);
	BAD(-E2BIG, "CISCO_SPLIT_INC", "CISCO_SPLIT_INC=257");
	BAD(-E2BIG, "CISCO_SPLIT_EXC", "CISCO_SPLIT_EXC=2147483647");
	BAD(-EINVAL, "CISCO_SPLIT_EXC", "CISCO_SPLIT_EXC=99999999999999999999");
	BAD(-EINVAL, "CISCO_SPLIT_EXC", "CISCO_SPLIT_EXC=-1");
}

static void test_names(void **state)
{
	_vpn_ struct vpn v = {0}, dns = {0}, none = {0};

	(void)state;
	GOOD(&v, "CISCO_DEF_DOMAIN=a.test  b.test,-x ..y c\x01.test nameserver;1",
	     "CISCO_SPLIT_DNS=one.test,two.test, three.test");
	assert_string_equal(v.domain, "a.test b.test");
	assert_int_equal(v.n_split_dns, 3);
	assert_string_equal(v.split_dns[2], "three.test");
	GOOD(&dns, "INTERNAL_IP4_DNS=10.0.0.1 127.0.0.53 10.0.0.1 nonsense ::1 fd00::53 0.0.0.0",
	     "INTERNAL_IP6_DNS=fd00::53 fd00::54");
	assert_int_equal(dns.n_dns, 3);
	assert_ip(&dns.dns[2], "fd00::54");
	GOOD(&none, "INTERNAL_IP4_DNS", "CISCO_DEF_DOMAIN", "CISCO_SPLIT_DNS", "CISCO_BANNER");
	assert_int_equal(none.n_dns, 0);
	assert_string_equal(none.domain, "");
	assert_null(none.banner);
}

static void test_banner(void **state)
{
	_vpn_ struct vpn v = {0};

	(void)state;
	GOOD(&v, "CISCO_BANNER=two\nlines \x1b[31m\x7f");
	assert_string_equal(v.banner, "two\nlines ?[31m?");
}

/* What is said of it can be shown, whatever it was. */
static void test_unprintable(void **state)
{
	(void)state;
	BAD(-EINVAL, "makes no sense: '?[2J??.0.1'", "INTERNAL_IP4_ADDRESS=\x1b[2J\xc3\n.0.1");
	BAD(-EINVAL, "makes no sense: 'te?t'", "reason=te\x7ft");
}

static void test_form(void **state)
{
	struct err err = {0};
	struct vpn v;

	(void)state;
	assert_int_equal(vpn_parse("", 0, &v, &err), -EINVAL);
	assert_int_equal(vpn_parse("reason=connect", 14, &v, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "cut short"));
	assert_int_equal(vpn_parse("reason=connect", 15, &v, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "no VPNPID"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connect),     cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_addresses),   cmocka_unit_test(test_client),
		cmocka_unit_test(test_mtu),         cmocka_unit_test(test_networks),
		cmocka_unit_test(test_too_many),    cmocka_unit_test(test_names),
		cmocka_unit_test(test_banner),      cmocka_unit_test(test_form),
		cmocka_unit_test(test_unprintable),
	};

	return cmocka_run_group_tests_name("session_vpn", tests, NULL, NULL);
}
