// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sets as ipset(8) sets.
 *
 * hash:net takes a set of one address, hash:net,port one of address, protocol and port,
 * hash:net,iface one of an address and an interface, or of interfaces alone, with the prefix /0
 * (networks inside networks: ipset_nest.c). A verdict map has no counterpart: its elements become
 * rules of their own (iptables_rule.c), but for those that come in numbers: what an address and an
 * exact port decide goes to a hash:net,port for each verdict, what the address alone decides to a
 * hash:net. A map of destinations is a chain.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "firewall/field.h"
#include "firewall/iptables.h"

#define MAP_MIN 16    /* elements of one kind that are worth an ipset */
#define MAXELEM 65536 /* ipset's default */

static bool is_address(enum fw_field f)
{
	enum fw_format format = fw_field_info(f)->format;

	return format == FW_FORMAT_IP4 || format == FW_FORMAT_IP6;
}

static bool is_name(enum fw_field f)
{
	return fw_field_info(f)->format == FW_FORMAT_NAME;
}

/* The index of the first field that is such, or -1. */
static int find(const enum fw_field fields[], size_t n, bool (*is)(enum fw_field))
{
	for (size_t i = 0; i < n; i++)
		if (is(fields[i]))
			return (int)i;
	return -1;
}

static int find_address(const struct fw_set *s)
{
	return find(s->fields, s->n_fields, is_address);
}

static int find_name(const struct fw_set *s)
{
	return find(s->fields, s->n_fields, is_name);
}

static bool is_port(enum fw_field f)
{
	return f == FW_SPORT || f == FW_DPORT;
}

static bool is_l4proto(enum fw_field f)
{
	return f == FW_L4PROTO;
}

static unsigned int be16(const struct fw_value *v)
{
	return (unsigned int)v->bytes[0] << 8 | v->bytes[1];
}

static bool is_everything(const struct fw_value *lo, const struct fw_value *hi, enum fw_field f)
{
	for (size_t i = 0; i < fw_field_len(f); i++)
		if (lo->bytes[i] != 0 || hi->bytes[i] != 0xff)
			return false;
	return true;
}

static const char *protocol_name(uint8_t proto)
{
	return proto == IPPROTO_TCP ? "tcp" : proto == IPPROTO_UDP ? "udp" : NULL;
}

/* Address, tcp or udp, one port: what a hash:net,port can hold. */
static bool is_net_port(const struct fw_set *s, const struct fw_elem *e)
{
	int proto = find(s->fields, s->n_fields, is_l4proto),
	    port = find(s->fields, s->n_fields, is_port);

	return proto >= 0 && port >= 0 && s->n_fields == 3 &&
	       e->lo[proto].bytes[0] == e->hi[proto].bytes[0] &&
	       protocol_name(e->lo[proto].bytes[0]) && be16(&e->lo[port]) &&
	       be16(&e->lo[port]) == be16(&e->hi[port]);
}

/* An address, and anything in the other fields. */
static bool is_net(const struct fw_set *s, const struct fw_elem *e)
{
	for (size_t i = 0; i < s->n_fields; i++)
		if (!is_address(s->fields[i]) && !is_everything(&e->lo[i], &e->hi[i], s->fields[i]))
			return false;
	return true;
}

bool ipset_part_has(const struct ipset_part *p, const struct fw_set *s, const struct fw_elem *e)
{
	switch (p->elems) {
	case IPSET_ALL:
		return true;
	case IPSET_NETS:
		return e->verdict == p->verdict && is_net(s, e);
	case IPSET_NET_PORTS:
		return e->verdict == p->verdict && is_net_port(s, e);
	}
	return false;
}

static enum ipt_family family_of(const struct fw_set *s)
{
	int address = find_address(s);

	return address >= 0 && fw_field_len(s->fields[address]) == 16 ? IPT_IP6 : IPT_IP4;
}

