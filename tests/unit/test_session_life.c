// SPDX-License-Identifier: GPL-2.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "session/file.h"
#include "session/life.h"

#define T0 100000u /* no clock begins with 0 */

static const struct session_spec plain = {
	.connect_timeout_ms = 60000, .backoff_min_ms = 1000, .backoff_max_ms = 64000};
static const struct session_spec checked = {.connect_timeout_ms = 60000,
					    .backoff_min_ms = 1000,
					    .backoff_max_ms = 64000,
					    .health = {.probe = PROBE_PING,
						       .interval_ms = 30000,
						       .timeout_ms = 3000,
						       .failures = 3,
						       .successes = 2}};

struct one {
	struct account account;
	struct starts starts;
	struct life life;
};

static void one_init(struct one *o, const struct session_spec *spec, uint32_t delay_ms)
{
	*o = (struct one){.account.max_failures = 2, .starts.limit = 16};
	life_init(&o->life, spec, &o->account, &o->starts, T0, delay_ms);
}

#define assert_next(l, now, want)                                                                  \
	do {                                                                                       \
		uint64_t at_;                                                                      \
		assert_int_equal(life_next((l), (now), &at_), (want));                             \
	} while (0)
#define assert_waits(l, now, until)                                                                \
	do {                                                                                       \
		uint64_t at_;                                                                      \
		assert_int_equal(life_next((l), (now), &at_), LIFE_WAIT);                          \
		assert_int_equal(at_, (until));                                                    \
	} while (0)
#define assert_state(l, want)                                                                      \
	assert_string_equal(session_state_name((l)->state), session_state_name(want))

static void test_plain(void **state)
{
	struct one o;

	(void)state;
	one_init(&o, &plain, 500);
	assert_waits(&o.life, T0, T0 + 500);
	assert_next(&o.life, T0 + 500, LIFE_START);
	assert_waits(&o.life, T0 + 500, T0 + 60500);
	assert_int_equal(o.account.trying, 1);
	assert_int_equal(o.starts.running, 1);
	life_authenticated(&o.life, T0 + 600);
	assert_int_equal(o.account.trying, 0);
	assert_state(&o.life, SESSION_STARTING);
	life_connected(&o.life, T0 + 700);
	assert_int_equal(o.starts.running, 0);
	assert_state(&o.life, SESSION_UP);
	assert_int_equal(o.life.since_ms, T0 + 700);
	assert_waits(&o.life, T0 + 1000000, UINT64_MAX);
	life_reconnecting(&o.life, T0 + 1000000);
	assert_state(&o.life, SESSION_RECONNECTING);
	assert_waits(&o.life, T0 + 1000000, T0 + 1060000);
	life_reconnecting(&o.life, T0 + 1010000); /* its second attempt */
	assert_waits(&o.life, T0 + 1010000, T0 + 1060000);
	life_connected(&o.life, T0 + 1020000);
	assert_state(&o.life, SESSION_UP);
	assert_int_equal(o.life.restarts, 0);
}

/* From half of the delay to all of it, doubling; anew after a long time up. */
static void test_backoff(void **state)
{
	struct one o;
	uint64_t now = T0;

	(void)state;
	one_init(&o, &plain, 0);
	for (uint32_t delay = 1000; delay <= 64000; delay *= 2) {
		assert_next(&o.life, now, LIFE_START);
		life_ended(&o.life, END_UNREACHABLE, now, 0);
		assert_waits(&o.life, now, now + delay / 2);
		now += delay / 2;
	}
	assert_int_equal(o.life.last, END_UNREACHABLE);
	assert_next(&o.life, now, LIFE_START);
	life_connected(&o.life, now);
	now += 64000;
	life_ended(&o.life, END_REFUSED, now, 0);
	assert_state(&o.life, SESSION_RECONNECTING);
	assert_waits(&o.life, now, now + 500);
	assert_int_equal(o.life.restarts, 7);
	assert_int_equal(o.starts.running, 0);
	assert_int_equal(o.account.trying, 0);
}

/* Only a person can mend that. */
static void test_certificate(void **state)
{
	struct one o;

	(void)state;
	one_init(&o, &plain, 0);
	assert_next(&o.life, T0, LIFE_START);
	life_ended(&o.life, END_CERTIFICATE, T0, 0);
	assert_waits(&o.life, T0, T0 + 32000);
}

