// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation: the ssh process
 *
 *   CONNECTING  the process runs; its control socket appears once the server has let the user in
 *   UP          channels can be opened
 *   WAITING     the process is gone; another is started when the backoff has passed
 *   STOPPED     the process is gone for a reason that would come again; only a kick starts another
 *
 * 1. The control socket is in a folder of its own, which only its user can enter, and both are
 *    removed as soon as proxy mode stands: from then on nobody else can speak to ssh, and nothing
 *    is left behind by those who are killed. Passenger mode needs the socket for every channel.
 * 2. A process whose control connection breaks is ended, with SIGKILL if need be; the next one is
 *    started when it is gone, so there are never two.
 * 3. In proxy mode ssh leaks a little with each channel that could not be opened (9.2:
 *    channel_proxy_upstream() never frees it), and dies at 10,240 of them, or when the control
 *    connection is closed before ("no remote_id"). So ssh.c replaces a master with many such
 *    (n_failed) in good time, and a control connection lives as long as its process.
 * 4. What ssh says is the reason for everything: see ssh_error.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fault.h"
#include "tunnel/ssh_master.h"

#define RETRY_MIN_MS 200
#define RETRY_MAX_MS 30000
#define START_TIMEOUT_MS 60000
#define END_TIMEOUT_MS 2000
#define KICK_AFTER_MS 1000
#define PROXY_DEATHS_MAX 3
#define NEVER UINT64_MAX

static void set_state(struct ssh_master *m, enum ssh_state state)
{
	m->status.state = state;
	m->status.changed_ms = clock_ms();
	m->changed = true;
}

static void set_error(struct ssh_master *m, enum ssh_error error, const char *text)
{
	m->status.error = error;
	snprintf(m->status.text, sizeof(m->status.text), "%.*s", (int)sizeof(m->status.text) - 1,
		 text);
}

/* ---- What ssh says ---- */

/* True for the line of a channel that was not opened: no word of the connection. */
static bool note_refusal(struct ssh_master *m, const char *line)
{
	const char *reason = strstr(line, ": open failed: ");

	if (!reason)
		return false;
	if (m->n_refusals == ARRAY_SIZE(m->refusals))
		return true;
	reason += strlen(": open failed: ");
	m->refusals[m->n_refusals++] =
		ssh_open_status(strstr(reason, "administratively prohibited") ? 1 : 2, reason);
	return true;
}

/* The first line of the worst kind is kept. */
static void note_line(struct ssh_master *m)
{
	enum ssh_error error;

	if (note_refusal(m, m->line.text))
		return;
	if (strcasestr(m->line.text, "configuration option: forkafterauthentication")) {
		/* Before OpenSSH 8.7; there is no such thing then. */
		ssh_setup_set_word(m->setup, SSH_WORD_NO_FORK,
				   m->setup->argv[SSH_WORD_NO_FORK + 1]);
		return;
	}
	error = ssh_error_of_line(m->line.text);
	if (error > m->status.error || (!error && !m->status.error && m->line.text[0]))
		set_error(m, error, m->line.text);
}

static void read_output(struct ssh_master *m)
{
	char text[4096];
	ssize_t n;

	while (m->output_fd >= 0 && (n = read(m->output_fd, text, sizeof(text))) != 0) {
		if (n < 0)
			return;
		for (ssize_t i = 0; i < n; i++)
			if (line_add(&m->line, text[i]))
				note_line(m);
	}
	ssh_loop_close(m->loop, TAKE_FD(m->output_fd));
}

/* ssh has written the line before it answers. */
bool ssh_master_claim_refusal(struct ssh_master *m, enum dial_status *ret)
{
	read_output(m);
	if (!m->n_refusals)
		return false;
	*ret = m->refusals[0];
	memmove(m->refusals, m->refusals + 1, --m->n_refusals * sizeof(*m->refusals));
	return true;
}

static void output_event(struct ssh_source *s, uint32_t events)
{
	(void)events;
	read_output((struct ssh_master *)((char *)s - offsetof(struct ssh_master, output)));
}

/* ---- The control socket ---- */

