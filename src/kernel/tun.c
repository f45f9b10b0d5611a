// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/util.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"
#include "kernel/tun.h"

/* Linux 6.2; older kernels refuse what they do not know, and headers may be older than the
 * kernel. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define OFFLOADS (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)

struct opening {
	const char *name;
	const char *kind;   /* for the messages */
	unsigned int flags; /* of TUNSETIFF */
	size_t n_queues;
	int *fds;
	const char *failed; /* what, for the message */
};

static int set_offloads(int fd)
{
	if (!ioctl(fd, TUNSETOFFLOAD, (unsigned long)(OFFLOADS | TUN_F_USO4 | TUN_F_USO6)))
		return 0;
	if (errno == EINVAL && !ioctl(fd, TUNSETOFFLOAD, (unsigned long)OFFLOADS))
		return 0;
	return -errno;
}

/* The first queue makes the device, and must not find one; the others join it. */
static int attach(const struct opening *o, int fd, size_t nth)
{
	struct ifreq ifr = {0};
	unsigned int flags = o->flags | IFF_NO_PI | IFF_VNET_HDR;

	if (nth == 0)
		flags |= IFF_TUN_EXCL;
	ifr.ifr_flags = (short)flags;
	memcpy(ifr.ifr_name, o->name, strlen(o->name) + 1);
	if (!ioctl(fd, TUNSETIFF, &ifr))
		return 0;
	/* A device of that name which is no TUN is EINVAL; one that is, EBUSY. */
	return nth == 0 && (errno == EBUSY || (errno == EINVAL && if_nametoindex(o->name))) ? -EEXIST
											  : -errno;
}

static int open_queue(struct opening *o, size_t nth)
{
	_close_ int fd = -1;
	int r = fault_point("tun open");

	o->failed = "cannot open /dev/net/tun";
	if (!r)
		fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return r ? r : -errno;
	o->failed = "cannot make the device";
	r = fault_point("tun attach");
	if (!r)
		r = attach(o, fd, nth);
	if (!r)
		o->fds[nth] = TAKE_FD(fd);
	return r;
}

/* What the engine reads and writes. */
static int set_format(struct opening *o, int fd)
{
	int size = TUN_HEADER;

	o->failed = "cannot set the length of its packet header";
	if (ioctl(fd, TUNSETVNETHDRSZ, &size))
		return -errno;
	o->failed = "cannot set its offloads";
	return set_offloads(fd);
}

static int open_inside(void *arg)
{
	struct opening *o = arg;
	int r = 0;

	for (size_t i = 0; i < o->n_queues && !r; i++) {
		r = open_queue(o, i);
		if (!r && o->flags & IFF_TUN)
			r = set_format(o, o->fds[i]);
	}
	return r;
}

static int explain(const struct opening *o, int r, struct err *err)
{
	if (r == -EEXIST)
		return err_set(err, ERR_CONFLICT, r, "interface %s exists already", o->name);
	if (r == -ENOENT || r == -ENXIO || r == -ENODEV)
		return err_set(err, ERR_UNSUPPORTED, r, "%s: %s (CONFIG_TUN)", o->failed,
			       strerror(-r));
	if (r == -E2BIG)
		return err_set(err, ERR_FAILED, r,
			       "%s device %s: the kernel has no %zu queues for it", o->kind,
			       o->name, o->n_queues);
	return err_errno(err, r, "%s device %s: %s", o->kind, o->name, o->failed);
}

/* The device is made in the namespace of the thread that asks; entering one's own takes
 * CAP_SYS_ADMIN, as entering any other does. */
static int open_device(struct netns *ns, struct opening *o, struct err *err)
{
	int r;

	for (size_t i = 0; i < o->n_queues; i++)
		o->fds[i] = -1;
	if (oplog_dry(ns->log))
		return 0;
	r = *ns->name ? netns_call(ns, open_inside, o) : open_inside(o);
	if (!r)
		return 0;
	for (size_t i = 0; i < o->n_queues; i++) {
		close_p(&o->fds[i]);
		o->fds[i] = -1;
	}
	return explain(o, r, err);
}

