// SPDX-License-Identifier: GPL-2.0-or-later
/* Numbers for Prometheus, read back as strictly as its text format is written down. */
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "ops/metrics.h"

/* ---- The format ---- */

#define NAME "[a-zA-Z_:][a-zA-Z0-9_:]*"
#define LABEL "[a-zA-Z_][a-zA-Z0-9_]*=\"([^\"\\\n]|\\\\[\\\"n])*\""

static const char *const forms[] = {
	"^# HELP (" NAME ") [^\\\n]+$",
	"^# TYPE (" NAME ") (counter|gauge)$",
	"^(" NAME ")\\{" LABEL "(," LABEL ")*\\} -?[0-9]+$",
};
enum form { FORM_HELP, FORM_TYPE, FORM_SAMPLE, FORM_NONE };

static enum form form_of(const char *line, char name[128])
{
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		regmatch_t m[2];
		regex_t re;
		bool is;

		assert_int_equal(regcomp(&re, forms[i], REG_EXTENDED), 0);
		is = !regexec(&re, line, 2, m, 0);
		regfree(&re);
		if (is) {
			snprintf(name, 128, "%.*s", (int)(m[1].rm_eo - m[1].rm_so),
				 line + m[1].rm_so);
			return (enum form)i;
		}
	}
	return FORM_NONE;
}

/* What a metric with its labels is known by: the line up to its value. */
static void expect_unique(const char *text, const char *line)
{
	size_t len = (size_t)(strrchr(line, ' ') - line) + 1;
	unsigned int n = 0;

	for (const char *at = text; at; at = strchr(at, '\n'), at = at ? at + 1 : NULL)
		n += !strncmp(at, line, len);
	assert_int_equal(n, 1);
}

/* HELP, TYPE and at least one sample of each metric, together, in this order, and never again. */
static void expect_valid(const char *text)
{
	_free_ char *copy = xstrdup(text);
	_buf_ struct buf seen = {0};
	char name[128], current[128] = "";
	enum form before = FORM_SAMPLE;
	char *rest = copy;

	buf_adds(&seen, " ");
	assert_int_equal(text[strlen(text) - 1], '\n');
	for (char *line; (line = strsep(&rest, "\n")) && rest;) {
		enum form f = form_of(line, name);

		if (f == FORM_NONE)
			fail_msg("not in the format: %s", line);
		assert_int_equal(f == FORM_HELP ? before : FORM_SAMPLE, FORM_SAMPLE);
		if (f == FORM_HELP) {
			_free_ char *word = xasprintf(" %s ", name);

			assert_null(strstr(seen.data, word));
			buf_addf(&seen, "%s ", name);
			str_copy(current, sizeof(current), name);
		}
		if (f == FORM_TYPE) {
			assert_int_equal(before, FORM_HELP);
			assert_int_equal(!!strstr(name, "_total"), !!strstr(line, " counter"));
		}
		if (f == FORM_SAMPLE) {
			assert_int_not_equal(before, FORM_HELP);
			expect_unique(text, line);
		}
		assert_string_equal(name, current);
		before = f;
	}
	assert_int_equal(before, FORM_SAMPLE);
}

static char *format_doc(json_t *doc)
{
	struct buf b = {0};

	assert_non_null(doc);
	metrics_format(doc, &b);
	json_decref(doc);
	if (b.len)
		expect_valid(b.data);
	return b.data;
}

static char *format(const char *tunnels, const char *sessions)
{
	json_t *t = json_loads(tunnels, 0, NULL), *s = json_loads(sessions, 0, NULL);

	return format_doc(json_pack("{s:o, s:o}", "tunnels", t, "sessions", s));
}

static void expect_line(const char *text, const char *line)
{
	_free_ char *whole = xasprintf("\n%s\n", line);

	if (!strstr(text, whole))
		fail_msg("%s is not in\n%s", line, text);
}

/* ---- What is told ---- */

static const char tunnels[] =
	"[{'name': 'host', 'kind': 'proxy', 'state': 'up', 'since': '2026-11-20T10:00:00Z',"
	"  'flows': 7, 'accepted': 11, 'refused': 2, 'unreachable': 3, 'bytes_up': "
	"9007199254740993,"
	"  'bytes_down': 5, 'retransmits': 0},"
	" {'name': 'v-a', 'kind': 'ssh', 'state': 'reconnecting', 'bytes_up': 1},"
	" {'name': 'v-b', 'state': 'connecting'}]";

