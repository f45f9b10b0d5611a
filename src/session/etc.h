/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a session's own files of /etc say (base/etc.h). */
#ifndef BYWAY_SESSION_ETC_H
#define BYWAY_SESSION_ETC_H

struct err;
struct session_spec;
struct vpn;

/* vpn NULL: before there is a server's word. As etc_put(). */
int etc_write(const char *netns, const struct session_spec *spec, const struct vpn *vpn,
	      struct err *err);

#endif
