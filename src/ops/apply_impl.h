/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the parts of apply.c: how what there is differs from what is wanted (apply_diff.c). */
#ifndef BYWAY_OPS_APPLY_IMPL_H
#define BYWAY_OPS_APPLY_IMPL_H

#include "config/config.h"
#include "ops/apply.h"

struct buf;

/* Ordered by how much it takes. */
enum diff { DIFF_NONE, DIFF_IN_PLACE, DIFF_ANEW };

/* What differs is appended to why: "cidr 10.0.0.0/16 → 10.1.0.0/16". */
enum diff diff_vpc(const struct config_vpc *want, const struct vpc *is, struct buf *why);
enum diff diff_nat(const char *interface, const struct nat *is, struct buf *why);
enum diff diff_subnet(const struct config_subnet *want, const struct subnet *is, struct buf *why);
enum diff diff_policy(const char *text, const struct policy_row *is, struct buf *why);
enum diff diff_peer(const struct config_peer *want, const struct peer *is, struct buf *why);
enum diff diff_publish(const struct config_publish *want, const struct mapping *is,
		       struct buf *why);
enum diff diff_egress(const struct config_egress *want, const struct egress *is, struct buf *why);
enum diff diff_use(const struct config_use *want, const struct use *is, struct buf *why);
enum diff diff_vm(const struct config_vm *want, const struct port *is, struct buf *why);

/* What is wanted, in a few words. */
void tell_vpc(const struct config_vpc *want, struct buf *b);
void tell_subnet(const struct config_subnet *want, struct buf *b);
void tell_peer(const struct config_peer *want, struct buf *b);
void tell_vm(const struct config_vm *want, struct buf *b);

/* What is asked on the host: a published port's name (owner.h). */
void mapping_name(const struct mapping *m, char ret[OBJECT_MAX]);
/* Comma-separated networks. */
void tell_allowed(const struct peer *p, struct buf *b);

#endif
