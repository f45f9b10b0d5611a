#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What leaves the host in each state of a tunnel, seen by an observer on the far side: the host's own
# packets, and those that it forwards for a guest. Nothing that must not leave does; the same
# probes are seen while there is no tunnel, so that each would have been seen.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=/dev/null
. "$WORLD_TREE/tests/lib/observer.sh"

CAPTURE=$(realpath "${CAPTURE:-$WORLD_TREE/build/tests/lib/capture}")
RESOLVER4=203.0.113.53 RESOLVER6=2001:db8:99::53
UPSTREAM4=203.0.113.99 UPSTREAM6=2001:db8:99::99
EXCLUDED4=203.0.113.70 EXCLUDED6=2001:db8:99:1::70
GUEST4=10.5.0.2
PUBLISHED4=10.6.0.2 # the guest's, too, and not among the excluded
USER_EXCLUDED=4242
GROUP_EXCLUDED=4343
BYPASS=0x200000 INBOUND=0x400000
LEFT=7004 # the port of connections that outlive who made them: nobody else asks for it
# A hundred probes and more wait for what must not come.
# shellcheck disable=SC2034 # of world.sh
RESTRAINT=150

OPTIONS=(--address 10.99.0.1/30 --address fd99::1/64 --upstream "$UPSTREAM4" --upstream "$UPSTREAM6"
	--resolver "$RESOLVER4" --resolver "$RESOLVER6" --exclude 203.0.113.64/28
	--exclude 203.0.113.70/32 --exclude 2001:db8:99:1::/64 --exclude 10.5.0.0/24 --exclude fd05::/64
	--uid "$USER_EXCLUDED")

lay_out() {
	local address
	for address in "$RESOLVER4" "$UPSTREAM4" "$EXCLUDED4"; do
		must ip -n internet addr add "$address/32" dev lo
	done
	for address in "$RESOLVER6" "$UPSTREAM6" "$EXCLUDED6"; do
		must ip -n internet addr add "$address/128" dev lo nodad
	done
	guest_behind_host
	ip route add 10.6.0.2 via 10.5.0.2
	ip -n guest addr add 10.6.0.2/32 dev lo
	# Every refusal is to be seen, not only the first few a second.
	echo 0 >/proc/sys/net/ipv4/icmp_ratelimit
	echo 0 >/proc/sys/net/ipv6/icmp/ratelimit
	echo_server internet 53
	echo_server internet 443
	echo_server internet "$LEFT"
	echo_server host 7002
	echo_server guest 7003
	wait_for reaches guest "$INTERNET6" 443 || bail "the guest reaches nobody"
	# A published port, as container managers make it.
	nft -f - <<-END
		table ip published {
			chain prerouting {
				type nat hook prerouting priority dstnat;
				ip daddr $HOST4 tcp dport 8080 dnat to $PUBLISHED4:7003
				ip daddr $HOST4 udp dport 8080 dnat to $PUBLISHED4:7003
			}
		}
	END
	start_observer
}

# ---- probes ----

LIMIT=$RESTRAINT # of the probe at hand, in ms

# send_probe COMMAND...: between two controls; FROM is the first of them.
send_probe() {
	control
	FROM=$CONTROLS
	"$@" >"$WORLD/probe.out" 2>&1
	PROBE_STATUS=$?
	control
}

# leaves PACKET COMMAND...: a line of the observer, and what should cause it.
leaves() {
	local _
	for _ in {1..5}; do # it may be lost on the way to the observer
		LIMIT=$PATIENCE send_probe "${@:2}"
		! WAIT_S=2 wait_for has_seen "$FROM" "$1" || return 0
	done
	return 1
}

# stays PACKET COMMAND...: the observer has seen what was sent afterwards, but not this.
stays() {
	send_probe "${@:2}"
	not has_seen "$FROM" "$1"
}

tcp() { inside "$1" "$PROBE" tcp "$2" "$3" "$LIMIT"; }
udp() { inside "$1" "$PROBE" udp "$2" "$3" "$LIMIT"; }
echo_to() { echo_request "$1" "$2" "$LIMIT"; }
as_user() { setpriv --reuid "$USER_EXCLUDED" --clear-groups "$@"; }
as_user_probe() { as_user "$PROBE" "$@" "$LIMIT"; }
dial_marked() { "$CAPTURE" dial "$1" "$2" "$3" "$LIMIT"; }

