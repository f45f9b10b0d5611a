/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The use cases: what the command line (and every other front) can ask for. The only place where
 * state, addresses, firewall and kernel come together.
 *
 * Every operation is whole or not there: it commits its intent, changes the kernel, commits the
 * result; when a step fails it undoes what it did and returns the error of that step. After a
 * crash, deleting the object or ops_gc() removes what is left. Deleting what is not there succeeds.
 */
#ifndef BYWAY_OPS_OPS_H
#define BYWAY_OPS_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firewall/firewall.h"
#include "kernel/oplog.h"
#include "store/store.h"
#include "vpc/vpc.h"

struct buf;
struct err;
struct host_rules;
struct ipam_usage;
struct json_t;
struct mapping;
struct netns;
struct policy;
struct port;
struct ruleset;

#define OPS_RESTING 64

struct ops {
	struct oplog log;
	enum fw_backend_id backend; /* wanted */
	struct store *st;
	struct netns *host;
	struct firewall *fw; /* chosen when first needed */
	bool in_dry_transaction;
	bool names_may_come; /* a policy may name what is not there yet: nobody, until it is */
	struct netns *resting[OPS_RESTING]; /* see ops_rest() */
	size_t next_resting;
};

/* log and backend are set by the caller before. STORE_WRITE needs CAP_NET_ADMIN and CAP_SYS_ADMIN. */
int ops_open(struct ops *o, enum store_mode mode, struct err *err);
void ops_close(struct ops *o);
/* Gives up the state and its lock until the next ops_open(); the log stays, and what it is told. */
void ops_suspend(struct ops *o);
#define _ops_ _cleanup_(ops_close)

struct vpc_params {
	const char *name, *cidr;
	const char *cidr6;  /* or NULL */
	uint32_t mtu_bytes; /* 0: 1500 */
	bool flat;
	bool dns, dhcp;        /* what the gateway serves (dns.h); dhcp only with dns, and flat */
	const struct nat *nat; /* made with it; or NULL */
};
int ops_vpc_create(struct ops *o, const struct vpc_params *p, struct vpc *ret, struct err *err);
/* All at once, which is much quicker than one by one. ret_existed has room for n: those that are not
 * there are left out. */
int ops_vpc_delete(struct ops *o, const char *const names[], size_t n, bool ret_existed[],
		   struct err *err);

#define OPS_NETWORK_CIDR "10.10.0.0/24"

struct network_params {
	struct vpc_params
		vpc; /* cidr NULL: as it is, or OPS_NETWORK_CIDR; flat and nat do not count */
	const char *interface; /* NULL: the one with the default route */
	bool no_nat;
};
/* A flat VPC and its way out: makes what is not there yet. One of that name with another network,
 * or another way out, is a conflict. */
int ops_network_up(struct ops *o, const struct network_params *p, struct vpc *ret,
		   bool *ret_changed, struct err *err);
/* 0 when the network that is there is the one wanted. What is not asked for may be any. */
int ops_network_same(const struct vpc *v, const struct vpc_params *p, struct err *err);
/* The same of these. A VPC that is not flat is a conflict. */
int ops_network_down(struct ops *o, const char *const names[], size_t n, bool ret_existed[],
		     struct err *err);

struct subnet_params {
	const char *name, *cidr; /* cidr NULL: the next free /prefix */
	const char *cidr6;       /* NULL: the next free /64 when the VPC has IPv6 */
	unsigned int prefix;
	bool is_public;
	const char *ways; /* what it goes out by from its first packet on (egress.h); or NULL */
};
/* All of them or none. ret, when not NULL, has room for n. */
int ops_subnet_add(struct ops *o, const char *vpc, const struct subnet_params *p, size_t n,
		   struct subnet *ret, struct err *err);
/* As ops_vpc_delete(). */
int ops_subnet_delete(struct ops *o, const char *vpc, const char *const names[], size_t n,
		      bool ret_existed[], struct err *err);

/* Makes a subnet that is there public or private, as its is_public says. */
int ops_subnet_set_type(struct ops *o, const struct subnet *s, struct err *err);

/* ret has what is wanted, in all fields but ifname, segment, created and state. mac is zero and
 * addresses are of no family where they are to be given; all come back as they are. inside: as in
 * vpc/net.h. */
int ops_port_add(struct ops *o, struct port *ret, struct netns *inside, struct err *err);
/* The same with what belongs to it from its first frame on: all of it or nothing. */
struct port_with {
	const char *policy;       /* the file of its policy, or NULL */
	const char *ways;         /* what it goes out by (egress.h), or NULL */
	struct mapping *mappings; /* published ports, of which vpc and target are the port's */
	size_t n_mappings;
};
int ops_port_add_with(struct ops *o, struct port *ret, struct netns *inside,
		      const struct port_with *with, struct err *err);
