// SPDX-License-Identifier: GPL-2.0-or-later
/* byway session ..., and octotunnel's command line. */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/notify.h"
#include "cli/cli.h"
#include "cli/detach.h"
#include "cli/term.h"
#include "kernel/caps.h"
#include "ops/session.h"
#include "session/file.h"

#define SETTLE_S 60 /* --timeout's default */

/* NET_ADMIN and SYS_ADMIN for networks and namespaces, SYS_PTRACE for openconnect's TUN device,
 * NET_RAW for ARP and echo requests. */
static const int caps_to_run[] = {CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_NET_RAW};
static const int caps_to_ask[] = {CAP_NET_ADMIN, CAP_SYS_ADMIN};

/* ---- up ---- */

struct up {
	struct cli *c;
	const struct session_file *file;
	bool waits; /* --wait: the command ends when all are up */
	struct detached detached;
};

static void on_begun(void *arg)
{
	struct up *u = arg;

	if (u->waits)
		return;
	cli_say(u->c, "%zu session%s of %s %s starting", u->file->n_sessions,
		u->file->n_sessions == 1 ? "" : "s", u->file->group,
		u->file->n_sessions == 1 ? "is" : "are");
	cli_detach_done(&u->detached, 0);
}

static void on_settled(void *arg, const struct err *result)
{
	struct up *u = arg;

	notify_manager("READY=1");
	if (result->code)
		log_warn("%s", result->msg);
	else
		cli_say(u->c, "all sessions of %s are up", u->file->group);
	cli_detach_done(&u->detached, result->code ? (int)result->kind : 0);
}

static int read_file(struct cli *c, const char *path, struct session_file **ret)
{
	unsigned int count = 0;
	int r = cli_number(c, "count", 1, SESSIONS_MAX, 0, &count);

	return r ? r : session_file_read(path, count, ret, &c->err);
}

static int supervise(struct up *u)
{
	struct cli *c = u->c;
	_free_ char *self = realpath("/proc/self/exe", NULL);
	unsigned int timeout_s = SETTLE_S;
	struct supervise_config config = {.file = u->file,
					  .self = self,
					  .backend = c->backend,
					  .verbose = c->verbose,
					  .begun = on_begun,
					  .settled = on_settled,
					  .arg = u};
	int r = cli_number(c, "timeout", 1, 86400, SETTLE_S, &timeout_s);

	config.settle_ms = timeout_s * 1000;
	if (!r && !self)
		r = err_errno(&c->err, -errno, "cannot find out where byway is");
	return r ? r : ops_session_supervise(&config, &c->err);
}

static int plan(struct cli *c, const struct session_file *file)
{
	struct session *rows = NULL;
	int r = cli_open(c, STORE_WRITE);

	if (!r)
		r = ops_session_prepare(&c->ops, file, NULL, NULL, &rows, &c->err);
	if (!r) {
		session_list_free(rows, file->n_sessions);
		cli_print_operations(c, &c->ops.log);
	}
	return r;
}

