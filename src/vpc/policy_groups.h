/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names in policies instead of networks: a subnet of the policy's own VPC, "VPC/SUBNET",
 * "NETWORK/VM" or "VPC".
 */
#ifndef BYWAY_VPC_POLICY_GROUPS_H
#define BYWAY_VPC_POLICY_GROUPS_H

struct err;
struct policy;
struct store;

/* As the state is; what does not exist is nobody. vpc: whose the policy is. */
int policy_groups_resolve(struct store *st, const char *vpc, struct policy *p, struct err *err);
/* The same, but what does not exist is an error at its place in the file (ERR_USAGE). */
int policy_groups_check(struct store *st, const char *vpc, const char *file, struct policy *p,
			struct err *err);

#endif
