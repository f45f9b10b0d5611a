// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An HTTP CONNECT proxy that is not the bottleneck: splice(2) between two sockets, nothing else.
 *
 *   connect_proxy ADDR PORT [THREADS]      prints "ready", proxies until killed; two threads by default
 *
 * Targets are IPv4 and IPv6 literals; there is no authentication, no name, no limit. Each thread has a listener of its own
 * (SO_REUSEPORT) and an epoll set. A connection borrows a pipe for a direction as long as bytes are
 * in it, so that an idle one costs two sockets and a small struct.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX 2048
#define PIPE_BYTES (1 << 20)
#define PIPES_MAX 256 /* kept for reuse, a thread */
#define TURNS 16      /* of one connection before others have theirs */
#define EVENTS 256

static const char answer_ok[] = "HTTP/1.1 200 Connection established\r\n\r\n";
static const char answer_bad[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
static const char answer_dead[] = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";

enum state { READING, CONNECTING, RELAYING, OVER };

struct way {
	int pipe[2];
	size_t in_pipe;
	bool eof, shut;
};

struct connection {
	enum state state;
	int fd[2]; /* the client's, the target's */
	struct way way[2]; /* from fd[i] to fd[!i] */
	char *head;
	size_t head_len;
	bool queued;
	struct connection *next; /* in the queue of those that are not done, or of the dead */
};

struct loop {
	int epoll, listener;
	int pipes[PIPES_MAX][2];
	size_t n_pipes;
	struct connection *again, *dead;
};

_Noreturn static void die(const char *what)
{
	fprintf(stderr, "connect_proxy: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- pipes ---- */

static bool take_pipe(struct loop *l, struct way *w)
{
	if (w->pipe[0] >= 0)
		return true;
	if (l->n_pipes) {
		memcpy(w->pipe, l->pipes[--l->n_pipes], sizeof(w->pipe));
		return true;
	}
	if (pipe2(w->pipe, O_NONBLOCK | O_CLOEXEC)) {
		w->pipe[0] = w->pipe[1] = -1;
		return false;
	}
	fcntl(w->pipe[0], F_SETPIPE_SZ, PIPE_BYTES); /* smaller works, too */
	return true;
}

static void give_pipe(struct loop *l, struct way *w)
{
	if (w->pipe[0] < 0)
		return;
	if (!w->in_pipe && l->n_pipes < PIPES_MAX) {
		memcpy(l->pipes[l->n_pipes++], w->pipe, sizeof(w->pipe));
	} else {
		close(w->pipe[0]);
		close(w->pipe[1]);
	}
	w->pipe[0] = w->pipe[1] = -1;
}

/* ---- relaying ---- */

/* Freed at the end of the turn: events of this turn may still point at it. */
static void end(struct loop *l, struct connection *c)
{
	if (c->state == OVER)
		return;
	c->state = OVER;
	for (int i = 0; i < 2; i++) {
		give_pipe(l, &c->way[i]);
		if (c->fd[i] >= 0)
			close(c->fd[i]);
	}
	free(c->head);
	if (!c->queued) {
		c->next = l->dead;
		l->dead = c;
	}
}

/* One splice in, one out. 1: more may come; 0: wait for an event; -1: broken. */
static int move(struct loop *l, struct way *w, int from, int to)
{
	ssize_t n;

	if (!w->in_pipe && !w->eof) {
		if (!take_pipe(l, w))
			return -1;
		n = splice(from, NULL, w->pipe[1], NULL, PIPE_BYTES, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		w->eof = n == 0;
		w->in_pipe = (size_t)n;
	}
	if (w->in_pipe) {
		n = splice(w->pipe[0], NULL, to, NULL, w->in_pipe, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		w->in_pipe -= (size_t)n;
	}
	if (w->eof && !w->in_pipe && !w->shut) {
		w->shut = true;
		shutdown(to, SHUT_WR);
	}
	return w->eof && !w->in_pipe ? 0 : 1;
}

static void relay(struct loop *l, struct connection *c)
{
	bool more = false;

	for (int i = 0; i < 2; i++) {
		int r = 1;

		for (int turn = 0; turn < TURNS && r == 1; turn++)
			r = move(l, &c->way[i], c->fd[i], c->fd[!i]);
		if (r < 0) {
			end(l, c);
			return;
		}
		more = more || r == 1;
		if (!c->way[i].in_pipe)
			give_pipe(l, &c->way[i]);
	}
	if (c->way[0].shut && c->way[1].shut) {
		end(l, c);
	} else if (more && !c->queued) {
		c->queued = true;
		c->next = l->again;
		l->again = c;
	}
}

/* ---- the request ---- */

static bool watch(struct loop *l, struct connection *c, int fd)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return !epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e);
}

/* "CONNECT 192.0.2.1:80 HTTP/1.1", "CONNECT [2001:db8::1]:80 HTTP/1.1". */
static struct addrinfo *target(const char *head)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *ai = NULL;
	char host[64], port[8];

	if (sscanf(head, "CONNECT [%63[0-9a-fA-F:.]]:%7[0-9] ", host, port) != 2 &&
	    sscanf(head, "CONNECT %63[0-9.]:%7[0-9] ", host, port) != 2)
		return NULL;
	return getaddrinfo(host, port, &hints, &ai) ? NULL : ai;
}

static void say(struct loop *l, struct connection *c, const char *text)
{
	size_t len = strlen(text);

	if (send(c->fd[0], text, len, MSG_NOSIGNAL) != (ssize_t)len)
		end(l, c);
}

static void refuse(struct loop *l, struct connection *c, const char *text)
{
	say(l, c, text);
	end(l, c);
}

static void start_connecting(struct loop *l, struct connection *c)
{
	struct addrinfo *ai = target(c->head);

	if (!ai) {
		refuse(l, c, answer_bad);
		return;
	}
	c->fd[1] = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	c->state = CONNECTING;
	if (c->fd[1] < 0 || !watch(l, c, c->fd[1]) ||
	    (connect(c->fd[1], ai->ai_addr, ai->ai_addrlen) && errno != EINPROGRESS))
		refuse(l, c, answer_dead);
	freeaddrinfo(ai);
}

static void read_head(struct loop *l, struct connection *c)
{
	ssize_t n = recv(c->fd[0], c->head + c->head_len, HEAD_MAX - 1 - c->head_len, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		end(l, c);
		return;
	}
	c->head_len += (size_t)n;
	c->head[c->head_len] = '\0';
	if (strstr(c->head, "\r\n\r\n"))
		start_connecting(l, c);
	else if (c->head_len == HEAD_MAX - 1)
		refuse(l, c, answer_bad);
}

/* Bytes behind the request are for the target. */
static void finish_connecting(struct loop *l, struct connection *c)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(int), peer_len = sizeof(peer);
	const char *rest = strstr(c->head, "\r\n\r\n") + 4;
	size_t rest_len = c->head_len - (size_t)(rest - c->head);
	int error = 0;

	if (getsockopt(c->fd[1], SOL_SOCKET, SO_ERROR, &error, &len) || error) {
		refuse(l, c, answer_dead);
		return;
	}
	if (getpeername(c->fd[1], (struct sockaddr *)&peer, &peer_len))
		return; /* not yet */
	c->state = RELAYING;
	if (rest_len && send(c->fd[1], rest, rest_len, MSG_NOSIGNAL) != (ssize_t)rest_len) {
		end(l, c);
		return;
	}
	free(c->head);
	c->head = NULL;
	say(l, c, answer_ok);
}

static void step(struct loop *l, struct connection *c)
{
	if (c->state == READING)
		read_head(l, c);
	if (c->state == CONNECTING)
		finish_connecting(l, c);
	if (c->state == RELAYING)
		relay(l, c);
}

/* ---- the loop ---- */

static void accept_all(struct loop *l)
{
	int fd;

	while ((fd = accept4(l->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct connection *c = calloc(1, sizeof(*c));

		if (c)
			*c = (struct connection){.fd = {fd, -1},
						 .way = {{.pipe = {-1, -1}}, {.pipe = {-1, -1}}},
						 .head = malloc(HEAD_MAX)};
		if (!c || !c->head || !watch(l, c, fd))
			die("a connection"); /* this is a benchmark: better loud than wrong */
	}
}

static void requeue(struct loop *l)
{
	struct connection *c = l->again;

	l->again = NULL;
	while (c) {
		struct connection *next = c->next;

		c->queued = false;
		if (c->state == OVER) {
			c->next = l->dead;
			l->dead = c;
		} else {
			step(l, c);
		}
		c = next;
	}
}

static void bury(struct loop *l)
{
	while (l->dead) {
		struct connection *c = l->dead;

		l->dead = c->next;
		free(c);
	}
}

static void *run(void *arg)
{
	struct loop *l = arg;
	struct epoll_event events[EVENTS];

	for (;;) {
		int n = epoll_wait(l->epoll, events, EVENTS, l->again ? 0 : -1);

		for (int i = 0; i < n; i++) {
			struct connection *c = events[i].data.ptr;

			if (!c)
				accept_all(l);
			else if (c->state != OVER)
				step(l, c);
		}
		requeue(l);
		bury(l);
	}
	return NULL;
}

static int listen_at(const char *addr, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_NUMERICHOST | AI_PASSIVE}, *ai;
	int one = 1, fd;

	if (getaddrinfo(addr, port, &hints, &ai))
		die(addr);
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) ||
	    bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, 4096))
		die("listen");
	freeaddrinfo(ai);
	return fd;
}

static void start_loop(const char *addr, const char *port, pthread_t *thread)
{
	struct epoll_event e = {.events = EPOLLIN};
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		die("memory");
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	l->listener = listen_at(addr, port);
	if (l->epoll < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->listener, &e) ||
	    pthread_create(thread, NULL, run, l))
		die("a loop");
}

int main(int argc, char **argv)
{
	int threads = argc > 3 ? atoi(argv[3]) : 2;
	struct rlimit files;
	pthread_t thread;

	if (argc < 3 || threads < 1) {
		fprintf(stderr, "usage: connect_proxy ADDR PORT [THREADS]\n");
		return 2;
	}
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	signal(SIGPIPE, SIG_IGN);
	while (threads--)
		start_loop(argv[1], argv[2], &thread);
	puts("ready");
	fflush(stdout);
	pthread_join(thread, NULL);
	return 1;
}
