// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The process that watches over the sessions of one file. One thread, one loop: whatever happens,
 * all sessions are asked what they have to do now (watch_step()), again as long as one of them did
 * something, for they share accounts and the number of those that may start.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "base/notify.h"
#include "ops/ops.h"
#include "ops/session.h"
#include "proc/pidlock.h"
#include "session/control.h"
#include "session/server.h"
#include "session/watch.h"

#define JITTER_MS 1       /* for each session, at most... */
#define JITTER_MAX_MS 500 /* ...this for all */
#define END_MS 5000       /* for all openconnects to say goodbye; watch.c kills them sooner */

struct member {
	struct watch watch;
	struct account *account;
	int leaver; /* the connection that asked for its end, or -1 */
	bool leaves, gone;
	bool removed; /* nothing of it is left */
};

struct supervisor {
	const struct supervise_config *c;
	struct ops ops;
	struct session *rows;
	struct member *members;
	size_t n;
	struct account *accounts; /* one for each member at most */
	struct starts starts;
	struct watch_group group;
	struct source signals, control, names;
	int lock, signal_fd, control_fd;
	char socket[SESSION_PATH_MAX];
	char *hook;
	bool ends, has_settled;
	uint64_t settle_by_ms;
};

/* ---- Files ---- */

static void publish(struct watch *w)
{
	json_t *json = watch_describe(w, clock_ms());
	char path[SESSION_PATH_MAX], tmp[SESSION_PATH_MAX + 8];

	session_path(w->row->name, ".json", path);
	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	if (json_dump_file(json, tmp, JSON_INDENT(2)) || rename(tmp, path)) {
		log_warn("cannot write %s", path);
		unlink(tmp);
	}
	json_decref(json);
}

/* How often an account was refused before this process took over from one that was killed. */
static unsigned int earlier_failures(const char *name)
{
	char path[SESSION_PATH_MAX];
	json_t *json;
	json_int_t n;

	session_path(name, ".json", path);
	json = json_load_file(path, 0, NULL);
	n = json_integer_value(json_object_get(json, "auth_failures"));
	json_decref(json);
	return n > 0 && n < 1000 ? (unsigned int)n : 0;
}

/* ---- What the sessions share ---- */

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool same_account(const struct session_spec *a, const struct session_spec *b)
{
	return same_text(a->server, b->server) && same_text(a->username, b->username);
}

/* Before any session starts: what is known of one counts for all of its account. */
static void assign_accounts(struct supervisor *s)
{
	const struct session_file *f = s->c->file;
	const struct session_spec *specs = f->sessions;

	s->accounts = xcalloc(f->n_sessions, sizeof(*s->accounts));
	for (size_t i = 0; i < f->n_sessions; i++) {
		size_t j = 0;

		while (!same_account(&specs[i], &specs[j]))
			j++;
		s->members[i].account = j < i ? s->members[j].account : &s->accounts[i];
		if (j == i)
			s->accounts[i] = (struct account){
				.max_failures = specs[i].max_auth_attempts,
				.apart_ms = specs[i].totp_file ? ACCOUNT_OTP_MS : 0};
		s->members[i].account->failures =
			MAX(s->members[i].account->failures, earlier_failures(specs[i].name));
	}
}

static uint32_t jitter(size_t n)
{
	uint32_t max = (uint32_t)MIN(n * JITTER_MS, JITTER_MAX_MS);

	return n > 1 ? backoff_random() % (max + 1) : 0;
}

/* ---- Settling: for whoever waits for all sessions to be up ---- */

static enum err_kind kind_of(enum end_class class)
{
	switch (class) {
	case END_AUTH:
		return ERR_AUTH;
	case END_UNREACHABLE:
	case END_STALLED:
		return ERR_UNREACHABLE;
	case END_REFUSED:
		return ERR_BLOCKED;
	case END_NONE:
	case END_CERTIFICATE:
	case END_CRASHED:
	case END_NUM_CLASSES:
		break;
	}
	return ERR_FAILED;
}

struct tally {
	size_t up, given_up, all;
	const struct watch *worst; /* of those that are not up, one that can say why */
};

static struct tally tally(const struct supervisor *s)
{
	struct tally t = {0};

	for (size_t i = 0; i < s->n; i++) {
		const struct watch *w = &s->members[i].watch;

		if (s->members[i].gone)
			continue;
		t.all++;
		t.up += w->life.state == SESSION_UP;
		t.given_up += w->life.state == SESSION_ERROR;
		if (w->life.state != SESSION_UP && (!t.worst || w->failure.class != END_NONE))
			t.worst = w;
	}
	return t;
}

/* One that was given up may not have failed itself: its account's failures count, and those of a
 * process before. */
