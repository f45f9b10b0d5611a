// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation: channels that ssh serves itself (PROTOCOL.mux 3)
 *
 *   caller <- pair -> us <- two pairs -> ssh
 *
 * ssh takes a channel's input and output as two descriptors, and ends each direction by closing
 * one, so neither can be the caller's own pair. Bytes are looked at in the one socket and taken out
 * of it when they are in the other: nothing is kept here. Each channel has a control connection of
 * its own, which ssh closes when the channel is no more.
 *
 * The server's end is the end of such a channel: ssh sends nothing after it (force_drain in
 * channels.c). What the caller has not yet sent by then is lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tunnel/ssh_master.h"
#include "tunnel/ssh_wire.h"

#define PIECE 65536
#define TURN_PIECES 16

struct ssh_passenger {
	struct ssh_source control, in, out; /* in and out as ssh sees them */
	struct ssh_master *master;
	struct ssh_channel *channel;
	int control_fd, in_fd, out_fd;
	unsigned char answer[512]; /* frames from ssh, so far */
	size_t answer_len;
	bool greeted;
	bool in_writable, out_readable, caller_writable;
	bool in_ended, out_ended; /* this direction's end has been passed on */
	bool hung_up, lost;       /* ssh has closed the channel; because it dies */
};

static void close_all(const struct ssh_passenger *p)
{
	const struct ssh_loop *l = p->master->loop;

	ssh_loop_close(l, p->control_fd);
	ssh_loop_close(l, p->in_fd);
	ssh_loop_close(l, p->out_fd);
}

/* The channel is on its own from here on. */
static void let_go(struct ssh_passenger *p)
{
	struct ssh_master *m = p->master;

	TAILQ_REMOVE(&m->passengers, p->channel, entry);
	m->n_passengers--;
	p->channel->passenger = NULL;
	close_all(p);
	p->in.event = p->out.event = NULL;
	ssh_loop_bury(m->loop, &p->control);
}

void ssh_passenger_lose(struct ssh_channel *c, struct ssh_channels *waiting)
{
	let_go(c->passenger);
	if (c->state == SSH_CHANNEL_OPENING && !c->gone) {
		c->state = SSH_CHANNEL_WAITING;
		TAILQ_INSERT_TAIL(waiting, c, entry);
	} else {
		ssh_channel_reset(c);
	}
}

static void reset(struct ssh_passenger *p)
{
	struct ssh_channel *c = p->channel;

	let_go(p);
	ssh_channel_reset(c);
}

/* ---- Moving bytes ---- */

/* Takes len bytes out of a socket, which are there. */
static bool discard(int fd, unsigned char *buffer, size_t len)
{
	return recv(fd, buffer, len, MSG_DONTWAIT) == (ssize_t)len;
}

static bool must_wait(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* One piece from the caller to ssh; its first byte is the one that was sent before. False when
 * there is no more to do for now. */
static bool move_up(struct ssh_passenger *p)
{
	struct ssh_channel *c = p->channel;
	unsigned char buffer[PIECE];
	ssize_t n = recv(c->fd, buffer, sizeof(buffer), MSG_PEEK | MSG_DONTWAIT), sent;

	if (n <= 0)
		return reset(p), false; /* there always is the one byte */
	if (n == 1) {
		c->readable = false;
		if (c->ended) {
			shutdown(p->in_fd, SHUT_WR);
			p->in_ended = true;
		}
		return false;
	}
	sent = send(p->in_fd, buffer + 1, (size_t)n - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0 && must_wait())
		return p->in_writable = false;
	if (sent < 0) /* ssh reads no more */
		return reset(p), false;
	return discard(c->fd, buffer, (size_t)sent);
}

/* A process that exits gives up its memory, where its command line is, before its descriptors
 * (do_exit() in Linux's kernel/exit.c). */
static bool is_dying(const struct ssh_master *m)
{
	char path[32], byte;
	_close_ int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)m->child.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 || read(fd, &byte, 1) != 1;
}

