// SPDX-License-Identifier: GPL-2.0-or-later
/* What runtimes say to the CNI plugin, and what it answers, in each version. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cni/args.h"
#include "cni/config.h"
#include "cni/result.h"
#include "vpc/mapping.h"

static struct cni_config config;
static struct cni_error error;

static int setup(void **state)
{
	(void)state;
	config = (struct cni_config){0};
	error = (struct cni_error){0};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cni_config_done(&config);
	return 0;
}

#define BASE "\"cniVersion\": \"1.0.0\", \"name\": \"pods\", \"type\": \"byway\""

static int read_text(const char *text)
{
	int r = cni_config_parse(text, strlen(text), &config, &error);

	return r ? r : cni_config_read(&config, &error);
}

static void test_defaults(void **state)
{
	(void)state;
	assert_int_equal(read_text("{" BASE "}"), 0);
	assert_int_equal(config.version, CNI_1_0_0);
	assert_string_equal(config.network, "pods");
	assert_string_equal(config.subnet, "");
	assert_null(config.cidr);
	assert_null(config.ipam);
	assert_false(config.isolated);
	assert_false(config.no_nat);
}

static void test_everything(void **state)
{
	struct ip want;

	(void)state;
	assert_int_equal(read_text("{" BASE ", \"network\": \"shop\", \"subnet\": \"10.1.0.0/16\","
				   "\"cidr6\": \"fd00::/64\", \"mtu\": 1400, \"isolated\": true,"
				   "\"ipMasq\": false, \"dns\": {\"search\": [\"a\"]},"
				   "\"ipam\": {\"type\": \"static\", \"addresses\": []},"
				   "\"runtimeConfig\": {\"ips\": [\"10.1.0.9/16\"],"
				   "\"mac\": \"02:00:00:00:00:09\", \"portMappings\": [],"
				   "\"aliases\": {\"pods\": [\"web\", \"no name\", \"w.1\"],"
				   "\"other\": [\"x\"]},"
				   "\"bandwidth\": {\"ingressRate\": 1000, \"egressRate\": 2000}},"
				   "\"args\": {\"cni\": {\"ips\": [\"fd00::9\"]}}}"),
			 0);
	assert_string_equal(config.network, "shop");
	assert_string_equal(config.cidr, "10.1.0.0/16");
	assert_string_equal(config.cidr6, "fd00::/64");
	assert_int_equal(config.mtu_bytes, 1400);
	assert_string_equal(config.wishes.aliases, "web w.1");
	assert_true(config.isolated);
	assert_true(config.no_nat);
	assert_string_equal(config.ipam, "static");
	assert_int_equal(config.rate_rx, 1000);
	assert_int_equal(config.rate_tx, 2000);
	assert_int_equal(config.wishes.n_addrs, 2);
	assert_int_equal(ip_parse("10.1.0.9", &want, NULL), 0);
	assert_true(ip_equal(&config.wishes.addrs[0], &want));
	assert_int_equal(config.wishes.mac.bytes[5], 9);
}

static void test_subnet_of_vpc(void **state)
{
	(void)state;
	assert_int_equal(read_text("{" BASE ", \"network\": \"prod/web\"}"), 0);
	assert_string_equal(config.network, "prod");
	assert_string_equal(config.subnet, "web");
}

#define MAPPINGS(list) "{" BASE ", \"runtimeConfig\": {\"portMappings\": [" list "]}}"

static void test_mappings(void **state)
{
	char text[MAPPING_STRLEN];

	(void)state;
	assert_int_equal(
		read_text(MAPPINGS("{\"hostPort\": 8080, \"containerPort\": 80},"
				   "{\"hostPort\": 53, \"containerPort\": 5353, \"protocol\": \"UDP\","
				   " \"hostIP\": \"192.0.2.1\"},"
				   "{\"hostPort\": 1, \"containerPort\": 2, \"protocol\": \"tcp\","
				   " \"hostIP\": \"\"}")),
		0);
	assert_int_equal(config.n_mappings, 3);
	assert_string_equal(mapping_format(&config.mappings[0], text), "8080:80/tcp");
	assert_string_equal(mapping_format(&config.mappings[1], text), "192.0.2.1:53:5353/udp");
	assert_string_equal(mapping_format(&config.mappings[2], text), "1:2/tcp");
}

static const struct {
	const char *text;
	enum cni_code code;
	const char *says;
} refusals[] = {
	{"", CNI_DECODE, "line"},
	{"{", CNI_DECODE, "line"},
	{"[]", CNI_DECODE, "object"},
	{"{\"cniVersion\": 1, \"name\": \"a\"}", CNI_DECODE, "cniVersion"},
	{"{\"name\": \"a\"}", CNI_VERSION, "not given"},
	{"{\"cniVersion\": \"2.0.0\", \"name\": \"a\"}", CNI_VERSION, "2.0.0"},
	{"{\"cniVersion\": \"1.0.0\"}", CNI_CONFIG, "name"},
	{"{\"cniVersion\": \"1.0.0\", \"name\": \"a\", \"name\": \"b\"}", CNI_DECODE, "duplicate"},
	{"{" BASE ", \"vlan\": 7}", CNI_UNSUPPORTED, "\"vlan\": 7"},
	{"{" BASE ", \"dns\": {\"nameserver\": \"a\"}}", CNI_UNSUPPORTED, "nameserver"},
	{MAPPINGS("{}"), CNI_CONFIG, "portMappings"},
	{MAPPINGS("{\"hostPort\": 80}"), CNI_CONFIG, "{\"hostPort\":80}"},
	{MAPPINGS("{\"hostPort\": 80, \"containerPort\": 0}"), CNI_CONFIG, "containerPort"},
	{MAPPINGS("{\"hostPort\": 65536, \"containerPort\": 1}"), CNI_CONFIG, "hostPort"},
	{MAPPINGS("{\"hostPort\": \"80\", \"containerPort\": 1}"), CNI_CONFIG, "hostPort"},
	{MAPPINGS("{\"hostPort\": 1, \"containerPort\": 1, \"protocol\": \"sctp\"}"),
	 CNI_UNSUPPORTED, "sctp"},
	{MAPPINGS("{\"hostPort\": 1, \"containerPort\": 1, \"hostIP\": \"here\"}"), CNI_CONFIG,
	 "here"},
	{MAPPINGS("{\"port\": 1}"), CNI_UNSUPPORTED, "port"},
	{MAPPINGS("1"), CNI_CONFIG, "portMappings"},
	{"{" BASE ", \"runtimeConfig\": {\"portMappings\": {}}}", CNI_CONFIG, "list"},
	{"{" BASE ", \"runtimeConfig\": {\"aliases\": {\"pods\": [1]}}}", CNI_CONFIG, "aliases"},
	{"{" BASE ", \"runtimeConfig\": {\"ips\": [\"10.0.0.1\", \"10.0.0.2\"]}}", CNI_CONFIG,
	 "second IPv4"},
	{"{" BASE ", \"network\": \"a/b\", \"cidr\": \"10.0.0.0/8\"}", CNI_CONFIG, "subnet"},
	{"{" BASE ", \"network\": \"a/\"}", CNI_CONFIG, "network"},
	{"{" BASE ", \"network\": \"../a\"}", CNI_CONFIG, "network"},
	{"{" BASE ", \"cidr\": \"10.0.0.0/8\", \"subnet\": \"10.0.0.0/8\"}", CNI_CONFIG, "same"},
	{"{" BASE ", \"cidr\": \"10.0.0.1/8\"}", CNI_CONFIG, "10.0.0.0/8"},
	{"{" BASE ", \"mtu\": -1}", CNI_CONFIG, "mtu"},
	{"{" BASE ", \"isolated\": \"yes\"}", CNI_CONFIG, "isolated"},
	{"{" BASE ", \"ipam\": {\"type\": \"../x\"}}", CNI_CONFIG, "ipam.type"},
	{"{" BASE ", \"ipam\": {\"range\": 1}}", CNI_UNSUPPORTED, "range"},
	{"{" BASE ", \"bandwidth\": {\"ingressRate\": -1}}", CNI_CONFIG, "ingressRate"},
	{"{" BASE ", \"prevResult\": 1}", CNI_CONFIG, "prevResult"},
};

static void test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		error = (struct cni_error){0};
		assert_int_not_equal(read_text(refusals[i].text), 0);
		if (cni_code_of(&error) != refusals[i].code ||
		    !strstr(error.err.msg, refusals[i].says))
			fail_msg("%s: code %d: %s", refusals[i].text, (int)cni_code_of(&error),
				 error.err.msg);
		cni_config_done(&config);
	}
}

static void test_args(void **state)
{
	struct cni_wishes w = {0}, none = {0};

	(void)state;
	assert_int_equal(cni_args_parse("", &w, &error), 0);
	assert_int_equal(cni_args_parse("A=B;IgnoreUnknown=true;IP=10.0.0.1,fd00::1", &w, &error),
			 0);
	assert_int_equal(w.n_addrs, 2);
	assert_int_equal(cni_args_parse("K8S_POD_NAME=web-0", &w, &error), 0);
	assert_string_equal(w.aliases, "web-0");
	assert_int_equal(cni_args_parse("A=B;IP=10.0.0.2", &none, &error), -EINVAL);
	assert_int_equal(error.code, CNI_ENVIRONMENT);
	assert_non_null(strstr(error.err.msg, "'A'"));
	assert_int_equal(cni_args_parse("IgnoreUnknown=0;A=B", &none, &error), -EINVAL);
	assert_int_equal(cni_args_parse("MAC", &none, &error), -EINVAL);
}

static json_t *result_of(const char *version, const char *prev, bool dns)
{
	struct vpc v = {.name = "pods", .bridge = "pods", .mtu_bytes = 1450, .dns = dns};
	struct port p = {.ifname = "cni-a", .attachment = {.ifname = "eth0"}};
	char text[512];

	snprintf(text, sizeof(text), "{\"cniVersion\": \"%s\", \"name\": \"pods\"%s%s}", version,
		 prev ? ", \"prevResult\": " : "", prev ? prev : "");
	assert_int_equal(read_text(text), 0);
	assert_int_equal(cidr_parse("10.30.0.0/24", &v.cidr, NULL), 0);
	assert_int_equal(cidr_parse("fd30::/64", &v.cidr6, NULL), 0);
	assert_int_equal(ip_parse("10.30.0.2", &p.addr, NULL), 0);
	assert_int_equal(ip_parse("fd30::2", &p.addr6, NULL), 0);
	return cni_result(&config, &v, &p, "/run/netns/a", NULL);
}

static json_t *result_in(const char *version, const char *prev)
{
	return result_of(version, prev, false);
}

static json_t *at(json_t *result, const char *list, size_t i)
{
	return json_array_get(json_object_get(result, list), i);
}

static void test_results(void **state)
{
	static const char *const versions[] = {"0.3.1", "0.4.0", "1.0.0", "1.1.0"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		json_t *r = result_in(versions[i], NULL), *ip = at(r, "ips", 1);

		assert_string_equal(json_string_value(json_object_get(r, "cniVersion")),
				    versions[i]);
		assert_string_equal(json_string_value(json_object_get(ip, "address")),
				    "fd30::2/64");
		assert_int_equal(json_integer_value(json_object_get(ip, "interface")), 2);
		assert_int_equal(json_object_get(ip, "version") != NULL, i < 2);
		assert_int_equal(json_object_get(at(r, "interfaces", 2), "mtu") != NULL, i == 3);
		assert_null(json_object_get(at(r, "interfaces", 1), "sandbox"));
		assert_string_equal(json_string_value(json_object_get(at(r, "routes", 1), "dst")),
				    "::/0");
		assert_true(json_is_object(json_object_get(r, "dns")));
		json_decref(r);
		cni_config_done(&config);
	}
}

static void test_chained_result(void **state)
{
	json_t *r = result_in("1.0.0", "{\"cniVersion\": \"1.0.0\","
				       "\"interfaces\": [{\"name\": \"x\"}],"
				       "\"ips\": [{\"address\": \"10.9.0.1/8\"}],"
				       "\"dns\": {\"domain\": \"d\"}}");

	(void)state;
	assert_int_equal(json_array_size(json_object_get(r, "interfaces")), 4);
	assert_int_equal(json_array_size(json_object_get(r, "ips")), 3);
	assert_int_equal(json_integer_value(json_object_get(at(r, "ips", 1), "interface")), 3);
	assert_non_null(json_object_get(json_object_get(r, "dns"), "domain"));
	json_decref(r);
}

/* The network's own, unless somebody before has said what. */
static void test_result_dns(void **state)
{
	json_t *own, *theirs;
	json_t *want = json_pack("{s:[s], s:s, s:[s]}", "nameservers", "10.30.0.1", "domain",
				 "pods.internal", "search", "pods.internal");

	(void)state;
	own = result_of("1.0.0", NULL, true);
	cni_config_done(&config);
	theirs = result_of("1.0.0", "{\"dns\": {\"nameservers\": [\"a\"]}}", true);
	cni_config_done(&config);
	assert_true(json_equal(json_object_get(own, "dns"), want));
	assert_false(json_equal(json_object_get(theirs, "dns"), want));
	json_decref(own);
	json_decref(theirs);
	json_decref(want);
}

