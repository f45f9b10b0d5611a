// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * An egress lives in the namespaces of a session in mode full, whatever its kind:
 * ops_session_prepare() makes them, with rules and rows. The rules of its own are in NAME before the
 * leg is.
 *
 * openconnect: the process is that of a group with one session (supervisor.c), which calls here
 * when the namespaces stand and when the session's state changes.
 *
 * ssh, connect: a child enters NAME.out, for it is there that the tunnel's sockets belong, and runs
 * a tunnel for NAME; its names are looked up from there, too. The process itself stays outside,
 * waits for the child, and takes away what it has made. The child dies with it.
 *
 *	state                       route into the leg
 *	up                          there
 *	connecting, reconnecting    none: lists go on to the next egress, or nowhere
 *	error                       none; a proxy is asked by the tunnel itself whether that is over
 *	stopped, killed             as it was: the namespace blocks
 *	ended                       none, and no leg
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "base/resolvers.h"
#include "egress/leg.h"
#include "egress/spec.h"
#include "kernel/link.h"
#include "kernel/netns.h"
#include "ops/egress.h"
#include "ops/egress_impl.h"
#include "ops/ops.h"
#include "ops/proxy.h"
#include "ops/session.h"
#include "ops/ssh.h"
#include "ops/ways.h"
#include "proc/child.h"
#include "proc/pidlock.h"
#include "session/etc.h"
#include "session/file.h"
#include "session/server.h"
#include "session/spec.h"
#include "session/vpn.h"
#include "session/watch.h"
#include "tunnel/resolve.h"
#include "tunnel/url.h"

#define LEG_MTU_MIN 1280u /* RFC 8200 5 */
#define SETTLE_MS 60000
#define PASSWORD_FILE_MAX 4096
#define TUN_CIDR "198.18.0.1/30" /* of the range for tests between networks, RFC 2544 */
#define TUN_CIDR6 "fd62:7977:6179::1/126"
#define OUTER_NET "169.254.78.0" /* of carriers; nobody sees it but this host */

/* Whom a carrier asks for names: whoever it is, the egress that it goes out by answers (TEST-NET-1,
 * RFC 5737). */
static const struct ip via_resolver = {.family = AF_INET, .bytes = {192, 0, 2, 53}};

struct run {
	const struct egress_run *c;
	struct egress e;
	struct egress_spec spec;
	struct session_file *file; /* the session that it lives in; the spec's own, or `made` */
	struct session_file *made;
	struct ops ops;
	struct netns *host;
	int lock;
	struct leg_rules rules;
	enum fw_backend_id backend; /* chosen */
	bool routed;
	int pipe; /* of the child, to the process that waits for it */
};

static void run_done(struct run *x)
{
	session_file_free(x->made);
	egress_spec_done(&x->spec);
	egress_done(&x->e);
	netns_free(x->host);
	ops_close(&x->ops);
	close_p(&x->lock);
}

/* ---- What it is ---- */

static int find_interface(struct run *x, struct err *err)
{
	struct egress via = {0};
	struct link link;
	int r = *x->e.via ? egress_load(x->ops.st, x->e.via, &via, err) : 0;

	if (!r && *x->e.via && link_get(x->ops.host, via.leg, &link, NULL))
		r = err_set(err, ERR_UNREACHABLE, -ENETDOWN,
			    "egress '%s' goes out by '%s', which does not run", x->e.name,
			    x->e.via);
	str_copy(x->file->interface, sizeof(x->file->interface), via.leg);
	egress_done(&via);
	return r;
}

/* The session of a tunnel: nothing but its namespaces. */
static struct session_file *plain_session(const struct run *x)
{
	struct session_file *f = xcalloc(1, sizeof(*f));

	f->path = xstrdup(x->e.path);
	f->sessions = xcalloc(1, sizeof(*f->sessions));
	f->n_sessions = 1;
	spec_init(&f->sessions[0]);
	str_copy(f->sessions[0].name, sizeof(f->sessions[0].name), x->e.name);
	return f;
}

