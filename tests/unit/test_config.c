// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "config/config.h"

static struct config *parse(const char *text)
{
	struct config *c = NULL;
	struct err err = {0};

	if (config_parse("/etc/byway/c.yaml", text, strlen(text), &c, &err) < 0)
		fail_msg("%s", err.msg);
	return c;
}

static void assert_bad(const char *text, const char *message)
{
	struct config *c = NULL;
	struct err err = {0};

	assert_int_equal(config_parse("c.yaml", text, strlen(text), &c, &err), -EINVAL);
	assert_null(c);
	assert_int_equal(err.kind, ERR_USAGE);
	assert_string_equal(err.msg, message);
	assert_int_equal(config_parse("c.yaml", text, strlen(text), &c, NULL), -EINVAL);
}

static const char *cidr(const struct cidr *c)
{
	static char text[CIDR_STRLEN];

	return c->addr.family ? cidr_format(c, text) : "";
}

static void test_empty(void **state)
{
	_config_ struct config *c = parse("");
	_config_ struct config *d = parse("# nothing\nvpcs: {}\n");

	(void)state;
	assert_string_equal(c->path, "/etc/byway/c.yaml");
	assert_int_equal(c->n_vpcs + c->n_subnets + c->n_peers + c->n_vms, 0);
	assert_int_equal(d->n_vpcs, 0);
}

/* YAML has more ways of writing nothing, and of writing true and false. */
static void test_words(void **state)
{
	static const char *const nothing[] = {"---\n", "---\n...\n", "# a\n---\n# b\n",
					      "~\n",   "Null\n",     "\xef\xbb\xbf# nothing\n"};
	_config_ struct config *c =
		parse("networks: {no: {cidr: 10.0.0.0/24, nat: False, dns: TRUE}}\n"
		      "vpcs: {012: {cidr: 10.2.0.0/16}, 1e3: {cidr: 10.3.0.0/16, nat: 'tap0'}}\n");

	(void)state;
	assert_string_equal(c->vpcs[0].v.name, "no");
	assert_false(c->vpcs[0].nat);
	assert_true(c->vpcs[0].v.dns);
	assert_string_equal(c->vpcs[1].v.name, "012");
	assert_string_equal(c->vpcs[2].v.name, "1e3");
	assert_string_equal(c->vpcs[2].interface, "tap0");
	assert_bad("vpcs: {True: {cidr: 10.0.0.0/16}}\n",
		   "c.yaml:1:8: a name is a string or a number");
	assert_bad("vpcs: {a: {cidr: 10.0.0.0/16, nat: Off}}\n",
		   "c.yaml:1:36: \"nat\" is true, false or an interface's name, not \"Off\"");
	assert_bad("vpcs: {a: {cidr: 10.0.0.0/16, nat: 'a/b'}}\n",
		   "c.yaml:1:36: \"nat\" is true, false or an interface's name, not \"a/b\"");
	assert_bad("vpcs: {a: {cidr: 10.0.0.0/16, nat: ''}}\n",
		   "c.yaml:1:36: \"nat\" is true, false or an interface's name, not \"\"");
	for (size_t i = 0; i < ARRAY_SIZE(nothing); i++) {
		_config_ struct config *d = parse(nothing[i]);

		assert_int_equal(d->n_vpcs, 0);
	}
}

static void test_vpc(void **state)
{
	_config_ struct config *c = parse("vpcs:\n"
					  "  shop:\n"
					  "    subnets: {web: {cidr: 10.0.1.0/24, type: public}}\n"
					  "    cidr: 10.0.0.0/16\n"
					  "    cidr6: fd00::/56\n"
					  "    mtu: 9000\n"
					  "    nat: eth1\n");
	const struct config_vpc *v = &c->vpcs[0];

	(void)state;
	assert_int_equal(c->n_vpcs, 1);
	assert_string_equal(v->v.name, "shop");
	assert_string_equal(cidr(&v->v.cidr), "10.0.0.0/16");
	assert_string_equal(cidr(&v->v.cidr6), "fd00::/56");
	assert_int_equal(v->v.mtu_bytes, 9000);
	assert_false(v->v.flat);
	assert_true(v->nat);
	assert_string_equal(v->interface, "eth1");
	assert_int_equal(config_line(c, v->at), 2);
	assert_int_equal(c->n_subnets, 1);
	assert_string_equal(c->subnets[0].s.vpc, "shop");
	assert_string_equal(c->subnets[0].s.name, "web");
	assert_string_equal(cidr(&c->subnets[0].s.cidr), "10.0.1.0/24");
	assert_string_equal(cidr(&c->subnets[0].s.cidr6), "");
	assert_true(c->subnets[0].s.is_public);
	assert_null(c->subnets[0].policy);
}

