#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Who reaches whom: VPCs are apart, peers are not, the host keeps to itself, and nobody lies about
# who they are.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

lay_out() {
	local i=0 vpc
	for vpc in a b c; do
		must by vpc create $vpc 10.$i.0.0/16 --cidr6 fd00:$i::/56
		must by subnet add $vpc x 10.$i.1.0/24 --cidr6 fd00:$i:0:1::/64
		must by subnet add $vpc y 10.$i.2.0/24 --type public --cidr6 fd00:$i:0:2::/64
		echo_server $vpc-x 7
		echo_server $vpc-y 7
		i=$((i + 1))
	done
	echo_server host 7
	echo_server internet 7
}

apart() {
	cannot "$1" "$(addr4 "$2")" 7 "$3"
	cannot "$1" "$(addr6 "$2")" 7 "$3"
	cannot "$1" "ping:$(addr4 "$2")" 0 "$3"
}

together() {
	can "$1" "$(addr4 "$2")" 7 "$3"
	can "$1" "$(addr6 "$2")" 7 "$3"
	can "$1" "ping:$(addr4 "$2")" 0 "$3"
	can "$1" "udp:$(addr6 "$2")" 7 "$3"
}

test_apart() {
	together a-x a-y "one VPC"
	apart a-x b-x "two VPCs"
	apart b-x a-x "two VPCs"
	cannot a-x 10.1.0.1 7 "the other VPC's gateway"
	cannot a-x ping:10.1.0.1 0 "the other VPC's gateway"
	cannot a-x ping:fd00:1::1 0 "the other VPC's gateway"
	must by nat enable a
	must by nat enable b
	apart a-y b-y "two VPCs with NAT"
}

test_host() {
	can host "$(addr4 a-x)" 7
	can host "$(addr6 b-x)" 7
	can a-x ping:10.0.0.1 0 "its gateway"
	can a-x ping:fd00::1 0 "its gateway"
	cannot a-x 10.0.0.1 7 "a service on the host"
	cannot a-x fd00::1 7 "a service on the host"
	cannot a-x udp:10.0.0.1 7 "a service on the host"
	cannot a-x "$HOST4" 7 "a service on the host"
	cannot a-y "$HOST4" 7 "a service on the host, from a public subnet"
	cannot a-x "ping:$HOST4" 0 "the host's own address"
	can internet "$HOST4" 7 "the service is there"
}

test_peer() {
	check "peer" by peer add a b
	together a-x b-x "peers"
	together b-y a-y "peers, the other way"
	check "peering again" by peer add b a
	is "once in the list" "$(json '.peers | length' peer list)" 1
	must by peer add b c
	together b-x c-x "peers"
	apart a-x c-x "peers of a peer"
	apart c-x a-x "peers of a peer"
	exits 3 "peering with nobody" by peer add a nowhere
	exits 2 "peering with oneself" by peer add a a
}

test_peer_delete() {
	check "a flow between peers" flow_open f a-x "$(addr4 b-x)" 7
	check "carries" flow_works f
	check "a flow that stays" flow_open g b-x "$(addr4 c-x)" 7
	check "delete the peering" by peer delete b a
	check "the flow is cut" flow_is_cut f
	check "the other one is not" flow_works g
	apart a-x b-x "peering deleted"
	apart b-x a-x "peering deleted"
	check "delete it again" by peer delete a b
	flow_close f
	flow_close g
}

# Only what is listed takes part; the other side as a whole unless it is listed too.
test_allow() {
	check "a peering of parts" by peer add a b --allow 10.0.1.0/24,10.1.2.0/24
	can a-x "$(addr4 b-y)" 7 "both listed"
	can b-y "$(addr4 a-x)" 7 "both listed"
	cannot a-x "$(addr4 b-x)" 7 "not listed"
	cannot a-y "$(addr4 b-y)" 7 "not listed"
	cannot b-x "$(addr4 a-x)" 7 "not listed"
	together a-x a-y "a part that is listed, and the rest of its VPC"
	together a-y a-x "the other way"
	together b-y b-x "the same, of the other VPC"
	can a-x ping:10.0.0.1 0 "and its gateway"
	fails "a CIDR of neither" by peer add a b --allow 10.9.0.0/24
	says "is named" '10\.9\.0\.0/24'
	check "another list replaces the first" by peer add a b --allow 10.1.1.0/24
	can a-x "$(addr4 b-x)" 7 "listed now"
	cannot a-x "$(addr4 b-y)" 7 "no longer listed"
	together b-x b-y "inside a VPC, as before"
	must by peer delete a b
	together b-x b-y "inside a VPC, afterwards"
}

