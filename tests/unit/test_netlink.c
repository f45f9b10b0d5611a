// SPDX-License-Identifier: GPL-2.0-or-later
/* Dumps that end before their end, in a network namespace of this program's own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "base/err.h"
#include "kernel/link.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "private_net.h"

#define BRIDGES 256 /* many times what the kernel tells in one piece */

static struct netns *ns;
static struct err err;

static int make_links(void **state)
{
	_nlbatch_ struct nlbatch b;
	char name[IFNAMSIZ];

	(void)state;
	if (!private_net() || netns_open(NULL, NULL, &ns, &err))
		return -1;
	nlbatch_init(&b, ns);
	for (unsigned int i = 0; i < BRIDGES; i++) {
		struct bridge_spec spec = {.name = name, .mtu_bytes = 1500};

		snprintf(name, sizeof(name), "b%u", i);
		spec.mac = mac_from_name(name);
		link_add_bridge(&b, &spec);
	}
	return nlbatch_commit(&b, &err);
}

static int close_namespace(void **state)
{
	(void)state;
	netns_free(ns);
	return 0;
}

static int refuse(const struct link *link, void *arg)
{
	(void)link;
	++*(unsigned int *)arg;
	return -EEXIST;
}

static int count(const struct link *link, void *arg)
{
	(void)link;
	++*(unsigned int *)arg;
	return 0;
}

/* The kernel has one dump at a time for each socket. */
static void who_has_seen_enough_can_ask_again(void **state)
{
	unsigned int seen = 0, all = 0;
	int r;

	(void)state;
	assert_int_equal(link_each(ns, refuse, &seen, &err), -EEXIST);
	assert_int_equal(seen, 1);
	r = link_each(ns, count, &all, &err);
	if (r)
		fail_msg("%s", err.msg);
	assert_true(all > BRIDGES); /* lo, too */
}

/* A dump that fails says so in the message that ends it. */
static void a_dump_that_fails_is_no_empty_one(void **state)
{
	char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	(void)state;
	nlh->nlmsg_type = RTM_GETLINK;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(nlh, IFLA_TARGET_NETNSID, 12345); /* there is none */
	assert_int_equal(nl_dump(ns, nlh, NULL, NULL, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_has_seen_enough_can_ask_again),
		cmocka_unit_test(a_dump_that_fails_is_no_empty_one),
	};

	return cmocka_run_group_tests_name("netlink", tests, make_links, close_namespace);
}
