// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An independent judge of the TCP terminator: the host's own TCP. The same scripts of segments go to a
 * kernel socket, through a TUN device, and to the terminator, whose upstream is the same echo server; what
 * a client may rely on must be the same: what is acknowledged, what comes back, whether it is
 * reset or closed.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <arpa/inet.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "kernel/addr.h"
#include "kernel/link.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/tun.h"
#include "tunnel/dialer.h"
#include "tunnel/packet.h"
#include "tunnel/worker.h"

#define PORT 7777
#define QUIET_MS 60 /* nothing more will come: both sides are on this machine */
#define ISS 100000u

/* One side: where packets go in and out, and who talks to whom. */
struct side {
	const char *name;
	int fd;
	struct ip client, server;
};

static struct side kernel_side, terminator_side;
static struct worker *worker;
static pthread_t worker_thread, echo_thread;
static int listener;

/* ---- The echo server of both ---- */

static void *echo(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		send(fd, buf, (size_t)n, MSG_NOSIGNAL);
	if (n == 0)
		shutdown(fd, SHUT_WR);
	close(fd);
	return NULL;
}

static void *accept_all(void *arg)
{
	int fd;

	(void)arg;
	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		pthread_t t;

		if (!pthread_create(&t, NULL, echo, (void *)(intptr_t)fd))
			pthread_detach(t);
	}
	return NULL;
}

static void *run_worker(void *arg)
{
	worker_run(arg);
	return NULL;
}

/* ---- The client ---- */

struct client {
	const struct side *side;
	uint16_t port;
	uint32_t ack; /* what came in order, from the server's SYN on */
	bool connected;
	size_t bytes; /* of payload, in all */
};

/* What a step showed. */
struct seen {
	bool reset, fin, answered;
	uint32_t acked; /* relative to the client's first byte */
	size_t bytes;   /* of payload that was new */
};

struct action {
	const char *what;
	uint8_t flags;
	int32_t seq;    /* relative to the client's first byte */
	size_t len;
	int32_t ack;    /* added to what is to be acknowledged */
	uint16_t window;
};

