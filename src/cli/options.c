// SPDX-License-Identifier: GPL-2.0-or-later
/* Finding the command, and its arguments and options. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"

enum global { GLOBAL_JSON, GLOBAL_DRY_RUN, GLOBAL_VERBOSE, GLOBAL_QUIET, GLOBAL_FIREWALL, GLOBAL_HELP };

/* Help.c prints these; they may stand anywhere. */
const struct cli_opt cli_globals[] = {
	[GLOBAL_JSON] = {"json", 0, NULL, "print JSON"},
	[GLOBAL_DRY_RUN] = {"dry-run", 0, NULL, "list the kernel operations, do none of them"},
	[GLOBAL_VERBOSE] = {"verbose", 'v', NULL, "say each kernel operation as it is done"},
	[GLOBAL_QUIET] = {"quiet", 'q', NULL, "say nothing but errors"},
	[GLOBAL_FIREWALL] = {"firewall", 0, "BACKEND", "auto, native, nft or iptables"},
	[GLOBAL_HELP] = {"help", 'h', NULL, "this help"},
};
const size_t cli_n_globals = ARRAY_SIZE(cli_globals);

#define COMMANDS_MAX 64

/* The words that could stand here: nouns, or the verbs of one. */
static size_t candidates(const char *noun, const char **ret)
{
	size_t n = 0;

	for (size_t i = 0; i < cli_n_commands && n < COMMANDS_MAX; i++) {
		const struct cli_cmd *cmd = &cli_commands[i];

		if (!noun && (!n || strcmp(ret[n - 1], cmd->noun)))
			ret[n++] = cmd->noun;
		else if (noun && !strcmp(noun, cmd->noun) && cmd->verb)
			ret[n++] = cmd->verb;
	}
	return n;
}

static int unknown(struct cli *c, const char *what, const char *word, const char *const *known,
		   size_t n)
{
	const char *near = str_nearest(word, known, n);

	err_set(&c->err, ERR_USAGE, -EINVAL, "unknown %s '%s'", what, word);
	if (near)
		err_append(&c->err, "; did you mean '%s'?", near);
	return -EINVAL;
}

static int find_command(struct cli *c, const char *noun, const char *verb)
{
	const char *words[COMMANDS_MAX];
	size_t n;

	for (size_t i = 0; i < cli_n_commands; i++) {
		const struct cli_cmd *cmd = &cli_commands[i];

		if (!strcmp(cmd->noun, noun) && (!cmd->verb || (verb && !strcmp(cmd->verb, verb)))) {
			c->cmd = cmd;
			return 0;
		}
	}
	n = candidates(noun, words);
	if (!n)
		return unknown(c, "command", noun, words, candidates(NULL, words));
	if (verb)
		return unknown(c, "command", verb, words, n);
	err_set(&c->err, ERR_USAGE, -EINVAL, "'%s %s' needs a command:", c->program, noun);
	for (size_t i = 0; i < n; i++)
		err_append(&c->err, "%s %s", i ? "," : "", words[i]);
	return -EINVAL;
}

/* "--name", "--name=value", "-n": is it this option? *value is what stands behind '='. */
static bool is_opt(const struct cli_opt *o, const char *word, const char **value)
{
	size_t len = strlen(o->name);

	*value = NULL;
	if (word[1] != '-')
		return o->letter && word[1] == o->letter && !word[2];
	if (strncmp(word + 2, o->name, len) || (word[2 + len] && word[2 + len] != '='))
		return false;
	if (word[2 + len])
		*value = word + 3 + len;
	return true;
}

static int opt_value(struct cli *c, const struct cli_opt *o, int argc, char **argv, int *i,
		     const char **value)
{
	if (!o->arg && *value)
		return err_set(&c->err, ERR_USAGE, -EINVAL, "--%s takes no value", o->name);
	if (!o->arg)
		*value = "";
	else if (!*value && *i + 1 >= argc)
		return err_set(&c->err, ERR_USAGE, -EINVAL, "--%s needs a value: %s", o->name, o->arg);
	else if (!*value)
		*value = argv[++*i];
	return 0;
}

