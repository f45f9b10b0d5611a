// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/ip.h"
#include "base/thread.h"
#include "base/util.h"
#include "kernel/netns.h"
#include "session/server.h"
#include "tunnel/dialer.h"

#define KEEP_MS 30000
#define KEEP_ERROR_MS 1000 /* until all who wait for it have asked */
#define ADDRS_MAX CONNECT_ADDRS_MAX

/* A thread's: it may outlive the struct servers that it works for. */
struct lookup {
	pthread_mutex_t lock;
	char *name;
	struct ip addrs[ADDRS_MAX];
	size_t n;
	int error; /* of getaddrinfo(3) */
	int fd;    /* where it tells that it is done; its own */
	bool done, abandoned;
	char netns[NETNS_NAME_MAX]; /* from where; "": getaddrinfo(3), from here */
	servers_resolve_fn resolve;
};

struct server {
	char *name;
	struct ip addrs[ADDRS_MAX];
	size_t n, next;
	uint64_t answered_ms;
	int error; /* of the last lookup */
	struct lookup *lookup;
};

struct servers {
	struct server *v;
	size_t n;
	int fd;
	char netns[NETNS_NAME_MAX];
	servers_resolve_fn resolve;
};

static void lookup_free(struct lookup *l)
{
	pthread_mutex_destroy(&l->lock);
	close(l->fd);
	free(l->name);
	free(l);
}

static void add_addr(struct lookup *l, const struct sockaddr *sa)
{
	struct ip ip = {.family = sa->sa_family};
	const void *bytes = sa->sa_family == AF_INET6
				    ? (const void *)&((const struct sockaddr_in6 *)sa)->sin6_addr
				    : (const void *)&((const struct sockaddr_in *)sa)->sin_addr;

	if (l->n == ADDRS_MAX || (sa->sa_family != AF_INET && sa->sa_family != AF_INET6))
		return;
	memcpy(ip.bytes, bytes, ip_len(ip.family));
	l->addrs[l->n++] = ip;
}

/* A session's way to the host is IPv4 (net.h): an address of the other family could not be reached.
 */
static void look_up(struct lookup *l)
{
	const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;

	l->error = getaddrinfo(l->name, NULL, &hints, &list);
	for (const struct addrinfo *a = l->error ? NULL : list; a; a = a->ai_next)
		add_addr(l, a->ai_addr);
	if (!l->error)
		freeaddrinfo(list);
}

/* By sockets of the namespace: it is this thread's until it ends. */
static void look_up_from(struct lookup *l)
{
	_netns_ struct netns *ns = NULL;
	struct connect_addrs addrs = {0};

	l->error = EAI_AGAIN;
	if (netns_open(l->netns, NULL, &ns, NULL) || netns_enter(ns))
		return;
	l->resolve(l->name, &addrs);
	for (unsigned int i = 0; i < addrs.n; i++)
		if (addrs.v[i].family == AF_INET)
			l->addrs[l->n++] = addrs.v[i];
	l->error = l->n ? 0 : EAI_NONAME;
}

static void *lookup_main(void *arg)
{
	struct lookup *l = arg;
	bool abandoned;

	if (*l->netns)
		look_up_from(l);
	else
		look_up(l);
	pthread_mutex_lock(&l->lock);
	l->done = true;
	abandoned = l->abandoned;
	if (!abandoned)
		eventfd_write(l->fd, 1);
	pthread_mutex_unlock(&l->lock);
	if (abandoned)
		lookup_free(l);
	return NULL;
}

static int lookup_start(const struct servers *s, const char *name, struct lookup **ret)
{
	struct lookup *l = xcalloc(1, sizeof(*l));
	pthread_t thread;
	int r;

	pthread_mutex_init(&l->lock, NULL);
	l->name = xstrdup(name);
	memcpy(l->netns, s->netns, sizeof(l->netns));
	l->resolve = s->resolve;
	l->fd = dup(s->fd);
	r = l->fd < 0 ? -errno : thread_start(&thread, lookup_main, l);
	if (r) {
		lookup_free(l);
		return r;
	}
	pthread_detach(thread);
	*ret = l;
	return 0;
}

/* Whoever comes later, the thread or we, frees it. */
static void lookup_abandon(struct lookup *l)
{
	bool done;

	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	done = l->done;
	l->abandoned = true;
	pthread_mutex_unlock(&l->lock);
	if (done)
		lookup_free(l);
}

int servers_new(struct servers **ret, struct err *err)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return err_errno(err, -errno, "cannot make an eventfd");
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->fd = fd;
	return 0;
}

void servers_ask_from(struct servers *s, const char *netns, servers_resolve_fn resolve)
{
	str_copy(s->netns, sizeof(s->netns), netns);
	s->resolve = resolve;
}

void servers_free(struct servers *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++) {
		lookup_abandon(s->v[i].lookup);
		free(s->v[i].name);
	}
	close(s->fd);
	free(s->v);
	free(s);
}

int servers_fd(const struct servers *s)
{
	return s->fd;
}

static void take_answer(struct server *v)
{
	struct lookup *l = v->lookup;
	bool done = false;

	if (l) {
		pthread_mutex_lock(&l->lock);
		done = l->done;
		pthread_mutex_unlock(&l->lock);
	}
	if (!done)
		return;
	v->error = l->error;
	v->answered_ms = clock_ms();
	v->n = l->n;
	memcpy(v->addrs, l->addrs, sizeof(v->addrs));
	v->lookup = NULL;
	lookup_free(l);
}

void servers_note(struct servers *s)
{
	eventfd_t n;

	(void)!eventfd_read(s->fd, &n);
	for (size_t i = 0; i < s->n; i++)
		take_answer(&s->v[i]);
}

static struct server *find(struct servers *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->v[i].name, name))
			return &s->v[i];
	s->v = xrealloc(s->v, s->n + 1, sizeof(*s->v));
	s->v[s->n] = (struct server){.name = xstrdup(name)};
	return &s->v[s->n++];
}

int servers_address(struct servers *s, const char *name, uint64_t now_ms, struct ip *ret,
		    struct err *err)
{
	struct server *v = find(s, name);
	int r;

	if (v->lookup)
		return -EAGAIN;
	if (v->error && now_ms < v->answered_ms + KEEP_ERROR_MS)
		return err_set(err, ERR_UNREACHABLE, -EHOSTUNREACH, "cannot resolve %s: %s", name,
			       gai_strerror(v->error));
	if (v->n && now_ms < v->answered_ms + KEEP_MS) {
		*ret = v->addrs[v->next++ % v->n];
		return 0;
	}
	r = lookup_start(s, name, &v->lookup);
	return r ? err_errno(err, r, "cannot resolve %s", name) : -EAGAIN;
}
