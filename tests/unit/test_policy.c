// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/util.h"
#include "firewall/ruleset.h"
#include "vpc/policy.h"

static struct policy *parse(const char *text)
{
	struct policy *p = NULL;
	struct err err = {0};

	if (policy_parse("p.json", text, strlen(text), &p, &err) < 0)
		fail_msg("%s", err.msg);
	return p;
}

static struct ip ip(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(text, &ip, NULL), 0);
	return ip;
}

/* Reading */

static const char web[] =
	"{\n"
	"  \"version\": \"1.0\",\n"
	"  \"subnet\": \"10.0.1.0/24\",\n"
	"  \"namespace\": \"production-web-tier\",\n"
	"  \"ingress\": [\n"
	"    {\n"
	"      \"port\": 80,\n"
	"      \"protocol\": \"tcp\",\n"
	"      \"source\": \"0.0.0.0/0\",\n"
	"      \"action\": \"allow\",\n"
	"      \"description\": \"HTTP from anywhere\"\n"
	"    },\n"
	"    {\"port\": \"8000-8080\", \"protocol\": \"udp\", \"source\": \"fd00::/8\","
	" \"action\": \"deny\"},\n"
	"    {\"protocol\": \"icmp\", \"source\": \"10.0.0.7\", \"action\": \"allow\"}\n"
	"  ],\n"
	"  \"egress\": [{\"action\": \"allow\"}]\n"
	"}\n";

static void test_parse(void **state)
{
	_policy_ struct policy *p = parse(web);
	const struct policy_rule *r = p->rules[POLICY_INGRESS];
	char text[CIDR_STRLEN];

	(void)state;
	assert_string_equal(p->netns, "production-web-tier");
	assert_true(p->has_subnet);
	assert_string_equal(cidr_format(&p->subnet, text), "10.0.1.0/24");
	assert_int_equal(p->n_rules[POLICY_INGRESS], 3);
	assert_int_equal(p->n_rules[POLICY_EGRESS], 1);
	assert_true(r[0].allow && !r[0].any_peer);
	assert_int_equal(r[0].port_lo, 80);
	assert_int_equal(r[0].port_hi, 80);
	assert_int_equal(r[0].proto_lo, IPPROTO_TCP);
	assert_int_equal(r[0].line, 6);
	assert_string_equal(r[0].description, "HTTP from anywhere");
	assert_false(r[1].allow);
	assert_int_equal(r[1].port_lo, 8000);
	assert_int_equal(r[1].port_hi, 8080);
	assert_string_equal(cidr_format(&r[1].peer, text), "fd00::/8");
	assert_int_equal(r[1].line, 13);
	assert_null(r[1].description);
	assert_string_equal(cidr_format(&r[2].peer, text), "10.0.0.7/32");
	assert_int_equal(r[2].proto_hi, IPPROTO_ICMP);
	assert_true(p->rules[POLICY_EGRESS][0].any_peer);
	assert_int_equal(p->rules[POLICY_EGRESS][0].proto_hi, 255);
	assert_int_equal(p->rules[POLICY_EGRESS][0].port_hi, 65535);
}

static void test_parse_minimal(void **state)
{
	_policy_ struct policy *p = parse("{}");
	_policy_ struct policy *q = parse("{\"ingress\": [], \"egress\": []}");

	(void)state;
	assert_null(p->netns);
	assert_false(p->has_subnet);
	assert_int_equal(p->n_rules[POLICY_INGRESS] + q->n_rules[POLICY_INGRESS], 0);
	policy_free(NULL);
}

static void assert_bad(const char *text, const char *message)
{
	struct policy *p = NULL;
	struct err err = {0};

	assert_int_equal(policy_parse("p.json", text, strlen(text), &p, &err), -EINVAL);
	assert_null(p);
	assert_int_equal(err.kind, ERR_USAGE);
	assert_string_equal(err.msg, message);
	assert_int_equal(policy_parse("p.json", text, strlen(text), &p, NULL), -EINVAL);
}

