# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # PIDS is world.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A machine that boots: systemd as process 1 of a container (systemd-nspawn) with the programs of this system, an
# /etc of its own and nothing else. Its network is the namespace `box`, whose eth0 leads to `internet` as the world's own
# did; the machine has to configure it itself. Nothing leaves the world.

MACHINE=$WORLD/machine
MACHINE_UNITS=$MACHINE/etc/systemd/system
MACHINE_PROGRAMS=$WORLD/usr-local

# Whoever boots comes with the host's usual address.
machine_network() {
	ip netns add box
	ip link set eth0 netns box
}

machine_etc() {
	local file
	mkdir -p "$MACHINE"/{etc/byway,proc,sys,dev,run,tmp,var/log,var/tmp,usr,root,home} "$MACHINE_UNITS"
	for file in bin sbin lib lib64; do
		ln -s "usr/$file" "$MACHINE/$file"
	done
	for file in passwd group nsswitch.conf ssl alternatives ld.so.cache ld.so.conf ld.so.conf.d pki; do
		[[ ! -e /etc/$file ]] || cp -a "/etc/$file" "$MACHINE/etc/"
	done
	echo 0123456789abcdef0123456789abcdef >"$MACHINE/etc/machine-id" # so that nothing is enabled by itself
	cp /etc/os-release "$MACHINE/etc/os-release"
	echo box >"$MACHINE/etc/hostname"
	echo 'nameserver 192.0.2.1' >"$MACHINE/etc/resolv.conf"
	machine_mask systemd-networkd.service systemd-networkd.socket systemd-resolved.service \
		systemd-timesyncd.service systemd-logind.service getty.target console-getty.service \
		systemd-udevd.service systemd-sysctl.service systemd-firstboot.service \
		systemd-journal-flush.service
}

machine_mask() {
	local unit
	for unit; do ln -sf /dev/null "$MACHINE_UNITS/$unit"; done
}

# machine_enable TARGET UNIT...: as `systemctl enable` would.
machine_enable() {
	local target=$1 unit
	shift
	mkdir -p "$MACHINE_UNITS/$target.wants"
	for unit; do
		ln -sf "/etc/systemd/system/${unit/@*./@.}" "$MACHINE_UNITS/$target.wants/$unit"
	done
}

# The units of this build and the programs that they start, where a default installation has them.
machine_install() {
	local unit
	install -D "$BYWAY" "$MACHINE_PROGRAMS/sbin/byway"
	install -D "$(dirname "$(realpath "$BYWAY")")/full/byway" "$MACHINE_PROGRAMS/libexec/byway/byway"
	for unit in "$UNITS"/*.service; do
		sed -E 's#/[^ =]*/sbin/byway#/usr/local/sbin/byway#' "$unit" >"$MACHINE_UNITS/${unit##*/}"
	done
}

# unit NAME: its text on standard input.
unit() { cat >"$MACHINE_UNITS/$1"; }

# Control groups are not the world's own: these have its name, and go with it. As the host has them: version 2, or that
# beside systemd's own hierarchy of version 1.
CGROUPS=/sys/fs/cgroup
CGROUP=byway-test-$(stat -L -c %i /proc/self/ns/net)

machine_cgroups() {
	local hierarchy
	if grep -q ' - cgroup .*name=systemd' /proc/self/mountinfo; then
		mount -t tmpfs -o mode=755 tmpfs "$CGROUPS"
		mkdir "$CGROUPS/systemd" "$CGROUPS/unified"
		mount -t cgroup -o none,name=systemd cgroup "$CGROUPS/systemd"
		mount -t cgroup2 cgroup2 "$CGROUPS/unified"
		HIERARCHIES=("$CGROUPS/systemd" "$CGROUPS/unified")
	else
		mount -t cgroup2 cgroup2 "$CGROUPS"
		HIERARCHIES=("$CGROUPS")
	fi
	for hierarchy in "${HIERARCHIES[@]}"; do
		mkdir "$hierarchy/$CGROUP" || return
	done
}

join_cgroup() {
	local hierarchy
	for hierarchy in "${HIERARCHIES[@]}"; do
		echo 0 >"$hierarchy/$CGROUP/cgroup.procs"
	done
}

cgroups_gone() {
	local hierarchy
	for hierarchy in "${HIERARCHIES[@]:-}"; do
		[[ ! -e $hierarchy/$CGROUP ]] || find "$hierarchy/$CGROUP" -depth -type d -exec rmdir {} + || return
	done
}

machine_boot() {
	(
		join_cgroup
		machine_run
	) >"$WORLD/console" 2>&1 </dev/null &
	PIDS["machine"]=$!
	wait_for machine_has_leader || return
	MACHINE_LEADER=$(machine_has_leader)
	WAIT_S=90 wait_for machine_is_up
}

machine_run() {
	SYSTEMD_NSPAWN_API_VFS_WRITABLE=network exec systemd-nspawn --quiet --directory="$MACHINE" --network-namespace-path=/run/netns/box \
		--capability=CAP_NET_ADMIN --system-call-filter=pidfd_getfd --register=no --keep-unit --console=pipe --bind-ro=/usr \
		--bind-ro="$MACHINE_PROGRAMS:/usr/local" --boot systemd.unit=multi-user.target
}
# systemd-nspawn has helpers of another name for a while.
machine_has_leader() { pgrep -x -P "${PIDS[machine]}" systemd; }
# "degraded" is up, too: which units failed is the test's business.
machine_is_up() { [[ $(on_machine systemctl is-system-running) =~ ^(running|degraded)$ ]]; }

# on_machine COMMAND...
on_machine() { nsenter --target "$MACHINE_LEADER" --mount --pid --net --ipc --uts -- "$@"; }

machine_at_exit() {
	local status=$?
	[[ -z ${PIDS[machine]:-} ]] || machine_off
	cgroups_gone 2>/dev/null
	(exit "$status")
	tap_at_exit
}
trap machine_at_exit EXIT

# Without a goodbye; nothing of it stays.
machine_off() {
	[[ -z ${MACHINE_LEADER:-} ]] || kill -KILL "$MACHINE_LEADER"
	wait "${PIDS[machine]}" 2>/dev/null
	unset 'PIDS[machine]'
	ip -n box addr flush dev eth0
	ip -n box link set eth0 down
	wait_for cgroups_gone
}