# ---- lies ----

# What is judged is the guard of the ports, not what br_netfilter makes of bridged frames.
br_netfilter() { tee /proc/sys/net/bridge/bridge-nf-call-* <<<"$1" >/dev/null 2>&1; }

MY_DEV='' MY_MAC='' MY_ADDR='' GATE_MAC=''
liar() {
	MY_DEV=$(dev_of a-x) MY_MAC=$(mac_in a-x) MY_ADDR=$(addr4 a-x) MY_ADDR6=$(addr6 a-x)
	GATE_MAC=$(link_mac host br-a)
	br_netfilter 0
	watch neighbour a-y "$(dev_of a-y)"
	watch bridge host br-a
}

send() { must inside a-x "$PROBE" "$1" "$MY_DEV" "${@:2}"; }
control_arp() { send send-arp "$MY_MAC" "$MY_MAC" "$MY_ADDR" "$(addr4 a-y)" "$1"; }
control_udp() { send send-udp "$MY_MAC" "$GATE_MAC" "$MY_ADDR" 10.0.0.1 "$1"; }
control_udp6() { send send-udp "$MY_MAC" "$GATE_MAC" "$MY_ADDR6" fd00::1 "$1"; }

test_spoofed_source() {
	control_udp true-1
	check "a true packet is seen at the bridge" passed bridge true-1
	send send-udp "$MY_MAC" "$GATE_MAC" 10.0.2.1 10.0.0.1 lie-neighbour
	send send-udp "$MY_MAC" "$GATE_MAC" 192.0.2.55 10.0.0.1 lie-outside
	send send-udp "$MY_MAC" "$GATE_MAC" 10.0.0.1 "$(addr4 a-y)" lie-gateway
	send send-udp 02:00:00:00:00:99 "$GATE_MAC" "$MY_ADDR" 10.0.0.1 lie-mac
	control_udp true-2
	check "a neighbour's address is dropped" dropped bridge lie-neighbour true-2
	check "an outsider's address is dropped" dropped bridge lie-outside true-2
	check "the gateway's address is dropped" dropped bridge lie-gateway true-2
	check "another MAC is dropped" dropped bridge lie-mac true-2
	control_udp6 true-3
	check "a true IPv6 packet is seen" passed bridge true-3
	send send-udp "$MY_MAC" "$GATE_MAC" fd00:0:0:2::1 fd00::1 lie-six
	control_udp6 true-4
	check "a neighbour's IPv6 address is dropped" dropped bridge lie-six true-4
}

# a-y hears broadcasts of the bridge: it must not hear these.
test_spoofed_arp() {
	control_arp true-5
	check "a true ARP request is heard" passed neighbour true-5
	send send-arp "$MY_MAC" "$MY_MAC" 10.0.0.1 10.0.2.1 lie-arp-gateway
	send send-arp "$MY_MAC" "$MY_MAC" "$(addr4 a-y)" 10.0.0.1 lie-arp-neighbour
	send send-arp "$MY_MAC" 02:00:00:00:00:99 "$MY_ADDR" 10.0.0.1 lie-arp-mac
	send send-arp 02:00:00:00:00:99 02:00:00:00:00:99 "$MY_ADDR" 10.0.0.1 lie-arp-ether
	send send-arp "$MY_MAC" "$MY_MAC" 0.0.0.0 "$(addr4 a-y)" lie-arp-probe
	control_arp true-6
	check "probing for a neighbour's address is dropped" dropped neighbour lie-arp-probe true-6
	check "being the gateway by ARP is dropped" dropped neighbour lie-arp-gateway true-6
	check "being a neighbour by ARP is dropped" dropped neighbour lie-arp-neighbour true-6
	check "another MAC inside ARP is dropped" dropped neighbour lie-arp-mac true-6
	check "another MAC around ARP is dropped" dropped neighbour lie-arp-ether true-6
	is "the neighbour still knows the gateway" "$(inside a-y ping -q -c 1 -w 15 10.0.0.1 >/dev/null;
		ip -n a-y -j neigh show 10.0.0.1 | jq -r '.[0].lladdr')" "$GATE_MAC"
}

