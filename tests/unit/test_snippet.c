// SPDX-License-Identifier: GPL-2.0-or-later
/* What is printed for virtual machine monitors, to the letter and by the schema of Firecracker's
 * API. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "vm/snippet.h"

static struct vm_nic plain(void)
{
	struct vm_nic n = {.name = "web-1", .ifname = "tap-web-1", .queues = 1, .mtu_bytes = 1500};

	assert_int_equal(mac_parse("06:00:0a:0a:00:02", &n.mac, NULL), 0);
	assert_int_equal(cidr_parse("10.10.0.2/24", &n.addr, NULL), 0);
	assert_int_equal(ip_parse("10.10.0.1", &n.gateway, NULL), 0);
	return n;
}

static struct vm_nic rich(void)
{
	struct vm_nic n = plain();

	assert_int_equal(cidr_parse("10.10.0.2/19", &n.addr, NULL), 0);
	assert_int_equal(ip_parse("10.10.0.1", &n.dns, NULL), 0);
	n.queues = 4;
	return n;
}

static struct vm_nic limited(uint64_t rx_bits, uint64_t tx_bits)
{
	struct vm_nic n = plain();

	n.rx_bits = rx_bits;
	n.tx_bits = tx_bits;
	return n;
}

static void assert_text(struct vm_nic n, enum vm_format format, const char *want)
{
	_buf_ struct buf got = {0};
	struct err err = {0};

	if (vm_snippet(&n, format, &got, &err))
		fail_msg("%s", err.msg);
	assert_string_equal(got.data, want);
}

static void a_plain_one_is_printed(void **state)
{
	(void)state;
	assert_text(plain(), VM_FIRECRACKER,
		    "{\n"
		    "  \"iface_id\": \"eth0\",\n"
		    "  \"host_dev_name\": \"tap-web-1\",\n"
		    "  \"guest_mac\": \"06:00:0a:0a:00:02\"\n"
		    "}\n");
	assert_text(plain(), VM_QEMU,
		    "-netdev tap,id=eth0,ifname=tap-web-1,script=no,downscript=no "
		    "-device virtio-net-pci,netdev=eth0,mac=06:00:0a:0a:00:02\n");
	assert_text(plain(), VM_QEMU_MICROVM,
		    "-netdev tap,id=eth0,ifname=tap-web-1,script=no,downscript=no "
		    "-device virtio-net-device,netdev=eth0,mac=06:00:0a:0a:00:02\n");
	assert_text(plain(), VM_CLOUD_HYPERVISOR, "--net tap=tap-web-1,mac=06:00:0a:0a:00:02\n");
	assert_text(plain(), VM_KERNEL_ARGS,
		    "ip=10.10.0.2::10.10.0.1:255.255.255.0:web-1:eth0:off\n");
}

static void queues_and_resolver_are_printed(void **state)
{
	(void)state;
	assert_text(rich(), VM_QEMU,
		    "-netdev tap,id=eth0,ifname=tap-web-1,script=no,downscript=no,queues=4 "
		    "-device virtio-net-pci,netdev=eth0,mac=06:00:0a:0a:00:02,mq=on,vectors=10\n");
	assert_text(rich(), VM_QEMU_MICROVM,
		    "-netdev tap,id=eth0,ifname=tap-web-1,script=no,downscript=no,queues=4 "
		    "-device virtio-net-device,netdev=eth0,mac=06:00:0a:0a:00:02,mq=on\n");
	assert_text(rich(), VM_CLOUD_HYPERVISOR,
		    "--net tap=tap-web-1,mac=06:00:0a:0a:00:02,num_queues=8\n");
	assert_text(rich(), VM_KERNEL_ARGS,
		    "ip=10.10.0.2::10.10.0.1:255.255.224.0:web-1:eth0:off:10.10.0.1\n");
}

static void limits_are_printed(void **state)
{
	(void)state;
	assert_text(limited(80000000, 0), VM_FIRECRACKER_CONFIG,
		    "{\n"
		    "  \"network-interfaces\": [\n"
		    "    {\n"
		    "      \"iface_id\": \"eth0\",\n"
		    "      \"host_dev_name\": \"tap-web-1\",\n"
		    "      \"guest_mac\": \"06:00:0a:0a:00:02\",\n"
		    "      \"rx_rate_limiter\": {\n"
		    "        \"bandwidth\": {\n"
		    "          \"size\": 1000000,\n"
		    "          \"refill_time\": 100\n"
		    "        }\n"
		    "      }\n"
		    "    }\n"
		    "  ]\n"
		    "}\n");
}

/* A guest takes 1500 for granted. */
static void another_mtu_is_printed(void **state)
{
	struct vm_nic n = rich();

	(void)state;
	n.mtu_bytes = 9000;
	assert_text(n, VM_QEMU,
		    "-netdev tap,id=eth0,ifname=tap-web-1,script=no,downscript=no,queues=4 "
		    "-device virtio-net-pci,netdev=eth0,mac=06:00:0a:0a:00:02,host_mtu=9000,mq=on,"
		    "vectors=10\n");
	assert_text(n, VM_CLOUD_HYPERVISOR,
		    "--net tap=tap-web-1,mac=06:00:0a:0a:00:02,num_queues=8,mtu=9000\n");
	n.queues = 1;
	assert_text(n, VM_FIRECRACKER,
		    "{\n"
		    "  \"iface_id\": \"eth0\",\n"
		    "  \"host_dev_name\": \"tap-web-1\",\n"
		    "  \"guest_mac\": \"06:00:0a:0a:00:02\",\n"
		    "  \"mtu\": 9000\n"
		    "}\n");
}

