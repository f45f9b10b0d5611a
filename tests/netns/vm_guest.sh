#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# shellcheck disable=SC2034,SC2154 # PIDS is world.sh's
#
# Virtual machines that boot with the words of `byway vm snippet`, run by a user who is not root: whom
# they reach, how fast, and that they cannot lie.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/guest.sh
. "$WORLD_LIB/guest.sh"

AS_NOBODY=(setpriv --reuid=nobody --regid=nogroup --clear-groups --)
AS_DAEMON=(setpriv --reuid=daemon --regid=daemon --clear-groups --)
GATEWAY=10.10.0.1
NET=micropod0

# field NAME KEY
field() { json ".$2" vm show "$NET/$1"; }
snippet() { by vm snippet "$NET/$1" --for "$2"; }

# boot NAME [QEMU ARGUMENT...]
boot() {
	local name=$1
	shift
	# shellcheck disable=SC2046 # several arguments
	guest_boot "$name" "$(snippet "$name" kernel-args)" $(snippet "$name" qemu-microvm) "$@"
}

lay_out() {
	must by network up
	must by vm add $NET web --owner nobody
	must by vm add $NET db --owner nobody
	WEB=$(field web address)
	DB=$(field db address)
	web_server internet 80
	echo_server host 7
}

test_boot() {
	GUEST_AS=("${AS_DAEMON[@]}")
	fails "another user does not open web's device" boot web
	prints "for want of permission" 'Operation not permitted'
	GUEST_AS=("${AS_NOBODY[@]}")
	check "its owner boots web" boot web
	check "its owner boots db" boot db
	check "the host reads web's page" get host "http://$WEB/"
	prints "which says who it is" '^hello from web$'
	is "web has the MAC address that it was given" \
		"$(inside vm:web cat /sys/class/net/eth0/address)" "$(field web mac)"
	fails "another monitor does not get the same device" boot_again web
	says "which is in use" 'busy'
}

boot_again() {
	# shellcheck disable=SC2046
	timeout 20 qemu-system-x86_64 -M microvm -display none -nodefaults $(snippet "$1" qemu-microvm)
}

test_reach() {
	check "db reads web's page" inside vm:db wget -q -O - "http://$WEB/"
	prints "which says who it is" '^hello from web$'
	check "web reads a page of the internet" inside vm:web wget -q -O - "http://$INTERNET4/"
	prints "which sees the host" "^hello from internet to $HOST4\$"
	can vm:web "ping:$GATEWAY" 0 "its gateway"
	can internet "$HOST4" 7 "a service on the host"
	cannot vm:web "$GATEWAY" 7 "a service on the host"
	cannot vm:web "$HOST4" 7 "a service on the host"
}

# ---- lies ----

send() { must inside vm:web "$PROBE" "$1" eth0 "${@:2}"; }
control_udp() { send send-udp "$MAC" "$GATE_MAC" "$WEB" $GATEWAY "$1"; }
control_arp() { send send-arp "$MAC" "$MAC" "$WEB" "$DB" "$1"; }

liar() {
	MAC=$(field web mac)
	GATE_MAC=$(link_mac host $NET)
	watch bridge host $NET
	watch neighbour host "$(field db interface)"
}

test_spoofed_source() {
	control_udp true-1
	check "a true packet is seen at the bridge" passed bridge true-1
	send send-udp "$MAC" "$GATE_MAC" "$DB" $GATEWAY lie-neighbour
	send send-udp "$MAC" "$GATE_MAC" 192.0.2.55 $GATEWAY lie-outside
	send send-udp "$MAC" "$GATE_MAC" $GATEWAY "$DB" lie-gateway
	send send-udp 02:00:00:00:00:99 "$GATE_MAC" "$WEB" $GATEWAY lie-mac
	control_udp true-2
	check "a neighbour's address is dropped" dropped bridge lie-neighbour true-2
	check "an outsider's address is dropped" dropped bridge lie-outside true-2
	check "the gateway's address is dropped" dropped bridge lie-gateway true-2
	check "another MAC is dropped" dropped bridge lie-mac true-2
}

