// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernel/oplog.h"

void oplog_done(struct oplog *log)
{
	for (size_t i = 0; i < log->n_ops; i++)
		free(log->ops[i]);
	free(log->ops);
	*log = (struct oplog){0};
}

bool oplog_wants(const struct oplog *log)
{
	return log && (log->echo || log->dry_run);
}

bool oplog_dry(const struct oplog *log)
{
	return log && log->dry_run;
}

void oplog_add(struct oplog *log, const char *netns, const char *fmt, ...)
{
	_free_ char *text = NULL;
	va_list ap;
	char *op;

	if (!oplog_wants(log))
		return;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = xstrdup(fmt);
	va_end(ap);
	op = netns && *netns ? xasprintf("[%s] %s", netns, text) : xstrdup(text);
	if (log->echo)
		fprintf(stderr, "+ %s\n", op);
	if (!log->dry_run) {
		free(op);
		return;
	}
	log->ops = xrealloc(log->ops, log->n_ops + 1, sizeof(*log->ops));
	log->ops[log->n_ops++] = op;
}
