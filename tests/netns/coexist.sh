#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Hosts whose firewall drops what is forwarded, as Docker's, ufw's and firewalld's do: the doctor
# names the rule and one command, and that command helps.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

lay_out() {
	must by vpc create v 10.0.0.0/16
	must by subnet add v a 10.0.1.0/24 --type public
	must by subnet add v b 10.0.2.0/24
	must by nat enable v
	echo_server v-b 7
	web_server internet 80
}

test_healthy() {
	check "the doctor finds nothing on a healthy host" by doctor
	can v-a "$(addr4 v-b)" 7 "healthy host"
	can v-a "$INTERNET4" 80 "healthy host"
}

# The first command that the doctor offers.
fix() { by doctor --json | jq -r '[.. | objects | .fix // empty][0] // empty'; }

# blocked NAME REGEX: after the firewall was set up by the caller.
blocked() {
	local command
	cannot v-a "$INTERNET4" 80 "$1"
	fails "$1: the doctor finds it" by doctor
	like "$1: names the rule" "$(out; err)" "$2"
	command=$(fix)
	like "$1: and a command" "$command" '^(iptables|nft|ufw|firewall-cmd)'
	check "$1: the command works" bash -c "$command"
	can v-a "$INTERNET4" 80 "$1, fixed"
	can v-a "$(addr4 v-b)" 7 "$1, fixed"
	check "$1: the doctor is content" by doctor
	cannot internet "$(addr4 v-b)" 7 "$1, fixed"
}

docker_like() {
	iptables -P FORWARD DROP
	iptables -N DOCKER-USER
	iptables -A DOCKER-USER -j RETURN
	iptables -A FORWARD -j DOCKER-USER
	iptables -A FORWARD -i docker0 -j ACCEPT
}

flush() {
	iptables -P FORWARD ACCEPT
	iptables -F
	iptables -X
	iptables-legacy -P FORWARD ACCEPT
	iptables-legacy -F
	nft delete table inet firewalld 2>/dev/null
	can v-a "$INTERNET4" 80 "flushed"
}

ufw_like() {
	iptables -P FORWARD DROP
	iptables -N ufw-before-forward
	iptables -A FORWARD -j ufw-before-forward
	iptables -A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
}

firewalld_like() {
	nft -f - <<-'END'
		table inet firewalld {
			chain filter_FORWARD {
				type filter hook forward priority filter + 10; policy accept;
				ct state { established, related } accept
				iifname "lo" accept
				reject with icmpx admin-prohibited
			}
		}
	END
}

test_unrelated() {
	iptables -A FORWARD -i docker0 -j DROP
	check "a rule that is about others is no finding" by doctor
	iptables -F
}

test_read_only() {
	docker_like
	snapshot_host >"$WORLD/sick"
	by doctor >/dev/null 2>&1
	check "the doctor changes nothing" same_as "$WORLD/sick"
	flush
}

lay_out
test_healthy
docker_like
blocked Docker 'FORWARD.*DROP|DROP.*FORWARD|policy drop'
flush
ufw_like
blocked ufw 'FORWARD.*DROP|DROP.*FORWARD|policy drop'
flush
iptables-legacy -P FORWARD DROP
blocked "legacy iptables" 'FORWARD.*DROP|DROP.*FORWARD'
flush
firewalld_like
blocked firewalld 'firewalld'
flush
test_unrelated
test_read_only
done_testing
