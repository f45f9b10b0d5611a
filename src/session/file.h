/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file that says which sessions there shall be: byway.yaml(5).
 */
#ifndef BYWAY_SESSION_FILE_H
#define BYWAY_SESSION_FILE_H

#include "session/session.h"

struct doc;
struct fy_node;

#define SESSIONS_MAX 1024 /* of one file */

enum session_log_level {
	SESSION_LOG_ERROR,
	SESSION_LOG_INFO,
	SESSION_LOG_DEBUG,
	SESSION_LOG_TRACE
};

struct session_file {
	char *path;               /* absolute */
	char group[NAME_MAX_LEN]; /* `name:`, else the file's name without folder and extension */
	char interface[IFNAMSIZ]; /* "": the one with the default route */
	struct cidr subnet;
	bool nat;
	unsigned int parallel; /* openconnects that start at a time */
	struct {
		enum session_log_level level;
		char *directory;
		uint64_t max_bytes; /* of one file */
		unsigned int keep;  /* older ones that stay */
	} logging;
	struct session_spec *sessions;
	size_t n_sessions;
};

/* Reads and checks all of it. count: instead of the file's `instances`; 0 for what it says. Errors
 * are ERR_USAGE and say FILE:LINE:COLUMN. ${NAME} in a value is the environment's; of a password's
 * variable the environment forgets the value, and the file's copy is wiped when freed. */
int session_file_read(const char *path, unsigned int count, struct session_file **ret,
		      struct err *err);
/* The same from memory; for tests. */
int session_file_parse(const char *path, const char *text, size_t len, unsigned int count,
		       struct session_file **ret, struct err *err);

/* One session in mode full, that a mapping in somebody else's document describes: with the keys of
 * "vpn", of which one has another name and none is the password itself, and with "dns", "health",
 * "backoff" and "mtu". Interface and subnet are not set. The document's text has to be writable. */
struct session_single {
	const char *path; /* absolute: where relative paths begin, and what the session's row says */
	const char *name; /* the session's, and its group's */
	const char *what; /* the mapping, in messages */
	const char *server_key;
	const char *foreign_key; /* is left to the caller */
};
int session_file_single(struct doc *d, struct fy_node *node, const struct session_single *c,
			struct session_file **ret, struct err *err);
void session_file_free(struct session_file *f);
void session_file_free_p(struct session_file **f);
#define _session_file_ _cleanup_(session_file_free_p)

/* The group that a file of this path would have if it says nothing else. */
void session_group_of(const char *path, char ret[NAME_MAX_LEN]);

#endif
