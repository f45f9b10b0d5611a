// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a VPN client may say to its script. The parser is included, so that a fuzzer sees its
 * branches. What comes out can be carried out: networks without host bits, names of names' letters,
 * text that a terminal can show.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#include "session/vpn.c"

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_net(const struct cidr *c)
{
	struct ip first = cidr_first(c);

	check(c->addr.family == AF_INET || c->addr.family == AF_INET6);
	check(c->prefix <= ip_bits(c->addr.family) && ip_equal(&first, &c->addr));
}

static void check_addr(const struct cidr *c, int family)
{
	check(!c->addr.family || (c->addr.family == family && c->prefix <= ip_bits(family)));
}

static void check_text(const char *s, size_t size)
{
	check(strnlen(s, size) < size);
	for (; *s; s++)
		check((unsigned char)*s >= ' ' || *s == '\n');
}

static void check_vpn(const struct vpn *v)
{
	check(v->reason < VPN_NUM_REASONS && *vpn_reason_name(v->reason));
	check(v->client > 0 && v->tun[0] && strnlen(v->tun, IFNAMSIZ) < IFNAMSIZ);
	check(v->gateway.family != 0 && v->mtu_bytes <= MTU_MAX);
	check_addr(&v->addr4, AF_INET);
	check_addr(&v->addr6, AF_INET6);
	check(v->n_include <= SESSION_NETS_MAX && v->n_exclude <= SESSION_NETS_MAX);
	for (size_t i = 0; i < v->n_include; i++)
		check_net(&v->include[i]);
	for (size_t i = 0; i < v->n_exclude; i++)
		check_net(&v->exclude[i]);
	check(v->n_dns <= SESSION_DNS_MAX && v->n_split_dns <= VPN_DOMAINS_MAX);
	check_text(v->domain, sizeof(v->domain));
	for (size_t i = 0; i < v->n_split_dns; i++)
		check(v->split_dns[i][0] && is_domain(v->split_dns[i]));
	if (v->banner)
		check_text(v->banner, BANNER_MAX + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_vpn_ struct vpn v = {0};
	struct err err = {0};
	int r = vpn_parse((const char *)data, size, &v, &err);

	check(r <= 0 && (r == 0) == (err.msg[0] == '\0'));
	if (!r)
		check_vpn(&v);
	return 0;
}
