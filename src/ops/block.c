// SPDX-License-Identifier: GPL-2.0-or-later
#include <libfyaml.h>

#include "base/buf.h"
#include "base/doc.h"
#include "base/err.h"
#include "base/file.h"
#include "config/config.h"
#include "firewall/firewall.h"
#include "ops/block.h"
#include "ops/ops.h"
#include "ops/ssh.h"
#include "tunnel/capture.h"

/* Only this key counts here; whether the others are right is seen when the file is applied. */
static int read_wish(const char *file, bool *ret, struct err *err)
{
	_buf_ struct buf text = {0};
	_doc_ struct doc *d = NULL;
	enum config_block block = CONFIG_BLOCK_NEVER;
	struct fy_node *node;
	int r = file_read(file, DOC_SIZE_MAX, &text, err);

	if (!r)
		r = doc_parse(file, text.data, text.len, DOC_YAML, &d, err);
	if (r)
		return r;
	node = fy_node_mapping_lookup_by_string(doc_root(d), "block", FY_NT);
	if (node)
		r = config_block(d, node, &block, err);
	*ret = *ret || block != CONFIG_BLOCK_NEVER;
	return r;
}

int ops_block(struct ops *o, char *const files[], size_t n, bool *ret_blocked, struct err *err)
{
	struct failures f = {.err = err};
	bool wanted = !n;
	int r;

	*ret_blocked = false;
	for (size_t i = 0; i < n; i++)
		failures_add(&f, read_wish(files[i], &wanted, failures_err(&f)));
	if (!wanted && !f.code)
		return 0;
	r = firewall_new(o->backend, o->host, &o->fw, failures_err(&f));
	if (!r)
		r = capture_block_all(SSH_GID, o->host, o->fw, failures_err(&f));
	*ret_blocked = !r;
	failures_add(&f, r);
	return failures_tell(&f);
}

static int unblock(struct ops *o, struct firewall *fw, const void *arg, struct err *err)
{
	(void)arg;
	return capture_unblock_all(o->host, fw, err);
}

int ops_unblock(struct ops *o, struct err *err)
{
	return ops_each_firewall(o, unblock, NULL, err);
}

bool ops_is_blocked(struct ops *o)
{
	return !ops_firewall(o, NULL) && capture_blocks_all(SSH_GID, o->host, o->fw);
}
