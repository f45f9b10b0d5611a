/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Being woken when it is worth to look again: by the state's file, what tunnels and sessions write of
 * themselves, and the host's links, addresses and routes. Nobody is asked, and while nothing
 * changes, nothing runs.
 *
 * What has no file and no link on the host is not noticed, such as a link inside a namespace.
 */
#ifndef BYWAY_OPS_WATCHER_H
#define BYWAY_OPS_WATCHER_H

struct err;
struct look;
struct watcher;

int watcher_new(struct watcher **ret, struct err *err);
void watcher_free(struct watcher *w);
void watcher_free_p(struct watcher **w);
#define _watcher_ _cleanup_(watcher_free_p)

/* Readable when watcher_look() is to be called. */
int watcher_fd(const struct watcher *w);
/* 1: something may have changed, and this is how it is now. 0: not yet; more of the same may come, or what is just
 * being replaced cannot be read. Never waits. */
int watcher_look(struct watcher *w, struct look *ret, struct err *err);

#endif