/* A server that takes the connection and says nothing. */
static void test_timeout(void **state)
{
	struct one o;

	(void)state;
	one_init(&o, &plain, 0);
	assert_next(&o.life, T0, LIFE_START);
	assert_waits(&o.life, T0 + 59999, T0 + 60000);
	assert_next(&o.life, T0 + 60000, LIFE_STOP);
	assert_waits(&o.life, T0 + 60000, UINT64_MAX);
	life_ended(&o.life, END_UNREACHABLE, T0 + 60100, 0);
	assert_int_equal(o.life.last, END_STALLED);
	assert_waits(&o.life, T0 + 60100, T0 + 60600);
	assert_int_equal(o.account.failures, 0);
}

static void test_restart(void **state)
{
	struct one o;

	(void)state;
	one_init(&o, &plain, 0);
	assert_next(&o.life, T0, LIFE_START);
	life_connected(&o.life, T0);
	life_restart(&o.life, T0 + 10);
	assert_next(&o.life, T0 + 10, LIFE_STOP);
	life_restart(&o.life, T0 + 11);
	assert_waits(&o.life, T0 + 11, UINT64_MAX);
	life_ended(&o.life, END_NONE, T0 + 20, 0);
	assert_state(&o.life, SESSION_RECONNECTING);
	assert_next(&o.life, T0 + 20, LIFE_START);
	assert_int_equal(o.life.last, END_NONE);
	life_connected(&o.life, T0 + 30);
	life_ended(&o.life, END_NONE, T0 + 40, 0); /* somebody else's SIGTERM */
	assert_waits(&o.life, T0 + 40, T0 + 540);
	life_restart(&o.life, T0 + 41);
	assert_next(&o.life, T0 + 41, LIFE_START);
}

static void test_down(void **state)
{
	struct one o;

	(void)state;
	one_init(&o, &plain, 0);
	assert_next(&o.life, T0, LIFE_START);
	life_down(&o.life, T0 + 1);
	assert_state(&o.life, SESSION_DOWN);
	assert_next(&o.life, T0 + 1, LIFE_STOP);
	life_connected(&o.life, T0 + 2); /* too late */
	assert_state(&o.life, SESSION_DOWN);
	life_ended(&o.life, END_NONE, T0 + 3, 0);
	assert_waits(&o.life, T0 + 1000000, UINT64_MAX);
	assert_int_equal(o.starts.running, 0);
	assert_int_equal(o.account.trying, 0);
	life_restart(&o.life, T0 + 1000000);
	assert_state(&o.life, SESSION_STARTING);
	assert_next(&o.life, T0 + 1000000, LIFE_START);
}

static void check(struct life *l, bool ok, uint64_t now)
{
	assert_next(l, now, LIFE_CHECK);
	assert_next(l, now, LIFE_WAIT);
	life_checked(l, ok, now);
}

static void test_health(void **state)
{
	struct one o;

	(void)state;
	one_init(&o, &checked, 0);
	assert_next(&o.life, T0, LIFE_START);
	life_connected(&o.life, T0);
	assert_int_equal(o.starts.running, 0);
	check(&o.life, false, T0);
	check(&o.life, true, T0 + 1000);
	check(&o.life, false, T0 + 2000);
	check(&o.life, true, T0 + 3000);
	assert_state(&o.life, SESSION_STARTING);
	check(&o.life, true, T0 + 4000);
	assert_state(&o.life, SESSION_UP);
	assert_waits(&o.life, T0 + 4000, T0 + 34000);
	check(&o.life, false, T0 + 34000);
	check(&o.life, false, T0 + 64000);
	check(&o.life, true, T0 + 94000); /* not three in a row */
	for (uint64_t at = T0 + 124000; at <= T0 + 184000; at += 30000) {
		assert_state(&o.life, SESSION_UP);
		check(&o.life, false, at);
	}
	assert_next(&o.life, T0 + 184000, LIFE_STOP);
	life_ended(&o.life, END_NONE, T0 + 184100, 0);
	assert_state(&o.life, SESSION_RECONNECTING);
	assert_int_equal(o.life.last, END_STALLED);
	assert_waits(&o.life, T0 + 184100, T0 + 184600);
}

static void test_health_never(void **state)
{
	struct one o;
	uint64_t now = T0, at;

	(void)state;
	one_init(&o, &checked, 0);
	assert_next(&o.life, T0, LIFE_START);
	life_connected(&o.life, T0);
	for (enum life_do todo = LIFE_WAIT; todo != LIFE_STOP; now = MAX(now, at)) {
		todo = life_next(&o.life, now, &at);
		if (todo == LIFE_CHECK)
			life_checked(&o.life, false, now);
		at = todo == LIFE_WAIT ? at : now;
	}
	assert_int_equal(now, T0 + 60000);
	life_ended(&o.life, END_NONE, now, 0);
	assert_int_equal(o.life.last, END_STALLED);
}

