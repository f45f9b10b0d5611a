// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation: the dialer over SSH
 *
 *   dial -> queue -> waiting -> a connection's channel -> the dial's descriptor
 *
 * One thread owns everything but the queue and the status: the ssh processes (ssh_master.c), their
 * control connections and channels (ssh_mux.c, ssh_channel.c, ssh_wire.c; ssh_passenger.c), and the
 * timers.
 *
 * 1. A dial is a descriptor from its first moment. It learns how it ended from that alone, and
 *    gives up by closing it: no state is shared, and nothing else has to be let go.
 * 2. Dials go to the connection with the fewest channels. While there is none they wait, wait_ms at
 *    most, and those whose connection is lost before the server has answered wait again.
 * 3. When every connection has stopped for good, dials fail at once, with its reason.
 * 4. A connection whose ssh has seen RENEW_AFTER failed opens gets a successor (ssh_master.c says
 *    why). When that is up, the old one takes no more channels, and ends with its last.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/thread.h"
#include "tunnel/dialer_impl.h"
#include "tunnel/ssh.h"
#include "tunnel/ssh_master.h"

#define EVENTS_MAX 128
#define WAIT_MS 15000
#define TIMEOUT_MS 45000
#define RENEW_AFTER 1000
#define RENEW_AGAIN_MS 60000
#define RENEW_BY_FORCE 8000 /* without a successor: the flows are lost, as they would be soon */

struct slot {
	struct ssh_master *current, *successor;
	uint64_t renew_ms; /* not before */
};

struct ssh {
	struct dialer dialer;
	char *destination;
	uint32_t wait_ms, timeout_ms;
	struct ssh_setup setup;
	pthread_t thread;
	int wake, changed; /* eventfds */
	struct ssh_source waker;
	struct ssh_loop loop;
	struct slot slots[SSH_CONNECTIONS_MAX];
	unsigned int n_slots;
	struct ssh_masters retired;
	struct ssh_channels waiting;
	pthread_mutex_t lock;
	struct ssh_channels queue; /* under lock, as what follows */
	bool stop, kick;
	struct ssh_status status;
};

static const char *const state_names[] = {
	[SSH_STATE_CONNECTING] = "connecting",
	[SSH_STATE_UP] = "up",
	[SSH_STATE_WAITING] = "waiting",
	[SSH_STATE_STOPPED] = "stopped",
};
static_assert(ARRAY_SIZE(state_names) == SSH_NUM_STATES, "every state has a name");

const char *ssh_state_name(enum ssh_state s)
{
	return state_names[s];
}

static void poke(int eventfd)
{
	static const uint64_t one = 1;

	(void)!write(eventfd, &one, sizeof(one));
}

/* ---- Dials ---- */

static struct ssh *ssh_of(const struct dialer *d)
{
	return (struct ssh *)d;
}

static enum dial_status start_dial(struct dial *c, uint64_t now_ms)
{
	struct ssh *s = ssh_of(c->dialer);
	struct ssh_channel *channel;
	int fd, r = ssh_channel_new(&c->target, &channel, &fd);

	if (r)
		return dial_fail(c, DIAL_BROKEN, "cannot open a stream: %s", strerror(-r));
	channel->opening->wait_until_ms = now_ms + s->wait_ms;
	dial_set_fd(c, fd);
	c->events = EPOLLIN;
	c->deadline_ms = now_ms + s->timeout_ms;
	pthread_mutex_lock(&s->lock);
	TAILQ_INSERT_TAIL(&s->queue, channel, entry);
	pthread_mutex_unlock(&s->lock);
	poke(s->wake);
	return DIAL_PENDING;
}

/* The reason stands behind the byte, sent with it. */
static enum dial_status read_reason(struct dial *c, unsigned char status)
{
	ssize_t n = recv(c->fd, c->reason, sizeof(c->reason) - 1, MSG_DONTWAIT);

	c->reason[n > 0 ? n : 0] = '\0';
	c->answered = status & SSH_CHANNEL_ANSWERED;
	status &= (unsigned char)~SSH_CHANNEL_ANSWERED;
	return status < DIAL_NUM_STATUSES ? (enum dial_status)status : DIAL_BROKEN;
}

static enum dial_status step_dial(struct dial *c, uint32_t revents, uint64_t now_ms)
{
	const struct ssh *s = ssh_of(c->dialer);
	unsigned char status;
	ssize_t n = revents ? recv(c->fd, &status, 1, MSG_DONTWAIT) : -1;

