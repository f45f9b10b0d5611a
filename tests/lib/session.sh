# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # the scripts that source this use its variables; it uses ocserv.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sessions in a world: their files, how they are, and what is seen from inside.

# shellcheck source=tests/lib/ocserv.sh
. "$WORLD_LIB/ocserv.sh"

SESSION_LOGS=$WORLD/log

# ---- files ----

# What the files of tests have in common: a session in mode full with the server of ocserv_start.
session_defaults() {
	cat <<-END
		{
			"interface": "eth0",
			"subnet": "10.20.30.0/24",
			"instances": 1,
			"vpn": {
				"server": "https://$INTERNET4:$OCSERV_PORT",
				"username": "$VPN_USER",
				"password": "\${VPN_PASSWORD}",
				"cafile": "$OCSERV_CA"
			},
			"backoff": { "min": "100ms", "max": "1s" },
			"logging": { "level": "debug", "directory": "$SESSION_LOGS" }
		}
	END
}

# session_file GROUP [FILTER...]: $WORLD/GROUP.yaml, in that part of YAML which is JSON, so that each filter of
# jq(1) can change something: '.instances = 4', 'del(.vpn.cafile)'.
session_file() {
	local group=$1 filter=.
	shift
	(($# == 0)) || filter=$(printf '%s | ' "$@").
	session_defaults | jq "$filter" >"$WORLD/$group.yaml"
}

# ---- commands ----

# session_up GROUP [OPTION...]: waits until all are up, or one is given up. The password is in the environment of
# this command alone.
session_up() {
	local group=$1
	local -x VPN_PASSWORD=$VPN_PASSWORD
	shift
	by session up --wait --timeout 30 "$@" "$WORLD/$group.yaml"
}

# session_begin GROUP [FILTER...]: a file, and its sessions up; there is no test without them.
session_begin() {
	session_file "$@"
	must session_up "$1"
}

in_session() { # NAME COMMAND...
	local name=$1
	shift
	by session exec "$name" -- "$@"
}

# session_get NAME URL: the page, and with the world's servers who they take one for.
session_get() { in_session "$1" curl -sS --noproxy '*' --max-time "${GET_S:-10}" "$2"; }

# session_finds NAME HOST: its first IPv4 address, as programs look it up.
session_finds() { in_session "$1" getent ahostsv4 "$2" | awk 'NR == 1 { print $1 }'; }

# ---- how they are ----

# session_tells FILTER NAME: of the status of one session.
session_tells() { by session status --json "$2" | jq -r ".sessions[0]$1"; }
session_state() { session_tells .state "$1"; }
session_is() { [[ $(session_state "$2") == "$1" ]]; } # STATE NAME
session_address() { session_tells .address "$1"; }     # towards the host
session_inside4() { session_tells '.addresses[] | select(contains(":") | not)' "$1"; }
session_inside6() { session_tells '.addresses[] | select(contains(":"))' "$1"; }
session_client() { session_tells .pid "$1"; } # openconnect's process; 0: none runs

session_log() { cat "$SESSION_LOGS/$1.log"; }
session_forget_logs() { rm -rf "$SESSION_LOGS"; }

# The process that watches over a group; nothing when there is none.
session_supervisor() {
	local inode
	inode=$(stat -c %i "/run/byway/session/$1.lock" 2>/dev/null) || return
	awk -v inode="$inode" '$2 == "POSIX" { split($6, at, ":"); if (at[3] == inode) print $5 }' /proc/locks
}

# ---- afterwards ----

# The host without the world's servers, which come and go.
session_picture() { snapshot_host | grep -vE '^process (ocserv.*|nginx|dnsmasq|grep) [0-9]+$'; }
session_same() {
	session_picture >"$WORLD/now"
	cmp -s "$WORLD/before" "$WORLD/now"
}

# To be called when the world is laid out, before the first session.
session_remember() { session_picture >"$WORLD/before"; }

# Of byway's own there is nothing any more, and the host is as it was.
session_nothing_left() {
	local count
	count=$(by session list --json | jq '.sessions | length')
	[[ $count == 0 ]] || { echo "$count sessions are listed"; return 1; }
	[[ ! -e /run/byway/session ]] || { ls /run/byway/session; return 1; }
	[[ -z $(ip neigh show proxy) ]] || { ip neigh show proxy; return 1; }
	wait_for session_same && return
	diff -U0 "$WORLD/before" "$WORLD/now" | grep -E '^[-+][^-+]' | head -n 40
	return 1
}

# session_end WHAT: takes down, and checks that nothing is left.
session_end() {
	check "down of $1" by session down "$1"
	check "nothing is left of $1" session_nothing_left
}
