#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The leak matrix of sessions, of both modes: in every state, all that can be sent from inside at once, seen by
# an observer on the host, where the sessions' veth pairs end, and by one on the far side, where the VPN server
# is. In mode full nothing at all but openconnect's own packets may come out of the pair; in mode split, nothing
# for a network that is included. Whatever changes a state happens under a stream of the same probes.
#
# The same probes are seen when a guest of the host sends them, when they are sent where openconnect is, and,
# while the VPN is up, coming out of it at the server, with the addresses that they have inside.
# shellcheck disable=SC2154,SC2004 # PIDS is world.sh's
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/ocserv.sh
. "$WORLD_LIB/ocserv.sh"

SPRAY=$(realpath "${SPRAY:-$WORLD_TREE/build/tests/leak/spray}")
RESOLVER4=203.0.113.53 OTHER_RESOLVER4=203.0.113.54 RESOLVER6=2001:db8:99::53
# Each session has servers of its own to ask for, so that a packet tells whose it was.
FOR_FULL4=203.0.113.11 FOR_FULL6=2001:db8:99::11
FOR_SPLIT4=203.0.113.12 FOR_SPLIT6=2001:db8:99::12
NAMED=10.97.0.1 # in a network that the server alone names
VPC4=10.30.1.2 VPC6=fd00:30:0:1::2
PORT=443

# ---- the world ----

lay_out() {
	local address
	for address in "$RESOLVER4" "$OTHER_RESOLVER4" "$FOR_FULL4" "$FOR_SPLIT4"; do
		must ip -n internet addr add "$address/32" dev lo
	done
	for address in "$RESOLVER6" "$FOR_FULL6" "$FOR_SPLIT6"; do
		must ip -n internet addr add "$address/128" dev lo nodad
	done
	guest_behind_host
	know_each_other host eth0 192.0.2.1 2001:db8:2::1 internet eth0 "$HOST4" "$HOST6"
	must by vpc create shop 10.30.0.0/16 --cidr6 fd00:30::/56
	must by subnet add shop web 10.30.1.0/24 --cidr6 fd00:30:0:1::/64
	ocserv_prepare
	must ip -n corp addr add "$NAMED/32" dev lo
	must ip -n internet route add "${NAMED%.*}.0/24" via "$CORP4"
	# What comes out of the VPN for the host's side has been seen by then, and is not to come back that way.
	must inside internet nft -f - <<-'END'
		table inet world {
			chain forward {
				type filter hook forward priority 0;
				iifname "vpns*" oifname "eth0" drop
			}
			chain input { type filter hook input priority 0; }
		}
	END
}

# resolver NAME NS ADDRESS...: it knows every name, and writes down who asks.
resolver() {
	local name=$1 ns=$2 address
	shift 2
	{
		printf '%s\n' no-resolv no-hosts no-daemon log-queries bind-interfaces 'address=/#/192.0.2.99'
		echo "address=/$OCSERV_NAME/$INTERNET4"
		for address; do echo "listen-address=$address"; done
	} >"$WORLD/$name.conf"
	become "$ns" dnsmasq -C "$WORLD/$name.conf" >"$WORLD/$name.log" 2>&1 </dev/null &
	PIDS[$name]=$!
	wait_for inside "$ns" "$PROBE" tcp "$1" 53 500 || bail "$name: $(cat "$WORLD/$name.log")"
}

# Takes what the C library would ask it, and hangs up.
name_service() {
	mkdir -p /run/nscd
	nc -lkNU /run/nscd/socket >>"$WORLD/nscd.log" 2>/dev/null </dev/null &
	PIDS[nscd]=$!
	wait_for test -S /run/nscd/socket
}

start_servers() {
	printf 'nameserver %s\n' 127.0.0.1 "$RESOLVER4" >"$WORLD/resolv.conf"
	must mount --bind "$WORLD/resolv.conf" /etc/resolv.conf
	resolver dns-host host 127.0.0.1 "$HOST4"
	resolver dns-internet internet "$RESOLVER4" "$OTHER_RESOLVER4" "$RESOLVER6"
	background watch-host host "$SPRAY" watch
	background watch-internet internet "$SPRAY" watch
	MAC=$(mac_of host eth0) GATE=$(mac_of internet eth0)
	GUEST_MAC=$(mac_of guest eth0) GUEST_GATE=$(mac_of host guest0)
}

