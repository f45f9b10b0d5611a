// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * The order is the point: addresses are found while the network is still free; then the blocking
 * rules, in one transaction; then the TUN device, the routes and the marking, behind them. From
 * there on, whatever happens to this process, nothing leaves beside the tunnel until somebody says
 * so: a clean end or ops_tunnel_down(). The TUN device goes with its last descriptor, the rules do
 * not.
 *
 *	state         allowed to leave, besides lo and what was excluded
 *	down          everything: nothing of ours is there
 *	connecting    what capture_block() lets through: what carries the tunnel, DNS to resolvers
 *	up            the same; what is captured goes into the TUN
 *	reconnecting  the same; the other side, which was there, cannot be reached
 *	error         the same; the other side refuses us, the guest sees it
 *	killed        the same; nothing reads the TUN, for there is none
 *
 * In a namespace other than our own, what carries the tunnel is ours and stays outside: inside,
 * nothing but the TUN leads out.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "kernel/netns.h"
#include "kernel/sandbox.h"
#include "kernel/tun.h"
#include "ops/tunnel.h"
#include "ops/tunnel_files.h"
#include "ops/ways.h"
#include "proc/pidlock.h"
#include "tunnel/dialer.h"
#include "tunnel/dnspool.h"
#include "tunnel/engine.h"
#include "tunnel/relay.h"

#define FLOWS_MAX 65536
#define DIALS_MAX 4096
#define CHUNKS 256
#define TICK_MS 1000

/* ---- Who runs ---- */

static int take_lock(const char *dir, const char *netns, int *ret_fd, struct err *err)
{
	char path[TUNNEL_PATH_LEN];
	int r;

	tunnel_path(dir, netns, ".lock", path);
	r = pidlock_take(path, ret_fd, err);
	if (r == -EBUSY)
		return err_set(err, ERR_CONFLICT, r,
			       "a tunnel is running for %s already: `byway status` shows it",
			       netns ? netns : "the host");
	if (r)
		tunnel_remove_dirs(dir);
	return r;
}

/* ---- Status ---- */

static json_t *describe_ips(const struct ip list[], size_t n)
{
	json_t *array = json_array();
	char text[IP_STRLEN];

	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, json_string(ip_format(&list[i], text)));
	return array;
}

static json_t *describe_cidrs(const struct cidr list[], size_t n)
{
	json_t *array = json_array();
	char text[CIDR_STRLEN];

	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, json_string(cidr_format(&list[i], text)));
	return array;
}

static json_t *describe_capture(const struct capture *c)
{
	return json_pack("{s:o, s:o, s:o, s:b, s:b, s:b}", "include",
			 describe_cidrs(c->include, c->n_include), "exclude",
			 describe_cidrs(c->exclude, c->n_exclude), "servers",
			 describe_ips(c->upstreams, c->n_upstreams), "dns",
			 c->dns == CAPTURE_DNS_TUNNEL, "datagrams", c->datagrams, "members_only",
			 c->n_cgroups > 0);
}

static json_t *describe(const struct tunnel *t, const struct worker_status *s)
{
	char since[TIME_STRLEN];
	json_t *json;

	json = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
			 "s:s?, s:s?}",
			 "name", tunnel_name(t->c->netns), "kind", t->ops->kind, "state",
			 tunnel_state_name(t->state), "pid", (int)getpid(), "since",
			 time_format(t->since, since), "tun", t->c->capture.tun, "kill_switch",
			 t->c->capture.kill_switch, "flows", (json_int_t)s->flows, "accepted",
			 (json_int_t)s->tcp.accepted, "refused", (json_int_t)s->tcp.refused,
			 "unreachable", (json_int_t)s->tcp.unreachable, "bytes_up",
			 (json_int_t)s->tcp.bytes_up, "bytes_down", (json_int_t)s->tcp.bytes_down,
			 "retransmits", (json_int_t)s->tcp.retransmits, "last_failure",
			 s->last_failure == DIAL_PENDING ? NULL : dial_status_name(s->last_failure),
			 "last_reason", *s->last_reason ? s->last_reason : NULL);
	json_object_set_new(json, "captures", describe_capture(&t->c->capture));
	t->ops->describe(t, json);
	return json;
}