/* Ports of one VPC: all of them or none. ret and with have n of them; inside: of the only one. */
int ops_ports_add(struct ops *o, struct port *ret, struct netns *inside,
		  const struct port_with *with, size_t n, struct err *err);
int ops_port_delete(struct ops *o, const char *vpc, const char *name, bool *ret_existed,
		    struct err *err);

/* Makes rate_rx and rate_tx the limits of a port that is there. */
int ops_port_set_rates(struct ops *o, const struct port *wanted, struct err *err);
/* Ports in the order of their VPCs, all of a VPC at once. */
int ops_ports_delete(struct ops *o, const struct port *p, size_t n, struct err *err);
/* Starts a process that deletes the port as soon as the one of pidfd has ended, which p->life is. The
 * state is closed then, as after ops_suspend(). When that fails, the port is deleted. */
int ops_port_while(struct ops *o, const struct port *p, int pidfd, struct err *err);
/* Takes the addresses of a flat VPC's port before there is one of the name: ops_port_add() gets
 * these. Addresses that have a family are exactly those; the others are given. */
int ops_address_take(struct ops *o, const char *vpc, const char *name, struct ip *addr,
		     struct ip *addr6, struct err *err);
/* While there is a port of the name: conflict. Not taken, or no such VPC: done. */
int ops_address_release(struct ops *o, const char *vpc, const char *name, struct err *err);
/* Whether the port's interface is there, and ours. */
bool ops_port_there(struct ops *o, const struct port *p);

/* interface NULL: the one with the default route. ret_changed: false when it was so already. */
int ops_nat_enable(struct ops *o, const char *vpc, const char *interface, struct nat *ret,
		   bool *ret_changed, struct err *err);
int ops_nat_disable(struct ops *o, const char *vpc, bool *ret_existed, struct err *err);

/* Publishes ports of workloads: of each of m the vpc, target, protocol, addresses and ports are the
 * caller's. All of one VPC, all of them or none; those that are new come to the front, and *ret_new is
 * their number. A port of the host's that is taken, by another or by a process, is a conflict. */
int ops_mappings_add(struct ops *o, struct mapping *m, size_t n, size_t *ret_new, struct err *err);
/* Takes them back, and ends the connections that came by them; of one VPC, as listed. */
int ops_mappings_delete(struct ops *o, struct mapping *m, size_t n, struct err *err);

/* allow: comma-separated CIDRs, or NULL. On VPCs that are peered already, the new list takes the
 * old one's place. */
int ops_peer_add(struct ops *o, const char *a, const char *b, const char *allow, struct peer *ret,
		 struct err *err);
int ops_peer_delete(struct ops *o, const char *a, const char *b, bool *ret_existed,
		    struct err *err);

/* Applies the policy in a file to subnets, one after the other: reads the kernel's rules back and cuts
 * the connections that are now forbidden. */
int ops_policy_apply(struct ops *o, const struct subnet *s, size_t n, const char *file,
		     struct err *err);
int ops_policy_remove(struct ops *o, const struct subnet *s, bool *ret_existed, struct err *err);
/* -ESTALE: the kernel has something else. -ENOENT: the subnet has no policy. */
int ops_policy_verify(struct ops *o, const struct subnet *s, struct err *err);
/* The same of ports: all of them or none, each with a file of its own. */
int ops_ports_policy_apply(struct ops *o, const struct port *p, const char *const files[], size_t n,
			   struct err *err);
int ops_port_policy_remove(struct ops *o, const struct port *p, bool *ret_existed, struct err *err);
int ops_port_policy_verify(struct ops *o, const struct port *p, struct err *err);
/* -ESTALE: the kernel's table is not what the state says, with a policy or without. */
int ops_subnet_rules_verify(struct ops *o, const struct subnet *s, struct err *err);
/* Makes it so. */
int ops_policy_repair(struct ops *o, const struct subnet *s, bool *ret_changed, struct err *err);
/* The subnet that a policy file says it is for ("namespace", else "subnet"). */
int ops_policy_target(struct ops *o, const char *file, struct subnet *ret, struct err *err);

/* What gc found and put right. */
struct gc_report {
	size_t rows, links, namespaces, rulesets, ports, sysctls; /* ports: and bridges */
	size_t services; /* DNS of VPCs, and what carries tunnels */
};
int ops_gc(struct ops *o, struct gc_report *ret, struct err *err);
/* How many objects and links it would take away. Reads only; 0 while a command is changing something. */
int ops_gc_look(struct ops *o, size_t *ret, struct err *err);
/* Removes everything byway made, known to the state or not, and the state. Opens what it needs itself:
 * it works when ops_open() refuses the database. */
int ops_reset(struct ops *o, struct gc_report *ret, struct err *err);

