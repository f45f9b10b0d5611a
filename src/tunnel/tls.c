// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation: TLS streams
 *
 *   caller <- socket pair -> thread <- TLS over TCP -> upstream
 *
 * One thread serves all streams of a struct tls with an edge-triggered epoll set. A stream has
 * four conditions, either end readable or writable: an event sets them, EAGAIN takes them back,
 * and bytes move while both that a direction needs are there.
 *
 * 1. No stream has a buffer here. Bytes are looked at (MSG_PEEK, SSL_peek) into one buffer of the
 *    thread, and taken from where they came from when they are where they go to. So a full end
 *    stops the other one, through the kernel's buffers.
 * 2. After a direction's end the other one goes on: the caller's shutdown(SHUT_WR) becomes
 *    close_notify and FIN, and a close_notify, or a FIN without one, which is what many send,
 *    becomes the end of the caller's stream.
 * 3. The caller's end tells a broken connection from an ended one. One byte always waits unread in
 *    the thread's end of the pair, because Linux turns closing a socket with unread bytes into
 *    ECONNRESET for its peer (unix_release_sock()). The byte is written when the pair is made;
 *    from then on it is the last of those that were sent, which is taken with the next ones. An
 *    end in good order takes it out first.
 * 4. Nothing of the caller's is sent before the peer's certificate is verified.
 * 5. Streams are the thread's alone once they are in its queue; the caller shares an atomic state,
 *    and a reason that does not change after the state has become TLS_FAILED.
 * 6. After TURN_RECORDS records a stream waits for the others.
 * 7. The last session that an upstream gave is offered to it by every later stream, which saves the
 *    certificate and its signature: TLS 1.3 tickets (RFC 8446 4.6.1), tickets and session ids of
 *    TLS 1.2. It is never another upstream's, and never one of a peer that was not verified. Streams
 *    get copies, because OpenSSL spoils the session of a stream that breaks. A ticket that is used
 *    twice lets a listener see that two connections are of one client (RFC 8446 C.4); here they have
 *    one address and one destination anyway.
 * 8. The thread, which reads what the network sends, opens no file and runs no program: see
 *    system_calls[].
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/err.h"
#include "base/ip.h"
#include "base/thread.h"
#include "base/util.h"
#include "kernel/sandbox.h"
#include "tunnel/tls.h"

#define RECORD 16384 /* SSL3_RT_MAX_PLAIN_LENGTH */
#define TURN_RECORDS 32
#define EVENTS_MAX 64
/* How long a peer may leave unacknowledged what the caller wrote before it closed
 * (TCP_USER_TIMEOUT). */
#define ORPHAN_TIMEOUT_MS 60000

/* An end of a stream, and what epoll is given for it. */
struct end {
	struct tls_stream *stream;
	int fd;
	bool readable, writable;
};

struct tls_stream {
	struct tls_stream *next, **link; /* in the queue, then in the thread's list */
	atomic_uint refs;                /* the thread's and the caller's */
	_Atomic(enum tls_state) state;
	char reason[128];
	struct tls *owner;
	unsigned int upstream;
	SSL *ssl;
	struct end pair, tcp;
	int tcp_error; /* errno of the last call, for the reason */
	bool tcp_connected, tcp_ended;
	bool caller_ended, caller_gone; /* will write no more; will not read either */
	bool up_done, down_done;        /* this direction's end has been passed on */
	bool over;
};

struct tls {
	SSL_CTX *ctx;
	BIO_METHOD *bio;
	pthread_t thread;
	int epoll, wake;
	pthread_mutex_t lock;
	struct tls_stream *queue; /* under lock */
	bool stop;                /* under lock */
	SSL_SESSION *sessions[TLS_UPSTREAMS_MAX]; /* under lock; NULL: none yet */
	struct tls_stream *streams;
	unsigned char buffer[RECORD + 1];
};

/* ---- Sockets for OpenSSL: as its own, but a lost peer is no signal ---- */

static int bio_write(BIO *bio, const char *data, int n)
{
	struct tls_stream *s = BIO_get_data(bio);
	ssize_t sent = send(s->tcp.fd, data, (size_t)n, MSG_NOSIGNAL);

	BIO_clear_retry_flags(bio);
	if (sent >= 0) {
		s->tcp_connected = true;
		return (int)sent;
	}
	if (errno == EAGAIN || errno == EINTR)
		BIO_set_retry_write(bio);
	else
		s->tcp_error = errno;
	return -1;
}

