# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Many VPN sessions at once, each in a namespace of its own: openconnect by itself, for which all that can be done
# beforehand is done beforehand, and byway, which does all of it. Each way is
#
#   WAY_prepare N     what costs no time
#   WAY_up N          returns when all N sessions can be used
#   WAY_ns I          the namespace of session I
#   WAY_down N        ends them all
#   WAY_tidy          what costs no time
#   WAY_tool          the openconnect of session 1

# shellcheck disable=SC2034,SC2154 # session.sh reads it, and sets the others
declare -A WAY_NAMES=(
	[bare]='openconnect alone'
	[byway]='byway session'
)

# ---- openconnect alone: the script gives the device its address, and says so ----

bare_script() {
	cat <<-'END'
		#!/bin/sh
		[ "$reason" = connect ] || exit 0
		ip -batch - <<-BATCH
			link set $TUNDEV mtu $INTERNAL_IP4_MTU up
			addr add $INTERNAL_IP4_ADDRESS/32 dev $TUNDEV
			route add 10.98.0.0/24 dev $TUNDEV
		BATCH
		echo "$SESSION" >"$READY"
	END
}

bare_ns() { echo "bare-$1"; }

# One /32 on each pair, as byway has it; NAT is a rule for all of them.
bare_links() {
	local i addr
	for ((i = 1; i <= $1; i++)); do
		addr=10.230.$((i / 256)).$((i % 256))
		ip netns add "bare-$i"
		ip link add "bare-$i" type veth peer name eth0 netns "bare-$i"
		ip link set "bare-$i" up
		ip route add "$addr" dev "bare-$i"
		ip -n "bare-$i" -batch - <<-END
			link set lo up
			link set eth0 up
			addr add $addr/32 dev eth0
			route add default via 169.254.1.1 dev eth0 onlink
			neigh add 169.254.1.1 lladdr $(link_mac host "bare-$i") dev eth0 nud permanent
		END
		ip neigh add "$addr" lladdr "$(link_mac "bare-$i" eth0)" dev "bare-$i" nud permanent
	done
}

bare_prepare() {
	echo 1 >/proc/sys/net/ipv4/ip_forward
	nft -f - <<-END
		table ip bare {
			chain post {
				type nat hook postrouting priority srcnat
				ip saddr 10.230.0.0/16 oifname eth0 masquerade
			}
		}
	END
	bare_links "$1"
	bare_script >bare.script
	chmod +x bare.script
	rm -f bare.ready
	mkfifo bare.ready
	exec {BARE_READY}<>bare.ready
}

bare_up() {
	local i
	BARE_PIDS=()
	for ((i = 1; i <= $1; i++)); do
		SESSION=$i READY=$WORLD/bare.ready become "bare-$i" openconnect --non-inter --passwd-on-stdin \
			--user "$VPN_USER" --servercert "$PIN" --interface tun0 --script "$WORLD/bare.script" \
			"https://$INTERNET4:$OCSERV_PORT" <password >"bare.$i.out" 2>&1 &
		BARE_PIDS+=($!)
	done
	for ((i = 1; i <= $1; i++)); do
		read -r -t 60 -u "$BARE_READY" || return 1
	done
}

bare_tool() { echo "${BARE_PIDS[0]}"; }

bare_down() {
	local i
	kill "${BARE_PIDS[@]}"
	wait "${BARE_PIDS[@]}"
	for ((i = 1; i <= $1; i++)); do echo "netns del bare-$i"; done | ip -batch -
}

bare_tidy() {
	exec {BARE_READY}>&-
	nft delete table ip bare
	echo 0 >/proc/sys/net/ipv4/ip_forward
}

# ---- byway ----

byway_prepare() {
	cat >vpn.yaml <<-END
		interface: eth0
		subnet: 10.231.0.0/16
		instances: $1
		vpn:
		  server: https://$INTERNET4:$OCSERV_PORT
		  username: $VPN_USER
		  password_file: $WORLD/password
		  servercert: $PIN
		logging:
		  directory: $WORLD/log
	END
}

byway_ns() { echo "vpn-$1"; }
byway_up() { by -q session up vpn.yaml --wait; }
byway_down() { by -q session down --all; }
byway_tidy() { :; }

# The one that all openconnects are children of.
byway_supervisor() { awk '/^PPid/ { print $2 }' "/proc/$(pgrep -x -o openconnect)/status"; }
byway_tool() { ip netns pids "$(byway_ns 1).out" | head -n 1; }
