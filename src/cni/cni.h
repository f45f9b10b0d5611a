/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * byway as a plugin for container runtimes: one command of the Container Network Interface, from
 * the environment and standard input to what goes to standard output.
 *
 * An attachment is a port (vpc/port.h) that knows its container, interface and configuration.
 */
#ifndef BYWAY_CNI_CNI_H
#define BYWAY_CNI_CNI_H

#include "base/buf.h"
#include "cni/args.h"
#include "cni/config.h"
#include "cni/error.h"
#include "ops/ops.h"

struct cni_job {
	struct cni_args args;
	struct buf text; /* standard input */
	struct cni_config config;
	struct ops ops;
	json_t *result; /* NULL: nothing to say */
	struct cni_error error;
};

/* Runs $CNI_COMMAND. Whatever comes back, the result or the error is in j, for cni_job_print(). */
int cni_job_run(struct cni_job *j, const char *command);
/* Prints it; r is what cni_job_run() returned. -EIO when that failed. */
int cni_job_print(const struct cni_job *j, int r);
void cni_job_done(struct cni_job *j);

/* ---- The commands (attach.c, check.c). j has what the command's row in cni.c says it needs. ----
 */

int cni_add(struct cni_job *j);
int cni_del(struct cni_job *j);
int cni_check(struct cni_job *j);
int cni_gc(struct cni_job *j);
int cni_status(struct cni_job *j);

/* -ENOENT, without words: this configuration has no such attachment. */
int cni_find(struct cni_job *j, struct port *ret);
/* Fills in where the configuration's port mappings lead to. */
void cni_mappings_to(struct cni_job *j, const struct port *p);
/* Runs the plugin that gives addresses, if that is another one. */
int cni_ask_ipam(struct cni_job *j, const char *command, json_t **ret);

#endif
