// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The descriptors belong to threads that know nothing of this one and may close them at any moment.
 * So a socket is looked at, and reset, through a duplicate of its descriptor: it stays the same
 * socket for as long as that takes, whatever happens to the number. Nothing of its owner's is
 * touched: to it, the connection is reset as if the peer had done it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "tunnel/sweep.h"

/* False: enough seen. */
typedef bool (*socket_fn)(int fd, void *arg);

static bool has_option(int fd, int name, uint32_t value)
{
	uint32_t has = 0;
	socklen_t len = sizeof(has);

	return !getsockopt(fd, SOL_SOCKET, name, &has, &len) && has == value;
}

static bool is_upstream(int fd, uint32_t mark)
{
	return has_option(fd, SO_MARK, mark) && has_option(fd, SO_PROTOCOL, IPPROTO_TCP);
}

static void each_upstream(uint32_t mark, socket_fn fn, void *arg)
{
	DIR *d = opendir("/proc/self/fd");
	const struct dirent *e;
	bool go_on = true;

	while (go_on && d && (e = readdir(d))) {
		int number = atoi(e->d_name);
		_close_ int fd = -1;

		if (!is_upstream(number, mark)) /* "." and ".." are 0, which is none */
			continue;
		fd = fcntl(number, F_DUPFD_CLOEXEC, 0);
		if (fd >= 0 && is_upstream(fd, mark))
			go_on = fn(fd, arg);
	}
	if (d)
		closedir(d);
}

/* ---- Resetting ---- */

/* The address that was looked for last: most connections have the same. */
struct known {
	struct sockaddr_storage addr;
	bool is_here;
};

/* A socket can be bound to an address that the machine has, and to no other unless ip_nonlocal_bind
 * is on; then nothing is found to be gone, and it takes until TCP gives up. */
static bool is_here(struct sockaddr_storage *addr, socklen_t len, struct known *k)
{
	_close_ int fd = -1;

	if (addr->ss_family == AF_INET)
		((struct sockaddr_in *)addr)->sin_port = 0;
	else
		((struct sockaddr_in6 *)addr)->sin6_port = 0;
	if (!memcmp(addr, &k->addr, sizeof(*addr)))
		return k->is_here;
	fd = socket(addr->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	k->addr = *addr;
	k->is_here = fd < 0 || !bind(fd, (struct sockaddr *)addr, len) || errno != EADDRNOTAVAIL;
	return k->is_here;
}

static bool is_connecting(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	return !getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) &&
	       info.tcpi_state == TCP_SYN_SENT;
}

static bool reset_lost(int fd, void *arg)
{
	static const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
	struct sockaddr_storage addr = {0};
	socklen_t len = sizeof(addr);

	if (getsockname(fd, (struct sockaddr *)&addr, &len))
		return true;
	/* connect(2): dissolves the association, which for TCP is a reset (tcp_disconnect()). */
	if (is_connecting(fd) || !is_here(&addr, len, arg))
		(void)!connect(fd, &nowhere, sizeof(nowhere));
	return true;
}

void sweep_reset(uint32_t mark)
{
	struct known k = {.is_here = false};

	each_upstream(mark, reset_lost, &k);
}

/* ---- Peers ---- */

struct search {
	const struct ip *peer;
	bool found;
};

static bool compare_peer(int fd, void *arg)
{
	struct search *s = arg;
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	const void *bytes = &((struct sockaddr_in *)&addr)->sin_addr;

	if (getpeername(fd, (struct sockaddr *)&addr, &len) || addr.ss_family != s->peer->family)
		return true;
	if (addr.ss_family == AF_INET6)
		bytes = &((struct sockaddr_in6 *)&addr)->sin6_addr;
	s->found = !memcmp(bytes, s->peer->bytes, ip_len(s->peer->family));
	return !s->found;
}

bool sweep_has_peer(uint32_t mark, const struct ip *peer)
{
	struct search s = {.peer = peer};

	each_upstream(mark, compare_peer, &s);
	return s.found;
}
