#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# embed.sh NAME[,NAME...]=FILE...: binaries.c, on stdout. NAME is what uname -m says on a machine that
# FILE runs on.
set -eu

symbol() { printf 'agent_%s' "${1%%[,=]*}"; }

bytes() {
	cat <<-END
		__asm__(".section .rodata\\n$1_start:\\n.incbin \\"$2\\"\\n$1_end:\\n.previous\\n");
		extern const uint8_t $1_start[], $1_end[];
	END
}

rows() {
	names=$1,
	sum=$(sha256sum <"$3")
	while [ -n "$names" ]; do
		printf '\t{"%s", %s_start, %s_end,\n\t "%s"},\n' "${names%%,*}" "$2" "$2" "${sum%% *}"
		names=${names#*,}
	done
}

echo '#include "agent/binaries.h"'
for pair in "$@"; do
	bytes "$(symbol "$pair")" "$(realpath "${pair#*=}")"
done
echo 'const struct agent_binary agent_binaries[] = {'
for pair in "$@"; do
	rows "${pair%%=*}" "$(symbol "$pair")" "${pair#*=}"
done
printf '\t{0},\n};\n'