#define IN(rule) "{\"ingress\": [" rule "]}"
#define OUT(rule) "{\"egress\": [" rule "]}"
#define PORT_FORMS "a port is a number from 1 to 65535, or a range such as \"8000-8080\", not "

static void test_errors(void **state)
{
	(void)state;
	assert_bad("[]", "p.json:1:1: a policy is a mapping of keys to values");
	assert_bad("{\"version\": \"2.0\"}",
		   "p.json:1:13: this byway reads policies of version 1.0, not 2.0");
	assert_bad("{\"ingres\": []}",
		   "p.json:1:2: a policy has no key \"ingres\": did you mean \"ingress\"?");
	assert_bad("{\"ingress\": {}}", "p.json:1:13: ingress is a list");
	assert_bad("{\"egress\": [1]}",
		   "p.json:1:13: an egress rule is a mapping of keys to values");
	assert_bad("{\"subnet\": \"10.0.1.0\"}",
		   "p.json:1:12: '10.0.1.0' has no prefix length: expected ADDRESS/PREFIX such as "
		   "10.0.0.0/16");
	assert_bad(IN("\n  {\"port\": 80, \"protocol\": \"tcp\"}"),
		   "p.json:2:3: an ingress rule needs the key \"action\"");
	assert_bad(IN("{\"action\": \"alow\"}"),
		   "p.json:1:25: an action is deny or allow, not \"alow\"");
	assert_bad(IN("{\"action\": \"allow\", \"action\": \"deny\"}"),
		   "p.json:1:34: \"action\" is given twice");
	assert_bad(IN("{\"soruce\": \"::/0\"}"),
		   "p.json:1:15: an ingress rule has no key \"soruce\": did you mean \"source\"?");
	assert_bad(IN("{\"destination\": \"::/0\"}"),
		   "p.json:1:15: an ingress rule is about where packets come from: \"source\", not "
		   "\"destination\"");
	assert_bad(OUT("{\"source\": \"::/0\"}"),
		   "p.json:1:14: an egress rule is about where packets go to: \"destination\", not "
		   "\"source\"");
	assert_bad(IN("{\"source\": \"10.0.1.5/24\"}"),
		   "p.json:1:25: '10.0.1.5/24' has host bits set; the network is 10.0.1.0/24");
	assert_bad(IN("{\"source\": \"10.0.0\"}"),
		   "p.json:1:25: '10.0.0' is not a CIDR: expected ADDRESS/PREFIX such as 10.0.0.0/16");
	assert_bad(IN("{\"protocol\": \"sctp\"}"),
		   "p.json:1:27: a protocol is tcp, udp, icmp or any, not \"sctp\"");
}

static void test_port_errors(void **state)
{
	(void)state;
	assert_bad(IN("{\"action\": \"allow\", \"port\": 80, \"protocol\": \"icmp\"}"),
		   "p.json:1:42: icmp has no ports: remove \"port\"");
	assert_bad(IN("{\"port\": 80, \"action\": \"allow\"}"),
		   "p.json:1:23: a port needs a protocol that has ports: \"protocol\": \"tcp\" or "
		   "\"udp\"");
	assert_bad(IN("{\"port\": 80, \"action\": \"allow\", \"protocol\": \"any\"}"),
		   "p.json:1:23: a port needs a protocol that has ports: \"protocol\": \"tcp\" or "
		   "\"udp\"");
	assert_bad(IN("{\"port\": 0}"), "p.json:1:23: " PORT_FORMS "\"0\"");
	assert_bad(IN("{\"port\": 65536}"), "p.json:1:23: " PORT_FORMS "\"65536\"");
	assert_bad(IN("{\"port\": -1}"), "p.json:1:23: " PORT_FORMS "\"-1\"");
	assert_bad(IN("{\"port\": \"80-\"}"), "p.json:1:23: " PORT_FORMS "\"80-\"");
	assert_bad(IN("{\"port\": \"80 \"}"), "p.json:1:23: " PORT_FORMS "\"80 \"");
	assert_bad(IN("{\"port\": 8e1}"), "p.json:1:23: " PORT_FORMS "\"8e1\"");
	assert_bad(IN("{\"port\": \"18446744073709551696\"}"),
		   "p.json:1:23: " PORT_FORMS "\"18446744073709551696\"");
	assert_bad(IN("{\"port\": \"90-80\"}"),
		   "p.json:1:23: the port range 90-80 is empty: did you mean 80-90?");
}

