// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <linux/icmp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/util.h"
#include "kernel/netns.h"

#include "fw_probe.h"

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

void world_enter(void)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWNS))
		die("unshare");
	if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/run", "tmpfs", 0, NULL))
		die("mount");
	sh("ip link set lo up");
}

void sh(const char *fmt, ...)
{
	_free_ char *cmd = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&cmd, fmt, ap) < 0)
		die("vasprintf");
	va_end(ap);
	fflush(stdout);
	if (system(cmd)) {
		fprintf(stderr, "failed: %s\n", cmd);
		exit(1);
	}
}

void sh_read(struct buf *ret, const char *cmd)
{
	FILE *f = popen(cmd, "re");
	size_t n;

	if (!f)
		die(cmd);
	while ((n = fread(buf_reserve(ret, 4096), 1, 4096, f)) > 0) {
		ret->len += n;
		ret->data[ret->len] = '\0';
	}
	pclose(f);
}

struct netns *world_netns(const char *name)
{
	struct netns *ns = NULL;
	struct err err = {0};

	if (netns_create(name, "byway-test", NULL, &ns, &err)) {
		fprintf(stderr, "%s\n", err.msg);
		exit(1);
	}
	sh("ip -n %s link set lo up", name);
	/* Nobody has a duplicate here: addresses need not wait a second to find that out. */
	sh("nsenter --net=/run/netns/%s sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'",
	   name);
	return ns;
}

struct open_socket {
	int domain, type, protocol;
};

static int open_inside(void *arg)
{
	const struct open_socket *o = arg;
	int fd = socket(o->domain, o->type | SOCK_CLOEXEC, o->protocol);

	return fd < 0 ? -errno : fd;
}

static int open_in(struct netns *ns, int domain, int type, int protocol)
{
	struct open_socket o = {domain, type, protocol};
	int fd = netns_call(ns, open_inside, &o);

	if (fd < 0) {
		errno = -fd;
		die("socket");
	}
	return fd;
}

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
	int family;
};

static struct address address_of(const char *text, uint16_t port)
{
	struct address a = {0};
	struct sockaddr_in *v4 = (void *)&a.sa;
	struct sockaddr_in6 *v6 = (void *)&a.sa;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		a.len = sizeof(*v4);
		a.family = AF_INET;
	} else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		a.len = sizeof(*v6);
		a.family = AF_INET6;
	} else {
		die(text);
	}
	return a;
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool wait_for(int fd, short events, long deadline)
{
	struct pollfd p = {.fd = fd, .events = events};
	long left = deadline - now_ms();

	return poll(&p, 1, left > 0 ? (int)left : 0) > 0;
}

static int bound_to(struct netns *ns, const struct address *a, int type)
{
	int fd = open_in(ns, a->family, type, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const void *)&a->sa, a->len))
		die("bind");
	return fd;
}

static void format_source(const struct sockaddr_storage *sa, char *seen)
{
	const void *addr = sa->ss_family == AF_INET6
				   ? (const void *)&((const struct sockaddr_in6 *)sa)->sin6_addr
				   : (const void *)&((const struct sockaddr_in *)sa)->sin_addr;

	inet_ntop(sa->ss_family, addr, seen, 64);
}

/* Receives until a datagram has this text. */
static bool receive(int fd, const char *text, struct sockaddr_storage *from, long deadline)
{
	while (wait_for(fd, POLLIN, deadline)) {
		char buf[64] = "";
		socklen_t len = sizeof(*from);
		ssize_t n = recvfrom(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT, (void *)from, &len);

		if (n > 0 && !strcmp(buf, text))
			return true;
	}
	return false;
}

/* Sends the text until it has arrived, or the kernel refuses it. */
static bool reaches(int tx, int rx, const struct address *to, const char *text,
		    struct sockaddr_storage *from, int wait_ms)
{
	long deadline = now_ms() + wait_ms;

	do {
		if (sendto(tx, text, strlen(text), 0, (const void *)&to->sa, to->len) < 0)
			return false;
		if (receive(rx, text, from, MIN(deadline, now_ms() + SEND_AGAIN_MS)))
			return true;
	} while (now_ms() < deadline);
	return false;
}

static unsigned int serial; /* makes each probe unlike those before it */

