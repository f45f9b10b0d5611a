// SPDX-License-Identifier: GPL-2.0-or-later
/* What dnsmasq is told, and a lease that is given back. dhcp.sh has dnsmasq itself read it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "vm/dhcp_release.h"
#include "vm/dnsmasq.h"
#include "vpc/port.h"

static struct vpc network(const char *cidr6)
{
	struct vpc v = {
		.name = "net0", .bridge = "net0", .mtu_bytes = 1400, .flat = true, .dns = true};

	assert_int_equal(cidr_parse("10.10.0.0/24", &v.cidr, NULL), 0);
	if (cidr6)
		assert_int_equal(cidr_parse(cidr6, &v.cidr6, NULL), 0);
	return v;
}

static void assert_line(const struct buf *b, const char *line)
{
	_free_ char *with_ends = xasprintf("\n%s\n", line);

	if (!strstr(b->data, with_ends))
		fail_msg("no line '%s' in:\n%s", line, b->data);
}

static void test_config(void **state)
{
	struct vpc v = network("fd10::/64");
	_buf_ struct buf b = {0};

	(void)state;
	dnsmasq_config(&v, "/d", &b);
	assert_line(&b, "interface=net0");
	assert_line(&b, "bind-dynamic");
	assert_line(&b, "local=/internal/");
	assert_line(&b, "rev-server=10.10.0.0/24");
	assert_line(&b, "rev-server=fd10::/64");
	assert_line(&b, "servers-file=/d/upstream");
	assert_null(strstr(b.data, "dhcp"));
	assert_null(strstr(b.data, "ra-param"));
	v.dhcp = true;
	buf_reset(&b);
	dnsmasq_config(&v, "/d", &b);
	assert_line(&b, "dhcp-range=10.10.0.0,static,1h");
	assert_line(&b, "dhcp-option=option:mtu,1400");
	assert_line(&b, "dhcp-range=fd10::,static,64,2m");
	assert_line(&b, "dhcp-ignore-names");
	v = network(NULL);
	v.dhcp = true;
	buf_reset(&b);
	dnsmasq_config(&v, "/d", &b);
	assert_null(strstr(b.data, "enable-ra"));
	buf_reset(&b);
	dnsmasq_way_config(&v, "/w", "/d", 9803, &b);
	assert_line(&b, "port=9803");
	assert_line(&b, "cache-size=0");
	assert_line(&b, "servers-file=/w/upstream");
	assert_line(&b, "hostsdir=/d/hosts");
	assert_null(strstr(b.data, "dhcp"));
}

static struct port port_of(const char *name, const char *addr6)
{
	struct port p = {.kind = PORT_TAP, .mac = {{2, 0, 0, 0, 0, 1}}};

	assert_int_equal(str_copy(p.name, sizeof(p.name), name), 0);
	assert_int_equal(ip_parse("10.10.0.2", &p.addr, NULL), 0);
	if (addr6)
		assert_int_equal(ip_parse(addr6, &p.addr6, NULL), 0);
	return p;
}

static void check_host(const char *name, const char *aliases, const char *addr6, const char *hosts,
		       const char *lease)
{
	struct vpc v = network(NULL);
	struct port p = port_of(name, addr6);
	struct dnsmasq_host h = dnsmasq_port(&p);
	_buf_ struct buf host = {0}, text = {0};

	str_copy(p.attachment.aliases, sizeof(p.attachment.aliases), aliases);
	dnsmasq_add_host(&v, &h, &host);
	dnsmasq_add_lease(&h, &text);
	assert_string_equal(host.data ? host.data : "", hosts);
	assert_string_equal(text.data, lease);
}

static void test_hosts(void **state)
{
	(void)state;
	check_host("web", "", NULL, "10.10.0.2 web.net0.internal web\n",
		   "02:00:00:00:00:01,10.10.0.2,web\n");
	check_host("web", "", "fd10::2",
		   "10.10.0.2 web.net0.internal web\nfd10::2 web.net0.internal web\n",
		   "02:00:00:00:00:01,10.10.0.2,[fd10::2],web\n");
	check_host("c-1", "web db", NULL,
		   "10.10.0.2 c-1.net0.internal c-1 web.net0.internal web db.net0.internal db\n",
		   "02:00:00:00:00:01,10.10.0.2,c-1\n");
}

/* Nobody becomes somebody elsewhere by a name with a dot, nor breaks a line by another. */
static void test_odd_names(void **state)
{
	(void)state;
	check_host("www.example.com", "", NULL, "10.10.0.2 www.example.com.net0.internal\n",
		   "02:00:00:00:00:01,10.10.0.2\n");
	check_host("a..b", "c. .d e\n1.2.3.4", NULL, "", "02:00:00:00:00:01,10.10.0.2\n");
	check_host("ignore", "", NULL, "10.10.0.2 ignore.net0.internal ignore\n",
		   "02:00:00:00:00:01,10.10.0.2\n");
	check_host("45m", "", NULL, "10.10.0.2 45m.net0.internal 45m\n",
		   "02:00:00:00:00:01,10.10.0.2\n");
	check_host("45mm", "", NULL, "10.10.0.2 45mm.net0.internal 45mm\n",
		   "02:00:00:00:00:01,10.10.0.2,45mm\n");
	check_host("with_line", "", NULL, "10.10.0.2 with_line.net0.internal with_line\n",
		   "02:00:00:00:00:01,10.10.0.2\n");
}

static void test_network_names(void **state)
{
	struct vpc v = network(NULL);
	char domain[DNSMASQ_DOMAIN_MAX];
	struct err err;

	(void)state;
	assert_string_equal(dnsmasq_domain(&v, domain), "net0.internal");
	assert_int_equal(dnsmasq_check(&v, &err), 0);
	str_copy(v.name, sizeof(v.name), "net..0");
	assert_int_equal(dnsmasq_check(&v, &err), -22);
	assert_int_equal(err.kind, ERR_USAGE);
}

static void test_servers(void **state)
{
	_buf_ struct buf b = {0};
	struct ip ip;

	(void)state;
	assert_int_equal(ip_parse("192.0.2.53", &ip, NULL), 0);
	dnsmasq_add_server(&ip, &b);
	assert_string_equal(b.data, "server=192.0.2.53\n");
}

static void test_release(void **state)
{
	static const uint8_t options[] = {99, 130, 83, 99, 53, 1, 7, 54, 4, 10, 10, 0, 1, 255};
	static const struct mac mac = {{2, 0, 0, 0, 0, 1}};
	uint8_t m[DHCP_RELEASE_LEN];
	struct ip addr, server;

	(void)state;
	assert_int_equal(ip_parse("10.10.0.2", &addr, NULL), 0);
	assert_int_equal(ip_parse("10.10.0.1", &server, NULL), 0);
	dhcp_release_message(&mac, &addr, &server, m);
	assert_memory_equal(m, ((uint8_t[]){1, 1, 6, 0}), 4);
	assert_memory_equal(m + 12, addr.bytes, 4);
	assert_memory_equal(m + 28, mac.bytes, 6);
	assert_memory_equal(m + 236, options, sizeof(options));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),        cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_odd_names),     cmocka_unit_test(test_servers),
		cmocka_unit_test(test_network_names), cmocka_unit_test(test_release),
	};

	return cmocka_run_group_tests_name("dnsmasq", tests, NULL, NULL);
}
