// SPDX-License-Identifier: GPL-2.0-or-later
/* byway proxy up|check. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "cli/tunnel.h"
#include "ops/proxy.h"
#include "tunnel/url.h"

#define PASSWORD_MAX 128
#define PASSWORD_FILE_MAX 4096

/* ---- What: the proxies ---- */

static int read_password(struct cli *c, char ret[PASSWORD_MAX])
{
	const char *file = cli_opt(c, "password-file"), *plain = cli_opt(c, "password");
	_buf_ struct buf text = {0};
	int r = 0;

	if (file)
		r = file_read(file, PASSWORD_FILE_MAX, &text, &c->err);
	if (r)
		return r;
	if (file)
		text.data[strcspn(text.data, "\r\n")] = '\0';
	if ((file || plain) && str_copy(ret, PASSWORD_MAX, file ? text.data : plain))
		r = err_set(&c->err, ERR_USAGE, -EINVAL,
			    "the password is longer than %d characters", PASSWORD_MAX - 1);
	if (text.data)
		explicit_bzero(text.data, text.len);
	return r;
}

static int from_host(struct cli *c, const char *host, struct connect_config *k)
{
	struct connect_upstream *u = &k->upstreams[0];
	unsigned int port;

	if (cli_number(c, "proxy-port", 1, 65535, URL_PORT_HTTP, &port))
		return c->err.code;
	if (str_copy(u->host, sizeof(u->host), host))
		return err_set(&c->err, ERR_USAGE, -EINVAL, "--proxy-host: the name is too long");
	u->port = (uint16_t)port;
	if (ip_parse(host, &u->addr, NULL))
		u->addr = (struct ip){0};
	k->n_upstreams = 1;
	return 0;
}

static int set_upstream_address(struct cli *c, const char *word, void *arg)
{
	struct connect_config *k = arg;
	struct connect_upstream *first = &k->upstreams[0], *u;
	struct ip ip;
	int r = ip_parse(word, &ip, &c->err);

	if (r)
		return r;
	u = first;
	if (first->addr.family) { /* further addresses of the same proxy: to fail over to */
		if (k->n_upstreams == CONNECT_UPSTREAMS_MAX)
			return err_set(&c->err, ERR_USAGE, -E2BIG, "at most %d addresses",
				       CONNECT_UPSTREAMS_MAX);
		u = &k->upstreams[k->n_upstreams++];
		*u = *first;
	}
	u->addr = ip;
	return 0;
}

static int read_upstreams(struct cli *c, struct connect_config *k)
{
	const char *url = cli_opt(c, "proxy-url"), *host = cli_opt(c, "proxy-host");
	const char *username = cli_opt(c, "username");
	_free_ char *urls = NULL;
	char *rest = NULL;
	int r = 0;

	if (url && host)
		return err_set(&c->err, ERR_USAGE, -EINVAL,
			       "give --proxy-url or --proxy-host, not both");
	if (!url && !host)
		url = getenv("HTTPS_PROXY") ? getenv("HTTPS_PROXY") : getenv("https_proxy");
	if (!url && !host)
		return err_set(&c->err, ERR_USAGE, -EINVAL,
			       "which proxy? --proxy-url http://[USER:PASSWORD@]HOST:PORT, "
			       "--proxy-host, or "
			       "the environment variable HTTPS_PROXY");
	urls = url ? xstrdup(url) : NULL;
	for (char *w = urls ? strtok_r(urls, ",", &rest) : NULL; w && !r;
	     w = strtok_r(NULL, ",", &rest))
		r = proxy_url_add(w, k, &c->err);
	if (urls)
		explicit_bzero(urls, strlen(url ? url : ""));
	if (!r && host)
		r = from_host(c, host, k);
	if (!r && username && str_copy(k->username, sizeof(k->username), username))
		r = err_set(&c->err, ERR_USAGE, -EINVAL, "--username is too long");
	if (!r)
		r = read_password(c, k->password);
	return r ? r : cli_each_word(c, "proxy-ip", set_upstream_address, k);
}

/* ---- Names ---- */

static int read_dns(struct cli *c, struct capture *k, enum dns_mode *mode)
{
	const char *word = cli_opt(c, "dns");
	int r = cli_tunnel_resolvers(c, k);

	if (!r && word && dns_mode_parse(word, mode))
		r = err_set(&c->err, ERR_USAGE, -EINVAL,
			    "--dns: '%s' is unknown, there are bypass, tcp and virtual", word);
	if (r || k->n_resolvers)
		return r;
	if (*mode == DNS_VIRTUAL) /* nobody but us asks them, and only for the names of proxies */
		return 0;
	if (!k->n_resolvers && *mode == DNS_TCP)
		return err_set(
			&c->err, ERR_USAGE, -EDESTADDRREQ,
			"--dns tcp: no resolver was found, which one? (--allow-dns ADDRESS)");
	if (!k->n_resolvers)
		cli_say(c, "warning: no resolver was found: names will not resolve (--allow-dns "
			   "ADDRESS)");
	return 0;
}

/* ---- The commands ---- */

int cmd_proxy_up(struct cli *c)
{
	struct proxy_config config = {0};
	struct tunnel_config *t = &config.tunnel;
	struct cli_tunnel x;
	int r = read_upstreams(c, &config.connect);

	if (!r)
		r = cli_tunnel_capture(c, &t->capture);
	if (!r)
		r = read_dns(c, &t->capture, &t->dns);
	config.connect.mark = CAPTURE_MARK_BYPASS;
	if (!r)
		r = cli_tunnel_begin(c, &x, "captured: TCP goes through the proxy", t);
	if (!r)
		r = cli_tunnel_end(c, t, ops_proxy_run(&config, &c->err));
	explicit_bzero(&config.connect, sizeof(config.connect));
	return r;
}

int cmd_proxy_check(struct cli *c)
{
	struct proxy_config config = {0};
	char host[DIAL_HOST_MAX];
	uint16_t port = 0;
	int r = cli_target(c, c->args[0], host, &port);

	if (!r)
		r = read_upstreams(c, &config.connect);
	if (!r)
		r = ops_proxy_check(&config, host, port, &c->err);
	explicit_bzero(&config.connect, sizeof(config.connect));
	if (r)
		return r;
	cli_print_result(
		c, "byway.proxy.check/1",
		json_pack("{s:s, s:i, s:b}", "host", host, "port", (int)port, "reached", 1),
		"the proxy reaches %s port %d", host, (int)port);
	return 0;
}
