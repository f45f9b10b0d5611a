#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Containers of podman on a byway network: by the plugin as podman calls it.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
CNI=$(realpath "${CNI:?}")

podman_files() {
	mkdir -p "$WORLD"/{bin,net.d,tmp,root,run}
	ln -s "$CNI" "$WORLD/bin/byway"
	cat >"$WORLD/containers.conf" <<-END
		[containers]
		log_driver = "k8s-file"
		default_sysctls = []
		default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
		[network]
		network_backend = "cni"
		cni_plugin_dirs = ["$WORLD/bin", "/usr/lib/cni"]
		network_config_dir = "$WORLD/net.d"
		default_network = "pods"
		[engine]
		cgroup_manager = "cgroupfs"
		events_logger = "file"
		runtime = "runc"
		tmp_dir = "$WORLD/tmp"
		static_dir = "$WORLD/root/libpod"
	END
	cat >"$WORLD/storage.conf" <<-END
		[storage]
		driver = "vfs"
		graphroot = "$WORLD/root"
		runroot = "$WORLD/run"
	END
	export CONTAINERS_CONF=$WORLD/containers.conf CONTAINERS_STORAGE_CONF=$WORLD/storage.conf
}

# An image with nothing in it but busybox.
podman_image() {
	local dir=$WORLD/image name
	mkdir -p "$dir"/{bin,etc,tmp,proc,sys,dev,srv}
	cp /bin/busybox "$dir/bin/"
	for name in sh sleep ping wget ip cat httpd nslookup; do ln -s busybox "$dir/bin/$name"; done
	echo "hello from web" >"$dir/srv/index.html"
	tar -C "$dir" -c . | podman import - busybox
}

# start NAME [OPTION...]
start() { podman run -d --name "$1" "${@:2}" busybox sleep 600; }
address() { podman inspect "$1" | jq -r ".[0].NetworkSettings.Networks.\"${2:-pods}\".IPAddress"; }
ports() { by network show "${1:-pods}" --json | jq -r '.vms | length'; }
serve() { podman exec -d "$1" httpd -p 80 -h /srv; wait_for get host "http://$(address "$1")/"; }
resolves() { podman exec "$1" nslookup "$2" | grep "Address.*$3"; }
# Whose address a container finds behind a name.
named() { podman exec "$1" ping -c 1 -w 15 "$2" | sed -nE 's/^PING [^ ]+ \(([^)]*)\).*/\1/p'; }
pings() { podman exec "$1" ping -c 1 -w 15 "$2"; }

# The world's /sys has none.
cgroups() {
	local controllers
	mount -t tmpfs tmpfs /sys/fs/cgroup
	while IFS=: read -r _ controllers _; do
		[[ -n $controllers ]] || continue
		mkdir -p "/sys/fs/cgroup/${controllers#name=}"
		mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/${controllers#name=}"
	done </proc/self/cgroup
}

if grep -q '^[1-9].*:[a-z]' /proc/self/cgroup; then
	cgroups
else
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
podman_files
must by network up pods 10.40.0.0/24 --dns
must by cni install --network pods --dir "$WORLD/net.d"
must by cni install --network back --cidr 10.41.0.0/24 --dir "$WORLD/net.d"
must podman_image

check "a container" start one --network pods:alias=uno
check "and another" start two
is "its address is byway's" "$(address one)" 10.40.0.2
check "they reach each other" pings one "$(address two)"
check "by their names, too" pings one two
is "in full" "$(named one two.pods.internal)" "$(address two)"
is "with a name of its own choosing" "$(named two uno)" "$(address one)"
check "the host reaches one" ping -c 1 -w 15 "$(address one)"
check "they go out" pings two "$INTERNET4"
check "a third with an address and a MAC of its own" start three --ip 10.40.0.99 --mac-address 02:00:00:00:00:99
is "has the address" "$(address three)" 10.40.0.99
like "and the MAC" "$(podman exec three ip link show eth0)" 02:00:00:00:00:99
check "restart" podman restart -t 0 one
check "and again it reaches" pings one "$(address two)"
check "and is found" pings two one
check "a container on two networks" start four --network pods --network back
like "has an address of the other" "$(address four back)" '^10\.41\.0\.'
check "the host reaches it there" ping -c 1 -w 15 "$(address four back)"
is "four are attached" "$(ports)" 4
check "published ports" start web -p 8080:80 -p "127.0.0.1:8081:80"
check "a web server" serve web
is "is reached from outside" "$(get internet "http://$HOST4:8080/")" "hello from web"
is "on the host" "$(get host http://127.0.0.1:8080/)" "hello from web"
is "by a neighbour" "$(podman exec two wget -qO- "http://$HOST4:8080/")" "hello from web"
is "what is on one address is there" "$(get host http://127.0.0.1:8081/)" "hello from web"
cannot internet "$HOST4" 8081 "another address"
cannot internet "$HOST4" 80 "another port"
fails "another container cannot have the port" start late -p 8080:80
podman rm -f -t 0 late >/dev/null 2>&1
check "restart with ports" podman restart -t 0 web
check "the web server again" serve web
is "and it is reached again" "$(get internet "http://$HOST4:8080/")" "hello from web"
must podman rm -f -t 0 web
cannot internet "$HOST4" 8080 "the container is gone"
is "nothing is published" "$(json '.published | length' publish list)" 0
if command -v dnsmasq >/dev/null; then
	background dns internet sh -c "dnsmasq -k --no-resolv --no-hosts -C /dev/null -x '$WORLD/dns.pid' \
		--address=/web.example/203.0.113.10 --local=/example/ & echo ready; wait"
	check "a container with a name server" start five --dns "$INTERNET4"
	check "resolves names" wait_for resolves five web.example "$INTERNET4"
	must podman rm -f -t 0 five
	kill "$(cat "$WORLD/dns.pid")"
else
	skip "a container with a name server" "dnsmasq is not installed"
fi
check "removal" podman rm -f -t 0 one two three four
is "leaves nothing attached" "$(ports)" 0
is "nor on the other network" "$(ports back)" 0
is "nor a name" "$(dig +time=2 @10.40.0.1 two.pods.internal | sed -n 's/.*status: \([A-Z]*\),.*/\1/p')" NXDOMAIN
find /sys/fs/cgroup -depth -type d -path '*/libpod_parent*' -exec rmdir {} + 2>/dev/null
fails "no interface is left" eval 'ip -br link | grep "^cni-"'
done_testing
