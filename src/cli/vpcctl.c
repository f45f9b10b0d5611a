// SPDX-License-Identifier: GPL-2.0-or-later
/* The command line of vpcctl, in terms of byway's own. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* Each command is one of byway's; the words that follow stay as they are. */
static const struct {
	const char *name, *noun, *verb, *args;
} commands[] = {
	{"create", "vpc", "create", "NAME CIDR"},
	{"add-subnet", "subnet", "add", "VPC NAME CIDR [--type public|private]"},
	{"enable-nat", "nat", "enable", "VPC [--interface IF]"},
	{"disable-nat", "nat", "disable", "VPC"},
	{"peer", "peer", "add", "VPC VPC"},
	{"apply-policy", "policy", "apply", "FILE"},
	{"list", "vpc", "list", ""},
	{"inspect", "vpc", "show", "NAME"},
	{"delete", "vpc", "delete", "NAME"},
	{"exec", "exec", NULL, "VPC/SUBNET -- COMMAND..."},
};

static void help(const char *program)
{
	printf("Usage: %s COMMAND [ARGUMENTS] [OPTIONS]\n\nCommands:\n", program);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-13s %s\n", commands[i].name, commands[i].args);
	puts("\nThis is byway: `byway --help` and byway(8) tell of its options.");
}

static size_t find(const char *name)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(commands) && strcmp(commands[i].name, name))
		i++;
	return i;
}

static int unknown(struct cli *c, const char *word)
{
	const char *names[ARRAY_SIZE(commands)], *near;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		names[i] = commands[i].name;
	near = str_nearest(word, names, ARRAY_SIZE(commands));
	err_set(&c->err, ERR_USAGE, -EINVAL, "unknown command '%s'", word);
	if (near)
		err_append(&c->err, "; did you mean '%s'?", near);
	return -EINVAL;
}

/* A policy file says itself which subnet it is for. */
static int policy_path(struct cli *c, const char *file, char **ret)
{
	struct subnet s;
	int r = cli_open(c, STORE_READ);

	if (!r)
		r = ops_policy_target(&c->ops, file, &s, &c->err);
	ops_close(&c->ops);
	if (!r)
		*ret = xasprintf("%s/%s", s.vpc, s.name);
	return r;
}

/* FILE is the first argument that is no option; *ret stays as it was with options alone, --help
 * among them. */
static int take_policy(struct cli *c, int argc, char **argv, char **ret)
{
	int i = 0;

	while (i < argc && argv[i][0] == '-' && argv[i][1])
		i++;
	if (i < argc)
		return policy_path(c, argv[i], ret);
	return argc ? 0
		    : err_set(&c->err, ERR_USAGE, -EINVAL,
			      "too few arguments: %s apply-policy FILE", c->program);
}

int cli_vpcctl(struct cli *c, int argc, char **argv)
{
	_free_ char **words = xcalloc((size_t)argc + 4, sizeof(*words));
	_free_ char *path = NULL;
	int n = 0, at = cli_take_globals(c, argc, argv, help);
	size_t i;

	if (at < 0)
		return at;
	if (at == argc)
		return err_set(&c->err, ERR_USAGE, -EINVAL, "no command given; see `%s --help`",
			       c->program);
	if (!strcmp(argv[at], "help")) {
		help(c->program);
		return 0;
	}
	i = find(argv[at]);
	if (i == ARRAY_SIZE(commands))
		return unknown(c, argv[at]);
	words[n++] = argv[0];
	words[n++] = (char *)commands[i].noun;
	if (commands[i].verb)
		words[n++] = (char *)commands[i].verb;
	if (!strcmp(argv[at], "apply-policy")) {
		if (take_policy(c, argc - at - 1, argv + at + 1, &path))
			return c->err.code;
		if (path)
			words[n++] = path;
	}
	c->program = "byway"; /* whose help and messages follow */
	for (int k = at + 1; k < argc; k++)
		words[n++] = argv[k];
	return cli_run(c, n, words);
}
