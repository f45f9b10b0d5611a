/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between the parts of file.c: what is being read, and the keys that a file has for all of its
 * sessions and for each of them (file_keys.c).
 */
#ifndef BYWAY_SESSION_FILE_IMPL_H
#define BYWAY_SESSION_FILE_IMPL_H

#include "base/buf.h"
#include "base/doc.h"
#include "session/file.h"

struct reading {
	struct session_file *f;
	struct session_spec defaults; /* what the file says for all */
	struct session_spec *spec;    /* being filled: the defaults, or an entry */
	unsigned int instances;       /* or entries; 0: neither is given so far */
	struct buf variables;         /* of passwords */
	/* Of the mapping or list being read: the key that excludes others, and the last item. */
	const char *only_key;
	struct fy_node *last;
	/* For errors about several keys; NULL for what is not given. */
	struct fy_node *subnet, *sessions;
};

/* Those of "vpn". */
#define FILE_VPN_KEYS 12
extern const struct doc_key file_vpn_keys[FILE_VPN_KEYS];

doc_read_fn file_read_vpn, file_read_routing, file_read_dns, file_read_health, file_read_backoff,
	file_read_mtu;
/* A relative path begins in the file's folder, wherever the program was started. */
int file_read_path(struct doc *d, struct fy_node *node, const char *what, const struct reading *rd,
		   char **ret, struct err *err);

#endif
