# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The ways through an SSH server, as those of tunnels.sh. SERVER is its address on the path at hand, CIPHER what
# each of them is told to use; a way without datagrams clears DATAGRAMS.

# shellcheck disable=SC2034,SC2154 # ssh.sh reads it, and sets the others
declare -A WAY_NAMES=(
	[bare]='bare path'
	[ssh_l]='ssh -L'
	[ssh_w]='ssh -w'
	[sshuttle]='sshuttle'
	[byway]='byway ssh'
)

reset_way() { CLIENT_NS=host TARGET=$INTERNET4 VIA='' TOOL='' DATAGRAMS=1; }

ssh_options() {
	SSH_OPTIONS=(-F none -i "$SSHD_DIR/user" -o IdentitiesOnly=yes -o "UserKnownHostsFile=$SSHD_DIR/known"
		-o "Ciphers=$CIPHER")
}

# plain_ssh WAY OPTION...: in the background.
plain_ssh() {
	ssh_options
	ssh "${SSH_OPTIONS[@]}" -N -o ExitOnForwardFailure=yes "${@:2}" "root@$SERVER" >"$1.out" 2>&1 </dev/null &
	PIDS[$1]=$!
	TOOL=$!
}

bare_begin() { :; }
bare_end() { :; }

ssh_l_begin() {
	TARGET=127.0.0.1
	DATAGRAMS=''
	plain_ssh ssh_l -L "127.0.0.1:$BULK:$INTERNET4:$BULK" -L "127.0.0.1:$ECHO:$INTERNET4:$ECHO"
}
ssh_l_end() { stop ssh_l; }

TUN4=(10.99.0.1 10.99.0.2)
has_tun() { ip link show dev tun7 && ip -n internet link show dev tun7; }
ssh_w_begin() {
	TARGET=${TUN4[1]}
	plain_ssh ssh_w -o Tunnel=point-to-point -w 7:7
	wait_for has_tun || return 1
	ip addr add "${TUN4[0]}/30" dev tun7 && ip link set tun7 up &&
		ip -n internet addr add "${TUN4[1]}/30" dev tun7 && ip -n internet link set tun7 up
}
has_no_tun() { ! ip link show dev tun7 && ! ip -n internet link show dev tun7; }
ssh_w_end() {
	stop ssh_w
	wait_for has_no_tun
}

sshuttle_begin() {
	DATAGRAMS=''
	ssh_options
	sshuttle --method nat -r "root@$SERVER" --no-latency-control --ssh-cmd "ssh ${SSH_OPTIONS[*]}" \
		"$INTERNET4/32" >sshuttle.out 2>&1 </dev/null &
	PIDS["sshuttle"]=$!
	TOOL=$!
	wait_for grep -q Connected sshuttle.out
}
sshuttle_end() { stop sshuttle; }

byway_begin() {
	ssh_options
	by ssh -q --detach "${SSH_OPTIONS[@]}" "root@$SERVER" >byway.out 2>&1 || return 1
	TOOL=$(by ssh status --json | jq -r '.tunnels[0].pid')
}
byway_end() { by -q ssh down; }
