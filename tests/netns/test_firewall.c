// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The three backends of src/firewall, held to the same behaviour with real packets.
 *
 * Everything happens in namespaces made here: a router `r` with the networks of `a` and `b` (the
 * link group of VPCs) and `x` (outside) around it, or a bridge in `r` with the ports of `a` and
 * `b`.
 */
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/icmp.h>
#include <linux/rtnetlink.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/util.h"
#include "firewall/firewall.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"

#include "fw_build.h"
#include "fw_frame.h"
#include "fw_probe.h"

#define PORT 9000

/* ---- One test's world ---- */

struct world {
	enum fw_backend_id id;
	struct firewall *fw;
	struct netns *r, *a, *b, *x;
};

#define CALL(w, expr)                                                                              \
	do {                                                                                       \
		struct err err = {0};                                                              \
		int r_ = (expr);                                                                   \
		if (r_)                                                                            \
			fail_msg("%s: %d: %s", #expr, r_, err.msg);                                \
		(void)(w);                                                                         \
	} while (0)

static void apply(struct world *w, struct netns *ns, const struct ruleset *rs)
{
	CALL(w, firewall_apply(w->fw, ns, rs, &err));
}

static void update(struct world *w, struct netns *ns, const struct ruleset *add,
		   const struct ruleset *del)
{
	CALL(w, firewall_update(w->fw, ns, add, del, &err));
}

static void verify(struct world *w, struct netns *ns, const struct ruleset *rs)
{
	CALL(w, firewall_verify(w->fw, ns, rs, &err));
}

static void removal(struct world *w, struct netns *ns, const struct ruleset *rs)
{
	CALL(w, firewall_remove(w->fw, ns, rs, &err));
}

static int setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));
	struct err err = {0};

	w->id = (enum fw_backend_id)(uintptr_t)*state;
	w->r = world_netns("r");
	w->a = world_netns("a");
	w->b = world_netns("b");
	w->x = world_netns("x");
	if (firewall_new(w->id, w->r, &w->fw, &err))
		print_message("no such backend here: %s\n", err.msg);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	firewall_free(w->fw);
	netns_free(w->r);
	netns_free(w->a);
	netns_free(w->b);
	netns_free(w->x);
	sh("ip netns del r; ip netns del a; ip netns del b; ip netns del x");
	free(w);
	return 0;
}

static struct world *world_of(void **state)
{
	struct world *w = *state;

	if (!w->fw)
		skip();
	return w;
}

/* A leg of the router: device DEV of r, eth0 of NS. */
static void leg(const char *ns, const char *dev, const char *net4, const char *net6)
{
	sh("ip -n r link add %s type veth peer name eth0 netns %s", dev, ns);
	sh("ip -n r addr add %s.1/24 dev %s && ip -n r addr add %s::1/64 dev %s nodad", net4, dev,
	   net6, dev);
	sh("ip -n %s addr add %s.2/24 dev eth0 && ip -n %s addr add %s::2/64 dev eth0 nodad", ns,
	   net4, ns, net6);
	sh("ip -n r link set %s up && ip -n %s link set eth0 up", dev, ns);
	sh("ip -n %s route add default via %s.1 && ip -n %s route add default via %s::1", ns, net4,
	   ns, net6);
}

/* Until addresses are usable, which the kernel sees to in its own time. */
static void wait_until_answered(struct netns *from, const char *dst)
{
	for (int i = 0; !ping_answered(from, dst, 100); i++)
		assert_true(i < 300);
}

static void make_router(struct world *w)
{
	leg("a", "va", "10.1.0", "fd01");
	leg("b", "vb", "10.2.0", "fd02");
	leg("x", "eth0", "192.0.2", "2001:db8");
	sh("ip -n r link set va group %d && ip -n r link set vb group %d", GROUP, GROUP);
	sh("nsenter --net=/run/netns/r sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward;"
	   "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'");
	wait_until_answered(w->a, "10.2.0.2");
	wait_until_answered(w->a, "fd02::2");
	wait_until_answered(w->b, "192.0.2.2");
	wait_until_answered(w->x, "10.1.0.2");
	wait_until_answered(w->x, "fd01::2");
	wait_until_answered(w->r, "fd01::2");
}

/* ---- The host's table ---- */

static bool a_to_b(struct world *w, int wait_ms)
{
	return udp_arrives(w->a, w->b, "10.2.0.2", PORT, NULL, wait_ms);
}

static bool b_to_a(struct world *w, int wait_ms)
{
	return udp_arrives(w->b, w->a, "10.1.0.2", PORT, NULL, wait_ms);
}

/* Each of the probes below that must fail later gets through without rules. */
static void positive_control(struct world *w)
{
	assert_true(a_to_b(w, WAIT_PASS_MS));
	assert_true(b_to_a(w, WAIT_PASS_MS));
	assert_true(udp_arrives(w->a, w->b, "fd02::2", PORT, NULL, WAIT_PASS_MS));
	assert_true(udp_arrives(w->a, w->x, "192.0.2.2", PORT, NULL, WAIT_PASS_MS));
	assert_true(udp_arrives(w->b, w->x, "192.0.2.2", PORT, NULL, WAIT_PASS_MS));
	assert_true(udp_arrives(w->x, w->a, "10.1.0.2", PORT, NULL, WAIT_PASS_MS));
	assert_true(udp_arrives(w->a, w->r, "10.1.0.1", PORT, NULL, WAIT_PASS_MS));
	assert_true(ping_answered(w->a, "10.1.0.1", WAIT_PASS_MS));
	assert_true(ping_answered(w->a, "10.2.0.1", WAIT_PASS_MS));
	assert_true(icmp_arrives(w->r, w->a, "10.1.0.2", ICMP_REDIRECT, WAIT_PASS_MS));
	assert_true(icmp_arrives(w->r, w->a, "fd01::2", ND_REDIRECT, WAIT_PASS_MS));
}

/* What of the world changes in the sets. */
static void reach_each_other(struct host *h)
{
	host_init(h);
	add_reach(h->reach4, "10.1.0.0/24", "vb");
	add_reach(h->reach4, "10.2.0.0/24", "va");
	add_reach(h->reach6, "fd01::/64", "vb");
	add_reach(h->reach6, "fd02::/64", "va");
}

static void test_reach(void **state)
{
	struct world *w = world_of(state);
	_host_ struct host h, change, all;

	make_router(w);
	positive_control(w);
	host_build(&h);
	apply(w, w->r, &h.rs);
	verify(w, w->r, &h.rs);
	assert_false(a_to_b(w, WAIT_DROP_MS));
	assert_false(b_to_a(w, WAIT_DROP_MS));
	assert_false(udp_arrives(w->a, w->b, "fd02::2", PORT, NULL, WAIT_DROP_MS));

	reach_each_other(&change);
	update(w, w->r, &change.rs, NULL);
	update(w, w->r, &change.rs, NULL); /* there already: no error */
	assert_true(a_to_b(w, WAIT_PASS_MS));
	assert_true(b_to_a(w, WAIT_PASS_MS));
	assert_true(udp_arrives(w->a, w->b, "fd02::2", PORT, NULL, WAIT_PASS_MS));
	host_build(&all);
	add_reach(all.reach4, "10.1.0.0/24", "vb");
	add_reach(all.reach4, "10.2.0.0/24", "va");
	add_reach(all.reach6, "fd01::/64", "vb");
	add_reach(all.reach6, "fd02::/64", "va");
	verify(w, w->r, &all.rs);

	update(w, w->r, NULL, &change.rs);
	update(w, w->r, NULL, &change.rs); /* gone already: no error */
	assert_false(a_to_b(w, WAIT_DROP_MS));
	assert_false(b_to_a(w, WAIT_DROP_MS));
	verify(w, w->r, &h.rs);

	removal(w, w->r, &h.rs);
	removal(w, w->r, &h.rs);
	positive_control(w);
}

