# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The control plane: how long subnets, policies and NAT take to come and go.

delete_all() {
	local way=$1 n=$2 before=$3
	"${way}_delete" "$n" && kernel_is_done "$before"
}

# Ways that start processes for each namespace take as long for the last as for the first: a hundred
# of them tell.
policies_of() {
	if [[ $1 == byway || $2 -lt 100 ]]; then echo "$2"; else echo 100; fi
}

# measure_subnets WAY N
measure_subnets() {
	local way=$1 n=$2 before sample
	before=$(veths)
	sample=$(policies_of "$way" "$n")
	"${way}_begin" || bail "$way: no bridge"
	took_us "${way}_create" "$n"
	veths_are "$((before + n))" || bail "$way: $(veths) veths, not $((before + n))"
	record subnets "${WAY_NAMES[$way]}" "create ms, of $n" "$(per "$TOOK" "$n")"
	if declare -F "${way}_policy" >/dev/null; then
		took_us "${way}_policy" "$sample"
		record subnets "${WAY_NAMES[$way]}" "policy ms, of $n" "$(per "$TOOK" "$sample")"
	fi
	took_us delete_all "$way" "$n" "$before"
	record subnets "${WAY_NAMES[$way]}" "delete ms, of $n" "$(per "$TOOK" "$n")"
	"${way}_end"
	kernel_is_done "$before"
}

in_ns() { nsenter --net="/run/netns/$1" -- "${@:2}"; }

ten_calls() {
	local rule
	while read -ra rule; do
		in_ns "$1" iptables "${rule[@]}"
	done <policy.iptables
}

restore() { in_ns "$1" "$2" <policy.restore; }

# The policy of one namespace, replaced by a whole command, or as one of many in one command.
measure_policy() {
	local n=50
	byway_begin
	byway_create "$n"
	record policy "byway policy apply" "ms" "$(repeat "$n" by -q policy apply bench/n-% policy.json)"
	took_us byway_policy
	record policy "byway policy apply 'VPC/*'" "ms each of $n" "$(per "$TOOK" "$n")"
	took_us by -q policy apply bench/n-1 policy.json
	record policy "nft -f" "ms" "$(repeat "$n" in_ns bench-n-% nft -f policy.nft)"
	record policy "iptables-restore (nft)" "ms" "$(repeat "$n" restore bench-n-% iptables-nft-restore)"
	record policy "iptables-restore (legacy)" "ms" \
		"$(repeat "$n" restore bench-n-% iptables-legacy-restore)"
	record policy "eleven iptables calls" "ms" "$(repeat 20 ten_calls bench-n-%)"
	byway_end
}

measure_lone() {
	byway_begin
	byway_create 100
	record lone "byway subnet add" "wall ms" \
		"$(repeat 50 by -q subnet add bench lone-% 10.80.%.0/24)"
	record lone "byway subnet delete" "wall ms" "$(repeat 50 by -q subnet delete bench/lone-%)"
	record lone "byway subnet list --json" "wall ms" "$(repeat 20 by subnet list bench --json)"
	record lone "byway --version (a process)" "wall ms" "$(repeat 20 by --version)"
	byway_end
}

# make_vpcs FROM TO: tiny VPCs with NAT.
make_vpcs() {
	local i
	for ((i = $1; i <= $2; i++)); do
		by -q vpc create "many-$i" "10.$((128 + i / 256)).$((i % 256)).0/24"
		by -q nat enable "many-$i" --interface eth0
	done
}

nat_cost() {
	by -q nat disable many-1
	by -q nat enable many-1 --interface eth0
}

# measure_nat LAST: what enabling NAT costs when it is the first VPC's, and when LAST have it.
measure_nat() {
	make_vpcs 1 1
	record nat "nat disable + enable" "ms, 1 VPC" "$(repeat 20 nat_cost)"
	make_vpcs 2 "$1"
	record nat "nat disable + enable" "ms, $1 VPCs" "$(repeat 20 nat_cost)"
}
