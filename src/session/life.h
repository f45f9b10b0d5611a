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

#include "proc/backoff.h"
#include "session/openconnect.h"

enum session_state {
	SESSION_DOWN,     /* nothing is to run */
	SESSION_STARTING, /* it was not up yet, or not since it was given up */
	SESSION_UP,
	SESSION_RECONNECTING, /* it was up, and is to be again */
	SESSION_ERROR,        /* given up: the account's credentials were refused */
	SESSION_NUM_STATES,
};
const char *session_state_name(enum session_state s); /* "starting" */

/* One (server, user name): what its sessions share so that it is never locked. Zeroed but for the
 * first two by whoever makes it; failures may be what a process before left. */
struct account {
	unsigned int max_failures; /* then nobody tries again; 0: any number */
	uint32_t apart_ms;         /* between two authentications: ACCOUNT_OTP_MS, or 0 */
	unsigned int failures;     /* authentications refused, in a row */
	unsigned int trying;       /* openconnects that are authenticating now */
	uint64_t accepted_ms;   /* when one was accepted last; 0: never, or not since a failure */
	uint64_t not_before_ms; /* nobody authenticates earlier */
};

/* For so long after the account was accepted, others authenticate without waiting for each other:
 * enough for many that start at once, and little time for a password to be changed in. */
#define ACCOUNT_TRUST_MS 10000
/* A code is valid for a time step of 30 s, and for one login (RFC 6238, 5.2). */
#define ACCOUNT_OTP_MS 30000

/* What all sessions of a process share. */
struct starts {
	unsigned int limit, running; /* openconnects that were started and are not connected */
};

enum life_do {
	LIFE_WAIT,  /* nothing before *ret_at_ms (UINT64_MAX: nothing at all) */
	LIFE_START, /* start openconnect; say life_ended() when it has ended or cannot be started */
	LIFE_STOP,  /* end openconnect, or its start, and say life_ended() when that is done */
	LIFE_CHECK, /* ask through the tunnel, and say life_checked() */
};

struct life {
	struct account *account;
	struct starts *starts;
	const struct session_health *health;
	uint32_t connect_timeout_ms;
	struct backoff backoff;
	enum session_state state;
	uint64_t since_ms;     /* of the present state */
	enum end_class last;   /* of the last end that nobody asked for */
	unsigned int restarts; /* starts but the first */
	uint64_t next_ms;      /* when it may be started, while !running */
	/* Of the openconnect that runs, or is being started: */
	bool running;
	bool authenticating;      /* counted in account->trying */
	bool starting;            /* counted in starts->running */
	bool connected;           /* the script has run */
	bool ending;              /* it is to end, and if that has been said: */
	bool told;                /* LIFE_STOP */
	enum end_class ending_as; /* END_NONE: somebody asked for it */
	uint64_t deadline_ms;     /* to be up until then; 0: it was never started */
	bool checking;            /* LIFE_CHECK has been said */
	unsigned int good, bad;   /* checks in a row */
	uint64_t check_ms;        /* when the next one is due; when the one under way began */
};

/* delay_ms: before the first start (jitter). spec, a and s outlive l. */
void life_init(struct life *l, const struct session_spec *spec, struct account *a, struct starts *s,
	       uint64_t now_ms, uint32_t delay_ms);
/* To be asked after every call below, after any session of the same account or starts was told
 * something, and at *ret_at_ms. What is to be done is said once. */
enum life_do life_next(struct life *l, uint64_t now_ms, uint64_t *ret_at_ms);

/* The credentials were accepted. */
void life_authenticated(struct life *l, uint64_t now_ms);
/* The script has run for connect or reconnect. */
void life_connected(struct life *l, uint64_t now_ms);
/* openconnect has lost the server and tries by itself; then life_connected(), or life_ended(). A
 * check under way counts no more. */
void life_reconnecting(struct life *l, uint64_t now_ms);
void life_checked(struct life *l, bool ok, uint64_t now_ms);
/* how: openconnect_ended()'s word; END_NONE when it ended with a goodbye. Not needed to be right
 * after LIFE_STOP. random: for the backoff. */
void life_ended(struct life *l, enum end_class how, uint64_t now_ms, uint32_t random);
/* Somebody says: once more, now. The account's failures are forgiven. What runs is stopped first.
 */
void life_restart(struct life *l, uint64_t now_ms);
/* Nothing is to run any more. */
void life_down(struct life *l, uint64_t now_ms);

#endif
