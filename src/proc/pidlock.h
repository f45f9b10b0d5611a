/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which process runs a thing: the one that holds a lock on a file (fcntl(2)), as long as it lives.
 * The kernel tells who that is, and nobody has to try.
 */
#ifndef BYWAY_PROC_PIDLOCK_H
#define BYWAY_PROC_PIDLOCK_H

#include <stdbool.h>
#include <sys/types.h>

struct err;

/* Takes the lock; the file (0600), its folder and that one's (0700) are made when they are not
 * there. -EBUSY, without a sentence: another process has it. It goes with *ret_fd, and with any
 * other descriptor of the file that this process closes. Whoever removes the file does so while
 * it holds the lock. */
int pidlock_take(const char *path, int *ret_fd, struct err *err);
/* The process that holds the lock; 0: nobody, or there is no such file. Not for its holder. */
pid_t pidlock_holder(const char *path);
/* Whether its holder is stopped (SIGSTOP). */
bool pidlock_is_stopped(const char *path);
/* Nobody: done. */
void pidlock_signal(const char *path, int sig);
/* SIGTERM to the holder, then SIGKILL when it has not ended after grace_ms; returns when it has.
 * Nobody: done. */
int pidlock_end(const char *path, unsigned int grace_ms, struct err *err);

#endif
