/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session's log: lines with a timestamp in DIRECTORY/NAME.log, which is kept below a size by
 * renaming it to NAME.log.1 and so on; and to the journal, with fields
 * (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/), when there is one.
 */
#ifndef BYWAY_SESSION_LOG_H
#define BYWAY_SESSION_LOG_H

#include <stdint.h>

struct err;
struct session_log;

enum log_source { LOG_FROM_BYWAY, LOG_FROM_OPENCONNECT, LOG_NUM_SOURCES };

/* Makes the directory (0750; an absolute path) and those above it when they are not there; the file
 * is 0640 and appended to. keep: files besides the one that is written; 0: what does not fit is
 * thrown away. */
int session_log_open(const char *directory, const char *name, uint64_t max_bytes, unsigned int keep,
		     struct session_log **ret, struct err *err);
void session_log_free(struct session_log *l);
/* One line, without its newline, cut when it is very long. Control characters become '?'. secret
 * (or NULL) never gets into it, nor as openconnect spells it in a form or in XML: in its place
 * stand asterisks. priority: of syslog(3). Failing to write is no error of the session's: it is
 * told once on stderr, and tried again with each line. */
void session_log_write(struct session_log *l, enum log_source from, int priority,
		       const char *secret, const char *line);
/* "DIRECTORY/NAME.log", as it was opened. */
const char *session_log_path(const struct session_log *l);

#endif
