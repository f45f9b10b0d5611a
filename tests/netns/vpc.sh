#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A VPC is made, shown, refused and deleted.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

test_create() {
	check "create" by vpc create production 10.0.0.0/16
	check "the bridge is up" wait_for eval 'ip link show br-production | grep -q "[<,]UP[,>]"'
	is "the gateway is the first usable address, with the VPC's prefix" \
		"$(ip -j addr show br-production | jq -r '[.[0].addr_info[] | select(.family == "inet")
			| "\(.local)/\(.prefixlen)"] | join(" ")')" "10.0.0.1/16"
	is "STP is off" "$(cat /sys/class/net/br-production/bridge/stp_state)" 0
	is "nor is multicast snooped" "$(cat /sys/class/net/br-production/bridge/multicast_snooping)" 0
	is "forwarding is on" "$(cat /proc/sys/net/ipv4/ip_forward)" 1
	like "the bridge is marked as ours" "$(cat /sys/class/net/br-production/ifalias)" '^byway:'
	exits 7 "creating it again is a conflict" by vpc create production 10.9.0.0/16
	says "and says which" 'production'
}

test_show() {
	local vpc
	is "list has a versioned schema" "$(json .schema vpc list)" byway.vpc.list/1
	is "list names it" "$(json '.vpcs[].name' vpc list)" production
	vpc=$(by vpc show production --json)
	like "show has a versioned schema" "$(jq -r .schema <<<"$vpc")" '^byway\.vpc(\.show)?/1$'
	is "network, broadcast, gateway and usable range" \
		"$(jq -r '(.vpc // .) | [.network, .broadcast, .gateway, .first, .last] | join(" ")' \
			<<<"$vpc")" "10.0.0.0 10.0.255.255 10.0.0.1 10.0.0.1 10.0.255.254"
	check "the table says the same" by vpc show production
	prints "with the bridge" 'br-production'
	prints "with the gateway" '10\.0\.0\.1'
	check "list as a table" by vpc list
	prints "with the name" 'production'
	exits 3 "showing an unknown VPC is 'no such'" by vpc show nowhere
	exits 0 "list after --json anywhere" by --json vpc list
	check "and it is JSON" jq -e .vpcs "$TAP_OUTPUT"
}

# The keys in the example's order, and nothing else.
shape() {
	jq -r 'def shape: if type == "object" then
			to_entries | map("\(.key): \(.value | shape)") | "{" + join(", ") + "}"
		elif type == "array" then "[" + (map(shape) | unique | join(" ")) + "]"
		else type end; shape' "$1"
}

# But for the time, and the example's veth-web-tier-ns, which is one character too long for Linux.
values() { jq -S 'del(.created, .subnets[].veth_ns) | .subnets |= sort_by(.name)' "$1"; }

test_state_file() {
	local file=/run/byway/vpc/production.json
	must by vpc create production 10.0.0.0/16
	must by vpc create staging 10.1.0.0/16
	must by subnet add production web-tier 10.0.1.0/24 --type public
	must by subnet add production db-tier 10.0.2.0/24 --type private
	must by nat enable production
	must by peer add production staging
	is "the state file has exactly the example's shape" \
		"$(shape $file)" "$(shape "$EXAMPLES/vpc-production.json")"
	is "and the example's values" "$(values $file)" "$(values "$EXAMPLES/vpc-production.json")"
	like "created is a time" "$(jq -r .created $file)" \
		'^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z$'
	is "mode 0600, root's" "$(stat -c '%a %U' $file)" "600 root"
	is "its folder is closed to others" "$(stat -c %a /run/byway)" 700
	is "/var/run/vpcctl leads there" "$(readlink -f /var/run/vpcctl)" /run/byway/vpc
	must by vpc delete staging
	is "a deleted peer leaves the file" "$(jq -c .peering $file)" "[]"
	must by vpc delete production
	fails "the file goes with the VPC" test -e $file
}

refused() { exits 2 "refused: $1 ($2)" by vpc create bad "$2" && says "  because of it" "$3"; }

