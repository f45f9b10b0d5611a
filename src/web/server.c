// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/syscall.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/ip.h"
#include "base/loop.h"
#include "kernel/sandbox.h"
#include "ops/graph.h"
#include "ops/metrics.h"
#include "web/assets.h"
#include "web/channel.h"
#include "web/listen.h"
#include "web/server.h"

#define CONNECTIONS_MAX 64
#define CONNECTION_TIMEOUT_S 30
#define STREAMS_MAX 32 /* of the connections, those that follow events */
#define FRESH_MS 200   /* for so long a look is good for everybody */
#define HEARTBEAT_MS 15000
#define RING 256 /* events that who is slow can still get */
#define STREAM_BLOCK 4096

/* Somebody who follows events. */
struct stream {
	TAILQ_ENTRY(stream) others;
	struct server *server;
	struct MHD_Connection *connection;
	uint64_t next;   /* event */
	bool waits;      /* suspended, until there is more to say */
	bool beats;      /* something is to be said, if there is nothing to say */
	struct buf text; /* not yet sent, from sent on */
	size_t sent;
};

struct server {
	struct MHD_Daemon *daemon;
	int channel;
	bool is_tcp;
	struct loop *loop;
	struct source http, words;
	int error;       /* of the channel: the end */
	struct buf look; /* the last one */
	uint64_t look_ms;
	char *events[RING];
	uint64_t n_events; /* so far; the last of them are in the ring */
	TAILQ_HEAD(streams, stream) streams;
	unsigned int n_streams;
	uint64_t beat_ms;
};

/* ---- Answers ---- */

