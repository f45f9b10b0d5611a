// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation: dialers
 *
 * A dialer is a table of functions with what they need behind it; a dial is one attempt to reach a
 * target, a state machine that the tunnel engine steps when the descriptor it waits for is ready
 * or the deadline has passed. This file keeps the rules that are the same for every dialer:
 *
 * 1. A dial that is over holds nothing: no descriptor (but a connected one, until it is taken), no
 *    reference.
 * 2. A dial that failed has a reason; one that did not has none.
 * 3. A descriptor is closed after the one that replaces it was opened, at most once in a step, so
 *    that the two cannot have one number: a caller that compares numbers sees the change.
 * 4. Nothing here but dial_wait() blocks; nothing resolves a name, or allocates.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "tunnel/dialer_impl.h"

#define DIRECT_TIMEOUT_MS 30000

/* A peer that vanished ends a stream when it has acknowledged nothing for so long, whether or not
 * there is data for it: the user timeout of RFC 9293 3.8.3, and its traditional value. Shorter
 * would be dangerous, because the kernel also ends what has waited so long for a window to open
 * (tcp_probe_timer()), and a target may well read nothing for minutes. */
#define USER_TIMEOUT_MS 300000
/* Without data, a probe asks whether the peer is there; TCP_USER_TIMEOUT says for how long. */
#define KEEPALIVE_IDLE_S 60
#define KEEPALIVE_INTERVAL_S 10

static const char *const status_names[] = {
	[DIAL_PENDING] = "pending",   [DIAL_CONNECTED] = "connected",
	[DIAL_REFUSED] = "refused",   [DIAL_UNREACHABLE] = "unreachable",
	[DIAL_DENIED] = "denied",     [DIAL_AUTH] = "authentication refused",
	[DIAL_TIMEOUT] = "timed out", [DIAL_BROKEN] = "broken",
};
static_assert(ARRAY_SIZE(status_names) == DIAL_NUM_STATUSES, "every status has a name");

const char *dial_status_name(enum dial_status s)
{
	return status_names[s];
}

enum dial_status dial_fail(struct dial *c, enum dial_status status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->reason, sizeof(c->reason), fmt, ap);
	va_end(ap);
	return status;
}

void dial_set_fd(struct dial *c, int fd)
{
	int old = c->fd;

	c->fd = fd;
	if (old >= 0)
		close(old);
}

enum dial_status dial_errno_status(int err)
{
	switch (err) {
	case ECONNREFUSED:
		return DIAL_REFUSED;
	case ETIMEDOUT:
		return DIAL_TIMEOUT;
	case EACCES:
	case EPERM:
		return DIAL_DENIED;
	default:
		return DIAL_UNREACHABLE;
	}
}

struct option {
	int level, name, value;
};

