// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "ipam/ipam.h"
#include "store/store.h"

#define assert_ok(call) assert_ok_(call, &err, #call)

struct fixture {
	char dir[32];
	struct store *st;
};

static void assert_ok_(int r, const struct err *err, const char *call)
{
	if (r < 0)
		fail_msg("%s: %d: %s", call, r, err->msg);
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/byway-ipam-XXXXXX");
	*state = f;
	return !mkdtemp(f->dir) || store_open(f->dir, STORE_WRITE, &f->st, NULL) ||
	       store_begin(f->st, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int r = store_commit(f->st, NULL);

	store_free(f->st);
	r |= store_destroy(f->dir, NULL);
	free(f);
	return r;
}

static struct store *store(void **state)
{
	return ((struct fixture *)*state)->st;
}

static struct ip ip(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(text, &ip, NULL), 0);
	return ip;
}

static void add_pool(struct store *st, const char *first, const char *last)
{
	struct ip a = ip(first), b = ip(last);
	struct err err;

	assert_ok(ipam_pool_add(st, "p", &a, &b, &err));
}

static void assert_takes(struct store *st, const char *owner, const char *want)
{
	char text[IP_STRLEN];
	struct err err;
	struct ip got;

	assert_ok(ipam_lease_take(st, "p", owner, &got, &err));
	assert_string_equal(ip_format(&got, text), want);
}

static void release(struct store *st, const char *owner)
{
	struct err err;

	assert_ok(ipam_lease_release(st, "p", owner, &err));
}

static int64_t number(struct store *st, const char *sql)
{
	_stmt_ sqlite3_stmt *stmt = NULL;

	assert_int_equal(store_query(st, &stmt, NULL, sql, ""), 0);
	assert_int_equal(store_step(st, stmt, NULL), 1);
	return sqlite3_column_int64(stmt, 0);
}

static void test_order(void **state)
{
	struct store *st = store(state);
	struct ip got;

	add_pool(st, "10.0.0.2", "10.0.0.6");
	assert_takes(st, "a", "10.0.0.2");
	assert_takes(st, "b", "10.0.0.3");
	assert_takes(st, "c", "10.0.0.4");
	assert_takes(st, "a", "10.0.0.2"); /* what it holds */
	release(st, "b");
	release(st, "a");
	release(st, "a");
	assert_int_equal(ipam_lease_get(st, "p", "a", &got, NULL), -ENOENT);
	assert_takes(st, "d", "10.0.0.5"); /* never used */
	assert_takes(st, "a", "10.0.0.2"); /* what it held */
	assert_takes(st, "e", "10.0.0.6");
	release(st, "a");
	assert_takes(st, "f", "10.0.0.3"); /* freed longest ago */
	assert_takes(st, "b", "10.0.0.2"); /* its own went to f */
	assert_int_equal(ipam_lease_get(st, "p", "b", &got, NULL), 0);
}

static void test_exhaustion(void **state)
{
	struct store *st = store(state);
	struct ipam_usage usage;
	struct err err;
	struct ip got;

	add_pool(st, "192.168.7.1", "192.168.7.2"); /* the hosts of a /30 */
	assert_takes(st, "a", "192.168.7.1");
	assert_takes(st, "b", "192.168.7.2");
	assert_int_equal(ipam_lease_take(st, "p", "c", &got, &err), -ENOSPC);
	assert_string_equal(err.msg, "address pool p is used up: all 2 addresses of "
				     "192.168.7.1-192.168.7.2 are leased");
	assert_ok(ipam_pool_usage(st, "p", &usage, &err));
	assert_int_equal(usage.size, 2);
	assert_int_equal(usage.leased, 2);
	release(st, "a");
	assert_takes(st, "c", "192.168.7.1");
}

static void test_take_addr(void **state)
{
	struct store *st = store(state);
	struct ip one = ip("10.0.0.1"), five = ip("10.0.0.5"), nine = ip("10.0.0.9");
	struct ip outside = ip("10.0.0.10"), six = ip("fd00::1");
	struct err err;

	add_pool(st, "10.0.0.1", "10.0.0.9");
	assert_ok(ipam_lease_take_addr(st, "p", "a", &five, &err));
	assert_ok(ipam_lease_take_addr(st, "p", "a", &five, &err));
	assert_ok(ipam_lease_take_addr(st, "p", "b", &one, &err));
	assert_ok(ipam_lease_take_addr(st, "p", "c", &nine, &err));
	assert_int_equal(ipam_lease_take_addr(st, "p", "d", &five, &err), -EEXIST);
	assert_string_equal(err.msg, "10.0.0.5 is leased to a");
	assert_int_equal(ipam_lease_take_addr(st, "p", "a", &one, &err), -EEXIST);
	assert_string_equal(err.msg, "a already has 10.0.0.5 of address pool p");
	assert_int_equal(ipam_lease_take_addr(st, "p", "d", &outside, &err), -ERANGE);
	assert_int_equal(ipam_lease_take_addr(st, "p", "d", &six, &err), -ERANGE);
	/* Two ranges are left, whatever their order: the addresses but 1, 5 and 9. */
	assert_int_equal(number(st, "SELECT count(*) FROM ipam_free"), 2);
	release(st, "a");
	assert_ok(ipam_lease_take_addr(st, "p", "e", &five, &err));
	assert_int_equal(ipam_lease_take_addr(st, "q", "e", &five, &err), -ENOENT);
}

