// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "firewall/compare.h"
#include "firewall/field.h"
#include "firewall/firewall.h"
#include "firewall/iptables.h"
#include "firewall/native.h"
#include "firewall/ruleset.h"
#include "firewall/text.h"
#include "kernel/cgroup.h"
#include "kernel/netns.h"
#include "kernel/nft.h"

static const enum fw_field net4[] = {FW_IP4_SADDR};
static const enum fw_field reach[] = {FW_IP4_SADDR, FW_OIFNAME},
			   back[] = {FW_IP4_DADDR, FW_IIFNAME};
static const enum fw_field flow[] = {FW_IP4_SADDR, FW_L4PROTO, FW_DPORT};
static const enum fw_field port6[] = {FW_IIFNAME, FW_IP6_SADDR},
			   target[] = {FW_IIFNAME, FW_ND_TARGET};

static struct cidr cidr(const char *text)
{
	struct cidr c;

	assert_int_equal(cidr_parse(text, &c, NULL), 0);
	return c;
}

static struct fw_elem of_net(const char *text)
{
	struct fw_elem e = {0};
	struct cidr c = cidr(text);

	fw_elem_cidr(&e, 0, &c);
	return e;
}

static void add_net(struct fw_set *s, const char *text)
{
	struct fw_elem e = of_net(text);

	fw_set_add(s, &e);
}

static void add_flow(struct fw_set *s, const char *net, uint8_t proto, uint16_t lo, uint16_t hi,
		     enum fw_verdict verdict)
{
	struct fw_elem e = of_net(net);

	fw_elem_u8_range(&e, 1, proto, proto ? proto : 255);
	fw_elem_u16_range(&e, 2, lo, hi);
	e.verdict = verdict;
	fw_set_add(s, &e);
}

/* ---- Text ---- */

static void build_sample(struct ruleset *rs)
{
	struct fw_table *t;
	struct fw_set *r, *m;
	struct fw_chain *base, *other;
	struct fw_rule *rule;
	struct fw_elem e = of_net("10.0.0.0/24");

	ruleset_init(rs);
	t = ruleset_table(rs, FW_INET, "byway");
	r = fw_interval_set(t, "reach4", 2, reach);
	fw_elem_name(&e, 1, "br0");
	fw_set_add(r, &e);
	m = fw_verdict_map(t, "in4_0", 3, flow);
	add_flow(m, "0.0.0.0/0", 6, 80, 90, FW_ACCEPT);
	add_flow(m, "10.1.2.3/32", 0, 0, 65535, FW_DROP);
	base = fw_base_chain(t, "forward", FW_CHAIN_FILTER, FW_HOOK_FORWARD, -5, FW_DROP);
	other = fw_chain(t, "other");
	rule = fw_rule_jump(base, other);
	fw_match_u32(rule, FW_IIFGROUP, FW_OP_EQ, 77);
	fw_match_set(rule, FW_OP_IN, r, 2, reach);
	fw_match_set(rule, FW_OP_NOT_IN, r, 2, back);
	rule = fw_rule(other, FW_ACCEPT);
	fw_match_u32(rule, FW_CT_STATE, FW_OP_ANY_BIT, FW_CT_ESTABLISHED | FW_CT_RELATED);
	rule = fw_rule(other, FW_DROP);
	fw_match_u32(rule, FW_CT_MARK, FW_OP_ANY_BIT, 0x00800000);
	fw_match_u8(rule, FW_L4PROTO, FW_OP_EQ, 17);
	fw_match_u16_range(rule, FW_DPORT, 1, 1023);
	fw_match_name(rule, FW_OIFNAME, FW_OP_NE, "lo");
	fw_rule_vmap(other, m);
	fw_rule(other, FW_RETURN);
}

static void test_print(void **state)
{
	_ruleset_ struct ruleset rs;
	_buf_ struct buf b = {0};

	(void)state;
	build_sample(&rs);
	ruleset_print(&rs, &b);
	assert_string_equal(
		b.data,
		"table inet byway {\n"
		"\tcomment \"byway\"\n"
		"\tset reach4 {\n"
		"\t\ttype ipv4_addr . ifname; flags interval;\n"
		"\t\telements = {\n"
		"\t\t\t10.0.0.0/24 . \"br0\"\n"
		"\t\t}\n"
		"\t}\n"
		"\tmap in4_0 {\n"
		"\t\ttype ipv4_addr . inet_proto . inet_service : verdict; flags interval;\n"
		"\t\telements = {\n"
		"\t\t\t0.0.0.0/0 . 6 . 80-90 : accept,\n"
		"\t\t\t10.1.2.3 . 0-255 . 0-65535 : drop\n"
		"\t\t}\n"
		"\t}\n"
		"\tchain forward {\n"
		"\t\ttype filter hook forward priority -5; policy drop;\n"
		"\t\tiifgroup 77 ip saddr . oifname @reach4 ip daddr . iifname != @reach4 jump "
		"other\n"
		"\t}\n"
		"\tchain other {\n"
		"\t\tct state established,related accept\n"
		"\t\tct mark & 0x00800000 != 0 meta l4proto 17 th dport 1-1023 oifname != \"lo\" "
		"drop\n"
		"\t\tip saddr . meta l4proto . th dport vmap @in4_0\n"
		"\t\treturn\n"
		"\t}\n"
		"}\n");
}

