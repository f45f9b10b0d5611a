// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is inside a session's namespace, asked of the kernel and of packets.
 *
 *	full	ns ─ tun0 ─ client (born in carrier) ─ far        far: what is behind the VPN
 *	split	ns ─ tun0 ─ client ─ far, and ns ─ veth0 ─ gw     gw: everything else
 *
 * The client is a process that opens /dev/net/tun as openconnect does and copies packets; far's
 * device is opened once, so that a connection lives on with the next client. The code is included,
 * so that what it does on kernels of before 6.2 is seen on later ones.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "kernel/oplog.h"
#include "session/inner.c"

#include "fw_probe.h"

#define CALL(expr)                                                                                 \
	do {                                                                                       \
		struct err err = {0};                                                              \
		int r_ = (expr);                                                                   \
		if (r_)                                                                            \
			fail_msg("%s: %d: %s", #expr, r_, err.msg);                                \
	} while (0)

/* ---- One test's world ---- */

struct world {
	struct netns *ns, *carrier, *far, *gw;
	struct session s;
	struct session_spec spec;
	struct cidr include[4];
	int far_tun;
	pid_t client;
};

static int open_tun(const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &ifr)) {
		close(fd);
		return -errno;
	}
	return fd < 0 ? -errno : fd;
}

static int open_far_tun(void *arg)
{
	(void)arg;
	return open_tun("corp0");
}

static void copy(int from, int to)
{
	char packet[65536];
	ssize_t n = read(from, packet, sizeof(packet));

	if (n > 0)
		(void)!write(to, packet, (size_t)n);
}

static _Noreturn void run_client(const struct netns *in, int far, int ready)
{
	struct pollfd fds[] = {{.fd = -1, .events = POLLIN}, {.fd = far, .events = POLLIN}};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (netns_enter(in))
		_exit(1);
	fds[0].fd = open_tun(SESSION_TUN);
	if (fds[0].fd < 0 || write(ready, "", 1) != 1)
		_exit(1);
	while (poll(fds, 2, -1) > 0) {
		/* A device that is down says POLLERR. */
		if (fds[0].revents & POLLIN)
			copy(fds[0].fd, far);
		if (fds[1].revents & POLLIN)
			copy(far, fds[0].fd);
		if (fds[0].revents & POLLERR)
			poll(NULL, 0, 1);
	}
	_exit(1);
}

