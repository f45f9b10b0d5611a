#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Networks and the virtual machines on them: who may open a TAP device, who reaches whom, nobody lies
# about who they are, addresses, and that nothing is left, whoever was killed in between.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/vm.sh"
world_enter "$@"

GROUP_ID=23456

vms() { json '[.vms[].name] | join(" ")' vm list; }

# ---- networks ----

test_up() {
	check "a network with nothing said" by network up
	is "has a bridge of its own name" "$(ip -j link show micropod0 | jq -r '.[0].linkinfo.info_kind // "bridge"')" bridge
	is "the gateway, with the network's prefix" "$(ip -j addr show micropod0 | jq -r \
		'[.[0].addr_info[] | select(.family == "inet") | "\(.local)/\(.prefixlen)"] | join(" ")')" \
		10.10.0.1/24
	snapshot_host >up
	check "up again" by network up
	prints "says so" 'as before'
	check "and changes nothing" same_as up
	is "it goes out where the default route goes" "$(json .nat.interface network show micropod0)" eth0
	is "list has a versioned schema" "$(json .schema network list)" byway.network.list/1
	is "show has one, too" "$(json .schema network show micropod0)" byway.network/1
	check "list as a table" by network list
	prints "with the network" '10\.10\.0\.0/24'
	exits 7 "up with another network is a conflict" by network up micropod0 10.11.0.0/24
	exits 7 "and without the NAT that it has" by network up micropod0 10.10.0.0/24 --no-nat
	must inside host ip link add eth1 type bridge
	exits 7 "and by another way out" by network up micropod0 10.10.0.0/24 --interface eth1
	must inside host ip link del eth1
	must by network up other0 10.11.0.0/24
	check "up, with nothing said of its network" by network up other0
	is "takes it as it is" "$(json .cidr network show other0)" 10.11.0.0/24
	must by network down other0
	check "after nat disable" by nat disable micropod0
	check "up makes it complete" by network up
	is "with its way out" "$(json .nat.interface network show micropod0)" eth0
	exits 7 "a subnet of a network is refused" by subnet add micropod0 a
	says "because it is flat" flat
}

test_up_refused() {
	exits 2 "host bits" by network up bad 10.11.0.5/24
	exits 2 "a bad name" by network up a/b 10.11.0.0/24
	exits 2 "--interface with --no-nat" by network up bad 10.11.0.0/24 --no-nat --interface eth0
	exits 7 "overlapping" by network up bad 10.10.0.128/25
	exits 3 "no such interface" by network up bad 10.11.0.0/24 --interface nowhere0
	fails "and then no bridge" has_link bad
	is "nor a network" "$(json '[.networks[].name] | join(" ")' network list)" micropod0
	must by vpc create plain 10.20.0.0/16
	exits 7 "a VPC's name" by network up plain 10.20.0.0/16
	exits 7 "a VPC is no network to take down" by network down plain
	exits 3 "nor one to show" by network show plain
	must by vpc delete plain
}

test_names() {
	must ip link add taken0 type bridge
	must by network up taken0 10.12.0.0/24 --no-nat
	is "a bridge's name that is taken" "$(json .bridge network show taken0)" br-taken0
	must by network up all 10.13.0.0/24 --no-nat
	is "a name that the kernel has other uses for" "$(json .bridge network show all)" br-all
	must by network up a-name-longer-than-an-interface 10.14.0.0/24 --no-nat
	like "a name that is too long" \
		"$(json .bridge network show a-name-longer-than-an-interface)" '^br-a-n.*-[0-9a-f]{5}$'
	must by vm add taken0 twin
	must by vm add all twin
	is "TAP devices have their VM's names" "$(vm taken0/twin interface)" tap-twin
	like "but for the second of a name" "$(vm all/twin interface)" '^tap-twin-[0-9a-f]{5}$'
	check "three networks go down" by network down taken0 all a-name-longer-than-an-interface
	check "somebody else's device stays" has_link taken0
	must ip link del taken0
}

# ---- who may open a TAP device ----

# Whoever may open it does not end.
opens() { timeout 20 "$TAPGUEST" "$1" opener 02:00:00:00:00:01 "$2" "$3" </dev/null; }

may_open() {
	background opener host "$TAPGUEST" "$1" opener 02:00:00:00:00:01 "$2" "$3"
	stop opener
}

