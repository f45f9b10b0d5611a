/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When a session's openconnect is started, judged and started again. Reads no clock and does
 * nothing itself: it is told what happened and when, and says what to do next. See life.c for
 * states and rules.
 */
#ifndef BYWAY_SESSION_LIFE_H
#define BYWAY_SESSION_LIFE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "proc/backoff.h"
#include "session/openconnect.h"

enum session_state {
	SESSION_DOWN,     /* nothing is to run */
	SESSION_STARTING, /* it was not up yet, or not since it failed */
	SESSION_UP,
	SESSION_RECONNECTING, /* it was up, and is to be again */
	SESSION_ERROR,        /* given up, until somebody says so: authentication */
	SESSION_NUM_STATES,
};
const char *session_state_name(enum session_state s); /* "starting" */

/* One (server, user name): what its sessions share so that it is never locked. */
struct account {
	unsigned int max_failures; /* then nobody tries again; 0: any number */
	unsigned int failures;     /* authentications refused, in a row */
	unsigned int trying;       /* openconnects that are authenticating now */
	uint64_t accepted_ms; /* when one was accepted last; 0: never, or not since a failure */
};

/* What all sessions of a process share. */
struct starts {
	unsigned int limit, running; /* openconnects that have been started and are not up */
};

enum life_do {
	LIFE_WAIT,  /* nothing before *ret_at_ms (UINT64_MAX: nothing at all) */
	LIFE_START, /* start openconnect and say life_started(), or life_ended() if that fails */
	LIFE_STOP,  /* end openconnect, and say life_ended() when it has */
	LIFE_CHECK, /* ask through the tunnel, and say life_checked() */
};

struct life {
	struct account *account;
	struct starts *starts;
	const struct session_health *health;
	uint32_t connect_timeout_ms;
	struct backoff backoff;
	enum session_state state;
	bool running;        /* openconnect is */
	bool authenticating; /* counted in account->trying */
	bool starting;       /* counted in starts->running */
	bool connected;      /* the script has run */
	bool stopping, checking;
	unsigned int good, bad; /* checks in a row */
	unsigned int restarts;
	uint64_t next_ms;    /* what the present wait is for */
	uint64_t since_ms;   /* of the present state */
	enum end_class last; /* of the last end that was not asked for */
};

/* delay_ms: before the first start (jitter). */
void life_init(struct life *l, const struct session_spec *spec, struct account *a, struct starts *s,
	       uint64_t now_ms, uint32_t delay_ms);
/* To be asked after every call below, after any session of the same account or starts was told
 * something, and at *ret_at_ms. */
enum life_do life_next(struct life *l, uint64_t now_ms, uint64_t *ret_at_ms);

void life_started(struct life *l, uint64_t now_ms);
void life_authenticated(struct life *l, uint64_t now_ms);
void life_connected(struct life *l, uint64_t now_ms);
void life_reconnecting(struct life *l,
		       uint64_t now_ms); /* openconnect tries by itself; then life_connected() */
void life_checked(struct life *l, bool ok, uint64_t now_ms);
/* how: END_NONE when somebody asked for it, or it ended with a goodbye of its own accord. random:
 * for the backoff. */
void life_ended(struct life *l, enum end_class how, uint64_t now_ms, uint32_t random);
/* Somebody says: once more, now; the account's failures are forgiven. Running: it is stopped first.
 */
void life_restart(struct life *l, uint64_t now_ms);
/* Nothing is to run any more. */
void life_down(struct life *l, uint64_t now_ms);

#endif
