// SPDX-License-Identifier: GPL-2.0-or-later
#include <sqlite3.h>
#include <string.h>

#include "base/buf.h"
#include "store/store.h"
#include "vpc/mapping.h"
#include "vpc/port.h"
#include "vpc/vpc.h"
#include "vpc/view.h"

static json_t *text_cidr(const struct cidr *c)
{
	char buf[CIDR_STRLEN];

	return c->addr.family ? json_string(cidr_format(c, buf)) : json_null();
}

static json_t *text_ip(struct ip ip)
{
	char buf[IP_STRLEN];

	return ip.family ? json_string(ip_format(&ip, buf)) : json_null();
}

static json_t *text_or_null(const char *s)
{
	return *s ? json_string(s) : json_null();
}

static bool has_nat(const struct subnet *s, const struct nat *nat)
{
	return nat && s->is_public && !s->has_way && nat->state == ROW_ACTIVE;
}

/* Names and networks hold no character that JSON would have escaped: name_check(), cidr_format(). */
static const char *col(sqlite3_stmt *q, int i)
{
	return (const char *)sqlite3_column_text(q, i);
}

static int add_subnets(struct store *st, const struct vpc *v, bool nat, struct buf *b,
		       struct err *err)
{
	struct ip gateway_ip = vpc_gateway(&v->cidr);
	_stmt_ sqlite3_stmt *q = NULL;
	const char *separator = "";
	char gateway[IP_STRLEN];
	int r = store_query(st, &q, err,
			    "SELECT name, cidr, type, netns, veth_host, veth_ns, type = 'public' "
			    "AND NOT EXISTS (SELECT 1 FROM egress_use u "
			    "WHERE u.vpc = s.vpc AND u.kind = 'subnet' AND u.name = s.name) "
			    "FROM subnet s WHERE vpc = ?1 ORDER BY name",
			    "s", v->name);

	ip_format(&gateway_ip, gateway);
	while (!r && (r = store_step(st, q, err)) == 1) {
		buf_addf(b,
			 "%s\n    {\n      \"name\": \"%s\",\n      \"cidr\": \"%s\",\n      \"type\": "
			 "\"%s\",\n      \"namespace\": \"%s\",\n      \"veth_host\": \"%s\",\n      "
			 "\"veth_ns\": \"%s\",\n      \"gateway\": \"%s\",\n      \"nat_enabled\": "
			 "%s\n    }",
			 separator, col(q, 0), col(q, 1), col(q, 2), col(q, 3), col(q, 4), col(q, 5), gateway,
			 nat && sqlite3_column_int(q, 6) ? "true" : "false");
		separator = ",";
		r = 0;
	}
	buf_adds(b, *separator ? "\n  " : "");
	return r;
}

static int add_peering(struct store *st, const struct vpc *v, struct buf *b, struct err *err)
{
	_stmt_ sqlite3_stmt *q = NULL;
	const char *separator = "";
	int r = store_query(st, &q, err,
			    "SELECT vpc.name, vpc.cidr, peer.state FROM peer JOIN vpc "
			    "ON vpc.name = CASE WHEN peer.a = ?1 THEN peer.b ELSE peer.a END "
			    "WHERE peer.a = ?1 OR peer.b = ?1 ORDER BY vpc.name",
			    "s", v->name);

	while (!r && (r = store_step(st, q, err)) == 1) {
		buf_addf(b,
			 "%s\n    {\n      \"peer_vpc\": \"%s\",\n      \"peer_cidr\": \"%s\",\n      "
			 "\"status\": \"%s\"\n    }",
			 separator, col(q, 0), col(q, 1), col(q, 2));
		separator = ",";
		r = 0;
	}
	buf_adds(b, *separator ? "\n  " : "");
	return r;
}

int view_state_file(struct store *st, const char *vpc, struct buf *ret, struct err *err)
{
	char cidr[CIDR_STRLEN];
	struct nat nat;
	struct vpc v;
	bool has_nat;
	int r = vpc_load(st, vpc, &v, err);

	if (r)
		return r;
	has_nat = !nat_load(st, vpc, &nat, NULL) && nat.state == ROW_ACTIVE;
	buf_addf(ret,
		 "{\n  \"name\": \"%s\",\n  \"cidr\": \"%s\",\n  \"bridge\": \"%s\",\n  "
		 "\"created\": \"%s\",\n  \"subnets\": [",
		 v.name, cidr_format(&v.cidr, cidr), v.bridge, v.created);
	r = add_subnets(st, &v, has_nat, ret, err);
	buf_adds(ret, "],\n  \"peering\": [");
	if (!r)
		r = add_peering(st, &v, ret, err);
	buf_adds(ret, "]\n}\n");
	return r;
}

json_t *view_subnet(const struct vpc *v, const struct subnet *s, const struct nat *nat)
{
	char mac[MAC_STRLEN];

	return json_pack("{s:s, s:s, s:o, s:o, s:s, s:s, s:o, s:o, s:s, s:s, s:s, s:o, s:o, s:b, s:i, "
			 "s:s, s:s}",
			 "vpc", s->vpc, "name", s->name, "cidr", text_cidr(&s->cidr), "cidr6",
			 text_cidr(&s->cidr6), "type", s->is_public ? "public" : "private", "namespace",
			 s->netns, "address", text_ip(s->addr), "address6", text_ip(s->addr6), "mac",
			 mac_format(&s->mac, mac), "veth_host", s->veth_host, "veth_ns", s->veth_ns,
			 "gateway", text_ip(vpc_gateway(&v->cidr)), "gateway6",
			 v->cidr6.addr.family ? text_ip(vpc_gateway(&v->cidr6)) : json_null(),
			 "nat_enabled", has_nat(s, nat), "segment", (int)s->segment, "state",
			 row_state_name(s->state), "created", s->created);
}