static int set_global(struct cli *c, enum global g, const char *value)
{
	switch (g) {
	case GLOBAL_JSON:
		c->json = true;
		return 0;
	case GLOBAL_DRY_RUN:
		c->dry_run = true;
		return 0;
	case GLOBAL_VERBOSE:
		c->verbose = true;
		return 0;
	case GLOBAL_QUIET:
		c->quiet = true;
		return 0;
	case GLOBAL_FIREWALL:
		return firewall_backend_parse(value, &c->backend, &c->err);
	case GLOBAL_HELP:
		break;
	}
	cli_help_command(c->program, c->cmd);
	exit(0);
}

static int unknown_option(struct cli *c, const char *word)
{
	const char *names[CLI_OPTS_MAX + ARRAY_SIZE(cli_globals)];
	size_t n = 0;

	for (size_t i = 0; i < c->cmd->n_opts; i++)
		names[n++] = c->cmd->opts[i].name;
	for (size_t i = 0; i < ARRAY_SIZE(cli_globals); i++)
		names[n++] = cli_globals[i].name;
	unknown(c, "option", word, names, 0);
	if (str_nearest(word + strspn(word, "-"), names, n))
		err_append(&c->err, "; did you mean '--%s'?",
			   str_nearest(word + strspn(word, "-"), names, n));
	return -EINVAL;
}

void cli_free_secret(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

static void set_value(struct cli *c, size_t k, const char *value)
{
	const char *arg = c->cmd->opts[k].arg;
	char *list = NULL;

	if (c->values[k] && arg && strstr(arg, ",..."))
		list = xasprintf("%s,%s", c->values[k], value);
	else if (c->values[k] && arg && strstr(arg, "\n..."))
		list = xasprintf("%s\n%s", c->values[k], value);
	else if (c->cmd->opts[k].secret)
		list = xstrdup(value);
	if (c->cmd->opts[k].secret)
		memset((char *)value, 'x', strlen(value));
	if (list) {
		cli_free_secret(c->lists[k]);
		c->lists[k] = list;
	}
	c->values[k] = list ? list : value;
}

static int take_option(struct cli *c, int argc, char **argv, int *i)
{
	const char *value, *word = argv[*i];

	for (size_t k = 0; k < c->cmd->n_opts; k++) {
		if (!is_opt(&c->cmd->opts[k], word, &value))
			continue;
		if (opt_value(c, &c->cmd->opts[k], argc, argv, i, &value))
			return -EINVAL;
		set_value(c, k, value);
		return 0;
	}
	for (size_t k = 0; k < ARRAY_SIZE(cli_globals); k++) {
		if (!is_opt(&cli_globals[k], word, &value))
			continue;
		if (opt_value(c, &cli_globals[k], argc, argv, i, &value))
			return -EINVAL;
		return set_global(c, (enum global)k, value);
	}
	return unknown_option(c, word);
}

static int check_count(struct cli *c)
{
	const struct cli_cmd *cmd = c->cmd;
	bool few = c->n_args < cmd->min_args;

	if (!few && (cmd->max_args < 0 || c->n_args <= cmd->max_args))
		return 0;
	return err_set(&c->err, ERR_USAGE, -EINVAL, "too %s arguments: %s %s%s%s%s%s",
		       few ? "few" : "many", c->program, cmd->noun, cmd->verb ? " " : "",
		       cmd->verb ? cmd->verb : "", *cmd->args ? " " : "", cmd->args);
}

/* What stands behind "--" is arguments, whatever it looks like; so is all that follows the first
 * argument of a command that runs another one. */
static int parse_rest(struct cli *c, int argc, char **argv)
{
	bool runs_another = c->cmd->run == cmd_exec, options = true, dashes = true;

	c->args = argv; /* compacted in place */
	for (int i = 0; i < argc; i++) {
		if (dashes && !strcmp(argv[i], "--")) {
			options = dashes = false;
		} else if (options && argv[i][0] == '-' && argv[i][1]) {
			if (take_option(c, argc, argv, &i))
				return -EINVAL;
		} else {
			c->args[c->n_args++] = argv[i];
			options = options && !runs_another;
			dashes = dashes && c->n_args < 2;
		}
	}
	argv[c->n_args] = NULL;
	return check_count(c);
}

int cli_take_globals(struct cli *c, int argc, char **argv, void (*help)(const char *program))
{
	static const struct cli_cmd none = {.noun = "", .args = ""};
	int i = 1;

	c->cmd = &none;
	while (i < argc && argv[i][0] == '-') {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			help(c->program);
			exit(0);
		}
		if (take_option(c, argc, argv, &i))
			return -EINVAL;
		i++;
	}
	return i;
}

