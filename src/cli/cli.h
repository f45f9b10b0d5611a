/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The byway command: `byway NOUN VERB [ARGUMENTS] [OPTIONS]`.
 *
 * Commands are rows of a table (commands.c), one file for the commands of a noun. A command gets
 * its arguments and options parsed and checked in number, opens the operations it needs, and fills
 * c->err on failure: main() prints the one message and turns its kind into the exit status.
 */
#ifndef BYWAY_CLI_CLI_H
#define BYWAY_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "ops/ops.h"

struct cli_opt {
	const char *name; /* without the dashes */
	char letter;      /* or 0 */
	const char *arg;  /* the argument's name in the help, or NULL for a switch; "X,..." may be given
			   * more than once, and is a list then, too; of "X\n..." the lines are */
	const char *help;
	bool secret; /* taken out of the arguments that ps(1) shows */
};

struct cli;

struct cli_cmd {
	const char *noun, *verb; /* verb NULL: the noun alone is the command */
	const char *args;        /* as the help shows them */
	int min_args, max_args;  /* max -1: any number */
	const struct cli_opt *opts;
	size_t n_opts;
	int (*run)(struct cli *c); /* NULL: cli_hand_over() */
	const char *help;
};

#define CLI_OPTS_MAX 24

struct cli {
	const struct cli_cmd *cmd;
	const char *program;       /* the name we were called by */
	char **argv;               /* the program's, to hand over */
	char **args;               /* positional */
	int n_args;
	const char *values[CLI_OPTS_MAX]; /* of cmd->opts, NULL where not given; "" for a switch */
	char *lists[CLI_OPTS_MAX];        /* those of them that were put together, or are secret; owned */
	bool json, quiet, verbose, dry_run;
	enum fw_backend_id backend;
	int status; /* the program's, when the command did not fail */
	struct ops ops;
	struct err err;
};

extern const struct cli_cmd cli_commands[];
extern const size_t cli_n_commands;
extern const struct cli_opt cli_globals[];
extern const size_t cli_n_globals;

/* The option's argument, "" for a given switch, or NULL. The name must be one of the command's. */
const char *cli_opt(const struct cli *c, const char *name);
void cli_free_secret(char *text); /* wipes it before */
/* A number in a range, or fallback when the option is not given. */
int cli_number(struct cli *c, const char *name, unsigned int min, unsigned int max,
	       unsigned int fallback, unsigned int *ret);
/* Tells c->ops, and the log, what the global options say. */
void cli_prepare(struct cli *c);
/* Opens c->ops for the command. */
int cli_open(struct cli *c, enum store_mode mode);
/* "VPC/SUBNET" → the subnet's row; cli_split() only takes it apart. */
int cli_subnet(struct cli *c, const char *path, struct subnet *ret);
int cli_split(struct cli *c, const char *path, char vpc[NAME_MAX_LEN], char name[NAME_MAX_LEN]);

/* ---- Output (output.c) ---- */

/* Progress, on stderr, unless -q. */
void cli_say(const struct cli *c, const char *fmt, ...) _printf_(2, 3);
/* Prints a document with --json: {"schema": schema, ...}. Takes the reference. */
void cli_print_json(const char *schema, json_t *body);

struct cli_column {
	const char *title, *key; /* of each object; "one.two" of an object in it */
};
/* A table of an array of objects, one line each; null and absent are "-". */
void cli_print_table(json_t *rows, const struct cli_column *columns, size_t n);
/* One object, a line for each of its members that is there. */
void cli_print_fields(json_t *object, const struct cli_column *fields, size_t n);
/* The list of a command: as JSON under key, or as a table. Takes the reference. */
void cli_print_list(const struct cli *c, const char *schema, const char *key, json_t *rows,
		    const struct cli_column *columns, size_t n);
/* What a changing command did: with --json the object, else a sentence. Takes the reference. In a
 * dry run, the operations instead. */
void cli_print_result(const struct cli *c, const char *schema, json_t *body, const char *fmt, ...)
	_printf_(4, 5);
/* What a dry run would have done. */
void cli_print_operations(const struct cli *c, const struct oplog *log);

/* ---- What VPCs, networks and VMs have in common (vpc.c) ---- */

/* Deletes what the arguments name. What is not there is said, and done. */
typedef int (*cli_delete_fn)(struct cli *c, const char *const names[], size_t n,
			     bool ret_existed[]);
int cli_delete_each(struct cli *c, const char *what, const char *key, cli_delete_fn delete);
int cli_list_vpcs(struct cli *c, bool flat_only, const char *schema, const char *key,
		  const struct cli_column *columns, size_t n);
/* That of the first argument; the state is open. */
int cli_show_vpc(struct cli *c, const char *schema);

