// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdbool.h>
#include <string.h>

#include "cni/result.h"
#include "vm/dnsmasq.h"

/* The part of that name, made when it is not there. Borrowed. */
static json_t *list_of(json_t *result, const char *name)
{
	json_t *list = json_object_get(result, name);

	if (json_is_array(list))
		return list;
	list = json_array();
	json_object_set_new(result, name, list);
	return list;
}

static void add_interface(json_t *list, const struct cni_config *c, const struct vpc *v,
			  const char *name, const struct mac *mac, const char *sandbox)
{
	char text[MAC_STRLEN];
	json_t *one = json_pack("{s:s, s:s}", "name", name, "mac", mac_format(mac, text));

	if (sandbox)
		json_object_set_new(one, "sandbox", json_string(sandbox));
	if (c->version >= CNI_1_1_0)
		json_object_set_new(one, "mtu", json_integer(v->mtu_bytes));
	json_array_append_new(list, one);
}

static void add_family(json_t *result, const struct cni_config *c, const struct cidr *net,
		       const struct ip *ip, size_t interface)
{
	struct ip gateway = vpc_gateway(net);
	struct cidr addr = {.addr = *ip, .prefix = net->prefix};
	bool v6 = ip->family == AF_INET6;
	char text[CIDR_STRLEN], via[IP_STRLEN];
	json_t *one;

	if (!ip->family)
		return;
	one = json_pack("{s:s, s:s, s:i}", "address", cidr_format(&addr, text), "gateway",
			ip_format(&gateway, via), "interface", (int)interface);
	if (c->version < CNI_1_0_0)
		json_object_set_new(one, "version", json_string(v6 ? "6" : "4"));
	json_array_append_new(list_of(result, "ips"), one);
	json_array_append_new(list_of(result, "routes"),
			      json_pack("{s:s, s:s}", "dst", v6 ? "::/0" : "0.0.0.0/0", "gw", via));
}

/* What the network itself serves. */
static json_t *dns_of(const struct vpc *v)
{
	struct ip gateway = vpc_gateway(&v->cidr);
	char text[IP_STRLEN], domain[DNSMASQ_DOMAIN_MAX];

	if (!v->dns)
		return json_object();
	dnsmasq_domain(v, domain);
	return json_pack("{s:[s], s:s, s:[s]}", "nameservers", ip_format(&gateway, text), "domain",
			 domain, "search", domain);
}

json_t *cni_result(const struct cni_config *c, const struct vpc *v, const struct port *p,
		   const char *sandbox, json_t *dns)
{
	json_t *result = c->prev_result ? json_deep_copy(c->prev_result) : json_object();
	json_t *interfaces = list_of(result, "interfaces");
	struct mac bridge = vpc_bridge_mac(v), port = mac_from_name(p->ifname);
	size_t index;

	json_object_set_new(result, "cniVersion", json_string(cni_version_name(c->version)));
	add_interface(interfaces, c, v, v->bridge, &bridge, NULL);
	add_interface(interfaces, c, v, p->ifname, &port, NULL);
	index = json_array_size(interfaces);
	add_interface(interfaces, c, v, p->attachment.ifname, &p->mac, sandbox);
	add_family(result, c, &v->cidr, &p->addr, index);
	add_family(result, c, &v->cidr6, &p->addr6, index);
	if (dns)
		json_object_set(result, "dns", dns);
	else if (!json_object_size(json_object_get(result, "dns")))
		json_object_set_new(result, "dns", dns_of(v));
	return result;
}

static bool says(json_t *object, const char *key, const char *value)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text && !strcasecmp(text, value);
}

static json_t *find(json_t *list, const char *key, const char *value)
{
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		if (says(one, key, value))
			return one;
	}
	return NULL;
}

static int check_address(json_t *ips, const struct cidr *net, const struct ip *ip,
			 struct cni_error *e)
{
	struct cidr addr = {.addr = *ip, .prefix = net->prefix};
	char text[CIDR_STRLEN];

	if (!ip->family || find(ips, "address", cidr_format(&addr, text)))
		return 0;
	return cni_fail(e, CNI_CHECK, "prevResult does not have the address %s", text);
}

int cni_result_check(const struct cni_config *c, const struct vpc *v, const struct port *p,
		     struct cni_error *e)
{
	json_t *interfaces, *ips;
	int r;

	if (!c->prev_result)
		return cni_fail(e, CNI_CONFIG, "\"prevResult\" is not given");
	interfaces = json_object_get(c->prev_result, "interfaces");
	ips = json_object_get(c->prev_result, "ips");
	if (!find(interfaces, "name", p->attachment.ifname) || !find(interfaces, "name", p->ifname))
		return cni_fail(e, CNI_CHECK, "prevResult does not have the interfaces %s and %s",
				p->attachment.ifname, p->ifname);
	r = check_address(ips, &v->cidr, &p->addr, e);
	return r ? r : check_address(ips, &v->cidr6, &p->addr6, e);
}

static int read_given(json_t *ip, struct cni_given *g, struct cni_error *e)
{
	const char *address = json_string_value(json_object_get(ip, "address"));
	const char *gateway = json_string_value(json_object_get(ip, "gateway"));

	if (g->n == CNI_ADDRS_MAX)
		return cni_fail(e, CNI_DELEGATE, "it gave more than %d addresses", CNI_ADDRS_MAX);
	if (!address || cidr_parse(address, &g->addrs[g->n], &e->err) ||
	    (gateway && *gateway && ip_parse(gateway, &g->gateways[g->n], &e->err)))
		return cni_fail(e, CNI_DELEGATE, "it gave what is no address");
	g->n++;
	return 0;
}

/* The route to everywhere is there in any case. */
static int check_routes(json_t *routes, struct cni_error *e)
{
	json_t *route;
	size_t i;

	json_array_foreach(routes, i, route)
	{
		const char *dst = json_string_value(json_object_get(route, "dst"));

		if (!dst || (strcmp(dst, "0.0.0.0/0") != 0 && strcmp(dst, "::/0") != 0))
			return cni_fail(
				e, CNI_UNSUPPORTED,
				"\"routes\": \"%.64s\": containers have the default route only",
				dst ? dst : "");
	}
	return 0;
}

int cni_given_read(json_t *result, struct cni_given *ret, struct cni_error *e)
{
	json_t *ip;
	size_t i;

	*ret = (struct cni_given){.dns = json_object_get(result, "dns")};
	json_array_foreach(json_object_get(result, "ips"), i, ip)
	{
		int r = read_given(ip, ret, e);

		if (r)
			return r;
	}
	if (!ret->n)
		return cni_fail(e, CNI_DELEGATE, "it gave no address");
	return check_routes(json_object_get(result, "routes"), e);
}
