// SPDX-License-Identifier: GPL-2.0-or-later
/* byway ssh [USER@]HOST, ssh check. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/tunnel.h"
#include "ops/ssh.h"

#define WORDS_MAX 64

/* ---- How ssh is called ---- */

/* Ours whose values are ssh's own options. */
static const char *const passed_on[][2] = {
	{"config", "-F"}, {"identity", "-i"}, {"port", "-p"}, {"jump", "-J"}, {"option", "-o"},
};

struct words {
	char *text[WORDS_MAX + 1]; /* ends with NULL; owned */
	size_t n;
};

static int add_word(struct cli *c, struct words *w, const char *word)
{
	if (w->n == WORDS_MAX)
		return err_set(&c->err, ERR_USAGE, -E2BIG, "too many options for ssh");
	w->text[w->n++] = xstrdup(word);
	return 0;
}

/* An option that was given more than once is a list of lines. */
static int add_option(struct cli *c, struct words *w, const char *flag, const char *values)
{
	_free_ char *lines = xstrdup(values);
	char *rest = lines, *line;
	int r = 0;

	while (!r && (line = strsep(&rest, "\n"))) {
		r = add_word(c, w, flag);
		if (!r)
			r = add_word(c, w, line);
	}
	return r;
}

static int read_words(struct cli *c, struct words *w)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(passed_on) && !r; i++)
		if (cli_opt(c, passed_on[i][0]))
			r = add_option(c, w, passed_on[i][1], cli_opt(c, passed_on[i][0]));
	return r;
}

static void words_done(struct words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->text[i]);
}

/* ---- Names ---- */

static int read_dns(struct cli *c, struct ssh_tunnel_config *k)
{
	const char *word = cli_opt(c, "dns");

	k->dns = RELAY_DNS_OFF;
	if (word && !strcmp(word, "off"))
		return cli_tunnel_resolvers(c, &k->tunnel.capture);
	if (cli_opt(c, "allow-dns"))
		return err_set(&c->err, ERR_USAGE, -EINVAL,
			       "--allow-dns goes with --dns off: no resolver is asked beside the "
			       "tunnel otherwise");
	k->dns = RELAY_DNS_REMOTE;
	if (!word || !strcmp(word, "remote"))
		return 0;
	k->dns = RELAY_DNS_ADDR;
	if (ip_parse(word, &k->resolver, NULL))
		return err_set(&c->err, ERR_USAGE, -EINVAL,
			       "--dns: '%s' is unknown, there are remote, off, and an address",
			       word);
	return 0;
}

/* ---- The commands ---- */

int cmd_ssh_up(struct cli *c)
{
	struct ssh_tunnel_config config = {.ssh.destination = c->args[0]};
	struct tunnel_config *t = &config.tunnel;
	struct words words = {0};
	struct cli_tunnel x;
	int r = read_words(c, &words);

	if (!r)
		r = cli_number(c, "connections", 1, SSH_CONNECTIONS_MAX, 1,
			       &config.ssh.connections);
	if (!r)
		r = cli_tunnel_capture(c, &t->capture);
	if (!r)
		r = read_dns(c, &config);
	config.ssh.options = (const char *const *)words.text;
	/* Who detaches has nobody who could be asked. */
	config.ssh.terminal = isatty(STDIN_FILENO) && !cli_opt(c, "detach");
	if (!r)
		r = cli_tunnel_begin(c, &x, "captured: everything goes through the SSH server", t);
	if (!r)
		r = cli_tunnel_end(c, t, ops_ssh_run(&config, &c->err));
	words_done(&words);
	return r;
}

int cmd_ssh_check(struct cli *c)
{
	struct ssh_tunnel_config config = {.ssh.destination = c->args[0]};
	struct words words = {0};
	char host[DIAL_HOST_MAX];
	uint16_t port = 0;
	int r = cli_target(c, c->args[1], host, &port);

	if (!r)
		r = read_words(c, &words);
	config.ssh.options = (const char *const *)words.text;
	config.ssh.terminal = isatty(STDIN_FILENO);
	if (!r)
		r = ops_ssh_check(&config, host, port, &c->err);
	words_done(&words);
	if (r)
		return r;
	cli_print_result(
		c, "byway.ssh.check/1",
		json_pack("{s:s, s:i, s:b}", "host", host, "port", (int)port, "reached", 1),
		"the server reaches %s port %d", host, (int)port);
	return 0;
}
