// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * A network namespace belongs to a thread. To make one, or to open sockets in one, a private
 * thread enters it, does that and ends; the rest of the process never notices. A socket keeps
 * working in the namespace it was created in, from any thread.
 *
 * Invariants:
 *  1. The namespace of the main thread never changes, but for netns_enter() before an exec.
 *  2. A namespace is marked (alias of lo) before its name appears under /run/netns.
 *
 * /run/netns is a mount point of its own with shared propagation, as ip-netns(8) makes it, so that
 * a namespace mounted there is seen, and unmounted, in every mount namespace derived from this one.
 */
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/util.h"
#include "kernel/closing.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"

#define SOCKET_BUFFER (1 << 20) /* room for the acks of a batch: the default drops them (ENOBUFS) */

struct job {
	int fd; /* namespace to enter, or -1 to make a new one */
	int (*fn)(void *);
	void *arg;
	int result;
};

static void *job_thread(void *p)
{
	struct job *job = p;
	int r = job->fd >= 0 ? setns(job->fd, CLONE_NEWNET) : unshare(CLONE_NEWNET);

	job->result = r ? -errno : job->fn(job->arg);
	return NULL;
}

#define STACK_SIZE (256 * 1024) /* the default's 8 MiB cost more to unmap than the job does */

static int run_job(int fd, int (*fn)(void *), void *arg)
{
	struct job job = {.fd = fd, .fn = fn, .arg = arg};
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	r = pthread_create(&thread, &attr, job_thread, &job);
	pthread_attr_destroy(&attr);
	if (r)
		return -r;
	pthread_join(thread, NULL);
	return job.result;
}

int netns_call(const struct netns *ns, int (*fn)(void *), void *arg)
{
	return run_job(ns->fd, fn, arg);
}

int netns_enter(const struct netns *ns)
{
	return setns(ns->fd, CLONE_NEWNET) ? -errno : 0;
}

static int open_socket(int bus, struct mnl_socket **ret)
{
	struct mnl_socket *nl = mnl_socket_open2(bus, SOCK_CLOEXEC);
	int size = SOCKET_BUFFER, on = 1;

	if (!nl)
		return -errno;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0) {
		int r = -errno;

		mnl_socket_close(nl);
		return r;
	}
	/* Both only improve things: old kernels have no extack, few users may force buffers. */
	mnl_socket_setsockopt(nl, NETLINK_EXT_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(nl, NETLINK_CAP_ACK, &on, sizeof(on));
	setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	*ret = nl;
	return 0;
}

static int open_sockets(void *p)
{
	struct netns *ns = p;
	int r = open_socket(NETLINK_ROUTE, &ns->rt);

	if (r)
		return r;
	r = open_socket(NETLINK_NETFILTER, &ns->nf);
	/* A kernel without netfilter: links and routes still work. */
	return r == -EPROTONOSUPPORT ? 0 : r;
}

static struct netns *handle_new(const char *name, struct oplog *log)
{
	struct netns *ns = xcalloc(1, sizeof(*ns));

	snprintf(ns->name, sizeof(ns->name), "%s", name ? name : "");
	ns->fd = -1;
	ns->log = log;
	return ns;
}

void netns_free(struct netns *ns)
{
	if (!ns)
		return;
	if (ns->rt)
		mnl_socket_close(ns->rt);
	if (ns->nf)
		mnl_socket_close(ns->nf);
	close_p(&ns->fd);
	free(ns);
}

void netns_leave(struct netns *ns)
{
	int fd = ns && ns->nf_deleted ? fcntl(mnl_socket_get_fd(ns->nf), F_DUPFD_CLOEXEC, 0) : -1;

	netns_free(ns);
	if (fd >= 0)
		close_later(fd);
}

void netns_free_p(struct netns **ns)
{
	netns_free(*ns);
}

static void path_of(const char *name, char path[NETNS_NAME_MAX + 16])
{
	snprintf(path, NETNS_NAME_MAX + 16, NETNS_DIR "/%s", name);
}

bool netns_exists(const char *name)
{
	char path[NETNS_NAME_MAX + 16];

	path_of(name, path);
	return access(path, F_OK) == 0;
}

/* enter: the namespace is another than ours. */
static int open_at(const char *path, const char *name, bool enter, struct oplog *log,
		   struct netns **ret, struct err *err)
{
	_netns_ struct netns *ns = handle_new(name, log);
	int r;

	ns->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (ns->fd < 0) {
		r = -errno;
		return err_errno(err, r, "cannot open network namespace %s", path);
	}
	r = enter ? run_job(ns->fd, open_sockets, ns) : open_sockets(ns);
	if (r == -EINVAL) /* setns(2) on what is no namespace: a name whose mount is gone */
		return err_set(err, ERR_NOT_FOUND, -ENOENT, "%s is not a network namespace", path);
	if (r)
		return err_errno(err, r, "cannot enter network namespace %s", path);
	*ret = TAKE_PTR(ns);
	return 0;
}

int netns_open(const char *name, struct oplog *log, struct netns **ret, struct err *err)
{
	char path[NETNS_NAME_MAX + 16] = "/proc/thread-self/ns/net";

	if (name)
		path_of(name, path);
	return open_at(path, name, name, log, ret, err);
}

int netns_open_path(const char *path, struct oplog *log, struct netns **ret, struct err *err)
{
	return open_at(path, path, true, log, ret, err);
}