# They hold connections whose other end has gone without a word: to be stopped, and all is as before.
start_echoes() {
	local ns
	for ns in host internet corp; do echo_server "$ns" "$PORT"; done
}
stop_echoes() {
	local ns
	for ns in host internet corp; do stop "echo-$ns-$PORT"; done
}

# vpn_start [LINE...]
vpn_start() {
	ocserv_start vpn "route = 10.98.0.0/24" "route = fd98::/64" "route = ${NAMED%.*}.0/24" "dpd = 3" "$@"
}

# The server's packets vanish, and nobody hears of it.
vpn_cut() {
	inside internet nft add rule inet world input meta l4proto '{ tcp, udp }' \
		th dport "$OCSERV_PORT" drop
}
vpn_mend() { inside internet nft flush chain inet world input; }

# ---- the sessions ----

write_file() {
	cat >"$WORLD/leak.yaml" <<-END
		interface: eth0
		subnet: 10.20.30.0/24
		vpn:
		  server: https://$OCSERV_NAME:$OCSERV_PORT
		  username: $VPN_USER
		  password: \${VPN_PASSWORD}
		  cafile: $OCSERV_CA
		  max_auth_attempts: 1
		backoff: {min: 1s, max: 1s}
		logging: {level: debug, directory: $WORLD/log}
		sessions:
		  - name: full
		  - name: split
		    routing: {mode: split, include: [10.98.0.0/24, "fd98::/64"]}
	END
}

supervise() {
	VPN_PASSWORD=$VPN_PASSWORD "$BYWAY" session up "$WORLD/leak.yaml" >>"$WORLD/up.out" 2>&1 </dev/null &
	PIDS[supervisor]=$!
	wait_for has_netns full && wait_for has_netns split
}
about() { by session status --json | jq -r --arg name "$1" ".sessions[] | select(.name == \$name) | $2"; }
state_is() { [[ $(about full .state) == "$1" && $(about split .state) == "$1" ]]; }
has_reached() { check "$1: the state of both is $2" wait_for state_is "$2"; }
clients() { about full 'select(.pid > 0).pid'; about split 'select(.pid > 0).pid'; }
inner() { about "$1" '.addresses[]'; }
# As a new process of the group finds out what it has.
know_addresses() {
	FULL_OUTER=$(about full .address) SPLIT_OUTER=$(about split .address)
}

# ---- what is sent: KIND SRC DST PORT ----

everything() {
	local dst proto
	for dst in "$CORP4" "$CORP6" "$NAMED" "$INTERNET4" "$INTERNET6" "$FOR_FULL4" "$FOR_FULL6" \
		"$HOST4" "$HOST6" "$SPLIT_OUTER" "$FULL_OUTER" "$VPC4" "$VPC6"; do
		for proto in tcp udp icmp; do echo "$proto - $dst $PORT"; done
	done
	cat <<-END
		udp - $CORP_DNS 53
		udp - $OTHER_RESOLVER4 53
		udp - $RESOLVER6 53
		udp - $HOST4 53
		each - 169.254.1.1 $PORT
		each - 224.0.0.251 5353
		each - 255.255.255.255 67
		each - ff02::fb 5353
		raw $HOST4 $FOR_FULL4 1001
		raw $HOST6 $FOR_FULL6 1001
		raw $FULL_OUTER $FOR_FULL4 1002
		raw $SPLIT_OUTER $HOST4 1002
		packet $HOST4 $FOR_FULL4 1003
		packet $HOST6 $FOR_FULL6 1003
		packet $FULL_OUTER $FOR_FULL4 1004
		packet $FULL_OUTER $HOST4 1004
		packet fe80::2 fe80::1 1005
	END
}

included() {
	local dst proto
	for dst in "$CORP4" "$CORP6"; do
		for proto in tcp udp icmp; do echo "$proto - $dst $PORT"; done
		echo "udp - $dst 53"
	done
	echo "udp - $CORP_DNS 53"
	echo "each - $CORP4 2001"
	echo "each - $CORP6 2001"
	echo "raw $HOST4 $CORP4 1001"
	echo "raw $HOST6 $CORP6 1001"
}
named() { printf '%s\n' "tcp - $NAMED $PORT" "udp - $NAMED $PORT" "icmp - $NAMED $PORT"; }
rest() { printf '%s\n' "tcp - $FOR_SPLIT4 $PORT" "udp - $FOR_SPLIT4 $PORT" "icmp - $FOR_SPLIT4 $PORT"; }

