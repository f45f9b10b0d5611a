// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * One process supervises one dnsmasq: starts it again when it ends, later each time, and tells it
 * when the host's resolvers have changed. dnsmasq is nobody's root: it is started as its own user,
 * with no more capabilities than its ports need, and goes with us, however we end.
 *
 * It is up when it says so; before, it has opened its ports or ended with the reason. Until it was
 * up once, its end is ours, too, so that whoever started us hears of it.
 *
 * SIGHUP: leases have gone, or it is somebody else's turn to be asked (DNS_SERVERS). It is blocked
 * here, and ignored by a dnsmasq that has not come so far as to read anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/ip.h"
#include "base/log.h"
#include "base/resolvers.h"
#include "ops/dns.h"
#include "proc/backoff.h"
#include "proc/child.h"
#include "proc/pidlock.h"
#include "proc/run.h"
#include "vm/dnsmasq.h"
#include "vpc/vpc.h"

#define RESTART_MIN_MS 100
#define RESTART_MAX_MS 10000
#define STOP_MS 2000
/* How long one of ours that was killed with its process may still have the port. */
#define LEFTOVER_MS 2000
#define LINE_MAX_LEN 512
#define SERVERS_MAX 8
#define FILE_MAX (64 * 1024)

struct server {
	const struct dns_run *c;
	struct vpc vpc;
	char program[RUN_PROGRAM_MAX], config[DNS_PATH_MAX];
	uid_t uid;
	gid_t gid;
	int lock, signals, changes; /* changes: inotify(7) of resolv.conf, or -1 */
	struct child child;
	int said;                /* what dnsmasq writes; -1 when there is none */
	char line[LINE_MAX_LEN]; /* the one that is not whole yet */
	char last[LINE_MAX_LEN]; /* the one before */
	bool is_up, was_up, ends;
	struct backoff backoff;
	uint64_t begun_ms, start_at_ms;
	struct buf upstream; /* as it was told */
};

/* ---- Whom dnsmasq asks ---- */

static void compose(const struct server *s, struct buf *ret)
{
	char path[DNS_PATH_MAX];
	struct ip host[SERVERS_MAX];
	size_t n;

	if (!access(dns_path(s->c->name, DNS_SERVERS, path), F_OK)) {
		if (file_read(path, FILE_MAX, ret, NULL))
			buf_reset(ret); /* nobody, rather than somebody else */
		return;
	}
	n = resolvers_read_own(host, SERVERS_MAX);
	for (size_t i = 0; i < n; i++)
		dnsmasq_add_server(&host[i], ret);
}

static int write_upstream(const struct server *s, const struct buf *text)
{
	char path[DNS_PATH_MAX];
	_close_ int fd = open(dns_path(s->c->name, DNSMASQ_UPSTREAM, path),
			      O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ssize_t n = fd < 0 ? -1 : write(fd, text->data ? text->data : "", text->len);

	return n != (ssize_t)text->len || fchmod(fd, 0644) ? -EIO : 0;
}

/* Before dnsmasq is started, and by a signal afterwards. */
static int refresh(struct server *s, bool *ret_changed, struct err *err)
{
	_buf_ struct buf now = {0};
	char path[DNS_PATH_MAX];

	compose(s, &now);
	*ret_changed = !s->upstream.data || s->upstream.len != now.len ||
		       memcmp(s->upstream.data, now.data ? now.data : "", now.len) != 0;
	if (!*ret_changed)
		return 0;
	if (write_upstream(s, &now))
		return err_set(err, ERR_FAILED, -EIO, "cannot write %s",
			       dns_path(s->c->name, DNSMASQ_UPSTREAM, path));
	buf_reset(&s->upstream);
	buf_add(&s->upstream, now.data ? now.data : "", now.len);
	return 0;
}

/* resolv.conf may be a file, or a link to one elsewhere: the folders are watched. */
static void watch_resolvers(const struct server *s)
{
	static const char *const places[] = {"/etc", "/run/systemd/resolve"};
	const uint32_t events = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVE;
	_free_ char *real = realpath("/etc/resolv.conf", NULL);
	char *slash = real ? strrchr(real, '/') : NULL;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		inotify_add_watch(s->changes, places[i], events);
	if (!slash)
		return;
	inotify_add_watch(s->changes, real, IN_CLOSE_WRITE); /* mounted over it */
	*slash = '\0';
	inotify_add_watch(s->changes, real, events);
}

/* ---- dnsmasq ---- */

static const struct child_user *user_of(const struct server *s, struct child_user *ret)
{
	static const int caps[] = {CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW};

	*ret = (struct child_user){
		.uid = s->uid, .gid = s->gid, .caps = caps, .n_caps = s->vpc.dhcp ? 3 : 1};
	return ret;
}

static int start(struct server *s, struct err *err)
{
	static const char *const env[] = {"PATH=" RUN_PATH, "LC_ALL=C", NULL};
	_free_ char *config = xasprintf("--conf-file=%s", s->config);
	const char *const argv[] = {"dnsmasq", config, NULL};
	struct child_user user;
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC))
		return err_errno(err, -errno, "cannot make a pipe");
	struct child_spec spec = {.path = s->program,
				  .argv = argv,
				  .env = env,
				  .in = -1,
				  .out = -1,
				  .err = fds[1],
				  .user = user_of(s, &user),
				  .death_signal = SIGKILL,
				  .own_session = true};
	r = child_start(&spec, &s->child, err);
	close(fds[1]);
	if (r) {
		close(fds[0]);
		return r;
	}
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	s->said = fds[0];
	s->line[0] = s->last[0] = '\0';
	return 0;
}

