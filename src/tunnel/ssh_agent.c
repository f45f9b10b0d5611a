// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 *	IDLE      kick                   STARTING  ssh is started, and the deployment begins
 *	STARTING  the agent's HELLO      UP        the relay takes the channel
 *	STARTING  no shell, no binary,
 *	          no folder, refused     OFF       unless it is ssh itself that has failed
 *	STARTING  anything else fails    WAITING
 *	UP        the channel is lost    WAITING
 *	WAITING   kick; time, unless it
 *	          is at rest             STARTING
 *	OFF       kick                   STARTING  the server may be another by now
 *
 * The channel's descriptor is the deployment's until the relay has it; closing it makes the server
 * forget everything, so that ssh may be killed at any time.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/binaries.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/line.h"
#include "base/thread.h"
#include "base/util.h"
#include "proc/backoff.h"
#include "tunnel/deploy.h"
#include "tunnel/relay.h"
#include "tunnel/ssh_agent.h"
#include "tunnel/ssh_setup.h"

#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 30000
#define STOP_MS 1000
#define STATUS_OF_SSH 128 /* above: ssh's own failure, 255, or a signal */
#define NEVER UINT64_MAX

static const char *const state_names[] = {
	[SSH_AGENT_IDLE] = "idle",       [SSH_AGENT_STARTING] = "starting", [SSH_AGENT_UP] = "up",
	[SSH_AGENT_WAITING] = "waiting", [SSH_AGENT_OFF] = "unavailable",
};
static_assert(ARRAY_SIZE(state_names) == SSH_AGENT_NUM_STATES, "every state has a name");

const char *ssh_agent_state_name(enum ssh_agent_state s)
{
	return state_names[s];
}

struct ssh_agent {
	struct ssh_setup setup;
	struct relay *relay;
	pthread_t thread;
	int wake;
	atomic_bool stopped, resting;
	struct child child;
	int channel;          /* of the deployment, or -1 */
	int output;           /* what ssh says, or -1 */
	struct line line; /* of that */
	char words[256];      /* the line that tells of a failed connection */
	enum ssh_error error;
	struct deploy deploy;
	struct backoff backoff;
	uint64_t retry_ms;
	pthread_mutex_t lock; /* of status */
	struct ssh_agent_status status;
};

static enum ssh_agent_state state_of(const struct ssh_agent *a)
{
	return a->status.state; /* only this thread writes it */
}

static void set_state(struct ssh_agent *a, enum ssh_agent_state state, const char *reason)
{
	pthread_mutex_lock(&a->lock);
	a->status.state = state;
	snprintf(a->status.machine, sizeof(a->status.machine), "%s", a->deploy.machine);
	if (reason)
		snprintf(a->status.reason, sizeof(a->status.reason), "%.255s", reason);
	pthread_mutex_unlock(&a->lock);
}

/* ---- Ending ---- */

static void let_go(struct ssh_agent *a)
{
	close_p(&a->channel);
	a->channel = -1;
	close_p(&a->output);
	a->output = -1;
	child_stop(&a->child, STOP_MS);
}

static void fail(struct ssh_agent *a, const char *reason, uint64_t now_ms)
{
	let_go(a);
	a->retry_ms = now_ms + backoff_failed(&a->backoff, now_ms, backoff_random());
	set_state(a, SSH_AGENT_WAITING, reason);
}

/* ---- What ssh says: a server that was not reached is not one without a shell ---- */

static void note_line(struct ssh_agent *a)
{
	enum ssh_error error = ssh_error_of_line(a->line.text);

	if (error <= a->error)
		return;
	a->error = error;
	snprintf(a->words, sizeof(a->words), "%.255s", a->line.text);
}

/* Also when nobody wants to know: ssh must not wait for room. */
static void read_output(struct ssh_agent *a)
{
	char text[4096];
	ssize_t n = read(a->output, text, sizeof(text));

	for (ssize_t i = 0; i < n; i++)
		if (line_add(&a->line, text[i]))
			note_line(a);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close_p(&a->output);
		a->output = -1;
	}
}

