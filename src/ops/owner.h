/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which objects belong to which file. What an apply makes belongs to its file from the transaction
 * in which its row appears, and until its row is deleted by whomever.
 */
#ifndef BYWAY_OPS_OWNER_H
#define BYWAY_OPS_OWNER_H

#include <stdbool.h>
#include <stddef.h>

#include "vpc/vpc.h"

struct err;
struct store;

#define OBJECT_MAX (2 * NAME_MAX_LEN) /* "VPC/SUBNET" with its NUL */

struct owned {
	char kind[16]; /* "vpc", "subnet", …: as in the schema's triggers */
	char name[OBJECT_MAX];
	char *file; /* absolute; owned */
};

/* All of them, ordered by kind and name. */
int owner_list(struct store *st, struct owned **ret, size_t *n, struct err *err);
/* What is said of objects (NAT, policies, peerings, ways out, published ports) and is not this file's. */
int owner_list_others(struct store *st, const char *file, struct owned **ret, size_t *n,
		      struct err *err);
void owner_list_free(struct owned *o, size_t n);
/* NULL when nobody owns it. */
struct owned *owner_find(struct owned *list, size_t n, const char *kind, const char *name);

/* Rows that are inserted by this store from now on belong to the file, unless they have an owner.
 */
int owner_begin(struct store *st, const char *file, struct err *err);
/* One that is there, and nobody's, or a file's that is gone. */
int owner_adopt(struct store *st, const char *kind, const char *name, const char *file,
		struct err *err);

#endif
