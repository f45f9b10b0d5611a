// SPDX-License-Identifier: GPL-2.0-or-later
#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "cni/config.h"
#include "vpc/mapping.h"
#include "vpc/names.h"

#define TEXT_MAX 256 /* of a value in a message */

static const char *const versions[] = {
	[CNI_0_3_1] = "0.3.1",
	[CNI_0_4_0] = "0.4.0",
	[CNI_1_0_0] = "1.0.0",
	[CNI_1_1_0] = "1.1.0",
};
static_assert(ARRAY_SIZE(versions) == CNI_NUM_VERSIONS, "versions[] doesn't match cni_version");

const char *cni_version_name(enum cni_version v)
{
	return versions[v];
}

void cni_config_done(struct cni_config *c)
{
	json_decref(c->root);
	c->root = NULL;
	free(TAKE_PTR(c->mappings));
	c->n_mappings = 0;
}

static int wrong(struct cni_error *e, const char *key, json_t *value, const char *what)
{
	_free_ char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

	return cni_fail(e, CNI_CONFIG, "\"%s\": %.*s is not %s", key, TEXT_MAX, text ? text : "",
			what);
}

static int unsupported(struct cni_error *e, const char *key, json_t *value, const char *why)
{
	_free_ char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

	return cni_fail(e, CNI_UNSUPPORTED, "\"%.64s\": %.*s: %s", key, TEXT_MAX, text ? text : "",
			why);
}

/* ---- Reading by tables of keys ---- */

struct key {
	const char *name;
	int (*read)(struct cni_config *c, json_t *value,
		    struct cni_error *e); /* NULL: passed over */
};

static const struct key *find_key(const struct key *keys, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	}
	return NULL;
}

static int read_keys(struct cni_config *c, const char *what, json_t *object, const struct key *keys,
		     size_t n, struct cni_error *e)
{
	const char *name;
	json_t *value;

	if (!json_is_object(object))
		return wrong(e, what, object, "an object");
	json_object_foreach(object, name, value)
	{
		const struct key *k = find_key(keys, n, name);
		int r;

		if (!k && strncmp(name, "cni.dev/", 8) != 0)
			return unsupported(e, name, value, "no such key is known");
		r = k && k->read ? k->read(c, value, e) : 0;
		if (r)
			return r;
	}
	return 0;
}

static int read_string(json_t *value, const char *key, const char **ret, struct cni_error *e)
{
	*ret = json_string_value(value);
	return *ret ? 0 : wrong(e, key, value, "a string");
}

/* ---- What may be asked for one attachment ---- */

static int read_ips(struct cni_config *c, json_t *value, struct cni_error *e)
{
	json_t *ip;
	size_t i;

	if (!json_is_array(value))
		return wrong(e, "ips", value, "a list of addresses");
	json_array_foreach(value, i, ip)
	{
		const char *text;
		int r = read_string(ip, "ips", &text, e);

		if (!r)
			r = cni_wish_addr(&c->wishes, CNI_CONFIG, "\"ips\"", text, e);
		if (r)
			return r;
	}
	return 0;
}

static int read_mac(struct cni_config *c, json_t *value, struct cni_error *e)
{
	const char *text;
	int r = read_string(value, "mac", &text, e);

	return r || !*text ? r : cni_wish_mac(&c->wishes, CNI_CONFIG, "\"mac\"", text, e);
}

static int read_rate(json_t *value, const char *key, uint64_t *ret, struct cni_error *e)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return wrong(e, key, value, "a number of bits a second");
	*ret = (uint64_t)json_integer_value(value);
	return 0;
}

static int read_ingress(struct cni_config *c, json_t *value, struct cni_error *e)
{
	return read_rate(value, "ingressRate", &c->rate_rx, e);
}

static int read_egress(struct cni_config *c, json_t *value, struct cni_error *e)
{
	return read_rate(value, "egressRate", &c->rate_tx, e);
}

/* A burst is what the rate needs: byway finds that itself. */
static int read_burst(struct cni_config *c, json_t *value, struct cni_error *e)
{
	uint64_t burst;

	(void)c;
	return read_rate(value, "burst", &burst, e);
}

static int read_bandwidth(struct cni_config *c, json_t *value, struct cni_error *e)
{
	static const struct key keys[] = {
		{"ingressRate", read_ingress},
		{"ingressBurst", read_burst},
		{"egressRate", read_egress},
		{"egressBurst", read_burst},
	};

	return read_keys(c, "bandwidth", value, keys, ARRAY_SIZE(keys), e);
}

