#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Security groups: what the JSON says is what the kernel does, at every moment.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

lay_out() {
	local port
	must by vpc create production 10.0.0.0/16 --cidr6 fd00::/56
	must by subnet add production web-tier 10.0.1.0/24 --type public --cidr6 fd00:0:0:1::/64
	must by subnet add production db-tier 10.0.2.0/24 --cidr6 fd00:0:0:2::/64
	must by vpc create other 10.7.0.0/16
	must by subnet add other x 10.7.1.0/24
	must by peer add production other
	for port in 22 80 443 8080 8081; do
		echo_server production-web-tier $port
	done
	for port in 22 80; do
		echo_server production-db-tier $port
	done
	WEB=$(addr4 production-web-tier) WEB6=$(addr6 production-web-tier)
	DB=$(addr4 production-db-tier) DB6=$(addr6 production-db-tier)
}

in=production-db-tier  # a client inside the VPC
out=other-x            # and one of a peer

apply() {
	policy "$1" "${2:-}" >policy.json
	run by policy apply production/web-tier policy.json
	((TAP_STATUS == 0)) || tap_explain policy apply
	return "$TAP_STATUS"
}
applied() {
	local name=$1
	shift
	if apply "$@"; then pass "$name"; else fail "$name"; fi
}

test_example() {
	can $in "$WEB" 8080 "no policy"
	check "the example applies" by policy apply production/web-tier "$EXAMPLES/policy-web.json"
	can $in "$WEB" 80
	can $out "$WEB" 443
	can $in "$WEB" 22 "SSH from the VPC"
	cannot $out "$WEB" 22 "SSH from elsewhere"
	cannot $in "$WEB" 8080
	cannot $in "udp:$WEB" 80
	cannot $in "ping:$WEB"
	can production-web-tier "$DB" 22 "all outbound"
	cannot $in "$WEB6" 80 "IPv6, of which the policy says nothing"
	check "it verifies" by policy verify production/web-tier
	check "it shows" by policy show production/web-tier
	prints "with the description" 'HTTP from anywhere'
	check "as JSON" eval "by policy show production/web-tier --json | jq -e .schema"
}

test_order() {
	applied "deny before allow" "deny tcp 80 10.0.2.0/24
allow tcp 80 0.0.0.0/0"
	cannot $in "$WEB" 80 "denied first"
	can $out "$WEB" 80 "allowed after"
	applied "allow before deny" "allow tcp 80 0.0.0.0/0
deny tcp 80 10.0.2.0/24"
	can $in "$WEB" 80 "allowed first"
	applied "deny one port of a range" "deny tcp 8081 -
allow tcp 8080-8090 -"
	can $in "$WEB" 8080
	cannot $in "$WEB" 8081
	applied "only denials" "deny tcp 80 -"
	cannot $in "$WEB" 443 "the default is drop"
}

test_protocols() {
	applied "a range, udp" "allow udp 79-81 10.0.0.0/16"
	can $in "udp:$WEB" 80
	cannot $in "$WEB" 80
	cannot $in "udp:$WEB" 443
	applied "icmp" "allow icmp - -"
	can $in "ping:$WEB"
	can $in "ping:$WEB6"
	cannot $in "$WEB" 80
	applied "icmp from somewhere" "allow icmp - 10.7.0.0/16"
	cannot $in "ping:$WEB"
	can $out "ping:$WEB"
	applied "any" "allow any - 10.0.2.0/24"
	can $in "$WEB" 8080
	can $in "udp:$WEB" 443
	can $in "ping:$WEB"
	cannot $out "$WEB" 80
	applied "IPv6 source" "allow tcp 80 fd00:0:0:2::/64"
	can $in "$WEB6" 80
	cannot $in "$WEB6" 443
	cannot $in "$WEB" 80
}

test_egress() {
	applied "out to one port" "" "allow tcp 80 10.0.2.0/24"
	can production-web-tier "$DB" 80
	cannot production-web-tier "$DB" 22
	cannot production-web-tier "$DB6" 80
	can $in "$WEB" 8080 "ingress without rules is open"
	applied "out by IPv6" "" "allow tcp 22 fd00::/56"
	can production-web-tier "$DB6" 22
	cannot production-web-tier "$DB" 22
}

