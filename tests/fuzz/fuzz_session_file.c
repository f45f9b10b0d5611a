// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The reader of byway.yaml(5) on foreign bytes, included with what reads documents for it (see
 * fuzz_policy.c).
 */
#include <stdlib.h>

#include "fuzz.h"

#include "base/doc.c"
#include "session/file.c"
#include "session/file_keys.c"
#include "session/spec.c"
#include "session/value.c"

/* What those who make the sessions rely on. */
static void check(const struct session_file *f)
{
	if (!f->n_sessions || f->n_sessions > SESSIONS_MAX || *f->path != '/' || !*f->group)
		abort();
	for (size_t i = 0; i < f->n_sessions; i++) {
		const struct session_spec *s = &f->sessions[i];

		if (!*s->name || !s->server || !*s->server || s->n_dns > SESSION_DNS_MAX ||
		    s->n_include > SESSION_NETS_MAX || s->backoff_min_ms > s->backoff_max_ms ||
		    (s->password.kind == SECRET_NONE) != (s->password.text == NULL) ||
		    (s->health.probe == PROBE_NONE) != (*s->health.host == '\0'))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_session_file_ struct session_file *f = NULL;
	struct err err = {0};
	int r;

	clearenv();
	setenv("V", "value", 1);
	setenv("VPN_PASSWORD", "${V}", 1);
	r = session_file_parse("fuzz.yaml", (const char *)data, size, 0, &f, &err);
	if ((r == 0) != (f != NULL) || (r < 0) != (err.msg[0] != '\0'))
		abort();
	if (f)
		check(f);
	return 0;
}
