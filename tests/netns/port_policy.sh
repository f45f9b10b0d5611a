#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Policies of virtual machines, enforced by the host: from everywhere, to everywhere, at every moment,
# whatever frames the machine and its neighbours make up.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
# shellcheck source=tests/lib/vm.sh
. "$(dirname "$0")/../lib/vm.sh"
world_enter "$@"

# The VM in question is web; one and two are its neighbours without a policy.
lay_out() {
	local i
	must by network up m 10.30.0.0/24 --cidr6 fd30::/64
	policy "allow tcp 80 -" >web.json
	must by vm add m web --owner $USER_ID --policy web.json
	for i in one two; do must by vm add m $i --owner $USER_ID; done
	for i in web one two; do
		boot m/$i $i
		for port in 22 80 443; do echo_server $i $port; done
	done
	must by vpc create v 10.31.0.0/16 --cidr6 fd31::/56
	must by subnet add v a 10.31.1.0/24 --cidr6 fd31:0:0:1::/64
	must by peer add m v
	for i in 22 80; do echo_server v-a $i; done
	echo_server host 80
	web_server internet 80
	WEB=$(vm m/web address) WEB6=$(vm m/web address6) WEB_MAC=$(vm m/web mac)
	ONE=$(vm m/one address) ONE6=$(vm m/one address6) ONE_MAC=$(vm m/one mac)
	SUBNET=$(addr4 v-a) SUBNET6=$(addr6 v-a)
}

apply() {
	policy "$1" "${2:-}" >policy.json
	run by policy apply m/web policy.json
	((TAP_STATUS == 0)) || tap_explain policy apply
	return "$TAP_STATUS"
}
applied() {
	local name=$1
	shift
	if apply "$@"; then pass "$name"; else fail "$name"; fi
}

# ---- from the first frame on ----

test_added() {
	local from
	for from in one v-a host; do
		can $from "$WEB" 80
		cannot $from "$WEB" 22
		cannot $from "udp:$WEB" 80
		cannot $from "ping:$WEB"
		can $from "$WEB6" 80
		cannot $from "$WEB6" 22
	done
	can one "$(vm m/two address)" 22 "others are as before"
	can one "ping:$(vm m/two address6)" 0 "by IPv6, too"
	can web "$ONE" 22 "egress without rules is open"
	can web "$ONE6" 22 "egress without rules is open"
	can web "$SUBNET" 22 "to a peer"
	can web ping:10.30.0.1 0 "to the gateway"
	is "and outside" "$(get web "http://$INTERNET4/")" "hello from internet to $HOST4"
	is "vm show knows it" "$(vm m/web policy)" true
	is "and of none" "$(json .policy vm show m/one)" false
	check "it verifies" by policy verify m/web
	check "it shows" by policy show m/web
	prints "the file" 'web\.json'
	is "as JSON, too" "$(json '"\(.schema) \(.vpc) \(.vm)"' policy show m/web)" "byway.policy/1 m web"
}

test_rules() {
	applied "deny before allow" "deny tcp 80 $ONE
allow tcp 80 -"
	cannot one "$WEB" 80 "denied first"
	can two "$WEB" 80 "allowed after"
	applied "udp, from a peer" "allow udp 80 10.31.0.0/16"
	can v-a "udp:$WEB" 80
	cannot v-a "$WEB" 80
	cannot one "udp:$WEB" 80
	applied "icmp" "allow icmp - -"
	can one "ping:$WEB"
	can v-a "ping:$WEB6"
	cannot one "$WEB" 80
	applied "by IPv6 only" "allow tcp 80 fd30::/64"
	can one "$WEB6" 80
	cannot one "$WEB" 80
	cannot v-a "$WEB6" 80
}

test_egress() {
	applied "out to one port of a neighbour" "" "allow tcp 80 $ONE"
	can web "$ONE" 80
	cannot web "$ONE" 22
	cannot web "$(vm m/two address)" 80
	cannot web "$ONE6" 80
	cannot web "$SUBNET" 80 "to a peer"
	cannot web ping:10.30.0.1 0 "to the gateway"
	fails "nor outside" get web "http://$INTERNET4/" --max-time 2
	can one "$WEB" 22 "ingress without rules is open"
	applied "out to a peer by IPv6" "" "allow tcp 22 fd31::/56"
	can web "$SUBNET6" 22
	cannot web "$SUBNET6" 80
	cannot web "$SUBNET" 22
	applied "no way out but outside" "" "allow tcp 80 $INTERNET4"
	is "works" "$(get web "http://$INTERNET4/")" "hello from internet to $HOST4"
	cannot web "$ONE" 80
}

