#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A subnet: a namespace with an address, three routes and a way to its VPC.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

routes() { ip -n "$1" -j "${3:--4}" route show | jq -r '.[] | select(.dst == "'"$2"'")
	| "\(.gateway // "direct") \(.dev)"'; }

test_add() {
	local dev
	check "add" by subnet add v a 10.0.1.0/24 --cidr6 fd00:0:0:1::/64
	check "ip netns knows it" eval 'ip netns list | grep -q "^v-a\b"'
	check "ip netns exec works" ip netns exec v-a true
	dev=$(dev_of v-a)
	like "lo is up" "$(ip -n v-a link show lo)" '[<,]UP[,>]'
	like "the device is up" "$(ip -n v-a link show "$dev")" '[<,]UP[,>]'
	is "the first free address of the slice" "$(addr4 v-a)" 10.0.1.1
	is "with the slice's prefix" "$(ip -n v-a -j addr show "$dev" | jq -r \
		'[.[0].addr_info[] | select(.family == "inet")][0].prefixlen')" 24
	is "a route to the subnet, direct" "$(routes v-a 10.0.1.0/24)" "direct $dev"
	is "a route to the VPC by its gateway" "$(routes v-a 10.0.0.0/16)" "10.0.0.1 $dev"
	is "a default route by its gateway" "$(routes v-a default)" "10.0.0.1 $dev"
	like "an IPv6 address" "$(addr6 v-a)" '^fd00:0:0:1::'
	is "an IPv6 route to the VPC" "$(routes v-a fd00::/56 -6)" "fd00::1 $dev"
	is "an IPv6 default route" "$(routes v-a default -6)" "fd00::1 $dev"
	unlike "no address is tentative" "$(ip -n v-a -6 addr show)" 'tentative'
	is "its port is on the VPC's bridge" "$(ip -j link show "$(port_of v-a)" | jq -r '.[0].master')" br-v
	exits 7 "adding it again is a conflict" by subnet add v a 10.0.9.0/24
}

test_reach() {
	must by subnet add v b 10.0.2.0/24 --cidr6 fd00:0:0:2::/64
	echo_server v-b 7
	can v-a "$(addr4 v-b)" 7
	can v-a "$(addr6 v-b)" 7
	can v-a "udp:$(addr4 v-b)" 7
	can v-a "ping:$(addr4 v-b)"
	can v-b "ping:$(addr6 v-a)"
	can host "$(addr4 v-b)" 7
	can host "$(addr6 v-b)" 7
	stop echo-v-b-7
}

test_refusals() {
	exits 2 "outside the VPC" by subnet add v c 10.1.0.0/24
	says "says so" '10\.0\.0\.0/16'
	exits 7 "overlapping another subnet" by subnet add v c 10.0.1.128/25
	says "names it" '\ba\b'
	exits 2 "host bits" by subnet add v c 10.0.3.7/24
	exits 2 "IPv6 outside the VPC" by subnet add v c 10.0.3.0/24 --cidr6 fd01::/64
	exits 2 "neither public nor private" by subnet add v c 10.0.3.0/24 --type secret
	exits 3 "an unknown VPC" by subnet add nowhere c 10.0.3.0/24
	must by vpc create full 10.77.0.0/23
	exits 7 "more than there is room for" by subnet add full --count 3
	says "says so" 'no free /24 is left in 10\.77\.0\.0/23'
	must by vpc delete full
	exits 2 "no name" by subnet add v
	exits 2 "a name too strange" by subnet add v 'c;d' 10.0.3.0/24
	fails "nothing was made" has_netns v-c
}

test_stable() {
	local addr mac addr6
	addr=$(addr4 v-a) mac=$(mac_in v-a) addr6=$(addr6 v-a)
	check "delete" by subnet delete v/a
	fails "the namespace is gone" has_netns v-a
	check "delete again" by subnet delete v/a
	must by subnet add v other 10.0.7.0/24
	must by subnet add v a 10.0.1.0/24 --cidr6 fd00:0:0:1::/64
	is "the same address after delete and add" "$(addr4 v-a)" "$addr"
	is "the same IPv6 address" "$(addr6 v-a)" "$addr6"
	is "the same MAC" "$(mac_in v-a)" "$mac"
	must by vpc delete v
	must by vpc create v 10.0.0.0/16 --cidr6 fd00::/56
	must by subnet add v a 10.0.1.0/24 --cidr6 fd00:0:0:1::/64
	is "the same MAC in a VPC made anew" "$(mac_in v-a)" "$mac"
	is "and the same address" "$(addr4 v-a)" "$addr"
}

# What runs in a subnet ends with it: TERM, and KILL for the deaf.
test_processes() {
	background deaf v-a "$PROBE" stubborn
	become v-a sleep 1000 &
	local sleeper=$! deaf=${PIDS[deaf]}
	check "delete with processes inside" by subnet delete v/a
	fails "the one that listens to TERM is gone" kill -0 "$sleeper"
	fails "the one that does not is gone" kill -0 "$deaf"
	wait "$sleeper"
	is "the first ended by TERM" $? 143
	wait "$deaf"
	is "the second by KILL" $? 137
	unset 'PIDS[deaf]'
	fails "the namespace is gone" has_netns v-a
}

test_count() {
	must by vpc create many 10.2.0.0/16
	check "--count" by subnet add many --count 20
	is "twenty of them" "$(json '[.subnets[] | select(.vpc // "many" == "many")] | length' \
		subnet list many)" 20
	is "named in order" "$(json '[.subnets[].name] | sort_by(split("-")[1] | tonumber) | .[0,19]' \
		subnet list many | xargs)" "subnet-1 subnet-20"
	check "the last one is there" has_netns many-subnet-20
	check "more, with a name, a size and a type" by subnet add many --count 3 --prefix 28 \
		--name small --type public
	like "of that size" "$(json '.subnets[] | select(.name == "small-3") | .cidr' subnet list many)" '/28$'
	is "of that type" "$(json '.subnets[] | select(.name == "small-3") | .type' subnet list many)" public
	check "again: the next names" by subnet add many --count 2
	check "continue where the first ended" has_netns many-subnet-22
	fails "more than fit are refused" by subnet add many --count 300
	is "all or nothing" "$(json '.subnets | length' subnet list many)" 25
	exits 2 "--count 0" by subnet add many --count 0
	exits 2 "--count many" by subnet add many --count many
	must by vpc delete many
}

# Without a CIDR a subnet gets the next free slice.
test_next_slice() {
	check "add without a CIDR" by subnet add v next
	is "it is the first free slice" "$(json '.subnets[] | select(.name == "next") | .cidr' \
		subnet list v)" 10.0.0.0/24
	is "without the gateway's address" "$(addr4 v-next)" 10.0.0.2
	must by subnet delete v/next
}

test_file() {
	must by vpc create f 10.3.0.0/16
	cat >subnets.json <<-'END'
		[{"name": "web", "cidr": "10.3.1.0/24", "type": "public"},
		 {"name": "db", "cidr": "10.3.2.0/24"}]
	END
	check "--file, JSON" by subnet add f --file subnets.json
	is "as the file says" "$(json '[.subnets[] | "\(.name) \(.cidr) \(.type)"] | sort | join(", ")' \
		subnet list f)" "db 10.3.2.0/24 private, web 10.3.1.0/24 public"
	printf '%s\n' '- name: app' '  cidr: 10.3.3.0/24' '- name: log' '  cidr: 10.3.4.0/24' >subnets.yaml
	check "--file, YAML" by subnet add f --file subnets.yaml
	check "both are there" eval 'has_netns f-app && has_netns f-log'
	printf '%s\n' '- name: x' '  cdir: 10.3.5.0/24' >wrong.yaml
	exits 2 "an unknown key" by subnet add f --file wrong.yaml
	says "is named with line and column, and the nearest" 'wrong\.yaml:2:[0-9]+:.*cdir.*cidr'
	exits 2 "a bad value" by subnet add f --file <(echo '[{"name":"x","cidr":"10.3.5.1/24"}]')
	fails "no such file" by subnet add f --file nowhere.yaml
	fails "nothing was made" has_netns f-x
	must by vpc delete f
}

test_list() {
	must by subnet add v a 10.0.1.0/24 --type public
	is "list has a schema" "$(json .schema subnet list)" byway.subnet.list/1
	is "it knows the namespace" "$(json '.subnets[] | select(.name == "a") | .namespace // .netns' \
		subnet list v)" v-a
	check "as a table" by subnet list v
	prints "with the address" '10\.0\.1\.1'
	exits 3 "of an unknown VPC" by subnet list nowhere
}

snapshot_host >"$WORLD/before"
must by vpc create v 10.0.0.0/16 --cidr6 fd00::/56
test_add
test_reach
test_refusals
test_stable
test_processes
test_next_slice
test_count
test_file
test_list
check "delete the VPC" by vpc delete v
check "nothing is left" same_as "$WORLD/before"
done_testing
