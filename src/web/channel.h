/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the two processes of `byway serve` say to each other over a socket pair: the one that may
 * look at the machine, and the one that talks to browsers (server.h), which the first does not
 * trust.
 *
 * The server's words are single bytes. What it is told is a byte, a length and a text.
 */
#ifndef BYWAY_WEB_CHANNEL_H
#define BYWAY_WEB_CHANNEL_H

#include <stddef.h>

struct buf;

/* The server's. */
#define CHANNEL_READY 'R' /* it answers */
#define CHANNEL_ASK '?'   /* a look is wanted: CHANNEL_LOOK or CHANNEL_FAILED follows */

/* The other's. */
#define CHANNEL_LOOK 'L'   /* byway.status/1 */
#define CHANNEL_FAILED 'F' /* why there is none */
#define CHANNEL_EVENT 'E'  /* byway.event/1, unasked */

/* All of these wait. -EPIPE: the other one is gone. */
int channel_say(int fd, char word);
int channel_tell(int fd, char word, const char *text, size_t len);
int channel_hear(int fd, char *ret_word, struct buf *ret_text);

#endif
