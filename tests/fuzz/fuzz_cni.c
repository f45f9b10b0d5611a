// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a runtime says to the CNI plugin: CNI_ARGS in the first line, the configuration behind it;
 * and the same as what another IPAM plugin answers. The readers are included, so that a fuzzer sees
 * their branches even where the library is built without instrumentation.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#include "cni/args.c"

#define read_name config_read_name
#include "cni/config.c"

#include "cni/result.c"

static void told(int r, const struct cni_error *e)
{
	if ((r < 0) != (e->err.msg[0] != '\0'))
		abort();
}

/* A result that is made can be read again, and is what CHECK wants to see. */
static void go_round(struct cni_config *c)
{
	struct vpc v = {.name = "pods", .bridge = "pods", .mtu_bytes = 1500};
	struct port p = {.ifname = "cni-a", .attachment = {.ifname = "eth0"}};
	struct cni_error e = {0};
	json_t *result;

	cidr_parse("10.30.0.0/24", &v.cidr, NULL);
	ip_parse("10.30.0.2", &p.addr, NULL);
	result = cni_result(c, &v, &p, "/run/netns/a", c->dns);
	c->prev_result = result;
	if (!result || cni_result_check(c, &v, &p, &e))
		abort();
	json_decref(result);
}

static void read_config(const char *text, size_t len)
{
	_cni_config_ struct cni_config c = {0};
	struct cni_error e = {0}, base = {0}, answer = {0};
	struct cni_given given;
	int r = cni_config_parse(text, len, &c, &e);

	told(r, &e);
	if (c.root)
		told(cni_given_read(c.root, &given, &answer), &answer);
	if (r)
		return;
	told(cni_config_read_ipam(&c, &base), &base);
	r = cni_config_read(&c, &e);
	told(r, &e);
	if (!r)
		go_round(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	const char *end = size ? memchr(text, '\n', size) : NULL;
	struct cni_wishes wishes = {0};
	struct cni_error e = {0};
	_free_ char *args = NULL;

	if (!end)
		return 0;
	args = strndup(text, (size_t)(end - text));
	told(cni_args_parse(args, &wishes, &e), &e);
	read_config(end + 1, size - (size_t)(end + 1 - text));
	return 0;
}
