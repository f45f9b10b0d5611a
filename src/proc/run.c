// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/util.h"
#include "kernel/netns.h"
#include "proc/run.h"

#define CHUNK 4096
#define STATUS_NOT_STARTED 127 /* as a shell says it */

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

bool run_has(const char *program)
{
	char path[256];

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

struct child {
	const struct netns *ns;
	const char *path;
	const char *const *argv;
	int in, out, err; /* its standard descriptors */
};

static void close_others(void)
{
	/* Close-on-exec rather than closed: one call, and it is there since Linux 5.11. */
	if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC))
		for (int fd = 3; fd < 1024; fd++)
			close(fd);
}

/* After fork() of a program with threads: only async-signal-safe calls (signal-safety(7)). */
static _Noreturn void start(const struct child *c)
{
	static const char *const env[] = {"PATH=" RUN_PATH, "LC_ALL=C", NULL};
	static const char complaint[] = "cannot enter the namespace or start the program\n";
	sigset_t none;
	int r = c->ns ? netns_enter(c->ns) : 0;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (!r && dup2(c->in, STDIN_FILENO) >= 0 && dup2(c->out, STDOUT_FILENO) >= 0 &&
	    dup2(c->err, STDERR_FILENO) >= 0) {
		close_others();
		execve(c->path, (char *const *)c->argv, (char *const *)env);
	}
	(void)!write(c->err, complaint, sizeof(complaint) - 1);
	_exit(STATUS_NOT_STARTED);
}

/* Descriptors at or below 2 would be overwritten by the dup2() of another of the three. */
static int above_standard(int fd)
{
	int moved;

	if (fd > STDERR_FILENO)
		return fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	close(fd);
	return moved;
}

static int open_pipe(int fds[2])
{
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	fds[0] = above_standard(fds[0]);
	fds[1] = above_standard(fds[1]);
	return fds[0] < 0 || fds[1] < 0 ? -EMFILE : 0;
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

static void collect(int out, int err, struct buf *ret_out, struct buf *ret_err)
{
	struct pollfd fds[] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};
	struct buf *to[] = {ret_out, ret_err};

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return;
		for (size_t i = 0; i < 2; i++)
			if (fds[i].fd >= 0 && fds[i].revents && !drain(fds[i].fd, to[i]))
				fds[i].fd = -1; /* poll(2) passes over it */
	}
}

static int wait_for(pid_t pid, int *ret_status)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	*ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return 0;
}

static int fault(const char *program)
{
	char what[64];

	snprintf(what, sizeof(what), "run %s", program);
	return fault_point(what);
}

static int run_path(struct child *c, const struct buf *input, struct buf *ret_out,
		    struct buf *ret_err, int *ret_status)
{
	int r, status = 0;
	pid_t pid;
	_close_ int in = -1, out_r = -1, out_w = -1, err_r = -1, err_w = -1;
	int out[2], err[2];

	r = open_input(input, &in);
	if (r)
		return r;
	in = above_standard(in);
	r = open_pipe(out);
	if (r)
		return r;
	out_r = out[0], out_w = out[1];
	r = open_pipe(err);
	if (r)
		return r;
	err_r = err[0], err_w = err[1];
	c->in = in, c->out = out_w, c->err = err_w;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		start(c);
	close(TAKE_FD(out_w));
	close(TAKE_FD(err_w));
	collect(out_r, err_r, ret_out, ret_err);
	r = wait_for(pid, &status);
	if (!r)
		*ret_status = status;
	return r;
}

int run(const struct netns *ns, const char *const argv[], const struct buf *input,
	struct buf *ret_out, struct buf *ret_err, int *ret_status, struct err *err)
{
	char path[256];
	struct child c = {.ns = ns, .path = path, .argv = argv};
	int r;

	if (!find_program(argv[0], path, sizeof(path)))
		return err_set(err, ERR_UNSUPPORTED, -ENOENT,
			       "%s is not installed (looked in " RUN_PATH ")", argv[0]);
	r = fault(argv[0]);
	if (!r)
		r = run_path(&c, input, ret_out, ret_err, ret_status);
	return r ? err_errno(err, r, "cannot run %s", argv[0]) : 0;
}