static const char sessions[] =
	"[{'name': 'corp-1', 'group': 'corp', 'state': 'up', 'since': '2026-11-20T10:00:00Z',"
	"  'server': 'vpn.example.com', 'protocol': 'anyconnect', 'transport': 'dtls', 'restarts': "
	"1,"
	"  'auth_failures': 0, 'bytes_in': 1234, 'bytes_out': 99, 'namespace': 'corp-1',"
	"  'address': '10.99.0.7', 'last_error': null, 'next_retry': null},"
	" {'name': 'corp-2', 'group': 'corp', 'state': 'error', 'since': '2026-11-20T10:01:00Z',"
	"  'server': 'vpn.example.com', 'protocol': 'anyconnect', 'transport': null, 'restarts': 4,"
	"  'auth_failures': 2, 'bytes_in': 0, 'bytes_out': 0, 'namespace': 'corp-2', 'address': "
	"null,"
	"  'last_error': {'class': 'authentication', 'reason': 'refused',"
	"                 'time': '2026-11-20T10:02:00.250Z'},"
	"  'next_retry': '2026-11-20T10:03:00Z'}]";

/* The JSON above with its quotes. */
static char *quoted(const char *text)
{
	char *copy = xstrdup(text);

	for (char *c = copy; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	return copy;
}

static char *format_all(void)
{
	_free_ char *t = quoted(tunnels), *s = quoted(sessions);

	return format(t, s);
}

static void test_tunnels(void **state)
{
	_free_ char *text = format_all();

	(void)state;
	expect_line(text, "byway_tunnel_up{tunnel=\"host\",kind=\"proxy\"} 1");
	expect_line(text, "byway_tunnel_up{tunnel=\"v-a\",kind=\"ssh\"} 0");
	expect_line(text, "byway_tunnel_up{tunnel=\"v-b\"} 0");
	expect_line(text,
		    "byway_tunnel_state{tunnel=\"v-a\",kind=\"ssh\",state=\"reconnecting\"} 1");
	expect_line(text, "byway_tunnel_state{tunnel=\"v-a\",kind=\"ssh\",state=\"up\"} 0");
	expect_line(text, "byway_tunnel_state{tunnel=\"host\",kind=\"proxy\",state=\"killed\"} 0");
	expect_line(text, "byway_tunnel_transmitted_bytes_total{tunnel=\"host\",kind=\"proxy\"} "
			  "9007199254740993");
	expect_line(text, "byway_tunnel_received_bytes_total{tunnel=\"host\",kind=\"proxy\"} 5");
	expect_line(text, "byway_tunnel_flows{tunnel=\"host\",kind=\"proxy\"} 7");
	expect_line(text,
		    "byway_tunnel_start_time_seconds{tunnel=\"host\",kind=\"proxy\"} 1795168800");
	assert_null(strstr(text, "byway_tunnel_flows{tunnel=\"v-b\"}"));
}

static void test_sessions(void **state)
{
	_free_ char *text = format_all();

	(void)state;
	expect_line(text, "byway_session_info{session=\"corp-1\",group=\"corp\","
			  "server=\"vpn.example.com\",protocol=\"anyconnect\",transport=\"dtls\","
			  "namespace=\"corp-1\",address=\"10.99.0.7\"} 1");
	expect_line(text, "byway_session_info{session=\"corp-2\",group=\"corp\","
			  "server=\"vpn.example.com\",protocol=\"anyconnect\","
			  "namespace=\"corp-2\"} 1");
	expect_line(text, "byway_session_up{session=\"corp-1\"} 1");
	expect_line(text, "byway_session_up{session=\"corp-2\"} 0");
	expect_line(text, "byway_session_state{session=\"corp-2\",state=\"error\"} 1");
	expect_line(text, "byway_session_state{session=\"corp-2\",state=\"starting\"} 0");
	expect_line(text, "byway_session_received_bytes_total{session=\"corp-1\"} 1234");
	expect_line(text, "byway_session_transmitted_bytes_total{session=\"corp-1\"} 99");
	expect_line(text, "byway_session_restarts_total{session=\"corp-2\"} 4");
	expect_line(text, "byway_session_auth_failures{session=\"corp-2\"} 2");
	expect_line(text, "byway_session_state_since_seconds{session=\"corp-2\"} 1795168860");
	expect_line(text, "byway_session_next_retry_seconds{session=\"corp-2\"} 1795168980");
	expect_line(text, "byway_session_last_error_seconds{session=\"corp-2\","
			  "class=\"authentication\"} 1795168920");
	assert_null(strstr(text, "byway_session_next_retry_seconds{session=\"corp-1\"}"));
	assert_null(strstr(text, "byway_session_last_error_seconds{session=\"corp-1\""));
}

static const char vpcs[] =
	"{'interfaces': [{'name': 'eth0', 'condition': 'up', 'rx_bytes': 10}],"
	" 'vpcs': [{'name': 'shop', 'cidr': '10.0.0.0/16', 'bridge': 'br-shop', 'condition': 'up',"
	"   'rx_bytes': 5, 'tx_bytes': 6, 'nat': {'vpc': 'shop', 'interface': 'eth0', 'condition': 'up'},"
	"   'peers': [{'a': 'lab', 'b': 'shop', 'condition': 'up'}],"
	"   'subnets': [{'vpc': 'shop', 'name': 'web', 'condition': 'missing', 'type': 'public',"
	"     'addresses_leased': 2, 'addresses_free': 251}],"
	"   'vms': [{'network': 'shop', 'subnet': 'web', 'name': 'api', 'kind': 'tap', 'condition': 'idle',"
	"     'rx_bytes': 7, 'tx_bytes': 8, 'rx_packets': 1, 'tx_packets': 2, 'rx_dropped': 3,"
	"     'tx_dropped': 4},"
	"    {'network': 'shop', 'subnet': null, 'name': 'job', 'kind': 'veth', 'condition': 'up'}]},"
	"  {'name': 'lab', 'flat': true, 'condition': 'creating', 'addresses_free': 253,"
	"   'peers': [{'a': 'lab', 'b': 'shop', 'condition': 'up'}]}]}";

static void test_vpcs(void **state)
{
	_free_ char *json = quoted(vpcs);
	_free_ char *text = format_doc(json_loads(json, 0, NULL));

	(void)state;
	expect_line(text, "byway_interface_received_bytes_total{interface=\"eth0\"} 10");
	expect_line(text, "byway_vpc_info{vpc=\"shop\",cidr=\"10.0.0.0/16\",bridge=\"br-shop\"} 1");
	expect_line(text, "byway_vpc_subnets{vpc=\"shop\"} 1");
	expect_line(text, "byway_vpc_ports{vpc=\"shop\"} 2");
	expect_line(text, "byway_vpc_up{vpc=\"lab\"} 0");
	expect_line(text, "byway_vpc_condition{vpc=\"lab\",condition=\"creating\"} 1");
	expect_line(text, "byway_vpc_addresses_free{vpc=\"lab\"} 253");
	expect_line(text, "byway_nat_up{vpc=\"shop\"} 1");
	expect_line(text, "byway_peering_up{a=\"lab\",b=\"shop\"} 1");
	expect_line(text, "byway_subnet_condition{subnet=\"web\",vpc=\"shop\",condition=\"missing\"} 1");
	expect_line(text, "byway_subnet_addresses_leased{subnet=\"web\",vpc=\"shop\"} 2");
	expect_line(text, "byway_vm_received_bytes_total{vm=\"api\",network=\"shop\",subnet=\"web\"} 7");
	expect_line(text, "byway_vm_transmitted_dropped_total{vm=\"api\",network=\"shop\","
			  "subnet=\"web\"} 4");
	expect_line(text, "byway_container_up{container=\"job\",network=\"shop\"} 1");
	assert_null(strstr(text, "byway_vm_up{vm=\"job\""));
	assert_null(strstr(text, "byway_subnet_received_bytes_total"));
}

static void test_none(void **state)
{
	(void)state;
	assert_null(format("[]", "[]"));
}

/* A server's name is the user's to write. */
static void test_escapes(void **state)
{
	_free_ char *text =
		format("[]", "[{\"name\": \"a\", \"state\": \"up\", \"server\": "
			     "\"back\\\\slash \\\"quoted\\\" two\\nlines {} , \\u00e9\"}]");

	(void)state;
	expect_line(text, "byway_session_info{session=\"a\",server=\"back\\\\slash \\\"quoted\\\" "
			  "two\\nlines {} , \xc3\xa9\"} 1");
}

/* A status file is what a process that was killed has left; anybody's guess what it says. */
static void test_odd_objects(void **state)
{
	_free_ char *text =
		format("[{}]", "[{\"name\": 3, \"state\": null, \"since\": \"yesterday\", "
			       "\"bytes_in\": \"12\", \"last_error\": [], "
			       "\"restarts\": -1}]");

	(void)state;
	expect_line(text, "byway_tunnel_up{tunnel=\"\"} 0");
	expect_line(text, "byway_session_up{session=\"\"} 0");
	assert_null(strstr(text, "since"));
	assert_null(strstr(text, "received"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tunnels),     cmocka_unit_test(test_sessions),
		cmocka_unit_test(test_none), cmocka_unit_test(test_vpcs),        cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_odd_objects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
