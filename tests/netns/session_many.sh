#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sixty-four sessions with one server, all at once: each has its own address inside and fetches its own page; one
# openconnect is killed and the other sessions lose nothing; the server is killed and all come back, without
# anybody asking for the password more often than once.
# shellcheck disable=SC2154,SC2004 # PIDS is world.sh's
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/ocserv.sh
. "$WORLD_LIB/ocserv.sh"

SESSIONS=64
AWAY_S=10 # the server
BACK_S=60 # for all to come back

many_file() {
	cat <<-END
		subnet: 10.20.0.0/24
		instances: $SESSIONS
		vpn:
		  server: https://$INTERNET4:$OCSERV_PORT
		  username: $VPN_USER
		  password_file: password
		  cafile: $OCSERV_CA
		backoff: {min: 500ms, max: 2s}
		logging: {directory: $WORLD/log}
	END
}

names() { seq -f "many-%g" "$SESSIONS"; }

# ---- what they say ----

states() { by session list many --json | jq -r '[.sessions[].state] | group_by(.) | map("\(length) \(.[0])") | join(", ")'; }
states_are() { [[ $(states) == "$1" ]]; }
# NAME FIELD
field() { by session status "$1" --json | jq -r ".sessions[0].$2"; }
clients() { by session status many --json | jq -r '.sessions[] | "\(.name) \(.pid)"' | sort; }
is_again() { [[ $(field "$1" state) == up && $(field "$1" pid) != "$2" ]]; }

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# ---- all at once ----

test_up() {
	local start
	start=$(now_ms)
	check "$SESSIONS sessions are up" by session up --wait many.yaml
	diag "up after $(($(now_ms) - start)) ms"
	is 'all of them' "$(states)" "$SESSIONS up"
	is 'each has an address outside' "$(by session list many --json | jq '[.sessions[].address] | unique | length')" \
		$SESSIONS
	is 'each has an address inside' "$(by session list many --json | jq '[.sessions[].addresses[0]] | unique | length')" \
		$SESSIONS
	is 'each has logged in once' "$(ocserv_logins vpn)" $SESSIONS
}

# Each page says for whom it is.
fetch() { get "$1" "http://$CORP4/" >"page-$1" 2>&1; }
fetch_all() {
	local name
	while read -r name; do
		fetch "$name" &
		FETCHES+=($!)
	done < <(names)
	wait "${FETCHES[@]}"
}
test_pages() { # WHEN
	local FETCHES=()
	rm -f page-*
	fetch_all
	is "$1: each fetches its own page" "$(cat page-* | sort -u | grep -c '^hello from corp to 10\.99\.')" $SESSIONS
	is "$1: with the address that it has inside" "$(sed 's/.* //' page-* | sort)" \
		"$(by session list many --json | jq -r '.sessions[].addresses[0]' | sort)"
}

# ---- one is killed ----

ping_all() {
	local name
	while read -r name; do
		become "$name" ping -n -i 0.2 "$CORP4" >"ping-$name" 2>&1 </dev/null &
		PIDS[ping-$name]=$!
	done < <(names)
	wait_for all_answered 3
}
all_answered() { # AT-LEAST
	local name
	while read -r name; do
		[[ $name != "${KILLED:-}" ]] || continue
		(($(answers "$name") >= $1)) || return 1
	done < <(names)
}
answers() { grep -c 'bytes from' "ping-$1"; }
# Of those that were sent until the last answer came, one is missing.
lossy() {
	local name last
	while read -r name; do
		last=$(grep -o 'icmp_seq=[0-9]*' "ping-$name" | tail -n 1)
		[[ ${last#icmp_seq=} == "$(answers "$name")" ]] || echo "$name"
	done < <(names)
}

test_kill_one() {
	local before pid
	before=$(clients)
	ping_all || fail 'all are pinged through'
	KILLED=many-17
	pid=$(field $KILLED pid)
	kill -9 "$pid"
	check 'one openconnect is killed: its session is up again' wait_for is_again $KILLED "$pid"
	check 'and the others are pinged through' wait_for all_answered 15
	stop_pings
	is 'and lose nothing' "$(lossy | grep -vx $KILLED)" ''
	diag "$(lossy | wc -l) of $SESSIONS lost anything"
	is 'and have the same openconnect' "$(clients | grep -v "^$KILLED ")" "$(grep -v "^$KILLED " <<<"$before")"
	is 'one more login' "$(ocserv_logins vpn)" $((SESSIONS + 1))
}
stop_pings() {
	local name
	while read -r name; do stop "ping-$name"; done < <(names)
}

# ---- the server is killed ----

test_kill_server() {
	local start logins
	logins=$(ocserv_logins vpn)
	start=$(now_ms)
	ocserv_kill vpn
	check 'the server is killed: all are reconnecting' wait_for states_are "$SESSIONS reconnecting"
	while (($(now_ms) < start + AWAY_S * 1000)); do pause 0.2; done
	is 'and still are' "$(states)" "$SESSIONS reconnecting"
	start=$(now_ms)
	ocserv_start vpn
	WAIT_S=$BACK_S check 'the server is back: so are all' wait_for states_are "$SESSIONS up"
	diag "all are back after $(($(now_ms) - start)) ms"
	is 'each has logged in once more' "$(ocserv_logins vpn)" $((logins + SESSIONS))
}

test_down() {
	local start
	start=$(now_ms)
	check 'down of all' by session down --all
	diag "down after $(($(now_ms) - start)) ms"
	check 'nothing is left' same_as before
	is 'no namespace either' "$(ip netns | awk '{ print $1 }' | sort | tr '\n' ' ')" 'corp internet '
}

# The servers come and go.
snapshot_processes() { pgrep -l . | grep -E ' (byway|openconnect|sh|tail)$'; }

ocserv_prepare
ocserv_start vpn
printf '%s\n' "$VPN_PASSWORD" >password
many_file >many.yaml
snapshot_host >before
test_up
test_pages 'at once'
test_kill_one
test_kill_server
test_pages 'after that'
test_down
done_testing
