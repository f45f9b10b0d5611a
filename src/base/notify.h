/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a Type=notify unit tells its service manager: sd_notify(3), which is one datagram. */
#ifndef BYWAY_BASE_NOTIFY_H
#define BYWAY_BASE_NOTIFY_H

/* state: assignments, one a line: "READY=1\nSTATUS=64 of 64 up". Goes to $NOTIFY_SOCKET, and
 * nowhere when there is none. A manager that does not listen is waited for a second at most. */
void notify_manager(const char *state);

#endif
