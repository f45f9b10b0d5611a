// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * A session wants one openconnect that is connected and through which checks come back. What is
 * seen of it:
 *
 *	state           openconnect                 leaves it for
 *	starting        none yet, or not up         up: connected, and checks passed
 *	up              runs, connected             reconnecting: it ended, or lost the server
 *	reconnecting    none, or not up             up, as above
 *	error           none                        starting: restarted, or the account is accepted
 *	any             -                           error: none runs and the account is closed
 *	any             -                           down: asked for; starting again: restarted
 *
 * Without a health check, connected is up. With one, checks are asked in quick succession until
 * `successes` of them passed, and at `interval` then; `failures` in a row are an end, of the class
 * stalled. So is not being up within the connect timeout, which begins with the start and with
 * openconnect's own attempts to reconnect: a server may take the connection and say nothing, for
 * ever.
 *
 * Invariants:
 *
 *  1. At most starts->limit openconnects are started and not connected. Being checked takes no
 *     place: a check that never passes disturbs nobody.
 *  2. One authentication of an account at a time, except for ACCOUNT_TRUST_MS after one was
 *     accepted. One that is refused ends the exception. Hence, of those that begin after the first
 *     that was refused, at most max_failures - 1 are refused, too.
 *  3. An account with max_failures refused in a row is closed: nobody authenticates, until somebody
 *     says life_restart(). Sessions that are up stay so.
 *  4. Two authentications of an account are apart_ms apart, and one after a refused one waits for
 *     the backoff of the session that was refused, whichever session tries.
 *  5. Between the end of an openconnect and the next start of the session lies its backoff, except
 *     when somebody asked for the end.
 *  6. Each order of life_next() is given once; after LIFE_START and until life_ended(), none but
 *     LIFE_CHECK and one LIFE_STOP.
 *
 * Backoff: doubling from min to max, anew when it was up for longer than max. What only a person
 * can mend, a certificate, waits for the longest from the start.
 */
#include <assert.h>

#include "base/util.h"
#include "session/life.h"

/* Between checks that have not passed yet. */
#define CHECK_QUICK_MS 1000

static const char *const state_names[] = {
	[SESSION_DOWN] = "down",   [SESSION_STARTING] = "starting",
	[SESSION_UP] = "up",       [SESSION_RECONNECTING] = "reconnecting",
	[SESSION_ERROR] = "error",
};
static_assert(ARRAY_SIZE(state_names) == SESSION_NUM_STATES, "every state has a name");

const char *session_state_name(enum session_state s)
{
	return state_names[s];
}

static void set_state(struct life *l, enum session_state state, uint64_t now_ms)
{
	if (l->state == state)
		return;
	l->state = state;
	l->since_ms = now_ms;
}

void life_init(struct life *l, const struct session_spec *spec, struct account *a, struct starts *s,
	       uint64_t now_ms, uint32_t delay_ms)
{
	*l = (struct life){
		.account = a,
		.starts = s,
		.health = &spec->health,
		.connect_timeout_ms = spec->connect_timeout_ms,
		.backoff = {.min_ms = spec->backoff_min_ms, .max_ms = spec->backoff_max_ms},
		.state = SESSION_STARTING,
		.since_ms = now_ms,
		.next_ms = now_ms + delay_ms,
	};
}

/* ---- the account ---- */

static bool account_is_closed(const struct account *a)
{
	return a->max_failures && a->failures >= a->max_failures;
}

static bool account_is_trusted(const struct account *a, uint64_t now_ms)
{
	return a->accepted_ms && now_ms - a->accepted_ms < ACCOUNT_TRUST_MS;
}

static void account_try(struct life *l, uint64_t now_ms)
{
	l->authenticating = true;
	l->account->trying++;
	l->account->not_before_ms = now_ms + l->account->apart_ms;
}

static void account_leave(struct life *l)
{
	if (l->authenticating)
		l->account->trying--;
	l->authenticating = false;
}

static void account_accepted(struct account *a, uint64_t now_ms)
{
	a->failures = 0;
	a->accepted_ms = now_ms;
}

static void account_refused(struct account *a, uint64_t again_ms)
{
	a->failures++;
	a->accepted_ms = 0;
	a->not_before_ms = MAX(a->not_before_ms, again_ms);
}

/* ---- what to do next ---- */

static enum life_do start(struct life *l, uint64_t now_ms)
{
	account_try(l, now_ms);
	l->starts->running++;
	l->restarts += l->deadline_ms != 0;
	l->running = l->starting = true;
	l->deadline_ms = now_ms + l->connect_timeout_ms;
	return LIFE_START;
}

/* A session that was given up comes back with the others once somebody had one of them restarted,
 * and the account was accepted. */
static bool is_given_up(struct life *l, uint64_t now_ms)
{
	if (account_is_closed(l->account))
		set_state(l, SESSION_ERROR, now_ms);
	else if (l->state == SESSION_ERROR && l->account->accepted_ms)
		set_state(l, SESSION_STARTING, now_ms);
	return l->state == SESSION_ERROR;
}

static enum life_do next_idle(struct life *l, uint64_t now_ms, uint64_t *ret_at_ms)
{
	const struct account *a = l->account;
	uint64_t at_ms = MAX(l->next_ms, a->not_before_ms);

	if (l->state == SESSION_DOWN || is_given_up(l, now_ms))
		return LIFE_WAIT;
	if (now_ms < at_ms) {
		*ret_at_ms = at_ms;
		return LIFE_WAIT;
	}
	if (l->starts->running >= l->starts->limit || (a->trying && !account_is_trusted(a, now_ms)))
		return LIFE_WAIT; /* until another session was told something */
	return start(l, now_ms);
}

