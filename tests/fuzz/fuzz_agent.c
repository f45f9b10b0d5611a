// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent as a whole, with a kernel that is the fuzzer's: sockets hold what it likes and fail as
 * it likes, and stdin has frames, or anything. What comes out of stdout is always frames.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proto.h"
#include "fuzz.h"

/* In place of agent/sys.h. */
#define BYWAY_AGENT_SYS_H
#include <errno.h>
#include <linux/eventpoll.h>
#include <poll.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <sys/uio.h>
#include <time.h>

struct sys_msghdr {
	void *name;
	int namelen;
	struct iovec *iov;
	size_t iovlen;
	void *control;
	size_t controllen;
	unsigned int flags;
};

struct sys_mmsghdr {
	struct sys_msghdr hdr;
	unsigned int len;
};

struct sys_cmsghdr {
	size_t len;
	int level, type;
};

#define FDS 64

static struct {
	const uint8_t *data;
	size_t len;
	bool used[FDS];
	uint64_t slot[FDS]; /* what epoll knows of it */
	uint8_t in[1u << 16];
	size_t in_len, in_at;
	uint8_t out[1u << 22];
	size_t out_len, hello_len;
	uint32_t seconds;
} k;

static uint8_t take(void)
{
	if (!k.len)
		return 0;
	k.len--;
	return *k.data++;
}

static size_t take_bytes(void *to, size_t max)
{
	size_t n = take();

	n = n < max ? n : max;
	n = n < k.len ? n : k.len;
	memcpy(to, k.data, n);
	k.data += n;
	k.len -= n;
	return n;
}

static long fails(void)
{
	static const int errors[] = {EAGAIN, ECONNREFUSED, EACCES,      EMSGSIZE,
				     EMFILE, EHOSTUNREACH, ENETUNREACH, ENOBUFS};

	return -errors[take() % 8];
}

static void check_fd(int fd)
{
	assert(fd >= 4 && fd < FDS && k.used[fd]);
}

static long sys_read(int fd, void *buf, size_t len)
{
	size_t n = k.in_len - k.in_at;

	assert(fd == 0 && len > 0);
	n = n < len ? n : len;
	memcpy(buf, k.in + k.in_at, n);
	k.in_at += n;
	return (long)n;
}

static long sys_writev(int fd, const struct iovec *v, size_t n)
{
	size_t max = (size_t)take() * 64, done = 0;

	assert(fd == 1);
	if (!k.out_len) { /* HELLO */
		memcpy(k.out, v->iov_base, v->iov_len);
		k.out_len = k.hello_len = v->iov_len;
		return (long)v->iov_len;
	}
	if (k.len && !max)
		return -EAGAIN;
	for (size_t i = 0; i < n; i++) {
		size_t len = k.len && v[i].iov_len > max - done ? max - done : v[i].iov_len;

		assert(k.out_len + len <= sizeof(k.out));
		memcpy(k.out + k.out_len, v[i].iov_base, len);
		k.out_len += len;
		done += len;
	}
	return (long)done;
}

static long sys_open(const char *path, int flags)
{
	(void)path;
	(void)flags;
	return -ENOENT;
}

static void sys_close(int fd)
{
	check_fd(fd);
	k.used[fd] = false;
}

static void sys_chdir(const char *path)
{
	(void)path;
}

static long sys_unlink(const char *path, int flags)
{
	(void)path;
	(void)flags;
	return 0;
}

static long sys_fcntl(int fd, int cmd, long arg)
{
	(void)fd;
	(void)cmd;
	(void)arg;
	return 0;
}

static long sys_clock(int clock, struct timespec *ret)
{
	(void)clock;
	*ret = (struct timespec){.tv_sec = k.seconds};
	return 0;
}

static long sys_socket(int family, int type, int protocol)
{
	assert(family == AF_INET || family == AF_INET6);
	(void)type;
	(void)protocol;
	if (take() % 8 == 7)
		return fails();
	for (int fd = 4; fd < FDS; fd++) {
		if (k.used[fd])
			continue;
		k.used[fd] = true;
		k.slot[fd] = UINT64_MAX;
		return fd;
	}
	return -EMFILE;
}

static long sys_connect(int fd, const void *addr, int len)
{
	check_fd(fd);
	(void)addr;
	(void)len;
	return take() % 8 == 7 ? fails() : 0;
}

static long sys_setsockopt(int fd, int level, int name, const void *value, int len)
{
	check_fd(fd);
	(void)level;
	(void)name;
	(void)value;
	(void)len;
	return 0;
}

static size_t fill(struct sys_msghdr *m)
{
	struct iovec *v = m->iov;
	size_t n = take_bytes(v->iov_base, v->iov_len);

	m->controllen = take_bytes(m->control, m->controllen);
	m->flags = take() == 1 ? MSG_TRUNC : 0;
	if (take() == 2 && v->iov_len > 60000) { /* a large one */
		n = 60000;
		memset(v->iov_base, 0, n);
	}
	return n;
}

