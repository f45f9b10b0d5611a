// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Streams go by the dialer's connections, datagrams by the agent's; each has a thread that keeps
 * its own up. This one looks at both once a second, and tells them when the network has changed.
 *
 * ssh is a program like any other, and its sockets must not be captured by the tunnel that they
 * carry: they are known by SSH_GID, whatever address they go to, and whoever ssh starts to reach
 * it. In a namespace other than our own there is no need for that: ssh stays outside.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "kernel/caps.h"
#include "kernel/monitor.h"
#include "ops/ssh.h"
#include "proc/user.h"
#include "tunnel/dialer.h"
#include "tunnel/ssh_agent.h"
#include "tunnel/ssh_where.h"
#include "tunnel/worker.h"

#define SETTLE_MS 300
#define LOOK_MS 200
#define FIRST_MS 20000 /* for the first connection, before we go on without */
#define NEVER UINT64_MAX

struct ssh_tunnel {
	struct tunnel tunnel;
	struct ssh_tunnel_config *c;
	struct user user;
	struct ssh_where where;
	struct ssh_agent *agent;
	struct monitor *monitor;
	int tun; /* for the relay */
	uint64_t settle_ms;
	bool was_up;
	bool has_warned; /* that there is no agent */
};

static struct ssh_tunnel *ssh_of(struct tunnel *t)
{
	return (struct ssh_tunnel *)t;
}

/* As those of the tunnel over a proxy; and what it takes to start ssh as another user, again and
 * again. */
static const int kept_caps[] = {CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_DAC_OVERRIDE, CAP_FOWNER,
				CAP_SETUID,    CAP_SETGID,    CAP_CHOWN,        CAP_KILL};

/* ---- Who ssh runs as ---- */

/* In the last one, too, it is in a folder that nobody else can enter. */
static const char *run_dir(void)
{
	return geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR") ?: "/tmp";
}

static int set_up_ssh(struct ssh_config *c, struct user *user, struct err *err)
{
	int r = 0;

	c->run_dir = run_dir();
	if (geteuid() == 0 && getenv("SUDO_UID")) {
		r = user_invoking(user, err);
		c->user = user;
	}
	return r;
}

/* Each start of ssh would fail, behind rules that block. */
static int check_caps(const struct ssh_config *c, struct err *err)
{
	static const int caps[] = {CAP_SETGID, CAP_SETUID};

	return caps_require(caps, c->user ? 2 : c->gid ? 1 : 0, err);
}

static int prepare(struct tunnel *t, struct err *err)
{
	struct ssh_tunnel *s = ssh_of(t);
	struct capture *k = &t->c->capture;
	int r;

	k->datagrams = true;
	k->dns = s->c->dns == RELAY_DNS_OFF ? CAPTURE_DNS_BYPASS : CAPTURE_DNS_TUNNEL;
	if (s->c->dns == RELAY_DNS_ADDR) { /* by TCP, where there is no agent */
		t->c->dns = DNS_TCP;
		k->resolvers[0] = s->c->resolver;
		k->n_resolvers = 1;
	}
	if (!t->c->netns) {
		k->exclude_gid = SSH_GID;
		s->c->ssh.gid = SSH_GID;
	} else {
		k->default_route = true;
	}
	r = set_up_ssh(&s->c->ssh, &s->user, err);
	s->c->ssh.where = &s->where;
	if (r || t->c->log.dry_run)
		return r;
	r = check_caps(&s->c->ssh, err);
	return r ? r : ssh_where_find(&s->c->ssh, &s->where, err);
}

/* ---- The connections' state ---- */

static const struct ssh_connection_status *find_state(const struct ssh_status *s,
						      enum ssh_state state)
{
	for (unsigned int i = 0; i < s->n; i++)
		if (s->connections[i].state == state)
			return &s->connections[i];
	return NULL;
}

static bool is_stopped(const struct ssh_status *s)
{
	for (unsigned int i = 0; i < s->n; i++)
		if (s->connections[i].state != SSH_STATE_STOPPED)
			return false;
	return s->n > 0;
}

static int error_of(const struct ssh_connection_status *c, struct err *err)
{
	static const enum err_kind kinds[SSH_NUM_ERRORS] = {
		[SSH_ERROR_NONE] = ERR_FAILED,         [SSH_ERROR_LOST] = ERR_UNREACHABLE,
		[SSH_ERROR_TIMEOUT] = ERR_UNREACHABLE, [SSH_ERROR_UNREACHABLE] = ERR_UNREACHABLE,
		[SSH_ERROR_REFUSED] = ERR_UNREACHABLE, [SSH_ERROR_CONFIG] = ERR_FAILED,
		[SSH_ERROR_AUTH] = ERR_AUTH,           [SSH_ERROR_HOST_KEY] = ERR_AUTH,
	};

	return err_set(err, kinds[c->error], -ECONNREFUSED, "%s%s",
		       strncmp(c->text, "ssh: ", 5) ? "ssh: " : "", c->text);
}

