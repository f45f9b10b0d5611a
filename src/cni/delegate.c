// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cni/delegate.h"
#include "proc/child.h"
#include "proc/run.h"

static bool find(const char *plugin, const char *path, struct buf *ret)
{
	while (path && *path) {
		size_t len = strcspn(path, ":");

		buf_reset(ret);
		buf_addf(ret, "%.*s/%s", (int)len, path, plugin);
		if (len && !access(ret->data, X_OK))
			return true;
		path += len + (path[len] == ':');
	}
	return false;
}

/* Reports what it said, in our words where it said nothing that can be read. */
static int refused(const char *plugin, json_t *said, int status, struct cni_error *e)
{
	const char *msg = json_string_value(json_object_get(said, "msg"));
	const char *details = json_string_value(json_object_get(said, "details"));
	json_t *code = json_object_get(said, "code");

	if (!msg || !json_is_integer(code))
		return cni_fail(e, CNI_DELEGATE, "IPAM plugin '%s' ended with status %d", plugin,
				status);
	return cni_fail(e, (enum cni_code)json_integer_value(code), "IPAM plugin '%s': %s%s%s",
			plugin, msg, details && *details ? ": " : "", details ? details : "");
}

static int answer(const char *plugin, const struct buf *out, int status, json_t **ret,
		  struct cni_error *e)
{
	json_t *said = json_loadb(out->data ? out->data : "", out->len, 0, NULL);
	int r = 0;

	if (status)
		r = refused(plugin, said, status, e);
	else if (ret && !json_is_object(said))
		r = cni_fail(e, CNI_DELEGATE, "IPAM plugin '%s' said nothing that is a result",
			     plugin);
	if (!r && ret)
		*ret = json_incref(said);
	json_decref(said);
	return r;
}

int cni_delegate(const char *plugin, const char *path, const char *command, const struct buf *text,
		 json_t **ret, struct cni_error *e)
{
	const char *const argv[] = {plugin, NULL};
	_buf_ struct buf program = {0}, out = {0}, err = {0};
	struct child_spec spec = {.argv = argv, .env = (const char *const *)environ};
	int status, r;

	if (!find(plugin, path, &program))
		return cni_fail(e, CNI_ENVIRONMENT, "CNI_PATH (%.256s) has no IPAM plugin '%s'",
				path ? path : "not set", plugin);
	if (setenv("CNI_COMMAND", command, 1))
		return err_errno(&e->err, -errno, "cannot set CNI_COMMAND");
	spec.path = program.data;
	spec.env = (const char *const *)environ;
	r = run_spec(&spec, text, &out, &err, &status, &e->err);
	if (err.len)
		fwrite(err.data, 1, err.len, stderr);
	return r ? r : answer(plugin, &out, status, ret, e);
}
