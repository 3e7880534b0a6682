#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# fuzz.sh - runs the fuzz targets of tests/fuzz under libFuzzer, AddressSanitizer and
# UndefinedBehaviorSanitizer. What it finds and what it has learned stay in build/fuzz-corpus.
#
#   scripts/fuzz.sh                    a minute for each target
#   scripts/fuzz.sh SECONDS            so many seconds for each
#   scripts/fuzz.sh SECONDS TARGET...  of: trace recover tail diff report text config
#                                      safetensors data
#
# A crash is written to build/fuzz-corpus/TARGET-crash-...; to see it again:
#   build/fuzz/tests/fuzz/fuzz_TARGET FILE
set -u
cd "$(dirname "$0")/.." || exit 2

seconds=${1:-60}
case $seconds in
'' | *[!0-9]*) sed -n '3,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
[ $# -gt 0 ] && shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(trace recover tail diff report text config safetensors data)

build=${FIRSTBIT_FUZZ_BUILD:-build/fuzz}
mkdir -p build
{
    cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=clang \
        -DFIRSTBIT_FUZZ=ON -DCMAKE_C_FLAGS="-fsanitize=fuzzer-no-link,address,undefined \
-fno-sanitize-recover=all -fno-omit-frame-pointer" &&
        cmake --build "$build" -j 2 --target "${targets[@]/#/fuzz_}"
} >build/fuzz-build.log 2>&1 || { tail -n 20 build/fuzz-build.log >&2; exit 2; }

failed=0
for target in "${targets[@]}"; do
    seeds=tests/fuzz/corpus/$target
    limits=(-rss_limit_mb=2048 -malloc_limit_mb=512)
    case $target in
    # No reader of traces needs more than 64 MiB, whatever the file; a sanitizer triples it.
    trace | recover | tail) limits=(-rss_limit_mb=400 -malloc_limit_mb=48) ;;
    esac
    case $target in
    recover | diff | report) seeds=tests/fuzz/corpus/trace ;;
    esac
    learned=build/fuzz-corpus/$target
    mkdir -p "$learned"
    # Sizes of the seeds: what is longer says nothing new and takes its time.
    if "$build/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -max_len=32768 -timeout=20 \
        "${limits[@]}" -print_final_stats=1 -artifact_prefix="$learned-" "$learned" "$seeds" \
        >"$learned.log" 2>&1; then
        printf 'ok      %-12s %12s runs in %s s, %s inputs learned\n' "$target" \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' "$learned.log")" "$seconds" \
            "$(find "$learned" -type f | wc -l)"
    else
        printf 'FAILED  %-12s %s.log\n' "$target" "$learned"
        grep -E 'ERROR|SUMMARY|does not hold|Test unit written' "$learned.log" | sed 's/^/        /'
        failed=1
    fi
done
exit $failed
