// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Dialers against a proxy that is the test itself: it says what the test wants, in the pieces the
 * test wants, and time is what the test says.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "open_fds.h"
#include "private_net.h"
#include "tunnel/dialer.h"
#include "tunnel/digest.h"
#include "tunnel/resolve.h"

#define NOW 1000000u
#define TIMEOUT_MS 20000u

/* In place of the C library's: takes no more than that, when it is not 0. */
static size_t send_max;

ssize_t send(int fd, const void *data, size_t n, int flags)
{
	return sendto(fd, data, send_max && n > send_max ? send_max : n, flags, NULL, 0);
}

/* ---- The proxy ---- */

struct proxy {
	int listener;
	uint16_t port;
	char request[4096]; /* of the last accept_request() */
};

static int listen_on(int family, uint16_t *port, int backlog)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
	struct sockaddr *addr = family == AF_INET ? (void *)&in : (void *)&in6;
	socklen_t len = family == AF_INET ? sizeof(in) : sizeof(in6);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, addr, len), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, addr, &len), 0);
	*port = ntohs(family == AF_INET ? in.sin_port : in6.sin6_port);
	return fd;
}

static int listen_at(const char *address, uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(inet_pton(AF_INET, address, &in.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static void proxy_start(struct proxy *p)
{
	p->listener = listen_on(AF_INET, &p->port, 16);
}

static void wait_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&p, 1, 2000), 1);
}

static bool is_dialed(const struct proxy *p)
{
	struct pollfd f = {.fd = p->listener, .events = POLLIN};

	return poll(&f, 1, 0) == 1;
}