static void client_start(struct world *w)
{
	const struct netns *in = w->spec.mode == SESSION_FULL ? w->carrier : w->ns;
	int ready[2];
	char c;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	w->client = fork();
	assert_true(w->client >= 0);
	if (!w->client)
		run_client(in, w->far_tun, ready[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
}

static void client_kill(struct world *w)
{
	kill(w->client, SIGKILL);
	assert_int_equal(waitpid(w->client, NULL, 0), w->client);
	w->client = 0;
}

static struct cidr net(const char *text)
{
	struct cidr c = {0};

	assert_int_equal(cidr_parse(text, &c, NULL), 0);
	return c;
}

static struct ip ip(const char *text)
{
	struct ip a = {0};

	assert_int_equal(ip_parse(text, &a, NULL), 0);
	return a;
}

static struct vpn vpn_of(const struct world *w, const char *addr4, const char *addr6)
{
	struct vpn v = {.reason = VPN_CONNECT,
			.tun = SESSION_TUN,
			.client = w->client,
			.gateway = ip("192.0.2.1"),
			.mtu_bytes = 1334};

	if (addr4)
		v.addr4 = net(addr4);
	if (addr6)
		v.addr6 = net(addr6);
	return v;
}

static void connect_vpn(struct world *w, const struct vpn *v)
{
	struct netns *outer = w->spec.mode == SESSION_FULL ? w->carrier : w->ns;

	CALL(inner_connect(outer, w->ns, &w->s, &w->spec, v, &err));
}

/* Where the tests send to: the same here and there, so that only the way decides. */
#define ADD_PLACES                                                                                 \
	"for a in 10.98.0.1 10.98.9.1 192.0.2.1 203.0.113.1 198.51.100.1;"                         \
	" do ip -n %s addr add $a/32 dev lo; done"

static struct world *world_new(enum session_mode mode)
{
	struct world *w = xcalloc(1, sizeof(*w));

	w->ns = world_netns("s");
	w->carrier = world_netns("s.out");
	w->far = world_netns("far");
	w->gw = world_netns("gw");
	w->spec.mode = w->s.mode = mode;
	w->spec.include = w->include;
	w->far_tun = netns_call(w->far, open_far_tun, NULL);
	assert_true(w->far_tun >= 0);
	sh("ip -n far link set corp0 up && ip -n far route add default dev corp0 &&"
	   "ip -n far -6 route add default dev corp0 &&"
	   "ip -n far addr add fd98::1/128 dev lo &&" ADD_PLACES,
	   "far");
	return w;
}

static int setup_full(void **state)
{
	*state = world_new(SESSION_FULL);
	return 0;
}

/* What is beside the tunnel arrives at gw. */
static int setup_split(void **state)
{
	struct world *w = world_new(SESSION_SPLIT);

	strcpy(w->s.veth_ns, "veth0");
	sh("ip -n gw link add vh type veth peer name veth0 netns s &&"
	   "ip -n gw link set vh up && ip -n s link set veth0 up &&"
	   "ip -n s addr add 172.16.0.2/32 dev veth0 &&"
	   "ip -n s route add default via 169.254.1.1 dev veth0 onlink proto 98 &&"
	   "ip -n s neigh add 169.254.1.1 dev veth0 nud permanent lladdr "
	   "$(ip -n gw -j link show vh | jq -r .[0].address) &&"
	   "ip -n gw route add 172.16.0.2 dev vh &&" ADD_PLACES,
	   "gw");
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	if (w->client)
		client_kill(w);
	close(w->far_tun);
	netns_free(w->ns);
	netns_free(w->carrier);
	netns_free(w->far);
	netns_free(w->gw);
	sh("for n in s s.out far gw; do ip netns del $n; done");
	free(w);
	return 0;
}

/* What `ip` says of the session's namespace, blanks at the lines' ends taken away. */
static void assert_says(const char *command, const char *want)
{
	_free_ char *line = xasprintf("ip -n s %s | sed 's/ *$//'", command);
	_buf_ struct buf b = {0};

	sh_read(&b, line);
	buf_add(&b, "", 0);
	assert_string_equal(b.data, want);
}

#define ADDRESSES "-o addr show tun0 | awk '{print $3, $4}'"
#define LINKS "-o link | awk -F'[:@ ]+' '{print $2}' | sort"

static int tun_index(struct world *w)
{
	int index = 0;

	CALL(link_index(w->ns, SESSION_TUN, &index, &err));
	return index;
}

/* ---- Full mode ---- */

static void test_full(void **state)
{
	struct world *w = *state;
	struct vpn v;

	CALL(inner_prepare(w->ns, &w->spec, &err));
	assert_says("route", "");
	client_start(w);
	v = vpn_of(w, "10.99.0.50/24", "fd99::50/64");
	v.exclude = &w->include[0]; /* of no meaning here */
	v.n_exclude = 1;
	w->include[0] = net("10.98.0.0/24");
	connect_vpn(w, &v);
	assert_says(LINKS, "lo\ntun0\n");
	assert_says(ADDRESSES, "inet 10.99.0.50/32\ninet6 fd99::50/128\n");
	assert_says("-4 route", "default dev tun0 proto 98 scope link metric 20\n");
	assert_says("-6 route show default", "default dev tun0 proto 98 metric 20 pref medium\n");
	assert_says("-o link show tun0 | grep -o 'mtu [0-9]*'", "mtu 1334\n");
	assert_true(udp_answered(w->ns, w->far, "10.98.0.1", 9000));
	assert_true(udp_answered(w->ns, w->far, "fd98::1", 9000));
	sh("test -z \"$(ip -n s.out -o link show type tun)\"");
}

static void test_full_one_family(void **state)
{
	struct world *w = *state;
	struct vpn v;

	client_start(w);
	v = vpn_of(w, NULL, "fd99::50/128");
	v.mtu_bytes = 1200;
	connect_vpn(w, &v);
	assert_says(ADDRESSES, "inet6 fd99::50/128\n");
	assert_says("-4 route", "");
	assert_says("-o link show tun0 | grep -o 'mtu [0-9]*'", "mtu 1280\n");
	assert_true(udp_answered(w->ns, w->far, "fd98::1", 9000));
}

/* The device, its address and its route outlive the client. */
static void test_full_client_dies(void **state)
{
	struct world *w = *state;
	struct vpn v;

	client_start(w);
	v = vpn_of(w, "10.99.0.50/24", NULL);
	connect_vpn(w, &v);
	client_kill(w);
	assert_says(ADDRESSES, "inet 10.99.0.50/32\n");
	assert_says("-4 route show default | cut -d' ' -f-3", "default dev tun0\n");
	assert_false(udp_arrives(w->ns, w->far, "10.98.0.1", 9000, NULL, WAIT_DROP_MS));
	sh("ip -n s link del tun0");
	assert_says(LINKS, "lo\n");
	assert_says("route", "");
}

/* The client came back to its server by itself: the device is where it was. */
static void test_full_again(void **state)
{
	struct world *w = *state;
	struct vpn v;
	int index;

	client_start(w);
	v = vpn_of(w, "10.99.0.50/24", "fd99::50/64");
	connect_vpn(w, &v);
	index = tun_index(w);
	connect_vpn(w, &v);
	assert_int_equal(tun_index(w), index);
	v = vpn_of(w, "10.99.0.51/24", NULL);
	connect_vpn(w, &v);
	assert_int_equal(tun_index(w), index);
	assert_says(ADDRESSES, "inet 10.99.0.51/32\n");
	assert_says("-6 route show default", "");
	assert_true(udp_answered(w->ns, w->far, "10.98.0.1", 9000));
}

static int tcp_socket(void *arg)
{
	(void)arg;
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* A connection from the session to what is behind the VPN. */
static void open_pair(struct world *w, int *ret_here, int *ret_there)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9100)};
	int listener = netns_call(w->far, tcp_socket, NULL), on = 1;

	inet_pton(AF_INET, "10.98.0.1", &to.sin_addr);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(listener, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(listen(listener, 1), 0);
	*ret_here = netns_call(w->ns, tcp_socket, NULL);
	assert_int_equal(connect(*ret_here, (struct sockaddr *)&to, sizeof(to)), 0);
	*ret_there = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(*ret_there >= 0);
	close(listener);
}

static void assert_carries(int from, int to)
{
	struct pollfd p = {.fd = to, .events = POLLIN};
	char c = 0;

	assert_int_equal(write(from, "x", 1), 1);
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(read(to, &c, 1), 1);
	assert_int_equal(c, 'x');
}

/* Asks the kernel for a way, again and again. */
struct hammer {
	struct netns *ns;
	pthread_t thread;
	atomic_bool stop;
	atomic_ulong asked, refused;
};

static int hammer_inside(void *arg)
{
	struct hammer *h = arg;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), fd6 = socket(AF_INET6, SOCK_DGRAM, 0);

	inet_pton(AF_INET, "10.98.0.1", &to.sin_addr);
	inet_pton(AF_INET6, "fd98::1", &to6.sin6_addr);
	while (!atomic_load(&h->stop)) {
		atomic_fetch_add(&h->asked, 1);
		if (connect(fd, (void *)&to, sizeof(to)) || connect(fd6, (void *)&to6, sizeof(to6)))
			atomic_fetch_add(&h->refused, 1);
	}
	close(fd);
	close(fd6);
	return 0;
}

