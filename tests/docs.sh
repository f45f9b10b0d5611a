#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The documents speak of the tree and the program that there are: what they name in `backticks`
# exists, the README's session gives the output printed there, its file and the examples are accepted.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/lib/suite.sh"
world_enter "$@"
cd "$WORLD_TREE" || exit 1

DOCS=(README.md ARCHITECTURE.md)
for doc in docs/*.md docs/proto/*.md; do
	[[ ! -e $doc ]] || DOCS+=("$doc")
done

# What stands in backticks outside of code blocks, without them; a line each.
names() {
	awk '/^```/ { code = !code; next } !code' "$1" | tr '\n' ' ' | grep -oE '`[^`]+`' | tr -d '`' | sort -u
}

links() { grep -oE '\]\([^)#:]+\)' "$1" | sed 's/^](//; s/)$//' | sort -u; }

defined() { grep -rqE "^[a-z].*[ *]$1\(|^$1\(\)" src tests bench tools; }
declared() { grep -rqE "^(typedef )?${1% *} ${1#* } \{" src; }
used() { grep -rqw -- "$1" src tests; }
# "noun verb", or "noun argument" of a noun without verbs.
is_command() { "$BYWAY" --help | grep -qE "^  ($1( |\$)|${1%% *} ( |[A-Z]))"; }
there() { compgen -G "$1"; }

# A name of none of these forms is not for us to check.
check_name() {
	local doc=$1 name=$2 top
	top=${name%%/*}
	case $name in
	build/* | /*) ;;
	*' '*)
		[[ $name =~ ^(struct|enum)\ [a-z_0-9]+$ ]] && check "$doc: $name" declared "$name"
		[[ ! $name =~ ^byway\ [a-z]+(\ [a-z]+)? ]] ||
			check "$doc: $name" is_command "${BASH_REMATCH[0]#byway }"
		[[ ! $name =~ ^make\ [a-z]+ ]] ||
			check "$doc: $name" grep -q "^${BASH_REMATCH[0]#make }:" Makefile
		;;
	*.c | *.h | *.sh | *.md | *.build | *.json | *.yaml | *.8) check "$doc: $name" there "$name" ;;
	*/*) [[ ! -d $top ]] || check "$doc: $name" there "$name" ;;
	*'()') check "$doc: $name" defined "${name%??}" ;;
	*_*) [[ ! $name =~ ^[A-Za-z0-9_]+$ ]] || check "$doc: $name" used "$name" ;;
	esac
}

check_names() {
	local doc=$1 name
	while read -r name; do
		check_name "$doc" "$name"
	done < <(names "$doc")
	while read -r name; do
		check "$doc: link to $name" there "$(dirname "$doc")/$name"
	done < <(links "$doc")
}

# ---- the session ----

# Commands of a console block with what they print: "# command", then lines.
session() { awk '/^```console/ { on = 1; next } /^```/ { on = 0 } on' README.md; }

replay() {
	local command=$1 want=$2 got
	got=$(bash -c "$command" 2>&1 </dev/null | sed 's/ *$//')
	is "README.md: $command" "$got" "${want%$'\n'}"
}

check_session() {
	local line command='' want=''
	mkdir "$WORLD/bin"
	ln -s "$BYWAY" "$WORLD/bin/byway"
	PATH=$WORLD/bin:$PATH
	must ip -n internet addr add 1.1.1.1/32 dev lo
	while IFS= read -r line; do
		if [[ $line == '# '* ]]; then
			[[ -z $command ]] || replay "$command" "$want"
			command=${line#'# '} want=''
		else
			want+=$line$'\n'
		fi
	done < <(session)
	replay "$command" "$want"
}

# The file for `byway apply`, with a policy of that name beside it.
check_file() {
	awk '/^```yaml/ { on = 1; next } /^```/ { on = 0 } on' README.md >"$WORLD/lab.yaml"
	cp examples/policy-http.json "$WORLD/web.json"
	check "README.md: the file for the machine" by validate "$WORLD/lab.yaml"
	prints "which has what it shows" '2 VPCs and networks, 3 subnets, 1 peerings'
}

# ---- the examples ----

check_examples() {
	local file
	must by vpc create production 10.0.0.0/16 --cidr6 fd00:10::/56
	for file in examples/subnets.*; do
		check "$file" by subnet add production --file "$file"
	done
	for file in examples/policy-*.json; do
		check "$file" by policy apply production/web-tier "$file"
	done
}

for doc in "${DOCS[@]}"; do
	check_names "$doc"
done
check_session
check_file
check_examples
done_testing