static void test_print_twins(void **state)
{
	_ruleset_ struct ruleset rs;
	_buf_ struct buf plain = {0}, old = {0};
	struct fw_table *t;
	struct fw_set *s;
	struct fw_elem e = {0};
	struct ip ip;

	(void)state;
	ruleset_init(&rs);
	t = ruleset_table(&rs, FW_BRIDGE, "byway");
	s = fw_set(t, "port_ip6", 2, port6);
	assert_int_equal(ip_parse("fd00::5", &ip, NULL), 0);
	fw_elem_name(&e, 0, "tap0");
	fw_elem_ip(&e, 1, &ip);
	fw_set_add(s, &e);
	fw_match_set(fw_rule(fw_chain(t, "guard"), FW_DROP), FW_OP_NOT_IN, s, 2, target);
	text_replace(&rs, TEXT_PLAIN, &plain);
	assert_non_null(strstr(plain.data, "iifname . icmpv6 taddr != @port_ip6 drop\n"));
	assert_null(strstr(plain.data, "_raw"));
	text_replace(&rs, TEXT_NFT, &old);
	assert_non_null(strstr(old.data, "iifname . @th,64,128 != @port_ip6_raw drop\n"));
	assert_non_null(strstr(old.data, "add set bridge byway port_ip6_raw { typeof iifname . "
					 "@th,64,128; }\n"));
	assert_non_null(strstr(old.data, "add element bridge byway port_ip6_raw { \"tap0\" . "
					 "0xfd000000000000000000000000000005 }\n"));
}

static void test_prefix(void **state)
{
	struct fw_elem e = of_net("10.0.0.0/8");

	(void)state;
	assert_int_equal(fw_prefix_len(&e.lo[0], &e.hi[0], 4), 8);
	e = of_net("0.0.0.0/0");
	assert_int_equal(fw_prefix_len(&e.lo[0], &e.hi[0], 4), 0);
	e = of_net("10.0.0.1/32");
	assert_int_equal(fw_prefix_len(&e.lo[0], &e.hi[0], 4), 32);
	e.hi[0].bytes[3] = 2; /* 1..2 is no network */
	assert_int_equal(fw_prefix_len(&e.lo[0], &e.hi[0], 4), -1);
	e.lo[0].bytes[3] = 4;
	e.hi[0].bytes[3] = 6;
	assert_int_equal(fw_prefix_len(&e.lo[0], &e.hi[0], 4), -1);
}

static void test_protocols(void **state)
{
	_ruleset_ struct ruleset rs;
	struct fw_chain *c;
	struct fw_rule *r;

	(void)state;
	ruleset_init(&rs);
	c = fw_chain(ruleset_table(&rs, FW_INET, "byway"), "c");
	r = fw_rule(c, FW_DROP);
	fw_match_u8(r, FW_ICMP6_TYPE, FW_OP_EQ, 135);
	assert_int_equal(fw_rule_protocols(r).ethertype, 0x86dd);
	assert_int_equal(fw_rule_protocols(r).l4proto, 58);
	r = fw_rule(c, FW_DROP);
	fw_match_u8(r, FW_L4PROTO, FW_OP_NE, 6);
	assert_int_equal(fw_rule_protocols(r).l4proto, 0);
}

/* ---- Elements as the kernel takes them ---- */

struct sent {
	uint8_t key[48], end[48];
	uint16_t key_len, end_len;
	uint32_t flags, verdict;
};

static const struct nlattr *child(const struct nlattr *nest, uint16_t type)
{
	const struct nlattr *a = mnl_attr_get_payload(nest);
	const char *end = (const char *)nest + nest->nla_len;

	for (; (const char *)a < end; a = mnl_attr_next(a))
		if (mnl_attr_get_type(a) == type)
			return a;
	return NULL;
}

static uint16_t key_of(const struct nlattr *elem, uint16_t type, uint8_t key[48])
{
	const struct nlattr *a = child(elem, type), *value = a ? child(a, NFTA_DATA_VALUE) : NULL;

	if (!value)
		return 0;
	memcpy(key, mnl_attr_get_payload(value), mnl_attr_get_payload_len(value));
	return mnl_attr_get_payload_len(value);
}

static struct sent parse_elem(const struct nlattr *elem)
{
	struct sent s = {0};
	const struct nlattr *flags = child(elem, NFTA_SET_ELEM_FLAGS);
	const struct nlattr *data = child(elem, NFTA_SET_ELEM_DATA);