/* What is not ours is not loaded, framed, or sent anything; and nothing of ours is kept. */
static const struct {
	const char *name, *value;
} headers[] = {
	{"Content-Security-Policy",
	 "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
	 "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
	{"X-Content-Type-Options", "nosniff"},
	{"X-Frame-Options", "DENY"},
	{"Referrer-Policy", "no-referrer"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Cache-Control", "no-store"},
};

/* Takes the response. */
static enum MHD_Result respond(struct MHD_Connection *c, unsigned int status, const char *type,
			       struct MHD_Response *response)
{
	enum MHD_Result r;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		MHD_add_response_header(response, headers[i].name, headers[i].value);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	r = MHD_queue_response(c, status, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result respond_text(struct MHD_Connection *c, unsigned int status, const char *type,
				    const char *text, size_t len)
{
	return respond(c, status, type,
		       MHD_create_response_from_buffer(len, (void *)text, MHD_RESPMEM_MUST_COPY));
}

static enum MHD_Result refuse(struct MHD_Connection *c, unsigned int status, const char *why)
{
	_free_ char *text = xasprintf("%s\n", why);

	return respond_text(c, status, "text/plain; charset=utf-8", text, strlen(text));
}

/* ---- The channel ---- */

static void wake(struct stream *s)
{
	if (s->waits)
		MHD_resume_connection(s->connection);
	s->waits = false;
}

static void add_event(struct server *s, const char *text)
{
	char **place = &s->events[s->n_events++ % RING];
	struct stream *each;

	free(*place);
	*place = xstrdup(text);
	TAILQ_FOREACH(each, &s->streams, others)
	wake(each);
}

/* One thing that is told. *ret_word 0: it was an event. */
static int hear(struct server *s, char *ret_word, struct buf *ret)
{
	int r = channel_hear(s->channel, ret_word, ret);

	if (r)
		s->error = r;
	if (r || *ret_word != CHANNEL_EVENT)
		return r;
	add_event(s, ret->data);
	*ret_word = 0;
	return 0;
}

static void on_words(void *arg, uint32_t events)
{
	_buf_ struct buf text = {0};
	char word;

	(void)events;
	hear(arg, &word, &text);
}

/* A look that is good enough, or why there is none (in text). */
static int get_look(struct server *s, struct buf *text)
{
	char word = 0;
	int r;

	if (s->look.len && clock_ms() - s->look_ms < FRESH_MS)
		return 0;
	r = channel_say(s->channel, CHANNEL_ASK);
	while (!r && !word)
		r = hear(s, &word, text);
	if (r || word != CHANNEL_LOOK)
		return r ? r : -EIO;
	buf_reset(&s->look);
	buf_add(&s->look, text->data, text->len);
	s->look_ms = clock_ms();
	return 0;
}

/* ---- Streams: text/event-stream (https://html.spec.whatwg.org/multipage/server-sent-events.html)
 * ---- */

/* Who has missed some has to look anew. */
static void fill(struct stream *s)
{
	const struct server *server = s->server;
	uint64_t first = server->n_events > RING ? server->n_events - RING : 0;

	buf_reset(&s->text);
	s->sent = 0;
	if (s->next < first) {
		buf_adds(&s->text, "event: lost\ndata: {}\n\n");
		s->next = first;
	}
	for (; s->next < server->n_events && s->text.len < STREAM_BLOCK; s->next++)
		buf_addf(&s->text, "data: %s\n\n", server->events[s->next % RING]);
	if (!s->text.len && s->beats)
		buf_adds(&s->text, ":\n\n");
	s->beats = false;
}

static ssize_t read_stream(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct stream *s = arg;
	size_t n;

	(void)pos;
	if (s->sent == s->text.len)
		fill(s);
	n = MIN(max, s->text.len - s->sent);
	if (n) {
		memcpy(buf, s->text.data + s->sent, n);
		s->sent += n;
	} else {
		s->waits = true;
		MHD_suspend_connection(s->connection);
	}
	return (ssize_t)n;
}

static void free_stream(void *arg)
{
	struct stream *s = arg;

	TAILQ_REMOVE(&s->server->streams, s, others);
	s->server->n_streams--;
	buf_done(&s->text);
	free(s);
}

/* A connection that waits does not notice that its other end is gone. */
static void beat(struct server *s)
{
	struct stream *each;

	if (clock_ms() - s->beat_ms < HEARTBEAT_MS)
		return;
	s->beat_ms = clock_ms();
	TAILQ_FOREACH(each, &s->streams, others)
	{
		each->beats = true;
		wake(each);
	}
}

/* The first thing it says shows that it is there. */
static enum MHD_Result serve_events(struct server *server, struct MHD_Connection *c)
{
	struct stream *s;

	if (server->n_streams >= STREAMS_MAX)
		return refuse(c, MHD_HTTP_SERVICE_UNAVAILABLE, "too many follow events already");
	s = xcalloc(1, sizeof(*s));
	*s = (struct stream){
		.server = server, .connection = c, .next = server->n_events, .beats = true};
	TAILQ_INSERT_TAIL(&server->streams, s, others);
	server->n_streams++;
	MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, 0U);
	return respond(c, MHD_HTTP_OK, "text/event-stream; charset=utf-8",
		       MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK,
							 read_stream, s, free_stream));
}

/* ---- What there is ---- */

static const struct {
	const char *path, *type;
	void (*put)(const json_t *doc, struct buf *ret); /* NULL: the look as it is */
} views[] = {
	{"/api/status", "application/json", NULL},
	{"/api/graph", "text/vnd.graphviz; charset=utf-8", graph_dot},
	{"/metrics", "text/plain; version=0.0.4; charset=utf-8", metrics_format},
};

static enum MHD_Result serve_view(struct server *s, struct MHD_Connection *c, size_t i)
{
	_buf_ struct buf text = {0};
	json_t *doc;

	if (get_look(s, &text))
		return refuse(c, MHD_HTTP_SERVICE_UNAVAILABLE, text.len ? text.data : "no answer");
	if (!views[i].put)
		return respond_text(c, MHD_HTTP_OK, views[i].type, s->look.data, s->look.len);
	doc = json_loadb(s->look.data, s->look.len, 0, NULL);
	buf_reset(&text);
	views[i].put(doc, &text);
	json_decref(doc);
	return respond_text(c, MHD_HTTP_OK, views[i].type, text.data ? text.data : "", text.len);
}

static enum MHD_Result serve_asset(struct MHD_Connection *c, const struct asset *a)
{
	return respond(c, MHD_HTTP_OK, a->type,
		       MHD_create_response_from_buffer((size_t)(a->end - a->start),
						       (void *)a->start, MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result serve_path(struct server *s, struct MHD_Connection *c, const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(views); i++)
		if (!strcmp(path, views[i].path))
			return serve_view(s, c, i);
	for (const struct asset *a = web_assets; a->path; a++)
		if (!strcmp(path, a->path))
			return serve_asset(c, a);
	if (!strcmp(path, "/api/events"))
		return serve_events(s, c);
	return refuse(c, MHD_HTTP_NOT_FOUND, "there is no such page");
}

/* A page from elsewhere may have its own name lead here, and then read what we say as its own (DNS
 * rebinding). It cannot make a browser say that the name was another one. */
static bool is_our_name(const char *host)
{
	char name[IP_STRLEN + 2];
	size_t len = strcspn(host, host[0] == '[' ? "]" : ":");
	struct ip ip;

	if (host[0] == '[') {
		host++;
		len--;
	}
	if (!len || len >= sizeof(name))
		return false;
	memcpy(name, host, len);
	name[len] = '\0';
	return !strcasecmp(name, "localhost") ||
	       (!ip_parse(name, &ip, NULL) && listen_is_loopback(&ip));
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *c, const char *path,
			      const char *method, const char *version, const char *data,
			      size_t *data_len, void **request)
{
	const char *host = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
	struct server *s = arg;

	(void)version;
	(void)data;
	(void)data_len;
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return refuse(c, MHD_HTTP_METHOD_NOT_ALLOWED, "here is only reading");
	if (s->is_tcp && (!host || !is_our_name(host)))
		return refuse(c, MHD_HTTP_MISDIRECTED_REQUEST,
			      "this is not the name of this machine");
	if (!*request) { /* an answer to the first call would end the connection */
		*request = s;
		return MHD_YES;
	}
	return serve_path(s, c, path);
}

/* ---- Confinement ---- */

static const int system_calls[] = {
#ifdef __NR_epoll_wait /* newer architectures have epoll_pwait() only */
	__NR_epoll_wait,
#endif
	__NR_epoll_pwait,   __NR_epoll_ctl,
	__NR_accept4,       __NR_read,
	__NR_write,         __NR_writev,
	__NR_recvfrom,      __NR_sendto,
	__NR_sendmsg,       __NR_shutdown,
	__NR_setsockopt,    __NR_getsockopt,
	__NR_fcntl,         __NR_close,
	__NR_clock_gettime, __NR_getrandom,
	__NR_futex,         __NR_mmap,
	__NR_munmap,        __NR_mremap,
	__NR_mprotect,      __NR_madvise,
	__NR_brk,           __NR_rt_sigprocmask,
	__NR_rt_sigreturn,  __NR_restart_syscall,
	__NR_exit_group,
};

static int confine(struct err *err)
{
	int r = sandbox_become_nobody(err);

	return r ? r : sandbox_syscalls(system_calls, ARRAY_SIZE(system_calls), err);
}

/* ---- Running ---- */

/* MHD_run() is called after each wait. */
static void on_http(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
}

static int start(struct server *s, int listener, struct err *err)
{
	const union MHD_DaemonInfo *info;
	int r = loop_new(&s->loop);

	s->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handle, s,
		MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_TIMEOUT_S, MHD_OPTION_END);
	if (!s->daemon)
		return err_set(err, ERR_FAILED, -EIO, "cannot start the web server");
	info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!r)
		r = loop_add(s->loop, &s->http, info->epoll_fd, EPOLLIN, on_http, NULL);
	if (!r)
		r = loop_add(s->loop, &s->words, s->channel, EPOLLIN, on_words, s);
	return r ? err_errno(err, r, "cannot wait for requests") : 0;
}

/* Until MHD has something to do of itself, or a heartbeat is due. */
static int timeout_ms(const struct server *s)
{
	MHD_UNSIGNED_LONG_LONG ms;
	int until = s->n_streams ? HEARTBEAT_MS : -1;

	if (MHD_get_timeout(s->daemon, &ms) != MHD_YES)
		return until;
	return until < 0 || ms < (MHD_UNSIGNED_LONG_LONG)until ? (int)MIN(ms, INT32_MAX) : until;
}

static void loop(struct server *s)
{
	while (!s->error) {
		if (loop_wait(s->loop, timeout_ms(s)))
			break;
		beat(s);
		MHD_run(s->daemon);
	}
}

int server_run(int listener, int channel, bool is_tcp, struct err *err)
{
	struct server s = {.channel = channel, .is_tcp = is_tcp, .beat_ms = clock_ms()};
	int r;

	TAILQ_INIT(&s.streams);
	signal(SIGPIPE, SIG_IGN);
	json_object_seed(0); /* reads /dev/urandom */
	r = start(&s, listener, err);
	if (!r)
		r = confine(err);
	if (!r && channel_say(channel, CHANNEL_READY))
		r = err_set(err, ERR_FAILED, -EPIPE, "nobody waits for the web server");
	if (!r)
		loop(&s);
	return r; /* the process ends, and with it what it has */
}
