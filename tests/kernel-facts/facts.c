// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What byway assumes of the kernel, each as a program that would fail where it is not so. Runs in a
 * network namespace of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "kernel/addr.h"
#include "kernel/closing.h"
#include "kernel/link.h"
#include "kernel/neigh.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/route.h"
#include "kernel/rule.h"
#include "kernel/tun.h"

static struct netns *host(void **state)
{
	return *state;
}

static int set_up(void **state)
{
	struct err err;

	if (unshare(CLONE_NEWNET | CLONE_NEWNS) || mount("", "/", "none", MS_PRIVATE | MS_REC, NULL) ||
	    mount("facts", "/run", "tmpfs", 0, NULL))
		fail_msg("a world of our own: %s (run as root)", strerror(errno));
	if (netns_open(NULL, NULL, (struct netns **)state, &err))
		fail_msg("%s", err.msg);
	return 0;
}

static int tear_down(void **state)
{
	netns_free(*state);
	return 0;
}

static void commit(struct nlbatch *b)
{
	struct err err;

	if (nlbatch_commit(b, &err))
		fail_msg("%s", err.msg);
}

static struct link look_up(struct netns *ns, const char *name)
{
	struct link link = {0};
	struct err err;

	if (link_get(ns, name, &link, &err))
		fail_msg("%s", err.msg);
	return link;
}

/* link.c, names.h: a link that a crash leaves between two messages is known by its group. */
static void a_group_is_there_from_birth(void **state)
{
	struct bridge_spec bridge = {.name = "b0", .mtu_bytes = 1500, .group = 4711};
	struct veth_spec veth = {
		.name = "v0", .peer_name = "v1", .mtu_bytes = 1500, .group = 4712, .peer_netns_fd = -1};
	_nlbatch_ struct nlbatch b;

	nlbatch_init(&b, host(state));
	link_add_bridge(&b, &bridge);
	link_add_veth(&b, &veth);
	commit(&b);
	assert_int_equal(look_up(host(state), "b0").group, 4711);
	assert_int_equal(look_up(host(state), "v0").group, 4712);
	assert_int_equal(look_up(host(state), "v1").group, 4712);
}

/* net.c: all links of a group go with one message, others stay. */
static void a_group_is_deleted_at_once(void **state)
{
	struct link link;
	_nlbatch_ struct nlbatch b;

	nlbatch_init(&b, host(state));
	link_del_group(&b, 4711);
	commit(&b);
	assert_int_equal(link_get(host(state), "b0", &link, NULL), -ENODEV);
	look_up(host(state), "v0");
	link_del_group(&b, 4712);
	link_del_group(&b, 4712); /* none left: no error */
	commit(&b);
	assert_int_equal(link_get(host(state), "v0", &link, NULL), -ENODEV);
}

/* netlink.h: a message that fails does not stop those behind it, and is the only one reported. */
static void a_batch_goes_on_after_an_error(void **state)
{
	struct bridge_spec bridge = {.name = "b1", .mtu_bytes = 1500, .group = 1};
	struct link_change missing = {.name = "nothere", .up = true};
	_nlbatch_ struct nlbatch b;
	struct err err;

	nlbatch_init(&b, host(state));
	link_set(&b, &missing);
	link_add_bridge(&b, &bridge);
	assert_int_equal(nlbatch_commit(&b, &err), -ENODEV);
	assert_non_null(strstr(err.msg, "ip link set nothere up"));
	look_up(host(state), "b1");
	link_add_bridge(&b, &bridge);
	assert_int_equal(nlbatch_commit(&b, &err), -EEXIST);
	link_del(&b, "b1");
	link_del(&b, "b1"); /* absent: done */
	commit(&b);
}

static int count_addresses(const struct nlmsghdr *nlh, void *arg)
{
	(void)nlh;
	++*(int *)arg;
	return 0;
}

static int addresses(struct netns *ns)
{
	char buf[256] = {0};
	struct nlmsghdr *nlh = (struct nlmsghdr *)buf;
	int n = 0;

	nlh->nlmsg_type = 22; /* RTM_GETADDR */
	nlh->nlmsg_len = NLMSG_LENGTH(8);
	assert_int_equal(nl_dump(ns, nlh, count_addresses, &n, NULL), 0);
	return n;
}