static int accept_one(struct proxy *p)
{
	int fd;

	wait_readable(p->listener);
	fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* A connection whose request has come as a whole. */
static int accept_request(struct proxy *p)
{
	int fd = accept_one(p);
	size_t len = 0;

	do {
		ssize_t n;

		wait_readable(fd);
		n = read(fd, p->request + len, sizeof(p->request) - 1 - len);
		assert_true(n > 0);
		len += (size_t)n;
		p->request[len] = '\0';
	} while (!strstr(p->request, "\r\n\r\n"));
	assert_string_equal(strstr(p->request, "\r\n\r\n"), "\r\n\r\n");
	return fd;
}

static void say(int fd, const char *text, size_t len)
{
	assert_int_equal(write(fd, text, len), len);
}

/* Without a farewell: RST. */
static void reset(int fd)
{
	struct linger now = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

/* ---- The dial ---- */

static struct connect_config config_for(const struct proxy *proxies, unsigned int n)
{
	struct connect_config config = {.n_upstreams = n, .timeout_ms = TIMEOUT_MS};

	for (unsigned int i = 0; i < n; i++) {
		struct connect_upstream *u = &config.upstreams[i];

		snprintf(u->host, sizeof(u->host), "proxy%u.example", i);
		u->port = proxies[i].port;
		u->addr = (struct ip){.family = AF_INET, .bytes = {127, 0, 0, 1}};
	}
	return config;
}

static struct dialer *dialer_with(struct connect_config config)
{
	struct dialer *d = NULL;
	struct err err = {0};

	if (dialer_connect(&config, &d, &err))
		fail_msg("%s", err.msg);
	return d;
}

static struct dialer *dialer_of(const struct proxy *proxies, unsigned int n)
{
	return dialer_with(config_for(proxies, n));
}

static struct dialer *dialer_as(const struct proxy *p, const char *username, const char *password)
{
	struct connect_config config = config_for(p, 1);

	snprintf(config.username, sizeof(config.username), "%s", username);
	snprintf(config.password, sizeof(config.password), "%s", password);
	return dialer_with(config);
}

static const struct dial_target target = {
	.addr = {.family = AF_INET, .bytes = {192, 0, 2, 7}},
	.port = 443,
};

/* A failure has a reason that does not tell the password, and holds nothing. */
static enum dial_status judged(const struct dial *c, enum dial_status s)
{
	assert_null(strstr(c->reason, "s3cret"));
	if (s == DIAL_PENDING) {
		assert_true(c->fd >= 0);
		assert_true(c->events != 0);
		assert_true(c->deadline_ms > 0);
		return s;
	}
	assert_int_equal(c->fd >= 0, s == DIAL_CONNECTED);
	assert_int_equal(c->reason[0] != '\0', s != DIAL_CONNECTED);
	return s;
}

static enum dial_status start(struct dialer *d, struct dial *c)
{
	return judged(c, dial_start(d, c, &target, NOW));
}

static enum dial_status step_at(struct dial *c, uint32_t revents, uint64_t now_ms)
{
	return judged(c, dial_step(c, revents, now_ms));
}

/* Waits for what the dial waits for. */
static enum dial_status step(struct dial *c)
{
	struct pollfd p = {.fd = c->fd, .events = (short)c->events};

	assert_int_equal(poll(&p, 1, 2000), 1);
	return step_at(c, (uint32_t)p.revents, NOW);
}

/* Up to where the request is sent. */
static void begin(struct dialer *d, struct dial *c)
{
	assert_int_equal(start(d, c), DIAL_PENDING);
	assert_int_equal(step(c), DIAL_PENDING);
	assert_int_equal(c->events, EPOLLIN);
}

static enum dial_status finish(struct dial *c)
{
	enum dial_status s;

	do
		s = step(c);
	while (s == DIAL_PENDING);
	return s;
}

/* One dial that is answered like this. */
static enum dial_status answer(struct dialer *d, struct proxy *p, struct dial *c, const char *text)
{
	enum dial_status s;
	int fd;

	begin(d, c);
	fd = accept_request(p);
	say(fd, text, strlen(text));
	s = finish(c);
	close(fd);
	if (s == DIAL_CONNECTED)
		close(TAKE_FD(c->fd));
	return s;
}

static const char established[] = "HTTP/1.1 200 Connection established\r\nVia: 1.1 x\r\n\r\n";

static void establish(struct dial *c, int fd)
{
	say(fd, established, strlen(established));
	assert_int_equal(step(c), DIAL_CONNECTED);
	close(TAKE_FD(c->fd));
	close(fd);
}

static void over(struct dialer *d, struct proxy *p)
{
	dialer_free(d);
	close(p->listener);
}

/* ---- One proxy, and a dialer to it, without credentials and with alice's ---- */

struct world {
	struct proxy p;
	struct dialer *d;
};

static struct world *world_of_one_proxy(void **state)
{
	static struct world w;

	remember_fds(state);
	proxy_start(&w.p);
	*state = &w;
	return &w;
}

static int set_up(void **state)
{
	struct world *w = world_of_one_proxy(state);

	w->d = dialer_of(&w->p, 1);
	return 0;
}

static int set_up_alice(void **state)
{
	struct world *w = world_of_one_proxy(state);

	w->d = dialer_as(&w->p, "alice", "s3cret");
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	over(w->d, &w->p);
	return compare_fds(state);
}

/* ---- Tests ---- */

static void request_is(struct world *w, const struct dial_target *t, const char *want)
{
	struct dial c;
	int fd;

	assert_int_equal(dial_start(w->d, &c, t, NOW), DIAL_PENDING);
	assert_int_equal(step(&c), DIAL_PENDING);
	fd = accept_request(&w->p);
	assert_string_equal(w->p.request, want);
	dial_abort(&c);
	close(fd);
}

static void test_request(void **state)
{
	struct world *w = *state;
	struct dial_target t = target;

	request_is(w, &t,
		   "CONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: 192.0.2.7:443\r\n"
		   "User-Agent: byway\r\n\r\n");
	assert_int_equal(ip_parse("2001:db8::7", &t.addr, NULL), 0);
	request_is(w, &t,
		   "CONNECT [2001:db8::7]:443 HTTP/1.1\r\nHost: [2001:db8::7]:443\r\n"
		   "User-Agent: byway\r\n\r\n");
	strcpy(t.host, "www.example_1.com");
	t.port = 65535;
	request_is(w, &t,
		   "CONNECT www.example_1.com:65535 HTTP/1.1\r\nHost: www.example_1.com:65535\r\n"
		   "User-Agent: byway\r\n\r\n");
}

/* A socket that takes a few bytes at a time. */
static void test_slow_socket(void **state)
{
	struct world *w = *state;
	struct dial c;
	enum dial_status s;
	int fd;

	send_max = 7;
	s = start(w->d, &c);
	for (int i = 0; s == DIAL_PENDING && c.events == EPOLLOUT && i < 100; i++)
		s = step(&c);
	send_max = 0;
	assert_int_equal(c.events, EPOLLIN);
	fd = accept_request(&w->p);
	assert_string_equal(w->p.request, "CONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: 192.0.2.7:443\r\n"
					  "User-Agent: byway\r\n"
					  "Proxy-Authorization: Basic YWxpY2U6czNjcmV0\r\n\r\n");
	establish(&c, fd);
}

static void test_bad_names(void **state)
{
	static const char *const names[] = {"a b", "a\r\nEvil: x", "a:1", "a/b", "a@b", "\xc3\xa9"};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct dial_target t = target;
		struct dial c;

		strcpy(t.host, names[i]);
		assert_int_equal(dial_start(w->d, &c, &t, NOW), DIAL_UNREACHABLE);
		assert_true(c.reason[0] != '\0');
		dial_abort(&c);
	}
	assert_false(is_dialed(&w->p));
}

struct verdict {
	const char *header;
	enum dial_status status;
	const char *reason; /* a part of it */
};

static const struct verdict verdicts[] = {
	{"HTTP/1.1 200 Connection established", DIAL_CONNECTED, ""},
	{"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", DIAL_CONNECTED, ""},
	{"HTTP/1.1 204 No Content", DIAL_CONNECTED, ""},
	{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK", DIAL_CONNECTED, ""},
	{"HTTP/1.1 302 Found\r\nLocation: x", DIAL_BROKEN, "302 Found by proxy0.example:"},
	{"HTTP/1.1 400 Bad Request", DIAL_BROKEN, "400 Bad Request"},
	{"HTTP/1.0 401 Unauthorized", DIAL_AUTH, "wants a user name"},
	{"HTTP/1.1 403 Forbidden", DIAL_DENIED, "403 Forbidden by proxy0.example:"},
	{"HTTP/1.1 403", DIAL_DENIED, "403 by proxy0.example:"},
	{"HTTP/1.1 404 Not Found", DIAL_UNREACHABLE, "404"},
	{"HTTP/1.1 405 Method Not Allowed", DIAL_BROKEN, "405"},
	{"HTTP/1.1 407 Authenticate\r\nProxy-Authenticate: Basic realm=x", DIAL_AUTH,
	 "wants a user name and a password (407 Authenticate)"},
	{"HTTP/1.1 407 Authenticate\r\nProxy-Authenticate: Negotiate", DIAL_AUTH, "wants Negotiate"},
	{"HTTP/1.1 429 Too Many Requests", DIAL_DENIED, "429"},
	{"HTTP/1.1 500 Unable to connect", DIAL_REFUSED, "500 Unable to connect"},
	{"HTTP/1.1 501 Not Implemented", DIAL_BROKEN, "501"},
	{"HTTP/1.1 502 Bad Gateway", DIAL_REFUSED, "502 Bad Gateway"},
	{"HTTP/1.1 502 No route to host", DIAL_UNREACHABLE, "No route"},
	{"HTTP/1.1 502 Host cannot be resolved", DIAL_UNREACHABLE, "resolved"},
	{"HTTP/1.1 502 Connection timed out", DIAL_TIMEOUT, "timed out"},
	{"HTTP/1.1 502 x\r\nProxy-Status: p; error=connection_refused", DIAL_REFUSED, "(connection_refused)"},
	{"HTTP/1.1 502 x\r\nProxy-Status: p; error=dns_error", DIAL_UNREACHABLE, "(dns_error)"},
	{"HTTP/1.1 502 x\r\nProxy-Status: p; error=connection_timeout", DIAL_TIMEOUT, ""},
	{"HTTP/1.1 502 x\r\nProxy-Status: p; error=destination_ip_prohibited", DIAL_DENIED, ""},
	{"HTTP/1.1 503 Service Unavailable", DIAL_REFUSED, "503"},
	{"HTTP/1.1 503 x\r\nX-Squid-Error: ERR_CONNECT_FAIL 111", DIAL_REFUSED, "(ERR_CONNECT_FAIL 111)"},
	{"HTTP/1.1 503 x\r\nX-Squid-Error: ERR_CONNECT_FAIL 110", DIAL_TIMEOUT, "110"},
	{"HTTP/1.1 503 x\r\nX-Squid-Error: ERR_CONNECT_FAIL 113", DIAL_UNREACHABLE, "113"},
	{"HTTP/1.1 503 x\r\nX-Squid-Error: ERR_CONNECT_FAIL 101", DIAL_UNREACHABLE, "101"},
	{"HTTP/1.1 503 x\r\nX-Squid-Error: ERR_DNS_FAIL 0", DIAL_UNREACHABLE, "ERR_DNS_FAIL"},
	{"HTTP/1.1 504 Gateway Timeout", DIAL_TIMEOUT, "504"},
	{"SSH-2.0-OpenSSH_9.2p1", DIAL_BROKEN, "does not answer as an HTTP proxy does"},
};

static void test_verdicts(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
		const struct verdict *v = &verdicts[i];
		struct dial c;
		char text[512];
		enum dial_status got;

		snprintf(text, sizeof(text), "%s\r\n\r\n", v->header);
		got = answer(w->d, &w->p, &c, text);
		if (got != v->status || !strstr(c.reason, v->reason))
			fail_msg("%s: %s, %s", v->header, dial_status_name(got), c.reason);
		assert_int_equal(c.answered, strncmp(v->header, "SSH", 3) != 0);
	}
}

/* What the target says at once comes right behind the header, and is not lost. */
static void expect_stream(struct dial *c)
{
	char buf[64];

	wait_readable(c->fd);
	assert_int_equal(recv(c->fd, buf, sizeof(buf), 0), 8);
	assert_memory_equal(buf, "\r\nhello\n", 8);
	close(TAKE_FD(c->fd));
	dial_abort(c);
}

static void test_split(void **state)
{
	struct world *w = *state;

	for (size_t at = 1; at < strlen(established); at++) {
		struct dial c;
		int fd;

		begin(w->d, &c);
		fd = accept_request(&w->p);
		say(fd, established, at);
		assert_int_equal(step(&c), DIAL_PENDING);
		say(fd, established + at, strlen(established) - at);
		say(fd, "\r\nhello\n", 8);
		assert_int_equal(step(&c), DIAL_CONNECTED);
		expect_stream(&c);
		close(fd);
	}
}

static void test_byte_by_byte(void **state)
{
	struct world *w = *state;
	struct dial c;
	int fd;

	begin(w->d, &c);
	fd = accept_request(&w->p);
	for (size_t i = 0; established[i]; i++) {
		say(fd, established + i, 1);
		assert_int_equal(step(&c), established[i + 1] ? DIAL_PENDING : DIAL_CONNECTED);
	}
	say(fd, "\r\nhello\n", 8);
	expect_stream(&c);
	close(fd);
}

/* The caller may be told of a descriptor in which nothing new is. */
static void test_spurious(void **state)
{
	struct world *w = *state;
	struct dial c;
	int fd;

	begin(w->d, &c);
	assert_int_equal(step_at(&c, EPOLLIN, NOW), DIAL_PENDING);
	fd = accept_request(&w->p);
	say(fd, established, 5);
	wait_readable(c.fd);
	assert_int_equal(step_at(&c, EPOLLIN, NOW), DIAL_PENDING);
	assert_int_equal(step_at(&c, EPOLLIN, NOW), DIAL_PENDING);
	assert_int_equal(step_at(&c, 0, NOW), DIAL_PENDING);
	dial_abort(&c);
	dial_abort(&c);
	close(fd);
}

static void test_closed_at_every_point(void **state)
{
	struct world *w = *state;

	for (size_t at = 0; at < strlen(established); at++) {
		struct dial c;
		int fd;

		begin(w->d, &c);
		fd = accept_request(&w->p);
		say(fd, established, at);
		if (at % 2)
			close(fd);
		else
			reset(fd);
		assert_int_equal(finish(&c), DIAL_BROKEN);
		assert_non_null(strstr(c.reason, "closed the connection before it answered"));
		assert_false(c.answered);
	}
}

static void test_closed_before_the_request(void **state)
{
	struct world *w = *state;
	struct dial c;

	assert_int_equal(start(w->d, &c), DIAL_PENDING);
	reset(accept_one(&w->p));
	assert_true(finish(&c) != DIAL_CONNECTED);
	assert_int_equal(start(w->d, &c), DIAL_PENDING);
	close(accept_one(&w->p));
	assert_int_equal(finish(&c), DIAL_BROKEN);
}

static void test_endless_header(void **state)
{
	static char line[1024] = "X: ";
	struct world *w = *state;
	struct dial c;
	enum dial_status s = DIAL_PENDING;
	int fd;

	memset(line + 3, 'x', sizeof(line) - 5);
	memcpy(line + sizeof(line) - 2, "\r\n", 2);
	begin(w->d, &c);
	fd = accept_request(&w->p);
	say(fd, "HTTP/1.1 200 OK\r\n", 17);
	for (int i = 0; i < 16 && s == DIAL_PENDING; i++) {
		say(fd, line, sizeof(line));
		s = step(&c);
	}
	assert_int_equal(s, DIAL_BROKEN);
	assert_non_null(strstr(c.reason, "without an end"));
	close(fd);
}

static void test_deadline(void **state)
{
	struct world *w = *state;
	struct dial c;
	int fd;

	begin(w->d, &c);
	assert_int_equal(c.deadline_ms, NOW + TIMEOUT_MS);
	fd = accept_request(&w->p);
	assert_int_equal(step_at(&c, 0, c.deadline_ms - 1), DIAL_PENDING);
	/* A byte now and then does not buy time. */
	say(fd, "HTTP", 4);
	wait_readable(c.fd);
	assert_int_equal(step_at(&c, EPOLLIN, c.deadline_ms), DIAL_TIMEOUT);
	assert_non_null(strstr(c.reason, "no answer from proxy0.example:"));
	assert_non_null(strstr(c.reason, "20 s"));
	close(fd);
}

/* ---- Failover ---- */

/* A port on which nobody listens. */
static void proxy_gone(struct proxy *p)
{
	proxy_start(p);
	close(p->listener);
}

static void test_refused(void **state)
{
	struct proxy p;
	struct dialer *d;
	struct dial c;

	(void)state;
	proxy_gone(&p);
	d = dialer_of(&p, 1);
	assert_int_equal(start(d, &c), DIAL_PENDING);
	assert_int_equal(step(&c), DIAL_UNREACHABLE);
	assert_non_null(strstr(c.reason, "cannot connect to proxy0.example:"));
	assert_non_null(strstr(c.reason, "refused"));
	assert_false(c.answered);
	dialer_free(d);
}

static void test_failover(void **state)
{
	struct proxy p[3];
	struct dialer *d;
	struct dial c;
	int fd, before;

	(void)state;
	proxy_gone(&p[0]);
	proxy_start(&p[1]);
	proxy_start(&p[2]);
	d = dialer_of(p, 3);
	/* The first refuses, the second talks nonsense. */
	assert_int_equal(start(d, &c), DIAL_PENDING);
	before = c.fd;
	assert_int_equal(step(&c), DIAL_PENDING);
	assert_true(c.fd != before);
	assert_int_equal(step(&c), DIAL_PENDING);
	fd = accept_request(&p[1]);
	say(fd, "220 smtp\r\n", 10);
	before = c.fd;
	assert_int_equal(step(&c), DIAL_PENDING);
	assert_true(c.fd != before);
	close(fd);
	assert_int_equal(step(&c), DIAL_PENDING);
	establish(&c, accept_request(&p[2]));
	/* From now on it is asked first, and what it says of a target is the last word. */
	assert_int_equal(answer(d, &p[2], &c, "HTTP/1.1 502 Bad Gateway\r\n\r\n"), DIAL_REFUSED);
	assert_int_equal(answer(d, &p[2], &c, "HTTP/1.1 407 x\r\n\r\n"), DIAL_AUTH);
	assert_false(is_dialed(&p[1]));
	close(p[1].listener);
	over(d, &p[2]);
}

/* A proxy that does not do CONNECT is as good as none. */
static void test_failover_from_none(void **state)
{
	struct proxy p[2];
	struct dialer *d;
	struct dial c;
	int fd;

	(void)state;
	proxy_start(&p[0]);
	proxy_start(&p[1]);
	d = dialer_of(p, 2);
	begin(d, &c);
	fd = accept_request(&p[0]);
	say(fd, "HTTP/1.1 405 No\r\n\r\n", 19);
	assert_int_equal(step(&c), DIAL_PENDING);
	close(fd);
	assert_int_equal(step(&c), DIAL_PENDING);
	establish(&c, accept_request(&p[1]));
	close(p[0].listener);
	over(d, &p[1]);
}

static void test_all_fail(void **state)
{
	struct proxy p[3];
	struct connect_config config;
	struct dialer *d;
	struct dial c;

	(void)state;
	for (int i = 0; i < 3; i++)
		proxy_gone(&p[i]);
	config = config_for(p, 3);
	config.upstreams[1].addr.bytes[0] = 10; /* to which there is no route: fails at once */
	d = dialer_with(config);
	assert_int_equal(start(d, &c), DIAL_PENDING);
	assert_int_equal(finish(&c), DIAL_UNREACHABLE);
	assert_non_null(strstr(c.reason, "proxy2.example"));
	dialer_free(d);
}

/* Listens, but the kernel lets no connection through: two fill a backlog of 0. */
struct hole {
	struct proxy p;
	int fillers[2];
};

static void hole_start(struct hole *h)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	h->p.listener = listen_on(AF_INET, &h->p.port, 0);
	to.sin_port = htons(h->p.port);
	for (size_t i = 0; i < ARRAY_SIZE(h->fillers); i++) {
		h->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)!connect(h->fillers[i], (struct sockaddr *)&to, sizeof(to));
	}
}

