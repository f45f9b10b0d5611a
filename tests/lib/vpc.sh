# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the tests, the demonstration and the benchmark ask about VPCs; not by asking byway, but ip(8).

# The device by which a namespace is joined to its VPC, and its addresses.
dev_of() { ip -n "$1" -j link show | jq -r '[.[] | select(.ifname != "lo")][0].ifname'; }
global_address() {
	ip -n "$1" -j addr show | jq -r --arg family "$2" \
		'[.[] | select(.ifname != "lo") | .addr_info[]
		  | select(.family == $family and .scope == "global")][0].local // empty'
}
addr4() { global_address "$1" inet; }
addr6() { global_address "$1" inet6; }
mac_in() { ip -n "$1" -j link show | jq -r '[.[] | select(.ifname != "lo")][0].address'; }

# The bridge port on the host that leads to a namespace.
port_of() {
	local index
	index=$(ip -n "$1" -j link show | jq -r '[.[] | select(.ifname != "lo")][0].link_index')
	ip -j link show | jq -r --argjson index "$index" '.[] | select(.ifindex == $index) | .ifname'
}

has_netns() { [[ -e /run/netns/$1 ]]; }
has_link() { ip link show dev "$1"; }

# policy INGRESS-RULES EGRESS-RULES: a policy file's text from rules written as
# "allow tcp 80 10.0.0.0/8", one a line; "-" for no port, protocol or address.
policy_rules() {
	jq -Rn --arg peer "$1" '[inputs | select(length > 0) | split(" ")
		| {action: .[0], protocol: .[1], port: .[2], ($peer): .[3]}
		| with_entries(select(.value != null and .value != "-"))
		| if .port then .port = (.port | tonumber? // .) else . end]'
}
policy() {
	jq -n --argjson in "$(policy_rules source <<<"$1")" \
		--argjson out "$(policy_rules destination <<<"${2:-}")" \
		'{version: "1.0", ingress: $in, egress: $out}'
}
