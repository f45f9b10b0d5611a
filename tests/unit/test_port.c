// SPDX-License-Identifier: GPL-2.0-or-later
/* Ports: their rows, there and back, their MAC, and their place in the host's rules. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "kernel/conntrack.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"
#include "store/store.h"
#include "vpc/host_rules.h"
#include "vpc/names.h"
#include "vpc/policy.h"
#include "vpc/port.h"
#include "vpc/port_rules.h"

static char parent[32], dir[64];
static struct store *st;
static struct err err;

static int open_store(void **state)
{
	(void)state;
	strcpy(parent, "/tmp/byway-port-XXXXXX");
	if (!mkdtemp(parent))
		return -1;
	snprintf(dir, sizeof(dir), "%s/run", parent);
	return store_open(dir, STORE_WRITE, &st, &err) || store_begin(st, &err);
}

static int close_store(void **state)
{
	(void)state;
	store_rollback(st);
	store_free(TAKE_PTR(st));
	return store_destroy(dir, &err) || rmdir(parent);
}

static struct port sample(const char *vpc, const char *name, const char *addr)
{
	struct port p = {.kind = PORT_TAP,
			 .owner_uid = 1000,
			 .owner_gid = PORT_NO_GID,
			 .queues = 4,
			 .isolated = true,
			 .rate_rx = 100000000,
			 .rate_tx = 20000000000,
			 .segment = 2,
			 .created = "2025-01-02T03:04:05Z",
			 .state = ROW_CREATING};

	snprintf(p.vpc, sizeof(p.vpc), "%s", vpc);
	snprintf(p.name, sizeof(p.name), "%s", name);
	snprintf(p.ifname, sizeof(p.ifname), "tap-%.4s-%.4s", vpc, name);
	snprintf(p.ifb, sizeof(p.ifb), "ifb-%.4s-%.4s", vpc, name);
	assert_int_equal(ip_parse(addr, &p.addr, NULL), 0);
	assert_int_equal(ip_parse("fd00::2", &p.addr6, NULL), 0);
	p.mac = port_mac(&p);
	return p;
}

static void insert(const struct port *p)
{
	if (port_insert(st, p, &err))
		fail_msg("%s", err.msg);
}

static void assert_same(const struct port *a, const struct port *b)
{
	assert_string_equal(a->vpc, b->vpc);
	assert_string_equal(a->name, b->name);
	assert_string_equal(a->subnet, b->subnet);
	assert_int_equal(a->kind, b->kind);
	assert_string_equal(a->ifname, b->ifname);
	assert_string_equal(a->ifb, b->ifb);
	assert_memory_equal(&a->mac, &b->mac, sizeof(a->mac));
	assert_true(ip_equal(&a->addr, &b->addr));
	assert_true(ip_equal(&a->addr6, &b->addr6));
	assert_int_equal(a->owner_uid, b->owner_uid);
	assert_int_equal(a->owner_gid, b->owner_gid);
	assert_int_equal(a->queues, b->queues);
	assert_int_equal(a->isolated, b->isolated);
	assert_int_equal(a->rate_rx, b->rate_rx);
	assert_int_equal(a->rate_tx, b->rate_tx);
	assert_int_equal(a->segment, b->segment);
	assert_string_equal(a->attachment.container, b->attachment.container);
	assert_string_equal(a->attachment.ifname, b->attachment.ifname);
	assert_string_equal(a->attachment.config, b->attachment.config);
	assert_string_equal(a->created, b->created);
	assert_int_equal(a->state, b->state);
}

static void what_was_put_comes_back(void **state)
{
	struct port one = sample("v", "one", "10.0.0.2"), two = sample("v", "two", "10.0.0.3"), got;

	(void)state;
	snprintf(two.subnet, sizeof(two.subnet), "web");
	two.addr6 = (struct ip){0};
	two.owner_uid = PORT_NO_UID;
	two.owner_gid = 0;
	two.isolated = false;
	insert(&one);
	insert(&two);
	assert_int_equal(port_load(st, "v", "one", &got, &err), 0);
	assert_same(&got, &one);
	assert_int_equal(port_load(st, "v", "two", &got, &err), 0);
	assert_same(&got, &two);
	assert_int_equal(port_set_state(st, &one, ROW_ACTIVE, &err), 0);
	assert_int_equal(port_load(st, "v", "one", &got, &err), 0);
	assert_int_equal(got.state, ROW_ACTIVE);
	assert_int_equal(port_remove(st, &one, &err), 0);
	assert_int_equal(port_load(st, "v", "one", &got, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "'one'"));
	assert_int_equal(port_remove(st, &one, &err), 0);
}

static struct port container(const char *vpc, const char *name, const char *addr)
{
	struct port p = sample(vpc, name, addr);

	p.kind = PORT_VETH;
	p.attachment = (struct attachment){.container = "c0ffee", .ifname = "eth0", .config = "pods"};
	return p;
}

static void containers_are_found_by_their_own_names(void **state)
{
	struct port one = container("v", "one", "10.0.0.2"), other = container("w", "b", "10.1.0.2");
	struct port got;

	(void)state;
	insert(&one);
	assert_int_equal(port_load_attachment(st, "c0ffee", "eth0", &got, &err), 0);
	assert_same(&got, &one);
	assert_int_equal(port_load_attachment(st, "c0ffee", "eth1", &got, &err), -ENOENT);
	assert_int_equal(port_load_attachment(st, "", "", &got, &err), -ENOENT);
	assert_int_equal(port_insert(st, &other, &err), -EEXIST);
}

static void lists_are_in_order(void **state)
{
	static const char *const names[][2] = {{"w", "a"}, {"v", "b"}, {"v", "a"}};
	_free_ struct port *all = NULL, *some = NULL;
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct port p = sample(names[i][0], names[i][1], "10.0.0.2");

		p.mac.bytes[5] = (uint8_t)i;
		insert(&p);
	}
	assert_int_equal(port_list(st, NULL, &all, &n, &err), 0);
	assert_int_equal(n, 3);
	assert_string_equal(all[0].name, "a");
	assert_string_equal(all[2].vpc, "w");
	assert_int_equal(port_list(st, "v", &some, &n, &err), 0);
	assert_int_equal(n, 2);
	assert_string_equal(some[1].name, "b");
}

/* Each in a transaction of its own: after a failure there is nothing to do but to roll back. */
static void names_and_macs_are_one_ports(void **state)
{
	struct port a = sample("v", "a", "10.0.0.2");
	struct port same_name = sample("v", "a", "10.0.0.3"),
		    same_mac = sample("v", "b", "10.0.0.2");
	struct port same_device = sample("w", "a", "10.0.0.4"),
		    elsewhere = sample("w", "a", "10.0.0.2");
	const struct port *const refused[] = {&same_name, &same_mac, &same_device};

	(void)state;
	snprintf(same_device.ifname, sizeof(same_device.ifname), "%s", a.ifname);
	elsewhere.mac = a.mac;
	insert(&a);
	insert(&elsewhere);
	assert_int_equal(store_commit(st, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		assert_int_equal(store_begin(st, &err), 0);
		assert_int_equal(port_insert(st, refused[i], &err), -EEXIST);
		store_rollback(st);
	}
}

static void a_mac_goes_with_vpc_and_address(void **state)
{
	struct port a = sample("v", "a", "10.0.0.2"), again = sample("v", "b", "10.0.0.2");
	struct port next = sample("v", "a", "10.0.0.3"), other = sample("w", "a", "10.0.0.2");

	(void)state;
	assert_memory_equal(&a.mac, &again.mac, sizeof(a.mac));
	assert_memory_not_equal(&a.mac, &next.mac, sizeof(a.mac));
	assert_memory_not_equal(&a.mac, &other.mac, sizeof(a.mac));
	assert_int_equal(a.mac.bytes[0] & 3, 2); /* unicast, locally administered */
}

static void a_vpc_may_be_flat(void **state)
{
	struct vpc v = {.name = "v", .bridge = "v", .mtu_bytes = 1500, .flat = true}, got;
	struct port p = sample("v", "a", "10.0.0.2");

	(void)state;
	assert_int_equal(cidr_parse_network("10.0.0.0/24", &v.cidr, NULL), 0);
	assert_int_equal(vpc_insert(st, &v, &err), 0);
	assert_int_equal(vpc_load(st, "v", &got, &err), 0);
	assert_true(got.flat);
	insert(&p);
	assert_int_equal(vpc_set_state(st, "v", ROW_DELETING, &err), 0);
	assert_int_equal(port_load(st, "v", "a", &p, &err), 0);
	assert_int_equal(p.state, ROW_DELETING);
	assert_int_equal(vpc_remove(st, "v", &err), 0);
	assert_int_equal(port_load(st, "v", "a", &p, &err), -ENOENT);
}

static void assert_bridge(struct netns *host, const char *vpc, bool flat, const char *want)
{
	struct vpc v = {.flat = flat};
	char name[IFNAMSIZ];

	snprintf(v.name, sizeof(v.name), "%s", vpc);
	assert_int_equal(name_bridge(st, host, &v, name, &err), 0);
	assert_string_equal(name, want);
}

static void a_networks_bridge_has_its_name(void **state)
{
	struct vpc other = {.name = "other", .bridge = "lab-taken", .flat = true};
	_netns_ struct netns *host = NULL;
	struct oplog log = {0};
	char hashed[IFNAMSIZ];

	(void)state;
	assert_int_equal(netns_open(NULL, &log, &host, &err), 0);
	assert_int_equal(cidr_parse_network("10.0.0.0/24", &other.cidr, NULL), 0);
	assert_int_equal(vpc_insert(st, &other, &err), 0);
	assert_bridge(host, "lab-free", true, "lab-free");
	assert_bridge(host, "lab-free", false, "br-lab-free");
	assert_bridge(host, "lab-taken", true, "br-lab-taken");
	assert_bridge(host, "lo", true, "br-lo");
	assert_bridge(host, "all", true, "br-all");
	assert_bridge(host, "default", true, "br-default");
	ifname_form("br-", "lab-a-few-too-many", "lab-a-few-too-many", 0, hashed);
	assert_bridge(host, "lab-a-few-too-many", true, hashed);
}

static void a_tap_has_its_machines_name(void **state)
{
	struct port one = sample("v", "lab-one", "10.0.0.2"),
		    two = sample("w", "lab-one", "10.0.0.3");
	_netns_ struct netns *host = NULL;
	struct oplog log = {0};

	(void)state;
	assert_int_equal(netns_open(NULL, &log, &host, &err), 0);
	assert_int_equal(name_port(st, host, &one, &err), 0);
	assert_string_equal(one.ifname, "tap-lab-one");
	assert_string_equal(one.ifb, "ifb-lab-one");
	insert(&one);
	assert_int_equal(name_port(st, host, &two, &err), 0);
	assert_memory_equal(two.ifname, "tap-lab-", 8);
	assert_string_not_equal(two.ifname, one.ifname);
	assert_memory_equal(two.ifb, "ifb-lab-", 8);
	assert_string_not_equal(two.ifb, one.ifb);
}

static void what_has_no_rate_needs_no_device(void **state)
{
	struct port p = sample("v", "lab-one", "10.0.0.2");
	_netns_ struct netns *host = NULL;
	struct oplog log = {0};

	(void)state;
	p.rate_tx = 0;
	p.ifb[0] = '\0';
	assert_int_equal(netns_open(NULL, &log, &host, &err), 0);
	assert_int_equal(name_port(st, host, &p, &err), 0);
	assert_string_equal(p.ifb, "");
}

static void ports_are_guarded(void **state)
{
	struct vpc v = {.name = "v", .bridge = "v", .flat = true};
	struct port open = sample("v", "a", "10.0.0.2"), isolated = open;
	_host_rules_ struct host_rules h;

	(void)state;
	open.isolated = false;
	host_rules_init(&h);
	host_rules_port(&h, &open, &v);
	assert_int_equal(h.ports->n_elems, 1);
	assert_int_equal(h.port_mac->n_elems, 1);
	assert_int_equal(h.port_ip4->n_elems, 1);
	assert_int_equal(h.port_ip6->n_elems, 2); /* and the link-local one */
	assert_memory_equal(h.port_mac->elems[0].lo[1].bytes, open.mac.bytes,
			    sizeof(open.mac.bytes));
	assert_int_equal(h.isolated4->n_elems + h.isolated6->n_elems, 0);
	host_rules_port(&h, &isolated, &v);
	assert_int_equal(h.isolated4->n_elems, 1);
	assert_int_equal(h.isolated6->n_elems, 1);
	assert_memory_equal(h.isolated4->elems[0].lo[0].bytes, isolated.addr.bytes, 4);
}

/* ---- Policies ---- */

static const struct policy plain;

static void add_network(const char *name, const char *cidr)
{
	struct vpc v = {.mtu_bytes = 1500, .flat = true};

	snprintf(v.name, sizeof(v.name), "%s", name);
	snprintf(v.bridge, sizeof(v.bridge), "%s", name);
	assert_int_equal(cidr_parse_network(cidr, &v.cidr, NULL), 0);
	assert_int_equal(vpc_insert(st, &v, &err), 0);
}

static void add_under(const char *vpc, const char *name, const char *addr, const char *policy)
{
	struct port p = sample(vpc, name, addr);
	struct policy_owner owner = port_owner(&p);

	insert(&p);
	assert_int_equal(policy_save(st, &owner, "f.json", policy, &plain, &err), 0);
}

#define WEB "{\"ingress\": [{\"port\": 80, \"protocol\": \"tcp\", \"action\": \"allow\"}]}"
#define LOCKED "{\"egress\": [{\"action\": \"deny\"}]}"

static void a_port_has_the_policy_of_its_own_name(void **state)
{
	struct port p = sample("v", "one", "10.0.0.2"), got;
	struct subnet s = {.vpc = "v", .name = "one"};
	struct policy_owner port = port_owner(&p), subnet = subnet_owner(&s);
	_cleanup_(policy_row_done) struct policy_row row = {0};

	(void)state;
	insert(&p);
	assert_int_equal(policy_save(st, &subnet, "s.json", LOCKED, &plain, &err), 0);
	assert_int_equal(port_load(st, "v", "one", &got, &err), 0);
	assert_false(got.has_policy);
	assert_int_equal(policy_load(st, &port, &row, &err), -ENOENT);
	assert_int_equal(policy_save(st, &port, "p.json", WEB, &plain, &err), 0);
	assert_int_equal(port_load(st, "v", "one", &got, &err), 0);
	assert_true(got.has_policy);
	assert_int_equal(policy_load(st, &port, &row, &err), 0);
	assert_string_equal(row.file, "p.json");
	assert_int_equal(port_remove(st, &p, &err), 0);
	policy_row_done(&row);
	row = (struct policy_row){0};
	assert_int_equal(policy_load(st, &port, &row, &err), -ENOENT);
	assert_int_equal(policy_load(st, &subnet, &row, &err), 0);
}

static size_t count_chains(const struct ruleset *rs, const char *ending)
{
	size_t n = 0;

	for (const struct fw_chain *c = rs->tables->chains; c; c = c->next) {
		size_t len = strlen(c->name);

		n += len >= strlen(ending) && !strcmp(c->name + len - strlen(ending), ending);
	}
	return n;
}

static const struct fw_set *set_named(const struct ruleset *rs, const char *name)
{
	for (const struct fw_set *s = rs->tables->sets; s; s = s->next) {
		if (!strcmp(s->name, name))
			return s;
	}
	fail_msg("there is no set %s", name);
	return NULL;
}

static void ports_with_one_policy_are_a_group(void **state)
{
	struct port gone = sample("w", "gone", "10.1.0.9");
	_port_rules_ struct port_rules *rules = NULL;
	_ruleset_ struct ruleset rs;

	(void)state;
	ruleset_init(&rs);
	add_network("v", "10.0.0.0/24");
	add_network("w", "10.1.0.0/24");
	add_under("v", "a", "10.0.0.2", WEB);
	add_under("v", "b", "10.0.0.3", LOCKED);
	add_under("w", "c", "10.1.0.2", WEB);
	add_under("w", "gone", "10.1.0.9", WEB);
	assert_int_equal(port_set_state(st, &gone, ROW_DELETING, &err), 0);
	assert_int_equal(port_rules_load(st, &rules, &err), 0);
	assert_false(port_rules_empty(rules));
	port_rules_build(rules, &rs);
	assert_int_equal(count_chains(&rs, "_ingress"), 1);
	assert_int_equal(count_chains(&rs, "_egress"), 1);
	assert_int_equal(set_named(&rs, "ports_ip4")->n_elems, 3);
	assert_string_equal(set_named(&rs, "ports_ip4")->elems[2].lo[1].bytes, "w");
}

static bool judged(const struct port_rules *rules, const char *src, const char *dst, uint16_t dport,
		   bool *ret_allowed)
{
	struct conntrack_flow f = {.proto = 6, .sport = 40000, .from_port = dport};

	assert_int_equal(ip_parse(src, &f.src, NULL), 0);
	assert_int_equal(ip_parse(dst, &f.from, NULL), 0);
	return port_rules_judge(rules, &f, ret_allowed);
}

static void both_ends_judge_a_connection(void **state)
{
	_port_rules_ struct port_rules *rules = NULL;
	bool allowed = false;

	(void)state;
	add_network("v", "10.0.0.0/24");
	add_under("v", "web", "10.0.0.2", WEB);
	add_under("v", "locked", "10.0.0.3", LOCKED);
	assert_int_equal(port_rules_load(st, &rules, &err), 0);
	assert_true(judged(rules, "10.0.0.9", "10.0.0.2", 80, &allowed) && allowed);
	assert_true(judged(rules, "10.0.0.9", "10.0.0.2", 22, &allowed) && !allowed);
	assert_true(judged(rules, "10.0.0.2", "10.0.0.9", 22, &allowed) && allowed);
	assert_true(judged(rules, "10.0.0.9", "10.0.0.3", 22, &allowed) && allowed);
	assert_true(judged(rules, "10.0.0.3", "10.0.0.2", 80, &allowed) && !allowed);
	assert_false(judged(rules, "10.0.0.9", "10.0.0.8", 80, &allowed));
	assert_true(allowed);
}

static void ports_with_a_policy_are_taken_off_the_bridge(void **state)
{
	struct vpc v = {.name = "v", .bridge = "v", .flat = true};
	struct port p = sample("v", "a", "10.0.0.2");
	_host_rules_ struct host_rules h;

	(void)state;
	host_rules_init(&h);
	host_rules_port(&h, &p, &v);
	assert_int_equal(h.policy_port->n_elems + h.policy_ip4->n_elems, 0);
	p.has_policy = true;
	host_rules_port(&h, &p, &v);
	assert_int_equal(h.policy_port->n_elems, 1);
	assert_string_equal(h.policy_port->elems[0].lo[0].bytes, p.ifname);
	assert_memory_equal(h.policy_ip4->elems[0].lo[0].bytes, p.addr.bytes, 4);
	assert_memory_equal(h.policy_ip6->elems[0].lo[0].bytes, p.addr6.bytes, 16);
}

#define T(test) cmocka_unit_test_setup_teardown(test, open_store, close_store)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(containers_are_found_by_their_own_names),
		T(what_was_put_comes_back),
		T(lists_are_in_order),
		T(names_and_macs_are_one_ports),
		T(a_vpc_may_be_flat),
		T(a_networks_bridge_has_its_name),
		T(a_tap_has_its_machines_name),
		T(what_has_no_rate_needs_no_device),
		cmocka_unit_test(a_mac_goes_with_vpc_and_address),
		cmocka_unit_test(ports_are_guarded),
		T(a_port_has_the_policy_of_its_own_name),
		T(ports_with_one_policy_are_a_group),
		T(both_ends_judge_a_connection),
		cmocka_unit_test(ports_with_a_policy_are_taken_off_the_bridge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
