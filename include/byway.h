/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libbyway: networks for virtual machine monitors. byway.h(3) has the same at length, and an
 * example.
 *
 * A manager stands for one network: a bridge, with the subnet's gateway address on it, and the way
 * out. byway_manager_setup() makes it, byway_tap_create() puts a TAP device with an address on it,
 * byway_tap_delete() and byway_manager_teardown() take them away. What is made is what byway(8)
 * makes: it outlives the process, `byway vm list` shows it, and `byway gc` and `byway reset` know
 * it.
 *
 * Results    A function returns BYWAY_OK, or another enum byway_code; *err, which may be NULL, says
 *            then what failed, why, and what to do. Outputs (ret...) are written on success only.
 *            What fails has undone what it did. Deleting what is not there succeeds.
 * Ownership  The caller owns every struct and descriptor. What a spec points to is only read during
 *            the call.
 * Growth     Structs begin with their size: `struct byway_tap_spec spec = {.size = sizeof(spec)}`.
 *            A member that is zero has its default, so a program goes on as it is with a later
 *            library. A library that is older than the program refuses members that it does not
 *            know and that are not zero (BYWAY_USAGE).
 * Threads    All functions may be called from any thread at the same time, with the same manager.
 *            Changes take turns, also with byway(8): they wait for each other, a minute at most.
 *            They work in the network namespace of the thread that calls, which stays where it is.
 * Privilege  Who makes or deletes needs CAP_NET_ADMIN and CAP_SYS_ADMIN, and may write /run/byway;
 *            BYWAY_PERMISSION names the capability that is missing. byway_tap_open() needs no
 *            privilege where the process is the device's owner.
 * Process    Nothing is printed, no signal handled and no environment read. Other programs are run
 *            only with firewalls other than "native". When memory is used up, the process ends.
 */
#ifndef BYWAY_H
#define BYWAY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BYWAY_API __attribute__((visibility("default")))

/* As the exit status of byway(8). */
enum byway_code {
	BYWAY_OK = 0,
	BYWAY_FAILED = 1,      /* the kernel or the system refused */
	BYWAY_USAGE = 2,       /* an argument that can never be right */
	BYWAY_NOT_FOUND = 3,   /* no such network, device or interface */
	BYWAY_CONFLICT = 7,    /* it is there already, or used up, or of another kind */
	BYWAY_PERMISSION = 8,  /* a capability is missing */
	BYWAY_UNSUPPORTED = 9, /* the kernel lacks something */
};

/* Fixed for ever. */
struct byway_error {
	int code;         /* enum byway_code */
	int error_number; /* of errno(3), the nearest */
	char text[1024];  /* one sentence, without a newline */
};

/* Of the library, such as "0.1.0". */
BYWAY_API const char *byway_version(void);

/* ---- A network ---- */

struct byway_manager;

#define BYWAY_NETWORK_NO_NAT 1u /* no way out */

struct byway_network_spec {
	size_t size;
	const char *name;  /* of the network, and of its bridge if that fits; NULL: "micropod0" */
	const char *cidr;  /* NULL: as it is when it is there, else "10.10.0.0/24" */
	const char *cidr6; /* an IPv6 network as well; NULL: none, or as it is */
	const char *interface; /* the way out; NULL: the one with the default route */
	const char *firewall;  /* "native", "nft" or "iptables"; NULL: the first that works */
	uint32_t mtu;          /* bytes; 0: 1500, or as it is */
	uint32_t flags;        /* BYWAY_NETWORK_... */
};

/* Looks at nothing and changes nothing: the network may be there already, or come by
 * byway_manager_setup(). spec NULL: all by default. */
BYWAY_API int byway_manager_open(const struct byway_network_spec *spec, struct byway_manager **ret,
				 struct byway_error *err);
/* What was made stays. NULL is legal. Nobody may be using it any more. */
BYWAY_API void byway_manager_close(struct byway_manager *m);

/* Makes bridge, gateway address, firewall rules and NAT, or what is missing of them. A network of
 * the name that is not the one wanted is BYWAY_CONFLICT. */
BYWAY_API int byway_manager_setup(struct byway_manager *m, struct byway_error *err);
/* Removes the network with all devices on it, whoever made them. */
BYWAY_API int byway_manager_teardown(struct byway_manager *m, struct byway_error *err);