static void hole_stop(struct hole *h)
{
	close(h->p.listener);
	for (size_t i = 0; i < ARRAY_SIZE(h->fillers); i++)
		close(h->fillers[i]);
}

static void test_share_of_time(void **state)
{
	struct hole h;
	struct proxy p[2];
	struct dialer *d;
	struct dial c;
	int fd;

	(void)state;
	hole_start(&h);
	p[0] = h.p;
	proxy_start(&p[1]);
	d = dialer_of(p, 2);
	assert_int_equal(start(d, &c), DIAL_PENDING);
	assert_int_equal(c.deadline_ms, NOW + 5000);
	assert_int_equal(step_at(&c, 0, NOW + 4999), DIAL_PENDING);
	assert_int_equal(step_at(&c, 0, NOW + 5000), DIAL_PENDING);
	assert_int_equal(c.deadline_ms, NOW + TIMEOUT_MS);
	fd = accept_one(&p[1]);
	assert_int_equal(step_at(&c, 0, NOW + TIMEOUT_MS), DIAL_TIMEOUT);
	assert_non_null(strstr(c.reason, "proxy1.example"));
	close(fd);
	hole_stop(&h);
	over(d, &p[1]);
}

static void test_silent_proxy(void **state)
{
	struct proxy p[2];
	struct dialer *d;
	struct dial c;

	(void)state;
	proxy_start(&p[0]);
	proxy_start(&p[1]);
	d = dialer_of(p, 2);
	for (int i = 0; i < 3; i++) {
		begin(d, &c);
		close(accept_request(&p[0]));
		dial_abort(&c);
	}
	/* Aborted dials say nothing of it; three that wait in vain do. */
	for (int i = 0; i < 3; i++) {
		int fd;

		begin(d, &c);
		fd = accept_request(&p[0]);
		assert_int_equal(step_at(&c, 0, c.deadline_ms), DIAL_TIMEOUT);
		close(fd);
	}
	assert_int_equal(answer(d, &p[1], &c, established), DIAL_CONNECTED);
	close(p[0].listener);
	over(d, &p[1]);
}