static void transmit(struct client *c, const struct action *a)
{
	/* packet_put_tcp() builds replies: the ends are the wrong way round on purpose. */
	struct endpoints ends = {
		.src = c->side->server, .dst = c->side->client, .sport = PORT, .dport = c->port};
	struct tcp_reply r = {.seq = ISS + 1 + (uint32_t)a->seq,
			      .ack = a->flags & TCP_ACK ? c->ack + (uint32_t)a->ack : 0,
			      .flags = a->flags,
			      .window = a->window,
			      .mss = a->flags & TCP_SYN ? 1460 : 0,
			      .wscale = TCP_NO_WSCALE};
	uint8_t buf[PACKET_HEADROOM + 4096];
	uint8_t *start;
	size_t total;

	memset(buf + PACKET_HEADROOM, 'a', a->len);
	start = packet_put_tcp(&ends, &r, buf + PACKET_HEADROOM, a->len, &total);
	assert_int_equal(write(c->side->fd, start, total), (ssize_t)total);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Takes what is for this client; its acknowledgements are the script's to send. */
static void look(struct client *c, const uint8_t *buf, size_t n, struct seen *s)
{
	const uint8_t *ip = buf + TUN_HEADER, *tcp = ip + 20;
	size_t header, len;
	uint32_t seq;

	if (n < TUN_HEADER + 40 || ip[0] != 0x45 || ip[9] != 6 || (tcp[2] << 8 | tcp[3]) != c->port)
		return;
	header = (size_t)(tcp[12] >> 4) * 4;
	len = n - TUN_HEADER - 20 - header;
	seq = get32(tcp + 4);
	s->answered = true;
	s->reset = s->reset || tcp[13] & TCP_RST;
	if (tcp[13] & TCP_RST)
		return;
	if (tcp[13] & TCP_SYN && !c->connected) {
		c->connected = true;
		c->ack = seq + 1;
	}
	s->acked = get32(tcp + 8) - (ISS + 1);
	if (seq == c->ack && len) {
		c->ack += (uint32_t)len;
		s->bytes += len;
		c->bytes += len;
	}
	if (tcp[13] & TCP_FIN && seq + (uint32_t)len == c->ack) {
		c->ack++;
		s->fin = true;
	}
}

static struct seen observe(struct client *c)
{
	struct pollfd p = {.fd = c->side->fd, .events = POLLIN};
	static uint8_t buf[70000];
	struct seen s = {0};

	while (poll(&p, 1, QUIET_MS) > 0) {
		ssize_t n = read(c->side->fd, buf, sizeof(buf));

		if (n > 0)
			look(c, buf, (size_t)n, &s);
	}
	return s;
}

/* ---- Scripts ---- */

#define SYN {"SYN", TCP_SYN, -1, 0, 0, 64000}
#define ACK(what, seq) {what, TCP_ACK, seq, 0, 0, 64000}
#define DATA(what, seq, len) {what, TCP_ACK | TCP_PSH, seq, len, 0, 64000}
#define FIN(what, seq, len) {what, TCP_ACK | TCP_FIN, seq, len, 0, 64000}
#define RST(what, seq) {what, TCP_RST, seq, 0, 0, 0}

#define STEPS_MAX 12

static const struct script {
	const char *name;
	struct action steps[STEPS_MAX];
} scripts[] = {
	{"a conversation",
	 {SYN, ACK("ACK", 0), DATA("ten bytes", 0, 10), DATA("twenty more", 10, 20), ACK("ACK of all", 30),
	  FIN("FIN", 30, 0), ACK("ACK of its FIN", 31)}},
	{"the SYN twice", {SYN, SYN, ACK("ACK", 0), DATA("data", 0, 5)}},
	{"the same data twice", {SYN, ACK("ACK", 0), DATA("data", 0, 10), DATA("again", 0, 10)}},
	{"overlapping data", {SYN, ACK("ACK", 0), DATA("data", 0, 10), DATA("half new", 5, 10)}},
	{"a gap that is filled, and the rest again",
	 {SYN, ACK("ACK", 0), DATA("the second", 10, 10), DATA("the first", 0, 10), DATA("the second", 10, 10),
	  ACK("ACK of all", 20)}},
	{"data with FIN", {SYN, ACK("ACK", 0), FIN("data and FIN", 0, 7), ACK("ACK of all", 8)}},
	{"the FIN twice", {SYN, ACK("ACK", 0), FIN("FIN", 0, 0), FIN("FIN", 0, 0), ACK("ACK", 1)}},
	{"data behind the FIN", {SYN, ACK("ACK", 0), FIN("FIN", 0, 0), DATA("data", 1, 5)}},
	{"an exact RST", {SYN, ACK("ACK", 0), DATA("data", 0, 5), RST("RST", 5), DATA("data", 5, 5)}},
	{"a RST somewhere in the window", {SYN, ACK("ACK", 0), RST("RST", 100), DATA("data", 0, 5)}},
	{"a RST outside", {SYN, ACK("ACK", 0), RST("RST", -100000), DATA("data", 0, 5)}},
	{"a SYN inside", {SYN, ACK("ACK", 0), {"SYN", TCP_SYN, 50, 0, 0, 64000}, DATA("data", 0, 5)}},
	{"an ACK of what was never sent",
	 {SYN, ACK("ACK", 0), {"ACK", TCP_ACK, 0, 0, 5000, 64000}, DATA("data", 0, 5)}},
	{"a wrong ACK of the SYN", {SYN, {"ACK", TCP_ACK, 0, 0, 5000, 64000}}},
	{"a keepalive", {SYN, ACK("ACK", 0), DATA("data", 0, 5), ACK("ACK", 5), ACK("keepalive", 4)}},
	{"a segment without ACK", {SYN, ACK("ACK", 0), {"data", TCP_PSH, 0, 5, 0, 64000}, DATA("data", 0, 5)}},
	{"a window that closes and opens",
	 {SYN, {"ACK, window 0", TCP_ACK, 0, 0, 0, 0}, {"data, window 0", TCP_ACK, 0, 9, 0, 0},
	  ACK("window open", 9), ACK("ACK of all", 9)}},
	{"a closed port's peer: data to nobody", {DATA("data", 0, 5)}},
	{"FIN to nobody", {FIN("FIN", 0, 0)}},
	{"nobody answers a RST", {RST("RST", 0)}},
};

static void compare(const struct script *s, const struct action *a, const struct seen *k,
		    const struct seen *t)
{
	if (k->reset != t->reset)
		fail_msg("%s: %s: the kernel %s, the terminator %s", s->name, a->what,
			 k->reset ? "resets" : "does not reset", t->reset ? "does" : "does not");
	if (k->answered != t->answered)
		fail_msg("%s: %s: the kernel %s, the terminator %s", s->name, a->what,
			 k->answered ? "answers" : "is silent", t->answered ? "answers" : "is silent");
	if (k->fin != t->fin)
		fail_msg("%s: %s: the kernel %s FIN, the terminator %s", s->name, a->what,
			 k->fin ? "sends" : "sends no", t->fin ? "does" : "does not");
	if (k->bytes != t->bytes)
		fail_msg("%s: %s: the kernel sends %zu bytes, the terminator %zu", s->name, a->what, k->bytes,
			 t->bytes);
	if (k->answered && !k->reset && k->acked != t->acked)
		fail_msg("%s: %s: the kernel acknowledges %u bytes, the terminator %u", s->name, a->what,
			 k->acked, t->acked);
}

/* What lies out of order the kernel keeps and we do not: only when the client has sent it again, as it
 * must be ready to, both have it. */
static bool may_differ(const struct script *s, const struct action *a)
{
	return !strcmp(s->name, "a gap that is filled, and the rest again") &&
	       (!strcmp(a->what, "the first") || !strcmp(a->what, "the second"));
}

static void judge(void **state)
{
	const struct script *s = *state;
	uint16_t port = (uint16_t)(20000 + (s - scripts) * 10);
	struct client k = {.side = &kernel_side, .port = port};
	struct client t = {.side = &terminator_side, .port = port};

	for (size_t i = 0; i < STEPS_MAX && s->steps[i].what; i++) {
		const struct action *a = &s->steps[i];
		struct seen by_kernel, by_terminator;

		transmit(&k, a);
		transmit(&t, a);
		by_kernel = observe(&k);
		by_terminator = observe(&t);
		if (!may_differ(s, a))
			compare(s, a, &by_kernel, &by_terminator);
	}
	assert_int_equal(k.bytes, t.bytes);
	assert_int_equal(k.connected, t.connected);
}

/* ---- The world: a namespace of our own ---- */

static void commit(struct nlbatch *b)
{
	struct err err;

	if (nlbatch_commit(b, &err))
		fail_msg("%s", err.msg);
}

static void make_kernel_side(void)
{
	struct link_change up[] = {{.name = "lo", .up = true}, {.name = "judge0", .up = true}};
	_netns_ struct netns *ns = NULL;
	_nlbatch_ struct nlbatch b;
	struct link link;
	struct err err;
	struct cidr a;

	if (netns_open(NULL, NULL, &ns, &err) || tun_open(ns, "judge0", 1, &kernel_side.fd, &err))
		fail_msg("%s", err.msg);
	nlbatch_init(&b, ns);
	link_set(&b, &up[0]);
	link_set(&b, &up[1]);
	commit(&b);
	assert_int_equal(link_get(ns, "judge0", &link, NULL), 0);
	assert_int_equal(cidr_parse("10.0.0.1/24", &a, NULL), 0);
	addr_add(&b, link.index, "judge0", &a);
	commit(&b);
	kernel_side.name = "kernel";
	ip_parse("10.0.0.2", &kernel_side.client, NULL);
	ip_parse("10.0.0.1", &kernel_side.server, NULL);
}

static void make_terminator_side(void)
{
	struct worker_config c = {.dialer = dialer_direct(0),
				  .mtu = 1500,
				  .max_flows = 256,
				  .max_dials = 64,
				  .chunks = 8};
	struct err err;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	c.tun = pair[0];
	terminator_side = (struct side){.name = "terminator", .fd = pair[1]};
	ip_parse("10.0.0.2", &terminator_side.client, NULL);
	ip_parse("127.0.0.1", &terminator_side.server, NULL);
	if (worker_new(&c, &worker, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(pthread_create(&worker_thread, NULL, run_worker, worker), 0);
}

static int set_up(void **state)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(PORT)};

	(void)state;
	if (unshare(CLONE_NEWNET))
		fail_msg("a namespace of our own: %s (run as root)", strerror(errno));
	signal(SIGPIPE, SIG_IGN);
	make_kernel_side();
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(listener, 64), 0);
	assert_int_equal(pthread_create(&echo_thread, NULL, accept_all, NULL), 0);
	make_terminator_side();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	worker_stop(worker);
	pthread_join(worker_thread, NULL);
	worker_free(worker);
	shutdown(listener, SHUT_RDWR);
	pthread_join(echo_thread, NULL);
	close(listener);
	close(kernel_side.fd);
	close(terminator_side.fd);
	return 0;
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(scripts)];

	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++)
		tests[i] = (struct CMUnitTest){
			.name = scripts[i].name, .test_func = judge, .initial_state = (void *)&scripts[i]};
	return cmocka_run_group_tests_name("conformance", tests, set_up, tear_down);
}
