/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of why share. */
#ifndef BYWAY_OPS_WHY_IMPL_H
#define BYWAY_OPS_WHY_IMPL_H

#include <net/if.h>

#include "ops/why.h"

/* ---- Ends ---- */

int why_end_by_name(struct ops *o, const char *text, int family, struct why_end *ret,
		    struct err *err);
int why_end_find(struct ops *o, const char *text, int family, struct why_end *ret, struct err *err);
/* An address says which family; both have to say the same. */
int why_find_family(const char *from, const char *to, struct why_flow *f, struct err *err);

/* ---- The host's own traffic, and what it forwards ---- */

enum why_say {
	WHY_FREE,     /* goes where the main table says */
	WHY_CAPTURED, /* into the host's tunnel */
	WHY_REFUSED,  /* by that one's kill switch */
	WHY_BLOCKED,  /* until there is a tunnel: ops_block() */
};

/* Of what the host sends, or forwards, to an address. tun: of the tunnel that has a say, or "". */
enum why_say why_host_says(struct ops *o, const struct why_flow *f, const struct ip *to,
			   char tun[IFNAMSIZ]);

#endif