/* ---- Several addresses of one proxy, and other networks ---- */

/* A dialer to a proxy by its name, and what the name stands for: "ADDRESS ADDRESS ...". */
static void set_addrs(struct dialer *d, const char *list)
{
	struct connect_addrs addrs = {0};
	char text[256], *rest = NULL;

	snprintf(text, sizeof(text), "%s", list);
	for (char *w = strtok_r(text, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
		assert_int_equal(ip_parse(w, &addrs.v[addrs.n++], NULL), 0);
	dialer_connect_set_addrs(d, 0, &addrs);
}

static struct dialer *dialer_by_name(const struct proxy *proxies, unsigned int n, const char *list)
{
	struct connect_config config = config_for(proxies, n);
	struct dialer *d;

	config.upstreams[0].addr = (struct ip){0};
	d = dialer_with(config);
	set_addrs(d, list);
	return d;
}

static bool goes_to(const struct dial *c, const char *address)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	char text[INET6_ADDRSTRLEN];
	const void *bytes = &((struct sockaddr_in *)&peer)->sin_addr;

	if (getpeername(c->fd, (struct sockaddr *)&peer, &len)) /* not connected yet */
		return false;
	if (peer.ss_family == AF_INET6)
		bytes = &((struct sockaddr_in6 *)&peer)->sin6_addr;
	return !strcmp(inet_ntop(peer.ss_family, bytes, text, sizeof(text)), address);
}

/* To the first there is no route, at the second nobody listens, the third hangs up. */
static void test_addresses(void **state)
{
	struct proxy p, other;
	struct dialer *d;
	struct dial c;

	(void)state;
	proxy_start(&other);
	p = other;
	p.listener = listen_at("127.0.0.3", p.port);
	d = dialer_by_name(&p, 1, "10.0.0.1 127.0.0.2 127.0.0.3 127.0.0.1");
	assert_int_equal(start(d, &c), DIAL_PENDING); /* at the second already */
	assert_int_equal(step(&c), DIAL_PENDING);
	assert_int_equal(step(&c), DIAL_PENDING);
	assert_true(goes_to(&c, "127.0.0.3"));
	close(accept_request(&p));
	assert_int_equal(step(&c), DIAL_PENDING);
	assert_int_equal(step(&c), DIAL_PENDING);
	assert_true(goes_to(&c, "127.0.0.1"));
	establish(&c, accept_request(&other));
	/* What answered is asked first from then on, even when the list changes around it; */
	set_addrs(d, "127.0.0.2 127.0.0.1");
	begin(d, &c);
	assert_true(goes_to(&c, "127.0.0.1"));
	establish(&c, accept_request(&other));
	/* but not when it is in it no more. */
	set_addrs(d, "127.0.0.3");
	begin(d, &c);
	assert_true(goes_to(&c, "127.0.0.3"));
	establish(&c, accept_request(&p));
	assert_false(is_dialed(&other));
	close(other.listener);
	over(d, &p);
}

static void test_addresses_of_both_families(void **state)
{
	struct proxy p;
	struct dialer *d;
	struct dial c;

	(void)state;
	p.listener = listen_on(AF_INET6, &p.port, 16);
	d = dialer_by_name(&p, 1, "127.0.0.1 ::1");
	assert_int_equal(start(d, &c), DIAL_PENDING);
	assert_int_equal(step(&c), DIAL_PENDING);
	assert_int_equal(step(&c), DIAL_PENDING);
	assert_true(goes_to(&c, "::1"));
	establish(&c, accept_request(&p));
	over(d, &p);
}

/* After the last address, the next proxy; and a reason, when that fails too. */
static void test_addresses_fail(void **state)
{
	struct proxy p[2];
	struct dialer *d;
	struct dial c;

	(void)state;
	proxy_gone(&p[0]);
	proxy_start(&p[1]);
	d = dialer_by_name(p, 2, "127.0.0.1 127.0.0.2");
	assert_int_equal(start(d, &c), DIAL_PENDING);
	assert_int_equal(step(&c), DIAL_PENDING);
	assert_int_equal(step(&c), DIAL_PENDING);
	assert_int_equal(step(&c), DIAL_PENDING);
	establish(&c, accept_request(&p[1]));
	over(d, &p[1]);
	d = dialer_by_name(p, 1, "127.0.0.1 127.0.0.2");
	assert_int_equal(start(d, &c), DIAL_PENDING);
	assert_int_equal(finish(&c), DIAL_UNREACHABLE);
	set_addrs(d, "");
	assert_int_equal(start(d, &c), DIAL_UNREACHABLE);
	dialer_free(d);
}

/* An address that does not answer holds a dial up for a moment, a silent one for three dials. */
static void test_addresses_take_their_time(void **state)
{
	struct hole h;
	struct proxy p;
	struct dialer *d;
	struct dial c;

	(void)state;
	hole_start(&h);
	p.port = h.p.port;
	p.listener = listen_at("127.0.0.2", p.port);
	d = dialer_by_name(&p, 1, "127.0.0.1 127.0.0.2");
	assert_int_equal(start(d, &c), DIAL_PENDING);
	assert_int_equal(c.deadline_ms, NOW + 2000);
	assert_int_equal(step_at(&c, 0, NOW + 2000), DIAL_PENDING);
	assert_int_equal(c.deadline_ms, NOW + TIMEOUT_MS);
	assert_int_equal(step(&c), DIAL_PENDING);
	establish(&c, accept_request(&p));
	for (int i = 0; i < 3; i++) {
		int fd;

		begin(d, &c);
		fd = accept_request(&p);
		assert_int_equal(step_at(&c, 0, c.deadline_ms), DIAL_TIMEOUT);
		close(fd);
	}
	assert_int_equal(start(d, &c), DIAL_PENDING);
	assert_false(is_dialed(&p)); /* the other one has its turn again */
	dial_abort(&c);
	hole_stop(&h);
	over(d, &p);
}

/* A dial whose connection broke with the network begins anew, where the proxy is now. */
static void test_renew(void **state)
{
	struct proxy p, now;
	struct dialer *d;
	struct dial c;
	int fd;

	(void)state;
	proxy_start(&p);
	now = p;
	now.listener = listen_at("127.0.0.2", p.port);
	d = dialer_by_name(&p, 1, "127.0.0.1");
	begin(d, &c);
	fd = accept_request(&p);
	set_addrs(d, "127.0.0.2");
	dialer_connect_renew(d);
	reset(fd);
	assert_int_equal(step(&c), DIAL_PENDING);
	assert_int_equal(step(&c), DIAL_PENDING);
	fd = accept_request(&now);
	reset(fd); /* in the same network: a failure */
	assert_int_equal(step(&c), DIAL_BROKEN);
	/* What has not noticed the change is left alone. */
	begin(d, &c);
	fd = accept_request(&now);
	dialer_connect_renew(d);
	establish(&c, fd);
	close(now.listener);
	over(d, &p);
}

/* ---- Credentials ---- */

static void test_basic(void **state)
{
	struct world *w = *state;
	struct dial c;

	assert_int_equal(answer(w->d, &w->p, &c, established), DIAL_CONNECTED);
	assert_non_null(strstr(w->p.request, "\r\nProxy-Authorization: Basic YWxpY2U6czNjcmV0\r\n"));
	assert_int_equal(answer(w->d, &w->p, &c,
				"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\n\r\n"),
			 DIAL_AUTH);
	assert_non_null(strstr(c.reason, "refuses the user name or the password (407 No)"));
	assert_int_equal(answer(w->d, &w->p, &c, "HTTP/1.0 401 Unauthorized\r\n\r\n"), DIAL_AUTH);
}

static void test_longest_credentials(void **state)
{
	struct connect_config config;
	struct proxy p;
	struct dialer *d;
	struct dial c;
	int fd;

	(void)state;
	proxy_start(&p);
	config = config_for(&p, 1);
	memset(config.username, '"', sizeof(config.username) - 1);
	memset(config.password, 'p', sizeof(config.password) - 1);
	d = dialer_with(config);
	begin(d, &c);
	fd = accept_request(&p);
	/* And the longest challenge, every byte of which has to be escaped. */
	{
		char text[1024], realm[255] = "", nonce[301] = "";

		memset(realm, '\\', 2 * 100);
		memset(nonce, '\\', 2 * 120);
		snprintf(text, sizeof(text),
			 "HTTP/1.1 407 x\r\nProxy-Authenticate: Digest realm=\"%s\", nonce=\"%s\", qop=auth\r\n\r\n",
			 realm, nonce);
		say(fd, text, strlen(text));
	}
	assert_int_equal(step(&c), DIAL_PENDING);
	close(fd);
	assert_int_equal(step(&c), DIAL_PENDING);
	fd = accept_request(&p);
	assert_non_null(strstr(p.request, "Proxy-Authorization: Digest username=\"\\\"\\\""));
	dial_abort(&c);
	close(fd);
	over(d, &p);
}

/* The value of a parameter of the last request's Proxy-Authorization, without quotes. */
static const char *parameter(const struct proxy *p, const char *name)
{
	static char value[512];
	char key[64];
	const char *at = strstr(p->request, "Proxy-Authorization: Digest ");
	size_t n;

	assert_non_null(at);
	snprintf(key, sizeof(key), " %s=", name);
	at = strstr(at, key);
	assert_non_null(at);
	at += strlen(key);
	at += *at == '"';
	n = strcspn(at, "\",\r");
	memcpy(value, at, n);
	value[n] = '\0';
	return value;
}

static void check_digest(const struct proxy *p, const char *nonce, uint32_t count)
{
	struct digest_challenge c = {.hash = DIGEST_SHA256, .qop_auth = true, .realm = "a realm"};
	struct digest_request r = {
		.username = "alice",
		.password = "s3cret",
		.method = "CONNECT",
		.uri = "192.0.2.7:443",
		.count = count,
	};
	char cnonce[64], want[DIGEST_HEX_MAX + 1], hex[9];

	snprintf(cnonce, sizeof(cnonce), "%s", parameter(p, "cnonce"));
	snprintf(c.nonce, sizeof(c.nonce), "%s", nonce);
	snprintf(hex, sizeof(hex), "%08x", count);
	r.cnonce = cnonce;
	assert_int_equal(digest_respond(&c, &r, want), 0);
	assert_string_equal(parameter(p, "nonce"), nonce);
	assert_string_equal(parameter(p, "nc"), hex);
	assert_string_equal(parameter(p, "uri"), "192.0.2.7:443");
	assert_string_equal(parameter(p, "qop"), "auth");
	assert_string_equal(parameter(p, "opaque"), "o");
	assert_string_equal(parameter(p, "response"), want);
	assert_null(strstr(p->request, "s3cret"));
	assert_null(strstr(p->request, "Basic"));
}

static void challenge(int fd, const char *nonce)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "HTTP/1.1 407 Authenticate\r\nProxy-Authenticate: Digest realm=\"a realm\", "
		 "nonce=\"%s\", qop=\"auth\", algorithm=SHA-256, opaque=\"o\"\r\n\r\n", nonce);
	say(fd, text, strlen(text));
	close(fd);
}

