#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# embed-page.sh FILE...: assets.c, on stdout; src/web/assets.h says what that is. The sums are for who decides by the
# text whether it is to be compiled anew.
set -eu

type_of() {
	case $1 in
	*.html) echo "text/html; charset=utf-8" ;;
	*.css) echo "text/css; charset=utf-8" ;;
	*.js) echo "text/javascript; charset=utf-8" ;;
	*.svg) echo "image/svg+xml" ;;
	*) echo "$0: what is $1?" >&2 && exit 1 ;;
	esac
}

symbol() { basename "$1" | tr -c '[:alnum:]\n' _; }

path_of() {
	case $1 in
	*/index.html) echo / ;;
	*) echo "/$(basename "$1")" ;;
	esac
}

echo '#include "web/assets.h"'
for file; do
	cat <<-END
		/* $(sha256sum <"$file") */
		__asm__(".section .rodata\\n$(symbol "$file")_start:\\n.incbin \\"$(realpath "$file")\\"\\n$(symbol "$file")_end:\\n.previous\\n");
		extern const uint8_t $(symbol "$file")_start[], $(symbol "$file")_end[];
	END
done
echo 'const struct asset web_assets[] = {'
for file; do
	printf '\t{"%s", "%s", %s_start, %s_end},\n' "$(path_of "$file")" "$(type_of "$file")" \
		"$(symbol "$file")" "$(symbol "$file")"
done
printf '\t{0},\n};\n'
