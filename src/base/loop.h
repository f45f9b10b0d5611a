/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Waiting for many descriptors at once (epoll(7)). One thread. */
#ifndef BYWAY_BASE_LOOP_H
#define BYWAY_BASE_LOOP_H

#include <stdint.h>

struct loop;

/* Called when fd is readable, writable or broken, as asked; may delete sources, its own included.
 */
typedef void (*source_fn)(void *arg, uint32_t events);

/* Belongs to the caller, who keeps it where it is as long as it is in the loop. Zeroed: in none. */
struct source {
	source_fn ready;
	void *arg;
	int fd; /* borrowed */
};

int loop_new(struct loop **ret);
void loop_free(struct loop *l);

/* events: EPOLLIN, EPOLLOUT. 0 or -errno. */
int loop_add(struct loop *l, struct source *s, int fd, uint32_t events, source_fn ready, void *arg);
/* Before fd is closed. Not in a loop: done. */
void loop_del(struct loop *l, struct source *s);
/* Waits for one event and has it dealt with: one at a time, so that none is about a source that the
 * one before has deleted. timeout_ms -1: for ever. A signal may end it early. 0 or -errno. */
int loop_wait(struct loop *l, int timeout_ms);

#endif
