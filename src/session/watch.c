// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * life.h says when; this does it, and tells life.h what came of it. A start goes through phases,
 * each of which may take its time while nobody waits for it:
 *
 *	PHASE_NAME      the server's address, asked where the host's resolver is
 *	PHASE_PASSWORD  password_command, if there is one
 *	PHASE_CLIENT    openconnect, until it has ended
 *
 * Invariants:
 *  1. There is at most one child, and phase says which. Its end alone leaves PHASE_CLIENT.
 *  2. The password is in memory from just before openconnect starts until it has ended, and
 *     besides in the pipe that it reads it from.
 *  3. Only the script of the openconnect that runs now is listened to.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/utf8.h"
#include "kernel/netns.h"
#include "proc/run.h"
#include "session/control.h"
#include "session/etc.h"
#include "session/file.h"
#include "session/inner.h"
#include "session/log.h"
#include "session/openconnect.h"
#include "session/server.h"
#include "session/vpn.h"
#include "session/watch.h"

#define KILL_MS 3000 /* from SIGTERM to SIGKILL: openconnect says goodbye to the server */

static const char path_env[] = "PATH=" RUN_PATH;

static void say(struct watch *w, int priority, const char *fmt, ...) _printf_(3, 4);

static void say(struct watch *w, int priority, const char *fmt, ...)
{
	char text[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	session_log_write(w->log, LOG_FROM_BYWAY, priority, w->secret.text, text);
}

/* ---- How it ended ---- */

static void close_probe(struct watch *w)
{
	loop_del(w->group->loop, &w->probe);
	health_stop(&w->health);
	w->probe_until_ms = 0;
}

/* It counts no more; whoever asked hears that there is nothing to ask through. */
static void stop_probe(struct watch *w)
{
	struct err lost;

	close_probe(w);
	err_set(&lost, ERR_UNREACHABLE, -ENOTCONN, "session %s lost its server", w->spec->name);
	control_finish(&w->asker, &lost);
}

static void note_failure(struct watch *w, enum end_class class, const char *reason)
{
	w->failure.class = class;
	w->failure.at = time(NULL);
	snprintf(w->failure.reason, sizeof(w->failure.reason), "%s", reason);
	utf8_mend(w->failure.reason); /* perhaps cut within a character */
	w->is_news = true;
	say(w, LOG_ERR, "%s: %s", end_class_name(class), reason);
}

/* An end that was meant is none to be told of, except for why it was meant. */
static void judge(struct watch *w, enum end_class how, const char *reason)
{
	bool ending = w->life.ending && how != END_AUTH;

	if (ending && w->life.ending_as != END_NONE)
		note_failure(w, w->life.ending_as, w->complaint);
	else if (!ending && how != END_NONE)
		note_failure(w, how, reason);
}

/* What is to be said if that takes longer than it may. */
static void begin(struct watch *w, enum watch_phase phase, const char *late)
{
	w->phase = phase;
	snprintf(w->complaint, sizeof(w->complaint), "%s within %u s", late,
		 w->spec->connect_timeout_ms / 1000);
}

/* A start that failed, or openconnect's end. */
static void ended(struct watch *w, enum end_class how, const char *reason)
{
	judge(w, how, reason);
	w->phase = PHASE_NONE;
	w->kill_ms = 0;
	stop_probe(w);
	w->broken = (struct err){0};
	secret_wipe(&w->secret);
	life_ended(&w->life, how, clock_ms(), backoff_random());
	w->is_news = true;
}

static void close_output(struct watch *w)
{
	loop_del(w->group->loop, &w->output);
	close_p(&w->output_fd);
	w->output_fd = -1;
}

static void note_line(struct watch *w)
{
	struct openconnect_said before = w->said;

	openconnect_line(&w->said, w->line.text);
	if (w->group->file->logging.level != SESSION_LOG_ERROR || w->said.hint != before.hint)
		session_log_write(w->log, LOG_FROM_OPENCONNECT, LOG_INFO, w->secret.text,
				  w->line.text);
	if (w->said.authenticated)
		life_authenticated(&w->life, clock_ms());
	if (w->said.dtls != before.dtls)
		w->is_news = true;
}

/* Some of what there is: others have their turn. False when there is no more. */
static bool read_lines(struct watch *w)
{
	char text[4096];
	ssize_t n = read(w->output_fd, text, sizeof(text));

	for (ssize_t i = 0; i < n; i++)
		if (line_add(&w->line, text[i]))
			note_line(w);
	if (n == 0) /* nobody writes any more; it is about to end */
		loop_del(w->group->loop, &w->output);
	return n > 0;
}

static void client_ended(struct watch *w, int status)
{
	enum end_class how;

	while (read_lines(w))
		;
	close_output(w);
	if (w->line.len && line_add(&w->line, '\n'))
		note_line(w);
	how = openconnect_ended(&w->said, status);
	if (w->broken.code)
		ended(w, END_CRASHED, w->broken.msg);
	else
		ended(w, how, w->said.reason);
}

/* ---- Starting it ---- */

static void fail(struct watch *w, enum end_class how, const struct err *err)
{
	ended(w, how, err->msg);
}

static void on_child(void *arg, uint32_t events);
static void on_output(void *arg, uint32_t events);

/* Takes the reading end of its output. */
static int watch_child(struct watch *w, int output, struct err *err)
{
	int r = loop_add(w->group->loop, &w->ended, w->child.fd, EPOLLIN, on_child, w);

	w->output_fd = output;
	if (!r)
		r = loop_add(w->group->loop, &w->output, output, EPOLLIN, on_output, w);
	return r ? err_errno(err, r, "cannot wait for %s", w->spec->name) : 0;
}

/* Of a password_command all that it runs: its shell would end alone. */
static void signal_child(struct watch *w, int sig)
{
	if (w->phase == PHASE_PASSWORD)
		child_signal_session(&w->child, sig);
	else
		child_signal(&w->child, sig);
}

/* Its end is waited for here, and nobody hears of it. */
static void abandon_child(struct watch *w)
{
	signal_child(w, SIGKILL);
	loop_del(w->group->loop, &w->ended);
	child_wait(&w->child);
	close_output(w);
}

/* Starts spec with a pipe as its output. */
static int start_child(struct watch *w, struct child_spec *spec, bool with_errors, struct err *err)
{
	_close_ int out_r = -1, out_w = -1;
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK))
		return err_errno(err, -errno, "cannot make a pipe");
	out_r = fds[0];
	out_w = fds[1];
	fcntl(out_w, F_SETFL, 0); /* only we must not wait */
	spec->out = out_w;
	spec->err = with_errors ? out_w : STDERR_FILENO;
	spec->death_signal = SIGTERM;
	spec->own_session = true;
	w->line = (struct line){0};
	r = child_start(spec, &w->child, err);
	if (r)
		return r;
	r = watch_child(w, TAKE_FD(out_r), err);
	if (r)
		abandon_child(w);
	return r;
}

