#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Published ports: whoever reaches the host reaches the workload by them, from outside, on the host and
# beside the workload; and nobody reaches anything else by it.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/vm.sh"
world_enter "$@"

# bridged_frames 0|1: whether what stays on a bridge goes by the rules for what is routed, as it does
# where Docker is.
bridged_frames() {
	local family
	for family in iptables ip6tables; do
		[[ ! -e /proc/sys/net/bridge/bridge-nf-call-$family ]] ||
			echo "$1" >"/proc/sys/net/bridge/bridge-nf-call-$family"
	done
}

lay_out() {
	must by network up n 10.10.0.0/24 --cidr6 fd10::/64
	must by network up shut 10.11.0.0/24 --no-nat
	must by vpc create v 10.0.0.0/16
	must by subnet add v priv 10.0.2.0/24 --type private
	must by vm add n web --owner "$USER_ID"
	must by vm add n beside --owner "$USER_ID"
	must by vm add shut away --owner "$USER_ID"
	boot n/web web
	boot n/beside beside
	boot shut/away away
	web_server web 80
	web_server v-priv 80
	echo_server web 7
	echo_server web 81
	echo_server host 9
	echo_server internet 9
	WEB4=$(vm n/web address) WEB6=$(vm n/web address6)
}

# published: "NETWORK/TARGET MAPPING" of all, in the order of the list
published() { json '[.published[] | "\(.network)/\(.target) \(.mapping)"] | join(", ")' publish list; }

test_before() {
	can internet "$HOST4" 9 "the host itself"
	can internet "$HOST6" 9 "the host itself"
	cannot internet "$HOST4" 8080 "nothing published"
	cannot host "$HOST4" 8080 "nothing published"
	can host "$WEB4" 80
	is "the list is empty" "$(published)" ""
}

test_publish() {
	check "publish" by publish n/web 8080:80/tcp 8007:7/udp
	is "both are listed" "$(published)" "n/web 8080:80/tcp, n/web 8007:7/udp"
	is "the list has a versioned schema" "$(json .schema publish list)" byway.publish.list/1
	is "the VM shows them" "$(json '.published | join(" ")' vm show n/web)" "8080:80/tcp 8007:7/udp"
	is "the network, too" "$(json '.published | length' network show n)" 2
	is "and status" "$(json '[.vpcs[].published[]] | length' status)" 2
	check "as tables" by publish list
	prints "with ports" '8080:80/tcp'
	check "publishing again" by publish n/web 8080:80
	prints "says that it was so" 'published 0 of 1'
}

test_outside() {
	can internet "$HOST4" 8080
	can internet "$HOST6" 8080
	can internet "udp:$HOST4" 8007
	can internet "udp:$HOST6" 8007
	is "the workload sees who asks" "$(get internet "http://$HOST4:8080/")" \
		"hello from web to 192.0.2.1"
	is "in IPv6 too" "$(get internet "http://[$HOST6]:8080/")" "hello from web to 2001:db8:2::1"
}

test_nothing_else() {
	cannot internet "$HOST4" 8081 "another port"
	cannot internet "$HOST4" 8007 "another protocol"
	cannot internet "udp:$HOST4" 8080 "another protocol"
	cannot internet "$WEB4" 80 "not by the host's address"
	cannot internet "$WEB4" 8080 "not by the host's address"
	cannot internet "$WEB6" 80 "not by the host's address"
	cannot internet "$WEB4" 81 "another port of the workload"
	can beside "$WEB4" 81
	can beside "$INTERNET4" 9 "not one of the host's addresses"
}

test_host() {
	local address
	for address in "$HOST4" 127.0.0.1 10.10.0.1; do
		is "the host by $address" "$(get host "http://$address:8080/")" "hello from web to $(from_host "$address")"
	done
	can host "$HOST6" 8080
	can host "udp:127.0.0.1" 8007
	cannot host 127.0.0.1 8081
	cannot host ::1 8080 "which the kernel lets nobody out from"
}
# 127.0.0.1 is nobody's address to answer.
from_host() { [[ $1 == 127.* ]] && echo 10.10.0.1 || echo "$1"; }

test_beside() {
	is "a neighbour by the host's address" "$(get beside "http://$HOST4:8080/")" "hello from web to 10.10.0.1"
	is "by the gateway's" "$(get beside http://10.10.0.1:8080/)" "hello from web to 10.10.0.1"
	can beside "$HOST6" 8080
	can beside "udp:$HOST4" 8007
	is "directly it is who it is" "$(get beside "http://$WEB4/")" "hello from web to $(vm n/beside address)"
	cannot beside "$HOST4" 9 "the host itself"
}

# With br_netfilter the kernel would have to send the frame back by the port it came from.
test_itself() {
	can web "$HOST4" 8080 "itself"
	can web "$HOST6" 8080 "itself"
	can web "udp:$HOST4" 8007 "itself"
}