/* Without the name and number in front. */
static const char *words(const char *line)
{
	const char *colon = strstr(line, ": ");

	return !strncmp(line, "dnsmasq", 7) && colon ? colon + 2 : line;
}

static void take_line(struct server *s)
{
	str_copy(s->last, sizeof(s->last), words(s->line));
	s->line[0] = '\0';
	log_info("%s: %s", s->c->name, s->last);
	if (s->is_up || strncmp(s->last, "started, version", 16) != 0)
		return;
	s->is_up = true;
	backoff_succeeded(&s->backoff, clock_ms());
	if (!s->was_up)
		s->c->ready(s->c->arg);
	s->was_up = true;
}

/* All that is there; false at the end. */
static bool listen_to(struct server *s)
{
	char text[4096];
	ssize_t n;

	while ((n = read(s->said, text, sizeof(text))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			size_t len = strlen(s->line);

			if (text[i] == '\n')
				take_line(s);
			else if (len + 1 < sizeof(s->line))
				memcpy(s->line + len, (char[]){text[i], '\0'}, 2);
		}
	}
	return n < 0 && errno == EAGAIN;
}

static int on_end(struct server *s, struct err *err)
{
	uint32_t delay_ms;
	bool in_use;
	int status;

	if (!child_ended(&s->child, &status))
		return 0;
	listen_to(s);
	close_p(&s->said);
	s->said = -1;
	s->is_up = false;
	in_use = strstr(s->last, "in use");
	if (!s->was_up && (!in_use || clock_ms() > s->begun_ms + LEFTOVER_MS))
		return err_set(err, in_use ? ERR_CONFLICT : ERR_FAILED, -ECHILD, "dnsmasq: %s",
			       *s->last ? s->last : "ended before it was up");
	delay_ms = backoff_failed(&s->backoff, clock_ms(), backoff_random());
	s->start_at_ms = clock_ms() + delay_ms;
	log_warn("%s: dnsmasq has ended (status %d: %s), again in %u ms", s->c->name, status,
		 s->last, delay_ms);
	return 0;
}

/* ---- What comes in ---- */

static int on_signal(struct server *s, struct err *err)
{
	struct signalfd_siginfo info;
	bool changed;
	int r = 0;

	if (read(s->signals, &info, sizeof(info)) != sizeof(info))
		return 0;
	if (info.ssi_signo != SIGHUP) {
		s->ends = true;
		return 0;
	}
	r = refresh(s, &changed, err);
	child_signal(&s->child, SIGHUP);
	return r;
}

static int on_change(struct server *s, struct err *err)
{
	char events[4096];
	bool changed;
	int r;

	while (read(s->changes, events, sizeof(events)) > 0)
		;
	watch_resolvers(s);
	r = refresh(s, &changed, err);
	if (!r && changed)
		child_signal(&s->child, SIGHUP);
	return r;
}

static int on_words(struct server *s, struct err *err)
{
	(void)err;
	if (!listen_to(s)) {
		close_p(&s->said);
		s->said = -1;
	}
	return 0;
}