/* net.c: with address generation off before it comes up, a link has no link-local address, and an
 * address that is added "nodad" is there at once. */
static void no_autoconfiguration(void **state)
{
	struct veth_spec veth = {
		.name = "v2", .peer_name = "v3", .mtu_bytes = 1500, .group = 1, .peer_netns_fd = -1};
	struct link_change up[] = {{.name = "v2", .no_ipv6_autoconf = true, .up = true},
				   {.name = "v3", .no_ipv6_autoconf = true, .up = true}};
	int before = addresses(host(state));
	_nlbatch_ struct nlbatch b;
	struct cidr a;

	nlbatch_init(&b, host(state));
	link_add_veth(&b, &veth);
	link_set(&b, &up[0]);
	link_set(&b, &up[1]);
	commit(&b);
	assert_int_equal(addresses(host(state)), before);
	assert_int_equal(cidr_parse("fd00::1/64", &a, NULL), 0);
	addr_add(&b, look_up(host(state), "v2").index, "v2", &a);
	commit(&b);
	assert_int_equal(addresses(host(state)), before + 1);
}

/* net.c: a gateway that no connected network contains is taken with RTNH_F_ONLINK. */
static void a_gateway_outside_the_network(void **state)
{
	int index = look_up(host(state), "v2").index;
	struct cidr a, everywhere = {.addr.family = AF_INET};
	struct ip gateway;
	struct mac mac = mac_from_name("gateway");
	_nlbatch_ struct nlbatch b;
	char out[IFNAMSIZ];

	nlbatch_init(&b, host(state));
	assert_int_equal(cidr_parse("10.9.1.1/24", &a, NULL), 0);
	assert_int_equal(ip_parse("10.9.0.1", &gateway, NULL), 0);
	addr_add(&b, index, "v2", &a);
	neigh_add(&b, index, "v2", &gateway, &mac);
	route_add_via(&b, index, "v2", &everywhere, &gateway);
	commit(&b);
	assert_int_equal(route_default_link(host(state), out, NULL), 0);
	assert_string_equal(out, "v2");
}

/* netns.c: the namespace carries its mark before it has a name, and deleting it twice is fine. */
static void a_namespace_is_born_marked(void **state)
{
	_netns_ struct netns *made = NULL, *opened = NULL;
	struct err err;

	(void)state;
	if (netns_create("fact", "byway:fact", NULL, &made, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(netns_open("fact", NULL, &opened, NULL), 0);
	assert_string_equal(look_up(opened, "lo").alias, "byway:fact");
	assert_int_equal(netns_delete("fact", NULL, NULL), 0);
	assert_int_equal(netns_delete("fact", NULL, NULL), 0);
	assert_int_equal(netns_open("fact", NULL, &opened, NULL), -ENOENT);
}

/* netns.c: what a crash between creating the file and mounting the namespace leaves. */
static void a_name_without_a_namespace(void **state)
{
	struct netns *ns = NULL;
	int fd;

	(void)state;
	fd = open(NETNS_DIR "/husk", O_RDONLY | O_CREAT, 0);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(netns_open("husk", NULL, &ns, NULL), -ENOENT);
	assert_int_equal(netns_delete("husk", NULL, NULL), 0);
	assert_false(netns_exists("husk"));
}

/* netns.h: a socket stays in the namespace it was made in, and /proc/sys/net is that of the thread. */
static int own_namespace(void *arg)
{
	struct stat st;

	if (stat("/proc/thread-self/ns/net", &st))
		return -errno;
	*(ino_t *)arg = st.st_ino;
	return 0;
}

static void a_call_runs_inside(void **state)
{
	_netns_ struct netns *ns = NULL;
	ino_t inside = 0, outside = 0, after = 0;

	(void)state;
	assert_int_equal(netns_create("room", "byway:room", NULL, &ns, NULL), 0);
	assert_int_equal(own_namespace(&outside), 0);
	assert_int_equal(netns_call(ns, own_namespace, &inside), 0);
	assert_int_equal(own_namespace(&after), 0);
	assert_int_not_equal(inside, outside);
	assert_int_equal(after, outside);
	assert_int_equal(netns_delete("room", NULL, NULL), 0);
}

/* tun.c: the device is made where the thread is, one header length for all queues, and it goes with them. */
static void a_tun_is_made_inside(void **state)
{
	_netns_ struct netns *ns = NULL;
	struct link link;
	struct err err = {0};
	int fds[2], more[1], header = 0;

	assert_int_equal(netns_create("tunnel", "byway:tunnel", NULL, &ns, NULL), 0);
	if (tun_open(ns, "tun7", 2, fds, &err))
		fail_msg("%s", err.msg);
	assert_string_equal(look_up(ns, "tun7").kind, "tun");
	assert_int_equal(link_get(host(state), "tun7", &link, NULL), -ENODEV);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ioctl(fds[i], TUNGETVNETHDRSZ, &header), 0);
		assert_int_equal(header, TUN_HEADER);
		assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
	}
	assert_int_equal(tun_open(ns, "tun7", 1, more, &err), -EEXIST);
	assert_int_equal(more[0], -1);
	assert_int_equal(tun_open(ns, "lo", 1, more, &err), -EEXIST);
	assert_int_equal(tun_open(ns, "tun%d", 1, more, &err), -EINVAL);
	close(fds[0]);
	assert_string_equal(look_up(ns, "tun7").kind, "tun");
	close(fds[1]);
	assert_int_equal(link_get(ns, "tun7", &link, NULL), -ENODEV);
	assert_int_equal(netns_delete("tunnel", NULL, NULL), 0);
}