static int bio_read(BIO *bio, char *data, int n)
{
	struct tls_stream *s = BIO_get_data(bio);
	ssize_t got = recv(s->tcp.fd, data, (size_t)n, 0);

	BIO_clear_retry_flags(bio);
	if (got == 0 && n > 0)
		s->tcp_ended = true;
	if (got >= 0)
		return (int)got;
	if (errno == EAGAIN || errno == EINTR)
		BIO_set_retry_read(bio);
	else
		s->tcp_error = errno;
	return -1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	const struct tls_stream *s = BIO_get_data(bio);

	(void)number, (void)pointer;
	if (command == BIO_CTRL_EOF)
		return s->tcp_ended;
	return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *new_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "byway socket");

	if (m && BIO_meth_set_write(m, bio_write) && BIO_meth_set_read(m, bio_read) &&
	    BIO_meth_set_ctrl(m, bio_ctrl))
		return m;
	BIO_meth_free(m);
	return NULL;
}

/* ---- Streams ---- */

void tls_stream_release(struct tls_stream *s)
{
	if (s && atomic_fetch_sub(&s->refs, 1) == 1)
		free(s);
}

enum tls_state tls_stream_state(const struct tls_stream *s)
{
	return atomic_load(&s->state);
}

const char *tls_stream_reason(const struct tls_stream *s)
{
	return s->reason;
}

int tls_stream_error(const struct tls_stream *s)
{
	return s->tcp_connected ? 0 : s->tcp_error;
}

static void set_over(struct tls_stream *s)
{
	s->over = true;
}

/* Nothing may be written to the stream's reason after this. */
static void set_failed(struct tls_stream *s)
{
	atomic_store(&s->state, TLS_FAILED);
	set_over(s);
}

static void set_reason(struct tls_stream *s, const char *fmt, ...) _printf_(2, 3);

static void set_reason(struct tls_stream *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->reason, sizeof(s->reason), fmt, ap);
	va_end(ap);
}

/* ---- Sessions ---- */

/* OpenSSL has a session for later: after the handshake, or with bytes that are read. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	const struct tls_stream *s = SSL_get_app_data(ssl);
	SSL_SESSION *copy = SSL_SESSION_dup(session), *old;

	pthread_mutex_lock(&s->owner->lock);
	old = s->owner->sessions[s->upstream];
	s->owner->sessions[s->upstream] = copy;
	pthread_mutex_unlock(&s->owner->lock);
	SSL_SESSION_free(old);
	return 0; /* OpenSSL keeps its own */
}

/* A full handshake, when there is none or it is not to be had. */
static void offer_session(struct tls_stream *s)
{
	SSL_SESSION *copy = NULL;

	pthread_mutex_lock(&s->owner->lock);
	if (s->owner->sessions[s->upstream])
		copy = SSL_SESSION_dup(s->owner->sessions[s->upstream]);
	pthread_mutex_unlock(&s->owner->lock);
	if (copy)
		SSL_set_session(s->ssl, copy);
	SSL_SESSION_free(copy);
}

/* ---- The handshake ---- */

static void format_time(const ASN1_TIME *t, char ret[32])
{
	struct tm tm;

	if (!t || !ASN1_TIME_to_tm(t, &tm) || !strftime(ret, 32, "%Y-%m-%d %H:%M UTC", &tm))
		strcpy(ret, "a date that cannot be read");
}

