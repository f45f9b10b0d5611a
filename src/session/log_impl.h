/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests, which bring a journal of their own. */
#ifndef BYWAY_SESSION_LOG_IMPL_H
#define BYWAY_SESSION_LOG_IMPL_H

struct session_log;

/* path: of the socket, instead of journald's; borrowed. */
void session_log_set_journal(struct session_log *l, const char *path);

#endif
