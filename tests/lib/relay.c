// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * relay [-d off|remote|ADDRESS] [-n] [-r] [-t MS] TUN COMMAND...
 *
 * The relay and the deployment without the rest of a tunnel: makes the TUN device, runs COMMAND
 * with the deployment's command as its last argument, and relays what comes out of the device.
 *
 *   -n  COMMAND is the agent itself: nothing is deployed
 *   -r  when the agent is lost, runs COMMAND again
 *   -t  the deployment's time limit
 *   -p  only prints the deployment's command
 *
 * Prints "attached MACHINE DIRECTORY PID" when an agent serves, "lost WHY" when one does no more,
 * and for SIGUSR1 a line of counters. Exits with 0 after SIGTERM, and with 10 plus the status of a
 * deployment that failed, which is on stderr.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/binaries.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "kernel/netns.h"
#include "kernel/tun.h"
#include "tunnel/deploy.h"
#include "tunnel/relay.h"

#define PACKET_MAX (TUN_HEADER + 65535)
#define TUN_BATCH 64

struct driver {
	struct relay_config config;
	struct relay *relay;
	bool bare, again;
	uint32_t timeout_ms;
	char **command; /* with room for one argument more */
	int n_command;
	int signals;
	pid_t child;
	bool attached;
	uint8_t rx[PACKET_MAX];
};

static _Noreturn void die(const char *why)
{
	fprintf(stderr, "relay: %s\n", why);
	exit(3);
}

/* The driver's end of the command's stdin and stdout. */
static int spawn(struct driver *d)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		die("socketpair");
	d->child = fork();
	if (d->child == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		dup2(pair[1], 0);
		dup2(pair[1], 1);
		if (!d->bare)
			d->command[d->n_command] = (char *)(uintptr_t)deploy_command;
		execvp(d->command[0], d->command);
		_exit(127);
	}
	close(pair[1]);
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	return pair[0];
}

static void read_hello(int fd, struct proto_hello *ret)
{
	uint8_t buf[PROTO_HEAD_MAX];
	struct frame f;
	size_t len = 0, used;
	int r;

	while ((r = frame_parse(FROM_AGENT, buf, len, &f, &used)) == 0) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (poll(&p, 1, 20000) < 1)
			die("no HELLO");
		n = read(fd, buf + len, sizeof(buf) - len);
		if (n <= 0)
			die("no agent");
		len += (size_t)n;
	}
	if (r < 0 || f.type != FRAME_HELLO)
		die("not a HELLO");
	*ret = f.hello;
}

/* A deployment blocks the driver: meanwhile packets wait in the TUN device. */
static void deploy(struct driver *d, int fd, struct deploy *c)
{
	enum deploy_status s = deploy_start(c, fd, agent_binaries, clock_ms());

	if (d->timeout_ms)
		c->deadline_ms = clock_ms() + d->timeout_ms;
	while (s == DEPLOY_PENDING) {
		struct pollfd p = {.fd = fd, .events = (short)c->events};
		uint64_t now = clock_ms();

		poll(&p, 1, now < c->deadline_ms ? (int)(c->deadline_ms - now) : 0);
		s = deploy_step(c, clock_ms());
	}
	if (s != DEPLOY_DONE) {
		fprintf(stderr, "%s: %s\n", deploy_status_name(s), c->reason);
		close(fd);
		kill(d->child, SIGTERM);
		waitpid(d->child, NULL, 0);
		exit(10 + (int)s);
	}
}

static void attach(struct driver *d)
{
	struct deploy c = {.machine = "-", .directory = "-"};
	int fd = spawn(d);

	if (d->bare)
		read_hello(fd, &c.hello);
	else
		deploy(d, fd, &c);
	if (relay_attach(d->relay, fd, &c.hello, clock_ms()))
		die("cannot attach");
	d->attached = true;
	printf("attached %s in %s by %d\n", c.machine, c.directory, (int)d->child);
}

static void lost(struct driver *d, int why)
{
	d->attached = false;
	printf("lost %s\n", strerrorname_np(-why));
	waitpid(d->child, NULL, 0);
	if (d->again)
		attach(d);
}