int tun_open(struct netns *ns, const char *name, size_t n_queues, int fds[], struct err *err)
{
	struct opening o = {.name = name,
			    .kind = "TUN",
			    .flags = IFF_TUN | (n_queues > 1 ? IFF_MULTI_QUEUE : 0),
			    .n_queues = n_queues,
			    .fds = fds,
			    .failed = "cannot enter its namespace"};

	if (!*name || strlen(name) >= IFNAMSIZ || strpbrk(name, "/% \t\n"))
		return err_set(err, ERR_USAGE, -EINVAL, "'%s' is no name for an interface", name);
	oplog_add(ns->log, ns->name, "ip tuntap add dev %s mode tun vnet_hdr%s", name,
		  n_queues > 1 ? " multi_queue" : "");
	return open_device(ns, &o, err);
}

/* " user 1000 group 1000" */
static const char *owner_words(const struct tap_spec *spec, char ret[64])
{
	int n = 0;

	*ret = '\0';
	if (spec->uid != (uid_t)-1)
		n = snprintf(ret, 64, " user %lu", (unsigned long)spec->uid);
	if (spec->gid != (gid_t)-1)
		snprintf(ret + n, 64 - (size_t)n, " group %lu", (unsigned long)spec->gid);
	return ret;
}

static int give_to(int fd, const struct tap_spec *spec)
{
	int r = fault_point("tap owner");

	if (!r && spec->uid != (uid_t)-1 && ioctl(fd, TUNSETOWNER, (unsigned long)spec->uid))
		r = -errno;
	if (!r && spec->gid != (gid_t)-1 && ioctl(fd, TUNSETGROUP, (unsigned long)spec->gid))
		r = -errno;
	return r;
}

int tap_open(struct netns *ns, const struct tap_spec *spec, int *ret_fd, struct err *err)
{
	_close_ int fd = -1;
	struct opening o = {.name = spec->name,
			    .kind = "TAP",
			    .flags = IFF_TAP | (spec->multi_queue ? IFF_MULTI_QUEUE : 0),
			    .n_queues = 1,
			    .fds = &fd,
			    .failed = "cannot enter its namespace"};
	char owner[64];
	int r;

	oplog_add(ns->log, ns->name, "ip tuntap add dev %s mode tap%s vnet_hdr%s", spec->name,
		  owner_words(spec, owner), spec->multi_queue ? " multi_queue" : "");
	r = open_device(ns, &o, err);
	if (r || oplog_dry(ns->log))
		return r;
	r = give_to(fd, spec);
	if (!r)
		*ret_fd = TAKE_FD(fd);
	return r ? err_errno(err, r, "TAP device %s: cannot give it to its owner", spec->name) : 0;
}

int tap_persist(struct netns *ns, const char *name, int fd, struct err *err)
{
	int r = oplog_dry(ns->log) ? 0 : fault_point("tap persist");

	if (!r && !oplog_dry(ns->log) && ioctl(fd, TUNSETPERSIST, 1))
		r = -errno;
	return r ? err_errno(err, r, "TAP device %s: cannot make it persistent", name) : 0;
}

/* Documentation/admin-guide/devices.txt */
#define TUN_MAJOR 10
#define TUN_MINOR 200

static bool has_name(int fd, const char *name)
{
	struct ifreq ifr = {0};

	return !ioctl(fd, TUNGETIFF, &ifr) && !strncmp(ifr.ifr_name, name, IFNAMSIZ);
}

