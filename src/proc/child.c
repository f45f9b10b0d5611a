// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"
#include "kernel/netns.h"
#include "proc/child.h"

#define STATUS_NOT_STARTED 127 /* as a shell says it; nobody sees it */

/* What a start came to, told through a pipe that exec closes. */
struct report {
	enum { STEP_NETNS, STEP_USER, STEP_DESCRIPTORS, STEP_EXEC } step;
	int error;
};

static const char *const steps[] = {
	[STEP_NETNS] = "cannot enter the namespace",
	[STEP_USER] = "cannot become its user",
	[STEP_DESCRIPTORS] = "cannot set up its descriptors",
	[STEP_EXEC] = "cannot execute it",
};

/* ---- In the child: only async-signal-safe calls, for the parent has threads ---- */

static void reset_signals(const struct child_spec *spec)
{
	sigset_t none;

	signal(SIGPIPE, SIG_DFL);
	if (spec->ignore_keys) {
		signal(SIGINT, SIG_IGN);
		signal(SIGQUIT, SIG_IGN);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What a change of the user left, with PR_SET_KEEPCAPS, is cut down to these; exec keeps what is
 * ambient. */
static int keep_caps(const struct child_user *user)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	for (size_t i = 0; i < user->n_caps; i++)
		data[0].permitted |= 1u << user->caps[i];
	data[0].effective = data[0].inheritable = data[0].permitted;
	if (syscall(SYS_capset, &head, data) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	for (size_t i = 0; i < user->n_caps; i++)
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, user->caps[i], 0, 0))
			return -errno;
	return 0;
}

static int become_user(const struct child_user *user)
{
	if (!user)
		return 0;
	if (user->n_caps && prctl(PR_SET_KEEPCAPS, 1))
		return -errno;
	if (setgroups(user->n_groups, user->groups) || setresgid(user->gid, user->gid, user->gid) ||
	    setresuid(user->uid, user->uid, user->uid))
		return -errno;
	return user->n_caps ? keep_caps(user) : 0;
}

/* After the user has changed, which takes the signal back (prctl(2)). So does exec when root gets
 * back capabilities that we have given up; without new privileges it does not. */
static int tie_to_parent(int sig, pid_t parent)
{
	if (!sig)
		return 0;
	if (geteuid() == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	if (prctl(PR_SET_PDEATHSIG, sig))
		return -errno;
	return getppid() == parent ? 0 : -ECHILD;
}

static void close_others(void)
{
	/* Close-on-exec rather than closed: one call, and it is there since Linux 5.11. */
	if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC))
		for (int fd = 3; fd < 1024; fd++)
			fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static int set_descriptors(const int fds[3])
{
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			return -errno;
	close_others();
	return 0;
}

static struct report prepare(const struct child_spec *spec, const int fds[3], pid_t parent)
{
	struct report r = {.step = STEP_NETNS};

	if (spec->own_session)
		setsid();
	r.error = spec->ns ? netns_enter(spec->ns) : 0;
	if (r.error)
		return r;
	r.step = STEP_USER;
	r.error = become_user(spec->user);
	if (!r.error)
		r.error = tie_to_parent(spec->death_signal, parent);
	if (r.error)
		return r;
	r.step = STEP_DESCRIPTORS;
	r.error = set_descriptors(fds);
	return r;
}

static _Noreturn void start(const struct child_spec *spec, const int fds[3], int report,
			    pid_t parent)
{
	struct report r = prepare(spec, fds, parent);

	if (!r.error) {
		reset_signals(spec);
		execve(spec->path, (char *const *)spec->argv, (char *const *)spec->env);
		r = (struct report){STEP_EXEC, -errno};
	}
	(void)!write(report, &r, sizeof(r));
	_exit(STATUS_NOT_STARTED);
}

/* ---- In the parent ---- */

