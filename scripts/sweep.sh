#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# sweep.sh - proves the scalar functions for every float32: none of 2^32 inputs is misrounded beside
# MPFR, and every instruction set has the same results, whose SHA-256 are committed
# (tests/kernels/functions.sha256).
#
#   scripts/sweep.sh                     all of it: a minute or two a function, then its hash on
#                                        every other instruction set
#   scripts/sweep.sh FUNCTION...         some functions
#   scripts/sweep.sh --hash [FUNCTION...]  hashes alone, without MPFR
#   scripts/sweep.sh --rotate PROGRAM    what CI runs: the hash of one function on one instruction
#                                        set, another one with each commit (PROGRAM: sweep_functions)
#   scripts/sweep.sh --accept            writes functions.sha256 from the fastest instruction set
set -u
cd "$(dirname "$0")/.." || exit 2

committed=tests/kernels/functions.sha256
program=build/sweep/tests/kernels/sweep_functions
wrong=0

build() {
    scripts/setup.sh test || exit 2
    mkdir -p build
    { cmake -S . -B build/sweep -G Ninja -DCMAKE_BUILD_TYPE=Release &&
        cmake --build build/sweep --target sweep_functions -j 2; } >build/sweep.log 2>&1 ||
        { tail -n 20 build/sweep.log >&2; echo "sweep.sh: the build failed" >&2; exit 2; }
}

isas() {
    local isa
    for isa in ref avx2 avx512 neon; do
        "$program" --stride 1000000001 --hash exp $isa >/dev/null 2>&1 && echo $isa
    done
}

# compare FUNCTION ISA: the hash of its results beside the committed one.
compare() {
    local hash expected verdict=same
    expected=$(awk -v f="$1" '$2 == f { print $1 }' "$committed")
    hash=$("$program" --hash "$1" "$2" | awk '{ print $1 }')
    if [ -z "$hash" ] || [ "$hash" != "$expected" ]; then
        verdict="DIFFERENT from $expected"
        wrong=1
    fi
    printf '%-16s %-7s %s %s\n' "$1" "$2" "$hash" "$verdict"
}

# "FUNCTION ISA" lines: what takes 20 seconds or so. That leaves out ref where there is another one.
turns_of_ci() {
    local isa function all
    all=$(isas)
    [ "$all" = ref ] || all=${all#ref}
    for isa in $all; do
        for function in $(awk '{ print $2 }' "$committed"); do
            echo "$function $isa"
        done
    done
}

mpfr=yes
case "${1:-}" in
--rotate)
    program=$2
    mapfile -t turns < <(turns_of_ci)
    turn=$(git rev-list --count HEAD 2>/dev/null || date +%j)
    # shellcheck disable=SC2086
    compare ${turns[turn % ${#turns[@]}]}
    exit $wrong
    ;;
--accept)
    build
    "$program" --hash all >"$committed"
    cat "$committed"
    exit
    ;;
--hash)
    mpfr=
    shift
    ;;
-*)
    sed -n '8,15s/^# //p' "$0" >&2
    exit 2
    ;;
esac

build
functions=("$@")
[ $# -gt 0 ] || mapfile -t functions < <(awk '{ print $2 }' "$committed")
for function in "${functions[@]}"; do
    [ -z "$mpfr" ] || "$program" "$function" || wrong=1
    for isa in $(isas); do
        compare "$function" "$isa"
    done
done
[ $wrong -eq 0 ] && echo "nothing is misrounded; every hash is the committed one"
exit $wrong
