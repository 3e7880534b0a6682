#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# identity.sh - shows that a run's bits depend on its configuration and data alone: one hash of all
# parameters after a GPT run and a convolutional run, over threads, instruction sets, compilers and
# optimization levels, equal to the committed hash (tests/identity/golden.txt).
#
#   scripts/identity.sh                    builds and runs all of it; prints a table
#   scripts/identity.sh --quick [BINARY]...  a cheap part with firstbit programs that are built
#   scripts/identity.sh --aarch64          64-bit Arm alone
#   scripts/identity.sh --riscv64          64-bit RISC-V alone
#   scripts/identity.sh --accept           writes golden.txt from one run of the release build
#
# aarch64 runs under qemu-user. Its libraries are unpacked into build/identity/sysroot with a
# package index of their own, so the system's packages stay as they are. Debian 12 has no riscv64
# libraries: there the kernels alone are built, and the fingerprint of every kernel (contract 1) is
# compared, under qemu-user too.
set -u
cd "$(dirname "$0")/.." || exit 2

golden=tests/identity/golden.txt
work=build/identity
runs="gpt conv"
mkdir -p "$work"
checked=0
wrong=0

# hash_of RUN COMMAND...: the final hash of one run; "" where the instruction set is missing here.
hash_of() {
    local run=$1
    shift
    "$@" train "tests/identity/$run.json" --no-trace --json 2>"$work/stderr" "${options[@]}" |
        sed -n 's/.*"final_hash":"\([0-9a-f]*\)".*/\1/p'
}

# row LABEL ISA THREADS COMMAND...: one line of the table for each run.
row() {
    local label=$1 isa=$2 threads=$3 run hash expected verdict t start=$SECONDS
    shift 3
    for run in $runs; do
        expected=$(sed -n "s/^$run //p" "$golden")
        verdict=same
        for t in $threads; do
            options=(--threads "$t" --isa "$isa")
            hash=$(hash_of "$run" "$@")
            if [ -z "$hash" ] && grep -q "this machine or build has no" "$work/stderr"; then
                verdict=absent
                hash="(not on this machine)"
                break
            fi
            checked=$((checked + 1))
            if [ "$hash" != "$expected" ]; then
                verdict=DIFFERENT
                wrong=$((wrong + 1))
                [ -n "$hash" ] || hash=$(head -c 60 "$work/stderr")
                break
            fi
        done
        printf '%-5s %-16s %-7s %-9s %-32s %-9s\n' "$run" "$label" "$isa" "${threads// /,}" \
            "$hash" "$verdict"
    done
}

heading() {
    printf '%-5s %-16s %-7s %-9s %-32s %s\n' run build isa threads "final hash" verdict
}

finish() {
    echo
    if [ $wrong -eq 0 ] && [ $checked -gt 0 ]; then
        echo "$checked runs and fingerprints, each as committed"
    else
        echo "$checked runs and fingerprints, $wrong of them different"
        exit 1
    fi
}

# build FOLDER CMAKE-ARGUMENT...: the firstbit program alone.
build() {
    local folder=$1
    shift
    { cmake -S . -B "$folder" -G Ninja -DFIRSTBIT_TESTS=OFF "$@" &&
        cmake --build "$folder" --target firstbit -j 2; } >"$work/build.log" 2>&1 ||
        { tail -n 20 "$work/build.log"; echo "identity.sh: $folder does not build" >&2; exit 2; }
}

