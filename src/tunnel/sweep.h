/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looking after all upstream connections of this process at once, whichever thread, stream or TLS
 * session they belong to: its TCP sockets that carry a mark (SO_MARK).
 */
#ifndef BYWAY_TUNNEL_SWEEP_H
#define BYWAY_TUNNEL_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"

/* Resets, with ECONNRESET for whoever has them, the connections that cannot work any more, because
 * the machine no longer has the address that they come from, and those that do not stand yet: they
 * may be waiting for a network that is gone. */
void sweep_reset(uint32_t mark);
/* Whether one of the connections goes to this address. */
bool sweep_has_peer(uint32_t mark, const struct ip *peer);

#endif
