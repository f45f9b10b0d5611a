// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "session/session.h"
#include "session/spec.h"

void spec_init(struct session_spec *s)
{
	*s = (struct session_spec){
		.max_auth_attempts = 2,
		.connect_timeout_ms = 60 * 1000,
		.mode = SESSION_FULL,
		.health = {.interval_ms = 30 * 1000,
			   .timeout_ms = 3 * 1000,
			   .failures = 3,
			   .successes = 1},
		.backoff_min_ms = 1000,
		.backoff_max_ms = 60 * 1000,
	};
}

void spec_wipe(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

void spec_list_done(char ***list, size_t *n)
{
	for (size_t i = 0; i < *n; i++)
		free((*list)[i]);
	free(*list);
	*list = NULL;
	*n = 0;
}

static char *copy_text(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

static char **copy_list(char *const *list, size_t n)
{
	char **copy = n ? xcalloc(n, sizeof(*copy)) : NULL;

	for (size_t i = 0; i < n; i++)
		copy[i] = xstrdup(list[i]);
	return copy;
}

void spec_copy(struct session_spec *dst, const struct session_spec *src)
{
	*dst = *src;
	dst->server = copy_text(src->server);
	dst->username = copy_text(src->username);
	dst->protocol = copy_text(src->protocol);
	dst->password.text = copy_text(src->password.text);
	dst->totp_file = copy_text(src->totp_file);
	dst->cafile = copy_text(src->cafile);
	dst->search = copy_text(src->search);
	dst->servercerts = copy_list(src->servercerts, src->n_servercerts);
	dst->extra_args = copy_list(src->extra_args, src->n_extra_args);
	dst->include = NULL;
	if (src->n_include) {
		dst->include = xcalloc(src->n_include, sizeof(*dst->include));
		memcpy(dst->include, src->include, src->n_include * sizeof(*dst->include));
	}
}

void spec_done(struct session_spec *s)
{
	free(s->server);
	free(s->username);
	free(s->protocol);
	spec_wipe(s->password.text);
	free(s->totp_file);
	free(s->cafile);
	free(s->search);
	spec_list_done(&s->servercerts, &s->n_servercerts);
	spec_list_done(&s->extra_args, &s->n_extra_args);
	free(s->include);
	*s = (struct session_spec){0};
}