test_cidr() {
	refused "host bits" 10.0.0.5/16 '10\.0\.0\.0/16'
	refused "no prefix length" 10.0.0.0 '[Pp]refix|/'
	refused "prefix too long" 10.0.0.0/31 '/3[01]'
	refused "prefix beyond the address" 10.0.0.0/33 '33|prefix'
	refused "prefix too short" 10.0.0.0/7 '/7|/8|prefix|host bits'
	refused "not an address" 10.0.0/16 '10\.0\.0/16'
	refused "an octet too big" 10.0.256.0/24 '256'
	refused "loopback" 127.0.0.0/8 '[Ll]oopback'
	refused "multicast" 224.0.0.0/16 '[Mm]ulticast'
	refused "link-local" 169.254.0.0/16 '[Ll]ink'
	refused "reserved" 240.0.0.0/8 '[Rr]eserved'
	refused "this network" 0.0.0.0/8 '0\.0\.0\.0'
	exits 2 "refused: an IPv6 address without a network" by vpc create bad 10.0.0.0/16 --cidr6 fd00::1/64
	exits 2 "refused: IPv6 multicast" by vpc create bad 10.0.0.0/16 --cidr6 ff02::/64
	exits 2 "refused: a name with a slash" by vpc create a/b 10.0.0.0/16
	exits 2 "refused: an empty name" by vpc create '' 10.0.0.0/16
	exits 2 "refused: a name that could leave the folder" by vpc create .. 10.0.0.0/16
	check "a /30" by vpc create tiny 10.77.0.0/30
	must by vpc delete tiny
	check "a /8" by vpc create wide 10.0.0.0/8
	must by vpc delete wide
}

test_overlap() {
	must by vpc create one 10.5.0.0/16
	exits 7 "a VPC inside another is a conflict" by vpc create two 10.5.128.0/17
	says "and says whose" 'one'
	exits 7 "one around another too" by vpc create two 10.4.0.0/15
	exits 7 "a network the host has a route to" by vpc create two 192.0.2.0/25
	says "and says which route" '192\.0\.2\.0/24'
	must ip route add 10.66.0.0/16 via 192.0.2.1
	exits 7 "a static route counts" by vpc create two 10.66.1.0/24
	must ip route del 10.66.0.0/16
	must ip addr add 10.66.1.1/32 dev lo
	exits 7 "an address without a network counts" by vpc create two 10.66.1.0/24
	says "and says which" '10\.66\.1\.1/32'
	must ip addr del 10.66.1.1/32 dev lo
	must ip -6 addr add fd66::1/128 dev lo
	exits 7 "an IPv6 one, too" by vpc create two 10.66.1.0/24 --cidr6 fd66::/56
	must ip -6 addr del fd66::1/128 dev lo
	check "the default route does not" by vpc create two 10.66.1.0/24
	must by vpc delete two
	must by vpc delete one
}

test_long_names() {
	local a=a-name-that-is-far-too-long-for-an-interface b=a-name-that-is-far-too-long-for-another
	check "a long name" by vpc create "$a" 10.20.0.0/16
	check "one with the same beginning" by vpc create "$b" 10.21.0.0/16
	local bridge_a bridge_b
	bridge_a=$(json '.vpcs[] | select(.name == "'$a'") | .bridge' vpc list)
	bridge_b=$(json '.vpcs[] | select(.name == "'$b'") | .bridge' vpc list)
	check "the bridge shown is there" has_link "$bridge_a"
	check "and the other" has_link "$bridge_b"
	fails "they differ" test "$bridge_a" = "$bridge_b"
	like "they look like their names" "$bridge_a" '^br-a-'
	must by vpc delete "$a"
	must by vpc create "$a" 10.20.0.0/16
	is "the same name gives the same bridge" "$(json '.vpcs[] | select(.name == "'$a'") | .bridge' \
		vpc list)" "$bridge_a"
	must ip link add br-taken type bridge
	check "a bridge of somebody else's in the way" by vpc create taken 10.22.0.0/16
	unlike "is not used" "$(json '.vpcs[] | select(.name == "taken") | .bridge' vpc list)" '^br-taken$'
	must by vpc delete taken
	check "nor deleted" has_link br-taken
	must ip link del br-taken
	must by vpc delete "$a"
	must by vpc delete "$b"
}