test_owner() {
	ip netns add opener
	must by vm add micropod0 mine --owner "$USER_ID"
	must by vm add micropod0 ours --owner ":$GROUP_ID"
	must by vm add micropod0 roots
	must by vm add micropod0 named --owner nobody:daemon
	check "its owner opens a TAP device" may_open tap-mine "$USER_ID" 99
	exits 4 "another user does not" opens tap-mine 99 99
	check "a member of its group opens one" may_open tap-ours 99 $GROUP_ID
	exits 4 "another user does not" opens tap-ours "$USER_ID" "$USER_ID"
	exits 4 "without an owner it is root's" opens tap-roots "$USER_ID" "$USER_ID"
	is "a user has a name" "$(vm micropod0/named owner_uid)" "$(id -u nobody)"
	is "and a group" "$(vm micropod0/named owner_gid)" "$(getent group daemon | cut -d: -f3)"
	check "the device outlives who opened it" has_link tap-mine
	exits 2 "an unknown user" by vm add micropod0 bad --owner no-such-user
	exits 2 "an unknown group" by vm add micropod0 bad --owner "0:no-such-group"
	exits 2 "nobody at all, which would be everybody" by vm add micropod0 bad --owner :
	exits 2 "nor by number" by vm add micropod0 bad --owner 4294967295
	must by vm delete micropod0/{mine,ours,roots,named}
	ip netns del opener
}

# ---- who reaches whom ----

lay_out() {
	local i
	must by network up m 10.30.0.0/24 --cidr6 fd30::/64
	for i in one two; do
		must by vm add m $i --owner "$USER_ID"
		boot m/$i $i
		echo_server $i 7
	done
	echo_server host 7
	web_server internet 80
	web_server one 80
	is "two VMs on the network" "$(vms)" "one two"
}

test_reach() {
	local addr
	for addr in "$(vm m/one address)" "$(vm m/one address6)"; do
		can host "$addr" 7
		can host "ping:$addr" 0
		can host "udp:$addr" 7
		can two "$addr" 7
		can two "ping:$addr" 0
		can two "udp:$addr" 7
	done
	is "the host reads a guest's page" "$(get host "http://$(vm m/one address)/")" \
		"hello from one to 10.30.0.1"
	can one ping:10.30.0.1 0 "its gateway"
	can one ping:fd30::1 0 "its gateway"
	cannot one 10.30.0.1 7 "a service on the host"
	cannot one "$HOST4" 7 "a service on the host"
	is "a guest goes out, masqueraded" "$(get one "http://$INTERNET4/")" \
		"hello from internet to $HOST4"
	is "by IPv6, too" "$(get one "http://[$INTERNET6]/")" "hello from internet to $HOST6"
	cannot internet "$(vm m/one address)" 7 "from outside"
	check "no neighbour is asked for" eval \
		'[[ $(ip neigh show "$(vm m/one address)" dev m) == *PERMANENT* ]]'
}

test_way_out() {
	must by nat disable m
	cannot one "$INTERNET4" 80 "without NAT"
	must by nat enable m
	can one "$INTERNET4" 80 "with NAT again"
}

test_vpcs() {
	must by vpc create v 10.31.0.0/16
	must by subnet add v a 10.31.1.0/24 --type public
	must by subnet add v b 10.31.2.0/24
	must by nat enable v
	exits 2 "a VM of a VPC must name its subnet" by vm add v x
	exits 2 "a VM of a network has none to name" by vm add m/a x
	exits 3 "no such subnet" by vm add v/nowhere x
	must by vm add v/a a --owner "$USER_ID"
	must by vm add v/b inner --owner "$USER_ID"
	is "it has the subnet's next address, with the VPC's prefix" \
		"$(vm v/a address)/$(vm v/a prefix)" 10.31.1.2/16
	boot v/a guest-a
	boot v/inner guest-b
	echo_server guest-a 7
	echo_server v-b 7
	can v-b "$(vm v/a address)" 7 "from a subnet to a VM of another"
	can guest-a "$(addr4 v-b)" 7 "and back"
	can guest-b "$(vm v/a address)" 7 "from VM to VM"
	can guest-a "$INTERNET4" 80 "out of a public subnet"
	cannot guest-b "$INTERNET4" 80 "out of a private one"
	cannot one "$(vm v/a address)" 7 "from a network to a VPC"
	must by peer add m v
	can one "$(vm v/a address)" 7 "from a network to a VPC that is its peer"
	is "subnet list knows nothing of VMs" "$(json '[.subnets[].name] | join(" ")' subnet list v)" "a b"
	stop echo-guest-a-7
	shut_down guest-a
	must by subnet delete v/a
	fails "a subnet takes its VMs with it" has_link tap-a
	is "but no other's" "$(json '[.vms[].name] | join(" ")' vm list v)" inner
	stop echo-v-b-7
	shut_down guest-b
	must by vpc delete v
	fails "so does a VPC" has_link tap-inner
}

# What is judged from here on is the bridge and the guard of its ports, not what br_netfilter makes of
# bridged frames.
br_netfilter() { tee /proc/sys/net/bridge/bridge-nf-call-* <<<"$1" >/dev/null 2>&1; }