/* Of the four conditions of a pair, each one alone is not enough. */
static void test_reach_needs_both_ends(void **state)
{
	struct world *w = world_of(state);
	static const char *const pairs[][2] = {{"10.1.0.0/24", "vb"}, {"10.2.0.0/24", "va"}};

	make_router(w);
	for (size_t i = 0; i < 2; i++) {
		_host_ struct host h;

		host_build(&h);
		add_reach(h.reach4, pairs[i][0], pairs[i][1]);
		apply(w, w->r, &h.rs);
		assert_false(a_to_b(w, WAIT_DROP_MS));
		assert_false(b_to_a(w, WAIT_DROP_MS));
	}
}

/* A network that may be at vb, and parts of it, one inside the other, that may be at eth0. */
static void whole_at_b(struct host *h)
{
	add_reach(h->reach4, "10.1.0.0/24", "vb");
	add_reach(h->reach6, "fd01::/64", "vb");
}

static void parts_at_x(struct host *h)
{
	add_reach(h->reach4, "10.1.0.0/25", "eth0");
	add_reach(h->reach4, "10.1.0.0/30", "eth1");
	add_reach(h->reach6, "fd01::/72", "eth0");
	add_reach(h->reach6, "fd01::/120", "eth1");
}

static void nested_build(struct host *h, bool whole, bool parts)
{
	host_build(h);
	add_reach(h->reach4, "10.2.0.0/24", "va");
	add_reach(h->reach6, "fd02::/64", "va");
	if (whole)
		whole_at_b(h);
	if (parts)
		parts_at_x(h);
}

/* Whether it is what these say, and lets through what it should: from the network's own interface
 * always, to the other one with the whole. */
static void nested_is(struct world *w, bool whole, bool parts)
{
	int wait_ms = whole ? WAIT_PASS_MS : WAIT_DROP_MS;
	_host_ struct host h;

	nested_build(&h, whole, parts);
	verify(w, w->r, &h.rs);
	assert_true(ping_answered(w->a, "10.1.0.1", WAIT_PASS_MS));
	assert_true(a_to_b(w, wait_ms) == whole);
	assert_true(udp_arrives(w->a, w->b, "fd02::2", PORT, NULL, wait_ms) == whole);
}

/* Of networks inside others with other interfaces, each is in the set. */
static void test_nested(void **state)
{
	struct world *w = world_of(state);
	_host_ struct host h, whole, parts;

	make_router(w);
	host_init(&whole);
	whole_at_b(&whole);
	host_init(&parts);
	parts_at_x(&parts);
	nested_build(&h, true, true);
	apply(w, w->r, &h.rs);
	nested_is(w, true, true);
	update(w, w->r, NULL, &whole.rs);
	nested_is(w, false, true);
	update(w, w->r, &whole.rs, NULL);
	nested_is(w, true, true);
	update(w, w->r, &whole.rs, NULL); /* there already */
	nested_is(w, true, true);
	update(w, w->r, NULL, &parts.rs);
	nested_is(w, true, false);
	update(w, w->r, &parts.rs, &whole.rs);
	nested_is(w, false, true);
	update(w, w->r, &whole.rs, &parts.rs);
	nested_is(w, true, false);
	update(w, w->r, &parts.rs, NULL);
	nested_is(w, true, true);
}

static void test_nat(void **state)
{
	struct world *w = world_of(state);
	_host_ struct host h, change;
	char seen[64];

	make_router(w);
	positive_control(w);
	host_build(&h);
	apply(w, w->r, &h.rs);
	assert_true(udp_arrives(w->a, w->x, "192.0.2.2", PORT, seen, WAIT_PASS_MS));
	assert_string_equal(seen, "192.0.2.1");
	assert_true(udp_answered(w->a, w->x, "192.0.2.2", PORT + 1));
	assert_true(tcp_connects(w->a, w->x, "192.0.2.2", PORT, WAIT_PASS_MS));
	assert_false(udp_arrives(w->b, w->x, "192.0.2.2", PORT, NULL, WAIT_DROP_MS));
	assert_false(udp_arrives(w->x, w->a, "10.1.0.2", PORT + 2, NULL, WAIT_DROP_MS));

	host_init(&change);
	add_net(change.nat4, "10.2.0.0/24");
	update(w, w->r, &change.rs, NULL);
	assert_true(udp_arrives(w->b, w->x, "192.0.2.2", PORT, seen, WAIT_PASS_MS));
	assert_string_equal(seen, "192.0.2.1");
	update(w, w->r, NULL, &change.rs);
	update(w, w->r, NULL, &change.rs);
	assert_false(udp_arrives(w->b, w->x, "192.0.2.2", PORT, NULL, WAIT_DROP_MS));
	assert_true(udp_arrives(w->a, w->x, "192.0.2.2", PORT, NULL, WAIT_PASS_MS));
	verify(w, w->r, &h.rs);
}

static void test_local(void **state)
{
	struct world *w = world_of(state);
	_host_ struct host h;

	make_router(w);
	positive_control(w);
	host_build(&h);
	apply(w, w->r, &h.rs);
	assert_false(udp_arrives(w->a, w->r, "10.1.0.1", PORT, NULL, WAIT_DROP_MS));
	assert_true(udp_arrives(w->x, w->r, "192.0.2.1", PORT, NULL, WAIT_PASS_MS));
	assert_true(ping_answered(w->a, "10.1.0.1", WAIT_PASS_MS));
	assert_false(ping_answered(w->a, "10.2.0.1", WAIT_DROP_MS));
	assert_true(udp_answered(w->r, w->a, "10.1.0.2", PORT)); /* established at input */
	assert_true(udp_answered(w->r, w->a, "fd01::2", PORT));  /* neighbour discovery */
	assert_false(icmp_arrives(w->r, w->a, "10.1.0.2", ICMP_REDIRECT, WAIT_DROP_MS));
	assert_false(icmp_arrives(w->r, w->a, "fd01::2", ND_REDIRECT, WAIT_DROP_MS));
	assert_true(icmp_arrives(w->r, w->a, "10.1.0.2", ICMP_DEST_UNREACH, WAIT_PASS_MS));
	assert_true(icmp_arrives(w->r, w->x, "192.0.2.2", ICMP_REDIRECT, WAIT_PASS_MS));
}

/* A base chain that drops by policy. */
static void test_chain_policy(void **state)
{
	struct world *w = world_of(state);
	_ruleset_ struct ruleset rs;
	struct fw_chain *c;
	struct fw_rule *r;

	make_router(w);
	assert_true(a_to_b(w, WAIT_PASS_MS));
	ruleset_init(&rs);
	c = fw_base_chain(ruleset_table(&rs, FW_INET, "byway"), "forward", FW_CHAIN_FILTER,
			  FW_HOOK_FORWARD, 0, FW_DROP);
	r = fw_rule(c, FW_ACCEPT);
	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, IPPROTO_UDP);
	fw_match_u16_range(r, FW_DPORT, 7000, 7010);
	r = fw_rule(c, FW_ACCEPT);
	fw_match_name(r, FW_IIFNAME, FW_OP_NE, "va");
	fw_match_name(r, FW_OIFNAME, FW_OP_EQ, "va");
	apply(w, w->r, &rs);
	verify(w, w->r, &rs);
	assert_false(a_to_b(w, WAIT_DROP_MS));
	assert_true(b_to_a(w, WAIT_PASS_MS));
	assert_true(udp_arrives(w->a, w->b, "10.2.0.2", 7000, NULL, WAIT_PASS_MS));
	assert_true(udp_arrives(w->a, w->b, "fd02::2", 7010, NULL, WAIT_PASS_MS));
	assert_false(udp_arrives(w->a, w->b, "10.2.0.2", 7011, NULL, WAIT_DROP_MS));
}

/* ---- Marks, routes and refusals ---- */

#define TO_NOWHERE 0x00100000u
#define FROM_A 0x00400000u
#define IN_NS(ns) "nsenter --net=/run/netns/" ns " "

struct marking {
	struct ruleset rs;
	struct fw_chain *route, *pre, *forward;
};

static void marking_init(struct marking *m)
{
	struct fw_table *t;

	ruleset_init(&m->rs);
	t = ruleset_table(&m->rs, FW_INET, "byway");
	m->route = fw_base_chain(t, "route", FW_CHAIN_ROUTE, FW_HOOK_OUTPUT, -150, FW_ACCEPT);
	m->pre = fw_base_chain(t, "pre", FW_CHAIN_FILTER, FW_HOOK_PREROUTING, -150, FW_ACCEPT);
	m->forward = fw_base_chain(t, "forward", FW_CHAIN_FILTER, FW_HOOK_FORWARD, 0, FW_ACCEPT);
}