static int run_client(struct watch *w, struct err *err)
{
	_netns_ struct netns *outer = NULL;
	_close_ int in = -1;
	_free_ char *session = xasprintf("BYWAY_SESSION=%s", w->spec->name);
	_free_ char *socket = xasprintf("BYWAY_SESSION_SOCKET=%s", w->group->socket);
	const char *env[] = {path_env, "LC_ALL=C", session, socket, NULL};
	char path[RUN_PROGRAM_MAX];
	struct child_spec spec = {.path = path, .env = env};
	char **args = openconnect_args(w->spec, w->group->file->logging.level,
				       w->is_name ? &w->address : NULL, w->group->hook);
	int r = run_find("openconnect", path, err);

	if (!r)
		r = netns_open(session_outer(w->row), w->group->oplog, &outer, err);
	if (!r)
		r = inner_allow(outer, w->row, &w->address, err);
	if (!r)
		r = secret_pipe(&w->secret, &in, err);
	spec.argv = (const char *const *)args;
	spec.ns = outer;
	spec.in = in;
	if (!r)
		r = start_child(w, &spec, true, err);
	openconnect_args_free(args);
	return r;
}

static void start_client(struct watch *w)
{
	struct err err = {0};

	begin(w, PHASE_CLIENT, "not connected");
	w->said = (struct openconnect_said){0};
	if (run_client(w, &err))
		fail(w, END_CRASHED, &err);
}

static int run_command(struct watch *w, struct err *err)
{
	const char *argv[] = {"sh", "-c", w->spec->password.text, NULL};
	struct child_spec spec = {
		.path = "/bin/sh", .argv = argv, .env = (const char *const *)environ, .in = -1};

	return start_child(w, &spec, false, err);
}

/* Its output is short: one line, which the pipe holds. */
static void command_ended(struct watch *w, int status)
{
	char text[SECRET_MAX + 1];
	struct err err = {0};
	ssize_t n = read(w->output_fd, text, sizeof(text));
	int r;

	close_output(w);
	if (status)
		r = err_set(&err, ERR_FAILED, -EIO, "password_command failed with status %d",
			    status);
	else
		r = secret_take_line(&w->secret, text, n < 0 ? 0 : (size_t)n, &err);
	explicit_bzero(text, sizeof(text));
	if (w->life.ending)
		ended(w, END_NONE, NULL);
	else if (r)
		fail(w, END_CRASHED, &err);
	else
		start_client(w);
}