# Neither on the bridge nor by the gateway.
by_gateway() {
	must ip -n "$1" route replace "$(vm "m/$2" address)/32" via 10.30.0.1
	must ip -n "$1" -6 route replace "$(vm "m/$2" address6)/128" via fd30::1
}

test_isolated() {
	local i
	for i in alone apart; do
		must by vm add m $i --owner "$USER_ID" --isolated
		boot m/$i $i
		echo_server $i 7
	done
	for i in address address6; do
		cannot alone "$(vm m/apart $i)" 7 "both isolated"
		can alone "$(vm m/one $i)" 7 "isolated from others only"
		can one "$(vm m/alone $i)" 7 "and back"
		can host "$(vm m/alone $i)" 7 "isolated from others only"
	done
	can alone "$INTERNET4" 80 "isolated from others only"
	by_gateway alone apart
	by_gateway apart alone
	by_gateway one two
	for i in address address6; do
		cannot alone "$(vm m/apart $i)" 7 "both isolated, by the gateway"
		can one "$(vm m/two $i)" 7 "neither isolated, by the gateway"
	done
	ip -n one route del "$(vm m/two address)/32"
	ip -n one -6 route del "$(vm m/two address6)/128"
	stop echo-alone-7
	stop echo-apart-7
	shut_down alone apart
	must by vm delete m/alone m/apart
	is "their addresses are no longer special" "$(by -q gc --json | jq .rulesets)" 0
}

# ---- lies ----

liar() {
	MY_MAC=$(vm m/one mac) MY_ADDR=$(vm m/one address) MY_ADDR6=$(vm m/one address6)
	PEER=$(vm m/two address) PEER6=$(vm m/two address6) PEER_MAC=$(vm m/two mac)
	MY_LOCAL=$(ip -n one -6 -j addr show eth0 | jq -r '[.[0].addr_info[]
		| select(.scope == "link")][0].local')
	watch neighbour two eth0
}

send() { must inside one "$PROBE" "$1" eth0 "${@:2}"; }
control() { send send-arp "$MY_MAC" "$MY_MAC" "$MY_ADDR" "$PEER" "$1"; }

test_spoofed_source() {
	send send-udp "$MY_MAC" "$PEER_MAC" "$MY_ADDR" "$PEER" true-4
	send send-udp "$MY_MAC" "$PEER_MAC" "$MY_ADDR6" "$PEER6" true-6
	check "a true packet is seen" passed neighbour true-4
	check "a true IPv6 packet is seen" passed neighbour true-6
	send send-udp "$MY_MAC" "$PEER_MAC" 10.30.0.99 "$PEER" lie-neighbour
	send send-udp "$MY_MAC" "$PEER_MAC" 10.30.0.1 "$PEER" lie-gateway
	send send-udp "$MY_MAC" "$PEER_MAC" 192.0.2.55 "$PEER" lie-outside
	send send-udp 02:00:00:00:00:99 "$PEER_MAC" "$MY_ADDR" "$PEER" lie-mac
	send send-udp "$MY_MAC" "$PEER_MAC" fd30::99 "$PEER6" lie-six
	control true-1
	check "a neighbour's address is dropped" dropped neighbour lie-neighbour true-1
	check "the gateway's address is dropped" dropped neighbour lie-gateway true-1
	check "an outsider's address is dropped" dropped neighbour lie-outside true-1
	check "another MAC is dropped" dropped neighbour lie-mac true-1
	check "a neighbour's IPv6 address is dropped" dropped neighbour lie-six true-1
}

test_spoofed_discovery() {
	send send-arp "$MY_MAC" "$MY_MAC" 10.30.0.1 "$PEER" lie-arp-gateway
	send send-arp "$MY_MAC" 02:00:00:00:00:99 "$MY_ADDR" "$PEER" lie-arp-mac
	send send-na "$MY_MAC" "$MY_ADDR6" fd30::1 lie-na
	send send-na "$MY_MAC" "$MY_ADDR6" "$MY_ADDR6" true-na
	send send-ra "$MY_MAC" "$MY_LOCAL" lie-ra
	control true-2
	check "a true neighbour advertisement is heard" passed neighbour true-na
	check "being the gateway by ARP is dropped" dropped neighbour lie-arp-gateway true-2
	check "another MAC inside ARP is dropped" dropped neighbour lie-arp-mac true-2
	check "being the gateway by neighbour advertisement is dropped" \
		dropped neighbour lie-na true-2
	check "a router advertisement is dropped" dropped neighbour lie-ra true-2
}

