/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One session under supervision: its openconnect, what it says, and what its script asks for. Does
 * what life.h decides.
 */
#ifndef BYWAY_SESSION_WATCH_H
#define BYWAY_SESSION_WATCH_H

#include <jansson.h>
#include <stdbool.h>
#include <time.h>

#include "base/err.h"
#include "base/line.h"
#include "base/loop.h"
#include "proc/child.h"
#include "session/health.h"
#include "session/life.h"
#include "session/secret.h"

struct control_request;
struct servers;
struct session_log;

/* What all of a group have in common. */
struct watch_group {
	struct loop *loop;
	struct servers *servers;
	const struct session_file *file;
	const char *socket; /* where the hook asks */
	const char *hook;   /* openconnect's --script */
	struct oplog *oplog;
};

/* What a session is waiting for, or has running. */
enum watch_phase {
	PHASE_NONE,
	PHASE_NAME,     /* the server's address */
	PHASE_PASSWORD, /* password_command */
	PHASE_CLIENT,   /* openconnect */
};

struct watch {
	const struct watch_group *group;
	const struct session_spec *spec;
	const struct session *row;
	struct life life;
	struct session_log *log;
	char server[254];  /* its name or address */
	bool is_name;      /* ...which it is */
	struct ip address; /* that openconnect is started with */

	enum watch_phase phase;
	struct child child;
	struct source ended, output;
	int output_fd;
	struct line line;
	struct openconnect_said said;
	struct secret secret; /* while openconnect needs it; never in the log */
	struct err broken;    /* what of ours failed: code 0 if nothing */
	uint64_t kill_ms;     /* if it has not ended by then; 0 */

	struct health health;
	struct source probe;
	uint64_t probe_until_ms;
	char complaint[256]; /* why openconnect would be ended for being stalled */
	int asker;           /* a connection that waits for a probe's result, or -1 */

	/* Of what the server said when it was connected last. */
	struct {
		struct ip addr4, addr6, gateway, dns[SESSION_DNS_MAX];
		size_t n_dns;
	} inside;

	/* Of what people see. */
	enum session_state shown;
	unsigned int shown_failures; /* of the account */
	time_t since;
	struct {
		enum end_class class;
		char reason[256];
		time_t at;
	} failure;
	bool is_news;
};

/* delay_ms: before the first start. */
int watch_init(struct watch *w, const struct watch_group *g, const struct session_spec *spec,
	       const struct session *row, struct account *a, struct starts *s, uint32_t delay_ms,
	       struct err *err);
/* Nothing of it runs any more. */
void watch_done(struct watch *w);

/* Does what is to be done now. True when something was, which may concern others of its account;
 * else *ret_at_ms is when there is something next. */
bool watch_step(struct watch *w, uint64_t now_ms, uint64_t *ret_at_ms);
bool watch_is_running(const struct watch *w);

/* openconnect's script was called. result->code 0: it may go on. */
void watch_hook(struct watch *w, const char *env, size_t len, struct err *result);
/* Asks through the tunnel at once, and answers at the connection, which it takes. */
void watch_check(struct watch *w, int connection);

/* As JSON: byway.session/1; bytes are the kernel's to tell. From then on, is_news is what is new
 * since. NULL when a text of it is not UTF-8. */
json_t *watch_describe(struct watch *w, uint64_t now_ms);

#endif
