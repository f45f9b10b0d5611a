// SPDX-License-Identifier: GPL-2.0-or-later
/* byway proxy up|down|status|check. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/cli.h"
#include "kernel/caps.h"
#include "kernel/cgroup.h"
#include "ops/proxy.h"
#include "tunnel/url.h"

#define TUN_NAME_DEFAULT "byway0"
#define TUN_CIDR_DEFAULT "198.18.0.1/30" /* of the range for tests between networks, RFC 2544 */
#define TUN_CIDR6_DEFAULT "fd62:7977:6179::1/126"
#define TUN_MTU_DEFAULT 1500
#define TUN_MTU_MIN 1280 /* RFC 8200 5: with less there is no IPv6 */
#define TUN_MTU_MAX 65520
#define PASSWORD_MAX 128
#define PASSWORD_FILE_MAX 4096
#define RESOLV_CONF "/etc/resolv.conf"
#define RESOLVED_CONF "/run/systemd/resolve/resolv.conf"

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
	return cli_opt(c, "state-dir") ? cli_opt(c, "state-dir") : proxy_default_dir(buf);
}

static const char *or_host(const char netns[NETNS_NAME_MAX])
{
	return *netns ? netns : NULL;
}

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

static int from_url(struct cli *c, const char *text, struct connect_config *k)
{
	_proxy_url_ struct proxy_url url = {0};
	struct connect_upstream *u = &k->upstreams[k->n_upstreams];
	int r = proxy_url_parse(text, &url, &c->err);

	if (r)
		return r;
	u->tls = url.tls;
	u->port = url.port;
	str_copy(u->host, sizeof(u->host), url.host);
	if (ip_parse(url.host, &u->addr, NULL))
		u->addr = (struct ip){0};
	k->n_upstreams++;
	if (*url.username && *k->username &&
	    (strcmp(url.username, k->username) || strcmp(url.password, k->password)))
		return err_set(&c->err, ERR_USAGE, -EINVAL,
			       "the proxies' user names or passwords differ: there is one for all "
			       "of them");
	if (*url.username)
		str_copy(k->username, sizeof(k->username), url.username);
	if (url.has_password)
		str_copy(k->password, sizeof(k->password), url.password);
	return 0;
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

/* Comma-separated lists, for the options that may be given more than once. */
static int each_word(struct cli *c, const char *option,
		     int (*fn)(struct cli *, const char *, void *), void *arg)
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
		r = k->n_upstreams == CONNECT_UPSTREAMS_MAX
			    ? err_set(&c->err, ERR_USAGE, -E2BIG, "at most %d proxies",
				      CONNECT_UPSTREAMS_MAX)
			    : from_url(c, w, k);
	if (urls)
		explicit_bzero(urls, strlen(url ? url : ""));
	if (!r && host)
		r = from_host(c, host, k);
	if (!r && username && str_copy(k->username, sizeof(k->username), username))
		r = err_set(&c->err, ERR_USAGE, -EINVAL, "--username is too long");
	if (!r)
		r = read_password(c, k->password);
	return r ? r : each_word(c, "proxy-ip", set_upstream_address, k);
}

/* ---- What is captured ---- */

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
		return err_set(&c->err, ERR_USAGE, -E2BIG, "at most %d cgroups", CAPTURE_CGROUPS_MAX);
	r = cgroup_find(word, &k->cgroups[k->n_cgroups], &c->err);
	k->n_cgroups += !r;
	return r;
}

/* A stub on loopback resolves through the network itself: who it asks is what must be let out. */
static bool is_loopback(const struct ip *ip)
{
	static const struct ip one = {.family = AF_INET6, .bytes = {[15] = 1}};

	return ip->family == AF_INET ? ip->bytes[0] == 127 : ip_equal(ip, &one);
}

static void read_resolv_conf(const char *path, struct capture *k)
{
	_fclose_ FILE *f = fopen(path, "re");
	char line[256], word[64];

	while (f && fgets(line, sizeof(line), f)) {
		struct ip ip;

		if (sscanf(line, "nameserver %63s", word) != 1 || ip_parse(word, &ip, NULL) ||
		    is_loopback(&ip) || k->n_resolvers == CAPTURE_LIST_MAX)
			continue;
		k->resolvers[k->n_resolvers++] = ip;
	}
}

