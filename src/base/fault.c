// SPDX-License-Identifier: GPL-2.0-or-later
#ifdef BYWAY_FAULTS
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/util.h"

static atomic_uint points;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct {
	char mode[8];
	unsigned int at;
	int code;
	char *trace; /* NULL: none */
} plan = {.code = EIO};

/* Of this process and those it forks: a program that is run from here would count from 1 again. */
static void take_plan(void)
{
	const char *spec = getenv("BYWAY_FAULT"), *path = getenv("BYWAY_FAULT_TRACE");

	if (!spec || sscanf(spec, "%7[a-z]:%u:%d", plan.mode, &plan.at, &plan.code) < 2)
		*plan.mode = '\0';
	plan.trace = path ? xstrdup(path) : NULL;
	unsetenv("BYWAY_FAULT");
	unsetenv("BYWAY_FAULT_TRACE");
}

static void trace(unsigned int n, const char *what)
{
	_fclose_ FILE *f = plan.trace ? fopen(plan.trace, "ae") : NULL;

	if (f)
		fprintf(f, "%u %s\n", n, what);
}

int fault_point(const char *what)
{
	unsigned int n = atomic_fetch_add(&points, 1) + 1;

	pthread_once(&once, take_plan);
	trace(n, what);
	if (!strcmp(plan.mode, "kill") && n == plan.at)
		raise(SIGKILL);
	if ((!strcmp(plan.mode, "fail") && n == plan.at) ||
	    (!strcmp(plan.mode, "stay") && n >= plan.at))
		return -plan.code;
	return 0;
}
#else
typedef int fault_is_off; /* ISO C wants a declaration in every translation unit */
#endif
