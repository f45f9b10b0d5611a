/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The workers of one tunnel, each in a thread of its own.
 */
#ifndef BYWAY_TUNNEL_ENGINE_H
#define BYWAY_TUNNEL_ENGINE_H

#include "tunnel/worker.h"

#define ENGINE_WORKERS_MAX 8

struct engine;

/* How many workers make sense: one for each processor that this process may use, at most
 * ENGINE_WORKERS_MAX. */
size_t engine_workers(void);

/* worker: of each, but for its queue and DNS. dns: but for what is the engine's own. tuns: the n
 * queues of the device, taken even on failure. */
int engine_new(const struct worker_config *worker, const struct dns_config *dns, const int tuns[],
	       size_t n, struct engine **ret, struct err *err);
/* Starts the threads, in which every signal is blocked that is for the caller. ended: called once
 * for each worker that ends, in its thread; before engine_free() that means that the device is
 * gone. */
int engine_start(struct engine *e, void (*ended)(void *arg), void *arg, struct err *err);
/* Stops and joins what runs. */
void engine_free(struct engine *e);

/* Sums, and the latest failure. */
void engine_get_status(struct engine *e, struct worker_status *ret);
/* -errno of a worker that ended by itself, or 0. */
int engine_error(struct engine *e);

#endif
