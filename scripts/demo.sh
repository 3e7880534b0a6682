#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# demo.sh - shows in one terminal what firstbit does: trains a small GPT, records it, replays it,
# plants two faults, and finds them. Installs what building needs; leaves its
# traces in build/demo/out.
#
#   scripts/demo.sh                       builds first
#   scripts/demo.sh --no-build FOLDER     uses a program that is built there
set -u
cd "$(dirname "$0")/.." || exit 2

build=build/demo
case "${1:-}" in
"")
    scripts/setup.sh build || exit 2
    echo "Building firstbit (log: $build.log) ..."
    mkdir -p build
    { cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Release -DFIRSTBIT_TESTS=OFF &&
        cmake --build $build --target firstbit; } >$build.log 2>&1 ||
        { tail -n 20 $build.log >&2; echo "demo.sh: the build failed" >&2; exit 2; }
    ;;
--no-build)
    build=${2:?demo.sh: --no-build needs the build folder}
    ;;
*)
    echo "usage: scripts/demo.sh [--no-build FOLDER]" >&2
    exit 2
    ;;
esac

program=$(realpath "$build")/cli/firstbit
out=build/demo/out
rm -rf "$out"
mkdir -p "$out"

bold= plain=
if [ -t 1 ]; then
    bold=$(printf '\033[1m') plain=$(printf '\033[0m')
fi

title() {
    printf '\n%s%s%s\n' "$bold" "$1" "$plain"
}

# Long commands are broken as one would type them.
fold_words() {
    echo "$1" | fold -s -w 66 | sed '$!s/ *$/ \\/; 2,$s/^/    /'
}

# firstbit EXPECTED-STATUS ARGUMENT...: shows the command, runs it, insists on its exit status.
firstbit() {
    local expected=$1 status=0
    shift
    printf '\n%s$ firstbit %s%s\n' "$bold" "$(fold_words "$*")" "$plain"
    "$program" "$@" || status=$?
    if [ $status -ne "$expected" ]; then
        echo "demo.sh: expected exit status $expected, got $status" >&2
        exit 1
    fi
}

title "1. Train a small GPT and record it"
cat <<'END'
200 steps on a lighthouse keeper's log. The trace holds a hash of every tensor,
every random draw, every sample and every update; not the tensors themselves.
END
firstbit 0 train examples/gpt.json -o $out/a.fbt

title "2. Replay it"
cat <<'END'
The same run again, from the trace and the data alone, with another number of
threads and, where this machine has them, other vector instructions. Every
event is compared as it happens.
END
if grep -q avx512f /proc/cpuinfo; then
    firstbit 0 replay $out/a.fbt --threads 1 --isa avx2
else
    firstbit 0 replay $out/a.fbt --threads 1
fi

title "3. Two honest runs are the same"
cat <<'END'
A second run, with one thread. A framework's sums would differ here in their
last bits; these do not.
END
firstbit 0 train examples/gpt.json -o $out/b.fbt --threads 1
firstbit 0 diff $out/a.fbt $out/b.fbt

title "4. One bit flips"
cat <<'END'
A third run, in which the lowest bit of one number in one tensor is flipped in
step 42, as a faulty memory chip would do it. Nothing in the trace says that it
was planted. Mind the loss: it does not look wrong.
END
firstbit 0 train examples/gpt.json -o $out/c.fbt \
    --inject flip:step=42,path=h.1.mlp.fc,slot=out,element=4321,bit=0
firstbit 1 diff $out/a.fbt $out/c.fbt

title "5. One random number too many"
cat <<'END'
A fourth run, in which something draws one extra number from the random stream
of a dropout layer in step 120: the classic bug of "same seed, other result".
END
firstbit 0 train examples/gpt.json -o $out/d.fbt \
    --inject draw:step=120,stream=h.0.mlp.dropout
firstbit 1 diff $out/a.fbt $out/d.fbt

title "What you saw"
cat <<END
a, b   the same run, bit for bit, on any number of threads and instruction set
c      the step, the layer, the element and the bit of a single flipped bit
d      the step and the stream of one extra random number

The traces are in $out. Look around:
  $build/cli/firstbit show $out/a.fbt --step 42
  $build/cli/firstbit info $out/a.fbt
docs/tutorial.md starts from "my two runs disagree".
END