static void test_given(void **state)
{
	struct cni_given g;
	json_t *r = json_pack("{s:[{s:s, s:s}, {s:s}], s:[{s:s}]}", "ips", "address", "10.1.0.5/16",
			      "gateway", "10.1.0.1", "address", "fd00::5/64", "routes", "dst",
			      "0.0.0.0/0");

	(void)state;
	assert_int_equal(cni_given_read(r, &g, &error), 0);
	assert_int_equal(g.n, 2);
	assert_int_equal(g.addrs[0].prefix, 16);
	assert_int_equal(g.gateways[1].family, 0);
	json_array_append_new(json_object_get(r, "routes"),
			      json_pack("{s:s}", "dst", "10.0.0.0/8"));
	assert_int_equal(cni_given_read(r, &g, &error), -EINVAL);
	assert_int_equal(error.code, CNI_UNSUPPORTED);
	json_decref(r);
	r = json_object();
	assert_int_equal(cni_given_read(r, &g, &error), -EINVAL);
	assert_int_equal(error.code, CNI_DELEGATE);
	json_decref(r);
}

static void test_error_json(void **state)
{
	json_t *said;

	(void)state;
	err_set(&error.err, ERR_CONFLICT, -EBUSY, "busy");
	assert_int_equal(cni_code_of(&error), CNI_TRY_AGAIN);
	err_set(&error.err, ERR_NONE, -EPERM, "no");
	assert_int_equal(cni_code_of(&error), CNI_DENIED);
	cni_fail(&error, CNI_CHECK, "gone");
	said = cni_error_json(&error, "0.4.0");
	assert_int_equal(json_integer_value(json_object_get(said, "code")), 105);
	assert_string_equal(json_string_value(json_object_get(said, "details")), "gone");
	assert_string_equal(json_string_value(json_object_get(said, "cniVersion")), "0.4.0");
	json_decref(said);
}

