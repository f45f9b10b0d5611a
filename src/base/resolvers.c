// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/ip.h"
#include "base/resolvers.h"
#include "base/util.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define RESOLVED_CONF "/run/systemd/resolve/resolv.conf"

/* A stub on loopback resolves through the network itself: who it asks is what must be let out. */
static bool is_loopback(const struct ip *ip)
{
	static const struct ip one = {.family = AF_INET6, .bytes = {[15] = 1}};

	return ip->family == AF_INET ? ip->bytes[0] == 127 : ip_equal(ip, &one);
}

static size_t read_resolv_conf(const char *path, bool loopback, struct ip *ret, size_t max)
{
	_fclose_ FILE *f = fopen(path, "re");
	char line[256], word[64];
	size_t n = 0;

	while (f && n < max && fgets(line, sizeof(line), f)) {
		struct ip ip;

		if (sscanf(line, "nameserver %63s", word) == 1 && !ip_parse(word, &ip, NULL) &&
		    is_loopback(&ip) == loopback)
			ret[n++] = ip;
	}
	return n;
}

size_t resolvers_read(struct ip *ret, size_t max)
{
	size_t n = read_resolv_conf(RESOLV_CONF, false, ret, max);

	return n ? n : read_resolv_conf(RESOLVED_CONF, false, ret, max);
}

size_t resolvers_read_own(struct ip *ret, size_t max)
{
	size_t n = resolvers_read(ret, max);

	return n ? n : read_resolv_conf(RESOLV_CONF, true, ret, max);
}