static int read_dns(struct cli *c, struct capture *k, enum dns_mode *mode)
{
	const char *word = cli_opt(c, "dns");
	int r = each_word(c, "allow-dns", add_resolver, k);

	if (!r && word && dns_mode_parse(word, mode))
		r = err_set(&c->err, ERR_USAGE, -EINVAL,
			    "--dns: '%s' is unknown, there are bypass, tcp and virtual", word);
	if (r || k->n_resolvers)
		return r;
	read_resolv_conf(RESOLV_CONF, k);
	if (!k->n_resolvers)
		read_resolv_conf(RESOLVED_CONF, k);
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

/* A tunnel that silently lost one family would be worse than none. */
static int read_mtu(struct cli *c, struct capture *k)
{
	int r = cli_number(c, "mtu", TUN_MTU_MIN, TUN_MTU_MAX, TUN_MTU_DEFAULT, &k->mtu_bytes);

	if (r)
		err_append(&c->err, " (IPv6 needs %d)", TUN_MTU_MIN);
	return r;
}

static int read_capture(struct cli *c, struct capture *k, enum dns_mode *dns)
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
		r = each_word(c, "include", add_cidr, &include);
	if (!r)
		r = each_word(c, "exclude", add_cidr, &exclude);
	if (!r)
		r = each_word(c, "exclude-uid", add_uid, k);
	if (!r)
		r = each_word(c, "cgroup", add_cgroup, k);
	return r ? r : read_dns(c, k, dns);
}

/* ---- Readiness ---- */

struct readiness {
	const struct cli *c;
	int pipe; /* to the command that waits for a detached tunnel, or -1 */
};

/* sd_notify(3), which is one datagram. */
static void notify_manager(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	_close_ int fd = -1;

	if (!path || str_copy(to.sun_path, sizeof(to.sun_path), path))
		return;
	if (to.sun_path[0] == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)!sendto(fd, "READY=1", 7, 0, (struct sockaddr *)&to,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
}

/* Whoever reads what the command says must see its end. */
static void leave_terminal(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; fd >= 0 && i <= STDERR_FILENO; i++)
		dup2(fd, i);
	close_p(&fd);
	(void)!chdir("/");
}

static void on_ready(void *arg)
{
	struct readiness *r = arg;

	notify_manager();
	cli_say(r->c, "captured: TCP goes through the proxy");
	if (r->pipe < 0)
		return;
	leave_terminal();
	(void)!write(r->pipe, "r", 1);
	close(TAKE_FD(r->pipe));
}

/* The parent waits until the child is ready or ends, and passes its fate on. Returns 0 in the child
 * only. */
static int detach(struct cli *c, int *ret_pipe)
{
	int fds[2];
	char ready = 0;
	int status;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return err_errno(&c->err, -errno, "cannot make a pipe");
	pid = fork();
	if (pid < 0)
		return err_errno(&c->err, -errno, "cannot fork");
	if (pid) {
		close(fds[1]);
		(void)!read(fds[0], &ready, 1);
		if (ready)
			exit(0);
		if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
			exit(WEXITSTATUS(status)); /* the child has said why */
		return err_set(&c->err, ERR_FAILED, -ECHILD,
			       "the tunnel's process was killed; what is left may block: `byway proxy "
			       "down`");
	}
	close(fds[0]);
	setsid();
	*ret_pipe = fds[1];
	return 0;
}

/* ---- The commands ---- */

int cmd_proxy_up(struct cli *c)
{
	static const int caps[] = {CAP_NET_ADMIN};
	struct readiness ready = {.c = c, .pipe = -1};
	struct proxy_config config = {.backend = c->backend, .ready = on_ready, .arg = &ready};
	char netns[NETNS_NAME_MAX], dir[256];
	int r = c->dry_run ? 0 : caps_require(caps, ARRAY_SIZE(caps), &c->err);

	log_set_level(c->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN);
	if (!r)
		r = read_upstreams(c, &config.connect);
	if (!r)
		r = read_capture(c, &config.capture, &config.dns);
	if (!r)
		r = find_netns(c, netns);
	if (!r && cli_opt(c, "detach") && !c->dry_run)
		r = detach(c, &ready.pipe);
	if (!r) {
		config.dir = state_dir(c, dir);
		config.netns = or_host(netns);
		config.connect.mark = CAPTURE_MARK_BYPASS;
		config.log = (struct oplog){.echo = c->verbose, .dry_run = c->dry_run};
		r = ops_proxy_run(&config, &c->err);
	}
	if (!r && c->dry_run)
		cli_print_operations(c, &config.log);
	oplog_done(&config.log);
	explicit_bzero(&config.connect, sizeof(config.connect));
	return r;
}

