// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libbyway NETWORK FIREWALL COMMAND [ARGUMENT...]: one call of libbyway's. Prints what it gives; says
 * what went wrong on stderr, and exits with the code. Compiled by the test, with what is installed.
 */
#include <byway.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct byway_manager *m;
static struct byway_error err;

static void print_tap(const struct byway_tap *t)
{
	printf("%s %s %s/%u %s %02x:%02x:%02x:%02x:%02x:%02x mtu %u queues %u %s\n", t->name,
	       t->interface, t->address, t->prefix, t->gateway, t->mac[0], t->mac[1], t->mac[2],
	       t->mac[3], t->mac[4], t->mac[5], t->mtu, t->queues, t->fd < 0 ? "closed" : "open");
}

static int setup(char **args)
{
	(void)args;
	return byway_manager_setup(m, &err);
}

static int teardown(char **args)
{
	(void)args;
	return byway_manager_teardown(m, &err);
}

/* NAME ADDRESS FLAGS QUEUES; a flag of 128 is for "of this process", of 256 for nobody's number. */
static int create(char **args)
{
	struct byway_tap_spec spec = {.size = sizeof(spec), .name = args[0]};
	struct byway_tap tap = {.size = sizeof(tap)};
	int r;

	if (args[0] && args[1]) {
		spec.address = *args[1] == '-' ? NULL : args[1];
		spec.flags = args[2] ? (uint32_t)atoi(args[2]) : 0;
		spec.queues = args[2] && args[3] ? (uint32_t)atoi(args[3]) : 0;
		spec.pid = spec.flags & 128 ? getpid() : spec.flags & 256 ? -1 : 0;
		spec.flags &= ~(128u | 256u);
	}
	r = byway_tap_create(m, &spec, &tap, &err);
	if (!r)
		print_tap(&tap);
	return r;
}

static int get(char **args)
{
	struct byway_tap tap = {.size = sizeof(tap)};
	int r = byway_tap_get(m, args[0], &tap, &err);

	if (!r)
		print_tap(&tap);
	return r;
}

static int del(char **args)
{
	return byway_tap_delete(m, args[0], &err);
}

static int allocate(char **args)
{
	struct byway_lease lease = {.size = sizeof(lease)};
	int r = byway_address_allocate(m, args[0], args[1], NULL, &lease, &err);

	if (!r)
		puts(lease.address);
	return r;
}

static int release(char **args)
{
	return byway_address_release(m, args[0], &err);
}

/* INTERFACE [TIMES] */
static int open_tap(char **args)
{
	int times = args[0] && args[1] ? atoi(args[1]) : 1, r = 0, fd;

	for (int i = 0; !r && i < times; i++) {
		r = byway_tap_open(args[0], &fd, &err);
		if (!r && (fcntl(fd, F_GETFL) & O_NONBLOCK) && (fcntl(fd, F_GETFD) & FD_CLOEXEC))
			puts("open");
	}
	return r;
}

/* ---- Programs of other times ---- */

struct older {
	size_t size;
	char name[BYWAY_NAME_MAX], guard[8];
};

struct newer {
	struct byway_tap_spec known;
	uint64_t later;
};

static int expect(int r, int want, const char *what)
{
	if (r != want)
		fprintf(stderr, "%s: %d, %s\n", what, r, r ? err.text : "done");
	return r == want ? 0 : 99;
}

static int sizes(char **args)
{
	struct older older = {.size = offsetof(struct older, guard), .guard = "intact"};
	struct newer newer = {.known = {.size = sizeof(newer), .name = "later"}, .later = 1};
	struct byway_tap_spec none = {.size = 0, .name = "none"};
	struct byway_tap tap = {.size = sizeof(tap)}, sizeless = {.size = 0};
	int r;

	(void)args;
	r = expect(byway_tap_create(m, &newer.known, &tap, &err), BYWAY_USAGE, "a new member");
	newer.later = 0;
	r |= expect(byway_tap_create(m, &newer.known, &tap, &err), 0, "a new member of zero");
	r |= expect(byway_tap_create(m, &none, &tap, &err), BYWAY_USAGE, "no size");
	r |= expect(byway_tap_get(m, "later", &sizeless, &err), BYWAY_USAGE, "no size of what is given");
	r |= expect(byway_tap_get(m, "later", (void *)&older, &err), 0, "an older struct");
	r |= expect(strcmp(older.name, "later") || strcmp(older.guard, "intact"), 0, "its end");
	r |= expect(byway_tap_get(NULL, NULL, NULL, &err), BYWAY_USAGE, "nothing at all");
	return r | expect(byway_tap_delete(m, "later", NULL), 0, "without an error to fill");
}

/* ---- Two threads, one manager ---- */

static void *racer(void *arg)
{
	struct byway_tap_spec spec = {.size = sizeof(spec), .flags = BYWAY_TAP_OPEN};
	struct byway_tap tap = {.size = sizeof(tap)};
	struct byway_error e;
	char name[16];

	spec.name = name;
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "%s%d", (char *)arg, i);
		if (byway_tap_create(m, &spec, &tap, &e)) {
			fprintf(stderr, "create %s: %s\n", name, e.text);
			return arg;
		}
		puts(tap.address);
		close(tap.fd);
		if (i % 2 && byway_tap_delete(m, name, &e)) {
			fprintf(stderr, "delete %s: %s\n", name, e.text);
			return arg;
		}
	}
	return NULL;
}

static int threads(char **args)
{
	static char a[] = "a", b[] = "b";
	void *first, *second;
	pthread_t other;

	(void)args;
	if (pthread_create(&other, NULL, racer, a))
		return 99;
	second = racer(b);
	pthread_join(other, &first);
	return first || second ? 99 : 0;
}

/* What a manager is opened with. */
static int manager(char **args)
{
	struct byway_network_spec spec = {.size = sizeof(spec), .name = args[0]};
	struct byway_manager *other = NULL;
	int r;

	if (args[0] && args[1]) {
		spec.cidr = args[1];
		spec.flags = args[2] ? (uint32_t)atoi(args[2]) : 0;
		spec.interface = args[2] ? args[3] : NULL;
	}
	r = byway_manager_open(&spec, &other, &err);
	byway_manager_close(other);
	return r;
}

static const struct {
	const char *name;
	int (*run)(char **args);
} commands[] = {
	{"setup", setup},     {"teardown", teardown}, {"create", create},   {"get", get},
	{"delete", del},      {"allocate", allocate}, {"release", release}, {"open", open_tap},
	{"sizes", sizes},     {"threads", threads},   {"manager", manager},
};

int main(int argc, char **argv)
{
	struct byway_network_spec spec = {.size = sizeof(spec)};
	int r = 98;

	if (argc < 4)
		return 98;
	spec.name = argv[1];
	spec.firewall = argv[2];
	if (byway_manager_open(&spec, &m, &err))
		return 97;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcmp(commands[i].name, argv[3]))
			r = commands[i].run(argv + 4);
	}
	byway_manager_close(m);
	if (r && r < 90)
		fprintf(stderr, "%d %s: %s\n", err.code, strerror(err.error_number), err.text);
	return r;
}
