// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation: HTTP CONNECT
 *
 * A dial opens a connection to an upstream proxy, sends one request, reads one response header,
 * and hands the connection over. Its phases:
 *
 *   CONNECT   TCP to the upstream is under way (with TLS: the thread of tls.c does it)
 *   REQUEST   the request is being sent
 *   ANSWER    the response header is being read
 *
 * 1. Never a byte too many: bytes are looked at with MSG_PEEK, and exactly those of the header are
 *    taken. What follows belongs to the stream.
 * 2. An upstream that cannot be reached, breaks off or talks nonsense costs an attempt; its next
 *    address has its turn, and after the last one the next upstream, until each had one. What a
 *    proxy says of the target, and 407, is final. Later dials begin with what answered last.
 * 3. While others are left, reaching an upstream may take its share of the time, CONNECT_SHARE_MS
 *    at most, or CONNECT_ADDR_SHARE_MS when it has other addresses. Once it has the request it has
 *    all the time there is: from outside, a target that does not answer and a proxy that hangs look
 *    the same. After SILENT_MAX such timeouts in a row, dials begin with the next address and the
 *    next upstream.
 * 4. Basic credentials are sent at once; after an upstream has asked for Digest, never again in
 *    plain. A challenge is answered once, on a new connection, with a nonce count of 1. A nonce
 *    that was accepted is shared: later dials use it with rising counts, and one that is refused
 *    then (stale, or overtaken) falls back on a challenge of its own. So 407 for an answer to a
 *    fresh challenge means wrong credentials.
 * 5. What fails after dialer_connect_renew() failed in a network that is gone, and says nothing: the
 *    dial begins anew, with the addresses of now. Nothing was handed over yet, so nothing is lost.
 * 6. The password is in the dialer and, for the moment of sending, on the stack; never in a
 *    reason.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/err.h"
#include "tunnel/dialer_impl.h"
#include "tunnel/digest.h"
#include "tunnel/http.h"
#include "tunnel/tls.h"

#define CONNECT_TIMEOUT_MS 30000
#define CONNECT_SHARE_MS 5000
#define CONNECT_ADDR_SHARE_MS 2000 /* a SYN is sent a second time after 1 s (RFC 6298) */
#define SILENT_MAX 3
#define CHUNK 4096
#define REQUEST_MAX 3072
#define TARGET_MAX (DIAL_HOST_MAX + 8) /* "[IPv6]:65535", "name:65535" */
#define BASIC_MAX (4 * (128 + 128) / 3 + 8)

enum phase { PHASE_CONNECT, PHASE_REQUEST, PHASE_ANSWER };

enum auth {
	AUTH_NONE, /* no credentials, or none before a challenge */
	AUTH_BASIC,
	AUTH_SHARED, /* Digest with the nonce that earlier dials used */
	AUTH_FRESH,  /* Digest with a nonce that this dial was given */
};

/* What dials of all threads know of an upstream. */
struct upstream {
	atomic_uint silent; /* answers that did not come, in a row */
	atomic_bool wants_digest;
	pthread_mutex_t lock; /* of what follows */
	struct connect_addrs addrs;
	struct ip first; /* the address that dials begin with, if it is still one of them */
	bool has_challenge;
	struct digest_challenge challenge;
	uint32_t count; /* of uses of its nonce */
};

struct shared {
	atomic_uint current;    /* the upstream that dials begin with */
	atomic_uint generation; /* of the network: counts dialer_connect_renew() */
	struct upstream upstreams[CONNECT_UPSTREAMS_MAX];
};

struct connect {
	struct dialer dialer;
	struct connect_config config;
	char basic[BASIC_MAX]; /* the credentials in base64 */
	struct tls *tls;       /* when an upstream needs it */
	struct shared *shared;
};

