/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session's namespaces and its way to the host; see net.c.
 */
#ifndef BYWAY_SESSION_NET_H
#define BYWAY_SESSION_NET_H

#include <stdbool.h>
#include <stddef.h>

#include "session/session.h"

struct err;
struct fw_table;
struct netns;
struct oplog;
struct ruleset;
struct store;

/* The host's end of the pair, to everybody inside: on no device, and the same for all. */
extern const struct ip session_gateway;

/* Fills in netns, carrier and the names of the pair: from the session's name, and such that neither
 * state nor kernel has them. -EEXIST (ERR_CONFLICT) names what is in the way. */
int session_names(struct store *st, struct netns *host, struct session *s, struct err *err);

/* Namespaces and pair, in order: see net.c. outer and inner are handles that the caller frees;
 * inner is the same pointer as outer in split mode. */
int session_net_up(struct netns *host, const struct session *s, struct netns **ret_outer,
		   struct netns **ret_inner, struct err *err);
/* Whether all of it is there, as a process that was killed leaves it. */
bool session_net_is_up(struct netns *host, const struct session *s);
/* Takes the network from what carries the session, as when the host's uplink is gone; and gives it
 * back, wherever it had been taken: *ret_changed, which may be NULL. No namespace: done. */
int session_net_cut(const struct session *s, struct oplog *log, struct err *err);
int session_net_mend(const struct session *s, struct oplog *log, bool *ret_changed, struct err *err);
/* Ends what runs in the namespaces, then takes away links, namespaces and files of n sessions at
 * once. What is not there: done. Goes on after errors; returns the first. */
int session_net_down(struct netns *host, const struct session *s, size_t n, struct err *err);

/* The host's rules for these sessions: table inet byway_session. None: empty is true, the table
 * should not exist. */
void session_rules(struct ruleset *rs, const struct session *s, size_t n);

#endif
