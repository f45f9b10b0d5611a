/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent on an SSH server, kept running: an ssh process of its own brings it there (deploy.h),
 * and its channel is the relay's. So datagrams never queue behind the streams of the dialer.
 */
#ifndef BYWAY_TUNNEL_SSH_AGENT_H
#define BYWAY_TUNNEL_SSH_AGENT_H

struct err;
struct relay;
struct ssh_agent;
struct ssh_config;

enum ssh_agent_state {
	SSH_AGENT_IDLE, /* until ssh_agent_kick() */
	SSH_AGENT_STARTING,
	SSH_AGENT_UP,
	SSH_AGENT_WAITING, /* to try again */
	SSH_AGENT_OFF,     /* the server has none: trying again would not help */
	SSH_AGENT_NUM_STATES,
};

const char *ssh_agent_state_name(enum ssh_agent_state s);

struct ssh_agent_status {
	enum ssh_agent_state state;
	char machine[64]; /* "Linux x86_64"; "" until it is known */
	char reason[256]; /* of the last failure, for a person; "" when there was none */
};

/* Starts a thread, in the caller's namespaces and with all signals blocked, that owns the relay
 * until ssh_agent_free(). Of config, what says how ssh is started; everything is copied. */
int ssh_agent_new(const struct ssh_config *config, struct relay *relay, struct ssh_agent **ret,
		  struct err *err);
void ssh_agent_free(struct ssh_agent *a);

/* For any thread. */

/* There is a way to the server, or another one: the agent is brought there now, unless it is. */
void ssh_agent_kick(struct ssh_agent *a);
/* There is no way to the server: nothing is tried again until the next kick. */
void ssh_agent_rest(struct ssh_agent *a);
void ssh_agent_get_status(struct ssh_agent *a, struct ssh_agent_status *ret);

#endif
