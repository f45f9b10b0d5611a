// SPDX-License-Identifier: GPL-2.0-or-later
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "kernel/netns.h"
#include "ops/tunnel.h"
#include "ops/tunnel_files.h"
#include "proc/pidlock.h"

#define STOP_MS 5000

static const char *const state_names[] = {
	[TUNNEL_DOWN] = "down",   [TUNNEL_CONNECTING] = "connecting",
	[TUNNEL_UP] = "up",       [TUNNEL_RECONNECTING] = "reconnecting",
	[TUNNEL_ERROR] = "error", [TUNNEL_KILLED] = "killed",
};
static_assert(ARRAY_SIZE(state_names) == TUNNEL_NUM_STATES,
	      "state_names[] doesn't match tunnel_state");

const char *tunnel_state_name(enum tunnel_state s)
{
	return state_names[s];
}

const char *tunnel_default_dir(char buf[256])
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0 || !runtime)
		return TUNNEL_DIR;
	snprintf(buf, 256, "%s/byway/tunnel", runtime);
	return buf;
}

/* ---- Ending it from outside ---- */

static int check_kind(const char *dir, const char *netns, const char *kind, struct err *err)
{
	json_t *status;
	const char *is;
	int r = ops_tunnel_status(dir, netns, &status, err);

	if (r)
		return r;
	is = json_string_value(json_object_get(status, "kind"));
	if (kind && is && strcmp(is, kind))
		r = err_set(err, ERR_CONFLICT, -EBUSY,
			    "the tunnel of %s is another: `byway %s down`",
			    netns ? netns : "the host", is);
	json_decref(status);
	return r;
}

int ops_tunnel_down(const char *dir, const char *netns, const char *kind,
		    enum fw_backend_id backend, struct oplog *log, bool *ret_existed,
		    struct err *err)
{
	_netns_ struct netns *ns = NULL;
	_firewall_ struct firewall *fw = NULL;
	char path[TUNNEL_PATH_LEN];
	int r;

	tunnel_path(dir, netns, ".lock", path);
	*ret_existed = access(path, F_OK) == 0;
	r = check_kind(dir, netns, kind, err);
	if (!r && !(log && log->dry_run))
		r = pidlock_end(path, STOP_MS, err);
	if (!r)
		r = netns_open(netns, log, &ns, err);
	if (r == -ENOENT) /* the namespace is gone, and all in it */
		return tunnel_remove_files(dir, netns, err);
	if (!r)
		r = firewall_new(backend, ns, &fw, err);
	if (!r)
		r = capture_down(ns, fw, err);
	if (!r && !(log && log->dry_run))
		r = tunnel_remove_files(dir, netns, err);
	return r;
}

int ops_tunnel_status(const char *dir, const char *netns, json_t **ret, struct err *err)
{
	char path[TUNNEL_PATH_LEN];
	json_t *json;
	bool alive;

	(void)err;
	tunnel_path(dir, netns, ".lock", path);
	alive = pidlock_holder(path) != 0;
	if (access(path, F_OK)) {
		*ret = json_pack("{s:s, s:s}", "name", tunnel_name(netns), "state",
				 state_names[TUNNEL_DOWN]);
		return 0;
	}
	tunnel_path(dir, netns, ".json", path);
	json = json_load_file(path, 0, NULL);
	if (!json)
		json = json_pack("{s:s, s:s}", "name", tunnel_name(netns), "state",
				 state_names[TUNNEL_CONNECTING]);
	if (!alive)
		json_object_set_new(json, "state", json_string(state_names[TUNNEL_KILLED]));
	*ret = json;
	return 0;
}

int ops_tunnel_list(const char *dir, char ***ret, size_t *n, struct err *err)
{
	DIR *d = opendir(dir);
	const struct dirent *e;

	*ret = NULL;
	*n = 0;
	if (!d)
		return errno == ENOENT ? 0 : err_errno(err, -errno, "cannot read %s", dir);
	while ((e = readdir(d))) {
		const char *dot = strrchr(e->d_name, '.');

		if (!dot || strcmp(dot, ".lock"))
			continue;
		*ret = xrealloc(*ret, *n + 1, sizeof(**ret));
		(*ret)[(*n)++] = strndup(e->d_name, (size_t)(dot - e->d_name));
	}
	closedir(d);
	return 0;
}

int ops_tunnel_statuses(const char *dir, json_t **ret, struct err *err)
{
	json_t *list = json_array(), *one;
	char **names;
	size_t n;
	int r = ops_tunnel_list(dir, &names, &n, err);

	for (size_t i = 0; i < n; i++) {
		bool is_host = !strcmp(names[i], TUNNEL_HOST_NAME);

		if (!r)
			r = ops_tunnel_status(dir, is_host ? NULL : names[i], &one, err);
		if (!r)
			json_array_append_new(list, one);
		free(names[i]);
	}
	free(names);
	if (r)
		json_decref(list);
	else
		*ret = list;
	return r;
}
