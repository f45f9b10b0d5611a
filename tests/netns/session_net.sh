#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What is made for sessions on the host, without openconnect: who reaches whom, whose address is
# whose, what a command inside sees, and that nothing is left of it, whatever happened in between.
set -u
SESSION_NET=$(realpath "${SESSION_NET:?}")
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

session() { "$SESSION_NET" "$@"; }
row() { session list | awk -v name="$1" -v column="$2" '$1 == name { print $column }'; }
addr_of() { row "$1" 2; }
veth_of() { row "$1" 3; }
inner_veth_of() { row "$1" 4; }

# ---- who reaches whom ----

lay_out() {
	must by vpc create v 10.1.0.0/16
	must by subnet add v a 10.1.1.0/24 --type public
	must by nat enable v
	must session prepare one two part:split
	web_server internet 80
	echo_server internet 7
	echo_server host 7
	echo_server v-a 7
	echo_server one.out 7
	echo_server part 7
}

test_way_out() {
	local name
	for name in one.out two.out part; do
		is "$name goes out, masqueraded" "$(get "$name" "http://$INTERNET4/")" \
			"hello from internet to $HOST4"
		can "$name" "ping:$INTERNET4"
	done
	is "the host can begin" "$(ip route get "$(addr_of one)" | grep -o "dev [^ ]*")" \
		"dev $(veth_of one)"
	can host "$(addr_of one)" 7
	is "the pair has the MTU of the way out" \
		"$(ip -n one.out -j link show | jq -c '[.[] | select(.ifname != "lo").mtu]')" \
		"$(ip -j link show eth0 | jq -c '[.[].mtu]')"
	is "and no IPv6 address" "$(ip -n one.out -6 addr show scope link; ip -6 addr show dev "$(veth_of one)")" ""
}

test_nothing_inside() {
	is "in full mode, there is a loopback device inside" \
		"$(ip -n one -j link show | jq -r '[.[].ifname] | join(" ")')" lo
	is "and no route" "$(ip -n one route show; ip -n one -6 route show)" ""
	cannot one "$INTERNET4" 80
	cannot one "$(addr_of one)" 7
}

test_apart() {
	cannot one.out "$(addr_of part)" 7 "two sessions"
	cannot part "$(addr_of one)" 7 "two sessions"
	cannot two.out "ping:$(addr_of one)" 0 "two sessions"
	cannot one.out "$(addr4 v-a)" 7 "a VPC"
	cannot part "ping:$(addr4 v-a)" 0 "a VPC"
	cannot v-a "$(addr_of one)" 7 "a session"
	cannot v-a "ping:$(addr_of part)" 0 "a session"
	cannot one.out "$HOST4" 7 "the host"
	cannot part "udp:$HOST4" 7 "the host"
	cannot part "ping:$HOST4" 0 "the host"
	cannot part 10.1.0.1 7 "a VPC's gateway"
	can internet "$HOST4" 7 "the service is there"
	cannot internet "$(addr_of one)" 7 "from outside"
	cannot internet "ping:$(addr_of part)" 0 "from outside"
	can v-a "$INTERNET4" 7 "the VPC's own way out"
}

# Another network of the host's is not behind the session's interface.
test_other_interface() {
	ip netns add elsewhere
	ip link add other type veth peer name eth0 netns elsewhere
	ip addr add 198.51.100.1/24 dev other && ip link set other up
	ip -n elsewhere addr add 198.51.100.2/24 dev eth0 && ip -n elsewhere link set eth0 up
	ip -n elsewhere route add default via 198.51.100.1
	echo_server elsewhere 7
	can host 198.51.100.2 7
	cannot part 198.51.100.2 7 "by another interface"
	cannot elsewhere "$(addr_of part)" 7
	stop echo-elsewhere-7
	ip netns del elsewhere
}