static void test_defaults(void **state)
{
	_config_ struct config *c =
		parse("vpcs: {v: {cidr: 10.0.0.0/16, subnets: {s: {cidr: 10.0.1.0/24}}}}\n"
		      "networks: {n: {cidr: 10.1.0.0/24}}\n"
		      "vms: {m: {network: n}}\n");

	(void)state;
	assert_false(c->vpcs[0].nat);
	assert_int_equal(c->vpcs[0].v.mtu_bytes, 1500);
	assert_false(c->subnets[0].s.is_public);
	assert_true(c->vpcs[1].v.flat);
	assert_true(c->vpcs[1].nat);
	assert_string_equal(c->vpcs[1].interface, "");
	assert_int_equal(c->vms[0].p.kind, PORT_TAP);
	assert_int_equal(c->vms[0].p.queues, 1);
	assert_int_equal(c->vms[0].p.owner_uid, 0);
	assert_int_equal(c->vms[0].p.owner_gid, PORT_NO_GID);
	assert_int_equal(c->vms[0].p.addr.family, 0);
}

static void test_vm(void **state)
{
	_config_ struct config *c = parse("vpcs: {v: {cidr: 10.0.0.0/16, cidr6: 'fd00::/56', "
					  "subnets: {s: {cidr: 10.0.1.0/24, "
					  "cidr6: 'fd00:0:0:1::/64'}}}}\n"
					  "vms:\n"
					  "  m:\n"
					  "    network: v/s\n"
					  "    ip: [10.0.1.9, 'fd00:0:0:1::9']\n"
					  "    mac: 02:00:00:00:00:01\n"
					  "    owner: 1000:1001\n"
					  "    rate: 10M,64k\n"
					  "    queues: 4\n"
					  "    isolated: true\n");
	const struct port *p = &c->vms[0].p;
	char text[MAC_STRLEN];

	(void)state;
	assert_string_equal(p->vpc, "v");
	assert_string_equal(p->subnet, "s");
	assert_string_equal(p->name, "m");
	assert_int_equal(p->addr.bytes[3], 9);
	assert_int_equal(p->addr6.bytes[15], 9);
	assert_string_equal(mac_format(&p->mac, text), "02:00:00:00:00:01");
	assert_int_equal(p->owner_uid, 1000);
	assert_int_equal(p->owner_gid, 1001);
	assert_int_equal(p->rate_rx, 10000000);
	assert_int_equal(p->rate_tx, 64000);
	assert_int_equal(p->queues, 4);
	assert_true(p->isolated);
}

#define TWO "vpcs:\n  a: {cidr: 10.0.0.0/16, peers: "
#define OTHER "}\n  b: {cidr: 10.1.0.0/16}\n"

