/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a runtime is told when something fails: a number of the specification's, or of ours from 100
 * on, and the sentence that every error of byway has.
 */
#ifndef BYWAY_CNI_ERROR_H
#define BYWAY_CNI_ERROR_H

#include "base/err.h"

struct json_t;

enum cni_code {
	CNI_OK = 0,
	CNI_VERSION = 1,     /* of the protocol, not spoken here */
	CNI_UNSUPPORTED = 2, /* key and value are in the sentence */
	CNI_NO_CONTAINER = 3,
	CNI_ENVIRONMENT = 4, /* the variables are named in the sentence */
	CNI_IO = 5,
	CNI_DECODE = 6,
	CNI_CONFIG = 7,
	CNI_TRY_AGAIN = 11,
	CNI_UNAVAILABLE = 50,
	CNI_FAILED = 100,    /* the machine refused something */
	CNI_CONFLICT = 101,  /* name, address or interface is taken */
	CNI_EXHAUSTED = 102, /* no address is left */
	CNI_DENIED = 103,    /* not root */
	CNI_MACHINE = 104,   /* the kernel, or a program that is missing */
	CNI_CHECK = 105,     /* an attachment is not what it was made as */
	CNI_DELEGATE = 106,  /* the IPAM plugin failed without saying how */
};

struct cni_error {
	enum cni_code code; /* CNI_OK: as err has it */
	struct err err;
};

/* Sets code and sentence, and returns -EINVAL, so that failing is one statement. */
int cni_fail(struct cni_error *e, enum cni_code code, const char *fmt, ...) _printf_(3, 4);
/* The code of what failed below. */
enum cni_code cni_code_of(const struct cni_error *e);
/* The object that goes to standard output. */
struct json_t *cni_error_json(const struct cni_error *e, const char *version);

#endif
