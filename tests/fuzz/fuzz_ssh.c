// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an OpenSSH master, or the server through it, may say on the control socket, with three dials
 * under way. However the bytes are cut, it comes to the same end; what is answered is made of whole
 * messages; no window is passed, and nothing is left of channels and descriptors.
 */
#include <unistd.h>

#include "tunnel/ssh_mux.c"

#include "fuzz.h"

#define DIALS 3

struct world {
	struct ssh_loop loop;
	struct ssh_mux *mux;
	int control, callers[DIALS];
};

static void must(bool ok)
{
	if (!ok)
		abort();
}

static struct ssh_mux *new_mux(struct ssh_loop *l, int fd)
{
	struct ssh_mux *m = xcalloc(1, sizeof(*m));

	m->source.event = mux_event;
	m->loop = l;
	m->fd = fd;
	m->in = xcalloc(1, IN_SIZE);
	m->window_max = 1024 * 1024;
	m->first_free = NONE;
	TAILQ_INIT(&m->fresh);
	TAILQ_INIT(&m->bulk);
	must(ssh_loop_add(l, fd, EPOLLIN, &m->source) == 0);
	return m;
}

static void begin_world(struct world *w)
{
	static const struct dial_target target = {.host = "www.example", .port = 80};
	int pair[2];

	ssh_loop_init(&w->loop, epoll_create1(EPOLL_CLOEXEC));
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	w->control = pair[1];
	w->mux = new_mux(&w->loop, pair[0]);
	for (int i = 0; i < DIALS; i++) {
		struct ssh_channel *c;

		must(ssh_channel_new(&target, &c, &w->callers[i]) == 0);
		must(ssh_channel_attach(c, &w->loop) == 0);
		must(send(w->callers[i], "hello", 5, 0) == 5);
		ssh_mux_open(w->mux, c);
	}
}

static void check_answers(const struct ssh_mux *m)
{
	const unsigned char *data = (const unsigned char *)m->out.data + m->out_at, *body;
	size_t left = queued(m), len;
	struct ssh_message msg;

	while (left) {
		must(ssh_frame(data, left, &body, &len) == 1);
		must(ssh_message_parse(body, len, &msg) == 0);
		left -= (size_t)(body + len - data);
		data = body + len;
	}
}

static void check_channels(const struct ssh_mux *m)
{
	unsigned int n = 0;

	for (uint32_t i = 0; i < m->n_slots; i++) {
		const struct ssh_channel *c = m->slots[i].channel;

		if (!c)
			continue;
		n++;
		must(c->id == i && c->mux == m);
		must((uint64_t)c->window + c->backlogged <= c->window_max);
	}
	must(n == m->n_channels && n <= DIALS);
}

/* As the thread does after its events. */
static void run_events(struct world *w)
{
	struct epoll_event events[8];
	int n = epoll_wait(w->loop.epoll, events, 8, 0);

	for (int i = 0; i < n; i++) {
		struct ssh_source *s = events[i].data.ptr;

		if (s->event && s != &w->mux->source)
			s->event(s, events[i].events);
	}
	ssh_loop_reap(&w->loop);
}

static void feed(struct world *w, const uint8_t *data, size_t size, size_t piece)
{
	for (size_t at = 0; at < size && !ssh_mux_is_over(w->mux); at += piece) {
		size_t n = MIN(piece, MIN(size - at, IN_SIZE - w->mux->in_len));

		memcpy(w->mux->in + w->mux->in_len, data + at, n);
		w->mux->in_len += n;
		take_frames(w->mux);
		run_events(w);
		check_channels(w->mux);
	}
	fill(w->mux); /* now, as it takes from windows, and when would depend on the cuts */
	check_answers(w->mux);
}

static void end_world(struct world *w)
{
	struct ssh_channels waiting = TAILQ_HEAD_INITIALIZER(waiting);
	struct ssh_channel *c;

	ssh_mux_free(w->mux, &waiting);
	while ((c = TAILQ_FIRST(&waiting))) {
		TAILQ_REMOVE(&waiting, c, entry);
		ssh_channel_reset(c);
	}
	ssh_loop_done(&w->loop);
	close(w->loop.epoll);
	close(w->control);
	for (int i = 0; i < DIALS; i++)
		close(w->callers[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const size_t pieces[] = {IN_SIZE, 1, 7};
	enum ssh_mux_phase phase = SSH_MUX_GREETING;

	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		struct world w;

		begin_world(&w);
		feed(&w, data, MIN(size, IN_SIZE), pieces[i]);
		must(!i || w.mux->phase == phase);
		phase = w.mux->phase;
		end_world(&w);
	}
	return 0;
}
