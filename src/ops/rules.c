// SPDX-License-Identifier: GPL-2.0-or-later
/* The host's own rules as a whole, and that it forwards: whether they are what the state says, and making
 * them so. */
#include <errno.h>

#include "base/err.h"
#include "firewall/firewall.h"
#include "ops/ops.h"
#include "ops/session.h"
#include "ops/ways.h"
#include "vpc/port_rules.h"

static int verify_ports(struct ops *o, struct err *err)
{
	_port_rules_ struct port_rules *rules = NULL;
	_ruleset_ struct ruleset rs;
	int r = port_rules_load(o->st, &rules, err);

	ruleset_init(&rs);
	if (r || port_rules_empty(rules))
		return r;
	port_rules_build(rules, &rs);
	return firewall_verify(o->fw, o->host, &rs, err);
}

static int build(struct ops *o, ops_table_fn *table, struct ruleset *rs, bool *empty,
		 struct err *err)
{
	int r = ops_firewall(o, err);

	ruleset_init(rs);
	return r ? r : table(o, rs, empty, err);
}

int ops_table_verify(struct ops *o, ops_table_fn *table, struct err *err)
{
	_ruleset_ struct ruleset rs;
	bool empty;
	int r = build(o, table, &rs, &empty, err);

	return r || empty ? r : firewall_verify(o->fw, o->host, &rs, err);
}

int ops_table_sync(struct ops *o, ops_table_fn *table, struct err *err)
{
	_ruleset_ struct ruleset rs;
	bool empty;
	int r = build(o, table, &rs, &empty, err);

	if (r)
		return r;
	return empty ? firewall_remove(o->fw, o->host, &rs, err)
		     : firewall_apply(o->fw, o->host, &rs, err);
}

int ops_rules_verify(struct ops *o, struct err *err)
{
	int r = ops_host_verify(o, err);

	if (!r)
		r = verify_ports(o, err);
	if (!r)
		r = ops_table_verify(o, ops_session_rules, err);
	if (!r)
		r = ops_table_verify(o, ops_legs_rules, err);
	if (!r)
		r = ops_table_verify(o, ops_host_way_rules, err);
	if (!r)
		r = ops_ways_verify(o, err);
	return r ? r : ops_forwarding_verify(o, err);
}

int ops_rules_restore(struct ops *o, struct err *err)
{
	int r = ops_table_sync(o, ops_host_way_rules, err);

	if (!r)
		r = ops_table_sync(o, ops_session_rules, err);
	if (!r)
		r = ops_ways_sync(o, true, err); /* the host's tables, too */
	if (!r)
		r = ops_port_rules_sync(o, NULL, err);
	return r ? r : ops_forwarding_keep(o, NULL, err);
}
