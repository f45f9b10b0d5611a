#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the shells offer with byway's completion scripts, each asked of the shell itself.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
# shellcheck source=tests/lib/shells.sh
. tests/lib/shells.sh
BYWAY=$(realpath "${BYWAY:-build/byway}")
DIR=$(mktemp -d)
TAP_OUTPUT=$DIR/output
shells_prepare
mkdir "$DIR/.ssh"
echo 'Host harbour' >"$DIR/.ssh/config"
: >"$DIR/somefile"
cd "$DIR" || exit 1

for shell in bash zsh fish; do
	offers "$shell" 'byway ' vpc ssh completion
	offers "$shell" 'byway vpc ' create delete
	omits "$shell" 'byway vpc ' add
	offers "$shell" 'byway vpc create --' --cidr6 --json
	omits "$shell" 'byway vpc create --' --detach
	offers "$shell" 'byway network ' up down
	offers "$shell" 'byway vm add --' --owner --isolated
	offers "$shell" 'byway ssh ' down check
	offers "$shell" 'byway ssh har' harbour
	offers "$shell" 'byway ssh check har' harbour
	offers "$shell" 'byway ssh --' --identity --dns
	omits "$shell" 'byway ssh down --' --identity
	offers "$shell" 'byway completion ' bash zsh fish
done
for shell in zsh fish; do
	offers "$shell" 'byway ssh -i some' somefile
	omits "$shell" 'byway ssh some' somefile
done
offers bash 'byway ssh -i some' default
cd / && rm -rf "$DIR"
done_testing