/* ---- Bringing it there ---- */

static int open_output(struct ssh_agent *a, int *ret_w)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	a->output = fds[0];
	*ret_w = fds[1];
	a->error = SSH_ERROR_NONE;
	a->line.len = 0;
	return fcntl(fds[0], F_SETFL, O_NONBLOCK) ? -errno : 0;
}

static int start_ssh(struct ssh_agent *a, struct err *err)
{
	_close_ int theirs = -1, output_w = -1;
	int pair[2], r = open_output(a, &output_w);

	if (r)
		return err_errno(err, r, "cannot make a pipe");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return err_errno(err, -errno, "cannot make a socket pair");
	a->channel = pair[0];
	theirs = pair[1];
	if (fcntl(a->channel, F_SETFL, O_NONBLOCK))
		return err_errno(err, -errno, "cannot make the channel non-blocking");
	return ssh_setup_start(&a->setup, theirs, theirs, output_w, &a->child, err);
}

/* That no shell has answered says nothing of the server when there was no connection to it. */
static bool ssh_failed(struct ssh_agent *a)
{
	struct pollfd p = {.fd = a->child.fd, .events = POLLIN};
	int status;

	return poll(&p, 1, STOP_MS) == 1 && child_ended(&a->child, &status) &&
	       status > STATUS_OF_SSH;
}

static void give_up(struct ssh_agent *a, const char *reason)
{
	let_go(a);
	set_state(a, SSH_AGENT_OFF, reason);
}

static void no_shell(struct ssh_agent *a, uint64_t now_ms)
{
	if (a->output >= 0)
		read_output(a); /* it was written before the channel's end */
	if (ssh_error_is_final(a->error))
		give_up(a, a->words);
	else if (a->error)
		fail(a, a->words, now_ms);
	else if (ssh_failed(a))
		fail(a, "ssh has made no connection for the agent", now_ms);
	else
		give_up(a, a->deploy.reason);
}

static void go_on(struct ssh_agent *a, enum deploy_status s, uint64_t now_ms)
{
	int r;

	switch (s) {
	case DEPLOY_PENDING:
		return;
	case DEPLOY_DONE:
		r = relay_attach(a->relay, TAKE_FD(a->channel), &a->deploy.hello, now_ms);
		if (r) {
			fail(a, strerror(-r), now_ms);
			return;
		}
		backoff_succeeded(&a->backoff, now_ms);
		set_state(a, SSH_AGENT_UP, NULL);
		return;
	case DEPLOY_TIMEOUT:
	case DEPLOY_BROKEN:
		ssh_setup_next_address(&a->setup);
		fail(a, a->deploy.reason, now_ms);
		return;
	case DEPLOY_NO_SHELL:
		no_shell(a, now_ms);
		return;
	case DEPLOY_NO_AGENT:
	case DEPLOY_NO_DIRECTORY:
	case DEPLOY_REFUSED:
	case DEPLOY_NUM_STATUSES:
		give_up(a, a->deploy.reason);
	}
}

static void begin(struct ssh_agent *a, uint64_t now_ms)
{
	struct err e;

	if (start_ssh(a, &e)) {
		fail(a, e.msg, now_ms);
		return;
	}
	set_state(a, SSH_AGENT_STARTING, NULL);
	go_on(a, deploy_start(&a->deploy, a->channel, agent_binaries, now_ms), now_ms);
}

/* ---- The thread ---- */

enum { FD_WAKE, FD_RELAY, FD_DEPLOY, FD_OUTPUT, FD_MAX };

static void relay_went_on(struct ssh_agent *a, int r, uint64_t now_ms)
{
	if (r && state_of(a) == SSH_AGENT_UP)
		fail(a, "the agent's connection was lost", now_ms);
}

static uint64_t deadline(const struct ssh_agent *a)
{
	if (state_of(a) == SSH_AGENT_STARTING)
		return a->deploy.deadline_ms;
	return state_of(a) == SSH_AGENT_WAITING && !atomic_load(&a->resting) ? a->retry_ms : NEVER;
}

