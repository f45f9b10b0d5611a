#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Why A reaches B, or does not: what is said from the state, and what the kernel does with a probe.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
# shellcheck source=tests/lib/vm.sh
. "$(dirname "$0")/../lib/vm.sh"
world_enter "$@"

POLICY='{"subnet": "10.0.1.0/24", "ingress": [
	{"port": 80, "protocol": "tcp", "action": "allow", "description": "web"},
	{"port": 81, "protocol": "tcp", "action": "allow", "source": "10.0.0.1/32"},
	{"port": 22, "protocol": "tcp", "action": "deny"},
	{"protocol": "icmp", "action": "allow"}
]}'

# Two VPCs that are peers but for one subnet, a third that nobody knows, and a network.
lay_out() {
	must by vpc create shop 10.0.0.0/16 --cidr6 fd00:a::/48
	must by subnet add shop web 10.0.1.0/24 --type public
	must by subnet add shop db 10.0.2.0/24
	must by vpc create lab 10.1.0.0/16
	must by subnet add lab dev 10.1.1.0/24
	must by subnet add lab old 10.1.2.0/24
	must by vpc create far 10.2.0.0/16
	must by subnet add far away 10.2.1.0/24
	must by peer add shop lab --allow 10.0.0.0/16,10.1.1.0/24
	must by nat enable shop --interface eth0
	echo "$POLICY" >web.json
	must by policy apply shop/web web.json
	must by publish shop/web 8080:80/tcp 2222:22/tcp 8081:81/tcp "$HOST4:9090:80/tcp"
	echo_server internet 80
}

# why FROM TO [PORT]: the words for people.
why_says() {
	local name=$1 pattern=$2
	shift 2
	by why "$@" >"$TAP_OUTPUT" 2>&1
	prints "$name" "$pattern"
}

# WORD FROM TO PORT: both, for every pair; the probe has to bear it out.
agree_at_all() {
	local verdict=$1 code=0
	shift
	[[ $verdict == reaches ]] || code=6
	exits "$code" "$* ($verdict)" by why "$@"
	exits "$code" "$* ($verdict, by the kernel, too)" by why --live --json "$@"
}

agree() {
	local verdict=$1
	agree_at_all "$@"
	shift
	is "$*: the last word" "$(jq -r '.live.dropped | tostring' "$TAP_OUTPUT")" \
		"$([[ $verdict == reaches ]] && echo false || echo true)"
	is "$*: said by a rule of a namespace on the way" \
		"$(jq -r '.live | (.where != null and .rule != null) | tostring' "$TAP_OUTPUT")" true
}

test_agreement() {
	agree reaches shop/db shop/web tcp/80
	agree stops shop/db shop/web tcp/22
	agree stops shop/db shop/web udp/53
	agree reaches shop/db shop/web icmp
	agree reaches --ipv6 shop/db shop/web icmp
	agree stops --ipv6 shop/db shop/web tcp/443
	agree reaches shop/db lab/dev tcp/443
	agree stops shop/db lab/old tcp/443
	agree stops shop/db far/away
	agree reaches shop/web "$INTERNET4" tcp/80
	agree stops shop/db "$INTERNET4" tcp/80
	agree stops far/away "$INTERNET4" udp/53
	agree reaches host shop/web tcp/80
	agree stops host shop/web tcp/22
	agree stops shop/db host tcp/22
	agree reaches lab/dev shop/web tcp/80
	agree reaches host "$HOST4" tcp/8080
	agree stops host "$HOST4" tcp/2222
}

# Whom the target sees: the gateway, or who asks.
test_seen() {
	agree reaches host shop/web tcp/81
	agree stops shop/db shop/web tcp/81
	agree stops host "$HOST4" tcp/8081
	agree reaches host 127.0.0.1 tcp/8081
	agree reaches shop/db "$HOST4" tcp/8081
	agree reaches lab/dev "$HOST4" tcp/8080
	agree stops lab/old "$HOST4" tcp/8080
	agree stops far/away "$HOST4" tcp/8080
	agree reaches host "$HOST4" tcp/9090
	agree reaches shop/db "$HOST4" tcp/9090
	agree stops shop/db host tcp/9090
}

# What a gateway answers, and to whom.
test_gateways() {
	agree reaches shop/db host icmp
	agree reaches lab/dev 10.0.0.1 icmp
	agree stops shop/db 10.1.0.1 icmp
	agree stops shop/db "$HOST4" icmp
	agree stops shop/db host udp/53
	must by dns enable shop
	agree reaches shop/db host udp/53
	agree reaches shop/db host tcp/53
	agree stops shop/db host udp/67
	agree stops shop/db host tcp/54
	agree stops lab/dev 10.0.0.1 udp/53
	agree stops lab/dev host udp/53
	must by dns disable shop
}