static int count_routes(const struct route *r, void *arg)
{
	*(int *)arg += r->table == 4711;
	return 0;
}

static int routes_of_table(struct netns *ns)
{
	int n = 0;

	assert_int_equal(route_each(ns, AF_INET, count_routes, &n, NULL), 0);
	assert_int_equal(route_each(ns, AF_INET6, count_routes, &n, NULL), 0);
	return n;
}

/* rule.c, route.c: making is idempotent, deleting too, and a blackhole stays when the link goes. */
static void a_table_of_our_own(void **state)
{
	static const int both[] = {AF_INET, AF_INET6};
	struct link_change up = {.name = "lo", .up = true};
	struct netns *ns = host(state);
	struct link_change tun_up = {.name = "tun8", .up = true};
	_nlbatch_ struct nlbatch b;
	int fd;

	assert_int_equal(tun_open(ns, "tun8", 1, &fd, NULL), 0);
	nlbatch_init(&b, ns);
	link_set(&b, &up);
	link_set(&b, &tun_up);
	for (size_t i = 0; i < 4; i++) {
		struct rule_spec rule = {.family = both[i % 2], .priority = 4711, .fwmark = 0x10,
					 .mask = 0x10, .table = 4711};

		rule_add(&b, &rule);
		route_add_default(&b, both[i % 2], 4711, look_up(ns, "tun8").index, "tun8", 5);
		route_add_blackhole(&b, both[i % 2], 4711, 500);
	}
	commit(&b);
	assert_int_equal(routes_of_table(ns), 4);
	close(fd);
	assert_int_equal(routes_of_table(ns), 2);
	for (size_t i = 0; i < 4; i++) {
		rule_del(&b, both[i % 2], 4711);
		assert_int_equal(route_flush(&b, both[i % 2], 4711, NULL), 0);
	}
	commit(&b); /* each twice: gone already is as good */
	assert_int_equal(routes_of_table(ns), 0);
}

/* closing.c: what is in a message to nobody is closed, whoever does it. */
static void what_is_sent_to_nobody_is_closed(void **state)
{
	struct pollfd end = {.events = POLLIN};
	int pipes[2];

	(void)state;
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	close_later(pipes[1]);
	end.fd = pipes[0];
	assert_int_equal(poll(&end, 1, 30000), 1);
	assert_int_equal(end.revents, POLLHUP);
	close(pipes[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_group_is_there_from_birth),
		cmocka_unit_test(a_group_is_deleted_at_once),
		cmocka_unit_test(a_batch_goes_on_after_an_error),
		cmocka_unit_test(no_autoconfiguration),
		cmocka_unit_test(a_gateway_outside_the_network),
		cmocka_unit_test(a_namespace_is_born_marked),
		cmocka_unit_test(a_name_without_a_namespace),
		cmocka_unit_test(a_call_runs_inside),
		cmocka_unit_test(a_tun_is_made_inside),
		cmocka_unit_test(a_table_of_our_own),
		cmocka_unit_test(what_is_sent_to_nobody_is_closed),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
