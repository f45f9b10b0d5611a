// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * A socket of NETLINK_NETFILTER by which something was deleted is closed after an RCU grace period,
 * some 10 ms, and close(2), or the end of the process, waits for it. Whoever closes last waits; so
 * the last has to be the kernel itself. A descriptor that was sent through a Unix socket and not
 * received is held by the message. When the socket that the message is in is held by nothing but
 * that same message, unix(7)'s garbage collector finds it and closes both: in a kernel thread, or,
 * on older kernels, in close(2) as before.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernel/closing.h"

static int send_both(int by, int fd, int to)
{
	char control[CMSG_SPACE(2 * sizeof(int))] __attribute__((aligned(8))) = {0}, byte = 0;
	struct iovec iov = {.iov_base = &byte, .iov_len = sizeof(byte)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	const int fds[2] = {fd, to};

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(c), fds, sizeof(fds));
	return sendmsg(by, &msg, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

void close_later(int fd)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair)) {
		close(fd);
		return;
	}
	send_both(pair[0], fd, pair[1]); /* not sent: closed here */
	close(fd);
	close(pair[1]);
	close(pair[0]);
}
