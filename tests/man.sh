#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The man pages describe the program that there is: every command and its options as `--help` has
# them; every exit status, JSON schema, environment variable and key of byway.yaml(5) and
# byway-config(5) as the source has them. Each command is in byway(8); when there is a byway-NOUN(8), its options are in that. Networks are in
# the machines' page.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
BYWAY=$(realpath "${BYWAY:-build/byway}")
TAP_OUTPUT=$(mktemp)

# As text: one line per paragraph, nothing overstruck.
render() { mandoc -T ascii -O width=900 "$1" | sed 's/.\x08//g'; }

# section PAGE TITLE
section() { awk -v title="$2" '/^[A-Z]/ { on = $0 == title; next } on' <<<"$1"; }

# entry TEXT HEADING: the item of that heading, with what stands below it.
entry() {
	awk -v head="     $2" '/^     [^ ]/ { on = $0 == head || index($0, head " ") == 1 }
		/^ ? ? ?[^ ]/ { on = 0 } on' <<<"$1"
}

# contains NAME TEXT STRING
contains() {
	if [[ $2 == *"$3"* ]]; then pass "$1"; else fail "$1" "not there: $3"; fi
}

exists() {
	if [[ -n $2 ]]; then pass "$1"; else fail "$1" "no such entry"; fi
}

# "noun verb ARGUMENTS" of each command.
commands() {
	"$BYWAY" --help | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 }
		on { sub(/^  /, ""); sub(/ ( .*|$)/, ""); print }'
}

# options TITLE: "--name ARGUMENT" of each option in that list of a help text.
options() {
	awk -v title="$1" '$0 == title { on = 1; next } /^$/ { on = 0 } on' |
		sed -nE 's/^ +(-., )?(--[a-z0-9-]+( [A-Z][^ ]*)?) .*/\2/p'
}