/* A copy above the standard ones: those that dup2() writes to must not be read from later. */
static int copy_fd(int fd)
{
	int copy;

	if (fd >= 0) {
		copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	} else {
		_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		copy = null < 0 ? -1 : fcntl(null, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	}
	return copy < 0 ? -errno : copy;
}

static void close_fds(int (*fds)[3])
{
	for (int i = 0; i < 3; i++)
		close_p(&(*fds)[i]);
}

static int copy_fds(const struct child_spec *spec, int ret[3])
{
	const int fds[] = {spec->in, spec->out, spec->err};

	for (int i = 0; i < 3; i++) {
		ret[i] = copy_fd(fds[i]);
		if (ret[i] < 0)
			return ret[i];
	}
	return 0;
}

/* Blocks until exec, or until the child has told what failed. */
static int read_report(int fd, const char *program, struct err *err)
{
	struct report r;
	ssize_t n;

	do
		n = read(fd, &r, sizeof(r));
	while (n < 0 && errno == EINTR);
	if (n != sizeof(r))
		return 0;
	return err_errno(err, r.error, "cannot start %s: %s", program, steps[r.step]);
}

/* All signals are blocked over fork(), so that no handler of ours runs in the child. */
static pid_t fork_quietly(void)
{
	sigset_t all, before;
	pid_t pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid)
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pid;
}

static int fork_child(const struct child_spec *spec, struct child *c, struct err *err)
{
	_cleanup_(close_fds) int fds[] = {-1, -1, -1};
	_close_ int report_r = -1, report_w = -1;
	pid_t parent = getpid();
	int report[2], r = copy_fds(spec, fds);

	if (!r && pipe2(report, O_CLOEXEC))
		r = -errno;
	if (r)
		return err_errno(err, r, "cannot start %s", spec->argv[0]);
	report_r = report[0];
	report_w = copy_fd(report[1]);
	close(report[1]);
	c->pid = fork_quietly();
	if (c->pid < 0)
		return err_errno(err, -errno, "cannot start %s", spec->argv[0]);
	if (c->pid == 0)
		start(spec, fds, report_w, parent);
	close(TAKE_FD(report_w));
	return read_report(report_r, spec->argv[0], err);
}

int child_start(const struct child_spec *spec, struct child *ret, struct err *err)
{
	struct child c = {.pid = 0, .fd = -1};
	int r = fork_child(spec, &c, err);

	if (c.pid <= 0)
		return r;
	if (!r) {
		c.fd = (int)syscall(SYS_pidfd_open, c.pid, 0);
		if (c.fd < 0) {
			r = err_errno(err, -errno, "cannot watch %s", spec->argv[0]);
			kill(c.pid,
			     SIGKILL); /* a child of ours, not reaped: the number is its own */
		}
	}
	if (r) {
		waitpid(c.pid, NULL, 0);
		return r;
	}
	*ret = c;
	return 0;
}

static bool reap(struct child *c, int options, int *ret_status)
{
	int status;
	pid_t r;

	do
		r = waitpid(c->pid, &status, options);
	while (r < 0 && errno == EINTR);
	if (!r)
		return false;
	close(c->fd);
	*c = (struct child){.fd = -1};
	if (r < 0)
		*ret_status = STATUS_NOT_STARTED; /* somebody else has reaped it */
	else
		*ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return true;
}

bool child_ended(struct child *c, int *ret_status)
{
	return reap(c, WNOHANG, ret_status);
}

int child_wait(struct child *c)
{
	int status = STATUS_NOT_STARTED;

	reap(c, 0, &status);
	return status;
}

void child_signal(const struct child *c, int sig)
{
	if (c->fd >= 0)
		syscall(SYS_pidfd_send_signal, c->fd, sig, NULL, 0);
}

/* Its process group: as long as it is not reaped, the number is its own. */
void child_signal_session(const struct child *c, int sig)
{
	if (c->pid)
		kill(-c->pid, sig);
}

void child_stop(struct child *c, unsigned int grace_ms)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};

	if (!c->pid)
		return;
	child_signal(c, SIGTERM);
	if (poll(&p, 1, (int)grace_ms) != 1)
		child_signal(c, SIGKILL);
	child_wait(c);
}
