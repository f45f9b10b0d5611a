# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What is sent by a way (tunnels.sh, ssh_ways.sh), and what that costs. Who sources this has STREAM, the servers'
# ports BULK and ECHO, DURATION_MS, and the numbers MANY and IDLE of connections at once.

CLIENT_S=15 # no measurement takes longer

# ---- what a client does ----

client() {
	if [[ -n $VIA ]]; then
		STREAM_VIA=$VIA inside "$CLIENT_NS" timeout "$CLIENT_S" "$STREAM" "$@"
	else
		inside "$CLIENT_NS" timeout "$CLIENT_S" "$STREAM" "$@"
	fi
}

# at_once N MEASUREMENT PORT: the sums of the columns that N clients print.
at_once() {
	local i pids=()
	rm -f at_once.*
	for ((i = 0; i < $1; i++)); do
		client "$2" "$TARGET" "$3" "$DURATION_MS" >"at_once.$i" 2>>client.err &
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
		awk '{ sum += $1 } END { printf "%.0f\n", sum }'
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
	answer=$(client ask "$TARGET" "$BULK" "$DURATION_MS") || return 1
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
	client hold "$TARGET" "$ECHO" "$IDLE" <hold.in >hold.out 2>>client.err {fd}>&- &
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

# with_way COMMAND: made for it, taken away after it; BEGUN_US is when it was asked for.
with_way() {
	reset_way
	: >client.err
	# shellcheck disable=SC2034 # for COMMAND
	BEGUN_US=$(now_us)
	if "${WAY}_begin" && wait_for client times "$TARGET" "$ECHO" 1; then
		"$@"
	else
		echo "  $WAY does not start: $(tail -n 3 "$WAY.out" 2>/dev/null)" >&2
	fi
	"${WAY}_end"
}

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
