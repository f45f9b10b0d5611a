// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "ops/look.h"

const char *look_text(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

json_int_t look_number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

struct walk {
	look_fn fn;
	void *arg;
};

static void give(const struct walk *w, const char *kind, json_t *json, json_t *vpc, const char *id)
{
	struct look_object o = {.kind = kind, .json = json, .vpc = vpc};

	snprintf(o.id, sizeof(o.id), "%s", id);
	w->fn(w->arg, &o);
}

/* "VPC/NAME" of each object of a list in a VPC. */
static void walk_part(const struct walk *w, json_t *vpc, const char *key, const char *kind)
{
	char id[LOOK_ID_MAX];
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(vpc, key), i, one)
	{
		bool is_container = !strcmp(look_text(one, "kind"), "veth");

		snprintf(id, sizeof(id), "%s/%s", look_text(vpc, "name"), look_text(one, "name"));
		give(w, is_container ? "container" : kind, one, vpc, id);
	}
}

/* Both VPCs have a peering; it is told with the first. */
static void walk_peers(const struct walk *w, json_t *vpc)
{
	char id[LOOK_ID_MAX];
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(vpc, "peers"), i, one)
	{
		snprintf(id, sizeof(id), "%s/%s", look_text(one, "a"), look_text(one, "b"));
		if (!strcmp(look_text(one, "a"), look_text(vpc, "name")))
			give(w, "peer", one, vpc, id);
	}
}

static void walk_vpc(const struct walk *w, json_t *vpc)
{
	json_t *nat = json_object_get(vpc, "nat");

	give(w, "vpc", vpc, NULL, look_text(vpc, "name"));
	if (json_is_object(nat))
		give(w, "nat", nat, vpc, look_text(vpc, "name"));
	walk_part(w, vpc, "subnets", "subnet");
	walk_part(w, vpc, "vms", "vm");
	walk_peers(w, vpc);
}

void look_walk(const json_t *doc, look_fn fn, void *arg)
{
	static const struct {
		const char *key, *kind;
	} lists[] = {{"interfaces", "interface"},
		     {"tunnels", "tunnel"},
		     {"sessions", "session"},
		     {"egresses", "egress"},
		     {"hosts", "host"}};
	const struct walk w = {fn, arg};
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(doc, "vpcs"), i, one) walk_vpc(&w, one);
	for (size_t k = 0; k < ARRAY_SIZE(lists); k++)
		json_array_foreach(json_object_get(doc, lists[k].key), i, one)
			give(&w, lists[k].kind, one, NULL, look_text(one, "name"));
}

static void index_object(void *arg, const struct look_object *o)
{
	char key[LOOK_KEY_MAX];

	json_object_set(arg, look_key(o, key), o->json);
}

json_t *look_index(const json_t *doc)
{
	json_t *index = json_object();

	look_walk(doc, index_object, index);
	return index;
}

const char *look_key(const struct look_object *o, char ret[LOOK_KEY_MAX])
{
	snprintf(ret, LOOK_KEY_MAX, "%s %s", o->kind, o->id);
	return ret;
}