int cmd_proxy_down(struct cli *c)
{
	static const int caps[] = {CAP_NET_ADMIN};
	struct oplog log = {.echo = c->verbose, .dry_run = c->dry_run};
	char netns[NETNS_NAME_MAX], dir[256];
	bool existed = false;
	int r = caps_require(caps, ARRAY_SIZE(caps), &c->err);

	if (!r)
		r = find_netns(c, netns);
	if (!r)
		r = ops_proxy_down(state_dir(c, dir), or_host(netns), c->backend, &log, &existed,
				   &c->err);
	if (!r && c->dry_run)
		cli_print_operations(c, &log);
	oplog_done(&log);
	if (r || c->dry_run)
		return r;
	cli_print_result(c, "byway.proxy.down/1",
			 json_pack("{s:s, s:b}", "name", *netns ? netns : PROXY_HOST_NAME,
				   "existed", existed),
			 existed ? "the tunnel of %s is down"
				 : "%s has no tunnel: nothing to take down",
			 *netns ? netns : "the host");
	return 0;
}

static int status_of(struct cli *c, json_t *rows)
{
	char **names = NULL, netns[NETNS_NAME_MAX], buf[256];
	const char *dir = state_dir(c, buf);
	size_t n = 0;
	json_t *one;
	int r;

	if (cli_opt(c, "in")) {
		r = find_netns(c, netns);
		if (!r)
			r = ops_proxy_status(dir, or_host(netns), &one, &c->err);
		return r ? r : json_array_append_new(rows, one);
	}
	r = ops_proxy_list(dir, &names, &n, &c->err);
	for (size_t i = 0; i < n; i++) {
		if (!r)
			r = ops_proxy_status(dir,
					     strcmp(names[i], PROXY_HOST_NAME) ? names[i] : NULL,
					     &one, &c->err);
		if (!r)
			json_array_append_new(rows, one);
		free(names[i]);
	}
	free(names);
	return r;
}

int cmd_proxy_status(struct cli *c)
{
	static const struct cli_column columns[] = {
		{"TUNNEL", "name"}, {"STATE", "state"},
		{"PROXY", "proxy"}, {"PORT", "port"},
		{"TUN", "tun"},     {"FLOWS", "flows"},
		{"UP", "bytes_up"}, {"DOWN", "bytes_down"},
		{"PID", "pid"},     {"LAST FAILURE", "last_reason"},
	};
	json_t *rows = json_array();
	int r = status_of(c, rows);

	if (r) {
		json_decref(rows);
		return r;
	}
	cli_print_list(c, "byway.proxy.status/1", "tunnels", rows, columns, ARRAY_SIZE(columns));
	return 0;
}

static int split_target(struct cli *c, const char *text, char host[DIAL_HOST_MAX],
			uint16_t *ret_port)
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

int cmd_proxy_check(struct cli *c)
{
	struct proxy_config config = {0};
	char host[DIAL_HOST_MAX];
	uint16_t port = 0;
	int r = split_target(c, c->args[0], host, &port);

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

/* Of proxyvpn's options, those that `down` has a use for; scripts pass the same ones to both. */
static int words_for_down(int argc, char **argv, char **words, int n)
{
	static const char *const flags[] = {"--verbose", "-v", "--dry-run", "--json"};

	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--state-dir", 11)) {
			words[n++] = argv[i];
			if (!strchr(argv[i], '=') && i + 1 < argc)
				words[n++] = argv[++i];
		}
		for (size_t k = 0; k < ARRAY_SIZE(flags); k++) {
			if (!strcmp(argv[i], flags[k]))
				words[n++] = argv[i];
		}
	}
	return n;
}

/* proxyvpn [up|down] OPTIONS; the word may stand first or last. */
int cli_proxyvpn(struct cli *c, int argc, char **argv)
{
	_free_ char **words = xcalloc((size_t)argc + 4, sizeof(*words));
	int ends[] = {1, argc - 1}, verb = 0, n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		if (ends[i] > 0 && (!strcmp(argv[ends[i]], "up") || !strcmp(argv[ends[i]], "down")))
			verb = ends[i];
	}
	words[n++] = argv[0];
	words[n++] = (char *)"proxy";
	words[n++] = verb ? argv[verb] : (char *)"up";
	c->program = "byway"; /* whose help and messages follow */
	if (verb && !strcmp(argv[verb], "down"))
		return cli_run(c, words_for_down(argc, argv, words, n), words);
	for (int i = 1; i < argc; i++) {
		if (i != verb)
			words[n++] = argv[i];
	}
	return cli_run(c, n, words);
}