test_dhcp() {
	send send-dhcp "$MY_MAC" 0.0.0.0 255.255.255.255 client true-dhcp
	send send-dhcp "$MY_MAC" "$MY_ADDR" 255.255.255.255 server lie-dhcp-server
	send send-dhcp "$MY_MAC" 0.0.0.0 255.255.255.255 server lie-dhcp-nobody
	send send-dhcp "$MY_MAC" 0.0.0.0 "$PEER" client lie-dhcp-peer
	send send-dhcp 02:00:00:00:00:99 0.0.0.0 255.255.255.255 client lie-dhcp-mac
	control true-3
	check "asking for an address by DHCP passes" passed neighbour true-dhcp
	check "answering is dropped" dropped neighbour lie-dhcp-server true-3
	check "answering from nowhere is dropped" dropped neighbour lie-dhcp-nobody true-3
	check "asking a neighbour is dropped" dropped neighbour lie-dhcp-peer true-3
	check "asking for somebody else is dropped" dropped neighbour lie-dhcp-mac true-3
	stop watch-neighbour
}

# What one fragment does not show. ebtables lets any through that is not the first.
test_fragments() {
	local big=(ping -c1 -W2 -s 4000 "$PEER6")
	check "fragments pass" inside one "${big[@]}"
	[[ ${BYWAY_FIREWALL:-} != iptables ]] || return 0
	watch splits two eth0
	send send-split "$MY_MAC" "$PEER_MAC" "$MY_ADDR6" "$PEER6" lie-split
	control true-split
	check "but not what hides a DHCP server" dropped splits lie-split true-split
	stop watch-splits
}

# Who asks for groups would be taken for a router of multicast, and cut those off who do not answer.
test_multicast() {
	local to=(01:00:5e:01:02:03 "$MY_ADDR" 239.1.2.3)
	watch silent two eth0
	send send-igmp-query "$MY_MAC" "$MY_ADDR"
	pause 0.3 # until then, a bridge that has just heard of a querier floods
	must inside one "$PROBE" send-udp eth0 "$MY_MAC" "${to[@]}" all-groups
	control true-4
	check "who asks for groups cuts nobody off" passed silent all-groups
	stop watch-silent
}

# ---- addresses ----

test_leases() {
	must by network up l 10.40.0.0/29 --no-nat
	must by vm add l a
	must by vm add l b
	is "addresses begin behind the gateway" "$(vm l/a address) $(vm l/b address)" "10.40.0.2 10.40.0.3"
	local mac
	mac=$(vm l/a mac)
	must by vm delete l/a
	fails "a deleted VM's device is gone" has_link tap-a
	is "and nobody is its neighbour" "$(ip neigh show 10.40.0.2 dev l)" ""
	must by vm add l other
	is "an address never used comes first" "$(vm l/other address)" 10.40.0.4
	must by vm add l a
	is "who comes back has the same address and MAC" "$(vm l/a address) $(vm l/a mac)" \
		"10.40.0.2 $mac"
	check "a certain address" by vm add l c --ip 10.40.0.6
	is "is what it gets" "$(vm l/c address)" 10.40.0.6
	exits 7 "an address that is leased" by vm add l d --ip 10.40.0.6
	says "says to whom" 'vm/c'
	exits 2 "the gateway's" by vm add l d --ip 10.40.0.1
	exits 2 "one of another network" by vm add l d --ip 10.41.0.2
	exits 2 "IPv6 where there is none" by vm add l d --ip fd40::2
	exits 2 "two of a family" by vm add l d --ip 10.40.0.5,10.40.0.6
	check "a certain MAC" by vm add l d --mac 02:00:00:00:00:55
	is "is what it gets" "$(vm l/d mac)" 02:00:00:00:00:55
	exits 7 "the pool is used up" by vm add l e
	exits 7 "an address is not lost by what failed" by vm add l e --mac 02:00:00:00:00:55
	must by vm delete l/c
	check "the address of one that was deleted is free" by vm add l f --ip 10.40.0.6
	must by vm delete l/f
	exits 7 "a MAC that another has" by vm add l e --mac 02:00:00:00:00:55
	exits 7 "the MAC of a bridge" by vm add l e --mac "$(link_mac host l)"
	exits 7 "the MAC of another's TAP device" by vm add l e --mac "$(link_mac host tap-d)"
	exits 2 "a multicast MAC" by vm add l e --mac 01:00:5e:00:00:01
	exits 2 "no MAC" by vm add l e --mac nonsense
	is "what was refused has left nothing" "$(json '[.vms[].name] | join(" ")' vm list l)" "a b d other"
	check "in both families" by vm add m both --ip 10.30.0.200,fd30::200
	is "they are what it gets" "$(vm m/both address) $(vm m/both address6)" "10.30.0.200 fd30::200"
	must by vm delete m/both
	must by network down l
	must by vpc create v 10.31.0.0/16
	must by subnet add v a
	must by subnet add v b
	mac=$(json '.subnets[] | select(.name == "b").mac' subnet list v)
	must by subnet delete v/b
	must by vm add v/a early --mac "$mac"
	exits 7 "a subnet whose MAC a VM was given" by subnet add v b
	must by vpc delete v
}

