// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <linux/capability.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "ops/proxy.h"
#include "ops/roam.h"
#include "tunnel/worker.h"

#define SLOW_MS 3000 /* without word from any stream, while some are being opened */

struct proxy {
	struct tunnel tunnel;
	struct proxy_config *c;
	struct roam *roam;
};

static struct proxy *proxy_of(struct tunnel *t)
{
	return (struct proxy *)t;
}

/* NET_ADMIN for the marks of our sockets and to take everything down; SYS_ADMIN to enter another
 * namespace for that, and DAC_OVERRIDE, FOWNER to remove files that belong to somebody else's
 * folder. */
static const int kept_caps[] = {CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_DAC_OVERRIDE, CAP_FOWNER};

static int prepare(struct tunnel *t, struct err *err)
{
	return roam_resolve(proxy_of(t)->c, err);
}

static int start(struct tunnel *t, int tun, struct err *err)
{
	struct proxy *p = proxy_of(t);
	int r = dialer_connect(&p->c->connect, &t->dialer, err);

	(void)tun;
	explicit_bzero(p->c->connect.password, sizeof(p->c->connect.password));
	return r ? r : roam_new(p->c, t->ns, t->fw, t->dialer, &p->roam, err);
}

static void stop(struct tunnel *t)
{
	roam_free(proxy_of(t)->roam);
}

/* The proxy was reached, but does not do its work. */
static bool is_refusal(enum dial_status s)
{
	return s == DIAL_AUTH || s == DIAL_BROKEN;
}

/* Of what streams, probes and questions say, the later word counts. */
static bool is_away(const struct proxy *p, const struct worker_status *s)
{
	uint64_t probed_ms;
	bool reached = roam_reached(p->roam, &probed_ms);

	if (probed_ms > s->judged_ms)
		return !reached;
	return s->proxy_failure != DIAL_PENDING && !is_refusal(s->proxy_failure);
}

/* DIAL_PENDING: none. */
static enum dial_status refusal(const struct proxy *p, const struct worker_status *s)
{
	uint64_t asked_ms;
	enum dial_status answer = roam_answer(p->roam, &asked_ms);

	if (asked_ms > s->judged_ms)
		return answer;
	return is_refusal(s->proxy_failure) ? s->proxy_failure : DIAL_PENDING;
}

static enum tunnel_state state_of(const struct worker_status *s, bool away, bool refused)
{
	if (!away && refused)
		return TUNNEL_ERROR;
	if (!s->tcp.accepted)
		return TUNNEL_CONNECTING;
	return away ? TUNNEL_RECONNECTING : TUNNEL_UP;
}

static void update(struct tunnel *t, const struct worker_status *s)
{
	struct proxy *p = proxy_of(t);
	enum dial_status why = refusal(p, s);
	bool away = is_away(p, s), refused = why != DIAL_PENDING;

	roam_set_refused(p->roam, why, &s->failed_target);
	roam_set_away(p->roam, away);
	if (s->dials && clock_ms() > s->judged_ms + SLOW_MS)
		roam_doubt(p->roam);
	t->state = state_of(s, away, refused);
	t->carries = !away && !refused; /* with no stream yet, nobody knows */
}

static void describe(const struct tunnel *t, json_t *status)
{
	const struct connect_upstream *u = &((const struct proxy *)t)->c->connect.upstreams[0];

	json_object_set_new(status, "proxy", json_string(u->host));
	json_object_set_new(status, "port", json_integer(u->port));
}

static bool wait_for(struct tunnel *t, int signal_fd, int timeout_ms)
{
	return roam_wait(proxy_of(t)->roam, signal_fd, timeout_ms);
}

static const struct tunnel_ops proxy_ops = {
	.kind = "proxy",
	.caps = kept_caps,
	.n_caps = ARRAY_SIZE(kept_caps),
	.prepare = prepare,
	.connect = start,
	.update = update,
	.describe = describe,
	.wait = wait_for,
	.disconnect = stop,
};

int ops_proxy_run(struct proxy_config *c, struct err *err)
{
	struct proxy p = {.tunnel = {.c = &c->tunnel, .ops = &proxy_ops}, .c = c};

	return ops_tunnel_run(&p.tunnel, err);
}

/* ---- Trying the proxy, without a tunnel ---- */

int ops_proxy_check(struct proxy_config *c, const char *host, uint16_t port, struct err *err)
{
	_dialer_ struct dialer *d = NULL;
	int r = roam_resolve(c, err);

	if (!r)
		r = dialer_connect(&c->connect, &d, err);
	if (r)
		return r;
	for (unsigned int i = 0; i < c->connect.n_upstreams; i++)
		dialer_connect_set_addrs(d, i, &c->addrs[i]);
	return ops_tunnel_dial(d, host, port, err);
}
