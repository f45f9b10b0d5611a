// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Running a command inside a subnet or a session, as `ip netns exec` does (ip-netns(8)).
 *
 * A session's resolvers are its own: of the daemons that would ask the host's network on a
 * program's behalf, the sockets are out of sight behind empty file systems.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"
#include "ops/ops.h"
#include "ops/session.h"

#define ETC_NETNS "/etc/netns"

static int own_mounts(struct err *err)
{
	if (unshare(CLONE_NEWNS) || mount("", "/", "none", MS_SLAVE | MS_REC, NULL))
		return err_errno(err, -errno, "cannot make a mount namespace");
	return 0;
}

/* /sys shows the network devices of the namespace it was mounted in. */
static int remount_sys(struct err *err)
{
	if (umount2("/sys", MNT_DETACH) && errno != EINVAL)
		return err_errno(err, -errno, "cannot unmount /sys");
	if (mount("byway", "/sys", "sysfs", 0, NULL))
		return err_errno(err, -errno, "cannot mount /sys");
	return 0;
}

/* Folders with sockets of nscd(8), systemd-resolved(8), D-Bus (by which resolved is asked, too) and
 * avahi-daemon(8). */
static const char *const masks[] = {
	"/run/nscd", "/var/run/nscd", "/run/systemd/resolve", "/run/dbus", "/run/avahi-daemon",
};

static int mask_daemons(struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
		if (mount("byway", masks[i], "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
			  "mode=755,size=64k") &&
		    errno != ENOENT)
			return err_errno(err, -errno, "cannot hide %s", masks[i]);
	}
	return 0;
}

static bool is_masked(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
		size_t len = strlen(masks[i]);

		if (!strncmp(path, masks[i], len) && path[len] == '/')
			return true;
	}
	return false;
}

/* /etc/resolv.conf may be a link to a file of systemd-resolved's that is out of sight now: then
 * there is an empty one in its place, to be mounted over. */
static int make_target(const char *path)
{
	char link[PATH_MAX] = "";
	_free_ char *full = NULL, *copy = NULL, *dir = NULL, *target = NULL;
	_close_ int fd = -1;

	if (readlink(path, link, sizeof(link) - 1) < 0)
		return -errno;
	full = xasprintf("%s%s", *link == '/' ? "" : "/etc/", link);
	copy = xstrdup(full);
	dir = realpath(dirname(copy), NULL);
	if (!dir)
		return -errno;
	target = xasprintf("%s/%s", dir, basename(full));
	if (!is_masked(target))
		return -ENOENT;
	fd = open(target, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	return fd < 0 ? -errno : 0;
}

static int bind_over(const char *from, const char *to)
{
	if (!mount(from, to, "none", MS_BIND, NULL))
		return 0;
	if (errno != ENOENT || make_target(to))
		return -errno;
	return mount(from, to, "none", MS_BIND, NULL) ? -errno : 0;
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
		r = bind_over(from, to);
		if (r)
			err_errno(err, r, "cannot mount %s over %s", from, to);
	}
	closedir(d);
	return r;
}

static void say(struct oplog *log, const char *netns, char *const argv[])
{
	_buf_ struct buf words = {0};

	buf_add_words(&words, (const char *const *)argv);
	oplog_add(log, NULL, "ip netns exec %s %s", netns, words.data);
}

static int exec_in(struct ops *o, const char *netns, bool hide_daemons, char *const argv[],
		   struct err *err)
{
	_netns_ struct netns *ns = NULL;
	int r = netns_open(netns, &o->log, &ns, err);

	if (r)
		return r;
	say(&o->log, netns, argv);
	if (oplog_dry(&o->log))
		return 0;
	if (netns_enter(ns))
		r = err_errno(err, -errno, "cannot enter namespace %s", netns);
	if (!r)
		r = own_mounts(err);
	if (!r)
		r = remount_sys(err);
	if (!r && hide_daemons)
		r = mask_daemons(err);
	if (!r)
		r = bind_etc(netns, err);
	if (r)
		return r;
	ops_close(o);
	execvp(argv[0], argv);
	return err_set(err, errno == ENOENT ? ERR_NO_COMMAND : ERR_NOT_EXECUTABLE, -errno,
		       "cannot run %s: %s", argv[0], strerror(errno));
}

int ops_enter(const struct netns *ns, struct err *err)
{
	int r = netns_enter(ns) ? err_errno(err, -errno, "cannot enter namespace %s", ns->name) : 0;

	if (!r)
		r = own_mounts(err);
	if (!r)
		r = mask_daemons(err);
	return r ? r : bind_etc(ns->name, err);
}

int ops_exec(struct ops *o, const struct subnet *s, char *const argv[], struct err *err)
{
	return exec_in(o, s->netns, false, argv, err);
}

int ops_session_exec(struct ops *o, const char *name, char *const argv[], struct err *err)
{
	struct session s = {0};
	int r = session_load(o->st, name, &s, err);

	if (!r)
		r = exec_in(o, s.netns, true, argv, err);
	session_done(&s);
	return r;
}
