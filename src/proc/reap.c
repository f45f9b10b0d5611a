// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/util.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"
#include "proc/reap.h"

struct nsid {
	dev_t dev;
	ino_t ino;
};

static int by_id(const void *a, const void *b)
{
	const struct nsid *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->dev < y->dev ? -1 : x->dev > y->dev;
}

static int id_of(const char *path, struct nsid *ret)
{
	struct stat st;

	if (stat(path, &st))
		return -errno;
	*ret = (struct nsid){.dev = st.st_dev, .ino = st.st_ino};
	return 0;
}

/* The namespaces' identities, sorted; without those that are gone and without our own. */
static size_t collect_ids(const char *const names[], size_t n, struct nsid *ids)
{
	struct nsid own = {0};
	size_t count = 0;

	id_of("/proc/self/ns/net", &own);
	for (size_t i = 0; i < n; i++) {
		char path[NETNS_NAME_MAX + 16];

		snprintf(path, sizeof(path), NETNS_DIR "/%s", names[i]);
		if (!id_of(path, &ids[count]) && by_id(&ids[count], &own))
			count++;
	}
	qsort(ids, count, sizeof(*ids), by_id);
	return count;
}

struct victims {
	struct pollfd *fds; /* pidfds */
	pid_t *pids;
	size_t n, cap;
};

static void victims_done(struct victims *v)
{
	for (size_t i = 0; i < v->n; i++)
		close_p(&v->fds[i].fd);
	free(v->fds);
	free(v->pids);
}

static bool lives_in(pid_t pid, const struct nsid *ids, size_t n)
{
	struct nsid id = {0};
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	return !id_of(path, &id) && bsearch(&id, ids, n, sizeof(id), by_id);
}

static void add_victim(struct victims *v, pid_t pid, const struct nsid *ids, size_t n)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return; /* gone already */
	/* Looked at again: the descriptor may be that of a later process with the same number. */
	if (!lives_in(pid, ids, n)) {
		close(fd);
		return;
	}
	if (v->n == v->cap) {
		v->cap = v->cap * 2 + 8;
		v->fds = xrealloc(v->fds, v->cap, sizeof(*v->fds));
		v->pids = xrealloc(v->pids, v->cap, sizeof(*v->pids));
	}
	v->pids[v->n] = pid;
	v->fds[v->n++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static int find_victims(struct victims *v, const struct nsid *ids, size_t n)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	if (!proc)
		return -errno;
	while ((entry = readdir(proc))) {
		pid_t pid = atoi(entry->d_name);

		if (pid > 0 && pid != getpid() && lives_in(pid, ids, n))
			add_victim(v, pid, ids, n);
	}
	closedir(proc);
	return 0;
}

/* Waits for all to end, at most until the deadline; a pidfd is readable once its process is
 * dead. */
static size_t wait_victims(struct victims *v, uint64_t deadline_ms)
{
	for (;;) {
		uint64_t now = clock_ms();
		int left = now < deadline_ms ? (int)(deadline_ms - now) : 0;
		size_t alive = 0;

		if (poll(v->fds, v->n, left) < 0 && errno != EINTR)
			return v->n;
		for (size_t i = 0; i < v->n; i++) {
			if (v->fds[i].revents)
				close(TAKE_FD(v->fds[i].fd));
			alive += v->fds[i].fd >= 0;
			v->fds[i].revents = 0;
		}
		if (!alive || !left)
			return alive;
	}
}

static void signal_victims(const struct victims *v, int sig, struct oplog *log)
{
	for (size_t i = 0; i < v->n; i++) {
		if (v->fds[i].fd < 0)
			continue;
		oplog_add(log, NULL, "kill -%s %d", sig == SIGKILL ? "KILL" : "TERM", (int)v->pids[i]);
		if (!oplog_dry(log))
			syscall(SYS_pidfd_send_signal, v->fds[i].fd, sig, NULL, 0);
	}
}

#define ROUNDS 5 /* what is being signalled may fork meanwhile */

int reap_netns(const char *const names[], size_t n, unsigned int grace_ms, struct oplog *log,
	       struct err *err)
{
	_free_ struct nsid *ids = xcalloc(n + 1, sizeof(*ids));
	size_t n_ids = collect_ids(names, n, ids);
	uint64_t deadline_ms = clock_ms() + grace_ms;
	int r = n_ids ? fault_point("reap") : 0;

	for (int round = 0; n_ids && !r && round < ROUNDS; round++) {
		_cleanup_(victims_done) struct victims v = {0};

		r = find_victims(&v, ids, n_ids);
		if (r || !v.n)
			break;
		signal_victims(&v, SIGTERM, log);
		if (oplog_dry(log))
			break;
		if (!wait_victims(&v, deadline_ms))
			continue;
		signal_victims(&v, SIGKILL, log);
		wait_victims(&v, clock_ms() + REAP_GRACE_MS);
	}
	return r ? err_errno(err, r, "cannot stop what runs in the namespaces") : 0;
}
