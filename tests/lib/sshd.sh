# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # the scripts that source this use its variables; PIDS is world.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Real SSH servers in a world, and what a client needs to be let in.

SSHD_DIR=$WORLD/ssh
SSH_SERVER=192.0.2.1

# Keys, a resolver that is not there and says so at once (sshd resolves names by itself, and does
# nothing else meanwhile), for the host and for the servers, what is known of the server, and the user
# that ssh is given for everything.
sshd_prepare() {
	mkdir -p "$SSHD_DIR" /run/sshd
	echo nameserver 127.0.0.1 >/etc/resolv.conf
	echo nameserver 127.0.0.1 >"$SSHD_DIR/resolv.conf"
	chmod 755 "$WORLD" "$SSHD_DIR"
	ssh-keygen -q -t ed25519 -N '' -f "$SSHD_DIR/host"
	ssh-keygen -q -t ed25519 -N '' -f "$SSHD_DIR/user"
	ssh-keygen -q -t ed25519 -N '' -f "$SSHD_DIR/stranger"
	cp "$SSHD_DIR/user.pub" "$SSHD_DIR/authorized"
	echo "* $(cut -d' ' -f1,2 "$SSHD_DIR/host.pub")" >"$SSHD_DIR/known"
	: >"$SSHD_DIR/known-none"
	echo "* $(cut -d' ' -f1,2 "$SSHD_DIR/stranger.pub")" >"$SSHD_DIR/known-other"
}

sshd_config() { # NAME PORT [LINE...]
	cat <<-END
		Port $2
		HostKey $SSHD_DIR/host
		AuthorizedKeysFile $SSHD_DIR/authorized
		PidFile $SSHD_DIR/$1.pid
		PermitRootLogin yes
		PasswordAuthentication no
		KbdInteractiveAuthentication no
		UsePAM no
		StrictModes no
		UseDNS no
		MaxStartups 100
	END
	shift 2
	[[ $# == 0 ]] || printf '%s\n' "$@"
}

# With a resolv.conf of its own, which what it starts has, too.
SSHD_STARTER='mount --bind "$1/resolv.conf" /etc/resolv.conf && exec /usr/sbin/sshd -D -e -f "$1/$2.conf"'

# sshd_start NAME PORT [LINE...]: in the network `internet`; its pid is in PIDS[sshd-NAME].
sshd_start() {
	sshd_config "$@" >"$SSHD_DIR/$1.conf"
	become internet unshare --mount sh -c "$SSHD_STARTER" sh "$SSHD_DIR" "$1" \
		2>"$SSHD_DIR/$1.log" </dev/null &
	PIDS[sshd-$1]=$!
	wait_for inside internet "$PROBE" tcp 127.0.0.1 "$2" 500 ||
		bail "sshd did not start: $(cat "$SSHD_DIR/$1.log")"
}

# The words for ssh: `ssh_words PORT [WORD...]`.
ssh_words() {
	local port=$1
	shift
	echo "-F none -i $SSHD_DIR/user -oIdentitiesOnly=yes -oUserKnownHostsFile=$SSHD_DIR/known -p $port $*"
}
