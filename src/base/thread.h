/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BYWAY_BASE_THREAD_H
#define BYWAY_BASE_THREAD_H

#include <pthread.h>

/* Starts a thread with all signals blocked: they are the main thread's. 0 or -errno. */
int thread_start(pthread_t *ret, void *(*main)(void *arg), void *arg);

#endif
