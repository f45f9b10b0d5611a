/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rulesets as nft(8) text. Private to src/firewall.
 */
#ifndef BYWAY_FIREWALL_TEXT_H
#define BYWAY_FIREWALL_TEXT_H

#include "firewall/ruleset.h"

struct buf;
struct netns;

enum text_dialect {
	TEXT_PLAIN, /* for people: what nft(8) 1.0.9 and later reads */
	/* What every nft(8) since 1.0.2 reads. Before 1.0.9 it has no word for the target of a
	 * neighbour advertisement, and looks raw bytes up in sets of raw bytes only: in a bridge
	 * table every set that holds IPv6 addresses has a twin, NAME_raw, typed as raw bytes. */
	TEXT_NFT,
};

const char *text_family(enum fw_family family); /* "inet" */
const char *text_chain_type(enum fw_chain_type type); /* "filter" */
/* One rule, without a newline. */
void text_rule(const struct fw_rule *r, enum text_dialect dialect, struct buf *b);
/* One element, with its verdict in a map. */
void text_elem(const struct fw_set *set, const struct fw_elem *e, struct buf *b);
/* A script that makes each table exactly what rs says. */
void text_script(const struct ruleset *rs, struct buf *b);

/* As commands, one per line: each table, set, element, chain and rule. */
void text_replace(const struct ruleset *rs, enum text_dialect dialect, struct buf *b);
/* verb: "add" or "delete". */
void text_elements(const struct ruleset *rs, const char *verb, enum text_dialect dialect,
		   struct buf *b);
void text_remove(const struct ruleset *rs, struct buf *b);

/* Every line of text, behind prefix, to the oplog of ns. */
void text_log(struct netns *ns, const char *prefix, const struct buf *text);

#endif