static void test_peers(void **state)
{
	_config_ struct config *c = parse(
		"vpcs:\n"
		"  b: {cidr: 10.1.0.0/16, peers: [a, c]}\n"
		"  a: {cidr: 10.0.0.0/16, peers: [b]}\n"
		"  c: {cidr: 10.2.0.0/16, peers: [{vpc: a, allow: [10.2.1.0/24, 10.0.0.0/24]}]}\n");

	(void)state;
	assert_int_equal(c->n_peers, 3); /* a b is said twice */
	assert_string_equal(c->peers[0].p.a, "a");
	assert_string_equal(c->peers[0].p.b, "b");
	assert_int_equal(c->peers[0].p.n_allow, 0);
	assert_string_equal(c->peers[1].p.b, "c");
	assert_int_equal(c->peers[1].p.n_allow, 2);
	assert_string_equal(cidr(&c->peers[1].p.allow[0]), "10.2.1.0/24");
	assert_bad(TWO "[b, b]" OTHER "networks: {n: {cidr: 10.2.0.0/24, peers: [a]}}\n",
		   "c.yaml:4:35: a network has no key \"peers\": its keys are cidr, cidr6, mtu, "
		   "nat, dns, "
		   "dhcp, egress");
	assert_bad(TWO "[c]" OTHER,
		   "c.yaml:2:34: there is no VPC \"c\" in this file: did you mean \"a\"?");
	assert_bad(
		"vpcs:\n  prod: {cidr: 10.0.0.0/16, peers: [stagin]}\n  staging: {cidr: "
		"10.1.0.0/16}\n",
		"c.yaml:2:37: there is no VPC \"stagin\" in this file: did you mean \"staging\"?");
	assert_bad(TWO "[a]" OTHER, "c.yaml:2:34: VPC \"a\" is peered with itself");
	assert_bad(TWO "b" OTHER, "c.yaml:2:33: \"peers\" is a list");
	assert_bad(TWO "[{vpc: b, allow: []}]" OTHER, "c.yaml:2:50: \"allow\" is empty");
	assert_bad(TWO "[{vpc: b, allow: [10.2.0.0/24]}]" OTHER,
		   "c.yaml:2:40: 10.2.0.0/24 is inside neither \"a\" nor \"b\"");
	assert_bad(TWO "[{vpc: b, allow: [10.0.0.0/24, 10.0.0.0/25]}]" OTHER,
		   "c.yaml:2:64: 10.0.0.0/25 overlaps another one of the list");
	assert_bad("vpcs:\n  a: {cidr: 10.0.0.0/16, peers: [b]}\n"
		   "  b: {cidr: 10.1.0.0/16, peers: [{vpc: a, allow: [10.0.1.0/24]}]}\n",
		   "c.yaml:3:40: \"a\" and \"b\" are peered in line 2, too, but not with the same "
		   "networks "
		   "allowed");
}

static void test_keys(void **state)
{
	(void)state;
	assert_bad("vpc: {}\n", "c.yaml:1:1: the file has no key \"vpc\": did you mean \"vpcs\"?");
	assert_bad("vpcs: []\n", "c.yaml:1:7: \"vpcs\" is a mapping of names to what they are");
	assert_bad("vpcs: {a: {}}\n", "c.yaml:1:11: a VPC needs the key \"cidr\"");
	assert_bad("vpcs: {a: {cidr: 10.0.0.0/16, subnet: {}}}\n",
		   "c.yaml:1:31: a VPC has no key \"subnet\": did you mean \"subnets\"?");
	assert_bad("vpcs: {a: {cidr: 10.0.0.0/16, nat: [x]}}\n",
		   "c.yaml:1:36: \"nat\", when it names no interface, is true or false");
	assert_bad("vpcs: {a: {cidr: 10.0.0.0/16, nat: 'true'}}\n",
		   "c.yaml:1:36: \"nat\" is true, false or an interface's name, not \"true\"");
	assert_bad("vpcs: {a: &a {cidr: 10.0.0.0/16}, b: *a}\n",
		   "c.yaml:1:38: a VPC is a mapping of keys to values, and YAML's aliases are not followed");
	assert_bad("vpcs: {a: &a {cidr: 10.0.0.0/16}, b: {<<: *a}}\n",
		   "c.yaml:1:39: YAML's merge keys are not followed");
	assert_bad("networks: {a: {cidr: 10.0.0.0/16, vms: {}}}\n",
		   "c.yaml:1:35: VMs are not in their network, but beside \"networks\", under \"vms\"");
	assert_bad("vpcs: {'a b': {cidr: 10.0.0.0/16}}\n",
		   "c.yaml:1:8: 'a b' is not a name for a VPC: a letter or digit, then letters, "
		   "digits, '.', "
		   "'_' or '-', at most 63 characters");
	assert_bad("vpcs:\n  a: {cidr: 10.0.0.0/16}\n  b: {cidr: 10.1.0.0/16}\n  a: {cidr: "
		   "10.2.0.0/16}\n",
		   "c.yaml:4:3: the name is given twice");
	assert_bad("vpcs: {a: {cidr: 10.0.0.0/16}}\nnetworks: {a: {cidr: 10.1.0.0/16}}\n",
		   "c.yaml:2:12: \"a\" is already the name of what stands in line 1");
	assert_bad("vpcs: {a: {cidr: 10.0.0.0/16, mtu: 500}}\n",
		   "c.yaml:1:36: the MTU must be from 576 to 65535");
	assert_bad("vpcs: {a: {mtu: 1000, cidr: 10.0.0.0/16, cidr6: 'fd00::/56'}}\n",
		   "c.yaml:1:17: the MTU must be from 1280 to 65535");
}

