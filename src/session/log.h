/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session's log: lines with a timestamp in DIRECTORY/NAME.log, which is kept below a size by
 * renaming it to NAME.log.1 and so on; and to the journal, with fields
 * (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/), when there is one.
 */
#ifndef BYWAY_SESSION_LOG_H
#define BYWAY_SESSION_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

struct err;
struct session_log;

enum log_source { LOG_FROM_BYWAY, LOG_FROM_OPENCONNECT };

/* Makes the directory (0750) when it is not there; the file is 0640 and appended to. */
int session_log_open(const char *directory, const char *name, uint64_t max_bytes, unsigned int keep,
		     struct session_log **ret, struct err *err);
void session_log_free(struct session_log *l);
/* One line. Control characters become '?'. secret (or NULL) never gets into it: in its place stand
 * asterisks. priority: of syslog(3). Failing to write is not an error of the session's: told once
 * on stderr. */
void session_log_write(struct session_log *l, enum log_source from, int priority,
		       const char *secret, const char *line);
/* "DIRECTORY/NAME.log", as it was opened. */
const char *session_log_path(const struct session_log *l);

#endif