/* The file is read in the background: whoever waits for that never has a password. */
int cmd_session_up(struct cli *c)
{
	_session_file_ struct session_file *file = NULL;
	struct up u = {.c = c, .waits = cli_opt(c, "wait"), .detached = IN_FOREGROUND};
	bool detaches = (u.waits || cli_opt(c, "detach")) && !c->dry_run;
	int r = detaches ? cli_detach(c, &u.detached) : 0;

	log_set_level(c->quiet ? LOG_LEVEL_WARN : c->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	if (!r)
		r = read_file(c, c->args[0], &file);
	u.file = file;
	if (!r && c->dry_run)
		return plan(c, file);
	if (!r)
		r = caps_require(caps_to_run, ARRAY_SIZE(caps_to_run), &c->err);
	return r ? r : supervise(&u);
}

int cmd_session_validate(struct cli *c)
{
	_session_file_ struct session_file *f = NULL;
	int r = read_file(c, c->args[0], &f);

	if (r)
		return r;
	cli_print_result(c, "byway.session.validate/1",
			 json_pack("{s:s, s:s, s:i}", "file", f->path, "group", f->group,
				   "sessions", (int)f->n_sessions),
			 "%s: %zu session%s of group %s", c->args[0], f->n_sessions,
			 f->n_sessions == 1 ? "" : "s", f->group);
	return 0;
}

/* ---- Looking ---- */

static const char *name_arg(const struct cli *c)
{
	return c->n_args ? c->args[0] : NULL;
}

static int print_list(struct cli *c, const char *schema, const struct cli_column *columns, size_t n)
{
	json_t *rows, *row;
	size_t i;
	int r = ops_session_status(name_arg(c), &rows, &c->err);

	if (r)
		return r;
	/* Of a list that is empty, a table has the number. */
	json_array_foreach(rows, i,
			   row) if (!c->json && !json_array_size(json_object_get(row, "addresses")))
		json_object_set_new(row, "addresses", json_null());
	cli_print_list(c, schema, "sessions", rows, columns, n);
	return 0;
}

int cmd_session_list(struct cli *c)
{
	static const struct cli_column columns[] = {
		{"SESSION", "name"},    {"STATE", "state"},      {"NAMESPACE", "namespace"},
		{"ADDRESS", "address"}, {"INSIDE", "addresses"},
	};

	return print_list(c, "byway.session.list/1", columns, ARRAY_SIZE(columns));
}

static int print_status(struct cli *c, void *arg)
{
	static const struct cli_column columns[] = {
		{"SESSION", "name"},
		{"STATE", "state"},
		{"SINCE", "since"},
		{"ADDRESS", "address"},
		{"INSIDE", "addresses"},
		{"SERVER", "server"},
		{"PROTOCOL", "protocol"},
		{"VIA", "transport"},
		{"IN", "bytes_in"},
		{"OUT", "bytes_out"},
		{"RESTARTS", "restarts"},
		{"NEXT TRY", "next_retry"},
		{"ERROR", "last_error.class"},
		{"REASON", "last_error.reason"},
	};

	(void)arg;
	return print_list(c, "byway.session.status/1", columns, ARRAY_SIZE(columns));
}

int cmd_session_status(struct cli *c)
{
	return cli_opt(c, "watch") ? term_watch(c, 1, print_status, NULL) : print_status(c, NULL);
}

/* tail(1) follows a file over its rotation. */
int cmd_session_logs(struct cli *c)
{
	_free_ char *path = NULL;
	unsigned int lines = 0;
	char number[16];
	const char *argv[] = {"tail", "-n", number, "-q", "--", NULL, NULL, NULL};
	int r = cli_number(c, "lines", 0, 1000000, 100, &lines);

	if (!r)
		r = ops_session_log_path(c->args[0], &path, &c->err);
	if (r)
		return r;
	snprintf(number, sizeof(number), "%u", lines);
	if (cli_opt(c, "follow")) {
		argv[4] = "-F";
		argv[5] = "--";
	}
	argv[cli_opt(c, "follow") ? 6 : 5] = path;
	execvp(argv[0], (char *const *)argv);
	return err_errno(&c->err, -errno, "cannot run tail");
}

/* ---- Doing ---- */

int cmd_session_exec(struct cli *c)
{
	int r = caps_require(caps_to_ask, ARRAY_SIZE(caps_to_ask), &c->err);

	if (!r)
		r = cli_open(c, STORE_READ);
	if (!r)
		r = ops_session_exec(&c->ops, c->args[0], c->args + 1, &c->err);
	if (!r)
		cli_print_operations(c, &c->ops.log);
	return r;
}

int cmd_session_restart(struct cli *c)
{
	int r = ops_session_restart(c->args[0], &c->err);

	if (!r)
		cli_print_result(c, "byway.session.restart/1",
				 json_pack("{s:s}", "name", c->args[0]), "session %s starts anew",
				 c->args[0]);
	return r;
}

int cmd_session_check(struct cli *c)
{
	int r = ops_session_check(c->args[0], &c->err);

	if (!r)
		cli_print_result(c, "byway.session.check/1",
				 json_pack("{s:s, s:b}", "name", c->args[0], "reached", 1),
				 "session %s is connected, and passes its check", c->args[0]);
	return r;
}

int cmd_session_hook(struct cli *c)
{
	return ops_session_hook(&c->err);
}

static int down(struct cli *c, const char *what, size_t *sum)
{
	size_t n = 0;
	int r = ops_session_down(&c->ops, what, &n, &c->err);

	*sum += n;
	return r;
}

int cmd_session_down(struct cli *c)
{
	bool all = cli_opt(c, "all");
	size_t sum = 0;
	int r;

	if (all != !c->n_args)
		return err_set(&c->err, ERR_USAGE, -EINVAL,
			       "name sessions, groups or files, or say --all%s",
			       all ? ", not both" : "");
	r = caps_require(caps_to_ask, ARRAY_SIZE(caps_to_ask), &c->err);
	c->ops.backend = c->backend;
	c->ops.log = (struct oplog){.echo = c->verbose, .dry_run = c->dry_run};
	if (!r && all)
		r = down(c, NULL, &sum);
	for (int i = 0; !r && i < c->n_args; i++)
		r = down(c, c->args[i], &sum);
	if (r)
		return r;
	cli_print_result(c, "byway.session.down/1", json_pack("{s:I}", "sessions", (json_int_t)sum),
			 sum ? "%zu session%s taken down" : "no such session: nothing to take down",
			 sum, sum == 1 ? "" : "s");
	return 0;
}

/* ---- octotunnel launch -c FILE | status | destroy ---- */

static const struct {
	const char *name, *verb, *options;
} octotunnel_commands[] = {
	{"launch", "up", "--wait"},
	{"status", "status", NULL},
	{"destroy", "down", "--all"},
};

static void octotunnel_help(void)
{
	puts("Usage: octotunnel launch -c FILE | status | destroy [-c FILE]\n\n"
	     "This is byway: `byway session --help` and byway-session(8) tell of its options.");
}

static const char *const *octotunnel_find(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(octotunnel_commands); i++)
		if (!strcmp(word, octotunnel_commands[i].name))
			return &octotunnel_commands[i].name;
	return NULL;
}

int cli_octotunnel(struct cli *c, int argc, char **argv)
{
	const char *const *command = argc > 1 ? octotunnel_find(argv[1]) : NULL;
	char **words = xcalloc((size_t)argc + 4, sizeof(*words));
	bool has_file = false;
	int n = 0, r;

	if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		octotunnel_help();
		free(words);
		return 0;
	}
	if (!command) {
		free(words);
		return err_set(&c->err, ERR_USAGE, -EINVAL,
			       "unknown command '%s': there are launch, status and destroy",
			       argv[1]);
	}
	words[n++] = argv[0];
	words[n++] = (char *)"session";
	words[n++] = (char *)command[1];
	for (int i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "-c") || !strcmp(argv[i], "--config"))
			has_file = true; /* the file follows */
		else
			words[n++] = argv[i];
	}
	if (command[2] && !(has_file && !strcmp(command[1], "down")))
		words[n++] = (char *)command[2];
	c->program = "byway"; /* whose help and messages follow */
	r = cli_run(c, n, words);
	free(words);
	return r;
}
