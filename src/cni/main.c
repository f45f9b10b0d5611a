// SPDX-License-Identifier: GPL-2.0-or-later
/* byway-cni(8): what container runtimes start. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cni/cni.h"

static int about(void)
{
	printf("byway-cni %s, a CNI plugin: see byway-cni(8)\n"
	       "Protocol versions: 0.3.1, 0.4.0, 1.0.0, 1.1.0\n",
	       BYWAY_VERSION);
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_(cni_job_done) struct cni_job j = {0};
	const char *command = getenv("CNI_COMMAND");
	int r;

	if (argc > 1 && !strcmp(argv[1], "--version"))
		return about();
	if (!command && isatty(STDIN_FILENO))
		return about();
	r = cni_job_run(&j, command);
	return cni_job_print(&j, r) || r ? EXIT_FAILURE : EXIT_SUCCESS;
}