static void remove_socket(struct ssh_master *m)
{
	ssh_loop_close(m->loop, TAKE_FD(m->notify_fd));
	if (!m->dir[0])
		return;
	unlink(m->path);
	rmdir(m->dir);
	m->dir[0] = '\0';
}

static int make_dir(struct ssh_master *m)
{
	snprintf(m->dir, sizeof(m->dir), "%s/ssh-XXXXXX", m->setup->run_dir);
	if (!mkdtemp(m->dir)) {
		m->dir[0] = '\0';
		return -errno;
	}
	snprintf(m->path, sizeof(m->path), "%s/s", m->dir);
	if (m->setup->as_user && chown(m->dir, m->setup->user.uid, (gid_t)-1))
		return -errno;
	m->notify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (m->notify_fd < 0 ||
	    inotify_add_watch(m->notify_fd, m->dir, IN_CREATE | IN_MOVED_TO) < 0)
		return -errno;
	return ssh_loop_add(m->loop, m->notify_fd, EPOLLIN, &m->notify);
}

static void come_up(struct ssh_master *m)
{
	/* Banners and warnings that did not keep it from coming up are not why it ends one day. */
	read_output(m);
	set_error(m, SSH_ERROR_NONE, "");
	m->deadline_ms = NEVER;
	m->status.connects++;
	m->status.passenger = !m->mux;
	backoff_succeeded(&m->backoff, clock_ms());
	if (m->mux)
		remove_socket(m);
	else
		ssh_loop_close(m->loop, TAKE_FD(m->notify_fd));
	set_state(m, SSH_STATE_UP);
}

/* ---- The process ---- */

static void end_process(struct ssh_master *m, uint64_t now_ms)
{
	if (m->ending || !m->child.pid)
		return;
	child_signal(&m->child, SIGTERM);
	m->ending = true;
	m->deadline_ms = now_ms + END_TIMEOUT_MS;
}

/* ssh makes the socket under another name first; who sees this one can connect. */
static void notify_event(struct ssh_source *s, uint32_t events)
{
	struct ssh_master *m =
		(struct ssh_master *)((char *)s - offsetof(struct ssh_master, notify));
	char discard[4096];
	int r;

	(void)events;
	while (m->notify_fd >= 0 && read(m->notify_fd, discard, sizeof(discard)) > 0)
		;
	if (m->notify_fd < 0 || m->mux || m->ending || access(m->path, F_OK))
		return;
	if (m->setup->mode == SSH_MODE_PASSENGER) {
		come_up(m);
		return;
	}
	r = ssh_mux_new(m->loop, m->path, m->setup->window_bytes, &m->mux);
	if (!r)
		return;
	set_error(m, SSH_ERROR_LOST, strerror(-r));
	end_process(m, clock_ms());
}

static void leave_mux(struct ssh_master *m, struct ssh_channels *waiting)
{
	if (!m->mux)
		return;
	m->up_bytes += m->mux->up_bytes;
	m->down_bytes += m->mux->down_bytes;
	ssh_mux_free(TAKE_PTR(m->mux), waiting);
}

static void lose_channels(struct ssh_master *m, struct ssh_channels *waiting)
{
	struct ssh_channel *c;

	leave_mux(m, waiting);
	while ((c = TAILQ_FIRST(&m->passengers)))
		ssh_passenger_lose(c, waiting);
}

static bool is_crash(int status)
{
	switch (status - 128) {
	case SIGSEGV:
	case SIGBUS:
	case SIGABRT:
	case SIGILL:
	case SIGFPE:
	case SIGSYS:
		return true;
	default:
		return false;
	}
}

static void note_crash(struct ssh_master *m, int status)
{
	struct ssh_setup *s = m->setup;

	if (m->status.state != SSH_STATE_UP || m->status.passenger)
		return;
	s->proxy_deaths = is_crash(status) ? s->proxy_deaths + 1 : 0;
	if (s->proxy_deaths >= PROXY_DEATHS_MAX && s->mode == SSH_MODE_AUTO)
		s->mode = SSH_MODE_PASSENGER;
}