/* What comes in by the environment may be anything, and a limit may fall within a character. */
static void test_error_not_utf8(void **state)
{
	struct cni_wishes w = {0};
	json_t *said;

	(void)state;
	assert_int_equal(cni_args_parse("A\xff=\xc3\xa9", &w, &error), -EINVAL);
	said = cni_error_json(&error, "1.0.0");
	assert_non_null(said);
	assert_int_equal(json_integer_value(json_object_get(said, "code")), CNI_ENVIRONMENT);
	assert_non_null(strstr(json_string_value(json_object_get(said, "msg")), "'A?' is not known"));
	json_decref(said);
	assert_int_not_equal(read_text("{" BASE ", \"0123456789012345678901234567890123456789"
				       "01234567890123456789012\xc3\xa9\": 1}"),
			     0);
	said = cni_error_json(&error, "1.0.0");
	assert_non_null(said);
	assert_int_equal(json_integer_value(json_object_get(said, "code")), CNI_UNSUPPORTED);
	json_decref(said);
	cni_fail(&error, CNI_CHECK, "caf\xc3\xa9");
	said = cni_error_json(&error, "1.0.0");
	assert_string_equal(json_string_value(json_object_get(said, "details")), "caf\xc3\xa9");
	json_decref(said);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_defaults),       TEST(test_everything), TEST(test_subnet_of_vpc), TEST(test_mappings),
		TEST(test_refusals),       TEST(test_args),       TEST(test_results),
		TEST(test_chained_result), TEST(test_given), TEST(test_result_dns),      TEST(test_error_json),
		TEST(test_error_not_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