/* The dial has been challenged; it comes again, on a new connection. */
static void expect_second_try(struct dial *c)
{
	int before = c->fd;

	assert_int_equal(step(c), DIAL_PENDING);
	assert_true(c->fd != before);
	assert_int_equal(step(c), DIAL_PENDING);
}

static void test_digest(void **state)
{
	struct world *w = *state;
	struct dial c;
	int fd;

	begin(w->d, &c);
	challenge(accept_request(&w->p), "first");
	expect_second_try(&c);
	fd = accept_request(&w->p);
	check_digest(&w->p, "first", 1);
	establish(&c, fd);
	/* The nonce that was good is used again, and never Basic. */
	for (uint32_t count = 2; count < 5; count++) {
		begin(w->d, &c);
		fd = accept_request(&w->p);
		check_digest(&w->p, "first", count);
		establish(&c, fd);
	}
	/* It has become stale: another one, once. */
	begin(w->d, &c);
	fd = accept_request(&w->p);
	check_digest(&w->p, "first", 5);
	challenge(fd, "second");
	expect_second_try(&c);
	fd = accept_request(&w->p);
	check_digest(&w->p, "second", 1);
	establish(&c, fd);
	begin(w->d, &c);
	fd = accept_request(&w->p);
	check_digest(&w->p, "second", 2);
	establish(&c, fd);
}

