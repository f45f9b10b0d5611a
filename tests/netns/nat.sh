#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The way out: public subnets reach the internet under the host's address, private ones never.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

lay_out() {
	must by vpc create v 10.0.0.0/16 --cidr6 fd00::/56
	must by subnet add v pub 10.0.1.0/24 --type public --cidr6 fd00:0:0:1::/64
	must by subnet add v priv 10.0.2.0/24 --type private --cidr6 fd00:0:0:2::/64
	web_server internet 80
	echo_server internet 7
}

no_way_out() {
	cannot "$1" "$INTERNET4" 80 "$2"
	cannot "$1" "$INTERNET6" 80 "$2"
	cannot "$1" "udp:$INTERNET4" 7 "$2"
	cannot "$1" "ping:$INTERNET4" 0 "$2"
	cannot "$1" 192.0.2.1 80 "$2"
}

test_before() {
	no_way_out v-pub "before NAT"
	no_way_out v-priv "before NAT"
	watch wire internet eth0
}

test_enabled() {
	check "enable, out of the default route's interface" by nat enable v
	is "it is shown" "$(json '(.vpc // .).nat | if type == "object" then .interface else . end' \
		vpc show v)" eth0
	can v-pub "$INTERNET4" 80
	can v-pub "$INTERNET6" 80
	can v-pub "udp:$INTERNET4" 7
	can v-pub "ping:$INTERNET4"
	can v-pub "ping:$INTERNET6"
	is "the internet sees the host's address" "$(get v-pub "http://$INTERNET4/")" \
		"hello from internet to $HOST4"
	is "in IPv6 too" "$(get v-pub "http://[$INTERNET6]/")" "hello from internet to $HOST6"
	no_way_out v-priv "private"
	can v-priv "ping:$(addr4 v-pub)"
	check "enabling again" by nat enable v --interface eth0
}

# Nothing of a private subnet's may even be seen outside; a mark from the public one shows that the
# observer sees.
test_leak() {
	local dev mac gate addr
	gate=$(cat /sys/class/net/br-v/address)
	for name in priv pub; do
		dev=$(dev_of "v-$name") mac=$(mac_in "v-$name") addr=$(addr4 "v-$name")
		must inside "v-$name" "$PROBE" send-udp "$dev" "$mac" "$gate" "$addr" 192.0.2.1 "$name"
	done
	check "no packet of the private subnet leaves the host" dropped wire priv pub
}

# Only replies come in.
test_inside_is_closed() {
	echo_server v-pub 7
	can host "$(addr4 v-pub)" 7
	cannot internet "$(addr4 v-pub)" 7
	cannot internet "$(addr6 v-pub)" 7
	cannot internet "ping:$(addr4 v-priv)"
	stop echo-v-pub-7
}

test_host_unharmed() {
	can host "$INTERNET4" 80
	is "the host's own traffic keeps its address" "$(get host "http://$INTERNET4/")" \
		"hello from internet to $HOST4"
}

test_disable() {
	check "a flow before NAT is disabled" flow_open f v-pub "$INTERNET4" 7
	check "carries" flow_works f
	check "disable" by nat disable v
	check "the flow is cut" flow_is_cut f
	flow_close f
	no_way_out v-pub "NAT disabled"
	check "disable again" by nat disable v
	check "enable by name" by nat enable v --interface eth0
	can v-pub "$INTERNET4" 80
}

test_refusals() {
	exits 3 "an unknown VPC" by nat enable nowhere
	fails "an unknown interface" by nat enable v --interface nope0
	says "is named" 'nope0'
	exits 2 "the loopback device" by nat enable v --interface lo
	exits 2 "a VPC's own bridge" by nat enable v --interface br-v
	can v-pub "$INTERNET4" 80 "as before"
	must ip route del default
	must ip -6 route del default
	must by nat disable v
	fails "no default route and no --interface" by nat enable v
	says "says what to do" 'interface'
	must ip route add default via 192.0.2.1
	must ip -6 route add default via 2001:db8:2::1
}

# ip_forward is the first user's to set and the last user's to restore.
test_forwarding() {
	must by nat enable v
	must by vpc create w 10.1.0.0/16
	must by vpc delete v
	is "ip_forward stays for the second VPC" "$(cat /proc/sys/net/ipv4/ip_forward)" 1
	must by vpc delete w
	is "and is restored after the last" "$(cat /proc/sys/net/ipv4/ip_forward)" 0
	is "IPv6 forwarding too" "$(cat /proc/sys/net/ipv6/conf/all/forwarding)" 0
	echo 1 >/proc/sys/net/ipv4/ip_forward
	must by vpc create w 10.1.0.0/16
	must by vpc delete w
	is "what was on before stays on" "$(cat /proc/sys/net/ipv4/ip_forward)" 1
	echo 0 >/proc/sys/net/ipv4/ip_forward
}

# Router advertisements on the host's uplink must not be lost to IPv6 forwarding.
test_accept_ra() {
	is "accept_ra of the uplink survives" "$(cat /proc/sys/net/ipv6/conf/eth0/accept_ra)" 1
}

snapshot_host >"$WORLD/before"
lay_out
test_before
test_enabled
test_leak
test_inside_is_closed
test_host_unharmed
test_disable
test_refusals
test_forwarding
test_accept_ra
stop_all
check "nothing is left" same_as "$WORLD/before"
done_testing