# Each probe: a class, a packet, a command. Classes: capture (TCP that belongs into the tunnel), refuse
# (nothing that a tunnel carries), pass.
probes() {
	local ns
	for ns in host guest; do
		cat <<-END
			capture|tcp $INTERNET4 443|tcp $ns $INTERNET4 443
			capture|tcp $INTERNET6 443|tcp $ns $INTERNET6 443
			capture|tcp $INTERNET4 53|tcp $ns $INTERNET4 53
			refuse|udp $INTERNET4 53|udp $ns $INTERNET4 53
			refuse|udp $INTERNET6 53|udp $ns $INTERNET6 53
			refuse|udp $INTERNET4 443|udp $ns $INTERNET4 443
			refuse|udp $INTERNET6 443|udp $ns $INTERNET6 443
			refuse|udp $RESOLVER4 443|udp $ns $RESOLVER4 443
			refuse|udp $UPSTREAM4 443|udp $ns $UPSTREAM4 443
			refuse|icmp $INTERNET4 8|echo_to $ns $INTERNET4
			refuse|icmp $INTERNET6 128|echo_to $ns $INTERNET6
			pass|udp $RESOLVER4 53|udp $ns $RESOLVER4 53
			pass|udp $RESOLVER6 53|udp $ns $RESOLVER6 53
			pass|tcp $RESOLVER4 53|tcp $ns $RESOLVER4 53
			pass|tcp $UPSTREAM4 443|tcp $ns $UPSTREAM4 443
			pass|tcp $UPSTREAM6 443|tcp $ns $UPSTREAM6 443
			pass|tcp $EXCLUDED4 443|tcp $ns $EXCLUDED4 443
			pass|tcp $EXCLUDED6 443|tcp $ns $EXCLUDED6 443
			pass|udp $EXCLUDED4 443|udp $ns $EXCLUDED4 443
			pass|icmp $EXCLUDED6 128|echo_to $ns $EXCLUDED6
		END
	done
	cat <<-END
		pass|tcp $INTERNET4 443|as_user_probe tcp $INTERNET4 443
		pass|tcp $INTERNET6 443|as_user_probe tcp $INTERNET6 443
		pass|udp $INTERNET4 443|as_user_probe udp $INTERNET4 443
		pass|tcp $UPSTREAM4 443|dial_marked $BYPASS $UPSTREAM4 443
		bypass|tcp $INTERNET4 443|dial_marked $BYPASS $INTERNET4 443
		capture|tcp $INTERNET4 443|dial_marked $INBOUND $INTERNET4 443
	END
}

TUN_FROM=1 # line of tun.out where the packets of the probe at hand may start
tun_mark() { [[ ! -e $WORLD/tun.out ]] || TUN_FROM=$(($(wc -l <"$WORLD/tun.out") + 1)); }
tun_had() { tail -n "+$TUN_FROM" "$WORLD/tun.out" | grep -qx -- "$1"; }

WRONG= # what is wrong in this state, line by line
wrong() { WRONG+="$*"$'\n'; }

# expected STATE CLASS COMMAND: what is to become of it: answered (by the far side), refused (by an error, or
# by the TUN) or lost.
expected() {
	case $1/$2 in
	open/* | */pass | up-open/refuse | up-open/bypass) echo answered ;;
	up/capture | up-open/capture) echo refused ;;
	*/refuse) if [[ $3 == echo_to* ]]; then echo lost; else echo refused; fi ;;
	*) echo lost ;;
	esac
}

declare -A STATUS_OF=([answered]=0 [refused]=2)

