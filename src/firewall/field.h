/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the backends must know of each field of a ruleset. Private to src/firewall.
 */
#ifndef BYWAY_FIREWALL_FIELD_H
#define BYWAY_FIREWALL_FIELD_H

#include <stddef.h>
#include <stdint.h>

#include "firewall/ruleset.h"

struct buf;

/* How a value is stored and written. */
enum fw_format {
	FW_FORMAT_NAME,      /* NUL-padded string */
	FW_FORMAT_U8,        /* decimal */
	FW_FORMAT_U32,       /* host order, decimal */
	FW_FORMAT_MARK,      /* uint32_t in host order, hexadecimal */
	FW_FORMAT_CGROUP,    /* uint64_t in host order; written as the path */
	FW_FORMAT_CT_STATE,  /* uint32_t of FW_CT_* */
	FW_FORMAT_CT_STATUS, /* FW_CT_DNAT */
	FW_FORMAT_PORT,      /* uint16_t in network order, decimal */
	FW_FORMAT_ETHERTYPE, /* uint16_t in network order, hexadecimal */
	FW_FORMAT_IP4,
	FW_FORMAT_IP6,
	FW_FORMAT_MAC,
};

struct fw_field_info {
	const char *name; /* nft(8) expression */
	const char *type; /* nft(8) data type of a set */
	uint8_t type_id;  /* that type's number in nft's include/datatype.h, for listings */
	uint8_t len;
	enum fw_format format;
	uint16_t ethertype; /* the protocols a packet must have for this field to exist, or 0 */
	uint8_t l4proto;
};

const struct fw_field_info *fw_field_info(enum fw_field f);

/* The protocols that the matches of one rule imply or demand, all together. */
struct fw_protocols {
	uint16_t ethertype; /* 0: any */
	uint8_t l4proto;    /* 0: any */
};

struct fw_protocols fw_rule_protocols(const struct fw_rule *r);

/* Length of lo and hi as one prefix, or -1 when lo..hi is no CIDR. len in bytes. */
int fw_prefix_len(const struct fw_value *lo, const struct fw_value *hi, size_t len);
/* The values lo..hi of a field as nft(8) writes them: "a", "a-b" or "a/prefix". */
void fw_value_print(enum fw_field f, const struct fw_value *lo, const struct fw_value *hi,
		    struct buf *b);

#endif