send() {
	must inside part "$PROBE" send-udp "$(inner_veth_of part)" \
		"$(link_mac part "$(inner_veth_of part)")" "$(link_mac host "$(veth_of part)")" \
		"$1" "$INTERNET4" "$2"
}

test_lies() {
	watch outside internet eth0
	send "$(addr_of part)" true-1
	check "a true packet gets out" passed outside true-1
	send "$(addr_of one)" lie-neighbour
	send 10.1.1.1 lie-vpc
	send "$HOST4" lie-host
	send 198.51.100.77 lie-other
	send "$(addr_of part)" true-2
	check "another session's address is dropped" dropped outside lie-neighbour true-2
	check "a VPC's address is dropped" dropped outside lie-vpc true-2
	check "the host's address is dropped" dropped outside lie-host true-2
	check "anybody's address is dropped" dropped outside lie-other true-2
	stop watch-outside
}

# ---- whose address is whose ----

test_addresses() {
	ip -n internet addr add 10.200.1.1/32 dev eth0
	ip -n internet addr add 10.200.1.3/32 dev eth0
	ip addr add 10.200.1.2/32 dev lo
	must session -g h -s 10.200.1.0/29 prepare h1 h2
	is "addresses that are somebody's are not given out" "$(addr_of h1) $(addr_of h2)" \
		"10.200.1.4 10.200.1.5"
	exits 7 "when they are used up, that is said" session -g h -s 10.200.1.0/29 prepare h{1..4}
	says "with those that are somebody else's" '3 of them are somebody else'
	is "what was there stays" "$(session list | grep -c ^h)" 2
	must session -g i -s 10.200.1.0/24 prepare i1
	is "another group's address is not given out either" "$(addr_of i1)" 10.200.1.6
	must session remove h1 h2 i1
	must session -g h -s 10.200.1.0/29 prepare h2
	is "an address comes back to its owner" "$(addr_of h2)" 10.200.1.5
	must session remove h2
	ip -n internet addr del 10.200.1.1/32 dev eth0
	ip -n internet addr del 10.200.1.3/32 dev eth0
	ip addr del 10.200.1.2/32 dev lo
}

test_routed() {
	ip -n internet addr add 192.0.2.129/32 dev eth0
	must session -g r -s 192.0.2.128/28 -r prepare routed:split far
	is "an address of the network that is used is left out" \
		"$({ addr_of routed; addr_of far; } | sort | xargs)" "192.0.2.130 192.0.2.131"
	is "without NAT, it goes out by its own address" "$(get routed "http://$INTERNET4/")" \
		"hello from internet to $(addr_of routed)"
	cannot internet "$(addr_of routed)" 7 "from outside"
	is "the network is answered for it" "$(ip neigh show proxy | awk '{print $1, $3}' | sort)" \
		"$(printf '192.0.2.130 eth0\n192.0.2.131 eth0')"
	must session remove routed far
	is "no longer" "$(ip neigh show proxy)" ""
	ip -n internet addr del 192.0.2.129/32 dev eth0
	must session -g r -s 10.200.2.0/24 -r prepare far
	is "nor is it for one outside of the network" "$(ip neigh show proxy)" ""
	is "which goes out by its own address, too" "$(get far.out "http://$INTERNET4/")" \
		"hello from internet to 10.200.2.1"
	must session remove far
}

# ---- what is in the way ----

test_conflicts() {
	ip netns add taken
	ip netns add halfway.out
	exits 7 "a namespace of that name" session -g x -s 10.200.3.0/24 prepare free taken
	says "is named" "session 'taken': a network namespace named taken exists"
	exits 7 "one of the carrier's name" session -g x -s 10.200.3.0/24 prepare halfway
	says "is named" 'halfway\.out'
	check "and left alone" test -e /run/netns/taken
	check "nothing else was made" not test -e /run/netns/free
	ip netns del taken
	ip netns del halfway.out
	exits 7 "a VPC's network" session -g x -s 10.1.0.0/16 prepare x
	says "is named" "VPC 'v'"
	exits 7 "another group's session" session -g x -s 10.200.3.0/24 prepare one
	says "is named" "session 'one' is one of g"
	exits 2 "an interface of byway's" session -g x -s 10.200.3.0/24 -i br-v prepare x
	exits 3 "no interface" session -g x -s 10.200.3.0/24 -i nowhere prepare x
	says "is named" nowhere
	exits 7 "a VPC over a session's address" by vpc create w 10.200.0.0/16
}

