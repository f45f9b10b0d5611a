// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Preloaded into byway, it makes each message to the kernel's netlink wait for leave: a line is
 * written into the FIFO $STEP_OUT before the message is sent, and a byte is read from $STEP_IN. So a test can
 * look at the network between any two steps of starting and stopping.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef ssize_t (*sendto_fn)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);

static int out = -1, in = -1;

/* Both for reading and writing: neither open(2) waits, and neither end is ever the last. */
static int open_fifo(const char *variable)
{
	const char *path = getenv(variable);

	return path ? open(path, O_RDWR | O_CLOEXEC) : -1;
}

/* byway may hand over to its other program, which is the same process. Children go at their own pace. */
__attribute__((constructor)) static void begin(void)
{
	const char *first = getenv("STEP_PID");
	char self[16];

	snprintf(self, sizeof(self), "%d", (int)getpid());
	if (first && strcmp(first, self) != 0)
		return;
	if (first)
		unsetenv("LD_PRELOAD");
	setenv("STEP_PID", self, 1);
	out = open_fifo("STEP_OUT");
	in = open_fifo("STEP_IN");
}

static void wait_for_leave(void)
{
	char c;

	if (write(out, ".\n", 2) < 0)
		return;
	while (read(in, &c, 1) < 0 && errno == EINTR)
		;
}

ssize_t sendto(int fd, const void *data, size_t len, int flags, const struct sockaddr *to,
	       socklen_t to_len)
{
	sendto_fn next = (sendto_fn)dlsym(RTLD_NEXT, "sendto");

	if (to && to->sa_family == AF_NETLINK && out >= 0 && in >= 0)
		wait_for_leave();
	return next(fd, data, len, flags, to, to_len);
}
