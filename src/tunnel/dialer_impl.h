/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the dialers share, and nobody else needs.
 */
#ifndef BYWAY_TUNNEL_DIALER_IMPL_H
#define BYWAY_TUNNEL_DIALER_IMPL_H

#include <stdint.h>

#include "base/util.h"
#include "tunnel/dialer.h"

struct dialer_ops {
	enum dial_status (*start)(struct dial *c, uint64_t now_ms);
	enum dial_status (*step)(struct dial *c, uint32_t revents, uint64_t now_ms);
	/* Lets go of what the dial holds beside its descriptor; or NULL. */
	void (*done)(struct dial *c);
	void (*free)(struct dialer *d);
};

/* The first member of every dialer. */
struct dialer {
	const struct dialer_ops *ops;
};

/* Ends a dial with a reason; returns status, so that failing is one statement. */
enum dial_status dial_fail(struct dial *c, enum dial_status status, const char *fmt, ...)
	_printf_(3, 4);
/* Makes fd the dial's, and closes the one before. Once in a step at most. */
void dial_set_fd(struct dial *c, int fd);
/* The errno of a connection attempt as a status. */
enum dial_status dial_errno_status(int err);

#endif