/* Replaces this process by argv inside the subnet's namespace; returns on failure, and 0 after a dry run. */
int ops_exec(struct ops *o, const struct subnet *s, char *const argv[], struct err *err);

/* Moves this process, which has one thread, into a namespace for good, with the namespace's files of
 * /etc and away from daemons that would ask another network: a child that is to live there. */
int ops_enter(const struct netns *ns, struct err *err);

/* ---- Shared by the files of this folder. ---- */

int ops_begin(struct ops *o, struct err *err);
/* Commits when r is 0, else rolls back and returns r. A dry run keeps nothing. */
int ops_end(struct ops *o, int r, struct err *err);

/* Takes over a handle to be freed later. Whoever closes a netfilter socket waits until the rules that
 * were replaced through it are freed, an RCU grace period of some 10 ms: with many namespaces one after
 * the other, each rests until that is long over. What rests at the end is left to the kernel
 * (netns_leave()). */
void ops_rest(struct ops *o, struct netns *ns);

/* Chooses the backend: the one that the present VPCs and sessions stand on, else the wanted one. */
int ops_firewall(struct ops *o, struct err *err);
/* Remembers it, with the first of them; inside the caller's transaction. */
int ops_record_firewall(struct ops *o, struct err *err);
/* Single elements into, or out of, the host's tables; the whole tables when they are not there. */
int ops_host_update(struct ops *o, const struct host_rules *add, const struct host_rules *del,
		    struct err *err);
/* Makes the host's tables what the state says, or removes them with the last VPC. */
int ops_host_sync(struct ops *o, struct err *err);
/* -ESTALE: they are something else. Without a VPC they are not looked for. */
int ops_host_verify(struct ops *o, struct err *err);
/* A table of the host's as the state has it, added to ret, which the caller has initialised. *empty:
 * there should be none. */
typedef int ops_table_fn(struct ops *o, struct ruleset *ret, bool *empty, struct err *err);
/* Makes the kernel's so. */
int ops_table_sync(struct ops *o, ops_table_fn *table, struct err *err);
/* -ESTALE: it is something else. One that should not be is not looked for. */
int ops_table_verify(struct ops *o, ops_table_fn *table, struct err *err);
/* The same of all tables and rules of the host, where there are any that should be. */
int ops_rules_verify(struct ops *o, struct err *err);
int ops_rules_restore(struct ops *o, struct err *err);
/* Removes them, whichever backend made them: for when the state does not know. */
int ops_host_remove(struct ops *o, struct err *err);
/* NAT of a VPC, which may not be there yet, through the interface or, with NULL, that with the
 * default route: is that one to go out by? */
int ops_nat_choose(struct ops *o, const char *vpc, const char *interface, struct nat *ret,
		   struct err *err);
/* A further outgoing interface needs rules, not only elements: is it in use apart from this VPC? */
int ops_nat_interface_used(struct ops *o, const char *interface, const char *but_vpc,
			   bool *ret, struct err *err);

/* The steps of publishing, for ops_port_add_published(): */
/* Those that are free, and not there yet, to the front; what a crash left of any goes. */
int ops_mappings_choose(struct ops *o, struct mapping *m, size_t n, size_t *ret_new,
			struct err *err);
int ops_mappings_lead_to(struct mapping *m, size_t n, const struct port *p, struct err *err);
/* Inside the caller's transaction. */
int ops_mappings_save(struct ops *o, struct mapping *m, size_t n, enum row_state state,
		      struct err *err);
/* In the kernel, once the rows are there. */
int ops_mappings_up(struct ops *o, const struct mapping *m, size_t n, struct err *err);
/* The text of a policy's file, and what it says. */
int ops_policy_read(const char *file, struct buf *text, struct policy **ret, struct err *err);
/* A subnet, VM or VPC of the name is there now, with its addresses, or will be gone: policies that name it
 * are made what that means. */
int ops_policy_refresh(struct ops *o, const char *name, struct err *err);
/* What its names stand for, in a policy of the VPC's. One of nobody's is an error (ERR_USAGE). */
int ops_policy_names(struct ops *o, const char *vpc, const char *file, struct policy *p,
		     struct err *err);
/* What a policy's file is known by: freed by the caller. */
char *ops_policy_path(const char *file);
/* Does the file say that it is for somebody else? */
int ops_port_policy_check(const struct policy *p, const char *file, const struct port *port,
			  struct err *err);
/* Makes the table of ports' policies what the state says, or removes it with the last; reads it
 * back, and cuts what is now forbidden, with changed not NULL: a port whose policy is new, or gone. */
