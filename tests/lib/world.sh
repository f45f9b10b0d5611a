# shellcheck shell=bash
# shellcheck disable=SC2034 # the scripts that source this use its variables
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Worlds of their own. A script that sources this file is started again in network, mount and
# process namespaces made for it: it becomes process 1 of a machine called `host` that has nothing but
# a loopback device, empty folders at /run and /etc/netns, and a network named `internet` behind eth0:
#
#   host:      eth0 192.0.2.2/24, 2001:db8:2::2/64, default routes to
#   internet:  192.0.2.1, 2001:db8:2::1, and servers at 203.0.113.10, 2001:db8:99::10
#
# When the script ends the kernel takes the world away, with every process in it. The network `internet`
# routes 10.0.0.0/8, 172.16.0.0/12 and fd00::/8 back to the host, so that what leaks unmasqueraded gets its
# answer and is noticed.

set -u
WORLD=/run/world # files of the test
WORLD_LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
WORLD_TREE=$(cd "$WORLD_LIB/../.." && pwd)
BYWAY=$(realpath "${BYWAY:-$WORLD_TREE/build/byway}")
PROBE=$(realpath "${PROBE:-$WORLD_TREE/build/tests/lib/probe}")
export BYWAY PROBE

INTERNET4=203.0.113.10
INTERNET6=2001:db8:99::10
HOST4=192.0.2.2
HOST6=2001:db8:2::2

# ---- making the world ----

world_reexec() {
	export BYWAY_WORLD=inside
	exec unshare --mount --net --pid --fork --kill-child --mount-proc -- bash "$0" "$@"
}

# The script must be the first process of a machine without a network: never touch another one.
world_is_empty() {
	[[ $$ == 1 && $(ip -o link show | wc -l) == 1 && -z $(ip -o addr show) ]]
}

# /etc becomes a copy on write, so that /etc/netns can be made; where there is no overlayfs, the
# folder is made for real and hidden.
world_etc() {
	mkdir -p "$WORLD/etc/upper" "$WORLD/etc/work"
	if mount -t overlay overlay /etc \
		-o "lowerdir=/etc,upperdir=$WORLD/etc/upper,workdir=$WORLD/etc/work" 2>/dev/null; then
		mkdir -p /etc/netns
	else
		mkdir -p /etc/netns && mount -t tmpfs tmpfs /etc/netns
	fi
}

world_mounts() {
	mount -t tmpfs -o mode=755 tmpfs /run
	[[ /var/run -ef /run ]] || mount --bind /run /var/run
	mount -t sysfs sysfs /sys
	mkdir -p "$WORLD" /run/netns
	mount --bind /run/netns /run/netns
	mount --make-shared /run/netns
	world_etc
}

world_sysctls() {
	local key
	for key in ipv4/ip_forward ipv6/conf/all/forwarding; do
		echo 0 >"/proc/sys/net/$key"
	done
	for key in all default; do
		echo 0 >"/proc/sys/net/ipv4/conf/$key/rp_filter"
	done
}

world_internet() {
	ip netns add internet
	ip -batch - <<-'END'
		link set lo up
		link add eth0 type veth peer name eth0 netns internet
	END
	echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
	inside internet sh -c 'echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad'
	ip -batch - <<-'END'
		addr add 192.0.2.2/24 dev eth0
		addr add 2001:db8:2::2/64 dev eth0 nodad
		link set eth0 up
	END
	ip -n internet -batch - <<-'END'
		link set lo up
		link set eth0 up
		addr add 192.0.2.1/24 dev eth0
		addr add 2001:db8:2::1/64 dev eth0 nodad
		addr add 203.0.113.10/32 dev lo
		addr add 2001:db8:99::10/128 dev lo nodad
		route add 10.0.0.0/8 via 192.0.2.2
		route add 172.16.0.0/12 via 192.0.2.2
		route add fd00::/8 via 2001:db8:2::2
	END
	ip -batch - <<-'END'
		route add default via 192.0.2.1
		route add default via 2001:db8:2::1
	END
	wait_for is_settled
}

# The carrier, and with it the link-local address, come a moment after the link is set up.
is_settled() {
	[[ $(ip -o link show dev eth0) == *" state UP "* &&
		$(ip -o addr show dev eth0) != *tentative* ]]
}