static int wait_for_more(struct server *s, struct err *err)
{
	static int (*const on[])(struct server *, struct err *) = {on_signal, on_change, on_words,
								   on_end};
	struct pollfd p[] = {{.fd = s->signals, .events = POLLIN},
			     {.fd = s->changes, .events = POLLIN},
			     {.fd = s->said, .events = POLLIN},
			     {.fd = s->child.pid ? s->child.fd : -1, .events = POLLIN}};
	uint64_t now_ms = clock_ms();
	int timeout = s->child.pid              ? -1
		      : s->start_at_ms > now_ms ? (int)(s->start_at_ms - now_ms)
						: 0;
	int r = 0;

	if (poll(p, ARRAY_SIZE(p), timeout) < 0 && errno != EINTR)
		return err_errno(err, -errno, "cannot wait for events");
	for (size_t i = 0; !r && i < ARRAY_SIZE(p); i++)
		if (p[i].revents)
			r = on[i](s, err);
	return r;
}

/* ---- Beginning and end ---- */

/* What is being taken away is not served any more, and who takes it away looks for us later. */
static int load(struct server *s, struct err *err)
{
	size_t len = strcspn(s->c->name, (char[]){DNS_WAY_SEPARATOR, '\0'});
	_free_ char *vpc = xasprintf("%.*s", (int)len, s->c->name);
	_store_ struct store *st = NULL;
	int r = store_open(STORE_DIR, STORE_READ, &st, err);

	if (!r)
		r = vpc_load(st, vpc, &s->vpc, err);
	if (!r && (!s->vpc.dns || s->vpc.state == ROW_DELETING))
		r = err_set(err, ERR_NOT_FOUND, -ENOENT,
			    "'%s' has no DNS: `byway dns enable %s` turns it on", vpc, vpc);
	s->vpc.dhcp &= !s->c->name[len];
	return r;
}

static int take_lock(struct server *s, struct err *err)
{
	char path[DNS_PATH_MAX];
	int r = pidlock_take(dns_path(s->c->name, DNS_LOCK, path), &s->lock, err);

	return r == -EBUSY ? err_set(err, ERR_CONFLICT, r,
				     "names for '%s' are served already, by process %d", s->c->name,
				     (int)pidlock_holder(path))
			   : r;
}

static int open_signals(struct server *s, struct err *err)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	signal(SIGHUP, SIG_IGN); /* of a child that has no handler yet; blocked, it comes to us */
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	s->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signals < 0 ? err_errno(err, -errno, "cannot wait for signals") : 0;
}

static int prepare(struct server *s, struct err *err)
{
	bool changed;
	int r = load(s, err);

	if (!r)
		r = ops_dns_check(&s->vpc, err);
	if (!r)
		r = run_find("dnsmasq", s->program, err);
	if (!r)
		r = dns_user(&s->uid, &s->gid, err);
	if (!r)
		r = take_lock(s, err);
	if (!r)
		r = load(s, err); /* as it is now that we have the lock */
	if (!r)
		r = open_signals(s, err);
	if (r)
		return r;
	dns_path(s->c->name, DNS_CONFIG, s->config);
	s->changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (s->changes < 0)
		log_warn("changes of /etc/resolv.conf are not followed: %s", strerror(errno));
	else
		watch_resolvers(s);
	return refresh(s, &changed, err);
}

static void server_done(struct server *s)
{
	child_stop(&s->child, STOP_MS);
	close_p(&s->said);
	close_p(&s->changes);
	close_p(&s->signals);
	close_p(&s->lock);
	buf_done(&s->upstream);
}

int ops_dns_run(const struct dns_run *c, struct err *err)
{
	_cleanup_(server_done) struct server s = {
		.c = c,
		.lock = -1,
		.signals = -1,
		.changes = -1,
		.said = -1,
		.child.fd = -1,
		.begun_ms = clock_ms(),
		.backoff = {.min_ms = RESTART_MIN_MS, .max_ms = RESTART_MAX_MS}};
	int r = prepare(&s, err);

	while (!r && !s.ends) {
		if (!s.child.pid && clock_ms() >= s.start_at_ms)
			r = start(&s, err);
		if (!r)
			r = wait_for_more(&s, err);
	}
	return r;
}
