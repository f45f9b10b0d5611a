/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agents that were built with byway, one for each kind of machine that had a compiler then. */
#ifndef BYWAY_AGENT_BINARIES_H
#define BYWAY_AGENT_BINARIES_H

#include <stdint.h>

struct agent_binary {
	const char *machine; /* as uname -m has it; NULL: the table ends here */
	const uint8_t *start, *end;
	const char *sha256; /* in hex */
};

extern const struct agent_binary agent_binaries[];

#endif