static enum end_class why_down(const struct watch *w)
{
	return w->life.state == SESSION_ERROR ? END_AUTH : w->failure.class;
}

static void describe_tally(const struct tally *t, struct err *ret)
{
	const struct watch *w = t->worst;
	enum end_class class;
	const char *reason;

	*ret = (struct err){0};
	if (!t->all)
		err_set(ret, ERR_FAILED, -ECANCELED, "all sessions have been taken down meanwhile");
	if (t->up == t->all)
		return;
	class = why_down(w);
	reason = class == w->failure.class ? w->failure.reason : "";
	err_set(ret, kind_of(class), -EAGAIN, "%zu of %zu sessions %s not up; %s: %s%s%s",
		t->all - t->up, t->all, t->all - t->up == 1 ? "is" : "are", w->spec->name,
		class == END_NONE ? session_state_name(w->life.state) : end_class_name(class),
		*reason ? ": " : "", reason);
}

static void settle(struct supervisor *s, uint64_t now_ms)
{
	struct tally t = tally(s);
	struct err result;

	if (s->has_settled || (t.up + t.given_up < t.all && now_ms < s->settle_by_ms))
		return;
	s->has_settled = true;
	describe_tally(&t, &result);
	s->c->settled(s->c->arg, &result);
}

static void tell_manager(const struct supervisor *s)
{
	struct tally t = tally(s);
	_free_ char *text = xasprintf("STATUS=%zu of %zu sessions up", t.up, t.all);

	notify_manager(text);
}

/* ---- Taking sessions away ---- */

static int remove_rows(struct supervisor *s, const struct session *rows, size_t n, struct err *err)
{
	int r;

	if (!n)
		return 0;
	r = ops_open(&s->ops, STORE_WRITE, err);
	if (!r)
		r = ops_session_remove(&s->ops, rows, n, err);
	ops_suspend(&s->ops);
	return r;
}

static void leave(struct supervisor *s, struct member *m)
{
	struct err result = {0};

	watch_done(&m->watch);
	m->gone = true;
	m->removed = !remove_rows(s, m->watch.row, 1, &result);
	if (!tally(s).all)
		s->ends = true; /* nothing left to watch over */
	control_finish(&m->leaver, &result);
}

/* ---- Steps ---- */

static bool step_member(struct supervisor *s, struct member *m, uint64_t now_ms, uint64_t *at_ms)
{
	uint64_t next_ms = UINT64_MAX;
	bool acted;

	if (m->gone)
		return false;
	acted = watch_step(&m->watch, now_ms, &next_ms);
	if (m->watch.is_news) {
		publish(&m->watch);
		tell_manager(s);
		if (s->c->news)
			s->c->news(s->c->arg, &m->watch);
	}
	if (m->leaves && !watch_is_running(&m->watch)) {
		leave(s, m);
		acted = true;
	}
	*at_ms = MIN(*at_ms, next_ms);
	return acted;
}

/* When there is something to do next. */
static uint64_t step(struct supervisor *s)
{
	uint64_t at_ms, now_ms;
	bool acted;

	do {
		acted = false;
		at_ms = UINT64_MAX;
		now_ms = clock_ms();
		for (size_t i = 0; i < s->n; i++)
			acted = step_member(s, &s->members[i], now_ms, &at_ms) || acted;
	} while (acted);
	settle(s, now_ms);
	return s->has_settled ? at_ms : MIN(at_ms, s->settle_by_ms);
}

static int wait_until(struct supervisor *s, uint64_t at_ms)
{
	uint64_t now_ms = clock_ms();
	int timeout = at_ms == UINT64_MAX ? -1
		      : at_ms > now_ms    ? (int)MIN(at_ms - now_ms, 3600000u)
					  : 0;

	return loop_wait(s->group.loop, timeout);
}

/* ---- What comes in ---- */

static void on_signal(void *arg, uint32_t events)
{
	struct supervisor *s = arg;
	struct signalfd_siginfo info;

	(void)events;
	(void)!read(s->signal_fd, &info, sizeof(info));
	s->ends = true;
}

static void on_name(void *arg, uint32_t events)
{
	struct supervisor *s = arg;

	(void)events;
	servers_note(s->group.servers);
}

struct connection {
	struct supervisor *s;
	struct source source;
	int fd; /* -1 when somebody took it */
};

static struct member *find(struct supervisor *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (!s->members[i].gone && !strcmp(s->members[i].watch.row->name, name))
			return &s->members[i];
	return NULL;
}

/* What may still be asked of a session that goes; openconnect says goodbye by its script. */
static int check_request(const struct supervisor *s, const struct control_request *q,
			 const struct member *m, struct err *err)
{
	if (!m)
		return err_set(err, ERR_NOT_FOUND, -ENOENT, "no session is named '%s'", q->name);
	if ((s->ends || m->leaves) && q->verb != CONTROL_HOOK)
		return err_set(err, ERR_CONFLICT, -EALREADY,
			       "session %s is being taken down already", q->name);
	return 0;
}