# as_packets [SRC4 SRC6] <LIST: "PROTOCOL SRC DST PORT" as the observers say it; SRC "-" when it is not known.
as_packets() {
	awk -v src4="${1:--}" -v src6="${2:--}" '{
		v6 = $3 ~ /:/
		proto = $1 ~ /^(tcp|icmp)$/ ? $1 : "udp"
		port = $1 == "icmp" ? (v6 ? 128 : 8) : $4
		print proto, $2 != "-" ? $2 : v6 ? src6 : src4, $3, port
	}' | sort -u
}
without_source() { awk '{ print $1, $3, $4 }' | sort -u; }
v4_only() { awk '$3 !~ /:/'; }
v6_only() { awk '$3 ~ /:/'; }

# ---- what is seen ----

# Frames that take the same ways; after them, all that was sent before has arrived, if it arrives at all.
CONTROLS=0
control() {
	CONTROLS=$((CONTROLS + 1))
	local _
	for _ in {1..20}; do # they may be lost, as any packet
		"$PROBE" send-udp eth0 "$MAC" "$GATE" "$HOST4" 192.0.2.1 "$CONTROLS"
		inside guest "$PROBE" send-udp eth0 "$GUEST_MAC" "$GUEST_GATE" 10.5.0.2 10.5.0.1 "$CONTROLS"
		WAIT_S=2 wait_for controls_seen && return
	done
	bail "the observers do not see the controls"
}
controls_seen() {
	grep -qx "eth0 mark $CONTROLS" "$WORLD/watch-internet.out" &&
		grep -qx "guest0 mark $CONTROLS" "$WORLD/watch-host.out"
}

