// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "ops/prove.h"

#define SCHEMA "byway.prove/1"
#define STATE_LEN 768 /* of names of a whole list */

static const int statuses[] = {
	[PROVE_NO_LEAK] = 0,
	[PROVE_LEAK] = ERR_BLOCKED,
	[PROVE_NOT_PROVED] = ERR_FAILED,
};

static int dump(const json_t *doc, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = json_dumpfd(doc, fd, JSON_INDENT(2)) || write(fd, "\n", 1) != 1 || fsync(fd) ? -errno
											 : 0;
	close(fd);
	return r;
}

/* Nobody ever sees half of it. */
static int write_evidence(struct cli *c, const char *path, json_t *body)
{
	_free_ char *temporary = xasprintf("%s.%d", path, (int)getpid());
	json_t *doc = json_pack("{s:s}", "schema", SCHEMA);
	int r;

	json_object_update(doc, body);
	r = dump(doc, temporary);
	json_decref(doc);
	if (!r && rename(temporary, path))
		r = -errno;
	if (!r)
		return 0;
	if (r != -EEXIST)
		unlink(temporary);
	return err_errno(&c->err, r, "cannot write %s", path);
}

/* What is good for a line of a table. */
static json_t *line_of(const json_t *probe)
{
	json_t *line = json_deep_copy(probe);
	const json_t *outside = json_object_get(probe, "outside");
	const char *error = json_string_value(json_object_get(probe, "error"));
	char text[256] = "";
	size_t i;
	json_t *seen;

	json_array_foreach(outside, i, seen)
	{
		size_t len = strlen(text);

		snprintf(text + len, sizeof(text) - len, "%s%s", len ? "," : "",
			 json_string_value(json_object_get(seen, "interface")));
	}
	json_object_set_new(line, "seen", *text ? json_string(text) : json_null());
	json_object_set_new(line, "said", error ? json_string(error) : json_null());
	return line;
}

/* " (without bastion: by office)", or nothing. */
static const char *in_state(const json_t *of, char ret[STATE_LEN])
{
	const char *state = json_string_value(json_object_get(of, "state"));

	ret[0] = '\0';
	if (state)
		snprintf(ret, STATE_LEN, " (%s)", state);
	return ret;
}

static void print_workload(const json_t *w)
{
	static const struct cli_column columns[] = {
		{"PROBE", "probe"},    {"FAMILY", "family"}, {"DEVICE", "device"}, {"TO", "to"},
		{"RESULT", "verdict"}, {"SEEN AT", "seen"},  {"ERROR", "said"},
	};
	json_t *lines = json_array();
	char state[STATE_LEN];
	size_t i;
	json_t *probe, *at;

	printf("%s%s: %s\n", json_string_value(json_object_get(w, "name")), in_state(w, state),
	       json_string_value(json_object_get(w, "expected")));
	json_array_foreach(json_object_get(w, "watched"), i, at)
		printf("watched %s, controls seen: %d and %d of %d\n",
		       json_string_value(json_object_get(at, "interface")),
		       (int)json_integer_value(json_object_get(at, "seen_before")),
		       (int)json_integer_value(json_object_get(at, "seen_after")),
		       (int)json_integer_value(json_object_get(at, "controls")));
	json_array_foreach(json_object_get(w, "probes"), i, probe)
		json_array_append_new(lines, line_of(probe));
	cli_print_table(lines, columns, ARRAY_SIZE(columns));
	json_decref(lines);
}

static void print_leak(const json_t *leak)
{
	const char *source = json_string_value(json_object_get(leak, "source"));
	char state[STATE_LEN];

	printf("LEAK: %s%s: %s (%s) left by %s%s%s\n",
	       json_string_value(json_object_get(leak, "workload")), in_state(leak, state),
	       json_string_value(json_object_get(leak, "probe")),
	       json_string_value(json_object_get(leak, "family")),
	       json_string_value(json_object_get(leak, "interface")), source ? ", from " : "",
	       source ? source : "");
}

static void print_sentences(const char *title, const json_t *list)
{
	size_t i;
	json_t *text;

	if (!json_array_size(list))
		return;
	puts(title);
	json_array_foreach(list, i, text) printf("  - %s\n", json_string_value(text));
}

static void print_proof(const json_t *doc)
{
	size_t i;
	json_t *one;

	json_array_foreach(json_object_get(doc, "workloads"), i, one) print_workload(one);
	json_array_foreach(json_object_get(doc, "leaks"), i, one) print_leak(one);
	print_sentences("what kept it from being proved:", json_object_get(doc, "obstacles"));
	print_sentences("what this does not prove:", json_object_get(doc, "not_proved"));
	printf("result: %s\n", json_string_value(json_object_get(doc, "result")));
}

int cmd_prove(struct cli *c)
{
	const char *path = cli_opt(c, "output");
	enum prove_extent extent = cli_opt(c, "states") ? PROVE_STATES : PROVE_AS_IT_IS;
	enum prove_result result = PROVE_NOT_PROVED;
	json_t *doc = NULL;
	int r = 0;

	if (c->dry_run)
		r = err_set(
			&c->err, ERR_USAGE, -EINVAL,
			"nothing is proved without sending anything: --dry-run is not for this");
	if (!r)
		r = cli_open(c, STORE_READ);
	if (!r)
		r = ops_prove(&c->ops, c->args[0], extent, &doc, &result, &c->err);
	if (r)
		return r;
	if (path)
		r = write_evidence(c, path, doc);
	c->status = statuses[result];
	if (c->json) {
		cli_print_json(SCHEMA, doc);
		return r;
	}
	print_proof(doc);
	json_decref(doc);
	return r;
}
