/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ending what runs in network namespaces that are about to go. */
#ifndef BYWAY_PROC_REAP_H
#define BYWAY_PROC_REAP_H

#include <stddef.h>

struct err;
struct oplog;

#define REAP_GRACE_MS 3000

/* Sends SIGTERM to every process whose network namespace is one of names (under /run/netns), waits
 * until they are gone or the grace is over, then sends SIGKILL. Signals go through pidfds: a PID
 * that is reused is never hit. The caller itself and its own namespace are left alone. */
int reap_netns(const char *const names[], size_t n, unsigned int grace_ms, struct oplog *log,
	       struct err *err);

#endif
