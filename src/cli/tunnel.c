// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/notify.h"
#include "base/resolvers.h"
#include "cli/tunnel.h"
#include "kernel/caps.h"
#include "kernel/cgroup.h"

#define TUN_CIDR6_DEFAULT "fd62:7977:6179::1/126"
#define TUN_MTU_DEFAULT 1500
#define TUN_MTU_MIN 1280 /* RFC 8200 5: with less there is no IPv6 */
#define TUN_MTU_MAX 65520

/* ---- Where: the host, a named namespace, or a VPC's subnet ---- */

static int find_netns(struct cli *c, char ret[NETNS_NAME_MAX])
{
	const char *in = cli_opt(c, "in");
	struct subnet s;
	int r;

	ret[0] = '\0';
	if (!in)
		return 0;
	if (!strchr(in, '/'))
		return str_copy(ret, NETNS_NAME_MAX, in)
			       ? err_set(&c->err, ERR_USAGE, -EINVAL, "--in: '%s' is too long", in)
			       : 0;
	r = cli_open(c, STORE_READ);
	if (!r)
		r = cli_subnet(c, in, &s);
	ops_close(&c->ops); /* a tunnel lives long, and may fork before */
	return r ? r : str_copy(ret, NETNS_NAME_MAX, s.netns);
}

static const char *state_dir(const struct cli *c, char buf[256])
{
	return cli_opt(c, "state-dir") ? cli_opt(c, "state-dir") : tunnel_default_dir(buf);
}

static const char *or_host(const char netns[NETNS_NAME_MAX])
{
	return *netns ? netns : NULL;
}

/* ---- What is captured ---- */

/* Comma-separated lists, for the options that may be given more than once. */
int cli_each_word(struct cli *c, const char *option, int (*fn)(struct cli *, const char *, void *),
		  void *arg)
{
	_free_ char *list = xstrdup(cli_opt(c, option) ? cli_opt(c, option) : "");
	char *rest = NULL;
	int r = 0;

	for (char *w = strtok_r(list, ", ", &rest); w && !r; w = strtok_r(NULL, ", ", &rest)) {
		r = fn(c, w, arg);
		if (r)
			err_context(&c->err, "--%s", option);
	}
	return r;
}

struct cidr_list {
	struct cidr *v;
	size_t *n;
};

static int add_cidr(struct cli *c, const char *word, void *arg)
{
	struct cidr_list *l = arg;
	struct cidr net;
	int r = cidr_parse(word, &net, &c->err);

	if (!r && *l->n == CAPTURE_LIST_MAX)
		r = err_set(&c->err, ERR_USAGE, -E2BIG, "at most %d networks", CAPTURE_LIST_MAX);
	if (!r)
		l->v[(*l->n)++] = net;
	return r;
}

static int add_resolver(struct cli *c, const char *word, void *arg)
{
	struct capture *k = arg;
	struct ip ip;
	int r = ip_parse(word, &ip, &c->err);

	if (!r && k->n_resolvers == CAPTURE_LIST_MAX)
		r = err_set(&c->err, ERR_USAGE, -E2BIG, "at most %d resolvers", CAPTURE_LIST_MAX);
	if (!r)
		k->resolvers[k->n_resolvers++] = ip;
	return r;
}

static int add_uid(struct cli *c, const char *word, void *arg)
{
	struct capture *k = arg;
	char *end;
	unsigned long uid = strtoul(word, &end, 10);

	if (*end || word[0] < '0' || word[0] > '9' || uid > UINT32_MAX - 1)
		return err_set(&c->err, ERR_USAGE, -EINVAL, "'%s' is not a user's number", word);
	if (k->n_exclude_uids == CAPTURE_LIST_MAX)
		return err_set(&c->err, ERR_USAGE, -E2BIG, "at most %d users", CAPTURE_LIST_MAX);
	k->exclude_uids[k->n_exclude_uids++] = (uint32_t)uid;
	return 0;
}

static int add_cgroup(struct cli *c, const char *word, void *arg)
{
	struct capture *k = arg;
	int r;

	if (k->n_cgroups == CAPTURE_CGROUPS_MAX)
		return err_set(&c->err, ERR_USAGE, -E2BIG, "at most %d cgroups",
			       CAPTURE_CGROUPS_MAX);
	r = cgroup_find(word, &k->cgroups[k->n_cgroups], &c->err);
	k->n_cgroups += !r;
	return r;
}

int cli_tunnel_resolvers(struct cli *c, struct capture *k)
{
	int r = cli_each_word(c, "allow-dns", add_resolver, k);

	if (r || k->n_resolvers)
		return r;
	k->n_resolvers = resolvers_read(k->resolvers, CAPTURE_LIST_MAX);
	return 0;
}

/* A tunnel that silently lost one family would be worse than none. */
static int read_mtu(struct cli *c, struct capture *k)
{
	int r = cli_number(c, "mtu", TUN_MTU_MIN, TUN_MTU_MAX, TUN_MTU_DEFAULT, &k->mtu_bytes);

	if (r)
		err_append(&c->err, " (IPv6 needs %d)", TUN_MTU_MIN);
	return r;
}