int ops_port_rules_sync(struct ops *o, const struct port *changed, struct err *err);
/* Only where it differs. */
int ops_port_rules_repair(struct ops *o, size_t *count, struct err *err);
/* Removes it, whichever backend made it. */
int ops_port_rules_remove(struct ops *o, struct err *err);
/* Ports are under their policies as soon as the state says so, but for the bridge's sets: host_rules_port() has
 * them. n are new; p is one of these. */
int ops_ports_under(struct ops *o, const struct port *p, size_t n, struct err *err);
/* Has frames that are taken off bridges reach the host, also of bridges that an older byway made. */
int ops_port_take(struct ops *o, struct err *err);

/* Calls fn with a firewall of each kind that there may be rules of, whichever is chosen, until one fails. */
int ops_each_firewall(struct ops *o,
		      int (*fn)(struct ops *o, struct firewall *fw, const void *arg,
				struct err *err),
		      const void *arg, struct err *err);
/* Removes the tables named in rs, whichever backend made them. */
int ops_rules_remove(struct ops *o, const struct ruleset *rs, struct err *err);

/* A VPC that something can be added to. */
int ops_vpc_active(struct ops *o, const char *name, struct vpc *ret, struct err *err);

/* An address of net, which is the VPC's or the subnet's, from its pool: ret's own when that has a
 * family, else the owner's next. Inside the caller's transaction. The pool of a network
 * without subnets is that of OPS_NO_SUBNET. */
#define OPS_NO_SUBNET "."
int ops_lease(struct ops *o, const struct vpc *v, const char *subnet, const struct cidr *net,
	      const char *owner, struct ip *ret, struct err *err);
/* Both families' for the port of that name; s NULL: of a flat VPC. */
int ops_lease_port(struct ops *o, const struct vpc *v, const struct subnet *s, const char *name,
		   struct ip *addr, struct ip *addr6, struct err *err);
int ops_lease_release(struct ops *o, const char *vpc, const char *subnet, int family,
		      const char *owner, struct err *err);
/* -ENOENT when nobody has leased from it yet. */
int ops_lease_usage(struct ops *o, const char *vpc, const char *subnet, int family,
		    struct ipam_usage *ret, struct err *err);
/* Who leases the address of the port of that name. */
#define OPS_OWNER_MAX (NAME_MAX_LEN + 8)
const char *ops_port_owner(const char *name, char ret[OPS_OWNER_MAX]);

/* Makes marks, rules and routes what the state says of ways out, and forgets lists that nobody goes
 * out by any more. tables_too: also the VPCs' tables, where lists have rules. */
int ops_ways_sync(struct ops *o, bool tables_too, struct err *err);
/* After workloads went: those of their lists that nobody else goes out by. */
int ops_ways_prune(struct ops *o, struct err *err);

int ops_publish(struct ops *o, const char *vpc, struct err *err);
int ops_unpublish(struct ops *o, const char *vpc, struct err *err);
int ops_unpublish_all(struct ops *o, struct err *err);

/* One VPC with all that is in it, as JSON (schema byway.vpc/1); a new reference. */
int ops_describe(struct ops *o, const char *vpc, struct json_t **ret, struct err *err);

/* Sets a kernel setting (kernel/sysctl.h) and remembers what it was, for its owner: "forwarding" or
 * "doctor". Set already, by us or by others: nothing. */
int ops_setting_change(struct ops *o, const char *owner, const char *key, const char *value,
		       bool *ret_changed, struct err *err);
/* Puts the owner's back, but for those that somebody has changed since. */
int ops_setting_restore(struct ops *o, const char *owner, size_t *ret_changed, struct err *err);
/* ret_changed, when not NULL, becomes true when a switch had to be changed. */
int ops_forwarding_on(struct ops *o, bool v6, bool *ret_changed, struct err *err);
/* The same, as what there is needs it. */
int ops_forwarding_keep(struct ops *o, bool *ret_changed, struct err *err);
/* -ESTALE: somebody has switched it off. */
int ops_forwarding_verify(struct ops *o, struct err *err);
/* How many VPCs and sessions there are. */
int ops_forwarding_users(struct ops *o, int64_t *ret, struct err *err);
/* When there is none left. */
int ops_forwarding_restore(struct ops *o, size_t *ret_changed, struct err *err);
/* The same from the published view, for when the state cannot be read. */
int ops_forwarding_rescue(struct ops *o, size_t *ret_changed, struct err *err);

/* Take away everything of VPCs, of some of one's subnets with their ports, or some ports, whatever
 * state it is in. They go on after errors and return the first, with the count of the others. */
int ops_teardown_vpcs(struct ops *o, const struct vpc *v, size_t n, struct err *err);
int ops_teardown_subnets(struct ops *o, const struct vpc *v, const struct subnet *s, size_t n,
			 struct err *err);
int ops_teardown_ports(struct ops *o, const struct vpc *v, const struct port *p, size_t n,
		       struct err *err);

#endif
