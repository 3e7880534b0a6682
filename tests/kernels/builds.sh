#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# builds.sh - the fingerprint of the kernels from several compilers, optimization levels and machines.
#
#   builds.sh [--quick | --riscv64]
#
# Builds the kernels alone (no CMake, a few seconds each) with gcc and clang at -O0 to -O3, and for
# 64-bit Arm and RISC-V with cross compilers, run by qemu-user, where those are installed. Prints a
# table; exit 0 when every fingerprint is the golden one of test_kernel_tables.c. --quick: -O0 and -O2
# with cc. --riscv64: that machine alone.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
golden=$(sed -n 's/^#define GOLDEN_FINGERPRINT "\([0-9a-f]*\)"$/\1/p' \
    "$root/tests/kernels/test_kernel_tables.c")
[ ${#golden} -eq 32 ] || { echo "builds.sh: no golden fingerprint found" >&2; exit 2; }
wrong=0

common="kernels/dispatch kernels/fingerprint kernels/philox kernels/sums base/pool base/error base/hash
        base/hash_block_base tests/kernels/print_fingerprint"

# build_and_run LABEL COMPILER ARCHITECTURE RUNNER FLAGS...
build_and_run() {
    label=$1 cc=$2 architecture=$3 runner=$4
    shift 4
    rm -rf "$work/obj"
    mkdir "$work/obj"
    isas=ref
    [ "$architecture" = x86_64 ] && isas="ref ref_fma avx2 avx512"
    [ "$architecture" = aarch64 ] && isas="ref ref_fma neon"
    for source in $common; do
        "$cc" -std=gnu11 -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -I"$root" -I"$root/include" \
            "$@" -c "$root/$source.c" -o "$work/obj/$(basename "$source").o"
    done
    for isa in $isas; do
        flags=
        [ "$isa $architecture" = "ref_fma x86_64" ] && flags=-mfma
        [ $isa = avx2 ] && flags="-mavx2 -mfma"
        [ $isa = avx512 ] && flags="-mavx512f -mavx512dq -mavx512vl -mavx512bw -mfma"
        # shellcheck disable=SC2086
        "$cc" -std=gnu11 -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -I"$root" -I"$root/include" \
            $flags "$@" -c "$root/kernels/kernels_$isa.c" -o "$work/obj/kernels_$isa.o"
    done
    "$cc" "$@" "$work"/obj/*.o -o "$work/print" -lpthread
    # shellcheck disable=SC2086
    $runner "$work/print" >"$work/out"
    while read -r isa threads hash; do
        verdict=same
        [ "$hash" = "$golden" ] || {
            verdict=DIFFERENT
            wrong=$((wrong + 1))
        }
        printf '%-22s %-7s %s threads  %s  %s\n' "$label" "$isa" "$threads" "$hash" "$verdict"
    done <"$work/out"
}

# cross MACHINE: gcc -O0 and -O2 for another machine.
cross() {
    if command -v "$1-linux-gnu-gcc" >/dev/null && command -v "qemu-$1" >/dev/null; then
        for level in -O0 -O2; do
            build_and_run "$1 gcc $level" "$1-linux-gnu-gcc" "$1" \
                "qemu-$1 -L /usr/$1-linux-gnu" $level
        done
    else
        echo "$1: no cross compiler or no qemu-user here" >&2
    fi
}

host=$(uname -m)
if [ "${1:-}" = --riscv64 ]; then
    cross riscv64
elif [ "${1:-}" = --quick ]; then
    for level in -O0 -O2; do
        build_and_run "${CC:-cc} $level" "${CC:-cc}" "$host" "" $level
    done
else
    for cc in gcc clang; do
        command -v $cc >/dev/null || { echo "$cc: not installed" >&2; continue; }
        for level in -O0 -O1 -O2 -O3; do
            build_and_run "$cc $level" $cc "$host" "" $level
        done
        build_and_run "$cc -O2 -flto" $cc "$host" "" -O2 -flto
        [ "$host" = x86_64 ] && build_and_run "$cc -O3 -march=native" $cc "$host" "" -O3 -march=native
    done
    cross aarch64
    cross riscv64
fi
[ $wrong -eq 0 ]