int cli_tunnel_capture(struct cli *c, struct capture *k)
{
	struct cidr_list include = {k->include, &k->n_include},
			 exclude = {k->exclude, &k->n_exclude};
	const char *tun = cli_opt(c, "tun-name"), *cidr = cli_opt(c, "tun-cidr");
	int r = cidr_parse(cidr ? cidr : TUN_CIDR_DEFAULT, &k->tun_addr4, &c->err);

	if (!r && str_copy(k->tun, sizeof(k->tun), tun ? tun : TUN_NAME_DEFAULT))
		r = err_set(&c->err, ERR_USAGE, -EINVAL,
			    "--tun-name: '%s' is longer than 15 characters", tun);
	if (!r)
		r = cidr_parse(TUN_CIDR6_DEFAULT, &k->tun_addr6, &c->err);
	k->kill_switch = !cli_opt(c, "no-killswitch");
	if (!r)
		r = read_mtu(c, k);
	if (!r)
		r = cli_each_word(c, "include", add_cidr, &include);
	if (!r)
		r = cli_each_word(c, "exclude", add_cidr, &exclude);
	if (!r)
		r = cli_each_word(c, "exclude-uid", add_uid, k);
	if (!r)
		r = cli_each_word(c, "cgroup", add_cgroup, k);
	return r;
}

/* ---- Readiness ---- */

static void on_ready(void *arg)
{
	struct cli_tunnel *x = arg;

	notify_manager("READY=1");
	cli_say(x->c, "%s", x->captured);
	cli_detach_done(&x->detached, 0);
}

/* ---- The commands ---- */

int cli_tunnel_begin(struct cli *c, struct cli_tunnel *x, const char *captured,
		     struct tunnel_config *config)
{
	static const int caps[] = {CAP_NET_ADMIN};
	int r = c->dry_run ? 0 : caps_require(caps, ARRAY_SIZE(caps), &c->err);

	*x = (struct cli_tunnel){.c = c, .captured = captured, .detached = IN_FOREGROUND};
	log_set_level(c->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN);
	if (!r)
		r = find_netns(c, x->netns);
	if (!r && cli_opt(c, "detach") && !c->dry_run)
		r = cli_detach(c, &x->detached);
	config->dir = state_dir(c, x->dir);
	config->netns = or_host(x->netns);
	config->backend = c->backend;
	config->log = (struct oplog){.echo = c->verbose, .dry_run = c->dry_run};
	config->ready = on_ready;
	config->arg = x;
	return r;
}

int cli_tunnel_end(struct cli *c, struct tunnel_config *config, int result)
{
	if (!result && c->dry_run)
		cli_print_operations(c, &config->log);
	oplog_done(&config->log);
	return result;
}

int cli_tunnel_down(struct cli *c, const char *kind)
{
	static const int caps[] = {CAP_NET_ADMIN};
	struct oplog log = {.echo = c->verbose, .dry_run = c->dry_run};
	char netns[NETNS_NAME_MAX], dir[256], schema[32];
	bool existed = false;
	int r = caps_require(caps, ARRAY_SIZE(caps), &c->err);

	if (!r)
		r = find_netns(c, netns);
	if (!r)
		r = ops_tunnel_down(state_dir(c, dir), or_host(netns), kind, c->backend, &log,
				    &existed, &c->err);
	if (!r && c->dry_run)
		cli_print_operations(c, &log);
	oplog_done(&log);
	if (r || c->dry_run)
		return r;
	snprintf(schema, sizeof(schema), "byway.%s.down/1", kind);
	cli_print_result(c, schema,
			 json_pack("{s:s, s:b}", "name", *netns ? netns : TUNNEL_HOST_NAME,
				   "existed", existed),
			 existed ? "the tunnel of %s is down"
				 : "%s has no tunnel: nothing to take down",
			 *netns ? netns : "the host");
	return 0;
}

static bool is_kind(const json_t *status, const char *kind)
{
	const char *is = json_string_value(json_object_get(status, "kind"));

	return !is || !strcmp(is, kind);
}

/* That of the tunnel of --in, or of all. */
static int read_status(struct cli *c, json_t **ret)
{
	char netns[NETNS_NAME_MAX], buf[256];
	const char *dir = state_dir(c, buf);
	json_t *one;
	int r;

	if (!cli_opt(c, "in"))
		return ops_tunnel_statuses(dir, ret, &c->err);
	r = find_netns(c, netns);
	if (!r)
		r = ops_tunnel_status(dir, or_host(netns), &one, &c->err);
	if (!r)
		*ret = json_pack("[o]", one);
	return r;
}

int cli_tunnel_status(struct cli *c, const char *kind, const struct cli_column *columns, size_t n)
{
	json_t *all, *one, *rows;
	char schema[32];
	size_t i;
	int r = read_status(c, &all);

	if (r)
		return r;
	rows = json_array();
	json_array_foreach(all, i, one) {
		if (is_kind(one, kind))
			json_array_append(rows, one);
	}
	json_decref(all);
	snprintf(schema, sizeof(schema), "byway.%s.status/1", kind);
	cli_print_list(c, schema, "tunnels", rows, columns, n);
	return 0;
}

int cli_target(struct cli *c, const char *text, char host[DIAL_HOST_MAX], uint16_t *ret_port)
{
	const char *colon = strrchr(text, ':');
	_free_ char *name = colon ? strndup(text, (size_t)(colon - text)) : NULL;
	size_t len = name ? strlen(name) : 0;
	unsigned long port = 0;
	char *end = NULL;

	if (len > 2 && name[0] == '[' && name[len - 1] == ']') {
		name[len - 1] = '\0';
		memmove(name, name + 1, len - 1);
	}
	if (colon)
		port = strtoul(colon + 1, &end, 10);
	if (!len || end == colon + 1 || *end || !port || port > 65535 ||
	    str_copy(host, DIAL_HOST_MAX, name))
		return err_set(&c->err, ERR_USAGE, -EINVAL,
			       "'%s' is not a target: expected HOST:PORT", text);
	*ret_port = (uint16_t)port;
	return 0;
}