static void *hammer_thread(void *arg)
{
	struct hammer *h = arg;

	netns_call(h->ns, hammer_inside, h);
	return NULL;
}

static bool renames_live(struct world *w)
{
	_nlbatch_ struct nlbatch b;
	int r;

	sh("ip -n gw tuntap add dev probe0 mode tun && ip -n gw link set probe0 up");
	nlbatch_init(&b, w->gw);
	link_rename(&b, 2, "probe0", "probe1");
	r = nlbatch_commit(&b, NULL);
	sh("ip -n gw tuntap del dev probe%d mode tun", r ? 0 : 1);
	return r == 0;
}

#define SWAPS 30

/* Clients come and go; the workload sees one device, and there is a route at every moment. */
static void test_full_swap(void **state)
{
	struct world *w = *state;
	struct hammer h = {.ns = w->ns};
	bool live = renames_live(w);
	int here, there;
	struct vpn v;

	client_start(w);
	v = vpn_of(w, "10.99.0.50/24", "fd99::50/64");
	connect_vpn(w, &v);
	open_pair(w, &here, &there);
	assert_carries(here, there);
	assert_int_equal(pthread_create(&h.thread, NULL, hammer_thread, &h), 0);
	while (!atomic_load(&h.asked))
		sched_yield();
	for (int i = 0; i < SWAPS; i++) {
		client_kill(w);
		client_start(w);
		v.client = w->client;
		connect_vpn(w, &v);
		assert_carries(here, there);
		assert_carries(there, here);
	}
	atomic_store(&h.stop, true);
	pthread_join(h.thread, NULL);
	print_message("# %lu questions, %lu without a way\n", atomic_load(&h.asked),
		      atomic_load(&h.refused));
	if (live)
		assert_int_equal(atomic_load(&h.refused), 0);
	assert_says(LINKS, "lo\ntun0\n");
	assert_says(ADDRESSES, "inet 10.99.0.50/32\ninet6 fd99::50/128\n");
	close(here);
	close(there);
}

