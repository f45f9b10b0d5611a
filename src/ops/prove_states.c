// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * The states of a way out are brought about, one after the other: as it is; without the first of
 * its list, so that the second carries; without both, ..., until nobody does; and back. What
 * carries is lost as in real life:
 *
 *	egress, session   its connections find no network: two routes into nothing where they begin
 *	                  (session_net_cut()), as when the uplink or the server is gone. Everything
 *	                  that follows, noticing, failing over and coming back, is its own doing.
 *	                  openconnect alone is told (SIGUSR2): it asks its server too rarely.
 *	tunnel            its process hangs (SIGSTOP). It sends among all that the host sends, of
 *	                  which no network can be taken from it alone; and one that is killed could
 *	                  not be started again from here as it was.
 *
 *  1. What is taken is given back by a process of its own, the guard, as soon as this one ends,
 *     whatever ended it. If both are killed, gc does that, and the start of an egress or session.
 *  2. A state is shown if it was there before the probes and after them; else it is an obstacle.
 *  3. What was not up at the beginning is not touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "ops/egress.h"
#include "ops/ops.h"
#include "ops/prove_impl.h"
#include "ops/session.h"
#include "ops/tunnel.h"
#include "ops/tunnel_files.h"
#include "ops/ways.h"
#include "proc/pidlock.h"
#include "session/life.h"
#include "session/net.h"
#include "vpc/way.h"

#define LOST_MS 60000u  /* ssh notices within 10 s, unless somebody has it ask more rarely */
#define BACK_MS 120000u /* a VPN that gives up is started anew, ever more rarely */
#define LOOK_MS 100

struct carrier {
	char name[NAME_MAX_LEN];
	struct session session;     /* of an egress or session; owned */
	char lock[TUNNEL_PATH_LEN]; /* of a tunnel */
	bool usable;                /* it was up when this began */
	bool blocks;                /* then it was killed: its leg still leads in, and not on */
	bool lost;
};

struct walk {
	const struct prove_states *c;
	struct carrier v[WAY_EGRESSES_MAX];
	size_t n;
	int guard_fd; /* the guard waits for its end */
	pid_t guard;
	struct err *err;
};

static void walk_done(struct walk *w)
{
	close_p(&w->guard_fd);
	while (w->guard > 0 && waitpid(w->guard, NULL, 0) < 0 && errno == EINTR)
		;
	for (size_t i = 0; i < w->n; i++)
		session_done(&w->v[i].session);
}

_printf_(2, 3) static void obstacle(const struct walk *w, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	w->c->obstacle(w->c->arg, text);
}

/* ---- What carries ---- */

/* Nothing there: that is no error here. */
static int add_carrier(const char *name, void *arg)
{
	struct walk *w = arg;
	struct carrier *k = &w->v[w->n++];
	char dir[256];

	str_copy(k->name, sizeof(k->name), name);
	if (w->c->way == PROVE_WAY_TUNNEL)
		tunnel_path(tunnel_default_dir(dir), name, ".lock", k->lock);
	else
		session_load(w->c->o->st, name, &k->session, NULL);
	return 0;
}

static json_t *session_status(const struct carrier *k)
{
	json_t *list = NULL, *first;

	if (ops_session_status(k->session.name, &list, NULL))
		return NULL;
	first = json_incref(json_array_get(list, 0));
	json_decref(list);
	return first;
}

static bool session_is_up(const struct carrier *k)
{
	json_t *status = session_status(k);
	const char *state = json_string_value(json_object_get(status, "state"));
	bool up = state && !strcmp(state, session_state_name(SESSION_UP));

	json_decref(status);
	return up;
}

static bool is_up(const struct walk *w, const struct carrier *k)
{
	char first[NAME_MAX_LEN];

	switch (w->c->way) {
	case PROVE_WAY_LIST:
		return ops_ways_first(w->c->o, k->name, first);
	case PROVE_WAY_SESSION:
		return session_is_up(k);
	case PROVE_WAY_TUNNEL:
		return pidlock_holder(k->lock) && !pidlock_is_stopped(k->lock);
	}
	return false;
}

/* NULL: nobody carries. */
static const struct carrier *now_by(const struct walk *w)
{
	for (size_t i = 0; i < w->n; i++)
		if (is_up(w, &w->v[i]))
			return w->v[i].blocks ? NULL : &w->v[i];
	return NULL;
}

static const struct carrier *should_be_by(const struct walk *w)
{
	for (size_t i = 0; i < w->n && !w->v[i].blocks; i++)
		if (w->v[i].usable && !w->v[i].lost)
			return &w->v[i];
	return NULL;
}

/* ---- Losing it, and giving it back ---- */

static void tell_openconnect(const struct carrier *k)
{
	json_t *status = session_status(k);
	pid_t pid = (pid_t)json_integer_value(json_object_get(status, "pid"));

	if (pid > 1)
		kill(pid, SIGUSR2);
	json_decref(status);
}

static int lose(struct walk *w, struct carrier *k)
{
	int r = 0;

	k->lost = true;
	log_info("%s: %s %s now", w->c->of, k->name,
		 *k->lock ? "is stopped" : "has no network from");
	if (*k->lock)
		pidlock_signal(k->lock, SIGSTOP);
	else
		r = session_net_cut(&k->session, &w->c->o->log, w->err);
	if (!r && !*k->lock)
		tell_openconnect(k);
	return r;
}

