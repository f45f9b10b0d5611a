/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a runtime says on standard input: the configuration of one network (CNI specification,
 * section 1), with what it adds for one attachment.
 */
#ifndef BYWAY_CNI_CONFIG_H
#define BYWAY_CNI_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "cni/args.h"
#include "cni/error.h"
#include "vpc/vpc.h"

struct mapping;

#define CNI_CONFIG_MAX (1u << 20)

enum cni_version {
	CNI_0_3_1,
	CNI_0_4_0,
	CNI_1_0_0,
	CNI_1_1_0,
	CNI_NUM_VERSIONS,
};

const char *cni_version_name(enum cni_version v);

struct cni_config {
	json_t *root; /* owned; what is borrowed below is part of it */
	enum cni_version version;
	const char *name;                                 /* the network configuration's */
	char network[NAME_MAX_LEN], subnet[NAME_MAX_LEN]; /* subnet "": flat */
	const char *cidr, *cidr6;                         /* NULL: as the network has it */
	uint32_t mtu_bytes;                               /* 0: the same */
	bool isolated, no_nat;
	const char *policy; /* a file; NULL: none */
	uint64_t rate_rx, rate_tx;
	const char *ipam; /* the plugin that gives addresses; NULL: byway does */
	struct cni_wishes wishes;
	json_t *dns, *prev_result; /* NULL where not given */
	json_t *valid_attachments;
	struct mapping *mappings; /* owned; without what they lead to */
	size_t n_mappings;
};

void cni_config_done(struct cni_config *c);
#define _cni_config_ _cleanup_(cni_config_done)

/* Text, version and name: all that taking something away needs. *ret is done by the caller whatever
 * comes back; its version is CNI_1_1_0 as long as none that is known was read. */
int cni_config_parse(const char *text, size_t len, struct cni_config *ret, struct cni_error *e);
/* The rest of it. */
int cni_config_read(struct cni_config *c, struct cni_error *e);
/* "ipam" alone. */
int cni_config_read_ipam(struct cni_config *c, struct cni_error *e);

#endif
