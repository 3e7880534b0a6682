#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# make_man.sh - turns the --help texts into manual pages, so that there is one text of each.
#
# usage: make_man.sh VERSION FOLDER FIRSTBIT...      writes firstbit.1 and firstbit-COMMAND.1;
#        FIRSTBIT is the program, behind an emulator where one is needed
set -eu
version=$1
folder=$2
shift 2

# The help text on stdin, as a manual page: its first line is the name, "usage:" the synopsis, the
# rest is shown as it is laid out.
page() { # TITLE
    awk -v title="$1" -v version="$version" '
    function roff(text) {
        gsub(/\\/, "\\e", text)
        gsub(/-/, "\\-", text)
        return text ~ /^[.\x27]/ ? "\\&" text : text
    }
    function section(name) {
        if (open) print ".fi"
        print ".SH " name
        if (name != "NAME") { print ".nf"; open = 1 } else open = 0
    }
    NR == 1 {
        print ".TH " toupper(roff(title)) " 1 \"\" \"firstbit " version "\" \"firstbit manual\""
        section("NAME")
        sub(/^firstbit( [a-z]+)?: /, "")
        print roff(title) " \\- " roff($0)
        next
    }
    /^usage: / { section("SYNOPSIS"); usage = 1; sub(/^usage: /, "") }
    usage && /^$/ { usage = 0; section("DESCRIPTION"); next }
    usage { sub(/^       /, "") }
    NR > 2 { print roff($0) }
    END { if (open) print ".fi" }'
}

mkdir -p "$folder"
"$@" --help | page firstbit >"$folder/firstbit.1"
for command in $("$@" --help | sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p'); do
    "$@" "$command" --help | page "firstbit-$command" >"$folder/firstbit-$command.1"
done