test_options() {
	check "with an MTU and IPv6" by vpc create six 10.6.0.0/16 --cidr6 fd00:6::/56 --mtu 1400
	is "the MTU" "$(cat /sys/class/net/br-six/mtu)" 1400
	like "the IPv6 gateway" "$(ip -6 addr show br-six)" 'fd00:6::1/56'
	exits 2 "an MTU that cannot be" by vpc create bad 10.7.0.0/16 --mtu 10
	exits 2 "an MTU that is no number" by vpc create bad 10.7.0.0/16 --mtu much
	exits 7 "overlapping IPv6" by vpc create bad 10.7.0.0/16 --cidr6 fd00:6:0:10::/64
	fails "a refused VPC leaves no bridge" has_link br-bad
	is "and no trace in the list" "$(json '[.vpcs[].name] | join(" ")' vpc list)" six
	must by vpc delete six
	# Below 1280 bytes the kernel takes IPv6 from a link.
	check "the smallest MTU" by vpc create small 10.7.0.0/16 --mtu 576
	check "with a subnet" by subnet add small a
	check "and a virtual machine" by vm add small/a m
	is "all of that MTU" "$(cat /sys/class/net/{br-small,veth-a,tap-m}/mtu | uniq)" 576
	can small-a ping:10.7.0.1
	must by vpc delete small
}

test_dry_run() {
	check "a dry run" by --dry-run vpc create ghost 10.8.0.0/16
	prints "lists operations" 'br-ghost'
	prints "the rules of a first VPC among them" 'add chain|-N BYWAY|forward'
	fails "and makes no bridge" has_link br-ghost
	is "nor a VPC" "$(json '.vpcs | length' vpc list)" 0
	check "with --json" by --dry-run --json vpc create ghost 10.8.0.0/16
	check "it has a schema" jq -e '.schema == "byway.operations/1" and (.operations | length > 0)' \
		"$TAP_OUTPUT"
	check "what -v echoes" by -v vpc create ghost 10.8.0.0/16
	says "is operations" 'br-ghost'
	check "a dry run of deleting" by --dry-run vpc delete ghost
	prints "lists operations too" 'br-ghost'
	check "and deletes nothing" has_link br-ghost
	must by vpc delete ghost
}

links_and_addresses() {
	{
		ip -d -o link show group 25209
		ip -d -o link show group 25210
		ip -o addr show
		ip -n words-a -d -o link show
		ip -n words-a -o addr show
		ip -n words-a route show table all
		ip -n words-a -6 route show table all
	} | snapshot_strip | sed -E 's/ (qdisc [a-z]+ )?state [A-Z]+//; s/[A-Z_-]*,?LOWER_UP//; s/ numtxqueues .*//
		s/ bridge_id [^ ]+ designated_root [^ ]+//; s/ [a-z_]*timer +[^ ]+//g; s/ designated_(bridge|root) [^ ]+//g' | sort
}

# What -v says of links, addresses and routes is what ip(8) takes, and leads to the same.
test_words() {
	run by -v vpc create words 10.8.0.0/16 --cidr6 fd00:8::/56 --mtu 1400
	err >words.ip
	run by -v subnet add words a 10.8.1.0/24
	err >>words.ip
	links_and_addresses >words.made
	must by vpc delete words
	sed -nE '/^\+ (\[[^]]*\] )?(ip|bridge) /!d; s/^\+ //; s/^\[([^]]*)\] /ip netns exec \1 /; p' words.ip >words.sh
	check "ip takes what -v says" sh -ex words.sh
	links_and_addresses >words.typed
	is "and it leads to the same" "$(diff words.made words.typed)" ""
	ip netns del words-a
	ip link del br-words
}

test_delete() {
	check "deleting what is not there" by vpc delete nowhere
	must by vpc create gone 10.3.0.0/16
	must by subnet add gone a 10.3.1.0/24
	check "deleting" by vpc delete gone
	check "deleting twice" by vpc delete gone
	check "nothing is left" same_as "$WORLD/before"
	check "reset" by reset
	fails "leaves not even the database" test -e /run/byway/state.db
	check "reset with nothing there" by reset
}

snapshot_host >"$WORLD/before"
test_create
test_show
must by vpc delete production
test_state_file
test_cidr
test_overlap
test_long_names
test_options
test_dry_run
test_words
test_delete
done_testing