test_ways() {
	must by egress use shop/web none
	agree stops shop/web "$INTERNET4" tcp/80
	must by egress use shop/web nat
	agree reaches shop/web "$INTERNET4" tcp/80
}

# Of the host's own: nobody carries it.
test_host_way() {
	must by egress use host none --exclude 203.0.113.0/28
	agree reaches host "$INTERNET4" tcp/80
	agree_at_all stops host "$INTERNET4" udp/53 # no route, which no rule says
	why_says "which network" 'excluded from what its egresses take' host "$INTERNET4" 80
	must by egress use host none
	agree_at_all stops host "$INTERNET4" tcp/80
	why_says "why" 'host has no way out: its egress is none' host "$INTERNET4" 80
	agree reaches host shop/web tcp/80
	agree reaches shop/web "$INTERNET4" tcp/80
	must by egress use host nat
	agree reaches host "$INTERNET4" tcp/80
}

test_block() {
	must by block
	agree stops host "$INTERNET4" tcp/80
	agree stops host shop/web tcp/80
	agree reaches host "$HOST4" tcp/8080
	agree stops shop/web "$INTERNET4" tcp/80
	agree stops shop/db shop/web tcp/80
	agree stops shop/db lab/dev tcp/443
	agree reaches shop/db host icmp
	why_says "in words" 'blocked until there is a tunnel: .byway unblock' shop/db lab/dev 443
	why_says "what was for a published port" 'blocked until' "$INTERNET4" "$HOST4" 8080
	must by unblock
}

start_proxy() {
	printf 'Port 8888\nListen 192.0.2.1\n' >"$WORLD/tinyproxy.conf"
	background proxy internet tinyproxy -d -c "$WORLD/tinyproxy.conf"
	wait_for inside internet "$PROBE" tcp 192.0.2.1 8888 500 || bail "tinyproxy does not start"
}

# 10.1.0.0/16 is excluded, 10.0.0.0/16 is not.
test_tunnel() {
	start_proxy
	must by proxy up --proxy-url http://192.0.2.1:8888 --allow-dns 192.0.2.1 --exclude 10.1.0.0/16 --detach -q
	agree reaches host "$INTERNET4" tcp/80
	is "goes into it" "$(json .leaves_by why host "$INTERNET4" 80)" "$(json .tunnels[0].tun status)"
	agree stops host "$INTERNET4" udp/9
	agree stops host "$INTERNET4" icmp
	agree reaches shop/db lab/dev tcp/443
	agree stops lab/dev shop/web tcp/80
	agree_at_all stops host shop/web tcp/80 # the tunnel may answer, and does not
	agree stops shop/web "$INTERNET4" tcp/80
	agree reaches host lab/dev tcp/443
	kill -KILL "$(json .tunnels[0].pid status)"
	wait_for eval '[[ $(json .tunnels[0].state status) == killed ]]'
	agree_at_all stops host "$INTERNET4" tcp/80 # swallowed by a route
	agree reaches shop/db lab/dev tcp/443
	must by proxy down
	stop proxy
	agree reaches host "$INTERNET4" tcp/80
}

# WORD NETNS FROM TO PORT TARGET: a machine sends for itself.
agree_guest() {
	local verdict=$1 ns=$2 code=0 verb=can
	[[ $verdict == reaches ]] || { code=6; verb=cannot; }
	exits "$code" "$3 $4 $5 ($verdict)" by why "$3" "$4" "$5"
	$verb "$ns" "$6" "${5#*/}" "$3 $4 $5, by the machine"
}

# Policies of ports are asked by the host: after what a published port sends on.
test_guests() {
	local i
	must by network up flat 10.3.0.0/24
	policy "allow tcp 80 -
allow tcp 81 10.3.0.1/32" "deny tcp 82 -
allow - - -" >port.json
	for i in a b; do must by vm add flat $i --owner $USER_ID --isolated; done
	must by vm add flat web --owner $USER_ID --policy port.json
	for i in a b web; do boot flat/$i $i; done
	for i in 80 81 82; do echo_server web $i; done
	echo_server a 82
	echo_server b 80
	must by publish flat/web 7080:80/tcp 7081:81/tcp
	must by publish flat/a 7082:82/tcp 7083:83/tcp
	agree_guest reaches a flat/a flat/web tcp/80 "$(vm flat/web address)"
	agree_guest stops a flat/a flat/web tcp/81 "$(vm flat/web address)"
	agree_guest stops a flat/a flat/b tcp/80 "$(vm flat/b address)"
	agree_guest stops web flat/web flat/a tcp/82 "$(vm flat/a address)"
	agree_guest stops web flat/web "$HOST4" tcp/7082 "$HOST4"
	agree_guest reaches b flat/b "$HOST4" tcp/7080 "$HOST4"
	agree_guest stops a flat/a "$HOST4" tcp/7081 "$HOST4"
	agree_guest reaches host host flat/web tcp/81 "$(vm flat/web address)"
	agree_guest stops host host flat/web tcp/82 "$(vm flat/web address)"
	must by network down flat
	shut_down a b web
}

