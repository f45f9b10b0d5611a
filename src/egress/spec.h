/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an egress is, as one mapping says it:
 *
 *	{ssh: alice@bastion.example.com, dns: remote}
 *	{connect: "http://proxy.dc.example.com:3128", via: corp}
 *	{openconnect: vpn.example.com, username: alice, password_file: /etc/byway/corp.pass}
 *
 * The first key says the kind; the others are those that byway ssh and byway proxy have as options
 * ('_' for '-') and that a session has in its file. A secret is never in it: a file has it, or a
 * command prints it.
 */
#ifndef BYWAY_EGRESS_SPEC_H
#define BYWAY_EGRESS_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "vpc/vpc.h"

struct doc;
struct err;
struct fy_node;
struct session_file;

enum egress_kind { EGRESS_SSH, EGRESS_CONNECT, EGRESS_OPENCONNECT, EGRESS_NUM_KINDS };

const char *egress_kind_name(enum egress_kind k); /* the key: "ssh" */

#define EGRESS_WORDS_MAX 64
#define EGRESS_MTU_DEFAULT 1500u

struct egress_spec {
	enum egress_kind kind;
	char *text;             /* the mapping, normalised: one line, keys in order; owned */
	char via[NAME_MAX_LEN]; /* the egress whose way out it takes; "" for the host's */
	uint32_t mtu_bytes;     /* 0: EGRESS_MTU_DEFAULT, or what the VPN's server says */
	struct ip resolver;     /* `dns: ADDRESS`, of ssh and connect; family 0: the default */
	/* Of ssh. */
	char *destination;
	char *words[EGRESS_WORDS_MAX + 1]; /* for ssh(1); ends with NULL; owned */
	size_t n_words;
	unsigned int connections;
	/* Of connect: URLs with commas between them. */
	char *urls, *username, *password_file;
	/* Of openconnect: one session of the egress's name; interface and subnet are not set. */
	struct session_file *session;
};

/* Reads and checks a mapping. name: the egress's. Errors say FILE:LINE:COLUMN as the document has
 * it. Paths that are relative begin in the folder of the document's file, which path is: absolute.
 * The document's text has to be writable. ret is zeroed, and to be freed by egress_spec_done()
 * whatever comes back. */
int egress_spec_read(struct doc *d, struct fy_node *node, const char *path, const char *name,
		     struct egress_spec *ret, struct err *err);
/* The same from text; path is what messages and relative paths go by. */
int egress_spec_parse(const char *path, const char *name, const char *text, struct egress_spec *ret,
		      struct err *err);
/* Whether two texts say the same. */
bool egress_spec_same(const char *a, const char *b);
void egress_spec_done(struct egress_spec *s);
#define _egress_spec_ _cleanup_(egress_spec_done)

#endif