test_router_advertisement() {
	local mine
	mine=$(ip -n a-x -6 -j addr show "$MY_DEV" | jq -r '[.[0].addr_info[]
		| select(.scope == "link")][0].local')
	send send-ra "$MY_MAC" "$mine" lie-ra
	send send-na "$MY_MAC" "$MY_ADDR6" fd00::1 lie-na
	send send-na "$MY_MAC" "$MY_ADDR6" "$MY_ADDR6" true-na
	send send-ns "$MY_MAC" :: "$(addr6 a-y)" lie-dad
	send send-ns "$MY_MAC" "$MY_ADDR6" "$(addr6 a-y)" true-ns
	control_arp true-7
	check "a true neighbour advertisement is heard" passed neighbour true-na
	check "a router advertisement is dropped" dropped neighbour lie-ra true-7
	check "being the gateway by neighbour advertisement is dropped" dropped neighbour lie-na true-7
	check "wanting to have a neighbour's address is dropped" dropped neighbour lie-dad true-7
	check "asking for a neighbour is heard" passed neighbour true-ns
	is "the neighbour has one IPv6 default route" \
		"$(ip -n a-y -6 route show default | wc -l)" 1
}

# Frames to 01-80-C2-00-00-0X are for the bridge's port itself, and do not come by its guard.
learned() { bridge -j fdb show br br-a | jq -r --arg mac "$1" '[.[] | select(.mac == $mac).ifname] | unique | join(" ")'; }
udp_unclaimed() { awk '/^Udp: [0-9]/ { print $3 }' /proc/net/snmp; }
udp6_unclaimed() { awk '$1 == "Udp6NoPorts" { print $2 }' /proc/net/snmp6; }

test_reserved_addresses() {
	local last mac before before6
	mac=$(mac_in a-y) before=$(udp_unclaimed) before6=$(udp6_unclaimed)
	for last in 00 03 0e; do
		send send-udp "$MY_MAC" 01:80:c2:00:00:$last "$MY_ADDR" 10.0.0.1 past-guard
		send send-udp "$MY_MAC" 01:80:c2:00:00:$last "$MY_ADDR6" fd00::1 past-guard
		send send-udp "$mac" 01:80:c2:00:00:$last "$(addr4 a-y)" 10.0.0.1 past-guard
	done
	can a-x ping:10.0.0.1 0 "behind what was sent"
	is "a frame to the port itself does not come to the host" "$(udp_unclaimed)" "$before"
	is "by IPv6 neither" "$(udp6_unclaimed)" "$before6"
	fails "and nobody's MAC address is learned from it" \
		test "$(learned "$mac")" = "$(learned "$MY_MAC")"
}

# The same lie from inside, with the kernel's own tools.
test_second_address() {
	must ip -n a-x addr add 10.0.1.77/24 dev "$MY_DEV"
	fails "an address that was not given does not work" \
		inside a-x ping -q -c 1 -W 0.3 -I 10.0.1.77 10.0.0.1
	check "the one that was given does" inside a-x ping -q -c 1 -w 15 -I "$MY_ADDR" 10.0.0.1
}

snapshot_host >"$WORLD/before"
lay_out
test_apart
test_host
test_peer
test_peer_delete
test_allow
liar
test_spoofed_source
test_spoofed_arp
test_router_advertisement
test_reserved_addresses
test_second_address
br_netfilter 1
stop_all
must by vpc delete a
must by vpc delete b
must by vpc delete c
check "nothing is left" same_as "$WORLD/before"
done_testing
