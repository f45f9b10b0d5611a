// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Probes against the kernel's own answers and against servers in this process, in a private network
 * namespace: what counts as through, what does not, and what is none of a probe's business.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <linux/icmp.h>
#include <linux/if_tun.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "open_fds.h"
#include "private_net.h"
#include "session/health.h"

#define LIMIT_MS 10000
#define PORT 4000

static struct netns here = {.name = "", .fd = -1};

static struct session_health question(enum session_probe probe, const char *host, uint16_t port)
{
	struct session_health what = {.probe = probe, .port = port};

	assert_int_equal(str_copy(what.host, sizeof(what.host), host), 0);
	return what;
}

static struct ip ip(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(text, &ip, NULL), 0);
	return ip;
}

static void start(struct health *h, struct session_health what, const struct ip *dns)
{
	struct err err = {0};

	if (health_start(h, &here, NULL, &what, dns, &err))
		fail_msg("%s", err.msg);
	assert_true(h->fd >= 0);
}

static bool is_ready(const struct health *h, int timeout_ms)
{
	struct pollfd p = {.fd = h->fd, .events = h->events};

	return poll(&p, 1, timeout_ms) == 1;
}

/* One step, when there is reason for it. */
static int step(struct health *h, struct err *err)
{
	assert_true(is_ready(h, LIMIT_MS));
	return health_step(h, err);
}

