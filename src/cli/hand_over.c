// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The program that people call is without the libraries of tunnels and of the web page, whose
 * loading takes longer than most commands do. For commands that need them it becomes the one that
 * has everything: the same process, arguments and environment.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

/* From the folder of this program: as installed, and where it was built. */
static const char *const places[] = {BYWAY_FULL, "full/byway"};

static char *find(const char *folder, const char *place)
{
	return *place == '/' ? xstrdup(place) : xasprintf("%s/%s", folder, place);
}

int cli_hand_over(struct cli *c)
{
	_free_ char *folder = realpath("/proc/self/exe", NULL);
	_free_ char *installed = NULL;

	if (!folder)
		return err_errno(&c->err, -errno, "cannot find where byway is: /proc/self/exe");
	*strrchr(folder, '/') = '\0';
	installed = find(folder, places[0]);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_free_ char *path = find(folder, places[i]);

		execv(path, c->argv);
		if (errno != ENOENT)
			return err_errno(&c->err, -errno, "cannot run %s", path);
	}
	return err_set(&c->err, ERR_UNSUPPORTED, -ENOENT,
		       "the rest of byway is not installed: `byway %s%s%s` needs %s", c->cmd->noun,
		       c->cmd->verb ? " " : "", c->cmd->verb ? c->cmd->verb : "", installed);
}
