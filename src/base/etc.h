/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A namespace's own files of /etc: /etc/netns/NAME/resolv.conf and nsswitch.conf, which ip-netns(8)
 * and `byway exec` mount over /etc's. Their first line marks them as ours; a folder without it is
 * somebody else's and never touched.
 */
#ifndef BYWAY_BASE_ETC_H
#define BYWAY_BASE_ETC_H

struct buf;
struct err;

/* resolv: what resolv.conf says; by nsswitch.conf, names are looked up in files and by it alone.
 * Written in place (not renamed: mounts of them see the change). -EEXIST: the folder is somebody
 * else's. */
int etc_put(const char *netns, const struct buf *resolv, struct err *err);
/* Not ours or absent: done. */
int etc_remove(const char *netns, struct err *err);
/* Calls fn with the name of each namespace that has files of ours. */
int etc_each(int (*fn)(const char *netns, void *arg), void *arg, struct err *err);

#endif
