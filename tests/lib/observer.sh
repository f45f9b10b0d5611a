# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Who sees, on the far side, what the host lets out: a line for each packet, and one for each control.

CONTROLS=0

start_observer() {
	MAC=$(mac_of host eth0) GATE=$(mac_of internet eth0)
	background observer internet "$CAPTURE" observe eth0
}

# After this, all that was sent before has arrived, if it arrives at all. Frames of packet sockets pass
# every firewall.
control() {
	CONTROLS=$((CONTROLS + 1))
	local tries
	for tries in {1..20}; do # it may be lost, as any packet
		"$PROBE" send-udp eth0 "$MAC" "$GATE" "$HOST4" 192.0.2.1 "$CONTROLS"
		WAIT_S=2 wait_for grep -qx "mark $CONTROLS" "$WORLD/observer.out" && return
	done
	bail "the observer sees nothing after $tries controls"
}

# nobody_connected NS [FILTER]: nor is anybody still saying goodbye, which others may have to answer. The filter is
# ss(8)'s.
nobody_connected() { [[ -z $(inside "$1" ss -Htn state connected exclude time-wait "${@:2}") ]]; }

# seen_since CONTROL: what came after that control.
seen_since() { sed -n "/^mark $1\$/,\$p" "$WORLD/observer.out"; }
has_seen() { seen_since "$1" | grep -qxF -- "$2"; }