world_enter() {
	if [[ ${BYWAY_WORLD:-} != inside ]]; then
		[[ $(id -u) == 0 ]] || bail "worlds need root"
		world_reexec "$@"
	fi
	unset BYWAY_WORLD
	world_is_empty || bail "this is not an empty world"
	world_mounts
	world_sysctls
	world_internet || bail "the world's network could not be set up"
	TAP_OUTPUT=$WORLD/output
	cd "$WORLD" || exit 1
}

# ---- acting in it ----

by() { "$BYWAY" "$@"; }

# inside NAMESPACE COMMAND...; the host is called "host", and a virtual machine "vm:NAME" (guest.sh).
inside() {
	local ns=$1
	shift
	case $ns in
	host) "$@" ;;
	vm:*) guest_run "${ns#vm:}" "${*@Q}" ;;
	*) nsenter --net="/run/netns/$ns" -- "$@" ;;
	esac
}

# The same for a subshell that is to become the command, so that its process number is the command's.
become() {
	local ns=$1
	shift
	[[ $ns == host ]] || set -- nsenter --net="/run/netns/$ns" -- "$@"
	exec "$@"
}

# A pause without a process: nobody ever writes to this pipe.
mkfifo_of_silence() {
	local fifo
	fifo=$(mktemp -u)
	mkfifo "$fifo"
	exec {SILENCE}<>"$fifo"
	rm "$fifo"
}

pause() {
	[[ -n ${SILENCE:-} ]] || mkfifo_of_silence
	read -r -t "$1" -u "$SILENCE" || true
}

# How long, in milliseconds, a probe waits: for what has to come, so long that only what never comes is
# missed, however busy the machine; for what must not come, each of which costs this long.
PATIENCE=15000
RESTRAINT=300

# wait_for CONDITION...: until the command succeeds; WAIT_S seconds at most.
wait_for() {
	local deadline=$((SECONDS + ${WAIT_S:-30}))
	until "$@" >/dev/null 2>&1; do
		((SECONDS < deadline)) || return 1
		pause 0.02
	done
}

wait_gone() { wait_for not "$@"; }
not() { ! "$@"; }

# echo_request NS ADDR MS: sent again each second, when there is time for that.
echo_request() {
	local limit=(-w $(($3 / 1000)))
	(($3 >= 1000)) || limit=(-W "0.$(printf %03d "$3")")
	inside "$1" ping -n -q -c 1 "${limit[@]}" "$2"
}

# reaches NS ADDR PORT; with ADDR "ping:ADDR" by ICMP, with "udp:ADDR" by UDP; within REACH_MS.
reaches() {
	local ms=${REACH_MS:-$PATIENCE}
	case $2 in
	ping:*) echo_request "$1" "${2#ping:}" "$ms" ;;
	udp:*) inside "$1" "$PROBE" udp "${2#udp:}" "$3" "$ms" ;;
	*) inside "$1" "$PROBE" tcp "$2" "$3" "$ms" ;;
	esac
}

# The same, when silence is expected.
refuses() { ! REACH_MS=$RESTRAINT reaches "$@"; }

can() { check "$1 reaches $2${3:+ port $3}${4:+ ($4)}" reaches "$1" "$2" "${3:-0}"; }
cannot() { check "$1 does not reach $2${3:+ port $3}${4:+ ($4)}" refuses "$1" "$2" "${3:-0}"; }

# background NAME NS COMMAND...: starts it, waits for its first line; its pid is in PIDS[NAME].
declare -A PIDS=()
background() {
	local name=$1
	shift
	rm -f "$WORLD/$name.out"
	become "$@" >"$WORLD/$name.out" 2>"$WORLD/$name.err" </dev/null &
	PIDS[$name]=$!
	wait_for test -s "$WORLD/$name.out" || bail "$name did not start: $(cat "$WORLD/$name.err")"
}

stop() {
	kill "${PIDS[$1]}" 2>/dev/null
	wait "${PIDS[$1]}" 2>/dev/null
	unset "PIDS[$1]"
}

stop_all() {
	local name
	for name in "${!PIDS[@]}"; do stop "$name"; done
}

# echo_server NS PORT: TCP and UDP, both families.
echo_server() { background "echo-$1-$2" "$1" "$PROBE" echo "$2"; }

# ---- a real web server ----

web_config() {
	cat <<-END
		daemon off;
		master_process off;
		pid $WORLD/web-$1.pid;
		error_log $WORLD/web-$1.log;
		events { worker_connections 1024; }
		http {
			access_log off;
			client_body_temp_path $WORLD/web-$1.tmp;
			server {
				listen $2;
				listen [::]:$2;
				default_type text/plain;
				location / { return 200 "hello from $1 to \$remote_addr\n"; }
			}
		}
	END
}

