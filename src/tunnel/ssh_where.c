// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/util.h"
#include "tunnel/ssh_setup.h"
#include "tunnel/ssh_where.h"

#define ANSWER_MAX 65536

/* What `ssh -G` says, as far as it is of interest. */
struct answer {
	char hostname[256], alias[SSH_ALIAS_MAX];
	unsigned int port;
	bool has_proxy;
};

static void take_line(struct answer *a, const char *key, const char *value)
{
	if (!strcmp(key, "hostname"))
		snprintf(a->hostname, sizeof(a->hostname), "%s", value);
	else if (!strcmp(key, "hostkeyalias"))
		snprintf(a->alias, sizeof(a->alias), "%s", value);
	else if (!strcmp(key, "port"))
		a->port = (unsigned int)strtoul(value, NULL, 10);
	else if (!strcmp(key, "proxyjump") || !strcmp(key, "proxycommand"))
		a->has_proxy = strcmp(value, "none") != 0;
}

static void parse(char *text, struct answer *ret)
{
	char *rest = text, *line;

	*ret = (struct answer){0};
	while ((line = strsep(&rest, "\n"))) {
		char *value = strchr(line, ' ');

		if (!value)
			continue;
		*value++ = '\0';
		take_line(ret, line, value);
	}
}

static void read_all(int fd, struct buf *ret)
{
	char text[4096];
	ssize_t n;

	while (ret->len < ANSWER_MAX && (n = read(fd, text, sizeof(text))) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		if (n > 0)
			buf_add(ret, text, (size_t)n);
	}
}

static int ask_ssh(const struct ssh_setup *s, struct buf *ret, struct err *err)
{
	_close_ int in = -1, out = -1;
	struct child child;
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC))
		return err_errno(err, -errno, "cannot make a pipe");
	in = fds[0];
	out = fds[1];
	r = child_start(&(struct child_spec){.path = s->program,
					     .argv = (const char *const *)s->argv,
					     .env = (const char *const *)s->env,
					     .in = -1,
					     .out = out,
					     .err = -1,
					     .user = s->as_user ? &s->user : NULL,
					     .own_session = true},
			&child, err);
	if (r)
		return r;
	close(TAKE_FD(out));
	read_all(in, ret);
	close(TAKE_FD(in)); /* what is not read must not keep ssh from ending */
	child_wait(&child); /* what is wrong with it ssh says when it is to connect */
	return 0;
}

static void resolve(const char *host, struct ssh_where *ret)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found;
	char text[IP_STRLEN];

	if (getaddrinfo(host, NULL, &hints, &found))
		return;
	for (const struct addrinfo *a = found; a && ret->n < SSH_ADDRS_MAX; a = a->ai_next) {
		if (!getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0,
				 NI_NUMERICHOST) &&
		    !ip_parse(text, &ret->addrs[ret->n], NULL))
			ret->n++;
	}
	freeaddrinfo(found);
}

/* As ssh itself looks a key up, without an alias. */
static void set_alias(const struct answer *a, struct ssh_where *ret)
{
	if (*a->alias)
		snprintf(ret->alias, sizeof(ret->alias), "%s", a->alias);
	else if (a->port == 22 || !a->port)
		snprintf(ret->alias, sizeof(ret->alias), "%s", a->hostname);
	else
		snprintf(ret->alias, sizeof(ret->alias), "[%s]:%u", a->hostname, a->port);
}

int ssh_where_find(const struct ssh_config *config, struct ssh_where *ret, struct err *err)
{
	_buf_ struct buf text = {0};
	struct ssh_setup setup = {0};
	struct answer a;
	struct ip ip;
	int r = ssh_setup_init(&setup, SSH_FOR_QUESTION, config, NULL, err);

	*ret = (struct ssh_where){0};
	if (!r)
		r = ask_ssh(&setup, &text, err);
	ssh_setup_done(&setup);
	if (r)
		return r;
	buf_add(&text, "", 1);
	parse(text.data, &a);
	if (!*a.hostname || a.has_proxy || !ip_parse(a.hostname, &ip, NULL))
		return 0;
	set_alias(&a, ret);
	resolve(a.hostname, ret);
	return 0;
}
