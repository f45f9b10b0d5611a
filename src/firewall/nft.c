// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The nft backend: the same rulesets through the nft(8) program.
 *
 * One call is one script on nft's standard input, thus one transaction. To verify, the
 * wanted tables are loaded into a namespace of their own, made for that and gone afterwards, and
 * what nft lists there is compared with what it lists in the namespace under verification: so both
 * texts come from the same program, whichever words its version prefers.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "firewall/backend.h"
#include "firewall/compare.h"
#include "firewall/ruleset.h"
#include "firewall/text.h"
#include "kernel/cgroup.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"
#include "proc/run.h"

static const char *const load_argv[] = {"nft", "-f", "-", NULL};

/* nft's own complaint, on one line */
static int nft_error(const struct buf *output, int status, struct err *err)
{
	const char *text = output->len ? output->data : "no message";
	size_t len = strcspn(text, "\n");
	enum err_kind kind = ERR_FAILED;
	int code = -EIO;

	if (strstr(text, "not permitted")) {
		kind = ERR_PERMISSION;
		code = -EPERM;
	} else if (strstr(text, "not supported")) {
		kind = ERR_UNSUPPORTED;
		code = -EOPNOTSUPP;
	} else if (strstr(text, "No such file or directory")) {
		kind = ERR_NOT_FOUND;
		code = -ENOENT;
	}
	return err_set(err, kind, code, "nft failed with status %d: %.*s", status, (int)len, text);
}

static int load(const struct netns *ns, const struct buf *script, struct err *err)
{
	_buf_ struct buf errors = {0};
	int status;
	int r = run(ns, load_argv, script, NULL, &errors, &status, err);

	if (!r && status)
		r = nft_error(&errors, status, err);
	return r;
}

/* nft(8) knows cgroups by their place below /sys/fs/cgroup only. */
static bool has_hidden_cgroup(const struct fw_chain *c)
{
	for (const struct fw_rule *r = c->rules; r; r = r->next)
		for (size_t i = 0; i < r->n_matches; i++)
			if (r->match[i].cgroup && !*r->match[i].cgroup->nft_path)
				return true;
	return false;
}

static int check_cgroups(const struct ruleset *rs, struct err *err)
{
	for (const struct fw_table *t = rs->tables; t; t = t->next)
		for (const struct fw_chain *c = t->chains; c; c = c->next)
			if (has_hidden_cgroup(c))
				return err_set(err, ERR_UNSUPPORTED, -EOPNOTSUPP,
					       "nft(8) finds no cgroups outside of /sys/fs/cgroup");
	return 0;
}

/* Loads the script, or only shows it. */
static int carry_out(struct netns *ns, const struct buf *script, const struct buf *shown,
		     struct err *err)
{
	text_log(ns, "nft ", shown);
	return oplog_dry(ns->log) ? 0 : load(ns, script, err);
}

static int nft_probe(struct netns *ns, struct err *err)
{
	static const char *const argv[] = {"nft", "list", "tables", NULL};
	_buf_ struct buf errors = {0};
	int status, r;

	if (oplog_dry(ns->log))
		return run_has("nft")
			       ? 0
			       : err_set(err, ERR_UNSUPPORTED, -ENOENT, "nft is not installed");
	r = run(ns, argv, NULL, NULL, &errors, &status, err);
	if (!r && status)
		r = nft_error(&errors, status, err);
	return r;
}

static int nft_apply(struct netns *ns, const struct ruleset *rs, struct err *err)
{
	_buf_ struct buf script = {0}, shown = {0};
	int r = check_cgroups(rs, err);

	if (r)
		return r;
	text_script(rs, &script);
	if (oplog_wants(ns->log))
		text_replace(rs, TEXT_NFT, &shown);
	return carry_out(ns, &script, &shown, err);
}

static int nft_update(struct netns *ns, const struct ruleset *add, const struct ruleset *del,
		      struct err *err)
{
	_buf_ struct buf script = {0};

	/* Adding first makes deleting idempotent. */
	text_elements(del, "add", TEXT_NFT, &script);
	text_elements(del, "delete", TEXT_NFT, &script);
	text_elements(add, "add", TEXT_NFT, &script);
	return script.len ? carry_out(ns, &script, &script, err) : 0;
}

static int nft_remove(struct netns *ns, const struct ruleset *rs, struct err *err)
{
	_buf_ struct buf script = {0};

	text_remove(rs, &script);
	return script.len ? carry_out(ns, &script, &script, err) : 0;
}

static int list_table(const struct netns *ns, const struct fw_table *t, struct buf *ret,
		      struct err *err)
{
	const char *argv[] = {"nft", "list", "table", text_family(t->family), t->name, NULL};
	_buf_ struct buf errors = {0};
	int status;
	int r = run(ns, argv, NULL, ret, &errors, &status, err);

	if (!r && status)
		r = nft_error(&errors, status, err);
	return r;
}

static int verify_table(struct netns *ns, const struct netns *scratch, const struct fw_table *t,
			struct err *err)
{
	_buf_ struct buf want = {0}, got = {0};
	char name[FW_NAME_MAX + 16];
	int r;

	snprintf(name, sizeof(name), "table %s %s", text_family(t->family), t->name);
	r = list_table(scratch, t, &want, err);
	if (r)
		return r;
	r = list_table(ns, t, &got, err);
	if (r == -ENOENT)
		return err_set(err, ERR_FAILED, -ESTALE, "%s is missing", name);
	return r ? r : compare_listing(name, &want, &got, err);
}

static int nft_verify(struct netns *ns, const struct ruleset *rs, struct err *err)
{
	_buf_ struct buf script = {0};
	_netns_ struct netns *scratch = NULL;
	int r = netns_create_private(NULL, &scratch, err);

	if (r)
		return r;
	text_script(rs, &script);
	r = load(scratch, &script, err);
	for (const struct fw_table *t = rs->tables; t && !r; t = t->next)
		r = verify_table(ns, scratch, t, err);
	return r;
}

const struct fw_backend fw_nft = {
	.name = "nft",
	.probe = nft_probe,
	.apply = nft_apply,
	.update = nft_update,
	.remove = nft_remove,
	.verify = nft_verify,
};