static int load(struct run *x, struct err *err)
{
	struct ip outer;
	int r = ops_open(&x->ops, STORE_WRITE, err);

	if (!r)
		r = egress_load(x->ops.st, x->c->name, &x->e, err);
	if (!r)
		r = egress_spec_parse(x->e.path, x->e.name, x->e.spec, &x->spec, err);
	if (!r)
		r = netns_open(NULL, NULL, &x->host, err);
	if (!r)
		r = ip_parse(OUTER_NET, &outer, err);
	if (r)
		return r;
	if (!x->spec.session)
		x->made = plain_session(x);
	x->file = x->made ? x->made : x->spec.session;
	egress_group(x->e.name, x->file->group);
	outer.bytes[3] = (unsigned char)x->e.no;
	x->file->subnet = (struct cidr){.addr = outer, .prefix = 32};
	x->file->nat = true;
	return find_interface(x, err);
}

/* ---- The leg ---- */

static uint32_t leg_mtu(const struct run *x)
{
	return x->spec.mtu_bytes ? x->spec.mtu_bytes : EGRESS_MTU_DEFAULT;
}

static int apply_rules(struct run *x, struct netns *inside, struct err *err)
{
	_firewall_ struct firewall *fw = NULL;
	_ruleset_ struct ruleset rs;
	int r = firewall_new(x->backend, inside, &fw, err);

	ruleset_init(&rs);
	leg_rules_inside(&rs, &x->rules);
	return r ? r : firewall_apply(fw, inside, &rs, err);
}

/* Rules, then the pair. */
static int make_leg(struct run *x, struct ops *o, const struct session *row, struct err *err)
{
	_netns_ struct netns *inside = NULL;
	int r = netns_open(row->netns, &o->log, &inside, err);

	x->rules.masquerade = x->spec.kind == EGRESS_OPENCONNECT;
	if (!r)
		r = ops_firewall(o, err);
	if (!r)
		r = firewall_backend_parse(firewall_name(o->fw), &x->backend, err);
	if (!r)
		r = apply_rules(x, inside, err);
	if (!r)
		r = ops_table_sync(o, ops_legs_rules, err);
	return r ? r : leg_up(o->host, inside, &x->e, leg_mtu(x), err);
}

static int on_made(void *arg, struct ops *o, const struct session *rows, struct err *err)
{
	struct run *x = arg;
	int r = make_leg(x, o, &rows[0], err);

	if (!r)
		r = leg_route(x->host, &x->e, false, err);
	return r ? err_context(err, "egress '%s'", x->e.name) : 0;
}

static void route(struct run *x, bool into)
{
	struct err err;

	if (into == x->routed)
		return;
	if (leg_route(x->host, &x->e, into, &err))
		log_warn("egress '%s': %s", x->e.name, err.msg);
	else
		x->routed = into;
}

/* Its process may have been killed while it was up. */
static int take_lock(struct run *x, struct err *err)
{
	char group[NAME_MAX_LEN], path[SESSION_PATH_MAX];
	int r;

	session_path(egress_group(x->c->name, group), ".lock", path);
	r = pidlock_take(path, &x->lock, err);
	return r == -EBUSY ? err_set(err, ERR_CONFLICT, r, "egress '%s' runs already", x->c->name)
			   : r;
}

/* Afterwards; what failed before is what is told. */
static int clean_up(struct run *x, int result, struct err *err)
{
	struct err second = {0};
	int r = ops_open(&x->ops, STORE_WRITE, &second);

	if (!r)
		r = egress_clean_up(&x->ops, &x->e, &second);
	ops_suspend(&x->ops);
	if (r)
		err_append(err, "; what is left: `byway egress stop %s`", x->c->name);
	if (r && !result)
		return err_set(err, second.kind, second.code, "%s", second.msg);
	return result;
}

/* ---- openconnect ---- */

