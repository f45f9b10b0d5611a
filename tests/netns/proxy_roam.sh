#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A tunnel whose network changes under it: two uplinks, addresses and routes that come and go, a proxy
# that moves. Real proxies, a real resolver, real programs; and all the while an observer at the far end
# of each uplink, who must not see anything but connections to the proxies, and lookups of their names.
# shellcheck disable=SC2034 # PIDS belongs to world.sh
set -u
# shellcheck source=tests/lib/world.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

CAPTURE=$(realpath "${CAPTURE:-$WORLD_TREE/build/tests/lib/capture}")
PORT=8888
OLD4=203.0.113.20 NEW4=203.0.113.21 DEAD4=203.0.113.200
NEW6=2001:db8:99::21 DEAD6=2001:db8:99::200
RESOLVER=203.0.113.53
GONE_S=40 # longer than anything may take to be noticed

# ---- the world: a second uplink, eth1, at 198.51.100.2 and 2001:db8:3::2; and a guest ----

lay_out() {
	local address
	must ip link add eth1 type veth peer name eth1 netns internet
	for address in "$OLD4" "$NEW4" "$RESOLVER"; do must ip -n internet addr add "$address/32" dev lo; done
	must ip -n internet addr add "$NEW6/128" dev lo nodad
	must ip -n internet route add blackhole "$DEAD4/32"
	must ip -n internet route add blackhole "$DEAD6/128"
	must ip -n internet link set eth1 up
	must ip -n internet addr add 198.51.100.1/24 dev eth1
	must ip -n internet addr add 2001:db8:3::1/64 dev eth1 nodad
	for key in all eth0 eth1; do
		must inside internet sh -c "echo 0 >/proc/sys/net/ipv4/conf/$key/rp_filter"
	done
	echo 1 >/proc/sys/net/ipv4/conf/eth1/promote_secondaries
	ip netns add guest
	must ip link add guest0 type veth peer name eth0 netns guest
	must ip addr add 10.5.0.1/24 dev guest0
	must ip link set guest0 up
	must ip -n guest addr add 10.5.0.2/24 dev eth0
	must ip -n guest link set eth0 up
	must ip -n guest route add default via 10.5.0.1
	echo 1 >/proc/sys/net/ipv4/ip_forward
	uplink_up
	wait_for uplink_is_settled || bail "the second uplink does not come up"
	printf 'nameserver %s\noptions attempts:1 timeout:1\n' "$RESOLVER" >/etc/resolv.conf
}

# As a network manager would configure it.
uplink_up() {
	must ip link set eth1 up
	must ip addr replace 198.51.100.2/24 dev eth1
	must ip addr replace 2001:db8:3::2/64 dev eth1 nodad
}
uplink_is_settled() {
	[[ $(ip -o link show dev eth1) == *" state UP "* && $(ip -o addr show) != *tentative* ]] &&
		reaches host ping:198.51.100.1
}

default_by() {
	case $1 in
	eth0) must ip route replace default via 192.0.2.1 && must ip -6 route replace default via 2001:db8:2::1 ;;
	eth1) must ip route replace default via 198.51.100.1 && must ip -6 route replace default via 2001:db8:3::1 ;;
	esac
}

# files and a page, 100 MB at 20 MB/s at most
start_web() {
	web_config internet 80 >"$WORLD/web.conf"
	sed -i "s|location / .*|location / { return 200 \"hello to \$remote_addr\\\\n\"; } location /big { root $WORLD/www; limit_rate 10m; }|" "$WORLD/web.conf"
	mkdir "$WORLD/www"
	head -c 60000000 /dev/urandom >"$WORLD/www/big"
	become internet nginx -e "$WORLD/web.log" -c "$WORLD/web.conf" >/dev/null 2>&1 </dev/null &
	PIDS[web]=$!
	wait_for inside internet "$PROBE" tcp 127.0.0.1 80 500 || bail "nginx does not start"
}

# start_proxy NAME ADDRESS...
start_proxy() {
	local name=$1 address
	shift
	{
		echo "Port $PORT"
		for address; do echo "Listen $address"; done
		printf 'Timeout 600\nMaxClients 100\nLogFile "%s"\n' "$WORLD/$name.log"
	} >"$WORLD/$name.conf"
	become internet tinyproxy -d -c "$WORLD/$name.conf" >"$WORLD/$name.out" 2>&1 &
	PIDS[$name]=$!
	wait_for inside internet "$PROBE" tcp "$1" "$PORT" 500 || bail "tinyproxy does not start"
}