static size_t map_parts(const struct fw_set *s, struct ipset_part parts[IPSET_PARTS])
{
	static const struct {
		const char *suffix, *type;
		enum ipset_elems elems;
		enum fw_verdict verdict;
	} kinds[IPSET_PARTS] = {
		{"-ap", "hash:net,port", IPSET_NET_PORTS, FW_ACCEPT},
		{"-dp", "hash:net,port", IPSET_NET_PORTS, FW_DROP},
		{"-an", "hash:net", IPSET_NETS, FW_ACCEPT},
		{"-dn", "hash:net", IPSET_NETS, FW_DROP},
		{"-rp", "hash:net,port", IPSET_NET_PORTS, FW_RETURN},
		{"-rn", "hash:net", IPSET_NETS, FW_RETURN},
	};
	size_t n = 0;

	for (size_t k = 0; find_address(s) >= 0 && k < IPSET_PARTS; k++) {
		struct ipset_part p = {.type = kinds[k].type,
				       .family = family_of(s),
				       .elems = kinds[k].elems,
				       .verdict = kinds[k].verdict};
		size_t members = 0;

		for (size_t i = 0; i < s->n_elems; i++)
			members += ipset_part_has(&p, s, &s->elems[i]);
		snprintf(p.name, sizeof(p.name), "%s%s", s->name, kinds[k].suffix);
		if (members >= MAP_MIN)
			parts[n++] = p;
	}
	return n;
}

static void add_part(struct ipset_part parts[IPSET_PARTS], size_t *n, const struct fw_set *s,
		     const char *suffix, const char *type, enum ipt_family family)
{
	struct ipset_part *p = &parts[(*n)++];

	*p = (struct ipset_part){.type = type, .family = family, .elems = IPSET_ALL};
	snprintf(p->name, sizeof(p->name), "%s%s", s->name, suffix);
}

/* Of address, protocol and port. */
static bool is_service(const struct fw_set *s)
{
	return s->n_fields == 3 && find_address(s) >= 0 &&
	       find(s->fields, s->n_fields, is_l4proto) >= 0 &&
	       find(s->fields, s->n_fields, is_port) >= 0;
}

bool ipset_nests(const struct fw_set *s)
{
	bool pair = s->interval && s->n_fields == 2 && find_address(s) >= 0 && find_name(s) >= 0;

	assert(!pair || find_address(s) == 0);
	return pair;
}

int ipset_parts(const struct fw_set *s, struct ipset_part parts[IPSET_PARTS], size_t *ret_n,
		struct err *err)
{
	bool has_address = find_address(s) >= 0, has_name = find_name(s) >= 0;
	size_t n = 0;

	if (s->is_vmap || s->dnat_family) {
		*ret_n = s->is_vmap ? map_parts(s, parts) : 0;
		return 0;
	}
	if (is_service(s)) {
		add_part(parts, &n, s, "", "hash:net,port", family_of(s));
		parts[0].elems = IPSET_NET_PORTS;
		*ret_n = n;
		return 0;
	}
	if (s->n_fields != (size_t)has_address + has_name)
		return err_set(err, ERR_UNSUPPORTED, -EOPNOTSUPP,
			       "set %s: ipset(8) has no type for such keys", s->name);
	if (!has_address) {
		add_part(parts, &n, s, "-4", "hash:net,iface", IPT_IP4);
		add_part(parts, &n, s, "-6", "hash:net,iface", IPT_IP6);
	} else {
		add_part(parts, &n, s, "", has_name ? "hash:net,iface" : "hash:net", family_of(s));
	}
	*ret_n = n;
	return 0;
}

static bool is_source(enum fw_field f)
{
	return f == FW_IP4_SADDR || f == FW_IP6_SADDR || f == FW_IIFNAME || f == FW_SPORT;
}

const char *ipset_directions(const struct fw_set *s, const enum fw_field fields[])
{
	int address = find_address(s), name = find_name(s);
	int port = find(s->fields, s->n_fields, is_port);
	int second = name >= 0 ? name : port;
	bool first_src = address < 0 || is_source(fields[address]);

	if (second < 0)
		return first_src ? "src" : "dst";
	if (is_source(fields[second]))
		return first_src ? "src,src" : "dst,src";
	return first_src ? "src,dst" : "dst,dst";
}

/* The dimensions after the first of an element, ",eth0" or ",tcp:80". */
static void print_rest(const struct ipset_part *p, const struct fw_set *s, const struct fw_elem *e,
		       struct buf *b)
{
	int name = find_name(s), proto = find(s->fields, s->n_fields, is_l4proto);
	int port = find(s->fields, s->n_fields, is_port);

	if (name >= 0)
		buf_addf(b, ",%.16s", (const char *)e->lo[name].bytes);
	if (p->elems == IPSET_NET_PORTS)
		buf_addf(b, ",%s:%u", protocol_name(e->lo[proto].bytes[0]), be16(&e->lo[port]));
}