/* Leaves the connection open, and *fd -1, where the answer takes time. */
static void answer(struct supervisor *s, const struct control_request *q, int *fd)
{
	struct member *m = find(s, q->name);
	struct err result = {0};

	if (check_request(s, q, m, &result)) {
		control_answer(*fd, &result);
		return;
	}
	switch (q->verb) {
	case CONTROL_HOOK:
		watch_hook(&m->watch, q->env, q->env_len, &result);
		break;
	case CONTROL_RESTART:
		life_restart(&m->watch.life, clock_ms());
		break;
	case CONTROL_CHECK:
		watch_check(&m->watch, TAKE_FD(*fd));
		return;
	case CONTROL_DOWN:
		life_down(&m->watch.life, clock_ms());
		m->leaves = true;
		m->leaver = TAKE_FD(*fd);
		return;
	case CONTROL_NUM_VERBS:
		break;
	}
	control_answer(*fd, &result);
}

static void on_request(void *arg, uint32_t events)
{
	struct connection *c = arg;
	_free_ char *buf = xcalloc(1, CONTROL_MAX);
	struct control_request q;
	int r = control_read(c->fd, buf, &q);

	(void)events;
	if (r == -EAGAIN)
		return;
	loop_del(c->s->group.loop, &c->source);
	if (!r)
		answer(c->s, &q, &c->fd);
	close_p(&c->fd);
	free(c);
}

static void on_connection(void *arg, uint32_t events)
{
	struct supervisor *s = arg;
	int fd = accept4(s->control_fd, NULL, NULL, SOCK_CLOEXEC);
	struct connection *c;

	(void)events;
	if (fd < 0)
		return;
	c = xcalloc(1, sizeof(*c));
	*c = (struct connection){.s = s, .fd = fd};
	if (loop_add(s->group.loop, &c->source, fd, EPOLLIN, on_request, c)) {
		close(fd);
		free(c);
	}
}

/* ---- Beginning and end ---- */

static int open_signals(struct supervisor *s, struct err *err)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	signal(SIGPIPE, SIG_IGN); /* whoever reads what we say may go before us */
	sigprocmask(SIG_BLOCK, &signals, NULL);
	s->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signal_fd < 0 ? err_errno(err, -errno, "cannot wait for signals") : 0;
}

static int add_sources(struct supervisor *s)
{
	struct loop *l = s->group.loop;
	int r = loop_add(l, &s->signals, s->signal_fd, EPOLLIN, on_signal, s);

	if (!r)
		r = loop_add(l, &s->control, s->control_fd, EPOLLIN, on_connection, s);
	if (!r)
		r = loop_add(l, &s->names, servers_fd(s->group.servers), EPOLLIN, on_name, s);
	return r;
}

/* In a shell's words. */
static char *hook_command(const char *self)
{
	_buf_ struct buf b = {0};

	/* Before there is a device there is nothing to do. */
	buf_adds(&b, "test \"$reason\" = pre-init || exec '");
	for (; *self; self++)
		buf_addf(&b, *self == '\'' ? "'\\%c'" : "%c", *self);
	buf_adds(&b, "' session hook");
	return TAKE_PTR(b.data);
}

static int open_all(struct supervisor *s, struct err *err)
{
	int r = servers_new(&s->group.servers, err);

	session_path(s->c->file->group, ".sock", s->socket);
	s->hook = hook_command(s->c->self);
	s->group.file = s->c->file;
	s->group.socket = s->socket;
	s->group.hook = s->hook;
	s->group.oplog = &s->ops.log;
	if (!r)
		r = control_listen(s->socket, &s->control_fd, err);
	if (r)
		return r;
	r = loop_new(&s->group.loop);
	if (!r)
		r = add_sources(s);
	return r ? err_errno(err, r, "cannot set up the event loop") : 0;
}

/* It starts while what the others need is being made: the first of an account is the only one that
 * may, and by the time all are there, the server may have let it in. Its script, and all else that
 * comes in, waits for run(). */
static int on_made(void *arg, struct session *rows, size_t i, struct err *err)
{
	struct supervisor *s = arg;
	const struct session_file *f = s->c->file;
	struct member *m = &s->members[i];
	uint64_t at_ms = UINT64_MAX;
	int r = watch_init(&m->watch, &s->group, &f->sessions[i], &rows[i], m->account, &s->starts,
			   i ? jitter(f->n_sessions) : 0, err);

	if (r)
		return r;
	s->rows = rows;
	s->n = i + 1;
	if (s->c->resolve)
		servers_ask_from(s->group.servers, session_outer(&rows[i]), s->c->resolve);
	step_member(s, m, clock_ms(), &at_ms);
	return 0;
}