static void test_pools(void **state)
{
	struct store *st = store(state);
	struct ip a = ip("10.0.0.1"), b = ip("10.0.0.9"), c = ip("10.0.0.20"), got;
	struct ipam_usage usage;
	struct err err;

	add_pool(st, "10.0.0.1", "10.0.0.9");
	assert_takes(st, "x", "10.0.0.1");
	assert_ok(ipam_pool_add(st, "p", &a, &b, &err));
	assert_int_equal(ipam_pool_add(st, "p", &a, &c, &err), -EEXIST);
	assert_ok(ipam_pool_add(st, "q", &a, &b, &err)); /* same range, another pool */
	assert_ok(ipam_lease_take(st, "q", "y", &got, &err));
	assert_true(ip_equal(&got, &a));
	release(st, "x");
	assert_ok(ipam_pool_add(st, "p", &a, &c, &err));
	assert_ok(ipam_pool_usage(st, "p", &usage, &err));
	assert_int_equal(usage.size, 20);
	assert_int_equal(usage.leased, 0);
	assert_ok(ipam_pool_del(st, "p", &err));
	assert_ok(ipam_pool_del(st, "p", &err));
	assert_int_equal(ipam_pool_usage(st, "p", &usage, &err), -ENOENT);
	assert_int_equal(number(st, "SELECT count(*) FROM ipam_lease"), 1);
	assert_ok(ipam_pool_del(st, "q", &err));
	assert_int_equal(number(st, "SELECT count(*) FROM ipam_free"), 0);
}

static void assert_size(struct store *st, const char *first, const char *last, uint64_t size)
{
	struct ipam_usage usage;
	struct err err;

	add_pool(st, first, last);
	assert_ok(ipam_pool_usage(st, "p", &usage, &err));
	assert_true(usage.size == size);
}