# judge STATE CLASS PACKET COMMAND: one probe.
judge() {
	local state=$1 class=$2 packet=$3 command=$4 fate into_tun=no
	fate=$(expected "$state" "$class" "$command")
	[[ $state/$class != up*/capture ]] || into_tun=yes
	tun_mark
	if [[ $fate == answered ]]; then
		# shellcheck disable=SC2086 # a command and its arguments
		leaves "$packet" $command || wrong "$command: $packet did not leave"
	elif [[ $fate == refused ]]; then
		# shellcheck disable=SC2086
		LIMIT=$PATIENCE stays "$packet" $command || wrong "$command: $packet LEAKED"
	else
		# shellcheck disable=SC2086
		stays "$packet" $command || wrong "$command: $packet LEAKED"
	fi
	[[ $PROBE_STATUS == "${STATUS_OF[$fate]:-$PROBE_STATUS}" ]] ||
		wrong "$command: not $fate, status $PROBE_STATUS"
	if [[ $into_tun == yes ]]; then
		wait_for tun_had "$packet" || wrong "$command: $packet is not in the TUN"
	elif [[ -e $WORLD/tun.out ]] && tun_had "$packet"; then
		wrong "$command: $packet in the TUN"
	fi
}

# matrix STATE NAME: every probe. States: open, blocked, up, up-open (without a kill switch).
matrix() {
	local class packet command
	WRONG=
	while IFS='|' read -r -u 9 class packet command; do
		judge "$1" "$class" "$packet" "$command" </dev/null
	done 9< <(probes)
	if [[ -z $WRONG ]]; then pass "$2"; else fail "$2" "$WRONG"; fi
}

# What comes from outside: the host's own services, a published port of the guest, errors.
servers() {
	can internet "$HOST4" 7002 "$1"
	can internet "$HOST6" 7002 "$1"
	can internet "udp:$HOST4" 7002 "$1"
	can internet "ping:$HOST6" 0 "$1"
	can internet "$HOST4" 8080 "published, $1"
	can internet "udp:$HOST4" 8080 "published, $1"
	can guest 10.5.0.1 7002 "$1"
	can host "$GUEST4" 7003 "$1"
	can host 127.0.0.1 7002 "$1"
	can host "$HOST4" 7002 "$1"
	run inside internet "$PROBE" udp "$HOST4" 9 "$PATIENCE"
	is "a closed port answers so, $1" "$TAP_STATUS" 2
	ip neigh flush dev eth0
	ip -6 neigh flush dev eth0
	can host "$UPSTREAM6" 443 "neighbour discovery, $1"
}

refused_by_icmp() {
	is "the host's UDP is refused by ICMP" "$("$CAPTURE" refusal "$INTERNET4" 443)" "No route to host"
	is "in IPv6, too" "$("$CAPTURE" refusal "$INTERNET6" 443)" "Permission denied"
	run inside guest ping -n -c 1 -w 15 "$INTERNET4"
	like "an echo request is answered" "$(out)" 'From 10\.5\.0\.1 .*([Ff]iltered|[Pp]rohibited)'
	run inside guest ping -n -c 1 -w 15 "$INTERNET6"
	like "in IPv6 too" "$(out)" 'From fd05::1 .*([Ff]iltered|[Pp]rohibited)'
}

# A lease is renewed by unicast from a socket; whoever may not bind such a port may not send so.
dhcp_passes() {
	check "the host's DHCP passes, $1" leaves "udp $INTERNET4 67" "$CAPTURE" udp-from 68 "$INTERNET4" 67
	check "DHCPv6 too" leaves "udp $INTERNET6 547" "$CAPTURE" udp-from 546 "$INTERNET6" 547
	check "but not from elsewhere" stays "udp $INTERNET4 67" "$CAPTURE" udp-from 6868 "$INTERNET4" 67
	check "nor to elsewhere" stays "udp $INTERNET4 443" "$CAPTURE" udp-from 68 "$INTERNET4" 443
}

# The kernel remembers the first one's datagram.
port_again() {
	check "an excluded user's datagram leaves, $1" leaves "udp $INTERNET4 444" as_user "$CAPTURE" udp-from 6869 "$INTERNET4" 444
	check "another's from the same port does not" stays "udp $INTERNET4 444" "$CAPTURE" udp-from 6869 "$INTERNET4" 444
}

hold() { background tun host "$CAPTURE" hold byway0 "$1"; }
kill_holder() {
	kill -9 "${PIDS[tun]}"
	wait "${PIDS[tun]}" 2>/dev/null
	unset "PIDS[tun]"
	wait_gone ip link show byway0
	rm -f "$WORLD/tun.out"
}

