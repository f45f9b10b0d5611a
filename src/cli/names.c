// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an argument can be, asked by the completion scripts while somebody types: one name a line,
 * from the state as it is, without the lock. Who may not read it is told nothing, and neither is an
 * error.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "kernel/netns.h"
#include "session/session.h"
#include "vpc/port.h"
#include "vpc/way.h"

static void vpcs(struct store *st)
{
	_free_ struct vpc *v = NULL;
	size_t n = 0;

	vpc_list(st, &v, &n, NULL);
	for (size_t i = 0; i < n; i++)
		puts(v[i].name);
}

static void networks(struct store *st)
{
	_free_ struct vpc *v = NULL;
	size_t n = 0;

	vpc_list(st, &v, &n, NULL);
	for (size_t i = 0; i < n; i++)
		if (v[i].flat)
			puts(v[i].name);
}

static void subnets(struct store *st)
{
	_free_ struct subnet *s = NULL;
	size_t n = 0;

	subnet_list(st, NULL, &s, &n, NULL);
	for (size_t i = 0; i < n; i++)
		printf("%s/%s\n", s[i].vpc, s[i].name);
}

static void networks_and_subnets(struct store *st)
{
	networks(st);
	subnets(st);
}

static void machines(struct store *st)
{
	_free_ struct port *p = NULL;
	size_t n = 0;

	port_list(st, NULL, &p, &n, NULL);
	for (size_t i = 0; i < n; i++)
		printf("%s/%s\n", p[i].vpc, p[i].name);
}

static void sessions(struct store *st)
{
	struct session *s = NULL;
	size_t n = 0;

	session_list(st, NULL, &s, &n, NULL);
	for (size_t i = 0; i < n; i++)
		puts(s[i].name);
	session_list_free(s, n);
}

static void egresses(struct store *st)
{
	struct egress *e = NULL;
	size_t n = 0;

	egress_list(st, &e, &n, NULL);
	for (size_t i = 0; i < n; i++)
		puts(e[i].name);
	egress_list_free(e, n);
}

static void subnets_and_machines(struct store *st)
{
	subnets(st);
	machines(st);
}

static void workloads(struct store *st)
{
	subnets_and_machines(st);
	networks(st);
	puts(USE_HOST_NAME);
}

static void namespaces(struct store *st)
{
	DIR *d = opendir(NETNS_DIR);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			puts(e->d_name);
	if (d)
		closedir(d);
	subnets(st);
}

/* What byway prove takes. */
static void targets(struct store *st)
{
	subnets_and_machines(st);
	vpcs(st);
	sessions(st);
	egresses(st);
	puts("host");
}

static void shells(struct store *st)
{
	(void)st;
	puts("bash\nzsh\nfish");
}

static const struct {
	const char *kind; /* the argument's name in the table of commands */
	void (*print)(struct store *st);
} kinds[] = {
	{"VPC", vpcs},
	{"VPC/SUBNET", subnets},
	{"VPC/NAME", subnets_and_machines},
	{"NETWORK", networks},
	{"NETWORK/SUBNET", networks_and_subnets},
	{"NETWORK/NAME", machines},
	{"SESSION", sessions},
	{"EGRESS", egresses},
	{"WORKLOAD", workloads},
	{"NETNS", namespaces},
	{"TARGET", targets},
	{"SHELL", shells},
};

bool cli_has_names(const char *kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i].kind, kind))
			return true;
	return false;
}

void cli_print_names(struct cli *c)
{
	if (cli_open(c, STORE_READ)) {
		c->err = (struct err){0};
		return;
	}
	for (int a = 0; a < c->n_args; a++)
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
			if (!strcmp(kinds[i].kind, c->args[a]))
				kinds[i].print(c->ops.st);
}
