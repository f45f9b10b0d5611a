// SPDX-License-Identifier: GPL-2.0-or-later
/* VPCs with their subnets and peerings, and flat networks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/err.h"
#include "config/impl.h"
#include "vpc/plan.h"

#define PEERS_MAX 4096 /* of a VPC */

/* A VPC being read. Its subnets and peers wait until the rest is known. */
struct vpc_reading {
	struct config *c;
	struct config_vpc *v;
	struct config_subnet *s;
	struct config_peer *p;
	struct fy_node *subnets, *peers, *mtu;
};

/* ---- subnets ---- */

static int read_subnet_net(struct vpc_reading *rd, struct fy_node *node, int family,
			   struct cidr *ret, struct err *err)
{
	const struct vpc *v = &rd->v->v;
	char text[CIDR_STRLEN];
	int r = doc_read_text(rd->c->doc, node, "a subnet's network", text, sizeof(text), err);

	if (r)
		return r;
	if (family == AF_INET6 && !v->cidr6.addr.family)
		return doc_error(rd->c->doc, node, err,
				 "VPC \"%s\" has no IPv6 network: give it the key \"cidr6\"",
				 v->name);
	return plan_subnet_cidr(v, text, family, ret, err) ? doc_error_at(rd->c->doc, node, err)
							   : 0;
}

static int read_subnet_cidr(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct vpc_reading *rd = into;

	(void)d;
	return read_subnet_net(rd, node, AF_INET, &rd->s->s.cidr, err);
}

static int read_subnet_cidr6(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct vpc_reading *rd = into;

	(void)d;
	return read_subnet_net(rd, node, AF_INET6, &rd->s->s.cidr6, err);
}

static int read_type(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	static const char *const types[] = {"private", "public"};
	struct vpc_reading *rd = into;
	size_t type = 0;
	int r = doc_read_word(d, node, "a subnet's type", types, ARRAY_SIZE(types), &type, err);

	rd->s->s.is_public = type;
	return r;
}

static int read_policy(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct vpc_reading *rd = into;

	(void)d;
	rd->s->policy_at = node;
	return value_path(rd->c, node, "a policy's file", &rd->s->policy, err);
}

static int read_subnet_egress(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct vpc_reading *rd = into;

	(void)d;
	rd->s->use = rd->c->n_uses + 1;
	return value_ways(rd->c, node, USE_SUBNET, rd->s->s.vpc, rd->s->s.name, err);
}

static int read_subnet_ports(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct vpc_reading *rd = into;

	(void)d;
	return value_ports(rd->c, node, rd->s->s.vpc, rd->s->s.name, err);
}

static const struct doc_key subnet_keys[] = {
	{"cidr", read_subnet_cidr, DOC_REQUIRED},
	{"cidr6", read_subnet_cidr6},
	{"type", read_type},
	{"policy", read_policy},
	{"egress", read_subnet_egress},
	{"publish", read_subnet_ports},
};

static int read_subnet(struct doc *d, const char *name, struct fy_node *key, struct fy_node *value,
		       void *into, struct err *err)
{
	struct vpc_reading *rd = into;
	struct config *c = rd->c;

	GROW(c->subnets, c->n_subnets);
	rd->s = &c->subnets[c->n_subnets++];
	*rd->s = (struct config_subnet){.at = key};
	memcpy(rd->s->s.vpc, rd->v->v.name, NAME_MAX_LEN);
	if (value_name(d, key, "subnet", name, rd->s->s.name, err))
		return -EINVAL;
	return doc_read_map(d, value, "a subnet", subnet_keys, ARRAY_SIZE(subnet_keys), rd, err);
}

/* ---- peers ---- */