/* Meaning */

static bool allows(const struct policy *p, enum policy_dir dir, const char *src, const char *dst,
		   uint8_t proto, uint16_t port, unsigned int line)
{
	struct ip from = ip(src), to = ip(dst);
	const struct policy_rule *r;
	bool allowed;

	r = policy_eval(p, dir, &from, &to, proto, port, &allowed);
	assert_int_equal(r ? r->line : 0, line);
	return allowed;
}

static void test_eval(void **state)
{
	_policy_ struct policy *p =
		parse("{\"ingress\": [\n"
		      "{\"action\": \"deny\", \"source\": \"10.0.0.5\"},\n"
		      "{\"action\": \"allow\", \"source\": \"10.0.0.0/16\", \"protocol\": \"tcp\","
		      " \"port\": \"20-25\"},\n"
		      "{\"action\": \"allow\", \"protocol\": \"icmp\"}\n"
		      "]}");

	(void)state;
	assert_false(allows(p, POLICY_INGRESS, "10.0.0.5", "10.0.1.2", IPPROTO_TCP, 22, 2));
	assert_true(allows(p, POLICY_INGRESS, "10.0.0.6", "10.0.1.2", IPPROTO_TCP, 22, 3));
	assert_false(allows(p, POLICY_INGRESS, "10.0.0.6", "10.0.1.2", IPPROTO_TCP, 26, 0));
	assert_false(allows(p, POLICY_INGRESS, "10.0.0.6", "10.0.1.2", IPPROTO_UDP, 22, 0));
	assert_false(allows(p, POLICY_INGRESS, "10.1.0.6", "10.0.1.2", IPPROTO_TCP, 22, 0));
	assert_true(allows(p, POLICY_INGRESS, "10.1.0.6", "10.0.1.2", IPPROTO_ICMP, 0, 4));
	assert_true(allows(p, POLICY_INGRESS, "fd00::1", "fd00::2", IPPROTO_ICMPV6, 0, 4));
	assert_false(allows(p, POLICY_INGRESS, "fd00::1", "fd00::2", IPPROTO_ICMP, 0, 0));
	assert_true(allows(p, POLICY_EGRESS, "10.0.1.2", "10.0.0.5", IPPROTO_TCP, 22, 0));
}

/* Compilation: a reader of our own for the rulesets that come out */

static size_t count_chains(const struct ruleset *rs)
{
	size_t n = 0;

	for (const struct fw_chain *c = rs->tables->chains; c; c = c->next)
		n++;
	return n;
}

static const struct fw_chain *find_chain(const struct ruleset *rs, const char *name)
{
	const struct fw_chain *c = rs->tables->chains;

	while (c && strcmp(c->name, name))
		c = c->next;
	return c;
}

static size_t count_maps(const struct ruleset *rs)
{
	size_t n = 0;

	for (const struct fw_set *s = rs->tables->sets; s; s = s->next)
		n++;
	return n;
}

static size_t count_elements(const struct ruleset *rs)
{
	size_t n = 0;

	for (const struct fw_set *s = rs->tables->sets; s; s = s->next)
		n += s->n_elems;
	return n;
}

struct packet {
	struct ip src, dst;
	uint8_t proto;
	uint16_t dport;
};

