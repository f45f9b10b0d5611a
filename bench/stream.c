// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How much and how fast: one TCP connection, either pushed full of bytes for a while, or used for
 * requests and answers of one byte each; or many connections.
 *
 *   stream serve PORT                      takes connections until killed
 *   stream bulk ADDR PORT MILLISECONDS     prints gigabits a second, and the number of bytes
 *   stream ask ADDR PORT MILLISECONDS      prints the median and 99th percentile in microseconds
 *   stream down ADDR PORT MILLISECONDS     as bulk, the other way
 *   stream echo PORT                       one process for many connections: sends back what comes
 *   stream rate ADDR PORT MILLISECONDS     from an echo: connect, request, close; prints how many a second
 *   stream first ADDR PORT MILLISECONDS    the same, one after the other: from connect to answer, as ask
 *   stream times ADDR PORT N               N of these; prints nothing
 *   stream hold ADDR PORT N                N connections at once to an echo, a request on each; prints "ready";
 *                                          a request on each again when stdin ends, then "ok"
 *   stream late ADDR PORT N                from serve: reads to the end, then sends N bytes; either side prints
 *                                          how many it had
 *   stream inetd PORT COMMAND...           one connection, which is the command's stdin and stdout
 *
 * With STREAM_VIA="ADDR PORT" in the environment connections are asked of the CONNECT proxy there.
 *
 * The first byte a client sends says what it came for. Run it under taskset(1): with a processor for
 * each end the figures repeat. Bytes are counted by the receiver and told to the sender at the end, so
 * that what sits in buffers does not count.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (128 * 1024)
#define MAX_SAMPLES 1000000

static char chunk[CHUNK];

_Noreturn static void die(const char *what)
{
	fprintf(stderr, "stream: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void no_delay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* ---- the serving side ---- */

static void sink(int fd)
{
	uint64_t start = now_ns(), bytes = 0, report[2];
	ssize_t n;

	while ((n = recv(fd, chunk, sizeof(chunk), 0)) > 0)
		bytes += (uint64_t)n;
	report[0] = bytes;
	report[1] = now_ns() - start;
	send(fd, report, sizeof(report), MSG_NOSIGNAL);
}

static void source(int fd)
{
	while (send(fd, chunk, sizeof(chunk), MSG_NOSIGNAL) > 0)
		;
}

#define LATE_BYTES 300000

static uint64_t count_to_end(int fd)
{
	uint64_t bytes = 0;
	ssize_t n;

	while ((n = recv(fd, chunk, sizeof(chunk), 0)) > 0)
		bytes += (uint64_t)n;
	return bytes;
}

/* Says all it has to say, and only then listens. */
static void half_close(int fd)
{
	for (size_t left = LATE_BYTES; left;) {
		ssize_t n = send(fd, chunk, left < sizeof(chunk) ? left : sizeof(chunk), MSG_NOSIGNAL);

		if (n <= 0)
			return;
		left -= (size_t)n;
	}
	shutdown(fd, SHUT_WR);
	printf("late %llu\n", (unsigned long long)count_to_end(fd));
	fflush(stdout);
}

static void answer(int fd)
{
	char c;

	while (recv(fd, &c, 1, 0) == 1)
		if (send(fd, &c, 1, MSG_NOSIGNAL) != 1)
			break;
}

_Noreturn static void serve_one(int fd)
{
	char want = 0;

	no_delay(fd);
	if (recv(fd, &want, 1, 0) == 1) {
		if (want == 'b')
			sink(fd);
		else if (want == 'd')
			source(fd);
		else if (want == 'h')
			half_close(fd);
		else
			answer(fd);
	}
	exit(0);
}

static int listen_at(const char *port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port))};
	int one = 1, listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(listener, (struct sockaddr *)&any, sizeof(any)) || listen(listener, 4096))
		die("listen");
	puts("ready");
	fflush(stdout);
	return listener;
}

static int serve(const char *port)
{
	int listener = listen_at(port);

	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0)
			continue;
		if (!fork())
			serve_one(fd);
		close(fd);
	}
}

/* Answers are a byte or so: that they do not fit does not happen. */
static void echo_one(int fd)
{
	char data[4096];
	ssize_t n = recv(fd, data, sizeof(data), 0);

	if (n <= 0 || send(fd, data, (size_t)n, MSG_NOSIGNAL) != n)
		close(fd);
}

static int echo(const char *port)
{
	int set = epoll_create1(EPOLL_CLOEXEC), listener = listen_at(port);
	struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, events[64];

	if (epoll_ctl(set, EPOLL_CTL_ADD, listener, &e))
		die("epoll");
	for (;;) {
		int n = epoll_wait(set, events, 64, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd != listener) {
				echo_one(events[i].data.fd);
				continue;
			}
			e.data.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
			if (e.data.fd < 0)
				continue;
			no_delay(e.data.fd);
			epoll_ctl(set, EPOLL_CTL_ADD, e.data.fd, &e);
		}
	}
}

