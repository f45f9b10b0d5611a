/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session's own files of /etc: /etc/netns/NAME/resolv.conf and nsswitch.conf, which ip-netns(8)
 * and `byway session exec` mount over /etc's. Their first line marks them as ours; a folder without
 * it is somebody else's and never touched.
 */
#ifndef BYWAY_SESSION_ETC_H
#define BYWAY_SESSION_ETC_H

struct err;
struct session_spec;
struct vpn;

/* vpn NULL: before there is a server's word. Written in place (not renamed: mounts of them see the
 * change). */
int etc_write(const char *netns, const struct session_spec *spec, const struct vpn *vpn,
	      struct err *err);
/* Not ours or absent: done. */
int etc_remove(const char *netns, struct err *err);
/* Calls fn with the name of each namespace that has files of ours. */
int etc_each(int (*fn)(const char *netns, void *arg), void *arg, struct err *err);

#endif