test_isolation() {
	cannot away "$HOST4" 8080 "another network"
	cannot v-priv "$HOST4" 8080 "another VPC"
	cannot away "$WEB4" 80 "another network"
	cannot v-priv "$INTERNET4" 9 "private as before"
}

# With route_localnet the kernel takes in what is for 127.0.0.1: the rules do not.
test_loopback() {
	echo_server host 10
	echo_server host 11
	is "the bridge lets the host's 127.0.0.1 out" "$(cat /proc/sys/net/ipv4/conf/n/route_localnet)" 1
	is "another one does not" "$(cat /proc/sys/net/ipv4/conf/br-v/route_localnet)" 0
	must ip -n beside route del 127.0.0.0/8 table local
	must ip -n beside route del 127.0.0.1 table local
	must ip -n beside route add 127.0.0.1 via 10.10.0.1 src "$(vm n/beside address)"
	fails "nobody beside gets to the host's loopback" answers 10
	cannot beside 127.0.0.1 8080 "nor to what is published there"
	open_input
	check "but without the rule" answers 10
	check "gc mends the rule" by gc
	fails "which holds again" answers 11
	stop echo-host-10
	stop echo-host-11
}
# answers PORT: of the host, when it is asked by 127.0.0.1 from beside.
answers() {
	refuses beside 127.0.0.1 "$1"
	ss -Htan state syn-recv "sport = :$1" | grep .
}
open_input() {
	if [[ ${BYWAY_FIREWALL:-} == iptables ]]; then
		must iptables -I BYWAY-input 1 -j ACCEPT
	else
		must nft insert rule inet byway input accept
	fi
}

test_private() {
	cannot internet "$HOST4" 8088
	check "publish of a private subnet" by publish v/priv 8088:80
	is "is reached" "$(get internet "http://$HOST4:8088/")" "hello from v-priv to 192.0.2.1"
	is "on the host, too" "$(get host http://127.0.0.1:8088/)" "hello from v-priv to 10.0.0.1"
	cannot v-priv "$INTERNET4" 9 "private as before"
	cannot v-priv "$HOST4" 9 "private as before"
	cannot internet "$(addr4 v-priv)" 80 "not by the host's address"
	check "take it back" by unpublish v/priv
	cannot internet "$HOST4" 8088
}

test_addresses() {
	must ip addr add 192.0.2.3/24 dev eth0
	check "publish on one address" by publish n/web 192.0.2.3:8090:80 127.0.0.1:8091:80 "[$HOST6]:8092:80"
	can internet 192.0.2.3 8090
	cannot internet "$HOST4" 8090 "another address"
	can host 127.0.0.1 8091
	cannot host "$HOST4" 8091 "not on 127.0.0.1"
	cannot internet "$HOST4" 8091 "not on 127.0.0.1"
	can internet "$HOST6" 8092
	cannot internet "$HOST4" 8092 "IPv6 only"
	check "the same port of another address" by publish n/beside "$HOST4:8090:80"
	exits 7 "all addresses overlap with one" by publish n/beside 8090:80
	check "take them back" by unpublish n/web 192.0.2.3:8090 8091/tcp 8092
	is "and no other" "$(published)" "n/beside $HOST4:8090:80/tcp, n/web 8080:80/tcp, n/web 8007:7/udp"
	must by unpublish n/beside
	must ip addr del 192.0.2.3/24 dev eth0
}

# A mapping of an address that is somebody else's takes nothing that is for them.
test_foreign_address() {
	web_server internet 80
	must by publish n/web "$INTERNET4:80:80"
	is "a neighbour gets there" "$(get beside "http://$INTERNET4/")" "hello from internet to $HOST4"
	is "the host, too" "$(get host "http://$INTERNET4/")" "hello from internet to $HOST4"
	must ip addr add "$INTERNET4/32" dev lo
	is "until it is the host's" "$(get beside "http://$INTERNET4/")" "hello from web to 10.10.0.1"
	must ip addr del "$INTERNET4/32" dev lo
	must by unpublish n/web 80
	stop web-internet
}

test_conflicts() {
	exits 7 "a port that leads elsewhere" by publish n/beside 8080:80
	says "is said where to" "n/web"
	exits 7 "a port twice in one call" by publish n/beside 8100:80 8100:81
	exits 7 "a port that a process has" by publish n/beside 9:80
	says "is said" 'process'
	exits 7 "UDP, too" by publish n/beside 9:80/udp
	exits 3 "no such workload" by publish n/nobody 8100:80
	exits 3 "no such network" by publish nowhere/web 8100:80
	exits 2 "an IPv6 address of a workload without" by publish shut/away '[::]:8100:80'
	local bad
	for bad in 8100 8100:80/sctp 0:80 8100:65536 8100-8102:80-81 8102-8100:80-78 1.2.3:8100:80 x:80 ''; do
		exits 2 "'$bad' is no mapping" by publish n/web "$bad"
	done
	exits 2 "nor is one to take back" by unpublish n/web 80/sctp
	is "nothing changed" "$(published)" "n/web 8080:80/tcp, n/web 8007:7/udp"
	check "a dry run" by publish n/web 8100:80 --dry-run
	is "changes nothing" "$(published)" "n/web 8080:80/tcp, n/web 8007:7/udp"
	check "taking back what is not there" by unpublish n/web 8100
	says "says so" 'nothing'
}