	s.key_len = key_of(elem, NFTA_SET_ELEM_KEY, s.key);
	s.end_len = key_of(elem, NFTA_SET_ELEM_KEY_END, s.end);
	s.flags = flags ? ntohl(mnl_attr_get_u32(flags)) : 0;
	if (data)
		s.verdict = ntohl(
			mnl_attr_get_u32(child(child(data, NFTA_DATA_VERDICT), NFTA_VERDICT_CODE)));
	return s;
}

/* The elements of all messages that carry s; at most max are stored. */
static size_t encode(const struct fw_table *t, const struct fw_set *s, struct sent *to, size_t max,
		     size_t *ret_msgs)
{
	struct netns ns = {0};
	_nft_batch_ struct nft_batch b;
	const struct nlmsghdr *m = NULL;
	size_t n = 0;

	*ret_msgs = 0;
	nft_batch_init(&b, &ns);
	native_elems(&b, NFT_MSG_NEWSETELEM, t, s);
	while ((m = nft_batch_next(&b, m))) {
		const struct nlattr *list = mnl_nlmsg_get_payload_offset(m, 4), *elem;

		assert_int_equal(nft_msg_type(m), NFT_MSG_NEWSETELEM);
		++*ret_msgs;
		while (mnl_attr_get_type(list) != NFTA_SET_ELEM_LIST_ELEMENTS)
			list = mnl_attr_next(list);
		elem = mnl_attr_get_payload(list);
		for (; (const char *)elem < (const char *)list + list->nla_len;
		     elem = mnl_attr_next(elem))
			if (n++ < max)
				to[n - 1] = parse_elem(elem);
	}
	return n;
}

static void test_interval_elements(void **state)
{
	static const uint8_t start[] = {10, 0, 0, 0}, end[] = {10, 0, 1, 0},
			     high[] = {240, 0, 0, 0}, zero[4];
	_ruleset_ struct ruleset rs;
	struct sent sent[8];
	struct fw_table *t;
	struct fw_set *s;
	size_t msgs;

	(void)state;
	ruleset_init(&rs);
	t = ruleset_table(&rs, FW_INET, "byway");
	s = fw_interval_set(t, "nat4_0", 1, net4);
	add_net(s, "10.0.0.0/24");
	add_net(s, "240.0.0.0/4");
	add_net(s, "0.0.0.0/0");
	add_net(s, "255.255.255.255/32");
	assert_int_equal(encode(t, s, sent, 8, &msgs), 5);
	assert_int_equal(sent[0].key_len, 4);
	assert_memory_equal(sent[0].key, start, 4);
	assert_int_equal(sent[0].flags, 0);
	assert_memory_equal(sent[1].key, end, 4);
	assert_int_equal(sent[1].flags, NFT_SET_ELEM_INTERVAL_END);
	assert_memory_equal(sent[2].key, high, 4); /* which has no end */
	assert_int_equal(sent[2].flags, 0);
	assert_memory_equal(sent[3].key, zero, 4);
	assert_int_equal(sent[3].flags, 0);
	assert_int_equal(sent[4].key[3], 255);
}

static void test_concatenated_elements(void **state)
{
	static const uint8_t key[] = {10, 0, 0, 0, 6, 0, 0, 0, 0, 80, 0, 0};
	static const uint8_t end[] = {10, 0, 0, 255, 6, 0, 0, 0, 0, 90, 0, 0};
	_ruleset_ struct ruleset rs;
	struct fw_elem e = of_net("10.0.0.0/24");
	struct sent sent[8];
	struct fw_table *t;
	struct fw_set *s;
	size_t msgs;

	(void)state;
	ruleset_init(&rs);
	t = ruleset_table(&rs, FW_INET, "byway");
	s = fw_verdict_map(t, "m", 3, flow);
	add_flow(s, "10.0.0.0/24", 6, 80, 90, FW_ACCEPT);
	add_flow(s, "10.0.1.0/24", 6, 80, 90, FW_DROP);
	assert_int_equal(encode(t, s, sent, 8, &msgs), 2);
	assert_int_equal(sent[0].key_len, 12);
	assert_int_equal(sent[0].end_len, 12);
	assert_memory_equal(sent[0].key, key, 12);
	assert_memory_equal(sent[0].end, end, 12);
	assert_int_equal(sent[0].verdict, 1);
	assert_int_equal(sent[1].verdict, 0);

	s = fw_interval_set(t, "reach4", 2, reach);
	fw_elem_name(&e, 1, "br0");
	fw_set_add(s, &e);
	assert_int_equal(encode(t, s, sent, 8, &msgs), 1);
	assert_int_equal(sent[0].key_len, 20);
	assert_memory_equal(sent[0].key + 4, "br0\0", 4);
	assert_memory_equal(sent[0].end + 4, "br0\0", 4);
}

