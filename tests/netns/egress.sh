#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Workloads that go out by egresses over a real SSH server and a real proxy, seen by an observer on the far side.
# shellcheck disable=SC2154 # PIDS is world.sh's
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/egress.sh
. "$WORLD_LIB/egress.sh"

LAB=prod-lab WEB=prod-web
EXIT_USAGE=2 EXIT_NOT_FOUND=3 EXIT_AUTH=4 EXIT_CONFLICT=7

lay_out() {
	egress_servers_start
	resolvers_start
	web_server internet 8080
	echo_server internet 443
	start_observer
	echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 # as some hosts have it, for new links
	snapshot "$WORLD/before"
	must by vpc create prod 10.0.0.0/16 --cidr6 fd10::/56
	must by subnet add prod lab 10.0.3.0/24
	must by subnet add prod web 10.0.1.0/24 --type public
	must by nat enable prod
	must by vpc create other 10.1.0.0/16
	must by subnet add other dev 10.1.1.0/24
	must by peer add prod other
}

page() { get "$1" "http://$2:8080/"; }

# But for servers that were started again.
is_as_before() {
	snapshot "$WORLD/now"
	diff <(grep -v ^process "$WORLD/before") <(grep -v ^process "$WORLD/now")
}

# ---- what there is ----

test_rows() {
	check "an egress over ssh" by egress add bastion "$(ssh_spec "root@$SSH_SERVER" "")"
	check "the same again changes nothing" test \
		"$(json .changed egress add bastion "$(ssh_spec "root@$SSH_SERVER" "")")" == false
	exits $EXIT_CONFLICT "another of that name" by egress add bastion "{ssh: alice@elsewhere}"
	check "an egress over a proxy" by egress add dc "$(connect_spec $PROXY "")"
	exits $EXIT_CONFLICT "a name that is built in" by egress add none "{ssh: alice@elsewhere}"
	exits $EXIT_USAGE "a key that is none" by egress add x "{ssh: a@b, idetity: k}"
	says "where, and what was meant" 'egress:1:12: .*did you mean "identity"'
	exits $EXIT_USAGE "a password in the URL" by egress add x "{connect: 'http://a:geheim@proxy:1'}"
	unlike "is not repeated" "$(err)" geheim
	exits $EXIT_NOT_FOUND "via nobody" by egress add x "{ssh: a@b, via: nobody}"
	must by egress add a "{ssh: a@b}"
	must by egress add b "{ssh: a@b, via: a}"
	exits $EXIT_USAGE "a circle" by egress add a "{ssh: a@b, via: b}" --replace
	exits $EXIT_CONFLICT "one that another goes out by stays" by egress delete a
	check "both are gone" by egress delete b a
	exits $EXIT_NOT_FOUND "no such workload" by egress use prod/nobody bastion
	exits $EXIT_USAGE "a VPC with subnets is no workload" by egress use prod bastion
	exits $EXIT_NOT_FOUND "no such egress" by egress use prod/lab nobody
	exits $EXIT_USAGE "openly, while no tunnel is up" by egress use prod/lab bastion,nat
	says "where it says why not" "in no list \(byway-egress\(8\)"
	is "all are down" "$(json '[.egresses[].state] | join(" ")' egress list)" "down down"
}

# ---- before anything runs ----

test_control() {
	begin_watch
	spray $WEB
	control
	check "the observer sees what goes out by NAT: TCP" has_seen "$FROM" "tcp $INTERNET4 443"
	check "UDP" has_seen "$FROM" "udp $INTERNET4 443"
	check "names" has_seen "$FROM" "udp $INTERNET4 53"
	check "ping" has_seen "$FROM" "icmp $INTERNET4 8"
	check "IPv6" has_seen "$FROM" "tcp $INTERNET6 443"
	check "of IPv6, ping" has_seen "$FROM" "icmp $INTERNET6 128"
}

# As the list and the state's file say.
nat_of() {
	local filter=".subnets[] | select(.name == \"$1\").nat_enabled"
	echo "$(json "$filter" subnet list prod) $(jq "$filter" /run/byway/vpc/prod.json)"
}

