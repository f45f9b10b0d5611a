# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What a machine's network looks like, as text that is the same whenever the network is the same:
# without counters, ages, interface numbers and identifiers. Cheap enough (some 20 ms) to be taken hundreds of
# times in one test.

SNAPSHOT_SYSCTLS=(
	ipv4/ip_forward ipv4/conf/{all,default,eth0}/{forwarding,rp_filter,send_redirects,accept_redirects}
	ipv6/conf/{all,default,eth0}/{forwarding,accept_ra,disable_ipv6}
	bridge/bridge-nf-call-{iptables,ip6tables,arptables}
)

# byway's own database may outlive its last object (it remembers addresses); what it describes may not.
SNAPSHOT_IGNORED='^/run/byway(/vpc|/state\.db(-wal|-shm|-journal)?|/lock|/boot)?$|^/run/vpcctl$'

# A link's carrier comes and goes before the kernel has told everybody, and its addresses follow: a link
# that is up shows one of the two flags in the end.
links_are_settled() {
	! ip -o link show | grep -E '<([^>]*,)?UP[,>]' |
		awk '/NO-CARRIER/ == /LOWER_UP/ { unsettled = 1 } END { exit !unsettled }' &&
		! ip -o addr show | grep -q tentative
}

snapshot_links() {
	printf '%s\n' 'link show' 'addr show' 'route show table all' | ip -o -batch -
	printf '%s\n' 'rule show' | ip -o -batch -
	printf '%s\n' 'rule show' | ip -6 -o -batch -
}

# Link numbers, peers' numbers, times.
snapshot_strip() {
	sed -E 's/^[0-9]+: //; s/@(if[0-9]+|[^ :]+):/:/; s/ link-netns(id)? [^ ]+//
		s/ (valid_lft|preferred_lft|expires) [^ ]+//g; s/ qlen [0-9]+//; s/\\ +/ /g
		s/ (error|age|used|users) -?[0-9]+(sec)?//g; /dev lo .*metric 256|^anycast|^multicast ff/d'
}

# iptables-nft leaves its empty base chains behind, and nobody can tell them from none.
snapshot_without_empty() {
	awk '
	/^# Warning/ || /^$/ { next }
	/^table / { table = $0; n = 0; next }
	/^\t+chain .*\{$/ { chain = $0; m = 0; next }
	/^\t+type .* policy accept;$/ && chain && !m { base = $0; next }
	/^\t+\}$/ && chain {
		if (base && !m) { chain = base = ""; next }
		line($0); chain = base = ""; next
	}
	/^\}$/ { if (n) print; table = ""; next }
	{ line($0) }
	function line(l) {
		if (table) { if (!n++) print table }
		if (chain && !m++) { print chain; if (base) print base }
		print l
	}'
}

snapshot_firewall() {
	nft -s list ruleset | snapshot_without_empty
	if [[ -s /proc/net/ip_tables_names ]]; then
		iptables-legacy-save | grep -E '^-A|^:.* (DROP|-) '
	fi
	if [[ -s /proc/net/ip6_tables_names ]]; then
		ip6tables-legacy-save | grep -E '^-A|^:.* (DROP|-) '
	fi
	ipset save 2>/dev/null
}

snapshot_sysctls() {
	local key value
	for key in "${SNAPSHOT_SYSCTLS[@]}"; do
		[[ -e /proc/sys/net/$key ]] || continue
		read -r value <"/proc/sys/net/$key"
		echo "$key = $value"
	done
}

snapshot_mounts() {
	local point rest
	while read -r _ _ _ _ point rest; do
		echo "mount $point ${rest#* - }"
	done </proc/self/mountinfo | sort
}

# Processes that are not this script's own.
snapshot_processes() {
	local dir comm
	for dir in /proc/[0-9]*; do
		read -r comm <"$dir/comm" || continue
		case $comm in
		bash | ip | nft | sed | awk | mawk | gawk | sort | find | unshare) ;;
		*) echo "process ${dir#/proc/} $comm" ;;
		esac
	done 2>/dev/null
}

snapshot_files() {
	find /run/byway /run/netns /etc/netns /run/vpcctl -printf '%p\n' 2>/dev/null |
		grep -Ev "$SNAPSHOT_IGNORED" | sort
}

# The host's network and what byway may keep about it.
snapshot_host() {
	wait_for links_are_settled
	snapshot_links | snapshot_strip
	snapshot_firewall
	snapshot_sysctls
	snapshot_mounts
	snapshot_processes
	snapshot_files
}

# One more namespace.
snapshot_inside() {
	inside "$1" bash -c "$(declare -f snapshot_links); snapshot_links; nft -s list ruleset" |
		snapshot_strip | snapshot_without_empty
}

# snapshot FILE: the host and every namespace there is.
snapshot() {
	local ns
	{
		snapshot_host
		for ns in /run/netns/*; do
			[[ -e $ns ]] || continue
			echo "== ${ns#/run/netns/}"
			snapshot_inside "${ns#/run/netns/}"
		done
	} >"$1"
}

snapshot_same() {
	snapshot_host >"$1.now"
	cmp -s "$1" "$1.now"
}

snapshot_same_all() {
	snapshot "$1.now"
	cmp -s "$1" "$1.now"
}

# same_as FILE / all_same_as FILE: the kernel takes links and namespaces away a moment after it said
# it would, so a difference must last to count. Prints the difference.
same_as() {
	snapshot_same "$1" || WAIT_S=${WAIT_S:-20} wait_for snapshot_same "$1" && return 0
	diff -U0 "$1" "$1.now" | grep -E '^[-+][^-+]' | head -n 40
	return 1
}

all_same_as() {
	WAIT_S=${WAIT_S:-20} wait_for snapshot_same_all "$1" && return 0
	diff -U0 "$1" "$1.now" | grep -E '^[-+][^-+]' | head -n 40
	return 1
}
