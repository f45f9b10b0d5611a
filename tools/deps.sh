#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# deps.sh GROUP...: installs the Debian packages that building, testing or measuring needs, and
# asks apt only for those that are missing.
set -eu

declare -A PACKAGES=(
	[build]='gcc libc6-dev meson ninja-build pkg-config libmnl-dev libseccomp-dev libnftnl-dev libsqlite3-dev
		libjansson-dev libfyaml-dev libcap-ng-dev libssl-dev libc-ares-dev
		libmicrohttpd-dev'
	# For the agents that go to other machines; without them, those get none.
	[agents]='gcc-aarch64-linux-gnu gcc-arm-linux-gnueabihf gcc-riscv64-linux-gnu linux-libc-dev-arm64-cross
		linux-libc-dev-armhf-cross linux-libc-dev-riscv64-cross'
	[world]='bash coreutils util-linux mount iproute2 iputils-ping nftables nginx-light curl jq procps openconnect'
	[test]='chromium squid tinyproxy-bin dnsmasq-base openssl netcat-openbsd libcmocka-dev clang clang-tidy cppcheck shellcheck iptables ipset tcpdump libcap2-bin
		mandoc ocserv bash-completion fish zsh openssh-server openssh-client qemu-user-static busybox-static
		python3-prometheus-client graphviz ufw firewalld dbus systemd-container python3-jsonschema
		python3-yaml bind9-dnsutils isc-dhcp-client podman runc'
	# Virtual machines for the tests and the demonstration; and a kernel for them, see below.
	[guest]='qemu-system-x86 busybox-static'
	# The packages, and a system of its own to install them on.
	[deb]='debhelper dpkg-dev git systemd'
	[deb-test]='lintian mmdebstrap'
	[bench]='iptables containernetworking-plugins redsocks sshuttle openssh-client openssh-server passt
		slirp4netns openconnect ocserv dnsmasq-base openssl'
)

is_installed() {
	[[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

missing() {
	local group package
	for group in "$@"; do
		for package in ${PACKAGES[$group]:?no such group}; do
			is_installed "$package" || echo "$package"
		done
	done | sort -u
}

as_root() {
	if [[ $(id -u) == 0 ]]; then
		"$@"
	else
		sudo "$@"
	fi
}

has_lists() { compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null; }

# The package lists may be absent or too old to know where the packages are.
apt_install() {
	local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
	has_lists && as_root "${apt[@]}" install --no-install-recommends "$@" && return
	as_root "${apt[@]}" update
	as_root "${apt[@]}" install --no-install-recommends "$@"
}

# Nobody who types `make demo` wants a web server on port 80: invoke-rc.d(8) asks this script.
POLICY=/usr/sbin/policy-rc.d

without_services() {
	if [[ -e $POLICY ]]; then
		"$@"
		return
	fi
	printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin "$POLICY"
	trap 'as_root rm -f "$POLICY"' EXIT
	"$@"
}

# disable_service PACKAGE SERVICE INSTALLED...: so that it is not started at the next boot either.
disable_service() {
	local package=$1 service=$2
	shift 2
	if [[ " $* " == *" $package "* && -d /run/systemd/system ]]; then
		as_root systemctl disable "$service"
	fi
}

install_packages() {
	without_services apt_install "$@"
	disable_service nginx-light nginx "$@"
	disable_service squid squid "$@"
	disable_service redsocks redsocks "$@"
	disable_service ocserv ocserv "$@"
	disable_service openssh-server ssh "$@"
	disable_service firewalld firewalld "$@"
}

install_missing() {
	local wanted
	mapfile -t wanted < <(missing "$@")
	((${#wanted[@]})) || return 0
	if ! command -v apt-get >/dev/null; then
		echo "deps.sh: not a Debian system; byway needs what Debian calls: ${wanted[*]}" >&2
		return 1
	fi
	echo "installing ${wanted[*]}" >&2
	install_packages "${wanted[@]}" >&2
}

GUEST_KERNEL=/var/cache/byway-guest
CLEAN_ROOT=/var/cache/byway-root

main() {
	install_missing "$@"
	if [[ " $* " == *" guest "* && ! -e $GUEST_KERNEL/vmlinuz ]]; then
		as_root "$(dirname "$0")/guest-kernel.sh" "$GUEST_KERNEL" >&2
	fi
	if [[ " $* " == *" deb-test "* ]]; then
		as_root "$(dirname "$0")/clean-root.sh" "$CLEAN_ROOT" >&2
	fi
}

main "$@"
