/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of the native backend. Private to it.
 */
#ifndef BYWAY_FIREWALL_NATIVE_H
#define BYWAY_FIREWALL_NATIVE_H

#include <stdint.h>

#include "firewall/ruleset.h"

struct err;
struct netns;
struct nft_batch;
struct nft_failure;
struct nftnl_rule;

/* NFPROTO_* of a family. */
uint8_t native_family(enum fw_family family);
/* native_expr.c: adds the expressions that carry out r. */
void native_rule_exprs(struct nftnl_rule *nlr, enum fw_family family, const struct fw_rule *r);

/* native_set.c: appends NFT_MSG_NEWSET; NFT_MSG_NEWSETELEM or NFT_MSG_DELSETELEM for all
 * elements of s. id: unique in the batch. */
void native_set_add(struct nft_batch *b, const struct fw_table *t, const struct fw_set *s,
		    uint32_t id);
void native_elems(struct nft_batch *b, int type, const struct fw_table *t, const struct fw_set *s);
/* The registers of a key: fields one after the other, each padded to 4 bytes (nf_tables.h). */
#define NATIVE_KEY_MAX (FW_KEY_FIELDS * 16)
/* What a map of destinations holds: the address, and the port padded to 4 bytes. */
#define NATIVE_TARGET_MAX (16 + 4)

/* Appends what makes an empty table into t. */
void native_table_content(struct nft_batch *b, const struct fw_table *t);

/* native_error.c: why the batch built from rs failed, as a sentence. */
int native_error(const struct ruleset *rs, const struct nft_batch *b,
		 const struct nft_failure *failure, struct err *err);

/* native_verify.c */
int native_verify(struct netns *ns, const struct ruleset *rs, struct err *err);

#endif