/* ---- TAP devices ---- */

#define BYWAY_NAME_MAX 64 /* with the NUL, as all of these */
#define BYWAY_IFNAME_MAX 16
#define BYWAY_ADDR_MAX 46
#define BYWAY_MAC_LEN 6

#define BYWAY_TAP_OPEN 1u     /* byway_tap_create() opens it, too */
#define BYWAY_TAP_ISOLATED 2u /* does not reach others of the network that are isolated */

struct byway_tap_spec {
	size_t size;
	uint32_t flags;       /* BYWAY_TAP_... */
	uint32_t queues;      /* how often it may be open at a time (IFF_MULTI_QUEUE); 0: once */
	const char *name;     /* of the machine: the network's only one of that name */
	const char *address;  /* NULL: the machine's former one, or the next that is free */
	const char *address6; /* the same, of a network with IPv6 */
	uint8_t mac[BYWAY_MAC_LEN]; /* all 0: derived from network and address, always the same */
	uid_t owner;      /* who may open it without a privilege: 0 is root, (uid_t)-1 nobody */
	gid_t group;      /* or who is in this group; 0: none */
	pid_t pid;        /* `byway gc` may delete it when this process has ended; 0: never */
	uint32_t unused;  /* 0 */
	uint64_t rate_rx; /* bits a second that the machine may receive, and send; 0: no limit */
	uint64_t rate_tx;
};

/* What the machine has to be told. Text is "" for what there is not. */
struct byway_tap {
	size_t size;
	char name[BYWAY_NAME_MAX];
	char interface[BYWAY_IFNAME_MAX]; /* the device */
	uint8_t mac[BYWAY_MAC_LEN];       /* of the machine, not of the device */
	char address[BYWAY_ADDR_MAX];
	char gateway[BYWAY_ADDR_MAX];
	char address6[BYWAY_ADDR_MAX];
	char gateway6[BYWAY_ADDR_MAX];
	uint32_t prefix, prefix6; /* the network's: the gateway is on the machine's link */
	uint32_t mtu;             /* bytes */
	uint32_t queues;
	int fd; /* with BYWAY_TAP_OPEN, as from byway_tap_open(); else -1 */
};

/* The firewall lets a frame from it pass only with the machine's MAC and addresses. A name or an
 * address that is taken is BYWAY_CONFLICT. Who fails has no address any more, not even one
 * allocated before. */
BYWAY_API int byway_tap_create(struct byway_manager *m, const struct byway_tap_spec *spec,
			       struct byway_tap *ret, struct byway_error *err);
BYWAY_API int byway_tap_get(struct byway_manager *m, const char *name, struct byway_tap *ret,
			    struct byway_error *err);
/* With its address; also when it is open. */
BYWAY_API int byway_tap_delete(struct byway_manager *m, const char *name, struct byway_error *err);

/* A TAP device of byway's by its interface's name; once for each queue. *ret_fd is non-blocking and
 * close-on-exec. Each read(2) and write(2) is a frame behind a struct virtio_net_hdr_v1 of 12 bytes
 * (IFF_TAP, IFF_NO_PI, IFF_VNET_HDR; virtio 1.2, 5.1.6); offloads are off until TUNSETOFFLOAD. The
 * device stays when it is closed. No such device: BYWAY_NOT_FOUND, and none is made. */
BYWAY_API int byway_tap_open(const char *interface, int *ret_fd, struct byway_error *err);

/* ---- Addresses ---- */

struct byway_lease {
	size_t size;
	char address[BYWAY_ADDR_MAX];
	char address6[BYWAY_ADDR_MAX];
};

/* Takes the addresses of a machine before it has a TAP device: byway_tap_create() with that name
 * gets these. address and address6: exactly these; NULL: as in struct byway_tap_spec. They are
 * leased until byway_tap_delete(), byway_address_release() or byway_manager_teardown(). */
BYWAY_API int byway_address_allocate(struct byway_manager *m, const char *name, const char *address,
				     const char *address6, struct byway_lease *ret,
				     struct byway_error *err);
/* BYWAY_CONFLICT while the machine has a TAP device. */
BYWAY_API int byway_address_release(struct byway_manager *m, const char *name,
				    struct byway_error *err);

#ifdef __cplusplus
}
#endif

#endif