static int set_options(int fd)
{
	static const struct option options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS},
		{IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
		{IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (setsockopt(fd, options[i].level, options[i].name, &options[i].value,
			       sizeof(options[i].value)))
			return -errno;
	return 0;
}

int dial_socket(const struct ip *addr, uint16_t port, uint32_t mark, int *ret_fd)
{
	struct sockaddr_storage to;
	socklen_t len = ip_to_sockaddr(addr, port, &to);
	_close_ int fd = -1;
	int r = fault_point("dial");

	if (r)
		return r;
	fd = socket(addr->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		return -errno;
	r = set_options(fd);
	if (r)
		return r;
	if (connect(fd, (struct sockaddr *)&to, len) && errno != EINPROGRESS)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* The characters of a name that may go into a request: nothing that a header could end with. */
static bool is_host_name(const char *name)
{
	size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "abcdefghijklmnopqrstuvwxyz0123456789.-_");

	return len > 0 && !name[len];
}

static void let_go(struct dial *c)
{
	if (c->dialer->ops->done)
		c->dialer->ops->done(c);
	if (c->fd >= 0)
		close(TAKE_FD(c->fd));
}

/* Stands in for the dialer of a connected dial, which holds nothing of it any more. */
static const struct dialer_ops nothing_ops;
static const struct dialer nothing = {.ops = &nothing_ops};

/* What is left to do when a step ends. */
static enum dial_status settle(struct dial *c, enum dial_status s)
{
	int fd;

	if (s == DIAL_PENDING)
		return s;
	fd = s == DIAL_CONNECTED ? TAKE_FD(c->fd) : -1;
	if (s == DIAL_CONNECTED)
		c->reason[0] = '\0'; /* of an upstream that another one stood in for */
	let_go(c);
	c->fd = fd;
	c->dialer = fd < 0 ? NULL : &nothing;
	c->events = 0;
	return s;
}

enum dial_status dial_start(const struct dialer *d, struct dial *c, const struct dial_target *t,
			    uint64_t now_ms)
{
	c->fd = -1;
	c->events = 0;
	c->deadline_ms = now_ms;
	c->target = *t;
	c->answered = false;
	c->reason[0] = '\0';
	c->dialer = d;
	if (t->host[0] && !is_host_name(t->host)) {
		c->dialer = NULL;
		return dial_fail(c, DIAL_UNREACHABLE,
				 "the target's name has characters no name has");
	}
	return settle(c, d->ops->start(c, now_ms));
}

enum dial_status dial_step(struct dial *c, uint32_t revents, uint64_t now_ms)
{
	assert(c->dialer && c->dialer != &nothing);
	return settle(c, c->dialer->ops->step(c, revents, now_ms));
}

enum dial_status dial_wait(const struct dialer *d, struct dial *c, const struct dial_target *t)
{
	enum dial_status s = dial_start(d, c, t, clock_ms());

	while (s == DIAL_PENDING) {
		struct pollfd p = {.fd = c->fd, .events = (short)c->events};
		uint64_t now = clock_ms();

		/* EPOLLIN and EPOLLOUT are POLLIN and POLLOUT. */
		poll(&p, 1, now < c->deadline_ms ? (int)(c->deadline_ms - now) : 0);
		s = dial_step(c, (uint32_t)p.revents, clock_ms());
	}
	return s;
}

void dial_abort(struct dial *c)
{
	if (!c->dialer)
		return;
	let_go(c);
	c->dialer = NULL;
}

void dialer_free(struct dialer *d)
{
	if (d)
		d->ops->free(d);
}

void dialer_free_p(struct dialer **d)
{
	dialer_free(*d);
}

/* ---- The direct one ---- */

struct direct {
	struct dialer dialer;
	uint32_t mark;
};

static enum dial_status direct_fail(struct dial *c, int err)
{
	char addr[IP_STRLEN];

	return dial_fail(c, dial_errno_status(err), "cannot connect to %s port %u: %s",
			 ip_format(&c->target.addr, addr), c->target.port, strerror(err));
}

static enum dial_status direct_start(struct dial *c, uint64_t now_ms)
{
	const struct direct *d = (const struct direct *)c->dialer;
	int fd, r;

	if (c->target.host[0])
		return dial_fail(c, DIAL_UNREACHABLE,
				 "a direct connection needs an address, and %.64s is a name",
				 c->target.host);
	r = dial_socket(&c->target.addr, c->target.port, d->mark, &fd);
	if (r)
		return direct_fail(c, -r);
	dial_set_fd(c, fd);
	c->events = EPOLLOUT;
	c->deadline_ms = now_ms + DIRECT_TIMEOUT_MS;
	return DIAL_PENDING;
}

static enum dial_status direct_step(struct dial *c, uint32_t revents, uint64_t now_ms)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (revents & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
		if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len))
			error = errno;
		return error ? direct_fail(c, error) : DIAL_CONNECTED;
	}
	return now_ms < c->deadline_ms ? DIAL_PENDING : direct_fail(c, ETIMEDOUT);
}

static void direct_free(struct dialer *d)
{
	free(d);
}

static const struct dialer_ops direct_ops = {
	.start = direct_start,
	.step = direct_step,
	.free = direct_free,
};

struct dialer *dialer_direct(uint32_t mark)
{
	struct direct *d = xcalloc(1, sizeof(*d));

	d->dialer.ops = &direct_ops;
	d->mark = mark;
	return &d->dialer;
}
