// SPDX-License-Identifier: GPL-2.0-or-later
#include <assert.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"
#include "tunnel/ssh_error.h"
#include "tunnel/ssh_wire.h"

static const char *const names[] = {
	[SSH_ERROR_NONE] = "none",           [SSH_ERROR_LOST] = "lost",
	[SSH_ERROR_TIMEOUT] = "timed out",   [SSH_ERROR_UNREACHABLE] = "unreachable",
	[SSH_ERROR_REFUSED] = "refused",     [SSH_ERROR_CONFIG] = "configuration",
	[SSH_ERROR_AUTH] = "authentication", [SSH_ERROR_HOST_KEY] = "host key",
};
static_assert(ARRAY_SIZE(names) == SSH_NUM_ERRORS, "every error has a name");

const char *ssh_error_name(enum ssh_error e)
{
	return names[e];
}

bool ssh_error_is_final(enum ssh_error e)
{
	return e >= SSH_ERROR_CONFIG;
}

/* The first that a line contains. Where a jump host stands between, its failures are in the same
 * words. */
static const struct {
	const char *text;
	enum ssh_error error;
} lines[] = {
	{"Host key verification failed", SSH_ERROR_HOST_KEY},
	{"host key is known for", SSH_ERROR_HOST_KEY},
	{"has changed and you have requested strict", SSH_ERROR_HOST_KEY},
	{"Permission denied (", SSH_ERROR_AUTH},
	{"Too many authentication failures", SSH_ERROR_AUTH},
	{"No more authentication methods", SSH_ERROR_AUTH},
	{"Bad configuration option", SSH_ERROR_CONFIG},
	{"Bad owner or permissions on", SSH_ERROR_CONFIG},
	{"bad configuration options", SSH_ERROR_CONFIG},
	{"command-line line", SSH_ERROR_CONFIG},
	{"command-line: line", SSH_ERROR_CONFIG},
	{"Can't open user config file", SSH_ERROR_CONFIG},
	{"no argument after keyword", SSH_ERROR_CONFIG},
	{"Unable to negotiate with", SSH_ERROR_CONFIG},
	{"unknown option --", SSH_ERROR_CONFIG},
	{"option requires an argument", SSH_ERROR_CONFIG},
	{"Bad port '", SSH_ERROR_CONFIG},
	{"too long for Unix domain socket", SSH_ERROR_CONFIG},
	{"hostname contains invalid characters", SSH_ERROR_CONFIG},
	{"Connection refused", SSH_ERROR_REFUSED},
	{"Could not resolve hostname", SSH_ERROR_UNREACHABLE},
	{"No route to host", SSH_ERROR_UNREACHABLE},
	{"Network is unreachable", SSH_ERROR_UNREACHABLE},
	{"Network is down", SSH_ERROR_UNREACHABLE},
	{"Cannot assign requested address", SSH_ERROR_UNREACHABLE},
	{"Connection timed out", SSH_ERROR_TIMEOUT},
	{"Operation timed out", SSH_ERROR_TIMEOUT},
	{"timed out during banner exchange", SSH_ERROR_TIMEOUT},
	{"not responding", SSH_ERROR_TIMEOUT},
	{"Connection closed by", SSH_ERROR_LOST},
	{"closed by remote host", SSH_ERROR_LOST},
	{"Connection reset by", SSH_ERROR_LOST},
	{"Broken pipe", SSH_ERROR_LOST},
	{"Received disconnect from", SSH_ERROR_LOST},
	{"Disconnected from", SSH_ERROR_LOST},
	{"no remote_id", SSH_ERROR_LOST},
};

enum ssh_error ssh_error_of_line(const char *line)
{
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (strstr(line, lines[i].text))
			return lines[i].error;
	return SSH_ERROR_NONE;
}

/* strerror() and gai_strerror() of the servers' systems. */
static const struct {
	const char *text;
	enum dial_status status;
} descriptions[] = {
	{"refused", DIAL_REFUSED},
	{"timed out", DIAL_TIMEOUT},
	{"time out", DIAL_TIMEOUT},
	{"timeout", DIAL_TIMEOUT},
	{"unreachable", DIAL_UNREACHABLE},
	{"open failed", DIAL_UNREACHABLE}, /* sshd, when connect(2) fails at once */
	{"no route", DIAL_UNREACHABLE},
	{"is down", DIAL_UNREACHABLE},
	{"name or service", DIAL_UNREACHABLE},
	{"name resolution", DIAL_UNREACHABLE},
	{"no address", DIAL_UNREACHABLE},
	{"unknown host", DIAL_UNREACHABLE},
	{"hostname", DIAL_UNREACHABLE},
	{"cannot assign", DIAL_UNREACHABLE},
	{"not permitted", DIAL_DENIED},
	{"permission denied", DIAL_DENIED},
	{"address family", DIAL_UNREACHABLE},
};

/* A server that gives no words leaves the likeliest: nobody listens. */
static enum dial_status connect_status(const char *description)
{
	for (size_t i = 0; i < ARRAY_SIZE(descriptions); i++)
		if (strcasestr(description, descriptions[i].text))
			return descriptions[i].status;
	return DIAL_REFUSED;
}

enum dial_status ssh_open_status(unsigned int reason, const char *description)
{
	switch (reason) {
	case SSH_OPEN_PROHIBITED:
		return DIAL_DENIED;
	case SSH_OPEN_CONNECT_FAILED:
		return connect_status(description);
	case SSH_OPEN_RESOURCE_SHORTAGE:
		return DIAL_UNREACHABLE;
	default:
		return DIAL_BROKEN;
	}
}
