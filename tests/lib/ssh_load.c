// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The dialer over SSH (ssh_open.h) for longer than one stream.
 *
 *   ssh_load DEST forward PORT HOST PORT   what connects to the local port is relayed, until killed
 *   ssh_load DEST bulk HOST PORT MS [N]    N streams full of bytes to `stream serve`; prints Gbit/s
 *   ssh_load DEST down HOST PORT MS [N]    the other way
 *   ssh_load DEST ask HOST PORT MS         requests of one byte: median and 99th percentile in us
 *   ssh_load DEST beside HOST PORT MS      the same while another stream is bulk
 *   ssh_load DEST idle HOST PORT N         N idle streams: memory, and what a request costs then
 *   ssh_load DEST stall HOST PORT MS       down, while the reader of another stream sleeps
 *   ssh_load DEST half HOST PORT N         reads to the end, then sends N bytes
 *   ssh_load DEST opens HOST PORT N        N streams one after another: how many a second
 *
 * Each change of a connection's state is a line on stderr.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "ssh_open.h"

static struct dialer *dialer;
static struct dial_target target;

static _Noreturn void die(const char *why)
{
	fprintf(stderr, "ssh_load: %s\n", why);
	exit(2);
}

/* ---- Streams ---- */

static int open_quietly(struct dial *c)
{
	return dial_wait(dialer, c, &target) == DIAL_CONNECTED ? TAKE_FD(c->fd) : -1;
}

/* A blocking descriptor. */
static int open_stream(char want)
{
	static _Thread_local struct dial c;
	int fd = open_quietly(&c);

	if (fd < 0)
		die(c.reason);
	fcntl(fd, F_SETFL, 0);
	if (want && send(fd, &want, 1, MSG_NOSIGNAL) != 1)
		die("cannot send");
	return fd;
}

/* ---- Forwarding ---- */

struct pipe {
	int from, to;
};

static void *copy(void *arg)
{
	struct pipe *p = arg;
	char data[65536];
	ssize_t n, w = 0;

	while ((n = recv(p->from, data, sizeof(data), 0)) > 0)
		for (ssize_t at = 0; at < n; at += w)
			if ((w = send(p->to, data + at, (size_t)(n - at), MSG_NOSIGNAL)) < 0)
				break;
	shutdown(p->to, SHUT_WR);
	return NULL;
}

static void *relay(void *arg)
{
	int local = (int)(intptr_t)arg;
	struct dial *c = xcalloc(1, sizeof(*c));
	int stream = open_quietly(c);
	struct pipe up = {local, stream}, down = {stream, local};
	pthread_t thread;

	if (stream < 0) {
		fprintf(stderr, "failed: %s\n", c->reason);
	} else {
		fcntl(stream, F_SETFL, 0);
		pthread_create(&thread, NULL, copy, &up);
		copy(&down);
		pthread_join(thread, NULL);
		close(stream);
	}
	close(local);
	free(c);
	return NULL;
}

static int forward(uint16_t port)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&any, sizeof(any)) || listen(listener, 1024))
		die("cannot listen");
	puts("ready");
	fflush(stdout);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		pthread_t thread;

		if (fd < 0)
			continue;
		pthread_create(&thread, NULL, relay, (void *)(intptr_t)fd);
		pthread_detach(thread);
	}
}

/* ---- Throughput ---- */

static unsigned int duration_ms;
static _Atomic uint64_t total_bytes;

static void *bulk(void *arg)
{
	static const char data[65536];
	uint64_t stop = clock_ms() + duration_ms, report[2] = {0};
	int fd = open_stream('b');

	(void)arg;
	while (clock_ms() < stop)
		if (send(fd, data, sizeof(data), MSG_NOSIGNAL) < 0)
			die("send");
	shutdown(fd, SHUT_WR);
	if (recv(fd, report, sizeof(report), MSG_WAITALL) != (ssize_t)sizeof(report))
		die("no report");
	total_bytes += report[0];
	close(fd);
	return NULL;
}

static void *down(void *arg)
{
	uint64_t start = clock_ms();
	int fd = open_stream('d');
	static _Thread_local char data[65536];
	ssize_t n;

	(void)arg;
	while (clock_ms() - start < duration_ms && (n = recv(fd, data, sizeof(data), 0)) > 0)
		total_bytes += (uint64_t)n;
	close(fd);
	return NULL;
}

