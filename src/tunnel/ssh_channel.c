// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation: the caller's side of a channel
 *
 * 1. The caller's end tells a broken connection from an ended one as in tls.c: one byte of the
 *    caller's always stays unread in our end, and closing it then is ECONNRESET. ssh_channel_new()
 *    writes the first such byte.
 * 2. What a caller does not take at once is kept in chunks. How much that can be is the channel's
 *    window: see ssh_mux.c.
 * 3. Whatever epoll knows is freed after the events at hand.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fault.h"
#include "tunnel/ssh_channel.h"

#define CHUNK_DATA (16 * 1024 - 32)
#define CHUNKS_KEPT 256
#define CHUNKS_GIVEN 8 /* at once: each send wakes the caller up */

/* ---- The loop ---- */

void ssh_loop_init(struct ssh_loop *l, int epoll)
{
	*l = (struct ssh_loop){.epoll = epoll};
	TAILQ_INIT(&l->draining);
}

int ssh_loop_add(const struct ssh_loop *l, int fd, uint32_t events, struct ssh_source *s)
{
	struct epoll_event e = {.events = events, .data.ptr = s};

	return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

void ssh_loop_set(const struct ssh_loop *l, int fd, uint32_t events, struct ssh_source *s)
{
	struct epoll_event e = {.events = events, .data.ptr = s};

	epoll_ctl(l->epoll, EPOLL_CTL_MOD, fd, &e);
}

/* close(2) alone would not do: what another thread has just forked holds the descriptor, too, until
 * it comes to exec, and as long there are events, for memory that was freed. */
void ssh_loop_close(const struct ssh_loop *l, int fd)
{
	if (fd < 0)
		return;
	epoll_ctl(l->epoll, EPOLL_CTL_DEL, fd, NULL);
	close(fd);
}

void ssh_loop_bury(struct ssh_loop *l, struct ssh_source *s)
{
	s->event = NULL;
	s->dead = l->dead;
	l->dead = s;
}

void ssh_loop_reap(struct ssh_loop *l)
{
	struct ssh_source *s;

	while ((s = l->dead)) {
		l->dead = s->dead;
		free(s);
	}
}

/* ---- Backlogs ---- */

struct chunk {
	struct chunk *next;
	size_t at, len;
	unsigned char data[CHUNK_DATA];
};

static struct chunk *get_chunk(struct ssh_loop *l)
{
	struct chunk *k = l->chunks;

	if (k) {
		l->chunks = k->next;
		l->n_chunks--;
	} else {
		k = xcalloc(1, sizeof(*k));
	}
	k->next = NULL;
	k->at = k->len = 0;
	return k;
}

static void put_chunk(struct ssh_loop *l, struct chunk *k)
{
	if (l->n_chunks >= CHUNKS_KEPT) {
		free(k);
		return;
	}
	k->next = l->chunks;
	l->chunks = k;
	l->n_chunks++;
}

void ssh_channel_keep(struct ssh_channel *c, const unsigned char *data, size_t len)
{
	c->backlogged += (uint32_t)len;
	while (len) {
		struct chunk *k = c->backlog_last;
		size_t n;

		if (!k || k->len == CHUNK_DATA) {
			k = get_chunk(c->loop);
			if (c->backlog)
				c->backlog_last->next = k;
			else
				c->backlog = k;
			c->backlog_last = k;
		}
		n = MIN(len, CHUNK_DATA - k->len);
		memcpy(k->data + k->len, data, n);
		k->len += n;
		data += n;
		len -= n;
	}
}

static void drop_first_chunk(struct ssh_channel *c)
{
	struct chunk *k = c->backlog;

	c->backlog = k->next;
	if (!c->backlog)
		c->backlog_last = NULL;
	put_chunk(c->loop, k);
}

void ssh_channel_drop_kept(struct ssh_channel *c)
{
	while (c->backlog)
		drop_first_chunk(c);
	c->backlogged = 0;
}

/* ---- The caller's end ---- */

#define CALLER_EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLET)

const char *ssh_channel_host(const struct ssh_channel *c, char buffer[DIAL_HOST_MAX])
{
	const struct dial_target *t = &c->opening->target;

	if (t->host[0])
		return t->host;
	return ip_format(&t->addr, buffer);
}

static void take_last_byte(const struct ssh_channel *c)
{
	char byte;

	(void)!recv(c->fd, &byte, 1, MSG_DONTWAIT);
}

void ssh_channel_drop_caller(struct ssh_channel *c)
{
	ssh_loop_close(c->loop, TAKE_FD(c->fd));
	ssh_channel_drop_kept(c);
	c->gone = true;
}

static void bury_channel(struct ssh_channel *c)
{
	if (c->state == SSH_CHANNEL_DRAINING)
		TAILQ_REMOVE(&c->loop->draining, c, entry);
	ssh_channel_drop_caller(c);
	free(TAKE_PTR(c->opening));
	ssh_loop_bury(c->loop, &c->source);
}

void ssh_channel_reset(struct ssh_channel *c)
{
	bury_channel(c);
}

void ssh_channel_fail(struct ssh_channel *c, unsigned int status, const char *fmt, ...)
{
	char text[1 + sizeof(((struct dial *)0)->reason)] = {(char)status};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + 1, sizeof(text) - 1, fmt, ap);
	va_end(ap);
	if (c->fd >= 0) {
		take_last_byte(c);
		(void)!send(c->fd, text, 1 + strlen(text + 1), MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	bury_channel(c);
}

void ssh_channel_wait_for_room(struct ssh_channel *c, bool wait)
{
	if (c->waits_for_room == wait || c->fd < 0)
		return;
	c->waits_for_room = wait;
	ssh_loop_set(c->loop, c->fd, CALLER_EVENTS | (wait ? EPOLLOUT : 0u), &c->source);
}

static ssize_t give(const struct ssh_channel *c, struct iovec *iov, size_t n_iov)
{
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = n_iov};
	ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

	return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : n;
}

/* Bytes that the caller took; negative when it takes none any more. */
ssize_t ssh_channel_give(const struct ssh_channel *c, const void *data, size_t len)
{
	return give(c, &(struct iovec){.iov_base = (void *)data, .iov_len = len}, 1);
}

static ssize_t give_chunks(const struct ssh_channel *c)
{
	struct iovec iov[CHUNKS_GIVEN];
	size_t n = 0;

	for (struct chunk *k = c->backlog; k && n < ARRAY_SIZE(iov); k = k->next)
		iov[n++] = (struct iovec){.iov_base = k->data + k->at, .iov_len = k->len - k->at};
	return give(c, iov, n);
}

static void drop_given(struct ssh_channel *c, size_t len)
{
	c->backlogged -= (uint32_t)len;
	while (len) {
		struct chunk *k = c->backlog;
		size_t n = MIN(len, k->len - k->at);

		k->at += n;
		len -= n;
		if (k->at == k->len)
			drop_first_chunk(c);
	}
}

/* False when the caller takes no more for good. */
bool ssh_channel_give_kept(struct ssh_channel *c)
{
	while (c->backlog) {
		ssize_t n = give_chunks(c);

		if (n <= 0)
			return n == 0;
		drop_given(c, (size_t)n);
	}
	ssh_channel_wait_for_room(c, false);
	return true;
}

void ssh_channel_finish(struct ssh_channel *c)
{
	if (c->state != SSH_CHANNEL_DRAINING)
		TAILQ_INSERT_TAIL(&c->loop->draining, c, entry);
	c->state = SSH_CHANNEL_DRAINING;
	if (c->fd >= 0 && c->backlog && !c->gone)
		return; /* until there is room */
	if (c->fd >= 0)
		take_last_byte(c);
	bury_channel(c);
}

/* ---- Beginning and end ---- */

void ssh_channel_note(struct ssh_channel *c, uint32_t events)
{
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->readable = true;
	if (events & (EPOLLRDHUP | EPOLLHUP))
		c->ended = true;
	if (events & EPOLLHUP)
		c->gone = true;
}

/* While it waits; a mux or a passenger has another one. */
static void waiting_event(struct ssh_source *s, uint32_t events)
{
	ssh_channel_note((struct ssh_channel *)s, events);
}

int ssh_channel_new(const struct dial_target *t, struct ssh_channel **ret, int *ret_fd)
{
	_close_ int caller = -1, ours = -1;
	int pair[2], r = fault_point("dial");
	struct ssh_channel *c;

	if (r)
		return r;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -errno;
	caller = pair[0], ours = pair[1];
	if (send(caller, "", 1, MSG_NOSIGNAL) != 1)
		return -errno;
	c = xcalloc(1, sizeof(*c));
	c->opening = xcalloc(1, sizeof(*c->opening));
	c->opening->target = *t;
	c->source.event = waiting_event;
	c->fd = TAKE_FD(ours);
	*ret = c;
	*ret_fd = TAKE_FD(caller);
	return 0;
}

int ssh_channel_attach(struct ssh_channel *c, struct ssh_loop *l)
{
	c->loop = l;
	return ssh_loop_add(l, c->fd, CALLER_EVENTS, &c->source);
}

void ssh_loop_done(struct ssh_loop *l)
{
	struct ssh_channel *c;
	struct chunk *k;

	while ((c = TAILQ_FIRST(&l->draining)))
		ssh_channel_reset(c);
	ssh_loop_reap(l);
	while ((k = l->chunks)) {
		l->chunks = k->next;
		free(k);
	}
}
