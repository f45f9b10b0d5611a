#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What byway says of itself, and cleaning up after losses: only ever what byway made.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

# A machine that belongs to somebody: all of this must survive all of that.
foreign() {
	ip link add br-user type bridge
	ip link set br-user addrgenmode none
	ip addr add 10.99.0.1/24 dev br-user
	ip link set br-user up
	ip netns add user
	ip link add veth-user type veth peer name eth0 netns user
	ip link set veth-user master br-user up
	nft add table inet user
	nft 'add chain inet user forward { type filter hook forward priority 0; }'
	nft add rule inet user forward ip saddr 10.98.0.0/16 drop
	iptables -A FORWARD -s 10.97.0.0/16 -j DROP
	ip rule add from 10.96.0.0/16 table 77
	ip route add 10.95.0.0/16 dev br-user
}

lay_out() {
	must by vpc create v 10.0.0.0/16
	must by subnet add v a 10.0.1.0/24 --type public
	must by nat enable v
	must by vpc create w 10.1.0.0/16
	must by peer add v w
}

test_status() {
	check "status" by status
	prints "names the VPCs" 'v(.|\n)*w'
	like "as JSON with a schema" "$(json .schema status)" '^byway\.status/1$'
	unlike "no tunnel, no metrics of any" "$(by metrics)" 'byway_(tunnel|session)'
	like "as JSON with a schema, too" "$(json .schema metrics)" '^byway\.metrics/1$'
	check "quiet on an empty machine" env BYWAY_FIREWALL=native "$BYWAY" -q status
}

test_nothing_lost() {
	snapshot laid
	check "gc with nothing to do" by gc
	check "changes nothing" all_same_as "$WORLD/laid"
	run by -v gc
	is "with -v, the backend is told once" "$(grep -c 'firewall backend' "$WORLD/output.err")" 1
}

# What ip_forward was before stands in a file of its own as well, but without any nobody knows.
forwarding_off() {
	echo 0 >/proc/sys/net/ipv4/ip_forward
	echo 0 >/proc/sys/net/ipv6/conf/all/forwarding
}

test_lost_database() {
	rm -f /run/byway/state.db*
	check "a dry run of gc" by gc --dry-run
	prints "lists what is orphaned" 'br-v'
	check "and does nothing" has_link br-v
	check "gc without a database" by gc
	check "leaves only what was there before" all_same_as "$WORLD/before"
}

test_reset() {
	lay_out
	check "reset" by -v reset
	is "with -v, the backend is told once" "$(grep -c 'firewall backend' "$WORLD/output.err")" 1
	check "leaves only what was there before" all_same_as "$WORLD/before"
	lay_out
	head -c 2000 /dev/urandom >/run/byway/state.db
	rm -f /run/byway/state.db-wal
	check "reset with an unreadable database" by reset
	check "leaves only what was there before" all_same_as "$WORLD/before"
	lay_out
	rm -rf /run/byway
	check "reset without any state" by reset
	forwarding_off
	check "leaves only what was there before" all_same_as "$WORLD/before"
}

test_delete() {
	lay_out
	must by vpc delete v
	must by vpc delete w
	check "deleting leaves only what was there before" all_same_as "$WORLD/before"
}

foreign
snapshot before
lay_out
test_status
test_nothing_lost
test_lost_database
test_reset
test_delete
done_testing
