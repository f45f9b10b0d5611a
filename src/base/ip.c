// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/ip.h"

size_t ip_len(int family)
{
	return family == AF_INET6 ? 16 : 4;
}

unsigned int ip_bits(int family)
{
	return (unsigned int)ip_len(family) * 8;
}

int ip_parse(const char *text, struct ip *ret, struct err *err)
{
	struct ip ip = {.family = strchr(text, ':') ? AF_INET6 : AF_INET};

	if (inet_pton(ip.family, text, ip.bytes) != 1)
		return err_set(err, ERR_USAGE, -EINVAL, "'%s' is not an IPv4 or IPv6 address", text);
	*ret = ip;
	return 0;
}

const char *ip_format(const struct ip *ip, char buf[IP_STRLEN])
{
	return inet_ntop(ip->family, ip->bytes, buf, IP_STRLEN) ? buf : "-";
}

socklen_t ip_to_sockaddr(const struct ip *ip, uint16_t port, struct sockaddr_storage *ret)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	ret->ss_family = (sa_family_t)ip->family;
	if (ip->family == AF_INET) {
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, ip->bytes, 4);
		return sizeof(*in);
	}
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, ip->bytes, 16);
	return sizeof(*in6);
}

int ip_cmp(const struct ip *a, const struct ip *b)
{
	return a->family == b->family ? memcmp(a->bytes, b->bytes, 16) : a->family - b->family;
}

bool ip_equal(const struct ip *a, const struct ip *b)
{
	return ip_cmp(a, b) == 0;
}

struct ip ip_add(struct ip ip, uint64_t n)
{
	for (size_t i = ip_len(ip.family); n && i-- > 0; n >>= 8) {
		n += ip.bytes[i];
		ip.bytes[i] = (uint8_t)n;
	}
	return ip;
}

struct ip ip_sub(struct ip ip, uint64_t n)
{
	uint64_t borrow = 0;

	for (size_t i = ip_len(ip.family); (n || borrow) && i-- > 0; n >>= 8) {
		uint64_t take = (n & 0xff) + borrow;

		borrow = ip.bytes[i] < take;
		ip.bytes[i] = (uint8_t)(ip.bytes[i] - take);
	}
	return ip;
}

int cidr_parse(const char *text, struct cidr *ret, struct err *err)
{
	char addr[IP_STRLEN];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	unsigned long prefix;
	struct cidr c;
	char *end;

	if (len >= sizeof(addr))
		return err_set(err, ERR_USAGE, -EINVAL, "'%s' is not a CIDR", text);
	memcpy(addr, text, len);
	addr[len] = '\0';
	if (ip_parse(addr, &c.addr, NULL))
		return err_set(err, ERR_USAGE, -EINVAL,
			       "'%s' is not a CIDR: expected ADDRESS/PREFIX such as 10.0.0.0/16", text);
	c.prefix = ip_bits(c.addr.family);
	if (slash) {
		prefix = strtoul(slash + 1, &end, 10);
		if (slash[1] < '0' || slash[1] > '9' || *end || prefix > c.prefix)
			return err_set(err, ERR_USAGE, -EINVAL,
				       "'%s': the prefix length must be a number from 0 to %u", text,
				       c.prefix);
		c.prefix = (unsigned int)prefix;
	}
	*ret = c;
	return 0;
}

int cidr_parse_network(const char *text, struct cidr *ret, struct err *err)
{
	char want[CIDR_STRLEN];
	struct cidr c, net;
	int r = cidr_parse(text, &c, err);

	if (r)
		return r;
	if (!strchr(text, '/'))
		return err_set(err, ERR_USAGE, -EINVAL,
			       "'%s' has no prefix length: expected ADDRESS/PREFIX such as 10.0.0.0/16",
			       text);
	net = (struct cidr){.addr = cidr_first(&c), .prefix = c.prefix};
	if (!ip_equal(&net.addr, &c.addr))
		return err_set(err, ERR_USAGE, -EINVAL,
			       "'%s' has host bits set; the network is %s", text,
			       cidr_format(&net, want));
	*ret = c;
	return 0;
}

const char *cidr_format(const struct cidr *c, char buf[CIDR_STRLEN])
{
	char addr[IP_STRLEN];

	snprintf(buf, CIDR_STRLEN, "%s/%u", ip_format(&c->addr, addr), c->prefix);
	return buf;
}