static int many(void *(*fn)(void *), unsigned int n)
{
	pthread_t threads[64];
	uint64_t start;

	if (!n || n > ARRAY_SIZE(threads))
		die("too many");
	close(open_stream('x')); /* there is a connection */
	start = clock_us();
	for (unsigned int i = 0; i < n; i++)
		pthread_create(&threads[i], NULL, fn, NULL);
	for (unsigned int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	printf("%.3f Gbit/s\n", (double)total_bytes * 8e-3 / (double)(clock_us() - start));
	return 0;
}

static int stall(void)
{
	int sleeper = open_stream('d'), r = many(down, 2);

	close(sleeper);
	return r;
}

static int half(size_t n)
{
	static char data[65536];
	int fd = open_stream(0);

	while (recv(fd, data, sizeof(data), 0) > 0)
		;
	for (size_t sent = 0; sent < n; sent += sizeof(data))
		if (send(fd, data, MIN(sizeof(data), n - sent), MSG_NOSIGNAL) < 0)
			die("cannot send after the end");
	shutdown(fd, SHUT_WR);
	pause(); /* until killed: the end must come through by itself */
	return 0;
}

/* ---- Latency ---- */

#define ASKS_MAX 200000

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int ask(uint64_t ms)
{
	static uint32_t times[ASKS_MAX];
	uint64_t stop = clock_ms() + ms;
	int fd = open_stream('x');
	size_t n = 0;
	char byte;

	while (clock_ms() < stop && n < ASKS_MAX) {
		uint64_t start = clock_us();

		if (send(fd, "x", 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1)
			die("ask");
		times[n++] = (uint32_t)(clock_us() - start);
	}
	qsort(times, n, sizeof(times[0]), by_size);
	printf("median %u us, p99 %u us, of %zu\n", times[n / 2], times[n * 99 / 100], n);
	close(fd);
	return 0;
}

static int beside(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, bulk, NULL);
	ask(duration_ms / 2);
	pthread_join(thread, NULL);
	printf("%.3f Gbit/s\n", (double)total_bytes * 8e-6 / duration_ms);
	return 0;
}

static long rss_kb(pid_t pid)
{
	char path[64], line[256];
	long kb = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmRSS: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

/* User and system, of all threads. */
static uint64_t cpu_us(pid_t pid)
{
	unsigned long user = 0, sys = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
			 &sys) != 2)
		user = 0;
	if (f)
		fclose(f);
	return (user + sys) * 1000000 / (unsigned long)sysconf(_SC_CLK_TCK);
}

static int idle(unsigned int n)
{
	int *fds = xcalloc(n, sizeof(int));
	struct rlimit limit = {65536, 65536};
	struct ssh_status status;
	uint64_t start, mine, theirs;
	long before;
	pid_t ssh;

	setrlimit(RLIMIT_NOFILE, &limit);
	close(open_stream(0));
	before = rss_kb(getpid());
	start = clock_us();
	for (unsigned int i = 0; i < n; i++)
		fds[i] = open_stream(0);
	ssh_get_status(dialer, &status);
	ssh = status.connections[0].pid;
	printf("%u idle streams: opened in %.2f s, %.2f kB each, ssh %ld kB\n", n,
	       (double)(clock_us() - start) / 1e6, (double)(rss_kb(getpid()) - before) / n,
	       rss_kb(ssh));
	mine = cpu_us(getpid());
	theirs = cpu_us(ssh);
	for (unsigned int i = 0; i < 500; i++) {
		char byte = 'x';

		if (send(fds[i % n], &byte, 1, MSG_NOSIGNAL) != 1 ||
		    recv(fds[i % n], &byte, 1, 0) != 1)
			die("no echo");
	}
	printf("a request among them: %.3f ms of our CPU, %.3f ms of ssh's\n",
	       (double)(cpu_us(getpid()) - mine) / 5e5, (double)(cpu_us(ssh) - theirs) / 5e5);
	for (unsigned int i = 0; i < n; i++)
		close(fds[i]);
	free(fds);
	return 0;
}

