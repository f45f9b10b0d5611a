// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Datagrams in numbers, for the network tests:
 *
 *   udp serve PORT                         answers the others, both families
 *   udp flows COUNT ADDR PORT              one datagram from each of COUNT sockets; how many were
 * echoed udp up SIZE COUNT PPS ADDR PORT        COUNT datagrams to the server; how many it has
 * counted udp down SIZE COUNT PPS ADDR PORT      the same from the server udp rtt SECONDS ADDR PORT
 * small echoes, one after the other: median and 99th centile udp segments ADDR PORT three datagrams
 * by one send with UDP_SEGMENT; sizes of the echoes udp refused ADDR PORT                  sends a
 * datagram; the error that comes back
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SIZE_MAX_ 65507
#define QUIET_MS 1000

static uint8_t buf[SIZE_MAX_];

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "udp: %s: %s\n", what, strerror(errno));
	exit(3);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static int dial(const char *addr, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST}, *ai;
	int fd, size = 4 << 20;

	if (getaddrinfo(addr, port, &hints, &ai))
		die(addr);
	fd = socket(ai->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, ai->ai_addr, ai->ai_addrlen))
		die(addr);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	freeaddrinfo(ai);
	return fd;
}

static bool ready(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, ms) > 0;
}

/* Evenly, in bursts of a millisecond. */
static void send_many(int fd, size_t size, unsigned int count, unsigned int pps,
		      const struct sockaddr *to, socklen_t to_len)
{
	uint64_t start = now_us();
	unsigned int sent = 0;

	while (sent < count) {
		uint64_t due = (now_us() - start) * pps / 1000000u + 1;

		for (; sent < count && sent < due; sent++)
			sendto(fd, buf, size, 0, to, to_len);
		usleep(500);
	}
}

static unsigned int receive_many(int fd, unsigned int count)
{
	unsigned int n = 0;

	while (n < count && ready(fd, QUIET_MS))
		while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			n++;
	return n;
}

/* ---- The server: a datagram that begins with a known word is an order, others are echoed ---- */

static int serve(const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM,
				 .ai_family = AF_INET6,
				 .ai_flags = AI_PASSIVE},
			*ai;
	unsigned int counted = 0, size, count, pps;
	int fd, bytes = 8 << 20, off = 0;

	if (getaddrinfo(NULL, port, &hints, &ai))
		die("getaddrinfo");
	fd = socket(AF_INET6, SOCK_DGRAM, 0);
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen))
		die("bind");
	freeaddrinfo(ai);
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct sockaddr_storage from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, buf, sizeof(buf) - 1, 0, (struct sockaddr *)&from, &len);

		if (n < 0)
			continue;
		buf[n] = '\0';
		if (buf[0] == '#') {
			counted++;
			continue;
		}
		if (!strcmp((char *)buf, "count")) {
			n = snprintf((char *)buf, sizeof(buf), "%u", counted);
			counted = 0;
		} else if (sscanf((char *)buf, "down %u %u %u", &size, &count, &pps) == 3) {
			memset(buf, '#', sizeof(buf));
			send_many(fd, size, count, pps, (struct sockaddr *)&from, len);
			continue;
		}
		sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
}

/* ---- The others ---- */

/* Those of them that have no echo yet, again; how many have one now. */
static unsigned int flows_round(const int *fds, bool *echoed, unsigned int count)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < count; i++) {
		if (!echoed[i] && send(fds[i], &i, sizeof(i), 0) < 0)
			die("send");
		if (i % 50 == 49)
			usleep(2000);
	}
	for (unsigned int i = 0; i < count; i++) {
		unsigned int got = ~i;

		if (!echoed[i] && ready(fds[i], QUIET_MS / 10))
			echoed[i] = recv(fds[i], &got, sizeof(got), 0) == sizeof(got) && got == i;
		n += echoed[i];
	}
	return n;
}

static int flows(unsigned int count, const char *addr, const char *port)
{
	bool *echoed = calloc(count, sizeof(*echoed));
	int *fds = calloc(count, sizeof(*fds));
	unsigned int n = 0;
	struct rlimit l;

	getrlimit(RLIMIT_NOFILE, &l);
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
	for (unsigned int i = 0; i < count; i++)
		fds[i] = dial(addr, port);
	for (int i = 0; i < 5 && n < count; i++)
		n = flows_round(fds, echoed, count);
	free(echoed);
	free(fds);
	printf("%u\n", n);
	return n != count;
}

