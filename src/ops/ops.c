// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <linux/capability.h>
#include <sqlite3.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "kernel/caps.h"
#include "kernel/netns.h"
#include "ops/ops.h"
#include "vpc/host_rules.h"

int ops_open(struct ops *o, enum store_mode mode, struct err *err)
{
	static const int caps[] = {CAP_NET_ADMIN, CAP_SYS_ADMIN};
	int r = mode == STORE_WRITE ? caps_require(caps, ARRAY_SIZE(caps), err) : 0;

	if (!r)
		r = netns_open(NULL, &o->log, &o->host, err);
	if (!r)
		r = store_open(STORE_DIR, mode, &o->st, err);
	return r;
}

void ops_suspend(struct ops *o)
{
	if (o->st)
		store_rollback(o->st);
	store_free(TAKE_PTR(o->st));
	for (size_t i = 0; i < OPS_RESTING; i++)
		netns_leave(TAKE_PTR(o->resting[i]));
	firewall_free(TAKE_PTR(o->fw));
	netns_leave(TAKE_PTR(o->host));
	o->in_dry_transaction = false;
}

void ops_close(struct ops *o)
{
	ops_suspend(o);
	oplog_done(&o->log);
}

/* A dry run is one transaction from the first change to the end, which is never committed. */
int ops_begin(struct ops *o, struct err *err)
{
	int r;

	if (o->in_dry_transaction)
		return 0;
	r = store_begin(o->st, err);
	o->in_dry_transaction = !r && o->log.dry_run;
	return r;
}

int ops_end(struct ops *o, int r, struct err *err)
{
	if (o->in_dry_transaction)
		return r;
	if (!r)
		r = store_commit(o->st, err);
	if (r)
		store_rollback(o->st);
	return r;
}

void ops_rest(struct ops *o, struct netns *ns)
{
	netns_free(o->resting[o->next_resting]);
	o->resting[o->next_resting] = ns;
	o->next_resting = (o->next_resting + 1) % OPS_RESTING;
}

/* The backend that the present VPCs and sessions were made with, or FW_AUTO. */
static int recorded_backend(struct ops *o, enum fw_backend_id *ret, struct err *err)
{
	_stmt_ struct sqlite3_stmt *q = NULL;
	int r = store_query(o->st, &q, err,
			    "SELECT value FROM meta WHERE key = 'firewall' AND"
			    " (EXISTS (SELECT 1 FROM vpc) OR EXISTS (SELECT 1 FROM session)"
			    " OR EXISTS (SELECT 1 FROM egress_use WHERE kind = 'host'))",
			    "");

	*ret = FW_AUTO;
	if (!r)
		r = store_step(o->st, q, err);
	return r == 1 ? firewall_backend_parse((const char *)sqlite3_column_text(q, 0), ret, err) : r;
}

/* native and nft leave the same in the kernel, iptables something else. */
static bool compatible(enum fw_backend_id a, enum fw_backend_id b)
{
	return a == FW_AUTO || b == FW_AUTO || (a == FW_IPTABLES) == (b == FW_IPTABLES);
}

int ops_firewall(struct ops *o, struct err *err)
{
	enum fw_backend_id recorded = FW_AUTO;
	int r = 0;

	if (o->fw)
		return 0;
	if (o->st)
		r = recorded_backend(o, &recorded, err);
	if (!r && !compatible(recorded, o->backend))
		r = err_set(err, ERR_CONFLICT, -EBUSY,
			    "the VPCs or sessions of this host stand on %s firewall rules: delete them "
			    "before another "
			    "--firewall is used",
			    recorded == FW_IPTABLES ? "iptables" : "nftables");
	if (!r)
		r = firewall_new(o->backend == FW_AUTO ? recorded : o->backend, o->host, &o->fw, err);
	if (!r)
		log_debug("firewall backend: %s", firewall_name(o->fw));
	return r;
}

int ops_record_firewall(struct ops *o, struct err *err)
{
	return store_exec(o->st, err, "INSERT OR REPLACE INTO meta (key, value) VALUES ('firewall', ?1)",
			  "s", firewall_name(o->fw));
}

int ops_each_firewall(struct ops *o,
		      int (*fn)(struct ops *o, struct firewall *fw, const void *arg,
				struct err *err),
		      const void *arg, struct err *err)
{
	static const enum fw_backend_id each[] = {FW_NATIVE, FW_IPTABLES};

	for (size_t i = 0; i < ARRAY_SIZE(each); i++) {
		_firewall_ struct firewall *fw = NULL;
		struct err why = {0};
		int r = firewall_new(each[i], o->host, &fw, &why);

		if (r && (why.kind == ERR_UNSUPPORTED || why.kind == ERR_PERMISSION))
			continue; /* does not work here, so has left nothing */
		if (r && err)
			*err = why;
		if (!r)
			r = fn(o, fw, arg, err);
		if (r)
			return r;
	}
	return 0;
}

static int remove_rules(struct ops *o, struct firewall *fw, const void *rs, struct err *err)
{
	return firewall_remove(fw, o->host, rs, err);
}

int ops_rules_remove(struct ops *o, const struct ruleset *rs, struct err *err)
{
	return ops_each_firewall(o, remove_rules, rs, err);
}

int ops_host_verify(struct ops *o, struct err *err)
{
	_host_rules_ struct host_rules h = {0};
	bool empty = true;
	int r = ops_firewall(o, err);

	if (!r)
		r = host_rules_build(o->st, &h, &empty, err);
	return r || empty ? r : firewall_verify(o->fw, o->host, &h.rs, err);
}

int ops_host_remove(struct ops *o, struct err *err)
{
	_host_rules_ struct host_rules h = {0};

	host_rules_init(&h);
	return ops_rules_remove(o, &h.rs, err);
}

int ops_host_sync(struct ops *o, struct err *err)
{
	_host_rules_ struct host_rules h = {0};
	bool empty;
	int r = ops_firewall(o, err);

	if (r)
		return r;
	r = host_rules_build(o->st, &h, &empty, err);
	if (r)
		return r;
	if (!empty)
		return firewall_apply(o->fw, o->host, &h.rs, err);
	r = firewall_remove(o->fw, o->host, &h.rs, err);
	return r ? r : ops_port_rules_sync(o, NULL, err); /* what a failure may have left of that */
}

int ops_host_update(struct ops *o, const struct host_rules *add, const struct host_rules *del,
		    struct err *err)
{
	_host_rules_ struct host_rules none = {0};
	int r = ops_firewall(o, err);

	if (r)
		return r;
	host_rules_init(&none);
	r = firewall_update(o->fw, o->host, add ? &add->rs : &none.rs, del ? &del->rs : &none.rs, err);
	/* Somebody flushed our tables, or they were never there. */
	if (r != -ENOENT)
		return r;
	r = ops_host_sync(o, err);
	return r ? r : ops_port_rules_sync(o, NULL, err);
}

int ops_nat_interface_used(struct ops *o, const char *interface, const char *but_vpc, bool *ret,
			   struct err *err)
{
	_free_ struct nat *nats = NULL;
	size_t n = 0;
	int r = nat_list(o->st, &nats, &n, err);

	if (r)
		return r;
	*ret = false;
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(nats[i].interface, interface) && strcmp(nats[i].vpc, but_vpc) &&
		    nats[i].state == ROW_ACTIVE)
			*ret = true;
	}
	return 0;
}