static void write_status(struct tunnel *t)
{
	char path[TUNNEL_PATH_LEN], tmp[TUNNEL_PATH_LEN + 8];
	struct worker_status s;
	json_t *json;

	engine_get_status(t->engine, &s);
	t->ops->update(t, &s);
	if (t->c->judged)
		t->c->judged(t->c->arg, t->carries);
	json = describe(t, &s);
	tunnel_path(t->c->dir, t->c->netns, ".json", path);
	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	if (json_dump_file(json, tmp, JSON_INDENT(2)) || rename(tmp, path))
		log_debug("cannot write %s", path);
	json_decref(json);
}

/* ---- Running ---- */

static void wake_main_thread(void *arg)
{
	(void)arg;
	kill(getpid(), SIGTERM);
}

/* Made-up addresses must come into the tunnel, whatever else does. */
static int include_pool(struct capture *k, struct err *err)
{
	static const char *const networks[] = {DNSPOOL_NET4, DNSPOOL_NET6};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(networks) && k->n_include && !r; i++) {
		if (k->n_include == CAPTURE_LIST_MAX)
			return err_set(err, ERR_USAGE, -E2BIG,
				       "too many networks are included: no room for "
				       "the addresses that --dns virtual gives out");
		r = cidr_parse(networks[i], &k->include[k->n_include++], err);
	}
	return r;
}

static int set_dns(struct tunnel_config *c, struct err *err)
{
	struct cidr pool;
	int r = cidr_parse(DNSPOOL_NET4, &pool, err);

	c->capture.dns = c->dns == DNS_BYPASS ? CAPTURE_DNS_BYPASS : CAPTURE_DNS_TUNNEL;
	if (r || c->dns != DNS_VIRTUAL)
		return r;
	if (cidr_contains(&c->capture.tun_addr4, &pool))
		return err_set(err, ERR_USAGE, -EINVAL,
			       "the TUN's own network leaves no room in " DNSPOOL_NET4
			       " for the addresses that --dns virtual gives out");
	return include_pool(&c->capture, err);
}

/* The dialer's thread, and what starts later, has only the capabilities that are kept. */
static int make_engine(struct tunnel *t, struct worker_config *w, const int tuns[], size_t n,
		       struct err *err)
{
	const struct dns_config dns = {.mode = t->c->dns,
				       .resolvers = t->c->capture.resolvers,
				       .n_resolvers = t->c->capture.n_resolvers,
				       .tun_addr4 = t->c->capture.tun_addr4};
	int r = sandbox_keep_caps(t->ops->caps, t->ops->n_caps, err);

	if (!r)
		r = t->ops->connect(t, tuns[0], err);
	w->dialer = t->dialer;
	w->relay = t->relay;
	return r ? r : engine_new(w, &dns, tuns, n, &t->engine, err);
}

static int bring_up(struct tunnel *t, struct err *err)
{
	int tuns[ENGINE_WORKERS_MAX];
	size_t n = engine_workers();
	struct worker_config w = {.mtu = (uint16_t)t->c->capture.mtu_bytes,
				  .max_flows = FLOWS_MAX,
				  .max_dials = DIALS_MAX,
				  .chunks = CHUNKS};
	int r = netns_open(t->c->netns, &t->c->log, &t->ns, err);

	if (!r)
		r = firewall_new(t->c->backend, t->ns, &t->fw, err);
	if (!r)
		r = capture_block(&t->c->capture, t->ns, t->fw, err);
	if (!r && !t->c->netns && capture_covers_all(&t->c->capture))
		r = capture_unblock_all(t->ns, t->fw, err);
	if (!r)
		r = tun_open(t->ns, t->c->capture.tun, n, tuns, err);
	if (!r)
		r = capture_up(&t->c->capture, t->ns, err);
	if (!r && !t->c->log.dry_run)
		r = make_engine(t, &w, tuns, n, err);
	return r;
}

static int wait_for_end(struct tunnel *t, const sigset_t *signals, struct err *err)
{
	_close_ int fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);

	if (fd < 0)
		return err_errno(err, -errno, "cannot wait for signals");
	do
		write_status(t);
	while (!t->ops->wait(t, fd, TICK_MS));
	return 0;
}

