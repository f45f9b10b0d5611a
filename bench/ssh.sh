#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ssh.sh [--quick] [--markdown]: the VPN over SSH against what else goes through an SSH server, in one run on
# one machine, in a private world. Progress on stderr, the tables on stdout, everything in
# bench/results-ssh.json. --markdown only prints the tables of the last run.
set -u
BENCH=$(cd "$(dirname "$0")" && pwd)
bail() { echo "bench: $*" >&2; exit 1; }
# shellcheck source=../tests/lib/world.sh
. "$BENCH/../tests/lib/world.sh"
# shellcheck source=../tests/lib/sshd.sh
. "$BENCH/../tests/lib/sshd.sh"
# shellcheck source=measure.sh
. "$BENCH/measure.sh"
# shellcheck source=report.sh
. "$BENCH/report.sh"
# shellcheck source=traffic.sh
. "$BENCH/traffic.sh"
# shellcheck source=ssh_ways.sh
. "$BENCH/ssh_ways.sh"

RESULTS=$BENCH/results-ssh.json
STREAM=$WORLD/stream
DATAGRAM=$WORLD/datagram
AES=aes128-gcm@openssh.com
CHACHA=chacha20-poly1305@openssh.com
WAYS=(bare ssh_l byway ssh_w sshuttle)
NEAR_MS=400
FAR_MS=1800 # time for TCP to find out what the path carries
FAR_ASK_MS=700
IDLE=1000
MANY=8 # streams
LIMIT_S=228 # then only what has begun is measured
BULK=5001 ECHO=5002 UDP=5003
FAR=198.51.100 # .1 here, .2 there

quick() {
	NEAR_MS=200
	FAR_MS=800
	FAR_ASK_MS=500
}

prepare() {
	local cc=(cc -O2 -std=gnu17 -D_GNU_SOURCE -pthread) program
	for program in stream datagram longpath; do
		"${cc[@]}" -o "$program" "$BENCH/$program.c" || bail "$program.c does not compile"
	done
	# So many connections come and go that those in TIME_WAIT would use up the ports; and a window that a long
	# path needs, for everyone.
	for ns in host internet; do
		inside "$ns" sh -c 'cd /proc/sys/net/ipv4
			echo 1024 65535 >ip_local_port_range
			echo 1000 >tcp_max_tw_buckets
			echo 1 >tcp_no_metrics_save
			echo 4096 131072 67108864 >tcp_rmem
			echo 4096 65536 67108864 >tcp_wmem'
	done
	ulimit -n "$(ulimit -Hn)"
	unset SSH_AUTH_SOCK SUDO_UID
	sshd_prepare
	sshd_start bench 22 'PermitTunnel yes' "Ciphers $AES,$CHACHA"
	background bulk internet "$STREAM" serve "$BULK"
	background echo internet "$STREAM" echo "$ECHO"
	background udp internet "$DATAGRAM" serve "$INTERNET4" "$UDP"
	inside internet sh -c 'echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind'
	background udp-tun internet "$DATAGRAM" serve "${TUN4[1]}" "$UDP"
}

# ---- paths ----

near() { SERVER=$SSH_SERVER DURATION_MS=$NEAR_MS ASK_MS=$NEAR_MS RAMP_S=0.1 UDP_RATE=50000 CLIENT_S=4; }

# far MBIT
far() {
	background longpath host "$WORLD/longpath" /run/netns/internet far 100 "$1"
	ip -batch - <<-END
		addr add $FAR.1 peer $FAR.2 dev far
		link set far up txqueuelen 10000
		route replace default via $FAR.2 dev far
	END
	ip -n internet -batch - <<-END
		addr add $FAR.2 peer $FAR.1 dev far
		link set far up txqueuelen 10000
	END
	SERVER=$FAR.2 DURATION_MS=$FAR_MS ASK_MS=$FAR_ASK_MS RAMP_S=0.8 CLIENT_S=6
	(($1)) && UDP_RATE=2000 || UDP_RATE=50000
}
far_end() {
	stop longpath
	ip route replace default via "$SSH_SERVER" dev eth0
}

