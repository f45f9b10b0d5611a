// SPDX-License-Identifier: GPL-2.0-or-later
/* Names, networks and rules of VPCs, without a kernel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "vpc/host_rules.h"
#include "vpc/names.h"
#include "vpc/plan.h"
#include "vpc/vpc.h"

static struct vpc vpc(const char *name, const char *cidr, const char *cidr6)
{
	struct vpc v = {.mtu_bytes = 1500};

	assert_int_equal(str_copy(v.name, sizeof(v.name), name), 0);
	snprintf(v.bridge, sizeof(v.bridge), "br-%.12s", name);
	assert_int_equal(plan_vpc_cidr(cidr, AF_INET, &v.cidr, NULL), 0);
	if (cidr6)
		assert_int_equal(plan_vpc_cidr(cidr6, AF_INET6, &v.cidr6, NULL), 0);
	return v;
}

static void names_that_fit_stay(void **state)
{
	char name[IFNAMSIZ];

	(void)state;
	assert_int_equal(ifname_form("br-", "production", "production", 0, name), 0);
	assert_string_equal(name, "br-production");
	assert_int_equal(ifname_form("veth-", "0123456789", "x", 0, name), 0);
	assert_string_equal(name, "veth-0123456789");
}

static void long_names_are_hashed(void **state)
{
	char one[IFNAMSIZ], two[IFNAMSIZ], again[IFNAMSIZ], salted[IFNAMSIZ];

	(void)state;
	ifname_form("br-", "a-very-long-network-one", "a-very-long-network-one", 0, one);
	ifname_form("br-", "a-very-long-network-two", "a-very-long-network-two", 0, two);
	ifname_form("br-", "a-very-long-network-one", "a-very-long-network-one", 0, again);
	ifname_form("br-", "a-very-long-network-one", "a-very-long-network-one", 1, salted);
	assert_in_range(strlen(one), 1, IFNAMSIZ - 1);
	assert_string_equal(one, again);
	assert_string_not_equal(one, two);
	assert_string_not_equal(one, salted);
	assert_null(strstr(one, "--"));
	assert_int_not_equal(ifname_form("br-", "x", "x", 1000, one), 0);
}

static void bad_names_are_refused(void **state)
{
	static const char *const bad[] = {"", "-x", ".x", "a/b", "a b", "ä", "x\n",
		"0123456789012345678901234567890123456789012345678901234567890123"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_not_equal(name_check("VPC", bad[i], NULL), 0);
	assert_int_equal(name_check("VPC", "Web_tier-1.2", NULL), 0);
}

static void subnets_stay_inside(void **state)
{
	struct vpc v = vpc("p", "10.0.0.0/16", NULL);
	struct err err;
	struct cidr c;

	(void)state;
	assert_int_equal(plan_subnet_cidr(&v, "10.0.1.0/24", AF_INET, &c, &err), 0);
	assert_int_not_equal(plan_subnet_cidr(&v, "10.1.1.0/24", AF_INET, &c, &err), 0);
	assert_non_null(strstr(err.msg, "10.0.0.0/16"));
	assert_int_not_equal(plan_subnet_cidr(&v, "10.0.0.0/8", AF_INET, &c, &err), 0);
	assert_int_not_equal(plan_subnet_cidr(&v, "10.0.1.0/31", AF_INET, &c, &err), 0);
	assert_int_not_equal(plan_subnet_cidr(&v, "fd00::/64", AF_INET6, &c, &err), 0);
	assert_non_null(strstr(err.msg, "--cidr6"));
}

static void pools_leave_the_gateway_out(void **state)
{
	struct vpc v = vpc("p", "10.0.0.0/16", NULL);
	char a[IP_STRLEN];
	struct ip first, last;
	struct cidr c;

	(void)state;
	assert_int_equal(plan_subnet_cidr(&v, "10.0.0.0/24", AF_INET, &c, NULL), 0);
	assert_int_equal(plan_pool(&v, &c, &first, &last, NULL), 0);
	assert_string_equal(ip_format(&first, a), "10.0.0.2");
	assert_string_equal(ip_format(&last, a), "10.0.0.254");
	assert_int_equal(plan_subnet_cidr(&v, "10.0.1.0/24", AF_INET, &c, NULL), 0);
	assert_int_equal(plan_pool(&v, &c, &first, &last, NULL), 0);
	assert_string_equal(ip_format(&first, a), "10.0.1.1");
}

/* Against the plain way: try every slice in turn. */
static void slices_are_the_free_ones(void **state)
{
	static const char *const taken_text[] = {"10.0.2.0/24", "10.0.0.128/25", "10.0.8.0/21",
						 "10.0.255.0/24"};
	struct cidr taken[ARRAY_SIZE(taken_text)], in;
	_slicer_ struct slicer s;
	unsigned int found = 0, want = 0;
	struct cidr got;

	(void)state;
	assert_int_equal(cidr_parse_network("10.0.0.0/16", &in, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		assert_int_equal(cidr_parse_network(taken_text[i], &taken[i], NULL), 0);
	slicer_init(&s, &in, 24, taken, ARRAY_SIZE(taken));
	for (unsigned int i = 0; i < 256; i++) {
		struct cidr try = {.addr = ip_add(in.addr, i * 256), .prefix = 24};
		bool is_free = true;

		for (size_t k = 0; k < ARRAY_SIZE(taken); k++)
			is_free = is_free && !cidr_overlaps(&try, &taken[k]);
		if (!is_free)
			continue;
		want++;
		assert_int_equal(slicer_next(&s, &got, NULL), 0);
		assert_true(cidr_equal(&got, &try));
		found++;
	}
	assert_int_equal(found, want);
	assert_int_equal(want, 256 - 1 - 1 - 8 - 1);
	assert_int_not_equal(slicer_next(&s, &got, NULL), 0);
}

static bool has_elem(const struct fw_set *set, const char *cidr, const char *interface)
{
	struct fw_elem want = {0};
	struct cidr c;

	assert_int_equal(cidr_parse_network(cidr, &c, NULL), 0);
	fw_elem_cidr(&want, 0, &c);
	fw_elem_name(&want, 1, interface);
	for (size_t i = 0; i < set->n_elems; i++) {
		if (!memcmp(set->elems[i].lo, want.lo, sizeof(want.lo[0]) * 2) &&
		    !memcmp(set->elems[i].hi, want.hi, sizeof(want.hi[0]) * 2))
			return true;
	}
	return false;
}

static struct peer peering(const char *const allow[], size_t n)
{
	struct peer p = {.a = "a", .b = "b", .n_allow = n};

	for (size_t i = 0; i < n; i++)
		assert_int_equal(cidr_parse_network(allow[i], &p.allow[i], NULL), 0);
	return p;
}

static void a_peering_is_symmetric(void **state)
{
	struct vpc a = vpc("a", "10.0.0.0/16", "fd00:a::/48"), b = vpc("b", "10.1.0.0/16", "fd00:b::/48");
	struct peer p = peering(NULL, 0);
	_host_rules_ struct host_rules h;

	(void)state;
	host_rules_init(&h);
	host_rules_peer(&h, &p, &a, &b);
	assert_int_equal(h.reach4->n_elems, 2);
	assert_int_equal(h.reach6->n_elems, 2);
	assert_true(has_elem(h.reach4, "10.0.0.0/16", "br-b"));
	assert_true(has_elem(h.reach4, "10.1.0.0/16", "br-a"));
	assert_true(has_elem(h.reach6, "fd00:b::/48", "br-a"));
}

static void an_allow_list_narrows_its_own_side(void **state)
{
	static const char *const allow[] = {"10.0.1.0/24", "10.0.2.0/24"};
	struct vpc a = vpc("a", "10.0.0.0/16", "fd00:a::/48"), b = vpc("b", "10.1.0.0/16", "fd00:b::/48");
	struct peer p = peering(allow, 2);
	_host_rules_ struct host_rules h;

	(void)state;
	host_rules_init(&h);
	host_rules_peer(&h, &p, &a, &b);
	assert_int_equal(h.reach4->n_elems, 3);
	assert_true(has_elem(h.reach4, "10.0.1.0/24", "br-b"));
	assert_true(has_elem(h.reach4, "10.0.2.0/24", "br-b"));
	assert_true(has_elem(h.reach4, "10.1.0.0/16", "br-a"));
	assert_int_equal(h.reach6->n_elems, 0); /* a list without IPv6 leaves it closed */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_fit_stay),
		cmocka_unit_test(long_names_are_hashed),
		cmocka_unit_test(bad_names_are_refused),
		cmocka_unit_test(subnets_stay_inside),
		cmocka_unit_test(pools_leave_the_gateway_out),
		cmocka_unit_test(slices_are_the_free_ones),
		cmocka_unit_test(a_peering_is_symmetric),
		cmocka_unit_test(an_allow_list_narrows_its_own_side),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