static void test_networks(void **state)
{
	(void)state;
	assert_bad("vpcs: {a: {cidr: 10.0.0.7/16}}\n",
		   "c.yaml:1:18: '10.0.0.7/16' has host bits set; the network is 10.0.0.0/16");
	assert_bad("vpcs:\n  a: {cidr: 10.0.0.0/16}\nnetworks:\n  n: {cidr: 10.0.9.0/24}\n",
		   "c.yaml:4:3: 10.0.9.0/24 of \"n\" overlaps 10.0.0.0/16 of \"a\", line 2");
	assert_bad("vpcs:\n  a:\n    cidr: 10.0.0.0/16\n    subnets:\n"
		   "      x: {cidr: 10.0.1.0/24}\n      y: {cidr: 10.0.2.0/24}\n      z: {cidr: "
		   "10.0.1.128/25}\n",
		   "c.yaml:7:7: 10.0.1.128/25 of \"z\" overlaps 10.0.1.0/24 of \"x\", line 5");
	assert_bad("vpcs:\n  a:\n    cidr: 10.0.0.0/16\n    subnets: {x: {cidr: 10.1.1.0/24}}\n",
		   "c.yaml:4:25: 10.1.1.0/24 is not inside VPC 'a' (10.0.0.0/16)");
	assert_bad("vpcs:\n  a:\n    cidr: 10.0.0.0/16\n    subnets: {x: {cidr: 10.0.1.0/24, "
		   "cidr6: 'fd00::/64'}}\n",
		   "c.yaml:4:45: VPC \"a\" has no IPv6 network: give it the key \"cidr6\"");
}

/* The line of the machine is 3. */
#define NET "networks:\n  pods: {cidr: 10.1.0.0/24}\n"

static void test_bad_vms(void **state)
{
	(void)state;
	assert_bad(NET "vms: {m: {network: pod}}\n",
		   "c.yaml:3:7: there is no network \"pod\" in this file: did you mean \"pods\"?");
	assert_bad(NET "vms: {m: {network: pods/x}}\n",
		   "c.yaml:3:7: network \"pods\" has no subnets");
	assert_bad("vpcs: {v: {cidr: 10.0.0.0/16, subnets: {webs: {cidr: 10.0.1.0/24}}}}\nvms:\n"
		   "  m: {network: v/web}\n",
		   "c.yaml:3:3: VPC \"v\" has no subnet \"web\": did you mean \"webs\"?");
	assert_bad("vpcs: {v: {cidr: 10.0.0.0/16}}\nvms:\n  m: {network: v}\n",
		   "c.yaml:3:3: \"v\" is a VPC: name one of its subnets, VPC/SUBNET");
	assert_bad(NET "vms: {m: {network: pods, ip: 10.2.0.1}}\n",
		   "c.yaml:3:7: VM \"m\": 10.2.0.1 is no address that 10.1.0.0/24 can give");
	assert_bad(NET "vms: {m: {network: pods, ip: 10.1.0.1}}\n",
		   "c.yaml:3:7: VM \"m\": 10.1.0.1 is no address that 10.1.0.0/24 can give");
	assert_bad(NET "vms: {m: {network: pods, ip: 'fd00::1'}}\n",
		   "c.yaml:3:7: VM \"m\": fd00::1, but its network has no IPv6");
	assert_bad(NET "vms: {m: {network: pods, ip: [10.1.0.2, 10.1.0.3]}}\n",
		   "c.yaml:3:41: there is more than one address of a family");
	assert_bad(NET
		   "vms:\n  m: {network: pods, ip: 10.1.0.2}\n  k: {network: pods, ip: 10.1.0.2}\n",
		   "c.yaml:5:3: VM \"k\" has the address of \"m\", line 4");
	assert_bad(NET "vms:\n  m: {network: pods, mac: '02:00:00:00:00:01'}\n"
		       "  k: {network: pods, mac: '02:00:00:00:00:01'}\n",
		   "c.yaml:5:3: VM \"k\" has the MAC address of \"m\", line 4");
	assert_bad(NET "vms: {m: {network: pods, rate: fast}}\n",
		   "c.yaml:3:32: 'fast' is not RX,TX in bits a second, such as 100M,20M");
	/* 2^64 and some: what is left of it is a rate like any other. */
	assert_bad(NET "vms: {m: {network: pods, rate: '18446744074G,0'}}\n",
		   "c.yaml:3:32: '18446744074G,0' is not RX,TX in bits a second, such as 100M,20M");
	assert_bad(NET "vms: {m: {network: pods, owner: no-such-user-here}}\n",
		   "c.yaml:3:33: \"owner\": there is no user 'no-such-user-here'");
	assert_bad(NET "vms: {m: {network: pods, mac: 'ff:00:00:00:00:01'}}\n",
		   "c.yaml:3:31: ff:00:00:00:00:01 is a multicast address");
	assert_bad(NET "vms: {m: {network: pods, mac: '00:00:00:00:00:00'}}\n",
		   "c.yaml:3:31: 00:00:00:00:00:00 is nobody's address");
	assert_bad(NET "vms: {m: {network: pods, queues: 0}}\n",
		   "c.yaml:3:34: \"queues\" is a number from 1 to 256, not 0");
}