test_blocked_before() {
	check "the public subnet is to go out by ssh" by egress use prod/web bastion
	begin_watch
	spray $WEB
	check "nothing leaves, with NAT for its VPC and no process" nothing_leaked
	is "nor does it say that it has NAT" "$(nat_of web)" "false false"
	check "back to NAT" by egress use prod/web nat
	is "which it has" "$(nat_of web)" "true true"
	can_by_nat $WEB "by NAT"
}

test_same_name() {
	must by egress use prod/web bastion
	must by vm add prod/lab web --owner 12345
	check "a VM of the subnet's name goes" by vm delete prod/web
	is "the subnet still has its way out" "$(egress bastion '.users | join(" ")')" prod/web
	begin_watch
	spray $WEB
	check "and nothing leaves by NAT" nothing_leaked
	must by egress use prod/web nat
	must by vm add prod/web box --owner 12345
	must by egress use prod/box none
	must by subnet add prod box 10.0.7.0/24 --type public
	can_by_nat prod-box "by NAT, for it is another's way out"
	is "the VM's" "$(json '[.vpcs[].vms[] | select(.name == "box").egress] | join(" ")' status)" none
	must by subnet delete prod/box
	is "and stays that" "$(json '[.vpcs[].vms[] | select(.name == "box").egress] | join(" ")' status)" none
	must by vm delete prod/box
}

# ---- ssh ----

ADDRESSES=
inner_state() {
	ip -n $LAB -o addr show
	stat -L -c %i "/run/netns/$LAB"
}

carries() { # NAME
	is "$1: a page, asked for by the other side" "$(page $LAB "$INTERNET4")" \
		"hello from internet to $INTERNET4"
	is "$1: of IPv6" "$(page $LAB "[$INTERNET6]")" "hello from internet to $INTERNET6"
}

counts() { [[ $(egress "$1" '.bytes_up > 0 and .bytes_down > 0') == true ]]; }

test_ssh() {
	ADDRESSES=$(inner_state)
	snapshot_host >"$WORLD/unused"
	check "tried out" by --dry-run egress use prod/lab bastion
	prints "says what it would do" "ip rule add fwmark"
	check "and changes nothing" same_as "$WORLD/unused"
	check "the lab goes out by ssh" by egress use prod/lab bastion
	check "it starts" start_egress bastion
	check "it is up" wait_for egress_is bastion up
	check "and routed" wait_for routed bastion
	exits $EXIT_CONFLICT "it does not run twice" by egress run bastion
	begin_watch
	carries ssh
	can $LAB "udp:$INTERNET4" 443
	can $LAB "ping:$INTERNET4"
	can $LAB "ping:$INTERNET6"
	is "a name, whoever is asked: the server's resolver" \
		"$(inside $LAB dig +short +tries=1 +time=10 "@$NOBODY" some.name A)" 203.0.113.10
	check "nothing left beside the tunnel" nothing_leaked
	cannot $LAB 169.254.77.3 22 "the egress's own namespace"
	check "its VPC is reached as before" reaches $LAB "ping:$(addr4 $WEB)"
	check "and the peer" reaches $LAB "ping:$(addr4 other-dev)"
	can_by_nat $WEB "by NAT, as before"
	check "to stop it is tried out" by --dry-run egress stop bastion
	prints "says what it would do" "ip netns del bastion"
	carries "not stopped"
	is "status: who uses it" "$(egress bastion '.users | join(" ")')" prod/lab
	check "status: bytes" wait_for counts bastion
}

# in_state NAME: with whatever is the matter with the egress.
is_blocked() {
	begin_watch
	cannot $LAB "$INTERNET4" 443 "$1"
	cannot $LAB "$INTERNET6" 443 "$1"
	spray $LAB
	check "$1: nothing leaves" nothing_leaked
}