	if (n == 1 && status == DIAL_CONNECTED)
		return DIAL_CONNECTED;
	if (n == 1)
		return read_reason(c, status);
	if (n == 0 || (revents && errno != EAGAIN && errno != EINTR))
		return dial_fail(c, DIAL_BROKEN, "the tunnel ends");
	if (now_ms < c->deadline_ms)
		return DIAL_PENDING;
	return dial_fail(c, DIAL_TIMEOUT, "no answer by %.64s in %u s", s->destination,
			 s->timeout_ms / 1000);
}

/* ---- Waiting dials ---- */

static struct ssh_master *choose(const struct ssh *s)
{
	struct ssh_master *best = NULL;

	for (unsigned int i = 0; i < s->n_slots; i++) {
		struct ssh_master *m = s->slots[i].current;

		if (ssh_master_is_up(m) &&
		    (!best || ssh_master_channels(m) < ssh_master_channels(best)))
			best = m;
	}
	return best;
}

/* The one whose words explain why there is no connection. */
static const struct ssh_master *worst(const struct ssh *s, bool *ret_all_stopped)
{
	const struct ssh_master *worst = s->slots[0].current;

	*ret_all_stopped = true;
	for (unsigned int i = 0; i < s->n_slots; i++) {
		const struct ssh_master *m = s->slots[i].current;

		if (m->status.state != SSH_STATE_STOPPED)
			*ret_all_stopped = false;
		if (m->status.error > worst->status.error)
			worst = m;
	}
	return worst;
}

static void fail_waiting(const struct ssh *s, struct ssh_channel *c, bool stopped,
			 const struct ssh_master *m)
{
	const char *text = m->status.text[0] ? m->status.text : "no answer yet";
	enum dial_status status = DIAL_UNREACHABLE;

	if (stopped)
		status = m->status.error == SSH_ERROR_AUTH ? DIAL_AUTH : DIAL_BROKEN;
	ssh_channel_fail(c, status, "no connection to %.40s: %.100s", s->destination, text);
}

static void place_waiting(struct ssh *s, uint64_t now_ms)
{
	struct ssh_channel *c, *next;
	const struct ssh_master *why;
	bool stopped;

	if (TAILQ_EMPTY(&s->waiting))
		return;
	why = worst(s, &stopped);
	for (c = TAILQ_FIRST(&s->waiting); c; c = next) {
		struct ssh_master *m = choose(s);

		next = TAILQ_NEXT(c, entry);
		if (!m && !c->gone && !stopped && now_ms < c->opening->wait_until_ms)
			continue;
		TAILQ_REMOVE(&s->waiting, c, entry);
		if (c->gone)
			ssh_channel_reset(c);
		else if (m)
			ssh_master_open(m, c);
		else
			fail_waiting(s, c, stopped, why);
	}
}

/* ---- Connections ---- */

static void retire(struct ssh *s, struct ssh_master *m)
{
	TAILQ_INSERT_TAIL(&s->retired, m, entry);
}

static void begin_renewal(struct ssh *s, struct slot *slot, uint64_t now_ms)
{
	const struct ssh_master *m = slot->current;

	if (m->n_failed >= RENEW_BY_FORCE)
		ssh_master_restart(slot->current, now_ms);
	else if (m->n_failed >= RENEW_AFTER && ssh_master_is_up(m) && now_ms >= slot->renew_ms)
		slot->successor = ssh_master_new(&s->loop, &s->setup);
}

static void go_on_with_renewal(struct ssh *s, struct slot *slot, uint64_t now_ms)
{
	struct ssh_master *m = slot->successor;

	ssh_master_run(m, now_ms, &s->waiting);
	if (ssh_master_is_up(m)) {
		m->changed = true;
		retire(s, slot->current);
		slot->current = TAKE_PTR(slot->successor);
	} else if (!m->child.pid || !ssh_master_is_up(slot->current)) {
		slot->renew_ms = now_ms + RENEW_AGAIN_MS;
		ssh_master_end(m, now_ms);
		retire(s, TAKE_PTR(slot->successor));
	}
}

static void run_retired(struct ssh *s, uint64_t now_ms)
{
	struct ssh_master *m, *next;

	for (m = TAILQ_FIRST(&s->retired); m; m = next) {
		next = TAILQ_NEXT(m, entry);
		if (!ssh_master_channels(m))
			ssh_master_end(m, now_ms);
		ssh_master_run(m, now_ms, &s->waiting);
		if (!ssh_master_is_gone(m))
			continue;
		TAILQ_REMOVE(&s->retired, m, entry);
		ssh_master_free(m, &s->waiting);
	}
}