test_spoofed_arp() {
	control_arp true-3
	check "a true ARP request is heard" passed neighbour true-3
	send send-arp "$MAC" "$MAC" $GATEWAY "$DB" lie-arp-gateway
	send send-arp "$MAC" "$MAC" "$DB" $GATEWAY lie-arp-neighbour
	send send-arp "$MAC" 02:00:00:00:00:99 "$WEB" $GATEWAY lie-arp-mac
	send send-ra "$MAC" fe80::1 lie-ra
	control_arp true-4
	check "being the gateway by ARP is dropped" dropped neighbour lie-arp-gateway true-4
	check "being a neighbour by ARP is dropped" dropped neighbour lie-arp-neighbour true-4
	check "another MAC inside ARP is dropped" dropped neighbour lie-arp-mac true-4
	check "a router advertisement is dropped" dropped neighbour lie-ra true-4
}

# The same lies by the guest's own kernel.
test_other_selves() {
	can vm:web "$DB" 80 "as itself"
	must guest_run web 'ip link set eth0 address 02:00:00:00:00:99'
	cannot vm:web "$DB" 80 "with another MAC"
	must guest_run web "ip link set eth0 address $MAC"
	can vm:web "$DB" 80 "as itself again"
	must guest_run web "ip addr del $WEB/24 dev eth0 && ip addr add 10.10.0.77/24 dev eth0"
	cannot vm:web "$DB" 80 "with another address"
	must guest_run web "ip addr del 10.10.0.77/24 dev eth0 && ip addr add $WEB/24 dev eth0"
	must guest_run web "ip route add default via $GATEWAY"
	can vm:web "$DB" 80 "as itself in the end"
}

# ---- rates ----