test_conflicts() {
	exits 7 "a VM again is a conflict" by vm add m one
	exits 3 "no such network" by vm add nowhere x
	exits 3 "no such VM" by vm show m/nobody
	exits 2 "a VM without its network" by vm show one
	exits 2 "a bad name" by vm add m a/b
	exits 2 "no queues" by vm add m x --queues 0
	exits 2 "a rate that is none" by vm add m x --rate fast
	exits 2 "half a rate" by vm add m x --rate 10M
	exits 0 "deleting what is not there" by vm delete m/nobody
	snapshot_host >dry
	check "a dry run" by --dry-run vm add m ghost
	prints "lists operations" 'ip tuntap add dev tap-ghost mode tap user 0 vnet_hdr'
	check "and does none" same_as dry
	check "list as a table" by vm list m
	prints "with a VM" 'one .*10\.30\.0\.2 '
	is "list has a versioned schema" "$(json .schema vm list)" byway.vm.list/1
	is "show has one, too" "$(json .schema vm show m/one)" byway.vm/1
}

test_queues() {
	must by vm add m many --owner "$USER_ID" --queues 4
	like "a device of several queues" "$(ip -d link show tap-many)" 'multi_queue'
	boot m/many many
	echo_server many 7
	can host "$(vm m/many address)" 7 "of several queues"
	stop echo-many-7
	shut_down many
	must by vm delete m/many
}

# ---- rates; whether they hold is a question for test_tc.c and vm_guest.sh ----

rate_devices() { ip -j link show type ifb | jq -r '[.[].ifname] | sort | join(" ")'; }

test_rates() {
	must by vm add m rated --rate 100M,1500k
	is "rates are kept in bits a second" "$(vm m/rated rate_rx) $(vm m/rated rate_tx)" "100000000 1500000"
	like "what goes to the VM is limited" "$(tc qdisc show dev tap-rated root)" 'tbf .* rate 100Mbit '
	like "what comes from it, too" "$(tc qdisc show dev ifb-rated root)" 'tbf .* rate 1500Kbit '
	must by vm add m taking --rate 10M,0
	is "what is not limited needs no device" "$(rate_devices)" ifb-rated
	must ip link add ifb-taken type ifb
	must by vm add m taken --rate 0,10M
	like "a device's name may be taken" "$(rate_devices)" '^ifb-rated ifb-taken ifb-taken-[0-9a-f]{5}$'
	check "gc" by gc
	prints "finds all as it should be" 'nothing to do'
	must ip link del ifb-rated
	must ip link add ifb-left type ifb
	must ip link set ifb-left alias byway:vm/m/left
	check "gc, after somebody deleted a limit's device, and left another" by gc
	like "what comes from the VM is limited again" "$(tc qdisc show dev ifb-rated root)" 'tbf .* rate 1500Kbit '
	like "what was left is gone" "$(rate_devices)" '^ifb-rated ifb-taken ifb-taken-[0-9a-f]{5}$'
	must by vm delete m/{taking,taken}
	is "a VM's device goes with it, and nobody else's" "$(rate_devices)" "ifb-rated ifb-taken"
	must ip link del ifb-taken
	must ip link del tap-rated
	check "gc, after somebody deleted a limited VM's TAP" by gc
	is "leaves none" "$(rate_devices)" ""
}

# ---- as long as a process ----

# Who has just been started has its name a moment later.
watchers() {
	wait_for pgrep -x byway-watch || true
	pgrep -x byway-watch | wc -l
}
no_watcher() { ! pgrep -x byway-watch; }

# monitor: a process to live with, in PIDS[monitor].
monitor() {
	sleep 1000 &
	PIDS['monitor']=$!
}
# Another process of the same number: the kernel gives the one after the last (in our own namespace of them).
monitor_again() {
	local pid=${PIDS['monitor']}
	stop monitor
	echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid
	monitor
	[[ ${PIDS['monitor']} == "$pid" ]]
}

