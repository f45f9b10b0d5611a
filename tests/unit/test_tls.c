// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * TLS streams against a server of the test's own, in a thread, with certificates made on the spot:
 * who is trusted, and that a stream behaves as a TCP connection does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "open_fds.h"
#include "private_net.h"
#include "tunnel/dialer.h"
#include "tunnel/sweep.h"

#define DAY (24 * 60 * 60)

/* ---- Certificates ---- */

struct identity {
	EVP_PKEY *key;
	X509 *cert;
};

static void add_extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(e);
	assert_int_equal(X509_add_ext(cert, e, -1), 1);
	X509_EXTENSION_free(e);
}

/* Signed by the issuer, or by itself; names as "DNS:a,IP:b", or NULL for an authority. */
static struct identity identity_new(const struct identity *issuer, const char *name,
				    const char *names, long from, long until)
{
	struct identity id = {.key = EVP_EC_gen("P-256"), .cert = X509_new()};
	X509_NAME *subject = X509_get_subject_name(id.cert);

	X509_set_version(id.cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(id.cert), rand());
	X509_gmtime_adj(X509_getm_notBefore(id.cert), from);
	X509_gmtime_adj(X509_getm_notAfter(id.cert), until);
	X509_set_pubkey(id.cert, id.key);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(id.cert, issuer ? X509_get_subject_name(issuer->cert) : subject);
	if (names)
		add_extension(id.cert, NID_subject_alt_name, names);
	else
		add_extension(id.cert, NID_basic_constraints, "critical,CA:TRUE");
	assert_true(X509_sign(id.cert, issuer ? issuer->key : id.key, EVP_sha256()) > 0);
	return id;
}

static void identity_done(struct identity *id)
{
	EVP_PKEY_free(id->key);
	X509_free(id->cert);
}

static struct identity ca, other_ca;
static char ca_file[] = "/tmp/byway-test-ca-XXXXXX";

/* ---- The server ---- */

enum script {
	SERVE_ECHO,      /* answers the CONNECT, then echoes until the end, and ends */
	SERVE_FAREWELL,  /* says something, ends its direction, then counts what it gets */
	SERVE_RESET,     /* says something and drops dead */
	SERVE_SINK,      /* reads nothing until it is told, then everything */
	SERVE_SOURCE,    /* sends until it is told */
	SERVE_NOTHING,   /* no TLS: closes at once */
	SERVE_PLAIN,     /* no TLS: speaks HTTP */
	SERVE_REFUSE,    /* closes after the handshake */
};

struct server {
	enum script script;
	struct identity id;
	int listener, tcp;
	uint16_t port;
	bool tls12;
	SSL *ssl;
	pthread_t thread;
	atomic_bool go;
	SSL_CTX *ctx;
	unsigned int rounds; /* connections, one after the other; 0: one */
	atomic_uint resumed; /* of these, by a session of an earlier one */
	char request[1024];
	size_t received, sent;
	bool clean; /* the client's direction ended with close_notify */
};

static const char established[] = "HTTP/1.1 200 OK\r\n\r\n";

static bool read_request(struct server *s)
{
	size_t len = 0;

	do {
		int n = SSL_read(s->ssl, s->request + len, (int)(sizeof(s->request) - 1 - len));

		if (n <= 0)
			return false;
		len += (size_t)n;
		s->request[len] = '\0';
	} while (!strstr(s->request, "\r\n\r\n"));
	return true;
}

static void receive_all(struct server *s, bool echo)
{
	static _Thread_local char buf[40000];
	int n;

	while ((n = SSL_read(s->ssl, buf, sizeof(buf))) > 0) {
		s->received += (size_t)n;
		if (echo && SSL_write(s->ssl, buf, n) != n)
			return;
	}
	s->clean = SSL_get_error(s->ssl, n) == SSL_ERROR_ZERO_RETURN;
}

static void end_sending(struct server *s)
{
	SSL_shutdown(s->ssl);
	shutdown(s->tcp, SHUT_WR);
}

static void wait_go(struct server *s)
{
	while (!atomic_load(&s->go))
		poll(NULL, 0, 1);
}