/* More elements than an attribute can hold go to several messages of one batch. */
static void test_many_elements(void **state)
{
	_ruleset_ struct ruleset rs;
	struct sent sent[1];
	struct fw_table *t;
	struct fw_set *s;
	size_t msgs;

	(void)state;
	ruleset_init(&rs);
	t = ruleset_table(&rs, FW_INET, "byway");
	s = fw_verdict_map(t, "m", 3, flow);
	for (uint16_t i = 0; i < 20000; i++)
		add_flow(s, "10.0.0.0/24", 6, i, i, FW_ACCEPT);
	assert_int_equal(encode(t, s, sent, 1, &msgs), 20000);
	assert_true(msgs > 1 && msgs < 60);
}

/* ---- Errors of the kernel ---- */

static const struct nlmsghdr *nth_of_type(const struct nft_batch *b, int type, size_t n)
{
	const struct nlmsghdr *m = NULL;

	while ((m = nft_batch_next(b, m)))
		if (nft_msg_type(m) == type && n-- == 0)
			return m;
	return NULL;
}

static void test_errors(void **state)
{
	_ruleset_ struct ruleset rs;
	_nft_batch_ struct nft_batch b;
	struct netns ns = {0};
	struct nft_failure f = {.code = -ENOENT, .expr = "ct"};
	struct err err = {0};

	(void)state;
	build_sample(&rs);
	nft_batch_init(&b, &ns);
	native_table_content(&b, rs.tables);
	f.msg = nth_of_type(&b, NFT_MSG_NEWRULE, 1);
	assert_int_equal(native_error(&rs, &b, &f, &err), -ENOENT);
	assert_int_equal(err.kind, ERR_UNSUPPORTED);
	assert_string_equal(err.msg,
			    "chain inet byway other: rule \"ct state established,related accept\": "
			    "the kernel lacks CONFIG_NFT_CT");
	f = (struct nft_failure){.code = -EOPNOTSUPP, .msg = nth_of_type(&b, NFT_MSG_NEWTABLE, 0)};
	native_error(&rs, &b, &f, &err);
	assert_string_equal(err.msg, "table inet byway: the kernel lacks CONFIG_NF_TABLES_INET");
	f = (struct nft_failure){.code = -EOPNOTSUPP};
	native_error(&rs, &b, &f, &err);
	assert_string_equal(err.msg, "nftables: the kernel lacks CONFIG_NF_TABLES");
	f = (struct nft_failure){.code = -EEXIST,
				 .msg = nth_of_type(&b, NFT_MSG_NEWSETELEM, 0),
				 .text = "Interval overlaps"};
	native_error(&rs, &b, &f, &err);
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_string_equal(err.msg, "set inet byway reach4: File exists (Interval overlaps)");
	f = (struct nft_failure){.code = -EPERM};
	native_error(&rs, &b, &f, &err);
	assert_int_equal(err.kind, ERR_PERMISSION);
	assert_non_null(strstr(err.msg, "CAP_NET_ADMIN"));
}

static void test_backend_names(void **state)
{
	enum fw_backend_id id = FW_NUM_BACKENDS;
	struct err err = {0};

	(void)state;
	assert_int_equal(firewall_backend_parse("iptables", &id, &err), 0);
	assert_int_equal(id, FW_IPTABLES);
	assert_int_equal(firewall_backend_parse("iptable", &id, &err), -EINVAL);
	assert_int_equal(id, FW_IPTABLES);
	assert_non_null(strstr(err.msg, "did you mean iptables?"));
}

/* ---- iptables ---- */

static void rules_text(const struct fw_table *t, const char *chain, enum ipt_family family,
		       struct buf *b)
{
	for (const struct fw_chain *c = t->chains; c; c = c->next)
		for (const struct fw_rule *r = c->rules; r && !strcmp(c->name, chain); r = r->next)
			assert_int_equal(ipt_rule_text(t, c, r, family, 7, b, NULL), 0);
}

static void test_iptables_rules(void **state)
{
	_ruleset_ struct ruleset rs;
	_buf_ struct buf b = {0}, v6 = {0};

	(void)state;
	build_sample(&rs);
	rules_text(rs.tables, "forward", IPT_IP4, &b);
	assert_string_equal(b.data,
			    "-A BYWAY-forward -m devgroup --src-group 77 -m set --match-set "
			    "byway-reach4.7 src,dst -m set ! --match-set byway-reach4.7 dst,src -j "
			    "BYWAY-other\n");
	buf_reset(&b);
	rules_text(rs.tables, "other", IPT_IP4, &b);
	assert_string_equal(b.data,
			    "-A BYWAY-other -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
			    "-A BYWAY-other -p 17 -m connmark ! --mark 0x0/0x800000 -m udp --dport "
			    "1:1023 ! -o lo -j DROP\n"
			    "-A BYWAY-other -p 6 -m tcp --dport 80:90 -j ACCEPT\n"
			    "-A BYWAY-other -s 10.1.2.3 -j DROP\n"
			    "-A BYWAY-other -j RETURN\n");
	rules_text(rs.tables, "other", IPT_IP6, &v6);
	assert_null(strstr(v6.data, "10.1.2.3"));
	assert_null(strstr(v6.data, "80:90"));
}