# From here on, until `observed`: what came at host.seen and internet.seen.
observe() {
	rm -f "$WORLD"/*.answered
	control
	SINCE=$CONTROLS
}
observed() {
	local who
	control
	for who in host internet; do
		sed -n "/ mark $SINCE\$/,\$p" "$WORLD/watch-$who.out" | grep -v ' mark ' >"$WORLD/$who.seen"
	done
}

# at WHO DEVICE: "PROTOCOL SRC DST PORT", by the devices of that pattern.
at() { awk -v device="^($2)\$" '$1 ~ device { $1 = ""; print substr($0, 2) }' "$WORLD/$1.seen" | sort -u; }

# Openconnect's own packets, and what the kernel says to a server whose client is gone.
not_carrying() { # ADDRESS
	grep -vE "^(tcp|udp) $1 $INTERNET4 $OCSERV_PORT\$|^icmp $1 $INTERNET4 3\$"
}

# none NAME <LINES: there are none.
none() {
	local lines
	lines=$(cat)
	if [[ -z $lines ]]; then pass "$1"; else fail "$1" "$lines"; fi
}
# all_of NAME WANTED GOT / none_of NAME UNWANTED GOT: of sorted files.
all_of() { none "$1" < <(comm -23 "$2" "$3"); }
none_of() { none "$1" < <(comm -12 "$2" "$3"); }

# ---- judging ----

# spray_in NS MS LIST NAME: what was answered, since `observe`, is in NAME.answered.
spray_in() { inside "$1" "$SPRAY" "$2" <"$3" >>"$WORLD/$4.answered" 2>"$WORLD/$4.err"; }

# What full and split sent is nowhere beside their VPNs. Lists are files.
not_beside() { # NAME FULL-LIST SPLIT-LIST
	none "$1: full: nothing came out but openconnect's" \
		< <(at host veth-full | not_carrying "$FULL_OUTER")
	at internet eth0 | without_source >"$WORLD/arrived"
	none_of "$1: full: nothing arrived beside the VPN" <(as_packets <"$2" | without_source) "$WORLD/arrived"
	at host veth-split | without_source | sort -u - "$WORLD/arrived" >"$WORLD/beside"
	none_of "$1: split: nothing of what is included is beside the VPN" \
		<(as_packets <"$3" | without_source) "$WORLD/beside"
}

# came_through NAME SESSION LIST: out of the VPN, with the addresses inside.
came_through() { none "$1: $2: everything comes out of the VPN" < <(not_through "$2" "$3"); }
not_through() { # SESSION LIST
	# shellcheck disable=SC2046 # two addresses
	comm -23 <(as_packets $(inner "$1") <"$2") <(at internet 'vpns[0-9]+')
}

LOOKUPS=0
look_up() { # SESSION
	by session exec "$1" -- timeout 1 getent ahosts "$NAME.$1.test" >"$WORLD/lookup.$1" 2>&1 </dev/null
	case $? in # the name, that there is none, or time is over: getent has run
	0 | 2 | 124) return 0 ;;
	*) return 1 ;;
	esac
}
asked() { grep -aqF "$2.test" "$1"; }
host_asked() {
	asked "$WORLD/dns-host.log" "$1" || asked "$WORLD/dns-internet.log" "$1" || asked "$WORLD/nscd.log" "$1"
}

# all_at_once MS: both sessions send all they have, and look up a name.
# NOT_SENT: what could not be run, if anything.
all_at_once() {
	local session pid pids=()
	LOOKUPS=$((LOOKUPS + 1))
	NAME=n$LOOKUPS NOT_SENT=
	cp "$WORLD/full.list" "$WORLD/full.all"
	cat "$WORLD/split.list" "$WORLD/rest.list" >"$WORLD/split.all"
	for session in full split; do
		spray_in "$session" "$1" "$WORLD/$session.all" "$session" &
		pids+=($!)
		look_up "$session" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || NOT_SENT=$(cat "$WORLD"/{full,split}.err "$WORLD"/lookup.*)
	done
}

unanswered_rest() { comm -23 <(rest | sort) <(sort "$WORLD/split.answered"); }
judge_rest() {
	all_of "$1: split: the rest leaves" <(rest | as_packets | without_source) "$WORLD/arrived"
	none "$1: split: and is answered" < <(unanswered_rest)
}

# closed NAME: neither has its VPN.
closed() {
	observe
	all_at_once "$RESTRAINT"
	WAIT_S=5 wait_for rest_is_answered # by who is busy
	observed
	is "$1: both have sent all" "$NOT_SENT" ""
	not_beside "$1" "$WORLD/full.list" "$WORLD/split.list"
	none "$1: full: nothing is answered" <"$WORLD/full.answered"
	check "$1: full: no resolver of the host's is asked" not host_asked "$NAME.full"
	none_of "$1: split: nothing included is answered" <(sort "$WORLD/split.list") \
		<(sort "$WORLD/split.answered")
	judge_rest "$1"
	[[ $(</etc/netns/split/resolv.conf) == *"$RESOLVER4"* ]] ||
		check "$1: split: no resolver of the host's is asked" not host_asked "$NAME.split"
}
rest_is_answered() {
	[[ -n $(unanswered_rest) ]] || return 0
	rest | inside split "$SPRAY" 1000 >>"$WORLD/split.answered"
	false
}

# What is missing, of what passes the filter, from a session that is up.
missing_of() { # SESSION FILTER
	"$2" <"$WORLD/$1.list" >"$WORLD/$1.open"
	not_through "$1" "$WORLD/$1.open"
	comm -23 <(grep -E "^(tcp|udp|icmp) - ($CORP4|$CORP6|$NAMED) $PORT" "$WORLD/$1.open" | sort) \
		<(sort "$WORLD/$1.answered")
	asked "$OCSERV_DIR/dnsmasq.log" "$NAME.$1" || echo "a name"
}

# opened NAME [FILTER]: both have it; what passes the filter comes through, and the rest goes nowhere.
opened() {
	local filter=${2:-cat} session missing _
	observe
	for _ in {1..5}; do # a datagram may be lost
		all_at_once 1000
		observed
		missing=$(missing_of full "$filter"; missing_of split "$filter"; unanswered_rest)
		[[ -n $missing ]] || break
	done
	not_beside "$1" "$WORLD/full.list" "$WORLD/split.list"
	for session in full split; do
		none "$1: $session: all comes out of the VPN, those behind it answer, its resolver is asked" \
			< <(missing_of "$session" "$filter")
		check "$1: $session: no resolver of the host's is asked" not host_asked "$NAME.$session"
	done
	judge_rest "$1"
}

# ---- streams ----

STREAM_MS=20
stream() { # SESSION LIST
	become "$1" "$SPRAY" loop "$STREAM_MS" <"$2" >"$WORLD/stream-$1.out" 2>&1 &
	PIDS[stream-$1]=$!
	wait_for test -s "$WORLD/stream-$1.out"
}
stop_streams() {
	stop stream-full
	stop stream-split
}
rounds() { grep -c round "$WORLD/stream-$1.out"; }
# That many more rounds by both.
go_on() {
	local full split
	full=$(($(rounds full) + $1)) split=$(($(rounds split) + $1))
	wait_for more_rounds "$full" "$split"
}
more_rounds() { (($(rounds full) >= $1 && $(rounds split) >= $2)); }

# A stream sends what a program would, and what root might.
streamed() {
	cat <<-END
		tcp - $CORP4 $PORT
		udp - $CORP6 $PORT
		udp - $CORP_DNS 53
		icmp - $FOR_FULL4 $PORT
		udp - $HOST4 $PORT
		udp - $SPLIT_OUTER $PORT
		each - 224.0.0.251 5353
		raw $HOST4 $FOR_FULL4 1001
		packet $FULL_OUTER $FOR_FULL4 1004
		packet $HOST6 $FOR_FULL6 1003
	END
}

# across NAME COMMAND...: both send all the time; afterwards the VPN is up again.
across() {
	local name=$1
	shift
	streamed >"$WORLD/streamed"
	observe
	stream full "$WORLD/streamed"
	stream split "$WORLD/split.list"
	"$@"
	has_reached "$name" up
	go_on 5
	stop_streams
	observed
	not_beside "$name, meanwhile" "$WORLD/streamed" "$WORLD/split.list"
	came_through "$name, in the end" full "$WORLD/streamed"
}

# ---- states ----

# seen_all NAME WHO DEVICE <LIST
seen_all() {
	at "$2" "$3" | without_source >"$WORLD/got"
	as_packets | without_source >"$WORLD/wanted"
	all_of "$1" "$WORLD/wanted" "$WORLD/got"
}

test_controls() {
	observe
	spray_in guest 1000 "$WORLD/full.list" guest
	spray_in guest 1000 "$WORLD/full.list" guest
	observed
	seen_all "control: the host sees everything that a guest sends" host guest0 <"$WORLD/full.list"
	grep -E "^(tcp|udp|icmp) - ($FOR_FULL4|$FOR_FULL6|$OTHER_RESOLVER4|$RESOLVER6|$CORP4|$CORP6)" \
		"$WORLD/full.list" >"$WORLD/list"
	seen_all "control: the far side sees what is forwarded" internet eth0 <"$WORLD/list"
	grep " $PORT\$" "$WORLD/list" | grep -E "$CORP4|$FOR_FULL4" | sort >"$WORLD/list.answered"
	all_of "control: and answers" "$WORLD/list.answered" <(sort "$WORLD/guest.answered")
	all_of "control: and the host does" <(grep -E "^(tcp|udp|icmp) - ($HOST4|$HOST6) $PORT" \
		"$WORLD/full.list" | sort) <(sort "$WORLD/guest.answered")
	observe
	v4_only <"$WORLD/full.list" | grep -v -- "- $FULL_OUTER" >"$WORLD/list"
	spray_in full.out "$RESTRAINT" "$WORLD/list" carrier
	observed
	seen_all "control: and everything that is sent beside openconnect" host veth-full <"$WORLD/list"
	observe
	named >"$WORLD/list"
	spray_in split "$RESTRAINT" "$WORLD/list" split
	observed
	seen_all "control: what is not included leaves a session" internet eth0 <"$WORLD/list"
}

test_names() {
	check "control: the host resolves" timeout 20 getent ahosts first.host.test
	check "control: by its own resolver" asked "$WORLD/dns-host.log" first.host
	check "control: another resolver is asked" dig +short +time=20 "@$RESOLVER4" second.host.test
	check "control: and says so" asked "$WORLD/dns-internet.log" second.host
	name_service
	getent ahosts third.host.test >"$WORLD/lookup" || true
	check "control: the name service is asked" wait_for asked "$WORLD/nscd.log" third.host
	check "full has no resolver yet" not grep -q nameserver /etc/netns/full/resolv.conf
	check "split has the host's, but for the loopback's" \
		is_the_only_nameserver "$RESOLVER4" /etc/netns/split/resolv.conf
}
is_the_only_nameserver() { [[ $(grep ^nameserver "$2") == "nameserver $1" ]]; }

test_first() {
	supervise || bail "no namespaces: $(cat "$WORLD/up.out")"
	has_reached "no server" starting
	know_addresses
	everything >"$WORLD/full.list"
	included >"$WORLD/split.list"
	rest >"$WORLD/rest.list"
	test_controls
	test_names
	closed "no server"
}

# Whoever listens there says nothing.
test_starting() {
	become internet nc -lk "$INTERNET4" "$OCSERV_PORT" >/dev/null 2>&1 </dev/null &
	PIDS[mute]=$!
	check "starting: openconnect runs" wait_for talks_to_mute
	closed starting
	has_reached starting starting
}
talks_to_mute() { inside internet ss -Htn "sport = :$OCSERV_PORT" | grep -q ESTAB; }

no_client() { stop mute; vpn_start; }
test_connecting() {
	across connecting no_client
	named >>"$WORLD/split.list" # it has been named
	opened up
}

# openconnect is dead, and nobody has noticed; then the next one takes its place.
test_killed() {
	local pid pids
	pids=$(clients)
	kill -STOP "${PIDS[supervisor]}"
	for pid in $pids; do kill -KILL "$pid"; done
	for pid in $pids; do wait_for is_dead "$pid"; done
	closed "openconnect killed"
	across "openconnect comes again" kill -CONT "${PIDS[supervisor]}"
	opened "up after it was killed"
}
is_dead() { [[ ! -e /proc/$1 || $(awk '{ print $3 }' "/proc/$1/stat") == Z ]]; }

test_server_killed() {
	ocserv_kill vpn
	closed "server killed"
	has_reached "server killed" reconnecting
	closed reconnecting
	across "the server is there again" vpn_start
}

test_cut() {
	vpn_cut
	closed "cut, and not noticed"
	has_reached cut reconnecting
	closed cut
	across "mended" vpn_mend
}

test_restart() {
	across restart restart_both
	opened "up after a restart"
}
restart_both() {
	must by session restart full
	must by session restart split
}

test_error() {
	ocserv_user "$VPN_USER" another
	restart_both
	has_reached "password refused" error
	closed error
	has_reached "still" error
	ocserv_user "$VPN_USER" "$VPN_PASSWORD"
	across "password accepted" restart_both
}

test_supervisor_killed() {
	local pid pids
	pids=$(clients)
	kill -KILL "${PIDS[supervisor]}"
	wait "${PIDS[supervisor]}" 2>/dev/null
	for pid in $pids; do wait_gone test -e "/proc/$pid"; done
	has_reached "supervisor killed" down
	closed "supervisor killed"
	across "taken over" supervise
	opened "up after it was taken over"
}

# The server gives no address of IPv6: nothing of it goes anywhere, not beside the VPN either.
test_no_ipv6() {
	ocserv_kill vpn
	has_reached "without IPv6" reconnecting
	vpn_start "ipv6-network =" "ipv6-subnet-prefix ="
	has_reached "without IPv6" up
	unlike "without IPv6: full has no address of it" "$(inner full)" :
	opened "without IPv6" v4_only
	v6_only <"$WORLD/full.list" | sort >"$WORLD/list"
	none_of "without IPv6: full: nothing of it is answered" "$WORLD/list" <(sort "$WORLD/full.answered")
	# What goes by packet(7) has been put on the device itself, and is in the VPN.
	at internet 'vpns[0-9]+' | without_source >"$WORLD/through"
	none_of "without IPv6: nor does it leave" \
		<(v6_only <"$WORLD/full.list" | grep -v ^packet | as_packets | without_source) "$WORLD/through"
}

# What runs in a session ends with it.
test_down() {
	streamed >"$WORLD/streamed"
	observe
	stream full "$WORLD/streamed"
	stream split "$WORLD/split.list"
	go_on 3
	check "down" by session down "$WORLD/leak.yaml"
	stop_streams
	observed
	not_beside "down, meanwhile" "$WORLD/streamed" "$WORLD/split.list"
	check "down: before that, it came out of the VPN" \
		grep -qx "udp $HOST4 $FOR_FULL4 1001" <(at internet 'vpns[0-9]+')
	wait "${PIDS[supervisor]}"
	is "the supervisor ends well" $? 0
	unset "PIDS[supervisor]"
	check "down: there are none" not by session check full
}

lay_out
start_servers
snapshot_host >"$WORLD/before"
start_echoes
write_file
test_first
test_starting
test_connecting
test_killed
test_server_killed
test_cut
test_restart
test_error
test_supervisor_killed
test_no_ipv6
test_down
ocserv_stop vpn
stop nscd
stop_echoes
check "the network is as before" same_as "$WORLD/before"
done_testing