test_while_pid() {
	local pid watcher
	monitor
	pid=${PIDS['monitor']}
	must by vm add m tied --while-pid "$pid"
	is "a machine says whom it lives with" "$(vm m/tied while_pid)" "$pid"
	is "somebody waits" "$(watchers)" 1
	is "who has nothing open but what it waits for" "$(cd "/proc/$(pgrep -x byway-watch)/fd" && echo *)" "0 1 2 3 4"
	must ip link set tap-tied nomaster
	must by vm add m untied
	must by vm delete m/untied
	is "whatever else happens" "$(watchers)" 1
	stop monitor
	check "the machine goes with the process" wait_gone has_link tap-tied
	check "so does who waited" wait_for no_watcher
	is "and its address is free" "$(json '[.vms[].name] | join(" ")' vm list m)" "one two"
	exits 3 "a process that is none" by vm add m tied --while-pid "$pid"
	exits 2 "a number that is none" by vm add m tied --while-pid 0
	monitor
	must by vm add m tied --while-pid "${PIDS['monitor']}"
	must by vm delete m/tied
	check "after the machine is deleted, nobody waits" wait_for no_watcher
	check "a dry run" by --dry-run vm add m tied --while-pid "${PIDS['monitor']}"
	check "does not wait" no_watcher
	must by vm add m tied --while-pid "${PIDS['monitor']}"
	is "a machine of the name again" "$(watchers)" 1
	watcher=$(pgrep -x byway-watch)
	kill -STOP "$watcher"
	must by vm delete m/tied
	must by vm add m tied
	stop monitor
	kill -CONT "$watcher"
	check "who wakes up late" wait_for no_watcher
	check "leaves another machine of the name" has_link tap-tied
	must by vm delete m/tied
}

test_while_pid_gc() {
	monitor
	must by vm add m tied --while-pid "${PIDS['monitor']}"
	is "somebody waits" "$(watchers)" 1
	kill -9 "$(pgrep -x byway-watch)"
	check "gc, after who waited was killed" by gc
	check "leaves the machine of a process that runs" has_link tap-tied
	check "(another process of the same number)" monitor_again
	check "gc, after the process has ended" by gc
	fails "takes the machine away, whoever has the number now" has_link tap-tied
	stop monitor
}

# ---- clones ----

# wake CLONE NETNS: a guest as the snapshot of `one` has it, behind the TAP device in the clone's namespace.
wake() {
	ip netns add "$2"
	inside "$2" sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'
	background "$2" "$1" "$TAPGUEST" tap-one "$2" "$MY_MAC" "$USER_ID"
	must ip -n "$2" -batch - <<-END
		link set lo up
		link set eth0 up
		addr add $MY_ADDR/24 dev eth0
		route add default via 10.30.0.1
	END
}

add_clone() { by vm add m "$1" --netns "$1" --tap-name tap-one --ip "$MY_ADDR" --mac "$MY_MAC" --owner "$USER_ID" "${@:2}"; }

test_clones() {
	local i
	check "a dry run" by --dry-run vm add m c1 --netns c1 --ip "$MY_ADDR"
	fails "makes no namespace" has_netns c1
	for i in 1 2; do
		check "clone $i" add_clone c$i
		wake c$i g$i
		echo_server g$i 7
		web_server g$i 80
	done
	is "clones are the same inside" "$(vm m/c1 clone.mac) $(vm m/c1 clone.address) $(vm m/c1 clone.tap)" \
		"$MY_MAC $MY_ADDR tap-one"
	is "and have an address each outside" "$(json '[.vms[].address] | length == (unique | length)' vm list m)" true
	ADDR1=$(vm m/c1 address) ADDR2=$(vm m/c2 address)
	for i in 1 2; do
		can host "$(vm m/c$i address)" 7
		can host "ping:$(vm m/c$i address)"
		is "the host reads the page of clone $i" "$(get host "http://$(vm m/c$i address)/")" "hello from g$i to 10.30.0.1"
		is "clone $i goes out, masqueraded" "$(get g$i "http://$INTERNET4/")" "hello from internet to $HOST4"
		can g$i ping:10.30.0.1 0 "its gateway"
	done
	can g1 "$ADDR2" 7 "from clone to clone"
	can g2 "udp:$ADDR1" 7 "from clone to clone"
	can two "$ADDR1" 7 "from a neighbour"
	can g1 "$PEER" 7 "to a neighbour"
	is "clones are known by their addresses outside" "$(get g1 "http://$ADDR2/")" "hello from g2 to $ADDR1"
	is "their gateway is who it was" "$(ip -n g1 -j neigh show 10.30.0.1 | jq -r '.[0].lladdr')" "$(link_mac host m)"
	cannot g1 "$HOST4" 7 "a service on the host"
	cannot internet "$ADDR1" 7 "from outside"
	echo_server c1 9
	cannot g1 "$ADDR1" 9 "what runs in its namespace"
	stop echo-c1-9
	is "neighbours are answered for at once" "$(inside c1 cat /proc/sys/net/ipv4/neigh/tap-one/proxy_delay)" 0
	check "a clone's port is published" by publish m/c2 8088:80
	like "and reached from outside" "$(get internet "http://$HOST4:8088/")" '^hello from g2 to '
}

