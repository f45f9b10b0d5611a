#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# byway prove of subnets and machines: what is tight is proved to be, and each leak that is made on purpose is
# found. An observer that cannot see proves nothing.
# shellcheck disable=SC2154 # PIDS is world.sh's
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/prove.sh
. "$WORLD_LIB/prove.sh"

lay_out() {
	must by vpc create prod 10.0.0.0/16 --cidr6 fd10::/56
	must by subnet add prod db 10.0.2.0/24
	must by subnet add prod web 10.0.1.0/24 --type public
	must by nat enable prod
	must by network up flat 10.3.0.0/24
	must by vm add flat a
	must by vm add flat b
	must by egress use flat/b none
}

test_private() {
	proves $NO_LEAK "a private subnet" prod/db
	is "as evidence" "$(evidence '[.schema, .result, .name, .kind] | join(", ")')" \
		"byway.prove/1, no leak, prod/db, subnet"
	is "every control was seen" \
		"$(evidence '.workloads[0].watched[] | [.interface, .controls, .seen_before, .seen_after, .lost] | map(tostring) | join(" ")')" \
		"eth0 10 10 10 0"
	is "the kinds of probes" \
		"$(evidence '[.workloads[0].probes[] | select(.family == "ipv4") | .probe] | unique | join(" ")')" \
		"broadcast device dns dns-tcp foreign-source fragments gateway icmp multicast quic tcp udp"
	is "of both families, but for broadcasts" \
		"$(evidence '[.workloads[0].probes[] | select(.family == "ipv6")] | length')" 11
	is "all were sent" "$(evidence '[.workloads[0].probes[] | select(.sent | not)] | length')" 0
	is "and seen where they were sent" \
		"$(evidence '[.workloads[0].probes[] | select(.inside | index("veth-db-ns") | not)] | length')" 0
	is "it says what it does not prove" "$(evidence '.not_proved | length > 3')" true
}

test_nat() {
	proves $NO_LEAK "a subnet that goes out by NAT" prod/web
	is "which was seen" \
		"$(evidence '[.workloads[0].probes[] | select(.probe == "tcp") | .outside[] | .interface + " " + .source] | join(", ")')" \
		"eth0 $HOST4, eth0 $HOST6"
	is "an address of nobody's does not leave" \
		"$(evidence '[.workloads[0].probes[] | select(.probe == "foreign-source") | .verdict] | unique[]')" contained
	proves $NO_LEAK "all of a VPC" prod
	is "is all its subnets" "$(evidence '[.workloads[].name] | sort | join(" ")')" "prod/db prod/web"
}

test_machines() {
	snapshot_host >"$WORLD/before"
	proves $NO_LEAK "a machine in a network with NAT" flat/a
	is "goes out" "$(evidence '.workloads[0].probes[] | select(.probe == "tcp" and .family == "ipv4") | .verdict')" left
	proves $NO_LEAK "one without a way out" flat/b
	is "does not" "$(evidence '.workloads[0].probes[] | select(.probe == "tcp" and .family == "ipv4") | .verdict')" contained
	must by vm add prod/web box
	must by egress use prod/web none
	proves $NO_LEAK "one in a subnet that has a way out" prod/box
	is "goes out by that, not by NAT" "$(evidence '.workloads[0].expected')" "nothing leaves"
	must by egress use prod/web nat
	must by vm delete prod/box
	check "nothing is left of what stood in for them" same_as "$WORLD/before"
	is "no port" "$(json '[.vms[].name] | join(" ")' vm list)" "a b"
	by prove flat/a >/dev/null 2>&1 &
	PIDS[prove]=$!
	wait_for stand_in
	kill -KILL "${PIDS[prove]}"
	wait "${PIDS[prove]}" 2>/dev/null
	unset "PIDS[prove]"
	must by gc
	check "nor after a kill and gc" same_as "$WORLD/before"
}
stand_in() { by status --json | grep -q '"prove-[0-9]*"'; }

# The guard of VPCs is gone, and somebody's rule masquerades.
test_leaks() {
	nft delete table inet byway
	masquerade eth0
	proves $LEAK "a private subnet without the host's table" prod/db
	finds "is found" eth0 tcp udp icmp dns dns-tcp quic fragments gateway device
	is "of IPv6, too" "$(leak_of udp ipv6)" eth0
	is "with the address that it got" \
		"$(evidence '[.leaks[] | select(.family == "ipv4") | .source] | unique | join(" ")')" "$HOST4"
	like "in words" "$("$BYWAY" prove prod/db)" 'LEAK: prod/db: tcp \(ipv4\) left by eth0, from 192\.0\.2\.2'
	proves $LEAK "all of the VPC" prod
	no_mistake
	proves $LEAK "a subnet by NAT, that nothing replaces its address" prod/web
	is "is seen by that" "$(evidence '[.leaks[] | select(.probe == "udp" and .family == "ipv4") | .source][0]')" \
		"$(addr4 prod-web)"
	proves $NOT_PROVED "a machine, when making a port would put the rules right" flat/b
	like "it says so" "$(evidence '.obstacles[]')" 'byway gc'
	must by gc
	proves $NO_LEAK "after gc" prod/db
}