# web_server NS PORT: answers "hello from NS to ADDRESS OF THE CLIENT".
web_server() {
	web_config "$1" "$2" >"$WORLD/web-$1.conf"
	become "$1" nginx -e "$WORLD/web-$1.log" -c "$WORLD/web-$1.conf" >/dev/null 2>&1 </dev/null &
	PIDS[web-$1]=$!
	wait_for inside "$1" "$PROBE" tcp 127.0.0.1 "$2" 500 ||
		bail "nginx in $1 did not start: $(cat "$WORLD/web-$1.log")"
}

# get NS URL
get() { inside "$1" curl -sS --noproxy '*' --max-time 30 "$2"; }

# ---- flows that are held open ----

declare -A FLOW_IN=() FLOW_OUT=()

# flow_open NAME NS ADDR PORT [flow|udp-flow]
flow_open() {
	local name=$1 fifo=$WORLD/flow-$1 in out
	mkfifo "$fifo.in" "$fifo.out"
	become "$2" "$PROBE" "${5:-flow}" "$3" "$4" <"$fifo.in" >"$fifo.out" 2>/dev/null &
	PIDS[flow-$name]=$!
	exec {in}>"$fifo.in" {out}<"$fifo.out"
	FLOW_IN[$name]=$in
	FLOW_OUT[$name]=$out
	flow_answer "$name" open
}

flow_answer() {
	local answer=
	read -r -t 30 -u "${FLOW_OUT[$1]}" answer
	[[ $answer == "$2" ]] && return 0
	echo "the flow says: $answer"
	return 1
}

flow_works() {
	echo "$PATIENCE" >&"${FLOW_IN[$1]}"
	flow_answer "$1" ok
}

flow_is_cut() {
	echo "$RESTRAINT" >&"${FLOW_IN[$1]}"
	flow_answer "$1" cut
}

flow_close() {
	local in=${FLOW_IN[$1]} out=${FLOW_OUT[$1]}
	exec {in}>&- {out}<&-
	stop "flow-$1"
	rm -f "$WORLD/flow-$1".{in,out}
}

# ---- observers ----

# watch NAME NS IF: prints marks, see probe.c.
watch() { background "watch-$1" "$2" "$PROBE" watch "$3"; }
saw() { grep -qx -- "$2" "$WORLD/watch-$1.out"; }
# passed NAME MARK CONTROL / dropped NAME MARK CONTROL: judged when the control frame has arrived.
passed() { wait_for saw "$1" "$2"; }
dropped() {
	wait_for saw "$1" "$3" || { echo "not even the control frame arrived"; return 1; }
	! saw "$1" "$2"
}

mac_of() { inside "$1" cat "/sys/class/net/$2/address" 2>/dev/null || link_mac "$1" "$2"; }
link_mac() { inside "$1" ip -j link show "$2" | jq -r '.[0].address'; }

# know_each_other NS IF ADDRESS... NS IF ADDRESS...: who is at the other end of a link, for ever. On a busy
# machine with many namespaces a guest's router may be looked for in vain for a long time, and what fails to
# leave then says nothing of the tunnel.
know_each_other() {
	local here there
	here=$(link_mac "$1" "$2") there=$(link_mac "$5" "$6")
	know "$1" "$2" "$there" "$3" "$4"
	know "$5" "$6" "$here" "$7" "$8"
}
know() {
	local address
	for address in "$4" "$5"; do
		inside "$1" ip neigh replace "$address" lladdr "$3" dev "$2" nud permanent
	done
}

# ---- a guest ----

# guest_behind_host: the network `guest`, 10.5.0.2 and fd05::2 behind guest0, for which the host
# forwards.
guest_behind_host() {
	ip netns add guest
	ip link add guest0 type veth peer name eth0 netns guest
	ip -batch - <<-'END'
		addr add 10.5.0.1/24 dev guest0
		addr add fd05::1/64 dev guest0 nodad
		link set guest0 addrgenmode none
		link set guest0 up
	END
	ip -n guest -batch - <<-'END'
		link set lo up
		addr add 10.5.0.2/24 dev eth0
		addr add fd05::2/64 dev eth0 nodad
		link set eth0 up
		route add default via 10.5.0.1
		route add default via fd05::1
	END
	know_each_other host guest0 10.5.0.2 fd05::2 guest eth0 10.5.0.1 fd05::1
	echo 1 >/proc/sys/net/ipv4/ip_forward
	echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
}
