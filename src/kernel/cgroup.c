// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/err.h"
#include "base/util.h"
#include "kernel/cgroup.h"

#define NFT_ROOT "/sys/fs/cgroup" /* compiled into nft(8) */

static bool is_hierarchy(const struct mntent *m)
{
	struct statfs fs;

	/* A mount may be hidden by a later one. */
	return !strcmp(m->mnt_type, "cgroup2") && !statfs(m->mnt_dir, &fs) &&
	       fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* Where version 2 is: /sys/fs/cgroup, or, beside version 1, a folder in it. */
static int find_mount(char ret[PATH_MAX], struct err *err)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	const struct mntent *m;
	bool found = false;

	while (f && !found && (m = getmntent(f)))
		found = is_hierarchy(m) && !str_copy(ret, PATH_MAX, m->mnt_dir);
	if (f)
		endmntent(f);
	return found ? 0
		     : err_set(err, ERR_UNSUPPORTED, -EOPNOTSUPP,
			       "cgroups of version 2 are not mounted (mount -t cgroup2)");
}

/* The part of path behind the folder, or NULL when it is not in it; "" for the folder itself. */
static const char *below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	if (strncmp(path, folder, len) || (path[len] && path[len] != '/'))
		return NULL;
	return path + len + strspn(path + len, "/");
}

static unsigned int level_of(const char *path)
{
	unsigned int n = 1;

	while ((path = strchr(path, '/'))) {
		path++;
		n++;
	}
	return n;
}

static int describe(const char *mount, const char *full, const struct stat *st, struct cgroup *ret,
		    struct err *err)
{
	const char *path = below(full, mount), *nft_path = below(full, NFT_ROOT);
	struct cgroup c = {.id = st->st_ino};

	if (!*path)
		return err_set(err, ERR_USAGE, -EINVAL,
			       "the root cgroup has every process in it: leave it out");
	if (str_copy(c.path, sizeof(c.path), path) ||
	    str_copy(c.nft_path, sizeof(c.nft_path), nft_path ? nft_path : ""))
		return err_set(err, ERR_USAGE, -ENAMETOOLONG,
			       "the cgroup's path is longer than %d bytes", CGROUP_PATH_MAX - 1);
	if (strpbrk(path, "\" \t\n"))
		return err_set(err, ERR_USAGE, -EINVAL,
			       "the cgroup '%s' has a blank or a quotation mark in its name", path);
	c.level = level_of(c.path);
	*ret = c;
	return 0;
}

int cgroup_find(const char *text, struct cgroup *ret, struct err *err)
{
	char mount[PATH_MAX], joined[2 * PATH_MAX], full[PATH_MAX];
	const char *path;
	struct stat st;
	int r = find_mount(mount, err);

	if (r)
		return r;
	path = below(text, mount);
	snprintf(joined, sizeof(joined), "%s/%s", mount, path ? path : text);
	if (!realpath(joined, full) || !below(full, mount) || stat(full, &st) || !S_ISDIR(st.st_mode))
		return err_set(err, ERR_NOT_FOUND, -ENOENT, "there is no cgroup '%s' in %s", text,
			       mount);
	return describe(mount, full, &st, ret, err);
}