static void marking_done(struct marking *m)
{
	ruleset_done(&m->rs);
}

static struct fw_rule *udp_to(struct fw_rule *r, uint16_t port)
{
	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, IPPROTO_UDP);
	fw_match_u16(r, FW_DPORT, FW_OP_EQ, port);
	return r;
}

static bool r_to_x(struct world *w, uint16_t port, int wait_ms)
{
	return udp_arrives(w->r, w->x, "192.0.2.2", port, NULL, wait_ms) &&
	       udp_arrives(w->r, w->x, "2001:db8::2", port, NULL, wait_ms);
}

static bool r_to_x_at_all(struct world *w, uint16_t port)
{
	return udp_arrives(w->r, w->x, "192.0.2.2", port, NULL, WAIT_DROP_MS) ||
	       udp_arrives(w->r, w->x, "2001:db8::2", port, NULL, WAIT_DROP_MS);
}

/* A mark that is set in a route chain has its effect on the same packet; other bits stay. */
static void test_route_mark(void **state)
{
	struct world *w = world_of(state);
	_cleanup_(marking_done) struct marking m;

	make_router(w);
	for (const char *family = "46"; *family; family++) {
		sh("ip -n r -%c rule add fwmark 0x100000/0x100000 lookup 100", *family);
		sh("ip -n r -%c route add blackhole default table 100", *family);
	}
	assert_true(r_to_x(w, PORT, WAIT_PASS_MS));
	marking_init(&m);
	fw_match_u32(fw_rule(m.route, FW_ACCEPT), FW_MARK, FW_OP_ANY_BIT, 0x200000);
	udp_to(fw_rule_set_bits(m.route, FW_SET_MARK, 0x00800000), PORT);
	udp_to(fw_rule_set_bits(m.route, FW_SET_MARK, TO_NOWHERE), PORT);
	fw_match_u32(udp_to(fw_rule_set_bits(m.route, FW_SET_MARK, TO_NOWHERE), PORT + 2), FW_SKUID,
		     FW_OP_EQ, 0);
	fw_match_u32(udp_to(fw_rule_set_bits(m.route, FW_SET_MARK, TO_NOWHERE), PORT + 3), FW_SKUID,
		     FW_OP_NE, 0);
	fw_match_u32(udp_to(fw_rule_set_bits(m.route, FW_SET_CT_MARK, 0x40), PORT + 4), FW_CT_MARK,
		     FW_OP_EQ, 0);
	fw_match_u32(udp_to(fw_rule_set_bits(m.route, FW_SET_MARK, TO_NOWHERE), PORT + 4),
		     FW_CT_MARK, FW_OP_ANY_BIT, 0x40);
	apply(w, w->r, &m.rs);
	verify(w, w->r, &m.rs);
	assert_false(r_to_x_at_all(w, PORT));
	assert_true(r_to_x(w, PORT + 1, WAIT_PASS_MS));
	assert_false(r_to_x_at_all(w, PORT + 2));
	assert_true(r_to_x(w, PORT + 3, WAIT_PASS_MS));
	assert_false(r_to_x_at_all(w, PORT + 4));
	sh(IN_NS("r") "nft 'add table inet earlier; add chain inet earlier out { type filter hook "
		      "output priority -200; }; add rule inet earlier out meta mark set 0x200001'");
	assert_true(r_to_x(w, PORT, WAIT_PASS_MS));
	sh(IN_NS("r") "nft 'flush chain inet earlier out; add rule inet earlier out meta mark set 1'");
	assert_false(r_to_x_at_all(w, PORT)); /* the rule's mask sees no other bit */
	removal(w, w->r, &m.rs);
	assert_true(r_to_x(w, PORT, WAIT_PASS_MS));
}

/* Forwarded packets, by a mark from prerouting, their direction, and what their destination is. */
static void test_forward_mark(void **state)
{
	struct world *w = world_of(state);
	_cleanup_(marking_done) struct marking m;
	struct fw_rule *r;

	make_router(w);
	positive_control(w);
	marking_init(&m);
	r = fw_rule(m.pre, FW_DROP);
	fw_match_name(r, FW_IIFNAME, FW_OP_EQ, "vb");
	fw_match_u32(r, FW_DADDR_TYPE, FW_OP_EQ, RTN_LOCAL);
	r = fw_rule_set_bits(m.pre, FW_SET_MARK, FROM_A);
	fw_match_name(r, FW_IIFNAME, FW_OP_EQ, "va");
	r = fw_rule(m.forward, FW_DROP);
	fw_match_u32(r, FW_MARK, FW_OP_ANY_BIT, FROM_A);
	fw_match_u8(r, FW_CT_DIRECTION, FW_OP_EQ, FW_CT_ORIGINAL);
	apply(w, w->r, &m.rs);
	verify(w, w->r, &m.rs);
	assert_false(a_to_b(w, WAIT_DROP_MS));
	assert_false(udp_arrives(w->a, w->b, "fd02::2", PORT, NULL, WAIT_DROP_MS));
	assert_true(b_to_a(w, WAIT_PASS_MS));
	assert_true(udp_answered(w->b, w->a, "10.1.0.2", PORT + 1));
	assert_true(udp_answered(w->b, w->a, "fd01::2", PORT + 1));
	assert_true(udp_arrives(w->a, w->r, "10.1.0.1", PORT, NULL, WAIT_PASS_MS));
	assert_false(udp_arrives(w->b, w->r, "10.2.0.1", PORT, NULL, WAIT_DROP_MS));
	assert_false(udp_arrives(w->b, w->r, "2001:db8::1", PORT, NULL, WAIT_DROP_MS));
	assert_true(udp_arrives(w->b, w->x, "192.0.2.2", PORT, NULL, WAIT_PASS_MS));
}

static void assert_ping_says(const char *ns, const char *dst, const char *gateway)
{
	_buf_ struct buf out = {0};
	_free_ char *cmd = xasprintf(
		"nsenter --net=/run/netns/%s ping -n -c 1 -W 1 %s | grep -iE 'from %s.*(filtered|prohibited)'",
		ns, dst, gateway);

	sh_read(&out, cmd);
	if (!out.len)
		fail_msg("no refusal from %s", gateway);
}

static void test_reject(void **state)
{
	struct world *w = world_of(state);
	_cleanup_(marking_done) struct marking m;

	make_router(w);
	marking_init(&m);
	fw_match_name(fw_rule(m.forward, FW_REJECT), FW_IIFNAME, FW_OP_EQ, "va");
	assert_true(a_to_b(w, WAIT_PASS_MS));
	apply(w, w->r, &m.rs);
	verify(w, w->r, &m.rs);
	assert_false(a_to_b(w, WAIT_DROP_MS));
	assert_ping_says("a", "10.2.0.2", "10.1.0.1");
	assert_ping_says("a", "fd02::2", "fd01::1");
	assert_true(b_to_a(w, WAIT_PASS_MS));
	removal(w, w->r, &m.rs);
	assert_true(a_to_b(w, WAIT_PASS_MS));
}

/* Another bit, another user, another direction: each is noticed. */
static void test_marking_verify(void **state)
{
	struct world *w = world_of(state);
	_cleanup_(marking_done) struct marking want;

	marking_init(&want);
	fw_match_u32(fw_rule_set_bits(want.route, FW_SET_MARK, TO_NOWHERE), FW_SKUID, FW_OP_EQ, 5);
	fw_match_u8(fw_rule(want.forward, FW_REJECT), FW_CT_DIRECTION, FW_OP_EQ, FW_CT_REPLY);
	for (int i = 0; i < 4; i++) {
		_cleanup_(marking_done) struct marking got;
		struct err err = {0};

		marking_init(&got);
		fw_match_u32(fw_rule_set_bits(got.route, i == 3 ? FW_SET_CT_MARK : FW_SET_MARK,
					      TO_NOWHERE << (i == 0)),
			     FW_SKUID, FW_OP_EQ, i == 1 ? 6 : 5);
		fw_match_u8(fw_rule(got.forward, FW_REJECT), FW_CT_DIRECTION,
			    i == 2 ? FW_OP_NE : FW_OP_EQ, FW_CT_REPLY);
		apply(w, w->r, &got.rs);
		verify(w, w->r, &got.rs);
		assert_int_equal(firewall_verify(w->fw, w->r, &want.rs, &err), -ESTALE);
	}
	apply(w, w->r, &want.rs);
	verify(w, w->r, &want.rs);
}