static void firecracker_has_one_queue(void **state)
{
	_buf_ struct buf got = {0};
	struct vm_nic n = rich();
	struct err err = {0};

	(void)state;
	assert_true(vm_snippet(&n, VM_FIRECRACKER, &got, &err) < 0);
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_string_equal(err.msg,
			    "Firecracker opens a TAP device with one queue only, and tap-web-1 "
			    "has 4: add the VM without --queues");
	assert_null(got.data);
}

/* ---- Firecracker's schema ---- */

/*
 * NetworkInterface, RateLimiter and TokenBucket of Firecracker's API 1.17
 * (https://github.com/firecracker-microvm/firecracker/blob/main/src/firecracker/swagger/firecracker.yaml).
 * Firecracker refuses properties that it does not know.
 */
struct property {
	const char *name;
	const struct property *object; /* its properties, or NULL for a value */
	json_type type;
	bool required;
	json_int_t min, max;
};

static const struct property token_bucket[] = {
	{"size", NULL, JSON_INTEGER, true, 0, INT64_MAX},
	{"refill_time", NULL, JSON_INTEGER, true, 0, INT64_MAX},
	{"one_time_burst", NULL, JSON_INTEGER, false, 0, INT64_MAX},
	{0},
};
static const struct property rate_limiter[] = {
	{"bandwidth", token_bucket, JSON_OBJECT, false, 0, 0},
	{"ops", token_bucket, JSON_OBJECT, false, 0, 0},
	{0},
};
static const struct property network_interface[] = {
	{"iface_id", NULL, JSON_STRING, true, 0, 0},
	{"host_dev_name", NULL, JSON_STRING, true, 0, 0},
	{"guest_mac", NULL, JSON_STRING, false, 0, 0},
	{"mtu", NULL, JSON_INTEGER, false, 68, 65535},
	{"rx_rate_limiter", rate_limiter, JSON_OBJECT, false, 0, 0},
	{"tx_rate_limiter", rate_limiter, JSON_OBJECT, false, 0, 0},
	{0},
};

static bool is_valid(const json_t *object, const struct property *properties);

static bool is_valid_value(const json_t *value, const struct property *p)
{
	if (json_typeof(value) != p->type)
		return false;
	if (p->type == JSON_INTEGER)
		return json_integer_value(value) >= p->min && json_integer_value(value) <= p->max;
	return !p->object || is_valid(value, p->object);
}

static bool is_valid(const json_t *object, const struct property *properties)
{
	size_t known = 0;

	for (const struct property *p = properties; p->name; p++) {
		const json_t *value = json_object_get(object, p->name);

		if (value ? !is_valid_value(value, p) : p->required)
			return false;
		known += value != NULL;
	}
	return known == json_object_size(object);
}

static json_t *parse(struct vm_nic n, enum vm_format format)
{
	_buf_ struct buf got = {0};
	json_t *doc;

	assert_int_equal(vm_snippet(&n, format, &got, NULL), 0);
	doc = json_loads(got.data, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(doc);
	return doc;
}

static void assert_valid(struct vm_nic n)
{
	json_t *body = parse(n, VM_FIRECRACKER), *config = parse(n, VM_FIRECRACKER_CONFIG);
	const json_t *list = json_object_get(config, "network-interfaces");

	assert_true(is_valid(body, network_interface));
	assert_int_equal(json_object_size(config), 1);
	assert_int_equal(json_array_size(list), 1);
	assert_true(json_equal(json_array_get(list, 0), body));
	json_decref(body);
	json_decref(config);
}

static void what_firecracker_gets_is_valid(void **state)
{
	struct vm_nic jumbo = plain();

	(void)state;
	assert_valid(plain());
	jumbo.mtu_bytes = 9000;
	assert_valid(jumbo);
	assert_valid(limited(1, 0));
	assert_valid(limited(0, 100000000));
	assert_valid(limited(UINT64_MAX / 1000, UINT64_MAX / 1000));
}

static void the_schema_refuses(void **state)
{
	static const char *const wrong[] = {
		"{\"iface_id\": \"eth0\"}",
		"{\"iface_id\": \"eth0\", \"host_dev_name\": 1}",
		"{\"iface_id\": \"eth0\", \"host_dev_name\": \"t\", \"mac\": \"x\"}",
		"{\"iface_id\": \"eth0\", \"host_dev_name\": \"t\", \"mtu\": 67}",
		"{\"iface_id\": \"eth0\", \"host_dev_name\": \"t\", \"rx_rate_limiter\": "
		"{\"size\": 1}}",
		"{\"iface_id\": \"eth0\", \"host_dev_name\": \"t\", \"rx_rate_limiter\": {\"ops\": "
		"{}}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		json_t *doc = json_loads(wrong[i], 0, NULL);

		assert_non_null(doc);
		assert_false(is_valid(doc, network_interface));
		json_decref(doc);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plain_one_is_printed),
		cmocka_unit_test(queues_and_resolver_are_printed),
		cmocka_unit_test(limits_are_printed),
		cmocka_unit_test(another_mtu_is_printed),
		cmocka_unit_test(firecracker_has_one_queue),
		cmocka_unit_test(what_firecracker_gets_is_valid),
		cmocka_unit_test(the_schema_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
