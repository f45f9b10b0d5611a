// SPDX-License-Identifier: GPL-2.0-or-later
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/util.h"
#include "vpc/policy.h"

#define PORT_MAX 65535
#define DESCRIPTION_MAX 4096
#define NETNS_MAX 255
#define GROUP_MAX 127 /* two names with a slash between */

enum proto { PROTO_TCP, PROTO_UDP, PROTO_ICMP, PROTO_ANY, NUM_PROTOS };

static const char *const proto_words[] = {
	[PROTO_TCP] = "tcp",
	[PROTO_UDP] = "udp",
	[PROTO_ICMP] = "icmp",
	[PROTO_ANY] = "any",
};
static_assert(ARRAY_SIZE(proto_words) == NUM_PROTOS, "proto_words[] lacks a protocol");

static const struct {
	uint8_t lo, hi;
} proto_ranges[NUM_PROTOS] = {
	[PROTO_TCP] = {IPPROTO_TCP, IPPROTO_TCP},
	[PROTO_UDP] = {IPPROTO_UDP, IPPROTO_UDP},
	[PROTO_ICMP] = {IPPROTO_ICMP, IPPROTO_ICMP},
	[PROTO_ANY] = {0, UINT8_MAX},
};

/* A rule being read, and what only its errors need. */
struct reading {
	struct policy_rule rule;
	enum proto proto;
	struct fy_node *port; /* NULL without one */
};

static int parse_port(const char *text, const char **ret_end, uint16_t *ret)
{
	unsigned long n;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || n > PORT_MAX)
		return -EINVAL;
	*ret_end = end;
	*ret = (uint16_t)n;
	return 0;
}

/* 80, "80" or "8000-8080". */
static int read_port(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	char text[32] = "";
	const char *end;
	uint16_t lo, hi;
	int r;

	r = doc_read_text(d, node, "a port", text, sizeof(text), err);
	if (r < 0)
		return r;
	r = parse_port(text, &end, &lo);
	hi = lo;
	if (r == 0 && *end == '-')
		r = parse_port(end + 1, &end, &hi);
	if (r < 0 || *end || hi == 0)
		return doc_error(d, node, err,
				 "a port is a number from 1 to 65535, or a range such as "
				 "\"8000-8080\", not \"%s\"",
				 text);
	if (lo > hi)
		return doc_error(d, node, err, "the port range %u-%u is empty: did you mean %u-%u?",
				 lo, hi, hi, lo);
	rd->port = node;
	rd->rule.port_lo = lo;
	rd->rule.port_hi = hi;
	return 0;
}

static int read_protocol(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	size_t i = 0;
	int r;

	r = doc_read_word(d, node, "a protocol", proto_words, NUM_PROTOS, &i, err);
	if (r == 0)
		rd->proto = (enum proto)i;
	return r;
}

/* Not an address, and not one with a mistake in it. */
static bool is_group(const char *text)
{
	return !strchr(text, ':') && text[strspn(text, "0123456789./")];
}

static int read_peer(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	struct cidr *peer = &rd->rule.peer;
	char text[GROUP_MAX + 1];
	int r;

	r = doc_read_text(d, node, "an address, a CIDR or a name", text, sizeof(text), err);
	if (r < 0)
		return r;
	rd->rule.any_peer = false;
	if (is_group(text)) {
		free(rd->rule.group);
		rd->rule.group = xstrdup(text);
		rd->rule.nobody = true;
		rd->rule.group_line = doc_line(d, node);
		rd->rule.group_column = doc_column(d, node);
		return 0;
	}
	r = strchr(text, '/') ? cidr_parse_network(text, peer, err) : cidr_parse(text, peer, err);
	return r ? doc_error_at(d, node, err) : 0;
}

static int read_action(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	static const char *const words[] = {"deny", "allow"};
	struct reading *rd = into;
	size_t i = 0;
	int r;

	r = doc_read_word(d, node, "an action", words, ARRAY_SIZE(words), &i, err);
	if (r == 0)
		rd->rule.allow = i == 1;
	return r;
}

static int read_description(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;

	return doc_read_string(d, node, "a description", DESCRIPTION_MAX, &rd->rule.description,
			       err);
}

/* clang-format off */
#define SHARED_KEYS                                                                                \
	{"port", read_port},                                                                       \
	{"protocol", read_protocol},                                                               \
	{"action", read_action, DOC_REQUIRED},                                                     \
	{"description", read_description}
/* clang-format on */

static const struct doc_key ingress_keys[] = {
	SHARED_KEYS,
	{"source", read_peer},
	{"destination", .refusal = "an ingress rule is about where packets come from: \"source\", "
				   "not \"destination\""},
};

