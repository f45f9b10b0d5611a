// SPDX-License-Identifier: GPL-2.0-or-later
/* Running a command inside a subnet, as `ip netns exec` does (ip-netns(8)). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "kernel/netns.h"
#include "ops/ops.h"

#define ETC_NETNS "/etc/netns"

/* /sys shows the network devices of the namespace it was mounted in. */
static int remount_sys(struct err *err)
{
	if (unshare(CLONE_NEWNS) || mount("", "/", "none", MS_SLAVE | MS_REC, NULL))
		return err_errno(err, -errno, "cannot make a mount namespace");
	if (umount2("/sys", MNT_DETACH) && errno != EINVAL)
		return err_errno(err, -errno, "cannot unmount /sys");
	if (mount("byway", "/sys", "sysfs", 0, NULL))
		return err_errno(err, -errno, "cannot mount /sys");
	return 0;
}

/* Each file of /etc/netns/NAME in the place of its namesake in /etc. */
static int bind_etc(const char *netns, struct err *err)
{
	char dir[NETNS_NAME_MAX + 16];
	struct dirent *e;
	int r = 0;
	DIR *d;

	snprintf(dir, sizeof(dir), ETC_NETNS "/%s", netns);
	d = opendir(dir);
	if (!d)
		return errno == ENOENT ? 0 : err_errno(err, -errno, "cannot read %s", dir);
	while (!r && (e = readdir(d))) {
		char from[sizeof(dir) + 256], to[272];

		if (e->d_name[0] == '.')
			continue;
		snprintf(from, sizeof(from), "%s/%s", dir, e->d_name);
		snprintf(to, sizeof(to), "/etc/%s", e->d_name);
		if (mount(from, to, "none", MS_BIND, NULL))
			r = err_errno(err, -errno, "cannot mount %s over %s", from, to);
	}
	closedir(d);
	return r;
}

int ops_exec(struct ops *o, const struct subnet *s, char *const argv[], struct err *err)
{
	_netns_ struct netns *ns = NULL;
	int r = netns_open(s->netns, &o->log, &ns, err);

	if (!r && netns_enter(ns))
		r = err_errno(err, -errno, "cannot enter namespace %s", s->netns);
	if (!r)
		r = remount_sys(err);
	if (!r)
		r = bind_etc(s->netns, err);
	if (r)
		return r;
	ops_close(o);
	execvp(argv[0], argv);
	return err_set(err, errno == ENOENT ? ERR_NO_COMMAND : ERR_NOT_EXECUTABLE, -errno,
		       "cannot run %s: %s", argv[0], strerror(errno));
}