static void send_until_told(struct server *s)
{
	static char buf[16384];
	int n;

	/* A send that is stuck in a full connection is the point. */
	while (!atomic_load(&s->go) && (n = SSL_write(s->ssl, buf, sizeof(buf))) > 0)
		s->sent += (size_t)n;
	end_sending(s);
}

static void reset_tcp(struct server *s)
{
	struct linger now = {.l_onoff = 1};

	setsockopt(s->tcp, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(TAKE_FD(s->tcp));
}

static void play(struct server *s)
{
	if (s->script == SERVE_REFUSE || !read_request(s))
		return;
	SSL_write(s->ssl, established, (int)strlen(established));
	switch (s->script) {
	case SERVE_ECHO:
		receive_all(s, true);
		end_sending(s);
		break;
	case SERVE_FAREWELL:
		SSL_write(s->ssl, "farewell", 8);
		end_sending(s);
		receive_all(s, false);
		break;
	case SERVE_RESET:
		SSL_write(s->ssl, "half of i", 9);
		wait_go(s);
		reset_tcp(s);
		break;
	case SERVE_SINK:
		wait_go(s);
		receive_all(s, false);
		end_sending(s);
		break;
	case SERVE_SOURCE:
		send_until_told(s);
		break;
	case SERVE_NOTHING:
	case SERVE_PLAIN:
	case SERVE_REFUSE:
		break;
	}
}

static SSL_CTX *server_ctx(const struct server *s)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	(void)(SSL_CTX_use_certificate(ctx, s->id.cert) == 1);
	(void)(SSL_CTX_use_PrivateKey(ctx, s->id.key) == 1);
	SSL_CTX_set_mode(ctx, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"test", 4);
	if (s->tls12)
		SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	return ctx;
}

static void speak_tls(struct server *s)
{
	s->ssl = SSL_new(s->ctx);
	SSL_set_fd(s->ssl, s->tcp);
	if (SSL_accept(s->ssl) == 1) {
		s->resumed += SSL_session_reused(s->ssl) == 1;
		play(s);
	}
	SSL_free(s->ssl);
}

static void serve_one(struct server *s)
{
	char buf[4096];

	s->tcp = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
	if (s->script == SERVE_PLAIN) {
		(void)!read(s->tcp, buf, sizeof(buf));
		(void)!write(s->tcp, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
	} else if (s->script != SERVE_NOTHING) {
		speak_tls(s);
	}
	if (s->tcp >= 0)
		close(TAKE_FD(s->tcp));
}

static void *server_main(void *arg)
{
	struct server *s = arg;

	s->ctx = server_ctx(s);
	do
		serve_one(s);
	while (s->rounds && --s->rounds);
	SSL_CTX_free(s->ctx);
	return NULL;
}

static void server_listen(struct server *s)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof(in);

	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&in, len), 0);
	assert_int_equal(listen(s->listener, 4), 0);
	assert_int_equal(getsockname(s->listener, (struct sockaddr *)&in, &len), 0);
	s->port = ntohs(in.sin_port);
}