static void test_clones(void **state)
{
	_config_ struct config *c = parse(NET "vms:\n"
					      "  a: {network: pods, netns: c1, ip: 192.0.2.9, "
					      "mac: '02:00:00:00:00:01', tap_name: tap-one}\n"
					      "  b: {ip: 192.0.2.9, netns: c2, network: pods, "
					      "mac: '02:00:00:00:00:01'}\n");
	const struct port *p = &c->vms[0].p;
	char text[IP_STRLEN];

	(void)state;
	assert_int_equal(p->kind, PORT_CLONE);
	assert_string_equal(p->clone.netns, "c1");
	assert_string_equal(p->clone.tap, "tap-one");
	assert_string_equal(ip_format(&p->clone.addr, text), "192.0.2.9");
	assert_int_equal(p->clone.mac.bytes[0], 2);
	assert_int_equal(p->addr.family, 0);
	assert_int_equal(p->mac.bytes[0], 0);
	assert_string_equal(c->vms[1].p.clone.tap, "");
	assert_bad(NET "vms: {m: {network: pods, netns: c}}\n",
		   "c.yaml:3:33: \"netns\" needs \"ip\", the machine's IPv4 address inside");
	assert_bad(NET "vms: {m: {network: pods, tap_name: tap1}}\n",
		   "c.yaml:3:36: \"tap_name\" goes with \"netns\"");
	assert_bad(NET "vms: {m: {network: pods, netns: c, ip: 192.0.2.9, tap_name: eth0}}\n",
		   "c.yaml:3:7: a clone's TAP device cannot be eth0: its namespace has that "
		   "already");
	assert_bad(NET "vms:\n  m: {network: pods, netns: c, ip: 192.0.2.9}\n"
		       "  k: {network: pods, netns: c, ip: 192.0.2.9}\n",
		   "c.yaml:5:3: VM \"k\" has the namespace of \"m\", line 4");
}

/* ---- egresses ---- */

static void test_egress(void **state)
{
	_config_ struct config *c = parse(
		"egress:\n"
		"  dc: {connect: 'http://proxy.example:3128', via: corp}\n"
		"  deep: {ssh: alice@inside, via: dc}\n"
		"  corp: {openconnect: vpn.example.com, username: a, password_file: corp.pass}\n"
		"vpcs: {v: {cidr: 10.0.0.0/16, subnets: {s: {cidr: 10.0.1.0/24, egress: [dc, "
		"corp]}}}}\n"
		"networks: {n: {cidr: 10.1.0.0/24, egress: none}}\n"
		"vms: {m: {network: n, egress: deep}, k: {egress: nat, network: v/s}}\n");

	(void)state;
	assert_int_equal(c->n_egress, 3); /* in the order in which they can be made */
	assert_string_equal(c->egress[0].name, "corp");
	assert_string_equal(c->egress[1].name, "dc");
	assert_string_equal(c->egress[2].name, "deep");
	assert_int_equal(c->n_uses, 4);
	assert_string_equal(c->uses[0].workload, "v/s");
	assert_string_equal(c->uses[0].ways, "dc,corp");
	assert_int_equal(c->uses[0].kind, USE_SUBNET);
	assert_string_equal(c->uses[1].workload, "n");
	assert_string_equal(c->uses[1].ways, "none");
	assert_string_equal(c->uses[2].workload, "n/m");
	assert_int_equal(c->uses[1].kind, USE_NETWORK);
	assert_int_equal(c->uses[2].kind, USE_PORT);
	assert_string_equal(c->uses[3].workload, "v/k");
}