test_clones_lie() {
	watch neighbour two eth0
	must inside g1 "$PROBE" send-udp eth0 "$MY_MAC" "$(link_mac host m)" "$MY_ADDR" "$PEER" true-5
	must inside g1 "$PROBE" send-udp eth0 "$MY_MAC" "$(link_mac host m)" 10.30.0.99 "$PEER" lie-clone
	must inside c1 "$PROBE" send-udp eth0 "$(link_mac c1 eth0)" "$PEER_MAC" 10.30.0.99 "$PEER" lie-namespace
	must inside c1 "$PROBE" send-arp eth0 "$(link_mac c1 eth0)" "$(link_mac c1 eth0)" "$ADDR1" "$PEER" true-6
	check "a clone's true packet is seen" passed neighbour true-5
	check "another source is not translated" dropped neighbour lie-clone true-6
	check "nor does its namespace pass as somebody else" dropped neighbour lie-namespace true-6
	stop watch-neighbour
}

test_clones_told() {
	is "a clone's snippet has what is inside" "$(snippet -q m/c1 --for firecracker | jq -c .)" \
		"{\"iface_id\":\"eth0\",\"host_dev_name\":\"tap-one\",\"guest_mac\":\"$MY_MAC\"}"
	check "and says" snippet m/c1 --for qemu
	says "where the monitor has to run" 'namespace c1'
	check "for the kernel" snippet m/c1 --for kernel-args
	prints "it is the address inside" "^ip=$MY_ADDR::10\.30\.0\.1:"
	check "list" by vm list m
	prints "shows the namespace" 'm  *c1 .* c1  *active'
	exits 2 "a clone of nothing" by vm add m x --netns x
	exits 2 "of IPv6" by vm add m x --netns x --ip "$MY_ADDR,fd30::9"
	exits 2 "of the gateway" by vm add m x --netns x --ip 10.30.0.1
	exits 2 "a TAP device that is there" by vm add m x --netns x --ip "$MY_ADDR" --tap-name eth0
	exits 2 "a TAP device's name alone" by vm add m x --tap-name x
	exits 7 "a namespace that is there" by vm add m x --netns g1 --ip "$MY_ADDR"
	exits 7 "another clone's" by vm add m x --netns c1 --ip "$MY_ADDR"
	must by vm add m far --netns far --ip 192.168.241.2
	exits 7 "the kernel's argument, of another network inside" snippet m/far --for kernel-args
	must by vm delete m/far
	fails "a clone's namespace goes with it" has_netns far
}

test_clones_end() {
	must ip -n c2 link del tap-one
	check "gc, after somebody deleted a clone's TAP device" by gc
	fails "takes its namespace" has_netns c2
	fails "and its port" has_link vm-c2
	stop g2
	must add_clone c2
	ip netns del c2
	check "gc, after somebody deleted a clone's namespace" by gc
	is "takes the rest" "$(json '[.vms[].name] | join(" ")' vm list m)" "c1 one two"
	ip netns add lost
	must ip -n lost link set lo alias byway:vm/m/lost
	check "gc, after the state forgot a clone" by gc
	fails "takes its namespace" has_netns lost
	monitor
	must add_clone c3 --while-pid "${PIDS['monitor']}" --rate 9M,8M --queues 2 --isolated
	stop monitor
	check "a clone goes with a process, too" wait_gone has_netns c3
	check "delete, while the monitor runs" by vm delete m/c1
	fails "takes the namespace" has_netns c1
	check "and the monitor" eval "! kill -0 ${PIDS[g1]}"
	for i in 1 2; do
		stop echo-g$i-7
		stop web-g$i
	done
	stop g1
	ip netns del g1
	ip netns del g2
}

# ---- what monitors are told ----

snippet() { by vm snippet "$@"; }

test_snippet() {
	must by vm add m told --ip 10.30.0.77 --mac 02:00:00:00:00:77
	must by vm add m many --queues 2
	check "for the kernel" snippet m/told --for kernel-args
	prints "an address with the network's prefix" \
		'^ip=10\.30\.0\.77::10\.30\.0\.1:255\.255\.255\.0:told:eth0:off$'
	check "with a resolver" snippet m/told --for kernel-args --dns 9.9.9.9
	prints "behind it" ':off:9\.9\.9\.9$'
	is "for Firecracker" "$(snippet m/told --for firecracker | jq -c .)" \
		'{"iface_id":"eth0","host_dev_name":"tap-told","guest_mac":"02:00:00:00:00:77"}'
	exits 7 "which has no queues" snippet m/many --for firecracker
	exits 2 "for nobody" snippet m/told
	says "names who there is" 'firecracker, .*kernel-args'
	exits 2 "for somebody unknown" snippet m/told --for nobody
	exits 2 "a resolver that ip= has no place for" snippet m/told --for kernel-args --dns 2001:db8::1
	exits 2 "a resolver that is none" snippet m/told --for kernel-args --dns nowhere
	exits 3 "of no VM" snippet m/nobody --for qemu
	must by vm delete m/{told,many}
}