/* What was asked before the tunnel was lost says nothing about the one of now. */
static void test_health_reconnect(void **state)
{
	struct one o;

	(void)state;
	one_init(&o, &checked, 0);
	assert_next(&o.life, T0, LIFE_START);
	life_connected(&o.life, T0);
	check(&o.life, true, T0);
	check(&o.life, true, T0 + 1000);
	assert_next(&o.life, T0 + 31000, LIFE_CHECK);
	life_reconnecting(&o.life, T0 + 31001);
	life_checked(&o.life, true, T0 + 31002);
	assert_state(&o.life, SESSION_RECONNECTING);
	assert_waits(&o.life, T0 + 31002, T0 + 91001);
	life_connected(&o.life, T0 + 32000);
	assert_state(&o.life, SESSION_RECONNECTING);
	check(&o.life, true, T0 + 32000);
	check(&o.life, true, T0 + 33000);
	assert_state(&o.life, SESSION_UP);
}

/* ---- several of an account ---- */

struct three {
	struct account account;
	struct starts starts;
	struct life life[3];
};

static void three_init(struct three *t, unsigned int limit)
{
	*t = (struct three){.account.max_failures = 2, .starts.limit = limit};
	for (size_t i = 0; i < 3; i++)
		life_init(&t->life[i], &plain, &t->account, &t->starts, T0, 0);
}

static void test_gate(void **state)
{
	struct three t;

	(void)state;
	three_init(&t, 16);
	assert_next(&t.life[0], T0, LIFE_START);
	assert_waits(&t.life[1], T0, UINT64_MAX);
	assert_waits(&t.life[2], T0, UINT64_MAX);
	life_authenticated(&t.life[0], T0 + 1);
	assert_next(&t.life[1], T0 + 1, LIFE_START);
	assert_next(&t.life[2], T0 + 1, LIFE_START);
	life_connected(&t.life[0], T0 + 2);
	life_connected(&t.life[1], T0 + 2);
	life_connected(&t.life[2], T0 + 2);
	for (size_t i = 0; i < 3; i++)
		life_ended(&t.life[i], END_REFUSED, T0 + 20000, 0);
	assert_next(&t.life[0], T0 + 21000, LIFE_START); /* that was long ago */
	assert_waits(&t.life[1], T0 + 21000, UINT64_MAX);
}

static void test_limit(void **state)
{
	struct three t;

	(void)state;
	three_init(&t, 1);
	assert_next(&t.life[0], T0, LIFE_START);
	life_authenticated(&t.life[0], T0 + 1);
	assert_waits(&t.life[1], T0 + 1, UINT64_MAX);
	life_connected(&t.life[0], T0 + 2);
	assert_next(&t.life[1], T0 + 2, LIFE_START);
	life_ended(&t.life[1], END_CRASHED, T0 + 3, 0);
	assert_next(&t.life[2], T0 + 3, LIFE_START);
}

/* Two refusals, whosever, and nobody tries again, but who is up stays so. */
static void test_closed(void **state)
{
	struct three t;

	(void)state;
	three_init(&t, 16);
	assert_next(&t.life[0], T0, LIFE_START);
	life_connected(&t.life[0], T0);
	assert_next(&t.life[1], T0 + 20000, LIFE_START);
	life_ended(&t.life[1], END_AUTH, T0 + 20000, 0);
	assert_waits(&t.life[2], T0 + 20000, T0 + 20500); /* not at once, either */
	assert_next(&t.life[2], T0 + 20500, LIFE_START);
	assert_waits(&t.life[1], T0 + 20500, UINT64_MAX);
	life_ended(&t.life[2], END_AUTH, T0 + 20600, 0);
	for (size_t i = 1; i < 3; i++) {
		assert_waits(&t.life[i], T0 + 900000, UINT64_MAX);
		assert_state(&t.life[i], SESSION_ERROR);
		assert_int_equal(t.life[i].last, END_AUTH);
	}
	assert_next(&t.life[0], T0 + 900000, LIFE_WAIT);
	assert_state(&t.life[0], SESSION_UP);

	/* Once more: it alone, and when that went well, all. */
	life_restart(&t.life[1], T0 + 900000);
	assert_waits(&t.life[2], T0 + 900000, UINT64_MAX);
	assert_next(&t.life[1], T0 + 900000, LIFE_START);
	assert_waits(&t.life[2], T0 + 900000, UINT64_MAX);
	assert_state(&t.life[2], SESSION_ERROR);
	life_authenticated(&t.life[1], T0 + 900001);
	assert_next(&t.life[2], T0 + 900001, LIFE_START);
	assert_state(&t.life[2], SESSION_STARTING);
}