bool udp_arrives(struct netns *from, struct netns *to, const char *dst, uint16_t port, char *seen,
		 int wait_ms)
{
	struct address a = address_of(dst, port);
	_close_ int rx = bound_to(to, &a, SOCK_DGRAM);
	_close_ int tx = open_in(from, a.family, SOCK_DGRAM, 0);
	struct sockaddr_storage source;
	char text[32];

	snprintf(text, sizeof(text), "probe %u", ++serial);
	if (!reaches(tx, rx, &a, text, &source, wait_ms))
		return false;
	if (seen)
		format_source(&source, seen);
	return true;
}

bool udp_answered(struct netns *from, struct netns *to, const char *dst, uint16_t port)
{
	struct address a = address_of(dst, port);
	_close_ int rx = bound_to(to, &a, SOCK_DGRAM);
	_close_ int tx = open_in(from, a.family, SOCK_DGRAM, 0);
	struct address back = {.len = a.len};

	return reaches(tx, rx, &a, "ask", &back.sa, WAIT_PASS_MS) &&
	       reaches(rx, tx, &back, "answer", &a.sa, WAIT_PASS_MS);
}

static bool connects(int tx, const struct address *a, int wait_ms)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (!connect(tx, (const void *)&a->sa, a->len))
		return true;
	if (errno != EINPROGRESS || !wait_for(tx, POLLOUT, now_ms() + wait_ms))
		return false;
	return !getsockopt(tx, SOL_SOCKET, SO_ERROR, &error, &len) && !error;
}

