#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# session.sh [--quick] [--markdown]: many openconnect sessions under byway against as many openconnects that
# nobody looks after, in one run on one machine, in a private world, at one real server. Progress on stderr, the
# tables on stdout, everything in bench/results-session.json. --markdown only prints the tables of the last run.
set -u
BENCH=$(cd "$(dirname "$0")" && pwd)
bail() { echo "bench: $*" >&2; exit 1; }
# shellcheck source=../tests/lib/world.sh
. "$BENCH/../tests/lib/world.sh"
# shellcheck source=../tests/lib/ocserv.sh
. "$BENCH/../tests/lib/ocserv.sh"
# shellcheck source=measure.sh
. "$BENCH/measure.sh"
# shellcheck source=report.sh
. "$BENCH/report.sh"
# shellcheck source=traffic.sh
. "$BENCH/traffic.sh"
# shellcheck source=session_ways.sh
. "$BENCH/session_ways.sh"

RESULTS=$BENCH/results-session.json
STREAM=$WORLD/stream
BULK=5001
WAYS=(bare byway)
N=64
IDLE_SIZES=(64 256)
IDLE_S=30
ROUNDS=5
DURATION_MS=2000

quick() {
	N=8
	IDLE_SIZES=(8)
	IDLE_S=3
	ROUNDS=1
	DURATION_MS=500
}

prepare() {
	cc -O2 -std=gnu17 -D_GNU_SOURCE -pthread -o stream "$BENCH/stream.c" || bail "stream.c does not compile"
	ulimit -n "$(ulimit -Hn)"
	ocserv_prepare
	ocserv_start bench
	PIN=$(ocserv_pin)
	echo "$VPN_PASSWORD" >password
	background bulk corp "$STREAM" serve "$BULK"
}

# Those of the server's side of the world do not count.
no_veths() { [[ $(veths) == "$VETHS" ]]; }
server_is_idle() { [[ $(ocserv_clients bench) == 0 ]]; }

# The server, too, is to have forgotten everybody before the next come.
settle() {
	WAIT_S=60 wait_for no_veths || bail "$WAY: namespaces are left"
	WAIT_S=60 wait_for server_is_idle || bail "$WAY: the server still has clients"
}

seconds() { awk -v us="$TOOK" 'BEGIN { printf "%.3f\n", us / 1000000 }'; }

# timed METRIC COMMAND...
timed() {
	took_us "${@:2}"
	sample "$1" "$(seconds)"
}

# ---- coming and going ----

down_and_gone() { "${WAY}_down" "$N" && WAIT_S=60 wait_for no_veths; }

measure_life() {
	mkdir -p "samples/$WAY"
	"${WAY}_prepare" "$N"
	timed "up, s" "${WAY}_up" "$N"
	timed "down, s" down_and_gone
	"${WAY}_tidy"
	settle
}

measure_lives() {
	local round
	for ((round = 1; round <= ROUNDS; round++)); do
		for WAY in "${WAYS[@]}"; do
			echo "round $round of $ROUNDS: $N sessions of ${WAY_NAMES[$WAY]} (after $SECONDS s)" >&2
			measure_life
		done
	done
	record_section "$N sessions" "up, s" "down, s"
}

# ---- through one session ----

# both COMMAND...: for each way, with session 1 of both connected.
both() {
	for WAY in "${WAYS[@]}"; do
		CLIENT_NS=$("${WAY}_ns" 1) TARGET=$CORP4 VIA='' TOOL=$("${WAY}_tool")
		"$@"
	done
}

reaches_server() {
	wait_for client bulk "$TARGET" "$BULK" 10 || bail "${WAY_NAMES[$WAY]}: nothing goes through"
}

measure_transfer() {
	bulk 1 bulk "up" || bail "${WAY_NAMES[$WAY]}: no upload: $(tail -n 1 client.err)"
	bulk 1 down "down" || bail "${WAY_NAMES[$WAY]}: no download: $(tail -n 1 client.err)"
}

measure_transfers() {
	local round
	for WAY in "${WAYS[@]}"; do
		"${WAY}_prepare" 1
		"${WAY}_up" 1 || bail "${WAY_NAMES[$WAY]}: no session"
	done
	both reaches_server
	for ((round = 1; round <= ROUNDS; round++)); do
		both measure_transfer
	done
	for WAY in "${WAYS[@]}"; do
		"${WAY}_down" 1
		"${WAY}_tidy"
	done
	settle
	record_section "throughput" "up, Gbit/s" "down, Gbit/s" "up, CPU s/GB" "down, CPU s/GB"
}

# ---- the supervisor while nothing happens ----

# field FILE NAME: in MB.
field() { awk -v name="$2:" '$1 == name { printf "%.1f\n", $2 / 1024 }' "$1"; }
# By the system's clock of 100 Hz, and how often it woke up.
ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }

wakeups() { awk '$1 == "voluntary_ctxt_switches:" { print $2 }' "/proc/$1/status"; }

# measure_idle N
measure_idle() {
	local pid before woken name
	WAY=byway
	byway_prepare "$1"
	byway_up || bail "$1 sessions do not come up"
	pid=$(byway_supervisor)
	pause 3 # what comes up last has something to say once more
	before=$(ticks "$pid") woken=$(wakeups "$pid")
	pause "$IDLE_S"
	record supervisor "$1 sessions" "ticks in $IDLE_S s" "$(($(ticks "$pid") - before))"
	record supervisor "$1 sessions" "wakeups" "$(($(wakeups "$pid") - woken))"
	for name in VmRSS RssAnon; do
		record supervisor "$1 sessions" "$name, MB" "$(field "/proc/$pid/status" "$name")"
	done
	record supervisor "$1 sessions" "Pss, MB" "$(field "/proc/$pid/smaps_rollup" Pss)"
	byway_down
	settle
}

# ---- the tables ----

# Each metric of byway's as a ratio to openconnect's alone.
beside_bare() {
	jq -r '.results as $r
		| def value($s; $w; $m): [$r[] | select(.section == $s and .way == $w and .metric == $m) | .value][0];
		[$r[] | select(.way == "byway session") | {section, metric}] as $rows
		| "| | ratio |", "| --- | ---: |",
		($rows[] | .section as $s | .metric as $m
			| value($s; "byway session"; $m) as $v | value($s; "openconnect alone"; $m) as $b
			| select($v and $b and $b > 0)
			| "| \($s): \($m) | \($v / $b * 100 | round / 100) |")' "$1"
}

report_session() {
	local name
	jq -r '.machine | "\(.cpu), \(.cores) cores, \(.memory), \(.kernel), \(.byway), \(.date)"' "$1"
	name=$(jq -r '[.results[].section | select(endswith(" sessions"))][0]' "$1")
	section "$name of openconnect: seconds" table "$1" "$name"
	section "Through one session" table "$1" throughput
	section "byway against openconnect alone" beside_bare "$1"
	section "The process that watches over them, idle" table "$1" supervisor
}

main() {
	local n
	case ${1:-} in
	--markdown) report_session "$RESULTS"; return ;;
	--quick) quick ;;
	esac
	world_enter "$@"
	prepare
	VETHS=$(veths)
	measure_lives
	measure_transfers
	for n in "${IDLE_SIZES[@]}"; do measure_idle "$n"; done
	stop_all
	to_json >"$RESULTS" || bail "no results"
	report_session "$RESULTS"
}

main "$@"