# Both ends may have one.
test_both() {
	applied "in from anywhere" "allow tcp 80 -"
	policy "" "allow tcp 22 -" >two.json
	must by policy apply m/two two.json
	cannot two "$WEB" 80 "its own policy does not let it out"
	cannot two "$WEB" 22 "the other's does not let it in"
	must by policy apply m/two policy.json
	can two "$WEB" 80 "both let it through"
	is "one policy for two VMs is one group" "$(groups)" 1
	must by policy remove m/two
	can one "$(vm m/two address)" 22 "without one again"
}
groups() {
	if [[ ${BYWAY_FIREWALL:-} == iptables ]]; then
		iptables-save -t mangle | grep -c '^:.*:g[0-9]*_ingress '
	else
		nft list table inet byway_port | grep -c 'chain g[0-9]*_ingress {'
	fi
}

# ---- changes ----

test_cut() {
	applied "port 80 and 443" "allow tcp 80 -
allow tcp 443 -"
	check "a flow of a neighbour" flow_open kept one "$WEB" 80
	check "one to be forbidden" flow_open cut one "$WEB" 443
	check "by IPv6" flow_open cut6 one "$WEB6" 443
	check "from a peer" flow_open peer v-a "$WEB" 443
	check "of the host" flow_open host host "$WEB" 443
	applied "only 80" "allow tcp 80 -"
	check "the allowed flow lives" flow_works kept
	for i in cut cut6 peer host; do check "a forbidden one is cut ($i)" flow_is_cut $i; done
	applied "the same again" "allow tcp 80 -"
	check "which lives, still" flow_works kept
	for i in kept cut cut6 peer host; do flow_close $i; done
	applied "out to one" "" "allow tcp 22 $ONE"
	check "a flow out" flow_open out web "$ONE" 22
	applied "out to nothing" "" "allow tcp 9 $ONE"
	check "is cut" flow_is_cut out
	flow_close out
}

# On the link nobody tracked it: it is cut, whoever speaks first now.
test_first_policy_cuts() {
	must by policy remove m/web
	check "a flow without a policy" flow_open early one "$WEB" 22
	check "works" flow_works early
	check "a flow from a peer that will be allowed" flow_open good v-a "$WEB" 80
	check "works, too" flow_works good
	applied "a first policy" "allow tcp 80 -"
	check "the flow it forbids is cut" flow_is_cut early
	check "the one it allows lives" flow_works good
	flow_close early
	flow_close good
	can one "$WEB" 80 "a neighbour who knows its MAC"
}

test_atomic() {
	local attacker i
	policy "allow tcp 80 -" >one.json
	policy "allow tcp 80 -
allow tcp 443 -" >two.json
	rm -f stop
	must by policy apply m/web one.json
	while [[ ! -e stop ]]; do
		REACH_MS=100 reaches one "$WEB" 22 && echo leak
	done >leaks &
	attacker=$!
	for ((i = 0; i < 10; i++)); do
		by -q policy apply m/web one.json || echo failed
		by -q policy apply m/web two.json || echo failed
		by -q vm add m extra --policy two.json || echo failed
		reaches one "$WEB" 80 || echo "refused $i"
		by -q vm delete m/extra || echo failed
	done >faults 2>&1
	: >stop
	wait $attacker
	is "nothing gets through while it is replaced" "$(cat leaks)" ""
	is "and nothing allowed fails" "$(cat faults)" ""
}

# ---- frames of their own making ----

# send NETNS WHAT...: from there.
send() { must inside "$1" "$PROBE" "$2" eth0 "${@:3}"; }
# Seen whatever the policy is.
control_to_web() { send one send-arp "$ONE_MAC" "$ONE_MAC" "$ONE" "$WEB" "$1"; }

test_frames_in() {
	local mac i=0
	watch web web eth0
	applied "UDP to port 9" "allow udp 9 -"
	send one send-udp "$ONE_MAC" "$WEB_MAC" "$ONE" "$WEB" true-in
	check "an allowed frame to its MAC arrives" passed web true-in
	send one send-udp "$ONE_MAC" "$WEB_MAC" "$ONE6" "$WEB6" true-in6
	check "by IPv6, too" passed web true-in6
	applied "UDP to another port" "allow udp 80 -"
	for mac in "$WEB_MAC" ff:ff:ff:ff:ff:ff 01:00:5e:00:00:01; do
		((++i))
		send one send-udp "$ONE_MAC" "$mac" "$ONE" "$WEB" lie-in-$i
		send one send-udp "$ONE_MAC" "$mac" "$ONE6" "$WEB6" lie-six-$i
		send one send-udp "$ONE_MAC" "$mac" "$ONE" 10.30.0.255 lie-broadcast-$i
		send one send-udp "$ONE_MAC" "$mac" "$ONE" 224.0.0.1 lie-multicast-$i
		send one send-udp "$ONE_MAC" "$mac" "$ONE" 10.30.0.77 lie-address-$i
		send one send-udp "$ONE_MAC" "$mac" "$ONE6" ff02::1 lie-multicast6-$i
		send one send-udp "$ONE_MAC" "$mac" "$ONE" "$WEB" lie-again-$i
		send one send-udp "$ONE_MAC" "$mac" 10.31.1.1 "$WEB" lie-spoofed-$i
		control_to_web control-$i
		for lie in in six broadcast multicast address multicast6 again spoofed; do
			check "a forbidden frame to $mac does not arrive ($lie)" \
				dropped web lie-$lie-$i control-$i
		done
	done
	stop watch-web
}

