// SPDX-License-Identifier: GPL-2.0-or-later
#include <cap-ng.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "base/err.h"
#include "kernel/caps.h"

int caps_require(const int *caps, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		char name[64];

		if (capng_have_capability(CAPNG_EFFECTIVE, (unsigned int)caps[i]) > 0)
			continue;
		snprintf(name, sizeof(name), "cap_%s",
			 capng_capability_to_name((unsigned int)caps[i]));
		for (char *c = name; *c; c++)
			*c = (char)toupper((unsigned char)*c);
		return err_set(err, ERR_PERMISSION, -EPERM,
			       "this needs the capability %s: run it as root (sudo)", name);
	}
	return 0;
}