static bool is_help(const char *word)
{
	return word && (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help"));
}

static bool has_verbs(const char *noun)
{
	const char *words[COMMANDS_MAX];

	return candidates(noun, words) > 0;
}

int cli_run(struct cli *c, int argc, char **argv)
{
	int i = cli_take_globals(c, argc, argv, cli_help);
	const char *noun, *verb;

	if (i < 0)
		return i;
	noun = i < argc ? argv[i] : NULL;
	if (!noun)
		return err_set(&c->err, ERR_USAGE, -EINVAL, "no command given; see `%s --help`", c->program);
	if (is_help(noun)) {
		cli_help(c->program);
		return 0;
	}
	verb = i + 1 < argc ? argv[i + 1] : NULL;
	if (has_verbs(noun) && is_help(verb)) {
		cli_help_noun(c->program, noun);
		return 0;
	}
	if (find_command(c, noun, verb))
		return -EINVAL;
	if (!c->cmd->run) /* while the arguments are as they were: reading them changes them */
		return cli_hand_over(c);
	i += c->cmd->verb ? 2 : 1;
	if (parse_rest(c, argc - i, argv + i))
		return -EINVAL;
	return c->cmd->run(c);
}

const char *cli_opt(const struct cli *c, const char *name)
{
	for (size_t i = 0; i < c->cmd->n_opts; i++) {
		if (!strcmp(c->cmd->opts[i].name, name))
			return c->values[i];
	}
	return NULL;
}

int cli_number(struct cli *c, const char *name, unsigned int min, unsigned int max,
	       unsigned int fallback, unsigned int *ret)
{
	const char *text = cli_opt(c, name);
	unsigned long n = fallback;
	char *end = NULL;

	if (text)
		n = strtoul(text, &end, 10);
	if (text && (text[0] < '0' || text[0] > '9' || *end || n < min || n > max))
		return err_set(&c->err, ERR_USAGE, -EINVAL, "--%s: '%s' is not a number from %u to %u", name,
			       text, min, max);
	*ret = (unsigned int)n;
	return 0;
}

void cli_prepare(struct cli *c)
{
	log_set_level(c->quiet ? LOG_LEVEL_ERROR : c->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN);
	c->ops.backend = c->backend;
	c->ops.log.echo = c->verbose;
	c->ops.log.dry_run = c->dry_run;
}

int cli_open(struct cli *c, enum store_mode mode)
{
	cli_prepare(c);
	return ops_open(&c->ops, mode, &c->err);
}

int cli_split(struct cli *c, const char *path, char vpc[NAME_MAX_LEN], char name[NAME_MAX_LEN])
{
	const char *slash = strchr(path, '/');
	_free_ char *first = slash ? strndup(path, (size_t)(slash - path)) : NULL;

	if (!slash || !*first || !slash[1] || str_copy(vpc, NAME_MAX_LEN, first) ||
	    str_copy(name, NAME_MAX_LEN, slash + 1))
		return err_set(&c->err, ERR_USAGE, -EINVAL, "'%s' is not of the form %.*s", path,
			       (int)strcspn(c->cmd->args, " ."), c->cmd->args);
	return 0;
}

int cli_subnet(struct cli *c, const char *path, struct subnet *ret)
{
	char vpc[NAME_MAX_LEN], name[NAME_MAX_LEN];
	struct vpc v;
	int r = cli_split(c, path, vpc, name);

	if (!r)
		r = vpc_load(c->ops.st, vpc, &v, &c->err);
	return r ? r : subnet_load(c->ops.st, vpc, name, ret, &c->err);
}