/* Descriptor nth of the process, if it is NAME's, into *ret. */
static int take_descriptor(int pidfd, const char *dir, const char *nth, const char *name, int *ret)
{
	_free_ char *path = xasprintf("%s/%s", dir, nth);
	_close_ int fd = -1;
	struct stat st;

	if (stat(path, &st) || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(TUN_MAJOR, TUN_MINOR))
		return 0;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(nth), 0);
	if (fd < 0)
		return errno == EBADF ? 0 : -errno; /* closed meanwhile */
	if (has_name(fd, name))
		*ret = TAKE_FD(fd);
	return 0;
}

static int find_descriptor(int pidfd, pid_t pid, const char *name, int *ret)
{
	_free_ char *dir = xasprintf("/proc/%ld/fd", (long)pid);
	DIR *d = opendir(dir);
	const struct dirent *e;
	int r = 0;

	if (!d)
		return errno == ENOENT ? -ESRCH : -errno;
	while (!r && *ret < 0 && (e = readdir(d)))
		r = take_descriptor(pidfd, dir, e->d_name, name, ret);
	closedir(d);
	return r ? r : *ret < 0 ? -ENODEV : 0;
}

static int persist(pid_t pid, const char *name)
{
	_close_ int pidfd = -1, fd = -1;
	int r = fault_point("tun persist");

	if (r)
		return r;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return -errno;
	r = find_descriptor(pidfd, pid, name, &fd);
	if (!r && ioctl(fd, TUNSETPERSIST, 1))
		r = -errno;
	return r;
}

int tun_persist(struct netns *ns, const char *name, pid_t pid, struct err *err)
{
	int r;

	oplog_add(ns->log, ns->name, "ip tuntap add dev %s mode tun", name);
	if (oplog_dry(ns->log))
		return 0;
	r = persist(pid, name);
	if (r == -ENODEV || r == -ESRCH)
		return err_set(err, ERR_FAILED, r, "process %ld has no TUN device %s", (long)pid,
			       name);
	if (r == -ENOSYS)
		return err_set(err, ERR_UNSUPPORTED, r,
			       "the kernel lacks pidfd_getfd(2), which came with Linux 5.6");
	return r ? err_errno(err, r, "TUN device %s: cannot make it persistent", name) : 0;
}

/* TUNSETIFF makes what it does not find. That is not persistent, and goes when it is closed. */
static int attach_to(int fd, const char *name, int more)
{
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | more)};

	memcpy(ifr.ifr_name, name, strlen(name) + 1);
	if (ioctl(fd, TUNSETIFF, &ifr) || ioctl(fd, TUNGETIFF, &ifr))
		return -errno;
	return ifr.ifr_flags & IFF_PERSIST ? 0 : -ENODEV;
}

static int attach_tap(const char *name, int *ret_fd)
{
	_close_ int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int size = TUN_HEADER, r;

	if (fd < 0)
		return -errno;
	r = attach_to(fd, name, 0);
	if (r == -EINVAL) /* one of several queues has to be asked for as such */
		r = attach_to(fd, name, IFF_MULTI_QUEUE);
	if (!r && (ioctl(fd, TUNSETVNETHDRSZ, &size) || ioctl(fd, TUNSETOFFLOAD, 0UL)))
		r = -errno;
	if (!r)
		*ret_fd = TAKE_FD(fd);
	return r;
}

int tap_attach(const char *name, int *ret_fd, struct err *err)
{
	int r = strlen(name) < IFNAMSIZ && if_nametoindex(name) ? attach_tap(name, ret_fd) : -ENODEV;

	switch (r) {
	case 0:
		return 0;
	case -ENODEV:
		return err_set(err, ERR_NOT_FOUND, r, "there is no TAP device '%s'", name);
	case -EBUSY:
		return err_set(err, ERR_CONFLICT, r, "TAP device %s is open already, as often as it "
						     "may be", name);
	case -EINVAL:
		return err_set(err, ERR_CONFLICT, r, "interface %s is no TAP device", name);
	default:
		return err_errno(err, r, "cannot open TAP device %s", name);
	}
}
