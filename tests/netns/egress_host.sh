#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The machine itself goes out by egresses: what it sends, what it forwards for others, what it reaches all the same,
# and what comes from outside; failing over; what crashes leave; gc and reset.
# shellcheck disable=SC2154 # PIDS is world.sh's
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/egress.sh
. "$WORLD_LIB/egress.sh"

EXIT_USAGE=2 EXIT_CONFLICT=7
OFFICE_PORT=2222
STREAM=$(realpath "${STREAM:-$WORLD_TREE/build/tests/lib/stream}")
CARRIERS+="
tcp $SSH_SERVER $OFFICE_PORT"
LAN4=192.0.2.77 # beside the host, and no carrier's
EXCLUDED=192.0.2.64/26

lay_out() {
	sshd_prepare
	resolvers_start
	sshd_start home "$SSHD_PORT"
	sshd_start office "$OFFICE_PORT"
	must ip -n internet addr add $LAN4/24 dev eth0
	web_server internet 8080
	echo_server internet 443
	echo_server host 7002
	guest_behind_host
	start_observer
	wait_for are_settled
	snapshot_host >"$WORLD/before"
	must by vpc create prod 10.0.0.0/16 --cidr6 fd10::/56
	must by subnet add prod lab 10.0.3.0/24
	must by subnet add prod web 10.0.1.0/24 --type public
	must by nat enable prod
	echo_server prod-web 443
	must by publish prod/web 8443:443
	must by egress add home "$(ssh_spec "root@$SSH_SERVER" "")"
	must by egress add office "$(ssh_spec "root@$SSH_SERVER" ", port: $OFFICE_PORT")"
}
are_settled() { ! ip -n internet addr | grep -q tentative; }

page() { get "$1" "http://$INTERNET4:8080/"; }
as_usual() { [[ $(page host) == "hello from internet to $HOST4" ]]; }
by_ssh() { [[ $(page "$1") == "hello from internet to $INTERNET4" ]]; }
is_captured() { ip rule | grep -q '^981[0-9]:.*fwmark 0x100000/0x100000'; }

# ---- names ----

test_names() {
	exits $EXIT_USAGE "no network is called host" by network up host
	says "since that is the machine" "'host' is this machine"
	exits $EXIT_USAGE "nor a VPC" by vpc create host 10.9.0.0/16
	exits $EXIT_CONFLICT "nor an egress" by egress add host "{ssh: a@b}"
	exits $EXIT_USAGE "what is excluded is a network" by egress use host none --exclude 10.0.0.1/8
	exits $EXIT_USAGE "of the host only" by egress use prod/lab none --exclude $EXCLUDED
	exits 3 "no such egress" by egress use host nobody
	check "the host goes out as usual" as_usual
}

# ---- what leaves ----

test_control() {
	begin_watch
	spray host
	spray guest
	control
	for what in "tcp $INTERNET4 443" "udp $INTERNET4 443" "udp $INTERNET4 53" "icmp $INTERNET4 8" \
		"tcp $INTERNET6 443" "udp $INTERNET6 53" "icmp $INTERNET6 128"; do
		check "the observer sees what leaves: $what" has_seen "$FROM" "$what"
	done
}

# What has to go on in every state.
all_else() { # STATE
	can host "$LAN4" 443 "excluded, $1"
	can host "udp:$LAN4" 443 "excluded, $1"
	can host "$(addr4 prod-web)" 443 "a VPC's, $1"
	can host "ping:$(addr6 prod-web)" 0 "of IPv6, $1"
	can_by_nat prod-web "by its own NAT, $1"
	can internet "$HOST4" 7002 "a service of the host's, $1"
	can internet "udp:$HOST4" 7002 "of UDP, $1"
	can internet "ping:$HOST6" 0 "$1"
	can internet "$HOST4" 8443 "a published port, $1"
	can host 127.0.0.1 8443 "published, $1"
	can host 127.0.0.1 7002 "$1"
	can guest 10.5.0.1 7002 "$1"
}

is_kept_in() { # STATE
	begin_watch
	spray host
	spray guest
	check "$1: nothing leaves" nothing_leaked
}

test_none() {
	check "the host has no way out" by egress use host none --exclude "$EXCLUDED,10.5.0.0/24"
	is_kept_in none
	all_else none
	run "$PROBE" udp "$INTERNET4" 443 "$PATIENCE"
	is "who sends a datagram is told" "$TAP_STATUS" 2
	check "the same again" by egress use host none --exclude "$EXCLUDED,10.5.0.0/24"
	prints "is no change" already
	if [[ ${BYWAY_FIREWALL:-} != iptables ]]; then
		nft delete table inet byway_host
		check "but where somebody has flushed its rules" \
			by egress use host none --exclude "$EXCLUDED,10.5.0.0/24"
		is_kept_in "after that"
	fi
	check "the usual way" by egress use host nat
	check "leads out" as_usual
	fails "and nothing is captured" is_captured
}

test_not_running() {
	flow_open datagrams host "$INTERNET4" 443 udp-flow
	flow_open stream host "$INTERNET4" 443
	flow_open caller internet "$HOST4" 7002
	check "there are connections" flow_works datagrams
	check "both" flow_works stream
	check "it is to go out by what does not run" by egress use host home,office --exclude "$EXCLUDED"
	is_kept_in "not running"
	all_else "not running"
	exits $EXIT_CONFLICT "one that it uses stays" by egress delete home
	says "for the host uses it" "host goes out by egress 'home'"
}