static int up(unsigned int size, unsigned int count, unsigned int pps, int fd)
{
	uint64_t start = now_us(), took;
	ssize_t n = -1;

	memset(buf, '#', sizeof(buf));
	send_many(fd, size, count, pps, NULL, 0);
	took = now_us() - start;
	for (int i = 0; i < 10 && n < 0; i++) {
		usleep(200000); /* what is under way */
		send(fd, "count", 5, 0);
		if (ready(fd, QUIET_MS))
			n = recv(fd, buf, sizeof(buf) - 1, 0);
	}
	buf[n > 0 ? n : 0] = '\0';
	printf("sent %u arrived %s in %u ms\n", count, (char *)buf, (unsigned int)(took / 1000));
	return n < 0;
}

static int down(unsigned int size, unsigned int count, unsigned int pps, int fd)
{
	uint64_t start = now_us();
	unsigned int n;

	dprintf(fd, "down %u %u %u", size, count, pps);
	n = receive_many(fd, count);
	printf("sent %u arrived %u in %u ms\n", count, n,
	       (unsigned int)((now_us() - start) / 1000));
	return n == 0;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int rtt(unsigned int seconds, int fd)
{
	static uint32_t times[1u << 20];
	uint64_t end = now_us() + seconds * 1000000u;
	unsigned int n = 0, lost = 0;

	while (now_us() < end && n < sizeof(times) / sizeof(times[0])) {
		uint64_t start = now_us();

		send(fd, "x", 1, 0);
		if (!ready(fd, QUIET_MS)) {
			lost++;
			continue;
		}
		recv(fd, buf, sizeof(buf), 0);
		times[n++] = (uint32_t)(now_us() - start);
		usleep(1000);
	}
	if (!n)
		return 1;
	qsort(times, n, sizeof(times[0]), compare);
	printf("median %u us, 99%% %u us, %u of %u lost\n", times[n / 2], times[n * 99 / 100], lost,
	       n + lost);
	return 0;
}

static int segments(int fd)
{
	int size = 1000;

	memset(buf, 'x', 2500);
	if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)) ||
	    send(fd, buf, 2500, 0) != 2500)
		die("UDP_SEGMENT");
	for (int i = 0; i < 3; i++) {
		ssize_t n = ready(fd, 3000) ? recv(fd, buf, sizeof(buf), 0) : -1;

		printf("%zd%s", n, i < 2 ? " " : "\n");
	}
	return 0;
}

/* Without IP_RECVERR a program is told of fewer errors (udp(7)). */
static int refused(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
	for (int i = 0; i < 30; i++) {
		if (send(fd, "x", 1, 0) < 0 ||
		    (ready(fd, 100) && recv(fd, buf, sizeof(buf), 0) < 0)) {
			puts(strerrorname_np(errno));
			return 0;
		}
	}
	puts("silence");
	return 1;
}

static unsigned int number(const char *s)
{
	return (unsigned int)strtoul(s, NULL, 10);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	if (!strcmp(what, "serve"))
		return serve(argv[2]);
	if (!strcmp(what, "flows") && argc == 5)
		return flows(number(argv[2]), argv[3], argv[4]);
	if (!strcmp(what, "up") && argc == 7)
		return up(number(argv[2]), number(argv[3]), number(argv[4]),
			  dial(argv[5], argv[6]));
	if (!strcmp(what, "down") && argc == 7)
		return down(number(argv[2]), number(argv[3]), number(argv[4]),
			    dial(argv[5], argv[6]));
	if (!strcmp(what, "rtt") && argc == 5)
		return rtt(number(argv[2]), dial(argv[3], argv[4]));
	if (!strcmp(what, "segments") && argc == 4)
		return segments(dial(argv[2], argv[3]));
	if (!strcmp(what, "refused") && argc == 4)
		return refused(dial(argv[2], argv[3]));
	fprintf(stderr, "udp: what?\n");
	return 2;
}