# ---- what others do, and what a crash leaves ----

test_gc() {
	must by vm add m gone
	must ip link del tap-gone
	check "gc, dry" by --dry-run gc
	is "leaves it" "$(vms)" "gone one two"
	check "gc, after somebody deleted a device" by gc
	is "its VM is gone" "$(vms)" "one two"
	is "and its neighbour" "$(ip neigh show 10.30.0.4 dev m)" ""
	must by vm add m gone
	must ip link del tap-gone
	must ip tuntap add dev tap-gone mode tap
	check "gc, after somebody made another of the name" by gc
	is "its VM is gone" "$(vms)" "one two"
	check "the other's device is not" has_link tap-gone
	must ip link del tap-gone
	must ip tuntap add dev tap-lost mode tap
	must ip link set tap-lost alias byway:vm/m/lost
	check "gc, after the state forgot a device" by gc
	fails "removes it" has_link tap-lost
	can two "$(vm m/one address)" 7 "after gc"
	must by vm add m alone --owner "$USER_ID" --isolated
	must ip link set tap-alone nomaster
	must ip link set dev m type bridge no_linklocal_learn 0 mcast_snooping 1
	check "gc, after somebody took a device off its bridge" by gc
	is "puts it back" "$(ip -j -d link show tap-alone | jq -c '.[0] | [.master, .linkinfo.info_slave_data.isolated]')" '["m",true]'
	is "as the bridge was made" \
		"$(ip -j -d link show m | jq -c '.[0].linkinfo.info_data | [.no_linklocal_learn, .mcast_snooping]')" '[1,0]'
	is "and then it is as it should be" "$(by -q gc --json | jq .ports)" 0
	must by vm delete m/alone
	must by network up lost 10.60.0.0/24 --no-nat
	must ip link del lost
	exits 7 "up, of a network whose bridge somebody deleted" by network up lost
	must ip link add lost type bridge
	check "gc, after somebody made another bridge of the name" by gc
	exits 3 "its network is gone" by network show lost
	check "the other's bridge is not" has_link lost
	must ip link del lost
}

# Each VM of the list has a device, and each device a VM.
is_consistent() {
	[[ $(json '[.vms[].interface] | sort | join(" ")' vm list) == \
		"$(ip -j link show type tun | jq -r '[.[].ifname | select(startswith("tap-"))] | sort | join(" ")')" &&
		$(json '[.vms[].state] | unique | join(" ")' vm list) == active ]]
}

test_killed() {
	local i bad=
	for i in {0..19}; do
		kill_later "0.0$(printf %02d "$i")" vm add m "killed-$i"
		((i % 2)) || kill_later "0.0$(printf %02d "$i")" vm delete m/killed-$((i - 1))
		must by gc
		is_consistent || bad+=" $i"
	done
	is "after each kill and gc, devices and VMs are the same" "$bad" ""
	kill_later 0.002 network up k 10.50.0.0/24
	check "up, whatever a killed one left" by network up k 10.50.0.0/24
	is "with its way out" "$(json .nat.interface network show k)" eth0
	for i in {0..9}; do
		must by network down k
		must by network up k 10.50.0.0/24 --no-nat
		kill_later "0.00$i" nat enable k
		[[ $(json .nat.state network show k) == active ]] || must by network up k --no-nat
		[[ $(json .nat.state network show k) =~ ^(active|null)$ ]] || bad+=" $i"
	done
	is "up without NAT, whatever a killed one left of it" "$bad" ""
	can two "$(vm m/one address)" 7 "all the while"
}

test_reset() {
	local i
	for i in 1 2 3; do kill_later 0.003 vm add m "reset-$i"; done
	for i in 1 2 3; do kill_later "0.00$i" vm add m "clone-$i" --netns "clone-$i" --ip 10.30.0.2; done
	must by vm add m clone --netns clone --ip 10.30.0.2
	check "reset" by reset
	check "nothing is left" same_as "$WORLD/before"
}

snapshot_host >"$WORLD/before"
test_up
test_up_refused
test_names
test_owner
lay_out
test_reach
test_way_out
test_vpcs
br_netfilter 0
test_isolated
liar
test_spoofed_source
test_spoofed_discovery
test_dhcp
test_fragments
test_multicast
br_netfilter 1
test_leases
test_conflicts
test_queues
test_rates
test_while_pid
test_while_pid_gc
test_clones
test_clones_lie
test_clones_told
test_clones_end
test_snippet
test_gc
test_killed
stop echo-one-7
stop echo-two-7
shut_down one two
stop_all
check "networks go down with the VMs on them" by network down m k micropod0
check "nothing is left" same_as "$WORLD/before"
must by network up m 10.30.0.0/24
must by vm add m one
test_reset
done_testing