test_up() {
	check "home starts" start_egress home
	check "the host goes out by it" wait_for by_ssh host
	check "who sent datagrams goes on" flow_works datagrams
	check "a stream of before is cut" flow_is_cut stream
	check "one from elsewhere is not" flow_works caller
	flow_close datagrams
	flow_close stream
	flow_close caller
	check "and the office" start_egress office
	check "routed" wait_for routed office
	begin_watch
	check "a page, asked for by the other side" by_ssh host
	is "of IPv6" "$(get host "http://[$INTERNET6]:8080/")" "hello from internet to $INTERNET6"
	can host "udp:$INTERNET4" 443
	can host "ping:$INTERNET4"
	can host "ping:$INTERNET6"
	is "names as the server knows them, whoever is asked" \
		"$(dig +short +tries=1 +time=10 @$LAN4 some.name A)" 203.0.113.10
	check "who sits behind the host goes out by it, too" by_ssh guest
	can guest "udp:$INTERNET4" 443
	check "nothing left but what carries it" nothing_leaked
	all_else up
	is "the egress says who uses it" "$(egress home '.users | join(" ")')" host
}

# Who hears that a packet is too big, and sends smaller ones, is the egress: about a guest's connection.
test_narrow() {
	must ip link set guest0 mtu 1280
	must ip -n guest route replace default via 10.5.0.1 advmss 1460
	background big internet "$STREAM" inetd 9000 head -c 300000 /dev/zero
	is "a guest behind a narrow link of the host's gets all of it" \
		"$(inside guest timeout 20 nc -d "$INTERNET4" 9000 | wc -c)" 300000
	stop big
	must ip -n guest route replace default via 10.5.0.1
	must ip link set guest0 mtu 1500
}

test_failover() {
	stop_server sshd-home sshd
	sshd_start office "$OFFICE_PORT" # which went with it
	check "home is gone: its route is, too" wait_for unrouted home
	check "by the office" wait_for by_ssh host
	stop_server sshd-office sshd
	check "both are gone" wait_for unrouted office
	is_kept_in "both gone"
	all_else "both gone"
	sshd_start home "$SSHD_PORT"
	sshd_start office "$OFFICE_PORT"
	check "home is back" wait_for routed home
	check "so is the way out" wait_for by_ssh host
	check "another list" by egress use host office --exclude "$EXCLUDED"
	check "leads by that" wait_for by_ssh host
	flow_open kept host "$INTERNET4" 443
	must by egress use host office,home --exclude "$EXCLUDED"
	check "who goes on by the same one notices nothing" flow_works kept
	flow_close kept
	must by egress use host office --exclude "$EXCLUDED"
	is "of the two, that is used" "$(egress home '.users | length') $(egress office '.users | join(" ")')" "0 host"
}

# ---- one of the two ----

test_tunnel() {
	exits $EXIT_CONFLICT "no tunnel beside it" by ssh -q --detach "${WORDS[@]}" "root@$SSH_SERVER"
	says "says what to do" "byway egress use host nat"
	check "ssh down takes nothing away" by ssh down
	check "all is captured" is_captured
	check "it leads out" by_ssh host
	must by egress use host nat
	check "a tunnel" up
	exits $EXIT_CONFLICT "no way out beside it" by egress use host home
	says "says what to do" "byway ssh down"
	fails "and captures nothing" is_captured
	check "the tunnel carries on" wait_for by_ssh host
	must by ssh down
	check "then it goes" by egress use host home --exclude "$EXCLUDED"
	check "out by home" wait_for by_ssh host
}

# ---- a subnet and a VM of one name ----

test_same_name() {
	must by egress use prod/web none
	must by vm add prod/web web --owner 12345
	check "a VM of the subnet's name goes" by vm delete prod/web
	begin_watch
	spray prod-web
	check "the subnet has none as before" nothing_leaked
	must by egress use prod/web nat
}

# ---- what crashes and others leave ----

test_gc() {
	local priority
	nft flush ruleset
	while read -r priority; do ip rule del priority "$priority"; done \
		< <(ip rule | sed -n 's/^\(98[0-9]*\):.*/\1/p')
	check "rules are gone: gc" by gc
	check "puts them back" wait_for by_ssh host
	while read -r priority; do ip rule del priority "$priority"; done \
		< <(ip rule | sed -n 's/^\(98[0-9]*\):.*/\1/p')
	is_kept_in "without its rules of routing"
	check "gc" by gc
	kill -KILL "$(egress home .pid)"
	check "its process is killed" wait_for egress_is home killed
	is_kept_in killed
	check "gc" by gc
	is_kept_in "gc'd"
	check "it starts again" start_egress home
	check "by home" wait_for by_ssh host
	check "gc once more" by gc
	prints "finds nothing" "nothing|0"
}

test_reset() {
	stop echo-prod-web-443 2>/dev/null
	check "reset" by reset
	wait_for is_as_before
	check "takes all of it away" is_as_before
	check "and the host goes out as usual" as_usual
}
is_as_before() {
	snapshot_host >"$WORLD/now"
	diff <(grep -v ^process "$WORLD/before") <(grep -v ^process "$WORLD/now")
}

lay_out
test_names
test_control
test_none
test_not_running
test_up
test_narrow
test_failover
test_tunnel
test_same_name
test_gc
test_reset
stop_all
done_testing
