// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/util.h"

struct loop {
	int fd;
};

int loop_new(struct loop **ret)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->fd = fd;
	return 0;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	close(l->fd);
	free(l);
}

int loop_add(struct loop *l, struct source *s, int fd, uint32_t events, source_fn ready, void *arg)
{
	struct epoll_event e = {.events = events, .data.ptr = s};

	if (epoll_ctl(l->fd, EPOLL_CTL_ADD, fd, &e))
		return -errno;
	*s = (struct source){.ready = ready, .arg = arg, .fd = fd};
	return 0;
}

void loop_del(struct loop *l, struct source *s)
{
	if (!s->ready)
		return;
	epoll_ctl(l->fd, EPOLL_CTL_DEL, s->fd, NULL);
	*s = (struct source){.fd = -1};
}

int loop_wait(struct loop *l, int timeout_ms)
{
	struct epoll_event e;
	int n = epoll_wait(l->fd, &e, 1, timeout_ms);
	const struct source *s = e.data.ptr;

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (n)
		s->ready(s->arg, e.events);
	return 0;
}
