/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A network namespace for a test program that listens and connects: nothing but a loopback device,
 * so that no port is taken and no packet gets out.
 */
#ifndef BYWAY_TESTS_PRIVATE_NET_H
#define BYWAY_TESTS_PRIVATE_NET_H

#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* False where not even a user namespace gives the right to make one. */
static inline bool private_net(void)
{
	struct ifreq req = {.ifr_name = "lo"};
	int fd, r;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	r = ioctl(fd, SIOCGIFFLAGS, &req);
	req.ifr_flags |= IFF_UP;
	if (!r)
		r = ioctl(fd, SIOCSIFFLAGS, &req);
	close(fd);
	return r == 0;
}

#endif
