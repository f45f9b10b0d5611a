/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UTF-8 (RFC 3629), which YAML and JSON are in, and what comes from elsewhere perhaps not. */
#ifndef BYWAY_BASE_UTF8_H
#define BYWAY_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the character at text, of which left can be read, at least one; 0: it is none. */
size_t utf8_len(const char *text, size_t left);
bool utf8_is_valid(const char *text);
/* What is no character becomes question marks: of foreign bytes, and where a text was cut. */
void utf8_mend(char *text);

#endif