static int read_allowed(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct peer *p = &((struct vpc_reading *)into)->p->p;
	struct cidr *c = &p->allow[p->n_allow];
	char text[CIDR_STRLEN];
	int r = doc_read_text(d, node, "an allowed network", text, sizeof(text), err);

	if (!r && cidr_parse_network(text, c, err))
		r = doc_error_at(d, node, err);
	for (size_t i = 0; !r && i < p->n_allow; i++)
		if (cidr_overlaps(&p->allow[i], c))
			r = doc_error(d, node, err, "%s overlaps another one of the list", text);
	p->n_allow += !r;
	return r;
}

static int read_allow(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct peer *p = &((struct vpc_reading *)into)->p->p;
	int r = doc_read_list(d, node, "\"allow\"", PEER_ALLOW_MAX, read_allowed, into, err);

	if (!r && !p->n_allow)
		r = doc_error(d, node, err, "\"allow\" is empty");
	return r;
}

/* The two stand in the order of their names, as in the state. */
static int read_other(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct vpc_reading *rd = into;
	const char *mine = rd->v->v.name;
	char other[NAME_MAX_LEN] = "";
	int r = doc_read_text(d, node, "a VPC's name", other, sizeof(other), err);
	bool first = strcmp(mine, other) < 0;

	if (!r && !strcmp(mine, other))
		r = doc_error(d, node, err, "VPC \"%s\" is peered with itself", mine);
	rd->p->at = node;
	str_copy(rd->p->p.a, NAME_MAX_LEN, first ? mine : other);
	str_copy(rd->p->p.b, NAME_MAX_LEN, first ? other : mine);
	return r;
}

static const struct doc_key peer_keys[] = {
	{"vpc", read_other, DOC_REQUIRED},
	{"allow", read_allow},
};

static int read_peer(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct vpc_reading *rd = into;
	struct config *c = rd->c;

	GROW(c->peers, c->n_peers);
	rd->p = &c->peers[c->n_peers++];
	*rd->p = (struct config_peer){.at = node};
	if (!doc_is_map(d, node))
		return read_other(d, node, rd, err);
	return doc_read_map(d, node, "a peer", peer_keys, ARRAY_SIZE(peer_keys), rd, err);
}

/* ---- VPCs and networks ---- */

static int read_cidr(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return value_network(d, node, "a network", AF_INET,
			     &((struct vpc_reading *)into)->v->v.cidr, err);
}

static int read_cidr6(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return value_network(d, node, "a network", AF_INET6,
			     &((struct vpc_reading *)into)->v->v.cidr6, err);
}

static int read_mtu(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct vpc_reading *rd = into;
	int64_t n = 0;
	int r = doc_read_int(d, node, "the MTU", 1, UINT16_MAX, &n, err);

	rd->mtu = node;
	rd->v->v.mtu_bytes = (uint32_t)n;
	return r;
}

/* Of older YAML, or quoted, and not meant as names. */
static bool is_boolean_text(const char *text)
{
	static const char *const words[] = {"y", "n", "yes", "no", "on", "off", "true", "false"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcasecmp(text, words[i]))
			return true;
	return false;
}

/* As the kernel has it: dev_valid_name(). */
static bool is_interface(const char *name)
{
	return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
	       !strpbrk(name, "/: \t\n\v\f\r");
}

static int read_nat(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct config_vpc *v = ((struct vpc_reading *)into)->v;
	int r;

	*v->interface = '\0';
	if (!doc_is_string(d, node))
		return doc_read_bool(d, node, "\"nat\", when it names no interface,", &v->nat, err);
	v->nat = true;
	r = doc_read_text(d, node, "an interface's name", v->interface, sizeof(v->interface), err);
	if (!r && (is_boolean_text(v->interface) || !is_interface(v->interface)))
		r = doc_error(d, node, err,
			      "\"nat\" is true, false or an interface's name, not \"%s\"",
			      v->interface);
	return r;
}

static int read_network_egress(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct vpc_reading *rd = into;

	(void)d;
	return value_ways(rd->c, node, USE_NETWORK, rd->v->v.name, NULL, err);
}