static int inetd(const char *port, char **command)
{
	int fd = accept(listen_at(port), NULL, NULL);

	if (fd < 0 || dup2(fd, 0) < 0 || dup2(fd, 1) < 0)
		die("accept");
	close(fd);
	execvp(command[0], command);
	die(command[0]);
}

/* ---- the asking side ---- */

/* Asks the proxy at the other end for the target; what comes behind the answer stays in the socket. */
static void ask_proxy(int fd, const char *addr, const char *port)
{
	static const char end[] = "\r\n\r\n";
	bool v6 = strchr(addr, ':');
	char text[256], c;
	size_t at = 0;
	int len = snprintf(text, sizeof(text), "CONNECT %s%s%s:%s HTTP/1.1\r\nHost: %s%s%s:%s\r\n\r\n",
			   v6 ? "[" : "", addr, v6 ? "]" : "", port, v6 ? "[" : "", addr, v6 ? "]" : "",
			   port);

	if (send(fd, text, (size_t)len, MSG_NOSIGNAL) != len)
		die("send to the proxy");
	/* Peek, look for the end, take no more than that. */
	while (at < 4) {
		ssize_t n = recv(fd, text, sizeof(text), MSG_PEEK), take = 0;

		if (n <= 0)
			die("the proxy's answer");
		for (; take < n && at < 4; take++) {
			c = text[take];
			at = c == end[at] ? at + 1 : c == end[0];
		}
		if (recv(fd, text, (size_t)take, 0) != take)
			die("the proxy's answer");
	}
}

static int dial_straight(const char *addr, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *ai;
	int fd;

	if (getaddrinfo(addr, port, &hints, &ai))
		die(addr);
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, ai->ai_addr, ai->ai_addrlen))
		die("connect");
	freeaddrinfo(ai);
	no_delay(fd);
	return fd;
}

static int dial_any(const char *addr, const char *port)
{
	const char *via = getenv("STREAM_VIA");
	char proxy[64], proxy_port[8];
	int fd;

	if (!via)
		return dial_straight(addr, port);
	if (sscanf(via, "%63s %7s", proxy, proxy_port) != 2)
		die("STREAM_VIA");
	fd = dial_straight(proxy, proxy_port);
	ask_proxy(fd, addr, port);
	return fd;
}

static int dial(const char *addr, const char *port, char want)
{
	int fd = dial_any(addr, port);

	if (send(fd, &want, 1, MSG_NOSIGNAL) != 1)
		die("send");
	return fd;
}

static void print_rate(uint64_t bytes, uint64_t ns)
{
	printf("%.3f %llu\n", (double)bytes * 8 / (double)ns, (unsigned long long)bytes);
}

