// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lossy NETNS DEVICE DEVICE DROP DUPLICATE DELAY: a wire between a TUN device in another namespace and
 * one in this. Of a thousand packets it loses, repeats, and holds back that many until a few later ones
 * have passed; the dice are the same in every run. Says "ready", and at its end, on SIGTERM, what it
 * did.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define HELD_MAX 16
#define BEHIND 4    /* packets that pass one that is held back */
#define HOLD_MS 10  /* or this long, when none come */
#define PACKET 65600

struct held {
	size_t len;
	unsigned int until; /* number of the packet that lets it go */
	char data[PACKET];
};

struct direction {
	int from, to;
	unsigned int count, n_held;
	struct held held[HELD_MAX];
};

static struct direction there, back;
static unsigned int drop, duplicate, delay, seed = 1;
static unsigned int dropped, duplicated, delayed;
static volatile sig_atomic_t stopped;

static void stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int open_tun(const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr))
		fail(name);
	return fd;
}

static int open_tun_in(const char *netns, const char *name)
{
	char path[128];
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), other, fd;

	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	other = open(path, O_RDONLY | O_CLOEXEC);
	if (own < 0 || other < 0 || setns(other, CLONE_NEWNET))
		fail(path);
	fd = open_tun(name);
	if (setns(own, CLONE_NEWNET))
		fail("setns");
	close(own);
	close(other);
	return fd;
}

static bool happens(unsigned int per_mille)
{
	seed = seed * 1103515245 + 12345;
	return seed / 65536 % 1000 < per_mille;
}

static void put(const struct direction *d, const char *data, size_t len)
{
	if (write(d->to, data, len) < 0 && errno != EAGAIN && errno != EIO && errno != ENOBUFS)
		fail("write");
}

static void release(struct direction *d, bool all)
{
	for (unsigned int i = 0; i < d->n_held;) {
		if (!all && (int)(d->held[i].until - d->count) > 0) {
			i++;
			continue;
		}
		put(d, d->held[i].data, d->held[i].len);
		d->held[i] = d->held[--d->n_held];
	}
}

static void pass(struct direction *d, const char *data, size_t len)
{
	d->count++;
	if (happens(drop)) {
		dropped++;
	} else if (d->n_held < HELD_MAX && happens(delay)) {
		struct held *h = &d->held[d->n_held++];

		memcpy(h->data, data, len);
		h->len = len;
		h->until = d->count + BEHIND;
		delayed++;
	} else {
		put(d, data, len);
		if (happens(duplicate)) {
			put(d, data, len);
			duplicated++;
		}
	}
	release(d, false);
}

static void carry(struct direction *d)
{
	static char data[PACKET];
	ssize_t n;

	while ((n = read(d->from, data, sizeof(data))) > 0)
		pass(d, data, (size_t)n);
	if (n < 0 && errno != EAGAIN && errno != EINTR && errno != EIO) /* EIO: it is down */
		fail("read");
}

int main(int argc, char **argv)
{
	struct sigaction on_term = {.sa_handler = stop};
	struct pollfd p[2];

	if (argc != 7)
		return 2;
	there.from = back.to = open_tun_in(argv[1], argv[2]);
	there.to = back.from = open_tun(argv[3]);
	drop = (unsigned int)atoi(argv[4]);
	duplicate = (unsigned int)atoi(argv[5]);
	delay = (unsigned int)atoi(argv[6]);
	sigaction(SIGTERM, &on_term, NULL);
	puts("ready");
	fflush(stdout);
	p[0] = (struct pollfd){.fd = there.from, .events = POLLIN};
	p[1] = (struct pollfd){.fd = back.from, .events = POLLIN};
	while (!stopped) {
		if (poll(p, 2, HOLD_MS) == 0) {
			release(&there, true);
			release(&back, true);
		}
		carry(&there);
		carry(&back);
	}
	printf("dropped %u duplicated %u delayed %u\n", dropped, duplicated, delayed);
	return 0;
}