/* ---- Port mappings: the one that is read is the last ---- */

static struct mapping *last_mapping(struct cni_config *c)
{
	return &c->mappings[c->n_mappings - 1];
}

static int read_port(json_t *value, const char *key, uint16_t *ret, struct cni_error *e)
{
	json_int_t n = json_integer_value(value);

	if (n < 1 || n > UINT16_MAX)
		return wrong(e, key, value, "a port");
	*ret = (uint16_t)n;
	return 0;
}

static int read_host_port(struct cni_config *c, json_t *value, struct cni_error *e)
{
	return read_port(value, "hostPort", &last_mapping(c)->host_port, e);
}

static int read_container_port(struct cni_config *c, json_t *value, struct cni_error *e)
{
	return read_port(value, "containerPort", &last_mapping(c)->port, e);
}

static int read_protocol(struct cni_config *c, json_t *value, struct cni_error *e)
{
	const char *text;
	int r = read_string(value, "protocol", &text, e);

	if (r || !*text || mapping_protocol_parse(text, &last_mapping(c)->protocol))
		return r;
	return unsupported(e, "protocol", value, "only tcp and udp are mapped");
}

static int read_host_ip(struct cni_config *c, json_t *value, struct cni_error *e)
{
	const char *text;
	int r = read_string(value, "hostIP", &text, e);

	if (!r && *text && ip_parse(text, &last_mapping(c)->host_addr, &e->err))
		return wrong(e, "hostIP", value, "an address");
	return r;
}

static int read_mapping(struct cni_config *c, json_t *value, struct cni_error *e)
{
	static const struct key keys[] = {
		{"hostPort", read_host_port},
		{"containerPort", read_container_port},
		{"protocol", read_protocol},
		{"hostIP", read_host_ip},
	};
	struct mapping *m = last_mapping(c);
	int r;

	*m = (struct mapping){.protocol = IPPROTO_TCP, .reserved = true};
	r = read_keys(c, "portMappings", value, keys, ARRAY_SIZE(keys), e);
	if (!r && (!m->host_port || !m->port))
		r = wrong(e, "portMappings", value, "a mapping with hostPort and containerPort");
	return r;
}

static int read_mappings(struct cni_config *c, json_t *value, struct cni_error *e)
{
	json_t *one;
	size_t i;
	int r = 0;

	if (!json_is_array(value))
		return wrong(e, "portMappings", value, "a list of mappings");
	c->mappings = xrealloc(c->mappings, json_array_size(value) + 1, sizeof(*c->mappings));
	c->n_mappings = 0;
	json_array_foreach(value, i, one)
	{
		c->n_mappings = i + 1;
		r = read_mapping(c, one, e);
		if (r)
			break;
	}
	return r;
}

static bool is_strings(json_t *list)
{
	json_t *s;
	size_t i;

	json_array_foreach(list, i, s)
	{
		if (!json_is_string(s))
			return false;
	}
	return json_is_array(list);
}

/* For each network of the container, by the name of its configuration. */
static int read_aliases(struct cni_config *c, json_t *value, struct cni_error *e)
{
	json_t *list = json_object_get(value, c->name), *alias;
	size_t i;

	if (!json_is_object(value) || (list && !is_strings(list)))
		return wrong(e, "aliases", value, "lists of names by network");
	json_array_foreach(list, i, alias)
	{
		cni_wish_alias(&c->wishes, json_string_value(alias));
	}
	return 0;
}

static int read_runtime(struct cni_config *c, json_t *value, struct cni_error *e)
{
	static const struct key keys[] = {
		{"ips", read_ips},
		{"mac", read_mac},
		{"bandwidth", read_bandwidth},
		{"portMappings", read_mappings},
		{"aliases", read_aliases},
	};

	return read_keys(c, "runtimeConfig", value, keys, ARRAY_SIZE(keys), e);
}

static int read_args_cni(struct cni_config *c, json_t *value, struct cni_error *e)
{
	static const struct key keys[] = {
		{"ips", read_ips},
		{"mac", read_mac},
		{"labels", NULL},
	};

	return read_keys(c, "args.cni", value, keys, ARRAY_SIZE(keys), e);
}

/* Everybody's who is asked: only "cni" has a meaning that all agree on. */
static int read_args(struct cni_config *c, json_t *value, struct cni_error *e)
{
	json_t *cni = json_object_get(value, "cni");

	if (!json_is_object(value))
		return wrong(e, "args", value, "an object");
	return cni ? read_args_cni(c, cni, e) : 0;
}

