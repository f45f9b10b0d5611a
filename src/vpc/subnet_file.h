/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file that lists subnets: [{"name": "web", "cidr": "10.0.1.0/24", "type": "public"}, …], JSON or YAML. */
#ifndef BYWAY_VPC_SUBNET_FILE_H
#define BYWAY_VPC_SUBNET_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/ip.h"
#include "vpc/vpc.h"

struct err;

struct subnet_entry {
	char name[NAME_MAX_LEN];
	char cidr[CIDR_STRLEN], cidr6[CIDR_STRLEN]; /* "" where the file has none */
	bool is_public;
};

#define SUBNET_FILE_MAX 65536

/* Errors read FILE:LINE:COLUMN. *ret is freed by the caller. */
int subnet_file_read(const char *file, struct subnet_entry **ret, size_t *n, struct err *err);

#endif