test_replace() {
	applied "port 80 and 443" "allow tcp 80 -
allow tcp 443 -"
	check "a flow on 80" flow_open kept $in "$WEB" 80
	check "a flow on 443" flow_open cut $in "$WEB" 443
	check "a flow on 443 by IPv6" flow_open cut6 $in "$WEB6" 443
	check "it works" flow_works cut
	applied "only 80" "allow tcp 80 -"
	check "the forbidden flow is cut" flow_is_cut cut
	check "in IPv6 too" flow_is_cut cut6
	check "the allowed one lives" flow_works kept
	applied "nothing changes" "allow tcp 80 -"
	check "it still lives" flow_works kept
	check "the other is still cut" flow_is_cut cut
	flow_close kept
	flow_close cut
	flow_close cut6
	can $in "$WEB" 80 "new flows"
	cannot $in "$WEB" 443 "new flows"
}

# A flow that was there before the first policy is judged by it as well.
test_first_policy_cuts() {
	must by policy remove production/web-tier
	check "a flow without a policy" flow_open early $in "$WEB" 8080
	check "and one that will be allowed" flow_open good $in "$WEB" 80
	check "works" flow_works early
	applied "a first policy" "allow tcp 80 -"
	check "the flow it forbids is cut" flow_is_cut early
	check "the one it allows lives" flow_works good
	flow_close early
	flow_close good
}

# While a policy is replaced over and over, what both versions forbid never gets through, and what
# both allow never fails.
hammer() {
	local i
	for ((i = 0; i < 200; i++)); do
		REACH_MS=150 reaches $in "$WEB" 8080 && echo "leak $i"
		[[ -e stop ]] && break
	done
}

test_atomic() {
	local i attacker
	policy "allow tcp 80 -" >one.json
	policy "allow tcp 80 -
allow tcp 443 -" >two.json
	must by policy apply production/web-tier one.json
	check "an allowed flow" flow_open steady $in "$WEB" 80
	hammer >leaks &
	attacker=$!
	for ((i = 0; i < 30; i++)); do
		by -q policy apply production/web-tier one.json || echo failed
		by -q policy apply production/web-tier two.json || echo failed
		reaches $in "$WEB" 80 || echo "refused $i"
	done >faults 2>&1
	: >stop
	wait $attacker
	is "nothing gets through while it is replaced" "$(cat leaks)" ""
	is "and nothing allowed fails" "$(cat faults)" ""
	check "the allowed flow lives" flow_works steady
	flow_close steady
}

# The rules that byway put inside are taken away by hand, one at a time.
test_verify() {
	applied "something to verify" "allow tcp 80 -
deny tcp 443 -
allow tcp 22 10.0.0.0/16"
	check "it verifies" by policy verify production/web-tier
	tamper
	fails "tampering is detected" by policy verify production/web-tier
	says "and described" '.'
	check "applying again repairs" by policy apply production/web-tier policy.json
	check "it verifies again" by policy verify production/web-tier
	inside production-web-tier nft flush ruleset
	inside production-web-tier iptables-legacy -F
	inside production-web-tier iptables-legacy -P INPUT ACCEPT
	fails "a flushed ruleset is detected" by policy verify production/web-tier
	must by policy apply production/web-tier policy.json
}

# Whatever the backend, one rule more in a chain of its own.
tamper() {
	local family table chain
	if [[ ${BYWAY_FIREWALL:-} == iptables ]]; then
		inside production-web-tier iptables -I INPUT -p tcp --dport 8080 -j ACCEPT
		chain=$(inside production-web-tier iptables -S | awk '$1 == "-N" { print $2; exit }')
		inside production-web-tier iptables -I "${chain:-INPUT}" -p tcp --dport 8080 -j ACCEPT
		return
	fi
	read -r _ family table < <(inside production-web-tier nft list tables)
	chain=$(inside production-web-tier nft list table "$family" "$table" |
		awk '/chain/ { c = $2 } /hook input/ { print c; exit }')
	inside production-web-tier nft insert rule "$family" "$table" "$chain" tcp dport 8080 accept
}

test_remove() {
	check "remove" by policy remove production/web-tier
	can $in "$WEB" 8080 "no policy any more"
	check "remove again" by policy remove production/web-tier
	exits 3 "show what is not there" by policy show production/web-tier
	exits 3 "verify what is not there" by policy verify production/web-tier
}

