// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The policy parser on foreign bytes, and the compiler on what it accepts. The parser is included,
 * with what reads documents for it, so that a fuzzer sees their branches even where the library is
 * built without instrumentation.
 */
#include <stdlib.h>

#include "firewall/ruleset.h"
#include "fuzz.h"

#include "base/doc.c"
#include "vpc/policy_parse.c"

static void compile(const struct policy *p)
{
	_ruleset_ struct ruleset rs;

	ruleset_init(&rs);
	policy_ruleset(p, "eth0", &rs);
}

static void judge(const struct policy *p)
{
	struct ip src = {.family = AF_INET, .bytes = {10, 0, 0, 1}}, dst = src;
	bool allowed;

	policy_eval(p, POLICY_INGRESS, &src, &dst, IPPROTO_TCP, 80, &allowed);
	policy_eval(p, POLICY_EGRESS, &src, &dst, IPPROTO_ICMP, 0, &allowed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_policy_ struct policy *p = NULL;
	struct err err = {0};
	int r = policy_parse("fuzz", (const char *)data, size, &p, &err);

	/* Either a policy or a sentence that says what is wrong with it. */
	if ((r == 0) != (p != NULL) || (r < 0) != (err.msg[0] != '\0'))
		abort();
	if (p) {
		compile(p);
		judge(p);
	}
	return 0;
}