/* The address with every bit behind the prefix set to 0 or 1. */
static struct ip fill_host_bits(const struct cidr *c, bool ones)
{
	struct ip ip = c->addr;
	size_t i = c->prefix / 8, len = ip_len(ip.family);
	uint8_t mask = (uint8_t)(0xffu >> (c->prefix % 8));

	for (; i < len; i++, mask = 0xff)
		ip.bytes[i] = (uint8_t)(ones ? ip.bytes[i] | mask : ip.bytes[i] & ~mask);
	return ip;
}

struct ip cidr_first(const struct cidr *c)
{
	return fill_host_bits(c, false);
}

struct ip cidr_last(const struct cidr *c)
{
	return fill_host_bits(c, true);
}

bool cidr_has(const struct cidr *c, const struct ip *ip)
{
	struct ip first = cidr_first(c), last = cidr_last(c);

	return ip->family == c->addr.family && ip_cmp(&first, ip) <= 0 && ip_cmp(ip, &last) <= 0;
}

bool cidr_contains(const struct cidr *outer, const struct cidr *inner)
{
	return outer->prefix <= inner->prefix && cidr_has(outer, &inner->addr);
}

bool cidr_overlaps(const struct cidr *a, const struct cidr *b)
{
	return a->prefix <= b->prefix ? cidr_has(a, &b->addr) : cidr_has(b, &a->addr);
}

bool cidr_equal(const struct cidr *a, const struct cidr *b)
{
	return a->prefix == b->prefix && ip_equal(&a->addr, &b->addr);
}

struct ip cidr_first_host(const struct cidr *c)
{
	unsigned int host_bits = ip_bits(c->addr.family) - c->prefix;

	return ip_add(cidr_first(c), host_bits > 1 ? 1 : 0);
}

struct ip cidr_last_host(const struct cidr *c)
{
	unsigned int host_bits = ip_bits(c->addr.family) - c->prefix;

	return ip_sub(cidr_last(c), c->addr.family == AF_INET && host_bits > 1 ? 1 : 0);
}

const char *cidr_reserved(const struct cidr *c)
{
	static const struct {
		const char *cidr, *what;
	} reserved[] = {
		{"0.0.0.0/8", "\"this network\" (RFC 1122)"},
		{"127.0.0.0/8", "loopback (RFC 1122)"},
		{"169.254.0.0/16", "link-local (RFC 3927)"},
		{"224.0.0.0/4", "multicast (RFC 5771)"},
		{"240.0.0.0/4", "reserved (RFC 1112)"},
		{"::/8", "reserved (RFC 4291)"},
		{"fe80::/10", "link-local (RFC 4291)"},
		{"ff00::/8", "multicast (RFC 4291)"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
		struct cidr r;

		if (!cidr_parse(reserved[i].cidr, &r, NULL) && cidr_overlaps(&r, c))
			return reserved[i].what;
	}
	return NULL;
}

int mac_parse(const char *text, struct mac *ret, struct err *err)
{
	static const char digits[] = "0123456789abcdef";
	struct mac m;
	bool ok = strlen(text) == MAC_STRLEN - 1;

	for (size_t i = 0; ok && i < sizeof(m.bytes); i++) {
		const char *hi = strchr(digits, tolower((unsigned char)text[i * 3]));
		const char *lo = strchr(digits, tolower((unsigned char)text[i * 3 + 1]));
		char end = text[i * 3 + 2];

		ok = hi && lo && end == (i + 1 < sizeof(m.bytes) ? ':' : '\0');
		if (ok)
			m.bytes[i] = (uint8_t)((hi - digits) << 4 | (lo - digits));
	}
	if (!ok)
		return err_set(err, ERR_USAGE, -EINVAL, "'%s' is not a MAC address", text);
	*ret = m;
	return 0;
}

const char *mac_format(const struct mac *m, char buf[MAC_STRLEN])
{
	const uint8_t *b = m->bytes;

	snprintf(buf, MAC_STRLEN, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
	return buf;
}

struct mac mac_from_name(const char *seed)
{
	unsigned long long h = hash_str(seed);
	struct mac m;

	for (size_t i = 0; i < sizeof(m.bytes); i++)
		m.bytes[i] = (uint8_t)(h >> (8 * i));
	m.bytes[0] = (uint8_t)((m.bytes[0] & 0xfcu) | 0x02u);
	return m;
}

struct ip mac_link_local(const struct mac *m)
{
	const uint8_t *b = m->bytes;

	return (struct ip){.family = AF_INET6,
			   .bytes = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, b[0] ^ 0x02u, b[1], b[2], 0xff,
				     0xfe, b[3], b[4], b[5]}};
}
