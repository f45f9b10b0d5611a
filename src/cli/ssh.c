// SPDX-License-Identifier: GPL-2.0-or-later
/* byway ssh status|down, and x2ssh. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/tunnel.h"

int cmd_ssh_down(struct cli *c)
{
	return cli_tunnel_down(c, "ssh");
}

int cmd_ssh_status(struct cli *c)
{
	static const struct cli_column columns[] = {
		{"TUNNEL", "name"},   {"STATE", "state"},
		{"SERVER", "server"}, {"AGENT", "agent.state"},
		{"TUN", "tun"},       {"FLOWS", "flows"},
		{"UP", "bytes_up"},   {"DOWN", "bytes_down"},
		{"PID", "pid"},       {"LAST FAILURE", "last_reason"},
	};

	return cli_tunnel_status(c, "ssh", columns, ARRAY_SIZE(columns));
}

/* ---- x2ssh --vpn USER@HOST OPTIONS ---- */

static const char *const x2ssh_names[][2] = {
	{"--vpn-dns", "--dns"},
	{"--vpn-exclude", "--exclude"},
	{"--vpn-mtu", "--mtu"},
	{"--vpn-tun-name", "--tun-name"},
};

/* "--vpn-dns=X" and "--vpn-dns" "X" alike. */
static char *translate(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(x2ssh_names); i++) {
		size_t len = strlen(x2ssh_names[i][0]);

		if (!strncmp(word, x2ssh_names[i][0], len) && (!word[len] || word[len] == '='))
			return xasprintf("%s%s", x2ssh_names[i][1], word + len);
	}
	return xstrdup(word);
}

int cli_x2ssh(struct cli *c, int argc, char **argv)
{
	char **words = xcalloc((size_t)argc + 3, sizeof(*words));
	_free_ char **args = xcalloc((size_t)argc + 3, sizeof(*args));
	bool vpn = false;
	int n = 0, r;

	words[n++] = xstrdup(argv[0]);
	words[n++] = xstrdup("ssh");
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--vpn"))
			vpn = true; /* the server's name follows, now or later */
		else
			words[n++] = translate(argv[i]);
	}
	c->program = "byway"; /* whose help and messages follow */
	memcpy(args, words, (size_t)n * sizeof(*words)); /* reading them changes them */
	r = vpn || argc < 2 || !strcmp(argv[1], "--help")
		    ? cli_run(c, n, args)
		    : err_set(&c->err, ERR_USAGE, -EINVAL,
			      "x2ssh: only --vpn USER@HOST is there; for a SOCKS proxy, ssh -D "
			      "does it");
	for (int i = 0; i < n; i++)
		free(words[i]);
	free(words);
	return r;
}