static long sys_recvmsg(int fd, struct sys_msghdr *m, int flags)
{
	check_fd(fd);
	assert(flags & MSG_ERRQUEUE);
	return take() & 1 ? (long)fill(m) : -EAGAIN;
}

static long sys_recvmmsg(int fd, struct sys_mmsghdr *m, size_t n, int flags)
{
	size_t count = take() % 8;

	(void)flags;
	check_fd(fd);
	if (count == 7)
		return fails();
	for (size_t i = 0; i < count && i < n; i++)
		m[i].len = (unsigned int)fill(&m[i].hdr);
	return count ? (long)count : -EAGAIN;
}

static long sys_sendmmsg(int fd, struct sys_mmsghdr *m, size_t n, int flags)
{
	static uint8_t sink[1u << 17];

	(void)flags;
	check_fd(fd);
	assert(n > 0);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < m[i].hdr.iovlen; j++)
			memcpy(sink, m[i].hdr.iov[j].iov_base, m[i].hdr.iov[j].iov_len);
	return take() % 4 == 3 ? fails() : (long)(take() % n + 1);
}

static long sys_epoll_create(void)
{
	return 3;
}

static long sys_epoll_ctl(int epoll, int op, int fd, struct epoll_event *e)
{
	assert(epoll == 3);
	check_fd(fd);
	assert((op == EPOLL_CTL_ADD) == (k.slot[fd] == UINT64_MAX));
	k.slot[fd] = e->data;
	return 0;
}

static long sys_epoll_look(int epoll, struct epoll_event *ret, int n)
{
	int count = 0;

	(void)epoll;
	for (int fd = 4; fd < FDS && count < n; fd++)
		if (k.used[fd])
			ret[count++] = (struct epoll_event){.events = take() & (EPOLLIN | EPOLLERR),
							    .data = k.slot[fd]};
	return count;
}

/* What stdin has next: any bytes, or a frame that is one. */
static void feed(void)
{
	static const enum frame_type types[] = {FRAME_DATAGRAM, FRAME_ECHO,  FRAME_CLOSE,
						FRAME_PING,     FRAME_STATS, FRAME_ACK};
	uint8_t payload[256], what = take();
	struct frame f = {.type = types[what % 6], .data = payload};

	k.in_at = k.in_len = 0;
	if (what >= 250) {
		k.in_len = take_bytes(k.in, sizeof(k.in));
		return;
	}
	f.token = k.out_len - k.hello_len;
	f.flow = (uint32_t)(take() % 20) | (uint32_t)(take() & 1) << 16;
	f.addr.family = take() & 1 ? 4 : 6;
	f.addr.bytes[0] = take() & 1;
	f.port = f.type == FRAME_DATAGRAM ? take() % 2 ? 53 : 54 : 0;
	if (f.type == FRAME_DATAGRAM || f.type == FRAME_ECHO)
		f.len = take_bytes(payload, sizeof(payload));
	k.in_len = frame_put_head(FROM_BYWAY, &f, k.in);
	memcpy(k.in + k.in_len, payload, f.len);
	k.in_len += f.len;
}

static long sys_poll(struct pollfd *p, size_t n, struct timespec *timeout)
{
	uint8_t what = take();

	(void)timeout;
	assert(n == 3);
	if (k.in_at == k.in_len && k.len)
		feed();
	p[0].revents = !k.len || k.in_at < k.in_len ? POLLIN : 0;
	p[1].revents = 0;
	p[2].revents = what & 2 ? p[2].events : 0;
	if (what & 4)
		k.seconds += what >> 3;
	return 1;
}

#include "agent/agent.c"

/* Fewer flows than descriptors of the fuzzer's kernel. */
unsigned long confine_limits(void)
{
	return 36;
}

void confine(void)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct agent agent;
	struct frame f = {.type = FRAME_HELLO,
			  .hello = {.version = PROTO_VERSION, .flows = 10, .idle_s = 5}};
	size_t at = 0, used;
	int r;

	memset(&k, 0, offsetof(__typeof__(k), in));
	k.data = data;
	k.len = size;
	k.out_len = k.in_at = 0;
	k.in_len = take() ? frame_put_head(FROM_BYWAY, &f, k.in) : 0;
	memset(&agent, 0, offsetof(struct agent, out));
	memset(agent.flows, 0, sizeof(agent.flows));
	agent.out.n = agent.rx_len = 0;
	serve(&agent);
	while ((r = frame_parse(FROM_AGENT, k.out + at, k.out_len - at, &f, &used)) == 1)
		at += used;
	assert(r == 0);
	return 0;
}
