// SPDX-License-Identifier: GPL-2.0-or-later
/* Rows of sessions, there and back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "session/session.h"
#include "store/store.h"

static char parent[32], dir[64];
static struct store *st;
static struct err err;

static int open_store(void **state)
{
	(void)state;
	strcpy(parent, "/tmp/byway-rows-XXXXXX");
	if (!mkdtemp(parent))
		return -1;
	snprintf(dir, sizeof(dir), "%s/run", parent);
	return store_open(dir, STORE_WRITE, &st, &err) || store_begin(st, &err);
}

static int close_store(void **state)
{
	(void)state;
	store_rollback(st);
	store_free(TAKE_PTR(st));
	return store_destroy(dir, &err) || rmdir(parent);
}

static struct session sample(const char *name, const char *group, const char *addr)
{
	struct session s = {.file = (char *)"/etc/byway/x.yaml",
			    .mode = SESSION_FULL,
			    .interface = "eth0",
			    .nat = true,
			    .created = "2025-01-02T03:04:05Z",
			    .state = ROW_CREATING};

	snprintf(s.name, sizeof(s.name), "%s", name);
	snprintf(s.group, sizeof(s.group), "%s", group);
	snprintf(s.netns, sizeof(s.netns), "%s", name);
	snprintf(s.carrier, sizeof(s.carrier), "%s.out", name);
	snprintf(s.veth_host, sizeof(s.veth_host), "veth-%s", name);
	snprintf(s.veth_ns, sizeof(s.veth_ns), "veth-%s-ns", name);
	assert_int_equal(ip_parse(addr, &s.addr, NULL), 0);
	return s;
}

static void insert(const struct session *s)
{
	if (session_insert(st, s, &err))
		fail_msg("%s", err.msg);
}

static void assert_same(const struct session *a, const struct session *b)
{
	assert_string_equal(a->name, b->name);
	assert_string_equal(a->group, b->group);
	assert_string_equal(a->file, b->file);
	assert_int_equal(a->mode, b->mode);
	assert_string_equal(a->netns, b->netns);
	assert_string_equal(a->carrier, b->carrier);
	assert_string_equal(a->veth_host, b->veth_host);
	assert_string_equal(a->veth_ns, b->veth_ns);
	assert_true(ip_equal(&a->addr, &b->addr));
	assert_string_equal(a->interface, b->interface);
	assert_int_equal(a->nat, b->nat);
	assert_string_equal(a->created, b->created);
	assert_int_equal(a->state, b->state);
}

static void what_was_put_comes_back(void **state)
{
	struct session full = sample("a", "g", "10.0.0.2"), split = sample("b", "g", "10.0.0.3");
	struct session got = {0};

	(void)state;
	split.mode = SESSION_SPLIT;
	split.carrier[0] = '\0';
	split.nat = false;
	insert(&full);
	insert(&split);
	assert_int_equal(session_load(st, "a", &got, &err), 0);
	assert_same(&got, &full);
	assert_string_equal(session_outer(&got), "a.out");
	session_done(&got);
	assert_int_equal(session_load(st, "b", &got, &err), 0);
	assert_same(&got, &split);
	assert_string_equal(session_outer(&got), "b");
	session_done(&got);
	assert_int_equal(session_load(st, "c", &got, &err), -ENOENT);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
}

static void lists_are_of_a_group(void **state)
{
	struct session a = sample("a", "g", "10.0.0.2"), b = sample("b", "h", "10.0.0.3");
	struct session *list = NULL;
	size_t n = 0;

	(void)state;
	insert(&b);
	insert(&a);
	assert_int_equal(session_list(st, NULL, &list, &n, &err), 0);
	assert_int_equal(n, 2);
	assert_string_equal(list[0].name, "a");
	session_list_free(list, n);
	assert_int_equal(session_list(st, "h", &list, &n, &err), 0);
	assert_int_equal(n, 1);
	assert_string_equal(list[0].name, "b");
	session_list_free(list, n);
}

static void states_change(void **state)
{
	struct session a = sample("a", "g", "10.0.0.2"), got = {0};

	(void)state;
	insert(&a);
	assert_int_equal(session_set_state(st, "a", ROW_ACTIVE, &err), 0);
	assert_int_equal(session_load(st, "a", &got, &err), 0);
	assert_int_equal(got.state, ROW_ACTIVE);
	session_done(&got);
	assert_int_equal(session_remove(st, "a", &err), 0);
	assert_int_equal(session_load(st, "a", &got, &err), -ENOENT);
	assert_int_equal(session_remove(st, "a", &err), 0);
}

static void an_address_is_one_sessions(void **state)
{
	struct session a = sample("a", "g", "10.0.0.2"), b = sample("b", "h", "10.0.0.2");

	(void)state;
	insert(&a);
	assert_int_equal(session_insert(st, &b, &err), -EEXIST);
}

#define T(test) cmocka_unit_test_setup_teardown(test, open_store, close_store)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_was_put_comes_back),
		T(lists_are_of_a_group),
		T(states_change),
		T(an_address_is_one_sessions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
