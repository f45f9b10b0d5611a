// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "kernel/sandbox.h"
#include "tunnel/engine.h"

struct thread {
	struct engine *engine;
	struct worker *worker; /* borrowed */
	pthread_t id;
	bool started;
	atomic_int error;
};

struct engine {
	struct worker *workers[ENGINE_WORKERS_MAX];
	struct thread threads[ENGINE_WORKERS_MAX];
	size_t n;
	struct dns *dns; /* NULL with DNS_BYPASS */
	void (*ended)(void *arg);
	void *arg;
};

size_t engine_workers(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);

	return (size_t)MIN(MAX(n, 1), ENGINE_WORKERS_MAX);
}

static void dns_failed(enum dial_status why, const char *reason, void *arg)
{
	const struct engine *e = arg;

	worker_note_failure(e->workers[0], why, reason);
}

static int add_dns(struct engine *e, const struct worker_config *w, struct dns_config c, int tun,
		   struct err *err)
{
	int r;

	if (c.mode == DNS_BYPASS)
		return 0;
	c.dialer = w->dialer;
	c.tun = tun;
	c.mtu = w->mtu;
	c.failed = dns_failed;
	c.arg = e;
	r = dns_new(&c, &e->dns);
	return r ? err_errno(err, r, "cannot answer DNS") : 0;
}

int engine_new(const struct worker_config *worker, const struct dns_config *dns, const int tuns[],
	       size_t n, struct engine **ret, struct err *err)
{
	struct engine *e = xcalloc(1, sizeof(*e));
	struct worker_config c = *worker;
	int r = add_dns(e, worker, *dns, tuns[0], err);

	c.dns = e->dns;
	for (size_t i = 0; i < n; i++) {
		c.tun = tuns[i];
		c.steps_dns = i == 0;
		if (r)
			close_p(&c.tun);
		else
			r = worker_new(&c, &e->workers[i], err);
		if (!r)
			e->n++;
	}
	if (r) {
		engine_free(e);
		return r;
	}
	for (size_t i = 0; i < n; i++)
		worker_set_peers(e->workers[i], e->workers, n);
	*ret = e;
	return 0;
}

/* For the marks of the dialers' sockets. */
static const int kept_caps[] = {CAP_NET_ADMIN};

static void *run(void *arg)
{
	struct thread *t = arg;
	struct err e;

	/* In this order: what gives up capabilities is none of a worker's system calls. */
	if (sandbox_keep_caps(kept_caps, ARRAY_SIZE(kept_caps), &e))
		log_warn("%s", e.msg);
	if (worker_confine(&e))
		log_warn("%s", e.msg);
	atomic_store(&t->error, worker_run(t->worker));
	t->engine->ended(t->engine->arg);
	return NULL;
}

int engine_start(struct engine *e, void (*ended)(void *arg), void *arg, struct err *err)
{
	e->ended = ended;
	e->arg = arg;
	for (size_t i = 0; i < e->n; i++) {
		struct thread *t = &e->threads[i];
		int r = fault_point("start the tunnel's thread");

		t->engine = e;
		t->worker = e->workers[i];
		if (!r)
			r = thread_start(&t->id, run, t);
		if (r)
			return err_errno(err, r, "cannot start the tunnel's thread");
		t->started = true;
	}
	return 0;
}

void engine_free(struct engine *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->n; i++)
		worker_stop(e->workers[i]);
	for (size_t i = 0; i < e->n; i++) {
		if (e->threads[i].started)
			pthread_join(e->threads[i].id, NULL);
	}
	for (size_t i = 0; i < e->n; i++)
		worker_free(e->workers[i]);
	dns_free(e->dns);
	free(e);
}

static void add_counters(struct tcp_counters *sum, const struct tcp_counters *c)
{
	sum->accepted += c->accepted;
	sum->refused += c->refused;
	sum->unreachable += c->unreachable;
	sum->resets += c->resets;
	sum->bytes_up += c->bytes_up;
	sum->bytes_down += c->bytes_down;
	sum->retransmits += c->retransmits;
	sum->out_of_order += c->out_of_order;
	sum->challenges += c->challenges;
	sum->no_room += c->no_room;
}

void engine_get_status(struct engine *e, struct worker_status *ret)
{
	uint64_t failed_ms = 0, judged_ms = 0;
	struct worker_status s;

	*ret = (struct worker_status){0};
	for (size_t i = 0; i < e->n; i++) {
		worker_get_status(e->workers[i], &s);
		add_counters(&ret->tcp, &s.tcp);
		ret->flows += s.flows;
		ret->dials += s.dials;
		ret->packets += s.packets;
		ret->ignored += s.ignored;
		if (s.failed_ms > failed_ms) {
			failed_ms = s.failed_ms;
			ret->last_failure = s.last_failure;
			memcpy(ret->last_reason, s.last_reason, sizeof(s.last_reason));
		}
		if (s.judged_ms >= judged_ms) {
			judged_ms = s.judged_ms;
			ret->proxy_failure = s.proxy_failure;
			ret->failed_target = s.failed_target;
		}
	}
	ret->failed_ms = failed_ms;
	ret->judged_ms = judged_ms;
}

int engine_error(struct engine *e)
{
	for (size_t i = 0; i < e->n; i++)
		if (atomic_load(&e->threads[i].error) < 0)
			return atomic_load(&e->threads[i].error);
	return 0;
}