# Unpacks the libraries that an aarch64 firstbit links.
unpack_sysroot() {
    local apt_folder=$PWD/$work/apt sysroot=$PWD/$work/sysroot
    [ -e "$sysroot/complete" ] && return 0
    mkdir -p "$apt_folder"/{state/lists/partial,cache/archives/partial,packages} "$sysroot"
    : >"$apt_folder/state/status"
    local apt=(apt-get -qq -o "Dir::State=$apt_folder/state" -o "Dir::Cache=$apt_folder/cache"
        -o "Dir::State::status=$apt_folder/state/status" -o APT::Architecture=arm64
        -o APT::Architectures=arm64 -o APT::Sandbox::User=)
    "${apt[@]}" update && (cd "$apt_folder/packages" && "${apt[@]}" download \
        libxxhash-dev libxxhash0 libzstd-dev libzstd1 zlib1g-dev zlib1g libcjson-dev libcjson1 \
        libunwind-dev libunwind8 liblzma-dev liblzma5) || return 1
    for package in "$apt_folder"/packages/*.deb; do
        dpkg -x "$package" "$sysroot" || return 1
    done
    touch "$sysroot/complete"
}

aarch64() {
    if ! unpack_sysroot >"$work/sysroot.log" 2>&1; then
        echo "aarch64: its libraries cannot be had here ($work/sysroot.log); not checked"
        return
    fi
    export FIRSTBIT_SYSROOT=$PWD/$work/sysroot
    build "$work/aarch64" -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/aarch64-linux-gnu.cmake"
    local triple=aarch64-linux-gnu
    local libraries=$FIRSTBIT_SYSROOT/usr/lib/$triple:$FIRSTBIT_SYSROOT/lib/$triple
    for isa in ref neon; do
        row "gcc aarch64 qemu" $isa "1 2" qemu-aarch64 -L /usr/aarch64-linux-gnu \
            -E "LD_LIBRARY_PATH=$libraries" "$work/aarch64/cli/firstbit"
    done
}

riscv64() {
    local out
    if ! command -v riscv64-linux-gnu-gcc >/dev/null || ! command -v qemu-riscv64 >/dev/null; then
        echo "riscv64: no cross compiler or no qemu-user here; not checked"
        return
    fi
    out=$(tests/kernels/builds.sh --riscv64) || wrong=$((wrong + 1))
    checked=$((checked + $(grep -c . <<<"$out")))
    echo "$out"
}

quick() {
    local binary isa
    if [ $# -eq 0 ]; then
        build "$work/quick" -DCMAKE_BUILD_TYPE=Release
        set -- "$work/quick/cli/firstbit"
    fi
    heading
    for isa in ref avx2 avx512; do
        row "$(basename "$(dirname "$(dirname "$1")")")" $isa "1 2 3" "$1"
    done
    shift
    for binary; do
        row "$(basename "$(dirname "$(dirname "$binary")")")" avx2 2 "$binary"
    done
    finish
}

everything() {
    local compiler level isa
    heading
    for compiler in gcc clang; do
        for level in -O0 -O1 -O2 -O3 "-O2 -flto"; do
            local folder="$work/$compiler${level// /}" flags=$level
            [ "$compiler$level" != "clang-O2 -flto" ] || flags="$level -fuse-ld=lld"
            build "$folder" -DCMAKE_C_COMPILER=$compiler -DCMAKE_BUILD_TYPE= \
                -DCMAKE_C_FLAGS="$flags"
            for isa in ref avx2 avx512; do
                row "$compiler $level" $isa "1 2 3 7" "$folder/cli/firstbit"
            done
        done
    done
    # An x86-64 processor without a fused multiply-add: ref with the one in software.
    row "gcc no-fma qemu" ref "1 2" qemu-x86_64 -cpu Nehalem "$work/gcc-O2/cli/firstbit"
    aarch64
    riscv64
    finish
}

case "${1:-}" in
--quick)
    shift
    quick "$@"
    ;;
--aarch64)
    scripts/setup.sh test || exit 2
    heading
    aarch64
    finish
    ;;
--riscv64)
    scripts/setup.sh test || exit 2
    riscv64
    finish
    ;;
--accept)
    build "$work/quick" -DCMAKE_BUILD_TYPE=Release
    options=()
    for run in $runs; do
        echo "$run $(hash_of "$run" "$work/quick/cli/firstbit")"
    done >"$golden"
    cat "$golden"
    ;;
"")
    scripts/setup.sh test || exit 2
    everything
    ;;
*)
    echo "usage: scripts/identity.sh [--quick [BINARY]... | --aarch64 | --riscv64 | --accept]" >&2
    exit 2
    ;;
esac
