// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * All of this runs on the thread that waits for signals, and never blocks it: netlink events, the
 * resolver's sockets and those of probes are polled together.
 *
 *	event                   what is done
 *	the network changed     after it has been quiet for SETTLE_MS, SETTLE_MAX_MS at most: dials
 *	                        begin anew, connections without their local address are reset, names
 *	                        are resolved, the proxy is probed
 *	the proxy is away       names are resolved at once and then ever more rarely, the proxy is
 *	                        probed every PROBE_MS
 *	streams take long       the proxy is probed, every DOUBT_MS at most
 *	streams are refused     the proxy is asked for a stream of our own, again and again
 *	other addresses         into the firewall, then into the dialer; dials begin anew
 *
 * 1. An address is in the firewall before anything is sent to it. It stays there as long as a
 *    connection of ours goes there, so that a name whose addresses rotate breaks nothing, and
 *    leaves it within PRUNE_MS afterwards.
 * 2. A name that cannot be resolved keeps the addresses that it had.
 * 3. Names are asked of the capture's resolvers, from sockets that are marked as ours, and of
 *    nobody else. The rules let that through whatever becomes of everybody's port 53: own_lookups.
 * 4. A probe is a TCP connection that is closed at once. It tells whether the way to the proxy is
 *    there, not whether the proxy does its work: that, streams tell, or a question of ours.
 * 5. Who refused credentials is asked for what it refused them for: for something else it may not
 *    want any. Whose answer made no sense is asked for a name that is nobody's, for the sense may
 *    have been lost on the way to that one target; no answer to this leads anywhere.
 *
 * What is not followed: the list of resolvers, which is that of the beginning.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "kernel/monitor.h"
#include "ops/proxy.h"
#include "ops/roam.h"
#include "tunnel/resolve.h"
#include "tunnel/sweep.h"

#define SETTLE_MS 100
#define SETTLE_MAX_MS 500
#define RESOLVE_MIN_MS 1000
#define RESOLVE_MAX_MS 60000
#define PROBE_MS 1000
#define DOUBT_MS 5000 /* a target that takes its time is no reason to ask more often */
#define PRUNE_MS 10000
#define ASK_MS 5000
#define ASK_AUTH_MS 30000 /* rarely: accounts are locked after too many wrong passwords */
#define ADDRS_MAX (CONNECT_UPSTREAMS_MAX * CONNECT_ADDRS_MAX)
#define NEVER UINT64_MAX

enum { FD_SIGNAL, FD_MONITOR, FD_ASK, FD_FIRST };

struct roam {
	struct proxy_config *c;
	struct netns *ns;
	struct firewall *fw;
	struct dialer *dialer;
	struct monitor *monitor;
	bool away;
	/* Each is a time of CLOCK_MONOTONIC, or NEVER. */
	uint64_t settle_ms, settle_max_ms, resolve_ms, probe_ms, prune_ms, ask_ms;

	struct resolver *resolver; /* NULL: nothing is being asked */
	struct resolve_answer answers[CONNECT_UPSTREAMS_MAX];
	unsigned int backoff_ms;
	/* Not the proxies' any more, but in use. */
	struct ip former[CAPTURE_UPSTREAMS_MAX - ADDRS_MAX];
	size_t n_former;

	int probes[ADDRS_MAX];
	size_t n_probes;
	uint64_t probe_end_ms;
	bool reached;
	uint64_t judged_ms;

	struct dial ask; /* fd -1: nothing is being asked */
	struct dial_target question;
	enum dial_status answer;
	uint64_t answered_ms;
};

/* ---- Addresses ---- */

static bool is_name(const struct proxy_config *c, unsigned int i)
{
	return !c->connect.upstreams[i].addr.family;
}

static bool has_names(const struct proxy_config *c)
{
	for (unsigned int i = 0; i < c->connect.n_upstreams; i++)
		if (is_name(c, i))
			return true;
	return false;
}

static bool has_ip(const struct ip list[], size_t n, const struct ip *ip)
{
	for (size_t i = 0; i < n; i++)
		if (ip_equal(&list[i], ip))
			return true;
	return false;
}

