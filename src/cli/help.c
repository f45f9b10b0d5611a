// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static void usage(const char *program, const struct cli_cmd *cmd)
{
	printf("  %s %s%s%s%s%s\n", program, cmd->noun, cmd->verb ? " " : "", cmd->verb ? cmd->verb : "",
	       *cmd->args ? " " : "", cmd->args);
}

static void print_opts(const struct cli_opt *opts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct cli_opt *o = &opts[i];
		const char *arg = o->arg ? o->arg : "";
		int len = (int)strcspn(arg, "\n"); /* which asks for lines: cli.h */
		char left[64];

		snprintf(left, sizeof(left), "%c%c%s --%s%s%.*s%s", o->letter ? '-' : ' ',
			 o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name, *arg ? " " : "",
			 len, arg, arg[len] ? "..." : "");
		printf("  %-26s %s\n", left, o->help);
	}
}

void cli_help(const char *program)
{
	printf("%s gives every workload its own network and its own way out.\n\nUsage: %s COMMAND "
	       "[ARGUMENTS] [OPTIONS]\n\nCommands:\n",
	       program, program);
	for (size_t i = 0; i < cli_n_commands; i++) {
		const struct cli_cmd *cmd = &cli_commands[i];
		char left[64];

		snprintf(left, sizeof(left), "%s%s%s %s", cmd->noun, cmd->verb ? " " : "",
			 cmd->verb ? cmd->verb : "", cmd->args);
		printf("  %-34s %s\n", left, cmd->help);
	}
	printf("\nOptions of every command:\n");
	print_opts(cli_globals, cli_n_globals);
	printf("      --version              the version\n\n`%s COMMAND --help` explains one command; "
	       "byway(8) everything.\n",
	       program);
}

static void explain(const struct cli_cmd *cmd)
{
	printf("\n%s\n", cmd->help);
	if (cmd->n_opts)
		printf("\nOptions:\n");
	print_opts(cmd->opts, cmd->n_opts);
	printf("\nOptions of every command:\n");
	print_opts(cli_globals, cli_n_globals);
}

/* A noun that is a command by itself is explained as one. */
void cli_help_noun(const char *program, const char *noun)
{
	const struct cli_cmd *alone = NULL;

	printf("Usage:\n");
	for (size_t i = 0; i < cli_n_commands; i++) {
		if (strcmp(cli_commands[i].noun, noun))
			continue;
		usage(program, &cli_commands[i]);
		if (!cli_commands[i].verb)
			alone = &cli_commands[i];
	}
	if (alone)
		explain(alone);
}

void cli_help_command(const char *program, const struct cli_cmd *cmd)
{
	printf("Usage:\n");
	usage(program, cmd);
	explain(cmd);
}