/* What a process before left. */
static void test_closed_from_the_start(void **state)
{
	struct three t;

	(void)state;
	three_init(&t, 16);
	t.account.failures = 2;
	assert_waits(&t.life[0], T0, UINT64_MAX);
	assert_state(&t.life[0], SESSION_ERROR);
	t.account.max_failures = 0;
	life_restart(&t.life[0], T0);
	assert_next(&t.life[0], T0, LIFE_START);
	for (size_t i = 0; i < 10; i++) {
		life_ended(&t.life[0], END_AUTH, T0 + i * 100000, 0);
		assert_next(&t.life[0], T0 + i * 100000 + 99999, LIFE_START);
	}
}

/* A refusal in the middle of an end that was asked for is one, too. */
static void test_refused_while_stopping(void **state)
{
	struct one o;

	(void)state;
	one_init(&o, &plain, 0);
	assert_next(&o.life, T0, LIFE_START);
	life_restart(&o.life, T0);
	assert_next(&o.life, T0, LIFE_STOP);
	life_ended(&o.life, END_AUTH, T0, 0);
	assert_int_equal(o.account.failures, 1);
	assert_waits(&o.life, T0, T0 + 500);
}

static void test_one_time_codes(void **state)
{
	struct three t;

	(void)state;
	three_init(&t, 16);
	t.account.apart_ms = ACCOUNT_OTP_MS;
	assert_next(&t.life[0], T0, LIFE_START);
	life_connected(&t.life[0], T0 + 1);
	assert_waits(&t.life[1], T0 + 1, T0 + 30000);
	life_restart(&t.life[1], T0 + 2);
	assert_waits(&t.life[1], T0 + 2, T0 + 30000);
	assert_next(&t.life[1], T0 + 30000, LIFE_START);
	assert_waits(&t.life[2], T0 + 30000, T0 + 60000);
}

/* ---- 64 of an account, at random, against a model ---- */

#define LIVES 64
#define LIMIT 8
#define MAX_FAILURES 2

struct world {
	struct account account;
	struct starts starts;
	struct life life[LIVES];
	uint64_t at[LIVES];       /* when openconnect is to do its next step */
	unsigned int step[LIVES]; /* 0: none; 1: authenticates, 2: connects, 3: is connected */
	bool tried_late[LIVES];   /* began to authenticate after one was refused */
	uint64_t now;
	unsigned int seed;
	bool password_is_right, all_is_well;
	unsigned int refused_late; /* since one was accepted, or somebody said so */
	bool is_refused;
};

static unsigned int pick(struct world *w, unsigned int n)
{
	return (unsigned int)rand_r(&w->seed) % n;
}

static void forgive(struct world *w)
{
	w->refused_late = 0;
	w->is_refused = false;
	memset(w->tried_late, 0, sizeof(w->tried_late));
}

static void finish(struct world *w, size_t i, enum end_class how)
{
	w->step[i] = 0;
	life_ended(&w->life[i], how, w->now, pick(w, 1u << 30));
}

static void refuse(struct world *w, size_t i)
{
	w->refused_late += w->tried_late[i];
	w->is_refused = true;
	if (w->refused_late > MAX_FAILURES - 1)
		fail_msg("%u refused after the first", w->refused_late);
	finish(w, i, END_AUTH);
}

static void authenticate(struct world *w, size_t i)
{
	if (!w->all_is_well && pick(w, 4) == 0) {
		finish(w, i, (enum end_class)(END_CERTIFICATE + pick(w, 4)));
	} else if (!w->password_is_right) {
		refuse(w, i);
	} else {
		forgive(w);
		w->step[i] = 2;
		w->at[i] = w->now + pick(w, 500);
		life_authenticated(&w->life[i], w->now);
	}
}

static void step(struct world *w, size_t i)
{
	if (w->step[i] == 1) {
		authenticate(w, i);
	} else if (w->step[i] == 2) {
		w->step[i] = 3;
		w->at[i] = w->now + 1000 + pick(w, 100000);
		life_connected(&w->life[i], w->now);
	} else if (w->all_is_well) {
		w->at[i] = UINT64_MAX;
	} else if (pick(w, 3) == 0) {
		w->at[i] = w->now + pick(w, 90000);
		w->step[i] = 2;
		life_reconnecting(&w->life[i], w->now);
	} else {
		finish(w, i, (enum end_class)(END_UNREACHABLE + pick(w, 3)));
	}
}