/* The names that a certificate is for, the first ones. */
static void format_names(X509 *cert, char *ret, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	size_t len = 0;

	ret[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(names) && len < size; i++) {
		int type;
		const ASN1_STRING *v =
			GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
		int n = type == GEN_DNS ? ASN1_STRING_length(v) : 0;

		/* A name with other characters is not worth a quarrel with the terminal. */
		if (n > 0 && strspn((const char *)ASN1_STRING_get0_data(v),
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789.-*_") >= (size_t)n)
			len += (size_t)snprintf(ret + len, size - len, "%s%.*s", len ? ", " : "", n,
						ASN1_STRING_get0_data(v));
	}
	GENERAL_NAMES_free(names);
}

static void explain_name(struct tls_stream *s, X509 *cert)
{
	char names[80];

	format_names(cert, names, sizeof(names));
	set_reason(s, "has a certificate for another name%s%s%s", names[0] ? " (" : "", names,
		   names[0] ? ")" : "");
}

static void explain_certificate(struct tls_stream *s, int verdict, X509 *cert)
{
	char when[32];

	switch (verdict) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		format_time(X509_get0_notAfter(cert), when);
		set_reason(s, "has a certificate that expired on %s", when);
		return;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		format_time(X509_get0_notBefore(cert), when);
		set_reason(s, "has a certificate that is not valid before %s", when);
		return;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		explain_name(s, cert);
		return;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		set_reason(s, "has a certificate of an unknown issuer (%s)",
			   X509_verify_cert_error_string(verdict));
		return;
	default:
		set_reason(s, "has a certificate that cannot be trusted: %s",
			   X509_verify_cert_error_string(verdict));
	}
}

/* OpenSSL asks for each certificate; only here is one at hand that it does not like. */
static int on_verify(int ok, X509_STORE_CTX *ctx)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_stream *s = SSL_get_app_data(ssl);

	if (!ok)
		explain_certificate(s, X509_STORE_CTX_get_error(ctx),
				    X509_STORE_CTX_get_current_cert(ctx));
	return ok;
}

static void explain_failure(struct tls_stream *s)
{
	unsigned long e = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(e);

	if (s->reason[0]) /* of a certificate */
		return;
	if (s->tcp_error)
		set_reason(s, "broke the connection during the TLS handshake: %s",
			   strerror(s->tcp_error));
	else if (s->tcp_ended)
		set_reason(s, "closed the connection during the TLS handshake");
	else if (ERR_GET_REASON(e) == SSL_R_WRONG_VERSION_NUMBER)
		set_reason(s, "does not speak TLS: is it an http:// proxy?");
	else
		set_reason(s, "breaks off the TLS handshake: %s",
			   reason ? reason : "no reason given");
}

/* The error of the last call, when it is no error but a condition that is to be waited for:
 * true. */
static bool must_wait(struct tls_stream *s, int r)
{
	switch (SSL_get_error(s->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		s->tcp.readable = false;
		return true;
	case SSL_ERROR_WANT_WRITE:
		s->tcp.writable = false;
		return true;
	default:
		return false;
	}
}

static void handshake(struct tls_stream *s)
{
	int r;

	ERR_clear_error();
	r = SSL_do_handshake(s->ssl);
	if (r == 1) {
		atomic_store(&s->state, TLS_UP);
	} else if (!must_wait(s, r)) {
		explain_failure(s);
		set_failed(s);
	}
}

/* ---- Moving bytes ---- */

/* The caller has ended its direction; true when that is passed on. */
static bool end_up(struct tls_stream *s)
{
	int r;

	ERR_clear_error();
	r = SSL_shutdown(s->ssl);
	if (r < 0 && must_wait(s, r))
		return false;
	shutdown(s->tcp.fd, SHUT_WR);
	s->up_done = true;
	return true;
}

/* One record from the caller to the upstream; false when there is no more to do for now. */
static bool move_up(struct tls *t, struct tls_stream *s)
{
	ssize_t n = recv(s->pair.fd, t->buffer, sizeof(t->buffer), MSG_PEEK);
	int sent;

	if (n == 1) {
		if (s->caller_ended)
			return end_up(s);
		s->pair.readable = false;
		return false;
	}
	if (n <= 0) { /* there always is the one byte */
		set_over(s);
		return false;
	}
	ERR_clear_error();
	sent = SSL_write(s->ssl, t->buffer + 1, (int)n - 1);
	if (sent > 0)
		return recv(s->pair.fd, t->buffer, (size_t)sent, 0) == sent;
	if (!must_wait(s, sent))
		set_over(s);
	return false;
}

static bool end_down(struct tls_stream *s)
{
	shutdown(s->pair.fd, SHUT_WR);
	s->down_done = true;
	return false;
}

/* One record from the upstream to the caller. */
static bool move_down(struct tls *t, struct tls_stream *s)
{
	ssize_t sent;
	int n;

	ERR_clear_error();
	n = SSL_peek(s->ssl, t->buffer, RECORD);
	if (n <= 0) {
		if (SSL_get_error(s->ssl, n) == SSL_ERROR_ZERO_RETURN)
			return end_down(s);
		if (!must_wait(s, n))
			set_over(s);
		return false;
	}
	sent = send(s->pair.fd, t->buffer, (size_t)n, MSG_NOSIGNAL);
	if (sent > 0)
		return SSL_read(s->ssl, t->buffer, (int)sent) == sent;
	if (errno == EAGAIN)
		s->pair.writable = false;
	else
		set_over(s); /* the caller reads no more */
	return false;
}

static bool can_move_up(const struct tls_stream *s)
{
	return !s->over && !s->up_done && s->pair.readable && s->tcp.writable;
}

static bool can_move_down(const struct tls_stream *s)
{
	return !s->over && !s->down_done && !s->caller_gone && s->tcp.readable && s->pair.writable;
}

static void take_last_byte(struct tls_stream *s)
{
	char byte;

	(void)!recv(s->pair.fd, &byte, 1, 0);
}

static void arm(struct tls *t, struct end *e, int operation)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		.data.ptr = e,
	};

	/* Arming anew makes what is ready an event again. */
	if (epoll_ctl(t->epoll, operation, e->fd, &event))
		set_over(e->stream);
}