/* The first of each family, of the file's or the server's. */
static void choose_dns(struct run *x, const struct watch *w)
{
	const struct ip *dns = w->spec->n_dns ? w->spec->dns : w->inside.dns;
	size_t n = w->spec->n_dns ? w->spec->n_dns : w->inside.n_dns;

	x->rules.dns4 = x->rules.dns6 = (struct ip){0};
	for (size_t i = n; i--;)
		*(dns[i].family == AF_INET6 ? &x->rules.dns6 : &x->rules.dns4) = dns[i];
}

/* What the server has said: larger packets than the TUN's would be lost to whoever does not listen
 * to ICMP; and who is asked for names. */
static int follow_server(struct run *x, const struct watch *w, struct err *err)
{
	_netns_ struct netns *inside = NULL;
	struct link tun = {0};
	int r = netns_open(w->row->netns, NULL, &inside, err);

	if (!r)
		r = link_get(inside, SESSION_TUN, &tun, err);
	if (!r)
		r = leg_set_mtu(x->host, inside, &x->e, MAX(tun.mtu_bytes, LEG_MTU_MIN), err);
	choose_dns(x, w);
	return r ? r : apply_rules(x, inside, err);
}

static void on_news(void *arg, const struct watch *w)
{
	struct run *x = arg;
	bool up = w->life.state == SESSION_UP;
	struct err err;

	if (up && follow_server(x, w, &err)) {
		log_warn("egress '%s': %s", x->e.name, err.msg);
		up = false;
	}
	route(x, up);
}

static void on_begun(void *arg)
{
	struct run *x = arg;

	x->c->begun(x->c->arg);
}

static void on_settled(void *arg, const struct err *result)
{
	struct run *x = arg;

	if (result->code)
		log_warn("egress '%s': %s", x->e.name, result->msg);
}

static void ask(const struct ip servers[], size_t n, const char *name, struct connect_addrs *ret)
{
	struct resolve_answer answer = {0};
	struct resolver *r;

	if (resolver_new(servers, n, 0, &r, NULL))
		return;
	resolver_ask(r, name, &answer);
	resolver_wait(r);
	resolver_free(r);
	*ret = answer.addrs;
}

static void resolve_via(const char *name, struct connect_addrs *ret)
{
	ask(&via_resolver, 1, name, ret);
}

static void resolve_outside(const char *name, struct connect_addrs *ret)
{
	struct ip servers[SESSION_DNS_MAX];

	ask(servers, resolvers_read(servers, ARRAY_SIZE(servers)), name, ret);
}

/* By sockets of the carrier's: the host's own questions may have to go out by this very egress.
 * Whom only the host can ask, it asks. */
static servers_resolve_fn choose_resolve(const struct run *x)
{
	struct ip any;

	if (*x->e.via)
		return resolve_via;
	return resolvers_read(&any, 1) ? resolve_outside : NULL;
}

static int run_session(struct run *x, struct err *err)
{
	const struct supervise_config config = {.file = x->file,
						.self = x->c->self,
						.backend = x->c->backend,
						.verbose = x->c->verbose,
						.settle_ms = SETTLE_MS,
						.resolve = choose_resolve(x),
						.made = on_made,
						.news = on_news,
						.begun = on_begun,
						.settled = on_settled,
						.arg = x};
	int r = ops_session_supervise(&config, err);

	if (r == -EBUSY)
		return r;
	route(x, false);
	return clean_up(x, r, err);
}

/* ---- Tunnels: the child ---- */

/* To the process that waits: once when it stands, with code 0, and at the end if it failed. */
static void tell(const struct run *x, const struct err *err)
{
	(void)!write(x->pipe, err, sizeof(*err));
}

static void on_ready(void *arg)
{
	const struct err none = {0};

	tell(arg, &none);
}

/* Never tried by the route: it would take the connections from whoever is next in a list. */
static void on_judged(void *arg, bool carries)
{
	route(arg, carries);
}

