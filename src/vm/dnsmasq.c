// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "vm/dnsmasq.h"
#include "vpc/port.h"

#define TOP "internal"
/* A lease is the port's, however long. That of IPv6 is as short as dnsmasq has it: a guest that
 * comes back with another identity (DUID) has to wait until the former one's is over. */
#define LEASE_TIME "1h"
#define LEASE6_TIME "2m"

const char *dnsmasq_domain(const struct vpc *v, char ret[DNSMASQ_DOMAIN_MAX])
{
	snprintf(ret, DNSMASQ_DOMAIN_MAX, "%s." TOP, v->name);
	return ret;
}

bool dnsmasq_is_name(const char *name)
{
	size_t len = strlen(name);

	if (!len || len >= NAME_MAX_LEN || name[0] == '.' || name[len - 1] == '.')
		return false;
	return !strstr(name, "..") &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		       len;
}

int dnsmasq_check(const struct vpc *v, struct err *err)
{
	if (dnsmasq_is_name(v->name))
		return 0;
	return err_set(err, ERR_USAGE, -EINVAL,
		       "'%s' cannot be a domain: a network with such a name has no DNS", v->name);
}

/* ---- The configuration ---- */

/* Nobody else is asked about these networks, either. */
static void add_reverse(const struct cidr *c, struct buf *b)
{
	char text[CIDR_STRLEN];

	if (c->addr.family)
		buf_addf(b, "rev-server=%s\n", cidr_format(c, text));
}

static void add_dhcp4(const struct vpc *v, struct buf *b)
{
	char first[IP_STRLEN];

	buf_addf(b, "dhcp-range=%s,static," LEASE_TIME "\ndhcp-option=option:mtu,%u\n",
		 ip_format(&v->cidr.addr, first), v->mtu_bytes);
}

/* The addresses are leased as well; the default route comes by router advertisements. */
static void add_dhcp6(const struct vpc *v, struct buf *b)
{
	struct ip gateway = vpc_gateway(&v->cidr6);
	char first[IP_STRLEN], dns[IP_STRLEN];

	buf_addf(b,
		 "enable-ra\nra-param=%s,mtu:%u,0\ndhcp-range=%s,static,%u," LEASE6_TIME "\n"
		 "dhcp-option=option6:dns-server,[%s]\n",
		 v->bridge, v->mtu_bytes, ip_format(&v->cidr6.addr, first), v->cidr6.prefix,
		 ip_format(&gateway, dns));
}

static void add_dhcp(const struct vpc *v, const char *dir, struct buf *b)
{
	char domain[DNSMASQ_DOMAIN_MAX];

	add_dhcp4(v, b);
	if (v->cidr6.addr.family)
		add_dhcp6(v, b);
	buf_addf(b,
		 "dhcp-hostsdir=%s/" DNSMASQ_LEASES "\n"
		 "domain=%s\n"
		 "dhcp-option=option:domain-search,%s\n"
		 /* A guest does not choose its name, and what it once had counts for nothing. */
		 "dhcp-ignore-names\n"
		 "dhcp-authoritative\n"
		 "leasefile-ro\n"
		 "no-ping\n"
		 "quiet-dhcp\n"
		 "quiet-dhcp6\n"
		 "quiet-ra\n",
		 dir, dnsmasq_domain(v, domain), domain);
}

static void add_names(const struct vpc *v, const char *dir, const char *hosts, struct buf *ret)
{
	buf_addf(ret,
		 "# Made by byway for %s; changes are lost.\n"
		 "keep-in-foreground\n"
		 "log-facility=-\n"
		 "pid-file=\n"
		 "interface=%s\n"
		 "except-interface=lo\n"
		 "bind-dynamic\n"
		 "no-hosts\n"
		 "no-resolv\n"
		 "domain-needed\n"
		 "local=/" TOP "/\n"
		 "servers-file=%s/" DNSMASQ_UPSTREAM "\n"
		 "hostsdir=%s/" DNSMASQ_HOSTS "\n",
		 v->name, v->bridge, dir, hosts);
	add_reverse(&v->cidr, ret);
	add_reverse(&v->cidr6, ret);
}