# ---- what is measured ----

datagram() { inside "$CLIENT_NS" timeout 5 "$DATAGRAM" "$1" "$TARGET" "$UDP" "${@:2}"; }

since_begun_ms() { echo $((($(now_us) - BEGUN_US) / 1000)); }
arrival() {
	[[ -n $TOOL ]] || return 0
	sample "first byte, ms" "$(since_begun_ms)"
	[[ -n $DATAGRAMS ]] || return 0
	WAIT_S=10 wait_for datagram once 300 && sample "first datagram, ms" "$(since_begun_ms)"
}

# spread NAME MEASUREMENT PORT
spread() {
	local answer
	answer=$(client "$2" "$TARGET" "$3" "$ASK_MS" 2>>client.err) || return 1
	sample "$1 p50, ms" "$(per "${answer% *}" 1)"
	sample "$1 p99, ms" "$(per "${answer#* }" 1)"
}

# beside NAME LOAD: round trips while a bulk flow saturates.
beside() {
	local load status
	client "$2" "$TARGET" "$BULK" $((ASK_MS + 1000)) >/dev/null 2>>client.err &
	load=$!
	pause "$RAMP_S"
	spread "$1" ask "$BULK"
	status=$?
	wait "$load"
	return "$status"
}

# datagrams NAME DIRECTION
datagrams() {
	local rate lost
	[[ -n $DATAGRAMS ]] || return 0
	read -r rate lost < <(datagram "$2" "$ASK_MS" "$UDP_RATE") || return 1
	sample "$1 a second of $UDP_RATE" "$rate"
	sample "$1 lost, %" "$lost"
	[[ $GROUP == near* ]] || return 0
	read -r rate lost < <(datagram "$2" "$ASK_MS" 0) || return 1
	sample "$1 a second of all it can" "$rate"
}

# try WHAT COMMAND...: what a way cannot do is "-" in the tables.
try() {
	((SECONDS < LIMIT_S)) || { echo "  $WAY: no time left for $1" >&2; return; }
	"${@:2}" || echo "  $WAY: no $1: $(tail -n 1 client.err)" >&2
}

measure_transfer() {
	try "upload" bulk 1 bulk "1 up"
	try "download" bulk 1 down "1 down"
	[[ $GROUP == near* ]] || return
	try "connections" requests
	try "uploads at once" bulk "$MANY" bulk "$MANY up"
	try "downloads at once" bulk "$MANY" down "$MANY down"
}
measure_answers() {
	try "first bytes" spread "first byte" first "$ECHO"
	[[ $GROUP == slow ]] || try "round trips" spread "ask" ask "$BULK"
	try "round trips beside an upload" beside "ask beside 1 up" bulk
	try "round trips beside a download" beside "ask beside 1 down" down
}

# The path and the cipher do not change all: what a group leaves out keeps the run short.
measure_way() {
	arrival
	[[ $GROUP == *chacha* ]] || measure_answers
	measure_transfer
	[[ $GROUP == *chacha* ]] || try "datagrams up" datagrams up up
	[[ $GROUP == *chacha* ]] || try "datagrams down" datagrams down down
}

METRICS_THROUGHPUT=("1 up, Gbit/s" "1 down, Gbit/s" "$MANY up, Gbit/s" "$MANY down, Gbit/s" "connects/s")
METRICS_LATENCY=("first byte p50, ms" "first byte p99, ms" "ask p50, ms" "ask p99, ms"
	"ask beside 1 up p50, ms" "ask beside 1 up p99, ms" "ask beside 1 down p50, ms"
	"ask beside 1 down p99, ms")
METRICS_COST=("1 up, CPU s/GB" "1 down, CPU s/GB" "CPU us each" "MB resident, idle" "kB more a flow"
	"first byte, ms" "first datagram, ms")
metrics_datagrams() {
	local way
	METRICS_DATAGRAMS=()
	for way in up down; do
		METRICS_DATAGRAMS+=("$way a second of $UDP_RATE" "$way lost, %" "$way a second of all it can")
	done
}

# measure_group GROUP: all ways with CIPHER over the path at hand.
measure_group() {
	GROUP=$1
	rm -rf samples
	for WAY in "${WAYS[@]}"; do
		[[ $GROUP != *chacha* || $WAY != bare ]] || continue
		mkdir -p "samples/$WAY"
		((SECONDS < LIMIT_S)) || { echo "no time left for ${WAY_NAMES[$WAY]}" >&2; continue; }
		echo "$GROUP: ${WAY_NAMES[$WAY]} (after $SECONDS s)" >&2
		[[ $GROUP != *aes* ]] || with_way idle_flows
		with_way measure_way
	done
	metrics_datagrams
	record_section "$GROUP throughput" "${METRICS_THROUGHPUT[@]}"
	record_section "$GROUP latency" "${METRICS_LATENCY[@]}"
	record_section "$GROUP datagrams" "${METRICS_DATAGRAMS[@]}"
	record_section "$GROUP cost" "${METRICS_COST[@]}"
}

measure_all() {
	near
	CIPHER=$AES measure_group "near aes128-gcm"
	CIPHER=$CHACHA measure_group "near chacha20-poly1305"
	far 20
	CIPHER=$AES measure_group "slow"
	far_end
	far 0
	CIPHER=$AES measure_group "far"
	far_end
}

# ---- the tables ----

declare -A GROUP_NAMES=(
	["near aes128-gcm"]='a cable, aes128-gcm'
	["near chacha20-poly1305"]='a cable, chacha20-poly1305'
	["far"]='100 ms, aes128-gcm'
	["slow"]='100 ms and 20 Mbit/s, aes128-gcm'
)

# Throughput as ratios to ssh -L in the same run.
beside_ssh() {
	jq -r --arg group "$2" '[.results[] | select(.section | startswith($group + " "))] as $r
		| def value($w; $m): [$r[] | select(.way == $w and .metric == $m) | .value][0];
		def ratio($w; $m): value($w; $m) as $v | value("ssh -L"; $m) as $l
			| if $v and $l then $v / $l * 100 | round / 100 | tostring else "-" end;
		["1 up, Gbit/s", "1 down, Gbit/s", "8 up, Gbit/s", "8 down, Gbit/s", "connects/s",
			"first byte p50, ms", "ask p50, ms", "ask beside 1 up p99, ms",
			"ask beside 1 down p99, ms", "1 up, CPU s/GB", "1 down, CPU s/GB"]
		| map(select(value("ssh -L"; .))) as $metrics
		| ([""] + ($metrics | map(sub(" s/GB$"; "") | sub(", (Gbit/s|ms)$|/s$"; "")))),
		["---", ($metrics[] | "---:")],
		(["ssh -w", "sshuttle", "byway ssh"][] as $w | [$w, ($metrics[] as $m | ratio($w; $m))])
		| "| " + join(" | ") + " |"' "$1"
}

report_ssh() {
	local group
	jq -r '.machine | "\(.cpu), \(.cores) cores, \(.memory), \(.kernel), \(.byway), \(.date)"' "$1"
	for group in "near aes128-gcm" "near chacha20-poly1305" far slow; do
		jq -e --arg group "$group " 'any(.results[]; .section | startswith($group))' "$1" >/dev/null || continue
		section "Over SSH (${GROUP_NAMES[$group]}): throughput" table "$1" "$group throughput"
		[[ $group == *chacha* ]] || {
			section "Over SSH (${GROUP_NAMES[$group]}): latency" table "$1" "$group latency"
			section "Over SSH (${GROUP_NAMES[$group]}): datagrams" table "$1" "$group datagrams"
		}
		section "Over SSH (${GROUP_NAMES[$group]}): what the tool costs" table "$1" "$group cost"
		section "Over SSH (${GROUP_NAMES[$group]}): ratios to ssh -L" beside_ssh "$1" "$group"
	done
}

main() {
	case ${1:-} in
	--markdown) report_ssh "$RESULTS"; return ;;
	--quick) quick ;;
	esac
	world_enter "$@"
	prepare
	measure_all
	stop_all
	to_json >"$RESULTS" || bail "no results"
	report_ssh "$RESULTS"
}

main "$@"