bool tcp_connects(struct netns *from, struct netns *to, const char *dst, uint16_t port, int wait_ms)
{
	struct address a = address_of(dst, port);
	_close_ int rx = bound_to(to, &a, SOCK_STREAM);
	_close_ int tx = open_in(from, a.family, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (listen(rx, 1))
		die("listen");
	return connects(tx, &a, wait_ms);
}

bool tcp_arrives(struct netns *from, const char *dst, uint16_t port, struct netns *to,
		 const char *at, uint16_t at_port, int wait_ms, int *ret_mss)
{
	struct address a = address_of(dst, port), server = address_of(at, at_port);
	_close_ int rx = bound_to(to, &server, SOCK_STREAM);
	_close_ int tx = open_in(from, a.family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	_close_ int conn = -1;
	socklen_t len = sizeof(*ret_mss);

	if (listen(rx, 1))
		die("listen");
	if (!connects(tx, &a, wait_ms) || !wait_for(rx, POLLIN, now_ms() + wait_ms))
		return false;
	conn = accept4(rx, NULL, NULL, SOCK_CLOEXEC);
	return conn >= 0 && (!ret_mss || !getsockopt(conn, IPPROTO_TCP, TCP_MAXSEG, ret_mss, &len));
}

static uint16_t checksum(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)p[i] << 8 | (i + 1 < len ? p[i + 1] : 0);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* An ICMP message of 40 bytes with a number of its own; ICMPv6 sums are the kernel's. */
static void make_icmp(uint8_t msg[40], int family, uint8_t type, unsigned int id)
{
	uint16_t sum;

	memset(msg, 0, 40);
	msg[0] = type;
	memcpy(msg + 4, &id, sizeof(id));
	if (family == AF_INET6)
		return;
	sum = checksum(msg, 40);
	memcpy(msg + 2, &sum, sizeof(sum));
}

static int icmp_socket(struct netns *ns, int family)
{
	return open_in(ns, family, SOCK_RAW, family == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

static bool receive_icmp(int fd, int family, uint8_t type, unsigned int id, long deadline)
{
	while (wait_for(fd, POLLIN, deadline)) {
		uint8_t buf[256];
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		const uint8_t *msg =
			buf + (family == AF_INET6 ? 0 : 20); /* IPv4 gives its header too */

		if (n >= msg - buf + 8 && msg[0] == type && !memcmp(msg + 4, &id, sizeof(id)))
			return true;
	}
	return false;
}

/* The message, as reaches(); type: of what is waited for, with the same number. */
static bool icmp_reaches(int tx, int rx, const struct address *to, const uint8_t msg[40],
			 uint8_t type, int wait_ms)
{
	long deadline = now_ms() + wait_ms;
	unsigned int id;

	memcpy(&id, msg + 4, sizeof(id));
	do {
		if (sendto(tx, msg, 40, 0, (const void *)&to->sa, to->len) < 0)
			return false;
		if (receive_icmp(rx, to->family, type, id,
				 MIN(deadline, now_ms() + SEND_AGAIN_MS)))
			return true;
	} while (now_ms() < deadline);
	return false;
}

bool icmp_arrives(struct netns *from, struct netns *to, const char *dst, uint8_t type, int wait_ms)
{
	struct address a = address_of(dst, 0);
	_close_ int rx = icmp_socket(to, a.family), tx = icmp_socket(from, a.family);
	uint8_t msg[40];
	unsigned int id = 0x5000u + ++serial;

	make_icmp(msg, a.family, type, id);
	return icmp_reaches(tx, rx, &a, msg, type, wait_ms);
}

bool ping_answered(struct netns *from, const char *dst, int wait_ms)
{
	struct address a = address_of(dst, 0);
	_close_ int fd = icmp_socket(from, a.family);
	bool v6 = a.family == AF_INET6;
	uint8_t msg[40];
	unsigned int id = 0x5000u + ++serial;

	make_icmp(msg, a.family, v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO, id);
	return icmp_reaches(fd, fd, &a, msg, v6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY, wait_ms);
}

struct index_of {
	const char *device;
	int index;
};

static int find_index(void *arg)
{
	struct index_of *i = arg;

	i->index = (int)if_nametoindex(i->device);
	return 0;
}

static int packet_socket(struct netns *ns, const char *device, int protocol)
{
	struct index_of i = {.device = device};
	struct sockaddr_ll sa = {.sll_family = AF_PACKET,
				 .sll_protocol = htons((uint16_t)protocol)};
	int fd = open_in(ns, AF_PACKET, SOCK_RAW, 0);

	netns_call(ns, find_index, &i);
	sa.sll_ifindex = i.index;
	if (bind(fd, (void *)&sa, sizeof(sa)))
		die(device);
	return fd;
}

bool frame_arrives(struct netns *from, const char *out, struct netns *to, const char *in,
		   const void *frame, size_t len, int wait_ms)
{
	_close_ int rx = packet_socket(to, in, 0x0003 /* ETH_P_ALL */);
	_close_ int tx = packet_socket(from, out, 0);
	long deadline = now_ms() + wait_ms;

	if (send(tx, frame, len, 0) != (ssize_t)len)
		die("send");
	while (wait_for(rx, POLLIN, deadline)) {
		uint8_t buf[2048];
		ssize_t n = recv(rx, buf, sizeof(buf), MSG_DONTWAIT);

		if (n >= (ssize_t)len && !memcmp(buf, frame, len))
			return true;
	}
	return false;
}

struct flood {
	pthread_t thread;
	struct address to;
	int rx, tx;
	atomic_bool stop;
	atomic_size_t sent;
};

static void *flood_thread(void *arg)
{
	struct flood *f = arg;

	while (!atomic_load(&f->stop)) {
		(void)!sendto(f->tx, "flood", 5, 0, (void *)&f->to.sa, f->to.len);
		atomic_fetch_add(&f->sent, 1);
	}
	return NULL;
}

struct flood *flood_start(struct netns *from, struct netns *to, const char *dst, uint16_t port)
{
	struct flood *f = xcalloc(1, sizeof(*f));

	f->to = address_of(dst, port);
	f->rx = bound_to(to, &f->to, SOCK_DGRAM);
	f->tx = open_in(from, f->to.family, SOCK_DGRAM, 0);
	if (pthread_create(&f->thread, NULL, flood_thread, f))
		die("pthread_create");
	return f;
}

size_t flood_sent(const struct flood *f)
{
	return atomic_load(&f->sent);
}

size_t flood_stop(struct flood *f)
{
	size_t n = 0;
	char buf[16];

	atomic_store(&f->stop, true);
	pthread_join(f->thread, NULL);
	while (recv(f->rx, buf, sizeof(buf), MSG_DONTWAIT) >= 0)
		n++;
	close(f->rx);
	close(f->tx);
	free(f);
	return n;
}