static bool is_same_set(const struct connect_addrs *a, const struct connect_addrs *b)
{
	for (unsigned int i = 0; i < a->n; i++)
		if (!has_ip(b->v, b->n, &a->v[i]))
			return false;
	return a->n == b->n;
}

/* Of all proxies. */
static size_t current_addrs(const struct proxy_config *c, struct ip ret[ADDRS_MAX])
{
	size_t n = 0;

	for (unsigned int i = 0; i < c->connect.n_upstreams; i++)
		for (unsigned int j = 0; j < c->addrs[i].n; j++)
			ret[n++] = c->addrs[i].v[j];
	return n;
}

/* In a namespace other than our own there is no way to the proxy that would have to be opened. */
static void set_upstreams(struct proxy_config *c, const struct ip former[], size_t n_former)
{
	struct capture *k = &c->tunnel.capture;

	k->n_upstreams = c->tunnel.netns ? 0 : current_addrs(c, k->upstreams);
	for (size_t i = 0; i < n_former; i++)
		k->upstreams[k->n_upstreams++] = former[i];
}

static int ask(struct proxy_config *c, struct resolve_answer answers[], struct resolver **ret,
	       struct err *err)
{
	uint32_t mark = c->tunnel.log.dry_run ? 0 : c->connect.mark;
	int r = resolver_new(c->tunnel.capture.resolvers, c->tunnel.capture.n_resolvers, mark, ret,
			     err);

	for (unsigned int i = 0; i < c->connect.n_upstreams && !r; i++)
		if (is_name(c, i))
			resolver_ask(*ret, c->connect.upstreams[i].host, &answers[i]);
	return r;
}

int roam_resolve(struct proxy_config *c, struct err *err)
{
	struct resolve_answer answers[CONNECT_UPSTREAMS_MAX] = {0};
	struct resolver *resolver = NULL;
	int r = has_names(c) ? ask(c, answers, &resolver, err) : 0;

	if (!r && resolver)
		resolver_wait(resolver);
	resolver_free(resolver);
	for (unsigned int i = 0; i < c->connect.n_upstreams && !r; i++) {
		const struct connect_upstream *u = &c->connect.upstreams[i];

		c->addrs[i] = is_name(c, i) ? answers[i].addrs
					    : (struct connect_addrs){.v = {u->addr}, .n = 1};
		if (!c->addrs[i].n)
			r = err_set(
				err, ERR_UNREACHABLE, -EHOSTUNREACH,
				"cannot resolve the proxy's name '%s': %s (--proxy-ip gives its "
				"address)",
				u->host, answers[i].why);
	}
	set_upstreams(c, NULL, 0);
	c->tunnel.capture.own_lookups =
		!c->tunnel.netns && has_names(c) && c->tunnel.capture.dns == CAPTURE_DNS_TUNNEL;
	return r;
}

static int block(struct roam *r)
{
	struct err err = {0};
	int error;

	set_upstreams(r->c, r->former, r->n_former);
	if (r->c->tunnel.netns)
		return 0;
	error = capture_block(&r->c->tunnel.capture, r->ns, r->fw, &err);
	if (error)
		log_warn("the proxy's addresses: %s", err.msg);
	return error;
}

/* Those that were allowed, and are the proxies' no more; the latest ones first. */
static void set_former(struct roam *r)
{
	const struct capture *k = &r->c->tunnel.capture;
	struct ip current[ADDRS_MAX];
	size_t n = current_addrs(r->c, current);

	r->n_former = 0;
	for (size_t i = 0; i < k->n_upstreams && r->n_former < ARRAY_SIZE(r->former); i++)
		if (!has_ip(current, n, &k->upstreams[i]))
			r->former[r->n_former++] = k->upstreams[i];
}

/* Other networks and other proxies: what waits begins anew, what is lost ends. */
static void begin_anew(struct roam *r, uint64_t now_ms)
{
	dialer_connect_renew(r->dialer);
	sweep_reset(r->c->connect.mark);
	r->probe_ms = now_ms;
	if (r->ask_ms != NEVER)
		r->ask_ms = now_ms;
}

