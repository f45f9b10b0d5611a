/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lock that makes changing commands take turns: flock(2) on DIR/lock, which holds the PID of
 * whoever has it. The kernel drops it with its holder. Internal to store/.
 */
#ifndef BYWAY_STORE_LOCK_H
#define BYWAY_STORE_LOCK_H

struct err;

/* Waits at most timeout_ms, then -EBUSY. A signal handler that runs meanwhile does not end the
 * wait. The lock is held until *ret_fd is closed. */
int lock_take(const char *dir, unsigned int timeout_ms, int *ret_fd, struct err *err);

#endif
