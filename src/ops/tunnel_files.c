// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "ops/tunnel.h"
#include "ops/tunnel_files.h"

const char *tunnel_name(const char *netns)
{
	return netns ? netns : TUNNEL_HOST_NAME;
}

void tunnel_path(const char *dir, const char *netns, const char *suffix, char ret[TUNNEL_PATH_LEN])
{
	snprintf(ret, TUNNEL_PATH_LEN, "%s/%s%s", dir, tunnel_name(netns), suffix);
}

void tunnel_remove_dirs(const char *dir)
{
	rmdir(dir); /* unless there is more in it */
	if (!strcmp(dir, TUNNEL_DIR))
		rmdir("/run/byway");
}

/* The lock last: by it the others are found. */
int tunnel_remove_files(const char *dir, const char *netns, struct err *err)
{
	static const char *const suffixes[] = {".json", ".json.tmp", ".lock"};
	char path[TUNNEL_PATH_LEN];

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		int r = fault_point("remove a file of the tunnel");

		tunnel_path(dir, netns, suffixes[i], path);
		if (!r && unlink(path) && errno != ENOENT)
			r = -errno;
		if (r)
			return err_errno(err, r, "cannot remove %s", path);
	}
	tunnel_remove_dirs(dir);
	return 0;
}