static void test_full_other_address(void **state)
{
	struct world *w = *state;
	struct vpn v;

	client_start(w);
	v = vpn_of(w, "10.99.0.50/24", "fd99::50/64");
	connect_vpn(w, &v);
	client_kill(w);
	client_start(w);
	v = vpn_of(w, "10.99.0.77/24", NULL);
	connect_vpn(w, &v);
	assert_says(LINKS, "lo\ntun0\n");
	assert_says(ADDRESSES, "inet 10.99.0.77/32\n");
	assert_says("-4 route", "default dev tun0 proto 98 scope link metric 20\n");
	assert_says("-6 route show default", "");
	assert_true(udp_answered(w->ns, w->far, "10.98.0.1", 9000));
}

/* What a swap leaves that was cut off by a crash. */
static void test_full_leftovers(void **state)
{
	struct world *w = *state;
	struct vpn v;

	sh("for d in tun0 tun0-new tun0-old; do ip -n s tuntap add dev $d mode tun; done");
	client_start(w);
	v = vpn_of(w, "10.99.0.50/24", NULL);
	connect_vpn(w, &v);
	assert_says(LINKS, "lo\ntun0\n");
	assert_true(udp_answered(w->ns, w->far, "10.98.0.1", 9000));
}

/* As before Linux 6.2. */
static void test_full_swap_down(void **state)
{
	struct world *w = *state;
	_plan_ struct plan p = {.spec = &w->spec};
	int here, there;
	struct link dev;
	struct vpn v;

	client_start(w);
	v = vpn_of(w, "10.99.0.50/24", "fd99::50/64");
	connect_vpn(w, &v);
	open_pair(w, &here, &there);
	client_kill(w);
	client_start(w);
	v.client = w->client;
	p.vpn = &v;
	CALL(tun_persist(w->carrier, SESSION_TUN, w->client, &err));
	CALL(fetch(w->carrier, w->ns, &dev, &err));
	assert_string_equal(dev.name, TUN_NEW);
	CALL(configure(w->ns, &w->s, &p, &dev, &err));
	CALL(swap_names_down(w->ns, &w->s, &p, &dev, &err));
	assert_says(LINKS, "lo\ntun0\n");
	assert_says(ADDRESSES, "inet 10.99.0.50/32\ninet6 fd99::50/128\n");
	assert_says("-6 route show default", "default dev tun0 proto 98 metric 20 pref medium\n");
	assert_carries(here, there);
	close(here);
	close(there);
}

/* ---- Split mode ---- */

static bool beside(struct world *w, const char *dst)
{
	return udp_arrives(w->ns, w->gw, dst, 9000, NULL, WAIT_DROP_MS);
}

static bool through(struct world *w, const char *dst)
{
	return udp_answered(w->ns, w->far, dst, 9000);
}