# Megabits a second, of a megabyte that the guest serves, or takes from the internet.
elapsed_mbits() { awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { print int(8.4 / (to - from)) }'; }
rate_from() {
	local start=$EPOCHREALTIME
	must get_big "http://$(field "$1" address)/big"
	elapsed_mbits "$start"
}
rate_to() {
	local start=$EPOCHREALTIME
	must inside "vm:$1" wget -q -O /dev/null "http://$INTERNET4:8080/big"
	elapsed_mbits "$start"
}
get_big() { curl -sS --noproxy '*' --max-time 60 -o /dev/null "$1"; }

prepare_big() {
	mkdir -p "$WORLD/big"
	head -c 1048576 /dev/zero >"$WORLD/big/big"
	become internet busybox httpd -f -p 8080 -h "$WORLD/big" &
	PIDS[big]=$!
	wait_for inside internet "$PROBE" tcp 127.0.0.1 8080 500
}

# within NAME GOT LOW HIGH
within() {
	if (($2 >= $3 && $2 <= $4)); then pass "$1"; else
		fail "$1" "$2 Mbit/s are not within $3 and $4"
	fi
}

# What is limited takes another way to the bridge: it is judged all the same.
test_slow_lie() {
	local mac slow
	mac=$(field slow mac) slow=$(field slow address)
	must inside vm:slow "$PROBE" send-udp eth0 "$mac" "$GATE_MAC" "$slow" $GATEWAY true-slow-1
	check "a true packet of slow is seen" passed bridge true-slow-1
	must inside vm:slow "$PROBE" send-udp eth0 "$mac" "$GATE_MAC" "$WEB" $GATEWAY lie-slow
	must inside vm:slow "$PROBE" send-udp eth0 "$mac" "$GATE_MAC" "$slow" $GATEWAY true-slow-2
	check "a lie of slow is dropped" dropped bridge lie-slow true-slow-2
}

# A busy machine may be slower than the limit, never faster; what the bucket holds comes on top. How exact
# the limits are is measured by test_tc.c.
test_rate() {
	prepare_big
	must by vm add $NET slow --owner nobody --rate 8M,4M
	is "the limits are told" "$(json '"\(.rate_rx) \(.rate_tx)"' vm show $NET/slow)" "8000000 4000000"
	check "slow boots" boot slow
	must guest_run slow 'head -c 1048576 /dev/zero >/www/big'
	must guest_run web 'head -c 1048576 /dev/zero >/www/big'
	within "what slow receives is limited" "$(rate_to slow)" 2 9
	within "what slow sends is limited" "$(rate_from slow)" 1 4
	within "what web receives is not" "$(rate_to web)" 12 100000
	within "what web sends is not" "$(rate_from web)" 8 100000
	test_slow_lie
	guest_stop slow
	must by vm delete $NET/slow
	is "no device is left" "$(ip -o link show | grep -c slow)" 0
}

# ---- policy ----

# root inside, and no way past what the host enforces.
test_policy() {
	policy "allow tcp 80 $DB" "allow tcp 80 $DB" >policy.json
	must by vm add $NET locked --owner nobody --policy policy.json
	LOCKED=$(field locked address)
	check "a guest with a policy boots" boot locked
	check "db reads its page" inside vm:db wget -q -O - "http://$LOCKED/"
	prints "which says who it is" '^hello from locked$'
	cannot vm:web "$LOCKED" 80 "whom it does not name"
	fails "nor does the host" get_quickly "http://$LOCKED/"
	cannot host "ping:$LOCKED"
	can vm:locked "$DB" 80 "what it may reach"
	cannot vm:locked "$WEB" 80 "what it may not"
	cannot vm:locked "$INTERNET4" 80 "what it may not"
	cannot vm:locked "ping:$GATEWAY" 0 "what it may not"
	test_policy_frames
	must guest_run locked "ip route add $WEB/32 via $GATEWAY"
	cannot vm:locked "$WEB" 80 "by the gateway"
	must guest_run locked "ip route del $WEB/32"
	policy "allow tcp 80 -" >policy.json
	must by policy apply $NET/locked policy.json
	can vm:locked "$WEB" 80 "when the policy lets it"
	is "and web reads its page" "$(inside vm:web wget -q -O - "http://$LOCKED/")" \
		"hello from locked"
	guest_stop locked
	must by vm delete $NET/locked
}

test_policy_frames() {
	local mac web_mac
	mac=$(field locked mac) web_mac=$(field web mac)
	watch web host "$(field web interface)"
	must inside vm:locked "$PROBE" send-udp eth0 "$mac" "$web_mac" "$LOCKED" "$WEB" lie-direct
	must inside vm:locked "$PROBE" send-udp eth0 "$mac" ff:ff:ff:ff:ff:ff "$LOCKED" "$WEB" lie-all
	must inside vm:locked "$PROBE" send-udp eth0 "$mac" "$GATE_MAC" "$LOCKED" "$WEB" lie-gateway
	must inside vm:locked "$PROBE" send-arp eth0 "$mac" "$mac" "$LOCKED" "$WEB" true-policy
	check "its ARP is heard" passed web true-policy
	check "a frame to a neighbour is not" dropped web lie-direct true-policy
	check "nor one to all" dropped web lie-all true-policy
	check "nor one by the gateway" dropped web lie-gateway true-policy
	stop watch-web
}

# ---- nothing said ----

test_dhcp() {
	guest_stop db
	check "the network serves addresses" by network up $NET --dhcp
	check "db boots with no address said" boot_dhcp db
	is "it has its own" "$(inside vm:db ip -4 -o addr show eth0 | awk '{ print $4 }')" "$DB/24"
	is "and its name" "$(inside vm:db hostname)" db
	check "the host reads its page" get host "http://$DB/"
	prints "which says who it is" '^hello from db$'
	check "it reads web's, by name" inside vm:db wget -q -O - "http://web.$NET.internal/"
	prints "which says who it is" '^hello from web$'
	check "or without the domain" inside vm:db wget -q -O - http://web/
	check "it reads a page of the internet" inside vm:db wget -q -O - "http://$INTERNET4/"
}

boot_dhcp() {
	# shellcheck disable=SC2046
	guest_boot "$1" "$(by vm snippet "$NET/$1" --for kernel-args --dhcp)" $(snippet "$1" qemu-microvm)
}

# ---- the end ----

test_again() {
	guest_stop web
	check "web boots again on the same device" boot web
	check "the host reads its page" get host "http://$WEB/"
	check "delete a VM that runs" by vm delete $NET/web
	fails "nobody answers any more" get_quickly "http://$WEB/"
	guest_stop web
}
get_quickly() { curl -sS --noproxy '*' --max-time 1 "$1"; }

snapshot_host >"$WORLD/before"
lay_out
test_boot
test_reach
liar
test_spoofed_source
test_spoofed_arp
test_other_selves
test_rate
test_policy
test_dhcp
test_again
stop_all
must by network down $NET
check "nothing is left" same_as "$WORLD/before"
done_testing
