// SPDX-License-Identifier: GPL-2.0-or-later
/* byway events: what changes, a line each, as it happens. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/term.h"
#include "ops/changes.h"
#include "ops/look.h"
#include "ops/watcher.h"

struct telling {
	struct cli *c;
	json_int_t seq;
};

/* "condition down -> up", of each member that is text on both sides. */
static void put_former(struct buf *b, const json_t *event)
{
	json_t *was = json_object_get(event, "was"), *v;
	const json_t *object = json_object_get(event, "object");
	const char *key;

	json_object_foreach(was, key, v)
	{
		const char *now = look_text(object, key);

		if (!strcmp(key, "state") || !strcmp(key, "since") || json_is_object(v))
			continue;
		buf_addf(b, "  %s ", key);
		if (json_is_string(v))
			term_put(b, TERM_PLAIN, json_string_value(v), 0, 0);
		buf_adds(b, json_is_string(v) ? " -> " : "-> ");
		term_put(b, TERM_PLAIN, *now ? now : "-", 0, 0);
	}
}

static void print_line(const json_t *event)
{
	const char *condition = look_text(event, "condition");
	_buf_ struct buf b = {0};

	buf_addf(&b, "%s  %-8s  ", look_text(event, "time"), look_text(event, "event"));
	term_put(&b, TERM_PLAIN, look_text(event, "kind"), 0, 0);
	buf_adds(&b, " ");
	term_put(&b, TERM_BOLD, look_text(event, "id"), 0, 0);
	buf_adds(&b, "  ");
	term_put(&b, term_colour_of(condition), condition, 0, 0);
	put_former(&b, event);
	puts(b.data);
}

static void tell(void *arg, json_t *event)
{
	struct telling *t = arg;
	json_t *line = changes_line(++t->seq, event);

	if (t->c->json) {
		json_dumpf(line, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		print_line(line);
	}
	json_decref(line);
}

/* False: nobody reads any more. */
static bool wait_for_news(const struct watcher *w)
{
	struct pollfd p[] = {{.fd = watcher_fd(w), .events = POLLIN}, {.fd = STDOUT_FILENO}};

	while (poll(p, ARRAY_SIZE(p), -1) < 0 && errno == EINTR)
		;
	return !p[1].revents;
}

static int follow(struct telling *t, struct watcher *w, struct look *before)
{
	while (!fflush(stdout) && wait_for_news(w)) {
		struct look now = {0};
		int r = watcher_look(w, &now, &t->c->err);

		if (r < 0)
			return r;
		if (!r)
			continue;
		changes_find(before->doc, now.doc, tell, t);
		look_done(before);
		*before = now;
	}
	return 0;
}

int cmd_events(struct cli *c)
{
	struct telling t = {.c = c};
	_watcher_ struct watcher *w = NULL;
	_look_ struct look look = {0};
	int r = watcher_new(&w, &c->err);

	if (!r)
		r = look_take(&look, &c->err);
	if (r)
		return r;
	if (cli_opt(c, "snapshot"))
		changes_snapshot(look.doc, tell, &t);
	return follow(&t, w, &look);
}