# Another program that knows no bits of others, between our chains.
overwrite_marks() {
	nft -f - <<-'END'
		table inet rude {
			chain output { type filter hook output priority -149; meta mark set 0; }
			chain prerouting { type filter hook prerouting priority -149; meta mark set 0; }
		}
	END
}

# ---- states ----

test_blocked() {
	check "block" "$CAPTURE" block "${OPTIONS[@]}"
	matrix blocked "blocked: what leaves"
	servers blocked
	dhcp_passes blocked
	port_again blocked
	refused_by_icmp
	check "block again, with other addresses" "$CAPTURE" block "${OPTIONS[@]}" --exclude 198.51.100.0/24
	check "and back" "$CAPTURE" block "${OPTIONS[@]}"
}

test_up() {
	for key in all eth0 guest0; do echo 1 >"/proc/sys/net/ipv4/conf/$key/rp_filter"; done
	hold 2
	check "up" "$CAPTURE" up "${OPTIONS[@]}"
	matrix up "up: what leaves, and what is in the TUN"
	servers up
	tun_mark
	check "what an excluded user leaves behind goes its way, too" leaves "tcp $INTERNET4 $LEFT" \
		as_user "$CAPTURE" leave "$INTERNET4" "$LEFT"
	check "and not into the TUN" not tun_had "tcp $INTERNET4 $LEFT"
	dhcp_passes up
	port_again up
	refused_by_icmp
	ip rule del priority 9800
	ip -6 rule del priority 9800
	matrix blocked "up, without its rules: nothing leaves"
	check "block repairs" "$CAPTURE" block "${OPTIONS[@]}"
	matrix up "up again"
	overwrite_marks
	matrix blocked "up, with the marks overwritten: nothing leaves"
	nft delete table inet rude
}

test_killed() {
	kill_holder
	matrix blocked "killed with -9: what leaves"
	fails "marked packets have no route" ip route get "$INTERNET4" mark 0x100000
	fails "in IPv6 either" ip -6 route get "$INTERNET6" mark 0x100000
	servers killed
	hold 1
	check "up anew" "$CAPTURE" up "${OPTIONS[@]}"
	matrix up "up anew: what leaves, and what is in the TUN"
	kill_holder
}

test_down() {
	check "down" "$CAPTURE" down
	for key in all eth0 guest0; do echo 0 >"/proc/sys/net/ipv4/conf/$key/rp_filter"; done
	check "the network is as before" same_as "$WORLD/before"
	check "down again" "$CAPTURE" down
	matrix open "down: everything leaves"
}

test_without_kill_switch() {
	check "block without a kill switch" "$CAPTURE" block "${OPTIONS[@]}" --no-kill-switch
	matrix open "without a kill switch, before: everything leaves"
	hold 1
	check "up without a kill switch" "$CAPTURE" up "${OPTIONS[@]}" --no-kill-switch
	matrix up-open "without a kill switch, up: what leaves"
	servers "without a kill switch"
	kill_holder
	matrix open "without a kill switch, killed: everything leaves"
	check "down" "$CAPTURE" down
	check "the network is as before" same_as "$WORLD/before"
}

# Port 53 into the TUN, whoever it is for; only some networks captured.
test_dns_tunnel() {
	local packet ns
	check "block" "$CAPTURE" block "${OPTIONS[@]}" --dns-tunnel
	hold 1
	check "up" "$CAPTURE" up "${OPTIONS[@]}" --dns-tunnel
	for packet in "$RESOLVER4" "$RESOLVER6" "$EXCLUDED4" "$INTERNET6"; do
		for ns in host guest; do
			tun_mark
			check "DNS of the $ns to $packet does not leave" stays "udp $packet 53" udp "$ns" "$packet" 53
			check "but goes into the TUN" wait_for tun_had "udp $packet 53"
		done
	done
	check "the resolver's other ports are captured" stays "tcp $RESOLVER4 443" tcp host "$RESOLVER4" 443
	overwrite_marks
	for ns in host guest; do
		check "DNS of the $ns to the excluded does not leave with the mark overwritten" \
			stays "udp $EXCLUDED4 53" udp "$ns" "$EXCLUDED4" 53
	done
	nft delete table inet rude
	kill_holder
	check "nor without the TUN" stays "udp $EXCLUDED4 53" udp host "$EXCLUDED4" 53
	ip rule del priority 9800
	check "nor without the rule" stays "udp $EXCLUDED4 53" udp host "$EXCLUDED4" 53
	check "nor the guest's" stays "udp $EXCLUDED4 53" udp guest "$EXCLUDED4" 53
	must "$CAPTURE" down
}

