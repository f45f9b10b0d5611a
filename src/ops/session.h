/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The use cases of sessions: what is made and taken away for them (session.c), and the process that
 * watches over those of one file (supervisor.c).
 *
 * A group's process holds DIR/GROUP.lock as long as it lives, listens at DIR/GROUP.sock, and writes
 * DIR/NAME.json whenever the state of one of its sessions changes.
 */
#ifndef BYWAY_OPS_SESSION_H
#define BYWAY_OPS_SESSION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "firewall/firewall.h"
#include "session/file.h"

struct err;
struct ops;

#define SESSION_DIR "/run/byway/session"

/* Makes what the sessions of a file need: rows, leases, namespaces, pairs, rules, files of /etc.
 * Sessions of the group that a process before left standing are taken over as they are; those that
 * the file does not name any more, or that are half-made, are taken away. ret: rows in the order of
 * f->sessions, freed by session_list_free(). -EEXIST (ERR_CONFLICT): another group has a session of
 * that name. */
int ops_session_prepare(struct ops *o, const struct session_file *f, struct session **ret,
			struct err *err);
/* Takes away all of that for n sessions, whatever state they are in; and the host's settings with
 * the last one. Nothing of openconnect may run any more outside of the sessions' namespaces. Goes
 * on after errors; returns the first. */
int ops_session_remove(struct ops *o, const struct session *s, size_t n, struct err *err);
/* Replaces this process by argv inside the session's namespace, with its files of /etc, and away
 * from daemons that would ask the host's network (nscd, systemd-resolved, D-Bus, avahi); returns on
 * failure only. -ENOENT: no such session. */
int ops_session_exec(struct ops *o, const char *name, char *const argv[], struct err *err);

#endif