static void run_masters(struct ssh *s, uint64_t now_ms)
{
	for (unsigned int i = 0; i < s->n_slots; i++) {
		struct slot *slot = &s->slots[i];

		ssh_master_run(slot->current, now_ms, &s->waiting);
		if (slot->successor)
			go_on_with_renewal(s, slot, now_ms);
		else
			begin_renewal(s, slot, now_ms);
	}
	run_retired(s, now_ms);
}

static bool flush_one(struct ssh_master *m)
{
	if (!m || !m->mux)
		return false;
	ssh_mux_flush(m->mux);
	return ssh_mux_is_over(m->mux);
}

/* True when there is more to do at once. */
static bool flush(struct ssh *s)
{
	struct ssh_master *m;
	bool over = false;

	for (unsigned int i = 0; i < s->n_slots; i++) {
		over |= flush_one(s->slots[i].current);
		over |= flush_one(s->slots[i].successor);
	}
	TAILQ_FOREACH(m, &s->retired, entry)
	over |= flush_one(m);
	return over;
}

/* ---- The thread ---- */

static void publish(struct ssh *s)
{
	const struct ssh_channel *c;
	bool changed = false;

	pthread_mutex_lock(&s->lock);
	s->status.n = s->n_slots;
	s->status.waiting = 0;
	TAILQ_FOREACH(c, &s->waiting, entry)
	s->status.waiting++;
	for (unsigned int i = 0; i < s->n_slots; i++) {
		struct ssh_master *m = s->slots[i].current;

		ssh_master_get_status(m, &s->status.connections[i]);
		changed |= m->changed;
		m->changed = false;
	}
	pthread_mutex_unlock(&s->lock);
	if (changed)
		poke(s->changed);
}

static uint64_t next_deadline(const struct ssh *s)
{
	uint64_t next = UINT64_MAX;
	const struct ssh_channel *c;
	const struct ssh_master *m;

	for (unsigned int i = 0; i < s->n_slots; i++) {
		next = MIN(next, s->slots[i].current->deadline_ms);
		if (s->slots[i].successor)
			next = MIN(next, s->slots[i].successor->deadline_ms);
	}
	TAILQ_FOREACH(m, &s->retired, entry)
	next = MIN(next, m->deadline_ms);
	TAILQ_FOREACH(c, &s->waiting, entry)
	next = MIN(next, c->opening->wait_until_ms);
	return next;
}

static void waker_event(struct ssh_source *source, uint32_t events)
{
	struct ssh *s = (struct ssh *)((char *)source - offsetof(struct ssh, waker));
	uint64_t count;

	(void)events;
	(void)!read(s->wake, &count, sizeof(count));
}

static void take_channel(struct ssh *s, struct ssh_channel *c)
{
	int r = ssh_channel_attach(c, &s->loop);

	if (r)
		ssh_channel_fail(c, DIAL_BROKEN, "cannot watch a stream: %s", strerror(-r));
	else
		TAILQ_INSERT_TAIL(&s->waiting, c, entry);
}

/* False when the thread is to stop. */
static bool take_queue(struct ssh *s, uint64_t now_ms)
{
	struct ssh_channels queue = TAILQ_HEAD_INITIALIZER(queue);
	struct ssh_channel *c;
	bool stop, kick;

	pthread_mutex_lock(&s->lock);
	TAILQ_CONCAT(&queue, &s->queue, entry);
	stop = s->stop;
	kick = s->kick;
	s->kick = false;
	pthread_mutex_unlock(&s->lock);
	while ((c = TAILQ_FIRST(&queue))) {
		TAILQ_REMOVE(&queue, c, entry);
		take_channel(s, c);
	}
	for (unsigned int i = 0; kick && i < s->n_slots; i++)
		ssh_master_kick(s->slots[i].current, now_ms);
	return !stop;
}

static void dispatch(struct ssh *s, int timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(s->loop.epoll, events, EVENTS_MAX, timeout_ms);

	for (int i = 0; i < n; i++) {
		struct ssh_source *source = events[i].data.ptr;

		if (source->event)
			source->event(source, events[i].events);
	}
}

static int timeout_until(uint64_t deadline_ms)
{
	uint64_t now_ms = clock_ms();

	if (deadline_ms == UINT64_MAX)
		return -1;
	return deadline_ms > now_ms ? (int)MIN(deadline_ms - now_ms, 3600000u) : 0;
}

