#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# bench.sh - measures firstbit beside named peers, in one run, and prints ratios: above 1 is better
# than the peer. A benchmark never fails a build.
#
#   scripts/bench.sh                  all benchmarks
#   scripts/bench.sh NAME             one: bench/bench_NAME.c or bench/bench_NAME.py
#   scripts/bench.sh [NAME] --json    one JSON object a line:
#                                     bench, case, this, peer, peer_name, unit, ratio
set -u
cd "$(dirname "$0")/.." || exit 2

name=
json=
for word; do
    case "$word" in
    --json) json=--json ;;
    -*)
        echo "usage: scripts/bench.sh [NAME] [--json]" >&2
        exit 2
        ;;
    *) name=$word ;;
    esac
done

benches=()
for file in bench/bench_*.c bench/bench_*.py; do
    bench=$(basename "${file%.*}")
    [ -e "$file" ] && [[ -z $name || $bench == "bench_$name" ]] && benches+=("$file")
done
if [ ${#benches[@]} -eq 0 ]; then
    echo "bench.sh: no benchmark is called $name; there are:" bench/bench_*.* >&2
    exit 2
fi

scripts/setup.sh test || exit 2
build=build/bench
mkdir -p build
{ cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Release -DFIRSTBIT_TESTS=OFF \
    -DFIRSTBIT_BENCH=ON && cmake --build $build -j 2; } >$build.log 2>&1 ||
    { tail -n 20 $build.log >&2; echo "bench.sh: the build failed" >&2; exit 2; }

status=0
for file in "${benches[@]}"; do
    case "$file" in
    *.c) "$build/bench/$(basename "${file%.c}")" $json ;;
    *.py) /usr/bin/python3 "$file" "$build/cli/firstbit" $json ;;
    esac || status=2
done
exit $status
