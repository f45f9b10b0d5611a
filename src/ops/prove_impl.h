/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by prove.c, prove_probes.c and prove_watch.c. */
#ifndef BYWAY_OPS_PROVE_IMPL_H
#define BYWAY_OPS_PROVE_IMPL_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

struct err;
struct netns;
struct ops;

/* A probe is known by its number: in its payload, after the token, and by an address that no other
 * probe is sent to. */
#define PROVE_PROBES_MAX 80u
#define PROVE_CONTROL_BEFORE 80u /* numbers of controls, one of each kind */
#define PROVE_CONTROL_AFTER 90u
#define PROVE_NUMBERS 100u
#define PROVE_TOKEN_LEN 16 /* digits: nobody changes their case on the way */
#define PROVE_MARK_LEN (PROVE_TOKEN_LEN + 2)

struct prove_token {
	char text[PROVE_TOKEN_LEN + 1];
	unsigned int base; /* what numbers are counted from in 198.51.100.0/24 */
	uint8_t prefix6[6];
};
int prove_token_make(struct prove_token *ret, struct err *err);
/* An address for documentation (RFC 5737, RFC 3849). */
struct ip prove_address(const struct prove_token *t, unsigned int no, int family);

/* ---- Probes (prove_probes.c) ---- */

struct probe_kind;

struct probe {
	const struct probe_kind *kind;
	unsigned int no;
	struct ip to;
	char device[IFNAMSIZ]; /* that it is bound to; "" for none */
	int fd;
	bool failed; /* could not be made at all: says nothing */
	bool sent;
	bool asked; /* by TCP: once somebody has taken the connection */
	int error;  /* of what the kernel said at once; 0 */
};

struct probes {
	const struct prove_token *token;
	struct ip gateways[2]; /* of the host's own way out, each family's; or family 0 */
	struct probe list[PROVE_PROBES_MAX];
	size_t n;
	bool left_out; /* there are more interfaces than probes */
};

const char *probe_name(const struct probe *p);
uint16_t probe_port(const struct probe *p); /* 0: has none */
/* Sends all of them from inside ns: a socket each, which stay open for what is sent again. */
int probes_send(struct probes *p, struct netns *ns, struct err *err);
/* Whoever took a connection to port 53 gets the question, too, and may ask on. */
void probes_continue(struct probes *p);
void probes_close(struct probes *p);

#define PROVE_CONTROLS 10u
#define PROVE_PACKET_MAX 128
/* An IP packet like one of a probe's, from nobody, with a TTL of 1. Returns its length. */
size_t control_packet(const struct prove_token *t, unsigned int kind, unsigned int no,
		      uint8_t ret[PROVE_PACKET_MAX], int *ret_family);
const char *control_name(unsigned int kind);

/* ---- States of ways out (prove_states.c) ---- */

enum prove_way { PROVE_WAY_LIST, PROVE_WAY_SESSION, PROVE_WAY_TUNNEL };

struct prove_states {
	struct ops *o;  /* its state is read */
	const char *of; /* the workload, for words */
	enum prove_way way;
	const char *list; /* of egresses; or the name of the session or tunnel */
	/* Called in each state. lost: what carried it before, names with commas between them, ""
	 * for nothing; by: what carries it now, NULL when it is blocked. */
	int (*probe)(void *arg, const char *state, const char *lost, const char *by);
	/* What could not be shown. */
	void (*obstacle)(void *arg, const char *text);
	void *arg;
};
/* Brings the states about, one after the other, and undoes that: what goes out this way is
 * interrupted meanwhile. */
int prove_states_walk(const struct prove_states *c, struct err *err);

/* ---- The observer (prove_watch.c) ---- */

/* One interface. */
struct watcher {
	char name[IFNAMSIZ];
	int index, fd;
	bool outside;  /* leads out of the host; else it is one inside, which says what was sent */
	uint32_t lost; /* packets that came too fast to be looked at */
	struct mac mac;
	bool seen[PROVE_NUMBERS];
};

/* A probe that was seen somewhere, with the address that it came from. */
struct sighting {
	unsigned int no;
	size_t watcher;
	struct ip source;
	bool asked_only; /* it was no packet, but the question who has its destination's address */
	unsigned int packets;
};

struct observer {
	const struct prove_token *token;
	struct watcher *watchers;
	size_t n;
	struct sighting *sightings;
	size_t n_sightings;
};

/* Listens at all interfaces of the host that are up and not ours, and at those of the workload. */
int observer_open(struct observer *o, const struct prove_token *token, struct netns *host,
		  struct netns *inside, struct err *err);
void observer_done(struct observer *o);
/* Looks at what passes, for so long, or until all controls of these numbers were seen. */
void observer_watch(struct observer *o, unsigned int controls, unsigned int timeout_ms,
		    void (*again)(void *arg), void *arg);
/* Sends the controls out of every interface that leads out. */
void observer_control(struct observer *o, unsigned int controls);
/* How many of them were seen there. */
unsigned int observer_controls_seen(const struct watcher *w, unsigned int controls);
/* Which probe the packet is, or -1; for tests, too. protocol: ETH_P_*. */
int observer_recognise(const struct prove_token *t, uint16_t protocol, const uint8_t *packet,
		       size_t len, struct ip *ret_source, bool *ret_asked_only);

#endif