static bool key_of(const struct packet *pk, enum fw_field f, struct fw_value *ret)
{
	bool is_v6 = pk->src.family == AF_INET6;
	bool is_src = f == FW_IP4_SADDR || f == FW_IP6_SADDR;
	uint16_t port = htons(pk->dport);

	*ret = (struct fw_value){0};
	switch ((int)f) {
	case FW_IP4_SADDR:
	case FW_IP4_DADDR:
	case FW_IP6_SADDR:
	case FW_IP6_DADDR:
		memcpy(ret->bytes, is_src ? pk->src.bytes : pk->dst.bytes, 16);
		return is_v6 == (f == FW_IP6_SADDR || f == FW_IP6_DADDR);
	case FW_NFPROTO:
		ret->bytes[0] = is_v6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
		return true;
	case FW_L4PROTO:
		ret->bytes[0] = pk->proto;
		return true;
	case FW_DPORT:
		memcpy(ret->bytes, &port, sizeof(port));
		return true;
	}
	fail_msg("unexpected field %d", (int)f);
	return false;
}

static const struct fw_elem *look_up(const struct fw_set *map, const struct packet *pk)
{
	struct fw_value key[FW_KEY_FIELDS];
	const struct fw_elem *found = NULL;

	for (size_t f = 0; f < map->n_fields; f++)
		if (!key_of(pk, map->fields[f], &key[f]))
			return NULL;
	for (size_t i = 0; i < map->n_elems; i++) {
		const struct fw_elem *e = &map->elems[i];
		size_t f = 0;

		while (f < map->n_fields && memcmp(e->lo[f].bytes, key[f].bytes, 16) <= 0 &&
		       memcmp(key[f].bytes, e->hi[f].bytes, 16) <= 0)
			f++;
		if (f < map->n_fields)
			continue;
		assert_null(found); /* the kernel refuses overlapping elements */
		found = e;
	}
	return found;
}

static bool matches(const struct fw_rule *r, const struct packet *pk)
{
	for (size_t i = 0; i < r->n_matches; i++) {
		const struct fw_match *m = &r->match[i];
		const uint8_t *hi = m->op == FW_OP_RANGE ? m->hi.bytes : m->lo.bytes;
		struct fw_value v;

		if (m->fields[0] == FW_CT_MARK || m->fields[0] == FW_CT_STATE ||
		    m->fields[0] == FW_ICMP6_TYPE)
			return false; /* about state, mark or neighbour discovery */
		assert_true(m->op == FW_OP_EQ || m->op == FW_OP_RANGE);
		if (!key_of(pk, m->fields[0], &v) || memcmp(v.bytes, m->lo.bytes, 2) < 0 ||
		    memcmp(v.bytes, hi, 2) > 0)
			return false;
	}
	return true;
}

/* The verdict of a chain on the first packet of a connection. */
static enum fw_verdict walk(const struct fw_chain *c, const struct packet *pk)
{
	for (const struct fw_rule *r = c->rules; r; r = r->next) {
		const struct fw_elem *e;

		if (r->verdict != FW_VMAP) {
			if (matches(r, pk))
				return r->verdict;
			continue;
		}
		e = look_up(r->map, pk);
		if (e)
			return e->verdict;
	}
	return FW_ACCEPT;
}

static void assert_jump(const struct fw_rule *r, enum fw_field field, const char *ifname,
			const char *target)
{
	assert_int_equal(r->verdict, FW_JUMP);
	assert_string_equal(r->target->name, target);
	assert_int_equal(r->n_matches, 1);
	assert_int_equal(r->match[0].fields[0], field);
	assert_string_equal(r->match[0].lo.bytes, ifname);
}

static void assert_rule(const struct fw_rule *r, enum fw_verdict verdict, enum fw_field field)
{
	assert_int_equal(r->verdict, verdict);
	assert_int_equal(r->n_matches, 1);
	assert_int_equal(r->match[0].fields[0], field);
}