/* ---- The network ---- */

/* "NETWORK" or "VPC/SUBNET" */
static int read_network(struct cni_config *c, json_t *value, struct cni_error *e)
{
	const char *text, *slash;
	int r = read_string(value, "network", &text, e);

	if (r)
		return r;
	slash = strchrnul(text, '/');
	if ((size_t)(slash - text) >= sizeof(c->network) ||
	    (*slash && str_copy(c->subnet, sizeof(c->subnet), slash + 1)))
		return wrong(e, "network", value, "a name");
	memcpy(c->network, text, (size_t)(slash - text));
	if (name_check("network", c->network, &e->err) ||
	    (*slash && name_check("subnet", c->subnet, &e->err)))
		return err_context(&e->err, "\"network\"");
	return 0;
}

static int read_net(json_t *value, const char *key, int family, const char **ret,
		    struct cni_error *e)
{
	struct cidr c;
	int r = read_string(value, key, ret, e);

	if (r)
		return r;
	if (cidr_parse_network(*ret, &c, &e->err))
		return err_context(&e->err, "\"%s\"", key);
	return c.addr.family == family ? 0
				       : wrong(e, key, value, family == AF_INET ? "IPv4" : "IPv6");
}

static int read_cidr(struct cni_config *c, json_t *value, struct cni_error *e)
{
	if (c->cidr)
		return cni_fail(e, CNI_CONFIG, "\"cidr\" and \"subnet\" are the same: give one");
	return read_net(value, "cidr", AF_INET, &c->cidr, e);
}

static int read_cidr6(struct cni_config *c, json_t *value, struct cni_error *e)
{
	return read_net(value, "cidr6", AF_INET6, &c->cidr6, e);
}

static int read_mtu(struct cni_config *c, json_t *value, struct cni_error *e)
{
	json_int_t n = json_integer_value(value);

	if (!json_is_integer(value) || n < 0 || n > 65535)
		return wrong(e, "mtu", value, "a number of bytes up to 65535");
	c->mtu_bytes = (uint32_t)n;
	return 0;
}

static int read_isolated(struct cni_config *c, json_t *value, struct cni_error *e)
{
	c->isolated = json_is_true(value);
	return json_is_boolean(value) ? 0 : wrong(e, "isolated", value, "true or false");
}

/* Nobody knows what a runtime's working directory is. */
static int read_policy(struct cni_config *c, json_t *value, struct cni_error *e)
{
	int r = read_string(value, "policy", &c->policy, e);

	if (r)
		return r;
	return *c->policy == '/' ? 0 : wrong(e, "policy", value, "a file's whole path");
}

static int read_masq(struct cni_config *c, json_t *value, struct cni_error *e)
{
	c->no_nat = json_is_false(value);
	return json_is_boolean(value) ? 0 : wrong(e, "ipMasq", value, "true or false");
}

static int read_dns_list(struct cni_config *c, json_t *value, struct cni_error *e)
{
	(void)c;
	return is_strings(value) ? 0 : wrong(e, "dns", value, "a list of strings");
}

static int read_dns_domain(struct cni_config *c, json_t *value, struct cni_error *e)
{
	const char *domain;

	(void)c;
	return read_string(value, "domain", &domain, e);
}

static int read_dns(struct cni_config *c, json_t *value, struct cni_error *e)
{
	static const struct key keys[] = {
		{"nameservers", read_dns_list},
		{"domain", read_dns_domain},
		{"search", read_dns_list},
		{"options", read_dns_list},
	};

	c->dns = value;
	return read_keys(c, "dns", value, keys, ARRAY_SIZE(keys), e);
}

/* The other keys are its plugin's. */
static int read_ipam(struct cni_config *c, json_t *value, struct cni_error *e)
{
	json_t *type = json_object_get(value, "type");
	const char *name = json_string_value(type);

	if (!json_is_object(value))
		return wrong(e, "ipam", value, "an object");
	if (type && (!name || !*name || strchr(name, '/') || *name == '.'))
		return wrong(e, "ipam.type", type, "a plugin's name");
	if (name && strcmp(name, "byway") != 0) {
		c->ipam = name;
		return 0;
	}
	json_object_foreach(value, name, type)
	{
		if (strcmp(name, "type") != 0)
			return unsupported(e, name, type,
					   "an \"ipam\" of byway's has nothing to set");
	}
	return 0;
}

static int read_prev_result(struct cni_config *c, json_t *value, struct cni_error *e)
{
	c->prev_result = json_is_null(value) ? NULL : value;
	return json_is_object(value) || json_is_null(value)
		       ? 0
		       : wrong(e, "prevResult", value, "an object");
}