static void server_start(struct server *s)
{
	server_listen(s);
	assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static void server_stop(struct server *s)
{
	atomic_store(&s->go, true);
	pthread_join(s->thread, NULL);
	close(s->listener);
	identity_done(&s->id);
}

/* ---- The client ---- */

static struct connect_config config_to(const struct server *s, const char *host, uint32_t timeout_ms)
{
	struct connect_config config = {
		.n_upstreams = 1,
		.upstreams[0] = {
			.tls = true,
			.addr = {.family = AF_INET, .bytes = {127, 0, 0, 1}},
			.port = s->port,
		},
		.username = "alice",
		.password = "s3cret",
		.ca_file = ca_file,
		.timeout_ms = timeout_ms,
	};

	snprintf(config.upstreams[0].host, sizeof(config.upstreams[0].host), "%s", host);
	return config;
}

static struct dialer *dialer_to(const struct server *s, const char *host, uint32_t timeout_ms)
{
	struct connect_config config = config_to(s, host, timeout_ms);
	struct dialer *d = NULL;
	struct err err = {0};

	if (dialer_connect(&config, &d, &err))
		fail_msg("%s", err.msg);
	return d;
}

static enum dial_status dial(struct dialer *d, struct dial *c)
{
	static const struct dial_target target = {.host = "target.example", .port = 443};

	return dial_wait(d, c, &target);
}

static int open_again(struct dialer *d)
{
	struct dial c;
	enum dial_status status = dial(d, &c);

	if (status != DIAL_CONNECTED)
		fail_msg("%s: %s", dial_status_name(status), c.reason);
	return TAKE_FD(c.fd);
}

/* A stream to a trusted server with this script. */
static int open_stream(struct server *s, struct dialer **d)
{
	s->id = identity_new(&ca, "proxy", "DNS:proxy.example", 0, DAY);
	server_start(s);
	*d = dialer_to(s, "proxy.example", 5000);
	return open_again(*d);
}

/* What a blocking read would return; -errno. */
static ssize_t get(int fd, void *buf, size_t size)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	assert_int_equal(poll(&p, 1, 5000), 1);
	n = recv(fd, buf, size, 0);
	return n < 0 ? -errno : n;
}

static void get_exactly(int fd, char *buf, size_t size)
{
	while (size) {
		ssize_t n = get(fd, buf, size);

		assert_true(n > 0);
		buf += n;
		size -= (size_t)n;
	}
}

/* ---- Who is trusted ---- */

struct trust {
	const char *host, *names;
	long from, until;
	enum { BY_CA, BY_OTHER, BY_SELF } issuer;
	enum dial_status status;
	const char *reason;
};

static const struct trust trusts[] = {
	{"proxy.example", "DNS:proxy.example", 0, DAY, BY_CA, DIAL_CONNECTED, ""},
	{"PROXY.example", "DNS:proxy.example", 0, DAY, BY_CA, DIAL_CONNECTED, ""},
	{"a.proxy.example", "DNS:*.proxy.example", 0, DAY, BY_CA, DIAL_CONNECTED, ""},
	{"127.0.0.1", "IP:127.0.0.1", 0, DAY, BY_CA, DIAL_CONNECTED, ""},
	{"::1", "IP:::1", 0, DAY, BY_CA, DIAL_CONNECTED, ""},
	{"proxy.example", "DNS:proxy.example", -2 * DAY, -DAY, BY_CA, DIAL_BROKEN, "that expired on 20"},
	{"proxy.example", "DNS:proxy.example", DAY, 2 * DAY, BY_CA, DIAL_BROKEN, "not valid before 20"},
	{"proxy.example", "DNS:b.example,DNS:c.example", 0, DAY, BY_CA, DIAL_BROKEN,
	 "for another name (b.example, c.example)"},
	{"proxy.example", "IP:127.0.0.1", 0, DAY, BY_CA, DIAL_BROKEN, "for another name"},
	{"127.0.0.1", "IP:127.0.0.2", 0, DAY, BY_CA, DIAL_BROKEN, "for another name"},
	{"127.0.0.1", "DNS:127.0.0.1", 0, DAY, BY_CA, DIAL_BROKEN, "for another name"},
	{"proxy.example", "DNS:proxy.example", 0, DAY, BY_OTHER, DIAL_BROKEN, "of an unknown issuer"},
	{"proxy.example", "DNS:proxy.example", 0, DAY, BY_SELF, DIAL_BROKEN, "of an unknown issuer"},
};

static void test_trust(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(trusts); i++) {
		const struct trust *t = &trusts[i];
		const struct identity *issuers[] = {[BY_CA] = &ca, [BY_OTHER] = &other_ca, [BY_SELF] = NULL};
		struct server s = {.script = SERVE_ECHO};
		struct dialer *d;
		struct dial c;
		enum dial_status got;

		s.id = identity_new(issuers[t->issuer], "proxy", t->names, t->from, t->until);
		server_start(&s);
		d = dialer_to(&s, t->host, 5000);
		got = dial(d, &c);
		if (got != t->status || !strstr(c.reason, t->reason))
			fail_msg("%zu: %s, %s", i, dial_status_name(got), c.reason);
		if (got == DIAL_CONNECTED)
			close(TAKE_FD(c.fd));
		dialer_free(d);
		server_stop(&s);
		/* Credentials go to nobody who is not trusted. */
		assert_int_equal(s.request[0] != '\0', t->status == DIAL_CONNECTED);
	}
}