static bool move_down(struct ssh_passenger *p)
{
	struct ssh_channel *c = p->channel;
	unsigned char buffer[PIECE];
	ssize_t n = recv(p->out_fd, buffer, sizeof(buffer), MSG_PEEK | MSG_DONTWAIT), sent;

	if (n < 0 && must_wait())
		return p->out_readable = false;
	if (n <= 0 && is_dying(p->master))
		return reset(p), false;
	if (n <= 0) {
		p->out_ended = true;
		shutdown(c->fd, SHUT_WR);
		return false;
	}
	sent = send(c->fd, buffer, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0 && must_wait())
		return p->caller_writable = false;
	if (sent < 0)
		return reset(p), false;
	return discard(p->out_fd, buffer, (size_t)sent);
}

static void arm(struct ssh_passenger *p, int fd, struct ssh_source *s)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};

	/* Arming anew makes what is ready an event again. */
	epoll_ctl(p->master->loop->epoll, EPOLL_CTL_MOD, fd, &e);
}

static void relay(struct ssh_channel *c)
{
	struct ssh_passenger *p = c->passenger;
	unsigned int turns = TURN_PIECES;

	while (turns && c->passenger && c->readable && p->in_writable && !p->in_ended && move_up(p))
		turns--;
	while (turns && c->passenger && p->out_readable && p->caller_writable && !p->out_ended &&
	       !c->gone && move_down(p))
		turns--;
	if (!c->passenger)
		return;
	if (!turns)
		arm(p, c->fd, &c->source);
	if (p->in_ended && (p->out_ended || c->gone)) {
		let_go(p);
		ssh_channel_finish(c);
	} else if (p->hung_up && (p->out_ended || c->gone)) {
		if (p->lost) {
			reset(p);
			return;
		}
		let_go(p);
		ssh_channel_finish(c);
	}
}

/* ---- Events ---- */

static void caller_event(struct ssh_source *s, uint32_t events)
{
	struct ssh_channel *c = (struct ssh_channel *)s;

	ssh_channel_note(c, events);
	if (!c->passenger)
		return;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		c->passenger->caller_writable = true;
	if (c->state == SSH_CHANNEL_STREAM)
		relay(c);
	else if (c->gone)
		reset(c->passenger); /* ssh notices by the control connection */
}

static void in_event(struct ssh_source *s, uint32_t events)
{
	struct ssh_passenger *p =
		(struct ssh_passenger *)((char *)s - offsetof(struct ssh_passenger, in));

	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		p->in_writable = true;
	if (p->channel->state == SSH_CHANNEL_STREAM)
		relay(p->channel);
}

static void out_event(struct ssh_source *s, uint32_t events)
{
	struct ssh_passenger *p =
		(struct ssh_passenger *)((char *)s - offsetof(struct ssh_passenger, out));

	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		p->out_readable = true;
	if (p->channel->state == SSH_CHANNEL_STREAM)
		relay(p->channel);
}

static void fail(struct ssh_passenger *p, unsigned int status, const char *why)
{
	struct ssh_channel *c = p->channel;
	char host[DIAL_HOST_MAX];

	let_go(p);
	ssh_channel_fail(c, status, "cannot connect to %.40s port %u: %.80s",
			 ssh_channel_host(c, host), c->opening->target.port, why);
}

static void refuse(struct ssh_passenger *p, enum dial_status otherwise)
{
	enum dial_status status;

	if (ssh_master_claim_refusal(p->master, &status))
		fail(p, status | SSH_CHANNEL_ANSWERED, "the server could not or would not");
	else
		fail(p, otherwise, "ssh could not or would not");
}