static void note_end(struct ssh_master *m, int status)
{
	char text[64];

	if (m->line.len) { /* one without an end */
		line_add(&m->line, '\n');
		note_line(m);
	}
	if (m->status.error)
		return;
	snprintf(text, sizeof(text), "ssh ended with status %d", status);
	set_error(m, SSH_ERROR_LOST, m->status.text[0] ? m->status.text : text);
}

/* Without a process: what comes next. */
static void wait_or_stop(struct ssh_master *m, uint64_t now_ms)
{
	if (ssh_error_is_final(m->status.error) || m->last) {
		m->deadline_ms = NEVER;
		set_state(m, SSH_STATE_STOPPED);
		return;
	}
	if (m->status.error == SSH_ERROR_TIMEOUT || m->status.error == SSH_ERROR_UNREACHABLE ||
	    m->status.error == SSH_ERROR_REFUSED)
		ssh_setup_next_address(m->setup);
	m->deadline_ms = now_ms + backoff_failed(&m->backoff, now_ms, backoff_random());
	m->status.retry_ms = m->deadline_ms;
	set_state(m, SSH_STATE_WAITING);
}

static void after_process(struct ssh_master *m, int status, uint64_t now_ms,
			  struct ssh_channels *waiting)
{
	read_output(m);
	note_end(m, status);
	note_crash(m, status);
	lose_channels(m, waiting);
	remove_socket(m);
	/* Something that ssh has started may hold the other end. */
	ssh_loop_close(m->loop, TAKE_FD(m->output_fd));
	m->ending = m->ended = false;
	wait_or_stop(m, now_ms);
}

static void pidfd_event(struct ssh_source *s, uint32_t events)
{
	struct ssh_master *m = (struct ssh_master *)s;

	(void)events;
	m->ended = true; /* ssh_master_run() goes on from there */
	epoll_ctl(m->loop->epoll, EPOLL_CTL_DEL, m->child.fd, NULL); /* see ssh_loop_close() */
}

static int open_output(struct ssh_master *m, int *ret_w)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	m->output_fd = fds[0];
	*ret_w = fds[1];
	if (fcntl(fds[0], F_SETFL, O_NONBLOCK))
		return -errno;
	return ssh_loop_add(m->loop, fds[0], EPOLLIN, &m->output);
}

static int start_process(struct ssh_master *m, struct err *err)
{
	struct ssh_setup *s = m->setup;
	_close_ int output_w = -1;
	int r = fault_point("start ssh");

	if (!r)
		r = make_dir(m);
	if (!r)
		r = open_output(m, &output_w);
	if (r)
		return err_errno(err, r, "cannot make a control socket in %s", s->run_dir);
	ssh_setup_set_word(s, SSH_WORD_PATH, m->path);
	r = ssh_setup_start(s, -1, output_w, output_w, &m->child, err);
	if (!r)
		r = ssh_loop_add(m->loop, m->child.fd, EPOLLIN, &m->pidfd);
	return r;
}

static void start(struct ssh_master *m, uint64_t now_ms, struct ssh_channels *waiting)
{
	struct err err = {0};

	set_error(m, SSH_ERROR_NONE, "");
	m->n_failed = m->n_refusals = 0;
	set_state(m, SSH_STATE_CONNECTING);
	m->deadline_ms = m->setup->terminal ? NEVER : now_ms + START_TIMEOUT_MS;
	if (start_process(m, &err)) {
		child_stop(&m->child, 0);
		set_error(m, SSH_ERROR_CONFIG, err.msg);
		after_process(m, 0, now_ms, waiting);
	}
}

/* ---- What is due ---- */

static void check_mux(struct ssh_master *m, uint64_t now_ms, struct ssh_channels *waiting)
{
	if (m->mux->phase == SSH_MUX_UP && m->status.state == SSH_STATE_CONNECTING)
		come_up(m);
	m->n_failed = m->mux->n_failed;
	if (!ssh_mux_is_over(m->mux))
		return;
	if (m->mux->phase == SSH_MUX_REFUSED && m->setup->mode == SSH_MODE_AUTO) {
		m->setup->mode = SSH_MODE_PASSENGER;
		leave_mux(m, waiting);
		come_up(m);
		return;
	}
	read_output(m); /* which tells more than the end of a connection */
	if (!m->status.error)
		set_error(m, m->mux->phase == SSH_MUX_REFUSED ? SSH_ERROR_CONFIG : SSH_ERROR_LOST,
			  m->mux->reason);
	leave_mux(m, waiting);
	end_process(m, now_ms);
}