static void breaks(enum script script, const char *reason)
{
	struct server s = {.script = script};
	struct dialer *d;
	struct dial c;

	s.id = identity_new(&ca, "proxy", "DNS:proxy.example", 0, DAY);
	server_start(&s);
	d = dialer_to(&s, "proxy.example", 5000);
	assert_int_equal(dial(d, &c), DIAL_BROKEN);
	if (!strstr(c.reason, reason))
		fail_msg("%s", c.reason);
	dialer_free(d);
	server_stop(&s);
}

static void test_no_tls(void **state)
{
	(void)state;
	breaks(SERVE_NOTHING, " the connection during the TLS handshake");
	breaks(SERVE_PLAIN, "does not speak TLS");
	breaks(SERVE_REFUSE, "closed the connection before it answered");
}

static void test_not_reached(void **state)
{
	struct server s = {.port = 9};
	struct dialer *d = dialer_to(&s, "proxy.example", 5000);
	struct dial c;

	(void)state;
	assert_int_equal(dial(d, &c), DIAL_UNREACHABLE);
	assert_non_null(strstr(c.reason, "cannot connect to proxy.example:9: "));
	dialer_free(d);
}

/* The connection stands in the kernel's backlog, and nobody answers. */
static void test_never_answers(void **state)
{
	struct server s = {0};
	struct dialer *d;
	struct dial c;

	(void)state;
	server_listen(&s);
	d = dialer_to(&s, "proxy.example", 200);
	assert_int_equal(dial(d, &c), DIAL_TIMEOUT);
	assert_non_null(strstr(c.reason, "no connection to proxy.example"));
	dialer_free(d);
	close(s.listener);
}

