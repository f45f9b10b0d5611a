// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The reader of byway-config(5) on foreign bytes, included with what reads documents for it (see
 * fuzz_policy.c).
 */
#include <stdlib.h>

#include "fuzz.h"

#include "base/doc.c"
#include "config/check.c"
#include "config/config.c"
#include "config/ports.c"
#include "config/values.c"
#include "config/vms.c"
#include "config/vpcs.c"
#include "config/ways.c"

/* What those who make the networks rely on. */
static void check_config(const struct config *c)
{
	for (size_t i = 0; i < c->n_vpcs; i++)
		if (!*c->vpcs[i].v.name || c->vpcs[i].v.cidr.addr.family != AF_INET)
			abort();
	for (size_t i = 0; i < c->n_subnets; i++)
		if (!*c->subnets[i].s.name || !config_find_vpc(c, c->subnets[i].s.vpc) ||
		    c->subnets[i].s.cidr.addr.family != AF_INET)
			abort();
	for (size_t i = 0; i < c->n_peers; i++)
		if (strcmp(c->peers[i].p.a, c->peers[i].p.b) >= 0 ||
		    !config_find_vpc(c, c->peers[i].p.a) || !config_find_vpc(c, c->peers[i].p.b))
			abort();
	for (size_t i = 0; i < c->n_vms; i++)
		if (!*c->vms[i].p.name || !config_find_vpc(c, c->vms[i].p.vpc) ||
		    !c->vms[i].p.queues)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_config_ struct config *c = NULL;
	struct err err = {0};
	int r = config_parse("fuzz.yaml", (const char *)data, size, &c, &err);

	if ((r == 0) != (c != NULL) || (r < 0) != (err.msg[0] != '\0'))
		abort();
	if (c)
		check_config(c);
	return 0;
}
