#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# clean-root.sh FOLDER: puts a small Debian there, of this system's release, with what byway's packages depend on: the
# test of the packages installs them in it without a network. Done once, until there is another such package.
set -eu
FOLDER=$1
DEPENDS=libmnl0,libnftnl11,libsqlite3-0,libjansson4,libfyaml0,libcap-ng0,libseccomp2,libssl3,libc-ares2,libmicrohttpd12,iproute2,kmod

main() {
	[[ ! -e $FOLDER/etc/debian_version || $(cat "$FOLDER.depends") != "$DEPENDS" ]] || return 0
	# shellcheck source=/dev/null
	. /etc/os-release
	rm -rf "$FOLDER" "$FOLDER.new"
	mkdir -p "$(dirname "$FOLDER")"
	mmdebstrap --quiet --variant=minbase --include="$DEPENDS" --skip=output/dev \
		"${VERSION_CODENAME:?}" "$FOLDER.new"
	mv "$FOLDER.new" "$FOLDER"
	echo "$DEPENDS" >"$FOLDER.depends"
}

main