/* Giving up closes the connection, even while the peer says nothing. */
static void test_abort_in_handshake(void **state)
{
	static const struct dial_target target = {.host = "x", .port = 1};
	struct server s = {0};
	struct dialer *d;
	struct dial c;
	int tcp;
	char buf[4096];

	(void)state;
	server_listen(&s);
	d = dialer_to(&s, "proxy.example", 5000);
	assert_int_equal(dial_start(d, &c, &target, clock_ms()), DIAL_PENDING);
	tcp = accept4(s.listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(get(tcp, buf, sizeof(buf)) > 0); /* its greeting */
	dial_abort(&c);
	assert_true(get(tcp, buf, sizeof(buf)) <= 0);
	close(tcp);
	close(s.listener);
	dialer_free(d);
}

static void test_ca_file(void **state)
{
	struct connect_config config = {
		.n_upstreams = 1,
		.upstreams[0] = {.tls = true, .host = "x", .addr = {.family = AF_INET}},
		.ca_file = "/nonexistent/ca.pem",
	};
	struct dialer *d = NULL;
	struct err err = {0};

	(void)state;
	assert_true(dialer_connect(&config, &d, &err) < 0);
	assert_non_null(strstr(err.msg, "/nonexistent/ca.pem"));
	config.ca_file = NULL;
	assert_int_equal(dialer_connect(&config, &d, &err), 0);
	dialer_free(d);
}

/* ---- How a stream behaves ---- */

static void check_echo(bool tls12)
{
	struct server s = {.script = SERVE_ECHO, .tls12 = tls12};
	struct dialer *d;
	char buf[16];
	int fd = open_stream(&s, &d);

	assert_non_null(strstr(s.request, "Basic YWxpY2U6czNjcmV0"));
	for (int i = 0; i < 100; i++) {
		assert_int_equal(send(fd, "0123456789", 10, 0), 10);
		get_exactly(fd, buf, 10);
		assert_memory_equal(buf, "0123456789", 10);
	}
	/* Half a close, answered by the other half. */
	assert_int_equal(send(fd, "last", 4, 0), 4);
	shutdown(fd, SHUT_WR);
	get_exactly(fd, buf, 4);
	assert_memory_equal(buf, "last", 4);
	assert_int_equal(get(fd, buf, sizeof(buf)), 0);
	close(fd);
	server_stop(&s);
	assert_true(s.clean);
	dialer_free(d);
}

static void test_echo(void **state)
{
	(void)state;
	check_echo(false);
	check_echo(true);
}

static void exchange(int fd)
{
	char buf[4];

	assert_int_equal(send(fd, "ping", 4, 0), 4);
	get_exactly(fd, buf, 4);
	assert_memory_equal(buf, "ping", 4);
}

/* The first has a full handshake, the others do not. With another dialer there is nothing to resume. */
static void check_resumption(bool tls12)
{
	struct server s = {.script = SERVE_ECHO, .tls12 = tls12, .rounds = 4};
	struct dialer *d, *other;
	int fd = open_stream(&s, &d);

	exchange(fd);
	close(fd);
	for (int i = 0; i < 2; i++) {
		fd = open_again(d);
		exchange(fd);
		assert_int_equal(s.resumed, i + 1);
		close(fd);
	}
	other = dialer_to(&s, "proxy.example", 5000);
	fd = open_again(other);
	exchange(fd);
	assert_int_equal(s.resumed, 2);
	close(fd);
	dialer_free(other);
	server_stop(&s);
	dialer_free(d);
}

/* A stream that breaks takes nothing from the next. */
static void check_resumption_after_reset(bool tls12)
{
	struct server s = {.script = SERVE_RESET, .tls12 = tls12, .rounds = 3};
	struct dialer *d;
	char buf[16];
	int fd = open_stream(&s, &d);

	for (int i = 0; i < 3; i++) {
		if (i)
			fd = open_again(d);
		get_exactly(fd, buf, 9);
		atomic_store(&s.go, true);
		assert_int_equal(get(fd, buf, sizeof(buf)), -ECONNRESET);
		atomic_store(&s.go, false);
		close(fd);
	}
	server_stop(&s);
	assert_int_equal(s.resumed, 2);
	dialer_free(d);
}

static void test_resumption(void **state)
{
	(void)state;
	check_resumption(false);
	check_resumption(true);
	check_resumption_after_reset(false);
	check_resumption_after_reset(true);
}

/* What one upstream gave is not offered to another. */
static void test_sessions_are_not_shared(void **state)
{
	struct server s = {.script = SERVE_ECHO, .rounds = 2};
	struct connect_config config;
	struct dialer *d;
	struct err err = {0};
	int fd;

	(void)state;
	s.id = identity_new(&ca, "proxy", "DNS:proxy.example,DNS:other.example", 0, DAY);
	server_start(&s);
	config = config_to(&s, "proxy.example", 5000);
	config.upstreams[1] = config.upstreams[0];
	strcpy(config.upstreams[1].host, "other.example");
	config.n_upstreams = 2;
	assert_int_equal(dialer_connect(&config, &d, &err), 0);
	fd = open_again(d);
	exchange(fd);
	close(fd);
	dialer_connect_set_addrs(d, 0, &(struct connect_addrs){.n = 0});
	fd = open_again(d);
	exchange(fd);
	assert_int_equal(s.resumed, 0);
	close(fd);
	server_stop(&s);
	dialer_free(d);
}

/* ---- An address that goes ---- */

#define MARK 0x200000
#define GOES {.family = AF_INET, .bytes = {10, 9, 9, 9}}

/* A second address of the loopback device, the way ifconfig does it. */
static void set_second_address(bool there)
{
	struct ifreq req = {.ifr_name = "lo:1"};
	struct sockaddr_in in = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(inet_pton(AF_INET, "10.9.9.9", &in.sin_addr), 1);
	memcpy(&req.ifr_addr, &in, sizeof(in));
	assert_int_equal(ioctl(fd, SIOCSIFADDR, &req), 0);
	if (!there) {
		req.ifr_flags = 0;
		assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &req), 0);
	}
	close(fd);
}

