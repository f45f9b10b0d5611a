# shellcheck shell=bash
# shellcheck disable=SC2154 # PIDS is world.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Virtual machines for the tests: a namespace in the place of the guest, joined to its TAP device by
# a process in the place of the monitor (tapguest.c).

TAPGUEST=$(realpath "${TAPGUEST:?}")
USER_ID=12345

vm() { json ".$2 // empty" vm show "$1"; }

# boot NETWORK/NAME NETNS [UID [GID]]: the guest is the namespace.
boot() {
	ip netns add "$2"
	inside "$2" sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'
	background "$2" host "$TAPGUEST" "$(vm "$1" interface)" "$2" "$(vm "$1" mac)" \
		"${3:-$USER_ID}" "${4:-${3:-$USER_ID}}"
	configure "$1" "$2"
}

# As the kernel's ip= would, and the same for IPv6, where a router may have been quicker.
configure() {
	local six
	must ip -n "$2" -batch - <<-END
		link set lo up
		link set eth0 up
		addr add $(vm "$1" address)/$(vm "$1" prefix) dev eth0
		route replace default via $(vm "$1" gateway)
	END
	six=$(vm "$1" address6)
	[[ -n $six ]] || return 0
	must ip -n "$2" -batch - <<-END
		addr add $six/$(vm "$1" prefix6) dev eth0 nodad
		route replace default via $(vm "$1" gateway6)
	END
}

shut_down() {
	local name
	for name; do
		stop "$name"
		ip netns del "$name"
	done
}
