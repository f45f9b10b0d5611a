# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The data plane: throughput and latency of one TCP connection over several paths, in turns, so that
# a slow moment of the machine meets all of them; the median counts.

STREAM=$WORLD/stream
SERVER_CPU=taskset\ -c\ 1
CLIENT_CPU=taskset\ -c\ 0
[[ $(nproc) -gt 1 ]] || SERVER_CPU='' CLIENT_CPU=''

build_stream() { cc -O2 -std=gnu17 -D_GNU_SOURCE -o "$STREAM" "$WORLD_TREE/bench/stream.c"; }

# shellcheck disable=SC2086 # the prefix is words
serve_stream() { background "stream-$1" "$1" $SERVER_CPU "$STREAM" serve 5001; }
# shellcheck disable=SC2086
stream() { inside "$2" $CLIENT_CPU "$STREAM" "$1" "$3" 5001 "$4"; }

# Two namespaces and a cable: what everything else is compared with.
bare_pair() {
	ip netns add bare-a
	ip netns add bare-b
	ip link add eth0 netns bare-a type veth peer name eth0 netns bare-b
	ip -n bare-a addr add 10.250.0.1/24 dev eth0
	ip -n bare-b addr add 10.250.0.2/24 dev eth0
	ip -n bare-a link set eth0 up
	ip -n bare-b link set eth0 up
}

# Two namespaces on a bridge of the kernel's, and two routed by the host: no firewall anywhere.
plain_bridge() {
	local ns
	ip link add br-plain type bridge
	ip addr add 10.251.0.254/24 dev br-plain
	ip link set br-plain up
	for ns in a b; do
		ip netns add "plain-$ns"
		ip link add "plain-$ns" master br-plain type veth peer name eth0 netns "plain-$ns"
		ip link set "plain-$ns" up
		ip -n "plain-$ns" link set eth0 up
	done
	ip -n plain-a addr add 10.251.0.1/24 dev eth0
	ip -n plain-b addr add 10.251.0.2/24 dev eth0
	ip -n plain-a route add default via 10.251.0.254
}

# A thousand rules that all come before the one that lets the benchmark in.
long_policy() {
	local i
	for ((i = 1; i < $1; i++)); do
		echo "allow tcp $((10000 + i)) 10.9.$((i % 250)).0/24"
	done
	echo "allow tcp 5001 0.0.0.0/0"
}

vpcs_for_data() {
	by -q vpc create left 10.200.0.0/16
	by -q vpc create right 10.201.0.0/16
	by -q subnet add left a 10.200.1.0/24 --type public
	by -q subnet add left b 10.200.2.0/24
	by -q subnet add left guarded 10.200.3.0/24
	by -q subnet add right a 10.201.1.0/24
	by -q peer add left right
	by -q nat enable left --interface eth0
	policy "$(long_policy 1000)" >long.json
	by -q policy apply left/guarded long.json
}

# PATHS: NAME CLIENT-NAMESPACE ADDRESS, one a line.
paths() {
	cat <<-END
		bare-veth-pair bare-a 10.250.0.2
		plain-bridge plain-a 10.251.0.2
		plain-routed plain-a 192.0.2.1
		same-VPC left-a $(addr4 left-b)
		peer left-a $(addr4 right-a)
		NAT left-a 192.0.2.1
		policy-of-1000-rules left-a $(addr4 left-guarded)
	END
}

prepare_data() {
	local ns
	build_stream || bail "bench/stream.c does not compile"
	bare_pair
	plain_bridge
	vpcs_for_data
	ip -n internet route add 10.251.0.0/24 via "$HOST4" 2>/dev/null
	for ns in bare-b plain-b left-b right-a left-guarded internet; do
		serve_stream "$ns"
	done
}

# measure_paths ROUNDS MILLISECONDS LIST-FILE
measure_paths() {
	local round name ns addr
	rm -f samples.*
	for ((round = 1; round <= $1; round++)); do
		while read -r name ns addr; do
			stream bulk "$ns" "$addr" "$2" >>"samples.bulk.$name" || bail "$name is cut"
			stream ask "$ns" "$addr" "$2" >>"samples.ask.$name" || bail "$name is cut"
		done <"$3"
	done
	while read -r name ns addr; do
		record data "$name" "Gbit/s" "$(median <"samples.bulk.$name")"
		record data "$name" "p50 us" "$(awk '{ print $1 }' "samples.ask.$name" | median)"
		record data "$name" "p99 us" "$(awk '{ print $2 }' "samples.ask.$name" | median)"
	done <"$3"
}