/* ---- Destinations, and the size of segments ---- */

static struct ip addr(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(text, &ip, NULL), 0);
	return ip;
}

static int mss_seen(struct world *w, const char *dst)
{
	int mss = 0;

	assert_true(tcp_arrives(w->a, dst, PORT, w->x, dst, PORT, WAIT_PASS_MS, &mss));
	return mss;
}

/* A path narrower than both ends' links: the far end sends no segment that would not fit. */
static void test_clamp(void **state)
{
	struct world *w = world_of(state);
	_ruleset_ struct ruleset rs;
	struct fw_chain *c;

	make_router(w);
	sh("ip -n r link set eth0 mtu 1300");
	assert_true(mss_seen(w, "192.0.2.2") > 1400);
	assert_true(mss_seen(w, "2001:db8::2") > 1400);
	ruleset_init(&rs);
	c = fw_base_chain(ruleset_table(&rs, FW_INET, "byway"), "clamp", FW_CHAIN_FILTER,
			  FW_HOOK_FORWARD, -150, FW_ACCEPT);
	fw_match_name(fw_rule(c, FW_CLAMP_MSS), FW_OIFNAME, FW_OP_EQ, "eth0");
	fw_match_u32(fw_rule(c, FW_DROP), FW_CT_STATE, FW_OP_ANY_BIT, FW_CT_INVALID);
	apply(w, w->r, &rs);
	verify(w, w->r, &rs);
	assert_in_range(mss_seen(w, "192.0.2.2"), 1200, 1260);
	assert_in_range(mss_seen(w, "2001:db8::2"), 1200, 1240);
	removal(w, w->r, &rs);
	assert_true(mss_seen(w, "192.0.2.2") > 1400);
}

static bool tcp_at(struct netns *from, const char *dst, uint16_t port, struct netns *to,
		   const char *at, uint16_t at_port)
{
	return tcp_arrives(from, dst, port, to, at, at_port, WAIT_PASS_MS, NULL);
}

static void no_tcp_at(struct netns *from, const char *dst, uint16_t port, struct netns *to,
		      const char *at, uint16_t at_port)
{
	assert_false(tcp_arrives(from, dst, port, to, at, at_port, WAIT_DROP_MS, NULL));
}

static struct fw_rule *tcp_rule(struct fw_chain *c, const char *to, uint16_t to_port, uint16_t port)
{
	const struct fw_target target = {.addr = addr(to), .port = to_port};
	struct fw_rule *r = fw_rule_dnat(c, &target);

	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, IPPROTO_TCP);
	fw_match_u16(r, FW_DPORT, FW_OP_EQ, port);
	return r;
}

static void dnat_rules(struct ruleset *rs, const char *to4)
{
	struct fw_table *t;
	struct fw_chain *c;

	ruleset_init(rs);
	t = ruleset_table(rs, FW_INET, "byway");
	c = fw_base_chain(t, "prerouting", FW_CHAIN_NAT, FW_HOOK_PREROUTING, -100, FW_ACCEPT);
	fw_match_name(tcp_rule(c, to4, 5353, 53), FW_IIFNAME, FW_OP_EQ, "va");
	tcp_rule(c, "10.2.0.2", 0, 54); /* the port stays */
	tcp_rule(c, "fd02::2", 5353, 53);
	c = fw_base_chain(t, "output", FW_CHAIN_NAT, FW_HOOK_OUTPUT, -100, FW_ACCEPT);
	tcp_rule(c, "10.2.0.2", 5353, 53);
}

/* Whoever it is for, it goes to one destination. */
static void test_dnat(void **state)
{
	struct world *w = world_of(state);
	_ruleset_ struct ruleset rs, other;
	struct err err = {0};

	make_router(w);
	no_tcp_at(w->a, "192.0.2.2", 53, w->b, "10.2.0.2", 5353);
	dnat_rules(&rs, "10.2.0.2");
	apply(w, w->r, &rs);
	verify(w, w->r, &rs);
	assert_true(tcp_at(w->a, "192.0.2.2", 53, w->b, "10.2.0.2", 5353));
	assert_true(tcp_at(w->a, "10.1.0.1", 53, w->b, "10.2.0.2", 5353));
	assert_true(tcp_at(w->a, "192.0.2.2", 54, w->b, "10.2.0.2", 54));
	assert_true(tcp_at(w->a, "2001:db8::2", 53, w->b, "fd02::2", 5353));
	assert_true(tcp_at(w->r, "192.0.2.2", 53, w->b, "10.2.0.2", 5353));
	assert_true(tcp_at(w->b, "192.0.2.2", 53, w->x, "192.0.2.2", 53)); /* another interface */
	dnat_rules(&other, "10.2.0.3");
	assert_int_equal(firewall_verify(w->fw, w->r, &other, &err), -ESTALE);
	removal(w, w->r, &rs);
	no_tcp_at(w->a, "192.0.2.2", 53, w->b, "10.2.0.2", 5353);
}

/* Ports of the router's own, given to others. */
struct ports {
	struct ruleset rs;
	struct fw_table *t;
	struct fw_set *any4, *any6, *one4;
};

static void ports_init(struct ports *p)
{
	static const enum fw_field any[] = {FW_L4PROTO, FW_DPORT};
	static const enum fw_field one[] = {FW_IP4_DADDR, FW_L4PROTO, FW_DPORT};

	ruleset_init(&p->rs);
	p->t = ruleset_table(&p->rs, FW_INET, "byway");
	p->any4 = fw_dnat_map(p->t, "any4", AF_INET, 2, any);
	p->any6 = fw_dnat_map(p->t, "any6", AF_INET6, 2, any);
	p->one4 = fw_dnat_map(p->t, "one4", AF_INET, 3, one);
}

static void ports_build(struct ports *p)
{
	struct fw_chain *c;

	ports_init(p);
	c = fw_base_chain(p->t, "prerouting", FW_CHAIN_NAT, FW_HOOK_PREROUTING, -100, FW_ACCEPT);
	fw_rule_dnat_map(c, p->one4);
	fw_match_u32(fw_rule_dnat_map(c, p->any4), FW_DADDR_TYPE, FW_OP_EQ, RTN_LOCAL);
	fw_match_u32(fw_rule_dnat_map(c, p->any6), FW_DADDR_TYPE, FW_OP_EQ, RTN_LOCAL);
}

static void ports_done(struct ports *p)
{
	ruleset_done(&p->rs);
}
#define _ports_ _cleanup_(ports_done)

static void publish(struct fw_set *map, const char *daddr, uint16_t port, const char *to,
		    uint16_t to_port)
{
	struct fw_elem e = {.to = {.addr = addr(to), .port = to_port}};
	size_t i = 0;

	if (daddr) {
		struct ip ip = addr(daddr);

		fw_elem_ip(&e, i++, &ip);
	}
	fw_elem_u8_range(&e, i, IPPROTO_TCP, IPPROTO_TCP);
	fw_elem_u16_range(&e, i + 1, port, port);
	fw_set_add(map, &e);
}