static void expect_through(struct health *h)
{
	struct err err = {0};
	int r;

	do
		r = step(h, &err);
	while (!r);
	if (r < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(r, 1);
	health_stop(h);
	assert_int_equal(h->fd, -1);
}

/* At once or in the end, as the kernel likes. */
static void expect_failure(const char *device, struct session_health what, const struct ip *dns,
			   int code, enum err_kind kind, const char *sentence)
{
	struct err err = {0};
	struct health h;
	int r = health_start(&h, &here, device, &what, dns, &err);

	if (r)
		assert_int_equal(h.fd, -1);
	while (!r)
		r = step(&h, &err);
	health_stop(&h);
	assert_int_equal(r, code);
	assert_int_equal(err.kind, kind);
	assert_string_equal(err.msg, sentence);
}

static int bound_socket(const char *addr, uint16_t port, int type, int protocol)
{
	struct ip to = ip(addr);
	struct sockaddr_storage sa;
	socklen_t len = ip_to_sockaddr(&to, port, &sa);
	int fd = socket(to.family, type | SOCK_CLOEXEC, protocol), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

static void send_to(int fd, const char *addr, uint16_t port, const void *data, size_t len)
{
	struct ip to = ip(addr);
	struct sockaddr_storage sa;
	socklen_t sa_len = ip_to_sockaddr(&to, port, &sa);

	assert_int_equal(sendto(fd, data, len, 0, (struct sockaddr *)&sa, sa_len), len);
}

/* ---- ping ---- */

static void test_ping(void **state)
{
	struct health h;

	(void)state;
	start(&h, question(PROBE_PING, "127.0.0.1", 0), NULL);
	expect_through(&h);
	start(&h, question(PROBE_PING, "::1", 0), NULL);
	expect_through(&h);
}

static void set_sysctl(const char *path, const char *value)
{
	_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(write(fd, value, strlen(value)), strlen(value));
}

static void kernel_answers(const char *yes)
{
	const char *ignore = *yes == '1' ? "0" : "1";

	set_sysctl("/proc/sys/net/ipv4/icmp_echo_ignore_all", ignore);
	set_sysctl("/proc/sys/net/ipv6/icmp/echo_ignore_all", ignore);
}

struct ground {
	const char *target;
	int protocol;
	uint8_t request, reply;
};

static const struct ground grounds[] = {
	{"127.0.0.1", IPPROTO_ICMP, ICMP_ECHO, ICMP_ECHOREPLY},
	{"::1", IPPROTO_ICMPV6, ICMP6_ECHO_REQUEST, ICMP6_ECHO_REPLY},
};

static struct icmphdr echo(const struct ground *g, uint8_t type, uint16_t id, uint16_t seq)
{
	struct icmphdr m = {.type = type, .un.echo = {.id = id, .sequence = seq}};
	uint32_t sum = (uint32_t)htons((uint16_t)(type << 8)) + id + seq;

	sum = (sum & 0xffff) + (sum >> 16);
	m.checksum = g->protocol == IPPROTO_ICMP ? (uint16_t) ~(sum + (sum >> 16)) : 0;
	return m;
}

static void send_echo(int fd, const struct ground *g, uint8_t type, uint16_t id, uint16_t seq)
{
	struct icmphdr m = echo(g, type, id, seq);

	send_to(fd, g->target, 0, &m, sizeof(m));
}

/* What comes from the target and is no answer to this request. */
static void test_ping_other_answers(void **state)
{
	struct health h;

	(void)state;
	kernel_answers("0");
	for (size_t i = 0; i < ARRAY_SIZE(grounds); i++) {
		const struct ground *g = &grounds[i];
		_close_ int fd = bound_socket(g->target, 0, SOCK_RAW, g->protocol);

		start(&h, question(PROBE_PING, g->target, 0), NULL);
		send_echo(fd, g, g->reply, (uint16_t)(h.id + 1), h.seq);
		assert_int_equal(step(&h, NULL), 0);
		send_echo(fd, g, g->reply, h.id, (uint16_t)(h.seq + 1));
		assert_int_equal(step(&h, NULL), 0);
		send_echo(fd, g, g->request, h.id, h.seq);
		assert_false(is_ready(&h, 0));
		assert_int_equal(health_step(&h, NULL), 0);
		send_echo(fd, g, g->reply, h.id, h.seq);
		assert_int_equal(step(&h, NULL), 1);
		health_stop(&h);
	}
	kernel_answers("1");
}

/* The right answer of somebody else: another socket sees it, the probe does not. */
static void test_ping_elsewhere(void **state)
{
	const struct ground *g = &grounds[0];
	_close_ int fd = bound_socket("127.0.0.9", 0, SOCK_RAW, g->protocol);
	_close_ int observer = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, g->protocol);
	struct health h;
	uint8_t buf[64] = {0};

	(void)state;
	kernel_answers("0");
	start(&h, question(PROBE_PING, g->target, 0), NULL);
	assert_true(recv(observer, buf, sizeof(buf), 0) > 20); /* the request */
	send_echo(fd, g, g->reply, h.id, h.seq);
	do
		assert_true(recv(observer, buf, sizeof(buf), 0) > 20);
	while (buf[20] != g->reply);
	assert_false(is_ready(&h, 0));
	health_stop(&h);
	kernel_answers("1");
}

static void test_ping_unreachable(void **state)
{
	(void)state;
	expect_failure(NULL, question(PROBE_PING, "192.0.2.1", 0), NULL, -ENETUNREACH,
		       ERR_UNREACHABLE, "cannot ping 192.0.2.1: Network is unreachable");
	expect_failure(NULL, question(PROBE_PING, "2001:db8::1", 0), NULL, -ENETUNREACH,
		       ERR_UNREACHABLE, "cannot ping 2001:db8::1: Network is unreachable");
}

/* ---- TCP ---- */

static int listener(const char *addr, int backlog)
{
	int fd = bound_socket(addr, PORT, SOCK_STREAM, 0);

	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static void test_tcp(void **state)
{
	static const char *const addrs[] = {"127.0.0.1", "::1"};
	struct health h;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++) {
		_close_ int fd = listener(addrs[i], 8);
		_close_ int end = -1;
		char c;

		start(&h, question(PROBE_TCP, addrs[i], PORT), NULL);
		expect_through(&h);
		end = accept(fd, NULL, NULL);
		assert_true(end >= 0);
		assert_int_equal(read(end, &c, 1), 0);
	}
}

static void test_tcp_refused(void **state)
{
	(void)state;
	expect_failure(NULL, question(PROBE_TCP, "127.0.0.1", PORT), NULL, -ECONNREFUSED,
		       ERR_UNREACHABLE,
		       "cannot connect to 127.0.0.1 port 4000: Connection refused");
	expect_failure(NULL, question(PROBE_TCP, "192.0.2.1", PORT), NULL, -ENETUNREACH,
		       ERR_UNREACHABLE,
		       "cannot connect to 192.0.2.1 port 4000: Network is unreachable");
}

/* The kernel drops SYNs when nobody takes the connections that stand already. */
static void test_tcp_silence(void **state)
{
	_close_ _unused_ int fd = listener("127.0.0.1", 0);
	struct health before, h;

	(void)state;
	start(&before, question(PROBE_TCP, "127.0.0.1", PORT), NULL);
	assert_int_equal(step(&before, NULL), 1);
	start(&h, question(PROBE_TCP, "127.0.0.1", PORT), NULL);
	assert_int_equal(health_step(&h, NULL), 0);
	assert_false(is_ready(&h, 300));
	assert_int_equal(health_step(&h, NULL), 0);
	health_stop(&h);
	health_stop(&before);
}

/* ---- DNS ---- */

#define NAME "Intranet.corp.test"

/* A resolver that has got the query, and its answer so far: the query with the bit for answers. */
struct resolver {
	int fd;
	struct sockaddr_storage client;
	socklen_t client_len;
	uint8_t msg[512];
	size_t len;
};

static void take_query(struct resolver *r)
{
	ssize_t n;

	r->client_len = sizeof(r->client);
	n = recvfrom(r->fd, r->msg, sizeof(r->msg), 0, (struct sockaddr *)&r->client,
		     &r->client_len);
	assert_true(n > DNSMSG_HEADER);
	r->len = (size_t)n;
	r->msg[2] |= 0x80;
}

static void reply_from(const struct resolver *r, int fd)
{
	assert_int_equal(
		sendto(fd, r->msg, r->len, 0, (const struct sockaddr *)&r->client, r->client_len),
		r->len);
}

static void begin_dns(struct health *h, struct resolver *r, const char *addr)
{
	struct ip dns = ip(addr);

	*r = (struct resolver){.fd = bound_socket(addr, 53, SOCK_DGRAM, 0)};
	start(h, question(PROBE_DNS, NAME, 0), &dns);
	take_query(r);
}

static void test_dns(void **state)
{
	static const char *const addrs[] = {"127.0.0.1", "::1"};
	static const enum dnsmsg_rcode good[] = {DNSMSG_NOERROR, DNSMSG_NXDOMAIN};
	struct dnsmsg_query q;
	struct resolver r;
	struct health h;
	char host[DNSMSG_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		begin_dns(&h, &r, addrs[i]);
		r.msg[2] &= 0x7f;
		assert_int_equal(dnsmsg_parse_query(r.msg, r.len, &q), DNSMSG_NOERROR);
		assert_int_equal(q.type, DNSMSG_A);
		assert_true(dnsmsg_host(&q, host));
		assert_string_equal(host, "intranet.corp.test");
		r.msg[2] |= 0x80;
		r.msg[3] |= (uint8_t)good[i];
		reply_from(&r, r.fd);
		expect_through(&h);
		close(r.fd);
	}
}

static void test_dns_other_answers(void **state)
{
	_close_ int stranger = bound_socket("127.0.0.1", PORT, SOCK_DGRAM, 0);
	struct resolver r;
	struct health h;

	(void)state;
	begin_dns(&h, &r, "127.0.0.1");
	assert_int_equal(health_step(&h, NULL), 0);
	reply_from(&r, stranger);
	assert_false(is_ready(&h, 0));
	r.msg[0] ^= 1; /* of another query */
	reply_from(&r, r.fd);
	assert_int_equal(step(&h, NULL), 0);
	r.msg[0] ^= 1;
	r.msg[DNSMSG_HEADER + 1] = 'x'; /* to another question */
	reply_from(&r, r.fd);
	assert_int_equal(step(&h, NULL), 0);
	r.msg[DNSMSG_HEADER + 1] = 'I';
	r.len = 1;
	reply_from(&r, r.fd);
	assert_int_equal(step(&h, NULL), 0);
	r.len = 0;
	reply_from(&r, r.fd);
	assert_int_equal(step(&h, NULL), 0);
	health_stop(&h);
	close(r.fd);
}

static void expect_code(uint8_t code, const char *sentence)
{
	struct err err = {0};
	struct resolver r;
	struct health h;

	begin_dns(&h, &r, "127.0.0.1");
	r.msg[3] |= code;
	reply_from(&r, r.fd);
	assert_int_equal(step(&h, &err), -EPROTO);
	assert_string_equal(err.msg, sentence);
	health_stop(&h);
	close(r.fd);
}

static void test_dns_failures(void **state)
{
	struct ip dns = ip("127.0.0.1");

	(void)state;
	expect_code(2, "the resolver 127.0.0.1 answers with code 2, server failure");
	expect_code(5, "the resolver 127.0.0.1 answers with code 5, refused");
	expect_code(9, "the resolver 127.0.0.1 answers with code 9");
	expect_failure(NULL, question(PROBE_DNS, NAME, 0), &dns, -ECONNREFUSED, ERR_UNREACHABLE,
		       "cannot ask the resolver 127.0.0.1: Connection refused");
	expect_failure(NULL, question(PROBE_DNS, NAME, 0), NULL, -ENOENT, ERR_NOT_FOUND,
		       "there is no resolver to ask for '" NAME "'");
	expect_failure(NULL, question(PROBE_DNS, "a..b", 0), &dns, -EINVAL, ERR_USAGE,
		       "cannot look up 'a..b': it is no domain name");
}

/* ---- where from ---- */

static void test_namespace(void **state)
{
	struct netns there = {.name = "there",
			      .fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)};
	struct session_health what = question(PROBE_TCP, "127.0.0.1", PORT);
	_close_ _unused_ int fd = listener("127.0.0.1", 8);
	struct err err = {0};
	struct health h;

	(void)state;
	assert_true(private_net());
	expect_failure(NULL, what, NULL, -ECONNREFUSED, ERR_UNREACHABLE,
		       "cannot connect to 127.0.0.1 port 4000: Connection refused");
	if (health_start(&h, &there, NULL, &what, NULL, &err))
		fail_msg("%s", err.msg);
	expect_through(&h);
	assert_int_equal(setns(there.fd, CLONE_NEWNET), 0);
	close(there.fd);
}

