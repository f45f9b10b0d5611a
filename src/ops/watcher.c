// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
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

/* A command makes several changes within this. Looking may take no more than a tenth of the time,
 * and is tried again after that, at most so often. */
#define SETTLE_MS 30
#define REST 9
#define TRIES_MAX 20

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
	int epoll, inotify, timer;
	int parent; /* the watch of the state's folder's, or -1 */
	struct monitor *monitor;
	bool settles;     /* until the timer says so, nothing else wakes */
	uint64_t took_ms; /* the last look */
	unsigned int tries;
	char tunnels[256];
};

/* Sources other than the timer wake, or do not. One that is in the set wakes whatever it is asked
 * for, when it has lost messages. */
static int set_sources(struct watcher *w, int op)
{
	const int fds[] = {w->inotify, monitor_fd(w->monitor)};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		struct epoll_event e = {.events = EPOLLIN};

		if (epoll_ctl(w->epoll, op, fds[i], &e))
			return -errno;
	}
	return 0;
}

static int add_sources(struct watcher *w)
{
	struct epoll_event e = {.events = EPOLLIN};

	if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->timer, &e))
		return -errno;
	return set_sources(w, EPOLL_CTL_ADD);
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
	w->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (w->inotify < 0 || w->epoll < 0 || w->timer < 0)
		r = -errno;
	if (!r)
		r = watch_places(w);
	if (r)
		return err_errno(err, r, "cannot watch %s for changes", STORE_DIR);
	r = monitor_new(NULL, 0, &w->monitor, err);
	if (r)
		return r;
	r = add_sources(w);
	if (r)
		return err_errno(err, r, "cannot wait for changes");
	*ret = TAKE_PTR(w);
	return 0;
}

void watcher_free(struct watcher *w)
{
	if (!w)
		return;
	monitor_free(w->monitor);
	close_p(&w->inotify);
	close_p(&w->timer);
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

/* Until ms are over. */
static int settle(struct watcher *w, uint64_t ms)
{
	const struct itimerspec t = {.it_value = {.tv_sec = (time_t)(ms / 1000),
						  .tv_nsec = (long)(ms % 1000) * 1000000}};

	w->settles = true;
	if (timerfd_settime(w->timer, 0, &t, NULL))
		return -errno;
	return set_sources(w, EPOLL_CTL_DEL);
}

/* What has happened by now is going to be seen; what happens from here on wakes again. */
static int forget(struct watcher *w)
{
	_Alignas(struct inotify_event) char buf[4096];
	uint64_t expirations;

	w->settles = false;
	(void)!read(w->timer, &expirations, sizeof(expirations));
	while (read(w->inotify, buf, sizeof(buf)) > 0)
		;
	monitor_changed(w->monitor, NULL, 0);
	return set_sources(w, EPOLL_CTL_ADD);
}

static bool is_over(const struct watcher *w)
{
	struct itimerspec left;

	return !timerfd_gettime(w->timer, &left) && !left.it_value.tv_sec && !left.it_value.tv_nsec;
}

static int look(struct watcher *w, struct look *ret, struct err *err)
{
	uint64_t began = clock_ms();
	int r = look_take(ret, err);

	w->took_ms = clock_ms() - began;
	w->tries = r ? w->tries + 1 : 0;
	if (!r)
		return 1;
	return w->tries > TRIES_MAX ? r : settle(w, MAX(SETTLE_MS, w->took_ms * REST));
}

int watcher_look(struct watcher *w, struct look *ret, struct err *err)
{
	int r;

	if (w->settles && !is_over(w))
		return 0;
	if (!w->settles)
		return settle(w, MAX(SETTLE_MS, w->took_ms * REST));
	r = forget(w);
	if (!r)
		r = watch_places(w);
	return r ? err_errno(err, r, "cannot watch %s for changes", STORE_DIR) : look(w, ret, err);
}
