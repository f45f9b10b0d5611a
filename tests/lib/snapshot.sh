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
SNAPSHOT_IGNORED='/run/byway(/vpc|/state\.db(-wal|-shm|-journal)?|/lock|/boot)?|/run/vpcctl'

# A link's carrier comes and goes before the kernel has told everybody, and its addresses follow: the carrier and
# the state of a link that is up agree in the end. To be asked for the carrier makes Linux tell at once (since 6.8;
# else it takes up to a second for a TAP device and one more for its bridge).
link_is_settled() { # /sys/class/net/LINK
	local carrier state
	read -r carrier <"$1/carrier" || return 0 # it is down
	read -r state <"$1/operstate" || return 0 # it is gone
	[[ $carrier-$state == @(1-up|1-unknown|0-!(up|unknown)) ]]
}

# An address is tentative at first, and its own route follows it.
addresses_are_settled() {
	local address flags routes tentative=0x40 # IFA_F_TENTATIVE
	mapfile -t routes </proc/net/ipv6_route
	while read -r address _ _ _ flags _; do
		((!(16#$flags & tentative))) && [[ ${routes[*]} == *"$address 80 "* ]] || return 1
	done </proc/net/if_inet6
}

links_are_settled() {
	local link settled=true
	for link in /sys/class/net/*; do
		link_is_settled "$link"
	done
	# Once more: some have followed others.
	for link in /sys/class/net/*; do
		link_is_settled "$link" || settled=false
	done
	$settled && addresses_are_settled
}

# A program for bash, in any namespace; it becomes its last command.
SNAPSHOT_NETWORK="$(declare -f addresses_are_settled)"'
for _ in {1..500}; do
	! addresses_are_settled || break
	sleep 0.02
done
printf "%s\n" "link show" "addr show" "route show table all" "rule show" | ip -o -batch -
ip -6 -o rule show
exec nft -s list ruleset'

# Link numbers, peers' numbers, times, and what ipset(8) draws by lot.
snapshot_strip() {
	sed -E 's/^[0-9]+: //; s/@(if[0-9]+|[^ :]+):/:/; s/ link-netns(id)? [^ ]+//
		s/ (valid_lft|preferred_lft|expires) [^ ]+//g; s/ qlen [0-9]+//; s/\\ +/ /g
		s/ (error|age|used|users) -?[0-9]+(sec)?//g; s/ initval 0x[0-9a-f]+//; /dev lo .*metric 256|^anycast|^multicast ff/d'
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

# Of firewalls, what nft does not know of.
snapshot_firewall() {
	local sets
	if [[ -s /proc/net/ip_tables_names ]]; then
		iptables-legacy-save | grep -E '^-A|^:.* (DROP|-) '
	fi
	if [[ -s /proc/net/ip6_tables_names ]]; then
		ip6tables-legacy-save | grep -E '^-A|^:.* (DROP|-) '
	fi
	sets=$(ipset save 2>/dev/null)
	[[ -z $sets ]] || sort <<<"$sets"
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
	done </proc/self/mountinfo
}

# Processes that are not this script's own.
snapshot_processes() {
	local dir comm
	for dir in /proc/[0-9]*; do
		read -r comm <"$dir/comm" || continue
		case $comm in
		bash | ip | nft | sed | awk | mawk | gawk | sort | find | unshare) ;;
		*) echo "process $comm ${dir#/proc/}" ;;
		esac
	done 2>/dev/null
}

snapshot_files() (
	local path
	shopt -s globstar dotglob nullglob # here alone: this is a subshell
	for path in {/run/byway,/run/netns,/etc/netns,/run/vpcctl}{,/**}; do
		[[ $path =~ ^($SNAPSHOT_IGNORED)/?$ || ! (-e $path || -L $path) ]] || echo "$path"
	done
)

# The host's network and what byway may keep about it.
snapshot_host() {
	wait_for links_are_settled
	{
		(eval "$SNAPSHOT_NETWORK")
		snapshot_firewall
		snapshot_sysctls
	} | snapshot_strip | snapshot_without_empty
	{
		snapshot_processes
		snapshot_mounts
		snapshot_files
	} | sort
}

# One more namespace.
snapshot_inside() {
	inside "$1" bash -c "$SNAPSHOT_NETWORK" | snapshot_strip | snapshot_without_empty
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