static const struct doc_key egress_keys[] = {
	SHARED_KEYS,
	{"destination", read_peer},
	{"source",
	 .refusal = "an egress rule is about where packets go to: \"destination\", not \"source\""},
};

static const struct {
	const char *what, *list;
	const struct doc_key *keys;
	size_t n_keys;
} rule_forms[POLICY_NUM_DIRS] = {
	[POLICY_INGRESS] = {"an ingress rule", "ingress", ingress_keys, ARRAY_SIZE(ingress_keys)},
	[POLICY_EGRESS] = {"an egress rule", "egress", egress_keys, ARRAY_SIZE(egress_keys)},
};

static int check_port(struct doc *d, const struct reading *rd, struct err *err)
{
	if (!rd->port || rd->proto == PROTO_TCP || rd->proto == PROTO_UDP)
		return 0;
	if (rd->proto == PROTO_ICMP)
		return doc_error(d, rd->port, err, "icmp has no ports: remove \"port\"");
	return doc_error(
		d, rd->port, err,
		"a port needs a protocol that has ports: \"protocol\": \"tcp\" or \"udp\"");
}

/* Room for one rule more: the array doubles whenever the number of rules is a power of two. */
static struct policy_rule *add_rule(struct policy *p, enum policy_dir dir)
{
	size_t n = p->n_rules[dir];

	if ((n & (n - 1)) == 0)
		p->rules[dir] = xrealloc(p->rules[dir], n ? n * 2 : 1, sizeof(*p->rules[dir]));
	p->n_rules[dir]++;
	return &p->rules[dir][n];
}

static int read_rule(struct doc *d, struct fy_node *node, struct policy *p, enum policy_dir dir,
		     struct err *err)
{
	struct reading rd = {
		.rule = {.any_peer = true, .port_hi = PORT_MAX},
		.proto = PROTO_ANY,
	};
	int r;

	r = doc_read_map(d, node, rule_forms[dir].what, rule_forms[dir].keys,
			 rule_forms[dir].n_keys, &rd, err);
	if (r == 0)
		r = check_port(d, &rd, err);
	if (r < 0) {
		free(rd.rule.description);
		free(rd.rule.group);
		return r;
	}
	rd.rule.proto_lo = proto_ranges[rd.proto].lo;
	rd.rule.proto_hi = proto_ranges[rd.proto].hi;
	rd.rule.line = doc_line(d, node);
	p->has_groups |= rd.rule.group != NULL;
	*add_rule(p, dir) = rd.rule;
	return 0;
}

static int read_ingress_rule(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return read_rule(d, node, into, POLICY_INGRESS, err);
}

static int read_egress_rule(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return read_rule(d, node, into, POLICY_EGRESS, err);
}

static int read_ingress(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return doc_read_list(d, node, rule_forms[POLICY_INGRESS].list, POLICY_RULES_MAX,
			     read_ingress_rule, into, err);
}

static int read_egress(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return doc_read_list(d, node, rule_forms[POLICY_EGRESS].list, POLICY_RULES_MAX,
			     read_egress_rule, into, err);
}

static int read_version(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	char text[16];
	int r;

	(void)into;
	r = doc_read_text(d, node, "the version", text, sizeof(text), err);
	if (r < 0)
		return r;
	return strcmp(text, "1.0")
		       ? doc_error(d, node, err, "this byway reads policies of version 1.0, not %s",
				   text)
		       : 0;
}

static int read_subnet(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct policy *p = into;
	char text[CIDR_STRLEN + 1];
	int r;

	r = doc_read_text(d, node, "a subnet", text, sizeof(text), err);
	if (r < 0)
		return r;
	if (cidr_parse_network(text, &p->subnet, err))
		return doc_error_at(d, node, err);
	p->has_subnet = true;
	p->subnet_line = doc_line(d, node);
	return 0;
}

static int read_netns(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct policy *p = into;

	p->netns_line = doc_line(d, node);
	return doc_read_string(d, node, "a namespace", NETNS_MAX, &p->netns, err);
}

static const struct doc_key policy_keys[] = {
	{"version", read_version}, {"subnet", read_subnet}, {"namespace", read_netns},
	{"ingress", read_ingress}, {"egress", read_egress},
};

int policy_parse(const char *name, const char *text, size_t len, struct policy **ret,
		 struct err *err)
{
	_policy_ struct policy *p = xcalloc(1, sizeof(*p));
	_doc_ struct doc *d = NULL;
	int r;

	r = doc_parse(name, text, len, DOC_JSON, &d, err);
	if (r == 0)
		r = doc_read_map(d, doc_root(d), "a policy", policy_keys, ARRAY_SIZE(policy_keys),
				 p, err);
	if (r == 0)
		*ret = TAKE_PTR(p);
	return r;
}