static void print_stats(struct driver *d)
{
	struct relay_stats s;

	relay_get_stats(d->relay, &s);
	printf("out=%llu in=%llu out_dropped=%llu in_dropped=%llu errors=%llu evicted=%llu "
	       "flows=%u "
	       "rtt_us=%u agent_dropped=%llu agent_overflowed=%llu agent_flows=%u\n",
	       (unsigned long long)s.out, (unsigned long long)s.in,
	       (unsigned long long)s.out_dropped, (unsigned long long)s.in_dropped,
	       (unsigned long long)s.errors, (unsigned long long)s.evicted, s.flows, s.rtt_us,
	       (unsigned long long)s.agent.dropped, (unsigned long long)s.agent.overflowed,
	       s.agent.flows);
}

/* False: it is time to end. */
static bool on_signal(struct driver *d)
{
	struct signalfd_siginfo s;

	if (read(d->signals, &s, sizeof(s)) != sizeof(s))
		return true;
	print_stats(d);
	return s.ssi_signo == SIGUSR1;
}

static void read_tun(struct driver *d)
{
	for (int i = 0; i < TUN_BATCH; i++) {
		ssize_t n = read(d->config.tun, d->rx, sizeof(d->rx));
		enum packet_kind kind;
		struct packet p;

		if (n < 0)
			return;
		kind = packet_parse(d->rx, (size_t)n, &p);
		if (kind == PACKET_UDP || kind == PACKET_ECHO)
			relay_input(d->relay, kind, &p, clock_ms());
	}
}

static void run(struct driver *d)
{
	struct pollfd p[] = {{.fd = d->config.tun, .events = POLLIN},
			     {.fd = relay_fd(d->relay), .events = POLLIN},
			     {.fd = d->signals, .events = POLLIN}};
	bool go_on = true;

	while (go_on) {
		int wait_ms, e = relay_expire(d->relay, clock_ms(), &wait_ms);

		if (!e && poll(p, ARRAY_SIZE(p), wait_ms) > 0) {
			if (p[0].revents)
				read_tun(d);
			if (p[1].revents)
				e = relay_step(d->relay, clock_ms());
			if (p[2].revents)
				go_on = on_signal(d);
		}
		if (e)
			lost(d, e);
	}
}

static void options(struct driver *d, int argc, char **argv)
{
	struct err err = {0};
	int c;

	while ((c = getopt(argc, argv, "+d:nprt:")) != -1) {
		switch (c) {
		case 'd':
			d->config.dns = RELAY_DNS_OFF;
			if (!strcmp(optarg, "off"))
				break;
			d->config.dns = RELAY_DNS_REMOTE;
			if (!strcmp(optarg, "remote"))
				break;
			d->config.dns = RELAY_DNS_ADDR;
			if (ip_parse(optarg, &d->config.resolver, &err))
				die(err.msg);
			break;
		case 'n':
			d->bare = true;
			break;
		case 'p':
			puts(deploy_command);
			exit(0);
		case 'r':
			d->again = true;
			break;
		case 't':
			d->timeout_ms = (uint32_t)atoi(optarg);
			break;
		default:
			die("usage: relay [-d off|remote|ADDRESS] [-n] [-r] [-t MS] TUN "
			    "COMMAND...");
		}
	}
	if (argc - optind < 2)
		die("a TUN device and a command are needed");
	d->n_command = argc - optind - 1;
	d->command = xcalloc((size_t)d->n_command + 2, sizeof(*d->command));
	memcpy(d->command, argv + optind + 1, (size_t)d->n_command * sizeof(*d->command));
}

int main(int argc, char **argv)
{
	static struct driver d;
	_netns_ struct netns *ns = NULL;
	struct err err = {0};
	sigset_t set;

	options(&d, argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	d.signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (netns_open(NULL, NULL, &ns, &err) || tun_open(ns, argv[optind], 1, &d.config.tun, &err))
		die(err.msg);
	if (relay_new(&d.config, &d.relay))
		die("relay_new");
	puts("ready");
	attach(&d);
	run(&d);
	relay_free(d.relay);
	waitpid(d.child, NULL, 0);
	free(d.command);
	return 0;
}
