/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sessions: what a file asks for (struct session_spec), and what was made for one of them
 * (struct session, a row of the state database).
 *
 *	full	carrier NAME.out: veth ─ openconnect's sockets      NAME: tun0, lo and nothing else
 *	split	NAME: veth, and tun0 for the networks that are included
 *
 * The group is all the sessions of one file, and one process watches over them.
 */
#ifndef BYWAY_SESSION_SESSION_H
#define BYWAY_SESSION_SESSION_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "kernel/netns.h"
#include "vpc/vpc.h"

struct err;
struct store;

#define SESSION_TUN "tun0" /* in every session's namespace */
#define SESSION_DNS_MAX 8
#define SESSION_NETS_MAX 256 /* networks of a session in split mode, ours and the server's */

enum session_mode { SESSION_FULL, SESSION_SPLIT, SESSION_NUM_MODES };
const char *session_mode_name(enum session_mode m); /* "full" */

/* Where a password comes from. */
struct session_secret {
	enum { SECRET_NONE, SECRET_TEXT, SECRET_FILE, SECRET_COMMAND } kind;
	char *text; /* the password, the file's path, the shell command; owned, wiped when freed */
};

enum session_probe { PROBE_NONE, PROBE_PING, PROBE_TCP, PROBE_DNS };

/* What is asked through the tunnel, and how often. */
struct session_health {
	enum session_probe probe;
	char host[254]; /* an address to ping; an address for TCP; a name to look up */
	uint16_t port;  /* of TCP */
	uint32_t interval_ms, timeout_ms;
	unsigned int failures,
		successes; /* in a row, until the session counts as stalled, and as well */
};

/* One session as the file has it, defaults filled in. Strings are owned; NULL where not given. */
struct session_spec {
	char name[NAME_MAX_LEN];
	char *server, *username, *protocol;
	struct session_secret password;
	char *totp_file, *cafile;
	char **servercerts; /* pins */
	size_t n_servercerts;
	char **extra_args;
	size_t n_extra_args;
	unsigned int max_auth_attempts;
	uint32_t connect_timeout_ms;
	enum session_mode mode;
	struct cidr *include; /* of split mode */
	size_t n_include;
	struct ip dns[SESSION_DNS_MAX]; /* instead of the server's */
	size_t n_dns;
	char *search; /* domains, with blanks between them, instead of the server's */
	struct session_health health;
	uint32_t backoff_min_ms, backoff_max_ms;
	uint32_t mtu_bytes; /* 0: what the server says */
};

/* What was made for a session. */
struct session {
	char name[NAME_MAX_LEN], group[NAME_MAX_LEN];
	char *file; /* absolute path of the group's file; owned */
	enum session_mode mode;
	char netns[NETNS_NAME_MAX];   /* what runs in the session runs here; has its name */
	char carrier[NETNS_NAME_MAX]; /* "" in split mode */
	char veth_host[IFNAMSIZ], veth_ns[IFNAMSIZ];
	struct ip addr;           /* of the end inside */
	char interface[IFNAMSIZ]; /* the way out of the host */
	bool nat;
	char created[TIME_STRLEN];
	enum row_state state;
};

/* The namespace that has the veth pair, and in which openconnect runs. */
static inline const char *session_outer(const struct session *s)
{
	return s->carrier[0] ? s->carrier : s->netns;
}

void session_done(struct session *s);
void session_list_free(struct session *list, size_t n);

/* Rows (rows.c). Lists are freed by session_list_free(); group NULL: of all. Ordered by name.
 * _load: -ENOENT, ERR_NOT_FOUND. */
int session_load(struct store *st, const char *name, struct session *ret, struct err *err);
int session_list(struct store *st, const char *group, struct session **ret, size_t *n,
		 struct err *err);
int session_insert(struct store *st, const struct session *s, struct err *err);
int session_set_state(struct store *st, const char *name, enum row_state state, struct err *err);
int session_remove(struct store *st, const char *name, struct err *err);

#endif