# start_resolver NAME=ADDRESS...: proxy.example and others.
start_resolver() {
	local record
	[[ -z ${PIDS[dnsmasq]:-} ]] || stop dnsmasq
	{
		printf 'no-resolv\nno-hosts\nno-daemon\nlog-queries\nlisten-address=%s\nbind-interfaces\n' "$RESOLVER"
		echo "host-record=some.name,203.0.113.10"
		for record; do echo "host-record=${record/=/,}"; done
	} >"$WORLD/dnsmasq.conf"
	become internet dnsmasq -C "$WORLD/dnsmasq.conf" >>"$WORLD/dnsmasq.out" 2>&1 &
	PIDS[dnsmasq]=$!
	wait_for inside internet "$PROBE" tcp "$RESOLVER" 53 500 || bail "dnsmasq does not start"
}

# ---- the observers ----

start_observers() {
	local name
	for name in observer-eth0 observer-eth1 names; do [[ -z ${PIDS[$name]:-} ]] || stop "$name"; done
	background observer-eth0 internet "$CAPTURE" observe eth0
	background observer-eth1 internet "$CAPTURE" observe eth1
	become internet tcpdump -n -l -i any port 53 >"$WORLD/names" 2>"$WORLD/names.err" &
	PIDS[names]=$!
	wait_for grep -q 'listening on' "$WORLD/names.err"
}

# control IF ADDRESS GATE: what was sent before by that uplink has arrived.
MARKS=0
control() {
	MARKS=$((MARKS + 1))
	"$PROBE" send-udp "$1" "$(mac_of host "$1")" "$(mac_of internet "$1")" "$2" "$3" "$MARKS"
	wait_for grep -qx "mark $MARKS" "$WORLD/observer-$1.out" || bail "the observer of $1 sees nothing"
}
controls() {
	control eth0 192.0.2.2 192.0.2.1
	control eth1 198.51.100.2 198.51.100.1
}

saw_on() { grep -qxF -- "$2" "$WORLD/observer-$1.out"; }

# What is none of: the proxies; byway's own lookups, whose names stand in the other file, and the error that
# answers a late answer; neighbour and multicast discovery; controls.
leaks() {
	local proxies="($OLD4|$NEW4|$DEAD4|$NEW6|$DEAD6)"
	sed -E -e "/^tcp ${proxies//./\\.} $PORT\$/d" -e "/^(tcp|udp) ${RESOLVER//./\\.} 53\$/d" \
		-e "/^icmp ${RESOLVER//./\\.} 3\$/d" -e '/^icmp [0-9a-f:]+ (13[3-6]|143)$/d' -e '/^other ff02::16 0$/d' -e '/^mark /d' -e '/^ready$/d' \
		"$WORLD"/observer-eth[01].out | sort | uniq -c
}
other_names() { grep -E '(192\.0\.2|198\.51\.100)\.[0-9]+\.[0-9]+ > .*\.53: ' "$WORLD/names" | grep -vE '(proxy|two)\.example\.'; }

nothing_leaked() {
	controls
	[[ -z $(leaks) && -z $(other_names) ]] && return 0
	leaks
	other_names
	return 1
}

# What programs try in the meantime.
probe_all() {
	local address
	for address in 203.0.113.10 2001:db8:99::10; do
		REACH_MS=50 reaches host "udp:$address" 443
		REACH_MS=50 reaches host "udp:$address" 53
		REACH_S=0.1 reaches host "ping:$address"
	done
	REACH_MS=50 reaches host "udp:$RESOLVER" 53
	getent ahostsv4 some.name
	return 0
} >/dev/null 2>&1

# ---- the tunnel ----