static int read_valid(struct cni_config *c, json_t *value, struct cni_error *e)
{
	json_t *one;
	size_t i;

	if (!json_is_array(value))
		return wrong(e, "cni.dev/valid-attachments", value, "a list");
	json_array_foreach(value, i, one)
	{
		if (!json_is_string(json_object_get(one, "containerID")) ||
		    !json_is_string(json_object_get(one, "ifname")))
			return wrong(e, "cni.dev/valid-attachments", one, "an attachment");
	}
	c->valid_attachments = value;
	return 0;
}

static int check_whole(const struct cni_config *c, struct cni_error *e)
{
	if (!*c->subnet)
		return 0;
	if (c->cidr || c->cidr6 || c->mtu_bytes)
		return cni_fail(
			e, CNI_CONFIG,
			"\"network\" names a subnet of a VPC: its networks and MTU are set there");
	return 0;
}

int cni_config_read(struct cni_config *c, struct cni_error *e)
{
	static const struct key keys[] = {
		{"cniVersion", NULL},
		{"cniVersions", NULL},
		{"name", NULL},
		{"type", NULL},
		{"disableCheck", NULL},
		{"disableGC", NULL},
		{"capabilities", NULL},
		{"loadOnlyInlinedPlugins", NULL},
		{"network", read_network},
		{"cidr", read_cidr},
		{"subnet", read_cidr},
		{"cidr6", read_cidr6},
		{"mtu", read_mtu},
		{"isolated", read_isolated},
		{"policy", read_policy},
		{"ipMasq", read_masq},
		{"dns", read_dns},
		{"ipam", read_ipam},
		{"bandwidth", read_bandwidth},
		{"args", read_args},
		{"runtimeConfig", read_runtime},
		{"prevResult", read_prev_result},
		{"cni.dev/valid-attachments", read_valid},
	};
	int r = read_keys(c, "configuration", c->root, keys, ARRAY_SIZE(keys), e);

	if (!r && !*c->network &&
	    (str_copy(c->network, sizeof(c->network), c->name) ||
	     name_check("network", c->network, &e->err)))
		r = cni_fail(e, CNI_CONFIG, "\"%.64s\" cannot be a network's name: say \"network\"",
			     c->name);
	return r ? r : check_whole(c, e);
}

int cni_config_read_ipam(struct cni_config *c, struct cni_error *e)
{
	json_t *ipam = json_object_get(c->root, "ipam"), *valid, *prev;
	int r = ipam ? read_ipam(c, ipam, e) : 0;

	prev = json_object_get(c->root, "prevResult");
	valid = json_object_get(c->root, "cni.dev/valid-attachments");
	if (json_is_object(prev))
		c->prev_result = prev;
	return r || !valid ? r : read_valid(c, valid, e);
}

static int read_version(struct cni_config *c, struct cni_error *e)
{
	json_t *value = json_object_get(c->root, "cniVersion");
	const char *text = json_string_value(value);

	if (value && !text)
		return cni_fail(e, CNI_DECODE, "\"cniVersion\" is not a string");
	for (size_t i = 0; text && i < CNI_NUM_VERSIONS; i++) {
		if (!strcmp(text, versions[i])) {
			c->version = (enum cni_version)i;
			return 0;
		}
	}
	return cni_fail(e, CNI_VERSION,
			"\"cniVersion\": %.32s: 0.3.1, 0.4.0, 1.0.0 and 1.1.0 are spoken here",
			text ? text : "not given");
}

static int read_name(struct cni_config *c, struct cni_error *e)
{
	json_t *value = json_object_get(c->root, "name");

	c->name = json_string_value(value);
	if (!c->name || !*c->name || strlen(c->name) >= CONTAINER_MAX_LEN)
		return cni_fail(e, CNI_CONFIG, "\"name\" is not given, or is no name");
	return 0;
}

int cni_config_parse(const char *text, size_t len, struct cni_config *ret, struct cni_error *e)
{
	json_error_t where;
	int r;

	*ret = (struct cni_config){.version = CNI_1_1_0};
	ret->root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	if (!ret->root)
		return cni_fail(e, CNI_DECODE, "standard input: line %d: %s", where.line,
				where.text);
	if (!json_is_object(ret->root))
		return cni_fail(e, CNI_DECODE, "standard input is not a JSON object");
	r = read_version(ret, e);
	return r ? r : read_name(ret, e);
}
