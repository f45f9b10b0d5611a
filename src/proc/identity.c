// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/util.h"
#include "proc/identity.h"

#define STAT_MAX 1024
#define FIELDS_TO_START 19 /* from the state, which follows the name in brackets */

static int read_start(pid_t pid, uint64_t *ret)
{
	char path[32], text[STAT_MAX];
	_close_ int fd = -1;
	const char *field;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	text[n] = '\0';
	field = strrchr(text, ')'); /* a name may hold anything */
	for (int i = 0; field && i <= FIELDS_TO_START; i++)
		field = strchr(field + 1, ' ');
	if (!field)
		return -EPROTO;
	*ret = strtoull(field, NULL, 10);
	return 0;
}

static bool has_ended(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) != 0;
}

/* What was read is the process's own if that had not ended even then. */
static int find(pid_t pid, struct identity *ret, int *ret_fd)
{
	struct identity id = {.pid = pid};
	_close_ int fd = -1;
	int r = fault_point("pidfd open");

	if (r)
		return r;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return errno == EINVAL ? -ESRCH : -errno; /* a thread's number is no process's */
	r = read_start(pid, &id.start);
	if (!r && has_ended(fd))
		r = -ESRCH;
	if (r)
		return r;
	*ret = id;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int identity_open(pid_t pid, struct identity *ret, int *ret_fd, struct err *err)
{
	int r = find(pid, ret, ret_fd);

	if (r == -ESRCH)
		return err_set(err, ERR_NOT_FOUND, r, "there is no process %ld", (long)pid);
	return r ? err_errno(err, r, "cannot watch process %ld", (long)pid) : 0;
}

bool identity_alive(const struct identity *p)
{
	struct identity now = {0};
	_close_ int fd = -1;
	int r = find(p->pid, &now, &fd);

	/* What cannot be told counts as alive: nothing is taken away on a guess. */
	return r ? r != -ESRCH : now.start == p->start;
}
