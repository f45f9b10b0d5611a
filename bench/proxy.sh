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

# ---- what a client does ----

client() {
	if [[ -n $VIA ]]; then
		STREAM_VIA=$VIA inside "$CLIENT_NS" timeout 15 "$STREAM" "$@"
	else
		inside "$CLIENT_NS" timeout 15 "$STREAM" "$@"
	fi
}

# at_once N MEASUREMENT PORT: the sums of the columns that N clients print.
at_once() {
	local i pids=()
	rm -f at_once.*
	for ((i = 0; i < $1; i++)); do
		client "$2" "$INTERNET4" "$3" "$DURATION_MS" >"at_once.$i" 2>>client.err &
		pids+=($!)
	done
	for i in "${pids[@]}"; do wait "$i" || return 1; done
	cat at_once.* | awk '{ a += $1; b += $2 } END { printf "%.3f %.0f\n", a, b }'
}

# ---- what the tool costs ----

tree() {
	local child
	echo "$1"
	# shellcheck disable=SC2013 # words
	for child in $(cat "/proc/$1"/task/*/children 2>/dev/null); do tree "$child"; done
}
# Nanoseconds on a processor, of all threads.
cpu_ns() {
	local pid
	for pid in $(tree "$1"); do cat "/proc/$pid"/task/*/schedstat 2>/dev/null; done |
		awk '{ sum += $1 } END { printf "%d\n", sum }'
}
rss_kb() {
	local pid
	for pid in $(tree "$1"); do grep VmRSS "/proc/$pid/status" 2>/dev/null; done | awk '{ sum += $2 } END { print sum }'
}

# sample METRIC VALUE
sample() { echo "$2" >>"samples/$WAY/${1//\//_}"; }

# bulk N MEASUREMENT NAME
bulk() {
	local before=0 after=0 rate bytes
	[[ -z $TOOL ]] || before=$(cpu_ns "$TOOL")
	read -r rate bytes < <(at_once "$1" "$2" "$BULK") || return 1
	[[ -z $TOOL ]] || after=$(cpu_ns "$TOOL")
	sample "$3, Gbit/s" "$rate"
	[[ -z $TOOL || $1 != 1 ]] || sample "$3, CPU s/GB" \
		"$(awk -v ns="$((after - before))" -v bytes="$bytes" 'BEGIN { printf "%.3f\n", ns / bytes }')"
}

requests() {
	local before=0 rate answer
	[[ -z $TOOL ]] || before=$(cpu_ns "$TOOL")
	read -r rate _ < <(at_once "$MANY" rate "$ECHO") || return 1
	sample "connects/s" "${rate%.*}"
	[[ -z $TOOL ]] || sample "CPU us each" "$(awk -v ns="$(($(cpu_ns "$TOOL") - before))" -v rate="$rate" \
		-v ms="$DURATION_MS" 'BEGIN { printf "%.0f\n", ns / 1000 / (rate * ms / 1000) }')"
}

round_trips() {
	local answer
	answer=$(client ask "$INTERNET4" "$BULK" "$DURATION_MS") || return 1
	sample "p50 us" "${answer% *}"
	sample "p99 us" "${answer#* }"
}

held() { grep -q ready hold.out; }
idle_flows() {
	local fd before
	[[ -n $TOOL ]] || return 0
	before=$(rss_kb "$TOOL")
	rm -f hold.in
	mkfifo hold.in
	exec {fd}<>hold.in
	client hold "$INTERNET4" "$ECHO" "$IDLE" <hold.in >hold.out 2>>client.err {fd}>&- &
	PIDS["hold"]=$!
	if WAIT_S=5 wait_for held; then
		sample "MB resident, idle" "$(awk -v kb="$before" 'BEGIN { printf "%.1f\n", kb / 1024 }')"
		sample "kB more a flow" "$(awk -v kb="$(($(rss_kb "$TOOL") - before))" -v n="$IDLE" \
			'BEGIN { printf "%.2f\n", kb / n }')"
	else
		echo "  $WAY does not hold $IDLE flows: $(tail -n 1 client.err)" >&2
	fi
	exec {fd}>&-
	wait "${PIDS["hold"]}" 2>/dev/null
	unset "PIDS[hold]"
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

# with_way COMMAND: made for it, taken away after it.
with_way() {
	reset_way
	: >client.err
	if "${WAY}_begin" && wait_for client times "$INTERNET4" "$ECHO" 1; then
		"$@"
	else
		echo "  $WAY does not start: $(tail -n 3 "$WAY.out" 2>/dev/null)" >&2
	fi
	"${WAY}_end"
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

record_section() {
	local section=$1 metric
	shift
	for WAY in "${WAYS[@]}"; do
		for metric in "$@"; do
			[[ ! -s samples/$WAY/${metric//\//_} ]] ||
				record "$section" "${WAY_NAMES[$WAY]}" "$metric" \
					"$(median <"samples/$WAY/${metric//\//_}")"
		done
	done
}

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
