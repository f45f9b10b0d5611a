# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The files of examples/ that are for `byway apply`: copies of them, to be changed.

cp "$EXAMPLES"/*.json "$EXAMPLES"/*.yaml .

# again FILE: applied once more, it changes nothing.
again() {
	check "$1: nothing is left to do" by plan "$1"
	check "$1: applied again" by apply "$1"
	prints "$1: it changes nothing" '^[^ ]+: [0-9]+ unchanged$'
}

# proved TARGET...: probes from inside of it, and what `byway prove` sees of them outside.
proved() {
	local target
	for target; do check "$target: proved" by prove "$target"; done
}