static const struct cgroup slice = {
	.path = "a.slice/b\\x2d.slice", .nft_path = "unified/a.slice/b\\x2d.slice", .level = 2, .id = 77};

/* What a tunnel needs: packets that are routed by their mark, and refused. */
static struct fw_table *build_capture(struct ruleset *rs)
{
	struct fw_chain *route, *out;
	struct fw_table *t;
	struct fw_rule *r;

	ruleset_init(rs);
	t = ruleset_table(rs, FW_INET, "byway");
	route = fw_base_chain(t, "route", FW_CHAIN_ROUTE, FW_HOOK_OUTPUT, -150, FW_ACCEPT);
	out = fw_base_chain(t, "out", FW_CHAIN_FILTER, FW_HOOK_OUTPUT, 0, FW_ACCEPT);
	fw_match_u32(fw_rule(route, FW_ACCEPT), FW_MARK, FW_OP_ANY_BIT, 0x200000);
	fw_match_u32(fw_rule(route, FW_RETURN), FW_MARK, FW_OP_EQ, 7);
	fw_match_u8(fw_rule(route, FW_ACCEPT), FW_CT_DIRECTION, FW_OP_EQ, FW_CT_REPLY);
	fw_match_u32(fw_rule(route, FW_ACCEPT), FW_DADDR_TYPE, FW_OP_EQ, RTN_LOCAL);
	r = fw_rule_set_bits(route, FW_SET_CT_MARK, 0x200000);
	fw_match_u32(r, FW_SKUID, FW_OP_EQ, 1000);
	fw_match_cgroup(fw_rule_set_bits(route, FW_SET_CT_MARK, 0x1000000), &slice);
	fw_match_u32(fw_rule(route, FW_ACCEPT), FW_CT_MARK, FW_OP_NO_BIT, 0x1000000);
	r = fw_rule_set_bits(route, FW_SET_MARK, 0x100000);
	fw_match_u8(r, FW_L4PROTO, FW_OP_EQ, 6);
	fw_rule(out, FW_REJECT);
	return t;
}

static void test_capture_print(void **state)
{
	_ruleset_ struct ruleset rs;
	_buf_ struct buf b = {0};

	(void)state;
	build_capture(&rs);
	ruleset_print(&rs, &b);
	assert_string_equal(b.data,
			    "table inet byway {\n"
			    "\tcomment \"byway\"\n"
			    "\tchain route {\n"
			    "\t\ttype route hook output priority -150; policy accept;\n"
			    "\t\tmeta mark & 0x00200000 != 0 accept\n"
			    "\t\tmeta mark 0x00000007 return\n"
			    "\t\tct direction 1 accept\n"
			    "\t\tfib daddr type 2 accept\n"
			    "\t\tmeta skuid 1000 ct mark set ct mark | 0x00200000\n"
			    "\t\tsocket cgroupv2 level 2 \"a.slice/b\\x2d.slice\" ct mark set ct mark | "
			    "0x01000000\n"
			    "\t\tct mark & 0x01000000 == 0 accept\n"
			    "\t\tmeta l4proto 6 meta mark set meta mark | 0x00100000\n"
			    "\t}\n"
			    "\tchain out {\n"
			    "\t\ttype filter hook output priority 0; policy accept;\n"
			    "\t\treject with icmpx admin-prohibited\n"
			    "\t}\n"
			    "}\n");
}

static void test_capture_iptables(void **state)
{
	_ruleset_ struct ruleset rs;
	_buf_ struct buf b = {0}, out = {0}, out6 = {0};
	struct fw_table *t = build_capture(&rs);
	struct fw_rule *broadcast = fw_rule(t->chains, FW_ACCEPT);
	struct err err = {0};

	(void)state;
	fw_match_u32(broadcast, FW_DADDR_TYPE, FW_OP_EQ, RTN_BROADCAST);
	assert_int_equal(ipt_rule_text(t, t->chains, broadcast, IPT_IP4, 7, &b, &err), -EOPNOTSUPP);
	rules_text(t, "out", IPT_IP4, &out);
	rules_text(t, "out", IPT_IP6, &out6);
	ruleset_done(&rs);
	t = build_capture(&rs);
	buf_reset(&b);
	rules_text(t, "route", IPT_IP4, &b);
	assert_string_equal(b.data,
			    "-A BYWAY-route -m mark ! --mark 0x0/0x200000 -j RETURN\n"
			    "-A BYWAY-route -m mark --mark 0x7 -j RETURN\n"
			    "-A BYWAY-route -m conntrack --ctdir REPLY -j RETURN\n"
			    "-A BYWAY-route -m addrtype --dst-type LOCAL -j RETURN\n"
			    "-A BYWAY-route -m owner --uid-owner 1000 -j CONNMARK --set-xmark "
			    "0x200000/0x200000\n"
			    "-A BYWAY-route -m cgroup --path a.slice/b\\x2d.slice -j CONNMARK --set-xmark "
			    "0x1000000/0x1000000\n"
			    "-A BYWAY-route -m connmark --mark 0x0/0x1000000 -j RETURN\n"
			    "-A BYWAY-route -p 6 -j MARK --set-xmark 0x100000/0x100000\n");
	assert_string_equal(out.data,
			    "-A BYWAY-out -j REJECT --reject-with icmp-admin-prohibited\n");
	assert_string_equal(out6.data,
			    "-A BYWAY-out -j REJECT --reject-with icmp6-adm-prohibited\n");
}

