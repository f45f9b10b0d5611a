#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# vm.sh [--quick] [--markdown]: virtual machines' and containers' networks: what joining one costs beside the
# stock CNI plugins, and what traffic costs beside a TAP device and a bridge without byway, in one run on one
# machine, in a private world. Progress on stderr, the tables on stdout, everything in bench/results-vm.json.
# --markdown only prints the tables of the last run.
#
# A guest is a namespace behind a TAP device, whose frames a process carries as a monitor does
# (tests/lib/tapguest.c): what that costs is the same for all guests.
set -u
BENCH=$(cd "$(dirname "$0")" && pwd)
bail() { echo "bench: $*" >&2; exit 1; }
# shellcheck source=../tests/lib/world.sh
. "$BENCH/../tests/lib/world.sh"
# shellcheck source=../tests/lib/vpc.sh
. "$BENCH/../tests/lib/vpc.sh"
# shellcheck source=measure.sh
. "$BENCH/measure.sh"
# shellcheck source=data.sh
. "$BENCH/data.sh"
# shellcheck source=report.sh
. "$BENCH/report.sh"

RESULTS=$BENCH/results-vm.json
TAPGUEST=$WORLD/tapguest
ATTACHED=(10 1000)
SAMPLE=50
ROUNDS=5
DURATION_MS=800
NOBODY=65534

quick() {
	ATTACHED=(5 20)
	SAMPLE=5
	ROUNDS=1
	DURATION_MS=300
}

# ---- attaching ----

CNI_PATH=/usr/lib/cni
BYWAY_CNI=${BYWAY_CNI:-$(dirname "$BYWAY")/byway-cni}
WAYS=(byway bridge masquerade)
declare -A WAY_NAMES=(
	[byway]='byway-cni'
	[bridge]='bridge + host-local'
	[masquerade]='bridge + host-local, ipMasq'
)
declare -A PLUGINS=([byway]=$BYWAY_CNI [bridge]=$CNI_PATH/bridge [masquerade]=$CNI_PATH/bridge)
declare -A CONFIGS=(
	[byway]='{"cniVersion":"1.0.0","name":"pods","type":"byway","cidr":"10.30.0.0/16"}'
	[bridge]='{"cniVersion":"1.0.0","name":"bridge","type":"bridge","bridge":"br-stock","isGateway":true,
		"ipam":{"type":"host-local","dataDir":"/run/world/cni","ranges":[[{"subnet":"10.31.0.0/16"}]]}}'
	[masquerade]='{"cniVersion":"1.0.0","name":"masquerade","type":"bridge","bridge":"br-masq",
		"isGateway":true,"ipMasq":true,
		"ipam":{"type":"host-local","dataDir":"/run/world/cni","ranges":[[{"subnet":"10.32.0.0/16"}]]}}'
)

# cni WAY COMMAND CONTAINER
cni() {
	CNI_COMMAND=$2 CNI_CONTAINERID=$3 CNI_NETNS=/run/netns/$3 CNI_IFNAME=eth0 CNI_PATH=$CNI_PATH \
		"${PLUGINS[$1]}" <<<"${CONFIGS[$1]}"
}

namespaces() {
	local i
	for ((i = 1; i <= $1; i++)); do echo "netns $2 c$i"; done | ip -batch -
}

# timed WAY COMMAND FROM TO: the median milliseconds.
timed() {
	local i
	for ((i = $3; i <= $4; i++)); do
		took_us cni "$1" "$2" "c$i"
		per "$TOOK" 1
	done | median
}

# How long one more takes among so many: the last SAMPLE of them are looked at.
measure_cni() {
	local way=$1 n=$2 first
	first=$((n > SAMPLE ? n - SAMPLE + 1 : 1))
	namespaces "$n" add
	((first == 1)) || timed "$way" ADD 1 $((first - 1)) >/dev/null
	record cni "${WAY_NAMES[$way]}" "ADD ms, of $n" "$(timed "$way" ADD "$first" "$n")"
	record cni "${WAY_NAMES[$way]}" "DEL ms, of $n" "$(timed "$way" DEL "$first" "$n")"
	((first == 1)) || timed "$way" DEL 1 $((first - 1)) >/dev/null
	namespaces "$n" del
}

measure_vm() {
	by -q network up lone 10.33.0.0/16
	record vm "byway vm add" "wall ms" "$(repeat "$SAMPLE" by -q vm add lone v%)"
	record vm "byway vm delete" "wall ms" "$(repeat "$SAMPLE" by -q vm delete lone/v%)"
	record vm "byway --version (a process)" "wall ms" "$(repeat "$SAMPLE" by --version)"
	by -q network down lone
}

# ---- traffic ----

build_guest() { cc -O2 -std=gnu17 -D_GNU_SOURCE -o "$TAPGUEST" "$WORLD_TREE/tests/lib/tapguest.c"; }

# guest NAME TAP MAC ADDRESS/PREFIX [GATEWAY]
guest() {
	ip netns add "$1"
	background "guest-$1" host "$TAPGUEST" "$2" "$1" "$3" "$NOBODY"
	wait_for grep -q ready "$WORLD/guest-$1.out" || wait_for has_guest_link "$1" || bail "$1 does not start"
	ip -n "$1" link set lo up
	ip -n "$1" link set eth0 up
	ip -n "$1" addr add "$4" dev eth0
	[[ -z ${5:-} ]] || ip -n "$1" route add default via "$5"
}
has_guest_link() { ip -n "$1" link show eth0; }