#define HOME "egress: {home: {ssh: a@b}}\n"

static void test_host(void **state)
{
	_config_ struct config *c =
		parse(HOME "host: {egress: [home], exclude: [192.168.1.0/24, fd01::/16]}\n");
	_config_ struct config *usual = parse(HOME "host: {egress: nat}\n");

	(void)state;
	assert_int_equal(c->n_uses, 1);
	assert_int_equal(c->uses[0].kind, USE_HOST);
	assert_string_equal(c->uses[0].workload, "host");
	assert_string_equal(c->uses[0].ways, "home");
	assert_string_equal(c->uses[0].exclude, "192.168.1.0/24,fd01::/16");
	assert_string_equal(usual->uses[0].ways, "nat");
	assert_null(usual->uses[0].exclude);
}

static void test_bad_host(void **state)
{
	(void)state;
	assert_bad("host: {exclude: 10.0.0.0/8}\n",
		   "c.yaml:1:7: the host needs the key \"egress\"");
	assert_bad("host: {egress: home}\n",
		   "c.yaml:1:16: there is no egress \"home\" in this file");
	assert_bad(HOME "host: {egress: home, exclude: [10.0.0.0/8, 10.1.1.1/8]}\n",
		   "c.yaml:2:44: '10.1.1.1/8' has host bits set; the network is 10.0.0.0/8");
	assert_bad("host: {egress: nat, exclude: 10.0.0.0/8}\n",
		   "c.yaml:1:7: with \"nat\" there is nothing to exclude from");
	assert_bad("host: {egres: none}\n",
		   "c.yaml:1:8: the host has no key \"egres\": did you mean \"egress\"?");
	assert_bad("networks: {host: {cidr: 10.0.0.0/8}}\n",
		   "c.yaml:1:12: 'host' is this machine: give the network another name");
}

#define FIFTY "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define NET_BY "networks: {n: {cidr: 10.1.0.0/24, egress: "

static void test_bad_egress(void **state)
{
	(void)state;
	assert_bad("egress:\n  a: {ssh: x@y, via: bb}\n  b: {ssh: x@z}\n",
		   "c.yaml:2:3: there is no egress \"bb\" in this file: did you mean \"b\"?");
	assert_bad("egress:\n  a: {ssh: x@y, via: b}\n  b: {ssh: x@z, via: a}\n",
		   "c.yaml:2:3: egress \"a\" would go out by itself, via \"b\"");
	assert_bad("egress: {a: {ssh: x@y, via: a}}\n",
		   "c.yaml:1:10: egress \"a\" would go out by itself, via \"a\"");
	assert_bad("egress: {none: {ssh: x@y}}\n",
		   "c.yaml:1:10: \"none\" is built in: no egress can be named so");
	assert_bad(NET_BY "corp}}\n", "c.yaml:1:43: there is no egress \"corp\" in this file");
	assert_bad(NET_BY "[]}}\n", "c.yaml:1:43: \"egress\" is empty: \"none\" is no way out");
	assert_bad(NET_BY "[none, a]}}\n",
		   "c.yaml:1:50: \"nat\" and \"none\" stand alone, not in a list");
	assert_bad(NET_BY "'a,b'}}\n", "c.yaml:1:43: \"a,b\" is not an egress's name");
	assert_bad(NET_BY "[a, b, a]}}\n", "c.yaml:1:50: egress \"a\" is in the list twice");
	assert_bad("egress: {" FIFTY "1234567: {ssh: x@y}}\n",
		   "c.yaml:1:10: an egress's name has at most 56 characters");
}

/* ---- published ports ---- */

