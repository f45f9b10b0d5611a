// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dial [-a ADDRESS] [-c CA-FILE] [-t MS] [-k BYTES] [-n COUNT [-p PARALLEL]]
 * PROXY-URL[,URL...]|ssh:[USER@]HOST|direct HOST PORT
 *
 * The dialers on the command line. Opens one stream, says so on stderr, and relays it to stdin and
 * stdout with half-closes; or, with -n, opens COUNT, PARALLEL at a time, closes each, and prints
 * how many came to which end. -a: the proxies' address, when the URL has a name. -k: no
 * half-close, which squid and tinyproxy take for a close; stops when so many bytes have come.
 * Exits with 0, or 10 plus the status of a failed dial.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "ssh_open.h"
#include "tunnel/url.h"

#define PARALLEL_MAX 1024

static _Noreturn void die(const char *why)
{
	fprintf(stderr, "dial: %s\n", why);
	exit(2);
}

static void add_upstream(struct connect_config *config, const char *url, const char *address)
{
	_proxy_url_ struct proxy_url u = {0};
	struct connect_upstream *up = &config->upstreams[config->n_upstreams++];
	struct err err = {0};

	if (config->n_upstreams > CONNECT_UPSTREAMS_MAX)
		die("too many proxies");
	if (proxy_url_parse(url, &u, &err) || ip_parse(address ? address : u.host, &up->addr, &err))
		die(err.msg);
	up->tls = u.tls;
	up->port = u.port;
	memcpy(up->host, u.host, sizeof(up->host));
	if (u.username[0]) {
		memcpy(config->username, u.username, sizeof(config->username));
		memcpy(config->password, u.password, sizeof(config->password));
	}
}

static struct dialer *open_dialer(struct connect_config *config, char *urls, const char *address)
{
	struct dialer *d = NULL;
	struct err err = {0};

	if (!strcmp(urls, "direct"))
		return dialer_direct(0);
	if (!strncmp(urls, "ssh:", 4))
		return ssh_open(urls + 4);
	for (char *url = strtok(urls, ","); url; url = strtok(NULL, ","))
		add_upstream(config, url, address);
	if (dialer_connect(config, &d, &err))
		die(err.msg);
	return d;
}

/* ---- Many ---- */

static struct dial dials[PARALLEL_MAX];
static struct pollfd polled[PARALLEL_MAX];

static void count_status(const struct dial *c, enum dial_status s, unsigned int *counts)
{
	if (!counts[s]++ && c->reason[0])
		fprintf(stderr, "%s: %s\n", dial_status_name(s), c->reason);
}

/* Goes on with dial i; true when it is over. */
static bool advance(size_t i, enum dial_status s, unsigned int *counts)
{
	if (s == DIAL_PENDING) {
		polled[i].fd = dials[i].fd;
		polled[i].events = (short)dials[i].events;
		return false;
	}
	polled[i].fd = -1;
	count_status(&dials[i], s, counts);
	dial_abort(&dials[i]);
	return true;
}

static void dial_many(struct dialer *d, const struct dial_target *t, size_t count, size_t parallel,
		      unsigned int *counts)
{
	size_t started = 0, over = 0;

	for (size_t i = 0; i < parallel; i++)
		polled[i].fd = -1;
	while (over < count) {
		for (size_t i = 0; i < parallel && started < count; i++)
			if (polled[i].fd < 0) {
				started++;
				over += advance(i, dial_start(d, &dials[i], t, clock_ms()), counts);
			}
		poll(polled, parallel, 100);
		for (size_t i = 0; i < parallel; i++)
			if (polled[i].fd >= 0 &&
			    (polled[i].revents || clock_ms() >= dials[i].deadline_ms))
				over += advance(i, dial_step(&dials[i], (uint32_t)polled[i].revents,
							     clock_ms()), counts);
	}
}

static int print_counts(const unsigned int *counts)
{
	for (unsigned int s = 0; s < DIAL_NUM_STATUSES; s++)
		if (counts[s])
			printf("%s %u\n", dial_status_name((enum dial_status)s), counts[s]);
	return 0;
}

/* ---- One ---- */