/* In the order of invariant 1. */
static int move(struct roam *r, const struct connect_addrs addrs[], uint64_t now_ms)
{
	struct connect_addrs before[CONNECT_UPSTREAMS_MAX];
	int error;

	memcpy(before, r->c->addrs, sizeof(before));
	memcpy(r->c->addrs, addrs, sizeof(before));
	set_former(r);
	error = block(r);
	if (error) {
		memcpy(r->c->addrs, before, sizeof(before));
		return error;
	}
	for (unsigned int i = 0; i < r->c->connect.n_upstreams; i++)
		dialer_connect_set_addrs(r->dialer, i, &addrs[i]);
	begin_anew(r, now_ms);
	r->prune_ms = r->n_former ? now_ms + PRUNE_MS : NEVER;
	return 0;
}

static void prune(struct roam *r, uint64_t now_ms)
{
	size_t kept = 0, n = r->n_former;

	for (size_t i = 0; i < n; i++)
		if (sweep_has_peer(r->c->connect.mark, &r->former[i]))
			r->former[kept++] = r->former[i];
	r->n_former = kept;
	if (kept < n)
		block(r);
	r->prune_ms = kept ? now_ms + PRUNE_MS : NEVER;
}

/* ---- Names ---- */

static void start_resolving(struct roam *r, uint64_t now_ms)
{
	struct err err = {0};

	r->resolve_ms = NEVER;
	resolver_free(TAKE_PTR(r->resolver));
	memset(r->answers, 0, sizeof(r->answers));
	if (!ask(r->c, r->answers, &r->resolver, &err))
		return;
	log_warn("%s", err.msg);
	r->resolve_ms = now_ms + RESOLVE_MAX_MS;
}

/* Now, and if it is in vain, again in a while. */
static void resolve_soon(struct roam *r, uint64_t now_ms)
{
	r->backoff_ms = RESOLVE_MIN_MS;
	r->resolve_ms = has_names(r->c) ? now_ms : NEVER;
}

static void take_answers(struct roam *r, uint64_t now_ms)
{
	struct connect_addrs addrs[CONNECT_UPSTREAMS_MAX];
	bool moved = false, failed = false;

	memcpy(addrs, r->c->addrs, sizeof(addrs));
	for (unsigned int i = 0; i < r->c->connect.n_upstreams; i++) {
		const struct resolve_answer *a = &r->answers[i];

		if (!is_name(r->c, i))
			continue;
		failed |= !a->addrs.n;
		if (!a->addrs.n || is_same_set(&a->addrs, &addrs[i]))
			continue;
		addrs[i] = a->addrs;
		moved = true;
	}
	resolver_free(TAKE_PTR(r->resolver));
	if (moved && move(r, addrs, now_ms))
		failed = true;
	if (!failed && !r->away)
		return;
	r->resolve_ms = now_ms + r->backoff_ms;
	r->backoff_ms = MIN(2 * r->backoff_ms, RESOLVE_MAX_MS);
}

/* ---- Probes ---- */

static void stop_probes(struct roam *r)
{
	while (r->n_probes)
		close(r->probes[--r->n_probes]);
}

/* That nobody answered is the state of the network when it was asked. */
static void judge(struct roam *r, bool reached, uint64_t now_ms)
{
	stop_probes(r);
	r->reached = reached;
	r->judged_ms = reached ? now_ms : r->probe_end_ms - PROBE_MS;
	if (!reached)
		r->probe_ms = r->probe_end_ms;
}

static void start_probes(struct roam *r, uint64_t now_ms)
{
	stop_probes(r);
	r->probe_ms = NEVER;
	r->probe_end_ms = now_ms + PROBE_MS;
	for (unsigned int i = 0; i < r->c->connect.n_upstreams; i++)
		for (unsigned int j = 0; j < r->c->addrs[i].n; j++)
			if (!dial_socket(&r->c->addrs[i].v[j], r->c->connect.upstreams[i].port,
					 r->c->connect.mark, &r->probes[r->n_probes]))
				r->n_probes++;
	if (!r->n_probes)
		judge(r, false, now_ms);
}

static bool is_connected(int fd)
{
	int error = -1;
	socklen_t len = sizeof(error);

	return !getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) && !error;
}