/* From there, too: the kernel takes the destination's address for the source's. */
static struct dialer *marked_dialer_to(const struct server *s, struct ip addr)
{
	struct connect_config config = config_to(s, "proxy.example", 5000);
	struct dialer *d = NULL;

	config.mark = MARK;
	config.upstreams[0].addr = addr;
	assert_int_equal(dialer_connect(&config, &d, NULL), 0);
	return d;
}

static void server_for(struct server *s)
{
	s->id = identity_new(&ca, "proxy", "DNS:proxy.example", 0, DAY);
	server_start(s);
}

/* Through the thread's socket: the one that the caller has is no TCP. */
static void test_address_goes(void **state)
{
	struct server lost = {.script = SERVE_ECHO}, kept = {.script = SERVE_ECHO};
	struct dialer *to_lost, *to_kept;
	struct ip gone = GOES, local = {.family = AF_INET, .bytes = {127, 0, 0, 1}};
	char buf[8];
	int a, b;

	(void)state;
	set_second_address(true);
	server_for(&lost);
	server_for(&kept);
	to_lost = marked_dialer_to(&lost, gone);
	to_kept = marked_dialer_to(&kept, local);
	a = open_again(to_lost);
	b = open_again(to_kept);
	assert_true(sweep_has_peer(MARK, &gone));
	assert_false(sweep_has_peer(MARK + 1, &gone));
	sweep_reset(MARK); /* nothing has happened yet */
	exchange(a);
	set_second_address(false);
	sweep_reset(MARK + 1);
	sweep_reset(MARK);
	assert_int_equal(get(a, buf, sizeof(buf)), -ECONNRESET);
	exchange(b);
	assert_false(sweep_has_peer(MARK, &gone));
	assert_true(sweep_has_peer(MARK, &local));
	close(a);
	close(b);
	shutdown(lost.tcp, SHUT_RDWR); /* nobody can tell it any more */
	server_stop(&lost);
	server_stop(&kept);
	dialer_free(to_lost);
	dialer_free(to_kept);
}

/* ---- A descriptor that somebody else has, too ---- */

/* The thread's end of the only connection with the mark. */
static int find_upstream(void)
{
	for (int fd = 0; fd < 1024; fd++) {
		uint32_t mark = 0;
		socklen_t len = sizeof(mark);

		if (!getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &len) && mark == MARK)
			return fd;
	}
	fail_msg("no socket has the mark");
	return -1;
}

/* By any epoll set of this process. */
static bool is_watched(int fd)
{
	bool found = false;
	glob_t g;

	assert_int_equal(glob("/proc/self/fdinfo/*", 0, NULL, &g), 0);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		char line[128];
		FILE *f = fopen(g.gl_pathv[i], "re");
		int watched;

		while (f && fgets(line, sizeof(line), f))
			found |= sscanf(line, "tfd: %d", &watched) == 1 && watched == fd;
		fclose_p(&f);
	}
	globfree(&g);
	return found;
}

/* As a child has it that is about to run a program: events would be about a stream that is gone. */
static void test_duplicate(void **state)
{
	struct server s = {.script = SERVE_ECHO};
	struct ip local = {.family = AF_INET, .bytes = {127, 0, 0, 1}};
	struct dialer *d;
	int fd, upstream, copy;

	(void)state;
	server_for(&s);
	d = marked_dialer_to(&s, local);
	fd = open_again(d);
	exchange(fd);
	upstream = find_upstream();
	copy = dup(upstream);
	assert_true(is_watched(upstream));
	close(fd);
	while (fcntl(upstream, F_GETFD) >= 0)
		sched_yield();
	assert_false(is_watched(upstream));
	close(copy);
	server_stop(&s);
	dialer_free(d);
}

/* ---- Confinement ---- */

/* What a status file of /proc says of each thread but this one, and the server's. */
static unsigned int confined_threads(void)
{
	unsigned int n = 0;
	glob_t g;

	assert_int_equal(glob("/proc/self/task/*/status", 0, NULL, &g), 0);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		char line[128];
		FILE *f = fopen(g.gl_pathv[i], "re");

		while (f && fgets(line, sizeof(line), f))
			n += !strcmp(line, "Seccomp:\t2\n");
		fclose_p(&f);
	}
	globfree(&g);
	return n;
}

