// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

static enum err_kind kind_of(int code)
{
	switch (-code) {
	case EPERM:
	case EACCES:
		return ERR_PERMISSION;
	case ENOENT:
	case ENODEV:
	case ESRCH:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_CONFLICT;
	case EOPNOTSUPP:
	case EAFNOSUPPORT:
	case EPROTONOSUPPORT:
		return ERR_UNSUPPORTED;
	default:
		return ERR_FAILED;
	}
}

static void fill(struct err *err, enum err_kind kind, int code, const char *fmt, va_list ap)
{
	err->kind = kind == ERR_NONE ? kind_of(code) : kind;
	err->code = code;
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
}

int err_set(struct err *err, enum err_kind kind, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	fill(err, kind, code, fmt, ap);
	va_end(ap);
	return code;
}

int err_errno(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	fill(err, ERR_NONE, code, fmt, ap);
	va_end(ap);
	err_append(err, ": %s", strerror(-code));
	return code;
}

int err_context(struct err *err, const char *fmt, ...)
{
	char tail[sizeof(err->msg)];
	va_list ap;
	int n;

	if (!err)
		return -EIO;
	memcpy(tail, err->msg, sizeof(tail));
	va_start(ap, fmt);
	n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(err->msg))
		snprintf(err->msg + n, sizeof(err->msg) - (size_t)n, ": %s", tail);
	return err->code;
}

void err_append(struct err *err, const char *fmt, ...)
{
	size_t len;
	va_list ap;

	if (!err)
		return;
	len = strlen(err->msg);
	va_start(ap, fmt);
	vsnprintf(err->msg + len, sizeof(err->msg) - len, fmt, ap);
	va_end(ap);
}

struct err *failures_err(const struct failures *f)
{
	return f->code ? NULL : f->err;
}

void failures_add(struct failures *f, int code)
{
	if (code && f->code)
		f->more++;
	else if (code)
		f->code = code;
}

int failures_tell(const struct failures *f)
{
	if (f->more)
		err_append(f->err, "; and %u more failed", f->more);
	return f->code;
}
