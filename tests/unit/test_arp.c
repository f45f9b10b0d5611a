// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Probes on a real wire: a veth pair between this program's namespace and another, where some
 * addresses are used. Needs root.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "kernel/arp.h"
#include "kernel/link.h"
#include "kernel/neigh.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"

#define LONG_MS 5000 /* never waited for, unless a test fails */

static struct netns *here, *there;
static struct err err;

static void must(const char *command)
{
	if (system(command))
		fail_msg("failed: %s", command);
}

static int make_wire(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) ||
	    mount("", "/", "none", MS_PRIVATE | MS_REC, "") ||
	    mount("tmpfs", "/run", "tmpfs", 0, "mode=755") || netns_open(NULL, NULL, &here, &err) ||
	    netns_create("there", "test", NULL, &there, &err))
		return -1;
	must("ip link add wire type veth peer name wire netns there");
	must("ip link set wire up && ip -n there link set wire up");
	must("ip addr add 10.9.0.1/24 dev wire");
	must("ip -n there addr add 10.9.0.7/24 dev wire && ip -n there addr add 10.9.1.9/32 dev "
	     "wire");
	must("until ip -o link show wire | grep -q 'state UP'; do :; done");
	return 0;
}

static int remove_wire(void **state)
{
	(void)state;
	netns_free(there);
	netns_free(here);
	return 0;
}

static struct ip ip(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(text, &ip, NULL), 0);
	return ip;
}

static void probe(struct netns *ns, const struct ip addrs[], size_t n, unsigned int ms, bool used[])
{
	if (arp_probe(ns, "wire", addrs, n, ms, used, &err))
		fail_msg("%s", err.msg);
}

static void used_addresses_are_told_from_free_ones(void **state)
{
	const struct ip addrs[] = {ip("10.9.0.6"), ip("10.9.0.7"), ip("10.9.0.8"), ip("10.9.1.9")};
	bool used[4];

	(void)state;
	probe(here, addrs, 4, 300, used);
	assert_false(used[0]);
	assert_true(used[1]);
	assert_false(used[2]);
	assert_true(used[3]);
}

static void nobody_is_waited_for_once_all_have_answered(void **state)
{
	const struct ip addrs[] = {ip("10.9.0.7"), ip("10.9.1.9")};
	uint64_t before = clock_ms();
	bool used[2];

	(void)state;
	probe(here, addrs, 2, LONG_MS, used);
	assert_true(used[0] && used[1]);
	assert_true(clock_ms() - before < LONG_MS / 2);
}

/* The other side forgets nothing and learns nothing: a probe has no sender. */
static void nobody_learns_from_a_probe(void **state)
{
	const struct ip addr = ip("10.9.0.7");
	bool used;

	(void)state;
	must("ip -n there neigh flush all");
	probe(here, &addr, 1, LONG_MS, &used);
	must("test -z \"$(ip -n there neigh show)\"");
}

static void many_are_asked_at_once(void **state)
{
	struct ip addrs[1000];
	bool used[1000];
	uint64_t before;

	(void)state;
	must("ip -n there addr add 10.77.0.0/22 dev lo; ip -n there route add local 10.77.0.0/22 "
	     "dev lo");
	for (size_t i = 0; i < 1000; i++)
		addrs[i] = ip_add(ip("10.77.0.1"), i);
	before = clock_ms();
	probe(here, addrs, 1000, LONG_MS, used);
	for (size_t i = 0; i < 1000; i++)
		assert_true(used[i]);
	assert_true(clock_ms() - before < LONG_MS);
	must("ip -n there addr flush dev lo");
}

/* Of two who want the same address, one at least sees the other's probe. */
static void whoever_probes_for_it_wants_it(void **state)
{
	const struct ip addr = ip("10.9.0.99");
	bool used, used_there;
	pid_t pid = fork();
	int status;

	(void)state;
	if (!pid)
		_exit(arp_probe(there, "wire", &addr, 1, 600, &used_there, NULL) || !used_there);
	probe(here, &addr, 1, 600, &used);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(used || !status);
}

static void where_there_is_no_arp_nobody_is_asked(void **state)
{
	const struct ip addr = ip("10.9.0.7");
	uint64_t before = clock_ms();
	bool used = true;

	(void)state;
	assert_int_equal(arp_probe(here, "lo", &addr, 1, LONG_MS, &used, &err), 0);
	assert_false(used);
	must("ip link add idle type veth peer name idle2");
	used = true;
	assert_int_equal(arp_probe(here, "idle", &addr, 1, LONG_MS, &used, &err), 0);
	assert_false(used);
	assert_true(clock_ms() - before < LONG_MS);
	assert_int_equal(arp_probe(here, "nolink", &addr, 1, LONG_MS, &used, &err), -ENODEV);
	assert_non_null(strstr(err.msg, "nolink"));
}

static int count_proxy(int ifindex, const struct ip *ip, void *arg)
{
	(void)ifindex;
	(void)ip;
	++*(int *)arg;
	return 0;
}

static int proxies(void)
{
	int n = 0;

	assert_int_equal(neigh_each_proxy(here, count_proxy, &n, &err), 0);
	return n;
}

/* Linux answers no probe for an address that it proxies, only an ordinary request. */
static bool is_found_from_there(void)
{
	return !system("ip -n there neigh flush all; "
		       "ip netns exec there ping -c 1 -W 1 10.9.0.50 >/dev/null 2>&1; "
		       "ip -n there neigh show 10.9.0.50 | grep -q lladdr");
}

static void proxied_addresses_answer(void **state)
{
	const struct ip addr = ip("10.9.0.50");
	_nlbatch_ struct nlbatch b;
	struct link wire;

	(void)state;
	nlbatch_init(&b, here);
	assert_int_equal(link_get(here, "wire", &wire, &err), 0);
	must("sysctl -qw net.ipv4.ip_forward=1; ip link add way type veth peer name way2");
	must("ip link set way up; ip link set way2 up; ip route add 10.9.0.50 dev way");
	must("ip neigh add proxy 10.9.0.51 dev wire");
	assert_false(is_found_from_there());
	neigh_add_proxy(&b, wire.index, "wire", &addr);
	neigh_add_proxy(&b, wire.index, "wire", &addr);
	assert_int_equal(nlbatch_commit(&b, &err), 0);
	assert_int_equal(proxies(), 1); /* not the one that is not ours */
	assert_true(is_found_from_there());
	neigh_del_proxy(&b, wire.index, "wire", &addr);
	neigh_del_proxy(&b, wire.index, "wire", &addr);
	assert_int_equal(nlbatch_commit(&b, &err), 0);
	assert_int_equal(proxies(), 0);
	assert_false(is_found_from_there());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(used_addresses_are_told_from_free_ones),
		cmocka_unit_test(nobody_is_waited_for_once_all_have_answered),
		cmocka_unit_test(nobody_learns_from_a_probe),
		cmocka_unit_test(many_are_asked_at_once),
		cmocka_unit_test(whoever_probes_for_it_wants_it),
		cmocka_unit_test(where_there_is_no_arp_nobody_is_asked),
		cmocka_unit_test(proxied_addresses_answer),
	};

	return cmocka_run_group_tests(tests, make_wire, remove_wire);
}
