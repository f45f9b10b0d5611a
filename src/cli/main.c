// SPDX-License-Identifier: GPL-2.0-or-later
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"

/* Started under another tool's name, byway takes that tool's command line. */
static const struct {
	const char *name;
	int (*run)(struct cli *c, int argc, char **argv);
} personalities[] = {
	{"vpcctl", cli_vpcctl},
	{"octotunnel", cli_octotunnel},
	{"proxyvpn", cli_proxyvpn},
	{"x2ssh", cli_x2ssh},
};

static int run(struct cli *c, int argc, char **argv)
{
	const char *backend = getenv("BYWAY_FIREWALL");

	if (backend && firewall_backend_parse(backend, &c->backend, &c->err))
		return err_context(&c->err, "environment variable BYWAY_FIREWALL");
	for (size_t i = 0; i < ARRAY_SIZE(personalities); i++) {
		if (!strcmp(c->program, personalities[i].name))
			return personalities[i].run(c, argc, argv);
	}
	return cli_run(c, argc, argv);
}

/* So that no file that is opened later gets a closed one's number, and what is said of it. Writing fails. */
static void fill_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct cli c = {.program = argc > 0 ? basename(argv[0]) : "byway", .argv = argv};
	int r = 0;

	fill_standard_streams();
	if (argc > 1 && !strcmp(argv[1], "--version"))
		printf("byway %s\n", BYWAY_VERSION);
	else
		r = run(&c, argc, argv);
	ops_close(&c.ops);
	for (size_t i = 0; i < CLI_OPTS_MAX; i++)
		cli_free_secret(c.lists[i]);
	if ((fflush(stdout) || ferror(stdout)) && !r)
		r = err_set(&c.err, ERR_FAILED, -1, "cannot write to standard output");
	if (!r)
		return c.status;
	if (!*c.err.msg)
		err_errno(&c.err, r, "failed");
	log_error("%s", c.err.msg);
	return c.err.kind ? (int)c.err.kind : (int)ERR_FAILED;
}
