#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# byway's main job, shown on a private machine: network, mount and process namespaces of this script
# alone, with an `internet` of its own.
set -u
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=../tests/lib/vpc.sh
. "$DEMO/../tests/lib/vpc.sh"

answers() { [[ $("$BYWAY" exec "$1" -- curl -sS --max-time 3 "$2") == "$3" ]]; }
silent() { ! "$BYWAY" exec "$1" -- curl -sS --max-time 1 "$2"; }

lay_out() {
	chapter "A VPC with a public and a private subnet"
	typed byway vpc create shop 10.0.0.0/16
	typed byway subnet add shop web 10.0.1.0/24 --type public
	typed byway subnet add shop db 10.0.2.0/24 --type private
	typed byway vpc show shop
	typed ip netns exec shop-web ip route
	proves "ip netns knows both subnets" eval 'has_netns shop-web && has_netns shop-db'
}

serve() {
	chapter "A web server in one subnet, a request from the other"
	web_server shop-web 80
	web_server shop-web 8080
	WEB=$(addr4 shop-web)
	echo "  (nginx runs in shop-web, on ports 80 and 8080)"
	typed byway exec shop/db -- curl -sS "http://$WEB/"
	proves "db reads web's page" answers shop/db "http://$WEB/" \
		"hello from shop-web to $(addr4 shop-db)"
}

go_out() {
	chapter "NAT: the public subnet reaches the internet, the private one does not"
	web_server internet 80
	echo "  (nginx runs in the namespace internet, at $INTERNET4)"
	proves "before: nobody reaches the internet" silent shop/web "http://$INTERNET4/"
	typed byway nat enable shop --interface eth0
	typed byway exec shop/web -- curl -sS "http://$INTERNET4/"
	proves "the internet sees the host's address, $HOST4" answers shop/web \
		"http://$INTERNET4/" "hello from internet to $HOST4"
	proves "the private subnet still does not get out" silent shop/db "http://$INTERNET4/"
}

guard() {
	chapter "A policy lets port 80 in and nothing else"
	proves "before: port 8080 is open" answers shop/db "http://$WEB:8080/" \
		"hello from shop-web to $(addr4 shop-db)"
	policy 'allow tcp 80 0.0.0.0/0' >web.json
	typed jq -c '.ingress[]' web.json
	typed byway policy apply shop/web web.json
	typed byway policy verify shop/web
	proves "port 80 answers" answers shop/db "http://$WEB/" \
		"hello from shop-web to $(addr4 shop-db)"
	proves "port 8080 is blocked" silent shop/db "http://$WEB:8080/"
}

peer() {
	chapter "Another VPC: apart until they are peers"
	typed byway vpc create staging 10.1.0.0/16
	typed byway subnet add staging app 10.1.1.0/24
	proves "before: staging does not reach shop" silent staging/app "http://$WEB/"
	typed byway peer add shop staging
	typed byway exec staging/app -- curl -sS "http://$WEB/"
	proves "as a peer it does" answers staging/app "http://$WEB/" \
		"hello from shop-web to $(addr4 staging-app)"
	typed byway status
}

# The servers the script itself started in the internet are none of byway's.
take_down() {
	chapter "Deletion leaves the machine as it was"
	typed byway vpc delete shop
	typed byway vpc delete staging
	typed byway vpc delete staging
	stop web-internet
	proves "links, addresses, routes, rules, nftables, mounts, processes and sysctls are as before" \
		same_as "$WORLD/before"
}

main() {
	world_enter "$@"
	snapshot_host >"$WORLD/before"
	lay_out
	serve
	go_out
	guard
	peer
	take_down
	sum_up "two subnets, a web server between them, NAT, a policy, a peering, and nothing left behind."
}

main "$@"
