// SPDX-License-Identifier: GPL-2.0-or-later
/* Whatever leaves a host while byway prove watches: two bytes of the protocol, and a packet. */
#include <assert.h>
#include <string.h>

#include "fuzz.h"
#include "ops/prove_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct prove_token token = {"0123456789012345", 250, {1, 2, 3, 4, 5, 6}};
	struct ip source;
	bool asked_only;
	int no;

	if (size < 2)
		return 0;
	no = observer_recognise(&token, (uint16_t)(data[0] << 8 | data[1]), data + 2, size - 2,
				&source, &asked_only);
	assert(no >= -1 && no < (int)PROVE_NUMBERS);
	return 0;
}