static void model(const struct world *w)
{
	unsigned int trying = 0, starting = 0;

	for (size_t i = 0; i < LIVES; i++) {
		trying += w->step[i] == 1;
		starting += w->life[i].starting;
		assert_int_equal(w->life[i].running, w->step[i] != 0);
		if (w->life[i].state == SESSION_UP)
			assert_int_equal(w->step[i], 3);
	}
	assert_int_equal(w->account.trying, trying);
	assert_int_equal(w->starts.running, starting);
	assert_true(starting <= LIMIT);
}

static void begin(struct world *w, size_t i)
{
	assert_int_equal(w->step[i], 0);
	for (size_t k = 0; k < LIVES; k++)
		if (w->step[k] == 1 && w->is_refused)
			fail_msg("two try after one was refused");
	w->step[i] = 1;
	w->at[i] = w->now + pick(w, 2000);
	w->tried_late[i] = w->is_refused;
}

/* Until nothing is to be done now; returns when something is. */
static uint64_t settle(struct world *w)
{
	uint64_t at, next = UINT64_MAX;

	for (size_t i = 0; i < LIVES; i++) {
		enum life_do todo = life_next(&w->life[i], w->now, &at);

		if (todo == LIFE_START)
			begin(w, i);
		if (todo == LIFE_STOP)
			finish(w, i, END_NONE);
		if (todo != LIFE_WAIT)
			return w->now;
		next = MIN(next, at);
		if (w->step[i])
			next = MIN(next, w->at[i]);
	}
	return next;
}

static void disturb(struct world *w)
{
	unsigned int i = pick(w, LIVES);

	if (pick(w, w->password_is_right ? 2000 : 200) == 0)
		w->password_is_right = !w->password_is_right;
	if (pick(w, 1000) == 0)
		life_down(&w->life[i], w->now);
	if (pick(w, 20) == 0) {
		for (size_t k = 0; k < LIVES; k++)
			if (w->step[k] == 1)
				return; /* forgiven while some try: the model does not follow */
		forgive(w);
		life_restart(&w->life[i], w->now);
	}
}

static void run_until(struct world *w, uint64_t end_ms)
{
	while (w->now < end_ms) {
		uint64_t next = settle(w);

		model(w);
		w->now = MAX(w->now, MIN(next, w->now + 1000));
		for (size_t i = 0; i < LIVES; i++)
			if (w->step[i] && w->now >= w->at[i])
				step(w, i);
		if (!w->all_is_well)
			disturb(w);
	}
}

/* With everything well again, nobody is left behind. */
static void assert_all_come_up(struct world *w)
{
	w->all_is_well = w->password_is_right = true;
	forgive(w);
	for (size_t i = 0; i < LIVES; i++)
		life_restart(&w->life[i], w->now);
	run_until(w, w->now + 300000);
	for (size_t i = 0; i < LIVES; i++)
		assert_state(&w->life[i], SESSION_UP);
}

static void run_world(unsigned int seed, const struct session_spec *spec)
{
	struct world w = {.account.max_failures = MAX_FAILURES, .starts.limit = LIMIT};

	w.seed = seed;
	w.now = T0;
	w.password_is_right = seed % 2;
	for (size_t i = 0; i < LIVES; i++)
		life_init(&w.life[i], spec, &w.account, &w.starts, T0, pick(&w, 1000));
	run_until(&w, T0 + 3600000);
	assert_all_come_up(&w);
}

static void test_random(void **state)
{
	(void)state;
	for (unsigned int seed = 0; seed < 50; seed++)
		run_world(seed, &plain);
}

/* Everything is well from the start: up within the time that the places make necessary. */
static void test_quick(void **state)
{
	struct world w = {.account.max_failures = MAX_FAILURES, .starts.limit = LIMIT};

	(void)state;
	w.now = T0;
	w.password_is_right = w.all_is_well = true;
	for (size_t i = 0; i < LIVES; i++)
		life_init(&w.life[i], &plain, &w.account, &w.starts, T0, 0);
	run_until(&w, T0 + 2500 * (LIVES / LIMIT + 1));
	for (size_t i = 0; i < LIVES; i++) {
		assert_state(&w.life[i], SESSION_UP);
		assert_int_equal(w.life[i].restarts, 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_certificate),
		cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_down),
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_health_never),
		cmocka_unit_test(test_health_reconnect),
		cmocka_unit_test(test_gate),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_closed_from_the_start),
		cmocka_unit_test(test_refused_while_stopping),
		cmocka_unit_test(test_one_time_codes),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_quick),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