void dnsmasq_config(const struct vpc *v, const char *dir, struct buf *ret)
{
	add_names(v, dir, dir, ret);
	if (v->dhcp)
		add_dhcp(v, dir, ret);
}

/* Nothing is remembered: the next egress of a list may know a name by another address. */
void dnsmasq_way_config(const struct vpc *v, const char *dir, const char *first, uint16_t port,
			struct buf *ret)
{
	add_names(v, dir, first, ret);
	buf_addf(ret, "port=%u\ncache-size=0\n", port);
}

void dnsmasq_add_server(const struct ip *addr, struct buf *ret)
{
	char text[IP_STRLEN];

	buf_addf(ret, "server=%s\n", ip_format(addr, text));
}

/* ---- Who is on the network ---- */

struct dnsmasq_host dnsmasq_port(const struct port *p)
{
	return (struct dnsmasq_host){.name = p->name,
				     .aliases = p->attachment.aliases,
				     .mac = p->mac,
				     .addr = p->addr,
				     .addr6 = p->addr6};
}

struct dnsmasq_host dnsmasq_subnet(const struct subnet *s)
{
	return (struct dnsmasq_host){
		.name = s->name, .aliases = "", .mac = s->mac, .addr = s->addr, .addr6 = s->addr6};
}

/* The name in full and, unless it could be somebody's elsewhere, by itself. */
static void add_name(const char *name, const char *domain, struct buf *b)
{
	if (!dnsmasq_is_name(name))
		return;
	buf_addf(b, " %s.%s", name, domain);
	if (!strchr(name, '.'))
		buf_addf(b, " %s", name);
}

static void add_line(const struct dnsmasq_host *h, const struct ip *ip, const char *domain,
		     struct buf *b)
{
	_free_ char *aliases = xstrdup(h->aliases);
	_buf_ struct buf names = {0};
	char text[IP_STRLEN];
	char *rest = NULL;

	if (!ip->family)
		return;
	add_name(h->name, domain, &names);
	for (char *a = strtok_r(aliases, " ", &rest); a; a = strtok_r(NULL, " ", &rest))
		add_name(a, domain, &names);
	if (names.len)
		buf_addf(b, "%s%s\n", ip_format(ip, text), names.data);
}

void dnsmasq_add_host(const struct vpc *v, const struct dnsmasq_host *h, struct buf *ret)
{
	char domain[DNSMASQ_DOMAIN_MAX];

	dnsmasq_domain(v, domain);
	add_line(h, &h->addr, domain, ret);
	add_line(h, &h->addr6, domain, ret);
}

/* What dnsmasq reads as how long a lease lasts, or that there shall be none, wherever it stands. */
static bool is_keyword(const char *name)
{
	const char *unit = name + strspn(name, "0123456789");

	return !strcmp(name, "infinite") || !strcmp(name, "ignore") || !*unit ||
	       (unit > name && !unit[1] && strchr("smhdwSMHDW", *unit));
}

/* What a client may be told that it is called: one label of a domain name (RFC 1123 2.1). */
static bool is_hostname(const char *name)
{
	return dnsmasq_is_name(name) && !strpbrk(name, "._") && !is_keyword(name);
}

void dnsmasq_add_lease(const struct dnsmasq_host *h, struct buf *ret)
{
	char mac[MAC_STRLEN], addr[IP_STRLEN];

	buf_addf(ret, "%s,%s", mac_format(&h->mac, mac), ip_format(&h->addr, addr));
	if (h->addr6.family)
		buf_addf(ret, ",[%s]", ip_format(&h->addr6, addr));
	if (is_hostname(h->name))
		buf_addf(ret, ",%s", h->name);
	buf_adds(ret, "\n");
}

void dnsmasq_resolv_conf(const struct vpc *v, struct buf *ret)
{
	struct ip gateway = vpc_gateway(&v->cidr);
	char text[IP_STRLEN], domain[DNSMASQ_DOMAIN_MAX];

	buf_addf(ret, "nameserver %s\nsearch %s\n", ip_format(&gateway, text),
		 dnsmasq_domain(v, domain));
}