static struct fw_table *build_take(struct ruleset *rs)
{
	static const enum fw_field key[] = {FW_IP4_SADDR};
	struct fw_table *t, *bridge;
	struct fw_chain *c;
	struct fw_set *map;
	struct fw_elem e = {.verdict = FW_RETURN};

	ruleset_init(rs);
	t = ruleset_table(rs, FW_INET, "byway");
	map = fw_verdict_map(t, "who", 1, key);
	fw_elem_ip(&e, 0, &(struct ip){.family = AF_INET, .bytes = {10, 0, 0, 1}});
	fw_set_add(map, &e);
	c = fw_chain(t, "judge");
	fw_match_u8(fw_rule(c, FW_DROP), FW_TCP_FLAGS, FW_OP_NO_BIT, 2);
	fw_rule_vmap(c, map);
	bridge = ruleset_table(rs, FW_BRIDGE, "byway");
	c = fw_chain(bridge, "take");
	fw_rule(c, FW_TAKE);
	return t;
}

static void test_take(void **state)
{
	_ruleset_ struct ruleset rs;
	_buf_ struct buf b = {0}, rules = {0};
	struct fw_table *t = build_take(&rs);

	(void)state;
	ruleset_print(&rs, &b);
	assert_non_null(strstr(b.data, "10.0.0.1 : return"));
	assert_non_null(strstr(b.data, "\t\ttcp flags & 2 == 0 drop\n"));
	assert_non_null(strstr(b.data, "\t\tmeta pkttype set host ether daddr set 02:00:62:77:61:79\n"));
	rules_text(t, "judge", IPT_IP4, &rules);
	assert_string_equal(rules.data,
			    "-A BYWAY-judge -p 6 -m tcp --tcp-flags SYN NONE -j DROP\n"
			    "-A BYWAY-judge -s 10.0.0.1 -j RETURN\n");
}

static const enum fw_field service[] = {FW_L4PROTO, FW_DPORT};

static struct fw_target target_at(const char *ip, uint16_t port)
{
	struct fw_target to = {.port = port};

	assert_int_equal(ip_parse(ip, &to.addr, NULL), 0);
	return to;
}

static void add_target(struct fw_set *map, uint8_t proto, uint16_t port, const char *ip,
		       uint16_t to_port)
{
	struct fw_elem e = {.to = target_at(ip, to_port)};

	fw_elem_u8_range(&e, 0, proto, proto);
	fw_elem_u16_range(&e, 1, port, port);
	fw_set_add(map, &e);
}

/* What sends packets on: to one place, by maps, and in segments that fit. */
static struct fw_table *build_dnat(struct ruleset *rs)
{
	struct fw_target dns4 = target_at("10.0.0.3", 53), dns6 = target_at("fd00::3", 53),
			 host = target_at("fd00::4", 0);
	struct fw_set *map4, *map6;
	struct fw_chain *c;
	struct fw_table *t;

	ruleset_init(rs);
	t = ruleset_table(rs, FW_INET, "byway");
	map4 = fw_dnat_map(t, "published4", AF_INET, 2, service);
	map6 = fw_dnat_map(t, "published6", AF_INET6, 2, service);
	add_target(map4, 6, 8080, "10.0.0.1", 80);
	add_target(map6, 17, 53, "fd00::1", 5353);
	c = fw_base_chain(t, "nat", FW_CHAIN_NAT, FW_HOOK_PREROUTING, -100, FW_ACCEPT);
	fw_match_u32(fw_rule_dnat_map(c, map4), FW_DADDR_TYPE, FW_OP_EQ, RTN_LOCAL);
	fw_rule_dnat_map(c, map6);
	fw_match_u8(fw_rule_dnat(c, &dns4), FW_L4PROTO, FW_OP_EQ, 17);
	fw_match_u8(fw_rule_dnat(c, &dns6), FW_L4PROTO, FW_OP_EQ, 17);
	fw_rule_dnat(c, &host);
	c = fw_base_chain(t, "clamp", FW_CHAIN_FILTER, FW_HOOK_FORWARD, -150, FW_ACCEPT);
	fw_match_name(fw_rule(c, FW_CLAMP_MSS), FW_OIFNAME, FW_OP_EQ, "eth0");
	return t;
}