# A tunnel that carries all, and a group whose sockets are let go.
test_datagrams() {
	local packet ns options=("${OPTIONS[@]}" --datagrams --gid "$GROUP_EXCLUDED")
	check "block, for a tunnel that carries datagrams" "$CAPTURE" block "${options[@]}"
	hold 1
	check "up" "$CAPTURE" up "${options[@]}"
	for ns in host guest; do
		for packet in "udp $INTERNET4 443" "udp $INTERNET6 443" "udp $UPSTREAM4 443" \
			"icmp $INTERNET4 8" "icmp $INTERNET6 128" "tcp $INTERNET4 443"; do
			tun_mark
			check "$packet of the $ns does not leave" stays "$packet" probe_for "$ns" "$packet"
			check "but goes into the TUN" wait_for tun_had "$packet"
		done
		check "the resolver is asked as ever" leaves "udp $RESOLVER4 53" udp "$ns" "$RESOLVER4" 53
		check "so are the excluded" leaves "udp $EXCLUDED6 443" udp "$ns" "$EXCLUDED6" 443
	done
	for packet in "tcp $INTERNET4 443" "udp $INTERNET6 443"; do
		tun_mark
		check "$packet of the excluded group leaves" leaves "$packet" as_group probe_for host "$packet"
		fails "and is not in the TUN" tun_had "$packet"
	done
	dhcp_passes "datagrams"
	port_again "datagrams"
	kill_holder
	for packet in "udp $INTERNET4 443" "icmp $INTERNET6 128"; do
		check "without the TUN, $packet does not leave" stays "$packet" probe_for host "$packet"
	done
	check "the excluded group's does" leaves "tcp $INTERNET4 443" as_group probe_for host "tcp $INTERNET4 443"
	must "$CAPTURE" down
	check "the network is as before" same_as "$WORLD/before"
}
# probe_for NS "PROTOCOL ADDRESS PORT": sends such a packet.
probe_for() {
	local proto addr port
	read -r proto addr port <<<"$2"
	case $proto in
	icmp) echo_to "$1" "$addr" ;;
	*) "$proto" "$1" "$addr" "$port" ;;
	esac
}
as_group() (
	export -f probe_for tcp udp inside
	export LIMIT
	setpriv --regid "$GROUP_EXCLUDED" --clear-groups bash -c '"$@"' - "$@"
)

test_include() {
	check "block, with a list of the included" "$CAPTURE" block --include 203.0.113.0/27 --include 203.0.113.10/32
	check "what is included does not leave" stays "tcp $INTERNET4 443" tcp host "$INTERNET4" 443
	check "nor by UDP" stays "udp $INTERNET4 443" udp guest "$INTERNET4" 443
	check "what is not does" leaves "udp $RESOLVER4 443" udp host "$RESOLVER4" 443
	check "so does the other family" leaves "tcp $INTERNET6 443" tcp guest "$INTERNET6" 443
	must "$CAPTURE" down
	check "the network is as before" same_as "$WORLD/before"
}

test_dry_run() {
	check "a dry run" "$CAPTURE" block "${OPTIONS[@]}" --dry-run
	says "says what it would do" 'blackhole default table 9800'
	check "of up" "$CAPTURE" up "${OPTIONS[@]}" --dry-run
	says "says it too" 'route add default dev byway0 table 9800'
	check "changes nothing" same_as "$WORLD/before"
}

lay_out
snapshot_host >"$WORLD/before"
test_dry_run
matrix open "no tunnel: everything leaves"
test_blocked
test_up
test_killed
test_down
test_without_kill_switch
test_dns_tunnel
test_datagrams
test_include
done_testing
