#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Examples with ways out, over real servers: each applied, tried, changed, applied again and destroyed. An
# observer on the far side sees what leaves beside the ways out; `control` is a VPC with NAT, by which it sees
# all that it is to look for.
# shellcheck disable=SC2154 # PIDS is world.sh's
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/ocserv.sh
. "$WORLD_LIB/ocserv.sh"
# shellcheck source=tests/lib/egress.sh
. "$WORLD_LIB/egress.sh"
# shellcheck source=tests/lib/examples.sh
. "$WORLD_LIB/examples.sh"

CUSTOMERS=(aspen birch cedar elm fir hazel larch maple oak pine)
OFFICE_PORT=2222
LAN4=192.0.2.77 # what is excluded
VPN_KEYS="openconnect: 'https://$INTERNET4:$OCSERV_PORT', cafile: $OCSERV_CA"
CARRIERS+="
tcp $SSH_SERVER $OFFICE_PORT"

lay_out() {
	sshd_prepare
	ocserv_prepare
	resolvers_start
	must ip -n internet addr add $LAN4/24 dev eth0
	echo_server internet 443
	echo_server host 7002
	echo_server corp 443
	web_server internet 8080
	start_observer
	must by vpc create control 10.200.0.0/16 --cidr6 fd20::/56
	must by subnet add control web 10.200.1.0/24 --type public
	must by nat enable control
	wait_for are_settled
	snapshot "$WORLD/before"
}

are_settled() { ! { ip -n internet addr; ip -n corp addr; } | grep -q tentative; }

# But for servers, which come and go.
is_as_before() {
	snapshot "$WORLD/now"
	diff <(grep -v ^process "$WORLD/before") <(grep -v ^process "$WORLD/now")
}

destroyed() { # FILE
	check "$1: destroyed" by destroy "$1"
	wait_for is_as_before
	check "nothing is left" is_as_before
	check "and nobody" not pgrep -x "byway|ssh|openconnect"
}

# named NS RESOLVER NAME: the address that a program in there finds.
named() { inside "$1" dig +short +tries=1 +time=10 "@${2}" "$3" A; }

is_kept_in() { # NS: with whatever is the matter with its way out
	begin_watch
	spray "$1"
	check "$1: nothing leaves" nothing_leaked
}

# ---- the observer ----

test_control() {
	begin_watch
	spray control-web
	control
	for what in "tcp $INTERNET4 443" "udp $INTERNET4 443" "udp $INTERNET4 53" "icmp $INTERNET4 8" \
		"tcp $INTERNET6 443" "icmp $INTERNET6 128"; do
		check "the observer sees what leaves: $what" has_seen "$FROM" "$what"
	done
}

# ---- ten VPN sessions ----

all_up() { [[ $(json '[.egresses[] | select(.state == "up")] | length' egress list) == "$1" ]]; }
all_routed() {
	local name
	for name; do routed "$name" || return; done
}
pids_but() { json ".egresses[] | select(.name != \"$1\") | \"\(.name) \(.pid)\"" egress list; }

# Who asks, as the VPN's network sees it, and as the VPN's server knows it.
who_asks() {
	local name
	for name in "${CUSTOMERS[@]}"; do
		echo "$name $(get "customers-$name" "http://$CORP4/")"
	done
}
who_is_known() {
	occ vpn -j show users 2>/dev/null | jq -r '.[] | "\(.Username) hello from corp to \(.IPv4)"' | sort
}

customers_begin() {
	local name
	for name in "${CUSTOMERS[@]}"; do
		ocserv_user "$name" "$VPN_PASSWORD"
		printf '%s\n' "$VPN_PASSWORD" >"$WORLD/$name.pass"
	done
	ocserv_start vpn "route =" "dpd = 2"
	sed -i "s/198.51.100.10/$CORP4/; s/interval: 30s/interval: 1s/; s,/etc/byway/,$WORLD/,
		s#{openconnect: vpn\.\([a-z]*\).example, username: alice#{$VPN_KEYS, username: \1#
		s#^    openconnect: vpn.pine.example#    ${VPN_KEYS/, /\\n    }#; s/^    username: alice/    username: pine/" \
		vpn-sessions.yaml
}