static void test_dnat_print(void **state)
{
	_ruleset_ struct ruleset rs;
	_buf_ struct buf b = {0};

	(void)state;
	build_dnat(&rs);
	ruleset_print(&rs, &b);
	assert_string_equal(
		b.data,
		"table inet byway {\n"
		"\tcomment \"byway\"\n"
		"\tmap published4 {\n"
		"\t\ttype inet_proto . inet_service : ipv4_addr . inet_service;\n"
		"\t\telements = {\n"
		"\t\t\t6 . 8080 : 10.0.0.1 . 80\n"
		"\t\t}\n"
		"\t}\n"
		"\tmap published6 {\n"
		"\t\ttype inet_proto . inet_service : ipv6_addr . inet_service;\n"
		"\t\telements = {\n"
		"\t\t\t17 . 53 : fd00::1 . 5353\n"
		"\t\t}\n"
		"\t}\n"
		"\tchain nat {\n"
		"\t\ttype nat hook prerouting priority -100; policy accept;\n"
		"\t\tfib daddr type 2 dnat ip to meta l4proto . th dport map @published4\n"
		"\t\tdnat ip6 to meta l4proto . th dport map @published6\n"
		"\t\tmeta l4proto 17 dnat ip to 10.0.0.3:53\n"
		"\t\tmeta l4proto 17 dnat ip6 to [fd00::3]:53\n"
		"\t\tdnat ip6 to [fd00::4]\n"
		"\t}\n"
		"\tchain clamp {\n"
		"\t\ttype filter hook forward priority -150; policy accept;\n"
		"\t\toifname \"eth0\" tcp flags syn tcp option maxseg size set rt mtu\n"
		"\t}\n"
		"}\n");
}

static void test_dnat_iptables(void **state)
{
	_ruleset_ struct ruleset rs;
	_buf_ struct buf v4 = {0}, v6 = {0}, clamp = {0}, elem = {0}, sets = {0};
	struct fw_table *t = build_dnat(&rs);

	(void)state;
	rules_text(t, "nat", IPT_IP4, &v4);
	assert_string_equal(v4.data,
			    "-A BYWAY-nat -m addrtype --dst-type LOCAL -j BYWAY-to.published4\n"
			    "-A BYWAY-nat -p 17 -j DNAT --to-destination 10.0.0.3:53\n");
	rules_text(t, "nat", IPT_IP6, &v6);
	assert_string_equal(v6.data,
			    "-A BYWAY-nat -j BYWAY-to.published6\n"
			    "-A BYWAY-nat -p 17 -j DNAT --to-destination [fd00::3]:53\n"
			    "-A BYWAY-nat -j DNAT --to-destination [fd00::4]\n");
	rules_text(t, "clamp", IPT_IP6, &clamp);
	assert_string_equal(clamp.data, "-A BYWAY-clamp -p 6 -o eth0 -m tcp --tcp-flags SYN,RST SYN "
					"-j TCPMSS --clamp-mss-to-pmtu\n");
	assert_int_equal(ipt_target_text(t, t->sets, t->sets->elems, &elem, NULL), 0);
	assert_string_equal(elem.data, "-A BYWAY-to.published4 -p 6 -m tcp --dport 8080:8080 -m comment "
				       "--comment \"6 . 8080 : 10.0.0.1 . 80\" -j DNAT "
				       "--to-destination 10.0.0.1:80\n");
	assert_int_equal(ipset_create_text(t, 7, &sets, NULL), 0);
	assert_int_equal(sets.len, 0);
}

static void test_ipset(void **state)
{
	_ruleset_ struct ruleset rs;
	_buf_ struct buf b = {0}, rules = {0};
	struct fw_table *t;
	struct fw_set *nat, *map;

	(void)state;
	ruleset_init(&rs);
	t = ruleset_table(&rs, FW_INET, "byway-tunnel-number-one");
	nat = fw_interval_set(t, "nat4_0", 1, net4);
	add_net(nat, "0.0.0.0/0"); /* hash:net refuses the prefix 0 */
	map = fw_verdict_map(t, "a_map_with_rather_a_long_name", 3, flow);
	for (uint16_t i = 1; i <= 16; i++)
		add_flow(map, "10.0.0.0/24", 17, i, i, FW_DROP);
	add_flow(map, "10.0.0.0/24", 17, 100, 200, FW_DROP);
	assert_int_equal(ipset_create_text(t, 7, &b, NULL), 0);
	assert_non_null(strstr(b.data, " 0.0.0.0/1\n"));
	assert_non_null(strstr(b.data, " 128.0.0.0/1\n"));
	assert_non_null(strstr(b.data, " hash:net,port family inet "));
	assert_non_null(strstr(b.data, " 10.0.0.0/24,udp:16\n"));
	assert_null(strstr(b.data, "100"));
	fw_rule_vmap(fw_chain(t, "c"), map);
	rules_text(t, "c", IPT_IP4, &rules);
	assert_non_null(strstr(rules.data, " src,dst -j DROP\n"));
	assert_non_null(strstr(rules.data, "-s 10.0.0.0/24 -m udp --dport 100:200 -j DROP\n"));
	assert_null(strstr(rules.data, ":16 "));
	for (char *line = strtok(b.data, "\n"); line; line = strtok(NULL, "\n")) {
		unsigned int generation;
		const char *name = strchr(line, ' ') + 1;
		size_t len = strcspn(name, " ");

		assert_true(len < IPSET_NAME_MAX);
		assert_true(ipset_name_of(t, name, len, &generation));
		assert_int_equal(generation, 7);
	}
}

