#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A network for microVMs, shown on a private machine with an `internet` of its own: two virtual machines
# really boot (QEMU's microvm machine, emulated, with Debian's kernel), run by a user who is not root.
set -u
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=../tests/lib/guest.sh
. "$DEMO/../tests/lib/guest.sh"

GUEST_AS=(setpriv --reuid=nobody --regid=nogroup --clear-groups --)

answers() { [[ $(curl -sS --max-time 5 "$1") == "$2" ]]; }
inside_answers() { [[ $(inside "$1" wget -q -O - "$2") == "$3" ]]; }
reach() { inside "$1" "$PROBE" tcp "$2" "$3" 5000; }
silent() { ! inside "$1" "$PROBE" tcp "$2" "$3" 500; }

# in_vm NAME COMMAND: shows it with the guest's prompt, runs it on its console.
in_vm() {
	printf '%s%s# %s%s\n' "$BOLD" "$1" "$2" "$PLAIN"
	guest_run "$1" "$2" | sed 's/^/  /'
}

address() { byway vm show "micropod0/$1" --json | jq -r .address; }

lay_out() {
	chapter "A network for microVMs, and a TAP device for each, which the user nobody may open"
	typed byway network up
	typed byway vm add micropod0 web --owner nobody
	typed byway vm add micropod0 db --owner nobody
	typed byway vm list
}

describe() {
	chapter "What Firecracker, QEMU and the guest's kernel want to be told"
	typed byway vm snippet micropod0/web --for firecracker
	typed byway vm snippet micropod0/web --for qemu-microvm
	typed byway vm snippet micropod0/web --for kernel-args
}

# The monitor gets the words that were just printed, and no more.
boot() {
	local name
	chapter "They boot"
	for name in web db; do
		# shellcheck disable=SC2046 # several arguments
		proves "$name boots, run by the user nobody" guest_boot "$name" \
			"$(byway vm snippet "micropod0/$name" --for kernel-args)" \
			$(byway vm snippet "micropod0/$name" --for qemu-microvm)
	done
	in_vm web 'ip -4 -o addr show eth0'
}

serve() {
	chapter "The web server inside"
	typed curl -sS "http://$(address web)/"
	proves "the host reads the page" answers "http://$(address web)/" "hello from web"
	in_vm db "wget -q -O - http://$(address web)/"
	proves "so does the other VM" inside_answers vm:db "http://$(address web)/" "hello from web"
}

go_out() {
	chapter "The internet, by NAT"
	web_server internet 80
	echo "  (nginx runs in the namespace internet, at $INTERNET4)"
	in_vm web "wget -q -O - http://$INTERNET4/"
	proves "the internet sees the host's address, $HOST4" inside_answers vm:web \
		"http://$INTERNET4/" "hello from internet to $HOST4"
}

lie() {
	local gateway=10.10.0.1 mac
	mac=$(byway vm show micropod0/db --json | jq -r .mac)
	chapter "A VM is who it is"
	proves "before: db reaches web" reach vm:db "$(address web)" 80
	in_vm db 'ip link set eth0 address 02:00:00:00:00:99'
	proves "with another MAC address it does not" silent vm:db "$(address web)" 80
	in_vm db "ip link set eth0 address $mac"
	proves "with its own it does" reach vm:db "$(address web)" 80
	in_vm db "ip addr del $(address db)/24 dev eth0; ip addr add 10.10.0.77/24 dev eth0"
	proves "with another address it does not" silent vm:db "$(address web)" 80
	in_vm db "ip addr add $gateway/24 dev eth0; arping -q -U -c 1 -I eth0 $gateway"
	proves "nor does it become the gateway: web still gets out" inside_answers vm:web \
		"http://$INTERNET4/" "hello from internet to $HOST4"
}

take_down() {
	chapter "Deletion leaves the machine as it was"
	guest_stop web
	guest_stop db
	stop web-internet
	typed byway vm delete micropod0/web
	typed byway network down micropod0
	proves "links, addresses, routes, rules, nftables, mounts, processes and sysctls are as before" \
		same_as "$WORLD/before"
}

main() {
	world_enter "$@"
	snapshot_host >"$WORLD/before"
	lay_out
	describe
	boot
	serve
	go_out
	lie
	take_down
	sum_up "a web server in a booted microVM, NAT, no lies, and nothing left behind."
}

main "$@"
