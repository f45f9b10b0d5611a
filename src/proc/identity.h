/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which process is meant, after it has ended as well: its number, and when it started, because
 * numbers are used again.
 */
#ifndef BYWAY_PROC_IDENTITY_H
#define BYWAY_PROC_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

struct identity {
	pid_t pid;      /* 0: none */
	uint64_t start; /* clock ticks after boot: proc_pid_stat(5), starttime */
};

/* Of a process that runs; *ret_fd is its pidfd, readable once it has ended (pidfd_open(2)). -ESRCH
 * (ERR_NOT_FOUND) when there is none of the number. */
int identity_open(pid_t pid, struct identity *ret, int *ret_fd, struct err *err);
/* Whether that process still runs. */
bool identity_alive(const struct identity *p);

#endif
