/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a rule means in one family. Internal to the policy_*.c files.
 */
#ifndef BYWAY_VPC_POLICY_RULE_H
#define BYWAY_VPC_POLICY_RULE_H

#include <stdbool.h>
#include <stdint.h>

struct policy_rule;

/* Whether the rule says anything about packets of this family. */
bool policy_rule_in_family(const struct policy_rule *r, int family);
/* Its range of IPPROTO_* there: "icmp" is ICMP in IPv4 and ICMPv6 in IPv6. */
void policy_rule_protos(const struct policy_rule *r, int family, uint8_t *ret_lo, uint8_t *ret_hi);

#endif