rules() { [[ ${BYWAY_FIREWALL:-} == iptables ]] || nft list table inet byway | grep -cE '(dnat|accept|drop|masquerade)$|dnat ip'; }

test_range() {
	local before
	before=$(rules)
	check "a range" by publish n/web 9000-9049:50-99
	can internet "$HOST4" 9030
	cannot internet "$HOST4" 9050
	is "is elements, not rules" "$(rules)" "$before"
	check "a part of it is taken back" by unpublish n/web 9030-9049
	cannot internet "$HOST4" 9030
	check "and the rest" by unpublish n/web 9000-9029/tcp
	is "so that the others are left" "$(published)" "n/web 8080:80/tcp, n/web 8007:7/udp"
	can internet "$HOST4" 8080
}

test_two_ways() {
	must by publish n/web 8082:80
	can internet "$HOST4" 8082
	check "one of two ways to a port is taken back" by unpublish n/web 8082
	cannot internet "$HOST4" 8082
	can internet "$HOST4" 8080
	must by publish n/web 8082:80
	check "both are taken back at once" by unpublish n/web 8080 8082
	cannot internet "$HOST4" 8080
	is "and the rules are as they should be" "$(json .rulesets gc)" 0
	must by publish n/web 8080:80
}

test_cut() {
	must by publish n/web 8107:7 8108:81
	check "a flow" flow_open f internet "$HOST4" 8107
	check "a flow by another port" flow_open g internet "$HOST4" 8108
	check "one of datagrams" flow_open u internet "$HOST4" 8007 udp-flow
	check "one of a neighbour" flow_open b beside "$HOST4" 8107
	check "one of the host" flow_open h host 127.0.0.1 8107
	for flow in f g u b h; do check "$flow carries" flow_works $flow; done
	must by unpublish n/web 8107 8007/udp
	for flow in f u b h; do check "$flow is cut" flow_is_cut $flow; done
	check "that by the other port goes on" flow_works g
	must by unpublish n/web 8108 8080
	check "until the last is taken back" flow_is_cut g
	for flow in f g b h; do flow_close $flow; done
	is "nothing is published" "$(published)" ""
	is "the bridge lets nothing of 127.0.0.1 out" "$(cat /proc/sys/net/ipv4/conf/n/route_localnet)" 0
	must by publish n/web 8080:80 8007:7/udp
	check "the datagrams find their way again" flow_works u
	flow_close u
}

test_repair() {
	is "all is as it should be" "$(json .rulesets gc)" 0
	if [[ ${BYWAY_FIREWALL:-} == iptables ]]; then
		must iptables -t nat -F BYWAY-to.published4
	else
		must nft flush map inet byway published4
	fi
	echo 0 >/proc/sys/net/ipv4/conf/n/route_localnet
	cannot internet "$HOST4" 8080 "somebody flushed it"
	check "gc" by gc
	is "puts it back" "$(json .rulesets gc)" 0
	can internet "$HOST4" 8080
	can host 127.0.0.1 8080
}

test_deletion() {
	must by publish v/priv 8088:80
	must by vm delete n/web
	is "a VM's mappings go with it" "$(published)" "v/priv 8088:80/tcp"
	cannot internet "$HOST4" 8080
	must by vm add n web --ip "$WEB4"
	cannot internet "$HOST4" 8080 "not the next one's of that address"
	can internet "$HOST4" 8088
	must by publish shut/away 8089:80
	must by subnet delete v/priv
	is "a subnet's go with it" "$(published)" "shut/away 8089:80/tcp"
	must by network down shut
	is "a network's, too" "$(published)" ""
	must by publish n/web 8080:80
	must by vpc delete v
	check "reset takes all" by reset
}

bridged_frames 0
snapshot_host >before
lay_out
test_before
test_publish
test_outside
test_nothing_else
test_host
bridged_frames 1
test_beside
test_isolation
bridged_frames 0
test_beside
test_itself
test_isolation
test_private
test_addresses
test_foreign_address
test_conflicts
test_range
test_two_ways
test_repair
test_loopback
test_cut
test_deletion
stop_all
for name in web beside away; do ip netns del "$name"; done
check "nothing is left" same_as before
done_testing
