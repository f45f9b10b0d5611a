// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cni/cni.h"

/* What a configuration is read for. */
enum reading {
	READ_BASE, /* what taking away needs: the rest may have become wrong since */
	READ_WHOLE,
};

static const struct command {
	const char *name;
	unsigned int needs; /* enum cni_needs */
	enum cni_version since;
	enum reading reading;
	int (*run)(struct cni_job *j);
} commands[] = {
	{"ADD", CNI_NEEDS_CONTAINER | CNI_NEEDS_NETNS, CNI_0_3_1, READ_WHOLE, cni_add},
	{"DEL", CNI_NEEDS_CONTAINER, CNI_0_3_1, READ_BASE, cni_del},
	{"CHECK", CNI_NEEDS_CONTAINER | CNI_NEEDS_NETNS, CNI_0_4_0, READ_WHOLE, cni_check},
	{"GC", 0, CNI_1_1_0, READ_BASE, cni_gc},
	{"STATUS", 0, CNI_1_1_0, READ_WHOLE, cni_status},
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	}
	return NULL;
}

static int read_text(struct cni_job *j)
{
	int r = file_read("-", CNI_CONFIG_MAX, &j->text, &j->error.err);

	return r ? cni_fail(&j->error, CNI_IO, "cannot read standard input: %s", strerror(-r)) : 0;
}

/* Who asks for the versions may not know one yet: any version is good, and none is. */
static int version(struct cni_job *j)
{
	json_t *versions = json_array(), *asked;
	int r = read_text(j);

	if (r) {
		json_decref(versions);
		return r;
	}
	for (enum cni_version v = 0; v < CNI_NUM_VERSIONS; v++)
		json_array_append_new(versions, json_string(cni_version_name(v)));
	cni_config_parse(j->text.data ? j->text.data : "", j->text.len, &j->config, &j->error);
	asked = json_object_get(j->config.root, "cniVersion");
	j->result = json_pack("{s:O?, s:o}", "cniVersion", json_is_string(asked) ? asked : NULL,
			      "supportedVersions", versions);
	if (!json_is_string(asked))
		json_object_set_new(j->result, "cniVersion",
				    json_string(cni_version_name(CNI_1_1_0)));
	return 0;
}

static int choose_firewall(struct cni_job *j)
{
	const char *backend = getenv("BYWAY_FIREWALL");

	if (backend && firewall_backend_parse(backend, &j->ops.backend, &j->error.err))
		return err_context(&j->error.err, "environment variable BYWAY_FIREWALL");
	return 0;
}

static int run_command(struct cni_job *j, const struct command *c)
{
	int r = read_text(j);

	if (!r)
		r = cni_config_parse(j->text.data ? j->text.data : "", j->text.len, &j->config,
				     &j->error);
	if (!r && j->config.version < c->since)
		r = cni_fail(&j->error, CNI_VERSION, "%s is not in version %s", c->name,
			     cni_version_name(j->config.version));
	if (!r)
		r = cni_args_read(c->needs, &j->args, &j->error);
	if (!r)
		r = c->reading == READ_WHOLE ? cni_config_read(&j->config, &j->error)
					     : cni_config_read_ipam(&j->config, &j->error);
	if (!r)
		r = choose_firewall(j);
	return r ? r : c->run(j);
}

int cni_job_run(struct cni_job *j, const char *name)
{
	const struct command *c = find_command(name);

	j->config.version = CNI_1_1_0;
	if (name && !strcmp(name, "VERSION"))
		return version(j);
	if (!c)
		return cni_fail(&j->error, CNI_ENVIRONMENT, "CNI_COMMAND: '%.32s' is not a command",
				name ? name : "");
	return run_command(j, c);
}

int cni_job_print(const struct cni_job *j, int r)
{
	const char *version = cni_version_name(j->config.version);
	json_t *say = r ? cni_error_json(&j->error, version) : json_incref(j->result);
	int failed = 0;

	if (say) {
		failed = json_dumpf(say, stdout, JSON_INDENT(2)) || putchar('\n') == EOF ||
			 fflush(stdout);
		json_decref(say);
	}
	return failed ? -EIO : 0;
}

void cni_job_done(struct cni_job *j)
{
	ops_close(&j->ops);
	json_decref(j->result);
	cni_config_done(&j->config);
	buf_done(&j->text);
}
