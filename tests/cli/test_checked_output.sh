#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# test_checked_output.sh - recover, share and pack write nothing that they have not read again: on a
# disk that flips a bit they fail, and leave no file.
#
# usage: test_checked_output.sh FIRSTBIT FLIP_WRITE_LIBRARY GOLDEN_TRACE
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$3" "$folder/run.fbt"
for command in recover share pack; do
    "$1" "$command" "$folder/run.fbt" -o "$folder/$command.fbt" >/dev/null
    code=0
    LD_PRELOAD=$2 "$1" "$command" "$folder/run.fbt" -o "$folder/bad.fbt" \
        >/dev/null 2>"$folder/said" || code=$?
    cat "$folder/said"
    if [ "$code" -ne 2 ] || [ -e "$folder/bad.fbt" ]; then
        echo "$command: exit status $code with a bit flipped in what it wrote"
        exit 1
    fi
done