# To another neighbour, with whom there has been no such connection yet.
test_frames_out() {
	local mac i=0 two two6 two_mac
	two=$(vm m/two address) two6=$(vm m/two address6) two_mac=$(vm m/two mac)
	watch two two eth0
	applied "UDP out to port 9" "" "allow udp 9 $two
allow udp 9 $two6"
	send web send-udp "$WEB_MAC" "$two_mac" "$WEB" "$two" true-out
	check "an allowed frame to its MAC arrives" passed two true-out
	send web send-udp "$WEB_MAC" "$two_mac" "$WEB6" "$two6" true-out6
	check "by IPv6, too" passed two true-out6
	applied "UDP out to another" "" "allow udp 80 $two"
	for mac in "$two_mac" ff:ff:ff:ff:ff:ff 01:00:5e:00:00:01 "$(mac_of_bridge)"; do
		((++i))
		send web send-udp "$WEB_MAC" "$mac" "$WEB" "$two" lie-out-$i
		send web send-udp "$WEB_MAC" "$mac" "$WEB6" "$two6" lie-six-$i
		send web send-udp "$WEB_MAC" "$mac" "$WEB" 10.30.0.255 lie-broadcast-$i
		send web send-udp "$WEB_MAC" "$mac" "$WEB" 224.0.0.1 lie-multicast-$i
		send web send-udp "$WEB_MAC" "$mac" "$WEB6" ff02::1 lie-multicast6-$i
		send web send-udp "$WEB_MAC" "$mac" "$ONE" "$two" lie-spoofed-$i
		send web send-udp "$ONE_MAC" "$mac" "$ONE" "$two" lie-twin-$i
		send web send-arp "$WEB_MAC" "$WEB_MAC" "$WEB" "$two" control-$i
		for lie in out six broadcast multicast multicast6 spoofed twin; do
			check "a forbidden frame to $mac does not leave ($lie)" \
				dropped two lie-$lie-$i control-$i
		done
	done
	stop watch-two
}
mac_of_bridge() { ip -j link show m | jq -r '.[0].address'; }

big_ping() { inside "$1" ping -c1 -W2 -s 4000 "$2"; }
test_fragments() {
	applied "ping" "allow icmp - -"
	check "what is allowed passes in fragments" big_ping one "$WEB"
	check "by IPv6, too" big_ping one "$WEB6"
	applied "no ping" "allow tcp 80 -"
	fails "what is not does not" big_ping one "$WEB"
	fails "nor by IPv6" big_ping one "$WEB6"
	fails "nor from outside" big_ping v-a "$WEB"
	applied "no ping out" "" "allow tcp 80 -"
	fails "nor out" big_ping web "$ONE"
}

# Neighbour discovery is spared on the link; what looks like it and is routed is no such thing.
test_resolution_out() {
	watch outside internet eth0
	applied "out to nothing by IPv6" "" "allow tcp 80 $INTERNET4"
	fails "no ping" inside web ping -c1 -W1 "$INTERNET6"
	send web send-solicit "$WEB_MAC" "$(mac_of_bridge)" "$WEB6" "$INTERNET6" lie-far
	send one send-solicit "$ONE_MAC" "$(mac_of_bridge)" "$ONE6" "$INTERNET6" control-far
	check "nor a solicitation of who is far away" dropped outside lie-far control-far
	stop watch-outside
}

# The host's own connections too, by whichever of its addresses.
test_published() {
	local at
	must by publish m/web 8080:80
	applied "in from a peer only" "allow tcp 80 10.31.0.0/16"
	for at in 127.0.0.1 "$HOST4" 10.30.0.1 "$HOST6"; do
		cannot host "$at" 8080 "published, but not for the host"
	done
	cannot internet "$HOST4" 8080 "nor for outside"
	applied "in from outside" "allow tcp 80 192.0.2.0/24"
	can internet "$HOST4" 8080 "by who asks, not by who sends it on"
	can host "$HOST4" 8080
	cannot host 10.30.0.1 8080 "with its other address"
	must by unpublish m/web
}