static void test_publish(void **state)
{
	_config_ struct config *c =
		parse("vpcs: {v: {cidr: 10.0.0.0/16, subnets: {s: {cidr: 10.0.1.0/24, publish: "
		      "['80:8080']}}}}\n"
		      "networks: {n: {cidr: 10.1.0.0/24}}\n"
		      "vms: {m: {publish: ['192.0.2.1:53-54:1053-1054/udp'], network: n}}\n");
	char text[MAPPING_STRLEN];

	(void)state;
	assert_int_equal(c->n_ports, 3);
	assert_string_equal(c->ports[0].m.target, "s");
	assert_string_equal(mapping_format(&c->ports[0].m, text), "80:8080/tcp");
	assert_string_equal(c->ports[2].m.vpc, "n");
	assert_string_equal(c->ports[2].m.target, "m");
	assert_string_equal(mapping_format(&c->ports[2].m, text), "192.0.2.1:54:1054/udp");
	assert_bad(NET "vms: {m: {network: pods, publish: ['80']}}\n",
		   "c.yaml:3:36: \"80\" does not say to which port: HOSTPORT:PORT");
	assert_bad(NET "vms:\n  m: {network: pods, publish: ['80:80']}\n  k: {network: pods, "
		       "publish: ['79-81:1-3']}\n",
		   "c.yaml:5:32: 80:2/tcp is published already, as 80:80/tcp in line 4");
	assert_bad(NET "vms: {m: {network: pods, publish: ['[::1]:80:80']}}\n",
		   "c.yaml:3:36: \"m\" has no IPv6 address to lead to");
	assert_bad(NET "vms: {m: {network: pods, publish: ['1-65535:1-65535']}}\n",
		   "c.yaml:3:36: the file publishes more than 4096 ports");
}

/* ---- other files ---- */

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

#define WITH_POLICY                                                                                \
	"vpcs: {v: {cidr: 10.0.0.0/16, subnets: {s: {cidr: 10.0.1.0/24, policy: p.json}}}}\n"

static void test_policies(void **state)
{
	char dir[] = "/tmp/byway-config-XXXXXX";
	_config_ struct config *c = NULL;
	struct err err = {0};

	(void)state;
	assert_non_null(mkdtemp(dir));
	{
		_free_ char *file = xasprintf("%s/c.yaml", dir),
			    *policy = xasprintf("%s/p.json", dir);
		_free_ char *want = NULL;

		write_file(file, WITH_POLICY);
		assert_int_equal(config_read(file, &c, &err), -EINVAL);
		assert_non_null(strstr(err.msg, "c.yaml:1:72: cannot read "));
		write_file(policy, "{\"version\": \"1.0\", \"ingres\": []}");
		assert_int_equal(config_read(file, &c, &err), -EINVAL);
		want = xasprintf("%s:1:20: ", policy);
		assert_memory_equal(err.msg, want, strlen(want));
		assert_non_null(strstr(err.msg, "did you mean \"ingress\"?"));
		write_file(policy, "{\"version\": \"1.0\", \"ingress\": []}");
		assert_int_equal(config_read(file, &c, &err), 0);
		assert_string_equal(c->subnets[0].policy, policy);
		unlink(policy);
		unlink(file);
		rmdir(dir);
	}
}

/* Two thousand names and networks cost no more than they must. */
static void test_many(void **state)
{
	_buf_ struct buf b = {0};
	_config_ struct config *c = NULL;

	(void)state;
	buf_adds(&b, "vpcs:\n  v:\n    cidr: 10.0.0.0/8\n    subnets:\n");
	for (int i = 0; i < 2000; i++)
		buf_addf(&b, "      s%d: {cidr: 10.%d.%d.0/24}\n", i, i / 250, i % 250);
	c = parse(b.data);
	assert_int_equal(c->n_subnets, 2000);
	assert_string_equal(c->subnets[1999].s.name, "s1999");
	assert_int_equal(config_line(c, c->subnets[1999].at), 2004);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),    cmocka_unit_test(test_vpc),
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_vm),
		cmocka_unit_test(test_peers),    cmocka_unit_test(test_keys),
		cmocka_unit_test(test_networks), cmocka_unit_test(test_bad_vms),
		cmocka_unit_test(test_egress),   cmocka_unit_test(test_bad_egress),
		cmocka_unit_test(test_host),     cmocka_unit_test(test_bad_host),
		cmocka_unit_test(test_publish),  cmocka_unit_test(test_policies),
		cmocka_unit_test(test_many),     cmocka_unit_test(test_words),
		cmocka_unit_test(test_clones),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
