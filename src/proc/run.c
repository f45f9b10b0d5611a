// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/util.h"
#include "proc/child.h"
#include "proc/run.h"

#define CHUNK 4096

static bool find_in_dir(const char *dir, size_t len, const char *program, char *path, size_t size)
{
	int n = snprintf(path, size, "%.*s/%s", (int)len, dir, program);

	return n > 0 && (size_t)n < size && access(path, X_OK) == 0;
}

static bool find_program(const char *program, char *path, size_t size)
{
	const char *dir = RUN_PATH;

	for (;;) {
		size_t len = strcspn(dir, ":");

		if (find_in_dir(dir, len, program, path, size))
			return true;
		if (!dir[len])
			return false;
		dir += len + 1;
	}
}

int run_find(const char *program, char ret[RUN_PROGRAM_MAX], struct err *err)
{
	if (find_program(program, ret, RUN_PROGRAM_MAX))
		return 0;
	return err_set(err, ERR_UNSUPPORTED, -ENOENT,
		       "%s is not installed (looked in " RUN_PATH ")", program);
}

bool run_has(const char *program)
{
	char path[RUN_PROGRAM_MAX];

	return find_program(program, path, sizeof(path));
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A file in memory instead of a pipe: the program may take its time, or not read at all. */
static int open_input(const struct buf *input, int *ret_fd)
{
	_close_ int fd = -1;
	int r;

	if (!input) {
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	fd = memfd_create("byway-stdin", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = write_all(fd, input->data, input->len);
	if (r)
		return r;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int open_pipe(int fds[2])
{
	return pipe2(fds, O_CLOEXEC) ? -errno : 0;
}

/* Reads once; false at the end of the stream. */
static bool drain(int fd, struct buf *to)
{
	char discard[CHUNK];
	char *at = to ? buf_reserve(to, CHUNK) : discard;
	ssize_t n = read(fd, at, CHUNK);

	if (n > 0 && to) {
		to->len += (size_t)n;
		to->data[to->len] = '\0';
	}
	return n > 0 || (n < 0 && errno == EINTR);
}

/* Until both streams end, or the program has, which may have left others behind that keep them
 * open: what it said itself is in them by then. */
static void collect(int out, int err, int pidfd, struct buf *ret_out, struct buf *ret_err)
{
	struct pollfd fds[] = {{.fd = out, .events = POLLIN},
			       {.fd = err, .events = POLLIN},
			       {.fd = pidfd, .events = POLLIN}};
	struct buf *to[] = {ret_out, ret_err};
	bool ended = false;

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		int n = poll(fds, ended ? 2 : 3, ended ? 0 : -1);

		if ((n < 0 && errno != EINTR) || (!n && ended))
			return;
		for (size_t i = 0; i < 2; i++)
			if (fds[i].fd >= 0 && fds[i].revents && !drain(fds[i].fd, to[i]))
				fds[i].fd = -1; /* poll(2) passes over it */
		ended = ended || fds[2].revents;
	}
}

static int fault(const char *program)
{
	char what[64];

	snprintf(what, sizeof(what), "run %s", program);
	return fault_point(what);
}

int run_spec(struct child_spec *spec, const struct buf *input, struct buf *ret_out,
	     struct buf *ret_err, int *ret_status, struct err *err)
{
	_close_ int in = -1, out_r = -1, out_w = -1, err_r = -1, err_w = -1;
	int out_fds[2], err_fds[2], r = open_input(input, &in);
	struct child child;

	if (!r)
		r = open_pipe(out_fds);
	if (r)
		return err_errno(err, r, "cannot run %s", spec->argv[0]);
	out_r = out_fds[0], out_w = out_fds[1];
	r = open_pipe(err_fds);
	if (r)
		return err_errno(err, r, "cannot run %s", spec->argv[0]);
	err_r = err_fds[0], err_w = err_fds[1];
	spec->in = in, spec->out = out_w, spec->err = err_w;
	r = child_start(spec, &child, err);
	if (r)
		return r;
	close(TAKE_FD(out_w));
	close(TAKE_FD(err_w));
	collect(out_r, err_r, child.fd, ret_out, ret_err);
	*ret_status = child_wait(&child);
	return 0;
}

int run(const struct netns *ns, const char *const argv[], const struct buf *input,
	struct buf *ret_out, struct buf *ret_err, int *ret_status, struct err *err)
{
	static const char *const env[] = {"PATH=" RUN_PATH, "LC_ALL=C", NULL};
	char path[RUN_PROGRAM_MAX];
	struct child_spec spec = {.path = path, .argv = argv, .env = env, .ns = ns};
	int r = run_find(argv[0], path, err);

	if (r)
		return r;
	r = fault(argv[0]);
	if (r)
		return err_errno(err, r, "cannot run %s", argv[0]);
	return run_spec(&spec, input, ret_out, ret_err, ret_status, err);
}