static void get_password(struct watch *w)
{
	const struct session_secret *from = &w->spec->password;
	struct err err = {0};

	if (from->kind == SECRET_COMMAND) {
		begin(w, PHASE_PASSWORD, "password_command has not ended");
		if (run_command(w, &err))
			fail(w, END_CRASHED, &err);
	} else if (secret_read(from, &w->secret, &err)) {
		fail(w, END_CRASHED, &err);
	} else {
		start_client(w);
	}
}

/* Once a start: of several addresses, the next start takes the next one. */
static void get_name(struct watch *w)
{
	struct err err = {0};
	int r = 0;

	begin(w, PHASE_NAME, "the server's name was not resolved");
	if (w->is_name)
		r = servers_address(w->group->servers, w->server, clock_ms(), &w->address, &err);
	if (r == -EAGAIN)
		return;
	if (r)
		fail(w, END_UNREACHABLE, &err);
	else
		get_password(w);
}

static void on_child(void *arg, uint32_t events)
{
	struct watch *w = arg;
	int status;

	(void)events;
	if (w->life.ending)
		signal_child(w, SIGKILL); /* what it has left behind */
	loop_del(w->group->loop, &w->ended);
	if (!child_ended(&w->child, &status))
		return;
	if (w->phase == PHASE_PASSWORD)
		command_ended(w, status);
	else
		client_ended(w, status);
}

/* What a password_command writes is read when it has ended. */
static void on_output(void *arg, uint32_t events)
{
	struct watch *w = arg;

	(void)events;
	if (w->phase == PHASE_PASSWORD)
		loop_del(w->group->loop, &w->output);
	else
		read_lines(w);
}

/* ---- Ending it ---- */

static void stop(struct watch *w, uint64_t now_ms)
{
	if (w->phase == PHASE_NAME || w->phase == PHASE_NONE) {
		ended(w, END_NONE, NULL);
		return;
	}
	if (w->kill_ms)
		return;
	signal_child(w, SIGTERM);
	w->kill_ms = now_ms + KILL_MS;
}

/* ---- Asking through the tunnel ---- */

static void probe_ended(struct watch *w, const struct err *result)
{
	close_probe(w);
	if (result->code) {
		snprintf(w->complaint, sizeof(w->complaint), "%.255s", result->msg);
		say(w, LOG_WARNING, "health: %s", result->msg);
	}
	life_checked(&w->life, !result->code, clock_ms());
	control_finish(&w->asker, result);
}

static void on_probe(void *arg, uint32_t events)
{
	struct watch *w = arg;
	struct err err = {0};
	int r = health_step(&w->health, &err);

	(void)events;
	if (r)
		probe_ended(w, &err); /* code 0 when it came through */
}

static int probe(struct watch *w, struct err *err)
{
	const struct ip *dns = w->spec->n_dns    ? &w->spec->dns[0]
			       : w->inside.n_dns ? &w->inside.dns[0]
						 : NULL;
	_netns_ struct netns *ns = NULL;
	int r = netns_open(w->row->netns, w->group->oplog, &ns, err);

	if (!r)
		r = health_start(&w->health, ns, SESSION_TUN, &w->spec->health, dns, err);
	if (r)
		return r;
	/* epoll(7)'s bits are poll(2)'s. */
	r = loop_add(w->group->loop, &w->probe, w->health.fd, (uint32_t)w->health.events, on_probe,
		     w);
	return r ? err_errno(err, r, "cannot wait for an answer") : 0;
}

static void check(struct watch *w, uint64_t now_ms)
{
	struct err err = {0};

	if (w->probe_until_ms)
		return;
	w->probe_until_ms = now_ms + w->spec->health.timeout_ms;
	if (probe(w, &err))
		probe_ended(w, &err);
}

void watch_check(struct watch *w, int connection)
{
	struct err result = {0};

	if (w->asker >= 0)
		err_set(&result, ERR_CONFLICT, -EBUSY, "somebody else is asking already");
	else if (!w->life.connected)
		err_set(&result, ERR_UNREACHABLE, -ENOTCONN, "session %s is %s%s%s", w->spec->name,
			session_state_name(w->life.state), *w->failure.reason ? ": " : "",
			w->failure.reason);
	else if (w->spec->health.probe != PROBE_NONE) {
		w->asker = connection;
		check(w, clock_ms());
		return;
	}
	control_finish(&connection, &result);
}

/* ---- What its script says ---- */

