# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154,SC2004 # the scripts that source this use its variables; PIDS is world.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Virtual machines that really boot: QEMU's microvm machine, emulated (a machine with KVM is not asked for),
# Debian's kernel, and an initial file system of busybox and the probe. Such a guest configures eth0 by the
# kernel argument ip=, serves "hello from NAME" by HTTP, and carries out commands that come over
# its serial console. `inside vm:NAME COMMAND...` works as with a namespace.

# See tools/guest-kernel.sh.
GUEST_KERNEL=${GUEST_KERNEL:-/var/cache/byway-guest}
GUEST_IMAGE=$WORLD/guest.cpio
# In the order in which they need each other.
GUEST_MODULES='virtio_ring virtio virtio_mmio failover net_failover virtio_net'
# Who runs QEMU: a command that becomes somebody else, such as setpriv(1).
GUEST_AS=()

declare -A GUEST_IN=() GUEST_OUT=()

# ---- what is inside ----

# A Debian kernel leaves ip= (admin-guide/nfs/nfsroot) to the initial file system. Each line of a
# command's output comes back behind ':', and then '@', its number and its exit status.
guest_init() {
	cat <<-END
		#!/bin/busybox sh
		export PATH=/bin
		/bin/busybox --install -s /bin
		mount -t proc proc /proc
		mount -t sysfs sys /sys
		mount -t devtmpfs dev /dev
		for module in $GUEST_MODULES; do insmod /modules/\$module.ko; done
	END
	cat <<-'END'
		name=guest
		configure() {
			local IFS=:
			set -- ${1#ip=}
			if [ "${7:-}" = dhcp ]; then
				udhcpc -i "$6" -n -q -t 15 -T 1 -A 0 -s /lease -O hostname
				return
			fi
			name=$5
			ip addr add "$1/$4" dev "$6"
			[ -z "$3" ] || ip route add default via "$3"
			[ -z "${8:-}" ] || echo "nameserver $8" >/etc/resolv.conf
		}
		ip link set lo up
		ip link set eth0 up
		for word in $(cat /proc/cmdline); do
			case $word in ip=*) configure "$word" ;; esac
		done
		[ ! -e /name ] || read -r name </name
		hostname "$name"
		echo "hello from $name" >/www/index.html
		httpd -h /www
		exec </dev/ttyS0 >/dev/ttyS0 2>&1
		stty raw -echo
		echo @ready
		while read -r id command; do
			(eval "$command") </dev/null >/output 2>&1
			status=$?
			awk '{ print ":" $0 }' /output
			echo "@$id $status"
		done
	END
}

# What becomes of a lease.
guest_lease() {
	cat <<-'END'
		#!/bin/sh
		[ "$1" = bound ] || exit 0
		ip addr add "$ip/$mask" dev "$interface"
		ip route add default via "$router"
		printf 'search %s\nnameserver %s\n' "$domain" "$dns" >/etc/resolv.conf
		echo "$hostname" >/name
	END
}

# The probe is where it is on the host, with what it is linked to.
guest_files() {
	local file
	for file in "$PROBE" $(ldd "$PROBE" | grep -o '/[^ ]*'); do
		mkdir -p "$1$(dirname "$file")"
		cp -L "$file" "$1$file"
	done
}

guest_image() {
	local root=$WORLD/guest-root module
	mkdir -p "$root"/{bin,dev,etc,proc,sys,www,modules}
	cp /bin/busybox "$root/bin/"
	for module in $GUEST_MODULES; do
		cp "$GUEST_KERNEL/$module.ko" "$root/modules/"
	done
	guest_files "$root"
	guest_init >"$root/init"
	guest_lease >"$root/lease"
	chmod +x "$root/init" "$root/lease"
	(cd "$root" && find . | busybox cpio -o -H newc) >"$GUEST_IMAGE" 2>/dev/null
}

# ---- the machine ----

# The clock of an emulated processor is the host's. A kernel that measures it on a busy machine gets it
# wrong and hangs: it is told.
guest_clock() {
	awk -F': ' '/^bogomips/ { printf "tsc_early_khz=%d no_timer_check", $2 * 500; exit }' \
		/proc/cpuinfo
}

guest_machine() {
	local args=$1
	shift
	exec "${GUEST_AS[@]}" qemu-system-x86_64 -M microvm,rtc=on,isa-serial=on -accel tcg -m 96 \
		-nodefaults -no-user-config -display none -no-reboot -serial stdio \
		-kernel "$GUEST_KERNEL/vmlinuz" -initrd "$GUEST_IMAGE" \
		-append "console=ttyS0 quiet loglevel=0 panic=-1 $(guest_clock) $args" "$@"
}

# guest_boot NAME "KERNEL ARGUMENTS" QEMU ARGUMENT...: until it takes commands.
guest_boot() {
	local name=$1 fifo=$WORLD/guest-$1 in out
	shift
	[[ -e $GUEST_IMAGE ]] || guest_image
	mkfifo "$fifo.in" "$fifo.out"
	guest_machine "$@" <"$fifo.in" >"$fifo.out" 2>"$fifo.err" &
	PIDS[guest-$name]=$!
	exec {in}>"$fifo.in" {out}<"$fifo.out"
	GUEST_IN[$name]=$in
	GUEST_OUT[$name]=$out
	guest_answer "$name" @ready && return
	cat "$fifo.err"
	guest_stop "$name"
	return 1
}

# Prints what the guest says until a line that begins so; that line is in GUEST_ANSWER.
GUEST_ANSWER=
guest_answer() {
	while IFS= read -r -t "${WAIT_S:-60}" -u "${GUEST_OUT[$1]}" GUEST_ANSWER; do
		case $GUEST_ANSWER in
		"$2"*) return 0 ;;
		:*) printf '%s\n' "${GUEST_ANSWER#:}" ;;
		esac
	done
	echo "the guest $1 does not answer" >&2
	return 1
}

# guest_run NAME COMMAND: a line for its shell. Output and exit status are the command's.
guest_run() {
	local id=$RANDOM$RANDOM
	printf '%s %s\n' "$id" "$2" >&"${GUEST_IN[$1]}"
	guest_answer "$1" "@$id " || return 125
	return "${GUEST_ANSWER##* }"
}

guest_stop() {
	local in=${GUEST_IN[$1]} out=${GUEST_OUT[$1]}
	exec {in}>&- {out}<&-
	stop "guest-$1"
	rm -f "$WORLD/guest-$1".{in,out}
	unset "GUEST_IN[$1]" "GUEST_OUT[$1]"
}
