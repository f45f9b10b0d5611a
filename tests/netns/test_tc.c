// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rate limits, measured with TCP between a namespace and the host's side of a veth pair:
 *
 *	host ─ tap0 ─ eth0 guest
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "kernel/link.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"
#include "kernel/tc.h"

#include "fw_probe.h"

#define MBIT 1000000ULL
#define IFB_GROUP 7

static struct netns *host, *guest;

static const struct tc_limits none = {
	.ifname = "tap0", .ifb = "ifb0", .ifb_alias = "byway:test", .ifb_group = IFB_GROUP};

static void limit(uint64_t out_bits, uint64_t in_bits)
{
	struct tc_limits l = none;
	struct err err = {0};

	l.out_bits = out_bits;
	l.in_bits = in_bits;
	if (tc_limit(host, &l, &err))
		fail_msg("%s", err.msg);
}

static int open_socket(void *arg)
{
	(void)arg;
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static struct sockaddr_in address(const struct netns *ns)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(5001)};

	sa.sin_addr.s_addr = inet_addr(ns == host ? "10.0.0.1" : "10.0.0.2");
	return sa;
}

/* A connection from one side to the other: fds[0] sends, fds[1] receives. */
static void open_stream(struct netns *from, struct netns *to, int fds[2])
{
	struct sockaddr_in sa = address(to);
	int one = 1, listener = netns_call(to, open_socket, NULL);

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(listener, (void *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(listener, 1), 0);
	fds[0] = netns_call(from, open_socket, NULL);
	assert_int_equal(connect(fds[0], (void *)&sa, sizeof(sa)), 0);
	fds[1] = accept(listener, NULL, NULL);
	assert_true(fds[1] >= 0);
	close(listener);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Bytes that arrived within so many seconds. */
static size_t pump(const int fds[2], double seconds)
{
	static char data[65536];
	struct pollfd p[] = {{.fd = fds[0], .events = POLLOUT}, {.fd = fds[1], .events = POLLIN}};
	double end = now() + seconds;
	size_t sum = 0;

	while (now() < end && poll(p, 2, 10) >= 0) {
		ssize_t n = recv(fds[1], data, sizeof(data), MSG_DONTWAIT);

		(void)!send(fds[0], data, sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL);
		sum += n > 0 ? (size_t)n : 0;
	}
	return sum;
}

/* Megabits a second, once what fits the bucket has passed. */
static double rate(struct netns *from, struct netns *to)
{
	int fds[2];
	double mbits, start;

	open_stream(from, to, fds);
	pump(fds, 0.3);
	start = now();
	mbits = (double)pump(fds, 1) * 8 / 1e6;
	mbits /= now() - start;
	close(fds[0]);
	close(fds[1]);
	return mbits;
}

/* A busy machine may be slower than the limit, never faster; what the bucket holds comes on top. */
static void assert_limited(struct netns *from, struct netns *to, double limit)
{
	double got = rate(from, to);

	if (got <= 0 || got > limit * 1.2)
		fail_msg("%.2f Mbit/s with a limit of %.0f", got, limit);
}

/* Sooner or later it does, however busy the machine. */
static void assert_reaches(struct netns *from, struct netns *to, double mbits)
{
	double got = 0;

	for (int i = 0; i < 20 && got < mbits; i++)
		got = rate(from, to);
	if (got < mbits)
		fail_msg("never more than %.2f Mbit/s", got);
}

/* More than any limit of these tests lets through. */
#define FREE 60

static int make(void **state)
{
	struct err err = {0};

	(void)state;
	guest = world_netns("guest");
	sh("ip link add tap0 type veth peer name eth0 netns guest");
	sh("ip addr add 10.0.0.1/24 dev tap0 && ip link set tap0 up");
	sh("ip -n guest addr add 10.0.0.2/24 dev eth0 && ip -n guest link set eth0 up");
	return netns_open(NULL, NULL, &host, &err);
}

static int clear(void **state)
{
	(void)state;
	netns_free(TAKE_PTR(host));
	netns_free(TAKE_PTR(guest));
	sh("ip link del tap0; ip link del ifb0 2>/dev/null; ip netns del guest");
	return 0;
}

static void what_goes_out_is_limited(void **state)
{
	(void)state;
	limit(10 * MBIT, 0);
	assert_limited(host, guest, 10);
	assert_reaches(guest, host, FREE);
	limit(0, 0);
	assert_reaches(host, guest, FREE);
}

static void what_comes_in_is_limited(void **state)
{
	(void)state;
	limit(0, 10 * MBIT);
	assert_limited(guest, host, 10);
	assert_reaches(host, guest, FREE);
	limit(0, 0);
	assert_reaches(guest, host, FREE);
}

static void limits_are_replaced(void **state)
{
	(void)state;
	limit(10 * MBIT, 10 * MBIT);
	limit(40 * MBIT, 20 * MBIT);
	assert_limited(host, guest, 40);
	assert_reaches(host, guest, 15);
	assert_limited(guest, host, 20);
	assert_reaches(guest, host, 15);
}

static void a_port_of_a_bridge_is_limited(void **state)
{
	(void)state;
	sh("ip addr flush dev tap0 && ip link add br0 type bridge && ip link set tap0 master br0");
	sh("ip addr add 10.0.0.1/24 dev br0 && ip link set br0 up");
	limit(10 * MBIT, 20 * MBIT);
	assert_limited(host, guest, 10);
	assert_limited(guest, host, 20);
	sh("ip link del br0");
}

/* Above 32 bits of bytes a second. */
static void high_rates_are_no_low_ones(void **state)
{
	_buf_ struct buf qdiscs = {0};

	(void)state;
	limit(100000 * MBIT, 100000 * MBIT);
	assert_reaches(host, guest, FREE);
	assert_reaches(guest, host, FREE);
	sh_read(&qdiscs, "tc qdisc show dev tap0 root; tc qdisc show dev ifb0 root");
	assert_non_null(strstr(qdiscs.data, "rate 100Gbit"));
}

static void the_device_comes_and_goes(void **state)
{
	struct err err = {0};
	struct link link = {0};

	(void)state;
	limit(MBIT, MBIT);
	assert_int_equal(link_get(host, "ifb0", &link, &err), 0);
	assert_int_equal(link.group, IFB_GROUP);
	assert_string_equal(link.alias, "byway:test");
	assert_string_equal(link.kind, "ifb");
	limit(MBIT, 0);
	assert_int_equal(link_get(host, "ifb0", &link, &err), -ENODEV);
	limit(0, 0);
	limit(0, 0);
}

static void a_link_must_be_there(void **state)
{
	struct tc_limits l = none;
	struct err err = {0};

	(void)state;
	l.ifname = "tap1";
	l.in_bits = MBIT;
	assert_int_equal(tc_limit(host, &l, &err), -ENODEV);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_string_equal(err.msg, "no interface is named 'tap1'");
}

static void what_others_have_stays(void **state)
{
	struct tc_limits l = none;
	struct err err = {0};
	struct link link;

	(void)state;
	sh("ip link add ifb0 type ifb");
	assert_int_equal(tc_limit(host, &l, &err), -EEXIST);
	l.in_bits = MBIT;
	assert_int_equal(tc_limit(host, &l, &err), -EEXIST);
	assert_string_equal(err.msg, "interface ifb0 exists already");
	assert_int_equal(link_get(host, "ifb0", &link, &err), 0);
	assert_int_equal(link.group, 0);
}

static void a_dry_run_says_what_it_would_do(void **state)
{
	static const char *const words[] = {
		"ip link add ifb0 address 76:96:84:53:c5:39 group 7 type ifb",
		"ip link set ifb0 alias byway:test", "ip link set ifb0 addrgenmode none",
		"ip link set ifb0 up",
		"tc qdisc replace dev ifb0 root tbf rate 2000000bit burst 16384 limit 81920",
		"tc qdisc del dev tap0 ingress",
		"tc qdisc add dev tap0 ingress",
		("tc filter add dev tap0 ingress protocol all prio 1 u32 match u32 0 0 "
		 "action mirred egress redirect dev ifb0"),
		"tc qdisc replace dev tap0 root tbf rate 1000000000bit burst 1250000 limit 7500000",
	};
	struct oplog log = {.dry_run = true};

	(void)state;
	host->log = &log;
	limit(1000 * MBIT, 2 * MBIT);
	host->log = NULL;
	assert_int_equal(log.n_ops, ARRAY_SIZE(words));
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		assert_string_equal(log.ops[i], words[i]);
	oplog_done(&log);
}

#define T(test) cmocka_unit_test_setup_teardown(test, make, clear)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_goes_out_is_limited),
		T(what_comes_in_is_limited),
		T(limits_are_replaced),
		T(a_port_of_a_bridge_is_limited),
		T(high_rates_are_no_low_ones),
		T(the_device_comes_and_goes),
		T(a_link_must_be_there),
		T(what_others_have_stays),
		T(a_dry_run_says_what_it_would_do),
	};

	world_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
