// SPDX-License-Identifier: GPL-2.0-or-later
#include <fnmatch.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "ops/changes.h"
#include "ops/look.h"

/* What counts, and what is told as objects of its own: fnmatch(3) patterns of members. */
static const char *const left_out[] = {
	"rx_*",     "tx_*",    "bytes_*",     "addresses_*", "flows",
	"accepted", "refused", "unreachable", "retransmits", "connections",
	"agent",    "subnets", "vms",         "peers",       "nat",
};

static bool is_left_out(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(left_out); i++)
		if (!fnmatch(left_out[i], key, 0))
			return true;
	return false;
}

static json_t *without_counts(json_t *o)
{
	json_t *copy = json_object(), *v;
	const char *key;

	json_object_foreach(o, key, v)
	{
		if (!is_left_out(key))
			json_object_set(copy, key, v);
	}
	return copy;
}

static bool same(const json_t *a, const json_t *b)
{
	return a == b || json_equal(a, b);
}

/* Members as they were, null for those that were not there; NULL when all are the same. */
static json_t *find_former(json_t *before, json_t *after)
{
	json_t *was = json_object(), *v;
	const char *key;

	json_object_foreach(before, key, v)
	{
		if (!is_left_out(key) && !same(v, json_object_get(after, key)))
			json_object_set(was, key, v);
	}
	json_object_foreach(after, key, v)
	{
		if (!is_left_out(key) && !json_object_get(before, key))
			json_object_set_new(was, key, json_null());
	}
	if (json_object_size(was))
		return was;
	json_decref(was);
	return NULL;
}

struct comparison {
	json_t *others; /* of the other look, by kind and id; NULL when there is none */
	change_fn fn;
	void *arg;
};

static void tell(const struct comparison *c, const char *event, const struct look_object *o,
		 json_t *was)
{
	json_t *e = json_pack("{s:s, s:s, s:s, s:s, s:o}", "event", event, "kind", o->kind, "id",
			      o->id, "condition", look_text(o->json, "condition"), "object",
			      without_counts(o->json));

	if (was)
		json_object_set_new(e, "was", was);
	c->fn(c->arg, e);
}

static void tell_removed(void *arg, const struct look_object *o)
{
	const struct comparison *c = arg;
	char key[LOOK_KEY_MAX];

	if (!json_object_get(c->others, look_key(o, key)))
		tell(c, "removed", o, NULL);
}

static void tell_news(void *arg, const struct look_object *o)
{
	const struct comparison *c = arg;
	char key[LOOK_KEY_MAX];
	json_t *before = json_object_get(c->others, look_key(o, key));
	json_t *was = before ? find_former(before, o->json) : NULL;

	if (!before)
		tell(c, "added", o, NULL);
	else if (was)
		tell(c, "changed", o, was);
}

static void tell_present(void *arg, const struct look_object *o)
{
	tell(arg, "present", o, NULL);
}

void changes_find(const json_t *before, const json_t *after, change_fn fn, void *arg)
{
	struct comparison gone = {look_index(after), fn, arg}, came = {look_index(before), fn, arg};

	look_walk(before, tell_removed, &gone);
	look_walk(after, tell_news, &came);
	json_decref(gone.others);
	json_decref(came.others);
}

void changes_snapshot(const json_t *doc, change_fn fn, void *arg)
{
	struct comparison c = {NULL, fn, arg};

	look_walk(doc, tell_present, &c);
}

json_t *changes_line(json_int_t seq, json_t *event)
{
	char now[TIME_STRLEN];
	json_t *line = json_pack("{s:s, s:I, s:s}", "schema", "byway.event/1", "seq", seq, "time",
				 time_format(time(NULL), now));

	json_object_update(line, event);
	json_decref(event);
	return line;
}
