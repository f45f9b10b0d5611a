/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of the page, which are part of the program: tools/embed-page.sh. */
#ifndef BYWAY_WEB_ASSETS_H
#define BYWAY_WEB_ASSETS_H

#include <stdint.h>

struct asset {
	const char *path, *type;
	const uint8_t *start, *end;
};

extern const struct asset web_assets[]; /* the last one has no path */

#endif