static void on_deadline(struct ssh_master *m, uint64_t now_ms, struct ssh_channels *waiting)
{
	if (!m->child.pid) {
		start(m, now_ms, waiting);
	} else if (m->ending) {
		child_signal(&m->child, SIGKILL);
		m->deadline_ms = NEVER;
	} else {
		set_error(m, SSH_ERROR_TIMEOUT, "ssh does not come to an end");
		end_process(m, now_ms);
	}
}

void ssh_master_run(struct ssh_master *m, uint64_t now_ms, struct ssh_channels *waiting)
{
	int status;

	if (m->mux)
		check_mux(m, now_ms, waiting);
	if (m->ended && m->child.pid && child_ended(&m->child, &status))
		after_process(m, status, now_ms, waiting);
	if (now_ms >= m->deadline_ms)
		on_deadline(m, now_ms, waiting);
}

void ssh_master_restart(struct ssh_master *m, uint64_t now_ms)
{
	if (m->ending || !m->child.pid)
		return;
	set_error(m, SSH_ERROR_LOST, "ssh has leaked too much, and is started again");
	end_process(m, now_ms);
}

void ssh_master_kick(struct ssh_master *m, uint64_t now_ms)
{
	m->backoff.failures = 0;
	if (!m->child.pid && !m->last)
		m->deadline_ms = now_ms;
	else if (m->status.state == SSH_STATE_CONNECTING && !m->setup->terminal &&
		 now_ms - m->status.changed_ms > KICK_AFTER_MS)
		end_process(m, now_ms); /* it may still be trying by a network that is no more */
}

bool ssh_master_is_up(const struct ssh_master *m)
{
	return m->status.state == SSH_STATE_UP && !m->ending;
}

unsigned int ssh_master_channels(const struct ssh_master *m)
{
	return m->mux ? m->mux->n_channels : m->n_passengers;
}

void ssh_master_open(struct ssh_master *m, struct ssh_channel *c)
{
	if (m->mux)
		ssh_mux_open(m->mux, c);
	else
		ssh_passenger_open(m, c);
}

void ssh_master_get_status(const struct ssh_master *m, struct ssh_connection_status *ret)
{
	*ret = m->status;
	ret->pid = m->child.pid;
	ret->channels = ssh_master_channels(m);
	ret->up_bytes = m->up_bytes + (m->mux ? m->mux->up_bytes : 0);
	ret->down_bytes = m->down_bytes + (m->mux ? m->mux->down_bytes : 0);
}

/* ---- Beginning and end ---- */

struct ssh_master *ssh_master_new(struct ssh_loop *l, struct ssh_setup *setup)
{
	struct ssh_master *m = xcalloc(1, sizeof(*m));

	m->pidfd.event = pidfd_event;
	m->output.event = output_event;
	m->notify.event = notify_event;
	m->loop = l;
	m->setup = setup;
	m->child.fd = m->output_fd = m->notify_fd = -1;
	m->backoff = (struct backoff){.min_ms = RETRY_MIN_MS, .max_ms = RETRY_MAX_MS};
	TAILQ_INIT(&m->passengers);
	return m; /* what is due is to start */
}

void ssh_master_end(struct ssh_master *m, uint64_t now_ms)
{
	m->last = true;
	end_process(m, now_ms);
}

bool ssh_master_is_gone(const struct ssh_master *m)
{
	return m->last && !m->child.pid;
}

void ssh_master_free(struct ssh_master *m, struct ssh_channels *waiting)
{
	if (!m)
		return;
	lose_channels(m, waiting);
	child_stop(&m->child, END_TIMEOUT_MS);
	remove_socket(m);
	ssh_loop_close(m->loop, TAKE_FD(m->output_fd));
	m->output.event = m->notify.event = NULL;
	ssh_loop_bury(m->loop, &m->pidfd);
}