static int open_tun(const char *name, const char *addr)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	_close_ int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	struct sockaddr_in sa = {.sin_family = AF_INET};

	if (fd < 0)
		return -1;
	str_copy(req.ifr_name, sizeof(req.ifr_name), name);
	assert_int_equal(ioctl(fd, TUNSETIFF, &req), 0);
	inet_pton(AF_INET, addr, &sa.sin_addr);
	memcpy(&req.ifr_addr, &sa, sizeof(sa));
	assert_int_equal(ioctl(control, SIOCSIFADDR, &req), 0);
	req.ifr_flags = IFF_UP;
	assert_int_equal(ioctl(control, SIOCSIFFLAGS, &req), 0);
	return fd;
}

/* No route leads to the target, and still the probe leaves by the device, and by no other. */
static void test_device(void **state)
{
	_close_ int tun = open_tun("tun0", "10.99.0.7");
	struct session_health what = question(PROBE_PING, "192.0.2.1", 0);
	const uint8_t dst[] = {192, 0, 2, 1};
	uint8_t packet[1500];
	struct icmphdr reply;
	struct err err = {0};
	struct health h;
	ssize_t n;

	(void)state;
	expect_failure("tun7", what, NULL, -ENODEV, ERR_UNREACHABLE,
		       "cannot ping 192.0.2.1: No such device");
	if (tun < 0)
		skip();
	expect_failure(NULL, what, NULL, -ENETUNREACH, ERR_UNREACHABLE,
		       "cannot ping 192.0.2.1: Network is unreachable");
	if (health_start(&h, &here, "tun0", &what, NULL, &err))
		fail_msg("%s", err.msg);
	do
		n = read(tun, packet, sizeof(packet));
	while (n > 0 && packet[0] >> 4 != 4); /* the kernel's IPv6 looks around */
	assert_int_equal(n, 28);
	assert_memory_equal(packet + 16, dst, 4);
	memcpy(packet + 16, packet + 12, 4); /* the way back; the header's sum stays what it was */
	memcpy(packet + 12, dst, 4);
	reply = echo(&grounds[0], ICMP_ECHOREPLY, h.id, h.seq);
	memcpy(packet + 20, &reply, sizeof(reply));
	assert_int_equal(write(tun, packet, 28), 28);
	expect_through(&h);
}

static int setup(void **state)
{
	(void)state;
	return private_net() ? 0 : -1;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, remember_fds, compare_fds)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ping),
		TEST(test_ping_other_answers),
		TEST(test_ping_elsewhere),
		TEST(test_ping_unreachable),
		TEST(test_tcp),
		TEST(test_tcp_refused),
		TEST(test_tcp_silence),
		TEST(test_dns),
		TEST(test_dns_other_answers),
		TEST(test_dns_failures),
		TEST(test_namespace),
		TEST(test_device),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
