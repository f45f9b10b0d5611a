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

void cli_detach_done(int *pipe, int status)
{
	unsigned char byte = (unsigned char)status;

	if (*pipe < 0)
		return;
	leave_terminal();
	(void)!write(*pipe, &byte, 1);
	close(TAKE_FD(*pipe));
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

int cli_detach(struct cli *c, int *ret_pipe)
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
	*ret_pipe = fds[1];
	return 0;
}