static bool nowhere(struct world *w, const char *dst)
{
	return !beside(w, dst) && !udp_arrives(w->ns, w->far, dst, 9000, NULL, WAIT_DROP_MS);
}

static void include_ours(struct world *w, const char *text)
{
	w->include[w->spec.n_include++] = net(text);
}

static void test_split(void **state)
{
	struct world *w = *state;
	struct cidr server_includes[] = {net("10.98.0.0/16")};
	struct cidr server_excludes[] = {net("10.98.9.0/24"), net("203.0.113.128/25")};
	struct vpn v;

	include_ours(w, "203.0.113.0/24");
	include_ours(w, "192.0.2.0/24");
	assert_true(beside(w, "203.0.113.1")); /* a leak would be seen */
	CALL(inner_prepare(w->ns, &w->spec, &err));
	CALL(inner_prepare(w->ns, &w->spec, &err));
	assert_true(nowhere(w, "203.0.113.1"));
	assert_true(nowhere(w, "192.0.2.1"));
	assert_true(beside(w, "198.51.100.1"));
	CALL(inner_allow(w->ns, &w->s, &(struct ip){AF_INET, {192, 0, 2, 1}}, &err));
	assert_true(beside(w, "192.0.2.1"));

	client_start(w);
	v = vpn_of(w, "10.99.0.50/24", NULL);
	v.include = server_includes;
	v.n_include = 1;
	v.exclude = server_excludes;
	v.n_exclude = 2;
	v.dns[0] = ip("172.31.0.53");
	v.n_dns = 1;
	connect_vpn(w, &v);
	connect_vpn(w, &v);
	assert_says("-4 route", "default via 169.254.1.1 dev veth0 proto 98 onlink\n"
				"10.98.0.0/16 dev tun0 proto 98 scope link metric 20\n"
				"unreachable 10.98.0.0/16 proto 98 metric 30\n"
				"10.98.9.0/24 via 169.254.1.1 dev veth0 proto 98 metric 40 onlink\n"
				"10.99.0.0/24 dev tun0 proto 98 scope link metric 20\n"
				"unreachable 10.99.0.0/24 proto 98 metric 30\n"
				"172.31.0.53 dev tun0 proto 98 scope link metric 20\n"
				"unreachable 172.31.0.53 proto 98 metric 30\n"
				"192.0.2.0/24 dev tun0 proto 98 scope link metric 20\n"
				"unreachable 192.0.2.0/24 proto 98 metric 30\n"
				"192.0.2.1 via 169.254.1.1 dev veth0 proto 98 metric 10 onlink\n"
				"203.0.113.0/24 dev tun0 proto 98 scope link metric 20\n"
				"unreachable 203.0.113.0/24 proto 98 metric 30\n");
	assert_true(through(w, "10.98.0.1"));
	assert_true(through(w, "203.0.113.1"));
	assert_true(beside(w, "10.98.9.1"));
	assert_true(beside(w, "192.0.2.1"));
	assert_true(beside(w, "198.51.100.1"));

	/* The client dies, the device goes: what was included goes nowhere. */
	client_kill(w);
	assert_true(nowhere(w, "10.98.0.1"));
	sh("ip -n s link del tun0");
	assert_true(nowhere(w, "10.98.0.1"));
	assert_true(nowhere(w, "203.0.113.1"));
	assert_true(beside(w, "192.0.2.1"));
	assert_true(beside(w, "10.98.9.1"));
	CALL(inner_prepare(w->ns, &w->spec, &err));
	assert_true(nowhere(w, "10.98.0.1"));
}

