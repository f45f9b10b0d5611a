// SPDX-License-Identifier: GPL-2.0-or-later
/* What is made of a look: walks, rates, changes, pictures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "ops/changes.h"
#include "ops/graph.h"
#include "ops/look.h"

static json_t *parse(const char *text)
{
	char *copy = xstrdup(text);
	json_t *doc;

	for (char *c = copy; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	doc = json_loads(copy, 0, NULL);
	free(copy);
	assert_non_null(doc);
	return doc;
}

#define SUBNET(name, more) "{'vpc': 'shop', 'name': '" name "', 'condition': 'up'" more "}"
#define SHOP(subnets)                                                                              \
	"{'vpcs': [{'name': 'shop', 'condition': 'up', 'vms': [{'network': 'shop', 'name': 'job'," \
	" 'kind': 'veth', 'condition': 'up'}], 'nat': {'interface': 'eth0', 'condition': 'up'},"   \
	" 'peers': [{'a': 'lab', 'b': 'shop', 'condition': 'up'}],"                                \
	" 'subnets': [" subnets "]}]}"

/* ---- Walking ---- */

static void add_key(void *arg, const struct look_object *o)
{
	char key[LOOK_KEY_MAX];

	buf_addf(arg, "%s\n", look_key(o, key));
}

static void test_walk(void **state)
{
	json_t *doc = parse("{'sessions': [{'name': 's'}], 'tunnels': [{'name': 'host'}],"
			    " 'interfaces': [{'name': 'eth0'}], 'vpcs': [{'name': 'a', 'nat': {},"
			    "  'subnets': [{'name': 'x'}], 'vms': [{'name': 'm', 'kind': 'tap'}],"
			    "  'peers': [{'a': 'a', 'b': 'b'}]},"
			    "  {'name': 'b', 'nat': null, 'peers': [{'a': 'a', 'b': 'b'}]}]}");
	_buf_ struct buf b = {0};

	(void)state;
	look_walk(doc, add_key, &b);
	assert_string_equal(b.data, "vpc a\nnat a\nsubnet a/x\nvm a/m\npeer a/b\nvpc b\n"
				    "interface eth0\ntunnel host\nsession s\n");
	json_decref(doc);
}

/* ---- Rates ---- */

static void test_rates(void **state)
{
	struct look before = {
		.doc = parse(SHOP(SUBNET("web", ", 'rx_bytes': 1000, 'tx_bytes': 9"))),
		.at_ms = 10000};
	struct look now = {
		.doc = parse(SHOP(SUBNET("web", ", 'rx_bytes': 4000, 'tx_bytes': 3") "," SUBNET(
			"new", ", 'rx_bytes': 7"))),
		.at_ms = 11500};
	json_t *subnets =
		json_object_get(json_array_get(json_object_get(now.doc, "vpcs"), 0), "subnets");
	const json_t *web = json_array_get(subnets, 0), *new = json_array_get(subnets, 1);

	(void)state;
	look_rates(&now, &before);
	assert_int_equal(look_number(web, "rx_rate"), 2000);
	assert_int_equal(look_number(web, "tx_rate"), 0); /* its link is another one */
	assert_null(json_object_get(new, "rx_rate"));
	look_done(&before);
	look_done(&now);
}

/* ---- Changes ---- */

static void add_event(void *arg, json_t *e)
{
	char *was = json_dumps(json_object_get(e, "was"), JSON_COMPACT);

	buf_addf(arg, "%s %s %s %s\n", look_text(e, "event"), look_text(e, "kind"),
		 look_text(e, "id"), was ? was : "-");
	assert_null(json_object_get(json_object_get(e, "object"), "rx_bytes"));
	assert_null(json_object_get(json_object_get(e, "object"), "subnets"));
	free(was);
	json_decref(e);
}

static void expect_changes(const char *before, const char *after, const char *want)
{
	json_t *a = parse(before), *b = parse(after);
	_buf_ struct buf got = {0};

	buf_adds(&got, "");
	changes_find(a, b, add_event, &got);
	assert_string_equal(got.data ? got.data : "", want);
	json_decref(a);
	json_decref(b);
}

static void test_changes(void **state)
{
	(void)state;
	expect_changes(SHOP(""), SHOP(""), "");
	expect_changes(SHOP(SUBNET("web", ", 'rx_bytes': 1, 'rx_rate': 5")),
		       SHOP(SUBNET("web", ", 'rx_bytes': 2")), "");
	expect_changes(SHOP(SUBNET("web", "")), SHOP(SUBNET("db", "")),
		       "removed subnet shop/web -\nadded subnet shop/db -\n");
	expect_changes(SHOP(SUBNET("web", ", 'error': null")),
		       SHOP(SUBNET("web", ", 'error': 'gone', 'mtu': 5")),
		       "changed subnet shop/web {\"error\":null,\"mtu\":null}\n");
	expect_changes(
		"{'tunnels': [{'name': 'host', 'state': 'up', 'flows': 1, 'connections': [1]}]}",
		"{'tunnels': [{'name': 'host', 'state': 'killed', 'flows': 2}]}",
		"changed tunnel host {\"state\":\"up\"}\n");
	expect_changes("{}", SHOP(""),
		       "added vpc shop -\nadded nat shop -\nadded container shop/job -\n");
}

/* ---- Pictures ---- */

/* Names of namespaces and servers are anybody's. */
static void test_dot(void **state)
{
	json_t *doc =
		parse("{'tunnels': [{'name': 'x\\\\\\\" ] -> evil [\\nlabel', 'condition': 'up',"
		      " 'server': '\\\\N'}]}");
	_buf_ struct buf b = {0};

	(void)state;
	graph_dot(doc, &b);
	assert_non_null(strstr(b.data, "\"tunnel x\\\\\\\" ] -> evil [ label\""));
	assert_non_null(strstr(b.data, "\\n\\\\N\" color"));
	json_decref(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_dot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