static int connected(struct watch *w, const struct vpn *v, struct err *err)
{
	_netns_ struct netns *outer = NULL, *inner = NULL;
	bool two = w->row->carrier[0];
	int r = netns_open(session_outer(w->row), w->group->oplog, &outer, err);

	if (!r && two)
		r = netns_open(w->row->netns, w->group->oplog, &inner, err);
	if (!r)
		r = inner_connect(outer, two ? inner : outer, w->row, w->spec, v, err);
	if (!r)
		r = etc_write(w->row->netns, w->spec, v, err);
	if (r)
		return r;
	w->inside.addr4 = v->addr4.addr;
	w->inside.addr6 = v->addr6.addr;
	w->inside.gateway = v->gateway;
	memcpy(w->inside.dns, v->dns, sizeof(v->dns));
	w->inside.n_dns = v->n_dns;
	if (v->banner)
		say(w, LOG_INFO, "the server says: %s", v->banner);
	return 0;
}

static int hook(struct watch *w, const struct vpn *v, struct err *err)
{
	uint64_t now_ms = clock_ms();
	int r = 0;

	say(w, LOG_DEBUG, "openconnect's script: %s", vpn_reason_name(v->reason));
	switch (v->reason) {
	case VPN_CONNECT:
		r = connected(w, v, err);
		if (!r)
			life_connected(&w->life, now_ms);
		break;
	case VPN_ATTEMPT_RECONNECT:
		stop_probe(w);
		begin(w, PHASE_CLIENT, "not connected again");
		life_reconnecting(&w->life, now_ms);
		break;
	case VPN_RECONNECT:
		life_connected(&w->life, now_ms);
		break;
	case VPN_PRE_INIT:   /* there is no device yet */
	case VPN_DISCONNECT: /* device, addresses and routes stay for the next openconnect */
	case VPN_NUM_REASONS:
		break;
	}
	return r;
}

void watch_hook(struct watch *w, const char *env, size_t len, struct err *result)
{
	_vpn_ struct vpn v = {0};
	int r;

	if (w->phase != PHASE_CLIENT || vpn_client(env, len) != w->child.pid) {
		err_set(result, ERR_CONFLICT, -ESTALE, "not the openconnect that runs now");
		return;
	}
	r = vpn_parse(env, len, &v, result);
	if (!r)
		r = hook(w, &v, result);
	if (!r || w->phase != PHASE_CLIENT)
		return;
	/* openconnect would go on without what the script could not do. */
	w->broken = *result;
	child_signal(&w->child, SIGTERM);
	if (!w->kill_ms)
		w->kill_ms = clock_ms() + KILL_MS;
}

/* ---- What is to be done ---- */

static void show(struct watch *w)
{
	enum session_state s = w->life.state;

	if (w->shown_failures != w->life.account->failures) { /* perhaps another session's doing */
		w->shown_failures = w->life.account->failures;
		w->is_news = true;
	}
	if (s == w->shown)
		return;
	w->shown = s;
	w->since = time(NULL);
	w->is_news = true;
	say(w, s == SESSION_ERROR ? LOG_ERR : LOG_NOTICE, "%s", session_state_name(s));
}

/* What time has come for; whether anything. */
static bool overdue(struct watch *w, uint64_t now_ms)
{
	struct err late = {0};

	if (w->kill_ms && now_ms >= w->kill_ms) {
		signal_child(w, SIGKILL);
		w->kill_ms = UINT64_MAX; /* once is enough */
	}
	if (!w->probe_until_ms || now_ms < w->probe_until_ms)
		return false;
	err_set(&late, ERR_UNREACHABLE, -ETIMEDOUT, "no answer within %u ms",
		w->spec->health.timeout_ms);
	probe_ended(w, &late);
	return true;
}

/* Whether anything changed. */
static bool act(struct watch *w, enum life_do what, uint64_t now_ms)
{
	enum watch_phase before = w->phase;

	switch (what) {
	case LIFE_START:
		get_name(w);
		return true;
	case LIFE_STOP:
		stop(w, now_ms);
		return w->phase != before;
	case LIFE_CHECK:
		check(w, now_ms);
		return true;
	case LIFE_WAIT:
		break;
	}
	return false;
}

bool watch_step(struct watch *w, uint64_t now_ms, uint64_t *ret_at_ms)
{
	uint64_t at_ms = UINT64_MAX;
	bool acted = overdue(w, now_ms);
	enum watch_phase before = w->phase;

	if (w->phase == PHASE_NAME) /* an answer may be there */
		get_name(w);
	acted = acted || w->phase != before;
	if (act(w, life_next(&w->life, now_ms, &at_ms), now_ms))
		acted = true;
	show(w);
	if (w->probe_until_ms)
		at_ms = MIN(at_ms, w->probe_until_ms);
	if (w->kill_ms)
		at_ms = MIN(at_ms, w->kill_ms);
	*ret_at_ms = at_ms;
	return acted;
}

