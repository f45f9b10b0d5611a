// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The processes of the tunnel over SSH, and what their descriptors leave behind. Where it matters
 * what ssh says and when, a shell says it in its place; else it is the real one, in a network where
 * nobody listens.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "open_fds.h"
#include "private_net.h"
#include "proc/run.h"
#include "tunnel/relay.h"
#include "tunnel/ssh_agent.h"
#include "tunnel/ssh_master.h"
#include "tunnel/ssh_where.h"
#include "tunnel/ssh_wire.h"

#define LIMIT_MS 20000

struct world {
	struct ssh_loop loop;
	struct ssh_setup setup;
	struct ssh_channels waiting;
	char dir[32];
};

static int set_up(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));

	remember_fds(state);
	ssh_loop_init(&w->loop, epoll_create1(EPOLL_CLOEXEC));
	TAILQ_INIT(&w->waiting);
	snprintf(w->dir, sizeof(w->dir), "/tmp/byway-test-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	int r;

	ssh_setup_done(&w->setup);
	ssh_loop_done(&w->loop);
	close_p(&w->loop.epoll);
	r = rmdir(w->dir);
	free(w);
	return r ? r : compare_fds(state);
}

/* Returns how many events there were. */
static int dispatch(struct world *w, int timeout_ms)
{
	struct epoll_event events[16];
	int n = epoll_wait(w->loop.epoll, events, ARRAY_SIZE(events), timeout_ms);

	for (int i = 0; i < n; i++) {
		struct ssh_source *s = events[i].data.ptr;

		if (s->event)
			s->event(s, events[i].events);
	}
	return n;
}

/* ---- A master, in whose place a shell runs a script; $3 is the control socket ---- */

static struct ssh_master *master_of(struct world *w, enum ssh_mode mode, const char *script)
{
	const char *const words[] = {"sh", "-c", script, "sh", "", "", ""};

	w->setup.argv = xcalloc(ARRAY_SIZE(words) + 1, sizeof(char *));
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		w->setup.argv[i] = xstrdup(words[i]);
	w->setup.env = xcalloc(2, sizeof(char *));
	w->setup.env[0] = xstrdup("PATH=" RUN_PATH);
	snprintf(w->setup.program, sizeof(w->setup.program), "/bin/sh");
	w->setup.run_dir = xstrdup(w->dir);
	w->setup.mode = mode;
	w->setup.window_bytes = 65536;
	return ssh_master_new(&w->loop, &w->setup);
}

static void run_until(struct world *w, struct ssh_master *m, enum ssh_state state)
{
	uint64_t end = clock_ms() + LIMIT_MS;

	while (m->status.state != state && m->status.state != SSH_STATE_STOPPED &&
	       clock_ms() < end) {
		ssh_master_run(m, clock_ms(), &w->waiting);
		dispatch(w, 20);
	}
	assert_int_equal(m->status.state, state);
}

/* A banner is the server's, and a channel's failure is no other's affair. */
static void words_of_others_do_not_stop_it(void **state)
{
	struct world *w = *state;
	struct ssh_master *m = master_of(
		w, SSH_MODE_PASSENGER,
		"echo 'All others: Permission denied (by law).' >&2; : >\"$3\"; "
		"while [ -e \"$3\" ]; do sleep 0.05; done; "
		"echo 'channel 1: open failed: connect failed: Host key verification failed' >&2; "
		"exit 255");

	run_until(w, m, SSH_STATE_UP);
	assert_int_equal(m->status.error, SSH_ERROR_NONE);
	assert_int_equal(unlink(m->path), 0);
	run_until(w, m, SSH_STATE_WAITING);
	assert_int_equal(m->status.error, SSH_ERROR_LOST);
	ssh_master_free(m, &w->waiting);
}

static void a_socket_that_takes_nobody_is_tried_again(void **state)
{
	struct world *w = *state;
	struct ssh_master *m = master_of(w, SSH_MODE_AUTO, ": >\"$3\"; exec sleep 1000");

	run_until(w, m, SSH_STATE_WAITING);
	ssh_master_free(m, &w->waiting);
}

/* ---- Descriptors ---- */

static struct ssh_channel *channel_of(struct world *w, int *ret_fd)
{
	struct dial_target target = {.host = "h", .port = 80};
	struct ssh_channel *c;

	assert_int_equal(ssh_channel_new(&target, &c, ret_fd), 0);
	assert_int_equal(ssh_channel_attach(c, &w->loop), 0);
	return c;
}