static void become_stream(struct ssh_passenger *p)
{
	const char ok = DIAL_CONNECTED;
	struct ssh_channel *c = p->channel;

	c->state = SSH_CHANNEL_STREAM;
	free(TAKE_PTR(c->opening));
	if (send(c->fd, &ok, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
		relay(c);
	else
		reset(p);
}

/* False when the passenger is gone. */
static bool on_answer(struct ssh_passenger *p, const struct ssh_mux_message *msg)
{
	if (!p->greeted && msg->type == SSH_MUX_HELLO && msg->number == SSH_MUX_VERSION) {
		p->greeted = true;
		return true;
	}
	if (p->greeted && p->channel->state == SSH_CHANNEL_OPENING) {
		if (msg->type == (uint32_t)SSH_MUX_SESSION_OPENED)
			become_stream(p);
		else
			refuse(p, DIAL_REFUSED);
	}
	return false;
}

static void take_answers(struct ssh_passenger *p)
{
	struct ssh_mux_message msg;
	const unsigned char *body;
	size_t len;

	while (ssh_frame(p->answer, p->answer_len, &body, &len) == 1) {
		size_t used = (size_t)(body - p->answer) + len;

		if (ssh_mux_message_parse(body, len, &msg)) {
			fail(p, DIAL_BROKEN, "ssh's control socket talks nonsense");
			return;
		}
		p->answer_len -= used;
		if (!on_answer(p, &msg))
			return;
		memmove(p->answer, p->answer + used, p->answer_len);
	}
}

static void control_event(struct ssh_source *s, uint32_t events)
{
	struct ssh_passenger *p = (struct ssh_passenger *)s;
	ssize_t n = recv(p->control_fd, p->answer + p->answer_len,
			 sizeof(p->answer) - p->answer_len, MSG_DONTWAIT);

	(void)events;
	if (n < 0 && must_wait())
		return;
	if (n > 0 && p->channel->state == SSH_CHANNEL_OPENING) {
		p->answer_len += (size_t)n;
		take_answers(p);
	} else if (n > 0) {
		p->answer_len = 0; /* of no interest: how it ended */
	} else if (p->channel->state == SSH_CHANNEL_OPENING) {
		refuse(p, DIAL_BROKEN); /* not every answer is sent before it hangs up */
	} else {
		epoll_ctl(p->master->loop->epoll, EPOLL_CTL_DEL, p->control_fd, NULL);
		p->hung_up = true;
		p->lost = is_dying(p->master);
		p->out_readable = true;
		relay(p->channel); /* what ssh wrote before */
	}
}

/* ---- Opening ---- */

static int send_fd(int to, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec byte = {.iov_base = (char[]){0}, .iov_len = 1};
	struct msghdr m = {.msg_iov = &byte,
			   .msg_iovlen = 1,
			   .msg_control = control.space,
			   .msg_controllen = sizeof(control.space)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(to, &m, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static int send_request(struct ssh_passenger *p, int in, int out)
{
	char host[DIAL_HOST_MAX];
	_buf_ struct buf b = {0};
	int r = ssh_connect(p->master->path, &p->control_fd);

	if (r)
		return r;
	ssh_put_hello(&b);
	ssh_put_stdio_fwd(&b, 0, ssh_channel_host(p->channel, host),
			  p->channel->opening->target.port);
	if (send(p->control_fd, b.data, b.len, MSG_NOSIGNAL) != (ssize_t)b.len)
		return -errno;
	r = send_fd(p->control_fd, in);
	return r ? r : send_fd(p->control_fd, out);
}

static int watch(struct ssh_passenger *p)
{
	const uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
	struct ssh_loop *l = p->master->loop;
	int r = ssh_loop_add(l, p->control_fd, EPOLLIN, &p->control);

	if (!r)
		r = ssh_loop_add(l, p->in_fd, events, &p->in);
	return r ? r : ssh_loop_add(l, p->out_fd, events, &p->out);
}

static int open_sockets(struct ssh_passenger *p)
{
	_close_ int ssh_in = -1, ssh_out = -1;
	int in[2], out[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in))
		return -errno;
	p->in_fd = in[0], ssh_in = in[1];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out))
		return -errno;
	p->out_fd = out[0], ssh_out = out[1];
	r = send_request(p, ssh_in, ssh_out);
	return r ? r : watch(p);
}

static struct ssh_passenger *new_passenger(struct ssh_master *m, struct ssh_channel *c)
{
	struct ssh_passenger *p = xcalloc(1, sizeof(*p));

	p->control.event = control_event;
	p->in.event = in_event;
	p->out.event = out_event;
	p->master = m;
	p->channel = c;
	p->control_fd = p->in_fd = p->out_fd = -1;
	c->passenger = p;
	c->source.event = caller_event;
	c->state = SSH_CHANNEL_OPENING;
	TAILQ_INSERT_TAIL(&m->passengers, c, entry);
	m->n_passengers++;
	return p;
}

void ssh_passenger_open(struct ssh_master *m, struct ssh_channel *c)
{
	struct ssh_passenger *p = new_passenger(m, c);
	int r = open_sockets(p);

	if (r)
		fail(p, DIAL_BROKEN, strerror(-r));
	else
		arm(p, c->fd, &c->source);
}