/* The next client attaches to the device; another address, other networks. */
static void test_split_changes(void **state)
{
	struct world *w = *state;
	struct cidr first[] = {net("10.98.0.0/24"), net("fd98::/64")},
		    then[] = {net("10.98.9.0/24")};
	struct vpn v;
	int index;

	w->spec.mtu_bytes = 1300;
	client_start(w);
	v = vpn_of(w, "10.99.0.50/32", "fd99::50/64");
	v.include = first;
	v.n_include = 2;
	v.exclude = then;
	v.n_exclude = 1;
	connect_vpn(w, &v);
	index = tun_index(w);
	assert_says("-6 route show proto 98",
		    "fd98::/64 dev tun0 metric 20 pref medium\n"
		    "unreachable fd98::/64 dev lo metric 30 pref medium\n"
		    "fd99::/64 dev tun0 metric 20 pref medium\n"
		    "unreachable fd99::/64 dev lo metric 30 pref medium\n");
	assert_says("-o link show tun0 | grep -o 'mtu [0-9]*'", "mtu 1300\n");
	assert_true(through(w, "fd98::1"));
	assert_true(beside(w, "10.98.9.1"));

	client_kill(w);
	client_start(w);
	v = vpn_of(w, "10.99.0.51/32", NULL);
	v.gateway = ip("192.0.2.7");
	v.include = then;
	v.n_include = 1;
	v.mtu_bytes = 1200;
	connect_vpn(w, &v);
	assert_int_equal(tun_index(w), index);
	assert_says(ADDRESSES, "inet 10.99.0.51/32\n");
	assert_says("-4 route", "default via 169.254.1.1 dev veth0 proto 98 onlink\n"
				"10.98.9.0/24 dev tun0 proto 98 scope link metric 20\n"
				"unreachable 10.98.9.0/24 proto 98 metric 30\n"
				"10.99.0.51 dev tun0 proto 98 scope link metric 20\n"
				"unreachable 10.99.0.51 proto 98 metric 30\n"
				"192.0.2.7 via 169.254.1.1 dev veth0 proto 98 metric 10 onlink\n");
	assert_says("-6 route show proto 98", "");
	assert_true(through(w, "10.98.9.1"));
	assert_true(beside(w, "10.98.0.1"));

	/* The MTU was too small for IPv6, and is not any more: still no address but ours. */
	v = vpn_of(w, "10.99.0.51/32", "fd99::50/64");
	connect_vpn(w, &v);
	assert_says(ADDRESSES, "inet 10.99.0.51/32\ninet6 fd99::50/128\n");
}

/* Of what our file includes, the server takes nothing out. */
static void test_split_ours(void **state)
{
	struct world *w = *state;
	struct cidr excludes[] = {net("10.98.9.0/24"), net("203.0.113.0/24"), net("0.0.0.0/0")};
	struct vpn v;

	include_ours(w, "10.98.0.0/16");
	include_ours(w, "203.0.113.1/32");
	CALL(inner_prepare(w->ns, &w->spec, &err));
	client_start(w);
	v = vpn_of(w, "10.99.0.50/32", NULL);
	v.exclude = excludes;
	v.n_exclude = 3;
	connect_vpn(w, &v);
	assert_true(through(w, "10.98.9.1"));
	assert_true(through(w, "203.0.113.1"));
	client_kill(w);
	sh("ip -n s link del tun0");
	assert_true(nowhere(w, "10.98.9.1"));
	assert_true(nowhere(w, "203.0.113.1"));
	assert_true(beside(w, "198.51.100.1"));
}

/* Nobody includes anything: that is all of it. */
static void test_split_all(void **state)
{
	struct world *w = *state;
	struct vpn v;

	CALL(inner_prepare(w->ns, &w->spec, &err));
	assert_true(beside(w, "203.0.113.1"));
	client_start(w);
	v = vpn_of(w, "10.99.0.50/32", NULL);
	connect_vpn(w, &v);
	assert_true(through(w, "203.0.113.1"));
	assert_true(through(w, "10.98.0.1"));
	assert_true(beside(w, "192.0.2.1"));
	assert_says("-4 route show proto 98 type unreachable",
		    "unreachable 0.0.0.0/1 metric 30\n"
		    "unreachable 10.99.0.50 metric 30\n"
		    "unreachable 128.0.0.0/1 metric 30\n");
	client_kill(w);
	sh("ip -n s link del tun0");
	assert_true(nowhere(w, "203.0.113.1"));
	assert_true(nowhere(w, "198.51.100.1"));
	assert_says("-6 route show type unreachable",
		    "unreachable ::/1 dev lo proto 98 metric 30 pref medium\n"
		    "unreachable 8000::/1 dev lo proto 98 metric 30 pref medium\n");
}