static void print_line(const struct ipset_part *p, const struct fw_set *s, const struct fw_elem *e,
		       const char *verb, const char *name, const char *net, struct buf *b)
{
	buf_addf(b, "%s %s %s", verb, name, net);
	print_rest(p, s, e, b);
	buf_adds(b, "\n");
}

static int elem_text(const struct ipset_part *p, const struct fw_set *s, const struct fw_elem *e,
		     const char *verb, const char *name, struct buf *b, struct err *err)
{
	static const char *const halves[][2] = {{"0.0.0.0/1", "128.0.0.0/1"}, {"::/1", "8000::/1"}};
	static const char *const all[] = {"0.0.0.0/0", "::/0"};
	int address = find_address(s), prefix = 0;
	_buf_ struct buf net = {0};

	if (address >= 0)
		prefix = fw_prefix_len(&e->lo[address], &e->hi[address],
				       fw_field_len(s->fields[address]));
	if (prefix < 0)
		return err_set(err, ERR_UNSUPPORTED, -EOPNOTSUPP,
			       "set %s: ipset(8) takes no range that is not a prefix", s->name);
	if (prefix > 0) {
		fw_value_print(s->fields[address], &e->lo[address], &e->hi[address], &net);
		print_line(p, s, e, verb, name, net.data, b);
	} else if (!strcmp(p->type, "hash:net,iface")) {
		print_line(p, s, e, verb, name, all[p->family], b);
	} else { /* the other types refuse the prefix 0 */
		print_line(p, s, e, verb, name, halves[p->family][0], b);
		print_line(p, s, e, verb, name, halves[p->family][1], b);
	}
	return 0;
}

static int part_text(const struct fw_table *t, const struct ipset_part *p, const struct fw_set *s,
		     unsigned int generation, const char *verb, struct buf *b, struct err *err)
{
	char name[IPSET_NAME_MAX];
	int r = 0;

	ipset_name(t, p->name, generation, name);
	for (size_t i = 0; i < s->n_elems && !r; i++)
		if (ipset_part_has(p, s, &s->elems[i]))
			r = elem_text(p, s, &s->elems[i], verb, name, b, err);
	return r;
}

int ipset_elems_text(const struct fw_table *t, const struct fw_set *s, unsigned int generation,
		     const char *verb, struct buf *b, struct err *err)
{
	struct ipset_part parts[IPSET_PARTS];
	size_t n;
	int r;

	if (s->is_vmap && s->n_elems)
		return err_set(err, ERR_UNSUPPORTED, -EOPNOTSUPP,
			       "map %s: iptables changes a verdict map only as a whole", s->name);
	r = ipset_parts(s, parts, &n, err);
	for (size_t i = 0; !r && i < n; i++)
		r = part_text(t, &parts[i], s, generation, verb, b, err);
	return r;
}

static int create_text(const struct fw_table *t, const struct fw_set *s, unsigned int generation,
		       struct buf *b, struct err *err)
{
	struct ipset_part parts[IPSET_PARTS];
	char name[IPSET_NAME_MAX];
	size_t n;
	int r = ipset_parts(s, parts, &n, err);

	for (size_t i = 0; !r && i < n; i++) {
		ipset_name(t, parts[i].name, generation, name);
		buf_addf(b, "create %s %s family %s maxelem %zu\n", name, parts[i].type,
			 parts[i].family == IPT_IP6 ? "inet6" : "inet",
			 MAX((size_t)MAXELEM, 4 * s->n_elems));
		r = part_text(t, &parts[i], s, generation, "add", b, err);
	}
	return r;
}

static int set_create_text(const struct fw_table *t, const struct fw_set *s,
			   unsigned int generation, struct buf *b, struct err *err)
{
	_cleanup_(ipset_elems_done) struct fw_set nested = {0};

	if (!ipset_nests(s))
		return create_text(t, s, generation, b, err);
	nested = ipset_nested(s);
	return create_text(t, &nested, generation, b, err);
}

int ipset_create_text(const struct fw_table *t, unsigned int generation, struct buf *b,
		      struct err *err)
{
	int r = 0;

	for (const struct fw_set *s = t->sets; s && !r; s = s->next)
		r = set_create_text(t, s, generation, b, err);
	return r;
}