static void test_confined(void **state)
{
	struct server s = {.script = SERVE_ECHO};
	struct dialer *d;
	int fd = open_stream(&s, &d);

	(void)state;
	exchange(fd);
	assert_int_equal(confined_threads(), 1);
	close(fd);
	server_stop(&s);
	dialer_free(d);
}

/* The upstream ends first, and still hears everything. */
static void test_farewell(void **state)
{
	struct server s = {.script = SERVE_FAREWELL};
	struct dialer *d;
	char buf[4096] = "";
	int fd = open_stream(&s, &d);

	(void)state;
	get_exactly(fd, buf, 8);
	assert_memory_equal(buf, "farewell", 8);
	assert_int_equal(get(fd, buf, sizeof(buf)), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(send(fd, buf, sizeof(buf), MSG_NOSIGNAL), sizeof(buf));
	close(fd); /* at once: what was written still goes out */
	server_stop(&s);
	assert_int_equal(s.received, 10 * sizeof(buf));
	assert_true(s.clean);
	dialer_free(d);
}

/* A connection that breaks is not one that ended. */
static void test_reset(void **state)
{
	struct server s = {.script = SERVE_RESET};
	struct dialer *d;
	char buf[16];
	int fd = open_stream(&s, &d);

	(void)state;
	get_exactly(fd, buf, 9);
	atomic_store(&s.go, true);
	assert_int_equal(get(fd, buf, sizeof(buf)), -ECONNRESET);
	close(fd);
	server_stop(&s);
	dialer_free(d);
}

/* The same after bytes have gone both ways. */
static void test_free_under_way(void **state)
{
	struct server s = {.script = SERVE_SINK};
	struct dialer *d;
	char buf[16];
	int fd = open_stream(&s, &d);

	(void)state;
	assert_int_equal(send(fd, "0123456789", 10, 0), 10);
	dialer_free(d);
	assert_int_equal(get(fd, buf, sizeof(buf)), -ECONNRESET);
	close(fd);
	server_stop(&s);
}

/* What nobody takes at the other end stays here, in the kernel's buffers, and all of it arrives. */
static void test_full_upstream(void **state)
{
	struct server s = {.script = SERVE_SINK};
	struct dialer *d;
	static char buf[65536];
	int fd = open_stream(&s, &d);
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	size_t sent = 0;

	(void)state;
	while (poll(&p, 1, 300) == 1) {
		ssize_t n = send(fd, buf, sizeof(buf), MSG_NOSIGNAL);

		assert_true(n > 0);
		sent += (size_t)n;
		assert_true(sent < 64 * 1024 * 1024);
	}
	atomic_store(&s.go, true);
	shutdown(fd, SHUT_WR);
	assert_int_equal(get(fd, buf, sizeof(buf)), 0);
	close(fd);
	server_stop(&s);
	assert_int_equal(s.received, sent);
	dialer_free(d);
}

static void test_full_caller(void **state)
{
	struct server s = {.script = SERVE_SOURCE};
	struct dialer *d;
	static char buf[65536];
	int fd = open_stream(&s, &d);
	size_t before, received = 0;
	ssize_t n;

	(void)state;
	do { /* until the server is stuck */
		before = s.sent;
		poll(NULL, 0, 100);
	} while (s.sent != before);
	assert_true(s.sent < 64 * 1024 * 1024);
	atomic_store(&s.go, true);
	while ((n = get(fd, buf, sizeof(buf))) > 0)
		received += (size_t)n;
	assert_int_equal(n, 0);
	close(fd);
	server_stop(&s);
	assert_int_equal(received, s.sent);
	dialer_free(d);
}

/* The caller is gone while the upstream still sends. */
static void test_gone_caller(void **state)
{
	struct server s = {.script = SERVE_SOURCE};
	struct dialer *d;
	int fd = open_stream(&s, &d);

	(void)state;
	close(fd);
	pthread_join(s.thread, NULL); /* which ends because its write fails */
	assert_false(s.go);
	close(s.listener);
	identity_done(&s.id);
	dialer_free(d);
}

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* 64 MiB through an echo, in pieces of any size, both ways at once. */
static void test_much(void **state)
{
	static const size_t total = 64 * 1024 * 1024;
	struct server s = {.script = SERVE_ECHO};
	struct dialer *d;
	static uint32_t out[16384], in[16384];
	uint32_t written = 1, expected = 1, size = 7;
	size_t sent = 0, received = 0, at = 0, have = 0;
	int fd = open_stream(&s, &d);

	(void)state;
	while (received < total) {
		struct pollfd p = {.fd = fd, .events = (short)(POLLIN | (sent < total ? POLLOUT : 0))};
		ssize_t n;

		assert_int_equal(poll(&p, 1, 5000), 1);
		if (p.revents & POLLOUT) {
			if (at == have) {
				have = MIN((next_random(&size) % 16384 + 1) * 4, total - sent);
				for (size_t i = 0; i < have / 4; i++)
					out[i] = next_random(&written);
				at = 0;
			}
			n = send(fd, (char *)out + at, have - at, MSG_NOSIGNAL);
			assert_true(n > 0 || errno == EAGAIN);
			if (n > 0) {
				at += (size_t)n;
				sent += (size_t)n;
			}
		}
		if (p.revents & POLLIN) {
			n = recv(fd, in, sizeof(in), MSG_PEEK);
			assert_true(n > 0);
			n -= n % 4;
			assert_int_equal(recv(fd, in, (size_t)n, 0), n);
			for (ssize_t i = 0; i < n / 4; i++)
				assert_int_equal(in[i], next_random(&expected));
			received += (size_t)n;
		}
	}
	close(fd);
	server_stop(&s);
	dialer_free(d);
}

/* Aborts at every moment leave nothing behind (the descriptors are counted, and sanitizers
 * look). */
static void test_abort(void **state)
{
	(void)state;
	for (int steps = 0; steps < 4; steps++) {
		struct server s = {.script = SERVE_ECHO};
		struct dial_target target = {.host = "x", .port = 1};
		struct dialer *d;
		struct dial c;

		s.id = identity_new(&ca, "proxy", "DNS:proxy.example", 0, DAY);
		server_start(&s);
		d = dialer_to(&s, "proxy.example", 5000);
		assert_int_equal(dial_start(d, &c, &target, clock_ms()), DIAL_PENDING);
		for (int i = 0; i < steps; i++) {
			struct pollfd p = {.fd = c.fd, .events = (short)c.events};

			poll(&p, 1, i * 20);
			if (dial_step(&c, (uint32_t)p.revents, clock_ms()) != DIAL_PENDING)
				break;
		}
		dial_abort(&c);
		dialer_free(d);
		server_stop(&s);
	}
}

static int set_up(void **state)
{
	FILE *f;
	int fd = mkstemp(ca_file);

	(void)state;
	ca = identity_new(NULL, "an authority", NULL, 0, DAY);
	other_ca = identity_new(NULL, "another authority", NULL, 0, DAY);
	f = fdopen(fd, "w");
	if (!f || !PEM_write_X509(f, ca.cert))
		return -1;
	return fclose(f);
}

static int tear_down(void **state)
{
	(void)state;
	identity_done(&ca);
	identity_done(&other_ca);
	return unlink(ca_file);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, remember_fds, compare_fds)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_trust), TEST(test_no_tls), TEST(test_not_reached), TEST(test_never_answers),
		TEST(test_ca_file), TEST(test_abort_in_handshake), TEST(test_echo), TEST(test_resumption),
		TEST(test_sessions_are_not_shared), TEST(test_confined), TEST(test_address_goes),
		TEST(test_duplicate), TEST(test_farewell), TEST(test_reset),
		TEST(test_free_under_way), TEST(test_full_upstream), TEST(test_full_caller),
		TEST(test_gone_caller), TEST(test_much), TEST(test_abort),
	};

	if (!private_net()) {
		printf("1..0 # SKIP no network namespace to be had\n");
		return 0;
	}
	signal(SIGPIPE, SIG_IGN); /* of the server's writes, not of what is tested */
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