static void test_ruleset_shape(void **state)
{
	_policy_ struct policy *p = parse(web);
	_ruleset_ struct ruleset rs;
	const struct fw_chain *c;
	const struct fw_rule *r;

	(void)state;
	ruleset_init(&rs);
	policy_ruleset(p, "eth0", &rs);
	assert_string_equal(rs.tables->name, "byway");
	assert_int_equal(count_chains(&rs), 5);
	c = find_chain(&rs, "input");
	assert_int_equal(c->hook, FW_HOOK_INPUT);
	assert_int_equal(c->policy, FW_ACCEPT);
	assert_jump(c->rules, FW_IIFNAME, "eth0", "ingress");
	assert_null(c->rules->next);
	c = find_chain(&rs, "output");
	assert_jump(c->rules, FW_OIFNAME, "eth0", "egress");
	assert_null(c->rules->next);
	c = find_chain(&rs, "forward");
	assert_jump(c->rules, FW_IIFNAME, "eth0", "ingress");
	assert_jump(c->rules->next, FW_OIFNAME, "eth0", "egress");

	r = find_chain(&rs, "ingress")->rules;
	assert_rule(r, FW_DROP, FW_CT_MARK);
	assert_rule(r = r->next, FW_ACCEPT, FW_CT_STATE);
	assert_rule(r = r->next, FW_ACCEPT, FW_ICMP6_TYPE);
	assert_int_equal(r->match[0].lo.bytes[0], 135);
	assert_rule(r = r->next, FW_ACCEPT, FW_ICMP6_TYPE);
	assert_int_equal(r->match[0].lo.bytes[0], 136);
	r = r->next;
	assert_string_equal(r->map->name, "ingress_ip4_0");
	assert_int_equal(r->map->n_elems, 2);
	r = r->next;
	assert_string_equal(r->map->name, "ingress_ip6_0");
	assert_int_equal(r->map->n_elems, 1);
	r = r->next;
	assert_int_equal(r->verdict, FW_DROP);
	assert_null(r->next);
}

/* "db" has a network of each family, "gone" has none, "broken" cannot be looked up. */
static int stand_for(const struct policy_rule *r, struct cidr ret[POLICY_GROUP_CIDRS], size_t *n,
		     void *arg)
{
	++*(int *)arg;
	if (!strcmp(r->group, "broken"))
		return -EIO;
	if (strcmp(r->group, "v/db"))
		return 0;
	assert_int_equal(cidr_parse("10.0.2.0/24", &ret[0], NULL), 0);
	assert_int_equal(cidr_parse("fd00:2::/64", &ret[1], NULL), 0);
	*n = 2;
	return 0;
}

static void test_groups(void **state)
{
	_policy_ struct policy *p = parse("{\"ingress\": [\n"
					  "{\"action\": \"allow\", \"source\": \"v/db\"},\n"
					  " {\"action\": \"allow\", \"source\": \"10.9.0.1\"}],\n"
					  "\"egress\": [{\"action\": \"allow\",\n"
					  "  \"destination\": \"gone\"}]}");
	int asked = 0;

	(void)state;
	assert_true(p->has_groups);
	assert_string_equal(p->rules[POLICY_INGRESS][0].group, "v/db");
	assert_int_equal(p->rules[POLICY_INGRESS][0].group_line, 2);
	assert_int_equal(p->rules[POLICY_EGRESS][0].group_line, 5);
	assert_int_equal(p->rules[POLICY_EGRESS][0].group_column, 18);
	/* Until somebody says who that is, it is nobody. */
	assert_false(allows(p, POLICY_INGRESS, "10.0.2.9", "10.0.1.1", 6, 80, 0));
	assert_int_equal(policy_resolve(p, stand_for, &asked), 0);
	assert_int_equal(asked, 2);
	assert_int_equal(p->n_rules[POLICY_INGRESS], 3);
	assert_true(allows(p, POLICY_INGRESS, "10.0.2.9", "10.0.1.1", 6, 80, 2));
	assert_true(allows(p, POLICY_INGRESS, "fd00:2::9", "fd00:1::1", 6, 80, 2));
	assert_true(allows(p, POLICY_INGRESS, "10.9.0.1", "10.0.1.1", 6, 80, 3));
	assert_false(allows(p, POLICY_INGRESS, "10.0.3.9", "10.0.1.1", 6, 80, 0));
	/* Nobody is not everybody. */
	assert_int_equal(p->n_rules[POLICY_EGRESS], 1);
	assert_false(allows(p, POLICY_EGRESS, "10.0.1.1", "10.0.2.9", 6, 80, 0));
}