check_command() {
	local noun verb words text option page
	read -r noun verb _ <<<"$1"
	page=${noun/#network/vm}
	words=("$noun")
	[[ ! $verb =~ ^[a-z]+$ ]] || words+=("$verb")
	text=$(entry "$COMMANDS" "$1")
	exists "byway ${words[*]}, with its arguments" "$text"
	if [[ -e man/byway-$page.8 ]]; then
		text=$(entry "$(section "$(render "man/byway-$page.8")" COMMANDS)" "$1")
		exists "byway ${words[*]}, in byway-$page(8)" "$text"
	fi
	while read -r option; do
		contains "byway ${words[*]} $option" "$text" "$option"
	done < <("$BYWAY" "${words[@]}" --help | options Options:)
}

check_commands() {
	local command
	while read -r command; do
		check_command "$command"
	done < <(commands)
}

check_globals() {
	local option text
	text=$(section "$PAGE" OPTIONS)
	while read -r option; do
		contains "byway $option" "$text" "$option"
	done < <("$BYWAY" --help | options 'Options of every command:')
}

environment() {
	local page
	for page in man/*.8; do
		section "$(render "$page")" ENVIRONMENT
	done
}

# Of some the middle is the kind of a tunnel.
schemas() {
	local kind
	grep -rhoE '"byway(\.[a-z]+)+/[0-9]+"' src
	while read -r kind; do
		grep -rhoE '"byway\.%s(\.[a-z]+)+/[0-9]+"' src | sed "s/%s/$kind/"
	done < <(commands | sed -n 's/ down$//p')
}

check_source() {
	local status schema variable
	while read -r status; do
		exists "exit status $status" "$(entry "$(section "$PAGE" 'EXIT STATUS')" "$status")"
	done < <(sed -nE 's/^\tERR_[A-Z_]+ = ([0-9]+),$/\1/p' src/base/err.h)
	while read -r schema; do
		exists "schema $schema" "$(entry "$(section "$PAGE" 'JSON OUTPUT')" "$schema")"
	done < <(schemas | tr -d '"' | sort -u)
	while read -r variable; do
		exists "environment variable $variable" "$(entry "$(environment)" "$variable")"
	done < <(grep -rhoE --exclude=fault.c 'getenv\("[A-Z_]+"' src | cut -d'"' -f2 | sort -u)
}

check_vpcctl() {
	local text command
	text=$(section "$(render man/vpcctl.8)" DESCRIPTION)
	ln -s "$BYWAY" "$TAP_OUTPUT.d/vpcctl"
	while read -r command; do
		exists "vpcctl $command" "$(entry "$text" "$command")"
	done < <("$TAP_OUTPUT.d/vpcctl" --help | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on { print $1 }')
}

# What the page says that proxyvpn takes, it takes.
check_proxyvpn() {
	local option help
	ln -s "$BYWAY" "$TAP_OUTPUT.d/proxyvpn"
	help=$("$TAP_OUTPUT.d/proxyvpn" up --help)
	while read -r option; do
		contains "proxyvpn $option" "$help" "$option"
	done < <(section "$(render man/byway-proxy.8)" PROXYVPN | grep -oE -- '--[a-z-]+' | sort -u)
}

# Every name that x2ssh has for an option is there, with the one that it stands for.
check_x2ssh() {
	local text theirs ours
	text=$(section "$(render man/byway-ssh.8)" X2SSH)
	while read -r theirs ours; do
		like "x2ssh $theirs is $ours" "$text" "$theirs .*$ours "
	done < <(sed -nE 's/^\t\{"(--vpn-[a-z-]+)", "(--[a-z-]+)"\},$/\1 \2/p' src/cli/ssh.c)
	contains "x2ssh --vpn" "$(section "$(render man/byway-ssh.8)" SYNOPSIS)" 'x2ssh --vpn [USER@]HOST'
}

# "key" of each table of keys, once.
keys() { grep -ohE '\{"[a-z_0-9]+", (file_|config_)?read_' "$@" | cut -d'"' -f2 | sort -u; }

# check_keys PAGE FILES...: the page has every key of these, and none that there is not.
check_keys() {
	local page=$1 text key
	shift
	text=$(render "man/$page.5")
	while read -r key; do
		like "$page $key" "$text" "(^|"$'\n'") +$key(:|"$'\n'"|$)"
	done < <(keys "$@")
	is "$page has no other keys" "$(sed -nE 's/^ +([a-z_0-9]+): [A-Z].*/\1/p' <<<"$text" | sort -u |
		comm -23 - <(keys "$@"))" ''
}

# libbyway(3) has each function, struct, member and constant of byway.h.
check_library() {
	local text synopsis name
	text=$(render man/libbyway.3)
	synopsis=$(section "$text" SYNOPSIS)
	while read -r name; do
		contains "libbyway $name, in the synopsis" "$synopsis" " $name("
		like "libbyway $name, described" "${text#*DESCRIPTION}" "$name\(\)"
	done < <(sed -nE 's/^BYWAY_API .*[ *](byway_[a-z_]+)\(.*/\1/p' include/byway.h)
	while read -r name; do
		like "libbyway $name" "${text#*DESCRIPTION}" "(^|[^A-Za-z_])$name([^A-Za-z_]|$)"
	done < <(grep -vE '^#define BYWAY_(H|API)|_(MAX|LEN) ' include/byway.h |
		sed -nE 's/^#define (BYWAY_[A-Z_]+).*/\1/p; s/^\t(BYWAY_[A-Z_]+) = .*/\1/p
			s/^(struct byway_[a-z_]+)[ ;].*/\1/p; s/^\t[a-z].*[ *]([a-z_0-9]+)(\[.*)?;.*/\1/p' |
		sort -u)
}

mkdir "$TAP_OUTPUT.d"
PAGE=$(render man/byway.8)
COMMANDS=$(section "$PAGE" COMMANDS)
for page in man/*.[358]; do
	check "mandoc finds nothing wrong in $page" mandoc -T lint -W warning "$page"
done
check_commands
check_globals
check_source
check_vpcctl
check_proxyvpn
check_x2ssh
check_keys byway.yaml src/session/file*.c
check_keys byway-config src/config/*.c
check_library
rm -rf "$TAP_OUTPUT" "$TAP_OUTPUT".*
done_testing