static void test_digest_refused(void **state)
{
	struct world *w = *state;
	struct dial c;

	begin(w->d, &c);
	challenge(accept_request(&w->p), "first");
	expect_second_try(&c);
	challenge(accept_request(&w->p), "second");
	assert_int_equal(step(&c), DIAL_AUTH);
	assert_non_null(strstr(c.reason, "refuses the user name or the password"));
	/* A nonce that was not good for anything is not kept, and the password is not sent in
	 * plain again. */
	begin(w->d, &c);
	challenge(accept_request(&w->p), "third");
	assert_null(strstr(w->p.request, "Proxy-Authorization"));
	expect_second_try(&c);
	establish(&c, accept_request(&w->p));
	check_digest(&w->p, "third", 1);
}

/* A dial that was overtaken by one with a higher count is challenged anew, and others keep their
 * nonce until the new one is known to be good. */
static void test_digest_overtaken(void **state)
{
	struct world *w = *state;
	struct dial a, b;
	int fd;

	begin(w->d, &a);
	challenge(accept_request(&w->p), "first");
	expect_second_try(&a);
	establish(&a, accept_request(&w->p));
	begin(w->d, &a);
	fd = accept_request(&w->p);
	begin(w->d, &b);
	establish(&b, accept_request(&w->p));
	check_digest(&w->p, "first", 3);
	challenge(fd, "private");
	expect_second_try(&a);
	fd = accept_request(&w->p);
	check_digest(&w->p, "private", 1);
	begin(w->d, &b);
	establish(&b, accept_request(&w->p));
	check_digest(&w->p, "first", 4);
	establish(&a, fd);
	begin(w->d, &b);
	establish(&b, accept_request(&w->p));
	check_digest(&w->p, "private", 2);
}