static void test_dnat_map(void **state)
{
	struct world *w = world_of(state);
	_ports_ struct ports p, change, all;

	make_router(w);
	no_tcp_at(w->x, "192.0.2.1", 8080, w->a, "10.1.0.2", 80);
	ports_build(&p);
	publish(p.any4, NULL, 8080, "10.1.0.2", 80);
	publish(p.any6, NULL, 8080, "fd01::2", 80);
	apply(w, w->r, &p.rs);
	verify(w, w->r, &p.rs);
	assert_true(tcp_at(w->x, "192.0.2.1", 8080, w->a, "10.1.0.2", 80));
	assert_true(tcp_at(w->x, "2001:db8::1", 8080, w->a, "fd01::2", 80));
	assert_true(tcp_at(w->b, "10.2.0.1", 8080, w->a, "10.1.0.2", 80));
	no_tcp_at(w->x, "192.0.2.1", 8081, w->a, "10.1.0.2", 80);
	assert_true(tcp_at(w->b, "192.0.2.2", 8080, w->x, "192.0.2.2", 8080)); /* not the router's */

	ports_init(&change);
	publish(change.any4, NULL, 8081, "10.2.0.2", 81);
	publish(change.any6, NULL, 8081, "fd02::2", 81);
	publish(change.one4, "10.2.0.1", 8080, "10.2.0.2", 80);
	update(w, w->r, &change.rs, NULL);
	update(w, w->r, &change.rs, NULL); /* there already: no error */
	update(w, w->r, &p.rs, NULL);      /* and their order does not matter */
	assert_true(tcp_at(w->x, "192.0.2.1", 8080, w->a, "10.1.0.2", 80));
	assert_true(tcp_at(w->x, "192.0.2.1", 8081, w->b, "10.2.0.2", 81));
	assert_true(tcp_at(w->x, "2001:db8::1", 8081, w->b, "fd02::2", 81));
	assert_true(tcp_at(w->a, "10.2.0.1", 8080, w->b, "10.2.0.2", 80));
	ports_build(&all);
	publish(all.any4, NULL, 8080, "10.1.0.2", 80);
	publish(all.any6, NULL, 8080, "fd01::2", 80);
	publish(all.any4, NULL, 8081, "10.2.0.2", 81);
	publish(all.any6, NULL, 8081, "fd02::2", 81);
	publish(all.one4, "10.2.0.1", 8080, "10.2.0.2", 80);
	verify(w, w->r, &all.rs);

	update(w, w->r, NULL, &change.rs);
	update(w, w->r, NULL, &change.rs); /* gone already: no error */
	no_tcp_at(w->x, "192.0.2.1", 8081, w->b, "10.2.0.2", 81);
	no_tcp_at(w->x, "2001:db8::1", 8081, w->b, "fd02::2", 81);
	assert_true(tcp_at(w->x, "192.0.2.1", 8080, w->a, "10.1.0.2", 80));
	verify(w, w->r, &p.rs);
	removal(w, w->r, &p.rs);
	no_tcp_at(w->x, "192.0.2.1", 8080, w->a, "10.1.0.2", 80);
}

/* An element for another place, another port, one more and one less: each is noticed. */
static void test_dnat_map_verify(void **state)
{
	static const struct {
		uint16_t port;
		const char *to;
		uint16_t to_port;
	} others[] = {{8080, "10.1.0.3", 80}, {8080, "10.1.0.2", 81}, {8081, "10.1.0.2", 80}};
	struct world *w = world_of(state);
	_ports_ struct ports want, none;
	struct err err = {0};

	ports_build(&want);
	publish(want.any4, NULL, 8080, "10.1.0.2", 80);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		_ports_ struct ports got;

		ports_build(&got);
		publish(got.any4, NULL, others[i].port, others[i].to, others[i].to_port);
		apply(w, w->r, &got.rs);
		verify(w, w->r, &got.rs);
		assert_int_equal(firewall_verify(w->fw, w->r, &want.rs, &err), -ESTALE);
	}
	ports_build(&none);
	apply(w, w->r, &none.rs);
	verify(w, w->r, &none.rs);
	assert_int_equal(firewall_verify(w->fw, w->r, &want.rs, &err), -ESTALE);
	apply(w, w->r, &want.rs);
	verify(w, w->r, &want.rs);
	assert_int_equal(firewall_verify(w->fw, w->r, &none.rs, &err), -ESTALE);
	removal(w, w->r, &want.rs);
	assert_true(firewall_update(w->fw, w->r, &want.rs, NULL, &err) < 0);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
}

/* Elements do not grow the rules; iptables has nothing else. */
static void test_dnat_map_rules(void **state)
{
	struct world *w = world_of(state);
	_ports_ struct ports p;
	_buf_ struct buf rules = {0};

	ports_build(&p);
	for (uint16_t i = 0; i < 2000; i++)
		publish(p.any4, NULL, (uint16_t)(10000 + i), "10.1.0.2", (uint16_t)(i + 1));
	apply(w, w->r, &p.rs);
	verify(w, w->r, &p.rs);
	sh_read(&rules, "nsenter --net=/run/netns/r nft list ruleset | grep -c 'dnat ip'");
	assert_string_equal(rules.data, "3\n");
}

/* ---- A namespace's policy ---- */

static void test_policy(void **state)
{
	struct world *w = world_of(state);
	_policy_ struct policy p;

	make_router(w);
	policy_build(&p);
	allow(p.first4, FW_DROP, "10.2.0.0/24", IPPROTO_UDP, 5005, 5005);
	allow(p.second4, FW_ACCEPT, "10.2.0.0/24", IPPROTO_UDP, 5000, 5010);
	allow(p.second4, FW_ACCEPT, "0.0.0.0/0", IPPROTO_TCP, 80, 80);
	allow(p.second4, FW_ACCEPT, "192.0.2.0/24", IPPROTO_ICMP, 0, 65535);
	allow(p.second4, FW_ACCEPT, "10.1.0.1/32", 0, 0, 65535);
	allow(p.first6, FW_ACCEPT, "fd02::/64", IPPROTO_TCP, 80, 80);
	assert_true(tcp_connects(w->b, w->a, "10.1.0.2", 81, WAIT_PASS_MS));
	assert_true(tcp_connects(w->b, w->a, "fd01::2", 81, WAIT_PASS_MS));
	assert_true(ping_answered(w->b, "10.1.0.2", WAIT_PASS_MS));
	apply(w, w->a, &p.rs);
	verify(w, w->a, &p.rs);

	assert_true(udp_arrives(w->b, w->a, "10.1.0.2", 5000, NULL, WAIT_PASS_MS));
	assert_true(udp_arrives(w->b, w->a, "10.1.0.2", 5010, NULL, WAIT_PASS_MS));
	assert_false(udp_arrives(w->b, w->a, "10.1.0.2", 5005, NULL, WAIT_DROP_MS));
	assert_false(udp_arrives(w->b, w->a, "10.1.0.2", 5011, NULL, WAIT_DROP_MS));
	assert_false(udp_arrives(w->x, w->a, "10.1.0.2", 5000, NULL, WAIT_DROP_MS));
	assert_true(tcp_connects(w->x, w->a, "10.1.0.2", 80, WAIT_PASS_MS));
	assert_false(tcp_connects(w->b, w->a, "10.1.0.2", 81, WAIT_DROP_MS));
	assert_true(ping_answered(w->x, "10.1.0.2", WAIT_PASS_MS));
	assert_false(ping_answered(w->b, "10.1.0.2", WAIT_DROP_MS));
	assert_true(udp_arrives(w->r, w->a, "10.1.0.2", 1234, NULL, WAIT_PASS_MS));
	assert_true(tcp_connects(w->b, w->a, "fd01::2", 80, WAIT_PASS_MS));
	assert_false(tcp_connects(w->b, w->a, "fd01::2", 81, WAIT_DROP_MS));
	assert_false(tcp_connects(w->x, w->a, "fd01::2", 80, WAIT_DROP_MS));
	assert_true(udp_answered(w->a, w->b, "10.2.0.2", 4444)); /* replies */
	assert_true(udp_arrives(w->a, w->a, "127.0.0.1", 4444, NULL, WAIT_PASS_MS));
}

/* Connections that carry the mark are cut, established or not. */
static void test_mark(void **state)
{
	struct world *w = world_of(state);
	_policy_ struct policy p;

	make_router(w);
	policy_build(&p);
	allow(p.first4, FW_ACCEPT, "0.0.0.0/0", 0, 0, 65535);
	apply(w, w->a, &p.rs);
	assert_true(udp_answered(w->b, w->a, "10.1.0.2", PORT));
	assert_true(udp_answered(w->a, w->b, "10.2.0.2", PORT));
	sh("nsenter --net=/run/netns/a nft 'add table ip marker; add chain ip marker pre { type "
	   "filter "
	   "hook prerouting priority -10; }; add rule ip marker pre ct mark set 0x00800001'");
	assert_false(udp_arrives(w->b, w->a, "10.1.0.2", PORT, NULL, WAIT_DROP_MS));
	sh("nsenter --net=/run/netns/a nft 'flush chain ip marker pre; add rule ip marker pre ct "
	   "mark "
	   "set 0x00400001'");
	assert_true(udp_arrives(w->b, w->a, "10.1.0.2", PORT, NULL, WAIT_PASS_MS));
}

