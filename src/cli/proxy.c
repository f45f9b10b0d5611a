// SPDX-License-Identifier: GPL-2.0-or-later
/* byway proxy down|status, and proxyvpn. */
#include <stdlib.h>
#include <string.h>

#include "cli/tunnel.h"

int cmd_proxy_down(struct cli *c)
{
	return cli_tunnel_down(c, "proxy");
}

int cmd_proxy_status(struct cli *c)
{
	static const struct cli_column columns[] = {
		{"TUNNEL", "name"}, {"STATE", "state"},
		{"PROXY", "proxy"}, {"PORT", "port"},
		{"TUN", "tun"},     {"FLOWS", "flows"},
		{"UP", "bytes_up"}, {"DOWN", "bytes_down"},
		{"PID", "pid"},     {"LAST FAILURE", "last_reason"},
	};

	return cli_tunnel_status(c, "proxy", columns, ARRAY_SIZE(columns));
}

/* Of proxyvpn's options, those that `down` has a use for; scripts pass the same ones to both. */
static int words_for_down(int argc, char **argv, char **words, int n)
{
	static const char *const flags[] = {"--verbose", "-v", "--dry-run", "--json"};

	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--state-dir", 11)) {
			words[n++] = argv[i];
			if (!strchr(argv[i], '=') && i + 1 < argc)
				words[n++] = argv[++i];
		}
		for (size_t k = 0; k < ARRAY_SIZE(flags); k++) {
			if (!strcmp(argv[i], flags[k]))
				words[n++] = argv[i];
		}
	}
	return n;
}

/* proxyvpn [up|down] OPTIONS; the word may stand first or last. */
int cli_proxyvpn(struct cli *c, int argc, char **argv)
{
	_free_ char **words = xcalloc((size_t)argc + 4, sizeof(*words));
	int ends[] = {1, argc - 1}, verb = 0, n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		if (ends[i] > 0 && (!strcmp(argv[ends[i]], "up") || !strcmp(argv[ends[i]], "down")))
			verb = ends[i];
	}
	words[n++] = argv[0];
	words[n++] = (char *)"proxy";
	words[n++] = verb ? argv[verb] : (char *)"up";
	c->program = "byway"; /* whose help and messages follow */
	if (verb && !strcmp(argv[verb], "down"))
		return cli_run(c, words_for_down(argc, argv, words, n), words);
	for (int i = 1; i < argc; i++) {
		if (i != verb)
			words[n++] = argv[i];
	}
	return cli_run(c, n, words);
}
