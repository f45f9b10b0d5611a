/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control groups of version 2 (https://docs.kernel.org/admin-guide/cgroup-v2.html), as the firewall
 * knows them. */
#ifndef BYWAY_KERNEL_CGROUP_H
#define BYWAY_KERNEL_CGROUP_H

#include <stdint.h>

struct err;

#define CGROUP_PATH_MAX 512 /* linux/netfilter/xt_cgroup.h, XT_CGROUP_PATH_LEN */

struct cgroup {
	char path[CGROUP_PATH_MAX];     /* from the root of the hierarchy; no slash at either end */
	char nft_path[CGROUP_PATH_MAX]; /* from /sys/fs/cgroup, where nft(8) looks; "": not below */
	unsigned int level;             /* 1 for the children of the root */
	uint64_t id;                    /* lives as long as the cgroup, not as its name */
};

/* text: a path in the file system, or from the root of the hierarchy, with or without a slash in
 * front, as systemctl(1) shows a unit's ControlGroup. ERR_NOT_FOUND; ERR_USAGE for the root, which
 * all are in; ERR_UNSUPPORTED when the hierarchy is not mounted. */
int cgroup_find(const char *text, struct cgroup *ret, struct err *err);

#endif
