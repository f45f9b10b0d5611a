#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# proxy.sh [--quick] [--markdown]: the VPN over an HTTP CONNECT proxy against what else there is, in one run on one
# machine, in a private world. Progress on stderr, the tables on stdout, everything in
# bench/results-proxy.json. --markdown only prints the tables of the last run.
set -u
BENCH=$(cd "$(dirname "$0")" && pwd)
bail() { echo "bench: $*" >&2; exit 1; }
# shellcheck source=../tests/lib/world.sh
. "$BENCH/../tests/lib/world.sh"
# shellcheck source=measure.sh
. "$BENCH/measure.sh"
# shellcheck source=report.sh
. "$BENCH/report.sh"
# shellcheck source=traffic.sh
. "$BENCH/traffic.sh"
# shellcheck source=tunnels.sh
. "$BENCH/tunnels.sh"

RESULTS=$BENCH/results-proxy.json
STREAM=$WORLD/stream
WAYS=(bare connect byway redsocks sshuttle pasta slirp)
ROUNDS=3
DURATION_MS=1000
IDLE=1000
MANY=8 # streams
BULK=5001 ECHO=5002

quick() {
	ROUNDS=1
	DURATION_MS=300
}

prepare() {
	local cc=(cc -O2 -std=gnu17 -D_GNU_SOURCE)
	"${cc[@]}" -o "$STREAM" "$BENCH/stream.c" || bail "stream.c does not compile"
	"${cc[@]}" -pthread -o connect_proxy "$BENCH/connect_proxy.c" ||
		bail "connect_proxy.c does not compile"
	# So many connections come and go that those in TIME_WAIT would use up the ports.
	for ns in host internet; do
		inside "$ns" sh -c 'echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range
			echo 1000 >/proc/sys/net/ipv4/tcp_max_tw_buckets'
	done
	background bulk internet "$STREAM" serve "$BULK"
	background echo internet "$STREAM" echo "$ECHO"
	background proxy internet "$WORLD/connect_proxy" "$PROXY" "$PROXY_PORT"
}

# What a way cannot do is missing from the tables.
measure_way() {
	bulk 1 bulk "1 up" || echo "  $WAY: no upload" >&2
	bulk 1 down "1 down" || echo "  $WAY: no download" >&2
	requests || echo "  $WAY: not so many connections" >&2
	round_trips || echo "  $WAY: no round trips" >&2
	bulk "$MANY" bulk "$MANY up" || echo "  $WAY: no uploads at once" >&2
	bulk "$MANY" down "$MANY down" || echo "  $WAY: no downloads at once" >&2
}

# Memory apart, before throughput has touched the buffers.
measure_all() {
	local round
	for ((round = 1; round <= ROUNDS; round++)); do
		for WAY in "${WAYS[@]}"; do
			mkdir -p "samples/$WAY"
			echo "round $round: ${WAY_NAMES[$WAY]}" >&2
			with_way idle_flows
			with_way measure_way
		done
	done
}

METRICS_THROUGHPUT=("1 up, Gbit/s" "1 down, Gbit/s" "$MANY up, Gbit/s" "$MANY down, Gbit/s")
METRICS_COST=("1 up, CPU s/GB" "1 down, CPU s/GB" "CPU us each" "MB resident, idle" "kB more a flow")
METRICS_REQUESTS=("connects/s" "p50 us" "p99 us")

# Throughput as ratios to the CONNECT proxy alone, latency as the difference.
beside_proxy() {
	jq -r '.results as $r
		| def value($w; $m): [$r[] | select(.way == $w and .metric == $m) | .value][0];
		def ratio($w; $m): (value($w; $m) / value("CONNECT proxy alone"; $m) * 100 | round) / 100;
		["1 up, Gbit/s", "1 down, Gbit/s", "8 up, Gbit/s", "8 down, Gbit/s", "connects/s"] as $metrics
		| "| | 1 up | 1 down | 8 up | 8 down | connects | p50, us more |",
		"| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
		(["byway", "redsocks", "sshuttle (over SSH)"][] as $w | select(value($w; "p50 us"))
		| "| \($w) | " + ([$metrics[] as $m | ratio($w; $m) | tostring] | join(" | "))
			+ " | \((value($w; "p50 us") - value("CONNECT proxy alone"; "p50 us")) * 10 | round / 10) |")' "$1"
}

report_proxy() {
	jq -r '.machine | "\(.cpu), \(.cores) cores, \(.memory), \(.kernel), \(.byway), \(.date)"' "$1"
	section "Through a proxy: throughput of 1 and 8 connections" table "$1" throughput
	section "Requests: 8 clients that connect, ask and close; round trips on an open connection" \
		table "$1" requests
	section "What the tool costs" table "$1" cost
	section "Beside the CONNECT proxy alone: ratios" beside_proxy "$1"
}

main() {
	case ${1:-} in
	--markdown) report_proxy "$RESULTS"; return ;;
	--quick) quick ;;
	esac
	world_enter "$@"
	prepare
	measure_all
	record_section throughput "${METRICS_THROUGHPUT[@]}"
	record_section requests "${METRICS_REQUESTS[@]}"
	record_section cost "${METRICS_COST[@]}"
	to_json >"$RESULTS" || bail "no results"
	report_proxy "$RESULTS"
}

main "$@"