static void turn(struct ssh_agent *a)
{
	struct pollfd p[FD_MAX] = {
		[FD_WAKE] = {.fd = a->wake, .events = POLLIN},
		[FD_RELAY] = {.fd = relay_fd(a->relay), .events = POLLIN},
		/* EPOLLIN and EPOLLOUT are POLLIN and POLLOUT. */
		[FD_DEPLOY] = {.fd = a->channel, .events = (short)a->deploy.events},
		[FD_OUTPUT] = {.fd = a->output, .events = POLLIN},
	};
	uint64_t now = clock_ms(), kicks = 0;
	int wait_ms;

	relay_went_on(a, relay_expire(a->relay, now, &wait_ms), now);
	if (deadline(a) < now + (unsigned int)wait_ms)
		wait_ms = deadline(a) > now ? (int)(deadline(a) - now) : 0;
	if (state_of(a) != SSH_AGENT_STARTING)
		p[FD_DEPLOY].fd = -1;
	if (poll(p, FD_MAX, wait_ms) < 0)
		return;
	now = clock_ms();
	if (p[FD_WAKE].revents && read(a->wake, &kicks, sizeof(kicks)) < 0)
		kicks = 0;
	if (p[FD_OUTPUT].revents)
		read_output(a);
	if (p[FD_RELAY].revents)
		relay_went_on(a, relay_step(a->relay, now), now);
	if (state_of(a) == SSH_AGENT_STARTING && (p[FD_DEPLOY].revents || now >= deadline(a)))
		go_on(a, deploy_step(&a->deploy, now), now);
	else if (state_of(a) != SSH_AGENT_STARTING && state_of(a) != SSH_AGENT_UP &&
		 (kicks || now >= deadline(a)))
		begin(a, now);
}

static void *run_agent(void *arg)
{
	struct ssh_agent *a = arg;

	while (!atomic_load(&a->stopped))
		turn(a);
	relay_detach(a->relay, clock_ms());
	let_go(a);
	return NULL;
}

static void wake(struct ssh_agent *a)
{
	uint64_t one = 1;

	(void)!write(a->wake, &one, sizeof(one));
}

void ssh_agent_kick(struct ssh_agent *a)
{
	atomic_store(&a->resting, false);
	wake(a);
}

void ssh_agent_rest(struct ssh_agent *a)
{
	atomic_store(&a->resting, true);
}

void ssh_agent_get_status(struct ssh_agent *a, struct ssh_agent_status *ret)
{
	pthread_mutex_lock(&a->lock);
	*ret = a->status;
	pthread_mutex_unlock(&a->lock);
}

/* ---- Making and freeing ---- */

int ssh_agent_new(const struct ssh_config *config, struct relay *relay, struct ssh_agent **ret,
		  struct err *err)
{
	struct ssh_agent *a = xcalloc(1, sizeof(*a));
	int r = ssh_setup_init(&a->setup, SSH_FOR_COMMAND, config, deploy_command, err);

	a->relay = relay;
	a->channel = a->output = -1;
	a->child.fd = -1;
	a->backoff = (struct backoff){.min_ms = BACKOFF_MIN_MS, .max_ms = BACKOFF_MAX_MS};
	pthread_mutex_init(&a->lock, NULL);
	a->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!r && a->wake < 0)
		r = err_errno(err, -errno, "cannot make an eventfd");
	if (!r && (r = thread_start(&a->thread, run_agent, a)))
		err_errno(err, r, "cannot start the agent's thread");
	if (r) {
		close_p(&a->wake);
		ssh_setup_done(&a->setup);
		free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void ssh_agent_free(struct ssh_agent *a)
{
	if (!a)
		return;
	atomic_store(&a->stopped, true);
	wake(a);
	pthread_join(a->thread, NULL);
	close_p(&a->wake);
	ssh_setup_done(&a->setup);
	pthread_mutex_destroy(&a->lock);
	free(a);
}
