#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A thousand subnets come up by one command, or one file, and go without a trace; more than one bridge can hold
# spread over several, and nobody inside notices.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

test_thousand() {
	must by vpc create many 10.0.0.0/8
	check "a thousand subnets" by subnet add many --count 1000
	is "in the list" "$(json '.subnets | length' subnet list many)" 1000
	is "in the kernel" "$(find /run/netns -name 'many-*' | wc -l)" 1000
	is "no address twice" "$(json '[.subnets[].address] | unique | length' subnet list many)" 1000
	can many-subnet-1 "ping:$(addr4 many-subnet-1000)"
	can many-subnet-1000 "ping:$(addr4 many-subnet-500)"
	check "delete" by vpc delete many
	check "nothing is left" same_as "$WORLD/before"
}

bridges() { ip -o link show type bridge | wc -l; }
further_bridge() { ip -j link show type bridge | jq -r '.[].ifname | select(. != "br-wide")'; }

test_beyond_a_bridge() {
	must by vpc create wide 10.0.0.0/8 --cidr6 fd00::/48
	check "more than a bridge has ports" by subnet add wide --count 1100
	says "is said" 'bridge br-wide is full with 900 ports: .* on a further one'
	is "in the kernel" "$(find /run/netns -name 'wide-*' | wc -l)" 1100
	is "on two bridges" "$(bridges)" 2
	can wide-subnet-1 "ping:$(addr4 wide-subnet-1100)"
	can wide-subnet-1100 "ping:$(addr4 wide-subnet-1)"
	can wide-subnet-1100 ping:10.0.0.1 0 "its gateway"
	can host "ping:$(addr4 wide-subnet-1099)"
	must ip link del "$(further_bridge)"
	cannot wide-subnet-1100 ping:10.0.0.1 0 "its bridge is gone"
	check "gc" by gc
	can wide-subnet-1100 ping:10.0.0.1 0 "over one that is made anew"
	can wide-subnet-1 "ping:$(addr4 wide-subnet-1100)"
	check "one alone beyond it" by subnet add wide late 10.200.0.0/24 --type public
	must by nat enable wide
	web_server internet 80
	can wide-late "$INTERNET4" 80 "through the second bridge"
	cannot wide-subnet-1100 "$INTERNET4" 80 "private"
	stop web-internet
	guarded
	not_behind_the_gateway
	check "delete" by vpc delete wide
	check "nothing is left" same_as "$WORLD/before"
}

# The guard works on the second bridge as on the first.
guarded() {
	local dev mac addr gate
	dev=$(dev_of wide-late) mac=$(mac_in wide-late) addr=$(addr4 wide-late)
	gate=$(link_mac host br-wide)
	watch bridge host br-wide
	inside wide-late "$PROBE" send-udp "$dev" "$mac" "$gate" 10.1.2.3 10.0.0.1 lie
	inside wide-late "$PROBE" send-udp "$dev" "$mac" "$gate" "$addr" 10.0.0.1 truth
	check "a false address on the second bridge is dropped" dropped bridge lie truth
	stop watch-bridge
}

# Who sends to the second bridge's own MAC instead of the gateway's does not get past the rules.
not_behind_the_gateway() {
	local dev mac addr second
	dev=$(dev_of wide-subnet-1100) mac=$(mac_in wide-subnet-1100)
	addr=$(addr4 wide-subnet-1100) second=$(link_mac host br-wide.1)
	echo_server host 7
	watch out internet eth0
	must ip -n wide-subnet-1100 neigh replace 10.0.0.1 lladdr "$second" dev "$dev"
	cannot wide-subnet-1100 10.0.0.1 7 "by the second bridge"
	cannot wide-subnet-1100 "udp:$HOST4" 7 "by the second bridge"
	inside wide-subnet-1100 "$PROBE" send-udp "$dev" "$mac" "$second" "$addr" "$INTERNET4" leak
	inside host "$PROBE" send-udp eth0 "$(link_mac host eth0)" "$(link_mac internet eth0)" \
		"$HOST4" "$INTERNET4" control
	check "nor is anything routed from there" dropped out leak control
	stop watch-out
	stop echo-host-7
}

# file N: so many subnets of a file.
file() {
	printf '%s\n' 'vpcs:' '  many:' '    cidr: 10.0.0.0/8' '    subnets:'
	seq "$1" | awk '{ printf "      s%d: {cidr: 10.%d.%d.0/24}\n", $1, $1 / 250, $1 % 250 + 1 }'
}

test_file() {
	file 1000 >many.yaml
	check "a file of a thousand subnets" by apply many.yaml
	prints "all of them" '1001 added'
	is "in the kernel" "$(find /run/netns -name 'many-*' | wc -l)" 1000
	can many-s1 "ping:$(addr4 many-s1000)"
	check "applied again" by apply many.yaml
	prints "it changes nothing" '^[^ ]+: 1001 unchanged$'
	sed -i '/ s500:/d' many.yaml
	check "without one of them" by apply many.yaml
	prints "that one goes" '1 removed, 1000 unchanged'
	check "destroy" by destroy many.yaml
	check "nothing is left" same_as "$WORLD/before"
}

snapshot_host >"$WORLD/before"
test_thousand
test_file
test_beyond_a_bridge
done_testing
