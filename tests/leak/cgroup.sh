#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A tunnel for some cgroups only: in every state of it, what a process inside them sends, what one outside
# sends, and what the host forwards, seen by an observer on the far side. The same probes are seen leaving while
# there is no tunnel, and those of the others all the time.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=/dev/null
. "$WORLD_TREE/tests/lib/observer.sh"

CAPTURE=$(realpath "${CAPTURE:-$WORLD_TREE/build/tests/lib/capture}")
CONNECT_PROXY=$(realpath "${CONNECT_PROXY:-$WORLD_TREE/build/tests/lib/connect_proxy}")
PROXY=192.0.2.1 PORT=8888
RESOLVER=203.0.113.53

# ---- cgroups, which are not the world's own: they have its name, and go with it ----

CGROUPS=/sys/fs/cgroup
OURS=byway-test-$(readlink /proc/self/ns/net | tr -dc 0-9)
cgroups_gone() { [[ ! -e $CGROUPS/$OURS ]] || find "$CGROUPS/$OURS" -depth -type d -exec rmdir {} +; }
remove_cgroups() {
	[[ -e $CGROUPS/$OURS ]] || return 0
	echo 1 >"$CGROUPS/$OURS/cgroup.kill"
	wait_for cgroups_gone
}
at_exit() {
	local status=$?
	remove_cgroups
	(exit "$status")
	tap_at_exit
}
trap at_exit EXIT

make_cgroups() {
	mount -t cgroup2 cgroup2 "$CGROUPS" || bail "no cgroups of version 2"
	mkdir -p "$CGROUPS/$OURS/in.slice/one.service" "$CGROUPS/$OURS/also" "$CGROUPS/$OURS/out"
}

# member GROUP COMMAND...
join() { echo 0 >"$CGROUPS/$OURS/$1/cgroup.procs"; }
member() (
	join "$1" && "${@:2}"
)

# ---- the world ----

lay_out() {
	must ip -n internet addr add "$RESOLVER/32" dev lo
	guest_behind_host
	# The kernel counts ports for all namespaces together, and worlds of the same addresses beside this one make it
	# give a port again: what is remembered of who had it, and got no answer, would be taken for the new one's.
	must sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_syn_sent=1
}

start_servers() {
	echo_server internet 53
	echo_server internet 443
	wait_for reaches guest "$INTERNET6" 443 || bail "the guest reaches nobody"
	start_observer
	start_proxy
	(join also && exec "$PROBE" echo 7002) >"$WORLD/server.out" 2>&1 </dev/null &
	# shellcheck disable=SC2034,SC2154 # world.sh's
	PIDS[server]=$!
	wait_for test -s "$WORLD/server.out" || bail "the member's server does not start"
}
start_proxy() { background proxy internet "$CONNECT_PROXY" "$PROXY" "$PORT"; }

up() { by proxy up -q --detach --proxy-url "http://$PROXY:$PORT" --allow-dns "$RESOLVER" "$@"; }
both() { up --cgroup "/$OURS/in.slice" --cgroup "$CGROUPS/$OURS/also/" "$@"; }
tunnel_pid() { by proxy status --json | jq -r '.tunnels[0].pid'; }

# ---- probes ----

# Each line: class, packet, probe. tcp: belongs into the tunnel; none: nothing that it carries.
probes() {
	cat <<-LIST
		tcp|tcp $INTERNET4 443|$INTERNET4 443
		tcp|tcp $INTERNET6 443|$INTERNET6 443
		none|udp $INTERNET4 443|udp:$INTERNET4 443
		none|udp $INTERNET6 53|udp:$INTERNET6 53
		none|icmp $INTERNET4 8|ping:$INTERNET4 0
		none|icmp $INTERNET6 128|ping:$INTERNET6 0
		dns|udp $RESOLVER 53|udp:$RESOLVER 53
	LIST
}

# fate STATE CLASS: beside (and answered), tunnel (answered, and not seen), lost.
fate() {
	case $1/$2 in
	beside/* | */dns | open/none) echo beside ;;
	up/tcp | open/tcp) echo tunnel ;;
	*) echo lost ;;
	esac
}

WRONG= # line by line
wrong() { WRONG+="$*"$'\n'; }

# judge WHO... -- STATE: every probe by that command.
judge() {
	local who=() class packet probe fate from status left
	while [[ $1 != -- ]]; do
		who+=("$1")
		shift
	done
	while IFS='|' read -r -u 9 class packet probe; do
		fate=$(fate "$2" "$class")
		control
		from=$CONTROLS
		status=0
		# shellcheck disable=SC2086 # an address and a port
		if [[ $fate == lost ]]; then
			REACH_MS=$RESTRAINT "${who[@]}" $probe >/dev/null 2>&1 </dev/null || status=$?
		else
			"${who[@]}" $probe >/dev/null 2>&1 </dev/null || status=$?
		fi
		control
		left=no
		! has_seen "$from" "$packet" || left=yes
		[[ $fate == beside || $left == no ]] || wrong "$packet LEAKED"
		[[ $fate != beside || $left == yes ]] || wrong "$packet did not leave"
		[[ $fate == lost || $status == 0 ]] || wrong "$packet: no answer, status $status"
		[[ $fate != lost || $status != 0 ]] || wrong "$packet was answered"
	done 9< <(probes)
}

