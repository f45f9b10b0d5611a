# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What shells offer with byway's completion scripts, each asked of the shell itself. The scripts are in $DIR, a folder
# that is the home of whoever types.

shells_prepare() {
	local shell
	ln -s "$BYWAY" "$DIR/byway"
	export PATH=$DIR:$PATH HOME=$DIR
	mkdir "$DIR/functions"
	for shell in bash zsh fish; do
		byway completion "$shell" >"$DIR/$shell" || bail "no script for $shell"
	done
	cp "$DIR/zsh" "$DIR/functions/_byway"
}

# Each of these prints what the shell offers for a line, all of it in one string.

in_bash() {
	bash --norc -c '. /usr/share/bash-completion/bash_completion
		. "$1"
		read -ra COMP_WORDS <<<"$2"
		[[ $2 != *" " ]] || COMP_WORDS+=("")
		COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$2 COMP_POINT=${#2}
		compopt() { echo "$@"; } # the shell has it only while a line is typed
		_byway
		echo "${COMPREPLY[@]}"' - "$DIR/bash" "$1" 2>&1 </dev/null
}

# On a terminal of its own, as a person sees it; "END" comes when the list is there.
in_zsh() {
	# shellcheck disable=SC2016 # for zsh to expand
	timeout 60 zsh -f -c 'zmodload zsh/zpty
		zpty shell TERM=dumb zsh -f -i
		zpty -w shell "PS1=; PS2=; stty rows 200 cols 200; LISTMAX=0; fpath=($1/functions \$fpath)"
		zpty -w shell "autoload -U compinit; compinit -u -D; setopt nobeep"
		zpty -w shell "zstyle \":completion:*\" list-prompt \"\"; unsetopt automenu alwayslastprompt"
		zpty -w shell "finish() { zle list-choices; zle -R; zle -I; echo E\"\"ND; }"
		zpty -w shell "zle -N finish; bindkey ^X finish; echo REA\"\"DY"
		zpty -r shell out "*READY*"
		zpty -n -w shell "$2"$'"'\\C-x'"'
		zpty -r shell out "*END*"
		print -r -- "$out"
		zpty -d shell' - "$DIR" "$1" 2>&1 </dev/null
}

in_fish() {
	# shellcheck disable=SC2016 # for fish to expand
	fish --no-config -c 'source $argv[1]; complete -C $argv[2]' "$DIR/fish" "$1" 2>&1 </dev/null
}

# offers SHELL LINE WORD..., omits SHELL LINE WORD...
offers() {
	local shell=$1 line=$2 got word
	shift 2
	got=$(tr '\n\r\t' '   ' <<<" $("in_$shell" "$line") ")
	for word; do
		like "$shell: '$line' offers $word" "$got" "[^a-z@/-]${word}[^a-z-]"
	done
}

omits() {
	local shell=$1 line=$2 got word
	shift 2
	got=$(tr '\n\r\t' '   ' <<<" $("in_$shell" "$line") ")
	for word; do
		unlike "$shell: '$line' does not offer $word" "$got" "[^a-z@/-]${word}[^a-z-]"
	done
}
