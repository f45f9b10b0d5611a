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
#include "ops/ops.h"
#include "session/file.h"

struct err;
struct ip;

#define SESSION_DIR "/run/byway/session"

/* Makes what the sessions of a file need: rows, leases, namespaces, pairs, rules, files of /etc.
 * Sessions of the group that a process before left standing are taken over as they are; those that
 * the file does not name any more, or that are half-made, are taken away. ret: rows in the order of
 * f->sessions, freed by session_list_free(). -EEXIST (ERR_CONFLICT): another group has a session of
 * that name.
 *
 * made (or NULL) is called with the rows and the index of each session as soon as all of its own is
 * there, in order; the rows stay where they are. When it fails, or anything after it, all is
 * undone, and what runs in the sessions' namespaces is ended. */
typedef int (*session_made_fn)(void *arg, struct session *rows, size_t i, struct err *err);
int ops_session_prepare(struct ops *o, const struct session_file *f, session_made_fn made,
			void *arg, struct session **ret, struct err *err);
/* Takes away all of that for n sessions, whatever state they are in; and the host's settings with
 * the last one. Nothing of openconnect may run any more outside of the sessions' namespaces. Goes
 * on after errors; returns the first. */
int ops_session_remove(struct ops *o, const struct session *s, size_t n, struct err *err);
/* Replaces this process by argv inside the session's namespace, with its files of /etc, and away
 * from daemons that would ask the host's network (nscd, systemd-resolved, D-Bus, avahi); returns on
 * failure, and 0 after a dry run. -ENOENT: no such session. */
int ops_session_exec(struct ops *o, const char *name, char *const argv[], struct err *err);

/* ---- The process of a group (supervisor.c) ---- */

struct connect_addrs;
struct watch;

struct supervise_config {
	const struct session_file *file;
	const char *self; /* byway's own path, for openconnect's --script */
	enum fw_backend_id backend;
	bool verbose;
	/* Asks for the addresses of servers, from sessions' own outer namespaces (session/server.h);
	 * NULL: the host's resolver does. */
	void (*resolve)(const char *name, struct connect_addrs *ret);
	unsigned int settle_ms; /* for all sessions to be up, until settled() is called anyway */
	/* Or NULL. What the sessions need is there; the state is still open. On failure it is all
	 * taken away again. */
	int (*made)(void *arg, struct ops *o, const struct session *rows, struct err *err);
	/* Or NULL: a session's state has changed, or what its server said. */
	void (*news)(void *arg, const struct watch *w);
	/* Everything that the sessions need is there, and they begin to start. */
	void (*begun)(void *arg);
	/* All are up (code 0), or some are not and have been given up, or it took too long: which
	 * and why. Once. */
	void (*settled)(void *arg, const struct err *result);
	void *arg;
};

/* Makes what the sessions need and watches over them until SIGTERM, SIGINT or SIGHUP, then takes
 * all of it away. Ignores SIGPIPE. -EBUSY (ERR_CONFLICT): that is being done already. */
int ops_session_supervise(const struct supervise_config *c, struct err *err);

/* ---- From outside (session_ask.c) ---- */

/* An array of objects, byway.session/1: of the session or the group of that name, NULL for all; a
 * new reference. -ENOENT: none has that name. */
int ops_session_status(const char *name, json_t **ret, struct err *err);
/* Starts its openconnect anew, now, whatever it was waiting for; its account's failures are
 * forgiven. */
int ops_session_restart(const char *name, struct err *err);
/* Asks through its tunnel: ERR_UNREACHABLE when nothing comes back. */
int ops_session_check(const char *name, struct err *err);
/* What openconnect's script is: hands its environment to the process that watches over it. */
int ops_session_hook(struct err *err);
/* Ends and takes away sessions: of one name, of a group, of a file (which may be gone), or all
 * (NULL). ret_n: how many there were; none is no error. */
int ops_session_down(struct ops *o, const char *what, size_t *ret_n, struct err *err);
/* The file that a session's log is written to; freed by the caller. */
int ops_session_log_path(const char *name, char **ret, struct err *err);

/* ---- Shared by the files of this folder. ---- */

#define SESSION_PATH_MAX 128
/* SESSION_DIR/NAME and a suffix (".lock", ".sock", ".json"); name is a group's or a session's. */
const char *session_path(const char *name, const char *suffix, char buf[SESSION_PATH_MAX]);
/* A group's socket and lock, by which it is found, and the folder unless there is more in it. The
 * caller holds the lock. */
int session_remove_files(const char *group, struct err *err);

/* The table of all sessions in the state, but for those that are being deleted. */
ops_table_fn ops_session_rules;
/* Removes them, whichever backend made them: for when the state does not know. */
int ops_session_rules_remove(struct ops *o, struct err *err);

#endif
