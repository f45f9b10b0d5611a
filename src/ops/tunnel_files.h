/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a tunnel's files are: what its process keeps, and others find it by.
 */
#ifndef BYWAY_OPS_TUNNEL_FILES_H
#define BYWAY_OPS_TUNNEL_FILES_H

struct err;

#define TUNNEL_PATH_LEN 512

/* Of the tunnel for a namespace; NULL: the host's. */
const char *tunnel_name(const char *netns);
void tunnel_path(const char *dir, const char *netns, const char *suffix, char ret[TUNNEL_PATH_LEN]);
/* What there is of them, and the folders, unless there is more in these. */
int tunnel_remove_files(const char *dir, const char *netns, struct err *err);
void tunnel_remove_dirs(const char *dir);

#endif