/* Makes NETNS_DIR what ip-netns(8) wants it to be. */
static int prepare_dir(struct err *err)
{
	if (mkdir(NETNS_DIR, 0755) && errno != EEXIST)
		return err_errno(err, -errno, "cannot create " NETNS_DIR);
	if (!mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL))
		return 0;
	if (errno != EINVAL) /* EINVAL: not a mount point yet */
		return err_errno(err, -errno, "cannot share " NETNS_DIR);
	if (mount(NETNS_DIR, NETNS_DIR, "none", MS_BIND | MS_REC, NULL) ||
	    mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL))
		return err_errno(err, -errno, "cannot make " NETNS_DIR " a shared mount");
	return 0;
}

struct create {
	struct netns *ns;
	const char *mark, *path;
	const char *failed; /* what, for the message */
};

/* `ip link set lo alias MARK`, by hand: this file is below link.c. */
static int set_mark(struct netns *ns, const char *mark)
{
	char buf[512];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;
	ssize_t n;

	nlh->nlmsg_type = RTM_SETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	nlh->nlmsg_seq = ++ns->seq;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_index = 1; /* lo is the first device of every namespace */
	mnl_attr_put_str(nlh, IFLA_IFALIAS, mark);
	if (mnl_socket_sendto(ns->rt, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	n = mnl_socket_recvfrom(ns->rt, buf, sizeof(buf));
	if (n < 0 || mnl_cb_run(buf, (size_t)n, nlh->nlmsg_seq, mnl_socket_get_portid(ns->rt), NULL,
				NULL) < 0)
		return -errno;
	return 0;
}

/* The calling thread's, which is new. */
static int open_own(void *p)
{
	struct netns *ns = p;
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/task/%ld/ns/net", (long)syscall(SYS_gettid));
	ns->fd = open(self, O_RDONLY | O_CLOEXEC);
	return ns->fd < 0 ? -errno : open_sockets(ns);
}

static int create_inside(void *p)
{
	struct create *c = p;
	char self[64];
	int r;

	c->failed = "cannot open the new namespace";
	r = open_own(c->ns);
	if (r)
		return r;
	snprintf(self, sizeof(self), "/proc/self/task/%ld/ns/net", (long)syscall(SYS_gettid));
	c->failed = "cannot mark the new namespace";
	r = fault_point("netns mark");
	if (!r)
		r = set_mark(c->ns, c->mark);
	if (r)
		return r;
	c->failed = "cannot mount the new namespace";
	r = fault_point("netns mount");
	if (!r && mount(self, c->path, "none", MS_BIND, NULL))
		r = -errno;
	return r;
}

struct netns *netns_imagine(const char *name, struct oplog *log)
{
	return handle_new(name, log);
}

int netns_create(const char *name, const char *mark, struct oplog *log, struct netns **ret,
		 struct err *err)
{
	_netns_ struct netns *ns = handle_new(name, log);
	char path[NETNS_NAME_MAX + 16];
	struct create c = {.ns = ns, .mark = mark, .path = path, .failed = "cannot unshare"};
	int fd, r;

	oplog_add(log, NULL, "ip netns add %s", name);
	if (oplog_dry(log)) {
		*ret = TAKE_PTR(ns);
		return 0;
	}
	r = prepare_dir(err);
	if (r)
		return r;
	path_of(name, path);
	r = fault_point("netns file");
	if (r)
		return err_errno(err, r, "cannot create %s", path);
	fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(err, -errno, "cannot create %s", path);
	close(fd);
	r = run_job(-1, create_inside, &c);
	if (r) {
		unlink(path);
		if (r == -EINVAL && !strcmp(c.failed, "cannot unshare"))
			return err_set(err, ERR_UNSUPPORTED, -EOPNOTSUPP,
				       "the kernel has no network namespaces (CONFIG_NET_NS)");
		return err_errno(err, r, "network namespace %s: %s", name, c.failed);
	}
	*ret = TAKE_PTR(ns);
	return 0;
}

int netns_create_private(struct oplog *log, struct netns **ret, struct err *err)
{
	_netns_ struct netns *ns = handle_new(NULL, log);
	int r = run_job(-1, open_own, ns);

	if (r == -EINVAL)
		return err_set(err, ERR_UNSUPPORTED, -EOPNOTSUPP,
			       "the kernel has no network namespaces (CONFIG_NET_NS)");
	if (r)
		return err_errno(err, r, "cannot make a network namespace");
	*ret = TAKE_PTR(ns);
	return 0;
}

int netns_delete(const char *name, struct oplog *log, struct err *err)
{
	char path[NETNS_NAME_MAX + 16];
	int r;

	if (!netns_exists(name))
		return 0;
	oplog_add(log, NULL, "ip netns del %s", name);
	if (oplog_dry(log))
		return 0;
	path_of(name, path);
	r = fault_point("netns umount");
	if (!r && umount2(path, MNT_DETACH) && errno != EINVAL && errno != ENOENT)
		r = -errno; /* EINVAL: never mounted, a crash between open and mount */
	if (r)
		return err_errno(err, r, "cannot unmount %s", path);
	r = fault_point("netns unlink");
	if (!r && unlink(path) && errno != ENOENT)
		r = -errno;
	return r ? err_errno(err, r, "cannot remove %s", path) : 0;
}
