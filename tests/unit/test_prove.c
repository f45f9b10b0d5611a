// SPDX-License-Identifier: GPL-2.0-or-later
/* Which packets are probes. */
#include <net/ethernet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops/prove_impl.h"

static const struct prove_token token = {"0123456789012345", 250, {1, 2, 3, 4, 5, 6}};

static int recognise(uint16_t protocol, const uint8_t *packet, size_t len, struct ip *source)
{
	uint8_t *copy = malloc(len ? len : 1); /* so that a read behind its end is noticed */
	bool asked_only;
	int no;

	memcpy(copy, packet, len);
	no = observer_recognise(&token, protocol, copy, len, source, &asked_only);
	free(copy);
	return no;
}

static uint16_t protocol_of(int family)
{
	return family == AF_INET6 ? ETH_P_IPV6 : ETH_P_IP;
}

static void test_addresses(void **state)
{
	(void)state;
	for (unsigned int a = 0; a < PROVE_NUMBERS; a++) {
		for (unsigned int b = 0; b < 2 * PROVE_NUMBERS; b++) {
			struct ip a4 = prove_address(&token, a, AF_INET),
				  b4 = prove_address(&token, b, AF_INET),
				  a6 = prove_address(&token, a, AF_INET6),
				  b6 = prove_address(&token, b, AF_INET6);

			assert_int_equal(ip_equal(&a4, &b4), a == b);
			assert_int_equal(ip_equal(&a6, &b6), a == b);
		}
		assert_int_not_equal(prove_address(&token, a, AF_INET).bytes[3], 0);
		assert_int_not_equal(prove_address(&token, a, AF_INET).bytes[3], 255);
	}
}

static void test_controls(void **state)
{
	uint8_t packet[PROVE_PACKET_MAX];
	struct ip source, from;
	int family;

	(void)state;
	for (unsigned int kind = 0; kind < PROVE_CONTROLS; kind++) {
		unsigned int no = PROVE_CONTROL_BEFORE + kind;
		size_t len = control_packet(&token, kind, no, packet, &family);

		from = prove_address(&token, PROVE_NUMBERS + no, family);
		assert_int_equal(recognise(protocol_of(family), packet, len, &source), no);
		assert_true(ip_equal(&source, &from));
		for (size_t cut = 0; cut < len; cut++)
			recognise(protocol_of(family), packet, cut, &source);
	}
}

/* The same with another destination: by the token, but not in TCP and not in what is quoted. */
static int redirected(unsigned int kind, size_t at, int byte)
{
	uint8_t packet[PROVE_PACKET_MAX];
	struct ip source;
	int family;
	size_t len = control_packet(&token, kind, PROVE_CONTROL_BEFORE + kind, packet, &family);

	packet[family == AF_INET6 ? 24 : 16] = 9;
	if (at)
		packet[at] = (uint8_t)byte;
	return recognise(protocol_of(family), packet, len, &source);
}

enum { TCP4, TCP6, UDP4, UDP6, ICMP4, ICMP6, DNS4, DNS6, FRAGMENT4, FRAGMENT6 };

static void test_redirected(void **state)
{
	(void)state;
	assert_int_equal(redirected(UDP4, 0, 0), PROVE_CONTROL_BEFORE + UDP4);
	assert_int_equal(redirected(UDP6, 0, 0), PROVE_CONTROL_BEFORE + UDP6);
	assert_int_equal(redirected(ICMP4, 0, 0), PROVE_CONTROL_BEFORE + ICMP4);
	assert_int_equal(redirected(ICMP6, 0, 0), PROVE_CONTROL_BEFORE + ICMP6);
	assert_int_equal(redirected(DNS4, 0, 0), PROVE_CONTROL_BEFORE + DNS4);
	assert_int_equal(redirected(TCP4, 0, 0), -1);
	assert_int_equal(redirected(ICMP4, 20, 3), -1); /* destination unreachable */
	assert_int_equal(redirected(ICMP6, 40, 1), -1);
	assert_int_equal(redirected(UDP4, 9, IPPROTO_GRE), PROVE_CONTROL_BEFORE + UDP4);
	assert_int_equal(redirected(DNS4, 9, IPPROTO_TCP), PROVE_CONTROL_BEFORE + DNS4);
	assert_int_equal(redirected(UDP4, 9, IPPROTO_TCP), -1);
}

static void test_questions(void **state)
{
	struct ip to4 = prove_address(&token, 7, AF_INET), to6 = prove_address(&token, 7, AF_INET6);
	uint8_t arp[28] = {0, 1, 8, 0, 6, 4, 0, 1}, solicit[64] = {0x60, [6] = IPPROTO_ICMPV6};
	struct ip source;
	bool asked_only;

	(void)state;
	memcpy(arp + 24, to4.bytes, 4);
	assert_int_equal(
		observer_recognise(&token, ETH_P_ARP, arp, sizeof(arp), &source, &asked_only), 7);
	assert_true(asked_only);
	assert_int_equal(recognise(ETH_P_ARP, arp, sizeof(arp) - 1, &source), -1);
	solicit[24] = 0xff;
	solicit[40] = 135;
	memcpy(solicit + 48, to6.bytes, 16);
	assert_int_equal(observer_recognise(&token, ETH_P_IPV6, solicit, sizeof(solicit), &source,
					    &asked_only),
			 7);
	assert_true(asked_only);
	assert_int_equal(recognise(ETH_P_IPV6, solicit, sizeof(solicit) - 1, &source), -1);
}

static void test_others(void **state)
{
	uint8_t packet[PROVE_PACKET_MAX] = {0x4f, [9] = IPPROTO_UDP};
	struct ip source;

	(void)state;
	assert_int_equal(recognise(ETH_P_IP, packet, 40, &source), -1); /* cut in its options */
	assert_int_equal(recognise(ETH_P_IP, packet, 100, &source), -1);
	packet[0] = 0x41; /* a header of 4 bytes */
	assert_int_equal(recognise(ETH_P_IP, packet, 100, &source), -1);
	memcpy(packet + 60, "012345678901234", 15);
	assert_int_equal(recognise(ETH_P_LLDP, packet, 75, &source), -1);
	memcpy(packet + 60, "01234567890123457", 17); /* no second digit */
	assert_int_equal(recognise(ETH_P_LLDP, packet, 77, &source), -1);
	memcpy(packet + 60, "012345678901234542", 18);
	assert_int_equal(recognise(ETH_P_LLDP, packet, 78, &source), 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),  cmocka_unit_test(test_controls),
		cmocka_unit_test(test_redirected), cmocka_unit_test(test_questions),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