static void *thread_main(void *arg)
{
	struct ssh *s = arg;
	bool more = true;

	for (;;) {
		dispatch(s, more ? 0 : timeout_until(next_deadline(s)));
		if (!take_queue(s, clock_ms()))
			return NULL;
		run_masters(s, clock_ms());
		place_waiting(s, clock_ms());
		more = flush(s);
		ssh_loop_reap(&s->loop);
		publish(s);
	}
}

/* ---- The whole ---- */

void ssh_kick(struct dialer *d)
{
	struct ssh *s = ssh_of(d);

	pthread_mutex_lock(&s->lock);
	s->kick = true;
	pthread_mutex_unlock(&s->lock);
	poke(s->wake);
}

void ssh_get_status(struct dialer *d, struct ssh_status *ret)
{
	struct ssh *s = ssh_of(d);

	pthread_mutex_lock(&s->lock);
	*ret = s->status;
	pthread_mutex_unlock(&s->lock);
}

int ssh_event_fd(struct dialer *d)
{
	return ssh_of(d)->changed;
}

static void drop_all(struct ssh_channels *list, struct ssh_loop *l)
{
	struct ssh_channel *c;

	while ((c = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, c, entry);
		c->loop = l;
		ssh_channel_reset(c);
	}
}

static void end_masters(struct ssh *s)
{
	struct ssh_master *m;
	uint64_t now_ms = clock_ms();

	for (unsigned int i = 0; i < s->n_slots; i++) {
		if (s->slots[i].successor)
			retire(s, s->slots[i].successor);
		if (s->slots[i].current)
			retire(s, s->slots[i].current);
	}
	TAILQ_FOREACH(m, &s->retired, entry)
	ssh_master_end(m, now_ms); /* all of them at the same time */
	while ((m = TAILQ_FIRST(&s->retired))) {
		TAILQ_REMOVE(&s->retired, m, entry);
		ssh_master_free(m, &s->waiting);
	}
}

static void free_parts(struct ssh *s)
{
	end_masters(s);
	drop_all(&s->queue, &s->loop);
	drop_all(&s->waiting, &s->loop);
	ssh_loop_done(&s->loop);
	close_p(&s->loop.epoll);
	close_p(&s->wake);
	close_p(&s->changed);
	pthread_mutex_destroy(&s->lock);
	ssh_setup_done(&s->setup);
	free(s->destination);
	free(s);
}

static void ssh_free(struct dialer *d)
{
	struct ssh *s = ssh_of(d);

	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_mutex_unlock(&s->lock);
	poke(s->wake);
	pthread_join(s->thread, NULL);
	free_parts(s);
}

static const struct dialer_ops ssh_ops = {
	.start = start_dial,
	.step = step_dial,
	.free = ssh_free,
};

static int open_descriptors(struct ssh *s)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	ssh_loop_init(&s->loop, epoll);
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->changed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (epoll < 0 || s->wake < 0 || s->changed < 0)
		return -errno;
	s->waker.event = waker_event;
	return ssh_loop_add(&s->loop, s->wake, EPOLLIN, &s->waker);
}

static struct ssh *new_ssh(const struct ssh_config *config)
{
	struct ssh *s = xcalloc(1, sizeof(*s));

	s->dialer.ops = &ssh_ops;
	s->destination = xstrdup(config->destination);
	s->wait_ms = config->wait_ms ?: WAIT_MS;
	s->timeout_ms = config->timeout_ms ?: TIMEOUT_MS;
	pthread_mutex_init(&s->lock, NULL);
	TAILQ_INIT(&s->queue);
	TAILQ_INIT(&s->waiting);
	TAILQ_INIT(&s->retired);
	return s;
}

int dialer_ssh(const struct ssh_config *config, struct dialer **ret, struct err *err)
{
	unsigned int n = config->connections ?: 1;
	struct ssh *s;
	int r;

	if (n > SSH_CONNECTIONS_MAX)
		return err_set(err, ERR_USAGE, -EINVAL,
			       "from 1 to %d connections can be made, not %u", SSH_CONNECTIONS_MAX,
			       n);
	s = new_ssh(config);
	r = open_descriptors(s);
	if (r)
		err_errno(err, r, "cannot start the thread for ssh");
	else
		r = ssh_setup_init(&s->setup, SSH_FOR_MASTER, config, NULL, err);
	for (; !r && s->n_slots < n; s->n_slots++)
		s->slots[s->n_slots].current = ssh_master_new(&s->loop, &s->setup);
	if (!r) {
		r = thread_start(&s->thread, thread_main, s);
		if (r)
			err_errno(err, r, "cannot start the thread for ssh");
	}
	if (r) {
		free_parts(s);
		return r;
	}
	*ret = &s->dialer;
	return 0;
}
