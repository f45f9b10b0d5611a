/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carrying a ruleset out in a network namespace, by one of three backends.
 *
 * native: one libnftnl batch over our own netlink socket. nft: the nft(8) program, `nft -f -`.
 * iptables: iptables-restore, ip6tables-restore, ebtables-restore and ipset. The backend is chosen
 * once per process (native when the kernel answers it, else nft, else iptables), logged once, and
 * may be forced. All three give the same behaviour; the test battery holds them to it.
 *
 * What iptables cannot do: replace all in one transaction (it is one for each of filter, nat, ...
 * of each family); keep the order of priorities among the tables of one hook; change single
 * elements of a verdict map (ERR_UNSUPPORTED); look up a destination without a rule for each; keep
 * more than 64 interfaces for one network and those around it in a set of networks and interfaces
 * (a limit of hash:net,iface); look at the target of a neighbour advertisement: rules about that go
 * to nf_tables, and where the kernel has none, compare the source address instead, which is weaker.
 */
#ifndef BYWAY_FIREWALL_FIREWALL_H
#define BYWAY_FIREWALL_FIREWALL_H

#include "firewall/ruleset.h"

struct err;
struct netns;

enum fw_backend_id { FW_AUTO, FW_NATIVE, FW_NFT, FW_IPTABLES, FW_NUM_BACKENDS };

struct firewall; /* the chosen backend */

/* "auto", "native", "nft", "iptables". */
int firewall_backend_parse(const char *name, enum fw_backend_id *ret, struct err *err);
const char *firewall_backend_name(enum fw_backend_id id);
/* Chooses; probes in ns (the host's). ERR_UNSUPPORTED names the CONFIG_ or program missing. */
int firewall_new(enum fw_backend_id want, struct netns *ns, struct firewall **ret, struct err *err);
void firewall_free(struct firewall *fw);
void firewall_free_p(struct firewall **fw);
#define _firewall_ _cleanup_(firewall_free_p)
const char *firewall_name(const struct firewall *fw);

/* Makes each table of rs exactly what rs says, replacing what it held: in one transaction where
 * the backend has one (see above), so that no packet meets half a ruleset. Tables not in rs are
 * not touched. */
int firewall_apply(struct firewall *fw, struct netns *ns, const struct ruleset *rs,
		   struct err *err);
/* Adds and removes elements of sets that are in the kernel already. `add` and `del` describe
 * tables with the sets and only the elements concerned (chains are ignored). One transaction with
 * the native and nft backends, del before add. An element that is there already, or gone already,
 * is no error; a table or set that is not there is. Either may be NULL. */
int firewall_update(struct firewall *fw, struct netns *ns, const struct ruleset *add,
		    const struct ruleset *del, struct err *err);
/* Removes the tables named in rs (its sets and chains are ignored). Absent: done. */
int firewall_remove(struct firewall *fw, struct netns *ns, const struct ruleset *rs,
		    struct err *err);
/* Reads back from the kernel and compares: 0 when each table of rs is there with the same
 * chains, rules and set elements, -ESTALE with a sentence that names the first difference. */
int firewall_verify(struct firewall *fw, struct netns *ns, const struct ruleset *rs,
		    struct err *err);

#endif