test_ssh_states() {
	local pids
	stop_server sshd-plain sshd
	check "the server is gone: reconnecting" wait_for egress_is bastion reconnecting
	check "no route leads there" wait_for unrouted bastion
	is_blocked reconnecting
	sshd_start plain "$SSHD_PORT"
	check "up again" wait_for egress_is bastion up
	check "routed again" wait_for routed bastion
	carries "up again"
	read -ra pids <<<"$(egress_pids bastion)"
	kill -STOP "${pids[@]}"
	is_blocked stopped
	kill -CONT "${pids[@]}"
	carries continued
	kill -KILL "${pids[1]}"
	check "its child is killed: so it says" wait_for egress_is bastion killed
	is_blocked "killed child"
	check "it starts again, over what is left" start_egress bastion
	check "it is up" wait_for egress_is bastion up
	check "routed" wait_for routed bastion
	carries restarted
	read -ra pids <<<"$(egress_pids bastion)"
	kill -KILL "${pids[0]}"
	check "killed" wait_for egress_is bastion killed
	is_blocked killed
	check "it starts again" start_egress bastion
	check "it is up" wait_for egress_is bastion up
	check "routed" wait_for routed bastion
	carries "restarted again"
	is "the workload's namespace and addresses are what they were" "$(inner_state)" "$ADDRESSES"
	check "it stops" by egress stop bastion
	is "it is down" "$(egress bastion .state)" down
	is_blocked down
}

test_ssh_connecting() {
	inside internet nft -f - <<-END
		table inet silence {
			chain in {
				type filter hook input priority 0
				ip daddr $SSH_SERVER tcp dport $SSHD_PORT drop
			}
		}
	END
	"$BYWAY" egress run bastion >"$WORLD/run.out" 2>&1 </dev/null &
	PIDS[run]=$!
	check "the server is silent: connecting" wait_for egress_is bastion connecting
	is_blocked connecting
	inside internet nft delete table inet silence
	check "it answers: up" wait_for egress_is bastion up
	check "routed" wait_for routed bastion
	carries "after all"
	kill "${PIDS[run]}"
	wait "${PIDS[run]}"
	is "a clean end" $? 0
	unset "PIDS[run]"
	is "down" "$(egress bastion .state)" down
}

test_ssh_refused() {
	must by egress add strange "$(ssh_spec "root@$SSH_SERVER" "" | sed 's,/user\,,/stranger\,,')"
	must by egress use prod/lab strange
	exits $EXIT_AUTH "a key that is refused: it ends" by egress run strange
	is "down, and nothing is left" "$(egress strange .state) $(ip netns | grep -c '^strange')" "down 0"
	is_blocked "refused"
	check "the lab is to go nowhere" by egress use prod/lab none
	is_blocked none
	check "the egress goes" by egress delete strange
}

# ---- connect ----

test_connect() {
	check "the lab goes out by the proxy" by egress use prod/lab dc
	check "it starts" start_egress dc
	check "routed" wait_for routed dc
	begin_watch
	carries connect
	check "it is up" wait_for egress_is dc up
	like "a name gets an address, whoever is asked" \
		"$(inside $LAB dig +short +tries=1 +time=10 "@$NOBODY" some.name A)" "^198\.1[89]\."
	is "by which the proxy is asked for the name" \
		"$(page $LAB "$(inside $LAB dig +short +tries=1 +time=10 "@$NOBODY" some.name A)")" \
		"hello from internet to $INTERNET4"
	cannot $LAB "udp:$INTERNET4" 443 "a proxy carries none"
	check "nothing left beside the tunnel" nothing_leaked
	stop proxy
	spray $LAB
	check "the proxy is gone: no route leads there" wait_for unrouted dc
	is_blocked "without a proxy"
	proxy_start
	check "it is back: routed" wait_for routed dc
	carries "connect, again"
	kill -KILL "$(egress dc .pid)"
	is_blocked "connect, killed"
	check "it stops" by egress stop dc
	is_blocked "connect, down"
}