/* What is published of a port, as a list of words into the object (publish.c). */
int cli_add_published(struct cli *c, const char *vpc, const char *port, json_t *object);

/* Help (help.c). */
void cli_help(const char *program);
void cli_help_noun(const char *program, const char *noun);
void cli_help_command(const char *program, const struct cli_cmd *cmd);

/* The command of another tool's command line (vpcctl.c); NULL when name is none of them. */
int cli_vpcctl(struct cli *c, int argc, char **argv);
int cli_proxyvpn(struct cli *c, int argc, char **argv);
int cli_x2ssh(struct cli *c, int argc, char **argv);
int cli_octotunnel(struct cli *c, int argc, char **argv);
int cli_run(struct cli *c, int argc, char **argv);
/* Global options may stand before the command, too: where that is, in argv, or a negative errno. */
int cli_take_globals(struct cli *c, int argc, char **argv, void (*help)(const char *program));
/* Becomes the full program, with the same arguments; returns on failure only (hand_over.c). */
int cli_hand_over(struct cli *c);

/* What arguments can be completed to (names.c): whether this kind, a name of an argument in the
 * table, has names; and those of c->args, quietly. */
bool cli_has_names(const char *kind);
void cli_print_names(struct cli *c);

/* ---- The commands ---- */

int cmd_vpc_create(struct cli *c);
int cmd_vpc_list(struct cli *c);
int cmd_vpc_show(struct cli *c);
int cmd_vpc_delete(struct cli *c);
int cmd_subnet_add(struct cli *c);
int cmd_subnet_list(struct cli *c);
int cmd_subnet_delete(struct cli *c);
int cmd_network_up(struct cli *c);
int cmd_network_down(struct cli *c);
int cmd_network_list(struct cli *c);
int cmd_network_show(struct cli *c);
int cmd_vm_add(struct cli *c);
int cmd_vm_list(struct cli *c);
int cmd_vm_show(struct cli *c);
int cmd_vm_snippet(struct cli *c);
int cmd_vm_delete(struct cli *c);
int cmd_cni_install(struct cli *c);
int cmd_publish(struct cli *c);
int cmd_publish_list(struct cli *c);
int cmd_unpublish(struct cli *c);
int cmd_dns_enable(struct cli *c);
int cmd_dns_disable(struct cli *c);
int cmd_dns_run(struct cli *c);
int cmd_nat_enable(struct cli *c);
int cmd_nat_disable(struct cli *c);
int cmd_peer_add(struct cli *c);
int cmd_peer_list(struct cli *c);
int cmd_peer_delete(struct cli *c);
int cmd_policy_apply(struct cli *c);
int cmd_policy_show(struct cli *c);
int cmd_policy_verify(struct cli *c);
int cmd_policy_remove(struct cli *c);
int cmd_proxy_up(struct cli *c);
int cmd_proxy_down(struct cli *c);
int cmd_proxy_status(struct cli *c);
int cmd_proxy_check(struct cli *c);
int cmd_ssh_up(struct cli *c);
int cmd_ssh_down(struct cli *c);
int cmd_ssh_status(struct cli *c);
int cmd_ssh_check(struct cli *c);
int cmd_session_up(struct cli *c);
int cmd_session_down(struct cli *c);
int cmd_session_list(struct cli *c);
int cmd_session_status(struct cli *c);
int cmd_session_exec(struct cli *c);
int cmd_session_logs(struct cli *c);
int cmd_session_restart(struct cli *c);
int cmd_session_check(struct cli *c);
int cmd_session_validate(struct cli *c);
int cmd_session_hook(struct cli *c);
int cmd_egress_add(struct cli *c);
int cmd_egress_list(struct cli *c);
int cmd_egress_show(struct cli *c);
int cmd_egress_use(struct cli *c);
int cmd_egress_run(struct cli *c);
int cmd_egress_stop(struct cli *c);
int cmd_egress_delete(struct cli *c);
int cmd_validate(struct cli *c);
int cmd_plan(struct cli *c);
int cmd_apply(struct cli *c);
int cmd_destroy(struct cli *c);
int cmd_block(struct cli *c);
int cmd_unblock(struct cli *c);
int cmd_exec(struct cli *c);
int cmd_status(struct cli *c);
int cmd_events(struct cli *c);
int cmd_graph(struct cli *c);
int cmd_metrics(struct cli *c);
int cmd_serve(struct cli *c);
int cmd_gc(struct cli *c);
int cmd_reset(struct cli *c);
int cmd_why(struct cli *c);
int cmd_prove(struct cli *c);
int cmd_doctor(struct cli *c);
int cmd_completion(struct cli *c);

#endif