static int tunnel_config(struct run *x, struct tunnel_config *t, struct err *err)
{
	struct capture *k = &t->capture;
	int r = cidr_parse(TUN_CIDR, &k->tun_addr4, err);

	if (!r)
		r = cidr_parse(TUN_CIDR6, &k->tun_addr6, err);
	str_copy(k->tun, sizeof(k->tun), SESSION_TUN);
	k->mtu_bytes = leg_mtu(x);
	k->kill_switch = true;
	k->default_route =
		true; /* what comes out of the TUN has to have one: reverse path filter */
	t->dir = TUNNEL_DIR;
	t->netns = x->e.name;
	t->backend = x->backend;
	t->log.echo = x->c->verbose;
	t->ready = on_ready;
	t->judged = on_judged;
	t->arg = x;
	return r;
}

static int run_ssh(struct run *x, struct err *err)
{
	struct ssh_tunnel_config config = {.ssh = {.destination = x->spec.destination,
						   .options = (const char *const *)x->spec.words,
						   .connections = x->spec.connections},
					   .dns = x->spec.resolver.family ? RELAY_DNS_ADDR
									  : RELAY_DNS_REMOTE,
					   .resolver = x->spec.resolver};
	int r = tunnel_config(x, &config.tunnel, err);

	return r ? r : ops_ssh_run(&config, err);
}

static int read_password(const struct run *x, struct connect_config *k, struct err *err)
{
	_buf_ struct buf text = {0};
	int r = x->spec.password_file
			? file_read(x->spec.password_file, PASSWORD_FILE_MAX, &text, err)
			: 0;

	if (r || !text.data)
		return r;
	text.data[strcspn(text.data, "\r\n")] = '\0';
	if (str_copy(k->password, sizeof(k->password), text.data))
		r = err_set(err, ERR_USAGE, -EINVAL, "the password is longer than %zu characters",
			    sizeof(k->password) - 1);
	explicit_bzero(text.data, text.len);
	return r;
}

static int read_upstreams(const struct run *x, struct connect_config *k, struct err *err)
{
	_free_ char *urls = xstrdup(x->spec.urls);
	char *rest = NULL;
	int r = 0;

	for (char *u = strtok_r(urls, ", ", &rest); u && !r; u = strtok_r(NULL, ", ", &rest))
		r = proxy_url_add(u, k, err);
	if (!r && x->spec.username && str_copy(k->username, sizeof(k->username), x->spec.username))
		r = err_set(err, ERR_USAGE, -EINVAL, "the user's name is too long");
	k->mark = CAPTURE_MARK_BYPASS;
	return r ? r : read_password(x, k, err);
}

static int run_proxy(struct run *x, struct err *err)
{
	struct proxy_config config = {0};
	struct capture *k = &config.tunnel.capture;
	int r = read_upstreams(x, &config.connect, err);

	config.tunnel.dns = DNS_VIRTUAL;
	if (x->spec.resolver.family) {
		config.tunnel.dns = DNS_TCP;
		k->resolvers[k->n_resolvers++] = x->spec.resolver;
	}
	if (!r)
		r = tunnel_config(x, &config.tunnel, err);
	if (!r)
		r = ops_proxy_run(&config, err);
	explicit_bzero(&config.connect, sizeof(config.connect));
	return r;
}

static int run_child(struct run *x, const struct netns *carrier, struct err *err)
{
	int r;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	r = ops_enter(carrier, err);
	if (!r)
		r = x->spec.kind == EGRESS_SSH ? run_ssh(x, err) : run_proxy(x, err);
	route(x, false);
	return r;
}

/* ---- Tunnels: who waits for it ---- */

/* Who the carrier asks for names. */
static int write_resolvers(const struct run *x, const struct session *row, struct err *err)
{
	struct session_spec spec = {.mode = SESSION_FULL};

	if (*x->e.via)
		spec.dns[spec.n_dns++] = via_resolver;
	else
		spec.n_dns = resolvers_read(spec.dns, SESSION_DNS_MAX);
	return etc_write(session_outer(row), &spec, NULL, err);
}