test_vpn_sessions() {
	local others
	customers_begin
	check "vpn-sessions.yaml" by apply vpn-sessions.yaml
	check "ten are up" wait_for all_up 10
	check "and routed" wait_for all_routed "${CUSTOMERS[@]}"
	begin_watch
	is "each subnet goes out by its own VPN" "$(who_asks)" "$(who_is_known)"
	is "names are those of the VPN, whoever is asked" "$(named customers-aspen "$NOBODY" www.corp.test)" "$CORP4"
	check "nothing left beside them" nothing_leaked
	is_kept_in customers-oak
	proved customers/oak pine
	again vpn-sessions.yaml
	flow_open kept customers-oak "$CORP4" 443
	others=$(pids_but pine)
	sed -i 's/mtu: 1300.*/mtu: 1280/' vpn-sessions.yaml
	check "vpn-sessions.yaml: a line changed" by apply vpn-sessions.yaml
	check "that one is up again" wait_for egress_is pine up
	is "with another MTU" "$(ip -j link show dev "$(egress pine .leg)" | jq '.[0].mtu')" 1280
	is "the others were left alone" "$(pids_but pine)" "$others"
	check "connections by the others go on" flow_works kept
	flow_close kept
	again vpn-sessions.yaml
	ocserv_kill vpn
	check "the server is gone: no route leads there" wait_for unrouted aspen
	is_kept_in customers-aspen
	destroyed vpn-sessions.yaml
}

# ---- a laptop ----

laptop_begin() {
	sed -i "s/alice@[a-z]*.example.com/root@$SSH_SERVER/; s,/home/alice/.ssh/laptop,$SSHD_DIR/user,
		s,/home/alice/.ssh/known_hosts,$SSHD_DIR/known,; s/Interval=5/Interval=1/; s/Max=3/Max=2/
		s,192.168.1.0/24,${LAN4%.*}.64/26," \
		laptop-ssh.yaml
	sshd_start home "$SSHD_PORT"
	sshd_start office "$OFFICE_PORT"
}

goes_out() { # NS
	is "$1 goes out by ssh" "$(get "$1" "http://$INTERNET4:8080/")" "hello from internet to $INTERNET4"
}
refuse() { # PORT
	inside internet nft -f - <<-END
		table inet refuse {
			chain in {
				type filter hook input priority 0
				tcp dport $1 reject with tcp reset
			}
		}
	END
}
home_refuses() { refuse "$SSHD_PORT"; }
office_refuses() { refuse "$OFFICE_PORT"; }
carried_by() { has_seen "$FROM" "tcp $SSH_SERVER $1"; }

# What the laptop reaches in any state.
beside_it() { # STATE
	can host "$LAN4" 443 "at home, $1"
	can host "ping:$(addr4 laptop-browser)" 0 "a subnet of its own, $1"
	can internet "$HOST4" 7002 "the laptop, $1"
	can_by_nat control-web "by its own NAT, $1"
}

test_laptop() {
	local home
	laptop_begin
	check "the machine was blocked early" by block laptop-ssh.yaml
	check "laptop-ssh.yaml" by apply laptop-ssh.yaml
	check "home is up" wait_for egress_is home up
	check "and the office" wait_for egress_is office up
	check "routed" wait_for all_routed home office
	begin_watch
	goes_out host
	goes_out laptop-browser
	can host "udp:$INTERNET4" 443
	can host "ping:$INTERNET4"
	can host "$INTERNET6" 443
	is "names as the server knows them" "$(named host 192.0.2.53 some.name)" 203.0.113.10
	is "of the subnet, too" "$(named laptop-browser 192.0.2.53 some.name)" 203.0.113.10
	check "nothing left beside it" nothing_leaked
	check "home's server carried it" carried_by "$SSHD_PORT"
	beside_it up
	proved host laptop
	again laptop-ssh.yaml
	nft delete table inet byway_host
	check "the host's rules are gone: applied again" by apply laptop-ssh.yaml
	begin_watch
	goes_out host
	check "nothing leaves beside it" nothing_leaked
	home_refuses
	check "home is gone" wait_for unrouted home
	is_kept_in laptop-browser
	begin_watch
	goes_out host
	check "by the office" carried_by "$OFFICE_PORT"
	office_refuses
	check "the office is gone, too" wait_for unrouted office
	is_kept_in host
	beside_it blocked
	proved host laptop/browser
	inside internet nft delete table inet refuse
	check "home is back" wait_for routed home
	goes_out host
	flow_open kept laptop-browser "$INTERNET4" 443
	home=$(egress home .pid)
	sed -i 's/egress: \[home, office\]/egress: office/' laptop-ssh.yaml
	check "laptop-ssh.yaml: a line changed" by apply laptop-ssh.yaml
	is "home was left alone" "$(egress home .pid)" "$home"
	check "connections by it go on" flow_works kept
	flow_close kept
	check "the office is back" wait_for routed office
	goes_out host
	is "who goes out by what" "$(egress home '.users | join(" ")') $(egress office '.users | join(" ")')" \
		"laptop/browser host"
	again laptop-ssh.yaml
	sed -i '/^host:/,/exclude:/d' laptop-ssh.yaml
	check "laptop-ssh.yaml: without its host" by apply laptop-ssh.yaml
	is "it goes out as usual" "$(get host "http://$INTERNET4:8080/")" "hello from internet to $HOST4"
	again laptop-ssh.yaml
	destroyed laptop-ssh.yaml
	stop sshd-home
	stop sshd-office
}