# A route for a moment would cut what goes out by the second.
RETRY_S=30
test_unreachable_first() {
	must by egress use prod/lab dc,bastion
	check "a list: the proxy starts" start_egress dc
	check "and ssh" start_egress bastion
	check "the first is routed" wait_for routed dc
	check "both are" wait_for routed bastion
	inside internet nft -f - <<-END
		table inet silence {
			chain in {
				type filter hook input priority 0
				ip daddr $PROXY tcp dport $PROXY_PORT drop
			}
		}
	END
	spray $LAB
	check "the proxy is silent: no route leads there" wait_for unrouted dc
	can $LAB "udp:$INTERNET4" 443 "by the second"
	ip monitor route >"$WORLD/routes" 2>&1 &
	PIDS[routes]=$!
	pause $((RETRY_S + 3))
	stop routes
	is "and none is tried, for it would cut what goes out by the second" \
		"$(grep -c "$(egress dc .leg)" "$WORLD/routes")" 0
	inside internet nft delete table inet silence
	check "it answers: it counts again" wait_for routed dc
	carries "answers again"
	check "both stop" by egress stop dc
	must by egress stop bastion
	must by egress use prod/lab dc
}

# The connection that is open hears what it says: as long as nothing else is routed.
open_connection() {
	coproc TALK { become $LAB nc "$INTERNET4" 443; } 2>/dev/null
	PIDS[talk]=$TALK_PID
}
hears_itself() {
	local heard
	echo "$1" >&"${TALK[1]}" && read -r -t 20 heard <&"${TALK[0]}" && [[ $heard == "$1" ]]
}
requests() { grep -c " Request (file" "$WORLD/tiny.log"; }
was_asked() { (($(requests) > $1)); }

test_refusing_first() {
	local asked
	must by egress use prod/lab dc,bastion
	must start_egress dc
	must start_egress bastion
	check "a list: both are routed" wait_for routed dc
	check "ssh, too" wait_for routed bastion
	stop proxy
	PROXY_PASSWORD=changed proxy_start
	spray $LAB
	check "the proxy refuses: error" wait_for egress_is dc error
	check "no route leads there" wait_for unrouted dc
	open_connection
	check "a connection by the second" hears_itself one
	asked=$(requests)
	ip monitor route >"$WORLD/routes" 2>&1 &
	PIDS[routes]=$!
	WAIT_S=60 check "the proxy is asked again" wait_for was_asked "$asked"
	check "which nobody notices who goes out by the second" hears_itself two
	stop routes
	is "for no route was tried" "$(grep -c "$(egress dc .leg)" "$WORLD/routes")" 0
	is "it still refuses" "$(egress dc .state)" error
	stop proxy
	proxy_start
	WAIT_S=60 check "it takes the password again: it counts, without anybody's traffic" wait_for routed dc
	carries "refuses no more"
	stop proxy
	yes "SSH-2.0-nonsense" | become internet nc -N -k -l "$PROXY" "$PROXY_PORT" >/dev/null 2>&1 &
	PIDS[proxy]=$!
	wait_for inside internet "$PROBE" tcp "$PROXY" "$PROXY_PORT" 500
	spray $LAB
	check "something else than a proxy is there: error" wait_for egress_is dc error
	check "no route leads there, either" wait_for unrouted dc
	stop proxy
	proxy_start
	check "the proxy again: it counts, without anybody's traffic" wait_for routed dc
	carries "speaks again"
	stop talk
	must by egress stop dc
	must by egress stop bastion
	must by egress use prod/lab dc
}

# ---- and away ----

test_gone() {
	exits $EXIT_CONFLICT "an egress in use stays" by egress delete dc
	check "the subnet goes, with what it goes out by" by subnet delete prod/lab
	check "now nobody uses it" by egress delete dc bastion
	check "the VPCs go" by vpc delete prod other
	wait_for is_as_before
	check "nothing is left" is_as_before
	check "and nobody" not pgrep -x "byway|ssh"
}

lay_out
test_rows
test_control
test_blocked_before
test_same_name
test_ssh
test_ssh_states
test_ssh_connecting
test_ssh_refused
test_connect
test_unreachable_first
test_refusing_first
test_gone
done_testing