static void test_sizes(void **state)
{
	struct store *st = store(state);

	assert_size(st, "10.0.0.1", "10.255.255.254", 16777214);
	assert_size(st, "10.0.0.255", "10.0.1.0", 2);
	assert_size(st, "0.0.0.0", "255.255.255.255", 1ULL << 32);
	assert_size(st, "fd00::1", "fd00::ffff:ffff:ffff:ffff", UINT64_MAX);
	assert_size(st, "fd00::2", "fd00::ffff:ffff:ffff:ffff", UINT64_MAX - 1);
	assert_size(st, "fd00::", "fd00::7fff:ffff:ffff:ffff", 1ULL << 63);
	assert_size(st, "fd00::ffff", "fd00:0:0:1::", 0xffffffffffff0002);
	assert_size(st, "fd00::", "fd00::1:0:0:0:0", UINT64_MAX);
	assert_size(st, "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", UINT64_MAX);
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

#define OWNERS 10000
#define SLICES 10
#define SLICE (OWNERS / SLICES)

typedef void step_fn(struct store *st, const char *owner);

static void take(struct store *st, const char *owner)
{
	struct ip got;

	assert_int_equal(ipam_lease_take(st, "p", owner, &got, NULL), 0);
}

/* Microseconds for each of a tenth of OWNERS steps: the fastest tenth of five. */
static double fastest_us(struct store *st, step_fn *step, const char *prefix, int first_slice)
{
	double best = 1e9;
	char owner[16];

	for (int s = first_slice; s < first_slice + SLICES / 2; s++) {
		double start = now_s();

		for (int i = s * SLICE; i < (s + 1) * SLICE; i++) {
			snprintf(owner, sizeof(owner), "%s%d", prefix, i);
			step(st, owner);
		}
		best = MIN(best, (now_s() - start) * 1e6 / SLICE);
	}
	return best;
}

/*
 * The pool first fills, then empties, then fills again with strangers while OWNERS former addresses
 * are remembered. What is linear in leases, in free ranges or in memories would make a step of the
 * later ones cost a hundred times the first; the factor leaves room for noise.
 */
static void assert_flat_cost(struct store *st, const char *first, const char *last)
{
	static const struct {
		const char *what, *prefix;
		step_fn *step;
		int slice;
	} rounds[] = {
		{"take, empty pool", "o", take, 0}, {"take", "o", take, SLICES / 2},
		{"release", "o", release, 0},       {"release", "o", release, SLICES / 2},
		{"take, strangers", "n", take, 0},  {"take, strangers", "n", take, SLICES / 2},
		{"take, who return", "o", take, 0}, {"release, strangers", "n", release, 0},
	};
	double us[ARRAY_SIZE(rounds)];

	add_pool(st, first, last);
	for (size_t i = 0; i < ARRAY_SIZE(rounds); i++) {
		us[i] = fastest_us(st, rounds[i].step, rounds[i].prefix, rounds[i].slice);
		print_message("# %s: %.1f us\n", rounds[i].what, us[i]);
	}
	for (size_t i = 1; i < ARRAY_SIZE(rounds); i++)
		assert_true(us[i] < 8 * us[0]);
}

static void test_flat_cost_in_a_slash_8(void **state)
{
	assert_flat_cost(store(state), "10.0.0.1", "10.255.255.254");
}

static void test_flat_cost_in_a_slash_64(void **state)
{
	assert_flat_cost(store(state), "fd00::1", "fd00::ffff:ffff:ffff:ffff");
}

/* Who comes and goes for ever does not make the database grow for ever. */
static void test_memory_is_bounded(void **state)
{
	struct store *st = store(state);
	char owner[16];
	struct ip got;

	add_pool(st, "10.0.0.1", "10.255.255.254");
	for (int i = 0; i < IPAM_MEMORY + 1000; i++) {
		snprintf(owner, sizeof(owner), "o%d", i);
		assert_int_equal(ipam_lease_take(st, "p", owner, &got, NULL), 0);
		release(st, owner);
	}
	assert_int_equal(number(st, "SELECT count(*) FROM ipam_free WHERE freed > 0"), IPAM_MEMORY);
	assert_int_equal(number(st, "SELECT freed FROM ipam_pool"), IPAM_MEMORY);
	/* Each one forgotten was the next to be given: the last of them waits at the front. */
	assert_int_equal(number(st, "SELECT count(*) FROM ipam_free WHERE freed = 0"), 2);
	assert_takes(st, "late", "10.0.3.232");
	assert_takes(st, "o1000", "10.0.3.233");
}

/* What is forgotten becomes one with the never-used addresses on either side of it. */
static void test_forgotten_ranges_merge(void **state)
{
	enum { FORGOTTEN = 3000 };
	struct store *st = store(state);
	char owner[16];

	add_pool(st, "10.0.0.1", "10.255.255.254");
	for (int i = 0; i < IPAM_MEMORY + FORGOTTEN; i++) {
		snprintf(owner, sizeof(owner), "o%d", i);
		take(st, owner);
	}
	/* Every third address of the first ones, then those behind them, then those between. */
	for (int i = 0; i < FORGOTTEN; i++) {
		snprintf(owner, sizeof(owner), "o%d", i * 3 % FORGOTTEN + i * 3 / FORGOTTEN);
		release(st, owner);
	}
	for (int i = FORGOTTEN; i < FORGOTTEN + IPAM_MEMORY; i++) {
		snprintf(owner, sizeof(owner), "o%d", i);
		release(st, owner);
	}
	assert_int_equal(number(st, "SELECT count(*) FROM ipam_free WHERE freed = 0"), 2);
	assert_int_equal(number(st, "SELECT count(*) FROM ipam_free"), IPAM_MEMORY + 2);
	assert_true(number(st, "SELECT first = x'0a000001' AND last = x'0a000bb8' FROM ipam_free"
			       " WHERE freed = 0 ORDER BY last LIMIT 1"));
}

/*
 * A simple model of a pool against the real one, for a long random sequence: who has what, and for
 * each address when it was freed and by whom. The numbers are small, so that all of it collides.
 */
#define ADDRS 97
#define MODEL_OWNERS 120
#define STEPS 100000

struct model {
	int holder[ADDRS];     /* -1: free */
	int last_owner[ADDRS]; /* -1: none */
	unsigned int freed[ADDRS];
	int held[MODEL_OWNERS]; /* -1: none */
	unsigned int clock, leased;
};

static int model_next(const struct model *m, int owner)
{
	int best = -1;

	for (int i = 0; i < ADDRS; i++)
		if (m->holder[i] < 0 && m->freed[i] && m->last_owner[i] == owner &&
		    (best < 0 || m->freed[i] > m->freed[best]))
			best = i;
	if (best >= 0)
		return best;
	for (int i = 0; i < ADDRS; i++)
		if (m->holder[i] < 0 && (best < 0 || m->freed[i] < m->freed[best]))
			best = i;
	return best;
}

static void model_take(struct model *m, int owner, int addr)
{
	m->holder[addr] = owner;
	m->held[owner] = addr;
	m->leased++;
}

static void model_release(struct model *m, int owner)
{
	int addr = m->held[owner];

	if (addr < 0)
		return;
	m->held[owner] = m->holder[addr] = -1;
	m->last_owner[addr] = owner;
	m->freed[addr] = ++m->clock;
	m->leased--;
}

static void step_take(struct store *st, struct model *m, const char *name, int owner,
		      const struct ip *base)
{
	int want = m->held[owner] >= 0 ? m->held[owner] : model_next(m, owner);
	struct ip got, expected;
	int r = ipam_lease_take(st, "p", name, &got, NULL);

	if (want < 0) {
		assert_int_equal(r, -ENOSPC);
		return;
	}
	assert_int_equal(r, 0);
	expected = ip_add(*base, (uint64_t)want);
	assert_true(ip_equal(&got, &expected));
	if (m->held[owner] < 0)
		model_take(m, owner, want);
}

static void step_take_addr(struct store *st, struct model *m, const char *name, int owner,
			   const struct ip *base)
{
	int addr = (int)(random() % ADDRS);
	struct ip want = ip_add(*base, (uint64_t)addr);
	int r = ipam_lease_take_addr(st, "p", name, &want, NULL);

	if (m->held[owner] == addr) {
		assert_int_equal(r, 0);
	} else if (m->held[owner] >= 0 || m->holder[addr] >= 0) {
		assert_int_equal(r, -EEXIST);
	} else {
		assert_int_equal(r, 0);
		model_take(m, owner, addr);
	}
}

/* Free ranges and leases side by side, in the order of addresses: no gap, no overlap. */
static void assert_partition(struct store *st, const struct ip *base)
{
	_stmt_ sqlite3_stmt *stmt = NULL;
	struct ip next = *base;
	size_t len = ip_len(base->family);
	int64_t covered = 0;

	assert_int_equal(store_query(st, &stmt, NULL,
				     "SELECT first, last, freed FROM ipam_free"
				     " UNION ALL SELECT addr, addr, -1 FROM ipam_lease ORDER BY 1",
				     ""),
			 0);
	while (store_step(st, stmt, NULL) == 1) {
		const uint8_t *last = sqlite3_column_blob(stmt, 1);

		assert_memory_equal(sqlite3_column_blob(stmt, 0), next.bytes, len);
		while (memcmp(next.bytes, last, len) <= 0 && covered <= ADDRS) {
			next = ip_add(next, 1);
			covered++;
		}
	}
	assert_int_equal(covered, ADDRS);
}

static void assert_agrees(struct store *st, const struct model *m, const struct ip *base)
{
	struct ipam_usage usage;

	assert_partition(st, base);
	assert_int_equal(ipam_pool_usage(st, "p", &usage, NULL), 0);
	assert_int_equal(usage.leased, m->leased);
	assert_int_equal(number(st, "SELECT count(*) FROM ipam_lease"), m->leased);
	assert_int_equal(number(st, "SELECT (SELECT freed FROM ipam_pool) ="
				    " (SELECT count(*) FROM ipam_free WHERE freed > 0)"),
			 1);
}

static void run_against_model(struct store *st, const char *first)
{
	struct ip base = ip(first), last = ip_add(base, ADDRS - 1);
	struct model m = {0};
	struct err err;
	char name[16];

	memset(m.holder, -1, sizeof(m.holder));
	memset(m.last_owner, -1, sizeof(m.last_owner));
	memset(m.held, -1, sizeof(m.held));
	assert_ok(ipam_pool_add(st, "p", &base, &last, &err));
	srandom(42);
	for (int i = 0; i < STEPS; i++) {
		int owner = (int)(random() % MODEL_OWNERS), what = (int)(random() % 10);

		snprintf(name, sizeof(name), "o%d", owner);
		if (what < 4) {
			step_take(st, &m, name, owner, &base);
		} else if (what < 5) {
			step_take_addr(st, &m, name, owner, &base);
		} else {
			release(st, name);
			model_release(&m, owner);
		}
		if (i % 1000 == 0)
			assert_agrees(st, &m, &base);
	}
	assert_agrees(st, &m, &base);
}

static void test_model_v4(void **state)
{
	run_against_model(store(state), "10.0.0.200"); /* carries into the third byte */
}

static void test_model_v6(void **state)
{
	run_against_model(store(state), "fd00::ffff:ffd0");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_order),
		T(test_exhaustion),
		T(test_take_addr),
		T(test_pools),
		T(test_sizes),
		T(test_flat_cost_in_a_slash_8),
		T(test_flat_cost_in_a_slash_64),
		T(test_memory_is_bounded),
		T(test_forgotten_ranges_merge),
		T(test_model_v4),
		T(test_model_v6),
	};

	return cmocka_run_group_tests_name("ipam", tests, NULL, NULL);
}
