/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS to an upstream, for callers that want a plain descriptor: one end of a socket pair. A thread
 * does the handshake and moves the bytes between the other end and the network.
 */
#ifndef BYWAY_TUNNEL_TLS_H
#define BYWAY_TUNNEL_TLS_H

struct err;
struct tls;
struct tls_stream;

enum tls_state {
	TLS_HANDSHAKE, /* bytes written wait until the peer has proved who it is */
	TLS_UP,
	TLS_FAILED, /* the descriptor is at its end; tls_stream_reason() tells why */
};

/* Upstreams whose sessions are kept, by number. */
#define TLS_UPSTREAMS_MAX 8

/* ca_file: PEM, or NULL for the system's. Starts the thread, in the caller's namespace, with all
 * signals blocked, and confined to the system calls that it needs. */
int tls_new(const char *ca_file, struct tls **ret, struct err *err);
/* Ends every stream. */
void tls_free(struct tls *t);

/*
 * upstream: its number; host is the same in each call for it. Resumes the last session with it that
 * can be.
 * Takes over tcp_fd, non-blocking, whose connection may still be under way, even on failure. The
 * peer must have a certificate for host, a name or an address. *ret_fd, non-blocking, is the
 * caller's: a half-close goes through it both ways, and a connection that breaks gives ECONNRESET.
 * -errno.
 */
int tls_open(struct tls *t, int tcp_fd, unsigned int upstream, const char *host,
	     struct tls_stream **ret, int *ret_fd);
enum tls_state tls_stream_state(const struct tls_stream *s);
/* When TLS_FAILED: a sentence without a subject, "has a certificate that expired on ...". */
const char *tls_stream_reason(const struct tls_stream *s);
/* When TLS_FAILED: the errno of a TCP connection that never stood, or 0. */
int tls_stream_error(const struct tls_stream *s);
/* The caller needs neither state nor reason any more; the stream lives as long as its
 * descriptor. */
void tls_stream_release(struct tls_stream *s);

#endif
