// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/detach.h"

/* Whoever reads what the command says must see its end. */
static void leave_terminal(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; fd >= 0 && i <= STDERR_FILENO; i++)
		dup2(fd, i);
	close_p(&fd);
	(void)!chdir("/");
}

/* What of ours is open is close-on-exec. */
static bool is_others(int fd)
{
	int flags = fcntl(fd, F_GETFD);

	return flags >= 0 && !(flags & FD_CLOEXEC);
}

/* Before there are threads that open any. */
static void find_others(fd_set *ret)
{
	FD_ZERO(ret);
	for (int fd = STDERR_FILENO + 1; fd < FD_SETSIZE; fd++)
		if (is_others(fd))
			FD_SET(fd, ret);
}

static void close_others(const fd_set *others)
{
	for (int fd = STDERR_FILENO + 1; fd < FD_SETSIZE; fd++)
		if (FD_ISSET(fd, others) && is_others(fd))
			close(fd);
}

void cli_detach_done(struct detached *d, int status)
{
	unsigned char byte = (unsigned char)status;

	if (d->pipe < 0)
		return;
	leave_terminal();
	close_others(&d->others);
	(void)!write(d->pipe, &byte, 1);
	close(TAKE_FD(d->pipe));
}

static int wait_for(struct cli *c, pid_t pid, int fd)
{
	unsigned char status_byte;
	int status;

	if (read(fd, &status_byte, 1) == 1)
		exit(status_byte);
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status)) {
		if (WEXITSTATUS(status))
			exit(WEXITSTATUS(status)); /* the child has said why */
		return err_set(&c->err, ERR_FAILED, -ECANCELED,
			       "the process in the background was ended before it was ready");
	}
	return err_set(
		&c->err, ERR_FAILED, -ECHILD,
		"the process in the background was killed; what is left may block: `byway %s down`",
		c->cmd->noun);
}

int cli_detach(struct cli *c, struct detached *ret)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return err_errno(&c->err, -errno, "cannot make a pipe");
	pid = fork();
	if (pid < 0)
		return err_errno(&c->err, -errno, "cannot fork");
	if (pid) {
		close(fds[1]);
		return wait_for(c, pid, fds[0]);
	}
	close(fds[0]);
	setsid();
	ret->pipe = fds[1];
	find_others(&ret->others);
	return 0;
}
