#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# faults.sh - all fault tests of the trace: every prefix and every flipped bit, thousands of kills,
# each system call and allocation failing, lost disks. docs/testing.md says what each one shows.
#
#   scripts/faults.sh             some ten minutes: every prefix, every bit, samples of the rest
#   scripts/faults.sh --hours N   kills and failing calls for some N hours
#   scripts/faults.sh --quick     what CI runs
#   scripts/faults.sh --build DIR ...   uses a program and tests that are built there
set -u
cd "$(dirname "$0")/.." || exit 2

build=
hours=0
quick=0
while [ $# -gt 0 ]; do
    case $1 in
    --hours) hours=${2:?faults.sh: --hours needs a number}; shift ;;
    --quick) quick=1 ;;
    --build) build=${2:?faults.sh: --build needs a folder}; shift ;;
    *) sed -n '3,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done
if [ -z "$build" ]; then
    build=build/release
    scripts/setup.sh test || exit 2
    { cmake --preset release && cmake --build $build -j 2; } >build/faults-build.log 2>&1 ||
        { tail -n 20 build/faults-build.log >&2; exit 2; }
fi

program=$build/cli/firstbit
tests=$build/tests
failed=0

# part NAME COMMAND...: one line that says what was done and how long it took.
part() {
    local name=$1 start=$SECONDS output
    shift
    if output=$("$@" 2>&1); then
        printf 'ok      %-34s %5d s\n' "$name" $((SECONDS - start))
        echo "$output" | grep -E '^[0-9]+ |^ok ' | sed 's/^ok  */        /; s/^[0-9]/        &/'
    else
        printf 'FAILED  %-34s %5d s\n' "$name" $((SECONDS - start))
        echo "$output" | tail -n 30 | sed 's/^/    /'
        failed=$((failed + 1))
    fi
}

if [ $quick -eq 1 ]; then
    stride=1999 deep=199 tail_stride=499 kills=30 train_kills=6 samples=3
elif [ "$hours" -eq 0 ]; then
    stride=1 deep=20011 tail_stride=5 kills=1000 train_kills=100 samples=20
else
    stride=1 deep=2003 tail_stride=1 kills=$((hours * 20000)) train_kills=$((hours * 1000)) samples=0
fi

part "a trace cut and flipped" env FIRSTBIT_FAULT_STRIDE=$stride FIRSTBIT_FAULT_DEEP=$deep \
    "$tests/faults/test_trace_bits"
part "a tail cut and flipped" env FIRSTBIT_FAULT_STRIDE=$tail_stride "$tests/faults/test_tail_bits"
part "$kills kills of recording programs" env FIRSTBIT_TEST_KILLS=$kills "$tests/tracer/test_kills"
part "$train_kills kills of firstbit train" tests/faults/kill_train.py "$program" $train_kills
part "lost disks" tests/faults/lost_disk.py "$program"
# Every one where no number of samples is given.
[ $samples -eq 0 ] && samples=
part "calls that fail" tests/faults/fail_calls.py "$program" "$tests/faults/record_program" \
    "$tests/faults/libfail_kth.so" $samples

echo
[ $failed -eq 0 ] && echo "all held" || echo "$failed failed"
[ $failed -eq 0 ]
