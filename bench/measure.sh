# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Time, and the table of results: results.tsv has a line for each figure, SECTION WAY METRIC VALUE.

now_us() { echo "${EPOCHREALTIME/[.,]/}"; }

# record SECTION WAY METRIC VALUE
record() {
	local IFS=$'\t'
	echo "$*" >>results.tsv
	printf '  %-34s %-24s %s\n' "$2" "$3" "$4" >&2
}

# took_us COMMAND...: sets TOOK to the microseconds it took. A failing command spoils the run.
# shellcheck disable=SC2034 # read by the callers
took_us() {
	local start
	start=$(now_us)
	"$@" >/dev/null || bail "failed: $*"
	TOOK=$(($(now_us) - start))
}

per() { awk -v us="$1" -v n="$2" 'BEGIN { printf "%.3f\n", us / n / 1000 }'; }
median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# repeat N COMMAND...: prints the median milliseconds; "%" in the command stands for the turn's number.
repeat() {
	local n=$1 i
	shift
	for ((i = 1; i <= n; i++)); do
		took_us "${@//%/$i}"
		per "$TOOK" 1
	done | median
}

# Without the trunks to a VPC's further bridges.
veths() { ip -o link show type veth | grep -cv ': t[ud]-'; }
veths_are() { [[ $(veths) == "$1" ]]; }

# The kernel takes namespaces away in the order in which they were given up, in the background: when
# one that is given up now has lost its device, those before it are gone too.
kernel_is_done() {
	WAIT_S=60 wait_for veths_are "$1" || bail "the kernel did not get done"
	ip netns add sentinel
	ip link add sentinel type veth peer name eth0 netns sentinel
	ip netns del sentinel
	WAIT_S=60 wait_for not has_link sentinel || bail "the kernel did not get done"
}