/* Does what the conditions allow. */
static void run_stream(struct tls *t, struct tls_stream *s)
{
	unsigned int turns = TURN_RECORDS;

	if (!s->over && s->state == TLS_HANDSHAKE && s->caller_gone)
		set_over(s);
	if (!s->over && s->state == TLS_HANDSHAKE)
		handshake(s);
	if (s->state != TLS_UP)
		return;
	while (turns && can_move_up(s) && move_up(t, s))
		turns--;
	while (turns && can_move_down(s) && move_down(t, s))
		turns--;
	if (!turns)
		arm(t, &s->tcp, EPOLL_CTL_MOD);
	if (s->up_done && (s->down_done || s->caller_gone)) {
		take_last_byte(s);
		set_over(s);
	}
}

/* ---- The thread ---- */

static void unlink_stream(struct tls_stream *s)
{
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
}

static void push_stream(struct tls_stream **list, struct tls_stream *s)
{
	s->next = *list;
	s->link = list;
	if (s->next)
		s->next->link = &s->next;
	*list = s;
}

/* Closing takes a descriptor out of the set only when no duplicate is left, in a child that is
 * about to run a program, or with sweep.c: no event may come for a stream that is gone. */
static void end_end(const struct end *e)
{
	epoll_ctl(e->stream->owner->epoll, EPOLL_CTL_DEL, e->fd, NULL);
	close(e->fd);
}

static void end_stream(struct tls_stream *s)
{
	SSL_free(s->ssl);
	end_end(&s->pair);
	end_end(&s->tcp);
	tls_stream_release(s);
}

/* False when the thread is to stop. */
static bool take_queue(struct tls *t)
{
	uint64_t count;
	struct tls_stream *s, *next;
	bool stop;

	(void)!read(t->wake, &count, sizeof(count));
	pthread_mutex_lock(&t->lock);
	s = TAKE_PTR(t->queue);
	stop = t->stop;
	pthread_mutex_unlock(&t->lock);
	for (; s; s = next) {
		next = s->next;
		push_stream(&t->streams, s);
		arm(t, &s->pair, EPOLL_CTL_ADD);
		arm(t, &s->tcp, EPOLL_CTL_ADD);
		if (s->over) { /* the kernel has no room: no event will come */
			set_reason(s, "cannot be waited for: the kernel has no room");
			set_failed(s);
			unlink_stream(s);
			end_stream(s);
		}
	}
	return !stop;
}

static void note_event(struct end *e, uint32_t events)
{
	struct tls_stream *s = e->stream;

	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		e->readable = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		e->writable = true;
	if (e != &s->pair)
		return;
	if (events & (EPOLLRDHUP | EPOLLHUP))
		s->caller_ended = true;
	if (events & EPOLLHUP && !s->caller_gone) {
		static const unsigned int timeout_ms = ORPHAN_TIMEOUT_MS;

		s->caller_gone = true;
		setsockopt(s->tcp.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
			   sizeof(timeout_ms));
	}
}

/* A stream may have had both its ends among the events: it goes after the last of them was looked
 * at. */