# ---- a sandbox ----

RESOLVER_OF_NAMES=192.0.2.53
asked_for() { grep -q "CONNECT $1:443" "$WORLD/tiny.log"; }

listed_proxy() {
	proxy_start_with 'ConnectPort 443' "Filter \"$WORLD/allowed\"" 'FilterDefaultDeny Yes' 'FilterExtended Yes' \
		'LogLevel Connect'
}

sandbox_begin() {
	printf s3cret >"$WORLD/proxy.pass"
	echo '^some\.name$' >"$WORLD/allowed"
	listed_proxy
	sed -i "s,http://proxy.example.com:3128,http://$PROXY:$PROXY_PORT,; s,/etc/byway/,$WORLD/,
		s/username: agent/username: alice/" agent-sandbox.yaml
}

test_sandbox() {
	local good bad
	sandbox_begin
	check "agent-sandbox.yaml" by apply agent-sandbox.yaml
	check "the proxy is routed to" wait_for routed proxy
	begin_watch
	good=$(named sandbox-alpha "$RESOLVER_OF_NAMES" some.name)
	bad=$(named sandbox-alpha "$RESOLVER_OF_NAMES" vpn.test)
	like "a name is an address that stands for it" "$good $bad" '^198\.1[89]\.[0-9.]+ 198\.1[89]\.[0-9.]+$'
	flow_open kept sandbox-alpha "$good" 443
	check "what the proxy has on its list is reached" flow_works kept
	check "the proxy was asked for the name" asked_for some.name
	cannot sandbox-alpha "$bad" 443 "not on the list"
	check "the proxy was asked for that, too" asked_for vpn.test
	cannot sandbox-alpha "$INTERNET4" 443 "an address"
	check "the proxy was not asked for it" not asked_for "$INTERNET4"
	cannot sandbox-alpha "$good" 80 "another port"
	cannot sandbox-alpha 192.0.2.1 443 "the local network"
	cannot sandbox-alpha "$PROXY" "$PROXY_PORT" "the proxy itself"
	cannot sandbox-alpha "ping:10.60.0.1" 0 "its gateway"
	cannot sandbox-alpha "ping:$(addr4 sandbox-beta)" 0 "another agent"
	cannot sandbox-alpha "udp:$HOST4" 53 "the host"
	check "nothing left but what the proxy carries" nothing_leaked
	is_kept_in sandbox-alpha
	proved sandbox/alpha
	again agent-sandbox.yaml
	sed -i '/^      beta:/d' agent-sandbox.yaml
	check "agent-sandbox.yaml: a line less" by apply agent-sandbox.yaml
	fails "that agent's network is gone" has_netns sandbox-beta
	check "the other's connection goes on" flow_works kept
	flow_close kept
	again agent-sandbox.yaml
	stop proxy
	is_kept_in sandbox-alpha
	destroyed agent-sandbox.yaml
}

lay_out
test_control
test_vpn_sessions
test_laptop
test_sandbox
stop_all
done_testing
