/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Giving up what is not needed any more, before bytes from outside are read.
 */
#ifndef BYWAY_KERNEL_SANDBOX_H
#define BYWAY_KERNEL_SANDBOX_H

#include <stddef.h>

struct err;

/* Keeps these capabilities (CAP_*) of those that the calling thread has, and no others; threads
 * started afterwards inherit that. */
int sandbox_keep_caps(const int caps[], size_t n, struct err *err);
/* For good: root becomes the user and group 65534, in no other group, without capabilities; nothing
 * that is executed from here on gets any back. Who is not root stays who they are. Before any
 * thread starts. */
int sandbox_become_nobody(struct err *err);
/* From now on the calling thread may make these system calls (__NR_*) and no others: another one
 * ends the process (seccomp(2)), but for opening a file, which fails with EACCES, because the C
 * library tries that of itself. Sets no_new_privs. */
int sandbox_syscalls(const int calls[], size_t n, struct err *err);

#endif