static void init_members(struct supervisor *s)
{
	size_t n = s->c->file->n_sessions;

	s->starts.limit = s->c->file->parallel;
	s->members = xcalloc(n, sizeof(*s->members));
	for (size_t i = 0; i < n; i++)
		s->members[i].leaver = -1;
	assign_accounts(s);
}

/* The rows went with what they stood for. */
static void forget_members(struct supervisor *s)
{
	for (size_t i = 0; i < s->n; i++)
		watch_done(&s->members[i].watch);
	free(TAKE_PTR(s->members));
	s->rows = NULL;
	s->n = 0;
}

static int prepare(struct supervisor *s, struct err *err)
{
	int r;

	init_members(s);
	s->ops.backend = s->c->backend;
	s->ops.log.echo = s->c->verbose;
	r = ops_open(&s->ops, STORE_WRITE, err);
	if (!r)
		r = ops_session_prepare(&s->ops, s->c->file, on_made, s, &s->rows, err);
	if (!r && s->c->made)
		r = s->c->made(s->c->arg, &s->ops, s->rows, err);
	ops_suspend(&s->ops);
	malloc_trim(0); /* what making them took is not needed again for long */
	if (r)
		forget_members(s);
	return r;
}

static int run(struct supervisor *s, struct err *err)
{
	uint64_t at_ms;
	int r = 0;

	s->settle_by_ms = clock_ms() + s->c->settle_ms;
	s->c->begun(s->c->arg);
	while (!r && !s->ends) {
		at_ms = step(s);
		if (!s->ends) /* the last session may have left */
			r = wait_until(s, at_ms);
	}
	return r ? err_errno(err, r, "cannot wait for events") : 0;
}

static bool is_any_running(const struct supervisor *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (!s->members[i].gone && watch_is_running(&s->members[i].watch))
			return true;
	return false;
}

/* All at once. */
static void end_clients(struct supervisor *s)
{
	uint64_t until_ms = clock_ms() + END_MS;

	s->has_settled = true;
	for (size_t i = 0; i < s->n; i++)
		life_down(&s->members[i].watch.life, clock_ms());
	step(s);
	while (is_any_running(s) && clock_ms() < until_ms)
		if (wait_until(s, MIN(step(s), until_ms)))
			break;
}

static int take_away(struct supervisor *s, struct err *err)
{
	size_t n = 0, n_members = s->n;
	int r;

	for (size_t i = 0; i < s->n; i++) {
		struct member *m = &s->members[i];

		if (!m->gone)
			watch_done(&m->watch);
		if (m->removed)
			session_done(&s->rows[i]);
		else
			s->rows[n++] = s->rows[i];
	}
	s->n = n;
	r = remove_rows(s, s->rows, n, err);
	for (size_t i = 0; i < n_members; i++)
		control_finish(&s->members[i].leaver, err);
	return r;
}

static void supervisor_done(struct supervisor *s)
{
	ops_close(&s->ops);
	loop_free(s->group.loop);
	servers_free(s->group.servers);
	close_p(&s->signal_fd);
	close_p(&s->control_fd);
	free(s->members);
	free(s->accounts);
	free(s->hook);
	session_list_free(s->rows, s->n);
}

static int take_lock(struct supervisor *s, struct err *err)
{
	char path[SESSION_PATH_MAX];
	int r;

	session_path(s->c->file->group, ".lock", path);
	r = pidlock_take(path, &s->lock, err);
	if (r == -EBUSY)
		return err_set(
			err, ERR_CONFLICT, r,
			"the sessions of group %s are running already: `byway session status "
			"%s` shows them",
			s->c->file->group, s->c->file->group);
	return r;
}

int ops_session_supervise(const struct supervise_config *c, struct err *err)
{
	struct supervisor s = {.c = c, .lock = -1, .signal_fd = -1, .control_fd = -1};
	struct err second = {0};
	int r = take_lock(&s, err);

	if (r)
		return r;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* passwords are in here */
	file_raise_limit();
	r = open_signals(&s, err);
	if (!r)
		r = open_all(&s, err);
	if (!r)
		r = prepare(&s, err);
	if (!r)
		r = run(&s, err);
	if (s.members)
		end_clients(&s);
	if (take_away(&s, &second)) {
		err_append(err, "; what is left: `byway session down %s`", c->file->group);
		r = r ? r : err_set(err, second.kind, second.code, "%s", second.msg);
	} else {
		session_remove_files(c->file->group, NULL);
		close_p(&s.lock);
	}
	supervisor_done(&s);
	return r;
}