# ---- a command inside ----

test_exec() {
	local dir
	mkdir -p /run/systemd/resolve /run/dbus /run/nscd
	echo stub >/run/systemd/resolve/stub-resolv.conf
	touch /run/dbus/system_bus_socket /run/nscd/socket
	is "a session's resolv.conf" "$(session exec one cat /etc/resolv.conf | tail -n 1)" \
		"$(tail -n 1 /etc/netns/one/resolv.conf)"
	is "and nsswitch.conf" "$(session exec one cat /etc/nsswitch.conf)" "$(cat /etc/netns/one/nsswitch.conf)"
	for dir in /run/dbus /run/nscd; do
		is "$dir is out of sight" "$(session exec one ls $dir)" ""
	done
	is "it is in the session's namespace" "$(session exec one readlink /proc/self/ns/net)" \
		"$(inside one readlink /proc/self/ns/net)"
	is "in full mode not in the carrier" "$(session exec one ls /sys/class/net)" lo
	exits 42 "the exit status is ours" session exec one sh -c 'exit 42'
	exits 3 "no such session" session exec nobody true
	exits 127 "no such command" session exec one no-such-command
	rm -r /run/nscd
}

# /etc/resolv.conf as systemd-resolved has it: a link into what is hidden. In a copy of /etc.
in_linked_etc() {
	unshare --mount bash -c 'mount --bind "$0" /etc && "$@"' "$WORLD/linked-etc" "$@"
}
test_exec_linked() {
	local wanted
	wanted=$(tail -n 1 /etc/netns/one/resolv.conf)
	cp -a /etc "$WORLD/linked-etc"
	ln -sf ../run/systemd/resolve/stub-resolv.conf "$WORLD/linked-etc/resolv.conf"
	is "a session's resolv.conf is behind a link, too" \
		"$(in_linked_etc "$SESSION_NET" exec one tail -n 1 /etc/resolv.conf)" "$wanted"
	is "the rest of that folder is out of sight" \
		"$(in_linked_etc "$SESSION_NET" exec one ls /run/systemd/resolve)" stub-resolv.conf
	is "the host's stays" "$(in_linked_etc cat /etc/resolv.conf)" stub
	rm -r /run/systemd /run/dbus "$WORLD/linked-etc"
}

# ---- again ----

test_again() {
	local before
	check "a flow of a session" flow_open f part "$INTERNET4" 7
	before=$(session list)
	must session prepare one two part:split
	is "what is intact is taken over as it is" "$(session list)" "$before"
	check "the flow goes on" flow_works f
	must session -f /etc/byway/moved.yaml prepare one two part:split
	is "from a file that was moved, too" "$(row one 6)" /etc/byway/moved.yaml
	ip link del "$(veth_of two)"
	must session prepare one part:split
	is "what is not named any more goes" "$(session list | cut -d' ' -f1 | xargs)" "one part"
	check "with its namespaces" not test -e /run/netns/two.out
	must session prepare one two part:split
	ip link del "$(veth_of two)"
	must session prepare one two:split part:split
	is "what is not intact is made anew" "$(get two "http://$INTERNET4/")" \
		"hello from internet to $HOST4"
	check "what has another mode, too" not test -e /run/netns/two.out
	check "the flow goes on" flow_works f
	must session -s 10.200.0.0/20 prepare one two part:split
	is "in another subnet all are made anew" "$(get part "http://$INTERNET4/")" \
		"hello from internet to $HOST4"
	flow_close f
	must session prepare one two part:split
}