static void reap(const struct epoll_event *events, int n)
{
	struct tls_stream *dead = NULL, *next;

	for (int i = 0; i < n; i++) {
		struct end *e = events[i].data.ptr;

		if (!e || !e->stream->over || !e->stream->link)
			continue;
		unlink_stream(e->stream);
		e->stream->link = NULL;
		e->stream->next = dead;
		dead = e->stream;
	}
	for (; dead; dead = next) {
		next = dead->next;
		end_stream(dead);
	}
}

static bool serve(struct tls *t)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(t->epoll, events, EVENTS_MAX, -1);
	bool go_on = true;

	for (int i = 0; i < n; i++) {
		struct end *e = events[i].data.ptr;

		if (!e) {
			go_on = take_queue(t);
			continue;
		}
		note_event(e, events[i].events);
		run_stream(t, e->stream);
	}
	reap(events, n);
	return go_on;
}

/* Sockets that are there already, memory management, locks and randomness. */
static const int system_calls[] = {
#ifdef __NR_epoll_wait /* newer architectures have epoll_pwait() only */
	__NR_epoll_wait,
#endif
	__NR_epoll_pwait,
	__NR_epoll_ctl,
	__NR_read,
	__NR_write,
	__NR_recvfrom,
	__NR_sendto,
	__NR_setsockopt,
	__NR_shutdown,
	__NR_close,
	__NR_clock_gettime,
#ifdef __NR_gettimeofday
	__NR_gettimeofday,
#endif
	__NR_getrandom,
	__NR_futex,
	__NR_mmap,
	__NR_munmap,
	__NR_mremap,
	__NR_mprotect,
	__NR_madvise,
	__NR_brk,
	__NR_sched_yield,
	__NR_getpid,
	__NR_gettid,
	__NR_rt_sigprocmask,
	__NR_rt_sigreturn,
	__NR_sigaltstack, /* a sanitizer's, when the thread ends */
	__NR_restart_syscall,
	__NR_tgkill,
	__NR_rseq,
	__NR_set_robust_list,
	__NR_exit,
	__NR_exit_group,
};

static void *thread_main(void *arg)
{
	struct tls *t = arg;

	/* A kernel that has no filters has none for worker_confine() either, which is heard. */
	sandbox_syscalls(system_calls, ARRAY_SIZE(system_calls), NULL);
	while (serve(t))
		;
	return NULL;
}

/* ---- Opening ---- */

static int set_name(SSL *ssl, const char *host)
{
	struct ip ip;

	if (ip_parse(host, &ip, NULL) == 0)
		return X509_VERIFY_PARAM_set1_ip(SSL_get0_param(ssl), ip.bytes, ip_len(ip.family));
	return SSL_set1_host(ssl, host) && SSL_set_tlsext_host_name(ssl, host);
}

static int new_ssl(struct tls *t, struct tls_stream *s, const char *host)
{
	BIO *bio;

	s->ssl = SSL_new(t->ctx);
	if (!s->ssl || !set_name(s->ssl, host))
		return -ENOMEM;
	bio = BIO_new(t->bio);
	if (!bio)
		return -ENOMEM;
	BIO_set_data(bio, s);
	BIO_set_init(bio, 1);
	SSL_set_bio(s->ssl, bio, bio);
	SSL_set_app_data(s->ssl, s);
	SSL_set_connect_state(s->ssl);
	return 0;
}

static void free_stream_p(struct tls_stream **s)
{
	if (*s)
		SSL_free((*s)->ssl);
	free(*s);
}

static void enqueue(struct tls *t, struct tls_stream *s)
{
	static const uint64_t one = 1;

	pthread_mutex_lock(&t->lock);
	push_stream(&t->queue, s);
	pthread_mutex_unlock(&t->lock);
	(void)!write(t->wake, &one, sizeof(one));
}

