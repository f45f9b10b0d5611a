// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "cni/error.h"

int cni_fail(struct cni_error *e, enum cni_code code, const char *fmt, ...)
{
	va_list ap;

	e->code = code;
	e->err.kind = ERR_USAGE;
	e->err.code = -EINVAL;
	va_start(ap, fmt);
	vsnprintf(e->err.msg, sizeof(e->err.msg), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static const struct {
	enum err_kind kind;
	int code; /* 0: any */
	enum cni_code cni;
} codes[] = {
	{ERR_CONFLICT, -EBUSY, CNI_TRY_AGAIN},  {ERR_FAILED, -EBUSY, CNI_TRY_AGAIN},
	{ERR_CONFLICT, -ENOSPC, CNI_EXHAUSTED}, {ERR_FAILED, -ENOSPC, CNI_EXHAUSTED},
	{ERR_CONFLICT, 0, CNI_CONFLICT},        {ERR_USAGE, 0, CNI_CONFIG},
	{ERR_NOT_FOUND, 0, CNI_CONFIG},         {ERR_PERMISSION, 0, CNI_DENIED},
	{ERR_UNSUPPORTED, 0, CNI_MACHINE},
};

enum cni_code cni_code_of(const struct cni_error *e)
{
	if (e->code)
		return e->code;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		if (codes[i].kind == e->err.kind &&
		    (!codes[i].code || codes[i].code == e->err.code))
			return codes[i].cni;
	}
	return CNI_FAILED;
}

static const struct {
	enum cni_code code;
	const char *msg;
} words[] = {
	{CNI_VERSION, "incompatible CNI version"},
	{CNI_UNSUPPORTED, "unsupported field in network configuration"},
	{CNI_NO_CONTAINER, "container does not exist"},
	{CNI_ENVIRONMENT, "invalid environment variables"},
	{CNI_IO, "I/O failure"},
	{CNI_DECODE, "failed to decode content"},
	{CNI_CONFIG, "invalid network configuration"},
	{CNI_TRY_AGAIN, "try again later"},
	{CNI_UNAVAILABLE, "plugin is not available"},
	{CNI_FAILED, "failed"},
	{CNI_CONFLICT, "conflict with what is there"},
	{CNI_EXHAUSTED, "no address is left"},
	{CNI_DENIED, "permission denied"},
	{CNI_MACHINE, "not supported by this machine"},
	{CNI_CHECK, "attachment is not as it should be"},
	{CNI_DELEGATE, "IPAM plugin failed"},
};

static const char *words_of(enum cni_code code)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (words[i].code == code)
			return words[i].msg;
	}
	return "failed";
}

/* Runtimes show msg, and some of them nothing else. */
json_t *cni_error_json(const struct cni_error *e, const char *version)
{
	enum cni_code code = cni_code_of(e);
	char details[sizeof(e->err.msg)], msg[sizeof(e->err.msg) + 64];

	/* What is quoted of the environment may be anything, and cut off within a character. */
	memcpy(details, e->err.msg, sizeof(details));
	utf8_mend(details);
	snprintf(msg, sizeof(msg), "byway: %s: %s", words_of(code), details);
	return json_pack("{s:s, s:i, s:s, s:s}", "cniVersion", version, "code", (int)code, "msg",
			 msg, "details", details);
}
