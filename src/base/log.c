// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

static enum log_level current = LOG_LEVEL_WARN;

void log_set_level(enum log_level level)
{
	current = level;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	static const char *const journal[] = {"<3>", "<4>", "<6>", "<7>"};
	static const char *const word[] = {"error: ", "warning: ", "", ""};
	char line[2048];
	va_list ap;

	if (level > current)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (getenv("JOURNAL_STREAM"))
		fprintf(stderr, "%s%s\n", journal[level], line);
	else
		fprintf(stderr, "byway: %s%s\n", word[level], line);
}