/* In dial->scratch. */
struct state {
	enum phase phase;
	enum auth auth;
	unsigned int upstream, tried;
	struct connect_addrs addrs; /* of this upstream */
	unsigned int addr;          /* the one that is tried */
	unsigned int generation;
	uint64_t end_ms; /* of the whole dial */
	size_t sent;
	struct tls_stream *tls;
	uint32_t count;
	char cnonce[33];
	struct digest_challenge challenge;
	struct http_response response;
};
static_assert(sizeof(struct state) <= DIAL_SCRATCH_BYTES, "a dial has room for its state");
static_assert(_Alignof(struct state) <= 8, "and it is aligned");
static_assert(CONNECT_UPSTREAMS_MAX <= TLS_UPSTREAMS_MAX, "every upstream has a session");

static struct state *state_of(struct dial *c)
{
	return (struct state *)c->scratch;
}

static const struct connect *dialer_of(const struct dial *c)
{
	return (const struct connect *)c->dialer;
}

static const struct connect_upstream *upstream_of(struct dial *c)
{
	return &dialer_of(c)->config.upstreams[state_of(c)->upstream];
}

static struct upstream *shared_of(struct dial *c)
{
	return &dialer_of(c)->shared->upstreams[state_of(c)->upstream];
}

/* ---- The request ---- */

struct request {
	char data[REQUEST_MAX];
	size_t len;
};

static void add(struct request *q, const char *fmt, ...) _printf_(2, 3);

static void add(struct request *q, const char *fmt, ...)
{
	size_t room = sizeof(q->data) - q->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(q->data + q->len, room, fmt, ap);
	va_end(ap);
	assert(n >= 0 && (size_t)n < room); /* every part of a request is bounded */
	q->len += (size_t)n;
}