# tap NAME: a bare one.
tap() {
	ip tuntap add "$1" mode tap user "$NOBODY" vnet_hdr
	ip link set "$1" up
}

bare_guests() {
	tap bare
	ip addr add 10.250.0.1/24 dev bare
	guest bare bare 02:00:00:00:00:01 10.250.0.2/24
	ip link add br-plain type bridge
	ip addr add 10.251.0.254/24 dev br-plain
	ip link set br-plain up
	for name in a b; do
		tap "plain-$name"
		ip link set "plain-$name" master br-plain
	done
	guest plain-a plain-a 02:00:00:00:00:0a 10.251.0.1/24 10.251.0.254
	guest plain-b plain-b 02:00:00:00:00:0b 10.251.0.2/24 10.251.0.254
}

vm() { by vm show "data/$1" --json | jq -r ".$2"; }

# byway_guest NAME OPTION...
byway_guest() {
	local name=$1
	by -q vm add data "$@" --owner "$NOBODY"
	guest "$name" "$(vm "$name" interface)" "$(vm "$name" mac)" \
		"$(vm "$name" address)/$(vm "$name" prefix)" "$(vm "$name" gateway)"
}

# A thousand rules before the one that counts.
long_policy() {
	local i
	for ((i = 1; i < 1000; i++)); do
		echo "allow tcp $((10000 + i)) 10.9.$((i % 250)).0/24"
	done
	echo "allow tcp 5001 0.0.0.0/0"
}

prepare_traffic() {
	local ns
	build_stream || bail "stream.c does not compile"
	build_guest || bail "tapguest.c does not compile"
	bare_guests
	policy "$(long_policy)" >policy.json
	by -q network up data 10.34.0.0/24
	byway_guest a
	byway_guest b
	byway_guest isolated --isolated
	byway_guest guarded --policy policy.json
	ip -n internet route add 10.251.0.0/24 via "$HOST4" 2>/dev/null
	for ns in bare plain-b b guarded internet; do serve_stream "$ns"; done
}

guest_paths() {
	cat <<-END
		bare-TAP,-host-to-guest host 10.250.0.2
		bridge,-host-to-guest host 10.251.0.2
		byway,-host-to-guest host $(vm b address)
		byway,-host-to-guest,-policy host $(vm guarded address)
		bridge,-guest-to-guest plain-a 10.251.0.2
		byway,-guest-to-guest a $(vm b address)
		byway,-guest-to-guest,-policy a $(vm guarded address)
		routed,-guest-to-outside plain-a 192.0.2.1
		byway,-guest-to-outside-(NAT) a 192.0.2.1
	END
}

# ---- the tables ----

# Each path beside the one without byway that it is compared with.
beside() {
	jq -r '[.results[] | select(.section == "data")] as $r
		| def value($w; $m): [$r[] | select(.way == $w and .metric == $m) | .value][0];
		def row($w; $b; $m): (value($w; $m) / value($b; $m) * 100 | round) / 100;
		"| | beside | throughput | p50 | p99 |", "| --- | --- | ---: | ---: | ---: |",
		(["byway,-host-to-guest", "bare-TAP,-host-to-guest"],
		 ["byway,-host-to-guest", "bridge,-host-to-guest"],
		 ["byway,-host-to-guest,-policy", "byway,-host-to-guest"],
		 ["byway,-guest-to-guest", "bridge,-guest-to-guest"],
		 ["byway,-guest-to-guest,-policy", "byway,-guest-to-guest"],
		 ["byway,-guest-to-outside-(NAT)", "routed,-guest-to-outside"]) as [$w, $b]
		| "| \($w) | \($b) | \(row($w; $b; "Gbit/s")) | \(row($w; $b; "p50 us")) | \(row($w; $b; "p99 us")) |"' "$1"
}

# The stock plugins' times, in byway's.
cni_ratios() {
	jq -r '[.results[] | select(.section == "cni")] as $r
		| def value($w; $m): [$r[] | select(.way == $w and .metric == $m) | .value][0];
		[$r[] | select(.way == "byway-cni") | .metric] as $metrics
		| [$r[].way] | unique | map(select(. != "byway-cni")) as $ways
		| (["", $metrics[]], (["---", ($metrics[] | "---:")]),
		   ($ways[] as $w | [$w, ($metrics[] as $m
			| (value($w; $m) / value("byway-cni"; $m) * 10 | round / 10 | tostring))]))
		| "| " + join(" | ") + " |"' "$1"
}

report_vm() {
	jq -r '.machine | "\(.cpu), \(.cores) cores, \(.memory), \(.kernel), \(.byway), \(.date)"' "$1"
	section "CNI: one container more" table "$1" cni
	section "The stock plugins beside byway-cni" cni_ratios "$1"
	section "A virtual machine's device" table "$1" vm
	section "One TCP connection of a guest" table "$1" data
	section "The same, as ratios" beside "$1"
}

main() {
	local n way
	case ${1:-} in
	--markdown) report_vm "$RESULTS"; return ;;
	--quick) quick ;;
	esac
	world_enter "$@"
	for n in "${ATTACHED[@]}"; do
		for way in "${WAYS[@]}"; do measure_cni "$way" "$n"; done
	done
	measure_vm
	prepare_traffic
	guest_paths >paths.guest
	measure_paths "$ROUNDS" "$DURATION_MS" paths.guest
	to_json >"$RESULTS" || bail "no results"
	report_vm "$RESULTS"
}

main "$@"