up() { by proxy up --proxy-url "http://$1:$PORT" --dns tcp --detach -q; }
state() { by proxy status --json | jq -r '.tunnels[0].state // "down"'; }
in_state() { [[ $(state) == "$1" ]]; }
page() { inside host curl -sS --noproxy '*' --connect-timeout 3 --max-time 5 http://203.0.113.10/; }
works() { [[ $(page 2>/dev/null) == "hello to 203.0.113.10" ]]; } # the proxy
allowed() { { nft list table inet byway_tunnel; ipset list; } 2>/dev/null | grep -qwF "$1"; }

now_ms() { date +%s%3N; }
# recovers NAME: how long until traffic flows, and until the status says so.
recovers() {
	local start flows
	start=$(now_ms)
	WAIT_S=$GONE_S check "$1: traffic flows again" wait_for works
	flows=$(($(now_ms) - start))
	WAIT_S=$GONE_S check "$1: the state is up" wait_for in_state up
	diag "$1: traffic after $flows ms, state up after $(($(now_ms) - start)) ms"
}

start_download() {
	curl -sS --noproxy '*' http://203.0.113.10/big 2>"$WORLD/download.err" | md5sum >"$WORLD/download" &
	PIDS[download]=$!
}
download_is_whole() {
	wait "${PIDS[download]}"
	unset "PIDS[download]"
	[[ $(<"$WORLD/download") == "$(md5sum <"$WORLD/www/big")" ]] || { cat "$WORLD/download.err"; return 1; }
}

# ---- tests ----

test_positive_control() {
	start_observers
	probe_all
	check "without a tunnel the observer sees a datagram" wait_for saw_on eth0 "udp 203.0.113.10 443"
	check "and another one" wait_for saw_on eth0 "udp 2001:db8:99::10 53"
	check "and a ping" wait_for saw_on eth0 "icmp 203.0.113.10 8"
	check "and a lookup" wait_for grep -q some.name "$WORLD/names"
	default_by eth1
	probe_all
	page >/dev/null
	check "by the other uplink, too" wait_for saw_on eth1 "udp 203.0.113.10 443"
	check "and a connection" wait_for saw_on eth1 "tcp 203.0.113.10 80"
	fails "which would be noticed" nothing_leaked
	default_by eth0
	start_observers
}

test_route_moves() {
	local i bad=0
	check "up" up proxy.example
	check "it works" works
	check "by the first uplink" wait_for saw_on eth0 "tcp $OLD4 $PORT"
	flow_open first host 203.0.113.10 443
	start_download
	for ((i = 0; i < 20; i++)); do
		((i != 5)) || default_by eth1
		works || bad=$((bad + 1))
		probe_all
	done
	check "the default route moves: connections are made by the other uplink" saw_on eth1 "tcp $OLD4 $PORT"
	is "none of the new connections fails" "$bad" 0
	check "a flow that was there goes on" flow_works first
	check "the download is whole" download_is_whole
	check "nothing leaked" nothing_leaked
}

# A flow over an address that goes is reset; one over another address is not. It is a guest's, because a
# program here loses its own address with that of the machine, and RST would not reach it.
test_address_goes() {
	flow_open second guest 203.0.113.10 443
	check "the guest has a flow" has_flows 1
	# In one go: the guest's RST passes the TUN's reverse path filter only while there is a default route.
	must ip -batch - <<-'END'
		addr add 198.51.100.3/24 dev eth1
		addr del 198.51.100.2/24 dev eth1
		route replace default via 198.51.100.1
	END
	check "the address goes: a flow over it is cut at once" wait_for has_flows 0
	check "so it is told" flow_is_cut second
	check "a flow over another one goes on" flow_works first
	recovers "another address"
	flow_close first
	flow_close second
	must ip addr add 198.51.100.2/24 dev eth1
	must ip addr del 198.51.100.3/24 dev eth1
	default_by eth1
	check "nothing leaked" nothing_leaked
}

# The guest says nothing meanwhile.
has_flows() { [[ $(inside guest ss -Htn state established 'dport = 443' | wc -l) == "$1" ]]; }

cut_silently() {
	must inside internet nft -f - <<-END
		table inet cut {
			chain input { type filter hook prerouting priority -300; ${1:-} tcp dport $PORT drop; }
		}
	END
}

# Nobody says that the way is cut; nothing changes on this machine.
test_silence() {
	flow_open silent host 203.0.113.10 443
	check "a flow works" flow_works silent
	cut_silently
	works
	WAIT_S=$GONE_S check "the way is cut: the state is reconnecting" wait_for in_state reconnecting
	probe_all
	check "nothing leaked" nothing_leaked
	must inside internet nft delete table inet cut
	recovers "the way is back"
	check "the flow has waited" flow_works silent
	flow_close silent
}

test_link_down() {
	flow_open cut host 203.0.113.10 443
	must ip link set eth1 down
	check "the link goes down: the state is reconnecting" wait_for in_state reconnecting
	probe_all
	fails "nothing works" works
	uplink_up
	default_by eth1
	recovers "the link is back"
	check "the flow has survived" flow_works cut
	flow_close cut
	check "nothing leaked" nothing_leaked
}

# No address and no route changes.
test_carrier() {
	must ip -n internet link set eth1 down
	check "the carrier goes: the state is reconnecting" wait_for in_state reconnecting
	must ip -n internet link set eth1 up
	must ip -n internet addr replace 2001:db8:3::1/64 dev eth1 nodad
	start_observers
	recovers "the carrier is back"
}

# A connection that is being opened when the network goes is opened in the next one; the first one does not
# take it back.
test_dial_begins_anew() {
	cut_silently "ip saddr 198.51.100.2"
	page >"$WORLD/page" 2>&1 &
	PIDS[page]=$!
	wait_for dialing || bail "no dial"
	default_by eth0
	check "a dial that had begun is finished elsewhere" page_came
	must inside internet nft delete table inet cut
	check "nothing leaked" nothing_leaked
}
dialing() { ss -Htn state syn-sent "dport = $PORT" | grep -q .; }
page_came() {
	wait "${PIDS[page]}"
	unset "PIDS[page]"
	grep -q hello "$WORLD/page"
}

# The name stands for another proxy; the old one goes.
test_proxy_moves() {
	start_proxy new "$NEW4" "$NEW6"
	start_resolver "proxy.example=$NEW4"
	check "before: the new address is not allowed" not allowed "$NEW4"
	stop old
	recovers "the proxy has moved"
	check "by the new address" saw_on eth0 "tcp $NEW4 $PORT"
	WAIT_S=$GONE_S check "the old one is not allowed any more" wait_for not allowed "$OLD4"
	check "nothing leaked" nothing_leaked
}

# The old proxy is still there: what goes through it goes on, and so does its address.
test_proxy_moves_and_stays() {
	start_proxy old "$OLD4"
	flow_open stays host 203.0.113.10 443
	start_resolver "proxy.example=$OLD4"
	must ip addr add 192.0.2.77/24 dev eth0
	check "the network changes: the name is resolved" wait_for allowed "$OLD4"
	check "the old address stays" allowed "$NEW4"
	start_observers
	check "new connections work" works
	controls
	check "they go to the new address" saw_on eth0 "tcp $OLD4 $PORT"
	check "the flow through the old one works" flow_works stays
	WAIT_S=15 fails "and keeps its address allowed" wait_for not allowed "$NEW4"
	check "still" flow_works stays
	flow_close stays
	WAIT_S=$GONE_S check "when it ends the address goes" wait_for not allowed "$NEW4"
	must ip addr del 192.0.2.77/24 dev eth0
	check "nothing leaked" nothing_leaked
	check "down" by proxy down
	start_observers
}

# The kill switch of a tunnel that was killed is there already: the name is resolved all the same.
test_killed() {
	local pid
	check "up" up proxy.example
	pid=$(by proxy status --json | jq -r '.tunnels[0].pid')
	kill -KILL "$pid"
	wait_for in_state killed
	probe_all
	check "killed: nothing leaked" nothing_leaked
	check "up again" up proxy.example
	check "it works" works
	check "nobody else asks the resolver by the way that is open to us" not dns_as_us
	nft add table inet rude
	nft add chain inet rude output '{ type filter hook output priority -149; }'
	nft add rule inet rude output meta mark set 0
	must ip rule del priority 9800
	check "nor when all marks are overwritten, and nothing leads into the tunnel" not dns_as_us
	nft delete table inet rude
	check "nothing leaked" nothing_leaked
	check "down" by proxy down
	start_observers
}
# Marked as our own sockets are, but not to a resolver; and to a resolver, but not marked.
dns_as_us() {
	inside host "$CAPTURE" dial 0x200000 203.0.113.10 53 300 || REACH_MS=300 reaches host "udp:$RESOLVER" 53
}

# two_addresses NAME RECORD...: one of them is dead.
two_addresses() {
	local start name=$1
	shift
	start_resolver "$@"
	check "$name: up" up two.example
	start=$(now_ms)
	check "$name: the first connection" works
	diag "$name: the first connection took $(($(now_ms) - start)) ms"
	start=$(now_ms)
	check "$name: the second connection" works
	diag "$name: the second took $(($(now_ms) - start)) ms"
	check "$name: nothing leaked" nothing_leaked
	check "$name: down" by proxy down
}

test_two_addresses() {
	two_addresses "a dead IPv6 address" "two.example=$NEW4,$DEAD6"
	check "it was tried" saw_on eth0 "tcp $DEAD6 $PORT"
	two_addresses "a dead IPv4 address" "two.example=$DEAD4,$NEW6"
	check "IPv6 was taken" saw_on eth0 "tcp $NEW6 $PORT"
	two_addresses "two of one family" "two.example=$DEAD4" "two.example=$NEW4"
}

lay_out
snapshot_host >"$WORLD/before"
start_web
echo_server internet 443
start_proxy old "$OLD4"
start_resolver "proxy.example=$OLD4"
test_positive_control
test_route_moves
test_address_goes
test_silence
test_link_down
test_carrier
test_dial_begins_anew
test_proxy_moves
test_proxy_moves_and_stays
test_killed
test_two_addresses
stop_all
check "nothing is left" same_as "$WORLD/before"
done_testing
