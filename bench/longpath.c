// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A long path: a pair of TUN devices, here and in another network namespace, between which each
 * packet takes half of a round trip. Whoever's packets they are, TCP's own control of congestion
 * is at work, as it would be over a real distance.
 *
 *   longpath NETNS NAME RTT_MS MBIT      NETNS a path; MBIT 0 for no limit; prints "ready", works until killed
 *
 * A limited path sends a packet when those before it have left, and drops what would wait longer
 * than a round trip: a router with a queue of the usual size. Without a limit, segments of 64 KiB
 * pass in one piece (IFF_VNET_HDR), so that the path is not the bottleneck; with one they are as
 * long as on a cable. Each direction is a thread with packets in a ring.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define PACKET_MAX (65536 + 64)
#define SLOTS 65536 /* on the way at once, a direction */
#define BATCH 64    /* read before those that are due are sent */

struct packet {
	uint64_t due_ns;
	size_t len;
	void *data;
};

struct direction {
	int from, to;
	uint64_t delay_ns, ns_per_kbyte, queue_ns;
	uint64_t busy_ns; /* until then, those before it leave */
	struct packet ring[SLOTS];
	unsigned int head, n;
};

_Noreturn static void die(const char *what)
{
	fprintf(stderr, "longpath: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void take(struct direction *d, const void *data, size_t len)
{
	struct packet *p = &d->ring[(d->head + d->n) % SLOTS];
	uint64_t now = now_ns(), leaves = d->busy_ns > now ? d->busy_ns : now;

	leaves += len * d->ns_per_kbyte / 1000;
	if (d->n == SLOTS || (d->ns_per_kbyte && leaves - now > d->queue_ns))
		return;
	d->busy_ns = leaves;
	*p = (struct packet){.due_ns = leaves + d->delay_ns, .len = len, .data = malloc(len)};
	if (!p->data)
		die("memory");
	memcpy(p->data, data, len);
	d->n++;
}

static void read_some(struct direction *d)
{
	static _Thread_local char data[PACKET_MAX];

	for (int i = 0; i < BATCH; i++) {
		ssize_t n = read(d->from, data, sizeof(data));

		if (n <= 0)
			return;
		take(d, data, (size_t)n);
	}
}

/* What the device refuses is lost, as it would be. */
static void send_due(struct direction *d)
{
	uint64_t now = now_ns();

	while (d->n && d->ring[d->head].due_ns <= now) {
		struct packet *p = &d->ring[d->head];

		(void)!write(d->to, p->data, p->len);
		free(p->data);
		d->head = (d->head + 1) % SLOTS;
		d->n--;
	}
}

static void *run(void *arg)
{
	struct direction *d = arg;
	struct pollfd p = {.fd = d->from, .events = POLLIN};

	prctl(PR_SET_TIMERSLACK, 1UL);
	for (;;) {
		uint64_t now = now_ns(), wait_ns = 1000000000;

		if (d->n)
			wait_ns = d->ring[d->head].due_ns > now ? d->ring[d->head].due_ns - now : 0;
		if (wait_ns > 999999999)
			wait_ns = 999999999;
		ppoll(&p, 1, &(struct timespec){.tv_nsec = (long)wait_ns}, NULL);
		send_due(d);
		read_some(d);
	}
	return NULL;
}

static int open_tun(const char *name, bool segments)
{
	struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
	unsigned int offload = segments ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 : TUN_F_CSUM;
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	strncpy(ifr.ifr_name, name, sizeof(ifr.ifr_name) - 1);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) || ioctl(fd, TUNSETOFFLOAD, offload))
		die(name);
	return fd;
}

static void start(int from, int to, uint64_t rtt_ms, uint64_t mbit, pthread_t *thread)
{
	struct direction *d = calloc(1, sizeof(*d));

	if (!d)
		die("memory");
	d->from = from;
	d->to = to;
	d->delay_ns = rtt_ms * 500000;
	d->queue_ns = rtt_ms * 1000000;
	d->ns_per_kbyte = mbit ? 8000000 / mbit : 0;
	if (pthread_create(thread, NULL, run, d))
		die("a thread");
}

int main(int argc, char **argv)
{
	uint64_t rtt_ms, mbit;
	int here, there, netns;
	pthread_t thread;

	if (argc != 5) {
		fprintf(stderr, "usage: longpath NETNS NAME RTT_MS MBIT\n");
		return 2;
	}
	rtt_ms = (uint64_t)atoi(argv[3]);
	mbit = (uint64_t)atoi(argv[4]);
	here = open_tun(argv[2], !mbit);
	netns = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (netns < 0 || setns(netns, CLONE_NEWNET))
		die(argv[1]);
	there = open_tun(argv[2], !mbit);
	start(here, there, rtt_ms, mbit, &thread);
	start(there, here, rtt_ms, mbit, &thread);
	puts("ready");
	fflush(stdout);
	pthread_join(thread, NULL);
	return 1;
}