static void test_digest_no_more(void **state)
{
	static const char basic[] = "HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=x\r\n\r\n";
	struct world *w = *state;
	struct dial c;
	int fd;

	begin(w->d, &c);
	challenge(accept_request(&w->p), "first");
	expect_second_try(&c);
	establish(&c, accept_request(&w->p));
	begin(w->d, &c);
	fd = accept_request(&w->p);
	say(fd, basic, strlen(basic));
	close(fd);
	expect_second_try(&c);
	establish(&c, accept_request(&w->p));
	assert_non_null(strstr(w->p.request, "Basic YWxpY2U6czNjcmV0"));
}

/* ---- What is asked of the system ---- */

static void test_mark(void **state)
{
	struct connect_config config;
	struct proxy p;
	struct dialer *d;
	struct dial c;
	uint32_t mark = 0;
	socklen_t len = sizeof(mark);

	(void)state;
	proxy_start(&p);
	config = config_for(&p, 1);
	config.mark = 0x200000;
	d = dialer_with(config);
	assert_int_equal(start(d, &c), DIAL_PENDING);
	assert_int_equal(getsockopt(c.fd, SOL_SOCKET, SO_MARK, &mark, &len), 0);
	assert_int_equal(mark, 0x200000);
	dial_abort(&c);
	over(d, &p);
}

static int option_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

