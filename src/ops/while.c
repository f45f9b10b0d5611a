// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Ports that live as long as a process: for each, another process waits for the end of that one and
 * takes the port away. It waits for two descriptors and is woken by nothing else: the pidfd, and a
 * netlink socket that hears of the port's own link alone, so that it ends when somebody deletes the
 * port. What a watcher that was killed leaves behind, gc finds by the identity in the port's row.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "kernel/link.h"
#include "kernel/monitor.h"
#include "ops/ops.h"
#include "vpc/port.h"

#define WATCHER_NAME "byway-watch" /* what ps(1) calls it; 15 characters at most */

/* Somebody may have deleted the port meanwhile, and added another of its name. */
static int delete_if_same(struct ops *o, const struct port *p, struct err *err)
{
	struct port now;
	int r = port_load(o->st, p->vpc, p->name, &now, err);

	if (r)
		return r == -ENOENT ? 0 : r;
	if (now.life.pid != p->life.pid || now.life.start != p->life.start)
		return 0;
	return ops_ports_delete(o, &now, 1, err);
}

/* Nothing of whoever called stays open: it may wait for the end of what we write. */
static void keep_only(int fds[], int n)
{
	for (int i = 0; i < n; i++)
		fds[i] = fcntl(fds[i], F_DUPFD, STDERR_FILENO + 1 + n);
	for (int i = 0; i < n; i++)
		fds[i] = dup2(fds[i], STDERR_FILENO + 1 + i);
	close_range((unsigned int)(STDERR_FILENO + 1 + n), ~0u, 0);
}

static void let_go(int fds[], int n)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	prctl(PR_SET_NAME, WATCHER_NAME);
	(void)!chdir("/");
	for (int i = 0; null >= 0 && i <= STDERR_FILENO; i++)
		dup2(null, i);
	keep_only(fds, n);
}

static _Noreturn void watch(struct ops *o, const struct port *p, int pidfd, int monitor)
{
	int fds[] = {pidfd, monitor}, r;
	struct pollfd wait[2];

	let_go(fds, 2);
	for (int i = 0; i < 2; i++)
		wait[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	do
		r = poll(wait, 2, -1);
	while (r < 0 && errno == EINTR);
	if (!wait[0].revents)
		_exit(0);
	r = ops_open(o, STORE_WRITE, NULL);
	if (!r)
		r = delete_if_same(o, p, NULL);
	ops_close(o);
	_exit(r ? ERR_FAILED : 0);
}

/* With the state closed: the watcher must not hold the lock. */
static int start(struct ops *o, const struct port *p, int pidfd, int monitor, struct err *err)
{
	int r = fault_point("watcher fork");
	pid_t pid;

	ops_suspend(o);
	pid = r ? -1 : fork();
	if (!pid)
		watch(o, p, pidfd, monitor);
	return pid < 0 ? err_errno(err, r ? r : -errno, "cannot start a watcher") : 0;
}

static int undo(struct ops *o, const struct port *p)
{
	int r = o->st ? 0 : ops_open(o, STORE_WRITE, NULL);

	return r ? r : ops_ports_delete(o, p, 1, NULL);
}

int ops_port_while(struct ops *o, const struct port *p, int pidfd, struct err *err)
{
	_close_ int monitor = -1;
	int index, r;

	if (o->log.dry_run)
		return 0;
	r = link_index(o->host, p->ifname, &index, err);
	if (!r)
		r = monitor_link_end(index, &monitor, err);
	if (!r)
		r = start(o, p, pidfd, monitor, err);
	if (r)
		undo(o, p);
	return r;
}