# Somebody puts a wire into a network's bridge.
test_bridged() {
	must ip link add eth1 type veth peer name eth1 netns internet
	must ip link set eth1 up master flat
	must ip -n internet link set eth1 up
	proves $LEAK "a machine whose network has a wire in its bridge" flat/b
	finds "is found" eth1 broadcast multicast
	must ip link del eth1
	proves $NO_LEAK "and without it" flat/b
}

# A second way out of the host, beside that of NAT.
test_second_way() {
	must ip link add eth1 type veth peer name eth1 netns internet
	must ip link set eth1 up
	must ip -n internet link set eth1 up
	must ip addr add 172.31.0.1/24 dev eth1
	must ip route add 198.51.100.0/24 via 172.31.0.2 dev eth1 onlink
	must ip neigh add 172.31.0.2 lladdr 02:00:00:00:00:99 dev eth1 nud permanent
	proves $NO_LEAK "another interface, by which byway lets nothing" prod/web
	is "is watched" "$(evidence '[.workloads[0].watched[].interface] | sort | join(" ")')" "eth0 eth1"
	nft delete table inet byway
	masquerade eth1
	proves $LEAK "that leads out of NAT's subnet" prod/web
	finds "is found" eth1 tcp udp icmp dns
	must ip route replace 198.51.100.0/24 dev eth1
	proves $LEAK "or would, if somebody answered" prod/db
	is "as a question for the address" \
		"$(evidence '[.workloads[0].probes[] | select(.probe == "tcp" and .family == "ipv4") | .outside[].address_asked_only] | unique[]')" true
	no_mistake
	must ip link del eth1
	must by gc
}

# Its way out is a bridge, which has a wire in it.
test_lower() {
	must ip link add eth1 type veth peer name eth1 netns internet
	must ip link add br0 type bridge
	must ip link set eth1 up master br0
	must ip link set br0 up
	must ip -n internet link set eth1 up
	must ip addr add 172.31.0.1/24 dev br0
	must ip route add 198.51.100.0/24 via 172.31.0.2 dev br0
	must ip neigh add 172.31.0.2 lladdr 02:00:00:00:00:99 dev br0 nud permanent
	must by vpc create wide 10.5.0.0/16
	must by subnet add wide web 10.5.1.0/24 --type public
	must by nat enable wide --interface br0
	proves $NO_LEAK "a subnet that goes out by a bridge" wide/web
	is "passes what is in it" \
		"$(evidence '[.workloads[0].probes[] | select(.probe == "udp" and .family == "ipv4") | .outside[].interface] | sort | join(" ")')" \
		"br0 eth1"
	must by vpc delete wide
	must ip link del br0
	must ip link del eth1
}

test_blind() {
	must ip link set eth0 down
	proves $NOT_PROVED "with its only interface down" prod/db
	is "it says so" "$(evidence .result)" "not proved"
	like "and why" "$(evidence '.obstacles[]')" "no interface that leads out is up"
	must ip link set eth0 up
	must ip link set eth0 mtu 68
	proves $NOT_PROVED "where not every control can be sent" prod/db
	like "why" "$(evidence '.obstacles[]')" "not every control was seen at eth0"
	is "which" "$(evidence '.workloads[0].watched[0].missing[0]')" "dns ipv4"
	must ip link set eth0 mtu 1500
}

test_files() {
	check "the evidence in a file" by prove prod/db --output evidence.json
	is "as it is printed" "$(jq -r '.schema + " " + .result' evidence.json)" "byway.prove/1 no leak"
	is "for its owner alone" "$(stat -c %a evidence.json)" 600
	exits 3 "a folder that is not there" by prove prod/db --output nowhere/evidence.json
	exits 3 "no such subnet" by prove prod/x
	exits 3 "no such thing" by prove x
	exits 2 "nothing is sent in a dry run" by prove prod/db --dry-run
	exits 8 "without the right" setpriv --bounding-set -net_raw --inh-caps -net_raw "$BYWAY" prove prod/db
	like "it names it" "$(err)" CAP_NET_RAW
}

lay_out
test_private
test_nat
test_machines
test_leaks
test_bridged
test_second_way
test_lower
test_blind
test_files
done_testing