/* fds: as many as there are probes, in their order. */
static void step_probes(struct roam *r, const struct pollfd fds[], uint64_t now_ms)
{
	size_t waiting = 0, n = r->n_probes;

	for (size_t i = 0; i < n; i++) {
		if (!fds[i].revents) {
			r->probes[waiting++] = r->probes[i];
		} else if (is_connected(r->probes[i])) {
			for (; i < n; i++) /* the others */
				r->probes[waiting++] = r->probes[i];
			r->n_probes = waiting;
			judge(r, true, now_ms);
			return;
		} else {
			close(r->probes[i]);
		}
	}
	r->n_probes = waiting;
	if (!waiting || now_ms >= r->probe_end_ms)
		judge(r, false, now_ms);
}

void roam_set_away(struct roam *r, bool away)
{
	uint64_t now = clock_ms();

	if (away && !r->away)
		resolve_soon(r, now);
	if (away && !r->n_probes && r->probe_ms == NEVER)
		r->probe_ms = now;
	r->away = away;
}

void roam_doubt(struct roam *r)
{
	uint64_t now = clock_ms();

	if (!r->n_probes && r->probe_ms == NEVER && now >= r->judged_ms + DOUBT_MS)
		r->probe_ms = now;
}

bool roam_reached(const struct roam *r, uint64_t *ret_ms)
{
	*ret_ms = r->judged_ms;
	return r->reached;
}

/* ---- Questions ---- */

static bool is_asking(const struct roam *r)
{
	return r->ask.fd >= 0;
}

/* Not reached: what was known of its work is still all that is known. */
static void take_answer(struct roam *r, enum dial_status s, uint64_t now_ms)
{
	if (s == DIAL_PENDING)
		return;
	if (s == DIAL_AUTH || s == DIAL_BROKEN)
		r->answer = s;
	else if (r->ask.answered)
		r->answer = DIAL_PENDING;
	else if (!r->n_probes)
		r->probe_ms = now_ms;
	r->answered_ms = now_ms;
	dial_abort(&r->ask);
	r->ask.fd = -1;
}

static void start_asking(struct roam *r, uint64_t now_ms)
{
	r->ask_ms = NEVER;
	take_answer(r, dial_start(r->dialer, &r->ask, &r->question, now_ms), now_ms);
}

static void step_question(struct roam *r, short revents, uint64_t now_ms)
{
	if (revents || now_ms >= r->ask.deadline_ms)
		take_answer(r, dial_step(&r->ask, (uint32_t)revents, now_ms), now_ms);
}

void roam_set_refused(struct roam *r, enum dial_status why, const struct dial_target *target)
{
	/* RFC 6761 6.4 */
	static const struct dial_target nobody = {.host = "byway.invalid", .port = 443};

	if (why == DIAL_PENDING) {
		r->ask_ms = NEVER;
	} else if (r->ask_ms == NEVER && !is_asking(r)) {
		r->answer = why;
		r->question = why == DIAL_AUTH ? *target : nobody;
		r->ask_ms = clock_ms() + (why == DIAL_AUTH ? ASK_AUTH_MS : ASK_MS);
	}
}

enum dial_status roam_answer(const struct roam *r, uint64_t *ret_ms)
{
	*ret_ms = r->answered_ms;
	return r->answer;
}

/* ---- The network ---- */

static void take_events(struct roam *r, uint64_t now_ms)
{
	struct ip peers[ADDRS_MAX];
	size_t n = current_addrs(r->c, peers);

	if (!monitor_changed(r->monitor, peers, n))
		return;
	if (r->settle_ms == NEVER)
		r->settle_max_ms = now_ms + SETTLE_MAX_MS;
	r->settle_ms = MIN(now_ms + SETTLE_MS, r->settle_max_ms);
}

static void settle(struct roam *r, uint64_t now_ms)
{
	log_info("the network has changed");
	r->settle_ms = NEVER;
	begin_anew(r, now_ms);
	resolve_soon(r, now_ms);
}

/* ---- Waiting ---- */