test_words() {
	why_says "a policy's rule, with file and line" \
		'x shop/web +its policy.s ingress rule denies it \[.*web\.json:4\]' shop/db shop/web 22
	why_says "with its description" 'allows it \(web\) \[.*web\.json:2\]' shop/db shop/web 80/tcp
	why_says "no rule" 'none of its policy.s ingress rules says so: dropped \[.*web\.json\]' \
		shop/db shop/web 443
	why_says "not peers" "'shop' and VPC 'far' are not peers" shop/db far/away
	why_says "not allowed by a peering" 'does not allow 10\.1\.2\.' shop/db lab/old
	why_says "private" 'shop/db is private' shop/db "$INTERNET4" 443
	must by subnet add far front 10.2.2.0/24 --type public
	why_says "no NAT" "byway nat enable far" far/front "$INTERNET4"
	why_says "the way out" 'leaves by eth0' shop/web "$INTERNET4" 443
	why_says "a published port" 'published as 8080:80/tcp: sent on to shop/web' "$INTERNET4" "$HOST4" 8080
	why_says "one that is not" 'no workload takes part' "$INTERNET4" "$HOST4" 8089
	why_says "from outside" 'published ports only' "$INTERNET4" shop/web 80
	why_says "an address is known" '- shop/web +gets it' shop/db "$(addr4 shop-web)" 80
	is "as JSON" "$(json '[.schema, .reaches, .steps[-1].line] | join(" ")' why shop/db shop/web 22)" \
		"byway.why/1 false 4"
}

# Isolation, egress none; a machine cannot send a probe for us.
test_ports() {
	must by network up flat 10.3.0.0/24
	must by vm add flat a --isolated
	must by vm add flat b --isolated
	must by vm add flat c
	exits 6 "isolated machines" by why flat/a flat/b
	exits 0 "one that is not" by why flat/a flat/c
	exits 0 "out" by why flat/a "$INTERNET4" 443
	must by egress use flat/a none
	exits 6 "without a way out" by why flat/a "$INTERNET4" 443
	prints "is said" 'no way out'
	exits 0 "but the other" by why flat/b "$INTERNET4" 443
	exits 9 "a probe from a machine" by why flat/a flat/b --live
	exits 0 "a probe to one" by why host flat/c --live
	must by network down flat
}

# What the kernel does otherwise than the state says is noticed.
test_otherwise() {
	exits 0 "before" by why shop/db shop/web 80 --live
	nft add table inet other
	nft add chain inet other forward '{ type filter hook forward priority 10; }'
	nft add rule inet other forward tcp dport 80 drop
	exits 1 "a rule of somebody else's" by why shop/db shop/web 80 --live
	prints "is named" 'dropped in host, by table inet other, chain forward, rule'
	says "with what to do" 'doctor'
	nft delete table inet other
}

test_mistakes() {
	exits 2 "a port that is none" by why shop/db shop/web tcp/99999
	exits 2 "a protocol that is none" by why shop/db shop/web sctp/1
	exits 3 "no such VPC" by why shop/db nowhere/x
	exits 3 "no such subnet" by why shop/db shop/x
	exits 2 "no such thing" by why shop/db x
	exits 2 "two families" by why 10.0.0.1 fd00::1
	exits 2 "no IPv6" by why -6 lab/dev lab/old
}

# A probe that nobody answers is killed while it waits.
test_killed() {
	"$BYWAY" why shop/db far/away --live >/dev/null 2>&1 &
	check "a probe is traced" wait_for eval 'nft list tables | grep -q byway_trace'
	kill -KILL $!
	wait $! 2>/dev/null
	fails "what it was traced by goes with it" eval 'nft list tables | grep -q trace'
	fails "in namespaces, too" eval 'ip netns exec shop-db nft list tables | grep -q trace'
}

test_leaves_nothing() {
	is "no table for tracing is left" "$(nft list tables | grep -c trace)" 0
	must by reset
	stop_all
	check "nothing is left" same_as before
}

# With it, the kernel sends what is published on inside the bridge, where a port under a policy takes nothing.
tee /proc/sys/net/bridge/bridge-nf-call-* <<<0 >/dev/null 2>&1
snapshot_host >before
lay_out
test_agreement
test_seen
test_gateways
test_ways
test_host_way
test_words
test_ports
test_guests
test_block
test_tunnel
test_killed
test_otherwise
test_mistakes
test_leaves_nothing
done_testing
