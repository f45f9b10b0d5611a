#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Why A reaches B, or does not: what is said from the state, and what the kernel does with a probe.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

POLICY='{"subnet": "10.0.1.0/24", "ingress": [
	{"port": 80, "protocol": "tcp", "action": "allow", "description": "web"},
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
	must by publish shop/web 8080:80/tcp 2222:22/tcp
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
agree() {
	local verdict=$1 code=0
	shift
	[[ $verdict == reaches ]] || code=6
	exits "$code" "$* ($verdict)" by why "$@"
	exits "$code" "$* ($verdict, by the kernel, too)" by why --live --json "$@"
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

test_words() {
	why_says "a policy's rule, with file and line" \
		'x shop/web +its policy.s ingress rule denies it \[.*web\.json:3\]' shop/db shop/web 22
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
	why_says "one that is not" 'no workload takes part' "$INTERNET4" "$HOST4" 8081
	why_says "from outside" 'published ports only' "$INTERNET4" shop/web 80
	why_says "an address is known" '- shop/web +gets it' shop/db "$(addr4 shop-web)" 80
	is "as JSON" "$(json '[.schema, .reaches, .steps[-1].line] | join(" ")' why shop/db shop/web 22)" \
		"byway.why/1 false 3"
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

test_leaves_nothing() {
	is "no table for tracing is left" "$(nft list tables | grep -c trace)" 0
	must by reset
	stop_all
	check "nothing is left" same_as before
}

snapshot_host >before
lay_out
test_agreement
test_words
test_ports
test_otherwise
test_mistakes
test_leaves_nothing
done_testing