static uint64_t next_deadline(const struct roam *r, uint64_t until_ms)
{
	const uint64_t deadlines[] = {r->settle_ms,
				      r->resolve_ms,
				      r->probe_ms,
				      r->prune_ms,
				      r->ask_ms,
				      r->n_probes ? r->probe_end_ms : NEVER,
				      is_asking(r) ? r->ask.deadline_ms : NEVER};

	for (size_t i = 0; i < ARRAY_SIZE(deadlines); i++)
		until_ms = MIN(until_ms, deadlines[i]);
	return until_ms;
}

static void do_what_is_due(struct roam *r, uint64_t now_ms)
{
	if (now_ms >= r->settle_ms)
		settle(r, now_ms);
	if (now_ms >= r->prune_ms)
		prune(r, now_ms);
	if (now_ms >= r->resolve_ms)
		start_resolving(r, now_ms);
	if (r->resolver && resolver_is_done(r->resolver))
		take_answers(r, now_ms);
	if (now_ms >= r->probe_ms)
		start_probes(r, now_ms);
	if (now_ms >= r->ask_ms)
		start_asking(r, now_ms);
}

/* True when signal_fd is readable. */
static bool turn(struct roam *r, int signal_fd, uint64_t until_ms)
{
	struct pollfd fds[FD_FIRST + RESOLVER_FDS_MAX + ADDRS_MAX] = {
		[FD_SIGNAL] = {.fd = signal_fd, .events = POLLIN},
		[FD_MONITOR] = {.fd = monitor_fd(r->monitor), .events = POLLIN},
		[FD_ASK] = {.fd = r->ask.fd, .events = (short)r->ask.events},
	};
	uint64_t now = clock_ms(), end = next_deadline(r, until_ms);
	int timeout_ms = end > now ? (int)(end - now) : 0;
	size_t n = r->resolver ? resolver_wants(r->resolver, &fds[FD_FIRST], &timeout_ms) : 0;
	struct pollfd *probes = &fds[FD_FIRST + n];

	for (size_t i = 0; i < r->n_probes; i++)
		probes[i] = (struct pollfd){.fd = r->probes[i], .events = POLLOUT};
	if (poll(fds, FD_FIRST + n + r->n_probes, timeout_ms) < 0)
		return false;
	now = clock_ms();
	if (fds[FD_MONITOR].revents)
		take_events(r, now);
	if (r->resolver)
		resolver_step(r->resolver, &fds[FD_FIRST], n);
	if (r->n_probes)
		step_probes(r, probes, now);
	if (is_asking(r))
		step_question(r, fds[FD_ASK].revents, now);
	do_what_is_due(r, now);
	return fds[FD_SIGNAL].revents;
}

bool roam_wait(struct roam *r, int signal_fd, int timeout_ms)
{
	uint64_t until = clock_ms() + (unsigned int)timeout_ms;
	uint64_t judged = r->judged_ms, answered = r->answered_ms;

	do
		if (turn(r, signal_fd, until))
			return true;
	while (clock_ms() < until && r->judged_ms == judged && r->answered_ms == answered);
	return false;
}

/* ---- Making one ---- */

int roam_new(struct proxy_config *c, struct netns *ns, struct firewall *fw, struct dialer *dialer,
	     struct roam **ret, struct err *err)
{
	struct roam *r = xcalloc(1, sizeof(*r));
	int error = monitor_new(c->tunnel.netns ? NULL : c->tunnel.capture.tun, CAPTURE_ROUTE_TABLE,
				&r->monitor, err);

	if (error) {
		free(r);
		return error;
	}
	r->c = c;
	r->ns = ns;
	r->fw = fw;
	r->dialer = dialer;
	r->settle_ms = r->resolve_ms = r->probe_ms = r->prune_ms = r->ask_ms = NEVER;
	r->ask.fd = -1;
	for (unsigned int i = 0; i < c->connect.n_upstreams; i++)
		dialer_connect_set_addrs(dialer, i, &c->addrs[i]);
	*ret = r;
	return 0;
}

void roam_free(struct roam *r)
{
	if (!r)
		return;
	stop_probes(r);
	dial_abort(&r->ask);
	resolver_free(r->resolver);
	monitor_free(r->monitor);
	free(r);
}