/* A peer that is gone is noticed. */
static void test_keepalive(void **state)
{
	struct world *w = *state;
	struct dial c;

	assert_int_equal(start(w->d, &c), DIAL_PENDING);
	assert_int_equal(option_of(c.fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option_of(c.fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
	assert_int_equal(option_of(c.fd, IPPROTO_TCP, TCP_KEEPINTVL), 10);
	assert_int_equal(option_of(c.fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 300000);
	dial_abort(&c);
}

static void test_no_descriptors(void **state)
{
	struct world *w = *state;
	struct rlimit limit, none;
	struct dial c;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(start(w->d, &c), DIAL_UNREACHABLE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_non_null(strstr(c.reason, "open files"));
}

static void test_config(void **state)
{
	struct proxy p = {.port = 1};
	struct connect_config config = config_for(&p, 1);
	struct dialer *d = NULL;
	struct err err = {0};

	(void)state;
	config.n_upstreams = 0;
	assert_int_equal(dialer_connect(&config, &d, &err), -EINVAL);
	config.n_upstreams = CONNECT_UPSTREAMS_MAX + 1;
	assert_int_equal(dialer_connect(&config, &d, &err), -EINVAL);
	config.n_upstreams = 1;
	strcpy(config.username, "a:b");
	assert_int_equal(dialer_connect(&config, &d, &err), -EINVAL);
	strcpy(config.username, "a\r\nEvil: b");
	assert_int_equal(dialer_connect(&config, &d, &err), -EINVAL);
	strcpy(config.username, "a");
	strcpy(config.password, "s3cret\n");
	assert_int_equal(dialer_connect(&config, &d, &err), -EINVAL);
	assert_null(strstr(err.msg, "s3cret"));
	assert_null(d);
}

static void test_abort(void **state)
{
	struct dial c;

	(void)state;
	memset(&c, 0, sizeof(c));
	dial_abort(&c);
	assert_int_equal(c.fd, 0); /* which is not the dial's */
}

static void test_names(void **state)
{
	(void)state;
	for (unsigned int s = 0; s < DIAL_NUM_STATUSES; s++)
		assert_true(dial_status_name((enum dial_status)s)[0] != '\0');
}

/* ---- The direct dialer ---- */

static void test_direct(void **state)
{
	struct dial_target t = {.addr = {.family = AF_INET6, .bytes = {[15] = 1}}};
	struct dialer *d = dialer_direct(0);
	struct dial c;
	int listener = listen_on(AF_INET6, &t.port, 4);

	(void)state;
	assert_int_equal(dial_start(d, &c, &t, NOW), DIAL_PENDING);
	assert_int_equal(step(&c), DIAL_CONNECTED);
	dial_abort(&c); /* not taken: closed */
	close(listener);
	assert_int_equal(dial_start(d, &c, &t, NOW), DIAL_PENDING);
	assert_int_equal(step(&c), DIAL_REFUSED);
	t.addr.bytes[0] = 0x20;
	assert_int_equal(dial_start(d, &c, &t, NOW), DIAL_UNREACHABLE);
	strcpy(t.host, "name.example");
	assert_int_equal(dial_start(d, &c, &t, NOW), DIAL_UNREACHABLE);
	assert_non_null(strstr(c.reason, "name.example"));
	dialer_free(d);
}

static void test_direct_deadline(void **state)
{
	struct dialer *d = dialer_direct(0);
	struct dial_target t = {.addr = {.family = AF_INET, .bytes = {127, 0, 0, 1}}};
	struct hole h;
	struct dial c;

	(void)state;
	hole_start(&h);
	t.port = h.p.port;
	assert_int_equal(dial_start(d, &c, &t, NOW), DIAL_PENDING);
	assert_int_equal(step_at(&c, 0, c.deadline_ms - 1), DIAL_PENDING);
	assert_int_equal(step_at(&c, 0, c.deadline_ms), DIAL_TIMEOUT);
	hole_stop(&h);
	dialer_free(d);
}

/* ---- Names ---- */

/* What an uninitialized variable of whoever is called next will hold. */
static void __attribute__((noinline)) soil_stack(void)
{
	volatile unsigned char soil[4096];

	for (size_t i = 0; i < sizeof(soil); i++)
		soil[i] = 0x80;
}

/* The resolver, of which there is none, has a second; whoever waits has less. */
static void test_resolver_waits_no_longer_than_it_may(void **state)
{
	const struct ip server = {.family = AF_INET, .bytes = {127, 0, 0, 1}};
	struct pollfd fds[RESOLVER_FDS_MAX];
	struct resolve_answer answer = {0};
	struct resolver *r = NULL;
	int timeout_ms = 100;

	(void)state;
	assert_int_equal(resolver_new(&server, 1, 0, &r, NULL), 0);
	resolver_ask(r, "proxy.example", &answer);
	soil_stack();
	assert_true(resolver_wants(r, fds, &timeout_ms) > 0);
	assert_true(timeout_ms > 0 && timeout_ms <= 100);
	resolver_free(r);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, remember_fds, compare_fds)
#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define ALICE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up_alice, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		WORLD_TEST(test_request),
		WORLD_TEST(test_bad_names),
		WORLD_TEST(test_verdicts),
		WORLD_TEST(test_split),
		WORLD_TEST(test_byte_by_byte),
		WORLD_TEST(test_spurious),
		WORLD_TEST(test_closed_at_every_point),
		WORLD_TEST(test_closed_before_the_request),
		WORLD_TEST(test_endless_header),
		WORLD_TEST(test_deadline),
		TEST(test_refused),
		TEST(test_failover),
		TEST(test_failover_from_none),
		ALICE_TEST(test_slow_socket),
		TEST(test_all_fail),
		TEST(test_share_of_time),
		TEST(test_silent_proxy),
		TEST(test_addresses),
		TEST(test_addresses_of_both_families),
		TEST(test_addresses_fail),
		TEST(test_addresses_take_their_time),
		TEST(test_renew),
		ALICE_TEST(test_basic),
		TEST(test_longest_credentials),
		ALICE_TEST(test_digest),
		ALICE_TEST(test_digest_refused),
		ALICE_TEST(test_digest_overtaken),
		ALICE_TEST(test_digest_no_more),
		TEST(test_mark),
		WORLD_TEST(test_keepalive),
		WORLD_TEST(test_no_descriptors),
		TEST(test_config),
		TEST(test_abort),
		TEST(test_names),
		TEST(test_direct),
		TEST(test_direct_deadline),
		TEST(test_resolver_waits_no_longer_than_it_may),
	};

	if (!private_net()) {
		printf("1..0 # SKIP no network namespace to be had\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