static int read_dns(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return doc_read_bool(d, node, "\"dns\"", &((struct vpc_reading *)into)->v->v.dns, err);
}

static int read_dhcp(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return doc_read_bool(d, node, "\"dhcp\"", &((struct vpc_reading *)into)->v->v.dhcp, err);
}

static int read_subnets(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	((struct vpc_reading *)into)->subnets = node;
	return doc_is_map(d, node)
		       ? 0
		       : doc_error(d, node, err,
				   "\"subnets\" is a mapping of names to what they are");
}

static int read_peers(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	((struct vpc_reading *)into)->peers = node;
	return doc_is_list(d, node) ? 0 : doc_error(d, node, err, "\"peers\" is a list");
}

/* clang-format off */
#define NETWORK_KEYS                                                                               \
	{"cidr", read_cidr, DOC_REQUIRED},                                                         \
	{"cidr6", read_cidr6},                                                                     \
	{"mtu", read_mtu},                                                                         \
	{"nat", read_nat},                                                                         \
	{"dns", read_dns}
/* clang-format on */

static const struct doc_key vpc_keys[] = {
	NETWORK_KEYS,
	{"subnets", read_subnets},
	{"peers", read_peers},
};

static const struct doc_key network_keys[] = {
	NETWORK_KEYS,
	{"dhcp", read_dhcp},
	{"egress", read_network_egress},
	{"vms", .refusal = "VMs are not in their network, but beside \"networks\", under \"vms\""},
};

static int finish(struct vpc_reading *rd, struct err *err)
{
	struct doc *d = rd->c->doc;
	int r = 0;

	rd->v->v.dns |= rd->v->v.dhcp; /* addresses come with names */
	if (plan_mtu(rd->v->v.mtu_bytes, rd->v->v.cidr6.addr.family, err))
		return doc_error_at(d, rd->mtu, err);
	if (rd->subnets)
		r = doc_read_names(d, rd->subnets, "\"subnets\"", CONFIG_SUBNETS_MAX, read_subnet,
				   rd, err);
	if (!r && rd->peers)
		r = doc_read_list(d, rd->peers, "\"peers\"", PEERS_MAX, read_peer, rd, err);
	return r;
}

static struct config_vpc *add_vpc(struct config *c, struct fy_node *key, bool flat)
{
	struct config_vpc *v;

	GROW(c->vpcs, c->n_vpcs);
	v = &c->vpcs[c->n_vpcs++];
	*v = (struct config_vpc){.at = key, .nat = flat};
	v->v.flat = flat;
	v->v.mtu_bytes = VPC_MTU_DEFAULT;
	return v;
}

static int read_vpc(struct doc *d, const char *name, struct fy_node *key, struct fy_node *value,
		    void *into, struct err *err)
{
	struct vpc_reading rd = {.c = into, .v = add_vpc(into, key, false)};
	int r = value_vpc_name(d, key, "VPC", name, rd.v->v.name, err);

	if (!r)
		r = doc_read_map(d, value, "a VPC", vpc_keys, ARRAY_SIZE(vpc_keys), &rd, err);
	return r ? r : finish(&rd, err);
}

static int read_network(struct doc *d, const char *name, struct fy_node *key, struct fy_node *value,
			void *into, struct err *err)
{
	struct vpc_reading rd = {.c = into, .v = add_vpc(into, key, true)};
	int r = value_vpc_name(d, key, "network", name, rd.v->v.name, err);

	if (!r)
		r = doc_read_map(d, value, "a network", network_keys, ARRAY_SIZE(network_keys), &rd,
				 err);
	return r ? r : finish(&rd, err);
}

int config_read_vpcs(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return doc_read_names(d, node, "\"vpcs\"", CONFIG_VPCS_MAX, read_vpc, into, err);
}

int config_read_networks(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return doc_read_names(d, node, "\"networks\"", CONFIG_VPCS_MAX, read_network, into, err);
}
