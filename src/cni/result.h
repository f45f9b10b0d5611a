/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a runtime is told of an attachment (CNI specification, section 5), in the words of the
 * version that it speaks, and what it says of it later.
 */
#ifndef BYWAY_CNI_RESULT_H
#define BYWAY_CNI_RESULT_H

#include "cni/config.h"
#include "vpc/port.h"

/* With what plugins before this one did, when there is config->prev_result. dns NULL: as the
 * network has it. A new reference. */
json_t *cni_result(const struct cni_config *c, const struct vpc *v, const struct port *p,
		   const char *sandbox, json_t *dns);

/* Does config->prev_result have the port as it is? Another plugin may have changed the MAC's text
 * and added to it. */
int cni_result_check(const struct cni_config *c, const struct vpc *v, const struct port *p,
		     struct cni_error *e);

/* What an IPAM plugin has given. */
struct cni_given {
	struct cidr addrs[CNI_ADDRS_MAX];
	struct ip gateways[CNI_ADDRS_MAX]; /* of no family where it named none */
	size_t n;
	json_t *dns; /* borrowed from the result */
};

int cni_given_read(json_t *result, struct cni_given *ret, struct cni_error *e);

#endif