static void test_groups_compiled(void **state)
{
	_policy_ struct policy *p = parse("{\"ingress\": [{\"action\": \"allow\", \"source\": "
					  "\"gone\"}], \"egress\": [{\"action\": \"allow\", "
					  "\"destination\": \"v/db\"}]}");
	_ruleset_ struct ruleset rs;
	const struct fw_rule *last;
	int asked = 0;

	(void)state;
	ruleset_init(&rs);
	assert_int_equal(policy_resolve(p, stand_for, &asked), 0);
	policy_ruleset(p, "eth0", &rs);
	assert_int_equal(count_maps(&rs), 2); /* one of each family, for v/db */
	for (last = find_chain(&rs, "ingress")->rules; last->next; last = last->next)
		;
	assert_int_equal(last->verdict, FW_DROP);
	assert_int_equal(last->n_matches, 0);
}

static void test_group_that_cannot_be_looked_up(void **state)
{
	_policy_ struct policy *p = parse(IN("{\"action\": \"allow\", \"source\": \"broken\"}"));
	int asked = 0;

	(void)state;
	assert_int_equal(policy_resolve(p, stand_for, &asked), -EIO);
}

static void test_direction_without_rules_is_open(void **state)
{
	_policy_ struct policy *p = parse(IN("{\"action\": \"deny\"}"));
	_ruleset_ struct ruleset rs;
	const struct fw_rule *r;

	(void)state;
	ruleset_init(&rs);
	policy_ruleset(p, "eth0", &rs);
	r = find_chain(&rs, "egress")->rules;
	assert_rule(r, FW_DROP, FW_CT_MARK);
	assert_null(r->next);
}

static void test_no_policy(void **state)
{
	_ruleset_ struct ruleset rs;

	(void)state;
	ruleset_init(&rs);
	policy_ruleset(NULL, "eth0", &rs);
	assert_int_equal(count_chains(&rs), 1);
	assert_rule(rs.tables->chains->rules, FW_ACCEPT, FW_CT_STATE);
	assert_null(rs.tables->chains->rules->next);
}

/* Small worlds, so that everything overlaps. */
static const char *const peers[] = {
	"0.0.0.0/0",   "10.0.0.0/8", "10.0.0.0/30", "10.0.0.2/31", "10.0.0.3",
	"10.0.0.4/30", "::/0",       "fd00::/126",  "fd00::2/127", "fd00::1",
};
static const char *const protocols[] = {"tcp", "udp", "icmp", "any"};

/* peer_key: NULL for a rule without an address. */
static void random_rule(struct buf *b, const char *peer_key)
{
	size_t proto = (size_t)random() % ARRAY_SIZE(protocols);
	long lo = 1 + random() % 6, hi = lo + random() % 4;

	buf_addf(b, "{\"action\": \"%s\"", random() % 2 ? "allow" : "deny");
	if (peer_key && random() % 4)
		buf_addf(b, ", \"%s\": \"%s\"", peer_key,
			 peers[(size_t)random() % ARRAY_SIZE(peers)]);
	buf_addf(b, ", \"protocol\": \"%s\"", protocols[proto]);
	if (proto < 2 && random() % 4)
		buf_addf(b, ", \"port\": \"%ld-%ld\"", lo, hi);
	buf_adds(b, "}");
}

static struct policy *random_policy(void)
{
	static const char *const dirs[][2] = {{"ingress", "source"}, {"egress", "destination"}};
	_buf_ struct buf b = {0};

	for (size_t d = 0; d < ARRAY_SIZE(dirs); d++) {
		const char *peer_key = random() % 3 ? dirs[d][1] : NULL;

		buf_addf(&b, "%s\"%s\": [", d ? ", " : "{", dirs[d][0]);
		for (long n = random() % 24, i = 0; i < n; i++) {
			buf_adds(&b, i ? ", " : "");
			random_rule(&b, peer_key);
		}
		buf_adds(&b, "]");
	}
	buf_adds(&b, "}");
	return parse(b.data);
}