static int run(struct tunnel *t, const sigset_t *signals, struct err *err)
{
	int r = bring_up(t, err);

	if (r)
		return r;
	file_raise_limit();
	r = engine_start(t->engine, wake_main_thread, NULL, err);
	if (r)
		return r;
	t->since = time(NULL);
	write_status(t);
	if (t->c->ready)
		t->c->ready(t->c->arg);
	r = wait_for_end(t, signals, err);
	if (!r && engine_error(t->engine) < 0)
		r = err_errno(err, engine_error(t->engine), "the TUN device %s went away",
			      t->c->capture.tun);
	return r;
}

/* What a tunnel before this one left of itself: its kill switch is not ours to lift by failing. */
static bool is_left_over(const struct tunnel_config *c)
{
	char path[TUNNEL_PATH_LEN];

	tunnel_path(c->dir, c->netns, ".lock", path);
	return access(path, F_OK) == 0 && !pidlock_holder(path);
}

/* An end that was asked for leaves nothing, nor does a set-up that failed. A tunnel that breaks
 * leaves what blocks. The files stay as long as anything does: by them it is found. */
static int end(struct tunnel *t, bool leave_blocked, struct err *err)
{
	int r = 0;

	engine_free(t->engine);
	t->ops->disconnect(t);
	relay_free(t->relay);
	dialer_free(t->dialer);
	if (t->fw && !leave_blocked)
		r = capture_down(t->ns, t->fw, err);
	firewall_free(t->fw);
	netns_free(t->ns);
	if (!leave_blocked && !r)
		r = tunnel_remove_files(t->c->dir, t->c->netns, err);
	close_p(&t->lock);
	return r;
}

/* Of the two errors, the one that came first is told; of the other, what to do. */
static int end_after(struct tunnel *t, int result, bool left_over, struct err *err)
{
	bool broke = result && t->since;
	int r = end(t, broke || (result && left_over), result ? NULL : err);

	if (r)
		err_append(err, "; what is left may block: `byway %s down`%s%s", t->ops->kind,
			   t->c->netns ? " --in " : "", t->c->netns ? t->c->netns : "");
	return result ? result : r;
}

/* Before anything is blocked. */
static int prepare(struct tunnel *t, struct err *err)
{
	int r = t->c->netns ? 0 : ops_host_way_refuse(err);

	if (!r)
		r = set_dns(t->c, err);
	return r ? r : t->ops->prepare(t, err);
}

int ops_tunnel_run(struct tunnel *t, struct err *err)
{
	bool left_over = is_left_over(t->c);
	sigset_t signals;
	int r;

	t->lock = -1;
	if (t->c->log.dry_run) {
		r = prepare(t, err);
		r = r ? r : bring_up(t, err);
		firewall_free(t->fw);
		netns_free(t->ns);
		return r;
	}
	umask(077);
	r = take_lock(t->c->dir, t->c->netns, &t->lock, err);
	if (r)
		return r;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	r = prepare(t, err);
	if (!r)
		r = run(t, &signals, err);
	return end_after(t, r, left_over, err);
}

/* ---- Trying, without a tunnel ---- */

int ops_tunnel_dial(const struct dialer *d, const char *host, uint16_t port, struct err *err)
{
	static const enum err_kind kinds[DIAL_NUM_STATUSES] = {
		[DIAL_REFUSED] = ERR_UNREACHABLE, [DIAL_UNREACHABLE] = ERR_UNREACHABLE,
		[DIAL_DENIED] = ERR_BLOCKED,      [DIAL_AUTH] = ERR_AUTH,
		[DIAL_TIMEOUT] = ERR_UNREACHABLE, [DIAL_BROKEN] = ERR_FAILED,
	};
	struct dial_target target = {.port = port};
	struct dial dial = {.fd = -1};
	enum dial_status s;
	int r = 0;

	if (str_copy(target.host, sizeof(target.host), host))
		return err_set(err, ERR_USAGE, -EINVAL, "the name of the target is too long");
	if (!ip_parse(host, &target.addr, NULL))
		target.host[0] = '\0';
	s = dial_wait(d, &dial, &target);
	if (s != DIAL_CONNECTED)
		r = err_set(err, kinds[s], -ECONNREFUSED, "%s: %s", dial_status_name(s),
			    dial.reason);
	dial_abort(&dial);
	return r;
}
