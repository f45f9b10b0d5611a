// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/util.h"
#include "proc/pidlock.h"

#define STAT_MAX 1024 /* proc_pid_stat(5) */

static int make_dir(const char *dir, struct err *err)
{
	int r = fault_point("make a lock's folder");

	if (!r && mkdir(dir, 0700) && errno != EEXIST)
		r = -errno;
	return r ? err_errno(err, r, "cannot create %s", dir) : 0;
}

/* The folder of path, and the one above. */
static int make_dirs(const char *path, struct err *err)
{
	_free_ char *copy = xstrdup(path), *copy_above = NULL;
	char *dir = dirname(copy);
	int r;

	copy_above = xstrdup(dir);
	r = make_dir(dirname(copy_above), err);
	return r ? r : make_dir(dir, err);
}

/* The whole file, for writing. */
static struct flock whole_file(void)
{
	return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

static int try_lock(const char *path, int *ret_fd)
{
	struct flock lock = whole_file();
	int r = fault_point("take a lock");
	_close_ int fd = r ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;

	if (fd < 0)
		return r ? r : -errno;
	if (fcntl(fd, F_SETLK, &lock))
		return errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
	if (fstat(fd, &st))
		return -errno;
	if (!st.st_nlink) /* its former holder has removed it meanwhile */
		return -EAGAIN;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int pidlock_take(const char *path, int *ret_fd, struct err *err)
{
	int r = make_dirs(path, err);

	if (r)
		return r;
	do
		r = try_lock(path, ret_fd);
	while (r == -EAGAIN);
	return r && r != -EBUSY ? err_errno(err, r, "cannot lock %s", path) : r;
}

pid_t pidlock_holder(const char *path)
{
	struct flock lock = whole_file();
	/* Not for writing: whoever watches the file would take closing it for its holder's
	 * death. */
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || fcntl(fd, F_GETLK, &lock) || lock.l_type == F_UNLCK)
		return 0;
	return lock.l_pid;
}

/* A pidfd of the holder: 0 with -1 when there is none. */
static int open_holder(const char *path, int *ret_fd, struct err *err)
{
	pid_t pid = pidlock_holder(path);
	_close_ int fd = -1;

	*ret_fd = -1;
	if (!pid)
		return 0;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return errno == ESRCH ? 0
				      : err_errno(err, -errno, "cannot watch process %d", (int)pid);
	if (pidlock_holder(path) == pid) /* else it ended, and its number may be another's */
		*ret_fd = TAKE_FD(fd);
	return 0;
}

bool pidlock_is_stopped(const char *path)
{
	char stat[32];
	_buf_ struct buf text = {0};
	const char *name_end;

	snprintf(stat, sizeof(stat), "/proc/%d/stat", (int)pidlock_holder(path));
	if (file_read(stat, STAT_MAX, &text, NULL))
		return false;
	name_end = strrchr(text.data, ')');
	return name_end && !strncmp(name_end, ") T", 3);
}

void pidlock_signal(const char *path, int sig)
{
	_close_ int fd = -1;

	if (!open_holder(path, &fd, NULL) && fd >= 0)
		syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0);
}

int pidlock_end(const char *path, unsigned int grace_ms, struct err *err)
{
	struct pollfd p = {.events = POLLIN};
	_close_ int fd = -1;
	int r = open_holder(path, &fd, err);

	if (r || fd < 0)
		return r;
	p.fd = fd;
	syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0);
	if (poll(&p, 1, (int)grace_ms) > 0)
		return 0;
	syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
	return poll(&p, 1, (int)grace_ms) > 0
		       ? 0
		       : err_set(err, ERR_FAILED, -ETIMEDOUT,
				 "the process that holds %s does not end", path);
}