static struct ip random_ip(int family)
{
	struct ip base = ip(family == AF_INET ? "10.0.0.0" : "fd00::");

	if (random() % 16 == 0)
		base = ip(family == AF_INET ? "192.0.2.0" : "2001:db8::");
	return ip_add(base, (uint64_t)random() % 9);
}

static struct packet random_packet(void)
{
	static const uint8_t protos[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6,
					 IPPROTO_SCTP};
	int family = random() % 2 ? AF_INET : AF_INET6;
	struct packet pk = {
		.src = random_ip(family),
		.dst = random_ip(family),
		.proto = protos[(size_t)random() % ARRAY_SIZE(protos)],
	};

	/* The kernel reads whatever stands where a port would be. */
	pk.dport = (uint16_t)(random() % 12);
	return pk;
}

static void test_compiled_equals_first_match(void **state)
{
	(void)state;
	srandom(7);
	for (int i = 0; i < 400; i++) {
		_policy_ struct policy *p = random_policy();
		_ruleset_ struct ruleset rs;

		ruleset_init(&rs);
		policy_ruleset(p, "eth0", &rs);
		for (int j = 0; j < 300; j++) {
			struct packet pk = random_packet();
			enum policy_dir dir = random() % 2 ? POLICY_INGRESS : POLICY_EGRESS;
			const char *chain = dir == POLICY_INGRESS ? "ingress" : "egress";
			bool allowed;

			policy_eval(p, dir, &pk.src, &pk.dst, pk.proto, pk.dport, &allowed);
			assert_int_equal(walk(find_chain(&rs, chain), &pk),
					 allowed ? FW_ACCEPT : FW_DROP);
		}
	}
}

static bool elements_overlap(const struct fw_set *s, const struct fw_elem *a,
			     const struct fw_elem *b)
{
	for (size_t f = 0; f < s->n_fields; f++)
		if (memcmp(a->lo[f].bytes, b->hi[f].bytes, 16) > 0 ||
		    memcmp(b->lo[f].bytes, a->hi[f].bytes, 16) > 0)
			return false;
	return true;
}

static void test_elements_never_overlap(void **state)
{
	(void)state;
	srandom(8);
	for (int i = 0; i < 400; i++) {
		_policy_ struct policy *p = random_policy();
		_ruleset_ struct ruleset rs;

		ruleset_init(&rs);
		policy_ruleset(p, "eth0", &rs);
		for (const struct fw_set *s = rs.tables->sets; s; s = s->next) {
			assert_true(s->n_elems > 0);
			for (size_t a = 0; a < s->n_elems; a++)
				for (size_t b = 0; b < a; b++)
					assert_false(
						elements_overlap(s, &s->elems[a], &s->elems[b]));
		}
	}
}

