/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory of a struct session_spec.
 */
#ifndef BYWAY_SESSION_SPEC_H
#define BYWAY_SESSION_SPEC_H

#include <stddef.h>

struct session_spec;

/* The defaults of byway.yaml(5). */
void spec_init(struct session_spec *s);
/* dst: not one that owns something. */
void spec_copy(struct session_spec *dst, const struct session_spec *src);
/* Legal on zeros. The password is wiped. */
void spec_done(struct session_spec *s);

/* Wipes and frees; text may be NULL. */
void spec_wipe(char *text);
/* Frees the texts and the list, which is empty then. */
void spec_list_done(char ***list, size_t *n);

#endif
