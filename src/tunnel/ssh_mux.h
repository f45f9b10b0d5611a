/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A control connection to an OpenSSH master in proxy mode (PROTOCOL.mux 9), and the channels over
 * it; for the thread of ssh.c alone.
 */
#ifndef BYWAY_TUNNEL_SSH_MUX_H
#define BYWAY_TUNNEL_SSH_MUX_H

#include <sys/uio.h>

#include "base/buf.h"
#include "tunnel/ssh_channel.h"

struct ssh_slot {
	struct ssh_channel *channel;
	uint32_t next_free;
};

enum ssh_mux_phase { SSH_MUX_GREETING, SSH_MUX_ASKED, SSH_MUX_UP, SSH_MUX_REFUSED, SSH_MUX_BROKEN };

#define SSH_PIECES 16

struct ssh_mux {
	struct ssh_source source;
	struct ssh_loop *loop;
	int fd;
	enum ssh_mux_phase phase;
	char reason[128]; /* when refused or broken */
	struct buf out;   /* frames from out_at on are to be sent */
	size_t out_at;
	bool waits_for_room;
	unsigned char *in;
	size_t in_len;
	struct { /* data in the buffer, of one channel and not yet passed on */
		struct ssh_channel *channel;
		struct iovec pieces[SSH_PIECES];
		size_t n;
	} arrived;
	struct ssh_slot *slots;
	uint32_t n_slots, first_free;
	unsigned int n_channels;
	unsigned int n_failed;            /* opens; see ssh_master.c for why it matters */
	struct ssh_channels fresh, bulk;  /* ready to send: what had been idle, and the others */
	uint32_t window_max;              /* of one channel */
	uint64_t granted;                 /* windows of all channels */
	const struct ssh_channel *pinged; /* by whose answer the round trip is measured */
	uint64_t pinged_us, rtt_us;       /* when last; about the least */
	uint64_t up_bytes, down_bytes;
};

/* To a control socket; blocks for no longer than ssh takes to call listen(2). -errno. */
int ssh_connect(const char *path, int *ret_fd);
/* Connects to the control socket and asks for proxy mode. */
int ssh_mux_new(struct ssh_loop *l, const char *path, uint32_t window_max, struct ssh_mux **ret);
/* Resets its channels; those not yet open become SSH_CHANNEL_WAITING at the end of the list. */
void ssh_mux_free(struct ssh_mux *m, struct ssh_channels *waiting);
/* The channel, which waits, is from here on the mux's. */
void ssh_mux_open(struct ssh_mux *m, struct ssh_channel *c);
/* Sends what there is; to be called after a batch of events. */
void ssh_mux_flush(struct ssh_mux *m);
bool ssh_mux_is_over(const struct ssh_mux *m);

#endif