# ---- gc and reset ----

drop_rules() {
	if [[ ${BYWAY_FIREWALL:-} == iptables ]]; then
		iptables -F FORWARD
	else
		nft delete table inet byway_session
	fi
}

test_gc() {
	session remove >/dev/null
	background keeper host "$SESSION_NET" -g kept -s 10.200.4.0/24 hold prepare kept
	must session -g dead -s 10.200.5.0/24 -r prepare dead1 dead2:split
	mkdir -p /etc/netns/foreign && echo "nameserver 192.0.2.53" >/etc/netns/foreign/resolv.conf
	check "gc" by gc
	is "a session whose process lives stays" "$(session list | cut -d' ' -f1 | xargs)" kept
	is "of the others, nothing" "$(find /run/netns /etc/netns -name 'dead*')" ""
	is "somebody else's files of /etc stay" "$(ls /etc/netns/foreign)" resolv.conf
	drop_rules
	check "gc repairs the rules" by gc
	is "it works" "$(get kept.out "http://$INTERNET4/")" "hello from internet to $HOST4"
	cannot internet "$(addr_of kept)" 7
	is "the router is switched on" "$(cat /proc/sys/net/ipv4/ip_forward)" 1
	kill -KILL "${PIDS[keeper]}"
	wait "${PIDS[keeper]}" 2>/dev/null
	unset "PIDS[keeper]"
	check "gc after its process was killed" by gc
	is "nothing is left" \
		"$(session list; find /run/netns /run/byway/session -name 'kept*' 2>/dev/null)" ""
	rm -r /etc/netns/foreign
}

test_strays() {
	must session -s 192.0.2.128/28 -r prepare one part:split
	rm -f /run/byway/state.db*
	check "gc without the state" by gc
	check "nothing is left" same_as "$WORLD/with-vpc"
}

test_reset() {
	background keeper host "$SESSION_NET" hold prepare one part:split
	ip netns add foreign
	check "reset" by reset
	check "the group's process is ended" wait_gone kill -0 "${PIDS[keeper]}"
	stop keeper
	check "somebody else's namespace stays" test -e /run/netns/foreign
	ip netns del foreign
	check "nothing is left" same_as "$WORLD/before"
}

test_damaged_reset() {
	must session -s 192.0.2.128/28 -r prepare one part:split
	echo "no database" >/run/byway/state.db
	check "reset with a damaged state" by reset
	check "nothing is left" same_as "$WORLD/before"
}

# ---- killed in between ----

# Some are cleaned by gc, some by whoever comes next.
test_killed() {
	local i left=0 pid
	for i in {1..24}; do
		session -s 192.0.2.128/26 -r prepare k{1..12} k13:split >/dev/null 2>&1 &
		pid=$!
		pause "0.$(printf %03d $((190 + i * 5)))"
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
		[[ -z $(find /run/netns -name 'k*') ]] || left=$((left + 1))
		if ((i % 2)); then
			must by gc
		else
			must session -s 192.0.2.128/26 -r prepare k{1..12} k13:split
			is "after a kill, all are there (turn $i)" "$(session list | grep -c active)" 13
			must session remove
		fi
		check "nothing is left (turn $i)" same_as "$WORLD/before"
	done
	diag "of 24 kills, $left left something"
}

snapshot_host >"$WORLD/before"
lay_out
test_way_out
test_nothing_inside
test_apart
test_other_interface
test_lies
test_addresses
test_routed
test_conflicts
test_exec
test_exec_linked
test_again
stop echo-one.out-7 2>/dev/null
stop echo-part-7 2>/dev/null
test_gc
stop_all
must by vpc delete v
check "nothing is left" same_as "$WORLD/before"
cp "$WORLD/before" "$WORLD/with-vpc"
test_strays
test_reset
test_damaged_reset
test_killed
done_testing
