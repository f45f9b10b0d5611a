// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/ip.h"
#include "base/util.h"
#include "tunnel/dialer.h"
#include "tunnel/url.h"

static int bad(struct err *err, const char *why)
{
	return err_set(err, ERR_USAGE, -EINVAL, "the proxy's URL is wrong: %s", why);
}

static bool scheme_is(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && !strncasecmp(text, word, len);
}

/* Takes "http://" or "https://" off. */
static int take_scheme(const char **text, struct proxy_url *u, struct err *err)
{
	const char *end = strstr(*text, "://");
	size_t len = end ? (size_t)(end - *text) : 0;

	if (!end || memchr(*text, '@', len)) /* in a password */
		return 0;
	u->tls = scheme_is(*text, len, "https");
	if (!u->tls && !scheme_is(*text, len, "http"))
		return bad(err,
			   "it must begin with http:// or https:// (SOCKS is another protocol)");
	*text = end + 3;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* -EINVAL for a broken escape, -ENAMETOOLONG. */
static int decode(const char *text, size_t len, char *ret, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c == '%') {
			int high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
			int low = high >= 0 ? hex_digit(text[i + 2]) : -1;

			if (low < 0)
				return -EINVAL;
			c = (char)(high * 16 + low);
			i += 2;
		}
		if (n + 1 >= size)
			return -ENAMETOOLONG;
		if ((unsigned char)c < ' ' || c == 0x7f)
			return -EILSEQ;
		ret[n++] = c;
	}
	ret[n] = '\0';
	return 0;
}

static int take_credential(const char *text, size_t len, char ret[128], struct err *err)
{
	switch (decode(text, len, ret, 128)) {
	case 0:
		return 0;
	case -ENAMETOOLONG:
		return bad(err, "user name and password can have 127 characters at most");
	case -EILSEQ:
		return bad(err, "user name and password cannot have control characters");
	default:
		return bad(err,
			   "a '%' in user name or password must be written %25, or be followed by "
			   "two hexadecimal digits");
	}
}

static int take_userinfo(const char *text, size_t len, struct proxy_url *u, struct err *err)
{
	const char *colon = memchr(text, ':', len);
	size_t user_len = colon ? (size_t)(colon - text) : len;
	int r = take_credential(text, user_len, u->username, err);

	if (r)
		return r;
	if (strchr(u->username, ':'))
		return bad(err, "a user name cannot have a colon (RFC 7617)");
	if (!colon)
		return 0;
	if (!u->username[0])
		return bad(err, "there is a password without a user name");
	u->has_password = true;
	return take_credential(colon + 1, len - user_len - 1, u->password, err);
}

static int take_port(const char *text, size_t len, struct proxy_url *u, struct err *err)
{
	unsigned int port = 0;

	for (size_t i = 0; i < len && port <= UINT16_MAX; i++) {
		if (text[i] < '0' || text[i] > '9')
			return bad(err, "the port must be a number");
		port = port * 10 + (unsigned int)(text[i] - '0');
	}
	if (!port || port > UINT16_MAX)
		return bad(err, "the port must be from 1 to 65535");
	u->port = (uint16_t)port;
	return 0;
}

static int take_host(const char *text, size_t len, struct proxy_url *u, struct err *err)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "abcdefghijklmnopqrstuvwxyz0123456789.-_";

	if (!len)
		return bad(err, "there is no host in it");
	if (len >= sizeof(u->host))
		return bad(err, "the host's name is too long");
	memcpy(u->host, text, len);
	u->host[len] = '\0';
	if (strspn(u->host, allowed) != len)
		return bad(err,
			   "the host is neither a name nor an address (an IPv6 address goes in "
			   "brackets)");
	return 0;
}

static int take_ipv6(const char *text, size_t len, struct proxy_url *u, struct err *err)
{
	struct ip ip;

	if (len >= IP_STRLEN)
		return bad(err, "what is in brackets is no IPv6 address");
	memcpy(u->host, text, len);
	u->host[len] = '\0';
	if (ip_parse(u->host, &ip, NULL) || ip_len(ip.family) != 16)
		return bad(err, "what is in brackets is no IPv6 address");
	return 0;
}

static int take_host_port(const char *text, size_t len, struct proxy_url *u, struct err *err)
{
	bool in_brackets = len && *text == '[';
	const char *end = memchr(text, in_brackets ? ']' : ':', len);
	size_t host_len = end ? (size_t)(end - text) : len, rest;
	int r;

	if (in_brackets && !end)
		return bad(err, "there is a '[' without a ']'");
	r = in_brackets ? take_ipv6(text + 1, host_len - 1, u, err)
			: take_host(text, host_len, u, err);
	if (r)
		return r;
	rest = host_len + in_brackets;
	if (rest == len) {
		u->port = u->tls ? URL_PORT_HTTPS : URL_PORT_HTTP;
		return 0;
	}
	if (text[rest] != ':')
		return bad(err, "behind the ']' there can only be a port");
	return take_port(text + rest + 1, len - rest - 1, u, err);
}

/* Of several '@' the last one ends the user's part, as in curl(1). */
static const char *last_at(const char *text, size_t len)
{
	const char *at = memrchr(text, '@', len);

	return at ? at + 1 : text;
}

static int parse(const char *text, struct proxy_url *u, struct err *err)
{
	const char *host;
	size_t len;
	int r = take_scheme(&text, u, err);

	if (r)
		return r;
	len = strcspn(text, "/?#");
	if (strchr(text + len, '@'))
		return bad(
			err,
			"in user name and password '/' must be written %2F, '?' %3F and '#' %23");
	if (text[len] && strcmp(text + len, "/") != 0)
		return bad(err, "there can be nothing behind host and port");
	host = last_at(text, len);
	r = host > text ? take_userinfo(text, (size_t)(host - text) - 1, u, err) : 0;
	return r ? r : take_host_port(host, len - (size_t)(host - text), u, err);
}

int proxy_url_parse(const char *text, struct proxy_url *ret, struct err *err)
{
	struct proxy_url u = {0};
	int r = parse(text, &u, err);

	if (!r)
		*ret = u;
	proxy_url_done(&u);
	return r;
}

void proxy_url_done(struct proxy_url *u)
{
	explicit_bzero(u, sizeof(*u));
}

/* There is one for all upstreams. */
static int add_credentials(const struct proxy_url *url, struct connect_config *k, struct err *err)
{
	if (*url->username && *k->username &&
	    (strcmp(url->username, k->username) || strcmp(url->password, k->password)))
		return err_set(err, ERR_USAGE, -EINVAL,
			       "the proxies' user names or passwords differ: there is one for all "
			       "of them");
	if (*url->username)
		str_copy(k->username, sizeof(k->username), url->username);
	if (url->has_password)
		str_copy(k->password, sizeof(k->password), url->password);
	return 0;
}

int proxy_url_add(const char *text, struct connect_config *k, struct err *err)
{
	_proxy_url_ struct proxy_url url = {0};
	struct connect_upstream *u;
	int r = proxy_url_parse(text, &url, err);

	if (!r && k->n_upstreams == CONNECT_UPSTREAMS_MAX)
		r = err_set(err, ERR_USAGE, -E2BIG, "at most %d proxies", CONNECT_UPSTREAMS_MAX);
	if (r)
		return r;
	u = &k->upstreams[k->n_upstreams++];
	u->tls = url.tls;
	u->port = url.port;
	str_copy(u->host, sizeof(u->host), url.host);
	if (ip_parse(url.host, &u->addr, NULL))
		u->addr = (struct ip){0};
	return add_credentials(&url, k, err);
}