/* A quoted-string, RFC 9110 5.6.4. */
static void add_quoted(struct request *q, const char *name, const char *value)
{
	add(q, "%s=\"", name);
	for (; *value; value++)
		add(q, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
	add(q, "\"");
}

/* authority-form, RFC 9112 3.2.3 */
static void format_target(const struct dial_target *t, char ret[TARGET_MAX])
{
	char addr[IP_STRLEN];
	bool is_v6 = !t->host[0] && t->addr.family == AF_INET6;
	const char *host = t->host[0] ? t->host : ip_format(&t->addr, addr);

	snprintf(ret, TARGET_MAX, is_v6 ? "[%s]:%u" : "%s:%u", host, t->port);
}

static int add_digest(struct request *q, struct dial *c, const char *target)
{
	const struct connect_config *config = &dialer_of(c)->config;
	const struct state *s = state_of(c);
	const struct digest_challenge *d = &s->challenge;
	struct digest_request r = {
		.username = config->username,
		.password = config->password,
		.method = "CONNECT",
		.uri = target,
		.cnonce = s->cnonce,
		.count = s->count,
	};
	char response[DIGEST_HEX_MAX + 1];
	int err = digest_respond(d, &r, response);

	if (err)
		return err;
	add(q, "Proxy-Authorization: Digest ");
	add_quoted(q, "username", config->username);
	add_quoted(q, ", realm", d->realm);
	add_quoted(q, ", nonce", d->nonce);
	add(q, ", uri=\"%s\", algorithm=%s, response=\"%s\"", target, digest_algorithm_name(d),
	    response);
	if (d->qop_auth)
		add(q, ", qop=auth, nc=%08x", s->count);
	if (d->qop_auth || d->session)
		add(q, ", cnonce=\"%s\"", s->cnonce);
	if (d->has_opaque)
		add_quoted(q, ", opaque", d->opaque);
	add(q, "\r\n");
	return 0;
}

/* The same bytes whenever it is called in an attempt, so that nothing has to be kept of what a
 * full socket did not take. */
static int build_request(struct dial *c, struct request *q)
{
	const struct state *s = state_of(c);
	char target[TARGET_MAX];
	int err = 0;

	format_target(&c->target, target);
	q->len = 0;
	add(q, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: byway\r\n", target, target);
	if (s->auth == AUTH_BASIC)
		add(q, "Proxy-Authorization: Basic %s\r\n", dialer_of(c)->basic);
	else if (s->auth != AUTH_NONE)
		err = add_digest(q, c, target);
	if (!err)
		add(q, "\r\n");
	return err;
}

/* ---- Credentials ---- */

static void new_cnonce(struct state *s)
{
	unsigned char bytes[sizeof(s->cnonce) / 2] = {0};

	/* So few bytes never fail once the system is up. */
	(void)!getrandom(bytes, sizeof(bytes), 0);
	hex_format(bytes, sizeof(bytes), s->cnonce);
}

static bool take_shared_challenge(struct dial *c)
{
	struct upstream *u = shared_of(c);
	struct state *s = state_of(c);
	bool has;

	pthread_mutex_lock(&u->lock);
	has = u->has_challenge;
	if (has) {
		s->challenge = u->challenge;
		s->count = ++u->count;
	}
	pthread_mutex_unlock(&u->lock);
	return has;
}

/* What the first attempt at an upstream says of who we are. */
static void choose_auth(struct dial *c)
{
	struct state *s = state_of(c);

	s->auth = AUTH_NONE;
	if (!dialer_of(c)->config.username[0])
		return;
	if (!atomic_load(&shared_of(c)->wants_digest)) {
		s->auth = AUTH_BASIC;
	} else if (take_shared_challenge(c)) {
		s->auth = AUTH_SHARED;
		new_cnonce(s);
	}
}

static void publish_challenge(struct dial *c)
{
	struct upstream *u = shared_of(c);
	struct state *s = state_of(c);

	pthread_mutex_lock(&u->lock);
	u->challenge = s->challenge;
	u->count = s->count;
	u->has_challenge = true;
	pthread_mutex_unlock(&u->lock);
}

/* Whether the answer 407 opens another way to prove who we are; it is set up then. */
static bool has_second_try(struct dial *c)
{
	struct state *s = state_of(c);
	enum auth before = s->auth;

	if (!dialer_of(c)->config.username[0] || before == AUTH_FRESH)
		return false;
	if (s->response.wants_digest) {
		atomic_store(&shared_of(c)->wants_digest, true);
		s->challenge = s->response.challenge;
		s->count = 1;
		s->auth = AUTH_FRESH;
		new_cnonce(s);
		return true;
	}
	if (before == AUTH_BASIC || !s->response.wants_basic)
		return false;
	/* It wanted Digest once, and has changed its mind. */
	atomic_store(&shared_of(c)->wants_digest, false);
	s->auth = AUTH_BASIC;
	return true;
}

/* ---- Failing ---- */

#define UPSTREAM_FMT "%.64s:%u"
#define UPSTREAM_ARGS(c) upstream_of(c)->host, upstream_of(c)->port

static void release_tls(struct state *s)
{
	tls_stream_release(TAKE_PTR(s->tls));
}

static enum dial_status begin(struct dial *c, uint64_t now_ms);
static enum dial_status begin_upstream(struct dial *c, uint64_t now_ms);
static enum dial_status open_upstream(struct dial *c, uint64_t now_ms);

/* A failure whose reason is set: the turn of the next address or upstream, or the end. */
static enum dial_status next_upstream(struct dial *c, enum dial_status status, uint64_t now_ms)
{
	const struct connect *d = dialer_of(c);
	struct state *s = state_of(c);

	release_tls(s);
	if (now_ms >= s->end_ms)
		return status;
	if (atomic_load(&d->shared->generation) != s->generation)
		return begin(c, now_ms);
	if (++s->addr < s->addrs.n) {
		choose_auth(c);
		return open_upstream(c, now_ms);
	}
	if (++s->tried >= d->config.n_upstreams)
		return status;
	s->upstream = (s->upstream + 1) % d->config.n_upstreams;
	return begin_upstream(c, now_ms);
}

static enum dial_status unreachable(struct dial *c, int err, uint64_t now_ms)
{
	enum dial_status status = err == ETIMEDOUT ? DIAL_TIMEOUT : DIAL_UNREACHABLE;

	dial_fail(c, status, "cannot connect to " UPSTREAM_FMT ": %s", UPSTREAM_ARGS(c),
		  strerror(err));
	return next_upstream(c, status, now_ms);
}

/* The connection is no more: err, or 0 at its end. */
static enum dial_status broken(struct dial *c, int err, uint64_t now_ms)
{
	struct state *s = state_of(c);
	bool no_tls = s->tls && tls_stream_state(s->tls) == TLS_FAILED;

	if (no_tls && tls_stream_error(s->tls))
		return unreachable(c, tls_stream_error(s->tls), now_ms);
	if (s->phase == PHASE_CONNECT)
		return unreachable(c, err, now_ms);
	if (no_tls)
		dial_fail(c, DIAL_BROKEN, UPSTREAM_FMT " %s", UPSTREAM_ARGS(c),
			  tls_stream_reason(s->tls));
	else
		dial_fail(c, DIAL_BROKEN,
			  UPSTREAM_FMT " closed the connection before it answered%s%s",
			  UPSTREAM_ARGS(c), err ? ": " : "", err ? strerror(err) : "");
	return next_upstream(c, DIAL_BROKEN, now_ms);
}

/* ---- Addresses ---- */

/* Those of the state's upstream, the one that dials begin with in front. */
static void take_addrs(struct dial *c)
{
	struct upstream *u = shared_of(c);
	struct state *s = state_of(c);
	unsigned int first = 0;

	pthread_mutex_lock(&u->lock);
	for (unsigned int i = 0; i < u->addrs.n; i++)
		if (ip_equal(&u->addrs.v[i], &u->first))
			first = i;
	for (unsigned int i = 0; i < u->addrs.n; i++)
		s->addrs.v[i] = u->addrs.v[(first + i) % u->addrs.n];
	s->addrs.n = u->addrs.n;
	pthread_mutex_unlock(&u->lock);
	s->addr = 0;
}

/* Later dials begin with the address that is by steps away from this dial's. */
static void set_first(struct dial *c, unsigned int steps)
{
	struct upstream *u = shared_of(c);
	const struct state *s = state_of(c);

	pthread_mutex_lock(&u->lock);
	u->first = s->addrs.v[(s->addr + steps) % s->addrs.n];
	pthread_mutex_unlock(&u->lock);
}

/* ---- Connecting ---- */

static int open_tls(struct dial *c, int tcp_fd)
{
	struct state *s = state_of(c);
	int fd, r = tls_open(dialer_of(c)->tls, tcp_fd, s->upstream, upstream_of(c)->host, &s->tls,
			     &fd);

	if (r)
		return r;
	dial_set_fd(c, fd);
	s->phase = PHASE_REQUEST;
	return 0;
}

static int open_socket(struct dial *c)
{
	const struct connect_upstream *u = upstream_of(c);
	struct state *s = state_of(c);
	int fd, r = -EDESTADDRREQ; /* nobody knows where it is */

	if (s->addrs.n)
		r = dial_socket(&s->addrs.v[s->addr], u->port, dialer_of(c)->config.mark, &fd);
	if (r)
		return r;
	if (u->tls)
		return open_tls(c, fd);
	dial_set_fd(c, fd);
	s->phase = PHASE_CONNECT;
	return 0;
}

/* How long reaching the address at hand may take. */
static uint64_t share_ms(struct dial *c, uint64_t now_ms)
{
	const struct state *s = state_of(c);
	unsigned int upstreams = dialer_of(c)->config.n_upstreams - s->tried;
	unsigned int addrs = s->addrs.n - s->addr;
	uint64_t left_ms = s->end_ms - now_ms;

	if (addrs > 1)
		return MIN(left_ms / (addrs + upstreams - 1), CONNECT_ADDR_SHARE_MS);
	return upstreams > 1 ? MIN(left_ms / upstreams, CONNECT_SHARE_MS) : left_ms;
}

/* Opens a connection to the address that the state names. */
static enum dial_status open_upstream(struct dial *c, uint64_t now_ms)
{
	struct state *s = state_of(c);
	int r;

	s->sent = 0;
	http_response_init(&s->response);
	c->deadline_ms = now_ms + share_ms(c, now_ms);
	c->events = EPOLLOUT;
	r = open_socket(c);
	return r ? unreachable(c, -r, now_ms) : DIAL_PENDING;
}

static enum dial_status begin_upstream(struct dial *c, uint64_t now_ms)
{
	take_addrs(c);
	choose_auth(c);
	return open_upstream(c, now_ms);
}

static enum dial_status begin(struct dial *c, uint64_t now_ms)
{
	const struct shared *shared = dialer_of(c)->shared;
	struct state *s = state_of(c);

	s->tried = 0;
	s->generation = atomic_load(&shared->generation);
	s->upstream = atomic_load(&shared->current);
	return begin_upstream(c, now_ms);
}

static enum dial_status send_request(struct dial *c, uint64_t now_ms)
{
	struct state *s = state_of(c);
	struct request q;
	ssize_t n;
	int r = build_request(c, &q);

	if (r)
		return dial_fail(c, DIAL_AUTH,
				 UPSTREAM_FMT " wants Digest with %s, which OpenSSL does not give",
				 UPSTREAM_ARGS(c), digest_algorithm_name(&s->challenge));
	n = send(c->fd, q.data + s->sent, q.len - s->sent, MSG_NOSIGNAL);
	r = n < 0 ? errno : 0;
	explicit_bzero(q.data, q.len);
	if (r == EAGAIN || r == EINTR)
		return DIAL_PENDING;
	if (r)
		return broken(c, r, now_ms);
	s->phase = PHASE_REQUEST;
	s->sent += (size_t)n;
	if (s->sent < q.len)
		return DIAL_PENDING;
	s->phase = PHASE_ANSWER;
	c->events = EPOLLIN;
	if (!s->tls)
		c->deadline_ms = s->end_ms;
	return DIAL_PENDING;
}

/* ---- The answer ---- */

struct meaning {
	unsigned int status;
	enum dial_status means;
};

/* What a status says when nothing more is said. 500: tinyproxy's word for whatever keeps it from
 * the target. */
static const struct meaning meanings[] = {
	{400, DIAL_BROKEN},  {401, DIAL_AUTH},    {404, DIAL_UNREACHABLE}, {405, DIAL_BROKEN},
	{407, DIAL_AUTH},    {408, DIAL_TIMEOUT}, {500, DIAL_REFUSED},     {501, DIAL_BROKEN},
	{502, DIAL_REFUSED}, {503, DIAL_REFUSED}, {504, DIAL_TIMEOUT},
};

struct clue {
	const char *text;
	enum dial_status means;
};

/* Squid's names, the error types of RFC 9209, and words that proxies put into the phrase. */
static const struct clue clues[] = {
	{"ERR_ACCESS_DENIED", DIAL_DENIED},
	{"ERR_DNS_FAIL", DIAL_UNREACHABLE},
	{"ERR_CANNOT_FORWARD", DIAL_UNREACHABLE},
	{"dns_timeout", DIAL_UNREACHABLE},
	{"dns_error", DIAL_UNREACHABLE},
	{"destination_not_found", DIAL_UNREACHABLE},
	{"destination_unavailable", DIAL_UNREACHABLE},
	{"destination_ip_prohibited", DIAL_DENIED},
	{"destination_ip_unroutable", DIAL_UNREACHABLE},
	{"connection_refused", DIAL_REFUSED},
	{"connection_terminated", DIAL_REFUSED},
	{"connection_timeout", DIAL_TIMEOUT},
	{"http_request_denied", DIAL_DENIED},
	{"refused", DIAL_REFUSED},
	{"unreachable", DIAL_UNREACHABLE},
	{"no route", DIAL_UNREACHABLE},
	{"resol", DIAL_UNREACHABLE}, /* cannot resolve, could not be resolved, resolution failed */
	{"timed out", DIAL_TIMEOUT},
	{"timeout", DIAL_TIMEOUT},
};

/* "ERR_CONNECT_FAIL 111": the errno of the machine that squid runs on; those of FreeBSD mean
 * something else on Linux, but nothing that connect(2) returns. */
static enum dial_status squid_errno_status(const char *number)
{
	switch (atoi(number)) {
	case 61:
		return DIAL_REFUSED;
	case 60:
		return DIAL_TIMEOUT;
	default:
		return dial_errno_status(atoi(number));
	}
}

static enum dial_status clue_status(const char *text, enum dial_status otherwise)
{
	static const char failed[] = "ERR_CONNECT_FAIL";

	if (!strncmp(text, failed, strlen(failed)))
		return squid_errno_status(text + strlen(failed));
	for (size_t i = 0; i < ARRAY_SIZE(clues); i++)
		if (strcasestr(text, clues[i].text))
			return clues[i].means;
	return otherwise;
}

static enum dial_status status_means(unsigned int status)
{
	for (size_t i = 0; i < ARRAY_SIZE(meanings); i++)
		if (meanings[i].status == status)
			return meanings[i].means;
	if (status < 300)
		return DIAL_CONNECTED;
	return status < 400 ? DIAL_BROKEN : status < 500 ? DIAL_DENIED : DIAL_REFUSED;
}

static enum dial_status response_means(const struct http_response *r)
{
	enum dial_status means = status_means(r->status);

	if (means == DIAL_CONNECTED || means == DIAL_AUTH)
		return means;
	if (r->status >= 500)
		means = clue_status(r->phrase, means);
	return clue_status(r->cause, means);
}

static enum dial_status auth_failed(struct dial *c)
{
	const struct http_response *r = &state_of(c)->response;

	if (r->status == 407 && !r->wants_basic && !r->wants_digest && r->scheme[0])
		return dial_fail(c, DIAL_AUTH,
				 UPSTREAM_FMT
				 " wants %s authentication, which is not supported (%u %s)",
				 UPSTREAM_ARGS(c), r->scheme, r->status, r->phrase);
	if (!dialer_of(c)->config.username[0])
		return dial_fail(c, DIAL_AUTH,
				 UPSTREAM_FMT " wants a user name and a password (%u %s)",
				 UPSTREAM_ARGS(c), r->status, r->phrase);
	return dial_fail(c, DIAL_AUTH,
			 UPSTREAM_FMT " refuses the user name or the password (%u %s)",
			 UPSTREAM_ARGS(c), r->status, r->phrase);
}

static enum dial_status refuse(struct dial *c, enum dial_status means, uint64_t now_ms)
{
	const struct http_response *r = &state_of(c)->response;

	if (means == DIAL_AUTH)
		return auth_failed(c);
	dial_fail(c, means, "%u%s%s by " UPSTREAM_FMT "%s%s%s", r->status, r->phrase[0] ? " " : "",
		  r->phrase, UPSTREAM_ARGS(c), r->cause[0] ? " (" : "", r->cause,
		  r->cause[0] ? ")" : "");
	return means == DIAL_BROKEN ? next_upstream(c, means, now_ms) : means;
}

static enum dial_status answered(struct dial *c, uint64_t now_ms)
{
	struct state *s = state_of(c);
	enum dial_status means = response_means(&s->response);

	c->answered = true;
	atomic_store(&shared_of(c)->silent, 0);
	if (s->response.status == 407 && now_ms < s->end_ms && has_second_try(c)) {
		release_tls(s);
		return open_upstream(c, now_ms);
	}
	if (s->auth == AUTH_FRESH && s->response.status != 407)
		publish_challenge(c);
	if (means != DIAL_BROKEN) {
		atomic_store(&dialer_of(c)->shared->current, s->upstream);
		set_first(c, 0);
	}
	return means == DIAL_CONNECTED ? means : refuse(c, means, now_ms);
}

static enum dial_status nonsense(struct dial *c, int err, uint64_t now_ms)
{
	dial_fail(c, DIAL_BROKEN,
		  err == -EMSGSIZE ? UPSTREAM_FMT " sends a response header without an end"
				   : UPSTREAM_FMT " does not answer as an HTTP proxy does",
		  UPSTREAM_ARGS(c));
	return next_upstream(c, DIAL_BROKEN, now_ms);
}

/* Takes from the socket what belongs to the header. > 0: it is complete; 0: all that was there is
 * taken; -errno. */
static int take_header(struct dial *c, const char *data, size_t n)
{
	char taken[CHUNK];
	size_t used = 0;
	int r = http_response_feed(&state_of(c)->response, data, n, &used);

	if (r < 0)
		return r;
	return recv(c->fd, taken, used, 0) == (ssize_t)used ? r : -EBADMSG;
}

/* Goes on until the socket is empty, so that edge-triggered callers miss nothing. */
static enum dial_status read_answer(struct dial *c, uint64_t now_ms)
{
	char data[CHUNK];

	for (;;) {
		ssize_t n = recv(c->fd, data, sizeof(data), MSG_PEEK);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return DIAL_PENDING;
		if (n <= 0)
			return broken(c, n < 0 ? errno : 0, now_ms);
		r = take_header(c, data, (size_t)n);
		if (r < 0)
			return nonsense(c, r, now_ms);
		if (r > 0)
			return answered(c, now_ms);
	}
}

/* ---- Time ---- */

/* Whether the upstream itself has not been reached yet. */
static bool is_reaching(const struct state *s)
{
	if (s->tls)
		return tls_stream_state(s->tls) == TLS_HANDSHAKE;
	return s->phase == PHASE_CONNECT;
}

/* Dials begin with the next address and upstream when this one has been silent too often. */
static void note_silence(struct dial *c)
{
	const struct connect *d = dialer_of(c);
	unsigned int upstream = state_of(c)->upstream;
	unsigned int next = (upstream + 1) % d->config.n_upstreams;

	if (atomic_fetch_add(&shared_of(c)->silent, 1) + 1 < SILENT_MAX)
		return;
	atomic_store(&shared_of(c)->silent, 0);
	set_first(c, 1);
	atomic_compare_exchange_strong(&d->shared->current, &upstream, next);
}

static enum dial_status out_of_time(struct dial *c, uint64_t now_ms)
{
	struct state *s = state_of(c);

	if (is_reaching(s)) {
		dial_fail(c, DIAL_TIMEOUT, "no connection to " UPSTREAM_FMT " in time",
			  UPSTREAM_ARGS(c));
		return next_upstream(c, DIAL_TIMEOUT, now_ms);
	}
	if (now_ms < s->end_ms) {
		c->deadline_ms = s->end_ms;
		return DIAL_PENDING;
	}
	note_silence(c);
	return dial_fail(c, DIAL_TIMEOUT, "no answer from " UPSTREAM_FMT " in %u s",
			 UPSTREAM_ARGS(c), dialer_of(c)->config.timeout_ms / 1000);
}

/* ---- The dialer ---- */

static enum dial_status connect_start(struct dial *c, uint64_t now_ms)
{
	const struct connect *d = dialer_of(c);
	struct state *s = state_of(c);

	s->tls = NULL;
	s->end_ms = now_ms + d->config.timeout_ms;
	return begin(c, now_ms);
}

static enum dial_status connect_step(struct dial *c, uint32_t revents, uint64_t now_ms)
{
	enum dial_status status = DIAL_PENDING;

	if (revents && state_of(c)->phase == PHASE_ANSWER)
		status = read_answer(c, now_ms);
	else if (revents)
		status = send_request(c, now_ms);
	if (status == DIAL_PENDING && now_ms >= c->deadline_ms)
		status = out_of_time(c, now_ms);
	return status;
}

static void connect_done(struct dial *c)
{
	release_tls(state_of(c));
}

static void connect_free(struct dialer *dialer)
{
	struct connect *d = (struct connect *)dialer;

	tls_free(d->tls);
	for (size_t i = 0; i < CONNECT_UPSTREAMS_MAX; i++)
		pthread_mutex_destroy(&d->shared->upstreams[i].lock);
	free(d->shared);
	explicit_bzero(d, sizeof(*d));
	free(d);
}

static const struct dialer_ops connect_ops = {
	.start = connect_start,
	.step = connect_step,
	.done = connect_done,
	.free = connect_free,
};

/* RFC 7617 2: neither may have control characters, and a user name no colon. */
static bool has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return true;
	return false;
}

static int check_config(const struct connect_config *config, struct err *err)
{
	if (!config->n_upstreams || config->n_upstreams > CONNECT_UPSTREAMS_MAX)
		return err_set(err, ERR_USAGE, -EINVAL, "from 1 to %d proxies can be given, not %u",
			       CONNECT_UPSTREAMS_MAX, config->n_upstreams);
	if (has_control(config->username) || strchr(config->username, ':'))
		return err_set(err, ERR_USAGE, -EINVAL,
			       "a user name cannot have colons or control characters");
	if (has_control(config->password))
		return err_set(err, ERR_USAGE, -EINVAL,
			       "a password cannot have control characters");
	return 0;
}

static void make_basic(struct connect *d)
{
	char plain[sizeof(d->config.username) + sizeof(d->config.password)];
	int n = snprintf(plain, sizeof(plain), "%s:%s", d->config.username, d->config.password);

	EVP_EncodeBlock((unsigned char *)d->basic, (const unsigned char *)plain, n);
	explicit_bzero(plain, sizeof(plain));
}

static bool needs_tls(const struct connect_config *config)
{
	for (unsigned int i = 0; i < config->n_upstreams; i++)
		if (config->upstreams[i].tls)
			return true;
	return false;
}

static void upstream_init(struct upstream *u, const struct connect_upstream *config)
{
	pthread_mutex_init(&u->lock, NULL);
	u->addrs.v[0] = config->addr;
	u->addrs.n = config->addr.family != 0;
}

void dialer_connect_set_addrs(struct dialer *dialer, unsigned int upstream,
			      const struct connect_addrs *addrs)
{
	struct connect *d = (struct connect *)dialer;
	struct upstream *u = &d->shared->upstreams[upstream];

	pthread_mutex_lock(&u->lock);
	u->addrs = *addrs;
	pthread_mutex_unlock(&u->lock);
}

void dialer_connect_renew(struct dialer *dialer)
{
	atomic_fetch_add(&((struct connect *)dialer)->shared->generation, 1);
}

int dialer_connect(const struct connect_config *config, struct dialer **ret, struct err *err)
{
	_dialer_ struct dialer *dialer = NULL;
	struct connect *d;
	int r = check_config(config, err);

	if (r)
		return r;
	/* Now, as long as its configuration can be read: the process may be confined later. */
	if (!OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL))
		return err_set(err, ERR_FAILED, -EIO, "OpenSSL does not start");
	d = xcalloc(1, sizeof(*d));
	d->shared = xcalloc(1, sizeof(*d->shared));
	d->dialer.ops = &connect_ops;
	dialer = &d->dialer;
	for (size_t i = 0; i < CONNECT_UPSTREAMS_MAX; i++)
		upstream_init(&d->shared->upstreams[i], &config->upstreams[i]);
	d->config = *config;
	d->config.ca_file = NULL; /* the caller's */
	if (!d->config.timeout_ms)
		d->config.timeout_ms = CONNECT_TIMEOUT_MS;
	make_basic(d);
	if (needs_tls(config))
		r = tls_new(config->ca_file, &d->tls, err);
	if (r)
		return r;
	*ret = TAKE_PTR(dialer);
	return 0;
}
