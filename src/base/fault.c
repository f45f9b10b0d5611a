// SPDX-License-Identifier: GPL-2.0-or-later
#ifdef BYWAY_FAULTS
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/util.h"

static atomic_uint points;

static void trace(unsigned int n, const char *what)
{
	const char *path = getenv("BYWAY_FAULT_TRACE");
	_fclose_ FILE *f = path ? fopen(path, "ae") : NULL;

	if (f)
		fprintf(f, "%u %s\n", n, what);
}

int fault_point(const char *what)
{
	const char *spec = getenv("BYWAY_FAULT");
	unsigned int n = atomic_fetch_add(&points, 1) + 1, at = 0;
	char mode[8] = "";
	int code = EIO;

	trace(n, what);
	if (!spec || sscanf(spec, "%7[a-z]:%u:%d", mode, &at, &code) < 2)
		return 0;
	if (!strcmp(mode, "kill") && n == at)
		raise(SIGKILL);
	if ((!strcmp(mode, "fail") && n == at) || (!strcmp(mode, "stay") && n >= at))
		return -code;
	return 0;
}
#else
typedef int fault_is_off; /* ISO C wants a declaration in every translation unit */
#endif