# looks NAME STATE WHO...
looks() {
	WRONG=
	judge "${@:3}" -- "$2"
	if [[ -z $WRONG ]]; then pass "$1"; else fail "$1" "$WRONG"; fi
}

# matrix NAME STATE: STATE is that of the members; the others always go the usual way.
matrix() {
	looks "$1: a member" "$2" member in.slice/one.service reaches host
	looks "$1: a member of another" "$2" member also reaches host
	looks "$1: a process in another cgroup" beside member out reaches host
	looks "$1: one in none" beside reaches host
	looks "$1: what is forwarded" beside reaches guest
}

# A member's server, asked from outside, and what it sends when its socket is closed.
others() {
	can internet "$HOST4" 7002 "a member's server, $1"
	can internet "udp:$HOST6" 7002 "a member's server, $1"
	can guest 10.5.0.1 7002 "a member's server, $1"
	check "a member reaches this host, $1" member also reaches host 127.0.0.1 7002
}

leave_behind() {
	control
	local from=$CONTROLS
	member also "$CAPTURE" leave "$INTERNET4" 443
	control
	not has_seen "$from" "tcp $INTERNET4 443"
}

# ---- states ----

test_states() {
	check "up" both
	matrix up up
	check "what a member's closed socket sends does not leave" leave_behind
	others up
	stop proxy
	matrix "the proxy is gone" lost
	kill -KILL "$(tunnel_pid)"
	wait_gone ip link show byway0
	matrix killed lost
	others killed
	start_proxy
	check "up again" both
	matrix "up again" up
	check "down" by proxy down
	matrix down beside
}

test_marks_overwritten() {
	check "up" both
	nft -f - <<-'END'
		table inet rude {
			chain output { type filter hook output priority -149; meta mark set 0; }
		}
	END
	matrix "up, with the marks overwritten" lost
	nft delete table inet rude
	check "down" by proxy down
}

test_without_kill_switch() {
	check "up without a kill switch" both --no-killswitch
	matrix "without a kill switch" open
	check "down" by proxy down
}

test_words() {
	exits 3 "a cgroup that is not there" up --cgroup "$OURS/nowhere"
	says "is named" "no cgroup '$OURS/nowhere' in $CGROUPS"
	exits 3 "a file is no cgroup" up --cgroup "$OURS/in.slice/cgroup.procs"
	exits 3 "nor is what is elsewhere" up --cgroup "$OURS/../../../../run"
	exits 2 "all processes are no choice" up --cgroup /
	says "and why is said" 'every process'
	check "nothing of that is left" same_as "$WORLD/before"
}

# Where version 1 has the usual place, version 2 is a folder in it, or somewhere else.
test_hybrid() {
	umount "$CGROUPS"
	exits 9 "without the hierarchy" up --cgroup "$OURS/also"
	says "what is missing is said" 'version 2 are not mounted'
	must mount -t tmpfs tmpfs "$CGROUPS"
	mkdir "$CGROUPS/unified" "$WORLD/elsewhere"
	must mount -t cgroup2 cgroup2 "$CGROUPS/unified"
	check "up, on a hybrid" up --cgroup "$CGROUPS/unified/$OURS/also"
	CGROUPS=$CGROUPS/unified looks "on a hybrid: a member" up member also reaches host
	check "down" by proxy down
	must umount "$CGROUPS/unified" "$CGROUPS"
	must mount -t cgroup2 cgroup2 "$WORLD/elsewhere"
	if [[ ${BYWAY_FIREWALL:-} == nft ]]; then
		exits 9 "nft cannot look elsewhere" up --cgroup "$OURS/also"
		says "and says so" 'outside of /sys/fs/cgroup'
	else
		check "up, with the hierarchy elsewhere" up --cgroup "$OURS/also"
		CGROUPS=$WORLD/elsewhere looks "elsewhere: a member" up member also reaches host
		check "down" by proxy down
	fi
	must umount "$WORLD/elsewhere"
	must mount -t cgroup2 cgroup2 "$CGROUPS"
}

make_cgroups
lay_out
snapshot_host >"$WORLD/before"
start_servers
matrix "no tunnel" beside
test_states
test_marks_overwritten
test_without_kill_switch
test_hybrid
stop_all
test_words
check "the network is as before" same_as "$WORLD/before"
remove_cgroups
done_testing