static int prepare(struct run *x, struct netns **ret_carrier, struct err *err)
{
	struct session *rows = NULL;
	int r = ops_open(&x->ops, STORE_WRITE, err);

	if (!r)
		r = ops_session_prepare(&x->ops, x->file, NULL, NULL, &rows, err);
	if (!r)
		r = on_made(x, &x->ops, rows, err);
	if (!r)
		r = write_resolvers(x, &rows[0], err);
	if (!r)
		r = netns_open(session_outer(&rows[0]), NULL, ret_carrier, err);
	if (rows)
		session_list_free(rows, 1);
	ops_suspend(&x->ops);
	return r;
}

static int start_child(struct run *x, const struct netns *carrier, int fds[2], pid_t *ret,
		       struct err *err)
{
	struct err why = {0};

	if (pipe(fds))
		return err_errno(err, -errno, "cannot make a pipe");
	*ret = fork();
	if (*ret < 0)
		return err_errno(err, -errno, "cannot fork");
	if (*ret)
		return 0;
	close(fds[0]);
	x->pipe = fds[1];
	if (run_child(x, carrier, &why))
		tell(x, &why);
	_exit(0);
}

/* What the child says, signals passed on to it, until it has ended. *ret_stood: it did before. */
static int follow(struct run *x, int fd, int signals, pid_t pid, bool *ret_stood, struct err *err)
{
	struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
	struct signalfd_siginfo info;
	bool asked = false;
	struct err word;
	int status, r = 0;

	for (;;) {
		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		if (p[1].revents && read(signals, &info, sizeof(info)) > 0) {
			asked = true;
			kill(pid, SIGTERM);
		}
		if (!p[0].revents)
			continue;
		if (read(fd, &word, sizeof(word)) != sizeof(word))
			break;
		if (word.code && !r)
			r = err_set(err, word.kind, word.code, "%s", word.msg);
		else if (!word.code && !*ret_stood) {
			*ret_stood = true;
			x->c->begun(x->c->arg);
		}
	}
	waitpid(pid, &status, 0);
	if (!r && !asked)
		r = err_set(err, ERR_FAILED, -ECHILD,
			    "the process of egress '%s' was killed: what goes out by it is "
			    "blocked",
			    x->c->name);
	return r;
}

/* One that broke after it stood leaves what blocks, as a tunnel does; but lists go on. */
static int run_tunnel(struct run *x, struct err *err)
{
	_netns_ struct netns *carrier = NULL;
	int fds[2] = {-1, -1}, signal_fd = -1, r;
	bool stood = false;
	sigset_t signals;
	pid_t pid = 0;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	r = prepare(x, &carrier, err);
	if (!r)
		r = start_child(x, carrier, fds, &pid, err);
	close_p(&fds[1]);
	if (!r)
		r = follow(x, fds[0], signal_fd, pid, &stood, err);
	close_p(&fds[0]);
	close_p(&signal_fd);
	x->routed = true; /* it may be */
	route(x, false);
	return r && stood ? r : clean_up(x, r, err);
}

int ops_egress_run(const struct egress_run *c, struct err *err)
{
	_cleanup_(run_done) struct run x = {
		.c = c, .lock = -1, .ops = {.backend = c->backend, .log.echo = c->verbose}};
	char group[NAME_MAX_LEN];
	int r = load(&x, err);

	/* While the state is held: who deletes the row sees either it or us. */
	if (!r && x.spec.kind != EGRESS_OPENCONNECT)
		r = take_lock(&x, err);
	ops_suspend(&x.ops);
	if (!r)
		r = x.spec.kind == EGRESS_OPENCONNECT ? run_session(&x, err) : run_tunnel(&x, err);
	if (!r && x.lock >= 0)
		r = session_remove_files(egress_group(c->name, group), err);
	return r;
}
