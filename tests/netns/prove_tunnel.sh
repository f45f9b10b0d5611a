#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# byway prove of what goes out by tunnels: subnets behind a real SSH server and a real proxy, a session of a real
# VPN, the host itself. What is tight is proved to be, in several states, and each leak made on purpose is found.
# shellcheck disable=SC2154 # PIDS is world.sh's
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/session.sh
. "$WORLD_LIB/session.sh"
# shellcheck source=tests/lib/egress.sh
. "$WORLD_LIB/egress.sh"
# shellcheck source=tests/lib/prove.sh
. "$WORLD_LIB/prove.sh"

LAB=prod-lab

lay_out() {
	egress_servers_start
	ocserv_prepare
	resolvers_start
	ocserv_start vpn "route =" "dpd = 2"
	echo_server internet 443
	must by vpc create prod 10.0.0.0/16 --cidr6 fd10::/56
	must by subnet add prod lab 10.0.3.0/24 --type public
	must by nat enable prod
	must by egress add bastion "$(ssh_spec "root@$SSH_SERVER" "")"
	must by egress add dc "$(connect_spec $PROXY "")"
}

carries() { reaches $LAB "$INTERNET4" 443; }
# By which interfaces of the workload's namespace a probe was sent.
sent_by() { evidence ".workloads[0].probes[] | select(.probe == \"$1\" and .family == \"ipv4\") | .inside | unique | join(\" \")"; }

# The marks are gone that lead into a leg, and the drop of what has none.
lose_marks() {
	nft delete table inet byway
	nft delete table inet byway_egress
	masquerade eth0
}

# test_egress NAME: a subnet behind it.
test_egress() {
	must by egress use prod/lab "$1"
	must start_egress "$1"
	check "$1 carries" wait_for carries
	check "and says so" wait_for egress_is "$1" up
	proves $NO_LEAK "a subnet behind $1" prod/lab
	is "what is expected of it" "$(evidence '.workloads[0].expected')" "nothing leaves"
	is "a name is asked for in it" "$(sent_by dns-tcp)" "veth-lab-ns"
	proves $NO_LEAK "$1 itself" "$1"
	is "its state is said" "$(evidence '.kind + " " + .state')" "egress up"
	is "what is sent goes into the tunnel" "$(sent_by udp)" tun0
	kill -KILL "$(egress "$1" .pid)"
	check "$1 is killed" wait_for egress_is "$1" killed
	proves $NO_LEAK "a subnet behind $1, which was killed" prod/lab
	lose_marks
	proves $LEAK "a subnet behind $1, with the rules gone" prod/lab
	finds "is found" eth0 tcp udp icmp dns dns-tcp quic fragments
	no_mistake
	must by gc
	must by egress stop "$1"
	proves $NO_LEAK "after gc, and with $1 down" prod/lab
}

# Somebody gives the session's namespace another wire.
test_session() {
	session_begin vpn
	proves $NO_LEAK "a session" vpn-1
	is "its state is said" "$(evidence '.kind + " " + .state')" "session up"
	is "what is sent goes into the VPN" "$(sent_by tcp)" tun0
	must ip link add wire type veth peer name wire netns vpn-1
	must ip addr add 172.31.0.1/24 dev wire
	must ip link set wire up
	must ip -n vpn-1 addr add 172.31.0.2/24 dev wire
	must ip -n vpn-1 link set wire up
	must ip -n vpn-1 route add 198.51.100.0/24 via 172.31.0.1
	must sysctl -q net.ipv4.ip_forward=1
	inside vpn-1 nft flush ruleset
	masquerade eth0
	proves $LEAK "a session with another wire" vpn-1
	finds "is found" eth0 tcp udp icmp
	is "by which it was sent" "$(sent_by udp)" wire
	no_mistake
	must ip link del wire
	must by session down vpn
}

test_host() {
	exits 3 "no tunnel" by prove host
	must up
	check "the host's tunnel" wait_for state_is up
	proves $NO_LEAK "the host's tunnel" host
	is "its state is said" "$(evidence '.kind + " " + .state')" "tunnel up"
	kill -KILL "$(tunnel pid)"
	check "it is killed" wait_for state_is killed
	proves $NO_LEAK "the host's tunnel, which was killed" host
	nft delete table inet byway_tunnel
	proves $LEAK "without its kill switch" host
	finds "is found" eth0 udp icmp dns quic
	is "of IPv6, too" "$(leak_of udp ipv6)" eth0
	must by ssh down
}

# By egresses, with the gateway excluded: what goes there as usual is no leak, but for questions for names.
test_host_way() {
	must start_egress bastion
	must by egress use host bastion --exclude 192.0.2.1/32
	check "the host goes out by an egress" wait_for reaches host "$INTERNET4" 443
	proves $NO_LEAK "the host's way out" host
	is "its state is said" "$(evidence '.kind + " " + .state')" "host up"
	is "and what is expected" "$(evidence '.workloads[0].expected')" "nothing leaves, but to what is excluded"
	is "what is excluded has left" "$(evidence '[.workloads[0].probes[] | select(.verdict == "left")] | length > 0')" true
	must by egress stop bastion
	proves $NO_LEAK "with nobody up" host
	is "it says that it is blocked" "$(evidence .state)" blocked
	nft delete table inet byway_host
	must ip rule add priority 9809 lookup main
	must ip -6 rule add priority 9809 lookup main
	proves $LEAK "without its rules" host
	finds "is found" eth0 udp icmp dns quic
	must ip rule del priority 9809
	must ip -6 rule del priority 9809
	must by egress use host nat
}

lay_out
test_egress bastion
test_egress dc
test_session
test_host
test_host_way
done_testing