bool watch_is_running(const struct watch *w)
{
	return w->phase != PHASE_NONE;
}

int watch_init(struct watch *w, const struct watch_group *g, const struct session_spec *spec,
	       const struct session *row, struct account *a, struct starts *s, uint32_t delay_ms,
	       struct err *err)
{
	const struct session_file *f = g->file;
	int r;

	*w = (struct watch){.group = g,
			    .spec = spec,
			    .row = row,
			    .output_fd = -1,
			    .asker = -1,
			    .child.fd = -1,
			    .health.fd = -1,
			    .shown = SESSION_NUM_STATES};
	r = openconnect_host(spec->server, w->server, sizeof(w->server));
	if (r)
		return err_set(err, ERR_USAGE, r, "'%s' is not a server", spec->server);
	w->is_name = ip_parse(w->server, &w->address, NULL) != 0;
	life_init(&w->life, spec, a, s, clock_ms(), delay_ms);
	return session_log_open(f->logging.directory, spec->name, f->logging.max_bytes,
				f->logging.keep, &w->log, err);
}

void watch_done(struct watch *w)
{
	if (w->child.pid)
		abandon_child(w);
	close_probe(w);
	if (w->asker >= 0)
		close(w->asker);
	secret_wipe(&w->secret);
	session_log_free(w->log);
}

/* ---- Describing it ---- */

static json_t *utc(time_t t)
{
	char text[TIME_STRLEN];

	return json_string(time_format(t, text));
}

static void add_addr(json_t *list, const struct ip *ip)
{
	char text[IP_STRLEN];

	if (ip->family)
		json_array_append_new(list, json_string(ip_format(ip, text)));
}

static json_t *addresses(const struct watch *w)
{
	json_t *list = json_array();

	add_addr(list, &w->inside.addr4);
	add_addr(list, &w->inside.addr6);
	return list;
}

static json_t *resolvers(const struct watch *w)
{
	const struct ip *v = w->spec->n_dns ? w->spec->dns : w->inside.dns;
	size_t n = w->spec->n_dns ? w->spec->n_dns : w->inside.n_dns;
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		add_addr(list, &v[i]);
	return list;
}

static json_t *last_error(const struct watch *w)
{
	if (w->failure.class == END_NONE)
		return json_null();
	return json_pack("{s:s, s:s, s:o}", "class", end_class_name(w->failure.class), "reason",
			 w->failure.reason, "time", utc(w->failure.at));
}

static json_t *next_retry(const struct watch *w, uint64_t now_ms)
{
	const struct life *l = &w->life;
	uint64_t at_ms = MAX(l->next_ms, l->account->not_before_ms);
	bool waits = !l->running && l->state != SESSION_DOWN && l->state != SESSION_ERROR;

	return waits && at_ms > now_ms ? utc(time(NULL) + (time_t)((at_ms - now_ms + 999) / 1000))
				       : json_null();
}

static const char *transport(const struct watch *w)
{
	return !w->life.connected ? NULL : w->said.dtls ? "dtls" : "tls";
}

json_t *watch_describe(struct watch *w, uint64_t now_ms)
{
	const struct session *s = w->row;
	char addr[IP_STRLEN], gateway[IP_STRLEN];

	w->is_news = false;
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:s?, s:s, s:o, s:s, s:s?, s:s, "
			 "s:s?, s:s?, s:o, s:i, s:i, "
			 "s:o, s:o, s:s, s:i}",
			 "name", s->name, "group", s->group, "file", s->file, "state",
			 session_state_name(w->shown), "since", utc(w->since), "mode",
			 session_mode_name(s->mode), "namespace", s->netns, "carrier",
			 *s->carrier ? s->carrier : NULL, "address", ip_format(&s->addr, addr),
			 "addresses", addresses(w), "server", w->spec->server, "server_address",
			 w->inside.gateway.family ? ip_format(&w->inside.gateway, gateway) : NULL,
			 "protocol", w->spec->protocol ? w->spec->protocol : "anyconnect",
			 "username", w->spec->username, "transport", transport(w), "dns",
			 resolvers(w), "restarts", (int)w->life.restarts, "auth_failures",
			 (int)w->life.account->failures, "last_error", last_error(w), "next_retry",
			 next_retry(w, now_ms), "log", session_log_path(w->log), "pid",
			 w->phase == PHASE_CLIENT ? (int)w->child.pid : 0);
}