/* The signals are blocked; wait_for() sees them afterwards. */
static bool is_asked_to_end(void)
{
	sigset_t pending;

	return !sigpending(&pending) &&
	       (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

/* Until there is a connection, or there will be none; or in the background from then on. */
static int wait_for_first(struct dialer *d, struct err *err)
{
	uint64_t end = clock_ms() + FIRST_MS;
	struct ssh_status s;

	for (;;) {
		struct pollfd p = {.fd = ssh_event_fd(d), .events = POLLIN};
		uint64_t count;

		ssh_get_status(d, &s);
		if (is_stopped(&s))
			return error_of(&s.connections[0], err);
		if (find_state(&s, SSH_STATE_UP) || find_state(&s, SSH_STATE_WAITING) ||
		    clock_ms() >= end || is_asked_to_end())
			return 0;
		if (poll(&p, 1, LOOK_MS) > 0)
			(void)!read(p.fd, &count, sizeof(count));
	}
}

/* ---- Coming and going ---- */

static int make_relay(struct ssh_tunnel *s, int tun, struct err *err)
{
	struct relay_config c = {.dns = s->c->dns, .resolver = s->c->resolver};
	int r;

	/* One of its own: the workers close theirs first. */
	c.tun = s->tun = fcntl(tun, F_DUPFD_CLOEXEC, 0);
	if (c.tun < 0)
		return err_errno(err, -errno, "cannot duplicate a descriptor");
	r = relay_new(&c, &s->tunnel.relay);
	return r ? err_errno(err, r, "cannot make a relay of datagrams") : 0;
}

static int start(struct tunnel *t, int tun, struct err *err)
{
	struct ssh_tunnel *s = ssh_of(t);
	int r = make_relay(s, tun, err);

	if (!r)
		r = dialer_ssh(&s->c->ssh, &t->dialer, err);
	if (!r)
		r = wait_for_first(t->dialer, err);
	if (!r)
		r = ssh_agent_new(&s->c->ssh, t->relay, &s->agent, err);
	if (!r)
		r = monitor_new(t->c->netns ? NULL : t->c->capture.tun, CAPTURE_ROUTE_TABLE,
				&s->monitor, err);
	return r;
}

static void stop(struct tunnel *t)
{
	struct ssh_tunnel *s = ssh_of(t);

	ssh_agent_free(s->agent);
	monitor_free(s->monitor);
	close_p(&s->tun);
}

static void warn_without_agent(struct ssh_tunnel *s, const struct ssh_agent_status *agent)
{
	bool off = agent->state == SSH_AGENT_OFF;

	if (off && !s->has_warned)
		log_warn("%s", agent->reason);
	s->has_warned = off;
}

static void update(struct tunnel *t, const struct worker_status *unused)
{
	struct ssh_tunnel *s = ssh_of(t);
	struct ssh_agent_status agent;
	struct ssh_status status;
	bool up;

	(void)unused;
	ssh_get_status(t->dialer, &status);
	ssh_agent_get_status(s->agent, &agent);
	up = find_state(&status, SSH_STATE_UP);
	if (!up)
		ssh_agent_rest(s->agent);
	else if (agent.state == SSH_AGENT_IDLE || t->state != TUNNEL_UP)
		ssh_agent_kick(s->agent);
	relay_refuse(t->relay, agent.state == SSH_AGENT_OFF);
	warn_without_agent(s, &agent);
	s->was_up = s->was_up || up;
	t->carries = up;
	if (up)
		t->state = TUNNEL_UP;
	else if (is_stopped(&status))
		t->state = TUNNEL_ERROR;
	else
		t->state = s->was_up ? TUNNEL_RECONNECTING : TUNNEL_CONNECTING;
}

/* ---- Telling ---- */

static json_t *describe_agent(struct ssh_tunnel *s)
{
	struct ssh_agent_status a;
	struct relay_stats r;

	ssh_agent_get_status(s->agent, &a);
	relay_get_stats(s->tunnel.relay, &r);
	return json_pack("{s:s, s:s?, s:s?, s:I, s:I, s:I, s:I, s:I}", "state",
			 ssh_agent_state_name(a.state), "machine", *a.machine ? a.machine : NULL,
			 "reason", *a.reason ? a.reason : NULL, "flows", (json_int_t)r.flows,
			 "datagrams_up", (json_int_t)r.out, "datagrams_down", (json_int_t)r.in,
			 "dropped_up", (json_int_t)r.out_dropped, "dropped_down",
			 (json_int_t)r.in_dropped);
}

static json_t *describe_connection(const struct ssh_connection_status *c)
{
	return json_pack("{s:s, s:i, s:i, s:i, s:s?}", "state", ssh_state_name(c->state), "pid",
			 (int)c->pid, "channels", (int)c->channels, "connects", (int)c->connects,
			 "reason", *c->text ? c->text : NULL);
}

static void describe(const struct tunnel *t, json_t *status)
{
	const struct ssh_connection_status *c;
	json_t *connections = json_array();
	struct ssh_status s;

	ssh_get_status(t->dialer, &s);
	for (unsigned int i = 0; i < s.n; i++)
		json_array_append_new(connections, describe_connection(&s.connections[i]));
	json_object_set_new(status, "server",
			    json_string(((const struct ssh_tunnel *)t)->c->ssh.destination));
	json_object_set_new(status, "connections", connections);
	json_object_set_new(status, "agent", describe_agent((struct ssh_tunnel *)t));
	c = &s.connections[0];
	if (t->state != TUNNEL_UP && s.n && *c->text) {
		json_object_set_new(status, "last_failure", json_string(ssh_error_name(c->error)));
		json_object_set_new(status, "last_reason", json_string(c->text));
	}
}

/* ---- Waiting ---- */

static void settle(struct ssh_tunnel *s)
{
	log_info("the network has changed");
	s->settle_ms = NEVER;
	ssh_kick(s->tunnel.dialer);
	if (s->tunnel.state == TUNNEL_UP)
		ssh_agent_kick(s->agent);
}

static bool wait_for(struct tunnel *t, int signal_fd, int timeout_ms)
{
	struct ssh_tunnel *s = ssh_of(t);
	struct pollfd p[] = {{.fd = signal_fd, .events = POLLIN},
			     {.fd = monitor_fd(s->monitor), .events = POLLIN},
			     {.fd = ssh_event_fd(t->dialer), .events = POLLIN}};
	uint64_t now = clock_ms(), count;

	if (s->settle_ms != NEVER)
		timeout_ms = s->settle_ms > now ? MIN(timeout_ms, (int)(s->settle_ms - now)) : 0;
	if (poll(p, ARRAY_SIZE(p), timeout_ms) < 0)
		return false;
	if (p[1].revents && monitor_changed(s->monitor, NULL, 0))
		s->settle_ms = clock_ms() + SETTLE_MS;
	if (p[2].revents)
		(void)!read(p[2].fd, &count, sizeof(count));
	if (clock_ms() >= s->settle_ms)
		settle(s);
	return p[0].revents;
}

static const struct tunnel_ops ssh_ops = {
	.kind = "ssh",
	.caps = kept_caps,
	.n_caps = ARRAY_SIZE(kept_caps),
	.prepare = prepare,
	.connect = start,
	.update = update,
	.describe = describe,
	.wait = wait_for,
	.disconnect = stop,
};

int ops_ssh_run(struct ssh_tunnel_config *c, struct err *err)
{
	struct ssh_tunnel s = {.tunnel = {.c = &c->tunnel, .ops = &ssh_ops},
			       .c = c,
			       .tun = -1,
			       .settle_ms = NEVER};
	int r = ops_tunnel_run(&s.tunnel, err);

	user_done(&s.user);
	return r;
}

/* ---- Trying the server, without a tunnel ---- */

/* A tunnel tries again; who only wants to know is told. */
static int first_error(struct dialer *d, struct err *err)
{
	const struct ssh_connection_status *waiting;
	struct ssh_status s;

	ssh_get_status(d, &s);
	waiting = find_state(&s, SSH_STATE_WAITING);
	return waiting ? error_of(waiting, err) : 0;
}

int ops_ssh_check(struct ssh_tunnel_config *c, const char *host, uint16_t port, struct err *err)
{
	_dialer_ struct dialer *d = NULL;
	_user_ struct user user = {0};
	int r = set_up_ssh(&c->ssh, &user, err);

	if (!r)
		r = dialer_ssh(&c->ssh, &d, err);
	if (!r)
		r = wait_for_first(d, err);
	if (!r)
		r = first_error(d, err);
	return r ? r : ops_tunnel_dial(d, host, port, err);
}
