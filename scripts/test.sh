#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# test.sh - installs what is missing, builds everything the ways it must build, runs every test and
# check. The last line counts them: "N passed, N failed". Logs: build/log/.
#
#   scripts/test.sh             what CI runs (under ten minutes on two cores)
#   scripts/test.sh --slow      also the tests labelled slow: mutants of the kernels, random runs; the
#                               static analyser with its whole budget
#   scripts/test.sh STEP...     some steps, by the names that a run prints
set -u
cd "$(dirname "$0")/.." || exit 2
scripts/setup.sh test || exit 2

slow=(-LE slow)
# A third of the states that clang's analyser may visit in a function: a third of its time.
budget=(-extra-arg=-Xclang -extra-arg=-analyzer-config -extra-arg=-Xclang -extra-arg=max-nodes=75000)
if [ "${1:-}" = --slow ]; then
    slow=()
    budget=()
    shift
fi

log=build/log
mkdir -p "$log"
passed=0
failed=0
wanted=" $* "

# step NAME COMMAND...: runs it into a log; on failure prints the end of it.
step() {
    local name=$1 start=$SECONDS status
    shift
    [[ $wanted == "  " || $wanted == *" $name "* ]] || return 0
    "$@" >"$log/$name.log" 2>&1 </dev/null
    status=$?
    if [ $status -eq 0 ]; then
        printf 'ok      %-18s %4d s\n' "$name" $((SECONDS - start))
    else
        printf 'FAILED  %-18s %4d s   (%s)\n' "$name" $((SECONDS - start)) "$log/$name.log"
        tail -n 40 "$log/$name.log" | sed 's/^/    /'
    fi
    count "$log/$name.log" $status
}

# Adds what a step ran: each test of ctest or of the case runner, else the step itself.
count() {
    local line
    line=$(grep -E '^[0-9]+% tests passed, [0-9]+ tests? failed out of [0-9]+' "$1" | tail -n 1)
    if [[ $line =~ ,\ ([0-9]+)\ tests?\ failed\ out\ of\ ([0-9]+) ]]; then
        echo "        $line"
        failed=$((failed + BASH_REMATCH[1]))
        passed=$((passed + BASH_REMATCH[2] - BASH_REMATCH[1]))
        [ "$2" -eq 0 ] || [ "${BASH_REMATCH[1]}" -gt 0 ] || failed=$((failed + 1))
    elif [ "$2" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
}

build() { # PRESET [TARGET]...
    local preset=$1
    shift
    cmake --preset "$preset" -DFIRSTBIT_WERROR=ON &&
        cmake --build "build/$preset" -j 2 ${1:+--target "$@"}
}

run_ctest() { # PRESET, then arguments of ctest
    local preset=$1
    shift
    ctest --test-dir "build/$preset" --output-on-failure -j 2 "$@"
}

tidy() {
    # Every source of the program that is compiled for this machine, with assertions on: they tell
    # the analyser what cannot be. The kernels' one body is looked at once, in plain C.
    cmake --preset debug -DCMAKE_C_COMPILER=clang &&
        run-clang-tidy -quiet -j 2 -p build/debug "${budget[@]}" \
            "$PWD/(base|engine|tracer|replay|diff|cli|kernels/(dispatch|fingerprint|kernels_ref))" |
        awk '/(warning|error):/ { n++ } { print } END { exit n > 0 }'
}

static_check() {
    cppcheck --quiet -j 2 --std=c11 --enable=warning,performance,portability --inline-suppr \
        --suppressions-list=tests/cppcheck_suppressions.txt --error-exitcode=1 \
        --project=build/release/compile_commands.json -i tests
}

# What shares memory between threads: the pool, the engine on it, the recorder, a replay.
threaded=(test_pool test_hash test_run test_run_watch test_run_micro test_recorder test_recorder_trouble
    test_kills test_tail
    test_replay)

step build-gcc build release
step test-gcc run_ctest release "${slow[@]}"
step build-clang build clang
step test-clang run_ctest clang -L quick
step build-sanitized build asan
step test-sanitized run_ctest asan -LE 'slow|docs|source|torch'
step build-threads build tsan "${threaded[@]}"
step test-threads run_ctest tsan -R "^($(IFS='|' && echo "${threaded[*]}"))\$"
step clang-tidy tidy
step cppcheck static_check
step identity scripts/identity.sh --quick build/release/cli/firstbit build/clang/cli/firstbit \
    build/asan/cli/firstbit
step functions scripts/sweep.sh --rotate build/release/tests/kernels/sweep_functions
step demo scripts/demo.sh --no-build build/release

echo
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
