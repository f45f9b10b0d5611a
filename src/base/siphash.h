/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SipHash-2-4 (https://cr.yp.to/siphash/siphash-20120918.pdf): a short keyed hash. */
#ifndef BYWAY_BASE_SIPHASH_H
#define BYWAY_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t siphash(const void *data, size_t len, const uint64_t key[2]);

#endif
