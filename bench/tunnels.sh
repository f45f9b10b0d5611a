# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The ways from a client to a server behind the host's cable. Each is two functions:
#
#   WAY_begin    makes it; sets CLIENT_NS, TARGET, VIA (a proxy that the client asks itself) and TOOL, the
#                process whose time and memory count, with its children
#   WAY_end      takes it away
#
# In the results a way has a name for people.

# shellcheck disable=SC2034 # proxy.sh reads it
declare -A WAY_NAMES=(
	[bare]='bare veth pair'
	[connect]='CONNECT proxy alone'
	[byway]='byway'
	[redsocks]='redsocks'
	[sshuttle]='sshuttle (over SSH)'
	[pasta]='pasta (no proxy)'
	[slirp]='slirp4netns (no proxy)'
)
PROXY=192.0.2.1
PROXY_PORT=8888

reset_way() { CLIENT_NS=host TARGET=$INTERNET4 VIA='' TOOL=''; }

bare_begin() { :; }
bare_end() { :; }

connect_begin() { VIA="$PROXY $PROXY_PORT"; }
connect_end() { :; }

byway_begin() {
	by proxy up -q --detach --proxy-url "http://$PROXY:$PROXY_PORT" --allow-dns "$PROXY" || return 1
	TOOL=$(by proxy status --json | jq -r '.tunnels[0].pid')
}
byway_end() { by -q proxy down; }

# ---- redsocks: netfilter redirects to it ----

REDSOCKS_RULE=(OUTPUT -p tcp -d "$INTERNET4" -j REDIRECT --to-ports 12345)
redsocks_config() {
	cat <<-END
		base { log_info = off; daemon = off; redirector = iptables; redsocks_conn_max = 8000;
			rlimit_nofile = 20000; log = "file:$WORLD/redsocks.log"; }
		redsocks { local_ip = 127.0.0.1; local_port = 12345; ip = $PROXY; port = $PROXY_PORT;
			type = http-connect; listenq = 4096; }
	END
}
redsocks_begin() {
	redsocks_config >redsocks.conf
	redsocks -c redsocks.conf >redsocks.out 2>&1 &
	PIDS["redsocks"]=$!
	TOOL=$!
	iptables-legacy -t nat -A "${REDSOCKS_RULE[@]}"
}
redsocks_end() {
	iptables-legacy -t nat -D "${REDSOCKS_RULE[@]}"
	stop redsocks
}

# ---- sshuttle ----

sshd_config() {
	cat <<-END
		ListenAddress $PROXY:2222
		HostKey $WORLD/host_key
		PidFile none
		UsePAM no
		StrictModes no
		PermitRootLogin yes
		AuthorizedKeysFile $WORLD/user_key.pub
	END
}
sshuttle_prepare() {
	[[ -e host_key ]] && return
	ssh-keygen -q -t ed25519 -N '' -f host_key && ssh-keygen -q -t ed25519 -N '' -f user_key || return 1
	mkdir -p /run/sshd
	sshd_config >sshd.conf
	become internet /usr/sbin/sshd -D -f "$WORLD/sshd.conf" >sshd.out 2>&1 &
	PIDS["sshd"]=$!
	wait_for inside host "$STREAM" times "$PROXY" 2222 1
}
sshuttle_begin() {
	sshuttle_prepare || return 1
	sshuttle --method nat -r "root@$PROXY:2222" --no-latency-control --ssh-cmd "ssh -i $WORLD/user_key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null" \
		"$INTERNET4/32" >sshuttle.out 2>&1 </dev/null &
	PIDS["sshuttle"]=$!
	TOOL=$!
	wait_for grep -q Connected sshuttle.out
}
sshuttle_end() { stop sshuttle; }

# ---- namespaces without a cable: no proxy, but the same kind of terminator ----

outside_begin() {
	CLIENT_NS=$1
	ip netns add "$1"
	ip -n "$1" link set lo up
}
outside_end() {
	stop "$1"
	ip netns del "$1"
}
has_default_route() { ip -n "$1" route | grep -q ^default; }

pasta_begin() {
	outside_begin pasta
	pasta --config-net -f --runas 0 --netns /run/netns/pasta >pasta.out 2>&1 </dev/null &
	PIDS["pasta"]=$!
	TOOL=$!
	wait_for has_default_route pasta
}
pasta_end() { outside_end pasta; }

slirp_begin() {
	outside_begin slirp
	slirp4netns --configure --mtu=65520 --netns-type=path /run/netns/slirp tap0 >slirp.out 2>&1 </dev/null &
	PIDS["slirp"]=$!
	TOOL=$!
	wait_for has_default_route slirp
}
slirp_end() { outside_end slirp; }
