/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a test makes the Nth call fail, or kills the program before it.
 *
 * Every call that changes something outside the process passes fault_point() first. In a release
 * it compiles to nothing. In a build with -Dfaults=true, the environment decides, for the process that first
 * passes one and what it forks, not for programs that it runs:
 *
 *   BYWAY_FAULT=fail:N[:ERRNO]   the Nth point fails once (ERRNO: a number, EIO by default)
 *   BYWAY_FAULT=stay:N[:ERRNO]   the Nth point and every later one fail
 *   BYWAY_FAULT=kill:N           SIGKILL before the Nth point's call
 *   BYWAY_FAULT_TRACE=FILE       appends one line per point: its number and name
 */
#ifndef BYWAY_BASE_FAULT_H
#define BYWAY_BASE_FAULT_H

#ifdef BYWAY_FAULTS
/* 0, or -errno which the caller must treat as the failure of the call named by what. */
int fault_point(const char *what);
#else
static inline int fault_point(const char *what)
{
	(void)what;
	return 0;
}
#endif

#endif
