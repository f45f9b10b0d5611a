# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # the scripts that source this use its variables; PIDS is world.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A tunnel over the server of sshd.sh, and what is left of it here and there.

# shellcheck source=tests/lib/sshd.sh
. "$WORLD_LIB/sshd.sh"
# shellcheck source=tests/lib/observer.sh
. "$WORLD_LIB/observer.sh"

SSHD_PORT=22
unset SSH_AUTH_SOCK SUDO_UID

WORDS=(-F none -i "$SSHD_DIR/user" -o IdentitiesOnly=yes -o "UserKnownHostsFile=$SSHD_DIR/known"
	-o ServerAliveInterval=1 -o ServerAliveCountMax=2)
up() { by ssh -q --detach "${WORDS[@]}" "$@" "root@$SSH_SERVER"; }
# tunnel FIELD: of the host's tunnel; "down" when there is none.
tunnel() { by ssh status --json | jq -r ".tunnels[0] | .$1 // \"down\""; }
state_is() { [[ $(tunnel state) == "$1" ]]; }
agent_is() { [[ $(tunnel agent.state) == "$1" ]]; }

# ---- who is there ----

ssh_pids() { pgrep -x ssh; }
no_ssh() { ! ssh_pids; }
master_pid() { tunnel 'connections[0].pid'; }
agent_pids() { pgrep -x agent; }
one_agent() { [[ $(agent_pids | wc -l) == 1 ]]; }
parent() { awk '/^PPid:/ { print $2 }' "/proc/$1/status"; }
no_agent_files() { ! compgen -G "/tmp/.byway-agent-*"; }
# The server's half: nothing runs there, and no file is left.
server_is_clean() { ! agent_pids && no_agent_files; }
no_sockets() { ! compgen -G "/run/ssh-*"; }

# ---- what leaves ----

# What left the host since the control FROM, but for what carries the tunnel, and what every link has:
# solicitations and advertisements of routers and neighbours, and reports on multicast.
CARRIER="tcp $SSH_SERVER $SSHD_PORT"
leaked() { seen_since "$FROM" | grep -vE "^(mark [0-9]+|$CARRIER|icmp [0-9a-f:]+ (13[3-6]|143)|other ff02::16 0)$"; }
nothing_leaked() {
	control
	! leaked
}
begin_watch() {
	control
	FROM=$CONTROLS
}