static void net_of(size_t i, char text[32])
{
	snprintf(text, 32, "172.%zu.%zu.0/24", 16 + i / 256, i % 256);
}

static void test_thousand(void **state)
{
	struct world *w = world_of(state);
	_policy_ struct policy p, q;
	char net[32];

	make_router(w);
	policy_build(&p);
	for (size_t i = 0; i < 999; i++) {
		net_of(i, net);
		allow(p.first4, i % 2 ? FW_DROP : FW_ACCEPT, net, i % 3 ? IPPROTO_TCP : IPPROTO_UDP,
		      (uint16_t)(1000 + i), (uint16_t)(1000 + i + (i % 5 == 0)));
	}
	allow(p.first4, FW_ACCEPT, "10.2.0.0/24", IPPROTO_TCP, 80, 80);
	apply(w, w->a, &p.rs);
	verify(w, w->a, &p.rs);
	apply(w, w->a, &p.rs);
	verify(w, w->a, &p.rs);
	assert_true(tcp_connects(w->b, w->a, "10.1.0.2", 80, WAIT_PASS_MS));
	assert_false(tcp_connects(w->b, w->a, "10.1.0.2", 81, WAIT_DROP_MS));
	assert_false(tcp_connects(w->x, w->a, "10.1.0.2", 80, WAIT_DROP_MS));
	/* Elements in the middle of the map: a drops odd ones, accepts even ones. */
	sh("ip -n b addr add 172.16.4.9/32 dev lo; ip -n b addr add 172.16.1.9/32 dev lo");
	sh("ip -n r route add 172.16.0.0/12 via 10.2.0.2");
	sh("ip -n b route add 10.1.0.2 via 10.2.0.1 src 172.16.4.9");
	assert_true(tcp_connects(w->b, w->a, "10.1.0.2", 1004, WAIT_PASS_MS));
	assert_false(tcp_connects(w->b, w->a, "10.1.0.2", 1005, WAIT_DROP_MS));
	policy_build(&q);
	apply(w, w->a, &q.rs);
	verify(w, w->a, &q.rs);
	assert_false(tcp_connects(w->b, w->a, "10.1.0.2", 1004, WAIT_DROP_MS));
}

/* Every prefix of the highest address, and 0: where ranges have no end or no start. */
static void test_edges(void **state)
{
	struct world *w = world_of(state);
	_host_ struct host h, change;

	make_router(w);
	host_build(&h);
	apply(w, w->r, &h.rs);
	host_init(&change);
	add_net(change.nat4, "0.0.0.0/5");
	add_net(change.nat4, "128.0.0.0/2");
	add_net(change.nat4, "10.0.0.0/24"); /* next to 10.1.0.0/24? no: before it */
	add_net(change.nat4, "10.1.1.0/24"); /* right behind 10.1.0.0/24 */
	update(w, w->r, &change.rs, NULL);
	update(w, w->r, NULL, &change.rs);
	verify(w, w->r, &h.rs);
	ruleset_done(&change.rs);
	host_init(&change);
	add_net(change.nat4, "10.1.0.0/24");
	add_net(change.nat4, "240.0.0.0/4");
	update(w, w->r, NULL, &change.rs);
	ruleset_done(&change.rs);
	host_init(&change);
	add_net(change.nat4, "0.0.0.0/0");
	update(w, w->r, &change.rs, NULL);
	assert_true(udp_arrives(w->b, w->x, "192.0.2.2", PORT, NULL, WAIT_PASS_MS));
	update(w, w->r, NULL, &change.rs);
	assert_false(udp_arrives(w->b, w->x, "192.0.2.2", PORT, NULL, WAIT_DROP_MS));
}

/* Swapping rulesets that both forbid a thing never lets it through. */
static void test_atomic(void **state)
{
	struct world *w = world_of(state);
	_policy_ struct policy p, q, open;
	struct flood *f;
	size_t arrived;

	make_router(w);
	policy_build(&p);
	allow(p.first4, FW_ACCEPT, "10.2.0.0/24", IPPROTO_UDP, 1, 8999);
	policy_build(&q);
	for (uint16_t i = 0; i < 40; i++)
		allow(q.first4, FW_ACCEPT, "10.2.0.0/24", IPPROTO_UDP, (uint16_t)(2 * i + 1),
		      (uint16_t)(2 * i + 1));
	allow(q.second4, FW_DROP, "10.2.0.0/24", IPPROTO_UDP, PORT, PORT);
	apply(w, w->a, &p.rs);
	f = flood_start(w->b, w->a, "10.1.0.2", PORT);
	for (int i = 0; i < (w->id == FW_NATIVE ? 2000 : 15); i++)
		apply(w, w->a, i % 2 ? &p.rs : &q.rs);
	assert_true(flood_sent(f) > 1000);
	assert_int_equal(flood_stop(f), 0);

	/* The probe would have seen it. */
	policy_build(&open);
	allow(open.first4, FW_ACCEPT, "0.0.0.0/0", 0, 0, 65535);
	f = flood_start(w->b, w->a, "10.1.0.2", PORT);
	apply(w, w->a, &open.rs);
	while (!udp_arrives(w->b, w->a, "10.1.0.2", PORT + 1, NULL, WAIT_PASS_MS))
		;
	for (size_t sent = flood_sent(f); flood_sent(f) < sent + 100;)
		;
	arrived = flood_stop(f);
	assert_true(arrived > 0);
}

/* ---- The port guard ---- */

static void make_bridge(void)
{
	sh("ip -n r link add br0 type bridge mcast_snooping 0 && ip -n r link set br0 up");
	for (const char *ns = "ab"; *ns; ns++) {
		sh("ip -n r link add p%c type veth peer name eth0 netns %c", *ns, *ns);
		sh("ip -n r link set p%c master br0 up && ip -n %c link set eth0 up", *ns, *ns);
	}
	/* A port forwards from its second state change on: until then frames get lost. */
	sh("for p in pa pb; do until [ \"$(nsenter --net=/run/netns/r cat "
	   "/proc/self/net/dev >/dev/null; ip -n r -d link show $p | grep -o 'state forwarding')\" "
	   "]; do :; "
	   "done; done");
}

static bool passes(struct world *w, struct frame f, int wait_ms)
{
	return frame_arrives(w->a, "eth0", w->b, "eth0", f.bytes, f.len, wait_ms);
}

#define PASSES(f) assert_true(passes(w, f, WAIT_PASS_MS))
#define DROPS(f) assert_false(passes(w, f, WAIT_DROP_MS))

static void assert_forged_pass(struct world *w)
{
	PASSES(frame_udp4(bad_mac, "10.9.0.10", 1000));
	PASSES(frame_udp4(good_mac, "10.9.0.11", 1000));
	PASSES(frame_udp4(good_mac, "10.9.0.10", 67));
	PASSES(frame_arp(good_mac, bad_mac, "10.9.0.10"));
	PASSES(frame_arp(good_mac, good_mac, "10.9.0.11"));
	PASSES(frame_icmp6(good_mac, "fd09::10", ND_ROUTER_ADVERT, "fd09::10"));
	PASSES(frame_icmp6(good_mac, "fd09::10", ND_REDIRECT, "fd09::10"));
	PASSES(frame_icmp6(good_mac, "fd09::11", ND_NEIGHBOR_SOLICIT, "fd09::12"));
	PASSES(frame_icmp6(good_mac, "fd09::10", ND_NEIGHBOR_ADVERT, "fd09::11"));
	PASSES(frame_other(good_mac));
}