/* As one that another thread has forked and that has not come to exec: it has all of ours. */
static void what_is_closed_has_no_events(void **state)
{
	struct world *w = *state;
	int caller;
	struct ssh_channel *c = channel_of(w, &caller);
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	ssh_channel_reset(c);
	ssh_loop_reap(&w->loop);
	assert_int_equal(send(caller, "x", 1, MSG_NOSIGNAL), 1);
	/* dispatch() would go to memory that was freed */
	assert_int_equal(epoll_wait(w->loop.epoll, &(struct epoll_event){0}, 1, 0), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(caller);
}

static int listen_at(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(str_copy(at.sun_path, sizeof(at.sun_path), path), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* Until the server answers, which it may never do. */
static void a_caller_that_gives_up_holds_nothing(void **state)
{
	struct world *w = *state;
	char path[64];
	int caller, listener;
	struct ssh_channel *c = channel_of(w, &caller);
	struct ssh_mux *m;

	snprintf(path, sizeof(path), "%s/s", w->dir);
	listener = listen_at(path);
	assert_int_equal(ssh_mux_new(&w->loop, path, 65536, &m), 0);
	ssh_mux_open(m, c);
	close(caller);
	while (dispatch(w, 0) > 0)
		;
	assert_true(c->gone);
	assert_int_equal(c->fd, -1);
	ssh_mux_free(m, &w->waiting);
	close(listener);
	unlink(path);
}

/* ---- The command line ---- */

/* What the user's configuration has for sessions of the user's own. */
static void a_command_is_ours_alone(void **state)
{
	struct world *w = *state;
	char config[64];
	const char *const options[] = {"-F", config, NULL};
	const struct ssh_config c = {.destination = "h", .run_dir = w->dir, .options = options};
	_buf_ struct buf out = {0}, words = {0};
	const char *argv[64] = {"ssh", "-G"};
	struct err err;
	int status;
	FILE *f;

	snprintf(config, sizeof(config), "%s/config", w->dir);
	f = fopen(config, "we");
	fputs("RemoteCommand tmux\nForwardAgent yes\nForwardX11 yes\n", f);
	fclose(f);
	assert_int_equal(ssh_setup_init(&w->setup, SSH_FOR_COMMAND, &c, "true", &err), 0);
	for (size_t i = 1; w->setup.argv[i]; i++)
		argv[i + 1] = w->setup.argv[i];
	assert_int_equal(run(NULL, argv, NULL, &out, &words, &status, &err), 0);
	unlink(config);
	assert_int_equal(status, 0);
	assert_non_null(strstr(out.data, "\nforwardagent no\n"));
	assert_non_null(strstr(out.data, "\nforwardx11 no\n"));
}

/* ---- The agent's connection ---- */

/* A server that cannot be reached is not one that has no shell. */
static void the_agent_waits_for_a_server(void **state)
{
	struct world *w = *state;
	const char *const options[] = {"-F", "/dev/null", "-p", "1", NULL};
	const struct ssh_config c = {
		.destination = "127.0.0.1", .run_dir = w->dir, .options = options};
	const struct relay_config rc = {.tun = -1};
	uint64_t end = clock_ms() + LIMIT_MS;
	struct ssh_agent_status s = {0};
	struct ssh_agent *a;
	struct relay *r;
	struct err err;

	assert_int_equal(relay_new(&rc, &r), 0);
	assert_int_equal(ssh_agent_new(&c, r, &a, &err), 0);
	ssh_agent_kick(a);
	while (s.state < SSH_AGENT_UP && clock_ms() < end) {
		poll(NULL, 0, 10);
		ssh_agent_get_status(a, &s);
	}
	assert_int_equal(s.state, SSH_AGENT_WAITING);
	assert_non_null(strstr(s.reason, "Connection refused"));
	ssh_agent_free(a);
	relay_free(r);
}

/* More than is read of it, and a pipe holds: ssh waits for room, and we for ssh. */
static void a_long_configuration_keeps_nobody_waiting(void **state)
{
	enum { VARIABLES = 4000 };
	const char *options[VARIABLES + 1] = {NULL};
	struct world *w = *state;
	const struct ssh_config c = {
		.destination = "localhost", .run_dir = w->dir, .options = options};
	struct ssh_where where;
	struct err err;
	int r;

	for (int i = 0; i < VARIABLES; i++)
		options[i] = xasprintf("-oSendEnv=A_RATHER_LONG_NAME_OF_A_VARIABLE_OF_MANY_%d", i);
	r = ssh_where_find(&c, &where, &err);
	for (int i = 0; i < VARIABLES; i++)
		free((char *)options[i]);
	assert_int_equal(r, 0);
	assert_string_equal(where.alias, "localhost");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(words_of_others_do_not_stop_it),
		TEST(a_socket_that_takes_nobody_is_tried_again),
		TEST(what_is_closed_has_no_events),
		TEST(a_caller_that_gives_up_holds_nothing),
		TEST(a_command_is_ours_alone),
		TEST(the_agent_waits_for_a_server),
		TEST(a_long_configuration_keeps_nobody_waiting),
	};

	if (!private_net()) {
		printf("1..0 # SKIP no network of its own\n");
		return 0;
	}
	return cmocka_run_group_tests_name("ssh_master", tests, NULL, NULL);
}
