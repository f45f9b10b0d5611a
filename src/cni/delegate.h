/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Other plugins that are asked for addresses (CNI specification, section 4). */
#ifndef BYWAY_CNI_DELEGATE_H
#define BYWAY_CNI_DELEGATE_H

#include <jansson.h>

#include "cni/error.h"

struct buf;

/* Runs plugin, looked up in path ("DIR:DIR"), as command with our environment, and text on its
 * standard input. What it says on standard error goes to ours. *ret, when ret is not NULL: what it
 * says on standard output; a new reference. Its own error becomes *e. */
int cni_delegate(const char *plugin, const char *path, const char *command, const struct buf *text,
		 json_t **ret, struct cni_error *e);

#endif
