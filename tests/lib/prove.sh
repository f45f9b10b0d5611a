# shellcheck shell=bash
# shellcheck disable=SC2034 # the scripts that source this use its variables
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What byway prove says. The evidence of the last one is in $WORLD/evidence.

NO_LEAK=0 LEAK=6 NOT_PROVED=1

prove() { "$BYWAY" prove "$@" --json >"$WORLD/evidence"; }
evidence() { jq -r "$1" "$WORLD/evidence"; }

# proves STATUS NAME TARGET [OPTION...]
proves() {
	exits "$1" "$2" prove "${@:3}" && return
	diag "$(evidence '.result, .obstacles[], (.leaks[] | tostring)')"
}

# leak_of PROBE FAMILY: by which interfaces.
leak_of() {
	evidence "[.leaks[] | select(.probe == \"$1\" and .family == \"$2\") | .interface] | unique | join(\" \")"
}
# finds NAME INTERFACE PROBE...: leaks of IPv4.
finds() {
	local name=$1 interface=$2 probe
	shift 2
	for probe; do is "$name: $probe" "$(leak_of "$probe" ipv4)" "$interface"; done
}

# masquerade INTERFACE: what somebody might do who wants things to work.
masquerade() {
	must nft -f - <<-END
		table inet mistake {
			chain out {
				type nat hook postrouting priority 100;
				oifname "$1" masquerade
			}
		}
	END
}
no_mistake() { must nft delete table inet mistake; }