test_all() {
	policy "allow tcp 80 -" >policy.json
	check "every subnet of a VPC" by policy apply 'production/*' policy.json
	cannot $in "$WEB" 22
	cannot production-web-tier "$DB" 22
	can production-web-tier "$DB" 80
	must by policy remove production/web-tier
	must by policy remove production/db-tier
	must by vpc create empty 10.8.0.0/16
	check "of a VPC without any" by policy apply 'empty/*' policy.json
	prints "is in force nowhere" 'nowhere: there is no empty/\*'
	must by vpc delete empty
}

# A policy belongs to the subnet, not to the moment.
test_kept() {
	local file=policy.json
	applied "before a NAT and a peering change" "allow tcp 80 -"
	must by nat enable production
	must by peer delete production other
	must by peer add production other
	check "it verifies" by policy verify production/web-tier
	cannot $out "$WEB" 22
	exits 2 "a policy for another subnet is refused" \
		by policy apply production/db-tier "$EXAMPLES/policy-web.json"
	says "and where it says so" "policy-web\\.json:$(grep -n '"namespace"' "$EXAMPLES/policy-web.json" | cut -d: -f1): .*production-web-tier"
	jq 'del(.namespace)' "$EXAMPLES/policy-web.json" >elsewhere.json
	exits 2 "by its network, too" by policy apply production/db-tier elsewhere.json
	says "and where" "elsewhere\\.json:3: .*10\\.0\\.1\\.0/24"
	must by policy remove production/web-tier
	rm $file
}

# wrong NAME JSON REGEX
wrong() {
	printf '%s\n' "$2" >wrong.json
	exits 2 "wrong: $1" by policy apply production/web-tier wrong.json
	says "  said with file, line and column" "wrong\.json:$3"
}

test_errors() {
	wrong "a key that does not exist" $'{"version":"1.0",\n "ingres": []}' '2:[0-9]+:.*ingres.*ingress'
	wrong "a key of a rule" $'{"ingress":[\n{"prot": "tcp", "action":"allow"}]}' '2:[0-9]+:.*prot'
	wrong "a port too large" $'{"ingress":[\n{"port": 70000,"protocol":"tcp","action":"allow"}]}' '2:[0-9]+:.*70000'
	wrong "a range upside down" $'{"ingress":[{"port":"90-80",\n"protocol":"tcp","action":"allow"}]}' '1:[0-9]+:.*90-80'
	wrong "a protocol" $'{"ingress":[\n{"port":80,"protocol":"tpc","action":"allow"}]}' '2:[0-9]+:.*tpc'
	wrong "an action" $'{"ingress":[\n{"port":80,"protocol":"tcp","action":"permit"}]}' '2:[0-9]+:.*permit'
	wrong "a network" $'{"ingress":[\n{"port":80,"protocol":"tcp","source":"10.0.0/8","action":"allow"}]}' '2:[0-9]+:.*10\.0\.0/8'
	wrong "no action" $'{"ingress":[\n{"port":80,"protocol":"tcp"}]}' '2:[0-9]+:.*action'
	wrong "a port without a protocol that has ports" $'{"ingress":[\n{"port":80,"protocol":"icmp","action":"allow"}]}' '2:'
	wrong "not JSON" $'{"ingress": [\n' '[0-9]+:'
	wrong "a version of the future" '{"version":"9.0","ingress":[]}' '1:[0-9]+:.*9\.0'
	wrong "a list instead of an object" '[]' '1:'
	fails "no such file" by policy apply production/web-tier nowhere.json
	exits 3 "no such subnet" by policy apply production/nowhere "$EXAMPLES/policy-web.json"
	exits 3 "no such VPC" by policy apply nowhere/web "$EXAMPLES/policy-web.json"
	exits 2 "not VPC/SUBNET" by policy apply production "$EXAMPLES/policy-web.json"
	can $in "$WEB" 8080 "none of that left a policy"
}

test_large() {
	local i rules=''
	for ((i = 1; i < 1000; i++)); do
		rules+="allow tcp $((10000 + i)) 10.9.$((i % 250)).0/24"$'\n'
	done
	applied "a policy of a thousand rules" "${rules}allow tcp 80 -"
	check "it verifies" by policy verify production/web-tier
	can $in "$WEB" 80
	cannot $in "$WEB" 22
}

snapshot_host >"$WORLD/before"
lay_out
test_example
test_order
test_protocols
test_egress
test_replace
test_first_policy_cuts
test_atomic
test_verify
test_remove
test_all
test_kept
test_errors
test_large
stop_all
must by vpc delete production
must by vpc delete other
check "nothing is left" same_as "$WORLD/before"
done_testing
