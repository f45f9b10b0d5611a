// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How many datagrams of 200 bytes a second, and how many are lost.
 *
 *   datagram serve ADDR PORT                 answers from there until killed; prints "ready"
 *   datagram up|down ADDR PORT MS RATE       offers RATE a second, or with 0 what it can; prints how many
 *                                            a second arrived, and the per cent that did not
 *   datagram once ADDR PORT MS               one, and its answer within MS
 *
 * Those that arrive are counted where they arrive, over the time from the first to the last.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAYLOAD 200
#define BUFFER (8 << 20)
#define PAUSE_NS 100000
#define QUIET_MS 2000 /* then no more will come */
#define ASKS 20       /* for the count, which may be lost as well */

enum kind { COUNT, HOW_MANY, SEND, SENT, ECHO };

struct message {
	uint32_t kind, run;
	uint64_t ms, rate; /* of SEND */
	uint64_t n, ns;	   /* of SENT: how many; of HOW_MANY: in which time */
	char rest[PAYLOAD - 40];
};
_Static_assert(sizeof(struct message) == PAYLOAD, "no padding");

struct count {
	uint32_t run;
	uint64_t n, first_ns, last_ns;
};

_Noreturn static void die(const char *what)
{
	fprintf(stderr, "datagram: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void count(struct count *c, uint32_t run)
{
	uint64_t now = now_ns();

	if (!c->n || c->run != run)
		*c = (struct count){.run = run, .first_ns = now};
	c->n++;
	c->last_ns = now;
}

/* Returns how many; what the socket has no room for counts as lost. */
static uint64_t offer(int fd, const struct sockaddr *to, socklen_t len, const struct message *want)
{
	struct message m = {.kind = COUNT, .run = want->run};
	uint64_t start = now_ns(), elapsed, n = 0;

	while ((elapsed = now_ns() - start) < want->ms * 1000000) {
		if (want->rate && n * 1000000000 >= elapsed * want->rate) {
			nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
			continue;
		}
		sendto(fd, &m, sizeof(m), 0, to, len);
		n++;
	}
	return n;
}

/* ---- the serving side ---- */

static void send_many(int fd, const struct sockaddr *to, socklen_t len, const struct message *m)
{
	struct message sent = {.kind = SENT, .run = m->run, .n = offer(fd, to, len, m)};

	for (int i = 0; i < 5; i++) {
		nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
		sendto(fd, &sent, sizeof(sent), 0, to, len);
	}
}

static void serve_one(int fd, struct message *m, const struct sockaddr *from, socklen_t len,
		      struct count *c, uint32_t *last_run)
{
	if (m->kind == COUNT) {
		count(c, m->run);
	} else if (m->kind == SEND && m->run != *last_run) {
		*last_run = m->run;
		send_many(fd, from, len, m);
	} else if (m->kind == HOW_MANY || m->kind == ECHO) {
		m->n = c->run == m->run ? c->n : 0;
		m->ns = c->last_ns - c->first_ns;
		sendto(fd, m, sizeof(*m), 0, from, len);
	}
}

static int make_socket(int family)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = BUFFER;

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	prctl(PR_SET_TIMERSLACK, 1UL);
	return fd;
}

static struct addrinfo *address(const char *addr, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST}, *ai;

	if (getaddrinfo(addr, port, &hints, &ai))
		die(addr);
	return ai;
}

static int serve(const char *addr, const char *port)
{
	struct addrinfo *ai = address(addr, port);
	int fd = make_socket(ai->ai_family);
	struct sockaddr_storage from;
	struct count c = {0};
	uint32_t last_run = 0;
	struct message m;

	if (bind(fd, ai->ai_addr, ai->ai_addrlen))
		die("bind");
	freeaddrinfo(ai);
	puts("ready");
	fflush(stdout);
	for (;;) {
		socklen_t len = sizeof(from);

		if (recvfrom(fd, &m, sizeof(m), 0, (struct sockaddr *)&from, &len) == sizeof(m))
			serve_one(fd, &m, (struct sockaddr *)&from, len, &c, &last_run);
	}
}

/* ---- the client ---- */

static int dial(const char *addr, const char *port)
{
	struct addrinfo *ai = address(addr, port);
	int fd = make_socket(ai->ai_family);

	if (connect(fd, ai->ai_addr, ai->ai_addrlen))
		die("connect");
	freeaddrinfo(ai);
	return fd;
}

static bool receive(int fd, struct message *m, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, ms) > 0 && recv(fd, m, sizeof(*m), 0) == sizeof(*m);
}

static int print(uint64_t offered, uint64_t arrived, uint64_t ns)
{
	if (!arrived || !ns || !offered)
		return 1;
	printf("%.0f %.2f\n", (double)arrived * 1e9 / (double)ns,
	       100.0 * (1 - (double)arrived / (double)offered));
	return 0;
}

static int up(int fd, uint64_t ms, uint64_t rate)
{
	struct message ask = {.kind = HOW_MANY, .run = (uint32_t)now_ns(), .ms = ms, .rate = rate}, m;
	uint64_t offered = offer(fd, NULL, 0, &ask);

	for (int i = 0; i < ASKS; i++) {
		nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
		send(fd, &ask, sizeof(ask), 0);
		if (receive(fd, &m, 300) && m.kind == HOW_MANY && m.run == ask.run)
			return print(offered, m.n, m.ns);
	}
	return 1;
}

static int down(int fd, uint64_t ms, uint64_t rate)
{
	struct message m = {.kind = SEND, .run = (uint32_t)now_ns(), .ms = ms, .rate = rate};
	struct count c = {0};

	send(fd, &m, sizeof(m), 0);
	while (receive(fd, &m, QUIET_MS)) {
		if (m.kind == SENT)
			return print(m.n, c.n, c.last_ns - c.first_ns);
		count(&c, m.run);
	}
	return 1;
}

static int once(int fd, uint64_t ms, uint64_t unused)
{
	struct message m = {.kind = ECHO};

	(void)unused;
	return send(fd, &m, sizeof(m), 0) == sizeof(m) && receive(fd, &m, (int)ms) ? 0 : 1;
}

static const struct {
	const char *name;
	int (*run)(int fd, uint64_t ms, uint64_t rate);
} measurements[] = {{"up", up}, {"down", down}, {"once", once}};

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "serve"))
		return serve(argv[2], argv[3]);
	for (size_t i = 0; argc >= 5 && i < sizeof(measurements) / sizeof(measurements[0]); i++)
		if (!strcmp(argv[1], measurements[i].name))
			return measurements[i].run(dial(argv[2], argv[3]), (uint64_t)atoi(argv[4]),
						   argc > 5 ? (uint64_t)atoi(argv[5]) : 0);
	fprintf(stderr, "usage: datagram serve ADDR PORT | up|down ADDR PORT MS RATE | once ADDR PORT MS\n");
	return 2;
}
