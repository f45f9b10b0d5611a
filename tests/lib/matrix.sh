# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # the scripts that source this use its variables; PIDS is world.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the host sends and what it forwards for a guest, in every state of a tunnel, seen by an observer
# on the far side. Who sources this says what is sent and what may come of it:
#
#   probes                  a line for each: who|class|packet as the observer prints it|command
#   expected STATE CLASS    leaves, tunnelled (answered, and not seen) or blocked (neither)

# shellcheck source=tests/lib/observer.sh
. "$WORLD_LIB/observer.sh"

DEAD4=203.0.113.200 DEAD6=2001:db8:99::200 # nobody is there, and nobody says so
RESOLVER4=203.0.113.53 RESOLVER6=2001:db8:99::53
# The guest's probes go to addresses of their own, so that a packet tells whose it was.
FOR_GUEST4=203.0.113.11 FOR_GUEST6=2001:db8:99::11

# ---- the world ----

lay_out_guest() {
	local address
	for address in "$RESOLVER4" "$FOR_GUEST4"; do must ip -n internet addr add "$address/32" dev lo; done
	for address in "$RESOLVER6" "$FOR_GUEST6"; do
		must ip -n internet addr add "$address/128" dev lo nodad
	done
	must ip -n internet route add blackhole "$DEAD4/32"
	must ip -n internet route add blackhole "$DEAD6/128"
	guest_behind_host
	# Every refusal is to be seen, not only the first few a second.
	echo 0 >/proc/sys/net/ipv4/icmp_ratelimit
	echo 0 >/proc/sys/net/ipv6/icmp/ratelimit
	mkdir "$WORLD/status"
	know_each_other host eth0 192.0.2.1 2001:db8:2::1 internet eth0 "$HOST4" "$HOST6"
}

# ---- sending ----

# observed COMMAND...: runs it; what the observer saw meanwhile is in the file seen.
observed() {
	control
	local from=$CONTROLS
	"$@"
	control
	seen_since "$from" | sort -u >"$WORLD/seen"
}
seen() { grep -qxF -- "$1" "$WORLD/seen"; }

one_probe() {
	"${@:2}" >/dev/null 2>&1
	echo "$?" >"$WORLD/status/$1"
}

# All at once; each one's exit status is in status/NUMBER.
send_all() {
	local state=$1 class command n=0 pids=() ms
	while IFS='|' read -r -u 9 _ class _ command; do
		n=$((n + 1))
		ms=$RESTRAINT
		[[ $(expected "$state" "$class") == blocked ]] || ms=$PATIENCE
		# shellcheck disable=SC2086 # a command and its arguments
		REACH_MS=$ms one_probe "$n" $command </dev/null &
		pids+=($!)
	done 9< <(probes)
	wait "${pids[@]}"
}

# verdict STATE CLASS PACKET STATUS: what is wrong with it, if anything.
verdict() {
	local left=no
	! seen "$3" || left=yes
	case $(expected "$1" "$2") in
	leaves)
		[[ $left == yes ]] || echo "it did not leave"
		[[ $4 == 0 ]] || echo "no answer, status $4" ;;
	tunnelled)
		[[ $left == no ]] || echo "it LEAKED"
		[[ $4 == 0 ]] || echo "it did not get through the tunnel, status $4" ;;
	*)
		[[ $left == no ]] || echo "it LEAKED"
		[[ $4 != 0 ]] || echo "it was answered" ;;
	esac
}

# matrix STATE NAME [CARRIER]: every probe; then, whether a packet that carries the tunnel left, when told which.
matrix() {
	local state=$1 name=$2 who class packet n=0 wrong
	observed send_all "$state"
	while IFS='|' read -r -u 9 who class packet _; do
		n=$((n + 1))
		wrong=$(verdict "$state" "$class" "$packet" "$(<"$WORLD/status/$n")")
		what="$name: $who's $packet is to be: $(expected "$state" "$class")"
		if [[ -z $wrong ]]; then pass "$what"; else fail "$what" "$wrong"; fi
	done 9< <(probes)
	[[ $# -lt 3 ]] || check "$name: what carries the tunnel is seen" seen "$3"
}

# ---- step by step ----

# Whether anything of what must not leave did: after `observed send_all`.
any_left() {
	local class packet
	while IFS='|' read -r -u 9 _ class packet _; do
		[[ $(expected up "$class") == leaves ]] || ! seen "$packet" || return 0
	done 9< <(probes)
	return 1
}

# walk END...: lets the process go from message to message until that is so; TRACE has a letter for each step,
# o: open, c: closed. A process that waits for leave has not come to its end.
walk() {
	local _
	TRACE=
	until "$@"; do
		read -r -t 0.1 -u "$STEPS" _ || continue
		PATIENCE=1000 RESTRAINT=50 observed send_all closed
		if any_left; then TRACE+=o; else TRACE+=c; fi
		echo >&"$LEAVE"
	done
}

