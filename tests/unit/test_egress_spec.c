// SPDX-License-Identifier: GPL-2.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "egress/spec.h"
#include "session/file.h"

#define PATH "/etc/byway/machine.yaml"

static void parse(const char *text, struct egress_spec *ret)
{
	struct err err = {0};

	if (egress_spec_parse(PATH, "e", text, ret, &err))
		fail_msg("%s: %s", text, err.msg);
}

static void assert_bad(const char *text, const char *message)
{
	_egress_spec_ struct egress_spec s = {0};
	struct err err = {0};

	assert_int_not_equal(egress_spec_parse(PATH, "e", text, &s, &err), 0);
	assert_int_equal(err.kind, ERR_USAGE);
	if (!strstr(err.msg, message))
		fail_msg("%s: \"%s\" is not in \"%s\"", text, message, err.msg);
}

static void test_ssh(void **state)
{
	static const char *const words[] = {
		"-F", "none", "-i", "/etc/byway/key", "-i", "~/.ssh/id", "-p", "2222", "-o", "A=b"};
	_egress_spec_ struct egress_spec s = {0};

	(void)state;
	parse("{ssh: alice@bastion, config: none, identity: [key, ~/.ssh/id], port: 2222,"
	      " option: A=b, dns: remote, mtu: 1400, via: corp, connections: 3}",
	      &s);
	assert_int_equal(s.kind, EGRESS_SSH);
	assert_string_equal(s.destination, "alice@bastion");
	assert_string_equal(s.via, "corp");
	assert_int_equal(s.mtu_bytes, 1400);
	assert_int_equal(s.connections, 3);
	assert_int_equal(s.resolver.family, 0);
	assert_int_equal(s.n_words, ARRAY_SIZE(words));
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		assert_string_equal(s.words[i], words[i]);
}

static void test_connect(void **state)
{
	_egress_spec_ struct egress_spec s = {0};

	(void)state;
	parse("{connect: ['http://a:1', 'https://b'], username: u, password_file: ../p,"
	      " dns: 10.0.0.53}",
	      &s);
	assert_int_equal(s.kind, EGRESS_CONNECT);
	assert_string_equal(s.urls, "http://a:1,https://b");
	assert_string_equal(s.username, "u");
	assert_string_equal(s.password_file, "/etc/byway/../p");
	assert_int_not_equal(s.resolver.family, 0);
	assert_string_equal(s.via, "");
}

static void test_openconnect(void **state)
{
	_egress_spec_ struct egress_spec s = {0};
	const struct session_spec *one;

	(void)state;
	parse("{openconnect: vpn.example.com, username: alice, password_file: corp.pass,"
	      " via: bastion, mtu: 1300, backoff: {min: 2s}, dns: {servers: [10.0.0.1]}}",
	      &s);
	assert_int_equal(s.kind, EGRESS_OPENCONNECT);
	assert_string_equal(s.via, "bastion");
	assert_int_equal(s.mtu_bytes, 1300);
	assert_int_equal(s.session->n_sessions, 1);
	one = &s.session->sessions[0];
	assert_string_equal(one->name, "e");
	assert_string_equal(one->server, "vpn.example.com");
	assert_string_equal(one->password.text, "/etc/byway/corp.pass");
	assert_int_equal(one->mode, SESSION_FULL);
	assert_int_equal(one->backoff_min_ms, 2000);
	assert_int_equal(one->n_dns, 1);
}

/* A check of health by one way of several is no password by one way of several, in any order. */
static void test_health(void **state)
{
	_egress_spec_ struct egress_spec s = {0};

	(void)state;
	parse("{health: {ping: 10.0.0.1}, openconnect: v, username: a, password_file: p}", &s);
	assert_int_equal(s.session->sessions[0].health.probe, PROBE_PING);
}

/* Blanks, lines and the order of keys are no difference; and what comes of it can be read again. */
static void test_normal(void **state)
{
	_egress_spec_ struct egress_spec a = {0}, b = {0}, c = {0};

	(void)state;
	parse("ssh: a@b\nvia: corp # comment\noption:\n  - X=y\n  - Z=w\n", &a);
	parse("{ option: [X=y,   Z=w],via: corp, ssh: a@b }", &b);
	assert_string_equal(a.text, b.text);
	assert_null(strchr(a.text, '\n'));
	parse(a.text, &c);
	assert_string_equal(c.text, a.text);
	assert_string_equal(c.via, "corp");
	assert_int_equal(c.n_words, 4);
}

static void test_errors(void **state)
{
	(void)state;
	assert_bad("{}", "one of the keys ssh, connect and openconnect");
	assert_bad("", "1:1");
	assert_bad("ssh", "mapping");
	assert_bad("{ssh: a@b, idetity: k}", PATH ":1:12: ");
	assert_bad("{ssh: a@b, idetity: k}", "did you mean \"identity\"");
	assert_bad("{ssh: a@b, connect: 'http://c'}", "no key \"connect\"");
	assert_bad("{ssh: -oProxyCommand=x}", "a server is");
	assert_bad("{ssh: a@b, dns: sometimes}", "\"dns\" is \"remote\"");
	assert_bad("{ssh: a@b, mtu: 1000}", "mtu");
	assert_bad("{ssh: a@b, port: 70000}", "port");
	assert_bad("{ssh: a@b, via: 'a b'}", "not a name");
	assert_bad("{ssh: [a@b]}", "server");
	assert_bad("{connect: 'ftp://a'}", "URL");
	assert_bad("{connect: []}", "which proxy");
	assert_bad("{connect: 'http://u:geheim@a'}", "a password is not written here");
	assert_bad("{openconnect: v, password: geheim}", "a password is not written here");
	assert_bad("{openconnect: v, routing: {mode: split}}", "no key \"routing\"");
	assert_bad("{openconnect: v, server: w}", "no key \"server\"");
	assert_bad("{openconnect: v, password_file: p, health: {ping: 10.0.0.1}, "
		   "password_command: c}",
		   "\"password_file\" and \"password_command\" exclude each other");
	assert_bad("{openconnect: v, via: v, via: w}", "twice");
}

/* What is wrong may be where a password stands. */
static void test_silence(void **state)
{
	static const char *const texts[] = {"{connect: 'http://u:geheim@a'}",
					    "{connect: 'http://u:geheim@a:x'}",
					    "{openconnect: v, password: geheim}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_egress_spec_ struct egress_spec s = {0};
		struct err err = {0};

		assert_int_not_equal(egress_spec_parse(PATH, "e", texts[i], &s, &err), 0);
		assert_null(strstr(err.msg, "geheim"));
	}
}

static void test_same(void **state)
{
	(void)state;
	assert_true(egress_spec_same("{ssh: a@b}", "{ssh: a@b}"));
	assert_true(egress_spec_same("{ssh: a@b, via: c}", "{via: 'c', ssh: \"a@b\"}"));
	assert_true(egress_spec_same("{jump: [a, b], ssh: c}", "{ssh: c, jump: ['a', b]}"));
	assert_false(egress_spec_same("{jump: [a, b], ssh: c}", "{ssh: c, jump: [b, a]}"));
	assert_false(egress_spec_same("{ssh: a@b}", "{ssh: a@b, via: c}"));
	assert_false(egress_spec_same("{ssh: a@b}", "{connect: a@b}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),    cmocka_unit_test(test_ssh),
		cmocka_unit_test(test_connect), cmocka_unit_test(test_openconnect),
		cmocka_unit_test(test_health),  cmocka_unit_test(test_normal),
		cmocka_unit_test(test_errors),  cmocka_unit_test(test_silence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
