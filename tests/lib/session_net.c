// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * src/ops/session.c without a process that watches over sessions:
 *
 *	session_net [-g GROUP] [-i INTERFACE] [-s SUBNET] [-r] [-f FILE] prepare NAME[:split]...
 *	session_net [-g GROUP] hold prepare...	the same, holding the group's lock until it is ended
 *	session_net remove [NAME...]		those rows, or all
 *	session_net exec NAME COMMAND...
 *	session_net list
 *
 * -r: routed, nat is off. `hold` says a line when it has begun to wait.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "ops/ops.h"
#include "ops/session.h"
#include "proc/pidlock.h"

static struct session_file file = {.path = (char *)"/etc/byway/test.yaml", .nat = true};
static struct err err;

static int complain(int r)
{
	if (r)
		fprintf(stderr, "session_net: %s\n", err.msg);
	return r ? (int)err.kind : 0;
}

static void read_specs(char *const names[], size_t n)
{
	file.sessions = xcalloc(n + 1, sizeof(*file.sessions));
	file.n_sessions = n;
	for (size_t i = 0; i < n; i++) {
		struct session_spec *spec = &file.sessions[i];
		const char *colon = strchrnul(names[i], ':');

		snprintf(spec->name, sizeof(spec->name), "%.*s", (int)(colon - names[i]), names[i]);
		spec->mode = !strcmp(colon, ":split") ? SESSION_SPLIT : SESSION_FULL;
	}
}

static void print(const struct session *s, size_t n)
{
	char addr[IP_STRLEN];

	for (size_t i = 0; i < n; i++)
		printf("%s %s %s %s %s %s\n", s[i].name, ip_format(&s[i].addr, addr),
		       s[i].veth_host, s[i].veth_ns, row_state_name(s[i].state), s[i].file);
}

static int do_prepare(struct ops *o, char *const args[], size_t n)
{
	struct session *made = NULL;
	int r;

	read_specs(args, n);
	r = ops_session_prepare(o, &file, NULL, NULL, &made, &err);
	if (!r)
		print(made, n);
	session_list_free(made, r ? 0 : n);
	free(file.sessions);
	return r;
}

static int do_remove(struct ops *o, char *const args[], size_t n)
{
	struct session *all = NULL;
	size_t n_all = 0;
	int r = session_list(o->st, NULL, &all, &n_all, &err);

	if (!r && !n)
		r = ops_session_remove(o, all, n_all, &err);
	session_list_free(all, n_all);
	for (size_t i = 0; !r && i < n; i++) {
		struct session s = {0};

		r = session_load(o->st, args[i], &s, &err);
		if (!r)
			r = ops_session_remove(o, &s, 1, &err);
		session_done(&s);
	}
	return r;
}

static int do_list(struct ops *o, char *const args[], size_t n)
{
	struct session *all = NULL;
	int r = session_list(o->st, NULL, &all, &n, &err);

	(void)args;
	if (!r)
		print(all, n);
	session_list_free(all, r ? 0 : n);
	return r;
}

static int do_exec(struct ops *o, char *const args[], size_t n)
{
	return n < 2 ? err_set(&err, ERR_USAGE, -EINVAL, "no command")
		     : ops_session_exec(o, args[0], args + 1, &err);
}

static const struct {
	const char *name;
	enum store_mode mode;
	int (*run)(struct ops *o, char *const args[], size_t n);
} verbs[] = {
	{"prepare", STORE_WRITE, do_prepare},
	{"remove", STORE_WRITE, do_remove},
	{"list", STORE_READ, do_list},
	{"exec", STORE_READ, do_exec},
};

static int run(char *const args[], size_t n)
{
	_ops_ struct ops o = {0};
	const char *backend = getenv("BYWAY_FIREWALL");
	int r = backend ? firewall_backend_parse(backend, &o.backend, &err) : 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(verbs[i].name, args[0]))
			continue;
		r = ops_open(&o, verbs[i].mode, &err);
		return r ? r : verbs[i].run(&o, args + 1, n - 1);
	}
	return r ? r : err_set(&err, ERR_USAGE, -EINVAL, "there is no '%s'", args[0]);
}

static int hold(char *const args[], size_t n)
{
	char path[256];
	int fd, r;

	snprintf(path, sizeof(path), SESSION_DIR "/%s.lock", file.group);
	r = pidlock_take(path, &fd, &err);
	if (!r)
		r = run(args, n);
	if (r)
		return r;
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

static int parse_options(int argc, char *argv[])
{
	int c;

	strcpy(file.group, "g");
	cidr_parse("10.200.0.0/24", &file.subnet, NULL);
	while ((c = getopt(argc, argv, "+g:i:s:rf:")) >= 0) {
		if (c == 'g')
			str_copy(file.group, sizeof(file.group), optarg);
		else if (c == 'i')
			str_copy(file.interface, sizeof(file.interface), optarg);
		else if (c == 's' && cidr_parse_network(optarg, &file.subnet, &err))
			return -EINVAL;
		else if (c == 'r')
			file.nat = false;
		else if (c == 'f')
			file.path = optarg;
	}
	return argc - optind;
}

int main(int argc, char *argv[])
{
	int n = parse_options(argc, argv);
	char **args = argv + optind;

	if (n < 1)
		return 2;
	if (!strcmp(args[0], "hold"))
		return complain(hold(args + 1, (size_t)n - 1));
	return complain(run(args, (size_t)n));
}