static void assert_forged_drop(struct world *w)
{
	DROPS(frame_udp4(bad_mac, "10.9.0.10", 1000));
	DROPS(frame_udp4(good_mac, "10.9.0.11", 1000));
	DROPS(frame_udp4(good_mac, "10.9.0.10", 67));
	DROPS(frame_arp(bad_mac, bad_mac, "10.9.0.11"));
	DROPS(frame_arp(good_mac, bad_mac, "10.9.0.10"));
	DROPS(frame_arp(good_mac, good_mac, "10.9.0.11"));
	DROPS(frame_icmp6(good_mac, "fd09::10", ND_ROUTER_ADVERT, "fd09::10"));
	DROPS(frame_icmp6(good_mac, "fd09::10", ND_REDIRECT, "fd09::10"));
	DROPS(frame_icmp6(good_mac, "fd09::11", ND_NEIGHBOR_SOLICIT, "fd09::12"));
	DROPS(frame_icmp6(good_mac, "fd09::11", ND_NEIGHBOR_ADVERT, "fd09::11"));
	DROPS(frame_other(good_mac));
	DROPS(frame_tagged(good_mac, "10.9.0.10"));
	DROPS(frame_icmp6(good_mac, "fd09::10", ND_NEIGHBOR_ADVERT, "fd09::11"));
}

static void assert_honest_pass(struct world *w)
{
	PASSES(frame_udp4(good_mac, "10.9.0.10", 1000));
	PASSES(frame_arp(good_mac, good_mac, "10.9.0.10"));
	PASSES(frame_arp(good_mac, good_mac, "0.0.0.0"));
	PASSES(frame_icmp6(good_mac, "fd09::10", ND_NEIGHBOR_SOLICIT, "fd09::12"));
	PASSES(frame_icmp6(good_mac, "::", ND_NEIGHBOR_SOLICIT, "fd09::12"));
	PASSES(frame_icmp6(good_mac, "fd09::10", ND_NEIGHBOR_ADVERT, "fd09::10"));
}

static void test_guard(void **state)
{
	struct world *w = world_of(state);
	_guard_ struct guard g;

	make_bridge();
	assert_forged_pass(w);
	guard_build(&g);
	apply(w, w->r, &g.rs);
	verify(w, w->r, &g.rs);
	assert_honest_pass(w);
	assert_forged_drop(w);
	apply(w, w->r, &g.rs);
	verify(w, w->r, &g.rs);
	assert_honest_pass(w);
	removal(w, w->r, &g.rs);
	assert_forged_pass(w);
}

static void test_guard_update(void **state)
{
	struct world *w = world_of(state);
	_guard_ struct guard g, more, all;

	make_bridge();
	guard_build(&g);
	apply(w, w->r, &g.rs);
	DROPS(frame_udp4(good_mac, "10.9.0.50", 1000));
	guard_sets(&more);
	add_port_ip(more.ip4, "pa", "10.9.0.50");
	add_port_ip(more.ip6, "pa", "fd09::50");
	update(w, w->r, &more.rs, NULL);
	update(w, w->r, &more.rs, NULL);
	PASSES(frame_udp4(good_mac, "10.9.0.50", 1000));
	PASSES(frame_arp(good_mac, good_mac, "10.9.0.50"));
	PASSES(frame_icmp6(good_mac, "fd09::50", ND_NEIGHBOR_ADVERT, "fd09::50"));
	assert_forged_drop(w);
	guard_build(&all);
	add_port_ip(all.ip4, "pa", "10.9.0.50");
	add_port_ip(all.ip6, "pa", "fd09::50");
	verify(w, w->r, &all.rs);
	update(w, w->r, NULL, &more.rs);
	update(w, w->r, NULL, &more.rs);
	DROPS(frame_udp4(good_mac, "10.9.0.50", 1000));
	DROPS(frame_arp(good_mac, good_mac, "10.9.0.50"));
	assert_honest_pass(w);
	verify(w, w->r, &g.rs);

	/* A port that is no longer listed is not guarded. */
	ruleset_done(&more.rs);
	guard_sets(&more);
	guard_fill(&more, "pa", good_mac, "10.9.0.10", "fd09::10");
	update(w, w->r, NULL, &more.rs);
	assert_forged_pass(w);
	update(w, w->r, &more.rs, NULL);
	assert_honest_pass(w);
	assert_forged_drop(w);
	verify(w, w->r, &g.rs);
}

/* ---- Verifying ---- */

/* Both families of table at once. */
static void build_everything(struct host *h)
{
	struct guard g;

	host_build(h);
	guard_build(&g);
	h->t->next = TAKE_PTR(g.rs.tables);
}

#define IN_R "nsenter --net=/run/netns/r "

static const char *const nft_tampering[] = {
	IN_R "nft flush chain inet byway output",
	IN_R "nft delete rule inet byway forward handle "
	     "$(" IN_R
	     "nft -a list chain inet byway forward | sed -n 's/.*drop # handle //p' | head -n1)",
	IN_R "nft add rule inet byway input accept",
	IN_R "nft replace rule bridge byway prerouting handle "
	     "$(" IN_R
	     "nft -a list chain bridge byway prerouting | sed -n 's/.*jump guard # handle //p') "
	     "iifname != @ports jump guard",
	IN_R "nft insert rule inet byway forward accept",
	IN_R "nft insert rule bridge byway guard accept",
	IN_R "nft 'add element inet byway reach4 { 10.7.0.0/16 . \"va\" }'",
	IN_R "nft 'delete element inet byway reach4 { 10.1.0.0/24 . \"va\" }'",
	IN_R "nft 'add element inet byway nat4_0 { 10.7.0.0/16 }'",
	IN_R "nft 'delete element inet byway nat4_0 { 240.0.0.0/4 }'",
	IN_R "nft 'add element bridge byway port_ip4 { \"pa\" . 10.9.0.99 }'",
	IN_R "nft flush set bridge byway port_mac",
	IN_R "nft 'chain inet byway forward { policy drop; }'",
	IN_R "nft 'add chain inet byway more { type filter hook input priority 5; }'",
	IN_R "nft 'add set inet byway more { type ipv4_addr; }'",
	IN_R "nft 'add table inet byway { flags dormant; }'",
	IN_R "nft delete table inet byway",
	IN_R "nft delete table bridge byway",
};

/* The generation in the names of ipsets is not known here. */
#define SET(name) "$(" IN_R "ipset list -n | grep byway-" name "\\\\.)"

static const char *const iptables_tampering[] = {
	IN_R "iptables -F BYWAY-output",
	IN_R "iptables -D BYWAY-forward 3",
	IN_R "iptables -R BYWAY-input 1 -j RETURN",
	IN_R "ip6tables -D BYWAY-forward 2",
	IN_R "iptables -A BYWAY-input -j RETURN",
	IN_R "ip6tables -I BYWAY-forward -j RETURN",
	IN_R "iptables -D FORWARD -j BYWAY-forward",
	IN_R "iptables -t nat -F BYWAY-postrouting",
	IN_R "iptables -N BYWAY-more",
	IN_R "ipset add " SET("reach4") " 10.7.0.0/16,va",
	IN_R "ipset del " SET("reach4") " 10.1.0.0/24,va",
	IN_R "ipset add " SET("nat4_0") " 10.7.0.0/16",
	IN_R "ipset del " SET("nat4_0") " 240.0.0.0/4",
	IN_R "ebtables -t nat -I BYWAY-guard -j ACCEPT",
	IN_R "ebtables -t nat -D BYWAY-guard -j DROP",
	IN_R "ebtables -t nat -P BYWAY-guard ACCEPT",
	IN_R "ebtables -t nat -D PREROUTING -j BYWAY-prerouting",
	IN_R "nft delete table bridge byway",
	IN_R "nft flush chain bridge byway guard",
	IN_R "ebtables -t nat -A BYWAY-port_ip4.3+ag -p IPv4 -i pa --ip-src 10.9.0.99 -j "
	     "BYWAY-port_ip4.3+ag!",
};

