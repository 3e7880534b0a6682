#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# test_outside.sh - an outside CMake project finds the installed library and records from C++ threads,
# shared and static; examples/c_net.c, compiled with -O2 and with -Ofast, parts at the first operation
# that the compiler reordered, named with its line.
#
# usage: test_outside.sh SOURCE_FOLDER BUILD_FOLDER FIRSTBIT
set -eu
source=$1 build=$2 firstbit=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "$1" >&2
    exit 1
}

cmake --install "$build/tracer" --prefix "$work/usr" >/dev/null
cp -r "$source/tests/tracer/outside" "$work/outside" # nothing of the tree around it
cmake -S "$work/outside" -B "$work/built" -DCMAKE_PREFIX_PATH="$work/usr" >/dev/null
cmake --build "$work/built" >/dev/null
cd "$work"
for kind in threads static; do
    "built/record_$kind" "$kind.fbt" || fail "record_$kind: exit $?"
    "$firstbit" verify "$kind.fbt" >/dev/null
done
"$firstbit" diff threads.fbt static.fbt >/dev/null || fail "threads arrive in an order of their own"

libraries=$(dirname "$(find "$work/usr" -name libfirstbit_trace.a)")
for level in O2 Ofast; do
    cc -std=c11 -Wall -Wextra -Werror -g -$level "$source/examples/c_net.c" -I"$work/usr/include" \
        -L"$libraries" -Wl,-rpath,"$libraries" -lfirstbit_trace -o net-$level
    ./net-$level $level.fbt >$level.txt
    ./net-$level $level-again.fbt >/dev/null
    "$firstbit" diff $level.fbt $level-again.fbt >/dev/null || fail "-$level does not repeat"
done
status=0
"$firstbit" diff O2.fbt Ofast.fbt >report.txt || status=$?
line=$(grep -n '"hidden"' "$source/examples/c_net.c" | cut -d: -f1)
[ $status -eq 1 ] && grep -q '^DIVERGED at step 1, forward, hidden (matmul), output' report.txt &&
    grep -q "main at c_net.c:$line" report.txt || fail "$(cat report.txt)"
calls=$(grep -c 'fb_\|firstbit/' "$source/examples/c_net.c")
[ "$calls" -le 10 ] || fail "c_net.c takes $calls lines to record"
"$work/net-O2" /nowhere/net.fbt 2>/dev/null | cmp - O2.txt
