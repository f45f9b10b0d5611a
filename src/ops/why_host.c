// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the host does with all that it sends and forwards: a block before there is a tunnel, and the
 * host's tunnel. tunnel/capture.c is what this has to agree with.
 */
#include <netinet/in.h>
#include <string.h>

#include "base/err.h"
#include "ops/block.h"
#include "ops/ops.h"
#include "ops/tunnel.h"
#include "ops/why_impl.h"

#define DNS_PORT 53

/* Of a list of networks or addresses. */
static bool is_listed(const json_t *list, const struct ip *ip)
{
	const json_t *item;
	struct cidr c;
	size_t i;

	json_array_foreach(list, i, item)
	{
		if (!cidr_parse(json_string_value(item), &c, NULL) && cidr_has(&c, ip))
			return true;
	}
	return false;
}

static bool asks_names(const struct why_flow *f)
{
	return f->proto != IPPROTO_ICMP && f->port == DNS_PORT;
}

static bool is_left_alone(const json_t *captures, const struct why_flow *f, const struct ip *to)
{
	const json_t *include = json_object_get(captures, "include");

	if (json_is_true(json_object_get(captures, "members_only")))
		return true;
	if (json_is_true(json_object_get(captures, "dns")) && asks_names(f))
		return false;
	if (f->proto == IPPROTO_TCP && is_listed(json_object_get(captures, "servers"), to))
		return true;
	return is_listed(json_object_get(captures, "exclude"), to) ||
	       (json_array_size(include) && !is_listed(include, to));
}

static bool is_carried(const json_t *captures, const struct why_flow *f)
{
	return f->proto == IPPROTO_TCP || json_is_true(json_object_get(captures, "datagrams")) ||
	       (json_is_true(json_object_get(captures, "dns")) && asks_names(f));
}

static enum why_say tunnel_says(const json_t *status, const struct why_flow *f, const struct ip *to)
{
	const json_t *captures = json_object_get(status, "captures");
	const char *state = json_string_value(json_object_get(status, "state"));
	bool dead = state && !strcmp(state, tunnel_state_name(TUNNEL_KILLED));

	if (!captures || is_left_alone(captures, f, to))
		return WHY_FREE;
	if (is_carried(captures, f) && !dead)
		return WHY_CAPTURED;
	return json_is_true(json_object_get(status, "kill_switch")) ? WHY_REFUSED : WHY_FREE;
}

enum why_say why_host_says(struct ops *o, const struct why_flow *f, const struct ip *to,
			   char tun[IFNAMSIZ])
{
	enum why_say says = WHY_FREE;
	json_t *status = NULL;
	const char *name;

	*tun = '\0';
	if (ops_is_blocked(o))
		return WHY_BLOCKED;
	if (ops_tunnel_status(TUNNEL_DIR, NULL, &status, NULL))
		return WHY_FREE;
	name = json_string_value(json_object_get(status, "tun"));
	says = tunnel_says(status, f, to);
	if (name)
		str_copy(tun, IFNAMSIZ, name);
	json_decref(status);
	return says;
}