static void test_tampering(void **state)
{
	struct world *w = world_of(state);
	const char *const *list = w->id == FW_IPTABLES ? iptables_tampering : nft_tampering;
	size_t n =
		w->id == FW_IPTABLES ? ARRAY_SIZE(iptables_tampering) : ARRAY_SIZE(nft_tampering);
	_host_ struct host h;

	build_everything(&h);
	for (size_t i = 0; i < n; i++) {
		struct err err = {0};

		apply(w, w->r, &h.rs);
		verify(w, w->r, &h.rs);
		sh("%s", list[i]);
		if (firewall_verify(w->fw, w->r, &h.rs, &err) != -ESTALE)
			fail_msg("not noticed: %s (%s)", list[i], err.msg);
		assert_true(*err.msg);
	}
	apply(w, w->r, &h.rs);
	verify(w, w->r, &h.rs);
}

/* ---- What stays of it, and what it leaves alone ---- */

static void snapshot(struct buf *ret)
{
	sh_read(ret, IN_R
		"sh -c 'nft list ruleset; iptables-save; ip6tables-save; ebtables-save;"
		"ipset list -n' 2>/dev/null | grep -v '^#' | sed 's/ counter packets [0-9]* bytes "
		"[0-9]*//'");
}

/* Other people's rules, in each place where ours go. */
static void make_neighbours(void)
{
	for (int v = 0; v < 2; v++) {
		const char *ipt = v ? "ip6tables" : "iptables",
			   *net = v ? "fdff::/64" : "203.0.113.0/24";

		for (const char *chain = "INPUT\0FORWARD\0OUTPUT\0"; *chain;
		     chain += strlen(chain) + 1)
			sh(IN_R "%s -A %s -s %s -j DROP", ipt, chain, net);
		sh(IN_R "%s -t nat -A POSTROUTING -s %s -j ACCEPT", ipt, net);
	}
	sh(IN_R "ebtables -t nat -A PREROUTING -s 02:00:00:00:00:99 -j DROP");
	sh(IN_R "ipset create theirs hash:ip && " IN_R "ipset add theirs 203.0.113.1");
	sh(IN_R "nft 'add table inet theirs; add chain inet theirs c'");
}

static void test_neighbours(void **state)
{
	struct world *w = world_of(state);
	_buf_ struct buf before = {0}, during = {0}, after = {0};
	_host_ struct host h;

	make_neighbours();
	snapshot(&before);
	build_everything(&h);
	apply(w, w->r, &h.rs);
	snapshot(&during);
	assert_string_not_equal(before.data, during.data);
	assert_non_null(strstr(during.data, "203.0.113.0/24"));
	apply(w, w->r, &h.rs);
	removal(w, w->r, &h.rs);
	snapshot(&after);
	assert_string_equal(before.data, after.data);
}

/* Two tables of ours side by side: each is its own. */
static void test_two_tables(void **state)
{
	struct world *w = world_of(state);
	_host_ struct host h;
	_ruleset_ struct ruleset second;
	struct fw_chain *c;
	struct fw_rule *r;

	make_router(w);
	host_build(&h);
	add_reach(h.reach4, "10.1.0.0/24", "vb");
	add_reach(h.reach4, "10.2.0.0/24", "va");
	apply(w, w->r, &h.rs);
	assert_true(a_to_b(w, WAIT_PASS_MS));
	ruleset_init(&second);
	c = fw_base_chain(ruleset_table(&second, FW_INET, "byway-tunnel"), "forward",
			  FW_CHAIN_FILTER, FW_HOOK_FORWARD, 10, FW_ACCEPT);
	r = fw_rule(c, FW_DROP);
	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, IPPROTO_UDP);
	fw_match_u16(r, FW_DPORT, FW_OP_EQ, PORT);
	apply(w, w->r, &second);
	assert_false(a_to_b(w, WAIT_DROP_MS)); /* accepting in one table is not accepting in all */
	apply(w, w->r, &h.rs);
	verify(w, w->r, &h.rs);
	verify(w, w->r, &second);
	assert_false(a_to_b(w, WAIT_DROP_MS));
	removal(w, w->r, &h.rs);
	verify(w, w->r, &second);
	assert_false(a_to_b(w, WAIT_DROP_MS));
	apply(w, w->r, &h.rs); /* the later one accepts, whichever is asked first */
	assert_false(a_to_b(w, WAIT_DROP_MS));
	removal(w, w->r, &second);
	assert_true(a_to_b(w, WAIT_PASS_MS));
	removal(w, w->r, &h.rs);
	assert_true(a_to_b(w, WAIT_PASS_MS));
}

static void test_dry_run(void **state)
{
	struct world *w = world_of(state);
	_buf_ struct buf before = {0}, after = {0};
	struct oplog log = {.dry_run = true};
	_host_ struct host h;

	build_everything(&h);
	snapshot(&before);
	w->r->log = &log;
	apply(w, w->r, &h.rs);
	assert_true(log.n_ops > 20);
	update(w, w->r, &h.rs, &h.rs);
	removal(w, w->r, &h.rs);
	w->r->log = NULL;
	snapshot(&after);
	oplog_done(&log);
	assert_true(!before.len ? !after.len : !strcmp(before.data, after.data));
}

static void test_errors(void **state)
{
	struct world *w = world_of(state);
	_host_ struct host h, change;
	_ruleset_ struct ruleset broken;
	struct err err = {0};
	struct fw_chain *c;

	/* Elements for a table that is not there. */
	reach_each_other(&change);
	assert_true(firewall_update(w->fw, w->r, &change.rs, NULL, &err) < 0);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_true(*err.msg);

	/* What the kernel refuses leaves what was there. */
	host_build(&h);
	apply(w, w->r, &h.rs);
	ruleset_init(&broken);
	c = fw_base_chain(ruleset_table(&broken, FW_INET, "byway"), "input", FW_CHAIN_FILTER,
			  FW_HOOK_INPUT, 0, FW_ACCEPT);
	fw_rule(c, FW_MASQUERADE); /* only in a nat chain */
	memset(&err, 0, sizeof(err));
	assert_true(firewall_apply(w->fw, w->r, &broken, &err) < 0);
	assert_true(*err.msg);
	verify(w, w->r, &h.rs);
}

/* ---- All tests for each backend ---- */

#define TEST(id, name, f)                                                                          \
	{                                                                                          \
		name, f, setup, teardown, (void *)(uintptr_t)id                                    \
	}
#define BATTERY(id, name)                                                                          \
	TEST(id, name ": reach", test_reach),                                                      \
		TEST(id, name ": both ends", test_reach_needs_both_ends),                          \
		TEST(id, name ": networks inside others", test_nested),                            \
		TEST(id, name ": nat", test_nat), TEST(id, name ": local", test_local),            \
		TEST(id, name ": chain policy", test_chain_policy),                                \
		TEST(id, name ": route mark", test_route_mark),                                    \
		TEST(id, name ": forward mark", test_forward_mark),                                \
		TEST(id, name ": reject", test_reject),                                            \
		TEST(id, name ": marking verified", test_marking_verify),                          \
		TEST(id, name ": clamp", test_clamp), TEST(id, name ": dnat", test_dnat),          \
		TEST(id, name ": dnat map", test_dnat_map),                                        \
		TEST(id, name ": dnat map verified", test_dnat_map_verify),                        \
		TEST(id, name ": policy", test_policy), TEST(id, name ": mark", test_mark),        \
		TEST(id, name ": thousand elements", test_thousand),                               \
		TEST(id, name ": edges of address space", test_edges),                             \
		TEST(id, name ": atomic replacement", test_atomic),                                \
		TEST(id, name ": port guard", test_guard),                                         \
		TEST(id, name ": port guard update", test_guard_update),                           \
		TEST(id, name ": tampering", test_tampering),                                      \
		TEST(id, name ": neighbours", test_neighbours),                                    \
		TEST(id, name ": two tables", test_two_tables),                                    \
		TEST(id, name ": dry run", test_dry_run), TEST(id, name ": errors", test_errors)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		BATTERY(FW_NATIVE, "native"),
		BATTERY(FW_NFT, "nft"),
		BATTERY(FW_IPTABLES, "iptables"),
		TEST(FW_NATIVE, "native: dnat map rules", test_dnat_map_rules),
		TEST(FW_NFT, "nft: dnat map rules", test_dnat_map_rules),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	world_enter();
	return cmocka_run_group_tests_name("firewall", tests, NULL, NULL);
}