static json_t *id(uint32_t value)
{
	return value == UINT32_MAX ? json_null()
				   : json_integer(value); /* PORT_NO_UID, PORT_NO_GID */
}

static json_t *rate(uint64_t bits)
{
	return bits ? json_integer((json_int_t)bits) : json_null();
}

static json_t *view_clone(const struct clone *c)
{
	char mac[MAC_STRLEN];

	if (!*c->netns)
		return json_null();
	return json_pack("{s:s, s:s, s:s, s:o}", "namespace", c->netns, "tap", c->tap, "mac",
			 mac_format(&c->mac, mac), "address", text_ip(c->addr));
}

json_t *view_port(const struct vpc *v, const struct port *p)
{
	bool v6 = v->cidr6.addr.family;
	char mac[MAC_STRLEN];

	return json_pack("{s:s, s:o, s:s, s:s, s:s, s:o, s:o, s:i, s:o, s:o, s:o, s:s, s:i, s:o, "
			 "s:o, s:i, s:b, s:b, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:s, s:s}",
			 "network", p->vpc, "subnet", text_or_null(p->subnet),
			 "name", p->name, "kind", port_kind_name(p->kind), "interface", p->ifname,
			 "address", text_ip(p->addr), "address6", text_ip(p->addr6), "prefix",
			 (int)v->cidr.prefix, "prefix6",
			 v6 ? json_integer(v->cidr6.prefix) : json_null(), "gateway",
			 text_ip(vpc_gateway(&v->cidr)), "gateway6",
			 v6 ? text_ip(vpc_gateway(&v->cidr6)) : json_null(), "mac",
			 mac_format(&p->mac, mac), "mtu", (int)v->mtu_bytes, "owner_uid",
			 id(p->owner_uid), "owner_gid", id(p->owner_gid), "queues", (int)p->queues,
			 "isolated", p->isolated, "policy", p->has_policy, "rate_rx", rate(p->rate_rx), "rate_tx",
			 rate(p->rate_tx), "segment", (int)p->segment, "container",
			 text_or_null(p->attachment.container), "container_interface",
			 text_or_null(p->attachment.ifname), "while_pid",
			 p->life.pid ? json_integer(p->life.pid) : json_null(), "clone",
			 view_clone(&p->clone), "state", row_state_name(p->state),
			 "created", p->created);
}

json_t *view_peer(const struct peer *p)
{
	json_t *allow = p->n_allow ? json_array() : json_null();

	for (size_t i = 0; i < p->n_allow; i++)
		json_array_append_new(allow, text_cidr(&p->allow[i]));
	return json_pack("{s:s, s:s, s:o, s:s}", "a", p->a, "b", p->b, "allow", allow, "state",
			 row_state_name(p->state));
}

json_t *view_mapping(const struct mapping *m)
{
	char text[MAPPING_STRLEN];

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:i, s:i, s:o, s:o, s:s}", "network",
			 m->vpc, "target", m->target, "kind", m->to_subnet ? "subnet" : "port",
			 "mapping", mapping_format(m, text), "protocol",
			 mapping_protocol_name(m->protocol), "host_address", text_ip(m->host_addr),
			 "host_port", m->host_port, "port", m->port, "address",
			 mapping_has_family(m, AF_INET) ? text_ip(m->addr) : json_null(),
			 "address6",
			 mapping_has_family(m, AF_INET6) ? text_ip(m->addr6) : json_null(), "state",
			 row_state_name(m->state));
}

json_t *view_vpc(const struct vpc_parts *p)
{
	const struct vpc *v = p->vpc;
	json_t *subnets = json_array(), *ports = json_array(), *peers = json_array(),
	       *published = json_array();

	for (size_t i = 0; i < p->n_subnets; i++)
		json_array_append_new(subnets, view_subnet(v, &p->subnets[i], p->nat));
	for (size_t i = 0; i < p->n_ports; i++)
		json_array_append_new(ports, view_port(v, &p->ports[i]));
	for (size_t i = 0; i < p->n_peers; i++)
		json_array_append_new(peers, view_peer(&p->peers[i]));
	for (size_t i = 0; i < p->n_mappings; i++)
		json_array_append_new(published, view_mapping(&p->mappings[i]));
	return json_pack("{s:s, s:b, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:s, s:s, "
			 "s:b, s:b, s:o, s:o, s:o, s:o, s:o}",
			 "name", v->name, "flat", v->flat, "cidr", text_cidr(&v->cidr), "cidr6",
			 text_cidr(&v->cidr6), "bridge", v->bridge, "gateway",
			 text_ip(vpc_gateway(&v->cidr)), "gateway6",
			 v->cidr6.addr.family ? text_ip(vpc_gateway(&v->cidr6)) : json_null(),
			 "network", text_ip(cidr_first(&v->cidr)), "broadcast",
			 text_ip(cidr_last(&v->cidr)), "first", text_ip(cidr_first_host(&v->cidr)),
			 "last", text_ip(cidr_last_host(&v->cidr)), "mtu", (int)v->mtu_bytes,
			 "created", v->created, "state", row_state_name(v->state), "dns",
			 v->dns, "dhcp", v->dhcp, "nat",
			 p->nat ? json_pack("{s:s, s:s}", "interface", p->nat->interface, "state",
					    row_state_name(p->nat->state))
				: json_null(),
			 "subnets", subnets, "vms", ports, "peers", peers,
			 "published", published);
}
