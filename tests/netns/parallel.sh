#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Two hundred commands at the same time: nothing is lost, nothing is made twice.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

# at_once COMMAND...: for each number on stdin "%" becomes the number; prints the exit statuses' counts.
at_once() {
	xargs -P 50 -I% bash -c '"$@" >/dev/null 2>>"$0"; echo $?' errors "$@" | sort | uniq -c | xargs
}

test_subnets() {
	is "two hundred subnets" "$(seq 1 200 | at_once "$BYWAY" subnet add v s% 10.0.%.0/24)" "200 0"
	[[ ! -s errors ]] || diag "$(head -n 5 errors)"
	is "are in the list" "$(json '.subnets | length' subnet list v)" 200
	is "are in the kernel" "$(find /run/netns -name 'v-s*' | wc -l)" 200
	is "are in the state file" "$(jq '.subnets | length' /run/byway/vpc/v.json)" 200
	is "have MACs of their own" "$(ip -j link show type veth | jq '[.[].address] | unique | length')" \
		"$(ip -j link show type veth | jq length)"
}

# Half of them go while others come.
test_mixed() {
	{
		seq 1 2 200 | sed "s|.*|subnet delete v/s&|"
		seq 1 60 | sed "s|.*|vpc create w& 10.1.&.0/24|"
		seq 2 2 80 | sed "s|.*|policy apply v/s& $WORLD/p.json|"
	} | shuf --random-source=<(yes) >commands
	is "deletes, creates and policies" "$(xargs -P 50 -L 1 bash -c '"$0" "$@" >/dev/null 2>>errors
		echo $?' "$BYWAY" <commands | sort | uniq -c | xargs)" "200 0"
	is "a hundred subnets remain" "$(json '.subnets | length' subnet list v)" 100
	is "in the kernel too" "$(find /run/netns -name 'v-s*' | wc -l)" 100
	is "sixty-one VPCs" "$(json '.vpcs | length' vpc list)" 61
	is "their bridges" "$(ip -o link show type bridge | wc -l)" 61
	check "a policy verifies" by policy verify v/s80
	check "gc finds nothing to do" by gc
	is "and did nothing" "$(json '.subnets | length' subnet list v)" 100
}

test_same_name() {
	is "of thirty that create the same, one wins and the others are told" \
		"$(seq 30 | at_once "$BYWAY" vpc create same 10.3.0.0/16)" "1 0 29 7"
}

# Readers do not wait for writers, and never see half of anything.
test_readers() {
	by -q subnet add v --count 50 &
	local writer=$! n seen=''
	while kill -0 $writer 2>/dev/null; do
		n=$(json '.subnets | length' subnet list v) || seen+=" failed"
		[[ $n == 100 || $n == 150 ]] || seen+=" $n"
	done
	wait $writer
	is "a reader sees all or nothing" "$seen" ""
}

snapshot_host >"$WORLD/before"
policy "allow tcp 80 -" >p.json
must by vpc create v 10.0.0.0/16
test_subnets
test_mixed
test_same_name
test_readers
json '.vpcs[].name' vpc list | xargs -P 20 -n 1 "$BYWAY" -q vpc delete
is "all deleted, at the same time" "$(json '.vpcs | length' vpc list)" 0
check "nothing is left" same_as "$WORLD/before"
done_testing