static void test_redundant_rules_are_left_out(void **state)
{
	_policy_ struct policy *p =
		parse(IN("{\"action\": \"allow\", \"source\": \"10.0.0.0/8\"},"
			 "{\"action\": \"deny\", \"source\": \"10.1.0.0/16\"},"
			 "{\"action\": \"allow\", \"source\": \"10.2.0.0/16\"}"));
	_ruleset_ struct ruleset rs;

	(void)state;
	ruleset_init(&rs);
	policy_ruleset(p, "eth0", &rs);
	assert_int_equal(count_elements(&rs), 1);
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

enum form { BY_PORT, BY_ADDRESS, BY_ADDRESS6, OVERLAPPING };

static void big_rule(struct buf *b, int i, enum form form)
{
	buf_addf(b, "%s{\"action\": \"allow\", \"protocol\": \"tcp\", \"port\": %d", i ? ",\n" : "",
		 form == BY_PORT ? i + 1 : 443);
	if (form == BY_ADDRESS)
		buf_addf(b, ", \"source\": \"10.%d.%d.0/24\"", i / 256, i % 256);
	if (form == BY_ADDRESS6)
		buf_addf(b, ", \"source\": \"fd00:0:0:%x::/64\"", i);
	if (form == OVERLAPPING)
		buf_addf(b, ", \"source\": \"%d.0.0.0/%d\"", i % 7 * 32, 3 + i % 2);
	buf_adds(b, "}");
}

/* Returns how long the compilation took; parsing stands in the output. */
static double compile_ms(int rules, enum form form, size_t want_maps)
{
	_buf_ struct buf b = {0};
	_policy_ struct policy *p = NULL;
	_ruleset_ struct ruleset rs;
	double start, parsed, compiled;

	buf_adds(&b, "{\"ingress\": [");
	for (int i = 0; i < rules; i++)
		big_rule(&b, i, form);
	buf_adds(&b, "]}");
	start = now_ms();
	p = parse(b.data);
	parsed = now_ms();
	ruleset_init(&rs);
	policy_ruleset(p, "eth0", &rs);
	compiled = now_ms();
	print_message("# %d rules, form %d: parsed in %.1f ms, compiled in %.1f ms\n", rules,
		      (int)form, parsed - start, compiled - parsed);
	assert_int_equal(count_maps(&rs), want_maps);
	return compiled - parsed;
}

/* However many rules, they are one map in each family, or two where they overlap. The generous
 * bounds are for sanitizers and busy machines. */
static void test_short_lists_without_addresses(void **state)
{
	_ruleset_ struct ruleset rs;
	_policy_ struct policy *p = parse(IN("{\"action\": \"deny\", \"protocol\": \"tcp\", \"port\": 22},"
					     "{\"action\": \"allow\", \"protocol\": \"tcp\"}"));
	const struct fw_rule *r;

	(void)state;
	ruleset_init(&rs);
	policy_ruleset(p, "eth0", &rs);
	assert_int_equal(count_maps(&rs), 0);
	r = find_chain(&rs, "ingress")->rules->next->next->next->next;
	assert_int_equal(r->verdict, FW_DROP);
	assert_int_equal(r->n_matches, 2); /* of both families at once */
	r = r->next;
	assert_rule(r, FW_ACCEPT, FW_L4PROTO);
	r = r->next;
	assert_int_equal(r->verdict, FW_DROP);
	assert_int_equal(r->n_matches, 0);
	assert_null(r->next);
}

static void test_large_policies(void **state)
{
	(void)state;
	assert_true(compile_ms(1000, BY_PORT, 2) < 100);
	assert_true(compile_ms(1000, BY_ADDRESS, 1) < 100);
	assert_true(compile_ms(20000, BY_PORT, 2) < 20000);
	assert_true(compile_ms(20000, BY_ADDRESS, 1) < 20000);
	assert_true(compile_ms(20000, BY_ADDRESS6, 1) < 20000);
	assert_true(compile_ms(20000, OVERLAPPING, 2) < 20000);
}

static void test_too_many_rules(void **state)
{
	_buf_ struct buf b = {0};
	struct policy *p;
	struct err err;

	(void)state;
	buf_adds(&b, "{\"ingress\": [");
	for (int i = 0; i <= POLICY_RULES_MAX; i++)
		big_rule(&b, i, BY_ADDRESS);
	buf_adds(&b, "]}");
	assert_int_equal(policy_parse("p.json", b.data, b.len, &p, &err), -EINVAL);
	assert_string_equal(err.msg, "p.json:20001:1: ingress has more than 20000 entries");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_minimal),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_port_errors),
		cmocka_unit_test(test_eval),
		cmocka_unit_test(test_ruleset_shape),
		cmocka_unit_test(test_direction_without_rules_is_open),
		cmocka_unit_test(test_no_policy),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_groups_compiled),
		cmocka_unit_test(test_group_that_cannot_be_looked_up),
		cmocka_unit_test(test_compiled_equals_first_match),
		cmocka_unit_test(test_elements_never_overlap),
		cmocka_unit_test(test_redundant_rules_are_left_out),
		cmocka_unit_test(test_short_lists_without_addresses),
		cmocka_unit_test(test_large_policies),
		cmocka_unit_test(test_too_many_rules),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