/* Traffic to an included network all through the changes: none of it beside. */
static void test_split_no_gap(void **state)
{
	struct world *w = *state;
	struct cidr includes[] = {net("203.0.113.0/24"), net("198.51.100.0/24")};
	struct flood *f;
	struct vpn v;

	include_ours(w, "10.98.0.0/24");
	CALL(inner_prepare(w->ns, &w->spec, &err));
	f = flood_start(w->ns, w->gw, "10.98.0.1", 9001);
	while (flood_sent(f) < 100)
		sched_yield();
	for (int i = 0; i < SWAPS; i++) {
		client_start(w);
		v = vpn_of(w, i % 2 ? "10.99.0.50/32" : "10.99.0.51/32", NULL);
		v.include = &includes[i % 2];
		v.n_include = 1;
		connect_vpn(w, &v);
		client_kill(w);
		if (i % 3 == 0)
			sh("ip -n s link del tun0");
	}
	assert_int_equal(flood_stop(f), 0);
}

/* ---- Errors, words ---- */

static void test_errors(void **state)
{
	struct world *w = *state;
	struct err err = {0};
	struct vpn v;

	client_start(w);
	v = vpn_of(w, "10.99.0.50/32", NULL);
	strcpy(v.tun, "tun7");
	assert_int_equal(inner_connect(w->carrier, w->ns, &w->s, &w->spec, &v, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "tun7"));
	v = vpn_of(w, "10.99.0.50/32", NULL);
	v.client = getpid();
	assert_int_equal(inner_connect(w->carrier, w->ns, &w->s, &w->spec, &v, &err), -ENODEV);
	assert_non_null(strstr(err.msg, "has no TUN device tun0"));
	v.client = w->client;
	client_kill(w);
	assert_int_equal(inner_connect(w->carrier, w->ns, &w->s, &w->spec, &v, &err), -ESRCH);
	assert_says(LINKS, "lo\n");
}

static void test_words(void **state)
{
	static const char *const want[] = {
		"[s] ip link set tun0 netns far name tun1",
		"[s] ip link set tun0 name tun1",
		"[s] ip link set tun0 down",
		"[s] ip addr replace 10.0.0.1/32 dev tun0",
		"[s] ip addr del 10.0.0.1/32 dev tun0",
		"[s] ip route replace unreachable 10.0.0.1/32 table 254 metric 30 proto 98",
		"[s] ip route del unreachable 10.0.0.1/32 table 254 metric 30 proto 98",
	};
	struct world *w = *state;
	struct oplog log = {.dry_run = true};
	struct cidr host = net("10.0.0.1/32");
	struct route r = {.dst = host, .table = 254, .metric = 30, .type = RTN_UNREACHABLE};
	_nlbatch_ struct nlbatch b;

	w->ns->log = &log;
	nlbatch_init(&b, w->ns);
	link_move(&b, 2, "tun0", w->far->fd, "far", "tun1");
	link_rename(&b, 2, "tun0", "tun1");
	link_down(&b, "tun0");
	addr_replace(&b, 2, "tun0", &host);
	addr_del(&b, 2, "tun0", &host);
	route_replace(&b, &r, "");
	route_del(&b, &r);
	CALL(nlbatch_commit(&b, &err));
	assert_int_equal(log.n_ops, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_string_equal(log.ops[i], want[i]);
	w->ns->log = NULL;
	oplog_done(&log);
}

#define FULL(f) cmocka_unit_test_setup_teardown(f, setup_full, teardown)
#define SPLIT(f) cmocka_unit_test_setup_teardown(f, setup_split, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FULL(test_full),
		FULL(test_full_one_family),
		FULL(test_full_client_dies),
		FULL(test_full_again),
		FULL(test_full_swap),
		FULL(test_full_other_address),
		FULL(test_full_leftovers),
		FULL(test_full_swap_down),
		SPLIT(test_split),
		SPLIT(test_split_changes),
		SPLIT(test_split_ours),
		SPLIT(test_split_all),
		SPLIT(test_split_no_gap),
		FULL(test_errors),
		FULL(test_words),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	world_enter();
	return cmocka_run_group_tests_name("session_inner", tests, NULL, NULL);
}