static void test_names(void **state)
{
	struct fw_table byway = {.name = "byway"}, tunnel = {.name = "byway-tunnel"};
	char name[IPT_NAME_MAX], other[IPT_NAME_MAX];

	(void)state;
	ipt_chain_name(&byway, "forward", name);
	assert_string_equal(name, "BYWAY-forward");
	assert_true(ipt_chain_of(&byway, name, strlen(name)));
	assert_false(ipt_chain_of(&tunnel, name, strlen(name)));
	ipt_chain_name(&tunnel, "a_chain_whose_name_is_long_one", name);
	ipt_chain_name(&tunnel, "a_chain_whose_name_is_long_two", other);
	assert_true(strlen(name) < IPT_NAME_MAX);
	assert_string_not_equal(name, other);
	assert_true(ipt_chain_of(&tunnel, name, strlen(name)));
	assert_false(ipt_chain_of(&byway, name, strlen(name)));
	assert_false(ipt_chain_of(&byway, "FORWARD", 7));
}

static int compare(const char *a, const char *b, struct err *err)
{
	_buf_ struct buf x = {0}, y = {0};

	buf_adds(&x, a);
	buf_adds(&y, b);
	return compare_listing("table", &x, &y, err);
}

static void test_compare(void **state)
{
	static const char one[] =
		"table inet t {\n\tset s {\n\t\telements = { 1, 2,\n\t\t\t3 }\n\t}\n}\n";
	static const char same[] =
		"table inet t {\n\tset s {\n\t\telements = { 3, 1,\n\t\t\t2 }\n\t}\n}\n";
	static const char less[] = "table inet t {\n\tset s {\n\t\telements = { 1, 3 }\n\t}\n}\n";
	struct err err = {0};

	(void)state;
	assert_int_equal(compare(one, same, &err), 0);
	assert_int_equal(compare(one, less, &err), -ESTALE);
	assert_string_equal(err.msg, "table, set s: expected \"2\", found \"3\"");
	assert_int_equal(compare(less, one, &err), -ESTALE);
}

/* What others have written into a comment is no jump of theirs, nor of ours. */
static void test_listed_targets(void **state)
{
	static const char listing[] =
		"*filter\n"
		":FORWARD ACCEPT [0:0]\n"
		"-A FORWARD -m comment --comment \"in front of -j BYWAY-forward \" -j MINE\n"
		"-A FORWARD -m comment --comment \"a \\\" -j BYWAY-forward \"\n"
		"-A INPUT -i eth0 -j BYWAY-input\n"
		"-A OUTPUT -j LOG --log-prefix \"to -j BYWAY-output \"\n"
		"COMMIT\n";
	static const char *const targets[] = {NULL, "MINE", NULL, "BYWAY-input", "LOG"};
	struct save_line l = {.next = listing};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		const char *found;
		size_t len = 0;

		assert_true(save_next(&l));
		found = save_target(&l, &len);
		assert_int_equal(!found, !targets[i]);
		if (found)
			assert_true(len == strlen(targets[i]) && !memcmp(found, targets[i], len));
	}
	assert_false(save_next(&l));
	assert_false(save_has_jump(listing, "filter", "FORWARD", "BYWAY-forward"));
	assert_true(save_has_jump(listing, "filter", "INPUT", "BYWAY-input"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_print_twins),
		cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_protocols),
		cmocka_unit_test(test_interval_elements),
		cmocka_unit_test(test_concatenated_elements),
		cmocka_unit_test(test_many_elements),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_backend_names),
		cmocka_unit_test(test_iptables_rules),
		cmocka_unit_test(test_capture_print),
		cmocka_unit_test(test_capture_iptables),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_dnat_print),
		cmocka_unit_test(test_dnat_iptables),
		cmocka_unit_test(test_ipset),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_listed_targets),
	};

	return cmocka_run_group_tests_name("ruleset", tests, NULL, NULL);
}