static int give_back(struct walk *w, struct err *err)
{
	struct failures f = {.err = err};

	for (size_t i = 0; i < w->n; i++) {
		if (*w->v[i].lock)
			pidlock_signal(w->v[i].lock, SIGCONT);
		else if (*w->v[i].session.name)
			failures_add(&f, session_net_mend(&w->v[i].session, &w->c->o->log, NULL,
							  failures_err(&f)));
		w->v[i].lost = false;
	}
	return failures_tell(&f);
}

/* In a session of its own, for a key that ends us is not for it. */
static _Noreturn void guard(struct walk *w, int fd)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
	char byte;

	setsid();
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	while (read(fd, &byte, 1) < 0 && errno == EINTR)
		;
	give_back(w, NULL);
	_exit(0);
}

static int start_guard(struct walk *w)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return err_errno(w->err, -errno, "cannot make a pipe");
	w->guard = fork();
	if (!w->guard) {
		close(fds[1]);
		guard(w, fds[0]);
	}
	close(fds[0]);
	w->guard_fd = fds[1];
	return w->guard < 0 ? err_errno(w->err, -errno, "cannot fork") : 0;
}

/* ---- A state ---- */

static bool wait_for(const struct walk *w, const struct carrier *by, bool back)
{
	uint64_t until = clock_ms() + (back ? BACK_MS : LOST_MS);

	while (now_by(w) != by) {
		if (clock_ms() >= until)
			return false;
		poll(NULL, 0, LOOK_MS);
	}
	return true;
}

/* lost: the names of what is; text: "without bastion: by office". */
static void describe(const struct walk *w, bool back, const struct carrier *by, struct buf *lost,
		     struct buf *text)
{
	buf_adds(lost, "");
	for (size_t i = 0; i < w->n; i++)
		if (w->v[i].lost)
			buf_addf(lost, "%s%s", lost->len ? "," : "", w->v[i].name);
	if (lost->len && *w->v[0].lock)
		buf_addf(text, "%s stopped: ", lost->data);
	else if (lost->len)
		buf_addf(text, "without %s: ", lost->data);
	else if (back)
		buf_adds(text, "back: ");
	buf_addf(text, "%s%s", by ? "by " : "blocked", by ? by->name : "");
}

static int show(struct walk *w, bool back)
{
	const struct carrier *by = should_be_by(w);
	_buf_ struct buf lost = {0}, text = {0};
	int r = 0;

	describe(w, back, by, &lost, &text);
	if (!wait_for(w, by, back)) {
		obstacle(w, "%s: the state \"%s\" could not be brought about: it did not come",
			 w->c->of, text.data);
		return 0;
	}
	log_info("%s: %s", w->c->of, text.data);
	r = w->c->probe(w->c->arg, text.data, lost.data, by ? by->name : NULL);
	if (!r && now_by(w) != by)
		obstacle(w, "%s: the state \"%s\" ended while probes were sent", w->c->of,
			 text.data);
	return r;
}

/* ---- All of them ---- */

static void add_users(const struct walk *w, const char *name, struct buf *ret)
{
	_free_ struct use *uses = NULL;
	char user[USE_STRLEN];
	size_t n = 0;

	use_list(w->c->o->st, &uses, &n, NULL);
	for (size_t i = 0; i < n; i++)
		if (way_has(uses[i].list, name))
			buf_addf(ret, "%s%s", ret->len ? ", " : "", use_format(&uses[i], user));
}

/* Who is interrupted. */
static void announce(const struct walk *w)
{
	for (size_t i = 0; i < w->n; i++) {
		_buf_ struct buf users = {0};

		if (!w->v[i].usable)
			continue;
		if (w->c->way == PROVE_WAY_LIST)
			add_users(w, w->v[i].name, &users);
		log_warn("%s: %s will be %s for a while, and with it whoever goes out by it%s%s",
			 w->c->of, w->v[i].name, *w->v[i].lock ? "stopped" : "without a network",
			 users.len ? ": " : "", users.len ? users.data : "");
	}
}

/* How many there are to lose. */
static size_t find_usable(struct walk *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++) {
		struct carrier *k = &w->v[i];
		bool up = is_up(w, k);

		k->blocks = up && w->c->way == PROVE_WAY_LIST && !ops_egress_runs(k->name);
		k->usable = up && !k->blocks && (*k->lock || *k->session.name);
		n += k->usable;
		if (!k->usable)
			obstacle(w,
				 "%s: no state in which %s carries could be brought about: it is "
				 "not up",
				 w->c->of, k->name);
	}
	return n;
}

int prove_states_walk(const struct prove_states *c, struct err *err)
{
	_cleanup_(walk_done) struct walk w = {.c = c, .guard_fd = -1, .err = err};
	size_t usable;
	int r, back;

	way_each(c->list, add_carrier, &w);
	usable = find_usable(&w);
	announce(&w);
	r = usable ? start_guard(&w) : 0;
	if (!r)
		r = show(&w, false);
	for (size_t i = 0; !r && i < w.n; i++) {
		if (!w.v[i].usable)
			continue;
		r = lose(&w, &w.v[i]);
		if (!r)
			r = show(&w, false);
	}
	if (!usable)
		return r;
	back = give_back(&w, r ? NULL : err);
	return r ? r : back ? back : show(&w, true);
}
