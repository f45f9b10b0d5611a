# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A container runtime that can do nothing but networks: it keeps results as libcni does.
#
# CONFIG is the configuration of one plugin, as JSON. RESULTS/CONTAINER-IFNAME.json is what ADD said.

CNI=$(realpath "${CNI:?}")
RESULTS=$WORLD/results

# cni COMMAND CONTAINER IFNAME [JQ-FILTER]: of $CONFIG; the filter changes it. What is printed goes
# to standard output.
cni() {
	local result=$RESULTS/$2-$3.json filter=${4:-.}
	mkdir -p "$RESULTS"
	if [[ $1 != ADD && -s $result ]]; then
		filter=".prevResult = \$prev[0] | $filter"
	else
		result=/dev/null
	fi
	jq -c --slurpfile prev "$result" "$filter" <<<"$CONFIG" |
		CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_IFNAME=$3 CNI_NETNS=${NETNS-/run/netns/$2} \
			CNI_PATH=${CNI_PATH:-/usr/lib/cni} CNI_ARGS=${CNI_ARGS:-} "$CNI"
}

# container NAME...: only namespaces.
container() {
	local name
	for name; do must ip netns add "$name"; done
}

# add CONTAINER [IFNAME [FILTER]]
add() {
	mkdir -p "$RESULTS"
	cni ADD "$1" "${2:-eth0}" "${3:-.}" >"$WORLD/add.$1" || {
		cat "$WORLD/add.$1"
		return 1
	}
	mv "$WORLD/add.$1" "$RESULTS/$1-${2:-eth0}.json"
	cat "$RESULTS/$1-${2:-eth0}.json"
}

# del CONTAINER [IFNAME [FILTER]]
del() {
	cni DEL "$1" "${2:-eth0}" "${3:-.}" && rm -f "$RESULTS/$1-${2:-eth0}.json"
}

# bare COMMAND FILTER: what is not about one container.
bare() {
	jq -c "${2:-.}" <<<"$CONFIG" | CNI_COMMAND=$1 CNI_PATH=${CNI_PATH:-/usr/lib/cni} "$CNI"
}

# result FILTER CONTAINER [IFNAME]
result() { jq -r "$1" "$RESULTS/$2-${3:-eth0}.json"; }
address() { result '.ips[0].address | split("/")[0]' "$@"; }

# refused CODE NAME COMMAND...: an error of that number.
refused() {
	local code=$1 name=$2
	shift 2
	exits 1 "$name" "$@"
	is "$name: code" "$(jq -r .code "$TAP_OUTPUT" 2>&1)" "$code"
}
