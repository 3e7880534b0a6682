#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The two readers agree: on golden files, on fresh ones, on every damaged copy, and with SUMS.

usage: test_read_trace.py TRACE_LINES GOLDEN_FOLDER       the test
       test_read_trace.py --sums TRACE_LINES GOLDEN_FOLDER   prints SUMS
"""

import hashlib
import os
import random
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
DAMAGED_COPIES = 40


def run(reader, path):
    done = subprocess.run(reader + [path], capture_output=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


def compare(readers, path, name, failures):
    (a_status, a_lines, a_text), (b_status, b_lines, b_text) = (run(r, path) for r in readers)
    if a_status != b_status:
        failures.append(f"{name}: status {a_status} and {b_status}: {a_text}{b_text}")
    elif a_status != 2 and a_lines != b_lines:
        failures.append(f"{name}: the readers print different events")
    return a_status, a_lines


def golden_sums(readers, folder, failures):
    lines = []
    for name in sorted(n for n in os.listdir(folder) if n.endswith(".fbt")):
        status, output = compare(readers, os.path.join(folder, name), name, failures)
        count = output.count(b"\n")
        lines.append(f"{name} {status} {count} {hashlib.sha256(output).hexdigest()}\n")
    return "".join(lines)


def damaged_copies(readers, source, failures):
    """Flips of one bit, seeded: both readers refuse, or both read the same (padding)."""
    with open(source, "rb") as file:
        whole = file.read()
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "damaged.fbt")
        for _ in range(DAMAGED_COPIES):
            bit = chance.randrange(len(whole) * 8)
            data = bytearray(whole)
            data[bit // 8] ^= 1 << bit % 8
            with open(path, "wb") as file:
                file.write(data)
            compare(readers, path, f"{os.path.basename(source)} with bit {bit} flipped", failures)


def main():
    arguments = [a for a in sys.argv[1:] if not a.startswith("--")]
    lines, folder = arguments
    readers = [[lines], [sys.executable, os.path.join(HERE, "read_trace.py")]]
    failures = []
    sums = golden_sums(readers, folder, failures)
    if "--sums" in sys.argv:
        print(sums, end="")
        return 0
    with open(os.path.join(folder, "SUMS"), encoding="ascii") as file:
        if file.read() != sums:
            failures.append("golden files read differently from SUMS:\n" + sums)
    for name in ("every_kind.fbt", "level_values.fbt"):
        damaged_copies(readers, os.path.join(folder, name), failures)
    print("\n".join(failures) or f"{sums.count(chr(10))} golden files, {DAMAGED_COPIES} damaged copies")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
