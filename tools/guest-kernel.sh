#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# guest-kernel.sh FOLDER: puts Debian's kernel for virtual machines and its virtio drivers there, for the
# guests that the tests and the demonstration boot. The package is unpacked, not installed: this
# machine does not get another kernel.
set -eu
FOLDER=$1
META=linux-image-cloud-amd64

find_package() { apt-cache depends "$META" | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p'; }

# The package lists may be absent or too old to know where the package is.
download() { apt-get -q -o APT::Sandbox::User=root download "$(find_package)"; }

unpack() {
	dpkg-deb --extract ./*.deb package
	mkdir kernel
	cp package/boot/vmlinuz-* kernel/vmlinuz
	find package/lib/modules \( -name 'virtio*.ko' -o -name '*failover.ko' \) -exec cp -t kernel {} +
	chmod -R a+rX kernel
}

main() {
	[[ ! -e $FOLDER/vmlinuz ]] || return 0
	mkdir -p "$(dirname "$FOLDER")"
	WORK=$(mktemp -d "$FOLDER.XXXXXX")
	trap 'rm -rf "$WORK"' EXIT
	cd "$WORK"
	download || { apt-get -q update && download; }
	unpack
	rm -rf "$FOLDER"
	mv kernel "$FOLDER"
}

main
