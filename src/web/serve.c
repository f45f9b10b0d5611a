// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 *	browser ── server (nobody, few system calls) ══ channel ══ we (root) ── state, kernel
 *
 * Who speaks HTTP may do nothing else: it is a process of its own (server.c) that gives up
 * everything before the first connection. It may ask for a look, and is told of events; it has no
 * other way to reach anything, and what it says is a byte. So whatever a request did to it, that
 * could read what everybody may read who is let in, and write nothing.
 *
 *  1. The server's bytes are all that is read from it: it cannot make us work for more than a look
 *     each.
 *  2. A look is taken when one is wanted, and when something has changed; between that, nothing
 *     runs.
 *  3. Rates are of the last second or two, whoever asks how often.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "ops/changes.h"
#include "ops/look.h"
#include "ops/watcher.h"
#include "web/channel.h"
#include "web/listen.h"
#include "web/serve.h"
#include "web/server.h"

#define RATE_MS 1000     /* what rates are of, at least */
#define RATE_MAX_MS 5000 /* and at most: nobody has asked for longer */
#define CHANNEL_TIMEOUT_S 10

struct serve {
	const struct serve_config *c;
	struct listener listener;
	struct watcher *watcher;
	int channel, signals;
	pid_t server;
	struct look known; /* of which all events have been told */
	struct look base,
		recent; /* that rates are told by: base at least RATE_MS older than recent */
	json_int_t seq;
};

/* ---- What the server is told ---- */

static void forget_rates(struct serve *s)
{
	look_done(&s->base);
	look_done(&s->recent);
}

/* Takes the look, unless there is one that is about as new. */
static void keep_for_rates(struct serve *s, struct look *now)
{
	if (s->recent.doc && now->at_ms - s->recent.at_ms < RATE_MS) {
		look_done(now);
		return;
	}
	look_done(&s->base);
	s->base = s->recent;
	s->recent = *now;
}

static const struct look *before(const struct serve *s, const struct look *now)
{
	return s->recent.doc && now->at_ms - s->recent.at_ms >= RATE_MS ? &s->recent : &s->base;
}

static int tell_look(struct serve *s, struct look *now)
{
	char *text;
	int r;

	if (s->recent.doc && now->at_ms - s->recent.at_ms > RATE_MAX_MS)
		forget_rates(s);
	if (before(s, now)->doc)
		look_rates(now, before(s, now));
	json_object_set_new(now->doc, "schema", json_string("byway.status/1"));
	text = json_dumps(now->doc, JSON_COMPACT);
	r = text ? channel_tell(s->channel, CHANNEL_LOOK, text, strlen(text)) : -ENOMEM;
	free(text);
	keep_for_rates(s, now);
	return r;
}

static int answer(struct serve *s)
{
	struct look now = {0};
	struct err err = {0};

	if (!look_take(&now, &err))
		return tell_look(s, &now);
	return channel_tell(s->channel, CHANNEL_FAILED, err.msg, strlen(err.msg));
}

static void tell_event(void *arg, json_t *event)
{
	struct serve *s = arg;
	json_t *line = changes_line(++s->seq, event);
	char *text;

	text = json_dumps(line, JSON_COMPACT);
	if (text) /* that it is gone, the loop notices */
		channel_tell(s->channel, CHANNEL_EVENT, text, strlen(text));
	free(text);
	json_decref(line);
}

static int tell_changes(struct serve *s, struct err *err)
{
	struct look now = {0};
	int r = watcher_look(s->watcher, &now, err);

	if (r <= 0)
		return r;
	changes_find(s->known.doc, now.doc, tell_event, s);
	look_done(&s->known);
	s->known = now;
	return 0;
}

/* ---- The loop ---- */

static int gone(struct serve *s, struct err *err)
{
	int status = 0;

	waitpid(s->server, &status, 0);
	s->server = 0;
	return err_set(err, ERR_FAILED, -EPIPE, "the web server's process ended, by %s %d",
		       WIFSIGNALED(status) ? "signal" : "itself, with status",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static int hear(struct serve *s, struct err *err)
{
	char word;
	int r = 0;

	if (recv(s->channel, &word, 1, 0) <= 0)
		return gone(s, err);
	if (word == CHANNEL_READY && s->c->ready)
		s->c->ready(s->c->arg, s->listener.url);
	if (word == CHANNEL_ASK)
		r = answer(s);
	return r ? err_errno(err, r, "cannot talk to the web server's process") : 0;
}

static int loop(struct serve *s, struct err *err)
{
	struct pollfd p[] = {{.fd = s->signals, .events = POLLIN},
			     {.fd = s->channel, .events = POLLIN},
			     {.fd = watcher_fd(s->watcher), .events = POLLIN}};
	int r = 0;

	while (!r && !p[0].revents) {
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			return err_errno(err, -errno, "cannot wait");
		if (p[1].revents)
			r = hear(s, err);
		if (!r && p[2].revents)
			r = tell_changes(s, err);
	}
	return r;
}

/* ---- Beginning and end ---- */

static int start_server(struct serve *s, struct err *err)
{
	const struct timeval limit = {.tv_sec = CHANNEL_TIMEOUT_S};
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return err_errno(err, -errno, "cannot make a channel");
	s->server = fork();
	if (s->server < 0)
		return err_errno(err, -errno, "cannot start the web server's process");
	if (s->server) {
		close(pair[1]);
		s->channel = pair[0];
		setsockopt(s->channel, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		return 0;
	}
	close(pair[0]);
	r = server_run(s->listener.fd, pair[1], !*s->listener.path, err);
	if (r && r != -EPIPE) /* nobody waits any more, and whoever did says why */
		log_error("%s", err->msg);
	_exit(r ? 1 : 0);
}

static int take_signals(int *ret, struct err *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	*ret = signalfd(-1, &set, SFD_CLOEXEC);
	return *ret < 0 ? err_errno(err, -errno, "cannot wait for signals") : 0;
}

static void end(struct serve *s)
{
	close_p(&s->channel);
	if (s->server > 0)
		waitpid(s->server, NULL, 0);
	close_p(&s->signals);
	watcher_free(s->watcher);
	listen_close(&s->listener);
	look_done(&s->known);
	forget_rates(s);
}

int web_serve(const struct serve_config *c, struct err *err)
{
	struct serve s = {.c = c, .listener.fd = -1, .channel = -1, .signals = -1};
	int r = take_signals(&s.signals, err);

	if (!r)
		r = listen_open(c->where, &s.listener, err);
	if (!r)
		r = start_server(&s, err); /* before there is anything that it should not have */
	if (!r)
		r = watcher_new(&s.watcher, err);
	if (!r)
		r = look_take(&s.known, err);
	if (!r)
		r = loop(&s, err);
	end(&s);
	return r;
}