# ---- what else there is ----

test_isolated() {
	policy "allow tcp 80 -" >policy.json
	must by vm add m alone --owner $USER_ID --isolated --policy policy.json
	must by vm add m apart --owner $USER_ID --isolated
	boot m/alone alone
	boot m/apart apart
	echo_server alone 80
	can one "$(vm m/alone address)" 80 "isolated from others only"
	cannot apart "$(vm m/alone address)" 80 "both isolated"
	cannot apart "$(vm m/alone address6)" 80 "both isolated"
	stop echo-alone-80
	shut_down alone apart
	must by vm delete m/alone m/apart
}

test_verify() {
	applied "something to verify" "allow tcp 80 -"
	check "it verifies" by policy verify m/web
	tamper
	fails "tampering is detected" by policy verify m/web
	says "and what to do" 'gc'
	must by gc
	check "gc repairs it" by policy verify m/web
	cannot one "$WEB" 443
	flush
	fails "a flushed ruleset is detected" by policy verify m/web
	must by gc
	check "gc makes it anew" by policy verify m/web
	cannot one "$WEB" 443
	can one "$WEB" 80
	is "gc finds nothing more" "$(by -q gc --json | jq .rulesets)" 0
}
tamper() {
	local chain
	if [[ ${BYWAY_FIREWALL:-} == iptables ]]; then
		chain=$(iptables -t mangle -S | awk '$1 == "-N" && /:g[0-9]+_ingress/ { print $2; exit }')
		iptables -t mangle -I "$chain" -p tcp --dport 443 -j RETURN
	else
		nft insert rule inet byway_port "$(nft list table inet byway_port |
			awk '/chain g[0-9]+_ingress/ { print $2; exit }')" tcp dport 443 return
	fi
}
flush() {
	if [[ ${BYWAY_FIREWALL:-} == iptables ]]; then
		iptables-save | grep -E '^-A FORWARD.*:forward' | sed s/-A/-D/ |
			while read -r rule; do eval "iptables $rule"; done
	else
		nft delete table inet byway_port
	fi
}

test_refused() {
	exits 2 "a policy for a subnet" by policy apply m/web "$EXAMPLES/policy-web.json"
	says "says so" namespace
	printf '{"subnet": "10.99.0.0/24"}' >other.json
	exits 2 "one for another network" by policy apply m/web other.json
	exits 2 "also when a VM is added" by vm add m bad --policy other.json
	printf '{"ingress": [{"action": "permit"}]}' >wrong.json
	exits 2 "one that is wrong" by vm add m bad --policy wrong.json
	says "with its place" 'wrong\.json:1:[0-9]+:.*permit'
	fails "no such file" by vm add m bad --policy nowhere.json
	is "none of them made a VM" "$(json '[.vms[].name] | join(" ")' vm list m)" "one two web"
	exits 3 "no such VM" by policy apply m/nobody web.json
	exits 3 "one without a policy" by policy show m/one
	exits 3 "one without a policy" by policy verify m/one
	check "removing what is not there" by policy remove m/one
	prints "says so" 'nothing to remove'
	can two "$ONE" 22 "and nothing has changed"
}

# A VM of a VPC's subnet, and one of the same name as a subnet, which comes first.
test_vpc() {
	policy "allow tcp 80 -" >policy.json
	must by vm add v/a db --owner $USER_ID --policy policy.json
	boot v/db db
	for i in 22 80; do echo_server db $i; done
	can v-a "$(vm v/db address)" 80 "from the subnet it is on"
	cannot v-a "$(vm v/db address)" 22 "from the subnet it is on"
	cannot one "$(vm v/db address6)" 22 "from a peer"
	can db "$SUBNET" 22 "egress is open"
	for i in 22 80; do stop echo-db-$i; done
	shut_down db
	must by vm delete v/db
	must by vm add v/a a
	must by policy apply v/a policy.json
	is "a subnet comes before a VM of its name" "$(json .subnet policy show v/a)" a
	must by policy remove v/a
	must by vm delete v/a
}

