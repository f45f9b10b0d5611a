// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How much and how fast: one TCP connection, either pushed full of bytes for a while, or used for
 * requests and answers of one byte each.
 *
 *   stream serve PORT                      takes connections until killed
 *   stream bulk ADDR PORT MILLISECONDS     prints gigabits a second
 *   stream ask ADDR PORT MILLISECONDS      prints the median and 99th percentile in microseconds
 *
 * The first byte a client sends says what it came for. Run it under taskset(1): with a processor for
 * each end the figures repeat. Bytes are counted by the receiver and told to the sender at the end, so
 * that what sits in buffers does not count.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
		else
			answer(fd);
	}
	exit(0);
}

static int serve(const char *port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port))};
	int one = 1, listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	signal(SIGCHLD, SIG_IGN);
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(listener, (struct sockaddr *)&any, sizeof(any)) || listen(listener, 64))
		die("listen");
	puts("ready");
	fflush(stdout);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0)
			continue;
		if (!fork())
			serve_one(fd);
		close(fd);
	}
}

/* ---- the asking side ---- */

static int dial(const char *addr, const char *port, char want)
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
	if (send(fd, &want, 1, MSG_NOSIGNAL) != 1)
		die("send");
	return fd;
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
	printf("%.3f\n", (double)report[0] * 8 / (double)report[1]);
	return 0;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int ask(const char *addr, const char *port, uint64_t duration_ns)
{
	static uint32_t samples[MAX_SAMPLES];
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
	qsort(samples, n, sizeof(samples[0]), by_size);
	printf("%.2f %.2f\n", samples[n / 2] / 1000.0, samples[n * 99 / 100] / 1000.0);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t duration_ns = argc > 4 ? (uint64_t)atoi(argv[4]) * 1000000u : 0;

	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "bulk"))
		return bulk(argv[2], argv[3], duration_ns);
	if (argc == 5 && !strcmp(argv[1], "ask"))
		return ask(argv[2], argv[3], duration_ns);
	fprintf(stderr, "usage: stream serve PORT | bulk ADDR PORT MS | ask ADDR PORT MS\n");
	return 2;
}