/* What came from stdin and has not gone out yet: the other direction must not wait for it. */
struct outgoing {
	char data[65536];
	size_t at, len;
	bool ended;
};

static void take_input(struct outgoing *o)
{
	ssize_t n = read(STDIN_FILENO, o->data, sizeof(o->data));

	o->ended = n <= 0;
	o->at = 0;
	o->len = n > 0 ? (size_t)n : 0;
}

/* 0 or -errno. */
static int send_some(struct outgoing *o, int fd)
{
	ssize_t n = send(fd, o->data + o->at, o->len - o->at, MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	o->at += (size_t)n;
	return 0;
}

/* Bytes that came; 0 at the end, -errno. */
static ssize_t receive_some(int fd)
{
	static char buf[65536];
	ssize_t n = recv(fd, buf, sizeof(buf), 0), done = 0, w;

	for (; done < n; done += w) {
		w = write(STDOUT_FILENO, buf + done, (size_t)(n - done));
		if (w < 0)
			return -errno;
	}
	return n < 0 ? -errno : n;
}

/* keep: 0, or for how many bytes from there our direction is kept open. */
static int relay(int fd, size_t keep)
{
	static struct outgoing out;
	ssize_t r = 1;
	size_t received = 0;

	while (r > 0 && (!keep || received < keep)) {
		bool waiting = out.at < out.len;
		struct pollfd p[] = {
			{.fd = waiting || out.ended ? -1 : STDIN_FILENO, .events = POLLIN},
			{.fd = fd, .events = (short)(POLLIN | (waiting ? POLLOUT : 0))},
		};

		poll(p, 2, -1);
		if (p[0].revents)
			take_input(&out);
		if (p[0].revents && out.ended && !keep)
			shutdown(fd, SHUT_WR);
		if (p[1].revents & POLLOUT)
			r = send_some(&out, fd) ?: 1;
		if (r > 0 && p[1].revents & (POLLIN | POLLHUP | POLLERR)) {
			r = receive_some(fd);
			received += r > 0 ? (size_t)r : 0;
		}
	}
	if (r < 0)
		fprintf(stderr, "the stream broke: %s\n", strerror((int)-r));
	return r < 0;
}

static int relay_one(struct dialer *d, const struct dial_target *t, size_t keep)
{
	struct dial c;
	enum dial_status s = dial_wait(d, &c, t);

	fprintf(stderr, "%s%s%s\n", dial_status_name(s), c.reason[0] ? ": " : "", c.reason);
	return s == DIAL_CONNECTED ? relay(c.fd, keep) : 10 + (int)s;
}

int main(int argc, char **argv)
{
	struct connect_config config = {0};
	struct dial_target target = {0};
	unsigned int counts[DIAL_NUM_STATUSES] = {0};
	const char *address = NULL;
	size_t count = 0, parallel = 1, keep = 0;
	struct dialer *d;
	int option, r;

	while ((option = getopt(argc, argv, "a:c:t:k:n:p:")) != -1) {
		switch (option) {
		case 'a': address = optarg; break;
		case 'c': config.ca_file = optarg; break;
		case 't': config.timeout_ms = (uint32_t)strtoul(optarg, NULL, 10); break;
		case 'k': keep = strtoul(optarg, NULL, 10); break;
		case 'n': count = strtoul(optarg, NULL, 10); break;
		case 'p': parallel = strtoul(optarg, NULL, 10); break;
		default: die("unknown option");
		}
	}
	if (argc - optind != 3 || !parallel || parallel > PARALLEL_MAX)
		die("usage: dial [-a ADDRESS] [-c CA] [-t MS] [-k BYTES] [-n COUNT [-p PARALLEL]] URL HOST PORT");
	d = open_dialer(&config, argv[optind], address);
	if (ip_parse(argv[optind + 1], &target.addr, NULL) &&
	    str_copy(target.host, sizeof(target.host), argv[optind + 1]))
		die("the host's name is too long");
	target.port = (uint16_t)strtoul(argv[optind + 2], NULL, 10);
	if (count)
		dial_many(d, &target, count, parallel, counts);
	r = count ? print_counts(counts) : relay_one(d, &target, keep);
	dialer_free(d);
	explicit_bzero(&config, sizeof(config));
	return r;
}