static int opens(unsigned int n)
{
	uint64_t start;
	struct dial *c = xcalloc(1, sizeof(*c));
	unsigned int counts[DIAL_NUM_STATUSES] = {0};

	dial_wait(dialer, c, &target);
	dial_abort(c);
	start = clock_us();
	for (unsigned int i = 0; i < n; i++) {
		counts[dial_wait(dialer, c, &target)]++;
		dial_abort(c);
	}
	printf("%.0f opens a second\n", n * 1e6 / (double)(clock_us() - start));
	for (unsigned int i = 0; i < DIAL_NUM_STATUSES; i++)
		if (counts[i])
			printf("%s %u\n", dial_status_name((enum dial_status)i), counts[i]);
	free(c);
	return 0;
}

/* ---- Telling ---- */

/* arg: a descriptor that is readable when it is enough. */
static void *tell(void *arg)
{
	struct pollfd p[] = {{.fd = ssh_event_fd(dialer), .events = POLLIN},
			     {.fd = (int)(intptr_t)arg, .events = POLLIN | POLLHUP}};
	struct ssh_status s;
	uint64_t count;

	while (poll(p, 2, -1) >= 0 && !p[1].revents) {
		if (read(p[0].fd, &count, sizeof(count)) < 0)
			continue;
		ssh_get_status(dialer, &s);
		for (unsigned int i = 0; i < s.n; i++)
			fprintf(stderr, "%u %s pid %d%s, %u connects, %s: %s\n", i,
				ssh_state_name(s.connections[i].state), s.connections[i].pid,
				s.connections[i].passenger ? " passenger" : "",
				s.connections[i].connects, ssh_error_name(s.connections[i].error),
				s.connections[i].text);
	}
	return NULL;
}

static void on_kick(int sig)
{
	(void)sig;
	ssh_kick(dialer); /* the test alone sends it, and while this thread only sleeps */
}

static volatile sig_atomic_t stopped;

static void on_term(int sig)
{
	(void)sig;
	stopped = 1;
}

static int run(int argc, char **argv)
{
	const char *command = argv[2];
	unsigned int number = argc > 5 ? (unsigned int)atoi(argv[5]) : 0;
	unsigned int n = argc > 6 ? (unsigned int)atoi(argv[6]) : 1;

	duration_ms = number;
	if (!strcmp(command, "bulk"))
		return many(bulk, n);
	if (!strcmp(command, "down"))
		return many(down, n);
	if (!strcmp(command, "ask"))
		return ask(number);
	if (!strcmp(command, "beside"))
		return beside();
	if (!strcmp(command, "idle"))
		return idle(number);
	if (!strcmp(command, "stall"))
		return stall();
	if (!strcmp(command, "half"))
		return half(number);
	if (!strcmp(command, "opens"))
		return opens(number);
	die("no such command");
}

static void *forward_thread(void *arg)
{
	forward((uint16_t)atoi(arg));
	return NULL;
}

/* Until SIGTERM. */
static int forward_until_told(char *port)
{
	sigset_t none;
	pthread_t thread;

	sigemptyset(&none);
	pthread_create(&thread, NULL, forward_thread, port);
	signal(SIGUSR1, on_kick);
	signal(SIGTERM, on_term);
	while (!stopped)
		pause();
	return 0;
}

int main(int argc, char **argv)
{
	bool forwards = argc == 6 && !strcmp(argv[2], "forward");
	const char *const *at = (const char *const *)argv + (forwards ? 4 : 3);
	pthread_t thread;
	int r, enough[2];

	if (argc < 6)
		die("usage: see the head of ssh_load.c");
	if (ip_parse(at[0], &target.addr, NULL) &&
	    str_copy(target.host, sizeof(target.host), at[0]))
		die("the host's name is too long");
	target.port = (uint16_t)strtoul(at[1], NULL, 10);
	dialer = ssh_open(argv[1]);
	if (pipe2(enough, O_CLOEXEC))
		die("no pipe");
	pthread_create(&thread, NULL, tell, (void *)(intptr_t)enough[0]);
	r = forwards ? forward_until_told(argv[3]) : run(argc, argv);
	close(enough[1]);
	pthread_join(thread, NULL);
	if (forwards)
		return 0; /* with threads that still dial; the kernel ends ssh */
	dialer_free(dialer);
	return r;
}
