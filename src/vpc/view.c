// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

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

static bool has_nat(const struct subnet *s, const struct nat *nat)
{
	return nat && s->is_public && nat->state == ROW_ACTIVE;
}

static json_t *state_subnet(const struct vpc *v, const struct subnet *s, const struct nat *nat)
{
	return json_pack("{s:s, s:o, s:s, s:s, s:s, s:s, s:o, s:b}", "name", s->name, "cidr",
			 text_cidr(&s->cidr), "type", s->is_public ? "public" : "private", "namespace",
			 s->netns, "veth_host", s->veth_host, "veth_ns", s->veth_ns, "gateway",
			 text_ip(vpc_gateway(&v->cidr)), "nat_enabled", has_nat(s, nat));
}

static const char *other_name(const struct peer *p, const struct vpc *v)
{
	return strcmp(p->a, v->name) ? p->a : p->b;
}

json_t *view_state_file(const struct vpc_parts *p)
{
	json_t *subnets = json_array(), *peering = json_array();

	for (size_t i = 0; i < p->n_subnets; i++)
		json_array_append_new(subnets, state_subnet(p->vpc, &p->subnets[i], p->nat));
	for (size_t i = 0; i < p->n_peers; i++)
		json_array_append_new(
			peering,
			json_pack("{s:s, s:o, s:s}", "peer_vpc", other_name(&p->peers[i], p->vpc),
				  "peer_cidr", p->others[i] ? text_cidr(&p->others[i]->cidr) : json_null(),
				  "status", row_state_name(p->peers[i].state)));
	return json_pack("{s:s, s:o, s:s, s:s, s:o, s:o}", "name", p->vpc->name, "cidr",
			 text_cidr(&p->vpc->cidr), "bridge", p->vpc->bridge, "created", p->vpc->created,
			 "subnets", subnets, "peering", peering);
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

json_t *view_peer(const struct peer *p)
{
	json_t *allow = json_array();

	for (size_t i = 0; i < p->n_allow; i++)
		json_array_append_new(allow, text_cidr(&p->allow[i]));
	return json_pack("{s:s, s:s, s:o, s:s}", "a", p->a, "b", p->b, "allow", allow, "state",
			 row_state_name(p->state));
}

json_t *view_vpc(const struct vpc_parts *p)
{
	const struct vpc *v = p->vpc;
	json_t *subnets = json_array(), *peers = json_array();

	for (size_t i = 0; i < p->n_subnets; i++)
		json_array_append_new(subnets, view_subnet(v, &p->subnets[i], p->nat));
	for (size_t i = 0; i < p->n_peers; i++)
		json_array_append_new(peers, view_peer(&p->peers[i]));
	return json_pack(
		"{s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:s, s:s, s:o, s:o, s:o}", "name",
		v->name, "cidr", text_cidr(&v->cidr), "cidr6", text_cidr(&v->cidr6), "bridge", v->bridge,
		"gateway", text_ip(vpc_gateway(&v->cidr)), "gateway6",
		v->cidr6.addr.family ? text_ip(vpc_gateway(&v->cidr6)) : json_null(), "network",
		text_ip(cidr_first(&v->cidr)), "broadcast", text_ip(cidr_last(&v->cidr)), "first",
		text_ip(cidr_first_host(&v->cidr)), "last", text_ip(cidr_last_host(&v->cidr)), "mtu",
		(int)v->mtu_bytes, "created", v->created, "state", row_state_name(v->state), "nat",
		p->nat ? json_pack("{s:s, s:s}", "interface", p->nat->interface, "state",
				   row_state_name(p->nat->state))
		       : json_null(),
		"subnets", subnets, "peers", peers);
}
