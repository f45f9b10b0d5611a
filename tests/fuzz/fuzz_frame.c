// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Frames, and the resolv.conf of a foreign server. The parsers are included, so that a fuzzer sees their
 * branches. A frame that is taken is the only way to write what it says.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#include "agent/proto.c"
#include "agent/resolv.c"

static void check(enum frame_sender sender, const uint8_t *data, size_t size)
{
	uint8_t head[PROTO_HEAD_MAX];
	struct frame f;
	size_t used, n;
	int r = frame_parse(sender, data, size, &f, &used);

	if (r < 0)
		return;
	if (used > PROTO_FRAME_MAX || (r == 0) != (used > size))
		abort();
	if (r == 0 || (f.type == FRAME_HELLO && f.hello.version != PROTO_VERSION))
		return;
	n = frame_put_head(sender, &f, head);
	if (n > sizeof(head) || n + f.len != used || memcmp(head, data, n) != 0 ||
	    (f.len && f.data != data + n))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proto_addr resolvers[PROTO_RESOLVERS_MAX];

	check(FROM_BYWAY, data, size);
	check(FROM_AGENT, data, size);
	if (resolv_parse((const char *)data, size, resolvers) > PROTO_RESOLVERS_MAX)
		abort();
	return 0;
}