static void end(struct life *l, enum end_class as)
{
	l->ending = true;
	l->ending_as = as;
}

static enum life_do next_ending(struct life *l)
{
	if (l->told)
		return LIFE_WAIT;
	l->told = true;
	return LIFE_STOP;
}

static enum life_do next_check(struct life *l, uint64_t now_ms, uint64_t *ret_at_ms)
{
	if (!l->connected || l->checking || l->health->probe == PROBE_NONE)
		return LIFE_WAIT;
	if (now_ms < l->check_ms) {
		*ret_at_ms = MIN(*ret_at_ms, l->check_ms);
		return LIFE_WAIT;
	}
	l->checking = true;
	l->check_ms = now_ms;
	return LIFE_CHECK;
}

static enum life_do next_running(struct life *l, uint64_t now_ms, uint64_t *ret_at_ms)
{
	if (l->state != SESSION_UP && now_ms >= l->deadline_ms && !l->ending)
		end(l, END_STALLED);
	if (l->ending)
		return next_ending(l);
	if (l->state != SESSION_UP)
		*ret_at_ms = l->deadline_ms;
	return next_check(l, now_ms, ret_at_ms);
}

enum life_do life_next(struct life *l, uint64_t now_ms, uint64_t *ret_at_ms)
{
	*ret_at_ms = UINT64_MAX;
	return l->running ? next_running(l, now_ms, ret_at_ms) : next_idle(l, now_ms, ret_at_ms);
}

/* ---- what happened ---- */

static void leave_starts(struct life *l)
{
	if (l->starting)
		l->starts->running--;
	l->starting = false;
}

static void come_up(struct life *l, uint64_t now_ms)
{
	set_state(l, SESSION_UP, now_ms);
	backoff_succeeded(&l->backoff, now_ms);
}

/* Down stays down, and what was not up yet still is not. */
static void lose(struct life *l, uint64_t now_ms)
{
	l->connected = l->checking = false;
	if (l->state == SESSION_UP)
		set_state(l, SESSION_RECONNECTING, now_ms);
}

void life_authenticated(struct life *l, uint64_t now_ms)
{
	if (!l->authenticating)
		return;
	account_leave(l);
	account_accepted(l->account, now_ms);
}

void life_connected(struct life *l, uint64_t now_ms)
{
	life_authenticated(l, now_ms);
	leave_starts(l);
	l->connected = true;
	l->good = l->bad = 0;
	l->check_ms = now_ms;
	if (l->health->probe == PROBE_NONE && !l->ending)
		come_up(l, now_ms);
}

/* The script is called anew for each attempt: the time is counted from the first. */
void life_reconnecting(struct life *l, uint64_t now_ms)
{
	if (!l->connected)
		return;
	lose(l, now_ms);
	l->deadline_ms = now_ms + l->connect_timeout_ms;
}

void life_checked(struct life *l, bool ok, uint64_t now_ms)
{
	const struct session_health *h = l->health;

	if (!l->checking || l->ending)
		return;
	l->checking = false;
	l->good = ok ? l->good + 1 : 0;
	l->bad = ok ? 0 : l->bad + 1;
	if (l->state != SESSION_UP && l->good >= h->successes)
		come_up(l, now_ms);
	if (l->state == SESSION_UP && l->bad >= h->failures)
		end(l, END_STALLED);
	l->check_ms +=
		l->state == SESSION_UP ? h->interval_ms : MIN(h->interval_ms, CHECK_QUICK_MS);
}

static uint32_t wait_after(struct life *l, enum end_class how, uint64_t now_ms, uint32_t random)
{
	uint32_t wait_ms = backoff_failed(&l->backoff, now_ms, random);
	struct backoff longest = {.min_ms = l->backoff.max_ms, .max_ms = l->backoff.max_ms};

	return how == END_CERTIFICATE ? backoff_failed(&longest, now_ms, random) : wait_ms;
}

/* What we ended ends as we meant it, except that credentials which were refused always count. */
static bool was_asked_for(const struct life *l, enum end_class how)
{
	return l->ending && l->ending_as == END_NONE && how != END_AUTH;
}

void life_ended(struct life *l, enum end_class how, uint64_t now_ms, uint32_t random)
{
	bool asked = was_asked_for(l, how);

	if (l->ending && how != END_AUTH)
		how = l->ending_as;
	account_leave(l);
	leave_starts(l);
	lose(l, now_ms);
	l->running = l->ending = l->told = false;
	if (how != END_NONE)
		l->last = how;
	l->next_ms = asked ? now_ms : now_ms + wait_after(l, how, now_ms, random);
	if (how == END_AUTH)
		account_refused(l->account, l->next_ms);
}

void life_restart(struct life *l, uint64_t now_ms)
{
	l->account->failures = 0;
	l->account->not_before_ms = MIN(l->account->not_before_ms, now_ms + l->account->apart_ms);
	l->backoff.failures = 0;
	l->next_ms = now_ms;
	if (l->running)
		end(l, END_NONE);
	if (l->state == SESSION_DOWN || l->state == SESSION_ERROR)
		set_state(l, SESSION_STARTING, now_ms);
}

void life_down(struct life *l, uint64_t now_ms)
{
	if (l->running)
		end(l, END_NONE);
	set_state(l, SESSION_DOWN, now_ms);
}