static int bulk(const char *addr, const char *port, uint64_t duration_ns)
{
	int fd = dial(addr, port, 'b');
	uint64_t stop = now_ns() + duration_ns, report[2];

	while (now_ns() < stop)
		if (send(fd, chunk, sizeof(chunk), MSG_NOSIGNAL) < 0)
			die("send");
	shutdown(fd, SHUT_WR);
	if (recv(fd, report, sizeof(report), MSG_WAITALL) != (ssize_t)sizeof(report))
		die("recv");
	print_rate(report[0], report[1]);
	return 0;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void print_spread(uint32_t samples[], size_t n)
{
	qsort(samples, n, sizeof(samples[0]), by_size);
	printf("%.2f %.2f\n", samples[n / 2] / 1000.0, samples[n * 99 / 100] / 1000.0);
}

static uint32_t samples[MAX_SAMPLES];

static int ask(const char *addr, const char *port, uint64_t duration_ns)
{
	int fd = dial(addr, port, 'a');
	uint64_t start = now_ns(), stop = start + duration_ns, before = start;
	size_t n = 0;
	char c = 'x';

	while (before < stop && n < MAX_SAMPLES) {
		if (send(fd, &c, 1, MSG_NOSIGNAL) != 1 || recv(fd, &c, 1, 0) != 1)
			die("request");
		uint64_t after = now_ns();
		samples[n++] = (uint32_t)(after - before);
		before = after;
	}
	print_spread(samples, n);
	return 0;
}

static int down(const char *addr, const char *port, uint64_t duration_ns)
{
	int fd = dial(addr, port, 'd');
	uint64_t start = now_ns(), bytes = 0;
	ssize_t n;

	while (now_ns() - start < duration_ns && (n = recv(fd, chunk, sizeof(chunk), 0)) > 0)
		bytes += (uint64_t)n;
	print_rate(bytes, now_ns() - start);
	return bytes ? 0 : 1;
}

static void once(const char *addr, const char *port)
{
	int fd = dial(addr, port, 'x');
	char c;

	if (recv(fd, &c, 1, 0) != 1)
		die("request");
	close(fd);
}

static int rate(const char *addr, const char *port, uint64_t duration_ns)
{
	uint64_t start = now_ns();
	unsigned int n = 0;

	for (; now_ns() - start < duration_ns; n++)
		once(addr, port);
	printf("%.0f\n", n * 1e9 / (double)(now_ns() - start));
	return 0;
}

static int first(const char *addr, const char *port, uint64_t duration_ns)
{
	uint64_t start = now_ns(), before = start;
	size_t n = 0;

	while (before - start < duration_ns && n < MAX_SAMPLES) {
		once(addr, port);
		uint64_t after = now_ns();
		samples[n++] = (uint32_t)(after - before);
		before = after;
	}
	print_spread(samples, n);
	return 0;
}

static int times(const char *addr, const char *port, int n)
{
	while (n--)
		once(addr, port);
	return 0;
}

static int late(const char *addr, const char *port, int n)
{
	int fd = dial(addr, port, 'h');

	printf("%llu\n", (unsigned long long)count_to_end(fd));
	while (n > 0) {
		ssize_t sent = send(fd, chunk, (size_t)n < sizeof(chunk) ? (size_t)n : sizeof(chunk),
				    MSG_NOSIGNAL);

		if (sent < 0)
			die("send");
		n -= (int)sent;
	}
	return 0;
}

static int start_connecting(const char *addr, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *ai;
	int fd;

	if (getaddrinfo(addr, port, &hints, &ai))
		die(addr);
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || (connect(fd, ai->ai_addr, ai->ai_addrlen) && errno != EINPROGRESS))
		die("connect");
	freeaddrinfo(ai);
	return fd;
}

static void finish_connecting(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(int);
	int error = 0;

	if (poll(&p, 1, 10000) < 1 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) || error) {
		errno = error ? error : ETIMEDOUT;
		die("connect");
	}
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	no_delay(fd);
}

static void request_each(const int fds[], int n)
{
	char c = 'x';

	for (int i = 0; i < n; i++)
		if (send(fds[i], &c, 1, MSG_NOSIGNAL) != 1)
			die("send");
	for (int i = 0; i < n; i++)
		if (recv(fds[i], &c, 1, 0) != 1)
			die("recv");
}

static int hold(const char *addr, const char *port, int n)
{
	int *fds = calloc((size_t)n, sizeof(*fds));
	char c;

	if (!fds)
		die("memory");
	for (int i = 0; i < n; i++)
		fds[i] = getenv("STREAM_VIA") ? dial_any(addr, port) : start_connecting(addr, port);
	for (int i = 0; i < n; i++)
		finish_connecting(fds[i]);
	request_each(fds, n);
	puts("ready");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	request_each(fds, n);
	puts("ok");
	return 0;
}

static void allow_many_files(void)
{
	struct rlimit files;

	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

static const struct {
	const char *name;
	int (*run)(const char *addr, const char *port, uint64_t duration_ns);
} measurements[] = {{"bulk", bulk}, {"down", down}, {"ask", ask}, {"rate", rate},
		    {"first", first}};

int main(int argc, char **argv)
{
	uint64_t duration_ns = argc > 4 ? (uint64_t)atoi(argv[4]) * 1000000u : 0;

	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	allow_many_files();
	if (argc == 3 && !strcmp(argv[1], "echo"))
		return echo(argv[2]);
	if (argc > 3 && !strcmp(argv[1], "inetd"))
		return inetd(argv[2], argv + 3);
	if (argc == 5 && !strcmp(argv[1], "times"))
		return times(argv[2], argv[3], atoi(argv[4]));
	if (argc == 5 && !strcmp(argv[1], "late"))
		return late(argv[2], argv[3], atoi(argv[4]));
	if (argc == 5 && !strcmp(argv[1], "hold"))
		return hold(argv[2], argv[3], atoi(argv[4]));
	for (size_t i = 0; argc == 5 && i < sizeof(measurements) / sizeof(measurements[0]); i++)
		if (!strcmp(argv[1], measurements[i].name))
			return measurements[i].run(argv[2], argv[3], duration_ns);
	fprintf(stderr, "usage: stream serve|echo PORT | bulk|down|ask|rate|first ADDR PORT MS | "
			"times|hold|late ADDR PORT N | inetd PORT COMMAND\n");
	return 2;
}