test_remove() {
	check "remove" by policy remove m/web
	can one "$WEB" 22 "no policy any more"
	can web "$ONE" 22 "no policy any more"
	can v-a "$WEB6" 22 "no policy any more"
	exits 3 "it is not there" by policy show m/web
	fails "and no table" has_table
	must by policy apply m/web web.json
	cannot one "$WEB" 22
	must by vm add m extra --policy web.json
	must by vm delete m/extra
	check "another's goes alone" by policy verify m/web
}
has_table() {
	if [[ ${BYWAY_FIREWALL:-} == iptables ]]; then
		iptables-save | grep '^:BYWAY-.*:from '
	else
		nft list table inet byway_port
	fi
}

# ---- names instead of networks ----

test_names() {
	must by subnet add v b 10.31.2.0/24
	applied "a VM, a subnet and a VPC by their names" "allow tcp 80 m/one
allow tcp 22 v/a
allow tcp 443 v"
	can one "$WEB" 80 "by its name"
	can one "$WEB6" 80 "by its name"
	cannot two "$WEB" 80 "which is another's"
	can v-a "$WEB" 22 "by its subnet's name"
	can v-a "$WEB6" 22 "by its subnet's name"
	cannot v-b "$WEB" 22 "of another subnet"
	can v-b "$WEB" 443 "by its VPC's name"
	check "show" by policy show m/web
	prints "has the name" '"m/one"'
	prints "and the address" "$ONE"
}

# What it stands for changes: a name that nobody has matches nobody, and the list stays closed.
test_names_change() {
	check "a flow" flow_open named v-a "$WEB" 22
	stop echo-v-a-22
	must by subnet delete v/a
	flow_close named
	cannot v-b "$WEB" 22 "of a subnet that is not there"
	stop_guest one
	must by vm delete m/one
	must by vm add m heir --owner $USER_ID --ip "$ONE,$ONE6"
	boot m/heir heir
	cannot heir "$WEB" 80 "with the address of who had the name"
	check "the policy is verified" by policy verify m/web
	shut_down heir
	must by vm delete m/heir
	must by vm add m one --owner $USER_ID --ip 10.30.0.50
	boot m/one one
	can one "$WEB" 80 "the next of the name"
	must by subnet add v a 10.31.9.0/24
	can v-a "$WEB" 22 "the next of the name"
	applied "only that" "allow tcp 22 v/a"
	must by subnet delete v/a
	cannot one "$WEB" 80 "a list with nobody in it is closed"
	check "gc finds nothing to repair" eval '[[ $(by -q gc --json | jq .rulesets) == 0 ]]'
}
stop_guest() {
	local port
	for port in 22 80 443; do stop "echo-$1-$port"; done
	shut_down "$1"
}

test_names_of_subnets() {
	must by subnet add v a 10.31.9.0/24
	for port in 22 80; do background "echo-b-$port" v-b "$PROBE" echo $port; done
	policy "allow tcp 80 a
allow tcp 22 m/two" >policy.json
	must by policy apply v/b policy.json
	can v-a "$(addr4 v-b)" 80 "a subnet of the same VPC"
	cannot v-a "$(addr4 v-b)" 22
	can two "$(addr4 v-b)" 22 "a VM"
	must by subnet delete v/a
	must by subnet add v c 10.31.9.0/24
	cannot v-c "$(addr4 v-b)" 80 "with the network of who had the name"
	check "it is verified" by policy verify v/b
	printf '{"ingress": [\n {"action": "allow", "source": "v/cc"}]}' >wrong.json
	exits 2 "a name that nobody has" by policy apply v/b wrong.json
	says "is said with its place, and what was meant" 'wrong\.json:2:[0-9]+:.*v/cc.*did you mean "v/c"'
	exits 2 "also when a VM is added" by vm add m bad --policy wrong.json
	exits 2 "and for a VM" by policy apply m/web wrong.json
	for port in 22 80; do stop echo-b-$port; done
}

# ---- what a crash leaves ----

test_killed() {
	local i bad=
	for i in 02 04 08 16; do
		kill_later 0.0$i vm add m "killed-$i" --policy web.json
		kill_later 0.0$i policy apply m/web policy.json
		must by gc
		by policy verify m/web >/dev/null || bad+=" $i: differs"
		REACH_MS=200 reaches one "$WEB" 22 && bad+=" $i: open"
	done
	is "after each kill and gc the rules are those of the state" "$bad" ""
	can one "$WEB" 80
}

snapshot_host >"$WORLD/before"
lay_out
test_added
test_rules
test_egress
test_both
test_cut
test_first_policy_cuts
test_atomic
test_frames_in
test_frames_out
test_fragments
test_resolution_out
test_published
test_isolated
test_verify
test_refused
test_vpc
test_remove
test_killed
test_names
test_names_change
test_names_of_subnets
stop_guest web
stop_guest two
shut_down one
stop_all
check "reset" by reset
check "nothing is left" same_as "$WORLD/before"
done_testing
