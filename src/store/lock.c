// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/util.h"
#include "store/lock.h"

#define ANNOUNCE_MS 1000

/* We try again after an eighth of the time waited so far: a wait is at most that much longer than
 * it had to be, and hundreds of waiters still leave the machine to the one that works. */
#define PAUSE_MIN_US 200u
#define PAUSE_MAX_US 25000u

static void pause_after(uint64_t waited_us)
{
	uint64_t us = MAX(PAUSE_MIN_US, MIN(PAUSE_MAX_US, waited_us / 8));
	struct timespec ts = {.tv_nsec = (long)us * 1000};

	nanosleep(&ts, NULL);
}

/* "process 123", or "another process" when the file does not say. */
static const char *holder(int fd, char *buf, size_t size)
{
	char text[24] = "";
	char *end;
	long pid;

	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		text[0] = '\0';
	pid = strtol(text, &end, 10);
	if (pid > 0 && *end == '\n')
		snprintf(buf, size, "process %ld", pid);
	else
		snprintf(buf, size, "another process");
	return buf;
}

static void sign(int fd)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	/* Only for the waiters' messages: a full disk must not keep anybody from working. */
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) < 0)
		log_debug("lock: cannot note our PID: %s", strerror(errno));
}

/* Whether path still leads to what fd has open: `reset` removes the file under those who wait. */
static bool is_current(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

static int open_lock(const char *path, int *ret, struct err *err)
{
	int r = fault_point("open lock");
	int fd = r ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_errno(err, r ? r : -errno, "cannot open %s", path);
	*ret = fd;
	return 0;
}

int lock_take(const char *dir, unsigned int timeout_ms, int *ret_fd, struct err *err)
{
	_free_ char *path = xasprintf("%s/lock", dir);
	_close_ int fd = -1;
	uint64_t start = clock_us(), waited = 0;
	bool announced = false;
	char who[40];

	for (;;) {
		int r = fd < 0 ? open_lock(path, &fd, err) : 0;

		if (r < 0)
			return r;
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			if (is_current(fd, path))
				break;
			close(TAKE_FD(fd));
			continue;
		}
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_errno(err, -errno, "cannot lock %s", path);
		waited = clock_us() - start;
		if (waited >= (uint64_t)timeout_ms * 1000)
			return err_set(err, ERR_CONFLICT, -EBUSY,
				       "%s is held by %s and was not released in %u s: wait for it "
				       "to end, or end it",
				       path, holder(fd, who, sizeof(who)), timeout_ms / 1000);
		if (!announced && waited >= ANNOUNCE_MS * 1000) {
			log_warn("waiting for %s, which holds %s", holder(fd, who, sizeof(who)),
				 path);
			announced = true;
		}
		pause_after(waited);
	}
	sign(fd);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