int tls_open(struct tls *t, int tcp_fd, unsigned int upstream, const char *host,
	     struct tls_stream **ret, int *ret_fd)
{
	_cleanup_(free_stream_p) struct tls_stream *s = xcalloc(1, sizeof(*s));
	_close_ int tcp = tcp_fd, caller = -1, ours = -1;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -errno;
	caller = pair[0], ours = pair[1];
	s->owner = t;
	s->upstream = upstream;
	r = new_ssl(t, s, host);
	if (r)
		return r;
	offer_session(s);
	if (send(caller, "", 1, MSG_NOSIGNAL) != 1)
		return -errno;
	atomic_init(&s->refs, 2);
	atomic_init(&s->state, TLS_HANDSHAKE);
	s->tcp = (struct end){.stream = s, .fd = TAKE_FD(tcp)};
	s->pair = (struct end){.stream = s, .fd = TAKE_FD(ours)};
	*ret = s;
	*ret_fd = TAKE_FD(caller);
	enqueue(t, TAKE_PTR(s));
	return 0;
}

/* ---- The whole ---- */

static int ctx_error(struct err *err, const char *what, const char *name)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	return err_set(err, ERR_FAILED, -EINVAL, "%s%s: %s", what, name,
		       reason ? reason : "OpenSSL gives no reason");
}

/* Of Debian and its kin, Fedora and its kin, SUSE; else OpenSSL's own file. Not its folder: there
 * it looks a certificate up when it is needed, and then the thread may not open files any more. */
static const char *const bundles[] = {
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
};

static bool load_system_authorities(SSL_CTX *ctx)
{
	for (size_t i = 0; i < ARRAY_SIZE(bundles); i++)
		if (access(bundles[i], R_OK) == 0 && SSL_CTX_load_verify_file(ctx, bundles[i]))
			return true;
	return SSL_CTX_set_default_verify_file(ctx);
}

static int new_ctx(struct tls *t, const char *ca_file, struct err *err)
{
	ERR_clear_error();
	t->ctx = SSL_CTX_new(TLS_client_method());
	t->bio = new_bio_method();
	if (!t->ctx || !t->bio)
		return ctx_error(err, "cannot set up TLS", "");
	if (ca_file && !SSL_CTX_load_verify_file(t->ctx, ca_file))
		return ctx_error(err, "cannot read certificates from ", ca_file);
	if (!ca_file && !load_system_authorities(t->ctx))
		return ctx_error(err, "cannot read the system's certificates", "");
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, on_verify);
	SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(t->ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					 SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(t->ctx, on_session);
	SSL_CTX_set_alpn_protos(t->ctx, (const unsigned char *)"\x08http/1.1", 9);
	return 0;
}

static int open_epoll(struct tls *t)
{
	struct epoll_event event = {.events = EPOLLIN};

	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	t->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->epoll < 0 || t->wake < 0 || epoll_ctl(t->epoll, EPOLL_CTL_ADD, t->wake, &event))
		return -errno;
	return 0;
}

static int start_thread(struct tls *t)
{
	tzset(); /* gmtime(3) would look for the time zone in the thread, which may open no file */
	return thread_start(&t->thread, thread_main, t);
}

/* All but the thread. */
static void free_parts(struct tls *t)
{
	for (size_t i = 0; i < TLS_UPSTREAMS_MAX; i++)
		SSL_SESSION_free(t->sessions[i]);
	SSL_CTX_free(t->ctx);
	BIO_meth_free(t->bio);
	close_p(&t->epoll);
	close_p(&t->wake);
	pthread_mutex_destroy(&t->lock);
	explicit_bzero(t->buffer, sizeof(t->buffer));
	free(t);
}

int tls_new(const char *ca_file, struct tls **ret, struct err *err)
{
	struct tls *t = xcalloc(1, sizeof(*t));
	int r;

	t->epoll = t->wake = -1;
	pthread_mutex_init(&t->lock, NULL);
	r = new_ctx(t, ca_file, err);
	if (!r) {
		r = open_epoll(t);
		if (!r)
			r = start_thread(t);
		if (r)
			err_errno(err, r, "cannot start the thread for TLS");
	}
	if (r) {
		free_parts(t);
		return r;
	}
	*ret = t;
	return 0;
}

static void end_all(struct tls_stream *list)
{
	struct tls_stream *next;

	for (; list; list = next) {
		next = list->next;
		end_stream(list);
	}
}

void tls_free(struct tls *t)
{
	static const uint64_t one = 1;

	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_mutex_unlock(&t->lock);
	(void)!write(t->wake, &one, sizeof(one));
	pthread_join(t->thread, NULL);
	end_all(t->queue);
	end_all(t->streams);
	free_parts(t);
}
