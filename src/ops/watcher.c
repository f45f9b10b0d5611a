// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "kernel/monitor.h"
#include "ops/look.h"
#include "ops/session.h"
#include "ops/tunnel.h"
#include "ops/watcher.h"
#include "store/store.h"

#define STORE_PARENT "/run"

/* A command makes several changes within this; and looking may take no more than half of the time.
 */
#define SETTLE_MS 30
#define TRIES 3

#define COMES_OR_GOES (IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM)

/* Of the state's files one alone is written by nobody who only reads. That a file was closed is how
 * a lock's holder dies; whoever only looks at one has not opened it for writing. */
static const struct {
	const char *path;
	uint32_t mask;
} places[] = {
	{STORE_DIR, COMES_OR_GOES},
	{STORE_LOG, IN_MODIFY},
	{SESSION_DIR, COMES_OR_GOES | IN_CLOSE_WRITE},
	{NULL, COMES_OR_GOES | IN_CLOSE_WRITE}, /* the tunnels': tunnel_default_dir() */
};

struct watcher {
	int epoll, inotify, parent; /* parent: the watch of the state's folder's, or -1 */
	struct monitor *monitor;
	uint64_t took_ms; /* the last look */
	char tunnels[256];
};

static int add_source(struct watcher *w, int fd)
{
	struct epoll_event e = {.events = EPOLLIN};

	return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

/* The state's folder may come and go. Its parent is everybody's, so that one is watched only as
 * long as there is nothing else to be. */
static int watch_parent(struct watcher *w, bool needed)
{
	if (needed && w->parent < 0)
		w->parent = inotify_add_watch(w->inotify, STORE_PARENT, IN_CREATE | IN_MOVED_TO);
	if (needed)
		return w->parent < 0 ? -errno : 0;
	if (w->parent >= 0)
		inotify_rm_watch(w->inotify, w->parent);
	w->parent = -1;
	return 0;
}

/* Again before each look: what is watched already stays so. */
static int watch_places(struct watcher *w)
{
	bool there = true;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		const char *path = places[i].path ? places[i].path : w->tunnels;
		int r = inotify_add_watch(w->inotify, path, places[i].mask);

		if (r < 0 && errno != ENOENT && errno != EACCES)
			return -errno;
		if (!i)
			there = r >= 0;
	}
	return watch_parent(w, !there);
}

int watcher_new(struct watcher **ret, struct err *err)
{
	_watcher_ struct watcher *w = xcalloc(1, sizeof(*w));
	const char *dir = tunnel_default_dir(w->tunnels);
	int r = 0;

	if (dir != w->tunnels)
		r = str_copy(w->tunnels, sizeof(w->tunnels), dir);
	w->parent = -1;
	w->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (w->inotify < 0 || w->epoll < 0)
		r = -errno;
	if (!r)
		r = watch_places(w);
	if (!r)
		r = add_source(w, w->inotify);
	if (r)
		return err_errno(err, r, "cannot watch %s for changes", STORE_DIR);
	r = monitor_new(NULL, 0, &w->monitor, err);
	if (!r && add_source(w, monitor_fd(w->monitor)))
		r = err_errno(err, -errno, "cannot wait for changes");
	if (!r)
		*ret = TAKE_PTR(w);
	return r;
}

void watcher_free(struct watcher *w)
{
	if (!w)
		return;
	monitor_free(w->monitor);
	close_p(&w->inotify);
	close_p(&w->epoll);
	free(w);
}

void watcher_free_p(struct watcher **w)
{
	watcher_free(*w);
}

int watcher_fd(const struct watcher *w)
{
	return w->epoll;
}

static void wait_ms(uint64_t ms)
{
	const struct timespec t = {.tv_sec = (time_t)(ms / 1000),
				   .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

static void forget(struct watcher *w)
{
	_Alignas(struct inotify_event) char buf[4096];

	while (read(w->inotify, buf, sizeof(buf)) > 0)
		;
	monitor_changed(w->monitor, NULL, 0);
}

/* What happens from here on wakes again; what has happened is seen. A state that is just being replaced
 * cannot be read for a moment. */
int watcher_look(struct watcher *w, struct look *ret, struct err *err)
{
	int r = 0;

	for (unsigned int i = 0; i < TRIES; i++) {
		uint64_t began;

		wait_ms(MAX(SETTLE_MS, w->took_ms));
		forget(w);
		r = watch_places(w);
		if (r)
			return err_errno(err, r, "cannot watch %s for changes", STORE_DIR);
		began = clock_ms();
		r = look_take(ret, err);
		w->took_ms = clock_ms() - began;
		if (!r)
			break;
	}
	return r;
}
