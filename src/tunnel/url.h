/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The URL of a proxy: [http://|https://][USER[:PASSWORD]@]HOST[:PORT][/]
 *
 * HOST is a name, an IPv4 address, or an IPv6 address in brackets. User name and password may be
 * percent-encoded (RFC 3986 2.1). Without a port it is 3128 (squid's) for http and 443 for https.
 */
#ifndef BYWAY_TUNNEL_URL_H
#define BYWAY_TUNNEL_URL_H

#include <stdbool.h>
#include <stdint.h>

struct connect_config;
struct err;

#define URL_PORT_HTTP 3128
#define URL_PORT_HTTPS 443

struct proxy_url {
	bool tls;
	bool has_password;
	char host[256]; /* without brackets */
	uint16_t port;
	char username[128], password[128]; /* "" for none */
};

/* -EINVAL with a sentence that quotes nothing of the text, because a mistyped URL may show its
 * password anywhere. */
int proxy_url_parse(const char *text, struct proxy_url *ret, struct err *err);
/* Wipes it. */
void proxy_url_done(struct proxy_url *u);
#define _proxy_url_ _cleanup_(proxy_url_done)
/* Parses it, and adds it to k as one upstream more, with its user name and password, which have to
 * be those of the upstreams before. -E2BIG. */
int proxy_url_add(const char *text, struct connect_config *k, struct err *err);

#endif
